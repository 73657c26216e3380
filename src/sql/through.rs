//! INSERT, UPDATE and DELETE through views that Postgres updates by itself: which table a view shows, and under which names. The statement
//! goes to the shards as it is, which have the view too and keep its checks and rights; only its rows must be found.

use std::sync::Arc;

use sqlparser::ast::{Distinct, Expr, GroupByExpr, Select, SelectItem, SetExpr, TableFactor};

use crate::catalog::effects::Effects;
use crate::catalog::{Column, ColumnDefault, RelationKind, Table, Uniques};
use crate::sql::NameScope;
use crate::sql::from::is_only;
use crate::sql::homeward::is_at_home;
use crate::sql::left_out::takes_from_sequence;
use crate::sql::literals::Literals;
use crate::sql::model::{Model, Obstacle, Stop};
use crate::sql::names::{Relation, folded, parts, resolve};

/// Views over views that are followed.
const DEEPEST: usize = 32;

/// What a write to a table or a view writes.
#[derive(Clone, Debug)]
pub(crate) struct Written {
    /// The table; below a view, with the view's columns in the place of its own.
    pub relation: Relation,
    /// Columns of the table that the view does not show: they always get their defaults.
    pub hidden: Vec<Column>,
    /// Why a shard cannot tell by a row alone whether the view shows it.
    pub apart: Option<Obstacle>,
}

/// Whether these columns are those of a view.
pub(crate) fn is_through_view(table: Option<&Table>) -> bool {
    table.is_some_and(|table| table.kind == RelationKind::View)
}

/// What is written where a statement names this.
pub(crate) fn written(scope: &NameScope<'_>, relation: Relation) -> Result<Written, Stop> {
    let Relation::View { table: view, .. } = &relation else {
        return Ok(Written { relation, hidden: Vec::new(), apart: None });
    };
    let found = shown(scope, view, 0).and_then(|shown| Some((shown.relation(view)?, shown.hidden())));
    let Some((below, hidden)) = found else {
        return Err(Stop::NotUnderstood("a change through a view of more than some columns and rows of one table"));
    };
    let apart = apart(scope, relation, below.is_distributed())?;
    Ok(Written { relation: below, hidden, apart })
}

/// `everywhere`: each shard has the view, and not the home shard alone, which has all but the rows of other shards.
fn apart(scope: &NameScope<'_>, relation: Relation, everywhere: bool) -> Result<Option<Obstacle>, Stop> {
    let view = relation.table().map_or_else(String::new, |view| view.name.name.to_string());
    let mut model = Model::new(*scope, Literals::new("", 0, &[]), Default::default());
    let level = model.add_level(None, None);
    model.relation_leaf(level, None, &view, relation, None)?;
    if !everywhere && model.refs.is_empty() {
        return Ok(None);
    }
    let uses = &model.uses;
    let functions =
        [&uses.volatile, &uses.clock, &uses.server, &uses.unknown_function, &uses.unsafe_function, &uses.runs_sql];
    let what = match (functions.into_iter().flatten().next(), uses.one_shard()) {
        (Some(name), _) => format!("view \"{view}\" calls {name}()"),
        (None, Some(what)) => format!("view \"{view}\" needs {what}"),
        (None, None) if uses.moment => format!("view \"{view}\" reads the clock"),
        (None, None) if uses.system_column.is_some() => format!("view \"{view}\" reads a system column"),
        (None, None) if everywhere && model.subqueries.is_empty() && model.refs.len() + model.copies.len() == 1 => {
            return Ok(None);
        }
        (None, None) => format!("view \"{view}\" reads other rows than those that it shows"),
    };
    Ok(Some(Obstacle::new(what)))
}

/// The table of which a view shows rows, and what it makes of its columns.
struct Shown {
    base: Relation,
    table: Arc<Table>,
    /// Of each column of the view: that of the table, where it is one, and a default of the view's own.
    columns: Vec<(Option<usize>, ColumnDefault)>,
    /// What the views between do where they are written.
    effects: Vec<Arc<Effects>>,
}

fn shown(scope: &NameScope<'_>, view: &Table, depth: usize) -> Option<Shown> {
    // Its rules and triggers do something else.
    if view.has_triggers || depth > DEEPEST {
        return None;
    }
    let query = super::parse_query(view.definition.as_deref()?)?;
    let SetExpr::Select(select) = &*query.body else { return None };
    if query.with.is_some() || is_made(select) || select.projection.len() != view.columns.len() {
        return None;
    }
    let [from] = &select.from[..] else { return None };
    let TableFactor::Table { name, alias, args: None, sample: None, .. } = &from.relation else { return None };
    let renamed = alias.as_ref().is_some_and(|alias| !alias.columns.is_empty());
    if renamed || is_only(name) || !from.joins.is_empty() {
        return None;
    }
    let (schema, name) = parts(name)?;
    let names = select.projection.iter().map(column_of);
    let own = view.columns.iter().map(|column| column.default.clone());
    match resolve(scope, Some(&schema?), &name) {
        Relation::View { table: below, .. } => {
            let mut shown = shown(scope, &below, depth + 1)?;
            if shown.base.is_distributed() && is_at_home(scope, view) {
                return None;
            }
            let place = |name: Option<String>| below.column(&name?).map(|(at, _)| at);
            let through = |(name, own): (Option<String>, ColumnDefault)| match place(name) {
                None => Some((None, own)),
                Some(at) => {
                    let (of_table, default) = shown.columns.get(at)?.clone();
                    Some((of_table, if own == ColumnDefault::None { default } else { own }))
                }
            };
            shown.columns = names.zip(own).map(through).collect::<Option<_>>()?;
            shown.effects.extend(view.effects.clone());
            Some(shown)
        }
        base @ (Relation::Sharded { .. } | Relation::Reference { .. } | Relation::Unsharded { .. }) => {
            let table = Arc::new(base.table()?.clone());
            let at_home = matches!(&base, Relation::Unsharded { place, .. } if place.is_home(scope));
            // No shard can write through a view that it does not have.
            if !at_home && (!base.is_distributed() || is_at_home(scope, view)) {
                return None;
            }
            let place = |name: Option<String>| table.column(&name?).map(|(at, _)| at);
            let columns: Vec<_> = names.map(place).zip(own).collect();
            let shown =
                Shown { base, columns, effects: view.effects.iter().cloned().collect(), table: Arc::clone(&table) };
            // What its sequences give then is the server's own matter.
            (!at_home || !shown.hidden().iter().any(takes_from_sequence)).then_some(shown)
        }
        Relation::System => None,
    }
}

/// Whether the rows are others than those of FROM.
fn is_made(select: &Select) -> bool {
    let grouped = match &select.group_by {
        GroupByExpr::All(_) => true,
        GroupByExpr::Expressions(by, modifiers) => !by.is_empty() || !modifiers.is_empty(),
    };
    let distinct = matches!(&select.distinct, Some(Distinct::Distinct | Distinct::On(_)));
    grouped || distinct || select.having.is_some()
}

/// The column that an item of the select list is; `None`: it is an expression.
fn column_of(item: &SelectItem) -> Option<String> {
    let (SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) = item else { return None };
    match expr {
        Expr::Identifier(name) => Some(folded(name).into_owned()),
        Expr::CompoundIdentifier(names) => names.last().map(|name| folded(name).into_owned()),
        _ => None,
    }
}

impl Shown {
    fn shows(&self, column: usize) -> impl Iterator<Item = usize> {
        let is = move |(_, (of, _)): &(usize, &(Option<usize>, ColumnDefault))| *of == Some(column);
        self.columns.iter().enumerate().filter(is).map(|(at, _)| at)
    }

    fn hidden(&self) -> Vec<Column> {
        let columns = self.table.columns.iter().enumerate();
        columns.filter(|(at, _)| self.shows(*at).next().is_none()).map(|(_, column)| column.clone()).collect()
    }

    /// The table as the view shows it; `None` where it shows a column of the sharding key twice.
    fn relation(&self, view: &Table) -> Option<Relation> {
        let table = Some(Arc::new(self.renamed(view)));
        Some(match &self.base {
            Relation::Sharded { name, distribution, key, .. } => {
                let key = key.iter().map(|column| self.key_column(view, column)).collect::<Option<_>>()?;
                Relation::Sharded { name: name.clone(), table, distribution: *distribution, key }
            }
            Relation::Reference { name, .. } => Relation::Reference { name: name.clone(), table },
            Relation::Unsharded { place, .. } => Relation::Unsharded { table, place: place.clone() },
            Relation::View { .. } | Relation::System => return None,
        })
    }

    /// What the view calls a column of the key; for one that it does not show, a name that none of its columns has.
    fn key_column(&self, view: &Table, column: &str) -> Option<Box<str>> {
        let (at, _) = self.table.column(column)?;
        let mut shown = self.shows(at);
        match (shown.next(), shown.next()) {
            (Some(first), None) => Some(view.columns.get(first)?.name.clone()),
            (Some(_), Some(_)) => None,
            (None, _) => {
                let hidden = format!("{column} of {}", self.table.name.name);
                view.column(&hidden).is_none().then(|| hidden.into())
            }
        }
    }

    fn renamed(&self, view: &Table) -> Table {
        let column = |(own, (of, default)): (&Column, &(Option<usize>, ColumnDefault))| {
            let Some(column) = of.and_then(|at| self.table.columns.get(at)) else { return own.clone() };
            let default = if *default == ColumnDefault::None { column.default.clone() } else { default.clone() };
            Column { name: own.name.clone(), default, ..column.clone() }
        };
        // Of what a key has hidden nobody asks but for the sharding key.
        let key = |unique: &Vec<usize>| unique.iter().filter_map(|at| self.shows(*at).next()).collect();
        Table {
            name: view.name.clone(),
            kind: RelationKind::View,
            columns: view.columns.iter().zip(&self.columns).map(column).collect(),
            unique_keys: self.table.unique_keys.iter().map(key).collect(),
            uniques: Uniques {
                deferrable: self.table.uniques.deferrable.clone(),
                otherwise: self.table.uniques.otherwise.iter().filter_map(|at| self.shows(*at).next()).collect(),
            },
            definition: None,
            has_triggers: self.table.has_triggers,
            effects: self.all_effects(view),
            referenced_by: self.table.referenced_by.clone(),
            parents: Vec::new(),
            owner: None,
        }
    }

    /// What code does that is tied to the table, or to a view between. Defaults of what is not shown are taken by every INSERT.
    fn all_effects(&self, view: &Table) -> Option<Arc<Effects>> {
        let mut all = Effects::default();
        for effects in self.effects.iter().chain(&self.table.effects) {
            all.writes.extend(effects.writes.iter().cloned());
            all.reads.extend(effects.reads.iter().cloned());
        }
        for (column, deeds) in self.table.effects.iter().flat_map(|effects| &effects.defaults) {
            let shown = self.table.column(column).and_then(|(at, _)| self.shows(at).next());
            match shown.and_then(|at| view.columns.get(at)) {
                Some(column) => all.defaults.push((column.name.clone(), deeds.clone())),
                None => all.writes.extend(deeds.iter().cloned()),
            }
        }
        // Defaults of views have the names of whichever view has them.
        let of_views = self.effects.iter().flat_map(|effects| &effects.defaults);
        all.writes.extend(of_views.flat_map(|(_, deeds)| deeds.iter().cloned()));
        (all != Effects::default()).then(|| Arc::new(all))
    }
}

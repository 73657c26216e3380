//! Statements in WITH that change data, where a Postgres finishes the statement around them: each is carried out by the shards that have its
//! rows, once and whole, and the rows that it returns are pulled like those of a table. They are asked for behind all that is read, because
//! nobody in the statement sees what they did but through RETURNING.

use std::collections::HashSet;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use sqlparser::ast::{
    Cte, Expr, FromTable, Ident, OnConflictAction, OnInsert, Query, SelectItem, SelectItemQualifiedWildcardKind,
    SetExpr, Statement, TableFactor, TableObject, TableWithJoins, UpdateTableFromKind, Visit, Visitor, With,
};
use sqlparser::tokenizer::Location;

use crate::catalog::{Catalog, Table};
use crate::ids::{QualifiedName, ShardSet};
use crate::sql::analyze::Analyzer;
use crate::sql::defaults::reads_clock;
use crate::sql::finish::Parsed;
use crate::sql::from::is_only;
use crate::sql::inserting::has_code;
use crate::sql::left_out::mentions_default;
use crate::sql::model::{Collected, Columns, LevelId, Model, Obstacle, Spread, Stop};
use crate::sql::modify::{walk_delete, walk_update};
use crate::sql::modifying::same_everywhere;
use crate::sql::moving_supply::printed;
use crate::sql::names::{Relation, folded, parts};
use crate::sql::outcome::{InsertRows, ManyRows, Outcome, PullSource, PullText, RowsOfKeys};
use crate::sql::parse_query;
use crate::sql::percall::check_calls;
use crate::sql::pieces::{Pieces, make_holes};
use crate::sql::query::is_modifying;
use crate::sql::shape::{check_clock, check_places};
use crate::sql::splice::Source;
use crate::sql::supply::{Supply, SupplyTarget};
use crate::sql::supplying::Sorted;
use crate::sql::tied::reached;
use crate::sql::whole::{can_be_stored, whole_query};
use crate::types::oid;

/// A statement in WITH whose returned rows are pulled.
pub(crate) struct Returned {
    /// Its place in WITH.
    pub at: usize,
    /// What stands between its parentheses.
    pub bytes: Range<usize>,
    pub columns: Columns,
    /// Without a name.
    pub pull: PullText,
    /// What it is sent along, where it reads what does not lie beside the rows that it changes.
    pub supply: Option<Arc<Supply>>,
}

/// The WITH of a statement, where something in it changes data.
pub(crate) fn modifying_with(tree: &Statement) -> Option<&With> {
    let Statement::Query(query) = tree else { return None };
    query.with.as_ref().filter(|with| with.cte_tables.iter().any(|cte| is_modifying(&cte.query)))
}

/// What the statement around a WITH does beside it, where that is done when WITH has made its changes.
#[derive(Clone, Copy, Default)]
pub(crate) struct Beside<'a> {
    /// The table that it changes too.
    pub written: Option<&'a QualifiedName>,
    /// What it reads then.
    pub read: &'a [QualifiedName],
}

/// What of the WITH changes data.
pub(crate) fn returned(
    of: &Analyzer<'_>,
    parsed: &Parsed<'_>,
    source: &Source<'_>,
    with: &With,
    beside: Beside<'_>,
) -> Result<Vec<Returned>, Obstacle> {
    let mut changes = Vec::new();
    for (at, cte) in with.cte_tables.iter().enumerate().filter(|(_, cte)| is_modifying(&cte.query)) {
        let seen = if with.recursive { &with.cte_tables[..] } else { &with.cte_tables[..at] };
        let changing = Changing { of, parsed, source, cte };
        let change = changing.change(at, seen).map_err(|why| {
            let name = folded(&cte.alias.name).into_owned();
            Obstacle { detail: format!("WITH query \"{name}\", which changes data: {}", why.detail).into(), ..why }
        })?;
        changes.push(change);
    }
    check_apart(of.scope.catalog, &changes, beside)?;
    Ok(changes.into_iter().map(|change| change.returned).collect())
}

struct Change {
    returned: Returned,
    table: QualifiedName,
    reads: Vec<QualifiedName>,
    reads_view: bool,
}

/// The shards carry out one after the other what one Postgres does in any order, and foreign keys are looked at when each is done.
fn check_apart(catalog: &Catalog, changes: &[Change], beside: Beside<'_>) -> Result<(), Obstacle> {
    let tables: Vec<&QualifiedName> = changes.iter().map(|change| &change.table).chain(beside.written).collect();
    let reach: Vec<HashSet<QualifiedName>> = tables.iter().map(|table| reached(catalog, table)).collect();
    for (at, of) in reach.iter().enumerate() {
        let Some(other) = (0..at).find(|other| !reach[*other].is_disjoint(of)) else { continue };
        let (a, b) = (&tables[other].name, &tables[at].name);
        let detail = match a == b {
            true => format!("table \"{a}\" is changed twice, and which change meets a row first is not certain"),
            false => format!("tables \"{a}\" and \"{b}\" are both changed, and foreign keys tie them"),
        };
        return Err(Obstacle::new(detail).hint("Change them in statements of their own, in one transaction."));
    }
    if let Some(table) = beside.read.iter().find(|table| reach[..changes.len()].iter().any(|of| of.contains(*table))) {
        let detail = format!("WITH changes table \"{}\", and the statement reads it where it lies", table.name);
        return Err(Obstacle::new(detail).hint("Change it in a statement of its own, in one transaction."));
    }
    for (at, change) in changes.iter().enumerate() {
        let others = || (0..changes.len()).filter(|other| *other != at);
        let read = others().find_map(|other| change.reads.iter().find(|table| reach[other].contains(*table)));
        let detail = match (read, change.reads_view) {
            (Some(table), _) => format!("WITH changes table \"{}\" and reads it for another change", table.name),
            (None, true) if changes.len() > 1 => "WITH reads a view for one of several changes".to_owned(),
            (None, _) => continue,
        };
        return Err(Obstacle::new(detail).hint("Change them in statements of their own, in one transaction."));
    }
    Ok(())
}

struct Changing<'a> {
    of: &'a Analyzer<'a>,
    parsed: &'a Parsed<'a>,
    source: &'a Source<'a>,
    cte: &'a Cte,
}

/// What a statement says of the rows that it changes.
struct Parts<'a> {
    word: &'static str,
    start: Location,
    /// The changed table as the statement names it, and what else its RETURNING can name.
    from: String,
    schema: Option<String>,
    table: String,
    /// By which its columns are qualified.
    alias: String,
    /// There is nothing else in FROM.
    alone: bool,
    returning: Option<&'a [SelectItem]>,
    sets_defaults: bool,
}

impl Changing<'_> {
    fn change(&self, at: usize, seen: &[Cte]) -> Result<Change, Obstacle> {
        let unclear = || Obstacle::new("its text cannot be rewritten with certainty");
        if self.cte.query.with.is_some() {
            return Err(Obstacle::new("it has a WITH of its own"));
        }
        if let Some(name) = named(&self.cte.query, seen) {
            return Err(Obstacle::new(format!("it reads WITH query \"{name}\"")));
        }
        let parts = self.parts().ok_or_else(|| Obstacle::new("the router does not understand its form"))?;
        let mut model = Model::new(self.of.scope, self.parsed.literals(self.of), self.of.used.clone());
        model.collected = Some(Box::new(Collected::default()));
        model.modifying_cte(self.cte, &None).map_err(said)?;
        let relation = model.relation(parts.schema.as_deref(), &parts.table).map_err(said)?;
        let Some(table) = relation.table() else {
            return Err(Obstacle::new(format!("table \"{}\" is not in the catalog", parts.table)));
        };
        if has_code(self.of.scope.catalog, table) {
            return Err(Obstacle::new(format!("table \"{}\" has triggers, rules or row security", table.name.name)));
        }
        check_effects(&model)?;
        let found = match model.fixed.is_empty() {
            true => self.rows(&model, &relation, table, &parts),
            false => self.given_rows(&parts, table),
        };
        let (rows, supply) = match found {
            Ok(rows) => (rows, None),
            Err(why) if !model.fixed.is_empty() => return Err(why),
            Err(why) => {
                let supplied = self.supplied(&parts, table, &why);
                let (rows, supply) = supplied.map_err(|other| match other.is_empty() {
                    true => why.clone(),
                    false => Obstacle { detail: format!("{}; and {other}", why.detail).into(), ..why.clone() },
                })?;
                (rows, Some(supply))
            }
        };
        let modified = model.modified.get(&std::ptr::from_ref(self.cte)).cloned().ok_or_else(unclear)?;
        let bytes = self.source.parenthesised_from(parts.word, parts.start).ok_or_else(unclear)?;
        let pull = self.pull(&model, modified.level, table, &parts, rows)?;
        let collected = model.collected.as_deref();
        let reads = collected.iter().flat_map(|collected| &collected.tables);
        let reads = reads.filter_map(|used| Some(used.relation.table()?.name.clone())).collect();
        let reads_view = collected.is_some_and(|collected| !collected.views.is_empty());
        let mut columns = modified.columns;
        if !columns.complete || parts.returning.is_some() && columns.list.len() != pull.columns.len() {
            return Err(Obstacle::new("the columns that it returns are not known"));
        }
        columns.list.iter_mut().for_each(|column| column.node = None);
        let returned = Returned { at, bytes, columns, pull, supply };
        Ok(Change { returned, table: table.name.clone(), reads, reads_view })
    }

    fn parts(&self) -> Option<Parts<'_>> {
        let name = |factor: &TableFactor| {
            let TableFactor::Table { name, alias, .. } = factor else { return None };
            let (schema, table) = match alias {
                Some(alias) if is_only(name) => (None, folded(&alias.name).into_owned()),
                _ => parts(name)?,
            };
            let alias = alias.as_ref().map_or(table.clone(), |alias| folded(&alias.name).into_owned());
            Some((schema, table, alias))
        };
        let joined = |first: &TableWithJoins, more: &[TableWithJoins]| {
            let all: Vec<String> = std::iter::once(first).chain(more).map(ToString::to_string).collect();
            all.join(", ")
        };
        match &*self.cte.query.body {
            SetExpr::Update(Statement::Update(update)) => {
                let more: &[TableWithJoins] = match &update.from {
                    None => &[],
                    Some(UpdateTableFromKind::AfterSet(from)) => from,
                    Some(UpdateTableFromKind::BeforeSet(_)) => return None,
                };
                let (schema, table, alias) = name(&update.table.relation)?;
                Some(Parts {
                    word: "update",
                    start: update.update_token.0.span.start,
                    from: joined(&update.table, more),
                    schema,
                    table,
                    alias,
                    alone: more.is_empty(),
                    returning: update.returning.as_deref(),
                    sets_defaults: update.assignments.iter().any(|set| mentions_default(&set.value)),
                })
            }
            SetExpr::Delete(Statement::Delete(delete)) => {
                let FromTable::WithFromKeyword(from) = &delete.from else { return None };
                let [target] = &from[..] else { return None };
                let more = delete.using.as_deref().unwrap_or_default();
                let (schema, table, alias) = name(&target.relation)?;
                Some(Parts {
                    word: "delete",
                    start: delete.delete_token.0.span.start,
                    from: joined(target, more),
                    schema,
                    table,
                    alias,
                    alone: more.is_empty(),
                    returning: delete.returning.as_deref(),
                    sets_defaults: false,
                })
            }
            SetExpr::Insert(Statement::Insert(insert)) => {
                let TableObject::TableName(name) = &insert.table else { return None };
                let (schema, table) = parts(name)?;
                let alias = insert.table_alias.as_ref().map(|alias| &alias.alias);
                Some(Parts {
                    word: "insert",
                    start: insert.insert_token.0.span.start,
                    from: alias.map_or(name.to_string(), |alias| format!("{name} AS {alias}")),
                    schema,
                    alias: alias.map_or(table.clone(), |alias| folded(alias).into_owned()),
                    table,
                    alone: true,
                    returning: insert.returning.as_deref(),
                    sets_defaults: true,
                })
            }
            _ => None,
        }
    }

    /// Where its rows are, if the shards carry it out each by itself, or the home shard alone.
    fn rows(
        &self,
        model: &Model<'_>,
        relation: &Relation,
        table: &Table,
        of: &Parts<'_>,
    ) -> Result<PullSource, Obstacle> {
        check_clock(model)?;
        match relation {
            Relation::Sharded { .. } => {
                check_places(model, &Spread::Same)?;
                let tree = Statement::Query(Box::new((*self.cte.query).clone()));
                check_calls(self.of, &tree, model)?;
                let groups = model.groups();
                match groups.is_empty() {
                    false => Ok(PullSource::Sharded(groups)),
                    true => Err(Obstacle::new("its rows come from no sharded table")),
                }
            }
            Relation::Unsharded { place, .. } if place.is_home(&self.of.scope) => {
                let home = self.of.scope.topology.home;
                if !model.refs.is_empty() || model.needs() != ShardSet::one(home) {
                    return Err(Obstacle::new("it reads what does not lie on the home shard"));
                }
                // The rows would have the time of their shard's part of the transaction.
                let by_clock = |column: &&crate::catalog::Column| reads_clock(&self.of.scope, column);
                if let Some(column) = table.columns.iter().find(by_clock).filter(|_| of.sets_defaults) {
                    return Err(Obstacle::new(format!("the default of column \"{}\" reads the clock", column.name)));
                }
                Ok(PullSource::One(home))
            }
            Relation::Unsharded { .. } => Err(Obstacle::new("its table lies in a schema that is placed elsewhere")),
            Relation::Reference { name, .. } => match same_everywhere(model, &name.name) {
                Ok(_) => Ok(PullSource::Copies),
                Err(why) => Err(Obstacle::new(why.detail.clone().unwrap_or_else(|| why.message.clone()))),
            },
            Relation::View { .. } | Relation::System => Err(Obstacle::new("its table is a view or of the catalog")),
        }
    }

    /// The rows of a VALUES list, each on the shard of its key: what the INSERT by itself would do.
    fn given_rows(&self, of: &Parts<'_>, table: &Table) -> Result<PullSource, Obstacle> {
        let unclear = || Obstacle::new("its text cannot be rewritten with certainty");
        let SetExpr::Insert(statement) = self.body(self.items(of, table)?) else { return Err(unclear()) };
        let (tree, other) = printed(self.of, self.parsed, &statement).ok_or_else(unclear)?;
        let parsed = Parsed { tree: &tree, bytes: self.parsed.bytes.clone(), other: Some(other) };
        let Statement::Insert(insert) = &tree else { return Err(unclear()) };
        let mut model = Model::new(self.of.scope, parsed.literals(self.of), self.of.used.clone());
        let text = parsed.text(self.of);
        match self.of.insert_cut(&mut model, &parsed, insert, &None, None, text).map_err(said)? {
            Outcome::Insert(InsertRows { distribution, name, rows, typmods, groups, also, many, .. })
                if groups.is_empty() && also.is_empty() =>
            {
                let Ok(ManyRows::Split(_)) = many else {
                    let why = many.err().and_then(|why| why.detail.clone());
                    return Err(Obstacle::new(why.unwrap_or("its rows are put together first".into())));
                };
                // An update without a condition gives each row back once, or fails.
                let gives_all = |on: &OnInsert| match on {
                    OnInsert::OnConflict(conflict) => {
                        matches!(&conflict.action, OnConflictAction::DoUpdate(update) if update.selection.is_none())
                    }
                    _ => false,
                };
                let all_return = insert.returning.is_some() && insert.on.as_ref().is_none_or(gives_all);
                Ok(PullSource::Rows(Arc::new(RowsOfKeys { distribution, name, rows, typmods, all_return })))
            }
            Outcome::Refuse(why) => Err(Obstacle::new(why.detail.clone().unwrap_or_else(|| why.message.clone()))),
            _ => Err(Obstacle::new("its rows are not told apart by their keys alone")),
        }
    }

    /// What it must be sent, and where its rows are then; or in words why there is nothing.
    fn supplied(&self, of: &Parts<'_>, table: &Table, why: &Obstacle) -> Result<(PullSource, Arc<Supply>), String> {
        let items = self.items(of, table).map_err(|why| why.detail.into_owned())?;
        let (SetExpr::Update(statement) | SetExpr::Delete(statement)) = self.body(items) else {
            return Err(String::new());
        };
        let unclear = || "its text cannot be rewritten with certainty".to_owned();
        let (tree, other) = printed(self.of, self.parsed, &statement).ok_or_else(unclear)?;
        let parsed = Parsed { tree: &tree, bytes: self.parsed.bytes.clone(), other: Some(other) };
        let reason = why.clone().fault();
        let supply = match &tree {
            Statement::Update(update) => {
                let of = self.of;
                of.supply_of(&parsed, None, &reason, Sorted::Any, |model, ctes| walk_update(model, update, ctes))?
            }
            Statement::Delete(delete) => {
                let of = self.of;
                of.supply_of(&parsed, None, &reason, Sorted::Any, |model, ctes| walk_delete(model, delete, ctes))?
            }
            _ => return Err(unclear()),
        };
        let source = match &supply.target {
            SupplyTarget::Sharded(group) => PullSource::Sharded(vec![(**group).clone()]),
            SupplyTarget::Everywhere => PullSource::Copies,
            SupplyTarget::Home => PullSource::One(self.of.scope.topology.home),
        };
        Ok((source, supply))
    }

    /// What its RETURNING says, spelled out.
    fn items(&self, of: &Parts<'_>, table: &Table) -> Result<Option<Vec<SelectItem>>, Obstacle> {
        let unclear = || Obstacle::new("RETURNING * of more than its own table");
        of.returning.map(|items| spelled_out(items, of, table).ok_or_else(unclear)).transpose()
    }

    /// The statement with this RETURNING.
    fn body(&self, items: Option<Vec<SelectItem>>) -> SetExpr {
        let mut body = (*self.cte.query.body).clone();
        match &mut body {
            SetExpr::Insert(Statement::Insert(insert)) => insert.returning = items,
            SetExpr::Update(Statement::Update(update)) => update.returning = items,
            SetExpr::Delete(Statement::Delete(delete)) => delete.returning = items,
            _ => {}
        }
        body
    }

    /// The statement itself as what is asked of the shards, and a query of nothing with the columns that it returns.
    fn pull(
        &self,
        model: &Model<'_>,
        level: LevelId,
        table: &Table,
        of: &Parts<'_>,
        source: PullSource,
    ) -> Result<PullText, Obstacle> {
        let unclear = || Obstacle::new("its text cannot be rewritten with certainty");
        let items = self.items(of, table)?;
        let head = match &items {
            None => empty_query(),
            Some(items) => {
                let mut head = parse_query(&format!("SELECT 1 FROM {}", of.from)).ok_or_else(unclear)?;
                let SetExpr::Select(select) = &mut *head.body else { return Err(unclear()) };
                select.projection.clone_from(items);
                if !items.iter().all(|item| can_be_stored(model, level, item)) {
                    return Err(Obstacle::new("not every column that it returns can be a table's"));
                }
                whole_query(model, *head, &[])
                    .ok_or_else(|| Obstacle::new("the columns that it returns have no names of their own"))?
            }
        };
        let mut body = self.body(items);
        make_holes(&mut body, &model.literals, true);
        let whole = Some(Pieces::of(&body.to_string()).ok_or_else(unclear)?);
        Ok(PullText { label: table.name.to_string().into(), source, whole, writes: true, ..head })
    }
}

/// What effects beside its rows it has.
fn check_effects(model: &Model<'_>) -> Result<(), Obstacle> {
    let uses = &model.uses;
    if uses.locking {
        return Err(Obstacle::new("it locks rows that it does not change"));
    }
    if uses.home_function || uses.pin.is_some() {
        let what = uses.home.as_deref().unwrap_or("a function with effects");
        return Err(Obstacle::new(format!("it needs {what}")));
    }
    if let (Some(name), Some(_)) = (&uses.user_function, &uses.volatile) {
        return Err(Obstacle::new(format!("function {name}() may have effects")));
    }
    Ok(())
}

/// What brings no rows.
fn empty_query() -> PullText {
    const HEAD: &str = "SELECT true AS pgloom";
    PullText {
        name: String::new(),
        label: "".into(),
        table: None,
        columns: vec![("pgloom".into(), oid::BOOL, -1)],
        primary_key: Vec::new(),
        binary: Some(true),
        source: PullSource::Reference,
        head: HEAD.to_owned(),
        path: "".into(),
        whole: None,
        create: Some(HEAD.to_owned()),
        filters: Vec::new(),
        top: None,
        keys: Vec::new(),
        stage: 0,
        writes: true,
    }
}

/// The items with the columns in the place of `*`.
fn spelled_out(items: &[SelectItem], of: &Parts<'_>, table: &Table) -> Option<Vec<SelectItem>> {
    let column = |column: &crate::catalog::Column| {
        let names = [&*of.alias, &*column.name].map(|name| Ident::with_quote('"', name));
        SelectItem::UnnamedExpr(Expr::CompoundIdentifier(names.to_vec()))
    };
    let mut found = Vec::new();
    for item in items {
        match item {
            SelectItem::Wildcard(_) if of.alone => found.extend(table.columns.iter().map(column)),
            SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _)
                if parts(name) == Some((None, of.alias.clone())) =>
            {
                found.extend(table.columns.iter().map(column));
            }
            SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. } => found.push(item.clone()),
            SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..) | SelectItem::ExprWithAliases { .. } => {
                return None;
            }
        }
    }
    Some(found)
}

/// The first of these WITH queries that a statement names.
fn named(query: &Query, seen: &[Cte]) -> Option<String> {
    struct Named<'a>(&'a [Cte]);
    impl Visitor for Named<'_> {
        type Break = String;
        fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<String> {
            let TableFactor::Table { name, .. } = factor else { return ControlFlow::Continue(()) };
            let Some((None, name)) = parts(name) else { return ControlFlow::Continue(()) };
            match self.0.iter().any(|cte| folded(&cte.alias.name) == name) {
                true => ControlFlow::Break(name),
                false => ControlFlow::Continue(()),
            }
        }
    }
    match query.visit(&mut Named(seen)) {
        ControlFlow::Break(name) => Some(name),
        ControlFlow::Continue(()) => None,
    }
}

fn said(stop: Stop) -> Obstacle {
    match stop {
        Stop::NotUnderstood(what) => Obstacle::new(format!("the router does not understand {what}")),
        Stop::Refuse(fault) => Obstacle::new(fault.message.clone()),
    }
}

//! UPDATE that changes the sharding key: the shards delete the rows and return them, a Postgres makes the new rows of them, and these are
//! delivered. All in one transaction, so that nobody sees a row twice or not at all who would not see that in one Postgres.

use std::ops::ControlFlow;
use std::sync::Arc;

use sqlparser::ast::helpers::attached_token::AttachedToken;
use sqlparser::ast::{
    Assignment, AssignmentTarget, Delete, Expr, FromTable, Ident, Query, SelectItem, SetExpr, Statement, TableFactor,
    Update, VisitMut, VisitorMut, With,
};

use crate::catalog::{Catalog, RelationKind, Table};
use crate::fault::Fault;
use crate::ids::{DistributionId, QualifiedName};
use crate::sql::analyze::Analyzer;
use crate::sql::clock::{Calls, Clock};
use crate::sql::defaults::evaluated;
use crate::sql::delivery::{Delivery, Depot, DepotColumn, DepotKey, Draws, Landing, Moved, Place, Taking, Verb};
use crate::sql::exprs::At;
use crate::sql::finish::{Parsed, is_same_at_home};
use crate::sql::from::is_only;
use crate::sql::insert::{is_default, target_level, walk_assignments, walk_returning};
use crate::sql::inserting::{depot_name, has_code, has_query, placed, queries_of_rows, returning_text};
use crate::sql::keys::{KeyGroup, KeyName};
use crate::sql::literals::Literals;
use crate::sql::model::Model;
use crate::sql::moving_from::{Unjoined, tell_values, without_parameters};
use crate::sql::names::{folded, parts};
use crate::sql::outcome::{Finish, FinishText, PullSource, PullText};
use crate::sql::pieces::{Pieces, can_have_holes, make_holes};
use crate::sql::pulls::{quoted, share, whole_pull};
use crate::sql::returned::modifying_with;
use crate::sql::rewrite::is_faithful_in_parts;
use crate::sql::supply::Supply;
use crate::sql::tied::reached;
use crate::sql::words;

/// An UPDATE of a sharded table that sets columns of its key.
pub(crate) struct Moving<'a> {
    pub of: &'a Analyzer<'a>,
    pub parsed: &'a Parsed<'a>,
    pub unjoined: Unjoined,
    pub with: Option<&'a With>,
    pub name: &'a QualifiedName,
    pub table: &'a Table,
    pub distribution: DistributionId,
    pub key: &'a [Box<str>],
    /// What its conditions say of the key.
    pub group: KeyGroup,
}

/// What a column of the new row is.
enum Set<'a> {
    Kept,
    To(&'a Expr),
    Default,
}

impl Moving<'_> {
    /// The delivery of the changed rows, or in words why there is none. `supply`: what the DELETE of the old ones is sent.
    pub fn delivery(&self, reason: &Fault, supply: Option<Arc<Supply>>) -> Result<Delivery, String> {
        let text = self.parsed.text(self.of);
        let printed =
            can_have_holes(text) && is_faithful_in_parts(self.parsed.tree, text, self.of.scope.standard_strings);
        if !printed {
            return Err("its text cannot be rewritten with certainty".to_owned());
        }
        self.check()?;
        let literals = self.parsed.literals(self.of);
        if let Some(with) = self.with.filter(|_| !self.unjoined.beside.is_empty()) {
            tell_values(with, &literals);
        }
        let alias = self.alias()?;
        let mut pulls = Vec::new();
        share(&mut pulls, self.pull(&alias, &literals)?);
        let Some(input) = pulls.first().map(|pull| pull.name.clone()) else { return Err("nothing is pulled".into()) };
        let (depot, sql, clock) = self.fill(&alias, &input, &literals)?;
        let takes_over = self.takes_over(&depot.name);
        let fill = FinishText {
            below: Vec::new(),
            pulls,
            sql: Pieces::of(&sql).ok_or("its text cannot be rewritten with certainty".to_owned())?,
            reads_home: None,
            pulls_all: true,
            own_clock: clock.is_some(),
            clock,
            foreign: false,
            limit: None,
            depot: Some(Arc::new(depot)),
            views: Vec::new(),
            supplies: supply.map(|supply| (0, supply)).into_iter().collect(),
        };
        let finish = Finish {
            by_views: None,
            reason: reason.detail.as_deref().unwrap_or(&reason.message).into(),
            in_transaction: Ok(fill.clone()),
            alone: fill,
            elsewhere: Err("it puts together rows that are written".into()),
            copy: false,
            cursor: None,
            // What a depot takes is checked with it.
            draws: false,
        };
        let landing = Landing {
            table: self.name.clone(),
            qualified: false,
            place: self.place()?,
            taking: self.taking(text)?,
            verb: Verb::Update,
            moved: Some(Moved { assigned: assigned(self.update()).map(Into::into).collect(), takes_over }),
            draws: Draws::default(),
        };
        Ok(Delivery { finish, landing: Arc::new(landing) })
    }

    /// What a DELETE and an INSERT would do otherwise than the UPDATE.
    fn check(&self) -> Result<(), String> {
        let (catalog, name) = (self.of.scope.catalog, &self.name.name);
        if has_code(catalog, self.table) {
            return Err(format!("table \"{name}\" has triggers, rules or row security"));
        }
        // Where rows refer to those of the table itself, the shards look at that when the old rows go.
        let alone = self.table.kind == RelationKind::Table && self.table.parents.is_empty();
        if is_referenced(catalog, self.table) && !(alone && below(catalog, self.name).is_empty()) {
            return Err(format!("a foreign key points to table \"{name}\", which is or has partitions"));
        }
        let child = |table: &Arc<Table>| table.is_child_of(self.name);
        if self.table.kind != RelationKind::PartitionedTable && catalog.tables.values().any(child) {
            return Err(format!("other tables inherit from table \"{name}\""));
        }
        if modifying_with(self.parsed.tree).is_some() {
            return Err("WITH contains a statement that changes data".to_owned());
        }
        if has_query(&self.update().assignments) {
            return Err("there is a subquery in its SET that is not one value".to_owned());
        }
        let model = self.model().ok_or("its SET or RETURNING is not understood".to_owned())?;
        if has_query(&self.update().returning) {
            self.check_queries(&model).map_err(|why| format!("there is a subquery in its RETURNING, and {why}"))?;
        }
        let uses = &model.uses;
        if let Some(column) = &uses.system_column {
            return Err(format!("it uses system column \"{column}\""));
        }
        if let Some(what) = &uses.home {
            return Err(format!("its SET or RETURNING needs {what}"));
        }
        let server = uses.server.as_ref().filter(|name| !is_same_at_home(name));
        match [&uses.unknown_function, &uses.user_function].into_iter().flatten().chain(server).next() {
            Some(function) => {
                Err(format!("function {function}() in its SET or RETURNING could mean something else elsewhere"))
            }
            None => Ok(()),
        }
    }

    fn update(&self) -> &Update {
        &self.unjoined.update
    }

    /// The table with the columns that come from the FROM.
    fn wide(&self) -> Table {
        let mut wide = self.table.clone();
        wide.columns.extend(self.unjoined.beside.iter().map(|beside| beside.column.clone()));
        wide
    }

    /// Of SET and RETURNING.
    fn model(&self) -> Option<Model<'_>> {
        let mut scratch = Model::new(self.of.scope, self.parsed.literals(self.of), self.of.used.clone());
        scratch.collected = Some(Box::default());
        let level = target_level(&mut scratch, self.alias().ok()?, Some(&self.wide())).ok()?;
        let first = scratch.levels.get(level)?.leaves.first().copied()?;
        placed(&mut scratch, first, self.distribution, &self.key_name(), self.key);
        let at = At { level, ctes: None, vary: false };
        walk_assignments(&mut scratch, &at, &self.update().assignments).ok()?;
        walk_returning(&mut scratch, &at, self.update().returning.as_deref()).ok()?;
        Some(scratch)
    }

    /// The queries in RETURNING are asked when the old rows are gone, by the shards that get the new ones.
    fn check_queries(&self, model: &Model<'_>) -> Result<(), String> {
        if self.with.is_some() {
            return Err("it stands beside a WITH".to_owned());
        }
        let reached = reached(self.of.scope.catalog, self.name);
        let collected = model.collected.as_deref();
        if collected.is_none_or(|collected| !collected.views.is_empty()) {
            return Err("it reads a view".to_owned());
        }
        let mut tables = collected.iter().flat_map(|collected| &collected.tables);
        if tables.any(|of| of.relation.table().is_none_or(|table| reached.contains(&table.name))) {
            return Err("it reads the table whose rows are moved, or one that they are tied to".to_owned());
        }
        queries_of_rows(self.of, model, &Statement::Update(self.update().clone()))
    }

    pub fn alias(&self) -> Result<String, String> {
        alias_of(self.update())
    }

    /// `DELETE FROM table USING ... WHERE ... RETURNING every column`
    pub fn delete(&self, alias: &str) -> Delete {
        let column = |column: &crate::catalog::Column| {
            let names = [alias, &column.name].map(|name| Ident::with_quote('"', name));
            SelectItem::UnnamedExpr(Expr::CompoundIdentifier(names.to_vec()))
        };
        let beside = self.unjoined.beside.iter().map(|beside| SelectItem::UnnamedExpr(beside.expr.clone()));
        let from = &self.unjoined.from;
        Delete {
            delete_token: AttachedToken::empty(),
            optimizer_hints: Vec::new(),
            tables: Vec::new(),
            from: FromTable::WithFromKeyword(vec![self.update().table.clone()]),
            using: (!from.is_empty()).then(|| from.clone()),
            selection: self.update().selection.clone(),
            returning: Some(self.table.columns.iter().map(column).chain(beside).collect()),
            output: None,
            order_by: Vec::new(),
            limit: None,
        }
    }

    /// The same behind the WITH of the UPDATE.
    pub fn delete_statement(&self, alias: &str) -> Statement {
        let delete = Statement::Delete(self.delete(alias));
        match self.parsed.tree {
            Statement::Query(query) => {
                Statement::Query(Box::new(Query { body: Box::new(SetExpr::Delete(delete)), ..(**query).clone() }))
            }
            _ => delete,
        }
    }

    /// The same on the shards that the conditions allow.
    fn pull(&self, alias: &str, literals: &Literals) -> Result<PullText, String> {
        let mut tree = self.delete_statement(alias);
        make_holes(&mut tree, literals, true);
        let whole = Pieces::of(&tree.to_string()).ok_or("its text cannot be rewritten with certainty".to_owned())?;
        let wide = self.wide();
        let columns: Vec<_> = wide.columns.iter().collect();
        let source = PullSource::Sharded(vec![self.group.clone()]);
        let pull = whole_pull(self.name, false, &columns, source);
        let head = if self.unjoined.beside.is_empty() { pull.head } else { self.of_join(alias) };
        Ok(PullText { whole: Some(whole), writes: true, head, ..pull })
    }

    /// The query that tells the types of the rows, where some of their columns come from the FROM or from queries.
    fn of_join(&self, alias: &str) -> String {
        let own = self.table.columns.iter().map(|column| format!("{}.{}", quoted(alias), quoted(&column.name)));
        let beside = self
            .unjoined
            .beside
            .iter()
            .map(|of| format!("{} AS {}", without_parameters(&of.expr), quoted(&of.column.name)));
        let columns: Vec<String> = own.chain(beside).collect();
        let table = format!("{}.{} AS {}", quoted(&self.name.schema), quoted(&self.name.name), quoted(alias));
        let joined = self.unjoined.from.iter().map(|from| without_parameters(from).to_string());
        let from: Vec<String> = std::iter::once(table).chain(joined).collect();
        let with = self.with.map_or_else(String::new, |with| format!("{} ", without_parameters(with)));
        format!("{with}SELECT {} FROM {}", columns.join(", "), from.join(", "))
    }

    /// The depot, what fills it, and a function in it that reads the clock.
    fn fill(&self, alias: &str, input: &str, literals: &Literals) -> Result<(Depot, String, Option<Box<str>>), String> {
        let mut clock = None;
        let (mut columns, mut values) = (Vec::new(), Vec::new());
        for column in self.table.columns.iter().filter(|column| !column.generated) {
            values.push(match self.set(&column.name)? {
                Set::Kept => format!("{}.{}", quoted(alias), quoted(&column.name)),
                Set::To(expr) => self.value(expr, alias, literals, &mut clock)?,
                Set::Default => {
                    let default = evaluated(&self.of.scope, column).map_err(|()| {
                        format!("the default of column \"{}\" can be evaluated by its table alone", column.name)
                    })?;
                    clock = clock.take().or(default.as_ref().and_then(|default| default.clock.clone()));
                    default.map_or_else(|| "NULL".to_owned(), |default| default.sql)
                }
            });
            columns.push(DepotColumn {
                name: column.name.clone(),
                type_oid: column.type_oid,
                typmod: column.typmod,
                default: None,
            });
        }
        let beside = self.olds();
        values.extend(beside.iter().map(|(column, _)| format!("{}.{}", quoted(alias), quoted(&column.name))));
        let beside: Vec<DepotColumn> = beside.into_iter().map(|(_, beside)| beside).collect();
        let list: Vec<String> = columns.iter().chain(&beside).map(|column| quoted(&column.name)).collect();
        let name = depot_name(self.name, &columns, &beside);
        let sql = format!(
            "INSERT INTO pg_temp.{name} ({}) SELECT {} FROM pg_temp.{input} AS {}",
            list.join(", "),
            values.join(", "),
            quoted(alias)
        );
        Ok((Depot { name, columns, beside }, sql, clock))
    }

    /// What must be unique and is set.
    fn unique(&self) -> impl Iterator<Item = &Vec<usize>> {
        let is_set = self.is_set();
        self.table.unique_keys.iter().filter(move |key| key.iter().any(&is_set))
    }

    /// Whether the column there is set.
    fn is_set(&self) -> impl Fn(&usize) -> bool {
        let set: Vec<String> = assigned(self.update()).collect();
        move |at| self.table.columns.get(*at).is_some_and(|column| set.iter().any(|name| **name == *column.name))
    }

    /// The columns whose old values lie beside the new rows, and under which names.
    fn olds(&self) -> Vec<(&crate::catalog::Column, DepotColumn)> {
        let mut places: Vec<usize> = self.unique().flatten().copied().collect();
        places.sort_unstable();
        places.dedup();
        let old = |at: usize| {
            let column = self.table.columns.get(at)?;
            let (type_oid, typmod) = (column.type_oid, column.typmod);
            Some((column, DepotColumn { name: old_name(at).into(), type_oid, typmod, default: None }))
        };
        places.into_iter().filter_map(old).collect()
    }

    /// One Postgres changes one row after the other: whether a row can take over what another one gives up depends on which is the first.
    fn takes_over(&self, depot: &str) -> Option<String> {
        let same = |at: &usize| {
            let column = self.table.columns.get(*at)?;
            Some(format!("a.{} = b.{}", quoted(&column.name), quoted(&old_name(*at))))
        };
        let exists = |key: &Vec<usize>| {
            let all = key.iter().map(same).collect::<Option<Vec<_>>>()?.join(" AND ");
            Some(format!(
                "EXISTS (SELECT FROM pg_temp.{depot} a JOIN pg_temp.{depot} b ON {all} WHERE a.ctid OPERATOR(pg_catalog.<>) b.ctid)"
            ))
        };
        let mut any = self.unique().filter_map(exists).collect::<Vec<_>>();
        // What makes rows unique there is not looked at: one row alone takes over nothing that another one gives up.
        let parts = below(self.of.scope.catalog, self.name);
        let of_parts = parts
            .iter()
            .any(|part| !part.uniques.otherwise.is_empty() || part.unique_keys.len() > self.table.unique_keys.len());
        if of_parts || self.table.uniques.otherwise.iter().any(self.is_set()) {
            any.push(format!("(SELECT pg_catalog.count(*) FROM pg_temp.{depot}) OPERATOR(pg_catalog.>) 1"));
        }
        (!any.is_empty()).then(|| format!("SELECT {}", any.join(" OR ")))
    }

    fn set(&self, column: &str) -> Result<Set<'_>, String> {
        let of = |expr| if is_default(expr) { Set::Default } else { Set::To(expr) };
        for Assignment { target, value } in &self.update().assignments {
            match target {
                AssignmentTarget::ColumnName(name) => match parts(name) {
                    Some((None, name)) if name == column => return Ok(of(value)),
                    Some((None, _)) => {}
                    _ => return Err("it sets a part of a column".to_owned()),
                },
                AssignmentTarget::Tuple(names) => {
                    let names: Option<Vec<String>> = names
                        .iter()
                        .map(|name| parts(name).filter(|(of, _)| of.is_none()).map(|(_, name)| name))
                        .collect();
                    let at =
                        names.ok_or("it sets a part of a column".to_owned())?.iter().position(|name| name == column);
                    let Some(at) = at else { continue };
                    match value {
                        Expr::Tuple(values) => return values.get(at).map(of).ok_or("a value is missing".to_owned()),
                        _ => return Err("it sets several columns to one expression".to_owned()),
                    }
                }
            }
        }
        Ok(Set::Kept)
    }

    /// An expression over the old row, where that comes from an input.
    fn value(
        &self,
        expr: &Expr,
        alias: &str,
        literals: &Literals,
        clock: &mut Option<Box<str>>,
    ) -> Result<String, String> {
        let mut expr = expr.clone();
        let wide = self.wide();
        let mut over = OverInput {
            clock: Clock { scope: self.of.scope, calls: Calls::OfTransaction },
            alias,
            is_column: &|name| wide.column(name).is_some(),
            found_clock: None,
            whole_row: false,
        };
        let _ = expr.visit(&mut over);
        if over.whole_row {
            return Err("it uses whole rows of its table".to_owned());
        }
        *clock = clock.take().or(over.found_clock);
        make_holes(&mut expr, literals, false);
        Ok(expr.to_string())
    }

    fn place(&self) -> Result<Place, String> {
        let stored: Vec<&crate::catalog::Column> =
            self.table.columns.iter().filter(|column| !column.generated).collect();
        let key_column = |name: &Box<str>| {
            let at = stored.iter().position(|column| column.name == *name);
            let at = at.ok_or(format!("its sharding-key column \"{name}\" is not known"))?;
            Ok(DepotKey { column: at, type_oid: stored[at].type_oid, not_null: stored[at].not_null })
        };
        let key = self.key.iter().map(key_column).collect::<Result<_, String>>()?;
        Ok(Place::Keyed { distribution: self.distribution, name: self.key_name(), key })
    }

    fn key_name(&self) -> Arc<KeyName> {
        Arc::new(KeyName { table: self.name.name.clone(), columns: self.key.join(", ").into() })
    }

    /// RETURNING shows the new rows.
    fn taking(&self, text: &str) -> Result<Option<Taking>, String> {
        if self.update().returning.is_none() {
            return Ok(None);
        }
        let mut head = format!("INSERT INTO {}.{}", quoted(&self.name.schema), quoted(&self.name.name));
        let alias = self.alias()?;
        if alias != *self.name.name {
            head.push_str(&format!(" AS {}", quoted(&alias)));
        }
        let tail = returning_text(self.of, self.parsed, text).ok_or("its RETURNING cannot be found".to_owned())?;
        const CLOCKS: [&str; 7] = [
            "now",
            "transaction_timestamp",
            "current_timestamp",
            "current_date",
            "current_time",
            "localtime",
            "localtimestamp",
        ];
        let names = words::identifiers(text, self.of.scope.standard_strings);
        let reads_clock = names.is_none_or(|names| names.iter().any(|name| CLOCKS.contains(&&**name)));
        Ok(Some(Taking { head, tail, in_order: true, reads_clock }))
    }
}

/// The name by which an UPDATE knows its table.
pub(crate) fn alias_of(update: &Update) -> Result<String, String> {
    let TableFactor::Table { name, alias, .. } = &update.table.relation else {
        return Err("this form of table is not understood".to_owned());
    };
    match alias {
        _ if is_only(name) => Err("it names ONLY its table".to_owned()),
        Some(alias) if alias.columns.is_empty() => Ok(folded(&alias.name).into_owned()),
        Some(_) => Err("its table has other names for its columns".to_owned()),
        None => parts(name).map(|(_, name)| name).ok_or("this form of table name is not understood".to_owned()),
    }
}

/// Whether a foreign key points to the table, to one of its partitions or, where it is one, to the table that it is a partition of.
fn is_referenced(catalog: &Catalog, table: &Table) -> bool {
    is_referenced_above(catalog, table) || below(catalog, &table.name).iter().any(|part| part.is_referenced())
}

/// The tables that are partitions of this one, or of one that is, or inherit from it.
fn below<'a>(catalog: &'a Catalog, of: &QualifiedName) -> Vec<&'a Table> {
    let children = catalog.tables.values().filter(|table| table.is_child_of(of));
    children.flat_map(|child| std::iter::once(&**child).chain(below(catalog, &child.name))).collect()
}

fn is_referenced_above(catalog: &Catalog, table: &Table) -> bool {
    table.is_referenced()
        || table
            .parents
            .iter()
            .filter_map(|parent| catalog.table(parent))
            .any(|table| is_referenced_above(catalog, table))
}

/// Beside the new row, no column of a table.
fn old_name(at: usize) -> String {
    format!("pgloom_old_{at}")
}

/// The columns that SET names.
fn assigned(update: &Update) -> impl Iterator<Item = String> {
    crate::sql::insert::assigned(&update.assignments)
}

/// Makes an expression over a table one over an input of the same name.
struct OverInput<'a> {
    clock: Clock<'a>,
    alias: &'a str,
    is_column: &'a dyn Fn(&str) -> bool,
    found_clock: Option<Box<str>>,
    whole_row: bool,
}

impl VisitorMut for OverInput<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            Expr::Identifier(name) => self.whole_row |= folded(name) == self.alias && !(self.is_column)(self.alias),
            Expr::CompoundIdentifier(names) => {
                // `schema.table.column`
                while names.len() > 2 {
                    names.remove(0);
                }
                self.whole_row |= names.last().is_some_and(|name| !(self.is_column)(&folded(name)));
            }
            Expr::QualifiedWildcard(..) | Expr::Wildcard(_) => self.whole_row = true,
            Expr::Function(function) => {
                let name = parts(&function.name).map(|(_, name)| name);
                if self.clock.replace(function).is_some() {
                    self.found_clock = self.found_clock.take().or(name.map(Into::into));
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

//! INSERT whose rows are delivered: what fills the depot, which columns it has, and what takes the rows on each shard.

use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use sqlparser::ast::{
    Insert, OnConflict, OnConflictAction, OnInsert, Query, SetExpr, Statement, TableObject, Visit, Visitor, With,
};

use crate::catalog::{Catalog, Column, ColumnDefault, Identity, Table};
use crate::fault::Fault;
use crate::ids::{DistributionId, QualifiedName};
use crate::sql::NameScope;
use crate::sql::analyze::Analyzer;
use crate::sql::conflicts::walk_conflict;
use crate::sql::defaults::{evaluated, reads_clock};
use crate::sql::delivery::{Delivery, Depot, DepotColumn, DepotKey, Draws, Landing, Place, Taking, Verb};
use crate::sql::exprs::At;
use crate::sql::finish::{Parsed, Unmerged};
use crate::sql::insert::{target_level, walk_returning};
use crate::sql::keys::KeyName;
use crate::sql::left_out::{is_same_everywhere, takes_from_sequence};
use crate::sql::lexer::{Token, TokenKind};
use crate::sql::model::{Columns, Leaf, LeafId, Model, Reference, RowsOf, Spread};
use crate::sql::names::{folded, is_temporary_schema, parts};
use crate::sql::outcome::{Finish, FinishText};
use crate::sql::percall::check_calls;
use crate::sql::pieces::Pieces;
use crate::sql::pulls::{fingerprint, quoted};
use crate::sql::pushdown::reads_clock as reads_clock_text;
use crate::sql::query::is_modifying;
use crate::sql::sequences;
use crate::sql::shape::check_places;
use crate::sql::spelling;
use crate::sql::splice::{Edit, Source};
use crate::sql::through::is_through_view;
use crate::sql::words::{name_of, text_of, tokens};

/// An INSERT whose rows are to be delivered.
pub(crate) struct Inserting<'a> {
    pub of: &'a Analyzer<'a>,
    pub parsed: &'a Parsed<'a>,
    pub insert: &'a Insert,
    pub with: Option<&'a With>,
    pub name: &'a QualifiedName,
    pub table: &'a Table,
    pub target: Target<'a>,
    /// The table's columns that the source has values for, in their order there.
    pub given: Vec<usize>,
    /// Those that get their default, at least in some row.
    pub omitted: Vec<usize>,
    /// Why no shard does it by itself.
    pub reason: &'a Fault,
}

#[derive(Clone, Copy)]
pub(crate) enum Target<'a> {
    Keyed { distribution: DistributionId, name: &'a Arc<KeyName>, key: &'a [Box<str>] },
    Everywhere,
    Home,
}

impl Inserting<'_> {
    /// The delivery, or in words why there is none.
    pub fn delivery(&self) -> Result<Delivery, String> {
        let text = self.parsed.text(self.of);
        let regions = Regions::of(text, self.insert)
            .ok_or("the query of its rows cannot be found in its text with certainty".to_owned())?;
        let taking = self.taking(text, &regions)?;
        let (depot, clock, draws) = self.depot(text, &regions)?;
        let (table, place) = (self.name.clone(), self.place(&depot)?);
        let qualified = self.names_schema();
        let landing = Landing { table, qualified, place, taking, verb: Verb::Insert, moved: None, draws };
        let mut finish = self.fill(text, &regions, depot)?;
        finish.own_clock |= clock.is_some();
        finish.clock = finish.clock.or(clock);
        let reason = self.reason.detail.as_deref().unwrap_or(&self.reason.message).into();
        let finish = Finish {
            by_views: None,
            reason,
            in_transaction: Ok(finish.clone()),
            alone: finish,
            elsewhere: Err("it puts together rows that are written".into()),
            copy: false,
            cursor: None,
            // What a depot takes is checked with it.
            draws: false,
        };
        Ok(Delivery { finish, landing: Arc::new(landing) })
    }

    /// The depot, a function in its defaults that reads the clock, and what they take of sequences.
    fn depot(&self, text: &str, regions: &Regions) -> Result<(Depot, Option<Box<str>>, Draws), String> {
        let column = |at: &usize| self.table.columns.get(*at).ok_or("a column of its table is not known".to_owned());
        let mut columns = Vec::new();
        let mut clock = None;
        let mut draws = Draws { alone: calls_no_sequence(text, &self.of.scope), ..Draws::default() };
        let mut add = |column: &Column, default: bool| -> Result<(), String> {
            if column.generated {
                return Err(format!("column \"{}\" is generated", column.name));
            }
            let default = match default {
                false => None,
                true => evaluated(&self.of.scope, column).map_err(|()| {
                    format!("the default of column \"{}\" can be evaluated by its table alone", column.name)
                })?,
            };
            clock = clock.take().or(default.as_ref().and_then(|default| default.clock.clone()));
            let takes = default.iter().flat_map(|default| &default.takes);
            draws.of_identity.extend(takes.clone().filter(|_| identity_of(column) != Identity::No).cloned());
            draws.sequences.extend(takes.cloned());
            columns.push(DepotColumn {
                name: column.name.clone(),
                type_oid: column.type_oid,
                typmod: column.typmod,
                default: default.map(|default| default.sql),
            });
            Ok(())
        };
        for at in &self.given {
            let column = column(at)?;
            if regions.overrides_user && identity_of(column) != Identity::No {
                return Err(
                    "OVERRIDING USER VALUE draws from a sequence in the place of values that it gives".to_owned()
                );
            }
            add(column, self.omitted.contains(at))?;
        }
        for at in self.omitted.iter().filter(|at| !self.given.contains(at)) {
            let column = column(at)?;
            if self.is_evaluated_here(column) {
                add(column, true)?;
            }
        }
        let twice = |at: usize| columns[..at].iter().any(|before| before.name == columns[at].name);
        if columns.is_empty() || (0..columns.len()).any(twice) {
            return Err("its columns are not known".to_owned());
        }
        let name = depot_name(self.name, &columns, &[]);
        Ok((Depot { name, columns, beside: Vec::new() }, clock, draws))
    }

    /// Whether a column that has no value in the statement gets its default before the rows are delivered.
    fn is_evaluated_here(&self, column: &Column) -> bool {
        let scope = &self.of.scope;
        // Every shard has a sequence of its own, and the home shard's is the one.
        if !matches!(self.target, Target::Home) && takes_from_sequence(column) {
            return true;
        }
        match self.target {
            Target::Keyed { key, .. } => {
                key.iter().any(|name| **name == *column.name) || !column.generated && reads_clock(scope, column)
            }
            // Every shard must store the same.
            Target::Everywhere => match &column.default {
                ColumnDefault::Expression(text) => !is_same_everywhere(scope, text),
                ColumnDefault::None | ColumnDefault::Sequence(_) => false,
            },
            Target::Home => false,
        }
    }

    /// Whether the table is named with a schema that is not that of temporary tables.
    fn names_schema(&self) -> bool {
        let TableObject::TableName(name) = &self.insert.table else { return false };
        parts(name).and_then(|(schema, _)| schema).is_some_and(|schema| !is_temporary_schema(&schema))
    }

    fn place(&self, depot: &Depot) -> Result<Place, String> {
        let (distribution, name, key) = match self.target {
            Target::Keyed { distribution, name, key } => (distribution, name, key),
            Target::Everywhere => return Ok(Place::Everywhere),
            Target::Home => return Ok(Place::Home),
        };
        let key_column = |name: &Box<str>| {
            let column = depot.columns.iter().position(|column| column.name == *name);
            let known = self.table.column(name).map(|(_, column)| column);
            match (column, known) {
                (Some(column), Some(known)) => {
                    Ok(DepotKey { column, type_oid: known.type_oid, not_null: known.not_null })
                }
                _ => Err(format!("its sharding-key column \"{name}\" is not known")),
            }
        };
        let key = key.iter().map(key_column).collect::<Result<_, _>>()?;
        Ok(Place::Keyed { distribution, name: Arc::clone(name), key })
    }

    /// The statement that fills the depot.
    fn fill(&self, text: &str, regions: &Regions, depot: Depot) -> Result<FinishText, String> {
        let into = format!("INSERT INTO pg_temp.{}", depot.name);
        let depot = Arc::new(depot);
        let Some(source) = &self.insert.source else {
            let mut sql = Pieces::default();
            sql.push(&format!("{into} DEFAULT VALUES"));
            return Ok(FinishText {
                below: Vec::new(),
                pulls: Vec::new(),
                sql,
                reads_home: None,
                pulls_all: true,
                clock: None,
                own_clock: false,
                foreign: false,
                limit: None,
                depot: Some(depot),
                views: Vec::new(),
                supplies: Vec::new(),
            });
        };
        let list: Vec<String> =
            depot.columns.iter().take(self.given.len()).map(|column| quoted(&column.name)).collect();
        let query = match (self.with, &source.with) {
            (Some(_), Some(_)) => return Err("there is a WITH before the INSERT and one in its query".to_owned()),
            (None, Some(with)) if with.cte_tables.iter().any(|cte| is_modifying(&cte.query)) => {
                return Err(
                    "WITH contains a statement that changes data, and does not stand before the INSERT".to_owned()
                );
            }
            (with, _) => Query { with: with.cloned().or(source.with.clone()), ..(**source).clone() },
        };
        let edits = vec![
            Edit { bytes: regions.head.clone(), text: format!("{into} ({}) ", list.join(", ")) },
            Edit { bytes: regions.tail..text.len(), text: String::new() },
        ];
        let unmerged = Unmerged { of: self.of, parsed: self.parsed, reason: self.reason, written: Some(self.name) };
        let filled =
            unmerged.filled(&Statement::Query(Box::new(query)), edits).map_err(|why| why.detail.into_owned())?;
        if filled.foreign {
            return Err("it reads a table that the home shard does not have".to_owned());
        }
        Ok(FinishText { depot: Some(depot), ..filled })
    }

    /// The INSERT that takes the rows, where it must be one.
    fn taking(&self, text: &str, regions: &Regions) -> Result<Option<Taking>, String> {
        let insert = self.insert;
        // COPY knows neither rules nor row security, and no views.
        let by_code = has_code(self.of.scope.catalog, self.table);
        let statement = by_code || is_through_view(Some(self.table));
        if insert.on.is_none() && insert.returning.is_none() && !statement {
            return Ok(None);
        }
        let tail = text.get(regions.tail..).unwrap_or_default();
        let reads_clock = self.check_tail(tail)?;
        let sometimes = match &insert.on {
            // A trigger can leave a row out.
            None => by_code,
            Some(OnInsert::OnConflict(OnConflict { action: OnConflictAction::DoUpdate(update), .. })) => {
                update.selection.is_some()
            }
            Some(_) => true,
        };
        // Where only some rows come back, the order of others than these counts for nothing.
        let ordered = insert
            .source
            .as_ref()
            .is_some_and(|query| query.order_by.is_some() || matches!(*query.body, SetExpr::Values(_)));
        let into = &self.table.name;
        let mut head = format!("INSERT INTO {}.{}", quoted(&into.schema), quoted(&into.name));
        if let Some(alias) = &insert.table_alias {
            head.push_str(&format!(" AS {}", quoted(&folded(&alias.alias))));
        }
        let source = self.parsed.source(self.of);
        let tail = Source { text: tail, base: source.base + regions.tail, slots: source.slots };
        Ok(Some(Taking {
            head,
            tail: tail.splice(Vec::new()).ok_or("its end cannot be read with certainty".to_owned())?,
            in_order: insert.returning.is_some() && (ordered || !sometimes),
            reads_clock,
        }))
    }

    /// ON CONFLICT and RETURNING run on each shard for its rows. Whether they read the time of the transaction where all must read the same.
    fn check_tail(&self, text: &str) -> Result<bool, String> {
        let model = self.model_of_tail().ok_or("its ON CONFLICT or RETURNING is not understood".to_owned())?;
        let asks = has_query(&self.insert.on) || has_query(&self.insert.returning);
        if asks {
            self.check_queries(&model)?;
        }
        let uses = &model.uses;
        // A query of rows for a table of the home shard is asked there.
        let there = asks && matches!(self.target, Target::Home) && !uses.home_function;
        if let Some(what) = uses.home.as_ref().filter(|_| !there) {
            return Err(format!("its ON CONFLICT or RETURNING needs the home shard for {what}"));
        }
        // Of several shards each would read its own time; where all have the same rows, nothing else may differ either.
        let varying = match self.target {
            Target::Home => return Ok(false),
            Target::Everywhere => vec![&uses.volatile, &uses.server, &uses.unknown_function, &uses.user_function],
            Target::Keyed { .. } => Vec::new(),
        };
        let clock = uses.clock.as_ref().filter(|_| !is_told(text, self.of.scope.standard_strings));
        match varying.into_iter().flatten().chain(clock).next() {
            Some(name) => {
                Err(format!("function {name}() in its ON CONFLICT or RETURNING can give another value on each shard"))
            }
            None => Ok(uses.clock.is_some()),
        }
    }

    /// Whether the shards answer the queries in ON CONFLICT and RETURNING as one Postgres would.
    fn check_queries(&self, model: &Model<'_>) -> Result<(), String> {
        let there = "there is a subquery in its ON CONFLICT or RETURNING";
        if self.with.is_some() {
            // What it gives is not there, and what it changes would be seen.
            return Err(format!("{there} beside a WITH"));
        }
        let tree = Statement::Insert(Insert { source: None, ..self.insert.clone() });
        match self.target {
            Target::Keyed { .. } => {}
            // Of rows without an order each shard could take others, and store them.
            Target::Everywhere if has_query(&self.insert.on) => return Err(format!("{there} of copies")),
            Target::Everywhere | Target::Home => {
                if let Some(reference) = model.refs.first() {
                    return Err(format!("{there} that reads sharded table \"{}\"", reference.name.table));
                }
            }
        }
        let home = self.of.scope.topology.home;
        match self.target {
            Target::Home if model.needs().iter().all(|shard| shard == home) => Ok(()),
            Target::Home => Err(format!("{there} that reads what does not lie on the home shard")),
            Target::Keyed { .. } | Target::Everywhere => {
                queries_of_rows(self.of, model, &tree).map_err(|why| format!("{there}, and {why}"))
            }
        }
    }

    fn model_of_tail(&self) -> Option<Model<'_>> {
        let literals = self.parsed.literals(self.of);
        let mut scratch = Model::new(self.of.scope, literals, self.of.used.clone());
        let alias = self.insert.table_alias.as_ref().map(|alias| folded(&alias.alias).into_owned());
        let name = alias.unwrap_or_else(|| self.name.name.to_string());
        let level = target_level(&mut scratch, name, Some(self.table)).ok()?;
        let first = scratch.levels.get(level)?.leaves.first().copied()?;
        let (name, spread) = ("excluded".into(), Spread::Same);
        let proposed =
            scratch.add_leaf(Leaf { level, name, schema: None, columns: Columns::default(), spread }).ok()?;
        scratch.leaves[proposed].columns = scratch.columns_of(proposed, Some(self.table));
        if let Target::Keyed { distribution, name, key } = self.target {
            placed(&mut scratch, first, distribution, name, key);
            placed(&mut scratch, proposed, distribution, name, key);
        }
        let at = At { level, ctes: None, vary: false };
        walk_conflict(&mut scratch, &at, self.insert).ok()?;
        // RETURNING does not know it.
        scratch.levels.get_mut(level)?.leaves.retain(|leaf| *leaf != proposed);
        walk_returning(&mut scratch, &at, self.insert.returning.as_deref()).ok()?;
        scratch.levels.get_mut(level)?.leaves.push(proposed);
        Some(scratch)
    }
}

/// The rows of the table are where their keys say: a query that is tied to them by the key finds there what it looks for.
pub(crate) fn placed(
    model: &mut Model<'_>,
    leaf: LeafId,
    distribution: DistributionId,
    name: &Arc<KeyName>,
    key: &[Box<str>],
) {
    let node = |name: &Box<str>| {
        model.leaves[leaf].columns.list.iter().find(|column| column.name == *name).and_then(|column| column.node)
    };
    let Some(key) = key.iter().map(node).collect::<Option<Vec<_>>>() else { return };
    let name = Arc::clone(name);
    model.refs.push(Reference { leaf, distribution, name, key, of: RowsOf::Table, uniques: Vec::new() });
}

/// Why shards would not answer the queries of a statement for their own rows of the first table as one Postgres would for all.
pub(crate) fn queries_of_rows(of: &Analyzer<'_>, model: &Model<'_>, tree: &Statement) -> Result<(), String> {
    check_places(model, &Spread::Same)?;
    check_calls(of, tree, model)?;
    if model.uses.clock_in_view {
        return Err("it reads a view that reads the clock".to_owned());
    }
    if model.uses.locking {
        return Err("it locks rows".to_owned());
    }
    match &model.uses.unsafe_function {
        Some(name) => Err(format!("function {name}() is not known to be safe")),
        None => Ok(()),
    }
}

/// Whether all that reads the clock in a text reads the start of the transaction, by the functions that a time is written in the place of.
fn is_told(text: &str, standard_strings: bool) -> bool {
    const OTHERS: [&str; 3] = ["statement_timestamp", "clock_timestamp", "age"];
    let Some(tokens) = tokens(text, standard_strings) else { return false };
    tokens.iter().all(|token| match token.kind {
        TokenKind::Word | TokenKind::Quoted => name_of(text, token).is_some_and(|name| !OTHERS.contains(&&*name)),
        TokenKind::Literal(_) => !reads_clock_text(text_of(text, token)),
        TokenKind::UnicodeQuoted => false,
        _ => true,
    })
}

/// Whether the text takes or reads no values of sequences.
fn calls_no_sequence(text: &str, scope: &NameScope<'_>) -> bool {
    tokens(text, scope.standard_strings).is_some_and(|tokens| sequences::uses(text, &tokens, scope).is_none())
}

pub(crate) fn identity_of(column: &Column) -> Identity {
    match &column.default {
        ColumnDefault::Sequence(default) => default.identity,
        ColumnDefault::None | ColumnDefault::Expression(_) => Identity::No,
    }
}

/// The same for the same columns and defaults: a depot that is there already can be used again.
pub(crate) fn depot_name(table: &QualifiedName, columns: &[DepotColumn], beside: &[DepotColumn]) -> String {
    format!("pgloom_d{:08x}", fingerprint(&format!("{table}\0{columns:?}\0{beside:?}")))
}

/// Whether there is a query in a part of a statement.
pub(crate) fn has_query(part: &impl Visit) -> bool {
    struct HasQuery;
    impl Visitor for HasQuery {
        type Break = ();
        fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
            ControlFlow::Break(())
        }
    }
    part.visit(&mut HasQuery).is_break()
}

/// The RETURNING at the end of a statement, as it is written.
pub(crate) fn returning_text(of: &Analyzer<'_>, parsed: &Parsed<'_>, text: &str) -> Option<Pieces> {
    let tokens = tokens(text, true)?;
    let is_returning =
        |token: &Token| token.kind == TokenKind::Word && text_of(text, token).eq_ignore_ascii_case("returning");
    // It is a reserved word.
    let mut depth = 0usize;
    let mut found = None;
    for token in &tokens {
        if token.is(b'(') || token.is(b'[') {
            depth += 1;
        } else if token.is(b')') || token.is(b']') {
            depth = depth.checked_sub(1)?;
        } else if depth == 0 && found.is_none() && is_returning(token) {
            found = Some(token.start);
        }
    }
    let start = found?;
    let source = parsed.source(of);
    let tail = Source { text: text.get(start..)?, base: source.base + start, slots: source.slots };
    tail.splice(Vec::new())
}

/// Whether rows of the table, or of its partitions, set off code of users.
pub(crate) fn has_code(catalog: &Catalog, table: &Table) -> bool {
    let child = |other: &&Arc<Table>| other.is_child_of(&table.name);
    table.has_triggers || catalog.tables.values().filter(child).any(|child| has_code(catalog, child))
}

/// Where the parts of an INSERT stand in its text.
struct Regions {
    /// From INSERT to the query of its rows.
    head: Range<usize>,
    /// Where what follows that query begins.
    tail: usize,
    overrides_user: bool,
}

impl Regions {
    /// `None` where the text in between is not certain to be the query.
    fn of(text: &str, insert: &Insert) -> Option<Self> {
        let tokens = tokens(text, true)?;
        let word = |at: usize| tokens.get(at).map_or("", |token| text_of(text, token)).to_ascii_lowercase();
        let mut depths = Vec::with_capacity(tokens.len());
        let mut depth = 0usize;
        for token in &tokens {
            if token.is(b')') || token.is(b']') {
                depth = depth.checked_sub(1)?;
            }
            depths.push(depth);
            if token.is(b'(') || token.is(b'[') {
                depth += 1;
            }
        }
        let top = |at: &usize| depths[*at] == 0;
        let all = || (0..tokens.len()).filter(top);
        let start = all().find(|at| word(*at) == "insert")?;
        let begins = |at: &usize| matches!(&*word(*at), "select" | "with" | "values" | "default");
        let opens =
            |at: &usize| tokens[*at].is(b'(') && (begins(&(at + 1)) || tokens.get(at + 1).is_some_and(|t| t.is(b'(')));
        let query = all().find(|at| *at > start && (begins(at) || opens(at)))?;
        let returning = all().find(|at| *at > query && word(*at) == "returning").unwrap_or(tokens.len());
        let conflict = |at: &usize| *at > query && *at < returning && word(*at) == "on" && word(at + 1) == "conflict";
        let end = all().rfind(conflict).unwrap_or(returning);
        let byte = |at: usize| tokens.get(at).map_or(text.len(), |token| token.start);
        let found = text.get(byte(query)..byte(end))?;
        let same = match &insert.source {
            Some(source) => {
                let read = spelling::read(found, 0, &[]).filter(|read| read.other.is_none());
                matches!(read?.tree, Statement::Query(query) if query.to_string() == source.to_string())
            }
            None => word(query) == "default" && word(query + 1) == "values" && end == query + 2,
        };
        let overrides_user = (start..query).any(|at| word(at) == "overriding" && word(at + 1) == "user");
        same.then(|| Self { head: byte(start)..byte(query), tail: byte(end), overrides_user })
    }
}

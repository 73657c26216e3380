//! `Claim`: rows that are locked one after the other until there are enough, over several shards: `SELECT ... ORDER BY ... LIMIT n FOR
//! UPDATE [SKIP LOCKED]`.
//!
//! A shard that is given the LIMIT would lock rows that are not returned, and so would a shard whose first row is only looked at. So
//! the shards tell first which rows there are, in order and without locks; these are locked by their primary key, as many at a time as
//! are missing; what is locked is then read. Each shard checks the conditions again when it locks a row, as Postgres does with a row
//! that it has waited for.

use std::sync::Arc;

use sqlparser::ast::{
    BinaryOperator, Expr, Ident, Join, JoinConstraint, JoinOperator, ObjectName, OrderBy, OrderByExpr, OrderByKind,
    OrderByOptions, Query, Select, SelectItem, SelectItemQualifiedWildcardKind, SetExpr, Statement, TableFactor,
};

use crate::ids::Oid;
use crate::sql::analyze::Analyzer;
use crate::sql::closed::Closed;
use crate::sql::combine::Gather;
use crate::sql::exprs::At;
use crate::sql::facts::as_select;
use crate::sql::finish::Parsed;
use crate::sql::from::is_only;
use crate::sql::inserting::has_query;
use crate::sql::keys::KeyGroup;
use crate::sql::limit::read_limit;
use crate::sql::locking::{Busy, LockText};
use crate::sql::model::{ColumnType, LeafId, LevelId, Model, Obstacle, Spread, Stop};
use crate::sql::names::{Relation, folded, resolve};
use crate::sql::outcome::Limit;
use crate::sql::pieces::{Pieces, can_have_holes, make_holes, parameter_hole};
use crate::sql::pulls::is_portable;
use crate::sql::query::{SelectLevel, is_grouped, item_expr};
use crate::sql::rewrite::is_faithful;
use crate::sql::shape::{Shape, Sorted, check_scatter, order_by_keys, ordinal};
use crate::sql::spelling::{self, Read};
use crate::sql::splice::Source;
use crate::sql::supplying::Supplying;
use crate::sql::words::{text_of, tokens};
use crate::types::{Collation, array_of};

/// A parameter of ours, as n - 1: which of the shards it is that runs the statement.
pub const WHICH_SHARD: u16 = u16::MAX - 2;
/// The first of those that are arrays of primary keys, one for each of its columns.
pub const KEYS: u16 = u16::MAX - 64;
/// The client's own parameters end below.
const OWN_PARAMETERS: u16 = KEYS - 1;

/// What is printed where a text of ours goes.
const ROWS_HERE: &str = "pgloom_rows_here";
const AMONG_HERE: &str = "pgloom_among_here";
const PLACE_HERE: &str = "pgloom_place_here";

/// A SELECT with row locks and LIMIT that several shards run.
#[derive(Clone, Debug)]
pub struct Claim {
    /// Sort keys, primary key and shard of each row that may be claimed, in order; all in binary.
    pub candidates: Pieces,
    /// The types of the sort keys.
    pub sorts: Vec<(Oid, Collation)>,
    pub gather: Gather,
    /// The columns of the primary key: their types, and those of arrays of them.
    pub key: Arc<[(Oid, Oid)]>,
    /// Locks those of [`KEYS`] that still are as the statement wants them; gives their places.
    pub lock: Pieces,
    pub busy: Busy,
    /// The rows of [`KEYS`], and behind their columns the places.
    pub rows: Pieces,
    pub limit: Limit,
}

/// How the statement is carried out on several shards, or why it cannot be.
pub(crate) fn claim(
    of: &Analyzer<'_>,
    model: &Model<'_>,
    parsed: &Parsed<'_>,
    query: &Query,
    level: &SelectLevel,
) -> Result<Claim, Obstacle> {
    check_scatter(model, &level.base)?;
    let Spread::Parted { refs, anchors } = &level.base else {
        return Err(simple_only("it locks rows that every shard has"));
    };
    let select = as_select(query).ok_or_else(|| simple_only("it is a set operation"))?;
    check_simple(model, query, select, level)?;
    let limit = read_limit(query)?.unwrap_or_default();
    let text = parsed.text(of);
    let unread = || simple_only("its text cannot be changed with certainty");
    let locks = LockText::cut(text).ok_or_else(unread)?;
    if locks.weak {
        // What is read behind the lock could be another version of the row.
        return Err(simple_only("a row that is locked FOR KEY SHARE can be changed by others").hint("Use FOR SHARE."));
    }
    let tree = super::parse(&locks.without).ok_or_else(unread)?;
    let plain = is_faithful(&tree, &locks.without, of.scope.standard_strings) && !text.contains("pgloom_");
    if !plain || of.parameters > OWN_PARAMETERS {
        return Err(unread());
    }
    let mut shape = Shape {
        model,
        query,
        select,
        level: level.level,
        columns: &level.columns,
        anchors: anchors.clone(),
        refs: refs.clone(),
        added: Vec::new(),
    };
    let keys = shape.order_keys()?;
    let sorts = sort_expressions(&shape, &keys)?;
    let of_rows = primary_keys(of, model, select, level.level)?;
    let texts = Texts { model, tree: &tree, level: level.level, key: &of_rows };
    let key: Option<Arc<[(Oid, Oid)]>> = of_rows.iter().map(|of| Some((of.oid, array_of(of.oid)?))).collect();
    let no_type = || simple_only("values of its table's primary key cannot be sent from one shard to another");
    let gather = match keys.is_empty() {
        true => Gather::Concat,
        false => {
            let by_place = keys.iter().enumerate().map(|(column, key)| Sorted { column, ..*key }.key());
            Gather::MergeSort(by_place.collect())
        }
    };
    Ok(Claim {
        candidates: texts.candidates(&keys, &sorts).ok_or_else(unread)?,
        sorts: sorts.into_iter().map(|(_, ty)| (ty.oid, ty.collation)).collect(),
        gather,
        key: key.ok_or_else(no_type)?,
        lock: texts.lock(&locks).ok_or_else(unread)?,
        busy: locks.busy,
        rows: texts.rows().ok_or_else(unread)?,
        limit,
    })
}

impl Supplying<'_> {
    /// A query within a statement that locks the rows that it gives, where it does: how it is carried out, and the tables that it reads.
    pub fn claimed(&self, closed: &Closed, source: &Source<'_>) -> Result<Option<(Claim, Vec<KeyGroup>)>, String> {
        let unread = || "a query of it cannot be found in its text with certainty".to_owned();
        let text = source.text.get(closed.bytes.clone()).ok_or_else(unread)?;
        let read = spelling::read(text, 0, &[]).filter(|read| read.other.is_none());
        let Read { tree, .. } = read.ok_or_else(unread)?;
        let Statement::Query(query) = &tree else { return Err(unread()) };
        if query.locks.is_empty() {
            return Ok(None);
        }
        if behind_exists(source.text, closed.bytes.start) {
            // Its first row is enough for Postgres, which locks no more then.
            return Err("EXISTS over rows that are locked".to_owned());
        }
        let parsed = self.parsed.within(&tree, closed.bytes.clone()).ok_or_else(unread)?;
        let mut model = Model::new(self.of.scope, parsed.literals(self.of), self.of.used.clone());
        let walked = walk(&mut model, query).map_err(|_| "a query that locks rows is not understood".to_owned())?;
        let level = walked.ok_or_else(|| "a set operation cannot lock rows".to_owned())?;
        if closed.source || model.refs.is_empty() || !model.needs().is_empty() {
            return Err("it locks rows that are not those of one sharded table".to_owned());
        }
        let claim = claim(self.of, &model, &parsed, query, &level)?;
        Ok(Some((claim, model.groups())))
    }
}

/// Whether the parenthesis that ends at this byte is that of EXISTS.
fn behind_exists(text: &str, start: usize) -> bool {
    let before = tokens(text, true).unwrap_or_default();
    let mut before = before.iter().rev().skip_while(|token| token.end > start);
    let opens = before.next().is_some_and(|token| token.is(b'('));
    !opens || before.next().is_some_and(|token| text_of(text, token).eq_ignore_ascii_case("exists"))
}

fn walk(model: &mut Model<'_>, query: &Query) -> Result<Option<SelectLevel>, Stop> {
    let Some(select) = as_select(query) else { return Ok(None) };
    let level = model.select(select, None, None, &None)?;
    model.note_locks(query, level.level);
    let at = At { level: level.level, ctes: None, vary: false };
    model.walk_order_by(&at, query.order_by.as_ref())?;
    model.walk_limit(&at, query)?;
    Ok(Some(level))
}

/// Why a statement locks rows in no form that is carried out over several shards.
fn simple_only(why: &str) -> Obstacle {
    Obstacle::new(format!("FOR UPDATE or FOR SHARE with LIMIT over several shards, and {why}"))
        .hint("Take the rows of tables with primary keys that are joined by the sharding key, without outer joins and subqueries, or give the sharding key one value in WHERE.")
}

fn check_simple(model: &Model<'_>, query: &Query, select: &Select, level: &SelectLevel) -> Result<(), Obstacle> {
    let of_level = &model.levels[level.level];
    let plain = query.with.is_none()
        && !is_grouped(select)
        && !of_level.aggregates
        && of_level.windows.is_empty()
        && select.distinct.is_none()
        && select.into.is_none();
    let tables = model.leaves.len() == of_level.leaves.len() && model.subqueries.is_empty();
    let queries = has_query(select) || has_query(&query.order_by) || has_query(&query.limit_clause);
    // Which of the columns that were made one a `*` means is not told by the tables.
    let starred = select.projection.iter().any(|item| matches!(item, SelectItem::Wildcard(_)));
    let merged = starred && (!of_level.merged.is_empty() || of_level.natural || of_level.unknown_merge);
    match plain && tables && !queries && !merged && model.uses.sample.is_none() {
        true => Ok(()),
        false => Err(simple_only("there is more than rows of tables in it")),
    }
}

/// A column of the key by which a row of one table in FROM is found again.
struct KeyColumn {
    leaf: LeafId,
    name: Box<str>,
    oid: Oid,
}

/// Most columns of all keys together.
const MOST_KEYS: usize = 32;

/// The columns of the primary key, or of another key that every row has, of each table in FROM: together they say which row of the join it
/// is.
fn primary_keys(
    of: &Analyzer<'_>,
    model: &Model<'_>,
    select: &Select,
    level: LevelId,
) -> Result<Vec<KeyColumn>, Obstacle> {
    let more = || simple_only("there is more than rows of tables in it");
    let mut factors = Vec::new();
    for item in &select.from {
        factors.push(&item.relation);
        for join in &item.joins {
            let (JoinOperator::Join(_) | JoinOperator::Inner(_) | JoinOperator::CrossJoin(_)) = &join.join_operator
            else {
                return Err(simple_only("it has an outer join"));
            };
            factors.push(&join.relation);
        }
    }
    let leaves = &model.levels[level].leaves;
    if leaves.len() != factors.len() {
        return Err(more());
    }
    let mut keys = Vec::new();
    for (factor, leaf) in factors.into_iter().zip(leaves) {
        let TableFactor::Table { name, args: None, alias, .. } = factor else { return Err(more()) };
        if alias.as_ref().is_some_and(|alias| !alias.columns.is_empty()) {
            return Err(simple_only("it gives columns other names"));
        }
        if is_only(name) {
            return Err(simple_only("it says ONLY"));
        }
        let found = super::names::parts(name).map(|(schema, name)| resolve(&of.scope, schema.as_deref(), &name));
        let Some(Relation::Sharded { table: Some(table), .. } | Relation::Reference { table: Some(table), .. }) = found
        else {
            return Err(simple_only("a table of it is not in the catalog"));
        };
        let column = |at: &usize| {
            let column = table.columns.get(*at).filter(|column| column.not_null && is_portable(column.type_oid))?;
            Some(KeyColumn { leaf: *leaf, name: column.name.clone(), oid: column.type_oid })
        };
        let of_key = |key: &Vec<usize>| key.iter().map(column).collect::<Option<Vec<_>>>();
        let key = table.firm_keys().find_map(of_key);
        keys.extend(key.ok_or_else(|| {
            simple_only("a table of it has no primary key that can be sent from one shard to another")
        })?);
    }
    match keys.len() <= MOST_KEYS {
        true => Ok(keys),
        false => Err(simple_only("the primary keys of its tables have more than 32 columns")),
    }
}

/// What the rows are sorted by, as expressions of the statement.
fn sort_expressions(shape: &Shape<'_, '_>, keys: &[Sorted]) -> Result<Vec<(Expr, ColumnType)>, Obstacle> {
    let width = shape.columns.list.len();
    let leaves = &shape.model.levels[shape.level].leaves;
    let expression = |key: &Sorted| -> Option<(Expr, ColumnType)> {
        if let Some(at) = key.column.checked_sub(width) {
            let expr = shape.added.get(at)?.clone();
            let ty = crate::sql::infer::type_of(shape.model, shape.level, &expr)?;
            return Some((expr, ty));
        }
        let column = shape.columns.list.get(key.column)?;
        let named = column.node.and_then(|node| {
            leaves.iter().find_map(|leaf| {
                let mut columns = shape.model.leaves[*leaf].columns.list.iter();
                Some((*leaf, columns.find(|of| of.node == Some(node))?))
            })
        });
        let expr = match named {
            Some((leaf, named)) => column_of(shape.model, leaf, &named.name),
            None => match item_expr(shape.select, key.column) {
                Some(expr) => expr.clone(),
                // Behind a `*` items are found by their names.
                None => named_item(shape.select, &column.name)?,
            },
        };
        Some((expr, column.ty?))
    };
    let all = keys.iter().map(expression).collect::<Option<_>>();
    all.ok_or_else(|| simple_only("what it is sorted by cannot be told with certainty"))
}

/// The expression of the only item that has this name.
fn named_item(select: &Select, name: &str) -> Option<Expr> {
    let mut found = select.projection.iter().filter_map(|item| match item {
        SelectItem::ExprWithAlias { expr, alias } if *folded(alias) == *name => Some(expr),
        _ => None,
    });
    found.next().filter(|_| found.next().is_none()).cloned()
}

/// `table.column`
fn column_of(model: &Model<'_>, leaf: LeafId, name: &str) -> Expr {
    let leaf = &model.leaves[leaf];
    let names = leaf.schema.as_deref().into_iter().chain([&*leaf.name, name]);
    Expr::CompoundIdentifier(names.map(|name| Ident::with_quote('"', name)).collect())
}

/// Makes the texts of a claim out of the statement without its lock clause.
struct Texts<'a> {
    model: &'a Model<'a>,
    tree: &'a Statement,
    level: LevelId,
    key: &'a [KeyColumn],
}

impl Texts<'_> {
    fn candidates(&self, keys: &[Sorted], sorts: &[(Expr, ColumnType)]) -> Option<Pieces> {
        self.print("", |query, select| {
            let sorts = sorts.iter().map(|(expr, _)| expr.clone());
            let key = self.key.iter().map(|key| self.column(key));
            let which = Expr::Identifier(Ident::new(PLACE_HERE));
            select.projection = sorts.chain(key).chain([which]).map(SelectItem::UnnamedExpr).collect();
            let by_place: Vec<Sorted> =
                keys.iter().enumerate().map(|(column, key)| Sorted { column, ..*key }).collect();
            query.order_by = (!keys.is_empty()).then(|| order_by_keys(&by_place, ordinal));
        })
        .and_then(|text| Pieces::of(&text.replace(PLACE_HERE, &format!("{}::pg_catalog.int4", hole(WHICH_SHARD)))))
    }

    fn lock(&self, locks: &LockText) -> Option<Pieces> {
        let (names, arrays) = (self.names(), self.arrays());
        let same: Vec<String> =
            self.key.iter().zip(1..).map(|(key, n)| format!("pgloom_at.pgloom_k{n} = {}", self.column(key))).collect();
        let place = format!(
            "(SELECT pgloom_at.pgloom_n FROM ROWS FROM ({arrays}) WITH ORDINALITY AS pgloom_at ({names}, pgloom_n) WHERE {})",
            same.join(" AND ")
        );
        let columns: Vec<String> = self.key.iter().map(|key| self.column(key).to_string()).collect();
        let among =
            format!("({}) IN (SELECT {names} FROM ROWS FROM ({arrays}) AS pgloom_keys ({names}))", columns.join(", "));
        let text = self.print(&locks.clause, |query, select| {
            select.projection = vec![SelectItem::UnnamedExpr(Expr::Identifier(Ident::new(PLACE_HERE)))];
            let among = Expr::Identifier(Ident::new(AMONG_HERE));
            select.selection = Some(match select.selection.take() {
                Some(before) => Expr::BinaryOp {
                    left: Box::new(Expr::Nested(Box::new(before))),
                    op: BinaryOperator::And,
                    right: Box::new(among),
                },
                None => among,
            });
            query.order_by = Some(order_by(ordinal(0)));
        })?;
        Pieces::of(&text.replace(PLACE_HERE, &place).replace(AMONG_HERE, &among))
    }

    fn rows(&self) -> Option<Pieces> {
        let (names, arrays) = (self.names(), self.arrays());
        let same: Vec<String> = self
            .key
            .iter()
            .zip(1..)
            .map(|(key, n)| format!("pgloom_keys.pgloom_k{n} = {}", self.column(key)))
            .collect();
        let from = format!("ROWS FROM ({arrays}) WITH ORDINALITY AS pgloom_keys ({names}, pgloom_n)");
        let text = self.print("", |query, select| {
            let items = std::mem::take(&mut select.projection);
            select.projection = items.into_iter().flat_map(|item| self.own_items(item)).collect();
            // What is locked is what the conditions want, and the keys say which rows belong together.
            for join in select.from.iter_mut().flat_map(|item| &mut item.joins) {
                if let JoinOperator::Join(JoinConstraint::On(_)) | JoinOperator::Inner(JoinConstraint::On(_)) =
                    join.join_operator
                {
                    join.join_operator = JoinOperator::CrossJoin(JoinConstraint::None);
                }
            }
            let place = Expr::CompoundIdentifier(vec![Ident::new("pgloom_keys"), Ident::new("pgloom_n")]);
            select.projection.push(SelectItem::UnnamedExpr(place.clone()));
            select.selection = Some(Expr::Identifier(Ident::new(AMONG_HERE)));
            let join = TableFactor::Table {
                name: ObjectName::from(vec![Ident::new(ROWS_HERE)]),
                alias: None,
                args: None,
                with_hints: Vec::new(),
                version: None,
                with_ordinality: false,
                partitions: Vec::new(),
                json_path: None,
                sample: None,
                index_hints: Vec::new(),
            };
            if let Some(from) = select.from.first_mut() {
                let join_operator = JoinOperator::CrossJoin(JoinConstraint::None);
                from.joins.push(Join { relation: join, global: false, join_operator });
            }
            query.order_by = Some(order_by(place));
        })?;
        Pieces::of(&text.replace(ROWS_HERE, &from).replace(AMONG_HERE, &same.join(" AND ")))
    }

    /// `*` is for the statement's own tables alone.
    fn own_items(&self, item: SelectItem) -> Vec<SelectItem> {
        let SelectItem::Wildcard(options) = item else { return vec![item] };
        let of_leaf = |leaf: &LeafId| {
            let leaf = &self.model.leaves[*leaf];
            let names = leaf.schema.as_deref().into_iter().chain([&*leaf.name]);
            let names: Vec<Ident> = names.map(|name| Ident::with_quote('"', name)).collect();
            let kind = SelectItemQualifiedWildcardKind::ObjectName(ObjectName::from(names));
            SelectItem::QualifiedWildcard(kind, options.clone())
        };
        self.model.levels[self.level].leaves.iter().map(of_leaf).collect()
    }

    fn column(&self, key: &KeyColumn) -> Expr {
        column_of(self.model, key.leaf, &key.name)
    }

    fn names(&self) -> String {
        (1..=self.key.len()).map(|n| format!("pgloom_k{n}")).collect::<Vec<_>>().join(", ")
    }

    fn arrays(&self) -> String {
        let array = |at: u16| format!("pg_catalog.unnest({})", hole(KEYS + at));
        (0u16..).take(self.key.len()).map(array).collect::<Vec<_>>().join(", ")
    }

    /// The statement changed and printed, without LIMIT and with `clause` at its end.
    fn print(&self, clause: &str, change: impl FnOnce(&mut Query, &mut Select)) -> Option<String> {
        let mut tree = self.tree.clone();
        let Statement::Query(query) = &mut tree else { return None };
        let empty =
            SetExpr::Values(sqlparser::ast::Values { explicit_row: false, value_keyword: false, rows: Vec::new() });
        let SetExpr::Select(mut select) = std::mem::replace(&mut *query.body, empty) else { return None };
        query.limit_clause = None;
        query.fetch = None;
        change(query, &mut select);
        *query.body = SetExpr::Select(select);
        if !can_have_holes(&tree.to_string()) {
            return None;
        }
        make_holes(&mut tree, &self.model.literals, true);
        let space = if clause.is_empty() { "" } else { " " };
        Some(format!("{tree}{space}{clause}"))
    }
}

fn hole(parameter: u16) -> String {
    parameter_hole(parameter)
}

fn order_by(expr: Expr) -> OrderBy {
    let options = OrderByOptions { sort: None, nulls_first: None };
    let item = OrderByExpr { expr, options, with_fill: None };
    OrderBy { kind: OrderByKind::Expressions(vec![item]), interpolate: None }
}

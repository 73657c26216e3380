//! Semi-joins between shards: where `a.x = b.y` must hold for every row of `a` that matters, and the rows of `b` that matter are together
//! already, the values of `y` go with the pull of `a`. So the pulls of a statement come in stages, the restricted ones first.
//!
//! Which rows matter is said by the edges of the [`Model`], which hold for the statement as a whole: from a subquery of IN to the rows
//! around it as well as between tables of one join.

use std::collections::{HashMap, HashSet};

use sqlparser::ast::{BinaryOperator, Expr};

use crate::catalog::{RelationKind, Table};
use crate::ids::QualifiedName;
use crate::sql::carried::{carried, column, is_constant};
use crate::sql::facts::unnest;
use crate::sql::model::{LeafId, Model, NodeId};
use crate::sql::outcome::{Keys, KeysFrom, PullSource, PullText};
use crate::sql::pieces::Pieces;
use crate::sql::pulls::quoted;
use crate::sql::pushdown::{Scanned, filters, print_over};
use crate::types::array_of;

/// Later stages would wait longer than they save.
const STAGES: usize = 4;

/// The tables whose rows are together before a pull is asked for.
#[derive(Default)]
pub(crate) struct Known<'a> {
    /// The pulls, by the leaves whose rows they bring.
    pub pulls: HashMap<LeafId, usize>,
    /// What the columns of tables are called in the input of each pull that has them.
    pub columns: HashMap<(usize, NodeId), Box<str>>,
    /// Pulls that stand for one table or query at one place alone.
    pub single: HashSet<usize>,
    /// Unsharded tables, which the connection that finishes the statement has itself.
    pub home: Vec<HomeTable<'a>>,
}

pub(crate) struct HomeTable<'a> {
    pub leaf: LeafId,
    pub name: &'a QualifiedName,
    pub table: &'a Table,
    pub only: bool,
}

/// How much is likely to be left of a table by its own conditions. The smaller goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Left {
    /// Rows with one value, or a few.
    Few,
    Some,
    /// All of a table that is no sharded one.
    Small,
    All,
}

/// Gives the pulls their keys and stages.
pub(crate) fn stage(model: &Model<'_>, pulls: &mut [PullText], known: &Known<'_>) {
    if model.needs_all_rows() {
        return;
    }
    let left: Vec<Left> = (0..pulls.len()).map(|at| left_of_pull(model, &pulls[at], at, known)).collect();
    let mut order: Vec<usize> = (0..pulls.len()).collect();
    order.sort_by_key(|at| left[*at]);
    let mut staging = Staging { model, pulls, known, left, done: Vec::new() };
    // Of a whole table there are too many values to be sent, unless it is found to be restricted by others.
    let (whole, restricted): (Vec<usize>, Vec<usize>) =
        order.into_iter().partition(|at| staging.left[*at] == Left::All);
    for at in restricted {
        staging.take(at);
        staging.done.push(at);
    }
    let mut open = whole;
    while let Some(position) = open.iter().position(|at| staging.take(*at)) {
        staging.done.push(open.remove(position));
    }
}

struct Staging<'a, 's> {
    model: &'a Model<'s>,
    pulls: &'a mut [PullText],
    known: &'a Known<'a>,
    left: Vec<Left>,
    /// Pulls whose values others may have.
    done: Vec<usize>,
}

impl Staging<'_, '_> {
    /// Gives a pull its keys out of those that are done. Whether there are any.
    fn take(&mut self, at: usize) -> bool {
        // Rows that stand for a table at two places matter for either.
        if self.pulls[at].top.is_some() || !self.known.single.contains(&at) {
            return false;
        }
        let mut keys: Vec<Keys> = Vec::new();
        let mut stage = 0;
        for &(own, other) in &self.model.edges {
            let found = self.key(at, own, other).filter(|(found, after)| !keys.contains(found) && *after < STAGES);
            if let Some((found, after)) = found {
                stage = stage.max(after);
                keys.push(found);
            }
        }
        let any = !keys.is_empty();
        self.pulls[at].stage = stage;
        self.pulls[at].keys = keys;
        any
    }

    /// The values of `other` as keys for the column `own` of a pull, and the first stage in which they are known.
    fn key(&self, at: usize, own: NodeId, other: NodeId) -> Option<(Keys, usize)> {
        let model = self.model;
        let (leaf, beside) = (model.nodes[own].leaf, model.nodes[other].leaf);
        let column = self.known.columns.get(&(at, own))?.clone();
        let array = array_of(model.nodes[other].ty.oid)?;
        let reference = model.refs.iter().find(|reference| reference.leaf == leaf);
        let routes = reference.filter(|reference| reference.key[..] == [own]).map(|reference| reference.distribution);
        if has_value(model, own) {
            return None;
        }
        if let Some(from) = self.known.pulls.get(&beside) {
            let found = self.known.columns.get(&(*from, other))?.clone();
            // What one shard can tell by itself, it is asked to.
            let tied = shares_shard(model, leaf, beside) && self.pulls[*from].keys.is_empty();
            if *from == at || !self.done.contains(from) || tied {
                return None;
            }
            let from_pull = KeysFrom::Input { pull: *from, column: found };
            return Some((Keys { from: from_pull, column, array, routes }, self.pulls[*from].stage + 1));
        }
        let home = self.known.home.iter().find(|home| home.leaf == beside)?;
        // A large table would be read whole, only to find which few rows of it matter.
        if self.left[at] == Left::Few && !home.is_restricted(model) {
            return None;
        }
        Some((Keys { from: home.values(model, other)?, column, array, routes }, 1))
    }
}

impl HomeTable<'_> {
    fn is_restricted(&self, model: &Model<'_>) -> bool {
        left_by_conditions(model, self.leaf) < Left::All
    }

    /// The query for the values of one column.
    fn values(&self, model: &Model<'_>, node: NodeId) -> Option<KeysFrom> {
        if !matches!(self.table.kind, RelationKind::Table | RelationKind::PartitionedTable) {
            return None;
        }
        let columns: Vec<&str> = self.table.columns.iter().map(|column| &*column.name).collect();
        let at = model.leaves[self.leaf].columns.list.iter().position(|column| column.node == Some(node))?;
        let only = if self.only { "ONLY " } else { "" };
        let mut query = Pieces::default();
        let (schema, table) = (quoted(&self.name.schema), quoted(&self.name.name));
        query.push(&format!("SELECT {} FROM {only}{schema}.{table}", quoted(columns.get(at)?)));
        let scanned = Scanned { leaf: self.leaf, columns: &columns, qualifier: None };
        for (at, filter) in filters(model, scanned).into_iter().enumerate() {
            query.push(if at == 0 { " WHERE " } else { " AND " });
            query.extend(filter);
        }
        Some(KeysFrom::Home(query))
    }
}

/// Whether a condition says already which value a column has.
fn has_value(model: &Model<'_>, node: NodeId) -> bool {
    let leaf = model.nodes[node].leaf;
    let level = model.leaves[leaf].level;
    let is_it = |expr: &Expr| column(model, level, expr) == Some((leaf, node));
    let says = |expr: &Expr| match unnest(expr) {
        Expr::BinaryOp { left, op: BinaryOperator::Eq, right } => {
            (is_it(left) && is_constant(right)) || (is_it(right) && is_constant(left))
        }
        Expr::InList { expr, list, negated: false } => is_it(expr) && list.iter().all(is_constant),
        _ => false,
    };
    own_filters(model, leaf).any(says) || carried(model, leaf).iter().any(says)
}

fn own_filters<'m>(model: &'m Model<'_>, leaf: LeafId) -> impl Iterator<Item = &'m Expr> {
    let all = model.collected.as_deref().map_or(&[][..], |collected| &collected.filters);
    let level = model.leaves[leaf].level;
    all.iter().filter(move |filter| filter.level == level && filter.leaves.contains(&leaf)).map(|filter| &filter.expr)
}

/// Whether the shard of each row of the one has the rows of the other that it is joined with, in the same level.
fn shares_shard(model: &Model<'_>, one: LeafId, other: LeafId) -> bool {
    let of = |leaf| (0..model.refs.len()).find(|id| model.refs[*id].leaf == leaf);
    model.leaves[one].level == model.leaves[other].level
        && of(one).zip(of(other)).is_some_and(|(one, other)| model.follows(one, other))
}

fn left_of_pull(model: &Model<'_>, pull: &PullText, at: usize, known: &Known<'_>) -> Left {
    let by_key = match &pull.source {
        PullSource::Sharded(groups) => groups.iter().all(|group| group.expr != crate::sql::keys::KeyExpr::Any),
        PullSource::Reference | PullSource::Copies | PullSource::One(_) | PullSource::Rows(_) => false,
    };
    if by_key {
        return Left::Few;
    }
    let of_table = |leaf: &LeafId| left_by_conditions(model, *leaf);
    let leaves = known.pulls.iter().filter(|(_, pull)| **pull == at).map(|(leaf, _)| leaf);
    let by_conditions = match &pull.whole {
        // Some table of it may be restricted to a few rows, and the others with it.
        Some(_) => leaves.map(of_table).min(),
        None => leaves.map(of_table).max(),
    };
    match (by_conditions, &pull.source) {
        (Some(left @ (Left::Few | Left::Some)), _) => left,
        _ if !pull.filters.is_empty() => Left::Some,
        (_, PullSource::Reference | PullSource::Copies | PullSource::One(_) | PullSource::Rows(_)) => Left::Small,
        (_, PullSource::Sharded(_)) => Left::All,
    }
}

fn left_by_conditions(model: &Model<'_>, leaf: LeafId) -> Left {
    // By which names they are printed does not matter here.
    let columns: Vec<&str> = model.leaves[leaf].columns.list.iter().map(|column| &*column.name).collect();
    let level = model.leaves[leaf].level;
    let scanned = [Scanned { leaf, columns: &columns, qualifier: None }];
    let carried = carried(model, leaf);
    let alone = own_filters(model, leaf).chain(&carried);
    let left = |expr: &Expr| match unnest(expr) {
        Expr::BinaryOp { op: BinaryOperator::Eq, .. } | Expr::InList { negated: false, .. } => Left::Few,
        _ => Left::Some,
    };
    let asked = |expr: &&Expr| print_over(model, &scanned, level, expr).is_some() && !model.waits(level, *expr);
    let of_alone = alone.filter(asked).map(left).min();
    of_alone.unwrap_or(Left::All)
}

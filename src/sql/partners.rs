//! Rows without a partner stay on their shards. Where `a.x = b.y` joins two tables of one level, and the shard of a row of `a` has all
//! rows of `b` that it can be joined with (by their sharding keys, or because every shard has all of `b`), the shard itself can tell
//! that a row of `a` finds none which fulfils the conditions on `b`.
//!
//! That leaves rows out and nothing else: the join is made once more by the Postgres that finishes. A condition holds for a row of
//! `b`, and not for the NULLs of an outer join in its place, because one of the conditions is an equality.

use sqlparser::ast::{BinaryOperator, Expr, Ident, Visit, Visitor};
use std::ops::ControlFlow;

use crate::ids::QualifiedName;
use crate::sql::carried::column;
use crate::sql::facts::{is_comparison, unnest};
use crate::sql::model::{Filter, LeafId, LevelId, Model, NodeId};
use crate::sql::pieces::Pieces;
use crate::sql::pulls::quoted;
use crate::sql::pushdown::{Scanned, filters, print_over};

/// A table of the shards at one place of the statement.
pub(crate) struct Place<'a> {
    pub leaf: LeafId,
    pub name: &'a QualifiedName,
    pub only: bool,
    /// Whether every shard has all its rows.
    pub everywhere: bool,
    pub columns: Vec<&'a str>,
}

/// What the rows of a table must find on their own shard, to be asked of `FROM schema.table` without an alias.
pub(crate) fn partners(model: &Model<'_>, places: &[Place<'_>], of: &Place<'_>) -> Vec<Pieces> {
    if model.uses.numbering.hangs_on_server() || model.needs_all_rows() {
        return Vec::new();
    }
    let outer = Scanned { leaf: of.leaf, columns: &of.columns, qualifier: Some(&of.name.name) };
    Search { model, places, seen: vec![of.leaf] }.partners(outer)
}

struct Search<'m, 's> {
    model: &'m Model<'s>,
    places: &'m [Place<'m>],
    /// Each table is asked for once: the first way to it is as good as any.
    seen: Vec<LeafId>,
}

impl Search<'_, '_> {
    fn partners(&mut self, outer: Scanned<'_>) -> Vec<Pieces> {
        let mut found = Vec::new();
        let level = self.model.leaves[outer.leaf].level;
        for place in self.places {
            if self.model.leaves[place.leaf].level != level
                || self.seen.contains(&place.leaf)
                || !self.has_all_partners(outer.leaf, place)
            {
                continue;
            }
            let alias = format!("pgloom {}", self.seen.len());
            let inner = Scanned { leaf: place.leaf, columns: &place.columns, qualifier: Some(&alias) };
            let Some(joins) = self.joins(level, outer, inner) else { continue };
            self.seen.push(place.leaf);
            let further = self.partners(inner);
            if further.is_empty() && !self.is_restricted(level, place.leaf, &joins.columns) {
                continue;
            }
            let mut exists = Pieces::default();
            let only = if place.only { "ONLY " } else { "" };
            let table = format!("{}.{}", quoted(&place.name.schema), quoted(&place.name.name));
            exists.push(&format!("EXISTS (SELECT FROM {only}{table} AS {} WHERE ", quoted(&alias)));
            let conditions = joins.conditions.into_iter().chain(filters(self.model, inner)).chain(further);
            for (at, condition) in conditions.enumerate() {
                exists.push(if at > 0 { " AND " } else { "" });
                exists.extend(condition);
            }
            exists.push(")");
            found.push(exists);
        }
        found
    }

    /// Whether the shard of each row of `outer` has every row that it can be joined with.
    fn has_all_partners(&self, outer: LeafId, inner: &Place<'_>) -> bool {
        let of = |leaf| (0..self.model.refs.len()).find(|id| self.model.refs[*id].leaf == leaf);
        inner.everywhere || of(outer).zip(of(inner.leaf)).is_some_and(|(outer, inner)| self.model.follows(outer, inner))
    }

    /// How rows of `outer` are joined with `inner`; `None`: by no equality.
    fn joins(&self, level: LevelId, outer: Scanned<'_>, inner: Scanned<'_>) -> Option<Joins> {
        let mut joins = Joins::default();
        let mut equal = false;
        for filter in self.filters(level, outer.leaf) {
            // Comparisons of columns cannot fail, whichever rows they are asked of.
            let Expr::BinaryOp { left, op, right } = unnest(&filter.expr) else { continue };
            let (Some(a), Some(b)) = (column(self.model, level, left), column(self.model, level, right)) else {
                continue;
            };
            let of_both = [(a, b), (b, a)].into_iter().find(|(a, b)| a.0 == outer.leaf && b.0 == inner.leaf);
            let (Some((_, (_, node))), true) = (of_both, is_comparison(op)) else { continue };
            joins.conditions.extend(print_over(self.model, &[outer, inner], level, &filter.expr));
            joins.columns.push(node);
            equal |= *op == BinaryOperator::Eq;
        }
        (equal && joins.conditions.len() == joins.columns.len()).then_some(joins)
    }

    /// Whether some condition leaves out rows of a table, beyond what those on the other side of the join leave out.
    fn is_restricted(&self, level: LevelId, leaf: LeafId, joined: &[NodeId]) -> bool {
        self.filters(level, leaf).any(|filter| {
            let mut of = Columns { model: self.model, level, leaf, joined, others: false, further: false };
            let _ = filter.expr.visit(&mut of);
            of.others && !of.further
        })
    }

    fn filters(&self, level: LevelId, leaf: LeafId) -> impl Iterator<Item = &Filter> {
        let all = self.model.collected.as_deref().map_or(&[][..], |collected| &collected.filters);
        all.iter().filter(move |filter| filter.level == level && filter.leaves.contains(&leaf))
    }
}

#[derive(Default)]
struct Joins {
    conditions: Vec<Pieces>,
    /// The inner side of each.
    columns: Vec<NodeId>,
}

/// Which columns a condition names.
struct Columns<'m, 's> {
    model: &'m Model<'s>,
    level: LevelId,
    leaf: LeafId,
    joined: &'m [NodeId],
    /// Some of the leaf that are not joined.
    others: bool,
    /// Some that are not the leaf's.
    further: bool,
}

impl Visitor for Columns<'_, '_> {
    type Break = ();
    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        let names: &[Ident] = match expr {
            Expr::Identifier(name) => std::slice::from_ref(name),
            Expr::CompoundIdentifier(names) => names,
            _ => return ControlFlow::Continue(()),
        };
        match self.model.find_column(self.level, names) {
            Some(found) if found.leaf == self.leaf => {
                self.others |= !found.column.node.is_some_and(|node| self.joined.contains(&node));
            }
            _ => self.further = true,
        }
        ControlFlow::Continue(())
    }
}

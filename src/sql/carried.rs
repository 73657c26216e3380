//! Conditions carried over: where `a.x = b.y` joins two tables of one level and `a.x = 5`, only rows of `b` with `y = 5` matter.
//!
//! A filter says of its leaves that their rows can be left out where it holds in no combination. So rows of `a` with another `x` can
//! be left out, and then `a.x = b.y` holds for no row of `b` with another `y`. That takes types whose equal values are one and the
//! same value, and conditions that cannot fail: a column compared with constants.

use sqlparser::ast::{BinaryOperator, CastKind, Expr, UnaryOperator};

use crate::sql::facts::unnest;
use crate::sql::model::{Filter, LeafId, LevelId, Model, NodeId};
use crate::sql::names::folded;
use crate::types::oid;

/// What conditions on other tables say of a leaf, written with the leaf's own columns.
pub(crate) fn carried(model: &Model<'_>, leaf: LeafId) -> Vec<Expr> {
    let level = model.leaves[leaf].level;
    let filters = model.collected.as_deref().map_or(&[][..], |collected| &collected.filters);
    let filters: Vec<&Filter> = filters.iter().filter(|filter| filter.level == level).collect();
    let mut found = Vec::new();
    for (own, ours, first) in joins(model, &filters, leaf) {
        let mut open = vec![first];
        let mut next = 0;
        while let Some(&at) = open.get(next) {
            next += 1;
            if at == (leaf, ours) {
                continue;
            }
            for filter in filters.iter().filter(|filter| filter.leaves.contains(&at.0)) {
                found.extend(renamed(model, level, &filter.expr, at, own));
            }
            for (_, node, other) in joins(model, &filters, at.0) {
                if node == at.1 && !open.contains(&other) {
                    open.push(other);
                }
            }
        }
    }
    found
}

/// The equalities that rows of a leaf must fulfil, of its column (as it is written, and its node) with one of another leaf.
fn joins<'f>(model: &Model<'_>, filters: &[&'f Filter], leaf: LeafId) -> Vec<(&'f Expr, NodeId, (LeafId, NodeId))> {
    let mut found = Vec::new();
    for filter in filters.iter().filter(|filter| filter.leaves.contains(&leaf)) {
        let Expr::BinaryOp { left, op: BinaryOperator::Eq, right } = unnest(&filter.expr) else { continue };
        for (one, other) in [(&**left, &**right), (&**right, &**left)] {
            let (Some(a), Some(b)) = (column(model, filter.level, one), column(model, filter.level, other)) else {
                continue;
            };
            if a.0 == leaf && b.0 != leaf && is_one_value(model, a.1, b.1) {
                found.push((one, a.1, b));
            }
        }
    }
    found
}

/// A column of a leaf of this very level. What USING merged can be of another type than the column.
pub(crate) fn column(model: &Model<'_>, level: LevelId, expr: &Expr) -> Option<(LeafId, NodeId)> {
    let names = match unnest(expr) {
        Expr::Identifier(name) => std::slice::from_ref(name),
        Expr::CompoundIdentifier(names) => names,
        _ => return None,
    };
    if let [name] = names
        && model.levels[level].merged.iter().any(|merged| *merged.name == *folded(name))
    {
        return None;
    }
    let found = model.find_column(level, names)?;
    let node = found.column.node.filter(|_| model.leaves[found.leaf].level == level)?;
    Some((found.leaf, node))
}

/// Whether equal values of the two columns are the same value of the same type.
fn is_one_value(model: &Model<'_>, a: NodeId, b: NodeId) -> bool {
    let (a, b) = (model.nodes[a].ty, model.nodes[b].ty);
    let is_plain = matches!(
        a.oid,
        oid::INT2
            | oid::INT4
            | oid::INT8
            | oid::BOOL
            | oid::UUID
            | oid::DATE
            | oid::TIMESTAMP
            | oid::TIMESTAMPTZ
            | oid::TEXT
    );
    is_plain && a.oid == b.oid && a.collation == b.collation && a.collation.equality_is_bytes()
}

/// A condition `column <op> constants` on this column, with another name in its place.
fn renamed(model: &Model<'_>, level: LevelId, expr: &Expr, of: (LeafId, NodeId), name: &Expr) -> Option<Expr> {
    let is_column = |expr: &Expr| column(model, level, expr) == Some(of);
    // Two columns of text can have collations that order differently.
    let ordered = model.nodes[of.1].ty.oid != oid::TEXT;
    let mut expr = unnest(expr).clone();
    match &mut expr {
        Expr::BinaryOp {
            op: BinaryOperator::Lt | BinaryOperator::LtEq | BinaryOperator::Gt | BinaryOperator::GtEq,
            ..
        }
        | Expr::Between { .. }
            if !ordered =>
        {
            return None;
        }
        Expr::BinaryOp {
            left,
            op:
                BinaryOperator::Eq | BinaryOperator::Lt | BinaryOperator::LtEq | BinaryOperator::Gt | BinaryOperator::GtEq,
            right,
        } => {
            if is_column(left) && is_constant(right) {
                **left = name.clone();
            } else if is_column(right) && is_constant(left) {
                **right = name.clone();
            } else {
                return None;
            }
        }
        Expr::InList { expr, list, negated: false } if is_column(expr) && list.iter().all(is_constant) => {
            **expr = name.clone();
        }
        Expr::Between { expr, negated: false, low, high }
            if is_column(expr) && is_constant(low) && is_constant(high) =>
        {
            **expr = name.clone();
        }
        _ => return None,
    }
    Some(expr)
}

pub(crate) fn is_constant(expr: &Expr) -> bool {
    match expr {
        Expr::Value(_) | Expr::TypedString(_) => true,
        Expr::Nested(inner) => is_constant(inner),
        Expr::UnaryOp { op: UnaryOperator::Minus | UnaryOperator::Plus, expr } => matches!(&**expr, Expr::Value(_)),
        Expr::Cast { kind: CastKind::Cast | CastKind::DoubleColon, expr, format: None, .. } => is_constant(expr),
        _ => false,
    }
}

//! Conditions carried over: where `a.x = b.y` joins two tables of one level and `a.x = 5`, only rows of `b` with `y = 5` matter.
//!
//! A filter says of its leaves that their rows can be left out where it holds in no combination. So rows of `a` with another `x` can
//! be left out, and then `a.x = b.y` holds for no row of `b` with another `y`. That takes types whose equal values are one and the
//! same value, and conditions that cannot fail: a column compared with constants.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use sqlparser::ast::{BinaryOperator, CastKind, Expr, UnaryOperator};

use crate::sql::facts::unnest;
use crate::sql::model::{Filter, LeafId, LevelId, Model, NodeId};
use crate::sql::names::folded;
use crate::types::oid;

/// What the filters of one level say of single columns.
#[derive(Debug, Default)]
pub(crate) struct Carriers {
    /// By the leaf whose rows must fulfil them.
    equalities: HashMap<LeafId, Vec<Equality>>,
    /// Filters that compare this column with constants.
    constants: HashMap<(LeafId, NodeId), Vec<usize>>,
}

/// A filter that is an equality of a column of one leaf with one of another.
#[derive(Clone, Copy, Debug)]
struct Equality {
    filter: usize,
    /// The leaf's own column stands on the left.
    is_left: bool,
    own: NodeId,
    other: (LeafId, NodeId),
}

impl Carriers {
    fn of(model: &Model<'_>, level: LevelId, filters: &[Filter]) -> Self {
        let mut carriers = Self::default();
        for (place, filter) in filters.iter().enumerate().filter(|(_, filter)| filter.level == level) {
            let column = |expr: &Expr| column(model, level, expr);
            let compared = match unnest(&filter.expr) {
                Expr::BinaryOp { left, op: BinaryOperator::Eq, right } if !is_constant(left) && !is_constant(right) => {
                    let (left, right) = (column(left), column(right));
                    for (is_left, one, other) in [(true, left, right), (false, right, left)] {
                        let (Some(one), Some(other)) = (one, other) else { continue };
                        if one.0 != other.0 && filter.leaves.contains(&one.0) && is_one_value(model, one.1, other.1) {
                            let equality = Equality { filter: place, is_left, own: one.1, other };
                            carriers.equalities.entry(one.0).or_default().push(equality);
                        }
                    }
                    None
                }
                Expr::BinaryOp { left, right, .. } if is_constant(right) => column(left),
                Expr::BinaryOp { left, right, .. } if is_constant(left) => column(right),
                Expr::InList { expr, .. } | Expr::Between { expr, .. } => column(expr),
                _ => None,
            };
            if let Some(compared) = compared.filter(|(leaf, _)| filter.leaves.contains(leaf)) {
                carriers.constants.entry(compared).or_default().push(place);
            }
        }
        carriers
    }

    fn equalities(&self, leaf: LeafId) -> &[Equality] {
        self.equalities.get(&leaf).map_or(&[], Vec::as_slice)
    }
}

impl Equality {
    /// The leaf's own column as it is written.
    fn written(self, filters: &[Filter]) -> Option<&Expr> {
        match unnest(&filters.get(self.filter)?.expr) {
            Expr::BinaryOp { left, right, .. } => Some(if self.is_left { left } else { right }),
            _ => None,
        }
    }
}

/// What conditions on other tables say of a leaf, written with the leaf's own columns.
pub(crate) fn carried(model: &Model<'_>, leaf: LeafId) -> Vec<Expr> {
    if model.needs_all_rows() {
        return Vec::new();
    }
    let level = model.leaves[leaf].level;
    let filters = model.collected.as_deref().map_or(&[][..], |collected| &collected.filters);
    let known = model.carriers.borrow().get(&level).map(Rc::clone);
    let carriers = known.unwrap_or_else(|| {
        let made = Rc::new(Carriers::of(model, level, filters));
        model.carriers.borrow_mut().insert(level, Rc::clone(&made));
        made
    });
    let mut found = Vec::new();
    for equality in carriers.equalities(leaf) {
        let Some(own) = equality.written(filters) else { continue };
        let mut open = vec![equality.other];
        let mut seen = HashSet::from([equality.other]);
        let mut next = 0;
        while let Some(&at) = open.get(next) {
            next += 1;
            if at == (leaf, equality.own) {
                continue;
            }
            for place in carriers.constants.get(&at).into_iter().flatten() {
                found.extend(filters.get(*place).and_then(|filter| renamed(model, level, &filter.expr, at, own)));
            }
            let on = carriers.equalities(at.0).iter().filter(|equality| equality.own == at.1);
            open.extend(on.map(|equality| equality.other).filter(|other| seen.insert(*other)));
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

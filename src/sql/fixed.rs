//! Columns that conditions hold to one value: `a.x` where `a.x = b.y AND b.y = 5`. Postgres finds them over all joins of a query, and in what
//! it makes joins of.

use std::collections::HashSet;
use std::ops::ControlFlow;

use sqlparser::ast::{BinaryOperator, Expr, Query, Visit, Visitor};

use crate::sql::facts::{row, unnest};
use crate::sql::model::{Filter, LeafId, LevelId, Model, NodeId};

/// One side of an equality.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Side {
    Node(NodeId),
    Column(LeafId, Box<str>),
    /// In a level.
    Text(LevelId, String),
}

/// The columns of these leaves that the filters can hold to one value, by their names. What `besides` says does not count.
pub(crate) fn fixed(
    model: &Model<'_>,
    filters: &[Filter],
    besides: &[&Filter],
    leaves: &[LeafId],
) -> Vec<(LeafId, Box<str>)> {
    let mut found = Equalities { model, leaves, pairs: Vec::new(), fixed: HashSet::new() };
    for filter in filters.iter().filter(|filter| !besides.iter().any(|of| std::ptr::eq(*of, *filter))) {
        match unnest(&filter.expr) {
            Expr::BinaryOp { left, op: BinaryOperator::Eq, right } => match (row(left), row(right)) {
                (Some(left), Some(right)) if left.len() == right.len() => {
                    left.into_iter().zip(right).for_each(|(left, right)| found.add(filter.level, left, right));
                }
                _ => found.add(filter.level, left, right),
            },
            Expr::InList { expr, list, negated: false } => {
                if let [only] = &list[..] {
                    found.add(filter.level, expr, only);
                }
            }
            _ => {}
        }
    }
    found.add_merged();
    let Equalities { pairs, mut fixed, .. } = found;
    let mut known = 0;
    while known < fixed.len() {
        known = fixed.len();
        for (one, other) in &pairs {
            if fixed.contains(one) || fixed.contains(other) {
                fixed.extend([one.clone(), other.clone()]);
            }
        }
    }
    let columns = leaves.iter().flat_map(|leaf| model.leaves[*leaf].columns.list.iter().map(|column| (*leaf, column)));
    columns
        .filter(|(leaf, column)| fixed.contains(&side(*leaf, &column.name, column.node)))
        .map(|(leaf, column)| (leaf, column.name.clone()))
        .collect()
}

fn side(leaf: LeafId, name: &str, node: Option<NodeId>) -> Side {
    node.map_or_else(|| Side::Column(leaf, name.into()), Side::Node)
}

struct Equalities<'a, 's> {
    model: &'a Model<'s>,
    leaves: &'a [LeafId],
    pairs: Vec<(Side, Side)>,
    fixed: HashSet<Side>,
}

impl Equalities<'_, '_> {
    fn add(&mut self, level: LevelId, left: &Expr, right: &Expr) {
        match (self.side(level, left), self.side(level, right)) {
            (Some(left), Some(right)) => self.pairs.push((left, right)),
            (side, None) | (None, side) => self.fixed.extend(side),
        }
    }

    /// `None`: it has one value.
    fn side(&self, level: LevelId, expr: &Expr) -> Option<Side> {
        let names = match unnest(expr) {
            Expr::Identifier(name) => std::slice::from_ref(name),
            Expr::CompoundIdentifier(names) => names,
            expr if expr.visit(&mut Columns { queries: 0 }).is_continue() => return None,
            expr => return Some(Side::Text(level, expr.to_string())),
        };
        let Some(found) = self.model.find_column(level, names) else {
            return Some(Side::Text(level, expr.to_string()));
        };
        // What USING puts together may be of another type than its two columns are.
        let own = self.model.leaves[found.leaf].columns.list.iter().find(|column| column.name == found.column.name);
        let node = own.and_then(|column| column.node);
        // What a query in FROM computes can be a constant.
        let is_computed = || self.model.levels.iter().any(|level| level.leaf_of == Some(found.leaf));
        if node.is_none() && !self.leaves.contains(&found.leaf) && is_computed() {
            return None;
        }
        Some(side(found.leaf, &found.column.name, node))
    }

    /// What USING and NATURAL JOIN compare.
    fn add_merged(&mut self) {
        let model = self.model;
        for level in &model.levels {
            for merged in &level.merged {
                let columns = level.leaves.iter().flat_map(|leaf| {
                    let of_name = model.leaves[*leaf].columns.list.iter().filter(|column| column.name == merged.name);
                    of_name.map(|column| side(*leaf, &column.name, column.node))
                });
                let columns: Vec<Side> = columns.collect();
                self.pairs.extend(columns.windows(2).filter_map(|pair| match pair {
                    [one, other] => Some((one.clone(), other.clone())),
                    _ => None,
                }));
            }
        }
    }
}

/// Finds a column outside of the queries in an expression.
struct Columns {
    queries: usize,
}

impl Visitor for Columns {
    type Break = ();

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.queries += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.queries -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match expr {
            Expr::Identifier(_) | Expr::CompoundIdentifier(_) if self.queries == 0 => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    }
}

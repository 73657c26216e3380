//! Outer joins that a condition makes inner ones: where WHERE, or the ON of an inner join, is not true of NULLs in the place of a table's
//! columns, no row counts that has been null-extended there. So Postgres plans them too.

use sqlparser::ast::{BinaryOperator, CastKind, Expr, UnaryOperator};

use crate::sql::constants::is_null_word;
use crate::sql::facts::{conjuncts, disjuncts, row, type_oid, unnest};
use crate::sql::from::JoinTree;
use crate::sql::model::{LeafId, LevelId, Model, NodeId};
use crate::types::oid;

/// What joins the two sides of a join.
#[derive(Clone, Debug)]
pub(crate) enum On {
    Condition(Box<Expr>),
    /// Of USING and NATURAL: pairs of columns, each with its leaf.
    Equal(Vec<((LeafId, NodeId), (LeafId, NodeId))>),
}

/// A join that is an outer one, or beside one.
#[derive(Clone, Debug)]
pub(crate) struct JoinOn {
    /// All leaves of both sides, sorted: no two joins of a tree have the same.
    leaves: Vec<LeafId>,
    on: On,
}

impl Model<'_> {
    /// Notes what joins the sides of a join, if an outer join is in it.
    pub fn note_join(&mut self, level: LevelId, tree: &JoinTree, on: impl FnOnce() -> On) {
        if tree.has_outer() {
            let join = JoinOn { leaves: sorted(tree), on: on() };
            self.levels[level].joins.push(join);
        }
    }

    /// What joins the two sides of the topmost join.
    pub fn join_on(&self, level: LevelId, tree: &JoinTree) -> Option<&On> {
        let leaves = sorted(tree);
        self.levels[level].joins.iter().find(|join| join.leaves == leaves).map(|join| &join.on)
    }

    /// The FROM list as the conditions of its level leave it.
    pub fn reduced(&mut self, level: LevelId, tree: JoinTree, condition: Option<&Expr>) -> JoinTree {
        if !tree.has_outer() {
            return tree;
        }
        let given = condition.map_or_else(Vec::new, |condition| self.rejects(level, condition));
        self.reduce(level, tree, &given)
    }

    /// `given`: the leaves that have a row of their own in every row that counts.
    fn reduce(&mut self, level: LevelId, tree: JoinTree, given: &[LeafId]) -> JoinTree {
        let on = self.rejected_by(level, &tree);
        let is_given = |side: &JoinTree| side.leaves().iter().any(|leaf| given.contains(leaf));
        match tree {
            JoinTree::Leaf(_) => tree,
            JoinTree::Inner(left, right) => {
                let mut given = given.to_vec();
                given.extend(on);
                self.both(level, *left, &given, *right, &given, JoinTree::Inner)
            }
            JoinTree::Left(left, right) if is_given(&right) => {
                let inner = JoinTree::Inner(left, right);
                self.tighten(level, &inner, &inner.leaves());
                self.reduce(level, inner, given)
            }
            JoinTree::Left(left, right) => {
                // Of the right side only rows count for which the condition holds.
                self.both(level, *left, given, *right, &on, JoinTree::Left)
            }
            JoinTree::Full(left, right) => {
                let (of_left, of_right) = (left.leaves(), right.leaves());
                let (tree, restricted) = match (is_given(&left), is_given(&right)) {
                    (true, true) => (JoinTree::Inner(left, right), [of_left, of_right].concat()),
                    (true, false) => (JoinTree::Left(left, right), of_right),
                    (false, true) => (JoinTree::Left(right, left), of_left),
                    (false, false) => return self.both(level, *left, &[], *right, &[], JoinTree::Full),
                };
                self.tighten(level, &tree, &restricted);
                self.reduce(level, tree, given)
            }
        }
    }

    fn both(
        &mut self,
        level: LevelId,
        left: JoinTree,
        of_left: &[LeafId],
        right: JoinTree,
        of_right: &[LeafId],
        join: fn(Box<JoinTree>, Box<JoinTree>) -> JoinTree,
    ) -> JoinTree {
        let left = self.reduce(level, left, of_left);
        let right = self.reduce(level, right, of_right);
        join(Box::new(left), Box::new(right))
    }

    /// What joins the two sides holds for the rows of these leaves too.
    fn tighten(&mut self, level: LevelId, tree: &JoinTree, restricted: &[LeafId]) {
        match self.join_on(level, tree).cloned() {
            Some(On::Condition(condition)) => {
                self.add_condition(level, &condition, restricted);
                self.collect_filter(level, &condition, || tree.restricted());
            }
            Some(On::Equal(pairs)) => {
                pairs.into_iter().for_each(|(left, right)| self.add_equality(left, right, restricted));
            }
            None => {}
        }
    }

    /// The leaves that have a row in every row for which the ON of a join holds.
    fn rejected_by(&self, level: LevelId, tree: &JoinTree) -> Vec<LeafId> {
        match self.join_on(level, tree) {
            Some(On::Condition(condition)) => self.rejects(level, condition),
            Some(On::Equal(pairs)) => {
                let plain = |(_, node): &(LeafId, NodeId)| !self.nodes[*node].made;
                let sides = pairs.iter().flat_map(|(left, right)| [left, right]);
                sides.filter(|side| plain(side)).map(|(leaf, _)| *leaf).collect()
            }
            None => Vec::new(),
        }
    }

    /// The leaves of the level of whose columns the condition is not true where they are NULL.
    fn rejects(&self, level: LevelId, condition: &Expr) -> Vec<LeafId> {
        // An operator of a user's can be true of NULLs.
        if self.scope.catalog.customs.compare() {
            return Vec::new();
        }
        conjuncts(condition).into_iter().flat_map(|part| self.rejecting(level, part)).collect()
    }

    fn rejecting(&self, level: LevelId, part: &Expr) -> Vec<LeafId> {
        match unnest(part) {
            Expr::BinaryOp { op: BinaryOperator::Or, .. } => {
                let mut arms = disjuncts(part).into_iter().map(|arm| self.rejects(level, arm));
                let first = arms.next().unwrap_or_default();
                arms.fold(first, |kept, arm| kept.into_iter().filter(|leaf| arm.contains(leaf)).collect())
            }
            Expr::BinaryOp { op: BinaryOperator::And, .. } => self.rejects(level, part),
            // With transform_null_equals on, it is IS NULL.
            Expr::BinaryOp { left, op: BinaryOperator::Eq, right } if is_null_word(left) || is_null_word(right) => {
                Vec::new()
            }
            Expr::BinaryOp { left, op: BinaryOperator::Eq, right } => {
                // Members that are NULL equal each other, but where each is compared by itself.
                let by_members = row(left).is_some() && (row(right).is_some() || is_query(right));
                [self.named(level, left, by_members), self.named(level, right, by_members)].concat()
            }
            Expr::UnaryOp { op: UnaryOperator::Not, expr } => match unnest(expr) {
                comparison @ (Expr::BinaryOp { .. } | Expr::InList { .. }) if is_null_of_nulls(comparison) => {
                    self.compared_alone(level, comparison)
                }
                _ => Vec::new(),
            },
            Expr::IsNotNull(inner) => self.named(level, inner, false),
            Expr::IsTrue(inner) => self.rejecting(level, inner),
            Expr::InList { expr, list, negated: false } => {
                self.named(level, expr, list.iter().all(|member| row(member).is_some()))
            }
            Expr::InSubquery { expr, negated: false, .. } => self.named(level, expr, true),
            Expr::AnyOp { left: expr, compare_op: BinaryOperator::Eq, right, .. } => {
                self.named(level, expr, is_query(right))
            }
            Expr::Between { expr, negated: false, .. } => self.named(level, expr, false),
            comparison if is_null_of_nulls(comparison) => self.compared_alone(level, comparison),
            _ => Vec::new(),
        }
    }

    /// Those of a comparison that is NULL where one of its sides is.
    fn compared_alone(&self, level: LevelId, comparison: &Expr) -> Vec<LeafId> {
        match comparison {
            Expr::BinaryOp { left, right, .. } => {
                [self.named(level, left, false), self.named(level, right, false)].concat()
            }
            Expr::InList { expr, .. } => self.named(level, expr, false),
            _ => Vec::new(),
        }
    }

    /// The leaf of an expression that is a column, or of those of a row whose members are compared each by itself (`rows`).
    fn named(&self, level: LevelId, expr: &Expr, rows: bool) -> Vec<LeafId> {
        match unnest(expr) {
            Expr::Cast { kind: CastKind::Cast | CastKind::DoubleColon, expr, data_type, format: None }
                if type_oid(data_type).is_some() =>
            {
                self.named(level, expr, false)
            }
            names @ (Expr::Identifier(_) | Expr::CompoundIdentifier(_)) => {
                let Some(found) = self.as_column(level, names) else { return Vec::new() };
                // Casts and comparisons of what users have made can be anything.
                let plain = found.column.ty.is_some_and(|ty| ty.oid < oid::FIRST_NORMAL);
                // A column that a full join has made of two is one that either side may have.
                let of_both = found.column.node.is_some_and(|node| self.is_of_full_join(level, node));
                let own = self.levels[level].leaves.contains(&found.leaf);
                if plain && own && !of_both { vec![found.leaf] } else { Vec::new() }
            }
            expr if rows => {
                let members = row(expr).unwrap_or_default();
                members.into_iter().flat_map(|member| self.named(level, member, false)).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Whether a node stands for the two columns that USING or NATURAL of a full join made one.
    pub fn is_of_full_join(&self, level: LevelId, node: NodeId) -> bool {
        self.levels[level].full_columns.contains(&node)
    }
}

fn sorted(tree: &JoinTree) -> Vec<LeafId> {
    let mut leaves = tree.leaves();
    leaves.sort_unstable();
    leaves
}

fn is_query(expr: &Expr) -> bool {
    matches!(unnest(expr), Expr::Subquery(_))
}

/// Whether it is NULL where one side is.
fn is_null_of_nulls(expr: &Expr) -> bool {
    use BinaryOperator::{Eq, Gt, GtEq, Lt, LtEq, NotEq};
    match expr {
        Expr::BinaryOp { left, op: Eq, right } => !is_null_word(left) && !is_null_word(right),
        Expr::BinaryOp { op: NotEq | Lt | LtEq | Gt | GtEq, .. } => true,
        Expr::InList { list, .. } => !list.is_empty(),
        _ => false,
    }
}

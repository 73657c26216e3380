//! What can fail for some value. A Postgres comes to a subquery in an expression only when it needs it, and not at all to a query of a WITH
//! that nothing reads, or below LIMIT 0: what is done of it beforehand must not fail where that Postgres would never have looked.

use std::ops::ControlFlow;

use sqlparser::ast::{BinaryOperator, CastKind, DataType, Expr, Query, UnaryOperator, Visit, Visitor};

use crate::sql::facts::is_comparison;
use crate::sql::infer::type_of;
use crate::sql::limit::read_limit;
use crate::sql::model::{LevelId, Model};
use crate::sql::names::parts;
use crate::sql::outcome::Count;
use crate::types::oid;

impl Model<'_> {
    /// The levels from this one on are of a query whose rows nothing needs.
    pub fn need_not(&mut self, first: LevelId) {
        self.levels.iter_mut().skip(first).for_each(|level| level.needless = true);
    }

    /// Whether one Postgres may finish the statement without this level: it stands in an expression, however deep, or nothing needs it.
    fn may_be_left(&self, level: LevelId) -> bool {
        let mut at = level;
        while let Some(leaf) = self.levels[at].leaf_of {
            at = self.leaves[leaf].level;
        }
        self.levels[level].needless || self.levels[at].outer.is_some()
    }

    /// Whether a part of the statement, which stands in this level, must not be asked for before it is needed.
    pub fn waits(&self, level: LevelId, part: &impl Visit) -> bool {
        self.may_be_left(level) && may_fail(self, level, part)
    }
}

/// How many rows a query gives at most, where a constant or a parameter says so.
pub(crate) fn most_rows(query: &Query) -> Option<Count> {
    read_limit(query).ok()??.limit
}

/// Whether a query gives no rows, whatever it reads.
pub(crate) fn is_empty(query: &Query) -> bool {
    most_rows(query) == Some(Count::Constant(0))
}

/// Whether anything in it can fail for some value of a column. What names no column is computed, and fails, before any row is read.
fn may_fail(model: &Model<'_>, level: LevelId, part: &impl Visit) -> bool {
    part.visit(&mut MayFail { model, level, queries: 0, constant: 0 }).is_break()
}

struct MayFail<'m, 's> {
    model: &'m Model<'s>,
    level: LevelId,
    /// How many queries are open.
    queries: usize,
    /// How many expressions are open, from one that names no column.
    constant: usize,
}

impl Visitor for MayFail<'_, '_> {
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
        if self.constant > 0 || !self.is_safe(expr) && is_constant(expr) {
            self.constant += 1;
        } else if !self.is_safe(expr) {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, _: &Expr) -> ControlFlow<()> {
        self.constant = self.constant.saturating_sub(1);
        ControlFlow::Continue(())
    }
}

impl MayFail<'_, '_> {
    /// Whether an expression has a value for whatever its parts are.
    fn is_safe(&self, expr: &Expr) -> bool {
        /// Aggregates of what has been computed, and functions that take any text or value.
        const FUNCTIONS: [&str; 31] = [
            "count",
            "sum",
            "avg",
            "min",
            "max",
            "bool_and",
            "bool_or",
            "every",
            "coalesce",
            "nullif",
            "greatest",
            "least",
            "lower",
            "upper",
            "initcap",
            "length",
            "char_length",
            "character_length",
            "octet_length",
            "btrim",
            "ltrim",
            "rtrim",
            "reverse",
            "md5",
            "starts_with",
            "strpos",
            "left",
            "right",
            "concat",
            "concat_ws",
            "grouping",
        ];
        use BinaryOperator as Op;
        match expr {
            Expr::Identifier(_)
            | Expr::CompoundIdentifier(_)
            | Expr::Value(_)
            | Expr::TypedString(_)
            | Expr::Nested(_)
            | Expr::Tuple(_)
            | Expr::IsNull(_)
            | Expr::IsNotNull(_)
            | Expr::IsTrue(_)
            | Expr::IsNotTrue(_)
            | Expr::IsFalse(_)
            | Expr::IsNotFalse(_)
            | Expr::IsUnknown(_)
            | Expr::IsNotUnknown(_)
            | Expr::IsDistinctFrom(..)
            | Expr::IsNotDistinctFrom(..)
            | Expr::InList { .. }
            | Expr::Between { .. }
            | Expr::Case { .. }
            | Expr::Collate { .. }
            | Expr::Like { .. }
            | Expr::ILike { .. }
            | Expr::UnaryOp { op: UnaryOperator::Not, .. } => true,
            Expr::Trim { .. } => true,
            Expr::AnyOp { compare_op: op, .. } | Expr::AllOp { compare_op: op, .. } => is_comparison(op),
            Expr::BinaryOp {
                op: Op::And | Op::Or | Op::Arrow | Op::LongArrow | Op::AtArrow | Op::Question, ..
            } => true,
            // Numbers without end: others overflow.
            Expr::BinaryOp { op: Op::Plus | Op::Minus | Op::Multiply, .. } => {
                self.queries <= 1 && type_of(self.model, self.level, expr).is_some_and(|ty| ty.oid == oid::NUMERIC)
            }
            Expr::BinaryOp { op, .. } => is_comparison(op),
            Expr::Cast { data_type: DataType::Text, kind: CastKind::Cast | CastKind::DoubleColon, .. } => true,
            Expr::Function(function) => parts(&function.name).is_some_and(|(_, name)| FUNCTIONS.contains(&&*name)),
            _ => false,
        }
    }
}

/// Whether an expression names no column and holds no query.
fn is_constant(expr: &Expr) -> bool {
    struct Columns;
    impl Visitor for Columns {
        type Break = ();
        fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
            ControlFlow::Break(())
        }
        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            match expr {
                Expr::Identifier(_)
                | Expr::CompoundIdentifier(_)
                | Expr::CompoundFieldAccess { .. }
                | Expr::QualifiedWildcard(..)
                | Expr::Wildcard(_) => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }
        }
    }
    expr.visit(&mut Columns).is_continue()
}

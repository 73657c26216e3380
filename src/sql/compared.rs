//! Texts like `now` that are compared with a time: they are read as one.

use sqlparser::ast::{AssignmentTarget, BinaryOperator, CaseWhen, Expr, Function, Value as Literal, ValueWithSpan};

use crate::ids::Oid;
use crate::sql::exprs::{is_bare_moment, says_now};
use crate::sql::facts::{plain_args, unnest};
use crate::sql::infer::type_of;
use crate::sql::model::{LevelId, Model};
use crate::types::oid;

/// Arrays and ranges of times.
const OF_TIMES: [Oid; 11] = [1115, 1182, 1183, 1185, 1270, 3908, 3910, 3912, 4533, 4534, 4535];

impl Model<'_> {
    /// Notes such texts in an expression, but not in what is inside of its parts.
    pub fn note_compared(&mut self, level: LevelId, expr: &Expr) {
        match expr {
            Expr::BinaryOp { left, op, right } if compares(op) => self.compared(level, left, right),
            Expr::IsDistinctFrom(a, b) | Expr::IsNotDistinctFrom(a, b) => self.compared(level, a, b),
            Expr::Between { expr, low, high, .. } => {
                self.compared(level, expr, low);
                self.compared(level, expr, high);
            }
            Expr::InList { expr, list, .. } => list.iter().for_each(|member| self.compared(level, expr, member)),
            Expr::AnyOp { left, right, .. } | Expr::AllOp { left, right, .. } => match unnest(right) {
                Expr::Array(array) => array.elem.iter().for_each(|member| self.compared(level, left, member)),
                right => self.compared(level, left, right),
            },
            Expr::Case { operand: Some(operand), conditions, .. } => {
                conditions.iter().for_each(|CaseWhen { condition, .. }| self.compared(level, operand, condition));
            }
            Expr::AtTimeZone { timestamp, .. } => self.note_bare_moment(timestamp),
            Expr::Function(function) if takes_times(function) => {
                plain_args(function).unwrap_or_default().into_iter().for_each(|arg| self.note_bare_moment(arg));
            }
            _ => {}
        }
    }

    /// Whether what SET assigns to can be a time.
    pub fn may_be_time(&self, level: LevelId, target: &AssignmentTarget) -> bool {
        let AssignmentTarget::ColumnName(name) = target else { return true };
        let [name] = &name.0[..] else { return true };
        let column = name.as_ident().and_then(|name| self.find_column(level, std::slice::from_ref(name)));
        column.and_then(|found| found.column.ty).is_none_or(|of| is_of_times(of.oid) != Some(false))
    }

    fn compared(&mut self, level: LevelId, a: &Expr, b: &Expr) {
        match (unnest(a), unnest(b)) {
            (Expr::Tuple(a), Expr::Tuple(b)) => a.iter().zip(b).for_each(|(a, b)| self.compared(level, a, b)),
            (Expr::Value(text), other) if says_now(text) => self.read_beside(level, text, other),
            (other, Expr::Value(text)) if says_now(text) => self.read_beside(level, text, other),
            _ => {}
        }
    }

    /// A text is read as what it stands beside.
    fn read_beside(&mut self, level: LevelId, text: &ValueWithSpan, other: &Expr) {
        let is_text = |value: &Literal| {
            matches!(
                value,
                Literal::SingleQuotedString(_) | Literal::EscapedStringLiteral(_) | Literal::DollarQuotedString(_)
            )
        };
        let reads = match other {
            // Two texts are texts.
            Expr::Value(other) if is_text(&other.value) => false,
            other => {
                let known = type_of(self, level, other).and_then(|of| is_of_times(of.oid));
                known.unwrap_or_else(|| is_bare_moment(text))
            }
        };
        if reads {
            self.note_moment_read();
        }
    }
}

/// Whether a type is that of times, or of several; `None`: users made it, and it can be a domain over one.
fn is_of_times(of: Oid) -> Option<bool> {
    match oid::is_time(of) || OF_TIMES.contains(&of) {
        false if of >= oid::FIRST_NORMAL => None,
        is_time => Some(is_time),
    }
}

fn compares(op: &BinaryOperator) -> bool {
    matches!(
        op,
        BinaryOperator::Eq
            | BinaryOperator::NotEq
            | BinaryOperator::Lt
            | BinaryOperator::LtEq
            | BinaryOperator::Gt
            | BinaryOperator::GtEq
            | BinaryOperator::Minus
            | BinaryOperator::AtArrow
            | BinaryOperator::ArrowAt
            | BinaryOperator::PGOverlap
    )
}

/// Functions whose arguments are times, where they are texts of no type.
fn takes_times(function: &Function) -> bool {
    let name = function.name.to_string().to_ascii_lowercase();
    let name = name.strip_prefix("pg_catalog.").unwrap_or(&name);
    matches!(name, "age" | "date_trunc" | "date_part" | "date_bin" | "timezone" | "isfinite" | "generate_series")
}

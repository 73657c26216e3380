//! Expressions that are a value of the statement: literals and parameters, casts that keep what they say, arithmetic on integers and
//! dates, texts put together, CASE without a row, functions of these that every Postgres answers alike.

use std::iter;

use sqlparser::ast::{
    BinaryOperator, CaseWhen, CastKind, Expr, Function, FunctionArguments, UnaryOperator, Value as Literal,
    ValueWithSpan,
};

use crate::ids::Oid;
use crate::sql::facts::{parameter_index, plain_args, type_oid, unnest};
use crate::sql::functions::is_users;
use crate::sql::keys::{Arithmetic, Comparison, Computed, Condition, IntegerFunction, Sort, Source, Value};
use crate::sql::lexer::is_bigint;
use crate::sql::model::Model;
use crate::sql::names::parts;
use crate::types::oid;

impl Model<'_> {
    /// The value that an expression is, where it is a constant or a parameter; marks its literal free.
    pub fn as_value(&self, expr: &Expr) -> Option<Value> {
        self.value(expr, How::new(Literally::Free))
    }

    /// The same, where its literal shapes the statement too and stays as it is.
    pub fn as_fixed_value(&self, expr: &Expr) -> Option<Value> {
        self.value(expr, How::new(Literally::Fixed))
    }

    fn value(&self, expr: &Expr, how: How) -> Option<Value> {
        let how = how.deeper()?;
        match expr {
            Expr::Value(literal) => self.literal(literal, false, how),
            Expr::Nested(inner) => self.value(inner, how),
            Expr::UnaryOp { op: UnaryOperator::Minus, expr } => match unnest(expr) {
                Expr::Value(literal @ ValueWithSpan { value: Literal::Number(..), .. }) => {
                    self.literal(literal, true, how)
                }
                inner => {
                    self.has_own("-").then_some(())?;
                    let zero = Value::plain(Source::Number { digits: "0".into(), negative: false });
                    computed(Arithmetic::Minus, zero, self.integer(inner, how)?)
                }
            },
            Expr::UnaryOp { op: UnaryOperator::Plus, expr } => match unnest(expr) {
                Expr::Value(literal @ ValueWithSpan { value: Literal::Number(..), .. }) => {
                    self.literal(literal, false, how)
                }
                _ => None,
            },
            Expr::BinaryOp { left, op: BinaryOperator::StringConcat, right } => {
                self.has_own("||").then_some(())?;
                let left = self.text(left, how)?;
                made(Computed::Joined(left, self.text(right, how)?))
            }
            Expr::BinaryOp { left, op, right } => {
                let (op, name) = match op {
                    BinaryOperator::Plus => (Arithmetic::Plus, "+"),
                    BinaryOperator::Minus => (Arithmetic::Minus, "-"),
                    BinaryOperator::Multiply => (Arithmetic::Times, "*"),
                    BinaryOperator::Divide => (Arithmetic::Over, "/"),
                    BinaryOperator::Modulo => (Arithmetic::Modulo, "%"),
                    _ => return None,
                };
                self.has_own(name).then_some(())?;
                // Once: the whole of a long sum is the left side of its last sign.
                let (kind, first) = self.kind_and_value(left, how)?;
                let second = self.integer(right, how)?;
                match (kind, op) {
                    (Kind::Date, Arithmetic::Plus) => made(Computed::Later { date: first, days: second }),
                    (Kind::Date, Arithmetic::Minus) => made(Computed::Earlier { date: first, days: second }),
                    (Kind::Integer | Kind::Parameter, op) => computed(op, first, second),
                    _ => None,
                }
            }
            Expr::Case { operand, conditions, else_result, .. } => {
                self.case(operand.as_deref(), conditions, else_result.as_deref(), how)
            }
            Expr::Function(function) => self.call(function, how),
            Expr::Cast { kind: CastKind::Cast | CastKind::DoubleColon, expr: inner, data_type, format: None } => {
                let to = type_oid(data_type)?;
                let value = self.value(inner, how)?;
                if let (oid::DATE, Some(oid::TIMESTAMP)) = (to, value.cast) {
                    return made(Computed::DateOf(value));
                }
                let keeps = value.cast.is_none_or(|from| keeps_value(inner, &value, from, to));
                keeps.then_some(Value { cast: Some(to), ..value })
            }
            Expr::TypedString(typed) => {
                let to = type_oid(&typed.data_type)?;
                let value = self.literal(&typed.value, false, how)?;
                Some(Value { cast: Some(to), ..value })
            }
            _ => None,
        }
    }

    /// Whether an operator is Postgres's own between all types that are its own: one of users, before it in the search path or for types
    /// that are nearer, could be meant.
    fn has_own(&self, operator: &str) -> bool {
        !self.scope.catalog.customs.operators.iter().any(|made| **made == *operator)
    }

    /// What an expression is a value of, and the value.
    fn kind_and_value(&self, expr: &Expr, how: How) -> Option<(Kind, Value)> {
        let value = self.value(expr, how)?;
        Some((kind_of(expr, &value)?, value))
    }

    /// An operand of integer arithmetic: an integer by what it says, or by its type.
    fn integer(&self, expr: &Expr, how: How) -> Option<Value> {
        let (kind, value) = self.kind_and_value(expr, how)?;
        matches!(kind, Kind::Integer | Kind::Parameter).then_some(value)
    }

    /// What is a text where it stands for one.
    fn text(&self, expr: &Expr, how: How) -> Option<Value> {
        let (kind, value) = self.kind_and_value(expr, how)?;
        let fits = match kind {
            Kind::Text | Kind::Written | Kind::Null => true,
            Kind::Parameter => !is_shared(&value),
            Kind::Integer | Kind::Date => false,
        };
        fits.then_some(value)
    }

    /// Values of which Postgres makes one type.
    fn alike(&self, exprs: &[&Expr], how: How) -> Option<(Sort, Vec<Value>)> {
        let of: Vec<(Kind, Value)> = exprs.iter().map(|expr| self.kind_and_value(expr, how)).collect::<Option<_>>()?;
        let has = |kinds: &[Kind]| of.iter().any(|(kind, _)| kinds.contains(kind));
        let sort = match (has(&[Kind::Integer]), has(&[Kind::Text, Kind::Written]), has(&[Kind::Parameter])) {
            (true, false, _) | (false, false, true) => Sort::Integer,
            (false, true, _) => Sort::Text,
            _ => return None,
        };
        let shared = sort == Sort::Text && of.iter().any(|(_, value)| is_shared(value));
        (!shared && !has(&[Kind::Date])).then(|| (sort, of.into_iter().map(|(_, value)| value).collect()))
    }

    fn case(
        &self,
        operand: Option<&Expr>,
        conditions: &[CaseWhen],
        otherwise: Option<&Expr>,
        how: How,
    ) -> Option<Value> {
        let results: Vec<&Expr> = conditions.iter().map(|when| &when.result).chain(otherwise).collect();
        let (sort, mut values) = self.alike(&results, how)?;
        let otherwise = otherwise.and_then(|_| values.pop());
        let Some(operand) = operand else {
            let condition = |when: &CaseWhen| self.condition_of_case(&when.condition, how);
            let conditions: Vec<Condition> = conditions.iter().map(condition).collect::<Option<_>>()?;
            return made(Computed::Case { sort, branches: conditions.into_iter().zip(values).collect(), otherwise });
        };
        // The operand once, whatever it is compared with: it can be a CASE as well.
        let compared: Vec<&Expr> = iter::once(operand).chain(conditions.iter().map(|when| &when.condition)).collect();
        let (of, mut compared) = self.alike(&compared, how)?;
        self.has_own("=").then_some(())?;
        let operand = compared.remove(0);
        made(Computed::Switch { sort, of, operand, branches: compared.into_iter().zip(values).collect(), otherwise })
    }

    /// A condition that reads no row.
    fn condition_of_case(&self, expr: &Expr, how: How) -> Option<Condition> {
        let how = how.deeper()?;
        let both = |left: &Expr, right: &Expr| {
            let left = Box::new(self.condition_of_case(left, how)?);
            Some((left, Box::new(self.condition_of_case(right, how)?)))
        };
        let is_null = |expr: &Expr| {
            if is_null_word(expr) {
                return Some(Condition::Is(Some(true)));
            }
            let (sort, mut values) = self.alike(&[expr], how)?;
            Some(Condition::IsNull { sort, value: values.pop()? })
        };
        match unnest(expr) {
            Expr::Value(ValueWithSpan { value: Literal::Boolean(value), .. }) => Some(Condition::Is(Some(*value))),
            Expr::Value(ValueWithSpan { value: Literal::Null, .. }) => Some(Condition::Is(None)),
            Expr::UnaryOp { op: UnaryOperator::Not, expr } => {
                Some(Condition::Not(Box::new(self.condition_of_case(expr, how)?)))
            }
            Expr::IsNull(expr) => is_null(expr),
            Expr::IsNotNull(expr) => Some(Condition::Not(Box::new(is_null(expr)?))),
            Expr::BinaryOp { left, op, right } => {
                let (comparison, name) = match op {
                    BinaryOperator::And => return both(left, right).map(|(left, right)| Condition::And(left, right)),
                    BinaryOperator::Or => return both(left, right).map(|(left, right)| Condition::Or(left, right)),
                    BinaryOperator::Eq => (Comparison::Equal, "="),
                    BinaryOperator::NotEq => (Comparison::NotEqual, "<>"),
                    BinaryOperator::Lt => (Comparison::Less, "<"),
                    BinaryOperator::LtEq => (Comparison::LessOrEqual, "<="),
                    BinaryOperator::Gt => (Comparison::Greater, ">"),
                    BinaryOperator::GtEq => (Comparison::GreaterOrEqual, ">="),
                    _ => return None,
                };
                // With transform_null_equals on, `= NULL` is IS NULL.
                let is_test = comparison == Comparison::Equal && (is_null_word(left) || is_null_word(right));
                (!is_test && self.has_own(name)).then_some(())?;
                self.compared_values(comparison, left, right, how)
            }
            _ => None,
        }
    }

    fn compared_values(&self, comparison: Comparison, left: &Expr, right: &Expr, how: How) -> Option<Condition> {
        let (sort, values) = self.alike(&[left, right], how)?;
        let [left, right] = <[Value; 2]>::try_from(values).ok()?;
        // Which text is before which, a collation says.
        let knows = sort == Sort::Integer || matches!(comparison, Comparison::Equal | Comparison::NotEqual);
        knows.then_some(Condition::Compared { comparison, sort, left, right })
    }

    /// A call of a function of Postgres's own that gives the same everywhere.
    fn call(&self, function: &Function, how: How) -> Option<Value> {
        let (schema, name) = parts(&function.name)?;
        let plain = function.over.is_none()
            && function.filter.is_none()
            && function.within_group.is_empty()
            && matches!(function.parameters, FunctionArguments::None);
        if !plain || schema.is_some_and(|schema| schema != "pg_catalog") || is_users(&self.scope, &name) {
            return None;
        }
        let args = plain_args(function)?;
        let call = |function| {
            let (sort, args) = self.alike(&args, how)?;
            (sort == Sort::Integer).then_some(Computed::Call { function, args })
        };
        made(match (&*name, &args[..]) {
            ("abs", [arg]) => Computed::Call { function: IntegerFunction::Abs, args: vec![self.integer(arg, how)?] },
            ("coalesce", [_, ..]) => {
                let (sort, values) = self.alike(&args, how)?;
                Computed::First { sort, values }
            }
            ("greatest", [_, ..]) => call(IntegerFunction::Greatest)?,
            ("least", [_, ..]) => call(IntegerFunction::Least)?,
            ("nullif", [_, _]) => {
                self.has_own("=").then_some(())?;
                let (sort, values) = self.alike(&args, how)?;
                let [value, other] = <[Value; 2]>::try_from(values).ok()?;
                Computed::Unless { sort, value, other }
            }
            ("lower", [text]) => Computed::Cased { text: self.text(text, how)?, upper: false },
            ("upper", [text]) => Computed::Cased { text: self.text(text, how)?, upper: true },
            ("length" | "char_length" | "character_length", [text]) => Computed::Length(self.text(text, how)?),
            ("make_date", [year, month, day]) => Computed::DateOfParts {
                year: self.integer(year, how)?,
                month: self.integer(month, how)?,
                day: self.integer(day, how)?,
            },
            ("to_date", [text, format]) => {
                Computed::DateRead { text: self.text(text, how)?, format: self.text(format, how)? }
            }
            _ => return None,
        })
    }

    fn literal(&self, literal: &ValueWithSpan, negative: bool, how: How) -> Option<Value> {
        if self.view_depth == 0 && matches!(literal.value, Literal::Number(..)) && self.literals.is_misread(literal) {
            return None;
        }
        // A literal of a view's definition is no slot, wherever its span points.
        if self.view_depth > 0 || how.literally == Literally::Fixed {
            if self.view_depth == 0 {
                self.literals.tell(literal);
            }
            return match &literal.value {
                Literal::Number(digits, _) => {
                    Some(Value::plain(Source::Number { digits: digits.as_str().into(), negative }))
                }
                Literal::SingleQuotedString(text) => Some(Value::plain(Source::Text(text.as_str().into()))),
                Literal::Placeholder(_) if self.view_depth == 0 => {
                    self.literal(literal, negative, How::new(Literally::Free))
                }
                _ => None,
            };
        }
        let source = match &literal.value {
            Literal::Number(digits, _) => match self.literals.set_free(literal) {
                Some(index) => Source::Slot { index, negative },
                None => Source::Number { digits: digits.as_str().into(), negative },
            },
            Literal::SingleQuotedString(text) => match self.literals.set_free(literal) {
                Some(index) => Source::Slot { index, negative: false },
                None => Source::Text(text.as_str().into()),
            },
            Literal::EscapedStringLiteral(text) if self.literals.is_fixed(literal) => {
                Source::Text(text.as_str().into())
            }
            Literal::EscapedStringLiteral(_) | Literal::DollarQuotedString(_) => {
                Source::Slot { index: self.literals.set_free(literal)?, negative: false }
            }
            Literal::Boolean(value) => Source::Bool(*value),
            Literal::Null => Source::Null,
            Literal::Placeholder(name) => {
                let index = parameter_index(name)?;
                let shared = self.parameters.get(&index).is_some_and(|count| *count > 1);
                Source::Parameter { index, shared }
            }
            _ => return None,
        };
        Some(Value::plain(source))
    }
}

/// How an expression is read.
#[derive(Clone, Copy, Debug)]
struct How {
    literally: Literally,
    /// How many more may stand within each other. A sum is as deep as it is long; what is deeper is no value.
    room: u8,
}

impl How {
    fn new(literally: Literally) -> Self {
        Self { literally, room: MAX_WITHIN }
    }

    fn deeper(self) -> Option<Self> {
        Some(Self { room: self.room.checked_sub(1)?, ..self })
    }
}

/// So many values are read within each other.
const MAX_WITHIN: u8 = 128;

/// Whether a literal may differ from call to call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Literally {
    Free,
    Fixed,
}

fn computed(op: Arithmetic, left: Value, right: Value) -> Option<Value> {
    made(Computed::Of { op, left, right })
}

/// A value that is made of others, with its type where that is no integer's.
fn made(computed: Computed) -> Option<Value> {
    let cast = match computed.sort() {
        Sort::Integer => None,
        Sort::Text => Some(oid::TEXT),
        Sort::Date => Some(oid::DATE),
    };
    Some(Value { source: Source::Computed(Box::new(computed)), cast })
}

/// What a value is by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Integer,
    Text,
    Date,
    /// A string without a type: what stands beside it says how it is read.
    Written,
    /// Without a cast: what it is, is known when it is bound.
    Parameter,
    Null,
}

fn kind_of(expr: &Expr, value: &Value) -> Option<Kind> {
    let sort = match &value.source {
        Source::Computed(computed) => Some(computed.sort()),
        _ => None,
    };
    Some(match value.cast {
        Some(to) if is_integer(to) && sort.is_none_or(|sort| sort == Sort::Integer) => Kind::Integer,
        Some(oid::TEXT | oid::VARCHAR) if sort.is_none_or(|sort| sort == Sort::Text) => Kind::Text,
        Some(oid::DATE) if sort.is_none_or(|sort| sort == Sort::Date) => Kind::Date,
        Some(_) => return None,
        None => match innermost(expr) {
            Expr::Value(literal) => match &literal.value {
                Literal::Number(digits, _) => {
                    let whole = digits.bytes().all(|byte| byte.is_ascii_digit()) && is_bigint(digits.as_bytes());
                    whole.then_some(Kind::Integer)?
                }
                Literal::Placeholder(_) => Kind::Parameter,
                Literal::Null => Kind::Null,
                Literal::Boolean(_) => return None,
                _ => Kind::Written,
            },
            // A minus before a number.
            Expr::UnaryOp { expr, .. } if sort.is_none() => kind_of(expr, value)?,
            _ => (sort == Some(Sort::Integer)).then_some(Kind::Integer)?,
        },
    })
}

pub(crate) fn is_null_word(expr: &Expr) -> bool {
    matches!(unnest(expr), Expr::Value(ValueWithSpan { value: Literal::Null, .. }))
}

/// A parameter without a cast that the statement uses elsewhere too, which can make another type of it.
fn is_shared(value: &Value) -> bool {
    matches!(value.source, Source::Parameter { shared: true, .. }) && value.cast.is_none()
}

/// What stands inside all parentheses and casts.
fn innermost(mut expr: &Expr) -> &Expr {
    loop {
        expr = match expr {
            Expr::Nested(inner) | Expr::Cast { expr: inner, .. } => inner,
            expr => return expr,
        };
    }
}

/// Whether a value that was cast to `from` is, cast to `to` as well, what it is when it is cast to `to` alone. A parameter is sent as
/// `from`.
fn keeps_value(expr: &Expr, value: &Value, from: Oid, to: Oid) -> bool {
    if from == to {
        return true;
    }
    let written = |of: Oid| matches!(of, oid::TEXT | oid::VARCHAR);
    if let Source::Computed(computed) = &value.source {
        return match computed.sort() {
            Sort::Integer => is_integer(from) && is_integer(to),
            Sort::Text => written(from) && reads_text(to),
            Sort::Date => false,
        };
    }
    match innermost(expr) {
        Expr::Value(ValueWithSpan { value: Literal::Number(digits, _), .. }) => {
            let whole = digits.bytes().all(|byte| byte.is_ascii_digit());
            let exact = |of: Oid| is_integer(of) || of == oid::NUMERIC;
            whole && (exact(from) || written(from)) && (exact(to) || written(to) && !written(from))
        }
        Expr::UnaryOp { .. } => is_integer(from) && is_integer(to),
        Expr::Value(ValueWithSpan {
            value: Literal::SingleQuotedString(_) | Literal::EscapedStringLiteral(_) | Literal::DollarQuotedString(_),
            ..
        })
        | Expr::TypedString(_) => written(from) && reads_text(to) || is_integer(from) && is_integer(to),
        _ => false,
    }
}

/// A text becomes such a value by the type's own reading of it.
fn reads_text(to: Oid) -> bool {
    matches!(to, oid::TEXT | oid::VARCHAR | oid::UUID | oid::DATE | oid::NUMERIC | oid::BOOL) || is_integer(to)
}

fn is_integer(of: Oid) -> bool {
    matches!(of, oid::INT2 | oid::INT4 | oid::INT8)
}

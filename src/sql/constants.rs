//! Expressions that are a value of the statement: literals and parameters, casts that keep what they say, arithmetic on integers and
//! dates, functions of these that every Postgres answers alike.

use sqlparser::ast::{
    BinaryOperator, CastKind, Expr, Function, FunctionArguments, UnaryOperator, Value as Literal, ValueWithSpan,
};

use crate::ids::Oid;
use crate::sql::facts::{parameter_index, plain_args, type_oid, unnest};
use crate::sql::functions::is_users;
use crate::sql::keys::{Arithmetic, Computed, IntegerFunction, Source, Value};
use crate::sql::model::Model;
use crate::sql::names::parts;
use crate::types::oid;

impl Model<'_> {
    /// The value that an expression is, where it is a constant or a parameter; marks its literal free.
    pub fn as_value(&self, expr: &Expr) -> Option<Value> {
        self.value(expr, Literally::Free)
    }

    /// The same, where its literal shapes the statement too and stays as it is.
    pub fn as_fixed_value(&self, expr: &Expr) -> Option<Value> {
        self.value(expr, Literally::Fixed)
    }

    fn value(&self, expr: &Expr, how: Literally) -> Option<Value> {
        match expr {
            Expr::Value(literal) => self.literal(literal, false, how),
            Expr::Nested(inner) => self.value(inner, how),
            Expr::UnaryOp { op: UnaryOperator::Minus, expr } => match unnest(expr) {
                Expr::Value(literal @ ValueWithSpan { value: Literal::Number(..), .. }) => {
                    self.literal(literal, true, how)
                }
                inner => {
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
            Expr::BinaryOp { left, op, right } => {
                let op = match op {
                    BinaryOperator::Plus => Arithmetic::Plus,
                    BinaryOperator::Minus => Arithmetic::Minus,
                    BinaryOperator::Multiply => Arithmetic::Times,
                    BinaryOperator::Divide => Arithmetic::Over,
                    BinaryOperator::Modulo => Arithmetic::Modulo,
                    _ => return None,
                };
                if let Some(date) = self.date(left, how) {
                    let days = self.integer(right, how)?;
                    let computed = match op {
                        Arithmetic::Plus => Computed::Later { date, days },
                        Arithmetic::Minus => Computed::Earlier { date, days },
                        Arithmetic::Times | Arithmetic::Over | Arithmetic::Modulo => return None,
                    };
                    return Some(Value { source: Source::Computed(Box::new(computed)), cast: Some(oid::DATE) });
                }
                computed(op, self.integer(left, how)?, self.integer(right, how)?)
            }
            Expr::Function(function) => self.call(function, how),
            Expr::Cast { kind: CastKind::Cast | CastKind::DoubleColon, expr: inner, data_type, format: None } => {
                let to = type_oid(data_type)?;
                let value = self.value(inner, how)?;
                if let (oid::DATE, Some(oid::TIMESTAMP)) = (to, value.cast) {
                    let source = Source::Computed(Box::new(Computed::DateOf(value)));
                    return Some(Value { source, cast: Some(oid::DATE) });
                }
                let keeps = value.cast.is_none_or(|from| keeps_value(inner, from, to));
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

    /// An operand of integer arithmetic: an integer by what it says, or by its type.
    fn integer(&self, expr: &Expr, how: Literally) -> Option<Value> {
        let says_integer = says_integer(expr)?;
        let value = self.value(expr, how)?;
        if let Source::Computed(computed) = &value.source
            && !computed.is_integer()
        {
            return None;
        }
        match value.cast {
            None => says_integer.then_some(value),
            Some(to) => is_integer(to).then_some(value),
        }
    }

    /// A date beyond doubt.
    fn date(&self, expr: &Expr, how: Literally) -> Option<Value> {
        match innermost(expr) {
            Expr::Value(_) | Expr::TypedString(_) | Expr::BinaryOp { .. } => {}
            _ => return None,
        }
        self.value(expr, how).filter(|value| value.cast == Some(oid::DATE))
    }

    /// A call of a function of Postgres's own that gives the same everywhere.
    fn call(&self, function: &Function, how: Literally) -> Option<Value> {
        let (schema, name) = parts(&function.name)?;
        let plain = function.over.is_none()
            && function.filter.is_none()
            && function.within_group.is_empty()
            && matches!(function.parameters, FunctionArguments::None);
        if !plain || schema.is_some_and(|schema| schema != "pg_catalog") || is_users(&self.scope, &name) {
            return None;
        }
        let args = plain_args(function)?;
        let integers = || args.iter().map(|arg| self.integer(arg, how)).collect::<Option<Vec<Value>>>();
        let call = |function| Some(Computed::Call { function, args: integers()? });
        let computed = match (&*name, &args[..]) {
            ("abs", [_]) => call(IntegerFunction::Abs)?,
            ("coalesce", [_, ..]) => call(IntegerFunction::Coalesce)?,
            ("greatest", [_, ..]) => call(IntegerFunction::Greatest)?,
            ("least", [_, ..]) => call(IntegerFunction::Least)?,
            ("nullif", [_, _]) => call(IntegerFunction::Nullif)?,
            ("length" | "char_length" | "character_length", [text]) => {
                let value = self.value(text, how)?;
                let literal = matches!(value.source, Source::Slot { .. } | Source::Text(_));
                let is_text = match unnest(text) {
                    Expr::Value(literal) => !matches!(literal.value, Literal::Number(..)),
                    _ => matches!(value.cast, Some(oid::TEXT | oid::VARCHAR)),
                };
                (literal && is_text).then_some(Computed::Length(value))?
            }
            _ => return None,
        };
        Some(Value::plain(Source::Computed(Box::new(computed))))
    }

    fn literal(&self, literal: &ValueWithSpan, negative: bool, how: Literally) -> Option<Value> {
        if self.view_depth == 0 && matches!(literal.value, Literal::Number(..)) && self.literals.is_misread(literal) {
            return None;
        }
        // A literal of a view's definition is no slot, wherever its span points.
        if self.view_depth > 0 || how == Literally::Fixed {
            if self.view_depth == 0 {
                self.literals.tell(literal);
            }
            return match &literal.value {
                Literal::Number(digits, _) => {
                    Some(Value::plain(Source::Number { digits: digits.as_str().into(), negative }))
                }
                Literal::SingleQuotedString(text) => Some(Value::plain(Source::Text(text.as_str().into()))),
                Literal::Placeholder(_) if self.view_depth == 0 => self.literal(literal, negative, Literally::Free),
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

/// Whether a literal may differ from call to call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Literally {
    Free,
    Fixed,
}

fn computed(op: Arithmetic, left: Value, right: Value) -> Option<Value> {
    Some(Value::plain(Source::Computed(Box::new(Computed::Of { op, left, right }))))
}

/// Whether it is an integer by what it says, where it is not cast to one; `None`: no value.
fn says_integer(expr: &Expr) -> Option<bool> {
    Some(match innermost(expr) {
        Expr::Value(literal) => match &literal.value {
            Literal::Number(digits, _) => digits.bytes().all(|byte| byte.is_ascii_digit()),
            // Whether it is one is known when it is bound.
            Literal::Placeholder(_) => true,
            _ => false,
        },
        // What is computed is computed of integers.
        Expr::BinaryOp { .. } | Expr::Function(_) => true,
        Expr::UnaryOp { expr, .. } => says_integer(expr)?,
        Expr::TypedString(_) => false,
        _ => return None,
    })
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
fn keeps_value(expr: &Expr, from: Oid, to: Oid) -> bool {
    if from == to {
        return true;
    }
    let written = |of: Oid| matches!(of, oid::TEXT | oid::VARCHAR);
    match innermost(expr) {
        Expr::Value(ValueWithSpan { value: Literal::Number(digits, _), .. }) => {
            let whole = digits.bytes().all(|byte| byte.is_ascii_digit());
            let exact = |of: Oid| is_integer(of) || of == oid::NUMERIC;
            whole && (exact(from) || written(from)) && (exact(to) || written(to) && !written(from))
        }
        Expr::BinaryOp { .. } | Expr::UnaryOp { .. } | Expr::Function(_) => is_integer(from) && is_integer(to),
        Expr::Value(ValueWithSpan {
            value: Literal::SingleQuotedString(_) | Literal::EscapedStringLiteral(_) | Literal::DollarQuotedString(_),
            ..
        })
        | Expr::TypedString(_) => match to {
            oid::TEXT | oid::VARCHAR => written(from),
            // A text becomes another type by that type's own reading of it.
            oid::UUID | oid::DATE | oid::NUMERIC | oid::BOOL => written(from),
            to => is_integer(to) && (written(from) || is_integer(from)),
        },
        _ => false,
    }
}

fn is_integer(of: Oid) -> bool {
    matches!(of, oid::INT2 | oid::INT4 | oid::INT8)
}

//! What is made of literals and parameters, as every Postgres makes it: integers, texts, dates. Whatever makes Postgres raise an error is
//! `Unsure`: it is raised on any shard.

use std::borrow::Cow;

use crate::plan::Inputs;
use crate::plan::values::{evaluate, number, own};
use crate::sql::keys::{Arithmetic, Comparison, Computed, Condition, IntegerFunction, Sort, Source, Value};
use crate::types::canonical::{KeyError, KeyValue};
use crate::types::{Format, KeyType, oid};

/// The format of `to_date` that is read here.
const ISO: &str = "YYYY-MM-DD";

/// The result as a key of this type compared by `=`.
pub(super) fn as_key<'a>(
    value: &Value,
    computed: &Computed,
    key_type: KeyType,
    inputs: &Inputs<'_>,
) -> Result<KeyValue<'a>, KeyError> {
    match computed.sort() {
        // Only compared with numbers: what Postgres makes of it elsewhere is another matter.
        Sort::Integer => match key_type {
            KeyType::Int2 | KeyType::Int4 | KeyType::Int8 | KeyType::Numeric => {
                match computed_integer(computed, inputs)? {
                    None => Ok(KeyValue::Null),
                    Some(result) => {
                        number(&result.unsigned_abs().to_string(), result < 0, value.cast, key_type).map(own)
                    }
                }
            }
            _ => Err(KeyError::Unsure),
        },
        Sort::Text => match computed_text(computed, inputs)? {
            None => Ok(KeyValue::Null),
            Some(text) => key_type.parse_typed(value.cast.unwrap_or(oid::TEXT), Format::Text, text.as_bytes()).map(own),
        },
        Sort::Date => match (key_type, value.cast) {
            (KeyType::Date, None | Some(oid::DATE)) => {
                date(value, inputs).map(|day| day.map_or(KeyValue::Null, KeyValue::Date))
            }
            // As a timestamp it is the start of the day, by the zone of the session.
            _ => Err(KeyError::Unsure),
        },
    }
}

/// `None` for NULL.
fn computed_integer(computed: &Computed, inputs: &Inputs<'_>) -> Result<Option<i64>, KeyError> {
    match computed {
        Computed::Of { op, left, right } => {
            let (left, right) = (integer(left, inputs)?, integer(right, inputs)?);
            let (Some(left), Some(right)) = (left, right) else { return Ok(None) };
            let result = match op {
                Arithmetic::Plus => left.checked_add(right),
                Arithmetic::Minus => left.checked_sub(right),
                Arithmetic::Times => left.checked_mul(right),
                Arithmetic::Over => left.checked_div(right),
                Arithmetic::Modulo => left.checked_rem(right),
            };
            result.map(Some).ok_or(KeyError::Unsure)
        }
        Computed::Call { function, args } => {
            let args = args.iter().map(|arg| integer(arg, inputs)).collect::<Result<Vec<_>, _>>()?;
            let mut known = args.into_iter().flatten();
            match function {
                IntegerFunction::Abs => {
                    known.next().map(|value| value.checked_abs().ok_or(KeyError::Unsure)).transpose()
                }
                IntegerFunction::Greatest => Ok(known.max()),
                IntegerFunction::Least => Ok(known.min()),
            }
        }
        Computed::Length(of) => match text(of, inputs)? {
            None => Ok(None),
            // Elsewhere it depends on the encodings.
            Some(text) if text.is_ascii() => i64::try_from(text.len()).map(Some).map_err(|_| KeyError::Unsure),
            Some(_) => Err(KeyError::Unsure),
        },
        Computed::First { .. } | Computed::Unless { .. } | Computed::Case { .. } => {
            chosen(computed, inputs)?.map_or(Ok(None), |value| integer(value, inputs))
        }
        Computed::Cased { .. }
        | Computed::Joined(..)
        | Computed::Later { .. }
        | Computed::Earlier { .. }
        | Computed::DateOf(_)
        | Computed::DateOfParts { .. }
        | Computed::DateRead { .. } => Err(KeyError::Unsure),
    }
}

/// `None` for NULL.
fn computed_text<'a>(computed: &'a Computed, inputs: &'a Inputs<'_>) -> Result<Option<Cow<'a, str>>, KeyError> {
    match computed {
        Computed::Cased { text: of, upper } => {
            let Some(text) = text(of, inputs)? else { return Ok(None) };
            // The letter that a language has two of, one with and one without a dot, and all others outside of ASCII are the database's.
            let (alone, cased) = match upper {
                true => ('i', text.to_ascii_uppercase()),
                false => ('I', text.to_ascii_lowercase()),
            };
            let same = text.is_ascii() && !text.contains(alone);
            same.then_some(Some(Cow::Owned(cased))).ok_or(KeyError::Unsure)
        }
        Computed::Joined(left, right) => {
            let (left, right) = (text(left, inputs)?, text(right, inputs)?);
            Ok(left.zip(right).map(|(left, right)| Cow::Owned([left, right].concat())))
        }
        Computed::First { .. } | Computed::Unless { .. } | Computed::Case { .. } => {
            chosen(computed, inputs)?.map_or(Ok(None), |value| text(value, inputs))
        }
        Computed::Of { .. }
        | Computed::Call { .. }
        | Computed::Length(_)
        | Computed::Later { .. }
        | Computed::Earlier { .. }
        | Computed::DateOf(_)
        | Computed::DateOfParts { .. }
        | Computed::DateRead { .. } => Err(KeyError::Unsure),
    }
}

/// The one of several values that it is. Those that Postgres does not come to may be errors.
fn chosen<'a>(computed: &'a Computed, inputs: &Inputs<'_>) -> Result<Option<&'a Value>, KeyError> {
    match computed {
        Computed::First { sort, values } => {
            all_have(*sort, values, inputs)?;
            for value in values {
                if !is_null(value, *sort, inputs)? {
                    return Ok(Some(value));
                }
            }
            Ok(None)
        }
        Computed::Unless { sort, value, other } => {
            all_have(*sort, [value, other], inputs)?;
            let equal = compared(Comparison::Equal, *sort, value, other, inputs)?;
            Ok((equal != Some(true)).then_some(value))
        }
        Computed::Case { sort, branches, otherwise } => {
            all_have(*sort, branches.iter().map(|(_, value)| value).chain(otherwise), inputs)?;
            for (condition, value) in branches {
                if holds(condition, inputs)? == Some(true) {
                    return Ok(Some(value));
                }
            }
            Ok(otherwise.as_ref())
        }
        _ => Err(KeyError::Unsure),
    }
}

fn all_have<'v>(sort: Sort, values: impl IntoIterator<Item = &'v Value>, inputs: &Inputs<'_>) -> Result<(), KeyError> {
    let all = values.into_iter().all(|value| has_sort(value, sort, inputs));
    all.then_some(()).ok_or(KeyError::Unsure)
}

/// Whether a value is of this sort beyond doubt, whatever it is worth: a parameter of another type would change that of all.
fn has_sort(value: &Value, sort: Sort, inputs: &Inputs<'_>) -> bool {
    let all = |values: &[&Value]| values.iter().all(|value| has_sort(value, sort, inputs));
    match &value.source {
        Source::Parameter { .. } => match sort {
            Sort::Integer => is_integer_parameter(value, inputs),
            Sort::Text => is_text_parameter(value, inputs),
            Sort::Date => false,
        },
        Source::Computed(computed) => match &**computed {
            Computed::Of { left, right, .. } => all(&[left, right]),
            Computed::Unless { value, other, .. } => all(&[value, other]),
            Computed::Call { args: values, .. } | Computed::First { values, .. } => {
                values.iter().all(|value| has_sort(value, sort, inputs))
            }
            Computed::Case { branches, otherwise, .. } => {
                branches.iter().map(|(_, value)| value).chain(otherwise).all(|value| has_sort(value, sort, inputs))
            }
            // Their result is of one type.
            Computed::Length(_) | Computed::Cased { .. } | Computed::Joined(..) => true,
            Computed::Later { .. }
            | Computed::Earlier { .. }
            | Computed::DateOf(_)
            | Computed::DateOfParts { .. }
            | Computed::DateRead { .. } => sort == Sort::Date,
        },
        Source::Slot { .. } | Source::Text(_) | Source::Number { .. } | Source::Bool(_) | Source::Null => true,
    }
}

fn is_null(value: &Value, sort: Sort, inputs: &Inputs<'_>) -> Result<bool, KeyError> {
    Ok(match sort {
        Sort::Integer => integer(value, inputs)?.is_none(),
        Sort::Text => text(value, inputs)?.is_none(),
        Sort::Date => date(value, inputs)?.is_none(),
    })
}

/// `None` for NULL.
fn holds(condition: &Condition, inputs: &Inputs<'_>) -> Result<Option<bool>, KeyError> {
    match condition {
        Condition::Is(value) => Ok(*value),
        Condition::Compared { comparison, sort, left, right } => compared(*comparison, *sort, left, right, inputs),
        Condition::IsNull { sort, value } => is_null(value, *sort, inputs).map(Some),
        Condition::Not(of) => Ok(holds(of, inputs)?.map(|holds| !holds)),
        // From left to right, and no further than to what decides it.
        Condition::And(left, right) => either(left, right, false, inputs),
        Condition::Or(left, right) => either(left, right, true, inputs),
    }
}

/// `decides`: what one of both must be for the whole to be it.
fn either(left: &Condition, right: &Condition, decides: bool, inputs: &Inputs<'_>) -> Result<Option<bool>, KeyError> {
    let left = holds(left, inputs)?;
    if left == Some(decides) {
        return Ok(left);
    }
    let right = holds(right, inputs)?;
    Ok(if right == Some(decides) { right } else { left.and(right) })
}

fn compared(
    comparison: Comparison,
    sort: Sort,
    left: &Value,
    right: &Value,
    inputs: &Inputs<'_>,
) -> Result<Option<bool>, KeyError> {
    let order = match sort {
        Sort::Integer => integer(left, inputs)?.zip(integer(right, inputs)?).map(|(left, right)| left.cmp(&right)),
        // Only whether they are equal is asked: a database's own collation calls no different texts so.
        Sort::Text => text(left, inputs)?.zip(text(right, inputs)?).map(|(left, right)| left.cmp(&right)),
        Sort::Date => date(left, inputs)?.zip(date(right, inputs)?).map(|(left, right)| left.cmp(&right)),
    };
    Ok(order.map(|order| match comparison {
        Comparison::Equal => order.is_eq(),
        Comparison::NotEqual => order.is_ne(),
        Comparison::Less => order.is_lt(),
        Comparison::LessOrEqual => order.is_le(),
        Comparison::Greater => order.is_gt(),
        Comparison::GreaterOrEqual => order.is_ge(),
    }))
}

/// Days since 2000-01-01, `None` for NULL. Infinities have another arithmetic.
fn date(value: &Value, inputs: &Inputs<'_>) -> Result<Option<i32>, KeyError> {
    const MICROS_A_DAY: i64 = 86_400_000_000;
    let finite = |day: i32| (day != i32::MAX && day != i32::MIN).then_some(Some(day)).ok_or(KeyError::Unsure);
    let moved = |of: &Value, days: &Value, sign: i64| {
        let (Some(day), Some(days)) = (date(of, inputs)?, integer(days, inputs)?) else { return Ok(None) };
        let day = days.checked_mul(sign).and_then(|days| i64::from(day).checked_add(days));
        finite(day.and_then(|day| i32::try_from(day).ok()).ok_or(KeyError::Unsure)?)
    };
    let known = match &value.source {
        Source::Computed(computed) => match &**computed {
            Computed::Later { date, days } => return moved(date, days, 1),
            Computed::Earlier { date, days } => return moved(date, days, -1),
            Computed::DateOf(of) => match evaluate(of, KeyType::Timestamp, inputs) {
                Ok(KeyValue::Timestamp(at)) if at != i64::MAX && at != i64::MIN => {
                    i32::try_from(at.div_euclid(MICROS_A_DAY)).map(KeyValue::Date).map_err(|_| KeyError::Unsure)
                }
                Ok(KeyValue::Null) => Ok(KeyValue::Null),
                Ok(_) | Err(_) => Err(KeyError::Unsure),
            },
            Computed::DateOfParts { year, month, day } => {
                let part = |part| integer(part, inputs);
                let (Some(year), Some(month), Some(day)) = (part(year)?, part(month)?, part(day)?) else {
                    return Ok(None);
                };
                let plain = (1..=9999).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
                match plain {
                    true => iso_date(&format!("{year:04}-{month:02}-{day:02}")),
                    false => Err(KeyError::Unsure),
                }
            }
            Computed::DateRead { text: of, format } => {
                let (Some(of), Some(format)) = (text(of, inputs)?, text(format, inputs)?) else { return Ok(None) };
                match is_iso(&format) {
                    true => iso_date(&of),
                    false => Err(KeyError::Unsure),
                }
            }
            Computed::Of { .. }
            | Computed::Call { .. }
            | Computed::Length(_)
            | Computed::Cased { .. }
            | Computed::Joined(..)
            | Computed::First { .. }
            | Computed::Unless { .. }
            | Computed::Case { .. } => Err(KeyError::Unsure),
        },
        _ => evaluate(value, KeyType::Date, inputs),
    };
    match known {
        Ok(KeyValue::Null) => Ok(None),
        Ok(KeyValue::Date(day)) => finite(day),
        Ok(_) | Err(_) => Err(KeyError::Unsure),
    }
}

/// Whether `to_date` reads it as year, month and day. Of small and capital letters mixed it makes something else.
fn is_iso(format: &str) -> bool {
    let mut parts = format.split('-');
    let same = |of: &str| parts.next().is_some_and(|part| part == of || part == of.to_ascii_lowercase());
    ISO.split('-').all(same) && format.len() == ISO.len()
}

/// A day as ten characters say it.
fn iso_date<'a>(text: &str) -> Result<KeyValue<'a>, KeyError> {
    let plain = text.len() == ISO.len()
        && text
            .bytes()
            .zip(ISO.bytes())
            .all(|(byte, of)| if of == b'-' { byte == b'-' } else { byte.is_ascii_digit() });
    if plain { KeyType::Date.parse_text(text).map(own) } else { Err(KeyError::Unsure) }
}

/// A text, where it is one beyond doubt.
fn text<'a>(value: &'a Value, inputs: &'a Inputs<'_>) -> Result<Option<Cow<'a, str>>, KeyError> {
    match &value.source {
        Source::Computed(computed) => return computed_text(computed, inputs),
        Source::Parameter { .. } if !is_text_parameter(value, inputs) => return Err(KeyError::Unsure),
        _ => {}
    }
    match evaluate(value, KeyType::Text, inputs) {
        Ok(KeyValue::Null) => Ok(None),
        Ok(KeyValue::Text(text)) => Ok(Some(text)),
        Ok(_) | Err(_) => Err(KeyError::Unsure),
    }
}

fn is_text_parameter(value: &Value, inputs: &Inputs<'_>) -> bool {
    let Source::Parameter { index, shared } = value.source else { return false };
    let given = inputs.parameters.and_then(|parameters| parameters.get(usize::from(index)));
    given.is_some_and(|(declared, ..)| match declared {
        0 | oid::UNKNOWN => !shared,
        declared => matches!(declared, oid::TEXT | oid::VARCHAR),
    })
}

/// Of what is untyped, only a cast tells that it is an integer.
fn is_integer_parameter(value: &Value, inputs: &Inputs<'_>) -> bool {
    let Source::Parameter { index, shared } = value.source else { return false };
    let given = inputs.parameters.and_then(|parameters| parameters.get(usize::from(index)));
    given.is_some_and(|(declared, ..)| match declared {
        0 | oid::UNKNOWN => value.cast.is_some() && !shared,
        declared => matches!(declared, oid::INT2 | oid::INT4 | oid::INT8),
    })
}

/// An operand, where it is an integer beyond doubt.
fn integer(value: &Value, inputs: &Inputs<'_>) -> Result<Option<i64>, KeyError> {
    match &value.source {
        Source::Computed(computed) => return computed_integer(computed, inputs),
        Source::Parameter { .. } if !is_integer_parameter(value, inputs) => return Err(KeyError::Unsure),
        _ => {}
    }
    match evaluate(value, KeyType::Int8, inputs) {
        Ok(KeyValue::Null) => Ok(None),
        Ok(KeyValue::Int(value)) => Ok(Some(value)),
        // Beyond bigint it would be a numeric, with another arithmetic.
        Ok(_) | Err(_) => Err(KeyError::Unsure),
    }
}

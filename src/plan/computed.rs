//! What is made of literals and parameters, as every Postgres makes it: integers, texts, dates. Whatever makes Postgres raise an error is
//! `Unsure`: it is raised on any shard.

use std::borrow::Cow;

use crate::plan::Inputs;
use crate::plan::values::{evaluate, number, own};
use crate::sql::keys::{Arithmetic, Comparison, Computed, Condition, IntegerFunction, Sort, Source, Value};
use crate::sql::template::{SlotKind, number_text};
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
    sorts_of(computed, inputs)?;
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
        Computed::First { sort: Sort::Integer, .. }
        | Computed::Unless { sort: Sort::Integer, .. }
        | Computed::Case { sort: Sort::Integer, .. }
        | Computed::Switch { sort: Sort::Integer, .. } => chosen(computed, inputs, |value| integer(value, inputs)),
        Computed::First { .. }
        | Computed::Unless { .. }
        | Computed::Case { .. }
        | Computed::Switch { .. }
        | Computed::Cased { .. }
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
            // In its place: the left one may have been put together of many.
            Ok(left.zip(right).map(|(left, right)| Cow::Owned(left.into_owned() + &*right)))
        }
        Computed::First { sort: Sort::Text, .. }
        | Computed::Unless { sort: Sort::Text, .. }
        | Computed::Case { sort: Sort::Text, .. }
        | Computed::Switch { sort: Sort::Text, .. } => chosen(computed, inputs, |value| text(value, inputs)),
        Computed::First { .. }
        | Computed::Unless { .. }
        | Computed::Case { .. }
        | Computed::Switch { .. }
        | Computed::Of { .. }
        | Computed::Call { .. }
        | Computed::Length(_)
        | Computed::Later { .. }
        | Computed::Earlier { .. }
        | Computed::DateOf(_)
        | Computed::DateOfParts { .. }
        | Computed::DateRead { .. } => Err(KeyError::Unsure),
    }
}

/// The one of several values that it is; each is looked at once. Those that Postgres does not come to may be errors.
fn chosen<'a, T: PartialEq>(
    computed: &'a Computed,
    inputs: &'a Inputs<'_>,
    read: impl Fn(&'a Value) -> Result<Option<T>, KeyError>,
) -> Result<Option<T>, KeyError> {
    let (then, otherwise) = match computed {
        Computed::First { values, .. } => {
            for value in values {
                if let Some(found) = read(value)? {
                    return Ok(Some(found));
                }
            }
            return Ok(None);
        }
        Computed::Unless { value, other, .. } => {
            let (value, other) = (read(value)?, read(other)?);
            return Ok(value.filter(|value| other.as_ref() != Some(value)));
        }
        Computed::Case { branches, otherwise, .. } => {
            let mut then = None;
            for (condition, value) in branches {
                if holds(condition, inputs)? == Some(true) {
                    then = Some(value);
                    break;
                }
            }
            (then, otherwise)
        }
        Computed::Switch { of, operand, branches, otherwise, .. } => {
            let then = match of {
                Sort::Integer => equal_to(operand, branches, |value| integer(value, inputs)),
                Sort::Text => equal_to(operand, branches, |value| text(value, inputs)),
                Sort::Date => equal_to(operand, branches, |value| date(value, inputs)),
            };
            (then?, otherwise)
        }
        _ => return Err(KeyError::Unsure),
    };
    then.or(otherwise.as_ref()).map_or(Ok(None), read)
}

/// What stands behind the first that is equal.
fn equal_to<'a, T: PartialEq>(
    operand: &'a Value,
    branches: &'a [(Value, Value)],
    read: impl Fn(&'a Value) -> Result<Option<T>, KeyError>,
) -> Result<Option<&'a Value>, KeyError> {
    let operand = read(operand)?;
    for (compared, then) in branches {
        let compared = read(compared)?;
        if compared.is_some() && compared == operand {
            return Ok(Some(then));
        }
    }
    Ok(None)
}

/// The sorts that a value can be of, whatever it is worth.
#[derive(Clone, Copy)]
struct Sorts {
    integer: bool,
    text: bool,
    date: bool,
}

impl Sorts {
    const ALL: Self = Self { integer: true, text: true, date: true };
    const DATE: Self = Self { integer: false, text: false, date: true };

    fn with(self, other: Self) -> Self {
        Self { integer: self.integer && other.integer, text: self.text && other.text, date: self.date && other.date }
    }

    fn sure(self, sort: Sort) -> Result<Self, KeyError> {
        let has = match sort {
            Sort::Integer => self.integer,
            Sort::Text => self.text,
            Sort::Date => self.date,
        };
        has.then_some(self).ok_or(KeyError::Unsure)
    }
}

/// The sorts of a whole, each part of it looked at once. An error where one of several values may be of another sort than the rest, chosen
/// or not: a parameter of another type changes that of all.
fn sorts_of(computed: &Computed, inputs: &Inputs<'_>) -> Result<Sorts, KeyError> {
    let of = |value: &Value| sorts(value, inputs);
    match computed {
        Computed::Of { left, right, .. } => Ok(of(left)?.with(of(right)?)),
        Computed::Call { args, .. } => all_sorts(args, inputs),
        Computed::First { sort, values } => all_sorts(values, inputs)?.sure(*sort),
        Computed::Unless { sort, value, other } => of(value)?.with(of(other)?).sure(*sort),
        Computed::Case { sort, branches, otherwise } => {
            branches.iter().try_for_each(|(condition, _)| check_sorts(condition, inputs))?;
            all_sorts(branches.iter().map(|(_, value)| value).chain(otherwise), inputs)?.sure(*sort)
        }
        Computed::Switch { sort, operand, branches, otherwise, .. } => {
            of(operand)?;
            all_sorts(branches.iter().map(|(compared, _)| compared), inputs)?;
            all_sorts(branches.iter().map(|(_, value)| value).chain(otherwise), inputs)?.sure(*sort)
        }
        // Their result is of one type.
        Computed::Length(text) | Computed::Cased { text, .. } => of(text).map(|_| Sorts::ALL),
        Computed::Joined(left, right) => all_sorts([left, right], inputs).map(|_| Sorts::ALL),
        Computed::Later { date: one, days: other }
        | Computed::Earlier { date: one, days: other }
        | Computed::DateRead { text: one, format: other } => all_sorts([one, other], inputs).map(|_| Sorts::DATE),
        Computed::DateOf(value) => of(value).map(|_| Sorts::DATE),
        Computed::DateOfParts { year, month, day } => all_sorts([year, month, day], inputs).map(|_| Sorts::DATE),
    }
}

fn all_sorts<'v>(values: impl IntoIterator<Item = &'v Value>, inputs: &Inputs<'_>) -> Result<Sorts, KeyError> {
    values.into_iter().try_fold(Sorts::ALL, |all, value| Ok(all.with(sorts(value, inputs)?)))
}

fn sorts(value: &Value, inputs: &Inputs<'_>) -> Result<Sorts, KeyError> {
    match &value.source {
        Source::Parameter { .. } => Ok(Sorts {
            integer: is_integer_parameter(value, inputs),
            text: is_text_parameter(value, inputs),
            date: false,
        }),
        Source::Computed(computed) => sorts_of(computed, inputs),
        Source::Slot { .. } | Source::Number { .. } => Ok(Sorts { integer: !is_numeric(value, inputs), ..Sorts::ALL }),
        Source::Text(_) | Source::Bool(_) | Source::Null => Ok(Sorts::ALL),
    }
}

/// The same of the values that a condition has.
fn check_sorts(condition: &Condition, inputs: &Inputs<'_>) -> Result<(), KeyError> {
    match condition {
        Condition::Is(_) => Ok(()),
        Condition::Compared { left, right, .. } => all_sorts([left, right], inputs).map(drop),
        Condition::IsNull { value, .. } => sorts(value, inputs).map(drop),
        Condition::Not(of) => check_sorts(of, inputs),
        Condition::And(left, right) | Condition::Or(left, right) => {
            check_sorts(left, inputs)?;
            check_sorts(right, inputs)
        }
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
            | Computed::Case { .. }
            | Computed::Switch { .. } => Err(KeyError::Unsure),
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

/// Whether a number is more than a bigint holds, without its sign: Postgres reads a numeric, before it looks at the sign.
fn is_numeric(value: &Value, inputs: &Inputs<'_>) -> bool {
    let digits = match &value.source {
        Source::Number { digits, .. } => Some(&**digits),
        Source::Slot { index, .. } => {
            let slot = inputs.slots.get(usize::from(*index));
            let slot = slot.filter(|slot| matches!(slot.kind, SlotKind::Integer | SlotKind::Number));
            slot.and_then(|slot| number_text(inputs.text, slot))
        }
        _ => None,
    };
    value.cast.is_none() && digits.is_some_and(|digits| digits.parse::<i64>().is_err())
}

/// An operand, where it is an integer beyond doubt.
fn integer(value: &Value, inputs: &Inputs<'_>) -> Result<Option<i64>, KeyError> {
    match &value.source {
        Source::Computed(computed) => return computed_integer(computed, inputs),
        Source::Parameter { .. } if !is_integer_parameter(value, inputs) => return Err(KeyError::Unsure),
        _ if is_numeric(value, inputs) => return Err(KeyError::Unsure),
        _ => {}
    }
    match evaluate(value, KeyType::Int8, inputs) {
        Ok(KeyValue::Null) => Ok(None),
        Ok(KeyValue::Int(value)) => Ok(Some(value)),
        // Beyond bigint it would be a numeric, with another arithmetic.
        Ok(_) | Err(_) => Err(KeyError::Unsure),
    }
}

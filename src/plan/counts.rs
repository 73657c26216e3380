//! What LIMIT and OFFSET of a query over several shards are worth in one call.

use crate::fault::{Fault, SqlState};
use crate::ids::Oid;
use crate::plan::Inputs;
use crate::plan::combine::Window;
use crate::sql::outcome::{Count, Limit};
use crate::types::canonical::{KeyError, KeyValue};
use crate::types::{Format, KeyType, oid};

/// What numbers may have around them.
const SPACES: [char; 6] = [' ', '\t', '\n', '\x0b', '\x0c', '\r'];

/// LIMIT and OFFSET with their parameters read.
pub(super) fn window(limit: &Limit, inputs: &Inputs<'_>) -> Result<Window, Fault> {
    let value = |count: Option<Count>, what: &str, code: &[u8; 5]| -> Result<Option<u64>, Fault> {
        let value = match count {
            None => return Ok(None),
            Some(Count::Constant(value)) => Some(value),
            Some(Count::Parameter(index)) => count_parameter(index, inputs)?,
        };
        let negative = || Fault::new(SqlState(*code), format!("{what} must not be negative"));
        value.map(|value| u64::try_from(value).map_err(|_| negative())).transpose()
    };
    let offset = value(limit.offset, "OFFSET", b"2201X")?.unwrap_or(0);
    let limit = value(limit.limit, "LIMIT", b"2201W")?;
    Ok(Window { offset, limit })
}

/// A parameter as a bigint; `None` for NULL, and where parameters are not known yet.
fn count_parameter(index: u16, inputs: &Inputs<'_>) -> Result<Option<i64>, Fault> {
    let Some((declared, format, bytes)) = inputs.parameters.and_then(|parameters| parameters.get(usize::from(index)))
    else {
        return Ok(None);
    };
    let Some(bytes) = bytes else { return Ok(None) };
    let is_int = matches!(declared, 0 | oid::INT2 | oid::INT4 | oid::INT8 | oid::UNKNOWN);
    let value = match (format, std::str::from_utf8(bytes)) {
        (Format::Text, Ok(text)) if is_int => bigint(text)?,
        (format, _) if declared == oid::NUMERIC => match KeyType::Numeric.parse_typed(oid::NUMERIC, format, bytes) {
            Ok(KeyValue::Numeric(number)) => Some(of_numeric(&number)?),
            Err(KeyError::Invalid) if format == Format::Text => return Err(invalid("numeric", bytes)),
            Ok(_) | Err(_) => None,
        },
        (Format::Text, Ok(text)) if matches!(declared, oid::FLOAT4 | oid::FLOAT8) => {
            float(text, declared).map(of_float).transpose()?
        }
        (Format::Binary, _) if declared == oid::FLOAT8 => {
            bytes.try_into().ok().map(|bytes| of_float(f64::from_be_bytes(bytes))).transpose()?
        }
        (Format::Binary, _) if declared == oid::FLOAT4 => {
            bytes.try_into().ok().map(|bytes| of_float(f32::from_be_bytes(bytes).into())).transpose()?
        }
        (Format::Binary, _) if is_int => match bytes {
            [a, b] => Some(i64::from(i16::from_be_bytes([*a, *b]))),
            [a, b, c, d] => Some(i64::from(i32::from_be_bytes([*a, *b, *c, *d]))),
            bytes => <[u8; 8]>::try_from(bytes).ok().map(i64::from_be_bytes),
        },
        (Format::Text | Format::Binary, _) => None,
    };
    value.map(Some).ok_or_else(|| {
        Fault::unsupported(
            "LIMIT or OFFSET of a query over several shards needs an integer",
            format!("parameter ${} is of another type or form", index + 1),
            "Send it as bigint.",
        )
    })
}

/// A text as Postgres reads a bigint; `None` for forms that only some versions know.
fn bigint(text: &str) -> Result<Option<i64>, Fault> {
    let bare = text.trim_matches(SPACES);
    if let Ok(value) = bare.parse() {
        return Ok(Some(value));
    }
    let digits = bare.strip_prefix(['-', '+']).unwrap_or(bare);
    if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        let message = format!("value \"{text}\" is out of range for type bigint");
        return Err(Fault::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, message));
    }
    if digits.contains('_') || digits.starts_with('0') && digits.as_bytes().get(1).is_some_and(u8::is_ascii_alphabetic)
    {
        return Ok(None);
    }
    Err(invalid("bigint", text.as_bytes()))
}

/// The bigint that Postgres makes of a numeric, which is in its canonical text: the half goes away from zero.
fn of_numeric(number: &str) -> Result<i64, Fault> {
    let no = |what: &str| Fault::new(SqlState::FEATURE_NOT_SUPPORTED, format!("cannot convert {what} to bigint"));
    match number {
        "NaN" => return Err(no("NaN")),
        "Infinity" | "-Infinity" => return Err(no("infinity")),
        _ => {}
    }
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let step = i64::from(fraction.as_bytes().first().is_some_and(|digit| *digit >= b'5'));
    let step = if whole.starts_with('-') { -step } else { step };
    whole.parse::<i64>().ok().and_then(|whole| whole.checked_add(step)).ok_or_else(out_of_range)
}

/// The bigint that Postgres makes of a float: the half goes to the even number.
fn of_float(number: f64) -> Result<i64, Fault> {
    // Beyond this bound no float has a fraction, and none is a bigint.
    const BOUND: f64 = 9_223_372_036_854_775_808.0;
    let number = number.round_ties_even();
    (-BOUND..BOUND).contains(&number).then_some(number as i64).ok_or_else(out_of_range)
}

fn float(text: &str, declared: Oid) -> Option<f64> {
    let bare = text.trim_matches(SPACES);
    match declared {
        oid::FLOAT4 => bare.parse::<f32>().ok().map(f64::from),
        _ => bare.parse().ok(),
    }
}

fn out_of_range() -> Fault {
    Fault::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "bigint out of range")
}

fn invalid(what: &str, bytes: &[u8]) -> Fault {
    let message = format!("invalid input syntax for type {what}: \"{}\"", String::from_utf8_lossy(bytes));
    Fault::new(SqlState::INVALID_TEXT_REPRESENTATION, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read_as_postgres_reads_a_bigint() {
        let codes = [
            ("12", None),
            (" +7\n", None),
            ("2.5", Some(SqlState::INVALID_TEXT_REPRESENTATION)),
            ("x", Some(SqlState::INVALID_TEXT_REPRESENTATION)),
            ("", Some(SqlState::INVALID_TEXT_REPRESENTATION)),
            ("9223372036854775808", Some(SqlState::NUMERIC_VALUE_OUT_OF_RANGE)),
            ("-9223372036854775809", Some(SqlState::NUMERIC_VALUE_OUT_OF_RANGE)),
        ];
        for (text, code) in codes {
            assert_eq!(bigint(text).err().map(|fault| fault.code), code, "{text}");
        }
        assert_eq!(bigint(" +7\n").ok().flatten(), Some(7));
        // Postgres 16 reads these, and 15 does not.
        assert_eq!(bigint("0x10").ok(), Some(None));
        assert_eq!(bigint("1_000").ok(), Some(None));
    }

    #[test]
    fn numbers_are_rounded_as_postgres_rounds_them() {
        let of = |text: &str| match KeyType::Numeric.parse_typed(oid::NUMERIC, Format::Text, text.as_bytes()) {
            Ok(KeyValue::Numeric(number)) => of_numeric(&number).map_err(|fault| fault.code),
            _ => panic!("{text}"),
        };
        let values = [
            ("2.5", 3),
            ("2.49", 2),
            ("-2.5", -3),
            ("0.4", 0),
            ("-0.5", -1),
            ("7", 7),
            ("7.", 7),
            ("1e3", 1000),
            (".5", 1),
        ];
        for (text, value) in values {
            assert_eq!(of(text), Ok(value), "{text}");
        }
        assert_eq!(of("9223372036854775807.5"), Err(SqlState::NUMERIC_VALUE_OUT_OF_RANGE));
        assert_eq!(of("-9223372036854775808"), Ok(i64::MIN));
        assert_eq!(of("NaN"), Err(SqlState::FEATURE_NOT_SUPPORTED));
        for (number, value) in [(2.5, Some(2)), (3.5, Some(4)), (-0.5, Some(0)), (1e19, None), (f64::NAN, None)] {
            assert_eq!(of_float(number).ok(), value, "{number}");
        }
        assert_eq!(of_float(-9_223_372_036_854_775_808.0).ok(), Some(i64::MIN));
    }
}

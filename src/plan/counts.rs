//! What LIMIT and OFFSET of a query over several shards are worth in one call.

use crate::fault::{Fault, SqlState};
use crate::plan::Inputs;
use crate::plan::combine::Window;
use crate::sql::outcome::{Count, Limit};
use crate::types::{Format, oid};

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
        (Format::Text, Ok(text)) if declared == oid::NUMERIC => rounded(text),
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
    let bare = text.trim_matches([' ', '\t', '\n', '\x0b', '\x0c', '\r']);
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
    let message = format!("invalid input syntax for type bigint: \"{text}\"");
    Err(Fault::new(SqlState::INVALID_TEXT_REPRESENTATION, message))
}

/// A plain decimal number as the bigint that Postgres makes of a numeric: the half goes away from zero.
fn rounded(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = whole.strip_prefix('-').unwrap_or(whole);
    let plain = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
    if digits.is_empty() || !plain(digits) || !plain(fraction) {
        return None;
    }
    let step = i64::from(fraction.as_bytes().first().is_some_and(|digit| *digit >= b'5'));
    whole.parse::<i64>().ok()?.checked_add(if whole.starts_with('-') { -step } else { step })
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
    fn numerics_are_rounded_away_from_zero() {
        for (text, value) in [("2.5", 3), ("2.49", 2), ("-2.5", -3), ("0.4", 0), ("-0.5", -1), ("7", 7), ("7.", 7)] {
            assert_eq!(rounded(text), Some(value), "{text}");
        }
        for text in ["1e3", "NaN", "", ".5", "9223372036854775807.5", "x"] {
            assert_eq!(rounded(text), None, "{text}");
        }
    }
}

//! What a literal or parameter is worth in one call, as a sharding key of some type.

use std::borrow::Cow;

use crate::ids::Oid;
use crate::plan::{Inputs, computed};
use crate::sql::keys::{Source, Value};
use crate::sql::template::{SlotKind, number_text, string_value};
use crate::types::canonical::{KeyError, KeyValue};
use crate::types::{Format, KeyType, element_of, oid};

/// What a value is worth in this call, as a key of this type compared by `=`.
pub(crate) fn evaluate<'a>(
    value: &'a Value,
    key_type: KeyType,
    inputs: &'a Inputs<'_>,
) -> Result<KeyValue<'a>, KeyError> {
    match &value.source {
        Source::Slot { index, negative } => {
            let slot = inputs.slots.get(usize::from(*index)).ok_or(KeyError::Unsure)?;
            match slot.kind {
                SlotKind::Integer | SlotKind::Number => {
                    number(number_text(inputs.text, slot).ok_or(KeyError::Unsure)?, *negative, value.cast, key_type)
                }
                SlotKind::String | SlotKind::EscapeString | SlotKind::DollarString => {
                    text(string_value(inputs.text, slot).ok_or(KeyError::Unsure)?, value.cast, key_type)
                }
                SlotKind::Other => Err(KeyError::Unsure),
            }
        }
        Source::Text(written) => text(Cow::Borrowed(written), value.cast, key_type),
        Source::Number { digits, negative } => number(digits, *negative, value.cast, key_type),
        Source::Bool(value_of) => match key_type {
            KeyType::Bool if value.cast.is_none_or(|to| to == oid::BOOL) => Ok(KeyValue::Bool(*value_of)),
            _ => Err(KeyError::Unsure),
        },
        Source::Null => Ok(KeyValue::Null),
        Source::Parameter { index, shared } => parameter(*index, *shared, value.cast, key_type, inputs),
        Source::Computed(computed) => computed::as_key(value, computed, key_type, inputs),
    }
}

fn text<'a>(written: Cow<'a, str>, cast: Option<Oid>, key_type: KeyType) -> Result<KeyValue<'a>, KeyError> {
    match written {
        Cow::Borrowed(written) => match cast {
            None => key_type.parse_text(written),
            Some(to) => key_type.parse_typed(to, Format::Text, written.as_bytes()),
        },
        Cow::Owned(written) => match cast {
            None => key_type.parse_text(&written).map(own),
            Some(to) => key_type.parse_typed(to, Format::Text, written.as_bytes()).map(own),
        },
    }
}

pub(super) fn number<'a>(
    digits: &'a str,
    negative: bool,
    cast: Option<Oid>,
    key_type: KeyType,
) -> Result<KeyValue<'a>, KeyError> {
    let whole = digits.bytes().all(|b| b.is_ascii_digit());
    match cast {
        None => key_type.parse_number(digits, negative),
        // A whole number keeps its value in every number type; one that is too large makes Postgres raise an error.
        Some(oid::INT2 | oid::INT4 | oid::INT8 | oid::NUMERIC) if whole => key_type.parse_number(digits, negative),
        Some(oid::TEXT | oid::VARCHAR) if whole && (digits.len() == 1 || !digits.starts_with('0')) => {
            let written = if negative { format!("-{digits}") } else { digits.to_owned() };
            key_type.parse_typed(oid::TEXT, Format::Text, written.as_bytes()).map(own)
        }
        Some(_) => Err(KeyError::Unsure),
    }
}

fn parameter<'a>(
    index: u16,
    shared: bool,
    cast: Option<Oid>,
    key_type: KeyType,
    inputs: &'a Inputs<'_>,
) -> Result<KeyValue<'a>, KeyError> {
    let (declared, format, bytes) =
        inputs.parameters.and_then(|parameters| parameters.get(usize::from(index))).ok_or(KeyError::Unsure)?;
    let Some(bytes) = bytes else { return Ok(KeyValue::Null) };
    let of = match (declared, cast) {
        (0 | oid::UNKNOWN, None) => {
            if shared {
                return shared_parameter(format, bytes, key_type);
            }
            // Postgres gives it the column's type, but where it stands beside other values, or is carried over from a column of another type.
            if format == Format::Binary {
                let read = can_be_only(key_type, bytes).then(|| key_type.parse_typed(key_type.oid(), format, bytes));
                return read.and_then(Result::ok).ok_or(KeyError::Unsure);
            }
            key_type.oid()
        }
        (0 | oid::UNKNOWN, Some(to)) if !shared => to,
        (declared, None) => declared,
        (declared, Some(to)) if declared == to => to,
        // Between integers a cast keeps the value, or fails.
        (declared @ (oid::INT2 | oid::INT4 | oid::INT8), Some(oid::INT2 | oid::INT4 | oid::INT8)) => declared,
        _ => return Err(KeyError::Unsure),
    };
    key_type.parse_typed(of, format, bytes)
}

/// Whether these binary bytes are of this type, or the same value in each other that is compared with it.
fn can_be_only(key_type: KeyType, bytes: &[u8]) -> bool {
    match key_type {
        KeyType::Bool => bytes.len() == 1,
        KeyType::Int2 => bytes.len() == 2,
        KeyType::Int4 | KeyType::Date => bytes.len() == 4,
        KeyType::Int8 | KeyType::Timestamp | KeyType::Timestamptz => bytes.len() == 8,
        // A bigint has eight, and its zero is the zero of a numeric.
        KeyType::Numeric => bytes.len() > 8 || *bytes == [0; 8],
        KeyType::Uuid => bytes.len() == 16,
        KeyType::Text | KeyType::Varchar | KeyType::Bpchar | KeyType::Bytea | KeyType::Inet => true,
    }
}

/// A parameter without declared type that is used elsewhere too: its type is that of its first use, which is not known here.
/// Where its text is one of this type, it is this value in every type that Postgres could have chosen.
fn shared_parameter(format: Format, bytes: &[u8], key_type: KeyType) -> Result<KeyValue<'_>, KeyError> {
    let of = match (key_type, format) {
        (KeyType::Int2 | KeyType::Int4 | KeyType::Int8, Format::Binary) => match bytes.len() {
            2 => oid::INT2,
            4 => oid::INT4,
            8 => oid::INT8,
            _ => return Err(KeyError::Unsure),
        },
        (KeyType::Int2 | KeyType::Int4 | KeyType::Int8, Format::Text) => oid::INT8,
        (KeyType::Text | KeyType::Varchar, _) if bytes.last() != Some(&b' ') => oid::TEXT,
        (KeyType::Uuid | KeyType::Bool, _) => key_type.oid(),
        _ => return Err(KeyError::Unsure),
    };
    key_type.parse_typed(of, format, bytes).map_err(|_| KeyError::Unsure)
}

/// The members of an array literal or parameter; `None` where they cannot be read with certainty.
pub(crate) fn array<'a>(
    value: &'a Value,
    key_type: KeyType,
    inputs: &'a Inputs<'_>,
) -> Option<Vec<Result<KeyValue<'a>, KeyError>>> {
    let of_text = |element: Option<Oid>, written: &str| -> Option<Vec<Result<KeyValue<'a>, KeyError>>> {
        let element = element.unwrap_or(key_type.oid());
        let read = |member: &str| key_type.parse_typed(element, Format::Text, member.as_bytes()).map(own);
        let mut values = Vec::new();
        for Member { text, quoted } in array_members(written)? {
            if quoted || !text.eq_ignore_ascii_case("null") {
                values.push(read(&text));
                continue;
            }
            values.push(Ok(KeyValue::Null));
            // With array_nulls off it is these four letters.
            values.extend(read(&text).ok().map(Ok));
        }
        Some(values)
    };
    match &value.source {
        Source::Slot { index, negative: false } => {
            of_text(value.cast, &string_value(inputs.text, inputs.slots.get(usize::from(*index))?)?)
        }
        Source::Text(written) => of_text(value.cast, written),
        Source::Null => Some(Vec::new()),
        Source::Parameter { index, shared } => {
            let (declared, format, bytes) = inputs.parameters?.get(usize::from(*index))?;
            let Some(bytes) = bytes else { return Some(Vec::new()) };
            match format {
                Format::Text => {
                    let element = match (declared, value.cast) {
                        // Its type is that of its first use, which is only known where there is one.
                        (0 | oid::UNKNOWN, _) if *shared => return None,
                        (0 | oid::UNKNOWN, cast) => cast,
                        (declared, cast) => {
                            Some(element_of(declared).filter(|element| cast.is_none_or(|cast| cast == *element))?)
                        }
                    };
                    of_text(element, std::str::from_utf8(bytes).ok()?)
                }
                Format::Binary => binary_members(bytes, key_type),
            }
        }
        _ => None,
    }
}

/// One element of an array's text.
struct Member {
    text: String,
    quoted: bool,
}

/// The elements of `{a,"b c",NULL}`, of all dimensions one after the other (`array_in`).
fn array_members(text: &str) -> Option<Vec<Member>> {
    let text = text.trim_matches(is_array_blank);
    // Explicit bounds (`[0:2]={..}`) are not read.
    if !text.starts_with('{') {
        return None;
    }
    let mut members = Vec::new();
    let mut chars = text.chars().peekable();
    let mut depth = 0usize;
    // Whether an element may stand here.
    let mut open = false;
    while let Some(c) = chars.next() {
        match c {
            '{' => {
                if depth > 0 && !open {
                    return None;
                }
                depth += 1;
                open = true;
            }
            '}' => {
                depth = depth.checked_sub(1)?;
                open = false;
                if depth == 0 {
                    return chars.next().is_none().then_some(members);
                }
            }
            ',' => {
                if open || depth == 0 {
                    return None;
                }
                open = true;
            }
            c if is_array_blank(c) => {}
            '"' => {
                let mut element = String::new();
                loop {
                    match chars.next()? {
                        '"' => break,
                        '\\' => element.push(chars.next()?),
                        c => element.push(c),
                    }
                }
                if !open {
                    return None;
                }
                members.push(Member { text: element, quoted: true });
                open = false;
            }
            c => {
                if !open {
                    return None;
                }
                let mut element = String::from(c);
                if c == '\\' {
                    return None;
                }
                while let Some(next) = chars.peek() {
                    match next {
                        ',' | '}' => break,
                        '{' | '"' | '\\' => return None,
                        next => element.push(*next),
                    }
                    chars.next();
                }
                let element = element.trim_end_matches(is_array_blank);
                members.push(Member { text: element.to_owned(), quoted: false });
                open = false;
            }
        }
    }
    None
}

/// What `array_in` skips (`array_isspace`): more than Rust's ASCII white space has.
fn is_array_blank(c: char) -> bool {
    matches!(c, ' ' | '\t'..='\r')
}

/// The elements of an array in binary format (`array_recv`).
pub(crate) fn binary_members(bytes: &[u8], key_type: KeyType) -> Option<Vec<Result<KeyValue<'_>, KeyError>>> {
    const MAX_DIMENSIONS: i32 = 6;
    let mut rest = bytes;
    let int = |rest: &mut &[u8]| -> Option<i32> {
        let (head, tail) = rest.split_first_chunk::<4>()?;
        *rest = tail;
        Some(i32::from_be_bytes(*head))
    };
    let dimensions = int(&mut rest)?;
    let _has_nulls = int(&mut rest)?;
    let element = int(&mut rest)? as u32;
    if !(0..=MAX_DIMENSIONS).contains(&dimensions) {
        return None;
    }
    for _ in 0..dimensions {
        int(&mut rest)?;
        int(&mut rest)?;
    }
    let mut members = Vec::new();
    while !rest.is_empty() {
        let length = int(&mut rest)?;
        if length == -1 {
            members.push(Ok(KeyValue::Null));
            continue;
        }
        let (value, tail) = rest.split_at_checked(usize::try_from(length).ok()?)?;
        members.push(key_type.parse_typed(element, Format::Binary, value));
        rest = tail;
    }
    Some(members)
}

/// The value without what it borrows.
pub(crate) fn own<'b>(value: KeyValue<'_>) -> KeyValue<'b> {
    match value {
        KeyValue::Null => KeyValue::Null,
        KeyValue::Int(v) => KeyValue::Int(v),
        KeyValue::Text(v) => KeyValue::Text(Cow::Owned(v.into_owned())),
        KeyValue::Uuid(v) => KeyValue::Uuid(v),
        KeyValue::Date(v) => KeyValue::Date(v),
        KeyValue::Timestamp(v) => KeyValue::Timestamp(v),
        KeyValue::Numeric(v) => KeyValue::Numeric(Cow::Owned(v.into_owned())),
        KeyValue::Bytea(v) => KeyValue::Bytea(Cow::Owned(v.into_owned())),
        KeyValue::Bool(v) => KeyValue::Bool(v),
        KeyValue::Inet { family, prefix, address } => KeyValue::Inet { family, prefix, address },
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn zero_is_one_value_in_all_numbers() {
        let read = |bytes: &[u8]| {
            can_be_only(KeyType::Numeric, bytes)
                .then(|| KeyType::Numeric.parse_typed(oid::NUMERIC, Format::Binary, bytes).map(own).ok())
                .flatten()
        };
        let zero = KeyType::Numeric.parse_text("0").ok();
        assert!(zero.is_some());
        assert_eq!(read(&[0; 8]), zero);
        // The bigint 1, and a numeric NaN that is a bigint as well.
        assert_eq!(read(&1i64.to_be_bytes()), None);
        assert_eq!(read(&[0, 0, 0, 0, 0xc0, 0, 0, 0]), None);
    }

    #[test]
    fn array_literals_are_read_as_array_in_reads_them() {
        let read = |text: &str| {
            let member = |m: Member| if m.quoted { format!("'{}'", m.text) } else { m.text };
            array_members(text).map(|m| m.into_iter().map(member).collect::<Vec<_>>())
        };
        assert_eq!(read("{1, 2,3 }").unwrap(), ["1", "2", "3"]);
        assert_eq!(read("{}").unwrap(), Vec::<String>::new());
        // Blanks are more than ASCII's white space: `a` with a vertical tab behind it is `a`.
        assert_eq!(read("{\u{b}a\u{b},\u{c}b\r}\u{b}").unwrap(), ["a", "b"]);
        assert_eq!(read(r#" {"a b","c\"d",null,"null"} "#).unwrap(), ["'a b'", "'c\"d'", "null", "'null'"]);
        assert_eq!(read("{{1,2},{3,4}}").unwrap(), ["1", "2", "3", "4"]);
        for bad in ["", "1,2", "{1,,2}", "{1", "{1}}", "[0:1]={1,2}", "{a\"b\"}", r"{a\b}"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}

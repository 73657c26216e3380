//! Values -> shards: what each condition on a sharding key is worth in this call.

use std::borrow::Cow;

use smallvec::SmallVec;

use crate::fault::{Fault, SqlState};
use crate::ids::{Oid, ShardId, ShardSet};
use crate::plan::Inputs;
use crate::sql::keys::{Bound, KeyExpr, KeyGroup, KeyName, Operand, RowKey, Source, Value};
use crate::sql::template::{SlotKind, number_text, string_value};
use crate::topology::{Distribution, KeyRange, Topology};
use crate::types::canonical::{KeyError, KeyValue};
use crate::types::{Format, KeyType, oid};

/// Most combinations of values of a key of several columns; beyond, the condition counts as not understood.
const MAX_COMBINATIONS: usize = 10_000;

/// Where the rows that a condition allows can be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reach {
    pub shards: ShardSet,
    /// A value could not be read with certainty, and the condition was left out for it.
    pub unsure: bool,
    /// Nothing restricts the key.
    pub open: bool,
}

/// The one shard of a condition `key = value`, without allocating; `None` where it takes more to tell.
#[inline]
pub(crate) fn single(group: &KeyGroup, inputs: &Inputs<'_>, topology: &Topology) -> Option<ShardId> {
    let KeyExpr::Equal { column: 0, operand: Operand::One(value) } = &group.expr else { return None };
    let distribution = topology.distribution(group.distribution);
    let [key_type] = distribution.key_types[..] else { return None };
    let key = evaluate(value, key_type, inputs).ok()?;
    distribution.locate(&[key]).ok()
}

/// The shards of one group of table references.
pub(crate) fn reach(group: &KeyGroup, inputs: &Inputs<'_>, topology: &Topology) -> Reach {
    let distribution = topology.distribution(group.distribution);
    let mut reach = Reach { shards: ShardSet::new(), unsure: false, open: group.expr == KeyExpr::Any };
    let mut walk = Walk { distribution, inputs, unsure: false };
    reach.shards = walk.shards(&group.expr);
    reach.unsure = walk.unsure;
    reach
}

struct Walk<'a> {
    distribution: &'a Distribution,
    inputs: &'a Inputs<'a>,
    unsure: bool,
}

impl<'a> Walk<'a> {
    fn shards(&mut self, expr: &'a KeyExpr) -> ShardSet {
        match expr {
            KeyExpr::Any => self.distribution.shards(),
            KeyExpr::Nothing => ShardSet::new(),
            KeyExpr::Equal { .. } => self.all(std::slice::from_ref(expr)),
            KeyExpr::Between { column, low, high } => self.range(*column, low.as_ref(), high.as_ref()),
            KeyExpr::All(parts) => self.all(parts),
            KeyExpr::Either(parts) => {
                let mut union = ShardSet::new();
                for part in parts {
                    union.union_with(&self.shards(part));
                }
                union
            }
        }
    }

    /// A conjunction: the shards that every part allows, and for a key of several columns those of the combinations of values.
    fn all(&mut self, parts: &'a [KeyExpr]) -> ShardSet {
        let width = self.distribution.key_types.len();
        let mut columns: SmallVec<[Option<Vec<KeyValue<'a>>>; 1]> = (0..width).map(|_| None).collect();
        let mut shards = self.distribution.shards();
        for part in parts {
            let KeyExpr::Equal { column, operand } = part else {
                shards.intersect_with(&self.shards(part));
                continue;
            };
            let Some(place) = columns.get_mut(usize::from(*column)) else { continue };
            let Some(values) = self.values(*column, operand) else { continue };
            // Two conditions on one column: what the first allows and the second does too.
            *place = Some(match place.take() {
                None => values,
                Some(before) => before.into_iter().filter(|value| values.contains(value)).collect(),
            });
        }
        if columns.iter().flatten().any(|values| values.is_empty()) {
            return ShardSet::new();
        }
        let combinations = columns.iter().try_fold(1usize, |product, values| {
            let product = product.checked_mul(values.as_ref()?.len())?;
            (product <= MAX_COMBINATIONS || width == 1).then_some(product)
        });
        if combinations.is_some() {
            let mut located = ShardSet::new();
            let mut key: Vec<KeyValue<'a>> = Vec::with_capacity(width);
            self.combine(&columns, &mut key, &mut located);
            shards.intersect_with(&located);
        }
        shards
    }

    fn combine(&self, columns: &[Option<Vec<KeyValue<'a>>>], key: &mut Vec<KeyValue<'a>>, found: &mut ShardSet) {
        match columns.get(key.len()) {
            None => {
                // A key that no shard serves has no row anywhere.
                if let Ok(shard) = self.distribution.locate(key) {
                    found.insert(shard);
                }
            }
            Some(values) => {
                for value in values.iter().flatten() {
                    key.push(value.clone());
                    self.combine(columns, key, found);
                    key.pop();
                }
            }
        }
    }

    /// The values that a column can have; `None` where that is not certain. Values that no row can have are left out.
    fn values(&mut self, column: u8, operand: &'a Operand) -> Option<Vec<KeyValue<'a>>> {
        let key_type = *self.distribution.key_types.get(usize::from(column))?;
        let mut found = Vec::new();
        let mut take = |value: Result<KeyValue<'a>, KeyError>| match value {
            Ok(KeyValue::Null) | Err(KeyError::NoMatch | KeyError::Invalid) => true,
            Ok(value) => {
                found.push(value);
                true
            }
            Err(KeyError::Unsure) => false,
        };
        let certain = match operand {
            Operand::One(value) => take(evaluate(value, key_type, self.inputs)),
            // Clause 9: every member counts, so one that cannot be read leaves nothing certain.
            Operand::List(values) => values.iter().all(|value| take(evaluate(value, key_type, self.inputs))),
            Operand::Array(value) => match array(value, key_type, self.inputs) {
                Some(members) => members.into_iter().all(take),
                None => false,
            },
        };
        if !certain {
            self.unsure = true;
            return None;
        }
        Some(found)
    }

    fn range(&mut self, column: u8, low: Option<&'a Bound>, high: Option<&'a Bound>) -> ShardSet {
        let [key_type] = self.distribution.key_types[..] else { return self.distribution.shards() };
        if column != 0 {
            return self.distribution.shards();
        }
        let mut bound = |bound: Option<&'a Bound>| {
            let (value, inclusive) = bound?;
            match evaluate(value, key_type, self.inputs) {
                Ok(KeyValue::Null) => None,
                Ok(value) => Some((value, *inclusive)),
                Err(KeyError::Unsure) => {
                    self.unsure = true;
                    None
                }
                // Between two values of the type, or not one at all: no bound that we could use.
                Err(KeyError::NoMatch | KeyError::Invalid) => None,
            }
        };
        let range = KeyRange { low: bound(low), high: bound(high) };
        // Only columns that are ordered by bytes get here.
        self.distribution.locate_range_collated(&range, crate::types::Collation::Bytes)
    }
}

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

fn number<'a>(digits: &'a str, negative: bool, cast: Option<Oid>, key_type: KeyType) -> Result<KeyValue<'a>, KeyError> {
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
            // Postgres gives it the column's type.
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
fn array<'a>(
    value: &'a Value,
    key_type: KeyType,
    inputs: &'a Inputs<'_>,
) -> Option<Vec<Result<KeyValue<'a>, KeyError>>> {
    let of_text = |element: Option<Oid>, written: &str| -> Option<Vec<Result<KeyValue<'a>, KeyError>>> {
        let element = element.unwrap_or(key_type.oid());
        let members = array_members(written)?;
        Some(
            members
                .into_iter()
                .map(|member| match member {
                    None => Ok(KeyValue::Null),
                    Some(member) => key_type.parse_typed(element, Format::Text, member.as_bytes()).map(own),
                })
                .collect(),
        )
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
                            Some(array_element(declared).filter(|element| cast.is_none_or(|cast| cast == *element))?)
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

/// The element type of an array type (`pg_type.typelem`).
fn array_element(array: Oid) -> Option<Oid> {
    Some(match array {
        1000 => oid::BOOL,
        1001 => oid::BYTEA,
        1005 => oid::INT2,
        1007 => oid::INT4,
        1009 => oid::TEXT,
        1014 => oid::BPCHAR,
        1015 => oid::VARCHAR,
        1016 => oid::INT8,
        1041 => oid::INET,
        1115 => oid::TIMESTAMP,
        1182 => oid::DATE,
        1185 => oid::TIMESTAMPTZ,
        1231 => oid::NUMERIC,
        2951 => oid::UUID,
        _ => return None,
    })
}

/// The elements of `{a,"b c",NULL}`, of all dimensions one after the other (`array_in`).
fn array_members(text: &str) -> Option<Vec<Option<String>>> {
    let text = text.trim_matches(|c: char| c.is_ascii_whitespace());
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
            c if c.is_ascii_whitespace() => {}
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
                members.push(Some(element));
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
                let element = element.trim_end_matches(|c: char| c.is_ascii_whitespace());
                members.push((!element.eq_ignore_ascii_case("null")).then(|| element.to_owned()));
                open = false;
            }
        }
    }
    None
}

/// The elements of an array in binary format (`array_recv`).
fn binary_members(bytes: &[u8], key_type: KeyType) -> Option<Vec<Result<KeyValue<'_>, KeyError>>> {
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

/// The shard of a row that INSERT brings. Clause 6: only from values that are known to be stored as they are read here.
pub(crate) fn row_shard(
    row: &RowKey,
    typmods: &[i32],
    name: &KeyName,
    distribution: &Distribution,
    inputs: &Inputs<'_>,
) -> Result<ShardId, Fault> {
    let mut key: SmallVec<[KeyValue<'_>; 1]> = SmallVec::new();
    for (i, (value, key_type)) in row.iter().zip(&distribution.key_types).enumerate() {
        let value_of = match evaluate(value, *key_type, inputs) {
            Ok(KeyValue::Null) => return Err(no_key(name, "it is NULL")),
            Ok(value) => value,
            Err(KeyError::Invalid) => return Err(invalid(value, *key_type, name, inputs)),
            Err(KeyError::NoMatch) => return Err(no_key(name, "the value would be rounded or is out of range")),
            Err(KeyError::Unsure) => return Err(no_key(name, "the value cannot be read with certainty")),
        };
        if !fits_typmod(*key_type, typmods.get(i).copied().unwrap_or(-1), &value_of) {
            return Err(no_key(name, "the value is longer or more precise than the column, which would store another"));
        }
        key.push(value_of);
    }
    distribution.locate(&key).map_err(|_| unmapped(name, &key))
}

fn no_key(name: &KeyName, detail: &'static str) -> Fault {
    Fault::unsupported(
        format!("INSERT into sharded table \"{}\" needs a value for its sharding key", name.table),
        detail,
        format!("Give {} a value of its own type in the statement.", name.columns),
    )
}

/// No shard serves this key.
pub fn unmapped(name: &KeyName, key: &[KeyValue<'_>]) -> Fault {
    let shown: Vec<String> = key.iter().map(show).collect();
    Fault::unsupported(
        format!("no shard serves key ({}) of table \"{}\"", shown.join(", "), name.table),
        format!("the value of {} lies outside of the ranges and lists of the table's distribution", name.columns),
        "Add a range, a list value or a default shard to the distribution.",
    )
}

fn show(value: &KeyValue<'_>) -> String {
    match value {
        KeyValue::Null => "NULL".to_owned(),
        KeyValue::Int(v) => v.to_string(),
        KeyValue::Text(v) | KeyValue::Numeric(v) => v.to_string(),
        KeyValue::Bool(v) => v.to_string(),
        other => format!("{other:?}"),
    }
}

/// The error that Postgres has for a text that is not of the type.
fn invalid(value: &Value, key_type: KeyType, name: &KeyName, inputs: &Inputs<'_>) -> Fault {
    let written = match &value.source {
        Source::Slot { index, .. } => {
            inputs.slots.get(usize::from(*index)).and_then(|slot| string_value(inputs.text, slot)).map(Cow::into_owned)
        }
        Source::Text(written) => Some(written.to_string()),
        Source::Parameter { index, .. } => inputs
            .parameters
            .and_then(|parameters| parameters.get(usize::from(*index)))
            .and_then(|(_, format, bytes)| match (format, bytes) {
                (Format::Text, Some(bytes)) => Some(String::from_utf8_lossy(bytes).into_owned()),
                _ => None,
            }),
        _ => None,
    };
    match written {
        Some(written) if value.cast.is_none() => {
            let unsigned = written.trim().trim_start_matches(['-', '+']);
            let whole = !unsigned.is_empty() && unsigned.bytes().all(|b| b.is_ascii_digit());
            if whole && matches!(key_type, KeyType::Int2 | KeyType::Int4 | KeyType::Int8) {
                return Fault::new(
                    SqlState::NUMERIC_VALUE_OUT_OF_RANGE,
                    format!("value \"{written}\" is out of range for type {}", key_type.name()),
                );
            }
            Fault::new(
                SqlState::INVALID_TEXT_REPRESENTATION,
                format!("invalid input syntax for type {}: \"{written}\"", key_type.name()),
            )
        }
        _ => no_key(name, "the value is not of the key's type"),
    }
}

/// Whether a column with this type modifier stores the value as it is (`varchar(n)`, `numeric(p, s)`, `timestamp(p)` can change it).
pub fn fits_typmod(key_type: KeyType, typmod: i32, value: &KeyValue<'_>) -> bool {
    if typmod < 0 {
        return true;
    }
    match (key_type, value) {
        (KeyType::Varchar | KeyType::Bpchar, KeyValue::Text(text)) => {
            usize::try_from(typmod - 4).is_ok_and(|length| text.chars().count() <= length)
        }
        (KeyType::Numeric, KeyValue::Numeric(digits)) => {
            // The scale is the low 11 bits, signed (numeric.c: numeric_typmod_scale).
            let scale = (((typmod - 4) & 0x7ff) ^ 1024) - 1024;
            let fraction = digits.split_once('.').map_or(0, |(_, fraction)| fraction.len());
            scale >= 0 && i32::try_from(fraction).is_ok_and(|fraction| fraction <= scale)
        }
        (KeyType::Timestamp | KeyType::Timestamptz, KeyValue::Timestamp(micros)) => {
            let step = u32::try_from(typmod).ok().and_then(|p| 6u32.checked_sub(p)).map_or(1, |p| 10i64.pow(p));
            micros % step == 0
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn array_literals_are_read_as_array_in_reads_them() {
        let read = |text: &str| {
            array_members(text).map(|m| m.into_iter().map(|e| e.unwrap_or("∅".into())).collect::<Vec<_>>())
        };
        assert_eq!(read("{1, 2,3 }").unwrap(), ["1", "2", "3"]);
        assert_eq!(read("{}").unwrap(), Vec::<String>::new());
        assert_eq!(read(r#" {"a b","c\"d",null,"null"} "#).unwrap(), ["a b", "c\"d", "∅", "null"]);
        assert_eq!(read("{{1,2},{3,4}}").unwrap(), ["1", "2", "3", "4"]);
        for bad in ["", "1,2", "{1,,2}", "{1", "{1}}", "[0:1]={1,2}", "{a\"b\"}", r"{a\b}"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_value_that_the_column_would_change_does_not_fit() {
        let numeric = |digits: &'static str| KeyValue::Numeric(Cow::Borrowed(digits));
        // numeric(10,2): ((10 << 16) | 2) + 4
        let typmod = (10 << 16 | 2) + 4;
        assert!(fits_typmod(KeyType::Numeric, typmod, &numeric("1.25")));
        assert!(!fits_typmod(KeyType::Numeric, typmod, &numeric("1.255")));
        assert!(fits_typmod(KeyType::Varchar, 3 + 4, &KeyValue::Text("äöü".into())));
        assert!(!fits_typmod(KeyType::Varchar, 3 + 4, &KeyValue::Text("abcd".into())));
        assert!(!fits_typmod(KeyType::Timestamp, 0, &KeyValue::Timestamp(1_500_000)));
        assert!(fits_typmod(KeyType::Timestamp, 3, &KeyValue::Timestamp(1_500_000)));
    }
}

//! Postgres's own order and equality over text and binary values in place, for the types where we can prove it.

use std::cmp::Ordering;

use crate::ids::Oid;
use crate::types::{Collation, Format, datetime, numeric, oid};

/// How the servers print values in text format: session settings that decide whether the text can be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextStyle {
    /// `DateStyle` begins with ISO.
    pub iso_dates: bool,
    /// `extra_float_digits` is at least 1: a printed float is exactly the stored one.
    pub exact_floats: bool,
}

impl Default for TextStyle {
    /// As Postgres's own defaults have it.
    fn default() -> Self {
        Self { iso_dates: true, exact_floats: true }
    }
}

/// How the values of one column are compared; decided once per statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Comparator(Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    BoolText,
    BoolBinary,
    IntText,
    Int2,
    Int4,
    /// Also time, timestamp and timestamptz.
    Int8,
    Oid,
    DateText,
    TimeText,
    TimestampText,
    TimestamptzText,
    Float4Text,
    Float4,
    Float8Text,
    Float8,
    UuidText,
    Uuid,
    NumericText,
    Numeric,
    /// Hexadecimal digits are in the order of what they say.
    ByteaText,
    Bytes,
    /// Blanks at the end don't count.
    Bpchar,
}

/// What a value is compared by, read out of its bytes once. Values of one [`Comparator`] only are comparable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prepared {
    Int(i64),
    Wide(u128),
    /// Compared in place.
    InPlace,
}

/// A value that is not in the form that its type has on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable;

impl Comparator {
    /// The order of `ORDER BY`, `<`, min and max. `None`: not provably Postgres's.
    pub fn order(type_oid: Oid, collation: Collation, format: Format, style: TextStyle) -> Option<Self> {
        Self::new(type_oid, collation == Collation::Bytes, format, style)
    }

    /// The equality of `=`, GROUP BY and DISTINCT. `None`: not provably Postgres's.
    pub fn equality(type_oid: Oid, collation: Collation, format: Format, style: TextStyle) -> Option<Self> {
        let bytes = matches!(collation, Collation::Bytes | Collation::Deterministic);
        Self::new(type_oid, bytes, format, style)
    }

    fn new(type_oid: Oid, text_is_bytes: bool, format: Format, style: TextStyle) -> Option<Self> {
        let kind = match (type_oid, format) {
            (oid::BOOL, Format::Text) => Kind::BoolText,
            (oid::BOOL, Format::Binary) => Kind::BoolBinary,
            (oid::INT2 | oid::INT4 | oid::INT8 | oid::OID, Format::Text) => Kind::IntText,
            (oid::INT2, Format::Binary) => Kind::Int2,
            (oid::INT4 | oid::DATE, Format::Binary) => Kind::Int4,
            (oid::INT8 | oid::TIME | oid::TIMESTAMP | oid::TIMESTAMPTZ, Format::Binary) => Kind::Int8,
            (oid::OID, Format::Binary) => Kind::Oid,
            (oid::DATE, Format::Text) if style.iso_dates => Kind::DateText,
            (oid::TIMESTAMP, Format::Text) if style.iso_dates => Kind::TimestampText,
            (oid::TIMESTAMPTZ, Format::Text) if style.iso_dates => Kind::TimestamptzText,
            (oid::TIME, Format::Text) => Kind::TimeText,
            (oid::FLOAT4, Format::Text) if style.exact_floats => Kind::Float4Text,
            (oid::FLOAT8, Format::Text) if style.exact_floats => Kind::Float8Text,
            (oid::FLOAT4, Format::Binary) => Kind::Float4,
            (oid::FLOAT8, Format::Binary) => Kind::Float8,
            (oid::UUID, Format::Text) => Kind::UuidText,
            (oid::UUID, Format::Binary) => Kind::Uuid,
            (oid::NUMERIC, Format::Text) => Kind::NumericText,
            (oid::NUMERIC, Format::Binary) => Kind::Numeric,
            (oid::BYTEA, Format::Text) => Kind::ByteaText,
            (oid::BYTEA, Format::Binary) => Kind::Bytes,
            (oid::TEXT | oid::VARCHAR | oid::NAME, _) if text_is_bytes => Kind::Bytes,
            (oid::BPCHAR, _) if text_is_bytes => Kind::Bpchar,
            _ => return None,
        };
        Some(Self(kind))
    }

    /// Reads what `bytes` are compared by. Whatever is prepared can be compared without a further check.
    pub fn prepare(self, bytes: &[u8]) -> Result<Prepared, Unreadable> {
        self.read(bytes).ok_or(Unreadable)
    }

    fn read(self, bytes: &[u8]) -> Option<Prepared> {
        let value = match self.0 {
            Kind::BoolText => match bytes {
                b"t" => 1,
                b"f" => 0,
                _ => return None,
            },
            Kind::BoolBinary => i64::from(u8::from_be_bytes(bytes.try_into().ok()?) != 0),
            Kind::IntText => integer(bytes)?,
            Kind::Int2 => i16::from_be_bytes(bytes.try_into().ok()?).into(),
            Kind::Int4 => i32::from_be_bytes(bytes.try_into().ok()?).into(),
            Kind::Int8 => i64::from_be_bytes(bytes.try_into().ok()?),
            Kind::Oid => u32::from_be_bytes(bytes.try_into().ok()?).into(),
            Kind::DateText => datetime::printed_date(bytes)?,
            Kind::TimeText => datetime::printed_time(bytes)?,
            Kind::TimestampText => datetime::printed_timestamp(bytes, false)?,
            Kind::TimestamptzText => datetime::printed_timestamp(bytes, true)?,
            Kind::Float4Text => float(std::str::from_utf8(bytes).ok()?.parse::<f32>().ok()?.into()),
            Kind::Float4 => float(f32::from_be_bytes(bytes.try_into().ok()?).into()),
            Kind::Float8Text => float(std::str::from_utf8(bytes).ok()?.parse().ok()?),
            Kind::Float8 => float(f64::from_be_bytes(bytes.try_into().ok()?)),
            Kind::UuidText => return uuid(bytes).map(Prepared::Wide),
            Kind::Uuid => return Some(Prepared::Wide(u128::from_be_bytes(bytes.try_into().ok()?))),
            Kind::NumericText => return numeric::Text::parse(bytes).map(|_| Prepared::InPlace),
            Kind::Numeric => return numeric::Binary::parse(bytes).map(|_| Prepared::InPlace),
            // In the escape format (bytea_output) a backslash is never followed by an x.
            Kind::ByteaText => return bytes.starts_with(b"\\x").then_some(Prepared::InPlace),
            Kind::Bytes | Kind::Bpchar => return Some(Prepared::InPlace),
        };
        Some(Prepared::Int(value))
    }

    /// The order of two prepared values, each with the bytes that it was read from.
    pub fn compare_prepared(self, a: (Prepared, &[u8]), b: (Prepared, &[u8])) -> Ordering {
        match (a.0, b.0) {
            (Prepared::Int(a), Prepared::Int(b)) => a.cmp(&b),
            (Prepared::Wide(a), Prepared::Wide(b)) => a.cmp(&b),
            _ => self.compare_in_place(a.1, b.1),
        }
    }

    fn compare_in_place(self, a: &[u8], b: &[u8]) -> Ordering {
        match self.0 {
            Kind::Bpchar => without_blanks(a).cmp(without_blanks(b)),
            Kind::NumericText => match (numeric::Text::parse(a), numeric::Text::parse(b)) {
                (Some(a), Some(b)) => a.compare(&b),
                _ => a.cmp(b),
            },
            Kind::Numeric => match (numeric::Binary::parse(a), numeric::Binary::parse(b)) {
                (Some(a), Some(b)) => a.compare(&b),
                _ => a.cmp(b),
            },
            _ => a.cmp(b),
        }
    }

    /// The order of two values as they are on the wire.
    pub fn compare(self, a: &[u8], b: &[u8]) -> Result<Ordering, Unreadable> {
        Ok(self.compare_prepared((self.prepare(a)?, a), (self.prepare(b)?, b)))
    }

    /// Whether two values as they are on the wire are equal. The same bytes are, whatever they say.
    pub fn equal(self, a: &[u8], b: &[u8]) -> Result<bool, Unreadable> {
        Ok(a == b || self.compare(a, b)?.is_eq())
    }

    /// Appends bytes that are the same for equal values and differ for others: a key for hash tables.
    pub fn hash_key(self, bytes: &[u8], key: &mut Vec<u8>) -> Result<(), Unreadable> {
        match self.prepare(bytes)? {
            Prepared::Int(value) => key.extend_from_slice(&value.to_be_bytes()),
            Prepared::Wide(value) => key.extend_from_slice(&value.to_be_bytes()),
            Prepared::InPlace => match self.0 {
                Kind::Bpchar => put_sized(key, &[without_blanks(bytes)]),
                Kind::NumericText => {
                    let number = numeric::Text::parse(bytes).ok_or(Unreadable)?;
                    put_sized(key, &[&[number.class as u8], number.int, b".", number.frac]);
                }
                Kind::Numeric => {
                    let number = numeric::Binary::parse(bytes).ok_or(Unreadable)?;
                    // Zero has no weight of its own.
                    let weight = if number.groups.is_empty() { 0 } else { number.weight };
                    put_sized(key, &[&[number.class as u8], &weight.to_be_bytes(), number.groups]);
                }
                _ => put_sized(key, &[bytes]),
            },
        }
        Ok(())
    }
}

fn put_sized(key: &mut Vec<u8>, parts: &[&[u8]]) {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    key.extend_from_slice(&length.to_be_bytes());
    parts.iter().for_each(|part| key.extend_from_slice(part));
}

fn without_blanks(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.iter().rposition(|b| *b != b' ').map_or(0, |last| last + 1)]
}

/// An integer as Postgres prints it.
pub fn integer(bytes: &[u8]) -> Option<i64> {
    let (negative, digits) = match bytes {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if digits.is_empty() {
        return None;
    }
    let value = digits.iter().try_fold(0i64, |value, byte| match byte {
        b'0'..=b'9' => value.checked_mul(10)?.checked_sub(i64::from(byte - b'0')),
        _ => None,
    })?;
    if negative { Some(value) } else { value.checked_neg() }
}

/// An integer in the order of Postgres's floats: zeros are one value, NaN is the largest.
fn float(value: f64) -> i64 {
    if value.is_nan() {
        return i64::MAX;
    }
    // Adding zero makes -0 into 0.
    let bits = (value + 0.0).to_bits().cast_signed();
    if bits < 0 { bits ^ i64::MAX } else { bits }
}

/// A uuid as Postgres prints it.
fn uuid(bytes: &[u8]) -> Option<u128> {
    let bytes: &[u8; 36] = bytes.try_into().ok()?;
    let mut value = 0u128;
    for (i, byte) in bytes.iter().enumerate() {
        match i {
            8 | 13 | 18 | 23 if *byte == b'-' => {}
            8 | 13 | 18 | 23 => return None,
            _ => value = value << 4 | u128::from(crate::types::input::hex_digit(*byte)?),
        }
    }
    Some(value)
}

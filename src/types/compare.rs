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
    /// `bytea_output` is hex.
    pub hex_bytea: bool,
}

impl TextStyle {
    /// Any will do.
    pub const NONE: Self = Self { iso_dates: false, exact_floats: false, hex_bytea: false };

    /// What both ask for.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            iso_dates: self.iso_dates || other.iso_dates,
            exact_floats: self.exact_floats || other.exact_floats,
            hex_bytea: self.hex_bytea || other.hex_bytea,
        }
    }

    /// Whether values are printed in all ways that `needed` asks for.
    pub fn has(self, needed: Self) -> bool {
        self.or(needed) == self
    }
}

impl Default for TextStyle {
    /// As Postgres's own defaults have it.
    fn default() -> Self {
        Self { iso_dates: true, exact_floats: true, hex_bytea: true }
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
    /// The high and the low word.
    Wide(i64, u64),
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
            (oid::BYTEA, Format::Text) if style.hex_bytea => Kind::ByteaText,
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
            Kind::UuidText => return uuid(bytes).map(unsigned),
            Kind::Uuid => return Some(unsigned(u128::from_be_bytes(bytes.try_into().ok()?))),
            Kind::NumericText => return numeric::Text::parse(bytes).map(|number| small_or_in_place(number.small())),
            Kind::Numeric => return numeric::Binary::parse(bytes).map(|number| small_or_in_place(number.small())),
            // In the escape format (bytea_output) a backslash is never followed by an x.
            Kind::ByteaText => return bytes.starts_with(b"\\x").then_some(Prepared::InPlace),
            Kind::Bytes | Kind::Bpchar => return Some(Prepared::InPlace),
        };
        Some(Prepared::Int(value))
    }

    /// A number in the order of the values, by which most are told apart: of equal numbers nothing is known.
    pub fn lead(self, prepared: Prepared, bytes: &[u8]) -> u64 {
        let signed = |value: i64| value.cast_unsigned() ^ 1 << 63;
        match (self.0, prepared) {
            // Those of many digits are not in one order with the integers that the others are.
            (Kind::NumericText | Kind::Numeric, _) => 0,
            (_, Prepared::Int(value) | Prepared::Wide(value, _)) => signed(value),
            (Kind::Bpchar, Prepared::InPlace) => first_word(without_blanks(bytes)),
            (_, Prepared::InPlace) => first_word(bytes),
        }
    }

    /// The order of two prepared values, each with the bytes that it was read from.
    pub fn compare_prepared(self, a: (Prepared, &[u8]), b: (Prepared, &[u8])) -> Ordering {
        match (a.0, b.0) {
            (Prepared::Int(a), Prepared::Int(b)) => a.cmp(&b),
            (Prepared::Wide(a, low_a), Prepared::Wide(b, low_b)) => a.cmp(&b).then(low_a.cmp(&low_b)),
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
            Prepared::Wide(high, low) => {
                // Told apart from the length of a value in place: numerics come in both forms.
                key.push(u8::MAX);
                key.extend_from_slice(&high.to_be_bytes());
                key.extend_from_slice(&low.to_be_bytes());
            }
            Prepared::InPlace => match self.0 {
                Kind::Bpchar => put_sized(key, &[without_blanks(bytes)]),
                Kind::NumericText => {
                    let number = numeric::Text::parse(bytes).ok_or(Unreadable)?;
                    put_sized(key, &[&[number.class as u8], number.int, b".", number.frac]);
                }
                Kind::Numeric => {
                    let number = numeric::Binary::parse(bytes).ok_or(Unreadable)?;
                    put_sized(key, &[&[number.class as u8], &number.weight.to_be_bytes(), number.groups]);
                }
                _ => put_sized(key, &[bytes]),
            },
        }
        Ok(())
    }
}

fn signed(value: i128) -> Prepared {
    Prepared::Wide((value >> 64) as i64, value as u64)
}

/// In the order of the unsigned numbers.
fn unsigned(value: u128) -> Prepared {
    signed(value.cast_signed() ^ i128::MIN)
}

fn small_or_in_place(value: Option<i128>) -> Prepared {
    value.map_or(Prepared::InPlace, signed)
}

fn put_sized(key: &mut Vec<u8>, parts: &[&[u8]]) {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    key.extend_from_slice(&length.to_be_bytes());
    parts.iter().for_each(|part| key.extend_from_slice(part));
}

/// The first eight bytes; none are zeros.
fn first_word(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    let n = bytes.len().min(8);
    word[..n].copy_from_slice(&bytes[..n]);
    u64::from_be_bytes(word)
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    const STYLE: TextStyle = TextStyle { iso_dates: true, exact_floats: true, hex_bytea: true };

    fn order(type_oid: Oid, format: Format) -> Comparator {
        Comparator::order(type_oid, Collation::Bytes, format, STYLE).unwrap()
    }

    fn compared(type_oid: Oid, a: &str, b: &str) -> Option<Ordering> {
        order(type_oid, Format::Text).compare(a.as_bytes(), b.as_bytes()).ok()
    }

    #[test]
    fn what_is_not_provable_has_no_comparator() {
        for collation in [Collation::None, Collation::Deterministic, Collation::Nondeterministic] {
            assert_eq!(Comparator::order(oid::TEXT, collation, Format::Text, STYLE), None);
        }
        assert!(Comparator::equality(oid::TEXT, Collation::Deterministic, Format::Text, STYLE).is_some());
        assert_eq!(Comparator::equality(oid::BPCHAR, Collation::Nondeterministic, Format::Text, STYLE), None);
        for type_oid in [oid::JSON, oid::JSONB, oid::INTERVAL, oid::INET, 0, 16_385] {
            assert_eq!(Comparator::equality(type_oid, Collation::None, Format::Binary, STYLE), None);
        }
        let other_style = TextStyle { iso_dates: false, exact_floats: false, hex_bytea: false };
        for type_oid in [oid::DATE, oid::TIMESTAMP, oid::TIMESTAMPTZ, oid::FLOAT4, oid::FLOAT8, oid::BYTEA] {
            assert_eq!(Comparator::order(type_oid, Collation::None, Format::Text, other_style), None);
            assert!(Comparator::order(type_oid, Collation::None, Format::Binary, other_style).is_some());
        }
    }

    #[test]
    fn values_in_another_form_are_unreadable_rather_than_misread() {
        assert_eq!(compared(oid::DATE, "05.01.2024", "2024-01-05"), None);
        assert_eq!(compared(oid::TIMESTAMPTZ, "2024-01-05 10:00:00", "2024-01-05 10:00:00+00"), None);
        assert_eq!(compared(oid::BYTEA, "abc", "\\x61"), None);
        assert_eq!(compared(oid::INT8, "1.5", "1"), None);
        assert_eq!(compared(oid::BOOL, "true", "t"), None);
        assert_eq!(order(oid::INT4, Format::Binary).compare(&[0; 8], &[0; 4]), Err(Unreadable));
        assert_eq!(order(oid::NUMERIC, Format::Binary).compare(&[0, 1, 0, 0, 0, 0, 0, 0], &[0; 8]), Err(Unreadable));
    }

    #[test]
    fn special_values_stand_where_postgres_puts_them() {
        let sorted = |type_oid, values: &[&str]| {
            for pair in values.windows(2) {
                assert_eq!(compared(type_oid, pair[0], pair[1]), Some(Ordering::Less), "{pair:?}");
                assert_eq!(compared(type_oid, pair[1], pair[0]), Some(Ordering::Greater), "{pair:?}");
            }
        };
        sorted(oid::FLOAT8, &["-Infinity", "-1.5", "-1e-320", "-0", "1e-320", "1.5", "Infinity", "NaN"]);
        sorted(
            oid::NUMERIC,
            &["-Infinity", "-10", "-9.99", "-0.0000000000001", "0", "0.0000000000001", "12345678901234567"],
        );
        sorted(oid::NUMERIC, &["12345678901234567", "Infinity", "NaN"]);
        sorted(oid::DATE, &["-infinity", "0044-03-15 BC", "0001-01-01", "9999-12-31", "10000-01-01", "infinity"]);
        sorted(oid::TIMESTAMPTZ, &["-infinity", "2024-01-05 10:00:00+02", "2024-01-05 09:00:00+00", "infinity"]);
        assert_eq!(compared(oid::FLOAT8, "-0", "0"), Some(Ordering::Equal));
        assert_eq!(compared(oid::BPCHAR, "a  ", "a"), Some(Ordering::Equal));
    }

    proptest! {
        /// Numbers of few digits are compared as integers, the others in place: all in one order, with one key per value.
        #[test]
        fn numerics_of_all_sizes_have_one_order(digits in prop::collection::vec(("-?[0-9]{1,18}", "[0-9]{0,14}"), 2..6)) {
            let comparator = order(oid::NUMERIC, Format::Text);
            let key = |text: &str| {
                let mut key = Vec::new();
                comparator.hash_key(text.as_bytes(), &mut key).unwrap();
                key
            };
            let texts: Vec<String> = digits.iter().map(|(int, frac)| if frac.is_empty() { int.clone() } else { format!("{int}.{frac}") }).collect();
            // As integers in units of 10^-14.
            let values: Vec<i128> = digits.iter().map(|(int, frac)| format!("{int}{frac:0<14}").parse().unwrap()).collect();
            for (a, value_a) in texts.iter().zip(&values) {
                for (b, value_b) in texts.iter().zip(&values) {
                    prop_assert_eq!(comparator.compare(a.as_bytes(), b.as_bytes()), Ok(value_a.cmp(value_b)));
                    prop_assert_eq!(key(a) == key(b), value_a == value_b);
                }
            }
        }

        #[test]
        fn what_leads_never_contradicts_the_order(
            texts in prop::collection::vec("[ab\\x00 é]{0,12}", 2..6),
            integers in prop::collection::vec(prop_oneof![any::<i64>(), -9i64..9], 2..6),
            floats in prop::collection::vec(prop_oneof![any::<f64>(), Just(-0.0), Just(0.0), Just(f64::NAN), Just(f64::INFINITY)], 2..6),
            numerics in prop::collection::vec("-?[0-9]{1,18}(\\.[0-9]{1,14})?|NaN|-?Infinity", 2..6),
            uuids in prop::collection::vec("[01f]{8}-[0f]{4}-[0f]{4}-[0f]{4}-[0f]{12}", 2..6),
            dates in prop::collection::vec("[0-9]{3}[1-9]-0[1-9]-0[1-9]( BC)?|-?infinity", 2..6),
        ) {
            let integers: Vec<String> = integers.iter().map(i64::to_string).collect();
            let floats: Vec<String> = floats.iter().map(f64::to_string).collect();
            let byteas: Vec<String> = texts.iter().map(|text| text.bytes().fold("\\x".to_owned(), |hex, b| format!("{hex}{b:02x}"))).collect();
            let of_types = [
                (oid::TEXT, &texts), (oid::BPCHAR, &texts), (oid::BYTEA, &byteas), (oid::INT8, &integers), (oid::FLOAT8, &floats),
                (oid::NUMERIC, &numerics), (oid::UUID, &uuids), (oid::DATE, &dates),
            ];
            for (type_oid, values) in of_types {
                let comparator = order(type_oid, Format::Text);
                let lead = |text: &String| comparator.lead(comparator.prepare(text.as_bytes()).unwrap(), text.as_bytes());
                for (a, b) in values.iter().flat_map(|a| values.iter().map(move |b| (a, b))) {
                    let whole = comparator.compare(a.as_bytes(), b.as_bytes()).unwrap();
                    prop_assert_eq!(lead(a).cmp(&lead(b)).then(whole), whole, "{} {:?} {:?}", type_oid, a, b);
                }
            }
        }

        #[test]
        fn binary_floats_lead_as_they_are_ordered(a: f64, b: f64, special in prop::sample::select(vec![f64::NAN, -f64::NAN, -0.0, 0.0])) {
            let comparator = order(oid::FLOAT8, Format::Binary);
            let lead = |value: f64| comparator.lead(comparator.prepare(&value.to_be_bytes()).unwrap(), &[]);
            for (a, b) in [(a, b), (a, special), (special, b), (0.0, special)] {
                prop_assert_eq!(lead(a).cmp(&lead(b)), comparator.compare(&a.to_be_bytes(), &b.to_be_bytes()).unwrap());
            }
        }

        #[test]
        fn floats_are_in_the_order_of_numbers(a: f64, b: f64) {
            let comparator = order(oid::FLOAT8, Format::Binary);
            prop_assert_eq!(comparator.compare(&a.to_be_bytes(), &b.to_be_bytes()).ok(), a.partial_cmp(&b));
            prop_assert_eq!(compared(oid::FLOAT8, &a.to_string(), &b.to_string()), a.partial_cmp(&b));
        }
    }
}

//! The order of key values: Postgres's own for every key type, text by bytes (`COLLATE "C"`).

use std::cmp::Ordering;

use crate::types::KeyType;
use crate::types::canonical::KeyValue;

/// Compares two values of one key type. NULL comes last; values of different kinds have a fixed order that means nothing.
pub fn compare(a: &KeyValue<'_>, b: &KeyValue<'_>) -> Ordering {
    use KeyValue::*;
    match (a, b) {
        (Int(a), Int(b)) | (Timestamp(a), Timestamp(b)) => a.cmp(b),
        (Text(a), Text(b)) => a.as_bytes().cmp(b.as_bytes()),
        (Uuid(a), Uuid(b)) => a.cmp(b),
        (Date(a), Date(b)) => a.cmp(b),
        (Numeric(a), Numeric(b)) => compare_numeric(a, b),
        (Bytea(a), Bytea(b)) => a.as_ref().cmp(b.as_ref()),
        (Bool(a), Bool(b)) => a.cmp(b),
        (Inet { family: fa, prefix: pa, address: aa }, Inet { family: fb, prefix: pb, address: ab }) => {
            compare_inet((*fa, *pa, aa), (*fb, *pb, ab))
        }
        _ => kind(a).cmp(&kind(b)),
    }
}

/// Compares keys of several columns, the first column first.
pub fn compare_keys(a: &[KeyValue<'_>], b: &[KeyValue<'_>]) -> Ordering {
    for (a, b) in a.iter().zip(b) {
        match compare(a, b) {
            Ordering::Equal => {}
            unequal => return unequal,
        }
    }
    a.len().cmp(&b.len())
}

/// Whether `value` is what a column of this type holds (NULL is not).
pub fn fits(key_type: KeyType, value: &KeyValue<'_>) -> bool {
    match key_type {
        KeyType::Int2 | KeyType::Int4 | KeyType::Int8 => matches!(value, KeyValue::Int(_)),
        KeyType::Text | KeyType::Varchar | KeyType::Bpchar => matches!(value, KeyValue::Text(_)),
        KeyType::Uuid => matches!(value, KeyValue::Uuid(_)),
        KeyType::Date => matches!(value, KeyValue::Date(_)),
        KeyType::Timestamp | KeyType::Timestamptz => matches!(value, KeyValue::Timestamp(_)),
        KeyType::Numeric => matches!(value, KeyValue::Numeric(_)),
        KeyType::Bytea => matches!(value, KeyValue::Bytea(_)),
        KeyType::Bool => matches!(value, KeyValue::Bool(_)),
        KeyType::Inet => matches!(value, KeyValue::Inet { .. }),
    }
}

/// Whether the type's order depends on a collation.
pub fn is_collated(key_type: KeyType) -> bool {
    matches!(key_type, KeyType::Text | KeyType::Varchar | KeyType::Bpchar)
}

fn kind(value: &KeyValue<'_>) -> u8 {
    match value {
        KeyValue::Int(_) => 0,
        KeyValue::Text(_) => 1,
        KeyValue::Uuid(_) => 2,
        KeyValue::Date(_) => 3,
        KeyValue::Timestamp(_) => 4,
        KeyValue::Numeric(_) => 5,
        KeyValue::Bytea(_) => 6,
        KeyValue::Bool(_) => 7,
        KeyValue::Inet { .. } => 8,
        KeyValue::Null => 9,
    }
}

/// Postgres's `numeric_cmp` over canonical text: -Infinity < finite < Infinity < NaN.
fn compare_numeric(a: &str, b: &str) -> Ordering {
    numeric_class(a).cmp(&numeric_class(b)).then_with(|| match (a.strip_prefix('-'), b.strip_prefix('-')) {
        _ if numeric_class(a) != 1 => Ordering::Equal,
        (Some(a), Some(b)) => compare_magnitude(b, a),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => compare_magnitude(a, b),
    })
}

fn numeric_class(text: &str) -> u8 {
    match text {
        "-Infinity" => 0,
        "Infinity" => 2,
        "NaN" => 3,
        _ => 1,
    }
}

fn compare_magnitude(a: &str, b: &str) -> Ordering {
    let (whole_a, fraction_a) = a.split_once('.').unwrap_or((a, ""));
    let (whole_b, fraction_b) = b.split_once('.').unwrap_or((b, ""));
    let (whole_a, whole_b) = (whole_a.trim_start_matches('0'), whole_b.trim_start_matches('0'));
    // Canonical fractions have no trailing zeros, so a shorter one is a prefix of, and smaller than, a longer one.
    (whole_a.len().cmp(&whole_b.len())).then_with(|| whole_a.cmp(whole_b)).then_with(|| fraction_a.cmp(fraction_b))
}

/// Postgres's `network_cmp`: family, then the common network bits, then the prefix length, then the whole address.
fn compare_inet(a: (u8, u8, &[u8; 16]), b: (u8, u8, &[u8; 16])) -> Ordering {
    (a.0.cmp(&b.0))
        .then_with(|| compare_bits(a.2, b.2, a.1.min(b.1)))
        .then_with(|| a.1.cmp(&b.1))
        .then_with(|| a.2.cmp(b.2))
}

fn compare_bits(a: &[u8; 16], b: &[u8; 16], bits: u8) -> Ordering {
    let leading = |address: &[u8; 16]| match bits {
        0 => 0,
        bits => u128::from_be_bytes(*address) >> (128 - u32::from(bits.min(128))),
    };
    leading(a).cmp(&leading(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numeric(text: &str) -> KeyValue<'_> {
        KeyValue::Numeric(text.into())
    }

    #[test]
    fn numerics_order_by_value_not_by_spelling() {
        let ascending = [
            "-Infinity",
            "-10",
            "-9.5",
            "-9",
            "-0.25",
            "0",
            "0.05",
            "0.5",
            "9",
            "10",
            "10.01",
            "100",
            "Infinity",
            "NaN",
        ];
        for (i, a) in ascending.iter().enumerate() {
            for (j, b) in ascending.iter().enumerate() {
                assert_eq!(compare(&numeric(a), &numeric(b)), i.cmp(&j), "{a} against {b}");
            }
        }
    }

    #[test]
    fn inet_orders_by_network_then_prefix_then_host() {
        let inet = |a: [u8; 4], prefix| {
            let mut address = [0; 16];
            address[..4].copy_from_slice(&a);
            KeyValue::Inet { family: 4, prefix, address }
        };
        let ascending = [
            inet([0, 0, 0, 0], 0),
            inet([10, 0, 0, 0], 8),
            inet([10, 0, 0, 1], 8),
            inet([10, 0, 0, 0], 32),
            inet([11, 0, 0, 0], 8),
        ];
        for pair in ascending.windows(2) {
            assert_eq!(compare(&pair[0], &pair[1]), Ordering::Less, "{pair:?}");
        }
    }
}

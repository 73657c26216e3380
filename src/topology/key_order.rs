//! The order of key values: Postgres's own for every key type, text by bytes (`COLLATE "C"`).

use std::cmp::Ordering;

use crate::types::canonical::KeyValue;
use crate::types::{Collation, KeyType};

/// Compares two values of one key type. NULL comes last; values of different kinds have a fixed order that means nothing.
pub fn compare(a: &KeyValue<'_>, b: &KeyValue<'_>) -> Ordering {
    a.compare(b, Collation::Bytes).unwrap_or_else(|| kind(a).cmp(&kind(b)))
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

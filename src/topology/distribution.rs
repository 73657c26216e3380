//! A named rule key -> shard: hash, range, list, Postgres's hash partitions, composite, whole schemas, with pins looked up first.

use std::cmp::Ordering;
use std::sync::Arc;

use crate::ids::{ShardId, ShardSet};
use crate::topology::key_order::{compare, fits, is_collated};
use crate::topology::schemas::Schemas;
use crate::topology::shard_map::{Method, ShardMap};
use crate::types::canonical::KeyValue;
use crate::types::{Collation, KeyType};

/// A rule shared by co-located tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Distribution {
    pub name: Arc<str>,
    pub key_types: Vec<KeyType>,
    pub map: ShardMap,
    /// Method `schema`: these schemas lie whole on the shard of their names. No table names such a distribution.
    pub schemas: Option<Schemas>,
}

/// No shard serves this key (a gap between ranges, a value that is in no list, NULL).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unmapped;

/// A condition `low .. high` on a one-column key; each bound with whether it is inclusive.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct KeyRange<'a> {
    pub low: Option<(KeyValue<'a>, bool)>,
    pub high: Option<(KeyValue<'a>, bool)>,
}

impl KeyRange<'_> {
    /// Whether `key` lies between the bounds.
    pub fn contains(&self, key: &KeyValue<'_>) -> bool {
        self.low.as_ref().is_none_or(|(low, inclusive)| match compare(low, key) {
            Ordering::Less => true,
            Ordering::Equal => *inclusive,
            Ordering::Greater => false,
        }) && self.high.as_ref().is_none_or(|(high, inclusive)| match compare(key, high) {
            Ordering::Less => true,
            Ordering::Equal => *inclusive,
            Ordering::Greater => false,
        })
    }

    /// Whether the bounds leave no value at all.
    pub fn is_empty(&self) -> bool {
        match (&self.low, &self.high) {
            (Some((low, low_inclusive)), Some((high, high_inclusive))) => match compare(low, high) {
                Ordering::Less => false,
                Ordering::Equal => !(*low_inclusive && *high_inclusive),
                Ordering::Greater => true,
            },
            _ => false,
        }
    }

    /// The only value, where both bounds are the same inclusive one.
    pub fn point(&self) -> Option<&KeyValue<'_>> {
        match (&self.low, &self.high) {
            (Some((low, true)), Some((high, true))) if low == high => Some(low),
            _ => None,
        }
    }
}

impl Distribution {
    /// The shard that holds rows with this key. O(log n), no allocation.
    pub fn locate(&self, key: &[KeyValue<'_>]) -> Result<ShardId, Unmapped> {
        if !self.takes(key) {
            return Err(Unmapped);
        }
        self.map.locate(key).ok_or(Unmapped)
    }

    /// The shards that can hold rows with a key in `range`; all shards of the distribution when the method has no order, and for
    /// text, whose order is the column's collation (see [`Self::locate_range_collated`]).
    pub fn locate_range(&self, range: &KeyRange<'_>) -> ShardSet {
        self.locate_range_collated(range, Collation::Deterministic)
    }

    /// Like [`Self::locate_range`], for a condition that Postgres evaluates under `collation`. Range maps order text by bytes, so
    /// only `C` and `POSIX` narrow.
    pub fn locate_range_collated(&self, range: &KeyRange<'_>, collation: Collation) -> ShardSet {
        let [key_type] = self.key_types[..] else { return self.shards() };
        let comparable =
            |bound: &Option<(KeyValue<'_>, bool)>| bound.as_ref().is_none_or(|(value, _)| fits(key_type, value));
        let ordered = !is_collated(key_type) || collation == Collation::Bytes;
        if !ordered || !comparable(&range.low) || !comparable(&range.high) {
            return self.shards();
        }
        if range.is_empty() { ShardSet::new() } else { self.map.locate_range(range) }
    }

    /// The shards that can hold rows whose first key column has this value.
    pub fn locate_first(&self, first: &KeyValue<'_>) -> ShardSet {
        match self.key_types.first() {
            Some(key_type) if fits(*key_type, first) => self.map.locate_first(first),
            _ => self.shards(),
        }
    }

    /// Every shard that can hold a row of this distribution.
    pub fn shards(&self) -> ShardSet {
        self.map.shards().clone()
    }

    /// The method's name as in the config.
    pub fn method_name(&self) -> &'static str {
        if self.schemas.is_some() {
            return "schema";
        }
        match self.map.method() {
            Method::Hash(_) => "hash",
            Method::Range(_) => "range",
            Method::List { .. } => "list",
            Method::Remainders(_) => "postgres_hash",
            Method::Composite(_) => "composite",
        }
    }

    /// Whether the key has a value of the right kind for every column.
    fn takes(&self, key: &[KeyValue<'_>]) -> bool {
        key.len() == self.key_types.len()
            && self.key_types.iter().zip(key).all(|(key_type, value)| fits(*key_type, value))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::topology::shard_map::{Interval, KeyTable, RangeMap};

    fn names() -> Distribution {
        let text = |value: &'static str| Some(KeyValue::Text(value.into()));
        let intervals = vec![
            Interval { from: None, to: text("m"), shard: ShardId(0) },
            Interval { from: text("m"), to: None, shard: ShardId(1) },
        ];
        Distribution {
            name: "names".into(),
            key_types: vec![KeyType::Text],
            map: ShardMap::new(Method::Range(RangeMap::new(intervals)), KeyTable::default()),
            schemas: None,
        }
    }

    #[test]
    fn text_range_narrows_only_under_byte_order() {
        let names = names();
        let below_b = KeyRange { low: None, high: Some((KeyValue::Text("b".into()), false)) };
        assert_eq!(names.locate_range_collated(&below_b, Collation::Bytes), ShardSet::one(ShardId(0)));
        assert_eq!(names.locate_range(&below_b), ShardSet::first(2));
    }

    #[test]
    fn null_and_foreign_values_are_unmapped() {
        let names = names();
        assert_eq!(names.locate(&[KeyValue::Text("z".into())]), Ok(ShardId(1)));
        assert_eq!(names.locate(&[KeyValue::Null]), Err(Unmapped));
        assert_eq!(names.locate(&[KeyValue::Int(1)]), Err(Unmapped));
        assert_eq!(names.locate(&[]), Err(Unmapped));
    }
}

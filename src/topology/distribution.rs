//! A named rule key -> shard: hash, range, list, with pins looked up first.

use std::sync::Arc;

use crate::ids::{ShardId, ShardSet};
use crate::topology::shard_map::ShardMap;
use crate::types::KeyType;
use crate::types::canonical::KeyValue;

/// A rule shared by co-located tables.
#[derive(Clone, Debug)]
pub struct Distribution {
    pub name: Arc<str>,
    pub key_types: Vec<KeyType>,
    pub map: ShardMap,
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

impl Distribution {
    /// The shard that holds rows with this key. O(log n), no allocation.
    pub fn locate(&self, _key: &[KeyValue<'_>]) -> Result<ShardId, Unmapped> {
        Err(Unmapped)
    }

    /// The shards that can hold rows with a key in `range`; all shards of the distribution when the method has no order.
    pub fn locate_range(&self, _range: &KeyRange<'_>) -> ShardSet {
        self.shards()
    }

    /// Every shard that can hold a row of this distribution.
    pub fn shards(&self) -> ShardSet {
        ShardSet::new()
    }
}

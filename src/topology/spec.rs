//! The topology as it is written down, by names and texts. `build` (in `validate`) makes a [`crate::topology::Topology`] of it.

use crate::ids::{Epoch, QualifiedName};
use crate::topology::Shard;
use crate::topology::ring::DEFAULT_VIRTUAL_NODES;
use crate::types::KeyType;

/// One logical database as the config or the store describes it.
#[derive(Clone, Debug, Default)]
pub struct TopologySpec {
    pub epoch: Epoch,
    pub shards: Vec<Shard>,
    /// A shard's name; the first shard when not given.
    pub home_shard: Option<String>,
    pub distributions: Vec<DistributionSpec>,
    pub tables: Vec<TableSpec>,
}

#[derive(Clone, Debug)]
pub struct DistributionSpec {
    pub name: String,
    pub key_types: Vec<KeyType>,
    pub method: MethodSpec,
    pub pins: Vec<ValueSpec>,
}

#[derive(Clone, Debug)]
pub enum MethodSpec {
    Ring(RingSpec),
    /// Tokens in hexadecimal or decimal, `from` inclusive, `to` exclusive; every token must be held.
    Tokens(Vec<RangeSpec>),
    Range(Vec<RangeSpec>),
    List {
        values: Vec<ValueSpec>,
        default: Option<String>,
    },
    /// Postgres's hash partitions, as `FOR VALUES WITH (MODULUS ..., REMAINDER ...)` writes them; together they hold every key.
    Remainders(Vec<RemainderSpec>),
    /// The first column picks a group, the hash of the others a shard on the group's ring.
    Composite {
        groups: Vec<GroupSpec>,
        virtual_nodes: u32,
    },
    /// Whole schemas, by their names. `key_types` is text.
    Schemas {
        /// Patterns of the names, with `*` and `?`.
        schemas: Vec<String>,
        except: Vec<String>,
        /// The ring of all that are not pinned; `default` instead: one shard for them.
        ring: RingSpec,
        default: Option<String>,
    },
}

/// Either values of the first column, or a range of them; without both, every other value.
#[derive(Clone, Debug, Default)]
pub struct GroupSpec {
    pub values: Vec<String>,
    pub from: Option<String>,
    pub to: Option<String>,
    pub shards: Vec<String>,
}

#[derive(Clone, Debug)]
pub struct RemainderSpec {
    pub modulus: u32,
    pub remainder: u32,
    pub shard: String,
}

#[derive(Clone, Debug)]
pub struct RingSpec {
    pub virtual_nodes: u32,
    /// The shards on the ring with their weights; empty means all, each of weight 1.
    pub nodes: Vec<(String, u32)>,
}

impl Default for RingSpec {
    fn default() -> Self {
        Self { virtual_nodes: DEFAULT_VIRTUAL_NODES, nodes: Vec::new() }
    }
}

/// `from` (inclusive) to `to` (exclusive); `None` is no limit.
#[derive(Clone, Debug)]
pub struct RangeSpec {
    pub from: Option<String>,
    pub to: Option<String>,
    pub shard: String,
}

/// A whole key: a text for each of the distribution's columns.
#[derive(Clone, Debug)]
pub struct ValueSpec {
    pub key: Vec<String>,
    pub shard: String,
}

#[derive(Clone, Debug)]
pub struct TableSpec {
    pub name: QualifiedName,
    pub rule: RuleSpec,
}

#[derive(Clone, Debug)]
pub enum RuleSpec {
    Sharded { distribution: String, columns: Vec<String> },
    Reference,
}

/// Which line of the spec an error is about; positions are those in the spec's lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Site {
    Topology,
    HomeShard,
    Shard(usize),
    Distribution(usize),
    /// A member of the distribution's ranges, values, tokens or ring shards.
    Entry {
        distribution: usize,
        entry: usize,
    },
    ListDefault(usize),
    Pin {
        distribution: usize,
        pin: usize,
    },
    Table(usize),
}

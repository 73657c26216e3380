//! What can be wrong with a topology, each with its remedy, and what is merely suspicious.

use thiserror::Error;

use crate::ids::QualifiedName;
use crate::topology::spec::Site;
use crate::types::KeyType;

/// A finding with the place in the spec that has to change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct At<T> {
    pub site: Site,
    pub finding: T,
}

/// Why a topology is refused. The text names what is wrong and the way out.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TopologyError {
    #[error("no shards; add at least one [[databases.NAME.shards]] with a name and a host")]
    NoShards,
    #[error("{count} shards; a database has at most {MAX_SHARDS}")]
    TooManyShards { count: usize },
    #[error("a shard has an empty name; give each shard a name of its own, such as `shard1`")]
    EmptyShardName,
    #[error("two shards are named `{name}`; the ring places rows by shard name, so give each its own")]
    DuplicateShard { name: String },
    #[error("shard `{shard}` has no servers; give it a `host`, or a list `servers`")]
    NoServers { shard: String },
    #[error(
        "shard `{shard}` and shard `{other}` are both the database `{dbname}` at {host}:{port}; every row there would be counted twice, so give each shard a database of its own"
    )]
    SharedServer { shard: String, other: String, host: String, port: u16, dbname: String },
    #[error("unknown shard `{name}`; {}", list_known(.known))]
    UnknownShard { name: String, known: Vec<String> },
    #[error("shard `{name}` is named twice on the ring of distribution `{distribution}`; keep one")]
    DuplicateNode { distribution: String, name: String },
    #[error(
        "shard `{name}` has weight {weight} on the ring of distribution `{distribution}`; weights go from 1 to {MAX_WEIGHT}, and a shard that shall hold nothing is left out of `shards`"
    )]
    BadWeight { distribution: String, name: String, weight: u32 },
    #[error("distribution `{distribution}` has virtual_nodes = {virtual_nodes}; use 1 to {max}, or leave it out", max = crate::topology::ring::MAX_VIRTUAL_NODES)]
    BadVirtualNodes { distribution: String, virtual_nodes: u32 },
    #[error("{count} distributions; a database has at most {MAX_DISTRIBUTIONS}")]
    TooManyDistributions { count: usize },
    #[error("a distribution has an empty name; tables refer to it by name, so give it one")]
    EmptyDistributionName,
    #[error("two distributions are named `{name}`; rename one")]
    DuplicateDistribution { name: String },
    #[error(
        "distribution `{distribution}` has no key_types; say the type of each sharding-key column, such as key_types = [\"bigint\"]"
    )]
    NoKeyTypes { distribution: String },
    #[error(
        "distribution `{distribution}` is by range over {count} columns; a range has one key column, use method = \"hash\" for several"
    )]
    RangeOverSeveralColumns { distribution: String, count: usize },
    #[error("distribution `{distribution}` is by range of {}, which has no useful order; use method = \"list\" or \"hash\"", .key_type.name())]
    RangeOverBool { distribution: String, key_type: KeyType },
    #[error("distribution `{distribution}` has no ranges; add ranges = [{{ from = ..., to = ..., shard = \"...\" }}]")]
    NoRanges { distribution: String },
    #[error(
        "distribution `{distribution}` has neither values nor a default; add values = [{{ value = ..., shard = \"...\" }}] or default_shard"
    )]
    NoValues { distribution: String },
    #[error("`{value}` is not a {} that Postgres reads the same way under every setting; {}", .key_type.name(), spelling(*.key_type))]
    BadValue { value: String, key_type: KeyType },
    #[error(
        "a key of distribution `{distribution}` has {expected} columns, `{value}` has {found}; write one value for each of key_types"
    )]
    KeyArity { distribution: String, value: String, expected: usize, found: usize },
    #[error("the range from `{from}` to `{to}` holds nothing; `to` is exclusive and must be greater than `from`")]
    EmptyRange { from: String, to: String },
    #[error(
        "the ranges {first} and {second} of distribution `{distribution}` overlap; `to` is exclusive, so let one end where the next begins"
    )]
    OverlappingRanges { distribution: String, first: String, second: String },
    #[error("`{value}` is not a token; tokens are 64-bit numbers, such as 0x8000000000000000")]
    BadToken { value: String },
    #[error(
        "no shard of distribution `{distribution}` holds the tokens {first:#018x} to {last:#018x}; give them to a shard, every hash must have one"
    )]
    TokenGap { distribution: String, first: u64, last: u64 },
    #[error(
        "distribution `{distribution}` is composite over one column; the first of key_types picks the group and the others the shard in it, so name two or more"
    )]
    CompositeOfOneColumn { distribution: String },
    #[error(
        "distribution `{distribution}` has no groups; add groups = [{{ value = ..., shards = [\"...\"] }}] or groups with from and to"
    )]
    NoGroups { distribution: String },
    #[error("a group of distribution `{distribution}` has no shards; name at least one")]
    EmptyGroup { distribution: String },
    #[error(
        "distribution `{distribution}` has groups by value and groups by range; use one kind, a group without either holds every other value"
    )]
    MixedGroups { distribution: String },
    #[error("distribution `{distribution}` has two groups for every other value; keep one")]
    TwoDefaultGroups { distribution: String },
    #[error(
        "distribution `{distribution}` is by postgres_hash of {}, whose hash in Postgres is not known here; use method = \"hash\"", .key_type.name()
    )]
    NoPostgresHash { distribution: String, key_type: KeyType },
    #[error(
        "distribution `{distribution}` has no partitions; add partitions = [{{ modulus = 4, remainder = 0, shard = \"...\" }}, ...], one for each partition"
    )]
    NoPartitions { distribution: String },
    #[error(
        "modulus {modulus} and remainder {remainder} are no partition; a modulus goes from 1 to {MAX_MODULUS} and the remainder is less"
    )]
    BadRemainder { modulus: u32, remainder: u32 },
    #[error(
        "modulus {modulus} does not divide modulus {largest} of distribution `{distribution}`; as in Postgres, each modulus must be a factor of the next larger one"
    )]
    ModulusIsNoFactor { distribution: String, modulus: u32, largest: u32 },
    #[error(
        "two partitions of distribution `{distribution}` hold the keys of remainder {remainder} by {modulus}; keep one"
    )]
    SharedRemainder { distribution: String, modulus: u32, remainder: u32 },
    #[error(
        "no partition of distribution `{distribution}` holds the keys of remainder {remainder} by {modulus}; give them to a shard, every key must have one"
    )]
    RemainderGap { distribution: String, modulus: u32, remainder: u32 },
    #[error(
        "distribution `{distribution}` by schema names no schemas; add schemas = [\"tenant_*\"], `*` stands for any characters"
    )]
    NoSchemas { distribution: String },
    #[error(
        "`{pattern}` is no pattern of schemas that can be placed; write the name as the catalog has it, with `*` for any characters, and not public, pgloom or a schema of Postgres's own"
    )]
    BadPattern { pattern: String },
    #[error(
        "the pin `{schema}` of distribution `{distribution}` is none of its schemas; correct the name, or add it to `schemas`"
    )]
    PinOfOtherSchema { distribution: String, schema: String },
    #[error(
        "table {table} lies in a schema that distribution `{distribution}` places whole; remove its entry, or add the schema to `except`"
    )]
    TableOfPlacedSchema { table: QualifiedName, distribution: String },
    #[error(
        "table {table} names distribution `{distribution}`, which places whole schemas; its tables need no entry, others need another distribution"
    )]
    TableBySchema { table: QualifiedName, distribution: String },
    #[error("the value `{value}` of distribution `{distribution}` is listed twice; keep one")]
    DuplicateValue { distribution: String, value: String },
    #[error("the value `{value}` of distribution `{distribution}` is pinned twice; keep one")]
    DuplicatePin { distribution: String, value: String },
    #[error("the value `{value}` of distribution `{distribution}` is both listed and pinned; keep one of the two")]
    PinnedAndListed { distribution: String, value: String },
    #[error("table {table} is named twice; keep one, a table has one rule")]
    DuplicateTable { table: QualifiedName },
    #[error("table {table} names the unknown distribution `{name}`; {}", list_known(.known))]
    UnknownDistribution { table: QualifiedName, name: String, known: Vec<String> },
    #[error(
        "table {table} has {found} key columns and distribution `{distribution}` has {expected} key types; name one column for each, in their order"
    )]
    ColumnArity { table: QualifiedName, distribution: String, expected: usize, found: usize },
    #[error("table {table} names the key column `{column}` twice; name each once")]
    DuplicateColumn { table: QualifiedName, column: String },
}

/// What works but is rarely meant.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TopologyWarning {
    #[error("distribution `{distribution}` has no range {gap}; rows with such a key are refused until one is added")]
    Gap { distribution: String, gap: String },
    #[error("no table uses distribution `{distribution}`")]
    UnusedDistribution { distribution: String },
}

pub const MAX_SHARDS: usize = 65_535;
pub const MAX_DISTRIBUTIONS: usize = 65_535;
/// Largest modulus of hash partitions; the map has an entry for each remainder.
pub const MAX_MODULUS: u32 = 65_536;
/// A ring's largest ratio between two shards.
pub const MAX_WEIGHT: u32 = 100;

fn list_known(names: &[String]) -> String {
    match names {
        [] => "there is none yet".to_owned(),
        _ if names.len() > 20 => format!("there are {}, the first is `{}`", names.len(), names[0]),
        _ => format!("there are {}", names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")),
    }
}

fn spelling(key_type: KeyType) -> &'static str {
    match key_type {
        KeyType::Int2 | KeyType::Int4 | KeyType::Int8 => "write a whole number in its range",
        KeyType::Text | KeyType::Varchar | KeyType::Bpchar => "write a text without zero bytes",
        KeyType::Uuid => "write it as 00112233-4455-6677-8899-aabbccddeeff",
        KeyType::Date => "write it as 2026-09-30",
        KeyType::Timestamp => "write it as 2026-09-30 12:00:00",
        KeyType::Timestamptz => "write it with its offset, as 2026-09-30 12:00:00+00",
        KeyType::Numeric => "write it as 12.5",
        KeyType::Bytea => "write it in hexadecimal, as \\x00ff",
        KeyType::Bool => "write true or false",
        KeyType::Inet => "write it as 10.0.0.0/8",
    }
}

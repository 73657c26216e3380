//! `Route`: which shards, and why.

/// Why a statement goes where it goes: for EXPLAIN (ROUTE), logs and metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// The sharding key has one value.
    Key {
        table: Box<str>,
        column: Box<str>,
    },
    /// Several key values or a key range, on these shards.
    Keys {
        table: Box<str>,
        column: Box<str>,
    },
    /// Nothing restricts the key.
    NoKey {
        table: Box<str>,
        column: Box<str>,
    },
    /// Conditions that contradict each other: no row can match.
    Contradiction,
    Unsharded,
    Reference,
    /// No table at all.
    NoTable,
    Ddl,
    /// A hint or `pgloom.shard` said so.
    Hint,
    Refused,
}

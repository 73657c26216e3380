//! Value of a column type -> canonical bytes -> token; the only door to murmur3.

use std::borrow::Cow;

use crate::ids::{Oid, Token};
use crate::types::{Format, KeyType};

/// A sharding-key value, freed of its spelling: equal in Postgres if and only if equal here.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum KeyValue<'a> {
    Null,
    Int(i64),
    /// text, varchar; bpchar without its trailing blanks.
    Text(Cow<'a, str>),
    Uuid([u8; 16]),
    /// Days since 2000-01-01.
    Date(i32),
    /// Microseconds since 2000-01-01, without (timestamp) or in UTC (timestamptz).
    Timestamp(i64),
    /// Canonical decimal text: no trailing fraction zeros, no leading zeros, no `+`, no `-0`; `NaN`, `Infinity`, `-Infinity`.
    Numeric(Cow<'a, str>),
    Bytea(Cow<'a, [u8]>),
    Bool(bool),
    /// Family (4 or 6), prefix length, address bytes (4 or 16 used).
    Inet {
        family: u8,
        prefix: u8,
        address: [u8; 16],
    },
}

/// Why a literal or parameter did not become a [`KeyValue`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyError {
    /// Postgres would accept or refuse it, but we cannot tell with certainty what it means (depends on DateStyle,
    /// TimeZone, a spelling we do not model): a read widens, a write is refused.
    Unsure,
    /// Postgres itself raises an error for it (`22P02` and the like): any shard will raise it.
    Invalid,
    /// A well-formed value that no value of the column type equals (`int_column = 3000000000`, `= 1.5`): no row matches.
    NoMatch,
}

impl KeyType {
    /// An untyped string literal (`'05'`) or a text-format parameter, converted as the type's input function would.
    pub fn parse_text<'a>(self, _text: &'a str) -> Result<KeyValue<'a>, KeyError> {
        Err(KeyError::Unsure)
    }

    /// A numeric literal as the scanner saw it (`5`, `5.0`, `1e3`, `0x1F`), negated where a minus stood before it, compared with
    /// a column of this type by `=`.
    pub fn parse_number<'a>(self, _digits: &'a str, _negative: bool) -> Result<KeyValue<'a>, KeyError> {
        Err(KeyError::Unsure)
    }

    /// A value of type `oid` (a typed parameter, a cast literal) in the given wire format, compared with a column of this type by `=`.
    pub fn parse_typed<'a>(self, _oid: Oid, _format: Format, _bytes: &'a [u8]) -> Result<KeyValue<'a>, KeyError> {
        Err(KeyError::Unsure)
    }
}

/// The token of a key of one or more columns: first 64 bits of murmur3 x64_128, seed 0, over the canonical bytes.
/// One column: its bytes alone. Several: each preceded by its length as 4 bytes big-endian. `None` when a column is NULL.
pub fn token(_key: &[KeyValue<'_>]) -> Option<Token> {
    None
}

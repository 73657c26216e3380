//! PURE, sees fault, sql. COPY FROM data cut into rows and the key fields of each: bytes in, byte ranges and values out.
//!
//! A row's bytes are forwarded as they came; only its key fields are decoded. What Postgres would refuse on sight of one row
//! is left to it: the row is handed out with its keys missing. What it could not see, because each shard gets other rows
//! (mixed newlines, an end marker in the wrong place), is refused here in its words.

pub mod append;
mod binary;
mod fields;
mod lines;
mod masked;
pub mod origins;
mod rows;
pub mod shown;

use std::borrow::Cow;

use smallvec::SmallVec;

pub use fields::FieldReader;
pub use masked::CONVERTED;
pub use rows::RowCutter;

/// What the cutter hands out, in the order of the data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// What every shard gets before its first row: the header line, or the header of the binary format.
    Preamble(&'a [u8]),
    Row(Row<'a>),
}

/// One row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row<'a> {
    /// As it came, its newline included. Without one it was the last row.
    pub bytes: &'a [u8],
    /// The fields asked for, in that order.
    pub keys: SmallVec<[KeyField<'a>; 2]>,
    /// Where Postgres would say that it is (`COPY t, line 7`): from 1, a header counts.
    pub line: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyField<'a> {
    Null,
    /// Text and CSV: the decoded text in UTF-8. Binary: the value's bytes.
    Value(Cow<'a, [u8]>),
    /// The field as it stands in the row, in another encoding than UTF-8: converted first, it is read by [`FieldReader`].
    Encoded(Cow<'a, [u8]>),
    /// The row has no such field, or cannot be read: every Postgres refuses this row.
    Missing,
}

#[cfg(test)]
mod tests;

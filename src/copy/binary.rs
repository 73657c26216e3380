//! Where the header and the rows of the binary format end (Postgres: `ReceiveCopyBinaryHeader`, `NextCopyFrom`).

use smallvec::SmallVec;

use super::fields::Wanted;
use super::{KeyField, lines};
use crate::fault::Fault;

/// What binary data begins with.
const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";
/// Signature, flags and the extension's length.
const FIXED_HEADER: usize = 19;

/// Finds one row after another in bytes that arrive in pieces.
#[derive(Clone, Debug)]
pub(super) struct TupleFinder {
    stage: Stage,
    /// Bytes of the current row that were looked at.
    scanned: usize,
    /// Fields of the current row that were passed.
    passed: usize,
    /// Of the current row: the bytes of the wanted fields (`None` inside: NULL).
    keys: SmallVec<[Option<Key>; 2]>,
}

type Key = Option<(usize, usize)>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Header,
    Rows,
    /// Behind the trailer.
    End,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    More,
    Header(usize),
    Row(usize),
    /// No row that Postgres takes: these bytes make it say so. Nothing behind them counts.
    Broken(usize),
}

impl TupleFinder {
    pub fn new() -> Self {
        Self { stage: Stage::Header, scanned: 0, passed: 0, keys: SmallVec::new() }
    }

    /// Whether the header is not read yet.
    pub fn at_header(&self) -> bool {
        self.stage == Stage::Header
    }

    /// Looks for the end of what `data` begins with. `limit`: the longest row, so that a field's announced length is refused
    /// before its bytes are awaited.
    pub fn find(&mut self, data: &[u8], eof: bool, limit: usize, wanted: &[Wanted]) -> Result<Found, TooLong> {
        let broken_at_end = |data: &[u8]| if eof && !data.is_empty() { Found::Broken(data.len()) } else { Found::More };
        match self.stage {
            Stage::Header => {
                if data.get(..SIGNATURE.len()).is_some_and(|begin| begin != SIGNATURE) {
                    return Ok(Found::Broken(SIGNATURE.len()));
                }
                let Some(extension) = int32(data, FIXED_HEADER - 4) else { return Ok(broken_at_end(data)) };
                let Ok(extension) = usize::try_from(extension) else { return Ok(Found::Broken(FIXED_HEADER)) };
                let total = FIXED_HEADER + extension;
                if total > limit {
                    return Err(TooLong);
                }
                if data.len() < total {
                    return Ok(broken_at_end(data));
                }
                self.stage = Stage::Rows;
                Ok(Found::Header(total))
            }
            Stage::Rows => {
                // Without a trailer, and with one stray byte, Postgres takes it for the end.
                let Some(count) = int16(data) else { return Ok(Found::More) };
                if count == -1 {
                    self.stage = Stage::End;
                    return Ok(Found::Row(2));
                }
                let Ok(count) = usize::try_from(count) else { return Ok(Found::Broken(2)) };
                if self.scanned == 0 {
                    self.scanned = 2;
                    self.passed = 0;
                    self.keys.clear();
                    self.keys.resize(wanted.len(), None);
                }
                while self.passed < count {
                    let Some(size) = int32(data, self.scanned) else {
                        return if data.len() > limit { Err(TooLong) } else { Ok(broken_at_end(data)) };
                    };
                    let start = self.scanned + 4;
                    if start > limit {
                        return Err(TooLong);
                    }
                    let (end, key) = match usize::try_from(size) {
                        Ok(size) => (start + size, Some((start, start + size))),
                        Err(_) if size == -1 => (start, None),
                        Err(_) => return Ok(Found::Broken(start)),
                    };
                    if end > limit {
                        return Err(TooLong);
                    }
                    if end > data.len() {
                        return Ok(broken_at_end(data));
                    }
                    for (kept, wanted) in self.keys.iter_mut().zip(wanted) {
                        if wanted.position == self.passed {
                            *kept = Some(key);
                        }
                    }
                    self.scanned = end;
                    self.passed += 1;
                }
                let total = self.scanned;
                self.scanned = 0;
                Ok(Found::Row(total))
            }
            Stage::End => Ok(Found::More),
        }
    }

    /// Whether the trailer was passed.
    pub fn ended(&self) -> bool {
        self.stage == Stage::End
    }

    /// The wanted fields of the row just found.
    pub fn keys<'a>(&self, row: &'a [u8]) -> SmallVec<[KeyField<'a>; 2]> {
        let value = |key: &Option<Key>| match key {
            None => KeyField::Missing,
            Some(None) => KeyField::Null,
            Some(Some((start, end))) => row.get(*start..*end).map_or(KeyField::Missing, |v| KeyField::Value(v.into())),
        };
        self.keys.iter().map(value).collect()
    }
}

/// The row is longer than the limit.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLong;

/// Postgres's answer to bytes behind the trailer.
pub(super) fn data_after_trailer() -> Fault {
    lines::bad_format("received copy data after EOF marker")
}

fn int16(data: &[u8]) -> Option<i16> {
    data.first_chunk().map(|bytes| i16::from_be_bytes(*bytes))
}

fn int32(data: &[u8], at: usize) -> Option<i32> {
    data.get(at..)?.first_chunk().map(|bytes| i32::from_be_bytes(*bytes))
}

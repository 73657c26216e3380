//! `RowView`: one column of a DataRow, found without copying the row. `RowWriter`: rows that we make ourselves.

use std::ops::Range;

use bytes::{BufMut, Bytes, BytesMut};

use crate::fault::{Blame, Fault, SqlState};
use crate::wire::frame::Fields;
use crate::wire::reply::Column;

/// The tag of a DataRow message.
pub const DATA_ROW: u8 = b'D';

/// Tag, length, number of columns.
const HEADER: usize = 7;

/// Rows of one [`RowWriter`] share buffers of this size.
const CHUNK: usize = 16 * 1024;

/// A row that breaks the protocol: the shard's fault, and the end of this statement.
pub fn malformed() -> Fault {
    Fault::new(SqlState::PROTOCOL_VIOLATION, "malformed row from a shard").blame(Blame::Server)
}

/// A whole DataRow frame (tag and length included), read in place.
#[derive(Clone, Copy, Debug)]
pub struct RowView<'a> {
    frame: &'a [u8],
    columns: usize,
}

impl<'a> RowView<'a> {
    /// Checks tag, length and column count; the columns themselves are checked as they are read.
    pub fn parse(frame: &'a [u8]) -> Result<Self, Fault> {
        let (header, body) = frame.split_first_chunk::<HEADER>().ok_or_else(malformed)?;
        let [tag, l0, l1, l2, l3, c0, c1] = *header;
        let length = u32::from_be_bytes([l0, l1, l2, l3]);
        let columns = usize::from(u16::from_be_bytes([c0, c1]));
        // Each column has at least its length word.
        if tag != DATA_ROW || usize::try_from(length) != Ok(frame.len() - 1) || columns * 4 > body.len() {
            return Err(malformed());
        }
        Ok(Self { frame, columns })
    }

    /// Number of columns.
    pub fn len(&self) -> usize {
        self.columns
    }

    pub fn is_empty(&self) -> bool {
        self.columns == 0
    }

    /// The value of column `index`, `None` for NULL. Reads the lengths of those before it, allocates nothing.
    pub fn column(&self, index: usize) -> Result<Option<&'a [u8]>, Fault> {
        Ok(self.range(index)?.map(|range| self.bytes(range)))
    }

    /// The bytes at a place that [`Self::range`] gave.
    pub fn bytes(&self, range: Range<usize>) -> &'a [u8] {
        self.frame.get(range).unwrap_or_default()
    }

    /// Where in the frame the value of column `index` lies, `None` for NULL.
    pub fn range(&self, index: usize) -> Result<Option<Range<usize>>, Fault> {
        if index >= self.columns {
            return Err(malformed());
        }
        let mut at = HEADER;
        for _ in 0..index {
            at = self.field(at)?.1;
        }
        Ok(self.field(at)?.0)
    }

    /// All columns in order; checks that they fill the frame exactly.
    pub fn columns(self) -> impl Iterator<Item = Result<Option<&'a [u8]>, Fault>> {
        let mut at = Ok(HEADER);
        let mut left = self.columns;
        std::iter::from_fn(move || {
            let start = match &at {
                Ok(start) => *start,
                Err(()) => return None,
            };
            if left == 0 {
                at = Err(());
                return (start != self.frame.len()).then(|| Err(malformed()));
            }
            left -= 1;
            Some(match self.field(start) {
                Ok((range, next)) => {
                    at = Ok(next);
                    Ok(range.map(|range| &self.frame[range]))
                }
                Err(fault) => {
                    at = Err(());
                    Err(fault)
                }
            })
        })
    }

    /// The value at `at` (`None` for NULL) and where the next one begins.
    fn field(&self, at: usize) -> Result<(Option<Range<usize>>, usize), Fault> {
        let start = at + 4;
        let word = self.frame.get(at..start).and_then(|word| word.first_chunk::<4>()).ok_or_else(malformed)?;
        match i32::from_be_bytes(*word) {
            -1 => Ok((None, start)),
            length => {
                let end = usize::try_from(length).ok().and_then(|length| start.checked_add(length));
                match end.filter(|end| *end <= self.frame.len()) {
                    Some(end) => Ok((Some(start..end), end)),
                    None => Err(malformed()),
                }
            }
        }
    }

    /// The bytes of the first `count` columns with their lengths, as they stand.
    pub fn leading(&self, count: usize) -> Result<&'a [u8], Fault> {
        if count > self.columns {
            return Err(malformed());
        }
        let mut at = HEADER;
        for _ in 0..count {
            at = self.field(at)?.1;
        }
        Ok(&self.frame[HEADER..at])
    }
}

/// Writes DataRow frames one after the other into shared buffers.
#[derive(Debug, Default)]
pub struct RowWriter {
    buffer: BytesMut,
    columns: u16,
}

impl RowWriter {
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins a row; an unfinished one is forgotten.
    pub fn start(&mut self) {
        self.buffer.clear();
        if self.buffer.capacity() < 256 {
            self.buffer.reserve(CHUNK);
        }
        self.buffer.put_bytes(0, HEADER);
        self.buffer[0] = DATA_ROW;
        self.columns = 0;
    }

    /// Appends a column.
    pub fn column(&mut self, value: Option<&[u8]>) {
        match value {
            None => self.null(),
            Some(bytes) => self.column_with(|buffer| buffer.put_slice(bytes)),
        }
    }

    pub fn null(&mut self) {
        self.columns = self.columns.saturating_add(1);
        self.buffer.put_i32(-1);
    }

    /// Appends a column whose value `write` appends to the buffer.
    pub fn column_with(&mut self, write: impl FnOnce(&mut BytesMut)) {
        self.columns = self.columns.saturating_add(1);
        let at = self.buffer.len();
        self.buffer.put_i32(0);
        write(&mut self.buffer);
        // A value of more than 2 GiB makes the frame too long, which `finish` refuses.
        let length = i32::try_from(self.buffer.len() - at - 4).unwrap_or(i32::MAX);
        self.buffer[at..at + 4].copy_from_slice(&length.to_be_bytes());
    }

    /// Appends `count` columns that are already in wire form (see [`RowView::leading`]).
    pub fn raw(&mut self, count: usize, columns: &[u8]) {
        self.columns = self.columns.saturating_add(u16::try_from(count).unwrap_or(u16::MAX));
        self.buffer.put_slice(columns);
    }

    /// The finished frame. `54000` when it is longer than a message may be.
    pub fn finish(&mut self) -> Result<Bytes, Fault> {
        let length =
            i32::try_from(self.buffer.len() - 1).ok().filter(|length| *length < 1 << 30 && self.columns < u16::MAX);
        let length = length.ok_or_else(|| Fault::new(SqlState::PROGRAM_LIMIT_EXCEEDED, "row is too long"))?;
        self.buffer[1..5].copy_from_slice(&length.to_be_bytes());
        self.buffer[5..7].copy_from_slice(&self.columns.to_be_bytes());
        Ok(self.buffer.split().freeze())
    }
}

/// Shows the fields behind each column's name (table, number, type, length, modifier, format) in a RowDescription's body.
pub fn each_column(body: &mut [u8], mut change: impl FnMut(usize, &mut [u8; 18])) {
    let Some((count, mut rest)) = body.split_first_chunk_mut::<2>() else { return };
    for at in 0..usize::from(u16::from_be_bytes(*count)) {
        let Some(end) = rest.iter().position(|byte| *byte == 0) else { return };
        let Some((fields, behind)) = rest.get_mut(end + 1..).and_then(<[u8]>::split_first_chunk_mut::<18>) else {
            return;
        };
        change(at, fields);
        rest = behind;
    }
}

/// The columns of a RowDescription's body.
///
/// # Errors
/// A body whose fields do not fit it.
pub fn read_row_description(body: &[u8]) -> Result<Vec<Column>, Fault> {
    let mut fields = Fields::new(body);
    let count = fields.count()?;
    let mut columns = Vec::with_capacity(count.min(body.len() / 19));
    for _ in 0..count {
        columns.push(Column {
            name: String::from_utf8_lossy(fields.cstr()?).into(),
            table_oid: fields.u32()?,
            attnum: fields.i16()?,
            type_oid: fields.u32()?,
            typlen: fields.i16()?,
            typmod: fields.i32()?,
            format: fields.i16()?,
        });
    }
    fields.end()?;
    Ok(columns)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn row(columns: &[Option<&[u8]>]) -> Bytes {
        let mut writer = RowWriter::new();
        writer.start();
        columns.iter().for_each(|column| writer.column(*column));
        writer.finish().unwrap()
    }

    #[test]
    fn a_row_is_laid_out_as_the_protocol_says() {
        let frame = row(&[Some(b"ab"), None]);
        assert_eq!(&frame[..], b"D\0\0\0\x10\0\x02\0\0\0\x02ab\xff\xff\xff\xff");
        let view = RowView::parse(&frame).unwrap();
        assert_eq!(view.leading(1).unwrap(), b"\0\0\0\x02ab");
        assert!(view.column(2).is_err());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(columns: Vec<Option<Vec<u8>>>) {
            let columns: Vec<Option<&[u8]>> = columns.iter().map(Option::as_deref).collect();
            let frame = row(&columns);
            let view = RowView::parse(&frame).unwrap();
            prop_assert_eq!(view.len(), columns.len());
            for (i, column) in columns.iter().enumerate() {
                prop_assert_eq!(&view.column(i).unwrap(), column);
            }
            let all: Result<Vec<_>, Fault> = view.columns().collect();
            prop_assert_eq!(all.unwrap(), columns);
        }

        #[test]
        fn no_bytes_make_the_reader_panic(columns: Vec<Option<Vec<u8>>>, at: usize, byte: u8, cut: usize) {
            let columns: Vec<Option<&[u8]>> = columns.iter().map(Option::as_deref).collect();
            let mut frame = row(&columns).to_vec();
            let at = at % frame.len();
            frame[at] = byte;
            frame.truncate(frame.len() - cut % 3);
            if let Ok(view) = RowView::parse(&frame) {
                for i in 0..view.len() + 1 {
                    let _ = (view.column(i), view.leading(i));
                }
                prop_assert!(view.columns().count() <= view.len() + 1);
            }
        }
    }
}

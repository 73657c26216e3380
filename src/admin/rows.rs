//! `LocalRows`: a small result that the router makes itself, in both formats; `Answer`: one that may be large.

use bytes::{BufMut, BytesMut};

use crate::fault::{Fault, SqlState};
use crate::ids::Oid;
use crate::merge::decimal::Decimal;
use crate::types::{Format, oid};
use crate::wire::reply::{self, Column};

/// The types that such results have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    #[default]
    Text,
    Int4,
    Int8,
    /// A whole number that may be larger.
    Numeric,
}

impl Kind {
    pub fn oid(self) -> Oid {
        match self {
            Self::Text => oid::TEXT,
            Self::Int4 => oid::INT4,
            Self::Int8 => oid::INT8,
            Self::Numeric => oid::NUMERIC,
        }
    }

    fn length(self) -> i16 {
        match self {
            Self::Text | Self::Numeric => -1,
            Self::Int4 => 4,
            Self::Int8 => 8,
        }
    }
}

#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct LocalColumn {
    pub name: Box<str>,
    pub kind: Kind,
}

impl<T: Into<Box<str>>> From<T> for LocalColumn {
    fn from(name: T) -> Self {
        Self { name: name.into(), kind: Kind::Text }
    }
}

/// One value for each column, as text.
pub type Row = Vec<Option<String>>;

/// A result whose rows are made as they are taken: all of them may be more than is to be held.
pub struct Answer {
    pub columns: Vec<LocalColumn>,
    pub rows: Box<dyn Iterator<Item = Row> + Send>,
    pub tag: String,
}

impl From<LocalRows> for Answer {
    fn from(LocalRows { columns, rows, tag }: LocalRows) -> Self {
        Self { columns, rows: Box::new(rows.into_iter()), tag }
    }
}

impl Answer {
    /// As [`LocalRows::describe`].
    ///
    /// # Errors
    /// As there.
    pub fn describe(&self, formats: &[i16]) -> Result<BytesMut, Fault> {
        describe(&self.columns, formats)
    }

    /// Takes a row, and puts it there in these formats. False: there is none any more.
    ///
    /// # Errors
    /// `54000` for what does not fit in a frame.
    pub fn put_next(&mut self, out: &mut BytesMut, formats: &[i16]) -> Result<bool, Fault> {
        self.rows.next().map(|row| put_row(&self.columns, out, formats, &row)).transpose().map(|row| row.is_some())
    }
}

/// Values are held as text.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct LocalRows {
    pub columns: Vec<LocalColumn>,
    pub rows: Vec<Vec<Option<String>>>,
    pub tag: String,
}

impl LocalRows {
    pub fn of(column: &str, rows: Vec<String>, tag: &str) -> Self {
        Self {
            columns: vec![column.into()],
            rows: rows.into_iter().map(|row| vec![Some(row)]).collect(),
            tag: tag.to_owned(),
        }
    }

    /// Only the command tag.
    pub fn tag(tag: &str) -> Self {
        Self { tag: tag.to_owned(), ..Self::default() }
    }

    /// RowDescription, in the formats that a Bind asks for.
    ///
    /// # Errors
    /// As those of [`Self::put_rows`].
    pub fn describe(&self, formats: &[i16]) -> Result<BytesMut, Fault> {
        describe(&self.columns, formats)
    }

    /// The rows in these formats, and the command tag.
    ///
    /// # Errors
    /// `54000` for what does not fit in a frame.
    pub fn put_rows(&self, out: &mut BytesMut, formats: &[i16]) -> Result<(), Fault> {
        for row in 0..self.rows.len() {
            self.put_row(out, formats, row)?;
        }
        reply::command_complete(out, &self.tag)
    }

    pub fn put_row(&self, out: &mut BytesMut, formats: &[i16], row: usize) -> Result<(), Fault> {
        self.rows.get(row).map_or(Ok(()), |row| put_row(&self.columns, out, formats, row))
    }
}

fn describe(columns: &[LocalColumn], formats: &[i16]) -> Result<BytesMut, Fault> {
    let columns = columns.iter().enumerate().map(|(at, column)| {
        let format = format_of(formats, at);
        Column { format, ..Column::text(column.name.clone(), column.kind.oid(), column.kind.length()) }
    });
    let mut out = BytesMut::new();
    reply::row_description(&mut out, &columns.collect::<Vec<_>>())?;
    Ok(out)
}

fn put_row(columns: &[LocalColumn], out: &mut BytesMut, formats: &[i16], row: &Row) -> Result<(), Fault> {
    let values = row.iter().enumerate().map(|(at, value)| {
        let kind = columns.get(at).map_or(Kind::Text, |column| column.kind);
        value.as_deref().map(|text| encode(kind, format_of(formats, at), text)).transpose()
    });
    let values: Vec<Option<BytesMut>> = values.collect::<Result<_, _>>()?;
    reply::data_row(out, values.iter().map(|value| value.as_deref()))
}

/// The format of a column, by the format codes of a Bind message.
fn format_of(formats: &[i16], at: usize) -> i16 {
    match formats {
        [] => 0,
        [all] => *all,
        each => each.get(at).copied().unwrap_or(0),
    }
}

/// Text and binary format of text are the same bytes.
fn encode(kind: Kind, format: i16, text: &str) -> Result<BytesMut, Fault> {
    if !matches!(format, 0 | 1) {
        return Err(Fault::new(SqlState::INVALID_PARAMETER_VALUE, format!("unsupported format code: {format}")));
    }
    if format == 0 || kind == Kind::Text {
        return Ok(BytesMut::from(text));
    }
    let number: i64 = text.parse().map_err(|_| no_number(text))?;
    let mut out = BytesMut::new();
    match kind {
        Kind::Text => {}
        Kind::Int4 => out.put_i32(i32::try_from(number).map_err(|_| no_number(text))?),
        Kind::Int8 => out.put_i64(number),
        Kind::Numeric => Decimal::from_i64(number).write(Format::Binary, &mut out),
    }
    Ok(out)
}

fn no_number(text: &str) -> Fault {
    Fault::new(SqlState::INTERNAL_ERROR, format!("\"{text}\" is no number of its column"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn numbers_have_the_binary_form_of_their_type() {
        assert_eq!(encode(Kind::Int4, 1, "-2").unwrap()[..], (-2_i32).to_be_bytes());
        assert_eq!(encode(Kind::Int8, 1, "7").unwrap()[..], 7_i64.to_be_bytes());
        // As numeric_send: 12345678 is two digits to the base of 10,000, the first of weight 1.
        assert_eq!(encode(Kind::Numeric, 1, "12345678").unwrap()[..], [0, 2, 0, 1, 0, 0, 0, 0, 4, 210, 22, 46]);
        for kind in [Kind::Text, Kind::Int4, Kind::Int8, Kind::Numeric] {
            assert_eq!(encode(kind, 0, "12").unwrap()[..], *b"12");
        }
        assert!(encode(Kind::Int4, 1, "3000000000").is_err());
    }
}

//! Descriptions of a server in the numbers that the client knows: those of the home shard, of types, and of the tables and columns that
//! results are of.

use std::sync::Arc;

use bytes::BytesMut;

use crate::backend::Backend;
use crate::catalog::numbers::Numbers;
use crate::fault::Result;
use crate::ids::Oid;
use crate::types::oid;
use crate::wire::frame::HEADER;
use crate::wire::reply::Column;
use crate::wire::request;
use crate::wire::row::each_column;

/// Where a column comes from: a table and the number of its column, zero for what is no table's; and its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    table: Oid,
    number: i16,
    type_oid: Oid,
}

impl Origin {
    pub fn of(column: &Column) -> Self {
        Self { table: column.table_oid, number: column.attnum, type_oid: column.type_oid }
    }
}

/// The longest description that is remembered.
const REMEMBERED: usize = 1024;

/// The description that was changed last: the same statement is described alike each time it runs.
#[derive(Debug, Default)]
pub struct Renumbered {
    before: Vec<u8>,
    after: Vec<u8>,
    /// By which numbers.
    by: Option<Arc<Numbers>>,
}

impl Renumbered {
    fn renumber(&mut self, frame: &mut [u8], numbers: &Arc<Numbers>) {
        let known = self.by.as_ref().is_some_and(|by| Arc::ptr_eq(by, numbers)) && *self.before == *frame;
        if !known {
            self.before.clear();
            self.before.extend_from_slice(frame);
            renumber(frame, Some(numbers), None);
            self.after.clear();
            self.after.extend_from_slice(frame);
            self.by = Some(Arc::clone(numbers));
        } else if self.after.len() == frame.len() {
            frame.copy_from_slice(&self.after);
        }
    }
}

impl Backend {
    /// Queues a Parse. The types are in the numbers of the home shard.
    ///
    /// # Errors
    /// The statement is larger than a message can be.
    pub fn parse(&mut self, name: &[u8], sql: &[u8], types: &[Oid]) -> Result<()> {
        match self.numbers.as_ref().filter(|_| types.iter().any(|of| *of >= oid::FIRST_NORMAL)) {
            None => request::parse(&mut self.out, name, sql, types),
            Some(numbers) => {
                let types: Vec<Oid> = types.iter().map(|of| numbers.from_home(*of)).collect();
                request::parse(&mut self.out, name, sql, &types)
            }
        }
    }

    /// Whether descriptions of this server are to be changed.
    pub(crate) fn renumbers(&self) -> bool {
        self.numbers.is_some() || self.origins.is_some()
    }

    /// Changes a RowDescription or ParameterDescription that stands whole in `read`, `from` bytes behind its start.
    pub(crate) fn renumber(&mut self, from: usize, len: usize) {
        let Some(frame) = self.read.get_mut(from..from + len) else { return };
        match (&self.numbers, self.origins.as_deref()) {
            (Some(numbers), None) if len <= REMEMBERED => self.renumbered.renumber(frame, numbers),
            (numbers, origins) => renumber(frame, numbers.as_deref(), origins),
        }
    }

    /// The same of a frame that has been taken out.
    pub(super) fn renumbered(&self, mut frame: BytesMut) -> BytesMut {
        renumber(&mut frame, self.numbers.as_deref(), self.origins.as_deref());
        frame
    }
}

/// `frame`: a message with its header. What is malformed stays as it is: whoever reads it says so.
fn renumber(frame: &mut [u8], numbers: Option<&Numbers>, origins: Option<&[Origin]>) {
    let Some((header, body)) = frame.split_at_mut_checked(HEADER) else { return };
    match header.first() {
        Some(b'T') => each_column(body, |at, fields| {
            let [t0, t1, t2, t3, n0, n1, y0, y1, y2, y3, ..] = *fields;
            let mut origin = Origin {
                table: Oid::from_be_bytes([t0, t1, t2, t3]),
                number: i16::from_be_bytes([n0, n1]),
                type_oid: Oid::from_be_bytes([y0, y1, y2, y3]),
            };
            if let Some(numbers) = numbers {
                (origin.table, origin.number) = numbers.column_to_home(origin.table, origin.number);
                origin.type_oid = numbers.to_home(origin.type_oid);
            }
            if let Some(known) = origins.and_then(|origins| origins.get(at)) {
                origin = *known;
            }
            fields[..4].copy_from_slice(&origin.table.to_be_bytes());
            fields[4..6].copy_from_slice(&origin.number.to_be_bytes());
            fields[6..10].copy_from_slice(&origin.type_oid.to_be_bytes());
        }),
        Some(b't') => {
            let Some(numbers) = numbers else { return };
            for parameter in body.get_mut(2..).unwrap_or_default().chunks_exact_mut(4) {
                let here = parameter.iter().fold(0, |oid, byte| oid << 8 | Oid::from(*byte));
                parameter.copy_from_slice(&numbers.to_home(here).to_be_bytes());
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::numbers::{Inside, Numbered, NumberedTable, UserType};
    use crate::ids::QualifiedName;
    use crate::wire::reply;
    use crate::wire::row::read_row_description;

    fn numbered(oid: Oid, table: Oid, columns: &str) -> Numbered {
        Numbered {
            types: [(QualifiedName::new("public", "mood"), UserType { oid, inside: Inside::Nothing })].into(),
            tables: [(
                QualifiedName::new("public", "t"),
                NumberedTable { oid: table, columns: columns.into(), ..NumberedTable::default() },
            )]
            .into(),
            ..Numbered::default()
        }
    }

    fn origin(table: Oid, number: i16, type_oid: Oid) -> Origin {
        Origin { table, number, type_oid }
    }

    #[test]
    fn columns_and_parameters_get_the_numbers_of_the_home_shard() {
        let (home, here) = (numbered(20_001, 20_010, "a\u{1}b"), numbered(30_001, 30_010, "b\u{1}a"));
        let numbers = Numbers::between(&home, Some(&here)).unwrap();
        let column = |name: &str, attnum, type_oid| {
            let name = name.into();
            Column { name, table_oid: 30_010, attnum, type_oid, typlen: 4, typmod: -1, format: 0 }
        };
        let told = |numbers: Option<&Numbers>, origins: Option<&[Origin]>| {
            let mut out = BytesMut::new();
            reply::row_description(&mut out, &[column("a", 2, 30_001), column("b", 1, 23)]).unwrap();
            renumber(&mut out, numbers, origins);
            let found = read_row_description(&out[HEADER..]).unwrap();
            found.iter().map(|c| (c.table_oid, c.attnum, c.type_oid)).collect::<Vec<_>>()
        };
        assert_eq!(told(Some(&numbers), None), [(20_010, 1, 20_001), (20_010, 2, 23)]);
        let origins = [origin(9, 3, 20_001)];
        assert_eq!(told(None, Some(&origins)), [(9, 3, 20_001), (30_010, 1, 23)]);
        assert_eq!(told(Some(&numbers), Some(&origins)), [(9, 3, 20_001), (20_010, 2, 23)]);
        let mut out = BytesMut::new();
        reply::parameter_description(&mut out, &[25, 30_001]).unwrap();
        renumber(&mut out, Some(&numbers), None);
        let mut wanted = BytesMut::new();
        reply::parameter_description(&mut wanted, &[25, 20_001]).unwrap();
        assert_eq!(out, wanted);
        // Cut short it is left alone.
        for len in 0..out.len() {
            renumber(&mut out[..len], Some(&numbers), Some(&[origin(1, 1, 25)]));
        }
    }

    #[test]
    fn a_description_is_remembered_for_the_same_bytes_and_the_same_numbers_alone() {
        let home = numbered(20_001, 20_010, "a\u{1}b");
        let here = |table| Arc::new(Numbers::between(&home, Some(&numbered(30_001, table, "b\u{1}a"))).unwrap());
        let (first, second) = (here(30_010), here(30_020));
        let described = |name: &str, table_oid| {
            let mut out = BytesMut::new();
            let column =
                Column { name: name.into(), table_oid, attnum: 2, type_oid: 30_001, typlen: 4, typmod: -1, format: 0 };
            reply::row_description(&mut out, &[column]).unwrap();
            out
        };
        let mut remembered = Renumbered::default();
        for numbers in [&first, &second, &first] {
            for (name, table) in [("a", 30_010), ("a", 30_010), ("a", 30_020), ("bb", 30_010), ("a", 30_010)] {
                let (mut told, mut wanted) = (described(name, table), described(name, table));
                remembered.renumber(&mut told, numbers);
                renumber(&mut wanted, Some(numbers), None);
                assert_eq!(told, wanted, "{name} {table}");
            }
        }
    }
}

//! Descriptions of a server in the numbers that the client knows: of types those of the home shard, of a cursor's columns those of the
//! tables that they are of.

use bytes::BytesMut;

use crate::backend::Backend;
use crate::catalog::numbers::TypeNumbers;
use crate::fault::Result;
use crate::ids::Oid;
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

impl Backend {
    /// Queues a Parse. The types are in the numbers of the home shard.
    ///
    /// # Errors
    /// The statement is larger than a message can be.
    pub fn parse(&mut self, name: &[u8], sql: &[u8], types: &[Oid]) -> Result<()> {
        match &self.types {
            None => request::parse(&mut self.out, name, sql, types),
            Some(numbers) => {
                let types: Vec<Oid> = types.iter().map(|of| numbers.from_home(*of)).collect();
                request::parse(&mut self.out, name, sql, &types)
            }
        }
    }

    /// Whether descriptions of this server are to be changed.
    pub(crate) fn renumbers(&self) -> bool {
        self.types.is_some() || self.origins.is_some()
    }

    /// Changes a RowDescription or ParameterDescription that stands whole in `read`, `from` bytes behind its start.
    pub(crate) fn renumber(&mut self, from: usize, len: usize) {
        let frame = self.read.get_mut(from..from + len);
        let (types, origins) = (self.types.as_deref(), self.origins.as_deref());
        if let Some(frame) = frame {
            renumber(frame, types, origins);
        }
    }

    /// The same of a frame that has been taken out.
    pub(super) fn renumbered(&self, mut frame: BytesMut) -> BytesMut {
        renumber(&mut frame, self.types.as_deref(), self.origins.as_deref());
        frame
    }
}

/// `frame`: a message with its header. What is malformed stays as it is: whoever reads it says so.
fn renumber(frame: &mut [u8], types: Option<&TypeNumbers>, origins: Option<&[Origin]>) {
    let Some((header, body)) = frame.split_at_mut_checked(HEADER) else { return };
    match header.first() {
        Some(b'T') => each_column(body, |at, fields| {
            if let Some(origin) = origins.and_then(|origins| origins.get(at)) {
                fields[..4].copy_from_slice(&origin.table.to_be_bytes());
                fields[4..6].copy_from_slice(&origin.number.to_be_bytes());
                fields[6..10].copy_from_slice(&origin.type_oid.to_be_bytes());
            }
            if let Some(types) = types {
                let here = Oid::from_be_bytes([fields[6], fields[7], fields[8], fields[9]]);
                fields[6..10].copy_from_slice(&types.to_home(here).to_be_bytes());
            }
        }),
        Some(b't') => {
            let Some(types) = types else { return };
            for parameter in body.get_mut(2..).unwrap_or_default().chunks_exact_mut(4) {
                let here = parameter.iter().fold(0, |oid, byte| oid << 8 | Oid::from(*byte));
                parameter.copy_from_slice(&types.to_home(here).to_be_bytes());
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::numbers::{UserType, UserTypes};
    use crate::ids::QualifiedName;
    use crate::wire::reply;
    use crate::wire::row::read_row_description;

    fn types(oid: Oid) -> UserTypes {
        [(QualifiedName::new("public", "mood"), UserType { oid, has_numbers: false })].into()
    }

    fn origin(table: Oid, number: i16, type_oid: Oid) -> Origin {
        Origin { table, number, type_oid }
    }

    #[test]
    fn columns_and_parameters_get_the_numbers_of_the_home_shard() {
        let numbers = TypeNumbers::between(&types(20_001), &types(30_001)).unwrap();
        let column = |name: &str, type_oid| {
            let name = name.into();
            Column { name, table_oid: 7, attnum: 1, type_oid, typlen: 4, typmod: -1, format: 0 }
        };
        let mut out = BytesMut::new();
        reply::row_description(&mut out, &[column("a", 30_001), column("b", 23)]).unwrap();
        renumber(&mut out, Some(&numbers), Some(&[origin(9, 3, 30_001), origin(0, 0, 23)]));
        let found = read_row_description(&out[HEADER..]).unwrap();
        let found: Vec<_> = found.iter().map(|c| (&*c.name, c.table_oid, c.attnum, c.type_oid)).collect();
        assert_eq!(found, [("a", 9, 3, 20_001), ("b", 0, 0, 23)]);
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
}

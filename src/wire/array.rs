//! Arrays in binary format that we make: one dimension, values of one type (Postgres: `array_recv`).

#![deny(clippy::as_conversions, clippy::indexing_slicing, clippy::unwrap_used)]

use bytes::{BufMut, Bytes, BytesMut};

use crate::fault::{Fault, Result, SqlState};
use crate::ids::Oid;
use crate::wire::encode;

/// An array that grows at its end.
#[derive(Debug)]
pub struct ArrayWriter {
    element: Oid,
    count: usize,
    has_nulls: bool,
    /// Its elements, each with its length.
    body: BytesMut,
}

impl ArrayWriter {
    pub fn new(element: Oid) -> Self {
        Self { element, count: 0, has_nulls: false, body: BytesMut::new() }
    }

    pub fn push(&mut self, value: Option<&[u8]>) -> Result<()> {
        self.count += 1;
        self.has_nulls |= value.is_none();
        encode::value(&mut self.body, value)
    }

    /// The value of the array.
    pub fn bytes(&self) -> Result<Bytes> {
        let mut out = BytesMut::with_capacity(self.body.len() + 20);
        out.put_i32(i32::from(self.count > 0));
        out.put_i32(i32::from(self.has_nulls));
        out.put_u32(self.element);
        if self.count > 0 {
            let count = i32::try_from(self.count)
                .map_err(|_| Fault::new(SqlState::PROGRAM_LIMIT_EXCEEDED, "array size exceeds the maximum allowed"))?;
            out.put_i32(count);
            // The number of its first element.
            out.put_i32(1);
        }
        out.put_slice(&self.body);
        Ok(out.freeze())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_array_is_what_a_server_sends() {
        let mut array = ArrayWriter::new(23);
        assert_eq!(&array.bytes().unwrap()[..], b"\0\0\0\0\0\0\0\0\0\0\0\x17");
        array.push(Some(&[0, 0, 0, 7])).unwrap();
        array.push(None).unwrap();
        // SELECT array_send(ARRAY[7, NULL])
        let sent = b"\0\0\0\x01\0\0\0\x01\0\0\0\x17\0\0\0\x02\0\0\0\x01\0\0\0\x04\0\0\0\x07\xff\xff\xff\xff";
        assert_eq!(&array.bytes().unwrap()[..], sent);
    }
}

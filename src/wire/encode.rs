//! The one encoder of frames that we author: length words, terminated strings, and the limit of 1 GiB - 1.

#![deny(clippy::as_conversions, clippy::indexing_slicing, clippy::unwrap_used)]

use bytes::{BufMut, BytesMut};

use crate::fault::{Fault, Result, SqlState};

/// The greatest length word that we write, in bytes, itself included (Postgres: `MaxAllocSize`).
pub const MAX_FRAME: usize = 0x3fff_ffff;

/// Appends one tagged frame whose body `body` writes. On an error `out` is as it was before.
pub fn frame(out: &mut BytesMut, tag: u8, body: impl FnOnce(&mut BytesMut) -> Result<()>) -> Result<()> {
    let start = out.len();
    out.extend_from_slice(&[tag, 0, 0, 0, 0]);
    let written = body(out).and_then(|()| put_length(out, start + 1));
    if written.is_err() {
        out.truncate(start);
    }
    written
}

/// Appends a length word and what `body` writes after it: the form of the packets that open a connection.
/// On an error `out` may hold a part of it.
pub fn counted(out: &mut BytesMut, body: impl FnOnce(&mut BytesMut) -> Result<()>) -> Result<()> {
    let start = out.len();
    out.put_u32(0);
    body(out)?;
    put_length(out, start)
}

/// The length word at `start`, of all from there on.
fn put_length(out: &mut BytesMut, start: usize) -> Result<()> {
    let length = length_word(out.len() - start)?;
    if let Some(word) = out.get_mut(start..start + 4) {
        word.copy_from_slice(&length.to_be_bytes());
    }
    Ok(())
}

/// The header of a frame of `body` bytes that the caller appends itself, so that large data is not copied here.
pub fn header(out: &mut BytesMut, tag: u8, body: usize) -> Result<()> {
    let length = length_word(body.saturating_add(4))?;
    out.put_u8(tag);
    out.put_u32(length);
    Ok(())
}

/// Appends `text` and its terminator. A NUL within it would end it early, so it is refused.
pub fn cstring(out: &mut BytesMut, text: &[u8]) -> Result<()> {
    if text.is_empty() {
        out.put_u8(0);
        return Ok(());
    }
    if memchr::memchr(0, text).is_some() {
        return Err(Fault::new(
            SqlState::CHARACTER_NOT_IN_REPERTOIRE,
            "invalid byte sequence for encoding \"UTF8\": 0x00",
        ));
    }
    out.put_slice(text);
    out.put_u8(0);
    Ok(())
}

/// Appends at most `limit` bytes of `text` without its NULs, and a terminator: for messages that must get through.
pub fn lossy_cstring(out: &mut BytesMut, text: &str, limit: usize) {
    let text = text.get(..text.floor_char_boundary(limit)).unwrap_or_default();
    for piece in text.split('\0') {
        out.put_slice(piece.as_bytes());
    }
    out.put_u8(0);
}

/// A count in the two bytes that the protocol has for it.
pub fn count16(out: &mut BytesMut, count: usize) -> Result<()> {
    match u16::try_from(count) {
        Ok(count) => {
            out.put_u16(count);
            Ok(())
        }
        Err(_) => Err(Fault::new(
            SqlState::PROGRAM_LIMIT_EXCEEDED,
            format!("{count} fields do not fit in one message, the limit is 65535"),
        )),
    }
}

/// A value with its length before it, or the mark of NULL.
pub fn value(out: &mut BytesMut, value: Option<&[u8]>) -> Result<()> {
    match value {
        None => out.put_i32(-1),
        Some(bytes) => {
            out.put_u32(length_word(bytes.len())?);
            out.put_slice(bytes);
        }
    }
    Ok(())
}

fn length_word(length: usize) -> Result<u32> {
    u32::try_from(length).ok().filter(|_| length <= MAX_FRAME).ok_or_else(|| {
        Fault::new(SqlState::PROGRAM_LIMIT_EXCEEDED, "message is too long")
            .detail(format!("a message of {length} bytes is over the limit of {MAX_FRAME} bytes"))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn refused_frame_leaves_no_byte_behind() {
        let mut out = BytesMut::from(&b"before"[..]);
        frame(&mut out, b'Q', |out| cstring(out, b"a\0b")).unwrap_err();
        assert_eq!(&out[..], b"before");
    }

    #[test]
    fn header_over_the_limit_is_refused() {
        let mut out = BytesMut::new();
        header(&mut out, b'd', MAX_FRAME - 4).unwrap();
        assert_eq!(&out[..], b"d\x3f\xff\xff\xff");
        assert_eq!(header(&mut out, b'd', MAX_FRAME - 3).unwrap_err().code, SqlState::PROGRAM_LIMIT_EXCEEDED);
        header(&mut out, b'd', usize::MAX).unwrap_err();
    }

    #[test]
    fn lossy_text_is_cut_between_characters_and_loses_its_nuls() {
        let mut out = BytesMut::new();
        lossy_cstring(&mut out, "a\0é", 3);
        assert_eq!(&out[..], b"a\0");
        out.clear();
        lossy_cstring(&mut out, "a\0é", 4);
        assert_eq!(&out[..], "aé\0".as_bytes());
    }
}

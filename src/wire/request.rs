//! The frames that we author toward servers: the frontend's half of the protocol, from StartupMessage to Terminate.

#![deny(clippy::as_conversions, clippy::indexing_slicing, clippy::unwrap_used)]

use bytes::{BufMut, BytesMut};
use pgwire::messages::copy::{MESSAGE_TYPE_BYTE_COPY_DATA, MESSAGE_TYPE_BYTE_COPY_FAIL};
use pgwire::messages::extendedquery::{
    MESSAGE_TYPE_BYTE_BIND, MESSAGE_TYPE_BYTE_CLOSE, MESSAGE_TYPE_BYTE_DESCRIBE, MESSAGE_TYPE_BYTE_EXECUTE,
    MESSAGE_TYPE_BYTE_PARSE,
};
use pgwire::messages::simplequery::MESSAGE_TYPE_BYTE_QUERY;
use pgwire::messages::startup::MESSAGE_TYPE_BYTE_PASSWORD_MESSAGE_FAMILY;

use super::encode::{count16, counted, cstring, frame, header, value};
use super::startup::{CancelKey, PASSED_ON, Question, WHICH_TIMELINES, WHO_IS_IT};
use crate::fault::Result;
use crate::ids::Oid;

pub const SYNC: &[u8] = b"S\0\0\0\x04";
pub const FLUSH: &[u8] = b"H\0\0\0\x04";
pub const TERMINATE: &[u8] = b"X\0\0\0\x04";
pub const COPY_DONE: &[u8] = b"c\0\0\0\x04";
pub const SSL_REQUEST: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x2f";

/// What a Describe or a Close names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    Statement,
    Portal,
}

impl Target {
    fn byte(self) -> u8 {
        match self {
            Self::Statement => b'S',
            Self::Portal => b'P',
        }
    }
}

/// StartupMessage of protocol 3.`minor`; a parameter's NUL is refused.
pub fn startup<'a>(
    out: &mut BytesMut,
    minor: u16,
    parameters: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<()> {
    counted(out, |out| {
        out.put_u16(3);
        out.put_u16(minor);
        for (name, text) in parameters {
            cstring(out, name.as_bytes())?;
            cstring(out, text.as_bytes())?;
        }
        out.put_u8(0);
        Ok(())
    })
}

/// CancelRequest, sent alone on a connection of its own.
pub fn cancel(out: &mut BytesMut, pid: u32, secret: &[u8]) -> Result<()> {
    counted(out, |out| {
        out.put_slice(b"\x04\xd2\x16\x2e");
        out.put_u32(pid);
        out.put_slice(secret);
        Ok(())
    })
}

/// A CancelRequest that another router is to deal with, sent alone as well.
pub fn passed_on(out: &mut BytesMut, key: &CancelKey) -> Result<()> {
    counted(out, |out| {
        code(out, PASSED_ON);
        out.put_u32(key.pid);
        out.put_slice(&key.secret);
        Ok(())
    })
}

/// Asks a router. Its number it tells in four bytes; of its timelines see [`super::told`].
pub fn ask(out: &mut BytesMut, question: Question) -> Result<()> {
    counted(out, |out| {
        code(
            out,
            match question {
                Question::Number => WHO_IS_IT,
                Question::Timelines => WHICH_TIMELINES,
            },
        );
        Ok(())
    })
}

fn code(out: &mut BytesMut, (major, minor): (u16, u16)) {
    out.put_u16(major);
    out.put_u16(minor);
}

/// PasswordMessage: a password in clear text, or the answer to an md5 challenge.
pub fn password(out: &mut BytesMut, answer: &[u8]) -> Result<()> {
    frame(out, MESSAGE_TYPE_BYTE_PASSWORD_MESSAGE_FAMILY, |out| cstring(out, answer))
}

pub fn sasl_initial_response(out: &mut BytesMut, mechanism: &str, data: &[u8]) -> Result<()> {
    frame(out, MESSAGE_TYPE_BYTE_PASSWORD_MESSAGE_FAMILY, |out| {
        cstring(out, mechanism.as_bytes())?;
        value(out, Some(data))
    })
}

pub fn sasl_response(out: &mut BytesMut, data: &[u8]) -> Result<()> {
    frame(out, MESSAGE_TYPE_BYTE_PASSWORD_MESSAGE_FAMILY, |out| {
        out.put_slice(data);
        Ok(())
    })
}

/// Query, in the bytes of the client's encoding. A NUL in it is refused.
pub fn query(out: &mut BytesMut, sql: &[u8]) -> Result<()> {
    frame(out, MESSAGE_TYPE_BYTE_QUERY, |out| cstring(out, sql))
}

/// Parse; `types` may be shorter than the list of parameters, and 0 leaves one to the server.
pub fn parse(out: &mut BytesMut, name: &[u8], sql: &[u8], types: &[Oid]) -> Result<()> {
    frame(out, MESSAGE_TYPE_BYTE_PARSE, |out| {
        cstring(out, name)?;
        cstring(out, sql)?;
        count16(out, types.len())?;
        for oid in types {
            out.put_u32(*oid);
        }
        Ok(())
    })
}

/// Bind with other names, and all that follows the names as a client sent it: formats, values, result formats.
pub fn bind_raw(out: &mut BytesMut, portal: &[u8], statement: &[u8], after_names: &[u8]) -> Result<()> {
    frame(out, MESSAGE_TYPE_BYTE_BIND, |out| {
        cstring(out, portal)?;
        cstring(out, statement)?;
        out.put_slice(after_names);
        Ok(())
    })
}

/// Bind of values that all have the format `parameters`, answered in the format `results`: 0 is text, 1 is binary.
pub fn bind<'a, I>(
    out: &mut BytesMut,
    portal: &[u8],
    statement: &[u8],
    parameters: i16,
    values: I,
    results: i16,
) -> Result<()>
where
    I: IntoIterator<Item = Option<&'a [u8]>, IntoIter: ExactSizeIterator>,
{
    let values = values.into_iter();
    frame(out, MESSAGE_TYPE_BYTE_BIND, |out| {
        cstring(out, portal)?;
        cstring(out, statement)?;
        out.put_i16(1);
        out.put_i16(parameters);
        count16(out, values.len())?;
        for bytes in values {
            value(out, bytes)?;
        }
        out.put_i16(1);
        out.put_i16(results);
        Ok(())
    })
}

pub fn describe(out: &mut BytesMut, target: Target, name: &[u8]) -> Result<()> {
    named(out, MESSAGE_TYPE_BYTE_DESCRIBE, target, name)
}

pub fn close(out: &mut BytesMut, target: Target, name: &[u8]) -> Result<()> {
    named(out, MESSAGE_TYPE_BYTE_CLOSE, target, name)
}

fn named(out: &mut BytesMut, tag: u8, target: Target, name: &[u8]) -> Result<()> {
    frame(out, tag, |out| {
        out.put_u8(target.byte());
        cstring(out, name)
    })
}

/// Execute; `max_rows` 0 is no limit.
pub fn execute(out: &mut BytesMut, portal: &[u8], max_rows: i32) -> Result<()> {
    frame(out, MESSAGE_TYPE_BYTE_EXECUTE, |out| {
        cstring(out, portal)?;
        out.put_i32(max_rows);
        Ok(())
    })
}

/// The header of a CopyData whose `body` bytes the caller appends.
pub fn copy_data_header(out: &mut BytesMut, body: usize) -> Result<()> {
    header(out, MESSAGE_TYPE_BYTE_COPY_DATA, body)
}

pub fn copy_fail(out: &mut BytesMut, reason: &str) -> Result<()> {
    frame(out, MESSAGE_TYPE_BYTE_COPY_FAIL, |out| cstring(out, reason.as_bytes()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use pgwire::messages::{DecodeContext, PgWireFrontendMessage as Message, SslNegotiationMetaMessage};

    use super::*;

    /// Decodes with pgwire, which has nothing of our encoder.
    fn decode(out: &mut BytesMut) -> Message {
        let mut context = DecodeContext::default();
        context.awaiting_frontend_ssl = false;
        context.awaiting_frontend_startup = false;
        let message = Message::decode(out, &context).unwrap().unwrap();
        assert!(out.is_empty(), "one message, whole");
        message
    }

    #[test]
    fn first_packets_read_back() {
        let mut context = DecodeContext::default();
        let mut out = BytesMut::from(SSL_REQUEST);
        let message = Message::decode(&mut out, &context).unwrap().unwrap();
        assert!(matches!(message, Message::SslNegotiation(SslNegotiationMetaMessage::PostgresSsl(_))));
        context.awaiting_frontend_ssl = false;
        startup(&mut out, 0, [("user", "u"), ("database", "d")]).unwrap();
        let Message::Startup(message) = Message::decode(&mut out, &context).unwrap().unwrap() else { panic!() };
        assert_eq!(message.parameters.get("database").map(String::as_str), Some("d"));
        cancel(&mut out, 9, &[0, 0, 1, 0]).unwrap();
        assert_eq!(&out[..], b"\0\0\0\x10\x04\xd2\x16\x2e\0\0\0\x09\0\0\x01\0");
    }

    #[test]
    fn extended_messages_read_back() {
        let mut out = BytesMut::new();
        parse(&mut out, b"s", b"SELECT $1", &[23]).unwrap();
        assert!(matches!(decode(&mut out), Message::Parse(m) if m.query == "SELECT $1" && m.type_oids == [23]));
        bind(&mut out, b"", b"s", 0, [Some(&b"1"[..]), None], 1).unwrap();
        let Message::Bind(message) = decode(&mut out) else { panic!("not a bind") };
        assert_eq!(message.parameters.len(), 2);
        assert_eq!((message.parameter_format_codes, message.result_column_format_codes), (vec![0], vec![1]));
        bind_raw(&mut out, b"p", b"s", b"\0\0\0\x01\0\0\0\x01x\0\0").unwrap();
        assert!(matches!(decode(&mut out), Message::Bind(m) if m.parameters == [Some("x".into())]));
        describe(&mut out, Target::Portal, b"p").unwrap();
        assert!(matches!(decode(&mut out), Message::Describe(m) if m.target_type == b'P'));
        execute(&mut out, b"p", 5).unwrap();
        assert!(matches!(decode(&mut out), Message::Execute(m) if m.max_rows == 5));
        close(&mut out, Target::Statement, b"s").unwrap();
        assert!(matches!(decode(&mut out), Message::Close(m) if m.target_type == b'S'));
        for constant in [SYNC, FLUSH, TERMINATE, COPY_DONE] {
            out.put_slice(constant);
            decode(&mut out);
        }
    }

    #[test]
    fn query_and_copy_read_back() {
        let mut out = BytesMut::new();
        query(&mut out, b"SELECT 1").unwrap();
        assert!(matches!(decode(&mut out), Message::Query(m) if m.query == "SELECT 1"));
        query(&mut out, b"SELECT 1\0; DROP").unwrap_err();
        copy_data_header(&mut out, 3).unwrap();
        out.put_slice(b"a\tb");
        assert!(matches!(decode(&mut out), Message::CopyData(m) if &m.data[..] == b"a\tb"));
        copy_fail(&mut out, "no").unwrap();
        assert!(matches!(decode(&mut out), Message::CopyFail(m) if m.message == "no"));
        password(&mut out, b"pw").unwrap();
        assert!(matches!(decode(&mut out), Message::PasswordMessageFamily(_)));
    }
}

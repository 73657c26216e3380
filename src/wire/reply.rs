//! The frames that we author toward clients: ErrorResponse, RowDescription, CommandComplete, ReadyForQuery and their like.
//!
//! Frames that forwarded rows wait for are plain bytes; pgwire's message types write the rare ones of the login.
//! pgwire's decoders are not used: they panic on short input, and what a peer sends is never trusted.

#![deny(clippy::as_conversions, clippy::indexing_slicing, clippy::unwrap_used)]

use bytes::{BufMut, Bytes, BytesMut};
use pgwire::messages::Message as _;
use pgwire::messages::copy::{MESSAGE_TYPE_BYTE_COPY_IN_RESPONSE, MESSAGE_TYPE_BYTE_COPY_OUT_RESPONSE};
use pgwire::messages::data::{
    MESSAGE_TYPE_BYTE_DATA_ROW, MESSAGE_TYPE_BYTE_PARAMETER_DESCRITION, MESSAGE_TYPE_BYTE_ROW_DESCRITION,
};
use pgwire::messages::response::{
    MESSAGE_TYPE_BYTE_COMMAND_COMPLETE, MESSAGE_TYPE_BYTE_ERROR_RESPONSE, MESSAGE_TYPE_BYTE_NOTICE_RESPONSE,
    MESSAGE_TYPE_BYTE_NOTIFICATION_RESPONSE,
};
use pgwire::messages::startup::{
    Authentication, MESSAGE_TYPE_BYTE_BACKEND_KEY_DATA, MESSAGE_TYPE_BYTE_PARAMETER_STATUS,
};

use super::encode::{count16, cstring, frame, lossy_cstring, value};
use crate::fault::{Fault, FaultFields, Result, Severity};
use crate::ids::Oid;

pub const PARSE_COMPLETE: &[u8] = b"1\0\0\0\x04";
pub const BIND_COMPLETE: &[u8] = b"2\0\0\0\x04";
pub const CLOSE_COMPLETE: &[u8] = b"3\0\0\0\x04";
pub const NO_DATA: &[u8] = b"n\0\0\0\x04";
pub const PORTAL_SUSPENDED: &[u8] = b"s\0\0\0\x04";
pub const EMPTY_QUERY: &[u8] = b"I\0\0\0\x04";
pub const COPY_DONE: &[u8] = b"c\0\0\0\x04";
pub const AUTHENTICATION_OK: &[u8] = b"R\0\0\0\x08\0\0\0\0";
/// The one-byte answers to SSLRequest and GSSENCRequest.
pub const ENCRYPTION_ACCEPTED: &[u8] = b"S";
pub const ENCRYPTION_REFUSED: &[u8] = b"N";

/// A text of an ErrorResponse is cut here, in bytes, so that an error can always be told.
const MAX_ERROR_TEXT: usize = 64 * 1024;

/// The transaction status in ReadyForQuery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Status {
    Idle = b'I',
    InTransaction = b'T',
    Failed = b'E',
}

impl Status {
    pub fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            b'I' => Some(Self::Idle),
            b'T' => Some(Self::InTransaction),
            b'E' => Some(Self::Failed),
            _ => None,
        }
    }

    pub fn byte(self) -> u8 {
        match self {
            Self::Idle => b'I',
            Self::InTransaction => b'T',
            Self::Failed => b'E',
        }
    }
}

/// One column of a RowDescription, as in `pg_attribute` and `pg_type`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    pub name: Box<str>,
    /// 0 where the column is of no table.
    pub table_oid: Oid,
    /// 0 where the column is of no table.
    pub attnum: i16,
    pub type_oid: Oid,
    /// Bytes; negative where values vary in length.
    pub typlen: i16,
    pub typmod: i32,
    /// 0 is text, 1 is binary.
    pub format: i16,
}

impl Column {
    /// A column of no table, in text.
    pub fn text(name: impl Into<Box<str>>, type_oid: Oid, typlen: i16) -> Self {
        Self { name: name.into(), table_oid: 0, attnum: 0, type_oid, typlen, typmod: -1, format: 0 }
    }
}

/// How loud a NoticeResponse is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoticeLevel {
    Warning,
    Notice,
    Info,
    Log,
    Debug,
}

impl NoticeLevel {
    fn as_str(self) -> &'static str {
        match self {
            Self::Warning => "WARNING",
            Self::Notice => "NOTICE",
            Self::Info => "INFO",
            Self::Log => "LOG",
            Self::Debug => "DEBUG",
        }
    }
}

/// ErrorResponse. Never fails: texts lose their NULs and are cut at 64 KiB.
pub fn error(out: &mut BytesMut, fault: &Fault) {
    let severity = match fault.severity {
        Severity::Error => "ERROR",
        Severity::Fatal => "FATAL",
    };
    report(out, MESSAGE_TYPE_BYTE_ERROR_RESPONSE, severity, fault);
}

/// NoticeResponse, with the same fields and limits as [`error`]; the fault's own severity is not told.
pub fn notice(out: &mut BytesMut, level: NoticeLevel, fault: &Fault) {
    report(out, MESSAGE_TYPE_BYTE_NOTICE_RESPONSE, level.as_str(), fault);
}

fn report(out: &mut BytesMut, tag: u8, severity: &str, fault: &FaultFields) {
    let mut texts: [Option<(u8, &str)>; 7] = [None; 7];
    let position = fault.position.map(|p| p.to_string());
    texts[0] = Some((b'S', severity));
    texts[1] = Some((b'V', severity));
    texts[2] = Some((b'C', fault.code.as_str()));
    texts[3] = Some((b'M', &fault.message));
    texts[4] = fault.detail.as_deref().map(|text| (b'D', text));
    texts[5] = fault.hint.as_deref().map(|text| (b'H', text));
    texts[6] = position.as_deref().map(|text| (b'P', text));
    let about = fault.about.iter().map(|(field, name)| (*field, &**name));
    let written = frame(out, tag, |out| {
        for (field, text) in texts.into_iter().flatten().chain(about) {
            out.put_u8(field);
            lossy_cstring(out, text, MAX_ERROR_TEXT);
        }
        out.put_u8(0);
        Ok(())
    });
    debug_assert!(written.is_ok(), "a dozen texts of 64 KiB fit in a frame");
}

pub fn row_description(out: &mut BytesMut, columns: &[Column]) -> Result<()> {
    frame(out, MESSAGE_TYPE_BYTE_ROW_DESCRITION, |out| {
        count16(out, columns.len())?;
        for column in columns {
            cstring(out, column.name.as_bytes())?;
            out.put_u32(column.table_oid);
            out.put_i16(column.attnum);
            out.put_u32(column.type_oid);
            out.put_i16(column.typlen);
            out.put_i32(column.typmod);
            out.put_i16(column.format);
        }
        Ok(())
    })
}

/// DataRow; `None` is NULL. The values are in the format that the RowDescription announced.
pub fn data_row<'a, I>(out: &mut BytesMut, values: I) -> Result<()>
where
    I: IntoIterator<Item = Option<&'a [u8]>, IntoIter: ExactSizeIterator>,
{
    let values = values.into_iter();
    frame(out, MESSAGE_TYPE_BYTE_DATA_ROW, |out| {
        count16(out, values.len())?;
        for bytes in values {
            value(out, bytes)?;
        }
        Ok(())
    })
}

pub fn command_complete(out: &mut BytesMut, tag: &str) -> Result<()> {
    frame(out, MESSAGE_TYPE_BYTE_COMMAND_COMPLETE, |out| cstring(out, tag.as_bytes()))
}

pub fn ready_for_query(out: &mut BytesMut, status: Status) {
    out.put_slice(match status {
        Status::Idle => b"Z\0\0\0\x05I",
        Status::InTransaction => b"Z\0\0\0\x05T",
        Status::Failed => b"Z\0\0\0\x05E",
    });
}

pub fn parameter_status(out: &mut BytesMut, name: &str, text: &str) -> Result<()> {
    frame(out, MESSAGE_TYPE_BYTE_PARAMETER_STATUS, |out| {
        cstring(out, name.as_bytes())?;
        cstring(out, text.as_bytes())
    })
}

/// BackendKeyData; the secret has 4 bytes in protocol 3.0 and up to 256 in 3.2.
pub fn backend_key_data(out: &mut BytesMut, pid: u32, secret: &[u8]) -> Result<()> {
    frame(out, MESSAGE_TYPE_BYTE_BACKEND_KEY_DATA, |out| {
        out.put_u32(pid);
        out.put_slice(secret);
        Ok(())
    })
}

pub fn parameter_description(out: &mut BytesMut, types: &[Oid]) -> Result<()> {
    frame(out, MESSAGE_TYPE_BYTE_PARAMETER_DESCRITION, |out| {
        count16(out, types.len())?;
        for oid in types {
            out.put_u32(*oid);
        }
        Ok(())
    })
}

/// CopyInResponse for `columns` columns that are all text or all binary.
pub fn copy_in_response(out: &mut BytesMut, binary: bool, columns: usize) -> Result<()> {
    copy_response(out, MESSAGE_TYPE_BYTE_COPY_IN_RESPONSE, binary, columns)
}

/// CopyOutResponse for `columns` columns that are all text or all binary.
pub fn copy_out_response(out: &mut BytesMut, binary: bool, columns: usize) -> Result<()> {
    copy_response(out, MESSAGE_TYPE_BYTE_COPY_OUT_RESPONSE, binary, columns)
}

fn copy_response(out: &mut BytesMut, tag: u8, binary: bool, columns: usize) -> Result<()> {
    frame(out, tag, |out| {
        out.put_u8(u8::from(binary));
        count16(out, columns)?;
        for _ in 0..columns {
            out.put_u16(u16::from(binary));
        }
        Ok(())
    })
}

pub fn notification(out: &mut BytesMut, pid: u32, channel: &str, payload: &str) -> Result<()> {
    frame(out, MESSAGE_TYPE_BYTE_NOTIFICATION_RESPONSE, |out| {
        out.put_u32(pid);
        cstring(out, channel.as_bytes())?;
        cstring(out, payload.as_bytes())
    })
}

/// What the server side asks of a client that logs in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthenticationRequest<'a> {
    CleartextPassword,
    Md5Password { salt: [u8; 4] },
    Sasl { mechanisms: &'a [&'static str] },
    SaslContinue(&'a [u8]),
    SaslFinal(&'a [u8]),
}

pub fn authentication(out: &mut BytesMut, request: AuthenticationRequest<'_>) {
    let message = match request {
        AuthenticationRequest::CleartextPassword => Authentication::CleartextPassword,
        AuthenticationRequest::Md5Password { salt } => Authentication::MD5Password(salt.to_vec()),
        AuthenticationRequest::Sasl { mechanisms } => {
            Authentication::SASL(mechanisms.iter().map(|name| (*name).to_owned()).collect())
        }
        AuthenticationRequest::SaslContinue(data) => Authentication::SASLContinue(Bytes::copy_from_slice(data)),
        AuthenticationRequest::SaslFinal(data) => Authentication::SASLFinal(Bytes::copy_from_slice(data)),
    };
    let written = message.encode(out);
    debug_assert!(written.is_ok(), "authentication requests are short");
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use pgwire::messages::{DecodeContext, PgWireBackendMessage};

    use super::*;
    use crate::fault::SqlState;
    use crate::wire::error_fields::ErrorFields;

    /// Decodes with pgwire, which has nothing of our encoder.
    fn decode(out: &mut BytesMut) -> PgWireBackendMessage {
        let mut context = DecodeContext::default();
        context.awaiting_frontend_ssl = false;
        context.awaiting_frontend_startup = false;
        let message = PgWireBackendMessage::decode(out, &context).unwrap().unwrap();
        assert!(out.is_empty(), "one message, whole");
        message
    }

    #[test]
    fn error_carries_every_field_of_the_fault() {
        let mut out = BytesMut::new();
        let fault = Fault::unsupported("no\0t so", "why", "How.").position(7);
        error(&mut out, &fault);
        let fields = ErrorFields::parse(&out[5..]);
        assert_eq!(fields.severity, "ERROR");
        assert_eq!(fields.code, SqlState::FEATURE_NOT_SUPPORTED);
        assert_eq!(fields.message, "not so");
        assert_eq!(fields.detail.as_deref(), Some("why"));
        assert_eq!(fields.hint.as_deref(), Some("How."));
        assert_eq!(fields.position, Some(7));
        let PgWireBackendMessage::ErrorResponse(message) = decode(&mut out) else { panic!("not an error") };
        assert_eq!(message.fields.len(), 7);
    }

    #[test]
    fn error_of_a_huge_text_is_cut_and_still_told() {
        let mut out = BytesMut::new();
        error(&mut out, &Fault::new(SqlState::INTERNAL_ERROR, "x".repeat(10 << 20)));
        assert!(out.len() < 2 * MAX_ERROR_TEXT);
        assert_eq!(ErrorFields::parse(&out[5..]).message.len(), MAX_ERROR_TEXT);
    }

    #[test]
    fn rows_and_their_description_read_back() {
        let mut out = BytesMut::new();
        let mut column = Column::text("id", 23, 4);
        (column.table_oid, column.attnum, column.format) = (u32::MAX, 3, 1);
        row_description(&mut out, &[column, Column::text("name", 25, -1)]).unwrap();
        let PgWireBackendMessage::RowDescription(message) = decode(&mut out) else { panic!("not a description") };
        assert_eq!(message.fields[0].table_id, -1);
        assert_eq!((message.fields[0].column_id, message.fields[0].format_code), (3, 1));
        assert_eq!((message.fields[1].name.as_str(), message.fields[1].type_id), ("name", 25));

        data_row(&mut out, [Some(&b"7"[..]), None, Some(&b""[..])]).unwrap();
        assert_eq!(&out[..], b"D\0\0\0\x13\0\x03\0\0\0\x017\xff\xff\xff\xff\0\0\0\0");
    }

    #[test]
    fn short_frames_read_back() {
        let mut out = BytesMut::new();
        ready_for_query(&mut out, Status::Failed);
        assert!(matches!(decode(&mut out), PgWireBackendMessage::ReadyForQuery(_)));
        command_complete(&mut out, "SELECT 3").unwrap();
        assert!(matches!(decode(&mut out), PgWireBackendMessage::CommandComplete(m) if m.tag == "SELECT 3"));
        parameter_status(&mut out, "TimeZone", "UTC").unwrap();
        assert!(matches!(decode(&mut out), PgWireBackendMessage::ParameterStatus(m) if m.value == "UTC"));
        backend_key_data(&mut out, 7, &[1; 32]).unwrap();
        assert!(matches!(decode(&mut out), PgWireBackendMessage::BackendKeyData(m) if m.pid == 7));
        parameter_description(&mut out, &[23, 25]).unwrap();
        assert!(matches!(decode(&mut out), PgWireBackendMessage::ParameterDescription(m) if m.types == [23, 25]));
        copy_in_response(&mut out, true, 2).unwrap();
        assert!(matches!(decode(&mut out), PgWireBackendMessage::CopyInResponse(m) if m.column_formats == [1, 1]));
        copy_out_response(&mut out, false, 1).unwrap();
        assert!(matches!(decode(&mut out), PgWireBackendMessage::CopyOutResponse(m) if m.column_formats == [0]));
        notification(&mut out, 1, "c", "p").unwrap();
        assert!(matches!(decode(&mut out), PgWireBackendMessage::NotificationResponse(m) if m.payload == "p"));
        let constants =
            [PARSE_COMPLETE, BIND_COMPLETE, CLOSE_COMPLETE, NO_DATA, PORTAL_SUSPENDED, EMPTY_QUERY, COPY_DONE];
        for constant in constants {
            out.put_slice(constant);
            decode(&mut out);
        }
        out.put_slice(AUTHENTICATION_OK);
        assert!(matches!(decode(&mut out), PgWireBackendMessage::Authentication(Authentication::Ok)));
    }

    #[test]
    fn authentication_requests_have_postgres_layout() {
        let mut out = BytesMut::new();
        authentication(&mut out, AuthenticationRequest::Md5Password { salt: [1, 2, 3, 4] });
        assert_eq!(&out[..], b"R\0\0\0\x0c\0\0\0\x05\x01\x02\x03\x04");
        out.clear();
        authentication(&mut out, AuthenticationRequest::Sasl { mechanisms: &["A", "B"] });
        assert_eq!(&out[..], b"R\0\0\0\x0d\0\0\0\x0aA\0B\0\0");
        out.clear();
        authentication(&mut out, AuthenticationRequest::SaslContinue(b"r=x"));
        assert_eq!(&out[..], b"R\0\0\0\x0b\0\0\0\x0br=x");
        out.clear();
        authentication(&mut out, AuthenticationRequest::CleartextPassword);
        assert_eq!(&out[..], b"R\0\0\0\x08\0\0\0\x03");
    }

    #[test]
    fn too_many_columns_are_refused() {
        let mut out = BytesMut::new();
        let values: Vec<Option<&[u8]>> = vec![None; 65536];
        assert_eq!(data_row(&mut out, values).unwrap_err().code, SqlState::PROGRAM_LIMIT_EXCEEDED);
        assert!(out.is_empty());
    }
}

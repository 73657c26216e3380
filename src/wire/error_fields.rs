//! `ErrorFields`: what a server said in an ErrorResponse or NoticeResponse. The server is not trusted: any bytes parse.

#![deny(clippy::as_conversions, clippy::indexing_slicing, clippy::unwrap_used)]

use bytes::{BufMut, BytesMut};

use crate::fault::{Blame, Fault, SqlState};
use crate::wire::frame::{Frame, HEADER};

/// A text of a server's error is cut here, in bytes: it is kept in memory and told to a client.
const MAX_TEXT: usize = 64 * 1024;

/// The fields of an ErrorResponse. What is missing or malformed has Postgres's neutral value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorFields {
    /// Not localized (`V`) where the server sent that, else as it was sent (`S`).
    pub severity: String,
    /// XX000 where the server sent none or no SQLSTATE.
    pub code: SqlState,
    pub message: String,
    pub detail: Option<String>,
    pub hint: Option<String>,
    /// In characters from 1.
    pub position: Option<u32>,
    pub schema: Option<String>,
    pub table: Option<String>,
    pub column: Option<String>,
    pub data_type: Option<String>,
    pub constraint: Option<String>,
}

impl ErrorFields {
    /// Reads the body of the frame, without its tag and length. A truncated body gives the fields before the cut.
    pub fn parse(body: &[u8]) -> Self {
        let mut fields = Self {
            severity: String::from("ERROR"),
            code: SqlState::INTERNAL_ERROR,
            message: String::new(),
            detail: None,
            hint: None,
            position: None,
            schema: None,
            table: None,
            column: None,
            data_type: None,
            constraint: None,
        };
        let mut unlocalized = false;
        for (field, raw) in iter(body) {
            match field {
                b'S' if !unlocalized => fields.severity = text(raw),
                b'V' => {
                    unlocalized = true;
                    fields.severity = text(raw);
                }
                b'C' => fields.code = sqlstate(raw),
                b'M' => fields.message = text(raw),
                b'D' => fields.detail = Some(text(raw)),
                b'H' => fields.hint = Some(text(raw)),
                b'P' => fields.position = std::str::from_utf8(raw).ok().and_then(|digits| digits.parse().ok()),
                b's' => fields.schema = Some(text(raw)),
                b't' => fields.table = Some(text(raw)),
                b'c' => fields.column = Some(text(raw)),
                b'd' => fields.data_type = Some(text(raw)),
                b'n' => fields.constraint = Some(text(raw)),
                _ => {}
            }
        }
        fields
    }

    /// The connection is gone after this error.
    pub fn ends_connection(&self) -> bool {
        self.severity == "FATAL" || self.severity == "PANIC"
    }

    /// The same error as a fault of the server, for a client whose session goes on.
    pub fn into_fault(self) -> Fault {
        let message = if self.message.is_empty() { String::from("missing error text") } else { self.message };
        let mut fault = Fault::new(self.code, message).blame(Blame::Server);
        if let Some(detail) = self.detail {
            fault = fault.detail(detail);
        }
        if let Some(hint) = self.hint {
            fault = fault.hint(hint);
        }
        if let Some(position) = self.position {
            fault = fault.position(position);
        }
        let about = [
            (b's', self.schema),
            (b't', self.table),
            (b'c', self.column),
            (b'd', self.data_type),
            (b'n', self.constraint),
        ];
        let about = about.into_iter().filter_map(|(field, name)| Some((field, name?)));
        about.fold(fault, |fault, (field, name)| fault.about(field, name))
    }
}

/// Whether the error says that a prepared statement would return other columns now, in whatever language it says so.
pub fn is_changed_plan(body: &[u8]) -> bool {
    let has = |field: u8, text: &[u8]| iter(body).any(|(f, value)| f == field && value == text);
    has(b'C', b"0A000") && has(b'R', b"RevalidateCachedQuery")
}

/// Whether the notice says that a wait for synchronous standbys was ended, in whatever language it says so.
pub fn is_unreplicated(body: &[u8]) -> bool {
    iter(body).any(|(field, value)| field == b'R' && value == b"SyncRepWaitForLSN")
}

/// Whether the connection is gone after this error, without keeping its texts.
pub fn is_fatal(body: &[u8]) -> bool {
    let severity = |wanted: u8| iter(body).find(|(field, _)| *field == wanted).map(|(_, value)| value);
    // V is the same word in every language.
    matches!(severity(b'V').or_else(|| severity(b'S')), Some(b"FATAL" | b"PANIC"))
}

/// The fields in the order in which they were sent. Ends at the terminator, or where the body is cut.
pub fn iter(body: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut rest = body;
    std::iter::from_fn(move || {
        let (&field, tail) = rest.split_first().filter(|(field, _)| **field != 0)?;
        let end = memchr::memchr(0, tail)?;
        let (raw, tail) = tail.split_at(end);
        rest = tail.get(1..)?;
        Some((field, raw))
    })
}

/// The error with another CONTEXT, if it has one; without it where that is empty then.
pub fn with_context(frame: &Frame, change: impl Fn(&[u8]) -> Vec<u8>) -> Frame {
    with_field(frame, b'W', change)
}

/// With another text in the place of a field; of an empty one nothing is left.
pub fn with_field(frame: &Frame, which: u8, change: impl Fn(&[u8]) -> Vec<u8>) -> Frame {
    let mut out = BytesMut::with_capacity(frame.bytes.len());
    out.extend_from_slice(&[frame.tag, 0, 0, 0, 0]);
    for (field, value) in iter(frame.body()) {
        let changed = (field == which).then(|| change(value));
        let value = changed.as_deref().unwrap_or(value);
        if field != which || !value.is_empty() {
            out.put_u8(field);
            out.extend_from_slice(value);
            out.put_u8(0);
        }
    }
    out.put_u8(0);
    let length = u32::try_from(out.len() - 1).unwrap_or(u32::MAX);
    if let Some(place) = out.get_mut(1..HEADER) {
        place.copy_from_slice(&length.to_be_bytes());
    }
    Frame { tag: frame.tag, bytes: out.freeze() }
}

/// The SQLSTATE of an error, without keeping its texts.
pub fn code(body: &[u8]) -> SqlState {
    iter(body).filter(|(field, _)| *field == b'C').last().map_or(SqlState::INTERNAL_ERROR, |(_, raw)| sqlstate(raw))
}

/// Where in the statement's text it is: a character of it, from 1.
pub fn position(body: &[u8]) -> Option<u32> {
    let (_, raw) = iter(body).find(|(field, _)| *field == b'P')?;
    std::str::from_utf8(raw).ok()?.parse().ok()
}

fn sqlstate(raw: &[u8]) -> SqlState {
    match <[u8; 5]>::try_from(raw) {
        Ok(code) if code.iter().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit()) => SqlState(code),
        _ => SqlState::INTERNAL_ERROR,
    }
}

fn text(raw: &[u8]) -> String {
    String::from_utf8_lossy(raw.get(..MAX_TEXT).unwrap_or(raw)).into_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn error_without_a_code_is_internal() {
        let fields = ErrorFields::parse(b"SFATAL\0Mgone\0\0");
        assert_eq!((fields.code, fields.message.as_str()), (SqlState::INTERNAL_ERROR, "gone"));
        assert!(fields.ends_connection());
        assert_eq!(ErrorFields::parse(b"C\0\0").code, SqlState::INTERNAL_ERROR);
        assert_eq!(ErrorFields::parse(b"Cab\"'x\0\0").code, SqlState::INTERNAL_ERROR);
    }

    #[test]
    fn unlocalized_severity_wins_in_any_order() {
        assert_eq!(ErrorFields::parse(b"SFEHLER\0VERROR\0\0").severity, "ERROR");
        assert_eq!(ErrorFields::parse(b"VERROR\0SFEHLER\0\0").severity, "ERROR");
        assert_eq!(ErrorFields::parse(b"SFATAL\0\0").severity, "FATAL");
    }

    #[test]
    fn truncated_body_gives_the_fields_before_the_cut() {
        let fields = ErrorFields::parse(b"SERROR\0C57014\0Mcanc");
        assert_eq!((fields.code, fields.message.as_str()), (SqlState::QUERY_CANCELED, ""));
        assert_eq!(code(b"SERROR\0C57014"), SqlState::INTERNAL_ERROR);
        assert_eq!(code(b"SERROR\0C57014\0"), SqlState::QUERY_CANCELED);
    }

    #[test]
    fn fault_of_a_server_keeps_code_and_texts() {
        let fault = ErrorFields::parse(b"C23505\0Mdup\0DKey\0HDo.\0P12\0npk\0\0").into_fault();
        assert_eq!((fault.code.as_str(), &*fault.message, fault.position), ("23505", "dup", Some(12)));
        assert_eq!((fault.detail.as_deref(), fault.hint.as_deref()), (Some("Key"), Some("Do.")));
        assert_eq!(fault.blame, Blame::Server);
    }

    proptest! {
        #[test]
        fn any_body_parses(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(ErrorFields::parse(&body).code, code(&body));
        }

        #[test]
        fn any_fields_parse(fields in proptest::collection::vec("[SVCMDHP][^\\x00]{0,6}\\x00", 0..9)) {
            let body = fields.concat().into_bytes();
            prop_assert_eq!(ErrorFields::parse(&body).code, code(&body));
            prop_assert_eq!(iter(&body).count(), fields.len());
        }
    }
}

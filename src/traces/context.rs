//! PURE. `Context`: the W3C trace context that an application writes into a comment of its statement (sqlcommenter).

use std::fmt::Write;

use memchr::memmem;

const FIELD: &str = "traceparent='";

/// A span of a trace, as it is told to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context {
    pub trace: [u8; 16],
    pub span: [u8; 8],
    pub sampled: bool,
}

impl Context {
    /// `00-<32 digits>-<16 digits>-<2 digits>`. Later versions may have more behind that; version `ff` and zeros are none.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let version: [u8; 1] = bytes(version)?;
        if version == [0xff] || version == [0] && parts.next().is_some() {
            return None;
        }
        let (trace, span, [flags]) = (bytes(trace)?, bytes(span)?, bytes(flags)?);
        let known = trace != [0; 16] && span != [0; 8];
        known.then_some(Self { trace, span, sampled: flags & 1 == 1 })
    }

    /// As a comment behind a statement.
    pub fn comment(&self) -> String {
        let mut text = String::with_capacity(75);
        text.push_str(" /*");
        text.push_str(FIELD);
        text.push_str("00-");
        let hex = |text: &mut String, bytes: &[u8]| {
            for byte in bytes {
                let _ = write!(text, "{byte:02x}");
            }
        };
        hex(&mut text, &self.trace);
        text.push('-');
        hex(&mut text, &self.span);
        text.push_str(if self.sampled { "-01'*/" } else { "-00'*/" });
        text
    }
}

/// Of lower-case hexadecimal digits, as the standard wants them.
fn bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != 2 * N || !text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    let mut found = [0; N];
    for (at, byte) in found.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(found)
}

/// The context in a comment of a statement. The last one counts: it was added last.
pub fn of_comment(sql: &str) -> Option<Context> {
    let at = memmem::rfind(sql.as_bytes(), FIELD.as_bytes())?;
    let before = sql.get(..at)?;
    // A string cannot hold this: its quotes are doubled.
    let open = before.rfind("/*")?;
    if before.get(open..)?.contains("*/") {
        return None;
    }
    let value = sql.get(at + FIELD.len()..)?;
    Context::parse(value.get(..value.find('\'')?)?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_context_is_found_in_comments_alone() {
        let context = Context::parse(PARENT).unwrap();
        assert!(context.sampled && context.trace[0] == 0x0a && context.span[7] == 0x31);
        assert_eq!(context.comment(), format!(" /*traceparent='{PARENT}'*/"));
        for sql in [
            format!("SELECT 1 /*traceparent='{PARENT}'*/"),
            format!("/*action='a',traceparent='{PARENT}',tracestate='b%3Dc'*/ SELECT 1;"),
            format!("SELECT 1 /* old */ /*traceparent='{PARENT}'*/"),
        ] {
            assert_eq!(of_comment(&sql), Some(context), "{sql}");
        }
        for sql in [
            "SELECT 1".to_owned(),
            format!("SELECT traceparent='{PARENT}'"),
            format!("/* a */ SELECT traceparent='{PARENT}'"),
            "SELECT 1 /*traceparent='soon'*/".to_owned(),
            "SELECT 1 /*traceparent='00-0af7651916cd43dd8448eb211c80319c".to_owned(),
        ] {
            assert_eq!(of_comment(&sql), None, "{sql}");
        }
    }

    #[test]
    fn what_is_no_context_is_none() {
        for text in [
            "",
            "00",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b716920333-01",
            "00-0af7651916cd43dd8448eb211c80319ä-b7ad6b7169203331-01",
        ] {
            assert_eq!(Context::parse(text), None, "{text}");
        }
        assert!(!Context::parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00").unwrap().sampled);
        // A later version is read as far as it is known.
        assert!(Context::parse("01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more").is_some());
    }
}

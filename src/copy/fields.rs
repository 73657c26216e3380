//! The key fields of one line (Postgres: `CopyReadAttributesText`, `CopyReadAttributesCSV`), decoded; the others skipped.

use std::borrow::Cow;

use memchr::{memchr, memchr_iter, memchr2, memchr2_iter};
use smallvec::SmallVec;

use super::KeyField;
use crate::sql::template::says_moment;

/// A field that is wanted: its position in the row, and the CSV options that name its column.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted {
    pub position: usize,
    pub force_not_null: bool,
    pub force_null: bool,
}

#[derive(Clone, Debug)]
pub(super) enum Syntax {
    Text { delimiter: u8, null: Box<[u8]> },
    Csv { delimiter: u8, quote: u8, escape: u8, null: Box<[u8]> },
}

/// One line without its newline.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'a> {
    /// In it each byte below 128 is ASCII.
    pub text: &'a [u8],
    /// It has a backslash (text) or a quote (CSV) somewhere.
    pub special: bool,
    /// As it was sent, in another encoding.
    pub encoded: Option<&'a [u8]>,
}

/// Reads key fields that were converted into the database's encoding.
#[derive(Clone, Debug)]
pub struct FieldReader {
    pub(super) syntax: Syntax,
    pub(super) wanted: Vec<Wanted>,
}

impl FieldReader {
    /// The value of the key field of this number, from its text as it stands in the row.
    pub fn read(&self, nth: usize, text: &str) -> KeyField<'static> {
        let Some(wanted) = self.wanted.get(nth) else { return KeyField::Missing };
        let sign = match self.syntax {
            Syntax::Text { .. } => b'\\',
            Syntax::Csv { quote, .. } => quote,
        };
        let raw = Raw { bytes: text.as_bytes(), special: memchr(sign, text.as_bytes()).is_some() };
        match self.syntax.value(&raw, wanted) {
            KeyField::Value(value) => KeyField::Value(Cow::Owned(value.into_owned())),
            KeyField::Null => KeyField::Null,
            KeyField::Encoded(_) | KeyField::Missing => KeyField::Missing,
        }
    }
}

/// A field as it stands in the line.
struct Raw<'a> {
    bytes: &'a [u8],
    /// Has a backslash (text), or a quote (CSV).
    special: bool,
}

impl Syntax {
    pub fn keys<'a>(&self, line: Line<'a>, wanted: &[Wanted]) -> SmallVec<[KeyField<'a>; 2]> {
        // One is the usual number.
        if let [only] = wanted {
            let mut keys = SmallVec::new();
            keys.push(self.key(line, only));
            return keys;
        }
        let mut keys: SmallVec<[KeyField<'a>; 2]> = wanted.iter().map(|_| KeyField::Missing).collect();
        let Some(last) = wanted.iter().map(|wanted| wanted.position).max() else { return keys };
        let mut rest = Some(line.text);
        for position in 0..=last {
            let Some(bytes) = rest else { break };
            let Some((raw, behind)) = self.split(bytes, line.special) else { break };
            for (key, wanted) in keys.iter_mut().zip(wanted).filter(|(_, wanted)| wanted.position == position) {
                *key = self.read(line, line.text.len() - bytes.len(), &raw, wanted);
            }
            rest = behind;
        }
        keys
    }

    fn key<'a>(&self, line: Line<'a>, wanted: &Wanted) -> KeyField<'a> {
        let mut rest = line.text;
        for _ in 0..wanted.position {
            let Some((_, Some(behind))) = self.split(rest, line.special) else { return KeyField::Missing };
            rest = behind;
        }
        match self.split(rest, line.special) {
            Some((raw, _)) => self.read(line, line.text.len() - rest.len(), &raw, wanted),
            None => KeyField::Missing,
        }
    }

    /// A field of the line that begins at `start`.
    fn read<'a>(&self, line: Line<'a>, start: usize, raw: &Raw<'a>, wanted: &Wanted) -> KeyField<'a> {
        match line.encoded {
            Some(encoded) if !raw.bytes.is_ascii() => {
                let sent = encoded.get(start..start + raw.bytes.len());
                sent.map_or(KeyField::Missing, |sent| KeyField::Encoded(Cow::Borrowed(sent)))
            }
            // Escapes are bytes of the database's encoding.
            Some(_) | None => self.value(raw, wanted),
        }
    }

    /// The first of these fields that has a word in it by which a Postgres reads the clock: which it is, and its value.
    pub fn moment<'a>(&self, line: Line<'a>, times: &[Wanted]) -> Option<(usize, KeyField<'a>)> {
        if !may_say_moment(line.text) && !(line.special && self.hides(line.text)) {
            return None;
        }
        let mut fields = self.keys(Line { encoded: None, ..line }, times).into_iter().enumerate();
        fields.find(|(_, field)| matches!(field, KeyField::Value(text) if says_moment(text)))
    }

    /// Whether words of a special line can be written otherwise than they are meant.
    fn hides(&self, line: &[u8]) -> bool {
        match self {
            // `\N` is none.
            Syntax::Text { .. } => memchr_iter(b'\\', line).any(|at| line.get(at + 1) != Some(&b'N')),
            Syntax::Csv { .. } => true,
        }
    }

    /// The first field, and what is behind its delimiter. `None`: a quote that does not end.
    fn split<'a>(&self, bytes: &'a [u8], special: bool) -> Option<(Raw<'a>, Option<&'a [u8]>)> {
        let (delimiter, quoting) = match self {
            Syntax::Text { delimiter, .. } => (*delimiter, None),
            Syntax::Csv { delimiter, quote, escape, .. } => (*delimiter, Some((*quote, *escape))),
        };
        if !special {
            let end = memchr(delimiter, bytes);
            let raw = Raw { bytes: bytes.get(..end.unwrap_or(bytes.len()))?, special: false };
            return Some((raw, end.and_then(|end| bytes.get(end + 1..))));
        }
        let mut at = 0;
        let mut special = false;
        loop {
            let rest = bytes.get(at..).unwrap_or_default();
            let Some(found) = memchr2(delimiter, quoting.map_or(b'\\', |(quote, _)| quote), rest) else {
                return Some((Raw { bytes, special }, None));
            };
            at += found;
            if rest.get(found) == Some(&delimiter) {
                return Some((Raw { bytes: bytes.get(..at)?, special }, bytes.get(at + 1..)));
            }
            special = true;
            at = match quoting {
                None => at + 2,
                Some((quote, escape)) => quote_end(bytes, at + 1, quote, escape)?,
            };
        }
    }

    fn value<'a>(&self, raw: &Raw<'a>, wanted: &Wanted) -> KeyField<'a> {
        match self {
            Syntax::Text { null, .. } => {
                // A backslash that ends the data is not part of what is compared.
                let compared = if ends_in_lone_backslash(raw) { raw.bytes.split_last().map(|(_, b)| b) } else { None };
                if compared.unwrap_or(raw.bytes) == &**null {
                    KeyField::Null
                } else if raw.special {
                    KeyField::Value(Cow::Owned(unescape(raw.bytes)))
                } else {
                    KeyField::Value(Cow::Borrowed(raw.bytes))
                }
            }
            Syntax::Csv { quote, escape, null, .. } => {
                let value: Cow<'a, [u8]> = if raw.special {
                    Cow::Owned(unquote(raw.bytes, *quote, *escape))
                } else {
                    Cow::Borrowed(raw.bytes)
                };
                // Quoted, the marker is a value, unless the column is forced to NULL; forced to be a value, it is the marker.
                let null = *value == **null && if raw.special { wanted.force_null } else { !wanted.force_not_null };
                if null { KeyField::Null } else { KeyField::Value(value) }
            }
        }
    }
}

/// Whether there can be one of `now`, `today`, `tomorrow`, `yesterday` in it: a quick look at every line.
fn may_say_moment(line: &[u8]) -> bool {
    let ends = |at: usize, end: &[u8]| {
        let before = at.checked_sub(end.len()).and_then(|start| line.get(start..at));
        before.is_some_and(|before| before.eq_ignore_ascii_case(end))
    };
    memchr2_iter(b'w', b'W', line).any(|at| ends(at, b"o")) || memchr2_iter(b'y', b'Y', line).any(|at| ends(at, b"da"))
}

fn ends_in_lone_backslash(raw: &Raw<'_>) -> bool {
    raw.special && raw.bytes.iter().rev().take_while(|b| **b == b'\\').count() % 2 == 1
}

/// Behind an opening quote: where the quoted part ends, its closing quote included.
fn quote_end(bytes: &[u8], mut at: usize, quote: u8, escape: u8) -> Option<usize> {
    loop {
        let rest = bytes.get(at..)?;
        at += memchr2(quote, escape, rest)?;
        let byte = bytes.get(at);
        let next = bytes.get(at + 1);
        if byte == Some(&escape) && (next == Some(&escape) || next == Some(&quote)) {
            at += 2;
        } else if byte == Some(&quote) {
            return Some(at + 1);
        } else {
            at += 1;
        }
    }
}

fn unquote(bytes: &[u8], quote: u8, escape: u8) -> Vec<u8> {
    let mut value = Vec::with_capacity(bytes.len());
    let mut quoted = false;
    let mut bytes = bytes.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        if quoted
            && byte == escape
            && let Some(next) = bytes.next_if(|next| *next == escape || *next == quote)
        {
            value.push(next);
            continue;
        }
        if byte == quote {
            quoted = !quoted;
        } else {
            value.push(byte);
        }
    }
    value
}

fn unescape(bytes: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(bytes.len());
    let mut bytes = bytes.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            value.push(byte);
            continue;
        }
        // A backslash that ends the data is dropped.
        let Some(byte) = bytes.next() else { break };
        let mut digits = |most: usize, radix: u32, first: Option<u32>| {
            let mut number = first;
            let mut count = usize::from(first.is_some());
            while count < most {
                let Some(digit) = bytes.next_if(|b| char::from(*b).is_digit(radix)) else { break };
                number = Some(number.unwrap_or(0) * radix + char::from(digit).to_digit(radix).unwrap_or(0));
                count += 1;
            }
            number
        };
        value.push(match byte {
            b'0'..=b'7' => (digits(3, 8, Some(u32::from(byte - b'0'))).unwrap_or(0) & 0xff) as u8,
            b'x' => digits(2, 16, None).map_or(b'x', |number| number as u8),
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'v' => 0x0b,
            other => other,
        });
    }
    value
}

//! Cuts the literals out of a statement: the template is what repeats, the slots are what differs from call to call.

use std::borrow::Cow;

use smallvec::SmallVec;

use crate::sql::lexer::{self, Boundary, Lexer, TokenKind};

pub use crate::sql::lexer::ScanError;

/// What a literal looks like. Its kind is part of the template, its text is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SlotKind {
    /// Decimal digits only.
    Integer,
    /// Any other number: `1.5`, `1e3`, `1_000`, `0x1F`.
    Number,
    /// `'...'`
    String,
    /// `E'...'`
    EscapeString,
    /// `$tag$...$tag$`
    DollarString,
    /// `B'..'`, `X'..'`, `N'..'`, `U&'..'`: the template keeps the letters before the quote.
    Other,
}

impl SlotKind {
    /// The byte that stands for such a literal in a template. No token has it: outside quotes it is no SQL.
    pub fn mark(self) -> u8 {
        match self {
            SlotKind::Integer => 1,
            SlotKind::Number => 2,
            SlotKind::String => 3,
            SlotKind::EscapeString => 4,
            SlotKind::DollarString => 5,
            SlotKind::Other => 6,
        }
    }
}

/// One literal: its kind and its bytes in the statement's text (quotes and prefix included).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    pub kind: SlotKind,
    pub start: u32,
    pub end: u32,
}

impl Slot {
    /// The literal as written.
    pub fn text<'a>(&self, text: &'a str) -> &'a str {
        text.get(self.start as usize..self.end as usize).unwrap_or_default()
    }
}

/// The result of one scan; kept by the session and reused, so that a scan allocates nothing in steady state.
#[derive(Clone, Debug, Default)]
pub struct Scan {
    /// The first non-empty statement with each literal replaced by a mark of its kind, comments and runs of blanks by one
    /// blank. Equal templates have equal tokens, literals of equal kinds set aside. Empty: there is no statement.
    pub template: Vec<u8>,
    /// The literals, in order.
    pub slots: SmallVec<[Slot; 16]>,
    /// Where a second, non-empty statement starts.
    pub next_statement: Option<usize>,
    /// Where the first statement begins, leading blanks, comments and `;` left out.
    pub start: usize,
    /// Where the first statement ends (before its `;`), trailing blanks and comments left out.
    pub end: usize,
    /// The first `/* ... */` comment before the first word, where hints can stand: its bytes.
    pub leading_comment: Option<(u32, u32)>,
    /// Its literals are part of what is made of the text: it stands for another one, whose literals have other places.
    pub fixed: bool,
}

/// What stands for a text like `now` in a template: read as a time it is another one at each moment, so that no analysis of other texts
/// holds for it.
const MOMENT: u8 = 7;
/// The same for one that is nothing but such a text ([`is_moment`]).
const MOMENT_ALONE: u8 = 8;
/// Longest literal that can be such a text, in bytes that are no blanks, of which Postgres takes any number around it.
const LONGEST_MOMENT: usize = 72;
/// Words that can stand beside those of a moment: zones, and what they are said with.
const BESIDE_MOMENT: [&str; 19] = [
    "at", "utc", "gmt", "ut", "z", "zulu", "allballs", "est", "edt", "cst", "cdt", "mst", "mdt", "pst", "pdt", "cet",
    "cest", "bst", "msk",
];

fn is_moment_word(word: &[u8]) -> bool {
    match word.len() {
        3 => word.eq_ignore_ascii_case(b"now"),
        5 => word.eq_ignore_ascii_case(b"today"),
        8 => word.eq_ignore_ascii_case(b"tomorrow"),
        9 => word.eq_ignore_ascii_case(b"yesterday"),
        _ => false,
    }
}

fn words_of(literal: &[u8]) -> impl Iterator<Item = &[u8]> {
    let is_long = literal.len() > LONGEST_MOMENT
        && literal.iter().filter(|byte| !byte.is_ascii_whitespace()).nth(LONGEST_MOMENT).is_some();
    let literal = if is_long { &[][..] } else { literal };
    literal.split(|byte| !byte.is_ascii_alphabetic()).filter(|word| !word.is_empty())
}

/// Whether a literal has a word in it by which Postgres reads the clock where it reads a time.
pub(crate) fn says_moment(literal: &[u8]) -> bool {
    words_of(literal).any(is_moment_word)
}

/// Whether a text is nothing but a moment: where its type shows from what is around it, it is taken for a time.
pub(crate) fn is_moment(text: &[u8]) -> bool {
    let is_beside = |word: &[u8]| BESIDE_MOMENT.iter().any(|known| word.eq_ignore_ascii_case(known.as_bytes()));
    says_moment(text) && words_of(text).all(|word| is_moment_word(word) || is_beside(word))
}

/// What a string that says a moment has as its mark; `None`: it says none. `literal` with its quotes.
pub(crate) fn moment_mark(literal: &[u8], kind: SlotKind) -> Option<u8> {
    let is_hidden = match kind {
        SlotKind::String => memchr::memchr(b'\n', literal).is_some(),
        SlotKind::EscapeString => memchr::memchr(b'\\', literal).is_some(),
        SlotKind::DollarString => false,
        SlotKind::Integer | SlotKind::Number | SlotKind::Other => return None,
    };
    if !is_hidden && !says_moment(literal) {
        return None;
    }
    let text = std::str::from_utf8(literal).ok()?;
    let whole = Slot { kind, start: 0, end: u32::try_from(literal.len()).ok()? };
    // What is not read with certainty may say one.
    let Some(value) = string_value(text, &whole) else { return Some(MOMENT) };
    match value.as_bytes() {
        value if is_moment(value) => Some(MOMENT_ALONE),
        value if says_moment(value) => Some(MOMENT),
        _ => None,
    }
}

/// What a [`Scan`] keeps allocated between statements, in bytes and in slots.
const KEPT_TEMPLATE: usize = 64 * 1024;
const KEPT_SLOTS: usize = 4 * 1024;

impl Scan {
    fn clear(&mut self) {
        self.template.clear();
        self.template.shrink_to(KEPT_TEMPLATE);
        self.slots.clear();
        if self.slots.capacity() > KEPT_SLOTS {
            self.slots = SmallVec::new();
        }
        self.next_statement = None;
        self.start = 0;
        self.end = 0;
        self.leading_comment = None;
    }
}

/// Scans the first statement of `text` into `out` (what it held before is dropped).
///
/// `standard_strings`: the session's `standard_conforming_strings`. After an error `out` is empty: the beginning of a text that
/// could not be read must never be taken for a statement.
pub fn scan(text: &str, standard_strings: bool, out: &mut Scan) -> Result<(), ScanError> {
    out.clear();
    if u32::try_from(text.len()).is_err() {
        return Err(ScanError::NotUnderstood);
    }
    let scanned = scan_into(text, standard_strings, out);
    if scanned.is_err() {
        out.clear();
    }
    scanned
}

#[inline]
fn scan_into(text: &str, standard_strings: bool, out: &mut Scan) -> Result<(), ScanError> {
    let bytes = text.as_bytes();
    let slice = |from: usize, to: usize| bytes.get(from..to).unwrap_or_default();
    let mut lexer = Lexer::new(text, standard_strings);
    loop {
        let comment = lexer.skip_blanks_noting()?;
        if out.leading_comment.is_none() {
            out.leading_comment = comment.map(|(start, end)| (start as u32, end as u32));
        }
        match bytes.get(lexer.at) {
            Some(b';') => lexer.at += 1,
            _ => break,
        }
    }
    out.start = lexer.at;
    out.end = lexer.at;
    let mut boundary = Boundary::new();
    // Bytes before this one are in the template, or left out of it.
    let mut copied = lexer.at;
    loop {
        let gap = lexer.at;
        let Some(token) = lexer.next()? else { break };
        if boundary.step(&token, bytes) {
            out.next_statement = next_statement(&mut lexer, bytes)?;
            break;
        }
        // One blank is copied with what is around it; any other gap becomes one.
        if gap != token.start && slice(gap, token.start) != b" " {
            out.template.extend_from_slice(slice(copied, gap));
            out.template.push(b' ');
            copied = token.start;
        }
        if let TokenKind::Literal(kind) = token.kind {
            let prefix = match kind {
                SlotKind::Other => slice(token.start, token.end).iter().take_while(|b| **b != b'\'').count(),
                _ => 0,
            };
            out.template.extend_from_slice(slice(copied, token.start + prefix));
            out.template.push(moment_mark(slice(token.start, token.end), kind).unwrap_or(kind.mark()));
            out.slots.push(Slot { kind, start: token.start as u32, end: token.end as u32 });
            copied = token.end;
        }
        out.end = token.end;
    }
    out.template.extend_from_slice(slice(copied, out.end));
    Ok(())
}

/// After the `;` of a statement: where the next one that is not empty begins.
fn next_statement(lexer: &mut Lexer<'_>, bytes: &[u8]) -> Result<Option<usize>, ScanError> {
    loop {
        lexer.skip_blanks()?;
        match bytes.get(lexer.at) {
            None => return Ok(None),
            Some(b';') => lexer.at += 1,
            Some(_) => return Ok(Some(lexer.at)),
        }
    }
}

/// The value of a string literal, as Postgres decodes it. `None`: not a string of the plain kinds (`U&'..'` and the
/// like), or one that Postgres rejects or reads differently between versions.
pub fn string_value<'a>(text: &'a str, slot: &Slot) -> Option<Cow<'a, str>> {
    let literal = text.get(slot.start as usize..slot.end as usize)?;
    match slot.kind {
        SlotKind::String => plain_value(literal),
        SlotKind::EscapeString => escape_value(literal.get(1..)?).map(Cow::Owned),
        SlotKind::DollarString => {
            let tag = literal.get(1..)?.find('$')? + 2;
            literal.get(tag..literal.len().checked_sub(tag)?).map(Cow::Borrowed)
        }
        SlotKind::Integer | SlotKind::Number | SlotKind::Other => None,
    }
}

/// The text of a decimal number, as `numeric_in` takes it. `None`: no number, or of PG 16's forms (`0x1F`, `1_000`).
pub fn number_text<'a>(text: &'a str, slot: &Slot) -> Option<&'a str> {
    let literal = text.get(slot.start as usize..slot.end as usize)?;
    let decimal = |b: u8| matches!(b, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-');
    match slot.kind {
        SlotKind::Integer => Some(literal),
        SlotKind::Number => literal.bytes().all(decimal).then_some(literal),
        _ => None,
    }
}

/// The segments between quotes of a `'...'` literal; `''` in them still doubled.
fn segments(literal: &str) -> impl Iterator<Item = &str> {
    let bytes = literal.as_bytes();
    let mut at = Some(1);
    std::iter::from_fn(move || {
        let start = at?;
        let mut end = start;
        loop {
            end += memchr::memchr(b'\'', bytes.get(end..)?)?;
            if bytes.get(end + 1) != Some(&b'\'') {
                break;
            }
            end += 2;
        }
        at = lexer::continuation(bytes, end + 1);
        literal.get(start..end)
    })
}

fn plain_value(literal: &str) -> Option<Cow<'_, str>> {
    let inner = literal.get(1..literal.len().checked_sub(1)?)?;
    if memchr::memchr(b'\'', inner.as_bytes()).is_none() {
        return Some(Cow::Borrowed(inner));
    }
    Some(Cow::Owned(segments(literal).map(|segment| segment.replace("''", "'")).collect()))
}

/// `literal` begins at the quote.
fn escape_value(literal: &str) -> Option<String> {
    let bytes = literal.as_bytes();
    let mut value = Vec::with_capacity(literal.len());
    let mut at = 1;
    loop {
        match *bytes.get(at)? {
            b'\'' if bytes.get(at + 1) == Some(&b'\'') => {
                value.push(b'\'');
                at += 2;
            }
            b'\'' => match lexer::continuation(bytes, at + 1) {
                Some(next) => at = next,
                None => break,
            },
            b'\\' => at = escape(bytes, at + 1, &mut value)?,
            other => {
                value.push(other);
                at += 1;
            }
        }
    }
    // Escapes name bytes: Postgres checks that they make text, and that none is zero.
    String::from_utf8(value).ok().filter(|value| !value.contains('\0'))
}

/// Decodes one escape, `at` behind the backslash; returns where it ends.
fn escape(bytes: &[u8], at: usize, value: &mut Vec<u8>) -> Option<usize> {
    let digits = |from: usize, most: usize, radix: u32| {
        let rest = bytes.get(from..).unwrap_or_default();
        let count = rest.iter().take(most).take_while(|b| char::from(**b).is_digit(radix)).count();
        let number = rest.iter().take(count).fold(0, |n, b| n * radix + char::from(*b).to_digit(radix).unwrap_or(0));
        (count, number)
    };
    let byte = *bytes.get(at)?;
    match byte {
        b'0'..=b'7' => {
            let (count, number) = digits(at, 3, 8);
            value.push((number & 0xff) as u8);
            Some(at + count)
        }
        b'x' => {
            let (count, number) = digits(at + 1, 2, 16);
            // `\x` without digits is an `x`.
            value.push(if count == 0 { b'x' } else { number as u8 });
            Some(at + 1 + count)
        }
        b'u' | b'U' => {
            let length = if byte == b'u' { 4 } else { 8 };
            let (count, first) = digits(at + 1, length, 16);
            let mut end = at + 1 + length;
            let mut code = first;
            if count < length {
                return None;
            }
            if (0xd800..0xdc00).contains(&first) {
                let length = match (bytes.get(end), bytes.get(end + 1)) {
                    (Some(b'\\'), Some(b'u')) => 4,
                    (Some(b'\\'), Some(b'U')) => 8,
                    _ => return None,
                };
                let (count, second) = digits(end + 2, length, 16);
                if count < length || !(0xdc00..0xe000).contains(&second) {
                    return None;
                }
                code = 0x10000 + ((first & 0x3ff) << 10) + (second & 0x3ff);
                end += 2 + length;
            }
            let mut buffer = [0; 4];
            value.extend_from_slice(char::from_u32(code)?.encode_utf8(&mut buffer).as_bytes());
            Some(end)
        }
        // Became an escape in PG 17; was the letter before.
        b'v' => None,
        _ => {
            value.push(match byte {
                b'b' => 0x08,
                b'f' => 0x0c,
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                other => other,
            });
            Some(at + 1)
        }
    }
}

#[cfg(test)]
mod tests;

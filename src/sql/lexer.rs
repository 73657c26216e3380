//! PostgreSQL's lexical rules (`scan.l`), and the only lexer here: text -> tokens. It decodes no value and allocates nothing.
//!
//! What differs between server versions is taken in the form that every version either reads the same or rejects:
//! the numbers of PG 16 (`0x1F`, `1_000`) are numbers, a number with letters behind it (`123abc`, two tokens up to PG 14)
//! is not understood.

use memchr::{memchr, memchr2};

use crate::sql::template::SlotKind;

/// Why a text has no tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScanError {
    /// No PostgreSQL can read it: a string, comment or quoted name that does not end, or a byte that begins no token.
    /// Any server words the error.
    Unterminated,
    /// What it means depends on the server's version or settings, so it is not read here.
    NotUnderstood,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenKind {
    /// Keyword or unquoted name.
    Word,
    /// `"name"`
    Quoted,
    /// `U&"name"`
    UnicodeQuoted,
    Literal(SlotKind),
    /// `$1`
    Parameter,
    /// A run of operator characters as Postgres cuts it; also `::`, `:=`, `..`.
    Operator,
    /// One of `( ) [ ] , ; : .`
    Punct(u8),
}

/// A token and its bytes in the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub kind: TokenKind,
    pub start: usize,
    pub end: usize,
}

impl Token {
    pub fn is(&self, punct: u8) -> bool {
        self.kind == TokenKind::Punct(punct)
    }
}

const BLANK: u8 = 1;
/// Can begin a name.
const START: u8 = 2;
/// Can stand inside a name.
const CONT: u8 = 4;
const DIGIT: u8 = 8;
const OPERATOR: u8 = 16;
const PUNCT: u8 = 32;
/// A letter that with a quote behind it begins a string: `b x n e u`.
const PREFIX: u8 = 64;
/// Can begin a comment.
const COMMENT: u8 = 128;

static CLASS: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0u8; 256];
    let mut i = 0;
    while i < 256 {
        let b = i as u8;
        table[i] = match b {
            b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c => BLANK,
            b'b' | b'B' | b'x' | b'X' | b'n' | b'N' | b'e' | b'E' | b'u' | b'U' => START | CONT | PREFIX,
            b'a'..=b'z' | b'A'..=b'Z' | b'_' | 0x80..=0xff => START | CONT,
            b'0'..=b'9' => DIGIT | CONT,
            b'$' => CONT,
            b'~' | b'!' | b'@' | b'#' | b'^' | b'&' | b'|' | b'`' | b'?' => OPERATOR,
            b'-' | b'/' => OPERATOR | COMMENT,
            b'+' | b'*' | b'%' | b'<' | b'>' | b'=' => OPERATOR,
            b'(' | b')' | b'[' | b']' | b',' | b';' | b':' | b'.' => PUNCT,
            _ => 0,
        };
        i += 1;
    }
    table
}

#[inline(always)]
fn class(byte: u8) -> u8 {
    CLASS[usize::from(byte)]
}

/// Walks over a text. `at` is where the next token or blank begins.
///
/// The functions below it take and return positions by value: kept in a register, the inner loops run twice as fast.
#[derive(Clone)]
pub(crate) struct Lexer<'a> {
    bytes: &'a [u8],
    pub at: usize,
    standard_strings: bool,
}

impl<'a> Lexer<'a> {
    /// `standard_strings`: the session's `standard_conforming_strings`.
    pub fn new(text: &'a str, standard_strings: bool) -> Self {
        Self { bytes: text.as_bytes(), at: 0, standard_strings }
    }

    /// Goes past blanks and comments.
    #[inline(always)]
    pub fn skip_blanks(&mut self) -> Result<(), ScanError> {
        self.at = skip_blanks(self.bytes, self.at)?;
        Ok(())
    }

    /// Like [`Self::skip_blanks`], and returns the bytes of the first `/* */` comment on the way.
    pub fn skip_blanks_noting(&mut self) -> Result<Option<(usize, usize)>, ScanError> {
        let mut first = None;
        loop {
            self.at = run(self.bytes, self.at, BLANK);
            if !at_comment(self.bytes, self.at) {
                return Ok(first);
            }
            let start = self.at;
            self.at = skip_comment(self.bytes, start)?;
            if first.is_none() && self.bytes.get(start) == Some(&b'/') {
                first = Some((start, self.at));
            }
        }
    }

    /// The next token after blanks and comments; `None` at the end.
    #[inline(always)]
    pub fn next(&mut self) -> Result<Option<Token>, ScanError> {
        let start = skip_blanks(self.bytes, self.at)?;
        self.at = start;
        if start >= self.bytes.len() {
            return Ok(None);
        }
        let (kind, end) = token(self.bytes, start, self.standard_strings)?;
        self.at = end;
        Ok(Some(Token { kind, start, end }))
    }

    /// The same, where a plain string with backslashes is read as the setting says: where that is off they escape what follows.
    pub fn next_as_set(&mut self) -> Result<Option<Token>, ScanError> {
        let start = skip_blanks(self.bytes, self.at)?;
        let letter = self.bytes.get(start).map(u8::to_ascii_lowercase);
        let (kind, quote) = match (letter, self.bytes.get(start + 1)) {
            (Some(b'\''), _) if !self.standard_strings => (SlotKind::String, start),
            (Some(b'n'), Some(b'\'')) if !self.standard_strings => (SlotKind::Other, start + 1),
            _ => return self.next(),
        };
        let end = escape_string(self.bytes, quote)?;
        self.at = end;
        Ok(Some(Token { kind: TokenKind::Literal(kind), start, end }))
    }
}

/// What a text says where `standard_conforming_strings` is off, written so that it says the same whatever that is. `None`: it does so as it
/// is, or is not read with certainty.
pub(crate) fn with_escapes(text: &str) -> Option<String> {
    under_any_setting(text, false).ok().flatten()
}

/// What a text says under this `standard_conforming_strings`, written so that it says the same whatever that is: plain strings with a
/// backslash in them as strings with escapes. `None`: it does so as it is.
///
/// # Errors
/// It has no tokens, or a string that cannot be written so.
pub(crate) fn under_any_setting(text: &str, standard_strings: bool) -> Result<Option<String>, ScanError> {
    let mut lexer = Lexer::new(text, standard_strings);
    let slice = |from: usize, to: usize| text.get(from..to).unwrap_or_default();
    let (mut out, mut copied) = (String::new(), 0);
    while let Some(Token { kind, start, end }) = lexer.next_as_set()? {
        let token = slice(start, end);
        if memchr(b'\\', token.as_bytes()).is_none() {
            if let (true, TokenKind::Literal(SlotKind::Other), [b'u' | b'U', b'&', b'\'', ..]) =
                (standard_strings, kind, token.as_bytes())
            {
                // Without an escape it is a plain one; as it is, it is refused where the setting is off.
                if has_word(text, "uescape") {
                    return Err(ScanError::NotUnderstood);
                }
                out.push_str(slice(copied, start));
                out.push(' ');
                out.push_str(slice(start + 2, end));
                copied = end;
            }
            continue;
        }
        // What stands before it is a word of its own.
        let (head, quote) = match (kind, token.as_bytes().first()) {
            (TokenKind::Literal(SlotKind::String), _) => (" E", start),
            (TokenKind::Literal(SlotKind::Other), Some(b'n' | b'N')) => (" NCHAR E", start + 1),
            (TokenKind::Literal(SlotKind::Other), Some(b'u' | b'U')) => return Err(ScanError::NotUnderstood),
            _ => continue,
        };
        out.push_str(slice(copied, start));
        out.push_str(head);
        match standard_strings {
            true => out.push_str(&slice(quote, end).replace('\\', "\\\\")),
            false => out.push_str(slice(quote, end)),
        }
        copied = end;
    }
    if copied == 0 {
        return Ok(None);
    }
    out.push_str(slice(copied, text.len()));
    Ok(Some(out))
}

/// Whether these letters stand anywhere in a text.
fn has_word(text: &str, word: &str) -> bool {
    text.as_bytes().windows(word.len()).any(|window| window.eq_ignore_ascii_case(word.as_bytes()))
}

/// Where the run of bytes of these classes that begins at `at` ends.
#[inline(always)]
fn run(bytes: &[u8], at: usize, classes: u8) -> usize {
    let rest = bytes.get(at..).unwrap_or_default();
    at + rest.iter().position(|b| class(*b) & classes == 0).unwrap_or(rest.len())
}

fn is_digit(byte: Option<&u8>) -> bool {
    byte.is_some_and(u8::is_ascii_digit)
}

#[inline(always)]
fn is_class(byte: Option<&u8>, classes: u8) -> bool {
    byte.is_some_and(|b| class(*b) & classes != 0)
}

#[inline(always)]
fn skip_blanks(bytes: &[u8], mut at: usize) -> Result<usize, ScanError> {
    // Nothing or one blank, nearly always.
    at += usize::from(bytes.get(at) == Some(&b' '));
    if is_class(bytes.get(at), BLANK | COMMENT) { skip_more_blanks(bytes, at) } else { Ok(at) }
}

fn skip_more_blanks(bytes: &[u8], mut at: usize) -> Result<usize, ScanError> {
    loop {
        at = run(bytes, at, BLANK);
        if !at_comment(bytes, at) {
            return Ok(at);
        }
        at = skip_comment(bytes, at)?;
    }
}

#[inline]
fn at_comment(bytes: &[u8], at: usize) -> bool {
    matches!((bytes.get(at), bytes.get(at + 1)), (Some(b'-'), Some(b'-')) | (Some(b'/'), Some(b'*')))
}

/// Past the comment that begins at `at`.
fn skip_comment(bytes: &[u8], mut at: usize) -> Result<usize, ScanError> {
    if bytes.get(at) == Some(&b'-') {
        let rest = bytes.get(at..).unwrap_or_default();
        return Ok(at + memchr2(b'\n', b'\r', rest).unwrap_or(rest.len()));
    }
    at += 2;
    let mut depth = 1u32;
    while depth > 0 {
        let rest = bytes.get(at..).unwrap_or_default();
        at += memchr2(b'*', b'/', rest).ok_or(ScanError::Unterminated)?;
        match (bytes.get(at), bytes.get(at + 1)) {
            (Some(b'/'), Some(b'*')) => {
                depth += 1;
                at += 2;
            }
            (Some(b'*'), Some(b'/')) => {
                depth -= 1;
                at += 2;
            }
            _ => at += 1,
        }
    }
    Ok(at)
}

/// The token that begins at `at` and where it ends; not at a blank, a comment or the end.
#[inline(always)]
fn token(bytes: &[u8], at: usize, standard_strings: bool) -> Result<(TokenKind, usize), ScanError> {
    let byte = *bytes.get(at).ok_or(ScanError::Unterminated)?;
    let of = class(byte);
    if of & START != 0 {
        if of & PREFIX != 0 && matches!(bytes.get(at + 1), Some(b'\'' | b'&')) {
            return prefixed(bytes, at, standard_strings);
        }
        return Ok((TokenKind::Word, run(bytes, at + 1, CONT)));
    }
    if of & PUNCT != 0 {
        if matches!(byte, b'.' | b':') {
            return dot_or_colon(bytes, at);
        }
        return Ok((TokenKind::Punct(byte), at + 1));
    }
    if of & OPERATOR != 0 {
        let end = if is_class(bytes.get(at + 1), OPERATOR) { operator(bytes, at)? } else { at + 1 };
        return Ok((TokenKind::Operator, end));
    }
    if of & DIGIT != 0 {
        let end = run(bytes, at + 1, DIGIT);
        let (kind, end) = match bytes.get(end) {
            Some(b) if class(*b) & START != 0 || *b == b'.' => number(bytes, at)?,
            _ => (whole(bytes.get(at..end).unwrap_or_default()), end),
        };
        return Ok((TokenKind::Literal(kind), end));
    }
    match byte {
        b'\'' => Ok((TokenKind::Literal(SlotKind::String), plain_string(bytes, at, standard_strings)?)),
        b'"' => Ok((TokenKind::Quoted, quoted_name(bytes, at)?)),
        b'$' => dollar(bytes, at),
        _ => Err(ScanError::Unterminated),
    }
}

/// A letter that can begin a string, with a quote or `&` behind it.
fn prefixed(bytes: &[u8], at: usize, standard_strings: bool) -> Result<(TokenKind, usize), ScanError> {
    let letter = bytes.get(at).map(u8::to_ascii_lowercase);
    match (letter, bytes.get(at + 1), bytes.get(at + 2)) {
        (Some(b'e'), Some(b'\''), _) => Ok((TokenKind::Literal(SlotKind::EscapeString), escape_string(bytes, at + 1)?)),
        (Some(b'n'), Some(b'\''), _) => {
            Ok((TokenKind::Literal(SlotKind::Other), plain_string(bytes, at + 1, standard_strings)?))
        }
        (Some(b'b' | b'x'), Some(b'\''), _) => {
            Ok((TokenKind::Literal(SlotKind::Other), undoubled_string(bytes, at + 1)?))
        }
        (Some(b'u'), Some(b'&'), Some(b'\'')) if !standard_strings => Err(ScanError::NotUnderstood),
        (Some(b'u'), Some(b'&'), Some(b'\'')) => {
            Ok((TokenKind::Literal(SlotKind::Other), plain_string(bytes, at + 2, standard_strings)?))
        }
        (Some(b'u'), Some(b'&'), Some(b'"')) => Ok((TokenKind::UnicodeQuoted, quoted_name(bytes, at + 2)?)),
        _ => Ok((TokenKind::Word, run(bytes, at + 1, CONT))),
    }
}

/// `'...'` with `''` for a quote, and its continuations on further lines.
#[inline(always)]
fn plain_string(bytes: &[u8], start: usize, standard_strings: bool) -> Result<usize, ScanError> {
    let mut at = start + 1;
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        at += memchr(b'\'', rest).ok_or(ScanError::Unterminated)? + 1;
        match bytes.get(at) {
            Some(b'\'') => at += 1,
            Some(b) if class(*b) & (BLANK | COMMENT) != 0 => match continuation(bytes, at) {
                Some(next) => at = next,
                None => break,
            },
            _ => break,
        }
    }
    // With the setting off a backslash escapes what follows, perhaps the very quote that ended the search.
    if !standard_strings && memchr(b'\\', bytes.get(start..at).unwrap_or_default()).is_some() {
        return Err(ScanError::NotUnderstood);
    }
    Ok(at)
}

/// The quotes of `B'..'` and `X'..'`, where a doubled quote is no quote.
fn undoubled_string(bytes: &[u8], start: usize) -> Result<usize, ScanError> {
    let mut at = start + 1;
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        at += memchr(b'\'', rest).ok_or(ScanError::Unterminated)? + 1;
        match continuation(bytes, at) {
            Some(next) => at = next,
            None => return Ok(at),
        }
    }
}

/// The quotes of `E'..'`: a backslash takes the next byte with it.
fn escape_string(bytes: &[u8], start: usize) -> Result<usize, ScanError> {
    let mut at = start + 1;
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        let found = memchr2(b'\'', b'\\', rest).ok_or(ScanError::Unterminated)?;
        at += found + 1;
        if rest.get(found) == Some(&b'\\') || bytes.get(at) == Some(&b'\'') {
            at += 1;
        } else {
            match continuation(bytes, at) {
                Some(next) => at = next,
                None => return Ok(at),
            }
        }
    }
}

fn quoted_name(bytes: &[u8], start: usize) -> Result<usize, ScanError> {
    let mut at = start + 1;
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        at += memchr(b'"', rest).ok_or(ScanError::Unterminated)? + 1;
        if bytes.get(at) != Some(&b'"') {
            return Ok(at);
        }
        at += 1;
    }
}

/// `$1`, or `$tag$ ... $tag$`.
fn dollar(bytes: &[u8], start: usize) -> Result<(TokenKind, usize), ScanError> {
    let mut at = start + 1;
    if is_digit(bytes.get(at)) {
        at = run(bytes, at, DIGIT);
        return if is_class(bytes.get(at), START) {
            Err(ScanError::NotUnderstood)
        } else {
            Ok((TokenKind::Parameter, at))
        };
    }
    if is_class(bytes.get(at), START) {
        at = run(bytes, at, START | DIGIT);
    }
    if bytes.get(at) != Some(&b'$') {
        return Err(ScanError::Unterminated);
    }
    at += 1;
    let tag = bytes.get(start..at).unwrap_or_default();
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        let found = memchr(b'$', rest).ok_or(ScanError::Unterminated)?;
        if rest.get(found..).is_some_and(|rest| rest.starts_with(tag)) {
            return Ok((TokenKind::Literal(SlotKind::DollarString), at + found + tag.len()));
        }
        at += found + 1;
    }
}

/// Digits alone: beyond bigint Postgres reads them as a numeric.
fn whole(digits: &[u8]) -> SlotKind {
    if is_bigint(digits) { SlotKind::Integer } else { SlotKind::Number }
}

/// Whether these digits say a number that a bigint can be.
pub(crate) fn is_bigint(digits: &[u8]) -> bool {
    // So many always are.
    digits.len() < 19 || std::str::from_utf8(digits).is_ok_and(|digits| digits.parse::<i64>().is_ok())
}

/// From a digit, or from a point with a digit behind it.
fn number(bytes: &[u8], start: usize) -> Result<(SlotKind, usize), ScanError> {
    let mut at = start;
    let mut kind = SlotKind::Number;
    let radix = match (bytes.get(at), bytes.get(at + 1)) {
        (Some(b'0'), Some(b'x' | b'X')) => 16,
        (Some(b'0'), Some(b'o' | b'O')) => 8,
        (Some(b'0'), Some(b'b' | b'B')) => 2,
        _ => 10,
    };
    if radix != 10 {
        at = digits(bytes, start + 2, radix);
        // A bare `0x` is no number.
        if at == start + 2 {
            return Err(ScanError::NotUnderstood);
        }
    } else {
        at = digits(bytes, at, 10);
        if !bytes.get(start..at).unwrap_or_default().contains(&b'_') {
            kind = whole(bytes.get(start..at).unwrap_or_default());
        }
        // `1..2` is a range of two integers.
        if bytes.get(at) == Some(&b'.') && bytes.get(at + 1) != Some(&b'.') {
            kind = SlotKind::Number;
            at += 1;
            if is_digit(bytes.get(at)) {
                at = digits(bytes, at, 10);
            }
        }
        if matches!(bytes.get(at), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
            if is_digit(bytes.get(at + 1 + sign)) {
                kind = SlotKind::Number;
                at = digits(bytes, at + 1 + sign, 10);
            }
        }
    }
    // From PG 17 on, `0x1$1` and `1e5$1` are a number with a name behind it, and so are rejected.
    let lettered = |byte: &u8| byte.is_ascii_alphabetic() || *byte == b'_';
    match bytes.get(at) {
        Some(b) if class(*b) & START != 0 => Err(ScanError::NotUnderstood),
        Some(b'$') if bytes.get(start..at).unwrap_or_default().iter().any(lettered) => Err(ScanError::NotUnderstood),
        _ => Ok((kind, at)),
    }
}

/// Past digits of this radix, a single underscore before each allowed (`1_000`; behind `0x` also the first).
fn digits(bytes: &[u8], mut at: usize, radix: u32) -> usize {
    let is = |at: usize| bytes.get(at).is_some_and(|b| char::from(*b).is_digit(radix));
    loop {
        if is(at) {
            at += 1;
        } else if bytes.get(at) == Some(&b'_') && is(at + 1) {
            at += 2;
        } else {
            return at;
        }
    }
}

/// Most operator characters in a row; Postgres takes no operator of more than 63.
const LONGEST_RUN: usize = 128;

fn operator(bytes: &[u8], start: usize) -> Result<usize, ScanError> {
    let mut at = start;
    let mut special = false;
    while let Some(byte) = bytes.get(at) {
        // Of `++++` each sign is a token, and each looks at all that follow it.
        if at - start > LONGEST_RUN {
            return Err(ScanError::NotUnderstood);
        }
        if class(*byte) & OPERATOR == 0 || (at > start && at_comment(bytes, at)) {
            break;
        }
        special |= matches!(byte, b'~' | b'!' | b'@' | b'#' | b'^' | b'&' | b'|' | b'`' | b'?' | b'%');
        at += 1;
    }
    // `=-1` is `=` and `-1`: an operator of SQL's own characters does not end in a sign.
    if !special {
        while at > start + 1 && matches!(bytes.get(at - 1), Some(b'+' | b'-')) {
            at -= 1;
        }
    }
    Ok(at)
}

fn dot_or_colon(bytes: &[u8], at: usize) -> Result<(TokenKind, usize), ScanError> {
    match (bytes.get(at), bytes.get(at + 1)) {
        (Some(b'.'), Some(b'0'..=b'9')) => {
            let (kind, end) = number(bytes, at)?;
            Ok((TokenKind::Literal(kind), end))
        }
        (Some(b'.'), Some(b'.')) | (Some(b':'), Some(b':' | b'=')) => Ok((TokenKind::Operator, at + 2)),
        (byte, _) => Ok((TokenKind::Punct(byte.copied().unwrap_or(b'.')), at + 1)),
    }
}

/// Where a string that was closed just before `at` goes on: only blanks with a newline among them, and `--` comments, lie
/// between. The position is the one after the opening quote.
pub(crate) fn continuation(bytes: &[u8], mut at: usize) -> Option<usize> {
    let mut newline = false;
    loop {
        match *bytes.get(at)? {
            b'\n' | b'\r' => {
                newline = true;
                at += 1;
            }
            b'\'' => return newline.then_some(at + 1),
            b'-' if bytes.get(at + 1) == Some(&b'-') => {
                let rest = bytes.get(at..)?;
                at += memchr2(b'\n', b'\r', rest)?;
            }
            b if class(b) & BLANK != 0 => at += 1,
            _ => return None,
        }
    }
}

/// Tells where a statement ends: at a `;` outside parentheses and outside the body of `CREATE FUNCTION ... BEGIN ATOMIC`.
///
/// The body is a list of statements that each end in `;`, and no statement in it begins with END: so the END after `;` or
/// ATOMIC is the body's own, whatever CASE expressions and labels lie between.
#[derive(Clone, Debug)]
pub(crate) struct Boundary {
    parens: u32,
    routine: Routine,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Routine {
    First,
    None,
    Create,
    Or,
    Replace,
    Header,
    Begin,
    BodyStart,
    Body,
}

impl Boundary {
    pub fn new() -> Self {
        Self { parens: 0, routine: Routine::First }
    }

    /// Takes the next token of the statement; true if it is the `;` that ends it.
    #[inline(always)]
    pub fn step(&mut self, token: &Token, text: &[u8]) -> bool {
        if let TokenKind::Punct(byte) = token.kind {
            match byte {
                b'(' => self.parens += 1,
                b')' => self.parens = self.parens.saturating_sub(1),
                b';' if self.parens == 0 && !matches!(self.routine, Routine::Body | Routine::BodyStart) => return true,
                _ => {}
            }
        }
        if self.routine != Routine::None {
            self.routine = self.next(token, text);
        }
        false
    }

    fn next(&self, token: &Token, text: &[u8]) -> Routine {
        let word = match token.kind {
            TokenKind::Word => text.get(token.start..token.end).unwrap_or_default(),
            _ => &[],
        };
        let is = |keyword: &[u8]| word.eq_ignore_ascii_case(keyword);
        match self.routine {
            Routine::First if is(b"create") => Routine::Create,
            Routine::Create if is(b"or") => Routine::Or,
            Routine::Or if is(b"replace") => Routine::Replace,
            Routine::Create | Routine::Replace if is(b"function") || is(b"procedure") => Routine::Header,
            Routine::First | Routine::None | Routine::Create | Routine::Or | Routine::Replace => Routine::None,
            Routine::Header | Routine::Begin if self.parens == 0 && is(b"begin") => Routine::Begin,
            Routine::Begin if is(b"atomic") => Routine::BodyStart,
            Routine::Header | Routine::Begin => Routine::Header,
            Routine::BodyStart if self.parens == 0 && is(b"end") => Routine::None,
            Routine::BodyStart | Routine::Body if self.parens == 0 && token.is(b';') => Routine::BodyStart,
            Routine::BodyStart | Routine::Body => Routine::Body,
        }
    }
}

#[cfg(test)]
mod escapes {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn plain_strings_with_backslashes_are_written_as_strings_with_escapes() {
        for (text, escaped) in [
            (r"SELECT 'a\\b', 'c' FROM t", r"SELECT  E'a\\b', 'c' FROM t"),
            (r"SELECT 'it\'s ''so''', 1", r"SELECT  E'it\'s ''so''', 1"),
            (r"SELECT date'\x32'", r"SELECT date E'\x32'"),
            ("SELECT 'a'\n 'b\\\\', E'\\n'", "SELECT  E'a'\n 'b\\\\', E'\\n'"),
            (r"SELECT N'a\'b', 'c\\'", r"SELECT  NCHAR E'a\'b',  E'c\\'"),
        ] {
            assert_eq!(with_escapes(text).unwrap(), escaped);
        }
        for same in ["SELECT 'a', E'\\n'", "SELECT $$\\$$ -- '\\'", r"SELECT U&'\0061', '\\'", r"SELECT 'a\'"] {
            assert_eq!(with_escapes(same), None, "{same}");
        }
    }

    #[test]
    fn what_standard_strings_say_is_written_so_that_it_stays() {
        for (text, escaped) in [
            (r"SELECT 'a\b', 'c' FROM t", r"SELECT  E'a\\b', 'c' FROM t"),
            (r"SELECT 'a\', N'\n'", r"SELECT  E'a\\',  NCHAR E'\\n'"),
        ] {
            assert_eq!(under_any_setting(text, true), Ok(Some(escaped.to_owned())));
        }
        assert_eq!(under_any_setting(r"SELECT 'a', E'\n', $$\$$, B'\' -- '\'", true), Ok(None));
        assert_eq!(under_any_setting(r"SELECT U&'\0061'", true), Err(ScanError::NotUnderstood));
        assert_eq!(
            under_any_setting("SELECT u&'it''s', U&\"a\"", true),
            Ok(Some("SELECT  'it''s', U&\"a\"".to_owned()))
        );
        assert_eq!(under_any_setting("SELECT U&'!0061' UESCAPE '!'", true), Err(ScanError::NotUnderstood));
        assert_eq!(under_any_setting(r"SELECT 'a\'", false), Err(ScanError::Unterminated));
    }
}

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
            b'+' | b'-' | b'*' | b'/' | b'%' | b'<' | b'>' | b'=' => OPERATOR,
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

    #[inline(always)]
    fn peek(&self, offset: usize) -> Option<u8> {
        self.bytes.get(self.at + offset).copied()
    }

    pub fn at_end(&self) -> bool {
        self.at >= self.bytes.len()
    }

    /// Goes past blanks and comments.
    #[inline(always)]
    pub fn skip_blanks(&mut self) -> Result<(), ScanError> {
        while let Some(byte) = self.peek(0) {
            if class(byte) & BLANK != 0 {
                self.at += 1;
            } else if (byte == b'-' || byte == b'/') && self.at_comment() {
                self.skip_comment()?;
            } else {
                break;
            }
        }
        Ok(())
    }

    #[inline]
    fn at_comment(&self) -> bool {
        matches!((self.peek(0), self.peek(1)), (Some(b'-'), Some(b'-')) | (Some(b'/'), Some(b'*')))
    }

    /// Goes past the comment that begins here.
    fn skip_comment(&mut self) -> Result<(), ScanError> {
        if self.peek(0) == Some(b'-') {
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            self.at += memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
            return Ok(());
        }
        self.at += 2;
        let mut depth = 1u32;
        while depth > 0 {
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            self.at += memchr2(b'*', b'/', rest).ok_or(ScanError::Unterminated)?;
            match (self.peek(0), self.peek(1)) {
                (Some(b'/'), Some(b'*')) => {
                    depth += 1;
                    self.at += 2;
                }
                (Some(b'*'), Some(b'/')) => {
                    depth -= 1;
                    self.at += 2;
                }
                _ => self.at += 1,
            }
        }
        Ok(())
    }

    /// Like [`Self::skip_blanks`], and returns the bytes of the first `/* */` comment on the way.
    pub fn skip_blanks_noting(&mut self) -> Result<Option<(usize, usize)>, ScanError> {
        let mut first = None;
        while let Some(byte) = self.peek(0) {
            if class(byte) & BLANK != 0 {
                self.at += 1;
            } else if self.at_comment() {
                let start = self.at;
                self.skip_comment()?;
                if first.is_none() && byte == b'/' {
                    first = Some((start, self.at));
                }
            } else {
                break;
            }
        }
        Ok(first)
    }

    /// The next token after blanks and comments; `None` at the end.
    #[inline]
    pub fn next(&mut self) -> Result<Option<Token>, ScanError> {
        self.skip_blanks()?;
        if self.at_end() {
            return Ok(None);
        }
        self.token().map(Some)
    }

    /// The token that begins here; not at a blank, a comment or the end.
    #[inline(always)]
    pub fn token(&mut self) -> Result<Token, ScanError> {
        let start = self.at;
        let byte = self.peek(0).ok_or(ScanError::Unterminated)?;
        let of = class(byte);
        let kind = if of & START != 0 {
            if of & PREFIX != 0 && matches!(self.peek(1), Some(b'\'' | b'&')) {
                self.prefixed(byte)?
            } else {
                self.skip_name();
                TokenKind::Word
            }
        } else if of & DIGIT != 0 {
            TokenKind::Literal(self.number()?)
        } else if of & OPERATOR != 0 {
            self.operator();
            TokenKind::Operator
        } else if of & PUNCT != 0 {
            self.punct(byte)?
        } else {
            match byte {
                b'\'' => {
                    self.plain_string()?;
                    TokenKind::Literal(SlotKind::String)
                }
                b'"' => {
                    self.quoted_name()?;
                    TokenKind::Quoted
                }
                b'$' => self.dollar()?,
                _ => return Err(ScanError::Unterminated),
            }
        };
        Ok(Token { kind, start, end: self.at })
    }

    #[inline(always)]
    fn skip_name(&mut self) {
        self.at += 1;
        while self.peek(0).is_some_and(|b| class(b) & CONT != 0) {
            self.at += 1;
        }
    }

    /// A letter that can begin a string, with a quote or `&` behind it.
    fn prefixed(&mut self, letter: u8) -> Result<TokenKind, ScanError> {
        match (letter.to_ascii_lowercase(), self.peek(1), self.peek(2)) {
            (b'e', Some(b'\''), _) => {
                self.at += 1;
                self.escape_string()?;
                Ok(TokenKind::Literal(SlotKind::EscapeString))
            }
            (b'n', Some(b'\''), _) => {
                self.at += 1;
                self.plain_string()?;
                Ok(TokenKind::Literal(SlotKind::Other))
            }
            (b'b' | b'x', Some(b'\''), _) => {
                self.at += 1;
                self.undoubled_string()?;
                Ok(TokenKind::Literal(SlotKind::Other))
            }
            (b'u', Some(b'&'), Some(b'\'')) => {
                if !self.standard_strings {
                    return Err(ScanError::NotUnderstood);
                }
                self.at += 2;
                self.plain_string()?;
                Ok(TokenKind::Literal(SlotKind::Other))
            }
            (b'u', Some(b'&'), Some(b'"')) => {
                self.at += 2;
                self.quoted_name()?;
                Ok(TokenKind::UnicodeQuoted)
            }
            _ => {
                self.skip_name();
                Ok(TokenKind::Word)
            }
        }
    }

    /// `'...'` with `''` for a quote, and its continuations on further lines.
    fn plain_string(&mut self) -> Result<(), ScanError> {
        let start = self.at;
        self.at += 1;
        loop {
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            self.at += memchr(b'\'', rest).ok_or(ScanError::Unterminated)? + 1;
            if self.peek(0) == Some(b'\'') {
                self.at += 1;
            } else if !self.continued() {
                break;
            }
        }
        // With the setting off a backslash escapes what follows, perhaps the very quote that ended the search.
        let text = self.bytes.get(start..self.at).unwrap_or_default();
        if !self.standard_strings && memchr(b'\\', text).is_some() {
            return Err(ScanError::NotUnderstood);
        }
        Ok(())
    }

    /// The quotes of `B'..'` and `X'..'`, where a doubled quote is no quote.
    fn undoubled_string(&mut self) -> Result<(), ScanError> {
        self.at += 1;
        loop {
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            self.at += memchr(b'\'', rest).ok_or(ScanError::Unterminated)? + 1;
            if !self.continued() {
                return Ok(());
            }
        }
    }

    /// The quotes of `E'..'`: a backslash takes the next byte with it.
    fn escape_string(&mut self) -> Result<(), ScanError> {
        self.at += 1;
        loop {
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            let found = memchr2(b'\'', b'\\', rest).ok_or(ScanError::Unterminated)?;
            self.at += found + 1;
            if rest.get(found) == Some(&b'\\') || self.peek(0) == Some(b'\'') {
                self.at += 1;
            } else if !self.continued() {
                return Ok(());
            }
        }
    }

    /// After a closing quote: goes past the opening quote of a continuation, if there is one.
    #[inline]
    fn continued(&mut self) -> bool {
        match continuation(self.bytes, self.at) {
            Some(next) => {
                self.at = next;
                true
            }
            None => false,
        }
    }

    fn quoted_name(&mut self) -> Result<(), ScanError> {
        self.at += 1;
        loop {
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            self.at += memchr(b'"', rest).ok_or(ScanError::Unterminated)? + 1;
            if self.peek(0) != Some(b'"') {
                return Ok(());
            }
            self.at += 1;
        }
    }

    /// `$1`, or `$tag$ ... $tag$`.
    fn dollar(&mut self) -> Result<TokenKind, ScanError> {
        let start = self.at;
        self.at += 1;
        if self.peek(0).is_some_and(|b| b.is_ascii_digit()) {
            while self.peek(0).is_some_and(|b| b.is_ascii_digit()) {
                self.at += 1;
            }
            return match self.peek(0) {
                Some(b) if class(b) & START != 0 => Err(ScanError::NotUnderstood),
                _ => Ok(TokenKind::Parameter),
            };
        }
        if self.peek(0).is_some_and(|b| class(b) & START != 0) {
            while self.peek(0).is_some_and(|b| class(b) & (START | DIGIT) != 0) {
                self.at += 1;
            }
        }
        if self.peek(0) != Some(b'$') {
            return Err(ScanError::Unterminated);
        }
        self.at += 1;
        let tag = self.bytes.get(start..self.at).unwrap_or_default();
        loop {
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            let found = memchr(b'$', rest).ok_or(ScanError::Unterminated)?;
            if rest.get(found..).is_some_and(|r| r.starts_with(tag)) {
                self.at += found + tag.len();
                return Ok(TokenKind::Literal(SlotKind::DollarString));
            }
            self.at += found + 1;
        }
    }

    /// From a digit, or from a point with a digit behind it.
    fn number(&mut self) -> Result<SlotKind, ScanError> {
        let mut kind = SlotKind::Integer;
        let is_digit: fn(u8) -> bool = match (self.peek(0), self.peek(1)) {
            (Some(b'0'), Some(b'x' | b'X')) => |b| b.is_ascii_hexdigit(),
            (Some(b'0'), Some(b'o' | b'O')) => |b| matches!(b, b'0'..=b'7'),
            (Some(b'0'), Some(b'b' | b'B')) => |b| matches!(b, b'0' | b'1'),
            _ => {
                if self.digits() {
                    kind = SlotKind::Number;
                }
                // `1..2` is a range of two integers.
                if self.peek(0) == Some(b'.') && self.peek(1) != Some(b'.') {
                    kind = SlotKind::Number;
                    self.at += 1;
                    if self.peek(0).is_some_and(|b| b.is_ascii_digit()) {
                        self.digits();
                    }
                }
                self.exponent(&mut kind);
                return self.number_ends(kind);
            }
        };
        self.at += 2;
        let mut any = false;
        loop {
            let skip = usize::from(self.peek(0) == Some(b'_'));
            if !self.peek(skip).is_some_and(is_digit) {
                break;
            }
            self.at += skip + 1;
            any = true;
        }
        // A bare `0x` is no number.
        if any { self.number_ends(SlotKind::Number) } else { Err(ScanError::NotUnderstood) }
    }

    /// Goes past `1_000`; says whether there was an underscore.
    #[inline]
    fn digits(&mut self) -> bool {
        let mut underscore = false;
        loop {
            match self.peek(0) {
                Some(b) if b.is_ascii_digit() => self.at += 1,
                Some(b'_') if self.peek(1).is_some_and(|b| b.is_ascii_digit()) => {
                    underscore = true;
                    self.at += 2;
                }
                _ => return underscore,
            }
        }
    }

    #[inline]
    fn exponent(&mut self, kind: &mut SlotKind) {
        if matches!(self.peek(0), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(self.peek(1), Some(b'+' | b'-')));
            if self.peek(1 + sign).is_some_and(|b| b.is_ascii_digit()) {
                *kind = SlotKind::Number;
                self.at += 1 + sign;
                self.digits();
            }
        }
    }

    #[inline]
    fn number_ends(&self, kind: SlotKind) -> Result<SlotKind, ScanError> {
        match self.peek(0) {
            Some(b) if class(b) & START != 0 => Err(ScanError::NotUnderstood),
            _ => Ok(kind),
        }
    }

    #[inline]
    fn operator(&mut self) {
        let start = self.at;
        let mut special = false;
        while let Some(byte) = self.peek(0) {
            if class(byte) & OPERATOR == 0 || (self.at > start && self.at_comment()) {
                break;
            }
            special |= matches!(byte, b'~' | b'!' | b'@' | b'#' | b'^' | b'&' | b'|' | b'`' | b'?' | b'%');
            self.at += 1;
        }
        // `=-1` is `=` and `-1`: an operator of SQL's own characters does not end in a sign.
        if !special {
            while self.at > start + 1 && matches!(self.bytes.get(self.at - 1), Some(b'+' | b'-')) {
                self.at -= 1;
            }
        }
    }

    #[inline]
    fn punct(&mut self, byte: u8) -> Result<TokenKind, ScanError> {
        match (byte, self.peek(1)) {
            (b'.', Some(b'0'..=b'9')) => return self.number().map(TokenKind::Literal),
            (b'.', Some(b'.')) | (b':', Some(b':' | b'=')) => {
                self.at += 2;
                return Ok(TokenKind::Operator);
            }
            _ => self.at += 1,
        }
        Ok(TokenKind::Punct(byte))
    }
}

/// Where a string that was closed just before `at` goes on: only blanks with a newline among them, and `--` comments, lie
/// between. The position is the one after the opening quote.
#[inline]
pub(crate) fn continuation(bytes: &[u8], at: usize) -> Option<usize> {
    match bytes.get(at) {
        Some(b) if class(*b) & BLANK != 0 || *b == b'-' => continuation_slow(bytes, at),
        _ => None,
    }
}

fn continuation_slow(bytes: &[u8], mut at: usize) -> Option<usize> {
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

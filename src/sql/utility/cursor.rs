//! A cursor over tokens with what the utility grammars need: keywords, names, strings.

use std::borrow::Cow;

use crate::sql::lexer::{Lexer, Token, TokenKind};
use crate::sql::template::{self, Slot, SlotKind};

/// Longest name in bytes (`NAMEDATALEN` - 1); Postgres cuts longer ones.
const MAX_NAME: usize = 63;

/// Keywords that are no name of a column (Postgres: `kwlist.h`, RESERVED_KEYWORD and TYPE_FUNC_NAME_KEYWORD), sorted.
pub(super) const RESERVED: [&str; 100] = [
    "all",
    "analyse",
    "analyze",
    "and",
    "any",
    "array",
    "as",
    "asc",
    "asymmetric",
    "authorization",
    "binary",
    "both",
    "case",
    "cast",
    "check",
    "collate",
    "collation",
    "column",
    "concurrently",
    "constraint",
    "create",
    "cross",
    "current_catalog",
    "current_date",
    "current_role",
    "current_schema",
    "current_time",
    "current_timestamp",
    "current_user",
    "default",
    "deferrable",
    "desc",
    "distinct",
    "do",
    "else",
    "end",
    "except",
    "false",
    "fetch",
    "for",
    "foreign",
    "freeze",
    "from",
    "full",
    "grant",
    "group",
    "having",
    "ilike",
    "in",
    "initially",
    "inner",
    "intersect",
    "into",
    "is",
    "isnull",
    "join",
    "lateral",
    "leading",
    "left",
    "like",
    "limit",
    "localtime",
    "localtimestamp",
    "natural",
    "not",
    "notnull",
    "null",
    "offset",
    "on",
    "only",
    "or",
    "order",
    "outer",
    "overlaps",
    "placing",
    "primary",
    "references",
    "returning",
    "right",
    "select",
    "session_user",
    "similar",
    "some",
    "symmetric",
    "table",
    "tablesample",
    "then",
    "to",
    "trailing",
    "true",
    "union",
    "unique",
    "user",
    "using",
    "variadic",
    "verbose",
    "when",
    "where",
    "window",
    "with",
];

/// Looks one token ahead. A text without tokens ends where it stops making sense: callers that need a whole statement check
/// [`Cursor::at_end`], which is then false.
#[derive(Clone)]
pub(crate) struct Cursor<'a> {
    pub text: &'a str,
    lexer: Lexer<'a>,
    ahead: Option<Token>,
    /// End of the last token taken.
    last_end: usize,
    broken: bool,
}

impl<'a> Cursor<'a> {
    pub fn new(text: &'a str) -> Self {
        let mut cursor = Self { text, lexer: Lexer::new(text, true), ahead: None, last_end: 0, broken: false };
        cursor.fill();
        cursor
    }

    fn fill(&mut self) {
        self.ahead = self.lexer.next().unwrap_or_else(|_| {
            self.broken = true;
            None
        });
    }

    pub fn peek(&self) -> Option<Token> {
        self.ahead
    }

    pub fn take(&mut self) -> Option<Token> {
        let token = self.ahead?;
        self.last_end = token.end;
        self.fill();
        Some(token)
    }

    /// The statement ends here: nothing more, or a `;`.
    pub fn at_end(&self) -> bool {
        match self.ahead {
            None => !self.broken,
            Some(token) => token.is(b';'),
        }
    }

    /// Where the next token begins; the text's length at its end.
    pub fn position(&self) -> usize {
        self.ahead.map_or(self.text.len(), |token| token.start)
    }

    /// Where the last token taken ends.
    pub fn last_end(&self) -> usize {
        self.last_end
    }

    pub fn source(&self, token: Token) -> &'a str {
        self.text.get(token.start..token.end).unwrap_or_default()
    }

    /// The next token where it is a keyword or unquoted name.
    pub fn word(&self) -> Option<&'a str> {
        self.ahead.filter(|token| token.kind == TokenKind::Word).map(|token| self.source(token))
    }

    /// The next token is this keyword (lower case).
    pub fn is(&self, keyword: &str) -> bool {
        self.word().is_some_and(|word| word.eq_ignore_ascii_case(keyword))
    }

    pub fn is_any(&self, keywords: &[&str]) -> bool {
        keywords.iter().any(|keyword| self.is(keyword))
    }

    pub fn accept(&mut self, keyword: &str) -> bool {
        let found = self.is(keyword);
        if found {
            self.take();
        }
        found
    }

    /// Takes all of these keywords or nothing.
    pub fn accept_all(&mut self, keywords: &[&str]) -> bool {
        let mut ahead = self.clone();
        let found = keywords.iter().all(|keyword| ahead.accept(keyword));
        if found {
            *self = ahead;
        }
        found
    }

    pub fn is_punct(&self, punct: u8) -> bool {
        self.ahead.is_some_and(|token| token.is(punct))
    }

    pub fn accept_punct(&mut self, punct: u8) -> bool {
        let found = self.is_punct(punct);
        if found {
            self.take();
        }
        found
    }

    pub fn is_operator(&self, operator: &str) -> bool {
        self.ahead.is_some_and(|token| token.kind == TokenKind::Operator && self.source(token) == operator)
    }

    pub fn accept_operator(&mut self, operator: &str) -> bool {
        let found = self.is_operator(operator);
        if found {
            self.take();
        }
        found
    }

    /// A name, folded or unquoted as the catalog stores it. Keywords pass: whether one may stand here is the server's affair.
    pub fn name(&mut self) -> Option<Box<str>> {
        let name = identifier(self.text, self.ahead?)?;
        self.take();
        Some(name)
    }

    /// A name where the grammar has a ColId: of the keywords those pass that are not reserved. What the router takes by itself must
    /// be what Postgres would take.
    pub fn own_name(&mut self) -> Option<Box<str>> {
        let reserved = self.word().is_some_and(|word| {
            let word = word.to_ascii_lowercase();
            RESERVED.binary_search(&&*word).is_ok()
        });
        if reserved { None } else { self.name() }
    }

    /// `name[.name]...`, at most three.
    pub fn qualified_name(&mut self) -> Option<Vec<Box<str>>> {
        let mut parts = vec![self.name()?];
        while self.accept_punct(b'.') {
            parts.push(self.name()?);
        }
        (parts.len() <= 3).then_some(parts)
    }

    /// The value of a plain, escape or dollar-quoted string.
    pub fn string(&mut self) -> Option<Cow<'a, str>> {
        let token = self.ahead?;
        let TokenKind::Literal(kind) = token.kind else { return None };
        let value = literal_value(self.text, token, kind)?;
        self.take();
        Some(value)
    }

    /// A token as every session reads it: a plain string with a backslash means something else where `standard_conforming_strings` is off,
    /// and what is kept of a session is told to connections that other sessions have left.
    pub fn everywhere(&self, token: Token) -> Cow<'a, str> {
        let source = self.source(token);
        match (token.kind, source.contains('\\')) {
            (TokenKind::Literal(kind @ SlotKind::String), true) => match literal_value(self.text, token, kind) {
                Some(value) => format!("E'{}'", value.replace('\\', "\\\\").replace('\'', "''")).into(),
                None => source.into(),
            },
            _ => source.into(),
        }
    }

    /// The text from `start` to the end of the statement, which is taken. `None`: there is nothing.
    pub fn rest(&mut self, start: usize) -> Option<&'a str> {
        let mut depth = 0u32;
        while let Some(token) = self.ahead {
            match token.kind {
                TokenKind::Punct(b'(') => depth += 1,
                TokenKind::Punct(b')') => depth = depth.saturating_sub(1),
                TokenKind::Punct(b';') if depth == 0 => break,
                _ => {}
            }
            self.take();
        }
        self.text.get(start..self.last_end).filter(|rest| !rest.is_empty())
    }

    /// Takes a parenthesised group whose `(` is next. False: it does not end.
    pub fn skip_group(&mut self) -> bool {
        let mut depth = 0u32;
        while let Some(token) = self.take() {
            match token.kind {
                TokenKind::Punct(b'(') => depth += 1,
                TokenKind::Punct(b')') => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth == 0 {
                return true;
            }
        }
        false
    }
}

fn literal_value(text: &str, token: Token, kind: SlotKind) -> Option<Cow<'_, str>> {
    let slot = Slot { kind, start: u32::try_from(token.start).ok()?, end: u32::try_from(token.end).ok()? };
    template::string_value(text, &slot)
}

/// The name that a token is; `None` if it is none, or of the `U&"..."` kind.
pub(crate) fn identifier(text: &str, token: Token) -> Option<Box<str>> {
    let source = text.get(token.start..token.end)?;
    let full: Cow<'_, str> = match token.kind {
        TokenKind::Word => return Some(fold_name(source)),
        TokenKind::Quoted => {
            let inner = source.get(1..source.len().checked_sub(1)?)?;
            // Postgres rejects an empty name.
            if inner.is_empty() {
                return None;
            }
            if inner.contains('"') { Cow::Owned(inner.replace("\"\"", "\"")) } else { Cow::Borrowed(inner) }
        }
        _ => return None,
    };
    Some(cut_name(&full).into())
}

/// An unquoted name as Postgres stores it: ASCII letters lower-cased, cut to 63 bytes at a character's end.
pub fn fold_name(name: &str) -> Box<str> {
    cut_name(&name.to_ascii_lowercase()).into()
}

/// Cuts a name to what `NAMEDATALEN` leaves of it.
pub fn cut_name(name: &str) -> &str {
    if name.len() <= MAX_NAME {
        return name;
    }
    let end = (0..=MAX_NAME).rev().find(|i| name.is_char_boundary(*i)).unwrap_or(0);
    name.get(..end).unwrap_or_default()
}

//! COPY with its old and new option syntax.

use std::borrow::Cow;

use super::cursor::Cursor;
use super::{CopyDirection, CopyEndpoint, CopyFormat, CopyStatement, CopyTable, StatementKind};
use crate::sql::lexer::TokenKind;

/// Behind the word COPY.
pub(super) fn copy(cursor: &mut Cursor<'_>) -> StatementKind {
    match parse(cursor) {
        Some(statement) if cursor.at_end() => StatementKind::Copy(Box::new(statement)),
        _ => StatementKind::Unclear,
    }
}

/// Options as they are met; what is absent depends on the format.
#[derive(Default)]
struct Options {
    format: Option<Format>,
    delimiter: Option<u8>,
    null: Option<Box<str>>,
    quote: Option<u8>,
    escape: Option<u8>,
    header: bool,
    force_not_null: Vec<Box<str>>,
    force_null: Vec<Box<str>>,
    encoding: Option<Box<str>>,
    unknown: bool,
    /// No Postgres has such an option: its name, and where it stands.
    none: Option<(Box<str>, usize)>,
}

#[derive(Clone, Copy, PartialEq)]
enum Format {
    Text,
    Csv,
    Binary,
}

fn parse(cursor: &mut Cursor<'_>) -> Option<CopyStatement> {
    let mut options = Options::default();
    // `COPY binary FROM` names a table.
    let mut ahead = cursor.clone();
    if ahead.accept("binary") && !ahead.is_any(&["from", "to"]) && !ahead.is_punct(b'(') && !ahead.is_punct(b'.') {
        options.format = Some(Format::Binary);
        *cursor = ahead;
    }
    let mut inner = None;
    let mut table = None;
    if cursor.is_punct(b'(') {
        let start = cursor.position();
        if !cursor.skip_group() {
            return None;
        }
        inner = Some((start + 1, cursor.last_end() - 1));
    } else {
        table = Some(target(cursor)?);
    }
    let direction = match () {
        () if cursor.accept("from") && inner.is_none() => CopyDirection::From,
        () if cursor.accept("to") => CopyDirection::To,
        () => return None,
    };
    let endpoint = match () {
        () if cursor.accept("stdin") || cursor.accept("stdout") => CopyEndpoint::Client,
        () if cursor.accept("program") => {
            cursor.string()?;
            CopyEndpoint::Program
        }
        () => {
            cursor.string()?;
            CopyEndpoint::File
        }
    };
    if cursor.accept_all(&["using", "delimiters"]) || cursor.accept("delimiters") {
        options.delimiter = Some(one_byte(&cursor.string()?)?);
    }
    cursor.accept("with");
    if cursor.accept_punct(b'(') {
        options.new_syntax(cursor)?;
    } else {
        options.old_syntax(cursor)?;
    }
    let filtered = direction == CopyDirection::From && cursor.is("where");
    if filtered {
        cursor.rest(cursor.position())?;
    }
    let encoding = options.encoding.take();
    let no_option = options.none.take();
    // A backslash that quotes confuses Postgres's own search for the end marker: what it then reads depends on its buffers.
    let unknown_option = options.unknown || options.format == Some(Format::Csv) && options.quote == Some(b'\\');
    Some(CopyStatement {
        direction,
        table,
        inner,
        format: options.finish()?,
        endpoint,
        filtered,
        encoding,
        unknown_option,
        no_option,
    })
}

/// `[schema.]table [(columns)]`
fn target(cursor: &mut Cursor<'_>) -> Option<CopyTable> {
    let mut parts = cursor.qualified_name()?;
    let name = parts.pop()?;
    let schema = parts.pop();
    // A database's name in front: not looked at here.
    if !parts.is_empty() {
        return None;
    }
    let mut columns = Vec::new();
    if cursor.accept_punct(b'(') {
        columns = names(cursor)?;
        if !cursor.accept_punct(b')') {
            return None;
        }
    }
    Some(CopyTable { schema, name, columns })
}

fn names(cursor: &mut Cursor<'_>) -> Option<Vec<Box<str>>> {
    let mut names = vec![cursor.name()?];
    while cursor.accept_punct(b',') {
        names.push(cursor.name()?);
    }
    Some(names)
}

fn one_byte(text: &str) -> Option<u8> {
    match *text.as_bytes() {
        [byte] => Some(byte),
        _ => None,
    }
}

impl Options {
    /// `(FORMAT csv, HEADER, ...)`, behind the parenthesis.
    fn new_syntax(&mut self, cursor: &mut Cursor<'_>) -> Option<()> {
        loop {
            let at = cursor.position();
            let name = cursor.name()?;
            match &*name {
                "format" => {
                    self.format = Some(match argument(cursor)?.as_ref() {
                        "text" => Format::Text,
                        "csv" => Format::Csv,
                        "binary" => Format::Binary,
                        _ => return None,
                    });
                }
                "delimiter" => self.delimiter = Some(one_byte(&argument(cursor)?)?),
                "null" => self.null = Some(argument(cursor)?.into()),
                "quote" => self.quote = Some(one_byte(&argument(cursor)?)?),
                "escape" => self.escape = Some(one_byte(&argument(cursor)?)?),
                "encoding" => self.encoding = Some(argument(cursor)?.into()),
                "header" => self.header = header(cursor)?,
                "force_not_null" => self.force_not_null = self.columns(cursor)?,
                "force_null" => self.force_null = self.columns(cursor)?,
                // Postgres has the words for it where rows come in.
                "force_quote" if cursor.accept_operator("*") => {}
                "force_quote" => drop(self.columns(cursor)?),
                "freeze" => skip_argument(cursor)?,
                // Of later versions, or for Postgres itself.
                "default" | "on_error" | "reject_limit" | "log_verbosity" | "convert_selectively" => {
                    self.unknown = true;
                    skip_argument(cursor)?;
                }
                _ => {
                    self.unknown = true;
                    self.none.get_or_insert((name, at));
                    skip_argument(cursor)?;
                }
            }
            if cursor.accept_punct(b')') {
                return Some(());
            }
            if !cursor.accept_punct(b',') {
                return None;
            }
        }
    }

    /// `(a, b)`, or `*` (all columns, PG 17).
    fn columns(&mut self, cursor: &mut Cursor<'_>) -> Option<Vec<Box<str>>> {
        if cursor.accept_operator("*") {
            self.unknown = true;
            return Some(Vec::new());
        }
        if !cursor.accept_punct(b'(') {
            return None;
        }
        let columns = names(cursor)?;
        cursor.accept_punct(b')').then_some(columns)
    }

    /// `CSV HEADER DELIMITER AS ';' ...`, up to the end or WHERE.
    fn old_syntax(&mut self, cursor: &mut Cursor<'_>) -> Option<()> {
        while !cursor.at_end() && !cursor.is("where") {
            if cursor.accept("binary") {
                self.format = Some(Format::Binary);
            } else if cursor.accept("csv") {
                self.format = Some(Format::Csv);
            } else if cursor.accept("header") {
                self.header = true;
            } else if cursor.accept("freeze") {
                // No influence on rows.
            } else if cursor.accept("delimiter") {
                self.delimiter = Some(one_byte(&as_string(cursor)?)?);
            } else if cursor.accept("null") {
                self.null = Some(as_string(cursor)?.into());
            } else if cursor.accept("quote") {
                self.quote = Some(one_byte(&as_string(cursor)?)?);
            } else if cursor.accept("escape") {
                self.escape = Some(one_byte(&as_string(cursor)?)?);
            } else if cursor.accept("encoding") {
                self.encoding = Some(cursor.string()?.into());
            } else if cursor.accept_all(&["force", "not", "null"]) {
                self.force_not_null = names(cursor)?;
            } else if cursor.accept_all(&["force", "null"]) {
                self.force_null = names(cursor)?;
            } else if cursor.accept_all(&["force", "quote"]) {
                if !cursor.accept_operator("*") {
                    names(cursor)?;
                }
            } else {
                return None;
            }
        }
        Some(())
    }

    fn finish(self) -> Option<CopyFormat> {
        Some(match self.format.unwrap_or(Format::Text) {
            Format::Binary => CopyFormat::Binary,
            Format::Text => CopyFormat::Text {
                delimiter: self.delimiter.unwrap_or(b'\t'),
                null: self.null.unwrap_or_else(|| "\\N".into()),
                header: self.header,
            },
            Format::Csv => {
                let quote = self.quote.unwrap_or(b'"');
                CopyFormat::Csv {
                    delimiter: self.delimiter.unwrap_or(b','),
                    quote,
                    escape: self.escape.unwrap_or(quote),
                    null: self.null.unwrap_or_default(),
                    header: self.header,
                    force_not_null: self.force_not_null,
                    force_null: self.force_null,
                }
            }
        })
    }
}

/// An option's value in the new syntax: a string, word or number.
fn argument<'a>(cursor: &mut Cursor<'a>) -> Option<Cow<'a, str>> {
    let token = cursor.peek()?;
    match token.kind {
        TokenKind::Literal(_) => cursor.string().or_else(|| {
            cursor.take();
            Some(Cow::Borrowed(cursor.source(token)))
        }),
        // Words keep their folded text: `FORMAT CSV` is `csv`.
        _ => cursor.name().map(|name| Cow::Owned(name.into())),
    }
}

/// `HEADER [boolean | MATCH]`
fn header(cursor: &mut Cursor<'_>) -> Option<bool> {
    if cursor.is_punct(b',') || cursor.is_punct(b')') {
        return Some(true);
    }
    match argument(cursor)?.to_ascii_lowercase().as_str() {
        "true" | "on" | "1" | "match" => Some(true),
        "false" | "off" | "0" => Some(false),
        _ => None,
    }
}

/// An argument of any kind, up to the comma or parenthesis behind it.
fn skip_argument(cursor: &mut Cursor<'_>) -> Option<()> {
    while !cursor.is_punct(b',') && !cursor.is_punct(b')') {
        if cursor.is_punct(b'(') {
            if !cursor.skip_group() {
                return None;
            }
        } else {
            cursor.take()?;
        }
    }
    Some(())
}

fn as_string<'a>(cursor: &mut Cursor<'a>) -> Option<Cow<'a, str>> {
    cursor.accept("as");
    cursor.string()
}

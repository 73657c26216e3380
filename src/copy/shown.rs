//! Where in the client's rows an error is, in Postgres's words (`CopyFromErrorCallback`); and the text of a row that a shard shows in one,
//! without the fields that were added behind the client's.

use std::borrow::Cow;

use super::{KeyField, Row};
use crate::sql::utility::CopyFormat;

/// Postgres cuts a line off behind so many bytes, at the border of a character, and says so.
const CUT: usize = 100;
const MARK: &str = "...";
/// For `fields` of [`without_added`]: the line is a header.
pub const IN_HEADER: usize = usize::MAX;

/// The message of an error about the number of names in a header line, without those that were added to it. `None`: it is about something else.
pub fn header_without_added(message: &str, added: usize) -> Option<String> {
    let (said, numbers) = message.split_once(": got ")?;
    let (got, expected) = numbers.split_once(", expected ")?;
    let own = |number: &str| number.parse::<usize>().ok()?.checked_sub(added);
    (said == "wrong number of fields in header line").then_some(format!(
        "{said}: got {}, expected {}",
        own(got)?,
        own(expected)?
    ))
}

/// The CONTEXT of an error about a line that was not read to its end.
pub fn of_line(table: &str, line: u64) -> String {
    format!("COPY {table}, line {line}")
}

/// Of one about a whole row.
pub fn of_row(table: &str, row: &Row<'_>, format: &CopyFormat) -> String {
    let place = of_line(table, row.line);
    let text = row.bytes.strip_suffix(b"\n").unwrap_or(row.bytes);
    match (format, std::str::from_utf8(text.strip_suffix(b"\r").unwrap_or(text))) {
        (CopyFormat::Text { .. } | CopyFormat::Csv { .. }, Ok(text)) => format!("{place}: \"{}\"", shortened(text)),
        (CopyFormat::Text { .. } | CopyFormat::Csv { .. } | CopyFormat::Binary, _) => place,
    }
}

/// Of one about a field of text; of binary ones nothing is shown.
pub fn of_field(table: &str, line: u64, column: &str, field: &KeyField<'_>) -> String {
    let place = format!("COPY {table}, line {line}, column {column}");
    match field {
        KeyField::Null => format!("{place}: null input"),
        KeyField::Value(value) => match std::str::from_utf8(value) {
            Ok(value) => format!("{place}: \"{}\"", shortened(value)),
            Err(_) => place,
        },
        KeyField::Encoded(_) | KeyField::Missing => place,
    }
}

fn shortened(text: &str) -> Cow<'_, str> {
    if text.len() <= CUT {
        return text.into();
    }
    let end = (0..=CUT).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default();
    format!("{}{MARK}", text.get(..end).unwrap_or_default()).into()
}

/// A CONTEXT (`COPY table, line 7: "1,x,2024-01-02"`) with the text of the client's row, which has `fields` fields; `added`: how many stand
/// behind them.
pub fn without_added(context: &str, format: &CopyFormat, fields: usize, added: usize) -> String {
    let (delimiter, quoting) = match format {
        CopyFormat::Text { delimiter, .. } => (*delimiter, None),
        CopyFormat::Csv { delimiter, quote, escape, .. } => (*delimiter, Some((*quote, *escape))),
        CopyFormat::Binary => return context.to_owned(),
    };
    let whole = || context.to_owned();
    let Some(start) = text_of_line(context) else { return whole() };
    let Some(end) = context.rfind('"').filter(|end| *end >= start) else { return whole() };
    let Some(text) = context.get(start..end) else { return whole() };
    let shown = text.strip_suffix(MARK).filter(|shown| (CUT - 4..=CUT).contains(&shown.len()));
    let ends = delimiters(shown.unwrap_or(text).as_bytes(), delimiter, quoting);
    let cut = match shown {
        // A header has them behind whatever the client's has.
        None if fields == IN_HEADER => ends.get(ends.len().wrapping_sub(added)),
        // The rest is not there to be counted; the client's own fields are.
        Some(_) if fields != IN_HEADER => ends.get(fields.wrapping_sub(1)),
        Some(_) => None,
        // Behind fewer fields nothing was added.
        None if ends.len() + 1 >= fields.saturating_add(added) => ends.get((ends.len()).wrapping_sub(added)),
        None => None,
    };
    let Some(own) = cut.and_then(|cut| text.get(..*cut)) else { return whole() };
    format!("{}{own}{}", context.get(..start).unwrap_or_default(), context.get(end..).unwrap_or_default())
}

/// Where the text of a line begins: behind `line 7: "`.
fn text_of_line(context: &str) -> Option<usize> {
    let at = context.find(": \"")?;
    // `column n: "x"` shows one field.
    let before = context.get(..at)?;
    before.ends_with(|c: char| c.is_ascii_digit()).then_some(at + 3).filter(|_| !before.contains(", column "))
}

/// Where the delimiters between the fields stand.
fn delimiters(text: &[u8], delimiter: u8, quoting: Option<(u8, u8)>) -> Vec<usize> {
    let (mut found, mut quoted, mut at) = (Vec::new(), false, 0);
    while let Some(byte) = text.get(at) {
        match quoting {
            None if *byte == b'\\' => at += 1,
            Some((_, escape))
                if quoted && *byte == escape && text.get(at + 1).is_some_and(|next| is_sign(*next, quoting)) =>
            {
                at += 1;
            }
            Some((quote, _)) if *byte == quote => quoted = !quoted,
            _ if *byte == delimiter && !quoted => found.push(at),
            _ => {}
        }
        at += 1;
    }
    found
}

fn is_sign(byte: u8, quoting: Option<(u8, u8)>) -> bool {
    quoting.is_some_and(|(quote, escape)| byte == quote || byte == escape)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text() -> CopyFormat {
        CopyFormat::Text { delimiter: b'\t', null: "\\N".into(), header: false }
    }

    fn csv() -> CopyFormat {
        CopyFormat::Csv {
            delimiter: b',',
            quote: b'"',
            escape: b'"',
            null: "".into(),
            header: false,
            force_null: Vec::new(),
            force_not_null: Vec::new(),
        }
    }

    #[test]
    fn a_place_is_told_as_by_postgres() {
        let long = format!("{}é", "x".repeat(99));
        let field = |value: &'static str| KeyField::Value(value.as_bytes().into());
        assert_eq!(of_line("t", 7), "COPY t, line 7");
        assert_eq!(of_field("t", 7, "k", &field("a")), "COPY t, line 7, column k: \"a\"");
        assert_eq!(of_field("t", 7, "k", &KeyField::Null), "COPY t, line 7, column k: null input");
        assert_eq!(of_field("t", 7, "k", &KeyField::Missing), "COPY t, line 7, column k");
        let row = |bytes| Row { bytes, keys: Default::default(), line: 7 };
        assert_eq!(of_row("t", &row(b"a\tb\r\n"), &text()), "COPY t, line 7: \"a\tb\"");
        let shown = of_row("t", &row(long.as_bytes()), &csv());
        assert_eq!(shown, format!("COPY t, line 7: \"{}...\"", "x".repeat(99)));
        assert_eq!(of_row("t", &row(b"\0"), &CopyFormat::Binary), "COPY t, line 7");
    }

    #[test]
    fn what_was_added_is_taken_off() {
        let of = |shown: &str| without_added(&format!("COPY t, line 7: \"{shown}\""), &text(), 2, 1);
        let context = |shown: &str| format!("COPY t, line 7: \"{shown}\"");
        assert_eq!(of("a\tb\t7"), context("a\tb"));
        assert_eq!(of("a\\\tb\tc\t7"), context("a\\\tb\tc"));
        assert_eq!(of("a\tb\tc\t7"), context("a\tb\tc"), "one too many");
        assert_eq!(of("a"), context("a"), "too few: nothing was added");
        let long = "x".repeat(97);
        assert_eq!(of(&format!("a\t{long}\t...")), context(&format!("a\t{long}")));
        assert_eq!(of(&format!("a\t{long}x...")), context(&format!("a\t{long}x...")));
    }

    #[test]
    fn quotes_hide_delimiters() {
        let of = |shown: &str| without_added(&format!("COPY t, line 7: \"{shown}\""), &csv(), 2, 2);
        assert_eq!(of("\"a,\"\"b\",c,1,\"2,3\""), "COPY t, line 7: \"\"a,\"\"b\",c\"");
    }

    #[test]
    fn one_field_is_shown_as_it_is() {
        for shown in ["COPY t, line 7, column n: \"a\tb\tc\"", "COPY t, line 7", "COPY t, line 7, column n: null input"]
        {
            assert_eq!(without_added(shown, &text(), 2, 1), shown);
        }
    }
}

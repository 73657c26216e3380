//! Where the statements of a simple query begin and end.

use std::ops::Range;

use crate::sql::lexer::{Boundary, Lexer, ScanError};

/// The byte range of each non-empty statement, from its first to its last token, `;` left out.
///
/// The whole text must have tokens: as in Postgres, an unfinished string in the last statement fails them all.
pub fn statements(text: &str, standard_strings: bool) -> Result<Vec<Range<usize>>, ScanError> {
    let mut lexer = Lexer::new(text, standard_strings);
    let mut found = Vec::new();
    let mut boundary = Boundary::new();
    let mut current: Option<Range<usize>> = None;
    while let Some(token) = lexer.next_as_set()? {
        if boundary.step(&token, text.as_bytes()) {
            found.extend(current.take());
            boundary = Boundary::new();
            continue;
        }
        match &mut current {
            Some(range) => range.end = token.end,
            None => current = Some(token.start..token.end),
        }
    }
    found.extend(current);
    Ok(found)
}

/// The text with blanks in place of the `;`, and all else, that stands before its first statement, so that what is told of places in it
/// stays right. `None`: no `;` stands there.
pub fn without_first_semicolons(text: &str) -> Option<String> {
    let (before, rest) = text.split_at_checked(behind_semicolons(text)).filter(|(before, _)| !before.is_empty())?;
    Some(" ".repeat(before.chars().count()) + rest)
}

/// Where the first statement begins, if `;` stand before it; else 0.
fn behind_semicolons(text: &str) -> usize {
    let mut lexer = Lexer::new(text, true);
    let mut begins = 0;
    while lexer.skip_blanks().is_ok() {
        match text.as_bytes().get(lexer.at) {
            Some(b';') => {
                lexer.at += 1;
                begins = lexer.at;
            }
            Some(_) if begins > 0 => return lexer.at,
            _ => break,
        }
    }
    begins
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn cut(text: &str) -> Vec<&str> {
        statements(text, true).unwrap().into_iter().map(|range| &text[range]).collect()
    }

    #[test]
    fn empty_statements_and_outer_blanks_are_left_out() {
        assert_eq!(cut(""), Vec::<&str>::new());
        assert_eq!(cut(" ; ;; -- x"), Vec::<&str>::new());
        assert_eq!(cut(" ; SELECT 1 /* a */ ;; SELECT ';' ; "), ["SELECT 1", "SELECT ';'"]);
        assert_eq!(cut("SELECT $x$;$x$; SELECT \";\"/*;*/; SELECT 3"), ["SELECT $x$;$x$", "SELECT \";\"", "SELECT 3"]);
    }

    #[test]
    fn a_statement_begins_behind_the_semicolons_before_it() {
        let behind = |text: &'static str| &text[behind_semicolons(text)..];
        for text in ["", "SELECT 1", " /* ; */ SELECT 1; SELECT 2", "-- ;\nSELECT 1", "/* ;"] {
            assert_eq!(behind(text), text);
        }
        assert_eq!(behind(";SELECT 1; SELECT 2"), "SELECT 1; SELECT 2");
        assert_eq!(behind(" ; /* ; */ ;; -- x\n\tSELECT 1"), "SELECT 1");
        assert_eq!(behind(";;"), "");
        assert_eq!(behind("; /* SELECT 1"), " /* SELECT 1");
        assert_eq!(behind("; -- SELECT 1"), " -- SELECT 1");
        assert_eq!(behind("; 'a"), "'a");
        assert_eq!(without_first_semicolons(";/*ö*/;SELECT ';'; SELECT 2").unwrap(), "       SELECT ';'; SELECT 2");
        assert_eq!(without_first_semicolons(" SELECT 1; SELECT 2"), None);
    }

    #[test]
    fn semicolons_in_parentheses_belong_to_the_statement() {
        let rule = "CREATE RULE r AS ON INSERT TO t DO ALSO (INSERT INTO a VALUES (1); INSERT INTO b VALUES (2))";
        assert_eq!(cut(&format!("{rule}; SELECT 1")), [rule, "SELECT 1"]);
    }

    #[test]
    fn a_routine_body_is_one_statement() {
        for body in [
            "BEGIN ATOMIC SELECT 1; SELECT CASE WHEN true THEN 1 END; END",
            "begin atomic END",
            "BEGIN /* x */ ATOMIC SELECT 1 AS case; SELECT 2 AS end, x.end; SELECT (CASE WHEN a THEN 1 END); END",
            "BEGIN ATOMIC SELECT CASE a WHEN 1 THEN CASE b WHEN 2 THEN 3 END END; INSERT INTO t VALUES (1); END",
        ] {
            for head in ["CREATE FUNCTION f() RETURNS int", "create or replace procedure p(a int = (1))"] {
                let whole = format!("{head} {body}");
                assert_eq!(cut(&format!("{whole}; DELETE FROM t; END")), [&whole, "DELETE FROM t", "END"], "{whole}");
            }
        }
    }

    #[test]
    fn begin_elsewhere_ends_at_its_semicolon() {
        assert_eq!(cut("BEGIN; SELECT 1; END"), ["BEGIN", "SELECT 1", "END"]);
        assert_eq!(cut("CREATE TABLE t (a int); BEGIN; END"), ["CREATE TABLE t (a int)", "BEGIN", "END"]);
        assert_eq!(cut("CREATE FUNCTION begin() RETURNS int RETURN 1; SELECT 1").len(), 2);
        assert_eq!(cut("CREATE OR REPLACE VIEW atomic AS SELECT 1; BEGIN").len(), 2);
    }

    #[test]
    fn backslashes_escape_where_the_setting_says_so() {
        let text = r"SELECT 'a\'; b' 'c', N'd\'; e', E'f\'; g' -- \
            ; SELECT U'\' -- '";
        let parts = statements(text, false).unwrap();
        let parts: Vec<&str> = parts.into_iter().map(|range| &text[range]).collect();
        assert_eq!(parts, [r"SELECT 'a\'; b' 'c', N'd\'; e', E'f\'; g'", r"SELECT U'\' -- '"]);
        assert_eq!(statements(r"SELECT 'a\'; SELECT 2", true).unwrap().len(), 2);
    }

    #[test]
    fn an_error_anywhere_fails_all() {
        assert_eq!(statements("SELECT 1; SELECT 'a", true), Err(ScanError::Unterminated));
        assert_eq!(statements("SELECT 1; SELECT 'a\\' ", false), Err(ScanError::Unterminated));
        assert_eq!(statements("SELECT 1; /* /* */", true), Err(ScanError::Unterminated));
    }
}

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
    while let Some(token) = lexer.next()? {
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
    fn an_error_anywhere_fails_all() {
        assert_eq!(statements("SELECT 1; SELECT 'a", true), Err(ScanError::Unterminated));
        assert_eq!(statements("SELECT 1; SELECT 'a\\' ", false), Err(ScanError::NotUnderstood));
        assert_eq!(statements("SELECT 1; /* /* */", true), Err(ScanError::Unterminated));
    }
}

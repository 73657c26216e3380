//! Forms of Postgres that the parser does not know, put in forms that it knows and that mean the same to the analysis. Only
//! for reading: what is sent is always the client's own text, and a statement that had to be put so is never rewritten.

use sqlparser::ast::Statement;

use crate::sql::parse;
use crate::sql::words::{text_of, tokens};

/// Words that are read as others, of at most their length: the rest is blank, so that everything keeps its place.
const READ_AS: [(&[&str], &str); 6] = [
    (&["for", "no", "key", "update"], "for update"),
    (&["for", "key", "share"], "for share"),
    // The bounds can stand the other way round. Negated it says nothing of a key.
    (&["between", "symmetric"], "not between"),
    (&["overriding", "system", "value"], ""),
    (&["overriding", "user", "value"], ""),
    (&["between", "asymmetric"], "between"),
];

/// Parses a statement that [`parse`] does not understand as it is.
pub(crate) fn parse_relaxed(text: &str) -> Option<Statement> {
    parse_table(text).or_else(|| parse(&relaxed(text)?))
}

/// `TABLE name ...` is short for `SELECT * FROM name ...`.
fn parse_table(text: &str) -> Option<Statement> {
    let (first, rest) = text.split_at_checked(5)?;
    let is_table = first.eq_ignore_ascii_case("table") && rest.starts_with(|c: char| c.is_ascii_whitespace());
    parse(&format!("SELECT * FROM{}", is_table.then_some(rest)?))
}

/// The text with what [`READ_AS`] names replaced; `None` where there is nothing of it.
fn relaxed(text: &str) -> Option<String> {
    let tokens = tokens(text, true)?;
    let mut out = text.to_owned();
    let mut changed = false;
    for at in 0..tokens.len() {
        for (words, other) in READ_AS {
            let Some(found) = tokens.get(at..at + words.len()) else { continue };
            let same = found.iter().zip(words).all(|(token, word)| text_of(text, token).eq_ignore_ascii_case(word));
            let (Some(first), Some(last)) = (found.first(), found.last()) else { continue };
            let width = last.end - first.start;
            if same && other.len() <= width {
                out.replace_range(first.start..last.end, &format!("{other:width$}"));
                changed = true;
            }
        }
    }
    changed.then_some(out)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn everything_behind_a_replaced_form_keeps_its_place() {
        let text = "SELECT 1 FROM t WHERE a BETWEEN  symmetric 5 AND 1 AND b = '7' FOR NO KEY UPDATE OF t";
        let other = relaxed(text).unwrap();
        assert_eq!(other.len(), text.len());
        assert_eq!(other.find("'7'"), text.find("'7'"));
        assert!(other.contains("not between"));
        assert_eq!(relaxed("SELECT 1"), None);
        assert!(parse_relaxed("TABLE t LIMIT 3").is_some());
        assert!(parse_relaxed("SELECT 1 FROM t FOR NO KEY UPDATE SKIP LOCKED").is_some());
    }
}

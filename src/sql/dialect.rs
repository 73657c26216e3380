//! Forms of Postgres that the parser does not know, put in forms that it knows and that mean the same to the analysis. Only
//! for reading: what is sent is always the client's own text. Names in it can be changed, because everything keeps its place; but a
//! statement that had to be put so is never printed.

use sqlparser::ast::Statement;

use crate::sql::lexer::Token;
use crate::sql::locking::LockText;
use crate::sql::parse;
use crate::sql::words::{text_of, tokens};

/// Words that are read as others, of at most their length: the rest is blank, so that everything keeps its place.
const READ_AS: [(&[&str], &str); 12] = [
    (&["for", "no", "key", "update"], "for update"),
    (&["for", "key", "share"], "for share"),
    // The bounds can stand the other way round. Negated it says nothing of a key.
    (&["between", "symmetric"], "not between"),
    (&["overriding", "system", "value"], ""),
    (&["overriding", "user", "value"], ""),
    (&["between", "asymmetric"], "between"),
    // Of window frames.
    (&["exclude", "current", "row"], ""),
    (&["exclude", "group"], ""),
    (&["exclude", "ties"], ""),
    (&["exclude", "no", "others"], ""),
    // Behind a cast by `::`. Equal are the same texts as without, and of an order that is not known less is said than of this one.
    (&["collate", "\"C\""], ""),
    (&["collate", "\"POSIX\""], ""),
];

/// Parses a statement that [`parse`] does not understand as it is. Names and literals have the places that they have in the text, or
/// in the other text that is returned.
pub(crate) fn parse_relaxed(text: &str) -> Option<(Statement, Option<String>)> {
    if let Some(select) = table_as_select(text) {
        return Some((parse(&select)?, Some(select)));
    }
    if let Some(tree) = without_locks(text) {
        return Some((tree, None));
    }
    if let Some(statement) = relaxed(text).and_then(|text| parse(&text)) {
        return Some((statement, None));
    }
    let conditioned = conditioned(text)?;
    Some((parse(&conditioned)?, Some(conditioned)))
}

/// `INSERT ... SELECT 1 ON CONFLICT`: the parser takes ON for a name of the column, but not behind a condition.
fn conditioned(text: &str) -> Option<String> {
    let tokens = tokens(text, true)?;
    let is =
        |at: usize, word: &str| tokens.get(at).is_some_and(|token| text_of(text, token).eq_ignore_ascii_case(word));
    let at = (0..tokens.len()).find(|at| is(*at, "on") && is(at + 1, "conflict"))?;
    let (before, behind) = text.split_at_checked(tokens.get(at)?.start)?;
    Some(format!("{before}WHERE true {behind}"))
}

/// A query whose lock clause alone is not understood: nothing else of it is read as something else.
fn without_locks(text: &str) -> Option<Statement> {
    let LockText { clause, without, .. } = LockText::cut(text)?;
    let Statement::Query(mut query) = parse(&without)? else { return None };
    let alone = format!("SELECT FROM t {clause}");
    let Statement::Query(locks) = parse(&relaxed(&alone)?)? else { return None };
    query.locks = locks.locks;
    Some(Statement::Query(query))
}

/// `TABLE name ...` is short for `SELECT * FROM name ...`.
fn table_as_select(text: &str) -> Option<String> {
    let (first, rest) = text.split_at_checked(5)?;
    let is_table = first.eq_ignore_ascii_case("table") && rest.starts_with(|c: char| c.is_ascii_whitespace());
    is_table.then(|| format!("SELECT * FROM{rest}"))
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
                // A line's end stays one, or what follows would be on another line.
                let written = text.get(first.start..last.end).unwrap_or_default();
                let kept = written.bytes().enumerate().map(|(at, byte)| match (other.as_bytes().get(at), byte) {
                    (_, b'\n') => '\n',
                    (Some(byte), _) => char::from(*byte),
                    (None, _) => ' ',
                });
                let kept: String = kept.collect();
                out.replace_range(first.start..last.end, &kept);
                changed = true;
            }
        }
    }
    changed |= blank_lists(text, &tokens, &mut out).is_some();
    changed.then_some(out)
}

/// `FOR UPDATE OF a, b` names several tables: without the list it is for all of them, which is never less.
fn blank_lists(text: &str, tokens: &[Token], out: &mut String) -> Option<()> {
    let is = |at: usize, words: &[&str]| {
        tokens.get(at).is_some_and(|token| words.iter().any(|word| text_of(text, token).eq_ignore_ascii_case(word)))
    };
    let comma = |at: usize| tokens.get(at).is_some_and(|token| token.is(b','));
    let mut found = None;
    for at in (1..tokens.len()).filter(|at| is(*at, &["of"]) && is(at - 1, &["update", "share"]) && comma(at + 2)) {
        let mut last = at + 1;
        while comma(last + 1) {
            last += 2;
        }
        let bytes = tokens.get(at)?.start..tokens.get(last)?.end;
        let blank = text.get(bytes.clone())?.bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' });
        let blank: String = blank.collect();
        out.replace_range(bytes, &blank);
        found = Some(());
    }
    found
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
        let (_, other) = parse_relaxed("INSERT INTO t SELECT 1, 'x' ON CONFLICT (a) DO UPDATE SET b = 2").unwrap();
        assert!(other.unwrap().contains("'x' WHERE true ON CONFLICT"));
        assert!(parse_relaxed("SELECT 1 FROM t FOR NO KEY UPDATE SKIP LOCKED").is_some());
        assert!(parse_relaxed("SELECT 1 FROM t, u, v FOR KEY SHARE OF t, u NOWAIT").is_some());
        assert!(parse_relaxed("SELECT 1 FROM t, u FOR UPDATE OF t, u LIMIT 1").is_some());
        let (tree, _) = parse_relaxed("SELECT a FROM t ORDER BY a COLLATE \"C\" FOR KEY SHARE NOWAIT").unwrap();
        assert_eq!(tree.to_string(), "SELECT a FROM t ORDER BY a COLLATE \"C\" FOR SHARE NOWAIT");
    }
}

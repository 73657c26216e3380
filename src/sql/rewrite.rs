//! The tree changed and printed for the shards, behind the fidelity guard.
//!
//! A text is never cut by the tree's spans: the changed tree is printed, and only where printing the unchanged tree gives back
//! the statement's own literals and names.

use std::sync::Arc;

use sqlparser::ast::Statement;

use crate::sql::NameScope;
use crate::sql::lexer::{Lexer, Token, TokenKind};
use crate::sql::literals::Literals;
use crate::sql::moment::tell_time;
use crate::sql::names::fold;
use crate::sql::outcome::ScatterSql;
use crate::sql::pieces::{Pieces, can_have_holes, make_holes};
use crate::sql::template::{Slot, SlotKind, number_text, string_value};

/// Whether the parser's tree, printed, still says what `text` says: the same names and literals in the same order.
pub(crate) fn is_faithful(tree: &Statement, text: &str, standard_strings: bool) -> bool {
    // Printed strings are in the form of the standard; with the setting off a backslash in one would change its meaning.
    if !standard_strings {
        return false;
    }
    let printed = tree.to_string();
    match (all_said(&printed), all_said(text)) {
        (Some(ours), Some(theirs)) if ours == theirs => true,
        (Some(ours), Some(mut theirs)) => limit_before_offset(&mut theirs) && ours == theirs,
        _ => false,
    }
}

/// Whether two texts have the same names and literals in the same order.
pub(crate) fn says_the_same(a: &str, b: &str) -> bool {
    all_said(a).is_some_and(|said| all_said(b) == Some(said))
}

/// Whether it is printed with the same operators and brackets too, in the same order: then every part of it can be printed alone.
pub(crate) fn is_faithful_in_parts(tree: &Statement, text: &str, standard_strings: bool) -> bool {
    let same = || Some(all_signs(&tree.to_string())? == all_signs(text)?);
    is_faithful(tree, text, standard_strings) && same() == Some(true)
}

/// The operators and brackets of a text.
fn all_signs(text: &str) -> Option<Vec<&str>> {
    let mut lexer = Lexer::new(text, true);
    let mut all = Vec::new();
    while let Some(token) = lexer.next().ok()? {
        if let TokenKind::Operator | TokenKind::Punct(_) = token.kind {
            all.push(match text.get(token.start..token.end)? {
                "!=" => "<>",
                sign => sign,
            });
        }
    }
    Some(all)
}

/// OFFSET before LIMIT is printed behind it. Whether there was something to turn round, at the end of the statement.
fn limit_before_offset(said: &mut [Said]) -> bool {
    let last = |name: &str| said.iter().rposition(|s| matches!(s, Said::Name(n) if n == name));
    let (Some(offset), Some(limit)) = (last("offset"), last("limit")) else { return false };
    // Only constants and parameters, so that both belong to the same query.
    let plain = |part: Option<&[Said]>| matches!(part, Some([Said::Name(_), Said::Number(_) | Said::Parameter(_)]));
    if !plain(said.get(offset..limit)) || !plain(said.get(limit..)) {
        return false;
    }
    said[offset..].rotate_left(limit - offset);
    true
}

/// What a token says, freed of its spelling.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    Name(String),
    Text(String),
    Number(String),
    Parameter(String),
    Other(String),
}

/// The names, literals and parameters of a text; `None` where a token cannot be read.
fn all_said(text: &str) -> Option<Vec<Said>> {
    let mut lexer = Lexer::new(text, true);
    let mut all = Vec::new();
    while let Some(token) = lexer.next().ok()? {
        all.extend(said(text, &token)?);
    }
    Some(all)
}

fn said(text: &str, token: &Token) -> Option<Option<Said>> {
    let written = text.get(token.start..token.end)?;
    Some(match token.kind {
        TokenKind::Word => {
            let name = fold(written, false).into_owned();
            // Words that the printer adds or leaves out without changing the meaning.
            match &*name {
                "as" | "asc" | "inner" => None,
                // FETCH NEXT ROW is printed as FETCH FIRST ROWS.
                "next" => Some(Said::Name("first".to_owned())),
                "row" => Some(Said::Name("rows".to_owned())),
                _ => Some(Said::Name(name)),
            }
        }
        TokenKind::Quoted => {
            let inner = written.strip_prefix('"')?.strip_suffix('"')?;
            Some(Said::Name(fold(&inner.replace("\"\"", "\""), true).into_owned()))
        }
        TokenKind::UnicodeQuoted => return None,
        TokenKind::Parameter => Some(Said::Parameter(written.to_owned())),
        TokenKind::Literal(kind) => {
            let slot = Slot { kind, start: token.start as u32, end: token.end as u32 };
            Some(match kind {
                SlotKind::Integer | SlotKind::Number => Said::Number(number_text(text, &slot)?.to_owned()),
                SlotKind::String | SlotKind::EscapeString | SlotKind::DollarString => {
                    Said::Text(string_value(text, &slot)?.into_owned())
                }
                SlotKind::Other => Said::Other(written.to_owned()),
            })
        }
        TokenKind::Operator | TokenKind::Punct(_) => None,
    })
}

/// Makes the shards' text of a changed tree. Parameters that it no longer uses are left out and the others numbered anew. `clock`: it reads
/// the clock, by functions that these names lead to.
pub(crate) fn shard_sql(
    mut tree: Statement,
    parameters: u16,
    literals: &Literals,
    clock: Option<&NameScope<'_>>,
) -> Option<ScatterSql> {
    let printed = tree.to_string();
    let (_, used) = renumber(&printed, parameters)?;
    if !can_have_holes(&printed) {
        return None;
    }
    if let Some(scope) = clock {
        tell_time(&mut tree, scope)?;
    }
    make_holes(&mut tree, literals, used.is_some());
    Some(ScatterSql::Rewritten { text: Pieces::of(&tree.to_string())?, fewer: used.is_some() })
}

/// The text with its parameters numbered from $1 in order of first use, and which ones these were; unchanged where it uses all
/// of them.
pub(crate) fn renumber(text: &str, parameters: u16) -> Option<(String, Option<Arc<[u16]>>)> {
    let mut places = Vec::new();
    let mut lexer = Lexer::new(text, true);
    while let Some(token) = lexer.next().ok()? {
        if token.kind == TokenKind::Parameter {
            let number: u16 = text.get(token.start + 1..token.end)?.parse().ok()?;
            places.push((token, number.checked_sub(1)?));
        }
    }
    let mut used: Vec<u16> = Vec::new();
    for (_, parameter) in &places {
        if !used.contains(parameter) {
            used.push(*parameter);
        }
    }
    if used.len() == usize::from(parameters) {
        return Some((text.to_owned(), None));
    }
    let mut out = String::with_capacity(text.len());
    let mut copied = 0;
    for (token, parameter) in places {
        out.push_str(text.get(copied..token.start)?);
        let position = used.iter().position(|p| *p == parameter)?;
        out.push_str(&format!("${}", position + 1));
        copied = token.end;
    }
    out.push_str(text.get(copied..)?);
    Some((out, Some(used.into())))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn faithful(sql: &str) -> bool {
        is_faithful(&crate::sql::parse(sql).unwrap(), sql, true)
    }

    #[test]
    fn what_is_printed_as_it_was_written_may_be_rewritten() {
        for sql in [
            "select a, b as \"B\" from t where x = 'it''s' and y in (1, 2.5) order by 1 desc nulls last limit 3",
            "select count(*) filter (where a > 1) from s.t t1 join u using (k) where t1.x::text like E'a\\\\b'",
            "select x from t where d > date '2020-01-01' and y is not null and not z",
            "select case when a then 1 else 2 end, coalesce(b, $1) from t group by 1, 2 having count(*) > 1",
        ] {
            assert!(faithful(sql), "{sql}");
        }
    }

    #[test]
    fn a_lost_precision_is_noticed() {
        // The printer drops the precision of an interval.
        assert!(!faithful("select interval(2) '1.234 seconds' from t"));
    }

    #[test]
    fn parameters_are_numbered_anew_only_where_some_are_gone() {
        assert_eq!(renumber("a $2 b $1", 2).unwrap(), ("a $2 b $1".to_owned(), None));
        let (text, used) = renumber("a $3 '$1' $3 $2", 3).unwrap();
        assert_eq!(text, "a $1 '$1' $1 $2");
        assert_eq!(&*used.unwrap(), &[2, 1]);
    }
}

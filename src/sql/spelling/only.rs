//! `ONLY` before a table with a schema or an alias, which the parser does not know. It takes `ONLY t` for a table of that name; the
//! other forms are read without the word and with a mark behind the item: `s.t AS x WITH (pgloom_only)`. For reading alone.

use sqlparser::ast::{Expr, TableFactor};

use crate::sql::from::is_only;
use crate::sql::lexer::TokenKind;
use crate::sql::spelling::Tokens;
use crate::sql::splice::Edit;

const MARK: &str = "pgloom_only";

/// What can follow a FROM item without an alias: no name that an alias could have without AS.
const BEHIND_ITEM: [&str; 24] = [
    "join",
    "inner",
    "left",
    "right",
    "full",
    "cross",
    "natural",
    "on",
    "using",
    "where",
    "group",
    "having",
    "window",
    "order",
    "limit",
    "offset",
    "fetch",
    "for",
    "union",
    "intersect",
    "except",
    "returning",
    "tablesample",
    "with",
];

/// Whether the hints of a FROM item are the mark.
pub(crate) fn is_marked(hints: &[Expr]) -> bool {
    matches!(hints, [Expr::Identifier(name)] if name.quote_style.is_none() && name.value == MARK)
}

/// Whether a FROM item is a table without its children.
pub(crate) fn reads_only(factor: &TableFactor) -> bool {
    matches!(factor, TableFactor::Table { name, with_hints, .. } if is_only(name) || is_marked(with_hints))
}

impl Tokens<'_> {
    /// A FROM item of a query. What a statement changes is left alone: it has forms of its own.
    pub(super) fn only_marked(&self, at: usize) -> Option<(Vec<Edit>, usize)> {
        if !self.is(at, "only") || !self.is_name(at + 1) || self.is(at + 1, "from") {
            return None;
        }
        let before = at.checked_sub(1)?;
        let begins =
            self.is_any(before, &["from", "join"]) || self.is_punct(before, b',') || self.is_punct(before, b'(');
        if !begins || self.changes_rows() {
            return None;
        }
        let name = self.name_end(at + 1);
        let mut last = name;
        let alias = name + 1 + usize::from(self.is(name + 1, "as"));
        if self.is_name(alias) && (alias > name + 1 || !self.is_any(alias, &BEHIND_ITEM)) {
            last = alias;
            if self.is_punct(alias + 1, b'(') {
                last = self.closing(alias + 1)?;
            }
        }
        Some((vec![self.replace(at, at, "")?, self.insert_behind(last, &format!(" WITH ({MARK})"))?], last))
    }

    /// Whether UPDATE, DELETE or MERGE may be in it, anywhere but in a lock clause or ON CONFLICT.
    fn changes_rows(&self) -> bool {
        let locks = |at: usize| at.checked_sub(1).is_some_and(|before| self.is_any(before, &["for", "key", "do"]));
        let changes = |at: usize| self.is_any(at, &["delete", "merge"]) || self.is(at, "update") && !locks(at);
        (0..self.list.len()).any(|at| self.list[at].kind == TokenKind::Word && changes(at))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::sql::spelling::{Changed, looser};

    fn changed(text: &str) -> String {
        Changed::of(text, looser::edits(text)).map_or_else(|| text.to_owned(), |changed| changed.text)
    }

    #[test]
    fn the_word_is_read_as_a_mark_behind_the_item() {
        for (text, other) in [
            ("SELECT 1 FROM ONLY s.t", "SELECT 1 FROM  s.t WITH (pgloom_only)"),
            (
                "SELECT 1 FROM ONLY t x, only u AS y (a, b) WHERE c",
                "SELECT 1 FROM  t x WITH (pgloom_only),  u AS y (a, b) WITH (pgloom_only) WHERE c",
            ),
            (
                "SELECT 1 FROM (ONLY t JOIN ONLY s.u ON a = b) FOR UPDATE",
                "SELECT 1 FROM ( t WITH (pgloom_only) JOIN  s.u WITH (pgloom_only) ON a = b) FOR UPDATE",
            ),
            ("SELECT 1 AS only FROM t FETCH FIRST 2 ROWS ONLY", "SELECT 1 AS only FROM t FETCH FIRST 2 ROWS ONLY"),
            ("DELETE FROM ONLY s.t WHERE a", "DELETE FROM ONLY s.t WHERE a"),
            ("UPDATE t SET a = 1 FROM ONLY s.u x", "UPDATE t SET a = 1 FROM ONLY s.u x"),
        ] {
            assert_eq!(changed(text), other, "{text}");
        }
    }

    #[test]
    fn a_marked_item_is_one_without_children() {
        let marked = crate::sql::spelling::read("SELECT a FROM ONLY s.t AS x", 0, &[]).unwrap();
        let crate::sql::spelling::Read { tree: sqlparser::ast::Statement::Query(query), other: None } = marked else {
            panic!("another text is read")
        };
        let select = crate::sql::facts::as_select(&query).unwrap();
        assert!(reads_only(&select.from[0].relation));
    }
}

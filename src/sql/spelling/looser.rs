//! What is read otherwise than it is written, because the parser does not know it: for reading alone.
//!
//! A fact about where the rows are may get lost by it, none may come of it. Every change is one of words, so that what is printed of
//! the tree is never taken for the client's text ([`crate::sql::rewrite::says_the_same`]).

use crate::sql::lexer::TokenKind;
use crate::sql::spelling::Tokens;
use crate::sql::splice::Edit;

/// Words that are read as others.
const READ_AS: [(&[&str], &str); 20] = [
    // A row without columns: one value of which nothing is known.
    (&["select", "where"], "SELECT row() WHERE"),
    (&["for", "no", "key", "update"], "FOR UPDATE"),
    (&["for", "key", "share"], "FOR SHARE"),
    // The bounds can stand the other way round. Negated it says nothing of a key.
    (&["not", "between", "symmetric"], "NOT BETWEEN"),
    (&["between", "symmetric"], "NOT BETWEEN"),
    (&["not", "between", "asymmetric"], "NOT BETWEEN"),
    (&["between", "asymmetric"], "BETWEEN"),
    (&["overriding", "system", "value"], ""),
    (&["overriding", "user", "value"], ""),
    // Of window frames.
    (&["exclude", "current", "row"], ""),
    (&["exclude", "group"], ""),
    (&["exclude", "ties"], ""),
    (&["exclude", "no", "others"], ""),
    // Another test of one value, of which nothing else is known.
    (&["is", "document"], "IS NORMALIZED"),
    (&["is", "not", "document"], "IS NOT NORMALIZED"),
    // Groups that come twice: how many there are is no matter of where.
    (&["group", "by", "distinct"], "GROUP BY"),
    (&["variadic"], ""),
    // No more rows than without.
    (&["merge", "into", "only"], "MERGE INTO"),
    // Behind a cast by `::`. Equal are the same texts as without, and of an order that is not known less is said than of this one.
    (&["collate", "\"C\""], ""),
    (&["collate", "\"POSIX\""], ""),
];

/// Before a query that is the first member of a list.
const FIRST_QUERY: &str = "CASE WHEN TRUE THEN ";

/// A name that stands for columns that are not known: of a WITH query (see `Model::expand_cte`), and of `(expression).*`.
pub(crate) const MORE_COLUMNS: &str = "pgloom_more";

/// What is to be read otherwise.
pub(super) fn edits(text: &str) -> Vec<Edit> {
    Tokens::of(text).map(|tokens| tokens.looser()).unwrap_or_default()
}

impl Tokens<'_> {
    fn looser(&self) -> Vec<Edit> {
        let mut edits = Vec::new();
        let mut at = 0;
        while at < self.list.len() {
            let (found, last) = self.looser_at(at).unwrap_or((Vec::new(), at));
            edits.extend(found);
            at = last + 1;
        }
        edits
    }

    /// The edits of a form that begins here, and the last token that they reach.
    pub(super) fn looser_at(&self, at: usize) -> Option<(Vec<Edit>, usize)> {
        match self.get(at)?.kind {
            TokenKind::Word => self
                .words(at)
                .or_else(|| self.only_marked(at))
                .or_else(|| self.any_values(at))
                .or_else(|| self.in_queries(at))
                .or_else(|| self.lock_list(at))
                .or_else(|| self.arbiter(at))
                .or_else(|| self.named_using(at))
                .or_else(|| self.rows_from(at))
                .or_else(|| self.search_or_cycle(at))
                .or_else(|| self.operator_by_name(at))
                .or_else(|| self.xml(at))
                .or_else(|| self.part_assignment(at))
                .or_else(|| self.part_columns(at)),
            TokenKind::Operator => self.whole_row(at).or_else(|| self.operator_any(at)),
            TokenKind::Punct(_)
            | TokenKind::Quoted
            | TokenKind::UnicodeQuoted
            | TokenKind::Parameter
            | TokenKind::Literal(_) => None,
        }
    }

    fn words(&self, at: usize) -> Option<(Vec<Edit>, usize)> {
        let same =
            |words: &[&str]| words.iter().enumerate().all(|(i, word)| self.text_at(at + i).eq_ignore_ascii_case(word));
        let (words, other) = READ_AS.iter().find(|(words, _)| same(words))?;
        let last = at + words.len() - 1;
        Some((vec![self.replace(at, last, other)?], last))
    }

    /// `FOR UPDATE OF a, b` names several tables: without the list it is for all of them, which is never less.
    fn lock_list(&self, at: usize) -> Option<(Vec<Edit>, usize)> {
        let locks = self.is(at, "of") && self.is_any(at.checked_sub(1)?, &["update", "share"]);
        let mut last = self.name_end(at + 1);
        if !locks || !self.is_punct(last + 1, b',') {
            return None;
        }
        while self.is_punct(last + 1, b',') && self.is_name(last + 2) {
            last = self.name_end(last + 2);
        }
        Some((vec![self.replace(at, last, "")?], last))
    }

    /// `ON CONFLICT (a, b opclass, lower(c)) WHERE predicate`: by an index that holds the plain columns among these, and more that is not
    /// known.
    fn arbiter(&self, at: usize) -> Option<(Vec<Edit>, usize)> {
        if !self.are(at, &["on", "conflict"]) || !self.is_punct(at + 2, b'(') {
            return None;
        }
        let (top, close) = self.top(at + 2)?;
        let commas = top.into_iter().filter(|at| self.is_punct(*at, b','));
        let ends: Vec<usize> = std::iter::once(at + 2).chain(commas).chain([close]).collect();
        let plain = |ends: &[usize]| ends[0] + 2 == ends[1] && self.is_name(ends[0] + 1);
        let mut last = close;
        if self.is(close + 1, "where") {
            last = close + 2;
            while !(self.is(last + 1, "do") && self.is_any(last + 2, &["update", "nothing"])) {
                self.get(last + 1)?;
                last = if self.is_punct(last + 1, b'(') { self.closing(last + 1)? } else { last + 1 };
            }
        }
        if last == close && ends.windows(2).all(plain) {
            return None;
        }
        let columns = ends.windows(2).filter(|ends| plain(ends)).map(|ends| self.text_at(ends[0] + 1));
        let columns: Vec<&str> = columns.chain([MORE_COLUMNS]).collect();
        Some((vec![self.replace(at + 2, last, &format!("({})", columns.join(", ")))?], last))
    }

    /// `USING (a) AS name`: what the name qualifies are columns that are not known, where nothing else has the name.
    fn named_using(&self, at: usize) -> Option<(Vec<Edit>, usize)> {
        if !self.is(at, "using") || !self.is_punct(at + 1, b'(') {
            return None;
        }
        let name = self.closing(at + 1)? + 2;
        if !self.is(name - 1, "as") || !self.is_name(name) {
            return None;
        }
        let same =
            |other: &usize| self.is_name(*other) && self.text_at(*other).eq_ignore_ascii_case(self.text_at(name));
        let qualifies = |other: usize| other == name || self.is_punct(other + 1, b'.');
        let alone = (0..self.list.len()).filter(same).all(qualifies);
        alone.then_some((vec![self.replace(name - 1, name, "")?], name))
    }

    /// `ROWS FROM (f(..), g(..) AS (a int))` gives columns that are not known, of functions that are arguments here.
    fn rows_from(&self, at: usize) -> Option<(Vec<Edit>, usize)> {
        if !self.are(at, &["rows", "from"]) || !self.is_punct(at + 2, b'(') {
            return None;
        }
        let (top, _) = self.top(at + 2)?;
        let mut edits = vec![self.replace(at, at + 1, "unnest")?];
        let mut last = at + 2;
        for of in top.into_iter().filter(|at| self.is(*at, "as") && self.is_punct(at + 1, b'(')) {
            last = self.closing(of + 1)?;
            edits.push(self.replace(of, last, "")?);
        }
        Some((edits, last))
    }

    /// SEARCH and CYCLE behind a recursive query of WITH: it has more columns than it names.
    fn search_or_cycle(&self, at: usize) -> Option<(Vec<Edit>, usize)> {
        let close = at.checked_sub(1).filter(|close| self.is_punct(*close, b')'))?;
        let mut end = at;
        if self.is(end, "search") && self.is_any(end + 1, &["depth", "breadth"]) && self.are(end + 2, &["first", "by"])
        {
            end = self.names_end(end + 4)? + 1;
            end = Some(end + 2).filter(|_| self.is(end, "set"))?;
        }
        if self.is(end, "cycle") {
            end = self.names_end(end + 1)? + 1;
            end = Some(end + 2).filter(|_| self.is(end, "set"))?;
            if self.is(end, "to") && self.is(end + 2, "default") {
                end += 4;
            }
            end = Some(end + 2).filter(|_| self.is(end, "using"))?;
        }
        if end == at {
            return None;
        }
        let mut before = self.opening(close)?.checked_sub(1)?;
        while self.is_any(before, &["materialized", "not"]) {
            before = before.checked_sub(1)?;
        }
        let name = before.checked_sub(1).filter(|_| self.is(before, "as"))?;
        let more = match self.is_punct(name, b')') {
            true => self.insert_before(name, &format!(", {MORE_COLUMNS}"))?,
            false => self.insert_behind(name, &format!("({MORE_COLUMNS})"))?,
        };
        Some((vec![more, self.replace(at, end - 1, "")?], end - 1))
    }

    /// The last of the names, with commas between them, that begin here.
    fn names_end(&self, first: usize) -> Option<usize> {
        let mut last = first;
        while self.is_name(last) && self.is_punct(last + 1, b',') {
            last += 2;
        }
        self.is_name(last).then_some(last)
    }

    /// `OPERATOR(schema.=) ANY`, and one before its only operand: both are read as operators of which nothing is known.
    fn operator_by_name(&self, at: usize) -> Option<(Vec<Edit>, usize)> {
        if !self.is(at, "operator") || !self.is_punct(at + 1, b'(') || !self.is(at + 2, "pg_catalog") {
            return None;
        }
        let close = self.closing(at + 1)?;
        let list = self.is_any(close + 1, &["any", "all", "some"]) && self.is_punct(close + 2, b'(');
        let other = match (self.is_behind_value(at), list) {
            (true, true) => "~~",
            (false, false) => "@",
            _ => return None,
        };
        Some((vec![self.replace(at, close, other)?], close))
    }

    /// `> ALL (VALUES ...)`: the parser knows SELECT alone there.
    fn any_values(&self, at: usize) -> Option<(Vec<Edit>, usize)> {
        let list = self.is_any(at, &["any", "all", "some"]) && self.is_punct(at + 1, b'(') && self.is(at + 2, "values");
        let close = self.closing(at + 1).filter(|_| list)?;
        let edits =
            vec![self.insert_before(at + 2, "SELECT * FROM (")?, self.insert_before(close, ") AS pgloom_values")?];
        Some((edits, at + 2))
    }

    /// `IN ((SELECT ...), 5)`: a list that begins with a query, which the parser takes for the whole of it.
    fn in_queries(&self, at: usize) -> Option<(Vec<Edit>, usize)> {
        let list = self.is(at, "in") && self.is_punct(at + 1, b'(') && self.is_punct(at + 2, b'(');
        let close = self.closing(at + 2).filter(|close| list && self.is_punct(close + 1, b','))?;
        let first = (at + 2..close).find(|at| !self.is_punct(*at, b'('))?;
        let edits = vec![self.insert_before(at + 2, FIRST_QUERY)?, self.insert_behind(close, " END")?];
        self.is_any(first, &["select", "with", "values"]).then_some((edits, at + 1))
    }

    /// `@> ANY (array)`, with an operator that the parser does not know there: the operator is read as it is, between the value and the array
    /// or query.
    fn operator_any(&self, at: usize) -> Option<(Vec<Edit>, usize)> {
        const KNOWN: [&str; 15] =
            ["=", "<>", "!=", "<", ">", "<=", ">=", "~", "~*", "!~", "!~*", "~~", "~~*", "!~~", "!~~*"];
        let list = self.is_any(at + 1, &["any", "all", "some"]) && self.is_punct(at + 2, b'(');
        let found = list && self.is_behind_value(at) && !KNOWN.contains(&self.text_at(at));
        found.then_some((vec![self.replace(at + 1, at + 1, "")?], at + 1))
    }

    /// Whether a value ends before this place: no keyword behind which another one begins.
    fn is_behind_value(&self, at: usize) -> bool {
        const OPENERS: [&str; 19] = [
            "select",
            "distinct",
            "all",
            "where",
            "and",
            "or",
            "not",
            "on",
            "having",
            "by",
            "when",
            "then",
            "else",
            "case",
            "returning",
            "limit",
            "offset",
            "between",
            "using",
        ];
        self.is_behind_operand(at) && !at.checked_sub(1).is_some_and(|before| self.is_any(before, &OPENERS))
    }

    /// `(expression).*` among what a query gives: so many columns as the value has.
    fn fields(&self, at: usize) -> Option<(Vec<Edit>, usize)> {
        const NEXT: [&str; 14] = [
            "from",
            "into",
            "where",
            "order",
            "group",
            "limit",
            "union",
            "except",
            "intersect",
            "having",
            "window",
            "offset",
            "fetch",
            "for",
        ];
        let ends = self.get(at + 1).is_none_or(|token| matches!(token.kind, TokenKind::Punct(b')' | b',' | b';')));
        let found = self.is_punct(at - 2, b')') && (ends || self.is_any(at + 1, &NEXT));
        found.then_some((vec![self.replace(at - 1, at, &format!(", {MORE_COLUMNS}.*"))?], at))
    }

    /// `t.*` as an operand: the row of a table, which is read as `row(t.*)`.
    fn whole_row(&self, at: usize) -> Option<(Vec<Edit>, usize)> {
        if at >= 2 && self.is_operator(at, "*") && self.is_punct(at - 1, b'.') && !self.is_name(at - 2) {
            return self.fields(at);
        }
        let name = at.checked_sub(2).filter(|name| self.is_operator(at, "*") && self.is_name(*name))?;
        if !self.is_punct(at - 1, b'.') {
            return None;
        }
        let first = self.name_start(name);
        let operator = |at: usize| self.get(at).is_some_and(|token| token.kind == TokenKind::Operator);
        let word = ["is", "isnull", "notnull", "in", "not", "between", "and", "or", "then", "else", "end", "when"];
        let operand = operator(at + 1)
            || self.is_any(at + 1, &word)
            || first.checked_sub(1).is_some_and(|before| {
                operator(before) || self.is_any(before, &["where", "and", "or", "not", "by", "when"])
            });
        if !operand {
            return None;
        }
        Some((vec![self.insert_before(first, "row(")?, self.insert_behind(at, ")")?], at))
    }

    /// `SET a[1] = ...`, `SET c.f = ...`, and such columns of an INSERT: a part of the column is set, to something that has nothing to do
    /// with what the column is compared with. Read as a value made of the column itself.
    fn part_assignment(&self, at: usize) -> Option<(Vec<Edit>, usize)> {
        if !self.is_any(at, &["update", "do"]) {
            return None;
        }
        let set = (at + 1..self.list.len().min(at + 12)).find(|at| self.is(*at, "set"))?;
        let mut edits = Vec::new();
        let mut last = set;
        let mut target = set + 1;
        while self.is_name(target) || self.is_punct(target, b'(') {
            let end = self.target_end(target)?;
            if self.is_name(target) && end > target {
                let column = self.text_at(target);
                edits.push(self.replace(target + 1, end, "")?);
                edits.push(self.insert_behind(end + 1, &format!(" {column} ||"))?);
            }
            last = end + 1;
            if !self.is_operator(last, "=") {
                return None;
            }
            let Some(comma) = self.next_assignment(last) else { break };
            target = comma + 1;
        }
        (!edits.is_empty()).then_some((edits, last))
    }

    /// `INSERT INTO t (a[1], ...)`: the part of a column is read as a field of it, which the parser knows.
    fn part_columns(&self, at: usize) -> Option<(Vec<Edit>, usize)> {
        if !self.are(at, &["insert", "into"]) {
            return None;
        }
        let mut open = at + 3;
        while self.is_punct(open, b'.') && self.is_name(open + 1) {
            open += 2;
        }
        if self.is(open, "as") {
            open += 2;
        }
        if !self.is_punct(open, b'(') {
            return None;
        }
        let close = self.closing(open)?;
        let mut edits = Vec::new();
        let mut column = open + 1;
        while self.is_name(column) {
            let end = self.target_end(column)?;
            if (column..=end).any(|at| self.is_punct(at, b'[')) {
                edits.push(self.replace(column + 1, end, ".pgloom_part")?);
            }
            if !self.is_punct(end + 1, b',') {
                return (end + 1 == close && !edits.is_empty()).then_some((edits, close));
            }
            column = end + 2;
        }
        None
    }

    /// The last token of what stands before `=`; subscripts only of names, numbers and parameters.
    fn target_end(&self, first: usize) -> Option<usize> {
        if self.is_punct(first, b'(') {
            return self.closing(first);
        }
        let mut end = first;
        loop {
            if self.is_punct(end + 1, b'.') && self.is_name(end + 2) {
                end += 2;
            } else if self.is_punct(end + 1, b'[') {
                let close = self.closing(end + 1)?;
                if (end + 2..close).any(|at| self.is_punct(at, b'(')) {
                    return None;
                }
                end = close;
            } else {
                return Some(end);
            }
        }
    }

    /// The comma behind which another assignment follows.
    fn next_assignment(&self, from: usize) -> Option<usize> {
        let mut at = from;
        loop {
            if self.is_any(at, &["where", "from", "returning"]) {
                return None;
            }
            if self.is_punct(at, b',') {
                return Some(at);
            }
            self.get(at)?;
            at = match self.is_punct(at, b'(') || self.is_punct(at, b'[') {
                true => self.closing(at)? + 1,
                false => at + 1,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::sql::spelling::Changed;

    fn changed(text: &str) -> String {
        Changed::of(text, edits(text)).map_or_else(|| text.to_owned(), |changed| changed.text)
    }

    #[test]
    fn each_form_is_read_as_another() {
        for (text, other) in [
            ("SELECT a NOT BETWEEN SYMMETRIC 1 AND 2", "SELECT a NOT BETWEEN 1 AND 2"),
            ("SELECT f(a, VARIADIC b)", "SELECT f(a,  b)"),
            (
                "INSERT INTO t VALUES (1) ON CONFLICT (a, \"B\") DO NOTHING",
                "INSERT INTO t VALUES (1) ON CONFLICT (a, \"B\") DO NOTHING",
            ),
            (
                "INSERT INTO t VALUES (1) ON CONFLICT (a, \"B\") WHERE c AND (d = 1 OR f(e, 2)) DO UPDATE SET n = 1 WHERE t.n > 1",
                "INSERT INTO t VALUES (1) ON CONFLICT (a, \"B\", pgloom_more) DO UPDATE SET n = 1 WHERE t.n > 1",
            ),
            (
                "INSERT INTO t VALUES (1) ON CONFLICT (a, b int4_ops, c COLLATE \"C\", lower(d), (e + 1)) DO NOTHING",
                "INSERT INTO t VALUES (1) ON CONFLICT (a, pgloom_more) DO NOTHING",
            ),
            (
                "INSERT INTO t VALUES (1) ON CONFLICT (lower(d)) DO NOTHING",
                "INSERT INTO t VALUES (1) ON CONFLICT (pgloom_more) DO NOTHING",
            ),
            (
                "MERGE INTO ONLY t USING s ON a = b WHEN MATCHED THEN DELETE",
                "MERGE INTO t USING s ON a = b WHEN MATCHED THEN DELETE",
            ),
            ("SELECT o.*::text, o.*, count(o.*) FROM o", "SELECT row(o.*)::text, o.*, count(o.*) FROM o"),
            ("SELECT 1 FROM a, b WHERE a.* = s.b.*", "SELECT 1 FROM a, b WHERE row(a.*) = row(s.b.*)"),
            ("SELECT j.k FROM a JOIN b USING (k) AS j", "SELECT j.k FROM a JOIN b USING (k) "),
            ("SELECT j.k FROM j JOIN b USING (k) AS j", "SELECT j.k FROM j JOIN b USING (k) AS j"),
            (
                "SELECT 1 FROM ROWS FROM (f(1) AS (a int), g(2)) AS r (a, b)",
                "SELECT 1 FROM unnest (f(1) , g(2)) AS r (a, b)",
            ),
            (
                "WITH RECURSIVE r (a) AS (SELECT 1) SEARCH DEPTH FIRST BY a SET b CYCLE a SET c USING d SELECT 1",
                "WITH RECURSIVE r (a, pgloom_more) AS (SELECT 1)  SELECT 1",
            ),
            (
                "WITH RECURSIVE r AS (SELECT 1) CYCLE a, b SET c TO 'Y' DEFAULT 'N' USING d, s AS (SELECT 2) SELECT 1",
                "WITH RECURSIVE r(pgloom_more) AS (SELECT 1) , s AS (SELECT 2) SELECT 1",
            ),
            ("SELECT (a).*, (f(b)).* FROM t", "SELECT (a), pgloom_more.*, (f(b)), pgloom_more.* FROM t"),
            ("SELECT 1 WHERE a @> ANY (b) AND c = ALL (d)", "SELECT 1 WHERE a @>  (b) AND c = ALL (d)"),
            (
                "SELECT 1 WHERE a > ALL (VALUES (1), (2))",
                "SELECT 1 WHERE a > ALL (SELECT * FROM (VALUES (1), (2)) AS pgloom_values)",
            ),
            ("SELECT WHERE a", "SELECT row() WHERE a"),
            ("SELECT OPERATOR(pg_catalog.-) a", "SELECT @ a"),
            ("SELECT a OPERATOR(pg_catalog.=) ANY (b)", "SELECT a ~~ ANY (b)"),
            ("SELECT a OPERATOR(pg_catalog.=) b", "SELECT a OPERATOR(pg_catalog.=) b"),
            ("UPDATE t SET a[1] = 5, b = f(2, 3), c.d = 4", "UPDATE t SET a = a || 5, b = f(2, 3), c = c || 4"),
            ("UPDATE t SET a[f(1)] = 5", "UPDATE t SET a[f(1)] = 5"),
            ("SELECT 1 FROM t, u FOR UPDATE OF t, u NOWAIT", "SELECT 1 FROM t, u FOR UPDATE  NOWAIT"),
        ] {
            assert_eq!(changed(text), other, "{text}");
        }
    }
}

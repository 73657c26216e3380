//! Spellings that mean exactly the same to Postgres: its grammar makes the same tree of both.

use crate::sql::lexer::TokenKind;
use crate::sql::spelling::{Tokens, strings};
use crate::sql::splice::Edit;
use crate::sql::template::SlotKind;

/// What is to be changed in a statement so that the parser reads it.
pub(super) fn edits(text: &str) -> Vec<Edit> {
    Tokens::of(text).map(|tokens| tokens.same()).unwrap_or_default()
}

/// Those of them that only make long chains less deep.
pub(super) fn chains(text: &str) -> Vec<Edit> {
    Tokens::of(text).map(|tokens| tokens.chains()).unwrap_or_default()
}

/// `INSERT ... SELECT 1 ON CONFLICT`: the parser takes ON for a name of the column, but not behind a condition.
pub(super) fn conditioned(text: &str) -> Option<Edit> {
    let tokens = Tokens::of(text)?;
    let at = (0..tokens.list.len()).find(|at| tokens.are(*at, &["on", "conflict"]))?;
    tokens.insert_before(at, "WHERE true ")
}

/// A WITH of which nothing is read.
const UNREAD: &str = "WITH pgloom_unread AS (SELECT true) ";

/// What can follow `TABLE name`.
const BEHIND_TABLE: [&str; 10] =
    ["order", "limit", "offset", "fetch", "for", "union", "except", "intersect", "on", "returning"];

/// Words before a parenthesis or a literal that are no names of functions or types.
const NO_CALLS: [&str; 16] = [
    "select",
    "by",
    "and",
    "or",
    "not",
    "where",
    "having",
    "on",
    "when",
    "then",
    "else",
    "case",
    "distinct",
    "returning",
    "like",
    "between",
];

/// Words before the last parentheses of something longer.
const ENDS_IN_PARENTHESES: [&str; 7] = ["in", "any", "all", "some", "over", "filter", "group"];

impl Tokens<'_> {
    fn same(&self) -> Vec<Edit> {
        let mut edits = self.chains();
        let mut at = 0;
        while at < self.list.len() {
            let (found, last) = self.same_at(at).unwrap_or((Vec::new(), at));
            edits.extend(found);
            at = last + 1;
        }
        edits
    }

    /// The edits of a spelling that begins here, and the last token that they reach.
    fn same_at(&self, at: usize) -> Option<(Vec<Edit>, usize)> {
        let kind = self.get(at)?.kind;
        let one = |(edit, last): (Edit, usize)| (vec![edit], last);
        match kind {
            TokenKind::Word => self
                .like(at)
                .or_else(|| self.null_test(at))
                .or_else(|| self.table(at))
                .or_else(|| self.collation(at))
                .or_else(|| self.group_by_all(at))
                .or_else(|| self.only(at))
                .or_else(|| self.fetch(at))
                .or_else(|| self.trim(at))
                .map(one)
                .or_else(|| self.grouping_items(at))
                .or_else(|| self.substring(at))
                .or_else(|| self.row(at).map(one))
                .or_else(|| self.collated_cast(at))
                .or_else(|| self.frame_bound(at))
                .or_else(|| self.typed_string(at)),
            TokenKind::Quoted => self.typed_string(at),
            TokenKind::Operator => self
                .children(at)
                .or_else(|| self.any_of_values(at))
                .or_else(|| self.any_of_set(at))
                .or_else(|| self.values_alone(at + 1))
                .map(one),
            TokenKind::Literal(_) | TokenKind::UnicodeQuoted => self.unicode(at).map(one),
            TokenKind::Punct(_) | TokenKind::Parameter => None,
        }
    }

    /// `LIKE ANY (...)` is the operator `~~` by name: it has that name and that precedence in the grammar.
    fn like(&self, at: usize) -> Option<(Edit, usize)> {
        let negated = self.is(at, "not");
        let like = at + usize::from(negated);
        let operator = match (self.is(like, "like"), self.is(like, "ilike"), negated) {
            (true, _, false) => "~~",
            (true, _, true) => "!~~",
            (_, true, false) => "~~*",
            (_, true, true) => "!~~*",
            (false, false, _) => return None,
        };
        let list = self.is_any(like + 1, &["any", "all", "some"]) && self.is_punct(like + 2, b'(');
        (list && self.is_behind_operand(at)).then_some((self.replace(at, like, &format!(" {operator} "))?, like))
    }

    /// `= ANY (VALUES ...)` is `IN (VALUES ...)`.
    fn any_of_values(&self, at: usize) -> Option<(Edit, usize)> {
        let found = self.is_operator(at, "=")
            && self.is_any(at + 1, &["any", "some"])
            && self.is_punct(at + 2, b'(')
            && self.is(at + 3, "values")
            && self.is_behind_operand(at);
        found.then_some((self.replace(at, at + 1, " IN ")?, at + 1))
    }

    /// `< ALL ((SELECT ...) UNION SELECT ...)`: behind a parenthesis the parser looks for an expression. A WITH that nothing reads changes nothing.
    fn any_of_set(&self, at: usize) -> Option<(Edit, usize)> {
        let opens = self.is_any(at + 1, &["any", "all", "some"])
            && self.is_punct(at + 2, b'(')
            && self.is_punct(at + 3, b'(')
            && self.is_behind_operand(at);
        if !opens || !self.is_any(self.closing(at + 3)? + 1, &["union", "except", "intersect"]) {
            return None;
        }
        Some((self.insert_before(at + 3, UNREAD)?, at + 2))
    }

    /// `= (VALUES (3))`: the parser takes VALUES for a function there.
    fn values_alone(&self, open: usize) -> Option<(Edit, usize)> {
        let found = self.is_punct(open, b'(') && self.is(open + 1, "values") && self.is_punct(open + 2, b'(');
        found.then_some((self.insert_before(open + 1, UNREAD)?, open + 1))
    }

    /// `ROLLUP ((a)::text)`: where an item begins with a parenthesis that does not end it, the parser takes what is in there for a list. One
    /// more around the item is none.
    fn grouping_items(&self, at: usize) -> Option<(Vec<Edit>, usize)> {
        let sets = self.are(at, &["grouping", "sets"]);
        let open = at + 1 + usize::from(sets);
        if !(sets || self.is_any(at, &["rollup", "cube"])) || !self.is_punct(open, b'(') {
            return None;
        }
        let (top, close) = self.top(open)?;
        let commas = top.into_iter().filter(|at| self.is_punct(*at, b','));
        let ends: Vec<usize> = std::iter::once(open).chain(commas).chain([close]).collect();
        let mut edits = Vec::new();
        for ends in ends.windows(2) {
            let (first, last) = (ends[0] + 1, ends[1] - 1);
            // Sets within sets are as if they were written without the inner words.
            if sets && self.are(first, &["grouping", "sets"]) && self.is_punct(first + 2, b'(') {
                if self.closing(first + 2)? == last {
                    edits.push(self.replace(first, first + 2, "")?);
                    edits.push(self.replace(last, last, "")?);
                }
                continue;
            }
            if self.is_punct(first, b'(') && self.closing(first)? < last {
                edits.push(self.insert_before(first, "(")?);
                edits.push(self.insert_behind(last, ")")?);
            }
        }
        (!edits.is_empty()).then_some((edits, at))
    }

    fn null_test(&self, at: usize) -> Option<(Edit, usize)> {
        let test = match (self.is(at, "isnull"), self.is(at, "notnull")) {
            (true, _) => "IS NULL",
            (_, true) => "IS NOT NULL",
            (false, false) => return None,
        };
        // A function, a name behind AS, a column of something.
        let other = self.is_punct(at + 1, b'(')
            || self.is_punct(at + 1, b'.')
            || at.checked_sub(1).is_some_and(|before| self.is(before, "as"));
        (!other && self.is_behind_operand(at)).then_some((self.replace(at, at, test)?, at))
    }

    /// `TABLE name` is short for `SELECT * FROM name`.
    fn table(&self, at: usize) -> Option<(Edit, usize)> {
        let begins = self.is(at, "table") && (self.is_name(at + 1) || self.is_unicode_name(at + 1));
        let before = |words: &[&str]| at.checked_sub(1).is_some_and(|before| self.is_any(before, words));
        let other = before(&["as", "into", "temp", "temporary", "unlogged"])
            || at.checked_sub(1).is_some_and(|before| self.is_punct(before, b'.'));
        let name = at + 1 + usize::from(self.is(at + 1, "only"));
        let behind = self.name_end(name) + 1;
        let ends = self.get(behind).is_none_or(|token| matches!(token.kind, TokenKind::Punct(b')' | b';')))
            || self.is_any(behind, &BEHIND_TABLE);
        (begins && !other && ends).then_some((self.replace(at, at, "SELECT * FROM")?, at))
    }

    fn is_unicode_name(&self, at: usize) -> bool {
        self.get(at).is_some_and(|token| token.kind == TokenKind::UnicodeQuoted)
    }

    fn collation(&self, at: usize) -> Option<(Edit, usize)> {
        if !self.are(at, &["collation", "for"]) || !self.is_punct(at + 2, b'(') {
            return None;
        }
        let (top, _) = self.top(at + 2)?;
        let one = !top.is_empty() && !top.iter().any(|at| self.is_punct(*at, b','));
        one.then_some((self.replace(at, at + 1, "pg_catalog.pg_collation_for")?, at + 1))
    }

    /// ALL is what GROUP BY does anyway.
    fn group_by_all(&self, at: usize) -> Option<(Edit, usize)> {
        let found = self.are(at, &["group", "by", "all"]) && at + 3 < self.list.len();
        found.then_some((self.replace(at + 2, at + 2, "")?, at + 2))
    }

    /// `ONLY (name)`
    fn only(&self, at: usize) -> Option<(Edit, usize)> {
        let named = self.is(at, "only") && self.is_punct(at + 1, b'(') && self.is_name(at + 2);
        let close = self.name_end(at + 2) + 1;
        if !named || !self.is_punct(close, b')') {
            return None;
        }
        let name = self.text.get(self.get(at + 2)?.start..self.get(close - 1)?.end)?;
        Some((self.replace(at + 1, close, &format!(" {name}"))?, close))
    }

    /// `FETCH FIRST (expression) ROWS ONLY`, or with a signed number
    fn fetch(&self, at: usize) -> Option<(Edit, usize)> {
        if !self.is(at, "fetch") || !self.is_any(at + 1, &["first", "next"]) {
            return None;
        }
        let sign = self.get(at + 2)?;
        let is_sign =
            sign.kind == TokenKind::Operator && matches!(self.text.get(sign.start..sign.end), Some("-" | "+"));
        let close = match self.get(at + 3)?.kind {
            TokenKind::Literal(SlotKind::Integer) if is_sign => at + 3,
            _ if self.is_punct(at + 2, b'(') => self.closing(at + 2)?,
            _ => return None,
        };
        if !self.is_any(close + 1, &["row", "rows"]) || !self.is(close + 2, "only") {
            return None;
        }
        let amount = self.text.get(self.get(at + 2)?.start..self.get(close)?.end)?;
        // Its literals would lose their places: only where there is nothing to be changed in it.
        Some((self.replace(at, close + 2, &format!("LIMIT {amount}"))?, close + 2))
    }

    /// `trim(leading from x)`: without characters it is a function of one argument.
    fn trim(&self, at: usize) -> Option<(Edit, usize)> {
        if !self.is(at, "trim") || !self.is_punct(at + 1, b'(') {
            return None;
        }
        let side = self.is_any(at + 2, &["leading", "trailing", "both"]);
        let from = at + 2 + usize::from(side);
        let function = match (self.is(at + 2, "leading"), self.is(at + 2, "trailing")) {
            (true, _) => "pg_catalog.ltrim(",
            (_, true) => "pg_catalog.rtrim(",
            (false, false) => "pg_catalog.btrim(",
        };
        self.is(from, "from").then_some((self.replace(at, from, function)?, from))
    }

    /// `substring(x similar pattern escape c)`
    fn substring(&self, at: usize) -> Option<(Vec<Edit>, usize)> {
        if !self.is(at, "substring") || !self.is_punct(at + 1, b'(') {
            return None;
        }
        let (top, _) = self.top(at + 1)?;
        let one = |word: &str| {
            let mut found = top.iter().copied().filter(|at| self.is(*at, word));
            found.next().filter(|_| found.next().is_none())
        };
        let (similar, escape) = (one("similar")?, one("escape")?);
        if self.is(similar + 1, "to") || escape < similar {
            return None;
        }
        let edits = vec![
            self.replace(at, at, "pg_catalog.\"substring\"")?,
            self.replace(similar, similar, ",")?,
            self.replace(escape, escape, ",")?,
        ];
        // Nothing else is looked for in it: edits must not meet.
        Some((edits, escape))
    }

    /// `SET (a, b) = ROW (x, y)`
    fn row(&self, at: usize) -> Option<(Edit, usize)> {
        if !self.is(at, "row") || !self.is_punct(at + 1, b'(') || at < 4 || !self.is_operator(at - 1, "=") {
            return None;
        }
        let open = self.opening(at - 2).filter(|_| self.is_punct(at - 2, b')'))?;
        let (values, _) = self.top(at + 1)?;
        let several = values.iter().any(|at| self.is_punct(*at, b','));
        let set = self.is(open.checked_sub(1)?, "set");
        let star = values.iter().any(|at| self.is_operator(*at, "*") && self.is_punct(*at - 1, b'.'));
        (set && several && !star).then_some((self.replace(at, at, "")?, at))
    }

    /// `a::text COLLATE c`: the parser knows COLLATE behind one operand, not behind a cast.
    fn collated_cast(&self, at: usize) -> Option<(Vec<Edit>, usize)> {
        if !self.is(at, "collate") || !self.is_name(at + 1) {
            return None;
        }
        let mut start = self.cast_operand(at.checked_sub(1)?)?;
        // Casts of casts.
        while let Some(cast) = start.checked_sub(1).filter(|before| self.is_operator(*before, "::")) {
            start = self.operand_start(cast.checked_sub(1)?)?;
        }
        // What is prefixed, by an operator or as the literal of a type, is more than this operand.
        let before = start.checked_sub(1)?;
        let prefixed = self.is_operator(before, "-") || self.is_operator(before, "+") || self.is_punct(before, b'.');
        (!prefixed).then_some((vec![self.insert_before(start, "(")?, self.insert_behind(at - 1, ")")?], at))
    }

    /// `'1 year'::interval PRECEDING`: the parser takes a string there for an interval of its own, without a cast.
    fn frame_bound(&self, at: usize) -> Option<(Vec<Edit>, usize)> {
        if !self.is_any(at, &["preceding", "following"]) {
            return None;
        }
        let start = self.cast_operand(at.checked_sub(1)?)?;
        let is_string = matches!(self.get(start)?.kind, TokenKind::Literal(_));
        is_string.then_some((vec![self.insert_before(start, "(")?, self.insert_behind(at - 1, ")")?], at))
    }

    /// Where the operand of the cast begins whose type ends here.
    fn cast_operand(&self, last: usize) -> Option<usize> {
        let name = match self.is_punct(last, b')') {
            true => self.opening(last)?.checked_sub(1)?,
            false => last,
        };
        if !self.is_name(name) {
            return None;
        }
        let first = self.name_start(name);
        let two = self.is(name, "varying") && self.is_any(name.checked_sub(1)?, &["character", "char"]);
        let cast = first.checked_sub(1 + usize::from(two))?;
        if !self.is_operator(cast, "::") {
            return None;
        }
        self.operand_start(cast.checked_sub(1)?)
    }

    /// Where the operand begins that ends here: a column, a call, something in parentheses, a parameter, a plain literal.
    fn operand_start(&self, last: usize) -> Option<usize> {
        match self.get(last)?.kind {
            TokenKind::Punct(b')') => {
                let open = self.opening(last)?;
                if open.checked_sub(1).is_some_and(|word| self.is_any(word, &ENDS_IN_PARENTHESES)) {
                    return None;
                }
                let call = open.checked_sub(1).filter(|name| self.is_name(*name) && !self.is_any(*name, &NO_CALLS));
                Some(call.map_or(open, |name| self.name_start(name)))
            }
            TokenKind::Punct(b']') => self.operand_start(self.opening(last)?.checked_sub(1)?),
            TokenKind::Word | TokenKind::Quoted => {
                // A type of a cast, or a keyword at the end of something else.
                let plain = !self.is_any(last, &["end", "null", "true", "false"]);
                plain.then(|| self.name_start(last))
            }
            TokenKind::Parameter => Some(last),
            TokenKind::Literal(_) => {
                let typed =
                    last.checked_sub(1).is_some_and(|before| self.is_name(before) && !self.is_any(before, &NO_CALLS));
                (!typed).then_some(last)
            }
            TokenKind::Punct(_) | TokenKind::UnicodeQuoted | TokenKind::Operator => None,
        }
    }

    /// `FROM name *` is the table with its children, as without.
    fn children(&self, at: usize) -> Option<(Edit, usize)> {
        const NEXT: [&str; 22] = [
            "where",
            "order",
            "group",
            "limit",
            "offset",
            "fetch",
            "for",
            "join",
            "left",
            "right",
            "inner",
            "full",
            "cross",
            "natural",
            "on",
            "using",
            "set",
            "as",
            "union",
            "except",
            "intersect",
            "having",
        ];
        let name = at.checked_sub(1).filter(|name| self.is_operator(at, "*") && self.is_name(*name))?;
        let before = self.name_start(name).checked_sub(1)?;
        if self.is_any(before, &["join", "update"])
            || self.is(before, "from") && self.is(before.checked_sub(1)?, "delete")
        {
            return Some((self.replace(at, at, "")?, at));
        }
        // Arithmetic would go on behind it.
        let ends = self.get(at + 1).is_none_or(|token| matches!(token.kind, TokenKind::Punct(b')' | b',' | b';')));
        let ends = ends || self.is_any(at + 1, &NEXT);
        // An alias; `IS DISTINCT FROM a * b` is none.
        let compares = before.checked_sub(1).is_some_and(|word| self.is(word, "distinct"));
        let ends = ends || self.is_name(at + 1) && !compares;
        // Not that of `extract(year FROM a * b)`.
        let clause = || self.around(before).is_none_or(|open| self.is_any(open + 1, &["select", "with"]));
        (self.is(before, "from") && ends && clause()).then_some((self.replace(at, at, "")?, at))
    }

    /// `U&'...'` and `U&"..."`, with or without UESCAPE.
    fn unicode(&self, at: usize) -> Option<(Edit, usize)> {
        let written = self.text_at(at);
        let quoted = written.strip_prefix("U&").or_else(|| written.strip_prefix("u&"))?;
        let (escape, last) = match self.is(at + 1, "uescape") {
            true => (strings::escape_character(self.text_at(at + 2))?, at + 2),
            false => ('\\', at),
        };
        Some((self.replace(at, last, &strings::without_escapes(quoted, escape)?)?, last))
    }

    /// `type '...'`, of a type that the parser does not know as one.
    fn typed_string(&self, at: usize) -> Option<(Vec<Edit>, usize)> {
        let last = self.name_end(at);
        let literal = last + 1;
        let is_string = matches!(
            self.get(literal)?.kind,
            TokenKind::Literal(
                crate::sql::template::SlotKind::String
                    | crate::sql::template::SlotKind::EscapeString
                    | crate::sql::template::SlotKind::DollarString
            )
        );
        // Postgres has no subscript there.
        let is_string = is_string && !self.is_punct(literal + 1, b'[');
        let behind_dot = at.checked_sub(1).is_some_and(|before| self.is_punct(before, b'.'));
        if !is_string || behind_dot || !strings::is_type(self.text_at(last), self.get(last)?.kind, last > at) {
            return None;
        }
        let name = self.text.get(self.get(at)?.start..self.get(last)?.end)?;
        Some((vec![self.replace(at, last, "")?, self.insert_behind(literal, &format!("::{name}"))?], literal))
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
    fn each_spelling_has_another() {
        for (text, other) in [
            ("SELECT a LIKE ANY ('{x}')", "SELECT a  ~~  ANY ('{x}')"),
            ("SELECT a not ilike all (b)", "SELECT a  !~~*  all (b)"),
            ("SELECT a ISNULL, b notnull", "SELECT a IS NULL, b IS NOT NULL"),
            ("SELECT isnull(a) AS isnull, t.isnull", "SELECT isnull(a) AS isnull, t.isnull"),
            ("SELECT k = ANY (VALUES (1), (2))", "SELECT k  IN  (VALUES (1), (2))"),
            ("SELECT k < ANY (VALUES (1)), k = ANY (a)", "SELECT k < ANY (VALUES (1)), k = ANY (a)"),
            (
                "SELECT 1 FROM t GROUP BY ROLLUP ((a)::text, (b, c), (d)), GROUPING SETS ((a) || b, cube ((e) + 1))",
                "SELECT 1 FROM t GROUP BY ROLLUP (((a)::text), (b, c), (d)), GROUPING SETS (((a) || b), cube (((e) + 1)))",
            ),
            ("TABLE t", "SELECT * FROM t"),
            ("SELECT (TABLE ONLY t) AS table", "SELECT (SELECT * FROM ONLY t) AS table"),
            ("INSERT INTO a TABLE b", "INSERT INTO a SELECT * FROM b"),
            ("TABLE t WHERE a = 1", "TABLE t WHERE a = 1"),
            ("SELECT 1 INTO TEMP TABLE t", "SELECT 1 INTO TEMP TABLE t"),
            ("SELECT collation for (a)", "SELECT pg_catalog.pg_collation_for (a)"),
            ("SELECT 1 FROM ONLY (s.t) WHERE a", "SELECT 1 FROM ONLY  s.t WHERE a"),
            ("SELECT 1 FROM t *, u JOIN s.u * ON a * b > 1", "SELECT 1 FROM t , u JOIN s.u  ON a * b > 1"),
            ("SELECT count(*), a * b, t.* FROM t", "SELECT count(*), a * b, t.* FROM t"),
            (
                "SELECT p.a FROM t* p WHERE a IS DISTINCT FROM b * c",
                "SELECT p.a FROM t p WHERE a IS DISTINCT FROM b * c",
            ),
            (
                "SELECT 1 FROM t GROUP BY GROUPING SETS ((), GROUPING SETS ((a), (b, c)))",
                "SELECT 1 FROM t GROUP BY GROUPING SETS ((), (a), (b, c))",
            ),
            (
                "SELECT sum(a) OVER (ORDER BY b RANGE BETWEEN '1 year'::interval PRECEDING AND 2 FOLLOWING) FROM t",
                "SELECT sum(a) OVER (ORDER BY b RANGE BETWEEN ('1 year'::interval) PRECEDING AND 2 FOLLOWING) FROM t",
            ),
            ("SELECT extract(year FROM a * b) FROM t", "SELECT extract(year FROM a * b) FROM t"),
            ("DELETE FROM t RETURNING *", "DELETE FROM t RETURNING *"),
            ("SELECT trim(leading from a)", "SELECT pg_catalog.ltrim( a)"),
            ("SELECT substring(a similar b escape 'c')", "SELECT pg_catalog.\"substring\"(a , b , 'c')"),
            ("UPDATE t SET (a, b) = ROW(1, 2)", "UPDATE t SET (a, b) = (1, 2)"),
            ("UPDATE t SET (a) = ROW(1)", "UPDATE t SET (a) = ROW(1)"),
            ("SELECT pg_lsn '1/2', s.mood E'ok'", "SELECT  '1/2'::pg_lsn,  E'ok'::s.mood"),
            (
                "SELECT a FROM t ORDER BY a::text COLLATE \"x\", f(b)::varchar(3) COLLATE c, (a || b)::s.t collate c",
                "SELECT a FROM t ORDER BY (a::text) COLLATE \"x\", (f(b)::varchar(3)) COLLATE c, ((a || b)::s.t) collate c",
            ),
            (
                "SELECT x || t.a[1]::int::text COLLATE \"C\" < $1::character varying COLLATE pg_catalog.\"C\"",
                "SELECT x || (t.a[1]::int::text) COLLATE \"C\" < ($1::character varying) COLLATE pg_catalog.\"C\"",
            ),
            (
                "SELECT a IN (b)::text COLLATE c, - a::text COLLATE c",
                "SELECT a IN (b)::text COLLATE c, - a::text COLLATE c",
            ),
            ("SELECT date 'x'::text COLLATE c, a COLLATE c", "SELECT date 'x'::text COLLATE c, a COLLATE c"),
            ("SELECT 1 FETCH FIRST (1 + 2) ROWS ONLY", "SELECT 1 LIMIT (1 + 2)"),
            ("SELECT U&'d\\0061t', U&\"n!0061\" UESCAPE '!'", "SELECT 'dat', \"na\""),
            ("CREATE TABLE t (a int)", "CREATE TABLE t (a int)"),
        ] {
            assert_eq!(changed(text), other, "{text}");
        }
    }
}

//! INSERT into a temporary table of rows that lie on several shards. Only the session's own connection has the table, so the rows come there
//! in a table of the home shard which has its columns, and which nobody else ever sees.

use sqlparser::ast::Insert;

use crate::ids::QualifiedName;
use crate::sql::analyze::Analyzer;
use crate::sql::create_as::{CreateAs, Temporary};
use crate::sql::finish::Parsed;
use crate::sql::insert_keys::InsertSource;
use crate::sql::inserting::has_query;
use crate::sql::lexer::{Token, TokenKind};
use crate::sql::names::{creation_schema, is_temporary_schema};
use crate::sql::pulls::quoted;
use crate::sql::words::{first_parameter, text_of, tokens};

impl Analyzer<'_> {
    /// The steps of it; `None` where the statement has a form that is not taken apart, or names no table of that shard.
    pub(crate) fn filled_temporary(
        &self,
        parsed: &Parsed<'_>,
        insert: &Insert,
        columns: Option<&[String]>,
        source: &InsertSource<'_>,
    ) -> Option<CreateAs> {
        let home = self.scope.topology.home;
        let here = self.scope.temporary.is_none_or(|shard| shard == home) && self.is_known_at_home();
        // Of a part of a column there is no column.
        let parts = insert.columns.iter().any(|name| name.0.len() > 1);
        // What is asked when a row conflicts is asked on that one connection.
        let asks = has_query(&insert.on);
        if !here || parts || asks || insert.returning.is_some() || self.scope.topology.is_all_home() {
            return None;
        }
        let given = match source {
            InsertSource::Query(_, (of, _)) => of.complete.then_some(of.list.len()),
            InsertSource::Values(values) => values.rows.first().map(|row| row.content.len()),
            InsertSource::Defaults => None,
        };
        let schema = creation_schema(&self.scope).filter(|schema| !is_temporary_schema(schema))?;
        let cut = Cut::of(parsed.text(self), insert.on.is_some())?;
        // Of the table between the two it would be another default.
        let values = matches!(source, InsertSource::Values(_));
        if values && cut.says_default() || columns.is_some() != cut.columns.is_some() {
            return None;
        }
        let count = columns.map(<[String]>::len).or(given)?;
        let temporary = cut.steps(columns, count, schema)?;
        Some(CreateAs {
            table: QualifiedName::new("pg_temp", cut.name()),
            empty: "".into(),
            insert: None,
            if_not_exists: false,
            copies: None,
            temporary: Some(temporary),
        })
    }
}

/// `before INSERT INTO name [AS alias] [(columns)] [OVERRIDING ...] rows [ON CONFLICT ...]`
#[derive(Debug, PartialEq)]
struct Cut<'a> {
    /// Up to the name.
    before: &'a str,
    name: &'a str,
    /// `name AS alias`
    target: &'a str,
    columns: Option<&'a str>,
    overriding: &'a str,
    rows: &'a str,
    conflict: &'a str,
}

impl<'a> Cut<'a> {
    fn of(text: &'a str, conflicts: bool) -> Option<Self> {
        let all = tokens(text, true)?;
        let is = |at: usize, word: &str| {
            let plain = |token: &Token| token.kind == TokenKind::Word;
            all.get(at).is_some_and(|token| plain(token) && text_of(text, token).eq_ignore_ascii_case(word))
        };
        let punct = |at: usize, byte: u8| all.get(at).is_some_and(|token| token.is(byte));
        // The places that are in no parentheses.
        let mut depth = 0usize;
        let mut top = Vec::new();
        for (at, token) in all.iter().enumerate() {
            if token.is(b')') || token.is(b']') {
                depth = depth.checked_sub(1)?;
            }
            if depth == 0 {
                top.push(at);
            }
            if token.is(b'(') || token.is(b'[') {
                depth += 1;
            }
        }
        let name = top.iter().find(|at| is(**at, "insert") && is(**at + 1, "into"))? + 2;
        let mut last = name;
        while punct(last + 1, b'.') {
            last += 2;
        }
        let name_end = all.get(last)?.end;
        if is(last + 1, "as") {
            last += 2;
        }
        let target = text.get(all.get(name)?.start..all.get(last)?.end)?;
        let begins_query = ["select", "values", "with", "table"].iter().any(|word| is(last + 2, word));
        let mut columns = None;
        if punct(last + 1, b'(') && !begins_query && !punct(last + 2, b'(') {
            let close = *top.iter().find(|at| **at > last + 1 && punct(**at, b')'))?;
            columns = Some(text.get(all.get(last + 1)?.start..all.get(close)?.end)?);
            last = close;
        }
        let mut overriding = "";
        if is(last + 1, "overriding") && is(last + 3, "value") {
            overriding = text.get(all.get(last + 1)?.start..all.get(last + 3)?.end)?;
            last += 3;
        }
        let end = all.iter().find(|token| token.is(b';')).map_or(text.len(), |token| token.start);
        let begins = |at: &&usize| is(**at, "on") && is(**at + 1, "conflict");
        let conflict = match conflicts {
            true => all.get(*top.iter().rfind(begins)?)?.start,
            false => end,
        };
        Some(Self {
            before: text.get(..all.get(name)?.start)?,
            name: text.get(all.get(name)?.start..name_end)?,
            target,
            columns,
            overriding,
            rows: text.get(all.get(last + 1)?.start..conflict)?.trim_end(),
            conflict: text.get(conflict..end)?.trim_end(),
        })
    }

    fn says_default(&self) -> bool {
        tokens(self.rows, true)
            .is_none_or(|tokens| tokens.iter().any(|token| text_of(self.rows, token).eq_ignore_ascii_case("default")))
    }

    /// `count`: how many columns get values.
    fn steps(&self, columns: Option<&[String]>, count: usize, schema: &str) -> Option<Temporary> {
        if first_parameter(self.conflict, true).is_some() {
            return None;
        }
        let Self { before, name, target, overriding, rows, conflict, .. } = self;
        let list: Vec<String> = columns.unwrap_or_default().iter().map(|column| quoted(column)).collect();
        let list = list.join(", ");
        let columns = self.columns.unwrap_or_default();
        let taken: Vec<String> = (1..=count).map(|at| format!("pgloom_c{at}")).collect();
        let taken = taken.join(", ");
        let like = match list.is_empty() {
            true => format!("SELECT * FROM {name}"),
            false => format!("SELECT {list} FROM {name}"),
        };
        let ordered = tokens(rows, true)?.iter().any(|token| text_of(rows, token).eq_ignore_ascii_case("order"));
        // In which order they come decides which ones conflict.
        if ordered && !conflict.is_empty() {
            return None;
        }
        Some(Temporary {
            ordered: ordered.then(|| (*name).into()),
            schema: schema.into(),
            like: like.into(),
            fill: Some(((*before).into(), format!(" {columns} {rows}").into())),
            last: (
                format!("WITH pgloom_filled AS (INSERT INTO {target} {columns} {overriding} SELECT {taken} FROM ")
                    .into(),
                format!(
                    " AS pgloom_rows ({taken}) {conflict} RETURNING 1) SELECT pg_catalog.count(*) FROM pgloom_filled"
                )
                .into(),
            ),
            counts: true,
        })
    }

    /// Without what may qualify it.
    fn name(&self) -> &'a str {
        self.name.rsplit('.').next().unwrap_or(self.name).trim().trim_matches('"')
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_insert_is_taken_apart() {
        let text = "WITH x AS (SELECT 1) INSERT INTO pg_temp.\"R s\" AS r (a, b) OVERRIDING USER VALUE SELECT i, j FROM x \
                    JOIN y ON (a) ON CONFLICT (a) DO NOTHING;";
        let cut = Cut::of(text, true).unwrap();
        assert_eq!(cut.before, "WITH x AS (SELECT 1) INSERT INTO ");
        assert_eq!((cut.name, cut.target), ("pg_temp.\"R s\"", "pg_temp.\"R s\" AS r"));
        assert_eq!((cut.columns, cut.overriding), (Some("(a, b)"), "OVERRIDING USER VALUE"));
        assert_eq!(cut.rows, "SELECT i, j FROM x JOIN y ON (a)");
        assert_eq!(cut.conflict, "ON CONFLICT (a) DO NOTHING");
        let steps = cut.steps(Some(&["a".to_owned(), "b".to_owned()]), 2, "public").unwrap();
        let before = steps.before("t");
        assert_eq!(
            &*before.empty,
            "CREATE UNLOGGED TABLE \"public\".\"t\" AS SELECT \"a\", \"b\" FROM pg_temp.\"R s\" WITH NO DATA"
        );
        assert_eq!(
            before.insert.as_deref(),
            Some("WITH x AS (SELECT 1) INSERT INTO \"public\".\"t\" (a, b) SELECT i, j FROM x JOIN y ON (a)")
        );
        assert_eq!(
            steps.last(&before),
            "WITH pgloom_filled AS (INSERT INTO pg_temp.\"R s\" AS r (a, b) OVERRIDING USER VALUE SELECT pgloom_c1, pgloom_c2 FROM \
             \"public\".\"t\" AS pgloom_rows (pgloom_c1, pgloom_c2) ON CONFLICT (a) DO NOTHING RETURNING 1) \
             SELECT pg_catalog.count(*) FROM pgloom_filled"
        );
    }

    #[test]
    fn a_query_in_parentheses_is_no_list_of_columns() {
        for text in ["INSERT INTO r (SELECT a FROM t)", "INSERT INTO r ((SELECT a FROM t) UNION SELECT 1)"] {
            assert_eq!(Cut::of(text, false).unwrap().columns, None, "{text}");
        }
        let cut = Cut::of("INSERT INTO r SELECT $1, a FROM t ON CONFLICT (a) DO UPDATE SET b = $2", true).unwrap();
        assert_eq!(cut.steps(None, 2, "public"), None);
        assert!(Cut::of("INSERT INTO r VALUES (1, DEFAULT)", false).unwrap().says_default());
    }
}

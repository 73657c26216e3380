//! `Locked`: row locks of a SELECT whose rows no shard has by itself: joins off the sharding key, with reference tables or tables of the home
//! shard, subqueries over shards.
//!
//! Its rows are read without locks, each with the keys of those rows of tables that it is to lock; these are locked by statements of their
//! own, one for each table; then it is read again, until nothing of its answer is not locked. What is read last, under all locks, is the answer.

use std::collections::HashSet;

use sqlparser::ast::{Distinct, JoinOperator, Query, Select, SetExpr, TableFactor, TableWithJoins};

use crate::catalog::RelationKind;
use crate::fault::Fault;
use crate::ids::Oid;
use crate::sql::analyze::Analyzer;
use crate::sql::finish::Parsed;
use crate::sql::from::is_only;
use crate::sql::lexer::{Token, TokenKind};
use crate::sql::limit::read_limit;
use crate::sql::locking::{Busy, LockText};
use crate::sql::model::{LevelId, Model, Obstacle};
use crate::sql::names::{Relation, folded, parts, resolve};
use crate::sql::outcome::Limit;
use crate::sql::pulls::quoted;
use crate::sql::query::is_grouped;
use crate::sql::words::{identifiers, name_of, text_of, tokens};
use crate::types::oid;

/// Most columns of all keys together.
const MOST_KEYS: usize = 32;

/// A SELECT that locks rows of several shards that are put together in one place.
#[derive(Clone, Debug)]
pub struct Locked {
    /// In the order in which Postgres locks the rows that one row of the result is made of.
    pub tables: Vec<LockedTable>,
    pub limit: Limit,
    /// What is read besides the client's columns, behind them: the keys of all tables, as text.
    keys: String,
    /// With LIMIT or OFFSET: what rows are sorted by behind the client's order, so that each reading has the same rows first.
    order: String,
    /// How many columns these are.
    pub hidden: usize,
    /// Some of them are written in a form that hangs on settings.
    pub by_settings: bool,
    /// The client's statement names all of them too: who may not read them may not run it.
    pub names_keys: bool,
}

/// A table in FROM whose rows are locked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockedTable {
    /// As it is written in SQL. Tables that are the same have the same name.
    pub name: String,
    /// The columns of a key that every row has.
    columns: Vec<KeyColumn>,
    /// All of its columns, quoted. Copies may have them in another order.
    content: Vec<String>,
    /// `FOR UPDATE SKIP LOCKED`
    clause: String,
    /// What happens at a row that somebody else has locked.
    pub busy: Busy,
    /// Every shard has a copy of it; the home shard's is locked.
    pub is_copied: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct KeyColumn {
    name: String,
    type_oid: Oid,
}

/// How the statement is carried out, or why it cannot be; `None`: another reason stands in the way.
pub(crate) fn locked(
    of: &Analyzer<'_>,
    model: &Model<'_>,
    parsed: &Parsed<'_>,
    query: &Query,
    select: &Select,
    level: LevelId,
) -> Result<Locked, Option<Fault>> {
    let uses = &model.uses;
    let of_level = &model.levels[level];
    // Postgres itself has the words for most of it.
    let plain = !is_grouped(select)
        && !of_level.aggregates
        && of_level.windows.is_empty()
        && matches!(select.distinct, None | Some(Distinct::All))
        && select.into.is_none();
    let twice = uses.home_function
        || uses.pin.is_some()
        || uses.writing_cte
        || uses.sample.is_some()
        || uses.volatile.is_some()
        || of.draws.takes();
    if !plain || twice {
        return Err(None);
    }
    if let Some(place) = uses.places.iter().find(|place| place.shard != model.scope.topology.home) {
        let what =
            place.schema.as_deref().map_or("the session's temporary tables".to_owned(), |s| format!("schema \"{s}\""));
        return Err(Some(refused(&format!("it reads tables of {what}"))));
    }
    let unread = || Some(refused("its text cannot be changed with certainty"));
    let text = of.text.get(parsed.bytes.clone()).ok_or_else(unread)?;
    if !of.scope.standard_strings && text.contains('\\') {
        return Err(unread());
    }
    let cut = LockText::cut(text)
        .ok_or_else(|| Some(refused("it has several lock clauses, or one that is not at its end")))?;
    let clause = Clause::read(&cut).ok_or_else(unread)?;
    let names = identifiers(text, true).ok_or_else(unread)?;
    if names.iter().any(|name| name.contains("pgloom_")) {
        return Err(unread());
    }
    let limit = read_limit(query).map_err(|obstacle| Some(obstacle.fault()))?.unwrap_or_default();
    let tables = tables(of, query, select, &clause)?;
    let columns: usize = tables.iter().map(|(_, table)| table.columns.len()).sum();
    if tables.is_empty() {
        return Err(None);
    }
    if columns > MOST_KEYS {
        return Err(Some(refused("the keys of the tables have more than 32 columns")));
    }
    let keys = || {
        tables.iter().flat_map(|(alias, table)| {
            table.columns.iter().map(move |column| (format!("{}.{}", quoted(alias), quoted(&column.name)), column))
        })
    };
    let order = match limit == Limit::default() {
        true => String::new(),
        false => keys().map(|(key, column)| column.ordered(key)).collect::<Vec<_>>().join(", "),
    };
    let names_keys = names_all(text) || keys().all(|(_, column)| names.contains(&column.name));
    let keys = keys().zip(1..).map(|((key, _), n)| format!("{key}::pg_catalog.text AS pgloom_key_{n}"));
    let keys = keys.collect::<Vec<_>>().join(", ");
    let by_settings = tables.iter().flat_map(|(_, table)| &table.columns).any(|column| is_by_settings(column.type_oid));
    let tables = tables.into_iter().map(|(_, table)| table).collect();
    let locked = Locked { tables, limit, keys, order, hidden: columns, by_settings, names_keys };
    // The same is done with each call's text.
    locked.reading(text).ok_or_else(unread)?;
    Ok(locked)
}

fn refused(why: &str) -> Fault {
    Obstacle::new(format!("FOR UPDATE or FOR SHARE of rows of several shards that are put together in one place, and {why}"))
        .hint("Lock the rows of the tables with primary keys by a SELECT of their own, or name them alone: FOR UPDATE OF table.")
        .fault()
}

/// Whether there is a `*` in the text that stands for columns.
fn names_all(text: &str) -> bool {
    let tokens = tokens(text, true).unwrap_or_default();
    let begins = |token: &Token| {
        let word = text_of(text, token);
        token.is(b'.') || token.is(b',') || ["select", "all"].iter().any(|begin| word.eq_ignore_ascii_case(begin))
    };
    tokens.windows(2).any(|pair| matches!(pair, [before, star] if text_of(text, star) == "*" && begins(before)))
}

/// What a lock clause says.
struct Clause {
    /// `FOR UPDATE`
    strength: String,
    busy: Busy,
    of: Option<Vec<String>>,
}

impl Clause {
    fn read(cut: &LockText) -> Option<Self> {
        let text = &cut.clause;
        let tokens = tokens(text, true)?;
        let mode = match cut.busy {
            Busy::Wait => 0,
            Busy::Fail => 1,
            Busy::Skip => 2,
        };
        // Tables may have the names of modes.
        let tokens = tokens.get(..tokens.len().checked_sub(mode)?)?;
        let is_of = |token: &Token| token.kind == TokenKind::Word && text_of(text, token).eq_ignore_ascii_case("of");
        let strength = tokens.iter().take_while(|token| !is_of(token));
        let strength: Vec<&str> = strength.map(|token| text_of(text, token)).collect();
        let names = tokens.get(strength.len() + 1..);
        let of = match names {
            Some(names) => {
                let names = names.iter().filter(|token| !token.is(b','));
                Some(names.map(|token| name_of(text, token)).collect::<Option<Vec<_>>>()?)
            }
            None => None,
        };
        Some(Self { strength: strength.join(" "), busy: cut.busy, of })
    }

    /// Without the names.
    fn text(&self) -> String {
        let busy = match self.busy {
            Busy::Wait => "",
            Busy::Fail => " NOWAIT",
            Busy::Skip => " SKIP LOCKED",
        };
        format!("{}{busy}", self.strength)
    }

    fn locks(&self, name: &str) -> bool {
        self.of.as_ref().is_none_or(|of| of.iter().any(|locked| locked == name))
    }
}

/// The tables whose rows are locked, with the names that they have in the statement.
fn tables(
    of: &Analyzer<'_>,
    query: &Query,
    select: &Select,
    clause: &Clause,
) -> Result<Vec<(String, LockedTable)>, Option<Fault>> {
    let mut items = Vec::new();
    for item in &select.from {
        items.extend(joined(item).map_err(Some)?);
    }
    let ctes = query.with.iter().flat_map(|with| &with.cte_tables).map(|cte| folded(&cte.alias.name).into_owned());
    let ctes: HashSet<String> = ctes.collect();
    let mut found: Vec<(String, LockedTable)> = Vec::new();
    let mut names = HashSet::new();
    for (factor, nullable) in items {
        let (alias, table) = match factor {
            TableFactor::Table { name, alias, args, sample, .. } => {
                let (schema, table) = parts(name).ok_or(None)?;
                let called = alias.as_ref().map_or_else(|| table.clone(), |alias| folded(&alias.name).into_owned());
                if is_only(name) {
                    return Err(Some(refused("it says ONLY")));
                }
                let is_table = args.is_none() && !(schema.is_none() && ctes.contains(&table));
                let renamed = alias.as_ref().is_some_and(|alias| !alias.columns.is_empty());
                (called, is_table.then_some((schema, table, renamed || sample.is_some())))
            }
            TableFactor::Derived { subquery, alias, .. } => {
                let called = alias.as_ref().map(|alias| folded(&alias.name).into_owned()).unwrap_or_default();
                if !matches!(*subquery.body, SetExpr::Values(_)) && clause.locks(&called) {
                    return Err(Some(refused("rows below a subquery in FROM are to be locked")));
                }
                (called, None)
            }
            _ => continue,
        };
        let twice = !names.insert(alias.clone());
        let Some((schema, name, renamed)) = table.filter(|_| clause.locks(&alias)) else { continue };
        if twice {
            return Err(Some(refused("two tables in FROM have one name")));
        }
        if renamed {
            return Err(Some(refused("it gives columns of a table other names")));
        }
        if nullable {
            return Err(Some(nullable_side(&clause.strength, &alias)));
        }
        let table = table_of(of, schema.as_deref(), &name, clause)?;
        found.push((alias, table));
    }
    // Each row of the result locks its rows in the order of the list.
    if let Some(of) = &clause.of {
        found.sort_by_key(|(alias, _)| of.iter().position(|locked| locked == alias));
    }
    Ok(found)
}

/// In Postgres's words; one that finds by WHERE that the join is none that leaves out rows would do it.
fn nullable_side(strength: &str, table: &str) -> Fault {
    let strength = strength.to_ascii_uppercase();
    Fault::unsupported(
        format!("{strength} cannot be applied to the nullable side of an outer join"),
        format!("Where no row of \"{table}\" matches, there is none to lock."),
        format!("Name the tables of the other side, {strength} OF table, or write an inner join."),
    )
}

fn table_of(
    of: &Analyzer<'_>,
    schema: Option<&str>,
    name: &str,
    clause: &Clause,
) -> Result<LockedTable, Option<Fault>> {
    let (table, is_copied) = match resolve(&of.scope, schema, name) {
        Relation::Sharded { table: Some(table), .. } => (table, false),
        Relation::Reference { table: Some(table), .. } => (table, true),
        Relation::Unsharded { table: Some(table), place } if place.is_home(&of.scope) => (table, false),
        _ => return Err(Some(refused("it locks rows of a view, or of a table that the router does not know"))),
    };
    // A key of a table is none of the rows of those that inherit from it; partitions have those of the whole.
    if table.kind != RelationKind::PartitionedTable
        && of.scope.catalog.tables.values().any(|other| other.is_child_of(&table.name))
    {
        return Err(Some(refused(&format!("tables inherit from table \"{}\"", table.name.name))));
    }
    let column = |at: &usize| {
        let column = table.columns.get(*at).filter(|column| column.not_null && is_written(column.type_oid))?;
        Some(KeyColumn { name: column.name.to_string(), type_oid: column.type_oid })
    };
    let columns = table.firm_keys().find_map(|key| key.iter().map(column).collect::<Option<Vec<_>>>());
    let columns = columns.filter(|columns| !columns.is_empty()).ok_or_else(|| {
        Some(refused(&format!(
            "table \"{}\" has no primary key whose values can be written in a statement",
            table.name.name
        )))
    })?;
    let name = format!("{}.{}", quoted(&table.name.schema), quoted(&table.name.name));
    let content = table.columns.iter().map(|column| quoted(&column.name)).collect();
    Ok(LockedTable { name, columns, content, clause: clause.text(), busy: clause.busy, is_copied })
}

/// The items of a FROM list, and whether an outer join can put NULLs in the place of their rows.
fn joined(item: &TableWithJoins) -> Result<Vec<(&TableFactor, bool)>, Fault> {
    let mut items = below(&item.relation)?;
    for join in &item.joins {
        let mut right = below(&join.relation)?;
        let null = |items: &mut Vec<(&TableFactor, bool)>| items.iter_mut().for_each(|(_, nullable)| *nullable = true);
        match &join.join_operator {
            JoinOperator::Join(_) | JoinOperator::Inner(_) | JoinOperator::CrossJoin(_) => {}
            JoinOperator::Left(_) | JoinOperator::LeftOuter(_) => null(&mut right),
            JoinOperator::Right(_) | JoinOperator::RightOuter(_) => null(&mut items),
            JoinOperator::FullOuter(_) => {
                null(&mut right);
                null(&mut items);
            }
            _ => return Err(refused("it has a join that is not understood")),
        }
        items.append(&mut right);
    }
    Ok(items)
}

fn below(factor: &TableFactor) -> Result<Vec<(&TableFactor, bool)>, Fault> {
    match factor {
        TableFactor::NestedJoin { table_with_joins, alias: None } => joined(table_with_joins),
        TableFactor::NestedJoin { .. } => Err(refused("it gives a join a name")),
        factor => Ok(vec![(factor, false)]),
    }
}

/// Whether a value of the type is found again by what is printed of it.
fn is_written(type_oid: Oid) -> bool {
    const ALWAYS: [Oid; 9] =
        [oid::INT2, oid::INT4, oid::INT8, oid::TEXT, oid::VARCHAR, oid::BPCHAR, oid::UUID, oid::BOOL, oid::NUMERIC];
    ALWAYS.contains(&type_oid) || is_by_settings(type_oid)
}

fn is_by_settings(type_oid: Oid) -> bool {
    matches!(type_oid, oid::DATE | oid::TIME | oid::TIMESTAMP | oid::TIMESTAMPTZ)
}

impl Locked {
    /// The statement without its locks, LIMIT and OFFSET, and with the keys behind its columns.
    pub fn reading(&self, text: &str) -> Option<String> {
        let text = LockText::cut(text)?.without;
        let tokens = tokens(&text, true)?;
        let mut depth = 0usize;
        let mut top: Vec<&Token> = Vec::new();
        for token in &tokens {
            if token.is(b')') || token.is(b']') {
                depth = depth.checked_sub(1)?;
            }
            if depth == 0 && !token.is(b')') && !token.is(b']') {
                top.push(token);
            }
            if token.is(b'(') || token.is(b'[') {
                depth += 1;
            }
        }
        let is = |token: &Token, words: &[&str]| {
            token.kind == TokenKind::Word && words.iter().any(|word| text_of(&text, token).eq_ignore_ascii_case(word))
        };
        // A word behind AS or a dot is a name.
        let is_clause = |at: usize, words: &[&str]| {
            let named = |before: usize| top[before].is(b'.') || is(top[before], &["as", "distinct"]);
            is(top[at], words) && !at.checked_sub(1).is_some_and(named)
        };
        let select = (0..top.len()).find(|at| is_clause(*at, &["select"]))?;
        let from = (select + 1..top.len()).find(|at| is_clause(*at, &["from"]))?;
        let ends = |at: &usize| is_clause(*at, &["limit", "offset", "fetch"]) || top[*at].is(b';');
        let end = (from..top.len()).find(ends).map_or(text.len(), |at| top[at].start);
        let empty = from == select + 1 || from == select + 2 && is(top[select + 1], &["all"]);
        let comma = if empty { "" } else { ", " };
        let (before, behind) = (text.get(..top[from].start)?, text.get(top[from].start..end)?);
        let (behind, keys) = (behind.trim_end(), &self.keys);
        // On a line of its own: what is before it may end in a comment.
        let order =
            match (self.order.as_str(), (from..top.len()).any(|at| top[at].start < end && is_clause(at, &["order"]))) {
                ("", _) => String::new(),
                (order, true) => format!("\n, {order}"),
                (order, false) => format!("\nORDER BY {order}"),
            };
        Some(format!("{before}{comma}{keys} {behind}{order}"))
    }

    /// The keys of one row of the result, table by table; `None` for one that has none. `values`: its hidden columns.
    pub fn keys_of(&self, values: &[Option<&str>]) -> Vec<Option<String>> {
        let mut values = values.iter();
        let key = |table: &LockedTable| {
            let values: Vec<Option<&str>> = values.by_ref().take(table.columns.len()).copied().collect();
            table.key(&values)
        };
        self.tables.iter().map(key).collect()
    }
}

impl LockedTable {
    /// A key as it is written in a list of them.
    pub fn key(&self, values: &[Option<&str>]) -> Option<String> {
        if values.len() != self.columns.len() {
            return None;
        }
        let written: Option<Vec<String>> =
            self.columns.iter().zip(values).map(|(column, value)| Some(column.literal((*value)?))).collect();
        let written = written?;
        Some(match &written[..] {
            [one] => one.clone(),
            several => format!("({})", several.join(", ")),
        })
    }

    /// Locks the rows with these keys, and tells the keys of those that it has locked.
    pub fn lock(&self, keys: &[&str]) -> String {
        let told = self.names("::pg_catalog.text").join(", ");
        format!("SELECT {told} FROM {} WHERE {} {}", self.name, self.among(keys), self.clause)
    }

    /// What a copy has in the rows with these keys.
    pub fn contents(&self, keys: &[&str]) -> String {
        let among = self.among(keys);
        let columns = self.content.join(", ");
        format!("SELECT ROW({columns})::pg_catalog.text FROM {} WHERE {among}", self.name)
    }

    fn names(&self, behind: &str) -> Vec<String> {
        self.columns.iter().map(|column| format!("{}{behind}", quoted(&column.name))).collect()
    }

    fn among(&self, keys: &[&str]) -> String {
        let Some(last) = keys.last().copied() else { return "false".to_owned() };
        // As many as the next power of two: lists of each length would be statements of their own.
        let padded = keys.iter().copied().chain(std::iter::repeat(last)).take(keys.len().next_power_of_two());
        let list = padded.collect::<Vec<_>>().join(", ");
        match &self.names("")[..] {
            [one] => format!("{one} IN ({list})"),
            several => format!("({}) IN ({list})", several.join(", ")),
        }
    }

    /// For people.
    pub fn describe(&self) -> String {
        let columns: Vec<&str> = self.columns.iter().map(|column| &*column.name).collect();
        format!("{} by {} {}", self.name, columns.join(", "), self.clause)
    }
}

impl KeyColumn {
    /// As a part of ORDER BY. In which order is no matter; that of bytes is one that shards and router have alike.
    fn ordered(&self, name: String) -> String {
        match self.type_oid {
            oid::TEXT | oid::VARCHAR | oid::BPCHAR => format!("{name} COLLATE pg_catalog.\"C\""),
            _ => name,
        }
    }

    fn literal(&self, value: &str) -> String {
        let digits = value.strip_prefix('-').unwrap_or(value);
        let number = matches!(self.type_oid, oid::INT2 | oid::INT4 | oid::INT8)
            && !digits.is_empty()
            && digits.bytes().all(|byte| byte.is_ascii_digit());
        let quotes = value.replace('\'', "''");
        match (number, value.contains('\\')) {
            (true, _) => value.to_owned(),
            (false, false) => format!("'{quotes}'"),
            (false, true) => format!("E'{}'", quotes.replace('\\', "\\\\")),
        }
    }
}

/// Another session has changed what was to be locked, again and again.
pub fn never_still() -> Fault {
    Fault::new(crate::fault::SqlState::SERIALIZATION_FAILURE, "could not lock the rows of the result")
        .detail("Each time when they were locked, the statement had found others by what is changed meanwhile.")
        .hint("Run the transaction again.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(columns: &[(&str, Oid)]) -> Locked {
        let columns =
            columns.iter().map(|(name, type_oid)| KeyColumn { name: (*name).to_owned(), type_oid: *type_oid });
        let columns: Vec<KeyColumn> = columns.collect();
        let hidden = columns.len();
        let table = LockedTable {
            name: "\"s\".\"t\"".to_owned(),
            columns,
            content: vec!["\"a\"".to_owned(), "\"id\"".to_owned()],
            clause: "FOR UPDATE".to_owned(),
            busy: Busy::Wait,
            is_copied: false,
        };
        Locked {
            tables: vec![table],
            limit: Limit::default(),
            keys: "\"t\".\"id\"::pg_catalog.text AS pgloom_key_1".to_owned(),
            order: String::new(),
            hidden,
            by_settings: false,
            names_keys: true,
        }
    }

    #[test]
    fn rows_with_a_limit_have_one_order() {
        let mut locked = sample(&[("id", oid::INT4)]);
        locked.order = "\"t\".\"id\"".to_owned();
        let key = "\"t\".\"id\"::pg_catalog.text AS pgloom_key_1";
        for (text, read) in [
            ("SELECT a FROM t LIMIT 1 FOR UPDATE", format!("SELECT a , {key} FROM t\nORDER BY \"t\".\"id\"")),
            (
                "SELECT a FROM t ORDER BY t.order -- by a\n FOR UPDATE OFFSET 2;",
                format!("SELECT a , {key} FROM t ORDER BY t.order -- by a\n, \"t\".\"id\""),
            ),
            (
                "SELECT a AS order FROM (SELECT 1 FROM u ORDER BY 1) t FETCH FIRST ROW ONLY FOR SHARE",
                format!("SELECT a AS order , {key} FROM (SELECT 1 FROM u ORDER BY 1) t\nORDER BY \"t\".\"id\""),
            ),
        ] {
            assert_eq!(locked.reading(text), Some(read), "{text}");
        }
        let text = KeyColumn { name: "code".to_owned(), type_oid: oid::VARCHAR };
        assert_eq!(text.ordered("\"t\".\"code\"".to_owned()), "\"t\".\"code\" COLLATE pg_catalog.\"C\"");
    }

    #[test]
    fn stars_that_stand_for_columns() {
        for text in ["SELECT * FROM t", "select all * from t", "SELECT a, * FROM t", "SELECT t.* FROM t"] {
            assert!(names_all(text), "{text}");
        }
        for text in ["SELECT a * b FROM t", "SELECT count(*) FROM t", "SELECT '*' FROM t"] {
            assert!(!names_all(text), "{text}");
        }
    }

    #[test]
    fn keys_are_read_behind_the_columns_and_no_row_is_left_out() {
        let locked = sample(&[("id", oid::INT4)]);
        let key = "\"t\".\"id\"::pg_catalog.text AS pgloom_key_1";
        for (text, read) in [
            (
                "SELECT a, b FROM t, u WHERE t.x = u.x FOR UPDATE OF t",
                format!("SELECT a, b , {key} FROM t, u WHERE t.x = u.x"),
            ),
            (
                "SELECT t.from, a AS from FROM t ORDER BY t.limit LIMIT 1 FOR UPDATE",
                format!("SELECT t.from, a AS from , {key} FROM t ORDER BY t.limit"),
            ),
            ("SELECT FROM t FOR UPDATE;", format!("SELECT {key} FROM t")),
            (
                "select a is distinct from b, (select 1 from v) from t limit 3 for share offset 1",
                format!("select a is distinct from b, (select 1 from v) , {key} from t"),
            ),
            (
                "WITH w AS (SELECT 1 FROM u LIMIT 1) SELECT * FROM t ORDER BY 1 FETCH FIRST ROW ONLY FOR UPDATE",
                format!("WITH w AS (SELECT 1 FROM u LIMIT 1) SELECT * , {key} FROM t ORDER BY 1"),
            ),
        ] {
            assert_eq!(locked.reading(text), Some(read), "{text}");
        }
        assert_eq!(locked.reading("SELECT a FROM t"), None);
    }

    #[test]
    fn keys_are_written_so_that_they_are_read_as_they_were() {
        let locked = sample(&[("id", oid::INT8), ("code", oid::TEXT)]);
        let table = &locked.tables[0];
        let key = locked.keys_of(&[Some("-5"), Some("it's \\ so")]);
        assert_eq!(key, [Some("(-5, E'it''s \\\\ so')".to_owned())]);
        assert_eq!(locked.keys_of(&[Some("1"), None]), [None]);
        assert_eq!(
            table.lock(&[]),
            "SELECT \"id\"::pg_catalog.text, \"code\"::pg_catalog.text FROM \"s\".\"t\" WHERE false FOR UPDATE"
        );
        assert_eq!(
            table.contents(&["(1, 'a')"]),
            "SELECT ROW(\"a\", \"id\")::pg_catalog.text FROM \"s\".\"t\" WHERE (\"id\", \"code\") IN ((1, 'a'))"
        );
        let three = table.lock(&["(1, 'a')", "(2, 'b')", "(3, 'c')"]);
        assert!(three.contains("(\"id\", \"code\") IN ((1, 'a'), (2, 'b'), (3, 'c'), (3, 'c')) FOR UPDATE"), "{three}");
    }
}

//! CREATE TABLE AS and SELECT INTO over rows that do not lie where the table will be: it is made empty, and then filled like any other.

use std::sync::Arc;

use crate::fault::Fault;
use crate::ids::QualifiedName;
use crate::sql::NameScope;
use crate::sql::constraints;
use crate::sql::names::{Relation, resolve};
use crate::sql::pulls::quoted;
use crate::sql::words::Words;

/// A table made of a query, in steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateAs {
    pub table: QualifiedName,
    /// Makes it without rows, where all that the query names is: on the home shard.
    pub empty: Arc<str>,
    /// Fills it; `None`: it was asked for without rows.
    pub insert: Option<Arc<str>>,
    pub if_not_exists: bool,
    /// How the other shards make theirs, where every shard has one.
    pub copies: Option<Copies>,
    /// It is a temporary one, which no other connection could fill: it is made of a table that is made and filled before it.
    pub temporary: Option<Temporary>,
}

/// How rows come into a temporary table by way of one that is made before it. The texts have gaps where that one's name goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Temporary {
    /// Where the table before it is made.
    pub schema: Box<str>,
    /// The query whose columns that has.
    pub like: Arc<str>,
    /// Fills it; `None`: it stays empty.
    pub fill: Option<Gap>,
    /// Brings its rows where they belong.
    pub last: Gap,
    /// That is a query which tells how many rows they are; else as many as there were before.
    pub counts: bool,
    /// The rows come in an order, to the table of this name: defaults that count would count them in another one.
    pub ordered: Option<Box<str>>,
}

/// What stands before a name and behind it.
pub type Gap = (Arc<str>, Arc<str>);

impl Temporary {
    /// The table before it, under this name.
    pub fn before(&self, name: &str) -> CreateAs {
        let table = QualifiedName::new(&*self.schema, name);
        let mut create =
            CreateAs { table, empty: "".into(), insert: None, if_not_exists: false, copies: None, temporary: None };
        let name = create.name();
        create.empty = format!("CREATE UNLOGGED TABLE {name} AS {} WITH NO DATA", self.like).into();
        create.insert = self.fill.as_ref().map(|(start, end)| format!("{start}{name}{end}").into());
        create
    }

    /// How many characters of the client's text come before the name of a table that the rows are inserted into.
    pub fn named_behind(&self) -> Option<u32> {
        let before = self.fill.as_ref().map_or(0, |(before, _)| before.chars().count());
        self.counts.then_some(u32::try_from(before).unwrap_or(u32::MAX))
    }

    /// The last step, given the table before it.
    pub fn last(&self, before: &CreateAs) -> String {
        let (start, end) = &self.last;
        format!("{start}{}{end}", before.name())
    }
}

/// What stands before the columns of a table and behind them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copies {
    pub unlogged: bool,
    /// USING, WITH, TABLESPACE.
    pub options: Arc<str>,
}

impl CreateAs {
    /// The table with these columns, as another shard makes it.
    pub fn copy_text(&self, copies: &Copies, columns: &str) -> String {
        let unlogged = if copies.unlogged { "UNLOGGED " } else { "" };
        format!("CREATE {unlogged}TABLE {} ({columns}) {}", self.name(), copies.options)
    }

    /// The table's name as SQL.
    pub fn name(&self) -> String {
        format!("{}.{}", quoted(&self.table.schema), quoted(&self.table.name))
    }

    /// `text`: the whole statement; `after`: the words behind the name. `None` where it is not of this form.
    pub(crate) fn read(text: &str, after: &Words<'_>, table: QualifiedName, distributed: bool) -> Option<Self> {
        let all = Words::new(text, true)?;
        let mut words = after.part(after.at..after.at + after.len());
        words.name_list();
        let start = words.at;
        words.skip_to(&["as"]);
        let options: Arc<str> = words.text_of(start..words.at).into();
        if !words.take("as") {
            return None;
        }
        let (query, end) = (words.position(), all.before_with_data());
        let rows = text.get(query..end)?.trim_end();
        // The parser knows no TABLE where rows are inserted.
        let rows = match words.take("table") {
            true => format!("SELECT * FROM {}", text.get(words.position()..end)?.trim_end()),
            false => rows.to_owned(),
        };
        let without = all.rest().len() > end && ends_without_data(&all);
        let before = text.get(..end)?;
        let mut head = all.part(0..all.len());
        head.take("create");
        let unlogged = head.take("unlogged");
        head.take("table");
        let if_not_exists = head.take_all(&["if", "not", "exists"]);
        let copies = distributed.then_some(Copies { unlogged, options });
        let mut create = Self {
            table,
            empty: format!("{before} WITH NO DATA").into(),
            insert: None,
            if_not_exists,
            copies,
            temporary: None,
        };
        create.insert = (!without).then(|| format!("INSERT INTO {} {rows}", create.name()).into());
        Some(create)
    }

    /// `CREATE TEMP TABLE name ... AS query`, or `SELECT ... INTO TEMP name`. `schema`: where a table can be made. `None` where it is not of
    /// these forms.
    pub(crate) fn of_temporary(text: &str, schema: &str) -> Option<Self> {
        let all = Words::new(text, true)?;
        let mut words = all.part(0..all.len());
        let temporary = |words: &mut Words<'_>| {
            let _ = words.take("local") || words.take("global");
            words.take("temp") || words.take("temporary")
        };
        let (name, head, query, with_rows) = if words.take("create") {
            if !temporary(&mut words) || !words.take("table") || words.is(0, "if") {
                return None;
            }
            let name = words.name()?.1;
            words.skip_to(&["as"]);
            let end = all.before_with_data();
            if !words.take("as") {
                return None;
            }
            let (query, start, behind) =
                (text.get(words.position()..end)?.trim_end(), all.position(), words.end_before());
            // The parser knows no TABLE where rows are inserted.
            let query = match words.take("table") {
                true => format!("SELECT * FROM {}", text.get(words.position()..end)?.trim_end()),
                false => query.to_owned(),
            };
            let is_without = all.rest().len() + start > end && ends_without_data(&all);
            (name, text.get(start..behind)?.to_owned(), query, !is_without)
        } else {
            words.skip_to(&["into"]);
            let start = words.position();
            if !words.take("into") || !temporary(&mut words) {
                return None;
            }
            words.take("table");
            let from = words.position();
            let name = words.name()?.1;
            let written = text.get(from..words.end_before())?;
            let query = format!("{} {}", text.get(..start)?, text.get(words.position()..)?);
            (name, format!("CREATE TEMP TABLE {written} AS"), query, true)
        };
        let query = query.trim_end_matches(';');
        let end = if with_rows { "" } else { " WITH NO DATA" };
        let temporary = Temporary {
            schema: schema.into(),
            like: query.into(),
            fill: with_rows.then(|| ("INSERT INTO ".into(), format!(" {query}").into())),
            last: (format!("{head} TABLE ").into(), end.into()),
            counts: false,
            ordered: None,
        };
        let table = QualifiedName::new("pg_temp", name);
        let (empty, temporary) = ("".into(), Some(temporary));
        Some(Self { table, empty, insert: None, if_not_exists: false, copies: None, temporary })
    }

    /// `SELECT ... INTO [UNLOGGED] [TABLE] name ...`: the query is what is left without that.
    pub(crate) fn of_select_into(text: &str, table: QualifiedName, distributed: bool) -> Option<Self> {
        let mut words = Words::new(text, true)?;
        words.skip_to(&["into"]);
        let start = words.position();
        words.take("into");
        let unlogged = words.take("unlogged");
        words.take("table");
        words.name()?;
        let query = format!("{} {}", text.get(..start)?, text.get(words.position()..)?);
        let copies = distributed.then_some(Copies { unlogged, options: "".into() });
        let mut create = Self { table, empty: "".into(), insert: None, if_not_exists: false, copies, temporary: None };
        let kind = if unlogged { "UNLOGGED TABLE" } else { "TABLE" };
        create.empty = format!("CREATE {kind} {} AS {query} WITH NO DATA", create.name()).into();
        create.insert = Some(format!("INSERT INTO {} {query}", create.name()).into());
        Some(create)
    }
}

/// Whether a text that ends with `WITH [NO] DATA` has the NO.
fn ends_without_data(all: &Words<'_>) -> bool {
    let back = |n: usize, word: &str| all.len().checked_sub(n).is_some_and(|at| all.is(at, word));
    back(1, "data") && back(2, "no") && back(3, "with")
}

/// That a table which has just been made has the sharding key by which its rows will be placed.
pub fn check_key(scope: &NameScope<'_>, table: &QualifiedName) -> Result<(), Fault> {
    constraints::check_made(scope, &resolve(scope, Some(&table.schema), &table.name))
}

/// Whether the configuration says of a table of this name that it is on every shard.
pub(crate) fn is_distributed(scope: &NameScope<'_>, table: &QualifiedName) -> bool {
    matches!(resolve(scope, Some(&table.schema), &table.name), Relation::Sharded { .. } | Relation::Reference { .. })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(text: &str) -> CreateAs {
        let mut words = Words::new(text, true).unwrap();
        while !words.take("t") {
            words.at += 1;
        }
        CreateAs::read(text, &words, QualifiedName::new("public", "t"), true).unwrap()
    }

    #[test]
    fn the_query_fills_the_table_that_it_describes() {
        let create =
            read("CREATE UNLOGGED TABLE IF NOT EXISTS t (a, b) WITH (fillfactor = 70) AS SELECT 1, 'x as y' WITH DATA");
        assert!(create.if_not_exists);
        assert_eq!(
            &*create.empty,
            "CREATE UNLOGGED TABLE IF NOT EXISTS t (a, b) WITH (fillfactor = 70) AS SELECT 1, 'x as y'  WITH NO DATA"
        );
        assert_eq!(create.insert.as_deref(), Some("INSERT INTO \"public\".\"t\" SELECT 1, 'x as y'"));
        let copies = create.copies.clone().unwrap();
        assert_eq!(
            create.copy_text(&copies, "a int"),
            "CREATE UNLOGGED TABLE \"public\".\"t\" (a int) WITH (fillfactor = 70)"
        );
        assert_eq!(read("CREATE TABLE t AS TABLE x WITH NO DATA").insert, None);
        assert_eq!(&*read("CREATE TABLE t AS TABLE x WITH NO DATA").empty, "CREATE TABLE t AS TABLE x  WITH NO DATA");
    }

    #[test]
    fn select_into_is_the_same() {
        let name = QualifiedName::new("public", "t");
        let create =
            CreateAs::of_select_into("SELECT a, b INTO UNLOGGED TABLE t FROM x ORDER BY a", name, false).unwrap();
        assert_eq!(
            &*create.empty,
            "CREATE UNLOGGED TABLE \"public\".\"t\" AS SELECT a, b  FROM x ORDER BY a WITH NO DATA"
        );
        assert_eq!(create.insert.as_deref(), Some("INSERT INTO \"public\".\"t\" SELECT a, b  FROM x ORDER BY a"));
    }
}

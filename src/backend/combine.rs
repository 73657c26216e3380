//! `Inputs`: the temporary tables of a combine connection, kept from statement to statement so that the catalog does not bloat.

use std::borrow::Cow;
use std::fmt::Write;
use std::sync::Arc;

use crate::backend::inflight::{Audience, Owed};
use crate::backend::settings::{quote_identifier, quote_literal};
use crate::backend::{Backend, server_fault};
use crate::fault::Fault;
use crate::ids::Oid;
use crate::types::oid;
use crate::wire::reply::Status;
use crate::wire::request;
use crate::wire::row::read_row_description;

/// Inputs that one connection keeps at most.
const KEPT: usize = 32;
/// Bytes of dead rows after which an input is emptied for good. Every statement is rolled back, so its rows are there for nobody,
/// but still take their place; to empty a table is an update of the catalog, which small statements should not cost.
const DEAD: u64 = 1 << 20;
/// What Postgres adds to a row.
const ROW_OVERHEAD: u64 = 32;

/// How long a lock on a user's table is waited for while the client's transaction may hold it: briefly where the input can be made without
/// the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnLock {
    Short,
    Long,
}

impl OwnLock {
    pub fn patience(self) -> &'static str {
        match self {
            Self::Short => "200ms",
            Self::Long => "2s",
        }
    }
}

/// A temporary table that a statement needs, empty.
#[derive(Clone, Debug)]
pub struct InputTable<'a> {
    /// Not quoted.
    pub name: &'a str,
    pub columns: InputColumns<'a>,
    /// Columns of its primary key, in SQL; empty: none.
    pub primary_key: String,
    /// The catalog that `columns` were written for.
    pub generation: u64,
}

/// Where an input has its columns from.
#[derive(Clone, Debug)]
pub enum InputColumns<'a> {
    /// The result of this query over tables of the same server; `table`, in SQL: the one whose columns of the same names these are.
    Of { query: &'a str, table: Option<String> },
    /// Their types and collations, which are the same on every server; or on this one, where it is the home shard.
    Typed(&'a [TypedColumn]),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypedColumn {
    /// Not quoted.
    pub name: Box<str>,
    pub type_oid: Oid,
    pub typmod: i32,
    /// Its name in pg_catalog, where it is not the database's own.
    pub collation: Option<Box<str>>,
    /// An expression that the server understands.
    pub default: Option<String>,
}

impl InputColumns<'_> {
    /// Equal where the same columns come of it under one catalog.
    fn words(&self) -> Cow<'_, str> {
        match self {
            Self::Of { query, .. } => Cow::Borrowed(query),
            Self::Typed(columns) => Cow::Owned(format!("{columns:?}")),
        }
    }

    fn defaults(&self) -> impl Iterator<Item = (&str, &str)> {
        let columns = match self {
            Self::Of { .. } => &[][..],
            Self::Typed(columns) => columns,
        };
        columns.iter().filter_map(|column| Some((&*column.name, column.default.as_deref()?)))
    }

    /// The query that gives the columns to a table made of it.
    async fn query(&self, server: &mut Backend) -> Result<String, Fault> {
        let columns = match self {
            Self::Of { query, .. } => return Ok((*query).to_owned()),
            Self::Typed(columns) => columns,
        };
        let types = columns.iter().enumerate().map(|(at, c)| format!("({at}, {}, {})", c.type_oid, c.typmod));
        let names = server
            .query(&format!(
                "SELECT pg_catalog.format_type(t.type, t.typmod) FROM (VALUES {}) t (at, type, typmod) ORDER BY t.at",
                types.collect::<Vec<_>>().join(", ")
            ))
            .await?;
        let list = columns.iter().zip(names).map(|(column, row)| {
            let name = row.into_iter().next().flatten().unwrap_or_default();
            let collation =
                column.collation.as_ref().map(|name| format!(" COLLATE pg_catalog.{}", quote_identifier(name)));
            let alias = quote_identifier(&column.name);
            format!("CAST(NULL AS {name}){} AS {alias}", collation.unwrap_or_default())
        });
        Ok(format!("SELECT {}", list.collect::<Vec<_>>().join(", ")))
    }
}

/// What a connection has.
#[derive(Debug, Default)]
pub struct Inputs {
    made: Vec<Made>,
    clock: u64,
}

#[derive(Debug)]
struct Made {
    name: Box<str>,
    create: Box<str>,
    primary_key: Box<str>,
    generation: u64,
    /// One that leans on a type or collation that users made is dropped after its statement: it would stand in the way of a DROP.
    keep: bool,
    /// The types of its columns as a RowDescription tells them.
    types: Arc<[Oid]>,
    used: u64,
    /// Bytes of rows that were rolled back.
    dead: u64,
}

impl Made {
    fn is(&self, table: &InputTable<'_>) -> bool {
        self.was(table) && self.generation == table.generation
    }

    /// Made by the same words, for whatever catalog.
    fn was(&self, table: &InputTable<'_>) -> bool {
        *self.name == *table.name && *self.create == *table.columns.words() && *self.primary_key == *table.primary_key
    }
}

impl Inputs {
    fn find(&mut self, table: &InputTable<'_>) -> Option<Arc<[Oid]>> {
        self.clock += 1;
        let made = self.made.iter_mut().find(|made| made.is(table))?;
        made.used = self.clock;
        Some(Arc::clone(&made.types))
    }

    fn is_stale(&self, table: &InputTable<'_>) -> bool {
        self.made.iter().any(|made| made.was(table) && !made.is(table))
    }

    /// The table is as it would be made now.
    fn renew(&mut self, table: &InputTable<'_>) {
        self.made.iter_mut().filter(|made| made.was(table)).for_each(|made| made.generation = table.generation);
    }

    /// Takes out what stands in the way of `wanted`: tables of the same names, and the least used ones beyond the limit.
    fn make_room(&mut self, wanted: &[&InputTable<'_>], all: &[InputTable<'_>]) -> Vec<Made> {
        let replaced = |made: &Made| wanted.iter().any(|table| *made.name == *table.name);
        let (mut gone, kept): (Vec<Made>, Vec<Made>) =
            std::mem::take(&mut self.made).into_iter().partition(|made| replaced(made));
        self.made = kept;
        while self.made.len() + wanted.len() > KEPT {
            let idle = self.made.iter().enumerate().filter(|(_, made)| !all.iter().any(|table| made.is(table)));
            let Some((at, _)) = idle.min_by_key(|(_, made)| made.used) else { break };
            gone.push(self.made.swap_remove(at));
        }
        gone
    }

    /// What was taken out has not been dropped after all.
    fn put_back(&mut self, gone: Vec<Made>) {
        self.made.extend(gone);
    }

    /// A table that may be there, as somebody may have made it: none is known by it, and it goes with the statement.
    fn doubt(&mut self, name: &str) {
        self.made.retain(|made| *made.name != *name);
        self.made.push(Made {
            name: name.into(),
            // No table is made by no words.
            create: "".into(),
            primary_key: "".into(),
            generation: 0,
            keep: false,
            types: [].into(),
            used: self.clock,
            dead: 0,
        });
    }

    fn note(&mut self, table: &InputTable<'_>, types: Arc<[Oid]>, keep: bool) {
        self.clock += 1;
        self.made.retain(|made| *made.name != *table.name);
        self.made.push(Made {
            name: table.name.into(),
            create: table.columns.words().into(),
            primary_key: table.primary_key.as_str().into(),
            generation: table.generation,
            keep,
            types,
            used: self.clock,
            dead: 0,
        });
    }

    /// Rows were sent to a table, in a transaction that will be rolled back.
    pub fn note_rows(&mut self, name: &str, rows: u64, bytes: u64) {
        if let Some(made) = self.made.iter_mut().find(|made| &*made.name == name) {
            made.dead = made.dead.saturating_add(bytes + rows * ROW_OVERHEAD);
        }
    }

    /// The transaction that filled tables was committed: whatever they have must go before they are filled again.
    pub fn spoil(&mut self) {
        self.made.iter_mut().filter(|made| made.dead > 0).for_each(|made| made.dead = u64::MAX);
    }

    /// The statement that drops what is not kept and empties what has grown; the tables count as gone, or empty.
    pub fn clean(&mut self) -> Option<String> {
        const BEGIN: &str = "BEGIN READ WRITE";
        let mut sql = String::from(BEGIN);
        self.made.retain_mut(|made| {
            if !made.keep {
                let _ = write!(sql, "; DROP TABLE IF EXISTS {}", qualified(&made.name));
            } else if made.dead > DEAD {
                let _ = write!(sql, "; TRUNCATE {}", qualified(&made.name));
                made.dead = 0;
            }
            made.keep
        });
        (sql.len() > BEGIN.len()).then(|| sql + "; COMMIT")
    }
}

/// The input as statements name it.
pub fn qualified(name: &str) -> String {
    format!("pg_temp.{}", quote_identifier(name))
}

/// Brings the tables into being that are not there yet, in a transaction of their own. Returns the types of each one's columns.
/// `lock`: the client is in a transaction, which may itself hold a lock that this one would wait for.
///
/// # Errors
/// The server's, such as `42501` for a user without the privilege TEMPORARY; `55P03` for a lock that may be the client's own.
pub async fn make_inputs(
    server: &mut Backend,
    tables: &[InputTable<'_>],
    lock: Option<OwnLock>,
) -> Result<Vec<Arc<[Oid]>>, Fault> {
    for table in tables {
        // The catalog was read again: most often it says the same of this table.
        if server.inputs.is_stale(table) && has_columns_of_source(server, table).await? {
            server.inputs.renew(table);
        }
    }
    let mut types: Vec<Option<Arc<[Oid]>>> = tables.iter().map(|table| server.inputs.find(table)).collect();
    let missing: Vec<usize> = (0..tables.len()).filter(|at| types[*at].is_none()).collect();
    if !missing.is_empty() {
        let wanted: Vec<&InputTable<'_>> = missing.iter().map(|at| &tables[*at]).collect();
        let mut queries = Vec::with_capacity(wanted.len());
        for table in &wanted {
            queries.push(table.columns.query(server).await?);
        }
        let gone = server.inputs.make_room(&wanted, tables);
        let mut sql = String::from("BEGIN READ WRITE");
        if let Some(lock) = lock {
            let _ = write!(sql, "; SET LOCAL lock_timeout = '{}'", lock.patience());
        }
        for made in &gone {
            let _ = write!(sql, "; DROP TABLE IF EXISTS {}", qualified(&made.name));
        }
        for (table, query) in wanted.iter().zip(queries) {
            let name = quote_identifier(table.name);
            let _ = write!(
                sql,
                "; CREATE TEMP TABLE {name} AS {query} WITH NO DATA; \
                 GRANT ALL ON TABLE pg_temp.{name} TO PUBLIC"
            );
            for (column, default) in table.columns.defaults() {
                let column = column.replace('"', "\"\"");
                let _ = write!(sql, "; ALTER TABLE pg_temp.{name} ALTER COLUMN \"{column}\" SET DEFAULT {default}");
            }
            if !table.primary_key.is_empty() {
                let _ = write!(sql, "; ALTER TABLE pg_temp.{name} ADD PRIMARY KEY ({})", table.primary_key);
            }
        }
        sql.push_str("; COMMIT");
        if let Err(fault) = server.query(&sql).await {
            if server.status == Status::Failed {
                // The DROPs were undone.
                server.inputs.put_back(gone);
                if !server.broken {
                    server.query("ROLLBACK").await?;
                }
            } else {
                // It was to begin, or to commit: a cancel behind the commit is an error, too.
                gone.iter().for_each(|made| server.inputs.doubt(&made.name));
                wanted.iter().for_each(|table| server.inputs.doubt(table.name));
            }
            return Err(fault.without_position());
        }
        // They are there, whatever becomes of the questions behind it.
        wanted.iter().for_each(|table| server.inputs.doubt(table.name));
        for at in missing {
            let found: Arc<[Oid]> = column_types(server, tables[at].name).await?.into();
            let keep = !leans_on_users(server, tables[at].name).await?;
            server.inputs.note(&tables[at], Arc::clone(&found), keep);
            types[at] = Some(found);
        }
    }
    Ok(types.into_iter().flatten().collect())
}

/// Whether an input still has the types and collations of its table's columns.
async fn has_columns_of_source(server: &mut Backend, table: &InputTable<'_>) -> Result<bool, Fault> {
    let source = match &table.columns {
        InputColumns::Of { table: Some(table), .. } => table,
        InputColumns::Of { table: None, .. } => return Ok(false),
        InputColumns::Typed(_) => return Ok(true),
    };
    let rows = server
        .query(&format!(
            "SELECT FROM pg_catalog.pg_attribute i WHERE i.attrelid = pg_catalog.to_regclass({}) AND i.attnum > 0 \
               AND NOT EXISTS (SELECT FROM pg_catalog.pg_attribute s WHERE s.attrelid = pg_catalog.to_regclass({}) \
                 AND s.attname = i.attname AND NOT s.attisdropped AND s.attnum > 0 AND s.atttypid = i.atttypid \
                 AND s.atttypmod = i.atttypmod AND s.attcollation = i.attcollation) LIMIT 1",
            quote_literal(&qualified(table.name)),
            quote_literal(source)
        ))
        .await?;
    Ok(rows.is_empty())
}

/// Whether a table has a type or collation that is not Postgres's own: only dependencies on such are written down.
async fn leans_on_users(server: &mut Backend, name: &str) -> Result<bool, Fault> {
    let rows = server
        .query(&format!(
            "SELECT FROM pg_catalog.pg_depend WHERE classid = 'pg_catalog.pg_class'::pg_catalog.regclass \
               AND objid = {}::pg_catalog.regclass AND refclassid IN ('pg_catalog.pg_type'::pg_catalog.regclass, \
               'pg_catalog.pg_collation'::pg_catalog.regclass) AND deptype <> 'p' LIMIT 1",
            quote_literal(&qualified(name))
        ))
        .await?;
    Ok(!rows.is_empty())
}

/// The types of a table's columns as a RowDescription tells them.
async fn column_types(server: &mut Backend, name: &str) -> Result<Vec<Oid>, Fault> {
    let columns = columns_of(server, &format!("SELECT * FROM {}", qualified(name))).await?;
    Ok(columns.iter().map(|column| column.type_oid).collect())
}

/// The columns of a query as a RowDescription tells them, which says nothing of collations.
///
/// # Errors
/// What the server finds wrong with the query.
pub async fn columns_of(server: &mut Backend, query: &str) -> Result<Vec<TypedColumn>, Fault> {
    request::parse(&mut server.out, b"", query.as_bytes(), &[])?;
    server.inflight.push(Owed::Parse(Audience::Router));
    request::describe(&mut server.out, request::Target::Statement, b"")?;
    server.inflight.push(Owed::DescribeStatement(Audience::Router));
    server.out.extend_from_slice(request::SYNC);
    server.inflight.push(Owed::Sync(Audience::Router));
    let mut columns = Vec::new();
    let mut failed = None;
    while !server.inflight.is_empty() {
        let frame = server.next_frame().await?;
        if server.inflight.step(frame.tag) == crate::backend::inflight::Verdict::OutOfStep {
            return Err(server.out_of_step(frame.tag));
        }
        match frame.tag {
            b'T' => columns = read_row_description(frame.body())?,
            b'E' => failed = Some(server_fault(frame.body())),
            _ => {}
        }
    }
    let typed = columns.into_iter().map(|column| TypedColumn {
        name: column.name,
        type_oid: column.type_oid,
        typmod: column.typmod,
        collation: None,
        default: None,
    });
    failed.map_or_else(|| Ok(typed.collect()), Err)
}

/// The same with their collations; `None` where one is not Postgres's own.
///
/// # Errors
/// What the server finds wrong with the query.
pub async fn collated_columns_of(server: &mut Backend, query: &str) -> Result<Option<Vec<TypedColumn>>, Fault> {
    let mut columns = columns_of(server, query).await?;
    let types: Vec<String> = columns.iter().map(|column| column.type_oid.to_string()).collect();
    let collated = server
        .query(&format!(
            "SELECT t.oid FROM pg_catalog.pg_type t WHERE t.typcollation <> 0 AND t.oid IN ({})",
            types.join(", ")
        ))
        .await?;
    let collated: Vec<Oid> = collated.iter().filter_map(|row| row.first()?.as_deref()?.parse().ok()).collect();
    let places: Vec<usize> = (0..columns.len()).filter(|at| collated.contains(&columns[*at].type_oid)).collect();
    if places.is_empty() {
        return Ok(Some(columns));
    }
    let asked = places.iter().map(|at| {
        format!(
            "(SELECT c.collname FROM pg_catalog.pg_collation c WHERE c.oid < {} \
               AND c.oid = pg_catalog.pg_collation_for(q.c{at})::pg_catalog.regcollation)",
            oid::FIRST_NORMAL
        )
    });
    let asked: Vec<String> = asked.collect();
    let names: Vec<String> = (0..columns.len()).map(|at| format!("c{at}")).collect();
    let rows = server
        .query(&format!(
            "SELECT {} FROM (SELECT 1) d LEFT JOIN (SELECT * FROM ({query}) r LIMIT 0) AS q ({}) ON true",
            asked.join(", "),
            names.join(", ")
        ))
        .await?;
    let found = rows.into_iter().next().unwrap_or_default();
    for (at, collation) in places.into_iter().zip(found) {
        let Some(name) = collation else { return Ok(None) };
        columns[at].collation = (name != "default").then(|| name.into());
    }
    Ok(Some(columns))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(name: &str, generation: u64) -> InputTable<'_> {
        let columns = InputColumns::Of { query: "SELECT a FROM t", table: Some("t".into()) };
        InputTable { name, columns, primary_key: String::new(), generation }
    }

    #[test]
    fn a_table_is_known_again_until_the_catalog_changes() {
        let mut inputs = Inputs::default();
        inputs.note(&table("a", 1), [23].into(), true);
        assert_eq!(inputs.find(&table("a", 1)).as_deref(), Some(&[23][..]));
        assert!(inputs.find(&table("a", 2)).is_none());
        assert!(inputs.is_stale(&table("a", 2)) && !inputs.is_stale(&table("a", 1)));
        let gone = inputs.make_room(&[&table("a", 2)], &[table("a", 2)]);
        assert!(inputs.find(&table("a", 1)).is_none());
        inputs.put_back(gone);
        assert!(inputs.find(&table("a", 1)).is_some());
        inputs.make_room(&[&table("a", 2)], &[table("a", 2)]);
        inputs.note(&table("a", 1), [23].into(), true);
        inputs.renew(&table("a", 2));
        assert_eq!(inputs.find(&table("a", 2)).as_deref(), Some(&[23][..]));
    }

    #[test]
    fn what_is_in_doubt_is_nobodys_and_goes() {
        let mut inputs = Inputs::default();
        inputs.note(&table("a", 1), [23].into(), true);
        inputs.doubt("a");
        assert!(inputs.find(&table("a", 1)).is_none() && !inputs.is_stale(&table("a", 2)));
        let gone = inputs.make_room(&[&table("a", 1)], &[table("a", 1)]);
        assert_eq!(gone.iter().map(|made| &*made.name).collect::<Vec<_>>(), ["a"]);
        inputs.doubt("a");
        inputs.note(&table("a", 1), [23].into(), true);
        assert_eq!(inputs.clean(), None);
        inputs.doubt("a");
        assert_eq!(inputs.clean().as_deref(), Some("BEGIN READ WRITE; DROP TABLE IF EXISTS pg_temp.a; COMMIT"));
        assert_eq!(inputs.clean(), None);
    }

    #[test]
    fn the_least_used_table_makes_room_but_none_of_the_statement() {
        let mut inputs = Inputs::default();
        let names: Vec<String> = (0..KEPT).map(|i| format!("t{i}")).collect();
        names.iter().for_each(|name| inputs.note(&table(name, 1), [].into(), true));
        inputs.find(&table("t1", 1));
        let gone = inputs.make_room(&[&table("new", 1), &table("newer", 1)], &[table("t0", 1)]);
        let gone: Vec<&str> = gone.iter().map(|made| &*made.name).collect();
        assert_eq!(gone, ["t2", "t3"]);
    }

    #[test]
    fn what_is_not_kept_is_dropped_and_what_has_grown_is_emptied() {
        let mut inputs = Inputs::default();
        inputs.note(&table("a", 1), [].into(), true);
        inputs.note_rows("a", 10, DEAD - 10 * ROW_OVERHEAD);
        assert_eq!(inputs.clean(), None);
        inputs.note_rows("a", 1, 0);
        assert_eq!(inputs.clean().as_deref(), Some("BEGIN READ WRITE; TRUNCATE pg_temp.a; COMMIT"));
        assert_eq!(inputs.clean(), None);
        inputs.note_rows("a", 1, 0);
        inputs.spoil();
        assert_eq!(inputs.clean().as_deref(), Some("BEGIN READ WRITE; TRUNCATE pg_temp.a; COMMIT"));
        inputs.note(&table("xA", 1), [].into(), false);
        let sql = inputs.clean();
        assert_eq!(sql.as_deref(), Some("BEGIN READ WRITE; DROP TABLE IF EXISTS pg_temp.\"xA\"; COMMIT"));
        assert_eq!(inputs.clean(), None);
    }
}

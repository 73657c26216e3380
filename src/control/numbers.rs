//! Reads how shards number what users have made. What the home shard says is what clients know.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::backend::Backend;
use crate::backend::cluster::Database;
use crate::catalog::numbers::{
    Inside, Numbered, NumberedTable, Numbers, Part, UserType, UserTypes, insides, with_numbers,
};
use crate::control::catalog::{FIRST_NORMAL_OID, Row, USER_SCHEMAS, number, text};
use crate::fault::{Fault, SqlState};
use crate::ids::{Oid, QualifiedName, ShardId, ShardSet};
use crate::topology::Topology;

/// How long the others wait for a shard that does not answer. Until it does, clients are told of no table of it.
const PATIENCE: Duration = Duration::from_secs(3);

/// For so long a shard that did not answer is not waited for again, unless something was done there.
const REST: Duration = Duration::from_secs(30);

/// How the other shards number, where that is not as the home shard does, and what they have. Those are asked that were touched (`None`: whoever it was, any may have been),
/// or of which nothing is known. What was last read of one that does not answer stays while the home shard has the same.
pub(super) async fn read(
    database: &Arc<Database>,
    topology: &Topology,
    of_home: &Arc<Numbered>,
    touched: Option<&ShardSet>,
) -> (Vec<(ShardId, Arc<Numbers>)>, Vec<(ShardId, Arc<Numbered>)>) {
    let mut known = database.numbered.lock().await;
    if known.home != *of_home {
        known.home = Arc::clone(of_home);
        known.others.retain(|shard, _| touched.is_some_and(|touched| !touched.contains(*shard)));
    }
    let others = (0..topology.shards.len()).map(|at| ShardId(at as u16)).filter(|shard| *shard != topology.home);
    let others: Vec<ShardId> = others.collect();
    let due = |shard: &&ShardId| {
        let touched = touched.map(|touched| touched.contains(**shard));
        is_due(touched, known.others.contains_key(shard), known.silent.get(shard).map(Instant::elapsed))
    };
    let reads = others.iter().filter(due).map(|shard| async {
        let read = async { read_of(&mut super::connect(database, *shard).await?, USER_SCHEMAS).await };
        (*shard, tokio::time::timeout(PATIENCE, read).await.unwrap_or_else(|_| Err(silent())))
    });
    for (shard, numbered) in futures::future::join_all(reads).await {
        match numbered {
            Ok(numbered) => {
                known.silent.remove(&shard);
                known.others.insert(shard, Arc::new(numbered));
            }
            Err(fault) => {
                known.silent.insert(shard, Instant::now());
                let name = &topology.shard(shard).name;
                tracing::warn!(database = %database.name, shard = %name, error = %fault, "the numbers of types and tables cannot be read");
            }
        }
    }
    let numbers = |shard: &ShardId| {
        Some((*shard, Numbers::between(of_home, known.others.get(shard).map(|numbered| &**numbered))?))
    };
    let numbers = others.iter().filter_map(numbers).collect();
    let have = |shard: ShardId| Some((shard, Arc::clone(known.others.get(&shard)?)));
    (numbers, others.into_iter().filter_map(have).collect())
}

/// Whether a shard is to be asked. `silent`: since when it has not answered.
fn is_due(touched: Option<bool>, known: bool, silent: Option<Duration>) -> bool {
    match (touched, silent) {
        (Some(true), _) => true,
        (Some(false), silent) => !known && silent.is_none(),
        (None, silent) => silent.is_none_or(|since| since >= REST),
    }
}

/// What a shard has as the open transaction of this connection sees it. The search path must be empty.
///
/// # Errors
/// The server refuses to be read.
pub async fn read_within(server: &mut Backend) -> Result<Numbered, Fault> {
    read_of(server, USER_SCHEMAS).await
}

/// What is in the schemas that `filter` says. The connection's search path must be empty.
pub(super) async fn read_of(server: &mut Backend, filter: &str) -> Result<Numbered, Fault> {
    let mut types = read_types(server, filter).await?;
    let mut tables = read_tables(server, filter).await?;
    let parts = read_parts(server).await?;
    let rows: HashSet<Oid> = tables.values().flat_map(|table| table.row_types).filter(|oid| *oid != 0).collect();
    let inside = insides(&parts, |oid| rows.contains(&oid));
    let of = |oid: &Oid| inside.get(oid).copied().unwrap_or_default();
    types.values_mut().for_each(|made| made.inside = of(&made.oid));
    tables.values_mut().for_each(|table| table.inside = of(&table.row_types[0]));
    let in_some = inside.values().any(|inside| *inside == Inside::Names);
    let has_names = in_some || !server.query(&names_query(filter)).await?.is_empty();
    Ok(Numbered { types, tables, has_names, others: read_others(server).await? })
}

/// Of what the values of types are made that users have made: elements, columns, and what domains and ranges are over.
async fn read_parts(server: &mut Backend) -> Result<Vec<Part>, Fault> {
    let rows = server
        .query(&format!(
            "SELECT t.oid, t.typelem, 1 FROM pg_catalog.pg_type t \
               WHERE t.oid >= {FIRST_NORMAL_OID} AND t.typcategory = 'A' AND t.typelem <> 0 AND t.typtype <> 'd' \
             UNION ALL SELECT t.oid, t.typbasetype, 0 FROM pg_catalog.pg_type t WHERE t.oid >= {FIRST_NORMAL_OID} AND t.typtype = 'd' \
             UNION ALL SELECT r.rngtypid, r.rngsubtype, 0 FROM pg_catalog.pg_range r WHERE r.rngtypid >= {FIRST_NORMAL_OID} \
             UNION ALL SELECT r.rngmultitypid, r.rngsubtype, 0 FROM pg_catalog.pg_range r WHERE r.rngtypid >= {FIRST_NORMAL_OID} \
             UNION ALL SELECT DISTINCT c.reltype, a.atttypid, 1 FROM pg_catalog.pg_attribute a \
               JOIN pg_catalog.pg_class c ON c.oid = a.attrelid \
               WHERE c.reltype >= {FIRST_NORMAL_OID} AND a.attnum > 0 AND NOT a.attisdropped \
                 AND (a.atttypid >= {FIRST_NORMAL_OID} OR a.atttypid IN ({}))",
            with_numbers().map(|oid| oid.to_string()).collect::<Vec<_>>().join(", ")
        ))
        .await?;
    let read =
        |row: &Row| Ok(Part { of: number(row, 0)?, part: number(row, 1)?, is_numbered: number::<u8>(row, 2)? == 1 });
    rows.iter().map(read).collect()
}

/// The types of users but for the row types of tables.
async fn read_types(server: &mut Backend, filter: &str) -> Result<UserTypes, Fault> {
    let rows = server
        .query(&format!(
            "SELECT n.nspname, t.typname, t.oid \
             FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace \
               LEFT JOIN pg_catalog.pg_type e ON e.oid = t.typelem AND t.typcategory = 'A' \
               LEFT JOIN pg_catalog.pg_class c ON c.oid = CASE WHEN e.oid IS NULL THEN t.typrelid ELSE e.typrelid END \
             WHERE t.typisdefined AND (c.oid IS NULL OR c.relkind = 'c') AND {filter}"
        ))
        .await?;
    let read = |row: &Row| Ok((name(row)?, UserType { oid: number(row, 2)?, inside: Inside::Nothing }));
    rows.iter().map(read).collect()
}

/// What a column of a result can be one of.
async fn read_tables(server: &mut Backend, filter: &str) -> Result<HashMap<QualifiedName, NumberedTable>, Fault> {
    let rows = server
        .query(&format!(
            "SELECT n.nspname, c.relname, c.oid, c.reltype, COALESCE(t.typarray, 0), \
               (SELECT pg_catalog.string_agg(CASE WHEN a.attisdropped THEN '' ELSE a.attname::pg_catalog.text END, E'\\x01' ORDER BY a.attnum) \
                  FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0) \
             FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
               LEFT JOIN pg_catalog.pg_type t ON t.oid = c.reltype \
             WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND {filter}"
        ))
        .await?;
    let read = |row: &Row| {
        let columns = row.get(5).and_then(Option::as_deref).unwrap_or_default();
        let row_types = [number(row, 3)?, number(row, 4)?];
        let table = NumberedTable { oid: number(row, 2)?, row_types, inside: Inside::Nothing, columns: columns.into() };
        Ok((name(row)?, table))
    };
    rows.iter().map(read).collect()
}

/// Whether a table of users has a column whose values are names of the catalog, or arrays of such.
fn names_query(filter: &str) -> String {
    format!(
        "SELECT 1 FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid \
           JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace JOIN pg_catalog.pg_type t ON t.oid = a.atttypid \
           LEFT JOIN pg_catalog.pg_type e ON e.oid = t.typelem \
         WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND {filter} \
           AND (t.oid < {FIRST_NORMAL_OID} AND t.typname LIKE 'reg%' OR e.oid < {FIRST_NORMAL_OID} AND e.typname LIKE 'reg%') LIMIT 1"
    )
}

/// A digest of what else `regproc` and its like name.
async fn read_others(server: &mut Backend) -> Result<Box<str>, Fault> {
    let of = |kind: &str, catalog: &str, name: &str| {
        format!("SELECT '{kind}' || oid || {name} FROM pg_catalog.{catalog} WHERE oid >= {FIRST_NORMAL_OID}")
    };
    let parts = [
        of("n", "pg_namespace", "nspname") + " AND nspname NOT LIKE 'pg\\_%'",
        of("p", "pg_proc", "oid::pg_catalog.regprocedure"),
        of("o", "pg_operator", "oid::pg_catalog.regoperator"),
        of("c", "pg_collation", "oid::pg_catalog.regcollation"),
        of("d", "pg_ts_dict", "oid::pg_catalog.regdictionary"),
        of("t", "pg_ts_config", "oid::pg_catalog.regconfig"),
        of("r", "pg_roles", "rolname"),
    ];
    let sql = format!(
        "SELECT pg_catalog.md5(pg_catalog.string_agg(o.one, ' ' ORDER BY o.one COLLATE \"C\")) FROM ({}) o (one)",
        parts.join(" UNION ALL ")
    );
    let rows = server.query(&sql).await?;
    Ok(rows.first().and_then(|row| row.first()?.as_deref()).unwrap_or_default().into())
}

fn name(row: &Row) -> Result<QualifiedName, Fault> {
    Ok(QualifiedName::new(text(row, 0)?, text(row, 1)?))
}

fn silent() -> Fault {
    Fault::new(SqlState::CONNECTION_FAILURE, "the server does not answer")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_shard_is_waited_for_once() {
        let (now, later) = (Some(Duration::from_secs(1)), Some(REST));
        // What others have changed shows nowhere else.
        assert!(is_due(None, true, None) && is_due(None, false, None));
        // Definitions on other shards wait for nobody.
        assert!(is_due(Some(false), false, None));
        assert!(
            !is_due(Some(false), true, None) && !is_due(Some(false), false, now) && !is_due(Some(false), false, later)
        );
        assert!(!is_due(None, false, now) && is_due(None, false, later) && is_due(None, true, later));
        // It has just answered.
        assert!(is_due(Some(true), true, None) && is_due(Some(true), false, now));
    }
}

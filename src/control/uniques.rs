//! Values that are unique over all shards: what every shard has for them, made and filled by `pgloom unique`.
//!
//! Triggers note in `pgloom.unique_log` which values a transaction gives to rows and takes from them. Before it commits, the router takes
//! these notes from every shard that was written, and changes the registry by them, in the same transaction: `pgloom.unique_value` on the
//! shard of the value's hash, whose primary key says no to what is there already. `pgloom.unique_ready` tells that all of that is in
//! place; without it no write of a sharded table commits. The registry also tells on which shard the row of a value is, so that a statement
//! by such a value goes there alone: what is asked with `find`.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::backend::Backend;
use crate::backend::cluster::Database;
use crate::backend::settings::{quote_identifier, quote_literal};
use crate::commit::registry::{Entry, fingerprint, place, short};
use crate::config::UniqueRule;
use crate::fault::{Fault, SqlState};
use crate::ids::{QualifiedName, ShardId};

/// Values that are read and registered at a time.
const AT_ONCE: usize = 2000;
/// Triggers of one rule on its table.
const TRIGGERS: usize = 4;
/// Duplicates that are named.
const NAMED: usize = 10;

/// What there is for all rules. Functions have the rights of who made them: clients need none of their own.
const SCHEMA: &str = "\
    CREATE SCHEMA IF NOT EXISTS pgloom; GRANT USAGE ON SCHEMA pgloom TO PUBLIC; \
    CREATE TABLE IF NOT EXISTS pgloom.unique_log (transaction bigint NOT NULL DEFAULT pg_catalog.txid_current(), \
      scope text NOT NULL, value text[] NOT NULL, change integer NOT NULL); \
    CREATE INDEX IF NOT EXISTS unique_log_transaction ON pgloom.unique_log (transaction); \
    CREATE TABLE IF NOT EXISTS pgloom.unique_value (scope text COLLATE \"C\" NOT NULL, value text[] COLLATE \"C\" NOT NULL, \
      PRIMARY KEY (scope, value)); \
    ALTER TABLE pgloom.unique_value ADD COLUMN IF NOT EXISTS shard text; \
    CREATE TABLE IF NOT EXISTS pgloom.unique_ready (scope text PRIMARY KEY, fingerprint text NOT NULL); \
    ALTER TABLE pgloom.unique_ready ADD COLUMN IF NOT EXISTS columns text; \
    DROP FUNCTION IF EXISTS pgloom.unique_put(text[], text[], integer[]); \
    CREATE OR REPLACE FUNCTION pgloom.unique_take(scopes text[], fingerprints text[], relations text[], triggers text[]) \
    RETURNS TABLE (of_scope text, of_value text, shown text, changed bigint) \
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $body$ \
    DECLARE missing text; \
    BEGIN \
      SELECT w.s INTO missing FROM unnest(scopes, fingerprints, relations, triggers) w (s, f, r, t) \
      WHERE pg_catalog.to_regclass(w.r) IS NOT NULL AND NOT ( \
        EXISTS (SELECT FROM pgloom.unique_ready y WHERE y.scope = w.s AND y.fingerprint = w.f) \
        AND (SELECT pg_catalog.count(*) FROM pg_catalog.pg_trigger g WHERE g.tgrelid = pg_catalog.to_regclass(w.r) \
               AND g.tgenabled = 'A' AND pg_catalog.left(g.tgname, -1) = w.t) = 4) LIMIT 1; \
      IF missing IS NOT NULL THEN \
        RAISE EXCEPTION 'the values of % are not registered', missing USING ERRCODE = 'object_not_in_prerequisite_state', \
          DETAIL = 'They must be unique over all shards, and on this one the triggers that note them are not in place, or were not made for these shards.', \
          HINT = 'Run pgloom unique.'; \
      END IF; \
      RETURN QUERY WITH gone AS (DELETE FROM pgloom.unique_log l WHERE l.transaction = pg_catalog.txid_current() \
          RETURNING l.scope, l.value, l.change) \
        SELECT o.scope, o.value::text, pg_catalog.array_to_string(o.value, ', '), pg_catalog.sum(o.change) \
        FROM gone o GROUP BY o.scope, o.value HAVING pg_catalog.sum(o.change) <> 0; \
    END $body$; \
    CREATE OR REPLACE FUNCTION pgloom.unique_put(scopes text[], entries text[], changes integer[], shards text[]) \
    RETURNS TABLE (of_scope text, shown text) \
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $body$ \
    DECLARE entry record; gone bigint; moved bigint; \
    BEGIN \
      DELETE FROM pgloom.unique_value u USING unnest(scopes, entries, changes) x (s, v, c) \
        WHERE x.c < 0 AND u.scope = x.s AND u.value = x.v::text[]; \
      GET DIAGNOSTICS gone = ROW_COUNT; \
      UPDATE pgloom.unique_value u SET shard = x.h FROM unnest(scopes, entries, changes, shards) x (s, v, c, h) \
        WHERE x.c = 0 AND u.scope = x.s AND u.value = x.v::text[]; \
      GET DIAGNOSTICS moved = ROW_COUNT; \
      IF pg_catalog.current_setting('transaction_isolation') IN ('repeatable read', 'serializable') \
        AND gone + moved < (SELECT pg_catalog.count(*) FROM unnest(changes) c WHERE c <= 0) THEN \
        RAISE EXCEPTION 'could not serialize access due to concurrent update' USING ERRCODE = 'serialization_failure'; \
      END IF; \
      BEGIN \
        INSERT INTO pgloom.unique_value (scope, value, shard) SELECT x.s, x.v::text[], x.h \
          FROM unnest(scopes, entries, changes, shards) x (s, v, c, h) \
          WHERE x.c > 0 ORDER BY 1, 2; \
        RETURN; \
      EXCEPTION WHEN unique_violation THEN NULL; \
      END; \
      RETURN QUERY SELECT x.s, pg_catalog.array_to_string(x.v::text[], ', ') FROM unnest(scopes, entries, changes, shards) x (s, v, c, h) \
        JOIN pgloom.unique_value u ON u.scope = x.s AND u.value = x.v::text[] WHERE x.c > 0 ORDER BY x.s, x.v::text[]; \
      IF FOUND THEN RETURN; END IF; \
      FOR entry IN SELECT x.s, x.v::text[] AS v, x.h FROM unnest(scopes, entries, changes, shards) x (s, v, c, h) \
        WHERE x.c > 0 ORDER BY 1, 2 LOOP \
        BEGIN \
          INSERT INTO pgloom.unique_value (scope, value, shard) VALUES (entry.s, entry.v, entry.h); \
        EXCEPTION WHEN unique_violation THEN \
          of_scope := entry.s; shown := pg_catalog.array_to_string(entry.v, ', '); RETURN NEXT; RETURN; \
        END; \
      END LOOP; \
    END $body$";

/// Tells the shards of the rows that have values; a row for each value. No row: the registry cannot be relied on here. Then it was not made
/// for these shards and columns (an older version made it, a column has been changed or made anew), the triggers are not in place, values
/// were written past it, the transaction does not see what was committed last, or who asks may not read the columns.
const FIND: &str = "\
    CREATE OR REPLACE FUNCTION pgloom.unique_find(of_scope text, print text, relation text, trigger text, names text[], entries text[]) \
    RETURNS TABLE (has_row boolean, on_shard text) \
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = '' AS $body$ \
    DECLARE id oid := pg_catalog.to_regclass(relation); \
    BEGIN \
      IF id IS NULL OR pg_catalog.current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted') \
        OR NOT EXISTS (SELECT FROM pgloom.unique_ready y WHERE y.scope = of_scope AND y.fingerprint = print AND y.columns = COLUMNS) \
        OR (SELECT pg_catalog.count(*) FROM pg_catalog.pg_trigger g WHERE g.tgrelid = id AND g.tgenabled = 'A' \
              AND pg_catalog.left(g.tgname, -1) = trigger) <> 4 \
        OR EXISTS (SELECT FROM pgloom.unique_log) THEN \
        RETURN; \
      END IF; \
      IF EXISTS (SELECT FROM unnest(names) n WHERE NOT pg_catalog.has_column_privilege(session_user, id, n, 'SELECT')) \
        OR EXISTS (SELECT FROM pgloom.unique_value u WHERE u.scope = of_scope AND u.shard IS NULL \
              AND u.value IN (SELECT e::text[] FROM unnest(entries) e)) THEN \
        RETURN; \
      END IF; \
      RETURN QUERY SELECT u.value IS NOT NULL, u.shard FROM unnest(entries) e \
        LEFT JOIN pgloom.unique_value u ON u.scope = of_scope AND u.value = e::text[]; \
    END $body$";

/// What tells that columns are still those whose values were registered: a column that is altered or made anew has another row in the catalog.
/// Of the table `id` and the columns `names`, both SQL.
fn columns_mark(id: &str, names: &str) -> String {
    format!(
        "(SELECT pg_catalog.string_agg(pg_catalog.concat_ws(' ', a.attrelid, a.attnum, a.xmin), ',' ORDER BY a.attnum) \
         FROM pg_catalog.pg_attribute a WHERE a.attrelid = {id} AND a.attname = ANY ({names}) AND NOT a.attisdropped)"
    )
}

/// [`columns_mark`] of a rule's columns now.
fn columns_now(rule: &UniqueRule) -> String {
    columns_mark(&format!("pg_catalog.to_regclass({})", quote_literal(&table_of(rule))), &names_of(rule))
}

fn names_of(rule: &UniqueRule) -> String {
    let names: Vec<String> = rule.columns.iter().map(|name| quote_literal(name)).collect();
    format!("ARRAY[{}]::pg_catalog.text[]", names.join(", "))
}

/// Whether a server can be asked with [`find`].
pub const CAN_FIND: &str =
    "SELECT pg_catalog.to_regprocedure('pgloom.unique_find(text, text, text, text, text[], text[])') IS NOT NULL";

/// On which shards the rows with these values are, all of them registered on the server that is asked; see [`FIND`].
pub fn find(rule: &UniqueRule, shards: &[&str], values: &[String]) -> String {
    let list: Vec<String> = values.iter().map(|value| quote_literal(value)).collect();
    format!(
        "SELECT has_row, on_shard FROM pgloom.unique_find({}, {}, {}, {}, {}, ARRAY[{}]::pg_catalog.text[])",
        quote_literal(&rule.scope()),
        quote_literal(&fingerprint(&rule.scope(), shards.iter().copied())),
        quote_literal(&table_of(rule)),
        quote_literal(&trigger(rule)),
        names_of(rule),
        list.join(", "),
    )
}

/// What `pgloom unique` did for one rule.
#[derive(Debug, PartialEq, Eq)]
pub struct Registered {
    pub scope: String,
    pub values: usize,
    /// Some of those that several rows have: the rule is not in force then.
    pub duplicates: Vec<String>,
}

/// What one shard lacks.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Lacks {
    /// Rules without triggers, or that are not ready.
    pub rules: Vec<String>,
    /// Rules whose columns are not those that were registered: rows are not found by them.
    pub unread: Vec<String>,
    /// Notes that nobody took: values were written past the router, or by one that does not know the rule.
    pub notes: u64,
}

fn table_of(rule: &UniqueRule) -> String {
    relation(&rule.table)
}

fn relation(table: &QualifiedName) -> String {
    format!("{}.{}", quote_identifier(&table.schema), quote_identifier(&table.name))
}

/// What the names of a rule's triggers begin with; one more letter each.
fn trigger(rule: &UniqueRule) -> String {
    format!("pgloom_unique_{}_", short(&rule.scope()))
}

/// The columns' values as one array of texts, of a row of `of`; and that none of them is NULL.
fn value_of(rule: &UniqueRule, of: &str) -> (String, String) {
    let columns = rule.columns.iter().map(|column| format!("{of}.{}", quote_identifier(column)));
    let texts: Vec<String> = columns.clone().map(|column| format!("{column}::pg_catalog.text")).collect();
    let known: Vec<String> = columns.map(|column| format!("{column} IS NOT NULL")).collect();
    (format!("ARRAY[{}]", texts.join(", ")), known.join(" AND "))
}

/// The trigger function of a rule and its triggers, made anew.
fn triggers(rule: &UniqueRule) -> String {
    let (table, prefix) = (table_of(rule), trigger(rule));
    let function = format!("pgloom.{}note", prefix);
    let scope = quote_literal(&rule.scope());
    let ((new, new_known), (old, old_known)) = (value_of(rule, "n"), value_of(rule, "o"));
    let mut sql = format!(
        "CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $body$ BEGIN \
           IF TG_OP = 'INSERT' THEN \
             INSERT INTO pgloom.unique_log (scope, value, change) SELECT {scope}, {new}, 1 FROM pgloom_new n WHERE {new_known}; \
           ELSIF TG_OP = 'DELETE' THEN \
             INSERT INTO pgloom.unique_log (scope, value, change) SELECT {scope}, {old}, -1 FROM pgloom_old o WHERE {old_known}; \
           ELSIF TG_OP = 'UPDATE' THEN \
             INSERT INTO pgloom.unique_log (scope, value, change) \
               SELECT {scope}, c.v, pg_catalog.sum(c.n) FROM (SELECT {new}, 1 FROM pgloom_new n WHERE {new_known} \
                 UNION ALL SELECT {old}, -1 FROM pgloom_old o WHERE {old_known}) c (v, n) GROUP BY c.v HAVING pg_catalog.sum(c.n) <> 0; \
           ELSE \
             RAISE EXCEPTION 'TRUNCATE of table \"%\" is not supported', TG_TABLE_NAME USING ERRCODE = 'feature_not_supported', \
               DETAIL = 'Its values are unique over all shards, and registered one by one.', HINT = 'Use DELETE.'; \
           END IF; \
           RETURN NULL; END $body$; "
    );
    let events = [
        ("i", "AFTER INSERT", "REFERENCING NEW TABLE AS pgloom_new"),
        ("u", "AFTER UPDATE", "REFERENCING OLD TABLE AS pgloom_old NEW TABLE AS pgloom_new"),
        ("d", "AFTER DELETE", "REFERENCING OLD TABLE AS pgloom_old"),
        ("t", "BEFORE TRUNCATE", ""),
    ];
    for (letter, event, tables) in events {
        let name = format!("{prefix}{letter}");
        sql += &format!(
            "DROP TRIGGER IF EXISTS {name} ON {table}; \
             CREATE TRIGGER {name} {event} ON {table} {tables} FOR EACH STATEMENT EXECUTE FUNCTION {function}(); \
             ALTER TABLE {table} ENABLE ALWAYS TRIGGER {name}; "
        );
    }
    sql
}

/// The notes of the transaction at hand, on a shard that it has written. Fails where a rule is not in force there.
pub fn take(rules: &[UniqueRule], shards: &[&str]) -> String {
    let array = |of: &dyn Fn(&UniqueRule) -> String| {
        let texts: Vec<String> = rules.iter().map(|rule| quote_literal(&of(rule))).collect();
        format!("ARRAY[{}]::pg_catalog.text[]", texts.join(", "))
    };
    // What is deferred could change values once more.
    format!(
        "SET CONSTRAINTS ALL IMMEDIATE; \
         SELECT of_scope, of_value, shown, changed FROM pgloom.unique_take({}, {}, {}, {})",
        array(&UniqueRule::scope),
        array(&|rule| fingerprint(&rule.scope(), shards.iter().copied())),
        array(&table_of),
        array(&trigger),
    )
}

/// Changes the registry of one shard: a row for each value that is there already, or for the first of them.
pub fn put(entries: &[Entry], shards: &[&str], all: bool) -> String {
    let list = |of: &dyn Fn(&Entry) -> String| entries.iter().map(of).collect::<Vec<_>>().join(", ");
    format!(
        "SELECT of_scope, shown FROM pgloom.unique_put(ARRAY[{}]::pg_catalog.text[], ARRAY[{}]::pg_catalog.text[], \
         ARRAY[{}]::pg_catalog.int4[], ARRAY[{}]::pg_catalog.text[]){}",
        list(&|entry| quote_literal(&entry.scope)),
        list(&|entry| quote_literal(&entry.value)),
        list(&|entry| entry.change.rows().to_string()),
        list(&|entry| quote_literal(shards.get(entry.shard).copied().unwrap_or_default())),
        if all { "" } else { " LIMIT 1" },
    )
}

/// Makes what the rules need on every shard, and registers the rows that are there. Until it is done writes of sharded tables fail.
///
/// # Errors
/// A shard does not answer, the router's user may not make what is needed, or a rule's table or columns are not as they must be.
pub async fn register(database: &Arc<Database>) -> Result<Vec<Registered>, Fault> {
    let topology = Arc::clone(&database.cluster.load().topology);
    let rules = &database.uniques;
    let scopes: Vec<String> = rules.iter().map(|rule| quote_literal(&rule.scope())).collect();
    let scopes = scopes.join(", ");
    let mut tables = Vec::new();
    let mut registries = Vec::new();
    for shard in (0..topology.shards.len()).map(|at| ShardId(at as u16)) {
        let mut server = super::connect(database, shard).await?;
        for rule in rules {
            check_columns(&mut server, rule).await?;
        }
        server.query(SCHEMA).await?;
        server.query(&FIND.replace("COLUMNS", &columns_mark("id", "names"))).await?;
        server.query(&format!("DELETE FROM pgloom.unique_ready WHERE scope IN ({scopes})")).await?;
        for rule in rules {
            server.query(&triggers(rule)).await?;
        }
        tables.push(server);
        registries.push(super::connect(database, shard).await?);
    }
    // Who has written before the triggers were there is waited for, and nobody writes until it is done.
    for server in &mut tables {
        // Who holds one table and waits for another is not waited for without end: run again, it finds another moment.
        server.query("BEGIN; SET LOCAL lock_timeout = '20s'").await?;
        for rule in rules {
            server.query(&format!("LOCK TABLE {} IN SHARE MODE", table_of(rule))).await?;
        }
    }
    for server in &mut registries {
        server.query("BEGIN; LOCK TABLE pgloom.unique_value IN EXCLUSIVE MODE").await?;
        server.query(&format!("DELETE FROM pgloom.unique_value WHERE scope IN ({scopes})")).await?;
    }
    let mut done = Vec::new();
    for rule in rules {
        let mut registered = Registered { scope: rule.scope(), values: 0, duplicates: Vec::new() };
        for (server, shard) in tables.iter_mut().zip(&topology.shards) {
            fill(rule, server, &shard.name, &mut registries, &mut registered).await?;
        }
        done.push(registered);
    }
    if done.iter().any(|registered| !registered.duplicates.is_empty()) {
        return Ok(done);
    }
    for server in &mut registries {
        expect_commit(server).await?;
    }
    for server in &mut tables {
        for rule in rules {
            let print = fingerprint(&rule.scope(), topology.shards.iter().map(|shard| &*shard.name));
            let (scope, print) = (quote_literal(&rule.scope()), quote_literal(&print));
            server
                .query(&format!(
                    "INSERT INTO pgloom.unique_ready (scope, fingerprint, columns) VALUES ({scope}, {print}, {})",
                    columns_now(rule)
                ))
                .await?;
        }
        expect_commit(server).await?;
    }
    Ok(done)
}

async fn expect_commit(server: &mut Backend) -> Result<(), Fault> {
    match &*server.command("COMMIT").await? {
        "COMMIT" => Ok(()),
        other => Err(Fault::new(SqlState::TRANSACTION_ROLLBACK, format!("COMMIT was answered by {other}"))),
    }
}

/// Registers one shard's rows.
async fn fill(
    rule: &UniqueRule,
    table: &mut Backend,
    shard: &str,
    registries: &mut [Backend],
    registered: &mut Registered,
) -> Result<(), Fault> {
    let (value, known) = value_of(rule, "r");
    let of = table_of(rule);
    table
        .query(&format!(
            "DECLARE pgloom_unique NO SCROLL CURSOR FOR SELECT {value}::pg_catalog.text FROM {of} r WHERE {known}"
        ))
        .await?;
    loop {
        let rows = table.query(&format!("FETCH {AT_ONCE} FROM pgloom_unique")).await?;
        if rows.is_empty() {
            break;
        }
        let mut parts: BTreeMap<usize, Vec<String>> = BTreeMap::new();
        for value in rows.into_iter().filter_map(|row| row.into_iter().next().flatten()) {
            parts.entry(place(&rule.scope(), &value, registries.len())).or_default().push(value);
        }
        for (at, values) in parts {
            let Some(server) = registries.get_mut(at) else { continue };
            let list: Vec<String> = values.iter().map(|value| quote_literal(value)).collect();
            let put = server
                .query(&format!(
                    "INSERT INTO pgloom.unique_value (scope, value, shard) SELECT {}, v::pg_catalog.text[], {} \
                     FROM pg_catalog.unnest(ARRAY[{}]::pg_catalog.text[]) v ON CONFLICT DO NOTHING RETURNING value::pg_catalog.text",
                    quote_literal(&rule.scope()),
                    quote_literal(shard),
                    list.join(", ")
                ))
                .await?;
            registered.values += put.len();
            let mut missing = values;
            for put in put.into_iter().filter_map(|row| row.into_iter().next().flatten()) {
                if let Some(found) = missing.iter().position(|value| *value == put) {
                    missing.swap_remove(found);
                }
            }
            missing.truncate(NAMED.saturating_sub(registered.duplicates.len()));
            registered.duplicates.extend(missing);
        }
    }
    table.query("CLOSE pgloom_unique").await?;
    Ok(())
}

/// That the values' texts are equal where the values are, and that every row of the table is noted.
async fn check_columns(server: &mut Backend, rule: &UniqueRule) -> Result<(), Fault> {
    let rows = server
        .query(&format!(
            "SELECT a.attname, t.typname IN ('int2', 'int4', 'int8', 'text', 'varchar', 'uuid') AND t.typnamespace = 'pg_catalog'::pg_catalog.regnamespace \
               AND COALESCE(c.collisdeterministic, true), r.relkind = 'r' AND NOT EXISTS (SELECT FROM pg_catalog.pg_inherits i \
                 WHERE i.inhrelid = r.oid OR i.inhparent = r.oid) \
             FROM pg_catalog.pg_class r JOIN pg_catalog.pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped \
               JOIN pg_catalog.pg_type t ON t.oid = a.atttypid LEFT JOIN pg_catalog.pg_collation c ON c.oid = a.attcollation \
             WHERE r.oid = pg_catalog.to_regclass({})",
            quote_literal(&table_of(rule))
        ))
        .await?;
    let wrong = |what: String, hint: &'static str| Fault::new(SqlState::WRONG_OBJECT_TYPE, what).hint(hint);
    let is = |row: &[Option<String>], at: usize| row.get(at).is_some_and(|cell| cell.as_deref() == Some("t"));
    for column in &rule.columns {
        let row = rows.iter().find(|row| row.first().is_some_and(|cell| cell.as_deref() == Some(&**column)));
        let row = row.ok_or_else(|| {
            Fault::new(SqlState::UNDEFINED_COLUMN, format!("column {column} of table {} does not exist", rule.table))
        })?;
        if !is(row, 2) {
            let what = format!("{} is partitioned, has children, or is no table", rule.table);
            return Err(wrong(what, "Values that are unique over all shards are those of a plain table."));
        }
        if !is(row, 1) {
            let what =
                format!("column {column} of table {} is of a type whose equal values have several texts", rule.table);
            return Err(wrong(what, "Use integers, text or varchar with a deterministic collation, or uuid."));
        }
    }
    Ok(())
}

/// What a shard lacks of what the rules need.
///
/// # Errors
/// It does not answer.
pub async fn look(database: &Database, shard: ShardId) -> Result<Lacks, Fault> {
    let topology = Arc::clone(&database.cluster.load().topology);
    let mut server = super::connect(database, shard).await?;
    let there = server.query("SELECT pg_catalog.to_regclass('pgloom.unique_log') IS NOT NULL").await?;
    let mut lacks = Lacks::default();
    if there.first().and_then(|row| row.first()).is_none_or(|cell| cell.as_deref() != Some("t")) {
        lacks.rules = database.uniques.iter().map(UniqueRule::scope).collect();
        return Ok(lacks);
    }
    for rule in &database.uniques {
        let print = fingerprint(&rule.scope(), topology.shards.iter().map(|shard| &*shard.name));
        let rows = server
            .query(&format!(
                "SELECT EXISTS (SELECT FROM pgloom.unique_ready y WHERE scope = {} AND fingerprint = {} \
                     AND pg_catalog.to_jsonb(y) ->> 'columns' IS NOT NULL) \
                   AND (SELECT pg_catalog.count(*) FROM pg_catalog.pg_trigger WHERE tgrelid = pg_catalog.to_regclass({}) \
                     AND tgenabled = 'A' AND pg_catalog.left(tgname, -1) = {}) = {TRIGGERS}, \
                   EXISTS (SELECT FROM pgloom.unique_ready y WHERE scope = {} AND pg_catalog.to_jsonb(y) ->> 'columns' = {})",
                quote_literal(&rule.scope()),
                quote_literal(&print),
                quote_literal(&table_of(rule)),
                quote_literal(&trigger(rule)),
                quote_literal(&rule.scope()),
                columns_now(rule),
            ))
            .await?;
        let yes = |at: usize| rows.first().and_then(|row| row.get(at)?.as_deref()) == Some("t");
        if !yes(0) {
            lacks.rules.push(rule.scope());
        } else if !yes(1) {
            lacks.unread.push(rule.scope());
        }
    }
    let notes = server.query("SELECT pg_catalog.count(*) FROM pgloom.unique_log").await?;
    lacks.notes = notes.first().and_then(|row| row.first()?.as_deref()?.parse().ok()).unwrap_or_default();
    Ok(lacks)
}

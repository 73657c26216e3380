//! The fields of errors and notices, command tags, and ParameterStatus in their places.

use crate::record::{Ready, Send, exchange, world};
use crate::support::raw::{Value, message as m};

#[test]
fn errors_have_all_their_fields() {
    let world = world("xerrors");
    for sql in [
        "INSERT INTO {t} VALUES {d}",
        "INSERT INTO {t} VALUES (5, 1, 'x', 1)",
        "INSERT INTO {t} VALUES (5, 101, NULL, 1)",
        "INSERT INTO {t} VALUES (5, 101, 'x', -1)",
        "INSERT INTO {t} VALUES (5, 101, 'x', 9999999999)",
        "INSERT INTO {t} VALUES (5, 101, 'x', 'one')",
        "INSERT INTO {t} (k, id, nam) VALUES (5, 101, 'x')",
        "INSERT INTO {t} (k, id, name) VALUES (5, 101, 'x', 1)",
        "UPDATE {t} SET n = -1 WHERE {w}",
        "UPDATE {t} SET id = 1 WHERE {w} AND k = 5",
        "UPDATE {t} SET nothing = 1 WHERE {w}",
        "SELECT nam FROM {t} WHERE {w}",
        "SELECT   x.name FROM {t} WHERE {w}",
        "SELECT name FROM {t}s WHERE {w}",
        "SELECT name + 1 FROM {t} WHERE {w}",
        "SELECT lowr(name) FROM {t} WHERE {w}",
        "SELECT name FROM {t} WHERE {w} AND",
        "SELECT name FROM {t} WHERE {w} ORDER BY 9",
        "SELECT name, count(*) FROM {t} WHERE {w}",
        "SELECT 'größe', nothing FROM {t} WHERE {w}",
        "SELECT name FROM {t} WHERE {w} AND name = 'x",
        "SELECT n / (n - n) FROM {t} WHERE {w}",
        "SELECT name::int FROM {t} WHERE {w} ORDER BY k, id",
        "SELECT sum(n) / 0 FROM {t} WHERE {w}",
        "DELETE FROM {t} WHERE {w} AND nothing",
        "SELECT * FROM {t} WHERE {w} LIMIT -1",
        "SELECT * FROM {t} WHERE {w} FOR UPDATE OF nobody",
        "DROP TABLE nowhere",
        "ALTER TABLE {t} ADD COLUMN name int",
        "CREATE TABLE {t} (k int PRIMARY KEY)",
        "SET work_mem = 'much'",
        "SET nothing_at_all = 1",
        "SHOW nothing_at_all",
        "RELEASE SAVEPOINT nobody",
        "FETCH nobody",
        "EXECUTE nobody",
        "SELECT 1 FROM {t} WHERE {w} AND k = ANY('{1,x}')",
        "DO $$ BEGIN RAISE EXCEPTION 'loud' USING DETAIL = 'd', HINT = 'h', ERRCODE = '12345', COLUMN = 'c', CONSTRAINT = 'k', DATATYPE = 't', TABLE = 'a', SCHEMA = 's'; END $$",
        "LOCK TABLE {t}",
        "DECLARE c CURSOR FOR SELECT * FROM {t} WHERE {w}",
    ] {
        exchange(&world, sql, |t| {
            let behind = format!("SELECT 'größe';  {}", t.sql(sql));
            vec![
                Send(t.query(sql)),
                Ready,
                Send(m::query(&behind)),
                Ready,
                Send([t.run(sql), m::sync()].concat()),
                Ready,
                Send([m::query("BEGIN"), t.query(sql), t.query(sql), m::query("COMMIT")].concat()),
                Ready,
                Ready,
                Ready,
                Ready,
            ]
        });
    }
    for (sql, values) in [
        ("SELECT name FROM {t} WHERE k = $1", vec![Value::text("five")]),
        ("SELECT name FROM {t} WHERE k = $1 AND id = $2", vec![Value::text("5"), Value::text("99999999999")]),
        ("INSERT INTO {t} VALUES ($1, 101, $2, $3)", vec![Value::text("5"), Value::text("x"), Value::text("-1")]),
        ("INSERT INTO {t} VALUES ($1, 101, $2, $3)", vec![Value::text("5"), Value::null(), Value::text("1")]),
        ("SELECT 1 / ($1::int - 5) FROM {t} WHERE {p}", vec![Value::text("5")]),
        ("SELECT name FROM {t} WHERE k = $1 AND name = $2", vec![Value::text("5"), Value::text("a\u{0}b")]),
    ] {
        exchange(&world, &format!("parameters of {sql}"), |t| {
            let by_name = [t.parse("s", sql), m::bind("p", "s", &values, &[]), m::execute("p", 0), m::sync()];
            let unnamed = [t.parse("", sql), m::bind("", "", &values, &[]), m::execute("", 0), m::sync()];
            vec![Send(by_name.concat()), Ready, Send(unnamed.concat()), Ready]
        });
    }
}

#[test]
fn notices_come_in_their_places() {
    let world = world("xnotices");
    for sql in [
        "COMMIT",
        "ROLLBACK",
        "BEGIN; BEGIN; COMMIT",
        "DROP TABLE IF EXISTS nowhere",
        "DROP TABLE IF EXISTS nowhere, nobody",
        "CREATE TABLE IF NOT EXISTS {t} (k int PRIMARY KEY)",
        "CREATE INDEX IF NOT EXISTS {t}_pkey ON {t} (n)",
        "DO $$ BEGIN RAISE NOTICE 'one' USING DETAIL = 'd', HINT = 'h'; RAISE WARNING 'two' USING ERRCODE = '01234'; END $$",
        "SET LOCAL work_mem = '1MB'",
        "SELECT 1; DROP TABLE IF EXISTS nowhere; SELECT 2",
        "SET client_min_messages = error; DROP TABLE IF EXISTS nowhere; RESET client_min_messages",
        "SET client_min_messages = debug1; RESET client_min_messages",
        "SAVEPOINT a",
        "LISTEN here; NOTIFY here, 'x'; UNLISTEN *",
        "LISTEN here; NOTIFY here, 'x'; SELECT 1",
    ] {
        exchange(&world, sql, |t| {
            let single = !sql.contains(';') || sql.starts_with("DO");
            let mut script = vec![Send(t.query(sql)), Ready, Send(m::query("SELECT 1")), Ready];
            if single {
                script.extend([Send([t.run("SELECT 1"), t.run(sql), t.run("SELECT 2"), m::sync()].concat()), Ready]);
            }
            script
        });
    }
}

#[test]
fn tags_and_statuses() {
    let world = world("xtags");
    for sql in [
        "SELECT k FROM {t} WHERE {w} ORDER BY k, id",
        "SELECT k FROM {t} WHERE {w} AND id < 0",
        "INSERT INTO {t} VALUES {v}",
        "INSERT INTO {t} VALUES {v} RETURNING k > 0",
        "INSERT INTO {t} VALUES {d} ON CONFLICT DO NOTHING",
        "INSERT INTO {t} VALUES {d} ON CONFLICT (k, id) DO UPDATE SET n = excluded.n",
        "UPDATE {t} SET n = n WHERE {w}",
        "UPDATE {t} SET n = n WHERE {w} AND id < 0",
        "DELETE FROM {t} WHERE {w} AND id > 3",
        "DELETE FROM {t} WHERE {w} AND id < 0",
        "WITH a AS (DELETE FROM {t} WHERE {w} RETURNING k) SELECT count(*) FROM a",
        "SELECT k FROM {t} WHERE {w} AND id = 1 ORDER BY k FOR UPDATE",
        "VALUES (1), (2)",
        "TABLE {t} ORDER BY k, id LIMIT 3",
        "EXPLAIN (COSTS off) SELECT 1",
        "SET work_mem = '1MB'",
        "SET LOCAL TimeZone = 'Asia/Tokyo'",
        "RESET work_mem",
        "SHOW work_mem",
        "SAVEPOINT a",
        "CREATE TEMP TABLE made (a int)",
        "CREATE TABLE made AS SELECT k, id FROM {t} WHERE {w}",
        "SELECT k INTO TEMP made FROM {t} WHERE {w}",
        "PREPARE a AS SELECT k FROM {t} WHERE {w}",
        "DEALLOCATE ALL",
        "DECLARE c CURSOR FOR SELECT k FROM {t} WHERE {w} ORDER BY k, id",
        "LOCK TABLE {t} IN SHARE MODE",
        "TRUNCATE {t}",
        "COMMENT ON TABLE {t} IS 'x'",
        "DO $$ BEGIN NULL; END $$",
        "SET TRANSACTION READ ONLY",
        "SET CONSTRAINTS ALL DEFERRED",
        "COMMIT AND CHAIN",
        "ROLLBACK AND CHAIN",
        "START TRANSACTION",
        "END",
        "ABORT",
        "MERGE INTO {t} USING (VALUES (5, 1)) v (k, id) ON {t}.k = v.k AND {t}.id = v.id WHEN MATCHED THEN UPDATE SET n = 5",
    ] {
        exchange(&world, sql, |t| {
            vec![
                Send([m::query("BEGIN"), t.query(sql), m::query("ROLLBACK")].concat()),
                Ready,
                Ready,
                Ready,
                Send([t.run("BEGIN"), m::sync(), t.run(sql), m::sync(), t.run("ROLLBACK"), m::sync()].concat()),
                Ready,
                Ready,
                Ready,
            ]
        });
    }
}

#[test]
fn changed_parameters_are_told_in_their_place() {
    let world = world("xparameters");
    for sql in [
        "SET TimeZone = 'Asia/Tokyo'",
        "SET application_name = 'größe'",
        "SET DateStyle = 'German'",
        "SET standard_conforming_strings = off",
        "SET IntervalStyle = 'iso_8601'",
        "SET search_path = nowhere",
        "SET work_mem = '1MB'",
        "SET SESSION AUTHORIZATION DEFAULT",
        "SELECT set_config('TimeZone', 'Asia/Tokyo', false)",
        "SET TimeZone = 'nowhere'",
    ] {
        exchange(&world, sql, |t| {
            let rows = "SELECT k, name FROM {t} WHERE {w} AND id = 1 ORDER BY k";
            vec![
                Send([t.query(sql), t.query(rows)].concat()),
                Ready,
                Ready,
                Send([m::query("BEGIN"), m::query("RESET ALL"), t.query(rows), m::query("ROLLBACK")].concat()),
                Ready,
                Ready,
                Ready,
                Ready,
                Send(
                    [t.run(rows), t.run("RESET ALL"), t.run(rows), m::sync(), t.query(sql), m::query("DISCARD ALL")]
                        .concat(),
                ),
                Ready,
                Ready,
                Ready,
            ]
        });
    }
}

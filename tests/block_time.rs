//! The time of a transaction over several shards: one, as on one Postgres, whichever shard runs a statement alone.

#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use support::raw::{Reply, Value, message};
use support::{Raw, Sharded};

/// Items with defaults that read the clock, and an id on shards 1, 2 and 3.
fn world(label: &str) -> (Sharded, [i32; 3]) {
    let world = Sharded::create(label, "");
    let mut raw = world.connect();
    raw.must(
        "ALTER TABLE items ADD COLUMN at timestamptz DEFAULT now(), ADD COLUMN day date DEFAULT CURRENT_DATE + 1, \
         ADD COLUMN made timestamp(3) DEFAULT (now() AT TIME ZONE 'utc')",
    );
    raw.must("ALTER TABLE plain ADD COLUMN at timestamptz DEFAULT now()");
    raw.must("UPDATE items SET at = NULL, day = NULL, made = NULL");
    let ids = [world.id(1, 0), world.id(2, 0), world.id(3, 0)];
    (world, ids)
}

/// Names and types of the columns.
fn names(reply: &Reply) -> Vec<(String, u32, i32)> {
    let columns = reply.answers.iter().flat_map(|answer| answer.columns.iter().flatten());
    columns.map(|column| (column.name.clone(), column.type_oid, column.typmod)).collect()
}

fn pause() {
    std::thread::sleep(Duration::from_millis(5));
}

/// All that was written has the block's time, and so has what the block reads.
#[track_caller]
fn one_time(raw: &mut Raw, rows: usize) {
    let count = raw.value("SELECT count(*) FROM items WHERE at IS NOT NULL");
    assert_eq!(count, rows.to_string());
    let sql = "SELECT count(DISTINCT at), min(at) = now(), max(at) = now() FROM items WHERE at IS NOT NULL";
    assert_eq!(raw.must(sql).text(), "1|t|t");
    let made = "SELECT count(*) FROM items WHERE made IS NOT NULL AND made <> (at AT TIME ZONE 'utc')::timestamp(3)";
    assert_eq!(raw.value(made), "0");
    assert_eq!(raw.value("SELECT count(*) FROM items WHERE day IS NOT NULL AND day <> at::date + 1"), "0");
}

#[test]
fn every_write_of_a_block_has_the_time_of_its_first_shard() {
    let (world, [a, b, c]) = world("blocktime");
    let free = world.free_ids(1000);
    let mut raw = world.connect();
    raw.must("BEGIN");
    raw.must(&format!("UPDATE items SET at = now() WHERE id = {a}"));
    pause();
    raw.must(&format!("UPDATE items SET at = DEFAULT, day = DEFAULT WHERE id = {b}"));
    pause();
    raw.must(&format!("INSERT INTO items (id, n) VALUES ({}, 0)", free[3]));
    pause();
    raw.must(&format!("INSERT INTO items VALUES ({}, 0, 'DEFAULT, now()', DEFAULT)", free[0]));
    raw.must(&format!(
        "INSERT INTO items AS i (id, n, at) VALUES ({c}, 0, NULL) ON CONFLICT (id) DO UPDATE SET at = DEFAULT, n = 5 WHERE now() > i.at OR i.at IS NULL"
    ));
    raw.must("INSERT INTO plain VALUES (2, 'x')");
    let at = raw.value(&format!("SELECT at FROM items WHERE id = {a}"));
    assert_eq!(raw.value("SELECT now()"), at);
    assert_eq!(raw.value("SELECT at FROM plain WHERE id = 2"), at);
    one_time(&mut raw, 5);
    raw.must("COMMIT");
    assert_eq!(raw.value("SELECT count(DISTINCT at) FROM items"), "1");
    assert_eq!(raw.value(&format!("SELECT name FROM items WHERE id = {}", free[0])), "DEFAULT, now()");
    // Each statement of one message, too.
    raw.must("UPDATE items SET at = NULL");
    raw.must(&format!(
        "UPDATE items SET at = current_timestamp WHERE id = {a}; SELECT pg_sleep(0.01); \
         UPDATE items SET at = (CURRENT_TIMESTAMP) WHERE id = {b}; UPDATE items SET at = 'now'::timestamptz WHERE id = {c}"
    ));
    assert_eq!(raw.value("SELECT count(DISTINCT at) || ' ' || count(at) FROM items"), "1 3");
    // What was asked first is the time, also where it was asked of several shards.
    raw.must("UPDATE items SET at = NULL");
    raw.must("BEGIN");
    let now = raw.value("SELECT now() FROM items WHERE id > 0 LIMIT 1");
    pause();
    raw.must(&format!("UPDATE items SET at = transaction_timestamp() WHERE id = {c}"));
    raw.must(&format!("UPDATE items SET at = now() WHERE id IN ({a}, {b})"));
    assert_eq!(raw.value(&format!("SELECT at FROM items WHERE id = {c}")), now);
    one_time(&mut raw, 3);
    raw.must("ROLLBACK");
}

#[test]
fn prepared_statements_and_pipelines_are_told_it_too() {
    let (world, [a, b, c]) = world("blocktimebound");
    let free = world.free_ids(1000);
    let mut raw = world.connect();
    let int = |value: i32| Value::text(&value.to_string());
    raw.must("BEGIN");
    let first = "UPDATE items SET at = now() WHERE id = $1 RETURNING at, now()";
    assert_eq!(raw.extended(first, &[], &[int(a)], 0).code(), "");
    for (id, format) in [(b, 0), (c, 1)] {
        pause();
        let reply = raw.extended(first, &[23], &[Value::binary(id.to_be_bytes())], format);
        assert_eq!(reply.code(), "", "{}", reply.text());
    }
    let reply = raw.extended(
        "INSERT INTO items (id, n, name) VALUES ($1, $2, $3)",
        &[],
        &[int(free[3]), int(0), Value::null()],
        0,
    );
    assert_eq!(reply.code(), "", "{}", reply.text());
    raw.must(&format!("PREPARE p AS INSERT INTO items (id, n) VALUES ($1, 1); EXECUTE p({})", free[2]));
    one_time(&mut raw, 5);
    assert_eq!(raw.simple(&format!("EXECUTE p(length(now()::text) + {})", free[1])).code(), "0A000");
    raw.must("ROLLBACK");
    // A pipeline is one transaction.
    let update = |id: i32| {
        [
            message::parse("", "UPDATE items SET at = now(), day = DEFAULT WHERE id = $1", &[]),
            message::bind("", "", &[int(id)], &[]),
            message::execute("", 0),
        ]
        .concat()
    };
    let wait = |id: i32| {
        let sql = format!("SELECT pg_sleep(0.01) FROM items WHERE id = {id}");
        [message::parse("", &sql, &[]), message::bind("", "", &[], &[]), message::execute("", 0)].concat()
    };
    let reply = raw.exchange(&[update(a), wait(a), update(b), update(c), message::sync()].concat(), None);
    assert_eq!(reply.code(), "", "{}", reply.text());
    assert_eq!(raw.value("SELECT count(DISTINCT at) || ' ' || count(at) FROM items"), "1 3");
    assert_eq!(raw.value("SELECT count(day) FROM items WHERE day = at::date + 1"), "3");
}

#[test]
fn rows_that_take_numbers_have_it_too() {
    let (world, [a, ..]) = world("blocktimedrawn");
    let mut raw = world.connect();
    raw.must("CREATE SEQUENCE numbers; ALTER TABLE items ALTER COLUMN n SET DEFAULT nextval('numbers')");
    let free = world.free_ids(1000);
    for bound in [false, true] {
        raw.must("BEGIN");
        raw.must(&format!("UPDATE items SET at = now() WHERE id = {a}"));
        for id in &free {
            pause();
            let sql = format!("INSERT INTO items (id) VALUES ({id})");
            let reply = if bound { raw.extended(&sql, &[], &[], 0) } else { raw.simple(&sql) };
            assert_eq!(reply.code(), "", "{}", reply.text());
        }
        one_time(&mut raw, free.len() + 1);
        raw.must("ROLLBACK");
    }
}

/// The same columns, of the same types, as where a statement runs first; and the same values as on one Postgres, by themselves.
#[test]
fn answers_keep_their_columns() {
    let (world, [a, b, _]) = world("blocktimecolumns");
    let (mut raw, mut one) = (world.connect(), world.db.oracle());
    one.must("CREATE TABLE items (id int PRIMARY KEY, n int, name text, at timestamptz, day date, made timestamp(3))");
    one.must("INSERT INTO items SELECT n, 0, 'x' FROM generate_series(1, 60) n");
    raw.must("SET timezone = 'Asia/Kathmandu'");
    one.must("SET timezone = 'Asia/Kathmandu'");
    let items = [
        "now()",
        "pg_catalog.now() - interval '1 day'",
        "current_timestamp(3)",
        "CURRENT_TIMESTAMP - now()",
        "current_date",
        "current_time(1)",
        "LOCALTIME(0)",
        "localtimestamp",
        "now()::date",
        "CAST(now() AS timestamp) AS \"now\"",
        "transaction_timestamp() = now() AND now() = current_timestamp",
        "'now'::timestamptz = now()",
        "'today'::date = current_date, date 'tomorrow' - current_date",
        "timestamp 'now', time 'now', 'NOW'::date",
        "CAST('yesterday' AS timestamptz) = current_date - 1",
        "age(timestamp '2001-01-01') = age(current_date, timestamp '2001-01-01'), age(at)",
        "extract(year FROM now()) > 2000, now() IS DISTINCT FROM now(), now() IN (now())",
        "(SELECT now())",
        "ARRAY[now()] = ARRAY[current_timestamp], ROW(now()) = ROW(now())",
        "count(*) FILTER (WHERE now() > '2020-01-01') OVER (ORDER BY now())",
        "'now()' || $$current_date$$ AS text, 1 AS current_date /* now() */",
    ];
    for item in items {
        let sql = format!("SELECT {item} FROM items WHERE id = {b}");
        for form in [0i16, 1, 2] {
            let ask = |raw: &mut Raw, sql: &str| match form {
                2 => raw.simple(sql),
                format => raw.extended(sql, &[], &[], format),
            };
            raw.must("BEGIN");
            raw.must(&format!("SELECT n FROM items WHERE id = {a}"));
            pause();
            let (told, wanted) = (ask(&mut raw, &sql), ask(&mut one, &sql));
            raw.must("ROLLBACK");
            assert_eq!(told.code(), "", "{sql}: {}", told.text());
            assert_eq!(names(&told), names(&wanted), "{sql}");
            if item.contains('=') || item.contains("text") {
                assert_eq!(told.text(), wanted.text(), "{sql}");
            }
        }
    }
    for sql in [
        format!(
            "SELECT n, now() > '2020-01-01' FROM items WHERE id = {b} AND now() >= '2020-01-01' GROUP BY n, now() ORDER BY now(), n"
        ),
        format!(
            "SELECT s FROM items, generate_series(now(), now() + interval '1 s', '1 s') s WHERE id = {b} AND s < now()"
        ),
        format!("WITH t AS (SELECT now() AS at) SELECT t.at = now() FROM t, items WHERE id = {b}"),
        format!(
            "SELECT id FROM items WHERE id = {b} UNION SELECT extract(year FROM now())::int - extract(year FROM now())::int ORDER BY 1"
        ),
    ] {
        raw.must("BEGIN");
        raw.must(&format!("SELECT n FROM items WHERE id = {a}"));
        let (told, wanted) = (raw.simple(&sql), one.simple(&sql));
        raw.must("ROLLBACK");
        assert_eq!((names(&told), told.text()), (names(&wanted), wanted.text()), "{sql}");
    }
    raw.must("BEGIN");
    raw.must(&format!("SELECT n FROM items WHERE id = {a}"));
    for sql in [
        format!("SELECT * FROM items, now() AS m WHERE id = {b}"),
        format!("INSERT INTO items (id, n) SELECT id, 0 FROM items WHERE id = {b}"),
        format!("UPDATE items SET at = 'now' WHERE id = {b}"),
    ] {
        raw.must("SAVEPOINT s");
        let reply = raw.simple(&sql);
        assert_eq!(reply.code(), "0A000", "{sql}");
        raw.must("ROLLBACK TO s");
    }
    raw.must("ROLLBACK");
}

#[test]
fn the_statements_of_a_pipeline_have_one_time() {
    let (world, [a, ..]) = world("blocktimepipe");
    let mut raw = world.connect();
    let scatter = "SELECT DISTINCT now() FROM items".to_owned();
    let finished = "SELECT now(), sum(n) OVER () FROM items LIMIT 1".to_owned();
    let grouped = "SELECT max(now()) FROM items WHERE now() > '2000-01-01'".to_owned();
    let single = format!("SELECT now() FROM items WHERE id = {a}");
    let home = "SELECT now() FROM plain LIMIT 1".to_owned();
    let all = [scatter, finished, grouped, single, home];
    for first in 0..all.len() {
        let mut bytes = Vec::new();
        for at in 0..all.len() {
            let sql = &all[(first + at) % all.len()];
            for sql in [sql, "SELECT pg_sleep(0.002)"] {
                bytes.extend([message::parse("", sql, &[]), message::bind("", "", &[], &[])].concat());
                bytes.extend(message::execute("", 0));
            }
        }
        bytes.extend(message::sync());
        raw.send(&bytes).unwrap();
        let mut messages = raw.read_to_ready().unwrap();
        assert_eq!(messages.pop().map(|ready| ready.body), Some(b"I".to_vec()));
        let rows: Vec<Vec<Option<Vec<u8>>>> =
            messages.iter().filter(|message| message.tag == b'D').map(|message| message.cells()).collect();
        let times: Vec<&Option<Vec<u8>>> = rows
            .iter()
            .filter_map(|row| row.first())
            .filter(|cell| cell.as_ref().is_some_and(|cell| !cell.is_empty()))
            .collect();
        assert_eq!(times.len(), all.len(), "{first}: {messages:?}");
        assert!(times.iter().all(|time| *time == times[0]), "{first}: {times:?}");
    }
    // What stands alone takes no transaction for it, and the next pipeline has another time.
    let once = |raw: &mut Raw| raw.extended(&all[0], &[], &[], 0).text();
    assert_ne!(once(&mut raw), once(&mut raw));
}

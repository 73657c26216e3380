//! Texts like `now`, which Postgres reads as the time of its own server, in statements over several shards: one value, or a refusal.

#![allow(clippy::unwrap_used)]

mod support;

use support::raw::Value;
use support::{Raw, Sharded};

fn world(label: &str) -> (Sharded, Raw) {
    let world = Sharded::create(label, "");
    let mut raw = world.connect();
    raw.must("ALTER TABLE items ADD COLUMN ts timestamptz");
    (world, raw)
}

#[test]
fn rows_of_several_shards_get_one_time_or_none() {
    let (_world, mut raw) = world("moments");
    // What shares a template with the texts that follow.
    raw.must(r"UPDATE items SET ts = E'epo\143h'");
    raw.must("UPDATE items SET ts = 'epoch'; UPDATE items SET name = 'buy it now'; UPDATE items SET name = 'next'");
    let blanks = " ".repeat(100);
    for value in [
        "'now'".to_owned(),
        "'NOW'".to_owned(),
        format!("'now{blanks}'"),
        r"E'n\157w'".to_owned(),
        "$$now$$".to_owned(),
        "'no'\n'w'".to_owned(),
        "coalesce('now', ts)".to_owned(),
        "greatest(ts, 'now')".to_owned(),
        "CASE WHEN id > 0 THEN 'now' ELSE ts END".to_owned(),
        "('now')".to_owned(),
    ] {
        for sql in [
            format!("UPDATE items SET ts = {value}"),
            format!("UPDATE items SET (ts, n) = ({value}, 3)"),
            format!(
                "INSERT INTO items (id, n, ts) SELECT id, 0, {value} FROM items ON CONFLICT (id) DO UPDATE SET ts = {value}"
            ),
            format!("MERGE INTO items i USING parts p ON i.id = p.id WHEN MATCHED THEN UPDATE SET ts = {value}"),
        ] {
            let code = raw.simple(&sql).code().to_owned();
            assert!(matches!(&*code, "" | "0A000" | "42702"), "{sql}: {code}");
            assert_eq!(raw.value("SELECT count(DISTINCT ts) FROM items"), "1", "{sql}");
        }
    }
    raw.must("UPDATE items SET ts = NULL");
    for (sql, one) in [
        ("SELECT count(DISTINCT coalesce(ts, 'now')) FROM items", "1"),
        ("SELECT max(coalesce(ts, 'now')) = min(coalesce(ts, 'now')) FROM items", "t"),
        ("SELECT count(DISTINCT CASE WHEN id > 0 THEN 'now' ELSE ts END) FROM items", "1"),
        ("SELECT count(DISTINCT greatest('now', ts)) FROM items", "1"),
        ("SELECT max(c::timestamptz) = min(c::timestamptz) FROM (SELECT 'now' AS c, id FROM items) s", "t"),
        (r"SELECT max(c::timestamptz) = min(c::timestamptz) FROM (SELECT E'n\157w' AS c, id FROM items) s", "t"),
    ] {
        assert_eq!(raw.value(sql), one, "{sql}");
    }
}

/// Each shard would read the text at its own moment: with rows on all of them, made in the meantime, it would show.
#[test]
fn texts_in_conditions_are_one_time_or_none() {
    let (_world, mut raw) = world("momentconditions");
    raw.must("ALTER TABLE items ADD COLUMN day date, ADD COLUMN at timestamp, ADD COLUMN span tstzrange, ADD COLUMN word text");
    raw.must("UPDATE items SET ts = '2020-01-01', day = '2020-01-01', at = '2020-01-01', span = '[2020-01-01,2100-01-01)', word = 'now'");
    let conditions = [
        ("ts < 'now'", true),
        ("'NOW ' > ts", true),
        ("NOT ts >= $$now$$", true),
        ("day < 'today'", true),
        ("day <> 'yesterday' AND id > 0", true),
        ("at BETWEEN '2000-01-01' AND 'now'", true),
        ("(ts IN ('now', 'epoch')) IS NOT TRUE", true),
        ("ts < 'today Europe/Berlin'", true),
        ("day < 'today Asia/Kathmandu'", true),
        ("ts IS DISTINCT FROM 'now'", true),
        ("(ts, id) < ('now', 3)", true),
        ("ts <> ALL ('{now,today}')", true),
        ("ts <> ALL (ARRAY['now', 'today']::timestamptz[])", true),
        ("ts - 'now' < interval '0'", true),
        ("span && '[2019-01-01,now)'", true),
        ("age(ts, 'now') < interval '0'", true),
        ("CASE ts WHEN 'now' THEN false ELSE true END", true),
        ("word = 'now'", false),
        ("word IN ('now', 'today') AND name <> 'today'", false),
        ("'now' = word AND 'now' < 'today'", false),
    ];
    for (condition, reads) in conditions {
        let sql = format!("SELECT count(*) FROM items WHERE {condition}");
        let plan = raw.must(&format!("EXPLAIN (ROUTE) {sql}")).text();
        assert_eq!(plan.contains("Scatter"), !reads, "{sql}: {plan}");
        assert_eq!(raw.value(&sql), "60", "{sql}");
        let reply = raw.simple(&format!("UPDATE items SET n = 1 WHERE {condition}"));
        assert_eq!(reply.code(), if reads { "0A000" } else { "" }, "{condition}: {}", reply.text());
        raw.must("BEGIN");
        let reply = raw.simple(&sql);
        assert!(matches!(reply.code(), "" | "0A000"), "{sql}: {}", reply.text());
        assert_eq!(reply.code().is_empty(), !reads, "{sql}: {}", reply.text());
        raw.must("ROLLBACK");
    }
}

#[test]
fn a_parameter_is_read_once() {
    let (_world, mut raw) = world("momentparameters");
    raw.must("ALTER TABLE items ADD COLUMN day date, ADD COLUMN clock time, ADD COLUMN word text");
    let all = "SELECT count(DISTINCT ts) || ' ' || count(ts) || ' ' || count(*) FILTER (WHERE ts = now()) FROM items";
    let set = "UPDATE items SET ts = $1";
    for (types, value) in [(&[][..], "now"), (&[1184], " NOW"), (&[0], "today Asia/Kathmandu")] {
        raw.must("UPDATE items SET ts = NULL");
        let reply = raw.extended(set, types, &[Value::text(value)], 0);
        assert_eq!(reply.code(), "", "{}", reply.text());
        assert_eq!(raw.value("SELECT count(DISTINCT ts) || ' ' || count(ts) FROM items"), "1 60", "{value}");
        raw.must("BEGIN");
        assert_eq!(raw.extended(set, types, &[Value::text("now")], 0).code(), "");
        assert_eq!(raw.value(all), "1 60 60", "{value}");
        raw.must("ROLLBACK");
    }
    raw.must("UPDATE items SET ts = NULL");
    raw.must("PREPARE p AS UPDATE items SET ts = $1, word = $2; EXECUTE p('now', 'now')");
    assert_eq!(raw.value("SELECT count(DISTINCT ts) || ' ' || count(ts) || max(word) FROM items"), "1 60now");
    let sql = "SELECT count(*) FROM items WHERE ts < $1 AND word = $2";
    assert_eq!(raw.extended(sql, &[], &[Value::text("now"), Value::text("now")], 0).text(), "60");
    assert_eq!(raw.extended(sql, &[], &[Value::text("now and then"), Value::text("now")], 0).code(), "22007");
    let sql =
        "SELECT count(DISTINCT $1::date), bool_and($1::date = current_date), bool_and($2::time IS NOT NULL) FROM items";
    assert_eq!(raw.extended(sql, &[], &[Value::text("today"), Value::text("now")], 0).text(), "1|t|t");
    raw.must("SET DateStyle = 'SQL'");
    assert_eq!(raw.extended(set, &[], &[Value::text("now")], 0).code(), "0A000");
    assert_eq!(raw.extended(set, &[], &[Value::text("epoch")], 0).code(), "");
}

#[test]
fn copies_in_binary_and_of_one_block_have_one_time() {
    let (_world, mut raw) = world("momentcopies");
    raw.must("ALTER TABLE items ALTER COLUMN ts SET DEFAULT now()");
    let rows = |from: i32| {
        let mut data = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0".to_vec();
        for id in from..from + 20 {
            data.extend_from_slice(&1i16.to_be_bytes());
            data.extend_from_slice(&4i32.to_be_bytes());
            data.extend_from_slice(&id.to_be_bytes());
        }
        data.extend_from_slice(&(-1i16).to_be_bytes());
        data
    };
    let binary = "COPY items (id) FROM STDIN (FORMAT binary)";
    assert_eq!(raw.copy_in(binary, &rows(1000)).code(), "");
    let times =
        "SELECT count(DISTINCT ts) FROM items WHERE id >= 1000 AND ts > now() - interval '1 minute' AND ts <= now()";
    assert_eq!(raw.value(times), "1");
    raw.must("DELETE FROM items WHERE id >= 1000");
    raw.must("BEGIN");
    assert_eq!(raw.copy_in(binary, &rows(1000)).code(), "");
    let reply = raw.copy_in("COPY items (id) FROM STDIN", b"1100\n1101\n1102\n1103\n1104\n1105\n");
    assert_eq!(reply.code(), "", "{}", reply.text());
    raw.must("COMMIT");
    assert_eq!(raw.value("SELECT count(*) FROM items WHERE id >= 1000"), "26");
    assert_eq!(raw.value(times), "1");
}

/// A domain's default is that of the columns which have none.
#[test]
fn rows_get_one_time_from_the_default_of_a_domain() {
    let (_world, mut raw) = world("momentdomain");
    raw.must("CREATE DOMAIN told AS timestamptz DEFAULT clock_timestamp() - interval '1 day'");
    raw.must("CREATE DOMAIN stamp AS timestamptz DEFAULT now()");
    raw.must("CREATE DOMAIN number AS int DEFAULT 7");
    raw.must("ALTER TABLE items ADD COLUMN made stamp, ADD COLUMN seven number");
    raw.must("DELETE FROM items");
    raw.must("BEGIN");
    raw.must("SELECT id FROM items WHERE id = 1");
    raw.must("SELECT pg_sleep(0.01)");
    raw.must("INSERT INTO items (id, n) VALUES (1, 0), (2, 0), (3, 0), (4, 0), (5, 0), (6, 0), (7, 0), (8, 0)");
    raw.must("INSERT INTO items (id, n) SELECT id + 100, n FROM items");
    raw.must("INSERT INTO items (id, n, made) VALUES (201, 1, DEFAULT), (202, 1, DEFAULT), (203, 1, DEFAULT), (204, 1, DEFAULT)");
    assert_eq!(raw.value("SELECT count(DISTINCT made) FROM items"), "1");
    assert_eq!(raw.value("SELECT count(*) FROM items WHERE seven = 7"), "20");
    raw.must("COMMIT");
    raw.must("DELETE FROM items WHERE id > 100");
    raw.must("INSERT INTO items (id, n) SELECT id + 100, n FROM items");
    assert_eq!(raw.value("SELECT count(DISTINCT made) FROM items WHERE id > 100"), "1");
    // Each row has another one, whichever shard makes it.
    raw.must("ALTER TABLE items ADD COLUMN at told");
    let reply = raw.simple("INSERT INTO items (id, n) SELECT id + 300, n FROM items");
    assert!(matches!(reply.code(), "" | "0A000"), "{}", reply.text());
}

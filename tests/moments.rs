//! Texts like `now`, which Postgres reads as the time of its own server, in statements over several shards: one value, or a refusal.

#![allow(clippy::unwrap_used)]

mod support;

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

//! Copies of a reference table stay copies of each other, whoever writes them at the same time.

#![allow(clippy::unwrap_used)]

mod support;

use support::raw::message;
use support::{SHARDS, Sharded, eventually};

const RUNS: usize = 60;

fn copies(world: &Sharded, table: &str) -> Vec<String> {
    world.on_each(&format!("SELECT coalesce(string_agg(t::text, ';' ORDER BY t::text), '') FROM {table} t"))
}

/// One client changes a row, others read it in what they write: each shard would see it at another moment.
#[test]
fn what_reads_copies_writes_the_same_everywhere() {
    let world = Sharded::create("copies_read", "");
    let mut client = world.connect();
    client.must("CREATE TABLE c (id int PRIMARY KEY, n int)");
    client.must("SELECT pgloom.reference('c')");
    client.must("INSERT INTO c SELECT i, 0 FROM generate_series(1, 20) i");
    std::thread::scope(|scope| {
        let mut one = world.connect();
        scope.spawn(move || (0..RUNS * 3).for_each(|_| drop(one.must("UPDATE c SET n = n + 1 WHERE id = 2"))));
        for kind in 0..3 {
            let mut other = world.connect();
            scope.spawn(move || {
                for run in 0..RUNS {
                    let at = 1000 * (kind + 1) + run;
                    let sql = match kind {
                        0 => format!("INSERT INTO c SELECT {at}, n FROM c WHERE id = 2"),
                        1 => format!(
                            "UPDATE c SET n = (SELECT sum(n) FROM c r WHERE r.id = 2) WHERE id = {}",
                            3 + run % 9
                        ),
                        _ if run % 2 == 0 => "UPDATE c a SET n = b.n FROM c b WHERE b.id = 2 AND a.id = 15".to_owned(),
                        _ => "EXPLAIN ANALYZE UPDATE c SET n = (SELECT n FROM c r WHERE r.id = 2) WHERE id = 16"
                            .to_owned(),
                    };
                    other.must(&sql);
                }
            });
        }
    });
    let found = copies(&world, "c");
    assert!(found.iter().all(|copy| *copy == found[0]), "{found:#?}");
    assert_eq!(client.value("SELECT n FROM c WHERE id = 2"), (RUNS * 3).to_string());
}

/// Nobody waits in a circle who would not in one Postgres, and no shard disagrees with another.
#[test]
fn who_writes_the_same_rows_takes_turns() {
    let world = Sharded::create("copies_turns", "");
    let mut client = world.connect();
    client.must("CREATE TABLE c (id int PRIMARY KEY, n int)");
    client.must("SELECT pgloom.reference('c')");
    client.must("INSERT INTO c SELECT i, 0 FROM generate_series(1, 5) i");
    std::thread::scope(|scope| {
        for client in 0..3 {
            let mut raw = world.connect();
            scope.spawn(move || {
                for run in 0..RUNS {
                    raw.must(match (run + client) % 4 {
                        0 => "UPDATE c SET n = n + 1",
                        1 => "INSERT INTO c VALUES (7, 1) ON CONFLICT (id) DO UPDATE SET n = c.n + 1",
                        2 => "DELETE FROM c WHERE id = 7",
                        _ => "BEGIN; UPDATE c SET n = n + 1 WHERE id = 1; UPDATE c SET n = n + 1 WHERE id = 2; COMMIT",
                    });
                }
            });
        }
    });
    let found = copies(&world, "c");
    assert!(found.iter().all(|copy| *copy == found[0]), "{found:#?}");
}

/// Where each shard's snapshot is of another moment, what is asked of copies is refused; what is changed by its own key is not.
#[test]
fn frozen_transactions_write_copies_by_values_alone() {
    let world = Sharded::create("copies_frozen", "");
    let mut client = world.connect();
    client.must("CREATE TABLE c (id int PRIMARY KEY, n int)");
    client.must("SELECT pgloom.reference('c')");
    for level in ["REPEATABLE READ", "SERIALIZABLE"] {
        client.must(&format!("BEGIN ISOLATION LEVEL {level}"));
        client.must("INSERT INTO c VALUES (1, 1), (2, 2)");
        client.must("UPDATE c SET n = n + 1 WHERE id = 1");
        client.must("DELETE FROM c WHERE id = 2");
        let refused = client.simple("UPDATE c SET n = (SELECT max(n) FROM c)");
        assert_eq!(refused.code(), "0A000", "{}", refused.text());
        client.must("ROLLBACK");
    }
    // The same rows in another transaction meanwhile: as in one Postgres.
    client.must("INSERT INTO c VALUES (1, 1)");
    let mut frozen = world.connect();
    frozen.must("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT * FROM c");
    client.must("UPDATE c SET n = 5");
    assert_eq!(frozen.simple("UPDATE c SET n = n + 1").code(), "40001");
}

/// A definition of the table waits for those who write it, on the home shard, and takes them with it nowhere else.
#[test]
fn definitions_take_turns_with_who_writes() {
    let world = Sharded::create("copies_defined", "");
    let mut client = world.connect();
    client.must("CREATE TABLE c (id int PRIMARY KEY, n int)");
    client.must("SELECT pgloom.reference('c')");
    client.must("INSERT INTO c SELECT i, 0 FROM generate_series(1, 5) i");
    std::thread::scope(|scope| {
        for kind in 0..4 {
            let mut raw = world.connect();
            scope.spawn(move || {
                for run in 0..RUNS {
                    raw.must(match (kind, run % 2) {
                        (0, _) => "UPDATE c SET n = n + 1 WHERE id > 2",
                        (1, _) => {
                            "BEGIN; INSERT INTO c VALUES (6, 0), (7, 1) ON CONFLICT (id) DO UPDATE SET n = 3; COMMIT"
                        }
                        (2, 0) => "BEGIN; LOCK TABLE c; DELETE FROM c WHERE id = 6; COMMIT",
                        (2, _) => "TRUNCATE c",
                        (_, 0) => "CREATE INDEX c_n ON c (n)",
                        (_, _) => "DROP INDEX c_n",
                    });
                }
            });
        }
    });
    let found = copies(&world, "c");
    assert!(found.iter().all(|copy| *copy == found[0]), "{found:#?}");
    // Who has written the table is waited for on the home shard, before the other copies are locked.
    client.must("BEGIN; INSERT INTO c VALUES (100, 0)");
    let mut other = world.connect();
    other.send(&message::query("TRUNCATE c")).unwrap();
    eventually(20, "the turn is waited for", || {
        let waits = "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database WHERE l.locktype = 'advisory' \
                     AND d.datname = current_database() AND NOT l.granted AND l.objid = 1";
        world.db.shard(0).value(waits) != "0"
    });
    let strong = "SELECT count(*) FROM pg_locks WHERE relation = 'c'::regclass AND mode = 'AccessExclusiveLock'";
    assert_eq!(world.on_each(strong), vec!["0"; SHARDS]);
    client.must("COMMIT");
    other.read_to_ready().unwrap();
    assert_eq!(world.on_each("SELECT count(*) FROM c"), vec!["0"; SHARDS]);
    // What only names it waits for nobody.
    client.must("BEGIN; INSERT INTO c VALUES (100, 0)");
    other.must("CREATE VIEW over_c AS SELECT n FROM c; COMMENT ON TABLE c IS 'copies'");
    client.must("COMMIT");
}

/// `random()` and its like are asked for once; what they gave is the same on all shards.
#[test]
fn values_that_differ_at_each_call_are_the_same_in_each_copy() {
    let world = Sharded::create("copies_random", "");
    let mut client = world.connect();
    client.must("CREATE TABLE c (id int PRIMARY KEY, n int, t text)");
    client.must("SELECT pgloom.reference('c')");
    client.must("INSERT INTO c SELECT i, 0 FROM generate_series(1, 40) i");
    client.must("PREPARE give (int) AS UPDATE c SET n = $1 + (random() * 1000000)::int WHERE id > 20");
    std::thread::scope(|scope| {
        let mut other = world.connect();
        scope.spawn(move || (0..RUNS).for_each(|_| drop(other.must("UPDATE c SET n = n + 1 WHERE id IN (1, 30)"))));
        for run in 0..10 {
            client.must("UPDATE c SET t = gen_random_uuid()::text, n = (random() * 1000000)::int");
            client.must(&format!("EXECUTE give({run})"));
            client.must(
                "BEGIN; UPDATE c SET n = 5; UPDATE c a SET n = a.n + (random() * 100)::int WHERE a.id < 10; COMMIT",
            );
            client.must("DELETE FROM c WHERE random() < 0.05 AND id <> 30");
        }
    });
    let found = copies(&world, "c");
    assert!(found.iter().all(|copy| *copy == found[0]), "{found:#?}");
    assert_ne!(client.value("SELECT count(DISTINCT t) FROM c"), "1");
    // Who counts columns by RETURNING * counts the table's own.
    let reply = client.must("UPDATE c SET n = floor(random())::int WHERE id = 30 RETURNING *");
    assert_eq!(reply.answers[0].rows[0].len(), 3);
    // A mistake is told where it is in the client's own text.
    let error = client.simple("UPDATE c SET n = random() + nothing").error.unwrap();
    assert_eq!((error.code(), error.0.get(&'P').map(String::as_str)), ("42703", Some("29")), "{error}");
}

/// Random uuids that the rows of a COPY leave to their default: each has its own, and each copy the same.
#[test]
fn rows_of_a_copy_have_the_same_uuids_in_each_copy() {
    let world = Sharded::create("copies_uuid", "");
    let mut client = world.connect();
    client.must("CREATE TABLE c (u uuid NOT NULL DEFAULT gen_random_uuid(), id int PRIMARY KEY, s serial, at timestamptz DEFAULT now(), v uuid DEFAULT gen_random_uuid())");
    client.must("SELECT pgloom.reference('c')");
    assert_eq!(client.copy_in("COPY c (id) FROM STDIN", b"1\n2\n3\n").text(), "");
    assert_eq!(
        client
            .copy_in(
                "COPY c (id, u) FROM STDIN (FORMAT csv, HEADER)",
                b"id,u\n4,a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11\n5,\n"
            )
            .code(),
        "23502"
    );
    assert_eq!(
        client.copy_in("COPY c (id, s) FROM STDIN (FORMAT csv, DELIMITER '-', HEADER)", b"id-s\n4-40\n5-50\n").text(),
        ""
    );
    let mut binary = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0".to_vec();
    for id in [6i32, 7] {
        binary.extend_from_slice(&[0, 1, 0, 0, 0, 4]);
        binary.extend_from_slice(&id.to_be_bytes());
    }
    binary.extend_from_slice(&[0xff, 0xff]);
    client.must("ALTER TABLE c ALTER at DROP DEFAULT");
    assert_eq!(client.copy_in("COPY c (id) FROM STDIN (FORMAT binary)", &binary).text(), "");
    let found = copies(&world, "c");
    assert!(found.iter().all(|copy| *copy == found[0]), "{found:#?}");
    assert_eq!(
        client.value("SELECT count(*) || ' ' || count(DISTINCT u) || ' ' || count(DISTINCT v) || ' ' || count(*) FILTER (WHERE substr(u::text, 15, 1) = '4') FROM c"),
        "7 7 7 7"
    );
    let wrong = client.copy_in("COPY c (id) FROM STDIN", b"8\n9 x\n").error.unwrap();
    let context = wrong.0.get(&'W').cloned().unwrap_or_default();
    assert_eq!((wrong.code(), &*context), ("22P02", "COPY c, line 2, column id: \"9 x\""), "{wrong}");
}

/// A snapshot of before does not see a row on the home shard that the others see.
#[test]
fn frozen_transactions_do_not_change_what_one_copy_does_not_show() {
    let world = Sharded::create("copies_unseen", "");
    let mut client = world.connect();
    client.must("CREATE TABLE c (id int PRIMARY KEY, n int)");
    client.must("SELECT pgloom.reference('c')");
    client.must("INSERT INTO c VALUES (1, 1)");
    for change in ["UPDATE c SET n = n + 1", "DELETE FROM c", "UPDATE c SET n = n + 1 + floor(random())::int"] {
        let mut frozen = world.connect();
        frozen.must("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT * FROM c");
        client.must("INSERT INTO c VALUES (2, 2)");
        let _ = frozen.simple(change);
        let _ = frozen.simple("COMMIT");
        let found = copies(&world, "c");
        assert!(found.iter().all(|copy| *copy == found[0]), "{change}: {found:#?}");
        client.must("DELETE FROM c WHERE id = 2; INSERT INTO c VALUES (1, 1) ON CONFLICT DO NOTHING");
    }
}

/// A portal gives as many rows as are asked for, and every copy is changed with the first of them.
#[test]
fn returned_rows_come_in_pieces() {
    let world = Sharded::create("copies_pieces", "");
    let mut client = world.connect();
    client.must("CREATE TABLE c (id int PRIMARY KEY, n int)");
    client.must("SELECT pgloom.reference('c')");
    for (sql, tag) in [
        ("INSERT INTO c SELECT i, 0 FROM generate_series(1, 5) i RETURNING id", "INSERT 0 1"),
        ("WITH u AS (UPDATE c SET n = n + 1 RETURNING id) SELECT id FROM u ORDER BY id", "SELECT 1"),
        ("UPDATE c SET n = n + 1 RETURNING id", "UPDATE 1"),
    ] {
        let begin = [message::parse("", sql, &[]), message::bind("p", "", &[], &[]), message::execute("p", 2)];
        client.send(&[begin.concat(), message::flush()].concat()).unwrap();
        let (mut ids, mut pieces) = (Vec::new(), 0);
        let complete = loop {
            let message = client.read().unwrap();
            match message.tag {
                b'D' => ids.push(message.cells()[0].clone().map(|cell| String::from_utf8(cell).unwrap()).unwrap()),
                b's' => {
                    pieces += 1;
                    client.send(&[message::execute("p", 2), message::flush()].concat()).unwrap();
                }
                b'C' => break String::from_utf8_lossy(&message.body).trim_end_matches('\0').to_owned(),
                b'E' => panic!("{sql}: {}", message.report()),
                _ => {}
            }
        };
        client.send(&message::sync()).unwrap();
        client.read_to_ready().unwrap();
        ids.sort();
        assert_eq!((ids.join(" "), pieces, &*complete), ("1 2 3 4 5".to_owned(), 2, tag), "{sql}");
    }
    let found = copies(&world, "c");
    assert!(found.iter().all(|copy| *copy == found[0]) && found[0].starts_with("(1,2)"), "{found:#?}");
}

/// Each shard has the rows in an order of its own, and its own transactions: what depends on that is asked once, or refused.
#[test]
fn what_depends_on_how_rows_lie_is_the_same_in_each_copy() {
    let world = Sharded::create("copies_order", "");
    let mut client = world.connect();
    client.must(
        "CREATE TABLE c (id int PRIMARY KEY, n float8, u text, region text); CREATE TABLE s (city text, name text)",
    );
    ["c", "s"].iter().for_each(|table| drop(client.must(&format!("SELECT pgloom.reference('{table}')"))));
    let (mut done, mut refused) = (0, 0);
    for sql in [
        "UPDATE c SET u = xmin::text",
        "UPDATE c SET u = ctid::text",
        "DELETE FROM c a USING c b WHERE a.u = b.u AND a.ctid < b.ctid",
        "DELETE FROM c WHERE ctid NOT IN (SELECT min(ctid) FROM c GROUP BY u)",
        "INSERT INTO c SELECT id + 5000, n, ctid::text FROM c",
        "INSERT INTO c VALUES (101, 1, 'x') ON CONFLICT (id) DO UPDATE SET u = c.xmin::text",
        "WITH z AS (SELECT id FROM c LIMIT 4) DELETE FROM c USING z WHERE z.id = c.id",
        "DELETE FROM c USING (SELECT id, row_number() OVER () AS n FROM c) z WHERE z.id = c.id AND z.n < 5",
        "DELETE FROM c USING (SELECT DISTINCT ON (u) id FROM c) z WHERE z.id = c.id",
        "DELETE FROM c USING (SELECT array_agg(id) AS ids FROM c) z WHERE c.id = z.ids[1]",
        "INSERT INTO s SELECT u, id::text FROM c",
        "INSERT INTO c SELECT length(city) + 9000, 0, name FROM s ON CONFLICT (id) DO NOTHING",
        "INSERT INTO c SELECT 7000 + length(u), n, u FROM c ON CONFLICT (id) DO NOTHING RETURNING id",
        "MERGE INTO c USING (SELECT id, row_number() OVER () n FROM c) z ON z.id = c.id WHEN MATCHED AND z.n < 5 THEN DELETE",
        "ALTER TABLE c ALTER u TYPE text USING ctid::text",
    ] {
        client.must("TRUNCATE c, s");
        client.must("INSERT INTO c SELECT i, i, 'n' || i % 7 FROM generate_series(1, 30) i");
        client.must("INSERT INTO s SELECT 'n' || i % 7, i::text FROM generate_series(1, 30) i");
        client.must("DELETE FROM c WHERE id < 15; DELETE FROM s WHERE name::int < 15");
        // As when autovacuum has come to one of them.
        world.db.shard(2).must("VACUUM c");
        world.db.shard(2).must("VACUUM s");
        client.must("INSERT INTO c SELECT i, i, 'n' || i % 7 FROM generate_series(101, 115) i");
        client.must("INSERT INTO s SELECT 'n' || i % 7, i::text FROM generate_series(101, 115) i");
        match client.simple(sql).code() {
            "" => done += 1,
            "0A000" => refused += 1,
            other => panic!("{sql}: {other}"),
        }
        for table in ["c", "s"] {
            let found = copies(&world, table);
            assert!(found.iter().all(|copy| *copy == found[0]), "{sql}: {found:#?}");
        }
    }
    assert!(done > 4 && refused > 0, "{done} were done, {refused} refused");
    for (filter, code) in [
        ("id > 7000", ""),
        ("random() < 2", "0A000"),
        ("id > 0 AND u < now()::text", "0A000"),
        ("n > 0 AND u = 'c'::regclass::text", "0A000"),
        ("region IS NOT NULL", ""),
    ] {
        let reply =
            client.copy_in(&format!("COPY c (id, n, u) FROM STDIN WHERE {filter}"), b"7000\t1\tx\n7001\t1\ty\n");
        assert_eq!(reply.code(), code, "{filter}");
    }
    // What it returns is of one of them.
    client.must("INSERT INTO c VALUES (1, 1, 'x') ON CONFLICT (id) DO UPDATE SET u = excluded.u RETURNING (xmax = 0)");
    let found = copies(&world, "c");
    assert!(found.iter().all(|copy| *copy == found[0]), "{found:#?}");
}

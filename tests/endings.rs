//! How transactions over shards end, and what the session's settings make of them: as in one Postgres, message by message.

#![allow(clippy::unwrap_used)]

mod support;

use std::time::{Duration, Instant};

use support::raw::{Raw, message as m};
use support::script::Step::{Ready, Send};
use support::script::{Pair, Placed, queries};
use support::{SHARDS, eventually};

const SCHEMA: &str = "CREATE TYPE mood AS ENUM ('sad', 'ok'); \
     CREATE TABLE feel (id int, t text[], a int[], i interval, m mood); \
     CREATE TABLE items (id int, v int); CREATE TABLE acc (id int PRIMARY KEY, bal int); \
     CREATE TABLE late (id int, v int, CONSTRAINT late_once UNIQUE (id, v) DEFERRABLE INITIALLY DEFERRED); \
     CREATE TABLE places (code int PRIMARY KEY, title text); CREATE TABLE plain (id int PRIMARY KEY, body text)";
const PLACED: [(&str, Placed); 5] = [
    ("feel", Placed::By("id")),
    ("items", Placed::By("id")),
    ("acc", Placed::By("id")),
    ("late", Placed::By("id")),
    ("places", Placed::Reference),
];

fn world(label: &str) -> Pair {
    let world = Pair::create(label, SCHEMA, &PLACED, "");
    world.fill(&[
        "INSERT INTO feel SELECT n, ARRAY['x', NULL], ARRAY[n, NULL], '-1 day -02:03:04', 'ok' FROM generate_series(1, 12) n",
        "INSERT INTO items SELECT n, n FROM generate_series(1, 12) n",
        "INSERT INTO acc SELECT n, 100 FROM generate_series(1, 12) n",
        "INSERT INTO places VALUES (1, 'A'), (2, 'B')",
        "INSERT INTO plain VALUES (1, 'one'), (2, 'two')",
    ]);
    world
}

#[test]
fn texts_between_servers_are_read_as_what_they_were() {
    const WHAT: [&str; 3] = [
        "UPDATE feel SET id = id + 100",
        "INSERT INTO feel SELECT id + 200, t, a, i, m FROM feel",
        "SELECT f.id, f.m, f.t, f.a, f.i, rank() OVER (ORDER BY f.id) FROM feel f JOIN plain p ON p.id = 1 ORDER BY f.id",
    ];
    let world = world("endtexts");
    for (settings, setting) in [
        (&["SET array_nulls = off"][..], "array_nulls"),
        (&["SET array_nulls TO 'of'"], "array_nulls"),
        (&["SET xmloption = document"], "xmloption"),
        (&["SET intervalstyle = sql_standard"], "IntervalStyle"),
        (&["BEGIN", "SET LOCAL array_nulls = off"], "array_nulls"),
        // The inputs of a combine connection are filled under the settings from before.
        (&["SET array_nulls = off", "BEGIN", "SET LOCAL array_nulls = on"], "array_nulls"),
        (&["BEGIN", "SET intervalstyle = 'SQL_STANDARD'"], "IntervalStyle"),
        (&["BEGIN", "SET LOCAL lc_monetary = 'POSIX'"], "lc_monetary"),
    ] {
        for sql in WHAT {
            let mut raw = world.through();
            settings.iter().for_each(|setting| drop(raw.must(setting)));
            let reply = raw.simple(sql);
            let told = reply.error.as_ref().map_or("", |error| error.hint());
            assert!(reply.code() == "0A000" && told.contains(setting), "{settings:?} {sql}: {}", reply.text());
        }
    }
    // These make no other value of a text.
    for settings in
        ["SET intervalstyle = iso_8601; SET bytea_output = escape; SET DateStyle = 'ISO, DMY'", "SET array_nulls = tr"]
    {
        let [moves, inserts, reads] = WHAT;
        let script = [settings, reads, "BEGIN", moves, inserts, "SELECT * FROM feel ORDER BY id", "ROLLBACK"];
        world.answers(settings, &queries(&script));
    }
}

#[test]
fn a_held_cursor_is_closed_within_a_transaction() {
    const ALL: &str = "DECLARE c CURSOR WITH HOLD FOR SELECT v FROM items ORDER BY id, v";
    const ONE: &str = "DECLARE c CURSOR WITH HOLD FOR SELECT v FROM items WHERE id = 2 ORDER BY v";
    const COUNT: &str = "SELECT id, v FROM items WHERE v > 100 ORDER BY id, v";
    let world = world("endcursors");
    for script in [
        &["BEGIN", "INSERT INTO items VALUES (1, 800), (2, 800)", "CLOSE c", "COMMIT", COUNT][..],
        &["INSERT INTO items VALUES (1, 801), (2, 801); CLOSE c", COUNT],
        &["INSERT INTO items VALUES (1, 802); CLOSE c", COUNT],
        &["BEGIN", "FETCH 1 FROM c", "CLOSE c", "COMMIT", "FETCH 1 FROM c"],
        &["BEGIN", "FETCH 1 FROM c", "SAVEPOINT a", "CLOSE c", "INSERT INTO items VALUES (2, 803)", "COMMIT", COUNT],
        &["BEGIN", "CLOSE c", "ROLLBACK", "FETCH 1 FROM c"],
        &["BEGIN", "INSERT INTO items VALUES (2, 804)", "CLOSE c", "SELECT 1/0", "ROLLBACK", COUNT],
        &["FETCH 1 FROM c; CLOSE ALL", COUNT],
        &["INSERT INTO items VALUES (1, 806), (2, 806); CLOSE ALL", COUNT],
        &["BEGIN", "INSERT INTO items VALUES (1, 807), (2, 807)", "CLOSE ALL", "COMMIT", COUNT],
        &[
            "BEGIN",
            "FETCH 1 FROM c",
            "DECLARE d CURSOR WITH HOLD FOR SELECT v FROM items ORDER BY id, v",
            "CLOSE c",
            "INSERT INTO items VALUES (1, 808), (2, 808)",
            "COMMIT",
            "FETCH 2 FROM d",
            "CLOSE d",
            COUNT,
        ],
    ] {
        for declare in [ALL, ONE] {
            let script: Vec<&str> = std::iter::once(declare).chain(script.iter().copied()).collect();
            world.answers(&script.join("; "), &queries(&script));
        }
    }
    let extended = |sql: &str| [m::parse("", sql, &[]), m::bind("", "", &[], &[]), m::execute("", 0)].concat();
    let insert = "INSERT INTO items VALUES (1, 809), (2, 809)";
    let mut script = queries(&[ALL]);
    script.extend([Send([extended(insert), extended("CLOSE c"), m::sync()].concat()), Ready]);
    script.extend(queries(&[COUNT]));
    world.answers("a pipeline", &script);
}

/// The row by which a commit over several shards is decided can be written before the transaction is read only, or never.
#[test]
fn what_was_written_before_a_transaction_is_read_only_is_committed() {
    const COUNT: &str = "SELECT sum(bal) FROM acc";
    const ADD: &str = "UPDATE acc SET bal = bal + 1";
    let world = world("endreadonly");
    for script in [
        &["BEGIN", ADD, "SET TRANSACTION READ ONLY", COUNT, "COMMIT", COUNT][..],
        &["BEGIN", ADD, "SET transaction_read_only = on", COUNT, ADD, "COMMIT", COUNT],
        &["BEGIN", ADD, "SET LOCAL transaction_read_only = 'true'", "COMMIT", COUNT],
        &["BEGIN", ADD, "SELECT set_config('transaction_read_only', 'on', true)", "COMMIT", COUNT],
        &[&format!("{ADD}; SET TRANSACTION READ ONLY; {COUNT}"), COUNT],
        &[&format!("{ADD}; BEGIN READ ONLY; {COUNT}; COMMIT"), COUNT],
        &[
            "BEGIN",
            "UPDATE places SET title = title || '!'",
            "SET TRANSACTION READ ONLY",
            "COMMIT",
            "SELECT * FROM places ORDER BY code",
        ],
        &["BEGIN", ADD, "SET TRANSACTION READ ONLY", ADD, "ROLLBACK", COUNT],
        &["BEGIN", ADD, "SET TRANSACTION READ ONLY", "ROLLBACK", COUNT],
        &["BEGIN", "UPDATE acc SET bal = bal + 1 WHERE id = 2", "SET TRANSACTION READ ONLY", COUNT, "COMMIT", COUNT],
        // Read only as far as a savepoint.
        &["BEGIN", ADD, "SAVEPOINT s", "SET TRANSACTION READ ONLY", COUNT, "ROLLBACK TO s", ADD, "COMMIT", COUNT],
        &["BEGIN", ADD, "SAVEPOINT s", "SET TRANSACTION READ ONLY", "RELEASE s", ADD, "COMMIT", COUNT],
        &["BEGIN", ADD, "SET TRANSACTION READ ONLY", "SAVEPOINT s", ADD, "ROLLBACK TO s", COUNT, "COMMIT", COUNT],
        &["BEGIN", ADD, "SET TRANSACTION READ ONLY", "LOCK TABLE acc IN ACCESS SHARE MODE", "COMMIT", COUNT],
        &[
            "SET synchronous_commit = off",
            "BEGIN",
            ADD,
            "SET TRANSACTION READ ONLY",
            "SHOW synchronous_commit",
            "COMMIT",
            COUNT,
        ],
        // The command is the client's, whatever it is carried out by.
        &[
            "BEGIN READ ONLY",
            "INSERT INTO items SELECT v, id + length(body) FROM plain JOIN items USING (id)",
            "ROLLBACK",
        ],
        &["BEGIN READ ONLY", "INSERT INTO items SELECT id, id FROM plain WHERE false RETURNING v", "ROLLBACK"],
        &["BEGIN READ ONLY", "INSERT INTO plain SELECT id, 'x' FROM acc WHERE 1 / (id - 1) > 0", "ROLLBACK"],
        &["BEGIN", "SET TRANSACTION READ ONLY", "UPDATE items SET id = id + 100", "ROLLBACK"],
        &["SET default_transaction_read_only = on", "INSERT INTO items SELECT id, id FROM plain", COUNT],
        // What writes nothing.
        &["BEGIN READ ONLY", "LOCK TABLE acc IN ACCESS SHARE MODE", COUNT, "COMMIT"],
        &["BEGIN READ ONLY", "LOCK TABLE places, acc", "COMMIT"],
        &["SET default_transaction_read_only = on", "REINDEX TABLE acc", "REINDEX INDEX acc_pkey", COUNT],
        &["BEGIN", ADD, "LOCK TABLE places", "REINDEX TABLE acc", "COMMIT", COUNT],
    ] {
        world.answers(&script.join("; "), &queries(script));
    }
    let mut left = world.through();
    assert_eq!(left.must("SHOW pgloom.transactions").text(), "");
    left.must("CREATE TEMPORARY TABLE own (id int); INSERT INTO own SELECT id FROM acc");
    left.must("BEGIN READ ONLY");
    assert_eq!(left.simple("INSERT INTO own SELECT id FROM acc").code(), "0A000");
    left.must("ROLLBACK");
}

/// A message's last statement is done when its transaction is.
#[test]
fn a_message_that_cannot_be_committed_says_nothing_of_its_end() {
    let world = world("endmessage");
    world.fill(&["INSERT INTO late VALUES (1, 1), (2, 1), (3, 1), (4, 1)"]);
    let fails = "INSERT INTO late VALUES (1, 2), (2, 1), (3, 3), (4, 4)";
    for last in [
        "INSERT INTO late VALUES (1, 12), (2, 11)",
        "SELECT id, v FROM items WHERE id = 3",
        "SELECT count(*) FROM items",
        "SELECT id, rank() OVER (ORDER BY id) FROM items ORDER BY id",
        "COPY (SELECT id FROM items WHERE id = 5) TO STDOUT",
        "SELECT code FROM places ORDER BY code",
        "UPDATE plain SET body = 'x' WHERE id = 1",
        "SELECT repeat('x', 8140)",
        "SET work_mem = '5MB'",
        "CREATE TABLE never (id int)",
    ] {
        let message = format!("{fails}; {last}");
        world.answers(&message, &queries(&[&message, "SELECT id, v FROM late ORDER BY id, v"]));
    }
}

#[test]
fn constraints_that_are_none_are_told_where_they_are_set() {
    let world = world("endconstraints");
    for script in [
        &["BEGIN", "SET CONSTRAINTS nope IMMEDIATE", "SELECT v FROM items WHERE id = 2", "ROLLBACK"][..],
        &["BEGIN", "SET CONSTRAINTS late_once, nope IMMEDIATE", "ROLLBACK"],
        &["BEGIN", "SET CONSTRAINTS public.late_once IMMEDIATE", "INSERT INTO late VALUES (1, 1), (1, 1)", "ROLLBACK"],
        &["BEGIN", "SET CONSTRAINTS ALL IMMEDIATE", "INSERT INTO late VALUES (2, 1), (2, 1)", "ROLLBACK"],
        &["SET CONSTRAINTS nope IMMEDIATE; SELECT 1"],
        &["SELECT v FROM items WHERE id = 2; SET CONSTRAINTS nope IMMEDIATE; SELECT 1"],
    ] {
        world.answers(&script.join("; "), &queries(script));
    }
    if world.router.is_none() {
        return;
    }
    // One shard does not know what the home shard knows: still one error for one message.
    world.db.shard(0).must("ALTER TABLE late ADD CONSTRAINT home_only UNIQUE (v) DEFERRABLE");
    for id in 1..=12 {
        let mut raw = world.through();
        raw.must("BEGIN");
        raw.must("SET CONSTRAINTS home_only IMMEDIATE");
        raw.send(&m::query(&format!("SELECT v FROM items WHERE id = {id}"))).unwrap();
        let tags: Vec<u8> = raw.read_to_ready().unwrap().iter().map(|message| message.tag).collect();
        assert!(tags == b"TDCZ" || tags == b"EZ", "{id}: {}", String::from_utf8_lossy(&tags));
        assert_eq!(raw.must("ROLLBACK").code(), "");
    }
}

/// Those that wait for rows heed no cancel.
#[test]
fn a_server_that_ends_in_the_middle_does_not_keep_the_others() {
    let world = world("endserver");
    if world.router.is_none() {
        return;
    }
    let others = "FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend' \
         AND pid <> pg_backend_pid() AND query NOT LIKE 'LOCK%'";
    for sql in [
        "INSERT INTO items SELECT id + 100, v FROM items",
        "UPDATE items SET id = id + 1",
        "UPDATE feel SET id = id + 1",
    ] {
        for victim in 0..SHARDS {
            let mut locker = world.db.shard(2);
            locker.must("BEGIN");
            locker.must("LOCK TABLE items, feel");
            let mut raw = world.through();
            raw.set_patience(Duration::from_secs(30));
            raw.send(&m::query(sql)).unwrap();
            let waits = format!("SELECT count(*) {others} AND wait_event_type = 'Lock'");
            let mut watch = world.db.shard(2);
            eventually(20, "the statement waits", || watch.value(&waits) != "0");
            let mut shard: Raw = world.db.shard(victim);
            let began = Instant::now();
            shard.must(&format!("SELECT count(pg_terminate_backend(pid)) {others}"));
            std::thread::sleep(Duration::from_millis(100));
            drop(locker);
            let answer = raw.read_to_ready();
            assert!(began.elapsed() < Duration::from_secs(4), "{sql} {victim}: {:?} {answer:?}", began.elapsed());
        }
    }
    eventually(20, "nothing is half done", || {
        world.through().value("SELECT count(*) FROM items WHERE id <= 12") == "12"
    });
}

/// The client's time is counted, not that of servers between their statements.
#[test]
fn a_client_that_works_is_not_idle() {
    const SET: &str = "SET idle_in_transaction_session_timeout = '1s'";
    const INSERT: &str = "INSERT INTO items VALUES (1, 903), (2, 903), (3, 903), (4, 903)";
    const SLEEP: &str = "SELECT 1 FROM pg_sleep(2)";
    const COUNT: &str = "SELECT count(*) FROM items WHERE v = 903";
    let world = world("endidle");
    for script in [
        &[SET, "BEGIN", INSERT, SLEEP, INSERT, "COMMIT", COUNT][..],
        &[
            SET,
            "BEGIN",
            "INSERT INTO items VALUES (2, 903)",
            "SELECT count(*) FROM plain p, pg_sleep(2)",
            INSERT,
            "COMMIT",
            COUNT,
        ],
        &[SET, &format!("{INSERT}; {SLEEP}; {INSERT}"), COUNT],
        &[
            "BEGIN",
            INSERT,
            "SET LOCAL idle_in_transaction_session_timeout = 1000",
            SLEEP,
            INSERT,
            "COMMIT",
            "SHOW idle_in_transaction_session_timeout",
        ],
        &["BEGIN", INSERT, SET, SLEEP, INSERT, "COMMIT", "SHOW idle_in_transaction_session_timeout"],
        &[
            SET,
            "BEGIN",
            INSERT,
            "SAVEPOINT s",
            "SET LOCAL idle_in_transaction_session_timeout = 0",
            "ROLLBACK TO s",
            SLEEP,
            INSERT,
            "ROLLBACK",
        ],
        &[
            SET,
            "BEGIN",
            "DECLARE c CURSOR FOR SELECT id, rank() OVER (ORDER BY id) FROM items WHERE v < 100 ORDER BY id",
            SLEEP,
            "FETCH 2 FROM c",
            "ROLLBACK",
        ],
        &[
            SET,
            "SELECT count(*) FROM items i JOIN plain p ON p.id = i.id WHERE i.v < 100 AND pg_sleep(0.4) IS NOT NULL",
        ],
    ] {
        world.answers(&script.join("; "), &queries(script));
    }
    let silent = |settings: &[&str]| {
        for mut raw in [world.db.oracle(), world.through()] {
            settings.iter().for_each(|sql| drop(raw.must(sql)));
            let began = Instant::now();
            let error = loop {
                let message = raw.read().unwrap();
                if message.tag == b'E' {
                    break message.report();
                }
            };
            let told = "terminating connection due to idle-in-transaction timeout";
            assert_eq!((error.code(), error.message(), &error.0[&'S'][..]), ("25P03", told, "FATAL"), "{settings:?}");
            assert!(raw.read().is_err() && began.elapsed() < Duration::from_secs(10));
        }
    };
    let set = "SET idle_in_transaction_session_timeout = '500ms'";
    silent(&[set, "BEGIN", INSERT]);
    silent(&["BEGIN", INSERT, set]);
    silent(&["BEGIN", INSERT, "SET LOCAL idle_in_transaction_session_timeout = 500"]);
    silent(&[set, "BEGIN", "SELECT v FROM items WHERE id = 2"]);
    silent(&[
        set,
        "BEGIN",
        INSERT,
        "SAVEPOINT s",
        "SET LOCAL idle_in_transaction_session_timeout = 0",
        "ROLLBACK TO s",
    ]);
    eventually(20, "all is rolled back", || {
        world.through().value("SELECT count(*) FROM pg_locks WHERE relation = 'items'::regclass") == "0"
    });
}

/// What a type or a domain does to the tables that are made of it.
#[test]
fn a_key_is_not_changed_by_its_type() {
    let schema = "CREATE TYPE shape AS (id int, v int); CREATE TABLE cfg OF shape; CREATE TYPE other AS (id2 int); \
         CREATE DOMAIN key AS int CHECK (VALUE > 0); CREATE TABLE dom (k key PRIMARY KEY, v int)";
    let world = Pair::create("endtypes", schema, &[("cfg", Placed::By("id")), ("dom", Placed::By("k"))], "");
    world.fill(&["INSERT INTO cfg VALUES (1, 1), (2, 2), (3, 3)", "INSERT INTO dom VALUES (1, 1), (2, 2)"]);
    if world.router.is_none() {
        return;
    }
    let mut raw = world.through();
    for sql in [
        "ALTER TYPE shape ALTER ATTRIBUTE id TYPE bigint CASCADE",
        "ALTER TYPE shape ALTER ATTRIBUTE v TYPE bigint CASCADE, DROP ATTRIBUTE IF EXISTS id CASCADE",
        "ALTER TYPE public.shape RENAME ATTRIBUTE id TO t2 CASCADE",
        "DROP DOMAIN key CASCADE",
        "DROP TYPE IF EXISTS key CASCADE",
    ] {
        let reply = raw.simple(sql);
        assert_eq!(reply.code(), "0A000", "{sql}: {}", reply.text());
    }
    for sql in [
        "ALTER TYPE shape ALTER ATTRIBUTE v TYPE bigint CASCADE",
        "ALTER TYPE shape ADD ATTRIBUTE w int CASCADE",
        "ALTER TYPE other RENAME ATTRIBUTE id2 TO id3 CASCADE",
        "DROP TYPE other",
    ] {
        raw.must(sql);
    }
    assert_eq!(raw.simple("DROP DOMAIN key").code(), "2BP01");
    assert_eq!(raw.simple("ALTER TYPE shape RENAME ATTRIBUTE id TO t2").code(), "2BP01");
    assert_eq!(raw.values("SELECT id FROM cfg WHERE id = 2"), ["2"]);
}

#[test]
fn cursors_that_stay_on_several_shards_are_refused_in_our_words() {
    let world = world("endholds");
    if world.router.is_none() {
        return;
    }
    let mut refused = 0;
    for id in 2..=8 {
        let mut raw = world.through();
        raw.must("BEGIN");
        raw.must("DECLARE a CURSOR WITH HOLD FOR SELECT v FROM items WHERE id = 1");
        raw.must(&format!("DECLARE b CURSOR WITH HOLD FOR SELECT v FROM items WHERE id = {id}"));
        raw.must("INSERT INTO items SELECT n, 900 FROM generate_series(1, 12) n");
        let reply = raw.simple("COMMIT");
        let kept = raw.value("SELECT count(*) FROM items WHERE v = 900");
        assert_eq!(kept, if reply.code().is_empty() { "12" } else { "0" });
        raw.must("DELETE FROM items WHERE v = 900");
        if let Some(error) = reply.error {
            assert!(error.code() == "0A000" && !error.message().contains("PREPARE"), "{error:?}");
            assert!(!error.hint().is_empty());
            refused += 1;
        }
    }
    assert!(refused > 0, "all on one shard");
}

/// The session goes on: it hears of one error, and of none that says it does not.
#[test]
fn a_server_that_ends_a_connection_makes_one_error() {
    let world = world("endone");
    if world.router.is_none() {
        return;
    }
    let others = "FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend' \
         AND pid <> pg_backend_pid()";
    let end = format!("SELECT count(pg_terminate_backend(pid)) {others}");
    let mut raw = world.through();
    raw.set_patience(Duration::from_secs(30));
    for (block, sql) in [
        (false, "UPDATE plain SET body = 'x' WHERE id = 1 AND pg_sleep(20) IS NOT NULL"),
        (true, "UPDATE plain SET body = 'x' WHERE id = 1 AND pg_sleep(20) IS NOT NULL"),
        (false, "INSERT INTO plain SELECT 7, 'x' FROM pg_sleep(20)"),
    ] {
        if block {
            raw.must("BEGIN");
            raw.must("INSERT INTO plain VALUES (9, 'nine')");
        }
        raw.send(&m::query(sql)).unwrap();
        let sleeps = format!("{end} AND wait_event = 'PgSleep'");
        eventually(20, "the statement is ended", || world.db.shard(0).value(&sleeps) == "1");
        let messages = raw.read_to_ready().unwrap();
        let errors: Vec<_> = messages.iter().filter(|message| message.tag == b'E').map(|m| m.report()).collect();
        let [error] = &errors[..] else { panic!("{sql}: {errors:?}") };
        assert_eq!((error.code(), &*error.0[&'S'], &*error.0[&'V']), ("08006", "ERROR", "ERROR"), "{sql}: {error:?}");
        let detail = &error.0[&'D'];
        assert!(detail.contains("the server said: FATAL: ") && detail.contains("57P01"), "{error:?}");
        assert_eq!(messages.last().unwrap().body, if block { b"E" } else { b"I" });
        raw.must("ROLLBACK");
        assert_eq!(raw.value("SELECT count(*) FROM plain WHERE body = 'x' OR id = 9"), "0");
    }
}

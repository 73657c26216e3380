//! Statements whose WITH changes data that the shards return and a Postgres finishes: once and whole, in one transaction, in both protocols.
//! What they answer is compared with one Postgres in `oracle/write_with.sql`.

#![allow(clippy::unwrap_used)]

mod support;

use support::raw::{Raw, message as m};
use support::sharded::{ITEMS, Sharded};
use support::{SHARDS, eventually};

/// Off the key: the rows go to the home shard.
const ARCHIVE: &str = "WITH gone AS (DELETE FROM items WHERE n < 5 RETURNING id, name) INSERT INTO plain SELECT id + 1000, name FROM gone";
const RANKED: &str =
    "WITH u AS (UPDATE items SET n = n + 1 RETURNING id, n) SELECT id, n, rank() OVER (ORDER BY id) FROM u ORDER BY id";

fn sum(world: &Sharded) -> i64 {
    world.on_each("SELECT coalesce(sum(n), 0) FROM items").iter().map(|sum| sum.parse::<i64>().unwrap()).sum()
}

fn count(world: &Sharded) -> i32 {
    world.on_each("SELECT count(*) FROM items").iter().map(|count| count.parse::<i32>().unwrap()).sum()
}

/// Nothing was changed, nobody holds a transaction open, and the session is as good as new.
#[track_caller]
fn untouched(world: &Sharded, raw: &mut Raw, when: &str) {
    assert_eq!((count(world), sum(world)), (ITEMS, 0), "{when}");
    assert_eq!(world.prepared(), Vec::<String>::new(), "{when}");
    let open = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = '{}' AND pid <> pg_backend_pid() AND state <> 'idle'",
        world.db.name
    );
    eventually(20, "nothing is left open", || (0..SHARDS).all(|index| world.db.shard(index).value(&open) == "0"));
    assert_eq!(raw.value("SELECT count(*) FROM plain"), "1", "{when}");
}

#[test]
fn changes_are_made_once_and_whole_whatever_the_rest_asks() {
    let world = Sharded::create("returnedonce", "");
    let mut raw = world.connect();
    let rests = [
        "SELECT id FROM u ORDER BY id LIMIT 1",
        "SELECT 1",
        "SELECT 1 WHERE false",
        "SELECT EXISTS (SELECT FROM u)",
        "SELECT count(*) FROM u a, u b WHERE a.id = b.id",
        "SELECT id FROM u WHERE id = 3 UNION SELECT id FROM u WHERE id = 4",
        "SELECT title, (SELECT max(id) FROM u) FROM places",
    ];
    for (at, rest) in rests.iter().enumerate() {
        let sql = format!("WITH u AS (UPDATE items SET n = n + 1 RETURNING id, n) {rest}");
        raw.must(&sql);
        assert_eq!(sum(&world), i64::from(ITEMS) * (2 * at as i64 + 1), "{rest}");
        let reply = raw.extended(&sql, &[], &[], 1);
        assert!(reply.error.is_none(), "{rest}: {reply:?}");
        assert_eq!(sum(&world), i64::from(ITEMS) * (2 * at as i64 + 2), "{rest}");
    }
    // Without RETURNING, and beside a change of another table.
    raw.must(
        "WITH u AS (UPDATE items SET n = 0), p AS (UPDATE plain SET body = 'two' RETURNING id) SELECT avg(id) FROM p",
    );
    assert_eq!(sum(&world), 0);
    assert_eq!(world.db.shard(0).value("SELECT body FROM plain"), "two");
    assert_eq!(world.prepared(), Vec::<String>::new());
}

#[test]
fn tags_columns_and_rows_are_those_of_one_server() {
    let world = Sharded::create("returnedtags", "");
    let mut raw = world.connect();
    let reply = raw.must(RANKED);
    assert_eq!(reply.answers[0].tag.as_deref(), Some("SELECT 60"));
    assert_eq!(reply.answers[0].rows.len(), 60);
    let reply = raw.must(ARCHIVE);
    assert_eq!(reply.answers[0].tag.as_deref(), Some("INSERT 0 60"));
    assert_eq!(count(&world), 0);
    assert_eq!(world.db.shard(0).value("SELECT count(*) FROM plain"), "61");
    // Described before it is bound, nothing is changed yet.
    raw.must(
        "INSERT INTO items SELECT id - 1000, 0, body FROM plain WHERE id > 1000; DELETE FROM plain WHERE id > 1000",
    );
    let parsed = [m::parse("s", RANKED, &[]), m::describe(b'S', "s"), m::sync()].concat();
    let reply = raw.exchange_with(&parsed, None, true);
    assert!(reply.error.is_none(), "{reply:?}");
    untouched(&world, &mut raw, "a statement that was described");
    let bound = [m::bind("", "s", &[], &[]), m::execute("", 0), m::sync()].concat();
    let reply = raw.exchange_with(&bound, None, true);
    assert_eq!(reply.answers[0].tag.as_deref(), Some("SELECT 60"), "{reply:?}");
    assert_eq!(sum(&world), i64::from(ITEMS));
    // EXPLAIN changes nothing, and is refused where it would.
    raw.must(&format!("EXPLAIN {RANKED}"));
    assert_eq!(raw.simple(&format!("EXPLAIN ANALYZE {RANKED}")).code(), "0A000");
    assert_eq!(raw.simple(&format!("DECLARE c CURSOR FOR {RANKED}")).code(), "0A000");
    assert_eq!(raw.simple(&format!("COPY ({RANKED}) TO STDOUT")).code(), "0A000");
    assert_eq!(sum(&world), i64::from(ITEMS));
}

#[test]
fn an_error_anywhere_undoes_all() {
    let world = Sharded::create("returnederror", "");
    let mut raw = world.connect();
    let failing = [
        // In the rest, in a change on one shard, in what is delivered, in the commit.
        ("WITH u AS (UPDATE items SET n = n + 1 RETURNING id, n) SELECT avg(1 / (id - 7)) FROM u", "22012"),
        ("WITH u AS (UPDATE items SET n = n - id % 2 RETURNING id) SELECT id FROM u LIMIT 1", "23514"),
        ("WITH d AS (DELETE FROM items RETURNING id) INSERT INTO plain SELECT id % 2 FROM d", "23505"),
        ("WITH d AS (DELETE FROM items RETURNING id) INSERT INTO places SELECT 'p' || id % 2 FROM d", "23505"),
    ];
    for (sql, code) in failing {
        for reply in [raw.simple(sql), raw.extended(sql, &[], &[], 0), raw.extended(sql, &[], &[], 1)] {
            assert_eq!(reply.code(), code, "{sql}: {reply:?}");
            untouched(&world, &mut raw, sql);
        }
    }
    // Row by row one Postgres would have failed with the first Execute as well.
    let pieces = [m::parse("", failing[0].0, &[]), m::bind("p", "", &[], &[]), m::execute("p", 1), m::sync()].concat();
    assert_eq!(raw.exchange_with(&pieces, None, true).code(), "22012");
    untouched(&world, &mut raw, "a portal in pieces");
    // Within a block up to the savepoint.
    raw.must("BEGIN; SAVEPOINT s");
    raw.must(RANKED);
    raw.must("ROLLBACK TO s");
    assert_eq!(raw.simple(failing[1].0).code(), "23514");
    assert_eq!(raw.simple("SELECT 1").code(), "25P02");
    raw.must("ROLLBACK TO s");
    assert_eq!(raw.value("SELECT sum(n) FROM items"), "0");
    raw.must(RANKED);
    assert_eq!(raw.value("SELECT sum(n) FROM items"), "60");
    raw.must("ROLLBACK");
    untouched(&world, &mut raw, "a block that was rolled back");
    raw.must(&format!("BEGIN; {RANKED}; COMMIT"));
    assert_eq!(sum(&world), i64::from(ITEMS));
}

#[test]
fn rows_come_in_pieces_of_what_is_done_already() {
    let world = Sharded::create("returnedpieces", "");
    let mut raw = world.connect();
    let begin = [m::parse("", RANKED, &[]), m::bind("p", "", &[], &[]), m::execute("p", 7), m::flush()].concat();
    raw.send(&begin).unwrap();
    let (mut rows, mut pieces) = (0, 0);
    loop {
        let message = raw.read().unwrap();
        match message.tag {
            b'D' => rows += 1,
            b's' => {
                pieces += 1;
                raw.send(&[m::execute("p", 7), m::flush()].concat()).unwrap();
            }
            b'C' => break,
            b'E' => panic!("{}", message.report()),
            _ => {}
        }
    }
    raw.send(&m::sync()).unwrap();
    raw.read_to_ready().unwrap();
    assert_eq!((rows, pieces), (60, 8));
    assert_eq!(sum(&world), i64::from(ITEMS));
    // A portal that is left or closed early has changed all the same, as in Postgres.
    let left =
        [m::parse("", RANKED, &[]), m::bind("p", "", &[], &[]), m::execute("p", 7), m::close(b'P', "p"), m::sync()];
    let reply = raw.exchange_with(&left.concat(), None, true);
    assert!(reply.error.is_none(), "{reply:?}");
    assert_eq!(sum(&world), 2 * i64::from(ITEMS));
    // In a pipeline it sees what came before, and what comes behind sees it.
    let run = |sql: &str| [m::parse("", sql, &[]), m::bind("", "", &[], &[]), m::execute("", 0)].concat();
    let messages =
        [run("UPDATE items SET n = 0"), run(RANKED), run("DELETE FROM items WHERE n = 1"), m::sync()].concat();
    let reply = raw.exchange_with(&messages, None, true);
    let tags: Vec<&str> = reply.answers.iter().filter_map(|answer| answer.tag.as_deref()).collect();
    assert_eq!(tags, ["UPDATE 60", "SELECT 60", "DELETE 60"], "{reply:?}");
}

#[test]
fn limits_cancels_and_time_outs_leave_nothing() {
    let world = Sharded::create_as("returnedlimits", "query_timeout = \"3s\"", "[combine]\nmax_rows = 50\n");
    let mut raw = world.connect();
    assert_eq!(raw.simple(RANKED).code(), "53400");
    assert_eq!(raw.simple(ARCHIVE).code(), "53400");
    untouched(&world, &mut raw, "more rows than may be pulled");
    let few = "WITH u AS (UPDATE items SET n = n + 1 WHERE id < 20 RETURNING id, n) SELECT count(*), stddev(n) FROM u";
    // It waits for rows that another holds, and then in what finishes it.
    let locked = world.lock_rows(&[2]);
    assert_eq!(raw.simple(few).code(), "57014");
    drop(locked);
    let late = few.replace("FROM u", "FROM u, u b, u c, u d, u e, u f, u g, u h").replace("stddev(n)", "stddev(b.n)");
    assert_eq!(raw.simple(&late).code(), "57014");
    untouched(&world, &mut raw, "a statement that took too long");
    let locked = world.lock_rows(&[1]);
    raw.send(&m::query(few)).unwrap();
    eventually(10, "it waits", || world.waiting(1) > 0);
    support::raw::cancel(world.router.port, raw.key.0, &raw.key.1);
    let messages = raw.read_to_ready().unwrap();
    let error = messages.iter().find(|message| message.tag == b'E').unwrap().report();
    assert_eq!(error.code(), "57014", "{error}");
    drop(locked);
    untouched(&world, &mut raw, "a cancelled statement");
    raw.must(few);
    assert_eq!(sum(&world), 19);
}

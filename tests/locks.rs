//! Row locks over several shards: taken on the rows of the result and on no others, and kept until the transaction ends.

#![allow(clippy::unwrap_used)]

#[path = "locks/joined.rs"]
mod joined;
mod support;

use std::collections::BTreeSet;
use std::time::Duration;

use support::raw::{Raw, Value, message as m};
use support::{Sharded, eventually};

/// The ids of `items` that nobody has locked, found by a client that takes no part in anything.
fn free(world: &Sharded) -> BTreeSet<i32> {
    let sql = "SELECT id FROM items FOR UPDATE SKIP LOCKED";
    let ids = |shard: usize| world.db.shard(shard).values(sql).into_iter().map(|id| id.parse().unwrap());
    (0..support::SHARDS).flat_map(ids).collect()
}

fn locked(world: &Sharded) -> Vec<i32> {
    let free = free(world);
    world.ids.iter().flatten().copied().filter(|id| !free.contains(id)).collect::<BTreeSet<_>>().into_iter().collect()
}

fn ints(values: Vec<String>) -> Vec<i32> {
    values.into_iter().map(|value| value.parse().unwrap()).collect()
}

#[test]
fn rows_of_all_shards_are_locked_until_the_transaction_ends() {
    let world = Sharded::create("locks_all", "");
    let mut raw = world.connect();
    let wanted: Vec<i32> = (0..support::SHARDS).map(|shard| world.id(shard, 1)).collect();
    let list = wanted.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    for strength in ["UPDATE", "NO KEY UPDATE", "SHARE", "KEY SHARE"] {
        raw.must(&format!("BEGIN; SELECT id FROM items WHERE id IN ({list}) FOR {strength}"));
        assert_eq!(locked(&world), wanted.iter().copied().collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>());
        raw.must("ROLLBACK");
        assert!(locked(&world).is_empty());
    }
    // Outside of a block they are given back with the answer, and nothing was written that needs a second phase.
    raw.must(&format!("SELECT id FROM items WHERE id IN ({list}) ORDER BY id FOR UPDATE"));
    assert!(locked(&world).is_empty());
    // What must be changed for the shards keeps its strength.
    raw.must(&format!("BEGIN; SELECT name FROM items WHERE id IN ({list}) ORDER BY id FOR NO KEY UPDATE"));
    let shared = format!("SELECT id FROM items WHERE id IN ({list}) FOR KEY SHARE NOWAIT");
    assert_eq!(world.connect().values(&shared).len(), wanted.len());
    let refused = format!("SELECT id FROM items WHERE id IN ({list}) FOR SHARE NOWAIT");
    assert_eq!(world.connect().simple(&refused).code(), "55P03");
    raw.must("COMMIT");
    assert!(world.prepared().is_empty());
}

#[test]
fn others_wait_skip_or_fail() {
    let world = Sharded::create("locks_wait", "");
    let (a, b) = (world.id(0, 0), world.id(1, 0));
    let mut holder = world.connect();
    holder.must(&format!("BEGIN; SELECT id FROM items WHERE id IN ({a}, {b}) FOR UPDATE"));
    let mut other = world.connect();
    let nowait = other.simple(&format!("SELECT id FROM items WHERE id IN ({b}, {}) FOR UPDATE NOWAIT", world.id(2, 0)));
    assert_eq!(nowait.code(), "55P03");
    assert_eq!(nowait.error.unwrap().message(), "could not obtain lock on row in relation \"items\"");
    let all = ints(other.values("SELECT id FROM items ORDER BY id FOR UPDATE SKIP LOCKED"));
    assert_eq!(all.len(), support::sharded::ITEMS as usize - 2);
    assert!(!all.contains(&a) && !all.contains(&b));
    // Blocked until COMMIT, and then of what the holder has left.
    let waits = format!("SELECT n FROM items WHERE id IN ({a}, {b}) AND n < 5 ORDER BY id FOR UPDATE");
    other.send(&m::query(&waits)).unwrap();
    eventually(10, "it waits", || world.waiting(0) > 0 && world.waiting(1) > 0);
    holder.must(&format!("UPDATE items SET n = 7 WHERE id = {a}; UPDATE items SET n = 3 WHERE id = {b}; COMMIT"));
    let rows: Vec<_> = other.read_to_ready().unwrap().into_iter().filter(|message| message.tag == b'D').collect();
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].cells(), [Some(b"3".to_vec())]);
}

#[test]
fn limit_locks_what_it_returns_and_nothing_else() {
    let world = Sharded::create("locks_limit", "");
    let first = |n: usize, behind: usize| -> Vec<i32> { (1..=60).skip(behind).take(n).collect() };
    let mut raw = world.connect();
    raw.must("BEGIN");
    assert_eq!(ints(raw.values("SELECT id FROM items ORDER BY id LIMIT 5 FOR UPDATE")), first(5, 0));
    assert_eq!(locked(&world), first(5, 0));
    // Others skip these, whatever form LIMIT has, and lock the rows before OFFSET too, as one Postgres does.
    let mut other = world.connect();
    other.must("BEGIN");
    let skipping = "SELECT id FROM items ORDER BY id FOR NO KEY UPDATE SKIP LOCKED LIMIT 3 OFFSET 2";
    assert_eq!(ints(other.values(skipping)), first(3, 7));
    assert_eq!(locked(&world), first(10, 0));
    // What a transaction has locked itself it does not skip.
    let limited = "SELECT id, name FROM items WHERE n < $2 ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED";
    let reply = other.extended(limited, &[], &[Value::text("6"), Value::text("1")], 1);
    assert_eq!(reply.code(), "", "{}", reply.text());
    let ids: Vec<_> = reply.answers[0].rows.iter().map(|row| row[0].clone().unwrap()).collect();
    assert_eq!(ids, (6..=11i32).map(|id| id.to_be_bytes().to_vec()).collect::<Vec<_>>());
    assert_eq!(reply.answers[0].rows[0][1].as_deref(), Some(&b"item 6"[..]));
    assert_eq!(reply.answers[0].tag.as_deref(), Some("SELECT 6"));
    assert_eq!(locked(&world), first(11, 0));
    assert_eq!(other.simple("SELECT * FROM items ORDER BY id LIMIT 1 FOR UPDATE NOWAIT").code(), "55P03");
    other.must("ROLLBACK");
    assert_eq!(locked(&world), first(5, 0));
    raw.must("ROLLBACK");
    assert!(locked(&world).is_empty());
    // Everything, nothing, more than there is; `*` is the table's own columns.
    raw.must("BEGIN");
    assert!(raw.values("SELECT id FROM items ORDER BY id LIMIT 0 FOR UPDATE").is_empty());
    assert!(locked(&world).is_empty());
    let all = raw.must(
        "SELECT *, n + 1 AS m FROM items i ORDER BY name COLLATE \"C\" DESC NULLS LAST, i.id LIMIT 100 FOR UPDATE OF i",
    );
    assert_eq!(all.answers[0].rows.len(), 60);
    let names: Vec<&str> = all.answers[0].columns.iter().flatten().map(|column| &*column.name).collect();
    assert_eq!(names, ["id", "n", "name", "m"]);
    raw.must("ROLLBACK");
    assert_eq!(raw.simple("SELECT id FROM items ORDER BY id LIMIT -1 FOR UPDATE").code(), "2201W");
    assert!(world.prepared().is_empty());
}

/// A queue whose rows are taken by what others say of them.
#[test]
fn limit_locks_the_rows_of_a_join_and_nothing_else() {
    let world = Sharded::create("locks_join", "");
    let mut raw = world.connect();
    raw.must("INSERT INTO parts SELECT id, 'of ' || id FROM items WHERE id % 2 = 0");
    let take = "SELECT i.id FROM items i JOIN parts p ON p.id = i.id WHERE p.label <> 'of 4' ORDER BY i.id LIMIT 2 FOR UPDATE OF i SKIP LOCKED";
    raw.must("BEGIN");
    assert_eq!(ints(raw.values(take)), [2, 6]);
    assert_eq!(locked(&world), [2, 6]);
    let mut other = world.connect();
    other.must("BEGIN");
    assert_eq!(ints(other.values(take)), [8, 10]);
    assert_eq!(locked(&world), [2, 6, 8, 10]);
    let nowait = "SELECT i.id FROM items i, parts p WHERE p.id = i.id ORDER BY i.id LIMIT 1 FOR UPDATE OF i NOWAIT";
    assert_eq!(other.simple(nowait).code(), "55P03");
    other.must("ROLLBACK");
    // Who waits for a row finds it as it was left: no longer wanted.
    let waits = "SELECT i.id FROM items i JOIN parts p USING (id) WHERE i.n < 100 ORDER BY i.id LIMIT 2 FOR UPDATE";
    other.send(&m::query(waits)).unwrap();
    eventually(10, "it waits", || (0..support::SHARDS).any(|shard| world.waiting(shard) > 0));
    raw.must("UPDATE items SET n = 100 WHERE id = 2");
    raw.must("COMMIT");
    let rows: Vec<_> = other.read_to_ready().unwrap().into_iter().filter(|message| message.tag == b'D').collect();
    assert_eq!(rows.iter().map(|row| row.cells()[0].clone().unwrap()).collect::<Vec<_>>(), [b"4", b"6"]);
    let taken = "UPDATE items SET n = 200 WHERE id IN (SELECT i.id FROM items i JOIN parts p USING (id) WHERE i.n < 100 ORDER BY i.id LIMIT 3 FOR UPDATE OF i SKIP LOCKED) RETURNING id";
    let mut ids = ints(raw.values(taken));
    ids.sort_unstable();
    assert_eq!(ids, [4, 6, 8]);
}

/// More candidates than are asked for or locked at a time, half of them locked by somebody else; and what may be held.
#[test]
fn long_lists_are_claimed_in_pieces() {
    let world = Sharded::create("locks_long", "merge_max_bytes = \"256kB\"");
    let mut holder = world.connect();
    holder.must("INSERT INTO items SELECT n, 0, 'item ' || n FROM generate_series(61, 3000) n");
    holder.must("BEGIN");
    assert_eq!(holder.values("SELECT id FROM items WHERE id % 2 = 0 AND id <= 2000 FOR UPDATE").len(), 1000);
    let mut raw = world.connect();
    raw.must("BEGIN");
    let limited = "SELECT id FROM items ORDER BY id LIMIT 1300 OFFSET 100 FOR UPDATE SKIP LOCKED";
    let left: Vec<i32> = (1..=3000).filter(|id| id % 2 == 1 || *id > 2000).collect();
    for _ in 0..2 {
        assert_eq!(ints(raw.values(limited)), left[100..1400]);
    }
    assert_eq!(free(&world).len(), 600);
    raw.must("ROLLBACK");
    holder.must("ROLLBACK");
    // Waiting for nobody, in order, and without any order.
    assert_eq!(
        ints(raw.values("SELECT id FROM items ORDER BY id DESC LIMIT 600 FOR SHARE")),
        (2401..=3000).rev().collect::<Vec<i32>>()
    );
    assert_eq!(raw.values("SELECT id FROM items LIMIT 700 FOR UPDATE SKIP LOCKED").len(), 700);
    let held = "SELECT id FROM items ORDER BY repeat(name, 100) COLLATE \"C\" LIMIT 2500 FOR UPDATE SKIP LOCKED";
    let reply = raw.simple(held);
    assert_eq!((reply.code(), reply.status), ("53400", b'I'), "{}", reply.text());
    assert_eq!(free(&world).len(), 3000);
}

/// A worker that waits for its first row gets what is left of it, and does not touch the rows behind it.
#[test]
fn limit_waits_in_order_and_checks_again() {
    let world = Sharded::create("locks_order", "");
    let mut holder = world.connect();
    holder.must("BEGIN; UPDATE items SET n = 1 WHERE id = 1; DELETE FROM items WHERE id = 2");
    let mut worker = world.connect();
    worker.must("BEGIN");
    worker.send(&m::query("SELECT id FROM items WHERE n = 0 ORDER BY id LIMIT 2 FOR UPDATE")).unwrap();
    eventually(10, "it waits", || (0..support::SHARDS).any(|shard| world.waiting(shard) > 0));
    // Nothing behind the row that it waits for is locked yet.
    assert_eq!(locked(&world), [1, 2]);
    holder.must("COMMIT");
    let rows: Vec<_> = worker.read_to_ready().unwrap().into_iter().filter(|message| message.tag == b'D').collect();
    let ids: Vec<_> = rows.iter().map(|row| String::from_utf8(row.cells()[0].clone().unwrap()).unwrap()).collect();
    assert_eq!(ids, ["3", "4"]);
    // The row that it has waited for stays locked, as in Postgres, though it is not in the result; the other one is gone.
    assert_eq!(locked(&world), [1, 2, 3, 4]);
    worker.must("COMMIT");
    assert_eq!(locked(&world), [2]);
}

/// Many workers take every job once.
#[test]
fn workers_of_a_queue_share_its_rows() {
    let world = Sharded::create("locks_queue", "default_pool_size = 8");
    let work = |world: &Sharded| {
        let mut raw = world.connect();
        let mut mine = Vec::new();
        loop {
            raw.must("BEGIN");
            let take = "SELECT id FROM items WHERE n = 0 ORDER BY id LIMIT 3 FOR UPDATE SKIP LOCKED";
            let ids = ints(raw.values(take));
            let list = ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            if !ids.is_empty() {
                raw.must(&format!("UPDATE items SET n = n + 1 WHERE id IN ({list})"));
            }
            raw.must("COMMIT");
            mine.extend(&ids);
            if ids.is_empty() && raw.value("SELECT count(*) FROM items WHERE n = 0") == "0" {
                return mine;
            }
        }
    };
    let world = &world;
    let taken: Vec<i32> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..4).map(|_| scope.spawn(move || work(world))).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    assert_eq!(taken.len(), 60, "{taken:?}");
    assert_eq!(world.connect().value("SELECT sum(n) FROM items"), "60");
}

/// The same in one statement: what the query within it locks is what is changed.
#[test]
fn workers_take_their_rows_by_one_update() {
    let world = Sharded::create("locks_update", "default_pool_size = 8");
    let take = "UPDATE items SET n = n + 1 WHERE id IN (SELECT id FROM items WHERE n = 0 ORDER BY id LIMIT 3 FOR UPDATE SKIP LOCKED) RETURNING id";
    let mut holder = world.connect();
    holder.must("BEGIN; SELECT id FROM items WHERE id IN (1, 3) FOR UPDATE");
    let mut raw = world.connect();
    raw.must("BEGIN");
    let mut ids = ints(raw.values(take));
    ids.sort_unstable();
    assert_eq!(ids, [2, 4, 5]);
    assert_eq!(locked(&world), [1, 2, 3, 4, 5]);
    raw.must("ROLLBACK");
    let first = "DELETE FROM items i WHERE i.id = (SELECT j.id FROM items j WHERE j.n >= $1 ORDER BY j.name COLLATE \"C\", j.id \
                 FOR NO KEY UPDATE OF j SKIP LOCKED LIMIT $2) RETURNING i.id, i.name";
    let reply = raw.extended(first, &[], &[Value::text("0"), Value::text("1")], 0);
    assert_eq!((reply.text(), reply.status), ("10|item 10".to_owned(), b'I'));
    let none = raw.extended(first, &[], &[Value::text("5"), Value::text("1")], 0);
    assert_eq!((none.code(), none.answers[0].tag.as_deref()), ("", Some("DELETE 0")));
    let waits = "UPDATE items SET n = 5 WHERE id = (SELECT id FROM items ORDER BY id LIMIT 1 FOR UPDATE NOWAIT)";
    assert_eq!(raw.simple(waits).code(), "55P03");
    holder.must("ROLLBACK");
    let work = || {
        let mut raw = world.connect();
        let mut mine = Vec::new();
        loop {
            let ids = ints(raw.values(take));
            mine.extend(&ids);
            if ids.is_empty() && raw.value("SELECT count(*) FROM items WHERE n = 0") == "0" {
                return mine;
            }
        }
    };
    let mut taken: Vec<i32> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..4).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    taken.sort_unstable();
    assert_eq!(taken, (1..=60).filter(|id| *id != 10).collect::<Vec<i32>>());
    assert_eq!(world.connect().value("SELECT sum(n) FROM items"), "59");
    assert!(world.prepared().is_empty());
}

/// A lock on a reference table's row is one that all sessions meet, wherever the statement runs.
#[test]
fn rows_of_reference_tables_are_locked_at_home() {
    let world = Sharded::create("locks_places", "");
    let (home, away) = (world.id(0, 0), world.id(2, 0));
    let mut raw = world.connect();
    raw.must("BEGIN; SELECT code FROM places WHERE code = 'a' FOR UPDATE");
    let join = |id: i32, of: &str| {
        format!("SELECT i.id FROM items i JOIN places p ON p.code = 'a' WHERE i.id = {id} FOR UPDATE{of} NOWAIT")
    };
    let mut other = world.connect();
    assert_eq!(other.simple(&join(home, "")).code(), "55P03");
    let held = other.simple(&join(away, ""));
    assert_eq!(held.code(), "55P03", "{}", held.text());
    assert_eq!(held.error.unwrap().message(), "could not obtain lock on row in relation \"places\"");
    assert_eq!(other.simple(&join(away, " OF p")).code(), "55P03");
    assert_eq!(ints(other.values(&join(away, " OF i"))), [away]);
    let all = "SELECT i.id FROM items i JOIN places p ON p.code = 'a' ORDER BY i.id FOR UPDATE OF i NOWAIT";
    assert_eq!(other.values(all).len(), 60);
    let derived = format!("SELECT * FROM items i, (SELECT * FROM places) p WHERE i.id = {away} FOR UPDATE");
    assert_eq!(other.simple(&derived).code(), "0A000");
    other.must("SET lock_timeout = '200ms'");
    assert_eq!(other.simple("UPDATE places SET title = 'x' WHERE code = 'a'").code(), "55P03");
    let subquery = format!("UPDATE items SET n = 1 WHERE id = {away} AND name IN (SELECT code FROM places FOR SHARE)");
    assert_eq!(other.simple(&subquery).code(), "0A000");
    raw.must("COMMIT");
}

#[test]
fn what_cannot_be_locked_exactly_is_refused_with_a_way_out() {
    let world = Sharded::create("locks_refused", "");
    let mut raw = world.connect();
    raw.must("CREATE TABLE keyless (a int); CREATE SEQUENCE counted");
    for sql in [
        "SELECT id FROM items ORDER BY id FETCH FIRST 1 ROW WITH TIES FOR UPDATE",
        "SELECT i.id FROM items i JOIN parts p ON p.label = i.name ORDER BY i.n FETCH FIRST 1 ROW WITH TIES FOR UPDATE",
        "SELECT i.id FROM items i JOIN parts p ON p.label = i.name FOR UPDATE OF i FOR SHARE OF p",
        "SELECT i.id FROM items i JOIN (SELECT * FROM parts) p ON p.label = i.name FOR UPDATE",
        "SELECT i.id FROM items i WHERE name IN (SELECT label FROM parts FOR UPDATE)",
        "SELECT i.id, nextval('counted') FROM items i JOIN parts p ON p.label = i.name FOR UPDATE OF i",
        "SELECT i.id FROM items i JOIN parts p ON p.label = i.name WHERE random() < 0.5 FOR UPDATE OF i",
        "SELECT k.a FROM keyless k JOIN items i ON i.n = k.a FOR UPDATE OF k",
        "BEGIN; DECLARE c CURSOR FOR SELECT id FROM items FOR UPDATE",
        "EXPLAIN SELECT id FROM items LIMIT 1 FOR UPDATE",
        "EXPLAIN SELECT i.id FROM items i JOIN parts p ON p.label = i.name FOR UPDATE",
    ] {
        let reply = raw.simple(sql);
        assert_eq!(reply.code(), "0A000", "{sql}: {}", reply.text());
        assert!(!reply.error.unwrap().hint().is_empty(), "{sql}");
        raw.simple("ROLLBACK");
    }
    // Fetched in pieces, rows would be locked before they are fetched; a piece as large as the LIMIT is all of them.
    let pieces = |sql: &str, rows: u32| {
        [m::parse("", sql, &[]), m::bind("", "", &[], &[]), m::execute("", rows), m::sync()].concat()
    };
    let every = "SELECT id FROM items ORDER BY id FOR UPDATE";
    assert_eq!(raw.exchange(&pieces(every, 2), None).code(), "0A000");
    assert_eq!(raw.exchange(&pieces(every, 0), None).answers[0].rows.len(), 60);
    let limited = "SELECT id FROM items ORDER BY id LIMIT 4 FOR UPDATE";
    assert_eq!(raw.exchange(&pieces(limited, 2), None).code(), "0A000");
    assert_eq!(raw.exchange(&pieces(limited, 4), None).answers[0].rows.len(), 4);
    // On one shard that is Postgres's own business.
    let one = format!("SELECT id FROM items WHERE id = {} FOR UPDATE", world.id(1, 1));
    assert_eq!(raw.exchange(&pieces(&one, 1), None).answers[0].rows.len(), 1);
    let id = world.id(3, 0);
    raw.must(&format!("BEGIN; DECLARE c CURSOR FOR SELECT id, n FROM items WHERE id = {id} FOR UPDATE; FETCH c"));
    assert_eq!(locked(&world), [id]);
    raw.must("UPDATE items SET n = 9 WHERE CURRENT OF c; COMMIT");
    assert_eq!(raw.value(&format!("SELECT n FROM items WHERE id = {id}")), "9");
}

/// Two who lock rows of two shards in opposite order.
#[test]
fn a_circle_of_lockers_over_shards_is_broken() {
    let world = Sharded::create("locks_circle", "deadlock_timeout = \"300ms\"");
    let (a, b) = (world.id(0, 0), world.id(1, 0));
    let lock = |id: i32| format!("SELECT id FROM items WHERE id = {id} FOR UPDATE");
    let (mut old, mut young) = (world.connect(), world.connect());
    old.must(&format!("BEGIN; {}", lock(a)));
    young.must(&format!("BEGIN; {}", lock(b)));
    old.send(&m::query(&format!("SELECT id FROM items WHERE id IN ({a}, {b}) FOR UPDATE"))).unwrap();
    eventually(10, "it waits", || world.waiting(1) > 0);
    assert_eq!(young.simple(&lock(a)).code(), "40P01");
    young.must("ROLLBACK");
    let rows = old.read_to_ready().unwrap().into_iter().filter(|message| message.tag == b'D').count();
    assert_eq!(rows, 2);
    old.must("COMMIT");
}

/// Locks guard what is written elsewhere: they are kept until it is there to be seen.
#[test]
fn locks_are_given_back_with_the_writes_that_they_guard() {
    let world = Sharded::create("locks_guard", "");
    let (a, b) = (world.id(0, 0), world.id(1, 0));
    let mut raw = world.connect();
    raw.must(&format!("BEGIN; SELECT n FROM items WHERE id = {a} FOR UPDATE"));
    assert!(raw.must("EXPLAIN (ROUTE) COMMIT").text().contains("nothing was written"));
    raw.must(&format!("UPDATE items SET n = 1 WHERE id = {b}"));
    let commit = raw.must("EXPLAIN (ROUTE) COMMIT").text();
    assert!(commit.contains("no other shard wrote; then give back the locks on s0"), "{commit}");
    raw.must("COMMIT");
    // Also where a function takes them beside a table of the home shard.
    for lock in [
        "SELECT pg_advisory_xact_lock(1)",
        "SELECT pg_advisory_xact_lock(id) FROM plain",
        "SELECT id FROM plain WHERE pg_try_advisory_xact_lock(id) LIMIT 1",
        "SELECT plain.id FROM plain, pg_advisory_xact_lock(7)",
        "WITH l AS (SELECT pg_advisory_xact_lock_shared(id) FROM plain) SELECT count(*) FROM l",
    ] {
        raw.must(&format!("BEGIN; {lock}; UPDATE items SET n = 1 WHERE id = {b}"));
        let commit = raw.must("EXPLAIN (ROUTE) COMMIT").text();
        assert!(commit.contains("no other shard wrote; then give back the locks on s0"), "{lock}: {commit}");
        raw.must("COMMIT");
    }
    // A commit on one shard: whoever had the lock sees the row as the holder left it.
    let mut waits = Raw::connect(world.router.port, "postgres", &world.db.name).unwrap();
    waits.set_patience(Duration::from_secs(20));
    for n in 2..12 {
        raw.must(&format!(
            "BEGIN; SELECT n FROM items WHERE id = {a} FOR UPDATE; UPDATE items SET n = {n} WHERE id = {b}"
        ));
        waits.send(&m::query(&format!("BEGIN; SELECT n FROM items WHERE id = {a} FOR UPDATE"))).unwrap();
        eventually(10, "it waits", || world.waiting(0) > 0);
        raw.must("COMMIT");
        waits.read_to_ready().unwrap();
        assert_eq!(waits.value(&format!("SELECT n FROM items WHERE id = {b} FOR UPDATE")), n.to_string());
        waits.must("COMMIT");
    }
}

/// REFRESH keeps a connection for its client only where what it runs can leave locks behind.
#[test]
fn a_refresh_that_locks_nothing_gives_its_connection_back() {
    let world = Sharded::create("refreshpin", "default_pool_size = 1\nquery_wait_timeout = \"500ms\"");
    let (mut raw, mut other) = (world.connect(), world.connect());
    raw.must("CREATE TABLE kept (n int)");
    raw.must("CREATE MATERIALIZED VIEW counted AS SELECT count(*) AS n, md5(count(*)::text) AS mark FROM kept");
    raw.must("CREATE VIEW between AS SELECT n FROM counted");
    raw.must("CREATE MATERIALIZED VIEW again AS SELECT n + 1 AS n FROM between");
    raw.must("INSERT INTO kept VALUES (1), (2)");
    for view in ["counted", "again"] {
        raw.must(&format!("REFRESH MATERIALIZED VIEW {view}"));
        assert_eq!(other.simple("SELECT count(*) FROM kept").code(), "", "{view}");
    }
    assert_eq!([other.value("SELECT n FROM counted"), other.value("SELECT n FROM again")], ["2", "3"]);
    raw.must("CREATE VIEW locks AS SELECT pg_advisory_lock(77)::text AS locked");
    raw.must("CREATE MATERIALIZED VIEW locking AS SELECT locked FROM locks WITH NO DATA");
    raw.must("REFRESH MATERIALIZED VIEW locking");
    assert_eq!(other.simple("SELECT count(*) FROM kept").code(), "53300", "it holds a lock");
    drop(raw);
    eventually(10, "the lock is gone", || other.simple("SELECT count(*) FROM kept").code().is_empty());
}

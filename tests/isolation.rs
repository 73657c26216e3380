//! What docs/ISOLATION.md says of transactions over several shards: each anomaly that remains, shown; and what does hold.

#![allow(clippy::unwrap_used)]

mod support;

use std::sync::mpsc::channel;
use std::time::Duration;

use support::raw::Raw;
use support::relay::{Relay, Then, When};
use support::sharded::config;
use support::{Router, Sharded};

/// A row on shard 0 and one on shard 1, with 100 each.
fn two_accounts(world: &Sharded) -> (i32, i32) {
    let (a, b) = (world.id(0, 0), world.id(1, 0));
    world.connect().must(&format!("UPDATE items SET n = 100 WHERE id IN ({a}, {b})"));
    (a, b)
}

fn read(raw: &mut Raw, id: i32) -> i32 {
    raw.value(&format!("SELECT n FROM items WHERE id = {id}")).parse().unwrap()
}

fn total(raw: &mut Raw) -> i32 {
    raw.value("SELECT sum(n) FROM items").parse().unwrap()
}

fn transfer(a: i32, b: i32) -> String {
    format!("UPDATE items SET n = n - 10 WHERE id = {a}; UPDATE items SET n = n + 10 WHERE id = {b}")
}

/// Each shard commits at its own moment: a read that comes between two of them sees a part.
#[test]
fn a_read_may_see_a_part_of_a_commit_until_it_is_over() {
    let world = Sharded::create("torn", "");
    let (a, b) = two_accounts(&world);
    let relays: Vec<Relay> = world.db.ports().into_iter().map(Relay::start).collect();
    let ports: Vec<u16> = relays.iter().map(|relay| relay.port).collect();
    let through = Router::start(&config(&world.db.name, &ports, "server_tls_sslmode = \"disable\"", ""));
    let (mut reader, (seen, hears)) = (world.connect(), channel());
    let look = move || seen.send((total(&mut reader), read(&mut reader, a), read(&mut reader, b))).unwrap();
    // The first shard that was written has committed; the second one has not been told yet.
    let sprung = relays[1].set("COMMIT PREPARED", When::Before, Then::Pass, look);
    let mut writer = through.connect(&world.db.name);
    writer.must("BEGIN");
    writer.must(&transfer(a, b));
    writer.must("COMMIT");
    sprung.recv_timeout(Duration::from_secs(20)).unwrap();
    assert_eq!(hears.recv().unwrap(), (190, 90, 100), "in between");
    // Who was told of the commit finds all of it, through whatever router.
    for router in [&world.router, &through] {
        let mut raw = router.connect(&world.db.name);
        assert_eq!((total(&mut raw), read(&mut raw, a), read(&mut raw, b)), (200, 90, 110));
    }
}

/// A lock on the shard that commits first is free before the others have committed: who gets it, and only reads there, reads what was before.
#[test]
fn a_lock_may_be_free_before_all_that_it_guards_is_committed() {
    let world = Sharded::create("guarded", "");
    let (a, b) = two_accounts(&world);
    let relays: Vec<Relay> = world.db.ports().into_iter().map(Relay::start).collect();
    let ports: Vec<u16> = relays.iter().map(|relay| relay.port).collect();
    let through = Router::start(&config(&world.db.name, &ports, "server_tls_sslmode = \"disable\"", ""));
    const LOCK: &str = "BEGIN; SELECT pg_advisory_xact_lock(42)";
    let (mut reader, mut listener, (seen, hears)) = (world.connect(), world.connect(), channel());
    listener.must("LISTEN changes");
    let look = move || {
        // It does not wait: the shard that the lock is on has committed.
        reader.must(LOCK);
        let plainly = read(&mut reader, b);
        let told = listener.read().is_ok_and(|message| message.tag == b'A');
        let told = (told, read(&mut listener, b));
        reader.must("SET LOCAL lock_timeout = '200ms'");
        let locking = reader.simple(&format!("SELECT n FROM items WHERE id = {b} FOR SHARE"));
        seen.send((plainly, told, locking.code().to_owned())).unwrap();
    };
    let sprung = relays[1].set("COMMIT PREPARED", When::Before, Then::Pass, look);
    let mut writer = through.connect(&world.db.name);
    writer.must(LOCK);
    writer.must(&format!("NOTIFY changes; {}", transfer(a, b)));
    writer.must("COMMIT");
    sprung.recv_timeout(Duration::from_secs(20)).unwrap();
    // The way out: what the lock guards is read with a lock of its own, which waits for the commit.
    assert_eq!(hears.recv().unwrap(), (100, (true, 100), "55P03".to_owned()));
    let mut reader = world.connect();
    reader.must(LOCK);
    assert_eq!(reader.value(&format!("SELECT n FROM items WHERE id = {b} FOR SHARE")), "110");
    reader.must("COMMIT");
}

/// A lock on a shard that the transaction does not write is kept until all that it guards is committed: whoever gets it sees that, without
/// locking what it reads.
#[test]
fn a_lock_on_a_shard_that_is_not_written_is_free_behind_all_commits() {
    let world = Sharded::create("guards", "");
    let (b, c) = (world.id(1, 0), world.id(2, 0));
    let relays: Vec<Relay> = world.db.ports().into_iter().map(Relay::start).collect();
    let ports: Vec<u16> = relays.iter().map(|relay| relay.port).collect();
    let through = Router::start(&config(&world.db.name, &ports, "server_tls_sslmode = \"disable\"", ""));
    let mut writer = through.connect(&world.db.name);
    let mut n = 0;
    for lock in [
        "SELECT pg_advisory_xact_lock(42)",
        "SELECT body FROM plain FOR UPDATE",
        "SELECT title FROM places FOR UPDATE",
        "LOCK TABLE plain IN EXCLUSIVE MODE",
    ] {
        for (shards, level) in [(&[b][..], "READ COMMITTED"), (&[b, c], "READ COMMITTED"), (&[b], "SERIALIZABLE")] {
            n += 1;
            let (mut other, (seen, hears)) = (world.connect(), channel());
            let look = move || {
                other.must("BEGIN; SET LOCAL lock_timeout = '200ms'");
                seen.send(other.simple(lock).code().to_owned()).unwrap();
            };
            let sprung = relays[1].set("COMMIT", When::Before, Then::Pass, look);
            writer.must(&format!("BEGIN ISOLATION LEVEL {level}"));
            writer.must(lock);
            for id in shards {
                writer.must(&format!("UPDATE items SET n = {n} WHERE id = {id}"));
            }
            let route = writer.must("EXPLAIN (ROUTE) COMMIT").text();
            assert_eq!(route.contains("then give back the locks on s0"), level != "SERIALIZABLE", "{route}");
            // Also where it is what transactions begin with.
            let mut by_default = world.connect();
            by_default.must(&format!("SET default_transaction_isolation = '{level}'"));
            for (begin, is) in [("BEGIN", level == "SERIALIZABLE"), ("BEGIN ISOLATION LEVEL REPEATABLE READ", false)] {
                by_default.must(begin);
                by_default.must("SELECT pg_advisory_xact_lock(4711)");
                by_default.must(&format!("UPDATE items SET n = n WHERE id = {}", world.id(3, 1)));
                let route = by_default.must("EXPLAIN (ROUTE) COMMIT").text();
                assert_eq!(route.contains("then give back the locks on s0"), !is, "{begin}: {route}");
                by_default.must("ROLLBACK");
            }
            writer.must("COMMIT");
            sprung.recv_timeout(Duration::from_secs(20)).unwrap();
            assert_eq!(hears.recv().unwrap(), "55P03", "{lock}, {shards:?}, {level}");
            let mut other = world.connect();
            other.must("BEGIN; SET LOCAL lock_timeout = '5s'");
            other.must(lock);
            shards.iter().for_each(|id| assert_eq!(read(&mut other, *id), n, "{lock}"));
            other.must("COMMIT");
        }
    }
    assert_eq!(world.prepared(), Vec::<String>::new());
}

/// A shard that has but locked, and is lost before the end, has the transaction fail: others may have got its lock.
#[test]
fn what_is_guarded_by_a_lock_that_is_lost_is_not_committed() {
    let world = Sharded::create("guardlost", "");
    let b = world.id(1, 0);
    let relays: Vec<Relay> = world.db.ports().into_iter().map(Relay::start).collect();
    let ports: Vec<u16> = relays.iter().map(|relay| relay.port).collect();
    let through = Router::start(&config(&world.db.name, &ports, "server_tls_sslmode = \"disable\"", ""));
    let mut writer = through.connect(&world.db.name);
    for lock in ["SELECT pg_advisory_xact_lock(42)", "SELECT body FROM plain FOR UPDATE"] {
        writer.must("BEGIN");
        writer.must(lock);
        writer.must(&format!("UPDATE items SET n = 999 WHERE id = {b}"));
        let sprung = relays[0].set("SHOW transaction_isolation", When::Before, Then::Cut, || ());
        assert_eq!(writer.simple("COMMIT").code(), "40000", "{lock}");
        sprung.recv_timeout(Duration::from_secs(20)).unwrap();
        assert_ne!(read(&mut writer, b), 999, "{lock}");
    }
}

/// Of shards that have written, that which came first gives its locks back last.
#[test]
fn what_is_locked_first_is_free_last() {
    let world = Sharded::create("reverse", "");
    let (b, c) = (world.id(1, 0), world.id(2, 0));
    let relays: Vec<Relay> = world.db.ports().into_iter().map(Relay::start).collect();
    let ports: Vec<u16> = relays.iter().map(|relay| relay.port).collect();
    let through = Router::start(&config(&world.db.name, &ports, "server_tls_sslmode = \"disable\"", ""));
    let mut writer = through.connect(&world.db.name);
    for (n, (first, second)) in [(b, c), (c, b)].into_iter().enumerate() {
        let n = i32::try_from(n).unwrap() + 700;
        let (mut other, (seen, hears)) = (world.connect(), channel());
        let look = move || {
            other.must("BEGIN; SET LOCAL lock_timeout = '200ms'");
            let code = other.simple(&format!("SELECT n FROM items WHERE id = {first} FOR UPDATE")).code().to_owned();
            other.must("ROLLBACK");
            seen.send((code, read(&mut other, second))).unwrap();
        };
        let at = if first == b { 1 } else { 2 };
        let sprung = relays[at].set("COMMIT PREPARED", When::Before, Then::Pass, look);
        writer.must(&format!("BEGIN; SELECT n FROM items WHERE id = {first} FOR UPDATE"));
        writer.must(&format!(
            "UPDATE items SET n = {n} WHERE id = {second}; UPDATE items SET n = {n} WHERE id = {first}"
        ));
        writer.must("COMMIT");
        sprung.recv_timeout(Duration::from_secs(20)).unwrap();
        assert_eq!(hears.recv().unwrap(), ("55P03".to_owned(), n));
    }
}

/// A transaction has one snapshot on each shard, taken when it first goes there.
#[test]
fn a_snapshot_begins_on_each_shard_with_its_first_statement() {
    let world = Sharded::create("snapshots", "");
    let (a, b) = two_accounts(&world);
    let (mut reader, mut writer) = (world.connect(), world.connect());
    reader.must("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
    assert_eq!(read(&mut reader, a), 100);
    writer.must(&transfer(a, b));
    assert_eq!(read(&mut reader, b), 110, "shard 1 is asked for the first time: its snapshot is of now");
    assert_eq!(read(&mut reader, a), 100, "and that of shard 0 is of before");
    // From here on nothing moves.
    writer.must(&transfer(a, b));
    assert_eq!((read(&mut reader, a), read(&mut reader, b)), (100, 110));
    reader.must("COMMIT");
    // The way out: a first statement that goes to all shards. What is committed behind it is not seen on any.
    reader.must("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
    assert_eq!(total(&mut reader), 200);
    writer.must(&transfer(a, b));
    assert_eq!((read(&mut reader, a), read(&mut reader, b), total(&mut reader)), (80, 120, 200));
    reader.must("COMMIT");
}

/// Two doctors on call, each on a shard of its own; each goes home because the other one stays.
#[test]
fn serializable_transactions_over_shards_may_skew() {
    let world = Sharded::create("skew", "");
    let (a, b) = two_accounts(&world);
    let c = world.id(0, 1);
    world.connect().must(&format!("UPDATE items SET n = 100 WHERE id = {c}"));
    let run = |x: i32, y: i32| {
        let (mut one, mut other) = (world.connect(), world.connect());
        for (raw, (mine, theirs)) in [(&mut one, (x, y)), (&mut other, (y, x))] {
            raw.must("BEGIN ISOLATION LEVEL SERIALIZABLE");
            assert_eq!(read(raw, theirs), 100);
            raw.must(&format!("UPDATE items SET n = 0 WHERE id = {mine}"));
        }
        (one.simple("COMMIT").code().to_owned(), other.simple("COMMIT").code().to_owned())
    };
    // On one shard Postgres finds the circle.
    assert_eq!(run(a, c), (String::new(), "40001".to_owned()));
    world.connect().must(&format!("UPDATE items SET n = 100 WHERE id IN ({a}, {b})"));
    // Of two shards each knows half of it.
    assert_eq!(run(a, b), (String::new(), String::new()));
    let mut raw = world.connect();
    assert_eq!((read(&mut raw, a), read(&mut raw, b)), (0, 0), "nobody is on call");
    // The way out: what is relied on is locked.
    raw.must(&format!("UPDATE items SET n = 100 WHERE id IN ({a}, {b})"));
    let mut other = world.connect();
    raw.must(&format!("BEGIN; SELECT n FROM items WHERE id = {b} FOR SHARE"));
    raw.must(&format!("UPDATE items SET n = 0 WHERE id = {a}"));
    other.must("BEGIN; SET LOCAL lock_timeout = '200ms'");
    assert_eq!(other.simple(&format!("SELECT n FROM items WHERE id = {a} FOR SHARE")).code(), "55P03");
    other.must("ROLLBACK");
    raw.must("COMMIT");
}

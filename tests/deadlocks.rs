//! Deadlocks over shards, in which each Postgres sees only somebody who waits: one of the circle is cancelled, the others go on.

#![allow(clippy::unwrap_used)]

mod support;

use std::time::{Duration, Instant};

use support::raw::{Raw, Report, Value, message as m};
use support::relay::{Relay, Then, When};
use support::sharded::config;
use support::{Router, Sharded, eventually};

const SOON: &str = "deadlock_timeout = \"300ms\"";

fn set(world: &Sharded, shard: usize, n: i32) -> String {
    format!("UPDATE items SET n = {n} WHERE id = {}", world.id(shard, 0))
}

/// Sends without waiting for the answer; waits until it stands in a queue on that shard.
fn send_and_wait(world: &Sharded, raw: &mut Raw, sql: &str, shard: usize) {
    let before = world.waiting(shard);
    raw.send(&m::query(sql)).unwrap();
    eventually(10, "it waits for a lock", || world.waiting(shard) > before);
}

fn answer(raw: &mut Raw) -> (Option<Report>, u8) {
    let messages = raw.read_to_ready().unwrap();
    let error = messages.iter().find(|message| message.tag == b'E').map(|message| message.report());
    (error, messages.last().unwrap().body[0])
}

#[track_caller]
fn is_deadlock(error: &Report, lines: &[&str]) {
    assert_eq!((error.code(), error.message()), ("40P01", "deadlock detected"), "{error}");
    let detail = error.0.get(&'D').cloned().unwrap_or_default();
    assert_eq!(detail.lines().count(), lines.len(), "{detail}");
    for (line, part) in detail.lines().zip(lines) {
        assert!(
            line.starts_with("Process ") && line.contains(part) && line.contains("; blocked by process "),
            "{detail}"
        );
    }
}

#[test]
fn two_blocks_that_write_two_shards_in_opposite_order() {
    let world = Sharded::create("two", SOON);
    let (mut old, mut young) = (world.connect(), world.connect());
    old.must(&format!("BEGIN; {}", set(&world, 0, 1)));
    young.must(&format!("BEGIN; {}", set(&world, 1, 2)));
    send_and_wait(&world, &mut old, &set(&world, 1, 1), 1);
    let start = Instant::now();
    young.send(&m::query(&set(&world, 0, 2))).unwrap();
    let (error, status) = answer(&mut young);
    is_deadlock(
        &error.unwrap(),
        &["on shard s0 waits for ShareLock on transaction ", "on shard s1 waits for ShareLock"],
    );
    assert_eq!(status, b'E');
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    // The other goes on though the one that failed has said nothing yet.
    assert_eq!(answer(&mut old), (None, b'T'));
    assert_eq!(young.simple("SELECT 1").code(), "25P02");
    old.must("COMMIT");
    assert_eq!(young.must("COMMIT").answers[0].tag.as_deref(), Some("ROLLBACK"));
    assert_eq!(young.value("SELECT sum(n) FROM items"), "2", "of one transaction all, of the other nothing");
    young.must(&format!("BEGIN; {}; {}; COMMIT", set(&world, 0, 7), set(&world, 1, 7)));
    let (_, metrics) = world.router.http("/metrics");
    assert!(metrics.contains("pgloom_deadlocks_total 1"), "{metrics}");
    assert!(world.router.log_text().contains("deadlock over shards"));
}

#[test]
fn three_in_a_circle_lose_the_youngest() {
    let world = Sharded::create("three", SOON);
    let mut all: Vec<Raw> = (0..3).map(|_| world.connect()).collect();
    for (shard, raw) in all.iter_mut().enumerate() {
        raw.must(&format!("BEGIN; {}", set(&world, shard, 1)));
    }
    for (shard, raw) in all.iter_mut().enumerate().take(2) {
        send_and_wait(&world, raw, &set(&world, shard + 1, 1), shard + 1);
    }
    all[2].send(&m::query(&set(&world, 0, 1))).unwrap();
    let (error, status) = answer(&mut all[2]);
    is_deadlock(&error.unwrap(), &["shard s0", "shard s1", "shard s2"]);
    assert_eq!(status, b'E');
    // The one that waited for it, and then the one that waited for that.
    assert_eq!(answer(&mut all[1]), (None, b'T'));
    all[1].must("COMMIT");
    assert_eq!(answer(&mut all[0]), (None, b'T'));
    all[0].must("COMMIT");
    all[2].must("ROLLBACK");
    assert_eq!(world.on_each("SELECT sum(n) FROM items"), ["1", "1", "1", "0"]);
}

#[test]
fn statements_over_all_shards_without_a_block() {
    // What is alone would be run again: tests/again.rs.
    let world = Sharded::create("all", &format!("{SOON}\ndeadlock_retries = 0"));
    let mut block = world.connect();
    block.must(&format!("BEGIN; {}", set(&world, 3, 1)));
    // It writes the shards 0, 1 and 2 and waits on shard 3.
    let mut alone = world.connect();
    send_and_wait(&world, &mut alone, "UPDATE items SET n = n + 10", 3);
    block.send(&m::query(&set(&world, 0, 1))).unwrap();
    let (error, status) = answer(&mut alone);
    is_deadlock(&error.unwrap(), &["shard s3", "shard s0"]);
    assert_eq!(status, b'I');
    assert_eq!(answer(&mut block), (None, b'T'));
    block.must("COMMIT");
    assert_eq!(world.on_each("SELECT sum(n) FROM items"), ["1", "0", "0", "1"]);
    // And where the younger one is in a pipeline.
    let mut old = world.connect();
    old.must(&format!("BEGIN; {}", set(&world, 1, 5)));
    block.must(&format!("BEGIN; {}", set(&world, 0, 5)));
    send_and_wait(&world, &mut old, &set(&world, 0, 6), 0);
    let update = |shard: usize| {
        let values = [Value::text(&world.id(shard, 0).to_string())];
        let sql = "UPDATE items SET n = 3 WHERE id = $1";
        [m::parse("", sql, &[23]), m::bind("", "", &values, &[]), m::execute("", 0)].concat()
    };
    let reply = block.exchange(&[update(2), update(1), update(3), m::sync()].concat(), None);
    is_deadlock(reply.error.as_ref().unwrap(), &["shard s1", "shard s0"]);
    assert_eq!((reply.answers.len(), reply.status), (1, b'E'), "what came before it was answered");
    assert_eq!(answer(&mut old), (None, b'T'));
}

#[test]
fn a_victim_goes_back_to_its_savepoint() {
    let world = Sharded::create("savepoint", SOON);
    let (mut old, mut young) = (world.connect(), world.connect());
    old.must(&format!("BEGIN; {}", set(&world, 0, 1)));
    young.must(&format!("BEGIN; {}", set(&world, 2, 2)));
    young.must("SAVEPOINT a");
    young.must(&set(&world, 1, 2));
    send_and_wait(&world, &mut old, &set(&world, 1, 1), 1);
    young.send(&m::query(&set(&world, 0, 2))).unwrap();
    let (error, status) = answer(&mut young);
    assert_eq!((error.unwrap().code(), status), ("40P01", b'E'));
    assert_eq!(answer(&mut old), (None, b'T'), "what came behind the savepoint is given back");
    assert_eq!(young.must("ROLLBACK TO a").status, b'T');
    young.must(&set(&world, 3, 2));
    young.must("COMMIT");
    old.must("COMMIT");
    assert_eq!(world.on_each("SELECT sum(n) FROM items"), ["1", "1", "2", "2"]);
}

#[test]
fn an_error_on_one_shard_gives_back_the_locks_on_all() {
    let world = Sharded::create("locks", SOON);
    let (mut fails, mut other) = (world.connect(), world.connect());
    fails.must(&format!("BEGIN; {}; {}", set(&world, 0, 1), set(&world, 1, 1)));
    send_and_wait(&world, &mut other, &set(&world, 0, 2), 0);
    assert_eq!(fails.simple(&set(&world, 1, -1)).code(), "23514");
    assert_eq!(answer(&mut other), (None, b'I'), "nobody waits for a transaction that has failed");
    assert_eq!(fails.simple("SELECT 1").code(), "25P02");
    assert_eq!(fails.simple("SAVEPOINT x").code(), "25P02");
    assert_eq!(fails.must("ROLLBACK").status, b'I');
    // In a pipeline as well.
    let broken = [m::parse("", "SELECT 1/0", &[]), m::bind("", "", &[], &[]), m::execute("", 0), m::sync()].concat();
    fails.must(&format!("BEGIN; {}; {}", set(&world, 0, 1), set(&world, 1, 1)));
    send_and_wait(&world, &mut other, &set(&world, 1, 2), 1);
    let reply = fails.exchange(&broken, None);
    assert_eq!((reply.code(), reply.status), ("22012", b'E'));
    assert_eq!(answer(&mut other), (None, b'I'));
    fails.must("ROLLBACK");
    assert_eq!(world.on_each("SELECT sum(n) FROM items"), ["2", "2", "0", "0"]);
}

#[test]
fn a_portal_from_before_a_savepoint_outlives_an_error_behind_it() {
    let world = Sharded::create("outlives", SOON);
    let mut raw = world.connect();
    raw.must(&format!("BEGIN; {}; {}", set(&world, 0, 1), set(&world, 1, 1)));
    let many = "SELECT id, repeat('x', 100000) FROM items ORDER BY id";
    let portal = [m::parse("", many, &[]), m::bind("p", "", &[], &[]), m::execute("p", 2), m::sync()].concat();
    assert_eq!(raw.exchange(&portal, None).answers[0].rows.len(), 2);
    raw.must("SAVEPOINT a");
    let reply = raw.simple(&set(&world, 1, -1));
    assert_eq!((reply.code(), reply.status), ("23514", b'E'));
    raw.must("ROLLBACK TO a");
    let rest = raw.exchange(&[m::execute("p", 0), m::sync()].concat(), None);
    assert_eq!((rest.code(), rest.answers[0].rows.len(), rest.status), ("", 58, b'T'));
    raw.must("COMMIT");
    assert_eq!(world.on_each("SELECT sum(n) FROM items"), ["1", "1", "0", "0"]);
}

#[test]
fn a_circle_through_clients_of_two_routers() {
    let world = Sharded::create("routers", SOON);
    let other = Router::start(&config(&world.db.name, &world.db.ports(), SOON, ""));
    for turn in 0..2 {
        let (mut here, mut there) = (world.connect(), other.connect(&world.db.name));
        // Once the one is the younger, once the other.
        let (old, young) = if turn == 0 { (&mut here, &mut there) } else { (&mut there, &mut here) };
        old.must(&format!("BEGIN; {}", set(&world, 0, 1)));
        young.must(&format!("BEGIN; {}", set(&world, 1, 2)));
        send_and_wait(&world, old, &set(&world, 1, 1), 1);
        young.send(&m::query(&set(&world, 0, 2))).unwrap();
        let (error, status) = answer(young);
        is_deadlock(&error.unwrap(), &["shard s0", "shard s1"]);
        assert_eq!(status, b'E');
        assert_eq!(answer(old), (None, b'T'));
        old.must("ROLLBACK");
        young.must("ROLLBACK");
    }
    let noted = "SELECT count(*) FROM pgloom.waiting";
    eventually(10, "nobody waits, and nothing is noted", || world.db.shard(0).value(noted) == "0");
}

#[test]
fn a_circle_through_somebody_past_the_routers() {
    let world = Sharded::create("direct", SOON);
    let (mut old, mut young, mut direct) = (world.connect(), world.connect(), world.db.shard(0));
    old.must(&format!("BEGIN; {}", set(&world, 0, 1)));
    young.must(&format!("BEGIN; {}", set(&world, 1, 2)));
    direct.must(&format!("BEGIN; UPDATE items SET n = 3 WHERE id = {}", world.id(0, 1)));
    send_and_wait(&world, &mut direct, &set(&world, 0, 3), 0);
    send_and_wait(&world, &mut old, &set(&world, 1, 1), 1);
    young.send(&m::query(&format!("UPDATE items SET n = 2 WHERE id = {}", world.id(0, 1)))).unwrap();
    let (error, _) = answer(&mut young);
    is_deadlock(&error.unwrap(), &["shard s0", "shard s0", "shard s1"]);
    assert_eq!(answer(&mut old), (None, b'T'));
    old.must("COMMIT");
    assert_eq!(answer(&mut direct), (None, b'T'));
}

#[test]
fn a_commit_that_waits_for_a_lock_in_a_circle() {
    let world = Sharded::create("commits", SOON);
    for shard in 0..4 {
        // A deferred check that takes a lock at PREPARE.
        world.db.shard(shard).must(
            "CREATE FUNCTION takes_lock() RETURNS trigger LANGUAGE plpgsql AS \
             'BEGIN IF NEW.n = 777 THEN PERFORM FROM public.items WHERE n = 1 FOR UPDATE; END IF; RETURN NULL; END'; \
             CREATE CONSTRAINT TRIGGER later AFTER UPDATE ON items DEFERRABLE INITIALLY DEFERRED FOR EACH ROW \
             EXECUTE FUNCTION takes_lock()",
        );
    }
    let (mut old, mut young) = (world.connect(), world.connect());
    let row =
        |shard: usize, nth: usize, n: i32| format!("UPDATE items SET n = {n} WHERE id = {}", world.id(shard, nth));
    world.db.shard(1).must(&row(1, 1, 1));
    old.must(&format!("BEGIN; SELECT n FROM items WHERE id = {} FOR UPDATE", world.id(1, 1)));
    // Anchor on shard 2, which comes last; prepared at once on shard 3; on shard 1 it waits for the row that the other has.
    young.must(&format!("BEGIN; {}; {}; {}", row(1, 0, 777), row(3, 0, 2), row(2, 0, 2)));
    send_and_wait(&world, &mut young, "COMMIT", 1);
    eventually(10, "shard 3 is prepared", || world.prepared().len() == 1);
    send_and_wait(&world, &mut old, &row(3, 0, 9), 3);
    let (error, status) = answer(&mut young);
    let error = error.unwrap();
    assert_eq!((error.code(), status), ("40P01", b'I'), "{error}");
    assert!(error.to_string().contains("blocked by prepared transaction pgloom:"), "{error}");
    assert_eq!(answer(&mut old), (None, b'T'));
    old.must("COMMIT");
    assert_eq!(world.prepared(), Vec::<String>::new());
    assert_eq!(world.on_each("SELECT sum(n) FROM items"), ["0", "1", "0", "9"]);
}

#[test]
fn nobody_is_asked_while_nobody_waits() {
    let world = Sharded::create("quiet", SOON);
    let relays: Vec<Relay> = world.db.ports().into_iter().map(Relay::start).collect();
    let ports: Vec<u16> = relays.iter().map(|relay| relay.port).collect();
    let general = format!("server_tls_sslmode = \"disable\"\n{SOON}");
    let router = Router::start(&config(&world.db.name, &ports, &general, ""));
    let asked: Vec<_> = relays.iter().map(|relay| relay.set("SELECT w.pid", When::Before, Then::Pass, || ())).collect();
    let mut one = router.connect(&world.db.name);
    let mut other = router.connect(&world.db.name);
    // A long statement on one shard, which waits for a lock even; and a block over two shards that does nothing.
    one.must(&format!("BEGIN; {}", set(&world, 0, 1)));
    one.must(&set(&world, 1, 1));
    send_and_wait(&world, &mut other, &set(&world, 0, 2), 0);
    std::thread::sleep(Duration::from_secs(2));
    assert!(asked.iter().all(|asked| asked.try_recv().is_err()));
    one.must("ROLLBACK");
    assert_eq!(answer(&mut other), (None, b'I'));
    // A block over two shards that waits: these two are asked.
    other.must(&format!("BEGIN; {}", set(&world, 0, 1)));
    one.must(&format!("BEGIN; {}", set(&world, 1, 1)));
    send_and_wait(&world, &mut one, &set(&world, 0, 1), 0);
    for shard in [0, 1] {
        asked[shard].recv_timeout(Duration::from_secs(5)).unwrap();
    }
    assert!(asked[2].try_recv().is_err() && asked[3].try_recv().is_err());
    other.must("ROLLBACK");
    assert_eq!(answer(&mut one), (None, b'T'));
}

#[test]
fn without_a_time_nothing_is_looked_for() {
    let world = Sharded::create("never", "deadlock_timeout = 0");
    let (mut old, mut young) = (world.connect(), world.connect());
    old.must(&format!("BEGIN; {}", set(&world, 0, 1)));
    young.must(&format!("BEGIN; {}", set(&world, 1, 2)));
    send_and_wait(&world, &mut old, &set(&world, 1, 1), 1);
    young.must("SET LOCAL statement_timeout TO '2s'");
    assert_eq!(young.simple(&set(&world, 0, 2)).code(), "57014");
    assert_eq!(answer(&mut old), (None, b'T'));
}

/// Waits until so many clients wait for a connection of the pool.
fn until_queued(world: &Sharded, count: usize) {
    let mut console = world.connect();
    eventually(10, "they wait for connections", || {
        let pools = console.named("SHOW pgloom.pools");
        let waiting = pools.iter().filter(|pool| pool["database"] == world.db.name);
        waiting.map(|pool| pool["cl_waiting"].parse::<usize>().unwrap()).max() >= Some(count)
    });
}

#[test]
fn a_circle_through_the_queue_of_a_pool() {
    let world = Sharded::create("queue", &format!("{SOON}\ndefault_pool_size = 2\nquery_wait_timeout = \"60s\""));
    let start = Instant::now();
    // The first has a row on shard 0 and wants to go to shard 1, whose connections two others have: one waits for that row, the other
    // for a connection to shard 0.
    let mut all: Vec<Raw> = (0..3).map(|_| world.connect()).collect();
    all[0].must(&format!("BEGIN; {}", set(&world, 0, 1)));
    for (nth, raw) in all.iter_mut().enumerate().skip(1) {
        raw.must(&format!("BEGIN; UPDATE items SET n = 1 WHERE id = {}", world.id(1, nth)));
    }
    send_and_wait(&world, &mut all[1], &set(&world, 0, 2), 0);
    // Somebody who holds nothing waits, too: its end would help nobody.
    let mut newcomer = world.connect();
    newcomer.send(&m::query(&format!("SELECT n FROM items WHERE id = {}", world.id(1, 3)))).unwrap();
    until_queued(&world, 1);
    all[2].send(&m::query(&set(&world, 0, 3))).unwrap();
    all[0].send(&m::query(&set(&world, 1, 1))).unwrap();
    let (error, status) = answer(&mut all[2]);
    let error = error.unwrap();
    assert_eq!((error.code(), error.message(), status), ("40P01", "deadlock detected", b'E'));
    let detail = error.0[&'D'].clone();
    let lines: Vec<&str> = detail.lines().collect();
    assert!(lines[0].contains("waits for a connection to shard s0; blocked by process "), "{detail}");
    assert!(lines[0].ends_with("and all others that the pool has, 2 in all."), "{detail}");
    // The connection of the one that failed is free only when its block ends.
    all[2].must("ROLLBACK");
    assert_eq!(answer(&mut all[0]), (None, b'T'));
    all[0].must("COMMIT");
    assert_eq!(answer(&mut all[1]), (None, b'T'));
    all[1].must("COMMIT");
    assert_eq!(answer(&mut newcomer), (None, b'I'));
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
    let (_, metrics) = world.router.http("/metrics");
    assert!(metrics.contains("pgloom_deadlocks_total 1"), "{metrics}");
}

#[test]
fn who_waits_for_a_connection_that_comes_free_is_no_victim() {
    let world = Sharded::create("comesfree", &format!("{SOON}\ndefault_pool_size = 2"));
    let mut all: Vec<Raw> = (0..3).map(|_| world.connect()).collect();
    all[0].must(&format!("BEGIN; {}", set(&world, 0, 1)));
    for (nth, raw) in all.iter_mut().enumerate().skip(1) {
        raw.must(&format!("BEGIN; UPDATE items SET n = 1 WHERE id = {}", world.id(1, nth)));
    }
    send_and_wait(&world, &mut all[1], &set(&world, 0, 2), 0);
    all[0].send(&m::query(&set(&world, 1, 1))).unwrap();
    until_queued(&world, 1);
    std::thread::sleep(Duration::from_secs(2));
    // The one that waits for nobody goes, and so do all.
    all[2].must("COMMIT");
    assert_eq!(answer(&mut all[0]), (None, b'T'));
    all[0].must("COMMIT");
    assert_eq!(answer(&mut all[1]), (None, b'T'));
    all[1].must("COMMIT");
    let (_, metrics) = world.router.http("/metrics");
    assert!(metrics.contains("pgloom_deadlocks_total 0"), "{metrics}");
}

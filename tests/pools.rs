//! Clients share server connections: fairly, and so that none of them ever sees what another one left.

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use support::raw::{Raw, Reply, message as m};
use support::{Sharded, eventually};

/// The server process that answers for this id.
fn server_pid(raw: &mut Raw, id: i32) -> String {
    raw.value(&format!("SELECT pg_backend_pid() FROM items WHERE id = {id}"))
}

/// Runs a named or unnamed statement with its Parse already done.
fn run_prepared(raw: &mut Raw, name: &str) -> Reply {
    raw.exchange(&[m::bind("", name, &[], &[]), m::execute("", 0), m::sync()].concat(), None)
}

#[test]
fn clients_beyond_the_pool_take_turns_and_share_its_connections() {
    let world = Sharded::create("turns", "default_pool_size = 2\nquery_wait_timeout = \"60s\"");
    let id = world.id(1, 0);
    let pids: BTreeSet<String> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..8)
            .map(|_| {
                let world = &world;
                scope.spawn(move || {
                    let mut raw = world.connect();
                    let sql = format!("SELECT pg_backend_pid(), pg_sleep(0.01) FROM items WHERE id = {id}");
                    (0..10).map(|_| raw.value(&sql)).collect::<Vec<_>>()
                })
            })
            .collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    });
    assert!(pids.len() <= 2, "{pids:?}");
}

#[test]
fn a_client_that_waits_too_long_is_told_so_and_goes_on_later() {
    let world = Sharded::create("waits", "default_pool_size = 1\nquery_wait_timeout = \"400ms\"");
    let id = world.id(1, 0);
    let (mut first, mut second) = (world.connect(), world.connect());
    first.must("BEGIN");
    first.must(&format!("SELECT * FROM items WHERE id = {id}"));
    let start = Instant::now();
    let refused = second.simple(&format!("SELECT n FROM items WHERE id = {id}"));
    let waited = start.elapsed();
    assert_eq!(refused.code(), "53300", "{refused:?}");
    assert_eq!(refused.error.as_ref().map(|e| e.message()), Some("query_wait_timeout"));
    assert_eq!(refused.status, b'I');
    assert!(waited >= Duration::from_millis(390) && waited < Duration::from_secs(10), "{waited:?}");
    // Other shards' pools are not touched, and the same client goes on as soon as there is room.
    assert_eq!(second.value(&format!("SELECT n FROM items WHERE id = {}", world.id(2, 0))), "0");
    first.must("COMMIT");
    assert_eq!(second.value(&format!("SELECT n FROM items WHERE id = {id}")), "0");
    // A wait that fails inside a block fails the block.
    first.must("BEGIN");
    first.must(&format!("SELECT * FROM items WHERE id = {id}"));
    second.must("BEGIN");
    let refused = second.simple(&format!("SELECT n FROM items WHERE id = {id}"));
    assert_eq!((refused.code(), refused.status), ("53300", b'E'));
    assert_eq!(second.must("ROLLBACK").status, b'I');
}

/// Who comes when enough others wait is told at once; the line goes on.
#[test]
fn a_line_that_is_long_enough_takes_nobody_more() {
    let world = Sharded::create("crowded", "default_pool_size = 1\npool_queue_size = 2\nquery_wait_timeout = \"60s\"");
    let sql = format!("SELECT n FROM items WHERE id = {}", world.id(1, 0));
    let mut holder = world.connect();
    holder.must("BEGIN");
    holder.must(&sql);
    let mut watch = world.connect();
    std::thread::scope(|scope| {
        let waiters: Vec<_> = (0..2)
            .map(|_| {
                let mut raw = world.connect();
                let sql = &sql;
                scope.spawn(move || raw.value(sql))
            })
            .collect();
        eventually(10, "two wait", || waiting(&mut watch, 1) == "2");
        let mut late = world.connect();
        let refused = late.simple(&sql);
        assert_eq!((refused.code(), refused.status), ("53300", b'I'), "{}", refused.text());
        let refused = late.extended("SELECT count(*) FROM items", &[], &[] as &[support::raw::Value], 0);
        assert_eq!(refused.code(), "53300", "{}", refused.text());
        // Other shards' lines are theirs.
        assert_eq!(late.value(&format!("SELECT n FROM items WHERE id = {}", world.id(2, 0))), "0");
        holder.must("COMMIT");
        waiters.into_iter().for_each(|waiter| assert_eq!(waiter.join().unwrap(), "0"));
        assert_eq!(late.value(&sql), "0");
    });
}

/// However many statements over all shards there are, those that need one shard find connections.
#[test]
fn statements_over_all_shards_leave_connections_to_those_of_one() {
    let world =
        Sharded::create("share", "default_pool_size = 4\nscatter_pool_share = 50\nquery_wait_timeout = \"60s\"");
    let point = format!("SELECT n FROM items WHERE id = {}", world.id(2, 0));
    let locks = world.lock(&[1]);
    let mut watch = world.connect();
    std::thread::scope(|scope| {
        let scatters: Vec<_> = (0..6)
            .map(|_| {
                let mut raw = world.connect();
                scope.spawn(move || raw.value("SELECT max(n) FROM items"))
            })
            .collect();
        eventually(10, "two are at work", || world.waiting(1) == 2);
        // Two of the four connections are left, and nobody stands in line for them.
        assert_eq!(waiting(&mut watch, 2), "0");
        assert_eq!(world.connect().value(&point), "0");
        // A transaction that goes on from shard to shard takes no share.
        let mut block = world.connect();
        block.must("BEGIN");
        assert_eq!(block.value(&point), "0");
        assert_eq!(
            block.value(&format!("SELECT n FROM items WHERE id IN ({}, {})", world.id(2, 0), world.id(3, 0))),
            "0"
        );
        block.must("COMMIT");
        drop(locks);
        scatters.into_iter().for_each(|scatter| assert_eq!(scatter.join().unwrap(), "0"));
    });
}

/// Clients that wait for a connection to a shard.
fn waiting(raw: &mut Raw, shard: usize) -> String {
    let pools = raw.named("SHOW pgloom.shard_pools");
    pools.iter().find(|pool| pool["shard"] == format!("s{shard}")).unwrap()["cl_waiting"].clone()
}

#[test]
fn a_transaction_goes_on_though_statements_wait_for_what_it_holds() {
    let world =
        Sharded::create("goeson", "default_pool_size = 1\nscatter_pool_share = 100\nquery_wait_timeout = \"20s\"");
    let (mut block, mut watch) = (world.connect(), world.connect());
    block.must("BEGIN");
    block.must(&format!("SELECT n FROM items WHERE id = {}", world.id(3, 0)));
    let every = "SELECT count(*) FROM items";
    let mut others: Vec<Raw> = (0..3)
        .map(|_| {
            let mut other = world.connect();
            other.send(&m::query(every)).unwrap();
            other
        })
        .collect();
    eventually(10, "three clients wait for the shard of the transaction", || waiting(&mut watch, 3) == "3");
    // They keep nobody from the other shards, the transaction least of all.
    let start = Instant::now();
    assert_eq!(block.value(every), "60");
    block.must("COMMIT");
    for other in &mut others {
        let rows = other.read_to_ready().unwrap().iter().filter(|message| message.tag == b'D').count();
        assert_eq!(rows, 1);
    }
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    assert_eq!(waiting(&mut watch, 3), "0");
}

#[test]
fn transactions_that_wait_for_each_other_are_told_of_the_deadlock() {
    let world = Sharded::create("circle", "default_pool_size = 1\nquery_wait_timeout = \"20s\"");
    let (mut up, mut down, mut watch) = (world.connect(), world.connect(), world.connect());
    let on = |shard: usize| format!("SELECT n FROM items WHERE id = {}", world.id(shard, 0));
    up.must("BEGIN");
    up.must(&on(1));
    down.must("BEGIN");
    down.must(&on(2));
    up.send(&m::query(&on(2))).unwrap();
    eventually(10, "the first waits for the second", || waiting(&mut watch, 2) == "1");
    let start = Instant::now();
    let refused = down.simple(&on(1));
    assert_eq!((refused.code(), refused.status), ("40P01", b'E'), "{refused:?}");
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    down.must("ROLLBACK");
    assert!(up.read_to_ready().unwrap().iter().all(|message| message.tag != b'E'));
    up.must("COMMIT");
    // Nothing is lost by it.
    assert_eq!(down.value("SELECT count(*) FROM items"), "60");
}

#[test]
fn transaction_mode_lends_a_connection_for_a_transaction() {
    let world = Sharded::create("lends", "default_pool_size = 2");
    let id = world.id(0, 0);
    let (mut first, mut second) = (world.connect(), world.connect());
    // Outside of a block the one warm connection serves whoever comes.
    assert_eq!(server_pid(&mut first, id), server_pid(&mut second, id));
    first.must("BEGIN");
    let held = server_pid(&mut first, id);
    assert_ne!(server_pid(&mut second, id), held);
    assert_eq!(server_pid(&mut first, id), held);
    first.must("COMMIT");
}

#[test]
fn session_mode_keeps_a_connection_until_the_client_leaves() {
    let world =
        Sharded::create("keeps", "default_pool_size = 2\npool_mode = \"session\"\nquery_wait_timeout = \"400ms\"");
    let id = world.id(0, 0);
    let mut first = world.connect();
    let mut second = world.connect();
    let pid = server_pid(&mut first, id);
    assert_ne!(server_pid(&mut second, id), pid);
    assert_eq!(server_pid(&mut first, id), pid);
    // What a session leaves behind is not met by the next one.
    first.must("CREATE TEMP TABLE mine (x int)");
    first.must("SET work_mem TO '7MB'");
    let mut third = world.connect();
    assert_eq!(third.simple(&format!("SELECT n FROM items WHERE id = {id}")).code(), "53300");
    first.send(&m::terminate()).unwrap();
    drop(first);
    eventually(10, "the connection comes free", || third.simple("SELECT 1 FROM plain").error.is_none());
    assert_eq!(third.value("SHOW work_mem"), "4MB");
    assert_eq!(third.simple("SELECT * FROM mine").code(), "42P01");
}

#[test]
fn prepared_statements_follow_the_client_to_any_connection() {
    let world = Sharded::create("follow", "default_pool_size = 2\nmax_prepared_statements = 2");
    let id = world.id(0, 0);
    let (mut raw, mut other) = (world.connect(), world.connect());
    // Five statements on connections that remember two.
    for at in 0..5 {
        let sql = format!("SELECT {at} + n FROM items WHERE id = {id}");
        let parsed = raw.exchange(&[m::parse(&format!("s{at}"), &sql, &[]), m::sync()].concat(), None);
        assert!(parsed.error.is_none(), "{parsed:?}");
    }
    for round in 0..3 {
        // The other client takes the warm connection, so that ours gets the other one.
        if round % 2 == 1 {
            other.must("BEGIN");
            server_pid(&mut other, id);
        }
        for at in (0..5).chain([3, 1]) {
            let reply = run_prepared(&mut raw, &format!("s{at}"));
            assert_eq!(reply.text(), at.to_string(), "round {round}");
        }
        if round % 2 == 1 {
            other.must("COMMIT");
        }
    }
    // The same name is another statement to another client.
    let parsed = other.exchange(&[m::parse("s0", "SELECT 'other'", &[]), m::sync()].concat(), None);
    assert!(parsed.error.is_none());
    assert_eq!(run_prepared(&mut other, "s0").text(), "other");
    assert_eq!(run_prepared(&mut raw, "s0").text(), "0");
    // The unnamed one lasts until the next Parse or simple Query, on whatever connection.
    let parsed =
        raw.exchange(&[m::parse("", &format!("SELECT n FROM items WHERE id = {id}"), &[]), m::sync()].concat(), None);
    assert!(parsed.error.is_none());
    other.must("BEGIN");
    server_pid(&mut other, id);
    assert_eq!(run_prepared(&mut raw, "").text(), "0");
    other.must("COMMIT");
    raw.must("SELECT 1");
    assert_eq!(run_prepared(&mut raw, "").code(), "26000");
    // The servers hold no more than they may.
    let held = world.on_each("SELECT max(c) FROM (SELECT 0 AS c) x");
    assert_eq!(held.len(), 4);
    other.must("BEGIN");
    server_pid(&mut other, id);
    other.must(
        "DO $$ BEGIN IF (SELECT count(*) FROM pg_prepared_statements) NOT IN (1, 2) THEN \
           RAISE EXCEPTION '% statements on one connection', (SELECT count(*) FROM pg_prepared_statements); END IF; END $$",
    );
    other.must("COMMIT");
    // Closed is closed, and DEALLOCATE knows the names of the protocol.
    raw.exchange(&[m::close(b'S', "s1"), m::sync()].concat(), None);
    assert_eq!(run_prepared(&mut raw, "s1").code(), "26000");
    raw.must("DEALLOCATE s2");
    assert_eq!(run_prepared(&mut raw, "s2").code(), "26000");
    raw.must("DEALLOCATE ALL");
    assert_eq!(run_prepared(&mut raw, "s3").code(), "26000");
}

#[test]
fn a_statement_that_the_server_refused_is_not_taken_for_prepared() {
    let world = Sharded::create("refused", "default_pool_size = 1");
    let mut raw = world.connect();
    let id = world.id(0, 0);
    let broken = format!("SELECT nothing FROM items WHERE id = {id}");
    for _ in 0..2 {
        let reply = raw.exchange(
            &[m::parse("p", &broken, &[]), m::bind("", "p", &[], &[]), m::execute("", 0), m::sync()].concat(),
            None,
        );
        assert_eq!(reply.code(), "42703");
    }
    // A good one in a batch that fails behind it is usable, on this connection too.
    let good = format!("SELECT n FROM items WHERE id = {id}");
    let reply = raw.exchange(
        &[m::parse("good", &good, &[]), m::parse("p2", &broken, &[]), m::bind("", "p2", &[], &[]), m::sync()].concat(),
        None,
    );
    assert_eq!(reply.code(), "42703");
    assert_eq!(run_prepared(&mut raw, "good").text(), "0");
    let mut other = world.connect();
    let reply = other.exchange(
        &[m::parse("mine", &good, &[]), m::bind("", "mine", &[], &[]), m::execute("", 0), m::sync()].concat(),
        None,
    );
    assert_eq!(reply.text(), "0", "{reply:?}");
}

/// The value of `work_mem` as the server of this shard sees it.
fn work_mem(raw: &mut Raw, id: i32) -> String {
    raw.value(&format!("SELECT current_setting('work_mem') FROM items WHERE id = {id}"))
}

#[test]
fn settings_follow_the_client_and_never_reach_another() {
    let world = Sharded::create("settings", "default_pool_size = 1");
    let (mut first, mut second) = (world.connect(), world.connect());
    let ids: Vec<i32> = (0..4).map(|shard| world.id(shard, 0)).collect();
    let on_all = |raw: &mut Raw, wanted: &str, when: &str| {
        for id in &ids {
            assert_eq!(work_mem(raw, *id), wanted, "{when}");
        }
    };
    on_all(&mut first, "4MB", "at the beginning");
    first.must("SET work_mem TO '5MB'");
    on_all(&mut first, "5MB", "after SET");
    on_all(&mut second, "4MB", "of another client");
    // An error leaves it, also on the connection where it happened.
    assert_eq!(first.simple(&format!("SELECT 1/n FROM items WHERE id = {}", ids[0])).code(), "22012");
    on_all(&mut second, "4MB", "of another client, after an error");
    on_all(&mut first, "5MB", "after an error");
    // A SET that the server refuses changes nothing, anywhere.
    assert_eq!(first.simple("SET work_mem TO 'a lot'").code(), "22023");
    assert_eq!(first.simple("SET no_such_setting TO 1").code(), "42704");
    on_all(&mut first, "5MB", "after a refused SET");
    on_all(&mut second, "4MB", "of another client, after a refused SET");
    // Rolled back with its transaction, on shards that knew it and on those that did not.
    first.must("BEGIN");
    work_mem(&mut first, ids[1]);
    first.must("SET work_mem TO '6MB'");
    on_all(&mut first, "6MB", "inside the transaction");
    first.must("ROLLBACK");
    on_all(&mut first, "5MB", "after ROLLBACK");
    on_all(&mut second, "4MB", "of another client, after ROLLBACK");
    // The same when the transaction fails and when it ends on a savepoint.
    first.must("BEGIN; SET work_mem TO '6MB'");
    first.must("SAVEPOINT s; SET work_mem TO '7MB'");
    on_all(&mut first, "7MB", "behind the savepoint");
    first.must("ROLLBACK TO s");
    on_all(&mut first, "6MB", "back at the savepoint");
    first.must("COMMIT");
    on_all(&mut first, "6MB", "after COMMIT");
    on_all(&mut second, "4MB", "of another client, after COMMIT");
    first.must("BEGIN; SET work_mem TO '8MB'");
    assert_eq!(first.simple(&format!("SELECT 1/n FROM items WHERE id = {}", ids[2])).code(), "22012");
    assert_eq!(first.must("COMMIT").answers[0].tag.as_deref(), Some("ROLLBACK"));
    on_all(&mut first, "6MB", "after a failed transaction");
    // SET LOCAL is the transaction's, on every shard that joins it.
    first.must("BEGIN");
    first.must("SET LOCAL work_mem TO '9MB'");
    on_all(&mut first, "9MB", "inside");
    first.must("COMMIT");
    on_all(&mut first, "6MB", "after SET LOCAL");
    on_all(&mut second, "4MB", "of another client, after SET LOCAL");
    // A multi-statement query is one transaction: its SET goes with it.
    assert_eq!(first.simple("SET work_mem TO '3MB'; SELECT 1/0").code(), "22012");
    on_all(&mut first, "6MB", "after a failed query of several statements");
    first.must("SET work_mem TO '3MB'; SELECT 1");
    on_all(&mut first, "3MB", "after a query of several statements");
    first.must("RESET work_mem");
    on_all(&mut first, "4MB", "after RESET");
    first.must("SET work_mem TO '5MB'");
    first.must("RESET ALL");
    on_all(&mut first, "4MB", "after RESET ALL");
    first.must("SET work_mem TO '5MB'");
    first.must("DISCARD ALL");
    on_all(&mut first, "4MB", "after DISCARD ALL");
}

#[test]
fn startup_options_are_what_reset_goes_back_to() {
    let world = Sharded::create("startup", "default_pool_size = 1");
    let parameters = [
        ("user", "postgres"),
        ("database", &*world.db.name),
        ("options", "-c work_mem=5MB -c search_path=public"),
        ("application_name", "mine"),
    ];
    let mut first = Raw::connect_with(world.router.port, &parameters, None).unwrap();
    let mut second = world.connect();
    assert_eq!(first.parameters.get("application_name").map(String::as_str), Some("mine"));
    for id in (0..4).map(|shard| world.id(shard, 0)) {
        assert_eq!(work_mem(&mut first, id), "5MB");
        assert_eq!(work_mem(&mut second, id), "4MB");
    }
    for back in ["RESET work_mem", "RESET ALL", "DISCARD ALL", "SET work_mem TO DEFAULT"] {
        first.must("SET work_mem TO '6MB'");
        assert_eq!(work_mem(&mut first, world.id(2, 0)), "6MB");
        first.must(back);
        assert_eq!(work_mem(&mut first, world.id(2, 0)), "5MB", "{back}");
        assert_eq!(first.value("SHOW application_name"), "mine", "{back}");
    }
    let refused = Raw::connect_with(
        world.router.port,
        &[("user", "postgres"), ("database", &*world.db.name), ("options", "-c no_such_setting=1")],
        None,
    );
    assert!(refused.unwrap_err().starts_with("42704"), "as Postgres says it");
}

#[test]
fn set_config_stays_with_its_client() {
    let world = Sharded::create("setconfig", "default_pool_size = 1");
    let mut dump = world.connect();
    // What pg_dump begins with.
    dump.must("SELECT pg_catalog.set_config('search_path', '', false)");
    assert_eq!(dump.value("SHOW search_path"), "");
    assert_eq!(dump.simple("SELECT body FROM plain").code(), "42P01");
    assert_eq!(dump.value("SELECT body FROM public.plain"), "one");
    drop(dump);
    let mut next = world.connect();
    eventually(10, "the pool has room again", || next.simple("SELECT body FROM plain").error.is_none());
    assert_eq!(next.value("SHOW search_path"), "\"$user\", public");
    assert_eq!(next.value("SELECT body FROM plain"), "one");
    // Local to its transaction: gone with it.
    next.must("BEGIN");
    next.must("SELECT set_config('work_mem', '9MB', true)");
    next.must("COMMIT");
    assert_eq!(next.value("SHOW work_mem"), "4MB");
}

#[test]
fn a_name_means_what_the_search_path_says() {
    let world = Sharded::create("path", "default_pool_size = 1");
    world.db.shard(0).must("CREATE SCHEMA other; CREATE TABLE other.plain (id int, body text); INSERT INTO other.plain VALUES (1, 'other')");
    let (mut first, mut second) = (world.connect(), world.connect());
    first.must("SET search_path TO other, public");
    eventually(30, "the catalog knows the new table", || first.simple("SELECT body FROM plain").text() == "other");
    assert_eq!(second.value("SELECT body FROM plain"), "one");
    assert_eq!(first.value("SELECT body FROM plain"), "other");
}

#[test]
fn notifications_arrive_on_a_pinned_connection() {
    let world = Sharded::create("notify", "default_pool_size = 2");
    let (mut listener, mut speaker) = (world.connect(), world.connect());
    listener.must("LISTEN news");
    speaker.must("NOTIFY news, 'hello'");
    listener.set_patience(Duration::from_secs(10));
    let message = listener.read().expect("the notification comes without being asked for");
    assert_eq!(message.tag, b'A');
    assert!(String::from_utf8_lossy(&message.body).contains("hello"));
    // The next user of a connection does not listen.
    drop(listener);
    std::thread::sleep(Duration::from_millis(200));
    let mut next = world.connect();
    assert_eq!(next.values("SELECT pg_listening_channels()"), Vec::<String>::new());
}

#[test]
fn temporary_tables_belong_to_one_client() {
    let world = Sharded::create("temp", "default_pool_size = 2");
    let (mut first, mut second) = (world.connect(), world.connect());
    first.must("CREATE TEMP TABLE scratch (x int)");
    first.must("INSERT INTO scratch VALUES (1), (2)");
    for _ in 0..3 {
        assert_eq!(first.value("SELECT count(*) FROM scratch"), "2");
        assert_eq!(second.simple("SELECT * FROM scratch").code(), "42P01");
    }
    drop(first);
    for _ in 0..5 {
        assert_eq!(second.simple("SELECT * FROM scratch").code(), "42P01");
        second.must("BEGIN");
        let mut third = world.connect();
        assert_eq!(second.simple("SELECT * FROM scratch").code(), "42P01");
        assert_eq!(third.simple("SELECT * FROM scratch").code(), "42P01");
        second.must("ROLLBACK");
    }
}

#[test]
fn an_advisory_lock_is_kept_and_freed_with_its_client() {
    let world = Sharded::create("advisory", "default_pool_size = 2");
    let (mut first, mut second) = (world.connect(), world.connect());
    first.must("SELECT pg_advisory_lock(42)");
    for _ in 0..3 {
        assert_eq!(second.value("SELECT pg_try_advisory_lock(42)"), "f");
        assert_eq!(first.value("SELECT pg_try_advisory_lock(42)"), "t", "the holder may lock again");
    }
    drop(first);
    eventually(10, "the lock is free", || second.value("SELECT pg_try_advisory_lock(42)") == "t");
}

#[test]
fn a_client_that_vanishes_takes_its_statement_with_it() {
    let world = Sharded::create("vanish", "default_pool_size = 2");
    // One shard, then all of them, reading and writing.
    let one = format!("SELECT n FROM items WHERE id = {}", world.id(1, 0));
    for (sql, shards) in [(&*one, &[1][..]), ("SELECT n FROM items", &[0, 1, 2, 3]), ("UPDATE items SET n = 5", &[2])] {
        let locks = world.lock(shards);
        let mut raw = world.connect();
        raw.send(&m::query(sql)).unwrap();
        eventually(20, "the statement runs", || shards.iter().all(|shard| world.waiting(*shard) > 0));
        drop(raw);
        // The router's own look at the catalog may wait for the lock, too.
        let waits = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = '{}' AND wait_event_type = 'Lock' \
               AND query NOT LIKE '%pg_catalog%'",
            world.db.name
        );
        eventually(20, "the statement is cancelled", || {
            shards.iter().all(|shard| world.db.shard(*shard).value(&waits) == "0")
        });
        drop(locks);
    }
    // Inside a block: the locks go too.
    let id = world.id(2, 0);
    let mut raw = world.connect();
    raw.must(&format!("BEGIN; UPDATE items SET n = 9 WHERE id = {id}"));
    drop(raw);
    let mut next = world.connect();
    assert_eq!(
        next.must(&format!("UPDATE items SET n = n + 1 WHERE id = {id}")).answers[0].tag.as_deref(),
        Some("UPDATE 1")
    );
    assert_eq!(
        next.value(&format!("SELECT n FROM items WHERE id = {id}")),
        "1",
        "nothing of the lost transaction is left"
    );
    for _ in 0..4 {
        assert_eq!(next.must("SELECT 1 FROM plain").status, b'I');
    }
}

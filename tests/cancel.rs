//! Cancel requests reach the servers that work for a client, and nobody else's.

#![allow(clippy::unwrap_used)]

mod support;

use std::time::{Duration, Instant};

use support::raw::{Raw, cancel, message as m};
use support::{Sharded, eventually};

/// Starts a statement, cancels it once all of `shards` work on it, and checks that the session can go on.
fn canceled(world: &Sharded, raw: &mut Raw, bytes: &[u8], shards: &[usize], status: u8) {
    let _locks = if bytes[0] == b'Q' { world.lock(shards) } else { world.lock_rows(shards) };
    raw.send(bytes).unwrap();
    eventually(20, "the statement runs", || shards.iter().all(|shard| world.waiting(*shard) > 0));
    let start = Instant::now();
    assert_eq!(cancel(world.router.port, raw.key.0, &raw.key.1), b"", "a cancel request is not answered");
    let messages = raw.read_to_ready().unwrap();
    assert!(start.elapsed() < Duration::from_secs(20));
    let error = messages.iter().find(|message| message.tag == b'E').expect("an error").report();
    assert_eq!(error.code(), "57014", "{error}");
    assert_eq!(error.message(), "canceling statement due to user request");
    assert_eq!(messages.iter().filter(|message| message.tag == b'E').count(), 1, "one error for one statement");
    assert_eq!(messages.last().unwrap().body, [status]);
    eventually(20, "no shard works on it", || shards.iter().all(|shard| world.waiting(*shard) == 0));
}

#[test]
fn a_cancel_ends_the_statement_and_not_the_session() {
    let world = Sharded::create("cancel", "default_pool_size = 2");
    let mut raw = world.connect();
    let one = format!("SELECT n FROM items WHERE id = {}", world.id(1, 0));
    let all = "SELECT id, n FROM items ORDER BY id";
    canceled(&world, &mut raw, &m::query(&one), &[1], b'I');
    assert_eq!(raw.value("SELECT count(*) FROM items"), "60");
    canceled(&world, &mut raw, &m::query(all), &[0, 1, 2, 3], b'I');
    assert_eq!(raw.value("SELECT count(*) FROM items"), "60");
    for (sql, shards) in [
        (format!("UPDATE items SET n = 5 WHERE id = {}", world.id(1, 0)), &[1][..]),
        ("UPDATE items SET n = 5".to_owned(), &[0, 1, 2, 3]),
    ] {
        let batch = [m::parse("", &sql, &[]), m::bind("", "", &[], &[]), m::execute("", 0), m::sync()].concat();
        canceled(&world, &mut raw, &batch, shards, b'I');
        assert_eq!(raw.value("SELECT sum(n) FROM items"), "0");
    }
    // Inside a block the block fails, as an error does.
    raw.must(&format!("BEGIN; UPDATE items SET n = 5 WHERE id = {}", world.id(0, 0)));
    canceled(&world, &mut raw, &m::query(all), &[1, 2, 3], b'E');
    assert_eq!(raw.simple("SELECT 1").code(), "25P02");
    assert_eq!(raw.must("COMMIT").answers[0].tag.as_deref(), Some("ROLLBACK"));
    assert_eq!(raw.value("SELECT sum(n) FROM items"), "0");
    // A write over all shards is undone as a whole.
    canceled(&world, &mut raw, &m::query("UPDATE items SET n = 1"), &[1, 3], b'I');
    assert_eq!(raw.value("SELECT sum(n) FROM items"), "0");
    assert_eq!(world.prepared(), Vec::<String>::new());
}

/// One shard works, and the others have not been told to begin yet: neither the statement nor who cancels it waits for these.
#[test]
fn a_cancel_does_not_wait_for_those_who_have_not_begun() {
    let world = Sharded::create("cancelfirst", "");
    let mut raw = world.connect();
    for sql in [
        "SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY n) FROM items",
        "INSERT INTO items (id, n) SELECT id + 100000, n FROM items",
        "UPDATE items SET n = 1",
        "SELECT id FROM items ORDER BY n, id LIMIT 3 FOR UPDATE",
    ] {
        for (shard, first) in (0..4).flat_map(|shard| [(shard, "SELECT 1"), (shard, "")]) {
            raw.must(&format!("BEGIN; {first}"));
            let lock = world.lock(&[shard]);
            raw.send(&m::query(sql)).unwrap();
            eventually(20, "the statement runs", || world.waiting(shard) > 0);
            let start = Instant::now();
            cancel(world.router.port, raw.key.0, &raw.key.1);
            // The limit of a request that reaches nobody is 10 s.
            assert!(start.elapsed() < Duration::from_secs(8), "{sql} on {shard} behind {first:?}");
            assert_eq!(raw.read_to_ready().unwrap().iter().filter(|m| m.tag == b'E').count(), 1);
            assert!(start.elapsed() < Duration::from_secs(8), "{sql} on {shard} behind {first:?}");
            drop(lock);
            raw.must("ROLLBACK");
        }
    }
}

#[test]
fn a_statement_that_waits_for_a_server_connection_is_canceled_or_forgotten_with_its_client() {
    let world = Sharded::create("cancelwait", "default_pool_size = 1\nquery_wait_timeout = \"60s\"");
    let (mut holder, mut raw, mut watch) = (world.connect(), world.connect(), world.connect());
    let waiting = |watch: &mut Raw| {
        let pools = watch.named("SHOW pgloom.shard_pools");
        pools.iter().find(|pool| pool["shard"] == "s1").unwrap()["cl_waiting"].clone()
    };
    let one = format!("SELECT n FROM items WHERE id = {}", world.id(1, 0));
    holder.must("BEGIN");
    holder.must(&one);
    for (sql, status) in [(&*one, b'I'), ("SELECT id FROM items ORDER BY id", b'I'), (&*one, b'E')] {
        if status == b'E' {
            raw.must("BEGIN");
        }
        raw.send(&m::query(sql)).unwrap();
        eventually(20, "it waits", || waiting(&mut watch) == "1");
        let start = Instant::now();
        cancel(world.router.port, raw.key.0, &raw.key.1);
        let messages = raw.read_to_ready().unwrap();
        assert!(start.elapsed() < Duration::from_secs(20));
        let error = messages.iter().find(|message| message.tag == b'E').expect("an error").report();
        assert_eq!((error.code(), error.message()), ("57014", "canceling statement due to user request"));
        assert_eq!(messages.last().unwrap().body, [status]);
        assert_eq!(waiting(&mut watch), "0");
    }
    raw.must("ROLLBACK");
    // A cancel that comes when nothing waits is not kept for the next statement.
    cancel(world.router.port, raw.key.0, &raw.key.1);
    raw.send(&m::query(&one)).unwrap();
    eventually(20, "it waits", || waiting(&mut watch) == "1");
    // Nobody waits for a client that has left.
    drop(raw);
    eventually(20, "the client is forgotten", || waiting(&mut watch) == "0");
    holder.must("COMMIT");
    assert_eq!(watch.value(&one), "0");
}

#[test]
fn a_wrong_key_and_a_late_cancel_do_nothing() {
    let world = Sharded::create("wrongkey", "default_pool_size = 1");
    let mut raw = world.connect();
    let (pid, secret) = raw.key.clone();
    let sql = format!("SELECT 'done', pg_sleep(1) FROM items WHERE id = {}", world.id(1, 0));
    raw.send(&m::query(&sql)).unwrap();
    let mut wrong = secret.clone();
    wrong[3] ^= 1;
    cancel(world.router.port, pid, &wrong);
    for malformed in [&secret[..2], &[], &[0; 400]] {
        cancel(world.router.port, pid, malformed);
    }
    cancel(world.router.port, pid ^ 1, &secret);
    let messages = raw.read_to_ready().unwrap();
    assert!(messages.iter().all(|message| message.tag != b'E'), "{messages:?}");
    // Nothing runs: the next statement, and the next user of the connection, must not feel it.
    for _ in 0..20 {
        cancel(world.router.port, pid, &secret);
        assert_eq!(raw.value(&format!("SELECT n FROM items WHERE id = {}", world.id(1, 0))), "0");
    }
    let mut other = world.connect();
    other.send(&m::query(&sql)).unwrap();
    for _ in 0..5 {
        cancel(world.router.port, pid, &secret);
    }
    let messages = other.read_to_ready().unwrap();
    assert!(messages.iter().all(|message| message.tag != b'E'), "{messages:?}");
}

#[test]
fn a_driver_cancels() {
    let world = Sharded::create("drivercancel", "");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let config = format!("host=127.0.0.1 port={} user=postgres dbname={}", world.router.port, world.db.name);
        let (client, connection) = tokio_postgres::connect(&config, tokio_postgres::NoTls).await.unwrap();
        let connection = tokio::spawn(connection);
        let token = client.cancel_token();
        let locks = world.lock_rows(&[0, 1, 2, 3]);
        let stop = async {
            for _ in 0..400 {
                tokio::time::sleep(Duration::from_millis(50)).await;
                if world.waiting(2) > 0 {
                    break;
                }
            }
            token.cancel_query(tokio_postgres::NoTls).await.unwrap();
        };
        let (outcome, ()) = tokio::join!(client.execute("UPDATE items SET n = $1", &[&1]), stop);
        drop(locks);
        let error = outcome.unwrap_err();
        assert_eq!(error.code().map(|code| code.code()), Some("57014"), "{error:?}");
        let rows = client.query("SELECT n FROM items WHERE id = $1", &[&world.id(3, 0)]).await.unwrap();
        assert_eq!(rows.len(), 1);
        drop(client);
        connection.await.unwrap().unwrap();
    });
}

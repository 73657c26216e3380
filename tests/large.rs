//! Messages of many megabytes: a Bind goes by without being held, its errors are told in their place, and nothing is lost.

#![allow(clippy::unwrap_used)]

mod support;

use support::raw::{Raw, Reply, Value, message as m};
use support::{Sharded, eventually};

/// Bytes of the large value.
const LARGE: usize = 96 << 20;
const INSERT: &str = "INSERT INTO items VALUES ($1, $2, $3)";
const TYPES: [u32; 3] = [23, 23, 25];

fn insert(id: i32, size: usize) -> Vec<Value> {
    vec![Value::text(&id.to_string()), Value::text("7"), Value::text(&"x".repeat(size))]
}

/// Parse, Bind, Execute and Sync.
fn run(sql: &str, types: &[u32], values: &[Value]) -> Vec<u8> {
    [m::parse("", sql, types), m::bind("", "", values, &[]), m::execute("", 0), m::sync()].concat()
}

fn exchange(raw: &mut Raw, bytes: &[u8]) -> Reply {
    raw.exchange(bytes, None)
}

fn tags(reply: &Reply) -> Vec<&str> {
    reply.answers.iter().filter_map(|answer| answer.tag.as_deref()).collect()
}

/// Most kilobytes that the process has ever held.
fn peak_kb(pid: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_large_bind_goes_by_without_being_held() {
    let sharded = Sharded::create("large", "");
    let mut raw = sharded.connect();
    raw.must("SELECT count(*) FROM items");
    let before = peak_kb(sharded.router.pid());
    let ids = sharded.free_ids(1000);
    for (shard, id) in ids.iter().enumerate() {
        let reply = exchange(&mut raw, &run(INSERT, &TYPES, &insert(*id, LARGE)));
        assert!(reply.code().is_empty(), "{reply:?}");
        let there = sharded.db.shard(shard).value(&format!("SELECT length(name) FROM items WHERE id = {id}"));
        assert_eq!(there, LARGE.to_string());
    }
    let grown = peak_kb(sharded.router.pid()) - before;
    assert!(grown < 24 * 1024, "the router grew by {grown} kB for messages of {} kB", LARGE / 1024);
}

#[test]
fn a_large_bind_whose_key_comes_last_arrives_whole() {
    let sharded = Sharded::create("large_last", "");
    let mut raw = sharded.connect();
    for shard in 0..4 {
        let id = sharded.id(shard, 0);
        let values = [Value::text(&"y".repeat(7 << 20)), Value::text(&id.to_string())];
        let reply = exchange(&mut raw, &run("UPDATE items SET name = $1 WHERE id = $2", &[25, 23], &values));
        assert_eq!(tags(&reply), ["UPDATE 1"], "{reply:?}");
        let sql = format!("SELECT md5(name) = md5(repeat('y', {})) FROM items WHERE id = {id}", 7 << 20);
        assert_eq!(sharded.db.shard(shard).value(&sql), "t");
    }
    // Over all shards.
    let reply = exchange(&mut raw, &run("UPDATE items SET name = $1", &[25], &[Value::text(&"z".repeat(5 << 20))]));
    assert_eq!(tags(&reply), ["UPDATE 60"], "{reply:?}");
}

#[test]
fn errors_of_large_binds_are_told_in_their_place() {
    let sharded = Sharded::create("large_errors", "");
    let mut raw = sharded.connect();
    let id = sharded.free_ids(1000)[1];
    // A statement that does not exist; a check that fails; too few values; a large Bind that is skipped after an error.
    let unknown = [m::bind("", "nobody", &insert(id, 5 << 20), &[]), m::execute("", 0), m::sync()].concat();
    assert_eq!(exchange(&mut raw, &unknown).code(), "26000");
    let negative = [Value::text(&id.to_string()), Value::text("-7"), Value::text(&"x".repeat(5 << 20))];
    assert_eq!(exchange(&mut raw, &run(INSERT, &TYPES, &negative)).code(), "23514");
    let few = [Value::text(&id.to_string()), Value::text(&"x".repeat(5 << 20))];
    assert_eq!(exchange(&mut raw, &run(INSERT, &TYPES, &few)).code(), "08P01");
    let skipped = [
        m::parse("", "SELECT 1/0", &[]),
        m::bind("", "", &[], &[]),
        m::execute("", 0),
        m::parse("", INSERT, &TYPES),
        m::bind("", "", &insert(id, 6 << 20), &[]),
        m::execute("", 0),
        m::sync(),
    ]
    .concat();
    assert_eq!(exchange(&mut raw, &skipped).code(), "22012");
    // A pipeline with rows before and after.
    let other = sharded.id(2, 0);
    let pipeline = [
        m::parse("", "SELECT name FROM items WHERE id = $1", &[23]),
        m::bind("", "", &[Value::text(&other.to_string())], &[]),
        m::execute("", 0),
        m::parse("", INSERT, &TYPES),
        m::bind("", "", &insert(id, 6 << 20), &[]),
        m::execute("", 0),
        m::parse("", "SELECT length(name) FROM items WHERE id = $1", &[23]),
        m::bind("", "", &[Value::text(&id.to_string())], &[]),
        m::execute("", 0),
        m::sync(),
    ]
    .concat();
    let reply = exchange(&mut raw, &pipeline);
    assert_eq!(tags(&reply), ["SELECT 1", "INSERT 0 1", "SELECT 1"], "{reply:?}");
    assert_eq!(raw.value(&format!("SELECT length(name) FROM items WHERE id = {id}")), (6 << 20).to_string());
}

#[test]
fn a_client_that_leaves_in_the_middle_of_a_large_bind_leaves_nothing() {
    let sharded = Sharded::create("large_gone", "");
    let id = sharded.free_ids(1000)[0];
    let mut raw = sharded.connect();
    let message = run(INSERT, &TYPES, &insert(id, LARGE));
    raw.send(&message[..message.len() / 2]).unwrap();
    drop(raw);
    let mut other = sharded.connect();
    eventually(10, "no server is left in the middle of a message", || {
        let busy = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = '{}' AND state <> 'idle' AND pid <> pg_backend_pid()",
            sharded.db.name
        );
        sharded.on_each(&busy).iter().all(|count| count == "0")
    });
    assert_eq!(other.value(&format!("SELECT count(*) FROM items WHERE id = {id}")), "0");
    assert_eq!(other.value("SELECT count(*) FROM items"), "60");
}

#[test]
fn a_large_query_is_held_without_copies() {
    let sharded = Sharded::create("large_query", "");
    let mut raw = sharded.connect();
    raw.must("SELECT count(*) FROM items");
    let before = peak_kb(sharded.router.pid());
    let id = sharded.free_ids(1000)[3];
    let sql = format!("INSERT INTO items VALUES ({id}, 7, '{}'); ", "q".repeat(LARGE));
    let reply = raw.simple(&sql);
    assert_eq!(tags(&reply), ["INSERT 0 1"], "{}", reply.code());
    let there = sharded.db.shard(3).value(&format!("SELECT length(name) FROM items WHERE id = {id}"));
    assert_eq!(there, LARGE.to_string());
    // The buffer doubles while the message comes: for a moment there are the old one and the new.
    let grown = peak_kb(sharded.router.pid()) - before;
    assert!(
        grown < 5 * LARGE / 2 / 1024 + 24 * 1024,
        "the router grew by {grown} kB for a message of {} kB",
        LARGE / 1024
    );
}

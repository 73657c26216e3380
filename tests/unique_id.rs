//! `pgloom.unique_id()`: as a default, in statements and as the sharding key; ordered by time, and never the same twice.

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeSet;
use std::fmt::Write;

use support::raw::{Raw, Value};
use support::{Database, Router, SHARDS, eventually};

fn config(db: &Database) -> String {
    let name = &db.name;
    let mut out = format!(
        "[general]\nport = {{port}}\nmetrics_listen = \"127.0.0.1:{{http_port}}\"\nauth_type = \"trust\"\n\
         [[users]]\nname = \"postgres\"\n[[users]]\nname = \"app\"\n[databases.{name}]\nrouter_user = \"postgres\"\n"
    );
    for (index, port) in db.ports().iter().enumerate() {
        let _ = writeln!(out, "[[databases.{name}.shards]]\nname = \"s{index}\"\nhost = \"127.0.0.1\"\nport = {port}");
    }
    let _ = writeln!(out, "[[databases.{name}.distributions]]\nname = \"id\"\nkey_types = [\"int8\"]");
    for (table, column) in [("events", "id"), ("notes", "tenant")] {
        let _ = writeln!(
            out,
            "[[databases.{name}.tables]]\nname = \"{table}\"\ndistribution = \"id\"\ncolumns = [\"{column}\"]"
        );
    }
    let _ = writeln!(out, "[[databases.{name}.tables]]\nname = \"places\"\nreference = true");
    out
}

fn start(label: &str) -> (Router, Database) {
    let db = Database::create(label);
    let router = Router::start(&config(&db));
    eventually(20, "the function is on every shard", || {
        (0..SHARDS)
            .all(|index| db.shard(index).value("SELECT to_regprocedure('pgloom.unique_id()') IS NOT NULL") == "t")
            && (0..SHARDS).all(|index| db.shard(index).values("SELECT id FROM pgloom.node").len() == 1)
    });
    router.connect(&db.name).must(
        "CREATE TABLE events (id bigint PRIMARY KEY DEFAULT pgloom.unique_id(), body text); \
         CREATE TABLE notes (tenant bigint, id bigint DEFAULT pgloom.unique_id(), body text); \
         CREATE TABLE places (id bigint PRIMARY KEY DEFAULT pgloom.unique_id(), title text)",
    );
    (router, db)
}

#[test]
fn it_is_a_default_a_value_and_a_sharding_key() {
    let (router, db) = start("unique");
    let mut client = Raw::connect(router.port, "app", &db.name).unwrap();
    (0..SHARDS).for_each(|index| drop(db.shard(index).must("GRANT ALL ON events, notes, places TO app")));
    let mut ids: Vec<i64> = Vec::new();
    let mut take = |reply: support::raw::Reply| {
        assert!(reply.error.is_none(), "{}", reply.error.unwrap());
        let cells = reply.answers.iter().flat_map(|answer| &answer.rows).map(|row| row[0].clone().unwrap());
        ids.extend(cells.map(|cell| String::from_utf8(cell).unwrap().parse::<i64>().unwrap()));
    };
    take(client.simple("INSERT INTO events (body) VALUES ('a'), ('b'), ('c'), ('d'), ('e'), ('f') RETURNING id"));
    take(client.simple("INSERT INTO events DEFAULT VALUES RETURNING id"));
    take(client.simple("INSERT INTO events VALUES (DEFAULT, 'g'), (pgloom.unique_id(), 'h') RETURNING id"));
    take(client.extended("INSERT INTO events (body) VALUES ($1), ($1) RETURNING id", &[], &[Value::text("p")], 0));
    take(client.simple("SELECT pgloom.unique_id()"));
    take(client.simple("INSERT INTO notes (tenant, body) VALUES (1, 'x'), (2, 'y'), (3, 'z') RETURNING id"));
    take(client.simple("INSERT INTO notes (tenant, id) VALUES (4, pgloom.unique_id()), (5, DEFAULT) RETURNING id"));
    take(client.simple("BEGIN; INSERT INTO events (body) VALUES ('t') RETURNING id; COMMIT"));
    take(client.simple("INSERT INTO places (title) VALUES ('a'), ('b') RETURNING id"));
    take(client.simple("INSERT INTO places (title) SELECT 'x' FROM generate_series(1, 3) RETURNING id"));
    take(client.simple("INSERT INTO events (body) SELECT 'y' FROM generate_series(1, 9) RETURNING id"));
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "{ids:?}");
    assert!(ids[..6].is_sorted(), "of one node they grow: {ids:?}");
    // 41 bits of milliseconds since 2024.
    let now: i64 = client.value("SELECT (extract(epoch FROM now()) * 1000 - 1704067200000)::bigint").parse().unwrap();
    for id in &ids {
        assert!(*id > 0 && (now - (id >> 22)).abs() < 600_000, "{id}");
    }
    for id in db.shard(1).values("SELECT id FROM events") {
        assert_eq!(client.value(&format!("SELECT count(*) FROM events WHERE id = {id}")), "1", "{id} is misplaced");
    }
    let places: BTreeSet<Vec<String>> =
        (0..SHARDS).map(|index| db.shard(index).values("SELECT id FROM places ORDER BY id")).collect();
    assert_eq!(places.len(), 1, "every shard has the same rows");
    // What each shard would make for itself is made once for all.
    assert_eq!(client.simple("UPDATE places SET id = pgloom.unique_id()").code(), "");
    let now: BTreeSet<Vec<String>> =
        (0..SHARDS).map(|index| db.shard(index).values("SELECT id FROM places ORDER BY id")).collect();
    assert_eq!(now.len(), 1, "every shard has the same rows");
    assert!(now.is_disjoint(&places));
}

#[test]
fn numbers_of_one_shard_grow_even_if_its_clock_goes_back() {
    let (router, db) = start("unique_clock");
    let nodes: BTreeSet<String> =
        (0..SHARDS).map(|index| db.shard(index).value("SELECT id FROM pgloom.node")).collect();
    assert_eq!(nodes.len(), SHARDS, "each shard has a node of its own");
    // A clock that was an hour ahead: as if it had been set back.
    db.shard(0).must(
        "SELECT setval('pgloom.unique_clock', last_value + (3600 * 1000::bigint << 12)) FROM pgloom.unique_clock",
    );
    let workers: Vec<_> = (0..4)
        .map(|_| {
            let (port, name) = (db.ports()[0], db.name.clone());
            std::thread::spawn(move || {
                let mut shard = Raw::connect(port, "app", &name).unwrap();
                let ids = shard.values("SELECT pgloom.unique_id() FROM generate_series(1, 3000)");
                let ids: Vec<i64> = ids.iter().map(|id| id.parse().unwrap()).collect();
                assert!(ids.is_sorted(), "each is greater than the one before");
                ids
            })
        })
        .collect();
    let ids: Vec<i64> = workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect();
    assert_eq!(ids.len(), ids.iter().collect::<BTreeSet<_>>().len());
    // A statement that is cancelled leaves no lock behind.
    let mut shard = db.shard(0);
    shard.must("SET statement_timeout = '30ms'");
    let cancelled = shard.simple("SELECT count(pgloom.unique_id()) FROM generate_series(1, 10000000)");
    assert_eq!(cancelled.code(), "57014");
    // Other tests take it in their databases.
    let left = "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database \
         WHERE locktype = 'advisory' AND classid = 1885826930 AND datname = current_database()";
    assert_eq!(db.shard(0).value(left), "0");
    // A second router changes nothing: nodes stay.
    let before: Vec<String> = (0..SHARDS).map(|index| db.shard(index).value("SELECT id FROM pgloom.node")).collect();
    let second = Router::start(&config(&db));
    second.connect(&db.name).must("INSERT INTO events (body) VALUES ('x'), ('y')");
    std::thread::sleep(std::time::Duration::from_millis(500));
    let after: Vec<String> = (0..SHARDS).map(|index| db.shard(index).value("SELECT id FROM pgloom.node")).collect();
    assert_eq!(before, after);
    drop(router);
}

//! Definitions over several shards: where they go, what cannot run in a transaction, and what two routers know of them.

#![allow(clippy::unwrap_used)]

mod support;

use support::raw::{Value, message};
use support::{Router, SHARDS, Sharded, eventually};

const INDEX: &str = "SELECT count(*) FROM pg_indexes WHERE indexname = 'items_name'";

/// Every form of CONCURRENTLY, and VACUUM, on each shard, in both protocols.
#[test]
fn what_needs_no_transaction_runs_on_every_shard() {
    let world = Sharded::create("ddl_each", "");
    let mut client = world.connect();
    for sql in [
        "CREATE INDEX CONCURRENTLY items_name ON items (name)",
        "CREATE INDEX CONCURRENTLY IF NOT EXISTS items_name ON items (name)",
        "REINDEX INDEX CONCURRENTLY items_name",
        "REINDEX (VERBOSE) TABLE CONCURRENTLY items",
        "REINDEX TABLE items",
        "REINDEX SCHEMA public",
        "VACUUM items",
        "VACUUM (ANALYZE) items",
        "VACUUM",
        "ANALYZE items",
        "CLUSTER items USING items_pkey",
    ] {
        let tag = client.must(sql).answers[0].tag.clone().unwrap();
        assert!(sql.starts_with(&tag), "{sql}: {tag}");
        assert_eq!(world.on_each(INDEX), vec!["1"; SHARDS], "{sql}");
    }
    let dropped = client.extended("DROP INDEX CONCURRENTLY items_name", &[], &[] as &[Value], 0);
    assert!(dropped.error.is_none(), "{:?}", dropped.error);
    assert_eq!(world.on_each(INDEX), vec!["0"; SHARDS]);
    let made = client.extended("CREATE INDEX CONCURRENTLY items_name ON items (name)", &[], &[] as &[Value], 0);
    assert!(made.error.is_none(), "{:?}", made.error);
    client.must("DROP INDEX CONCURRENTLY IF EXISTS items_name");
    client.must("DROP INDEX CONCURRENTLY IF EXISTS items_name");
    assert_eq!(world.on_each(INDEX), vec!["0"; SHARDS]);
    // Not within a block, which goes on as a failed one.
    client.must("BEGIN");
    assert_eq!(client.simple("CREATE INDEX CONCURRENTLY items_name ON items (name)").code(), "25001");
    client.must("ROLLBACK");
    assert_eq!(client.simple("CREATE UNIQUE INDEX CONCURRENTLY items_name ON items (name)").code(), "0A000");
    // A pipeline goes on behind it.
    let batch = [
        message::parse("", "VACUUM items", &[]),
        message::bind("", "", &[], &[]),
        message::execute("", 0),
        message::sync(),
        message::query("SELECT count(*) FROM items"),
    ];
    assert!(client.exchange(&batch[..4].concat(), None).error.is_none());
    assert_eq!(client.exchange(&batch[4], None).text(), "60");
}

/// One shard fails: the error says which have it, the statement can be run again.
#[test]
fn a_failure_half_way_is_reported_and_can_be_resumed() {
    let world = Sharded::create("ddl_half", "");
    let mut client = world.connect();
    // The index cannot be built over the rows of the third shard: what is left there is not valid.
    world.db.shard(2).must("UPDATE items SET name = 'same'");
    let blocked = "CREATE INDEX CONCURRENTLY IF NOT EXISTS items_name ON items ((1 / (name <> 'same')::int))";
    let reply = client.simple(blocked);
    let error = reply.error.unwrap();
    assert_eq!(error.code(), "22012", "{error}");
    let detail = error.0.get(&'D').cloned().unwrap_or_default();
    assert!(detail.contains("is done on shards: s0, s1; failed on: s2; not sent to: s3."), "{detail}");
    assert!(error.hint().contains("DROP INDEX CONCURRENTLY IF EXISTS"), "{error}");
    assert_eq!(reply.status, b'I');
    assert_eq!(world.on_each(INDEX), ["1", "1", "1", "0"]);
    // The cause is gone, but the index that is left is of no use, and must not pass for one.
    world.db.shard(2).must("UPDATE items SET name = 'item'");
    let again = client.simple(blocked);
    assert_eq!(again.code(), "55000", "{:?}", again.error);
    assert_eq!(world.on_each(INDEX), ["1", "1", "1", "0"], "nothing was done on any shard");
    client.must("DROP INDEX CONCURRENTLY IF EXISTS items_name");
    client.must(blocked);
    assert_eq!(world.on_each(INDEX), vec!["1"; SHARDS]);
    assert_eq!(
        world.on_each("SELECT indisvalid FROM pg_index WHERE indexrelid = 'items_name'::regclass"),
        vec!["t"; SHARDS]
    );
}

/// An index goes where its table is.
#[test]
fn commands_on_indexes_follow_their_tables() {
    let world = Sharded::create("ddl_index", "");
    let mut client = world.connect();
    client.must("CREATE INDEX plain_body ON plain (body)");
    client.must("CREATE INDEX items_name ON items (name)");
    client.must("ALTER INDEX plain_body RENAME TO plain_text");
    client.must("COMMENT ON INDEX plain_text IS 'at home'");
    client.must("REINDEX INDEX plain_text");
    client.must("REINDEX INDEX CONCURRENTLY plain_text");
    client.must("DROP INDEX CONCURRENTLY plain_text");
    client.must("CREATE INDEX plain_body ON plain (body)");
    client.must("CREATE INDEX items_n ON items (n)");
    client.must("DROP INDEX plain_body, items_n");
    assert_eq!(
        world.on_each("SELECT count(*) FROM pg_indexes WHERE indexname IN ('plain_body', 'items_n')"),
        vec!["0"; SHARDS]
    );
    client.must("ALTER INDEX items_name RENAME TO items_title");
    client.must("DROP INDEX items_title");
    assert_eq!(client.simple("DROP INDEX items_title").code(), "42704");
    assert_eq!(
        world.on_each("SELECT count(*) FROM pg_indexes WHERE indexname IN ('items_name', 'items_title')"),
        vec!["0"; SHARDS]
    );
}

/// Definitions are there on every shard or on none, and this router knows them at once, others within their interval.
#[test]
fn definitions_are_atomic_and_known_to_every_router() {
    let world = Sharded::create("ddl_two", "");
    let general = "catalog_refresh_interval = \"1s\"";
    let second = Router::start(&support::sharded::config(&world.db.name, &world.db.ports(), general, ""));
    let (mut client, mut other) = (world.connect(), second.connect(&world.db.name));
    client.must("ALTER TABLE items ADD COLUMN more int DEFAULT 5");
    assert_eq!(client.value("SELECT sum(more) FROM items"), "300");
    eventually(10, "the other router knows the column", || {
        other.simple("SELECT avg(more) FROM items").text() == "5.0000000000000000"
    });
    client.must("CREATE VIEW shown AS SELECT id, name FROM items WHERE n = 0");
    assert_eq!(client.value("SELECT count(*) FROM shown"), "60");
    eventually(10, "the other router knows the view", || other.simple("SELECT count(*) FROM shown").text() == "60");
    // The last shard refuses: it is on none.
    world.db.shard(3).must("CREATE TYPE mood AS ENUM ('odd')");
    assert_eq!(client.simple("CREATE TYPE mood AS ENUM ('sad', 'glad')").code(), "42710");
    assert_eq!(world.on_each("SELECT count(*) FROM pg_type WHERE typname = 'mood'"), ["0", "0", "0", "1"]);
    world.db.shard(3).must("DROP TYPE mood");
    client.must("BEGIN");
    client.must("CREATE TYPE mood AS ENUM ('sad', 'glad')");
    client.must("CREATE SCHEMA app");
    client.must("CREATE FUNCTION twice(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1 * 2'");
    client.must("ALTER TABLE items ADD COLUMN mood mood DEFAULT 'glad'");
    client.must("GRANT SELECT ON items TO app");
    client.must("COMMENT ON TABLE items IS 'things'");
    assert_eq!(client.value("SELECT count(*) FROM items WHERE mood = 'glad'"), "60");
    client.must("ROLLBACK");
    assert_eq!(world.on_each("SELECT count(*) FROM pg_type WHERE typname = 'mood'"), vec!["0"; SHARDS]);
    assert_eq!(client.simple("SELECT mood FROM items").code(), "42703");
    client.must("BEGIN; CREATE TYPE mood AS ENUM ('sad'); ALTER TABLE items ADD COLUMN mood mood; COMMIT");
    client.must("ALTER TYPE mood ADD VALUE 'glad'");
    client.must("UPDATE items SET mood = 'glad'");
    assert_eq!(client.value("SELECT count(*) FROM items WHERE mood = 'glad'"), "60");
    assert!(world.prepared().is_empty());
}

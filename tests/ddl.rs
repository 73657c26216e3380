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

/// A sequence is made on every shard; one that came to belong to a plain table goes with it, on the home shard. So does `pg_restore --clean`.
#[test]
fn a_sequence_that_went_with_its_table_can_be_made_again() {
    let world = Sharded::create("ddl_owned_seq", "");
    let mut client = world.connect();
    for drop in
        ["DROP SEQUENCE IF EXISTS notes_id_seq; DROP TABLE notes", "DROP TABLE notes", "DROP TABLE notes CASCADE"]
    {
        client
            .must("CREATE TABLE notes (id int NOT NULL); CREATE SEQUENCE public.notes_id_seq AS integer START WITH 7");
        client.must("ALTER SEQUENCE notes_id_seq OWNED BY public.notes.id");
        assert_eq!(client.must("SELECT nextval('notes_id_seq')").text(), "7");
        assert_eq!(client.simple("CREATE SEQUENCE public.notes_id_seq").code(), "42P07");
        assert_eq!(
            client.must("CREATE SEQUENCE IF NOT EXISTS notes_id_seq").answers[0].tag.as_deref(),
            Some("CREATE SEQUENCE")
        );
        client.must(drop);
    }
    client.must("CREATE SEQUENCE notes_id_seq; DROP SEQUENCE notes_id_seq");
    let left = world.on_each("SELECT count(*) FROM pg_class WHERE relname = 'notes_id_seq'");
    assert_eq!(left, vec!["0"; SHARDS]);
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

/// Roles are of a server: one that holds two shards gets their definition once.
#[test]
fn roles_are_made_once_on_each_server() {
    let db = support::Database::create("ddl_roles");
    let second = format!("{}_too", db.name);
    db.cluster.shards[0].connect("postgres").must(&format!("CREATE DATABASE {second} TEMPLATE template0"));
    let mut sections = String::new();
    for (index, (server, name)) in [(0, &db.name), (0, &second), (1, &db.name)].into_iter().enumerate() {
        let port = db.ports()[server];
        sections += &format!(
            "[[databases.{0}.shards]]\nname = \"s{index}\"\nhost = \"127.0.0.1\"\nport = {port}\ndbname = \"{name}\"\n",
            db.name
        );
    }
    let toml = format!(
        "[general]\nport = {{port}}\nmetrics_listen = \"127.0.0.1:{{http_port}}\"\nauth_type = \"trust\"\n[[users]]\nname = \"postgres\"\n\
         [databases.{0}]\n{sections}[[databases.{0}.distributions]]\nname = \"key\"\nkey_types = [\"int4\"]\n\
         [[databases.{0}.tables]]\nname = \"items\"\ndistribution = \"key\"\ncolumns = [\"id\"]\n",
        db.name
    );
    let router = Router::start(&toml);
    let mut client = router.connect(&db.name);
    // Servers are shared with other tests: the names are this test's own.
    let (role, group) = (format!("r_{}", db.name), format!("g_{}", db.name));
    let count = |sql: &str| -> Vec<String> {
        (0..2).map(|index| db.cluster.shards[index].connect("postgres").value(sql)).collect()
    };
    client.must(&format!("CREATE ROLE {role} LOGIN PASSWORD 'x'"));
    client.must(&format!("CREATE GROUP {group}"));
    client.must("CREATE TABLE items (id int PRIMARY KEY, v int)");
    client.must(&format!("GRANT {group} TO {role}; COMMENT ON ROLE {role} IS 'made once'"));
    client.must(&format!("ALTER ROLE {role} SET work_mem = '9MB'"));
    assert_eq!(
        client.simple(&format!("ALTER ROLE {role} IN DATABASE {} SET work_mem = '9MB'", db.name)).code(),
        "0A000"
    );
    client.must(&format!("GRANT SELECT ON items TO {group} WITH GRANT OPTION"));
    assert_eq!(client.simple(&format!("CREATE ROLE {role}")).code(), "42710");
    assert_eq!(count(&format!("SELECT count(*) FROM pg_roles WHERE rolname IN ('{role}', '{group}')")), ["2", "2"]);
    assert_eq!(count(&format!("SELECT count(*) FROM pg_auth_members WHERE member = '{role}'::regrole")), ["1", "1"]);
    // Of one transaction with definitions of all shards, and undone with them.
    client.must(&format!("BEGIN; ALTER ROLE {role} RENAME TO {role}_too; CREATE TYPE mood AS ENUM ('ok'); ROLLBACK"));
    client.must(&format!("BEGIN; ALTER ROLE {role} NOLOGIN; CREATE TYPE mood AS ENUM ('ok'); COMMIT"));
    assert_eq!(count(&format!("SELECT rolcanlogin FROM pg_roles WHERE rolname = '{role}'")), ["f", "f"]);
    let extended = client.extended(&format!("REVOKE {group} FROM {role}"), &[], &[] as &[Value], 0);
    assert!(extended.error.is_none(), "{:?}", extended.error);
    client.must(&format!("REASSIGN OWNED BY {role} TO postgres; DROP OWNED BY {group}"));
    client.must(&format!("DROP ROLE {role}, {group}"));
    assert_eq!(count(&format!("SELECT count(*) FROM pg_roles WHERE rolname IN ('{role}', '{group}')")), ["0", "0"]);
    // It locks what the databases of one server share.
    client.must("ANALYZE");
    client.must("BEGIN; ANALYZE items; COMMIT");
    client.must("BEGIN");
    assert_eq!(client.simple("ANALYZE").code(), "0A000");
    client.must("ROLLBACK");
    drop(client);
    drop(router);
    db.cluster.shards[0].connect("postgres").must(&format!("DROP DATABASE {second} WITH (FORCE)"));
}

/// A partition that is detached on some shards is detached on the others.
#[test]
fn detaching_concurrently_goes_on_where_it_stopped() {
    let world = Sharded::create("ddl_detach", "");
    let mut client = world.connect();
    client.must("DROP TABLE parts; DROP TABLE items; CREATE TABLE items (id int, day date) PARTITION BY RANGE (day)");
    client.must("CREATE TABLE parts (id int, day date)");
    client.must("ALTER TABLE items ATTACH PARTITION parts FOR VALUES FROM ('2024-01-01') TO ('2025-01-01')");
    client.must("INSERT INTO parts SELECT g, '2024-02-02' FROM generate_series(1, 40) g");
    let attached = "SELECT count(*) FROM pg_inherits WHERE inhrelid = 'parts'::regclass";
    // A reader of the third shard keeps the partition, until the wait is given up.
    let mut reader = world.db.shard(2);
    reader.must("BEGIN; SELECT count(*) FROM items");
    client.must("SET lock_timeout = '300ms'");
    let detach = "ALTER TABLE items DETACH PARTITION parts CONCURRENTLY";
    let error = client.simple(detach).error.unwrap();
    assert_eq!(error.code(), "55P03", "{error}");
    let detail = error.0.get(&'D').cloned().unwrap_or_default();
    assert!(detail.contains("is done on shards: s0, s1; failed on: s2; not sent to: s3."), "{detail}");
    assert!(error.hint().contains("FINALIZE"), "{error}");
    reader.must("ROLLBACK");
    world.db.shard(2).must("ALTER TABLE items DETACH PARTITION parts FINALIZE");
    client.must(detach);
    assert_eq!(world.on_each(attached), vec!["0"; SHARDS]);
    assert_eq!(client.value("SELECT count(*) FROM parts"), "40");
    assert_eq!(client.value("SELECT count(*) FROM items"), "0");
    assert_eq!(client.simple(detach).code(), "42P01");
    client.must("BEGIN");
    assert_eq!(client.simple(detach).code(), "25001");
}

/// What another router, or somebody on the servers, has made a moment ago lies where it must, also named for the first time.
#[test]
fn partitions_that_others_make_are_known_when_they_are_named() {
    let world = Sharded::create("ddl_others", "catalog_refresh_interval = \"1h\"");
    let general = "catalog_refresh_interval = \"1h\"";
    let second = Router::start(&support::sharded::config(&world.db.name, &world.db.ports(), general, ""));
    let (mut client, mut other) = (world.connect(), second.connect(&world.db.name));
    client.must("DROP TABLE parts; DROP TABLE items; CREATE TABLE items (id int, day date) PARTITION BY RANGE (day)");
    other.must("SELECT count(*) FROM items");
    for (index, server) in world.db.cluster.shards.iter().enumerate() {
        let mut raw = server.connect(&world.db.name);
        raw.must("CREATE TABLE items_24 PARTITION OF items FOR VALUES FROM ('2024-01-01') TO ('2025-01-01')");
        raw.must("CREATE TABLE items_25 PARTITION OF items FOR VALUES FROM ('2025-01-01') TO ('2026-01-01')");
        assert!(index < SHARDS);
    }
    let rows = |year: u32| (1..=40).map(|id| format!("({id}, '{year}-02-02')")).collect::<Vec<_>>().join(", ");
    other.must(&format!("INSERT INTO items_24 VALUES {}", rows(2024)));
    let home: i32 = world.on_each("SELECT count(*) FROM items_24")[0].parse().unwrap();
    assert!((1..40).contains(&home), "{home} rows on the home shard");
    assert_eq!(other.value("SELECT count(*) FROM items_24"), "40");
    // Named first in a read, in a transaction, and by Parse.
    client.must("BEGIN");
    client.must("INSERT INTO items VALUES (1, '2025-03-03'), (2, '2025-03-03'), (3, '2025-03-03')");
    assert_eq!(client.value("SELECT count(*) FROM items_25"), "3");
    client.must("ROLLBACK");
    let inserted = client.extended(&format!("INSERT INTO items_24 VALUES {}", rows(2024)), &[], &[] as &[Value], 0);
    assert!(inserted.error.is_none(), "{:?}", inserted.error);
    assert_eq!(client.value("SELECT count(*) FROM items_24"), "80");
    // In the middle of a pipeline, whose answers come in their order.
    let mut late = world.connect();
    late.must("SELECT count(*) FROM plain");
    for server in &world.db.cluster.shards {
        server
            .connect(&world.db.name)
            .must("CREATE TABLE items_26 PARTITION OF items FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')");
    }
    let run =
        |sql: &str| [message::parse("", sql, &[]), message::bind("", "", &[], &[]), message::execute("", 0)].concat();
    let batch = [
        run("SELECT 'first'"),
        run(&format!("INSERT INTO items_26 VALUES {}", rows(2026))),
        run("SELECT count(*) FROM items_26"),
        message::sync(),
    ];
    let reply = late.exchange(&batch.concat(), None);
    assert!(reply.error.is_none(), "{:?}", reply.error);
    let tags: Vec<_> = reply.answers.iter().filter_map(|answer| answer.tag.clone()).collect();
    assert_eq!(tags, ["SELECT 1", "INSERT 0 40", "SELECT 1"]);
    assert_eq!(client.value("SELECT count(*) FROM items_26"), "40");
    // Temporary tables and names that nobody has.
    client.must("CREATE TEMP TABLE scratch (x int); INSERT INTO scratch VALUES (1)");
    assert_eq!(client.value("SELECT count(*) FROM scratch"), "1");
    assert_eq!(client.value("SELECT count(*) FROM scratch"), "1");
    assert_eq!(client.simple("SELECT * FROM nobody").code(), "42P01");
    assert_eq!(client.simple("INSERT INTO nobody VALUES (1)").code(), "42P01");
}

/// A COPY that waits for a definition runs behind it: where that has moved the key to another place among the columns, its rows go by what
/// the table is then.
#[test]
fn a_copy_behind_a_column_that_is_dropped_before_the_key_misplaces_no_row() {
    let world = Sharded::create("ddl_before", "");
    let (mut client, mut late) = (world.connect(), world.connect());
    client.must("DROP TABLE parts; DROP TABLE items; CREATE TABLE items (x int, id int PRIMARY KEY, c int)");
    late.must("SELECT count(*) FROM items");
    client.must("BEGIN; ALTER TABLE items DROP COLUMN x");
    let reply = std::thread::scope(|scope| {
        let waits = scope.spawn(|| late.copy_in("COPY items FROM STDIN", b"1\t2\n3\t4\n5\t6\n7\t8\n9\t10\n"));
        eventually(20, "it waits", || (0..SHARDS).any(|shard| world.waiting(shard) > 0));
        client.must("COMMIT");
        waits.join().unwrap()
    });
    assert_eq!((reply.code(), &*client.value("SELECT count(*) FROM items")), ("", "5"));
    for id in [1, 3, 5, 7, 9] {
        assert_eq!(client.value(&format!("SELECT c FROM items WHERE id = {id}")), (id + 1).to_string());
    }
}

/// No router waits for its time to read the catalog.
#[test]
fn other_routers_hear_of_definitions() {
    let general = "catalog_refresh_interval = \"1h\"";
    let world = Sharded::create("ddl_news", general);
    let second = Router::start(&support::sharded::config(&world.db.name, &world.db.ports(), general, ""));
    let (mut client, mut other) = (world.connect(), second.connect(&world.db.name));
    let listening = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'";
    eventually(20, "both routers listen", || world.db.shard(0).value(listening) == "2");
    let route = |other: &mut support::Raw, sql: &str| other.must(&format!("EXPLAIN (ROUTE) {sql}")).text();
    // What is planned by the catalog alone, without a word with a server.
    assert!(route(&mut other, "SELECT count(*) FROM shown").contains("Single s0"));
    client.must("CREATE VIEW shown AS SELECT id FROM items");
    eventually(10, "the other router knows the view", || {
        route(&mut other, "SELECT count(*) FROM shown").contains("Scatter")
    });
    client.must(
        "BEGIN; CREATE OR REPLACE VIEW shown AS SELECT id, n FROM items; ALTER TABLE items ADD COLUMN more int; COMMIT",
    );
    eventually(10, "the other router knows the columns", || {
        route(&mut other, "SELECT * FROM items ORDER BY more").contains("MergeSort 4")
    });
    other.must("DROP VIEW shown");
    eventually(10, "the first router knows that it is gone", || {
        route(&mut client, "SELECT count(*) FROM shown").contains("Single s0")
    });
}

/// ANALYZE and VACUUM of what some shards do not have; ANALYZE in a read-only transaction.
#[test]
fn maintenance_goes_where_each_table_lies() {
    let world = Sharded::create("ddl_lists", "");
    let mut client = world.connect();
    client.must("CREATE TABLE at_home (id int, n int)");
    for sql in [
        "ANALYZE items, at_home",
        "ANALYSE at_home (id), items (name)",
        "VACUUM (ANALYZE) at_home, items",
        "BEGIN; ANALYZE at_home, items; COMMIT",
        "BEGIN; ANALYSE VERBOSE items; COMMIT",
        "BEGIN READ ONLY; ANALYZE items; ANALYZE at_home, items; COMMIT",
    ] {
        client.must(sql);
    }
    let analyzed = "SELECT count(*) FROM pg_stat_user_tables WHERE relname = 'items' AND analyze_count >= 3";
    eventually(20, "the tables were analyzed", || world.on_each(analyzed) == vec!["1"; SHARDS]);
    client.must("BEGIN; ANALYZE; COMMIT");
}

/// What a table's key would be is known, or it is not made.
#[test]
fn a_sharded_table_of_a_type_is_refused() {
    let world = Sharded::create("ddl_typed", "");
    let mut client = world.connect();
    client.must(
        "CREATE TYPE one_item AS (id numeric, n int); CREATE TABLE plain_typed OF one_item; DROP TABLE parts, items",
    );
    for sql in
        ["CREATE TABLE items OF one_item", "CREATE TABLE IF NOT EXISTS public.items OF one_item (PRIMARY KEY (id))"]
    {
        let error = client.simple(sql).error.unwrap_or_else(|| panic!("{sql} is done"));
        assert!(error.code() == "0A000" && error.hint().contains("columns"), "{sql}: {error}");
    }
}

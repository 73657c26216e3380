//! UPDATE and DELETE that are sent what they read of other shards: all or nothing, within limits, and nothing left behind by errors, cancels
//! and servers that die. What they change is compared with one Postgres in `oracle/write_supply.sql`.

#![allow(clippy::unwrap_used)]

mod support;

use std::time::{Duration, Instant};

use support::raw::{Message, Raw, Value, message as m};
use support::sharded::{ITEMS, Sharded, config};
use support::{Router, SHARDS, eventually};

/// Counts all rows into each.
const COUNT: &str = "UPDATE items SET n = (SELECT count(*) FROM items)";

/// No row was changed, nobody holds a transaction open, and the session is as good as new.
#[track_caller]
fn untouched(world: &Sharded, raw: &mut Raw, when: &str) {
    let changed = world.on_each("SELECT count(*) FROM items WHERE n <> 0");
    assert_eq!(changed, vec!["0"; SHARDS], "{when}");
    assert_eq!(world.prepared(), Vec::<String>::new(), "{when}");
    let open = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = '{}' AND pid <> pg_backend_pid() AND state <> 'idle'",
        world.db.name
    );
    eventually(20, "nothing is left open", || (0..SHARDS).all(|index| world.db.shard(index).value(&open) == "0"));
    assert_eq!(raw.value("SELECT count(DISTINCT name) FROM items"), ITEMS.to_string(), "{when}");
}

fn code(messages: &[Message]) -> String {
    messages.iter().find(|message| message.tag == b'E').map(|message| message.report().code().to_owned()).unwrap()
}

#[test]
fn every_shard_gets_the_same_and_changes_its_own() {
    let world = Sharded::create("supplysame", "");
    let mut raw = world.connect();
    let reply = raw.must(COUNT);
    assert_eq!(reply.answers[0].tag.as_deref(), Some("UPDATE 60"));
    assert_eq!(world.on_each("SELECT DISTINCT n FROM items"), vec!["60"; SHARDS]);
    // A reference table stays the same everywhere, whatever has several answers.
    for sql in [
        "INSERT INTO places SELECT 'p' || id, name FROM items",
        "UPDATE places SET title = (SELECT name FROM items LIMIT 1) WHERE code < 'p3'",
        "UPDATE places SET title = (SELECT string_agg(code, ',') FROM places) WHERE code > 'p5'",
        "UPDATE places SET title = i.name || now() FROM items i WHERE 'p' || i.id = code AND i.id = 31",
        "DELETE FROM places WHERE code IN (SELECT code FROM places ORDER BY random() LIMIT 5)",
        "DELETE FROM places WHERE code = (SELECT 'p' || floor(random() * 60) FROM items LIMIT 1)",
    ] {
        raw.must(sql);
        let all = world.on_each("SELECT md5(string_agg(places::text, ';' ORDER BY code)) FROM places");
        assert!(all.iter().all(|rows| *rows == all[0]), "{sql}: {all:?}");
    }
    let error = raw.simple("UPDATE places SET title = i.id FROM items i WHERE i.name = title").error.unwrap();
    assert!(error.code() == "0A000" && error.to_string().contains("more than one row of \"i\" could match"), "{error}");
    // One time for all.
    raw.must("UPDATE items SET n = 0, name = now()::text");
    let times: std::collections::HashSet<String> =
        world.on_each("SELECT string_agg(DISTINCT name, ';') FROM items").into_iter().collect();
    assert_eq!(times.len(), 1, "{times:?}");
    assert_eq!(world.prepared(), Vec::<String>::new());
}

#[test]
fn only_the_shards_of_its_rows_write() {
    let world = Sharded::create("supplyfew", "");
    let mut raw = world.connect();
    raw.must("BEGIN");
    let id = world.id(2, 1);
    raw.must(&format!("{COUNT} WHERE id = {id}"));
    let plan = raw.must("EXPLAIN (ROUTE) COMMIT").text();
    assert!(plan.contains("Commit s2: no other shard wrote"), "{plan}");
    raw.must("COMMIT");
    raw.must("BEGIN");
    raw.must(&format!("UPDATE items SET n = i.id FROM items i WHERE i.id = {id} AND items.id = i.id"));
    raw.must(&format!("DELETE FROM items USING items i WHERE i.n + 1 = items.n AND items.id = {id}"));
    let plan = raw.must("EXPLAIN (ROUTE) COMMIT").text();
    assert!(plan.contains("Commit s2: no other shard wrote"), "{plan}");
    raw.must("ROLLBACK");
    // Conditions that no row can fulfil ask somebody all the same.
    let reply = raw.must(&format!("{COUNT} WHERE id = 1 AND id = 2 RETURNING id, n"));
    assert_eq!(reply.answers[0].tag.as_deref(), Some("UPDATE 0"));
    assert_eq!(reply.answers[0].columns.as_ref().map(Vec::len), Some(2), "{reply:?}");
    raw.must("UPDATE items SET n = 0");
    untouched(&world, &mut raw, "after all");
}

#[test]
fn a_statement_without_a_block_is_atomic() {
    let world = Sharded::create("supplyatomic", "");
    let mut raw = world.connect();
    let bad = world.id(1, 2);
    let sql = format!("UPDATE items SET n = CASE WHEN id = {bad} THEN -1 ELSE (SELECT count(*) FROM items) END");
    for reply in [raw.simple(&sql), raw.extended(&sql, &[], &[], 0)] {
        assert_eq!(reply.code(), "23514", "{reply:?}");
        untouched(&world, &mut raw, "a constraint of one shard");
    }
    let sql = "UPDATE items SET n = (SELECT count(*) / (count(*) - 60) FROM items)";
    assert_eq!(raw.simple(sql).code(), "22012");
    untouched(&world, &mut raw, "an error in what is read");
    // In a pipeline it sees what came before, and what comes behind sees it; an error undoes all.
    let run = |sql: &str| [m::parse("", sql, &[]), m::bind("", "", &[], &[]), m::execute("", 0)].concat();
    let first = run("UPDATE items SET n = id");
    let second = run("UPDATE items SET n = (SELECT max(n) FROM items) WHERE n < 30");
    let third = run("UPDATE items SET n = 1 / (n - 60)");
    let reply = raw.exchange_with(&[&first[..], &second, &third, &m::sync()].concat(), None, true);
    let tags: Vec<&str> = reply.answers.iter().filter_map(|answer| answer.tag.as_deref()).collect();
    assert_eq!((reply.code(), tags), ("22012", vec!["UPDATE 60", "UPDATE 29"]), "{reply:?}");
    untouched(&world, &mut raw, "an error in a pipeline");
    // Parameters of the statement and of what it reads, declared or not.
    let sql = "UPDATE items SET n = (SELECT count(*) FROM items WHERE id > $2) + $1 WHERE id < $3 AND name LIKE $4";
    for _ in 0..3 {
        let values = ["5", "50", "10", "item%"].map(Value::text);
        let reply = raw.extended(sql, &[], &values, 0);
        assert_eq!(reply.answers[0].tag.as_deref(), Some("UPDATE 9"), "{reply:?}");
    }
    assert_eq!(raw.value("SELECT sum(n) FROM items"), "135");
    // Prepared by SQL.
    raw.must("PREPARE count_into (int) AS UPDATE items SET n = (SELECT count(*) FROM items WHERE n > 0) WHERE id = $1");
    assert_eq!(raw.must("EXECUTE count_into(40)").answers[0].tag.as_deref(), Some("UPDATE 1"));
    assert_eq!(raw.value("SELECT n FROM items WHERE id = 40"), "9");
    raw.must("UPDATE items SET n = 0");
    untouched(&world, &mut raw, "after all");
}

#[test]
fn returned_rows_come_in_pieces() {
    let world = Sharded::create("supplypieces", "");
    let mut raw = world.connect();
    let sql = "UPDATE items SET n = (SELECT count(*) FROM items) RETURNING id";
    let begin = [m::parse("", sql, &[]), m::bind("p", "", &[], &[]), m::execute("p", 7), m::flush()].concat();
    raw.send(&begin).unwrap();
    let mut ids = Vec::new();
    loop {
        let message = raw.read().unwrap();
        match message.tag {
            b'D' => ids.push(message.cells()[0].clone().map(|cell| String::from_utf8(cell).unwrap()).unwrap()),
            b's' => raw.send(&[m::execute("p", 7), m::flush()].concat()).unwrap(),
            b'C' => break,
            b'E' => panic!("{}", message.report()),
            _ => {}
        }
    }
    raw.send(&m::sync()).unwrap();
    raw.read_to_ready().unwrap();
    ids.sort_by_key(|id| id.parse::<i32>().unwrap());
    assert_eq!(ids, (1..=ITEMS).map(|id| id.to_string()).collect::<Vec<_>>());
    assert_eq!(world.on_each("SELECT DISTINCT n FROM items"), vec!["60"; SHARDS]);
    raw.must("UPDATE items SET n = 0");
    untouched(&world, &mut raw, "after all");
}

#[test]
fn what_is_held_is_bounded() {
    let world = Sharded::create_as("supplylimits", "merge_max_bytes = \"64KiB\"", "[combine]\nmax_rows = 100\n");
    let mut raw = world.connect();
    raw.must("INSERT INTO plain SELECT g + 10, repeat('x', 1000) FROM generate_series(1, 90) g");
    let error = raw.simple("UPDATE items SET n = length(p.body) FROM plain p WHERE p.id = items.id").error.unwrap();
    assert_eq!(error.code(), "53400", "{error}");
    assert!(error.to_string().contains("merge_max_bytes is 65536"), "{error}");
    untouched(&world, &mut raw, "too much to hold");
    // Each is small, and all together are not.
    let some = |from: i32| format!("name IN (SELECT body FROM plain WHERE id > {from} AND id <= {from} + 40)");
    raw.must(&format!("UPDATE items SET n = 1 WHERE {}", some(10)));
    let error = raw.simple(&format!("UPDATE items SET n = 1 WHERE {} OR {}", some(10), some(50))).error.unwrap();
    assert_eq!(error.code(), "53400", "{error}");
    raw.must("INSERT INTO plain SELECT g + 1000 FROM generate_series(1, 90) g");
    let error = raw.simple("UPDATE items SET n = 1 FROM plain p WHERE p.id = items.id").error.unwrap();
    assert_eq!(error.code(), "53400", "{error}");
    untouched(&world, &mut raw, "too much to pull");
}

#[test]
fn a_cancel_and_a_timeout_leave_nothing() {
    let world = Sharded::create("supplycancel", "query_timeout = \"4s\"");
    let mut raw = world.connect();
    raw.must("SELECT count(DISTINCT name) FROM items");
    for cancels in [true, false] {
        // While it reads, and while it writes.
        for lock in ["LOCK TABLE items", "SELECT FROM items FOR UPDATE"] {
            let mut other = world.db.shard(2);
            other.must(&format!("BEGIN; {lock}"));
            raw.send(&m::query(COUNT)).unwrap();
            eventually(20, "the statement waits", || world.waiting(2) > 0);
            let start = Instant::now();
            if cancels {
                support::raw::cancel(world.router.port, raw.key.0, &raw.key.1);
            }
            let messages = raw.read_to_ready().unwrap();
            assert!(start.elapsed() < Duration::from_secs(10), "{lock}");
            assert_eq!(code(&messages), "57014", "{lock}");
            other.must("ROLLBACK");
            untouched(&world, &mut raw, lock);
        }
    }
}

#[test]
fn a_server_that_dies_undoes_it() {
    let world = Sharded::create("supplydies", "");
    let mut raw = world.connect();
    for lock in ["LOCK TABLE items", "SELECT FROM items FOR UPDATE"] {
        let mut other = world.db.shard(2);
        other.must(&format!("BEGIN; {lock}"));
        raw.send(&m::query(COUNT)).unwrap();
        eventually(20, "the statement waits", || world.waiting(2) > 0);
        let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() \
                   AND pid <> pg_backend_pid() AND wait_event_type = 'Lock'";
        assert_ne!(world.db.shard(2).value(end), "0", "{lock}");
        other.must("ROLLBACK");
        let messages = raw.read_to_ready().unwrap();
        let code = code(&messages);
        assert!(["57P01", "08006", "40000"].contains(&&*code), "{lock}: {code}");
        untouched(&world, &mut raw, lock);
    }
}

#[test]
fn the_rights_of_the_client_are_those_that_count() {
    let world = Sharded::create("supplyrights", "");
    let role = format!("{}_s", world.db.name);
    let make = format!(
        "CREATE ROLE {role} LOGIN; GRANT UPDATE (n), SELECT (id, n) ON items TO {role}; GRANT SELECT (id) ON plain TO {role}; \
         GRANT INSERT ON pgloom.decision TO {role}"
    );
    (0..SHARDS).for_each(|index| drop(world.db.shard(index).must(&make)));
    let users = format!("[[users]]\nname = \"postgres\"\n[[users]]\nname = \"{role}\"\n");
    let text = config(&world.db.name, &world.db.ports(), "", &users);
    let head = format!("[databases.{}]\n", world.db.name);
    let router = Router::start(&text.replace(&head, &format!("{head}router_user = \"postgres\"\n")));
    let mut raw = Raw::connect(router.port, &role, &world.db.name).unwrap();
    raw.must("UPDATE items SET n = (SELECT max(id) FROM plain) WHERE id IN (SELECT max(id) FROM items)");
    raw.must("UPDATE items SET n = 0 FROM plain WHERE plain.id = items.n");
    for sql in [
        "UPDATE items SET n = (SELECT max(length(body)) FROM plain)",
        "UPDATE items SET n = 0 FROM plain WHERE plain.body = '' AND items.n = 5",
        "UPDATE items SET n = (SELECT max(length(name)) FROM items)",
        "UPDATE items SET name = (SELECT max(id) FROM plain)",
        "DELETE FROM items WHERE id IN (SELECT id + 1000 FROM plain)",
        "UPDATE items SET n = (SELECT max(id) FROM plain) RETURNING *",
    ] {
        assert_eq!(raw.simple(sql).code(), "42501", "{sql}");
    }
    let mut admin = world.connect();
    admin.must("BEGIN READ ONLY");
    assert_eq!(admin.simple(COUNT).code(), "25006");
    admin.must("ROLLBACK");
    drop((raw, router));
    untouched(&world, &mut admin, "what was not allowed");
    (0..SHARDS).for_each(|index| drop(world.db.shard(index).must(&format!("DROP OWNED BY {role}; DROP ROLE {role}"))));
}

#[test]
fn what_cannot_be_exact_is_refused_and_says_why() {
    let world = Sharded::create("supplyrefuse", "");
    let mut raw = world.connect();
    let refused = |raw: &mut Raw, sql: &str| -> String {
        let error = raw.simple(sql).error.unwrap_or_else(|| panic!("{sql} was not refused"));
        assert_eq!(error.code(), "0A000", "{sql}: {error}");
        error.to_string()
    };
    assert!(refused(&mut raw, &format!("EXPLAIN {COUNT}")).contains("EXPLAIN (ROUTE)"));
    assert!(raw.must(&format!("EXPLAIN (ROUTE) {COUNT}")).text().starts_with("Supply s0, s1, s2, s3"));
    let locks = "DELETE FROM items WHERE id IN (SELECT i.id FROM items i LEFT JOIN parts p USING (id) LIMIT 1 FOR UPDATE OF i SKIP LOCKED)";
    assert!(refused(&mut raw, locks).contains("FOR UPDATE"));
    // Two collations that contradict each other are none.
    let mixed = "DELETE FROM items WHERE name COLLATE \"C\" IN \
                 (SELECT CASE WHEN id > 3 THEN name COLLATE \"C\" ELSE name COLLATE \"POSIX\" END FROM items)";
    assert_eq!(raw.simple(mixed).code(), "42P21", "as one Postgres says");
    let unsure = "DELETE FROM items USING (SELECT (s.v || t.v)::text AS v FROM (SELECT name COLLATE \"C\" AS v FROM items) s, \
                  (SELECT name COLLATE \"POSIX\" AS v FROM items) t) s \
                  WHERE s.v = items.name";
    assert!(refused(&mut raw, unsure).contains("collation"));
    // A table of the session's own hides the one on the home shard.
    raw.must("INSERT INTO plain SELECT g + 40, 'there' FROM generate_series(1, 5) g ON CONFLICT DO NOTHING");
    raw.must("CREATE TEMP TABLE plain (id int, body text)");
    let nothing = raw.must("DELETE FROM items WHERE id IN (SELECT id FROM plain)");
    assert_eq!(nothing.answers[0].tag.as_deref(), Some("DELETE 0"));
    untouched(&world, &mut world.connect(), "what was refused");
}

#[test]
fn rows_of_a_merge_go_to_the_shards_that_can_match_them() {
    let world = Sharded::create("supplymerge", "merge_max_bytes = \"64KiB\"");
    let mut raw = world.connect();
    let free = world.free_ids(2000);
    let merge = |values: &str| {
        format!(
            "MERGE INTO items i USING (VALUES {values}) v (id, n) ON i.id = v.id WHEN MATCHED THEN UPDATE SET n = v.n \
             WHEN NOT MATCHED THEN INSERT (id, n, name) VALUES (v.id, v.n, 'new')"
        )
    };
    // One row is the matter of one shard; several of those that have them.
    let one = raw.must(&format!("EXPLAIN (ROUTE) {}", merge(&format!("({}, 1)", free[2])))).text();
    assert!(one.starts_with("Single s2"), "{one}");
    raw.must("BEGIN");
    let (old, new) = (world.id(1, 0), free[3]);
    let reply = raw.must(&merge(&format!("({old}, 1), ({new}, 2)")));
    assert_eq!(reply.answers[0].tag.as_deref(), Some("MERGE 2"));
    let plan = raw.must("EXPLAIN (ROUTE) COMMIT").text();
    assert!(plan.contains("s1") && plan.contains("s3") && !plan.contains("s2"), "{plan}");
    raw.must("COMMIT");
    assert_eq!(world.db.shard(3).value(&format!("SELECT n FROM items WHERE id = {new}")), "2");
    raw.must(&format!("DELETE FROM items WHERE id = {new}; UPDATE items SET n = 0"));
    // All or nothing.
    let error = raw.simple(&merge(&format!("({old}, 1), ({new}, -2)"))).error.unwrap();
    assert_eq!(error.code(), "23514", "{error}");
    let error = raw.simple(&merge(&format!("({old}, 1), ({new}, 2), ({old}, 3)"))).error.unwrap();
    assert_eq!(error.code(), "21000", "{error}");
    let error = raw.simple(&merge(&format!("({old}, 1), (NULL, 2)"))).error.unwrap();
    assert_eq!(error.code(), "23502", "{error}");
    untouched(&world, &mut raw, "what could not all be done");
    // A key that would be rounded is not sent anywhere; one that is an integer is.
    raw.must(&merge(&format!("({old}.0, 0), ({}, 0)", world.id(2, 0))));
    let error = raw.simple(&merge(&format!("({old}.5, 1), ({new}, 2)"))).error.unwrap();
    assert_eq!(error.code(), "0A000", "{error}");
    untouched(&world, &mut raw, "a key that is none");
    let large = "MERGE INTO items i USING (SELECT g AS id, repeat('x', 1000) AS n FROM generate_series(3001, 3100) g) v \
                 ON i.id = v.id WHEN NOT MATCHED THEN INSERT VALUES (v.id, 1, v.n)";
    let error = raw.simple(large).error.unwrap();
    assert_eq!(error.code(), "53400", "{error}");
    untouched(&world, &mut raw, "too much to hold");
}

#[test]
fn with_that_changes_data_is_atomic_and_runs_to_its_end() {
    let world = Sharded::create("supplywith", "");
    let mut raw = world.connect();
    raw.must("ALTER TABLE parts DROP CONSTRAINT parts_id_fkey");
    let bad = world.id(1, 2);
    let moves = "WITH d AS (DELETE FROM items RETURNING *) INSERT INTO parts SELECT id, name FROM d";
    raw.must(&format!("INSERT INTO parts VALUES ({bad}, 'taken')"));
    assert_eq!(raw.simple(moves).code(), "23505");
    untouched(&world, &mut raw, "a row that was there");
    raw.must("DELETE FROM parts");
    raw.must("BEGIN");
    assert_eq!(raw.must(moves).answers[0].tag.as_deref(), Some("INSERT 0 60"));
    assert_eq!(raw.value("SELECT count(*) FROM items"), "0");
    raw.must("ROLLBACK");
    untouched(&world, &mut raw, "what was rolled back");
    assert_eq!(raw.value("SELECT count(*) FROM parts"), "0");
    // Who takes only a few of the rows has changed all of them, as in Postgres.
    let sql = "WITH u AS (UPDATE items SET n = 1 RETURNING id) SELECT id FROM u";
    let few = [m::parse("", sql, &[]), m::bind("p", "", &[], &[]), m::execute("p", 3), m::close(b'P', "p"), m::sync()];
    let reply = raw.exchange_with(&few.concat(), None, true);
    assert!(reply.error.is_none(), "{reply:?}");
    assert_eq!(world.on_each("SELECT DISTINCT n FROM items"), vec!["1"; SHARDS]);
    raw.must("BEGIN");
    raw.must("WITH u AS (UPDATE items SET n = 0 RETURNING id) SELECT count(*) FROM u");
    let plan = raw.must("EXPLAIN (ROUTE) COMMIT").text();
    assert!(plan.contains("TwoPhase"), "{plan}");
    raw.must("COMMIT");
    untouched(&world, &mut raw, "after all");
    let mut lone = world.connect();
    lone.must("BEGIN READ ONLY");
    assert_eq!(lone.simple("WITH u AS (UPDATE items SET n = 0 RETURNING id) SELECT count(*) FROM u").code(), "25006");
    lone.must("ROLLBACK");
}

/// Rows may be alike for a while in a key that is checked at the end: they are not told apart by it.
#[test]
fn rows_of_copies_are_not_known_by_a_key_that_is_checked_later() {
    let world = Sharded::create("supplylater", "");
    let mut raw = world.connect();
    raw.must("ALTER TABLE places DROP CONSTRAINT places_pkey CASCADE; ALTER TABLE places ADD PRIMARY KEY (code) DEFERRABLE INITIALLY DEFERRED");
    raw.must("DELETE FROM places");
    for (sql, left) in [
        ("DELETE FROM places WHERE title = 'a' AND random() < 2", "2"),
        ("UPDATE places SET title = 'c' || floor(random() * 1e9) WHERE title = 'a'", "3"),
    ] {
        raw.must("BEGIN; INSERT INTO places VALUES ('one', 'a'), ('one', 'b'), ('one', 'b')");
        let reply = raw.simple(sql);
        match reply.code() {
            // Nothing else tells the rows apart.
            "0A000" => raw.must("ROLLBACK"),
            _ => {
                assert_eq!(raw.value("SELECT count(*) FROM places"), left, "{sql}: {reply:?}");
                assert_eq!(raw.value("SELECT count(*) FROM places WHERE title = 'b'"), "2", "{sql}");
                raw.must("ROLLBACK")
            }
        };
    }
}

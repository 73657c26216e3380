//! Rows that are locked although no shard has the rows of the result by itself: what is locked, who waits, and what comes of rows that change
//! meanwhile, as in one Postgres.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::support::raw::{Raw, Reply, Value, message as m};
use super::support::{self, SHARDS, Sharded, eventually};

const OF_PARTS: &str = "SELECT i.id, p.id FROM items i JOIN parts p ON p.label = i.name";

/// Parts 1 to 12, each of the item with the next number; and the same in one Postgres.
fn world(label: &str) -> (Sharded, Raw) {
    let world = Sharded::create(label, "");
    let fill = "INSERT INTO parts SELECT n, 'item ' || n + 1 FROM generate_series(1, 12) n; \
                INSERT INTO places VALUES ('b', 'item 3'), ('c', 'item 4')";
    let mut one = world.db.oracle();
    let items = (1..=support::sharded::ITEMS).fold(String::new(), |mut rows, id| {
        let _ = write!(rows, "{}({id}, 0, 'item {id}')", if id > 1 { ", " } else { "" });
        rows
    });
    one.must(support::sharded::SCHEMA);
    one.must(&format!("INSERT INTO items VALUES {items}; INSERT INTO places VALUES ('a', 'A'); INSERT INTO plain VALUES (1, 'one'); {fill}"));
    world.connect().must(fill);
    (world, one)
}

fn of_shards(world: &Sharded, sql: &str) -> BTreeSet<String> {
    (0..SHARDS).flat_map(|shard| world.db.shard(shard).values(sql)).collect()
}

/// What is locked of each table, on the shards and in one Postgres.
fn locked(world: &Sharded) -> [Vec<BTreeSet<String>>; 2] {
    let mut one = world.db.oracle();
    let mut home = world.db.shard(0);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for (table, key) in [("items", "id"), ("parts", "id"), ("places", "code"), ("plain", "id")] {
        let all = format!("SELECT {key} FROM {table}");
        let free = format!("{all} FOR UPDATE SKIP LOCKED");
        let minus = |all: BTreeSet<String>, free: &BTreeSet<String>| all.difference(free).cloned().collect();
        match table {
            "items" | "parts" => ours.push(minus(of_shards(world, &all), &of_shards(world, &free))),
            _ => ours.push(minus(set(&mut home, &all), &set(&mut home, &free))),
        }
        theirs.push(minus(set(&mut one, &all), &set(&mut one, &free)));
    }
    [ours, theirs]
}

fn set(raw: &mut Raw, sql: &str) -> BTreeSet<String> {
    raw.values(sql).into_iter().collect()
}

#[track_caller]
fn same(sql: &str, ours: &Reply, theirs: &Reply) {
    assert_eq!(ours.text(), theirs.text(), "{sql}");
    // How many rows an error leaves behind is a matter of buffers.
    let columns = |reply: &Reply| reply.answers.iter().map(|answer| answer.columns.clone()).collect::<Vec<_>>();
    assert_eq!(columns(ours), columns(theirs), "{sql}");
    if theirs.error.is_none() {
        assert_eq!(ours.answers, theirs.answers, "{sql}");
    }
}

const STATEMENTS: &[&str] = &[
    "SELECT i.id, p.id FROM items i JOIN parts p ON p.label = i.name ORDER BY i.id FOR UPDATE",
    "SELECT i.id, p.* FROM items i JOIN parts p ON p.label = i.name WHERE i.id < 6 ORDER BY i.id FOR UPDATE OF i",
    "SELECT * FROM items i, parts p WHERE p.label = i.name AND p.id > 9 ORDER BY p.id FOR NO KEY UPDATE OF p",
    "SELECT p.label FROM items i JOIN parts p ON p.id = i.n + 3 WHERE i.id IN (1, 2, 3) ORDER BY i.id FOR SHARE OF p, i",
    "SELECT i.id FROM items i JOIN parts p ON p.label = i.name ORDER BY i.id DESC LIMIT 3 FOR UPDATE OF i",
    "SELECT i.id FROM items i JOIN parts p ON p.label = i.name ORDER BY i.id OFFSET 2 LIMIT 3 FOR UPDATE SKIP LOCKED",
    "SELECT i.id FROM items i JOIN parts p ON p.label = i.name ORDER BY i.id FOR KEY SHARE OF i NOWAIT FETCH FIRST 2 ROWS ONLY",
    "SELECT i.id, a.title FROM items i JOIN places a ON a.title = i.name ORDER BY 1 FOR UPDATE",
    "SELECT i.id, a.title FROM items i LEFT JOIN places a ON a.title = i.name WHERE i.id < 9 ORDER BY 1 LIMIT 4 FOR UPDATE OF i",
    "SELECT i.id, l.body FROM items i JOIN plain l ON l.id = i.n + 1 WHERE i.id < 4 ORDER BY i.id FOR UPDATE",
    "SELECT i.id FROM items i WHERE EXISTS (SELECT 1 FROM parts p WHERE p.label = i.name) ORDER BY 1 LIMIT 5 FOR UPDATE",
    "SELECT i.id, (SELECT count(*) FROM parts p WHERE p.label = i.name) FROM items i WHERE i.id < 5 ORDER BY 1 FOR SHARE",
    "SELECT a.id, b.id FROM items a JOIN items b ON b.id = a.id + 1 WHERE a.id < 4 ORDER BY 1 FOR UPDATE OF b",
    "WITH w AS (SELECT label FROM parts WHERE id < 4) SELECT i.id FROM items i JOIN w ON w.label = i.name ORDER BY 1 FOR UPDATE",
    "SELECT i.id, x.n FROM items i JOIN (SELECT label, count(*) AS n FROM parts GROUP BY label) x ON x.label = i.name ORDER BY 1 FOR UPDATE OF i",
    "SELECT i.id FROM items i JOIN parts p ON p.label = i.name WHERE p.id > 1000 FOR UPDATE",
    "SELECT ALL i.id FROM items i JOIN parts p ON p.label = i.name WHERE p.label <> 'pgloom_key_1' ORDER BY i.id LIMIT 3 FOR UPDATE OF i",
    "SELECT i.id, skip.id FROM items i JOIN parts skip ON skip.label = i.name ORDER BY 1 FOR UPDATE OF i, skip",
    "SELECT i.id, nowait.id FROM items i JOIN parts nowait ON nowait.label = i.name ORDER BY 1 LIMIT 3 FOR SHARE OF nowait",
    "SELECT skip.id FROM items skip JOIN parts nowait ON nowait.label = skip.name ORDER BY 1 FOR UPDATE OF skip, nowait SKIP LOCKED",
    "SELECT i.name FROM items i JOIN parts p ON p.label = i.name ORDER BY i.name LIMIT 0 FOR UPDATE",
    "SELECT FROM items i JOIN parts p ON p.label = i.name WHERE i.id = 3 FOR UPDATE",
    "SELECT id FROM items ORDER BY name COLLATE \"en_US\" DESC, id LIMIT 4 FOR UPDATE",
    "SELECT i.id, p.id FROM items i LEFT JOIN parts p ON p.label = i.name FOR UPDATE",
    "SELECT count(*) FROM items i JOIN parts p ON p.label = i.name FOR UPDATE",
    "SELECT DISTINCT i.id FROM items i JOIN parts p ON p.label = i.name FOR UPDATE",
    "SELECT i.id FROM items i JOIN parts p ON p.label = i.name FOR UPDATE OF x",
    "SELECT i.id, nothing FROM items i JOIN parts p ON p.label = i.name FOR UPDATE",
];

#[test]
fn the_rows_of_the_result_are_locked_and_no_others() {
    let (world, mut one) = world("locks_together");
    let mut raw = world.connect();
    for sql in STATEMENTS {
        raw.must("BEGIN");
        one.must("BEGIN");
        let (ours, theirs) = (raw.simple(sql), one.simple(sql));
        if theirs.error.is_some() {
            assert_eq!(ours.code(), theirs.code(), "{sql}: {}", ours.text());
            assert!(ours.answers.iter().all(|answer| answer.columns.is_none()), "{sql}");
        } else {
            same(sql, &ours, &theirs);
        }
        let [ours, theirs] = locked(&world);
        assert_eq!(ours, theirs, "{sql}");
        raw.must("ROLLBACK");
        one.must("ROLLBACK");
        // Outside of a block they are given back with the answer.
        let (ours, theirs) = (raw.simple(sql), one.simple(sql));
        assert_eq!((ours.code(), ours.status), (theirs.code(), theirs.status), "{sql}: {}", ours.text());
        assert_eq!(ours.answers, theirs.answers, "{sql}");
        assert!(locked(&world)[0].iter().all(BTreeSet::is_empty), "{sql}");
    }
    assert!(world.prepared().is_empty());
}

#[test]
fn every_form_of_the_protocol_gives_the_columns_of_the_statement() {
    let (world, mut one) = world("locks_forms");
    let mut raw = world.connect();
    let sql = "SELECT i.id, p.label, i.n FROM items i JOIN parts p ON p.label = i.name WHERE i.id > $1 ORDER BY i.id LIMIT $2 FOR UPDATE OF i";
    let values = [Value::text("3"), Value::text("4")];
    for formats in [&[][..], &[0], &[1], &[1, 0, 1]] {
        let bytes = [
            m::parse("", sql, &[]),
            m::describe(b'S', ""),
            m::bind("", "", &values, formats),
            m::describe(b'P', ""),
            m::execute("", 0),
            m::sync(),
        ]
        .concat();
        let (ours, theirs) = (raw.exchange(&bytes, None), one.exchange(&bytes, None));
        assert_eq!(ours.code(), "", "{}", ours.text());
        assert_eq!(ours, theirs);
        assert_eq!(ours.answers.iter().map(|answer| answer.rows.len()).sum::<usize>(), 4);
    }
    for raw in [&mut raw, &mut one] {
        raw.must(&format!("PREPARE locker (int, int) AS {sql}"));
    }
    for run in ["EXECUTE locker (5, 2)", "BEGIN; EXECUTE locker (0, 100)", "EXECUTE locker (99, 1)", "COMMIT"] {
        same(run, &raw.simple(run), &one.simple(run));
        let [ours, theirs] = locked(&world);
        assert_eq!(ours, theirs, "{run}");
    }
    // In pieces they would be locked before they are fetched.
    let pieces = [m::parse("", sql, &[]), m::bind("", "", &values, &[]), m::execute("", 2), m::sync()].concat();
    assert_eq!(raw.exchange(&pieces, None).code(), "0A000");
    // As many as there are at most are all of them: one Postgres has locked them then, too, and does not know that they were.
    let limited = "SELECT id FROM items ORDER BY id LIMIT 4 FOR UPDATE";
    for (sql, values) in [(sql, &values[..]), (limited, &[])] {
        for max in [4, 5] {
            let bytes = [
                m::parse("", sql, &[]),
                m::bind("", "", values, &[]),
                m::execute("", max),
                m::execute("", max),
                m::sync(),
            ]
            .concat();
            let (ours, theirs) = (raw.exchange(&bytes, None), one.exchange(&bytes, None));
            assert_eq!(ours, theirs, "{max}: {sql}");
        }
    }
    // The client is told where its text is wrong, not where the router's is.
    let wrong = "SELECT i.id, i.wrong FROM items i JOIN parts p ON p.label = i.name FOR UPDATE";
    let (ours, theirs) = (raw.simple(wrong).error.unwrap(), one.simple(wrong).error.unwrap());
    assert_eq!(ours.0.get(&'P'), theirs.0.get(&'P'));
}

#[test]
fn others_who_have_the_rows_are_waited_for_skipped_or_told() {
    let (world, mut one) = world("locks_held");
    let (mut raw, mut holder) = (world.connect(), world.connect());
    let mut other = world.db.oracle();
    let hold =
        "BEGIN; SELECT id FROM items WHERE id IN (3, 5) FOR UPDATE; SELECT id FROM parts WHERE id = 7 FOR UPDATE";
    holder.must(hold);
    other.must(hold);
    for tail in [
        "ORDER BY i.id FOR UPDATE SKIP LOCKED",
        "ORDER BY i.id FOR UPDATE OF p, i SKIP LOCKED",
        "ORDER BY i.id FOR SHARE OF p SKIP LOCKED",
        "ORDER BY i.id LIMIT 4 FOR UPDATE OF i SKIP LOCKED",
        "ORDER BY i.id LIMIT 2 OFFSET 1 FOR UPDATE SKIP LOCKED",
        "WHERE i.id > 3 ORDER BY i.id LIMIT 1 FOR UPDATE NOWAIT",
        "WHERE i.id > 4 ORDER BY i.id LIMIT 1 FOR UPDATE NOWAIT",
        "ORDER BY i.id FOR UPDATE NOWAIT",
    ] {
        let sql = format!("{OF_PARTS} {tail}");
        raw.must("BEGIN");
        one.must("BEGIN");
        let (ours, theirs) = (raw.simple(&sql), one.simple(&sql));
        same(&sql, &ours, &theirs);
        if theirs.error.is_none() {
            let [ours, theirs] = locked(&world);
            assert_eq!(ours, theirs, "{sql}");
        }
        raw.must("ROLLBACK");
        one.must("ROLLBACK");
    }
    assert_eq!(
        raw.simple(&format!("{OF_PARTS} FOR UPDATE NOWAIT")).error.unwrap().message(),
        "could not obtain lock on row in relation \"items\""
    );
}

/// What is done by another session while the statement waits for it, and with what answer it goes on.
#[test]
fn rows_that_change_meanwhile_are_those_of_one_postgres() {
    let (world, mut one) = world("locks_changed");
    for (change, sql) in [
        (
            "UPDATE items SET n = 7 WHERE id = 3",
            "SELECT i.id, i.n, p.id FROM items i JOIN parts p ON p.label = i.name WHERE i.n < 9 ORDER BY i.id FOR UPDATE",
        ),
        (
            "UPDATE items SET n = 99 WHERE id = 3",
            "SELECT i.id, i.n FROM items i JOIN parts p ON p.label = i.name WHERE i.n < 9 ORDER BY i.id FOR UPDATE OF i",
        ),
        (
            "DELETE FROM parts WHERE id = 4",
            "SELECT i.id, p.id FROM items i JOIN parts p ON p.label = i.name ORDER BY i.id FOR UPDATE",
        ),
        (
            "UPDATE parts SET label = 'none' WHERE id = 5",
            "SELECT i.id, p.id FROM items i JOIN parts p ON p.label = i.name ORDER BY i.id FOR SHARE OF p",
        ),
        (
            "UPDATE items SET n = 99 WHERE id = 2",
            "SELECT i.id FROM items i JOIN parts p ON p.label = i.name WHERE i.n < 9 ORDER BY i.id LIMIT 2 FOR UPDATE OF i",
        ),
        (
            "DELETE FROM parts WHERE id = 1",
            "SELECT i.id FROM items i JOIN parts p ON p.label = i.name ORDER BY i.id LIMIT 2 OFFSET 1 FOR UPDATE",
        ),
        (
            "UPDATE places SET title = 'none' WHERE code = 'b'",
            "SELECT i.id, a.code FROM items i JOIN places a ON a.title = i.name ORDER BY 1 FOR UPDATE OF a",
        ),
        (
            "DELETE FROM parts WHERE id = 8; INSERT INTO parts VALUES (8, 'none')",
            "SELECT i.id, p.id FROM items i JOIN parts p ON p.label = i.name WHERE p.id < 10 ORDER BY i.id FOR UPDATE OF p",
        ),
        (
            "UPDATE plain SET body = 'item 5'",
            "SELECT i.id, l.body FROM items i JOIN plain l ON i.id < 3 WHERE l.id = 1 ORDER BY 1 FOR UPDATE OF l",
        ),
        (
            "SELECT 1 FROM items WHERE id = 3 FOR UPDATE",
            "SELECT i.id, p.id FROM items i JOIN parts p ON p.label = i.name ORDER BY i.id FOR UPDATE",
        ),
    ] {
        let (mut holder, mut raw) = (world.connect(), world.connect());
        let mut other = world.db.oracle();
        for (holder, raw) in [(&mut holder, &mut raw), (&mut other, &mut one)] {
            holder.must(&format!("BEGIN; {change}"));
            raw.must("BEGIN");
            raw.send(&m::query(sql)).unwrap();
        }
        eventually(10, "both wait", || {
            let waits =
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
            let theirs = world.db.oracle().value(waits) != "0";
            theirs && (0..SHARDS).any(|shard| world.waiting(shard) > 0)
        });
        holder.must("COMMIT");
        other.must("COMMIT");
        let rows = |raw: &mut Raw| -> Vec<_> {
            let messages = raw.read_to_ready().unwrap();
            messages
                .into_iter()
                .filter(|message| matches!(message.tag, b'D' | b'C' | b'E'))
                .map(|m| (m.tag, m.body))
                .collect()
        };
        assert_eq!(rows(&mut raw), rows(&mut one), "{change}; {sql}");
        let [ours, theirs] = locked(&world);
        assert_eq!(ours, theirs, "{change}; {sql}");
        raw.must("ROLLBACK");
        one.must("ROLLBACK");
    }
}

/// Rows that have other keys when they are no longer waited for, and a commit that comes late to the other shards.
#[test]
fn keys_that_change_meanwhile_are_found_again() {
    let (world, mut one) = world("locks_rekeyed");
    let far = world.id(1, 0);
    for raw in [&mut world.connect(), &mut one] {
        raw.must(&format!("INSERT INTO places VALUES ('far', 'item {far}')"));
        raw.must("CREATE TABLE numbers (n numeric PRIMARY KEY, id int); INSERT INTO numbers VALUES (1, 5), (2, 6)");
    }
    let sql = format!(
        "SELECT i.id, a.code FROM items i JOIN places a ON a.title = i.name WHERE i.id = {far} OR a.code = 'b' ORDER BY 1 FOR UPDATE OF a"
    );
    let mut raw = world.connect();
    raw.must("BEGIN");
    let mut holders: Vec<Raw> = (0..SHARDS).map(|shard| world.db.shard(shard)).collect();
    for holder in &mut holders {
        holder.must("BEGIN; UPDATE places SET code = 'farther' WHERE code = 'far'");
    }
    raw.send(&m::query(&sql)).unwrap();
    eventually(10, "it waits", || world.waiting(0) > 0);
    holders[0].must("COMMIT");
    std::thread::sleep(std::time::Duration::from_millis(700));
    for holder in &mut holders[1..] {
        holder.must("COMMIT");
    }
    let rows = |raw: &mut Raw| -> Vec<_> {
        let messages = raw.read_to_ready().unwrap();
        messages.iter().filter(|message| message.tag == b'D').map(support::Message::cells).collect()
    };
    one.must("UPDATE places SET code = 'farther' WHERE code = 'far'");
    assert_eq!(rows(&mut raw), one.must(&sql).answers[0].rows);
    raw.must("ROLLBACK");

    let sql = "SELECT i.id, u.n FROM items i JOIN numbers u ON u.id = i.id ORDER BY 1 FOR UPDATE OF u";
    let mut holder = world.connect();
    let change = "UPDATE numbers SET n = 1.0000 WHERE n = 1";
    holder.must(&format!("BEGIN; {change}"));
    raw.must("BEGIN");
    raw.send(&m::query(sql)).unwrap();
    eventually(10, "it waits", || world.waiting(0) > 0);
    holder.must("COMMIT");
    one.must(change);
    assert_eq!(rows(&mut raw), one.must(sql).answers[0].rows);
    let free = world.db.shard(0).values("SELECT n FROM numbers FOR UPDATE SKIP LOCKED");
    assert_eq!(free, Vec::<String>::new());
    raw.must("ROLLBACK");
}

/// A key of a table is none of the rows of those that inherit from it; one of a table with partitions is one of all.
#[test]
fn rows_of_tables_that_inherit_have_no_key() {
    let (world, mut one) = world("locks_children");
    let mut raw = world.connect();
    for raw in [&mut raw, &mut one] {
        raw.must("CREATE TABLE above (id int PRIMARY KEY, body text); CREATE TABLE below () INHERITS (above)");
        raw.must("INSERT INTO above VALUES (1, 'above'), (2, 'above'); INSERT INTO below VALUES (1, 'below')");
        raw.must("CREATE TABLE cut (id int PRIMARY KEY, body text) PARTITION BY RANGE (id)");
        raw.must("CREATE TABLE cut_low PARTITION OF cut FOR VALUES FROM (0) TO (3); CREATE TABLE cut_high PARTITION OF cut DEFAULT");
        raw.must("INSERT INTO cut SELECT n, 'part ' || n FROM generate_series(1, 5) n");
    }
    let of = |table: &str| {
        format!("SELECT i.id, x.body FROM items i JOIN {table} x ON x.id = i.id ORDER BY 1, 2 FOR UPDATE")
    };
    let refused = raw.simple(&format!("{} OF x SKIP LOCKED", of("above")));
    assert_eq!(refused.code(), "0A000");
    let detail = refused.error.unwrap().0.get(&'D').cloned().unwrap_or_default();
    assert!(detail.contains("tables inherit from table \"above\""), "{detail}");
    for sql in [format!("{} OF i", of("above")), of("cut"), format!("{} NOWAIT", of("cut_low"))] {
        same(&sql, &raw.simple(&sql), &one.simple(&sql));
    }
}

/// What comes to the result by what was waited for is in it, as if the statement had come behind that.
#[test]
fn rows_that_come_meanwhile_are_locked_too() {
    let (world, mut one) = world("locks_came");
    for (held, change, sql) in [
        (
            4,
            "UPDATE places SET title = 'item 9' WHERE code = 'b'",
            "SELECT i.id, a.code FROM items i JOIN places a ON a.title = i.name ORDER BY 1 FOR UPDATE",
        ),
        (
            5,
            "DELETE FROM parts WHERE id = 1; INSERT INTO parts VALUES (1, 'item 20')",
            "SELECT i.id, p.id FROM items i JOIN parts p ON p.label = i.name ORDER BY i.id FOR UPDATE",
        ),
        (
            4,
            "UPDATE parts SET label = 'item 1' WHERE id = 3",
            "SELECT i.id, p.id FROM items i JOIN parts p ON p.label = i.name ORDER BY i.id LIMIT 2 OFFSET 1 FOR UPDATE OF i",
        ),
        (
            6,
            "UPDATE items SET n = 5 WHERE id IN (2, 40)",
            "SELECT i.id, i.n, p.id FROM items i JOIN parts p ON p.label = i.name OR p.id = i.n ORDER BY 1, 3 FOR SHARE OF i",
        ),
    ] {
        let (mut holder, mut raw, mut other) = (world.connect(), world.connect(), world.db.oracle());
        holder.must(&format!("BEGIN; SELECT id FROM items WHERE id = {held} FOR UPDATE; {change}"));
        raw.must("BEGIN");
        raw.send(&m::query(sql)).unwrap();
        eventually(10, "it waits", || (0..SHARDS).any(|shard| world.waiting(shard) > 0));
        holder.must("COMMIT");
        other.must(change);
        let messages = raw.read_to_ready().unwrap();
        let rows =
            messages.iter().filter(|message| message.tag == b'D').map(support::Message::cells).collect::<Vec<_>>();
        one.must("BEGIN");
        let theirs = one.must(sql);
        assert_eq!(rows, theirs.answers[0].rows, "{change}; {sql}");
        let [ours, theirs] = locked(&world);
        for (ours, theirs) in ours.iter().zip(&theirs) {
            assert!(ours.is_superset(theirs), "{change}; {sql}: {ours:?}, {theirs:?}");
        }
        raw.must("ROLLBACK");
        one.must("ROLLBACK");
    }
}

#[test]
fn a_snapshot_of_before_and_modes_that_write_nothing() {
    let (world, mut one) = world("locks_snapshots");
    let sql = format!("{OF_PARTS} WHERE i.id < 6 ORDER BY i.id FOR UPDATE OF i");
    let mut other = world.db.oracle();
    for (raw, writer) in [(&mut world.connect(), &mut world.connect()), (&mut one, &mut other)] {
        raw.must("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM items");
        assert_eq!(raw.values(&sql).len(), 4);
        raw.must("COMMIT");
        raw.must("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM items");
        writer.must("UPDATE items SET n = n + 1 WHERE id = 4");
        assert_eq!(raw.simple(&sql).code(), "40001");
        raw.must("ROLLBACK");
        raw.must("BEGIN READ ONLY");
        let refused = raw.simple(&sql);
        assert_eq!(refused.code(), "25006");
        assert_eq!(refused.error.unwrap().message(), "cannot execute SELECT FOR UPDATE in a read-only transaction");
        raw.must("ROLLBACK; BEGIN READ ONLY");
        assert_eq!(raw.simple(&format!("{OF_PARTS} WHERE i.id > 1000 FOR UPDATE")).code(), "25006");
        raw.must("ROLLBACK");
    }
    // What the transaction has written itself is in it.
    let mut raw = world.connect();
    raw.must("BEGIN; INSERT INTO items VALUES (500, 0, 'mine'); INSERT INTO parts VALUES (500, 'item 60')");
    assert_eq!(raw.must(&format!("{OF_PARTS} WHERE p.id > 100 FOR UPDATE")).text(), "60|500");
    raw.must("ROLLBACK");
}

/// The same rows, in the same order: one waits for the other, and they do not lock each other out.
#[test]
fn two_who_lock_the_same_rows_take_turns() {
    let world = Sharded::create("locks_turns", "deadlock_timeout = \"200ms\"");
    world.connect().must("INSERT INTO parts SELECT n, 'item ' || n + 1 FROM generate_series(1, 50) n");
    let work = || {
        let mut raw = world.connect();
        for _ in 0..15 {
            raw.must("BEGIN");
            assert_eq!(raw.values(&format!("{OF_PARTS} FOR UPDATE")).len(), 50);
            raw.must("UPDATE items SET n = n + 1 WHERE id = 20");
            raw.must("COMMIT");
        }
    };
    std::thread::scope(|scope| (0..3).for_each(|_| drop(scope.spawn(work))));
    assert_eq!(world.connect().value("SELECT n FROM items WHERE id = 20"), "45");
}

/// Which rows come first is left open: each reading has the same, so that no others are locked.
#[test]
fn no_more_rows_are_locked_than_a_limit_lets_through() {
    let (world, _) = world("locks_ties");
    let mut raw = world.connect();
    for tail in
        ["LIMIT 3", "ORDER BY i.n LIMIT 3", "ORDER BY i.n -- all alike\n FETCH FIRST 3 ROWS ONLY", "LIMIT 2 OFFSET 1"]
    {
        for of in ["items i JOIN parts p ON p.label = i.name", "items i JOIN places p ON p.title <> i.name"] {
            let sql = format!("SELECT i.id FROM {of} {tail} FOR UPDATE");
            for _ in 0..4 {
                raw.must("BEGIN");
                let returned: BTreeSet<String> = raw.values(&sql).into_iter().collect();
                let [[items, parts, places, _], _] = locked(&world).map(|all| <[_; 4]>::try_from(all).unwrap());
                assert!(items.is_superset(&returned), "{sql}: {returned:?}, {items:?}");
                assert!(
                    items.len() <= 3 && parts.len().max(places.len()) <= 3,
                    "{sql}: {items:?}, {parts:?}, {places:?}"
                );
                raw.must("ROLLBACK");
            }
        }
    }
}

/// A row that has been waited for lies elsewhere in its table: it is still the one that was first.
#[test]
fn a_row_that_was_waited_for_is_not_changed_for_another() {
    let (world, _) = world("locks_moved");
    let (mut raw, mut holder) = (world.connect(), world.connect());
    for tail in ["LIMIT 1", "ORDER BY i.n LIMIT 1"] {
        let sql = format!("SELECT i.id FROM items i JOIN parts p ON p.label = i.name {tail} FOR UPDATE OF i");
        let first = raw.value(&sql);
        holder.must(&format!("BEGIN; UPDATE items SET name = name WHERE id = {first}"));
        holder.must(&format!("UPDATE parts SET label = label WHERE label = 'item {first}'"));
        raw.must("BEGIN");
        raw.send(&m::query(&sql)).unwrap();
        eventually(10, "it waits", || (0..SHARDS).any(|shard| world.waiting(shard) > 0));
        holder.must("COMMIT");
        let messages = raw.read_to_ready().unwrap();
        let rows = messages.iter().filter(|message| message.tag == b'D').map(support::Message::cells);
        assert_eq!(rows.collect::<Vec<_>>(), [[Some(first.clone().into_bytes())]], "{sql}");
        assert_eq!(locked(&world)[0][0], BTreeSet::from([first]), "{sql}");
        raw.must("ROLLBACK");
    }
}

/// One Postgres does not look at the keys of rows that it locks.
#[test]
fn keys_that_the_user_may_not_read_are_told_as_such() {
    let (world, mut one) = world("locks_columns");
    let mut raw = world.connect();
    let role = "locks_columns_reader";
    for raw in [&mut raw, &mut one] {
        let _ = raw.simple(&format!("CREATE ROLE {role}"));
        raw.must(&format!("GRANT SELECT ON items TO {role}; GRANT SELECT (label), UPDATE (label) ON parts TO {role}"));
        raw.must(&format!("SET ROLE {role}"));
    }
    let sql = "SELECT p.label FROM parts p JOIN items i ON i.name = p.label FOR UPDATE OF p";
    assert_eq!(one.values(sql).len(), 12);
    raw.must("BEGIN");
    let refused = raw.simple(sql);
    assert_eq!((refused.code(), refused.status), ("0A000", b'E'), "{}", refused.text());
    assert!(refused.error.unwrap().to_string().contains("primary keys"));
    assert_eq!(raw.simple("SELECT 1").code(), "25P02");
    raw.must("ROLLBACK");
    for sql in [sql.replace("p.label FROM", "p.id FROM"), sql.replace("p.label FROM", "p.* FROM")] {
        assert_eq!((raw.simple(&sql).code(), one.simple(&sql).code()), ("42501", "42501"), "{sql}");
    }
    for raw in [&mut raw, &mut one] {
        raw.must(&format!("RESET ROLE; DROP OWNED BY {role}"));
    }
    raw.must(&format!("DROP ROLE {role}"));
}

/// Temporary tables beside the locked ones, copies with their columns in another order, and Postgres's words for what it refuses.
#[test]
fn tables_of_other_kinds_stand_beside_those_that_are_locked() {
    let (world, mut one) = world("locks_beside");
    let mut past = world.db.shard(1);
    past.must("ALTER TABLE places RENAME TO old; CREATE TABLE places (title text, code text PRIMARY KEY)");
    past.must("INSERT INTO places SELECT title, code FROM old; DROP TABLE old");
    let mut raw = world.connect();
    for raw in [&mut raw, &mut one] {
        raw.must(
            "CREATE TEMP TABLE picked (id int PRIMARY KEY, word text); INSERT INTO picked VALUES (3, 'x'), (7, 'y')",
        );
    }
    for sql in [
        "SELECT i.id, a.code FROM items i JOIN places a ON a.title = i.name ORDER BY 1 FOR UPDATE OF a",
        "SELECT i.id, t.word FROM items i JOIN picked t ON t.id = i.id ORDER BY 1 FOR UPDATE OF i",
        "SELECT i.id, t.word FROM items i JOIN picked t ON t.id = i.id ORDER BY 1 LIMIT 1 FOR UPDATE",
    ] {
        raw.must("BEGIN");
        one.must("BEGIN");
        same(sql, &raw.simple(sql), &one.simple(sql));
        let [ours, theirs] = locked(&world);
        assert_eq!(ours, theirs, "{sql}");
        raw.must("ROLLBACK");
        one.must("ROLLBACK");
    }
    let sql = "SELECT i.id, p.id FROM items i LEFT JOIN parts p ON p.label = i.name FOR NO KEY UPDATE";
    let message = |reply: Reply| reply.error.unwrap().message().to_owned();
    assert_eq!(message(raw.simple(sql)), message(one.simple(sql)));
}

/// What is read several times says what it has to say once.
#[test]
fn notices_come_once() {
    let world = Sharded::create("locks_notices", "");
    let function = "CREATE FUNCTION says(n int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'at %', n; RETURN n; END $$";
    let mut raw = world.connect();
    raw.must("INSERT INTO parts SELECT n, 'item ' || n + 1 FROM generate_series(1, 12) n");
    raw.must(function);
    let sql = format!("{OF_PARTS} WHERE i.id IN (3, 4, 5) AND says(p.id) > 0 ORDER BY i.id FOR UPDATE OF i");
    raw.send(&m::query(&sql)).unwrap();
    let messages = raw.read_to_ready().unwrap();
    let of = |tag: u8| messages.iter().filter(|message| message.tag == tag).count();
    assert_eq!((of(b'D'), of(b'E')), (3, 0), "{messages:?}");
    let said: Vec<_> = messages.iter().filter(|message| message.tag == b'N').map(|message| &message.body).collect();
    assert_eq!(said.iter().collect::<BTreeSet<_>>().len(), said.len());
    assert!(!said.is_empty());
}

/// Who may read, and not lock.
#[test]
fn rights_are_those_to_lock() {
    let (world, _) = world("locks_rights");
    let mut raw = world.connect();
    raw.must("CREATE ROLE locks_rights_reader; GRANT SELECT ON items, parts TO locks_rights_reader; GRANT UPDATE ON parts TO locks_rights_reader");
    raw.must("SET ROLE locks_rights_reader");
    assert_eq!(raw.values(&format!("{OF_PARTS} FOR UPDATE OF p")).len(), 12);
    for condition in ["", "WHERE i.id > 1000"] {
        assert_eq!(raw.simple(&format!("{OF_PARTS} {condition} FOR UPDATE OF i")).code(), "42501");
    }
    raw.must("RESET ROLE; DROP OWNED BY locks_rights_reader; DROP ROLE locks_rights_reader");
}

/// More rows than are locked at once, and more than may be held.
#[test]
fn many_rows_are_locked_in_pieces_within_a_limit() {
    let world = Sharded::create("locks_pieces", "merge_max_bytes = \"512kB\"");
    let mut raw = world.connect();
    raw.must("INSERT INTO items SELECT n, 0, 'item ' || n FROM generate_series(61, 3000) n");
    raw.must("INSERT INTO parts SELECT n, 'item ' || n FROM generate_series(1, 2000) n");
    raw.must("BEGIN");
    let sql = format!("{OF_PARTS} AND i.name <> repeat('x', i.n) ORDER BY p.id");
    assert_eq!(raw.values(&format!("{sql} FOR UPDATE OF i")).len(), 2000);
    assert_eq!(super::free(&world).len(), 1000);
    raw.must("ROLLBACK");
    let large = sql.replace("i.id,", "repeat(i.name, 100),");
    assert_eq!(raw.simple(&format!("{large} FOR UPDATE OF i")).code(), "53400");
    assert_eq!(super::free(&world).len(), 3000);
    assert_eq!(raw.value("SELECT count(*) FROM items"), "3000");
}

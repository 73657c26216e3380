//! Writes whose rows are put together first and then delivered: all or nothing, within limits, and nothing left behind by errors, cancels
//! and servers that die. What they write is compared with one Postgres in `oracle/write_select.sql`.

#![allow(clippy::unwrap_used)]

mod support;

use std::time::{Duration, Instant};

use support::raw::{Message, Raw, Value, message as m};
use support::sharded::{ITEMS, Sharded, config};
use support::{Router, SHARDS, eventually};

/// Copies every row of `items` under a key that most often belongs to another shard.
const COPY: &str = "INSERT INTO items SELECT id + 1000, n, name FROM items";

fn items(world: &Sharded) -> i32 {
    world.on_each("SELECT count(*) FROM items").iter().map(|count| count.parse::<i32>().unwrap()).sum()
}

/// Nothing was written, nobody holds a transaction open, and the session is as good as new.
#[track_caller]
fn untouched(world: &Sharded, raw: &mut Raw, when: &str) {
    assert_eq!(items(world), ITEMS, "{when}");
    assert_eq!(world.prepared(), Vec::<String>::new(), "{when}");
    let open = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = '{}' AND pid <> pg_backend_pid() AND state <> 'idle'",
        world.db.name
    );
    eventually(20, "nothing is left open", || (0..SHARDS).all(|index| world.db.shard(index).value(&open) == "0"));
    assert_eq!(raw.value("SELECT count(DISTINCT name) FROM items"), ITEMS.to_string(), "{when}");
}

fn error(messages: &[Message]) -> (String, String) {
    let report = messages.iter().find(|message| message.tag == b'E').unwrap().report();
    (report.code().to_owned(), report.message().to_owned())
}

#[test]
fn only_shards_that_got_rows_have_written() {
    let world = Sharded::create("deliverone", "");
    let mut raw = world.connect();
    raw.must("CREATE TABLE few (id int PRIMARY KEY)");
    let free = world.free_ids(2000);
    raw.must(&format!("INSERT INTO few VALUES ({}), ({})", free[2], free[2] + 1_000_000));
    for (limit, written) in [(free[2], 1), (free[2] + 1_000_000, 2)] {
        raw.must("BEGIN");
        raw.must(&format!("INSERT INTO items SELECT id FROM few WHERE id <= {limit}"));
        let plan = raw.must("EXPLAIN (ROUTE) COMMIT").text();
        assert!(
            if written == 1 { plan.contains("Commit s2: no other shard wrote") } else { !plan.is_empty() },
            "{plan}"
        );
        raw.must("COMMIT");
        raw.must("DELETE FROM items WHERE id > 1000");
    }
    // Rows for nobody are written by nobody.
    raw.must("BEGIN");
    raw.must("INSERT INTO items SELECT id FROM few WHERE id < 0");
    let plan = raw.must("EXPLAIN (ROUTE) COMMIT").text();
    assert!(plan.contains("nothing was written"), "{plan}");
    raw.must("COMMIT");
    untouched(&world, &mut raw, "after all");
}

#[test]
fn a_statement_without_a_block_is_atomic() {
    let world = Sharded::create("deliveratomic", "");
    let mut raw = world.connect();
    // One shard refuses one of the rows, at once or when it commits.
    let taken = 1000 + world.id(1, 2);
    let sql =
        format!("INSERT INTO items SELECT id + 1000, CASE WHEN id + 1000 = {taken} THEN -1 ELSE n END FROM items");
    for reply in [raw.simple(&sql), raw.extended(&sql, &[], &[], 0)] {
        assert_eq!(reply.code(), "23514", "{reply:?}");
        let context = reply.error.as_ref().unwrap().0.get(&'W').cloned();
        assert_eq!(context, None, "of a COPY that the client knows nothing of");
        untouched(&world, &mut raw, "a constraint of one shard");
    }
    // A deferred constraint fails in the commit.
    let sql = "INSERT INTO parts SELECT id + 5000, name FROM items WHERE n < 100 ORDER BY random()";
    assert_eq!(raw.simple(sql).code(), "23503");
    untouched(&world, &mut raw, "a constraint that is checked at the end");
    assert_eq!(raw.value("SELECT count(*) FROM parts"), "0");
    let reply = raw.must(COPY);
    assert_eq!(reply.answers[0].tag.as_deref(), Some("INSERT 0 60"));
    assert_eq!(items(&world), 2 * ITEMS);
    assert_eq!(world.prepared(), Vec::<String>::new());
}

#[test]
fn pipelines_and_blocks_keep_their_order() {
    let world = Sharded::create("deliverpipe", "");
    let mut raw = world.connect();
    let run = |sql: &str| [m::parse("", sql, &[]), m::bind("", "", &[], &[]), m::execute("", 0)].concat();
    // In a pipeline it sees what came before, and what comes behind sees it; an error undoes all.
    let first = run("INSERT INTO items VALUES (501, 9, 'pipe')");
    let second = run("INSERT INTO items SELECT id + 1000, n + 1 FROM items WHERE n = 9");
    let third = run("UPDATE items SET n = n + 1 WHERE n >= 9");
    let reply = raw.exchange_with(&[&first[..], &second, &third, &m::sync()].concat(), None, true);
    let tags: Vec<&str> = reply.answers.iter().filter_map(|answer| answer.tag.as_deref()).collect();
    assert_eq!(tags, ["INSERT 0 1", "INSERT 0 1", "UPDATE 2"], "{reply:?}");
    assert_eq!(raw.value("SELECT sum(n) FROM items WHERE n >= 9"), "21");
    raw.must("DELETE FROM items WHERE n >= 9");
    let fails = run("INSERT INTO items SELECT id, n FROM items");
    let reply = raw.exchange_with(&[&first[..], &second, &fails, &third, &m::sync()].concat(), None, true);
    assert_eq!(reply.code(), "23505");
    untouched(&world, &mut raw, "an error in a pipeline");
}

#[test]
fn returned_rows_come_in_pieces() {
    let world = Sharded::create("deliverpieces", "");
    let mut raw = world.connect();
    let sql = "INSERT INTO items SELECT id + 1000, n, name FROM items ORDER BY id DESC RETURNING id, name";
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
    let expected: Vec<String> = (1..=ITEMS).rev().map(|id| (id + 1000).to_string()).collect();
    assert_eq!(ids, expected);
    assert_eq!(items(&world), 2 * ITEMS);
    raw.must("DELETE FROM items WHERE id > 1000");
    // A portal that is closed early has written all the same, as in Postgres.
    let closed =
        [m::parse("", sql, &[]), m::bind("p", "", &[], &[]), m::execute("p", 7), m::close(b'P', "p"), m::sync()];
    let reply = raw.exchange_with(&closed.concat(), None, true);
    assert!(reply.error.is_none(), "{reply:?}");
    assert_eq!(items(&world), 2 * ITEMS);
}

#[test]
fn limits_end_what_is_too_much() {
    let world = Sharded::create_as("deliverlimits", "merge_max_bytes = \"64KiB\"", "[combine]\nmax_rows = 100\n");
    let mut raw = world.connect();
    raw.must("INSERT INTO plain SELECT g + 10, repeat('x', 1000) FROM generate_series(1, 90) g");
    // What must be held at once is bounded, what streams is not.
    let held = "INSERT INTO items SELECT id + 1000, 0, body FROM plain ON CONFLICT DO NOTHING";
    let error = raw.simple(held).error.unwrap();
    assert_eq!(error.code(), "53400", "{error}");
    assert!(error.to_string().contains("merge_max_bytes is 65536"), "{error}");
    untouched(&world, &mut raw, "too much to hold");
    raw.must("INSERT INTO items SELECT id + 1000, 0, body FROM plain");
    assert_eq!(items(&world), ITEMS + 91);
    raw.must("DELETE FROM items WHERE id > 1000");
    raw.must("INSERT INTO plain SELECT g + 1000 FROM generate_series(1, 90) g");
    let error = raw.simple("INSERT INTO items SELECT id + 1000, 0, body FROM plain").error.unwrap();
    assert_eq!(error.code(), "53400", "{error}");
    untouched(&world, &mut raw, "too much to pull");
}

#[test]
fn many_rows_stream_through_bounded_memory() {
    let world = Sharded::create("deliverlarge", "");
    let mut raw = world.connect();
    let rows = 120_000;
    raw.must(&format!("INSERT INTO plain SELECT g + 10, repeat('x', 600) || g FROM generate_series(1, {rows}) g"));
    let resident = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", world.router.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() / 1024
    };
    let before = resident();
    let start = Instant::now();
    let reply = raw.must("INSERT INTO items SELECT id + 100000, 0, body FROM plain WHERE id > 10");
    println!("{rows} rows of 600 bytes in {:?}", start.elapsed());
    assert_eq!(reply.answers[0].tag.as_deref(), Some(&*format!("INSERT 0 {rows}")));
    assert!(resident() - before < 40, "{} MiB", resident() - before);
    assert_eq!(items(&world), ITEMS + rows);
    let counts = world.on_each("SELECT count(*) FROM items");
    assert!(counts.iter().all(|count| count.parse::<i32>().unwrap() > rows / 20), "{counts:?}");
}

#[test]
fn a_cancel_and_a_timeout_leave_nothing() {
    let world = Sharded::create("delivercancel", "");
    let mut raw = world.connect();
    raw.must("SELECT count(DISTINCT name) FROM items");
    let waits = |shard: usize| world.waiting(shard) > 0;
    // While it reads, and while it writes: a reader takes no lock that would keep it from a row that another one inserts.
    let mut other = world.db.shard(2);
    let key = world.free_ids(3000)[2];
    for (lock, sql) in [
        ("LOCK TABLE items".to_owned(), COPY.to_owned()),
        (format!("INSERT INTO items VALUES ({key})"), format!("INSERT INTO items SELECT {key}, id FROM plain")),
        (
            format!("INSERT INTO items VALUES ({key})"),
            format!(
                "INSERT INTO items SELECT {key} + id - id, id FROM plain UNION ALL SELECT id + 1000, n FROM items ON CONFLICT DO NOTHING"
            ),
        ),
    ] {
        other.must(&format!("BEGIN; {lock}"));
        raw.send(&m::query(&sql)).unwrap();
        eventually(20, "the statement waits", || waits(2));
        let start = Instant::now();
        support::raw::cancel(world.router.port, raw.key.0, &raw.key.1);
        let messages = raw.read_to_ready().unwrap();
        assert!(start.elapsed() < Duration::from_secs(10), "{sql}");
        assert_eq!(error(&messages).0, "57014", "{sql}");
        other.must("ROLLBACK");
        untouched(&world, &mut raw, &sql);
    }
}

#[test]
fn a_query_timeout_ends_it_on_every_shard() {
    let world = Sharded::create("delivertime", "query_timeout = \"1s\"");
    let mut raw = world.connect();
    let key = world.free_ids(3000)[1];
    let mut other = world.db.shard(1);
    other.must(&format!("BEGIN; INSERT INTO items VALUES ({key})"));
    let sql =
        format!("INSERT INTO items SELECT {key} + id - id, id FROM plain UNION ALL SELECT id + 1000, n FROM items");
    assert_eq!(raw.simple(&sql).code(), "57014");
    other.must("ROLLBACK");
    untouched(&world, &mut raw, "a timeout");
}

#[test]
fn a_server_that_dies_undoes_it() {
    let world = Sharded::create("deliverdies", "");
    let mut raw = world.connect();
    let key = world.free_ids(3000)[2];
    let mut other = world.db.shard(2);
    let sql =
        format!("INSERT INTO items SELECT {key} + id - id, id FROM plain UNION ALL SELECT id + 1000, n FROM items");
    // A shard that takes rows, and the one that has put them together.
    for (shard, which) in [(2, "wait_event_type = 'Lock'"), (0, "query LIKE 'SELECT%pgloom_d%'")] {
        other.must(&format!("BEGIN; INSERT INTO items VALUES ({key})"));
        raw.send(&m::query(&sql)).unwrap();
        eventually(20, "the statement waits", || world.waiting(2) > 0);
        let end = format!(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() \
             AND pid <> pg_backend_pid() AND {which}"
        );
        assert_ne!(world.db.shard(shard).value(&end), "0", "{which}");
        other.must("ROLLBACK");
        let messages = raw.read_to_ready().unwrap();
        if let Some(failed) = messages.iter().find(|message| message.tag == b'E').map(Message::report) {
            assert!(["57P01", "08006", "40000"].contains(&failed.code()), "{failed}");
            untouched(&world, &mut raw, which);
        } else {
            // It was not needed any more.
            assert_eq!(shard, 0);
            raw.must("DELETE FROM items WHERE id > 1000");
        }
    }
}

#[test]
fn the_rights_of_the_client_are_those_that_count() {
    let world = Sharded::create("deliverrights", "");
    let role = format!("{}_w", world.db.name);
    let make = format!(
        "CREATE ROLE {role} LOGIN; GRANT INSERT ON items, places TO {role}; GRANT SELECT ON plain TO {role}; \
         GRANT INSERT ON pgloom.decision TO {role}"
    );
    (0..SHARDS).for_each(|index| drop(world.db.shard(index).must(&make)));
    // Another router over the same shards, for a client that may do little.
    let users = format!("[[users]]\nname = \"postgres\"\n[[users]]\nname = \"{role}\"\n");
    let text = config(&world.db.name, &world.db.ports(), "", &users);
    let head = format!("[databases.{}]\n", world.db.name);
    let router = Router::start(&text.replace(&head, &format!("{head}router_user = \"postgres\"\n")));
    let mut raw = Raw::connect(router.port, &role, &world.db.name).unwrap();
    // To write needs no right to read.
    raw.must("INSERT INTO items SELECT id + 700, 1, body FROM plain");
    assert_eq!(raw.simple("INSERT INTO items SELECT id + 700 FROM items").code(), "42501");
    assert_eq!(raw.simple("INSERT INTO parts SELECT id + 700, body FROM plain").code(), "42501");
    assert_eq!(raw.simple("INSERT INTO parts SELECT id + 700, body FROM plain WHERE id < 0").code(), "42501");
    raw.must("INSERT INTO places SELECT body, body FROM plain");
    let mut admin = world.connect();
    admin.must("BEGIN READ ONLY");
    assert_eq!(admin.simple(COPY).code(), "25006");
    admin.must("ROLLBACK");
    admin.must("DELETE FROM items WHERE id > 100");
    drop((raw, router));
    untouched(&world, &mut admin, "what was not allowed");
    (0..SHARDS).for_each(|index| drop(world.db.shard(index).must(&format!("DROP OWNED BY {role}; DROP ROLE {role}"))));
}

#[test]
fn rows_move_to_the_shard_of_their_new_key() {
    let world = Sharded::create("deliverymove", "");
    let mut raw = world.connect();
    raw.must("CREATE TABLE moves (id int PRIMARY KEY)");
    raw.must("ALTER TABLE parts DROP CONSTRAINT parts_id_fkey");
    let (from, to) = (world.id(1, 0), world.free_ids(2000)[3]);
    raw.must("BEGIN");
    let reply = raw.must(&format!("UPDATE items SET id = {to} WHERE id = {from}"));
    assert_eq!(reply.answers[0].tag.as_deref(), Some("UPDATE 1"));
    let plan = raw.must("EXPLAIN (ROUTE) COMMIT").text();
    assert!(plan.contains("TwoPhase") && plan.contains("s1") && plan.contains("s3") && !plan.contains("s2"), "{plan}");
    raw.must("COMMIT");
    let on_third = world.db.shard(3).value(&format!("SELECT name FROM items WHERE id = {to}"));
    assert_eq!(on_third, format!("item {from}"));
    assert_eq!(items(&world), ITEMS);
    raw.must(&format!("UPDATE items SET id = {from} WHERE id = {to}"));
    // All of them at once, and back.
    assert_eq!(raw.must("UPDATE items SET id = id + 1000").answers[0].tag.as_deref(), Some("UPDATE 60"));
    assert_eq!(raw.value("SELECT sum(id) FROM items"), (60 * 61 / 2 + 60_000).to_string());
    let error = raw.simple("UPDATE items SET id = id - 1000, n = 1059 - id").error.unwrap();
    assert_eq!(error.code(), "23514", "{error}");
    assert_eq!(raw.value("SELECT sum(id) FROM items"), (60 * 61 / 2 + 60_000).to_string());
    raw.must("UPDATE items SET id = id - 1000");
    untouched(&world, &mut raw, "there and back");
    // One Postgres says 23505, or not, by the order in which it comes to the rows.
    for sql in [
        "UPDATE items SET id = id + 1",
        "UPDATE items SET id = 61 - id",
        "UPDATE items SET id = id % 60 + 1 RETURNING id",
    ] {
        let error = raw.simple(sql).error.unwrap();
        assert!(error.code() == "0A000" && error.to_string().contains("take over"), "{sql}: {error}");
        untouched(&world, &mut raw, sql);
    }
    assert_eq!(raw.simple("UPDATE items SET id = 7 WHERE id < 5").code(), "23505");
    untouched(&world, &mut raw, "keys that are there");
    // While somebody else changes the row, who moves it waits.
    let mut other = world.connect();
    other.must(&format!("BEGIN; UPDATE items SET n = 7 WHERE id = {from}"));
    raw.send(&m::query(&format!("UPDATE items SET id = {to}, n = n + 1 WHERE id = {from}"))).unwrap();
    eventually(20, "the move waits", || world.waiting(1) > 0);
    other.must("COMMIT");
    raw.read_to_ready().unwrap();
    assert_eq!(raw.value(&format!("SELECT n FROM items WHERE id = {to}")), "8");
    raw.must(&format!("UPDATE items SET id = {from}, n = 0 WHERE id = {to}"));
    untouched(&world, &mut raw, "a row that was changed meanwhile");
}

/// What no key of plain columns says: whether one Postgres says 23505 or 23P01 goes by the order in which it comes to the rows.
#[test]
fn rows_that_are_unique_in_another_way_move_one_at_a_time() {
    let world = Sharded::create("deliveryunique", "");
    let mut raw = world.connect();
    raw.must("ALTER TABLE parts DROP CONSTRAINT parts_id_fkey; ALTER TABLE items DROP CONSTRAINT items_pkey CASCADE");
    let rows = "SELECT count(*) || ' ' || sum(id) FROM items";
    let before = raw.value(rows);
    for unique in [
        "CREATE UNIQUE INDEX odd ON items (id, lower(name))",
        "CREATE UNIQUE INDEX odd ON items (id) WHERE n >= 0",
        "ALTER TABLE items ADD CONSTRAINT odd EXCLUDE USING btree (id WITH =)",
        "ALTER TABLE items ADD CONSTRAINT odd UNIQUE (id) DEFERRABLE",
    ] {
        raw.must(unique);
        for sql in [
            "UPDATE items SET id = 61 - id",
            "UPDATE items SET id = id + 1",
            "UPDATE items SET id = 3 - id WHERE id < 3",
        ] {
            let error = raw.simple(sql).error.unwrap();
            assert!(error.code() == "0A000" && error.to_string().contains("take over"), "{unique}: {sql}: {error}");
        }
        assert_eq!(
            raw.must("UPDATE items SET id = 7001 WHERE id = 1").answers[0].tag.as_deref(),
            Some("UPDATE 1"),
            "{unique}"
        );
        raw.must("UPDATE items SET id = 1 WHERE id = 7001");
        if !unique.contains("lower") {
            let code = raw.simple("UPDATE items SET id = 2 WHERE id = 1").code().to_owned();
            assert!(["23505", "23P01"].contains(&&*code), "{unique}: {code}");
        }
        assert_eq!(raw.value(rows), before, "{unique}");
        raw.must(if unique.starts_with("ALTER") { "ALTER TABLE items DROP CONSTRAINT odd" } else { "DROP INDEX odd" });
    }
}

#[test]
fn who_may_not_delete_and_insert_may_not_move() {
    let world = Sharded::create("deliverymoverights", "");
    let mut raw = world.connect();
    raw.must("ALTER TABLE parts DROP CONSTRAINT parts_id_fkey");
    let role = format!("{}_u", world.db.name);
    let make = format!("CREATE ROLE {role}; GRANT SELECT, INSERT, DELETE ON items TO {role}");
    (0..SHARDS).for_each(|index| drop(world.db.shard(index).must(&make)));
    let (from, to) = (world.id(1, 0), world.free_ids(2000)[3]);
    let sql = format!("UPDATE items SET id = {to} WHERE id = {from}");
    raw.must(&format!("SET ROLE {role}"));
    assert_eq!(raw.simple(&sql).code(), "42501", "an UPDATE takes the right to update");
    let grant = format!("GRANT UPDATE (id) ON items TO {role}; REVOKE DELETE ON items FROM {role}");
    (0..SHARDS).for_each(|index| drop(world.db.shard(index).must(&grant)));
    let error = raw.simple(&sql).error.unwrap();
    assert!(error.code() == "0A000" && error.to_string().contains("DELETE"), "{error}");
    let grant = format!("GRANT DELETE ON items TO {role}");
    (0..SHARDS).for_each(|index| drop(world.db.shard(index).must(&grant)));
    raw.must(&sql);
    raw.must("RESET ROLE");
    raw.must(&format!("UPDATE items SET id = {from} WHERE id = {to}"));
    untouched(&world, &mut raw, "there and back");
    (0..SHARDS).for_each(|index| drop(world.db.shard(index).must(&format!("DROP OWNED BY {role}; DROP ROLE {role}"))));
}

/// Keys that others point to: what is not pointed to moves, and what is says so as in one Postgres, or is refused.
#[test]
fn rows_that_others_may_refer_to_move() {
    let world = Sharded::create("movereferred", "");
    let mut raw = world.connect();
    let sum = "SELECT count(*) || ' ' || sum(id) FROM items";
    let before = raw.value(sum);
    assert_eq!(raw.must("UPDATE items SET id = id + 1000 WHERE id > 30").answers[0].tag.as_deref(), Some("UPDATE 30"));
    assert_eq!(raw.value("SELECT count(*) FROM items WHERE id > 1000"), "30");
    raw.must("UPDATE items SET id = id - 1000 WHERE id > 1000");
    // A key that is looked at when the transaction ends.
    raw.must("INSERT INTO parts VALUES (5, 'of 5')");
    let late = raw.simple("UPDATE items SET id = 1005 WHERE id = 5").error.unwrap();
    assert_eq!(late.code(), "23503", "{late}");
    let said =
        "update or delete on table \"items\" violates foreign key constraint \"parts_id_fkey\" on table \"parts\"";
    assert_eq!(late.message(), said);
    raw.must("BEGIN");
    raw.must("UPDATE items SET id = 1005 WHERE id = 5");
    raw.must("DELETE FROM parts WHERE id = 5");
    raw.must("COMMIT");
    raw.must("UPDATE items SET id = 5 WHERE id = 1005");
    raw.must("INSERT INTO parts VALUES (5, 'of 5')");
    assert_eq!(raw.value(sum), before);
    // One that is looked at by each statement: another error of the row could come first in one Postgres.
    let refused = |raw: &mut Raw, sql: &str| -> String {
        let error = raw.simple(sql).error.unwrap_or_else(|| panic!("{sql} was not refused"));
        assert_eq!(error.code(), "0A000", "{sql}: {error}");
        error.to_string()
    };
    let key = "ADD CONSTRAINT parts_id_fkey FOREIGN KEY (id) REFERENCES items";
    raw.must(&format!("ALTER TABLE parts DROP CONSTRAINT parts_id_fkey, {key}"));
    assert!(refused(&mut raw, "UPDATE items SET id = 1005 WHERE id = 5").contains("refer to it"));
    raw.must("BEGIN");
    assert!(refused(&mut raw, "UPDATE items SET id = id + 1000").contains("Key (id)=(5) is still referenced"));
    assert_eq!(raw.simple("SELECT 1").code(), "25P02");
    raw.must("ROLLBACK");
    raw.must("UPDATE items SET id = 1006 WHERE id = 6");
    raw.must("UPDATE items SET id = 6 WHERE id = 1006");
    for action in ["ON UPDATE CASCADE", "ON DELETE CASCADE"] {
        raw.must(&format!("ALTER TABLE parts DROP CONSTRAINT parts_id_fkey, {key} {action}"));
        assert!(refused(&mut raw, "UPDATE items SET id = 1006 WHERE id = 6").contains("action"), "{action}");
    }
    raw.must("DELETE FROM parts");
    assert_eq!(raw.value(sum), before);
    untouched(&world, &mut raw, "there and back");
}

#[test]
fn what_cannot_be_exact_is_refused_and_says_why() {
    let world = Sharded::create("deliverrefuse", "");
    let mut raw = world.connect();
    let refused = |raw: &mut Raw, sql: &str| -> String {
        let error = raw.simple(sql).error.unwrap_or_else(|| panic!("{sql} was not refused"));
        assert_eq!(error.code(), "0A000", "{sql}: {error}");
        error.to_string()
    };
    assert!(refused(&mut raw, &format!("EXPLAIN {COPY}")).contains("EXPLAIN (ROUTE)"));
    assert!(raw.must(&format!("EXPLAIN (ROUTE) {COPY}")).text().starts_with("Deliver to s0, s1, s2, s3"));
    let subquery = format!("{COPY} ON CONFLICT (id) DO UPDATE SET n = (SELECT count(*) FROM items)");
    assert!(refused(&mut raw, &subquery).contains("subquery"));
    // Every row has come back: so their order is known.
    raw.must("BEGIN");
    let ids = raw.values(&format!("{COPY} ORDER BY id ON CONFLICT DO NOTHING RETURNING id"));
    raw.must("ROLLBACK");
    let numbers: Vec<u32> = ids.iter().map(|id| id.parse().unwrap()).collect();
    assert!(numbers.len() > 10 && numbers.is_sorted(), "{numbers:?}");
    let volatile = "INSERT INTO places SELECT name, name FROM items RETURNING random()";
    assert!(refused(&mut raw, volatile).contains("random()"));
    // Code of users on the table: on the home shard one INSERT sets it off as in one Postgres.
    raw.must("CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.body = upper(NEW.body); RETURN NEW; END'");
    raw.must("CREATE TRIGGER shout BEFORE INSERT ON plain FOR EACH ROW EXECUTE FUNCTION shout()");
    raw.must("INSERT INTO plain SELECT id + 100, name FROM items WHERE id = 7");
    assert_eq!(raw.value("SELECT body FROM plain WHERE id = 107"), "ITEM 7");
    // And on each shard for its rows: what it leaves out does not come back.
    let look = "BEGIN IF NEW.id % 10 = 0 THEN RETURN NULL; END IF; NEW.name := upper(NEW.name); RETURN NEW; END";
    raw.must(&format!("CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS '{look}'"));
    raw.must("CREATE TRIGGER look BEFORE INSERT ON items FOR EACH ROW EXECUTE FUNCTION look()");
    raw.must("BEGIN");
    assert_eq!(raw.must(COPY).answers[0].tag.as_deref(), Some("INSERT 0 54"));
    assert_eq!(raw.value("SELECT count(*) FROM items WHERE id > 1000 AND name LIKE 'ITEM %'"), "54");
    let some = "INSERT INTO items SELECT id + 2000, n, name FROM items WHERE id < 21 RETURNING id";
    assert_eq!(raw.values(some).len(), 18);
    raw.must("ROLLBACK");
    raw.must("DROP TRIGGER look ON items");
    // A table of the session's own hides the one on the home shard.
    raw.must("CREATE TEMP TABLE plain (id int, body text)");
    raw.must("INSERT INTO plain SELECT id, name FROM items WHERE id <= 20");
    raw.must("BEGIN");
    assert_eq!(
        raw.must("INSERT INTO public.plain SELECT id + 500, name FROM items").answers[0].tag.as_deref(),
        Some("INSERT 0 60")
    );
    assert_eq!(raw.value("SELECT count(*) FROM public.plain WHERE id > 500"), "60");
    assert_eq!(raw.value("SELECT count(*) FROM plain"), "20");
    raw.must("CREATE TEMP TABLE more AS SELECT id, name FROM items");
    raw.must("SELECT count(*) AS n INTO TEMP third FROM items GROUP BY id % 2");
    assert_eq!(raw.value("SELECT count(*) || ' of ' || n FROM more, third GROUP BY n"), "120 of 30");
    raw.must("ROLLBACK");
    untouched(&world, &mut world.connect(), "what was refused");
}

#[test]
fn a_temporary_table_is_filled_whatever_the_client_says_of_its_parameters() {
    let world = Sharded::create("fillparams", "");
    let mut raw = world.connect();
    raw.must("CREATE TEMP TABLE mine (a int, c1 text)");
    let sql = "INSERT INTO mine SELECT id, $1 FROM items WHERE id > $2";
    for types in [&[][..], &[0, 0], &[25, 23]] {
        let reply = raw.extended(sql, types, &[Value::text("x"), Value::text("-1")], 0);
        assert_eq!(reply.code(), "", "{types:?}");
    }
    assert_eq!(raw.value("SELECT count(*) FROM mine WHERE c1 = 'x'"), "180");
    raw.must("INSERT INTO mine (a) SELECT id FROM items ORDER BY id DESC LIMIT 7");
    assert_eq!(raw.value("SELECT count(*) FROM mine WHERE c1 IS NULL"), "7");
    // The rows of several shards come in no order, and a default would count them.
    raw.must("CREATE TEMP TABLE ranked (rank serial, a int UNIQUE)");
    for sql in [
        "INSERT INTO ranked (a) SELECT id FROM items ORDER BY id",
        "INSERT INTO ranked SELECT id, id FROM items ORDER BY id ON CONFLICT DO NOTHING",
    ] {
        assert_eq!(raw.simple(sql).code(), "0A000", "{sql}");
    }
    raw.must("INSERT INTO ranked (a) SELECT id FROM items");
    // A sample that is the same each time needs rows that lie the same.
    let sampled = "SELECT count(*) FROM items a TABLESAMPLE BERNOULLI (50) REPEATABLE (1)";
    assert_eq!(raw.value(sampled), raw.value(sampled));
    let joined = "SELECT count(*) FROM items a TABLESAMPLE BERNOULLI (50) REPEATABLE (1) JOIN items b ON a.n = b.id";
    assert_eq!(world.connect().simple(joined).code(), "0A000");
}

/// Rows that refer to those that move would go with them: a foreign key with an action is seen where it was made past the router, too.
#[test]
fn a_foreign_key_made_past_the_router_is_seen_when_rows_move() {
    let world = Sharded::create("deliverykey", "");
    let mut raw = world.connect();
    raw.must("DROP TABLE parts");
    let id = world.id(1, 0);
    let update = format!("UPDATE items SET id = id + 1000 WHERE id = {id}");
    raw.must(&format!("BEGIN; {update}; ROLLBACK"));
    for index in 0..SHARDS {
        world.db.shard(index).must("CREATE TABLE kids (id int REFERENCES items ON DELETE CASCADE)");
    }
    world.db.shard(1).must(&format!("INSERT INTO kids VALUES ({id})"));
    let error = raw.simple(&update).error.unwrap();
    assert_eq!(error.code(), "0A000", "{error}");
    assert_eq!(world.db.shard(1).value("SELECT count(*) FROM kids"), "1");
}

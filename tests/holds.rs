//! Cursors over several shards that outlive their transaction: both protocols, what ends them, what they keep and give back.

#![allow(clippy::unwrap_used)]

mod support;

use std::time::{Duration, Instant};

use support::raw::{Raw, cancel, message as m};
use support::script::Step::{self, Ready, Send};
use support::script::{Pair, Placed, batch, queries, run, text};
use support::{Sharded, eventually};

const SCHEMA: &str = "CREATE TABLE items (id int PRIMARY KEY, name text COLLATE \"C\", n int CHECK (n >= 0)); \
     CREATE TABLE plain (id int PRIMARY KEY, body text)";

fn world() -> Pair {
    let world = Pair::create("holds", SCHEMA, &[("items", Placed::By("id"))], "");
    let rows: Vec<String> = (1..=60).map(|i| format!("({i}, 'item {i}', {})", i % 7)).collect();
    world.fill(&[&format!("INSERT INTO items VALUES {}", rows.join(", ")), "INSERT INTO plain VALUES (1, 'one')"]);
    world
}

const HOLD: &str = "DECLARE c SCROLL CURSOR WITH HOLD FOR SELECT id, n FROM items ORDER BY n, id";

fn described(sql: &str) -> Vec<u8> {
    [m::parse("", sql, &[]), m::describe(b'S', ""), m::bind("", "", &[], &[]), m::describe(b'P', ""), m::execute("", 0)]
        .concat()
}

#[test]
fn in_the_extended_protocol() {
    let world = world();
    let fetches: Vec<Step> =
        ["FETCH 2 FROM c", "FETCH PRIOR FROM c", "MOVE 3 FROM c", "FETCH 1 FROM c", "CLOSE c", "FETCH 1 FROM c"]
            .iter()
            .flat_map(|sql| [batch(&[described(sql), m::sync()]), Ready])
            .collect();
    let declared = vec![batch(&[run(HOLD, &[]), m::sync()]), Ready];
    world.answers("declared by itself", &[declared, fetches].into_iter().flatten().collect::<Vec<_>>());
    world.answers(
        "declared and fetched in one pipeline",
        &[
            batch(&[run(HOLD, &[]), described("FETCH 2 FROM c"), run("SELECT count(*) FROM items", &[]), m::sync()]),
            Ready,
            batch(&[described("FETCH 2 FROM c"), m::sync()]),
            Ready,
            batch(&[
                described("FETCH 1 FROM c"),
                run("SELECT name FROM items WHERE id = 7", &[]),
                run("UPDATE items SET n = n WHERE id < 5", &[]),
                described("FETCH 1 FROM c"),
                m::sync(),
            ]),
            Ready,
            batch(&[described("FETCH 1 FROM c"), run("SELECT 1 / 0", &[]), m::sync()]),
            Ready,
            Send(m::query("FETCH 1 FROM c")),
            Ready,
        ],
    );
    world.answers(
        "gone with a pipeline that fails",
        &[
            batch(&[run(HOLD, &[]), described("FETCH 2 FROM c"), run("SELECT 1 / 0", &[]), m::sync()]),
            Ready,
            Send(m::query("FETCH 1 FROM c")),
            Ready,
        ],
    );
    world.answers(
        "an error that comes with the rows is told at the end of the pipeline",
        &[
            batch(&[
                run("INSERT INTO items VALUES (801, 'x', 1), (802, 'y', 2), (803, 'z', 3)", &[]),
                run("DECLARE c CURSOR WITH HOLD FOR SELECT 1 / (id - 30) FROM items ORDER BY id", &[]),
                m::sync(),
            ]),
            Ready,
            Send(m::query("FETCH 1 FROM c")),
            Ready,
            Send(m::query("SELECT count(*) FROM items WHERE id > 800")),
            Ready,
        ],
    );
    world.answers(
        "a parameter, rows in pieces, formats, and the cursor as a portal",
        &[
            batch(&[
                m::parse("d", "DECLARE c CURSOR WITH HOLD FOR SELECT id, n FROM items WHERE n = $1 ORDER BY id", &[]),
                m::bind("", "d", &text(&["3"]), &[]),
                m::execute("", 0),
                m::sync(),
            ]),
            Ready,
            batch(&[
                m::parse("f", "FETCH 4 FROM c", &[]),
                m::describe(b'S', "f"),
                m::bind("p", "f", &[], &[1]),
                m::describe(b'P', "p"),
                m::execute("p", 3),
                m::execute("p", 3),
                m::sync(),
            ]),
            Ready,
            batch(&[m::describe(b'P', "c"), m::execute("c", 2), m::sync()]),
            Ready,
            Send(m::query("BEGIN")),
            Ready,
            batch(&[m::bind("p", "f", &[], &[]), m::execute("p", 1), m::sync()]),
            Ready,
            batch(&[run("SELECT count(*) FROM items", &[]), m::execute("p", 0), m::sync()]),
            Ready,
            Send(m::query("COMMIT")),
            Ready,
            Send(m::query("FETCH ALL FROM c")),
            Ready,
            batch(&[run("CLOSE ALL", &[]), described("FETCH 1 FROM c"), m::sync()]),
            Ready,
        ],
    );
    world.answers(
        "parameters of a cursor and of a portal in a block",
        &[
            Send(m::query("BEGIN; SAVEPOINT s")),
            Ready,
            batch(&[
                m::parse("d", "DECLARE c CURSOR FOR SELECT id, n FROM items WHERE n >= $1 ORDER BY n, id", &[]),
                m::bind("", "d", &text(&["3"]), &[]),
                m::execute("", 0),
                m::sync(),
            ]),
            Ready,
            batch(&[run("FETCH 3 FROM c", &[]), m::sync()]),
            Ready,
            Send(m::query("ROLLBACK TO s")),
            Ready,
            // The portal was never there, and what leads out of the transaction does not ask for it.
            batch(&[
                m::parse("q", "SELECT id FROM items WHERE n = $1::int ORDER BY id", &[]),
                m::bind("p1", "q", &text(&["x"]), &[]),
                m::describe(b'P', "p1"),
                m::execute("p1", 2),
                m::sync(),
            ]),
            Ready,
            batch(&[run("ROLLBACK TO SAVEPOINT s", &[]), m::sync()]),
            Ready,
            batch(&[run("SELECT count(*) FROM items WHERE n = $1", &["3"]), m::sync()]),
            Ready,
            Send(m::query("COMMIT")),
            Ready,
        ],
    );
    world.answers(
        "names of cursors and portals are one space",
        &[
            Send(m::query(HOLD)),
            Ready,
            batch(&[
                m::parse("", "SELECT id FROM items WHERE id = 3", &[]),
                m::bind("c", "", &[], &[]),
                m::execute("c", 0),
                m::sync(),
            ]),
            Ready,
            batch(&[m::parse("", "SELECT id FROM items ORDER BY id", &[]), m::bind("c", "", &[], &[]), m::sync()]),
            Ready,
            Send(m::query("BEGIN")),
            Ready,
            batch(&[m::parse("", "SELECT id FROM items WHERE id = 3", &[]), m::bind("q", "", &[], &[]), m::sync()]),
            Ready,
            Send(m::query("DECLARE q CURSOR FOR SELECT count(*) FROM items")),
            Ready,
            Send(m::query("ROLLBACK")),
            Ready,
        ],
    );
}

#[test]
fn several_statements_in_one_query() {
    let world = world();
    world.answers(
        "declared in a query of several statements",
        &queries(&[
            &format!("{HOLD}; SELECT 1"),
            "FETCH 2 FROM c; FETCH 1 FROM c",
            "CLOSE c",
            &format!("{HOLD}; SELECT 1 / 0"),
            "FETCH 1 FROM c",
            &format!("BEGIN; {HOLD}; UPDATE items SET n = n WHERE id < 9; COMMIT; FETCH 1 FROM c"),
            "FETCH 1 FROM c",
            HOLD,
            "CLOSE c",
            HOLD,
            "CLOSE c",
        ]),
    );
}

#[test]
fn what_fails_at_commit_leaves_no_cursor_and_no_writes() {
    let world = Sharded::create("holdfails", "query_timeout = \"3s\"");
    let mut through = world.connect();
    let hold = "DECLARE c CURSOR WITH HOLD FOR SELECT count(*) FROM items a, items b";
    // A deferred constraint of one shard.
    through.must("BEGIN");
    through.must(hold);
    through.must(&format!("UPDATE items SET n = 9 WHERE id IN ({}, {})", world.id(0, 0), world.id(1, 0)));
    through.must(&format!("INSERT INTO parts VALUES ({}, 'no item')", world.free_ids(1000)[2]));
    assert_eq!(through.simple("COMMIT").code(), "23503");
    assert_eq!(through.simple("FETCH 1 FROM c").code(), "34000");
    assert_eq!(through.value("SELECT count(*) FROM items WHERE n = 9"), "0");
    // The cursor's own query takes too long, or the client has enough of it: while the rows are put aside.
    let long = "DECLARE c CURSOR WITH HOLD FOR SELECT count(*) FROM items a, items b, items c, items d, items e";
    for canceled in [false, true] {
        through.must("BEGIN");
        through.must("UPDATE items SET n = 9");
        through.must(long);
        through.send(&m::query("COMMIT")).unwrap();
        if canceled {
            std::thread::sleep(Duration::from_millis(300));
            assert_eq!(cancel(world.router.port, through.key.0, &through.key.1), b"");
        }
        let start = Instant::now();
        let ended = through.read_to_ready().unwrap();
        assert!(start.elapsed() < Duration::from_secs(15));
        let error = ended.iter().find(|message| message.tag == b'E').expect("an error").report();
        assert_eq!(error.code(), "57014", "{error}");
        assert_eq!(ended.last().unwrap().body, [b'I']);
        assert_eq!(through.simple("FETCH 1 FROM c").code(), "34000");
        assert_eq!(through.value("SELECT count(*) FROM items WHERE n = 9"), "0");
    }
    assert_eq!(world.prepared(), Vec::<String>::new());
    // And all is as it was for the next one.
    through.must(hold);
    assert_eq!(through.value("FETCH 1 FROM c"), "3600");
}

#[test]
fn rows_of_a_committed_input_are_not_met_again() {
    let world = Sharded::create("holdinputs", "");
    let mut through = world.connect();
    let tier2 = "SELECT count(*), count(DISTINCT b.name) FROM items a JOIN items b ON b.id = a.id + 1";
    for _ in 0..3 {
        through.must(&format!("DECLARE c CURSOR WITH HOLD FOR {tier2}"));
        assert_eq!(through.must(tier2).text(), "59|59");
        assert_eq!(through.must("FETCH ALL FROM c").text(), "59|59");
        through.must("CLOSE c");
        assert_eq!(through.must(tier2).text(), "59|59");
    }
}

fn combine_connections(world: &Sharded) -> usize {
    // Each has its inputs.
    let sql = "SELECT count(DISTINCT relnamespace) FROM pg_class WHERE relpersistence = 't' AND relkind = 'r' AND relname LIKE 'pgloom%'";
    world.db.shard(0).value(sql).parse().unwrap()
}

#[test]
fn half_of_the_pool_is_for_statements_that_end() {
    let world = Sharded::create_as("holdlimit", "query_wait_timeout = \"3s\"", "[combine]\npool_size = 4");
    let declare = |raw: &mut Raw, name: &str| {
        raw.simple(&format!("DECLARE {name} CURSOR WITH HOLD FOR SELECT count(*) FROM items a, items b"))
    };
    let (mut one, mut other) = (world.connect(), world.connect());
    assert_eq!(declare(&mut one, "a").code(), "");
    assert_eq!(declare(&mut other, "a").code(), "");
    let start = Instant::now();
    let third = declare(&mut one, "b");
    assert_eq!(third.code(), "53400", "{}", third.text());
    assert!(third.error.as_ref().unwrap().hint().contains("[combine] pool_size"), "{}", third.text());
    assert!(start.elapsed() < Duration::from_secs(1));
    // Statements that end have the rest.
    assert_eq!(one.value("SELECT count(*) FROM items a, items b"), "3600");
    // A block that fails gives its right back; so does CLOSE.
    one.must("CLOSE a");
    one.must("BEGIN");
    assert_eq!(declare(&mut one, "b").code(), "");
    one.must("ROLLBACK");
    assert_eq!(declare(&mut one, "b").code(), "");
    assert_eq!(one.value("FETCH 1 FROM b"), "3600");
    // The end of a session does, and its cursor is not met by the next one.
    drop(other);
    let mut next = world.connect();
    eventually(5, "the right comes back with the session's end", || {
        let declared = declare(&mut next, "a");
        assert!(matches!(declared.code(), "" | "53400"), "{}", declared.text());
        declared.error.is_none()
    });
    assert_eq!(next.value("FETCH 1 FROM a"), "3600");
    next.must("DISCARD ALL");
    assert_eq!(declare(&mut next, "a").code(), "");
    assert!(combine_connections(&world) <= 4);
}

#[test]
fn who_holds_the_whole_pool_is_told_and_does_not_wait() {
    let world = Sharded::create_as("holdself", "query_wait_timeout = \"20s\"", "[combine]\npool_size = 2");
    let mut through = world.connect();
    through.must("BEGIN");
    for name in ["a", "b"] {
        through.must(&format!("DECLARE {name} CURSOR FOR SELECT count(*) FROM items a, items b"));
    }
    let start = Instant::now();
    let third = through.simple("DECLARE c CURSOR FOR SELECT count(*) FROM items a, items b");
    assert_eq!(third.code(), "53400", "{}", third.text());
    assert!(start.elapsed() < Duration::from_secs(5));
    through.must("ROLLBACK");
    assert_eq!(through.value("SELECT count(*) FROM items a, items b"), "3600");
}

#[test]
fn a_lost_connection_takes_its_cursor_and_nothing_else() {
    let world = Sharded::create("holdlost", "");
    let mut through = world.connect();
    through.must("DECLARE c CURSOR WITH HOLD FOR SELECT count(*) FROM items a, items b");
    let kill = format!(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = '{}' AND pid <> pg_backend_pid() \
           AND query NOT LIKE '%pg_catalog%' AND application_name <> 'pgloom'",
        world.db.name
    );
    assert_ne!(world.db.shard(0).value(&kill), "0");
    let lost = through.simple("FETCH 1 FROM c");
    assert!(lost.error.is_some(), "{}", lost.text());
    eventually(5, "the session goes on", || through.simple("SELECT count(*) FROM items a, items b").text() == "3600");
    assert!(through.simple("FETCH 1 FROM c").error.is_some());
    through.must("CLOSE ALL");
    through.must("DECLARE c CURSOR WITH HOLD FOR SELECT count(*) FROM items a, items b");
    assert_eq!(through.value("FETCH 1 FROM c"), "3600");
}

#[test]
fn the_row_of_a_cursor_is_changed_where_the_cursor_is_or_not_at_all() {
    let world = Sharded::create("holdcurrent", "");
    let mut through = world.connect();
    let id = world.id(2, 0);
    through.must("BEGIN");
    through.must(&format!("DECLARE c CURSOR FOR SELECT id FROM items WHERE id = {id} FOR UPDATE"));
    through.must("FETCH 1 FROM c");
    through.must("UPDATE items SET n = 8 WHERE CURRENT OF c");
    assert_eq!(through.simple("UPDATE items SET id = 8 WHERE CURRENT OF c").code(), "0A000");
    through.must("ROLLBACK");
    through.must("BEGIN");
    through.must(&format!("DECLARE c CURSOR FOR SELECT id FROM items WHERE id = {id} FOR UPDATE"));
    through.must("FETCH 1 FROM c");
    let updated = through.extended("UPDATE items SET n = 8 WHERE CURRENT OF c", &[], &[], 0);
    assert_eq!(updated.answers[0].tag.as_deref(), Some("UPDATE 1"), "{}", updated.text());
    through.must("COMMIT");
    assert_eq!(through.value("SELECT id FROM items WHERE n = 8"), id.to_string());
    for extended in [false, true] {
        through.must("BEGIN");
        through.must("DECLARE c CURSOR FOR SELECT id FROM items ORDER BY id");
        through.must("FETCH 1 FROM c");
        let refused = match extended {
            false => through.simple("DELETE FROM items WHERE CURRENT OF c"),
            true => through.extended("DELETE FROM items WHERE CURRENT OF c", &[], &[], 0),
        };
        assert_eq!(refused.code(), "0A000", "{}", refused.text());
        assert!(refused.text().contains("several shards"), "{}", refused.text());
        through.must("ROLLBACK");
    }
    assert_eq!(through.value("SELECT count(*) FROM items"), "60");
}

/// A function opens a cursor on whatever shard runs it.
#[test]
fn a_cursor_of_a_function_is_found_on_its_shard() {
    let function = "CREATE FUNCTION opened(name refcursor) RETURNS refcursor LANGUAGE plpgsql AS \
                    $$ BEGIN OPEN name FOR SELECT g FROM generate_series(1, 3) g; RETURN name; END $$";
    let world = Pair::with_safe_functions(
        "holdfunction",
        &format!("{SCHEMA}; {function}"),
        &[("items", Placed::By("id"))],
        &["public.opened"],
    );
    let rows: Vec<String> = (1..=60).map(|i| format!("({i}, 'item {i}', {})", i % 7)).collect();
    world.fill(&[&format!("INSERT INTO items VALUES {}", rows.join(", "))]);
    for id in [1, 2, 3, 4, 5, 6, 7] {
        let open = format!("SELECT opened('c') FROM items WHERE id = {id}");
        let script = [
            "BEGIN",
            "SELECT count(*) FROM items",
            &open,
            "FETCH 2 FROM c",
            "MOVE 1 FROM c",
            "CLOSE c",
            "FETCH 1 FROM c",
            "ROLLBACK",
        ];
        world.answers("simple", &queries(&script));
        let extended = script.iter().flat_map(|sql| [batch(&[run(sql, &[]), m::sync()]), Ready]).collect::<Vec<_>>();
        world.answers("extended", &extended);
    }
}

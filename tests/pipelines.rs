//! A simple Query in the middle of a pipeline: with what came before it, and no Sync, it is one transaction, as on one Postgres.

#![allow(clippy::unwrap_used)]

mod support;

use support::Sharded;
use support::raw::message as m;
use support::script::Step::{self, Ready, Send};
use support::script::{Pair, Placed, queries, run};

const SCHEMA: &str = "CREATE TABLE items (id int PRIMARY KEY, name text, n int CHECK (n >= 0)); \
     CREATE TABLE parts (id int PRIMARY KEY REFERENCES items DEFERRABLE INITIALLY DEFERRED, label text); \
     CREATE TABLE places (code text PRIMARY KEY, title text); CREATE TABLE plain (id int PRIMARY KEY, body text)";
const ONE: &str = "INSERT INTO items VALUES (101, 'a', 1)";
const OTHER: &str = "INSERT INTO items VALUES (111, 'q', 1)";
const SEVERAL: &str = "INSERT INTO items VALUES (112, 'q', 1), (113, 'q', 1), (114, 'q', 1), (115, 'q', 1)";
const DUPLICATE: &str = "INSERT INTO items VALUES (5, 'twice', 1)";
/// What is wrong with it shows when it is committed.
const DANGLING: &str = "INSERT INTO parts VALUES (999, 'of nothing')";
const ALL: &str = "SELECT id, n FROM items WHERE id <= 30 ORDER BY id";

fn world(label: &str) -> Pair {
    let placed = [("items", Placed::By("id")), ("parts", Placed::By("id")), ("places", Placed::Reference)];
    let world = Pair::create(label, SCHEMA, &placed, "");
    let rows: Vec<String> = (1..=30).map(|id| format!("({id}, 'item {id}', {})", id % 7)).collect();
    world.fill(&[
        &format!("INSERT INTO items VALUES {}", rows.join(", ")),
        "INSERT INTO places VALUES ('a', 'A')",
        "INSERT INTO plain VALUES (1, 'one')",
    ]);
    world
}

/// The messages before the Query that end well.
fn heads() -> Vec<(&'static str, Vec<u8>)> {
    let four = |first: i32| -> Vec<u8> {
        (first..first + 4).flat_map(|id| run(&format!("INSERT INTO items VALUES ({id}, 'b', 1)"), &[])).collect()
    };
    let several = "INSERT INTO items VALUES (101, 'c', 1), (102, 'c', 1), (103, 'c', 1), (104, 'c', 1)";
    let portal = |rows| [m::parse("s", ALL, &[]), m::bind("p", "s", &[], &[]), m::execute("p", rows)].concat();
    vec![
        ("one shard", run(ONE, &[])),
        ("a parameter", run("INSERT INTO items VALUES ($1, $2, 1)", &["101", "x"])),
        ("one by one", four(101)),
        ("several shards", run(several, &[])),
        ("home", run("INSERT INTO plain VALUES (101, 'x')", &[])),
        ("reference", run("INSERT INTO places VALUES ('x', 'X')", &[])),
        ("home and shard", [run("INSERT INTO plain VALUES (101, 'x')", &[]), run(ONE, &[])].concat()),
        ("read", run("SELECT count(*) FROM items", &[])),
        ("read of a row", run("SELECT n FROM items WHERE id = 5", &[])),
        ("parse", m::parse("s", "SELECT n FROM items WHERE id = $1", &[])),
        ("unnamed parse", m::parse("", "SELECT 1", &[])),
        ("bound", [m::parse("", ONE, &[]), m::bind("", "", &[], &[])].concat()),
        ("described", [m::parse("", ONE, &[]), m::describe(b'S', "")].concat()),
        ("flushed", [run(ONE, &[]), m::flush()].concat()),
        ("set", run("SET my.x TO 'y'", &[])),
        ("set and written", [run("SET my.x TO 'y'", &[]), run(ONE, &[])].concat()),
        ("written and set", [run(ONE, &[]), run("SET my.x TO 'y'", &[])].concat()),
        ("set_config", run("SELECT set_config('my.x', 'y', false)", &[])),
        ("suspended", portal(2)),
        ("suspended behind a write", [run(ONE, &[]), portal(2)].concat()),
        ("block", [run("BEGIN", &[]), run(ONE, &[])].concat()),
        ("block of several", [run("BEGIN", &[]), four(101)].concat()),
        ("written and begun", [run(ONE, &[]), run("BEGIN", &[])].concat()),
        ("committed", [run("BEGIN", &[]), run(ONE, &[]), run("COMMIT", &[])].concat()),
        ("closed", [run(ONE, &[]), m::close(b'S', "")].concat()),
        ("dangling", run(DANGLING, &[])),
    ]
}

/// Those that end in an error: the Query is skipped.
fn failing() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("duplicate", run(DUPLICATE, &[])),
        ("behind a write", [run(ONE, &[]), run(DUPLICATE, &[])].concat()),
        ("behind several", [run(SEVERAL, &[]), run(DUPLICATE, &[])].concat()),
        ("behind a SET", [run("SET my.x TO 'y'", &[]), run(DUPLICATE, &[])].concat()),
        ("behind a SET on home", [run("SET my.x TO 'y'", &[]), run("SELECT 1/0", &[])].concat()),
        ("syntax", m::parse("", "SELEC 1", &[])),
        ("syntax behind a write", [run(ONE, &[]), m::parse("", "SELEC 1", &[])].concat()),
        ("no such table", m::parse("", "SELECT * FROM nowhere", &[])),
        ("no such portal", m::execute("nowhere", 0)),
        ("no such statement", m::bind("", "nowhere", &[], &[])),
        ("in a block", [run("BEGIN", &[]), run(ONE, &[]), run("SELECT 1/0", &[])].concat()),
        ("flushed", [run(DUPLICATE, &[]), m::flush()].concat()),
    ]
}

fn asked() -> Vec<String> {
    let mut all: Vec<String> = [
        "SELECT 1",
        OTHER,
        SEVERAL,
        DUPLICATE,
        "SELECT 1/0",
        "BEGIN",
        DANGLING,
        "INSERT INTO plain VALUES (111, 'q')",
        "INSERT INTO places VALUES ('y', 'Y')",
        "UPDATE items SET n = n WHERE id < 20",
        "BEGIN ISOLATION LEVEL READ COMMITTED",
        "COMMIT",
        "ROLLBACK",
        "COMMIT AND CHAIN",
        "SAVEPOINT a",
        "LOCK TABLE plain",
        "LOCK TABLE items",
        "DECLARE c CURSOR FOR SELECT 1",
        "SET my.x TO 'z'",
        "SET LOCAL my.x TO 'z'",
        "",
        ";",
        "SELEC",
        "SELECT * FROM nowhere",
        "FETCH 2 FROM p",
        "EXECUTE nowhere",
        "SELECT 1; SELEC",
    ]
    .map(str::to_owned)
    .into();
    for end in ["SELECT 1/0", "SELECT 2", "COMMIT; SELECT 1/0", "ROLLBACK; SELECT 2", "BEGIN", DANGLING] {
        all.push(format!("{OTHER}; {end}"));
    }
    for begin in ["BEGIN", "SET my.x TO 'z'", "FETCH 2 FROM p", "SAVEPOINT a", "COMMIT"] {
        all.push(format!("{begin}; {SEVERAL}"));
        all.push(format!("{begin}; SELECT 1/0"));
    }
    all
}

/// What is left of it, and everything as it was.
fn aftermath() -> Vec<Step> {
    queries(&[
        "INSERT INTO items VALUES (121, 'later', 1)",
        "ROLLBACK",
        "SELECT id FROM items WHERE id > 100 ORDER BY id",
        "SELECT id FROM plain ORDER BY id",
        "SELECT code FROM places ORDER BY code",
        "SELECT coalesce(current_setting('my.x', true), '')",
        "DELETE FROM items WHERE id > 100",
        "DELETE FROM plain WHERE id > 100",
        "DELETE FROM places WHERE code > 'a'",
    ])
}

fn script(head: &[u8], sql: &str, readies: usize) -> Vec<Step> {
    let mut script = vec![Send([head, &m::query(sql), &m::sync()].concat())];
    script.extend((0..readies).map(|_| Ready));
    script.extend(aftermath());
    script
}

#[test]
fn a_query_ends_the_transaction_of_the_messages_before_it() {
    let world = world("joined");
    for (name, head) in heads() {
        // Those that differ most meet everything.
        let all = ["one shard", "several shards", "suspended behind a write"].contains(&name);
        for sql in asked().into_iter().take(if all { usize::MAX } else { 6 }) {
            world.answers(&format!("{name}, {sql}"), &script(&head, &sql, 2));
        }
    }
}

#[test]
fn commit_and_rollback_end_what_the_pipeline_has_done() {
    let world = world("pipe_ends");
    let tails: Vec<(&str, Vec<u8>)> = vec![
        ("nothing", Vec::new()),
        ("error", run("SELECT 1/0", &[])),
        ("write", run(OTHER, &[])),
        ("write and error", [run(OTHER, &[]), run(DUPLICATE, &[])].concat()),
        ("several", run(SEVERAL, &[])),
        ("block", [run("BEGIN", &[]), run(OTHER, &[]), run("ROLLBACK", &[])].concat()),
        ("other end", [run(OTHER, &[]), run("ROLLBACK", &[])].concat()),
        ("portal", m::execute("p", 2)),
        ("flush and error", [m::flush(), run("SELECT 1/0", &[])].concat()),
    ];
    for (name, head) in heads() {
        for end in ["COMMIT", "ROLLBACK", "COMMIT AND CHAIN"] {
            let all = ["one shard", "one by one", "several shards", "suspended behind a write", "home"].contains(&name);
            for (behind, tail) in tails.iter().take(if all { usize::MAX } else { 3 }) {
                let mut script = vec![Send([&head[..], &run(end, &[]), tail, &m::sync()].concat()), Ready];
                script.extend(aftermath());
                world.answers(&format!("{name}, {end}, {behind}"), &script);
            }
        }
    }
}

#[test]
fn a_pipeline_without_its_end_is_undone() {
    let world = world("pipe_broken");
    let places = "INSERT INTO places VALUES ('x', 'X')";
    for sql in [ONE, SEVERAL, "INSERT INTO plain VALUES (101, 'x')", places, "UPDATE items SET n = 6 WHERE id = 7"] {
        for end in [Vec::new(), vec![b'X', 0, 0, 0, 4]] {
            let count = "SELECT (SELECT count(*) FROM items WHERE id > 100 OR n = 6), (SELECT count(*) FROM plain), \
                         (SELECT count(*) FROM places)";
            let before = world.through().simple(count).text();
            for mut raw in [world.db.oracle(), world.through()] {
                raw.send(&[run(sql, &[]), m::flush()].concat()).unwrap();
                while raw.read().unwrap().tag != b'C' {}
                raw.send(&end).unwrap();
                drop(raw);
            }
            for _ in 0..3 {
                let mut raw = world.through();
                raw.must("SELECT 1 FROM items WHERE id IN (7, 101, 102, 103, 104)");
                raw.must("INSERT INTO plain VALUES (102, 'y')");
                raw.must("DELETE FROM plain WHERE id = 102");
                assert_eq!(raw.simple(count).text(), before, "{sql}, {end:?}");
            }
            assert_eq!(world.db.oracle().simple(count).text(), before, "{sql}, {end:?}");
        }
    }
}

#[test]
fn a_query_behind_an_error_is_skipped() {
    let world = world("skipped");
    for (name, head) in failing() {
        for sql in ["SELECT 1", OTHER, "ROLLBACK", "BEGIN"] {
            world.answers(&format!("{name}, {sql}"), &script(&head, sql, 1));
        }
    }
}

/// What the router alone has refused the server of the block knows nothing of: the block has failed all the same.
#[test]
fn a_block_that_has_failed_is_told_as_failed() {
    let world = world("failed");
    let begin = [m::parse("b", "START TRANSACTION", &[]), m::bind("", "b", &[], &[]), m::execute("", 0)].concat();
    let missing = m::describe(b'P', "p1");
    let wrote = run("INSERT INTO plain VALUES (41, 'x')", &[]);
    for (name, first) in [
        ("at once", vec![[&begin[..], &missing, &m::sync()].concat()]),
        ("behind a write", vec![[&begin[..], &wrote, &missing, &m::sync()].concat()]),
        (
            "later",
            vec![
                [&begin[..], &m::sync()].concat(),
                [&wrote[..], &m::sync()].concat(),
                [&missing[..], &m::sync()].concat(),
            ],
        ),
        ("over shards", vec![[&begin[..], &run(SEVERAL, &[]), &missing, &m::sync()].concat()]),
    ] {
        for (then, messages) in [
            ("Describe", m::describe(b'P', "")),
            ("Describe of a statement", m::describe(b'S', "b")),
            ("Close", m::close(b'P', "")),
            ("Flush", m::flush()),
            ("nothing", Vec::new()),
        ] {
            // A portal that has run is there for Postgres until its transaction is over.
            if then == "Describe" && name != "at once" {
                continue;
            }
            let mut steps: Vec<Step> = first.iter().flat_map(|bytes| [Send(bytes.clone()), Ready]).collect();
            steps.extend([Send([&messages[..], &m::sync()].concat()), Ready]);
            steps.extend([Send([run("INSERT INTO plain VALUES (42, 'y')", &[]), m::sync()].concat()), Ready]);
            steps.extend(queries(&["COMMIT", "SELECT id FROM plain ORDER BY 1", ALL]));
            world.answers(&format!("{name}, {then}"), &steps);
        }
    }
}

/// A refusal is an error like others: where one has come before it, the statement is skipped.
#[test]
fn what_would_be_refused_behind_an_error_is_skipped() {
    let world = world("refused");
    for (name, head) in failing() {
        for refused in [
            "SELECT * FROM items a JOIN plain p ON p.id = a.n FOR UPDATE",
            "SELECT id FROM items ORDER BY n FETCH FIRST 1 ROW WITH TIES FOR UPDATE",
            "PREPARE TRANSACTION 'x'",
            "MERGE INTO items USING plain ON items.n = plain.id WHEN NOT MATCHED THEN INSERT VALUES (plain.id, 'm', 1)",
            "INSERT INTO plain VALUES (9, 'x') RETURNING (SELECT count(*) FROM items)",
        ] {
            let behind = [head.clone(), run(refused, &[]), m::sync()].concat();
            let mut steps = vec![Send(behind), Ready, Send([run("ROLLBACK", &[]), m::sync()].concat()), Ready];
            steps.extend(queries(&[ALL]));
            world.answers(&format!("{name}, {refused}"), &steps);
        }
    }
}

#[test]
fn what_cannot_run_in_a_transaction_cannot_run_behind_a_write() {
    let world = world("apart");
    for head in [ONE, SEVERAL] {
        for sql in ["VACUUM items", "VACUUM plain", "CREATE INDEX CONCURRENTLY ON items (n)", "DISCARD ALL"] {
            for mut raw in [world.db.oracle(), world.through()] {
                let reply = raw.exchange(&[run(head, &[]), m::query(sql), m::sync()].concat(), None);
                assert_eq!(reply.code(), "25001", "{head}, {sql}");
                raw.read_to_ready().unwrap();
                assert_eq!(raw.value("SELECT count(*) FROM items WHERE id > 100"), "0", "{head}, {sql}");
            }
        }
    }
}

#[test]
fn rows_that_are_copied_join_the_messages_before_them() {
    let world = world("copied");
    for (rows, code) in [("111\tx\t1\n112\tx\t1\n113\tx\t1\n", ""), ("111\tx\t1\n5\tx\t1\n", "23505")] {
        let [theirs, ours] = [world.db.oracle(), world.through()].map(|mut raw| {
            let bytes = [run(ONE, &[]), m::query("COPY items FROM STDIN")].concat();
            let reply = raw.exchange(&bytes, Some(rows.as_bytes()));
            assert_eq!(reply.code(), code);
            let left = raw.values("SELECT id FROM items WHERE id > 100 ORDER BY id");
            raw.must("DELETE FROM items WHERE id > 100");
            (reply.answers, reply.status, left)
        });
        assert_eq!(ours, theirs);
    }
}

/// Statements that fail when they run, each prepared as `f`, and messages that fail.
fn failing_messages() -> Vec<(&'static str, Vec<u8>)> {
    let run = |sql: &str| [m::parse("f", sql, &[]), m::bind("", "f", &[], &[]), m::execute("", 0)].concat();
    vec![
        ("any", run("SELECT 1 / 0")),
        ("single", run("SELECT 1 / (n - n) FROM items WHERE id = 5")),
        ("scatter", run("SELECT 1 / (id - id) FROM items ORDER BY id")),
        ("finish", run("SELECT 1 / (7 - max(id) % 8 - 1) FROM items GROUP BY n ORDER BY 1")),
        ("duplicate", run(DUPLICATE)),
        ("parse", m::parse("f", "SELECT nothing FROM items WHERE id = 5", &[])),
        ("syntax", m::parse("f", "SELECT FROM FROM", &[])),
        ("bind", [m::parse("f", "SELECT $1::int", &[]), m::bind("", "f", &[m_value("x")], &[])].concat()),
        ("describe", m::describe(b'S', "no such")),
    ]
}

fn m_value(text: &str) -> support::raw::Value {
    support::raw::Value::text(text)
}

/// What a pipeline makes is there for its next statements, and gone with it.
#[test]
fn temporary_tables_are_read_in_the_pipeline_that_makes_them() {
    let world = world("pipelines_temporary");
    let make = "CREATE TEMP TABLE picked AS SELECT g AS id, 'p' || g AS word FROM generate_series(1, 9) g";
    let again = "ALTER TABLE picked ADD COLUMN more int DEFAULT 3";
    let joined = "SELECT i.id, p.* FROM items i JOIN picked p USING (id) WHERE i.n > $1::int ORDER BY 1";
    let insert = "INSERT INTO items SELECT id + 200, word, 1 FROM picked ON CONFLICT (id) DO NOTHING";
    let counts = "SELECT count(*), max(id) FROM items";
    let asked = |sql: &str| if sql == joined { run(sql, &["2"]) } else { run(sql, &[]) };
    let named = [m::parse("kept", joined, &[]), m::describe(b'S', "kept")].concat();
    let use_named = [m::bind("", "kept", &[m_value("3")], &[]), m::execute("", 0)].concat();
    for (name, statements) in [
        ("joined", vec![make, joined, insert, counts]),
        ("written before", vec![ONE, make, joined]),
        ("failed", vec![make, joined, insert, DUPLICATE, counts]),
        ("changed", vec![make, joined, again, joined, insert]),
        ("in a block", vec!["BEGIN", make, joined, insert, "ROLLBACK", counts]),
        ("dropped", vec![make, joined, "DROP TABLE picked", joined]),
    ] {
        let messages: Vec<u8> = statements.iter().flat_map(|sql| asked(sql)).collect();
        let mut script = vec![Send([messages, m::sync()].concat()), Ready];
        script.extend(queries(&[counts, make, "SELECT count(*) FROM items JOIN picked USING (id)"]));
        script.extend([Send([named.clone(), use_named.clone(), m::sync()].concat()), Ready]);
        script.extend(queries(&[again]));
        script.extend([Send([use_named.clone(), m::sync()].concat()), Ready]);
        script.extend(queries(&["DROP TABLE picked", counts]));
        script.extend([Send([use_named.clone(), m::sync()].concat()), Ready]);
        world.answers(name, &script);
    }
}

/// What is left of the statements' names, and what they are.
fn names(names: &[&str]) -> Vec<Step> {
    let ask = |name: &&str| {
        let asked = [m::bind("", name, &[], &[]), m::execute("", 0), m::sync()].concat();
        [Send(asked), Ready]
    };
    let mut steps: Vec<Step> = names.iter().flat_map(ask).collect();
    let again = [m::parse("s", "SELECT 'again'", &[]), m::bind("", "s", &[], &[]), m::execute("", 0), m::sync()];
    steps.extend([Send(again.concat()), Ready]);
    steps
}

#[test]
fn what_stands_behind_an_error_changes_no_statement() {
    let world = world("pipelines_names");
    let of_shard = |id: i32| format!("SELECT id, n FROM items WHERE id = {id}");
    let before = [m::parse("kept", &of_shard(6), &[]), m::parse("", "SELECT 'old'", &[]), m::sync()].concat();
    for (what, failing) in failing_messages() {
        let behind = [
            ("a statement", m::parse("s", "SELECT 'new'", &[])),
            (
                "one that runs",
                [m::parse("s", &of_shard(9), &[]), m::bind("", "s", &[], &[]), m::execute("", 0)].concat(),
            ),
            ("one that is flushed", [m::parse("s", &of_shard(9), &[]), m::flush()].concat()),
            ("two", [m::parse("s", &of_shard(9), &[]), m::parse("t", &of_shard(10), &[])].concat()),
            ("an unnamed one", m::parse("", "SELECT 'new'", &[])),
            ("an unnamed one that runs", support::script::run(&of_shard(9), &[])),
            ("two unnamed ones", [m::parse("", &of_shard(8), &[]), m::parse("", &of_shard(9), &[])].concat()),
            ("a local one", m::parse("s", "SET my.x TO 'y'", &[])),
            ("over shards", m::parse("s", ALL, &[])),
            ("its own name", [m::close(b'S', "f"), m::parse("f", "SELECT 'f'", &[])].concat()),
            ("closed", m::close(b'S', "kept")),
            ("the unnamed one closed", m::close(b'S', "")),
            ("another", [m::close(b'S', "kept"), m::parse("kept", "SELECT 'other'", &[])].concat()),
            (
                "deallocated",
                [m::parse("d", "DEALLOCATE kept", &[]), m::bind("", "d", &[], &[]), m::execute("", 0)].concat(),
            ),
        ];
        for (then, messages) in behind {
            // What stands before it is answered, and lasts.
            let good =
                [m::bind("", "kept", &[], &[]), m::execute("", 0), m::parse("good", "SELECT 'good'", &[])].concat();
            for (place, first) in [("first", Vec::new()), ("behind another", good)] {
                let mut script = vec![Send(before.clone()), Ready];
                script.extend([Send([&first[..], &failing, &messages, &m::sync()].concat()), Ready]);
                script.extend(names(&["", "kept", "f", "good", "s", "t"]));
                world.same(&format!("{what}, {then}, {place}"), &script);
            }
        }
    }
}

/// A statement in doubt is closed before its name is used again, and that may be skipped, too.
#[test]
fn statements_in_doubt_stay_so_until_a_server_has_closed_them() {
    let world = world("pipelines_doubt");
    let failing = "SELECT 1 / (n - n) FROM items WHERE id = 6";
    let fails = [m::bind("", "f", &[], &[]), m::execute("", 0)].concat();
    let nth = |n: i32| run(&format!("SELECT n + {n} FROM items WHERE id = 6"), &[]);
    let batches = [
        m::parse("f", failing, &[]),
        [nth(1), fails.clone()].concat(),
        [fails.clone(), nth(2)].concat(),
        nth(1),
        [nth(3), fails.clone()].concat(),
        [fails.clone(), nth(4), nth(3)].concat(),
        [fails, nth(3)].concat(),
        [nth(2), nth(3), nth(4)].concat(),
    ];
    let script: Vec<Step> = batches.iter().flat_map(|batch| [Send([&batch[..], &m::sync()].concat()), Ready]).collect();
    world.same("closes that were skipped", &script);
}

#[test]
fn what_stands_behind_an_error_closes_no_portal() {
    let world = world("pipelines_portals");
    let portals = ["SELECT id FROM items WHERE id = 6", ALL, "SELECT generate_series(1, 5)", "SHOW my.x"];
    let fails = [
        m::parse("f", "SELECT 1 / (n - n) FROM items WHERE id = 6", &[]),
        m::bind("z", "f", &[], &[]),
        m::execute("z", 0),
    ]
    .concat();
    for (at, sql) in portals.iter().enumerate() {
        for rows in [0, 1] {
            // ROLLBACK TO goes to a server as a simple Query, which closes the unnamed portal there.
            let names = if *sql == ALL { &["p", ""][..] } else { &["p"] };
            for name in names.iter().copied() {
                let bind = [m::parse("q", sql, &[]), m::bind(name, "q", &[], &[])].concat();
                let executed = if rows > 0 { m::execute(name, rows) } else { Vec::new() };
                let behind = [
                    m::close(b'P', name),
                    [m::close(b'P', name), m::bind(name, "q", &[], &[])].concat(),
                    [m::bind("", "q", &[], &[]), m::execute("", 0)].concat(),
                ];
                for (then, messages) in behind.into_iter().enumerate() {
                    let mut script = queries(&["SET my.x TO 'y'", "BEGIN"]);
                    script.extend([Send([bind.clone(), executed.clone(), m::sync()].concat()), Ready]);
                    // A simple Query would close the unnamed portal.
                    script.extend([
                        Send(
                            [
                                m::parse("sp", "SAVEPOINT a", &[]),
                                m::bind("y", "sp", &[], &[]),
                                m::execute("y", 0),
                                m::sync(),
                            ]
                            .concat(),
                        ),
                        Ready,
                    ]);
                    script.extend([Send([&fails[..], &messages, &m::sync()].concat()), Ready]);
                    let back = [m::parse("rb", "ROLLBACK TO a", &[]), m::bind("x", "rb", &[], &[]), m::execute("x", 0)]
                        .concat();
                    script.extend([Send([back, m::sync()].concat()), Ready]);
                    script.extend([Send([m::execute(name, 2), m::sync()].concat()), Ready]);
                    script.extend(queries(&["ROLLBACK"]));
                    world.same(&format!("portal {at} {name:?} after {rows} rows, then {then}"), &script);
                }
            }
        }
    }
}

#[test]
fn the_name_of_a_portal_is_taken() {
    let world = world("pipelines_taken");
    for sql in ["SELECT n FROM items WHERE id = 6", ALL, "SHOW my.x", "SELECT 1"] {
        for first in [ALL, "SELECT id FROM items WHERE id = 9", "SELECT 'x'"] {
            let taken = [
                m::parse("a", first, &[]),
                m::bind("p", "a", &[], &[]),
                m::parse("", sql, &[]),
                m::bind("p", "", &[], &[]),
                m::execute("p", 0),
                m::sync(),
            ];
            world.same(&format!("{sql} under the name of {first}"), &[Send(taken.concat()), Ready]);
        }
    }
    let counts = |block: &[&str]| {
        let mut script = queries(block);
        script.extend([Send([m::parse("a", "SELECT $1::int", &[]), m::sync()].concat()), Ready]);
        script.extend(queries(&["SELECT 1 / 0"]));
        script.extend([Send([m::bind("", "a", &[], &[]), m::sync()].concat()), Ready]);
        script.extend(queries(&["ROLLBACK"]));
        script
    };
    world.same("too few values in a failed block", &counts(&["BEGIN"]));
    world.same("too few values", &counts(&[]));
}

/// What a server connection knows already is described without a word to it; only the Query of our own before it (BEGIN, settings) is answered
/// by it. asyncpg asks so for every statement.
#[test]
fn what_is_known_is_described_behind_a_query_of_our_own_at_a_flush() {
    let world = Sharded::create("flush_known", "default_pool_size = 1");
    for first in ["BEGIN", "SET my.x TO 'y'", "BEGIN READ ONLY"] {
        for sql in ["SELECT 1", "SELECT name FROM items WHERE id = $1", "UPDATE items SET n = 1 WHERE id = $1"] {
            for round in 0..3 {
                let mut client = world.connect();
                client.must(first);
                let asked = [m::parse("s", sql, &[]), m::describe(b'S', "s"), m::flush()].concat();
                client.send(&asked).unwrap();
                let tags: Vec<u8> = (0..3).map(|_| client.read().unwrap().tag).collect();
                let columns = if sql.starts_with("UPDATE") { b'n' } else { b'T' };
                assert_eq!(tags, [b'1', b't', columns], "{first}; {sql}, round {round}");
                client.send(&m::sync()).unwrap();
                assert_eq!(client.read().unwrap().tag, b'Z');
            }
        }
    }
}

#[test]
fn a_pipeline_that_fails_leaves_the_session_what_it_has() {
    let world = world("kept");
    let own = [
        "CREATE TEMP TABLE mine AS SELECT 7 AS id",
        "SELECT pg_advisory_lock(4711)",
        "LISTEN here",
        "BEGIN; DECLARE c CURSOR WITH HOLD FOR SELECT id FROM plain UNION ALL SELECT 2; COMMIT",
    ];
    let all_own = [
        "SELECT id FROM mine",
        "SELECT pg_advisory_unlock(4711)",
        "SELECT pg_listening_channels()",
        "FETCH ALL FROM c",
        "SELECT id FROM plain ORDER BY id",
        "SELECT count(*) FROM items WHERE id > 100",
        "SELECT count(*) FROM items",
    ];
    let home = "INSERT INTO plain VALUES (101, 'x')";
    let unknown = [
        ("EXPLAIN EXECUTE", run("EXPLAIN EXECUTE nowhere", &[])),
        ("EXPLAIN ANALYZE EXECUTE", run("EXPLAIN ANALYZE EXECUTE nowhere(1)", &[])),
        ("CREATE TEMP TABLE AS EXECUTE", run("CREATE TEMP TABLE t AS EXECUTE nowhere", &[])),
        ("CREATE TABLE AS EXECUTE", run("CREATE TABLE t AS EXECUTE nowhere", &[])),
        ("EXECUTE", run("EXECUTE nowhere", &[])),
        ("Bind", m::bind("", "nowhere", &[], &[])),
        ("Execute", m::execute("nowhere", 0)),
        (
            "too many parameters",
            [m::parse("", "SELECT 1", &[]), m::bind("", "", &support::script::text(&["1"]), &[])].concat(),
        ),
        ("Parse of what is not there", m::parse("", "SELECT nothing FROM items", &[])),
        ("SET", run("SET nope TO 1", &[])),
    ];
    let before = [
        ("nothing", Vec::new()),
        ("a read", run("SELECT count(*) FROM plain", &[])),
        ("own rows", run("INSERT INTO mine VALUES (8)", &[])),
        ("home", run(home, &[])),
        ("a described statement", [m::parse("s", "SELECT id FROM mine", &[]), m::describe(b'S', "s")].concat()),
        ("a flushed write", [run(home, &[]), m::flush()].concat()),
        ("own rows and a shard", [run("INSERT INTO mine VALUES (8)", &[]), run(ONE, &[])].concat()),
        (
            "a suspended portal",
            [
                m::parse("s", "SELECT id FROM mine, generate_series(1, 9)", &[]),
                m::bind("p", "s", &[], &[]),
                m::execute("p", 2),
            ]
            .concat(),
        ),
    ];
    for (head_name, head) in &before {
        for (name, wrong) in &unknown {
            let mut script = queries(&own);
            script.extend([Send([head.clone(), wrong.clone(), m::sync()].concat()), Ready]);
            script.extend(queries(&all_own));
            world.answers(&format!("{head_name}, {name}"), &script);
        }
    }
}

#[test]
fn clients_prepare_no_transactions_in_a_pipeline_either() {
    let world = Sharded::create("pipeprepare", "");
    let mut raw = world.connect();
    let step = |sql: &str| [m::parse("", sql, &[]), m::bind("", "", &[], &[]), m::execute("", 0)].concat();
    for statement in ["PREPARE TRANSACTION 'mine'", "COMMIT PREPARED 'mine'", "ROLLBACK PREPARED 'mine'"] {
        let pipeline = [step("UPDATE plain SET body = 'x'"), step(statement), m::sync()].concat();
        assert_eq!(raw.exchange(&pipeline, None).code(), "0A000", "{statement}");
        assert_eq!(raw.simple(statement).code(), "0A000", "{statement}");
    }
    assert_eq!(raw.value("SELECT count(*) FROM plain WHERE body = 'x'"), "0");
    assert_eq!(world.on_each("SELECT count(*) FROM pg_prepared_xacts WHERE gid = 'mine'"), vec!["0"; world.ids.len()]);
}

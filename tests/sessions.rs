//! Byte scripts of sessions against a running router, and against one Postgres: see `support/script.rs`.

#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use support::raw::{Raw, Value, message as m};
use support::script::Step::{self, Ready, Send, Until};
use support::script::{Pair, Placed, batch, play_on, queries, run, text};

const SCHEMA: &str = "CREATE TABLE items (id int PRIMARY KEY, name text COLLATE \"C\", n int CHECK (n >= 0)); \
     CREATE TABLE places (code text PRIMARY KEY, title text); CREATE TABLE plain (id int PRIMARY KEY, body text)";
const ITEMS: &str = "SELECT g, 'item ' || g, g % 7 FROM generate_series(1, 60) g";

/// `items` is sharded, `places` a reference table, `plain` lies on the home shard.
fn world() -> Pair {
    let placed = [("items", Placed::By("id")), ("places", Placed::Reference)];
    let world = Pair::create("sessions", SCHEMA, &placed, "");
    let mut oracle = world.db.oracle();
    oracle.must(&format!("INSERT INTO items {ITEMS}"));
    oracle.must("INSERT INTO places VALUES ('a', 'A'), ('b', 'B'); INSERT INTO plain VALUES (1, 'one')");
    if world.router.is_some() {
        let items = oracle.must("COPY items TO STDOUT").answers.remove(0).copied.unwrap();
        let mut through = world.through();
        let loaded = through.copy_in("COPY items FROM STDIN", &items);
        assert_eq!(loaded.answers.first().and_then(|a| a.tag.as_deref()), Some("COPY 60"), "{:?}", loaded.error);
        for sql in ["INSERT INTO places VALUES ('a', 'A'), ('b', 'B')", "INSERT INTO plain VALUES (1, 'one')"] {
            through.must(sql);
        }
    }
    world
}

const ONE: &str = "SELECT id, name FROM items WHERE id = $1";
const ALL: &str = "SELECT id FROM items ORDER BY id LIMIT 10";
const REFERENCE: &str = "SELECT title FROM places ORDER BY code";

#[test]
fn simple_queries_and_their_multi_statement_forms() {
    let world = world();
    let queries = [
        "",
        " ",
        ";",
        "-- only a comment",
        "SELECT 1",
        "SELECT 1;",
        "SELECT 1; SELECT 2",
        "SELECT 1; SELECT 1/0; SELECT 2",
        "SELECT id FROM items WHERE id = 3",
        "SELECT id FROM items WHERE id = 3; SELECT id FROM items WHERE id = 4",
        "SELECT count(*) FROM items",
        "SELECT count(*) FROM items; SELEC",
        "INSERT INTO items VALUES (1001, 'x', 1); SELECT 1/0",
        "SELECT count(*) FROM items WHERE id > 1000",
        "BEGIN; SELECT 1",
        "BEGIN; SELECT 1/0; COMMIT",
        "BEGIN; INSERT INTO items VALUES (1002, 'x', 1); ROLLBACK; SELECT count(*) FROM items WHERE id = 1002",
        "SELECT 1; BEGIN; SELECT 2; COMMIT; SELECT 3",
        "COMMIT",
        "ROLLBACK",
        "SELECT name FROM items WHERE id = 5; SELECT * FROM nothing",
        "SELECT 'ünï' AS \"größe\"",
        "SELECT nothing FROM items WHERE id = 5",
        "  SELECT wrong syntax here",
        "SET timezone = 'Asia/Tokyo'",
        "SET nothing = 1",
        "SHOW timezone",
    ];
    for query in queries {
        world.same(query, &[Send(m::query(query)), Ready]);
    }
    let all: Vec<u8> = queries.iter().filter(|q| !q.contains("BEGIN; SELECT 1")).flat_map(|q| m::query(q)).collect();
    let mut script = vec![Send(all)];
    script.extend(queries.iter().filter(|q| !q.contains("BEGIN; SELECT 1")).map(|_| Ready));
    world.same("many queries in one write", &script);
}

#[test]
fn parse_bind_describe_execute_in_every_arrangement() {
    let world = world();
    world.same("one batch", &[batch(&[run(ONE, &["5"]), m::sync()]), Ready]);
    for (name, sql, values) in [("one", ONE, &["5"][..]), ("all", ALL, &[]), ("reference", REFERENCE, &[])] {
        let values = text(values);
        world.same(
            name,
            &[
                batch(&[m::parse("s", sql, &[]), m::describe(b'S', "s"), m::sync()]),
                Ready,
                batch(&[m::bind("", "s", &values, &[1]), m::describe(b'P', ""), m::execute("", 0), m::sync()]),
                Ready,
                batch(&[m::bind("p", "s", &values, &[0]), m::execute("p", 0), m::execute("p", 0), m::sync()]),
                Ready,
                batch(&[m::close(b'S', "s"), m::bind("", "s", &values, &[]), m::sync()]),
                Ready,
            ],
        );
        world.same(
            &format!("{name}, a message at a time with Flush"),
            &[
                batch(&[m::parse("s", sql, &[]), m::flush()]),
                Until(b'1'),
                batch(&[m::bind("", "s", &values, &[]), m::flush()]),
                Until(b'2'),
                batch(&[m::describe(b'P', ""), m::flush()]),
                Until(b'T'),
                batch(&[m::execute("", 0), m::flush()]),
                Until(b'C'),
                Send(m::sync()),
                Ready,
            ],
        );
    }
    world.same("describe only", &[batch(&[m::parse("", ONE, &[23]), m::describe(b'S', ""), m::sync()]), Ready]);
    world.same(
        "no data",
        &[batch(&[m::parse("", "UPDATE items SET n = 1 WHERE id = $1", &[]), m::describe(b'S', ""), m::sync()]), Ready],
    );
    world.same("empty statement", &[batch(&[run("", &[]), m::describe(b'P', ""), m::sync()]), Ready]);
    world.same("parse only", &[batch(&[m::parse("", "SELECT 1", &[]), m::sync()]), Ready]);
    world.same("sync only", &[Send(m::sync()), Ready]);
    world.same("flush only", &[batch(&[m::flush(), m::flush(), m::sync()]), Ready]);
    world.same("close what is not there", &[batch(&[m::close(b'S', "x"), m::close(b'P', "y"), m::sync()]), Ready]);
    world.same(
        "result formats",
        &[
            batch(&[
                m::parse("", ONE, &[]),
                m::bind("", "", &text(&["7"]), &[1, 0]),
                m::describe(b'P', ""),
                m::execute("", 0),
                m::sync(),
            ]),
            Ready,
        ],
    );
    world.same(
        "binary parameter",
        &[
            batch(&[
                m::parse("", ONE, &[23]),
                m::bind("", "", &[Value::binary(7i32.to_be_bytes())], &[1, 1]),
                m::execute("", 0),
                m::sync(),
            ]),
            Ready,
        ],
    );
    world.same(
        "NULL parameter",
        &[
            batch(&[m::parse("", ONE, &[]), m::bind("", "", &[Value::null()], &[]), m::execute("", 0), m::sync()]),
            Ready,
        ],
    );
}

#[test]
fn the_unnamed_statement_is_replaced_and_named_ones_stay() {
    let world = world();
    world.same(
        "unnamed twice",
        &[
            batch(&[run("SELECT 1", &[]), run("SELECT 2", &[]), m::sync()]),
            Ready,
            batch(&[m::bind("", "", &[], &[]), m::execute("", 0), m::sync()]),
            Ready,
        ],
    );
    world.same(
        "unnamed survives sync, its portal doesn't",
        &[
            batch(&[m::parse("", ONE, &[]), m::bind("", "", &text(&["3"]), &[]), m::sync()]),
            Ready,
            batch(&[m::execute("", 0), m::sync()]),
            Ready,
            batch(&[m::bind("", "", &text(&["4"]), &[]), m::execute("", 0), m::sync()]),
            Ready,
        ],
    );
    world.same(
        "a simple query drops the unnamed statement",
        &[
            batch(&[m::parse("", ONE, &[]), m::sync()]),
            Ready,
            Send(m::query("SELECT 1")),
            Ready,
            batch(&[m::bind("", "", &text(&["4"]), &[]), m::execute("", 0), m::sync()]),
            Ready,
        ],
    );
    world.same(
        "a name twice",
        &[
            batch(&[
                m::parse("s", "SELECT 1", &[]),
                m::parse("s", "SELECT 2", &[]),
                m::parse("t", "SELECT 3", &[]),
                m::sync(),
            ]),
            Ready,
            batch(&[m::bind("", "s", &[], &[]), m::execute("", 0), m::bind("", "t", &[], &[]), m::sync()]),
            Ready,
        ],
    );
    world.same(
        "a failed parse leaves no statement",
        &[
            batch(&[m::parse("s", "SELECT nothing FROM items", &[]), m::sync()]),
            Ready,
            batch(&[m::bind("", "s", &[], &[]), m::execute("", 0), m::sync()]),
            Ready,
            batch(&[m::parse("s", "SELECT 1", &[]), m::bind("", "s", &[], &[]), m::execute("", 0), m::sync()]),
            Ready,
        ],
    );
    world.same(
        "closed and made again",
        &[
            batch(&[m::parse("s", ONE, &[]), m::close(b'S', "s"), m::parse("s", ALL, &[]), m::sync()]),
            Ready,
            batch(&[m::bind("", "s", &[], &[]), m::execute("", 0), m::sync()]),
            Ready,
        ],
    );
    world.same(
        "PREPARE and the protocol share names",
        &[
            Send(m::query("PREPARE s (int) AS SELECT name FROM items WHERE id = $1")),
            Ready,
            batch(&[m::bind("", "s", &text(&["9"]), &[]), m::execute("", 0), m::sync()]),
            Ready,
            Send(m::query("DEALLOCATE s")),
            Ready,
            batch(&[m::bind("", "s", &text(&["9"]), &[]), m::execute("", 0), m::sync()]),
            Ready,
        ],
    );
    world.same(
        "DEALLOCATE of a protocol statement",
        &[
            batch(&[m::parse("s", ONE, &[]), m::sync()]),
            Ready,
            Send(m::query("DEALLOCATE s")),
            Ready,
            batch(&[m::bind("", "s", &text(&["9"]), &[]), m::sync()]),
            Ready,
        ],
    );
    world.same(
        "DISCARD ALL drops them",
        &[
            batch(&[m::parse("s", ONE, &[]), m::sync()]),
            Ready,
            Send(m::query("DISCARD ALL")),
            Ready,
            batch(&[m::bind("", "s", &text(&["9"]), &[]), m::sync()]),
            Ready,
        ],
    );
}

#[test]
fn portals_hand_out_rows_in_pieces() {
    let world = world();
    for (name, sql) in
        [("all shards", ALL), ("one shard", "SELECT n FROM items WHERE id = 5"), ("reference", REFERENCE)]
    {
        world.same(
            name,
            &[
                batch(&[
                    m::parse("", sql, &[]),
                    m::bind("p", "", &[], &[]),
                    m::execute("p", 1),
                    m::execute("p", 4),
                    m::execute("p", 0),
                    m::execute("p", 2),
                    m::close(b'P', "p"),
                    m::sync(),
                ]),
                Ready,
            ],
        );
    }
    world.same(
        "exactly as many as there are",
        &[
            batch(&[
                m::parse("", REFERENCE, &[]),
                m::bind("", "", &[], &[]),
                m::execute("", 2),
                m::execute("", 2),
                m::sync(),
            ]),
            Ready,
        ],
    );
    world.same(
        "the unnamed portal is replaced while it has rows left",
        &[
            batch(&[
                m::parse("", ALL, &[]),
                m::bind("", "", &[], &[]),
                m::execute("", 3),
                m::bind("", "", &[], &[]),
                m::execute("", 2),
                m::parse("", "SELECT n FROM items WHERE id = 5", &[]),
                m::bind("", "", &[], &[]),
                m::execute("", 0),
                m::sync(),
            ]),
            Ready,
            Send(m::query("SELECT count(*) FROM items")),
            Ready,
        ],
    );
    world.same(
        "in a transaction over several syncs",
        &[
            Send(m::query("BEGIN")),
            Ready,
            batch(&[m::parse("", ALL, &[]), m::bind("p", "", &[], &[]), m::execute("p", 3), m::sync()]),
            Ready,
            batch(&[m::execute("p", 3), m::sync()]),
            Ready,
            batch(&[m::execute("p", 0), m::sync()]),
            Ready,
            Send(m::query("COMMIT")),
            Ready,
            batch(&[m::execute("p", 3), m::sync()]),
            Ready,
        ],
    );
    world.same(
        "two portals turn by turn",
        &[
            Send(m::query("BEGIN")),
            Ready,
            batch(&[
                m::parse("s", "SELECT g FROM generate_series(1, 5) g", &[]),
                m::bind("a", "s", &[], &[]),
                m::bind("b", "s", &[], &[]),
                m::execute("a", 2),
                m::execute("b", 1),
                m::execute("a", 2),
                m::execute("b", 0),
                m::sync(),
            ]),
            Ready,
            Send(m::query("ROLLBACK")),
            Ready,
        ],
    );
    world.same(
        "a portal's name twice",
        &[
            batch(&[
                m::parse("s", "SELECT 1", &[]),
                m::bind("a", "s", &[], &[]),
                m::bind("a", "s", &[], &[]),
                m::execute("a", 0),
                m::sync(),
            ]),
            Ready,
        ],
    );
    world.same("executed although it isn't there", &[batch(&[m::execute("nothing", 0), m::sync()]), Ready]);
    world.same(
        "described although it isn't there",
        &[
            batch(&[m::describe(b'P', "nothing"), m::sync()]),
            Ready,
            batch(&[m::describe(b'S', "nothing"), m::sync()]),
            Ready,
        ],
    );
}

#[test]
fn a_pipeline_stops_at_its_error_and_goes_on_after_sync() {
    let world = world();
    let division = "SELECT 1 / (id - 5) FROM items WHERE id = $1";
    world.same(
        "error in the middle",
        &[
            batch(&[run(ONE, &["3"]), run(division, &["5"]), run(ONE, &["4"]), m::sync(), run(ONE, &["6"]), m::sync()]),
            Ready,
            Ready,
        ],
    );
    world.same(
        "three syncs",
        &[
            batch(&[run(ONE, &["3"]), m::sync(), run(ALL, &[]), m::sync(), run(REFERENCE, &[]), m::sync()]),
            Ready,
            Ready,
            Ready,
        ],
    );
    world.same(
        "several statements before one sync are one transaction",
        &[
            batch(&[
                run("INSERT INTO items VALUES (2001, 'x', 1)", &[]),
                run("INSERT INTO items VALUES (2002, 'x', -1)", &[]),
                m::sync(),
            ]),
            Ready,
            Send(m::query("SELECT count(*) FROM items WHERE id IN (2001, 2002)")),
            Ready,
        ],
    );
    world.same(
        "and are kept when all is well",
        &[
            batch(&[
                run("INSERT INTO items VALUES (2011, 'x', 1)", &[]),
                run("INSERT INTO items VALUES (2012, 'x', 1)", &[]),
                m::sync(),
            ]),
            Ready,
            Send(m::query("SELECT count(*) FROM items WHERE id IN (2011, 2012)")),
            Ready,
            Send(m::query("DELETE FROM items WHERE id > 2000")),
            Ready,
        ],
    );
    world.same(
        "error at parse, bind and describe",
        &[
            batch(&[m::parse("", "SELEC", &[]), m::bind("", "", &[], &[]), m::execute("", 0), m::sync()]),
            Ready,
            batch(&[m::parse("", ONE, &[]), m::bind("", "", &text(&["x"]), &[]), m::execute("", 0), m::sync()]),
            Ready,
            batch(&[m::parse("", ONE, &[]), m::bind("", "", &[], &[]), m::execute("", 0), m::sync()]),
            Ready,
            batch(&[m::bind("", "missing", &[], &[]), m::describe(b'P', ""), m::execute("", 0), m::sync()]),
            Ready,
        ],
    );
    world.same(
        "error, then a flush, then messages that are skipped",
        &[
            batch(&[m::parse("", "SELEC", &[]), m::flush()]),
            Until(b'E'),
            batch(&[
                m::parse("", "SELECT 1", &[]),
                m::bind("", "", &[], &[]),
                m::flush(),
                m::execute("", 0),
                m::sync(),
            ]),
            Ready,
        ],
    );
    world.same(
        "a failed transaction",
        &[
            batch(&[run("BEGIN", &[]), m::sync(), run(division, &["5"]), m::sync(), run(ONE, &["1"]), m::sync()]),
            Ready,
            Ready,
            Ready,
            batch(&[run("COMMIT", &[]), m::sync()]),
            Ready,
        ],
    );
    world.same(
        "BEGIN and COMMIT within one batch",
        &[
            batch(&[
                run("BEGIN", &[]),
                run("UPDATE items SET n = 2 WHERE id = $1", &["8"]),
                run("COMMIT", &[]),
                m::sync(),
            ]),
            Ready,
        ],
    );
    let mut long: Vec<Vec<u8>> = (1..=60).map(|i| run(ONE, &[&i.to_string()])).collect();
    long.push(m::sync());
    world.same("sixty statements over all shards", &[batch(&long), Ready]);
    let syncs: Vec<Vec<u8>> = (1..=60).flat_map(|i| [run(ONE, &[&i.to_string()]), m::sync()]).collect();
    let mut script = vec![batch(&syncs)];
    script.extend((1..=60).map(|_| Ready));
    world.same("sixty statements, each with its sync", &script);
    world.same(
        "simple after extended in one write",
        &[
            batch(&[run(ONE, &["3"]), m::sync(), m::query("SELECT count(*) FROM items"), run(ONE, &["4"]), m::sync()]),
            Ready,
            Ready,
            Ready,
        ],
    );
    world.same(
        "a query in the middle of a batch without sync",
        &[batch(&[run(ONE, &["3"]), m::query("SELECT 1"), m::sync()]), Ready, Ready],
    );
}

#[test]
fn copy_in_and_out_in_both_protocols() {
    let world = world();
    let rows = b"3001\tx\t1\n3002\ty\t2\n3003\tz\t3\n3004\t\\N\t\\N\n";
    let undo = || m::query("DELETE FROM items WHERE id > 3000");
    let copy = "COPY items FROM STDIN";
    world.same(
        "simple",
        &[Send(m::query(copy)), Until(b'G'), batch(&[m::copy_data(rows), m::copy_done()]), Ready, Send(undo()), Ready],
    );
    world.same(
        "in pieces",
        &[
            Send(m::query(copy)),
            Until(b'G'),
            batch(&rows.chunks(5).map(m::copy_data).collect::<Vec<_>>()),
            Send(m::copy_done()),
            Ready,
            Send(undo()),
            Ready,
        ],
    );
    world.same(
        "in one write with the query",
        &[batch(&[m::query(copy), m::copy_data(rows), m::copy_done(), undo()]), Ready, Ready],
    );
    world.same(
        "CopyFail",
        &[
            Send(m::query(copy)),
            Until(b'G'),
            batch(&[m::copy_data(rows), m::copy_fail("changed my mind")]),
            Ready,
            Send(m::query("SELECT count(*) FROM items WHERE id > 3000")),
            Ready,
        ],
    );
    world.same(
        "data that is wrong, and more of it",
        &[
            Send(m::query(copy)),
            Until(b'G'),
            batch(&[m::copy_data(b"3001\tx\tmany\n"), m::copy_data(rows), m::copy_done()]),
            Ready,
            Send(m::query("SELECT count(*) FROM items WHERE id > 3000")),
            Ready,
        ],
    );
    world.same(
        "extended",
        &[
            batch(&[
                m::parse("", copy, &[]),
                m::bind("", "", &[], &[]),
                m::describe(b'P', ""),
                m::execute("", 0),
                m::flush(),
            ]),
            Until(b'G'),
            batch(&[m::copy_data(rows), m::copy_done(), m::sync()]),
            Ready,
            Send(undo()),
            Ready,
        ],
    );
    world.same(
        "extended, with a sync that copy swallows",
        &[
            batch(&[m::parse("", copy, &[]), m::bind("", "", &[], &[]), m::execute("", 0), m::sync()]),
            Until(b'G'),
            batch(&[m::copy_data(rows), m::flush(), m::copy_done(), m::sync()]),
            Ready,
            Send(undo()),
            Ready,
        ],
    );
    world.same(
        "extended CopyFail",
        &[
            batch(&[m::parse("", copy, &[]), m::bind("", "", &[], &[]), m::execute("", 0), m::flush()]),
            Until(b'G'),
            batch(&[m::copy_fail("no"), m::sync()]),
            Ready,
        ],
    );
    world.same(
        "extended, wrong data",
        &[
            batch(&[m::parse("", copy, &[]), m::bind("", "", &[], &[]), m::execute("", 0), m::flush()]),
            Until(b'G'),
            batch(&[m::copy_data(b"x\ty\tz\n"), m::copy_done(), m::sync()]),
            Ready,
        ],
    );
    world.same(
        "COPY messages outside of COPY",
        &[batch(&[m::copy_data(b"stray"), m::copy_done(), m::copy_fail("stray"), m::query("SELECT 1")]), Ready],
    );
    world.same(
        "in a transaction that rolls back",
        &[
            Send(m::query("BEGIN")),
            Ready,
            Send(m::query(copy)),
            Until(b'G'),
            batch(&[m::copy_data(rows), m::copy_done()]),
            Ready,
            Send(m::query("ROLLBACK")),
            Ready,
            Send(m::query("SELECT count(*) FROM items WHERE id > 3000")),
            Ready,
        ],
    );
    world.same("out, simple", &[Send(m::query("COPY (SELECT id, name FROM items WHERE id = 4) TO STDOUT")), Ready]);
    world.same(
        "out, extended",
        &[batch(&[run("COPY (SELECT id, name FROM items WHERE id = 4) TO STDOUT", &[]), m::sync()]), Ready],
    );
    world.same("out of a reference table", &[Send(m::query("COPY places TO STDOUT (FORMAT csv, HEADER)")), Ready]);
    world.same("copy among other statements", &[Send(m::query("SELECT 1; COPY places TO STDOUT; SELECT 2")), Ready]);
}

#[test]
fn settings_and_notices_are_reported_as_postgres_reports_them() {
    let world = world();
    for sql in [
        "SET application_name = 'mine'",
        "SET timezone = 'Asia/Tokyo'",
        "SET DateStyle = 'German'; RESET DateStyle",
        "SET client_encoding = 'LATIN1'",
        "SET standard_conforming_strings = off",
        "BEGIN; SET timezone = 'Asia/Tokyo'; ROLLBACK",
        "BEGIN; SET LOCAL timezone = 'Asia/Tokyo'; COMMIT",
        "DO $$ BEGIN RAISE WARNING 'careful'; RAISE NOTICE 'look'; END $$",
        "DROP TABLE IF EXISTS nothing_there",
        "BEGIN; BEGIN; COMMIT",
        "SET client_min_messages = error; COMMIT; SET client_min_messages = warning; COMMIT; RESET client_min_messages; COMMIT",
        "BEGIN; SET LOCAL client_min_messages = 'error'; BEGIN; COMMIT; COMMIT",
    ] {
        world.same(sql, &[Send(m::query(sql)), Ready]);
    }
}

/// What a server says of a statement's text, or of what is there already, it says once, however many shards run it.
#[test]
fn notices_of_a_statement_come_once() {
    let world = world();
    let long = "a_name_that_is_longer_than_names_can_be_and_that_is_cut_by_the_one_who_reads_it";
    let reads = [
        "SELECT id AS #, name FROM items ORDER BY id LIMIT 3",
        "SELECT count(*) AS # FROM items",
        "SELECT n AS #, count(*) FROM items GROUP BY n ORDER BY n",
        "SELECT #.id FROM items # WHERE id = 7",
        "SELECT rank() OVER (ORDER BY id) AS # FROM items ORDER BY 1 LIMIT 3",
        "SELECT #.id FROM items # JOIN items o ON o.id = #.n + 30 ORDER BY 1 LIMIT 3",
        "SELECT title AS # FROM places ORDER BY code",
        "UPDATE items AS # SET name = name WHERE n = 3",
        "DELETE FROM items # WHERE n = 9",
        "INSERT INTO items AS # VALUES (2001, 'a', 1), (2002, 'b', 2), (2003, 'c', 3), (2004, 'd', 4)",
        "DELETE FROM items # WHERE id > 2000 RETURNING #.id IS NULL",
        "UPDATE places # SET title = title",
    ];
    let definitions = [
        "CREATE TABLE IF NOT EXISTS items (id int)",
        "CREATE TABLE IF NOT EXISTS places (id int)",
        "CREATE TABLE #_t (id int)",
        "DROP TABLE IF EXISTS #_t, nothing_there",
        "ALTER TABLE IF EXISTS nothing_there ADD COLUMN x int",
        "ALTER TABLE items ADD COLUMN IF NOT EXISTS name text",
        "ALTER TABLE places DROP COLUMN IF EXISTS nothing",
        "CREATE INDEX #_i ON items (name)",
        "CREATE INDEX IF NOT EXISTS #_i ON items (name)",
        "DROP INDEX IF EXISTS #_i, nothing_there",
        "CREATE VIEW # AS SELECT name, n FROM items",
        "CREATE VIEW #_2 AS SELECT name FROM # LIMIT 1",
        "ALTER TABLE items DROP COLUMN name CASCADE",
        "ALTER TABLE items ADD COLUMN name text",
        "DROP VIEW IF EXISTS #",
        "CREATE SCHEMA IF NOT EXISTS public",
        "DROP FUNCTION IF EXISTS nothing_there(int)",
        "DROP TRIGGER IF EXISTS nothing_there ON items",
        "COMMENT ON TABLE items IS 'items'",
    ];
    let ask = |sql: &str| queries(&[&sql.replace('#', long)]);
    for sql in reads.iter().chain(&definitions) {
        world.same(sql, &ask(sql));
    }
    for sql in reads {
        let sql = sql.replace('#', long);
        let parsed = [m::parse("s", &sql, &[]), m::describe(b'S', "s"), m::sync()];
        let bound = [m::bind("", "s", &[], &[]), m::execute("", 0), m::sync()];
        world.same(&format!("{sql}: extended"), &[batch(&parsed), Ready, batch(&bound), Ready, batch(&bound), Ready]);
    }
}

/// A notice comes with the row whose making it was raised by; between the rows of several shards their order is not told.
#[test]
fn notices_raised_for_rows_of_several_shards_are_not_lost() {
    let schema = format!(
        "{SCHEMA}; CREATE FUNCTION loud(id int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS \
         $$ BEGIN RAISE NOTICE 'saw %', id; RETURN id; END $$"
    );
    let world = Pair::with_safe_functions("notices", &schema, &[("items", Placed::By("id"))], &["loud"]);
    let items: Vec<String> = (1..=60).map(|id| format!("({id}, 'item {id}', {})", id % 7)).collect();
    world.fill(&[&format!("INSERT INTO items VALUES {}", items.join(", "))]);
    let heard = |mut raw: Raw, script: &[Step]| {
        let mut lines = play_on(&mut raw, script);
        // In their own order: rows and notices each.
        lines.sort_by_key(|line| match line.as_bytes().first() {
            Some(b'N') => line.clone(),
            _ => String::new(),
        });
        lines
    };
    let portal = [m::parse("", "SELECT loud(id) FROM items ORDER BY id", &[]), m::bind("", "", &[], &[])].concat();
    let pieces = batch(&[portal, m::execute("", 25), m::execute("", 25), m::execute("", 25), m::sync()]);
    let scripts = [
        ("merged", queries(&["SELECT loud(id) FROM items ORDER BY id"])),
        ("folded", queries(&["SELECT sum(loud(id)) FROM items"])),
        ("changed", queries(&["UPDATE items SET n = 1 WHERE loud(id) > 40"])),
        ("in pieces", vec![pieces, Ready]),
    ];
    for (name, script) in &scripts {
        let (theirs, ours) = (heard(world.db.oracle(), script), heard(world.through(), script));
        assert!(theirs.iter().filter(|line| line.starts_with('N')).count() >= 60, "{name}: {theirs:?}");
        world.compare(name, &theirs, &ours);
    }
    // In no order: as many of each.
    for sql in ["SELECT loud(id) FROM items", "COPY (SELECT loud(id) FROM items) TO STDOUT"] {
        let sorted = |raw: Raw| {
            let mut lines = heard(raw, &queries(&[sql]));
            lines.sort();
            lines
        };
        world.compare(sql, &sorted(world.db.oracle()), &sorted(world.through()));
    }
}

/// Postgres reads the literals of a prepared statement under the settings of who prepares it.
#[test]
fn a_shared_prepared_statement_keeps_to_its_own_clients_settings() {
    let world = world();
    let sql = "SELECT '01/02/2024'::text::date, date '01/02/2024', timestamptz '2024-01-01 12:00', 'a\\b'";
    let of = |setup: &str, raw: fn(&Pair) -> Raw| {
        let mut raw = raw(&world);
        raw.must(setup);
        (0..2).map(|_| raw.extended(sql, &[], &[], 0).text()).collect::<Vec<_>>()
    };
    for setup in [
        "SELECT 1",
        "SET DateStyle = 'ISO, DMY'",
        "SET timezone = 'Asia/Tokyo'",
        "SET standard_conforming_strings = off",
        "SET DateStyle = 'German'; SET timezone = 'America/New_York'",
        "SELECT 1",
    ] {
        assert_eq!(of(setup, |world| world.db.oracle()), of(setup, Pair::through), "{setup}");
    }
}

/// What one client leaves behind is not seen by the next, though they share server connections.
#[test]
fn nothing_of_one_client_is_seen_by_another() {
    let world = world();
    let traces = [
        ("SET timezone = 'Asia/Tokyo'", "SHOW timezone"),
        ("SELECT set_config('search_path', 'pg_catalog', false)", "SHOW search_path"),
        ("SELECT set_config('timezone', 'Asia/Tokyo', false)", "SHOW timezone"),
        // A name that a session made up stays known to its server process, as empty.
        ("SET my.setting = 'left'", "SELECT coalesce(current_setting('my.setting', true), '')"),
        ("SELECT set_config('my.other', 'left', false)", "SELECT coalesce(current_setting('my.other', true), '')"),
        ("PREPARE leftover AS SELECT 1", "EXECUTE leftover"),
        ("CREATE TEMPORARY TABLE leftover (id int)", "SELECT count(*) FROM pg_class WHERE relname = 'leftover'"),
        ("BEGIN; DECLARE c CURSOR WITH HOLD FOR SELECT 1; COMMIT", "FETCH 1 FROM c"),
        ("SELECT pg_advisory_lock(7)", "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1"),
        ("LISTEN leftover", "SELECT count(*) FROM pg_listening_channels()"),
        ("SET ROLE pg_monitor", "SELECT current_user"),
        ("SET SESSION AUTHORIZATION pg_monitor", "SELECT session_user"),
        ("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", "SHOW transaction_read_only"),
        ("BEGIN; UPDATE plain SET body = 'left' WHERE id = 1", "SELECT body FROM plain WHERE id = 1"),
        ("BEGIN; SELECT 1/0", "SELECT 'usable'"),
        ("SELECT setseed(0.5)", "SELECT 1"),
    ];
    let mut seen = Vec::new();
    for (leave, look) in traces {
        let before = world.db.oracle().simple(look).text();
        let mut first = world.through();
        let left = first.simple(leave);
        if left.code() == "0A000" {
            continue;
        }
        drop(first);
        // Several, so that each pooled connection is met.
        let mut others: Vec<Raw> = (0..6).map(|_| world.through()).collect();
        for other in &mut others {
            other.simple("BEGIN; SELECT 1");
        }
        for other in &mut others {
            let mut after = other.simple(look).text();
            // The server needs a moment to end what a vanished client began.
            for _ in 0..20 {
                if after == before {
                    break;
                }
                std::thread::sleep(Duration::from_millis(25));
                after = other.simple(look).text();
            }
            if after != before {
                seen.push(format!("{leave}: {look} says {after:?}, not {before:?}"));
            }
        }
    }
    assert!(seen.is_empty(), "{}", seen.join("\n"));
}

/// What neither SET nor a lock's own statement shows: whose changes a session repeats, and what the query of a materialized view locks.
#[test]
fn origins_of_replication_and_locks_of_refresh_go_with_their_session() {
    let world = world();
    let name = "current_database()::text";
    let create = format!("SELECT pg_replication_origin_create({name})");
    world.db.everywhere(&create);
    world.through().must("CREATE MATERIALIZED VIEW locking AS SELECT pg_advisory_lock(77)::text AS locked");
    let locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 77 AND objsubid = 1";
    for (leave, look, clean) in [
        (
            &*format!("SELECT pg_replication_origin_session_setup({name})"),
            "SELECT pg_replication_origin_session_is_setup()",
            "f",
        ),
        ("REFRESH MATERIALIZED VIEW locking", locks, "0"),
    ] {
        let mut first = world.through();
        first.must(leave);
        assert_ne!(first.value(look), clean, "{leave}");
        drop(first);
        let mut others: Vec<Raw> = (0..6).map(|_| world.through()).collect();
        others.iter_mut().for_each(|other| drop(other.must("BEGIN")));
        for other in &mut others {
            // The server needs a moment to end.
            let is_clean = (0..40).any(|_| {
                std::thread::sleep(Duration::from_millis(25));
                other.value(look) == clean
            });
            assert!(is_clean, "{leave}: {look}");
        }
    }
    // The server process whose it was needs a moment, too.
    std::thread::sleep(Duration::from_secs(1));
    world.db.everywhere(&format!("SELECT pg_replication_origin_drop({name})"));
}

#[test]
fn unknown_and_broken_messages() {
    let world = world();
    world.same("unknown type", &[Send(m::frame(b'j', b"")), Ready]);
    world.same("query without its zero", &[Send(m::frame(b'Q', b"SELECT 1")), Ready]);
    world.same("query with a byte after its zero", &[Send(m::frame(b'Q', b"SELECT 1\0x")), Ready]);
    world.same("length below four", &[Send(vec![b'Q', 0, 0, 0, 3]), Ready]);
    world.same(
        "bind cut short",
        &[Send([m::parse("", "SELECT 1", &[]), m::frame(b'B', b"\0\0\0"), m::sync()].concat()), Ready],
    );
    world.same("describe of an unknown kind", &[batch(&[m::describe(b'x', ""), m::sync()]), Ready]);
    world.same("close of an unknown kind", &[batch(&[m::close(b'x', ""), m::sync()]), Ready]);
    world.same("text that is not UTF-8", &[Send(m::frame(b'Q', b"SELECT '\xff'\0")), Ready]);
    world.same("terminate", &[batch(&[m::query("SELECT 1"), m::terminate()]), Ready, Ready]);
}

/// Rows in other encodings are cut at bytes that are ASCII, and keys that are more than ASCII converted.
#[test]
fn copy_of_rows_in_other_encodings() {
    let schema = "CREATE TABLE lines (id int PRIMARY KEY, body text)";
    let world = Pair::create("encodings", schema, &[("lines", Placed::By("id"))], "");
    let schema = "CREATE TABLE cities (name text PRIMARY KEY, country text)";
    let towns = Pair::with_key_type("towns", schema, ("cities", "name"), "text");
    let undo = "DELETE FROM lines";
    let copy = |sql: &str, rows: &[u8], ask: &str, undo: &str| {
        [
            Send(m::query(sql)),
            Until(b'G'),
            batch(&[m::copy_data(rows), m::copy_done()]),
            Ready,
            Send(m::query(ask)),
            Ready,
            Send(m::query(undo)),
            Ready,
        ]
    };
    let lines = "SELECT id, body FROM lines ORDER BY id";
    for (encoding, rows) in [
        ("LATIN1", &b"1\tcaf\xe9\n2\tna\xefve \\\\ \xa7\n3\tplain\n"[..]),
        ("windows-1252", b"1\t\x80 5\n2\tx\n"),
        ("EUC_JP", b"1\t\xc6\xfc\xcb\xdc\n2\tx\n3\t\xa4\xa2\n"),
        ("koi8-r", b"1\t\xf0\xf2\n2\t\xc1\n"),
        ("utf-8", "1\tä\n2\tö\n".as_bytes()),
        // Not of the encoding.
        ("EUC_JP", b"1\t\xc6\n2\tx\n"),
    ] {
        let sql = format!("COPY lines FROM STDIN (ENCODING '{encoding}')");
        world.answers(&sql, &copy(&sql, rows, lines, undo));
        let csv = format!("COPY lines FROM STDIN (FORMAT csv, DELIMITER E'\\t', ENCODING '{encoding}')");
        world.answers(&csv, &copy(&csv, rows, lines, undo));
    }
    let cities = "SELECT name, country FROM cities ORDER BY name COLLATE \"C\"";
    let ascii = "COPY cities FROM STDIN (ENCODING 'LATIN1')";
    towns.answers("ascii keys", &copy(ascii, b"Paris\tR\xe9p\nBonn\tX\n", cities, "DELETE FROM cities"));
    for (sql, rows) in [
        (ascii, &b"Paris\tFR\nM\xfcnchen\tDE\n"[..]),
        ("COPY cities FROM STDIN (FORMAT csv, ENCODING 'win1251')", "\"Köln\",DE\n".as_bytes()),
        ("COPY cities FROM STDIN (ENCODING 'SJIS')", b"\x83\\\tJP\nx\t\x95\\\n"),
    ] {
        towns.answers(sql, &copy(sql, rows, cities, "DELETE FROM cities"));
    }
    let mut raw = towns.through();
    let refused = raw.copy_in("COPY cities FROM STDIN (ENCODING 'no_such')", b"a\tx\n");
    assert_eq!(refused.code(), "0A000");
    assert_eq!(raw.value("SELECT count(*) FROM cities"), "0");
}

/// Each shard counts the rows that it got; who sent them is told of the line that he sent.
#[test]
fn errors_of_copied_rows_name_the_clients_line() {
    let schema = "CREATE TABLE lines (id int PRIMARY KEY, n int CHECK (n < 5000), body text)";
    let world = Pair::create("lines", schema, &[("lines", Placed::By("id"))], "");
    let rows = |bad: usize, row: &str, of: &dyn Fn(usize) -> String| -> Vec<u8> {
        (1..=3000).map(|at| if at == bad { row.to_owned() } else { of(at) }).collect::<String>().into_bytes()
    };
    let text = |at: usize| format!("{at}\t{}\tbody {at}\n", at % 4000);
    // Some rows have several lines.
    let csv = |at: usize| match at % 7 {
        0 => format!("{at},1,\"a\nb\n{at}\"\n"),
        _ => format!("{at},1,plain\n"),
    };
    let binary = |bad: usize| -> Vec<u8> {
        let mut data = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0".to_vec();
        for at in 1..=3000_i32 {
            let n = if at as usize == bad { 9000 } else { 1 };
            data.extend([0, 3, 0, 0, 0, 4].into_iter().chain(at.to_be_bytes()));
            data.extend([0, 0, 0, 4].into_iter().chain(i32::to_be_bytes(n)));
            data.extend([0, 0, 0, 1, b'x']);
        }
        data.extend([0xff, 0xff]);
        data
    };
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("COPY lines FROM STDIN", rows(1, "1\tx\tfirst\n", &text)),
        ("COPY lines FROM STDIN", rows(2077, "2077\tx\tno number\n", &text)),
        ("COPY lines FROM STDIN", rows(2500, "2500\t9000\ttoo large\n", &text)),
        ("COPY lines FROM STDIN", rows(2999, "17\t1\ttwice\n", &text)),
        ("COPY lines FROM STDIN", rows(1444, "1444\t1\ttoo\tmany\n", &text)),
        ("COPY lines FROM STDIN", rows(1444, "1444\n", &text)),
        ("COPY lines (body, n, id) FROM STDIN", rows(3, "b\ty\t3\n", &|at| format!("b\t1\t{at}\n"))),
        ("COPY lines FROM STDIN (FORMAT csv)", rows(2078, "2078,x,bad\n", &csv)),
        (
            "COPY lines FROM STDIN (FORMAT csv, HEADER)",
            [b"id,n,body\n".to_vec(), rows(1999, "1999,x,\"q\nq\"\n", &csv)].concat(),
        ),
        ("COPY lines FROM STDIN (FORMAT binary)", binary(1234)),
    ];
    for (sql, data) in cases {
        let (theirs, ours) = (world.db.oracle().copy_in(sql, &data), world.through().copy_in(sql, &data));
        let (theirs, ours) = (theirs.error.unwrap(), ours.error.unwrap());
        let shown = |report: &support::raw::Report| (report.to_string(), report.0.get(&'W').cloned());
        assert_eq!(shown(&ours), shown(&theirs), "{sql}");
    }
    assert_eq!(world.through().value("SELECT count(*) FROM lines"), "0");
}

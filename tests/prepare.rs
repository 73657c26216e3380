//! PREPARE, EXECUTE and DEALLOCATE in SQL, in both protocols and mixed with the protocol's own statements, as on one Postgres.

#![allow(clippy::unwrap_used)]

mod support;

use support::raw::{Raw, Value, message as m};
use support::script::Step::{self, Ready, Send, Until};
use support::script::{Pair, Placed, batch, queries, run, text};

const SCHEMA: &str = "CREATE TYPE mood AS ENUM ('low', 'fair', 'high'); \
     CREATE TABLE items (id int PRIMARY KEY, name text COLLATE \"C\", n int CHECK (n >= 0), day date, feeling mood); \
     CREATE TABLE places (code text PRIMARY KEY, title text); CREATE TABLE plain (id int PRIMARY KEY, body text); \
     CREATE SEQUENCE numbers";
const FILL: [&str; 3] = [
    "INSERT INTO items SELECT g, 'item ' || g, g % 7, '2024-01-01'::date + g, 'fair' FROM generate_series(1, 60) g",
    "INSERT INTO places VALUES ('a', 'A'), ('b', 'B')",
    "INSERT INTO plain VALUES (1, 'one'), (2, 'two')",
];

fn world() -> Pair {
    let placed = [("items", Placed::By("id")), ("places", Placed::Reference)];
    let world = Pair::create("prepare", SCHEMA, &placed, "");
    world.db.oracle().must(FILL[0]);
    if world.router.is_some() {
        let items = world.db.oracle().must("COPY items TO STDOUT").answers.remove(0).copied.unwrap();
        assert!(world.through().copy_in("COPY items FROM STDIN", &items).error.is_none());
    }
    world.fill(&FILL[1..]);
    world
}

const ONE: &str = "PREPARE one (int) AS SELECT id, name FROM items WHERE id = $1";
const ALL: &str = "PREPARE every (int) AS SELECT id, name FROM items WHERE n = $1 ORDER BY id";
const TIER2: &str = "PREPARE ranks AS SELECT id, rank() OVER (ORDER BY n, id) FROM items WHERE n < $1 ORDER BY 2, 1";
const PLAIN: &str = "PREPARE plain AS SELECT body FROM plain WHERE id = $1";
const REFERENCE: &str = "PREPARE places AS SELECT title FROM places ORDER BY code";
const TABLELESS: &str = "PREPARE sum AS SELECT $1::int + $2::int AS sum";
const ADD: &str = "PREPARE add (int, text, int) AS INSERT INTO items (id, name, n) VALUES ($1, $2, $3)";
const ADD_TWO: &str =
    "PREPARE add_two AS INSERT INTO items (id, name, n) VALUES ($1, 'x', 1), ($2, 'y', 2) RETURNING id, name";
const BUMP: &str = "PREPARE bump (int) AS UPDATE items SET n = n + $1 WHERE n > 5";

/// Parse, Bind, Describe (portal), Execute of the unnamed statement.
fn described(sql: &str) -> Vec<u8> {
    [m::parse("", sql, &[]), m::bind("", "", &[], &[]), m::describe(b'P', ""), m::execute("", 0)].concat()
}

fn one_by_one(statements: &[&str]) -> Vec<Step> {
    statements.iter().flat_map(|sql| [batch(&[described(sql), m::sync()]), Ready]).collect()
}

fn all_at_once(statements: &[&str]) -> Vec<Step> {
    let mut messages: Vec<Vec<u8>> = statements.iter().map(|sql| described(sql)).collect();
    messages.push(m::sync());
    vec![batch(&messages), Ready]
}

#[test]
fn prepared_and_executed_in_every_protocol() {
    let world = world();
    let cases: [(&str, &[&str]); 9] = [
        ("one shard", &[ONE, "EXECUTE one(5)", "EXECUTE one(2 + 4)", "EXECUTE one('7')", "DEALLOCATE one"]),
        ("all shards", &[ALL, "EXECUTE every(3)", "EXECUTE every(NULL)", "DEALLOCATE PREPARE every"]),
        ("tier 2", &[TIER2, "EXECUTE ranks(2)", "EXECUTE ranks(0)", "DEALLOCATE ALL"]),
        ("home", &[PLAIN, "EXECUTE plain(1)", "EXECUTE plain(abs(-2))", "DEALLOCATE plain", "EXECUTE plain(1)"]),
        ("reference", &[REFERENCE, "EXECUTE places", "EXECUTE places()", "DEALLOCATE places"]),
        ("no table", &[TABLELESS, "EXECUTE sum(1, 2)", "EXECUTE sum('1', 2.6)", "DEALLOCATE sum"]),
        (
            "insert",
            &[
                ADD,
                "EXECUTE add(901, 'nine', 1)",
                "EXECUTE add(902, 'nine', -1)",
                "EXECUTE add(903, NULL, 2)",
                "SELECT id, name, n FROM items WHERE id > 900 ORDER BY id",
                "DELETE FROM items WHERE id > 900",
            ],
        ),
        (
            "insert over shards",
            &[
                ADD_TWO,
                "EXECUTE add_two(910, 911)",
                "PREPARE add_more (int, int) AS INSERT INTO items (id, n) VALUES ($1, 1), ($2, 2)",
                "EXECUTE add_more(913, 914)",
                "EXECUTE add_more(912, 911)",
                "SELECT id FROM items WHERE id > 900 ORDER BY id",
                "DELETE FROM items WHERE id > 900",
            ],
        ),
        ("update over shards", &[BUMP, "EXECUTE bump(1)", "SELECT sum(n) FROM items", "EXECUTE bump(-1)"]),
    ];
    for (name, statements) in cases {
        world.answers(&format!("{name}, simple"), &queries(statements));
        world.answers(&format!("{name}, extended"), &one_by_one(statements));
        let whole: Vec<&str> =
            statements.iter().copied().filter(|s| !s.contains(", -1)") && !s.contains("(912, 911)")).collect();
        world.answers(&format!("{name}, pipeline"), &all_at_once(&whole));
        // Prepared by the one protocol, executed by the other.
        let mixed = [queries(&statements[..1]), one_by_one(&statements[1..])].concat_steps();
        world.answers(&format!("{name}, simple then extended"), &mixed);
        let mixed = [one_by_one(&statements[..1]), queries(&statements[1..])].concat_steps();
        world.answers(&format!("{name}, extended then simple"), &mixed);
        world.fill(&["DELETE FROM items WHERE id > 900"]);
    }
}

trait ConcatSteps {
    fn concat_steps(self) -> Vec<Step>;
}

impl<const N: usize> ConcatSteps for [Vec<Step>; N] {
    fn concat_steps(self) -> Vec<Step> {
        self.into_iter().flatten().collect()
    }
}

#[test]
fn names_are_one_space_with_the_protocol() {
    let world = world();
    let protocol = "SELECT id, name FROM items WHERE id = $1";
    for (name, sql) in [
        ("one shard", protocol),
        ("home", "SELECT body FROM plain WHERE id = $1"),
        ("all", "SELECT id FROM items WHERE n = $1 ORDER BY id"),
    ] {
        world.answers(
            &format!("{name}: EXECUTE of what Parse made"),
            &[
                batch(&[m::parse("s", sql, &[]), m::sync()]),
                Ready,
                Send(m::query("EXECUTE s(2)")),
                Ready,
                batch(&[described("EXECUTE s(2)"), m::sync()]),
                Ready,
                Send(m::query("PREPARE s AS SELECT 1")),
                Ready,
                batch(&[described("PREPARE s AS SELECT 1"), m::sync()]),
                Ready,
                Send(m::query("DEALLOCATE s")),
                Ready,
                Send(m::query("EXECUTE s(2)")),
                Ready,
                batch(&[described("EXECUTE s(2)"), m::sync()]),
                Ready,
            ],
        );
        world.answers(
            &format!("{name}: Bind of what PREPARE made"),
            &[
                Send(m::query(&format!("PREPARE s (int) AS {sql}"))),
                Ready,
                batch(&[
                    m::describe(b'S', "s"),
                    m::bind("", "s", &text(&["2"]), &[1]),
                    m::describe(b'P', ""),
                    m::execute("", 0),
                    m::sync(),
                ]),
                Ready,
                batch(&[m::bind("", "s", &text(&["2"]), &[]), m::execute("", 1), m::execute("", 0), m::sync()]),
                Ready,
                batch(&[m::parse("s", "SELECT 1", &[]), m::sync()]),
                Ready,
                batch(&[m::close(b'S', "s"), m::sync()]),
                Ready,
                Send(m::query("EXECUTE s(2)")),
                Ready,
                Send(m::query("DEALLOCATE s")),
                Ready,
            ],
        );
    }
    world.answers(
        "the statement without a name is not of the names",
        &[
            batch(&[
                m::parse("", "SELECT 7", &[]),
                m::parse("d", "DEALLOCATE ALL", &[]),
                m::bind("", "d", &[], &[]),
                m::execute("", 0),
                m::bind("", "", &[], &[]),
                m::execute("", 0),
                m::sync(),
            ]),
            Ready,
            batch(&[m::bind("", "", &[], &[]), m::execute("", 0), m::sync()]),
            Ready,
        ],
    );
    world.answers(
        "until DISCARD ALL",
        &queries(&[ONE, PLAIN, "DISCARD ALL", "EXECUTE one(1)", "EXECUTE plain(1)", ONE]),
    );
    world.answers(
        "until DEALLOCATE ALL",
        &queries(&[ONE, PLAIN, "DEALLOCATE ALL", "EXECUTE one(1)", "EXECUTE plain(1)", ONE]),
    );
    world.answers(
        "quoted names",
        &queries(&[
            "PREPARE \"A b\" AS SELECT count(*) FROM items",
            "EXECUTE \"A b\"",
            "DEALLOCATE a",
            "DEALLOCATE \"A b\"",
        ]),
    );
}

/// What a statement leaves on a connection stays the client's, and is no other's.
#[test]
fn state_that_a_prepared_statement_makes_is_kept() {
    let world = world();
    let script = [
        "PREPARE zone AS SELECT set_config('timezone', 'Asia/Tokyo', false)",
        "PREPARE lock (bigint) AS SELECT pg_advisory_lock($1)",
        "PREPARE local AS SELECT set_config('work_mem', '1MB', true)",
        "EXECUTE zone",
        "SHOW timezone",
        "SELECT count(*) FROM items WHERE id = 3 AND current_setting('timezone') = 'Asia/Tokyo'",
        "EXECUTE lock(77)",
        "SELECT count(*) FROM items",
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 77 AND pid = pg_backend_pid()",
        "BEGIN",
        "EXECUTE local",
        "SHOW work_mem",
        "COMMIT",
        "CREATE TEMP TABLE mine (a int)",
        "PREPARE mine (int) AS INSERT INTO mine VALUES ($1), ($1 + 1) RETURNING a",
        "EXECUTE mine(4)",
        "PREPARE of_mine AS SELECT a FROM mine ORDER BY a",
        "EXECUTE of_mine",
        "DROP TABLE mine",
        "EXECUTE of_mine",
        ADD,
        "EXECUTE add(930 + nextval('numbers')::int, 'numbered', 1)",
        "EXECUTE add(930 + nextval('numbers')::int, 'numbered', 1)",
        "SELECT id FROM items WHERE id > 900 ORDER BY id",
        "DELETE FROM items WHERE id > 900",
        "SELECT setval('numbers', 1, false)",
        "DISCARD ALL",
    ];
    world.answers("simple", &queries(&script));
    world.answers("extended", &one_by_one(&script));
    let mut other = world.through();
    assert_eq!(other.value("SHOW timezone"), "UTC");
}

/// A function in an argument could read what lies on other shards.
#[test]
fn functions_in_arguments_are_looked_at() {
    let world = world();
    world.db.everywhere("CREATE FUNCTION last_item() RETURNS int LANGUAGE sql AS $$ SELECT max(id) FROM items $$");
    if world.router.is_none() {
        return;
    }
    let mut through = world.through();
    through.must("CREATE INDEX ON plain (body)");
    through.must(ONE);
    for extended in [false, true] {
        let refused = match extended {
            false => through.simple("EXECUTE one(last_item())"),
            true => through.extended("EXECUTE one(last_item())", &[], &[], 0),
        };
        assert_eq!(refused.code(), "0A000", "{}", refused.text());
        assert!(refused.text().contains("last_item"), "{}", refused.text());
    }
    assert_eq!(through.must("EXECUTE one(abs(-5))").text(), "5|item 5");
    let refused = through.simple("PREPARE pgloom_1 AS SELECT 1");
    assert_eq!(refused.code(), "0A000", "{}", refused.text());
    assert_eq!(through.simple("EXECUTE pgloom_1").code(), "0A000");
}

/// Settings that read no literal do not matter to statements with literals, on whatever connection they run next.
#[test]
fn settings_that_read_no_literal_do_not_matter() {
    let world = world();
    let by_text = "SELECT id, name || 'x' AS name FROM items WHERE id = $1 AND name <> 'y'";
    let mut script = vec![
        batch(&[m::parse("s", by_text, &[]), m::bind("", "s", &text(&["1"]), &[]), m::execute("", 0), m::sync()]),
        Ready,
    ];
    script.extend(queries(&[
        "PREPARE p AS SELECT count(*) FROM items WHERE name <> 'y'",
        "EXECUTE p",
        "SET enable_seqscan = off",
        "SET app.tenant = '5'",
        "EXECUTE p",
    ]));
    for id in ["2", "3", "4", "5", "6", "7", "8"] {
        script.extend([batch(&[m::bind("", "s", &text(&[id]), &[]), m::execute("", 0), m::sync()]), Ready]);
    }
    world.answers("by settings", &script);
}

#[test]
fn errors_are_those_of_postgres() {
    let world = world();
    let statements = [
        ONE,
        ONE,
        "EXECUTE nothing",
        "EXECUTE nothing(1, 2)",
        "EXECUTE one",
        "EXECUTE one(1, 2)",
        "EXECUTE one('x')",
        "EXECUTE one(true)",
        "EXECUTE one(99999999999)",
        "EXECUTE one('99999999999')",
        "EXECUTE one((SELECT 1))",
        "EXECUTE one(sum(1))",
        "EXECUTE one(nothing)",
        "EXECUTE one(1 / 0)",
        "EXECUTE one($1)",
        "EXECUTE one(1",
        "EXECUTE",
        "EXECUTE one(5) LIMIT 1",
        "PREPARE",
        "PREPARE q",
        "PREPARE q AS",
        "PREPARE q AS SELECT",
        "PREPARE q AS SELEC",
        "PREPARE q2 AS CREATE TABLE x (a int)",
        "PREPARE q3 (nothing) AS SELECT id FROM items WHERE id = $1",
        "PREPARE q4 AS SELECT nothing FROM items WHERE id = $1",
        "PREPARE q5 AS SELECT * FROM nothing",
        "PREPARE q6 AS SELECT $2 FROM items WHERE id = 1",
        "PREPARE q7 (int, int) AS SELECT id FROM items WHERE id = $1",
        "EXECUTE q7(1)",
        "EXECUTE q7(1, 2)",
        "PREPARE q8 AS SELECT $1",
        "EXECUTE q8('any')",
        "PREPARE q9 (mood) AS SELECT count(*) FROM items WHERE feeling = $1",
        "EXECUTE q9('fair')",
        "EXECUTE q9('wrong')",
        "DEALLOCATE nothing",
        "DEALLOCATE",
        "PREPARE d (date) AS SELECT count(*) FROM items WHERE day = $1",
        "EXECUTE d('yesterday or so')",
        "EXECUTE d('2024-01-05')",
        "EXECUTE d('2024-01-05 10:00'::timestamp)",
        "EXECUTE d(5)",
        "PREPARE s (smallint) AS SELECT count(*) FROM items WHERE id = $1",
        "EXECUTE s(40000)",
        "EXECUTE s(4)",
    ];
    world.answers("simple", &queries(&statements));
    world.answers("extended", &one_by_one(&statements));
    world.answers(
        "several statements",
        &queries(&[
            "SELECT 1; PREPARE m (int) AS SELECT id FROM items WHERE id = $1; EXECUTE m(3); EXECUTE m(true)",
            "SELECT 2;   EXECUTE m(4);  EXECUTE m('x')",
            "EXECUTE m(5); DEALLOCATE m; EXECUTE m(5)",
        ]),
    );
}

#[test]
fn transactions_do_not_undo_a_prepare() {
    let world = world();
    let script = [
        "BEGIN",
        ONE,
        PLAIN,
        "ROLLBACK",
        "EXECUTE one(4)",
        "EXECUTE plain(1)",
        "BEGIN",
        "SELECT 1 / 0",
        "EXECUTE one(4)",
        "PREPARE other AS SELECT 1",
        "DEALLOCATE one",
        "ROLLBACK",
        "BEGIN",
        "DEALLOCATE one",
        "ROLLBACK",
        "EXECUTE one(4)",
        "BEGIN",
        "PREPARE x AS SELECT nothing",
        "EXECUTE plain(1)",
        "ROLLBACK",
        ADD,
        "BEGIN",
        "EXECUTE add(950, 'x', 1)",
        "SAVEPOINT a",
        "EXECUTE add(951, 'x', -1)",
        "ROLLBACK TO a",
        "EXECUTE add(952, 'y', 1)",
        "SELECT id FROM items WHERE id > 900 ORDER BY id",
        "ROLLBACK",
        "SELECT count(*) FROM items WHERE id > 900",
    ];
    world.answers("simple", &queries(&script));
    world.answers("extended", &one_by_one(&script));
    world.answers(
        "a pipeline is one transaction",
        &[
            batch(&[described(ADD), described(BUMP), m::sync()]),
            Ready,
            batch(&[
                described("EXECUTE add(960, 'x', 1)"),
                described("EXECUTE bump(1)"),
                described("EXECUTE add(961, 'x', -1)"),
                m::sync(),
            ]),
            Ready,
            Send(m::query("SELECT count(*), sum(n) FROM items")),
            Ready,
            batch(&[described("EXECUTE bump(1)"), described("SELECT 1 / 0"), m::sync()]),
            Ready,
            Send(m::query("SELECT count(*), sum(n) FROM items")),
            Ready,
            batch(&[
                described("EXECUTE bump(1)"),
                described("EXECUTE bump(-1)"),
                described("EXECUTE add(962, 'x', 1)"),
                m::sync(),
            ]),
            Ready,
            Send(m::query("SELECT count(*), sum(n) FROM items")),
            Ready,
            Send(m::query("DELETE FROM items WHERE id > 900")),
            Ready,
        ],
    );
}

#[test]
fn portals_of_execute_hand_out_rows_in_pieces_and_formats() {
    let world = world();
    for (name, prepare, execute) in [
        ("one shard", ONE, "EXECUTE one(5)"),
        ("all shards", ALL, "EXECUTE every(3)"),
        ("tier 2", TIER2, "EXECUTE ranks(2)"),
        ("home", PLAIN, "EXECUTE plain(2)"),
        ("reference", REFERENCE, "EXECUTE places"),
        ("write", ADD_TWO, "EXECUTE add_two(970, 971)"),
    ] {
        world.answers(
            name,
            &[
                Send(m::query(prepare)),
                Ready,
                batch(&[m::parse("e", execute, &[]), m::describe(b'S', "e"), m::sync()]),
                Ready,
                batch(&[
                    m::bind("p", "e", &[], &[1]),
                    m::describe(b'P', "p"),
                    m::execute("p", 1),
                    m::execute("p", 3),
                    m::describe(b'P', "p"),
                    m::execute("p", 0),
                    m::execute("p", 0),
                    m::close(b'P', "p"),
                    m::sync(),
                ]),
                Ready,
                Send(m::query("BEGIN")),
                Ready,
                Send(m::query("DELETE FROM items WHERE id > 900")),
                Ready,
                batch(&[m::bind("q", "e", &[], &[0, 1]), m::execute("q", 2), m::sync()]),
                Ready,
                batch(&[run("SELECT count(*) FROM items", &[]), m::execute("q", 0), m::close(b'P', "q"), m::sync()]),
                Ready,
                Send(m::query("COMMIT")),
                Ready,
                batch(&[m::bind("", "e", &[], &[1, 1, 1, 1]), m::execute("", 0), m::sync()]),
                Ready,
                Send(m::query("DELETE FROM items WHERE id > 900")),
                Ready,
            ],
        );
    }
    world.answers(
        "a message at a time",
        &[
            batch(&[m::parse("", ALL, &[]), m::flush()]),
            Until(b'1'),
            batch(&[m::describe(b'S', ""), m::flush()]),
            Until(b'n'),
            batch(&[m::bind("", "", &[], &[]), m::flush()]),
            Until(b'2'),
            batch(&[m::execute("", 0), m::flush()]),
            Until(b'C'),
            batch(&[m::parse("", "EXECUTE every(1)", &[]), m::flush()]),
            Until(b'1'),
            batch(&[m::describe(b'S', ""), m::flush()]),
            Until(b'T'),
            batch(&[m::bind("", "", &[], &[]), m::flush()]),
            Until(b'2'),
            batch(&[m::describe(b'P', ""), m::flush()]),
            Until(b'T'),
            batch(&[m::execute("", 2), m::flush()]),
            Until(b's'),
            batch(&[m::execute("", 0), m::flush()]),
            Until(b'C'),
            Send(m::sync()),
            Ready,
        ],
    );
    world.answers(
        "described before there is such a statement",
        &[
            batch(&[
                m::parse("e", "EXECUTE one(5)", &[]),
                m::describe(b'S', "e"),
                m::bind("", "e", &[], &[]),
                m::describe(b'P', ""),
                m::execute("", 0),
                m::sync(),
            ]),
            Ready,
            Send(m::query(ONE)),
            Ready,
            batch(&[m::bind("", "e", &[], &[]), m::describe(b'P', ""), m::execute("", 0), m::sync()]),
            Ready,
        ],
    );
    for types in [&[][..], &[23]] {
        world.answers(
            "parameters of the protocol in EXECUTE",
            &[
                Send(m::query(ONE)),
                Ready,
                batch(&[m::parse("e", "EXECUTE one($1)", types), m::describe(b'S', "e"), m::sync()]),
                Ready,
                batch(&[m::bind("", "e", &text(&["5"]), &[]), m::describe(b'P', ""), m::execute("", 0), m::sync()]),
                Ready,
                batch(&[m::bind("", "e", &[], &[]), m::execute("", 0), m::sync()]),
                Ready,
                batch(&[m::bind("", "e", &[Value::binary(6i32.to_be_bytes())], &[]), m::execute("", 0), m::sync()]),
                Ready,
            ],
        );
        world.answers(
            "parameters of the protocol in PREPARE",
            &[
                batch(&[m::parse("e", ONE, types), m::describe(b'S', "e"), m::sync()]),
                Ready,
                batch(&[m::bind("", "e", &text(&["5"]), &[]), m::describe(b'P', ""), m::execute("", 0), m::sync()]),
                Ready,
                batch(&[m::bind("", "e", &[], &[]), m::execute("", 0), m::sync()]),
                Ready,
                Send(m::query("EXECUTE one(3)")),
                Ready,
            ],
        );
    }
}

#[test]
fn statements_around_an_execute() {
    let world = world();
    let script = [
        PLAIN,
        ONE,
        ALL,
        ADD,
        "EXPLAIN (COSTS OFF) EXECUTE plain(1)",
        "EXPLAIN (COSTS OFF) EXECUTE plain(1 + 1)",
        "EXPLAIN (COSTS OFF, FORMAT json) EXECUTE one(5)",
        "EXPLAIN EXECUTE nothing",
        "EXPLAIN EXECUTE one",
        "EXPLAIN EXECUTE one(1",
        "EXPLAIN (COSTS OFF) EXECUTE add(970, 'x', 1)",
        "EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) EXECUTE add(971, 'x', 1)",
        "SELECT count(*) FROM items WHERE id > 900",
        "CREATE TABLE made AS EXECUTE plain(1)",
        "SELECT * FROM made",
        "CREATE TABLE made (renamed) AS EXECUTE plain(2)",
        "CREATE TABLE filled (renamed) AS EXECUTE plain(2) WITH DATA",
        "SELECT * FROM filled",
        "CREATE TABLE bad AS EXECUTE nothing(2)",
        "CREATE TABLE bad AS EXECUTE add(972, 'x', 1)",
        "CREATE VIEW bad AS EXECUTE plain(1)",
        "CREATE TEMP TABLE short AS EXECUTE plain(2)",
        "SELECT * FROM short",
        "DROP TABLE made, filled",
        "DELETE FROM items WHERE id > 900",
    ];
    world.answers("simple", &queries(&script));
    world.answers("extended", &one_by_one(&script));
    if world.router.is_none() {
        return;
    }
    let mut through = world.through();
    for sql in [PLAIN, ONE, ALL, TIER2] {
        through.must(sql);
    }
    let plain = through.must("EXPLAIN (ROUTE) SELECT id, name FROM items WHERE id = 5").text();
    for extended in [false, true] {
        let mut ask = |sql: &str| match extended {
            false => through.simple(sql),
            true => through.extended(sql, &[], &[], 0),
        };
        assert_eq!(ask("EXPLAIN (ROUTE) EXECUTE one(5)").text(), plain);
        assert_eq!(ask("EXPLAIN (ROUTE) EXECUTE one(2 + 3)").text(), plain);
        let every = ask("EXPLAIN (ROUTE) EXECUTE every(3)").text();
        assert!(every.contains("MergeSort") && every.contains("Scatter s0, s1, s2, s3"), "{every}");
        let ranks = ask("EXPLAIN (ROUTE) EXECUTE ranks(3)").text();
        assert!(ranks.contains("Finish on s0") && ranks.contains("Pull public.items"), "{ranks}");
        let missing = ask("EXPLAIN (ROUTE) EXECUTE nothing(3)");
        assert_eq!(missing.code(), "26000");
        let analyzed = ask("EXPLAIN (ANALYZE, COSTS OFF) EXECUTE every(3)").text();
        assert!(analyzed.matches("actual time").count() >= 4 && analyzed.contains("n = 3"), "{analyzed}");
        let analyzed = ask("EXPLAIN (ANALYZE, COSTS OFF) EXECUTE ranks(2 - 1)").text();
        assert!(analyzed.contains("WindowAgg"), "{analyzed}");
        let made = ask("CREATE TABLE made AS EXECUTE every(3)");
        let tag = made.answers.first().and_then(|answer| answer.tag.clone()).unwrap_or_default();
        let rows = ask("SELECT 'SELECT ' || count(*) FROM made").text();
        assert!(made.error.is_none() && tag == rows && tag != "SELECT 0", "{tag} {rows} {:?}", made.error);
        ask("DROP TABLE made");
    }
}

/// Literals of arguments mean what the session's settings say, on whichever shards they are read.
#[test]
fn literals_are_read_under_the_settings_of_the_session() {
    let world = world();
    for style in ["SQL, DMY", "SQL, MDY", "German", "Postgres, DMY", "ISO, DMY"] {
        for statements in [
            ["PREPARE q (date) AS SELECT id, day FROM items WHERE day > $1 ORDER BY id", "EXECUTE q ('02/01/2024')"],
            ["PREPARE q (date) AS SELECT id, day FROM items WHERE id = 7 AND day > $1", "EXECUTE q ('02/01/2024')"],
            [
                "PREPARE q (date) AS SELECT id, rank() OVER (ORDER BY day) FROM items WHERE day < $1 ORDER BY id",
                "EXECUTE q ('05/02/2024')",
            ],
            [
                "PREPARE q (date, int) AS INSERT INTO items (id, day) VALUES ($2, $1) RETURNING day",
                "EXECUTE q ('02/03/2024', 903)",
            ],
            [
                "PREPARE q (numeric, bool) AS SELECT id FROM items WHERE n > $1 AND $2 ORDER BY id",
                "EXECUTE q ('2.5', 'yes')",
            ],
            ["PREPARE q (date) AS SELECT count(*) FROM items WHERE day > $1", "EXECUTE q ('infinity')"],
            ["PREPARE q (date) AS SELECT count(*) FROM items WHERE day > $1", "EXECUTE q (NULL)"],
        ] {
            let set = format!("SET DateStyle = '{style}'");
            let statements = [
                &*set,
                statements[0],
                statements[1],
                "EXPLAIN (COSTS OFF) SELECT 1",
                "DELETE FROM items WHERE id > 900",
            ];
            world.answers(&format!("{style}: {}", statements[1]), &queries(&statements));
            world.answers(&format!("extended, {style}: {}", statements[1]), &one_by_one(&statements));
        }
    }
}

/// Warnings of a text say where in what the client has sent it is meant, behind PREPARE as well.
#[test]
fn warnings_of_a_text_have_its_places() {
    let world = world();
    let places = |raw: &mut Raw| -> Vec<Vec<(String, Option<String>)>> {
        raw.must("SET standard_conforming_strings = off");
        [
            r"PREPARE é AS SELECT id FROM items WHERE name = 'a\tb' AND id = $1",
            r"/* é */ PREPARE two (int) AS SELECT id FROM items WHERE name = 'a\tb' ORDER BY id",
            r"SELECT id, rank() OVER (ORDER BY n, id) FROM items WHERE name = 'a\tb'",
        ]
        .iter()
        .map(|sql| {
            let reply = raw.simple(sql);
            assert!(reply.error.is_none(), "{sql}: {:?}", reply.error);
            reply.notices.iter().map(|notice| (notice.code().to_owned(), notice.0.get(&'P').cloned())).collect()
        })
        .collect()
    };
    let theirs = places(&mut world.db.oracle());
    assert!(theirs.iter().all(|notices| notices.len() == 1 && notices[0].1.is_some()), "{theirs:?}");
    assert_eq!(places(&mut world.through()), theirs);
    // An error of what is executed has its place in the text as it was prepared, or none.
    let place = |raw: &mut Raw| {
        raw.must("SET standard_conforming_strings = off");
        raw.must(r"PREPARE gone AS SELECT 'a\tb', 'c\td', day FROM items WHERE id = 5");
        raw.must("ALTER TABLE items DROP COLUMN day");
        let error = raw.simple("EXECUTE gone").error.unwrap();
        assert_eq!(error.code(), "42703", "{error}");
        error.0.get(&'P').cloned()
    };
    let ours = place(&mut world.through());
    let theirs = place(&mut world.db.oracle());
    assert!(ours.is_none() || ours == theirs, "{ours:?}, {theirs:?}");
}

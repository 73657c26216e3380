//! Portals and cursors over shards under each other's names: FETCH, MOVE and CLOSE in SQL of what Bind has made, savepoints that end
//! them, and what is told of their columns.

#![allow(clippy::unwrap_used)]

mod support;

use support::random::Random;
use support::raw::{Message, Raw, Value, message as m};
use support::script::Step::{self, Ready, Send};
use support::script::{Pair, Placed, batch, queries, run};

const SCHEMA: &str = "CREATE TABLE items (id int PRIMARY KEY, name text COLLATE \"C\", n int); \
     CREATE TABLE places (code text PRIMARY KEY, title text); CREATE TABLE plain (id int PRIMARY KEY, body text); \
     CREATE VIEW sums AS SELECT n, count(*) AS c FROM items GROUP BY n";
/// Rows that are merged as they come.
const ALL: &str = "SELECT id, name FROM items ORDER BY id";
/// Rows that a Postgres puts together.
const FINISHED: &str = "SELECT id, rank() OVER (ORDER BY n, id) AS place FROM items ORDER BY id";
const ONE: &str = "SELECT id, n FROM items WHERE id = 5";
const PLACES: &str = "SELECT code FROM places ORDER BY code";

fn world(label: &str) -> Pair {
    let placed = [("items", Placed::By("id")), ("places", Placed::Reference)];
    let world = Pair::create(label, SCHEMA, &placed, "");
    let rows: Vec<String> = (1..=30).map(|id| format!("({id}, 'item {id}', {})", id % 7)).collect();
    world.fill(&[
        &format!("INSERT INTO items VALUES {}", rows.join(", ")),
        "INSERT INTO places VALUES ('a', 'A'), ('b', 'B'), ('c', 'C')",
        "INSERT INTO plain VALUES (1, 'one')",
    ]);
    world
}

/// BEGIN, a portal that was executed for two rows (for none: bound only), and what follows.
fn behind_portal(sql: &str, rows: u32, then: Vec<Step>) -> Vec<Step> {
    let mut messages = vec![m::parse("s", sql, &[]), m::bind("p1", "s", &[], &[])];
    if rows > 0 {
        messages.push(m::execute("p1", rows));
    }
    messages.push(m::sync());
    let mut script = vec![Send(m::query("BEGIN")), Ready, batch(&messages), Ready];
    script.extend(then);
    script.extend([Send(m::query("ROLLBACK")), Ready, Send(m::query("SELECT count(*) FROM items")), Ready]);
    script
}

fn each(messages: &[Vec<u8>]) -> Vec<Step> {
    vec![batch(messages), Ready]
}

#[test]
fn sql_knows_the_protocols_portals_by_name() {
    let world = world("portals");
    for (kind, sql) in [("merged", ALL), ("finished", FINISHED), ("one shard", ONE), ("reference", PLACES)] {
        for rows in [2, 0, 100] {
            let name = format!("{kind} after {rows} rows");
            for statements in [
                &[
                    "FETCH 3 FROM p1",
                    "FETCH NEXT FROM p1",
                    "MOVE 2 IN p1",
                    "FETCH p1",
                    "MOVE ALL FROM p1",
                    "FETCH 2 p1",
                ][..],
                &["FETCH ALL FROM p1", "FETCH ALL FROM p1", "MOVE FORWARD 5 IN p1"],
                &["FETCH RELATIVE 3 FROM p1", "MOVE RELATIVE 2 FROM p1", "FETCH 1 FROM p1"],
                &["MOVE ALL p1", "MOVE p1", "FETCH FORWARD p1", "CLOSE p1", "FETCH p1"],
                &["CLOSE p1", "CLOSE p1"],
                &["FETCH PRIOR FROM p1"],
                &["FETCH LAST FROM p1", "FETCH p1"],
                &["FETCH BACKWARD ALL FROM p1"],
                &["FETCH 3 FROM other", "FETCH p1"],
                &["MOVE 0 FROM p1", "FETCH 0 FROM p1"],
                &["FETCH 2 FROM p1", "SELECT count(*) FROM items", "FETCH 2 FROM p1", "SELECT 1", "FETCH ALL FROM p1"],
                &["CLOSE ALL", "FETCH p1"],
                &["FETCH FROM p1 garbage"],
            ] {
                world.answers(&format!("{name}: {statements:?}"), &behind_portal(sql, rows, queries(statements)));
            }
            // Where it stands is not known of all.
            for statements in
                [&["FETCH ABSOLUTE 4 FROM p1"][..], &["FETCH ABSOLUTE 9 FROM p1"], &["FETCH FIRST FROM p1"]]
            {
                world.same(&format!("{name}: {statements:?}"), &behind_portal(sql, rows, queries(statements)));
            }
        }
    }
}

#[test]
fn the_extended_protocol_fetches_from_its_own_portals() {
    let world = world("portalsx");
    for (kind, sql) in [("merged", ALL), ("finished", FINISHED), ("one shard", ONE)] {
        let source = sql;
        for rows in [2, 0] {
            let fetch = |sql: &str| {
                each(&[
                    m::parse("", sql, &[]),
                    m::describe(b'S', ""),
                    m::bind("f", "", &[], &[]),
                    m::describe(b'P', "f"),
                    m::execute("f", 0),
                    m::close(b'P', "f"),
                    m::sync(),
                ])
            };
            for statement in
                ["FETCH 3 FROM p1", "MOVE 3 FROM p1", "FETCH ALL FROM p1", "FETCH PRIOR FROM p1", "CLOSE p1"]
            {
                let mut then = fetch(statement);
                then.extend(each(&[m::execute("p1", 2), m::execute("p1", 0), m::sync()]));
                world.answers(&format!("{kind} after {rows}: {statement}"), &behind_portal(sql, rows, then));
            }
            let both = each(&[
                m::parse("", "FETCH 2 FROM p1", &[]),
                m::bind("", "", &[], &[]),
                m::execute("", 0),
                m::execute("", 0),
                m::execute("p1", 1),
                run(PLACES, &[]),
                m::execute("p1", 1),
                run("FETCH 3 FROM p1", &[]),
                m::close(b'P', "p1"),
                run("FETCH 3 FROM p1", &[]),
                m::sync(),
            ]);
            world.answers(&format!("{kind} after {rows}: in one batch"), &behind_portal(sql, rows, both));
            let few = |sql: &str, most: u32| {
                let fetch = [m::parse("f", sql, &[]), m::bind("f", "f", &[], &[]), m::execute("f", most), m::sync()];
                let again = [m::execute("f", most), m::execute("p1", 2), m::sync()];
                each(&fetch).into_iter().chain(each(&again)).collect::<Vec<_>>()
            };
            for (sql, most) in [("FETCH 2 FROM p1", 3), ("MOVE 2 FROM p1", 1), ("FETCH RELATIVE 2 FROM p1", 9)] {
                world.answers(
                    &format!("{kind} after {rows}: {sql} of {most}"),
                    &behind_portal(source, rows, few(sql, most)),
                );
            }
            for (sql, most) in [("FETCH 2 FROM p1", 2), ("FETCH ALL FROM p1", 2)] {
                world.same(
                    &format!("{kind} after {rows}: {sql} of {most}"),
                    &behind_portal(source, rows, few(sql, most)),
                );
            }
            let binary =
                each(&[m::parse("", "FETCH 2 FROM p1", &[]), m::bind("", "", &[], &[1]), m::execute("", 0), m::sync()]);
            world.same(&format!("{kind} after {rows}: in binary"), &behind_portal(sql, rows, binary));
        }
        let pipeline = each(&[
            m::parse("", sql, &[]),
            m::bind("p1", "", &[], &[]),
            m::execute("p1", 2),
            run("FETCH 2 FROM p1", &[]),
            m::execute("p1", 1),
            m::sync(),
            m::execute("p1", 1),
            m::sync(),
        ]);
        world.answers(&format!("{kind}: without a block"), &pipeline.into_iter().chain([Ready]).collect::<Vec<_>>());
    }
}

#[test]
fn a_savepoint_takes_what_was_made_behind_it() {
    let world = world("portalsp");
    let portal = |name: &str, sql: &str, rows: u32| {
        let mut messages = vec![m::parse("", sql, &[]), m::bind(name, "", &[], &[])];
        if rows > 0 {
            messages.push(m::execute(name, rows));
        }
        messages.push(m::sync());
        each(&messages)
    };
    for (kind, sql) in [("merged", ALL), ("finished", FINISHED), ("one shard", ONE), ("router", "SHOW pgloom.version")]
    {
        let declare = format!("DECLARE c CURSOR FOR {sql}");
        for rows in [0, 2] {
            let after = || {
                let mut steps = each(&[m::execute("q", 1), m::sync()]);
                steps.extend(queries(&["ROLLBACK TO a"]));
                steps
            };
            let script = |parts: Vec<Vec<Step>>| -> Vec<Step> { parts.into_iter().flatten().collect() };
            let same = |name: &str, parts: Vec<Vec<Step>>| {
                // The oracle knows nothing of the router's own settings.
                if kind != "router" {
                    world.answers(&format!("{kind} after {rows}: {name}"), &script(parts));
                }
            };
            same(
                "rolled back",
                vec![
                    queries(&["BEGIN", "SAVEPOINT a"]),
                    portal("q", sql, rows),
                    queries(&["ROLLBACK TO a"]),
                    after(),
                    each(&[m::describe(b'P', "q"), m::sync()]),
                    queries(&["ROLLBACK TO a"]),
                    portal("q", sql, rows),
                    each(&[m::execute("q", 1), m::sync()]),
                    queries(&["ROLLBACK TO a", "FETCH 1 FROM q"]),
                    queries(&["ROLLBACK"]),
                ],
            );
            same(
                "made before",
                vec![
                    queries(&["BEGIN"]),
                    portal("q", sql, rows),
                    queries(&["SAVEPOINT a"]),
                    each(&[m::execute("q", 1), m::sync()]),
                    queries(&["SELECT 1/0", "ROLLBACK TO a"]),
                    each(&[m::execute("q", 1), m::sync()]),
                    queries(&["COMMIT"]),
                    each(&[m::execute("q", 1), m::sync()]),
                ],
            );
            same(
                "released",
                vec![
                    queries(&["BEGIN", "SAVEPOINT a", "SAVEPOINT b"]),
                    portal("q", sql, rows),
                    queries(&["RELEASE b", "FETCH 1 FROM q", "SELECT nothing", "ROLLBACK TO a"]),
                    after(),
                    queries(&["ROLLBACK"]),
                ],
            );
            same(
                "kept by a release",
                vec![
                    queries(&["BEGIN", "SAVEPOINT a"]),
                    portal("q", sql, rows),
                    queries(&["RELEASE a", "SAVEPOINT b"]),
                    portal("r", sql, rows),
                    queries(&["ROLLBACK TO b", "FETCH 1 FROM q", "FETCH 1 FROM r", "ROLLBACK TO b", "FETCH 1 FROM q"]),
                    queries(&["ROLLBACK", "FETCH 1 FROM q"]),
                ],
            );
            same(
                "an error of its own",
                vec![
                    queries(&["BEGIN"]),
                    portal("q", sql, rows),
                    queries(&["SAVEPOINT a", "FETCH PRIOR FROM q", "ROLLBACK TO a", "FETCH 1 FROM q", "ROLLBACK TO a"]),
                    each(&[m::execute("q", 1), m::sync()]),
                    queries(&["ROLLBACK TO a", "CLOSE q", "COMMIT"]),
                ],
            );
        }
        if kind != "router" {
            for hold in ["", "WITH HOLD "] {
                let declare = declare.replace("CURSOR ", &format!("CURSOR {hold}"));
                world.answers(
                    &format!("{kind}: {declare}"),
                    &queries(&[
                        "BEGIN",
                        "SAVEPOINT a",
                        &declare,
                        "FETCH 1 FROM c",
                        "ROLLBACK TO a",
                        "FETCH 1 FROM c",
                        "ROLLBACK TO a",
                        &declare,
                        "RELEASE a",
                        "SAVEPOINT b",
                        "FETCH 1 FROM c",
                        "SELECT nothing",
                        "ROLLBACK TO b",
                        "FETCH 1 FROM c",
                        "COMMIT",
                        "FETCH 1 FROM c",
                        "BEGIN",
                        "SAVEPOINT a",
                        "FETCH 1 FROM c",
                        "ROLLBACK TO a",
                        "FETCH 1 FROM c",
                        "ROLLBACK",
                        "FETCH 1 FROM c",
                        "CLOSE c",
                    ]),
                );
            }
        }
    }
    // A portal that fails while it runs is of no use any more, wherever it was made.
    let failing = "SELECT 10 / (id - 3) FROM items ORDER BY id";
    world.answers(
        "an error in the middle",
        &[
            queries(&["BEGIN"]),
            portal("q", failing, 0),
            queries(&["SAVEPOINT a"]),
            queries(&["MOVE ALL FROM q", "ROLLBACK TO a"]),
            each(&[m::execute("q", 5), m::sync()]),
            queries(&["ROLLBACK TO a", "FETCH 1 FROM q", "ROLLBACK"]),
        ]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>(),
    );
}

/// Savepoints of the extended protocol leave the unnamed portal alone; a simple Query ends it.
#[test]
fn savepoints_leave_the_unnamed_portal() {
    let world = world("portalsu");
    let control = |name: &str, sql: &str| {
        let portal = format!("portal of {name}");
        each(&[m::parse(name, sql, &[]), m::bind(&portal, name, &[], &[]), m::execute(&portal, 0), m::sync()])
    };
    for (kind, sql) in [("merged", ALL), ("finished", FINISHED), ("one shard", PLACES)] {
        for behind in
            [&["RELEASE a"][..], &["ROLLBACK TO a"], &["ROLLBACK TO a", "RELEASE a"], &["SET TRANSACTION READ ONLY"]]
        {
            let mut script = queries(&["BEGIN"]);
            script.extend(each(&[m::parse("s", sql, &[]), m::bind("", "s", &[], &[]), m::execute("", 1), m::sync()]));
            script.extend(control("first", "SAVEPOINT a"));
            script.extend(each(&[m::execute("", 1), m::sync()]));
            for (at, sql) in behind.iter().enumerate() {
                script.extend(control(&format!("then {at}"), sql));
            }
            script.extend(each(&[m::execute("", 1), m::sync()]));
            script.extend(queries(&["SELECT 1"]));
            script.extend(each(&[m::execute("", 1), m::sync()]));
            script.extend(queries(&["ROLLBACK"]));
            world.answers(&format!("{kind}, {behind:?}"), &script);
        }
    }
}

/// What a FETCH returns Postgres has put together before it says anything of it.
#[test]
fn a_fetch_that_fails_returns_nothing() {
    let world = world("portalse");
    for (kind, sql) in [
        ("merged", "SELECT id, 10 / (id - 3) AS q FROM items ORDER BY id"),
        ("finished", "SELECT rank() OVER (ORDER BY id), 10 / (id - 3) AS q FROM items ORDER BY 1"),
        ("one shard", "SELECT 10 / (n - n) AS q, code FROM places, generate_series(1, 2) n ORDER BY 2"),
    ] {
        for fetch in ["FETCH ALL FROM p1", "FETCH 9 FROM p1", "FETCH RELATIVE 4 FROM p1"] {
            let extended =
                [m::parse("", fetch, &[]), m::bind("", "", &[], &[]), m::describe(b'P', ""), m::execute("", 0)];
            world.answers(&format!("{kind}: {fetch}"), &behind_portal(sql, 0, queries(&[fetch, fetch])));
            let name = format!("{kind}, extended: {fetch}");
            world.answers(&name, &behind_portal(sql, 0, each(&[&extended[..], &[m::sync()]].concat())));
        }
    }
    // Those that are fine come behind their columns.
    let many = "SELECT id, repeat(name, 700) FROM items ORDER BY id";
    let fetches = queries(&["FETCH 2 FROM p1", "FETCH 0 FROM p1", "FETCH RELATIVE 3 FROM p1", "FETCH ALL FROM p1"]);
    world.same("many bytes", &behind_portal(many, 1, fetches));
}

/// Name, table and number there of each column that was described.
fn origins(messages: &[Message], asked: &mut Raw) -> Vec<(String, String, i16)> {
    let described: Vec<_> = messages.iter().filter(|message| message.tag == b'T').collect();
    let columns = described.iter().flat_map(|message| message.columns().into_iter().zip(message.origins()));
    let of =
        |oid: u32, asked: &mut Raw| asked.values(&format!("SELECT relname FROM pg_class WHERE oid = {oid}")).concat();
    columns.map(|(column, (table, number))| (column.name, of(table, asked), number)).collect()
}

#[test]
fn columns_of_a_cursor_say_what_they_are_of() {
    let world = world("portalso");
    // One shard tells its own numbers of tables.
    let queries = [ALL, FINISHED, PLACES, "SELECT n, id, n + 1 AS m, name FROM items", "SELECT count(*) FROM items"];
    for sql in queries {
        let told = |mut raw: Raw, mut asked: Raw| {
            let asked = &mut asked;
            let mut all = Vec::new();
            let declare = format!("DECLARE c CURSOR FOR {sql}");
            for query in [sql, "BEGIN", &declare, "FETCH 2 FROM c", "FETCH 0 FROM c"] {
                raw.send(&m::query(query)).unwrap();
                all.push(origins(&raw.read_to_ready().unwrap(), asked));
            }
            let fetch = [
                m::parse("", "FETCH 1 FROM c", &[]),
                m::describe(b'S', ""),
                m::bind("", "", &[], &[]),
                m::describe(b'P', ""),
                m::execute("", 0),
                m::describe(b'P', "c"),
                m::sync(),
            ];
            raw.send(&fetch.concat()).unwrap();
            all.push(origins(&raw.read_to_ready().unwrap(), asked));
            raw.must("CLOSE c");
            let portal = [m::parse("", sql, &[]), m::bind("c", "", &[], &[]), m::execute("c", 1), m::sync()];
            raw.send(&portal.concat()).unwrap();
            raw.read_to_ready().unwrap();
            raw.send(&m::query("FETCH 1 FROM c")).unwrap();
            all.push(origins(&raw.read_to_ready().unwrap(), asked));
            all
        };
        let (theirs, ours) = (told(world.db.oracle(), world.db.oracle()), told(world.through(), world.db.shard(0)));
        assert_eq!(ours, theirs, "{sql}");
        assert!(theirs.iter().flatten().count() > 5, "{sql}: {theirs:?}");
    }
}

/// Another session's cursor of the same name has other columns: nobody is told of it.
#[test]
fn a_fetch_is_described_for_its_own_cursor() {
    let world = world("portalsd");
    let describe = |raw: &mut Raw, name: &str| {
        raw.send(&[m::parse(name, "FETCH 1 FROM c", &[]), m::describe(b'S', name), m::sync()].concat()).unwrap();
        let messages = raw.read_to_ready().unwrap();
        messages
            .iter()
            .filter(|message| message.tag == b'T')
            .flat_map(Message::columns)
            .map(|c| c.name)
            .collect::<Vec<_>>()
    };
    for query in ["SELECT body AS secret FROM plain", "SELECT id AS secret, rank() OVER (ORDER BY id) FROM items"] {
        let (mut first, mut second) = (world.through(), world.through());
        first.must(&format!("BEGIN; DECLARE c CURSOR FOR {query}"));
        assert_eq!(describe(&mut first, "f")[0], "secret");
        first.must("COMMIT");
        second.must("BEGIN; DECLARE c CURSOR FOR SELECT id AS open, 1 AS x FROM plain");
        assert_eq!(describe(&mut second, "f"), ["open", "x"]);
        assert_eq!(describe(&mut second, ""), ["open", "x"]);
        // Nor for one that it had before.
        second.must("CLOSE c; DECLARE c CURSOR FOR SELECT body AS third FROM plain");
        assert_eq!(describe(&mut second, ""), ["third"]);
        second.must("COMMIT");
        // What was prepared fetches from whatever cursor there is.
        second.must("BEGIN; DECLARE c CURSOR FOR SELECT 1 AS a, 2 AS b, 3 AS d");
        let fetched = second.exchange(&[m::bind("", "f", &[], &[]), m::execute("", 0), m::sync()].concat(), None);
        assert_eq!(fetched.text(), "1|2|3");
        second.must("ROLLBACK");
    }
    world.answers(
        "rows of a view",
        &queries(&[
            "SELECT sums FROM sums ORDER BY n",
            "BEGIN",
            "DECLARE c CURSOR FOR SELECT sums, n FROM sums ORDER BY n",
            "FETCH 2 FROM c",
            "ROLLBACK",
        ]),
    );
    world.answers(
        "a cursor declared anew",
        &queries(&[
            "BEGIN",
            "DECLARE c CURSOR FOR SELECT 1 AS a",
            "FETCH 1 FROM c",
            "CLOSE c",
            "FETCH 1 FROM c",
            "ROLLBACK",
        ]),
    );
}

/// The rest of a portal's rows behind a change of settings is printed by these, or refused where shards have printed it before.
#[test]
fn rows_are_printed_as_the_settings_say_when_they_are_fetched() {
    let world = world("printed_portals");
    let times = "timestamptz '2024-01-01 12:00+00' + id * interval '1 hour' AS at";
    let merged = format!("SELECT id, {times} FROM items ORDER BY id");
    let finished = format!("SELECT rank() OVER (ORDER BY n, id), {times} FROM items ORDER BY 1");
    let one = format!(
        "SELECT id, {times} FROM items WHERE id IN (5) UNION ALL SELECT 1, now() - now() + '2024-01-01'::timestamptz"
    );
    let plain = "SELECT id, name, id > 3 FROM items ORDER BY id".to_owned();
    for (kind, sql) in [("merged", &merged), ("finished", &finished), ("one shard", &one), ("plain", &plain)] {
        for change in
            ["SET TIME ZONE 'Asia/Tokyo'", "SET LOCAL DateStyle = 'German'", "SET my.x TO 'y'", "SET work_mem = '8MB'"]
        {
            for format in [0, 1] {
                let rest = [
                    m::execute("p1", 2),
                    m::parse("", "FETCH 1 FROM p1", &[]),
                    m::bind("", "", &[], &[format]),
                    m::execute("", 0),
                ];
                let script = |rest: &[Vec<u8>]| {
                    let bound =
                        [m::parse("s", sql, &[]), m::bind("p1", "s", &[], &[format]), m::execute("p1", 1), m::sync()];
                    let mut script = queries(&["BEGIN"]);
                    script.extend([batch(&bound), Ready]);
                    script.extend(queries(&[change]));
                    script.extend([Send([rest.concat(), m::sync()].concat()), Ready]);
                    script.extend(queries(&["ROLLBACK"]));
                    script
                };
                let name = format!("{kind}, {change}, format {format}");
                let other_times = change.contains("ZONE") || change.contains("Style");
                let refused = format == 0 && kind == "merged" && other_times;
                if refused {
                    world.same(&name, &script(&rest));
                    let ours = support::script::play(world.through(), &script(&rest));
                    assert!(ours.iter().any(|line| line.contains("0A000")), "{name}: {ours:?}");
                } else {
                    let all = if kind == "finished" || kind == "plain" { 4 } else { 1 };
                    world.answers(&name, &script(&rest[..all]));
                }
            }
        }
    }
}

/// Whoever has made a cursor, Close of the protocol ends it.
#[test]
fn close_ends_a_cursor_of_sql() {
    let world = world("closecursors");
    for (kind, sql) in [("merged", ALL), ("finished", FINISHED), ("one shard", ONE), ("reference", PLACES)] {
        for hold in ["", "WITH HOLD "] {
            let declare = format!("DECLARE c CURSOR {hold}FOR {sql}");
            let mut script = queries(&["BEGIN", &declare, "FETCH 1 FROM c"]);
            script.extend(each(&[m::close(b'P', "c"), m::sync()]));
            script.extend(queries(&["SAVEPOINT s", "FETCH 1 FROM c", "ROLLBACK TO s", &declare, "FETCH 2 FROM c"]));
            script.extend(each(&[
                m::describe(b'P', "c"),
                m::close(b'P', "c"),
                m::close(b'P', "c"),
                m::execute("c", 1),
                m::sync(),
            ]));
            script.extend(queries(&["ROLLBACK", "SELECT count(*) FROM items"]));
            world.answers(&format!("{kind}, {hold}"), &script);
        }
    }
}

/// As in Postgres the columns come before the error: it is found when the rows are asked for.
#[test]
fn limits_that_nobody_can_have_fail_behind_the_columns() {
    let world = world("limits");
    for limit in [
        "LIMIT -1",
        "OFFSET -1",
        "LIMIT -1 OFFSET -1",
        "LIMIT 3 OFFSET -2",
        "LIMIT -3 OFFSET 2",
        "FETCH FIRST -1 ROWS ONLY",
        "OFFSET 1 FETCH NEXT - 2 ROWS ONLY",
        "FETCH FIRST +2 ROWS ONLY",
        "OFFSET 2 FETCH FIRST (-1) ROWS ONLY",
        "LIMIT 9223372036854775807 OFFSET 20",
    ] {
        for sql in [ALL, FINISHED, "SELECT n, count(*) FROM items GROUP BY n ORDER BY n"] {
            let sql = format!("{sql} {limit}");
            let mut script = queries(&[&sql, "BEGIN", &sql, "SELECT 1", "ROLLBACK"]);
            let bound = [m::parse("", &sql, &[]), m::describe(b'S', ""), m::bind("", "", &[], &[]), m::execute("", 0)];
            script.extend(each(&[&bound[..], &[m::sync()]].concat()));
            world.answers(&sql, &script);
        }
    }
    let values = |limit: &str, offset: &str| {
        [limit, offset].map(|value| if value.is_empty() { Value::null() } else { Value::text(value) })
    };
    for (limit, offset) in [
        ("9223372036854775807", "5"),
        ("9223372036854775807", "9223372036854775807"),
        ("2", "9223372036854775807"),
        ("", "28"),
        ("3", ""),
        ("", ""),
        ("-1", "3"),
        ("3", "-1"),
    ] {
        for sql in [ALL, FINISHED] {
            let bind = m::bind("", "", &values(limit, offset), &[]);
            let sql = format!("{sql} LIMIT $1 OFFSET $2");
            let messages = [m::parse("", &sql, &[]), bind, m::describe(b'P', ""), m::execute("", 0), m::sync()];
            world.answers(&format!("{sql}: {limit}, {offset}"), &each(&messages));
        }
    }
}

/// What the router itself asks the servers in a block goes past a portal that has no name.
#[test]
fn a_portal_without_a_name_outlives_what_others_do() {
    let world = world("unnamedportal");
    let between: [&[Vec<u8>]; 5] = [
        &[1, 2, 3, 4, 5].map(|id| named(&format!("SELECT id, n FROM items WHERE id = {id}"))),
        &[named("SAVEPOINT a"), named("SELECT 1")],
        &[named("SAVEPOINT a"), named("SELECT id, n FROM items WHERE id = 6"), named("RELEASE SAVEPOINT a")],
        &[named("SET LOCAL work_mem = '1MB'"), named("SHOW work_mem")],
        &[named("SELECT count(*) FROM plain"), named("SET CONSTRAINTS ALL DEFERRED")],
    ];
    for limit in ["SET idle_in_transaction_session_timeout = '10min'", "RESET idle_in_transaction_session_timeout"] {
        for sql in [PLACES, "SELECT body, n FROM plain, generate_series(1, 4) n ORDER BY n"] {
            for messages in between {
                let mut script = vec![Send(m::query(limit)), Ready, Send(m::query("BEGIN")), Ready];
                script.extend(each(&[
                    m::parse("u", sql, &[]),
                    m::bind("", "u", &[], &[]),
                    m::execute("", 1),
                    m::sync(),
                ]));
                for message in messages {
                    script.extend(each(&[message.clone(), m::sync()]));
                    script.extend(each(&[m::execute("", 1), m::sync()]));
                }
                script.extend([Send(m::query("ROLLBACK")), Ready, Send(m::query("SELECT count(*) FROM items")), Ready]);
                world.answers(&format!("{limit}; {sql}; {}", messages.len()), &script);
            }
            // What takes its place on the servers is never taken for it.
            for (between, described) in [
                ("SELECT count(*) FROM items", false),
                ("SELECT id, name FROM items ORDER BY id", true),
                ("SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY n) FROM items", false),
                ("UPDATE items SET n = n + 1", true),
            ] {
                let mut script = vec![Send(m::query("BEGIN")), Ready];
                script.extend(each(&[m::parse("u", sql, &[]), m::bind("", "u", &[], &[]), m::sync()]));
                script.extend(each(&[named(between), m::sync()]));
                if described {
                    script.extend(each(&[m::describe(b'P', ""), m::sync()]));
                }
                script.extend(each(&[m::execute("", 1), m::sync(), m::execute("", 0), m::sync()]));
                script.extend([Send(m::query("ROLLBACK")), Ready, Send(m::query("SELECT count(*) FROM items")), Ready]);
                world.same(&format!("{sql}; {between}"), &script);
            }
        }
    }
}

/// A statement in a portal that has a name, and is closed behind it.
fn named(sql: &str) -> Vec<u8> {
    [m::parse("t", sql, &[]), m::bind("t", "t", &[], &[]), m::execute("t", 0), m::close(b'P', "t"), m::close(b'S', "t")]
        .concat()
}

/// Queries whose rows come over shards in every way, and of one shard.
const OVER_SHARDS: [&str; 8] = [
    "SELECT count(*) FROM items",
    ALL,
    FINISHED,
    "SELECT DISTINCT n FROM items ORDER BY 1",
    "SELECT n, count(*) FROM items GROUP BY n ORDER BY n",
    "SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY n) FROM items",
    "SELECT id, now() > '2020-01-01' FROM items WHERE id IN (1, 2) ORDER BY id LIMIT 3",
    ONE,
];

/// What changes what a query sees, or what its names and values mean.
const CHANGES: [&str; 11] = [
    "DELETE FROM items",
    "UPDATE items SET n = n + 100",
    "INSERT INTO items SELECT id + 1000, name, n FROM items",
    "SET LOCAL search_path = ''",
    "TRUNCATE items",
    "ALTER TABLE items ADD COLUMN z int",
    "DROP TABLE items CASCADE",
    "CREATE INDEX ON items (n)",
    "SAVEPOINT a",
    "SELECT count(*) FROM items WHERE n = 1",
    "CREATE TABLE other (id int)",
];

#[test]
fn a_portal_sees_the_moment_of_its_bind() {
    let world = world("portalsb");
    for sql in OVER_SHARDS {
        for change in CHANGES {
            if sql == ONE && change.starts_with("DROP") {
                // What is in use of a shard's few rows is the table, where one Postgres has its index in use.
                continue;
            }
            let behind = |then: &[Vec<u8>]| {
                let mut steps = queries(&[change]);
                steps.extend(each(then));
                steps
            };
            let all = [m::execute("p1", 0), m::sync()];
            world.answers(&format!("{sql}: {change}"), &behind_portal(sql, 0, behind(&all)));
            let pieces =
                [m::execute("p1", 1), m::execute("p1", 2), run("SELECT 1", &[]), m::execute("p1", 0), m::sync()];
            world.answers(&format!("{sql}: {change}, in pieces"), &behind_portal(sql, 0, behind(&pieces)));
            let mut fetched = queries(&[change, "FETCH 2 FROM p1", "MOVE 1 FROM p1", "FETCH ALL FROM p1"]);
            fetched.extend(each(&[m::close(b'P', "p1"), m::sync()]));
            world.answers(&format!("{sql}: {change}, fetched"), &behind_portal(sql, 0, fetched));
            // In one pipeline, also with a Flush in between.
            for flushes in [false, true] {
                let mut messages = vec![m::parse("s", sql, &[]), m::bind("p1", "s", &[], &[])];
                messages.extend(flushes.then(m::flush));
                messages.extend([run(change, &[]), m::execute("p1", 0), m::sync()]);
                let name = format!("{sql}: {change}, in one pipeline, flush {flushes}");
                let script =
                    vec![Send(m::query("BEGIN")), Ready, batch(&messages), Ready, Send(m::query("ROLLBACK")), Ready];
                world.answers(&name, &script);
            }
        }
        // The pipeline is one transaction in Postgres, too.
        for change in ["TRUNCATE items", "ALTER TABLE items ADD COLUMN z int", "UPDATE items SET n = n", "SELECT 1 / 0"]
        {
            let messages = [m::parse("s", sql, &[]), m::bind("p1", "s", &[], &[]), run(change, &[])];
            let mut script = each(&[&messages[..], &[m::execute("p1", 0), m::sync()]].concat());
            script.extend(queries(&["SELECT count(*), sum(n) FROM items", "DEALLOCATE s"]));
            world.answers(&format!("{sql}: {change}, without a block"), &script);
        }
        for change in
            ["SET LOCAL extra_float_digits = 0", "SET LOCAL timezone = 'Asia/Tokyo'", "SET LOCAL datestyle = 'German'"]
        {
            let mut script = queries(&[change]);
            script.extend(each(&[m::execute("p1", 0), m::sync()]));
            world.same(&format!("{sql}: {change}"), &behind_portal(sql, 0, script));
        }
        // What is closed is in the way of nobody.
        let mut closed = each(&[m::close(b'P', "p1"), m::sync()]);
        closed.extend(queries(&["TRUNCATE items", "SELECT count(*) FROM items"]));
        world.answers(&format!("{sql}: closed"), &behind_portal(sql, 0, closed));
        let mut ended = queries(&["CLOSE p1", "ALTER TABLE items ADD COLUMN z int"]);
        ended.extend(queries(&["SELECT count(z) FROM items"]));
        world.answers(&format!("{sql}: closed in SQL"), &behind_portal(sql, 0, ended));
        let mut undone = queries(&["SAVEPOINT a", "DELETE FROM items", "ROLLBACK TO a"]);
        undone.extend(each(&[m::describe(b'P', "p1"), m::execute("p1", 0), m::sync()]));
        world.answers(&format!("{sql}: a savepoint behind it"), &behind_portal(sql, 0, undone));
    }
}

/// Drivers that read in pieces send the Close of one portal with what they ask next of another one.
#[test]
fn a_portal_is_closed_while_the_rows_of_another_are_on_their_way() {
    let world = world("portalsc");
    let distinct = "SELECT DISTINCT n FROM items ORDER BY n";
    for (first, second) in
        [(ALL, ALL), (ALL, distinct), (distinct, ALL), (FINISHED, ALL), (ALL, FINISHED), (ONE, ALL), (ALL, ONE)]
    {
        for (of_first, of_second) in [(0, 0), (0, 1), (2, 1)] {
            let name = format!("{first} ({of_first}); {second} ({of_second})");
            let open = |name: &str, sql: &str, rows: u32| {
                let mut messages = vec![m::parse("", sql, &[]), m::bind(name, "", &[], &[])];
                messages.extend((rows > 0).then(|| m::execute(name, rows)));
                messages.push(m::sync());
                each(&messages)
            };
            for then in [
                vec![m::execute("b", 2), m::execute("b", 2), m::execute("b", 0)],
                vec![run("SELECT 1", &[]), m::execute("b", 0)],
                vec![run("SELECT count(*) FROM items", &[]), m::execute("b", 3)],
                vec![run("TRUNCATE places", &[]), m::execute("b", 0)],
                vec![m::close(b'P', "b"), run("TRUNCATE items", &[])],
                vec![m::execute("a", 1)],
            ] {
                let mut script = queries(&["BEGIN"]);
                script.extend(open("a", first, of_first));
                script.extend(open("b", second, of_second));
                script.extend(each(&[&[m::close(b'P', "a")][..], &then, &[m::sync()]].concat()));
                script.extend(each(&[m::execute("b", 1), m::sync()]));
                script.extend(queries(&["ROLLBACK", "SELECT count(*) FROM items"]));
                world.answers(&name, &script);
            }
        }
    }
}

/// Behind rows that nobody has asked for yet, in the same write.
#[test]
fn what_is_discarded_leaves_the_portals_their_rows() {
    let world = world("portalsd");
    for discard in
        ["DISCARD TEMP", "DISCARD SEQUENCES", "DISCARD PLANS", "CREATE TEMP TABLE own (id int); DISCARD TEMP"]
    {
        for sql in [ALL, FINISHED, ONE] {
            let open = [m::parse("", sql, &[]), m::bind("a", "", &[], &[]), m::execute("a", 2), m::sync()].concat();
            let rest = [m::execute("a", 2), m::sync(), m::query("COMMIT")].concat();
            let script = [m::query("BEGIN"), open, m::query(discard), rest].concat();
            world.answers(&format!("{discard}: {sql}"), &[Send(script), Ready, Ready, Ready, Ready, Ready]);
        }
    }
}

/// One message or a few, of those that drivers mix in their pipelines. `opened`: the portals so far.
fn mixed(random: &mut Random, opened: &mut Vec<String>) -> Vec<Vec<u8>> {
    const STATEMENTS: [&str; 9] = [
        "UPDATE items SET n = n + 1 WHERE id = 5",
        "INSERT INTO items VALUES (901, 'a', 1), (902, 'b', 2) ON CONFLICT DO NOTHING",
        "DELETE FROM items WHERE id % 7 = 0",
        "UPDATE places SET title = title",
        "SELECT count(*) FROM items",
        "SELECT stddev(n) FROM items",
        "SAVEPOINT a",
        "ROLLBACK TO a",
        "SELECT 1",
    ];
    match random.below(100) {
        roll if roll < 35 || opened.is_empty() => {
            let name = format!("p{}", opened.len());
            let sql = match random.below(OVER_SHARDS.len() + 2) {
                0 => PLACES,
                1 => "VALUES (1), (2), (3), (4)",
                at => OVER_SHARDS[at - 2],
            };
            let mut messages = vec![m::parse("", sql, &[]), m::bind(&name, "", &[], &[])];
            messages.extend(random.chance(50).then(|| m::describe(b'P', &name)));
            opened.push(name);
            messages
        }
        roll if roll < 70 => {
            let rows = *random.pick(&[0, 1, 2, 5, 50]);
            let name: &String = random.pick(opened);
            vec![m::execute(name, rows)]
        }
        roll if roll < 82 => {
            let name: &String = random.pick(opened);
            vec![m::close(b'P', name)]
        }
        roll if roll < 86 => vec![m::flush()],
        _ => {
            let sql: &&str = random.pick(&STATEMENTS);
            vec![run(sql, &[])]
        }
    }
}

/// Portals of all kinds side by side, in pipelines of a few messages. `PGLOOM_PORTALS_N`: how many blocks; `PGLOOM_PORTALS_SEED`: which.
#[test]
fn mixed_portals_answer_as_on_one_postgres() {
    let number = |name: &str, or: u64| std::env::var(name).ok().and_then(|of| of.parse().ok()).unwrap_or(or);
    let (count, seed) = (number("PGLOOM_PORTALS_N", 150), number("PGLOOM_PORTALS_SEED", 20_261_130));
    let world = world("portalsm");
    for block in 0..count {
        let mut random = Random::new(seed + block);
        let mut opened = Vec::new();
        let mut script = queries(&["BEGIN"]);
        for _ in 0..random.within(2, 7) {
            let count = random.within(1, 4);
            let mut batch: Vec<Vec<u8>> = (0..count).flat_map(|_| mixed(&mut random, &mut opened)).collect();
            batch.push(m::sync());
            script.extend(each(&batch));
        }
        script.extend(queries(&["ROLLBACK", "SELECT count(*), sum(n) FROM items"]));
        world.same(&format!("block {block} of PGLOOM_PORTALS_SEED={seed}"), &script);
    }
}

/// Other sessions commit between Bind and Execute.
#[test]
fn a_portal_does_not_see_what_others_commit_behind_its_bind() {
    let world = world("portalsr");
    for sql in OVER_SHARDS {
        for flushes in [false, true] {
            let told = |mut raw: Raw, mut other: Raw| {
                if !flushes {
                    raw.must("BEGIN");
                }
                let mut messages = vec![m::parse("", sql, &[]), m::bind("p", "", &[], &[])];
                messages.push(if flushes { m::flush() } else { m::sync() });
                raw.send(&messages.concat()).unwrap();
                match flushes {
                    true => (0..2).for_each(|_| drop(raw.read().unwrap())),
                    false => drop(raw.read_to_ready().unwrap()),
                }
                other.must("INSERT INTO items VALUES (99, 'new', 3); UPDATE items SET n = n + 10 WHERE id <> 99");
                let rows = raw.exchange(&[m::execute("p", 0), m::sync()].concat(), None).text();
                if !flushes {
                    raw.must("ROLLBACK");
                }
                other.must("DELETE FROM items WHERE id = 99; UPDATE items SET n = n - 10");
                rows
            };
            let theirs = told(world.db.oracle(), world.db.oracle());
            let ours = told(world.through(), world.through());
            assert!(!theirs.is_empty(), "{sql}");
            if ours != theirs {
                world.differs(format!("{sql}, flush {flushes}: {ours} for {theirs}"));
            }
        }
    }
}

/// As in Postgres, definitions of tables that a cursor reads wait for its end.
#[test]
fn tables_under_a_cursor_are_in_use() {
    let world = world("portalsu");
    for sql in OVER_SHARDS {
        let declare = format!("DECLARE c CURSOR FOR {sql}");
        for change in CHANGES {
            if sql == ONE && change.starts_with("DROP") {
                // What is in use of a shard's few rows is the table, where one Postgres has its index in use.
                continue;
            }
            for fetched in ["FETCH 1 FROM c", "FETCH ALL FROM c", "SELECT 1"] {
                let script = queries(&["BEGIN", &declare, fetched, change, "FETCH 2 FROM c", "ROLLBACK"]);
                world.answers(&format!("{sql}: {fetched}, {change}"), &script);
            }
        }
        let closed = [
            "BEGIN",
            &declare,
            "FETCH 1 FROM c",
            "CLOSE c",
            "TRUNCATE items",
            "SELECT count(*) FROM items",
            "ROLLBACK",
        ];
        world.answers(&format!("{sql}: closed"), &queries(&closed));
        let undone = [
            "BEGIN",
            "SAVEPOINT a",
            &declare,
            "ROLLBACK TO a",
            "TRUNCATE items",
            "SELECT count(*) FROM items",
            "ROLLBACK",
        ];
        world.answers(&format!("{sql}: undone"), &queries(&undone));
    }
}

//! `SELECT set_config(...)` is a SET that answers: every connection has its settings, and names mean what they say.
//! The same statements on one Postgres and through the router must have the same answers.

#![allow(clippy::unwrap_used)]

mod support;

use support::Sharded;
use support::raw::{Raw, Reply, Value, message as m};

/// Stands for one question to each shard.
const ALL: &str = "what every shard knows";

/// A sharded world, and one Postgres with the same tables and rows.
struct World {
    world: Sharded,
}

impl World {
    fn create(label: &str) -> Self {
        let world = Sharded::create(label, "default_pool_size = 2");
        let mut oracle = world.db.oracle();
        oracle.must(
            "CREATE TABLE items (id int PRIMARY KEY, n int, name text); CREATE TABLE plain (id int PRIMARY KEY, body text); \
             INSERT INTO items SELECT g, 0, 'item ' || g FROM generate_series(1, 60) g; \
             INSERT INTO plain VALUES (1, 'one')",
        );
        Self { world }
    }

    /// What each shard's connection knows, asked by a row that lies there.
    fn looks(&self) -> Vec<String> {
        let look = |ids: &Vec<i32>| {
            format!("SELECT id, coalesce(current_setting('my.user', true), '') FROM items WHERE id = {}", ids[0])
        };
        self.world.ids.iter().map(look).collect()
    }

    /// Plays the statements on both sides, each on a connection of its own, and compares every answer.
    #[track_caller]
    fn same(&self, statements: &[&str]) {
        let looks = self.looks();
        let each = |sql: &&str| if **sql == *ALL { looks.clone() } else { vec![(*sql).to_owned()] };
        let statements: Vec<String> = statements.iter().flat_map(each).collect();
        for extended in [false, true] {
            let play = |mut raw: Raw| -> Vec<(String, Reply)> {
                let ask = |sql: &String| {
                    let one = sql.matches(';').count() == 0;
                    let reply = if extended && one { raw.extended(sql, &[], &[], 1) } else { raw.simple(sql) };
                    (sql.clone(), reply)
                };
                statements.iter().map(ask).collect()
            };
            let (theirs, ours) = (play(self.world.db.oracle()), play(self.world.connect()));
            for ((sql, theirs), (_, ours)) in theirs.into_iter().zip(ours) {
                let facts = |reply: &Reply| {
                    let warnings: Vec<String> = reply.notices.iter().map(|n| n.code().to_owned()).collect();
                    // What a failing statement sent before its error depends on the plan.
                    let finished: Vec<_> = reply.answers.iter().filter(|a| a.tag.is_some()).cloned().collect();
                    (reply.code().to_owned(), finished, warnings, reply.status)
                };
                let (theirs, ours) = (facts(&theirs), facts(&ours));
                assert_eq!(ours, theirs, "{sql} of {statements:#?}, extended {extended}");
            }
        }
    }
}

#[test]
fn answers_are_those_of_one_postgres() {
    let world = World::create("setconf");
    // The value as Postgres spells it, one column or several, with names or without.
    world.same(&["SELECT set_config('work_mem', '65536', false)", "SHOW work_mem"]);
    world.same(&["SELECT pg_catalog.set_config('TimeZone', 'utc', false) AS zone", "SHOW timezone"]);
    world.same(&[
        "SELECT set_config('a.b', 'x', false) one, set_config('a.c', 'y', true), set_config('a.b', NULL, false)",
        "SELECT current_setting('a.b')",
        "SELECT current_setting('a.c', true)",
    ]);
    world.same(&["SELECT set_config('search_path', '', false)", "SHOW search_path", "SELECT body FROM plain"]);
    world.same(&[
        "SELECT set_config('search_path', 'a,\"$user\" ,  PUBLIC', false)",
        "SHOW search_path",
        "SELECT * FROM plain",
    ]);
    world.same(&["SET search_path TO pg_catalog", "SELECT set_config('search_path', NULL, false)", "SHOW search_path"]);
    // What is wrong changes nothing.
    world.same(&[
        "SELECT set_config('work_mem', '1MB', false)",
        "SELECT set_config('work_mem', '2MB', false), set_config('no_such_setting', 'x', false)",
        "SHOW work_mem",
        "SELECT set_config('work_mem', 'much', false)",
        "SELECT set_config('search_path', 'a b', false)",
        "SHOW work_mem",
    ]);
    world.same(&["SELECT set_config('pgloom', 'x', false)", "SELECT set_config('', 'x', false)"]);
    world.same(&["SELECT set_config('work_mem', '2MB', true)", "SHOW work_mem"]);
    // Beside the row of one setting, as pgAdmin has it.
    for from in ["pg_show_all_settings()", "pg_settings"] {
        let beside =
            |name: &str| format!("SELECT set_config('bytea_output','escape',false) FROM {from} WHERE name = '{name}'");
        let (one, none) = (beside("bytea_output"), beside("no_such_setting"));
        world.same(&[&one, ALL, "SHOW bytea_output", "SELECT count(*), max('\\x01'::bytea) FROM items"]);
        world.same(&["SET bytea_output = 'hex'", &none, ALL, "SHOW bytea_output"]);
        world.same(&["BEGIN", ALL, &one, ALL, "ROLLBACK", "SHOW bytea_output"]);
    }
    // By the name that the row has, as pg_dump has it.
    let beside =
        |name: &str| format!("SELECT set_config(name, 'escape', false) FROM pg_settings WHERE name = '{name}'");
    let (one, none) = (beside("bytea_output"), beside("no_such_setting"));
    world.same(&[&one, ALL, "SHOW bytea_output", "SELECT count(*), max('\\x01'::bytea) FROM items"]);
    world.same(&["SET bytea_output = 'hex'", &none, ALL, "SHOW bytea_output"]);
    // Beside what it was, as asyncpg has it.
    world.same(&[
        "SET jit = on",
        "SELECT current_setting('jit') AS cur, set_config('jit', 'off', false) AS new",
        ALL,
        "SHOW jit",
        "SELECT set_config('DateStyle', 'German', false), current_setting('DateStyle'), pg_catalog.current_setting('my.none')",
        "SELECT current_setting('TimeZone'), set_config('TimeZone', 'Asia/Tokyo', false), current_setting('timezone')",
        "SELECT count(*), max('2026-01-02'::timestamptz) FROM items",
        "BEGIN; SELECT set_config('my.user', 'x', true), current_setting('my.user'); COMMIT",
    ]);
    // RESET and DISCARD know of it.
    world.same(&["SELECT set_config('work_mem', '2MB', false)", "RESET work_mem", "SHOW work_mem"]);
    world.same(&["SELECT set_config('work_mem', '2MB', false)", "DISCARD ALL", "SHOW work_mem"]);
}

#[test]
fn blocks_and_savepoints_bring_it_back() {
    let world = World::create("setconfblock");
    for local in ["true", "false"] {
        let set = |value: &str| format!("SELECT set_config('my.user', '{value}', {local})");
        let (one, two, three) = (set("one"), set("two"), set("three"));
        let (id, max) = ("SELECT coalesce(current_setting('my.user', true), '') FROM items WHERE id = 7", ALL);
        world.same(&["BEGIN", &one, max, "COMMIT", max]);
        world.same(&["BEGIN", id, &one, max, "ROLLBACK", max]);
        world.same(&["BEGIN", max, &one, "SAVEPOINT s", &two, max, "ROLLBACK TO s", max, &three, "COMMIT", max]);
        world.same(&["BEGIN", &one, "SELECT set_config('work_mem', 'x', false)", max, "ROLLBACK", max]);
        let all = world.looks().join("; ");
        world.same(&[&format!("{one}; {all}; {two}; {all}"), max]);
        world.same(&[&format!("{one}; SELECT 1/0"), max]);
    }
}

#[test]
fn every_shard_knows_it() {
    let world = World::create("setconfall");
    world.same(&["SELECT set_config('my.user', 'ann', false)", ALL, "SELECT count(*) FROM items"]);
    // A name means what the path says, on the router too: a table of another schema is not the sharded one.
    let schema = "CREATE SCHEMA other; CREATE TABLE other.items (id int, n int, name text)";
    for mut raw in [world.world.db.oracle(), world.world.connect()] {
        raw.must(schema);
        raw.must("INSERT INTO other.items VALUES (1, 1, 'other')");
    }
    world.same(&["SELECT set_config('search_path', 'other, public', false)", "SELECT * FROM items"]);
    for set in [
        "SELECT set_config('search_path', 'other,public', true)",
        "SET LOCAL search_path TO other, public",
        "SELECT set_config('search_path', 'other', true)",
    ] {
        world.same(&["BEGIN", set, "SELECT id, name FROM items", "COMMIT", "SELECT count(*) FROM items"]);
        world.same(&[
            "BEGIN",
            "SAVEPOINT s",
            set,
            "SELECT id, name FROM items",
            "ROLLBACK TO s",
            "SELECT count(*) FROM items",
            "ROLLBACK",
        ]);
    }
    // Strings are read by the rules that hold inside of the block.
    let mut through = world.world.connect();
    through.must("BEGIN");
    through.must("SET LOCAL standard_conforming_strings = off");
    assert_eq!(through.must("SELECT 'a\\'b', count(*) FROM items").text(), "a'b|60");
    // Values of settings as well, which the router reads itself.
    through.must("SET LOCAL my.\"user\" = 'C:\\\\new'");
    for look in world.looks() {
        assert_eq!(through.must(&look).text().split_once('|').unwrap().1, "C:\\new", "{look}");
    }
    through.must("ROLLBACK");
    assert_eq!(through.must("SELECT 'a\\', count(*) FROM items").text(), "a\\|60");
    // At the start of a session too.
    let start = [("user", "postgres"), ("database", &*world.world.db.name), ("search_path", "other,public")];
    let ask = |port| Raw::connect_with(port, &start, None).unwrap().value("SELECT count(*) FROM items");
    assert_eq!(ask(world.world.db.oracle().port()), ask(world.world.router.port));
    let path = |port| Raw::connect_with(port, &start, None).unwrap().value("SHOW search_path");
    assert_eq!(path(world.world.db.oracle().port()), path(world.world.router.port));
}

#[test]
fn a_pipeline_is_one_transaction() {
    let world = World::create("setconfpipe");
    let one = |sql: &str| {
        [m::parse("", sql, &[]), m::bind("", "", &[], &[]), m::describe(b'P', ""), m::execute("", 0)].concat()
    };
    for local in ["true", "false"] {
        for last in ["SELECT count(*) FROM items", "SELECT 1/0"] {
            let set = format!("SELECT set_config('my.user', 'ann', {local})");
            let looks = world.looks();
            let inside: Vec<Vec<u8>> = looks.iter().map(|look| one(look)).collect();
            let script = [one(&set), inside.concat(), one(last), m::sync()];
            let play = |mut raw: Raw| {
                let first = raw.exchange(&script.concat(), None);
                let then: Vec<_> = looks.iter().map(|look| raw.simple(look).answers).collect();
                (first.code().to_owned(), first.answers, first.status, then)
            };
            assert_eq!(play(world.world.connect()), play(world.world.db.oracle()), "{local} {last}");
        }
    }
}

#[test]
fn it_is_described_before_it_runs_and_pins_nothing() {
    let world = World::create("setconfpin");
    let sql = "SELECT set_config('my.user', 'ann', false) AS who";
    let play = |mut raw: Raw| {
        raw.exchange(&[m::parse("s", sql, &[]), m::describe(b'S', "s"), m::sync()].concat(), None);
        let script = [m::bind("", "s", &[], &[1]), m::execute("", 0), m::execute("", 0), m::sync()].concat();
        let reply = raw.exchange(&script, None);
        (reply.code().to_owned(), reply.answers)
    };
    assert_eq!(play(world.world.connect()), play(world.world.db.oracle()));
    // Were they pinned, the pool of two connections would not serve five clients.
    let mut clients: Vec<Raw> = (0..5).map(|_| world.world.connect()).collect();
    for (index, client) in clients.iter_mut().enumerate() {
        client.must(&format!("SELECT set_config('my.user', 'user {index}', false)"));
    }
    for (index, client) in clients.iter_mut().enumerate() {
        for look in world.looks() {
            assert!(client.must(&look).text().ends_with(&format!("|user {index}")), "{look}");
        }
    }
}

#[test]
fn parameters_are_followed_as_literals_are() {
    let world = World::create("setconfbind");
    let (text, null) = (Value::text, Value::null);
    let flag = |on: u8| Value::binary([on]);
    let cases: Vec<(&str, Vec<u32>, Vec<Value>)> = vec![
        ("SELECT set_config('my.user', $1, false)", vec![], vec![text("ann")]),
        (
            "SELECT set_config($1, $2, $3) AS who",
            vec![25, 1043, 16],
            vec![text("My.User"), text("It's \\ me"), text("off")],
        ),
        ("SELECT set_config($1, $2::text, $3)", vec![0, 705, 0], vec![text("my.user"), Value::binary("bob"), flag(0)]),
        ("SELECT set_config('my.user', $1, $2)", vec![], vec![text("not kept"), flag(1)]),
        ("SELECT set_config('my.user', $1, $2)", vec![], vec![null(), null()]),
        (
            "select set_config('search_path', $1, false), set_config('my.user', $2, false), set_config('my.user', $2, true)",
            vec![],
            vec![text("\"public\", other"), text("three")],
        ),
        ("SELECT set_config($1, 'x', false)", vec![], vec![null()]),
        ("SELECT set_config('my.user', 'x', $1)", vec![], vec![text("maybe")]),
        ("SELECT set_config('my.user', $1, false)", vec![], vec![Value::binary([0xff])]),
        ("SELECT set_config('my.user', $1, false)", vec![], vec![]),
        ("SELECT set_config('my.user', $2, false)", vec![], vec![text("a"), text("b")]),
        (
            "SELECT set_config('work_mem', $1, false), set_config('my.user', $2, false)",
            vec![],
            vec![text("much"), text("b")],
        ),
    ];
    for (sql, types, values) in cases {
        for block in [false, true] {
            let looks = world.looks();
            let play = |mut raw: Raw| {
                raw.must("SELECT set_config('my.user', 'before', false)");
                let mut seen = Vec::new();
                if block {
                    raw.must("BEGIN");
                    raw.must(&looks[1]);
                }
                let described = [m::parse("s", sql, &types), m::describe(b'S', "s"), m::sync()].concat();
                let reply = raw.exchange(&described, None);
                seen.push((reply.code().to_owned(), reply.answers));
                let bound = [m::bind("", "s", &values, &[0]), m::describe(b'P', ""), m::execute("", 0), m::sync()];
                let reply = raw.exchange(&bound.concat(), None);
                seen.push((reply.code().to_owned(), reply.answers));
                let mut more: Vec<&str> = looks.iter().map(|look| &**look).collect();
                more.extend(["SHOW search_path", "COMMIT"]);
                more.extend(looks.iter().map(|look| &**look));
                for sql in more {
                    let reply = raw.simple(sql);
                    seen.push((reply.code().to_owned(), reply.answers));
                }
                seen
            };
            assert_eq!(play(world.world.connect()), play(world.world.db.oracle()), "{sql}, in a block: {block}");
        }
    }
    let mut client = world.world.connect();
    // An integer is no text, to Postgres neither; a name becomes one there, and is refused here.
    for (of, code) in [(23, "42883"), (19, "0A000")] {
        let wrong = client.extended("SELECT set_config('my.user', $1, false)", &[of], &[text("5")], 0);
        assert_eq!(wrong.code(), code);
    }
    assert_eq!(client.simple("SELECT set_config('my.user', $1, false)").code(), "42P02");
}

#[test]
fn what_one_shard_alone_may_know_keeps_the_others_out() {
    let world = World::create("setconfunseen");
    let (scatter, home) = ("SELECT count(*) FROM items", "SELECT body FROM plain");
    let mut first = world.world.connect();
    first.must("CREATE TABLE zones (id int, zone text DEFAULT set_config('TimeZone', 'Asia/Tokyo', false))");
    let clean = format!("postgres{}", first.value("SHOW TimeZone"));
    drop(first);
    // The first: what may change a setting; it is the home shard's alone.
    for change in [
        "DO $$ BEGIN PERFORM set_config('my.user', 'x', false); END $$",
        "DO $$ BEGIN SET TimeZone TO 'Asia/Tokyo'; END $$",
        "SELECT set_config('my.user', 'a' || 'b', false)",
        "SELECT set_config('my.user', body, false) FROM plain",
        "CREATE TEMP TABLE mine (id int); DO $$ BEGIN RESET ALL; END $$",
        "UPDATE pg_settings SET setting = 'Asia/Tokyo' WHERE name = 'TimeZone'",
        "EXPLAIN ANALYZE UPDATE pg_catalog.pg_settings SET setting = 'Asia/Tokyo' WHERE name = 'TimeZone'",
        "CREATE TEMP TABLE asked AS SELECT set_config('TimeZone', 'Asia/Tokyo', false) AS zone",
        "CREATE TABLE asked AS SELECT set_config('TimeZone', 'Asia/Tokyo', false) AS zone; DROP TABLE asked",
        "EXPLAIN ANALYZE CREATE TABLE asked AS SELECT set_config('role', 'pg_monitor', false); RESET ROLE; DROP TABLE asked",
        "SELECT set_config('TimeZone', 'Asia/Tokyo', false) AS zone INTO asked; DROP TABLE asked",
        "INSERT INTO zones DEFAULT VALUES",
        "INSERT INTO zones (id) SELECT 1",
        "UPDATE zones SET zone = DEFAULT WHERE id = 0",
        "ALTER TABLE zones ADD COLUMN more text DEFAULT set_config('TimeZone', 'Asia/Tokyo', false); ALTER TABLE zones DROP COLUMN more",
        "COPY zones (id) FROM STDIN",
    ] {
        let mut client = world.world.connect();
        client.must(scatter);
        let changed = match change.starts_with("COPY") {
            true => client.copy_in(change, b"2\n"),
            false => client.simple(change),
        };
        assert_eq!(changed.code(), "", "{change}: {}", changed.text());
        client.must(home);
        assert_eq!(client.simple(scatter).code(), "0A000", "{change}");
        client.must(home);
        // Nobody else meets it, then and afterwards.
        for _ in 0..2 {
            let mut other = world.world.connect();
            let look = "SELECT current_user || current_setting('TimeZone') || coalesce(current_setting('my.user', true), '') FROM";
            let found = [format!("{look} plain"), format!("{look} items WHERE id = 7")].map(|look| other.value(&look));
            assert!(found.iter().all(|found| *found == clean), "{change}: {found:?}");
            drop(client);
            client = world.world.connect();
        }
    }
    // Until the transaction ends, also for shards that take part already.
    let mut client = world.world.connect();
    client.must("BEGIN");
    client.must(scatter);
    client.must("SELECT set_config('my.user', 'a' || 'b', true)");
    assert_eq!(client.value("SELECT current_setting('my.user') || (SELECT max(body) FROM plain)"), "abone");
    client.must("SAVEPOINT s");
    assert_eq!(client.simple(scatter).code(), "0A000");
    client.must("ROLLBACK");
    assert_eq!(client.value(scatter), "60");
    // Outside of one it is gone with its statement.
    client.must("SELECT set_config('my.user', 'a' || 'b', true)");
    assert_eq!(client.value(scatter), "60");
    // Other code leaves the settings alone.
    client.must("DO $$ BEGIN UPDATE plain SET body = body; END $$");
    assert_eq!(client.value(scatter), "60");
}

#[test]
fn what_the_search_path_makes_temporary_is_the_sessions_own() {
    let world = World::create("setconftemp");
    let path = "SET search_path = pg_temp, public";
    let (all, one) = ("SELECT count(*) FROM plain", "SELECT 1 AS id");
    let (ours, theirs) = ("SELECT id FROM plain", "SELECT body FROM plain");
    let sequences: [&[&str]; 12] = [
        &[path, "CREATE TABLE plain AS SELECT 1 AS id", all, ours],
        &[path, "CREATE TABLE plain (id int)", all, "INSERT INTO plain VALUES (7)", ours],
        &[path, "CREATE VIEW plain AS SELECT 1 AS id", all, ours],
        &[path, "CREATE SEQUENCE mine", "SELECT nextval('mine')", "SELECT nextval('mine')"],
        &[path, "SELECT 1 AS id INTO plain", all, ours],
        &[path, "CREATE UNLOGGED TABLE plain AS SELECT 1 AS id"],
        &[path, "CREATE TABLE public.own AS SELECT 1 AS id", "SELECT id FROM own", "DROP TABLE public.own"],
        &[
            "BEGIN",
            "SET LOCAL search_path = pg_temp, public",
            "CREATE TABLE plain AS SELECT 1 AS id",
            all,
            "COMMIT",
            ours,
        ],
        &["SET search_path = public, pg_temp", "CREATE TABLE own AS SELECT 1 AS id", "DROP TABLE public.own"],
        &["SELECT 1 AS id INTO pg_temp.plain", "SELECT id FROM pg_temp.plain", ours],
        &["CREATE TEMP TABLE plain AS SELECT 1 AS id", "SELECT id FROM pg_temp.plain", ours],
        &[path, "CREATE TYPE kind AS ENUM ('a')", "SELECT 'a'::pg_temp.kind::text", one],
    ];
    for sequence in sequences {
        world.same(sequence);
        let mut others: Vec<Raw> = (0..2).map(|_| world.world.connect()).collect();
        for other in &mut others {
            other.must("BEGIN");
            assert_eq!(other.value(theirs), "one", "{sequence:?}");
            assert_eq!(other.value("SELECT count(*) FROM items"), "60", "{sequence:?}");
            assert_eq!(other.simple("SELECT nextval('mine')").code(), "42P01", "{sequence:?}");
        }
    }
    for made in [
        "EXPLAIN ANALYZE CREATE TEMP TABLE plain AS SELECT 1 AS id",
        "EXPLAIN (ANALYZE) SELECT 1 AS id INTO TEMP plain",
    ] {
        let mut client = world.world.connect();
        client.must(made);
        assert_eq!(client.value("SELECT id FROM plain"), "1", "{made}");
        let mut other = world.world.connect();
        assert_eq!(other.value(theirs), "one", "{made}");
    }
    // A distributed table is not hidden.
    let mut client = world.world.connect();
    client.must(path);
    assert_eq!(client.simple("CREATE TABLE items (id int)").code(), "0A000");
    assert_eq!(client.value("SELECT count(*) FROM items"), "60");
}

#[test]
fn settings_of_the_session_are_asked_for_over_shards() {
    let world = World::create("setconfasked");
    world.same(&[
        "SET my.who = 'item 7'",
        "SET application_name = 'mine'",
        "SELECT current_setting('my.who'), current_setting('Application_Name'), count(*) FROM items",
        "SELECT id FROM items WHERE name = current_setting('my.who') ORDER BY id",
        "SELECT current_setting('my.who') || max(name), current_setting('my.none', true) FROM items",
        "SELECT current_setting('my.none'), count(*) FROM items",
        "BEGIN",
        "SET LOCAL my.who = 'item 8'",
        "SELECT id, current_setting('my.who', true) FROM items WHERE name > current_setting('my.who', true) ORDER BY id",
        "ROLLBACK",
        "RESET my.who",
        "SELECT current_setting('my.who', true), count(*) FROM items",
    ]);
    // What a server has by itself is not the session's.
    let mut client = world.world.connect();
    assert_eq!(client.simple("SELECT current_setting('port'), count(*) FROM items").code(), "0A000");
    let mixed = "SELECT current_setting('my.who', true), current_setting('data_directory'), count(*) FROM items";
    assert_eq!(client.simple(mixed).code(), "0A000");
}

#[test]
fn a_client_without_a_name_is_not_told_the_routers() {
    let world = World::create("setconfnamed");
    let play = |mut raw: Raw| {
        let mut told = vec![raw.parameters.get("application_name").cloned()];
        for sql in
            ["SELECT 1", "SET application_name = 'mine'", "RESET ALL", "SELECT count(*) FROM items", "DISCARD ALL"]
        {
            let reply = raw.simple(sql);
            assert_eq!(reply.code(), "", "{sql}");
            told.push(raw.parameters.get("application_name").cloned());
            for look in [
                "SHOW application_name",
                "SELECT current_setting('application_name')",
                "SELECT DISTINCT current_setting('application_name') FROM items",
                "SELECT setting || reset_val FROM pg_settings WHERE name = 'application_name'",
                "SELECT application_name FROM pg_stat_activity WHERE pid = pg_backend_pid()",
            ] {
                told.push(Some(format!("{look}: {}", raw.value(look))));
            }
        }
        told
    };
    assert_eq!(play(world.world.connect()), play(world.world.db.oracle()));
}

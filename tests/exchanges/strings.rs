//! Backslashes in the strings of messages of several statements: Postgres reads them all by `standard_conforming_strings` as it is before
//! the first runs, whatever that and those behind it set.

use crate::record::{INSERT, ROWS, Ready, Send, Step, TARGETS, about, exchange, world};
use crate::support::raw::message as m;
use crate::support::script::Pair;

const OFF: &str = "SET standard_conforming_strings = off";

/// Each ends with the setting off.
const READ_OFF: [&str; 13] = [
    r"SELECT 'a\'; SELECT 2; --'; SELECT 3",
    r"SELECT 'a\\b'; SELECT 'c\'d;e' 'f', N'g\';h'",
    r"SELECT $$\'$$; SELECT ';\''; SELECT 5 -- \'",
    r"INSERT INTO {t} VALUES (5, 101, 'x\'; y', 1), (6, 102, 'z\\', 2); SELECT name FROM {t} WHERE id > 100 ORDER BY k",
    r"BEGIN; INSERT INTO {t} VALUES (5, 101, 'x\'y', 1); SELECT name FROM {t} WHERE name = 'x\'y'; ROLLBACK",
    r"UPDATE {t} SET name = 'q\'q;' WHERE id > 100; SELECT count(*) FROM {t} WHERE {w} AND name = 'q\'q;'",
    r"PREPARE a AS SELECT 'a\'b;' FROM {t} WHERE k = 5 AND id = 1; EXECUTE a; DEALLOCATE a",
    r"SELECT 1; SELECT 'abc\' ",
    r"SELECT 1; SELECT U&'\0061'",
    r"SELECT 1; SELEC 'a\'b'",
    r"SELECT 'a\b'; SELECT nothing FROM {t}",
    // Those behind it are read all the same.
    r"SET standard_conforming_strings = on; SELECT 'a\'; SELECT 2 --'; SET standard_conforming_strings = off",
    r"SELECT set_config('standard_conforming_strings', 'on', false); SELECT 'c\\d', k FROM {t} WHERE k = 5 AND id = 1; SET standard_conforming_strings = off",
];

/// Each begins with the setting on.
const READ_ON: [&str; 6] = [
    r"SET standard_conforming_strings = off; SELECT 'a\'; SELECT 2 --'",
    r"SET standard_conforming_strings = off; SELECT 'a\b\\'; SELECT N'a\b', E'a\b'",
    r"SET standard_conforming_strings = off; INSERT INTO {t} VALUES (5, 101, 'x\', 1), (6, 102, 'y\n', 2); SELECT name FROM {t} WHERE id > 100 ORDER BY k",
    r"BEGIN; SET LOCAL standard_conforming_strings = off; SELECT 'a\b', k FROM {t} WHERE k = 5 AND name > '\' ORDER BY id; COMMIT; SELECT 'a\b'",
    r"SELECT set_config('standard_conforming_strings', 'off', false); SELECT 'a\b'; SELECT 4",
    r"SELECT 'a\b'; SELECT 'c\'; SELECT nothing",
];

#[test]
fn strings_of_several_statements_are_read_before_the_first_runs() {
    let world = world("xstrings");
    for sql in READ_OFF {
        exchange(&world, sql, |t| {
            let shown = [m::query("SHOW standard_conforming_strings"), t.run("SELECT 'a''b'"), m::sync()].concat();
            vec![Send([m::query(OFF), t.query(sql), shown].concat()), Ready, Ready, Ready, Ready]
        });
    }
    for sql in READ_ON {
        exchange(&world, sql, |t| {
            let shown = m::query("SHOW standard_conforming_strings");
            vec![Send([t.query(sql), shown].concat()), Ready, Ready]
        });
    }
}

#[test]
fn several_statements_are_no_prepared_statement_whatever_their_strings_are() {
    let world = world("xstringsparse");
    for sql in [
        r"SELECT 'a\'; b'; SELECT 2",
        "SELECT 1; SELEC 2",
        "SELEC 1; SELECT 2",
        "SELECT nothing; SELECT nobody",
        "; ; SELECT 2 ;",
    ] {
        for set in [OFF, "SET standard_conforming_strings = on"] {
            exchange(&world, &format!("{set}: {sql}"), |t| {
                vec![Send([m::query(set), t.run(sql), m::sync()].concat()), Ready, Ready]
            });
        }
        exchange(&world, &format!("behind a write: {sql}"), |t| {
            let before = [t.parse("", ROWS), m::sync(), t.run(INSERT), t.run(sql), m::sync()].concat();
            vec![Send([before, m::describe(b'S', ""), m::sync()].concat()), Ready, Ready, Ready]
        });
        exchange(&world, &format!("in a transaction that has failed: {sql}"), |t| {
            let failed = [m::query("BEGIN"), m::query("SELECT nothing"), t.parse("s", sql), m::sync()].concat();
            vec![Send([failed, m::query("ROLLBACK")].concat()), Ready, Ready, Ready, Ready]
        });
    }
}

/// What sets it without a SET: the router hears of it from the server alone.
const UNSEEN: [&str; 3] = [
    "DO $$ BEGIN PERFORM set_config('standard_conforming_strings', 'off', false); END $$",
    "SELECT set_config('standard_conforming_strings', v, false) FROM (VALUES ('off')) t (v)",
    "UPDATE pg_settings SET setting = 'off' WHERE name = 'standard_conforming_strings'",
];

#[test]
fn strings_are_read_as_code_has_set_it() {
    let world = world("xstringsunseen");
    let unsharded = &TARGETS[0];
    let same = |name: &str, script: &[Step]| about(&world, unsharded, name, script);
    let shown = m::query("SHOW standard_conforming_strings");
    for set in UNSEEN {
        // Data is no statement, whatever has been set before it in the message.
        for behind in [
            r"SELECT 'a\' AS x, ' ; INSERT INTO {t} VALUES (5, 167, 'i', 1); --' AS y",
            r"SELECT 'a\b', name FROM {t} WHERE k = 5 AND id = 1; SELECT 'c\'",
            "SELECT U&'abc'; SELECT u&'it''s' AS y",
        ] {
            let whole = unsharded.query(&format!("{set}; {behind}"));
            same(&format!("{set}; {behind}"), &[Send([whole, shown.clone()].concat()), Ready, Ready]);
        }
        // In messages of their own.
        let quoted = [
            r"INSERT INTO {t} VALUES (5, 101, 'q1\\', 1), (6, 102, 'it\'s', 2)",
            r"SELECT k, id FROM {t} WHERE name = 'q1\\' OR name = 'it\'s' ORDER BY id",
            r"SELECT 'a\'; SELECT 2 --'",
            r"SELECT 'a\'; SELECT 2; --'; SELECT 'b\\c'",
        ];
        for sql in quoted {
            same(&format!("{set} before {sql}"), &[Send([m::query(set), unsharded.query(sql)].concat()), Ready, Ready]);
            let parsed = [m::query(set), unsharded.run(sql), m::sync()].concat();
            same(&format!("{set} before a Parse of {sql}"), &[Send(parsed), Ready, Ready]);
            let piped = [unsharded.run(set), unsharded.run(sql), m::sync(), shown.clone()].concat();
            same(&format!("{set} in a pipeline before {sql}"), &[Send(piped), Ready, Ready]);
            let undone = [m::query("BEGIN"), m::query(set), unsharded.query(sql), m::query("ROLLBACK")].concat();
            let undone = [undone, unsharded.query(r"SELECT 'a\b', 'c\'")].concat();
            same(&format!("{set} undone behind {sql}"), &[Send(undone), Ready, Ready, Ready, Ready, Ready]);
        }
        // It is set by the session in its turn.
        let on = m::query("SET standard_conforming_strings = on");
        let back = [m::query(set), m::query(r"SELECT 'a\\b'"), on, m::query(r"SELECT 'a\\b'")].concat();
        same(&format!("{set}, and back"), &[Send(back), Ready, Ready, Ready, Ready]);
    }
    for sql in [
        "SET standard_conforming_strings = off; SELECT U&'abc' AS x, 6 & 3",
        "SET standard_conforming_strings = off; SELECT name, U&'it''s' AS y FROM {t} WHERE k = 5 AND id = 1",
    ] {
        exchange(&world, sql, |t| vec![Send([t.query(sql), shown.clone()].concat()), Ready, Ready]);
    }
}

/// Rows lie where they are found, however their keys were written.
#[test]
fn keys_are_read_as_code_has_set_it() {
    let schema = "CREATE TABLE named (name text PRIMARY KEY)";
    let world = Pair::with_key_type("xstringskeys", schema, ("named", "name"), "text");
    for (nth, set) in UNSEEN.into_iter().enumerate() {
        let mut raw = world.through();
        raw.must(set);
        let mut kept = 0;
        for key in 0..24 {
            // Elsewhere than where the session has it, nothing is known of what was set.
            let (name, bound) = (format!(r"q{nth}{key}\\"), format!(r"b{nth}{key}\\"));
            let reply = raw.simple(&format!("INSERT INTO named VALUES ('{name}')"));
            assert!(["", "0A000"].contains(&reply.code()), "{reply:?}");
            let parsed = raw.extended(&format!("INSERT INTO named VALUES ('{bound}')"), &[], &[], 0);
            assert!(["", "0A000"].contains(&parsed.code()), "{parsed:?}");
            for (name, reply) in [(name, reply), (bound, parsed)] {
                let found = world.through().values(&format!("SELECT name FROM named WHERE name = E'{name}'"));
                assert_eq!(found.len(), usize::from(reply.code().is_empty()), "{set}: {name}");
                kept += found.len();
            }
        }
        assert!(kept > 0, "{set}");
    }
}

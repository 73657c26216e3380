//! Backslashes in the strings of messages of several statements: Postgres reads them all by `standard_conforming_strings` as it is before
//! the first runs, whatever that and those behind it set.

use crate::record::{INSERT, ROWS, Ready, Send, exchange, world};
use crate::support::raw::message as m;

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

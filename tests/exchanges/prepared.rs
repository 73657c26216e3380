//! Prepared statements of the protocol over what changes the ground under them.

use crate::record::{ROWS_BY, Ready, Send, Step, TARGETS, Target, about, exchange, world};
use crate::support::raw::{Value, message as m};
use crate::support::script::Pair;

fn call(name: &str) -> Vec<Step> {
    let values = [Value::text("5")];
    vec![Send([m::bind("", name, &values, &[]), m::describe(b'P', ""), m::execute("", 2), m::sync()].concat()), Ready]
}

fn around(world: &Pair, name: &str, sql: &str, between: &[&str]) {
    exchange(world, name, |t| around_with(t, sql, between));
}

/// Prepared as `s` and called often enough to be known well, then these, then called again.
fn around_with(t: &Target, sql: &str, between: &[&str]) -> Vec<Step> {
    let mut script = vec![Send([t.parse("s", sql), m::describe(b'S', "s"), m::sync()].concat()), Ready];
    (0..7).for_each(|_| script.extend(call("s")));
    for sql in between {
        script.extend([Send(t.query(sql)), Ready]);
    }
    (0..2).for_each(|_| script.extend(call("s")));
    // What is parsed anew knows of it.
    script.extend([Send([m::close(b'S', "s"), t.parse("s", sql), m::describe(b'S', "s"), m::sync()].concat()), Ready]);
    script.extend(call("s"));
    script.extend([Send(m::query("ROLLBACK")), Ready]);
    script
}

#[test]
fn prepared_statements_over_what_ends_them() {
    let world = world("xdeallocate");
    for sql in [
        "DEALLOCATE ALL",
        "DEALLOCATE s",
        "DEALLOCATE PREPARE ALL",
        "DISCARD ALL",
        "DISCARD PLANS",
        "DISCARD SEQUENCES",
        "DISCARD TEMP",
        "RESET ALL",
        "CLOSE ALL",
    ] {
        around(&world, sql, ROWS_BY, &[sql]);
    }
    around(&world, "in a block", ROWS_BY, &["BEGIN", "DEALLOCATE ALL", "ROLLBACK"]);
    around(&world, "discarded in a block", ROWS_BY, &["BEGIN", "DISCARD ALL"]);
    around(&world, "a block that failed", ROWS_BY, &["BEGIN", "SELECT 1 / 0"]);
    exchange(&world, "deallocated in the pipeline", |t| {
        let all =
            [t.parse("s", ROWS_BY), t.run("DEALLOCATE ALL"), m::bind("", "s", &[Value::text("5")], &[]), m::sync()];
        vec![Send(all.concat()), Ready, Send([t.parse("s", ROWS_BY), m::sync()].concat()), Ready]
    });
    exchange(&world, "discarded in the pipeline", |t| {
        let all =
            [t.parse("s", ROWS_BY), m::sync(), t.run("DISCARD ALL"), m::sync(), m::describe(b'S', "s"), m::sync()];
        vec![Send(all.concat()), Ready, Ready, Ready]
    });
}

#[test]
fn prepared_statements_over_changes_of_the_schema() {
    const STAR: &str = "SELECT * FROM {t} WHERE {p} ORDER BY k, id";
    const RETURNED: &str = "DELETE FROM {t} WHERE {w} AND id > 1000 + $1 RETURNING *";
    let world = world("xschema");
    let added = ("ALTER TABLE {t} ADD COLUMN more int DEFAULT 3", "ALTER TABLE {t} DROP COLUMN more");
    for (what, sql) in [("named columns", ROWS_BY), ("a star", STAR)] {
        for (change, back) in [
            added,
            ("ALTER TABLE {t} ALTER COLUMN name TYPE varchar(70)", "ALTER TABLE {t} ALTER COLUMN name TYPE text"),
            ("ALTER TABLE {t} RENAME COLUMN name TO title", "ALTER TABLE {t} RENAME COLUMN title TO name"),
            ("CREATE INDEX passing ON {t} (n)", "DROP INDEX passing"),
        ] {
            for target in &TARGETS {
                for between in [change, back] {
                    about(&world, target, &format!("{what}: {between}"), &around_with(target, sql, &[between]));
                }
            }
        }
    }
    for (what, sql) in [("a star", STAR), ("returned rows", RETURNED)] {
        around(&world, &format!("{what}: undone"), sql, &["BEGIN", added.0, "ROLLBACK"]);
        around(&world, &format!("{what}: and back"), sql, &[added.0, added.1]);
    }
}

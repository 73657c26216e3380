//! The modes of transactions and what is set in them alone: in blocks, in chains, in pipelines without BEGIN, and outside of any.
//! What one Postgres does, message by message, is the specification.

#![allow(clippy::unwrap_used)]

mod support;

use support::raw::message as m;
use support::script::Step::{self, Ready, Send};
use support::script::{Pair, Placed, queries, run};

const SCHEMA: &str = "CREATE TABLE items (id int PRIMARY KEY, n int); CREATE TABLE plain (id int PRIMARY KEY); \
     CREATE TABLE late (id int, v int, CONSTRAINT late_once UNIQUE (id, v) DEFERRABLE INITIALLY DEFERRED)";
const INSERT: &str = "INSERT INTO items VALUES (101, 1), (102, 1), (103, 1), (104, 1)";
const ONE: &str = "INSERT INTO items VALUES (105, 1)";
const COUNT: &str = "SELECT count(*) FROM items";
/// What the shards know of the modes.
const KNOWN: &str =
    "SELECT DISTINCT current_setting('transaction_isolation'), current_setting('transaction_read_only') FROM items";

fn world(label: &str) -> Pair {
    let placed = [("items", Placed::By("id")), ("late", Placed::By("id"))];
    let world = Pair::create(label, SCHEMA, &placed, "");
    world.fill(&["INSERT INTO items SELECT n, n FROM generate_series(1, 12) n", "INSERT INTO plain VALUES (1)"]);
    world
}

/// Nothing is left of it.
fn aftermath() -> Vec<Step> {
    queries(&[
        "ROLLBACK",
        COUNT,
        "SHOW transaction_isolation",
        "SHOW transaction_read_only",
        "SELECT current_user",
        "SHOW IntervalStyle",
        "DELETE FROM items WHERE id > 100",
        "DELETE FROM late",
    ])
}

fn asked(statements: &[&str]) -> Vec<String> {
    let look = |id: u32| {
        let known = ["transaction_isolation", "transaction_read_only", "DateStyle"];
        let known = known.map(|name| format!("current_setting('{name}')")).join(", ");
        format!(
            "SELECT {known}, coalesce(current_setting('no.such', true), ''), current_user FROM items WHERE id = {id}"
        )
    };
    let each = |sql: &&str| if **sql == *KNOWN { (1..6).map(look).collect() } else { vec![(*sql).to_owned()] };
    statements.iter().flat_map(each).collect()
}

/// Each statement as a Query, then each as a batch of its own.
fn both(world: &Pair, statements: &[&str]) {
    let asked = asked(statements);
    let statements: Vec<&str> = asked.iter().map(String::as_str).collect();
    let statements = &statements[..];
    let name = statements.join(" | ");
    let mut simple = queries(statements);
    simple.extend(aftermath());
    world.answers(&name, &simple);
    if statements.iter().all(|sql| !sql.contains(';')) {
        let mut extended: Vec<Step> =
            statements.iter().flat_map(|sql| [Send([run(sql, &[]), m::sync()].concat()), Ready]).collect();
        extended.extend(aftermath());
        world.answers(&format!("extended, {name}"), &extended);
    }
}

/// All statements as one pipeline.
fn pipeline(world: &Pair, statements: &[&str]) {
    let sent: Vec<u8> = asked(statements).iter().flat_map(|sql| run(sql, &[])).chain(m::sync()).collect();
    let mut script = vec![Send(sent), Ready];
    script.extend(aftermath());
    world.answers(&format!("pipeline, {}", statements.join(" | ")), &script);
}

#[test]
fn a_begin_within_a_block_sets_its_modes() {
    let world = world("modesbegin");
    for statements in [
        &["BEGIN", "BEGIN READ ONLY", ONE][..],
        &["BEGIN", "BEGIN READ ONLY", INSERT],
        &["BEGIN", COUNT, "BEGIN READ ONLY", KNOWN, INSERT],
        &["BEGIN", INSERT, "START TRANSACTION READ ONLY", COUNT, "COMMIT"],
        &["BEGIN READ ONLY", "START TRANSACTION READ WRITE", INSERT, "COMMIT"],
        &["BEGIN READ ONLY", COUNT, "START TRANSACTION READ WRITE", "COMMIT"],
        &["BEGIN READ ONLY", "SAVEPOINT a", "BEGIN READ WRITE", "COMMIT"],
        &["BEGIN", COUNT, "BEGIN ISOLATION LEVEL REPEATABLE READ", "COMMIT"],
        &["BEGIN", COUNT, "BEGIN ISOLATION LEVEL READ COMMITTED", KNOWN, "COMMIT"],
        &["BEGIN", "BEGIN ISOLATION LEVEL SERIALIZABLE", "SHOW transaction_isolation", KNOWN, "COMMIT"],
        &["BEGIN", "BEGIN ISOLATION LEVEL SERIALIZABLE, READ ONLY, DEFERRABLE", "SHOW transaction_deferrable", KNOWN],
        &["BEGIN", "SAVEPOINT a", "BEGIN READ ONLY", "ROLLBACK TO a", INSERT, "COMMIT"],
        &["BEGIN", "BEGIN", INSERT, "COMMIT"],
        &["BEGIN", "SELECT 1/0", "BEGIN READ ONLY", "COMMIT"],
        &["BEGIN; BEGIN READ ONLY", INSERT],
        &["SET TRANSACTION READ ONLY; BEGIN READ WRITE; SELECT 1", INSERT, "COMMIT"],
        &["SET TRANSACTION READ ONLY; BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1", KNOWN, INSERT, "COMMIT"],
        &["SELECT 1; BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 2", "SELECT 3"],
        &["BEGIN /* of */ READ /* all */ ONLY -- x", KNOWN, INSERT],
    ] {
        both(&world, statements);
    }
}

#[test]
fn a_chain_goes_on_with_the_modes_that_were_not_undone() {
    let world = world("modeschain");
    for end in ["COMMIT AND CHAIN", "ROLLBACK AND CHAIN"] {
        for modes in
            ["", "ISOLATION LEVEL REPEATABLE READ", "READ ONLY", "ISOLATION LEVEL SERIALIZABLE, READ ONLY, DEFERRABLE"]
        {
            let begin = format!("BEGIN {modes}");
            for between in [
                &[][..],
                &["SELECT 1/0"],
                &["SAVEPOINT a", "SELECT 1/0"],
                &["SAVEPOINT a", "SET TRANSACTION READ ONLY"],
                &["SAVEPOINT a", "SET TRANSACTION READ ONLY", "SAVEPOINT b", "SELECT 1/0"],
                &["SAVEPOINT a", "SELECT 1/0", "ROLLBACK TO a"],
                &["SET TRANSACTION READ ONLY"],
                &["SET TRANSACTION READ ONLY", "SAVEPOINT a", "SELECT 1/0"],
                &["SET LOCAL transaction_isolation = 'repeatable read'"],
                &["SET transaction_read_only TO tru"],
                &["SELECT set_config('transaction_read_only', 'on', true)"],
                &["SET default_transaction_isolation TO 'serializable'"],
                &["SET default_transaction_read_only TO on", "SELECT 1/0"],
            ] {
                let mut statements = vec![begin.as_str()];
                statements.extend(between);
                statements.extend([
                    end,
                    "SHOW transaction_isolation",
                    "SHOW transaction_read_only",
                    "SHOW transaction_deferrable",
                    KNOWN,
                    "COMMIT",
                    "RESET default_transaction_isolation",
                ]);
                both(&world, &statements);
            }
        }
    }
}

#[test]
fn a_pipeline_without_begin_is_a_transaction_of_its_own() {
    const ROLE: &str = "SET LOCAL ROLE pg_read_all_data";
    const LEVEL: &str = "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE";
    let world = world("modespipe");
    for statements in [
        &[ROLE, "SELECT current_user", KNOWN, "SELECT current_user, id FROM items WHERE id = 3"][..],
        &[ROLE, ONE],
        &[ONE, ROLE, KNOWN, "SELECT count(*) FROM plain"],
        &[ONE, "SET LOCAL work_mem TO '1MB'", "SHOW work_mem", "SELECT 1/0"],
        &[
            "SET LOCAL IntervalStyle TO iso_8601",
            "SELECT '1 day'::interval",
            "SELECT '2 days'::interval FROM items WHERE id < 3",
        ],
        &["SET LOCAL DateStyle TO German", "SHOW DateStyle", KNOWN],
        &["SET LOCAL search_path TO pg_catalog", COUNT],
        &["SET LOCAL no.such TO 'x'", KNOWN],
        &["SET LOCAL nope TO 1", ONE],
        &["SET LOCAL work_mem TO nope", ONE],
        &["SET TRANSACTION READ ONLY", ONE],
        &["SET TRANSACTION READ ONLY", INSERT],
        &["SET TRANSACTION READ ONLY", KNOWN, "SELECT count(*) FROM plain"],
        &[LEVEL, "SHOW transaction_isolation", KNOWN, INSERT],
        &["SHOW work_mem", LEVEL, KNOWN],
        &["SET work_mem TO '1MB'", LEVEL, KNOWN],
        &["SELECT 1", LEVEL],
        &["SELECT n FROM items WHERE id = 3", LEVEL],
        &[COUNT, LEVEL],
        &[COUNT, "SET TRANSACTION READ ONLY", INSERT],
        &[COUNT, "SET TRANSACTION ISOLATION LEVEL READ COMMITTED", COUNT],
        &[COUNT, "BEGIN ISOLATION LEVEL SERIALIZABLE", "SELECT 1"],
        &[COUNT, "BEGIN READ ONLY", INSERT],
        &[COUNT, "COMMIT", LEVEL, KNOWN],
        &[INSERT, "COMMIT", LEVEL, KNOWN],
        &["BEGIN", LEVEL, KNOWN, "COMMIT", LEVEL, KNOWN],
        &[ONE, "SET CONSTRAINTS ALL IMMEDIATE", "SELECT 1"],
        &["SET CONSTRAINTS ALL IMMEDIATE", "INSERT INTO late VALUES (1, 1), (1, 1)", "SELECT 1"],
        &["SET CONSTRAINTS late_once IMMEDIATE", "INSERT INTO late VALUES (1, 1), (2, 1), (3, 1), (3, 1)", "SELECT 1"],
        &["INSERT INTO late VALUES (1, 1), (1, 1)", "SET CONSTRAINTS ALL IMMEDIATE", "SELECT 1"],
        &["INSERT INTO late VALUES (1, 1), (2, 1), (3, 1), (3, 1)", "SET CONSTRAINTS ALL IMMEDIATE", "SELECT 1"],
    ] {
        pipeline(&world, statements);
    }
}

#[test]
fn constraints_are_set_on_every_shard_in_both_protocols() {
    const TWICE: &str = "INSERT INTO late VALUES (1, 1), (2, 1), (3, 1), (3, 1)";
    let world = world("modesconstraints");
    for statements in [
        &["BEGIN", "SET CONSTRAINTS ALL IMMEDIATE", TWICE][..],
        &["BEGIN", "/* x */ SET CONSTRAINTS ALL IMMEDIATE; -- y", "SAVEPOINT a", TWICE, "ROLLBACK TO a", TWICE],
        &["BEGIN", "SET CONSTRAINTS late_once IMMEDIATE", TWICE],
        &[
            "BEGIN",
            TWICE,
            "SET CONSTRAINTS late_once DEFERRED",
            "SELECT 1",
            "SET CONSTRAINTS public.late_once IMMEDIATE",
        ],
        &["BEGIN", "SAVEPOINT a", "SET CONSTRAINTS ALL IMMEDIATE", "ROLLBACK TO a", TWICE, "SELECT 1", "COMMIT"],
        &["BEGIN", "SET CONSTRAINTS no_such IMMEDIATE", "SELECT 1"],
        &["SET CONSTRAINTS ALL IMMEDIATE", TWICE],
        &["SET CONSTRAINTS no_such IMMEDIATE", "SELECT 1"],
        &["SET CONSTRAINTS late_once", "SELECT 1"],
        &["SET CONSTRAINTS late_once IMMEDIATE; SELECT 1", "SELECT 2"],
    ] {
        both(&world, statements);
    }
}

#[test]
fn what_counts_in_a_transaction_only_is_checked_outside_of_one() {
    let world = world("modesalone");
    for sql in [
        "SET LOCAL nope TO 1",
        "SET LOCAL work_mem TO 'much'",
        "SET LOCAL DateStyle TO 'nope'",
        "SET LOCAL IntervalStyle TO iso_8601",
        "SET LOCAL search_path TO pg_catalog",
        "SET LOCAL ROLE nobody_of_this_name",
        "SET LOCAL ROLE pg_read_all_data",
        "SET LOCAL work_mem TO DEFAULT",
        "SET TRANSACTION READ ONLY",
        "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
    ] {
        both(&world, &[sql, "SHOW work_mem", "SHOW search_path", COUNT, INSERT]);
    }
}

//! ParameterStatus: what changes is told once, with the value that is left, just before ReadyForQuery, in every way in which settings
//! change. Frame by frame as one Postgres.

#![allow(clippy::unwrap_used)]

mod support;

use support::Sharded;
use support::raw::{Raw, message as m};

/// The answer to these bytes, up to the last ReadyForQuery that they ask for: tags, and what ParameterStatus says.
fn frames(raw: &mut Raw, bytes: &[u8], readies: usize) -> Vec<String> {
    raw.send(bytes).unwrap();
    let mut all = Vec::new();
    for _ in 0..readies {
        for message in raw.read_to_ready().unwrap() {
            let tag = char::from(message.tag);
            match tag {
                'S' => all.push(format!("S {}", message.texts().take(2).collect::<Vec<_>>().join("="))),
                'E' => all.push(format!("E {}", message.report().code())),
                'C' => all.push(format!("C {}", message.texts().next().unwrap_or_default())),
                'Z' => all.push(format!("Z {}", char::from(message.body[0]))),
                tag => all.push(tag.to_string()),
            }
        }
    }
    all
}

fn run(sql: &str) -> Vec<u8> {
    [m::parse("", sql, &[]), m::bind("", "", &[], &[]), m::execute("", 0)].concat()
}

#[test]
fn changes_are_told_before_ready_for_query_as_in_postgres() {
    let world = Sharded::create("params", "default_pool_size = 2");
    let mut oracle = world.db.oracle();
    oracle.must(
        "CREATE TABLE items (id int PRIMARY KEY, n int, name text); CREATE TABLE plain (id int PRIMARY KEY, body text); \
         INSERT INTO plain VALUES (1, 'one')",
    );
    let pipelines: &[(&str, Vec<u8>)] = &[
        ("a pipeline", [run("SET TimeZone = 'Asia/Tokyo'"), run("SELECT count(*) FROM plain"), m::sync()].concat()),
        ("back again", [run("SET TimeZone = 'UTC'"), run("SET TimeZone = 'Asia/Tokyo'"), m::sync()].concat()),
        ("one that fails", [run("SET DateStyle = 'German'"), run("SELECT 1 / 0"), m::sync()].concat()),
        ("reset", [run("RESET TimeZone"), run("SELECT id FROM plain WHERE id = 1"), m::sync()].concat()),
        (
            "a block",
            [
                run("BEGIN"),
                run("SET LOCAL IntervalStyle = 'iso_8601'"),
                run("SELECT count(*) FROM plain"),
                m::sync(),
                run("COMMIT"),
                m::sync(),
            ]
            .concat(),
        ),
    ];
    let (mut oracle, mut through) = (world.db.oracle(), world.connect());
    for sql in [
        "SET application_name = 'a'",
        "SET application_name = 'a'",
        "SET application_name = 'b'; SET application_name = 'c'",
        "SET application_name = 'd'; SELECT 1; SET application_name = 'c'",
        "RESET application_name",
        "SET TimeZone = 'UTC'; SET IntervalStyle = 'sql_standard'; SET application_name = 'e'; SET DateStyle = 'SQL'",
        "RESET ALL",
        "BEGIN",
        "SET TimeZone = 'Asia/Tokyo'",
        "SELECT count(*) FROM plain",
        "ROLLBACK",
        "BEGIN",
        "SET TimeZone = 'Asia/Tokyo'",
        "SELECT 1 / 0",
        "SELECT 1",
        "ROLLBACK",
        "BEGIN",
        "SET TimeZone = 'Asia/Tokyo'",
        "SAVEPOINT s",
        "SET TimeZone = 'Europe/Paris'",
        "SELECT nothing FROM plain",
        "ROLLBACK TO s",
        "COMMIT",
        "BEGIN",
        "SET LOCAL DateStyle = 'SQL, DMY'",
        "COMMIT",
        "SELECT set_config('IntervalStyle', 'sql_standard', false)",
        "SELECT set_config('IntervalStyle', 'postgres', true)",
        "BEGIN",
        "SELECT set_config('IntervalStyle', 'postgres', true)",
        "COMMIT",
        "BEGIN",
        "SELECT set_config('TimeZone', 'America' || '/New_York', true)",
        "COMMIT",
        "SET TimeZone = 'UTC'; SELECT 1 / 0",
        "BEGIN; SET TimeZone = 'UTC'; COMMIT; SELECT 1 / 0",
        "RESET ALL",
        "SET work_mem = '1MB'",
        "DISCARD ALL",
    ] {
        let (theirs, ours) = (frames(&mut oracle, &m::query(sql), 1), frames(&mut through, &m::query(sql), 1));
        assert_eq!(ours, theirs, "{sql}");
    }
    for (what, bytes) in pipelines {
        let readies = if *what == "a block" { 2 } else { 1 };
        let (theirs, ours) = (frames(&mut oracle, bytes, readies), frames(&mut through, bytes, readies));
        assert_eq!(ours, theirs, "{what}");
    }
}

//! What is large: statements, numbers of parameters and of columns, values.

use std::fs;

use crate::record::{ROWS, Ready, Send, Step, Target, exchange, world};
use crate::support::raw::{Value, message as m};

#[test]
fn statements_of_more_than_a_megabyte() {
    let world = world("xlong");
    let long = "x".repeat(1_200_000);
    for (what, sql) in [
        ("a literal", format!("SELECT k, length('{long}') FROM {{t}} WHERE {{w}} ORDER BY k, id")),
        ("a comment", format!("SELECT k /* {long} */ FROM {{t}} WHERE {{w}} ORDER BY k, id")),
        ("blanks", format!("SELECT k {} FROM {{t}} WHERE {{w}} ORDER BY k, id", " ".repeat(1_200_000))),
        ("an error behind it", format!("SELECT '{long}', nothing FROM {{t}} WHERE {{w}}")),
        ("what is written", format!("INSERT INTO {{t}} VALUES (5, 101, '{long}', 1) RETURNING length(name)")),
        ("no end", format!("SELECT '{long}', k FROM {{t}} WHERE {{w}} AND")),
    ] {
        exchange(&world, what, |t| {
            let extended =
                [t.parse("s", &sql), m::describe(b'S', "s"), m::bind("", "s", &[], &[]), m::execute("", 0), m::sync()];
            vec![
                Send([t.query("BEGIN"), t.query(&sql), t.query("ROLLBACK")].concat()),
                Ready,
                Ready,
                Ready,
                Send(extended.concat()),
                Ready,
                Send(t.query(ROWS)),
                Ready,
            ]
        });
    }
}

#[test]
fn as_many_parameters_as_there_can_be() {
    let world = world("xmany");
    const MOST: usize = 65_535;
    let list = |from: usize| (from..=MOST).map(|at| format!("${at}")).collect::<Vec<_>>().join(",");
    let values: Vec<Value> = (0..MOST).map(|at| Value::text(&(if at == 0 { 5 } else { at % 9 }).to_string())).collect();
    let bind = |count: usize| m::bind("", "s", &values[..count], &[]);
    for (what, sql) in [
        ("a list", format!("SELECT k, id FROM {{t}} WHERE {{p}} AND id IN ({}) ORDER BY k, id", list(2))),
        ("an array", format!("SELECT count(*) FROM {{t}} WHERE {{p}} AND id = ANY (ARRAY[{}]::int[])", list(2))),
        ("keys", format!("SELECT k, id FROM {{t}} WHERE k IN ({}) AND {{w}} ORDER BY k, id", list(1))),
    ] {
        exchange(&world, what, |t| {
            vec![
                Send([t.parse("s", &sql), m::describe(b'S', "s"), m::sync()].concat()),
                Ready,
                Send([bind(MOST), m::describe(b'P', ""), m::execute("", 0), m::sync()].concat()),
                Ready,
                Send([bind(MOST - 1), m::sync()].concat()),
                Ready,
            ]
        });
    }
    exchange(&world, "one more", |t| {
        let sql = format!("SELECT k FROM {{t}} WHERE {{p}} AND id = ${}", MOST + 1);
        vec![Send([t.parse("s", &sql), m::describe(b'S', "s"), m::sync()].concat()), Ready]
    });
    exchange(&world, "far more", |t| vec![Send([t.parse("s", "SELECT $99999999999"), m::sync()].concat()), Ready]);
}

#[test]
fn as_many_columns_as_there_can_be() {
    let world = world("xwide");
    let values: Vec<String> = (1..1600).map(|at| at.to_string()).collect();
    let values = values.join(",");
    exchange(&world, "rows of 1600 columns", |t| {
        let insert = t.sql("INSERT INTO wide_{t} VALUES {v}").split(" VALUES ").next().unwrap().to_owned();
        let keys = t.sql("{v}");
        let keys = keys.split('(').skip(1).map(|row| row.split(',').next().unwrap());
        let rows: Vec<String> = keys.map(|key| format!("({key},{values})")).collect();
        let insert = m::query(&format!("{insert} VALUES {}", rows.join(",")));
        let all = "SELECT * FROM wide_{t} WHERE {w} ORDER BY k";
        let formats: Vec<i16> = (0..1600).map(|at| at % 2).collect();
        let extended = [
            t.parse("s", all),
            m::describe(b'S', "s"),
            m::bind("", "s", &[], &formats),
            m::describe(b'P', ""),
            m::execute("", 2),
            m::sync(),
        ];
        let too_many = format!("SELECT *, {values} FROM wide_{{t}} WHERE {{w}} ORDER BY k");
        vec![
            Send(
                [insert, t.query(all), t.query("SELECT c1, c1599 FROM wide_{t} WHERE {w} ORDER BY c1599, k")].concat(),
            ),
            Ready,
            Ready,
            Ready,
            Send(extended.concat()),
            Ready,
            Send(
                [
                    t.query(&too_many),
                    t.query("UPDATE wide_{t} SET c1599 = 0 WHERE {w} AND k = 5 RETURNING *"),
                    t.query("DELETE FROM wide_{t} WHERE {w}"),
                ]
                .concat(),
            ),
            Ready,
            Ready,
            Ready,
        ]
    });
}

/// The most memory that a process has had, in megabytes.
fn peak(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}

#[test]
fn rows_of_a_hundred_megabytes_take_bounded_memory() {
    let world = world("xrows");
    const SIZE: usize = 100 << 20;
    let row = |key: &str| format!("SELECT k, repeat('x', {SIZE}) FROM {{t}} WHERE {key} AND id = 1 ORDER BY k");
    let script = |sql: &str, t: &Target| -> Vec<Step> {
        let extended = [t.parse("", sql), m::bind("", "", &[], &[1]), m::execute("", 1), m::execute("", 0), m::sync()];
        vec![Send(t.query(sql)), Ready, Send(extended.concat()), Ready]
    };
    exchange(&world, "one row", |t| script(&row("k = 5"), t));
    let Some(router) = &world.router else { return };
    let one = peak(router.pid());
    assert!(one < 150, "a row that passes is not held: {one} MB");
    exchange(&world, "rows of several shards", |t| vec![Send(t.query(&row("{w} AND k < 4"))), Ready]);
    let several = peak(router.pid());
    // A merge holds a row of each shard.
    assert!(several < 1000, "a merge holds one row of each shard: {several} MB");
    println!("peak {one} MB for one row, {several} MB for rows of all shards");
}

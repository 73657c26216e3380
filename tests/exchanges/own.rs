//! What the router answers itself: its Parse, Bind and Execute as those of one Postgres, down to the types and values of parameters that
//! nothing needs.

use crate::record::{Closed, INSERT, ROWS, Ready, Send, exchange, world};
use crate::support::raw::{Value, message as m};

/// Statements that no server runs as they are.
const OWN: [&str; 12] = [
    "DEALLOCATE ALL",
    "SET work_mem = '4MB'",
    "SHOW work_mem",
    "BEGIN",
    "COMMIT",
    "SAVEPOINT a",
    "DISCARD PLANS",
    "RESET ALL",
    "CLOSE ALL",
    "PREPARE foo AS SELECT 1",
    "EXECUTE foo",
    "",
];

#[test]
fn parameters_that_nothing_needs_have_types_and_values_all_the_same() {
    let world = world("xowntypes");
    for sql in
        OWN.into_iter().chain(["SELECT set_config('a.b', 'c', false)", "SELECT set_config($1, 'c', false)", ROWS])
    {
        for types in [&[23][..], &[0], &[705], &[25, 0], &[25, 25], &[0, 23], &[999_999]] {
            exchange(&world, &format!("{sql}, declared {types:?}"), |t| {
                let text = t.sql(sql);
                let parse = |name: &str| m::parse(name, &text, types);
                vec![
                    Send([parse("s"), m::sync(), m::describe(b'S', "s"), m::sync()].concat()),
                    Ready,
                    Ready,
                    Send(
                        [t.parse("", ROWS), m::sync(), parse(""), m::sync(), m::bind("", "", &[], &[]), m::sync()]
                            .concat(),
                    ),
                    Ready,
                    Ready,
                    Ready,
                ]
            });
        }
        let needed = usize::from(sql.contains("$1"));
        for (what, of, value) in [
            ("no number", 23, Value::text("five")),
            ("a number", 23, Value::text("5")),
            ("a number in binary", 23, Value::binary(5_i32.to_be_bytes())),
            ("a number cut short", 23, Value::binary([0, 5])),
            ("no text", 25, Value::text("a\u{0}b")),
            ("no UTF-8", 25, Value { format: 0, bytes: Some(vec![b'a', 0xff]) }),
            ("a format that is none", 25, Value { format: 2, bytes: Some(b"x".to_vec()) }),
            ("no time", 1184, Value::text("whenever")),
            ("null", 23, Value::null()),
        ] {
            for portal in ["", "p"] {
                exchange(&world, &format!("{sql} with {what} in portal {portal:?}"), |t| {
                    let types: Vec<u32> = [25, of].into_iter().skip(1 - needed).collect();
                    let values: Vec<Value> = [Value::text("a.b"), value.clone()].into_iter().skip(1 - needed).collect();
                    let call = [m::parse("s", &t.sql(sql), &types), m::bind(portal, "s", &values, &[])];
                    vec![Send([call.concat(), m::execute(portal, 0), m::sync()].concat()), Ready]
                });
            }
        }
    }
    for sql in ["COMMIT", "ROLLBACK", ""] {
        exchange(&world, &format!("{sql:?} with a parameter in a transaction that has failed"), |t| {
            let call = [m::parse("", sql, &[23]), m::bind("", "", &[Value::text("1")], &[]), m::execute("", 0)];
            vec![Send([t.query("BEGIN; SELECT 1 / 0"), call.concat(), m::sync()].concat()), Ready, Ready]
        });
    }
    for sql in ["SELECT set_config($1, 'c', $2)", "SELECT set_config($1, $2, false)"] {
        for value in [Value::text("x"), Value::text("on"), Value::binary([1]), Value::binary([0]), Value::null()] {
            exchange(&world, &format!("{sql} with {value:?}"), |_| {
                let call = [m::parse("", sql, &[]), m::bind("p", "", &[Value::text("a.b"), value.clone()], &[])];
                vec![Send([call.concat(), m::execute("p", 0), m::sync()].concat()), Ready]
            });
        }
    }
}

#[test]
fn what_returns_no_rows_takes_any_result_formats() {
    let world = world("xownformats");
    let prepare = "PREPARE rows AS SELECT k, id FROM {t} WHERE {w} ORDER BY 1, 2; \
                   PREPARE none AS UPDATE {t} SET n = n WHERE {w}; PREPARE one AS SELECT 1";
    let executes = ["EXECUTE rows", "EXECUTE none", "EXECUTE one", "EXECUTE nobody"];
    let others = ["SELECT set_config('a.b', 'c', false)", "UPDATE {t} SET n = n WHERE {w}", ROWS];
    for sql in OWN.into_iter().chain(executes).chain(others) {
        for formats in [&[][..], &[1], &[0, 1], &[1, 0, 1], &[0, 0, 0, 0], &[2], &[-1]] {
            exchange(&world, &format!("{sql}, formats {formats:?}"), |t| {
                let call =
                    [t.parse("s", sql), m::bind("p", "s", &[], formats), m::describe(b'P', "p"), m::execute("p", 0)];
                let prepare: Vec<u8> = prepare.split("; ").flat_map(|one| t.query(one)).collect();
                vec![
                    Send(prepare),
                    Ready,
                    Ready,
                    Ready,
                    Send([call.concat(), m::sync()].concat()),
                    Ready,
                    Send(m::query("DEALLOCATE ALL")),
                    Ready,
                ]
            });
        }
    }
}

#[test]
fn close_all_leaves_the_portal_that_it_runs_in() {
    let world = world("xowncloseall");
    for portal in ["", "p"] {
        let bound = |t: &crate::record::Target| {
            [t.parse("q", ROWS), m::bind("q", "q", &[], &[]), m::execute("q", 1), t.parse("s", "CLOSE ALL")].concat()
        };
        for (what, behind) in [
            ("executed again", m::execute(portal, 0)),
            ("described", m::describe(b'P', portal)),
            ("closed", m::close(b'P', portal)),
            ("bound again", m::bind(portal, "s", &[], &[])),
            ("another executed", m::execute("q", 0)),
        ] {
            for begin in ["", "BEGIN"] {
                exchange(&world, &format!("{what}, portal {portal:?} behind {begin:?}"), |t| {
                    vec![
                        Send(m::query(begin)),
                        Ready,
                        Send(
                            [
                                bound(t),
                                m::bind(portal, "s", &[], &[]),
                                m::execute(portal, 0),
                                behind.clone(),
                                m::sync(),
                            ]
                            .concat(),
                        ),
                        Ready,
                        Send([m::execute(portal, 0), m::sync()].concat()),
                        Ready,
                    ]
                });
            }
        }
    }
}

#[test]
fn settings_that_are_no_lists_take_one_value() {
    let world = world("xownlists");
    for sql in [
        "SET timezone TO 1, 2",
        "SET timezone TO 'UTC', 'Asia/Tokyo'",
        "SET timezone TO UTC, GMT",
        "SET TIME ZONE 1, 2",
        "SET LOCAL timezone TO 1, 2",
        "SET timezone TO DEFAULT, 1",
        "SET timezone TO 1, DEFAULT",
        "SET timezone TO DEFAULT",
        "SET client_encoding TO utf8, latin1",
        "SET role TO a, b",
        "SET session_authorization TO a, b",
        "SET work_mem TO 1, 2",
        "SET my.own TO 1, 2",
        "SET search_path TO a, b",
        "SET search_path TO DEFAULT, b",
        "SET pgloom.read_preference TO a, b",
    ] {
        exchange(&world, sql, |t| {
            vec![
                Send(t.query(sql)),
                Ready,
                Send([t.run(sql), m::sync(), m::query("BEGIN"), m::query(sql), m::query("ROLLBACK")].concat()),
                Ready,
                Ready,
                Ready,
                Ready,
                Send(m::query("RESET search_path")),
                Ready,
            ]
        });
    }
}

#[test]
fn a_parse_that_fails_leaves_no_unnamed_statement() {
    let world = world("xownunnamed");
    for text in ["SELECT 1; SELECT 2", "SELEC 1", "SELECT nothing FROM {t}", "SET timezone TO", "SELECT * FROM nowhere"]
    {
        exchange(&world, text, |t| {
            let then = [m::bind("", "", &[], &[]), m::execute("", 0), m::sync()].concat();
            vec![Send([t.parse("", ROWS), m::sync(), t.parse("", text), m::sync(), then].concat()), Ready, Ready, Ready]
        });
        exchange(&world, &format!("{text} in one pipeline"), |t| {
            let then = [m::bind("", "", &[], &[]), m::execute("", 0), m::sync()].concat();
            vec![Send([t.run(ROWS), t.parse("", text), m::sync(), then].concat()), Ready, Ready]
        });
    }
}

/// Nothing can be found behind a length that cannot be: Postgres closes without a word, and so it is here, but for the log.
#[test]
fn lengths_that_cannot_be_end_the_session_without_a_word() {
    let world = world("xlengths");
    let head = |tag: u8, length: u32| [&[tag][..], &length.to_be_bytes()].concat();
    for (tag, length) in [
        (b'Q', 3),
        (b'Q', 0),
        (b'Q', u32::MAX),
        (b'Q', 0x3fff_ffff),
        (b'S', 10_001),
        (b'E', 1 << 20),
        (b'X', 0),
        (b'd', 2),
        (b'c', 10_001),
    ] {
        let bytes = head(tag, length);
        exchange(&world, &format!("{} of {length}, idle", char::from(tag)), |_| vec![Send(bytes.clone()), Closed]);
        exchange(&world, &format!("{} of {length}, behind an answer", char::from(tag)), |t| {
            vec![Send(t.query(ROWS)), Ready, Send(bytes.clone()), Closed]
        });
        exchange(&world, &format!("{} of {length}, in a block", char::from(tag)), |t| {
            let before = [m::query("BEGIN"), t.query("UPDATE {t} SET n = n + 1 WHERE {w}")].concat();
            vec![Send(before), Ready, Ready, Send(bytes.clone()), Closed]
        });
    }
    if let Some(router) = &world.router {
        assert!(router.log_text().contains("invalid message length"), "it is in the log");
    }
    assert_eq!(world.through().value("SELECT sum(n) FROM items"), world.db.oracle().value("SELECT sum(n) FROM items"));
}

/// What has columns is not described in a transaction that has failed, wherever its rows would come from.
#[test]
fn portals_are_not_described_in_a_transaction_that_has_failed() {
    let world = world("xfailedportals");
    for text in
        [ROWS, INSERT, "UPDATE {t} SET n = n WHERE {w} RETURNING 1", "SHOW work_mem", "SET work_mem = '3MB'", ""]
    {
        // Of the second error no server knows.
        for failing in [m::query("SELECT nothing"), [m::execute("nobody", 0), m::sync()].concat()] {
            exchange(&world, text, |t| {
                let bound = [t.parse("s", text), m::bind("p", "s", &[], &[]), m::sync(), failing.clone()];
                let asked =
                    [m::describe(b'P', "p"), m::sync(), m::describe(b'S', "s"), m::sync(), m::query("ROLLBACK")];
                vec![
                    Send([m::query("BEGIN"), bound.concat(), asked.concat()].concat()),
                    Ready,
                    Ready,
                    Ready,
                    Ready,
                    Ready,
                    Ready,
                ]
            });
        }
    }
}

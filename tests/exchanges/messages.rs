//! Pipelines, Flush, portals, names, Describe, formats: the extended protocol message by message.

use crate::record::{
    Closed, DUPLICATE, INSERT, Quiet, ROWS, ROWS_BY, Read, Ready, Send, Step, TARGETS, about, exchange, world,
};
use crate::support::raw::{Value, message as m};

fn five() -> Value {
    Value::text("5")
}

#[test]
fn pipelines_stop_at_their_error_and_go_on_behind_the_sync() {
    let world = world("xpipelines");
    let failing: [(&str, &str); 6] = [
        ("runs", "SELECT 1 / (n - n) FROM {t} WHERE {w} ORDER BY k, id"),
        ("writes", DUPLICATE),
        ("parses", "SELECT nothing FROM {t} WHERE {w}"),
        ("is none", "SELEC k FROM {t} WHERE {w}"),
        ("no table", "SELECT * FROM nowhere"),
        ("no function", "SELECT nothing(k) FROM {t} WHERE {w}"),
    ];
    for (what, sql) in failing {
        exchange(&world, &format!("an error in the middle: {what}"), |t| {
            vec![
                Send([t.run(ROWS), t.run(INSERT), t.run(sql), t.run(ROWS), m::sync(), t.run(ROWS), m::sync()].concat()),
                Ready,
                Ready,
            ]
        });
        exchange(&world, &format!("an error first, and nothing behind it: {what}"), |t| {
            vec![
                Send(
                    [t.run(sql), m::sync(), m::sync(), t.run("SELECT count(*) FROM {t} WHERE {w}"), m::sync()].concat(),
                ),
                Ready,
                Ready,
                Ready,
            ]
        });
        exchange(&world, &format!("an error in a block: {what}"), |t| {
            let pipeline =
                [t.run("BEGIN"), t.run(INSERT), m::sync(), t.run(sql), t.run(ROWS), m::sync(), t.run(ROWS), m::sync()];
            vec![Send([pipeline.concat(), t.run("COMMIT"), m::sync()].concat()), Ready, Ready, Ready, Ready]
        });
        exchange(&world, &format!("an error behind a savepoint: {what}"), |t| {
            let pipeline =
                [t.run("BEGIN"), t.run("SAVEPOINT a"), t.run(sql), m::sync(), t.run("ROLLBACK TO a"), t.run(INSERT)];
            vec![Send([pipeline.concat(), t.run("COMMIT"), m::sync()].concat()), Ready, Ready]
        });
        exchange(&world, &format!("an error in a prepared statement: {what}"), |t| {
            vec![
                Send(
                    [
                        t.parse("s", sql),
                        m::describe(b'S', "s"),
                        m::bind("p", "s", &[], &[]),
                        m::execute("p", 0),
                        m::sync(),
                    ]
                    .concat(),
                ),
                Ready,
                Send([m::bind("", "s", &[], &[]), m::execute("", 0), m::sync()].concat()),
                Ready,
            ]
        });
    }
    exchange(&world, "two hundred statements at once", |t| {
        let all: Vec<u8> = (0..200).flat_map(|_| t.run("SELECT count(*), sum(n) FROM {t} WHERE {w}")).collect();
        vec![Send([all, m::sync()].concat()), Ready]
    });
    exchange(&world, "a write that fails behind writes", |t| {
        let again = "UPDATE {t} SET n = -1 WHERE {w}";
        vec![Send([t.run(INSERT), t.run(again), t.run(INSERT), m::sync()].concat()), Ready]
    });
}

#[test]
fn flush_brings_what_was_asked_for_and_no_end() {
    let world = world("xflush");
    exchange(&world, "message by message", |t| {
        let mut script = Vec::new();
        for message in
            [t.parse("", ROWS_BY), m::describe(b'S', ""), m::bind("", "", &[five()], &[]), m::describe(b'P', "")]
        {
            let count = if message[0] == b'D' && message[5] == b'S' { 2 } else { 1 };
            script.extend([Send([message, m::flush()].concat()), Read(count), Quiet]);
        }
        script.extend([Send([m::execute("", 3), m::flush()].concat()), Read(4), Quiet]);
        script.extend([Send([m::execute("", 2), m::flush()].concat()), Read(3), Quiet, Send(m::sync()), Ready]);
        script
    });
    exchange(&world, "an error behind a Flush waits for the Sync", |t| {
        let failing = "SELECT 1 / (n - n) FROM {t} WHERE {w} ORDER BY k, id";
        vec![
            Send([t.run(failing), m::flush()].concat()),
            Read(3),
            Quiet,
            Send([t.run(ROWS), m::flush()].concat()),
            Quiet,
            Send(m::sync()),
            Ready,
        ]
    });
    exchange(&world, "a write that was flushed is undone by what follows", |t| {
        vec![
            Send([t.run(INSERT), m::flush()].concat()),
            Read(3),
            Quiet,
            Send([t.run("SELECT 1 / 0"), m::sync()].concat()),
            Ready,
        ]
    });
    exchange(&world, "a write that was flushed lasts", |t| {
        vec![Send([t.run(INSERT), m::flush()].concat()), Read(3), Quiet, Send(m::sync()), Ready]
    });
    // Postgres sends what has filled its buffer, whether somebody asks for it or not.
    exchange(&world, "many rows come without a Flush", |t| {
        let many = t.run("SELECT k, id, repeat('x', 20000) FROM {t} WHERE {w} ORDER BY k, id");
        vec![Send(many), Read(7), Send(m::sync()), Ready]
    });
    exchange(&world, "an error comes without a Flush", |t| {
        let failing = t.run("SELECT 1 / (n - n) FROM {t} WHERE {w} ORDER BY k, id");
        vec![Send([t.run(INSERT), failing].concat()), Read(6), Quiet, Send([t.run(ROWS), m::sync()].concat()), Ready]
    });
    exchange(&world, "Flush alone", |_| {
        vec![Send([m::flush(), m::flush()].concat()), Quiet, Send([m::sync(), m::flush()].concat()), Ready, Quiet]
    });
    exchange(&world, "nothing is told of half a pipeline", |t| {
        vec![Send([t.parse("", ROWS), m::bind("", "", &[], &[])].concat()), Quiet, Send(m::sync()), Ready]
    });
}

#[test]
fn portals_live_across_executes() {
    let world = world("xportals");
    for (what, sql) in [
        ("rows", ROWS),
        ("a function of all", "SELECT k, rank() OVER (ORDER BY n) FROM {t} WHERE {w} ORDER BY 1, 2"),
        ("groups", "SELECT k, count(*) FROM {t} WHERE {w} GROUP BY k ORDER BY k"),
        (
            "returned rows",
            "UPDATE {t} SET n = n + 0 WHERE {w} AND id = 1 AND k < 3 OR {w} AND k = 5 AND id = 2 RETURNING id > 0",
        ),
        ("no rows", "SELECT k FROM {t} WHERE {w} AND id < 0"),
        ("a tag", "UPDATE {t} SET n = n WHERE {w}"),
        ("its own", "SHOW DateStyle"),
    ] {
        for sizes in [&[1, 2, 0][..], &[2, 2, 2, 2], &[100, 1], &[0, 0], &[6, 1]] {
            exchange(&world, &format!("{what}, {sizes:?} at once"), |t| {
                let executes: Vec<u8> = sizes.iter().flat_map(|size| m::execute("p", *size)).collect();
                let bound = [t.parse("", sql), m::bind("p", "", &[], &[]), m::describe(b'P', "p")].concat();
                vec![
                    Send([bound, executes, m::execute("p", 1), m::sync()].concat()),
                    Ready,
                    Send([m::execute("p", 1), m::sync()].concat()),
                    Ready,
                ]
            });
            exchange(&world, &format!("{what}, {sizes:?} over Syncs of a block"), |t| {
                let mut script = vec![Send(m::query("BEGIN")), Ready];
                script.extend([Send([t.parse("s", sql), m::bind("p", "s", &[], &[]), m::sync()].concat()), Ready]);
                for size in sizes {
                    script.extend([Send([m::execute("p", *size), m::sync()].concat()), Ready]);
                }
                let last = [m::describe(b'P', "p"), m::close(b'P', "p"), m::execute("p", 0), m::sync()];
                script.extend([Send(last.concat()), Ready, Send(m::query("COMMIT")), Ready]);
                script
            });
        }
    }
    exchange(&world, "two in turn", |t| {
        let bound = [t.parse("s", ROWS), m::bind("p", "s", &[], &[]), m::bind("q", "s", &[], &[1])].concat();
        let turns: Vec<u8> = (0..4).flat_map(|_| [m::execute("p", 1), m::execute("q", 2)].concat()).collect();
        vec![Send([bound, turns, m::sync()].concat()), Ready]
    });
    exchange(&world, "a name twice", |t| {
        vec![
            Send(
                [
                    t.parse("s", ROWS),
                    m::bind("p", "s", &[], &[]),
                    m::bind("p", "s", &[], &[]),
                    m::execute("p", 1),
                    m::sync(),
                ]
                .concat(),
            ),
            Ready,
        ]
    });
    exchange(&world, "the unnamed one replaced", |t| {
        let bound = [t.parse("s", ROWS), m::bind("", "s", &[], &[]), m::execute("", 1)].concat();
        vec![Send([bound, m::bind("", "s", &[], &[]), m::execute("", 2), m::sync()].concat()), Ready]
    });
    exchange(&world, "a negative row limit", |t| {
        vec![Send([t.parse("", ROWS), m::bind("", "", &[], &[]), m::execute("", u32::MAX), m::sync()].concat()), Ready]
    });
}

#[test]
fn names_that_nobody_has_and_names_that_change() {
    let world = world("xnames");
    for (what, message) in [
        ("close a statement", m::close(b'S', "nobody")),
        ("close a portal", m::close(b'P', "nobody")),
        ("close the unnamed statement", m::close(b'S', "")),
        ("close the unnamed portal", m::close(b'P', "")),
        ("describe a statement", m::describe(b'S', "nobody")),
        ("describe a portal", m::describe(b'P', "nobody")),
        ("describe the unnamed statement", m::describe(b'S', "")),
        ("describe the unnamed portal", m::describe(b'P', "")),
        ("bind", m::bind("", "nobody", &[], &[])),
        ("bind the unnamed", m::bind("", "", &[], &[])),
        ("execute", m::execute("nobody", 0)),
        ("execute the unnamed", m::execute("", 0)),
        ("describe what is none", m::frame(b'D', b"Xnobody\0")),
        ("close what is none", m::frame(b'C', b"Xnobody\0")),
    ] {
        exchange(&world, what, |t| {
            vec![
                Send([message.clone(), m::sync()].concat()),
                Ready,
                Send([t.run(INSERT), message.clone(), t.run(ROWS), m::sync()].concat()),
                Ready,
            ]
        });
    }
    exchange(&world, "the unnamed statement parsed again between Bind and Execute", |t| {
        let again = [
            t.parse("", ROWS),
            m::bind("p", "", &[], &[]),
            t.parse("", "SELECT 'other' FROM {t} WHERE {w}"),
            m::execute("p", 2),
        ];
        let unnamed = [
            t.parse("", ROWS),
            m::bind("", "", &[], &[]),
            t.parse("", "SELECT 'other'"),
            m::describe(b'P', ""),
            m::execute("", 2),
        ];
        let third = [m::execute("p", 2), m::bind("", "", &[], &[]), m::execute("", 0), m::sync()];
        vec![
            Send([again.concat(), third.concat()].concat()),
            Ready,
            Send([unnamed.concat(), m::sync()].concat()),
            Ready,
        ]
    });
    exchange(&world, "the statement of a portal is closed", |t| {
        let closed = [
            t.parse("s", ROWS),
            m::bind("p", "s", &[], &[]),
            m::close(b'S', "s"),
            m::describe(b'P', "p"),
            m::execute("p", 2),
        ];
        vec![Send([closed.concat(), m::bind("", "s", &[], &[]), m::sync()].concat()), Ready]
    });
    exchange(&world, "a name that is taken", |t| {
        vec![
            Send([t.parse("s", ROWS), t.parse("s", INSERT), m::sync()].concat()),
            Ready,
            Send([m::bind("", "s", &[], &[]), m::execute("", 2), m::sync()].concat()),
            Ready,
        ]
    });
    exchange(&world, "a name closed and taken in one pipeline", |t| {
        let both = [t.parse("s", ROWS), m::close(b'S', "s"), t.parse("s", "SELECT count(*) FROM {t} WHERE {w}")];
        vec![Send([both.concat(), m::bind("", "s", &[], &[]), m::execute("", 0), m::sync()].concat()), Ready]
    });
}

#[test]
fn both_kinds_of_describe() {
    let world = world("xdescribe");
    for sql in [
        ROWS_BY,
        "SELECT k AS a, name::varchar(7), n::numeric(9, 2), NULL, 'x', '2026-01-02'::timestamptz(3) FROM {t} WHERE {p} ORDER BY k, id",
        "INSERT INTO {t} VALUES ($1, 101, 'x', 1) RETURNING *",
        "INSERT INTO {t} VALUES ($1, 101, 'x', 1)",
        "UPDATE {t} SET name = $2 WHERE k = $1 RETURNING name, n",
        "DELETE FROM {t} WHERE k = $1 AND id = $2",
        "SELECT count(*), avg(n), max(name) FROM {t} WHERE {p}",
        "WITH a AS (SELECT n FROM {t} WHERE {p}) SELECT sum(n) FROM a",
        "SELECT nothing FROM {t} WHERE {p}",
        "SHOW DateStyle",
        "BEGIN",
        "SET my.x = 'y'",
        "FETCH 1 FROM nobody",
        "",
    ] {
        exchange(&world, &format!("describe {sql}"), |t| {
            let parameters =
                sql.contains("{p}").then(five).into_iter().chain(sql.contains("$1").then(five)).collect::<Vec<_>>();
            let parameters = if sql.contains("$2") { vec![five(), five()] } else { parameters };
            let [bound, mixed] = [&[][..], &[0, 1]].map(|formats| m::bind("", "s", &parameters, formats));
            vec![
                Send([t.parse("s", sql), m::describe(b'S', "s"), m::sync()].concat()),
                Ready,
                Send(
                    [m::describe(b'S', "s"), bound.clone(), m::describe(b'P', ""), m::describe(b'P', ""), m::sync()]
                        .concat(),
                ),
                Ready,
                Send([mixed, m::describe(b'P', ""), m::sync()].concat()),
                Ready,
                Send([bound, m::execute("", 0), m::describe(b'P', ""), m::sync()].concat()),
                Ready,
            ]
        });
    }
}

#[test]
fn formats_are_each_columns_own() {
    let world = world("xformats");
    let columns = "SELECT k, name, n::int8, (n / 3)::numeric, n > 3, name::bytea, '2026-01-02'::date + n, NULL::int FROM {t} WHERE {p} ORDER BY k, id";
    for formats in [
        &[][..],
        &[0],
        &[1],
        &[0, 1, 0, 1, 0, 1, 0, 1],
        &[1, 0, 1, 0, 1, 0, 1, 0],
        &[0, 1],
        &[0, 0, 0, 0, 0, 0, 0, 2],
        &[7],
    ] {
        for (what, value) in [("text", five()), ("binary", Value::binary(5_i32.to_be_bytes())), ("NULL", Value::null())]
        {
            exchange(&world, &format!("{what} in, {formats:?} out"), |t| {
                let bound = [t.parse("", columns), m::bind("", "", std::slice::from_ref(&value), formats)];
                vec![Send([bound.concat(), m::describe(b'P', ""), m::execute("", 0), m::sync()].concat()), Ready]
            });
        }
    }
    let values = |values: &[Value]| m::bind("", "s", values, &[]);
    for (what, bind) in [
        ("a format that is none", m::bind("", "s", &[Value { format: 2, bytes: Some(b"5".to_vec()) }], &[])),
        ("of a portal with a name", m::bind("p", "s", &[Value { format: 2, bytes: Some(b"5".to_vec()) }], &[])),
        ("a text that is no number", m::bind("p", "s", &[Value::text("five")], &[])),
        ("cut short", m::frame(b'B', b"\0s\0\0\x01")),
        ("cut short, of nobody", m::frame(b'B', b"\0nobody\0\0\x01")),
    ] {
        exchange(&world, &format!("values: {what}"), |t| {
            vec![
                Send([t.parse("s", ROWS_BY), m::sync(), bind.clone(), m::execute("p", 0), m::sync()].concat()),
                Ready,
                Ready,
            ]
        });
    }
    for (what, bind) in [
        ("a text that is no number", values(&[Value::text("five"), Value::text("1")])),
        ("binary of another length", values(&[Value::binary([0, 0, 5]), Value::text("1")])),
        ("a format that is none", values(&[Value { format: 2, bytes: Some(b"5".to_vec()) }, Value::text("1")])),
        ("too few", values(&[five()])),
        ("too many", values(&[five(), five(), five()])),
        ("mixed", values(&[Value::binary(5_i32.to_be_bytes()), Value::text("1")])),
    ] {
        exchange(&world, &format!("parameters: {what}"), |t| {
            vec![
                Send(
                    [
                        m::parse("s", &t.sql("SELECT name FROM {t} WHERE k = $1 AND id = $2"), &[]),
                        m::sync(),
                        bind.clone(),
                        m::execute("", 0),
                        m::sync(),
                    ]
                    .concat(),
                ),
                Ready,
                Ready,
            ]
        });
    }
}

#[test]
fn statements_that_are_empty() {
    let world = world("xempty");
    for sql in ["", " ", ";", ";;", "-- a comment", "/* another */", "; ;"] {
        exchange(&world, &format!("{sql:?}"), |t| {
            let described =
                [m::parse("", sql, &[]), m::describe(b'S', ""), m::bind("", "", &[], &[]), m::describe(b'P', "")];
            vec![
                Send(m::query(sql)),
                Ready,
                Send([described.concat(), m::execute("", 0), m::execute("", 0), t.run(ROWS), m::sync()].concat()),
                Ready,
                Send([m::query("BEGIN"), m::query(sql), m::query("SELECT 1 / 0"), m::query(sql)].concat()),
                Ready,
                Ready,
                Ready,
                Ready,
                Send([m::parse("", sql, &[]), m::bind("", "", &[], &[]), m::execute("", 0), m::sync()].concat()),
                Ready,
            ]
        });
    }
}

#[test]
fn messages_that_are_none() {
    let world = world("xbroken");
    let target = &crate::record::TARGETS[2];
    for (what, bytes, closes) in [
        ("copy data", m::copy_data(b"x"), false),
        ("copy done", m::copy_done(), false),
        ("copy fail", m::copy_fail("x"), false),
        ("an unknown type", m::frame(b'y', b""), true),
        ("a password", m::password("x"), true),
        ("a Query without end", m::frame(b'Q', b"SELECT 1"), false),
        ("a Query with a rest", m::frame(b'Q', b"SELECT 1\0SELECT 2\0"), false),
        ("a Parse without types", m::frame(b'P', b"s\0SELECT 1\0"), false),
        ("a Bind cut short", m::frame(b'B', b"\0\0\0\x01"), false),
        ("an Execute cut short", m::frame(b'E', b"\0\0"), false),
        ("a Parse with a rest", m::frame(b'P', b"s\0SELECT 1\0\0\0\0"), false),
        ("an Execute with a rest", m::frame(b'E', b"\0\0\0\0\0\0"), false),
        ("a Describe with a rest", m::frame(b'D', b"Ss\0s"), false),
        (
            "a Bind with a rest",
            [m::parse("s", "SELECT 1", &[]), m::frame(b'B', b"\0s\0\0\0\0\0\0\0\0")].concat(),
            false,
        ),
        ("a Parse whose name is none", m::frame(b'P', b"s\xff\0SELECT 1\0\0\0"), false),
        ("a Bind whose portal is none", m::frame(b'B', b"p\xff\0nothing\0\0\0"), false),
        ("a Bind whose statement is none", m::frame(b'B', b"\0\xe4b\0\0\0"), false),
        ("a Close whose name is none", m::frame(b'C', b"Sab\xf0c\0"), false),
        ("a Query that is no text", m::frame(b'Q', b"SELECT '\xf0 123'\0"), false),
        ("a Query whose end is no text", m::frame(b'Q', b"SELECT '\xf0\x9f\0"), false),
        ("a Sync with a rest", m::frame(b'S', b"rest"), false),
        ("a Flush with a rest", m::frame(b'H', b"rest"), false),
    ] {
        let end: Vec<Step> = if closes {
            vec![Send(bytes), Closed]
        } else {
            vec![
                Send([bytes, m::sync(), m::query("SELECT 'end'")].concat()),
                Quiet,
                Quiet,
                Quiet,
                Quiet,
                Quiet,
                Quiet,
                Quiet,
            ]
        };
        about(&world, target, what, &end);
    }
}

/// What stands before bytes that cannot be read is answered before they are told.
#[test]
fn what_cannot_be_read_comes_behind_what_could() {
    let world = world("xbehind");
    let unread: [(&str, Vec<u8>); 9] = [
        ("a Parse without types", m::frame(b'P', b"s\0SELECT 1\0")),
        ("a Bind cut short", m::frame(b'B', b"\0\0\0\x01")),
        ("a Describe of what is none", m::frame(b'D', b"Xnobody\0")),
        ("an Execute cut short", m::frame(b'E', b"\0\0")),
        ("a Close cut short", m::frame(b'C', b"S")),
        ("a Flush with a rest", m::frame(b'H', b"rest")),
        ("a name of a statement that is no UTF-8", m::frame(b'P', b"\xff\0SELECT 1\0\0\0")),
        ("a name of a portal that is no UTF-8", m::frame(b'B', b"\xff\0s\0\0\0\0\0\0\0")),
        ("a name that is no UTF-8 described", m::frame(b'D', b"S\xe4\0")),
    ];
    for (what, bytes) in &unread {
        for (before, text) in [("a Parse", ROWS), ("a Parse that fails", "SELECT nothing FROM {t} WHERE {w}")] {
            exchange(&world, &format!("{what} behind {before}"), |t| {
                vec![
                    Send([t.parse("s", text), bytes.clone(), m::sync()].concat()),
                    Ready,
                    Send([m::describe(b'S', "s"), m::sync()].concat()),
                    Ready,
                ]
            });
        }
        exchange(&world, &format!("{what} behind a write"), |t| {
            vec![Send([t.run(INSERT), t.parse("s", ROWS), bytes.clone(), m::sync()].concat()), Ready]
        });
    }
    for (what, bytes) in [("an unknown type", m::frame(b'y', b"")), ("a password", m::password("x"))] {
        exchange(&world, &format!("{what} behind a Parse"), |t| {
            vec![Send([t.parse("s", ROWS), bytes.clone()].concat()), Closed]
        });
        exchange(&world, &format!("{what} behind rows"), |t| {
            vec![Send([t.run(ROWS), t.parse("s", ROWS), bytes.clone()].concat()), Closed]
        });
        exchange(&world, &format!("{what} behind an error"), |t| {
            vec![Send([t.run("SELECT nothing FROM {t} WHERE {w}"), t.run(ROWS), bytes.clone()].concat()), Closed]
        });
    }
    // Behind these Postgres says nothing, and takes back what it has not sent: an error is sent with all before it.
    for (what, bytes) in [
        ("a length that is too short", &b"Q\0\0\0\x03"[..]),
        ("a length below nothing", b"P\xff\xff\xff\xff"),
        ("a length beyond all messages", b"Q\x7f\xff\xff\xff"),
    ] {
        let failing = ["SELEC k FROM {t} WHERE {w}", "SELECT 1 / (n - n) FROM {t} WHERE {w} ORDER BY k, id", DUPLICATE];
        for sql in failing {
            exchange(&world, &format!("{what} behind {sql}"), |t| {
                vec![Send([t.run(sql), t.run(ROWS), bytes.to_vec()].concat()), Closed]
            });
            exchange(&world, &format!("{what} behind rows and {sql}"), |t| {
                vec![Send([t.run(ROWS), t.run(sql), bytes.to_vec()].concat()), Closed]
            });
        }
        exchange(&world, &format!("{what} behind a Parse that fails"), |t| {
            vec![Send([t.parse("", failing[0]), bytes.to_vec()].concat()), Closed]
        });
        // Over shards they are sent as they come.
        for t in &TARGETS[..2] {
            let rows = [t.run(ROWS), t.parse("s", ROWS), bytes.to_vec()].concat();
            about(&world, t, &format!("{what} behind rows"), &[Send(rows), Closed]);
        }
        exchange(&world, &format!("{what} behind a Flush"), |t| {
            vec![Send([t.run(ROWS), m::flush(), t.run(ROWS), bytes.to_vec()].concat()), Closed]
        });
        exchange(&world, &format!("{what} behind a Query"), |t| {
            vec![Send([t.query(ROWS), bytes.to_vec()].concat()), Closed]
        });
    }
}

/// `;` before a statement are nothing, also to what is known of its text afterwards.
#[test]
fn semicolons_before_a_statement_are_nothing() {
    let world = world("xsemicolons");
    let texts = [
        ROWS,
        "INSERT INTO {t} VALUES (5, 101, 'x', 1)",
        DUPLICATE,
        "UPDATE {t} SET n = n + 1000 WHERE {w}",
        "SELECT count(*), sum(n), 'behind' FROM {t} WHERE {w}",
        "SELECT nothing FROM {t} WHERE {w}",
        "SELEC 1",
        "SELECT 'a",
        "SET work_mem = '3MB'",
        "SHOW work_mem",
        "SELECT set_config('work_mem', '2MB', false)",
        "COPY plain (k, id) TO STDOUT",
        "PREPARE q AS SELECT k FROM {t} WHERE k = 5 AND id = 1",
        "DECLARE c CURSOR FOR SELECT 1",
        "VACUUM plain",
        "",
    ];
    for (at, text) in texts.iter().enumerate() {
        for before in [";", " ; /* ; */ ;\n-- ;\n  "] {
            let behind = format!("{before}{text}");
            let written = format!("UPDATE {{t}} SET n = id WHERE {{w}} AND {at} = {at}");
            exchange(&world, &format!("a Query of {behind:?}"), |t| {
                let queries = [t.query(&behind), t.query(text), m::query("SHOW work_mem")].concat();
                vec![
                    Send([queries, m::query("DEALLOCATE ALL"), t.query(&written)].concat()),
                    Ready,
                    Ready,
                    Ready,
                    Ready,
                    Ready,
                ]
            });
            exchange(&world, &format!("a Parse of {behind:?}"), |t| {
                let parsed =
                    [t.parse("", &behind), m::describe(b'S', ""), m::bind("", "", &[], &[]), m::execute("", 0)];
                let again = if text.starts_with("PREPARE") { Vec::new() } else { t.run(text) };
                let parsed = [parsed.concat(), m::sync(), again, m::sync(), t.query(&written)].concat();
                vec![Send(parsed), Ready, Ready, Ready]
            });
        }
    }
}

/// A name that is taken is told of a statement that is right, in a transaction that has not failed.
#[test]
fn a_name_that_is_taken_is_told_last() {
    let world = world("xtaken");
    for (what, text) in [
        ("a statement", ROWS),
        ("no statement", "SELEC k FROM {t} WHERE {w}"),
        ("no column", "SELECT nothing FROM {t} WHERE {w}"),
        ("no table", "SELECT * FROM nowhere"),
        ("several statements", "SELECT 1; SELECT 2"),
        ("a setting", "SET work_mem = '4MB'"),
        ("nothing", ""),
    ] {
        exchange(&world, &format!("{what} for a name that is taken"), |t| {
            let again = [t.parse("s", text), m::sync(), m::describe(b'S', "s"), m::sync()].concat();
            vec![Send([t.parse("s", ROWS), m::sync(), again].concat()), Ready, Ready, Ready]
        });
        exchange(&world, &format!("{what} for a name that is taken, in a pipeline"), |t| {
            let again = [t.parse("s", text), t.run(ROWS), m::sync(), t.run(ROWS), m::sync()].concat();
            vec![Send([t.run(INSERT), t.parse("s", ROWS), again].concat()), Ready, Ready]
        });
        for block in ["BEGIN", "BEGIN; SELECT 1 / 0"] {
            exchange(&world, &format!("{what} for a name that is taken, behind {block}"), |t| {
                vec![
                    Send([t.parse("s", ROWS), m::sync(), m::query(block)].concat()),
                    Ready,
                    Ready,
                    Send([t.parse("s", text), m::sync(), m::query("ROLLBACK")].concat()),
                    Ready,
                    Ready,
                ]
            });
        }
    }
}

/// What Postgres does, pgloom refuses, and in its place: behind what came before it, and with that undone.
#[test]
fn a_function_call_does_not_overtake_its_pipeline() {
    let world = world("xcall");
    let call = m::frame(b'F', &[0, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for target in &crate::record::TARGETS {
        let mut raw = world.through();
        raw.send(&[target.run(INSERT), target.run(ROWS), call.clone(), m::sync(), m::sync()].concat()).unwrap();
        let tags = |messages: &[crate::support::raw::Message]| {
            messages.iter().map(|message| char::from(message.tag)).filter(|tag| *tag != 'D').collect::<String>()
        };
        let answer = raw.read_to_ready().unwrap();
        if world.router.is_none() {
            return;
        }
        assert_eq!(tags(&answer), "12C12CEZ", "{}", target.name);
        let error = answer.iter().find(|message| message.tag == b'E').unwrap().report();
        assert_eq!(error.code(), "0A000");
        assert_eq!(
            [raw.read_to_ready().unwrap(), raw.read_to_ready().unwrap()].map(|answer| tags(&answer)),
            ["Z", "Z"]
        );
        assert_eq!(raw.value(&target.sql("SELECT count(*) FROM {t} WHERE id > 100")), "0", "{}", target.name);
        // Behind an error it is skipped, and in a block it fails the block.
        raw.send(&[target.run("SELECT 1 / 0"), call.clone(), m::sync()].concat()).unwrap();
        assert_eq!(tags(&raw.read_to_ready().unwrap()), "1EZ");
        raw.must("BEGIN");
        raw.send(&call).unwrap();
        assert_eq!(raw.read_to_ready().unwrap().last().unwrap().body, b"E");
        assert_eq!(raw.simple("SELECT 1").code(), "25P02");
        raw.must("ROLLBACK");
    }
}

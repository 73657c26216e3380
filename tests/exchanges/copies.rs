//! COPY by both protocols, and its failures from either side.

use crate::record::{Cancel, Closed, Quiet, Ready, Send, Step, Target, but_for_context, exchange, world};
use crate::support::raw::message as m;

const IN: &str = "COPY {t} FROM STDIN";

/// Three rows in the text format, and one more that is there already.
fn rows(target: &Target) -> (Vec<u8>, Vec<u8>) {
    let values = target.sql("{v}");
    let keys: Vec<&str> = values.split('(').skip(1).map(|row| row.split(',').next().unwrap()).collect();
    let row = |key: &str, id: i32| format!("{key}\t{id}\tcopied\t1\n").into_bytes();
    let good = keys.iter().zip(101..).flat_map(|(key, id)| row(key, id)).collect();
    (good, row(keys[2], 1))
}

/// The COPY by the simple and by the extended protocol; what follows behind its data.
fn both(target: &Target, sql: &str, data: &[Vec<u8>]) -> [Vec<Step>; 2] {
    let end = [m::sync(), target.query("SELECT count(*) FROM {t} WHERE {w}")].concat();
    let simple = [target.query(sql), data.concat(), target.query("SELECT count(*) FROM {t} WHERE {w}")].concat();
    // A Sync that is sent along with the Execute is swallowed by the COPY.
    let extended = [target.run(sql), m::sync(), data.concat(), end].concat();
    [vec![Send(simple), Ready, Ready], vec![Send(extended), Ready, Ready]]
}

#[test]
fn rows_that_come_in_and_fail_on_either_side() {
    let world = world("xcopyin");
    for by in [0, 1] {
        let way = ["simple", "extended"][by];
        let case = |what: &str, sql: &str, data: &dyn Fn(&Target) -> Vec<Vec<u8>>| {
            exchange(&world, &format!("{what}, {way}"), |t| both(t, sql, &data(t))[by].clone());
        };
        case("three rows", IN, &|t| vec![m::copy_data(&rows(t).0), m::copy_done()]);
        case("three rows byte by byte", IN, &|t| {
            let mut data: Vec<Vec<u8>> = rows(t).0.iter().map(|byte| m::copy_data(&[*byte])).collect();
            data.push(m::copy_done());
            data
        });
        case("no rows", IN, &|_| vec![m::copy_done()]);
        case("no line at the end", IN, &|t| vec![m::copy_data(rows(t).0.trim_ascii_end()), m::copy_done()]);
        case("an end of data in the text", IN, &|t| {
            vec![m::copy_data(&[&rows(t).0[..], b"\\.\n"].concat()), m::copy_done()]
        });
        case("Flush and Sync among the rows", IN, &|t| {
            vec![m::flush(), m::copy_data(&rows(t).0), m::sync(), m::copy_done()]
        });
        case("the client gives up", IN, &|t| vec![m::copy_data(&rows(t).0), m::copy_fail("no more of it")]);
        case("the client gives up at once", IN, &|_| vec![m::copy_fail("")]);
        case("a duplicate last", IN, &|t| vec![m::copy_data(&rows(t).0), m::copy_data(&rows(t).1), m::copy_done()]);
        case("a duplicate first", IN, &|t| vec![m::copy_data(&rows(t).1), m::copy_data(&rows(t).0), m::copy_done()]);
        case("a number that is none", IN, &|t| {
            vec![m::copy_data(&rows(t).0), m::copy_data(b"5\tx\tx\t1\n"), m::copy_done()]
        });
        case("a key that is none", IN, &|t| {
            vec![m::copy_data(&rows(t).0), m::copy_data(b"five\t1\tx\t1\n"), m::copy_done()]
        });
        case("a column too few", IN, &|t| vec![m::copy_data(&rows(t).0), m::copy_data(b"5\t104\tx\n"), m::copy_done()]);
        case("a column too many", IN, &|t| {
            vec![m::copy_data(&rows(t).0), m::copy_data(b"5\t104\tx\t1\tmore\n"), m::copy_done()]
        });
        case("a check", IN, &|t| vec![m::copy_data(&rows(t).0), m::copy_data(b"5\t104\tx\t-1\n"), m::copy_done()]);
        case("a null", IN, &|t| vec![m::copy_data(&rows(t).0), m::copy_data(b"5\t104\t\\N\t1\n"), m::copy_done()]);
        case("CSV with a heading", "COPY {t} (k, id, name, n) FROM STDIN (FORMAT csv, HEADER true)", &|t| {
            let text = String::from_utf8(rows(t).0).unwrap().replace('\t', ",");
            vec![m::copy_data(format!("k,id,name,n\n{text}").as_bytes()), m::copy_done()]
        });
        case("binary without its signature", "COPY {t} FROM STDIN BINARY", &|_| {
            vec![m::copy_data(b"nothing of the kind"), m::copy_done()]
        });
        case("no such column", "COPY {t} (k, nothing) FROM STDIN", &|_| vec![]);
        case("no such option", "COPY {t} FROM STDIN (FORMAT nothing)", &|_| vec![]);
    }
    exchange(&world, "in a block that fails and is undone", |t| {
        let bad = [t.query(IN), m::copy_data(&rows(t).1), m::copy_done()].concat();
        let script = [
            m::query("BEGIN"),
            m::query("SAVEPOINT a"),
            bad,
            t.query("SELECT count(*) FROM {t} WHERE {w}"),
            m::query("ROLLBACK TO a"),
        ];
        let good = [t.query(IN), m::copy_data(&rows(t).0), m::copy_done(), m::query("COMMIT")].concat();
        let mut steps = vec![Send([script.concat(), good].concat())];
        steps.extend((0..7).map(|_| Ready));
        steps
    });
    for (what, bytes) in [
        ("a Query", m::query("SELECT 1")),
        ("a Terminate", m::terminate()),
        ("an unknown type", m::frame(b'y', b"")),
        ("a Query without a length", vec![b'Q', 0, 0, 0, 2]),
        ("a row without a length", vec![b'd', 0, 0, 0, 3]),
        ("an end that is too long", vec![b'c', 0, 1, 0, 0]),
    ] {
        exchange(&world, &format!("{what} in the middle"), |t| {
            vec![Send([t.query(IN), m::copy_data(&rows(t).0), bytes.clone()].concat()), Closed]
        });
        exchange(&world, &format!("{what} in the middle of a line"), |t| {
            let begin = [t.run(IN), m::flush(), m::copy_data(b"5\t104\tx")].concat();
            vec![Send([begin, bytes.clone()].concat()), Closed]
        });
        exchange(&world, &format!("{what} in the place of rows, in a block"), |t| {
            vec![Send([m::query("BEGIN"), t.query(IN), bytes.clone()].concat()), Closed]
        });
    }
    but_for_context(&world, "a cancel shows with the next row", |t| {
        vec![
            Send([t.query(IN), m::copy_data(&rows(t).0)].concat()),
            Cancel,
            Send([m::copy_data(&rows(t).1), m::copy_done()].concat()),
            Ready,
        ]
    });
}

#[test]
fn rows_that_go_out() {
    let world = world("xcopyout");
    for sql in [
        "COPY (SELECT k, id, name FROM {t} WHERE {w} ORDER BY k, id) TO STDOUT",
        "COPY (SELECT k, id, name FROM {t} WHERE {w} ORDER BY k, id) TO STDOUT (FORMAT csv, HEADER true)",
        "COPY (SELECT k, id, name FROM {t} WHERE {w} ORDER BY k, id) TO STDOUT BINARY",
        "COPY (SELECT k FROM {t} WHERE {w} AND id < 0) TO STDOUT",
        "COPY (SELECT 1 / (n - n) FROM {t} WHERE {w}) TO STDOUT",
        "COPY (SELECT nothing FROM {t} WHERE {w}) TO STDOUT",
        "COPY (SELECT count(*), avg(n) FROM {t} WHERE {w}) TO STDOUT",
        "COPY (DELETE FROM {t} WHERE {w} AND id > 100 RETURNING k) TO STDOUT",
    ] {
        exchange(&world, sql, |t| {
            let extended = [
                t.parse("", sql),
                m::describe(b'S', ""),
                m::bind("", "", &[], &[]),
                m::describe(b'P', ""),
                m::execute("", 0),
                m::sync(),
            ];
            vec![
                Send(t.query(sql)),
                Ready,
                Send(extended.concat()),
                Ready,
                Send([t.run("SELECT 1"), t.run(sql), t.run("SELECT 2"), m::sync()].concat()),
                Ready,
            ]
        });
    }
    exchange(&world, "messages of a COPY that goes out", |t| {
        let sql = "COPY (SELECT k FROM {t} WHERE {w} ORDER BY k) TO STDOUT";
        vec![
            Send([t.query(sql), m::copy_data(b"x"), m::copy_done(), m::query("SELECT 1")].concat()),
            Ready,
            Ready,
            Quiet,
        ]
    });
}

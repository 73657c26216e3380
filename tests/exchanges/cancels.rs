//! Cancel requests at each moment of a session.

use crate::record::{Cancel, INSERT, Quiet, ROWS, Read, Ready, Send, exchange, world};
use crate::support::raw::message as m;

const SLOW: &str = "SELECT k, pg_sleep(20) FROM {t} WHERE {w} AND id = 1";
const SLOW_WRITE: &str = "UPDATE {t} SET n = n + (pg_sleep(20) IS NULL)::int WHERE {w} AND id < 3";

#[test]
fn a_cancel_ends_what_runs_and_nothing_else() {
    let world = world("xcancel");
    exchange(&world, "nothing runs", |t| vec![Cancel, Send(t.query(ROWS)), Ready]);
    exchange(&world, "nothing runs in a block", |t| {
        vec![
            Send(m::query("BEGIN")),
            Ready,
            Cancel,
            Send(t.query(INSERT)),
            Ready,
            Cancel,
            Send(m::query("COMMIT")),
            Ready,
        ]
    });
    exchange(&world, "a block has failed", |t| {
        vec![
            Send(m::query("BEGIN; SELECT 1 / 0")),
            Ready,
            Cancel,
            Send(t.query(ROWS)),
            Ready,
            Send(m::query("ROLLBACK")),
            Ready,
        ]
    });
    for (what, sql) in [("a read", SLOW), ("a write", SLOW_WRITE)] {
        exchange(&world, &format!("{what} runs"), |t| {
            vec![Send(t.query(sql)), Cancel, Ready, Send(t.query(ROWS)), Ready]
        });
        exchange(&world, &format!("{what} runs in a block"), |t| {
            vec![
                Send([m::query("BEGIN"), t.query(INSERT), m::query("SAVEPOINT a"), t.query(sql)].concat()),
                Ready,
                Ready,
                Ready,
                Cancel,
                Ready,
                Send(
                    [m::query("ROLLBACK TO a"), t.query("SELECT count(*) FROM {t} WHERE {w}"), m::query("COMMIT")]
                        .concat(),
                ),
                Ready,
                Ready,
                Ready,
            ]
        });
        exchange(&world, &format!("{what} runs in the middle of a Query"), |t| {
            vec![Send(m::query(&t.sql(&format!("{INSERT}; {sql}; SELECT 1")))), Cancel, Ready]
        });
        exchange(&world, &format!("{what} runs in the middle of a pipeline"), |t| {
            let pipeline = [t.run(INSERT), t.run(sql), t.run(ROWS), m::sync(), t.run("SELECT 2"), m::sync()];
            vec![Send(pipeline.concat()), Cancel, Ready, Ready]
        });
    }
    exchange(&world, "between Execute and Sync", |t| {
        vec![
            Send([t.run(INSERT), m::flush()].concat()),
            Read(3),
            Cancel,
            Send([t.run("SELECT 1"), m::sync()].concat()),
            Ready,
        ]
    });
    exchange(&world, "between Parse and Bind", |t| {
        vec![
            Send([t.parse("", ROWS), m::flush()].concat()),
            Read(1),
            Cancel,
            Send([m::bind("", "", &[], &[]), m::execute("", 0), m::sync()].concat()),
            Ready,
        ]
    });
    exchange(&world, "between Executes of a portal", |t| {
        vec![
            Send([t.parse("", ROWS), m::bind("p", "", &[], &[]), m::execute("p", 1), m::flush()].concat()),
            Read(4),
            Cancel,
            Send([m::execute("p", 0), m::sync()].concat()),
            Ready,
        ]
    });
    exchange(&world, "behind an error, before its Sync", |t| {
        vec![
            Send([t.run("SELECT 1 / (n - n) FROM {t} WHERE {w} ORDER BY k, id"), m::flush()].concat()),
            Read(3),
            Cancel,
            Send([t.run(ROWS), m::sync()].concat()),
            Ready,
            Quiet,
        ]
    });
    exchange(&world, "twice", |t| vec![Send(t.query(SLOW)), Cancel, Cancel, Ready, Send(t.query(ROWS)), Ready]);
    exchange(&world, "a COPY goes out", |t| {
        let sql = "COPY (SELECT k, pg_sleep(20) FROM {t} WHERE {w} AND id = 1 AND k = 5) TO STDOUT";
        vec![Send(t.query(sql)), Cancel, Ready, Send(t.query(ROWS)), Ready]
    });
}

//! Messages that have no place in a COPY FROM STDIN, or come in another order than drivers send them: answered as Postgres does, and
//! none of them reaches a server as it is.

#![allow(clippy::unwrap_used)]

mod support;

use support::Sharded;
use support::raw::{Raw, cancel, message as m};

/// The types of the messages up to `count` ReadyForQuery, or the end of the connection, with the codes of errors.
fn heard(raw: &mut Raw, count: usize) -> String {
    let mut heard = Vec::new();
    let mut ready = 0;
    while ready < count {
        let Ok(message) = raw.read() else {
            heard.push("gone".to_owned());
            break;
        };
        ready += usize::from(message.tag == b'Z');
        heard.push(match message.tag {
            b'E' => format!("E{}", message.report().code()),
            tag => char::from(tag).to_string(),
        });
    }
    heard.join(" ")
}

/// The same bytes to one Postgres and through the router; what both say.
fn both(world: &Sharded, copy: &str, then: &[u8], ready: usize) -> String {
    let say = |raw: &mut Raw| {
        raw.send(&m::query(copy)).unwrap();
        assert_eq!(raw.read().unwrap().tag, b'G', "{copy}");
        raw.send(then).unwrap();
        heard(raw, ready)
    };
    let (direct, routed) = (say(&mut world.db.shard(0)), say(&mut world.connect()));
    assert_eq!(routed, direct, "{copy}");
    routed
}

#[test]
fn a_statement_behind_rows_that_have_failed_is_the_next_one() {
    let world = Sharded::create("copysmuggle", "default_pool_size = 1");
    let mut other = world.connect();
    for table in ["plain", "items"] {
        let next = m::query("SELECT 17");
        let said = both(&world, &format!("COPY {table} FROM STDIN"), &[m::copy_data(b"x\ty\n"), next].concat(), 2);
        assert!(said.starts_with("E22P02 Z T D C Z"), "{said}");
        assert_eq!(other.value("SELECT 'mine'"), "mine");
    }
    // It is routed as any other: not run by the one server that copied.
    let mut raw = world.connect();
    raw.send(&m::query("COPY plain FROM STDIN")).unwrap();
    assert_eq!(raw.read().unwrap().tag, b'G');
    raw.send(&[m::copy_data(b"x\ty\n"), m::query("UPDATE items SET n = 7")].concat()).unwrap();
    assert_eq!(heard(&mut raw, 2), "E22P02 Z C Z");
    assert_eq!(other.value("SELECT count(*) FROM items WHERE n = 7"), "60");
    raw.must("UPDATE items SET n = 0");
}

#[test]
fn a_statement_in_the_middle_of_rows_ends_the_session_and_nothing_else() {
    let world = Sharded::create("copymiddle", "default_pool_size = 1");
    let mut other = world.connect();
    let messages = [m::query("INSERT INTO plain VALUES (99, 'x')"), m::parse("", "SELECT 1", &[]), m::frame(b'z', b"")];
    for _ in 0..3 {
        for message in &messages {
            for copy in ["COPY plain FROM STDIN", "COPY items FROM STDIN"] {
                let rows = m::copy_data(if copy.contains("plain") { b"98\tx\n" } else { b"998\t1\tx\n" });
                both(&world, copy, &[rows, message.clone()].concat(), 1);
                assert_eq!(other.value("SELECT 'mine'"), "mine");
            }
        }
    }
    assert_eq!(other.value("SELECT count(*) FROM plain WHERE id > 90"), "0");
    assert_eq!(other.value("SELECT count(*) FROM items WHERE id = 998"), "0");
    // To Postgres a Terminate in the middle is such a message, too.
    for copy in ["COPY plain FROM STDIN", "COPY items FROM STDIN"] {
        assert_eq!(both(&world, copy, &m::terminate(), 1), "E08P01 E08P01 gone");
        assert_eq!(other.value("SELECT count(*) FROM items"), "60");
    }
    // It was nobody's fault but the client's.
    let breakers = other.named("SHOW pgloom.breakers");
    assert!(!breakers.is_empty() && breakers.iter().all(|row| row["state"] == "closed"), "{breakers:?}");
}

#[test]
fn rows_may_follow_at_once_in_the_extended_protocol() {
    let world = Sharded::create("copypipe", "");
    let begin = |copy: &str| [m::parse("", copy, &[]), m::bind("", "", &[], &[]), m::execute("", 0)].concat();
    for (n, (copy, row)) in
        [("COPY plain FROM STDIN", "\tx\n"), ("COPY parts FROM STDIN", "\tx\n")].into_iter().enumerate()
    {
        let id = world.id(1, n);
        let mut raw = world.connect();
        let rows = m::copy_data(format!("{id}{row}").as_bytes());
        raw.must(&format!("DELETE FROM {} WHERE id = {id}", copy.split(' ').nth(1).unwrap()));
        raw.send(&[begin(copy), rows.clone(), m::copy_done(), m::sync()].concat()).unwrap();
        assert_eq!(heard(&mut raw, 1), "1 2 G C Z", "{copy}");
        // Who waits to be asked for rows is asked without a Flush.
        raw.must(&format!("DELETE FROM {} WHERE id = {id}", copy.split(' ').nth(1).unwrap()));
        raw.send(&begin(copy)).unwrap();
        let asked: Vec<u8> = (0..3).map(|_| raw.read().unwrap().tag).collect();
        assert_eq!(asked, b"12G", "{copy}");
        raw.send(&[rows, m::copy_done(), m::sync()].concat()).unwrap();
        assert_eq!(heard(&mut raw, 1), "C Z", "{copy}");
    }
}

/// Whoever counts the lines, the router or the shards: a COPY that is cancelled names the one that it has not read.
#[test]
fn a_cancelled_copy_says_how_far_it_has_come() {
    let world = Sharded::create("copycancel", "");
    for (table, rows) in [("items", "9001\t1\tx\n9002\t1\tx\n"), ("places", "c1\tx\nc2\tx\n")] {
        let mut raw = world.connect();
        raw.send(&m::query(&format!("COPY {table} FROM STDIN"))).unwrap();
        assert_eq!(raw.read().unwrap().tag, b'G');
        raw.send(&m::copy_data(rows.as_bytes())).unwrap();
        // The rows are there when the request is: it takes a connection of its own.
        std::thread::sleep(std::time::Duration::from_millis(300));
        cancel(world.router.port, raw.key.0, &raw.key.1);
        let message = raw.read().unwrap();
        let error = message.report();
        assert_eq!((error.code(), error.message()), ("57014", "canceling statement due to user request"), "{table}");
        assert_eq!(error.0[&'W'], format!("COPY {table}, line 3"));
        assert_eq!(heard(&mut raw, 1), "Z");
        assert_eq!(raw.value(&format!("SELECT count(*) FROM {table}")), if table == "items" { "60" } else { "1" });
    }
}

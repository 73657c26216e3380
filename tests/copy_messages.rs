//! Messages that have no place in a COPY FROM STDIN, or come in another order than drivers send them: answered as Postgres does, and
//! none of them reaches a server as it is.

#![allow(clippy::unwrap_used)]

mod support;

use support::raw::{Raw, cancel, message as m};
use support::{Sharded, eventually};

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

/// A server that does not know yet how lines end has not read the first one, where that ends in a carriage return alone.
#[test]
fn the_first_wrong_line_is_told_whatever_lines_end_in() {
    let world = Sharded::create("copyreturns", "");
    let (mut direct, mut routed) = (world.db.shard(0), world.connect());
    // What is no key goes to any shard, and what ends a line in another way than the first is found here.
    for end in ["\r", "\n", "\r\n"] {
        for (copy, between) in [("COPY items FROM STDIN (FORMAT csv)", ","), ("COPY items FROM STDIN", "\t")] {
            let other = if end == "\r" { "\n" } else { "\r" };
            let row = |id: &str| format!("{id}{between}1{between}a");
            let [first, second] = [world.id(1, 0), world.id(2, 0)].map(|id| row(&id.to_string()));
            for rows in [
                format!("{}{end}{first}{other}{second}{end}", row("x")),
                format!("{first}{end}{}{end}{second}{other}{first}", row("x")),
                format!("{first}{end}{second}{end}{first}{other}{second}", first = row("1001")),
            ] {
                let mut told = [&mut direct, &mut routed].map(|raw| {
                    raw.send(&[m::query(copy), m::copy_data(rows.as_bytes()), m::copy_done()].concat()).unwrap();
                    let mut errors = Vec::new();
                    loop {
                        let message = raw.read().unwrap();
                        match message.tag {
                            b'E' => errors.push(message.report().0),
                            b'Z' => break errors,
                            _ => {}
                        }
                    }
                });
                let [direct, routed] = told.each_mut().map(|errors| {
                    assert_eq!(errors.len(), 1, "{copy} {rows:?}");
                    ['C', 'M', 'W'].map(|field| errors[0].remove(&field))
                });
                assert_eq!(routed, direct, "{copy} {rows:?}");
            }
        }
    }
}

#[test]
fn options_of_copy_to_are_refused_in_the_words_of_postgres() {
    let world = Sharded::create("copyforce", "");
    let (mut direct, mut routed) = (world.db.shard(0), world.connect());
    for options in
        ["(FORMAT csv, FORCE_QUOTE *)", "(FORMAT csv, FORCE_QUOTE (name))", "(FORCE_QUOTE *)", "CSV FORCE QUOTE *"]
    {
        let sql = format!("COPY items FROM STDIN {options}");
        let [direct, routed] = [&mut direct, &mut routed].map(|raw| raw.simple(&sql).error.unwrap());
        let text = |error: &support::raw::Report| (error.code().to_owned(), error.message().to_owned());
        assert_eq!(text(&routed), text(&direct), "{sql}");
        assert!(direct.message().contains("force quote"), "{direct}");
    }
}

/// Of a COPY whose client is gone, or one of whose shards, nothing is left, and its connections are free for others.
#[test]
fn a_copy_that_loses_its_client_or_a_shard_leaves_nothing() {
    let world = Sharded::create("copylost", "default_pool_size = 1");
    let mut other = world.connect();
    let count = |other: &mut Raw| {
        ["items", "places", "plain"].map(|table| other.value(&format!("SELECT count(*) FROM {table}")))
    };
    let before = count(&mut other);
    let rows: String = (0..5000).map(|n| format!("{}\t1\tx\n", 10_000 + n)).collect();
    let places: String = (0..5000).map(|n| format!("lost{n}\tx\n")).collect();
    let plain: String = (0..5000).map(|n| format!("{}\tx\n", 10_000 + n)).collect();
    let copying = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'COPY % FROM STDIN' AND state <> 'idle' \
                   AND datname = current_database() AND pid <> pg_backend_pid()";
    let clear = || {
        eventually(20, "nobody copies", || (0..4).all(|shard| world.db.shard(shard).value(copying) == "0"));
    };
    for (table, rows) in [("items", &rows), ("places", &places), ("plain", &plain)] {
        for block in [false, true] {
            let mut raw = world.connect();
            if block {
                raw.must("BEGIN");
            }
            raw.send(&m::query(&format!("COPY {table} FROM STDIN"))).unwrap();
            assert_eq!(raw.read().unwrap().tag, b'G');
            // In the middle of a line, and of a message.
            let sent = m::copy_data(&rows.as_bytes()[..rows.len() - 4]);
            raw.send(&[&sent[..], &sent[..sent.len() / 2]].concat()).unwrap();
            drop(raw);
            clear();
            assert_eq!(count(&mut other), before, "{table}");
        }
    }
    for (table, rows, shards) in [("items", &rows, 0..4), ("places", &places, 1..3), ("plain", &plain, 0..1)] {
        for shard in shards {
            let mut raw = world.connect();
            raw.send(&m::query(&format!("COPY {table} FROM STDIN"))).unwrap();
            assert_eq!(raw.read().unwrap().tag, b'G');
            raw.send(&m::copy_data(rows.as_bytes())).unwrap();
            let end = copying.replace("count(*)", "coalesce(bool_or(pg_terminate_backend(pid)), false)");
            eventually(20, "it copies", || world.db.shard(shard).value(&end) == "t");
            // More rows and the end may come behind it.
            raw.send(&[m::copy_data(rows.as_bytes()), m::copy_done()].concat()).unwrap();
            let said = raw.read_to_ready().unwrap();
            let errors: Vec<_> = said.iter().filter(|message| message.tag == b'E').collect();
            assert_eq!(errors.len(), 1, "{table}, {shard}");
            let code = errors[0].report().code().to_owned();
            assert!(["57P01", "08006", "57P02"].contains(&&*code), "{table}, {shard}: {code}");
            assert!(said.iter().all(|message| message.tag != b'C'), "{table}, {shard}");
            assert_eq!(raw.value("SELECT 1"), "1");
            clear();
            assert_eq!(count(&mut other), before, "{table}, {shard}");
        }
    }
}

//! Clients that mean harm: half messages, floods, enormous statements, counts and texts that are none. They are answered as Postgres
//! answers them, in bounded memory, and their neighbours notice nothing.

#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use support::Sharded;
use support::raw::{Raw, Value, message as m};
use support::script::Step::{Ready, Send};
use support::script::{Pair, Placed, batch};

/// What such clients may add to the router's memory, in KiB, beside the message itself.
const FLAT: u64 = 24 * 1024;

/// A figure of /proc/PID/status, in KiB.
fn memory(world: &Sharded, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", world.router.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn metric(world: &Sharded, name: &str) -> u64 {
    let text = world.router.http("/metrics").1;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name}")).parse().unwrap()
}

/// A neighbour's session goes on as if nothing happened.
#[track_caller]
fn others_live(world: &Sharded, neighbour: &mut Raw) {
    assert_eq!(neighbour.value("SELECT count(*) FROM items"), "60");
    assert_eq!(world.connect().value("SELECT body FROM plain"), "one");
}

/// At each place where a client can stop: before its login it is let go in time, behind it nobody waits for it.
#[test]
fn who_stops_in_the_middle_of_a_message_holds_nobody_up() {
    let world = Sharded::create("slowloris", "client_login_timeout = \"2s\"");
    let mut neighbour = world.connect();
    let startup = m::startup(196_608, &[("user", "postgres"), ("database", &world.db.name)]);
    let ssl = [0, 0, 0, 8, 4, 210, 22, 47];
    let early: [&[u8]; 6] = [b"", &startup[..3], &startup[..20], &ssl[..7], &ssl, b"\x16\x03\x01\x02\x00\x01"];
    let strangers: Vec<Raw> = early
        .iter()
        .map(|bytes| {
            let mut raw = Raw::open(world.router.port).unwrap();
            raw.send(bytes).unwrap();
            raw
        })
        .collect();
    let id = world.id(1, 0).to_string();
    let sql = "SELECT n FROM items WHERE id = $1";
    let update = "UPDATE items SET name = $2 WHERE id = $1";
    let query = m::query("SELECT 1");
    let whole = [m::parse("", sql, &[]), m::bind("", "", &[Value::text(&id)], &[]), m::execute("", 0)].concat();
    let late: Vec<Vec<u8>> = vec![
        b"Q".to_vec(),
        query[..3].to_vec(),
        query[..7].to_vec(),
        // One that says that it is long.
        [&b"Q"[..], &[0x3f, 0, 0, 0], b"SELECT n FROM items"].concat(),
        [&b"P"[..], &[0x3f, 0, 0, 0], b"\0SELECT n FROM items"].concat(),
        [&b"d"[..], &[0x3f, 0, 0, 0], b"1\t2\n"].concat(),
        // Whole messages without their end.
        whole[..whole.len() - 4].to_vec(),
        [m::parse("", update, &[]), m::bind("", "", &[Value::text(&id)], &[])[..9].to_vec()].concat(),
    ];
    let clients: Vec<Raw> = late
        .iter()
        .map(|bytes| {
            let mut raw = world.connect();
            raw.send(bytes).unwrap();
            raw
        })
        .collect();
    for _ in 0..3 {
        others_live(&world, &mut neighbour);
        assert_eq!(neighbour.value(&format!("SELECT n FROM items WHERE id = {id}")), "0");
    }
    for (mut raw, said) in strangers.into_iter().zip(early) {
        raw.set_patience(Duration::from_secs(30));
        // An answer to a request for encryption, perhaps an error; then the end.
        if said == &ssl[..] {
            assert_eq!(raw.read_byte().unwrap(), b'N');
        }
        while let Ok(message) = raw.read() {
            assert_eq!(message.tag, b'E', "{said:?}: {message:?}");
        }
    }
    // Who goes on with what he began is answered.
    let mut clients = clients;
    clients[2].send(&query[7..]).unwrap();
    let tags: String = clients[2].read_to_ready().unwrap().iter().map(|message| char::from(message.tag)).collect();
    assert_eq!(tags, "TDCZ");
    others_live(&world, &mut neighbour);
}

#[test]
fn floods_of_small_messages_are_answered_in_bounded_memory() {
    let world = Sharded::create("floods", "default_pool_size = 2");
    let mut neighbour = world.connect();
    others_live(&world, &mut neighbour);
    let before = memory(&world, "VmRSS:");
    let parse = m::parse("", "SELECT n FROM items WHERE id = $1", &[]);
    let named = |at: usize| m::parse(&format!("s{at}"), "SELECT n FROM items WHERE id = $1", &[]);
    let close = |at: usize| m::close(b'S', &format!("s{at}"));
    let closed: Vec<u8> = (0..20_000).flat_map(|at| [named(at), close(at)].concat()).collect();
    for (name, bytes, ready, others) in [
        ("Sync", m::sync().repeat(100_000), 100_000, 0),
        ("Flush", [m::flush().repeat(200_000), m::sync()].concat(), 1, 0),
        ("Parse", [parse.repeat(20_000), m::sync()].concat(), 1, 20_000),
        ("Parse and Flush", [[parse.clone(), m::flush()].concat().repeat(5_000), m::sync()].concat(), 1, 5_000),
        ("Parse and Sync", [parse.clone(), m::sync()].concat().repeat(5_000), 5_000, 5_000),
        ("Parse and Close", [closed, m::sync()].concat(), 1, 40_000),
        ("empty queries", m::query("").repeat(20_000), 20_000, 20_000),
        ("Close of what is not there", [m::close(b'P', "x").repeat(50_000), m::sync()].concat(), 1, 50_000),
    ] {
        let mut raw = world.connect();
        let mut reader = raw.second().unwrap();
        std::thread::scope(|scope| {
            let writer = scope.spawn(move || raw.send(&bytes).map(|()| raw));
            let (mut readies, mut answers) = (0, 0);
            while readies < ready {
                let message = reader.read().unwrap_or_else(|e| panic!("{name}: {e}"));
                match message.tag {
                    b'Z' => readies += 1,
                    b'E' => panic!("{name}: {}", message.report()),
                    _ => answers += 1,
                }
            }
            assert_eq!(answers, others, "{name}");
            let mut raw = writer.join().unwrap().unwrap();
            assert_eq!(raw.value("SELECT count(*) FROM items"), "60", "{name}");
        });
        others_live(&world, &mut neighbour);
        let grown = memory(&world, "VmRSS:").saturating_sub(before);
        assert!(grown < FLAT, "{grown} KiB more behind {name}");
    }
}

/// A client that asks again and again how a portal over shards answers, and reads nothing: 7 bytes for 12 kB each.
#[test]
fn descriptions_that_nobody_reads_wait_for_their_reader() {
    let world = Sharded::create("descriptions", "default_pool_size = 2");
    let mut neighbour = world.connect();
    others_live(&world, &mut neighbour);
    let before = memory(&world, "VmRSS:");
    let columns: Vec<String> = (0..400).map(|at| format!("n AS column_{at}")).collect();
    let bound = [
        m::parse("", &format!("SELECT {} FROM items ORDER BY 1", columns.join(", ")), &[]),
        m::bind("p", "", &[], &[]),
    ];
    const ASKED: usize = 20_000;
    let mut raw = world.connect();
    let mut reader = raw.second().unwrap();
    std::thread::scope(|scope| {
        let bytes = [bound.concat(), m::describe(b'P', "p").repeat(ASKED), m::sync()].concat();
        let writer = scope.spawn(move || raw.send(&bytes).map(|()| raw));
        std::thread::sleep(Duration::from_secs(2));
        others_live(&world, &mut neighbour);
        let grown = memory(&world, "VmRSS:").saturating_sub(before);
        assert!(grown < FLAT, "{grown} KiB more for what nobody reads");
        let mut described = 0;
        loop {
            let message = reader.read().unwrap();
            match message.tag {
                b'T' => described += 1,
                b'Z' => break,
                _ => assert!(matches!(message.tag, b'1' | b'2'), "{message:?}"),
            }
        }
        assert_eq!(described, ASKED);
        assert_eq!(writer.join().unwrap().unwrap().value("SELECT count(*) FROM items"), "60");
    });
}

/// What a session has set before is kept for nobody.
#[test]
fn values_that_were_set_are_not_kept() {
    let world = Sharded::create("values", "default_pool_size = 2");
    let mut raw = world.connect();
    others_live(&world, &mut raw);
    let set = |how: &str, at: usize| format!("SET {how} app.long = '{}'", at.to_string().repeat(1 << 18));
    raw.must(&set("", 1));
    let before = memory(&world, "VmRSS:");
    (100..250).for_each(|at| drop(raw.must(&set("SESSION", at))));
    raw.must("BEGIN");
    (100..250).for_each(|at| drop(raw.must(&set("LOCAL", at))));
    assert_eq!(raw.value("SELECT left(current_setting('app.long'), 3)"), "249");
    let grown = memory(&world, "VmRSS:").saturating_sub(before);
    assert!(grown < 2 * FLAT, "{grown} KiB more");
    raw.must("COMMIT");
    assert_eq!(raw.value("SELECT left(current_setting('app.long'), 3)"), "249");
}

/// A hundred megabytes of text: answered, in memory in proportion to the message.
#[test]
fn enormous_statements_are_answered_in_bounded_memory() {
    let world = Sharded::create("enormous", "");
    let mut neighbour = world.connect();
    others_live(&world, &mut neighbour);
    let id = world.id(2, 0);
    let filler = "x".repeat(100 << 20);
    let statements = [
        ("a comment of 100 MiB", format!("SELECT n FROM items WHERE id = {id} /* {filler} */")),
        ("a string of 100 MiB", format!("SELECT n FROM items WHERE id = {id} AND name <> '{filler}'")),
    ];
    for (name, sql) in statements {
        let message = (sql.len() / 1024) as u64;
        let extended = [m::parse("", &sql, &[]), m::bind("", "", &[], &[]), m::execute("", 0), m::sync()].concat();
        for (protocol, bytes) in [("simple", m::query(&sql)), ("extended", extended)] {
            let mut raw = world.connect();
            raw.set_patience(Duration::from_secs(170));
            let reply = raw.exchange(&bytes, None);
            let cell = reply.answers.first().and_then(|answer| answer.rows.first()).and_then(|row| row[0].clone());
            assert_eq!(cell.as_deref(), Some(&b"0"[..]), "{name}, {protocol}: {:?}", reply.error);
            // The message, its copies on their way, and what an allocator keeps of both.
            let most = memory(&world, "VmHWM:");
            println!("{name}, {protocol}: {message} KiB, peak {most} KiB");
            assert!(most < 768 * 1024, "{name}, {protocol}: {most} KiB at most");
        }
        others_live(&world, &mut neighbour);
    }
}

/// Nothing is taken from the pool for a message that is not there yet.
#[test]
fn who_stops_in_the_middle_of_a_bind_holds_no_server() {
    let general = "default_pool_size = 1\nquery_wait_timeout = \"5s\"\nidle_transaction_timeout = \"2s\"";
    let world = Sharded::create("bindstall", general);
    let id = world.id(1, 0);
    let update = "UPDATE items SET name = $2 WHERE id = $1";
    let bind = |bytes: usize| m::bind("", "", &[Value::text(&id.to_string()), Value::text(&"x".repeat(bytes))], &[]);
    let mut stopped = world.connect();
    stopped.send(&[&m::parse("", update, &[])[..], &bind(3 << 20)[..2 << 20]].concat()).unwrap();
    let mut neighbour = world.connect();
    for _ in 0..20 {
        assert_eq!(neighbour.value(&format!("SELECT count(*) FROM items WHERE id = {id}")), "1");
    }
    // What is too large to be kept holds one, and not for ever.
    let mut larger = world.connect();
    larger.send(&[&m::parse("", update, &[])[..], &bind(20 << 20)[..10 << 20]].concat()).unwrap();
    for _ in 0..20 {
        assert_eq!(neighbour.value(&format!("SELECT count(*) FROM items WHERE id = {id}")), "1");
        std::thread::sleep(Duration::from_millis(50));
    }
    larger.set_patience(Duration::from_secs(20));
    let mut told = Vec::new();
    while let Ok(message) = larger.read() {
        told.extend((message.tag == b'E').then(|| message.report().code().to_owned()));
    }
    assert!(told.iter().all(|code| code == "08006" || code == "25P03"), "{told:?}");
}

/// A long list, which the router reads and answers by itself: no server takes time for it.
fn long_list() -> String {
    let numbers: Vec<String> = (0..400_000).map(|number: u32| number.to_string()).collect();
    format!("EXPLAIN (ROUTE) SELECT n FROM items WHERE id IN ({})", numbers.join(","))
}

/// Others are served while a statement of megabytes is read, and what stands behind it in a pipeline waits for it.
#[test]
fn a_large_statement_keeps_nobody_waiting() {
    let world = Sharded::create("aside", "");
    let mut neighbour = world.connect();
    let id = world.id(1, 0);
    let read = format!("SELECT n FROM items WHERE id = {id}");
    let before = neighbour.value(&read);
    let list = long_list();
    let extended = [m::parse("", &list, &[]), m::bind("", "", &[], &[]), m::execute("", 0), m::sync()].concat();
    for (protocol, bytes) in [("simple", m::query(&list)), ("extended", extended)] {
        let mut raw = world.connect();
        raw.set_patience(Duration::from_secs(170));
        let mut reader = raw.second().unwrap();
        reader.set_patience(Duration::from_secs(170));
        raw.send(&[bytes, m::query("SELECT 'behind it'")].concat()).unwrap();
        let answer = std::thread::spawn(move || {
            let first = reader.read_to_ready().unwrap();
            (first, reader.read_to_ready().unwrap())
        });
        let mut reads = 0;
        while !answer.is_finished() {
            assert_eq!(neighbour.value(&read), before);
            reads += 1;
        }
        let (first, second) = answer.join().unwrap();
        assert!(first.iter().any(|message| message.tag == b'D') && first.iter().all(|message| message.tag != b'E'));
        let row = second.iter().find(|message| message.tag == b'D').unwrap();
        assert_eq!(row.cells(), [Some(b"behind it".to_vec())]);
        // One or two, where they wait for it.
        println!("{protocol}: {reads} reads beside it");
        assert!(reads >= 30, "{protocol}: {reads} reads while a large statement was read");
    }
}

/// Who has sent it can take it back, and it has its time like any other.
#[test]
fn a_large_statement_that_is_read_can_be_stopped() {
    let world = Sharded::create("asidestop", "");
    let mut raw = world.connect();
    raw.set_patience(Duration::from_secs(170));
    let list = long_list();
    let (pid, secret) = raw.key.clone();
    let port = world.router.port;
    let sent = raw.second().unwrap();
    let mut reader = sent;
    reader.set_patience(Duration::from_secs(170));
    raw.send(&m::query(&list)).unwrap();
    let answer = std::thread::spawn(move || reader.read_to_ready().unwrap());
    while !answer.is_finished() {
        support::raw::cancel(port, pid, &secret);
        std::thread::sleep(Duration::from_millis(20));
    }
    let answer = answer.join().unwrap();
    let error = answer.iter().find(|message| message.tag == b'E').expect("it goes on").report();
    assert_eq!((error.code(), error.message()), ("57014", "canceling statement due to user request"));
    // Another text: that one may have been read to its end.
    let list = list.replacen(" n ", " id ", 1);
    raw.must("SET pgloom.query_timeout = '20ms'");
    let error = raw.simple(&list).error.expect("it has more time");
    assert_eq!((error.code(), error.message()), ("57014", "canceling statement due to statement timeout"));
    raw.must("RESET pgloom.query_timeout");
    assert_eq!(raw.value("SELECT body FROM plain"), "one");
}

/// The tree of a statement is memory like any other.
#[test]
fn the_tree_of_a_large_statement_counts_in_memory_limit() {
    let world = Sharded::create("tree", "memory_limit = \"64MiB\"");
    let mut raw = world.connect();
    raw.set_patience(Duration::from_secs(170));
    let numbers = |count: usize| format!("SELECT n FROM items WHERE id IN ({})", vec!["1"; count].join(","));
    let error = raw.simple(&numbers(2_000_000)).error.expect("it is read");
    assert_eq!(error.code(), "53200");
    let most = memory(&world, "VmHWM:");
    assert!(most < 512 * 1024, "{most} KiB at most");
    assert!(raw.simple(&numbers(50_000)).error.is_none());
}

#[test]
fn a_flood_of_statements_does_not_grow_the_plan_cache() {
    const LIMIT: u64 = 4 << 20;
    let world = Sharded::create("cacheflood", "plan_cache_size = \"4MiB\"");
    let mut neighbour = world.connect();
    let mut raw = world.connect();
    others_live(&world, &mut neighbour);
    let before = memory(&world, "VmRSS:");
    let columns = vec!["n"; 4_000].join(", ");
    for at in 0..400 {
        // Other names, other guards, other parameters; long and short.
        raw.must(&format!("SELECT n AS a{at} FROM items WHERE id = 1 LIMIT {at}"));
        raw.simple(&format!("SELECT {columns}, {at} AS b{at} FROM items WHERE id = 1"));
        raw.simple(&format!("SELECT nothing{at} FROM items"));
        let parsed = raw.exchange(
            &[m::parse("", &format!("SELECT $1::int + {at}, $2::text AS c{at}"), &[]), m::sync()].concat(),
            None,
        );
        assert_eq!(parsed.code(), "");
        if at % 50 == 0 {
            assert!(metric(&world, "pgloom_plan_cache_bytes") <= LIMIT);
            assert_eq!(neighbour.value("SELECT count(*) FROM items"), "60");
        }
    }
    assert!(metric(&world, "pgloom_plan_cache_bytes") <= LIMIT);
    // Not only by its own account; what an allocator keeps for each thread comes on top.
    let grown = memory(&world, "VmRSS:").saturating_sub(before);
    assert!(grown < FLAT + 8 * LIMIT / 1024, "{grown} KiB more");
}

/// Each of them behind the same statement on both sides: the same error, message by message.
#[test]
fn counts_and_types_that_do_not_fit_are_refused() {
    let schema = "CREATE TABLE things (id int PRIMARY KEY, n int, name text)";
    let pair = Pair::create("misfits", schema, &[("things", Placed::By("id"))], "");
    pair.fill(&["INSERT INTO things VALUES (1, 1, 'a'), (2, 2, 'b'), (3, 3, 'c')"]);
    let sql = "SELECT n FROM things WHERE id = $1 AND n = $2";
    let number = |n: i32| [&4i32.to_be_bytes()[..], &n.to_be_bytes()].concat();
    let text = |text: &str| [&(text.len() as i32).to_be_bytes()[..], text.as_bytes()].concat();
    let short = |n: i16| n.to_be_bytes().to_vec();
    // Formats, number of values, values, formats of results; behind the two names.
    let bind = |parts: &[Vec<u8>]| m::frame(b'B', &[vec![0, 0], parts.concat()].concat());
    let (one, two) = (text("1"), text("1"));
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("too few values", bind(&[short(0), short(1), one.clone(), short(0)])),
        ("too many values", bind(&[short(0), short(3), one.clone(), two.clone(), two.clone(), short(0)])),
        ("no values", bind(&[short(0), short(0), short(0)])),
        (
            "three formats",
            bind(&[short(3), short(0), short(0), short(0), short(2), one.clone(), two.clone(), short(0)]),
        ),
        ("a format that is none", bind(&[short(1), short(7), short(2), one.clone(), two.clone(), short(0)])),
        ("a negative format", bind(&[short(1), short(-1), short(2), one.clone(), two.clone(), short(0)])),
        (
            "too many formats of results",
            bind(&[short(0), short(2), one.clone(), two.clone(), short(3), short(0), short(0), short(0)]),
        ),
        ("a format of results that is none", bind(&[short(0), short(2), one.clone(), two.clone(), short(1), short(9)])),
        (
            "binary of another width",
            bind(&[short(1), short(1), short(2), [vec![0, 0, 0, 3], vec![1, 2, 3]].concat(), number(1), short(0)]),
        ),
        ("binary of no width", bind(&[short(1), short(1), short(2), vec![0, 0, 0, 0], number(1), short(0)])),
        ("text that is no number", bind(&[short(0), short(2), text("x"), two.clone(), short(0)])),
        ("text out of range", bind(&[short(0), short(2), text("99999999999"), two.clone(), short(0)])),
        ("a zero byte", bind(&[short(0), short(2), text("1\0"), two.clone(), short(0)])),
        ("text that is not UTF-8", bind(&[short(0), short(2), vec![0, 0, 0, 2, 0xc3, 0x28], two.clone(), short(0)])),
        ("a length beyond the end", bind(&[short(0), short(2), vec![0, 0, 1, 0], two.clone(), short(0)])),
        ("a negative length", bind(&[short(0), short(2), vec![0xff, 0xff, 0xff, 0xfe], two.clone(), short(0)])),
        ("all is well", bind(&[short(2), short(0), short(1), short(2), one.clone(), number(1), short(1), short(1)])),
    ];
    let after = m::query("SELECT n FROM things WHERE id = 2");
    // What Postgres says of these in other words, under the same code.
    for bind in [bind(&[short(0), short(-1)]), bind(&[short(0), short(2), one.clone(), two.clone(), short(0), vec![0]])]
    {
        let mut raw = pair.through();
        let reply = raw.exchange(&[m::parse("", sql, &[]), bind, m::execute("", 0), m::sync()].concat(), None);
        assert_eq!((reply.code(), reply.status), ("08P01", b'I'));
        assert_eq!(raw.value("SELECT n FROM things WHERE id = 2"), "2");
    }
    for (name, bind) in cases {
        let messages = [m::parse("", sql, &[]), bind, m::execute("", 0), m::sync()];
        pair.same(name, &[batch(&messages), Ready, Send(after.clone()), Ready]);
    }
    for (name, types) in [("an unknown type", &[999_999u32][..]), ("void", &[2278]), ("a type too many", &[23, 23, 23])]
    {
        let messages = [m::parse("", sql, types), m::sync()];
        pair.same(name, &[batch(&messages), Ready, Send(after.clone()), Ready]);
    }
    for (name, sql) in
        [("parameter 0", "SELECT $0"), ("parameter 65,536", "SELECT $65536"), ("a huge one", "SELECT $99999999999")]
    {
        pair.same(name, &[batch(&[m::parse("", sql, &[]), m::sync()]), Ready, Send(after.clone()), Ready]);
    }
}

/// Zero bytes, bytes that are no UTF-8, other encodings: refused, also where the key is one.
#[test]
fn texts_that_are_none_are_refused() {
    let schema = "CREATE TABLE cities (name text PRIMARY KEY, country text)";
    let pair = Pair::with_key_type("texts", schema, ("cities", "name"), "text");
    pair.fill(&["INSERT INTO cities VALUES ('Köln', 'DE'), ('Paris', 'FR')"]);
    let after = m::query("SELECT country FROM cities WHERE name = 'Köln'");
    let latin = b"K\xf6ln";
    let raw_query = |bytes: &[u8]| m::frame(b'Q', &[bytes, b"\0"].concat());
    for (name, message) in [
        ("a key in Latin 1", raw_query(&[b"SELECT country FROM cities WHERE name = '", &latin[..], b"'"].concat())),
        ("a name in Latin 1", raw_query(b"SELECT country AS \"\xe9\" FROM cities")),
        ("a comment in Latin 1", raw_query(b"SELECT country FROM cities WHERE name = 'Paris' -- \xe9")),
        ("half a character", raw_query(b"SELECT country FROM cities WHERE name = '\xc3'")),
        ("half of a pair", raw_query(b"SELECT country FROM cities WHERE name = '\xed\xa0\x80'")),
        ("a character spelled too long", raw_query(b"SELECT country FROM cities WHERE name = '\xc0\xaf'")),
        ("a character beyond the last", raw_query(b"SELECT country FROM cities WHERE name = '\xf4\x90\x80\x80'")),
        ("an escape that is none", m::query(r"SELECT country FROM cities WHERE name = E'K\xf6ln'")),
        ("an escaped zero", m::query(r"SELECT country FROM cities WHERE name = E'K\000'")),
        ("a zero byte within", m::frame(b'Q', b"SELECT country FROM cities\0 WHERE name = 'x'\0")),
    ] {
        // Postgres names more of the bytes.
        let codes = [pair.db.oracle(), pair.through()].map(|mut raw| {
            let reply = raw.exchange(&message, None);
            assert_eq!(raw.value("SELECT country FROM cities WHERE name = 'Köln'"), "DE", "{name}");
            (reply.code().to_owned(), reply.status)
        });
        assert_eq!(codes[0], codes[1], "{name}");
        assert_ne!(codes[1].0, "", "{name}");
    }
    let sql = "SELECT country FROM cities WHERE name = $1";
    for (name, format, value) in [
        ("Latin 1 in text", 0, &latin[..]),
        ("Latin 1 in binary", 1, &latin[..]),
        ("a zero byte in text", 0, b"K\0ln"),
        ("a zero byte in binary", 1, b"K\0ln"),
        ("half a character in text", 0, b"K\xc3"),
        ("half a character in binary", 1, b"K\xc3"),
    ] {
        let value = if format == 1 { Value::binary(value) } else { Value { format: 0, bytes: Some(value.to_vec()) } };
        let messages = [m::parse("", sql, &[]), m::bind("", "", &[value], &[]), m::execute("", 0), m::sync()];
        pair.same(name, &[batch(&messages), Ready, Send(after.clone()), Ready]);
    }
    // A router that reads keys as UTF-8 speaks no other encoding, however it is asked for.
    for sql in [
        "SET client_encoding = 'LATIN1'",
        "SET client_encoding TO latin1",
        "SET SESSION client_encoding = 'win1252'",
        "SET LOCAL client_encoding = 'SJIS'",
        "SET NAMES 'latin1'",
        "SELECT set_config('client_encoding', 'LATIN1', false)",
        "SELECT set_config('CLIENT_ENCODING', 'EUC_JP', true)",
    ] {
        let mut raw = pair.through();
        let reply = raw.simple(sql);
        assert!(["0A000", "25P01"].contains(&reply.code()), "{sql}: {reply:?}");
        assert_eq!(raw.value("SHOW client_encoding"), "UTF8", "{sql}");
        assert_eq!(raw.value("SELECT country FROM cities WHERE name = 'Köln'"), "DE", "{sql}");
        raw.must("BEGIN");
        assert_eq!(raw.simple(sql).code(), "0A000", "{sql}");
        raw.must("ROLLBACK");
    }
    let port = pair.router.as_ref().unwrap().port;
    for parameter in [("client_encoding", "LATIN1"), ("options", "-c client_encoding=LATIN1")] {
        let parameters = [("user", "postgres"), ("database", &*pair.db.name), parameter];
        let refused = Raw::connect_with(port, &parameters, None).unwrap_err();
        assert!(refused.starts_with("0A000"), "{parameter:?}: {refused}");
    }
}

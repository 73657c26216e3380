//! Bad input, missing servers and slow readers: a clear error to the one that it concerns, and bounded memory.

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::VecDeque;
use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use support::raw::{Raw, Value, message as m};
use support::sharded::config;
use support::{Database, Lone, Router, Sharded, eventually};

/// Resident memory of the router in KiB.
fn resident(world: &Sharded) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", world.router.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// What a streamed result may add to the router's memory, in KiB, whatever its size.
const FLAT: u64 = 24 * 1024;

/// A neighbour's session goes on as if nothing happened.
#[track_caller]
fn others_live(world: &Sharded, neighbour: &mut Raw) {
    assert_eq!(neighbour.value("SELECT count(*) FROM items"), "60");
    assert_eq!(world.connect().value("SELECT body FROM plain"), "one");
}

#[test]
fn the_router_starts_without_its_shards_and_serves_when_they_come() {
    let (home, other) = (Lone::create(), Lone::create());
    let general = "server_connect_timeout = \"2s\"";
    let router = Router::start_with(&config("postgres", &[home.port, other.port], general, ""), &[]);
    eventually(20, "readyz names the shards", || {
        let (status, body) = router.http("/readyz");
        status == 503 && body.contains("s0") && body.contains("s1")
    });
    assert_eq!(router.http("/healthz").0, 200);
    let refused = Raw::connect(router.port, "postgres", "postgres").unwrap_err();
    assert!(refused.starts_with("57P03") || refused.starts_with("08001"), "{refused}");
    assert!(refused.contains("s0") || refused.contains(&home.port.to_string()), "names the server: {refused}");
    home.start();
    home.connect("postgres").must("CREATE TABLE items (id int PRIMARY KEY); CREATE TABLE plain (x int)");
    // Half of it is there: what needs that half works, the rest says what is missing.
    let mut raw = None;
    eventually(30, "a client gets in", || {
        raw = Raw::connect(router.port, "postgres", "postgres").ok();
        raw.is_some()
    });
    let mut raw = raw.unwrap();
    eventually(30, "the catalog is read", || raw.simple("SELECT count(*) FROM plain").text() == "0");
    let reply = raw.simple("SELECT count(*) FROM items");
    assert!(["08001", "57P03"].contains(&reply.code()), "{reply:?}");
    assert!(reply.error.unwrap().to_string().contains(&other.port.to_string()));
    let (status, body) = router.http("/readyz");
    // Ready for those who need what is there.
    assert!(status == 200 && body.starts_with("ready\n") && body.contains("s1"), "{body}");
    assert!(router.http("/metrics").1.contains("pgloom_shard_up{database=\"postgres\",shard=\"s1\"} 0\n"));
    other.start();
    other.connect("postgres").must("CREATE TABLE items (id int PRIMARY KEY)");
    eventually(30, "the other shard serves", || raw.simple("SELECT count(*) FROM items").text() == "0");
    eventually(30, "the router lacks nothing", || router.http("/readyz") == (200, "ready\n".to_owned()));
    // Lost and found again, without a restart of the router, in the same client session.
    other.kill();
    assert!(raw.simple("SELECT count(*) FROM items").error.is_some());
    other.start();
    eventually(60, "the shard serves again", || raw.simple("SELECT count(*) FROM items").text() == "0");
}

#[test]
fn a_client_that_comes_with_the_router_waits_for_the_catalog() {
    let db = Database::create("early");
    db.everywhere("CREATE TABLE items (id int); CREATE TABLE parts (id int); CREATE TABLE places (x int)");
    let router = Router::start_with(&config(&db.name, &db.ports(), "", ""), &[]);
    assert_eq!(router.connect(&db.name).value("SELECT count(*) FROM items"), "0");
}

#[test]
fn strangers_get_the_error_that_postgres_would_give() {
    let users = "[[users]]\nname = \"postgres\"\npassword = \"right\"\n";
    let db = Database::create("strangers");
    db.everywhere("CREATE TABLE items (id int); CREATE TABLE parts (id int)");
    let general = "auth_type = \"scram-sha-256\"\nmax_client_conn = 2";
    let router = Router::start(&config(&db.name, &db.ports(), general, users));
    let psql = |user: &str, password: &str, database: &str| {
        let output = std::process::Command::new("psql")
            .args(["-X", "-At", "-c", "SELECT 1", "-v", "VERBOSITY=verbose"])
            .arg(format!("host=127.0.0.1 port={} user={user} dbname={database} sslmode=disable", router.port))
            .env("PGPASSWORD", password)
            .output()
            .unwrap();
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    };
    eventually(20, "the router is ready", || psql("postgres", "right", &db.name).trim() == "1");
    let wrong = psql("postgres", "wrong", &db.name);
    assert!(wrong.contains("password authentication failed for user \"postgres\""), "{wrong}");
    assert_eq!(psql("nobody", "wrong", &db.name), wrong.replace("postgres", "nobody"), "tells not who exists");
    let unknown = psql("postgres", "right", "nowhere");
    assert!(unknown.contains("database \"nowhere\" does not exist"), "{unknown}");
    assert_eq!(psql("postgres", "right", &db.name).trim(), "1");
}

#[test]
fn too_many_clients_are_told_so() {
    let world = Sharded::create("many", "max_client_conn = 3");
    eventually(10, "the loading client is gone", || world.router.http("/metrics").0 == 200);
    let mut in_time: Vec<Raw> = Vec::new();
    eventually(10, "three clients get in", || {
        in_time.extend(Raw::connect(world.router.port, "postgres", &world.db.name).ok());
        in_time.len() == 3
    });
    let refused = Raw::connect(world.router.port, "postgres", &world.db.name).unwrap_err();
    assert!(refused.starts_with("53300"), "{refused}");
    in_time[0].must("SELECT 1");
    in_time.pop();
    eventually(10, "there is room again", || Raw::connect(world.router.port, "postgres", &world.db.name).is_ok());
    let unknown = Raw::connect(world.router.port, "postgres", "nowhere").unwrap_err();
    assert!(unknown.starts_with("3D000"), "{unknown}");
}

/// A socket of another address of this machine.
fn connect_from(from: [u8; 4], port: u16) -> std::io::Result<TcpStream> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((from, 0)).into())?;
    socket.connect(&SocketAddr::from(([127, 0, 0, 1], port)).into())?;
    Ok(socket.into())
}

/// Many who connect and say nothing, or half of what they should, keep nobody out, though there are more of them than clients may be there.
#[test]
fn sockets_that_say_nothing_keep_nobody_out() {
    let world = Sharded::create("silent", "max_client_conn = 20\nclient_login_timeout = \"1h\"\nmax_login_conn = 40");
    let mut neighbour = world.connect();
    let metric = |name: &str| -> u64 {
        let text = world.router.http("/metrics").1;
        text.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().parse().unwrap()
    };
    let stop = AtomicBool::new(false);
    let opened = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for nth in 0..2 {
            let (stop, opened, port) = (&stop, &opened, world.router.port);
            scope.spawn(move || {
                let mut sockets = VecDeque::new();
                while !stop.load(Ordering::Relaxed) {
                    if let Ok(mut socket) = connect_from([127, 0, 0, 2], port) {
                        // Half of a startup packet.
                        let _ = if nth == 0 { Ok(()) } else { socket.write_all(&[0, 0, 0, 80, 0, 3]) };
                        sockets.push_back(socket);
                        opened.fetch_add(1, Ordering::Relaxed);
                    }
                    if sockets.len() > 300 {
                        sockets.pop_front();
                    }
                    std::thread::sleep(Duration::from_millis(2));
                }
            });
        }
        eventually(20, "more than there may be", || opened.load(Ordering::Relaxed) > 150);
        for _ in 0..40 {
            let mut raw = world.connect();
            assert_eq!(raw.value("SELECT 1"), "1");
            assert_eq!(neighbour.value("SELECT count(*) FROM items"), "60");
        }
        let fds = std::fs::read_dir(format!("/proc/{}/fd", world.router.pid())).unwrap().count();
        assert!(fds < 140, "{fds} files are open");
        stop.store(true, Ordering::Relaxed);
    });
    assert!(metric("pgloom_logins_displaced_total ") > 50);
    // Of their own address as well those go who have not said who they are, and who is about to log in goes on.
    let mut half = Raw::open(world.router.port).unwrap();
    half.send(&[0, 0, 0, 8]).unwrap();
    let flood: Vec<_> = (0..100).map(|_| connect_from([127, 0, 0, 1], world.router.port).unwrap()).collect();
    assert!(half.read().is_err(), "it has not said enough");
    drop(flood);
    // A limit that is lowered holds with the next one who comes; what is silent then has the login's time.
    let text = world.router.config_text();
    let text = text.replace("max_login_conn = 40", "max_login_conn = 2").replace("\"1h\"", "\"500ms\"");
    assert_eq!(world.router.reload(&text), "applied");
    let mut silent: Vec<Raw> = (0..3).map(|_| Raw::open(world.router.port).unwrap()).collect();
    assert!(silent[0].read().is_err(), "it is sent away without a word");
    assert_eq!(silent[2].read().unwrap().report().code(), "57014");
}

#[test]
fn garbage_on_the_port_hurts_nobody() {
    let world = Sharded::create("garbage", "max_message_size = \"64KiB\"");
    let mut neighbour = world.connect();
    for garbage in
        [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xff; 64], &[0, 0, 0, 4], &[0, 0, 0, 0], b"\x16\x03\x01\x02\x00\x01"]
    {
        let mut raw = Raw::open(world.router.port).unwrap();
        raw.set_patience(Duration::from_secs(20));
        let _ = raw.send(garbage);
        let _ = raw.send(&[0; 32]);
        // An error or the end of the connection, in any order, but an end.
        while let Ok(message) = raw.read() {
            assert_eq!(message.tag, b'E', "{message:?}");
        }
    }
    others_live(&world, &mut neighbour);
    // Behind the login: an unknown type, a length that lies, a message over the limit.
    let big = m::query(&format!("SELECT '{}'", "x".repeat(70_000)));
    let lies = [&b"Q"[..], &[0, 0, 0, 3]].concat();
    let huge = [&b"Q"[..], &[0x7f, 0xff, 0xff, 0xff]].concat();
    for bytes in [lies, huge] {
        let mut raw = world.connect();
        raw.send(&bytes).ok();
        assert!(raw.read().is_err(), "as Postgres, without a word");
    }
    for (name, bytes) in [("type", m::frame(b'!', b"x")), ("over", big)] {
        let mut raw = world.connect();
        raw.send(&bytes).ok();
        let message = raw.read().unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(message.tag, b'E', "{name}");
        let report = message.report();
        assert!(["08P01", "54000", "53400"].contains(&report.code()), "{name}: {report}");
        assert_eq!(report.0.get(&'S').map(String::as_str), Some("FATAL"), "{name}: {report}");
        assert!(raw.read().is_err(), "{name}: the connection ends");
    }
    others_live(&world, &mut neighbour);
}

#[test]
fn messages_out_of_place_are_answered_as_postgres_answers_them() {
    let world = Sharded::create("misplaced", "default_pool_size = 2");
    let mut raw = world.connect();
    // CopyData without a COPY is ignored.
    raw.send(&[m::copy_data(b"lost"), m::copy_done(), m::copy_fail("lost"), m::query("SELECT 1")].concat()).unwrap();
    let tags: String = raw.read_to_ready().unwrap().iter().map(|message| char::from(message.tag)).collect();
    assert_eq!(tags, "TDCZ");
    // Too few, too many values.
    let id = world.id(1, 0).to_string();
    for values in [vec![], vec![Value::text(&id), Value::text("2")]] {
        for sql in ["SELECT n FROM items WHERE id = $1", "SELECT body FROM plain WHERE id = $1"] {
            let batch = [m::parse("", sql, &[]), m::bind("", "", &values, &[]), m::execute("", 0), m::sync()].concat();
            let reply = raw.exchange(&batch, None);
            assert_eq!((reply.code(), reply.status), ("08P01", b'I'), "{sql} with {values:?}: {reply:?}");
            assert_eq!(raw.value("SELECT count(*) FROM items"), "60");
        }
    }
    // A value that is none, in text and in binary.
    for value in [Value::text("seven"), Value::binary([1, 2])] {
        let reply = raw.extended("SELECT n FROM items WHERE id = $1", &[23], &[value], 0);
        assert!(["22P02", "22P03", "08P01"].contains(&reply.code()), "{reply:?}");
        assert_eq!(reply.status, b'I');
    }
    // A Bind cut short.
    let mut cut = m::bind("", "", &[Value::text(&id)], &[]);
    cut.truncate(cut.len() - 6);
    let length = (cut.len() as u32 - 1).to_be_bytes();
    cut[1..5].copy_from_slice(&length);
    let reply = raw.exchange(&[m::parse("", "SELECT n FROM items WHERE id = $1", &[]), cut, m::sync()].concat(), None);
    assert_eq!(reply.code(), "08P01", "{reply:?}");
    // Names that do not exist, a subtype that is none.
    for (bytes, code) in [
        (m::bind("", "nothing", &[], &[]), "26000"),
        (m::execute("nothing", 0), "34000"),
        (m::describe(b'S', "nothing"), "26000"),
        (m::describe(b'P', "nothing"), "34000"),
        (m::describe(b'X', ""), "08P01"),
        (m::close(b'X', ""), "08P01"),
    ] {
        let reply = raw.exchange(&[bytes, m::execute("skipped", 0), m::sync()].concat(), None);
        assert_eq!((reply.code(), reply.status), (code, b'I'), "{reply:?}");
    }
    assert_eq!(raw.value("SELECT count(*) FROM items"), "60");
}

#[test]
fn bytes_may_come_one_by_one() {
    let world = Sharded::create("bytes", "");
    let mut raw = Raw::open(world.router.port).unwrap();
    let mut script = m::startup(196_608, &[("user", "postgres"), ("database", &world.db.name)]);
    script.extend(m::query(&format!("SELECT n FROM items WHERE id = {}", world.id(2, 0))));
    script.extend(m::parse("p", "SELECT count(*) FROM items WHERE n = $1", &[23]));
    script.extend(m::bind("", "p", &[Value::text("0")], &[]));
    script.extend(m::execute("", 0));
    script.extend(m::sync());
    for byte in script {
        raw.send(&[byte]).unwrap();
    }
    let greeting = raw.read_to_ready().unwrap();
    assert_eq!(greeting[0].tag, b'R');
    let tags =
        |messages: &[support::Message]| messages.iter().map(|message| char::from(message.tag)).collect::<String>();
    assert_eq!(tags(&raw.read_to_ready().unwrap()), "TDCZ");
    assert_eq!(tags(&raw.read_to_ready().unwrap()), "12DCZ");
}

#[test]
fn a_deep_pipeline_that_nobody_reads_is_carried_on() {
    let world = Sharded::create("deep", "default_pool_size = 2");
    let mut neighbour = world.connect();
    let raw = world.connect();
    let id = world.id(1, 0).to_string();
    let one = |sql: &str| {
        let sql = format!("{sql} -- {}", "x".repeat(200));
        [m::parse("", &sql, &[]), m::bind("", "", &[Value::text(&id)], &[]), m::execute("", 0), m::sync()].concat()
    };
    // 10,000 statements; their answers are more than the sockets' buffers hold, so the writer must be able to stop and go on.
    let before = resident(&world);
    let sql = "SELECT id, repeat('y', 500) FROM items WHERE id = $1";
    let bytes: Vec<u8> = one(sql).repeat(10_000);
    std::thread::scope(|scope| {
        let mut reader = raw.second().unwrap();
        let mut raw = raw;
        let writer = scope.spawn(move || raw.send(&bytes).map(|()| raw));
        std::thread::sleep(Duration::from_secs(2));
        let grown = resident(&world).saturating_sub(before);
        assert!(grown < FLAT, "{grown} KiB more while nobody reads");
        others_live(&world, &mut neighbour);
        for at in 0..10_000 {
            let messages = reader.read_to_ready().unwrap();
            let tags: String = messages.iter().map(|message| char::from(message.tag)).collect();
            assert_eq!(tags, "12DCZ", "statement {at}");
        }
        writer.join().unwrap().unwrap();
    });
    others_live(&world, &mut neighbour);
}

/// Puts a quarter million rows on every shard, past the router.
fn fill(world: &Sharded) {
    std::thread::scope(|scope| {
        for shard in 0..4 {
            scope.spawn(move || {
                world.db.shard(shard).must(&format!(
                    "INSERT INTO items SELECT g * 4 + {shard}, g % 1000, 'row ' || g FROM generate_series(1000, 250999) g"
                ));
            });
        }
    });
}

#[test]
fn memory_stays_flat_whatever_the_size_of_a_result() {
    let world = Sharded::create("flat", "default_pool_size = 4");
    fill(&world);
    let mut neighbour = world.connect();
    let before = resident(&world);
    // A client that asks for a million rows and reads none of them.
    for sql in ["SELECT id, n, name FROM items", "SELECT id, n, name FROM items ORDER BY id"] {
        let mut deaf = world.connect();
        deaf.send(&m::query(sql)).unwrap();
        std::thread::sleep(Duration::from_secs(3));
        let grown = resident(&world).saturating_sub(before);
        assert!(grown < FLAT, "{grown} KiB more for {sql} that nobody reads");
        assert_eq!(neighbour.value("SELECT body FROM plain"), "one");
    }
    // All of them, in order, to one that reads.
    let mut raw = world.connect();
    raw.send(&m::query("SELECT id, n, name FROM items WHERE id >= 4000 ORDER BY id")).unwrap();
    let (mut rows, mut last, mut most) = (0_u32, 0, 0);
    loop {
        let message = raw.read().unwrap();
        match message.tag {
            b'D' => {
                let id: i64 = String::from_utf8_lossy(message.cells()[0].as_ref().unwrap()).parse().unwrap();
                assert!(id > last);
                last = id;
                rows += 1;
                if rows % 100_000 == 0 {
                    most = most.max(resident(&world).saturating_sub(before));
                }
            }
            b'E' => panic!("{}", message.report()),
            b'Z' => break,
            _ => {}
        }
    }
    assert_eq!(rows, 1_000_000);
    assert!(most < FLAT, "{most} KiB more for a million sorted rows");
}

#[test]
fn copy_of_many_rows_is_streamed() {
    let world = Sharded::create("copy", "");
    let before = resident(&world);
    let mut raw = world.connect();
    let data: Vec<u8> =
        (1000..301_000).flat_map(|id| format!("{id}\t{}\tsome words for row {id}\n", id % 100).into_bytes()).collect();
    let loaded = raw.copy_in("COPY items FROM STDIN", &data);
    assert_eq!(loaded.answers.first().and_then(|a| a.tag.as_deref()), Some("COPY 300000"), "{:?}", loaded.error);
    let grown = resident(&world).saturating_sub(before);
    assert!(grown < FLAT, "{grown} KiB more after COPY FROM");
    assert_eq!(raw.value("SELECT count(*) FROM items"), "300060");
    // A row that no shard takes undoes them all.
    let refused = raw.copy_in("COPY items FROM STDIN", b"400001\t1\tx\n400002\t-1\tx\n400003\t1\tx\n400004\t1\tx\n");
    assert_eq!(refused.code(), "23514", "{refused:?}");
    assert_eq!(raw.value("SELECT count(*) FROM items WHERE id > 400000"), "0");
    raw.send(&m::query("COPY items TO STDOUT")).unwrap();
    let mut lines = 0;
    loop {
        let message = raw.read().unwrap();
        match message.tag {
            b'd' => lines += message.body.iter().filter(|b| **b == b'\n').count(),
            b'E' => panic!("{}", message.report()),
            b'Z' => break,
            _ => {}
        }
    }
    assert_eq!(lines, 300_060);
    let grown = resident(&world).saturating_sub(before);
    assert!(grown < FLAT, "{grown} KiB more after COPY TO");
}

//! A server that fails is left alone, tells why, keeps nobody else waiting, and is found again.

#![allow(clippy::unwrap_used)]

mod support;

use support::{Lone, Raw, Router, eventually};

const NAME: &str = "shop";

struct World {
    router: Router,
    home: Lone,
    other: Lone,
    /// A key on each.
    keys: [i32; 2],
}

impl World {
    fn create(general: &str) -> Self {
        let (home, other) = (Lone::create(), Lone::create());
        for server in [&home, &other] {
            server.start();
            server.connect("postgres").must(&format!("CREATE DATABASE {NAME}"));
            server.connect(NAME).must("CREATE TABLE items (id int PRIMARY KEY, n int)");
        }
        let shard = |name: &str, port: u16| {
            format!("[[databases.{NAME}.shards]]\nname = \"{name}\"\nhost = \"127.0.0.1\"\nport = {port}\n")
        };
        let router = Router::start(&format!(
            "[general]\nport = {{port}}\nmetrics_listen = \"127.0.0.1:{{http_port}}\"\nauth_type = \"trust\"\n{general}\n\
             [[users]]\nname = \"postgres\"\n[databases.{NAME}]\n{}{}\
             [[databases.{NAME}.distributions]]\nname = \"key\"\nkey_types = [\"int4\"]\n\
             [[databases.{NAME}.tables]]\nname = \"items\"\ndistribution = \"key\"\ncolumns = [\"id\"]\n",
            shard("s0", home.port),
            shard("s1", other.port),
        ));
        router.connect(NAME).must("INSERT INTO items SELECT i, 0 FROM generate_series(1, 50) i");
        let key = |server: &Lone| server.connect(NAME).value("SELECT min(id) FROM items").parse().unwrap();
        let keys = [key(&home), key(&other)];
        Self { router, home, other, keys }
    }

    fn connect(&self) -> Raw {
        self.router.connect(NAME)
    }

    /// The server process that answers for a key of a shard.
    fn ask(&self, raw: &mut Raw, shard: usize) -> Result<String, support::raw::Report> {
        let reply = raw.simple(&format!("SELECT pg_backend_pid() FROM items WHERE id = {}", self.keys[shard]));
        match &reply.error {
            Some(error) => Err(error.clone()),
            None => Ok(reply.text().trim().to_owned()),
        }
    }

    /// `SHOW pgloom.breakers` of one server: state, failures, opened.
    fn breaker(&self, raw: &mut Raw, server: &Lone) -> [String; 3] {
        let rows = raw.must("SHOW pgloom.breakers").answers[0].rows.clone();
        let text = |cell: &Option<Vec<u8>>| String::from_utf8(cell.clone().unwrap_or_default()).unwrap();
        let address = format!("127.0.0.1:{}", server.port);
        let row = rows.iter().find(|row| text(&row[0]) == address).unwrap();
        [text(&row[1]), text(&row[2]), text(&row[4])]
    }

    fn metric(&self, line: &str) -> bool {
        self.router.http("/metrics").1.lines().any(|found| found == line)
    }
}

#[test]
fn a_server_that_is_down_is_left_alone_and_found_again() {
    // Too long for the test to wait for: it is the router's own look that finds the server again.
    let world = World::create("breaker_failures = 3\nbreaker_open_time = \"10min\"\nbreaker_max_open_time = \"10min\"");
    let (mut raw, mut show) = (world.connect(), world.connect());
    world.ask(&mut raw, 1).unwrap();
    assert_eq!(world.breaker(&mut show, &world.other), ["closed", "0", "0"]);
    world.other.kill();
    let mut codes = Vec::new();
    eventually(20, "the breaker is open", || {
        let error = world.ask(&mut raw, 1).unwrap_err();
        codes.push(error.code().to_owned());
        error.code() == "57P03"
    });
    // Before it opened, each was told what had happened to it.
    assert!(codes.iter().rev().skip(1).all(|code| code.starts_with("08")), "{codes:?}");
    let error = world.ask(&mut raw, 1).unwrap_err();
    assert!(error.message().contains("is not available"), "{error}");
    assert!(error.to_string().contains("refused") && error.hint().contains("retry"), "{error}");
    assert_eq!(raw.simple("SELECT count(*) FROM items").code(), "57P03");
    assert_eq!(raw.simple("UPDATE items SET n = 1").code(), "57P03");
    assert_eq!(world.breaker(&mut show, &world.other), ["open", "0", "1"]);
    let address = format!("127.0.0.1:{}", world.other.port);
    assert!(world.metric(&format!("pgloom_breaker_opened_total{{host=\"{address}\"}} 1")));
    assert!(
        world.metric(&format!(
            "pgloom_breaker_state{{database=\"{NAME}\",host=\"{address}\",role=\"primary\",shard=\"s1\",user=\"postgres\"}} 1"
        ))
    );
    // The other one is as it was.
    for _ in 0..20 {
        world.ask(&mut raw, 0).unwrap();
    }
    assert_eq!(world.breaker(&mut show, &world.home), ["closed", "0", "0"]);
    world.other.start();
    eventually(20, "the server is found again", || world.ask(&mut raw, 1).is_ok());
    assert_eq!(world.breaker(&mut show, &world.other), ["closed", "0", "1"]);
    assert_eq!(raw.value("SELECT count(*) FROM items"), "50");
}

#[test]
fn a_server_that_hangs_keeps_nobody_and_its_connections_are_tried_before_they_are_used() {
    let world = World::create("breaker_failures = 1\nserver_connect_timeout = \"500ms\"");
    let (mut raw, mut show) = (world.connect(), world.connect());
    let before = world.ask(&mut raw, 1).unwrap();
    world.other.freeze();
    // The router's own look finds that it hangs.
    eventually(20, "the breaker is open", || world.breaker(&mut show, &world.other)[0] != "closed");
    let mut refused = 0;
    for _ in 0..20 {
        match world.ask(&mut raw, 1) {
            Err(error) if error.code() == "57P03" => refused += 1,
            // The one that tries it for all.
            Err(error) => assert_eq!(error.code(), "08001", "{error}"),
            Ok(pid) => panic!("{pid} answers"),
        }
    }
    assert!(refused >= 15, "{refused}");
    world.ask(&mut raw, 0).unwrap();
    world.other.thaw();
    eventually(20, "the server is found again", || world.ask(&mut raw, 1).is_ok());
    // What the server said late was read and thrown away with its connection; a new one or the old one answers rightly.
    assert_eq!(raw.value(&format!("SELECT id FROM items WHERE id = {}", world.keys[1])), world.keys[1].to_string());
    let again = world.ask(&mut raw, 1).unwrap();
    // It died while it hung: its connection is not given to anybody.
    world.other.freeze();
    eventually(20, "the breaker is open", || world.breaker(&mut show, &world.other)[0] != "closed");
    world.other.kill();
    world.other.start();
    eventually(20, "the server is found again", || world.ask(&mut raw, 1).is_ok());
    let last = world.ask(&mut raw, 1).unwrap();
    assert!(last != again && last != before, "{before} {again} {last}");
}

#[test]
fn what_clients_and_administrators_do_does_not_count() {
    let world = World::create("breaker_failures = 2");
    let mut show = world.connect();
    let mut direct = world.other.connect(NAME);
    for _ in 0..6 {
        let mut raw = world.connect();
        let key = world.keys[1];
        assert_eq!(raw.simple(&format!("SELECT nothing FROM items WHERE id = {key}")).code(), "42703");
        assert_eq!(raw.simple(&format!("SELECT 1 / (id - id) FROM items WHERE id = {key}")).code(), "22012");
        // Of each class that is no server's fault: data, constraints, names, a time-out and a cancel, a transaction that has failed.
        for (sql, code) in [
            (format!("SELECT 'x'::int FROM items WHERE id = {key}"), "22P02"),
            (format!("INSERT INTO items (id) VALUES ({key})"), "23505"),
            (format!("SELECT no_such_function(id) FROM items WHERE id = {key}"), "42883"),
            (format!("SET statement_timeout = '30ms'; SELECT pg_sleep(9) FROM items WHERE id = {key}"), "57014"),
        ] {
            raw.must("RESET statement_timeout");
            assert_eq!(raw.simple(&sql).code(), code, "{sql}");
        }
        raw.must("RESET statement_timeout; BEGIN");
        let pid = world.ask(&mut raw, 1).unwrap();
        direct.must(&format!("SELECT pg_terminate_backend({pid})"));
        let ended = raw.simple(&format!("SELECT n FROM items WHERE id = {key}"));
        assert!(ended.error.is_some());
    }
    assert_eq!(world.breaker(&mut show, &world.other)[0], "closed");
    assert_eq!(world.breaker(&mut show, &world.other)[2], "0");
}

//! Every time limit at every level at which it can be said: `[general]`, a database, a user, a session. Each is seen to act there, and the
//! narrower word goes before the wider one.

#![allow(clippy::unwrap_used)]

mod support;

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use support::pipe::Pipe;
use support::raw::{Report, message as m};
use support::sharded::config;
use support::{Database, Raw, Router, SHARDS, Sharded, eventually};

/// Where a limit is said; each goes before those above it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    General,
    Database,
    User,
    Session,
}

const LEVELS: [Level; 4] = [Level::General, Level::Database, Level::User, Level::Session];
const SHORT: &str = "300ms";
const LONG: &str = "1h";

/// What a session can say, with the SQLSTATE of what it leads to (`None`: that is seen in other tests, here only who is heard).
const OF_SESSIONS: [(&str, Option<&str>); 10] = [
    ("query_timeout", Some("57014")),
    ("scatter_timeout", Some("57014")),
    ("transaction_timeout", Some("25P04")),
    ("idle_transaction_timeout", Some("25P03")),
    ("client_idle_timeout", Some("57P05")),
    ("query_wait_timeout", Some("53300")),
    ("client_write_timeout", Some("")),
    ("cancel_grace", None),
    ("failover_timeout", None),
    ("key_wait_timeout", None),
];

/// `base` with one more line at each of these levels, but the session's.
fn said(base: &str, database: &str, lines: &[(Level, String)]) -> String {
    let mut text = base.to_owned();
    for (level, line) in lines {
        let head = match level {
            Level::General => "[general]\n".to_owned(),
            Level::Database => format!("[databases.{database}]\n"),
            Level::User => "[[users]]\nname = \"postgres\"\n".to_owned(),
            Level::Session => continue,
        };
        assert!(text.contains(&head), "{text}");
        text = text.replacen(&head, &format!("{head}{line}\n"), 1);
    }
    text
}

struct World {
    inner: Sharded,
    base: String,
}

impl World {
    fn create(label: &str) -> Self {
        let inner = Sharded::create(label, "default_pool_size = 1");
        let base = inner.router.config_text();
        Self { inner, base }
    }

    /// Each limit has this value at these levels from now on; a new client, for whom the session's is said as well.
    fn client(&self, limits: &[&str], values: &[(Level, &str)]) -> Raw {
        let lines: Vec<_> = limits
            .iter()
            .flat_map(|limit| values.iter().map(move |(level, value)| (*level, format!("{limit} = \"{value}\""))))
            .collect();
        let text = said(&self.base, &self.inner.db.name, &lines);
        if text != self.inner.router.config_text() {
            assert_eq!(self.inner.router.reload(&text), "applied", "{limits:?} {values:?}");
        }
        let mut raw = self.inner.connect();
        if let Some((_, value)) = values.iter().find(|(level, _)| *level == Level::Session) {
            let set: Vec<String> = limits.iter().map(|limit| format!("SET pgloom.{limit} = '{value}'")).collect();
            raw.must(&set.join("; "));
        }
        raw
    }

    fn stalled(&self) -> u64 {
        let text = self.inner.router.http("/metrics").1;
        let line = text.lines().find_map(|line| line.strip_prefix("pgloom_timeouts_total{limit=\"client_write\"} "));
        line.unwrap().parse().unwrap()
    }

    /// Has this limit act on this client; the SQLSTATE that it is told, or "" where it only loses its connection.
    fn exceed(&self, limit: &str, raw: &mut Raw) -> String {
        let one = format!("SELECT n FROM items WHERE id = {}", self.inner.id(1, 0));
        match limit {
            "query_timeout" => raw.simple("SELECT pg_sleep(20)").code().to_owned(),
            "scatter_timeout" => raw.simple("SELECT id, pg_sleep(20) FROM items").code().to_owned(),
            "query_wait_timeout" => {
                let mut holder = self.inner.connect();
                holder.must("BEGIN");
                holder.must(&one);
                raw.simple(&one).code().to_owned()
            }
            "transaction_timeout" | "idle_transaction_timeout" => {
                raw.must("BEGIN");
                raw.must(&one);
                told(raw)
            }
            "client_idle_timeout" => told(raw),
            "client_write_timeout" => {
                let before = self.stalled();
                raw.send(&m::query("SELECT repeat(body, 1000) FROM plain, generate_series(1, 200000)")).unwrap();
                eventually(20, "the client is given up", || self.stalled() > before);
                while raw.read().is_ok() {}
                String::new()
            }
            other => panic!("{other}"),
        }
    }
}

/// The error that ends the connection.
fn told(raw: &mut Raw) -> String {
    let code = loop {
        let message = raw.read().unwrap();
        if message.tag == b'E' {
            break message.report().code().to_owned();
        }
    };
    assert!(raw.read().is_err());
    code
}

#[test]
fn each_limit_acts_at_each_level() {
    let world = World::create("limitlevels");
    for (limit, code) in OF_SESSIONS {
        let Some(code) = code else { continue };
        for level in LEVELS {
            // What is said above does not count.
            let mut values: Vec<_> =
                LEVELS.into_iter().filter(|wider| *wider < level).map(|wider| (wider, LONG)).collect();
            values.push((level, SHORT));
            let mut raw = world.client(&[limit], &values);
            assert_eq!(raw.value(&format!("SHOW pgloom.{limit}")), SHORT, "{limit} {level:?}");
            let start = Instant::now();
            assert_eq!(world.exceed(limit, &mut raw), code, "{limit} {level:?}");
            let took = start.elapsed();
            assert!((200..15_000).contains(&took.as_millis()), "{limit} {level:?}: {took:?}");
        }
    }
}

#[test]
fn the_narrower_word_goes_before_the_wider_one_and_zero_takes_a_limit_away() {
    let world = World::create("limitorder");
    let limits = OF_SESSIONS.map(|(limit, _)| limit);
    for level in LEVELS {
        for (value, shown) in [(LONG, "60min"), ("0", "0")] {
            let mut values: Vec<_> =
                LEVELS.into_iter().filter(|wider| *wider < level).map(|wider| (wider, "200ms")).collect();
            values.push((level, value));
            let mut raw = world.client(&limits, &values);
            for limit in limits {
                assert_eq!(raw.value(&format!("SHOW pgloom.{limit}")), shown, "{limit} {level:?}");
            }
            // None of them acts.
            std::thread::sleep(Duration::from_millis(300));
            raw.must("BEGIN; SELECT pg_sleep(0.3); SELECT count(*), max(pg_sleep(0.005)::text) FROM items");
            std::thread::sleep(Duration::from_millis(300));
            raw.must("COMMIT");
        }
    }
    // With RESET a session is back at what its user has.
    let mut raw = world.client(&limits, &[(Level::General, "2h"), (Level::User, "3h"), (Level::Session, "4h")]);
    for limit in limits {
        assert_eq!(raw.value(&format!("SHOW pgloom.{limit}")), "240min");
        raw.must(&format!("RESET pgloom.{limit}"));
        assert_eq!(raw.value(&format!("SHOW pgloom.{limit}")), "180min", "{limit}");
    }
}

#[test]
fn connections_to_servers_have_limits_at_each_level() {
    let db = Database::create("limitconnect");
    (0..SHARDS).for_each(|shard| drop(db.shard(shard).must("CREATE TABLE items (id int PRIMARY KEY, n int)")));
    let mut ports = db.ports();
    let pipe = Pipe::start(ports[1]);
    ports[1] = pipe.port;
    let router = Router::start(&config(&db.name, &ports, "breaker_failures = 0", ""));
    let base = router.config_text();
    let rows: Vec<String> = (1..=40).map(|id| format!("({id}, 0)")).collect();
    router.connect(&db.name).must(&format!("INSERT INTO items VALUES {}", rows.join(", ")));
    let id = db.shard(1).value("SELECT min(id) FROM items");
    let ask = |raw: &mut Raw| -> Option<Report> { raw.simple(&format!("SELECT n FROM items WHERE id = {id}")).error };
    for limit in ["server_connect_timeout", "server_login_timeout"] {
        for (nth, level) in LEVELS.into_iter().enumerate() {
            let own = format!("{}ms", 300 + nth);
            let mut lines: Vec<_> = LEVELS.into_iter().filter(|wider| *wider < level).collect();
            lines.push(level);
            let lines =
                lines.into_iter().map(|at| (at, format!("{limit} = \"{}\"", if at == level { &own } else { LONG })));
            assert_eq!(
                router.reload(&said(&base, &db.name, &lines.collect::<Vec<_>>())),
                "applied",
                "{limit} {level:?}"
            );
            let mut raw = router.connect(&db.name);
            if level == Level::Session {
                raw.must(&format!("SET pgloom.{limit} = '{own}'"));
            }
            assert_eq!(raw.value(&format!("SHOW pgloom.{limit}")), own, "{level:?}");
            assert!(ask(&mut raw).is_none());
            pipe.cut();
            pipe.break_all(false);
            let start = Instant::now();
            // The first one may find that its connection has ended.
            let error =
                std::iter::from_fn(|| Some(ask(&mut raw).unwrap())).take(3).find(|error| error.code() == "08001");
            // "no answer", or "the login was not finished": both have the limit of the connection where the login has none of its own.
            let error = error.unwrap_or_else(|| panic!("{limit} {level:?}"));
            assert!(error.to_string().contains(&format!("within {own}")), "{limit} {level:?}: {error}");
            assert!(start.elapsed() < Duration::from_secs(10), "{limit} {level:?}: {:?}", start.elapsed());
            pipe.mend();
            pipe.break_all(false);
            eventually(20, "the shard is there again", || ask(&mut raw).is_none());
        }
    }
    let metrics = router.http("/metrics").1;
    assert!(!metrics.contains("pgloom_timeouts_total{limit=\"server_login\"} 0\n"), "{metrics}");
    let mut raw = router.connect(&db.name);
    assert_eq!(raw.simple("SET pgloom.server_connect_timeout = 0").code(), "22023");
    // Nobody may make connections that are given up at once, one after the other.
    for limit in ["server_connect_timeout", "server_login_timeout"] {
        let before = raw.value(&format!("SHOW pgloom.{limit}"));
        for (value, said) in [("1ms", "1 ms"), ("99ms", "99 ms"), ("500us", "500 us")] {
            let refused = raw.simple(&format!("SET pgloom.{limit} = '{value}'"));
            let message =
                format!("{said} is outside the valid range for parameter \"pgloom.{limit}\" (100 .. 2147483647)");
            assert_eq!((refused.code(), refused.error.as_ref().unwrap().message()), ("22023", &*message), "{value}");
            assert_eq!(raw.simple(&format!("SELECT set_config('pgloom.{limit}', '{value}', false)")).code(), "22023");
        }
        assert_eq!(raw.value(&format!("SHOW pgloom.{limit}")), before);
        raw.must(&format!("SET pgloom.{limit} = '100ms'; RESET pgloom.{limit}"));
    }
    raw.must("SET pgloom.server_login_timeout = 0; RESET pgloom.server_login_timeout");
    // One that has no time is no reason for others to be told that the server is gone.
    assert_eq!(router.reload(&base.replace("breaker_failures = 0", "breaker_failures = 4")), "applied");
    let mut hasty = router.connect(&db.name);
    hasty.must("SET pgloom.server_connect_timeout = '200ms'");
    assert!(ask(&mut raw).is_none());
    pipe.break_all(false);
    pipe.cut();
    std::thread::sleep(Duration::from_millis(100));
    let errors: Vec<Report> = std::iter::from_fn(|| ask(&mut hasty)).take(8).collect();
    let late = errors.iter().filter(|error| error.to_string().contains("within 200ms")).count();
    assert!(late >= 6 && errors.iter().all(|error| error.code() != "57P03"), "{late}: {}", errors.len());
    pipe.mend();
    pipe.break_all(false);
    let mut other = router.connect(&db.name);
    assert!(ask(&mut other).is_none(), "no breaker is open");
}

/// A listener that takes no more connections, as a host behind a firewall.
struct Full {
    _listener: socket2::Socket,
    _waiting: Vec<TcpStream>,
    port: u16,
}

impl Full {
    fn create() -> Self {
        let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap().as_socket().unwrap();
        let mut waiting = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
            waiting.push(stream);
        }
        Self { _listener: listener, _waiting: waiting, port: address.port() }
    }
}

#[test]
fn a_server_that_is_not_reached_is_given_up() {
    let full = Full::create();
    let shard =
        |name: &str| format!("[[databases.{name}.shards]]\nname = \"a\"\nhost = \"127.0.0.1\"\nport = {}\n", full.port);
    let config = format!(
        "[general]\nport = {{port}}\nauth_type = \"trust\"\nmetrics_listen = \"127.0.0.1:{{http_port}}\"\nserver_connect_timeout = \"300ms\"\n\
         [[users]]\nname = \"postgres\"\n[databases.shop]\n{}[databases.own]\nserver_connect_timeout = \"301ms\"\n{}",
        shard("shop"),
        shard("own")
    );
    let router = Router::start_with(&config, &[]);
    for (database, limit) in [("shop", "300ms"), ("own", "301ms")] {
        let start = Instant::now();
        let error = Raw::connect(router.port, "postgres", database).unwrap_err();
        assert!(error.contains(&format!("no answer within {limit}")), "{error}");
        assert!(start.elapsed() < Duration::from_secs(10));
    }
    let metrics = router.http("/metrics").1;
    assert!(!metrics.contains("pgloom_timeouts_total{limit=\"server_connect\"} 0\n"), "{metrics}");
}

/// Who somebody is, and which database it wants, is known only behind the login: that has one limit for all.
#[test]
fn a_login_has_one_limit_for_all() {
    let world = Sharded::create("limitlogin", "client_login_timeout = \"400ms\"");
    let mut silent = Raw::open(world.router.port).unwrap();
    let start = Instant::now();
    let error = silent.read().unwrap();
    assert_eq!((error.tag, error.report().code()), (b'E', "57014"));
    assert!(silent.read().is_err() && (300..10_000).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
    // When it has had the time to read why.
    eventually(5, "it is counted", || {
        world.router.http("/metrics").1.contains("pgloom_timeouts_total{limit=\"client_login\"} 1\n")
    });
    assert_eq!(world.connect().simple("SET pgloom.client_login_timeout = '1s'").code(), "42704");
    let text = world.router.config_text();
    for head in ["[[users]]\nname = \"postgres\"\n".to_owned(), format!("[databases.{}]\n", world.db.name)] {
        assert_eq!(
            world.router.reload(&text.replacen(&head, &format!("{head}client_login_timeout = \"1s\"\n"), 1)),
            "rejected"
        );
    }
}

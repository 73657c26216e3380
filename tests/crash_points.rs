//! The commit over several shards, stopped between every two messages: the router is killed, a connection is cut, a shard crashes.
//! Whatever happens, it is committed on all or on none, the client was told the truth, and nothing is left prepared.

#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use support::relay::{Relay, Then, When};
use support::sharded::config;
use support::{Database, Lone, Raw, Router, eventually};

const SCHEMA: &str = "CREATE TABLE items (id int PRIMARY KEY, n int NOT NULL)";
const WHEN: [When; 3] = [When::Before, When::Behind, When::Answered];
/// The relays read what passes.
const PLAIN: &str = "server_tls_sslmode = \"disable\"";
/// Long: whoever lives ends its commit without the resolver.
const NO_RESOLVER: &str = "two_phase_grace = \"10min\"";

/// One message of the protocol: what it says, to which shard. Shard 0 is the anchor, shard 3 only reads.
#[derive(Clone, Copy, Debug)]
struct Point {
    text: &'static str,
    shard: usize,
    when: When,
    /// Whether the transaction is committed when nothing more arrives than has by then.
    decided: bool,
}

fn points() -> Vec<Point> {
    let messages = [
        ("COMMIT$", 3),
        ("INSERT INTO pgloom.decision", 0),
        ("PREPARE TRANSACTION", 1),
        ("PREPARE TRANSACTION", 2),
        ("COMMIT$", 0),
        ("COMMIT PREPARED", 1),
        ("COMMIT PREPARED", 2),
    ];
    let mut points = Vec::new();
    for (at, (text, shard)) in messages.into_iter().enumerate() {
        for when in WHEN {
            let decided = at > 4 || (at == 4 && when != When::Before);
            points.push(Point { text, shard, when, decided });
        }
    }
    points
}

/// Shards behind relays, and rows of `items` on each of them.
struct World {
    name: String,
    relays: Vec<Relay>,
    /// Ports of the shards themselves.
    ports: Vec<u16>,
    ids: Vec<Vec<i32>>,
}

impl World {
    /// `name` exists on all servers.
    fn create(name: &str, ports: &[u16]) -> Self {
        let relays = ports.iter().map(|port| Relay::start(*port)).collect();
        let mut world = Self { name: name.to_owned(), relays, ports: ports.to_vec(), ids: Vec::new() };
        for shard in 0..ports.len() {
            world.shard(shard).must(SCHEMA);
        }
        let rows: Vec<String> = (1..=500).map(|id| format!("({id}, 0)")).collect();
        let router = Router::start(&world.direct(NO_RESOLVER));
        router.connect(name).must(&format!("INSERT INTO items VALUES {}", rows.join(", ")));
        for shard in 0..ports.len() {
            let ids = world.shard(shard).values("SELECT id FROM items ORDER BY id");
            world.ids.push(ids.iter().map(|id| id.parse().unwrap()).collect());
        }
        assert!(world.ids.iter().all(|ids| ids.len() > 50), "enough rows on every shard");
        world
    }

    fn shard(&self, shard: usize) -> Raw {
        Raw::connect(self.ports[shard], "postgres", &self.name).unwrap()
    }

    /// A configuration past the relays.
    fn direct(&self, general: &str) -> String {
        config(&self.name, &self.ports, general, "")
    }

    /// A router whose connections to the shards can be stopped.
    fn victim(&self, general: &str) -> Router {
        let ports: Vec<u16> = self.relays.iter().map(|relay| relay.port).collect();
        Router::start(&config(&self.name, &ports, &format!("{PLAIN}\n{general}"), ""))
    }

    /// Writes the `nth` row of the shards 0, 1, 2 and reads that of shard 3, where there is one; COMMIT is to follow.
    fn write(&self, raw: &mut Raw, nth: usize) {
        raw.must("BEGIN");
        for shard in 0..3 {
            raw.must(&format!("UPDATE items SET n = n + 1 WHERE id = {}", self.ids[shard][nth]));
        }
        if let Some(ids) = self.ids.get(3) {
            raw.must(&format!("SELECT n FROM items WHERE id = {}", ids[nth]));
        }
    }

    fn prepared(&self) -> Vec<String> {
        let sql = format!("SELECT gid FROM pg_prepared_xacts WHERE database = '{}'", self.name);
        (0..self.ports.len()).flat_map(|shard| self.shard(shard).values(&sql)).collect()
    }

    /// Whether the `nth` transaction is committed; it is so everywhere or nowhere.
    #[track_caller]
    fn is_committed(&self, nth: usize, what: &dyn std::fmt::Debug) -> bool {
        let on = |shard: usize| {
            let sql = format!("SELECT n FROM items WHERE id = {}", self.ids[shard][nth]);
            self.shard(shard).value(&sql)
        };
        let all: Vec<String> = (0..3).map(on).collect();
        assert!(all == ["0"; 3] || all == ["1"; 3], "{what:?}: {all:?}");
        all[0] == "1"
    }
}

#[test]
fn a_router_killed_at_any_message_leaves_all_or_nothing() {
    let db = Database::create("killed");
    let world = World::create(&db.name, &db.ports());
    let _resolver = Router::start(&world.direct("two_phase_grace = \"1s\""));
    // One who is killed does not hear an answer.
    let points: Vec<Point> = points().into_iter().filter(|point| point.when != When::Answered).collect();
    let mut told = Vec::new();
    for (nth, point) in points.iter().enumerate() {
        let router = world.victim(NO_RESOLVER);
        let mut raw = router.connect(&world.name);
        world.write(&mut raw, nth);
        let pid = rustix::process::Pid::from_raw(router.pid().cast_signed()).unwrap();
        let kill = move || rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        let sprung = world.relays[point.shard].set(point.text, point.when, Then::Cut, kill);
        let reply = raw.simple("COMMIT");
        sprung.recv_timeout(Duration::from_secs(20)).unwrap_or_else(|_| panic!("{point:?} was never reached"));
        told.push(reply.error.is_none());
    }
    eventually(30, "nothing is prepared", || world.prepared().is_empty());
    for (nth, point) in points.iter().enumerate() {
        assert_eq!(world.is_committed(nth, point), point.decided, "{point:?}");
        assert!(point.decided || !told[nth], "{point:?}: told what was never decided");
    }
}

#[test]
fn a_connection_cut_at_any_message_gives_a_certain_answer() {
    let db = Database::create("cut");
    let world = World::create(&db.name, &db.ports());
    let router = world.victim(NO_RESOLVER);
    for (nth, point) in points().iter().enumerate() {
        let mut raw = router.connect(&world.name);
        world.write(&mut raw, nth);
        let sprung = world.relays[point.shard].set(point.text, point.when, Then::Cut, || ());
        let start = Instant::now();
        let reply = raw.simple("COMMIT");
        let took = start.elapsed();
        sprung.recv_timeout(Duration::from_secs(5)).unwrap_or_else(|_| panic!("{point:?} was never reached"));
        // A connection that breaks behind the answer of one who only reads, or who has prepared, stops nobody.
        let harmless = point.when == When::Answered && point.shard != 0;
        let expected = if point.decided || harmless { "" } else { "40000" };
        assert_eq!((reply.code(), reply.status), (expected, b'I'), "{point:?}: {reply:?}");
        assert!(reply.notices.is_empty(), "{point:?}: {reply:?}");
        assert_eq!(world.is_committed(nth, point), expected.is_empty(), "{point:?}");
        assert_eq!(world.prepared(), Vec::<String>::new(), "{point:?}: without a resolver");
        assert!(took < Duration::from_secs(5), "{point:?}: {took:?}");
        assert_eq!(raw.value("SELECT count(*) FROM items"), "500", "{point:?}: the session goes on");
    }
}

/// Three servers of the test's own, with the table in a database of their own.
fn lone_world(name: &str) -> (Vec<Arc<Lone>>, World) {
    let lones: Vec<Arc<Lone>> = std::thread::scope(|scope| {
        let made: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let lone = Lone::create();
                    lone.start();
                    lone.connect("postgres").must(&format!("CREATE DATABASE {name}"));
                    Arc::new(lone)
                })
            })
            .collect();
        made.into_iter().map(|lone| lone.join().unwrap()).collect()
    });
    let ports: Vec<u16> = lones.iter().map(|lone| lone.port).collect();
    (lones, World::create(name, &ports))
}

fn crash(lone: &Arc<Lone>) -> impl FnOnce() + Send + 'static {
    let lone = Arc::clone(lone);
    move || {
        lone.kill();
        lone.start();
    }
}

#[test]
fn a_shard_that_crashes_at_any_message_keeps_what_was_decided() {
    let (lones, world) = lone_world("crashes");
    let router = world.victim(NO_RESOLVER);
    let points = points().into_iter().filter(|point| point.shard < 3);
    for (nth, point) in points.enumerate() {
        let mut raw = router.connect(&world.name);
        world.write(&mut raw, nth);
        let sprung = world.relays[point.shard].set(point.text, point.when, Then::Cut, crash(&lones[point.shard]));
        let reply = raw.simple("COMMIT");
        sprung.recv_timeout(Duration::from_secs(30)).unwrap_or_else(|_| panic!("{point:?} was never reached"));
        let harmless = point.when == When::Answered && point.shard != 0;
        let expected = if point.decided || harmless { "" } else { "40000" };
        assert_eq!((reply.code(), reply.status), (expected, b'I'), "{point:?}: {reply:?}");
        assert!(reply.notices.is_empty(), "{point:?}: {reply:?}");
        assert_eq!(world.is_committed(nth, &point), expected.is_empty(), "{point:?}");
        assert_eq!(world.prepared(), Vec::<String>::new(), "{point:?}: without a resolver");
    }
}

#[test]
fn an_anchor_that_crashes_while_others_are_asked_decides_all_the_same() {
    let (lones, world) = lone_world("anchors");
    let router = world.victim(NO_RESOLVER);
    let others = points().into_iter().filter(|point| matches!(point.shard, 1 | 2) && point.when != When::Behind);
    for (nth, point) in others.enumerate() {
        let mut raw = router.connect(&world.name);
        world.write(&mut raw, nth);
        let sprung = world.relays[point.shard].set(point.text, point.when, Then::Pass, crash(&lones[0]));
        let reply = raw.simple("COMMIT");
        sprung.recv_timeout(Duration::from_secs(30)).unwrap_or_else(|_| panic!("{point:?} was never reached"));
        let expected = if point.decided { "" } else { "40000" };
        assert_eq!((reply.code(), reply.status), (expected, b'I'), "{point:?}: {reply:?}");
        assert_eq!(world.is_committed(nth, &point), point.decided, "{point:?}");
        assert_eq!(world.prepared(), Vec::<String>::new(), "{point:?}: without a resolver");
    }
}

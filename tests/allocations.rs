//! What the router allocates for a routed point read: nothing, once it has seen the statement. Counted by this process's allocator, in which the
//! router runs; the client allocates nothing itself. Each test is to be alone in its process.

#![allow(clippy::unwrap_used)]

mod support;

use std::alloc::System;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc;
use std::time::Duration;

use pgloom::app::{Ending, Router};
use pgloom::config::Draft;
use pgloom::secret::Secret;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use support::Database;
use support::raw::{Value, message};
use support::sharded::config;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Statements between two looks at the counter, and how often it is looked at.
const STATEMENTS: usize = 4;
const LOOKS: usize = 200;
/// What is sent before anything is counted: the caches learn, connections open, buffers grow.
const WARM: usize = 400;
const KEYS: std::ops::RangeInclusive<i32> = 1..=40;
const READ: &str = "SELECT id, name FROM items WHERE id = $1";
const IDLE: [u8; 6] = [b'Z', 0, 0, 0, 5, b'I'];

/// A router on a thread of its own, as `pgloom serve` runs it. Dropped: told to end, and waited for.
struct InProcess {
    address: SocketAddr,
    http_port: u16,
    stop: Option<tokio::sync::oneshot::Sender<Ending>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl InProcess {
    /// Over a database of two shards that has the rows 1 to 40 of `items`.
    fn of_items(db: &Database, general: &str) -> Self {
        db.everywhere(
            "CREATE TABLE items (id int PRIMARY KEY, name text); CREATE TABLE parts (id int); CREATE TABLE places (x int)",
        );
        let general = format!("log_level = \"warn\"\nserver_tls_sslmode = \"disable\"\n{general}");
        let router = Self::start(&db.name, &config(&db.name, &db.ports(), &general, ""));
        let mut client = Client::connect(router.address, &db.name);
        for id in KEYS {
            client.ask(&message::query(&format!("INSERT INTO items VALUES ({id}, 'item {id}')")));
        }
        router
    }

    fn start(name: &str, text: &str) -> Self {
        let (port, http_port) = (support::cluster::free_port(), support::cluster::free_port());
        let text = text.replace("{port}", &port.to_string()).replace("{http_port}", &http_port.to_string());
        let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.toml"));
        std::fs::write(&path, text).unwrap();
        let settings = Draft::load(&path).unwrap().settings(None).unwrap();
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let (told, started) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let router =
                    Router::start(&settings, &Secret::new(*b"a key of the test, for strangers")).await.unwrap();
                told.send(router.addresses()[0]).unwrap();
                router.run(async { stopped.await.unwrap_or(Ending::AtOnce) }).await;
            });
        });
        let address = started.recv_timeout(Duration::from_secs(30)).unwrap();
        Self { address, http_port, stop: Some(stop), thread: Some(thread) }
    }

    /// The value of a metric without labels.
    fn metric(&self, name: &str) -> f64 {
        let mut stream = TcpStream::connect(("127.0.0.1", self.http_port)).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
    }
}

impl Drop for InProcess {
    fn drop(&mut self) {
        let _ = self.stop.take().map(|stop| stop.send(Ending::AtOnce));
        let _ = self.thread.take().map(std::thread::JoinHandle::join);
    }
}

/// A client that is logged in, and never allocates again.
struct Client {
    stream: TcpStream,
    answer: Box<[u8; 4096]>,
}

impl Client {
    fn connect(address: SocketAddr, database: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let mut client = Self { stream, answer: Box::new([0; 4096]) };
        client.ask(&message::startup(196_608, &[("user", "postgres"), ("database", database)]));
        client
    }

    /// Sends this, and reads to ReadyForQuery.
    fn ask(&mut self, request: &[u8]) -> &[u8] {
        self.stream.write_all(request).unwrap();
        self.answer()
    }

    fn answer(&mut self) -> &[u8] {
        let mut end = 0;
        while !self.answer[..end].ends_with(&IDLE) {
            match self.stream.read(&mut self.answer[end..]).unwrap() {
                0 => panic!("the router has closed the connection: {:?}", String::from_utf8_lossy(&self.answer[..end])),
                n => end += n,
            }
        }
        &self.answer[..end]
    }
}

/// How many allocations each of the looks saw, over so many of these statements by turns: each is sent by all clients at once, the answers
/// are read in the order of the clients.
fn count(clients: &mut [Client], requests: &[Vec<u8>]) -> Vec<usize> {
    let mut next = requests.iter().cycle();
    let mut step = |clients: &mut [Client]| {
        let request = next.next().unwrap();
        for client in &mut *clients {
            client.stream.write_all(request).unwrap();
        }
        for client in clients {
            let answer = client.answer();
            assert!(answer.windows(4).any(|bytes| bytes == b"item"), "{:?}", String::from_utf8_lossy(answer));
        }
    };
    (0..WARM).for_each(|_| step(clients));
    let mut counts = Vec::with_capacity(LOOKS);
    for _ in 0..LOOKS {
        let before = ALLOCATOR.stats();
        (0..STATEMENTS).for_each(|_| step(clients));
        let after = ALLOCATOR.stats();
        counts.push(after.allocations + after.reallocations - before.allocations - before.reallocations);
    }
    counts
}

/// Nobody has allocated: the looks that saw something saw a job that looks at the shards now and then.
fn assert_quiet(counts: &[usize], what: &str) {
    let quiet = counts.iter().filter(|count| **count == 0).count();
    assert!(quiet * 2 > LOOKS, "{what}: allocations in {STATEMENTS} statements each: {counts:?}");
}

/// The point read of each key in the simple protocol, in the extended one, and of a statement that is prepared as `point`.
fn reads() -> [(&'static str, Vec<Vec<u8>>); 3] {
    let run = |statement: &str, id: i32| {
        let bind = message::bind("", statement, &[Value::text(&id.to_string())], &[]);
        [bind, message::describe(b'P', ""), message::execute("", 0), message::sync()].concat()
    };
    let simple = KEYS.map(|id| message::query(&format!("SELECT id, name FROM items WHERE id = {id}"))).collect();
    let extended = KEYS.map(|id| [message::parse("", READ, &[]), run("", id)].concat()).collect();
    [("simple", simple), ("extended", extended), ("prepared", KEYS.map(|id| run("point", id)).collect())]
}

fn clients_of(router: &InProcess, db: &Database, count: usize) -> Vec<Client> {
    let mut clients: Vec<Client> = (0..count).map(|_| Client::connect(router.address, &db.name)).collect();
    for client in &mut clients {
        client.ask(&[message::parse("point", READ, &[]), message::sync()].concat());
    }
    clients
}

#[test]
fn a_point_read_that_is_known_allocates_nothing() {
    let db = Database::create("allocations");
    let router = InProcess::of_items(&db, "");
    let mut clients = clients_of(&router, &db, 1);
    for (protocol, requests) in reads() {
        assert_quiet(&count(&mut clients, &requests), protocol);
    }
}

#[test]
fn a_client_that_waits_for_a_connection_allocates_nothing() {
    const CLIENTS: usize = 4;
    let db = Database::create("allocations_waiting");
    let router = InProcess::of_items(&db, "default_pool_size = 1");
    let mut clients = clients_of(&router, &db, CLIENTS);
    for (protocol, requests) in reads() {
        let before = router.metric("pgloom_wait_seconds_count");
        assert_quiet(&count(&mut clients, &requests), protocol);
        let waited = router.metric("pgloom_wait_seconds_count") - before;
        // All ask for one key at once, for whose shard there is one connection: a few may have come too late to wait.
        let rounds = (WARM + LOOKS * STATEMENTS) as f64;
        assert!(waited > rounds, "{protocol}: {waited} waits in {rounds} rounds of {CLIENTS}");
    }
}

/// What each of those holds who have run a statement and are silent: their session, and nothing of what logins and statements need.
#[test]
fn an_idle_client_holds_little() {
    const CLIENTS: u32 = 300;
    const MOST: f64 = 12_000.0;
    let db = Database::create("allocations_idle");
    let router = InProcess::of_items(&db, "max_client_conn = 1000");
    let held = || {
        let stats = ALLOCATOR.stats();
        stats.bytes_allocated as f64 - stats.bytes_deallocated as f64
    };
    let mut clients = Vec::with_capacity(CLIENTS as usize);
    let before = held();
    for key in KEYS.cycle().take(CLIENTS as usize) {
        let mut client = Client::connect(router.address, &db.name);
        client.ask(&message::query(&format!("SELECT id, name FROM items WHERE id = {key}")));
        clients.push(client);
    }
    let own = f64::from(CLIENTS) * size_of_val(&*clients[0].answer) as f64;
    let each = (held() - before - own) / f64::from(CLIENTS);
    assert!(each < MOST, "{each:.0} bytes each");
    // It is the right thing that is counted.
    assert!(each > 2_000.0, "{each:.0} bytes each");
}

//! What the router allocates for a routed point read: nothing, once it has seen the statement. Counted by this process's allocator, in which the
//! router runs; the client allocates nothing itself.

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
const IDLE: [u8; 6] = [b'Z', 0, 0, 0, 5, b'I'];

/// A router on a thread of its own, as `pgloom serve` runs it. Dropped: told to end, and waited for.
struct InProcess {
    address: SocketAddr,
    stop: Option<tokio::sync::oneshot::Sender<Ending>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl InProcess {
    fn start(name: &str, text: &str) -> Self {
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
        Self { address, stop: Some(stop), thread: Some(thread) }
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
        let mut end = 0;
        while !self.answer[..end].ends_with(&IDLE) {
            match self.stream.read(&mut self.answer[end..]).unwrap() {
                0 => panic!("the router has closed the connection: {:?}", String::from_utf8_lossy(&self.answer[..end])),
                n => end += n,
            }
        }
        &self.answer[..end]
    }

    /// How many allocations each of the looks saw, over so many of these statements by turns.
    fn count(&mut self, requests: &[Vec<u8>]) -> Vec<usize> {
        for request in requests.iter().cycle().take(WARM) {
            let answer = self.ask(request);
            assert!(answer.windows(4).any(|bytes| bytes == b"item"), "{:?}", String::from_utf8_lossy(answer));
        }
        let mut counts = Vec::with_capacity(LOOKS);
        let mut next = requests.iter().cycle();
        for _ in 0..LOOKS {
            let before = ALLOCATOR.stats();
            for _ in 0..STATEMENTS {
                self.ask(next.next().unwrap());
            }
            let after = ALLOCATOR.stats();
            counts.push(after.allocations + after.reallocations - before.allocations - before.reallocations);
        }
        counts
    }
}

#[test]
fn a_point_read_that_is_known_allocates_nothing() {
    let db = Database::create("allocations");
    db.everywhere(
        "CREATE TABLE items (id int PRIMARY KEY, name text); CREATE TABLE parts (id int); CREATE TABLE places (x int)",
    );
    let ports = format!("port = {}", support::cluster::free_port());
    let text = config(&db.name, &db.ports(), "log_level = \"warn\"\nserver_tls_sslmode = \"disable\"", "")
        .replace("port = {port}", &ports);
    let text = text.replace("{http_port}", &support::cluster::free_port().to_string());
    let router = InProcess::start(&db.name, &text);
    let mut client = Client::connect(router.address, &db.name);
    let keys = 1..=40;
    for id in keys.clone() {
        client.ask(&message::query(&format!("INSERT INTO items VALUES ({id}, 'item {id}')")));
    }

    let simple: Vec<Vec<u8>> =
        keys.clone().map(|id| message::query(&format!("SELECT id, name FROM items WHERE id = {id}"))).collect();
    let sql = "SELECT id, name FROM items WHERE id = $1";
    let run = |statement: &str, id: i32| {
        let bind = message::bind("", statement, &[Value::text(&id.to_string())], &[]);
        [bind, message::describe(b'P', ""), message::execute("", 0), message::sync()].concat()
    };
    let extended: Vec<Vec<u8>> = keys.clone().map(|id| [message::parse("", sql, &[]), run("", id)].concat()).collect();
    client.ask(&[message::parse("point", sql, &[]), message::sync()].concat());
    let prepared: Vec<Vec<u8>> = keys.map(|id| run("point", id)).collect();

    for (protocol, requests) in [("simple", simple), ("extended", extended), ("prepared", prepared)] {
        let counts = client.count(&requests);
        // The others saw a job that looks at the shards now and then.
        let quiet = counts.iter().filter(|count| **count == 0).count();
        assert!(quiet * 2 > LOOKS, "{protocol}: allocations in {STATEMENTS} statements each: {counts:?}");
    }
}

//! Those beside whom the others are to be served: one kilobyte a second, half messages, a thousand connections a second.

use std::cell::{Cell, RefCell};
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::client::Door;
use super::support::raw::{Value, message as m};

/// Connections of [`connect_often`] that are under way: one more is not made, and counted.
const UNDER_WAY: usize = 400;
const SLOW_BYTES: usize = 1_000;
/// How long who has stopped in the middle of a message waits to be let go, before he stops in the middle of another.
const STOPPED: Duration = Duration::from_secs(20);

/// How many there are of each kind.
#[derive(Clone, Copy, Debug)]
pub struct Numbers {
    pub slow_readers: usize,
    pub half_senders: usize,
    pub connections_per_second: u32,
}

/// What they did.
#[derive(Debug, Default)]
pub struct Deeds {
    /// Connections that came and went, logged in or not.
    pub came: Cell<u64>,
    /// That were due while as many as are allowed were under way, or that the kernel refused.
    pub not_made: Cell<u64>,
    pub half_messages: Cell<u64>,
    pub slow_bytes: Cell<u64>,
    /// What a client that did nothing wrong but come too often was told instead of being let in.
    pub refused: RefCell<Vec<String>>,
}

fn add(counter: &Cell<u64>, n: u64) {
    counter.set(counter.get() + n);
}

/// All abusers at work; dropped, they are gone, and their sockets with them.
#[derive(Debug)]
pub struct Abusers(Vec<JoinHandle<()>>);

impl Drop for Abusers {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

impl Abusers {
    /// `ids`: keys that exist, on all shards by turns.
    pub fn start(door: &Door, numbers: Numbers, ids: &[i32], deeds: &Rc<Deeds>) -> Self {
        let mut tasks = Vec::new();
        for nth in 0..numbers.slow_readers {
            tasks.push(spawn_local(read_slowly(door.clone(), ids[nth % ids.len()], deeds.clone())));
        }
        for nth in 0..numbers.half_senders {
            tasks.push(spawn_local(send_halves(door.clone(), nth, ids[nth / HALVES % ids.len()], deeds.clone())));
        }
        tasks.push(spawn_local(connect_often(door.clone(), numbers.connections_per_second, deeds.clone())));
        Self(tasks)
    }
}

/// Asks one shard for 100 MB and takes 1,000 bytes of it each second.
async fn read_slowly(door: Door, id: i32, deeds: Rc<Deeds>) {
    let stream = door.open(None, Some(4096)).await.unwrap();
    let mut client = door.login(stream).await.unwrap();
    let sql = format!("SELECT repeat('x', 1000) FROM items, generate_series(1, 100000) WHERE id = {id}");
    client.stream.write_all(&m::query(&sql)).await.unwrap();
    let mut some = [0; SLOW_BYTES];
    // Until it is broken off: it has days to go.
    while client.stream.read_exact(&mut some).await.is_ok() {
        add(&deeds.slow_bytes, SLOW_BYTES as u64);
        sleep(Duration::from_secs(1)).await;
    }
}

/// Places in which [`send_halves`] stops.
const HALVES: usize = 8;

/// Stops in the middle of a message, each time in another one, before and behind its login.
async fn send_halves(door: Door, nth: usize, id: i32, deeds: Rc<Deeds>) {
    let startup = door.startup();
    let query = m::query(&format!("SELECT n FROM items WHERE id = {id}"));
    let parse = m::parse("", "SELECT n FROM items WHERE id = $1", &[]);
    let bind = m::bind("", "", &[Value::text(&id.to_string())], &[]);
    let update = m::parse("", "UPDATE items SET name = $2 WHERE id = $1", &[]);
    let halves: [(bool, Vec<u8>); HALVES] = [
        (false, Vec::new()),
        (false, startup[..startup.len() / 2].to_vec()),
        (true, query[..query.len() / 2].to_vec()),
        (true, b"Q\x3f\0\0\0SELECT n FROM items".to_vec()),
        (true, parse[..parse.len() / 2].to_vec()),
        (true, [&parse[..], &bind[..bind.len() / 2]].concat()),
        // Whole messages without the Sync: its connection is its own until idle_transaction_timeout.
        (true, [&parse[..], &bind, &m::execute("", 0)].concat()),
        (true, [&update[..], b"B\x3f\0\0\0\0\0\0\0"].concat()),
    ];
    for turn in nth.. {
        let (logged_in, bytes) = &halves[turn % halves.len()];
        let Ok(mut stream) = door.open(None, None).await else {
            sleep(Duration::from_secs(1)).await;
            continue;
        };
        if *logged_in {
            match door.login(stream).await {
                Ok(client) => stream = client.stream,
                Err(_) => continue,
            }
        }
        if stream.write_all(bytes).await.is_ok() {
            add(&deeds.half_messages, 1);
            let mut rest = [0; 512];
            let let_go = async { while stream.read(&mut rest).await.is_ok_and(|n| n > 0) {} };
            let _ = timeout(STOPPED, let_go).await;
        }
    }
}

/// So many connections a second: every other one logs in, the rest say nothing and go.
async fn connect_often(door: Door, per_second: u32, deeds: Rc<Deeds>) {
    let period = Duration::from_secs(1) / per_second;
    let mut due = Instant::now();
    // Held here, so that those under way end with this task.
    let mut under_way = tokio::task::JoinSet::new();
    for nth in 0_u32.. {
        sleep_until(due).await;
        due += period;
        while under_way.try_join_next().is_some() {}
        if under_way.len() >= UNDER_WAY {
            add(&deeds.not_made, 1);
            continue;
        }
        // From several addresses: each has its own ports, and those that were used last are not free for a minute.
        let from = Ipv4Addr::new(127, 0, 0, 2 + (nth % 16) as u8);
        let (door, deeds) = (door.clone(), deeds.clone());
        under_way.spawn_local(async move {
            let Ok(stream) = door.open(Some(from), None).await else { return add(&deeds.not_made, 1) };
            if nth.is_multiple_of(2) {
                match door.login(stream).await {
                    Ok(mut client) => drop(client.stream.write_all(&m::terminate()).await),
                    Err(error) => deeds.refused.borrow_mut().push(error),
                }
            }
            add(&deeds.came, 1);
        });
    }
}

//! How a router ends, and how another one takes its place: who may stay, who may finish, and that nobody meets an error.

#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use support::{Raw, Sharded, eventually};

const SOON: Duration = Duration::from_secs(5);

#[test]
fn sigterm_waits_for_clients() {
    let mut world = Sharded::create("term", "shutdown_client_timeout = \"60s\"\nshutdown_timeout = \"60s\"");
    let mut raw = world.connect();
    world.router.signal("TERM");
    eventually(10, "it is not ready", || world.router.http("/readyz").0 == 503);
    assert!(world.router.http("/readyz").1.contains("the router is shutting down"));
    eventually(10, "nobody is taken in", || Raw::open(world.router.port).is_err());
    // Who is there goes on.
    assert_eq!(raw.value("SELECT body FROM plain"), "one");
    raw.must("BEGIN; UPDATE items SET n = n + 1; COMMIT");
    assert_eq!(world.router.wait(Duration::from_millis(300)), None);
    drop(raw);
    assert!(world.router.wait(SOON).unwrap().success());
}

#[test]
fn clients_that_stay_are_sent_away_at_last() {
    let mut world = Sharded::create("stay", "shutdown_client_timeout = \"1s\"\nshutdown_timeout = \"60s\"");
    let (mut idle, mut busy) = (world.connect(), world.connect());
    busy.must("BEGIN; UPDATE items SET n = n + 1");
    let begun = Instant::now();
    world.router.signal("TERM");
    let told = idle.read().unwrap();
    assert_eq!(told.report().code(), "57P01");
    assert!(begun.elapsed() > Duration::from_millis(900), "{:?}", begun.elapsed());
    assert_eq!(world.router.wait(Duration::from_millis(300)), None);
    busy.must("COMMIT");
    assert!(world.router.wait(SOON).unwrap().success());
    assert_eq!(world.db.shard(1).value("SELECT min(n) FROM items"), "1");
}

#[test]
fn sigint_waits_for_transactions_alone() {
    let mut world = Sharded::create("int", "shutdown_timeout = \"2s\"");
    let (mut idle, mut busy) = (world.connect(), world.connect());
    busy.must("BEGIN; UPDATE items SET n = n + 1");
    let begun = Instant::now();
    world.router.signal("INT");
    assert_eq!(idle.read().unwrap().report().code(), "57P01");
    assert!(begun.elapsed() < Duration::from_secs(1));
    // It does not end in time.
    assert!(world.router.wait(Duration::from_secs(8)).unwrap().success());
    assert!(begun.elapsed() > Duration::from_millis(1900));
    eventually(10, "what was not committed is gone", || {
        world.on_each("SELECT max(n) FROM items").iter().all(|n| n == "0")
    });
}

#[test]
fn a_second_signal_ends_it_at_once() {
    for (first, second) in [("TERM", Some("TERM")), ("INT", Some("TERM")), ("QUIT", None)] {
        let mut world = Sharded::create("second", "");
        let mut busy = world.connect();
        busy.must("BEGIN; UPDATE items SET n = n + 1");
        world.router.signal(first);
        if let Some(second) = second {
            assert_eq!(world.router.wait(Duration::from_millis(200)), None);
            world.router.signal(second);
        }
        assert!(world.router.wait(Duration::from_secs(2)).is_some(), "{first}");
    }
}

#[test]
fn clients_are_taken_in_until_the_delay_is_over() {
    let mut world = Sharded::create("delay", "shutdown_delay = \"2s\"");
    world.router.signal("TERM");
    eventually(10, "it is not ready", || world.router.http("/readyz").0 == 503);
    assert_eq!(world.connect().value("SELECT 1"), "1");
    assert!(world.router.wait(Duration::from_secs(8)).unwrap().success());
}

/// What clients of one kind have done, and what they have met.
#[derive(Default)]
struct Tally {
    sessions: AtomicU64,
    statements: AtomicU64,
    stop: AtomicBool,
}

/// Connects, works, leaves, over and over. Returns the first error.
fn come_and_go(port: u16, name: &str, tally: &Tally, statements: u64) -> Option<String> {
    let own = format!("UPDATE items SET n = n + 1 WHERE id IN ({statements}, {}, {})", statements + 1, statements + 2);
    while !tally.stop.load(Ordering::Relaxed) {
        let mut raw = match Raw::connect(port, "postgres", name) {
            Ok(raw) => raw,
            Err(error) => return Some(format!("connect: {error}")),
        };
        for nth in 0..statements {
            let reply = raw.simple(match nth % 3 {
                0 => "SELECT count(*) FROM items",
                1 => "SELECT n FROM items WHERE id = 1",
                // Of its own rows, on several shards.
                _ => &own,
            });
            if let Some(error) = reply.error {
                return Some(format!("{error:?}"));
            }
            tally.statements.fetch_add(1, Ordering::Relaxed);
        }
        tally.sessions.fetch_add(1, Ordering::Relaxed);
        let _ = raw.send(&support::raw::message::terminate());
    }
    None
}

#[test]
fn a_router_takes_anothers_place_and_no_client_notices() {
    let mut world = Sharded::create("upgrade", "so_reuseport = true\nshutdown_client_timeout = \"30s\"");
    let tally = Arc::<Tally>::default();
    let clients: Vec<_> = [1, 5, 40]
        .into_iter()
        .map(|statements| {
            let (port, name, tally) = (world.router.port, world.db.name.clone(), Arc::clone(&tally));
            std::thread::spawn(move || come_and_go(port, &name, &tally, statements))
        })
        .collect();
    let go_on = |tally: &Tally| {
        let before = tally.sessions.load(Ordering::Relaxed);
        eventually(30, "clients come and go", || {
            tally.sessions.load(Ordering::Relaxed) > before + 20 || clients.iter().any(|client| client.is_finished())
        });
    };
    for _ in 0..3 {
        go_on(&tally);
        let second = world.router.start_beside();
        go_on(&tally);
        world.router.signal("TERM");
        let ended = world.router.wait(Duration::from_secs(30));
        assert!(ended.is_some_and(|status| status.success()), "the first router has not ended");
        go_on(&tally);
        world.router = second;
    }
    tally.stop.store(true, Ordering::Relaxed);
    let errors: Vec<String> = clients.into_iter().filter_map(|client| client.join().unwrap()).collect();
    assert!(errors.is_empty(), "{errors:?}");
    assert!(tally.statements.load(Ordering::Relaxed) > 100);
}

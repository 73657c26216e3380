//! Cancel requests that reach another router than that of their client.

#![allow(clippy::unwrap_used)]

mod support;
// Shared with the login tests, which use more of it.
#[allow(dead_code)]
#[path = "login/tls_files.rs"]
mod tls_files;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use support::raw::{Raw, cancel, message as m};
use support::sharded::config;
use support::{Router, Sharded, eventually};
use tls_files::TlsFiles;

/// Between routers: `PL`, 1.
const PASSED_ON: u32 = 0x504c_0001;
const WHO_IS_IT: u32 = 0x504c_0002;

/// How often a router has passed cancel requests on, by what became of them.
fn passed_on(router: &Router, result: &str) -> u64 {
    let text = router.http("/metrics").1;
    let name = format!("pgloom_cancels_passed_on_total{{result=\"{result}\"}} ");
    text.lines().find_map(|line| line.strip_prefix(&name)).map_or(0, |count| count.parse().unwrap())
}

/// Another router over the same shards.
fn another(world: &Sharded, general: &str) -> Router {
    Router::start(&config(&world.db.name, &world.db.ports(), general, ""))
}

/// Each knows the other, by the configuration as it is read again.
fn introduce(routers: [&Router; 2]) {
    let peers = format!("peers = [\"127.0.0.1:{}\", \"127.0.0.1:{}\"]\n", routers[0].port, routers[1].port);
    for router in routers {
        let text = router.config_text().replacen("[general]\n", &format!("[general]\n{peers}"), 1);
        assert_eq!(router.reload(&text), "applied");
    }
}

/// Runs over all shards.
const ALL: &str = "SELECT id, n FROM items ORDER BY id";

/// That statement, waiting for locks.
fn start(world: &Sharded, raw: &mut Raw) -> Vec<Raw> {
    let locks = world.lock(&[0, 1, 2, 3]);
    raw.send(&m::query(ALL)).unwrap();
    eventually(20, "the statement runs", || still_runs(world));
    locks
}

/// On each shard. What the routers ask of the catalog waits for such locks as well, and is not meant.
fn still_runs(world: &Sharded) -> bool {
    let waits = format!("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query = '{ALL}'");
    world.on_each(&format!("{waits} AND datname = current_database()")).iter().all(|count| count == "1")
}

#[track_caller]
fn is_canceled(raw: &mut Raw, locks: Vec<Raw>) {
    let messages = raw.read_to_ready().unwrap();
    let error = messages.iter().find(|message| message.tag == b'E').expect("an error").report();
    assert_eq!((error.code(), error.message()), ("57014", "canceling statement due to user request"));
    drop(locks);
    assert_eq!(raw.value("SELECT count(*) FROM items"), "60");
}

fn say(port: u16, code: u32, rest: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(&(8 + rest.len() as u32).to_be_bytes()).unwrap();
    stream.write_all(&code.to_be_bytes()).unwrap();
    stream.write_all(rest).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut said = Vec::new();
    let _ = stream.read_to_end(&mut said);
    said
}

#[test]
fn a_cancel_that_reaches_another_router_is_passed_on() {
    let world = Sharded::create("cancelpeer", "");
    let other = another(&world, "");
    let mut raw = world.connect();
    let (pid, secret) = raw.key.clone();
    introduce([&world.router, &other]);
    let locks = start(&world, &mut raw);
    // Until the other one has asked who is there, it drops the request.
    eventually(20, "the other router knows this one", || {
        assert_eq!(cancel(other.port, pid, &secret), b"");
        passed_on(&other, "router") > 0
    });
    is_canceled(&mut raw, locks);
    // Only with the secret, and nobody else's statement.
    let locks = start(&world, &mut raw);
    let mut wrong = secret.clone();
    wrong[3] ^= 1;
    let before = passed_on(&other, "router");
    cancel(other.port, pid, &wrong);
    cancel(other.port, pid ^ 1, &secret);
    assert_eq!(passed_on(&other, "router"), before + 2, "the other router does not know the secret");
    // A number that no router has.
    let unknown = passed_on(&other, "unknown");
    let number =
        (1..2048).find(|number| number << 20 != pid & 0x7ff0_0000 && Some(*number) != own_number(other.port)).unwrap();
    cancel(other.port, number << 20 | pid & 0xf_ffff, &secret);
    cancel(other.port, 0, &secret);
    cancel(other.port, u32::MAX, &secret);
    assert_eq!(passed_on(&other, "unknown"), unknown + 1);
    // What was passed on once goes no further: nothing goes in circles.
    let key = [&pid.to_be_bytes()[..], &secret].concat();
    assert_eq!(say(other.port, PASSED_ON, &key), b"");
    assert_eq!((passed_on(&other, "unknown"), passed_on(&other, "router")), (unknown + 2, before + 2));
    assert_eq!(passed_on(&world.router, "router") + passed_on(&world.router, "unknown"), 0);
    assert!(still_runs(&world), "it still runs");
    // To its own router it is as good as the client's own.
    assert_eq!(say(world.router.port, PASSED_ON, &key), b"");
    is_canceled(&mut raw, locks);
    for text in [world.router.log_text(), other.log_text()] {
        let secret: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
        assert!(!text.contains(&secret) && !text.contains(&format!("{:?}", raw.key.1)), "a secret is in the log");
    }
}

/// `None`: the router closed its door in that very moment (CONFIG.md, another binary without downtime).
fn own_number(port: u16) -> Option<u32> {
    say(port, WHO_IS_IT, &[]).try_into().ok().map(u32::from_be_bytes)
}

#[test]
fn a_router_that_is_gone_or_hangs_holds_nobody_up() {
    let mut world = Sharded::create("canceldead", "");
    let other = another(&world, "");
    introduce([&world.router, &other]);
    let raw = world.connect();
    let (pid, secret) = raw.key.clone();
    assert_eq!(own_number(world.router.port), Some(pid >> 20));
    eventually(20, "the other router knows this one", || {
        cancel(other.port, pid, &secret);
        passed_on(&other, "router") > 0
    });
    let mut clients = Raw::connect(other.port, "postgres", &world.db.name).unwrap();
    world.router.signal("STOP");
    let begun = Instant::now();
    let waiting = std::thread::scope(|scope| {
        // Many at a time: no more than 64 wait for it, the others are dropped.
        let all: Vec<_> = (0..100).map(|_| scope.spawn(|| cancel(other.port, pid, &secret))).collect();
        let asked = Instant::now();
        while all.iter().any(|one| !one.is_finished()) {
            assert_eq!(clients.value("SELECT body FROM plain"), "one");
            std::thread::sleep(Duration::from_millis(20));
        }
        asked.elapsed()
    });
    assert!(waiting < Duration::from_secs(12), "{waiting:?}");
    assert!(begun.elapsed() > Duration::from_secs(1), "it was asked");
    assert!(passed_on(&other, "too_many") > 0 && passed_on(&other, "failed") > 0);
    world.router.signal("KILL");
    world.router.wait(Duration::from_secs(5)).unwrap();
    let begun = Instant::now();
    cancel(other.port, pid, &secret);
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
}

#[test]
fn a_router_that_hands_over_its_port_still_gets_the_cancels_of_its_clients() {
    let world = Sharded::create(
        "cancelhand",
        "so_reuseport = true\nshutdown_client_timeout = \"60s\"\nshutdown_timeout = \"60s\"",
    );
    let mut raw = world.connect();
    let (pid, secret) = raw.key.clone();
    let third = another(&world, "");
    introduce([&third, &world.router]);
    eventually(20, "the third router knows this one", || {
        cancel(third.port, pid, &secret);
        passed_on(&third, "router") > 0
    });
    let _new = world.router.start_beside();
    // Before the old one drains, requests reach the one or the other.
    for _ in 0..3 {
        let locks = start(&world, &mut raw);
        cancel(world.router.port, pid, &secret);
        is_canceled(&mut raw, locks);
    }
    world.router.signal("TERM");
    eventually(20, "the new one alone takes clients in", || {
        (0..20).all(|_| own_number(world.router.port).is_some_and(|number| number != pid >> 20))
    });
    let locks = start(&world, &mut raw);
    let mut wrong = secret.clone();
    wrong[0] ^= 1;
    cancel(world.router.port, pid, &wrong);
    assert!(still_runs(&world), "it still runs");
    cancel(world.router.port, pid, &secret);
    is_canceled(&mut raw, locks);
    // From the third to the shared port, where the new one passes it on to the old one.
    let locks = start(&world, &mut raw);
    cancel(third.port, pid, &secret);
    is_canceled(&mut raw, locks);
}

#[test]
fn other_routers_are_spoken_to_with_the_tls_that_is_asked_for() {
    let world = Sharded::create("cancelpeertls", "");
    let (files, others) = (TlsFiles::make(), TlsFiles::make());
    let dir = files.dir().display();
    let own = format!(
        "client_tls_sslmode = \"prefer\"\nclient_tls_cert_file = \"{dir}/server.crt\"\nclient_tls_key_file = \"{dir}/server.key\""
    );
    let (plain, secure) = (another(&world, ""), another(&world, &own));
    // Of each: whether the router that asks it may learn whose the clients are, and so pass their requests on.
    let cases = [
        ("disable", None, true, true),
        ("prefer", None, true, true),
        ("require", None, false, true),
        ("verify-ca", Some(&files), false, true),
        ("verify-full", Some(&files), false, true),
        ("verify-ca", Some(&others), false, false),
    ];
    for (mode, authority, to_plain, to_secure) in cases {
        let authority = authority
            .map(|files| format!("peer_tls_ca_file = \"{}\"\n", files.dir().join("ca.crt").display()))
            .unwrap_or_default();
        let peers = format!("peers = [\"127.0.0.1:{}\", \"127.0.0.1:{}\"]", plain.port, secure.port);
        let asking = another(&world, &format!("peer_tls_sslmode = \"{mode}\"\n{authority}{peers}"));
        for (router, may) in [(&plain, to_plain), (&secure, to_secure)] {
            let mut raw = router.connect(&world.db.name);
            let (pid, secret) = raw.key.clone();
            let locks = start(&world, &mut raw);
            let before = passed_on(&asking, "router");
            if may {
                eventually(20, &format!("{mode} knows it"), || {
                    assert_eq!(cancel(asking.port, pid, &secret), b"");
                    passed_on(&asking, "router") > before
                });
                is_canceled(&mut raw, locks);
            } else {
                // It has been asked, in vain, by then.
                std::thread::sleep(Duration::from_millis(1500));
                assert_eq!(cancel(asking.port, pid, &secret), b"");
                assert_eq!((passed_on(&asking, "router"), passed_on(&asking, "unknown") > 0), (before, true), "{mode}");
                drop(locks);
                assert!(raw.read_to_ready().unwrap().iter().all(|message| message.tag != b'E'));
            }
        }
    }
}

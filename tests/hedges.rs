//! Reads that a replica does not answer in time are sent to a second server: the first answer counts, and the other server stops.

#![allow(clippy::unwrap_used, dead_code)]

#[path = "chaos/bank.rs"]
mod bank;
mod support;
#[path = "servers/world.rs"]
mod world;

use std::time::{Duration, Instant};

use bank::{BALANCE, NAME};
use support::raw::{Message, Raw, Reply, Value, cancel, message as m};
use support::relay::{EXECUTE, Relay, Then, When};
use support::{Lone, Router, eventually};
use world::World;

const GENERAL: &str = "server_tls_sslmode = \"disable\"\nmax_replica_lag = 0\nread_your_writes = false\n\
     read_preference = \"nearest\"\nhedge_after = \"100ms\"";
/// How long a server is held up.
const LATE: Duration = Duration::from_secs(3);

/// A router whose replica of `s0` is behind a relay.
fn router(world: &World, relay: &Relay) -> Router {
    let config = world::config(&[&[&world.a, &world.b], &[&world.other]], GENERAL);
    Router::start(&config.replace(&format!("port = {}", world.b.port), &format!("port = {}", relay.port)))
}

/// How many reads were hedged, by what became of them.
fn hedged(router: &Router, result: &str) -> u64 {
    let text = router.http("/metrics").1;
    let begins = format!("pgloom_hedged_reads_total{{result=\"{result}\"}}");
    let line = text.lines().find(|line| line.starts_with(&begins));
    line.and_then(|line| line.rsplit(' ').next()).map_or(0, |count| count.parse().unwrap())
}

fn first_cell(reply: &Reply) -> String {
    assert_eq!((reply.code(), reply.status), ("", b'I'), "{reply:?}");
    let row = reply.answers.iter().flat_map(|answer| &answer.rows).next().unwrap();
    String::from_utf8(row[0].clone().unwrap()).unwrap()
}

/// Those that last: not of somebody who has just asked something.
fn lasting(server: &Lone) -> Vec<String> {
    let first = connections(server);
    std::thread::sleep(Duration::from_millis(500));
    let later = connections(server);
    first.into_iter().filter(|pid| later.contains(pid)).collect()
}

/// The connections of others to a server's database.
fn connections(server: &Lone) -> Vec<String> {
    server.connect(NAME).values(
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() \
           AND backend_type = 'client backend' ORDER BY pid",
    )
}

const BY: &str = "SELECT balance FROM accounts WHERE id = $1";

fn ask(raw: &mut Raw, form: &str, account: i32) -> Reply {
    let value = [Value::text(&account.to_string())];
    match form {
        "simple" => raw.simple(&format!("SELECT balance FROM accounts WHERE id = {account}")),
        "unnamed" => raw.extended(BY, &[23], &value, 0),
        _ => {
            let messages = [m::bind("", "s", &value, &[]), m::describe(b'P', ""), m::execute("", 0), m::sync()];
            raw.exchange_with(&messages.concat(), None, true)
        }
    }
}

#[test]
fn the_second_server_answers_where_the_first_is_late() {
    let world = World::create("");
    let relay = Relay::start(world.b.port);
    let router = router(&world, &relay);
    let (_, account) = world.client();
    let mut raw = router.connect(NAME);
    assert_eq!(raw.exchange_with(&[m::parse("s", BY, &[23]), m::sync()].concat(), None, true).code(), "");
    for (nth, (form, text)) in
        [("simple", "SELECT balance"), ("unnamed", EXECUTE), ("named", EXECUTE)].into_iter().enumerate()
    {
        // Both servers know the statement.
        (0..60).for_each(|_| drop(first_cell(&ask(&mut raw, form, account))));
        let before = lasting(&world.b);
        let sprung = relay.set(text, When::Before, Then::Pass, || std::thread::sleep(LATE));
        let began = Instant::now();
        eventually(20, "the replica is read", || {
            let asked = Instant::now();
            assert_eq!(first_cell(&ask(&mut raw, form, account)), BALANCE.to_string());
            assert!(asked.elapsed() < LATE - Duration::from_secs(1), "{form}: {:?}", asked.elapsed());
            hedged(&router, "won") == nth as u64 + 1
        });
        // When it goes on, it stops, and its connection is as good as before.
        let left = (LATE + Duration::from_millis(1500)).saturating_sub(began.elapsed());
        std::thread::sleep(left);
        sprung.try_recv().unwrap();
        // Whoever read meanwhile may have opened another one.
        let now = connections(&world.b);
        assert!(before.iter().all(|pid| now.contains(pid)), "{form}: {before:?} {now:?}");
    }
    let servers = raw.must("SHOW pgloom.servers");
    let row = servers.answers[0].rows.iter().find(|row| row[0].as_deref() == Some(b"s0")).unwrap();
    assert_eq!(row[11..13], [Some(b"3".to_vec()), Some(b"3".to_vec())]);
    // The settings of the session are those of the second server too, and what writes goes to one.
    raw.must("SET extra_float_digits = 3");
    assert_eq!(first_cell(&ask(&mut raw, "simple", account)), BALANCE.to_string());
    raw.must(&format!("UPDATE accounts SET balance = balance + 1 WHERE id = {account}"));
    assert_eq!(
        world.a.connect(NAME).value(&format!("SELECT balance FROM accounts WHERE id = {account}")),
        (BALANCE + 1).to_string()
    );
}

#[test]
fn the_server_that_is_not_the_first_is_told_to_stop() {
    let world = World::create("");
    let relay = Relay::start(world.b.port);
    let router = router(&world, &relay);
    let (_, account) = world.client();
    let mut raw = router.connect(NAME);
    // Ten million rows, for which no function is needed.
    let values = (0..7).map(|n| format!(", (VALUES {}) v{n} (x)", ["(1)"; 10].join(", "))).collect::<String>();
    let slow = format!("SELECT count(*) FROM accounts{values} WHERE id = {account}");
    (0..40).for_each(|_| drop(first_cell(&ask(&mut raw, "simple", account))));
    let busy = |server: &Lone| -> usize {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'SELECT count(*) FROM accounts%'";
        server.connect(NAME).value(sql).parse().unwrap()
    };
    let before = [lasting(&world.a), lasting(&world.b)];
    eventually(60, "a read is sent to both", || {
        assert_eq!(first_cell(&raw.simple(&slow)), "10000000");
        hedged(&router, "won") + hedged(&router, "lost") > 0
    });
    eventually(3, "nobody works on it any more", || busy(&world.a) + busy(&world.b) == 0);
    std::thread::sleep(Duration::from_millis(300));
    let after = [connections(&world.a), connections(&world.b)];
    for (before, after) in before.iter().zip(&after) {
        assert!(before.iter().all(|pid| after.contains(pid)), "one was closed: {before:?} {after:?}");
    }
    // A cancel request ends it on both.
    let sent = hedged(&router, "won") + hedged(&router, "lost");
    assert_eq!(first_cell(&ask(&mut raw, "simple", account)), BALANCE.to_string());
    assert_eq!(hedged(&router, "won") + hedged(&router, "lost"), sent);
}

/// A server whose word counts for nothing works for others once it is given back: a cancel of the statement is none of theirs.
#[test]
fn a_cancel_meets_nobody_else() {
    let world = World::create("");
    let relay = Relay::start(world.b.port);
    let general = format!("{GENERAL}\ndefault_pool_size = 1");
    let config = world::config(&[&[&world.a, &world.b], &[&world.other]], &general);
    let router = Router::start(&config.replace(&format!("port = {}", world.b.port), &format!("port = {}", relay.port)));
    let (_, account) = world.client();
    let (mut raw, mut other) = (router.connect(NAME), router.connect(NAME));
    other.must("SET pgloom.read_preference = 'primary'");
    (0..60).for_each(|_| drop(first_cell(&ask(&mut raw, "simple", account))));
    // The primary says so at once. Of the replica this may be for want of a change that has not come to it.
    let wrong = m::query(&format!("SELECT nothing FROM accounts WHERE id = {account}"));
    let mut left = 60;
    loop {
        relay.set("SELECT nothing", When::Before, Then::Pass, || std::thread::sleep(LATE));
        raw.set_patience(Duration::from_millis(700));
        raw.send(&wrong).unwrap();
        let answered = raw.read_to_ready();
        raw.set_patience(Duration::from_secs(20));
        if answered.is_err() {
            break;
        }
        left -= 1;
        assert!(left > 0, "the replica is never asked first");
        // Until it has been looked at again, it need not have what the catalog was read after.
        std::thread::sleep(Duration::from_millis(400));
    }
    other.send(&m::query(&format!("SELECT balance, pg_sleep(2) FROM accounts WHERE id = {account}"))).unwrap();
    std::thread::sleep(Duration::from_millis(500));
    cancel(raw.port(), raw.key.0, &raw.key.1);
    let codes = |messages: Vec<Message>| -> Vec<String> {
        messages
            .iter()
            .filter(|message| message.tag == b'E')
            .map(|message| message.report().code().to_owned())
            .collect()
    };
    assert_eq!(codes(other.read_to_ready().unwrap()), [""; 0]);
    let own = codes(raw.read_to_ready().unwrap());
    assert!(["42703", "57014"].contains(&&*own[0]), "{own:?}");
}

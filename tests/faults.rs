//! A network that fails, between router and shard and between client and router, by a relay: what clients see, how soon it is noticed, how
//! soon all is well again, and that nothing hangs beyond its time. `make faults` prints the figures, docs/RELIABILITY.md has them.

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use support::pipe::Pipe;
use support::raw::{Raw, message as m};
use support::sharded::config;
use support::{Database, Router, SHARDS, eventually};

/// A statement may take so long; then it is cancelled on its server.
const QUERY: Duration = Duration::from_millis(1_000);
/// A server that cannot be told to stop is not waited for any longer than this (`session/deadlines.rs`).
const REACH: Duration = Duration::from_secs(1);
/// One that was told and has not stopped is not waited for any longer than this (`cancel_grace`).
const CANCEL: Duration = Duration::from_secs(2);
/// Everybody who was caught is well again by then, once the fault is over.
const GRACE: Duration = Duration::from_secs(10);
/// What a machine that is busy with other things may add.
const SLACK: Duration = Duration::from_secs(4);
const GENERAL: &str = "query_timeout = \"1s\"\nserver_connect_timeout = \"1s\"\nquery_wait_timeout = \"2s\"\n\
     idle_transaction_timeout = \"1s\"\nclient_write_timeout = \"1s\"\ntwo_phase_grace = \"1s\"\n";

/// A database whose shard `s1` is behind a pipe, and a router whose clients are behind another one where they want to be.
struct World {
    router: Router,
    db: Database,
    shard: Pipe,
    clients: Pipe,
    /// Ids of rows by shard.
    ids: Vec<i32>,
}

impl World {
    fn create(label: &str) -> Self {
        let db = Database::create(label);
        (0..SHARDS)
            .for_each(|shard| drop(db.shard(shard).must("CREATE TABLE items (id int PRIMARY KEY, n int, name text)")));
        let mut ports = db.ports();
        let shard = Pipe::start(ports[1]);
        ports[1] = shard.port;
        let router = Router::start(&config(&db.name, &ports, GENERAL, ""));
        let rows: Vec<String> = (1..=40).map(|id| format!("({id}, 0, repeat('x', 1000))")).collect();
        router.connect(&db.name).must(&format!("INSERT INTO items VALUES {}", rows.join(", ")));
        let ids =
            (0..SHARDS).map(|shard| db.shard(shard).value("SELECT min(id) FROM items").parse().unwrap()).collect();
        let clients = Pipe::start(router.port);
        Self { router, db, shard, clients, ids }
    }

    fn connect(&self) -> Raw {
        self.router.connect(&self.db.name)
    }
}

/// What one client has seen, statement by statement: when it began, how long it took, and its SQLSTATE or "".
type Seen = Vec<(Instant, Duration, String)>;

/// Asks one statement after the other until it is told to stop; connects anew when its connection ends.
fn client(port: u16, database: &str, sql: &str, stop: &AtomicBool) -> Seen {
    let mut seen = Seen::new();
    let mut raw: Option<Raw> = None;
    while !stop.load(Ordering::Relaxed) {
        let began = Instant::now();
        let code = match &mut raw {
            None => match Raw::connect(port, "postgres", database) {
                Ok(connected) => {
                    raw = Some(connected);
                    continue;
                }
                Err(_) => "login".to_owned(),
            },
            Some(connected) => {
                let answered = connected.send(&m::query(sql)).and_then(|()| connected.read_to_ready());
                match answered {
                    Ok(messages) => {
                        let error = messages.iter().find(|message| message.tag == b'E');
                        error.map_or(String::new(), |error| error.report().code().to_owned())
                    }
                    Err(_) => {
                        raw = None;
                        "gone".to_owned()
                    }
                }
            }
        };
        seen.push((began, began.elapsed(), code));
        thread::sleep(Duration::from_millis(5));
    }
    seen
}

/// The figures of one fault.
struct Figures {
    /// From the fault to the first answer that tells of it, or to the first that took longer than a fifth of a second.
    detected: Option<Duration>,
    /// From the mending to the first statement that began then and was answered well, of the client that waited longest.
    recovered: Duration,
    errors: BTreeMap<String, usize>,
    longest: Duration,
    good_meanwhile: usize,
}

/// `clients` ask `sql` while the fault comes, lasts for `lasts`, and goes.
fn measure(
    world: &World,
    sql: &str,
    clients: usize,
    lasts: Duration,
    fault: impl FnOnce(),
    mend: impl FnOnce(),
) -> Figures {
    let stop = Arc::new(AtomicBool::new(false));
    let asking: Vec<_> = (0..clients)
        .map(|_| {
            let (stop, sql, name, port) = (Arc::clone(&stop), sql.to_owned(), world.db.name.clone(), world.router.port);
            thread::spawn(move || client(port, &name, &sql, &stop))
        })
        .collect();
    thread::sleep(Duration::from_millis(600));
    let broke = Instant::now();
    fault();
    thread::sleep(lasts);
    let mended = Instant::now();
    mend();
    // Whoever was caught is let go in its time, and goes on.
    thread::sleep(GRACE + SLACK);
    stop.store(true, Ordering::Relaxed);
    let seen: Vec<Seen> = asking.into_iter().map(|client| client.join().unwrap()).collect();
    let late = Duration::from_millis(200);
    let told = seen
        .iter()
        .flatten()
        .filter(|(began, took, code)| *began + *took >= broke && (!code.is_empty() || *took > late));
    let detected = told.map(|(began, took, _)| (*began + *took).saturating_duration_since(broke)).min();
    let recovered = seen.iter().map(|seen| {
        let well = seen.iter().find(|(began, _, code)| *began >= mended && code.is_empty());
        let (began, took, _) = well.expect("each client is well again");
        (*began + *took).duration_since(mended)
    });
    let mut errors = BTreeMap::new();
    let mut good_meanwhile = 0;
    for (began, _, code) in seen.iter().flatten() {
        match code.as_str() {
            "" => good_meanwhile += usize::from(*began >= broke && *began < mended),
            code => *errors.entry(code.to_owned()).or_insert(0) += 1,
        }
    }
    let longest = seen.iter().flatten().map(|(_, took, _)| *took).max().unwrap();
    Figures { detected, recovered: recovered.max().unwrap(), errors, longest, good_meanwhile }
}

fn print(name: &str, figures: &Figures) {
    let seconds = |time: Duration| format!("{:.2} s", time.as_secs_f64());
    let errors: Vec<String> = figures.errors.iter().map(|(code, count)| format!("{code} x {count}")).collect();
    println!(
        "FIGURE | {name} | {} | {} | {} | {} |",
        figures.detected.map_or("not at all".to_owned(), seconds),
        seconds(figures.recovered),
        seconds(figures.longest),
        if errors.is_empty() { "none".to_owned() } else { errors.join(", ") }
    );
}

/// One fault between router and shard `s1`: what those see who need it, and that others see nothing.
#[track_caller]
fn of_shard(label: &str, name: &str, fault: impl FnOnce(&Pipe), codes: &[&str], limit: Duration) -> Figures {
    of_shard_for(label, name, Duration::from_secs(3), fault, codes, limit)
}

#[track_caller]
fn of_shard_for(
    label: &str,
    name: &str,
    lasts: Duration,
    fault: impl FnOnce(&Pipe),
    codes: &[&str],
    limit: Duration,
) -> Figures {
    let world = World::create(label);
    let stop = Arc::new(AtomicBool::new(false));
    let elsewhere = {
        let (stop, name, port) = (Arc::clone(&stop), world.db.name.clone(), world.router.port);
        let sql = format!("SELECT n FROM items WHERE id = {}", world.ids[0]);
        thread::spawn(move || client(port, &name, &sql, &stop))
    };
    let sql = format!("SELECT n FROM items WHERE id = {}", world.ids[1]);
    let figures = measure(&world, &sql, 4, lasts, || fault(&world.shard), || world.shard.mend());
    stop.store(true, Ordering::Relaxed);
    let others = elsewhere.join().unwrap();
    print(name, &figures);
    for code in figures.errors.keys() {
        assert!(codes.contains(&code.as_str()), "{name}: {code} was not expected: {:?}", figures.errors);
    }
    assert!(figures.longest < limit + SLACK, "{name}: a statement took {:?}", figures.longest);
    assert!(figures.recovered < GRACE + SLACK, "{name}: {:?} until all was well", figures.recovered);
    // The others have not noticed.
    let bad: Vec<_> = others.iter().filter(|(_, took, code)| !code.is_empty() || *took > QUERY).collect();
    assert!(bad.is_empty() && others.len() > 100, "{name}: {} of {} elsewhere: {bad:?}", bad.len(), others.len());
    // Nothing is left behind: every connection that is there works.
    let mut raw = world.connect();
    eventually(20, "a whole read", || raw.simple("SELECT count(*) FROM items").code().is_empty());
    figures
}

/// Lost connections, time-outs, and what a breaker says.
const LOST: [&str; 4] = ["08006", "57014", "57P03", "08001"];

#[test]
fn a_shard_that_answers_late_is_late_and_nothing_else() {
    let figures = of_shard("faultdelay", "delay: each packet 300 ms late", |pipe| pipe.slow(300), &[], QUERY);
    assert!(figures.good_meanwhile > 0 && figures.errors.is_empty());
}

#[test]
fn a_shard_whose_connections_are_dropped_has_new_ones_at_once() {
    let figures =
        of_shard("faultdrop", "drop: all connections closed once", |pipe| pipe.break_all(false), &LOST, QUERY);
    assert!(figures.good_meanwhile > 50, "the next statements have new connections: {}", figures.good_meanwhile);
}

#[test]
fn a_shard_whose_connections_are_reset_has_new_ones_at_once() {
    let figures =
        of_shard("faultreset", "reset: all connections reset once", |pipe| pipe.break_all(true), &LOST, QUERY);
    assert!(figures.good_meanwhile > 50, "the next statements have new connections: {}", figures.good_meanwhile);
}

#[test]
fn a_shard_that_refuses_fails_fast() {
    let figures =
        of_shard("faultrefuse", "refused: reset, and so is each new connection, for 3 s", Pipe::refuse, &LOST, QUERY);
    assert!(figures.longest < QUERY + SLACK && !figures.errors.is_empty());
}

#[test]
fn a_cable_that_is_cut_for_a_moment_is_not_waited_for() {
    // Not even the cancel gets through: the connection is given up.
    of_shard("faultstall", "half-open: nothing comes through for 3 s", Pipe::cut, &LOST, QUERY + REACH);
}

#[test]
fn a_shard_behind_a_cut_cable_is_given_up_in_time() {
    // A statement that cannot be cancelled ends with its connection; its client stays.
    let lasts = GRACE + Duration::from_secs(3);
    let name = "half-open: nothing comes through for 13 s";
    let figures = of_shard_for("faultcut", name, lasts, Pipe::cut, &LOST, QUERY + REACH);
    assert!(!figures.errors.is_empty());
}

#[test]
fn a_shard_that_trickles_ends_in_time() {
    let codes = ["08006", "57014", "57P03", "08001"];
    of_shard("faulttrickle", "slow bytes: one each 20 ms for 3 s", |pipe| pipe.trickle(20), &codes, QUERY);
}

#[test]
fn a_scatter_ends_in_time_when_one_shard_is_behind_a_cut_cable() {
    let world = World::create("faultscatter");
    let figures = measure(
        &world,
        "SELECT id, n FROM items ORDER BY id",
        2,
        GRACE + Duration::from_secs(3),
        || world.shard.cut(),
        || world.shard.mend(),
    );
    print("half-open for 13 s, statements over all shards", &figures);
    assert!(figures.longest < QUERY + REACH + SLACK, "{:?}", figures.longest);
    assert!(!figures.errors.is_empty() && !figures.errors.contains_key("gone"), "{:?}", figures.errors);
}

#[test]
fn a_long_answer_that_trickles_ends_in_time() {
    let world = World::create("faultlong");
    let sql = format!("SELECT name FROM items WHERE id = {}", world.ids[1]);
    let lasts = Duration::from_secs(6);
    let figures = measure(&world, &sql, 2, lasts, || world.shard.trickle(20), || world.shard.mend());
    print("slow bytes: one each 20 ms for 6 s, an answer of 1 kB", &figures);
    assert!(figures.longest < QUERY + REACH + CANCEL + SLACK, "{:?}", figures.longest);
    assert!(!figures.errors.is_empty(), "{:?}", figures.errors);
}

/// Whatever its client is told, it is done on both shards or on none.
#[test]
fn a_commit_over_a_cut_cable_is_told_in_time() {
    let world = World::create("faultcommit");
    for (first, second) in [(1, 2), (2, 1)] {
        eventually(30, "all is well", || world.connect().simple("SELECT count(*) FROM items").code().is_empty());
        // A PREPARE that was on its way when the cable was cut arrives when it is mended, and is undone by whoever finds it.
        eventually(60, "nobody has the rows", || {
            let mut raw = world.connect();
            let free = |shard: &usize| {
                let sql = format!("SELECT n FROM items WHERE id = {} FOR UPDATE NOWAIT", world.ids[*shard]);
                raw.simple(&sql).code().is_empty()
            };
            [first, second].iter().all(free)
        });
        let n = || world.db.shard(1).value(&format!("SELECT n FROM items WHERE id = {}", world.ids[1]));
        let before = n();
        let mut raw = world.connect();
        raw.must("BEGIN");
        for shard in [first, second] {
            raw.must(&format!("UPDATE items SET n = n + 1 WHERE id = {}", world.ids[shard]));
        }
        world.shard.cut();
        let start = Instant::now();
        let code = raw.simple("COMMIT").code().to_owned();
        let took = start.elapsed();
        world.shard.mend();
        println!(
            "FIGURE | half-open in a COMMIT over two shards | {:.2} s until the client is told: {code} | | | |",
            took.as_secs_f64()
        );
        assert!(["57014", "40000", "08007"].contains(&code.as_str()), "{code}");
        assert!(took < QUERY + REACH + CANCEL + SLACK, "{took:?}");
        eventually(60, "it is done on both or on none", || {
            let row = |shard: usize| {
                let sql = format!(
                    "SELECT n, (SELECT count(*) FROM pg_prepared_xacts WHERE database = current_database()) FROM items WHERE id = {}",
                    world.ids[shard]
                );
                let reply = world.db.shard(shard).must(&sql);
                reply.answers[0].rows[0].clone()
            };
            let (one, other) = (row(1), row(2));
            one == other && one[1].as_deref() == Some(b"0")
        });
        if code != "08007" {
            assert_eq!(n(), before, "{code}");
        }
    }
}

/// How long a row stays locked for others.
fn locked_for(world: &World, id: i32, since: Instant) -> Duration {
    let mut raw = world.db.shard(1);
    eventually(30, "the row is free", || {
        raw.simple(&format!("SELECT n FROM items WHERE id = {id} FOR UPDATE NOWAIT")).code().is_empty()
    });
    since.elapsed()
}

/// How many server processes run this for the router's clients.
fn running(world: &World, what: &str) -> usize {
    let sql = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = '{}' AND state = 'active' AND query LIKE '%{what}%' AND pid <> pg_backend_pid()",
        world.db.name
    );
    world.db.shard(1).value(&sql).parse().unwrap()
}

#[test]
fn clients_that_vanish_leave_nothing_behind() {
    let world = World::create("faultclient");
    let id = world.ids[1];
    let through = || Raw::connect(world.clients.port, "postgres", &world.db.name).unwrap();
    for (name, by_reset) in [("client closed in a statement", false), ("client reset in a statement", true)] {
        let mut raw = through();
        raw.must("SET pgloom.query_timeout = '60s'");
        raw.send(&m::query(&format!("SELECT pg_sleep(50), 'nap' FROM items WHERE id = {id}"))).unwrap();
        eventually(10, "the statement runs", || running(&world, "nap") == 1);
        let gone = Instant::now();
        world.clients.break_all(by_reset);
        eventually(20, "its server is asked to stop", || running(&world, "nap") == 0);
        println!("FIGURE | {name} | {:.2} s until its server stops | | | |", gone.elapsed().as_secs_f64());
        assert!(gone.elapsed() < SLACK);
    }
    // In a transaction, with a lock: told by silence alone.
    let mut raw = through();
    raw.must(&format!("BEGIN; UPDATE items SET n = 1 WHERE id = {id}"));
    let gone = Instant::now();
    world.clients.cut();
    let locked = locked_for(&world, id, gone);
    println!(
        "FIGURE | client half-open in a transaction | {:.2} s until its locks are gone (idle_transaction_timeout 1 s) | | | |",
        locked.as_secs_f64()
    );
    assert!(locked < Duration::from_secs(1) + SLACK);
    world.clients.mend();
    drop(raw);
    // In the middle of an answer that it does not take any more.
    let mut raw = through();
    raw.must("SET pgloom.query_timeout = '60s'");
    raw.send(&m::query(&format!(
        "SELECT repeat('x', 1000), 'much' FROM items, generate_series(1, 300000) WHERE id = {id}"
    )))
    .unwrap();
    raw.read().unwrap();
    eventually(10, "the statement runs", || running(&world, "much") == 1);
    let gone = Instant::now();
    world.clients.cut();
    eventually(20, "its server is free", || running(&world, "much") == 0);
    println!(
        "FIGURE | client half-open in an answer | {:.2} s until its server is free (client_write_timeout 1 s) | | | |",
        gone.elapsed().as_secs_f64()
    );
    assert!(gone.elapsed() < Duration::from_secs(1) + SLACK);
    world.clients.mend();
    assert_eq!(world.connect().value("SELECT count(*) FROM items"), "40");
}

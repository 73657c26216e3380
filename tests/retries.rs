//! Reads whose server breaks before it has answered are sent again, in both protocols, and nobody is told; nothing else is.

#![allow(clippy::unwrap_used, dead_code)]

#[path = "chaos/bank.rs"]
mod bank;
mod support;
#[path = "servers/world.rs"]
mod world;

use std::collections::HashMap;

use bank::{BALANCE, NAME};
use support::raw::{Raw, Reply, Value, message as m};
use support::relay::{EXECUTE, Relay, Then, When};
use support::sharded::{ITEMS, config};
use support::{Router, Sharded, eventually};

/// The relays read what passes.
const PLAIN: &str = "server_tls_sslmode = \"disable\"";

struct World {
    world: Sharded,
    relays: Vec<Relay>,
    router: Router,
}

impl World {
    fn create(label: &str) -> Self {
        let world = Sharded::create(label, "");
        let relays: Vec<Relay> = world.db.ports().into_iter().map(Relay::start).collect();
        let ports: Vec<u16> = relays.iter().map(|relay| relay.port).collect();
        let router = Router::start(&config(&world.db.name, &ports, PLAIN, ""));
        Self { world, relays, router }
    }

    fn connect(&self) -> Raw {
        self.router.connect(&self.world.db.name)
    }

    /// Runs `act` with the connection that gets `text` on this shard cut then; how often was anything sent again.
    fn cut<T>(&self, shard: usize, text: &str, when: When, act: impl FnOnce() -> T) -> (T, u64) {
        let (done, again) = self.cut_perhaps(shard, text, when, act);
        (done, again.unwrap_or_else(|| panic!("nothing was cut: {text}")))
    }

    /// The same where the text need not be sent, because its statement is prepared already; `None`: nothing was cut.
    fn cut_perhaps<T>(&self, shard: usize, text: &str, when: When, act: impl FnOnce() -> T) -> (T, Option<u64>) {
        let before = retries(&self.router);
        let sprung = self.relays[shard].set(text, when, Then::Cut, || {});
        let done = act();
        self.relays[shard].clear();
        (done, sprung.try_recv().ok().map(|()| retries(&self.router) - before))
    }
}

fn retries(router: &Router) -> u64 {
    let text = router.http("/metrics").1;
    let line = text.lines().find(|line| line.starts_with("pgloom_retries_total{reason=\"read\"}"));
    line.and_then(|line| line.rsplit(' ').next()).map_or(0, |count| count.parse().unwrap())
}

fn cells(reply: &Reply) -> Vec<String> {
    let rows = reply.answers.iter().flat_map(|answer| &answer.rows);
    rows.map(|row| String::from_utf8(row[0].clone().unwrap()).unwrap()).collect()
}

/// A statement that is parsed already, by its name.
fn prepared(raw: &mut Raw, value: i32) -> Reply {
    let bind = m::bind("", "s", &[Value::text(&value.to_string())], &[]);
    raw.exchange_with(&[bind, m::describe(b'P', ""), m::execute("", 0), m::sync()].concat(), None, true)
}

const WHEN: [When; 2] = [When::Before, When::Behind];

#[test]
fn a_read_of_one_shard_is_sent_again() {
    let world = World::create("retry_one");
    let id = world.world.id(1, 0);
    let name = format!("item {id}");
    let (text, by) =
        (format!("SELECT name FROM items WHERE id = {id}"), "SELECT name FROM items WHERE id = $1".to_owned());
    let mut raw = world.connect();
    let parse = [m::parse("s", &by, &[23]), m::sync()].concat();
    assert_eq!(raw.exchange_with(&parse, None, true).code(), "");
    for when in WHEN {
        let check = |reply: &Reply, again: u64, how: &str| {
            assert_eq!((reply.code(), reply.status), ("", b'I'), "{how} {when:?}: {reply:?}");
            assert_eq!((cells(reply), again), (vec![name.clone()], 1), "{how} {when:?}");
        };
        let (reply, again) = world.cut(1, "SELECT name", when, || raw.simple(&text));
        check(&reply, again, "simple");
        let unnamed = |raw: &mut Raw| raw.extended(&by, &[23], &[Value::text(&id.to_string())], 0);
        let (reply, again) = world.cut(1, EXECUTE, when, || unnamed(&mut raw));
        check(&reply, again, "unnamed");
        let (reply, again) = world.cut(1, EXECUTE, when, || prepared(&mut raw, id));
        check(&reply, again, "named");
        // Twice the same in one pipeline, with a Flush before its Sync; behind that one the relay would wait for a Sync.
        let one = [m::bind("", "s", &[Value::text(&id.to_string())], &[]), m::execute("", 0)].concat();
        let flush = if when == When::Before { m::flush() } else { Vec::new() };
        let pipeline = [&one[..], &one, &flush, &m::sync()].concat();
        let (reply, again) = world.cut(1, EXECUTE, when, || raw.exchange_with(&pipeline, None, true));
        assert_eq!((reply.code(), cells(&reply), again), ("", vec![name.clone(), name.clone()], 1), "{when:?}");
        // The first statement of a transaction, which goes on.
        raw.must("BEGIN");
        let (reply, again) = world.cut(1, "SELECT name", when, || raw.simple(&text));
        assert_eq!((reply.code(), reply.status, again), ("", b'T', 1), "{when:?}: {reply:?}");
        raw.must(&format!("UPDATE items SET n = n + 1 WHERE id = {id}"));
        raw.must("COMMIT");
        raw.must("BEGIN");
        let (reply, again) = world.cut(1, EXECUTE, when, || prepared(&mut raw, id));
        assert_eq!((reply.code(), reply.status, again), ("", b'T', 1), "{when:?}: {reply:?}");
        assert_eq!(cells(&reply), std::slice::from_ref(&name));
        raw.must("COMMIT");
    }
    assert_eq!(world.world.db.shard(1).value(&format!("SELECT n FROM items WHERE id = {id}")), "2");
}

#[test]
fn what_may_have_had_an_effect_is_not_sent_again() {
    let world = World::create("retry_not");
    let id = world.world.id(1, 0);
    let n = || world.world.db.shard(1).value(&format!("SELECT n FROM items WHERE id = {id}"));
    let update = format!("UPDATE items SET n = n + 1 WHERE id = {id}");
    let by = "UPDATE items SET n = n + 1 WHERE id = $1";
    let mut raw = world.connect();
    let check = |(reply, again): (Reply, u64), what: &str| {
        assert_eq!((reply.code(), again), ("08006", 0), "{what}: {reply:?}");
    };
    check(world.cut(1, "UPDATE", When::Behind, || raw.simple(&update)), "a write");
    assert_eq!(n(), "1");
    check(world.cut(1, EXECUTE, When::Behind, || raw.extended(by, &[23], &[Value::text(&id.to_string())], 0)), "bound");
    assert_eq!(n(), "2");
    let random = format!("SELECT random() FROM items WHERE id = {id}");
    check(world.cut(1, "SELECT random", When::Behind, || raw.simple(&random)), "a volatile function");
    // A read and a write in one pipeline are one transaction.
    let step = |sql: &str| [m::parse("", sql, &[]), m::bind("", "", &[], &[]), m::execute("", 0)].concat();
    let read = format!("SELECT n FROM items WHERE id = {id}");
    let pipeline = [step(&read), step(&update), m::sync()].concat();
    check(world.cut(1, EXECUTE, When::Behind, || raw.exchange_with(&pipeline, None, true)), "a pipeline that writes");
    // What stands behind the first statement of a transaction has seen what that one saw.
    for first in [&update, &read] {
        raw.must(&format!("BEGIN; {first}"));
        check(world.cut(1, "SELECT n", When::Before, || raw.simple(&read)), "the second of a transaction");
        raw.must("ROLLBACK");
    }
    assert_eq!(raw.value(&read), n());
}

#[test]
fn a_read_of_all_shards_is_run_again() {
    let world = World::create("retry_all");
    let mut raw = world.connect();
    let all: Vec<String> = (1..=ITEMS).map(|id| id.to_string()).collect();
    let by = "SELECT id FROM items WHERE n >= $1 ORDER BY id";
    let parse = [m::parse("s", by, &[23]), m::sync()].concat();
    assert_eq!(raw.exchange_with(&parse, None, true).code(), "");
    for (when, shard) in WHEN.into_iter().flat_map(|when| [(when, 0), (when, 2)]) {
        let (reply, again) = world.cut(shard, "SELECT id", when, || raw.simple("SELECT id FROM items ORDER BY id"));
        assert_eq!((reply.code(), cells(&reply), again), ("", all.clone(), 1), "{when:?} {shard}");
        // Longer than what is kept back; and none of it has come.
        let long = "SELECT id, repeat('x', 2000) FROM items";
        let (reply, again) = world.cut(shard, "SELECT id", when, || raw.simple(long));
        assert_eq!((reply.code(), cells(&reply).len(), again), ("", all.len(), 1), "{when:?} {shard}");
        let (reply, again) = world.cut(shard, EXECUTE, when, || prepared(&mut raw, 0));
        assert_eq!((reply.code(), cells(&reply), again), ("", all.clone(), 1), "{when:?} {shard}");
        let aggregate = "SELECT count(*) FROM items";
        let (reply, again) = world.cut(shard, "SELECT count", when, || raw.simple(aggregate));
        assert_eq!((reply.code(), cells(&reply), again), ("", vec![ITEMS.to_string()], 1), "{when:?} {shard}");
    }
    // The first statement of a transaction, which goes on; not the second one.
    for (when, shard) in WHEN.into_iter().flat_map(|when| [(when, 0), (when, 2)]) {
        raw.must("BEGIN; SAVEPOINT before");
        let (reply, again) = world.cut(shard, "SELECT id", when, || raw.simple("SELECT id FROM items ORDER BY id"));
        assert_eq!((reply.code(), cells(&reply), again), ("", all.clone(), 1), "{when:?} {shard}");
        assert_eq!(reply.status, b'T');
        raw.must("ROLLBACK");
        // In the other protocol a server was asked before what it means.
        for how in ["unnamed", "named", "pieces"] {
            raw.must("BEGIN; SET LOCAL work_mem = '5MB'; SAVEPOINT before");
            let text = format!("SELECT id, '{how} {when:?} {shard}' FROM items WHERE n >= $1 ORDER BY id");
            let name = if how == "unnamed" { "" } else { "fresh" };
            let portal =
                [m::parse(name, &text, &[23]), m::describe(b'S', name), m::bind("p", name, &[Value::text("0")], &[])]
                    .concat();
            let runs = match how {
                "pieces" => [m::execute("p", 3), m::execute("p", 0)].concat(),
                _ => [m::describe(b'P', "p"), m::execute("p", 0)].concat(),
            };
            let ends = if name.is_empty() { Vec::new() } else { m::close(b'S', name) };
            let all_of_it = [portal, runs, ends, m::sync()].concat();
            let (reply, again) = world.cut(shard, EXECUTE, when, || raw.exchange_with(&all_of_it, None, true));
            assert_eq!((reply.code(), cells(&reply), again), ("", all.clone(), 1), "{when:?} {shard} {how}");
            assert_eq!(reply.status, b'T');
            // The block goes on as it was, and what follows is not sent again.
            assert_eq!(raw.value("SHOW work_mem"), "5MB");
            let (reply, again) = world.cut(shard, "SELECT id", when, || raw.simple("SELECT id FROM items ORDER BY id"));
            assert_eq!((reply.code(), reply.status, again), ("08006", b'E', 0), "{when:?} {shard} {how}");
            raw.must("ROLLBACK");
        }
        raw.must("BEGIN; SAVEPOINT before; SELECT id FROM items ORDER BY id");
        raw.must("UPDATE items SET n = n + 1; ROLLBACK TO before; UPDATE items SET n = n + 2");
        let (reply, again) = world.cut(shard, "SELECT id", when, || raw.simple("SELECT id FROM items ORDER BY id"));
        assert_eq!((reply.code(), reply.status, again), ("08006", b'E', 0), "{when:?} {shard}");
        raw.must("ROLLBACK");
    }
    // Portals with a row limit, merged here and finished by a Postgres.
    let whole = "SELECT string_agg(id::text, ',' ORDER BY id) FROM items";
    let finished = "SELECT id, sum(id) OVER (ORDER BY id) FROM items ORDER BY id";
    let limited = |sql: &str| {
        let portal = [m::parse("", sql, &[]), m::bind("p", "", &[], &[])].concat();
        [portal, m::execute("p", 3), m::execute("p", 0), m::sync()].concat()
    };
    let mut cuts = HashMap::new();
    for (when, shard) in WHEN.into_iter().flat_map(|when| [(when, 0), (when, 2)]) {
        let mut check = |how: &'static str, (reply, again): (Reply, Option<u64>), expected: &[String]| {
            assert_eq!((reply.code(), &*cells(&reply)), ("", expected), "{when:?} {shard} {how}");
            assert!(again.is_none_or(|again| again == 1), "{when:?} {shard} {how}");
            *cuts.entry(how).or_insert(0) += usize::from(again.is_some());
        };
        for (how, sql) in [("pieces", "SELECT id FROM items ORDER BY id"), ("pieces, finished", finished)] {
            for text in [EXECUTE, "items"] {
                let run = || raw.exchange_with(&limited(sql), None, true);
                check(how, world.cut_perhaps(shard, text, when, run), &all);
            }
        }
        for text in [EXECUTE, "items"] {
            let sum = [all.join(",")];
            check("finished", world.cut_perhaps(shard, text, when, || raw.extended(whole, &[], &[], 0)), &sum);
            check("simple", world.cut_perhaps(shard, text, when, || raw.simple(whole)), &sum);
        }
    }
    assert!(cuts.len() == 4 && cuts.values().all(|cuts| *cuts > 0), "{cuts:?}");
    // Rows that locks are taken for are no mere read, and what writes is not run again.
    let lock = "SELECT id FROM items ORDER BY id FOR UPDATE";
    let (reply, again) = world.cut(2, "SELECT id", When::Behind, || raw.simple(lock));
    assert_eq!((reply.code(), again), ("08006", 0), "{reply:?}");
    let (reply, again) = world.cut(2, "UPDATE", When::Behind, || raw.simple("UPDATE items SET n = n + 1"));
    assert_eq!((reply.code(), again), ("08006", 0), "{reply:?}");
    assert_eq!(raw.value("SELECT sum(n) FROM items"), "0");
}

/// With one statement a second for a key, a second count of the same one would refuse it.
#[test]
fn what_runs_once_more_counts_once_for_its_key() {
    let mut world = World::create("retry_key");
    let ports: Vec<u16> = world.relays.iter().map(|relay| relay.port).collect();
    let general = format!("{PLAIN}\nkey_max_rate = 1\nkey_wait_timeout = 0");
    world.connect().must("CREATE TABLE drawn (id int, no serial)");
    world.connect().must("SELECT pgloom.distribute('drawn', 'id')");
    world.router = Router::start(&config(&world.world.db.name, &ports, &general, ""));
    let mut raw = world.connect();
    let by = "SELECT id FROM items WHERE id = $1";
    assert_eq!(raw.exchange_with(&[m::parse("s", by, &[23]), m::sync()].concat(), None, true).code(), "");
    for when in WHEN {
        let id = world.world.id(1, usize::from(when == When::Behind));
        let (reply, again) = world.cut(1, EXECUTE, when, || prepared(&mut raw, id));
        assert_eq!((reply.code(), cells(&reply), again), ("", vec![id.to_string()], 1), "{when:?}");
    }
    // Nor does a statement that takes values of a sequence first.
    for id in 2001..=2003 {
        let reply = raw.simple(&format!("INSERT INTO drawn (id) VALUES ({id})"));
        assert_eq!(reply.code(), "", "{reply:?}");
    }
    let reply = raw.extended("INSERT INTO drawn (id) VALUES ($1)", &[23], &[Value::text("2004")], 0);
    assert_eq!(reply.code(), "", "{reply:?}");
    let twice = "SELECT id FROM items WHERE id = 9999";
    assert_eq!([raw.simple(twice).code().to_owned(), raw.simple(twice).code().to_owned()], ["", "53400"]);
}

#[test]
fn a_replica_that_breaks_is_replaced_by_the_primary() {
    let world = world::World::create("max_replica_lag = 0\nread_your_writes = false");
    let relay = Relay::start(world.b.port);
    let general = format!("{PLAIN}\nmax_replica_lag = 0\nread_your_writes = false\nread_preference = \"replica\"");
    let config = world::config(&[&[&world.a, &world.b], &[&world.other]], &general);
    let router = Router::start(&config.replace(&format!("port = {}", world.b.port), &format!("port = {}", relay.port)));
    let account: i32 = world.a.connect(NAME).value("SELECT min(id) FROM accounts").parse().unwrap();
    let mut raw = router.connect(NAME);
    let by = "SELECT balance FROM accounts WHERE id = $1";
    let value = [Value::text(&account.to_string())];
    // The trap is on the replica's side: it springs when that one is read.
    for text in [EXECUTE, "SELECT balance", "SELECT sum"] {
        let sprung = relay.set(text, When::Before, Then::Cut, || {});
        let before = retries(&router);
        eventually(20, "the replica is read, and breaks", || {
            let reply = match text {
                EXECUTE => raw.extended(by, &[23], &value, 0),
                "SELECT sum" => raw.simple("SELECT sum(balance) FROM accounts"),
                _ => raw.simple(&format!("SELECT balance FROM accounts WHERE id = {account}")),
            };
            assert_eq!(reply.code(), "", "{reply:?}");
            assert!(text == "SELECT sum" || cells(&reply) == [BALANCE.to_string()]);
            sprung.try_recv().is_ok()
        });
        assert_eq!(retries(&router) - before, 1, "{text}");
    }
}

/// The only server of a shard is waited for where the configuration says how long, and its breaker is no reason to give up.
#[test]
fn a_connection_to_the_only_server_of_a_shard_is_tried_again() {
    let server = world::primary();
    let servers = [&server];
    let config = |general: &str| world::config(&[&servers], general);
    let (patient, hasty) = (Router::start(&config("restart_timeout = \"60s\"")), Router::start(&config("")));
    let (mut raw, mut at_once) = (patient.connect(NAME), hasty.connect(NAME));
    raw.set_patience(std::time::Duration::from_secs(90));
    let write = "INSERT INTO accounts VALUES (1, 1) ON CONFLICT (id) DO UPDATE SET balance = accounts.balance + 1";
    for raw in [&mut raw, &mut at_once] {
        raw.must(write);
    }
    server.stop();
    // What lay in the pools is gone.
    eventually(20, "the connections are seen to be closed", || {
        ["08001", "57P03"].contains(&at_once.simple(write).code())
    });
    let waits = std::thread::spawn(move || {
        let replies = [raw.simple(write), raw.simple(write)];
        (replies.map(|reply| reply.code().to_owned()), raw)
    });
    std::thread::sleep(std::time::Duration::from_secs(3));
    assert!(!waits.is_finished());
    server.start();
    let (codes, mut raw) = waits.join().unwrap();
    assert_eq!(codes[1], "");
    // The first one may have found a connection of before.
    assert!(["", "08006"].contains(&&*codes[0]), "{codes:?}");
    assert!(patient.http("/metrics").1.contains("pgloom_retries_total{reason=\"restart\"} "));
    assert_eq!(raw.value("SELECT balance FROM accounts WHERE id = 1"), if codes[0].is_empty() { "4" } else { "3" });
}

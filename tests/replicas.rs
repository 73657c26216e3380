//! Reads from replicas: which statements go there, by which settings, and which replicas are not asked. A standby whose replay is paused
//! tells who has answered: it has the old balances.

#![allow(clippy::unwrap_used, dead_code)]

#[path = "chaos/bank.rs"]
mod bank;
mod support;
#[path = "servers/world.rs"]
mod world;

use std::time::{Duration, Instant};

use bank::{ACCOUNTS, BALANCE, NAME};
use support::pipe::Pipe;
use support::raw::{Value, message};
use support::{Raw, Router, eventually};
use world::World;

/// Whoever looks at replicas at all reads this one, however old its rows are.
const ANY_LAG: &str = "max_replica_lag = 0\nread_your_writes = false";

impl World {
    /// The standby stops at what it has, and the primary goes on: each account has one more there.
    fn part_ways(&self, account: i32) {
        eventually(10, "the standby has everything", || {
            self.b.connect(NAME).value("SELECT count(*) FROM accounts")
                == self.a.connect(NAME).value("SELECT count(*) FROM accounts")
        });
        self.b.connect(NAME).must("SELECT pg_wal_replay_pause()");
        eventually(10, "replay is paused", || {
            self.b.connect(NAME).value("SELECT pg_get_wal_replay_pause_state()") == "paused"
        });
        self.a.connect(NAME).must(&format!("UPDATE accounts SET balance = balance + 1 WHERE id = {account}"));
    }
}

/// Which server gave this balance.
fn who(balance: &str) -> &'static str {
    match balance.parse::<i64>().unwrap() - BALANCE {
        0 => "replica",
        1 => "primary",
        other => panic!("{other}"),
    }
}

/// A connection to the replica lies in the router's pool.
fn replica_is_used(world: &World, router: &Router) -> bool {
    let text = router.http("/metrics").1;
    let mut pools = text.lines().filter(|line| line.starts_with("pgloom_pool_sv_idle{"));
    let replica = pools.find(|line| line.contains("role=\"replica\"") && line.contains(&world.b.address()));
    replica.is_some_and(|line| !line.ends_with(" 0"))
}

fn replica_client(router: &Router) -> Raw {
    let mut raw = router.connect(NAME);
    raw.must("SET pgloom.read_preference = 'replica'");
    raw
}

#[test]
fn reads_go_to_replicas_where_they_are_asked_for_and_nothing_else_does() {
    let world = World::create(ANY_LAG);
    let (mut plain, account) = world.client();
    plain.must("CREATE SEQUENCE counted");
    let mut raw = replica_client(&world.router);
    let read = format!("SELECT balance FROM accounts WHERE id = {account}");
    let nearest = world.another(&format!("{ANY_LAG}\nread_preference = \"nearest\""));
    let mut near = nearest.connect(NAME);
    // The same said for a user, and for a database.
    let (user, database) = ("[[users]]\nname = \"postgres\"\n", format!("[databases.{NAME}]\n"));
    let [of_user, of_database] = [user, &database]
        .map(|section| world.another_with(ANY_LAG, section, &format!("{section}read_preference = \"replica\"\n")));
    let (mut by_user, mut by_database) = (of_user.connect(NAME), of_database.connect(NAME));
    // A replica is read when it has what the router's catalog was read after.
    for (raw, router) in
        [(&mut raw, &world.router), (&mut near, &nearest), (&mut by_user, &of_user), (&mut by_database, &of_database)]
    {
        eventually(20, "the replica is read", || {
            raw.must(&read);
            replica_is_used(&world, router)
        });
    }
    world.part_ways(account);
    assert_eq!(who(&plain.value(&read)), "primary");
    assert_eq!(raw.value("SHOW pgloom.read_preference"), "replica");
    for raw in [&mut raw, &mut by_user, &mut by_database] {
        assert_eq!(who(&raw.value(&read)), "replica");
    }
    by_user.must("SET pgloom.read_preference = 'primary'");
    assert_eq!(who(&by_user.value(&read)), "primary");
    let extended = |raw: &mut Raw, sql: &str, format: i16| {
        let reply = raw.extended(sql, &[], &[Value::text(&account.to_string())], format);
        assert_eq!(reply.code(), "", "{reply:?}");
        reply.answers.iter().flat_map(|answer| &answer.rows).next().unwrap()[0].clone().unwrap()
    };
    let bound = "SELECT balance FROM accounts WHERE id = $1::int";
    assert_eq!(extended(&mut raw, bound, 0), BALANCE.to_string().into_bytes());
    assert_eq!(extended(&mut raw, bound, 1), BALANCE.to_be_bytes());
    // Over all shards, of which one has no replica.
    let all = ACCOUNTS as i64 * BALANCE;
    let sum = "SELECT sum(balance) FROM accounts";
    assert_eq!([raw.value(sum), plain.value(sum)], [all.to_string(), (all + 1).to_string()]);

    // What is not provably a read, and what only the primary has the answer to.
    for sql in [
        format!("{read} FOR UPDATE"),
        format!("SELECT balance, random() FROM accounts WHERE id = {account}"),
        format!("SELECT balance, pg_advisory_xact_lock(1) FROM accounts WHERE id = {account}"),
        format!("UPDATE accounts SET balance = balance WHERE id = {account} RETURNING balance"),
        format!("BEGIN; {read}; COMMIT"),
        format!("SELECT balance, pg_is_in_recovery() FROM accounts WHERE id = {account}"),
    ] {
        let reply = raw.simple(&sql);
        let cell = |reply: &support::raw::Reply| {
            let row = reply
                .answers
                .iter()
                .flat_map(|answer| &answer.rows)
                .next()
                .unwrap_or_else(|| panic!("{sql}: {reply:?}"));
            String::from_utf8(row[0].clone().unwrap()).unwrap()
        };
        assert_eq!(who(&cell(&reply)), "primary", "{sql}");
    }
    // The next read goes to the replica again; in a pipeline those that stand before what is written.
    assert_eq!(who(&raw.value(&read)), "replica");
    let step =
        |sql: &str| [message::parse("", sql, &[]), message::bind("", "", &[], &[]), message::execute("", 0)].concat();
    let touch = format!("UPDATE accounts SET balance = balance WHERE id = {account}");
    let pipeline = [step(&read), step(&touch), step(&read), message::sync()].concat();
    let reply = raw.exchange_with(&pipeline, None, true);
    assert_eq!((reply.code(), reply.status), ("", b'I'), "{reply:?}");
    let balances = reply.answers.iter().flat_map(|answer| &answer.rows);
    let balances: Vec<&str> =
        balances.map(|row| who(std::str::from_utf8(row[0].as_deref().unwrap()).unwrap())).collect();
    assert_eq!(balances, ["replica", "primary"]);

    // A READ ONLY transaction reads from one server of each shard.
    raw.must("BEGIN READ ONLY");
    assert_eq!(who(&raw.value(&read)), "replica");
    assert_eq!(raw.value(sum), all.to_string());
    assert_eq!(raw.value("SHOW transaction_read_only"), "on");
    raw.must("COMMIT");
    // What only the primary can answer takes it there, where its statements need not see one moment.
    let time = format!("SELECT now() FROM accounts WHERE id = {account}");
    let sum_of_time = "SELECT max(now()) FROM accounts";
    for first in [&*read, sum] {
        raw.must("BEGIN READ ONLY");
        raw.must(first);
        raw.must("SET LOCAL work_mem = '1MB'");
        raw.must("SAVEPOINT s");
        assert_eq!(who(&raw.value(&read)), "replica");
        let began = raw.value(&time);
        if first == sum {
            let reply = raw.extended("SELECT pg_is_in_recovery()", &[], &[], 0);
            assert_eq!((reply.code(), reply.status), ("", b'T'), "{reply:?}");
        } else {
            assert_eq!(raw.value("SELECT pg_is_in_recovery()"), "f");
        }
        assert_eq!([who(&raw.value(&read)), &raw.value(&time)], ["primary", &began]);
        // Its time stays what it was, also in what is finished elsewhere, and nobody else has it.
        let finished = "SELECT DISTINCT now(), rank() OVER (ORDER BY now()) FROM accounts";
        assert_eq!([raw.value(finished), raw.value(&time)], [began.clone(), began.clone()]);
        raw.must("SAVEPOINT moment");
        for sql in ["SELECT $1::timestamptz FROM accounts WHERE id = 1", "SELECT max($1::timestamptz) FROM accounts"] {
            let refused = raw.extended(sql, &[], &[Value::text("now")], 0);
            assert_eq!(refused.code(), "0A000", "{sql}: {refused:?}");
            raw.must("ROLLBACK TO moment");
        }
        assert_eq!([raw.value(sum_of_time), raw.value(&time)], [began.clone(), began.clone()]);
        raw.must("NOTIFY somebody");
        assert_eq!(raw.value("SHOW work_mem"), "1MB");
        raw.must("ROLLBACK TO s");
        assert_eq!([who(&raw.value(&read)), &raw.value(sum)], ["primary", &(all + 1).to_string()]);
        raw.must("COMMIT");
        assert_eq!([who(&raw.value(&read)), &raw.value("SHOW work_mem")], ["replica", &plain.value("SHOW work_mem")]);
    }
    // Its modes hold there, too.
    for mode in ["READ WRITE", "ISOLATION LEVEL REPEATABLE READ"] {
        for moves in ["NOTIFY somebody", "SELECT pg_is_in_recovery()", "SELECT pg_catalog.random()"] {
            raw.must("BEGIN READ ONLY");
            assert_eq!(who(&raw.value(&read)), "replica");
            raw.must(moves);
            let refused = raw.simple(&format!("SET TRANSACTION {mode}"));
            assert_eq!((refused.code(), refused.status), ("25001", b'E'), "{moves}: {refused:?}");
            raw.must("ROLLBACK");
        }
    }
    raw.must("BEGIN READ ONLY, ISOLATION LEVEL REPEATABLE READ");
    assert_eq!(who(&raw.value(&read)), "replica");
    let refused = raw.simple("SELECT pg_is_in_recovery()");
    assert_eq!((refused.code(), refused.status), ("0A000", b'E'), "{refused:?}");
    raw.must("ROLLBACK");
    // What would write is refused as one Postgres does it, on one shard and on all.
    let key = format!("WHERE id = {account}");
    for (sql, code, message) in [
        (format!("UPDATE accounts SET balance = 0 {key}"), "25006", "cannot execute UPDATE in a read-only transaction"),
        ("DELETE FROM accounts".to_owned(), "25006", "cannot execute DELETE in a read-only transaction"),
        (format!("{read} FOR UPDATE"), "25006", "cannot execute SELECT FOR UPDATE in a read-only transaction"),
        (format!("UPDATE accounts SET nothing = 0 {key}"), "42703", ""),
        ("SELECT nextval('counted')".to_owned(), "25006", "cannot execute nextval() in a read-only transaction"),
    ] {
        for extended in [false, true] {
            raw.must("BEGIN READ ONLY");
            raw.must(&read);
            let reply = if extended { raw.extended(&sql, &[], &[], 0) } else { raw.simple(&sql) };
            let error = reply.error.as_ref().expect("an error");
            assert_eq!((error.code(), reply.status), (code, b'E'), "{sql}: {error}");
            assert!(error.message().contains(message), "{sql}: {error}");
            raw.must("ROLLBACK");
        }
    }
    raw.must("BEGIN READ ONLY");
    assert_eq!(raw.value("SELECT pg_is_in_recovery()"), "f");
    assert_eq!(who(&raw.value(&read)), "primary");
    raw.must("COMMIT; BEGIN READ WRITE");
    assert_eq!(who(&raw.value(&read)), "primary");
    raw.must("COMMIT");

    // The setting is one like others.
    for wrong in ["SET pgloom.read_preference = 'some'", "SET pgloom.read_preference = 3"] {
        assert_eq!(raw.simple(wrong).code(), "22023", "{wrong}");
    }
    raw.must("BEGIN; SET pgloom.read_preference = 'primary'; ROLLBACK");
    assert_eq!(who(&raw.value(&read)), "replica");
    raw.must("RESET pgloom.read_preference");
    assert_eq!(who(&raw.value(&read)), "primary");

    // By the configuration; and of two that answer alike, both are asked.
    let mut seen: Vec<&str> = (0..100).map(|_| who(&near.value(&read))).collect();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen, ["primary", "replica"]);

    // Behind it the catalog is read again, and no replica that stands still has what was read.
    raw.must("SET pgloom.read_preference = 'replica'");
    raw.must("BEGIN READ ONLY");
    assert_eq!(who(&raw.value(&read)), "replica");
    let refused = raw.simple("CREATE TABLE made (id int)");
    let error = refused.error.as_ref().expect("an error");
    assert_eq!(error.code(), "25006", "{error}");
    assert_eq!(error.message(), "cannot execute CREATE TABLE in a read-only transaction");
    raw.must("ROLLBACK");
}

#[test]
fn replicas_that_lag_or_do_not_answer_are_not_read() {
    let world = World::create("");
    let (_, account) = world.client();
    let read = format!("SELECT balance FROM accounts WHERE id = {account}");
    let old = world.another("max_replica_lag = \"2s\"");
    let bytes = world.another("max_replica_lag = 0\nmax_replica_lag_bytes = \"16\"");
    let any = world.another(ANY_LAG);
    let own = world.another("max_replica_lag = 0");
    let mut clients = [&old, &bytes, &any, &own].map(replica_client);
    std::thread::sleep(Duration::from_secs(1));
    world.part_ways(account);
    let metrics = |router: &Router| router.http("/metrics").1;
    eventually(10, "the lag is seen", || {
        let text = metrics(&world.router);
        text.lines().any(|line| line.starts_with("pgloom_replication_lag_bytes{") && !line.ends_with(" 0"))
    });
    std::thread::sleep(Duration::from_millis(2500));
    let ask = |raw: &mut Raw| who(&raw.value(&read));
    let answers = clients.each_mut().map(ask);
    assert_eq!(answers, ["primary", "primary", "replica", "replica"]);

    // Who has written reads it, until the replica has it too.
    let [.., any_raw, own_raw] = &mut clients;
    for raw in [&mut *any_raw, &mut *own_raw] {
        raw.must(&format!("UPDATE accounts SET balance = balance WHERE id = {account}"));
    }
    assert_eq!([ask(any_raw), ask(own_raw)], ["replica", "primary"]);
    // It has gone on when the replica has gone on: then this is what both say, and the replica is read again.
    world.b.connect(NAME).must("SELECT pg_wal_replay_resume()");
    let replicas_asked = |router: &Router| replica_is_used(&world, router);
    eventually(15, "the replica is read again", || {
        assert_eq!(ask(own_raw), "primary");
        replicas_asked(&own)
    });

    // One that hangs is noticed, and then nobody waits for it; what waits already is answered by the primary when it is gone.
    world.b.freeze();
    eventually(20, "it is seen to be silent", || {
        let mut raw = world.router.connect(NAME);
        raw.must("SHOW pgloom.servers").text().contains("false")
    });
    std::thread::sleep(Duration::from_secs(1));
    let start = Instant::now();
    assert_eq!(ask(own_raw), "primary");
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    world.b.thaw();
    eventually(20, "it answers again", || world.roles() == ["primary", "replica"] && replicas_asked(&own));
    // One that is gone costs nothing but another attempt.
    world.a.configure("synchronous_standby_names = ''");
    world.a.connect("postgres").must("SELECT pg_reload_conf()");
    world.b.kill();
    for _ in 0..5 {
        assert_eq!([ask(any_raw), ask(own_raw)], ["primary", "primary"]);
    }
}

/// A definition that was changed through another router has not come to the replica: the primary, which has it, has the last word.
#[test]
fn what_a_replica_does_not_know_yet_is_asked_of_the_primary() {
    let world = World::create("");
    let (mut own, account) = world.client();
    let any = world.another(ANY_LAG);
    let mut raw = replica_client(&any);
    let read = format!("SELECT balance FROM accounts WHERE id = {account}");
    eventually(20, "the replica is read", || {
        raw.must(&read);
        replica_is_used(&world, &any)
    });
    world.b.connect(NAME).must("SELECT pg_wal_replay_pause()");
    own.must("ALTER TABLE accounts ADD COLUMN added int DEFAULT 7");
    let of_pools =
        "SELECT pid FROM pg_stat_activity WHERE query LIKE '%balance FROM accounts%' AND pid <> pg_backend_pid()";
    let pids = |reply: &support::raw::Reply| reply.answers[0].rows.concat();
    let before = pids(&world.b.connect(NAME).must(of_pools));
    assert!(!before.is_empty());
    let one = format!("SELECT added FROM accounts WHERE id = {account}");
    for sql in [&*one, "SELECT max(added) FROM accounts", "SELECT added FROM accounts ORDER BY id LIMIT 1"] {
        assert_eq!(raw.value(sql), "7", "{sql}");
        let reply = raw.extended(sql, &[], &[], 0);
        assert_eq!((reply.code(), &reply.answers[0].rows), ("", &vec![vec![Some(b"7".to_vec())]]), "{sql}: {reply:?}");
    }
    let all = raw.must("SELECT * FROM accounts ORDER BY id LIMIT 3");
    assert!(all.answers[0].rows.iter().all(|row| row.last() == Some(&Some(b"7".to_vec()))), "{all:?}");
    // What the primary does not know either is an error as ever.
    assert_eq!(raw.simple("SELECT nothing FROM accounts").code(), "42703");
    // No connection to the replica was closed for that.
    let after = world.b.connect(NAME).must("SELECT pid FROM pg_stat_activity");
    assert!(before.iter().all(|pid| pids(&after).contains(pid)), "{before:?} {after:?}");
    assert_eq!(raw.simple(&format!("SELECT nothing FROM accounts WHERE id = {account}")).code(), "42703");
    world.b.connect(NAME).must("SELECT pg_wal_replay_resume()");
}

/// `/* pgloom: read_preference=... */` before a statement, where the configuration has switched that on.
#[test]
fn a_comment_before_a_statement_chooses_its_servers() {
    let world = World::create(ANY_LAG);
    let (mut off, account) = world.client();
    let hints = world.another(&format!("{ANY_LAG}\nread_preference_hints = true"));
    let mut raw = hints.connect(NAME);
    let read = format!("SELECT balance FROM accounts WHERE id = {account}");
    let hinted = |wanted: &str| format!("/* pgloom: read_preference={wanted} */ {read}");
    eventually(20, "the replica is read", || {
        raw.must(&hinted("replica"));
        replica_is_used(&world, &hints)
    });
    world.part_ways(account);
    assert_eq!([who(&raw.value(&read)), who(&raw.value(&hinted("replica")))], ["primary", "replica"]);
    // It is of its statement alone, whatever the session wants.
    assert_eq!(who(&raw.value(&read)), "primary");
    raw.must("SET pgloom.read_preference = 'replica'");
    assert_eq!([who(&raw.value(&read)), who(&raw.value(&hinted("primary")))], ["replica", "primary"]);
    raw.must("RESET pgloom.read_preference");
    let sum = "SELECT sum(balance) FROM accounts";
    let all = ACCOUNTS as i64 * BALANCE;
    assert_eq!(raw.value(&format!("/*pgloom:read_preference='replica'*/{sum}")), all.to_string());
    assert_eq!(raw.value(sum), (all + 1).to_string());
    // In the other protocol it is that of the text that was prepared.
    let bound = "SELECT balance FROM accounts WHERE id = $1::int";
    let mut balances = Vec::new();
    for text in [format!("/* pgloom: read_preference=replica */ {bound}"), bound.to_owned()] {
        for _ in 0..2 {
            let reply = raw.extended(&text, &[], &[Value::text(&account.to_string())], 0);
            let rows = reply.answers.iter().flat_map(|answer| &answer.rows);
            balances.extend(rows.map(|row| String::from_utf8(row[0].clone().unwrap()).unwrap()));
        }
    }
    let seen: Vec<&str> = balances.iter().map(|balance| who(balance)).collect();
    assert_eq!(seen, ["replica", "replica", "primary", "primary"]);
    // A READ ONLY transaction is where its first statement is.
    raw.must("BEGIN READ ONLY");
    assert_eq!([who(&raw.value(&hinted("replica"))), who(&raw.value(&read))], ["replica", "replica"]);
    raw.must("COMMIT");
    // Only the first comment of a statement, and what a replica may not run it does not.
    let behind = format!("{read} /* pgloom: read_preference=replica */");
    let second = format!("/* a */ {}", hinted("replica"));
    let locks = format!("{} FOR UPDATE", hinted("replica"));
    for text in [behind, second, locks, format!("-- {}\n{read}", hinted("replica"))] {
        assert_eq!(who(&raw.value(&text)), "primary", "{text}");
    }
    for wrong in [hinted("any"), format!("/* pgloom: shard=3 */ {read}")] {
        let reply = raw.simple(&wrong);
        assert_eq!((reply.code(), reply.status), ("22023", b'I'), "{wrong}");
    }
    // A transaction that has failed can be left all the same.
    raw.must("BEGIN");
    assert_eq!(raw.simple(&hinted("any")).status, b'E');
    raw.must("/* pgloom: shard=3 */ ROLLBACK");
    assert_eq!(who(&raw.value(&read)), "primary");
    // Off, it is a comment.
    assert_eq!(who(&off.value(&hinted("replica"))), "primary");
    assert_eq!(who(&off.value(&hinted("any"))), "primary");
}

/// `nearest` asks whoever answers sooner, and follows when another one does.
#[test]
fn reads_follow_the_latency_of_the_servers() {
    let world = World::create(ANY_LAG);
    let account: i32 = world.a.connect(NAME).value("SELECT min(id) FROM accounts").parse().unwrap();
    let (a, b) = (Pipe::start(world.a.port), Pipe::start(world.b.port));
    let general = format!("{ANY_LAG}\nread_preference = \"nearest\"");
    let mut text = world::config(&[&[&world.a, &world.b], &[&world.other]], &general);
    for (server, pipe) in [(&world.a, &a), (&world.b, &b)] {
        text = text.replace(&format!("port = {} }}", server.port), &format!("port = {} }}", pipe.port));
    }
    let router = Router::start(&text);
    let mut raw = router.connect(NAME);
    let read = format!("SELECT balance FROM accounts WHERE id = {account}");
    eventually(20, "the replica may be read", || {
        raw.must(&read);
        let pools = router.http("/metrics").1;
        let mut idle = pools.lines().filter(|line| line.starts_with("pgloom_pool_sv_idle{"));
        idle.any(|line| line.contains("role=\"replica\"") && !line.ends_with(" 0"))
    });
    world.part_ways(account);
    // Of so many reads, how many the replica has answered.
    let mut by_replica = |reads: usize| (0..reads).filter(|_| who(&raw.value(&read)) == "replica").count();
    for (slow, fast, from_replica) in [(&a, &b, true), (&b, &a, false), (&a, &b, true)] {
        fast.slow(0);
        slow.slow(150);
        let right = |reads: usize, replica: usize| if from_replica { replica } else { reads - replica };
        eventually(60, "reads follow", || right(20, by_replica(20)) >= 19);
        let right = right(100, by_replica(100));
        assert!(right >= 80, "{right} of 100 reads went to the nearer server");
    }
    // Alike again, both are asked.
    a.slow(0);
    b.slow(0);
    eventually(60, "both are read", || (10..=50).contains(&by_replica(60)));
}

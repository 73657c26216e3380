//! Commits of shards that wait for synchronous standbys which do not answer: who waits can end that, and nothing is half done.

#![allow(clippy::unwrap_used)]

mod support;

use std::fmt::Write;
use std::time::{Duration, Instant};

use support::raw::{Message, Raw, cancel, message as m};
use support::{Lone, Router, eventually};

const NAME: &str = "standbys";

/// Three shards of one server each, and a key of each. Of those that write, the first is the anchor, as the home shard.
struct World {
    shards: Vec<Lone>,
    keys: Vec<i32>,
    /// Another one of the last shard.
    other: i32,
    router: Router,
}

fn server() -> Lone {
    let server = Lone::create();
    server.start();
    server.connect("postgres").must(&format!("CREATE DATABASE {NAME}"));
    server
}

fn config(shards: &[Lone]) -> String {
    let mut out = format!(
        "[general]\nport = {{port}}\nmetrics_listen = \"127.0.0.1:{{http_port}}\"\nauth_type = \"trust\"\n\
         [[users]]\nname = \"postgres\"\n[databases.{NAME}]\n"
    );
    for (index, shard) in shards.iter().enumerate() {
        let _ = writeln!(
            out,
            "[[databases.{NAME}.shards]]\nname = \"s{index}\"\nservers = [{{ host = \"127.0.0.1\", port = {} }}]",
            shard.port
        );
    }
    let _ = writeln!(out, "[[databases.{NAME}.distributions]]\nname = \"key\"\nkey_types = [\"int4\"]");
    let _ = writeln!(out, "[[databases.{NAME}.tables]]\nname = \"t\"\ndistribution = \"key\"\ncolumns = [\"id\"]");
    out
}

impl World {
    fn create() -> Self {
        let shards: Vec<Lone> = std::thread::scope(|scope| {
            let made: Vec<_> = (0..3).map(|_| scope.spawn(server)).collect();
            made.into_iter().map(|made| made.join().unwrap()).collect()
        });
        for shard in &shards {
            shard.connect(NAME).must("CREATE TABLE t (id int PRIMARY KEY, n int UNIQUE DEFERRABLE INITIALLY DEFERRED)");
        }
        let router = Router::start(&config(&shards));
        let mut raw = router.connect(NAME);
        raw.must("INSERT INTO t SELECT i, 0 - i FROM generate_series(1, 40) i");
        let keys = shards.iter().map(|shard| shard.connect(NAME).value("SELECT min(id) FROM t").parse().unwrap());
        let keys: Vec<i32> = keys.collect();
        let other = format!("SELECT min(id) FROM t WHERE id > {}", keys[2]);
        let other = shards[2].connect(NAME).value(&other).parse().unwrap();
        for shard in &shards {
            shard.connect(NAME).must("DELETE FROM t");
        }
        Self { shards, keys, other, router }
    }

    /// From now on this shard waits for a standby that never comes, or not any more.
    fn wait_for(&self, shard: usize, standby: &str) {
        let mut own = self.shards[shard].connect("postgres");
        own.must(&format!("ALTER SYSTEM SET synchronous_standby_names = '{standby}'"));
        own.must("SELECT pg_reload_conf()");
        // The checkpointer tells the others.
        eventually(20, "the server has read it", || own.value("SHOW synchronous_standby_names") == standby);
        std::thread::sleep(Duration::from_millis(300));
    }

    fn is_waiting(&self, shard: usize, what: &str) -> bool {
        let sql =
            format!("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND query LIKE '{what}%'");
        self.shards[shard].connect("postgres").value(&sql) == "1"
    }

    /// Waits until this statement waits on this shard.
    fn waits(&self, shard: usize, what: &str) {
        eventually(20, what, || self.is_waiting(shard, what));
    }

    fn rows(&self) -> Vec<String> {
        self.shards.iter().map(|shard| shard.connect(NAME).value("SELECT count(*) FROM t")).collect()
    }

    fn prepared(&self) -> Vec<String> {
        let all = "SELECT gid FROM pg_prepared_xacts";
        self.shards.iter().flat_map(|shard| shard.connect(NAME).values(all)).collect()
    }

    fn cancel(&self, raw: &Raw) {
        cancel(self.router.port, raw.key.0, &raw.key.1);
    }

    fn empty(&self, raw: &mut Raw) {
        raw.must("DELETE FROM t WHERE id > 0");
    }

    /// It was rolled back everywhere, and nothing of it is left at the moment at which its client hears so.
    #[track_caller]
    fn is_undone(&self, raw: &mut Raw, heard: &[Message], code: &str, message: &str) {
        let error = heard.iter().find(|message| message.tag == b'E').expect("an error").report();
        assert_eq!((error.code(), error.message()), (code, message), "{error}");
        assert_eq!(said(heard), Vec::<String>::new(), "nothing was committed");
        assert_eq!(self.prepared(), Vec::<String>::new());
        assert_eq!(self.rows(), ["0", "0", "0"]);
        assert_eq!(raw.value("SELECT count(*) FROM t"), "0", "the session goes on");
    }

    /// It was committed, and its client knows that the standby has not got it.
    #[track_caller]
    fn is_done(&self, raw: &mut Raw, heard: &[Message]) {
        assert!(heard.iter().all(|message| message.tag != b'E'), "{heard:?}");
        assert_eq!(said(heard), ["canceling wait for synchronous replication due to user request"]);
        assert_eq!(self.prepared(), Vec::<String>::new());
        assert_eq!(self.rows(), ["1", "1", "0"]);
        assert_eq!(raw.value("SELECT count(*) FROM t"), "2", "the session goes on");
    }
}

/// The notices.
fn said(heard: &[Message]) -> Vec<String> {
    heard.iter().filter(|message| message.tag == b'N').map(|notice| notice.report().message().to_owned()).collect()
}

const CANCELED: &str = "canceling statement due to user request";

#[test]
fn a_commit_that_waits_for_a_standby_can_be_cancelled_until_it_is_decided() {
    let world = World::create();
    let mut raw = world.router.connect(NAME);
    raw.set_patience(Duration::from_secs(40));
    let insert = |shard: usize, n: i32| format!("INSERT INTO t VALUES ({}, {n})", world.keys[shard]);
    let both = format!("INSERT INTO t VALUES ({}, 1), ({}, 2)", world.keys[0], world.keys[1]);
    let block = format!("BEGIN; {}; {}", insert(1, 1), insert(0, 2));
    world.wait_for(1, "nobody");

    // While it is prepared.
    raw.must(&block);
    raw.send(&m::query("COMMIT")).unwrap();
    world.waits(1, "PREPARE");
    let start = Instant::now();
    world.cancel(&raw);
    let heard = raw.read_to_ready().unwrap();
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
    world.is_undone(&mut raw, &heard, "57014", CANCELED);

    // A statement alone, a COPY and the extended protocol.
    let copy = format!("{}\t1\n{}\t2\n", world.keys[1], world.keys[0]);
    let copied = [m::copy_data(copy.as_bytes()), m::copy_done()].concat();
    let batch = [m::parse("", &both, &[]), m::bind("", "", &[], &[]), m::execute("", 0), m::sync()].concat();
    let copy_in = [m::query("COPY t FROM STDIN"), copied].concat();
    for bytes in [m::query(&both), copy_in, batch] {
        raw.send(&bytes).unwrap();
        world.waits(1, "PREPARE");
        world.cancel(&raw);
        let heard = raw.read_to_ready().unwrap();
        world.is_undone(&mut raw, &heard, "57014", CANCELED);
    }

    // Somebody has ended the wait on the shard itself: what is prepared may be gone with a failover.
    raw.must(&block);
    raw.send(&m::query("COMMIT")).unwrap();
    world.waits(1, "PREPARE");
    let waiting = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    world.shards[1].connect("postgres").must(waiting);
    let heard = raw.read_to_ready().unwrap();
    world.is_undone(&mut raw, &heard, "57014", CANCELED);

    // Another shard has refused: nobody waits for the standby to hear of that.
    let twice = format!("INSERT INTO t VALUES ({}, 7), ({}, 7)", world.keys[2], world.other);
    raw.must(&format!("BEGIN; {}; {}; {twice}", insert(1, 1), insert(0, 2)));
    let start = Instant::now();
    raw.send(&m::query("COMMIT")).unwrap();
    let heard = raw.read_to_ready().unwrap();
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
    let message = "duplicate key value violates unique constraint \"t_n_key\"";
    world.is_undone(&mut raw, &heard, "23505", message);

    // Its time is up.
    for (limit, code, what) in
        [("query_timeout", "57014", "statement"), ("transaction_timeout", "25P04", "transaction")]
    {
        raw.must(&format!("SET pgloom.{limit} = '1s'; {block}"));
        raw.send(&m::query("COMMIT")).unwrap();
        let heard = raw.read_to_ready().unwrap();
        world.is_undone(&mut raw, &heard, code, &format!("canceling statement due to {what} timeout"));
        raw.must(&format!("RESET pgloom.{limit}"));
    }
}

#[test]
fn who_cancels_a_commit_that_is_decided_waits_for_no_standby_and_it_is_committed() {
    let world = World::create();
    let mut raw = world.router.connect(NAME);
    raw.set_patience(Duration::from_secs(40));
    let insert = |shard: usize, n: i32| format!("INSERT INTO t VALUES ({}, {n})", world.keys[shard]);
    let block = format!("BEGIN; {}; {}", insert(0, 1), insert(1, 2));
    let begin = |raw: &mut Raw, before: &str| {
        world.wait_for(0, "nobody");
        raw.must(before);
        raw.must(&block);
        raw.send(&m::query("COMMIT")).unwrap();
        world.waits(0, "COMMIT");
    };
    let end = |raw: &mut Raw| {
        world.wait_for(0, "");
        world.wait_for(1, "");
        world.empty(raw);
    };
    // The anchor waits, and by the time it is cancelled so will the other one, with what it has prepared.
    begin(&mut raw, "SELECT 1");
    world.wait_for(1, "nobody");
    world.cancel(&raw);
    let heard = raw.read_to_ready().unwrap();
    world.is_done(&mut raw, &heard);
    end(&mut raw);

    // One Postgres says the same when the time of its statement is up.
    begin(&mut raw, "SET pgloom.query_timeout = '1s'");
    let heard = raw.read_to_ready().unwrap();
    world.is_done(&mut raw, &heard);
    raw.must("RESET pgloom.query_timeout");
    end(&mut raw);

    // A standby that comes in time makes a commit like any other.
    begin(&mut raw, "SELECT 1");
    world.wait_for(0, "");
    let heard = raw.read_to_ready().unwrap();
    assert_eq!(said(&heard), Vec::<String>::new());
    assert_eq!(world.rows(), ["1", "1", "0"]);

    // On one shard: the same messages as on a direct connection.
    world.empty(&mut raw);
    world.wait_for(1, "nobody");
    raw.must(&format!("BEGIN; {}", insert(1, 1)));
    raw.send(&m::query("COMMIT")).unwrap();
    world.waits(1, "COMMIT");
    world.cancel(&raw);
    let heard = raw.read_to_ready().unwrap();
    assert_eq!(said(&heard), ["canceling wait for synchronous replication due to user request"]);
    assert_eq!(world.rows(), ["0", "1", "0"]);
}

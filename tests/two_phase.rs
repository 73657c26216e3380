//! What is written on several shards is there as a whole or not at all, whatever fails in between.

#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use pgloom::commit::seal::Seal;
use support::raw::{Raw, Value, message as m};
use support::{Sharded, eventually};

/// How soon the tests' routers finish what others left prepared.
const GRACE: &str = "two_phase_grace = \"1s\"";

fn tag(reply: &support::raw::Reply) -> String {
    reply.answers.last().and_then(|a| a.tag.clone()).unwrap_or_default()
}

/// Nothing of a failed transaction: no row beyond the first sixty, no `n` that is not 0, nothing prepared.
#[track_caller]
fn untouched(world: &Sharded, when: &str) {
    eventually(20, when, || world.prepared().is_empty());
    let rows: i32 = world.on_each("SELECT count(*) FROM items").iter().map(|n| n.parse::<i32>().unwrap()).sum();
    assert_eq!(rows, 60, "{when}");
    let sums: Vec<String> = world.on_each("SELECT sum(n) FROM items");
    assert!(sums.iter().all(|sum| sum == "0"), "{when}: {sums:?}");
}

/// Ends the server process that is in a transaction of this database on a shard, as a crash of it would.
fn terminate(world: &Sharded, shard: usize, state: &str) {
    let sql = format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}' AND state = '{state}' \
         AND pid <> pg_backend_pid()",
        world.db.name
    );
    eventually(20, "a process to end", || world.db.shard(shard).values(&sql) == ["t"]);
}

#[test]
fn one_statement_over_several_shards_is_atomic() {
    let world = Sharded::create("atomic", GRACE);
    let mut raw = world.connect();
    let free = world.free_ids(1000);
    // The last row collides on its shard: nothing is left on any.
    for collides in 0..4 {
        let mut ids = free.clone();
        ids[collides] = world.id(collides, 0);
        let rows: Vec<String> = ids.iter().map(|id| format!("({id}, 0)")).collect();
        let reply = raw.simple(&format!("INSERT INTO items (id, n) VALUES {}", rows.join(", ")));
        assert_eq!((reply.code(), reply.status), ("23505", b'I'), "{reply:?}");
        untouched(&world, "after a duplicate");
    }
    // A CHECK that fails on one shard only.
    for shard in 0..4 {
        let sql = format!("UPDATE items SET n = CASE WHEN id = {} THEN -1 ELSE 1 END", world.id(shard, 1));
        let reply = raw.simple(&sql);
        assert_eq!((reply.code(), reply.status), ("23514", b'I'), "{reply:?}");
        untouched(&world, "after a CHECK");
    }
    let rows: Vec<String> = free.iter().map(|id| format!("({id}, 0)")).collect();
    let reply = raw.must(&format!("INSERT INTO items (id, n) VALUES {}", rows.join(", ")));
    assert_eq!(tag(&reply), "INSERT 0 4");
    assert_eq!(tag(&raw.must("UPDATE items SET n = 1")), "UPDATE 64");
    assert_eq!(raw.value("SELECT sum(n) FROM items"), "64");
    assert_eq!(tag(&raw.must("DELETE FROM items WHERE id >= 1000")), "DELETE 4");
    assert_eq!(world.prepared(), Vec::<String>::new());
    // A reference table is written everywhere or nowhere.
    world.db.shard(2).must("ALTER TABLE places ADD CHECK (title <> 'forbidden')");
    assert_eq!(raw.simple("INSERT INTO places VALUES ('x', 'forbidden')").code(), "23514");
    assert_eq!(world.on_each("SELECT count(*) FROM places"), ["1"; 4]);
    raw.must("INSERT INTO places VALUES ('x', 'fine')");
    assert_eq!(world.on_each("SELECT count(*) FROM places"), ["2"; 4]);
}

#[test]
fn a_block_over_several_shards_commits_or_rolls_back_everywhere() {
    let world = Sharded::create("block", GRACE);
    let mut raw = world.connect();
    let set = |shard: usize, n: i32| format!("UPDATE items SET n = {n} WHERE id = {}", world.id(shard, 0));
    let sum = |raw: &mut Raw| raw.value("SELECT sum(n) FROM items");
    raw.must("BEGIN");
    for shard in 0..4 {
        raw.must(&set(shard, 1));
    }
    assert_eq!(sum(&mut raw), "4");
    assert_eq!(sum(&mut world.connect()), "0", "not before COMMIT");
    assert_eq!(tag(&raw.must("ROLLBACK")), "ROLLBACK");
    untouched(&world, "after ROLLBACK");

    raw.must("BEGIN");
    raw.must(&set(0, 1));
    raw.must("SAVEPOINT a");
    // A shard that joins behind the savepoint, and goes back to it.
    raw.must(&set(1, 10));
    raw.must("SAVEPOINT b");
    raw.must(&set(2, 100));
    assert_eq!(raw.simple(&set(3, -1)).code(), "23514");
    assert_eq!(raw.simple("SELECT 1").code(), "25P02");
    assert_eq!(raw.must("ROLLBACK TO b").status, b'T');
    assert_eq!(sum(&mut raw), "11");
    raw.must(&set(3, 1000));
    raw.must("ROLLBACK TO a");
    assert_eq!(sum(&mut raw), "1");
    raw.must(&set(2, 100));
    raw.must("RELEASE a");
    assert_eq!(raw.simple("ROLLBACK TO a").code(), "3B001");
    raw.must("ROLLBACK");
    untouched(&world, "after savepoints");

    raw.must("BEGIN");
    raw.must(&set(0, 1));
    raw.must("SAVEPOINT a");
    raw.must(&set(1, 10));
    raw.must("RELEASE a");
    raw.must(&set(2, 100));
    assert_eq!(tag(&raw.must("COMMIT")), "COMMIT");
    assert_eq!(sum(&mut world.connect()), "111");
    assert_eq!(world.prepared(), Vec::<String>::new());
    // A failed block answers COMMIT with ROLLBACK.
    raw.must("BEGIN");
    raw.must(&set(0, 5));
    raw.must(&set(1, 5));
    assert_eq!(raw.simple("SELECT nothing").code(), "42703");
    assert_eq!(tag(&raw.must("COMMIT")), "ROLLBACK");
    assert_eq!(sum(&mut world.connect()), "111");
    // Several statements in one Query are one transaction.
    assert_eq!(raw.simple(&format!("{}; {}; SELECT 1/0", set(0, 7), set(1, 7))).code(), "22012");
    assert_eq!(sum(&mut world.connect()), "111");
    raw.must(&format!("{}; {}", set(0, 2), set(1, 20)));
    assert_eq!(sum(&mut world.connect()), "122");
}

#[test]
fn a_constraint_that_fails_at_commit_fails_the_whole() {
    let world = Sharded::create("deferred", GRACE);
    let free = world.free_ids(2000);
    // The shard that fails is the first one written (the anchor), or a later one.
    for order in [[0, 1], [1, 0]] {
        let mut raw = world.connect();
        raw.must("BEGIN");
        for shard in order {
            if shard == 0 {
                raw.must(&format!("INSERT INTO parts VALUES ({}, 'no item')", free[0]));
            } else {
                raw.must(&format!("UPDATE items SET n = 1 WHERE id = {}", world.id(1, 0)));
            }
        }
        let reply = raw.simple("COMMIT");
        assert_eq!((reply.code(), reply.status), ("23503", b'I'), "{reply:?}");
        untouched(&world, "after a failed COMMIT");
        assert_eq!(raw.value("SELECT count(*) FROM parts"), "0");
    }
    // The same without a block: one INSERT over shards with one bad row.
    let mut raw = world.connect();
    let reply = raw.simple(&format!("INSERT INTO parts VALUES ({}, 'x'), ({}, 'y')", world.id(0, 0), free[1]));
    assert_eq!((reply.code(), reply.status), ("23503", b'I'), "{reply:?}");
    assert_eq!(raw.value("SELECT count(*) FROM parts"), "0");
    // SET CONSTRAINTS reaches the shards that join later.
    raw.must("BEGIN");
    raw.must("SET CONSTRAINTS ALL IMMEDIATE");
    assert_eq!(raw.simple(&format!("INSERT INTO parts VALUES ({}, 'no item')", free[2])).code(), "23503");
    raw.must("ROLLBACK");
}

#[test]
fn a_pipeline_without_a_block_is_one_transaction() {
    let world = Sharded::create("pipeline", GRACE);
    let mut raw = world.connect();
    let update = |id: i32, n: i32| {
        [
            m::parse("", "UPDATE items SET n = $2 WHERE id = $1", &[23, 23]),
            m::bind("", "", &[Value::text(&id.to_string()), Value::text(&n.to_string())], &[]),
            m::execute("", 0),
        ]
        .concat()
    };
    let on = |shard: usize| world.id(shard, 0);
    let failing = [update(on(0), 1), update(on(1), 1), update(on(2), -1), update(on(3), 1), m::sync()].concat();
    let reply = raw.exchange(&failing, None);
    assert_eq!((reply.code(), reply.status), ("23514", b'I'), "{reply:?}");
    assert_eq!(reply.answers.len(), 2, "what came before the error was answered");
    untouched(&world, "after a pipeline that failed");
    let good = [update(on(0), 1), update(on(1), 1), update(on(2), 1), update(on(0), 2), m::sync()].concat();
    let reply = raw.exchange(&good, None);
    assert!(reply.error.is_none(), "{reply:?}");
    assert_eq!(reply.answers.iter().filter_map(|a| a.tag.as_deref()).collect::<Vec<_>>(), ["UPDATE 1"; 4]);
    assert_eq!(world.connect().value("SELECT sum(n) FROM items"), "4");
    // A SET among them is undone with them, and undoes nothing of their being one.
    let set = [m::parse("", "SET work_mem TO '7MB'", &[]), m::bind("", "", &[], &[]), m::execute("", 0)].concat();
    for shard in [0, 1] {
        let failing = [update(on(0), 9), set.clone(), update(on(shard), -1), m::sync()].concat();
        assert_eq!(raw.exchange(&failing, None).code(), "23514");
        assert_eq!(world.connect().value("SELECT sum(n) FROM items"), "4");
        assert_eq!(raw.value("SHOW work_mem"), "4MB");
    }
    // Two Syncs: two transactions.
    let parted = [update(on(0), 0), update(on(1), 0), m::sync(), update(on(2), -1), m::sync()].concat();
    raw.send(&parted).unwrap();
    let (first, second) = (raw.read_to_ready().unwrap(), raw.read_to_ready().unwrap());
    assert!(first.iter().all(|message| message.tag != b'E'), "{first:?}");
    assert_eq!(second.iter().find(|message| message.tag == b'E').unwrap().report().code(), "23514");
    assert_eq!(world.connect().value("SELECT sum(n) FROM items"), "1");
    assert_eq!(world.prepared(), Vec::<String>::new());
}

#[test]
fn a_server_that_dies_within_a_transaction_undoes_it() {
    let world = Sharded::create("dies", GRACE);
    let set = |shard: usize| format!("UPDATE items SET n = 1 WHERE id = {}", world.id(shard, 0));
    for victim in [0, 1] {
        // Between statements, noticed by the next statement on that shard, by one on another shard, or by COMMIT.
        for next in [Some(victim), Some(2), None] {
            let mut raw = world.connect();
            raw.must("BEGIN");
            raw.must(&set(0));
            raw.must(&set(1));
            terminate(&world, victim, "idle in transaction");
            let mut failed = false;
            if let Some(shard) = next {
                let reply = raw.simple(&set(shard));
                failed |= reply.error.is_some();
                if reply.status == 0 {
                    untouched(&world, "after the session ended");
                    continue;
                }
            }
            let reply = raw.simple("COMMIT");
            failed |= reply.error.is_some();
            assert!(failed, "victim {victim}, then {next:?}: {reply:?}");
            assert_ne!((tag(&reply).as_str(), reply.error.is_some()), ("COMMIT", false), "never acknowledged");
            untouched(&world, "after a server died");
        }
    }
    let mut raw = world.connect();
    assert_eq!(tag(&raw.must("UPDATE items SET n = 1")), "UPDATE 60");
}

/// A trigger that makes PREPARE TRANSACTION and COMMIT take their time on a row with `n = 777`.
const SLOW_COMMIT: &str = "CREATE FUNCTION wait_at_commit() RETURNS trigger LANGUAGE plpgsql AS \
     'BEGIN IF NEW.n = 777 THEN PERFORM pg_sleep(20); END IF; RETURN NULL; END'; \
     CREATE CONSTRAINT TRIGGER slow AFTER UPDATE ON items DEFERRABLE INITIALLY DEFERRED FOR EACH ROW \
     EXECUTE FUNCTION wait_at_commit()";

#[test]
fn a_server_that_dies_while_it_commits_leaves_nothing_half_done() {
    let world = Sharded::create("atcommit", GRACE);
    for shard in 0..4 {
        world.db.shard(shard).must(SLOW_COMMIT);
    }
    // Shard 0 is the anchor: it dies in COMMIT, and is asked what became of it. Shard 1 dies in PREPARE TRANSACTION.
    for victim in [0, 1] {
        let mut raw = world.connect();
        raw.must("BEGIN");
        for shard in [0, 1, 2] {
            let n = if shard == victim { 777 } else { 1 };
            raw.must(&format!("UPDATE items SET n = {n} WHERE id = {}", world.id(shard, 0)));
        }
        raw.send(&m::query("COMMIT")).unwrap();
        terminate(&world, victim, "active");
        let messages = raw.read_to_ready().unwrap();
        let error = messages.iter().find(|message| message.tag == b'E').expect("COMMIT fails").report();
        assert_eq!(error.code(), "40000", "{error}");
        assert_eq!(messages.last().unwrap().body, b"I");
        assert_eq!(world.prepared(), Vec::<String>::new(), "nothing is left to the resolver");
        untouched(&world, "after a server died while committing");
        assert_eq!(raw.value("SELECT count(*) FROM items"), "60", "the session goes on");
    }
}

#[test]
fn what_a_lost_router_left_prepared_is_finished() {
    let world = Sharded::create("resolver", GRACE);
    let set = |shard: usize, n: i32| format!("UPDATE items SET n = {n} WHERE id = {}", world.id(shard, 0));
    let gid = |which: &str| format!("pgloom:{}:lost-{which}:s1", world.db.name);
    let decision = |gid: &str| format!("SELECT committed FROM pgloom.decision WHERE gid = '{gid}'");
    let decide = |gid: &str| format!("INSERT INTO pgloom.decision (gid, committed) VALUES ('{gid}', true)");
    // As a router leaves it that died after the anchor's commit: the decision is there.
    let (first, second) = (gid("1"), gid("2"));
    world.db.shard(1).must(&format!("{}; {}", set(1, 1), decide(&first)));
    for shard in [0, 2] {
        world.db.shard(shard).must(&format!("BEGIN; {}; PREPARE TRANSACTION '{first}:s{shard}'", set(shard, 1)));
    }
    // And one that died before: no decision.
    world.db.shard(3).must(&format!("BEGIN; {}; PREPARE TRANSACTION '{second}:s3'", set(3, 1)));
    // Somebody else's is not ours to end: of another program, of another logical database, or decided on a shard that we do not
    // know.
    let foreign = ["theirs", "pgloom:other:lost-1:s1:s0", &format!("pgloom:{}:lost-3:s9:s0", world.db.name)];
    for (nth, name) in foreign.iter().enumerate() {
        let update = format!("UPDATE items SET n = 50 WHERE id = {}", world.id(0, nth + 1));
        world.db.shard(0).must(&format!("BEGIN; {update}; PREPARE TRANSACTION '{name}'"));
    }
    eventually(30, "only theirs is left", || world.prepared().len() == foreign.len());
    assert_eq!(world.on_each("SELECT sum(n) FROM items"), ["1", "1", "1", "0"]);
    assert_eq!(world.db.shard(1).value(&decision(&second)), "f", "a tombstone stands in the way of a late commit");
    // The late commit of that anchor fails on it.
    let late = world.db.shard(1).simple(&format!("BEGIN; {}", decide(&second)));
    assert_eq!(late.code(), "23505");
    eventually(20, "the log says why one is left", || {
        world.router.log_text().contains("the shard that decides is not in the configuration")
    });
    for name in foreign {
        world.db.shard(0).must(&format!("ROLLBACK PREPARED '{name}'"));
    }
}

/// Every client may write decision rows, and read the names of what is prepared.
#[test]
fn nobody_decides_of_a_transaction_that_is_not_his() {
    let world = Sharded::create("forged", GRACE);
    let (own, forged) = (Seal::of([1; 16]), Seal::of([2; 16]));
    let gid = |seal: &Seal, number| format!("pgloom:{}:{}:s1", world.db.name, seal.transaction("00ff", number));
    let (first, second) = (gid(&own, 1), gid(&own, 2));
    let decide = |gid: &str, proof: &str| {
        let mut client = Raw::connect_with(
            world.db.ports()[1],
            &[("user", "plain_user"), ("database", &world.db.name)],
            Some("secret"),
        );
        client
            .as_mut()
            .unwrap()
            .must(&format!("INSERT INTO pgloom.decision (gid, committed, proof) VALUES ('{gid}', true, {proof})"));
    };
    decide(&first, &format!("'{}'", own.proof()));
    decide(&second, &format!("'{}'", forged.proof()));
    let third = gid(&own, 3);
    decide(&third, "NULL");
    for (shard, gid) in [(0, &first), (2, &second), (3, &third)] {
        let update = format!("UPDATE items SET n = 1 WHERE id = {}", world.id(shard, 0));
        world.db.shard(shard).must(&format!("BEGIN; {update}; PREPARE TRANSACTION '{gid}:s{shard}'"));
    }
    eventually(30, "all are finished", || world.prepared().is_empty());
    assert_eq!(world.on_each("SELECT sum(n) FROM items"), ["1", "0", "0", "0"]);
}

#[test]
fn a_suspended_portal_does_not_fail_the_commit() {
    let world = Sharded::create("portal", GRACE);
    let mut raw = world.connect();
    for shards in [vec![0], vec![0, 1]] {
        raw.must("BEGIN");
        for shard in &shards {
            raw.must(&format!("UPDATE items SET n = n + 1 WHERE id = {}", world.id(*shard, 0)));
        }
        // Too much for any buffer: the shards are still sending when COMMIT comes.
        let many = "SELECT id, repeat('x', 1000000) FROM items";
        let portal = [m::parse("", many, &[]), m::bind("p", "", &[], &[]), m::execute("p", 1), m::sync()].concat();
        let reply = raw.exchange(&portal, None);
        assert!(reply.error.is_none() && reply.status == b'T', "{:?}", reply.error);
        assert_eq!(tag(&raw.must("COMMIT")), "COMMIT");
        assert_eq!(world.connect().value("SELECT sum(n) FROM items"), if shards.len() == 1 { "1" } else { "3" });
    }
}

#[test]
fn decisions_are_forgotten_only_when_every_participant_is_done() {
    let world = Sharded::create("forget", GRACE);
    let mut raw = world.connect();
    raw.must("UPDATE items SET n = 1");
    assert_eq!(tag(&raw.must("UPDATE items SET n = 2")), "UPDATE 60");
    let settings = pgloom::config::Settings::load(&world.router.config).unwrap();
    let database = pgloom::app::databases(&settings).unwrap().remove(0);
    let left = || -> Vec<Vec<String>> {
        let sql = "SELECT gid FROM pgloom.decision ORDER BY gid";
        (0..4).map(|shard| world.db.shard(shard).values(sql)).collect()
    };
    let rows = left();
    assert_eq!(rows.iter().flatten().count(), 4, "{rows:?}: one for each commit, those of the first rows too");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let forget = |age| runtime.block_on(pgloom::control::resolver::forget_old(&database, Duration::from_secs(age)));
    forget(3600);
    assert_eq!(left(), rows, "too young");
    // A part that is still prepared, whatever its age; one that a shard may hold which we do not know; one of another database.
    let name = &world.db.name;
    let insert = |gid: &str, participants: &str| {
        let sql = format!(
            "INSERT INTO pgloom.decision (gid, committed, participants) VALUES ('{gid}', true, '{participants}')"
        );
        world.db.shard(1).must(&sql);
    };
    let kept = [format!("pgloom:{name}:a-1:s1"), format!("pgloom:{name}:a-2:s1"), "pgloom:other:a-3:s1".to_owned()];
    insert(&kept[0], "{s2}");
    insert(&kept[1], "{s2,s9}");
    insert(&kept[2], "{s2}");
    insert(&format!("pgloom:{name}:a-4:s1"), "{s2,s3}");
    world.router.signal("STOP");
    let update = format!("UPDATE items SET n = 3 WHERE id = {}", world.id(2, 0));
    world.db.shard(2).must(&format!("BEGIN; {update}; PREPARE TRANSACTION '{}:s2'", kept[0]));
    forget(0);
    let mut still = left();
    assert_eq!(still.remove(1), {
        let mut sorted = kept.to_vec();
        sorted.sort();
        sorted
    });
    assert_eq!(still.concat(), Vec::<String>::new());
    world.db.shard(2).must(&format!("COMMIT PREPARED '{}:s2'", kept[0]));
    forget(0);
    assert_eq!(left()[1].len(), 2, "{:?}", left());
    world.router.signal("CONT");
}

#[test]
fn the_decision_is_on_disk_before_anybody_follows_it() {
    // These servers have synchronous_commit = off.
    let world = Sharded::create("disk", GRACE);
    for shard in 0..4 {
        world.db.shard(shard).must(
            "CREATE TABLE noted (how text); \
             CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS \
             'BEGIN INSERT INTO public.noted VALUES (current_setting(''synchronous_commit'')); RETURN NULL; END'; \
             CREATE CONSTRAINT TRIGGER note AFTER UPDATE ON items DEFERRABLE INITIALLY DEFERRED FOR EACH ROW \
             EXECUTE FUNCTION note()",
        );
    }
    let mut raw = world.connect();
    let update = |shard: usize| format!("UPDATE items SET n = 1 WHERE id = {}", world.id(shard, 0));
    raw.must(&format!("BEGIN; {}; {}; COMMIT", update(2), update(1)));
    assert_eq!(world.db.shard(1).values("SELECT how FROM noted"), ["on"], "the anchor, which came last");
    raw.must(&update(3));
    assert_eq!(world.db.shard(3).values("SELECT how FROM noted"), ["off"], "one shard: as the client wants it");
    raw.must(&format!("BEGIN; SET LOCAL synchronous_commit TO local; {}; {}; COMMIT", update(0), update(1)));
    assert_eq!(world.db.shard(0).values("SELECT how FROM noted"), ["local"], "which is on disk, too");
    assert_eq!(raw.value("SHOW synchronous_commit"), "off");
}

#[test]
fn a_router_that_stands_still_in_its_commit_is_overtaken_and_tells_the_truth() {
    let world = Sharded::create("still", GRACE);
    for shard in 0..4 {
        world.db.shard(shard).must(&SLOW_COMMIT.replace("pg_sleep(20)", "pg_sleep(2)"));
    }
    // Another router, whose resolver overtakes the first.
    let other = support::Router::start(&support::sharded::config(&world.db.name, &world.db.ports(), GRACE, ""));
    let mut raw = world.connect();
    raw.must("BEGIN");
    raw.must(&format!("UPDATE items SET n = 1 WHERE id = {}", world.id(0, 0)));
    raw.must(&format!("UPDATE items SET n = 777 WHERE id = {}", world.id(1, 0)));
    raw.send(&m::query("COMMIT")).unwrap();
    // Shard 1 is still preparing when the router stops; the anchor has its row, and waits.
    let preparing =
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'PREPARE TRANSACTION %' AND state = 'active'";
    eventually(10, "PREPARE", || world.db.shard(1).value(preparing) == "1");
    world.router.signal("STOP");
    eventually(10, "shard 1 is prepared", || world.prepared().len() == 1);
    eventually(20, "and rolled back by the other router", || world.prepared().is_empty());
    assert!(other.log_text().contains("ended an anchor that was left idle"), "{}", other.log_text());
    world.router.signal("CONT");
    let messages = raw.read_to_ready().unwrap();
    let error = messages.iter().find(|message| message.tag == b'E').expect("COMMIT fails").report();
    assert_eq!(error.code(), "40000", "{error}");
    untouched(&world, "after it was overtaken");
    assert_eq!(raw.value("SELECT count(*) FROM items"), "60", "the session goes on");
}

#[test]
fn a_transaction_that_is_still_open_is_not_resolved_away() {
    let world = Sharded::create("young", GRACE);
    // The anchor takes longer than the grace to commit; the resolver must wait for its word, not guess.
    world.db.shard(0).must(&SLOW_COMMIT.replace("pg_sleep(20)", "pg_sleep(4)"));
    let mut raw = world.connect();
    raw.set_patience(Duration::from_secs(40));
    raw.must("BEGIN");
    raw.must(&format!("UPDATE items SET n = 777 WHERE id = {}", world.id(0, 0)));
    raw.must(&format!("UPDATE items SET n = 1 WHERE id = {}", world.id(1, 0)));
    let reply = raw.simple("COMMIT");
    eventually(20, "nothing is left prepared", || world.prepared().is_empty());
    let sum: i32 = world.on_each("SELECT sum(n) FROM items").iter().map(|n| n.parse::<i32>().unwrap()).sum();
    match reply.code() {
        "" => assert_eq!(sum, 778),
        _ => assert_eq!(sum, 0, "{reply:?}"),
    }
}

//! What operators see of commits over several shards, and what they can do: SHOW pgloom.transactions, pgloom txn, pgloom check, and
//! the other settings of two_phase_commit.

#![allow(clippy::unwrap_used)]

mod support;

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use support::relay::{Relay, Then, When};
use support::sharded::config;
use support::{Database, Lone, Raw, Router, SHARDS, Sharded};

/// No router of these tests resolves anything by itself.
const NO_RESOLVER: &str = "two_phase_grace = \"10min\"";

/// `pgloom ...` with the configuration of a router: exit code, stdout, stderr.
fn pgloom(router: &Router, arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pgloom"));
    let output = command.args(arguments).arg("--config").arg(&router.config).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

/// A configuration as [`Sharded`] has it, with another `two_phase_commit`.
fn with_mode(db: &Database, mode: &str) -> String {
    let text = config(&db.name, &db.ports(), NO_RESOLVER, "");
    let section = format!("[databases.{}]\n", db.name);
    text.replace(&section, &format!("{section}two_phase_commit = {mode}\n"))
}

fn items(db: &Database) {
    db.everywhere("CREATE TABLE items (id int PRIMARY KEY, n int CHECK (n >= 0))");
}

#[test]
fn what_is_prepared_is_shown_and_resolved() {
    let world = Sharded::create("shown", NO_RESOLVER);
    let name = &world.db.name;
    assert_eq!(world.connect().must("SHOW pgloom.transactions").text(), "");
    assert_eq!(pgloom(&world.router, &["txn", "list"]), (0, "nothing is prepared\n".to_owned(), String::new()));
    let gid = |which: u8| format!("pgloom:{name}:lost-{which}:s1");
    let prepare = |shard: usize, which: u8, n: i32| {
        let update = format!("UPDATE items SET n = {n} WHERE id = {}", world.id(shard, usize::from(which)));
        world.db.shard(shard).must(&format!("BEGIN; {update}; PREPARE TRANSACTION '{}:s{shard}'", gid(which)));
    };
    world.db.shard(1).must(&format!("INSERT INTO pgloom.decision (gid, committed) VALUES ('{}', true)", gid(1)));
    for (shard, which) in [(0, 1), (2, 1), (3, 2), (0, 0)] {
        prepare(shard, which, 1);
    }
    world.db.shard(1).must(&format!("INSERT INTO pgloom.decision (gid, committed) VALUES ('{}', false)", gid(0)));
    let mut raw = world.connect();
    let shown = raw.must("SHOW pgloom.transactions");
    let columns: Vec<&str> = shown.answers[0].columns.as_ref().unwrap().iter().map(|c| c.name.as_str()).collect();
    assert_eq!(columns, ["gid", "shard", "database", "owner", "age", "anchor", "decision"]);
    // Oldest first, within the moments at which the shards were asked; so the order is left out here, and the age.
    let row = |row: &[Option<Vec<u8>>]| {
        let cells: Vec<String> =
            row.iter().map(|c| String::from_utf8_lossy(c.as_deref().unwrap()).into_owned()).collect();
        (cells[0].clone(), [&cells[1], &cells[2], &cells[3], &cells[5], &cells[6]].map(String::clone))
    };
    let expected = |which: u8, shard: usize, decision: &str| {
        let cells = [&format!("s{shard}"), name, "postgres", "s1", decision].map(str::to_owned);
        (format!("{}:s{shard}", gid(which)), cells)
    };
    let mut rows: Vec<_> = shown.answers[0].rows.iter().map(|cells| row(cells)).collect();
    rows.sort();
    let all = [
        expected(0, 0, "rolled back"),
        expected(1, 0, "committed"),
        expected(1, 2, "committed"),
        expected(2, 3, "none"),
    ];
    assert_eq!(rows, all);
    // In the extended protocol too, described before it runs.
    let reply = raw.extended("SHOW pgloom.transactions", &[], &[], 0);
    assert_eq!((reply.answers[0].rows.len(), reply.code()), (4, ""), "{reply:?}");
    let (code, list, _) = pgloom(&world.router, &["txn", "list", "--json"]);
    assert_eq!(code, 0);
    let list: serde_json::Value = serde_json::from_str(&list).unwrap();
    let parts = list.as_array().unwrap();
    let mut decisions: Vec<_> = parts.iter().map(|part| part["decision"].as_str().unwrap()).collect();
    decisions.sort_unstable();
    assert_eq!(decisions, ["committed", "committed", "none", "rolled_back"]);
    assert!(parts.iter().all(|part| part["age_seconds"].as_f64().unwrap() > 0.0 && part["anchor"] == "s1"));
    let (_, table, _) = pgloom(&world.router, &["txn", "list", "--database", name]);
    assert_eq!(table.lines().count(), 5, "{table}");

    // Young ones are left to their routers; one is named, by its part; then all.
    let (code, done, _) = pgloom(&world.router, &["txn", "resolve"]);
    assert_eq!((code, done.trim()), (0, &*format!("{name}: 0 committed, 0 rolled back, 0 left")));
    let (code, done, _) = pgloom(&world.router, &["txn", "resolve", "--older-than", "0", &format!("{}:s3", gid(2))]);
    assert_eq!((code, done.trim()), (0, &*format!("{name}: 0 committed, 1 rolled back, 0 left")));
    assert_eq!(world.prepared().len(), 3);
    let (code, done, errors) = pgloom(&world.router, &["txn", "resolve", "--older-than", "0s", "--json"]);
    assert_eq!(code, 0, "{errors}");
    let done: serde_json::Value = serde_json::from_str(&done).unwrap();
    assert_eq!(done, serde_json::json!([{ "database": name, "committed": 2, "rolled_back": 1, "open": 0 }]));
    assert_eq!(world.prepared(), Vec::<String>::new());
    assert_eq!(world.on_each("SELECT sum(n) FROM items"), ["1", "0", "1", "0"]);
    // What it cannot end is left, and said.
    let foreign = format!("pgloom:{name}:lost-4:s9:s0");
    let update = format!("UPDATE items SET n = 1 WHERE id = {}", world.id(0, 3));
    world.db.shard(0).must(&format!("BEGIN; {update}; PREPARE TRANSACTION '{foreign}'"));
    let (code, done, errors) = pgloom(&world.router, &["txn", "resolve", "--older-than", "0"]);
    assert_eq!((code, done.trim()), (1, &*format!("{name}: 0 committed, 0 rolled back, 1 left")));
    assert!(errors.contains("the shard that decides is not in the configuration"), "{errors}");
    assert!(raw.must("SHOW pgloom.transactions").text().ends_with("|s9|unknown"));
    assert_eq!(pgloom(&world.router, &["txn", "list", "--database", "other"]).0, 2);
    assert_eq!(pgloom(&world.router, &["txn", "resolve", "--older-than", "soon"]).0, 2);
}

#[test]
fn a_shard_that_cannot_be_asked_is_named() {
    let world = Sharded::create("silent", NO_RESOLVER);
    let mut ports = world.db.ports();
    ports[2] = 1;
    let other = Router::start_with(&config(&world.db.name, &ports, NO_RESOLVER, ""), &[]);
    let reply = other.connect(&world.db.name).must("SHOW pgloom.transactions");
    assert_eq!(
        reply.notices.iter().map(|n| (n.code(), n.message())).collect::<Vec<_>>(),
        [("01000", "shard s2 cannot be asked")]
    );
    let (code, _, errors) = pgloom(&other, &["txn", "list"]);
    assert!(code == 1 && errors.contains("shard s2 cannot be asked"), "{errors}");
}

#[test]
fn writes_over_shards_are_refused_where_nothing_can_be_prepared() {
    let lone = Lone::create();
    std::fs::write(
        lone.dir.join("postgresql.auto.conf"),
        std::fs::read_to_string(lone.dir.join("postgresql.auto.conf"))
            .unwrap()
            .replace("transactions = 16", "transactions = 0"),
    )
    .unwrap();
    lone.start();
    let mut admin = lone.connect("postgres");
    for name in ["a", "b"] {
        admin.must(&format!("CREATE DATABASE {name}"));
        lone.connect(name).must("CREATE TABLE items (id int PRIMARY KEY, n int)");
    }
    let text = config("both", &[lone.port, lone.port], NO_RESOLVER, "");
    let text = text
        .replace("name = \"s0\"", "name = \"s0\"\ndbname = \"a\"")
        .replace("name = \"s1\"", "name = \"s1\"\ndbname = \"b\"");
    let router = Router::start(&text);
    let mut raw = router.connect("both");
    let reply = raw.simple("INSERT INTO items VALUES (1, 1), (2, 2), (3, 3), (4, 4)");
    let error = reply.error.as_ref().unwrap();
    assert_eq!((error.code(), reply.status), ("0A000", b'I'), "{reply:?}");
    assert!(error.hint().contains("max_prepared_transactions") && error.hint().contains("best_effort"), "{error}");
    assert_eq!(raw.value("SELECT count(*) FROM items"), "0");
    let (code, found, _) = pgloom(&router, &["check"]);
    assert!(code == 1 && found.contains("BAD both/s0: max_prepared_transactions is 0"), "{found}");
    // The other two settings need none.
    let best_effort =
        Router::start(&text.replace("[databases.both]", "[databases.both]\ntwo_phase_commit = \"best_effort\""));
    let mut raw = best_effort.connect("both");
    raw.must("INSERT INTO items VALUES (1, 1), (2, 2), (3, 3), (4, 4)");
    assert_eq!(raw.value("SELECT count(*) FROM items"), "4");
    let (_, found, _) = pgloom(&best_effort, &["check"]);
    assert!(!found.contains("max_prepared_transactions") && found.contains("are not atomic"), "{found}");
}

#[test]
fn off_refuses_a_second_shard_at_commit() {
    let db = Database::create("off");
    items(&db);
    for mode in ["\"off\"", "false"] {
        let router = Router::start(&with_mode(&db, mode));
        let mut raw = router.connect(&db.name);
        let reply = raw.simple("INSERT INTO items VALUES (1, 1), (2, 2), (3, 3), (4, 4), (5, 5)");
        assert_eq!((reply.code(), reply.status), ("0A000", b'I'), "{reply:?}");
        raw.must("BEGIN; INSERT INTO items VALUES (1, 1)");
        assert!(raw.must("EXPLAIN (ROUTE) COMMIT").text().starts_with("Commit "));
        raw.must("INSERT INTO items VALUES (2, 1)");
        raw.must("INSERT INTO items VALUES (3, 1)");
        raw.must("INSERT INTO items VALUES (5, 1)");
        assert!(raw.must("EXPLAIN (ROUTE) COMMIT").text().starts_with("Refused: "));
        assert_eq!(raw.simple("COMMIT").code(), "0A000");
        assert_eq!(raw.value("SELECT count(*) FROM items"), "0");
    }
}

#[test]
fn best_effort_says_that_it_is_none_and_which_shards_have_committed() {
    let db = Database::create("effort");
    items(&db);
    let relays: Vec<Relay> = db.ports().into_iter().map(Relay::start).collect();
    let ports: Vec<u16> = relays.iter().map(|relay| relay.port).collect();
    let text = config(&db.name, &ports, "server_tls_sslmode = \"disable\"", "");
    let section = format!("[databases.{}]\n", db.name);
    let router = Router::start(&text.replace(&section, &format!("{section}two_phase_commit = \"best_effort\"\n")));
    let mut raw = router.connect(&db.name);
    let rows: Vec<String> = (1..=40).map(|id| format!("({id}, 0)")).collect();
    let insert = format!("INSERT INTO items VALUES {}", rows.join(", "));
    raw.must("SET client_min_messages = error");
    assert!(raw.must(&insert).notices.is_empty(), "who hears no warnings is not told");
    let reply = raw.must("RESET client_min_messages; UPDATE items SET n = 1");
    assert_eq!(reply.notices.len(), 1, "{reply:?}");
    assert!(reply.notices[0].message().contains("not atomic"), "{reply:?}");
    assert!(raw.must("UPDATE items SET n = 0").notices.is_empty(), "once in a session");
    let ids: Vec<String> = (0..SHARDS).map(|shard| db.shard(shard).value("SELECT min(id) FROM items")).collect();
    let write = |raw: &mut Raw| {
        raw.must("BEGIN");
        for id in &ids[..3] {
            raw.must(&format!("UPDATE items SET n = n + 1 WHERE id = {id}"));
        }
        let route = raw.must("EXPLAIN (ROUTE) COMMIT").text();
        assert_eq!(route, "BestEffort: commit s0, then s2, s1; not atomic");
    };
    let sums = || -> Vec<String> { (0..3).map(|shard| db.shard(shard).value("SELECT sum(n) FROM items")).collect() };
    // The first one fails: nothing is committed, and its own error is told.
    let deferred = "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS \
         'BEGIN RAISE EXCEPTION ''refused'' USING ERRCODE = ''23514''; END'; \
         CREATE CONSTRAINT TRIGGER refuse AFTER UPDATE ON items DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse()";
    db.shard(0).must(deferred);
    write(&mut raw);
    assert_eq!(raw.simple("COMMIT").code(), "23514");
    assert_eq!(sums(), ["0", "0", "0"]);
    db.shard(0).must("DROP FUNCTION refuse CASCADE");
    // A later one fails.
    db.shard(2).must(deferred);
    write(&mut raw);
    let error = raw.simple("COMMIT").error.unwrap();
    assert_eq!(error.code(), "08007", "{error}");
    let detail = error.to_string();
    assert!(detail.contains("committed on s0, rolled back on s2, rolled back on s1: refused"), "{detail}");
    assert_eq!(sums(), ["1", "0", "0"]);
    db.shard(2).must("DROP FUNCTION refuse CASCADE");
    // A later one does not answer.
    write(&mut raw);
    let sprung = relays[2].set("COMMIT$", When::Behind, Then::Cut, || ());
    let error = raw.simple("COMMIT").error.unwrap();
    sprung.recv().unwrap();
    assert_eq!(error.code(), "08007", "{error}");
    assert!(error.to_string().contains("committed on s0, unknown on s2, rolled back on s1"), "{error}");
    assert_eq!(sums(), ["2", "0", "1"]);
    // The first one does not.
    write(&mut raw);
    let sprung = relays[0].set("COMMIT$", When::Before, Then::Cut, || ());
    let error = raw.simple("COMMIT").error.unwrap();
    sprung.recv().unwrap();
    assert_eq!((error.code(), error.message()), ("08007", "the outcome of the transaction is unknown"));
    assert!(error.to_string().contains("unknown on s0, rolled back on s2, s1"), "{error}");
    assert_eq!(sums(), ["2", "0", "1"]);
    write(&mut raw);
    raw.must("COMMIT");
    assert_eq!(sums(), ["3", "1", "2"]);
}

/// What is sent behind a BEGIN that somebody else has cancelled, or that takes longer than `statement_timeout`, must not last.
#[test]
fn nothing_lasts_behind_a_begin_that_was_cancelled() {
    let world = Sharded::create("cancelledbegin", NO_RESOLVER);
    let ids = world.free_ids(100);
    let over = Arc::new(AtomicBool::new(false));
    let saboteurs: Vec<_> = world
        .db
        .ports()
        .into_iter()
        .map(|port| {
            let (over, name) = (Arc::clone(&over), world.db.name.clone());
            std::thread::spawn(move || {
                let mut raw = Raw::connect(port, "postgres", &name).unwrap();
                let mut told = 0;
                while !over.load(Ordering::Relaxed) {
                    let sql = "SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity \
                               WHERE application_name LIKE 'pgloom%' AND backend_type = 'client backend' AND pid <> pg_backend_pid()";
                    told += raw.simple(sql).text().parse::<u64>().unwrap_or(0);
                }
                told
            })
        })
        .collect();
    let mut raw = world.connect();
    let mut cancelled = 0;
    for n in 0..400 {
        let (a, b) = (ids[n % 2], ids[2 + n % 2]);
        let reply = raw.simple(&format!("INSERT INTO items (id, n) VALUES ({a}, 1); SELECT 1 / 0"));
        assert!(["22012", "57014"].contains(&reply.code()), "{}", reply.code());
        raw.must("BEGIN");
        let reply = raw.simple(&format!("INSERT INTO items (id, n) VALUES ({a}, 1), ({b}, 1)"));
        assert!(["", "57014"].contains(&reply.code()), "{}", reply.code());
        cancelled += u32::from(reply.code() == "57014");
        raw.must("ROLLBACK");
        let reply =
            raw.extended(&format!("INSERT INTO items (id, n) SELECT {b}, 1 / 0 FROM items LIMIT 1"), &[], &[], 0);
        assert!(["22012", "57014", "0A000"].contains(&reply.code()), "{}", reply.code());
    }
    over.store(true, Ordering::Relaxed);
    let told: u64 = saboteurs.into_iter().map(|saboteur| saboteur.join().unwrap()).sum();
    assert!(told > 100, "{told} cancels, {cancelled} statements");
    let list = ids[..4].iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    assert_eq!(world.connect().value(&format!("SELECT count(*) FROM items WHERE id IN ({list})")), "0");
}

/// The query of a cursor WITH HOLD runs when its transaction is committed: where it fails, nothing is.
#[test]
fn a_cursor_that_cannot_be_kept_undoes_what_other_shards_have_written() {
    let world = Sharded::create("keptcursor", NO_RESOLVER);
    let mut raw = world.connect();
    raw.must("UPDATE items SET name = 'before'");
    for (shard, before) in [(1, "SELECT 1"), (0, "CREATE TEMP TABLE own (id int)"), (2, "SELECT 1")] {
        let (a, b) = (world.id(shard, 0), world.id(3, 0));
        let mut raw = world.connect();
        raw.must(before);
        raw.must(&format!("BEGIN; SELECT id FROM items WHERE id = {a} FOR UPDATE"));
        raw.must(&format!("DECLARE c CURSOR WITH HOLD FOR SELECT 1 / (n - n) FROM items WHERE id = {a}"));
        raw.must(&format!("UPDATE items SET name = 'after' WHERE id = {b}"));
        assert_eq!(raw.simple("COMMIT").code(), "22012");
        assert_eq!(raw.value(&format!("SELECT name FROM items WHERE id = {b}")), "before");
        // One that can be kept is.
        raw.must(&format!("BEGIN; SELECT id FROM items WHERE id = {a} FOR UPDATE"));
        raw.must(&format!("DECLARE c CURSOR WITH HOLD FOR SELECT id FROM items WHERE id = {a}"));
        raw.must(&format!("UPDATE items SET name = 'kept' WHERE id = {b}; COMMIT"));
        assert_eq!(raw.value("FETCH c"), a.to_string());
        raw.must(&format!("CLOSE c; UPDATE items SET name = 'before' WHERE id = {b}"));
    }
    assert_eq!(world.prepared(), Vec::<String>::new());
}

/// One shard's part of a transaction may have ended with COMMIT, or have been prepared, before another one's fails: what was set in it stays
/// on that connection, and neither the session nor whoever has the connection next may meet it.
#[test]
fn what_a_commit_that_fails_has_set_is_undone_on_every_connection() {
    let world = Sharded::create("setcommit", &format!("{NO_RESOLVER}\ndefault_pool_size = 1"));
    let zone = world.connect().value("SHOW timezone");
    let free = world.free_ids(1000);
    let part = |shard: usize| format!("INSERT INTO parts VALUES ({}, 'of no item')", free[shard]);
    let update = |shard: usize| format!("UPDATE items SET n = 1 WHERE id = {}", world.id(shard, 0));
    // One phase, whose readers commit first; two phases, where others are prepared; and the settings of a connection that joins late.
    let flows =
        [vec![part(1)], vec![update(0), part(1)], vec![update(2), part(0)], vec![update(3), update(2), part(1)]];
    for set in ["SET timezone = 'Asia/Tokyo'", "SET ROLE app", "SET SESSION AUTHORIZATION pg_monitor"] {
        for flow in &flows {
            for whole in [true, false] {
                let mut raw = world.connect();
                let texts = flow.join("; ");
                let failed = match whole {
                    true => raw.simple(&format!(
                        "BEGIN; GRANT ALL ON items, parts TO app, pg_monitor; {set}; {texts}; COMMIT"
                    )),
                    false => {
                        raw.must(&format!("BEGIN; SELECT count(*) FROM items; {set}; RESET ROLE; {set}"));
                        flow.iter().for_each(|sql| drop(raw.simple(sql)));
                        raw.simple("COMMIT")
                    }
                };
                let what = format!("{set}; {texts}; at once: {whole}");
                // What fails on the way, for want of rights, is rolled back by its COMMIT.
                let may_fail_before = !whole && failed.code().is_empty();
                assert!(failed.code() == "23503" || may_fail_before, "{what}: {}", failed.text());
                let mut other = world.connect();
                for id in (0..SHARDS).map(|shard| world.id(shard, 1)) {
                    let look = format!(
                        "SELECT current_setting('timezone') || ' ' || current_user || ' ' || session_user FROM items WHERE id = {id}"
                    );
                    for raw in [&mut raw, &mut other] {
                        assert_eq!(raw.value(&look), format!("{zone} postgres postgres"), "{what}");
                    }
                }
            }
        }
    }
    assert_eq!(world.prepared(), Vec::<String>::new());
}

/// A cursor WITH HOLD on a shard where nothing else was done is lost with the transaction, too.
#[test]
fn a_cursor_of_a_commit_that_fails_is_gone() {
    let world = Sharded::create("lostcursor", NO_RESOLVER);
    let part = format!("INSERT INTO parts VALUES ({}, 'of no item')", world.free_ids(1000)[1]);
    for shard in [0, 2] {
        let mut raw = world.connect();
        raw.must(&format!(
            "BEGIN; DECLARE c CURSOR WITH HOLD FOR SELECT id FROM items WHERE id = {}",
            world.id(shard, 0)
        ));
        raw.must(&part);
        assert_eq!(raw.simple("COMMIT").code(), "23503");
        assert_eq!(raw.simple("FETCH c").code(), "34000");
    }
    assert_eq!(world.prepared(), Vec::<String>::new());
    // Nothing is refused where two phases cannot be: what is bound to the home shard, a second cursor, READ ONLY behind a write.
    let (here, there) = (world.id(2, 0), world.id(1, 0));
    let declare =
        |name: &str, id: i32| format!("DECLARE {name} CURSOR WITH HOLD FOR SELECT id FROM items WHERE id = {id}");
    let update = |id: i32| format!("UPDATE items SET n = n WHERE id = {id}");
    for (opening, closing) in [
        (declare("c", here), "NOTIFY somebody".to_owned()),
        (declare("c", here), format!("{}; {}", declare("d", there), update(world.id(0, 0)))),
        (format!("{}; SET TRANSACTION READ ONLY", update(there)), declare("c", here)),
    ] {
        let mut raw = world.connect();
        raw.must(&format!("BEGIN; {opening}; {closing}; COMMIT"));
        assert_eq!(raw.must("FETCH c").text(), here.to_string(), "{opening}; {closing}");
    }
    assert_eq!(world.prepared(), Vec::<String>::new());
}

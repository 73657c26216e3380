//! A configuration replaced while clients run: whole or not at all, without an error for anybody, and without two maps in one transaction.

#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use support::raw::{Value, message};
use support::{Raw, SHARDS, Sharded, eventually};

/// Clients that read and write `items` for as long as the value lives; whoever meets an error, panics at its end.
struct Traffic {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    clients: Vec<std::thread::JoinHandle<Option<String>>>,
}

impl Traffic {
    fn start(world: &Sharded) -> Self {
        let (stop, done) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let clients = (0..3).map(|client| {
            let (mut raw, stop, done) = (world.connect(), Arc::clone(&stop), Arc::clone(&done));
            let ids = world.ids.iter().map(|ids| ids[client]).collect::<Vec<i32>>();
            std::thread::spawn(move || {
                raw.exchange(
                    &[message::parse("s", "SELECT n FROM items WHERE id = $1", &[23]), message::sync()].concat(),
                    None,
                );
                while !stop.load(Ordering::Relaxed) {
                    for id in &ids {
                        let bound = [
                            message::bind("", "s", &[Value::text(&id.to_string())], &[]),
                            message::execute("", 0),
                            message::sync(),
                        ];
                        let replies = [
                            raw.simple(&format!("UPDATE items SET n = n + 1 WHERE id = {id}")),
                            raw.exchange_with(&bound.concat(), None, true),
                            raw.simple("SELECT count(*) FROM items"),
                        ];
                        if let Some(error) = replies.iter().find_map(|reply| reply.error.as_ref()) {
                            return Some(format!("{error:?}"));
                        }
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                }
                None
            })
        });
        Self { clients: clients.collect(), stop, done }
    }

    /// Everybody has gone on since now.
    fn goes_on(&self) {
        let before = self.done.load(Ordering::Relaxed);
        eventually(30, "clients go on", || {
            self.clients.iter().all(|client| !client.is_finished()) && self.done.load(Ordering::Relaxed) > before + 20
                || self.clients.iter().any(|client| client.is_finished())
        });
    }

    fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        let errors: Vec<String> = self.clients.into_iter().filter_map(|client| client.join().unwrap()).collect();
        assert!(errors.is_empty(), "{errors:?}");
    }
}

fn route(raw: &mut Raw, sql: &str) -> String {
    raw.must(&format!("EXPLAIN (ROUTE) {sql}")).text()
}

#[test]
fn tables_are_added_and_removed_while_clients_run() {
    let world = Sharded::create("tables", "");
    world.db.everywhere("CREATE TABLE notes (id int, body text)");
    let traffic = Traffic::start(&world);
    let text = world.router.config_text();
    let mut raw = world.connect();
    let added = format!(
        "{text}\n[[databases.{}.tables]]\nname = \"notes\"\ndistribution = \"key\"\ncolumns = [\"id\"]\n",
        world.db.name
    );
    assert_eq!(world.router.reload(&added), "applied");
    traffic.goes_on();
    let rows: Vec<String> = (1..=40).map(|id| format!("({id})")).collect();
    raw.must(&format!("INSERT INTO notes (id) VALUES {}", rows.join(", ")));
    assert_eq!(raw.value("SELECT count(*) FROM notes"), "40");
    assert!(world.on_each("SELECT count(*) FROM notes").iter().all(|count| count != "0"));
    assert_eq!(world.router.reload(&added), "unchanged");
    // There were no rows of it before, and there are now.
    assert_eq!(world.router.reload(&text), "rejected");
    assert_eq!(raw.value("SELECT count(*) FROM notes"), "40");
    assert_eq!(world.router.reload(&with_moves(&text)), "applied");
    assert_eq!(raw.value("SELECT count(*) FROM notes"), world.on_each("SELECT count(*) FROM notes")[0]);
    traffic.goes_on();
    traffic.end();
}

/// What a changed file says of rows that are there already is not believed by itself.
#[test]
fn a_file_that_moves_rows_is_rejected_unless_that_is_allowed() {
    let world = Sharded::create("moves", "");
    let text = world.router.config_text();
    let id = world.id(1, 0);
    let old = format!("[[databases.{}.distributions]]\nname = \"key\"\nkey_types = [\"int4\"]", world.db.name);
    let moved = text.replace(&old, &format!("{old}\npins = [{{ value = \"{id}\", shard = \"s2\" }}]"));
    assert_ne!(moved, text);
    let mut raw = world.connect();
    let mut known = move || {
        let row = raw.named("SHOW pgloom.map").remove(0);
        let problem = row.get("problem").cloned().unwrap_or_default();
        (row["source"].clone(), row["rejected"].clone(), problem)
    };
    let told = |line: &str| world.router.http("/metrics").1.contains(line);
    let row = format!("SELECT name FROM items WHERE id = {id}");
    let name = world.connect().value(&row);
    assert_eq!(known(), ("file".to_owned(), "0".to_owned(), String::new()));
    assert_eq!(world.router.reload(&moved), "rejected");
    assert_eq!(world.connect().value(&row), name);
    let (_, rejected, problem) = known();
    assert!(
        rejected == "1" && problem.contains("MOVES 1 key") && problem.contains("public.items has rows"),
        "{problem}"
    );
    let log = world.router.log_text();
    assert!(log.contains("1 pins are others; MOVES 1 key") && log.contains("allow_moves = true"), "{log}");
    assert!(told("pgloom_topology_rejected_total 1\n") && told("pgloom_topology_troubled 1\n"));
    // An epoch that is this router's own is not compared with those of others.
    assert!(told("pgloom_topology_epoch 0\n"));
    assert_eq!(world.router.reload(&text), "unchanged");
    assert_eq!(known(), ("file".to_owned(), "1".to_owned(), String::new()));
    assert!(told("pgloom_topology_troubled 0\n"));
    // Nor is a server taken for another shard that has a shard's rows: both were exchanged.
    let ports = world.db.ports();
    let port = |of: usize| format!("port = {}\n", ports[of]);
    let exchanged =
        text.replace(&port(1), "port = one\n").replace(&port(2), &port(1)).replace("port = one\n", &port(2));
    assert_eq!(world.router.reload(&exchanged), "rejected");
    assert!(known().2.contains("has been a server of shard s2, with its rows"), "{}", known().2);
    assert_eq!(world.connect().value(&row), name);
    assert_eq!(world.router.reload(&text), "unchanged");
    // Its operator has moved the row.
    let from = world.db.shard(1).must(&format!("DELETE FROM items WHERE id = {id} RETURNING n, name"));
    assert_eq!(from.answers[0].rows.len(), 1);
    world.db.shard(2).must(&format!("INSERT INTO items VALUES ({id}, 0, '{name}')"));
    assert_eq!(world.router.reload(&with_moves(&moved)), "applied");
    assert_eq!(world.connect().value(&row), name);
    // Where there are no rows nothing can be looked for in vain.
    assert_eq!(world.router.reload(&text), "rejected");
    world.connect().must("DELETE FROM items");
    assert_eq!(world.router.reload(&text), "applied");
}

/// A reload for which a transaction is in the way is not forgotten.
#[test]
fn a_reload_that_waited_in_vain_is_tried_again() {
    let world = Sharded::create("again", "");
    let (id, text) = pinned(&world, 1);
    let mut old = world.connect();
    old.must(&format!("BEGIN; SELECT n FROM items WHERE id = {id}"));
    assert_eq!(world.router.reload(&text), "rejected");
    let metrics = world.router.http("/metrics").1;
    assert!(metrics.contains("pgloom_topology_rejected_total 0\n"), "it is not wrong");
    assert!(metrics.contains("pgloom_topology_troubled 1\n"));
    let before = world.router.reloads();
    old.must("COMMIT");
    assert_eq!(world.router.next_reload(&before), "applied");
    assert!(route(&mut old, &format!("SELECT * FROM items WHERE id = {id}")).contains("s2"));
}

#[test]
fn a_bad_configuration_is_rejected_whole() {
    let world = Sharded::create("bad", "");
    let traffic = Traffic::start(&world);
    let text = world.router.config_text();
    let mut raw = world.connect();
    // Each of them has something good in it, too.
    let more_users = "[[users]]\nname = \"other\"\n[databases";
    for bad in [
        text.replacen("[databases", more_users, 1).replace("distribution = \"key\"", "distribution = \"nothing\""),
        text.replacen("[databases", more_users, 1) + "\nnonsense = 1",
        text.replacen("[databases", more_users, 1).replacen(
            "[general]",
            "[general]\nserver_tls_sslmode = \"verify-ca\"\nserver_tls_ca_file = \"/nowhere\"",
            1,
        ),
        String::new(),
    ] {
        assert_ne!(bad, text);
        assert_eq!(world.router.reload(&bad), "rejected");
        assert!(Raw::connect(world.router.port, "other", &world.db.name).is_err());
        assert!(route(&mut raw, "SELECT * FROM items WHERE id = 1").contains("s"));
        assert!(world.router.http("/metrics").1.contains("pgloom_config_last_reload_successful 0"));
    }
    assert!(world.router.log_text().contains("the new configuration was rejected"));
    assert_eq!(world.router.reload(&text), "unchanged");
    assert!(world.router.http("/metrics").1.contains("pgloom_config_last_reload_successful 1"));
    traffic.goes_on();
    traffic.end();
}

/// A key that lies on `shard` by the hash, and its text in the configuration: it is to lie on the next shard.
fn pinned(world: &Sharded, shard: usize) -> (i32, String) {
    let id = world.free_ids(1000)[shard];
    let name = &world.db.name;
    let old = format!("[[databases.{name}.distributions]]\nname = \"key\"\nkey_types = [\"int4\"]");
    let text = world.router.config_text();
    assert!(text.contains(&old));
    let to = (shard + 1) % SHARDS;
    let pinned = text.replace(&old, &format!("{old}\npins = [{{ value = \"{id}\", shard = \"s{to}\" }}]"));
    (id, with_moves(&pinned))
}

/// The same, where rows may be looked for elsewhere than they are.
fn with_moves(text: &str) -> String {
    text.replacen("[[users]]", "[topology]\nallow_moves = true\n[[users]]", 1)
}

/// A configuration under which `id` lies elsewhere is to be applied, and one transaction from before is waited for that has just begun:
/// the table is closed. Also how many reloads there were before.
fn closing(world: &Sharded, id: i32, text: &str) -> (Raw, Vec<(String, u64)>) {
    let (mut old, mut young, mut probe) = (world.connect(), world.connect(), world.connect());
    let before = world.router.reloads();
    old.must(&format!("BEGIN; SELECT n FROM items WHERE id = {id}"));
    let began = || world.router.log_text().matches("reading the configuration again").count();
    let reads = began();
    world.router.replace_config(text);
    world.router.signal("HUP");
    eventually(20, "it is read", || began() > reads);
    // Nobody waits for who began long ago: the map of before serves all.
    std::thread::sleep(Duration::from_millis(300));
    probe.must("SET pgloom.query_wait_timeout = '300ms'");
    let touch = format!("UPDATE items SET n = n WHERE id = {id}");
    for _ in 0..3 {
        probe.must(&touch);
    }
    assert_eq!(world.router.reloads(), before);
    young.must(&format!("BEGIN; SELECT n FROM items WHERE id = {id}"));
    old.must("COMMIT");
    eventually(20, "the table is closed", || !probe.simple(&touch).code().is_empty());
    (young, before)
}

#[test]
fn a_transaction_keeps_its_map_and_others_wait_for_it() {
    let world = Sharded::create("maps", "");
    let (id, text) = pinned(&world, 1);
    let (mut new, mut beside) = (world.connect(), world.connect());
    let (mut old, before) = closing(&world, id, &text);
    let port = world.router.port;
    // A statement that touches what moves waits; another one does not.
    let name = world.db.name.clone();
    let waits = std::thread::spawn(move || {
        let mut raw = Raw::connect(port, "postgres", &name).unwrap();
        raw.must(&format!("DELETE FROM items WHERE id = {id}")).answers[0].tag.clone()
    });
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(beside.value("SELECT body FROM plain WHERE id = 1"), "one");
    assert!(!waits.is_finished());
    assert_eq!(world.router.reloads(), before, "nothing is applied while somebody works under the old map");
    // Behind the change, and still under the old map.
    old.must(&format!("INSERT INTO items VALUES ({id}, 1, 'old')"));
    assert_eq!(old.value(&format!("SELECT name FROM items WHERE id = {id}")), "old");
    old.must(&format!("UPDATE items SET n = 2 WHERE id = {id}"));
    old.must("COMMIT");
    assert_eq!(world.router.next_reload(&before), "applied");
    // The row is where the old map has it; the operator moves it, or does not.
    assert_eq!(waits.join().unwrap().as_deref(), Some("DELETE 0"));
    assert!(route(&mut new, &format!("SELECT * FROM items WHERE id = {id}")).contains("s2"));
    assert_eq!(world.db.shard(1).value(&format!("SELECT n FROM items WHERE id = {id}")), "2");
    new.must(&format!("INSERT INTO items VALUES ({id}, 3, 'new')"));
    assert_eq!(world.db.shard(2).value(&format!("SELECT name FROM items WHERE id = {id}")), "new");
}

/// A pin on the shard that has the key already moves nothing: nobody is waited for, and nobody waits.
#[test]
fn a_map_that_moves_nothing_waits_for_nobody() {
    let world = Sharded::create("still", "");
    let id = world.id(1, 0);
    let (_, text) = pinned(&world, 1);
    let other = world.free_ids(1000)[1];
    let text =
        text.replace(&format!("value = \"{other}\", shard = \"s2\""), &format!("value = \"{id}\", shard = \"s1\""));
    assert!(text.contains("shard = \"s1\" }]"), "{text}");
    let mut open = world.connect();
    open.must(&format!("BEGIN; UPDATE items SET n = 5 WHERE id = {id}"));
    assert_eq!(world.router.reload(&text), "applied");
    open.must("COMMIT");
    assert_eq!(world.connect().value(&format!("SELECT n FROM items WHERE id = {id}")), "5");
}

/// Whether psql gets in.
fn may_enter(world: &Sharded, user: &str, password: &str) -> bool {
    let (port, name) = (world.router.port, &world.db.name);
    let done = std::process::Command::new("psql")
        .args(["-X", "-At", "-c", "SELECT count(*) FROM items"])
        .arg(format!("host=127.0.0.1 port={port} user={user} dbname={name}"))
        .env("PGPASSWORD", password)
        .output()
        .unwrap();
    done.status.success()
}

#[test]
fn users_come_go_and_change_their_passwords() {
    let world = Sharded::create("users", "");
    let name = &world.db.name;
    let guest = "[[users]]\nname = \"guest\"\nserver_user = \"postgres\"\n";
    let text = world.router.config_text().replace("[[users]]", &format!("{guest}[[users]]"));
    assert_eq!(world.router.reload(&text), "applied");
    let (mut stays, mut goes) = (world.connect(), Raw::connect(world.router.port, "guest", name).unwrap());
    goes.must("BEGIN; SELECT FROM items");
    let text = text.replace("auth_type = \"trust\"", "auth_type = \"scram-sha-256\"");
    let text = text.replace("name = \"guest\"", "name = \"visitor\"\npassword = \"v\"");
    let text = text.replace("name = \"postgres\"", "name = \"postgres\"\npassword = \"one\"");
    assert_eq!(world.router.reload(&text), "applied");
    assert!(may_enter(&world, "postgres", "one") && may_enter(&world, "visitor", "v"));
    assert!(!may_enter(&world, "guest", "v"));
    // Its transaction is finished, and then it goes.
    assert_eq!(goes.value("SELECT count(*) FROM items"), support::sharded::ITEMS.to_string());
    goes.must("COMMIT");
    eventually(10, "who may not connect any more is disconnected", || goes.read().is_err());
    assert_eq!(world.router.reload(&text.replace("\"one\"", "\"two\"")), "applied");
    assert!(may_enter(&world, "postgres", "two") && !may_enter(&world, "postgres", "one"));
    assert_eq!(stays.value("SELECT 1"), "1");
}

#[test]
fn pools_of_unchanged_shards_keep_their_connections_and_change_their_size() {
    let world = Sharded::create("pools", "default_pool_size = 5\nserver_idle_timeout = \"10min\"");
    let text = world.router.config_text();
    let mut raw = world.connect();
    let ask = format!("SELECT pg_backend_pid() FROM items WHERE id = {}", world.id(1, 0));
    let pid = raw.value(&ask);
    let smaller = text.replace("default_pool_size = 5", "default_pool_size = 1");
    assert_eq!(world.router.reload(&smaller), "applied");
    assert_eq!(raw.value(&ask), pid);
    let mut holds = world.connect();
    holds.must("BEGIN");
    holds.must(&ask);
    let waits = std::thread::spawn({
        let (mut raw, ask) = (world.connect(), ask.clone());
        move || raw.value(&ask)
    });
    std::thread::sleep(Duration::from_millis(300));
    assert!(!waits.is_finished(), "one connection is all there is");
    assert_eq!(world.router.reload(&text), "applied");
    assert_ne!(waits.join().unwrap(), pid, "there are more now, also for who waits already");
    holds.must("COMMIT");
    // Connections are made in another way: nothing of the old pool is used again.
    let other = text.replace("default_pool_size = 5", "default_pool_size = 5\nserver_connect_timeout = \"6s\"");
    assert_eq!(world.router.reload(&other), "applied");
    assert_ne!(raw.value(&ask), pid);
    eventually(10, "connections of before are closed", || {
        world.db.shard(1).value(&format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {pid}")) == "0"
    });
}

#[test]
fn shards_are_added_while_clients_run() {
    let world = Sharded::create("shards", "");
    let traffic = Traffic::start(&world);
    let text = world.router.config_text();
    let name = &world.db.name;
    // A fourth shard, which is the oracle's server here, with a distribution of its own.
    let port = world.db.cluster.oracle.port;
    let mut oracle = world.db.oracle();
    oracle.must("CREATE TABLE places (code text PRIMARY KEY, title text); INSERT INTO places VALUES ('a', 'A')");
    world.db.everywhere("CREATE TABLE far (id int PRIMARY KEY, n int)");
    let more = text.replacen(
        &format!("[[databases.{name}.distributions]]"),
        &format!(
            "[[databases.{name}.shards]]\nname = \"s9\"\nhost = \"127.0.0.1\"\nport = {port}\n\
             [[databases.{name}.distributions]]\nname = \"far\"\nkey_types = [\"int4\"]\nmethod = \"list\"\ndefault_shard = \"s9\"\n\
             [[databases.{name}.distributions]]"
        ),
        1,
    );
    // The others' rows stay where they are.
    let ring: Vec<String> = (0..SHARDS).map(|index| format!("\"s{index}\"")).collect();
    let more = more.replace(
        "name = \"key\"\nkey_types = [\"int4\"]",
        &format!("name = \"key\"\nkey_types = [\"int4\"]\nshards = [{}]", ring.join(", ")),
    );
    let more =
        format!("{more}\n[[databases.{name}.tables]]\nname = \"far\"\ndistribution = \"far\"\ncolumns = [\"id\"]\n");
    // Its copies of reference tables are there: only the operator knows that.
    assert_eq!(world.router.reload(&more), "rejected");
    assert_eq!(world.router.reload(&with_moves(&more)), "applied");
    traffic.goes_on();
    let mut raw = world.connect();
    raw.must("INSERT INTO far VALUES (1, 1), (2, 2); INSERT INTO places VALUES ('b', 'B')");
    assert_eq!(oracle.value("SELECT count(*) FROM far"), "2");
    assert_eq!(oracle.value("SELECT count(*) FROM places"), "2");
    assert_eq!(raw.value("SELECT sum(f.n) FROM far f, items i WHERE i.id = f.id AND i.id < 3"), "3");
    eventually(20, "the new shard is watched", || world.router.http("/readyz").0 == 200);
    assert_eq!(world.router.reload(&text), "rejected");
    assert_eq!(raw.value("SELECT count(*) FROM far"), "2");
    assert_eq!(world.router.reload(&with_moves(&text)), "applied");
    traffic.goes_on();
    assert_eq!(raw.value("SELECT count(*) FROM far"), "0");
    traffic.end();
}

/// One that has touched what stays, and then comes to what moves, waits and goes on: it has not seen that yet.
#[test]
fn a_transaction_waits_for_what_moves_and_goes_on_under_the_new_map() {
    let world = Sharded::create("follows", "");
    let (id, text) = pinned(&world, 1);
    let mut through = world.connect();
    let (mut old, before) = closing(&world, id, &text);
    through.must("BEGIN; UPDATE plain SET body = 'mine'");
    let waits = std::thread::spawn(move || {
        through.must(&format!("INSERT INTO items VALUES ({id}, 1, 'new')"));
        through.must("COMMIT");
    });
    std::thread::sleep(Duration::from_millis(500));
    assert!(!waits.is_finished());
    old.must("COMMIT");
    assert_eq!(world.router.next_reload(&before), "applied");
    waits.join().unwrap();
    assert_eq!(world.db.shard(2).value(&format!("SELECT name FROM items WHERE id = {id}")), "new");
    assert_eq!(world.connect().value("SELECT body FROM plain"), "mine");
}

/// Changes that come as fast as they can, each of which closes the table: who waits for one meets the next, and goes on waiting.
#[test]
fn who_waits_for_what_moves_waits_for_the_next_change_too() {
    let world = Sharded::create("quick", "");
    let (id, pinned) = pinned(&world, 1);
    let texts = [pinned.clone(), pinned.replacen("pins = [{", "# pins = [{", 1)];
    assert_ne!(texts[0], texts[1]);
    let (stop, port, name) = (AtomicBool::new(false), world.router.port, &world.db.name);
    let (errors, done) = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..6)
            .map(|client| {
                let stop = &stop;
                scope.spawn(move || {
                    let mut raw = Raw::connect(port, "postgres", name).unwrap();
                    let (mut errors, mut done) = (Vec::new(), 0);
                    while !stop.load(Ordering::Relaxed) {
                        let sql = format!("DELETE FROM items WHERE id = {id}");
                        let replies = match client % 3 {
                            0 => vec![raw.simple(&sql)],
                            1 => vec![raw.extended(&sql, &[], &[], 0)],
                            _ => vec![
                                raw.simple("BEGIN; SELECT body FROM plain"),
                                raw.simple(&sql),
                                raw.simple("COMMIT"),
                            ],
                        };
                        done += 1;
                        errors.extend(
                            replies.into_iter().filter_map(|reply| reply.error.map(|error| format!("{error:?}"))),
                        );
                    }
                    (errors, done)
                })
            })
            .collect();
        for round in 0..20 {
            assert_eq!(world.router.reload(&texts[round % 2]), "applied", "round {round}");
        }
        stop.store(true, Ordering::Relaxed);
        let heard = clients.into_iter().map(|client| client.join().unwrap());
        heard.fold((Vec::new(), 0), |(mut all, count), (errors, done)| {
            all.extend(errors);
            (all, count + done)
        })
    });
    assert!(errors.is_empty() && done > 40, "{done}: {errors:?}");
}

#[test]
fn files_that_change_are_read_again_however_they_are_replaced() {
    let world = Sharded::create("watch", "autoreload = \"200ms\"");
    let text = world.router.config_text();
    let user = |nth: usize| format!("[[users]]\nname = \"user{nth}\"\nserver_user = \"postgres\"\n[databases");
    let comes_in = |nth: usize| {
        eventually(20, "the file is read again", || {
            Raw::connect(world.router.port, &format!("user{nth}"), &world.db.name).is_ok()
        });
    };
    let with = |nth: usize| text.replacen("[databases", &user(nth), 1);
    // As an editor does it.
    world.router.replace_config(&with(1));
    comes_in(1);
    // In place.
    std::fs::write(&world.router.config, with(2)).unwrap();
    comes_in(2);
    // As Kubernetes does it: a link to a file in a directory that is itself a link, which is replaced.
    let volume = world.router.config.with_extension("d");
    std::fs::create_dir_all(&volume).unwrap();
    let turn_to = |nth: usize| {
        let version = volume.join(format!("version{nth}"));
        std::fs::create_dir_all(&version).unwrap();
        std::fs::write(version.join("pgloom.toml"), with(nth)).unwrap();
        let (link, new) = (volume.join("..data"), volume.join("..new"));
        std::os::unix::fs::symlink(&version, &new).unwrap();
        std::fs::rename(&new, &link).unwrap();
    };
    turn_to(3);
    let own = volume.join("link");
    std::os::unix::fs::symlink(volume.join("..data/pgloom.toml"), &own).unwrap();
    std::fs::rename(&own, &world.router.config).unwrap();
    comes_in(3);
    turn_to(4);
    comes_in(4);
    // One that is bad is told of once, and the next good one is taken.
    let rejected = |router: &support::Router| {
        router.reloads().iter().find(|(result, _)| result == "rejected").map_or(0, |(_, n)| *n)
    };
    std::fs::write(volume.join("..data/pgloom.toml"), "nonsense").unwrap();
    eventually(20, "it is rejected", || rejected(&world.router) == 1);
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(rejected(&world.router), 1);
    turn_to(5);
    comes_in(5);
    std::fs::remove_dir_all(&volume).unwrap();
}

#[test]
fn a_pause_lets_transactions_finish_and_holds_back_the_others() {
    let world = Sharded::create("pause", "query_wait_timeout = \"3s\"");
    let (mut old, mut new) = (world.connect(), world.connect());
    old.must("BEGIN; UPDATE items SET n = n + 1");
    world.router.signal("USR1");
    eventually(10, "it is pausing", || world.router.log_text().contains("new statements wait"));
    // A new statement waits, for so long.
    let reply = new.simple("SELECT 1");
    assert_eq!(reply.code(), "53300", "{reply:?}");
    assert!(!world.router.log_text().contains("nothing runs"));
    old.must("COMMIT");
    eventually(10, "it is paused", || world.router.log_text().contains("nothing runs"));
    let waits = std::thread::spawn(move || {
        let begun = Instant::now();
        new.must("SELECT 1");
        begun.elapsed()
    });
    std::thread::sleep(Duration::from_millis(700));
    // A configuration is applied meanwhile, and changes nothing about it.
    let text = world.router.config_text().replace("\"3s\"", "\"4s\"");
    assert_eq!(world.router.reload(&text), "applied");
    assert!(!waits.is_finished());
    world.router.signal("USR2");
    assert!(waits.join().unwrap() > Duration::from_millis(500));
    // Twice is told, and no more.
    world.router.signal("USR2");
    eventually(10, "nothing is paused", || world.router.log_text().contains("nothing is paused"));
}

/// The router in this process, for what nobody can ask of it from outside.
#[test]
fn a_paused_shard_is_left_alone_and_the_others_are_not() {
    use pgloom::control::live::Steering;

    let world = Sharded::create("shardpause", "");
    let own = world.router.config.with_extension("own");
    let port = support::cluster::free_port();
    let text =
        world.router.config_text().replace(&format!("port = {}\n", world.router.port), &format!("port = {port}\n"));
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("metrics_listen")).collect();
    std::fs::write(&own, lines.join("\n")).unwrap();
    let settings = pgloom::config::Settings::load(&own).unwrap();
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).thread_stack_size(8 << 20).enable_all().build().unwrap();
    let router =
        runtime.block_on(pgloom::app::Router::start(&settings, &pgloom::secret::Secret::new("of the test"))).unwrap();
    let live = router.live();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = runtime.spawn(router.run(async move {
        let _ = stopped.await;
        pgloom::app::Ending::OfTransactions
    }));
    let name = world.db.name.clone();
    let connect = || Raw::connect(port, "postgres", &name).unwrap();
    let on = |shard: usize| format!("SELECT n FROM items WHERE id = {}", world.id(shard, 0));
    let (mut old, mut new, mut pinned) = (connect(), connect(), connect());
    pinned.must("CREATE TEMP TABLE mine (x int)");
    // It has begun elsewhere, and comes to the shard when that is being paused.
    old.must("BEGIN");
    old.must(&on(2));
    let pausing = runtime.spawn({
        let (live, name) = (Arc::clone(&live), name.clone());
        async move { live.pause(Some(&name), Some("s1")).await }
    });
    std::thread::sleep(Duration::from_millis(300));
    old.must(&on(1));
    assert!(!pausing.is_finished(), "a transaction is there");
    old.must("COMMIT");
    runtime.block_on(pausing).unwrap().unwrap();
    // Others go on elsewhere, in blocks too; who comes there waits, alone, with others, or as a transaction that began behind the pause.
    new.must("BEGIN");
    new.must(&on(2));
    let waiting: Vec<_> = [
        on(1),
        "SELECT count(*) FROM items".to_owned(),
        format!("UPDATE items SET n = 9 WHERE id = {}", world.id(1, 1)),
    ]
    .into_iter()
    .map(|sql| {
        let mut raw = connect();
        std::thread::spawn(move || raw.must(&sql))
    })
    .collect();
    let in_block = std::thread::spawn({
        let sql = on(1);
        move || {
            new.must(&sql);
            new.must("COMMIT");
        }
    });
    assert_eq!(connect().value(&on(2)), "0");
    assert_eq!(pinned.value("SELECT count(*) FROM mine"), "0");
    std::thread::sleep(Duration::from_millis(700));
    assert!(!in_block.is_finished() && waiting.iter().all(|waits| !waits.is_finished()));
    let busy = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state <> 'idle' AND query LIKE '%items%' \
        AND pid <> pg_backend_pid()";
    assert_eq!(world.db.shard(1).value(busy), "0");
    assert!(runtime.block_on(live.pause(Some("nobody"), None)).is_err());
    assert!(runtime.block_on(live.pause(Some(&name), Some("nobody"))).is_err());
    live.resume(Some(&name), Some("s1")).unwrap();
    assert!(live.resume(Some(&name), Some("s1")).is_err());
    in_block.join().unwrap();
    waiting.into_iter().for_each(|waits| drop(waits.join().unwrap()));
    // The home shard too, on a connection that a session keeps.
    runtime.block_on(live.pause(Some(&name), Some("s0"))).unwrap();
    let kept = std::thread::spawn(move || pinned.value("SELECT count(*) FROM mine"));
    std::thread::sleep(Duration::from_millis(400));
    assert!(!kept.is_finished());
    live.resume(None, None).unwrap();
    assert_eq!(kept.join().unwrap(), "0");
    drop((old, stop));
    runtime.block_on(running).unwrap();
    std::fs::remove_file(&own).unwrap();
}

#[test]
fn another_shard_becomes_the_home_shard_while_clients_run() {
    let world = Sharded::create("home", "");
    let traffic = Traffic::start(&world);
    let text = world.router.config_text();
    let section = format!("[databases.{}]\n", world.db.name);
    let moved = text.replacen(&section, &format!("{section}home_shard = \"s1\"\n"), 1);
    let mut raw = world.connect();
    assert_eq!(raw.value("SELECT body FROM plain"), "one");
    world.db.shard(1).must("INSERT INTO plain VALUES (1, 'other')");
    assert_eq!(world.router.reload(&moved), "rejected");
    assert_eq!(raw.value("SELECT body FROM plain"), "one");
    assert_eq!(world.router.reload(&with_moves(&moved)), "applied");
    traffic.goes_on();
    assert_eq!(raw.value("SELECT body FROM plain"), "other");
    assert!(route(&mut raw, "SELECT body FROM plain").contains("s1"));
    raw.must("INSERT INTO plain VALUES (2, 'two')");
    assert_eq!(world.on_each("SELECT count(*) FROM plain")[..2], ["1", "2"]);
    // What is finished by a Postgres is finished there, and definitions are made everywhere.
    assert_eq!(raw.value("SELECT count(*) FROM items i, plain p WHERE p.id = i.id"), "2");
    raw.must("CREATE TABLE made (id int); INSERT INTO made VALUES (1)");
    assert_eq!(raw.value("SELECT count(*) FROM made"), "1");
    assert_eq!(world.router.reload(&with_moves(&text)), "applied");
    traffic.goes_on();
    assert_eq!(raw.value("SELECT body FROM plain"), "one");
    traffic.end();
}

#[test]
fn metrics_move_to_another_address_while_clients_run() {
    let mut world = Sharded::create("scrape", "");
    let traffic = Traffic::start(&world);
    let text = world.router.config_text();
    let free = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let (old, new) = (world.router.http_port, free.local_addr().unwrap().port());
    drop(free);
    let moved = text.replacen(&format!("127.0.0.1:{old}"), &format!("127.0.0.1:{new}"), 1);
    assert_ne!(moved, text);
    world.router.replace_config(&moved);
    world.router.signal("HUP");
    world.router.http_port = new;
    eventually(20, "they are at the new address", || world.router.http("/metrics").0 == 200);
    world.router.http_port = old;
    eventually(20, "and at the old one no more", || world.router.http("/metrics").0 == 0);
    traffic.goes_on();
    world.router.http_port = new;
    // An address that somebody else has: all stays as it is.
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let bad = moved.replacen(&format!("127.0.0.1:{new}"), &format!("127.0.0.1:{port}"), 1);
    assert_eq!(world.router.reload(&bad), "rejected");
    assert_eq!(world.router.http("/readyz").0, 200);
    traffic.goes_on();
    traffic.end();
}

/// A configuration whose map pins so many keys that nobody has, from 1,000,000 on.
fn large(text: &str, pins: u32) -> String {
    let pin = |n: u32| format!("{{ value = \"{}\", shard = \"s{}\" }}", 1_000_000 + n, n as usize % SHARDS);
    let pins: Vec<String> = (0..pins).map(pin).collect();
    text.replace("key_types = [\"int4\"]", &format!("key_types = [\"int4\"]\npins = [{}]", pins.join(",\n")))
}

#[test]
fn a_large_map_is_put_in_force_beside_those_who_are_served() {
    let world = Sharded::create("largemap", "");
    let text = with_moves(&world.router.config_text());
    let first = large(&text, 30_000);
    assert_eq!(world.router.reload(&first), "applied");
    let in_force = || world.router.log_text().matches("the new configuration is in force").count();
    let reload = |pins: u32| {
        let (known, before) = (in_force(), world.router.worked());
        world.router.replace_config(&large(&text, pins));
        world.router.signal("HUP");
        // Nothing is asked of the router meanwhile: what it does is for the map.
        eventually(120, "the map is in force", || in_force() > known);
        let after = world.router.worked();
        (after.0 - before.0, after.1 - before.1)
    };
    for pins in [30_001, 30_002] {
        let (served, beside) = reload(pins);
        assert!(served < beside / 5.0, "{served} s on the serving thread, {beside} s beside it");
    }
    let traffic = Traffic::start(&world);
    traffic.goes_on();
    reload(30_003);
    traffic.goes_on();
    traffic.end();
}

#[test]
fn a_large_map_is_shown_in_pieces_as_fast_as_they_are_taken() {
    const PINS: usize = 60_000;
    let world = Sharded::create("showmap", "admin_users = [\"postgres\"]\n");
    let text = large(&with_moves(&world.router.config_text()), PINS as u32);
    assert_eq!(world.router.reload(&text), "applied");
    let mut raw = world.connect();
    let mut console = world.router.connect("pgloom");
    raw.set_patience(Duration::from_secs(60));
    console.set_patience(Duration::from_secs(60));
    console.must("SHOW VERSION");
    world.router.forget_most_memory();
    let before = world.router.most_memory();
    // An operator who takes nothing for a while, and others who are served.
    console.send(&message::query("SHOW MAP")).unwrap();
    for _ in 0..20 {
        raw.must("SELECT count(*) FROM places");
        std::thread::sleep(Duration::from_millis(50));
    }
    let rows = console.read_to_ready().unwrap();
    let is_pin = |row: &&support::raw::Message| row.cells()[2].as_deref() == Some(b"pin");
    let entries = rows.iter().filter(|message| message.tag == b'D').collect::<Vec<_>>();
    assert_eq!(entries.iter().copied().filter(is_pin).count(), PINS);
    let bytes: usize = rows.iter().map(|message| message.body.len()).sum();
    let more = world.router.most_memory() - before;
    assert!(more < 4 << 20, "{more} bytes more for an answer of {bytes}");
    // In pieces that the operator asks for.
    let ask = [message::parse("", "SHOW MAP", &[]), message::bind("p", "", &[], &[])].concat();
    let pieces = message::execute("p", 25_000).repeat(3);
    console.send(&[ask, pieces, message::sync()].concat()).unwrap();
    let messages = console.read_to_ready().unwrap();
    let count = |tag: u8| messages.iter().filter(|message| message.tag == tag).count();
    assert_eq!((count(b'D'), count(b's'), count(b'C')), (entries.len(), 2, 1));
}

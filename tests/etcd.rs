//! Routers that share a map through a real etcd of three members, which is killed, frozen, cut off, slow, compacted and emptied while
//! clients run: no statement ever fails, and the map is followed again as soon as that can be.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use support::etcd::{Tls, endpoints};
use support::pipe::Pipe;
use support::sharded::config;
use support::{Database, EtcdCluster, Raw, Router, SHARDS, eventually};

const QUICK: &str =
    "request_timeout = \"500ms\"\ncheck_interval = \"500ms\"\nrouter_ttl = \"5s\"\nstart_timeout = \"1s\"\n";

/// A database whose map is in an etcd of its own.
struct World {
    etcd: EtcdCluster,
    db: Database,
    dir: PathBuf,
    /// Further lines of [topology].
    more: &'static str,
}

impl World {
    fn new(label: &str, etcd: EtcdCluster) -> Self {
        let db = Database::create(label);
        for shard in 0..SHARDS {
            db.shard(shard).must("CREATE TABLE items (id int PRIMARY KEY, n int NOT NULL)");
        }
        let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("etcd-{label}-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let whole = config(&db.name, &db.ports(), "", "").replace("{port}", "1").replace("{http_port}", "2");
        fs::write(dir.join("whole.toml"), whole).unwrap();
        Self { etcd, db, dir, more: "" }
    }

    /// With a map.
    fn create(label: &str) -> Self {
        Self::create_on(label, EtcdCluster::start(3))
    }

    fn create_on(label: &str, etcd: EtcdCluster) -> Self {
        let world = Self::new(label, etcd);
        world.says(0, &["topology", "init", "--from", "whole.toml"]);
        world
    }

    /// The file of a router; `topology`: its way to etcd, where it is not the plain one.
    fn file(&self, copy: &str, topology: &str) -> String {
        let own = format!("endpoints = {}\n", self.etcd.endpoints());
        let topology = if topology.is_empty() { own.as_str() } else { topology };
        format!(
            "[general]\nport = {{port}}\nmetrics_listen = \"127.0.0.1:{{http_port}}\"\nauth_type = \"trust\"\nadmin_users = [\"postgres\"]\n\
             [topology]\nsource = \"etcd\"\n{topology}{QUICK}{}copy_file = \"{}\"\n[[users]]\nname = \"postgres\"\n[databases.{}]\n",
            self.more,
            self.dir.join(copy).display(),
            self.db.name
        )
    }

    fn router(&self, copy: &str) -> Router {
        Router::start(&self.file(copy, ""))
    }

    fn run(&self, args: &[&str]) -> Output {
        fs::write(
            self.dir.join("pgloom.toml"),
            self.file("none", "").replace("{port}", "1").replace("{http_port}", "2"),
        )
        .unwrap();
        let mut pgloom = Command::new(env!("CARGO_BIN_EXE_pgloom"));
        pgloom.args(args).current_dir(&self.dir).stdin(Stdio::null()).output().unwrap()
    }

    #[track_caller]
    fn says(&self, code: i32, args: &[&str]) -> String {
        let output = self.run(args);
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "{args:?}: {text}");
        text
    }

    /// One key more is pinned, of a row that nobody has: a new epoch, which shows in the routes.
    #[track_caller]
    fn pin(&self, id: u32, shard: &str) {
        let text = self.says(0, &["topology", "get"]);
        let pin = format!("{{\"value\": {id}, \"shard\": \"{shard}\"}}");
        let known = text.replacen("\"pins\": [", &format!("\"pins\": [{pin}, "), 1);
        let first = text.replacen("\"name\": \"key\"", &format!("\"name\": \"key\", \"pins\": [{pin}]"), 1);
        let text = if text.contains("\"pins\"") { known } else { first };
        fs::write(self.dir.join("next.json"), text).unwrap();
        self.says(0, &["topology", "apply", "next.json", "--allow-moves"]);
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// What `SHOW pgloom.map` says.
#[derive(Debug)]
struct Shown {
    source: String,
    place: String,
    epoch: u64,
    stale: f64,
    rejected: u64,
    problem: String,
}

fn shown(raw: &mut Raw) -> Shown {
    let rows = raw.must("SHOW pgloom.map").answers[0].rows.clone();
    let text =
        |at: usize| rows[0][at].as_ref().map(|value| String::from_utf8_lossy(value).into_owned()).unwrap_or_default();
    Shown {
        source: text(0),
        place: text(1),
        epoch: text(2).parse().unwrap(),
        stale: text(7).parse().unwrap(),
        rejected: text(8).parse().unwrap(),
        problem: text(9),
    }
}

#[track_caller]
fn follows(raw: &mut Raw, epoch: u64) {
    let start = Instant::now();
    loop {
        let now = shown(raw);
        if now.epoch == epoch && now.problem.is_empty() {
            return;
        }
        assert!(start.elapsed() < Duration::from_secs(30), "epoch {epoch} is not served: {now:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn route(raw: &mut Raw, id: u32) -> String {
    raw.must(&format!("EXPLAIN (ROUTE) SELECT * FROM items WHERE id = {id}")).text()
}

/// Clients that read and write for as long as the value lives; whoever meets an error tells of it at its end.
struct Traffic {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    clients: Vec<std::thread::JoinHandle<Option<String>>>,
}

impl Traffic {
    fn start(router: &Router, world: &World) -> Self {
        let (stop, done) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let mut raw = router.connect(&world.db.name);
        let rows: Vec<String> = (1..=60).map(|id| format!("({id}, 0)")).collect();
        raw.must(&format!("INSERT INTO items VALUES {} ON CONFLICT DO NOTHING", rows.join(", ")));
        let clients = (0..3).map(|client| {
            let (mut raw, stop, done) = (router.connect(&world.db.name), Arc::clone(&stop), Arc::clone(&done));
            std::thread::spawn(move || {
                let mut id = client + 1;
                while !stop.load(Ordering::Relaxed) {
                    // Each client has rows of its own.
                    id = (id + 3 - 1) % 60 + 1;
                    let beside = (id + 30 - 1) % 60 + 1;
                    for sql in [
                        format!("UPDATE items SET n = n + 1 WHERE id = {id}"),
                        format!("BEGIN; SELECT n FROM items WHERE id = {id}; UPDATE items SET n = n + 1 WHERE id IN ({id}, {beside}); COMMIT"),
                        "SELECT count(*) FROM items".to_owned(),
                    ] {
                        let reply = raw.simple(&sql);
                        if let Some(error) = &reply.error {
                            return Some(format!("{sql}: {error:?}"));
                        }
                    }
                    done.fetch_add(1, Ordering::Relaxed);
                }
                None
            })
        });
        Self { clients: clients.collect(), stop, done }
    }

    /// Everybody has gone on since now, without waiting for anything that hangs.
    #[track_caller]
    fn goes_on(&self) {
        let before = self.done.load(Ordering::Relaxed);
        eventually(30, "clients go on", || {
            self.clients.iter().any(std::thread::JoinHandle::is_finished)
                || self.done.load(Ordering::Relaxed) > before + 15
        });
    }

    #[track_caller]
    fn end(self) {
        self.goes_on();
        self.stop.store(true, Ordering::Relaxed);
        let errors: Vec<String> = self.clients.into_iter().filter_map(|client| client.join().unwrap()).collect();
        assert!(errors.is_empty(), "{errors:?}");
    }
}

/// The number of the member that a router follows.
fn followed(world: &World, now: &Shown) -> usize {
    (0..3).find(|member| now.place.ends_with(&format!(":{}", world.etcd.port(*member)))).unwrap()
}

#[test]
fn a_change_reaches_all_routers_and_no_statement_fails() {
    let world = World::create("change");
    let (router, mut other) = (world.router("a.json"), world.router("b.json"));
    let (mut raw, mut beside) = (router.connect(&world.db.name), other.connect(&world.db.name));
    assert_eq!((shown(&mut raw).source.as_str(), shown(&mut raw).epoch), ("etcd", 1));
    let traffic = Traffic::start(&router, &world);
    for round in 0..4 {
        let (id, shard) = (1000 + round, format!("s{}", round as usize % SHARDS));
        world.pin(id, &shard);
        follows(&mut raw, u64::from(round) + 2);
        follows(&mut beside, u64::from(round) + 2);
        assert!(route(&mut raw, id).contains(&shard) && route(&mut beside, id).contains(&shard));
        traffic.goes_on();
    }
    // An epoch that changes nothing for this database is one all the same.
    let (code, metrics) = router.http("/metrics");
    assert_eq!(code, 200);
    assert!(metrics.contains("pgloom_topology_epoch 5\n") && metrics.contains("pgloom_topology_rejected_total 0\n"));
    eventually(10, "both are in the list, with the epoch", || {
        let listed = world.run(&["routers", "--json"]);
        let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
        listed.matches("\"epoch\": 5").count() == 2 && listed.contains(&format!("\"pid\": {}", other.pid()))
    });
    assert!(world.says(0, &["routers"]).lines().count() == 3);
    // Who was taken out of the list comes back.
    let options = etcd_client::DeleteOptions::new().with_prefix();
    world
        .etcd
        .tried_as(None, async |mut client| client.delete("/pgloom/routers/", Some(options)).await.map(drop))
        .unwrap();
    eventually(20, "both are in the list again", || {
        world.says(0, &["routers", "--json"]).matches("\"epoch\": 5").count() == 2
    });
    // Who stops says so.
    other.signal("TERM");
    assert!(other.wait(Duration::from_secs(20)).is_some_and(|status| status.success()));
    assert_eq!(world.says(0, &["routers", "--json"]).matches("\"id\"").count(), 1);
    // Who is killed does not, and goes with its lease.
    let killed = world.router("c.json");
    eventually(10, "it is in the list", || world.says(0, &["routers", "--json"]).matches("\"id\"").count() == 2);
    killed.signal("KILL");
    eventually(30, "it is in the list no more", || {
        world.says(0, &["routers", "--json"]).matches("\"id\"").count() == 1
    });
    // The console tells the same beside each entry.
    let mut console = router.connect("pgloom");
    let told = console.named("SHOW MAP");
    assert!(told.iter().any(|row| row["distribution"] == "key" && row["kind"] == "pin"), "{told:?}");
    for row in &told {
        assert_eq!((&*row["source"], &*row["epoch"], &*row["rejected"]), ("etcd", "5", "0"), "{row:?}");
        assert!(row["stale_seconds"].parse::<f64>().unwrap() < 30.0, "{row:?}");
    }
    let behind =
        |columns: Vec<support::raw::Column>| columns.into_iter().map(|c| (c.name, c.type_oid)).collect::<Vec<_>>();
    let own = behind(raw.must("SHOW pgloom.map").answers[0].columns.clone().unwrap());
    assert!(behind(console.must("SHOW MAP").answers[0].columns.clone().unwrap()).ends_with(&own), "{own:?}");
    // The file is read again with the map of now.
    router.signal("HUP");
    eventually(10, "the file is read again", || router.log_text().contains("the configuration is unchanged"));
    assert_eq!(shown(&mut raw).epoch, 5);
    traffic.end();
}

#[test]
fn traffic_goes_on_while_members_are_killed_and_frozen() {
    let mut world = World::create("members");
    let router = world.router("a.json");
    let mut raw = router.connect(&world.db.name);
    let traffic = Traffic::start(&router, &world);
    // The one that is followed dies, then the next one that is followed hangs.
    let dead = followed(&world, &shown(&mut raw));
    world.etcd.kill(dead);
    world.etcd.wait_for_leader();
    world.pin(1001, "s1");
    follows(&mut raw, 2);
    world.etcd.start_member(dead);
    std::thread::sleep(Duration::from_secs(1));
    let frozen = followed(&world, &shown(&mut raw));
    world.etcd.freeze(frozen);
    traffic.goes_on();
    eventually(20, "the others have a leader", || world.run(&["topology", "get"]).status.success());
    world.pin(1002, "s2");
    follows(&mut raw, 3);
    world.etcd.thaw(frozen);
    // None of them moves, and their connections stay open. What was lost for a moment before may have been told too.
    let told = |what: &str| router.log_text().matches(what).count();
    let (lost, back) = ("etcd is lost: the map that is known is served on", "etcd is back: following the map");
    let (lost_before, back_before) = (told(lost), told(back));
    (0..3).for_each(|member| world.etcd.freeze(member));
    eventually(60, "that is told", || told(lost) > lost_before);
    eventually(10, "SHOW tells it too", || !shown(&mut raw).problem.is_empty());
    traffic.goes_on();
    assert_eq!(shown(&mut raw).epoch, 3);
    (0..3).for_each(|member| world.etcd.thaw(member));
    eventually(30, "they have a leader again", || world.run(&["topology", "get"]).status.success());
    follows(&mut raw, 3);
    eventually(30, "that is told too", || told(back) > back_before);
    // None is left: what is known is served, and is getting old.
    world.etcd.kill_all();
    eventually(20, "the loss is told", || !shown(&mut raw).problem.is_empty());
    std::thread::sleep(Duration::from_secs(2));
    traffic.goes_on();
    let now = shown(&mut raw);
    assert!(now.epoch == 3 && now.stale > 1.5, "{now:?}");
    assert!(router.http("/metrics").1.contains("pgloom_topology_troubled 1\n"));
    assert!(route(&mut raw, 1002).contains("s2"));
    world.etcd.start_all();
    world.pin(1003, "s3");
    follows(&mut raw, 4);
    assert!(shown(&mut raw).stale < 1.5);
    eventually(10, "it is in the list again", || {
        world.run(&["routers", "--json"]).stdout.windows(4).any(|w| w == b"\"id\"")
    });
    traffic.end();
}

#[test]
fn a_member_that_is_parted_from_the_others_is_left_for_those_who_are_more() {
    let world = World::create_on("parted", EtcdCluster::start_parted(3));
    let router = world.router("a.json");
    let mut raw = router.connect(&world.db.name);
    let traffic = Traffic::start(&router, &world);
    for (round, id) in [1001, 1002].into_iter().enumerate() {
        let parted = followed(&world, &shown(&mut raw));
        world.etcd.part(parted);
        // Its connection to the router is whole, it answers, and will hear of no change.
        eventually(30, "it has no leader", || !world.etcd.leads(parted));
        eventually(30, "the others have one", || (0..3).filter(|member| world.etcd.leads(*member)).count() == 2);
        world.pin(id, "s1");
        let epoch = round as u64 + 2;
        follows(&mut raw, epoch);
        assert_ne!(followed(&world, &shown(&mut raw)), parted);
        assert!(route(&mut raw, id).contains("s1"));
        traffic.goes_on();
        world.etcd.join();
        eventually(30, "it is one of them again", || world.etcd.leads(parted));
        assert_eq!(shown(&mut raw).epoch, epoch);
    }
    traffic.end();
}

#[test]
fn a_router_that_is_cut_off_serves_what_it_knows_and_catches_up_behind_a_compaction() {
    let world = World::create("cut");
    let pipes: Vec<Pipe> = (0..3).map(|member| Pipe::start(world.etcd.port(member))).collect();
    let ports: Vec<u16> = pipes.iter().map(|pipe| pipe.port).collect();
    let router = Router::start(&world.file("a.json", &format!("endpoints = {}\n", endpoints("http", &ports))));
    let mut raw = router.connect(&world.db.name);
    let traffic = Traffic::start(&router, &world);
    pipes.iter().for_each(Pipe::cut);
    eventually(20, "the loss is told", || !shown(&mut raw).problem.is_empty());
    for id in 1001..1004 {
        world.pin(id, "s1");
    }
    traffic.goes_on();
    assert_eq!(shown(&mut raw).epoch, 1);
    // What was between is gone when it comes back.
    world.etcd.ask(async |mut client| {
        let now = client.get("any", None).await?.header().unwrap().revision();
        client.compact(now, None).await.map(drop)
    });
    pipes.iter().for_each(Pipe::mend);
    follows(&mut raw, 4);
    assert!(route(&mut raw, 1003).contains("s1"));
    // Slow, but not too slow.
    pipes.iter().for_each(|pipe| pipe.slow(100));
    world.pin(1004, "s2");
    follows(&mut raw, 5);
    // Too slow for every request.
    pipes.iter().for_each(|pipe| pipe.slow(2000));
    world.pin(1005, "s3");
    eventually(20, "that is told", || !shown(&mut raw).problem.is_empty());
    traffic.goes_on();
    assert_eq!(shown(&mut raw).epoch, 5);
    pipes.iter().for_each(Pipe::mend);
    follows(&mut raw, 6);
    traffic.end();
}

#[test]
fn a_map_that_is_wrong_or_gone_is_reported_and_the_old_one_stays() {
    let mut world = World::create("wrong");
    let router = world.router("a.json");
    let mut raw = router.connect(&world.db.name);
    let traffic = Traffic::start(&router, &world);
    world.pin(1001, "s1");
    follows(&mut raw, 2);
    let good = world.says(0, &["topology", "get"]);
    let put = |text: &str| world.etcd.ask(async |mut client| client.put("/pgloom/map", text, None).await.map(drop));
    for (wrong, why) in [
        ("not JSON".to_owned(), "not JSON"),
        (
            good.replacen("\"epoch\": 2", "\"epoch\": 3", 1).replacen("\"format\": 1", "\"format\": 2", 1),
            "reads format 1",
        ),
        (good.replacen("\"epoch\": 2", "\"epoch\": 3", 1).replacen("\"host\"", "\"hosts\"", 1), "unknown key `hosts`"),
        (good.replacen("\"epoch\": 2", "\"epoch\": 1", 1), "a rollback makes a new epoch"),
        (good.replacen("\"s1\"", "\"s2\"", 1), "unknown"),
        (good.replacen("\"shard\": \"s1\"", "\"shard\": \"s2\"", 1), "is another one"),
        (good.replacen("\"epoch\": 2", "\"epoch\": 3", 1).replacen(&world.db.name, "other", 1), "places no database"),
    ] {
        assert_ne!(wrong, good);
        let before = shown(&mut raw).rejected;
        put(&wrong);
        eventually(20, why, || shown(&mut raw).rejected == before + 1);
        let now = shown(&mut raw);
        assert!(now.epoch == 2 && (now.problem.contains(why) || why == "unknown"), "{now:?}");
        assert!(route(&mut raw, 1001).contains("s1"));
        traffic.goes_on();
    }
    assert!(router.log_text().contains("the map in etcd is not served"));
    // What is no text, or says where a text lies and does not.
    let nowhere = br#"{"in_parts": {"parts_at": "parts/9/", "parts": 1, "bytes": 7, "sha256": ""}}"#;
    for (value, why) in [
        (&b"\xff\xfe{}"[..], "it is not UTF-8"),
        (&b"{\"in_parts\": 7}"[..], "where its parts are cannot be read"),
        (&nowhere[..], "its part 1 of 1 is not there"),
    ] {
        let before = shown(&mut raw).rejected;
        world.etcd.ask(async |mut client| client.put("/pgloom/map", value, None).await.map(drop));
        eventually(20, why, || shown(&mut raw).rejected == before + 1);
        let now = shown(&mut raw);
        assert!(now.epoch == 2 && now.problem.contains(why), "{now:?}");
        assert!(router.log_text().contains(why));
        traffic.goes_on();
    }
    // Told once, and not again with every look.
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(shown(&mut raw).rejected, 10);
    assert!(router.http("/metrics").1.contains("pgloom_topology_rejected_total 10\n"));
    put(&good);
    follows(&mut raw, 2);
    // Deleted.
    world.etcd.ask(async |mut client| client.delete("/pgloom/map", None).await.map(drop));
    eventually(20, "that is told", || shown(&mut raw).problem.contains("the map is gone"));
    traffic.goes_on();
    put(&good);
    follows(&mut raw, 2);
    // All of it is gone, revisions too.
    world.etcd.empty();
    eventually(20, "that is told", || shown(&mut raw).problem.contains("the map is gone"));
    traffic.goes_on();
    assert!(route(&mut raw, 1001).contains("s1"));
    // From the copy that the router keeps; its epoch is later than what it serves.
    eventually(10, "the router is in the list", || {
        world.run(&["routers", "--json"]).stdout.windows(4).any(|w| w == b"\"id\"")
    });
    let made = world.says(0, &["topology", "init", "--from", "a.json"]);
    assert_eq!(made, "epoch 3 is in force\n");
    assert!(world.says(1, &["topology", "init", "--from", "a.json"]).contains("there is a map already"));
    let kept = world.says(0, &["topology", "init", "--from", "whole.toml", "--unless-there"]);
    assert_eq!(kept, "there is a map already; it stays as it is\n");
    follows(&mut raw, 3);
    world.pin(1002, "s2");
    follows(&mut raw, 4);
    traffic.end();
}

#[test]
fn a_start_without_etcd_uses_the_copy_or_waits() {
    let mut world = World::create("start");
    world.pin(1001, "s1");
    let first = world.router("a.json");
    // It is written beside the clients.
    eventually(20, "the copy", || world.dir.join("a.json").exists());
    drop(first);
    world.etcd.kill_all();
    let router = world.router("a.json");
    let mut raw = router.connect(&world.db.name);
    let now = shown(&mut raw);
    assert!(now.source == "copy" && now.epoch == 2 && now.stale > 0.1, "{now:?}");
    assert!(router.log_text().contains("etcd gives no map: serving the copy on disk"));
    assert!(route(&mut raw, 1001).contains("s1"));
    let traffic = Traffic::start(&router, &world);
    world.etcd.start_all();
    follows(&mut raw, 2);
    assert_eq!(shown(&mut raw).source, "etcd");
    assert!(shown(&mut raw).stale < 1.5);
    world.pin(1002, "s2");
    follows(&mut raw, 3);
    traffic.end();
    // Without a copy it waits for a map, and begins with it.
    world.etcd.ask(async |mut client| client.delete("/pgloom/map", None).await.map(drop));
    // It reads its file again meanwhile: what keeps it from the map may be there.
    let nobody = endpoints("http", &[1]);
    let mut late = Router::launch(&world.file("late.json", &format!("endpoints = {nobody}\n")));
    eventually(20, "it looks for a map", || late.log_text().contains("no map from etcd"));
    late.replace_config("no configuration");
    late.signal("HUP");
    eventually(20, "it has not understood", || late.log_text().contains("reading the configuration again, before"));
    // One that was cut off is none.
    let copy = fs::read_to_string(world.dir.join("a.json")).unwrap();
    fs::write(world.dir.join("half.json"), &copy[..copy.len() / 2]).unwrap();
    std::thread::scope(|scope| {
        let world = &world;
        let starting = ["fresh.json", "half.json"].map(|copy| scope.spawn(|| world.router(copy)));
        std::thread::sleep(Duration::from_secs(3));
        assert!(starting.iter().all(|starting| !starting.is_finished()));
        world.says(0, &["topology", "init", "--from", "whole.toml"]);
        let [_fresh, half] = starting.map(|starting| {
            let router = starting.join().unwrap();
            assert_eq!(shown(&mut router.connect(&world.db.name)).epoch, 4);
            router
        });
        assert!(half.log_text().contains("the copy of the map cannot be read"));
        let text = world.file("late.json", "").replace("{port}", &late.port.to_string());
        late.replace_config(&text.replace("{http_port}", &late.http_port.to_string()));
        late.signal("HUP");
        late.wait_until_ready();
        follows(&mut late.connect(&world.db.name), 4);
        eventually(20, "the copy", || fs::read_to_string(world.dir.join("half.json")).unwrap().len() > copy.len() / 2);
        let whole = fs::read_to_string(world.dir.join("half.json")).unwrap();
        assert!(pgloom::control::map::copy::map_of(&whole).unwrap().contains("\"epoch\": 4"), "{whole}");
    });
}

/// From now on, of `pgloom`, who may do what a router does, and of `root`.
fn ask_for_passwords(etcd: &EtcdCluster) {
    use etcd_client::Permission;
    etcd.ask(async |mut client| {
        client.role_add("router").await?;
        client.role_grant_permission("router", Permission::read("/pgloom/").with_prefix()).await?;
        for key in ["/pgloom/routers/", "/pgloom/timelines/"] {
            client.role_grant_permission("router", Permission::read_write(key).with_prefix()).await?;
        }
        client.role_grant_permission("router", Permission::read_write("/pgloom/mock_key")).await?;
        client.user_add("pgloom", "secret", None).await?;
        client.user_grant_role("pgloom", "router").await?;
        client.user_add("root", "toor", None).await?;
        client.user_grant_role("root", "root").await?;
        client.auth_enable().await.map(drop)
    });
}

/// As root: the map of this copy with another epoch, which is all that is another.
fn put_as_root(world: &World, copy: &str, from: u64, to: u64) {
    let kept = fs::read_to_string(world.dir.join(copy)).unwrap();
    let map = pgloom::control::map::copy::map_of(&kept).unwrap();
    let next = map.replacen(&format!("\"epoch\": {from}"), &format!("\"epoch\": {to}"), 1);
    assert_ne!(next, map);
    let put = async |mut client: etcd_client::Client| client.put("/pgloom/map", next.as_str(), None).await.map(drop);
    world.etcd.tried_as(Some(("root", "toor")), put).unwrap();
}

/// The routers in the list, as root sees them.
fn listed_as_root(world: &World) -> Vec<String> {
    let listed = world.etcd.tried_as(Some(("root", "toor")), async |mut client| {
        client.get("/pgloom/routers/", Some(etcd_client::GetOptions::new().with_prefix())).await
    });
    listed.unwrap().kvs().iter().map(|router| router.value_str().unwrap().to_owned()).collect()
}

#[test]
fn tokens_end_and_passwords_endpoints_and_files_change_while_statements_run() {
    // Whoever says nothing for a second has to log in again.
    let world = World::create_on("ways", EtcdCluster::start_more(3, None, &["--auth-token-ttl", "1"]));
    ask_for_passwords(&world.etcd);
    let way = format!("endpoints = {}\nuser = \"pgloom\"\npassword = \"secret\"\n", world.etcd.endpoints());
    let file = world.file("a.json", &way);
    let file =
        file.replace("check_interval = \"500ms\"", "check_interval = \"2s\"").replace("ttl = \"5s\"", "ttl = \"6s\"");
    let router = Router::start(&file.replace("request_timeout = \"500ms\"", "request_timeout = \"3s\""));
    let mut raw = router.connect(&world.db.name);
    follows(&mut raw, 1);
    let traffic = Traffic::start(&router, &world);
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(7) {
        let now = shown(&mut raw);
        assert!(now.problem.is_empty(), "{now:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(listed_as_root(&world).len(), 1);
    put_as_root(&world, "a.json", 1, 2);
    follows(&mut raw, 2);

    // Another password: the loss is told once, and the file has the way out.
    let root = Some(("root", "toor"));
    world.etcd.tried_as(root, async |mut client| client.user_change_password("pgloom", "other").await).unwrap();
    let lost = || router.log_text().matches("etcd is lost: the map that is known is served on").count();
    eventually(60, "the loss is told", || lost() == 1);
    eventually(60, "that is told too", || {
        router.log_text().contains("this router is not in the list of routers in etcd")
    });
    put_as_root(&world, "a.json", 2, 3);
    traffic.goes_on();
    assert_eq!(shown(&mut raw).epoch, 2);
    let secret = router.config_text();
    let other = secret.replace("password = \"secret\"", "password = \"other\"");
    assert_eq!(router.reload(&other), "applied");
    follows(&mut raw, 3);
    eventually(30, "the router is in the list again", || {
        listed_as_root(&world).iter().any(|router| router.contains("\"epoch\":3"))
    });
    eventually(30, "that is told", || router.log_text().contains("etcd is back: following the map"));
    let log = router.log_text();
    assert!(log.contains("changed=\"topology\""));
    assert!(
        log.contains("this router is in the list of routers again") && !log.contains("take effect at the next start")
    );
    assert_eq!(lost(), 1);

    // Other endpoints, another copy, other times.
    let pipe = Pipe::start(world.etcd.port(0));
    let endpoints = endpoints("http", &[pipe.port]);
    let elsewhere = other.replace(&world.etcd.endpoints(), &endpoints).replace("a.json", "b.json");
    let elsewhere = elsewhere.replace("check_interval = \"2s\"", "check_interval = \"300ms\"");
    assert_eq!(router.reload(&elsewhere), "applied");
    eventually(30, "the new endpoint", || shown(&mut raw).place.ends_with(&format!(":{}", pipe.port)));
    eventually(30, "the new copy", || world.dir.join("b.json").exists());
    assert!(fs::read_to_string(world.dir.join("b.json")).unwrap().contains("\"epoch\": 3"));
    put_as_root(&world, "b.json", 3, 4);
    follows(&mut raw, 4);
    // So does the list of routers.
    pipe.cut();
    eventually(60, "nobody is in the list", || listed_as_root(&world).is_empty());
    pipe.mend();
    eventually(60, "one is", || listed_as_root(&world).len() == 1);

    // Another prefix is another map: not for this process, which has the rest of what is new.
    let prefix = elsewhere.replace("source = \"etcd\"\n", "source = \"etcd\"\nprefix = \"/other\"\n");
    assert_eq!(router.reload(&prefix.replace("b.json", "c.json")), "applied");
    assert!(router.log_text().contains("take effect at the next start settings=\"prefix of [topology]\""));
    eventually(30, "the new copy", || world.dir.join("c.json").exists());
    put_as_root(&world, "c.json", 4, 5);
    follows(&mut raw, 5);
    assert_eq!(router.reload(&fs::read_to_string(world.dir.join("whole.toml")).unwrap()), "rejected");
    assert!(router.log_text().contains("source in [topology] cannot change while the router runs"));
    assert_eq!(router.reload(&elsewhere), "applied");
    follows(&mut raw, 5);
    traffic.end();
}

#[test]
fn etcd_asks_for_a_password_and_gives_each_user_its_keys() {
    let world = World::create("auth");
    ask_for_passwords(&world.etcd);
    let nobody = world.says(2, &["topology", "get"]);
    assert!(nobody.contains("user name is empty"), "{nobody}");
    let own = format!("endpoints = {}\nuser = \"pgloom\"\n", world.etcd.endpoints());
    let router = Router::start(&world.file("a.json", &format!("{own}password = \"secret\"\n")));
    let mut raw = router.connect(&world.db.name);
    follows(&mut raw, 1);
    put_as_root(&world, "a.json", 1, 2);
    follows(&mut raw, 2);
    eventually(10, "the router is in the list", || listed_as_root(&world).len() == 1);
    // The first one makes the secret of which strangers' salts are, and the others have the same.
    let secret = || {
        let kept = async |mut client: etcd_client::Client| client.get("/pgloom/mock_key", None).await;
        let kept = world.etcd.tried_as(Some(("root", "toor")), kept).unwrap();
        kept.kvs().first().map(|kept| (kept.value().to_vec(), kept.version()))
    };
    let made = secret().expect("there is none");
    assert_eq!((made.0.len(), made.1), (64, 1));
    drop(Router::start(&world.file("c.json", &format!("{own}password = \"secret\"\n"))));
    assert_eq!(secret(), Some(made));
    // One that could be guessed is none.
    let guessed = async |mut client: etcd_client::Client| client.put("/pgloom/mock_key", "short", None).await.map(drop);
    world.etcd.tried_as(Some(("root", "toor")), guessed).unwrap();
    let careless = Router::start(&world.file("d.json", &format!("{own}password = \"secret\"\n")));
    eventually(10, "it is told", || careless.log_text().contains("mock_key has fewer than 16 bytes"));
    drop(careless);
    // It may not change the map, and with another password nothing at all.
    let file = |password: &str| {
        let text = world.file("b.json", &format!("{own}password = \"{password}\"\n"));
        fs::write(world.dir.join("own.toml"), text.replace("{port}", "1").replace("{http_port}", "2")).unwrap();
    };
    file("secret");
    let text = world.says(0, &["topology", "get", "--config", "own.toml"]);
    fs::write(world.dir.join("next.json"), text.replacen("\"s3\"", "\"s4\"", 1)).unwrap();
    let denied = world.says(2, &["topology", "apply", "next.json", "--config", "own.toml", "--allow-moves"]);
    assert!(denied.contains("permission denied"), "{denied}");
    file("wrong");
    let wrong = world.says(2, &["topology", "get", "--config", "own.toml"]);
    assert!(wrong.contains("authentication failed"), "{wrong}");
}

/// Where routers of a test keep the users of etcd: beside their configuration.
const USERS: &str = "users-of-etcd-test";

/// What psql says to this user with this password.
fn as_user(router: &Router, database: &str, user: &str, password: &str) -> Result<String, String> {
    let port = router.port.to_string();
    let mut psql = Command::new("psql");
    psql.args([
        "-X",
        "-A",
        "-t",
        "-h",
        "127.0.0.1",
        "-p",
        &port,
        "-U",
        user,
        "-d",
        database,
        "-c",
        "SELECT current_user",
    ]);
    let output = psql.env("PGPASSWORD", password).env("PGCONNECT_TIMEOUT", "20").stdin(Stdio::null()).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

/// They come in with a SCRAM verifier that `pgloom users` makes, by the watch; what cannot be taken is told and leaves those of before.
#[test]
fn users_in_etcd_come_and_go_while_routers_run() {
    let mut world = World::create("users");
    world.more = "users_file = \"users-of-etcd-test\"\n";
    let kept = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(USERS);
    let _ = fs::remove_file(&kept);
    let file = |copy: &str| {
        let text = world.file(copy, "").replace("\"trust\"", "\"scram-sha-256\"\nauth_failure_limit = 100000");
        text.replace("[[users]]\nname = \"postgres\"", "[[users]]\nname = \"postgres\"\npassword = \"own\"")
    };
    let routers = [Router::start(&file("a.json")), Router::start(&file("b.json"))];
    let name = world.db.name.clone();
    let comes_in =
        |router: &Router, password: &str| as_user(router, &name, "app", password).is_ok_and(|user| user == "app");
    let refused = |router: &Router, password: &str| {
        as_user(router, &name, "app", password).is_err_and(|error| error.contains("password authentication failed"))
    };
    let put = |users: &str| {
        world.etcd.ask(async |mut client| client.put("/pgloom/users", users, None).await.map(drop));
    };
    let stored = || {
        let found = world.etcd.ask(async |mut client| client.get("/pgloom/users", None).await);
        found.kvs().first().map(|users| users.value_str().unwrap().to_owned()).unwrap_or_default()
    };
    let set = |password: &str| {
        fs::write(world.dir.join("password"), format!("{password}\n")).unwrap();
        world.says(0, &["users", "set", "app", "--password-file", "password"])
    };
    for router in &routers {
        assert!(refused(router, "first"));
        assert_eq!(as_user(router, &name, "postgres", "own"), Ok("postgres".to_owned()));
    }

    assert!(set("first").contains("user app is added"));
    assert!(stored().starts_with("\"app\" \"SCRAM-SHA-256$4096:") && !stored().contains("first"), "{}", stored());
    for router in &routers {
        eventually(20, "the user comes in", || comes_in(router, "first"));
        assert!(refused(router, "second"));
        assert_eq!(as_user(router, &name, "postgres", "own"), Ok("postgres".to_owned()));
    }
    assert!(set("second").contains("user app has another password"));
    for router in &routers {
        eventually(20, "the new password counts", || comes_in(router, "second"));
        assert!(refused(router, "first"));
    }
    assert_eq!(world.says(0, &["users", "list"]), "app\n");

    // What is wrong is told without its secrets, and the users of before stay; so do they where the configuration is read again.
    let good = stored();
    let bad = [
        (
            "\"app\" \"hunter2\"\n".to_owned(),
            "line 1: user `app` has no SCRAM verifier, and nothing else may stand there",
        ),
        (
            format!("{good}\"eve\" \"md5900150983cd24fb0d6963f7d28e17f72\"\n"),
            "line 2: user `eve` has no SCRAM verifier",
        ),
        (
            format!("{good}\"eve\" \"SCRAM-SHA-256$hunter2\"\n"),
            "line 2: the password of user `eve` begins as a SCRAM verifier and is none",
        ),
        (
            format!("{good}\"eve\" \"SCRAM-SHA-256$4096:c2FsdA==$x:y\"\n\n"),
            "line 2: the password of user `eve` begins as a SCRAM verifier and is none",
        ),
        (format!("{good}\"eve hunter2\n"), "line 2: expected \"user\" \"password\", each in quotes"),
        (format!("{good}{good}"), "line 2: user `app` is named twice"),
        (
            good.replace("\"app\"", "\"postgres\""),
            "user `postgres` has a password here and in line 1 of the users in etcd; keep one",
        ),
    ];
    for (text, told) in &bad {
        let before = routers[0].log_text().matches(told).count();
        let reloads = routers[0].reloads();
        put(text);
        eventually(20, told, || routers[0].log_text().matches(told).count() > before);
        assert_eq!(routers[0].next_reload(&reloads), "rejected");
        assert!(comes_in(&routers[0], "second"), "{told}");
    }
    assert!(!routers[0].log_text().contains("hunter2"));
    assert_eq!(routers[0].reload(&(routers[0].config_text() + "\n# another\n")), "unchanged");
    assert!(comes_in(&routers[0], "second"));

    // What was rejected because of a file comes in force when that is mended, without anybody's doing; meanwhile it is told once.
    let (own, listed) = (routers[0].config_text(), world.dir.join("listed"));
    fs::write(&listed, "\"bob\" \"b\"\n").unwrap();
    let beside = own.replace("[general]\n", &format!("[general]\nauth_file = \"{}\"\n", listed.display()));
    assert_eq!(routers[0].reload(&beside), "applied");
    let twice = "users in etcd, line 2: user `bob` is in auth_file, too; keep one";
    put(&format!("{good}{}", good.replace("\"app\"", "\"bob\"")));
    eventually(20, twice, || routers[0].log_text().contains(twice));
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(routers[0].log_text().matches(twice).count(), 1);
    // The shards have no such role.
    let bob = |password: &str| {
        as_user(&routers[0], &name, "bob", password)
            .is_err_and(|error| !error.contains("password authentication failed"))
    };
    assert!(bob("b"));
    fs::write(&listed, "").unwrap();
    eventually(20, "they are taken", || bob("second"));
    assert_eq!(routers[0].reload(&own), "unchanged");
    put(&good);

    // They are kept for a start without etcd, by their owner alone.
    use std::os::unix::fs::PermissionsExt;
    eventually(20, "they are kept", || fs::read_to_string(&kept).is_ok_and(|text| text.ends_with(&good)));
    assert_eq!(fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o600);
    world.etcd.ask(async |mut client| client.delete("/pgloom/users", None).await.map(drop));
    eventually(20, "it is told that they are gone", || {
        routers.iter().all(|router| router.log_text().contains("the users in etcd are gone"))
    });
    assert!(routers.iter().all(|router| comes_in(router, "second")));
    put(&good);

    assert!(world.says(1, &["users", "remove", "eve"]).contains("there is no user eve"));
    // What routers would not take is not written: it would keep every later change out, too.
    let refuses = |user: &str, args: &[&str], told: &str| {
        let text = file("none").replace("{port}", "1").replace("{http_port}", "2");
        fs::write(world.dir.join("other.toml"), text.replace("[[users]]", &format!("[[users]]\n{user}\n[[users]]")))
            .unwrap();
        let said = world.says(1, &[&["users"], args, &["--config", "other.toml"]].concat());
        assert!(
            said.contains("nothing is changed: routers with this configuration would not take these users"),
            "{said}"
        );
        assert!(said.contains(told) && stored() == good, "{said}");
    };
    let set_bob = ["set", "bob", "--password-file", "password"];
    refuses(
        "name = \"bob\"\npassword = \"x\"",
        &set_bob,
        "user `bob` has a password here and in line 2 of the users in etcd",
    );
    // Who has an entry in the file and a password there alone is out with that, and nobody else is.
    let entry = |text: &str| text.replacen("[[users]]", "[[users]]\nname = \"app\"\n[[users]]", 1);
    assert_eq!(routers[0].reload(&entry(&own)), "applied");
    fs::write(world.dir.join("entry.toml"), entry(&own)).unwrap();
    // Also from a session that is open.
    let port = routers[0].port.to_string();
    let mut open = Command::new("psql")
        .args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", &port, "-U", "app", "-d", &name])
        .env("PGPASSWORD", "second")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut says = open.stdin.take().unwrap();
    let mut hears = BufReader::new(open.stdout.take().unwrap());
    says.write_all(b"SELECT current_user;\n").unwrap();
    let mut user = String::new();
    hears.read_line(&mut user).unwrap();
    assert_eq!(user, "app\n");
    let removed = world.says(0, &["users", "remove", "app", "--config", "entry.toml"]);
    assert!(removed.contains("user app is removed"), "{removed}");
    assert!(removed.contains("user `app` has no password here, and is not among the users in etcd"), "{removed}");
    for router in &routers {
        eventually(20, "the user is out", || refused(router, "second"));
        assert_eq!(as_user(router, &name, "postgres", "own"), Ok("postgres".to_owned()));
    }
    says.write_all(b"SELECT current_user;\n").unwrap();
    drop(says);
    assert!(!open.wait().unwrap().success());
    put(&good);
    eventually(20, "it is in again", || routers.iter().all(|router| comes_in(router, "second")));
    // Who is taken out is out, also where the console's rights name it.
    let named = |text: &str| text.replace("admin_users = [", "admin_users = [\"app\", ");
    assert_eq!(routers[0].reload(&named(&own)), "applied");
    fs::write(world.dir.join("named.toml"), named(&own)).unwrap();
    let removed = world.says(0, &["users", "remove", "app", "--config", "named.toml"]);
    assert!(removed.contains("user app is removed"), "{removed}");
    assert!(
        removed.contains("admin_users names `app`, who is neither in [[users]] nor among the users in etcd"),
        "{removed}"
    );
    for router in &routers {
        eventually(20, "the user is out", || refused(router, "second"));
        assert_eq!(as_user(router, &name, "postgres", "own"), Ok("postgres".to_owned()));
    }
    set("third");
    eventually(20, "it is in again", || routers.iter().all(|router| comes_in(router, "third")));
    let third = stored();
    eventually(20, "they are kept", || fs::read_to_string(&kept).is_ok_and(|text| text.ends_with(&third)));
    drop(routers);

    // A start with users that cannot be used takes those that were kept; so does one without etcd.
    for (password, told) in [
        ("hunter2", "line 1: user `app` has no SCRAM verifier"),
        (
            "SCRAM-SHA-256$4096:c2FsdA==$x:y",
            "line 1: the password of user `app` begins as a SCRAM verifier and is none",
        ),
    ] {
        put(&format!("\"app\" \"{password}\"\n"));
        let started = Router::start(&file("a.json"));
        assert!(comes_in(&started, "third"));
        assert!(started.log_text().contains(told));
        assert!(started.log_text().contains("the users that were kept of etcd are in force"));
        drop(started);
        assert!(fs::read_to_string(&kept).unwrap().ends_with(&third));
    }
    let away = file("a.json");
    world.etcd.kill_all();
    let started = Router::start(&away);
    assert!(comes_in(&started, "third") && refused(&started, "second"));
    assert_eq!(as_user(&started, &name, "postgres", "own"), Ok("postgres".to_owned()));
    let _ = fs::remove_file(&kept);
}

#[test]
fn etcd_and_router_show_each_other_their_certificates() {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("etcd-tls-{}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    let authority = |name: &str| {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let certificate = params.self_signed(&key).unwrap();
        fs::write(dir.join(format!("{name}.ca")), certificate.pem()).unwrap();
        rcgen::Issuer::new(params, key)
    };
    let (ours, strange) = (authority("ours"), authority("strange"));
    let certify = |name: &str, issuer: &rcgen::Issuer<'_, rcgen::KeyPair>| {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec!["localhost".into(), "127.0.0.1".into()]).unwrap();
        params.extended_key_usages =
            vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth, rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        fs::write(dir.join(format!("{name}.crt")), params.signed_by(&key, issuer).unwrap().pem()).unwrap();
        fs::write(dir.join(format!("{name}.key")), key.serialize_pem()).unwrap();
    };
    certify("server", &ours);
    certify("router", &ours);
    certify("stranger", &strange);
    let path = |name: &str| dir.join(name).display().to_string();
    let tls = Tls { cert: dir.join("server.crt"), key: dir.join("server.key"), ca: dir.join("ours.ca"), mutual: true };
    let mut world = World::new("tls", EtcdCluster::start_with(1, Some(tls)));
    let (member, place) = (world.etcd.endpoints(), world.dir.clone());
    let way = |ca: &str, identity: &str| {
        let mut way = format!("endpoints = {member}\n");
        if !ca.is_empty() {
            way += &format!("tls_ca_file = \"{}\"\n", path(ca));
        }
        if !identity.is_empty() {
            let (cert, key) = (path(&format!("{identity}.crt")), path(&format!("{identity}.key")));
            way += &format!("tls_cert_file = \"{cert}\"\ntls_key_file = \"{key}\"\n");
        }
        let text = world.file("a.json", &way);
        fs::write(place.join("own.toml"), text.replace("{port}", "1").replace("{http_port}", "2")).unwrap();
        text
    };
    let good = way("ours.ca", "router");
    eventually(20, "etcd is up", || {
        world.run(&["topology", "init", "--from", "whole.toml", "--config", "own.toml"]).status.success()
    });
    let router = Router::start(&good);
    let mut raw = router.connect(&world.db.name);
    follows(&mut raw, 1);
    for (ca, identity) in [("", "router"), ("strange.ca", "router"), ("ours.ca", ""), ("ours.ca", "stranger")] {
        way(ca, identity);
        let failed = world.says(2, &["topology", "get", "--config", "own.toml"]);
        assert!(failed.contains("https://127.0.0.1:"), "{ca} {identity}: {failed}");
    }

    // Another certificate under the same name: RELOAD reads it.
    let followed = || router.log_text().matches("following the map").count();
    let before = followed();
    let text = router.config_text();
    assert_eq!(router.reload(&text), "unchanged");
    certify("router", &ours);
    assert_eq!(router.reload(&text), "applied");
    assert!(router.log_text().contains("TLS of etcd"));
    eventually(20, "it is used", || followed() > before);
    follows(&mut raw, 1);
    // One that cannot be used is not taken: the key is not its own.
    let key = fs::read(dir.join("router.key")).unwrap();
    fs::copy(dir.join("stranger.key"), dir.join("router.key")).unwrap();
    assert_eq!(router.reload(&text), "rejected");
    fs::write(dir.join("router.key"), key).unwrap();
    assert_eq!(router.reload(&text), "unchanged");
    // An authority that did not sign the server's: etcd is lost, and its map is served on.
    let strange = text.replace("ours.ca", "strange.ca");
    assert_eq!(router.reload(&strange), "applied");
    eventually(20, "the loss is told", || router.log_text().contains("etcd is lost"));
    assert_eq!(raw.value("SELECT count(*) FROM items"), "0");
    assert_eq!(router.reload(&text), "applied");
    follows(&mut raw, 1);
    eventually(20, "that is told", || router.log_text().contains("etcd is back"));
    // Everything is another, also the authority, and nobody says so: who connects anew reads it.
    world.etcd.kill(0);
    eventually(20, "the loss is told", || router.log_text().matches("etcd is lost").count() == 2);
    let next = authority("ours");
    certify("server", &next);
    certify("router", &next);
    world.etcd.start_member(0);
    eventually(60, "etcd is followed again", || router.log_text().matches("etcd is back").count() == 2);
    follows(&mut raw, 1);
    let _ = fs::remove_dir_all(&dir);
}

/// Prints how long a change takes to ten routers, from before it is made to the last of them that serves it. Run it alone on a quiet
/// machine: `cargo nextest run --test etcd propagation --no-capture`.
#[test]
fn propagation_to_ten_routers() {
    const ROUTERS: usize = 10;
    let world = World::create("ten");
    let routers: Vec<Router> = (0..ROUTERS).map(|n| world.router(&format!("{n}.json"))).collect();
    let text = world.says(0, &["topology", "get"]);
    let watchers: Vec<_> = routers.iter().map(|router| router.connect(&world.db.name)).collect();
    let mut times: Vec<Duration> = Vec::new();
    let mut watchers = watchers;
    for epoch in 2..12u64 {
        let next = text.replacen("\"epoch\": 1", &format!("\"epoch\": {epoch}"), 1);
        let start = Instant::now();
        world.etcd.ask(async |mut client| client.put("/pgloom/map", next, None).await.map(drop));
        std::thread::scope(|scope| {
            let all: Vec<_> = watchers
                .iter_mut()
                .map(|raw| {
                    scope.spawn(move || {
                        while shown(raw).epoch != epoch {
                            assert!(start.elapsed() < Duration::from_secs(30));
                            std::thread::sleep(Duration::from_millis(1));
                        }
                        start.elapsed()
                    })
                })
                .collect();
            times.extend(all.into_iter().map(|one| one.join().unwrap()));
        });
    }
    times.sort_unstable();
    println!(
        "a change reaches {ROUTERS} routers: half of them within {:?}, 99 % within {:?}, all within {:?}",
        times[times.len() / 2],
        times[times.len() * 99 / 100],
        times[times.len() - 1]
    );
}

#[test]
fn a_cancel_finds_its_router_by_the_list_of_routers() {
    let world = World::create("etcdcancel");
    let (own, other) = (world.router("a.json"), world.router("b.json"));
    let mut raw = own.connect(&world.db.name);
    let (pid, secret) = raw.key.clone();
    let listed = world.says(0, &["routers", "--json"]);
    assert!(listed.contains(&format!("\"number\": {}", pid >> 20)), "{listed}");
    assert!(listed.contains(&format!("\"reached_at\": \"127.0.0.1:{}\"", own.port)), "{listed}");
    let mut lock = world.db.shard(0);
    lock.must("BEGIN; LOCK TABLE items");
    raw.send(&support::raw::message::query("SELECT count(*) FROM items")).unwrap();
    let sql = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = '{}' AND wait_event_type = 'Lock'",
        world.db.name
    );
    eventually(20, "it runs", || world.db.shard(0).value(&sql) == "1");
    let reached = || other.http("/metrics").1.contains("pgloom_cancels_passed_on_total{result=\"router\"}");
    eventually(20, "the other router has read the list", || {
        support::raw::cancel(other.port, pid, &secret);
        reached()
    });
    let messages = raw.read_to_ready().unwrap();
    let error = messages.iter().find(|message| message.tag == b'E').expect("an error").report();
    assert_eq!(error.code(), "57014", "{error}");
}

/// A library that makes each fsync take so long, for `LD_PRELOAD`.
fn slow_disk(world: &World, seconds: u32) -> String {
    let (source, library) = (world.dir.join("slow.c"), world.dir.join("slow.so"));
    let text = format!("#include <unistd.h>\nint fsync(int fd) {{ (void)fd; sleep({seconds}); return 0; }}\n");
    fs::write(&source, text).unwrap();
    // The linker of Rust's own programs.
    let made = Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([&library, &source]).status().unwrap();
    assert!(made.success());
    library.display().to_string()
}

#[test]
fn a_disk_that_hangs_holds_no_client_up() {
    const HANGS: u32 = 20;
    let world = World::create_on("slowdisk", EtcdCluster::start(1));
    let library = slow_disk(&world, HANGS);
    let mut router = Router::start_with(&world.file("slow.json", ""), &[("LD_PRELOAD", &library)]);
    router.wait_until_ready();
    let mut raw = router.connect(&world.db.name);
    raw.set_patience(Duration::from_secs(60));
    raw.must("INSERT INTO items VALUES (1, 0)");
    let mut longest = Duration::ZERO;
    let start = Instant::now();
    for epoch in [2, 3] {
        world.pin(1000 + epoch, "s1");
        let served = format!("pgloom_topology_epoch {epoch}\n");
        while !router.http("/metrics").1.contains(&served) {
            assert!(start.elapsed() < Duration::from_secs(60), "epoch {epoch} is not served");
            let asked = Instant::now();
            raw.must("UPDATE items SET n = n + 1 WHERE id = 1");
            longest = longest.max(asked.elapsed());
        }
    }
    // And while it is being kept.
    for _ in 0..50 {
        let asked = Instant::now();
        raw.must("UPDATE items SET n = n + 1 WHERE id = 1");
        longest = longest.max(asked.elapsed());
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(longest < Duration::from_secs(u64::from(HANGS) / 2), "a statement has waited for {longest:?}");
    // What the disk does not finish is given up at the end.
    let asked = Instant::now();
    router.signal("INT");
    assert!(router.wait(Duration::from_secs(u64::from(HANGS))).is_some_and(|status| status.success()));
    assert!(asked.elapsed() < Duration::from_secs(u64::from(HANGS) - 5), "{:?}", asked.elapsed());
}

#[test]
fn a_copy_that_cannot_be_written_is_told_and_written_when_it_can() {
    let world = World::create_on("copyaway", EtcdCluster::start(1));
    let (place, away) = (world.dir.join("place"), world.dir.join("away"));
    fs::create_dir(&place).unwrap();
    let router = world.router("place/map.json");
    let mut raw = router.connect(&world.db.name);
    let kept = || fs::read_to_string(place.join("map.json")).unwrap_or_default();
    eventually(20, "the first copy", || !kept().is_empty());
    let first = kept();
    // The directory is gone, as where a volume is; the map is served all the same.
    fs::rename(&place, &away).unwrap();
    world.pin(1001, "s1");
    eventually(20, "it is served, and that it is not kept is told", || {
        let now = shown(&mut raw);
        now.epoch == 2 && now.problem.contains("place/map.json cannot be written")
    });
    assert!(route(&mut raw, 1001).contains("s1"));
    assert!(router.log_text().contains("the map cannot be kept on disk"));
    fs::rename(&away, &place).unwrap();
    follows(&mut raw, 2);
    let now = kept();
    assert!(now != first && pgloom::control::map::copy::map_of(&now).unwrap().contains("\"epoch\": 2"), "{now}");
}

/// Maps of 2 MB each, in an etcd that has room for 32 MB and is compacted as etcd's documentation says.
#[test]
fn large_maps_leave_room_for_others_and_an_etcd_that_is_full_is_told() {
    let mut world = World::create_on("room", EtcdCluster::start_more(1, None, &["--quota-backend-bytes", "33554432"]));
    world.more = "history_size = \"8MiB\"\n";
    world.pin(999, "s0");
    let text = world.says(0, &["topology", "get"]);
    let wide = text.replacen("\"pins\": [", &format!("\"pins\": [{}", " ".repeat(1_900_000)), 1);
    fs::write(world.dir.join("wide.json"), wide.replacen("\"value\": 999", "\"value\": 998", 1)).unwrap();
    world.says(0, &["topology", "apply", "wide.json", "--allow-moves"]);
    for id in 0..20 {
        world.pin(1000 + id, "s1");
        world.etcd.ask(async |mut client| {
            let now = client.get("/", None).await?.header().unwrap().revision();
            client.compact(now, Some(etcd_client::CompactionOptions::new().with_physical())).await
        });
    }
    let kept = world.says(0, &["topology", "history"]);
    assert!((4..=6).contains(&kept.lines().count()), "{kept}");
    world.says(0, &["topology", "rollback", "22", "--allow-moves"]);
    // Without compaction, and with more of them than there is room for.
    world.more = "";
    let mut id = 2000;
    let told = loop {
        assert!(id < 2030, "there is room for all");
        let text = world.says(0, &["topology", "get"]);
        let pin = format!("\"pins\": [{{\"value\": {id}, \"shard\": \"s1\"}}, ");
        fs::write(world.dir.join("next.json"), text.replacen("\"pins\": [", &pin, 1)).unwrap();
        let output = world.run(&["topology", "apply", "next.json", "--allow-moves"]);
        if !output.status.success() {
            break String::from_utf8_lossy(&output.stderr).into_owned();
        }
        id += 1;
    };
    assert!(told.contains("database space exceeded") && told.contains("docs/TOPOLOGY.md"), "{told}");
    // What is there is there, and nothing is left of the attempt.
    assert!(world.says(0, &["topology", "get"]).contains(&format!("\"value\": {}", id - 1)));
    let parts = world.etcd.ask(async |mut client| {
        let options = etcd_client::GetOptions::new().with_prefix().with_keys_only();
        client.get("/pgloom/parts/", Some(options)).await
    });
    let epochs: std::collections::BTreeSet<&str> =
        parts.kvs().iter().map(|part| part.key_str().unwrap().split('/').nth(3).unwrap()).collect();
    assert_eq!(parts.kvs().len(), 2 * epochs.len(), "{epochs:?}");
}

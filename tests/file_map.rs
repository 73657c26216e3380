//! A map that stands in the configuration file: each one that was served is kept, told, compared and put back, and serves a start with a file
//! that is wrong.

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use support::sharded::config;
use support::{Raw, Router, Sharded, eventually};

/// What a command prints, which ends with this code.
#[track_caller]
fn says(code: i32, config: &Path, args: &[&str]) -> String {
    let mut pgloom = Command::new(env!("CARGO_BIN_EXE_pgloom"));
    pgloom.args(args).env("PGLOOM_CONFIG", config).stdin(Stdio::null());
    let output = pgloom.output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout));
    assert_eq!(output.status.code(), Some(code), "{args:?}: {text}");
    text
}

/// What is unknown is empty.
fn shown(raw: &mut Raw) -> BTreeMap<String, String> {
    let mut now = raw.named("SHOW pgloom.map").remove(0);
    for column in ["epoch", "changed_by", "reason", "problem"] {
        now.entry(column.to_owned()).or_default();
    }
    now
}

struct Place(PathBuf);

impl Place {
    fn new(label: &str) -> Self {
        let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("file-map-{label}-{}", std::process::id()));
        fs::create_dir_all(&place).unwrap();
        Self(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn maps_of_a_file_are_kept_compared_put_back_and_serve_a_start_with_one_that_is_wrong() {
    let (world, place) = (Sharded::create("filemap", ""), Place::new("life"));
    let maps = place.0.join("maps");
    let ids = world.free_ids(1000);
    let id = ids[1];
    let sections = format!("[topology]\nallow_moves = true\nhistory_directory = \"{}\"", maps.display());
    let first = format!("# By hand.\n{}", config(&world.db.name, &world.db.ports(), "", &sections));
    let pins = format!("key_types = [\"int4\"]\npins = [{{ value = \"{id}\", shard = \"s2\" }}] # away");
    let second = first.replace("key_types = [\"int4\"]", &pins);
    let wrong = second.replace("distribution = \"key\"", "distribution = \"kez\"");
    let without_moves = wrong.replace("allow_moves = true\n", "");
    let filled = |router: &Router, text: &str| {
        text.replace("{port}", &router.port.to_string()).replace("{http_port}", &router.http_port.to_string())
    };

    let router = Router::start(&first);
    let mut raw = router.connect(&world.db.name);
    let now = shown(&mut raw);
    assert_eq!((&*now["source"], &*now["epoch"], &*now["stale_seconds"]), ("file", "1", "0.000"), "{now:?}");
    assert_eq!(router.reload(&filled(&router, &second)), "applied");
    assert_eq!(shown(&mut raw)["epoch"], "2");
    let metrics = router.http("/metrics").1;
    assert!(metrics.contains("pgloom_topology_epoch 0\n") && metrics.contains("pgloom_topology_file_epoch 2\n"));
    // What changes nothing of the map is no other one.
    assert_eq!(
        router.reload(&filled(
            &router,
            &second.replace("# By hand.", "pool_queue_size = 9").replacen(
                "pool_queue_size = 9\n[general]",
                "[general]\npool_queue_size = 9",
                1
            )
        )),
        "applied"
    );
    assert_eq!(shown(&mut raw)["epoch"], "2");
    assert_eq!(router.reload(&filled(&router, &second)), "applied");
    assert!(
        says(0, &router.config, &["topology", "validate", router.config.to_str().unwrap()])
            .contains("the map is valid")
    );
    assert_eq!(says(0, &router.config, &["topology", "diff", router.config.to_str().unwrap()]), "nothing changes\n");
    assert!(says(0, &router.config, &["topology", "get"]).contains(&format!("\"value\": \"{id}\"")));
    assert!(!says(0, &router.config, &["topology", "get", "--epoch", "1"]).contains("pins"));
    let earlier = place.0.join("first.toml");
    fs::write(&earlier, filled(&router, &first)).unwrap();
    let told = says(1, &router.config, &["topology", "diff", earlier.to_str().unwrap()]);
    assert!(told.contains("MOVES"), "{told}");
    let init = ["topology", "init", "--from", earlier.to_str().unwrap()];
    assert!(says(2, &router.config, &init).contains("keeps the map itself"));

    // One that is wrong is reported, and the one from before is served on.
    assert_eq!(router.reload(&filled(&router, &wrong)), "rejected");
    let now = shown(&mut raw);
    assert_eq!((&*now["source"], &*now["epoch"], &*now["rejected"]), ("file", "2", "1"), "{now:?}");
    assert!(now["problem"].contains("kez") && now["stale_seconds"] != "0.000", "{now:?}");
    assert!(router.http("/metrics").1.contains("pgloom_topology_rejected_total 1\n"));
    let told = says(1, &router.config, &["topology", "validate"]);
    assert!(told.contains("kez"), "{told}");
    let n = raw.value(&format!("SELECT count(*) FROM items WHERE id = {}", world.id(1, 0)));
    assert_eq!(n, "1");
    drop((raw, router));

    // A start with that file has the last map that was served, and says so; users are those of the file.
    let router = Router::start(&without_moves);
    assert!(router.log_text().contains("serving the last one that was served"), "{}", router.log_text());
    let mut raw = router.connect(&world.db.name);
    let now = shown(&mut raw);
    assert_eq!((&*now["source"], &*now["epoch"], &*now["rejected"]), ("copy", "2", "1"), "{now:?}");
    assert!(now["problem"].contains("kez"), "{now:?}");
    assert!(router.http("/metrics").1.contains("pgloom_topology_troubled 1\n"));
    let route = raw.must(&format!("EXPLAIN (ROUTE) SELECT * FROM items WHERE id = {id}")).text();
    assert!(route.contains("s2"), "{route}");
    assert_eq!(fs::read_dir(&maps).unwrap().count(), 4, "two maps, which is served, and by whom");
    // What is wrong beside the map is no matter of maps.
    let path = place.0.join("users.toml");
    fs::write(&path, filled(&router, &without_moves.replace("name = \"postgres\"", "nam = \"postgres\""))).unwrap();
    assert!(says(2, &path, &["serve"]).contains("nam"));
    // Where rows are said to be moved, they may not be where the last map looks for them.
    fs::write(&path, filled(&router, &wrong)).unwrap();
    let told = says(2, &path, &["serve"]);
    assert!(told.contains("kez") && told.contains("is not taken in its place"), "{told}");
    assert_eq!(router.reload(&filled(&router, &second)), "applied");
    let now = shown(&mut raw);
    assert_eq!((&*now["source"], &*now["epoch"], &*now["stale_seconds"]), ("file", "2", "0.000"), "{now:?}");

    // Back to the first, by a change of the file alone, of which all else stays.
    assert!(says(1, &router.config, &["topology", "rollback", "1"]).contains("refused: keys that may have rows"));
    assert_eq!(router.config_text(), filled(&router, &second));
    let dry = says(0, &router.config, &["topology", "rollback", "1", "--allow-moves", "--dry-run"]);
    assert!(dry.contains("MOVES") && router.config_text() == filled(&router, &second), "{dry}");
    // As root: for a service that has the group's rights to it.
    let is_root = chown(&router.config, None, Some(54_321)).is_ok();
    let owner = fs::metadata(&router.config).unwrap().gid();
    assert!(!is_root || owner == 54_321);
    let args = ["topology", "rollback", "1", "--allow-moves", "--by", "ada@ops"];
    assert!(says(0, &router.config, &args).contains("when they read the file again"));
    assert_eq!(fs::metadata(&router.config).unwrap().gid(), owner);
    let text = router.config_text();
    assert!(text.starts_with("# By hand.\n") && !text.contains("pins") && text.contains("allow_moves"), "{text}");
    assert_eq!(shown(&mut raw)["epoch"], "2", "nobody has read it");
    let before = router.reloads();
    router.signal("HUP");
    assert_eq!(router.next_reload(&before), "applied");
    let now = shown(&mut raw);
    assert_eq!((&*now["epoch"], &*now["changed_by"], &*now["reason"]), ("3", "ada@ops", "rollback to epoch 1"));
    let route = raw.must(&format!("EXPLAIN (ROUTE) SELECT * FROM items WHERE id = {id}")).text();
    assert!(route.contains("s1"), "{route}");
    let history = says(0, &router.config, &["topology", "history"]);
    assert_eq!(history.lines().count(), 4, "{history}");
    assert!(history.lines().nth(1).unwrap().contains("rollback to epoch 1"), "{history}");
    // Another map is put there in the same way.
    let next = place.0.join("next.json");
    fs::write(&next, says(0, &router.config, &["topology", "get", "--epoch", "2"]).replace("\"epoch\": 2,", ""))
        .unwrap();
    says(0, &router.config, &["topology", "apply", next.to_str().unwrap(), "--allow-moves", "-m", "again"]);
    // Nobody has read that yet: who puts another one over it would lose it.
    let (text, back) = (router.config_text(), ["topology", "rollback", "1", "--allow-moves"]);
    assert!(says(1, &router.config, &back).contains("a map that no router serves yet"));
    assert_eq!(router.config_text(), text);
    says(0, &router.config, &[&back[..], &["--over-unserved"]].concat());
    assert!(!router.config_text().contains("pins"));
    says(
        0,
        &router.config,
        &["topology", "apply", next.to_str().unwrap(), "--allow-moves", "-m", "again", "--over-unserved"],
    );
    let before = router.reloads();
    router.signal("HUP");
    assert_eq!(router.next_reload(&before), "applied");
    eventually(5, "it is the fourth", || {
        let now = shown(&mut raw);
        now["epoch"] == "4" && now["reason"] == "again"
    });
}

#[test]
fn a_place_that_cannot_be_written_is_told_and_the_file_is_served() {
    let (world, place) = (Sharded::create("filemapnone", ""), Place::new("none"));
    let blocked = place.0.join("blocked");
    fs::write(&blocked, "no directory").unwrap();
    let sections = format!("[topology]\nhistory_directory = \"{}\"", blocked.join("maps").display());
    let text = config(&world.db.name, &world.db.ports(), "", &sections);
    let router = Router::start(&text);
    let now = shown(&mut router.connect(&world.db.name));
    assert!(now["source"] == "file" && now["problem"].contains("cannot be kept"), "{now:?}");
    assert_eq!(now["stale_seconds"], "0.000");
    assert!(router.log_text().contains("the map cannot be kept on disk"));
    assert!(router.http("/metrics").1.contains("pgloom_topology_troubled 0\n"));
    let told = says(1, &router.config, &["check"]);
    assert!(told.contains("BAD history_directory"), "{told}");
    // One that is not there is made, with those above it.
    let deep = place.0.join("a/b/maps");
    let fine = text.replace(&blocked.join("maps").display().to_string(), &deep.display().to_string());
    let path = place.0.join("deep.toml");
    fs::write(&path, fine.replace("{port}", "1").replace("{http_port}", "2")).unwrap();
    let told = says(0, &path, &["check"]);
    let writable = format!("history_directory {} can be written", deep.display());
    assert!(told.contains(&writable) && !deep.exists(), "{told}");
    // Nothing is kept where nobody wants it.
    let off = Router::start(&text.replace(&blocked.join("maps").display().to_string(), ""));
    let now = shown(&mut off.connect(&world.db.name));
    assert!(now["epoch"].is_empty() && now["problem"].is_empty(), "{now:?}");
    assert!(says(2, &off.config, &["topology", "history"]).contains("keeps no maps"));
    // Where a primary can be an old one, what is known of that must be kept too.
    let servers = format!("timelines_file = \"{}\"", blocked.join("timelines").display());
    let port = world.db.ports()[0];
    let several = config(&world.db.name, &world.db.ports(), &servers, "").replacen(
        &format!("host = \"127.0.0.1\"\nport = {port}"),
        &format!("servers = [{{ host = \"127.0.0.1\", port = {port} }}, {{ host = \"127.0.0.1\", port = 1 }}]"),
        1,
    );
    let router = Router::start_with(&several, &[]);
    eventually(10, "it is told", || router.log_text().contains("the shards' timelines cannot be kept"));
    let told = says(1, &router.config, &["check"]);
    assert!(told.contains("BAD timelines_file"), "{told}");
}

/// The same command, whatever its code.
fn says_whatever(config: &Path) -> String {
    let mut pgloom = Command::new(env!("CARGO_BIN_EXE_pgloom"));
    let output = pgloom.args(["routers", "--json"]).env("PGLOOM_CONFIG", config).stdin(Stdio::null()).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The routers of `pgloom routers --json`, by where they are reached.
fn listed(code: i32, config: &Path) -> BTreeMap<String, serde_json::Value> {
    let told: Vec<serde_json::Value> = serde_json::from_str(&says(code, config, &["routers", "--json"])).unwrap();
    told.into_iter().map(|router| (router["reached_at"].as_str().unwrap_or_default().to_owned(), router)).collect()
}

#[test]
fn routers_that_share_their_maps_are_listed_and_pass_cancels_on_to_each_other() {
    let (world, place) = (Sharded::create("filelist", ""), Place::new("list"));
    let maps = place.0.join("maps");
    let sections = format!("[topology]\nrouter_ttl = \"2s\"\nhistory_directory = \"{}\"", maps.display());
    let text = config(&world.db.name, &world.db.ports(), "", &sections);
    let (own, other) = (Router::start(&text), Router::start(&text));
    let at = |router: &Router| format!("127.0.0.1:{}", router.port);
    eventually(10, "both are listed, with what they serve", || {
        says_whatever(&own.config).matches("\"epoch\": 1").count() == 2
    });
    let routers = listed(0, &other.config);
    let mut raw = own.connect(&world.db.name);
    let (pid, secret) = raw.key.clone();
    assert_eq!(routers[&at(&own)]["number"], pid >> 20);
    assert_eq!((&routers[&at(&own)]["epoch"], &routers[&at(&other)]["epoch"]), (&1.into(), &1.into()));
    assert!(says(0, &own.config, &["routers"]).contains(&at(&other)));

    // A cancel request that reaches the other one: neither is told of peers.
    let locks = world.lock(&[0, 1, 2, 3]);
    let all = "SELECT id, n FROM items ORDER BY id";
    raw.send(&support::raw::message::query(all)).unwrap();
    // What the routers ask of the catalog waits for such locks as well, and is not meant.
    let waits = format!("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query = '{all}'");
    eventually(20, "it runs", || {
        world.on_each(&format!("{waits} AND datname = current_database()")).iter().all(|count| count == "1")
    });
    eventually(20, "it is passed on", || {
        support::raw::cancel(other.port, pid, &secret);
        other.http("/metrics").1.contains("pgloom_cancels_passed_on_total{result=\"router\"}")
    });
    let answers = raw.read_to_ready().unwrap();
    let error = answers.iter().find(|message| message.tag == b'E').expect("an error").report();
    assert_eq!(error.code(), "57014", "{error}");
    drop(locks);

    // Who has read another map is told of.
    let id = world.free_ids(1)[0];
    let (key, pins) =
        ("key_types = [\"int4\"]", format!("key_types = [\"int4\"]\npins = [{{ value = \"{id}\", shard = \"s2\" }}]"));
    let moved = own.config_text().replace(key, &pins).replace("[topology]", "[topology]\nallow_moves = true");
    assert_eq!(own.reload(&moved), "applied");
    eventually(10, "it is told", || says_whatever(&own.config).contains("\"epoch\": 2"));
    assert_eq!(listed(1, &own.config)[&at(&own)]["epoch"], 2);
    assert!(says(1, &own.config, &["routers"]).contains("not the map that was served last"));

    // One that ends is off the list at once, one that is killed after its time; its file goes, too.
    let names = || {
        let entries = fs::read_dir(maps.join("routers")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.ends_with(".json") && !name.starts_with('.')).collect::<Vec<_>>()
    };
    let files = || names().len();
    let mut third = Router::start(&text);
    eventually(10, &format!("it is listed: {:?}", names()), || files() == 3);
    third.signal("TERM");
    assert!(third.wait(std::time::Duration::from_secs(10)).is_some());
    eventually(10, "it has left", || files() == 2);
    let there = at(&other);
    other.signal("KILL");
    assert!(listed(1, &own.config).contains_key(&there), "for its time it is there");
    // One place of its time; its file is removed after two.
    eventually(10, "nothing is left of it", || files() == 1);
    assert!(!listed(0, &own.config).contains_key(&there));

    // Another directory is another list; with none there is none, which is told.
    let elsewhere = own.config_text().replace(&maps.display().to_string(), &place.0.join("more").display().to_string());
    assert_eq!(own.reload(&elsewhere), "applied");
    eventually(10, "it has gone there", || files() == 0 && says_whatever(&own.config).contains(&at(&own)));
    let none = own.config_text().replace(&place.0.join("more").display().to_string(), "");
    assert_eq!(own.reload(&none), "applied");
    assert!(says(2, &own.config, &["routers"]).contains("keeps no maps: history_directory in [topology] is empty"));

    // What others may write in is not believed, and that is told.
    fs::create_dir_all(place.0.join("open/routers")).unwrap();
    fs::set_permissions(place.0.join("open"), fs::Permissions::from_mode(0o777)).unwrap();
    let open = text.replace(&maps.display().to_string(), &place.0.join("open").display().to_string());
    let open = Router::start(&open);
    eventually(10, "it is told", || open.log_text().contains("is not in the list of routers in history_directory"));
    assert!(open.log_text().contains("with mode 777"));
    assert!(says(0, &open.config, &["routers"]).contains("no router believes this list"));
    assert_eq!(open.connect(&world.db.name).value("SELECT count(*) FROM items"), "60");
}

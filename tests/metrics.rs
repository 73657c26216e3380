//! Every metric that is declared is fed: a real router is driven through all that it tells of, and each family must have a sample, and
//! one that is more than zero where the test can make it happen.

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use pgloom::metrics::Metrics;
use support::raw::{Value, cancel, message as m};
use support::{EtcdCluster, Lone, Raw, Router, Sharded, eventually};

/// What stays at zero as long as all is well, or takes more than this test does.
const QUIET: &[&str] = &[
    "pgloom_breaker_opened_total",
    "pgloom_breaker_rejected_total",
    "pgloom_breaker_state",
    "pgloom_deadlocks_total",
    // Somebody reads the log.
    "pgloom_log_lines_dropped_total",
    // While a merge holds rows.
    "pgloom_memory_held_bytes",
    "pgloom_moved_rows_total",
    "pgloom_plan_cache_evictions_total",
    "pgloom_pool_cl_waiting",
    "pgloom_pool_maxwait_seconds",
    // The standby keeps up.
    "pgloom_replication_lag_bytes",
    // While statements over several shards run, and wait.
    "pgloom_scatter_requests",
    "pgloom_scatters_waiting",
    "pgloom_shard_discards_total",
    // The map is in etcd (tests/file_map.rs).
    "pgloom_topology_file_epoch",
    "pgloom_topology_rejected_total",
    "pgloom_topology_troubled",
    // No rule was made in SQL.
    "pgloom_topology_version",
    "pgloom_two_phase_in_doubt",
    "pgloom_two_phase_resolved_total",
    // Hundredths of a second are its smallest.
    "process_cpu_seconds_total",
    "pgloom_logins_displaced_total",
    "pgloom_logins_throttled_total",
];

/// What an operator asks for, and where it is told, with what must be more than zero after `work`. Families that are told of elsewhere as well are
/// looked at for their labels here.
const ASKED_FOR: &[(&str, &str)] = &[
    ("statements by route kind", "pgloom_queries_total{class=\"single\"} "),
    ("statements by route kind", "pgloom_queries_total{class=\"scatter\"} "),
    ("plan tier: forwarded", "pgloom_plans_total{kind=\"single\",tier=\"forward\"} "),
    ("plan tier: merged", "pgloom_plans_total{kind=\"scatter\",tier=\"merge\"} "),
    ("plan tier: finished by Postgres", "pgloom_plans_total{kind=\"finish\",tier=\"postgres\"} "),
    ("shards touched", "pgloom_fanout_shards_count "),
    ("latency that the client sees", "pgloom_query_seconds_count{class=\"single\"} "),
    ("latency of servers", "pgloom_shard_request_seconds_count{database=\"shop\",shard=\"s0\"} "),
    ("waits", "pgloom_wait_seconds_count "),
    ("pool states", "pgloom_pool_sv_active{"),
    ("pool states", "pgloom_pool_sv_idle{"),
    ("bytes of clients", "pgloom_client_bytes_total{direction=\"in\"} "),
    ("bytes of clients", "pgloom_client_bytes_total{direction=\"out\"} "),
    ("bytes of servers", "pgloom_shard_traffic_bytes_total{database=\"shop\",direction=\"in\",shard=\"s0\"} "),
    ("prepared statements", "pgloom_server_parses_total{database=\"shop\"} "),
    ("plan cache", "pgloom_plan_cache_hits_total "),
    ("map epoch", "pgloom_topology_epoch "),
    ("map age", "pgloom_topology_stale_seconds{database=\"shop\"} "),
    ("replication lag", "pgloom_replication_lag_seconds{"),
    ("two-phase commits", "pgloom_two_phase_commits_total{outcome=\"committed\"} "),
    ("skew of rows", "pgloom_shard_rows{database=\"shop\",shard=\"s0\"} "),
    ("hot keys", "pgloom_hot_key_share{"),
    ("cancelled", "pgloom_cancels_total "),
    ("time-outs", "pgloom_timeouts_total{limit=\"statement\"} "),
    ("time-outs", "pgloom_timeouts_total{limit=\"query_wait\"} "),
    ("refusals by reason", "pgloom_refusals_total{reason=\"sql/"),
    ("errors", "pgloom_errors_total{blame=\"client\",sqlstate_class=\"42\"} "),
];

/// What takes several routers or a limit that would be in the way here, and is looked at in tests/cancel_routers.rs and tests/limits.rs.
const ELSEWHERE: &[&str] =
    &["pgloom_cancels_passed_on_total", "pgloom_hedged_reads_total", "pgloom_key_throttled_total"];

const SCHEMA: &str = "CREATE TABLE items (id int PRIMARY KEY, n int); CREATE TABLE places (code text PRIMARY KEY)";

/// Shard `s0` is a primary with a standby, `s1` a lone server; the map is in an etcd.
struct World {
    router: Router,
    s0: Lone,
    _standby: Lone,
    _s1: Lone,
    _etcd: EtcdCluster,
    dir: PathBuf,
}

impl World {
    fn create() -> Self {
        let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("metrics-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let (s0, s1) = (primary(), primary());
        let standby = s0.standby();
        standby.start();
        let etcd = EtcdCluster::start(1);
        let general = |port: &str, http: &str| {
            format!(
                "[general]\nport = {port}\nmetrics_listen = \"127.0.0.1:{http}\"\nauth_type = \"trust\"\ndefault_pool_size = 2\n\
                 two_phase_grace = \"1s\"\ncatalog_refresh_interval = \"2s\"\nserver_check_interval = \"200ms\"\nhot_key_metrics = true\n\
                 max_prepared_statements = 50\n[[users]]\nname = \"postgres\"\n"
            )
        };
        let placed = format!(
            "home_shard = \"s0\"\n\
             [[databases.shop.shards]]\nname = \"s0\"\nservers = [{{ host = \"127.0.0.1\", port = {} }}, {{ host = \"127.0.0.1\", port = {} }}]\n\
             [[databases.shop.shards]]\nname = \"s1\"\nhost = \"127.0.0.1\"\nport = {}\n\
             [[databases.shop.distributions]]\nname = \"key\"\nkey_types = [\"int4\"]\n\
             [[databases.shop.tables]]\nname = \"items\"\ndistribution = \"key\"\ncolumns = [\"id\"]\n\
             [[databases.shop.tables]]\nname = \"places\"\nreference = true\n",
            s0.port, standby.port, s1.port
        );
        let topology =
            format!("[topology]\nsource = \"etcd\"\nendpoints = {}\ncopy_file = \"map.json\"\n", etcd.endpoints());
        fs::write(dir.join("whole.toml"), format!("{}[databases.shop]\n{placed}", general("1", "2"))).unwrap();
        let file = format!("{}{topology}[databases.shop]\n", general("{port}", "{http_port}"))
            .replace("map.json", dir.join("map.json").to_str().unwrap());
        fs::write(dir.join("pgloom.toml"), file.replace("{port}", "1").replace("{http_port}", "2")).unwrap();
        let mut init = Command::new(env!("CARGO_BIN_EXE_pgloom"));
        init.args(["topology", "init", "--from", "whole.toml"]).current_dir(&dir);
        let output = init.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Self { router: Router::start(&file), s0, _standby: standby, _s1: s1, _etcd: etcd, dir }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn primary() -> Lone {
    let server = Lone::create();
    server.start();
    server.connect("postgres").must("CREATE DATABASE shop");
    server.connect("shop").must(SCHEMA);
    server
}

/// Each family with its largest value; of a histogram the number of what was observed.
fn families(text: &str) -> BTreeMap<String, f64> {
    let mut found = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (series, value) = line.rsplit_once(' ').unwrap();
        let name = series.split('{').next().unwrap();
        if name.ends_with("_bucket") || name.ends_with("_sum") {
            continue;
        }
        let name = name.strip_suffix("_count").unwrap_or(name).to_owned();
        let largest = found.entry(name).or_insert(f64::MIN);
        *largest = f64::max(*largest, value.parse().unwrap());
    }
    found
}

/// What Prometheus's own checker objects to; nothing where all is well.
fn checked(text: &str) -> String {
    // As scripts/setup has fetched it, unless it is installed.
    let fetched = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/promtool");
    let program = if fetched.exists() { fetched } else { PathBuf::from("promtool") };
    let mut promtool = Command::new(program);
    promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut promtool = promtool.spawn().expect("promtool is not installed (make setup)");
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat();
    assert_eq!(output.status.success(), said.is_empty(), "{said}");
    said
}

/// What a client can do, and all that can happen to it.
fn work(world: &World) {
    let router = &world.router;
    let mut raw = router.connect("shop");
    let rows: Vec<String> = (1..=40).map(|id| format!("({id}, 0)")).collect();
    raw.must(&format!("INSERT INTO items VALUES {}", rows.join(", ")));
    raw.must("INSERT INTO places VALUES ('a')");
    assert_eq!(raw.copy_in("COPY items FROM STDIN", b"41\t1\n42\t1\n43\t1\n").code(), "");
    raw.must("SET application_name = 'work'");
    raw.must("SELECT code FROM places");
    raw.must("SELECT id, n FROM items ORDER BY id");
    raw.must("SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY n) FROM items");
    // On both shards, with a commit in two phases.
    raw.must("BEGIN; UPDATE items SET n = n + 1; COMMIT");
    for _ in 0..200 {
        raw.must("SELECT n FROM items WHERE id = 7");
    }
    for id in 1..100 {
        let reply = raw.extended("SELECT n FROM items WHERE id = $1", &[23], &[Value::text(&id.to_string())], 0);
        assert_eq!(reply.code(), "", "{}", reply.text());
    }
    assert_eq!(raw.simple("SELECT nothing FROM items").code(), "42703");
    assert_eq!(raw.simple("SELECT id FROM items ORDER BY n FETCH FIRST 1 ROW WITH TIES FOR UPDATE").code(), "0A000");
    assert!(Raw::connect(router.port, "postgres", "no_such_database").is_err());
    raw.must("SET pgloom.query_timeout = '100ms'");
    assert_eq!(raw.simple("SELECT pg_sleep(5)").code(), "57014");
    raw.must("RESET pgloom.query_timeout");
    // A cancel.
    let (pid, secret) = raw.key.clone();
    raw.send(&m::query("SELECT pg_sleep(20)")).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    cancel(router.port, pid, &secret);
    raw.read_to_ready().unwrap();
    // Somebody waits: all connections of the pool are taken.
    let mut holders: Vec<Raw> = (0..2).map(|_| router.connect("shop")).collect();
    holders.iter_mut().for_each(|raw| drop(raw.must("BEGIN; SELECT * FROM items WHERE id = 7")));
    raw.must("SET pgloom.query_wait_timeout = '100ms'");
    assert_eq!(raw.simple("SELECT * FROM items WHERE id = 7").code(), "53300");
    drop(holders);
    world.router.signal("HUP");
    eventually(20, "the configuration was read again", || {
        world.router.http("/metrics").1.contains("pgloom_config_reloads_total{")
    });
}

#[test]
fn every_metric_that_is_declared_is_fed() {
    let world = World::create();
    work(&world);
    world.s0.connect("shop").must("ANALYZE");
    // Somebody holds a connection while it is looked at.
    let mut holder = world.router.connect("shop");
    holder.must("BEGIN; SELECT * FROM items WHERE id = 8");
    let mut raw = world.router.connect("shop");
    raw.must("SET pgloom.query_timeout = '1s'");
    let metrics = Metrics::new();
    let declared: Vec<&str> = metrics.declared().iter().map(|family| family.name).collect();
    let mut text = String::new();
    let mut found = BTreeMap::new();
    let mut look = |only: &dyn Fn(&str) -> bool| {
        text = world.router.http("/metrics").1;
        for (name, value) in families(&text) {
            let known = found.entry(name).or_insert(value);
            *known = f64::max(*known, value);
        }
        let missing = declared.iter().filter(|name| {
            let fed =
                found.get(**name).is_some_and(|value| *value > 0.0 || QUIET.contains(name)) || ELSEWHERE.contains(name);
            only(name) && !fed
        });
        missing.map(|name| (*name).to_owned()).collect::<Vec<_>>()
    };
    // Last of all a statement waits for a primary that is away.
    let retried = "pgloom_retries_total";
    eventually(30, "samples of all families", || {
        let missing = look(&|name| name != retried);
        missing.is_empty() || {
            println!("without a sample, or zero: {missing:?}");
            false
        }
    });
    eventually(30, "what an operator asks for", || {
        let now = world.router.http("/metrics").1;
        let most = |start: &str| {
            let values =
                now.lines().filter(|line| line.starts_with(start)).map(|line| line.rsplit(' ').next().unwrap());
            values.map(|value| value.parse::<f64>().unwrap()).fold(0.0, f64::max)
        };
        let missing: Vec<_> = ASKED_FOR.iter().filter(|(_, start)| most(start) <= 0.0).collect();
        missing.is_empty() || {
            println!("zero, or not there: {missing:?}");
            false
        }
    });
    world.s0.stop();
    assert_ne!(raw.simple("SELECT count(*) FROM items").code(), "");
    eventually(30, "a retry", || look(&|_| true).is_empty());
    for name in QUIET {
        assert!(declared.contains(name), "{name} is not declared");
    }
    assert_eq!(checked(&text), "");
    // The checker is one that says what is wrong: what only grows says so by its name, and everything has a help.
    let first = "# TYPE process_cpu_seconds_total counter";
    assert!(text.contains(first));
    let wrong = checked(&text.replace(first, "# TYPE process_cpu_seconds_total gauge"));
    assert!(wrong.contains("process_cpu_seconds_total"), "{wrong}");
    for name in found.keys() {
        assert!(declared.contains(&name.as_str()), "{name} is not among the names");
    }
    let hot =
        text.lines().find(|line| line.starts_with("pgloom_hot_key_share{") && line.contains("rank=\"1\"")).unwrap();
    assert!(hot.contains("key=\"7\"") && hot.contains("distribution=\"key\""), "{hot}");
}

#[test]
fn keys_are_shown_to_operators_and_are_in_the_metrics_only_where_that_is_wanted() {
    let users = "[[users]]\nname = \"postgres\"\n[[users]]\nname = \"ops\"\ndatabases = []\n[[users]]\nname = \"watch\"\ndatabases = []\n";
    let world = Sharded::create_as("hotkeys", "admin_users = [\"ops\"]\nstats_users = [\"watch\"]\n", users);
    let mut raw = world.connect();
    for i in 0..2_000 {
        raw.must(&format!("SELECT n FROM items WHERE id = {}", if i % 4 == 0 { i } else { 17 }));
    }
    let hot = |user: &str| Raw::connect(world.router.port, user, "pgloom").unwrap().named("SHOW HOT_KEYS").remove(0);
    let seen = hot("ops");
    assert_eq!((&*seen["key"], &*seen["distribution"], &*seen["database"]), ("17", "key", &*world.db.name));
    let (statements, share): (f64, f64) = (seen["statements"].parse().unwrap(), seen["share"].parse().unwrap());
    // Halved at most once while the test ran.
    assert!((300.0..3_000.0).contains(&statements) && (60.0..90.0).contains(&share), "{seen:?}");
    let shard = raw.must("EXPLAIN (ROUTE) SELECT n FROM items WHERE id = 17").text();
    assert!(shard.contains(&seen["shard"]), "{shard}");
    // NULL.
    assert!(!hot("watch").contains_key("key"));
    let metrics = world.router.http("/metrics").1;
    let line = metrics.lines().find(|line| line.starts_with("pgloom_hot_key_share{")).unwrap();
    assert!(line.contains("key=\"\"") && line.contains("rank=\"1\""), "{line}");
}

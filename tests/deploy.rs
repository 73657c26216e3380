//! What deploy/ says of the router is true: its metrics and their labels exist and are alive, its settings are accepted, its
//! health check tells a router that serves from one that is gone. The shape of the files is scripts/check-deploy's.

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use pgloom::metrics::Metrics;
use support::cluster::free_port;
use support::raw::Value;
use support::{Raw, Sharded, eventually};

type Names = BTreeSet<String>;

/// What the test cannot make happen, or is zero as long as all is well.
const QUIET: &[&str] = &[
    "pgloom_breaker_opened_total",
    "pgloom_breaker_rejected_total",
    "pgloom_breaker_state",
    "pgloom_cancels_total",
    "pgloom_deadlocks_total",
    "pgloom_hot_key_share",
    "pgloom_moved_rows_total",
    "pgloom_pool_cl_waiting",
    "pgloom_replication_lag_seconds",
    "pgloom_retries_total",
    "pgloom_server_role",
    "pgloom_shard_rows",
    "pgloom_timeouts_total",
    // The map is in the configuration.
    "pgloom_topology_epoch",
    "pgloom_topology_rejected_total",
    "pgloom_topology_stale_seconds",
    "pgloom_topology_troubled",
    "pgloom_topology_version",
    "pgloom_two_phase_in_doubt",
    "pgloom_two_phase_resolved_total",
    // Hundredths of a second are its smallest.
    "process_cpu_seconds_total",
];
/// Labels that Prometheus itself puts on what it scrapes.
const SCRAPED: [&str; 2] = ["job", "instance"];

fn deploy(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(path)
}

fn read(path: &str) -> String {
    fs::read_to_string(deploy(path)).unwrap_or_else(|e| panic!("deploy/{path}: {e}"))
}

/// A metric as it was scraped: its labels, and whether one of its series is more than zero.
#[derive(Default)]
struct Scraped {
    labels: Names,
    alive: bool,
}

/// `name{label="value",...} value` in each line; values of the router's labels hold no comma.
fn scraped(text: &str) -> BTreeMap<String, Scraped> {
    let mut found = BTreeMap::<String, Scraped>::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (series, value) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let metric = found.entry(name.to_owned()).or_default();
        let labels = labels.strip_suffix('}').unwrap();
        metric.labels.extend(labels.split(',').filter_map(|label| Some(label.split_once('=')?.0.to_owned())));
        metric.alive |= value.parse::<f64>().unwrap() > 0.0;
    }
    found
}

/// The queries of a dashboard: every `expr`, and those that fill its variables.
fn queries_of_dashboard(value: &serde_json::Value, found: &mut Vec<String>) {
    match value {
        serde_json::Value::Object(members) => {
            for (key, member) in members {
                match member.as_str() {
                    Some(text) if key == "expr" => found.push(text.to_owned()),
                    Some(text) if key == "definition" => {
                        let (metric, _) = text.strip_prefix("label_values(").unwrap().rsplit_once(',').unwrap();
                        found.push(metric.to_owned());
                    }
                    _ => queries_of_dashboard(member, found),
                }
            }
        }
        serde_json::Value::Array(members) => members.iter().for_each(|member| queries_of_dashboard(member, found)),
        serde_json::Value::Null
        | serde_json::Value::Bool(_)
        | serde_json::Value::Number(_)
        | serde_json::Value::String(_) => {}
    }
}

/// The rules of a file, as `(recorded name or "", query)`: after `expr:`, or in the deeper lines below `expr: |`.
fn rules(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut record = String::new();
    let mut lines = text.lines().peekable();
    let depth = |line: &str| line.len() - line.trim_start().len();
    while let Some(line) = lines.next() {
        let trimmed = line.trim_start().trim_start_matches("- ");
        if let Some(name) = trimmed.strip_prefix("record: ") {
            record = name.to_owned();
        } else if trimmed.starts_with("alert: ") {
            record.clear();
        } else if let Some(query) = trimmed.strip_prefix("expr: ") {
            let mut query = query.to_owned();
            if query == "|" {
                query.clear();
                while let Some(more) = lines.next_if(|more| depth(more) > depth(line)) {
                    query += more;
                    query.push('\n');
                }
            }
            found.push((record.clone(), query));
        }
    }
    found
}

/// A query cut into words and single other characters, strings left out but for what they stand for: `""`.
fn words(query: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut chars = query.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '"' {
            chars.by_ref().find(|c| *c == '"').unwrap();
            words.push("\"\"".to_owned());
        } else if c.is_alphabetic() || c == '_' || c == '$' {
            let mut word = String::from(c);
            while let Some(c) = chars.next_if(|c| c.is_alphanumeric() || matches!(c, '_' | ':')) {
                word.push(c);
            }
            words.push(word);
        } else if !c.is_whitespace() {
            words.push(c.to_string());
        }
    }
    words
}

/// Whether a word can name a metric of ours or one that a rule records.
fn is_metric(word: &str) -> bool {
    word.starts_with("pgloom_") || word.starts_with("process_") || word.contains(':')
}

/// Checks each metric and label of a query; gives the metrics.
fn check_query(query: &str, known: &BTreeMap<String, Names>) -> Names {
    let words = words(query);
    let metrics: Names = words.iter().filter(|word| is_metric(word)).cloned().collect();
    let of = |metric: &String| known.get(metric).unwrap_or_else(|| panic!("no metric {metric}, in: {query}"));
    let mut labels: Names = SCRAPED.iter().map(|label| (*label).to_owned()).collect();
    labels.extend(metrics.iter().flat_map(|metric| of(metric).clone()));
    for (at, word) in words.iter().enumerate() {
        let list = |from: usize, end: &str| words[from..].iter().take_while(|w| *w != end).cloned().collect::<Vec<_>>();
        let is_name = |word: &&String| word.starts_with(char::is_alphabetic) || word.starts_with('_');
        if matches!(word.as_str(), "by" | "on" | "without" | "ignoring") && words[at + 1] == "(" {
            for label in list(at + 2, ")").iter().filter(is_name) {
                assert!(labels.contains(label), "no label {label} here: {query}");
            }
        }
        if is_metric(word) && words.get(at + 1).is_some_and(|next| next == "{") {
            for label in list(at + 2, "}").iter().filter(is_name) {
                let own = of(word).contains(label) || SCRAPED.contains(&label.as_str());
                assert!(own, "{word} has no label {label}, in: {query}");
            }
        }
    }
    metrics
}

/// A bit of everything: each class of statements, errors, a refusal, a login that fails, a configuration read again.
fn work(world: &Sharded) {
    let mut raw = world.connect();
    raw.must(&format!("SELECT name FROM items WHERE id = {}", world.id(0, 0)));
    for _ in 0..2 {
        raw.must("SELECT id, name FROM items ORDER BY id");
    }
    // Written on all shards; and by values that are bound, on connections that know the statement by then.
    raw.must("BEGIN; UPDATE items SET n = 1; COMMIT");
    for id in 1..9 {
        raw.extended("SELECT n FROM items WHERE id = $1", &[23], &[Value::text(&id.to_string())], 0);
    }
    raw.must("SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY n) FROM items");
    assert_eq!(raw.simple("SELECT nothing FROM items").code(), "42703");
    let refused = raw.simple("SELECT id FROM items ORDER BY n FETCH FIRST 1 ROW WITH TIES FOR UPDATE");
    assert_eq!(refused.code(), "0A000");
    assert!(Raw::connect(world.router.port, "postgres", "no_such_database").is_err());
    world.router.signal("HUP");
    eventually(20, "the configuration was read again", || {
        world.router.http("/metrics").1.contains("pgloom_config_reloads_total{")
    });
}

#[test]
fn every_metric_and_label_of_dashboards_and_rules_exists_and_is_alive() {
    let world = Sharded::create("deploy", "");
    work(&world);
    // In a transaction, so that a server connection is held.
    let mut holder = world.connect();
    holder.must(&format!("BEGIN; SELECT * FROM items WHERE id = {}", world.id(0, 0)));
    let (status, text) = world.router.http("/metrics");
    assert_eq!(status, 200);
    let metrics = scraped(&text);
    // Also those of which this router has nothing to tell: replicas, a map in etcd.
    let mut known = BTreeMap::<String, Names>::new();
    for family in Metrics::new().declared() {
        let labels: Names = family.labels.iter().cloned().collect();
        if family.is_histogram {
            let buckets = labels.iter().cloned().chain(["le".to_owned()]).collect();
            known.insert(format!("{}_bucket", family.name), buckets);
            known.extend(["sum", "count"].map(|part| (format!("{}_{part}", family.name), labels.clone())));
        } else {
            known.insert(family.name.to_owned(), labels);
        }
    }
    for (name, metric) in &metrics {
        assert!(known.get(name).is_some_and(|labels| metric.labels.is_subset(labels)), "{name} is declared otherwise");
    }

    let mut used = Names::new();
    for (record, query) in rules(&read("prometheus/recording.yml")) {
        let metrics = check_query(&query, &known);
        // A later rule may read what an earlier one has recorded.
        let labels = metrics.iter().flat_map(|metric| known[metric].clone()).collect();
        known.insert(record, labels);
        used.extend(metrics);
    }
    let alerts = rules(&read("prometheus/alerts.yml"));
    assert!(alerts.len() > 10, "{alerts:?}");
    let mut queries: Vec<String> = alerts.into_iter().map(|(_, query)| query).collect();
    for file in fs::read_dir(deploy("grafana/dashboards")).unwrap() {
        let text = fs::read_to_string(file.unwrap().path()).unwrap();
        queries_of_dashboard(&serde_json::from_str(&text).unwrap(), &mut queries);
    }
    assert!(queries.len() > 50, "{queries:?}");
    used.extend(queries.iter().flat_map(|query| check_query(query, &known)));

    for name in used.iter().filter(|name| !name.contains(':')) {
        let quiet = QUIET.contains(&name.as_str());
        assert!(
            metrics.get(name.as_str()).is_some_and(|metric| metric.alive) || quiet,
            "{name} is never more than zero: nobody feeds it"
        );
    }
    for name in QUIET {
        assert!(used.contains(*name), "{name} is used nowhere in deploy/");
    }
}

#[test]
fn a_query_that_names_what_is_not_there_is_noticed() {
    let known = BTreeMap::from([("pgloom_clients".to_owned(), Names::from(["host".to_owned()]))]);
    let fails = |query: &str| std::panic::catch_unwind(|| check_query(query, &known)).is_err();
    assert!(!fails("sum by (job, host) (rate(pgloom_clients{host=~\"a|b\", job=\"x\"}[5m])) > 0"));
    assert!(fails("sum(pgloom_client)"));
    assert!(fails("pgloom_clients{hosts=\"a\"}"));
    assert!(fails("max by (shard) (pgloom_clients)"));
    assert!(fails("pgloom:clients:sum"));
}

fn pgloom(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pgloom")).args(arguments).output().unwrap()
}

/// Checks a configuration with passwords that are there; `command` is what the unit runs before it has it read again.
#[test]
fn the_configurations_are_accepted_and_the_unit_can_check_one() {
    let unit = read("systemd/pgloom.service");
    let command = unit.lines().find_map(|line| line.strip_prefix("ExecReload=/usr/bin/pgloom ")).unwrap();
    // It would keep the router from a start with an earlier map.
    assert!(!unit.contains("ExecStartPre"));
    for name in ["docker/pgloom.toml", "kubernetes/base/pgloom.toml", "systemd/pgloom.toml"] {
        // By default they lie beside the configuration, where the router may not write.
        for key in ["timelines_file", "copy_file", "history_directory"] {
            let kept = format!("\n{key} = \"/var/lib/pgloom/");
            assert!(read(name).contains(&kept), "{name} has no {key} where it can be written");
        }
        let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("deploy-{}", std::process::id()));
        fs::create_dir_all(&place).unwrap();
        let (password, config) = (place.join("password"), place.join("pgloom.toml"));
        fs::write(&password, "secret\n").unwrap();
        // With the map that is put into etcd, as if it stood there.
        let whole = match name {
            "docker/pgloom.toml" => {
                read(name).replace("source = \"etcd\"", "source = \"file\"")
                    + &read("docker/map.toml").replace("[databases.shop]\n", "")
            }
            _ => read(name),
        };
        let text: String = whole
            .lines()
            .map(|line| match line.split_once("password_file = ") {
                Some((key, _)) => format!("{key}password_file = \"{}\"\n", password.display()),
                None => format!("{line}\n"),
            })
            .collect();
        for (text, accepted) in [(text.clone(), true), (text.replace("log_format", "log_fromat"), false)] {
            fs::write(&config, text).unwrap();
            let command = command.replace("/etc/pgloom/pgloom.toml", config.to_str().unwrap());
            let output = pgloom(&command.split(' ').collect::<Vec<_>>());
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.success(), accepted, "{name}: {said}");
            assert!(accepted || said.contains("log_fromat"), "{said}");
        }
        fs::remove_dir_all(&place).unwrap();
    }
}

#[test]
fn the_health_check_of_the_image_tells_a_router_from_none() {
    let dockerfile = read("docker/Dockerfile");
    let command = dockerfile.lines().find_map(|line| line.trim_start().strip_prefix("CMD ")).unwrap();
    let command: Vec<String> = serde_json::from_str(command).unwrap();
    let ask = |port: u16| {
        let arguments = command[1..].iter().map(|argument| argument.replace("9930", &port.to_string()));
        Command::new(&command[0]).args(arguments).output().unwrap().status.success()
    };
    let world = Sharded::create("health", "");
    assert!(ask(world.router.http_port));
    // A listener that is something else: it sends an error of its own, not a status.
    assert!(!ask(world.router.port));
    assert!(!ask(free_port()));
}

//! The log of statements: slow ones, refused ones, those over several shards; with their route and times, without values, within bounds.

#![allow(clippy::unwrap_used)]

mod support;

use std::time::{Duration, Instant};

use serde_json::Value as Json;
use support::raw::{Value, message as m};
use support::sharded::config;
use support::{Raw, Router, Sharded, eventually};

/// The lines about statements, each as JSON.
fn statements(router: &Router) -> Vec<Json> {
    let text = router.log_text();
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Json>(line).ok());
    lines.filter(|line| line["target"] == "pgloom::statements").map(|line| line["fields"].clone()).collect()
}

/// The last line about a statement that holds this text.
#[track_caller]
fn line(router: &Router, text: &str) -> Json {
    let mut found = Json::Null;
    eventually(10, text, || {
        let all = statements(router);
        if let Some(line) = all.iter().rev().find(|line| line["statement"].as_str().unwrap().contains(text)) {
            found = line.clone();
        }
        !found.is_null()
    });
    found
}

const ALL: &str = "log_format = \"json\"\nlog_refused_statements = true\nlog_scattered_statements = true\n\
     log_slow_statements = \"250ms\"\nlog_statements_per_second = 0\n";

#[test]
fn a_statement_is_logged_with_its_route_its_times_and_its_rows() {
    let world = Sharded::create("logkinds", ALL);
    let mut raw = world.connect();
    let id = world.id(2, 0);
    raw.must(&format!("/* it's secret */ SELECT  name, pg_sleep(0.3)\n FROM items WHERE id = {id}"));
    let slow = line(&world.router, "pg_sleep");
    assert_eq!(slow["message"], "slow statement", "{slow}");
    assert_eq!(slow["statement"], "SELECT name, pg_sleep($1) FROM items WHERE id = $2");
    assert_eq!((&slow["route"], &slow["shard"], &slow["shards"]), (&"single".into(), &"s2".into(), &1.into()));
    assert_eq!(
        (&slow["rows"], &slow["user"], &slow["database"]),
        (&1.into(), &"postgres".into(), &(*world.db.name).into())
    );
    let (total, server) = (slow["total_ms"].as_f64().unwrap(), slow["server_ms"].as_f64().unwrap());
    assert!(server >= 300.0 && total >= server && total < 5_000.0, "{slow}");

    raw.must("SELECT id FROM items WHERE n < 99 ORDER BY id");
    let scattered = line(&world.router, "n < $1 ORDER BY id");
    assert_eq!((&scattered["message"], &scattered["route"]), (&"scattered statement".into(), &"scatter".into()));
    assert_eq!((&scattered["shards"], &scattered["rows"]), (&4.into(), &60.into()), "{scattered}");
    assert!(scattered.get("shard").is_none_or(Json::is_null), "{scattered}");

    let lock = "SELECT id FROM items WHERE name = 'whose' ORDER BY n FETCH FIRST 1 ROW WITH TIES FOR UPDATE";
    assert_eq!(raw.simple(lock).code(), "0A000");
    let refused = line(&world.router, "FOR UPDATE");
    assert_eq!(
        (&refused["message"], &refused["sqlstate"], &refused["route"]),
        (&"refused statement".into(), &"0A000".into(), &"refuse".into())
    );
    assert!(!world.router.log_text().contains("whose") && !world.router.log_text().contains("secret"));

    // The extended protocol: values are parameters, and a portal over several shards is one statement.
    let reply = raw.extended("SELECT count(*) FROM items WHERE n < $1 AND name <> 'x'", &[23], &[Value::text("5")], 1);
    assert_eq!(reply.code(), "");
    let bound = line(&world.router, "count(*)");
    assert_eq!(bound["statement"], "SELECT count(*) FROM items WHERE n < $1 AND name <> $2");
    assert_eq!((&bound["shards"], &bound["rows"]), (&4.into(), &1.into()), "{bound}");
    // Each statement of a message is one.
    raw.must("SELECT max(n) FROM items; SELECT min(n) FROM items");
    assert_eq!(line(&world.router, "max(n)")["statement"], "SELECT max(n) FROM items");
    assert_eq!(line(&world.router, "min(n)")["statement"], "SELECT min(n) FROM items");
    // So is each of a batch.
    let batch = ["SELECT sum(n) FROM items", "SELECT n FROM items WHERE id = 1", "SELECT avg(n) FROM items"];
    let messages = batch.iter().flat_map(|sql| [m::parse("", sql, &[]), m::bind("", "", &[], &[]), m::execute("", 0)]);
    let mut bytes: Vec<u8> = messages.flatten().collect();
    bytes.extend(m::sync());
    assert_eq!(raw.exchange(&bytes, None).code(), "");
    assert_eq!(line(&world.router, "sum(n)")["rows"], 1);
    // What a server was asked before comes with its rows only now.
    assert_eq!(line(&world.router, "avg(n)")["rows"], 2);
    // What is neither is not told, and no line is told twice.
    raw.must("SELECT n FROM items WHERE id = 3");
    let all = statements(&world.router);
    assert!(!all.iter().any(|line| line["route"] == "single" && line["message"] != "slow statement"), "{all:?}");
    let texts: Vec<&str> = all.iter().map(|line| line["statement"].as_str().unwrap()).collect();
    assert_eq!(texts.iter().filter(|text| text.contains("max(n)")).count(), 1, "{texts:?}");
}

#[test]
fn waiting_is_told_apart_from_work() {
    let world = Sharded::create("logwait", &format!("{ALL}default_pool_size = 1\n"));
    let mut holder = world.connect();
    holder.must(&format!("BEGIN; SELECT n FROM items WHERE id = {}", world.id(1, 0)));
    let mut raw = world.connect();
    raw.send(&m::query(&format!("SELECT n, 'waits' FROM items WHERE id = {}", world.id(1, 0)))).unwrap();
    std::thread::sleep(Duration::from_millis(400));
    holder.must("COMMIT");
    raw.read_to_ready().unwrap();
    let slow = line(&world.router, "SELECT n, $1");
    let of = |field: &str| slow[field].as_f64().unwrap();
    assert!(of("wait_ms") >= 300.0 && of("server_ms") < 200.0 && of("total_ms") >= of("wait_ms"), "{slow}");
}

#[test]
fn secrets_are_never_shown_also_where_literals_are() {
    let world = Sharded::create(
        "logsecret",
        &format!("{ALL}log_statement_literals = true\nlog_slow_statements = \"1us\"\n").replacen(
            "log_slow_statements = \"250ms\"\n",
            "",
            1,
        ),
    );
    let mut raw = world.connect();
    raw.must("SELECT n FROM items WHERE id = 1 AND name <> 'quaint'");
    assert!(
        line(&world.router, "quaint")["statement"].as_str().unwrap().ends_with("WHERE id = 1 AND name <> 'quaint'")
    );
    let role = format!("log_{}", std::process::id());
    raw.must(&format!("CREATE ROLE {role} PASSWORD 'hunter2'"));
    raw.must(&format!("ALTER ROLE {role} PASSWORD 'hunter2'"));
    raw.must(&format!("DROP ROLE {role}"));
    for sql in [
        "ALTER ROLE nobody_there PASSWORD 'hunter2'",
        "SELECT 'hunter2' AS password",
        "SELECT 'postgres://app:hunter2@h/db password'",
        "SET pgloom.password = 'hunter2'",
        "CREATE SUBSCRIPTION s CONNECTION 'host=127.0.0.1 port=1 password=hunter2' PUBLICATION p",
        "SELECT 'unclosed hunter2",
    ] {
        raw.simple(sql);
    }
    raw.extended("SELECT 'hunter2' AS user_token, $1::text", &[25], &[Value::text("hunter2")], 0);
    let last = line(&world.router, "user_token");
    assert_eq!(last["statement"], "SELECT $2 AS user_token, $1::text", "{last}");
    line(&world.router, "ALTER ROLE");
    assert!(!world.router.log_text().contains("hunter2"));
}

#[test]
fn a_share_of_the_statements_is_logged_as_json_without_literals_and_tells_of_the_others() {
    let world = Sharded::create("logshare", &format!("{ALL}log_statement_share = 25\n"));
    let mut raw = world.connect();
    let before = statements(&world.router).len();
    for n in 0..200 {
        raw.must(&format!("SELECT count(*) FROM items WHERE n < {} AND name <> 'Smith {n}'", 70_000 + n));
    }
    let all = || statements(&world.router).split_off(before);
    eventually(5, "lines", || all().len() > 20);
    let lines = all();
    // The share is one of many statements, not of each few.
    assert!((25..=75).contains(&lines.len()), "{}", lines.len());
    let suppressed: u64 = lines.iter().map(|line| line["suppressed"].as_u64().unwrap()).sum();
    let told = suppressed + lines.len() as u64;
    // Those behind the last line are told with the next one, and the table was filled before.
    assert!((150..=230).contains(&told), "{told}");
    for line in &lines {
        assert_eq!(line["statement"], "SELECT count(*) FROM items WHERE n < $1 AND name <> $2", "{line}");
        assert_eq!((&line["shards"], &line["route"]), (&4.into(), &"scatter".into()), "{line}");
    }
    let log = world.router.log_text();
    assert!(!log.contains("Smith"), "{log}");
    let text = world.router.config_text();
    let with = |share: u32| text.replace("log_statement_share = 25", &format!("log_statement_share = {share}"));
    assert_eq!(world.router.reload(&with(0)), "rejected", "there are settings for that");
    assert_eq!(world.router.reload(&with(100)), "applied");
    // With the next statement its session knows.
    raw.must("SELECT 1");
    let before = statements(&world.router).len();
    (0..40).for_each(|_| drop(raw.must("SELECT count(*) FROM items")));
    eventually(5, "all of them", || statements(&world.router).len() - before == 40);
}

#[test]
fn the_log_is_bounded_follows_a_reload_and_users_have_times_of_their_own() {
    let users = "[[users]]\nname = \"postgres\"\n[[users]]\nname = \"fast\"\nserver_user = \"postgres\"\nlog_slow_statements = \"1us\"\n";
    let world =
        Sharded::create_as("logbounds", "log_scattered_statements = true\nlog_statements_per_second = 2\n", users);
    let mut raw = world.connect();
    // The second in which the tables were filled is over.
    std::thread::sleep(Duration::from_millis(1_100));
    for _ in 0..40 {
        raw.must("SELECT count(*) FROM items");
    }
    // In text, as it is read by people.
    let lines = || -> Vec<String> {
        let text = world.router.log_text();
        text.lines().filter(|line| line.contains("pgloom::statements")).map(str::to_owned).collect()
    };
    let before = lines();
    assert!((2..20).contains(&before.len()), "{before:?}");
    let told = |line: &String| line.contains("scattered statement") && line.contains("=\"SELECT count(*) FROM items\"");
    assert!(before.iter().any(told), "{before:?}");
    std::thread::sleep(Duration::from_millis(1_100));
    raw.must("SELECT count(*) FROM items");
    eventually(5, "how many were left out", || {
        lines().iter().any(|line| {
            line.split("suppressed=").nth(1).is_some_and(|n| n.split(' ').next().unwrap().parse::<u32>().unwrap() > 5)
        })
    });
    // A session says nothing of it.
    assert_eq!(raw.simple("SET pgloom.log_slow_statements = '1s'").code(), "42704");
    // Another user's statements are slow sooner.
    std::thread::sleep(Duration::from_millis(1_100));
    let mut fast = Raw::connect(world.router.port, "fast", &world.db.name).unwrap();
    fast.must("SELECT n AS mine FROM items WHERE id = 5");
    raw.must("SELECT n AS theirs FROM items WHERE id = 5");
    eventually(5, "the slow statement of fast", || {
        lines().iter().any(|line| line.contains("AS mine") && line.contains("slow statement"))
    });
    assert!(!world.router.log_text().contains("AS theirs"));
    // Off, by a reload, for sessions that are there.
    let text =
        world.router.config_text().replace("log_scattered_statements = true", "log_scattered_statements = false");
    assert_eq!(world.router.reload(&text), "applied");
    let count = lines().len();
    std::thread::sleep(Duration::from_millis(1_100));
    raw.must("SELECT count(*) FROM items");
    assert_eq!(lines().len(), count);
}

/// One that reads the log of a router may hang, and what it does not take is more than a pipe holds.
#[test]
fn a_log_that_nobody_reads_holds_no_client_up() {
    let world = Sharded::create("logunread", "");
    let general = "log_level = \"debug\"\nlog_connections = true\n";
    let mut router = Router::start_unread(&config(&world.db.name, &world.db.ports(), general, ""), &[]);
    let start = Instant::now();
    for _ in 0..1_500 {
        let mut raw = Raw::connect(router.port, "postgres", &world.db.name).unwrap();
        raw.set_patience(Duration::from_secs(20));
        assert_eq!(raw.value("SELECT count(*) FROM plain"), "1");
        assert!(start.elapsed() < Duration::from_secs(120), "clients wait for whom the log waits for");
    }
    // What waits to be written is not waited for at the end either.
    let text = router.http("/metrics").1;
    assert!(text.contains("pgloom_log_lines_dropped_total "), "{text}");
    router.signal("INT");
    assert!(router.wait(Duration::from_secs(20)).is_some_and(|status| status.success()));
}

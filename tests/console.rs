//! The admin console, by psql, a driver and raw frames: columns that PgBouncer's users know, numbers that are true, commands that do what they
//! say, and nobody who may only look changes anything.

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use support::cluster::postgres_bin;
use support::pipe::Pipe;
use support::raw::{Raw, Value, cancel, message as m};
use support::{Router, Sharded, eventually};

const USERS: &str = "[[users]]\nname = \"postgres\"\n[[users]]\nname = \"ops\"\ndatabases = []\n\
     [[users]]\nname = \"watch\"\ndatabases = []\npassword = \"t0p secret\"\n";
const GENERAL: &str = "admin_users = [\"ops\"]\nstats_users = [\"watch\"]\n";

const TEXT: u32 = 25;
const INT4: u32 = 23;
const INT8: u32 = 20;
const NUMERIC: u32 = 1700;

/// PgBouncer's columns with their types (`s`, `i`, `N` as in its source); ours may follow.
const PGBOUNCER: &[(&str, &str, &str)] = &[
    ("CLIENTS", SOCKETS, SOCKET_TYPES),
    ("CONFIG", "key value default changeable", "ssss"),
    (
        "DATABASES",
        "name host port database force_user pool_size min_pool_size reserve_pool_size server_lifetime pool_mode \
         load_balance_hosts max_connections current_connections max_client_connections current_client_connections paused disabled",
        "ssissiiiissiiiiii",
    ),
    ("DNS_HOSTS", "hostname ttl addrs", "sqs"),
    ("DNS_ZONES", "zonename serial count", "sqi"),
    // The last two, which are never told, are bytea there.
    (
        "FDS",
        "fd task user database addr port cancel link client_encoding std_strings datestyle timezone password scram_client_key \
         scram_server_key",
        "issssiqisssssss",
    ),
    ("LISTS", "list items", "si"),
    (
        "POOLS",
        "database user cl_active cl_waiting cl_active_cancel_req cl_waiting_cancel_req sv_active sv_active_cancel \
         sv_being_canceled sv_idle sv_used sv_tested sv_login maxwait maxwait_us pool_mode load_balance_hosts",
        "ssiiiiiiiiiiiiiss",
    ),
    ("SERVERS", SOCKETS, SOCKET_TYPES),
    ("MEM", "name size used free memtotal", "siiiq"),
    ("PEERS", "peer_id host port pool_size", "isii"),
    ("PEER_POOLS", "peer_id cl_active_cancel_req cl_waiting_cancel_req sv_active_cancel sv_login", "iiiii"),
    ("ACTIVE_SOCKETS", BUFFERS, BUFFER_TYPES),
    ("SOCKETS", BUFFERS, BUFFER_TYPES),
    ("STATE", "key value", "ss"),
    (
        "STATS",
        "database total_server_assignment_count total_xact_count total_query_count total_received total_sent total_xact_time \
         total_query_time total_wait_time total_client_parse_count total_server_parse_count total_bind_count \
         total_client_login_count avg_server_assignment_count avg_xact_count avg_query_count avg_recv avg_sent avg_xact_time \
         avg_query_time avg_wait_time avg_client_parse_count avg_server_parse_count avg_bind_count avg_client_login_count",
        "sNNNNNNNNNNNNNNNNNNNNNNNN",
    ),
    ("STATS_AVERAGES", COUNTS, "sNNNNNNNNNNNN"),
    ("STATS_TOTALS", COUNTS, "sNNNNNNNNNNNN"),
    ("TOTALS", "name value", "sN"),
    (
        "USERS",
        "name pool_size reserve_pool_size pool_mode max_user_connections current_connections max_user_client_connections \
         current_client_connections",
        "ssssiiii",
    ),
    ("VERSION", "version", "s"),
];
const SOCKETS: &str = "type user database replication state addr port local_addr local_port connect_time request_time wait wait_us \
     close_needed ptr link remote_pid tls application_name prepared_statements";
const BUFFERS: &str = "type user database replication state addr port local_addr local_port connect_time request_time wait wait_us \
     close_needed ptr link remote_pid tls application_name prepared_statements id recv_pos pkt_pos pkt_remain send_pos send_remain pkt_avail \
     send_avail";
/// Numbers of server connections are larger than PgBouncer's, and so may the memory be.
const BUFFER_TYPES: &str = "ssssssisissiiississiqiiiiiii";
const SOCKET_TYPES: &str = "ssssssisissiiississi";
const COUNTS: &str = "database server_assignment_count xact_count query_count bytes_received bytes_sent xact_time query_time wait_time \
     client_parse_count server_parse_count bind_count client_login_count";

fn world(label: &str, general: &str) -> Sharded {
    Sharded::create_as(label, &format!("{GENERAL}{general}"), USERS)
}

fn console(world: &Sharded, user: &str) -> Raw {
    Raw::connect(world.router.port, user, "pgloom").unwrap()
}

/// The row of STATS of the test's database.
fn stats(console: &mut Raw, world: &Sharded) -> BTreeMap<String, u64> {
    let rows = console.named("SHOW STATS");
    let row = rows.into_iter().find(|row| row["database"] == world.db.name).unwrap();
    row.into_iter().filter_map(|(name, value)| Some((name, value.parse().ok()?))).collect()
}

#[test]
fn everything_that_help_names_is_shown_in_both_protocols_and_formats() {
    let world = world("consoleshow", "");
    world.connect().must("SELECT count(*) FROM items");
    let mut raw = console(&world, "watch");
    assert!(raw.parameters["server_version"].ends_with("/pgloom"));
    let shows: Vec<String> = raw.values("SHOW HELP").into_iter().filter(|row| row.starts_with("SHOW ")).collect();
    for (name, ..) in PGBOUNCER {
        assert!(shows.contains(&format!("SHOW {name}")), "{name} is not in {shows:?}");
    }
    for sql in &shows {
        let simple = raw.must(sql);
        assert_eq!(simple.answers[0].tag.as_deref(), Some("SHOW"), "{sql}");
        let columns = simple.answers[0].columns.clone().unwrap();
        if let Some((_, names, types)) = PGBOUNCER.iter().find(|(name, ..)| *sql == format!("SHOW {name}")) {
            let names: Vec<&str> = names.split_whitespace().collect();
            let ours: Vec<&str> = columns.iter().map(|column| column.name.as_str()).take(names.len()).collect();
            assert_eq!(ours, names, "{sql}");
            for (column, kind) in columns.iter().zip(types.chars()) {
                let expected = match kind {
                    's' => (TEXT, -1),
                    'i' => (INT4, 4),
                    'q' => (INT8, 8),
                    _ => (NUMERIC, -1),
                };
                assert_eq!((column.type_oid, column.type_len), expected, "{sql}: {}", column.name);
            }
        }
        assert!(columns.iter().all(|column| [TEXT, INT4, INT8, NUMERIC].contains(&column.type_oid)), "{sql}");
        // The same columns, and cells of the same types, in the extended protocol.
        for format in [0, 1] {
            let extended = raw.extended(&format!("{sql};"), &[], &[], format);
            assert_eq!(extended.code(), "", "{sql}: {}", extended.text());
            let answer = &extended.answers[0];
            let described = answer.columns.as_ref().unwrap();
            let plain = |columns: &[support::raw::Column]| {
                columns.iter().map(|column| (column.name.clone(), column.type_oid)).collect::<Vec<_>>()
            };
            assert_eq!(plain(described), plain(&columns), "{sql}");
            assert!(described.iter().all(|column| column.format == format), "{sql}");
            for row in &answer.rows {
                for (cell, column) in row.iter().zip(described) {
                    if let (Some(cell), INT4, 1) = (cell, column.type_oid, format) {
                        assert_eq!(cell.len(), 4, "{sql}: {}", column.name);
                    }
                }
            }
        }
    }
    // Whatever is shown, a password is not.
    let all: String = shows.iter().map(|sql| raw.must(sql).text()).collect();
    assert!(all.contains("watch") && !all.contains("t0p secret"));
    let config = raw.named("SHOW CONFIG");
    let setting = |key: &str| config.iter().find(|row| row["key"] == key).unwrap();
    assert_eq!(setting("stats_users")["value"], "watch");
    assert_eq!((&*setting("max_client_conn")["value"], &*setting("max_client_conn")["default"]), ("1000", "1000"));
    // Sessions see the same rows, of their own.
    let mut session = world.connect();
    let own = session.named("SHOW pgloom.shard_pools");
    assert_eq!(own.len(), raw.named("SHOW SHARD_POOLS").len());
    assert_eq!(own[0].keys().collect::<Vec<_>>(), raw.named("SHOW SHARD_POOLS")[0].keys().collect::<Vec<_>>());
    assert_eq!(session.simple("SHOW pgloom.clients").code(), "42704");
    let binary = session.extended("SHOW pgloom.shards", &[], &[], 1);
    assert_eq!(binary.answers[0].rows[2][1].as_deref(), Some(&2_i32.to_be_bytes()[..]), "{binary:?}");
}

#[test]
fn the_numbers_are_those_of_what_was_done() {
    let world = world("consolenumbers", "default_pool_size = 1");
    let mut raw = console(&world, "watch");
    let mut client = Raw::connect_with(
        world.router.port,
        &[("user", "postgres"), ("database", &world.db.name), ("application_name", "numbers")],
        None,
    )
    .unwrap();
    let one = format!("SELECT n FROM items WHERE id = {}", world.id(1, 0));
    // The next console command comes behind what the sessions have added up.
    client.must("SELECT 1");
    let before = stats(&mut raw, &world);
    for _ in 0..5 {
        client.must(&one);
    }
    client.must("BEGIN");
    client.must(&one);
    client.must("SELECT pg_sleep(0.05)");
    client.must("COMMIT");
    let parameter = Value::text(&world.id(1, 0).to_string());
    for _ in 0..3 {
        let batch = [
            m::parse("", "SELECT n FROM items WHERE id = $1", &[23]),
            m::bind("", "", std::slice::from_ref(&parameter), &[0]),
            m::execute("", 0),
            m::sync(),
        ];
        assert_eq!(client.exchange(&batch.concat(), None).code(), "");
    }
    client.must("SELECT count(*) FROM items");
    let mut after = BTreeMap::new();
    eventually(10, "all is counted", || {
        after = stats(&mut raw, &world);
        after["total_query_count"] >= before["total_query_count"] + 13
    });
    let grown = |name: &str| after[name] - before[name];
    assert_eq!(grown("total_query_count"), 13);
    // Five alone, one block, three batches, one over all shards.
    assert_eq!(grown("total_xact_count"), 10);
    // One each, two shards in the block, four for the count.
    assert_eq!(grown("total_server_assignment_count"), 5 + 2 + 3 + 4);
    assert_eq!((grown("total_client_parse_count"), grown("total_bind_count")), (3, 3));
    assert_eq!(grown("total_server_parse_count"), 1, "the text is prepared once");
    assert_eq!(grown("total_client_login_count"), 0);
    let sent: u64 = 13 * 6;
    assert!(grown("total_received") > 13 * 10 && grown("total_sent") > sent, "{after:?}");
    assert!((50_000..10_000_000).contains(&grown("total_query_time")), "{}", grown("total_query_time"));
    assert!(grown("total_xact_time") >= grown("total_query_time"), "a block has pauses between its statements");
    // Who waits is seen to wait, and for how long.
    client.must("BEGIN");
    client.must(&one);
    let mut second = world.connect();
    second.send(&m::query(&one)).unwrap();
    let mut waits = BTreeMap::new();
    eventually(10, "a client waits", || {
        let rows = raw.named("SHOW POOLS");
        waits = rows.into_iter().find(|row| row["user"] == "postgres").unwrap();
        waits["cl_waiting"] == "1" && waits["maxwait_us"] != "0"
    });
    assert_eq!((&*waits["cl_active"], &*waits["sv_active"]), ("1", "1"), "{waits:?}");
    let of_shard = raw.named("SHOW SHARD_POOLS").into_iter().find(|row| row["shard"] == "s1").unwrap();
    assert_eq!((&*of_shard["cl_waiting"], &*of_shard["sv_active"], &*of_shard["pool_size"]), ("1", "1", "1"));
    let clients = raw.named("SHOW CLIENTS");
    let of = |name: &str| clients.iter().find(|row| row["application_name"] == name).unwrap();
    let holder = of("numbers");
    assert_eq!((&*holder["state"], &*holder["id"]), ("active", &*client.key.0.to_string()), "{holder:?}");
    assert_eq!(of("")["state"], "waiting");
    let servers = raw.named("SHOW SERVERS");
    let held = servers.iter().find(|row| row["state"] == "active").unwrap();
    assert_eq!((&held["link"], &holder["link"]), (&holder["ptr"], &held["ptr"]));
    assert_eq!((&*held["shard"], &*held["application_name"]), ("s1", "numbers"));
    let pid = world.db.shard(1).value(&format!(
        "SELECT pid FROM pg_stat_activity WHERE datname = '{}' AND state = 'idle in transaction'",
        world.db.name
    ));
    assert_eq!(held["remote_pid"], pid);
    client.must("COMMIT");
    second.read_to_ready().unwrap();
    eventually(10, "the wait is counted", || stats(&mut raw, &world)["total_wait_time"] > before["total_wait_time"]);
    let lists: BTreeMap<String, String> =
        raw.named("SHOW LISTS").into_iter().map(|row| (row["list"].clone(), row["items"].clone())).collect();
    assert_eq!(["databases", "users", "pools", "used_clients"].map(|list| &*lists[list]), ["1", "3", "1", "2"]);
    assert_eq!(lists["used_servers"].parse::<usize>().unwrap(), raw.named("SHOW SERVERS").len());
    assert!(lists.contains_key("login_clients"));
    // Servers have addresses here, no names.
    for list in ["peers", "peer_pools", "dns_names", "dns_zones", "dns_queries", "dns_pending"] {
        assert_eq!(lists[list], "0", "{list}");
    }
    assert!(raw.named("SHOW DNS_HOSTS").is_empty() && raw.named("SHOW DNS_ZONES").is_empty());
}

#[test]
fn a_client_that_is_killed_is_gone_and_so_is_its_work() {
    let world = world("consolekill", "");
    let mut raw = console(&world, "ops");
    // In the middle of a statement on one shard, and on all.
    let one = format!("SELECT n FROM items WHERE id = {}", world.id(2, 0));
    for (sql, shards) in [(&*one, &[2][..]), ("SELECT id, n FROM items ORDER BY id", &[0, 1, 2, 3])] {
        let _locks = world.lock(shards);
        let mut client = world.connect();
        client.send(&m::query(sql)).unwrap();
        eventually(20, "it runs", || shards.iter().all(|shard| world.waiting(*shard) == 1));
        let start = Instant::now();
        raw.must(&format!("KILL_CLIENT {}", client.key.0));
        let error = client.read().unwrap();
        assert_eq!((error.tag, error.report().code()), (b'E', "57P01"), "{error:?}");
        assert!(client.read().is_err(), "the connection is closed");
        assert!(start.elapsed() < Duration::from_secs(20));
        eventually(20, "nothing runs any more", || shards.iter().all(|shard| world.waiting(*shard) == 0));
    }
    // Idle in a block, with a batch that has no Sync, and waiting for a connection.
    let mut block = world.connect();
    block.must(&format!("BEGIN; UPDATE items SET n = 7 WHERE id = {}", world.id(0, 0)));
    let mut batch = world.connect();
    batch.send(&[m::parse("", "SELECT 1", &[]), m::flush()].concat()).unwrap();
    assert_eq!(batch.read().unwrap().tag, b'1');
    for mut client in [block, batch] {
        raw.must(&format!("KILL_CLIENT {}", client.key.0));
        assert_eq!(client.read().unwrap().report().code(), "57P01");
    }
    eventually(10, "they are gone", || raw.named("SHOW CLIENTS").is_empty());
    assert_eq!(world.db.shard(0).value("SELECT max(n) FROM items"), "0", "what it wrote is rolled back");
    let none = raw.simple("KILL_CLIENT 4711");
    assert_eq!(none.code(), "42704", "{}", none.text());
    assert!(world.router.log_text().contains("console command"));
}

#[test]
fn databases_are_disabled_killed_and_reconnected() {
    let world = world("consoledb", "");
    let name = &world.db.name;
    let mut raw = console(&world, "ops");
    let mut client = world.connect();
    raw.must(&format!("DISABLE {name}"));
    let refused = Raw::connect(world.router.port, "postgres", name).unwrap_err();
    assert!(refused.contains("is not currently accepting connections") && refused.starts_with("55000"), "{refused}");
    assert!(raw.named("SHOW DATABASES").iter().all(|row| row["disabled"] == "1"));
    client.must("SELECT 1");
    raw.must(&format!("ENABLE \"{name}\""));
    world.connect().must("SELECT 1");
    // New server connections, and those in use when they come back.
    let pid =
        |client: &mut Raw| client.value(&format!("SELECT pg_backend_pid() FROM items WHERE id = {}", world.id(1, 0)));
    let first = pid(&mut client);
    assert_eq!(pid(&mut client), first);
    client.must("BEGIN");
    assert_eq!(pid(&mut client), first);
    raw.must("RECONNECT");
    assert_eq!(pid(&mut client), first, "a transaction keeps its connection");
    let servers = raw.named("SHOW SERVERS");
    assert!(servers.iter().all(|row| row["close_needed"] == "1"), "{servers:?}");
    raw.send(&m::query(&format!("WAIT_CLOSE {name}"))).unwrap();
    raw.set_patience(Duration::from_millis(300));
    assert!(raw.read().is_err(), "it waits for the transaction");
    raw.set_patience(Duration::from_secs(60));
    client.must("COMMIT");
    assert_eq!(raw.read_to_ready().unwrap()[0].body, b"WAIT_CLOSE\0");
    assert_ne!(pid(&mut client), first);
    // All of them.
    let _locks = world.lock(&[0, 3]);
    client.send(&m::query("SELECT id, n FROM items ORDER BY id")).unwrap();
    eventually(20, "it runs", || world.waiting(0) + world.waiting(3) == 2);
    raw.must(&format!("KILL {name}"));
    assert_eq!(client.read().unwrap().report().code(), "57P01");
    eventually(20, "nothing runs any more", || world.waiting(0) + world.waiting(3) == 0);
    // Who comes now waits until somebody has said RESUME.
    let mut next = world.connect();
    next.send(&m::query("SELECT 1")).unwrap();
    next.set_patience(Duration::from_millis(300));
    assert!(next.read().is_err(), "it waits");
    next.set_patience(Duration::from_secs(60));
    raw.must(&format!("RESUME {name}"));
    assert!(next.read_to_ready().unwrap().iter().any(|message| message.tag == b'D'));
    assert_eq!(raw.simple(&format!("RESUME {name}")).code(), "55000");
    for command in ["DISABLE", "ENABLE", "KILL", "RECONNECT", "WAIT_CLOSE"] {
        assert_eq!(raw.simple(&format!("{command} nowhere")).code(), "3D000", "{command}");
    }
}

#[test]
fn who_may_only_look_changes_nothing_and_others_see_no_console() {
    let world = world("consoleroles", "");
    let name = &world.db.name;
    let mut watch = console(&world, "watch");
    let mut client = world.connect();
    let pid = client.key.0;
    let commands: Vec<String> = watch
        .named("SHOW HELP")
        .into_iter()
        .filter(|row| row["access"] == "admin")
        .map(|row| {
            row["command"].replace("[", "").replace("]", "").replace("database", name).replace("id", &pid.to_string())
        })
        .collect();
    assert!(commands.len() >= 6, "{commands:?}");
    let servers = || {
        world.connect().named("SHOW pgloom.shard_pools").iter().map(|row| row["sv_idle"].clone()).collect::<Vec<_>>()
    };
    let before = servers();
    for sql in &commands {
        for reply in [watch.simple(sql), watch.extended(sql, &[], &[], 0)] {
            assert_eq!(reply.code(), "42501", "{sql}: {}", reply.text());
        }
    }
    assert_eq!(servers(), before, "no connection was closed");
    client.must("SELECT 1");
    world.connect().must("SELECT 1");
    // Whoever is nobody here is told what is told of a database that does not exist.
    let told = |database: &str| Raw::connect(world.router.port, "postgres", database).unwrap_err();
    for alias in ["pgloom", "pgbouncer", "pgcat", "admin"] {
        assert_eq!(told(alias).replace(alias, "?"), told("nowhere").replace("nowhere", "?"));
        Raw::connect(world.router.port, "ops", alias).unwrap().must("SHOW VERSION");
    }
    // And the console's own users get into nothing else.
    let refused = Raw::connect(world.router.port, "ops", name).unwrap_err();
    assert!(refused.contains("may not connect"), "{refused}");
}

#[test]
fn nonsense_is_answered_as_by_postgres() {
    let world = world("consolenonsense", "");
    let mut raw = console(&world, "ops");
    for (sql, code) in [("SELECT 1", "42601"), ("SHOW NOTHING", "42704"), ("SHOW STATS; SHOW STATS", "42601")] {
        assert_eq!(raw.simple(sql).code(), code);
        assert_eq!(raw.extended(sql, &[], &[], 0).code(), code);
    }
    assert_eq!(raw.must(";").answers[0].tag.as_deref(), Some(""));
    assert_eq!(raw.must("-- ping").answers[0].tag.as_deref(), Some(""));
    // A portal in pieces.
    let batch = [
        m::parse("lists", "SHOW LISTS", &[]),
        m::bind("p", "lists", &[], &[1]),
        m::describe(b'S', "lists"),
        m::execute("p", 3),
        m::execute("p", 0),
        m::execute("p", 0),
        m::close(b'S', "lists"),
        m::sync(),
    ];
    raw.send(&batch.concat()).unwrap();
    let tags: String = raw.read_to_ready().unwrap().iter().map(|message| char::from(message.tag)).collect();
    assert_eq!(tags, "12tTDDDsDDDDDDDDDDDCC3Z");
    // Values, unknown names, skipped messages.
    let parameter = raw.extended("SHOW LISTS", &[25], &[Value::text("x")], 0);
    assert_eq!(parameter.code(), "08P01", "{}", parameter.text());
    let batch = [m::bind("", "none", &[], &[]), m::execute("", 0), m::sync()];
    assert_eq!(raw.exchange(&batch.concat(), None).code(), "26000");
    assert_eq!(raw.exchange(&[m::execute("none", 0), m::sync()].concat(), None).code(), "34000");
    raw.must("SHOW VERSION");
    for bytes in [
        m::frame(b'?', b""),
        [b"Q".to_vec(), u32::MAX.to_be_bytes().to_vec()].concat(),
        m::frame(b'Q', &[b'x'; 70_000]),
    ] {
        let mut other = console(&world, "ops");
        other.send(&bytes).unwrap();
        let error = other.read().unwrap();
        assert_eq!((error.tag, &error.report().0[&'S'][..]), (b'E', "FATAL"), "{error:?}");
        assert!(other.read().is_err());
    }
}

/// The rows of SOCKETS are those of CLIENTS and SERVERS, and tell who does not take its answer.
#[test]
fn sockets_memory_and_peers_are_shown() {
    let world = world("consolesockets", "peers = [\"127.0.0.1:1\"]\n");
    let mut busy = world.connect();
    busy.must(&format!("BEGIN; SELECT * FROM items WHERE id = {}", world.id(1, 0)));
    let _resting = world.connect();
    let mut raw = console(&world, "watch");
    let of = |raw: &mut Raw, what: &str| raw.named(&format!("SHOW {what}"));
    let count = |rows: &[BTreeMap<String, String>], kind: &str| rows.iter().filter(|row| row["type"] == kind).count();
    eventually(10, "those who are gone are not shown", || of(&mut raw, "CLIENTS").len() == 2);
    let sockets = of(&mut raw, "SOCKETS");
    let servers = of(&mut raw, "SERVERS");
    assert_eq!((count(&sockets, "C"), count(&sockets, "S")), (2, servers.len()));
    for row in sockets.iter().filter(|row| row["type"] == "S") {
        let server = servers.iter().find(|server| server["id"] == row["id"]).unwrap();
        assert!(server.iter().all(|(column, value)| row.get(column) == Some(value)), "{row:?} {server:?}");
    }
    let active = of(&mut raw, "ACTIVE_SOCKETS");
    assert_eq!((count(&active, "C"), count(&active, "S")), (1, 1), "{active:?}");
    assert_eq!(active[0]["link"], active[1]["ptr"]);
    assert!(sockets.iter().all(|row| row["send_avail"] == "0"));
    // By the numbers that the kernel has for them; nothing that is secret.
    let fds = of(&mut raw, "FDS");
    assert_eq!(fds.len(), sockets.len());
    let end = |row: &BTreeMap<String, String>| (row["addr"].clone(), row["port"].clone());
    for row in &fds {
        let file = std::fs::read_link(format!("/proc/{}/fd/{}", world.router.pid(), row["fd"])).unwrap();
        assert!(file.to_str().unwrap().starts_with("socket:"), "{row:?}: {file:?}");
        let socket = sockets.iter().find(|socket| end(socket) == end(row));
        let kind = if socket.unwrap_or_else(|| panic!("{row:?}"))["type"] == "C" { "client" } else { "server" };
        assert_eq!((&*row["task"], row.contains_key("cancel"), row.contains_key("password")), (kind, false, false));
    }
    let numbers: BTreeSet<&String> = fds.iter().map(|row| &row["fd"]).collect();
    assert_eq!(numbers.len(), fds.len(), "{fds:?}");
    let linked: Vec<_> = fds.iter().filter(|row| row["link"] != "0").collect();
    assert_eq!(linked.len(), 2, "{fds:?}");
    assert_eq!((&linked[0]["fd"], &linked[0]["link"]), (&linked[1]["link"], &linked[1]["fd"]));
    assert_eq!((&*linked[0]["user"], &*linked[0]["database"]), ("postgres", &*world.db.name));
    let mut stalled = world.connect();
    stalled.send(&m::query("SELECT repeat(body, 1000) FROM plain, generate_series(1, 200000)")).unwrap();
    // Of what was read last, the kernel took all but a part, and that part is of any size.
    eventually(20, "somebody does not take its answer", || {
        of(&mut raw, "ACTIVE_SOCKETS")
            .iter()
            .any(|row| row["type"] == "C" && row["send_avail"].parse::<u32>().unwrap() > 0)
    });
    drop(stalled);
    let memory = of(&mut raw, "MEM");
    let row = |name: &str| memory.iter().find(|row| row["name"] == name).unwrap();
    let number = |name: &str, column: &str| row(name)[column].parse::<u64>().unwrap();
    for name in ["client_cache", "server_cache", "pool_cache", "plan_cache"] {
        assert!(number(name, "used") > 0 && number(name, "size") > 100, "{memory:?}");
        assert!(number(name, "memtotal") >= number(name, "used") * number(name, "size"), "{memory:?}");
    }
    // The default of memory_limit is 1 GiB, in steps of 64 KiB.
    assert_eq!(number("statements", "used") + number("statements", "free"), 16_384, "{memory:?}");
    assert!(of(&mut raw, "PEERS").is_empty(), "it does not answer");
    let text = world.router.config_text();
    let other = Router::start(&format!(
        "{}\n",
        text.replace(&format!("port = {}\n", world.router.port), "port = {port}\n")
            .replace(&format!("\"127.0.0.1:{}\"", world.router.http_port), "\"127.0.0.1:{http_port}\"")
    ));
    let pipe = Pipe::start(other.port);
    let peers = text.replace("127.0.0.1:1\"", &format!("127.0.0.1:{}\"", pipe.port));
    assert_eq!(world.router.reload(&peers), "applied");
    eventually(20, "the other router", || !of(&mut raw, "PEERS").is_empty());
    let peers = of(&mut raw, "PEERS");
    assert_eq!((&*peers[0]["host"], &*peers[0]["port"]), ("127.0.0.1", &*pipe.port.to_string()));
    // It is the number in its clients' process ids.
    let theirs = other.connect(&world.db.name);
    assert_eq!(pgloom::ids::RouterNumber::of(theirs.key.0).unwrap().get().to_string(), peers[0]["peer_id"]);
    // A cancel request that is on its way there.
    let to_it = |raw: &mut Raw| {
        let rows = of(raw, "PEER_POOLS");
        assert_eq!((rows.len(), &rows[0]["peer_id"]), (1, &peers[0]["peer_id"]));
        assert_eq!((&*rows[0]["cl_waiting_cancel_req"], &*rows[0]["sv_login"]), ("0", "0"));
        (rows[0]["cl_active_cancel_req"].clone(), rows[0]["sv_active_cancel"].clone())
    };
    let count = |number: u8| (number.to_string(), number.to_string());
    assert_eq!(to_it(&mut raw), count(0));
    pipe.cut();
    let ((pid, secret), port) = (theirs.key.clone(), world.router.port);
    let asks = std::thread::spawn(move || cancel(port, pid, &secret));
    eventually(10, "it is on its way", || to_it(&mut raw) == count(1));
    pipe.mend();
    asks.join().unwrap();
    assert_eq!(to_it(&mut raw), count(0));
}

/// What pgbouncer_exporter asks, over the simple protocol, with the columns that it reads as numbers (the others are its labels), as
/// its documentation and PgBouncer's have them.
#[test]
fn an_exporter_for_pgbouncer_finds_what_it_reads() {
    let world = world("consoleexporter", "");
    world.connect().must("BEGIN; UPDATE items SET n = n + 1; COMMIT");
    let _waits = world.connect();
    let parameters = [
        ("user", "watch"),
        ("database", "pgbouncer"),
        ("extra_float_digits", "2"),
        ("client_encoding", "UTF8"),
        ("datestyle", "ISO, MDY"),
    ];
    let mut raw = Raw::connect_with(world.router.port, &parameters, None).unwrap();
    let numbers = [
        (
            "databases",
            "name host port database pool_mode",
            "pool_size max_connections current_connections paused disabled",
        ),
        (
            "pools",
            "database user",
            "cl_active cl_active_cancel_req cl_waiting cl_waiting_cancel_req sv_active sv_active_cancel sv_being_canceled sv_idle \
             sv_used sv_tested sv_login maxwait",
        ),
        (
            "stats_totals",
            "database",
            "query_count query_time bytes_received bytes_sent wait_time xact_count xact_time client_parse_count \
             server_parse_count bind_count",
        ),
        (
            "stats",
            "database",
            "total_query_count total_query_time total_received total_sent total_wait_time total_xact_count total_xact_time \
             avg_query_count avg_query_time avg_recv avg_sent avg_wait_time avg_xact_count avg_xact_time",
        ),
    ];
    for (what, labels, columns) in numbers {
        let rows = raw.named(&format!("SHOW {what};"));
        assert!(!rows.is_empty(), "{what}");
        let mut series = Vec::new();
        for row in &rows {
            for column in columns.split_whitespace() {
                let value = row.get(column).unwrap_or_else(|| panic!("{what} has no {column}: {row:?}"));
                assert!(value.parse::<f64>().is_ok_and(|value| value >= 0.0), "{what} {column}: {value}");
            }
            let labels: Vec<&String> = labels.split_whitespace().map(|label| &row[label]).collect();
            series.push(labels);
        }
        // One row for each series: Prometheus takes no two of the same labels.
        let count = series.len();
        series.sort();
        series.dedup();
        assert_eq!(series.len(), count, "{what}: {rows:?}");
    }
    let lists: BTreeMap<String, String> =
        raw.named("SHOW LISTS;").into_iter().map(|row| (row["list"].clone(), row["items"].clone())).collect();
    for list in
        ["databases", "users", "pools", "free_clients", "used_clients", "login_clients", "free_servers", "used_servers"]
    {
        assert!(lists[list].parse::<f64>().is_ok(), "{lists:?}");
    }
    assert_eq!((&*lists["databases"], &*lists["used_clients"]), ("1", "1"), "{lists:?}");
    // Of four columns it takes the second as the value.
    let config = raw.must("SHOW CONFIG;");
    assert_eq!(config.answers[0].columns.as_ref().unwrap().len(), 4);
    let limit = raw.named("SHOW CONFIG;").into_iter().find(|row| row["key"] == "max_client_conn").unwrap();
    assert_eq!(limit["value"].parse::<f64>(), Ok(1000.0));
    assert!(raw.value("SHOW VERSION;").starts_with("pgloom "));
}

#[test]
fn psql_and_a_driver_use_it() {
    let world = world("consoledrivers", "");
    world.connect().must("SELECT count(*) FROM items");
    let psql = |user: &str, sql: &str| {
        let url = format!("host=127.0.0.1 port={} user={user} dbname=pgbouncer", world.router.port);
        let done = Command::new(postgres_bin().join("psql")).args(["-XAt", "-c", sql, &url]).output().unwrap();
        (done.status.success(), String::from_utf8(done.stdout).unwrap(), String::from_utf8(done.stderr).unwrap())
    };
    let (ok, rows, errors) = psql("watch", "SHOW POOLS");
    assert!(ok && rows.starts_with(&format!("{}|postgres|", world.db.name)), "{rows}{errors}");
    let (ok, _, errors) = psql("watch", "RECONNECT");
    assert!(!ok && errors.contains("permission denied for RECONNECT"), "{errors}");
    assert_eq!(psql("ops", "RECONNECT").1, "RECONNECT\n");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let config = format!("host=127.0.0.1 port={} user=watch dbname=pgloom", world.router.port);
        let (client, connection) = tokio_postgres::connect(&config, tokio_postgres::NoTls).await.unwrap();
        let connection = tokio::spawn(connection);
        let rows = client.query("SHOW POOLS", &[]).await.unwrap();
        assert_eq!((rows[0].get::<_, &str>("user"), rows[0].get::<_, i32>("cl_waiting")), ("postgres", 0));
        let rows = client.query("SHOW BREAKERS", &[]).await.unwrap();
        assert_eq!((rows.len(), rows[0].get::<_, i64>("failures")), (4, 0));
        let statement = client.prepare("SHOW SHARDS").await.unwrap();
        assert_eq!(client.query(&statement, &[]).await.unwrap().len(), 4);
        let error = client.execute("KILL", &[]).await.unwrap_err();
        assert_eq!(error.code().map(|code| code.code()), Some("42501"));
        let rows = client.simple_query("SHOW STATS").await.unwrap();
        let found = rows.iter().find_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => row.get("total_query_count").map(str::to_owned),
            _ => None,
        });
        assert!(found.unwrap().parse::<u64>().unwrap() > 0);
        drop(client);
        connection.await.unwrap().unwrap();
    });
}

#[test]
fn a_reload_is_for_operators_and_tells_what_is_wrong() {
    let world = world("consolereload", "");
    let (mut ops, mut watch) = (console(&world, "ops"), console(&world, "watch"));
    let mut client = world.connect();
    let config = std::fs::read_to_string(&world.router.config).unwrap();
    let value = |raw: &mut Raw, key: &str| {
        let rows = raw.named("SHOW CONFIG");
        rows.into_iter().find(|row| row["key"] == key).unwrap()
    };
    assert_eq!(value(&mut watch, "query_timeout")["changeable"], "yes");
    assert_eq!(value(&mut watch, "workers")["changeable"], "no");
    let write = |text: &str| std::fs::write(&world.router.config, text).unwrap();
    write(&config.replace("[general]\n", "[general]\nquery_timeout = \"11s\"\n"));
    assert_eq!(watch.simple("RELOAD").code(), "42501");
    assert_eq!(value(&mut watch, "query_timeout")["value"], "0");
    ops.must("RELOAD");
    assert_eq!(value(&mut watch, "query_timeout")["value"], "11s");
    assert_eq!(client.value("SELECT 1"), "1");
    assert_eq!(client.value("SHOW pgloom.query_timeout"), "11s");
    // Counts, and what was switched, are those of before.
    eventually(10, "the logins are counted", || stats(&mut watch, &world)["total_client_login_count"] == 2);
    ops.must(&format!("DISABLE {}", world.db.name));
    write(&config.replace("[general]\n", "[general]\nquery_timeout = \"soon\"\n"));
    let rejected = ops.simple("RELOAD");
    assert_eq!(rejected.code(), "F0000", "{}", rejected.text());
    assert!(rejected.text().contains("soon"), "{}", rejected.text());
    assert_eq!(value(&mut watch, "query_timeout")["value"], "11s");
    // Who is no operator any more is none at once.
    write(&config.replace("admin_users = [\"ops\"]", "admin_users = [\"watch\"]"));
    ops.must("RELOAD");
    assert_eq!(ops.simple("SHOW VERSION").code(), "57P01");
    assert!(watch.named("SHOW DATABASES").iter().all(|row| row["disabled"] == "1"));
    watch.must(&format!("ENABLE {}", world.db.name));
}

#[test]
fn a_pause_holds_new_work_back_until_it_is_taken_back() {
    let world = world("consolepause", "");
    let name = &world.db.name;
    let (mut ops, mut watch) = (console(&world, "ops"), console(&world, "watch"));
    let mut client = world.connect();
    client.must("BEGIN");
    client.must("SELECT count(*) FROM items");
    ops.send(&m::query(&format!("PAUSE {name}"))).unwrap();
    let paused = |watch: &mut Raw| watch.named("SHOW DATABASES").iter().all(|row| row["paused"] == "1");
    eventually(10, "it is paused", || paused(&mut watch));
    ops.set_patience(Duration::from_millis(300));
    assert!(ops.read().is_err(), "it waits for the transaction");
    ops.set_patience(Duration::from_secs(60));
    client.must("COMMIT");
    assert_eq!(ops.read_to_ready().unwrap()[0].body, b"PAUSE\0");
    client.send(&m::query("SELECT count(*) FROM items")).unwrap();
    client.set_patience(Duration::from_millis(300));
    assert!(client.read().is_err(), "new work waits");
    client.set_patience(Duration::from_secs(60));
    assert_eq!(watch.simple(&format!("RESUME {name}")).code(), "42501");
    ops.must(&format!("RESUME {name}"));
    assert!(client.read_to_ready().unwrap().iter().any(|message| message.tag == b'D'));
    assert!(!paused(&mut watch));
    ops.must(&format!("PAUSE {name} s1"));
    let rows = watch.named("SHOW DATABASES");
    assert!(rows.iter().all(|row| (row["paused"] == "1") == (row["shard"] == "s1")), "{rows:?}");
    ops.must("RESUME");
    assert_eq!(ops.simple("RESUME").code(), "55000");
    assert_eq!(ops.simple("PAUSE nowhere").code(), "3D000");
    assert_eq!(ops.simple(&format!("PAUSE {name} nowhere")).code(), "42704");
}

#[test]
fn what_clients_send_waits_while_the_router_is_suspended() {
    let world = world("consolesuspend", "query_wait_timeout = \"200ms\"\n");
    let (mut ops, mut watch) = (console(&world, "ops"), console(&world, "watch"));
    let state = |watch: &mut Raw| {
        let rows = watch.named("SHOW STATE");
        rows.iter().filter(|row| row["value"] == "yes").map(|row| row["key"].clone()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(watch.simple("SUSPEND").code(), "42501");
    let mut block = world.connect();
    block.must("BEGIN; INSERT INTO items VALUES (777001, 0, 'a')");
    let (mut hasty, mut hasty_block) = (world.connect(), world.connect());
    hasty.must("SET pgloom.query_timeout = '400ms'");
    hasty_block.must("SET pgloom.query_timeout = '400ms'; BEGIN; INSERT INTO items VALUES (777002, 0, 'b')");
    let mut busy = world.connect();
    busy.send(&m::query("SELECT pg_sleep(1.5), count(*) FROM items")).unwrap();
    eventually(10, "it runs", || watch.named("SHOW CLIENTS").iter().any(|row| row["state"] == "active"));
    ops.send(&m::query("SUSPEND")).unwrap();
    eventually(10, "it is suspended", || state(&mut watch) == "suspended");
    // What runs is not touched, and is waited for.
    assert_eq!(busy.read_to_ready().unwrap().iter().filter(|message| message.tag == b'D').count(), 1);
    assert_eq!(ops.read_to_ready().unwrap()[0].body, b"SUSPEND\0");
    // A transaction waits as well, longer than for a server; so do pipelines, and those who have come since.
    let mut fresh = world.connect();
    let mut piped = world.connect();
    block.send(&m::query("UPDATE items SET n = 5 WHERE id = 777001")).unwrap();
    fresh.send(&m::query("SELECT count(*) FROM items")).unwrap();
    piped
        .send(&[m::parse("", "SELECT 7", &[]), m::bind("", "", &[], &[]), m::execute("", 0), m::sync()].concat())
        .unwrap();
    for waiting in [&mut block, &mut fresh, &mut piped] {
        waiting.set_patience(Duration::from_millis(500));
        assert!(waiting.read().is_err(), "it waits");
        waiting.set_patience(Duration::from_secs(60));
    }
    // Who is not served can still go, and be sent away.
    let there = watch.named("SHOW CLIENTS").len();
    let mut gone = world.connect();
    gone.send(&m::query("SELECT 1")).unwrap();
    eventually(10, "it is there", || watch.named("SHOW CLIENTS").len() == there + 1);
    drop(gone);
    eventually(10, "it is gone", || watch.named("SHOW CLIENTS").len() == there);
    // Who cancels what waits is told at once, and what he sends then waits again.
    let (mut simple, mut extended, mut within) = (world.connect(), world.connect(), world.connect());
    let batch = |sql: &str| [m::parse("", sql, &[]), m::bind("", "", &[], &[]), m::execute("", 0), m::sync()].concat();
    let insert = "INSERT INTO plain VALUES (778, 'canceled')";
    simple.send(&m::query(insert)).unwrap();
    extended.send(&batch(insert)).unwrap();
    within.send(&[m::query("SELECT 1"), m::query("SELECT 2")].concat()).unwrap();
    for waiting in [&mut simple, &mut extended, &mut within] {
        let (pid, secret) = waiting.key.clone();
        waiting.set_patience(Duration::from_millis(300));
        assert!(waiting.read().is_err(), "it waits");
        waiting.set_patience(Duration::from_secs(60));
        let start = Instant::now();
        cancel(world.router.port, pid, &secret);
        let answers = waiting.read_to_ready().unwrap();
        let errors: Vec<_> =
            answers.iter().filter(|message| message.tag == b'E').map(|message| message.report()).collect();
        assert_eq!(errors.len(), 1, "{answers:?}");
        assert_eq!((errors[0].code(), errors[0].message()), ("57014", "canceling statement due to user request"));
        assert!(start.elapsed() < Duration::from_secs(5));
        waiting.set_patience(Duration::from_millis(300));
        assert!(waiting.read().is_err(), "what follows waits");
        waiting.set_patience(Duration::from_secs(60));
    }
    extended.send(&batch("SELECT 7")).unwrap();
    simple.send(&m::query("SELECT count(*) FROM plain WHERE id = 778")).unwrap();
    for waiting in [&mut simple, &mut extended] {
        waiting.set_patience(Duration::from_millis(300));
        assert!(waiting.read().is_err(), "it waits");
        waiting.set_patience(Duration::from_secs(60));
    }
    // The time of a statement counts as well, also of one in a block.
    for (hasty, status) in [(&mut hasty, b'I'), (&mut hasty_block, b'E')] {
        let start = Instant::now();
        hasty.send(&m::query("UPDATE items SET n = 6")).unwrap();
        let answers = hasty.read_to_ready().unwrap();
        let error = answers.iter().find(|message| message.tag == b'E').expect("an error").report();
        assert_eq!((error.code(), error.message()), ("57014", "canceling statement due to statement timeout"));
        assert_eq!(answers.last().unwrap().body, [status]);
        assert!((Duration::from_millis(400)..Duration::from_secs(5)).contains(&start.elapsed()));
    }
    // A block has failed then, as in Postgres.
    {
        let (pid, secret) = block.key.clone();
        cancel(world.router.port, pid, &secret);
        let answers = block.read_to_ready().unwrap();
        assert!(answers.iter().any(|message| message.tag == b'E' && message.report().code() == "57014"), "{answers:?}");
        assert_eq!(answers.last().unwrap().body, b"E");
    }
    assert_eq!(watch.simple("RESUME").code(), "42501");
    ops.must("RESUME");
    assert_eq!(block.must("ROLLBACK").status, b'I');
    block.must("BEGIN; INSERT INTO items VALUES (777001, 0, 'a')");
    block.send(&m::query("UPDATE items SET n = 5 WHERE id = 777001")).unwrap();
    for waiting in [&mut simple, &mut extended, &mut within] {
        let answers = waiting.read_to_ready().unwrap();
        assert!(answers.iter().all(|message| message.tag != b'E'), "{answers:?}");
        let shown: Vec<_> = answers.iter().filter(|message| message.tag == b'D').collect();
        assert_eq!(shown.len(), 1);
    }
    assert_eq!(simple.value("SELECT count(*) FROM plain WHERE id = 778"), "0");
    for waiting in [&mut block, &mut fresh, &mut piped] {
        let answers = waiting.read_to_ready().unwrap();
        assert!(answers.iter().all(|message| message.tag != b'E'), "{answers:?}");
    }
    block.must("COMMIT");
    assert_eq!(world.connect().value("SELECT n FROM items WHERE id = 777001"), "5");
    assert_eq!(state(&mut watch), "active");
    assert_eq!(ops.simple("RESUME").code(), "55000");
}

#[test]
fn who_sends_without_a_rest_is_suspended_too() {
    let world = world("consolerestless", "");
    let mut ops = console(&world, "ops");
    const SENT: usize = 30_000;
    let mut raw = world.connect();
    let mut reader = raw.second().unwrap();
    let answered = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        scope.spawn(move || raw.send(&m::query("SELECT 1").repeat(SENT)).map(|()| raw));
        scope.spawn(|| {
            while answered.load(Ordering::Relaxed) < SENT {
                let message = reader.read().unwrap();
                answered.fetch_add(usize::from(message.tag == b'Z'), Ordering::Relaxed);
            }
        });
        eventually(20, "it is at work", || answered.load(Ordering::Relaxed) > 0);
        ops.must("SUSPEND");
        std::thread::sleep(Duration::from_millis(300));
        let before = answered.load(Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(answered.load(Ordering::Relaxed), before);
        assert!(before < SENT, "it was stopped on its way");
        ops.must("RESUME");
    });
    // What is asked for without a Sync runs when the client rests: it is waited for, or waits.
    let mut resting = world.connect();
    let sql = "INSERT INTO plain SELECT 77, 'x' FROM pg_sleep(1)";
    resting.send(&[m::parse("", sql, &[]), m::bind("", "", &[], &[]), m::execute("", 0)].concat()).unwrap();
    let running = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND query LIKE '%pg_sleep(1)%'";
    let mut home = world.db.shard(0);
    eventually(10, "it runs", || home.value(running) == "1");
    ops.must("SUSPEND");
    assert_eq!(home.value(running), "0");
    ops.must("RESUME");
}

#[test]
fn a_setting_is_given_another_value_until_the_next_reload() {
    let world = world("consoleset", "query_timeout = \"30s\"\n");
    let mut ops = console(&world, "ops");
    let mut client = world.connect();
    let value = |raw: &mut Raw| raw.value("SHOW pgloom.query_timeout");
    assert_eq!(value(&mut client), "30s");
    assert_eq!(console(&world, "watch").simple("SET query_timeout = 1s").code(), "42501");
    let set = ops.must("SET query_timeout = 7s");
    assert_eq!(set.answers[0].tag.as_deref(), Some("SET"));
    assert!(set.notices.iter().any(|notice| notice.message().contains("until the next reload")), "{set:?}");
    eventually(5, "the session's limit", || value(&mut client) == "7s");
    // One more beside it, in the extended protocol.
    assert_eq!(ops.extended("SET max_client_conn TO '77'", &[], &[], 0).code(), "");
    let config = ops.named("SHOW CONFIG");
    let shown = |key: &str| config.iter().find(|row| row["key"] == key).unwrap()["value"].clone();
    assert_eq!((shown("query_timeout"), shown("max_client_conn")), ("7s".to_owned(), "77".to_owned()));
    // What is wrong changes nothing.
    for (sql, code) in [
        ("SET query_timeout = soon", "22023"),
        ("SET scatter_pool_share = 0", "22023"),
        ("SET no_such_setting = 1", "42704"),
        ("SET workers = 2", "55P02"),
        ("SET log_format = json", "55P02"),
        ("SET query_timeout", "42601"),
        ("SET application_name = 'a'; SHUTDOWN", "42601"),
    ] {
        let reply = ops.simple(sql);
        assert_eq!(reply.code(), code, "{sql}: {}", reply.text());
        assert!(reply.notices.is_empty(), "{sql}");
    }
    // It says what was wrong with what was said, and what is expected.
    let wrong = format!("{:?}", ops.simple("SET default_pool_size = -5").error.unwrap());
    assert!(wrong.contains("\\\"default_pool_size\\\" cannot be set to \\\"-5\\\""), "{wrong}");
    assert!(wrong.contains("SET default_pool_size: wrong value `-5`: expected a whole number from"), "{wrong}");
    assert!(!wrong.contains("environment"), "{wrong}");
    assert_eq!(value(&mut client), "7s");
    // The file has it back.
    ops.must("RELOAD");
    eventually(5, "the session's limit", || value(&mut client) == "30s");
    let config = ops.named("SHOW CONFIG");
    assert_eq!(config.iter().find(|row| row["key"] == "max_client_conn").unwrap()["value"], "1000");
    // A file that is half written is none of its business.
    let text = world.router.config_text();
    world.router.replace_config(&text.replace("query_timeout = \"30s\"", "query_timeout = \"3 parsecs\""));
    ops.must("SET log_connections = false");
    assert_eq!(ops.simple("RELOAD").code(), "F0000");
}

/// What PgBouncer does not have stands behind its columns: the limits of a database, and how sure its map is.
#[test]
fn limits_and_the_state_of_the_map_are_shown() {
    let users = format!("{USERS}max_user_client_connections = 9\n");
    let general = format!(
        "{GENERAL}pool_queue_size = 7\nkey_max_rate = 1000\nkey_max_concurrent = 11\nmax_server_connections = 50\n\
         max_db_client_connections = 33\n"
    );
    let world = Sharded::create_as("consolelimits", &general, &users);
    let mut raw = console(&world, "watch");
    let rows = raw.named("SHOW DATABASES");
    assert_eq!(rows.len(), support::SHARDS, "{rows:?}");
    for (key, value) in [
        ("pool_queue_size", "7"),
        ("key_max_rate", "1000"),
        ("key_max_concurrent", "11"),
        ("max_connections", "50"),
        ("max_client_connections", "33"),
    ] {
        assert!(rows.iter().all(|row| row[key] == value), "{key}: {rows:?}");
    }
    let users = raw.named("SHOW USERS");
    let most: Vec<_> = users.iter().map(|row| (&*row["name"], &*row["max_user_client_connections"])).collect();
    assert!(most.contains(&("watch", "9")) && most.contains(&("postgres", "0")), "{most:?}");
    // A map that stands in the file is that of the file, and never old.
    let rows = raw.named("SHOW MAP");
    assert!(rows.iter().any(|row| row["kind"] == "tokens" && row["shard"] == "s1"), "{rows:?}");
    for row in &rows {
        assert_eq!((&*row["source"], &*row["stale_seconds"], &*row["rejected"]), ("file", "0.000", "0"), "{row:?}");
    }
    // Without limits: 0.
    let text = world.router.config_text();
    assert_eq!(
        world.router.reload(&text.replace("pool_queue_size = 7\nkey_max_rate = 1000\nkey_max_concurrent = 11\n", "")),
        "applied"
    );
    let rows = raw.named("SHOW DATABASES");
    for key in ["pool_queue_size", "key_max_rate", "key_max_concurrent"] {
        assert!(rows.iter().all(|row| row[key] == "0"), "{key}: {rows:?}");
    }
}

/// What the process ended with, within so long.
fn ends(world: &mut Sharded, limit: Duration) -> Duration {
    let start = Instant::now();
    let status = world.router.wait(limit).unwrap_or_else(|| panic!("it still runs after {limit:?}"));
    assert!(status.success(), "{status}");
    start.elapsed()
}

#[test]
fn the_console_ends_the_router_at_once_or_when_others_have_done() {
    // At once: whoever is in a transaction is told, and what it did is undone.
    let mut world = self::world("shutnow", "");
    let mut client = world.connect();
    client.must("BEGIN; UPDATE items SET n = 5");
    let mut ops = console(&world, "ops");
    assert_eq!(console(&world, "watch").simple("SHUTDOWN").code(), "42501");
    assert_eq!(ops.must("SHUTDOWN").answers[0].tag.as_deref(), Some("SHUTDOWN"));
    assert!(ends(&mut world, Duration::from_secs(10)) < Duration::from_secs(8));
    assert_eq!(client.read().unwrap().report().code(), "57P01");
    assert_eq!(world.on_each("SELECT count(*) FROM items WHERE n = 5"), ["0"; 4]);

    // When transactions have ended; the operator who stays does not keep it.
    let mut world = self::world("shutservers", "shutdown_timeout = \"60s\"\n");
    let (mut client, mut idle) = (world.connect(), world.connect());
    client.must("BEGIN; UPDATE items SET n = 5");
    let mut ops = console(&world, "ops");
    ops.must("SHUTDOWN WAIT_FOR_SERVERS");
    assert_eq!(idle.read().unwrap().report().code(), "57P01");
    client.must("UPDATE items SET n = 6");
    client.must("COMMIT");
    ends(&mut world, Duration::from_secs(20));
    assert!(world.on_each("SELECT min(n) FROM items").iter().all(|n| n == "6"));

    // When the clients have left.
    let mut world = self::world("shutclients", "shutdown_timeout = \"60s\"\nshutdown_client_timeout = \"50s\"\n");
    let mut client = world.connect();
    let mut ops = console(&world, "ops");
    ops.must("SHUTDOWN WAIT_FOR_CLIENTS");
    eventually(5, "nobody is let in", || Raw::connect(world.router.port, "postgres", &world.db.name).is_err());
    client.must("SELECT count(*) FROM items");
    assert!(world.router.wait(Duration::from_millis(500)).is_none());
    drop(client);
    ends(&mut world, Duration::from_secs(20));
}

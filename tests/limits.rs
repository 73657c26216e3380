//! How much of the router each may have: clients of a user, statements over several shards, memory; and that who goes away leaves nothing.

#![allow(clippy::unwrap_used)]

mod support;

use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

use support::raw::{Raw, Value, message as m};
use support::{Router, Sharded, eventually};

fn metric(router: &Router, name: &str) -> f64 {
    let text = router.http("/metrics").1;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name}")).parse().unwrap()
}

fn refused(world: &Sharded, user: &str) -> Option<(String, String)> {
    Raw::connect(world.router.port, user, &world.db.name).err().map(|error| {
        let text = error.to_string();
        (text.get(..5).unwrap_or_default().to_owned(), text)
    })
}

#[test]
fn users_and_databases_have_as_many_clients_as_they_may() {
    let sections = "[[users]]\nname = \"postgres\"\n[[users]]\nname = \"guest\"\nserver_user = \"postgres\"\nmax_user_client_connections = 2\n";
    let world = Sharded::create_as("clients", "max_db_client_connections = 4", sections);
    // The clients that filled the tables have gone.
    eventually(10, "nobody is there", || metric(&world.router, "pgloom_clients") == 0.0);
    let guests = [(); 2].map(|()| Raw::connect(world.router.port, "guest", &world.db.name).unwrap());
    let (code, text) = refused(&world, "guest").unwrap();
    assert_eq!(code, "53300", "{text}");
    assert!(text.contains("too many connections for role \"guest\""), "{text}");
    let own = [(); 2].map(|()| world.connect());
    let (code, text) = refused(&world, "postgres").unwrap();
    assert_eq!(code, "53300", "{text}");
    assert!(text.contains(&format!("too many connections for database \"{}\"", world.db.name)), "{text}");
    drop(own);
    eventually(10, "there is room again", || refused(&world, "postgres").is_none());
    assert!(refused(&world, "guest").is_some());
    // Another limit holds at once, and sends nobody away.
    let text = world.router.config_text();
    assert_eq!(
        world.router.reload(&text.replace("max_user_client_connections = 2", "max_user_client_connections = 1")),
        "applied"
    );
    assert!(refused(&world, "guest").is_some());
    assert_eq!(
        world.router.reload(&text.replace("max_user_client_connections = 2", "max_user_client_connections = 0")),
        "applied"
    );
    assert!(refused(&world, "guest").is_none());
    for mut guest in guests {
        assert_eq!(guest.value("SELECT 1"), "1");
    }
}

/// Clients are connections, and so are servers: some files are left for these, and where there are none that is no fault of theirs.
#[test]
fn clients_do_not_take_all_files_that_the_process_may_open() {
    let world = Sharded::create("descriptors", "default_pool_size = 3\nadmin_users = [\"postgres\"]");
    let pid = Pid::from_raw(i32::try_from(world.router.pid()).unwrap()).unwrap();
    let limit_to = |files: u64| {
        let limit = Rlimit { current: Some(files), maximum: getrlimit(Resource::Nofile).maximum };
        prlimit(Some(pid), Resource::Nofile, limit).unwrap();
    };
    let opened = std::fs::read_dir(format!("/proc/{}/fd", world.router.pid())).unwrap().count() as u64;
    let mut raw = world.connect();
    limit_to(opened + 100);
    let mut clients = Vec::new();
    let (code, text) = loop {
        match Raw::connect(world.router.port, "postgres", &world.db.name) {
            Ok(client) => clients.push(client),
            Err(_) => break refused(&world, "postgres").expect("it has been refused"),
        }
        assert!(clients.len() < 200, "nobody is refused");
    };
    assert_eq!(code, "53300", "{text}");
    assert!(text.contains("files"), "{text}");
    assert_eq!(raw.value("SELECT count(*) FROM items"), "60");
    // None are left at all.
    world.router.connect("pgloom").must("RECONNECT");
    let opened = std::fs::read_dir(format!("/proc/{}/fd", world.router.pid())).unwrap().count() as u64;
    limit_to(opened / 2);
    let reply = raw.simple("SELECT count(*) FROM items");
    assert!(["53000", ""].contains(&reply.code()), "{reply:?}");
    limit_to(opened + 100);
    let states = world.router.connect("pgloom").must("SHOW BREAKERS").text();
    assert!(!states.contains("open"), "{states}");
    assert_eq!(raw.value("SELECT count(*) FROM items"), "60");
}

#[test]
fn statements_over_several_shards_leave_the_router_to_those_that_need_one() {
    let world = Sharded::create(
        "fanout",
        "scatter_max_requests = 6\nquery_wait_timeout = \"700ms\"\npool_queue_size = 1\ndefault_pool_size = 10",
    );
    let (mut first, mut second, mut third, mut point) =
        (world.connect(), world.connect(), world.connect(), world.connect());
    let all = "SELECT id, n FROM items ORDER BY id";
    let locks = world.lock(&[0]);
    first.send(&m::query(all)).unwrap();
    eventually(10, "the first one runs", || metric(&world.router, "pgloom_scatter_requests") == 4.0);
    let begun = Instant::now();
    second.send(&m::query(all)).unwrap();
    eventually(10, "the second one waits", || metric(&world.router, "pgloom_scatters_waiting") == 1.0);
    let crowded = third.simple(all);
    assert_eq!(crowded.code(), "53300");
    assert_eq!(crowded.error.as_ref().unwrap().message(), "too many clients wait for server connections");
    // Others are not held up.
    for _ in 0..5 {
        assert_eq!(point.value(&format!("SELECT n FROM items WHERE id = {}", world.id(1, 0))), "0");
    }
    let late = second.read_to_ready().unwrap();
    let error = late.iter().find(|message| message.tag == b'E').expect("an error").report();
    assert_eq!((error.code(), error.message()), ("53300", "query_wait_timeout"));
    assert!(begun.elapsed() > Duration::from_millis(650), "{:?}", begun.elapsed());
    assert!(error.to_string().contains("at 6 shards") || format!("{error:?}").contains("at 6 shards"), "{error:?}");
    // A statement over two shards has room; and once the first one is over, all have.
    let two = format!("SELECT count(*) FROM items WHERE id IN ({}, {})", world.id(1, 0), world.id(2, 0));
    assert_eq!(third.value(&two), "2");
    drop(locks);
    assert!(first.read_to_ready().unwrap().iter().all(|message| message.tag != b'E'));
    assert_eq!(second.value("SELECT count(*) FROM items"), "60");
    // A transaction that is somewhere already goes on.
    let locks = world.lock(&[0]);
    first.send(&m::query(all)).unwrap();
    eventually(10, "the first one runs", || metric(&world.router, "pgloom_scatter_requests") == 4.0);
    second.must(&format!("BEGIN; UPDATE items SET n = 1 WHERE id = {}", world.id(1, 0)));
    second.must(&format!(
        "SELECT count(*) FROM items WHERE id IN ({}, {}, {})",
        world.id(1, 0),
        world.id(2, 0),
        world.id(3, 0)
    ));
    second.must("ROLLBACK");
    // Another limit holds at once.
    let text = world.router.config_text();
    assert_eq!(world.router.reload(&text.replace("scatter_max_requests = 6", "scatter_max_requests = 0")), "applied");
    second.send(&m::query(all)).unwrap();
    eventually(10, "both run", || world.waiting(0) == 2);
    drop(locks);
    for client in [&mut first, &mut second] {
        assert!(client.read_to_ready().unwrap().iter().all(|message| message.tag != b'E'));
    }
    assert_eq!(metric(&world.router, "pgloom_scatter_requests"), 0.0);
}

/// Who waits for the share of the pools that statements over several shards have stands in a line, which has a bound, too.
#[test]
fn the_line_for_a_share_of_the_pools_has_an_end() {
    let world = Sharded::create(
        "shareline",
        "default_pool_size = 4\nscatter_pool_share = 50\nquery_wait_timeout = \"60s\"\npool_queue_size = 2",
    );
    let all = "SELECT id, n FROM items ORDER BY id";
    let (mut watch, mut late, mut point) = (world.connect(), world.connect(), world.connect());
    let begin = |(): ()| {
        let mut raw = world.connect();
        raw.send(&m::query(all)).unwrap();
        raw
    };
    let locks = world.lock(&[0]);
    let running = [(); 2].map(begin);
    eventually(20, "two have their share", || world.waiting(0) == 2);
    let in_line = [(); 2].map(begin);
    eventually(20, "two wait for it", || watch.named("SHOW pgloom.pools")[0]["cl_waiting"] == "2");
    let crowded = late.simple(all).error.expect("an error");
    assert_eq!((crowded.code(), crowded.message()), ("53300", "too many clients wait for server connections"));
    assert!(crowded.hint().contains("pool_queue_size") && crowded.hint().contains("scatter_pool_share"), "{crowded:?}");
    assert!(format!("{crowded:?}").contains("2 statements over several shards wait already"), "{crowded:?}");
    // A transaction that begins with such a statement has no other line.
    let block = late.simple(&format!("BEGIN; {all}")).error.expect("an error");
    assert_eq!(block.code(), "53300", "{block:?}");
    late.must("ROLLBACK");
    // Nobody of them keeps anybody from the rest of the pools.
    assert_eq!(point.value(&format!("SELECT n FROM items WHERE id = {}", world.id(1, 0))), "0");
    drop(locks);
    for mut raw in running.into_iter().chain(in_line) {
        assert!(raw.read_to_ready().unwrap().iter().all(|message| message.tag != b'E'));
    }
    // The line is empty again.
    assert_eq!(late.value("SELECT count(*) FROM items"), "60");
}

#[test]
fn all_statements_together_have_so_much_memory() {
    let world = Sharded::create("memory", "memory_limit = \"2MiB\"");
    let (mut one, mut other) = (world.connect(), world.connect());
    let held = || metric(&world.router, "pgloom_memory_held_bytes");
    assert_eq!((held(), metric(&world.router, "pgloom_memory_limit_bytes")), (0.0, 2_097_152.0));
    // A portal whose rows wait while something else runs.
    let suspend = |raw: &mut Raw, bytes: usize| {
        raw.must("BEGIN");
        let sql = format!("SELECT id, repeat('x', {bytes}) FROM items ORDER BY id");
        let batch = [m::parse("", &sql, &[]), m::bind("p", "", &[], &[]), m::execute("p", 1), m::sync()].concat();
        let reply = raw.exchange(&batch, None);
        assert!(reply.error.is_none(), "{reply:?}");
        raw.simple("SELECT count(*) FROM items")
    };
    assert!(suspend(&mut one, 20_000).error.is_none());
    assert!(held() > 1_000_000.0, "{}", held());
    let refused = suspend(&mut other, 20_000);
    assert_eq!(refused.code(), "53200", "{refused:?}");
    assert_eq!(refused.error.as_ref().unwrap().message(), "out of memory");
    other.must("ROLLBACK");
    // Whoever needs none goes on, whatever the size of its answer.
    assert_eq!(other.must("SELECT id, repeat('x', 100000) FROM items ORDER BY id").answers[0].rows.len(), 60);
    one.must("COMMIT");
    eventually(10, "it is given back", || held() == 0.0);
    assert!(suspend(&mut other, 20_000).error.is_none());
    other.must("COMMIT");
    // What is compared or grouped here does not fit.
    other.must("UPDATE items SET name = repeat(id::text, 40000)");
    for sql in ["SELECT DISTINCT name FROM items", "SELECT name, count(*) FROM items GROUP BY name"] {
        let refused = other.simple(sql);
        assert_eq!(refused.code(), "53200", "{sql}: {}", other.must(&format!("EXPLAIN (ROUTE) {sql}")).text());
        eventually(10, "it is given back", || held() == 0.0);
    }
    // A long message, too, before it is whole.
    let long = format!("SELECT '{}'", "x".repeat(3 << 20));
    let refused = one.simple(&long);
    assert_eq!(refused.code(), "53200", "{refused:?}");
    assert_eq!(other.must(&format!("SELECT length('{}')", "x".repeat(1 << 20))).answers[0].rows.len(), 1);
    other.must("SELECT 1");
    eventually(10, "it is given back", || held() == 0.0);
}

/// Sessions that keep all they may leave something for whoever comes next.
#[test]
fn prepared_statements_of_some_leave_memory_for_others() {
    let world = Sharded::create("share", "memory_limit = \"16MiB\"");
    let long = "x".repeat(100_000);
    let keep = |raw: &mut Raw, name: &str| {
        let sql = format!("SELECT n, '{long}' FROM items WHERE id = $1");
        raw.exchange(&[m::parse(name, &sql, &[]), m::sync()].concat(), None)
    };
    let mut greedy: Vec<Raw> = (0..5).map(|_| world.connect()).collect();
    for raw in &mut greedy {
        let refused = (0..400).find_map(|number| keep(raw, &format!("s{number}")).error).expect("it has no end");
        assert_eq!(refused.code(), "53200");
        assert!(refused.hint().contains("Close prepared statements"), "{refused:?}");
    }
    let mut neighbour = world.connect();
    let id = world.id(0, 0).to_string();
    let sql = "SELECT n FROM items WHERE id = $1";
    let batch =
        [m::parse("mine", sql, &[]), m::bind("", "mine", &[Value::text(&id)], &[]), m::execute("", 0), m::sync()];
    assert!(neighbour.exchange(&batch.concat(), None).error.is_none());
    // A message that is counted.
    let insert = format!("SELECT length('{}')", "y".repeat(300_000));
    assert_eq!(neighbour.value(&insert), "300000");
    // Who gives some back may keep others.
    greedy[0].must("DEALLOCATE ALL");
    assert!(keep(&mut greedy[0], "again").error.is_none());
}

#[test]
fn a_client_that_goes_away_leaves_no_work_behind() {
    let world = Sharded::create("gone", "default_pool_size = 4");
    let insert = format!(
        "INSERT INTO items SELECT id + 1000, 0, name FROM items WHERE id IN ({}, {})",
        world.id(0, 0),
        world.id(1, 0)
    );
    let cases: [(&str, Vec<u8>, &[usize]); 6] = [
        ("one shard", m::query(&format!("SELECT n FROM items WHERE id = {}", world.id(1, 0))), &[1]),
        ("a scatter", m::query("SELECT id, n FROM items ORDER BY id"), &[0, 1, 2, 3]),
        ("finished by a Postgres", m::query("SELECT count(*) FROM items a JOIN items b ON a.n = b.id"), &[1, 2, 3]),
        ("COPY TO", m::query("COPY items TO STDOUT"), &[0, 1, 2, 3]),
        ("a write over all shards", m::query("UPDATE items SET n = 1"), &[0, 1, 2, 3]),
        ("rows of one query to other shards", m::query(&insert), &[1]),
    ];
    for (what, bytes, shards) in cases {
        let mut raw = world.connect();
        let locks = world.lock(shards);
        raw.send(&bytes).unwrap();
        eventually(20, what, || shards.iter().any(|shard| world.waiting(*shard) > 0));
        drop(raw);
        eventually(20, &format!("nobody works on it: {what}"), || {
            shards.iter().all(|shard| world.waiting(*shard) == 0)
        });
        drop(locks);
    }
    // What the router asks itself, of the home shard.
    let mut raw = world.connect();
    raw.must("CREATE SEQUENCE numbers");
    let mut holder = world.db.shard(0);
    holder.must("BEGIN; ALTER SEQUENCE numbers INCREMENT BY 1");
    raw.send(&m::query("INSERT INTO items (id, n) VALUES (nextval('numbers'), 0), (nextval('numbers'), 0)")).unwrap();
    eventually(20, "a value is asked for", || world.waiting(0) == 1);
    drop(raw);
    eventually(20, "nobody asks any more", || world.waiting(0) == 0);
    holder.must("ROLLBACK");
    // Rows that are being copied in.
    let mut raw = world.connect();
    let locks = world.lock(&[0, 1, 2, 3]);
    raw.send(&m::query("COPY items FROM STDIN")).unwrap();
    eventually(20, "the shards have been asked", || (0..4).any(|shard| world.waiting(shard) > 0));
    drop(raw);
    eventually(20, "nobody copies", || (0..4).all(|shard| world.waiting(shard) == 0));
    drop(locks);
    // A transaction over several shards that was not committed is on none of them; the connections are free for others.
    let mut raw = world.connect();
    raw.must("BEGIN; UPDATE items SET n = 1");
    drop(raw);
    let mut others: Vec<Raw> = (0..3).map(|_| world.connect()).collect();
    for other in &mut others {
        other.must("BEGIN");
        assert_eq!(other.value("SELECT sum(n) FROM items"), "0");
    }
    assert_eq!(world.prepared(), Vec::<String>::new());
}

#[test]
fn a_client_that_does_not_read_a_long_answer_of_all_shards_gives_their_connections_back() {
    let world = Sharded::create("slowread", "client_write_timeout = \"500ms\"\ndefault_pool_size = 1");
    // With and without an order: rows that are merged, and rows that pass through.
    for sql in [
        "SELECT id, repeat('x', 1000000) FROM items ORDER BY id",
        "SELECT id, repeat('x', 1000000) FROM items",
        "COPY (SELECT id, repeat('x', 1000000) FROM items) TO STDOUT",
    ] {
        let mut slow = world.connect();
        slow.send(&m::query(sql)).unwrap();
        let mut other = world.connect();
        let begun = Instant::now();
        // It waits for all connections, which the slow one has.
        assert_eq!(other.value("SELECT count(*) FROM items"), "60");
        assert!(begun.elapsed() < Duration::from_secs(15), "{sql}: {:?}", begun.elapsed());
        let idle = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state = 'active' AND pid <> pg_backend_pid()";
        eventually(10, "no shard works on it", || world.on_each(idle).iter().all(|count| count == "0"));
        drop(slow);
    }
}

#[test]
fn one_value_of_the_key_has_as_many_statements_a_second_as_it_may() {
    let world = Sharded::create("pace", "");
    let general = world.router.config_text();
    let with = |lines: &str| general.replacen("[general]\n", &format!("[general]\n{lines}\n"), 1);
    assert_eq!(world.router.reload(&with("key_max_rate = 5")), "applied");
    let (mut raw, mut other) = (world.connect(), world.connect());
    let (busy, quiet) = (world.id(1, 0), world.id(1, 1));
    let select = |id: i32| format!("SELECT n FROM items WHERE id = {id}");
    // All forms of a statement count for one key, from whichever client.
    let bound = [
        m::parse("", "SELECT n FROM items WHERE id = $1", &[]),
        m::bind("", "", &[Value::text(&busy.to_string())], &[]),
        m::execute("", 0),
        m::sync(),
    ]
    .concat();
    raw.must(&select(busy));
    raw.must(&format!("UPDATE items SET n = 3 WHERE id = {busy}"));
    other.must(&format!("SELECT n FROM items a JOIN parts USING (id) WHERE id = {busy}"));
    assert!(other.exchange(&bound, None).error.is_none());
    let mut codes: Vec<String> = Vec::new();
    for _ in 0..6 {
        codes.push(raw.simple(&select(busy)).code().to_owned());
        codes.push(other.exchange(&bound, None).code().to_owned());
    }
    assert!(codes.iter().filter(|code| *code == "53400").count() >= 8, "{codes:?}");
    let refused = (0..20).map(|_| raw.simple(&select(busy))).find(|reply| reply.error.is_some()).unwrap();
    let error = refused.error.as_ref().unwrap();
    assert_eq!((error.code(), error.message()), ("53400", "too many statements for one value of the sharding key"));
    assert_eq!(refused.status, b'I');
    // However the one value is written.
    for condition in ["IN (ID)", "= ANY ('{ID}')", "= ANY (ARRAY[ID, ID])", "BETWEEN ID AND ID", "IN (ID, NULL)"] {
        let sql = format!("SELECT n FROM items WHERE id {}", condition.replace("ID", &busy.to_string()));
        let codes: Vec<String> = (0..20).map(|_| raw.simple(&sql).code().to_owned()).collect();
        assert!(codes.iter().any(|code| code == "53400"), "{sql}: {codes:?}");
    }
    // Other keys, and statements that name none, are not counted with it.
    assert_eq!(raw.value(&select(quiet)), "0");
    for _ in 0..10 {
        assert_eq!(raw.value("SELECT count(*) FROM items"), "60");
        assert_eq!(raw.value(&format!("SELECT count(*) FROM items WHERE id IN ({busy}, {quiet})")), "2");
    }
    // In a block it is an error like any other.
    raw.must("BEGIN");
    let in_block = (0..20).map(|_| raw.simple(&select(busy))).find(|reply| reply.error.is_some()).unwrap();
    assert_eq!((in_block.code(), in_block.status), ("53400", b'E'));
    raw.must("ROLLBACK");
    // With time to wait nobody fails, and the rate is kept.
    assert_eq!(world.router.reload(&with("key_max_rate = 5\nkey_wait_timeout = \"30s\"")), "applied");
    let begun = Instant::now();
    for _ in 0..10 {
        assert_eq!(raw.value(&select(busy)), "3");
    }
    assert!(begun.elapsed() > Duration::from_millis(900), "{:?}", begun.elapsed());
    let text = world.router.http("/metrics").1;
    for result in ["waited", "refused"] {
        assert!(text.contains(&format!("pgloom_key_throttled_total{{result=\"{result}\"}}")), "{result}");
    }
    // Without a limit nothing is counted.
    assert_eq!(world.router.reload(&general), "applied");
    for _ in 0..30 {
        assert_eq!(raw.value(&select(busy)), "3");
    }
}

#[test]
fn one_value_of_the_key_has_as_many_statements_at_one_time_as_it_may() {
    let world = Sharded::create("places", "");
    let general = world.router.config_text();
    let with = |lines: &str| general.replacen("[general]\n", &format!("[general]\n{lines}\n"), 1);
    assert_eq!(world.router.reload(&with("key_max_concurrent = 1")), "applied");
    let (mut raw, mut other) = (world.connect(), world.connect());
    let (busy, quiet) = (world.id(1, 0), world.id(2, 1));
    let select = |id: i32| format!("SELECT n FROM items WHERE id = {id}");
    let locks = world.lock(&[1]);
    raw.send(&m::query(&select(busy))).unwrap();
    eventually(10, "it runs", || world.waiting(1) == 1);
    let refused = other.simple(&select(busy));
    assert_eq!(refused.code(), "53400", "{refused:?}");
    let by = "SELECT n FROM items WHERE id = $1";
    assert_eq!(other.extended(by, &[23], &[Value::text(&busy.to_string())], 0).code(), "53400");
    assert_eq!(other.value(&select(quiet)), "0");
    drop(locks);
    raw.read_to_ready().unwrap();
    assert_eq!(other.value(&select(busy)), "0");
    // A pipeline over several keys does not wait for itself.
    let step = |id: i32| [m::bind("", "s", &[Value::text(&id.to_string())], &[]), m::execute("", 0)].concat();
    let pipeline = [m::parse("s", by, &[23]), step(busy), step(quiet), step(busy), m::sync()].concat();
    let reply = other.exchange_with(&pipeline, None, true);
    assert_eq!((reply.code(), reply.answers.len()), ("", 3), "{reply:?}");
    assert_eq!(raw.value(&select(busy)), "0");
    // With patience it waits, in a transaction too, and whoever waits can go away.
    assert_eq!(world.router.reload(&with("key_max_concurrent = 1\nkey_wait_timeout = \"20s\"")), "applied");
    let locks = world.lock(&[1]);
    raw.send(&m::query(&select(busy))).unwrap();
    eventually(10, "it runs", || world.waiting(1) == 1);
    let mut gone = world.connect();
    gone.send(&m::query(&select(busy))).unwrap();
    other.send(&m::query(&select(busy))).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(world.waiting(1), 1);
    drop(gone);
    drop(locks);
    for client in [&mut raw, &mut other] {
        assert!(client.read_to_ready().unwrap().iter().all(|message| message.tag != b'E'));
    }
}

/// Who comes when the line moves too slowly for it is told so at once, and who may wait for longer waits.
#[test]
fn a_statement_that_would_wait_for_too_long_is_refused_at_once() {
    let world = Sharded::create("late", "default_pool_size = 1\nquery_wait_timeout = \"60s\"");
    let id = world.id(1, 0);
    let slow = format!("SELECT n, pg_sleep(0.1) FROM items WHERE id = {id}");
    let mut line: Vec<Raw> = (0..24).map(|_| world.connect()).collect();
    let (mut hasty, mut patient) = (world.connect(), world.connect());
    hasty.must("SET pgloom.query_wait_timeout = '300ms'");
    // Nothing is known of the line yet: it waits for as long as it may.
    line[..10].iter_mut().for_each(|raw| raw.send(&m::query(&slow)).unwrap());
    let begun = Instant::now();
    let reply = hasty.simple(&slow);
    assert_eq!((reply.code(), reply.error.as_ref().unwrap().message()), ("53300", "query_wait_timeout"));
    assert!(begun.elapsed() >= Duration::from_millis(290), "{:?}", begun.elapsed());
    // After eight turns it is, and thirteen more take more than a second. The first of these holds the connection until it is let go.
    let locks = world.lock_rows(&[1]);
    let held = m::query(&format!("UPDATE items SET n = n WHERE id = {id}"));
    line[10..].iter_mut().for_each(|raw| raw.send(&held).unwrap());
    for raw in &mut line[..10] {
        assert_eq!(raw.read_to_ready().unwrap().iter().filter(|message| message.tag == b'E').count(), 0);
    }
    for limit in ["query_wait_timeout", "query_timeout"] {
        hasty.must(&format!("RESET ALL; SET pgloom.{limit} = '400ms'"));
        let begun = Instant::now();
        let reply = hasty.simple(&slow);
        let error = reply.error.unwrap_or_else(|| panic!("{limit}"));
        assert_eq!(
            (error.code(), error.message()),
            ("53300", "too many clients wait for server connections"),
            "{limit}"
        );
        assert!(error.0[&'D'].contains("this one would wait for about"), "{error}");
        assert!(begun.elapsed() < Duration::from_millis(300), "{limit}: {:?}", begun.elapsed());
    }
    // Another shard's line is another one.
    assert_eq!(hasty.value(&format!("SELECT n FROM items WHERE id = {}", world.id(2, 0))), "0");
    drop(locks);
    assert_eq!(patient.must(&slow).answers.len(), 1);
    for raw in &mut line[10..] {
        assert_eq!(raw.read_to_ready().unwrap().iter().filter(|message| message.tag == b'E').count(), 0);
    }
    assert_eq!(hasty.must(&slow).answers.len(), 1, "nobody waits any more");
}

#[test]
fn all_users_together_have_so_many_connections_to_a_server() {
    let sections = "[[users]]\nname = \"postgres\"\n[[users]]\nname = \"other\"\nserver_user = \"postgres\"\n";
    let world = Sharded::create_as("quota", "max_server_connections = 3\nquery_wait_timeout = \"1s\"", sections);
    let id = world.id(1, 0);
    let select = format!("SELECT n FROM items WHERE id = {id}");
    let connect = |user: &str| Raw::connect(world.router.port, user, &world.db.name).unwrap();
    let mut holders: Vec<Raw> = (0..3).map(|_| connect("postgres")).collect();
    for holder in &mut holders {
        holder.must(&format!("BEGIN; {select}"));
    }
    let mut other = connect("other");
    let began = Instant::now();
    let refused = other.simple(&select);
    assert_eq!(refused.code(), "53300", "{refused:?}");
    assert!(format!("{refused:?}").contains("all 3 connections"), "{refused:?}");
    assert!(began.elapsed() > Duration::from_millis(900), "{:?}", began.elapsed());
    // What comes back goes to who waits.
    other.send(&m::query(&select)).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    holders[0].must("COMMIT");
    assert!(other.read_to_ready().unwrap().iter().all(|message| message.tag != b'E'));
    // What lies idle is closed for who needs one.
    for holder in &mut holders[1..] {
        holder.must("COMMIT");
    }
    let mut others: Vec<Raw> = (0..3).map(|_| connect("other")).collect();
    for other in &mut others {
        other.must(&format!("BEGIN; {select}"));
    }
    assert_eq!(holders[0].simple(&select).code(), "53300");
    // Another server is not meant.
    assert_eq!(holders[0].value(&format!("SELECT n FROM items WHERE id = {}", world.id(2, 0))), "0");
    let limits = world.router.config_text();
    assert_eq!(
        world.router.reload(&limits.replacen("max_server_connections = 3", "max_server_connections = 0", 1)),
        "applied"
    );
    assert_eq!(holders[0].value(&select), "0");
}

#[test]
fn a_copy_goes_to_no_more_shards_than_a_statement_may() {
    let world = Sharded::create("copyfan", "scatter_max_shards = 4");
    let text = world.router.config_text().replace("scatter_max_shards = 4", "scatter_max_shards = 3");
    assert_eq!(world.router.reload(&text), "applied");
    let mut raw = world.connect();
    let before = raw.simple("SELECT count(*) FROM items").code().to_owned();
    assert_eq!(before, "53400");
    let rows = b"1000001\t1\n1000002\t1\n";
    assert_eq!(raw.simple("INSERT INTO places VALUES ('z', 'Z')").code(), "53400");
    assert_eq!(raw.copy_in("COPY places FROM STDIN", b"z\tZ\n").code(), "53400");
    assert_eq!(raw.copy_in("COPY items (id, n) FROM STDIN", rows).code(), "53400");
    assert_eq!(raw.copy_in("COPY plain FROM STDIN", b"7\tseven\n").code(), "");
    assert_eq!(world.on_each("SELECT count(*) FROM items WHERE id > 1000000"), ["0"; 4]);
}

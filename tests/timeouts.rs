//! Time-outs: what is too slow is ended for real, on the servers too, and the connections go on clean.

#![allow(clippy::unwrap_used)]

mod support;

use std::net::TcpListener;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use support::raw::{Raw, Value, message as m};
use support::{Router, Sharded, eventually};

const ALL: [usize; 4] = [0, 1, 2, 3];

/// The backends that serve the one connection to each shard.
fn pids(world: &Sharded) -> Vec<String> {
    let sql = format!(
        "SELECT pid FROM pg_stat_activity WHERE datname = '{}' AND application_name <> 'pgloom' AND pid <> pg_backend_pid() \
         AND query NOT LIKE '%pg_advisory%' ORDER BY backend_start DESC",
        world.db.name
    );
    ALL.into_iter().flat_map(|shard| world.db.shard(shard).values(&sql)).collect()
}

/// The backend of the statement's connection to this shard.
fn pid(raw: &mut Raw, world: &Sharded, shard: usize) -> String {
    raw.value(&format!("SELECT pg_backend_pid() FROM items WHERE id = {}", world.id(shard, 0)))
}

#[track_caller]
fn canceled(raw: &mut Raw, sql: &str) {
    let start = Instant::now();
    let reply = raw.simple(sql);
    let error = reply.error.unwrap_or_else(|| panic!("{sql} was not canceled"));
    assert_eq!((error.code(), error.message()), ("57014", "canceling statement due to statement timeout"), "{sql}");
    assert!((200..8_000).contains(&start.elapsed().as_millis()), "{sql}: {:?}", start.elapsed());
}

#[test]
fn a_statement_whose_time_is_up_is_canceled_on_its_servers_and_they_go_on() {
    let world = Sharded::create("timequery", "default_pool_size = 1");
    let mut raw = world.connect();
    let one = format!("SELECT n FROM items WHERE id = {}", world.id(1, 0));
    let before: Vec<String> = ALL.map(|shard| pid(&mut raw, &world, shard)).to_vec();
    raw.must("SET pgloom.query_timeout = '300ms'");
    assert_eq!(raw.value("SHOW pgloom.query_timeout"), "300ms");
    let statements: [(&str, &[usize]); 4] = [
        (&one, &[1]),
        ("SELECT id, n FROM items ORDER BY id", &ALL),
        ("SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY n) FROM items", &[2]),
        ("UPDATE items SET n = n + 1", &[0, 3]),
    ];
    for (sql, shards) in statements {
        let locks = world.lock(shards);
        canceled(&mut raw, sql);
        eventually(20, "nothing waits there any more", || shards.iter().all(|shard| world.waiting(*shard) == 0));
        drop(locks);
        // The next statement on these connections gets its own answer.
        for _ in 0..3 {
            assert_eq!(raw.value(&one), "0");
            assert_eq!(raw.value("SELECT count(*) FROM items"), "60");
        }
    }
    let after: Vec<String> = ALL.map(|shard| pid(&mut raw, &world, shard)).to_vec();
    assert_eq!(after, before, "the connections were clean, and are the same ones");
    // In the extended protocol, in a block, and in a query of several statements, where each has its own time.
    let locks = world.lock_rows(&[1]);
    let update = "UPDATE items SET n = n WHERE id = $1";
    let reply = raw.extended(update, &[23], &[Value::text(&world.id(1, 0).to_string())], 0);
    assert_eq!(reply.code(), "57014", "{}", reply.text());
    raw.must("BEGIN");
    raw.must("SELECT count(*) FROM items");
    canceled(&mut raw, &format!("UPDATE items SET n = n WHERE id = {}", world.id(1, 0)));
    assert_eq!(raw.simple("SELECT 1").code(), "25P02");
    assert_eq!(raw.must("ROLLBACK").status, b'I');
    drop(locks);
    let sleep = "SELECT pg_sleep(0.2)";
    raw.must(&format!("{sleep}; {sleep}; {sleep}"));
    raw.must("RESET pgloom.query_timeout");
    raw.must("SELECT pg_sleep(0.5)");
    // One who waits for a connection is told the same.
    raw.must("SET pgloom.query_timeout = '300ms'");
    let mut holder = world.connect();
    holder.must("BEGIN");
    holder.must(&one);
    canceled(&mut raw, &one);
    holder.must("COMMIT");
    assert_eq!(raw.value(&one), "0");
}

#[test]
fn a_statement_over_several_shards_has_one_deadline_for_all() {
    let world = Sharded::create("timescatter", "scatter_timeout = \"400ms\"\ndefault_pool_size = 1");
    let mut raw = world.connect();
    raw.must("SELECT count(*) FROM items");
    let before = pids(&world);
    raw.must(&format!("SELECT pg_sleep(0.8), n FROM items WHERE id = {}", world.id(1, 0)));
    for sql in
        ["SELECT id FROM items ORDER BY id", "SELECT count(*) FROM items", "SELECT count(DISTINCT name) FROM items"]
    {
        let locks = world.lock(&[0, 2]);
        canceled(&mut raw, sql);
        eventually(20, "nothing waits any more", || world.waiting(0) + world.waiting(2) == 0);
        drop(locks);
        assert_eq!(raw.value("SELECT count(*) FROM items"), "60");
    }
    let after = pids(&world);
    assert!(before.iter().all(|pid| after.contains(pid)), "{before:?} {after:?}");
}

#[test]
fn limits_of_a_session_live_and_end_as_its_other_settings() {
    let world = Sharded::create_as(
        "timeset",
        "query_timeout = \"1h\"",
        "[[users]]\nname = \"postgres\"\nquery_timeout = \"7s\"\n",
    );
    let mut raw = world.connect();
    let shown = |raw: &mut Raw| raw.value("SHOW pgloom.query_timeout");
    assert_eq!(shown(&mut raw), "7s", "the user's own goes before");
    raw.must("BEGIN");
    raw.must("SET LOCAL pgloom.query_timeout = '300ms'");
    assert_eq!(shown(&mut raw), "300ms");
    let locks = world.lock(&[1]);
    canceled(&mut raw, "SELECT count(*) FROM items");
    drop(locks);
    raw.must("ROLLBACK");
    assert_eq!(shown(&mut raw), "7s");
    raw.must("BEGIN; SET LOCAL pgloom.query_timeout = 5");
    raw.must("COMMIT");
    assert_eq!(shown(&mut raw), "7s");
    raw.must("BEGIN");
    raw.must("SET pgloom.query_timeout = '2s'");
    raw.must("SAVEPOINT s");
    raw.must("SET pgloom.query_timeout = '3s'");
    raw.must("ROLLBACK TO s");
    assert_eq!(shown(&mut raw), "2s");
    raw.must("ROLLBACK");
    assert_eq!(shown(&mut raw), "7s");
    raw.must("SELECT set_config('pgloom.query_timeout', '4s', false)");
    assert_eq!(shown(&mut raw), "4s");
    // Other settings of the router are told like those of Postgres.
    assert_eq!(raw.value("SELECT set_config('pgloom.read_preference', 'nearest', false)"), "nearest");
    assert_eq!(raw.value("SHOW pgloom.read_preference"), "nearest");
    let both = "SELECT set_config('pgloom.read_preference', 'primary', false), set_config('work_mem', '5MB', false)";
    assert_eq!(raw.simple(both).code(), "0A000");
    // Nor beside anything else, in whatever form: no server knows it, and nobody would go by it.
    for form in [
        "SELECT set_config('pgloom.read_preference', 'primary', false), current_setting('TimeZone') AS x",
        "SELECT current_setting('TimeZone'), set_config('pgloom.read_preference', 'primary', false)",
        "SELECT set_config('pgloom.read_preference', 'primary', false) FROM pg_settings WHERE name = 'work_mem'",
        "SELECT set_config('pgloom.read_preference', 'primary', false), 1",
        "SELECT length(set_config('PgLoom.Read_Preference'::text, 'primary', false))",
        "SELECT set_config(name, 'primary', false) FROM (VALUES ('pgloom.read_preference')) v(name)",
        "SELECT set_config(E'pgloom.query_timeout', 'x' || '1s', false), 1",
        "SELECT set_config($n$pgloom.query_timeout$n$, '1s', false) || 'x'",
        "INSERT INTO items SELECT length(set_config('pgloom.read_preference', 'primary', true))",
    ] {
        let (simple, extended) = (raw.simple(form), raw.extended(form, &[], &[], 1));
        assert_eq!([simple.code(), extended.code()], ["0A000"; 2], "{form}");
        assert!(simple.answers.iter().all(|answer| answer.tag.is_none()), "{form}: {simple:?}");
        assert_eq!(raw.value("SHOW pgloom.read_preference"), "nearest", "{form}");
    }
    // Of others the router tells what there is to tell.
    let mut others = world.connect();
    let other = "SELECT set_config(name, 'x', false) FROM (VALUES ('my.setting')) v(name)";
    assert_eq!(others.value(other), "x");
    assert_eq!(others.simple(&other.replace("my.setting", "pgloom.setting")).code(), "0A000", "no plan is shared");
    raw.must("SELECT count(*) FROM items");
    raw.must("RESET ALL");
    assert_eq!(shown(&mut raw), "7s");
    raw.must("SET pgloom.query_timeout = 0");
    raw.must("DISCARD ALL");
    assert_eq!(shown(&mut raw), "7s");
    let options = [("user", "postgres"), ("database", &*world.db.name), ("options", "-c pgloom.query_timeout=9s")];
    let mut other = Raw::connect_with(world.router.port, &options, None).unwrap();
    assert_eq!(shown(&mut other), "9s");
    other.must("SET pgloom.query_timeout = '1s'");
    other.must("RESET pgloom.query_timeout");
    assert_eq!(shown(&mut other), "9s");
    // What is no limit is refused, and changes nothing.
    for (sql, code) in [
        ("SET pgloom.query_timeout = 'soon'", "22023"),
        ("SET LOCAL pgloom.query_timeout = 'a', 'b'", "22023"),
        ("SET pgloom.nothing = 1", "42704"),
        ("SELECT set_config('pgloom.query_timeout', 'soon', false)", "22023"),
        ("SHOW pgloom.nothing", "42704"),
    ] {
        assert_eq!(raw.simple(sql).code(), code, "{sql}");
        assert_eq!(shown(&mut raw), "7s");
    }
    let wrong = [("user", "postgres"), ("database", &*world.db.name), ("options", "-c pgloom.query_timeout=soon")];
    assert!(Raw::connect_with(world.router.port, &wrong, None).unwrap_err().starts_with("22023"));
}

#[test]
fn a_transaction_and_a_silent_client_have_their_ends() {
    let general = "transaction_timeout = \"600ms\"\nidle_transaction_timeout = \"0\"\nclient_idle_timeout = \"0\"";
    let world = Sharded::create("timeidle", general);
    let told = |raw: &mut Raw, code: &str, message: &str| {
        let start = Instant::now();
        let error = loop {
            let message = raw.read().unwrap();
            if message.tag == b'E' {
                break message.report();
            }
        };
        assert_eq!((error.code(), error.message(), &error.0[&'S'][..]), (code, message, "FATAL"));
        assert!(raw.read().is_err() && start.elapsed() < Duration::from_secs(10));
    };
    let transaction = "terminating connection due to transaction timeout";
    // Between its statements, and in the middle of one.
    let mut raw = world.connect();
    raw.must("BEGIN");
    raw.must("UPDATE items SET n = 5");
    told(&mut raw, "25P04", transaction);
    let locks = world.lock_rows(&[2]);
    let mut raw = world.connect();
    raw.must("BEGIN");
    raw.must(&format!("UPDATE items SET n = 5 WHERE id = {}", world.id(1, 0)));
    raw.send(&m::query(&format!("UPDATE items SET n = 5 WHERE id = {}", world.id(2, 0)))).unwrap();
    told(&mut raw, "25P04", transaction);
    eventually(20, "nothing waits any more", || world.waiting(2) == 0);
    drop(locks);
    eventually(20, "all is rolled back", || world.on_each("SELECT max(n) FROM items") == ["0"; 4]);
    // Short ones may follow each other for as long as they like.
    let mut raw = world.connect();
    for _ in 0..8 {
        raw.must("BEGIN; SELECT count(*) FROM items; SELECT pg_sleep(0.15); COMMIT");
    }
    raw.must("SET pgloom.transaction_timeout = 0; SET pgloom.idle_transaction_timeout = '300ms'; SET pgloom.client_idle_timeout = '700ms'");
    let set = "SET pgloom.transaction_timeout = 0; SET pgloom.idle_transaction_timeout = '300ms'; SET pgloom.client_idle_timeout = '700ms'";
    told(&mut raw, "57P05", "terminating connection due to idle-session timeout");
    let mut raw = world.connect();
    raw.must(set);
    raw.must("BEGIN");
    raw.must(&format!("UPDATE items SET n = 5 WHERE id = {}", world.id(1, 0)));
    told(&mut raw, "25P03", "terminating connection due to idle-in-transaction timeout");
    // A batch that has no Sync holds its server as a transaction does.
    let mut raw = world.connect();
    raw.must(set);
    let update = format!("UPDATE items SET n = 5 WHERE id = {}", world.id(3, 0));
    raw.send(&[m::parse("", &update, &[]), m::bind("", "", &[], &[]), m::execute("", 0), m::flush()].concat()).unwrap();
    told(&mut raw, "25P03", "terminating connection due to idle-in-transaction timeout");
    eventually(20, "all is rolled back", || world.on_each("SELECT max(n) FROM items") == ["0"; 4]);
}

#[test]
fn a_client_that_does_not_read_loses_its_servers() {
    let world = Sharded::create("timewrite", "client_write_timeout = \"500ms\"\ndefault_pool_size = 1");
    let mut watch = world.connect();
    let busy = |shard: usize| {
        let sql = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = '{}' AND state = 'active' AND query LIKE '%repeat%' \
             AND pid <> pg_backend_pid()",
            world.db.name
        );
        world.db.shard(shard).value(&sql)
    };
    // From one shard, and merged from all: more than sockets hold.
    for (sql, shards) in [
        ("SELECT repeat(body, 1000) FROM plain, generate_series(1, 200000)", &[0][..]),
        ("SELECT id, repeat(name, 100000) FROM items ORDER BY id", &ALL[..]),
    ] {
        let mut stalled = world.connect();
        let start = Instant::now();
        stalled.send(&m::query(sql)).unwrap();
        eventually(20, "the servers work for it", || shards.iter().any(|shard| busy(*shard) == "1"));
        eventually(20, "nothing runs for it any more", || shards.iter().all(|shard| busy(*shard) == "0"));
        assert!(start.elapsed() > Duration::from_millis(400));
        // Its connections are free again: there is one for each shard.
        assert_eq!(watch.value("SELECT count(*) FROM items"), "60");
        assert_eq!(watch.value("SELECT count(*) FROM plain"), "1");
        // It was not told, and its connection ends.
        let mut ended = false;
        while !ended {
            ended = stalled.read().is_err();
        }
    }
    // Who reads slowly, but reads, is served to the end.
    let mut slow = world.connect();
    slow.send(&m::query("SELECT repeat(body, 1000) FROM plain, generate_series(1, 30000)")).unwrap();
    let mut rows = 0;
    loop {
        let message = slow.read().unwrap();
        rows += usize::from(message.tag == b'D');
        if message.tag == b'Z' {
            break;
        }
        if rows % 5_000 == 0 {
            std::thread::sleep(Duration::from_millis(200));
        }
    }
    assert_eq!(rows, 30_000);
}

#[test]
fn the_wait_for_a_connection_ends_as_the_session_says() {
    let world = Sharded::create("timewait", "default_pool_size = 1\nquery_wait_timeout = \"60s\"");
    let one = format!("SELECT n FROM items WHERE id = {}", world.id(1, 0));
    let (mut holder, mut raw) = (world.connect(), world.connect());
    holder.must("BEGIN");
    holder.must(&one);
    raw.must("SET pgloom.query_wait_timeout = '200ms'");
    let start = Instant::now();
    let reply = raw.simple(&one);
    assert_eq!((reply.code(), reply.error.as_ref().unwrap().message()), ("53300", "query_wait_timeout"));
    assert!(start.elapsed() < Duration::from_secs(10));
    holder.must("COMMIT");
    assert_eq!(raw.value(&one), "0");
}

#[test]
fn a_server_that_heeds_no_cancel_is_left_behind_and_its_client_goes_on() {
    let general =
        "query_timeout = \"300ms\"\ncancel_grace = \"500ms\"\ndefault_pool_size = 1\nadmin_users = [\"postgres\"]";
    let world = Sharded::create("timestopped", general);
    let mut raw = world.connect();
    let backend = pid(&mut raw, &world, 1).parse().unwrap();
    let signal = |signal| kill_process(Pid::from_raw(backend).unwrap(), signal).unwrap();
    signal(Signal::STOP);
    let start = Instant::now();
    let reply = raw.simple(&format!("SELECT n FROM items WHERE id = {}", world.id(1, 0)));
    let took = start.elapsed();
    signal(Signal::CONT);
    let error = reply.error.unwrap();
    assert_eq!((error.code(), &error.0[&'S'][..]), ("57014", "ERROR"), "{error}");
    assert!(error.0[&'D'].contains("has not said in time that it has stopped"), "{error}");
    assert!((Duration::from_millis(700)..Duration::from_secs(8)).contains(&took), "{took:?}");
    // Another connection takes the place of the one that hung.
    assert_ne!(pid(&mut raw, &world, 1), backend.to_string());

    // Whatever is said to the server: what a session has set, before its statement, or its end. What may be done all the same is told so.
    let one = format!("SELECT n FROM items WHERE id = {}", world.id(1, 0));
    let add = format!("UPDATE items SET n = n + 1 WHERE id = {}", world.id(1, 0));
    let mut other = world.connect();
    other.must("SET application_name = 'another'");
    let mut transaction = world.connect();
    transaction
        .must("SET pgloom.query_timeout = 0; SET pgloom.transaction_timeout = '400ms'; SET application_name = 'third'");
    let mut clients = [other, raw, transaction];
    let block = format!("BEGIN; {add}");
    for (client, begin, sql, code) in [
        (0, "", &*one, "57014"),
        (1, "", &*add, "08007"),
        (1, &*block, "COMMIT", "08007"),
        (1, &*block, &*add, "57014"),
        // Its session ends.
        (2, "BEGIN", &*one, ""),
    ] {
        let client = &mut clients[client];
        let mut first = world.connect();
        let backend: i32 = pid(&mut first, &world, 1).parse().unwrap();
        if !begin.is_empty() {
            client.must(begin);
        }
        kill_process(Pid::from_raw(backend).unwrap(), Signal::STOP).unwrap();
        let start = Instant::now();
        let reply = client.simple(sql);
        let took = start.elapsed();
        kill_process(Pid::from_raw(backend).unwrap(), Signal::CONT).unwrap();
        assert!(took < Duration::from_secs(8), "{sql}: {took:?}");
        if code.is_empty() {
            assert!(matches!(reply.code(), "57014" | "25P04"), "{sql}: {reply:?}");
            continue;
        }
        assert_eq!(reply.code(), code, "{sql}: {reply:?}");
        client.simple("ROLLBACK");
    }
    // A client that an operator ends does not wait for it either.
    let mut first = world.connect();
    let backend: i32 = pid(&mut first, &world, 1).parse().unwrap();
    let mut killed = world.connect();
    killed.must("SET pgloom.query_timeout = 0; SET application_name = 'killed'");
    kill_process(Pid::from_raw(backend).unwrap(), Signal::STOP).unwrap();
    killed.send(&m::query(&one)).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    let mut ops = world.router.connect("pgloom");
    ops.must(&format!("KILL_CLIENT {}", killed.key.0));
    let start = Instant::now();
    while killed.read().is_ok() {}
    kill_process(Pid::from_raw(backend).unwrap(), Signal::CONT).unwrap();
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());

    // Nor does one that leaves, where no time is limited: before its statement, and in whatever ends its block.
    for (begin, sql) in [("", &*one), ("BEGIN", &*one), (&*block, "SAVEPOINT a"), (&*block, "ROLLBACK")] {
        let mut first = world.connect();
        let backend: i32 = pid(&mut first, &world, 1).parse().unwrap();
        let mut leaves = world.connect();
        leaves.must("SET pgloom.query_timeout = 0; SET application_name = 'leaves'");
        if !begin.is_empty() {
            leaves.must(begin);
        }
        let leaves_id = leaves.key.0.to_string();
        let shown = |ops: &mut Raw| ops.named("SHOW CLIENTS").iter().any(|row| row["id"] == leaves_id);
        assert!(shown(&mut ops));
        kill_process(Pid::from_raw(backend).unwrap(), Signal::STOP).unwrap();
        leaves.send(&m::query(sql)).unwrap();
        std::thread::sleep(Duration::from_millis(300));
        drop(leaves);
        eventually(10, sql, || !shown(&mut ops));
        kill_process(Pid::from_raw(backend).unwrap(), Signal::CONT).unwrap();
    }

    // The middle of a message that the server does not take, which has nothing else to answer.
    let mut first = world.connect();
    let backend: i32 = pid(&mut first, &world, 1).parse().unwrap();
    let mut writes = world.connect();
    writes.must("BEGIN");
    let update = format!("UPDATE items SET name = $1 WHERE id = {}", world.id(1, 0));
    let step = |value: &[u8]| [m::bind("", "p", &[Value::binary(value)], &[]), m::execute("", 0), m::sync()].concat();
    let reply = writes.exchange_with(&[m::parse("p", &update, &[25]), step(b"x")].concat(), None, true);
    assert_eq!((reply.code(), reply.status), ("", b'T'), "{reply:?}");
    kill_process(Pid::from_raw(backend).unwrap(), Signal::STOP).unwrap();
    let batch = step(&vec![b'x'; 32 << 20]);
    let start = Instant::now();
    // Nobody may take all of it.
    let _ = writes.send(&batch);
    let heard = writes.read_to_ready();
    kill_process(Pid::from_raw(backend).unwrap(), Signal::CONT).unwrap();
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    if let Ok(heard) = heard {
        assert!(heard.iter().any(|message| message.tag == b'E'), "{heard:?}");
    }
}

/// A transaction that a server does not open (its time was up, somebody cancelled it, it does not take what was set in it) has nothing there.
#[test]
fn what_follows_a_begin_that_failed_is_not_run() {
    let world = Sharded::create("timebegin", "default_pool_size = 1");
    let role = format!("only_home_{}", world.db.name);
    world.db.shard(0).must(&format!("CREATE ROLE {role}; GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}"));
    let far = world.free_ids(1000)[1];
    let mut raw = world.connect();
    for sql in [format!("INSERT INTO items VALUES ({far}, 1, 'ghost')"), "UPDATE items SET n = 77".to_owned()] {
        for extended in [false, true] {
            raw.must(&format!("BEGIN; SET LOCAL ROLE {role}"));
            let failed = if extended { raw.extended(&sql, &[], &[], 0) } else { raw.simple(&sql) };
            assert!(!failed.code().is_empty(), "{sql}");
            raw.simple("ROLLBACK");
        }
    }
    let mut short = world.connect();
    for n in 0..400 {
        short.must(&format!("SET statement_timeout = {}", 1 + n % 3));
        short.simple("BEGIN");
        short.simple(&format!("INSERT INTO items VALUES ({far}, 1, 'ghost')"));
        short.simple("ROLLBACK");
        short.must("SET statement_timeout = 0");
    }
    let ghosts = world.on_each("SELECT count(*) FROM items WHERE name = 'ghost' OR n = 77");
    world.db.shard(0).must(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
    assert_eq!(ghosts, ["0"; 4]);
}

/// What a client has not taken when the time is up is not waited for: it is told so when it reads on, behind the rows that were sent.
#[test]
fn a_slow_reader_holds_no_server_beyond_its_time() {
    let world = Sharded::create("timeslow", "cancel_grace = \"60s\"\ndefault_pool_size = 1");
    let mut watch = world.connect();
    for sql in [
        "SELECT repeat(body, 1000) FROM plain, generate_series(1, 200000)",
        "COPY (SELECT repeat(body, 1000) FROM plain, generate_series(1, 200000)) TO STDOUT",
        "SELECT id, repeat(name, 100000) FROM items ORDER BY id",
        "SELECT id, repeat(name, 100000) FROM items",
    ] {
        let mut slow = world.connect();
        // Time enough for the first row, also where many wait for the processors.
        slow.must("SET pgloom.query_timeout = '4s'");
        slow.send(&m::query(sql)).unwrap();
        let start = Instant::now();
        std::thread::sleep(Duration::from_millis(4100));
        // There is one connection to each shard.
        assert_eq!(watch.value("SELECT count(*) FROM items"), "60");
        assert_eq!(watch.value("SELECT count(*) FROM plain"), "1");
        assert!(start.elapsed() < Duration::from_secs(30), "{sql}: {:?}", start.elapsed());
        let messages = slow.read_to_ready().unwrap();
        let errors: Vec<_> = messages.iter().filter(|message| message.tag == b'E').collect();
        assert_eq!((errors.len(), errors[0].report().code()), (1, "57014"), "{sql}");
        assert!(messages.iter().all(|message| message.tag != b'C'), "{sql}");
        assert!(messages.iter().any(|message| matches!(message.tag, b'D' | b'd')), "{sql}");
        // It goes on as any other.
        assert_eq!(slow.value("SELECT count(*) FROM items"), "60");
    }
}

/// A COPY waits for its client, and its servers heed no cancel meanwhile.
#[test]
fn a_copy_whose_client_says_nothing_has_its_end() {
    let world = Sharded::create("timecopy", "cancel_grace = \"60s\"\ndefault_pool_size = 1");
    let rows = |raw: &mut Raw| {
        [raw.value("SELECT count(*) FROM items WHERE id > 1000000"), raw.value("SELECT count(*) FROM plain")]
    };
    let mut watch = world.connect();
    let before = rows(&mut watch);
    for (copy, line) in
        [("COPY items (id, n) FROM STDIN", "1000001\t1\n1000002\t1\n1000003\t1\n"), ("COPY plain FROM STDIN", "")]
    {
        for block in [false, true] {
            let mut raw = world.connect();
            raw.must("SET pgloom.query_timeout = '500ms'");
            if block {
                raw.must("BEGIN");
            }
            raw.send(&m::query(copy)).unwrap();
            assert_eq!(raw.read().unwrap().tag, b'G');
            if !line.is_empty() {
                raw.send(&m::copy_data(line.as_bytes())).unwrap();
            }
            let start = Instant::now();
            let messages = raw.read_to_ready().unwrap();
            let error = messages.iter().find(|message| message.tag == b'E').unwrap().report();
            assert_eq!(
                (error.code(), error.message(), &error.0[&'S'][..]),
                ("57014", "canceling statement due to statement timeout", "ERROR"),
                "{copy}"
            );
            assert!(start.elapsed() < Duration::from_secs(30), "{copy}: {:?}", start.elapsed());
            // What it sends on is too late.
            raw.send(&[m::copy_data(b"1000009\t1\n"), m::copy_done()].concat()).unwrap();
            assert_eq!(raw.simple("SELECT 1").code(), if block { "25P02" } else { "" }, "{copy}");
            if block {
                raw.must("ROLLBACK");
            }
            assert_eq!(rows(&mut watch), before, "{copy}");
        }
        // Without a limit on statements its silence is that of a client in a transaction.
        let mut raw = world.connect();
        raw.must("SET pgloom.idle_transaction_timeout = '6s'");
        raw.send(&m::query(copy)).unwrap();
        assert_eq!(raw.read().unwrap().tag, b'G');
        for _ in 0..if line.is_empty() { 0 } else { 5 } {
            std::thread::sleep(Duration::from_millis(1500));
            raw.send(&m::copy_data(b"")).unwrap();
        }
        let error = raw.read().unwrap();
        assert_eq!((error.tag, error.report().code()), (b'E', "25P03"), "{copy}");
        assert!(raw.read().is_err());
        assert_eq!(rows(&mut watch), before, "{copy}");
    }
    let metrics = world.router.http("/metrics").1;
    assert!(metrics.contains("pgloom_timeouts_total{limit=\"idle_transaction\"} 2"), "{metrics}");
}

/// Until it is decided, a commit over several shards can be undone; what it holds on those that work is not held for ever.
#[test]
fn a_commit_whose_shard_falls_silent_is_undone_in_time() {
    let world = Sharded::create("timecommit", "two_phase_grace = \"1s\"");
    let mut raw = world.connect();
    let [here, there] = [1, 2].map(|shard| world.id(shard, 0));
    let set = |id| format!("UPDATE items SET n = 5 WHERE id = {id}");
    for (limit, time, code) in [("query_timeout", "700ms", "57014"), ("transaction_timeout", "4s", "25P04")] {
        raw.must(&format!("SET pgloom.{limit} = '{time}'"));
        // The last is the anchor; whichever is silent, the other one's row is free again.
        for silent in [1, 2] {
            raw.must("BEGIN");
            raw.must(&set(here));
            raw.must(&set(there));
            let process = Pid::from_raw(pid(&mut raw, &world, silent).parse().unwrap()).unwrap();
            kill_process(process, Signal::STOP).unwrap();
            let start = Instant::now();
            let reply = raw.simple("COMMIT");
            let took = start.elapsed();
            let other = world.id(3 - silent, 0);
            world.connect().must(&format!("SET lock_timeout = '10s'; UPDATE items SET n = 0 WHERE id = {other}"));
            kill_process(process, Signal::CONT).unwrap();
            assert_eq!((reply.code(), reply.status), (code, b'I'), "{limit} {silent}: {reply:?}");
            assert!((600..15_000).contains(&took.as_millis()), "{limit} {silent}: {took:?}");
            eventually(30, "nothing is left", || {
                let gone = |shard: usize| world.db.shard(shard).value("SELECT count(*) FROM pg_prepared_xacts") == "0";
                let sums = ["SELECT sum(n) FROM items"; 4].map(|sql| world.connect().value(sql));
                ALL.into_iter().all(gone) && sums.iter().all(|sum| sum == "0")
            });
        }
        raw.must(&format!("RESET pgloom.{limit}"));
    }
}

#[test]
fn a_server_that_does_not_finish_the_login_is_given_up() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let config = format!(
        "[general]\nport = {{port}}\nauth_type = \"trust\"\nmetrics_listen = \"127.0.0.1:{{http_port}}\"\nserver_login_timeout = \"300ms\"\n\
         [[users]]\nname = \"postgres\"\n[databases.shop]\n[[databases.shop.shards]]\nname = \"a\"\nhost = \"127.0.0.1\"\nport = {port}\n\
         [databases.own]\nserver_login_timeout = \"450ms\"\n[[databases.own.shards]]\nname = \"a\"\nhost = \"127.0.0.1\"\nport = {port}\n"
    );
    let router = Router::start_with(&config, &[]);
    let start = Instant::now();
    let error = Raw::connect(router.port, "postgres", "shop").unwrap_err();
    assert!(error.contains("the login was not finished within 300ms"), "{error}");
    assert!(start.elapsed() < Duration::from_secs(10));
    let own = Raw::connect(router.port, "postgres", "own").unwrap_err();
    assert!(own.contains("the login was not finished within 450ms"), "{own}");
    let metrics = router.http("/metrics").1;
    assert!(!metrics.contains("pgloom_timeouts_total{limit=\"server_login\"} 0"), "{metrics}");
    assert!(metrics.contains("pgloom_timeouts_total{limit=\"server_connect\"} 0"), "{metrics}");
}

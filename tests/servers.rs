//! Shards of several servers: who is the primary is found by asking, failovers and restarts are followed, an old primary is fenced.

#![allow(clippy::unwrap_used, dead_code)]

#[path = "chaos/bank.rs"]
mod bank;
mod support;
#[path = "servers/world.rs"]
mod world;

use std::collections::HashMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bank::{BALANCE, Desk, NAME, Told, audit};
use support::raw::message as m;
use support::{EtcdCluster, Lone, Raw, Router, eventually};
use world::{World, config, primary, roles};

#[test]
fn a_failover_is_followed_and_the_old_primary_gets_no_writes_when_it_comes_back() {
    let kept = format!("timelines_file = \"timelines-{}.json\"", std::process::id());
    let world = World::create(&kept);
    let (mut raw, account) = world.client();
    assert_eq!(world.roles(), ["primary", "replica"]);
    let add = format!("UPDATE accounts SET balance = balance + 1 WHERE id = {account}");
    assert_eq!(raw.must(&add).answers[0].tag.as_deref(), Some("UPDATE 1"));
    // A pooled connection is there, and hangs where nobody is any more.
    world.a.kill();
    let promoted = std::thread::scope(|scope| {
        let promoted = scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(1500));
            world.b.promote();
            Instant::now()
        });
        // It may meet the dead connection first; the next ones wait for the primary.
        let mut reply = raw.simple(&add);
        if reply.code() == "08006" {
            reply = raw.simple(&add);
        }
        let answered = Instant::now();
        assert_eq!(reply.code(), "", "{reply:?}");
        answered.saturating_duration_since(promoted.join().unwrap())
    });
    println!("written {promoted:?} after the promotion");
    assert!(promoted < Duration::from_secs(2), "{promoted:?}");
    assert_eq!(world.roles()[1], "primary");

    // It comes back and takes itself for the primary.
    world.a.configure("synchronous_standby_names = ''");
    world.a.start();
    eventually(10, "the old primary is fenced", || world.roles() == ["fenced", "primary"]);
    let metrics = world.router.http("/metrics").1;
    let role = |server: &Lone, role: &str| {
        format!(
            "pgloom_server_role{{database=\"{NAME}\",role=\"{role}\",server=\"{}\",shard=\"s0\"}} 1",
            server.address()
        )
    };
    assert!(metrics.contains(&role(&world.a, "fenced")) && metrics.contains(&role(&world.b, "primary")), "{metrics}");
    assert!(metrics.contains("pgloom_retries_total{reason=\"no_primary\"}"), "{metrics}");
    for _ in 0..20 {
        world.router.connect(NAME).must(&add);
    }
    let balance =
        |server: &Lone| server.connect(NAME).value(&format!("SELECT balance FROM accounts WHERE id = {account}"));
    assert_eq!([balance(&world.a), balance(&world.b)], [BALANCE + 1, BALANCE + 22].map(|sum| sum.to_string()));

    // While the new primary is away the old one gets nothing either.
    world.b.stop();
    assert_eq!(raw.simple(&add).code(), "57P03");
    assert_eq!(balance(&world.a), (BALANCE + 1).to_string());
    // Nor by a router that has just been started, and has never seen the new one.
    let general = format!("{kept}\nfailover_timeout = \"500ms\"");
    let fast = Router::start_with(&config(&[&[&world.a, &world.b], &[&world.other]], &general), &[]);
    eventually(10, "it knows the old one for what it is", || {
        let refused =
            Raw::connect(fast.port, "postgres", NAME).err().map(|error| error.to_string()).unwrap_or_default();
        refused.contains("57P03") && refused.contains("older timeline")
    });
    assert_eq!(balance(&world.a), (BALANCE + 1).to_string());
    drop(fast);
    world.b.start();
    eventually(10, "it is back", || raw.simple(&add).code().is_empty());
}

/// A router's file beside the map in etcd; its timelines are kept under `name`.
fn beside_map(etcd: &EtcdCluster, dir: &Path, name: &str, general: &str) -> String {
    let (timelines, copy) = (dir.join(format!("{name}.timelines")), dir.join(format!("{name}.map")));
    format!(
        "[general]\nport = {{port}}\nmetrics_listen = \"127.0.0.1:{{http_port}}\"\nauth_type = \"trust\"\n\
         server_check_interval = \"300ms\"\ntimelines_file = \"{}\"\n{general}\n[topology]\nsource = \"etcd\"\nendpoints = {}\n\
         router_ttl = \"3s\"\ncopy_file = \"{}\"\n[[users]]\nname = \"postgres\"\n[databases.{NAME}]\n",
        timelines.display(),
        etcd.endpoints(),
        copy.display()
    )
}

#[test]
fn routers_that_share_a_map_tell_each_other_which_primaries_are_old() {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("shared-timelines-{}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    let own = format!("timelines_file = \"{}\"", dir.join("world.timelines").display());
    let (world, etcd) = (World::create(&own), EtcdCluster::start(1));
    let whole = config(&[&[&world.a, &world.b], &[&world.other]], "");
    fs::write(dir.join("whole.toml"), whole.replace("{port}", "1").replace("{http_port}", "2")).unwrap();
    let own = beside_map(&etcd, &dir, "none", "").replace("{port}", "1").replace("{http_port}", "2");
    fs::write(dir.join("pgloom.toml"), own).unwrap();
    let mut init = Command::new(env!("CARGO_BIN_EXE_pgloom"));
    let init = init.args(["topology", "init", "--from", "whole.toml"]).current_dir(&dir).output().unwrap();
    assert!(init.status.success(), "{init:?}");
    // By the shard, and by each of its servers.
    let stored = || -> Vec<String> {
        let all = Some(etcd_client::GetOptions::new().with_prefix());
        let found = etcd.ask(async |mut client| client.get("/pgloom/timelines/", all).await);
        found.kvs().iter().map(|value| value.value_str().unwrap().to_owned()).collect()
    };
    let forget = || {
        let all = Some(etcd_client::DeleteOptions::new().with_prefix());
        etcd.ask(async |mut client| client.delete("/pgloom/timelines/", all).await.map(drop));
    };
    let account: i32 = world.a.connect(NAME).value("SELECT min(id) FROM accounts").parse().unwrap();
    let add = format!("UPDATE accounts SET balance = balance + 1 WHERE id = {account}");
    let balance =
        |server: &Lone| server.connect(NAME).value(&format!("SELECT balance FROM accounts WHERE id = {account}"));

    let first = Router::start(&beside_map(&etcd, &dir, "first", ""));
    assert!(stored().is_empty());
    world.a.kill();
    world.b.promote();
    eventually(20, "the new primary is followed", || first.connect(NAME).simple(&add).code().is_empty());
    eventually(10, "it is told to the others", || stored() == ["2"; 3]);
    forget();
    eventually(20, "it is told again", || stored() == ["2"; 3]);

    // The old one comes back, and the new one is down for a moment. Another router begins, which has seen nothing of all that.
    world.a.configure("synchronous_standby_names = ''");
    world.a.start();
    world.b.stop();
    let general = "failover_timeout = \"500ms\"";
    let second = Router::start_with(&beside_map(&etcd, &dir, "second", general), &[]);
    eventually(20, "it knows the old one for what it is", || {
        let refused =
            Raw::connect(second.port, "postgres", NAME).err().map(|error| error.to_string()).unwrap_or_default();
        refused.contains("57P03") && refused.contains("older timeline")
    });
    eventually(10, "it has written it down", || {
        fs::read_to_string(dir.join("second.timelines")).is_ok_and(|text| text.contains(":2"))
    });
    drop((first, second));

    // One that began while nobody could tell it is told as soon as somebody can.
    forget();
    let third = Router::start(&beside_map(&etcd, &dir, "third", ""));
    let mut raw = third.connect(NAME);
    raw.must("SET pgloom.failover_timeout = '500ms'");
    assert_eq!(raw.simple(&add).code(), "", "nobody has told it yet");
    let lost = balance(&world.a);
    let fourth = Router::launch(&beside_map(&etcd, &dir, "second", general));
    eventually(20, "it is told", || third.log_text().contains("no primary"));
    assert_eq!(raw.simple(&add).code(), "57P03");
    assert_eq!(balance(&world.a), lost);
    world.b.start();
    eventually(20, "the new one is back", || raw.simple(&add).code().is_empty());
    assert_eq!(balance(&world.a), lost);
    drop((third, fourth));
    let _ = fs::remove_dir_all(&dir);
}

/// With the map in the file: by `peers`.
#[test]
fn routers_that_know_each_other_tell_each_other_which_primaries_are_old() {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("peers-timelines-{}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    let own = |name: &str| format!("timelines_file = \"{}\"", dir.join(name).display());
    let world = World::create(&own("first"));
    let account: i32 = world.a.connect(NAME).value("SELECT min(id) FROM accounts").parse().unwrap();
    let add = format!("UPDATE accounts SET balance = balance + 1 WHERE id = {account}");
    let balance =
        |server: &Lone| server.connect(NAME).value(&format!("SELECT balance FROM accounts WHERE id = {account}"));
    world.a.kill();
    world.b.promote();
    eventually(20, "the new primary is followed", || world.router.connect(NAME).simple(&add).code().is_empty());

    // The old one comes back, and the new one is down for a moment. Another router begins, which has seen nothing of all that.
    world.a.configure("synchronous_standby_names = ''");
    world.a.start();
    world.b.stop();
    let servers: [&[&Lone]; 2] = [&[&world.a, &world.b], &[&world.other]];
    let peers = |port: u16| format!("peers = [\"127.0.0.1:{port}\"]\nfailover_timeout = \"500ms\"\n");
    let general = format!("{}{}", peers(world.router.port), own("second"));
    let second = Router::start_with(&config(&servers, &general), &[]);
    eventually(20, "it knows the old one for what it is", || {
        let refused =
            Raw::connect(second.port, "postgres", NAME).err().map(|error| error.to_string()).unwrap_or_default();
        refused.contains("57P03") && refused.contains("older timeline")
    });
    eventually(10, "it has written it down", || {
        fs::read_to_string(dir.join("second")).is_ok_and(|text| text.contains("/s0/") && text.contains(":2"))
    });

    // One that nobody tells anything believes the old one, until it knows somebody who knows better.
    let third = Router::start(&config(&servers, &own("third")));
    let mut raw = third.connect(NAME);
    raw.must("SET pgloom.failover_timeout = '500ms'");
    assert_eq!(raw.simple(&add).code(), "", "nobody has told it");
    let lost = balance(&world.a);
    let text = third.config_text().replacen("[general]\n", &format!("[general]\n{}", peers(second.port)), 1);
    assert_eq!(third.reload(&text), "applied");
    eventually(20, "it is told", || third.log_text().contains("no primary"));
    assert_eq!(raw.simple(&add).code(), "57P03");
    assert_eq!(balance(&world.a), lost);
    world.b.start();
    eventually(20, "the new one is back", || raw.simple(&add).code().is_empty());
    assert_eq!(balance(&world.a), lost);

    // Who is told the timelines is told no names.
    let packet = [&8_u32.to_be_bytes()[..], &0x504c_0003_u32.to_be_bytes()].concat();
    let mut stream = TcpStream::connect(("127.0.0.1", third.port)).unwrap();
    stream.write_all(&packet).unwrap();
    let mut told = Vec::new();
    stream.read_to_end(&mut told).unwrap();
    assert_eq!((&told[..4], told.len()), (&b"PLT\x01"[..], 8 + 3 * 20), "{told:?}");

    // A router that hangs holds nobody up for long.
    let hangs = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let general = format!("peers = [\"{}\"]\n{}", hangs.local_addr().unwrap(), own("fourth"));
    let begun = Instant::now();
    let fourth = Router::start(&config(&servers, &general));
    assert_eq!(fourth.connect(NAME).simple(&add).code(), "");
    assert!(begun.elapsed() < Duration::from_secs(25), "{:?}", begun.elapsed());
    let _ = fs::remove_dir_all(&dir);
}

#[test]
fn of_two_primaries_on_one_timeline_none_is_written_and_one_that_is_behind_never() {
    let world = World::create("failover_timeout = \"500ms\"");
    let (mut raw, account) = world.client();
    world.a.configure("synchronous_standby_names = ''");
    world.a.connect("postgres").must("SELECT pg_reload_conf()");
    let add = format!("UPDATE accounts SET balance = balance + 1 WHERE id = {account}");
    let balance =
        |server: &Lone| server.connect(NAME).value(&format!("SELECT balance FROM accounts WHERE id = {account}"));
    let told = |router: &Router| Raw::connect(router.port, "postgres", NAME).err().unwrap_or_default();
    world.b.stop();
    world.b.forget_primary();
    world.b.start();
    eventually(10, "nobody is the primary", || world.roles() == ["fenced", "fenced"]);
    let refused = raw.simple(&add);
    assert_eq!(refused.code(), "57P03");
    assert!(refused.error.unwrap().to_string().contains("two servers take writes on the same timeline"));
    // Nor for a router that begins while both are there.
    let second =
        Router::start_with(&config(&[&[&world.a, &world.b], &[&world.other]], "failover_timeout = \"500ms\""), &[]);
    std::thread::sleep(Duration::from_secs(2));
    let metrics = second.http("/metrics").1;
    let primary =
        |line: &&str| line.contains("shard=\"s0\"") && line.contains("role=\"primary\"") && line.ends_with(" 1");
    assert!(!metrics.lines().any(|line| line.starts_with("pgloom_server_role{") && primary(&line)), "{metrics}");
    assert!(told(&second).starts_with("57P03"), "{}", told(&second));
    assert_eq!([balance(&world.a), balance(&world.b)], [BALANCE, BALANCE].map(|sum| sum.to_string()));

    // One is gone: the other is the primary for both routers.
    world.b.kill();
    eventually(10, "it is written again", || raw.simple(&add).code().is_empty());
    eventually(10, "by the other router, too", || {
        Raw::connect(second.port, "postgres", NAME).is_ok_and(|mut raw| raw.simple(&add).code().is_empty())
    });
    // It goes on, and breaks; the other one comes back with less than what was written.
    world.a.connect("postgres").must("SELECT pg_switch_wal()");
    raw.must(&add);
    std::thread::sleep(Duration::from_secs(1));
    world.a.kill();
    world.b.start();
    let before = balance(&world.b);
    eventually(10, "it is known for what it is", || world.roles()[1] == "fenced");
    let refused = raw.simple(&add);
    assert!(matches!(refused.code(), "57P03" | "08001" | "08006"), "{refused:?}");
    assert_eq!(raw.simple(&add).code(), "57P03");
    assert_eq!(balance(&world.b), before);
    // With both there again nobody can say who is right.
    world.a.start();
    eventually(10, "nobody is the primary", || world.roles() == ["fenced", "fenced"]);
    world.b.kill();
    eventually(10, "it is written again", || raw.simple(&add).code().is_empty());
    assert_eq!(balance(&world.a), (BALANCE + 4).to_string());
}

/// One became two by a copy of its directory: both have its system identifier, and each has timelines of its own.
#[test]
fn shards_that_are_copies_of_one_have_timelines_of_their_own() {
    let a = primary();
    let copy = a.standby();
    copy.start();
    copy.promote();
    let dead = || {
        let nobody = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        format!("{{ host = \"127.0.0.1\", port = {} }}", nobody.local_addr().unwrap().port())
    };
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("copies-{}.timelines", std::process::id()));
    let mut text = config(&[&[&a], &[&copy]], &format!("timelines_file = \"{}\"", kept.display()));
    for server in [&a, &copy] {
        let own = format!("port = {} }}", server.port);
        text = text.replace(&own, &format!("{own}, {}", dead()));
    }
    for _ in 0..2 {
        let router = Router::start(&text);
        let mut raw = router.connect(NAME);
        eventually(10, "both are primaries", || {
            raw.named("SHOW pgloom.servers").iter().filter(|row| row["role"] == "primary").count() == 2
        });
        raw.must("UPDATE accounts SET balance = balance + 0");
        // What is kept says so at the next start.
        eventually(10, "it is written down", || fs::read_to_string(&kept).is_ok_and(|text| text.contains("/s1/")));
        assert!(!fs::read_to_string(&kept).unwrap().contains("/s0/"));
    }
    let _ = fs::remove_file(&kept);
}

#[test]
fn what_is_open_on_an_old_primary_is_lost_when_another_one_takes_over() {
    let world = World::create("");
    world.a.configure("synchronous_standby_names = ''");
    world.a.connect("postgres").must("SELECT pg_reload_conf()");
    let (mut raw, account) = world.client();
    let (mut second, mut pinned) = (world.router.connect(NAME), world.router.connect(NAME));
    let add = format!("UPDATE accounts SET balance = balance + 1 WHERE id = {account}");
    raw.must(&format!("BEGIN; {add}"));
    second.must(&format!("BEGIN; SELECT * FROM accounts WHERE id = {account}"));
    pinned.must(&format!("SELECT pg_advisory_lock(1), (SELECT count(*) FROM accounts WHERE id = {account})"));
    // Both take writes now.
    world.b.promote();
    eventually(10, "the newer one is followed", || world.roles() == ["fenced", "primary"]);
    let failed = raw.simple("COMMIT");
    assert_eq!((failed.code(), failed.status), ("40000", b'I'), "{failed:?}");
    assert_eq!(second.simple(&format!("SELECT * FROM accounts WHERE id = {account}")).code(), "40000");
    assert_eq!(second.simple("COMMIT").answers[0].tag.as_deref(), Some("ROLLBACK"));
    let balance =
        |server: &Lone| server.connect(NAME).value(&format!("SELECT balance FROM accounts WHERE id = {account}"));
    assert_eq!([balance(&world.a), balance(&world.b)], [BALANCE, BALANCE].map(|sum| sum.to_string()));
    raw.must(&add);
    assert_eq!([balance(&world.a), balance(&world.b)], [BALANCE, BALANCE + 1].map(|sum| sum.to_string()));
    // The lock was on the home shard, which is s0.
    let reply = pinned.simple("SELECT pg_advisory_unlock(1)");
    assert_eq!((reply.code(), reply.status), ("57P01", 0), "{reply:?}");
}

#[test]
fn what_is_open_while_the_list_of_servers_changes_is_lost_when_another_one_takes_over() {
    let world = World::create("");
    let World { a, b, other, router } = &world;
    a.configure("synchronous_standby_names = ''");
    a.connect("postgres").must("SELECT pg_reload_conf()");
    let (mut raw, account) = world.client();
    let (mut kept, far) = (router.connect(NAME), other.connect(NAME).value("SELECT min(id) FROM accounts"));
    let add = format!("UPDATE accounts SET balance = balance + 1 WHERE id = {account}");
    raw.must(&format!("BEGIN; {add}"));
    kept.must(&format!("BEGIN; UPDATE accounts SET balance = balance + 0 WHERE id = {far}"));
    let (port, http_port) = (router.port.to_string(), router.http_port.to_string());
    let text = config(&[&[b, a], &[other]], "").replace("{port}", &port).replace("{http_port}", &http_port);
    assert_eq!(router.reload(&text), "applied");
    raw.must(&add);
    // Both take writes now.
    b.promote();
    eventually(10, "the newer one is followed", || world.roles() == ["primary", "fenced"]);
    std::thread::sleep(Duration::from_secs(2));
    let failed = raw.simple("COMMIT");
    assert_eq!((failed.code(), failed.status), ("40000", b'I'), "{failed:?}");
    kept.must("COMMIT");
    let balance =
        |server: &Lone| server.connect(NAME).value(&format!("SELECT balance FROM accounts WHERE id = {account}"));
    assert_eq!([balance(a), balance(b)], [BALANCE, BALANCE].map(|sum| sum.to_string()));
    raw.must(&add);
    assert_eq!([balance(a), balance(b)], [BALANCE, BALANCE + 1].map(|sum| sum.to_string()));
}

#[test]
fn what_an_old_primary_does_when_another_one_has_taken_over_is_not_acknowledged() {
    let world = World::create("");
    world.a.configure("synchronous_standby_names = ''");
    world.a.connect("postgres").must("SELECT pg_reload_conf()");
    for server in [&world.a, &world.other] {
        server.connect(NAME).must(
            "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(90); RETURN NULL; END'; \
             CREATE CONSTRAINT TRIGGER slow AFTER UPDATE ON accounts DEFERRABLE INITIALLY DEFERRED \
             FOR EACH ROW WHEN (NEW.balance = 4242) EXECUTE FUNCTION slow()",
        );
    }
    let far: i32 = world.other.connect(NAME).value("SELECT min(id) FROM accounts").parse().unwrap();
    let at_work = || -> i32 {
        let sql = format!("SELECT count(*) FROM pg_stat_activity WHERE datname = '{NAME}' AND wait_event = 'PgSleep'");
        world.a.connect(NAME).value(&sql).parse().unwrap()
    };
    eventually(20, "its standby has the trigger", || {
        world.b.connect(NAME).value("SELECT count(*) FROM pg_trigger WHERE tgname = 'slow'") == "1"
    });
    // A statement by itself, and the commit of a transaction over two shards.
    let (mut alone, account) = world.client();
    let mut both = world.router.connect(NAME);
    both.must(&format!("BEGIN; UPDATE accounts SET balance = 4242 WHERE id = {account}"));
    both.must(&format!("UPDATE accounts SET balance = balance + 1 WHERE id = {far}"));
    let mine = world.a.connect(NAME).value("SELECT max(id) FROM accounts");
    let slowly = format!("UPDATE accounts SET balance = 0 WHERE id = {mine} AND pg_sleep(90) IS NOT NULL");
    alone.send(&m::query(&slowly)).unwrap();
    both.send(&m::query("COMMIT")).unwrap();
    eventually(20, "both are at work", || at_work() == 2);
    world.b.promote();
    eventually(20, "the newer one is followed", || world.roles() == ["fenced", "primary"]);
    // Of the second one it was asked, and fenced, on the new primary.
    for (raw, code) in [(&mut alone, "08006"), (&mut both, "40000")] {
        let messages = raw.read_to_ready().unwrap();
        let error =
            messages.iter().find(|message| message.tag == b'E').map(|message| message.report().code().to_owned());
        assert_eq!(error.as_deref(), Some(code), "{messages:?}");
        assert_eq!(messages.last().unwrap().body[0], b'I');
    }
    assert_eq!(at_work(), 2, "nobody waited for it");
    let balances = |server: &Lone| server.connect(NAME).value("SELECT sum(balance) FROM accounts");
    let prepared = || world.other.connect(NAME).value("SELECT count(*) FROM pg_prepared_xacts");
    eventually(30, "the other shard's part is rolled back", || prepared() == "0");
    let whole: i64 = [&world.b, &world.other].into_iter().map(|server| balances(server).parse::<i64>().unwrap()).sum();
    assert_eq!(whole, i64::try_from(bank::ACCOUNTS).unwrap() * BALANCE);
    let add = |id: i32| format!("UPDATE accounts SET balance = balance + 0 WHERE id IN ({id}, {far})");
    for raw in [&mut alone, &mut both] {
        assert_eq!(raw.must(&add(account)).answers[0].tag.as_deref(), Some("UPDATE 2"));
    }
}

#[test]
fn servers_come_and_go_in_the_configuration_while_their_primary_is_written() {
    let world = World::create("failover_timeout = \"1s\"");
    let World { a, b, other, router } = &world;
    let (mut raw, account) = world.client();
    let add = format!("UPDATE accounts SET balance = balance + 1 WHERE id = {account}");
    // One that answers nobody, as a machine that is being set up.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let text = |servers: &[&Lone]| config(&[servers, &[other]], "failover_timeout = \"1s\"");
    let two = text(&[a, b]);
    let more = format!(" }}, {{ host = \"127.0.0.1\", port = {} }}]", silent.local_addr().unwrap().port());
    let three = two.replacen(" }]", &more, 1);
    let c = a.standby();
    c.start();
    for text in [&three, &two, &text(&[a, b, &c]), &text(&[&c, a]), &text(&[a])] {
        let (port, http_port) = (router.port.to_string(), router.http_port.to_string());
        let text = text.replace("{port}", &port).replace("{http_port}", &http_port);
        // What runs over the change goes on.
        let mut open = router.connect(NAME);
        open.must("BEGIN");
        open.must(&format!("SELECT balance FROM accounts WHERE id = {account}"));
        assert_eq!(router.reload(&text), "applied", "{text}");
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!(router.reload(&format!("{text}nonsense")), "rejected");
        open.must(&add);
        open.must("COMMIT");
        for _ in 0..50 {
            assert_eq!(raw.must(&add).answers[0].tag.as_deref(), Some("UPDATE 1"));
        }
        std::thread::sleep(Duration::from_millis(700));
        assert_eq!(raw.must(&add).answers[0].tag.as_deref(), Some("UPDATE 1"));
    }
    // One that has been promoted comes into the list: nothing is written any more to the one that was the primary.
    c.configure("synchronous_standby_names = ''");
    c.promote();
    c.connect("postgres").must("SELECT pg_reload_conf()");
    let balance =
        |server: &Lone| server.connect(NAME).value(&format!("SELECT balance FROM accounts WHERE id = {account}"));
    let before = balance(a);
    let both = text(&[a, &c]);
    let (port, http_port) = (router.port.to_string(), router.http_port.to_string());
    let both = both.replace("{port}", &port).replace("{http_port}", &http_port);
    assert_eq!(router.reload(&both), "applied");
    raw.must(&add);
    assert_eq!(balance(a), before);
}

#[test]
fn a_server_of_another_cluster_is_never_taken() {
    let (real, mut stranger) = (primary(), primary());
    let standby = real.standby();
    standby.start();
    let router = Router::start(&config(&[&[&real, &standby]], "failover_timeout = \"1s\""));
    let mut raw = router.connect(NAME);
    raw.must("INSERT INTO accounts VALUES (1, 1)");
    // Another cluster comes to listen where the standby was, and takes writes.
    let port = standby.port;
    standby.stop();
    stranger.stop();
    stranger.configure(&format!("port = {port}"));
    stranger.port = port;
    stranger.start();
    eventually(10, "it is seen to be a stranger", || roles(&mut raw) == ["primary", "stranger"]);
    real.stop();
    assert_eq!(raw.simple("INSERT INTO accounts VALUES (2, 1)").code(), "57P03");
    assert_eq!(stranger.connect(NAME).value("SELECT count(*) FROM accounts"), "0");
    real.start();
    eventually(10, "the primary is back", || raw.simple("INSERT INTO accounts VALUES (2, 1)").code().is_empty());
}

#[test]
fn servers_are_restarted_and_change_their_roles_under_load_and_nothing_that_was_acknowledged_is_lost() {
    let world = World::create("");
    let World { a, b, other, router } = &world;
    let desk = Desk::default();
    desk.routers.iter().for_each(|port| port.store(router.port, Ordering::Relaxed));
    let heard: Vec<Vec<(u64, Told)>> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..8)
            .map(|seed| {
                scope.spawn({
                    let desk = &desk;
                    move || desk.client(seed)
                })
            })
            .collect();
        let going_on = |what: &str| {
            let (since, start) = (desk.done(), Instant::now());
            eventually(30, what, || desk.done() > since + 40);
            println!("{what}: 40 transfers in {:?}", start.elapsed());
        };
        going_on("before");
        // The other shard, and the standby.
        other.stop();
        other.start();
        b.stop();
        b.start();
        going_on("after restarts of a lone server and of a standby");
        // A switchover in order: the old primary becomes the standby of the new one.
        a.stop();
        b.configure("synchronous_standby_names = '*'");
        b.promote();
        b.connect("postgres").must("SELECT pg_reload_conf()");
        a.follow(b);
        a.start();
        going_on("after a switchover");
        eventually(10, "roles have changed", || world.roles() == ["replica", "primary"]);
        // A failover: the new primary loses its power.
        b.kill();
        a.promote();
        a.configure("synchronous_standby_names = ''");
        a.connect("postgres").must("SELECT pg_reload_conf()");
        going_on("after a failover");
        // The one that lost its power comes back as if nothing had happened.
        b.configure("synchronous_standby_names = ''");
        b.start();
        eventually(10, "it is fenced", || world.roles() == ["primary", "fenced"]);
        going_on("with an old primary");
        desk.stop.store(true, Ordering::Relaxed);
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    let told: HashMap<u64, Told> = heard.into_iter().flatten().collect();
    let count = |of: Told| told.values().filter(|told| **told == of).count();
    println!("{} done, {} not done, {} unknown", count(Told::Done), count(Told::NotDone), count(Told::Nothing));
    let prepared = |server: &Lone| server.connect(NAME).values("SELECT gid FROM pg_prepared_xacts");
    eventually(30, "nothing stays prepared", || [a, other].into_iter().all(|server| prepared(server).is_empty()));
    audit([a, other], &told);
}

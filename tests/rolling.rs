//! Servers known by name: names that lead elsewhere, and a round of restarts of all of them under two routers.

#![allow(clippy::unwrap_used, dead_code)]

#[path = "chaos/bank.rs"]
mod bank;
mod support;
#[path = "servers/world.rs"]
mod world;

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bank::{ACCOUNTS, BALANCE, Desk, NAME, Told, audit};
use support::{Lone, Raw, Router, eventually};
use world::{config, primary, roles};

/// A file that tells names, in the place of `/etc/hosts`.
struct Hosts(PathBuf);

impl Hosts {
    fn new(label: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("hosts-{label}-{}", std::process::id()));
        Self(path)
    }

    fn say(&self, names: &[(&str, &str)]) {
        let lines: String = names.iter().map(|(name, address)| format!("{address} {name}\n")).collect();
        // In place: the routers' mounts are of this file.
        fs::write(&self.0, format!("127.0.0.1 localhost\n{lines}")).unwrap();
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// A server moves to another address of this machine, and keeps its port; stopped before.
fn listen(server: &Lone, addresses: &str) {
    server.configure(&format!("listen_addresses = '{addresses}'"));
}

/// What DNS does where it is the way of a failover: the name leads to the new server, and the old one still answers.
#[test]
fn a_name_that_leads_elsewhere_is_followed_by_connections_that_are_there() {
    let hosts = Hosts::new("moves");
    hosts.say(&[("db.test", "127.0.0.1")]);
    let (old, other) = (primary(), primary());
    let mut new = old.standby();
    new.configure(&format!("port = {}\nlisten_addresses = '127.0.0.2'", old.port));
    new.start();
    new.port = old.port;
    let general = "dns_max_ttl = \"300ms\"\nadmin_users = [\"postgres\"]";
    let text = config(&[&[&old], &[&other]], general).replace(
        &format!("host = \"127.0.0.1\", port = {}", old.port),
        &format!("host = \"db.test\", port = {}", old.port),
    );
    let router = Router::start_with_hosts(&text, &hosts.0);
    let mut raw = router.connect(NAME);
    let rows: Vec<String> = (0..ACCOUNTS).map(|id| format!("({id}, {BALANCE})")).collect();
    raw.must(&format!("INSERT INTO accounts VALUES {}", rows.join(", ")));
    let account: i32 = old.connect(NAME).value("SELECT min(id) FROM accounts").parse().unwrap();
    let read = format!("SELECT balance FROM accounts WHERE id = {account}");
    let mut there = Raw::connect_to("127.0.0.2", new.port, "postgres", NAME).unwrap();
    eventually(10, "the standby has everything", || {
        there.value("SELECT count(*) FROM accounts") == old.connect(NAME).value("SELECT count(*) FROM accounts")
    });
    assert_eq!(there.value("SELECT pg_promote()"), "t");
    there.must(&format!("UPDATE accounts SET balance = balance + 1 WHERE id = {account}"));
    // A connection that is in a transaction stays where it is until that is over; nobody meets an error.
    let mut open = router.connect(NAME);
    open.must(&format!("BEGIN; {read}"));
    assert_eq!(raw.value(&read), BALANCE.to_string());
    let mut console = Raw::connect(router.port, "postgres", "pgloom").unwrap();
    let mut found = || -> (String, String) {
        let rows = console.named("SHOW DNS_HOSTS");
        assert_eq!((rows.len(), &*rows[0]["hostname"]), (1, "db.test"));
        (rows[0]["addrs"].clone(), rows[0]["ttl"].clone())
    };
    assert_eq!(found(), ("127.0.0.1".to_owned(), "0".to_owned()));
    hosts.say(&[("db.test", "127.0.0.2")]);
    eventually(20, "the new one is read", || raw.value(&read) == (BALANCE + 1).to_string());
    assert!(router.log_text().contains("the name has other addresses now"));
    assert_eq!(found().0, "127.0.0.2");
    assert_eq!(open.value(&read), BALANCE.to_string());
    open.must("COMMIT");
    for _ in 0..20 {
        raw.must(&format!("UPDATE accounts SET balance = balance + 1 WHERE id = {account}"));
        assert_eq!(raw.must(&read).code(), "");
    }
    assert_eq!(open.value(&read), (BALANCE + 21).to_string());
    assert_eq!(old.connect(NAME).value(&read), BALANCE.to_string());
    // Back, while the name has both for a moment.
    hosts.say(&[("db.test", "127.0.0.2"), ("db.test", "127.0.0.1")]);
    std::thread::sleep(Duration::from_millis(700));
    assert_eq!(found().0, "127.0.0.1,127.0.0.2");
    assert!([BALANCE, BALANCE + 21].map(|sum| sum.to_string()).contains(&raw.value(&read)));
    hosts.say(&[("db.test", "127.0.0.1")]);
    eventually(20, "the old one is read", || raw.value(&read) == BALANCE.to_string());
    // Its own way to stop is not known to `Lone`, which looks at the address of the other one: `pg_ctl` does.
    drop(there);
}

/// Reads of shard `s0` until it is told to stop, from whichever server; what was wrong with them.
fn read(router: &Router, account: i32, stop: &AtomicBool) -> (u64, Vec<String>) {
    let mut raw = router.connect(NAME);
    raw.set_patience(Duration::from_secs(30));
    raw.must("SET pgloom.read_preference = 'nearest'");
    let (mut done, mut wrong) = (0, Vec::new());
    while !stop.load(Ordering::Relaxed) {
        let reply = raw.simple(&format!("SELECT balance FROM accounts WHERE id = {account}"));
        done += 1;
        if !reply.code().is_empty() || reply.status != b'I' {
            wrong.push(format!("{reply:?}"));
            raw = router.connect(NAME);
        }
    }
    (done, wrong)
}

/// What a client may be told of a transfer whose server ends in its middle (P2 of the design), or that others were in the way of.
const PERMITTED: [&str; 9] = ["08001", "08006", "08007", "40000", "40001", "40P01", "57P01", "57P03", "23514"];

#[test]
fn all_servers_are_restarted_one_after_the_other_under_two_routers_and_only_what_may_fail_does() {
    let hosts = Hosts::new("rolling");
    hosts.say(&[("a.test", "127.0.0.1"), ("b.test", "127.0.0.1"), ("c.test", "127.0.0.1")]);
    let (a, other) = (primary(), primary());
    let b = a.standby();
    b.start();
    a.configure("synchronous_standby_names = '*'");
    a.connect("postgres").must("SELECT pg_reload_conf()");
    let mut text = config(&[&[&a, &b], &[&other]], "dns_max_ttl = \"300ms\"");
    for (server, name) in [(&a, "a.test"), (&b, "b.test"), (&other, "c.test")] {
        let at = |host: &str| format!("host = \"{host}\", port = {}", server.port);
        text = text.replace(&at("127.0.0.1"), &at(name));
    }
    let routers = [Router::start_with_hosts(&text, &hosts.0), Router::start_with_hosts(&text, &hosts.0)];
    let rows: Vec<String> = (0..ACCOUNTS).map(|id| format!("({id}, {BALANCE})")).collect();
    routers[0].connect(NAME).must(&format!("INSERT INTO accounts VALUES {}", rows.join(", ")));
    let account: i32 = a.connect(NAME).value("SELECT min(id) FROM accounts").parse().unwrap();
    let desk = Desk::default();
    desk.routers.iter().zip(&routers).for_each(|(port, router)| port.store(router.port, Ordering::Relaxed));
    let ended = AtomicBool::new(false);
    let seen = |roles_of: [&str; 2]| {
        eventually(20, "both routers know the roles", || {
            routers.iter().all(|router| roles(&mut router.connect(NAME)) == roles_of)
        });
    };
    let (heard, reads) = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..6)
            .map(|seed| {
                let desk = &desk;
                scope.spawn(move || desk.client(seed))
            })
            .collect();
        let readers: Vec<_> = routers
            .iter()
            .map(|router| {
                let ended = &ended;
                scope.spawn(move || read(router, account, ended))
            })
            .collect();
        let going_on = |what: &str| {
            let since = desk.done();
            eventually(30, what, || desk.done() > since + 30);
        };
        going_on("before");
        // Each primary where it is; the replica.
        other.stop();
        other.start();
        going_on("after a restart of the lone server");
        b.stop();
        b.start();
        going_on("after a restart of the replica");
        seen(["primary", "replica"]);
        a.stop();
        a.start();
        going_on("after a restart of the primary");
        // A switchover: b is promoted, and a comes back as its replica, at another address, to which its name leads by then.
        a.stop();
        b.configure("synchronous_standby_names = '*'");
        b.promote();
        b.connect("postgres").must("SELECT pg_reload_conf()");
        a.follow(&b);
        listen(&a, "127.0.0.2");
        hosts.say(&[("a.test", "127.0.0.2"), ("b.test", "127.0.0.1"), ("c.test", "127.0.0.1")]);
        a.start();
        going_on("after a switchover");
        seen(["replica", "primary"]);
        // The lone server moves too.
        other.stop();
        listen(&other, "127.0.0.1, 127.0.0.3");
        hosts.say(&[("a.test", "127.0.0.2"), ("b.test", "127.0.0.1"), ("c.test", "127.0.0.3")]);
        other.start();
        going_on("after the lone server has moved");
        desk.stop.store(true, Ordering::Relaxed);
        ended.store(true, Ordering::Relaxed);
        let heard: Vec<_> = clients.into_iter().map(|client| client.join().unwrap()).collect();
        (heard, readers.into_iter().map(|reader| reader.join().unwrap()).collect::<Vec<_>>())
    });
    let told: HashMap<u64, Told> = heard.into_iter().flatten().collect();
    let count = |of: Told| told.values().filter(|told| **told == of).count();
    let errors = desk.errors.lock().unwrap().clone();
    println!("{} done, {} not done, {} unknown", count(Told::Done), count(Told::NotDone), count(Told::Nothing));
    println!("errors: {errors:?}; reads: {:?}", reads.iter().map(|(done, _)| done).collect::<Vec<_>>());
    for (done, wrong) in &reads {
        assert!(*done > 50 && wrong.is_empty(), "{done} reads, of which failed: {wrong:?}");
    }
    assert!(errors.keys().all(|code| PERMITTED.contains(&&**code)), "{errors:?}");
    let prepared = |server: &Lone| server.connect(NAME).values("SELECT gid FROM pg_prepared_xacts");
    eventually(30, "nothing stays prepared", || [&b, &other].into_iter().all(|server| prepared(server).is_empty()));
    audit([&b, &other], &told);
}

//! Users whom the home shard is asked for (`auth_query`).

use std::time::{Duration, Instant};

use pgloom::wire::auth::ScramVerifier;
use pgloom::wire::auth::scram::DEFAULT_ITERATIONS;

use crate::support::raw::{Raw, message as m};
use crate::support::sharded::config;
use crate::support::{Cluster, Database, Router, SHARDS, eventually};
use crate::{assert_says, psql};

fn verifier(password: &str, salt: &[u8]) -> String {
    let verifier = ScramVerifier::generate(password.as_bytes(), salt, DEFAULT_ITERATIONS);
    String::from_utf8(verifier.to_text().reveal().to_vec()).unwrap()
}

/// A role that the servers ask for its password by SCRAM, and of which the configuration knows nothing.
struct World {
    router: Router,
    role: String,
    db: Database,
}

impl World {
    fn create(label: &str, general: &str) -> Self {
        let db = Database::create(label);
        let role = format!("r_{}", db.name);
        db.everywhere(&format!(
            "CREATE TABLE items (id int PRIMARY KEY, n int); CREATE TABLE parts (id int); CREATE TABLE places (x int); \
             CREATE ROLE {role} LOGIN PASSWORD '{}' IN ROLE scram_group, pg_read_all_data, pg_write_all_data",
            verifier("secret", b"0123456789abcdef")
        ));
        let users = "[[users]]\nname = \"listed\"\npassword = \"known\"\nserver_user = \"postgres\"\n";
        let general = format!("auth_type = \"scram-sha-256\"\nauth_query_ttl = \"1s\"\n{general}");
        let text = config(&db.name, &db.ports(), &general, users);
        let head = format!("[databases.{}]\n", db.name);
        let text = text.replacen(&head, &format!("{head}router_user = \"postgres\"\n"), 1);
        Self { router: Router::start(&text), role, db }
    }

    fn psql(&self, password: &str, sql: &str) -> Result<String, String> {
        self.as_user(&self.role, password, sql, "")
    }

    fn as_user(&self, user: &str, password: &str, sql: &str, more: &str) -> Result<String, String> {
        psql(self.router.port, &format!("'{user}'"), &self.db.name, password, sql, more)
    }

    fn on_all(&self, sql: &str) {
        (0..SHARDS).for_each(|shard| drop(self.db.shard(shard).must(sql)));
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let cluster = Cluster::shared();
        for server in cluster.shards.iter().chain([&cluster.oracle]) {
            let _ = server.connect("postgres").simple(&format!("DROP ROLE {}", self.role));
        }
    }
}

const ON: &str = "auth_query = \"on\"";

#[test]
fn roles_of_the_home_shard_come_in_by_their_passwords() {
    let world = World::create("asked", ON);
    let insert = "INSERT INTO items SELECT i, i FROM generate_series(1, 100) i RETURNING 1";
    assert_eq!(world.psql("secret", insert).unwrap().lines().count(), 101);
    assert_eq!(world.psql("secret", "SELECT sum(n), count(*) FROM items").as_deref(), Ok("5050|100"));
    assert_eq!(world.psql("secret", "SELECT current_user, session_user").unwrap(), format!("{0}|{0}", world.role));
    // The configuration's users are those of the configuration.
    assert_eq!(world.as_user("listed", "known", "SELECT count(*) FROM items", "").as_deref(), Ok("100"));
    // A wrong password, and one of nobody: the same words.
    let cut = |user: &str| user[..user.len().min(63)].to_owned();
    let said = |user: &str| world.as_user(user, "wrong", "SELECT 1", "").unwrap_err().replace(&cut(user), "USER");
    let wrong = said(&world.role);
    assert!(wrong.contains("password authentication failed for user \"USER\""), "{wrong}");
    let longer = "n".repeat(100);
    let other_case = world.role.to_uppercase();
    for nobody in ["nobody", "listed", "x OR true", "x; SELECT 1", "pg_monitor", &*longer, &*other_case] {
        assert_eq!(said(nobody), wrong, "{nobody}");
    }
    assert_says(&psql(world.router.port, &world.role, "pgloom", "secret", "SHOW VERSION", ""), "authentication failed");
    // Another one comes in under another configuration.
    let text = world.router.config_text().replacen("[general]\n", "[general]\nquery_timeout = \"1h\"\n", 1);
    assert_eq!(world.router.reload(&text), "applied");
    assert_eq!(world.psql("secret", "SELECT count(*) FROM items").as_deref(), Ok("100"));
    let log = world.router.log_text();
    assert!(!log.contains("SCRAM-SHA-256$") && !log.contains("secret"), "secrets are not logged");
}

#[test]
fn a_session_goes_on_under_another_configuration() {
    let world = World::create("askedreload", ON);
    let said = std::thread::scope(|scope| {
        let running = scope.spawn(|| {
            let address =
                format!("host=127.0.0.1 port={} user={} dbname={}", world.router.port, world.role, world.db.name);
            let asked = ["-c", "SELECT pg_sleep(4)", "-c", "SELECT count(*) FROM items", "-c", "BEGIN", "-c", "COMMIT"];
            let mut psql = std::process::Command::new("psql");
            psql.args(["-X", "-At", "-w"]).args(asked).arg(address).env("PGPASSWORD", "secret");
            psql.output().unwrap()
        });
        let metric = |name: &str| world.router.http("/metrics").1.lines().any(|line| line == name);
        eventually(20, "it runs", || metric("pgloom_clients 1"));
        let text = world.router.config_text().replacen("[general]\n", "[general]\ndefault_pool_size = 3\n", 1);
        assert_eq!(world.router.reload(&text), "applied");
        running.join().unwrap()
    });
    let out = String::from_utf8_lossy(&said.stdout).into_owned();
    assert_eq!(out.split_whitespace().collect::<Vec<_>>(), ["0", "BEGIN", "COMMIT"], "{said:?}");
}

#[test]
fn what_changes_on_the_home_shard_is_known_soon() {
    let world = World::create("askedsoon", ON);
    let role = &world.role;
    assert_eq!(world.psql("secret", "SELECT count(*) FROM items").as_deref(), Ok("0"));
    let comes_in = |password: &str| world.psql(password, "SELECT count(*) FROM items").is_ok();
    let changed = verifier("changed", b"fedcba9876543210");
    world.on_all(&format!("ALTER ROLE {role} PASSWORD '{changed}'"));
    eventually(20, "the new password counts", || comes_in("changed"));
    assert_says(&world.psql("secret", "SELECT 1"), "password authentication failed");
    for (away, back) in [
        ("NOLOGIN", "LOGIN"),
        ("VALID UNTIL '2020-01-01'", "VALID UNTIL 'infinity'"),
        ("PASSWORD NULL", &*format!("PASSWORD '{changed}'")),
    ] {
        world.on_all(&format!("ALTER ROLE {role} {away}"));
        eventually(20, "who may not log in is nobody", || !comes_in("changed"));
        assert_says(&world.psql("changed", "SELECT 1"), "password authentication failed");
        world.on_all(&format!("ALTER ROLE {role} {back}"));
        eventually(20, "and somebody again", || comes_in("changed"));
    }
}

#[test]
fn nothing_of_the_client_reaches_the_question() {
    let function = "SELECT name, password FROM asks.login_of($1)";
    let world = World::create("askedsafe", &format!("auth_query = \"{function}\""));
    let mut home = world.db.shard(0);
    // Until there is the function nobody can tell, whoever asks; the log has the cause.
    for user in [&*world.role, "nobody"] {
        assert_says(
            &world.as_user(user, "secret", "SELECT 1", ""),
            "the users of this database cannot be looked up now",
        );
    }
    let log = world.router.log_text();
    assert!(log.contains("asks") && log.contains("does not exist"), "{log}");
    assert_eq!(world.as_user("listed", "known", "SELECT 1", "").as_deref(), Ok("1"), "others come in");
    home.must(
        "CREATE SCHEMA asks; CREATE SCHEMA evil; \
         CREATE FUNCTION asks.login_of(wanted text, OUT name text, OUT password text) LANGUAGE sql AS $$ \
         SELECT rolname, rolpassword FROM pg_catalog.pg_authid \
         WHERE rolname = wanted AND current_setting('search_path') = '\"\"' $$",
    );
    let evil = "options='-c search_path=evil,pg_catalog'";
    assert_eq!(world.as_user(&world.role, "secret", "SELECT 1", evil).as_deref(), Ok("1"));
    // A row for somebody else is no answer, nor are several.
    home.must(&format!(
        "CREATE OR REPLACE FUNCTION asks.login_of(wanted text, OUT name text, OUT password text) LANGUAGE sql AS $$ \
         SELECT rolname, rolpassword FROM pg_catalog.pg_authid WHERE rolname = '{}' $$",
        world.role
    ));
    assert_says(&world.as_user("somebody", "secret", "SELECT 1", ""), "password authentication failed");
    home.must("DROP FUNCTION asks.login_of");
    home.must(
        "CREATE FUNCTION asks.login_of(wanted text, OUT name text, OUT password text) RETURNS SETOF record LANGUAGE sql AS \
         $$ SELECT wanted, 'x' FROM generate_series(1, 2) $$",
    );
    assert_says(&world.as_user("another", "x", "SELECT 1", ""), "cannot be looked up now");
    let text = world.router.config_text();
    // What another query says counts at once, and without one there are no such users.
    let other = "SELECT rolname, rolpassword FROM pg_catalog.pg_authid WHERE rolname = $1";
    assert_eq!(world.router.reload(&text.replace(function, other)), "applied");
    assert_eq!(world.as_user(&world.role, "secret", "SELECT 1", "").as_deref(), Ok("1"));
    let none = format!("auth_query = \"{function}\"");
    assert!(text.contains(&none), "{text}");
    assert_eq!(world.router.reload(&text.replace(&none, "auth_query = \"\"")), "applied");
    assert_says(&world.as_user(&world.role, "secret", "SELECT 1", ""), "password authentication failed");
    // One that does not answer is not waited for.
    let slow = "SELECT $1, 'x' FROM pg_catalog.pg_sleep(20)";
    let slow = text.replace(function, slow).replacen("[general]\n", "[general]\nauth_query_timeout = \"500ms\"\n", 1);
    assert_eq!(world.router.reload(&slow), "applied");
    let begun = Instant::now();
    assert_says(&world.as_user("slow", "x", "SELECT 1", ""), "cannot be looked up now");
    assert!(begun.elapsed() < Duration::from_secs(10));
    for (wrong, said) in [
        (text.replace(function, "SELECT 1"), "auth_query has no $1"),
        (text.replace("router_user = \"postgres\"\n", ""), "needs a router_user"),
        (text.replace("\"scram-sha-256\"", "\"trust\""), "auth_query asks for passwords"),
        (text.replace("auth_query_ttl = \"1s\"", "auth_query_ttl = \"61s\""), "auth_query_ttl can be 60 s at most"),
    ] {
        assert_eq!(world.router.reload(&wrong), "rejected", "{said}");
        assert!(world.router.log_text().contains(said), "{said}");
    }
}

#[test]
fn an_address_has_as_many_clients_as_it_may() {
    let world = World::create("address", "auth_query = \"on\"\nmax_client_conn_per_address = 2");
    let slow = || world.psql("secret", "SELECT pg_sleep(6)");
    std::thread::scope(|scope| {
        let running = [scope.spawn(slow), scope.spawn(slow)];
        let clients = || world.router.http("/metrics").1.lines().any(|line| line == "pgloom_clients 2");
        eventually(20, "they run", clients);
        assert_says(&world.psql("secret", "SELECT 1"), "too many connections from this address");
        let ends = running.map(|one| one.join().unwrap());
        assert!(ends.iter().all(Result::is_ok), "{ends:?}");
    });
    eventually(10, "there is room again", || world.psql("secret", "SELECT 1").is_ok());
}

/// One who has sent a startup packet and has the answer to it.
fn knock(port: u16, database: &str, user: &str) -> (Raw, String) {
    let mut raw = Raw::open(port).unwrap();
    raw.send(&m::startup(196_608, &[("user", user), ("database", database)])).unwrap();
    let answer = raw.read().unwrap();
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    (raw, text)
}

/// The salt that the router shows to somebody who says to be this user.
fn salt(port: u16, database: &str, user: &str) -> String {
    let (mut raw, methods) = knock(port, database, user);
    assert!(methods.contains("SCRAM-SHA-256"), "{methods}");
    let first = b"n,,n=,r=0123456789abcdefghij";
    let body = [&b"SCRAM-SHA-256\0"[..], &(first.len() as u32).to_be_bytes(), first].concat();
    raw.send(&m::frame(b'p', &body)).unwrap();
    let challenge = raw.read().unwrap();
    let text = String::from_utf8_lossy(&challenge.body[4..]).into_owned();
    text.split(',').find_map(|part| part.strip_prefix("s=")).unwrap_or_else(|| panic!("{text}")).to_owned()
}

/// Who asks two routers, or one before and behind a restart, sees of a user and of nobody the same: a salt that stays.
#[test]
fn salts_tell_nobody_who_is_a_user() {
    let directory = std::env::temp_dir().join(format!("pgloom-salts-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let file = directory.join("key");
    let world = World::create("salts", &format!("{ON}\nauth_mock_key_file = {:?}", file.to_str().unwrap()));
    let text = world.router.config_text();
    let text = text.replace(&world.router.port.to_string(), "{port}");
    let text = text.replace(&world.router.http_port.to_string(), "{http_port}");
    let other = Router::start(&text);
    let role = world.role.clone();
    let names = [&*role, "listed", "nobody", "somebody"];
    let shown = |router: &Router| names.map(|name| salt(router.port, &world.db.name, name));
    let salts = shown(&world.router);
    assert_eq!(shown(&other), salts, "{names:?}");
    assert!(salts.iter().all(|one| salts.iter().filter(|other| *other == one).count() == 1), "{salts:?}");
    drop(other);
    // Without the setting it stands beside the configuration.
    let without: String =
        text.lines().filter(|line| !line.starts_with("auth_mock_key_file")).map(|l| format!("{l}\n")).collect();
    let alone = Router::start(&without);
    let of_its_own = shown(&alone);
    assert_eq!((&of_its_own[0], of_its_own[2] == salts[2]), (&salts[0], false));
    let beside = format!("{}.mock_key", alone.config.display());
    assert_eq!(std::fs::read_to_string(&beside).unwrap().len(), 64);
    std::fs::remove_dir_all(&directory).unwrap();
}

/// Each of them costs the home shard an answer.
#[test]
fn strangers_that_leave_at_the_challenge_are_counted() {
    let world = World::create("leave", &format!("{ON}\nauth_failure_limit = 2\nauth_failure_interval = \"1h\""));
    let mut refused = 0;
    for number in 0..40 {
        let (raw, answer) = knock(world.router.port, &world.db.name, &format!("stranger_{number}"));
        refused += usize::from(answer.contains("too many failed logins"));
        drop(raw);
        // The router is to see it before the next one comes.
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(refused >= 15, "{refused} of 40");
    // Whom the configuration has comes in.
    let metrics = world.router.http("/metrics").1;
    assert!(!metrics.contains("\npgloom_logins_throttled_total 0\n"), "{metrics}");
}

/// So do those who say nothing there, until their time is up or another one takes their place.
#[test]
fn strangers_that_are_silent_at_the_challenge_are_counted() {
    let general =
        format!("{ON}\nauth_failure_limit = 2\nauth_failure_interval = \"1h\"\nclient_login_timeout = \"5s\"");
    let world = World::create("silence", &general);
    let strangers = (0..30).map(|number| knock(world.router.port, &world.db.name, &format!("stranger_{number}")));
    let silent: Vec<(Raw, String)> = strangers.collect();
    assert!(silent.iter().all(|(_, answer)| answer.contains("SCRAM")), "{:?}", silent[0].1);
    eventually(20, "they are counted", || world.router.log_text().contains("too many logins have failed"));
    let (_, answer) = knock(world.router.port, &world.db.name, "another");
    assert!(answer.contains("too many failed logins"), "{answer}");
}

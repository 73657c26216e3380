//! Users of whom the router has a SCRAM verifier alone: it logs in to the servers by what their clients show.

use pgloom::wire::auth::ScramVerifier;
use pgloom::wire::auth::scram::DEFAULT_ITERATIONS;

use crate::support::sharded::config;
use crate::support::{Cluster, Database, Router, SHARDS, eventually};
use crate::{assert_says, psql};

/// As pg_authid has it.
fn verifier(password: &str, salt: &[u8]) -> String {
    let verifier = ScramVerifier::generate(password.as_bytes(), salt, DEFAULT_ITERATIONS);
    String::from_utf8(verifier.to_text().reveal().to_vec()).unwrap()
}

/// A role that the servers ask for its password by SCRAM, and a router that has its verifier.
struct World {
    router: Router,
    role: String,
    db: Database,
}

impl World {
    /// `router_user`: who does the router's own work; without one the role does.
    fn create(label: &str, general: &str, router_user: &str) -> Self {
        let db = Database::create(label);
        let role = format!("r_{}", db.name);
        let kept = verifier("secret", b"0123456789abcdef");
        let super_user = if router_user.is_empty() { "SUPERUSER" } else { "" };
        db.everywhere(&format!(
            "CREATE TABLE items (id int PRIMARY KEY, n int); CREATE TABLE parts (id int); CREATE TABLE places (x int); \
             CREATE ROLE {role} LOGIN {super_user} PASSWORD '{kept}' IN ROLE scram_group, pg_read_all_data, pg_write_all_data"
        ));
        let users = format!("[[users]]\nname = \"{role}\"\npassword = \"{kept}\"\n");
        let text = config(&db.name, &db.ports(), &format!("auth_type = \"scram-sha-256\"\n{general}"), &users);
        let head = format!("[databases.{}]\n", db.name);
        let text = text.replacen(&head, &format!("{head}{router_user}\n"), 1);
        let router = Router::start_with(&text, &[]);
        Self { router, role, db }
    }

    fn psql(&self, password: &str, sql: &str) -> Result<String, String> {
        psql(self.router.port, &self.role, &self.db.name, password, sql, "")
    }

    /// Another password, by these parts of a verifier, on these shards.
    fn store(&self, shards: impl IntoIterator<Item = usize>, password: &str, salt: &[u8]) {
        for shard in shards {
            self.db.shard(shard).must(&format!("ALTER ROLE {} PASSWORD '{}'", self.role, verifier(password, salt)));
        }
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

const OWN: &str = "router_user = \"postgres\"";

#[test]
fn clients_keys_log_in_to_every_shard() {
    for general in ["server_tls_sslmode = \"disable\"", "server_tls_sslmode = \"require\""] {
        let world = World::create("pass", general, OWN);
        assert_says(&world.psql("wrong", "SELECT 1"), "password authentication failed");
        let insert = "INSERT INTO items SELECT i, i FROM generate_series(1, 100) i RETURNING 1";
        assert_eq!(world.psql("secret", insert).unwrap().lines().count(), 101, "{general}");
        assert_eq!(world.psql("secret", "SELECT sum(n), count(*) FROM items").as_deref(), Ok("5050|100"));
        let tls = if general.contains("require") { "t" } else { "f" };
        for shard in 0..SHARDS {
            let sql = format!(
                "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename = '{}'",
                world.role
            );
            assert_eq!(world.db.shard(shard).value(&sql), tls, "{general}");
        }
    }
}

#[test]
fn server_with_another_verifier_is_refused_and_the_others_are_not() {
    let world = World::create("passalt", "", OWN);
    // The same password, as CREATE ROLE ... PASSWORD 'secret' would store it there.
    world.store([2], "secret", b"another salt....");
    let insert = |from: i32| world.psql("secret", &format!("INSERT INTO items VALUES ({from}, 0)"));
    let said: Vec<_> = (1..=40).map(insert).collect();
    let (good, bad): (Vec<_>, Vec<_>) = said.iter().partition(|said| said.is_ok());
    assert!(good.len() > 10 && !bad.is_empty(), "{said:?}");
    for refused in bad {
        assert_says(refused, "the server has another SCRAM verifier than the config");
        assert_says(refused, "Store the config's verifier on every server");
    }
    // It is not the server's fault: nobody else is kept from it.
    let metrics = world.router.http("/metrics").1;
    assert!(!metrics.lines().any(|l| l.starts_with("pgloom_breaker_opened_total") && !l.ends_with(" 0")), "{metrics}");
    world.store([2], "secret", b"0123456789abcdef");
    assert!(world.psql("secret", "SELECT count(*) FROM items").is_ok());
}

#[test]
fn router_without_a_password_of_its_own_waits_for_the_first_login() {
    let world = World::create("passown", "", "");
    eventually(30, "readyz says what is missing", || {
        let (status, body) = world.router.http("/readyz");
        status == 503 && body.contains("by which no client has logged in yet")
    });
    assert!(world.router.log_text().contains("so it waits for that user's first login"), "a warning");
    // And that login waits for what the router does first.
    assert_eq!(world.psql("secret", "SELECT count(*) FROM items").as_deref(), Ok("0"));
    eventually(30, "readyz says yes", || world.router.http("/readyz").0 == 200);
}

#[test]
fn changed_verifier_drops_the_keys_of_the_old_one() {
    let world = World::create("passnew", "min_pool_size = 1", OWN);
    assert_eq!(world.psql("secret", "SELECT count(*) FROM items").as_deref(), Ok("0"));
    let old = verifier("secret", b"0123456789abcdef");
    let new = verifier("changed", b"fedcba9876543210");
    let text = world.router.config_text();
    // The same verifier in another configuration: the keys are still good.
    let same = text.replacen("[general]\n", "[general]\nquery_timeout = \"1h\"\n", 1);
    assert_eq!(world.router.reload(&same), "applied");
    let server_pids = || -> Vec<String> {
        let sql = format!("SELECT pid FROM pg_stat_activity WHERE usename = '{}' ORDER BY 1", world.role);
        world.db.shard(0).values(&sql)
    };
    eventually(30, "connections are kept open by these keys", || !server_pids().is_empty());
    let before = server_pids();
    world.store(0..SHARDS, "changed", b"fedcba9876543210");
    assert_eq!(world.router.reload(&same.replace(&old, &new)), "applied");
    eventually(30, "what the old keys had opened is closed", || !server_pids().iter().any(|pid| before.contains(pid)));
    assert_says(&world.psql("secret", "SELECT 1"), "password authentication failed");
    assert_eq!(server_pids(), [""; 0], "nothing is opened without keys");
    assert_eq!(world.psql("changed", "SELECT count(*) FROM items").as_deref(), Ok("0"));
    let log = world.router.log_text();
    assert!(!log.contains(&old) && !log.contains(&new), "verifiers are secrets");
}

#[test]
fn who_is_trusted_has_shown_nothing() {
    let world = World::create("passtrust", "", OWN);
    let text = world.router.config_text().replace("\"scram-sha-256\"", "\"trust\"");
    assert_eq!(world.router.reload(&text), "applied");
    assert_says(&world.psql("", "SELECT 1"), "by which no client has logged in yet");
}

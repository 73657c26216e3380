//! TLS on both sides of a whole router, as psql and Postgres see it. (tests/login has the pieces one by one.)

#![allow(clippy::unwrap_used)]

mod support;
// Shared with the login tests, which use more of it.
#[allow(dead_code)]
#[path = "login/tls_files.rs"]
mod tls_files;

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use support::sharded::config;
use support::{Cluster, Database, Router, eventually};
use tls_files::TlsFiles;

/// Whether each connection of the router's on this server is encrypted.
const ENCRYPTED: &str = "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE datname = current_database() \
     AND pid <> pg_backend_pid() AND client_addr IS NOT NULL";

struct World {
    router: Router,
    db: Database,
    files: TlsFiles,
}

impl World {
    fn create(general: impl FnOnce(&TlsFiles) -> String) -> Self {
        let db = Database::create("tls");
        db.everywhere(
            "CREATE TABLE items (id int PRIMARY KEY, n int); CREATE TABLE parts (id int); CREATE TABLE places (x int)",
        );
        let files = TlsFiles::make();
        let users = "[[users]]\nname = \"postgres\"\npassword = \"secret\"\n";
        let router = Router::start_with(&config(&db.name, &db.ports(), &general(&files), users), &[]);
        Self { router, db, files }
    }

    /// What psql prints, for these connection parameters.
    fn psql(&self, sql: &str, parameters: &str) -> Result<String, String> {
        let output = Command::new("psql")
            .args(["-X", "-At", "-c", sql])
            .arg(format!("host=localhost port={} user=postgres dbname={} {parameters}", self.router.port, self.db.name))
            .env("PGPASSWORD", "secret")
            .output()
            .unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).trim().to_owned();
        if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
    }
}

fn client_tls(files: &TlsFiles, mode: &str) -> String {
    let dir = files.dir().display();
    format!(
        "auth_type = \"scram-sha-256\"\nclient_tls_sslmode = \"{mode}\"\nclient_tls_cert_file = \"{dir}/server.crt\"\n\
         client_tls_key_file = \"{dir}/server.key\""
    )
}

#[test]
fn clients_speak_tls_and_bind_their_password_to_it() {
    let world = World::create(|files| client_tls(files, "require"));
    let ca = world.files.ca().display().to_string();
    for parameters in [
        "sslmode=require".to_owned(),
        format!("sslmode=verify-full sslrootcert={ca}"),
        format!("sslmode=verify-full sslrootcert={ca} channel_binding=require"),
        "sslmode=require channel_binding=disable".to_owned(),
        format!("sslmode=verify-full sslrootcert={ca} ssl_max_protocol_version=TLSv1.2 channel_binding=require"),
    ] {
        assert_eq!(world.psql("SELECT count(*) FROM items", &parameters).as_deref(), Ok("0"), "{parameters}");
    }
    // A large result, so that records are cut anywhere.
    let large = world.psql("SELECT repeat('x', 3000000)", "sslmode=require").unwrap();
    assert_eq!(large.len(), 3_000_000);
    let plain = world.psql("SELECT 1", "sslmode=disable").unwrap_err();
    assert!(plain.contains("TLS") || plain.contains("SSL"), "{plain}");
    let other = TlsFiles::make();
    let stranger =
        world.psql("SELECT 1", &format!("sslmode=verify-full sslrootcert={}", other.ca().display())).unwrap_err();
    assert!(stranger.contains("SSL error"), "{stranger}");
}

#[test]
fn clients_choose_where_tls_is_only_preferred() {
    let world = World::create(|files| client_tls(files, "prefer"));
    assert_eq!(world.psql("SELECT 1", "sslmode=require").as_deref(), Ok("1"));
    assert_eq!(world.psql("SELECT 1", "sslmode=disable").as_deref(), Ok("1"));
}

#[test]
fn shards_are_reached_by_tls_as_the_config_says() {
    let ca = Cluster::shared().ca().display().to_string();
    for (general, encrypted) in [
        ("server_tls_sslmode = \"disable\"".to_owned(), "f"),
        ("server_tls_sslmode = \"prefer\"".to_owned(), "t"),
        ("server_tls_sslmode = \"require\"".to_owned(), "t"),
        (format!("server_tls_sslmode = \"verify-full\"\nserver_tls_ca_file = \"{ca}\""), "t"),
    ] {
        let world = World::create(|_| general.clone());
        assert_eq!(world.psql("SELECT count(*) FROM items", "").as_deref(), Ok("0"), "{general}");
        for shard in 0..4 {
            assert_eq!(world.db.shard(shard).value(ENCRYPTED), encrypted, "{general}");
        }
    }
}

#[test]
fn a_shard_that_cannot_prove_itself_is_not_used() {
    let other = TlsFiles::make();
    let general = format!("server_tls_sslmode = \"verify-full\"\nserver_tls_ca_file = \"{}\"", other.ca().display());
    let world = World::create(|_| general);
    let refused = world.psql("SELECT count(*) FROM items", "").unwrap_err();
    assert!(refused.contains("TLS handshake failed"), "the reason is named: {refused}");
    eventually(20, "readyz names the shards", || {
        let (status, body) = world.router.http("/readyz");
        status == 503 && body.contains("s0") && body.contains("certificate")
    });
}

/// The limit of a login holds from the first byte on: also while a client owes its part of the handshake.
#[test]
fn a_client_that_falls_silent_within_its_handshake_is_sent_away() {
    let world = World::create(|files| format!("{}\nclient_login_timeout = \"400ms\"", client_tls(files, "require")));
    let mut stream = TcpStream::connect(("127.0.0.1", world.router.port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    // SSLRequest, and the head of a record that does not come.
    stream.write_all(&[0, 0, 0, 8, 4, 210, 22, 47]).unwrap();
    let mut answer = [0];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer, *b"S");
    stream.write_all(&[22, 3, 1, 2, 0]).unwrap();
    let start = Instant::now();
    let mut rest = Vec::new();
    let end = stream.read_to_end(&mut rest).map_err(|error| error.kind());
    assert!(end.is_ok() || end == Err(ErrorKind::ConnectionReset), "{end:?}");
    assert!((200..10_000).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
    eventually(5, "it is counted", || {
        world.router.http("/metrics").1.contains("pgloom_timeouts_total{limit=\"client_login\"} 1\n")
    });
}

#[test]
fn a_new_certificate_is_shown_after_a_reload_and_a_bad_one_is_not() {
    let world = World::create(|files| client_tls(files, "require"));
    let text = world.router.config_text();
    let enter = |files: &TlsFiles| {
        world.psql("SELECT 1", &format!("sslmode=verify-full sslrootcert={}", files.ca().display())).is_ok()
    };
    // A copy: the files of the router are written over.
    let old_ca = world.files.write("old-ca.crt", &std::fs::read_to_string(world.files.ca()).unwrap());
    let new = TlsFiles::make();
    assert!(enter(&world.files) && !enter(&new));
    std::fs::copy(new.certificate(), world.files.certificate()).unwrap();
    // The key is not that certificate's.
    assert_eq!(world.router.reload(&text), "rejected");
    assert!(enter(&world.files));
    std::fs::copy(new.key(), world.files.key()).unwrap();
    assert_eq!(world.router.reload(&text), "applied");
    assert!(enter(&new));
    let stale = world.psql("SELECT 1", &format!("sslmode=verify-full sslrootcert={}", old_ca.display()));
    assert!(stale.is_err(), "{stale:?}");
    assert_eq!(world.router.reload(&text), "unchanged");
}

/// Files that are written over, one after the other: what does not go together is not used in between, and nobody is sent away for it.
#[test]
fn a_new_certificate_is_shown_without_a_reload_where_files_are_watched() {
    let world = World::create(|files| format!("{}\nautoreload = \"200ms\"", client_tls(files, "require")));
    let enter = |files: &TlsFiles| {
        world.psql("SELECT 1", &format!("sslmode=verify-full sslrootcert={}", files.ca().display())).is_ok()
    };
    let new = TlsFiles::make();
    assert!(enter(&world.files) && !enter(&new));
    std::fs::copy(new.certificate(), world.files.certificate()).unwrap();
    eventually(20, "it is rejected without its key", || {
        world.router.reloads().iter().any(|(result, n)| result == "rejected" && *n > 0)
    });
    std::fs::copy(new.key(), world.files.key()).unwrap();
    eventually(20, "the new one is shown", || enter(&new));
}

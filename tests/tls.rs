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
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned, SupportedProtocolVersion};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use support::raw::message;
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

/// How a client's handshake went, which then logs in without a password and asks something.
fn handshake(world: &World, config: &Arc<ClientConfig>) -> HandshakeKind {
    let mut stream = TcpStream::connect(("127.0.0.1", world.router.port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(&[0, 0, 0, 8, 4, 210, 22, 47]).unwrap();
    let mut yes = [0];
    stream.read_exact(&mut yes).unwrap();
    assert_eq!(yes, *b"S");
    let name = ServerName::try_from("localhost").unwrap();
    let mut tls = StreamOwned::new(ClientConnection::new(Arc::clone(config), name).unwrap(), stream);
    tls.write_all(&message::startup(196_608, &[("user", "postgres"), ("database", &world.db.name)])).unwrap();
    let mut received = Vec::new();
    let mut read_until = |tls: &mut StreamOwned<_, _>, last: &[u8]| {
        while !received.ends_with(last) {
            let mut chunk = [0; 4096];
            let n = tls.read(&mut chunk).unwrap();
            assert!(n > 0, "closed after {:?}", String::from_utf8_lossy(&received));
            received.extend(&chunk[..n]);
        }
    };
    read_until(&mut tls, &[b'Z', 0, 0, 0, 5, b'I']);
    tls.write_all(&message::query("SELECT count(*) FROM items")).unwrap();
    read_until(&mut tls, b"SELECT 1\0Z\0\0\0\x05I");
    tls.conn.handshake_kind().unwrap()
}

/// A client that trusts all of these, and shows the certificate of that name.
fn client(version: &'static SupportedProtocolVersion, trusted: &[&TlsFiles], shown: Option<&str>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for files in trusted {
        roots.add(CertificateDer::from_pem_file(files.ca()).unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[version]).unwrap();
    let builder = builder.with_root_certificates(roots);
    Arc::new(match shown {
        None => builder.with_no_client_auth(),
        Some(name) => {
            let file = |ending: &str| trusted[0].dir().join(format!("{name}.{ending}"));
            let chain = vec![CertificateDer::from_pem_file(file("crt")).unwrap()];
            builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_file(file("key")).unwrap()).unwrap()
        }
    })
}

fn client_tls_without_password(files: &TlsFiles) -> String {
    client_tls(files, "require").replace("scram-sha-256", "trust")
}

#[test]
fn a_client_that_comes_back_resumes_its_tls_session() {
    let world = World::create(client_tls_without_password);
    let new = TlsFiles::make();
    let clients = [&TLS12, &TLS13].map(|version| client(version, &[&world.files, &new], None));
    for client in &clients {
        assert_eq!(handshake(&world, client), HandshakeKind::Full);
        for _ in 0..3 {
            assert_eq!(handshake(&world, client), HandshakeKind::Resumed, "{client:?}");
        }
    }
    // More others than a router would remember, if it had to.
    for _ in 0..300 {
        handshake(&world, &client(&TLS13, &[&world.files], None));
    }
    clients.iter().for_each(|client| assert_eq!(handshake(&world, client), HandshakeKind::Resumed));
    // Another configuration, or map, is no other certificate.
    let other = world.router.config_text().replacen("[general]\n", "[general]\nquery_timeout = \"1h\"\n", 1);
    assert_eq!(world.router.reload(&other), "applied");
    clients.iter().for_each(|client| assert_eq!(handshake(&world, client), HandshakeKind::Resumed));
    // With another certificate it is another router.
    std::fs::copy(new.certificate(), world.files.certificate()).unwrap();
    std::fs::copy(new.key(), world.files.key()).unwrap();
    assert_eq!(world.router.reload(&world.router.config_text()), "applied");
    for client in &clients {
        assert_eq!(handshake(&world, client), HandshakeKind::Full);
        assert_eq!(handshake(&world, client), HandshakeKind::Resumed);
    }
}

/// What was true of a client's certificate need not be so any more.
#[test]
fn a_client_with_a_certificate_shows_it_each_time() {
    let db = Database::create("tls");
    db.everywhere(
        "CREATE TABLE items (id int PRIMARY KEY, n int); CREATE TABLE parts (id int); CREATE TABLE places (x int)",
    );
    let files = TlsFiles::make_with_clients(&["postgres"]);
    let hba = files.write("hba.conf", "hostssl all all all trust clientcert=verify-full\n");
    let auth =
        format!("\"hba\"\nauth_hba_file = \"{}\"\nclient_tls_ca_file = \"{}\"", hba.display(), files.ca().display());
    let general = client_tls(&files, "require").replace("\"scram-sha-256\"", &auth);
    let router = Router::start_with(&config(&db.name, &db.ports(), &general, ""), &[]);
    let world = World { router, db, files };
    for version in [&TLS12, &TLS13] {
        let client = client(version, &[&world.files], Some("postgres"));
        (0..3).for_each(|_| assert_eq!(handshake(&world, &client), HandshakeKind::Full, "{version:?}"));
    }
}

//! psql and a driver logging in at us: real clients decide whether our side of the protocol is right.

use std::net::SocketAddr;
use std::process::Output;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use pgloom::secret::Secret;
use pgloom::server::handshake::{
    Account, Accounts, Admitted, Applicant, AuthMethod, Handshake, HandshakeContext, handshake,
};
use pgloom::tls::{ClientCertificates, ClientTls, ClientTlsMode};
use pgloom::wire::auth::{MockKey, Verifier, md5};
use pgloom::wire::reply::{self, Column, Status};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::tls_files::TlsFiles;

/// Users of the tests: the name says how one logs in, the password is `secret`.
struct Users;

impl Accounts for Users {
    fn lookup(&self, applicant: Applicant<'_>) -> Option<Account> {
        let verifier = |text: &str| Some(Arc::new(Verifier::parse(text).unwrap()));
        let stored = pgloom::wire::auth::ScramVerifier::generate(
            b"secret",
            b"salt of the user",
            pgloom::wire::auth::scram::DEFAULT_ITERATIONS,
        );
        let text = |secret: Secret| String::from_utf8(secret.reveal().to_vec()).unwrap();
        let (method, verifier) = match applicant.user {
            "trusted" => (AuthMethod::Trust, None),
            "plain" => (AuthMethod::ScramSha256, verifier("secret")),
            "stored" => (AuthMethod::ScramSha256, verifier(&text(stored.to_text()))),
            "md5_plain" => (AuthMethod::Md5, verifier("secret")),
            "md5_hash" => (AuthMethod::Md5, verifier(&text(md5::hash(b"secret", "md5_hash")))),
            "md5_scram" => (AuthMethod::Md5, verifier(&text(stored.to_text()))),
            "without" => (AuthMethod::ScramSha256, None),
            "misfit" => (AuthMethod::ScramSha256, verifier(&text(md5::hash(b"secret", "misfit")))),
            _ => return None,
        };
        Some(Account { method, verifier, passed: None })
    }
}

pub fn context(tls: Option<&TlsFiles>, mode: ClientTlsMode) -> HandshakeContext {
    HandshakeContext {
        tls: tls
            .map(|files| ClientTls::load(&files.certificate(), &files.key(), ClientCertificates::NotAsked).unwrap()),
        mode,
        login_timeout: Duration::from_secs(10),
        stranger_method: AuthMethod::ScramSha256,
        mock: Arc::new(MockKey::new(&Secret::new("the test's own"))),
        hba: None,
        idents: Arc::default(),
        failure_limits: None,
        failures: Arc::default(),
    }
}

/// Logs clients in for as long as the test runs; reports what became of each. One who is in gets an answer to each Query.
pub async fn listen(context: HandshakeContext) -> (SocketAddr, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (report, reports) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (context, report) = (context.clone(), report.clone());
            tokio::spawn(async move {
                let told = match handshake(stream, &context, &Users, &|| Ok(())).await {
                    Handshake::Login(admitted) => {
                        let told = format!(
                            "login {} {} tls={} 3.{} {:?}",
                            admitted.user,
                            admitted.database,
                            admitted.stream.is_tls(),
                            admitted.startup.minor,
                            admitted.settings
                        );
                        let _ = report.send(told.clone());
                        serve(*admitted).await;
                        return;
                    }
                    Handshake::Cancel { key, .. } => format!("cancel {} {}", key.pid, key.secret.len()),
                    Handshake::Asked { question, .. } => format!("asked {question:?}"),
                    Handshake::Throttled(fault) => format!("throttled {fault}"),
                    Handshake::Closed(Some(fault)) => format!("closed {fault}"),
                    Handshake::Closed(None) => "gone".to_owned(),
                };
                let _ = report.send(told);
            });
        }
    });
    (address, reports)
}

/// Answers every Query with one row.
async fn serve(mut admitted: Admitted) {
    let mut out = BytesMut::new();
    reply::parameter_status(&mut out, "server_version", "15.0").unwrap();
    reply::parameter_status(&mut out, "client_encoding", "UTF8").unwrap();
    let secret = vec![7; admitted.cancel_secret_len()];
    reply::backend_key_data(&mut out, 77, &secret).unwrap();
    reply::ready_for_query(&mut out, Status::Idle);
    loop {
        if admitted.stream.write_all(&out).await.is_err() || admitted.stream.flush().await.is_err() {
            return;
        }
        out.clear();
        let Ok(tag) = admitted.stream.read_u8().await else { return };
        let length = admitted.stream.read_u32().await.unwrap();
        let mut body = vec![0; length as usize - 4];
        admitted.stream.read_exact(&mut body).await.unwrap();
        if tag == b'X' {
            return;
        }
        reply::row_description(&mut out, &[Column::text("answer", 25, -1)]).unwrap();
        reply::data_row(&mut out, [Some(&b"welcome"[..])]).unwrap();
        reply::command_complete(&mut out, "SELECT 1").unwrap();
        reply::ready_for_query(&mut out, Status::Idle);
    }
}

async fn psql(address: SocketAddr, settings: &str, password: &str) -> Output {
    let conninfo = format!("host=127.0.0.1 port={} dbname=shop connect_timeout=10 {settings}", address.port());
    tokio::process::Command::new("psql")
        .args(["-X", "-A", "-t", "-w", "-c", "SELECT 1", &conninfo])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("PGPASSWORD", password)
        .output()
        .await
        .unwrap()
}

async fn must(address: SocketAddr, settings: &str) {
    let output = psql(address, settings, "secret").await;
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "welcome\n",
        "{settings}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

async fn must_not(address: SocketAddr, settings: &str, password: &str) -> String {
    let output = psql(address, settings, password).await;
    assert!(!output.status.success(), "{settings}");
    String::from_utf8(output.stderr).unwrap()
}

#[tokio::test]
async fn psql_logs_in_by_every_method() {
    let files = TlsFiles::make();
    let (address, mut reports) = listen(context(Some(&files), ClientTlsMode::Allow)).await;
    for user in ["trusted", "plain", "stored", "md5_plain", "md5_hash", "md5_scram"] {
        for sslmode in ["disable", "require"] {
            must(address, &format!("user={user} sslmode={sslmode}")).await;
            let report = reports.recv().await.unwrap();
            assert!(report.starts_with(&format!("login {user} shop tls={} 3.0", sslmode == "require")), "{report}");
        }
    }
}

#[tokio::test]
async fn psql_binds_the_channel_and_verifies_us() {
    let files = TlsFiles::make();
    let (address, _reports) = listen(context(Some(&files), ClientTlsMode::Allow)).await;
    let verified = format!("sslmode=verify-full sslrootcert={}", files.ca().display());
    for user in ["plain", "stored"] {
        must(address, &format!("user={user} channel_binding=require {verified}")).await;
        must(address, &format!("user={user} channel_binding=disable {verified}")).await;
    }
    let error = must_not(address, "user=trusted channel_binding=require sslmode=require", "secret").await;
    assert!(error.contains("channel binding required"), "{error}");
    let error = must_not(address, &format!("user=plain channel_binding=require {verified}"), "wrong").await;
    assert!(error.contains("password authentication failed for user \"plain\""), "{error}");
}

#[tokio::test]
async fn certificate_without_a_hash_leaves_out_channel_binding() {
    let files = TlsFiles::make();
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let params = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    files.write("server.crt", &params.self_signed(&key).unwrap().pem());
    files.write("server.key", &key.serialize_pem());
    let (address, _reports) = listen(context(Some(&files), ClientTlsMode::Require)).await;
    must(address, "user=plain sslmode=require").await;
}

#[tokio::test]
async fn client_certificate_is_demanded_where_authorities_are_given() {
    let (files, strangers) = (TlsFiles::make(), TlsFiles::make());
    let mut context = context(None, ClientTlsMode::Require);
    context.tls =
        Some(ClientTls::load(&files.certificate(), &files.key(), ClientCertificates::Demanded(&files.ca())).unwrap());
    let (address, _reports) = listen(context).await;
    let identity = |files: &TlsFiles| {
        format!("user=plain sslmode=require sslcert={} sslkey={}", files.certificate().display(), files.key().display())
    };
    must(address, &identity(&files)).await;
    must_not(address, &identity(&strangers), "secret").await;
    must_not(address, "user=plain sslmode=require", "secret").await;
    must_not(address, "user=trusted sslmode=disable", "secret").await;
}

#[tokio::test]
async fn wrong_password_and_unknown_user_read_alike() {
    let (address, mut reports) = listen(context(None, ClientTlsMode::Disable)).await;
    for user in ["plain", "stored", "md5_plain", "md5_hash", "md5_scram", "nobody", "without", "misfit"] {
        let password = if user == "nobody" || user == "without" || user == "misfit" { "secret" } else { "wrong" };
        let error = must_not(address, &format!("user={user}"), password).await;
        let expected = format!("FATAL:  password authentication failed for user \"{user}\"");
        assert!(error.contains(&expected), "{error}");
        assert!(reports.recv().await.unwrap().contains("28P01"));
    }
}

#[tokio::test]
async fn tls_is_refused_where_disabled_and_demanded_where_required() {
    let files = TlsFiles::make();
    let (without, _reports) = listen(context(None, ClientTlsMode::Disable)).await;
    must(without, "user=plain sslmode=prefer").await;
    let error = must_not(without, "user=plain sslmode=require", "secret").await;
    assert!(error.contains("does not support SSL"), "{error}");
    let (required, _reports) = listen(context(Some(&files), ClientTlsMode::Require)).await;
    must(required, "user=plain sslmode=prefer").await;
    let error = must_not(required, "user=plain sslmode=disable", "secret").await;
    assert!(error.contains("this server requires TLS") && error.contains("sslmode=require"), "{error}");
}

#[tokio::test]
async fn startup_options_become_settings() {
    let (address, mut reports) = listen(context(None, ClientTlsMode::Disable)).await;
    must(address, r"user=trusted application_name=shop options='-c search_path=a,\\ b --work_mem=4MB'").await;
    let report = reports.recv().await.unwrap();
    assert!(report.contains(r#"("search_path", "a, b"), ("work_mem", "4MB")"#), "{report}");
    assert!(report.contains(r#"("application_name", "shop")"#), "{report}");
    let error = must_not(address, "user=trusted options=nonsense", "").await;
    assert!(error.contains("invalid command-line argument for server process: nonsense"), "{error}");
    let error = must_not(address, "user=trusted replication=database", "").await;
    assert!(error.contains("replication connections are not supported"), "{error}");
}

#[tokio::test]
async fn driver_logs_in_and_cancels() {
    let (address, mut reports) = listen(context(None, ClientTlsMode::Disable)).await;
    let (client, connection) = tokio_postgres::Config::new()
        .host("127.0.0.1")
        .port(address.port())
        .user("stored")
        .password("secret")
        .dbname("shop")
        .connect(tokio_postgres::NoTls)
        .await
        .unwrap();
    tokio::spawn(connection);
    assert!(reports.recv().await.unwrap().starts_with("login stored shop"));
    client.cancel_token().cancel_query(tokio_postgres::NoTls).await.unwrap();
    assert_eq!(reports.recv().await.unwrap(), "cancel 77 4");
}

//! Our logins at real Postgres servers.

use std::path::PathBuf;
use std::time::Duration;

use bytes::BytesMut;
use pgloom::backend::login::{self, Course, LoggedIn, Target};
use pgloom::fault::{Blame, Fault, SqlState};
use pgloom::secret::Secret;
use pgloom::tls::{ServerTls, ServerTlsFiles, ServerTlsMode};
use pgloom::topology::Server;
use pgloom::wire::error_fields;
use pgloom::wire::request;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::Cluster;
use crate::tls_files::TlsFiles;

fn server(host: &str) -> Server {
    Server::new(host, Cluster::shared().oracle.port, "postgres")
}

fn tls(mode: ServerTlsMode, authorities: Option<PathBuf>) -> ServerTls {
    ServerTls::load(mode, &ServerTlsFiles { authorities, identity: None }).unwrap()
}

async fn log_in(server: &Server, user: &str, password: Option<&str>, tls: &ServerTls) -> Result<LoggedIn, Fault> {
    let password = password.map(Secret::new);
    let parameters = [("application_name", "pgloom"), ("client_encoding", "UTF8"), ("TimeZone", "Asia/Tokyo")];
    let target = Target {
        server,
        user,
        password: password.as_ref(),
        passed: None,
        tls,
        connect_timeout: Duration::from_secs(5),
        login_timeout: Duration::from_secs(20),
        parameters: &parameters,
        course: &Course::default(),
    };
    tokio::time::timeout(Duration::from_secs(20), login::connect(target)).await.expect("a login within 20 s")
}

/// The SQLSTATE of the first error, or the first cell of the first row.
async fn query(session: &mut LoggedIn, sql: &str) -> String {
    let mut out = BytesMut::new();
    request::query(&mut out, sql.as_bytes()).unwrap();
    session.stream.write_all(&out).await.unwrap();
    session.stream.flush().await.unwrap();
    first_answer(session).await
}

async fn first_answer(session: &mut LoggedIn) -> String {
    let mut answer = String::new();
    loop {
        let tag = session.stream.read_u8().await.unwrap();
        let length = session.stream.read_u32().await.unwrap();
        let mut body = vec![0; length as usize - 4];
        session.stream.read_exact(&mut body).await.unwrap();
        match tag {
            b'D' => answer = String::from_utf8(body[6..].to_vec()).unwrap(),
            b'E' => answer = error_fields::code(&body).as_str().to_owned(),
            b'Z' => return answer,
            _ => {}
        }
    }
}

#[tokio::test]
async fn every_kind_of_password_logs_in() {
    let server = server("127.0.0.1");
    for tls in [ServerTls::disabled(), tls(ServerTlsMode::Require, None)] {
        for user in ["scram_user", "md5_user", "plain_user"] {
            let mut session =
                log_in(&server, user, Some("secret"), &tls).await.unwrap_or_else(|e| panic!("{user}: {e}"));
            assert_eq!(query(&mut session, "SELECT current_user").await, user);
            assert_eq!(session.stream.is_tls(), tls.wanted());

            let fault = log_in(&server, user, Some("wrong"), &tls).await.unwrap_err();
            assert_eq!((fault.code, fault.blame), (SqlState::UNABLE_TO_CONNECT, Blame::Router));
            assert!(fault.detail.as_deref().unwrap().contains("(SQLSTATE 28P01)"), "{fault}");
            let fault = log_in(&server, user, None, &tls).await.unwrap_err();
            assert!(fault.detail.as_deref().unwrap().contains("the config has none"), "{fault}");
        }
        let mut session = log_in(&server, "app", None, &tls).await.unwrap();
        assert_eq!(query(&mut session, "SELECT current_user").await, "app");
    }
}

#[tokio::test]
async fn stored_md5_hash_is_enough_for_md5() {
    let hash = pgloom::wire::auth::md5::hash(b"secret", "md5_user");
    let hash = std::str::from_utf8(hash.reveal()).unwrap();
    log_in(&server("127.0.0.1"), "md5_user", Some(hash), &ServerTls::disabled()).await.unwrap();
}

#[tokio::test]
async fn session_knows_parameters_and_key_and_starts_with_ours() {
    let mut session = log_in(&server("127.0.0.1"), "app", None, &ServerTls::disabled()).await.unwrap();
    let value = |name: &str| session.parameters.iter().find(|(n, _)| &**n == name).map(|(_, v)| v.to_string());
    assert_eq!(value("TimeZone").as_deref(), Some("Asia/Tokyo"));
    assert_eq!(value("application_name").as_deref(), Some("pgloom"));
    assert!(value("server_version").is_some());
    assert_eq!(session.key.secret.len(), 4);
    assert!(session.leftover.is_empty());
    let pid = session.key.pid.to_string();
    assert_eq!(query(&mut session, "SELECT pg_backend_pid()").await, pid);
}

#[tokio::test]
async fn unix_socket_logs_in_whatever_the_tls_mode() {
    let sockets = Cluster::shared().oracle.sockets.to_str().unwrap().to_owned();
    let mut session = log_in(&server(&sockets), "app", None, &tls(ServerTlsMode::Require, None)).await.unwrap();
    assert_eq!(query(&mut session, "SELECT inet_server_addr() IS NULL").await, "t");
    let fault = log_in(&server("/nonexistent"), "app", None, &ServerTls::disabled()).await.unwrap_err();
    assert_eq!((fault.code, fault.blame), (SqlState::UNABLE_TO_CONNECT, Blame::Server));
}

#[tokio::test]
async fn tls_modes_demand_what_they_say() {
    let ours = Some(Cluster::shared().ca());
    let stranger = TlsFiles::make();
    let theirs = Some(stranger.ca());
    let server = server("127.0.0.1");
    let attempt = |mode, authorities: &Option<PathBuf>| {
        let tls = tls(mode, authorities.clone());
        let server = server.clone();
        async move { log_in(&server, "scram_user", Some("secret"), &tls).await }
    };
    use ServerTlsMode::{Prefer, Require, VerifyCa, VerifyFull};
    for mode in [Prefer, Require, VerifyCa, VerifyFull] {
        let mut session = attempt(mode, &ours).await.unwrap();
        assert_eq!(query(&mut session, "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()").await, "t");
    }
    for mode in [Require, VerifyCa, VerifyFull] {
        let fault = attempt(mode, &theirs).await.unwrap_err();
        assert_eq!(fault.blame, Blame::Server);
        assert!(fault.detail.as_deref().unwrap().contains("TLS handshake failed"), "{fault}");
    }
    assert!(attempt(Prefer, &theirs).await.is_ok());

    let fault = log_in(&server, "tls_user", None, &ServerTls::disabled()).await.unwrap_err();
    assert!(fault.detail.as_deref().unwrap().contains("(SQLSTATE 28000)"), "{fault}");
    log_in(&server, "tls_user", None, &tls(Require, None)).await.unwrap();
}

#[tokio::test]
async fn unknown_database_and_user_are_told_by_the_server() {
    let mut unknown = server("127.0.0.1");
    unknown.dbname = "no_such_database".into();
    let fault = log_in(&unknown, "app", None, &ServerTls::disabled()).await.unwrap_err();
    let detail = fault.detail.as_deref().unwrap();
    assert!(detail.contains("\"no_such_database\" does not exist") && detail.contains("3D000"), "{fault}");
    assert_eq!(fault.blame, Blame::Router);
}

#[tokio::test]
async fn cancel_request_stops_the_statement() {
    for tls in [ServerTls::disabled(), tls(ServerTlsMode::Require, None)] {
        let server = server("127.0.0.1");
        let mut session = log_in(&server, "app", None, &tls).await.unwrap();
        let key = session.key.clone();
        let mut out = BytesMut::new();
        request::query(&mut out, b"SELECT pg_sleep(60)").unwrap();
        session.stream.write_all(&out).await.unwrap();
        session.stream.flush().await.unwrap();
        // A cancel that comes before the statement has started hits nothing, so it is sent until it does.
        let answer = first_answer(&mut session);
        tokio::pin!(answer);
        let code = loop {
            login::send_cancel(&server, &tls, Duration::from_secs(5), &key).await.unwrap();
            if let Ok(code) = tokio::time::timeout(Duration::from_millis(200), &mut answer).await {
                break code;
            }
        };
        assert_eq!(code, "57014");
    }
}

#[tokio::test]
async fn login_can_be_given_up() {
    // A listener that accepts and says nothing.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut silent = server("127.0.0.1");
    silent.port = listener.local_addr().unwrap().port();
    let tls = ServerTls::disabled();
    let target = Target {
        server: &silent,
        user: "u",
        password: None,
        passed: None,
        tls: &tls,
        connect_timeout: Duration::from_secs(5),
        login_timeout: Duration::from_secs(20),
        parameters: &[],
        course: &Course::default(),
    };
    assert!(tokio::time::timeout(Duration::from_millis(50), login::connect(target)).await.is_err());
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut received = Vec::new();
    stream.read_to_end(&mut received).await.unwrap();
    assert!(!received.is_empty(), "the connection was closed with the future");
}

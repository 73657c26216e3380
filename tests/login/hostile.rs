//! Clients that break the rules, byte by byte: each is told so and let go, and none gets in.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use pgloom::tls::{ClientTlsMode, ServerTls, ServerTlsFiles, ServerTlsMode, TlsError};
use pgloom::wire::{error_fields, request};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::clients::{context, listen};
use crate::tls_files::TlsFiles;

const GSSENC_REQUEST: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x30";

fn startup(user: &str) -> Vec<u8> {
    let mut out = BytesMut::new();
    request::startup(&mut out, 0, [("user", user), ("database", "shop")]).unwrap();
    out.to_vec()
}

/// Sends the pieces, waiting for an answer of the given length after each, and returns all that comes until the end.
async fn say(address: SocketAddr, pieces: &[(&[u8], usize)]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut heard = Vec::new();
    for (piece, answer) in pieces {
        stream.write_all(piece).await.unwrap();
        let mut bytes = vec![0; *answer];
        stream.read_exact(&mut bytes).await.unwrap();
        heard.extend(bytes);
    }
    stream.read_to_end(&mut heard).await.unwrap();
    heard
}

/// The SQLSTATE of the ErrorResponse that `heard` ends with, after `skip` other bytes.
fn code(heard: &[u8], skip: usize) -> String {
    assert_eq!(heard.get(skip), Some(&b'E'), "{}", String::from_utf8_lossy(heard));
    error_fields::code(&heard[skip + 5..]).as_str().to_owned()
}

#[tokio::test]
async fn garbage_is_told_and_let_go() {
    let (address, mut reports) = listen(context(None, ClientTlsMode::Disable)).await;
    for garbage in
        [&b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..], b"\xff\xff\xff\xff", b"\0\0\0\x04", b"\x16\x03\x01\x02\0\x01"]
    {
        assert_eq!(code(&say(address, &[(garbage, 0)]).await, 0), "08P01");
        assert!(reports.recv().await.unwrap().contains("08P01"));
    }
    let much = vec![b'x'; 1 << 20];
    let mut stream = TcpStream::connect(address).await.unwrap();
    let _ = stream.write_all(&much).await;
    assert!(reports.recv().await.unwrap().contains("08P01"));
    assert_eq!(code(&say(address, &[(b"\0\0\0\x09\0\x03\0\0\0", 0)]).await, 0), "28000");
    assert_eq!(code(&say(address, &[(b"\0\0\0\x08\0\x02\0\0", 0)]).await, 0), "0A000");
}

#[tokio::test]
async fn second_startup_message_ends_the_login() {
    let (address, mut reports) = listen(context(None, ClientTlsMode::Disable)).await;
    let sasl = b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0".len();
    let second = startup("trusted");
    let heard = say(address, &[(&startup("plain"), sasl), (&second, 0)]).await;
    assert_eq!(code(&heard, sasl), "08P01");
    assert!(reports.recv().await.unwrap().starts_with("closed"));
    // As well when both come at once, and when it is any other message.
    for message in [&second[..], b"Q\0\0\0\x0dSELECT 1\0", b"X\0\0\0\x04", b"p\0\0\x40\0", b"p\0\0\0\x04"] {
        let heard = say(address, &[(&[&startup("plain"), message].concat(), 0)]).await;
        assert_eq!(code(&heard, sasl), "08P01");
        assert!(reports.recv().await.unwrap().starts_with("closed"));
    }
}

#[tokio::test]
async fn plain_text_after_a_request_for_encryption_is_refused() {
    let files = TlsFiles::make();
    let (address, mut reports) = listen(context(Some(&files), ClientTlsMode::Allow)).await;
    for request in [request::SSL_REQUEST, GSSENC_REQUEST] {
        let heard = say(address, &[(&[request, &startup("trusted")].concat(), 0)]).await;
        assert_eq!(code(&heard, 0), "08P01");
        assert!(reports.recv().await.unwrap().contains("received unencrypted data after"));
    }
    // What comes after our yes is taken for TLS, and is none.
    let heard = say(address, &[(request::SSL_REQUEST, 1), (&startup("trusted"), 0)]).await;
    assert_eq!(heard[0], b'S');
    assert!(!heard.contains(&b'R'), "{heard:?}");
    assert_eq!(reports.recv().await.unwrap(), "gone");
}

#[tokio::test]
async fn encryption_is_asked_for_once_each() {
    let (address, _reports) = listen(context(None, ClientTlsMode::Disable)).await;
    let trusted = startup("trusted");
    let ok = b"R\0\0\0\x08\0\0\0\0".len();
    let orders: [&[(&[u8], usize)]; 2] = [
        &[(GSSENC_REQUEST, 1), (request::SSL_REQUEST, 1), (&trusted, ok), (b"X\0\0\0\x04", 0)],
        &[(request::SSL_REQUEST, 1), (GSSENC_REQUEST, 1), (&trusted, ok), (b"X\0\0\0\x04", 0)],
    ];
    for pieces in orders {
        assert!(say(address, pieces).await.starts_with(b"NNR\0\0\0\x08\0\0\0\0"));
    }
    for request in [request::SSL_REQUEST, GSSENC_REQUEST] {
        assert_eq!(code(&say(address, &[(request, 1), (request, 0)]).await, 1), "0A000");
        assert_eq!(code(&say(address, &[(request, 1), (b"\x16\x03\x01\x02", 0)]).await, 1), "08P01");
    }
}

#[tokio::test]
async fn byte_by_byte_is_as_good_as_at_once() {
    let (address, mut reports) = listen(context(None, ClientTlsMode::Disable)).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    for byte in startup("trusted") {
        stream.write_all(&[byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert!(reports.recv().await.unwrap().starts_with("login trusted shop"));
}

#[tokio::test]
async fn newer_protocol_is_negotiated_and_gets_a_longer_key() {
    let (address, mut reports) = listen(context(None, ClientTlsMode::Disable)).await;
    let mut out = BytesMut::new();
    request::startup(&mut out, 7, [("user", "trusted"), ("_pq_.dream", "on")]).unwrap();
    let heard = say(address, &[(&out, 120), (b"X\0\0\0\x04", 0)]).await;
    assert!(heard.starts_with(b"v\0\0\0\x17\0\x03\0\x02\0\0\0\x01_pq_.dream\0R\0\0\0\x08\0\0\0\0"), "{heard:?}");
    assert!(heard.windows(9).any(|w| w == b"K\0\0\0\x28\0\0\0\x4d"), "a key of 32 bytes");
    assert!(reports.recv().await.unwrap().contains(" 3.2 "));
}

#[tokio::test]
async fn slow_client_is_let_go_at_the_deadline() {
    let files = TlsFiles::make();
    let mut context = context(Some(&files), ClientTlsMode::Allow);
    context.login_timeout = Duration::from_millis(200);
    let (address, mut reports) = listen(context).await;
    let begun = Instant::now();
    assert_eq!(code(&say(address, &[]).await, 0), "57014");
    assert_eq!(code(&say(address, &[(b"\0\0\0\x20\0\x03", 0)]).await, 0), "57014");
    let sasl = b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0".len();
    assert_eq!(code(&say(address, &[(&startup("plain"), sasl)]).await, sasl), "57014");
    assert_eq!(say(address, &[(request::SSL_REQUEST, 1)]).await, b"S");
    for _ in 0..4 {
        reports.recv().await.unwrap();
    }
    assert!(begun.elapsed() < Duration::from_secs(5));
}

/// TLS that starts at once, offering `alpn`; true if a trusted user got in.
async fn direct(address: SocketAddr, files: &TlsFiles, alpn: &[&[u8]]) -> bool {
    use rustls_pki_types::pem::PemObject;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(rustls_pki_types::CertificateDer::from_pem_file(files.ca()).unwrap()).unwrap();
    let mut config = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let Ok(mut stream) = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await else {
        return false;
    };
    if stream.write_all(&startup("trusted")).await.is_err() {
        return false;
    }
    let mut answer = [0; 9];
    stream.read_exact(&mut answer).await.is_ok() && &answer == b"R\0\0\0\x08\0\0\0\0"
}

#[tokio::test]
async fn direct_tls_needs_our_protocols_name() {
    let files = TlsFiles::make();
    let (address, _reports) = listen(context(Some(&files), ClientTlsMode::Require)).await;
    assert!(direct(address, &files, &[b"postgresql"]).await);
    assert!(!direct(address, &files, &[]).await);
    assert!(!direct(address, &files, &[b"http/1.1"]).await);
    let (disabled, _reports) = listen(context(Some(&files), ClientTlsMode::Disable)).await;
    assert!(!direct(disabled, &files, &[b"postgresql"]).await);
}

/// One TLS handshake between our two sides.
async fn meet(files: &TlsFiles, host: &str, mode: ServerTlsMode, authorities: Option<&TlsFiles>) -> bool {
    let ours = context(Some(files), ClientTlsMode::Allow).tls.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let accept = async {
        let (stream, _) = listener.accept().await.unwrap();
        ours.acceptor.accept(stream).await
    };
    let authorities = authorities.map(TlsFiles::ca);
    let tls = ServerTls::load(mode, &ServerTlsFiles { authorities, identity: None }).unwrap();
    let connect = async { tls.connect(host, TcpStream::connect(address).await.unwrap()).await };
    let (accepted, connected) = tokio::join!(accept, connect);
    let Ok(connected) = connected else { return false };
    assert_eq!(pgloom::tls::server_end_point(&connected), ours.end_point);
    accepted.is_ok()
}

#[tokio::test]
async fn servers_certificate_is_verified_as_the_mode_says() {
    use ServerTlsMode::{Prefer, Require, VerifyCa, VerifyFull};
    let (named, other) = (TlsFiles::make(), TlsFiles::make_for(&["elsewhere.example"]));
    let known = Some(&named);
    for mode in [Prefer, Require, VerifyCa, VerifyFull] {
        assert!(meet(&named, "localhost", mode, known).await);
    }
    // Signed by our authority, for another name.
    assert!(!meet(&other, "localhost", VerifyFull, Some(&other)).await);
    assert!(meet(&other, "localhost", VerifyCa, Some(&other)).await);
    assert!(meet(&other, "elsewhere.example", VerifyFull, Some(&other)).await);
    // Signed by an authority that we don't know.
    for mode in [Require, VerifyCa, VerifyFull] {
        assert!(!meet(&other, "elsewhere.example", mode, known).await);
    }
    assert!(meet(&other, "localhost", Require, None).await);
    // A host's name that no certificate can have matters only where names are compared.
    assert!(meet(&named, "pg shard?1", VerifyCa, known).await);
    assert!(!meet(&named, "pg shard?1", VerifyFull, known).await);
}

#[tokio::test]
async fn self_signed_certificate_that_the_config_names_is_trusted() {
    use ServerTlsMode::{VerifyCa, VerifyFull};
    let (own, another) = (TlsFiles::self_signed(), TlsFiles::self_signed());
    assert!(meet(&own, "127.0.0.1", VerifyFull, Some(&own)).await);
    assert!(meet(&own, "localhost", VerifyCa, Some(&own)).await);
    assert!(!meet(&own, "localhost", VerifyFull, Some(&own)).await);
    assert!(!meet(&own, "127.0.0.1", VerifyCa, Some(&another)).await);
}

#[test]
fn unusable_files_are_named_with_a_remedy() {
    use pgloom::tls::{ClientCertificates, ClientTls};
    let (files, others) = (TlsFiles::make(), TlsFiles::make());
    let missing = files.dir().join("missing.crt");
    let empty = files.write("empty.pem", "nothing here\n");
    let message = |result: Result<ClientTls, TlsError>| result.unwrap_err().to_string();
    let text = message(ClientTls::load(&missing, &files.key(), ClientCertificates::NotAsked));
    assert!(text.contains("missing.crt") && text.contains("check the path"), "{text}");
    let text = message(ClientTls::load(&empty, &files.key(), ClientCertificates::NotAsked));
    assert!(text.contains("empty.pem") && text.contains("-----BEGIN"), "{text}");
    let text = message(ClientTls::load(&files.certificate(), &empty, ClientCertificates::NotAsked));
    assert!(text.contains("private key") && text.contains("empty.pem"), "{text}");
    let text = message(ClientTls::load(&files.certificate(), &others.key(), ClientCertificates::NotAsked));
    assert!(text.contains("the key must be the certificate's own"), "{text}");
    let authorities = Some(empty.clone());
    let bad = ServerTls::load(ServerTlsMode::VerifyFull, &ServerTlsFiles { authorities, identity: None });
    assert!(bad.unwrap_err().to_string().contains("empty.pem"));
    let identity = Some((files.certificate(), others.key()));
    let bad = ServerTls::load(ServerTlsMode::Require, &ServerTlsFiles { authorities: None, identity });
    assert!(bad.unwrap_err().to_string().contains("server.key"));
}

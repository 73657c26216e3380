//! Servers that cheat; real ones are in tests/login.rs.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::time::Duration;

use proptest::prelude::*;
use tokio::net::TcpListener;

use super::machine::{Machine, Step, Terms};
use super::*;
use crate::wire::auth::{MockKey, ScramServer, ScramVerifier, scram};

const OK: &[u8] = &[0, 0, 0, 0];

fn machine(password: Option<&Secret>, private: bool) -> Machine<'_> {
    Machine::new(Terms { user: "u", password, passed: None, binding: Binding::Unsupported, private, nonce: [5; 18] })
}

fn code(number: u8, data: &[u8]) -> Vec<u8> {
    [&[0, 0, 0, number][..], data].concat()
}

/// Runs the machine over messages; the error of the first that it refuses.
fn refusal(machine: &mut Machine<'_>, messages: &[(u8, &[u8])]) -> Option<String> {
    messages
        .iter()
        .find_map(|(tag, body)| machine.message(*tag, body, &mut BytesMut::new()).err())
        .map(|e| format!("{e:?}"))
}

#[test]
fn trusted_login_collects_parameters_and_key() {
    let mut machine = machine(None, false);
    let mut out = BytesMut::new();
    let messages: [(u8, &[u8]); 4] =
        [(b'R', OK), (b'S', b"TimeZone\0UTC\0"), (b'K', b"\0\0\0\x07\x01\x02\x03\x04"), (b'N', b"whatever")];
    for (tag, body) in messages {
        assert!(matches!(machine.message(tag, body, &mut out), Ok(Step::Continue)));
    }
    assert!(matches!(machine.message(b'Z', b"I", &mut out), Ok(Step::Ready)));
    assert_eq!(machine.parameters, [("TimeZone".into(), "UTC".into())]);
    assert_eq!((machine.key.pid, machine.key.secret.as_slice()), (7, &[1, 2, 3, 4][..]));
    assert!(out.is_empty());
}

#[test]
fn password_in_clear_text_stays_off_the_network() {
    let secret = Secret::new("pw");
    let mut out = BytesMut::new();
    assert!(matches!(
        machine(Some(&secret), false).message(b'R', &code(3, b""), &mut out),
        Err(LoginError::CleartextRefused)
    ));
    assert!(out.is_empty());
    machine(Some(&secret), true).message(b'R', &code(3, b""), &mut out).unwrap();
    assert_eq!(&out[..], b"p\0\0\0\x07pw\0");
    assert!(matches!(machine(None, true).message(b'R', &code(3, b""), &mut out), Err(LoginError::NoPassword)));
}

#[test]
fn md5_is_answered_from_the_password_and_from_its_hash() {
    let salt = [0x2a, 0x3d, 0x8f, 0xe0];
    let plain = Secret::new("password");
    let stored = crate::wire::auth::md5::hash(b"password", "u");
    let answer = |password| {
        let mut out = BytesMut::new();
        machine(Some(password), false).message(b'R', &code(5, &salt), &mut out).unwrap();
        out
    };
    assert_eq!(answer(&plain), answer(&stored));
    assert!(refusal(&mut machine(Some(&plain), true), &[(b'R', &code(5, b"abc"))]).is_some());
}

#[test]
fn messages_out_of_turn_are_refused() {
    let secret = Secret::new("pw");
    let sasl = code(10, b"SCRAM-SHA-256\0\0");
    let hostile: [&[(u8, &[u8])]; 15] = [
        &[(b'Z', b"I")],
        &[(b'K', b"\0\0\0\x07\x01\x02\x03\x04")],
        &[(b'S', b"a\0b\0")],
        &[(b'D', b"\0\0")],
        &[(b'v', b"\0\x03\0\0\0\0\0\0")],
        &[(b'R', b"")],
        &[(b'R', &[0, 0, 0, 0, 0])],
        &[(b'R', OK), (b'R', OK)],
        &[(b'R', OK), (b'R', &[0, 0, 0, 3])],
        &[(b'R', OK), (b'S', b"a\0b")],
        &[(b'R', OK), (b'K', b"\0\0\0\x07\x01\x02\x03")],
        // The server never proves that it knows the password.
        &[(b'R', &sasl), (b'R', OK)],
        &[(b'R', &sasl), (b'R', &[0, 0, 0, 12])],
        &[(b'R', &[0, 0, 0, 11])],
        &[(b'R', &[0, 0, 0, 7])],
    ];
    for messages in hostile {
        assert!(refusal(&mut machine(Some(&secret), true), messages).is_some(), "{messages:?}");
    }
}

#[test]
fn scram_ends_only_after_the_servers_proof() {
    let secret = Secret::new("pw");
    let verifier = ScramVerifier::generate(b"pw", b"salt", scram::DEFAULT_ITERATIONS);
    let mock = MockKey::new(&Secret::new("m"));
    let server = ScramServer::new(Some(&verifier), &mock, "u", None, [1; 18]);
    let mut machine = machine(Some(&secret), false);
    let mut out = BytesMut::new();
    machine.message(b'R', &code(10, b"SCRAM-SHA-256\0\0"), &mut out).unwrap();
    let first = out.split_to(out.len());
    let first = &first[5 + "SCRAM-SHA-256\0".len() + 4..];
    let (server, challenge) = server.client_first("SCRAM-SHA-256", first).unwrap();
    let Ok(Step::Prove { client, challenge }) = machine.message(b'R', &code(11, &challenge), &mut out) else {
        panic!()
    };
    let (last, proof) = client.server_first(&challenge).unwrap();
    machine.proved(last, &proof, &mut out).unwrap();
    let proven = server.client_final(&out[5..]).unwrap().unwrap();
    machine.message(b'R', &code(12, &proven.signature), &mut out).unwrap();
    assert!(matches!(machine.message(b'R', OK, &mut out), Ok(Step::Continue)));
    assert!(matches!(machine.message(b'Z', b"I", &mut out), Ok(Step::Ready)));
}

#[test]
fn verifier_without_keys_says_what_is_missing() {
    let passed = PassedKeys::new(ScramVerifier::generate(b"pw", b"salt", scram::DEFAULT_ITERATIONS));
    let machine = || {
        Machine::new(Terms {
            user: "u",
            password: None,
            passed: Some(&passed),
            binding: Binding::Unsupported,
            private: true,
            nonce: [5; 18],
        })
    };
    let scram = machine().message(b'R', &code(10, b"SCRAM-SHA-256\0\0"), &mut BytesMut::new());
    assert!(matches!(scram, Err(LoginError::NotShown)), "{scram:?}");
    for asked in [code(3, b""), code(5, b"salt")] {
        let answer = machine().message(b'R', &asked, &mut BytesMut::new());
        assert!(matches!(answer, Err(LoginError::VerifierOnly)), "{answer:?}");
    }
    for error in [LoginError::NotShown, LoginError::VerifierOnly] {
        let fault = error.into_fault(&server(1));
        assert_eq!((fault.code, fault.blame), (SqlState::UNABLE_TO_CONNECT, Blame::Router));
        assert!(fault.detail.as_deref().unwrap().contains("the server asks for a password"), "{fault}");
        assert!(fault.hint.as_deref().unwrap().contains("server_password"), "{fault:?}");
    }
}

fn server(port: u16) -> Server {
    Server::new("127.0.0.1", port, "d")
}

/// What a login at a server that says `bytes` and closes comes to.
async fn answered(bytes: &'static [u8], tls: ServerTls) -> Fault {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = server(listener.local_addr().unwrap().port());
    let peer = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut sent = [0; 512];
        let _ = stream.read(&mut sent).await;
        let _ = stream.write_all(bytes).await;
        let _ = stream.shutdown().await;
        while stream.read(&mut sent).await.is_ok_and(|read| read > 0) {}
    });
    let target = Target {
        server: &server,
        user: "u",
        password: None,
        passed: None,
        tls: &tls,
        connect_timeout: Duration::from_secs(5),
        login_timeout: Duration::from_secs(20),
        parameters: &[],
        course: &Course::default(),
    };
    let fault = connect(target).await.unwrap_err();
    peer.await.unwrap();
    fault
}

#[tokio::test]
async fn servers_errors_name_the_server_and_keep_what_matters() {
    let (closed, tls, course) = (server(1), ServerTls::disabled(), Course::default());
    let refused = connect(Target {
        server: &closed,
        user: "u",
        password: None,
        passed: None,
        tls: &tls,
        connect_timeout: Duration::from_secs(5),
        login_timeout: Duration::from_secs(20),
        parameters: &[],
        course: &course,
    });
    let fault = refused.await.unwrap_err();
    assert_eq!(
        (fault.code, &*fault.message),
        (SqlState::UNABLE_TO_CONNECT, "could not connect to shard server 127.0.0.1:1")
    );
    assert_eq!(fault.blame, Blame::Server);
    // No fault of the server's.
    let used_up = LoginError::Io(io::Error::from_raw_os_error(24)).into_fault(&Server::new("127.0.0.1", 1, "none"));
    assert_eq!((used_up.code, used_up.blame), (SqlState::INSUFFICIENT_RESOURCES, Blame::Router));
    // Refused is not late.
    assert_eq!(course.overdue(), None);

    let starting = answered(b"E\0\0\0\x2bSFATAL\0VFATAL\0C57P03\0Mstarting up now\0\0", ServerTls::disabled()).await;
    assert_eq!((starting.code, starting.blame), (SqlState::CANNOT_CONNECT_NOW, Blame::Server));
    assert_eq!(starting.detail.as_deref(), Some("the server said: FATAL: starting up now (SQLSTATE 57P03)"));
    let full = answered(b"E\0\0\0\x0dC53300\0\0\0", ServerTls::disabled()).await;
    assert_eq!((full.code, full.blame), (SqlState::TOO_MANY_CONNECTIONS, Blame::Router));
    let wrong = answered(b"E\0\0\0\x0cC28P01\0\0", ServerTls::disabled()).await;
    assert_eq!((wrong.code, wrong.blame), (SqlState::UNABLE_TO_CONNECT, Blame::Router));

    for garbage in [&b""[..], b"R\0\0", b"R\0\0\0\x03", b"R\x7f\xff\xff\xff", b"HTTP/1.1 400 Bad Request\r\n\r\n"] {
        let fault = answered(garbage, ServerTls::disabled()).await;
        assert_eq!((fault.code, fault.blame), (SqlState::UNABLE_TO_CONNECT, Blame::Server));
    }
}

#[tokio::test]
async fn tls_that_a_server_refuses_is_not_done_without() {
    let tls = |mode| ServerTls::load(mode, &Default::default()).unwrap();
    let refused = answered(b"N", tls(crate::tls::ServerTlsMode::Require)).await;
    assert!(refused.detail.as_deref().unwrap().contains("does not offer TLS"));
    // `prefer` goes on in plain text; this server then hangs up.
    let preferred = answered(b"N", tls(crate::tls::ServerTlsMode::Prefer)).await;
    assert!(preferred.detail.as_deref().unwrap().contains("closed"));
    // Plain text after the S is not taken for a part of the TLS session.
    let smuggled = answered(b"SE\0\0\0\x0cC28P01\0\0", tls(crate::tls::ServerTlsMode::Require)).await;
    assert!(smuggled.detail.as_deref().unwrap().contains("neither S nor N"));
    let error = answered(b"E\0\0\0\x0cC28P01\0\0", tls(crate::tls::ServerTlsMode::Prefer)).await;
    assert!(error.detail.as_deref().unwrap().contains("neither S nor N"));
}

proptest! {
    #[test]
    fn any_messages_of_a_server_are_taken_or_refused(
        messages in proptest::collection::vec((prop::sample::select(b"RRRSKZEN".to_vec()), 0..13u8, "[a-zA-Z0-9=,+\\x00-]{0,40}"), 0..8)
    ) {
        let secret = Secret::new("pw");
        let mut machine = machine(Some(&secret), true);
        for (tag, number, text) in &messages {
            let body = if *tag == b'R' { code(*number, text.as_bytes()) } else { text.as_bytes().to_vec() };
            if machine.message(*tag, &body, &mut BytesMut::new()).is_err() {
                break;
            }
        }
    }

    #[test]
    fn any_bytes_are_cut_into_messages_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        let mut input = Input { buffer: BytesMut::from(&bytes[..]), taken: 0 };
        while let Ok(Some(_)) = input.take() {}
    }
}

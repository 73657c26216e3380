#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::*;
use crate::backend::cancel::CancelHandle;
use crate::backend::facts::Facts;
use crate::backend::{CancelKey, login};
use crate::ids::ShardId;
use crate::net::ServerStream;
use crate::tls::ServerTls;
use crate::topology::Server;

const BEGIN: &str = "BEGIN; SET LOCAL a TO 1";
const INSERT: &str = "INSERT INTO t VALUES (1)";
const CANCELLED: &[u8] = b"SERROR\0VERROR\0C57014\0Mcanceling statement due to user request\0\0";
const DENIED: &[u8] = b"SERROR\0VERROR\0C0A000\0Mcannot use serializable mode in a hot standby\0\0";
const FAREWELL: &[u8] = b"SFATAL\0VFATAL\0C57P01\0Mterminating connection\0\0";

fn connection() -> (Backend, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let key = CancelKey { pid: 0, secret: vec![] };
    let (tls, facts) = (Arc::new(ServerTls::disabled()), Facts::new(None, None, "".into()));
    let cancel =
        CancelHandle::new(ShardId(0), Server::new("nowhere", 1, "none"), tls, Duration::ZERO, key.clone(), facts);
    let login =
        login::LoggedIn { stream: ServerStream::Unix(ours), parameters: vec![], key, leftover: BytesMut::new() };
    (Backend::new(login, "nowhere:1".into(), Arc::new(cancel), 1 << 20, 1), theirs)
}

fn said(messages: &[(u8, &[u8])]) -> Vec<u8> {
    let mut out = BytesMut::new();
    for (tag, body) in messages {
        out.put_u8(*tag);
        out.put_i32(body.len() as i32 + 4);
        out.put_slice(body);
    }
    out.to_vec()
}

/// The texts of the Queries that have come, however many there are.
async fn heard(server: &mut UnixStream) -> Vec<String> {
    let mut bytes = vec![0; 4096];
    let n = match tokio::time::timeout(Duration::from_millis(50), server.read(&mut bytes)).await {
        Ok(n) => n.unwrap(),
        Err(_) => 0,
    };
    let mut texts = Vec::new();
    let mut rest = &bytes[..n];
    while let Some((tag, tail)) = rest.split_first() {
        assert_eq!(*tag, b'Q');
        let len = u32::from_be_bytes(tail[..4].try_into().unwrap()) as usize;
        texts.push(String::from_utf8_lossy(&tail[4..len - 1]).into_owned());
        rest = &tail[len..];
    }
    texts
}

/// What the server does to each attempt, byte by byte where `slowly`; and what it is asked besides BEGIN.
async fn run(answers: &[Vec<u8>], prelude: bool, slowly: bool) -> (Result<String, Fault>, Vec<String>, Backend) {
    let (mut backend, mut server) = connection();
    if prelude {
        backend.ask("DISCARD SEQUENCES");
    }
    backend.open(BEGIN);
    assert!(backend.cancel.is_opening());
    let serve = async {
        let mut others = Vec::new();
        let mut first = prelude;
        for answer in answers {
            let mut texts = heard(&mut server).await;
            if std::mem::take(&mut first) {
                assert_eq!(texts.remove(0), "DISCARD SEQUENCES");
            }
            assert_eq!(texts, [BEGIN], "nothing is sent behind it before it is answered");
            for piece in answer.chunks(if slowly { 1 } else { answer.len() }) {
                server.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
            }
        }
        loop {
            let texts = heard(&mut server).await;
            if texts.is_empty() {
                break;
            }
            others.extend(texts);
            let _ = server.write_all(&said(&[(b'C', b"INSERT 0 1\0"), (b'Z', b"T")])).await;
        }
        others
    };
    let (done, others) = tokio::join!(backend.command(INSERT), serve);
    (done, others, backend)
}

fn opened() -> Vec<u8> {
    said(&[(b'C', b"BEGIN\0"), (b'N', b"SNOTICE\0\0"), (b'C', b"SET\0"), (b'Z', b"T")])
}

#[tokio::test]
async fn what_stands_behind_goes_when_it_is_open() {
    for slowly in [false, true] {
        let (done, others, backend) = run(&[opened()], false, slowly).await;
        assert_eq!(done.unwrap(), "INSERT 0 1");
        assert_eq!(others, [INSERT]);
        assert!(!backend.broken && !backend.cancel.is_opening());
        let answer = [said(&[(b'C', b"DISCARD SEQUENCES\0"), (b'Z', b"I")]), opened()].concat();
        let (done, others, backend) = run(&[answer], true, slowly).await;
        assert_eq!((done.unwrap().as_str(), others.len(), backend.broken), ("INSERT 0 1", 1, false));
    }
}

#[tokio::test]
async fn one_that_is_cancelled_is_opened_again() {
    for slowly in [false, true] {
        let cancelled = said(&[(b'C', b"BEGIN\0"), (b'E', CANCELLED), (b'Z', b"I")]);
        let (done, others, backend) = run(&[cancelled.clone(), cancelled.clone(), opened()], false, slowly).await;
        assert_eq!(done.unwrap(), "INSERT 0 1");
        assert_eq!((others.as_slice(), backend.broken), (&[INSERT.to_owned()][..], false));
        // Not without end.
        let (done, others, backend) = run(&vec![cancelled; ATTEMPTS as usize], false, slowly).await;
        assert_eq!(done.unwrap_err().code, SqlState::QUERY_CANCELED);
        assert!(others.is_empty() && backend.broken);
    }
}

#[tokio::test]
async fn notifications_in_an_answer_that_is_thrown_away_are_kept() {
    let news = b"\0\0\0\x07channel\0payload\0";
    let cancelled = said(&[(b'C', b"BEGIN\0"), (b'E', CANCELLED), (b'A', news), (b'Z', b"I")]);
    let (done, _, mut backend) = run(&[cancelled, opened()], false, true).await;
    assert_eq!(done.unwrap(), "INSERT 0 1");
    let mut told = BytesMut::new();
    backend.pass_news(&mut told);
    assert_eq!(told, said(&[(b'A', news)]));
}

#[tokio::test]
async fn what_is_not_opened_has_nothing_sent_behind_it() {
    for slowly in [false, true] {
        let failed = said(&[(b'E', DENIED), (b'Z', b"I")]);
        let half = said(&[(b'C', b"BEGIN\0"), (b'E', CANCELLED), (b'Z', b"E")]);
        let garbled = b"Z\0\0\0\x03".to_vec();
        for (answer, code) in
            [(failed, Some(SqlState::FEATURE_NOT_SUPPORTED)), (half, Some(SqlState::QUERY_CANCELED)), (garbled, None)]
        {
            let (done, others, mut backend) = run(&[answer], false, slowly).await;
            let fault = done.unwrap_err();
            assert!(code.is_none_or(|code| code == fault.code), "{fault}");
            // Whoever tries again is told the same.
            assert_eq!(backend.command(INSERT).await.unwrap_err(), fault);
            assert!(others.is_empty() && backend.broken);
        }
    }
}

#[tokio::test]
async fn a_farewell_is_read_as_any_other() {
    let (mut backend, mut server) = connection();
    backend.open(BEGIN);
    server.write_all(&said(&[(b'E', FAREWELL)])).await.unwrap();
    drop(server);
    backend.ask(INSERT);
    let frame = backend.next_frame().await.unwrap();
    assert_eq!((frame.tag, is_fatal(frame.body())), (b'E', true));
}

/// A cancel can meet a server that has committed and writes its log.
#[tokio::test]
async fn what_has_its_tag_is_done_whatever_comes_behind_it() {
    let answer = |before: &[(u8, &[u8])], own: &[(u8, &[u8])]| [said(before), said(own)].concat();
    let tagged: &[(u8, &[u8])] = &[(b'C', b"COMMIT\0"), (b'E', CANCELLED), (b'Z', b"I")];
    let failed: &[(u8, &[u8])] = &[(b'E', CANCELLED), (b'Z', b"I")];
    for (before, own, done) in
        [(&[][..], tagged, true), (&[], failed, false), (tagged, tagged, false), (tagged, failed, false)]
    {
        let (mut backend, mut server) = connection();
        if !before.is_empty() {
            backend.ask("SET a TO 1");
        }
        server.write_all(&answer(before, own)).await.unwrap();
        let told = backend.command("COMMIT").await;
        assert_eq!(told.is_ok(), done, "{told:?}");
        // To who asks for rows it is an error all the same.
        server.write_all(&said(own)).await.unwrap();
        assert!(backend.query("COMMIT").await.is_err());
    }
}

#[tokio::test]
async fn what_the_router_cancels_behind_it_is_told_as_that() {
    let (mut backend, mut server) = connection();
    backend.open(BEGIN);
    // A deadlock is found while the answer to BEGIN is not read yet: its request to cancel waits for that.
    backend.cancel.sentence(Fault::new(SqlState::DEADLOCK_DETECTED, "deadlock detected"));
    let serve = async {
        assert_eq!(heard(&mut server).await, [BEGIN]);
        server.write_all(&opened()).await.unwrap();
        assert_eq!(heard(&mut server).await, [INSERT]);
        server.write_all(&said(&[(b'E', CANCELLED), (b'Z', b"E")])).await.unwrap();
        // The next one is not meant.
        assert_eq!(heard(&mut server).await, ["ROLLBACK"]);
        server.write_all(&said(&[(b'E', CANCELLED), (b'Z', b"E")])).await.unwrap();
    };
    let ask = async { [backend.command(INSERT).await, backend.command("ROLLBACK").await] };
    let (done, ()) = tokio::join!(ask, serve);
    let codes = done.map(|done| done.unwrap_err().code);
    assert_eq!(codes, [SqlState::DEADLOCK_DETECTED, SqlState::QUERY_CANCELED]);
}

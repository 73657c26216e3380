#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};

use super::*;
use crate::backend::cancel::CancelHandle;
use crate::backend::facts::Facts;
use crate::backend::inflight::Owed;
use crate::backend::{CancelKey, login};
use crate::ids::ShardId;
use crate::memory::Memory;
use crate::net::{ClientStream, ServerStream};
use crate::tls::ServerTls;
use crate::topology::Server;
use crate::wire::frame;

const MAX_MESSAGE: usize = 1 << 20;

/// What one server says, and how many bytes of it come at once.
#[derive(Clone, Debug)]
struct Said {
    /// It answers a question of the router's own first.
    prelude: bool,
    bytes: Bytes,
    chunks: Vec<usize>,
}

fn put(out: &mut BytesMut, tag: u8, body: &[u8]) {
    out.put_u8(tag);
    out.put_i32(body.len() as i32 + 4);
    out.put_slice(body);
}

fn backend(stream: UnixStream, owed: &[Owed]) -> Backend {
    let key = CancelKey { pid: 0, secret: vec![] };
    let server = Server::new("nowhere", 1, "none");
    let tls = Arc::new(ServerTls::disabled());
    let cancel =
        CancelHandle::new(ShardId(0), server, tls, Duration::ZERO, key.clone(), Facts::new(None, None, "".into()));
    let stream = ServerStream::Unix(stream);
    let login = login::LoggedIn { stream, parameters: vec![], key, leftover: BytesMut::new() };
    let mut backend = Backend::new(login, "nowhere:1".into(), Arc::new(cancel), MAX_MESSAGE, 1);
    owed.iter().for_each(|owed| backend.inflight.push(owed.clone()));
    backend
}

/// A client, and its end of the connection.
async fn client() -> (Client, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (theirs, ours) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
    (
        Client::new(
            ClientStream::Plain(ours.unwrap().0),
            BytesMut::new(),
            Arc::default(),
            MAX_MESSAGE,
            Memory::new(None).hold(),
        ),
        theirs.unwrap(),
    )
}

/// The way of reading that is to be looked at.
#[derive(Clone, Copy, Debug)]
enum Way {
    Runs,
    FrameByFrame,
}

/// Reads all answers to their ends: how many rows there were. What is no row is put among the rows with the number of its server.
async fn read_all(way: Way, servers: &mut [Backend], client: &mut Client) -> Result<u64, ScatterError> {
    let mut open = vec![true; servers.len()];
    let mut servers: Vec<&mut Backend> = servers.iter_mut().collect();
    let mut rows = 0;
    while open.contains(&true) {
        let found = match way {
            Way::Runs => pass_rows(b'D', &mut servers, |at| open[at], client, &mut rows).await?,
            Way::FrameByFrame => Some(any_content(&mut servers, |at| open[at], client).await?),
        };
        match found {
            Some((_, frame)) if frame.tag == b'D' => {
                rows += 1;
                client.out.extend_from_slice(&frame.bytes);
            }
            Some((at, frame)) => {
                put(&mut client.out, b'x', &[&[at as u8, frame.tag], frame.body()].concat());
                open[at] = !servers[at].inflight.is_empty();
            }
            None => assert!(client.out.len() >= OUT_HIGH),
        }
        if client.out.len() >= OUT_HIGH {
            flush(client).await?;
        }
    }
    flush(client).await?;
    Ok(rows)
}

/// What the client got of each server, in its order, and how many rows the reader counted.
async fn received(way: Way, said: &[Said]) -> (Vec<Vec<(u8, Vec<u8>)>>, u64) {
    let ours = Owed::Query { audience: Audience::Client, ready: Audience::Client };
    let prelude = Owed::Query { audience: Audience::Router, ready: Audience::Router };
    let (mut client, mut peer) = client().await;
    let (mut servers, mut feeds) = (Vec::new(), Vec::new());
    for said in said {
        let (near, mut far) = UnixStream::pair().unwrap();
        let owed = [prelude.clone(), ours.clone()];
        servers.push(backend(near, if said.prelude { &owed } else { &owed[1..] }));
        feeds.push(async move {
            let mut rest = &said.bytes[..];
            let mut chunks = said.chunks.iter().cycle();
            while !rest.is_empty() {
                let (now, later) = rest.split_at((*chunks.next().unwrap()).min(rest.len()));
                far.write_all(now).await.unwrap();
                tokio::task::yield_now().await;
                rest = later;
            }
            far
        });
    }
    let read = async {
        let rows = read_all(way, &mut servers, &mut client).await.unwrap();
        drop(client);
        rows
    };
    let mut got = Vec::new();
    let (rows, _, _) = tokio::join!(read, futures::future::join_all(feeds), peer.read_to_end(&mut got));
    let mut of_each = vec![Vec::new(); said.len()];
    let mut got = BytesMut::from(&got[..]);
    while let Some(frame) = frame::take(&mut got, MAX_MESSAGE).unwrap() {
        // The first byte of every body says whose it is.
        of_each[usize::from(frame.body()[0])].push((frame.tag, frame.body().to_vec()));
    }
    assert!(got.is_empty(), "whole frames only");
    (of_each, rows)
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// Rows with notices and parameters among them, of all sizes around those of the buffers.
fn frames() -> impl Strategy<Value = Vec<(u8, usize)>> {
    let small = prop_oneof![
        12 => (Just(b'D'), 0usize..60),
        1 => (Just(b'N'), 0usize..60),
        1 => (Just(b'S'), Just(0usize)),
    ];
    let large = (Just(b'D'), 4_000usize..70_000);
    prop::collection::vec(prop_oneof![40 => small, 1 => large], 0..120)
}

fn said() -> impl Strategy<Value = Vec<Said>> {
    let one = (any::<bool>(), any::<bool>(), frames(), prop::collection::vec(1usize..9_000, 1..8), any::<bool>());
    prop::collection::vec(one, 1..4).prop_map(|servers| {
        let said =
            |(at, (prelude, fails, frames, mut chunks, byte_by_byte)): (usize, (_, bool, Vec<_>, Vec<_>, bool))| {
                let mut out = BytesMut::new();
                if prelude {
                    put(&mut out, b'T', b"\0\0");
                    put(&mut out, b'D', b"\0\0");
                    put(&mut out, b'D', b"\0\0");
                    put(&mut out, b'N', b"\0");
                    put(&mut out, b'C', b"BEGIN\0");
                    put(&mut out, b'Z', b"T");
                }
                for (tag, len) in frames {
                    let mut body = vec![at as u8];
                    body.extend((0..len).map(|i| (i % 251) as u8));
                    if tag == b'S' {
                        body = [&body[..], b"name\0value\0"].concat();
                    }
                    put(&mut out, tag, &body);
                }
                match fails {
                    true => put(&mut out, b'E', b"SERROR\0C22012\0Mdivision by zero\0\0"),
                    false => put(&mut out, b'C', b"SELECT 1\0"),
                }
                put(&mut out, b'Z', if prelude { b"T" } else { b"I" });
                if byte_by_byte && out.len() < 3_000 {
                    chunks = vec![1];
                }
                Said { prelude, bytes: out.freeze(), chunks }
            };
        servers.into_iter().enumerate().map(said).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn runs_give_what_reading_frame_by_frame_gives(said in said()) {
        let runtime = runtime();
        let (slow, slow_rows) = runtime.block_on(received(Way::FrameByFrame, &said));
        let (fast, fast_rows) = runtime.block_on(received(Way::Runs, &said));
        prop_assert_eq!(&fast, &slow);
        prop_assert_eq!(fast_rows, slow_rows);
        let rows = fast.iter().flatten().filter(|(tag, _)| *tag == b'D').count();
        prop_assert_eq!(fast_rows, rows as u64);
    }
}

/// What a single server that says `bytes` gives the client before it is found out.
fn found_out(way: Way, owed: &[Owed], bytes: &[u8]) -> (Vec<u8>, bool) {
    runtime().block_on(async {
        let (near, mut far) = UnixStream::pair().unwrap();
        let (mut client, mut peer) = client().await;
        let mut servers = [backend(near, owed)];
        far.write_all(bytes).await.unwrap();
        let result = read_all(way, &mut servers, &mut client).await;
        flush(&mut client).await.unwrap();
        drop(client);
        let mut got = Vec::new();
        peer.read_to_end(&mut got).await.unwrap();
        (got, matches!(result, Err(ScatterError::Broken(Broken::Server(_)))))
    })
}

#[test]
fn a_run_ends_where_the_server_makes_no_sense() {
    let query = [Owed::Query { audience: Audience::Client, ready: Audience::Client }];
    let rows = b"D\0\0\0\x06\0\0D\0\0\0\x06\0\x01";
    for nonsense in [&b"D\0\0\0\x03"[..], b"D\x7f\xff\xff\xff", b"D\xff\xff\xff\xff\0\0", b"Z\0\0\0\x00"] {
        for way in [Way::Runs, Way::FrameByFrame] {
            let (got, broken) = found_out(way, &query, &[rows, nonsense].concat());
            assert_eq!(got, rows, "{way:?} {nonsense:?}");
            assert!(broken, "{way:?} {nonsense:?}");
        }
    }
    // A row that nobody has asked for.
    for way in [Way::Runs, Way::FrameByFrame] {
        assert_eq!(found_out(way, &[Owed::Sync(Audience::Client)], rows), (vec![], true), "{way:?}");
    }
}

#[test]
fn room_to_read_grows_with_a_long_answer_and_is_given_back_behind_it() {
    runtime().block_on(async {
        let (near, mut far) = UnixStream::pair().unwrap();
        let mut server = backend(near, &[Owed::Query { audience: Audience::Client, ready: Audience::Client }]);
        let mut answer = BytesMut::new();
        (0..20_000).for_each(|_| put(&mut answer, b'D', &[0; 60]));
        put(&mut answer, b'C', b"SELECT 20000\0");
        put(&mut answer, b'Z', b"I");
        let mut most = 0;
        let read = async {
            while !server.inflight.is_empty() {
                poll_fn(|cx| server.poll_progress(cx)).await.unwrap();
                most = most.max(server.read.capacity());
                while try_content(&mut server).unwrap().is_some() {}
            }
        };
        tokio::join!(read, async { far.write_all(&answer).await.unwrap() });
        // A buffer that is grown may double.
        assert!((64 * 1024..=128 * 1024).contains(&most), "{most}");
        assert!(server.is_clean());
        server.slim();
        assert_eq!(server.read.capacity(), 0);
    });
}

//! COPY FROM STDIN to one server: the client's CopyData pass through as they come, large ones in pieces.

use std::future::poll_fn;
use std::task::Poll;

use bytes::Buf;

use crate::backend::Backend;
use crate::backend::inflight::Owed;
use crate::exec::client::Client;
use crate::exec::forward::Broken;
use crate::wire::frame::{self, HEADER};
use crate::wire::request;

/// Bytes queued for a server before the client is no longer read.
const COPY_HIGH: usize = 128 * 1024;

/// How the client's part of a COPY ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyEnd {
    /// CopyDone or CopyFail was passed on: the server answers now.
    Sent,
    /// The server has spoken before the client was done: its answer is in the read buffer.
    ServerSpoke,
}

/// Carries CopyData from client to server until CopyDone or CopyFail.
pub async fn copy_in(server: &mut Backend, client: &mut Client, max_message: usize) -> Result<CopyEnd, Broken> {
    // Bytes of a CopyData that are still to come.
    let mut rest = 0_usize;
    loop {
        while server.out.len() < COPY_HIGH {
            if rest > 0 {
                let n = rest.min(client.read.len());
                if n == 0 {
                    break;
                }
                server.out.extend_from_slice(&client.read[..n]);
                client.read.advance(n);
                rest -= n;
                continue;
            }
            let header = frame::peek(&client.read, max_message).map_err(|_| Broken::Client)?;
            let Some(header) = header else { break };
            match header.tag {
                b'd' => {
                    server.out.extend_from_slice(&client.read[..HEADER]);
                    client.read.advance(HEADER);
                    rest = header.len - HEADER;
                }
                // Postgres ignores these while it copies.
                b'H' | b'S' => client.read.advance(header.len),
                _ => {
                    if client.read.len() < header.len {
                        break;
                    }
                    // CopyDone, CopyFail, or something that the server refuses in its own words.
                    server.out.extend_from_slice(&client.read[..header.len]);
                    client.read.advance(header.len);
                    return Ok(CopyEnd::Sent);
                }
            }
        }
        let server_spoke = poll_fn(|cx| {
            if client.control.poll_kill(cx).is_ready() {
                return Poll::Ready(Err(Broken::Client));
            }
            match server.poll_progress(cx) {
                Poll::Ready(Ok(())) => return Poll::Ready(Ok(true)),
                Poll::Ready(Err(fault)) => return Poll::Ready(Err(Broken::Server(fault))),
                Poll::Pending => {}
            }
            if let Poll::Ready(Err(gone)) = client.poll_flush(cx) {
                return Poll::Ready(Err(gone.into()));
            }
            if server.out.len() < COPY_HIGH {
                match client.poll_read(cx) {
                    Poll::Ready(Ok(())) => return Poll::Ready(Ok(false)),
                    Poll::Ready(Err(gone)) => return Poll::Ready(Err(gone.into())),
                    Poll::Pending => {}
                }
            }
            Poll::Pending
        })
        .await?;
        if server_spoke && rest == 0 && only_notices(server)? {
            continue;
        }
        if server_spoke {
            if rest > 0 {
                // The server fails in the middle of a CopyData: what is left of it must still reach it whole.
                pass_rest(server, client, &mut rest).await?;
            }
            return Ok(CopyEnd::ServerSpoke);
        }
    }
}

/// Passes notices that came during the copy; true when nothing else has come.
fn only_notices(server: &mut Backend) -> Result<bool, Broken> {
    match server.header().map_err(Broken::Server)? {
        Some(header) => Ok(matches!(header.tag, b'N' | b'S' | b'A')),
        None => Ok(true),
    }
}

/// Passes the next `rest` bytes of the client's on as they come. The server must owe nothing: it is not read meanwhile.
async fn pass_rest(server: &mut Backend, client: &mut Client, rest: &mut usize) -> Result<(), Broken> {
    while *rest > 0 {
        if client.read.is_empty() {
            poll_fn(|cx| client.poll_read(cx)).await?;
        }
        let n = (*rest).min(client.read.len());
        server.out.extend_from_slice(&client.read[..n]);
        client.read.advance(n);
        *rest -= n;
        poll_fn(|cx| {
            if client.control.poll_kill(cx).is_ready() {
                return Poll::Ready(Err(Broken::Client));
            }
            server.poll_flush(cx).map_err(|e| Broken::Server(server.lost(&e.to_string())))
        })
        .await?;
    }
    Ok(())
}

/// Passes on what is still to come of the frame that the client's last [`Client::cut`] began. The server must owe nothing.
pub async fn pass_frame(server: &mut Backend, client: &mut Client) -> Result<(), Broken> {
    let mut rest = client.take_rest();
    let passed = pass_rest(server, client, &mut rest).await;
    // It waits for the end of a message that never comes.
    server.broken |= rest > 0 || passed.is_err();
    passed
}

/// In the extended protocol a Sync that was sent behind the Execute is ignored by a server that copies: it owes no answer.
/// Returns whether there was one.
pub fn forget_sync(server: &mut Backend) -> bool {
    server.inflight.remove_last_if(|owed| matches!(owed, Owed::Sync(_)))
}

/// CopyFail in the router's name.
pub fn fail(server: &mut Backend, reason: &str) {
    if request::copy_fail(&mut server.out, reason).is_err() {
        server.broken = true;
    }
}

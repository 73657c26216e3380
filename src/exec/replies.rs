//! What several servers say in answer to one statement: waited for while the client is watched, one frame at a time or in runs.

use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Buf;

use crate::backend::Backend;
use crate::backend::inflight::{Audience, Verdict};
use crate::exec::client::{Client, ClientGone, OUT_HIGH};
use crate::exec::forward::{Broken, moved};
use crate::fault::{Fault, SqlState};
use crate::wire::error_fields;
use crate::wire::frame::Frame;

/// Why a scatter came to no good end. Servers may be in the middle of their answers.
#[derive(Debug)]
pub enum ScatterError {
    Broken(Broken),
    /// A shard's ErrorResponse, whole, as it is to be passed on.
    Shard(Frame),
    /// Our own refusal or limit.
    Fault(Fault),
    /// The tables are not what the catalog said when the statement was planned.
    Stale(Fault),
}

impl From<Broken> for ScatterError {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken)
    }
}

impl From<Fault> for ScatterError {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// The next frame that is part of the statement's answer, if it has been read already.
pub fn try_content(server: &mut Backend) -> Result<Option<Frame>, ScatterError> {
    loop {
        let Some(frame) = server.cut().map_err(Broken::Server)? else {
            return Ok(None);
        };
        server.note(&frame);
        if frame.tag == b'A' {
            server.keep_news(&frame)?;
            continue;
        }
        match server.inflight.step(frame.tag) {
            Verdict::Swallow => {}
            Verdict::OutOfStep => return Err(Broken::Server(server.out_of_step(frame.tag)).into()),
            Verdict::Error(Audience::Router) => {
                // BEGIN or a setting failed: what was sent behind it must not count.
                server.broken = true;
                return Ok(Some(frame));
            }
            Verdict::Forward | Verdict::Ready(_) | Verdict::Error(Audience::Client) | Verdict::CopyIn => {
                return Ok(Some(frame));
            }
        }
    }
}

fn poll_content(server: &mut Backend, cx: &mut Context<'_>) -> Poll<Result<Frame, ScatterError>> {
    loop {
        match try_content(server) {
            Ok(Some(frame)) => return Poll::Ready(Ok(frame)),
            Ok(None) => {}
            Err(error) => return Poll::Ready(Err(error)),
        }
        match server.poll_progress(cx) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(fault)) => return Poll::Ready(Err(Broken::Server(fault).into())),
            Poll::Pending => return Poll::Pending,
        }
    }
}

/// Moves what has been read of rows (frames with this tag) to the client's buffer, in runs, and counts them. `None`: the buffer is full;
/// else a frame of another kind. Reads no row: its length is all that counts.
pub async fn pass_rows(
    tag: u8,
    servers: &mut [&mut Backend],
    is_open: impl Fn(usize) -> bool,
    client: &mut Client,
    rows: &mut u64,
) -> Result<Option<(usize, Frame)>, ScatterError> {
    poll_fn(|cx| {
        for (at, server) in servers.iter_mut().enumerate().filter(|(at, _)| is_open(*at)) {
            loop {
                *rows += move_run(tag, server, client);
                if client.out.len() >= OUT_HIGH {
                    return Poll::Ready(Ok(None));
                }
                if let Some(frame) = try_content(server)? {
                    return Poll::Ready(Ok(Some((at, frame))));
                }
                match server.poll_progress(cx) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(fault)) => return Poll::Ready(Err(Broken::Server(fault).into())),
                    Poll::Pending => break,
                }
            }
        }
        poll_client(client, cx).map(Err)
    })
    .await
}

/// The run of rows at the start of what this server has said; how many.
fn move_run(tag: u8, server: &mut Backend, client: &mut Client) -> u64 {
    let (rows, bytes) = server.run_of(tag);
    // A row takes nothing off the queue of what is owed, so what holds for the first holds for all.
    if rows == 0 || server.inflight.step(tag) != Verdict::Forward {
        return 0;
    }
    client.out.extend_from_slice(&server.read[..bytes]);
    server.read.advance(bytes);
    rows
}

/// Writes what is queued for each server, so that all of them work at once, also where their transactions are to be opened first. One that
/// cannot be written to says why when it is read.
pub async fn send_all(servers: &mut [&mut Backend], client: &mut Client) -> Result<(), ScatterError> {
    poll_fn(|cx| {
        let several = servers.len() > 1;
        let is_sending = |server: &mut &mut Backend| {
            several && server.poll_opened(cx).is_pending() || server.poll_flush(cx).is_pending()
        };
        let sending = servers.iter_mut().map(is_sending).filter(|is| *is).count();
        if sending == 0 { Poll::Ready(Ok(())) } else { poll_client(client, cx).map(Err) }
    })
    .await
}

/// Begins to write what is queued for each server. What does not go at once goes while the server is read: one that was asked
/// several things answers the first before it takes the rest.
pub async fn start_sending(servers: &mut [&mut Backend], client: &mut Client) -> Result<(), ScatterError> {
    poll_fn(
        |cx| {
            if poll_sending(servers, cx).is_pending() { poll_client(client, cx).map(Err) } else { Poll::Ready(Ok(())) }
        },
    )
    .await
}

/// The same; pending while a transaction is to be opened on one of several.
pub fn poll_sending(servers: &mut [&mut Backend], cx: &mut Context<'_>) -> Poll<()> {
    let several = servers.len() > 1;
    let mut opening = false;
    for server in servers.iter_mut() {
        // One that cannot be written to says why when it is read.
        let _ = server.poll_flush(cx);
        // While another is read nobody would send what this one holds back.
        opening |= several && server.poll_opened(cx).is_pending();
    }
    if opening { Poll::Pending } else { Poll::Ready(()) }
}

/// Which notices of a server are for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hears {
    Everything,
    /// The same of a text that stands behind so many characters of the client's own.
    Behind(u32),
    /// What is said of rows: what is said of the statement's text, another server has said of it too.
    Rows,
    Nothing,
}

impl Hears {
    fn hears(self, notice: &Frame) -> bool {
        match self {
            Self::Everything | Self::Behind(_) => true,
            // Told by whoever reads a text: Postgres's `truncate_identifier`, `check_escape_warning`.
            Self::Rows => {
                let code = error_fields::code(notice.body());
                code != SqlState::NAME_TOO_LONG && code != SqlState::NONSTANDARD_ESCAPE
            }
            Self::Nothing => false,
        }
    }
}

/// Tells the client of a server's notice, if it is for it.
pub fn pass_notice(client: &mut Client, notice: &Frame, hears: Hears) {
    match hears {
        Hears::Behind(offset) if offset > 0 => client.notice(&moved(notice, offset)),
        hears if hears.hears(notice) => client.notice(notice),
        _ => {}
    }
}

/// Waits for one server's next frame; notices pass to the client, which is watched meanwhile.
pub async fn content(server: &mut Backend, client: &mut Client, hears: Hears) -> Result<Frame, ScatterError> {
    loop {
        let frame = poll_fn(|cx| match poll_content(server, cx) {
            Poll::Pending => poll_client(client, cx).map(Err),
            ready => ready,
        })
        .await?;
        match frame.tag {
            b'N' => pass_notice(client, &frame, hears),
            _ => return Ok(frame),
        }
    }
}

/// Whether a row refers to what is not there, or is referred to and goes.
pub fn is_of_foreign_key(error: &ScatterError) -> bool {
    matches!(error, ScatterError::Shard(frame) if is_told_last(frame))
}

/// The same of an ErrorResponse. One Postgres looks at foreign keys when all rows are written: every other error comes before.
pub fn is_told_last(error: &Frame) -> bool {
    const RESTRICT_VIOLATION: SqlState = SqlState(*b"23001");
    [SqlState::FOREIGN_KEY_VIOLATION, RESTRICT_VIOLATION].contains(&error_fields::code(error.body()))
}

/// What is told of a statement that writes on these servers, and has failed on one of them: where that is of a foreign key, the others are
/// waited for, and an error of another kind comes first.
pub async fn first_told(
    error: ScatterError,
    servers: &mut [&mut Backend],
    client: &mut Client,
    hears: impl Fn(usize) -> Hears,
) -> ScatterError {
    if !is_of_foreign_key(&error) {
        return error;
    }
    for (at, server) in servers.iter_mut().enumerate() {
        while !server.inflight.is_empty() {
            match content(server, client, hears(at)).await {
                Ok(frame) if frame.tag == b'E' && !is_told_last(&frame) => return ScatterError::Shard(frame),
                // It has written all its rows, or has failed.
                Ok(frame) if matches!(frame.tag, b'D' | b'C' | b'E') => break,
                Ok(_) => {}
                Err(broken) => return broken,
            }
        }
    }
    error
}

/// Waits until the next frame that is no notice begins to come. It stays where it is.
pub async fn begun(server: &mut Backend, client: &mut Client, hears: Hears) -> Result<(), ScatterError> {
    poll_fn(|cx| {
        loop {
            let notice = match server.header().map_err(Broken::Server)? {
                Some(header) if header.tag != b'N' => return Poll::Ready(Ok(())),
                Some(_) => server.cut().map_err(Broken::Server)?,
                None => None,
            };
            match notice {
                Some(frame) => pass_notice(client, &frame, hears),
                None => match server.poll_progress(cx) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(fault)) => return Poll::Ready(Err(Broken::Server(fault).into())),
                    Poll::Pending => break,
                },
            }
        }
        poll_client(client, cx).map(Err)
    })
    .await
}

/// Waits for the next frame of any server that is open.
pub async fn any_content(
    servers: &mut [&mut Backend],
    is_open: impl Fn(usize) -> bool,
    client: &mut Client,
) -> Result<(usize, Frame), ScatterError> {
    poll_fn(|cx| {
        for (at, server) in servers.iter_mut().enumerate().filter(|(at, _)| is_open(*at)) {
            if let Poll::Ready(frame) = poll_content(server, cx) {
                return Poll::Ready(frame.map(|frame| (at, frame)));
            }
        }
        poll_client(client, cx).map(Err)
    })
    .await
}

/// While servers work: the client is written to and watched. Ready when it is gone or to go.
pub fn poll_client(client: &mut Client, cx: &mut Context<'_>) -> Poll<ScatterError> {
    if client.control.poll_kill(cx).is_ready() {
        return Poll::Ready(Broken::Client.into());
    }
    if let Poll::Ready(Err(gone)) = client.poll_flush(cx) {
        return Poll::Ready(Broken::from(gone).into());
    }
    client.poll_watch(cx).map(|gone| Broken::from(gone).into())
}

/// Something that the router itself asks of servers, and that may have to wait there: it ends when the client is gone or to go, and the
/// servers are then in the middle of it.
pub async fn watched<T>(client: &mut Client, work: impl Future<Output = T>) -> Result<T, ClientGone> {
    let mut work = std::pin::pin!(work);
    poll_fn(|cx| match work.as_mut().poll(cx) {
        Poll::Ready(done) => Poll::Ready(Ok(done)),
        Poll::Pending => poll_client(client, cx).map(|_| Err(ClientGone)),
    })
    .await
}

/// The same for what is worth a little more time then; `None`: it is over. Writes nothing to the client: its answer may still be taken back.
pub async fn outlived<T>(client: &mut Client, more: Duration, work: impl Future<Output = T>) -> Option<T> {
    let mut work = std::pin::pin!(work);
    let left = poll_fn(|cx| {
        if let Poll::Ready(done) = work.as_mut().poll(cx) {
            return Poll::Ready(Some(done));
        }
        match client.control.poll_kill(cx).is_ready() || client.poll_watch(cx).is_ready() {
            true => Poll::Ready(None),
            false => Poll::Pending,
        }
    });
    match left.await {
        Some(done) => Some(done),
        None => tokio::time::timeout(more, work).await.ok(),
    }
}

pub async fn flush(client: &mut Client) -> Result<(), ScatterError> {
    poll_fn(|cx| {
        if client.control.poll_kill(cx).is_ready() {
            return Poll::Ready(Err(Broken::Client.into()));
        }
        match (client.poll_flush(cx), client.control.due()) {
            // Its servers do not wait for a client that is too slow.
            (Poll::Pending, Some(due)) => Poll::Ready(Err(due.into())),
            (flushed, _) => flushed.map_err(|gone| Broken::from(gone).into()),
        }
    })
    .await
}

#[cfg(test)]
mod tests;

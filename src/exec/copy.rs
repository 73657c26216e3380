//! COPY FROM STDIN: to one server the client's CopyData pass through as they come, large ones in pieces; to several, rows are gathered.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::time::Sleep;

use crate::backend::Backend;
use crate::backend::inflight::{Owed, Verdict};
use crate::exec::client::Client;
use crate::exec::forward::Broken;
use crate::exec::replies::poll_sending;
use crate::fault::{Fault, SqlState};
use crate::wire::frame::{self, Frame, HEADER, command_tag};
use crate::wire::{error_fields, request};

/// Bytes queued for a server before the client is no longer read.
const COPY_HIGH: usize = 128 * 1024;
/// A client that is silent for so long in the middle of a message for which a server waits is not waited for.
const STOPPED: Duration = Duration::from_secs(60);

/// Bytes gathered for one of several servers before they are sent as one CopyData.
const CHUNK: usize = 32 * 1024;

/// How the client's part of a COPY ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyEnd {
    /// CopyDone or CopyFail was passed on: the server answers now.
    Sent,
    /// The server has spoken before the client was done: its answer is in the read buffer.
    ServerSpoke,
    /// The statement is to end, and the server is not in the middle of a message.
    Canceled,
    /// The client has said nothing for too long.
    Silent,
    /// The client's next message, of this type, is none of a COPY; it has not been taken.
    Interrupted(u8),
    /// The client's next message has no length that it could have.
    Lost,
}

/// Whether a client may send this type of message while it copies. Flush and Sync mean nothing then.
pub fn is_of_copy(tag: u8) -> bool {
    matches!(tag, b'd' | b'c' | b'f' | b'H' | b'S')
}

/// Why a COPY is broken off behind which another message has come. Nobody but the router says this.
const INTERRUPTED: &str = "pgloom: another message has come before the end of the rows";

/// Carries CopyData from client to server until CopyDone or CopyFail.
pub async fn copy_in(
    server: &mut Backend,
    client: &mut Client,
    max_message: usize,
    silence: &mut Silence,
) -> Result<CopyEnd, Broken> {
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
            match client.read.first() {
                None => break,
                // Never passed on: a server that has failed meanwhile would take it for the next statement.
                Some(tag) if !is_of_copy(*tag) => return Ok(CopyEnd::Interrupted(*tag)),
                Some(_) if frame::has_lost_step(&client.read) => return Ok(CopyEnd::Lost),
                Some(_) => {}
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
                b'H' | b'S' => {
                    if client.read.len() < header.len {
                        break;
                    }
                    client.read.advance(header.len);
                }
                b'c' | b'f' => {
                    if client.read.len() < header.len {
                        break;
                    }
                    server.out.extend_from_slice(&client.read[..header.len]);
                    client.read.advance(header.len);
                    return Ok(CopyEnd::Sent);
                }
                tag => return Ok(CopyEnd::Interrupted(tag)),
            }
        }
        let met = poll_fn(|cx| {
            if client.control.poll_kill(cx).is_ready() {
                return Poll::Ready(Err(Broken::Client));
            }
            if rest == 0 && client.control.poll_cancel(cx).is_ready() {
                return Poll::Ready(Ok(Met::Cancel));
            }
            match server.poll_progress(cx) {
                Poll::Ready(Ok(())) => return Poll::Ready(Ok(Met::Server)),
                Poll::Ready(Err(fault)) => return Poll::Ready(Err(Broken::Server(fault))),
                Poll::Pending => {}
            }
            if let Poll::Ready(Err(gone)) = client.poll_flush(cx) {
                return Poll::Ready(Err(gone.into()));
            }
            if server.out.len() < COPY_HIGH {
                return match client.poll_read(cx) {
                    Poll::Ready(Ok(())) => Poll::Ready(Ok(Met::Client)),
                    Poll::Ready(Err(gone)) => Poll::Ready(Err(gone.into())),
                    Poll::Pending => silence.poll(cx).map(|()| Ok(Met::Silence)),
                };
            }
            Poll::Pending
        })
        .await?;
        let server_spoke = match met {
            Met::Cancel => return Ok(CopyEnd::Canceled),
            Met::Silence => return Ok(CopyEnd::Silent),
            Met::Client => {
                silence.broken();
                false
            }
            Met::Server => true,
        };
        if server_spoke && rest == 0 && only_notices(server)? {
            continue;
        }
        if server_spoke {
            if rest > 0 {
                // The server fails in the middle of a CopyData: what is left of it must still reach it whole.
                pass_rest(server, client, &mut rest, silence).await?;
            }
            return Ok(CopyEnd::ServerSpoke);
        }
    }
}

/// What ends a wait in the middle of a COPY.
enum Met {
    Cancel,
    Server,
    Client,
    Silence,
}

/// How long a client of whom something is waited for may say nothing.
pub struct Silence {
    limit: Option<Duration>,
    /// Since it was waited for.
    end: Option<Pin<Box<Sleep>>>,
}

impl Silence {
    pub fn new(limit: Option<Duration>) -> Self {
        Self { limit, end: None }
    }

    /// It has said something.
    pub fn broken(&mut self) {
        self.end = None;
    }

    /// It is waited for now. Ready when that is for too long.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(limit) = self.limit else { return Poll::Pending };
        self.end.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit))).as_mut().poll(cx)
    }
}

/// Tells the server that no more rows come. The CONTEXT of its error, which tells how far it came; `None`: it had failed before. Its answer
/// is in the read buffer.
pub async fn break_off(server: &mut Backend, client: &mut Client) -> Result<Option<String>, Broken> {
    fail(server, INTERRUPTED);
    loop {
        if let Some((tag, message)) = server.first_answer().map_err(Broken::Server)? {
            let says = message.windows(INTERRUPTED.len()).any(|part| part == INTERRUPTED.as_bytes());
            if tag != b'E' || !says {
                return Ok(None);
            }
            let mut fields = error_fields::iter(message.get(HEADER..).unwrap_or_default());
            let context = fields.find(|(field, _)| *field == b'W').map(|(_, text)| String::from_utf8_lossy(text));
            return Ok(Some(context.unwrap_or_default().into_owned()));
        }
        poll_fn(|cx| {
            if client.control.poll_kill(cx).is_ready() {
                return Poll::Ready(Err(Broken::Client));
            }
            if let Poll::Ready(gone) = client.poll_watch(cx) {
                return Poll::Ready(Err(gone.into()));
            }
            server.poll_progress(cx).map_err(Broken::Server)
        })
        .await?;
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
async fn pass_rest(
    server: &mut Backend,
    client: &mut Client,
    rest: &mut usize,
    silence: &mut Silence,
) -> Result<(), Broken> {
    while *rest > 0 {
        if client.read.is_empty() {
            let came = poll_fn(|cx| match client.poll_more(cx) {
                Poll::Ready(more) => Poll::Ready(more.map(|()| true).map_err(Broken::from)),
                Poll::Pending => match server.poll_given_up(cx) {
                    Poll::Ready(verdict) => Poll::Ready(Err(Broken::Server(verdict))),
                    Poll::Pending => silence.poll(cx).map(|()| Ok(false)),
                },
            });
            if !came.await? {
                client.control.end(stopped());
                return Err(Broken::Client);
            }
            silence.broken();
        }
        let n = (*rest).min(client.read.len());
        server.out.extend_from_slice(&client.read[..n]);
        client.read.advance(n);
        *rest -= n;
        poll_fn(|cx| {
            if client.control.poll_kill(cx).is_ready() {
                return Poll::Ready(Err(Broken::Client));
            }
            match server.poll_flush(cx) {
                Poll::Ready(sent) => Poll::Ready(sent.map_err(|e| Broken::Server(server.lost(&e.to_string())))),
                Poll::Pending => server.poll_given_up(cx).map(|verdict| Err(Broken::Server(verdict))),
            }
        })
        .await?;
    }
    Ok(())
}

/// Passes on what is still to come of the frame that the client's last [`Client::cut`] began. The server must owe nothing.
/// `limit`: how long its client may be silent; a server waits for it.
pub async fn pass_frame(server: &mut Backend, client: &mut Client, limit: Option<Duration>) -> Result<(), Broken> {
    let mut rest = client.take_rest();
    let mut silence = Silence::new(Some(limit.map_or(STOPPED, |limit| limit.min(STOPPED))));
    let passed = pass_rest(server, client, &mut rest, &mut silence).await;
    // It waits for the end of a message that never comes.
    server.broken |= rest > 0 || passed.is_err();
    passed
}

fn stopped() -> Fault {
    Fault::new(
        SqlState::CONNECTION_FAILURE,
        "terminating connection because its client has stopped in the middle of a message",
    )
    .detail("A server connection waits for the rest.")
    .fatal()
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

/// Rows on their way to several servers that copy, gathered so that each CopyData has many.
pub struct Chunks {
    gathering: Vec<BytesMut>,
    /// Whole CopyData messages.
    ready: Vec<BytesMut>,
}

impl Chunks {
    pub fn new(servers: usize) -> Self {
        let none = || (0..servers).map(|_| BytesMut::new()).collect();
        Self { gathering: none(), ready: none() }
    }

    pub fn len(&self) -> usize {
        self.gathering.len()
    }

    pub fn is_empty(&self) -> bool {
        self.gathering.is_empty()
    }

    /// Whole rows, or what comes before them.
    pub fn put(&mut self, server: usize, bytes: &[u8]) {
        self.gathering[server].extend_from_slice(bytes);
        if self.gathering[server].len() >= CHUNK {
            self.flush(server);
        }
    }

    fn flush(&mut self, server: usize) {
        let payload = &mut self.gathering[server];
        if !payload.is_empty() && request::copy_data_header(&mut self.ready[server], payload.len()).is_ok() {
            self.ready[server].extend_from_slice(payload);
            payload.clear();
        }
    }

    pub fn flush_all(&mut self) {
        (0..self.len()).for_each(|server| self.flush(server));
    }

    /// Moves what is whole into the server's queue; true when there was anything.
    pub fn hand_over(&mut self, at: usize, server: &mut Backend) -> bool {
        let out = &mut self.ready[at];
        let any = !out.is_empty();
        if any {
            server.out.unsplit(out.split());
        }
        any
    }
}

/// Waits for every server's CopyInResponse. Returns the first one, or the error of one that refuses; the others have been told to stop
/// then.
///
/// # Errors
/// A connection is lost, or no server has answered.
pub async fn begun(servers: &mut [&mut Backend]) -> Result<Result<Frame, Frame>, Fault> {
    let mut first = None;
    let (mut failed, mut lost) = (None, None);
    poll_fn(|cx| poll_sending(servers, cx)).await;
    for server in servers.iter_mut() {
        match begins(server).await {
            Ok(Begins::Copying(frame)) => {
                first.get_or_insert(frame);
            }
            Ok(Begins::Refused(frame)) => {
                failed.get_or_insert(frame);
            }
            Ok(Begins::Nothing) => {}
            Err(fault) => {
                lost.get_or_insert(fault);
            }
        }
    }
    if failed.is_some() || lost.is_some() {
        // Those that wait for rows heed nothing else.
        for server in servers.iter_mut().filter(|server| !server.broken && !server.inflight.is_empty()) {
            fail(server, "another shard refused the COPY");
            let _ = server.settle().await;
        }
    }
    if let Some(fault) = lost {
        return Err(fault);
    }
    if let Some(error) = failed {
        return Ok(Err(error));
    }
    first.map(Ok).ok_or_else(|| Fault::new(SqlState::INTERNAL_ERROR, "no shard answered the COPY"))
}

/// What one server says to the beginning of its COPY.
enum Begins {
    Copying(Frame),
    Refused(Frame),
    Nothing,
}

async fn begins(server: &mut Backend) -> Result<Begins, Fault> {
    let mut refused = None;
    loop {
        let frame = server.next_frame().await?;
        match server.inflight.step(frame.tag) {
            Verdict::CopyIn => return Ok(Begins::Copying(frame)),
            Verdict::OutOfStep => return Err(server.out_of_step(frame.tag)),
            Verdict::Error(_) => {
                refused.get_or_insert(frame);
            }
            Verdict::Ready(_) if server.inflight.is_empty() => {
                return Ok(refused.map_or(Begins::Nothing, Begins::Refused));
            }
            Verdict::Ready(_) | Verdict::Forward | Verdict::Swallow => {}
        }
    }
}

/// Whether a server has said anything but a notice while it copies: it has failed.
pub fn spoke(server: &mut Backend) -> bool {
    matches!(server.header(), Ok(Some(header)) if !matches!(header.tag, b'N' | b'S' | b'A'))
}

/// CopyDone (or, for a reason, CopyFail) to every server, and their answers: rows copied in all, or on each where all got the `same`;
/// or the error of one of them. One that fails by itself is heard before those that were told to.
///
/// # Errors
/// A connection is lost; the others have ended all the same.
pub async fn ended(
    servers: &mut [&mut Backend],
    reason: Option<&str>,
    same: bool,
) -> Result<Result<u64, (usize, Frame)>, Fault> {
    let errors = match all_ended(servers, reason, same).await? {
        Ok(rows) => return Ok(Ok(rows)),
        Err(errors) => errors,
    };
    let first = errors.into_iter().min_by_key(|(nth, frame)| (is_told(frame), *nth));
    Ok(first.map_or(Ok(0), Err))
}

/// Whether this is what our own CopyFail comes back as.
pub fn is_told(error: &Frame) -> bool {
    error_fields::code(error.body()) == SqlState::QUERY_CANCELED
}

/// The same with the errors of all that have failed, by themselves or because they were told to; of one at least.
///
/// # Errors
/// As [`ended`].
pub async fn all_ended(
    servers: &mut [&mut Backend],
    reason: Option<&str>,
    same: bool,
) -> Result<Result<u64, Vec<(usize, Frame)>>, Fault> {
    // One server's error fails all: the others are told before they could take what they have for the whole.
    let spoke = servers.iter_mut().any(|server| spoke(server));
    let reason = reason.or(spoke.then_some("the COPY failed on another shard"));
    for server in servers.iter_mut() {
        match reason {
            None => server.out.extend_from_slice(request::COPY_DONE),
            Some(reason) => fail(server, reason),
        }
    }
    let (mut rows, mut errors, mut lost) = (0, Vec::new(), None);
    for (nth, server) in servers.iter_mut().enumerate() {
        match end(server).await {
            Ok(Ok(copied)) if same => rows = copied,
            Ok(Ok(copied)) => rows += copied,
            Ok(Err(frame)) => errors.push((nth, frame)),
            Err(fault) => lost = lost.or(Some(fault)),
        }
    }
    match lost {
        Some(fault) => Err(fault),
        None if errors.is_empty() => Ok(Ok(rows)),
        None => Ok(Err(errors)),
    }
}

/// What a server says to the end of its COPY.
async fn end(server: &mut Backend) -> Result<Result<u64, Frame>, Fault> {
    let mut ended = Ok(0);
    while !server.inflight.is_empty() {
        let frame = server.next_frame().await?;
        server.keep_said(&frame);
        if server.inflight.step(frame.tag) == Verdict::OutOfStep {
            return Err(server.out_of_step(frame.tag));
        }
        match frame.tag {
            b'C' => ended = ended.map(|_| command_tag(frame.body()).1.unwrap_or(0)),
            b'E' => ended = Err(frame),
            _ => {}
        }
    }
    Ok(ended)
}

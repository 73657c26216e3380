//! One server, one client: pumps what the server owes to the client, decoding no row.

use std::future::poll_fn;
use std::task::Poll;

use bytes::{Buf, BufMut, BytesMut};

use crate::backend::inflight::{Audience, Verdict};
use crate::backend::{Backend, server_fault};
use crate::exec::client::{Client, ClientGone, OUT_HIGH};
use crate::fault::{Fault, SqlState};
use crate::wire::error_fields;
use crate::wire::frame::{Frame, HEADER};

/// When the time is up a row that is longer waits for its client, as all do before.
const SMALL_ROW: usize = 1 << 20;

/// Why a pump stopped.
#[derive(Debug)]
pub enum Pumped {
    /// Everything that was owed has come.
    Drained,
    /// The server wants CopyData; its CopyInResponse is queued for the client.
    CopyIn,
}

/// What keeps a statement from being carried to its end.
#[derive(Debug)]
pub enum Broken {
    /// Cancel and discard.
    Client,
    /// The server connection is unusable; this is what the client is told.
    Server(Fault),
}

impl From<ClientGone> for Broken {
    fn from(_: ClientGone) -> Self {
        Self::Client
    }
}

/// What happened on the way, for transaction state, logs and metrics.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// An ErrorResponse went to the client.
    pub error: bool,
    /// A ReadyForQuery went to the client.
    pub ready: bool,
    /// The error that the client got answers a request of our own (settings, BEGIN): what followed it must not count.
    pub prelude_failed: bool,
    /// A COPY in the extended protocol has all its data; what comes of it is told after the next Sync or Flush.
    pub copying: bool,
    /// Characters of the client's query before the statement: added to the position in an error.
    pub offset: u32,
    /// The last error says that a prepared statement would return other columns now.
    pub changed_plan: bool,
    /// SQLSTATE of the last error.
    pub sqlstate: Option<[u8; 5]>,
    /// Rows that command tags told of.
    pub rows: u64,
    /// Rows of this statement, whose time is up, that were not passed on to a client that takes them too slowly. It must end with an error.
    pub dropped: bool,
}

/// Carries replies from server to client until nothing is owed, or the server asks for CopyData.
/// Local replies are put in their places. The client's buffer may hold bytes at the end: the caller flushes.
pub async fn pump(server: &mut Backend, client: &mut Client, seen: &mut Seen) -> Result<Pumped, Broken> {
    if server.streaming == 0 {
        server.pass_news(&mut client.out);
    }
    loop {
        if let Some(end) = cut_replies(server, client, seen)? {
            return Ok(end);
        }
        exchange(server, client).await?;
    }
}

/// Moves whatever has been read; `None` when more must come from the server.
fn cut_replies(server: &mut Backend, client: &mut Client, seen: &mut Seen) -> Result<Option<Pumped>, Broken> {
    if server.streaming > 0 {
        let n = server.streaming.min(server.read.len());
        client.out.extend_from_slice(&server.read[..n]);
        server.read.advance(n);
        server.streaming -= n;
        if server.streaming > 0 {
            return Ok(None);
        }
    }
    // `forwarded` bytes at the start of the read buffer are for the client and not yet moved.
    let mut forwarded = 0;
    loop {
        if let Some(local) = server.inflight.take_local() {
            move_run(server, client, &mut forwarded);
            client.out.extend_from_slice(&local);
            continue;
        }
        if server.inflight.is_empty() {
            move_run(server, client, &mut forwarded);
            return Ok(Some(Pumped::Drained));
        }
        let ahead = server.read.len() - forwarded;
        let header = crate::wire::frame::peek(&server.read[forwarded..], usize::MAX >> 1)
            .map_err(|f| Broken::Server(server.lost(&f.message)))?;
        let Some(header) = header else {
            move_run(server, client, &mut forwarded);
            return Ok(None);
        };
        let complete = ahead >= header.len;
        // Rows and copy data may be larger than any buffer: they pass while they come. All else is small and taken whole, and so is what
        // is dropped.
        let is_small = header.len <= SMALL_ROW && is_dropped(client, header.tag, forwarded);
        if !complete && (is_small || !matches!(header.tag, b'D' | b'd')) {
            move_run(server, client, &mut forwarded);
            server.read.reserve((header.len - ahead).min(1 << 20));
            return Ok(None);
        }
        if let Some(head) = server.inflight.take_head(header.tag) {
            move_run(server, client, &mut forwarded);
            client.out.extend_from_slice(&head);
            continue;
        }
        let learns = server.inflight.learns(header.tag);
        match server.inflight.step(header.tag) {
            Verdict::Forward if complete && is_dropped(client, header.tag, forwarded) => {
                move_run(server, client, &mut forwarded);
                server.read.advance(header.len);
                seen.dropped = true;
            }
            Verdict::Forward if seen.dropped && matches!(header.tag, b'C' | b's') => {
                // It was done before it could be cancelled, and the client cannot be told of it without its rows.
                client.control.end(untaken());
                return Err(Broken::Client);
            }
            Verdict::Forward => {
                match header.tag {
                    // Told with the next ReadyForQuery that the client gets, whoever says it.
                    b'S' => {
                        move_run(server, client, &mut forwarded);
                        let frame = server.read.split_to(header.len);
                        server.note_parameter(&frame[HEADER..]);
                        client.parameters.hear(&frame[HEADER..]);
                        continue;
                    }
                    b'T' | b't' if server.renumbers() => server.renumber(forwarded, header.len),
                    _ => {}
                }
                if header.tag == b'C' && complete {
                    seen.rows += rows_of_tag(&server.read[forwarded + HEADER..forwarded + header.len]);
                }
                if complete {
                    forwarded += header.len;
                } else {
                    server.streaming = header.len - ahead;
                    forwarded += ahead;
                    move_run(server, client, &mut forwarded);
                    return Ok(None);
                }
            }
            Verdict::Swallow => {
                move_run(server, client, &mut forwarded);
                if !complete {
                    return Err(Broken::Server(server.out_of_step(header.tag)));
                }
                if header.tag == b'S' {
                    let body = server.read[HEADER..header.len].to_vec();
                    server.note_parameter(&body);
                }
                match learns {
                    Some(of) => server.learn(of, header.len),
                    None => server.read.advance(header.len),
                }
            }
            Verdict::Ready(audience) => {
                let more = !server.inflight.is_empty();
                server.note_status(server.read.get(forwarded + HEADER).copied(), more);
                match audience {
                    Audience::Client => {
                        seen.ready = true;
                        if client.parameters.has_untold() {
                            move_run(server, client, &mut forwarded);
                            client.tell_parameters();
                        }
                        forwarded += header.len;
                    }
                    Audience::Router => {
                        move_run(server, client, &mut forwarded);
                        server.read.advance(header.len);
                    }
                }
            }
            // What follows a request of ours that has failed fails for that: the client gets one error.
            Verdict::Error(_) if seen.prelude_failed => {
                move_run(server, client, &mut forwarded);
                server.read.advance(header.len);
            }
            // The server ends the connection with it, the session goes on: the client hears of one error, of a lost connection.
            Verdict::Error(_) if error_fields::is_fatal(&server.read[forwarded + HEADER..forwarded + header.len]) => {
                let words = server.read[forwarded + HEADER..forwarded + header.len].to_vec();
                move_run(server, client, &mut forwarded);
                return Err(Broken::Server(server.ended(&words)));
            }
            Verdict::Error(audience) => {
                let body = &server.read[forwarded + HEADER..forwarded + header.len];
                let judged = server.cancel.judge(body);
                let body = judged.as_ref().map_or(body, |judged| &judged[HEADER..]);
                seen.sqlstate = Some(server_fault(body).code.0);
                seen.error = true;
                if std::mem::take(&mut seen.dropped) {
                    client.control.forget_due();
                }
                seen.changed_plan = error_fields::is_changed_plan(body);
                seen.prelude_failed |= audience == Audience::Router;
                if let Some(judged) = judged {
                    move_run(server, client, &mut forwarded);
                    server.read.advance(header.len);
                    client.out.extend_from_slice(&judged);
                } else if seen.offset > 0 {
                    let moved = move_position(body, seen.offset);
                    move_run(server, client, &mut forwarded);
                    server.read.advance(header.len);
                    client.out.extend_from_slice(&moved);
                } else {
                    forwarded += header.len;
                }
                if server.inflight.is_empty() && !server.inflight.is_skipping() {
                    // Unasked for: what is said from now on is out of step.
                    move_run(server, client, &mut forwarded);
                    server.broken = true;
                    return Ok(Some(Pumped::Drained));
                }
            }
            Verdict::CopyIn => {
                forwarded += header.len;
                move_run(server, client, &mut forwarded);
                return Ok(Some(Pumped::CopyIn));
            }
            Verdict::OutOfStep => {
                move_run(server, client, &mut forwarded);
                return Err(Broken::Server(server.out_of_step(header.tag)));
            }
        }
    }
}

/// Whether a row or a piece of a COPY is not for the client: its time is up, and the client has not taken what came before.
fn is_dropped(client: &Client, tag: u8, forwarded: usize) -> bool {
    matches!(tag, b'D' | b'd') && client.out.len() + forwarded >= OUT_HIGH && client.control.is_due()
}

fn untaken() -> Fault {
    Fault::new(SqlState::QUERY_CANCELED, "terminating connection due to statement timeout")
        .detail("the client has not taken its answer in time")
        .fatal()
}

/// The number at the end of a command tag (`SELECT 5`, `INSERT 0 5`); 0 where it has none.
pub fn rows_of_tag(tag: &[u8]) -> u64 {
    let tag = tag.strip_suffix(b"\0").unwrap_or(tag);
    let digits = tag.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    tag[tag.len() - digits..].iter().fold(0, |n: u64, digit| n.wrapping_mul(10).wrapping_add(u64::from(digit - b'0')))
}

/// A [`Seen::offset`] that takes positions out of errors: the text that they are in is not the client's.
pub const NO_POSITION: u32 = u32::MAX;

/// An ErrorResponse of a text that the client did not write.
pub fn without_position(frame: &Frame) -> Frame {
    moved(frame, NO_POSITION)
}

/// An ErrorResponse or NoticeResponse with its position moved by `offset` characters.
pub fn moved(frame: &Frame, offset: u32) -> Frame {
    let mut bytes = move_position(frame.body(), offset);
    bytes[0] = frame.tag;
    Frame { tag: frame.tag, bytes: bytes.freeze() }
}

/// The ErrorResponse with its position moved by `offset` characters.
pub fn move_position(body: &[u8], offset: u32) -> BytesMut {
    let mut out = BytesMut::with_capacity(body.len() + HEADER + 8);
    out.extend_from_slice(b"E\0\0\0\0");
    for (field, value) in error_fields::iter(body) {
        if field == b'P' && offset == NO_POSITION {
            continue;
        }
        out.put_u8(field);
        match (field, std::str::from_utf8(value).ok().and_then(|v| v.parse::<u32>().ok())) {
            (b'P', Some(position)) => out.extend_from_slice(position.saturating_add(offset).to_string().as_bytes()),
            _ => out.extend_from_slice(value),
        }
        out.put_u8(0);
    }
    out.put_u8(0);
    let length = u32::try_from(out.len() - 1).unwrap_or(u32::MAX);
    out[1..HEADER].copy_from_slice(&length.to_be_bytes());
    out
}

fn move_run(server: &mut Backend, client: &mut Client, forwarded: &mut usize) {
    if *forwarded > 0 {
        client.out.extend_from_slice(&server.read[..*forwarded]);
        server.read.advance(*forwarded);
        *forwarded = 0;
    }
}

/// Waits until the server has said more; meanwhile writes to both sides and reads ahead from the client.
pub async fn exchange(server: &mut Backend, client: &mut Client) -> Result<(), Broken> {
    poll_fn(|cx| {
        if client.control.poll_kill(cx).is_ready() {
            return Poll::Ready(Err(Broken::Client));
        }
        // When the time is up the rest of the answer is read, and dropped, but for the end of a row that has begun.
        let drops = server.streaming <= SMALL_ROW && client.control.is_due();
        let was_full = client.out.len() >= OUT_HIGH && !drops;
        if !was_full {
            match server.poll_progress(cx) {
                Poll::Ready(Ok(())) => return Poll::Ready(Ok(())),
                Poll::Ready(Err(fault)) => return Poll::Ready(Err(Broken::Server(fault))),
                Poll::Pending => {}
            }
        }
        match client.poll_pass_on(cx) {
            Poll::Ready(Err(gone)) => return Poll::Ready(Err(gone.into())),
            // There is room again: read on.
            Poll::Ready(Ok(())) if was_full => match server.poll_progress(cx) {
                Poll::Ready(Ok(())) => return Poll::Ready(Ok(())),
                Poll::Ready(Err(fault)) => return Poll::Ready(Err(Broken::Server(fault))),
                Poll::Pending => {}
            },
            Poll::Ready(Ok(())) | Poll::Pending => {}
        }
        match client.poll_watch(cx) {
            Poll::Ready(gone) => Poll::Ready(Err(gone.into())),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

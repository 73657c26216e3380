//! Tier 2: rows of several shards into the temporary tables of a combine connection. What the shards send in binary is, byte for
//! byte, what COPY reads: frames change their tag and pass. Only values whose binary form differs between servers are text.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Context, Poll};

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::backend::Backend;
use crate::backend::inflight::{Audience, Owed, Verdict};
use crate::exec::client::Client;
use crate::exec::columns::FIRST_NORMAL_OID;
use crate::exec::copy;
use crate::exec::forward::{Broken, without_position};
use crate::exec::replies::{Hears, ScatterError, content, poll_client, try_content};
use crate::exec::scatter::copies_differ;
use crate::fault::{Blame, Fault, SqlState};
use crate::ids::Oid;
use crate::wire::frame::{self, Frame, HEADER, command_tag};
use crate::wire::request;
use crate::wire::row::{RowView, read_row_description};

/// Bytes queued for the combine connection before the shards are no longer read.
const HIGH: usize = 256 * 1024;
/// How a binary COPY begins: its signature, no flags, no extension.
pub(super) const COPY_HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// How a binary COPY ends.
const COPY_TRAILER: &[u8] = b"\xff\xff";

/// One temporary table to be filled.
pub struct Input {
    /// `COPY pg_temp.name FROM STDIN ...`
    pub copy: String,
    /// Rows are binary; else they become COPY's text.
    pub binary: bool,
    /// The types of its columns as a RowDescription tells them.
    pub types: std::sync::Arc<[Oid]>,
    /// Positions of the servers that feed it: each was asked for its rows before those of later inputs.
    pub servers: Vec<usize>,
    /// The table that the rows come from, for messages.
    pub table: String,
    /// Some condition went with the question; else a message about too many rows says so.
    pub filtered: bool,
    /// Each server sends the same rows: those of the first fill it.
    pub same: bool,
    /// Which of the servers, by their places among them, gives the next row; empty: whichever has one.
    pub order: Vec<usize>,
}

/// What the pulls of one statement may bring, and what they have brought.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    pub max_rows: u64,
    pub max_bytes: u64,
    pub rows: u64,
    pub bytes: u64,
}

impl Tally {
    /// Whether more has come than may.
    pub fn is_over(&self) -> bool {
        self.rows > self.max_rows || self.bytes > self.max_bytes
    }

    fn add(&mut self, bytes: usize, input: &Input) -> Result<(), Fault> {
        self.rows += 1;
        self.bytes += bytes as u64;
        if self.rows <= self.max_rows && self.bytes <= self.max_bytes {
            return Ok(());
        }
        let (what, limit) = match self.rows > self.max_rows {
            true => ("rows", format!("[combine] max_rows is {}", self.max_rows)),
            false => ("bytes", format!("[combine] max_bytes is {}", self.max_bytes)),
        };
        let hint = match input.filtered {
            true => format!("Restrict table {} further, or raise the limit.", input.table),
            false => format!(
                "No condition on table {} could go down to its shards: all its rows were asked for. Restrict it in WHERE by \
                 its own columns, or raise the limit.",
                input.table
            ),
        };
        let message = format!("the statement needs too many {what} of several shards in one place");
        Err(Fault::new(SqlState::CONFIGURATION_LIMIT_EXCEEDED, message).detail(limit).hint(hint))
    }
}

/// Queues one pull on a shard's connection: Parse, Bind, Describe, Execute. `values`: what a Bind says between its names and its
/// result formats. The Sync is the caller's.
pub fn ask(server: &mut Backend, sql: &str, types: &[Oid], values: &[u8], binary: bool) -> Result<(), Fault> {
    server.parse(b"", sql.as_bytes(), types)?;
    server.inflight.push(Owed::Parse(Audience::Router));
    let mut tail = BytesMut::from(values);
    tail.put_i16(1);
    tail.put_i16(i16::from(binary));
    server.bind_own(&tail)?;
    server.inflight.push(Owed::Bind(Audience::Router));
    request::describe(&mut server.out, request::Target::Portal, b"")?;
    server.inflight.push(Owed::DescribePortal(Audience::Client));
    request::execute(&mut server.out, b"", 0)?;
    server.inflight.push(Owed::Execute(Audience::Client));
    Ok(())
}

/// Carries the rows of one input from its shards, all at once, at the speed of the combine connection. What the shards have to
/// notice of a text that is not the client's is not told: the client's own text is parsed elsewhere, with its notices.
///
/// On return the COPY has all its data; its answer is still to be read, see [`Copies`]. On an error the COPY has been failed, or the
/// combine connection is broken; what the shards still owe is the caller's to end.
pub async fn fill(
    input: &Input,
    combine: &mut Backend,
    servers: &mut [&mut Backend],
    client: &mut Client,
    tally: &mut Tally,
    copies: &mut Copies,
) -> Result<u64, ScatterError> {
    let before = tally.rows;
    let mut filling = Filling {
        input,
        tally,
        copies,
        feeds: input.servers.iter().enumerate().map(|(n, at)| Feed::new(*at, input.same && n > 0)).collect(),
        mid_row: None,
        copying: false,
        next: 0,
    };
    let filled = filling.run(combine, servers, client).await;
    if filled.is_err() {
        if filling.mid_row.is_some() {
            combine.broken = true;
        } else if filling.copying && !combine.broken {
            copy::fail(combine, "the rows did not all arrive");
        }
    }
    filled?;
    let rows = tally.rows - before;
    if !input.servers.is_empty() {
        copies.sent.push_back(rows);
    }
    Ok(rows)
}

/// The COPYs whose answers have not been read: how many rows each was sent, which is how many it must have taken.
#[derive(Debug, Default)]
pub struct Copies {
    sent: VecDeque<u64>,
}

impl Copies {
    /// Takes note of a frame of the combine connection.
    pub fn note(&mut self, frame: &Frame) -> Result<(), Fault> {
        let ("COPY", taken) = command_tag(frame.body()) else { return Ok(()) };
        if frame.tag != b'C' || taken == self.sent.pop_front() {
            return Ok(());
        }
        Err(Fault::new(SqlState::DATA_CORRUPTED, "rows were lost between the shards")
            .detail(format!("{} rows arrived", taken.unwrap_or(0)))
            .blame(Blame::Router))
    }

    /// Whether every COPY has said what it took.
    pub fn is_empty(&self) -> bool {
        self.sent.is_empty()
    }
}

/// Values of a column that can go with a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Values {
    /// There are none, but perhaps NULLs.
    None,
    /// An array of them in binary format, each once.
    Few(Bytes),
    /// More than are sent.
    Many,
}

/// Most values of one column that are sent to shards.
const MAX_KEYS: usize = 10_000;
/// Most bytes that they may have together.
const MAX_KEY_BYTES: usize = 1 << 20;

/// The values that a query of one column has on the combine connection, which is in its transaction.
pub async fn values(
    combine: &mut Backend,
    client: &mut Client,
    query: &str,
    types: &[Oid],
    values: &[u8],
    copies: &mut Copies,
) -> Result<Values, ScatterError> {
    let sql = format!(
        "SELECT pg_catalog.count(*), CASE WHEN pg_catalog.count(*) OPERATOR(pg_catalog.<=) {MAX_KEYS} AND \
         pg_catalog.sum(pg_catalog.pg_column_size(v)) OPERATOR(pg_catalog.<=) {MAX_KEY_BYTES} \
         THEN pg_catalog.array_agg(v) END FROM (SELECT DISTINCT v FROM ({query}) AS q(v) WHERE v IS NOT NULL \
         LIMIT {}) AS d",
        MAX_KEYS + 1
    );
    ask(combine, &sql, types, values, true)?;
    combine.out.extend_from_slice(request::SYNC);
    combine.inflight.push(Owed::Sync(Audience::Client));
    let (mut found, mut failed) = (None, None);
    while !combine.inflight.is_empty() {
        let frame = content(combine, client, Hears::Nothing).await?;
        copies.note(&frame)?;
        match frame.tag {
            b'D' => found = Some(frame),
            b'E' => failed = failed.or(Some(frame)),
            _ => {}
        }
    }
    if let Some(error) = failed {
        return Err(ScatterError::Shard(without_position(&error)));
    }
    let unread = || Fault::new(SqlState::INTERNAL_ERROR, "a server did not tell the values of a column");
    let row = found.ok_or_else(unread)?;
    let columns = RowView::parse(&row.bytes)?.columns().collect::<Result<Vec<_>, _>>()?;
    match columns[..] {
        [Some(count), None] if count.iter().all(|byte| *byte == 0) => Ok(Values::None),
        [Some(_), None] => Ok(Values::Many),
        [Some(_), Some(array)] => Ok(Values::Few(Bytes::copy_from_slice(array))),
        _ => Err(unread().into()),
    }
}

struct Filling<'a> {
    input: &'a Input,
    tally: &'a mut Tally,
    copies: &'a mut Copies,
    feeds: Vec<Feed>,
    /// The feed whose row has gone in part: nobody else's bytes may come between.
    mid_row: Option<usize>,
    /// CopyData may be sent.
    copying: bool,
    /// How many rows of the input's order have come, or will not.
    next: usize,
}

/// What one shard sends for the input.
#[derive(Default)]
struct Feed {
    /// Position among the servers.
    at: usize,
    described: bool,
    done: bool,
    /// Bytes of a row that are still to come.
    rest: usize,
    /// Its rows are those of another one.
    repeats: bool,
    /// How many rows it may give before others have given theirs.
    turns: usize,
    /// What it says that it has done.
    tag: Option<(Box<str>, Option<u64>)>,
}

enum Event {
    /// All feeds are at their end.
    Done,
    /// The combine connection has said something.
    Spoke,
}

impl Filling<'_> {
    async fn run(
        &mut self,
        combine: &mut Backend,
        servers: &mut [&mut Backend],
        client: &mut Client,
    ) -> Result<(), ScatterError> {
        if self.feeds.is_empty() {
            return Ok(());
        }
        request::query(&mut combine.out, self.input.copy.as_bytes())?;
        combine.inflight.push(Owed::Query { audience: Audience::Client, ready: Audience::Router });
        // Its CopyInResponse is not awaited: a server that fails the COPY skips the data.
        self.copying = true;
        if self.input.binary {
            copy_data(&mut combine.out, COPY_HEADER)?;
        }
        loop {
            let event = poll_fn(|cx| self.poll(combine, servers, client, cx)).await?;
            match event {
                Event::Done => break,
                Event::Spoke => self.listen(combine)?,
            }
        }
        let first = self.feeds.first().map(|feed| &feed.tag);
        if self.input.same && self.feeds.iter().any(|feed| Some(&feed.tag) != first) {
            return Err(copies_differ(self.feeds.iter().map(|feed| feed.tag.as_ref())).into());
        }
        if self.input.binary {
            copy_data(&mut combine.out, COPY_TRAILER)?;
        }
        combine.out.extend_from_slice(request::COPY_DONE);
        Ok(())
    }

    /// Everything that can go on without waiting.
    fn poll(
        &mut self,
        combine: &mut Backend,
        servers: &mut [&mut Backend],
        client: &mut Client,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Event, ScatterError>> {
        if let Poll::Ready(error) = poll_client(client, cx) {
            return Poll::Ready(Err(error));
        }
        loop {
            match combine.poll_progress(cx) {
                Poll::Ready(Ok(())) => return Poll::Ready(Ok(Event::Spoke)),
                Poll::Ready(Err(fault)) => return Poll::Ready(Err(Broken::Server(fault).into())),
                Poll::Pending => {}
            }
            if combine.out.len() >= HIGH {
                return Poll::Pending;
            }
            let mut moved = false;
            for (place, feed) in self.feeds.iter_mut().enumerate() {
                let at = feed.at;
                let turn = self.input.order.get(self.next).copied();
                if feed.done {
                    // It has left out a row.
                    let skips = turn == Some(place);
                    self.next += usize::from(skips);
                    moved |= skips;
                    continue;
                }
                if self.mid_row.is_some_and(|busy| busy != at) {
                    continue;
                }
                feed.turns = match turn {
                    None => usize::MAX,
                    Some(turn) => usize::from(turn == place),
                };
                let server = &mut *servers[at];
                let carried = feed.carry(server, &mut combine.out, self.input, self.tally);
                self.mid_row = (feed.rest > 0).then_some(at);
                moved |= carried?;
                if turn == Some(place) && feed.turns == 0 {
                    self.next += 1;
                }
                if feed.done {
                    continue;
                }
                match server.poll_progress(cx) {
                    Poll::Ready(Ok(())) => moved = true,
                    Poll::Ready(Err(fault)) => return Poll::Ready(Err(Broken::Server(fault).into())),
                    Poll::Pending => {}
                }
            }
            if self.feeds.iter().all(|feed| feed.done) {
                return Poll::Ready(Ok(Event::Done));
            }
            if !moved {
                return Poll::Pending;
            }
        }
    }

    /// What the combine connection says in the middle of a COPY: that an earlier one has ended, or why one failed.
    fn listen(&mut self, combine: &mut Backend) -> Result<(), ScatterError> {
        while let Some(frame) = try_content(combine)? {
            if frame.tag == b'E' {
                // Its COPY is over: what is still sent to it is ignored.
                self.copying = false;
                return Err(ScatterError::Shard(without_position(&frame)));
            }
            self.copies.note(&frame)?;
        }
        Ok(())
    }
}

impl Feed {
    fn new(at: usize, repeats: bool) -> Self {
        Self { at, repeats, ..Self::default() }
    }

    /// Moves what has been read of this shard's answer; true when anything was.
    fn carry(
        &mut self,
        server: &mut Backend,
        out: &mut BytesMut,
        input: &Input,
        tally: &mut Tally,
    ) -> Result<bool, ScatterError> {
        let mut moved = false;
        loop {
            if self.rest > 0 {
                let n = self.rest.min(server.read.len());
                out.extend_from_slice(&server.read[..n]);
                server.read.advance(n);
                self.rest -= n;
                moved |= n > 0;
                if self.rest > 0 {
                    return Ok(moved);
                }
            }
            let header = frame::peek(&server.read, usize::MAX >> 1);
            let Some(header) = header.map_err(|f| Broken::Server(server.lost(&f.message)))? else { return Ok(moved) };
            if header.tag == b'D' && !self.repeats && self.turns == 0 {
                return Ok(moved);
            }
            if header.tag == b'D' && input.binary && !self.repeats {
                if !self.described || server.inflight.step(b'D') != Verdict::Forward {
                    return Err(Broken::Server(server.out_of_step(b'D')).into());
                }
                self.turns -= 1;
                tally.add(header.len - HEADER, input)?;
                // The body of a DataRow is a tuple of a binary COPY.
                let n = header.len.min(server.read.len());
                out.put_u8(b'd');
                out.extend_from_slice(&server.read[1..n]);
                server.read.advance(n);
                self.rest = header.len - n;
                moved = true;
                continue;
            }
            let Some(frame) = try_content(server)? else { return Ok(moved) };
            moved = true;
            match frame.tag {
                b'D' if self.repeats => {}
                b'D' => {
                    self.turns -= 1;
                    tally.add(frame.bytes.len() - HEADER, input)?;
                    copy_text(out, &frame)?;
                }
                b'T' => {
                    check_types(server, &frame, input)?;
                    self.described = true;
                }
                b'C' => {
                    let (verb, count) = command_tag(frame.body());
                    self.tag = Some((verb.into(), count));
                    self.done = true;
                    return Ok(true);
                }
                b'E' => return Err(ScatterError::Shard(without_position(&frame))),
                _ => {}
            }
        }
    }
}

/// The shard must send what the input has been made for: a column that was altered meanwhile could be read as another value.
fn check_types(server: &Backend, frame: &Frame, input: &Input) -> Result<(), Fault> {
    let columns = read_row_description(frame.body())?;
    let same = |(ours, theirs): (&Oid, Oid)| {
        *ours == theirs || (*ours >= FIRST_NORMAL_OID && theirs >= FIRST_NORMAL_OID && !input.binary)
    };
    let fits = columns.len() == input.types.len()
        && input.types.iter().zip(columns.iter().map(|column| column.type_oid)).all(same);
    if fits {
        return Ok(());
    }
    let detail = format!("{} and the home shard differ in columns or types of {}", server.address, input.table);
    Err(Fault::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, "the shards answer with different columns")
        .detail(detail)
        .hint("Run the same DDL on every shard; pgloom check reports where they differ."))
}

/// Reads what the pulled shards still owe: the answers to their Syncs.
pub async fn settle(servers: &mut [&mut Backend], client: &mut Client) -> Result<(), ScatterError> {
    for server in servers {
        while !server.inflight.is_empty() {
            let frame = content(server, client, Hears::Nothing).await?;
            if frame.tag == b'E' {
                return Err(ScatterError::Shard(without_position(&frame)));
            }
        }
    }
    Ok(())
}

fn copy_data(out: &mut BytesMut, body: &[u8]) -> Result<(), Fault> {
    request::copy_data_header(out, body.len())?;
    out.extend_from_slice(body);
    Ok(())
}

fn copy_text(out: &mut BytesMut, row: &Frame) -> Result<(), Fault> {
    let mut line = BytesMut::with_capacity(row.bytes.len());
    text_line(&mut line, RowView::parse(&row.bytes)?.columns())?;
    copy_data(out, &line)
}

/// A row of text values as a line of COPY's text format.
pub(super) fn text_line<'a>(
    line: &mut BytesMut,
    values: impl Iterator<Item = Result<Option<&'a [u8]>, Fault>>,
) -> Result<(), Fault> {
    for (at, value) in values.enumerate() {
        if at > 0 {
            line.put_u8(b'\t');
        }
        let Some(value) = value? else {
            line.extend_from_slice(b"\\N");
            continue;
        };
        for byte in value {
            match byte {
                b'\\' => line.extend_from_slice(b"\\\\"),
                b'\t' => line.extend_from_slice(b"\\t"),
                b'\n' => line.extend_from_slice(b"\\n"),
                b'\r' => line.extend_from_slice(b"\\r"),
                byte => line.put_u8(*byte),
            }
        }
    }
    line.put_u8(b'\n');
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::wire::reply;

    #[test]
    fn text_values_are_escaped_as_copy_reads_them() {
        let mut row = BytesMut::new();
        reply::data_row(&mut row, [Some(&b"a\\b\tc\nd\r"[..]), None, Some(b"")]).unwrap();
        let mut out = BytesMut::new();
        copy_text(&mut out, &Frame { tag: b'D', bytes: row.freeze() }).unwrap();
        assert_eq!(&out[HEADER..], b"a\\\\b\\tc\\nd\\r\t\\N\t\n");
    }

    #[test]
    fn the_limit_names_the_table_and_whether_it_was_filtered() {
        let input = |filtered| Input {
            copy: String::new(),
            binary: true,
            types: [].into(),
            servers: vec![],
            table: "public.orders".into(),
            filtered,
            same: false,
            order: Vec::new(),
        };
        let mut tally = Tally { max_rows: 1, max_bytes: 10, ..Tally::default() };
        tally.add(10, &input(true)).unwrap();
        let fault = tally.add(0, &input(false)).unwrap_err();
        assert_eq!(fault.code, SqlState::CONFIGURATION_LIMIT_EXCEEDED);
        assert!(fault.hint.as_deref().unwrap().starts_with("No condition on table public.orders"), "{fault:?}");
        let mut tally = Tally { max_rows: 9, max_bytes: 10, ..Tally::default() };
        let fault = tally.add(11, &input(true)).unwrap_err();
        assert_eq!(fault.detail.as_deref(), Some("[combine] max_bytes is 10"));
    }
}

//! Rows of one server, where they have been put together, on their way to others: into their COPYs, each row to the server that it
//! belongs to and as fast as the slowest takes them, or into arrays that go along with a statement.

use std::future::poll_fn;
use std::task::{Context, Poll};

use bytes::{BufMut, BytesMut};

use crate::backend::Backend;
use crate::backend::inflight::{Audience, Owed};
use crate::exec::client::Client;
use crate::exec::copy::{Chunks, spoke};
use crate::exec::finish::{COPY_HEADER, text_line};
use crate::exec::forward::Broken;
use crate::exec::replies::{Hears, ScatterError, content, poll_client, try_content};
use crate::fault::Fault;
use crate::ids::Oid;
use crate::memory::Hold;
use crate::wire::array::ArrayWriter;
use crate::wire::frame::{Frame, HEADER};
use crate::wire::request;
use crate::wire::row::RowView;
use crate::wire::{encode, error_fields};

/// Bytes queued for the slowest server before no more rows are read.
const HIGH: usize = 256 * 1024;

/// Which of the receiving servers get a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// By its place among them.
    One(usize),
    All,
    /// It stays where it is.
    Nowhere,
}

/// Asks for rows in these formats, of a query without parameters.
pub fn ask_rows(source: &mut Backend, sql: &str, formats: &[i16]) -> Result<(), Fault> {
    let mut bind = BytesMut::new();
    bind.put_i16(0);
    bind.put_i16(0);
    encode::count16(&mut bind, formats.len())?;
    formats.iter().for_each(|format| bind.put_i16(*format));
    ask_bound(source, sql, &[], &bind)
}

/// Asks for the rows of a query. `bind`: what its Bind says behind the names.
pub fn ask_bound(source: &mut Backend, sql: &str, types: &[Oid], bind: &[u8]) -> Result<(), Fault> {
    source.parse(b"", sql.as_bytes(), types)?;
    source.inflight.push(Owed::Parse(Audience::Router));
    source.bind_own(bind)?;
    source.inflight.push(Owed::Bind(Audience::Router));
    request::execute(&mut source.out, b"", 0)?;
    source.inflight.push(Owed::Execute(Audience::Client));
    source.out.extend_from_slice(request::SYNC);
    source.inflight.push(Owed::Sync(Audience::Client));
    Ok(())
}

/// Carries the rows that were asked of `source` into the COPYs that `targets` have begun: all of them, or up to the first error. How the
/// COPYs end is the caller's matter. Returns how many rows each of them got.
pub async fn carry(
    source: &mut Backend,
    targets: &mut [&mut Backend],
    client: &mut Client,
    binary: bool,
    place: impl FnMut(&RowView<'_>) -> Result<To, Fault>,
) -> Result<Vec<u64>, ScatterError> {
    let mut carrier = Carrier::new(targets.len(), binary, 0);
    if carrier.carry(source, targets, client, place).await? {
        carrier.finish(targets);
    }
    Ok(carrier.rows)
}

/// Rows on their way, of one query or of several.
pub struct Carrier {
    chunks: Chunks,
    /// How many each server got.
    pub rows: Vec<u64>,
    line: BytesMut,
    binary: bool,
    /// So many columns of a row stand before those that are carried.
    skip: usize,
}

impl Carrier {
    pub fn new(targets: usize, binary: bool, skip: usize) -> Self {
        let mut chunks = Chunks::new(targets);
        if binary {
            (0..targets).for_each(|at| chunks.put(at, COPY_HEADER));
        }
        Self { chunks, rows: vec![0; targets], line: BytesMut::new(), binary, skip }
    }

    /// As [`carry`], of one query. False: one of the servers has spoken; why it has failed is read when its COPY ends.
    pub async fn carry(
        &mut self,
        source: &mut Backend,
        targets: &mut [&mut Backend],
        client: &mut Client,
        place: impl FnMut(&RowView<'_>) -> Result<To, Fault>,
    ) -> Result<bool, ScatterError> {
        let mut carrying = Carrying { carrier: self, place };
        loop {
            match poll_fn(|cx| carrying.poll(source, targets, client, cx)).await? {
                Event::Moved => {}
                Event::Spoke => return Ok(false),
                Event::Done => return Ok(true),
            }
        }
    }

    /// Everything is handed over that was gathered.
    pub fn finish(&mut self, targets: &mut [&mut Backend]) {
        self.chunks.flush_all();
        for (at, target) in targets.iter_mut().enumerate() {
            self.chunks.hand_over(at, target);
        }
    }
}

enum Event {
    Moved,
    Done,
    /// A receiving server has spoken in the middle of its COPY.
    Spoke,
}

struct Carrying<'a, F> {
    carrier: &'a mut Carrier,
    place: F,
}

impl<F: FnMut(&RowView<'_>) -> Result<To, Fault>> Carrying<'_, F> {
    fn poll(
        &mut self,
        source: &mut Backend,
        targets: &mut [&mut Backend],
        client: &mut Client,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Event, ScatterError>> {
        if let Poll::Ready(error) = poll_client(client, cx) {
            return Poll::Ready(Err(error));
        }
        for target in targets.iter_mut() {
            loop {
                match target.poll_progress(cx) {
                    Poll::Ready(Ok(())) if spoke(target) => return Poll::Ready(Ok(Event::Spoke)),
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(fault)) => return Poll::Ready(Err(Broken::Server(fault).into())),
                    Poll::Pending => break,
                }
            }
        }
        if targets.iter().any(|target| target.out.len() >= HIGH) {
            return Poll::Pending;
        }
        loop {
            let mut moved = false;
            while let Some(frame) = try_content(source)? {
                if frame.tag == b'E' {
                    return Poll::Ready(Err(ScatterError::Shard(frame)));
                }
                if frame.tag == b'D' {
                    self.take(&frame)?;
                }
                for (at, target) in targets.iter_mut().enumerate() {
                    moved |= self.carrier.chunks.hand_over(at, target);
                }
                if targets.iter().any(|target| target.out.len() >= HIGH) {
                    break;
                }
            }
            if source.inflight.is_empty() {
                return Poll::Ready(Ok(Event::Done));
            }
            if moved {
                return Poll::Ready(Ok(Event::Moved));
            }
            match source.poll_progress(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(fault)) => return Poll::Ready(Err(Broken::Server(fault).into())),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn take(&mut self, frame: &Frame) -> Result<(), Fault> {
        let row = RowView::parse(&frame.bytes)?;
        let to = (self.place)(&row)?;
        if to == To::Nowhere {
            return Ok(());
        }
        let Carrier { chunks, rows, line, binary, skip } = &mut *self.carrier;
        line.clear();
        // The body of a DataRow is a tuple of a binary COPY.
        let bytes = match (*binary, *skip) {
            (true, 0) => &frame.bytes[HEADER..],
            (true, skip) => {
                encode::count16(line, row.columns().count().saturating_sub(skip))?;
                for value in row.columns().skip(skip) {
                    encode::value(line, value?)?;
                }
                &line[..]
            }
            (false, skip) => {
                text_line(line, row.columns().skip(skip))?;
                &line[..]
            }
        };
        match to {
            To::Nowhere => {}
            To::One(at) => {
                chunks.put(at, bytes);
                rows[at] += 1;
            }
            To::All => {
                for (at, rows) in rows.iter_mut().enumerate() {
                    chunks.put(at, bytes);
                    *rows += 1;
                }
            }
        }
        Ok(())
    }
}

/// Rows put into arrays, for each of some servers.
#[derive(Debug)]
pub struct Collected {
    /// The columns of each server's rows; empty where it has none.
    pub arrays: Vec<Vec<ArrayWriter>>,
    /// The server of each row, in their order. Rows that all get are not listed.
    pub order: Vec<u16>,
    /// The memory that they take.
    pub hold: Hold,
}

/// Reads the rows that were asked of `source` into arrays of these element types. Those that all servers get are the first one's.
///
/// # Errors
/// `too_much` beyond `limit` bytes; `53200` where the router has no room for them, of which `hold` takes.
pub async fn collect(
    source: &mut Backend,
    client: &mut Client,
    servers: usize,
    elements: &[Oid],
    (limit, hold): (usize, Hold),
    mut place: impl FnMut(&RowView<'_>) -> Result<To, Fault>,
    too_much: impl Fn() -> Fault,
) -> Result<Collected, ScatterError> {
    let mut collected = Collected { arrays: (0..servers).map(|_| Vec::new()).collect(), order: Vec::new(), hold };
    let mut bytes = 0;
    while !source.inflight.is_empty() {
        let frame = content(source, client, Hears::Nothing).await?;
        match frame.tag {
            b'E' => return Err(ScatterError::Shard(frame)),
            b'D' => {
                bytes += frame.bytes.len();
                if bytes > limit {
                    return Err(too_much().into());
                }
                collected.hold.grow(frame.bytes.len())?;
                let row = RowView::parse(&frame.bytes)?;
                let at = match place(&row)? {
                    To::One(at) => {
                        collected.order.push(at as u16);
                        at
                    }
                    To::All => 0,
                    To::Nowhere => continue,
                };
                let arrays = &mut collected.arrays[at];
                if arrays.is_empty() {
                    arrays.extend(elements.iter().map(|element| ArrayWriter::new(*element)));
                }
                for (value, array) in row.columns().zip(arrays) {
                    array.push(value?)?;
                }
            }
            _ => {}
        }
    }
    Ok(collected)
}

/// An ErrorResponse to a COPY that the client knows nothing of, without the line that it names.
pub fn without_copy_context(frame: &Frame) -> Frame {
    error_fields::with_context(frame, |context| {
        let lines = context.split(|byte| *byte == b'\n').filter(|line| !line.starts_with(b"COPY "));
        lines.collect::<Vec<_>>().join(&b'\n')
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_line_of_a_copy_that_nobody_wrote_is_left_out() {
        let left = |context: &str| {
            let body = format!("SERROR\0C23505\0W{context}\0\0");
            let mut bytes = BytesMut::from(&b"E"[..]);
            bytes.put_u32(body.len() as u32 + 4);
            bytes.extend_from_slice(body.as_bytes());
            let frame = without_copy_context(&Frame { tag: b'E', bytes: bytes.freeze() });
            String::from_utf8(frame.body().to_vec()).unwrap()
        };
        assert_eq!(left("COPY t, line 1"), "SERROR\0C23505\0\0");
        assert_eq!(left("PL/pgSQL function f()\nCOPY t, line 1"), "SERROR\0C23505\0WPL/pgSQL function f()\0\0");
    }
}

//! `Client`: the client's connection as executors see it: bytes in, bytes out, and whether it is still there.

use std::collections::HashSet;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::AsyncWrite;

use crate::exec::parameters::Parameters;
use crate::fault::{Fault, SqlState};
use crate::memory::Hold;
use crate::net::ClientStream;
use crate::scope::Control;
use crate::wire::error_fields;
use crate::wire::frame::{self, Frame, HEADER};

/// Bytes for the client that are gathered before they are written while more is coming.
pub const OUT_HIGH: usize = 64 * 1024;
/// Notices that are remembered so as not to be told twice.
const TOLD: usize = 1000;
/// Bytes of the client's that are read ahead while a server works for it.
const READ_AHEAD: usize = 64 * 1024;
const READ_CHUNK: usize = 8 * 1024;
/// What has been read of a message beyond this is memory that is counted.
const LARGE: usize = 256 * 1024;
/// A Bind longer than this is handed out by its head; the rest is passed on as it comes. Up to here it holds no server before it is there whole.
const LARGE_BIND: usize = 4 << 20;
/// Bytes of such a head at first.
const LARGE_HEAD: usize = 64 * 1024;

/// The client is gone, or is to go: nothing more can be told to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientGone;

/// Buffers that no client needs now. The one that was given back last is the first to be used again: it is warm.
#[derive(Debug, Default)]
pub struct Buffers(Mutex<Vec<BytesMut>>);

impl Buffers {
    const KEPT: usize = 128;
    /// One that has grown larger is not kept.
    const LARGEST: usize = 2 * OUT_HIGH;

    fn all(&self) -> MutexGuard<'_, Vec<BytesMut>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lend(&self, wanting: [&mut BytesMut; 2]) {
        let mut all = self.all();
        for buffer in wanting.into_iter().filter(|buffer| buffer.capacity() == 0) {
            *buffer = all.pop().unwrap_or_default();
        }
    }

    fn take_back(&self, buffers: [&mut BytesMut; 2]) {
        let mut all = self.all();
        for buffer in buffers.into_iter().filter(|buffer| buffer.is_empty() && buffer.capacity() > 0) {
            let buffer = std::mem::take(buffer);
            if buffer.capacity() <= Self::LARGEST && all.len() < Self::KEPT {
                all.push(buffer);
            }
        }
    }
}

pub struct Client {
    stream: ClientStream,
    /// Where its buffers are while it is idle.
    buffers: Option<Arc<Buffers>>,
    pub read: BytesMut,
    pub out: BytesMut,
    pub control: Arc<Control>,
    max_message: usize,
    /// The memory of a long message while it is read, and until the next one is.
    hold: Hold,
    /// Bytes of the frame handed out last that are still to come. Whoever wants them takes them before the next frame is cut.
    rest: usize,
    /// TLS may still hold bytes that were written into it.
    unflushed: bool,
    /// The socket took nothing when it was last asked.
    blocked: bool,
    /// Bytes at the start of `out` that are answers of our own: they can wait for the servers' that follow.
    local: usize,
    /// The notices of the command that runs on one server after the other; none is told twice.
    told: Option<HashSet<Bytes>>,
    /// Nothing is written until there is so much: what stands in `out` from here on can still be taken back.
    kept: Option<(usize, usize)>,
    /// A CommandComplete that is the last of what is queued is not written: something can still come before it.
    holds_done: bool,
    /// Where the answer to a batch begins in `out`, of which nothing has been written.
    mark: Option<usize>,
    /// Notifications that come now wait here for the end of what is told.
    news: Option<BytesMut>,
    /// What is told now is for the router itself.
    taping: Option<Taping>,
    pub parameters: Parameters,
    /// Bytes read and written since they were last counted.
    received: u64,
    sent: u64,
}

/// What stood in `out` before, and how much may come.
struct Taping {
    out: BytesMut,
    local: usize,
    most: usize,
    /// More has come, and is lost.
    overflowed: bool,
}

impl Client {
    pub fn new(stream: ClientStream, read: BytesMut, control: Arc<Control>, max_message: usize, hold: Hold) -> Self {
        Self {
            stream,
            buffers: None,
            read,
            out: BytesMut::new(),
            control,
            max_message,
            hold,
            rest: 0,
            unflushed: false,
            blocked: false,
            local: 0,
            told: None,
            kept: None,
            holds_done: false,
            mark: None,
            news: None,
            taping: None,
            parameters: Parameters::default(),
            received: 0,
            sent: 0,
        }
    }

    /// Where notifications of other sessions go.
    pub fn news(&mut self) -> &mut BytesMut {
        self.news.as_mut().unwrap_or(&mut self.out)
    }

    /// Those that come now are told with [`Self::tell_news`].
    pub fn hold_news(&mut self) {
        self.news.get_or_insert_default();
    }

    pub fn tell_news(&mut self) {
        if let Some(news) = self.news.take() {
            self.out.extend_from_slice(&news);
        }
    }

    /// Idle, it has no buffers of its own.
    #[must_use]
    pub fn sharing(self, buffers: Arc<Buffers>) -> Self {
        Self { buffers: Some(buffers), ..self }
    }

    /// Reads once, of a client that is idle: it has buffers when something has come.
    pub fn poll_read_idle(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ClientGone>> {
        if self.read.capacity() == 0
            && let Some(buffers) = &self.buffers
        {
            ready!(self.stream.poll_unread(cx));
            buffers.lend([&mut self.read, &mut self.out]);
        }
        let came = self.poll_read(cx);
        if came.is_pending()
            && let Some(buffers) = &self.buffers
        {
            buffers.take_back([&mut self.read, &mut self.out]);
        }
        came
    }

    /// Queues what the client is to know before ReadyForQuery.
    pub fn tell_parameters(&mut self) {
        self.parameters.tell(&mut self.out);
    }

    /// Writes what is queued; Ready when all of it is gone.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ClientGone>> {
        if let Some(taping) = &mut self.taping {
            if self.out.len() > taping.most {
                taping.overflowed = true;
                self.out.clear();
            }
            return Poll::Ready(Ok(()));
        }
        if let Some((_, most)) = self.kept {
            if self.out.len() < most {
                return Poll::Ready(Ok(()));
            }
            self.kept = None;
        }
        let mut ready = if self.holds_done { self.done_at() } else { None }.unwrap_or(self.out.len());
        if ready == 0 && !self.unflushed {
            return Poll::Ready(Ok(()));
        }
        self.unflushed = true;
        self.local = 0;
        self.mark = None;
        while ready > 0 {
            match Pin::new(&mut self.stream).poll_write(cx, &self.out[..ready]) {
                Poll::Pending => return self.block(),
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Err(ClientGone)),
                Poll::Ready(Ok(n)) => {
                    self.sent += n as u64;
                    self.out.advance(n);
                    ready -= n;
                    self.unblock();
                }
            }
        }
        if self.out.is_empty() && self.out.capacity() > 4 * OUT_HIGH {
            self.out = BytesMut::new();
        }
        match Pin::new(&mut self.stream).poll_flush(cx) {
            Poll::Pending => return self.block(),
            Poll::Ready(flushed) => flushed.map_err(|_: io::Error| ClientGone)?,
        }
        self.unblock();
        self.unflushed = false;
        Poll::Ready(Ok(()))
    }

    /// What comes now is not for the client, but for [`Self::taped`]; nothing is written meanwhile.
    pub fn tape(&mut self, most: usize) {
        let out = std::mem::take(&mut self.out);
        self.taping = Some(Taping { out, local: std::mem::take(&mut self.local), most, overflowed: false });
    }

    /// What has come since [`Self::tape`], frame by frame; `None`: more than there may be.
    pub fn taped(&mut self) -> Option<BytesMut> {
        let Taping { out, local, most, overflowed } = self.taping.take()?;
        let taped = std::mem::replace(&mut self.out, out);
        self.local = local;
        (!overflowed && taped.len() <= most).then_some(taped)
    }

    /// The answer that comes now is not written until [`Self::release`], unless there are so many bytes of it: until then it can be
    /// taken back.
    pub fn keep(&mut self, most: usize) {
        self.unblock();
        self.kept = Some((self.out.len(), self.out.len() + most));
    }

    /// The answer that comes now can be taken back until something is written.
    pub fn mark(&mut self) {
        self.mark = Some(self.out.len());
    }

    /// Whether nothing has been written of what stands behind the mark.
    pub fn is_marked(&self) -> bool {
        self.mark.is_some()
    }

    /// Takes back what stands behind the mark, as [`Self::take_back`] does.
    pub fn take_back_to_mark(&mut self) -> bool {
        let Some(at) = self.mark.take() else { return false };
        self.cut_back(at);
        true
    }

    /// Whether an answer is kept back now.
    pub fn is_kept(&self) -> bool {
        self.kept.is_some()
    }

    /// What is kept is written with the rest.
    pub fn release(&mut self) {
        self.kept = None;
    }

    /// A notice of a server's. Whoever waits for it does not wait for the end of its statement.
    pub fn notice(&mut self, frame: &Frame) {
        if let Some(told) = &mut self.told {
            let room = told.len() < TOLD;
            if told.contains(&frame.bytes) || room && !told.insert(frame.bytes.clone()) {
                return;
            }
        }
        self.out.extend_from_slice(&frame.bytes);
        self.kept = None;
    }

    /// Servers do the same, one after the other, from now on; or do not any more.
    pub fn tell_once(&mut self, once: bool) {
        self.told = once.then(HashSet::new);
    }

    /// The code of the error in what is kept.
    pub fn kept_error(&self) -> Option<SqlState> {
        let kept = self.out.get(self.kept?.0..)?;
        frame::whole(kept).find(|frame| frame[0] == b'E').map(|frame| error_fields::code(&frame[HEADER..]))
    }

    /// Takes back what is kept, but for what is no part of an answer: notifications and parameters. False: something is gone already.
    pub fn take_back(&mut self) -> bool {
        let Some((at, _)) = self.kept.take() else { return false };
        self.cut_back(at);
        true
    }

    fn cut_back(&mut self, at: usize) {
        let kept = self.out.split_off(at.min(self.out.len()));
        for frame in frame::whole(&kept).filter(|frame| matches!(frame[0], b'A' | b'S')) {
            self.out.extend_from_slice(frame);
        }
        self.local = self.local.min(at);
    }

    /// Takes back the CommandComplete, or what stands for it, that is the last of what is queued: something can still come before it.
    pub fn take_done(&mut self) -> BytesMut {
        let Some(at) = self.done_at() else { return BytesMut::new() };
        self.local = self.local.min(at);
        self.out.split_off(at)
    }

    /// Where it begins.
    fn done_at(&self) -> Option<usize> {
        const LONGEST: usize = 128;
        let end = self.out.len();
        // A tag has no zero byte and the length of a frame has one, so no shorter end of the bytes looks like such a frame.
        let mut starts = (end.saturating_sub(LONGEST)..(end + 1).saturating_sub(HEADER)).rev();
        starts.find(|at| {
            let length = || [1, 2, 3, 4].map(|byte| self.out[at + byte]);
            matches!(self.out[*at], b'C' | b'I')
                && usize::try_from(u32::from_be_bytes(length())).is_ok_and(|length| length + 1 == end - at)
        })
    }

    /// Until it is said otherwise, such a one waits for [`Self::take_done`], or for what follows it.
    pub fn hold_done(&mut self, holds: bool) {
        self.holds_done = holds;
    }

    /// Notes since when the client takes nothing: it holds server connections meanwhile.
    fn block(&mut self) -> Poll<Result<(), ClientGone>> {
        self.control.note_unsent(self.out.len());
        if !self.blocked {
            self.blocked = true;
            self.control.note_blocked(true);
        }
        Poll::Pending
    }

    fn unblock(&mut self) {
        if self.blocked {
            self.blocked = false;
            self.control.note_blocked(false);
            self.control.note_unsent(0);
        }
    }

    /// Queues an answer of our own within a batch, which the client does not wait for before its Sync or Flush.
    pub fn answer(&mut self, bytes: &[u8]) {
        if self.out.len() == self.local {
            self.local += bytes.len();
        }
        self.out.extend_from_slice(bytes);
    }

    /// Writes what servers have said so far; what is only ours waits for more.
    pub fn poll_pass_on(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ClientGone>> {
        if self.out.len() <= self.local && !self.unflushed {
            return Poll::Ready(Ok(()));
        }
        self.poll_flush(cx)
    }

    /// Writes all that is queued. Ends early when the session is to end: a client that takes nothing would hold it for ever.
    pub async fn flush(&mut self) -> Result<(), ClientGone> {
        std::future::poll_fn(|cx| {
            if let Poll::Ready(flushed) = self.poll_flush(cx) {
                return Poll::Ready(flushed);
            }
            self.control.poll_kill(cx).map(|()| Err(ClientGone))
        })
        .await
    }

    /// Writes what is queued to a client that is to go.
    pub async fn flush_last(&mut self) -> Result<(), ClientGone> {
        std::future::poll_fn(|cx| self.poll_flush(cx)).await
    }

    /// Takes what a client that is to go still sends, until it closes: if it were left unread, the connection would be reset, and what the
    /// client has been told would be lost.
    pub async fn hear_out(&mut self) {
        self.read = BytesMut::new();
        // Nothing is no more than before.
        let _ = self.hold.become_of(0);
        let _ = std::future::poll_fn(|cx| Pin::new(&mut self.stream).poll_shutdown(cx)).await;
        while std::future::poll_fn(|cx| self.poll_read(cx)).await.is_ok() {
            self.read.clear();
        }
    }

    /// Reads once. Ready(Ok) when bytes came.
    pub fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ClientGone>> {
        if self.read.capacity() - self.read.len() < READ_CHUNK / 4 {
            self.read.reserve(READ_CHUNK);
        }
        match ready!(tokio_util::io::poll_read_buf(Pin::new(&mut self.stream), cx, &mut self.read)) {
            Ok(0) | Err(_) => Poll::Ready(Err(ClientGone)),
            Ok(n) => {
                self.received += n as u64;
                Poll::Ready(Ok(()))
            }
        }
    }

    /// Bytes read and written since the last call.
    pub fn take_traffic(&mut self) -> (u64, u64) {
        (std::mem::take(&mut self.received), std::mem::take(&mut self.sent))
    }

    /// While a server works: notices that the client left, and reads ahead within bounds. Ready only when it is gone.
    pub fn poll_watch(&mut self, cx: &mut Context<'_>) -> Poll<ClientGone> {
        while self.read.len() < READ_AHEAD {
            match self.poll_read(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(gone)) => return Poll::Ready(gone),
                Poll::Pending => break,
            }
        }
        Poll::Pending
    }

    /// The next frame, cut off what has been read: whole, or the head of a large Bind, with [`Self::rest`] behind it.
    ///
    /// # Errors
    /// `08P01` for what is no message, `53200` for one that the router has no room for.
    pub fn cut(&mut self) -> Result<Option<Frame>, Fault> {
        if self.rest > 0 {
            self.skip_rest();
            if self.rest > 0 {
                return Ok(None);
            }
        }
        let long = if self.read.len() > LARGE { self.read.len() } else { 0 };
        self.hold.become_of(long).map_err(Fault::fatal)?;
        if let Some(frame) = frame::take_of_client(&mut self.read, self.max_message)? {
            return Ok(Some(frame));
        }
        match self.read.first() {
            Some(b'B') if self.read.len() >= LARGE_HEAD => self.cut_head(),
            _ => Ok(None),
        }
    }

    fn cut_head(&mut self) -> Result<Option<Frame>, Fault> {
        let Some(header) =
            frame::peek_of_client(&self.read, self.max_message)?.filter(|header| header.len > LARGE_BIND)
        else {
            return Ok(None);
        };
        let bytes = self.read.split_to(LARGE_HEAD).freeze();
        self.rest = header.len - bytes.len();
        Ok(Some(Frame { tag: header.tag, bytes }))
    }

    /// Bytes of the frame handed out last that are still to come.
    pub fn rest(&self) -> usize {
        self.rest
    }

    /// The caller takes them off `read` itself.
    pub fn take_rest(&mut self) -> usize {
        std::mem::take(&mut self.rest)
    }

    fn skip_rest(&mut self) {
        let n = self.rest.min(self.read.len());
        self.read.advance(n);
        self.rest -= n;
    }

    /// Appends up to `n` more bytes of the frame handed out last to `head`.
    ///
    /// # Errors
    /// The client left in the middle of its message.
    pub async fn more(&mut self, head: &mut BytesMut, n: usize) -> Result<(), ClientGone> {
        let mut n = n.min(self.rest);
        while n > 0 {
            if self.read.is_empty() {
                self.wait_for_more().await?;
            }
            let taken = n.min(self.read.len());
            head.extend_from_slice(&self.read[..taken]);
            self.read.advance(taken);
            self.rest -= taken;
            n -= taken;
        }
        Ok(())
    }

    /// Reads once, in the middle of a message. Ends early when the session is to end: the rest may never come.
    pub async fn wait_for_more(&mut self) -> Result<(), ClientGone> {
        std::future::poll_fn(|cx| self.poll_more(cx)).await
    }

    /// The same for whoever waits for something else, too.
    pub fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ClientGone>> {
        if self.control.poll_kill(cx).is_ready() {
            return Poll::Ready(Err(ClientGone));
        }
        self.poll_read(cx)
    }

    /// The next whole frame; everything queued is written before we wait. `None`: the client is gone or told to go.
    pub async fn next_frame(&mut self) -> Result<Option<Frame>, Fault> {
        loop {
            if let Some(frame) = self.cut()? {
                return Ok(Some(frame));
            }
            // Follows what came, not what was announced: the buffer grows by doubling as bytes arrive.
            let more = std::future::poll_fn(|cx| {
                if self.control.poll_kill(cx).is_ready() {
                    return Poll::Ready(Err(ClientGone));
                }
                ready!(self.poll_flush(cx))?;
                self.poll_read(cx)
            });
            if more.await.is_err() {
                return Ok(None);
            }
        }
    }

    /// Like `next_frame`, and also ends when the router wants the session to end.
    pub async fn next_frame_idle(&mut self) -> Result<Idle, Fault> {
        loop {
            if let Some(frame) = self.cut()? {
                return Ok(Idle::Frame(frame));
            }
            let more = std::future::poll_fn(|cx| {
                if self.control.poll_end(cx).is_ready() {
                    return Poll::Ready(Ok(false));
                }
                ready!(self.poll_flush(cx))?;
                self.poll_read(cx).map_ok(|()| true)
            });
            match more.await {
                Ok(true) => {}
                Ok(false) => return Ok(Idle::Ended),
                Err(ClientGone) => return Ok(Idle::Gone),
            }
        }
    }
}

/// What ended the wait of an idle session.
#[derive(Debug)]
pub enum Idle {
    Frame(Frame),
    Gone,
    /// The router shuts down or an administrator ended the session.
    Ended,
}

//! `Backend`: one server connection, what it owes, what state it carries. Knows nothing of clients and plans.

pub mod asked;
pub mod breaker;
pub mod breakers;
pub mod cancel;
pub mod clock;
pub mod cluster;
pub mod combine;
pub mod combiners;
pub mod connector;
pub mod defaults;
pub mod facts;
pub mod fanout;
pub mod gate;
pub mod hedge;
pub mod hot_keys;
pub mod inflight;
pub mod insist;
pub mod key_places;
pub mod login;
pub mod names;
pub mod numbers;
mod opening;
pub mod pace;
pub mod passed;
pub mod pool;
pub mod prepared;
pub mod quota;
pub mod retry;
pub mod roles;
pub mod rules;
pub mod seats;
pub mod sequences;
pub mod servers;
pub mod settings;
pub mod stats;
pub mod succession;
pub mod throttle;
pub mod timelines;
pub mod traffic;
pub mod turns;
pub mod user_pools;

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::AsyncWrite;

use crate::catalog::numbers::Numbers;
use crate::catalog::placeholders::Placeholders;
use crate::fault::{Blame, Fault, SqlState};
use crate::ids::Epoch;
use crate::metrics::ShardMetrics;
use crate::net::ServerStream;
use crate::wire::error_fields::{self, ErrorFields};
use crate::wire::frame::{self, Frame, Header};
use crate::wire::reply::Status;
use crate::wire::request;
use cancel::CancelHandle;
use defaults::Defaults;
use inflight::{Audience, Inflight, Owed};
use opening::Opening;
use prepared::{PreparedSet, StatementDef};
use quota::Slot;
use settings::SessionSettings;

/// Room made in the read buffer before each read.
const READ_CHUNK: usize = 16 * 1024;
/// The room doubles up to this while the server fills it: fewer system calls for a long answer.
const READ_MOST: usize = 64 * 1024;
/// A read buffer that has grown beyond this by one large frame is given back.
const READ_KEEP: usize = 256 * 1024;
/// A message at least this long is written from where it is.
const COPY_BELOW: usize = 64 * 1024;

/// The key with which this connection's statement can be cancelled.
#[derive(Clone, Debug, Default)]
pub struct CancelKey {
    pub pid: u32,
    pub secret: Vec<u8>,
}

/// The portal without a name that a client has here. A simple Query, and each portal of ours without a name, takes its place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unnamed {
    /// There is none, or nobody will miss it.
    #[default]
    None,
    /// It is still to be run, or to be gone on with.
    Kept,
    /// It was, and is gone.
    Lost,
}

/// One logged-in connection to a Postgres server.
pub struct Backend {
    stream: ServerStream,
    pub read: BytesMut,
    /// Room made in `read` before the next read.
    room: usize,
    /// Bytes for the server, not yet written.
    pub out: BytesMut,
    /// Large messages, and what came before them; written before `out`.
    queue: VecDeque<Bytes>,
    /// What holds back the rest of both.
    opening: Option<Opening>,
    /// Why its transaction was not opened. Nothing is sent on it again.
    unopened: Option<Box<Fault>>,
    pub inflight: Inflight,
    pub status: Status,
    pub prepared: PreparedSet,
    /// Statements of the running batch whose ParseComplete has not been seen to be safe yet.
    pub unproven: Vec<u64>,
    /// Statements of failed batches: the server may or may not have them.
    pub doubtful: Vec<Arc<StatementDef>>,
    /// Statements that the running batch has closed, which has not been seen to be done yet.
    closing: Vec<Arc<StatementDef>>,
    /// The first half of what it tells of a definition: [`Owed::Learn`].
    learned: Option<(u64, Bytes)>,
    /// The settings that we have put on this connection; `None` when only a reset makes them known again.
    pub applied: Option<Arc<SessionSettings>>,
    /// What `applied` was when the open transaction began: a rollback brings it back. Once it has committed, what it has set.
    pub applied_before: Option<Option<Arc<SessionSettings>>>,
    /// The custom settings that may exist on it: it is for those sessions alone that have them all.
    pub placeholders: Placeholders,
    /// It may have others, whose names nobody knows: it is for nobody else.
    pub spoiled: bool,
    /// The temporary tables that it keeps, where it is a combine connection.
    pub inputs: combine::Inputs,
    /// How it numbers types, tables and columns, where that is not as the home shard does.
    pub numbers: Option<Arc<Numbers>>,
    renumbered: numbers::Renumbered,
    /// Of a connection that has a cursor: where the cursor's columns come from.
    pub origins: Option<Box<[numbers::Origin]>>,
    /// It has the functions of [`clock`].
    pub has_clock: bool,
    pub unnamed: Unnamed,
    /// ParameterStatus values as the server reported them last.
    pub parameters: Vec<(Box<str>, Box<str>)>,
    /// Notifications that came while the router was answered, as they came. They wait for their place before the client.
    news: BytesMut,
    /// Notices that came while the router asked for the client's sake, or while a COPY ended, where it listens: see [`Self::heed`].
    said: Option<Said>,
    /// The settings of its login.
    pub defaults: Arc<Defaults>,
    pub cancel: Arc<CancelHandle>,
    /// `host:port` for messages.
    pub address: Arc<str>,
    /// Bytes of a large frame whose header has gone by and whose rest is passed through.
    pub streaming: usize,
    pub connected_at: Instant,
    /// When its server was last known to be at the other end.
    pub proven_at: Instant,
    /// When a sweep first found it in nobody's hands.
    pub idle_since: Option<Instant>,
    /// The stream can no longer be trusted: never reuse.
    pub broken: bool,
    /// It ended or made no sense, which was not our doing.
    pub lost: bool,
    /// The server has sent something since the connection was lent.
    pub heard: bool,
    /// The server has said that it ends the connection (FATAL).
    farewell: bool,
    /// Which run of which configuration of a server this is, where that has been asked.
    pub incarnation: Option<Box<str>>,
    /// The fence that it is marked with; see [`rules`].
    pub mark: Option<Epoch>,
    /// Nothing has run that may have taken the mark off.
    pub is_marked: bool,
    /// It may know values of sequences that a client has taken who does not have it any more.
    pub knows_values: bool,
    /// The name by which it was made, and the address that the name led to.
    pub named: Option<(Arc<names::Name>, std::net::IpAddr)>,
    /// The stint of its server, where the shard has several; see [`servers`].
    pub stint: u64,
    /// TLS may still hold bytes that were written into it.
    unflushed: bool,
    max_message: usize,
    pub work: Work,
    /// Behind the next text that is made for it of a client's: the context of a trace.
    pub comment: Option<Arc<str>>,
    /// Its place among the connections to its server.
    pub slot: Option<Slot>,
}

/// Notices for the client.
#[derive(Default)]
struct Said {
    notices: Vec<Frame>,
    /// That its wait for synchronous standbys was ended.
    unreplicated: Option<Frame>,
    /// Of all of them, also of those that were dropped.
    bytes: usize,
    dropped: usize,
}

/// What the server does for its client, for metrics, logs and traces.
#[derive(Default)]
pub struct Work {
    /// Where it is told; nowhere for the router's own work.
    pub metrics: Option<ShardMetrics>,
    /// Since when the server is busy.
    since: Option<Instant>,
    /// For how long it was, since it was last asked; from when to when.
    lasted: Duration,
    period: Option<(Instant, Instant)>,
    sent: u64,
    received: u64,
}

impl Work {
    /// A request goes out.
    fn begin(&mut self) {
        if self.metrics.is_some() && self.since.is_none() {
            self.since = Some(Instant::now());
        }
    }

    /// A request has been answered to its end. `more`: others wait behind it.
    fn end(&mut self, more: bool) {
        let (Some(metrics), Some(since)) = (&self.metrics, self.since) else { return };
        let now = Instant::now();
        let took = now.duration_since(since);
        self.since = more.then_some(now);
        self.lasted += took;
        let first = self.period.map_or(since, |(first, _)| first);
        self.period = Some((first, now));
        metrics.request_seconds.observe(took.as_secs_f64());
        metrics.bytes_out.inc_by(std::mem::take(&mut self.sent));
        metrics.bytes_in.inc_by(std::mem::take(&mut self.received));
    }

    /// For how long it was busy, and is, since this was last asked; and from when to when.
    pub fn take(&mut self) -> (Duration, Option<(Instant, Instant)>) {
        let (lasted, period) = (std::mem::take(&mut self.lasted), self.period.take());
        let Some(since) = self.since else { return (lasted, period) };
        let now = Instant::now();
        (lasted + now.duration_since(since), Some((period.map_or(since, |(first, _)| first), now)))
    }
}

impl std::fmt::Debug for Backend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Backend").finish_non_exhaustive()
    }
}

/// What a server has answered to all that it owed.
#[derive(Debug, Default)]
struct Settled {
    /// Of the last statement.
    rows: Vec<Vec<Option<String>>>,
    /// Of the last request.
    tag: String,
    /// The first error.
    failed: Option<Fault>,
    /// An error behind the tag of the last request.
    behind: Option<Fault>,
}

impl Backend {
    /// A connection fresh from its login. `max_message`: bytes of one message's body; `max_prepared`: statements it keeps.
    pub fn new(
        login: login::LoggedIn,
        address: Arc<str>,
        cancel: Arc<CancelHandle>,
        max_message: usize,
        max_prepared: usize,
    ) -> Self {
        let now = Instant::now();
        Self {
            stream: login.stream,
            read: login.leftover,
            room: READ_CHUNK,
            out: BytesMut::new(),
            queue: VecDeque::new(),
            opening: None,
            unopened: None,
            inflight: Inflight::default(),
            status: Status::Idle,
            prepared: PreparedSet::new(max_prepared),
            unproven: Vec::new(),
            doubtful: Vec::new(),
            closing: Vec::new(),
            learned: None,
            applied: Some(SessionSettings::none()),
            applied_before: None,
            placeholders: Placeholders::default(),
            spoiled: false,
            inputs: combine::Inputs::default(),
            numbers: None,
            renumbered: numbers::Renumbered::default(),
            origins: None,
            has_clock: false,
            unnamed: Unnamed::None,
            parameters: login.parameters,
            news: BytesMut::new(),
            said: None,
            defaults: Arc::default(),
            cancel,
            address,
            streaming: 0,
            connected_at: now,
            proven_at: now,
            idle_since: None,
            broken: false,
            lost: false,
            heard: true,
            farewell: false,
            incarnation: None,
            mark: None,
            is_marked: false,
            knows_values: false,
            named: None,
            stint: 0,
            unflushed: false,
            max_message,
            work: Work::default(),
            comment: None,
            slot: None,
        }
    }

    /// Whether the name by which it was made still leads to where it is.
    pub fn is_where_its_name_leads(&self) -> bool {
        self.named.as_ref().is_none_or(|(name, address)| name.has(*address))
    }

    /// Whether the connection owes nothing, holds no byte and is outside any transaction: fit for another client.
    pub fn is_clean(&self) -> bool {
        !self.broken
            && self.status == Status::Idle
            && self.inflight.is_empty()
            && !self.inflight.is_skipping()
            && self.read.is_empty()
            && self.out.is_empty()
            && self.queue.is_empty()
            && self.news.is_empty()
            && self.streaming == 0
            && self.applied_before.is_none()
            && !self.spoiled
            && !self.cancel.is_announced()
            && !self.cancel.is_abandoned()
    }

    /// Queues a message as it came; a large one without another copy of it.
    pub fn put(&mut self, message: &Bytes) {
        if message.len() < COPY_BELOW {
            self.out.extend_from_slice(message);
            return;
        }
        if !self.out.is_empty() {
            self.queue.push_back(self.out.split().freeze());
        }
        self.queue.push_back(message.clone());
    }

    /// What is queued, and what is owed for it, where that can be asked of another connection too.
    pub fn requests(&self) -> Option<(Bytes, Inflight)> {
        let queued = self.queue.is_empty() && !self.unflushed && !self.out.is_empty();
        let whole = queued && self.opening.is_none() && self.inflight.is_plain();
        whole.then(|| (Bytes::copy_from_slice(&self.out), self.inflight.clone()))
    }

    /// Queues statements whose reply is ours alone.
    pub fn ask(&mut self, sql: &str) {
        // Several statements are a simple Query's alone.
        let asked = match self.unnamed == Unnamed::Kept && !sql.contains(';') {
            true => self.ask_beside_unnamed(sql),
            false => {
                self.lose_unnamed();
                request::query(&mut self.out, sql.as_bytes())
                    .map(|()| self.inflight.push(Owed::Query { audience: Audience::Router, ready: Audience::Router }))
            }
        };
        if asked.is_err() {
            // Our own statements hold no NUL and are small; one that does not is a fault of ours, told when it is not answered.
            self.broken = true;
        }
    }

    /// The client's portal without a name is about to be closed, without the client's having asked for it.
    pub fn lose_unnamed(&mut self) {
        if self.unnamed == Unnamed::Kept {
            self.unnamed = Unnamed::Lost;
        }
    }

    /// Queues a Bind of our own: of the statement without a name, to the portal without one.
    pub fn bind_own(&mut self, tail: &[u8]) -> Result<(), Fault> {
        self.lose_unnamed();
        request::bind_raw(&mut self.out, b"", b"", tail)
    }

    /// Queues one statement under a name of ours, so that the portal without a name stays.
    fn ask_beside_unnamed(&mut self, sql: &str) -> Result<(), Fault> {
        const OURS: &[u8] = b"pgloom_ask";
        /// No parameters, and results as text.
        const NO_VALUES: &[u8] = &[0; 6];
        let close = |backend: &mut Self| -> Result<(), Fault> {
            for target in [request::Target::Portal, request::Target::Statement] {
                request::close(&mut backend.out, target, OURS)?;
                backend.inflight.push(Owed::Close(Audience::Router));
            }
            Ok(())
        };
        // One that has failed is still there.
        close(self)?;
        request::parse(&mut self.out, OURS, sql.as_bytes(), &[])?;
        self.inflight.push(Owed::Parse(Audience::Router));
        request::bind_raw(&mut self.out, OURS, OURS, NO_VALUES)?;
        self.inflight.push(Owed::Bind(Audience::Router));
        request::execute(&mut self.out, OURS, 0)?;
        self.inflight.push(Owed::Execute(Audience::Router));
        close(self)?;
        self.out.extend_from_slice(request::SYNC);
        self.inflight.push(Owed::Sync(Audience::Router));
        Ok(())
    }

    /// Takes back all that is queued, of which nothing has been written.
    pub fn unsend(&mut self) {
        self.out.clear();
        self.queue.clear();
        self.opening = None;
        self.inflight = Inflight::default();
        self.cancel.begun();
    }

    /// The header of the next frame, once it is there.
    pub fn header(&mut self) -> Result<Option<Header>, Fault> {
        frame::peek(&self.read, self.max_message).map_err(|f| self.lost(&f.message))
    }

    /// The first message among what has been read that is no notice, once it is whole; it stays there.
    pub fn first_answer(&mut self) -> Result<Option<(u8, &[u8])>, Fault> {
        let mut at = 0;
        loop {
            let unread = self.read.get(at..).unwrap_or_default();
            let header = match frame::peek(unread, self.max_message) {
                Ok(header) => header.filter(|header| unread.len() >= header.len),
                Err(fault) => return Err(self.lost(&fault.message)),
            };
            let Some(header) = header else { return Ok(None) };
            if !matches!(header.tag, b'N' | b'S' | b'A') {
                return Ok(self.read.get(at..at + header.len).map(|message| (header.tag, message)));
            }
            at += header.len;
        }
    }

    /// The next whole frame from what has been read.
    pub fn cut(&mut self) -> Result<Option<Frame>, Fault> {
        match self.header()? {
            Some(header) if self.read.len() >= header.len => {
                let bytes = self.read.split_to(header.len);
                let bytes = match matches!(header.tag, b'T' | b't') && self.renumbers() {
                    true => self.renumbered(bytes).freeze(),
                    false => bytes.freeze(),
                };
                let frame = Frame { tag: header.tag, bytes };
                self.farewell |= header.tag == b'E' && error_fields::is_fatal(frame.body());
                let judged = (header.tag == b'E').then(|| self.cancel.judge(frame.body())).flatten();
                Ok(Some(judged.map_or(frame, |bytes| Frame { tag: header.tag, bytes })))
            }
            Some(header) => {
                self.read.reserve(header.len.saturating_sub(self.read.len()).min(1 << 20));
                Ok(None)
            }
            None => Ok(None),
        }
    }

    /// How many whole frames with this tag stand at the start of what has been read, and their bytes.
    pub fn run_of(&self, tag: u8) -> (u64, usize) {
        frame::run_of(tag, &self.read, self.max_message)
    }

    /// Writes what is queued and reads what is there. Ready when at least one byte was read.
    pub fn poll_progress(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        if let Some(verdict) = self.given_up() {
            return Poll::Ready(Err(verdict));
        }
        if let Some(fault) = &self.unopened {
            return Poll::Ready(Err((**fault).clone()));
        }
        if let Poll::Ready(Err(e)) = self.poll_flush(cx) {
            // What the server said before it closed (57P01, ...) is still to be read.
            if (self.out.is_empty() && self.queue.is_empty()) || e.kind() == io::ErrorKind::WriteZero {
                return Poll::Ready(Err(self.lost(&e.to_string())));
            }
            self.out.clear();
            self.queue.clear();
        }
        let before = self.read.len();
        let Poll::Ready(read) = self.poll_read(cx) else {
            // Whoever gives it up from now on wakes who waits here; who has done so just now is seen.
            self.cancel.wait_with(cx.waker());
            return self.given_up().map_or(Poll::Pending, |verdict| Poll::Ready(Err(verdict)));
        };
        match read {
            Ok(0) => return Poll::Ready(Err(self.lost("server closed the connection unexpectedly"))),
            Ok(_) => {}
            Err(e) => return Poll::Ready(Err(self.lost(&e.to_string()))),
        }
        if self.opening.is_some() {
            match self.look_at_opening(before) {
                // What it held back, or a second attempt. Whoever reads on is told of an error.
                Ok(true) => drop(self.poll_flush(cx)),
                Ok(false) => {}
                Err(fault) => return Poll::Ready(Err(fault)),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Why its server is not waited for any more. One that owes nothing is looked at before it is asked for more.
    fn given_up(&mut self) -> Option<Fault> {
        if !self.cancel.is_abandoned() || self.inflight.is_empty() {
            return None;
        }
        let _ = self.lost("abandoned");
        Some(self.cancel.verdict())
    }

    /// Ready, with what is told then, once nobody waits for its server any more: for whoever writes to one that owes nothing.
    pub fn poll_given_up(&mut self, cx: &mut Context<'_>) -> Poll<Fault> {
        self.cancel.wait_with(cx.waker());
        if !self.cancel.is_abandoned() {
            return Poll::Pending;
        }
        let _ = self.lost("abandoned");
        Poll::Ready(self.cancel.verdict())
    }

    /// Writes what is queued; Ready when all of it is gone, or held back by a transaction that is being opened.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.unopened.is_some() || self.out.is_empty() && !self.unflushed && self.queue.is_empty() {
            return Poll::Ready(Ok(()));
        }
        self.unflushed = true;
        self.work.begin();
        while let Some(first) = self.queue.front_mut() {
            let most = self.opening.as_ref().map_or(first.len(), |opening| opening.bytes.min(first.len()));
            if most == 0 {
                break;
            }
            let n = ready!(Pin::new(&mut self.stream).poll_write(cx, &first[..most]))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            first.advance(n);
            if first.is_empty() {
                self.queue.pop_front();
            }
            self.note_written(n);
        }
        while self.queue.is_empty() && !self.out.is_empty() {
            let most = self.opening.as_ref().map_or(self.out.len(), |opening| opening.bytes.min(self.out.len()));
            if most == 0 {
                break;
            }
            let n = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.out[..most]))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.out.advance(n);
            self.note_written(n);
        }
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.unflushed = false;
        Poll::Ready(Ok(()))
    }

    fn note_written(&mut self, bytes: usize) {
        self.work.sent += bytes as u64;
        if let Some(opening) = &mut self.opening {
            opening.bytes -= bytes;
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.read.is_empty() && self.read.capacity() > READ_KEEP {
            self.read = BytesMut::new();
        }
        if self.read.capacity() - self.read.len() < self.room / 4 {
            self.read.reserve(self.room);
        }
        let spare = self.read.capacity() - self.read.len();
        let n = ready!(tokio_util::io::poll_read_buf(Pin::new(&mut self.stream), cx, &mut self.read))?;
        if n >= spare && spare >= self.room / 2 {
            self.room = (2 * self.room).min(READ_MOST);
        }
        self.heard |= n > 0;
        self.work.received += n as u64;
        Poll::Ready(Ok(n))
    }

    /// Gives back the memory that a long answer took: an idle connection needs none.
    pub fn slim(&mut self) {
        if self.room > READ_CHUNK && self.read.is_empty() {
            self.read = BytesMut::new();
            self.room = READ_CHUNK;
        }
    }

    /// Whether something came on an idle connection: a farewell, an end of file, or a lie. It must not be reused then.
    pub fn peer_has_spoken(&mut self) -> bool {
        !matches!(self.stream.try_read(&mut self.read), Ok(None))
    }

    /// Waits for the next whole frame of an answer. ParameterStatus is noted on the way, notifications are kept for the client.
    pub async fn next_frame(&mut self) -> Result<Frame, Fault> {
        loop {
            let frame = self.any_frame().await?;
            if frame.tag != b'A' {
                return Ok(frame);
            }
            self.keep_news(&frame)?;
        }
    }

    /// Waits for the next whole frame of any kind.
    pub async fn any_frame(&mut self) -> Result<Frame, Fault> {
        loop {
            if let Some(frame) = self.cut()? {
                self.note(&frame);
                return Ok(frame);
            }
            std::future::poll_fn(|cx| self.poll_progress(cx)).await?;
        }
    }

    /// Keeps a notification until the client can be told.
    ///
    /// # Errors
    /// There are too many of them: a server sends all that have gathered when a transaction ends.
    pub fn keep_news(&mut self, notification: &Frame) -> Result<(), Fault> {
        if self.news.len() + notification.bytes.len() > self.max_message {
            self.broken = true;
            let message = "too many notifications have gathered while a statement ran";
            return Err(Fault::new(SqlState::CONFIGURATION_LIMIT_EXCEEDED, message)
                .detail(format!("At most {} bytes of them are held.", self.max_message))
                .hint("Read notifications more often, in shorter transactions, or raise max_message_size."));
        }
        self.news.extend_from_slice(&notification.bytes);
        Ok(())
    }

    /// Moves what was kept of notifications to where the client's next frame goes.
    pub fn pass_news(&mut self, out: &mut BytesMut) {
        if !self.news.is_empty() {
            out.extend_from_slice(&self.news.split());
        }
    }

    /// Takes note of what a frame says of the connection itself.
    pub fn note(&mut self, frame: &Frame) {
        match frame.tag {
            // What it answers is still among what is owed.
            b'Z' => self.note_status(frame.body().first().copied(), self.inflight.len() > 1),
            b'S' => self.note_parameter(frame.body()),
            _ => {}
        }
    }

    /// `more`: other requests wait behind the one that is answered.
    pub fn note_status(&mut self, status: Option<u8>, more: bool) {
        self.work.end(more);
        match status.and_then(Status::from_byte) {
            Some(status) => {
                self.status = status;
                // Portals end with their transaction.
                if status == Status::Idle {
                    self.unnamed = Unnamed::None;
                }
            }
            None => self.broken = true,
        }
        // What was answered may be the BEGIN in front of the statement that is meant.
        if !more && !self.cancel.is_opening() {
            self.cancel.acquit();
        }
        match &mut self.opening {
            // What it was asked before.
            Some(opening) if opening.readies > 1 => opening.readies -= 1,
            Some(_) | None => self.cancel.begun(),
        }
    }

    /// What a transaction has set stays behind its COMMIT and its PREPARE TRANSACTION, whatever becomes of its parts on other servers,
    /// and of the prepared one.
    fn note_end(&mut self, tag: &str) {
        if let ("COMMIT" | "PREPARE TRANSACTION", Some(before)) = (tag, &mut self.applied_before) {
            before.clone_from(&self.applied);
        }
    }

    pub fn note_parameter(&mut self, body: &[u8]) {
        let mut fields = frame::Fields::new(body);
        let (Ok(name), Ok(value)) = (fields.cstr(), fields.cstr()) else {
            return;
        };
        let (name, value) = (String::from_utf8_lossy(name), String::from_utf8_lossy(value));
        match self.parameters.iter_mut().find(|(n, _)| **n == *name) {
            Some((_, old)) => *old = value.into(),
            None => self.parameters.push((name.into(), value.into())),
        }
    }

    /// Runs one of our own statements to its end; rows as text. What was queued before it is settled with it.
    ///
    /// # Errors
    /// The server's error with its SQLSTATE, or the loss of the connection.
    pub async fn query(&mut self, sql: &str) -> Result<Vec<Vec<Option<String>>>, Fault> {
        self.ask(sql);
        self.settle().await
    }

    /// Like `query`, for one statement without rows: its command tag. A COMMIT of a failed transaction answers ROLLBACK. What has its tag is done:
    /// an error may come behind it, of a cancel that meets the server as it writes its log.
    pub async fn command(&mut self, sql: &str) -> Result<String, Fault> {
        self.ask(sql);
        let settled = self.settle_all().await?;
        if let Some(fault) = settled.failed {
            return Err(fault);
        }
        match settled.behind {
            // A statement of a block is undone with it.
            Some(fault) if settled.tag.is_empty() || self.status == Status::Failed => return Err(fault),
            Some(fault) => tracing::info!(error = %fault, "a server has said so behind the end of a statement"),
            None => {}
        }
        Ok(settled.tag)
    }

    /// Reads all that is owed; rows of the last statement. The first error is returned after the last reply.
    pub async fn settle(&mut self) -> Result<Vec<Vec<Option<String>>>, Fault> {
        let settled = self.settle_all().await?;
        settled.failed.or(settled.behind).map_or(Ok(settled.rows), Err)
    }

    async fn settle_all(&mut self) -> Result<Settled, Fault> {
        let Settled { mut rows, mut tag, mut failed, mut behind } = Settled::default();
        while !self.inflight.is_empty() {
            if self.inflight.take_local().is_some() {
                continue;
            }
            let frame = self.next_frame().await?;
            self.keep_said(&frame);
            match self.inflight.step(frame.tag) {
                inflight::Verdict::OutOfStep => return Err(self.out_of_step(frame.tag)),
                // A text of a client's that was only tried: nobody will send it rows.
                inflight::Verdict::CopyIn => request::copy_fail(&mut self.out, "the statement is not supported")?,
                inflight::Verdict::Forward
                | inflight::Verdict::Swallow
                | inflight::Verdict::Ready(_)
                | inflight::Verdict::Error(_) => {}
            }
            match frame.tag {
                b'T' => rows.clear(),
                b'D' => rows.push(text_row(frame.body())?),
                b'C' => {
                    tag = String::from_utf8_lossy(frame.body().strip_suffix(b"\0").unwrap_or_default()).into_owned();
                    self.note_end(&tag);
                }
                b'E' if !tag.is_empty() => behind = behind.or_else(|| Some(server_fault(frame.body()))),
                b'E' => failed = failed.or_else(|| Some(server_fault(frame.body()))),
                // Of what was queued before.
                b'Z' if !self.inflight.is_empty() => {
                    tag.clear();
                    failed = failed.or(behind.take());
                }
                _ => {}
            }
        }
        Ok(Settled { rows, tag, failed, behind })
    }

    /// Has it tell what a statement returns that it parses, which the client has not asked.
    pub fn ask_along(&mut self, def: &StatementDef) -> Result<(), Fault> {
        request::describe(&mut self.out, request::Target::Statement, def.name.as_bytes())?;
        self.inflight.push(Owed::Learn(def.id));
        Ok(())
    }

    /// Takes the frame at the start of what was read, of so many bytes, as what [`Self::ask_along`] has asked.
    pub fn learn(&mut self, of: u64, len: usize) {
        if self.renumbers() {
            self.renumber(0, len);
        }
        let frame = self.read.split_to(len).freeze();
        match self.learned.take() {
            _ if frame.first() == Some(&b't') => self.learned = Some((of, frame)),
            Some((first, parameters)) if first == of => {
                if let Some(def) = self.prepared.get(of) {
                    // A copy: what was read around them is not to be kept with them.
                    def.set_description((Bytes::copy_from_slice(&parameters), Bytes::copy_from_slice(&frame)));
                }
            }
            _ => {}
        }
    }

    /// From now on the server's notices are kept: what the router asks next is the client's own doing (COMMIT and its deferred triggers).
    pub fn heed(&mut self) {
        self.said.get_or_insert_with(Said::default);
    }

    /// Keeps a frame that is a notice, where it is listened to.
    pub fn keep_said(&mut self, frame: &Frame) {
        /// Beyond it they are dropped: the statement may no longer fail.
        const MOST_SAID: usize = 1 << 20;
        let Some(said) = self.said.as_mut().filter(|_| frame.tag == b'N') else { return };
        if error_fields::is_unreplicated(frame.body()) {
            said.unreplicated = Some(frame.clone());
            return;
        }
        said.bytes += frame.bytes.len();
        match said.bytes <= MOST_SAID {
            true => said.notices.push(frame.clone()),
            false => said.dropped += 1,
        }
    }

    /// Where it has said since [`Self::heed`] that its wait for synchronous standbys was ended: that notice.
    pub fn take_unreplicated(&mut self) -> Option<Frame> {
        self.said.as_mut()?.unreplicated.take()
    }

    /// What it has said since [`Self::heed`]; it is listened to no longer.
    pub fn take_said(&mut self) -> Vec<Frame> {
        let Said { mut notices, unreplicated, dropped, .. } = self.said.take().unwrap_or_default();
        notices.extend(unreplicated);
        if dropped > 0 {
            tracing::warn!(server = %self.address, dropped, "notices of one statement were too many to be kept");
        }
        notices
    }

    /// Reads on until what opens the transaction is answered: before that nothing is to be cancelled. For whoever throws the rest away.
    ///
    /// # Errors
    /// It has failed, or the connection is lost: it is broken either way.
    pub async fn settle_opening(&mut self) -> Result<(), Fault> {
        while self.cancel.is_opening() && !self.inflight.is_empty() {
            let frame = self.next_frame().await?;
            match self.inflight.step(frame.tag) {
                inflight::Verdict::OutOfStep => return Err(self.out_of_step(frame.tag)),
                // What stands behind it runs under other settings, or outside of its transaction.
                inflight::Verdict::Error(_) => {
                    self.broken = true;
                    return Err(server_fault(frame.body()));
                }
                inflight::Verdict::CopyIn
                | inflight::Verdict::Forward
                | inflight::Verdict::Swallow
                | inflight::Verdict::Ready(_) => {}
            }
        }
        Ok(())
    }

    /// Reads all that is owed and throws it away.
    pub async fn drain(&mut self) -> Result<(), Fault> {
        while !self.inflight.is_empty() {
            let frame = self.next_frame().await?;
            match self.inflight.step(frame.tag) {
                inflight::Verdict::OutOfStep => return Err(self.out_of_step(frame.tag)),
                // Nobody will send it rows, and while it waits for them it heeds no cancel.
                inflight::Verdict::CopyIn => request::copy_fail(&mut self.out, "the statement has ended")?,
                inflight::Verdict::Forward
                | inflight::Verdict::Swallow
                | inflight::Verdict::Ready(_)
                | inflight::Verdict::Error(_) => {}
            }
        }
        Ok(())
    }

    /// Whether the connection broke without a word from the server.
    pub fn broke_off(&self) -> bool {
        self.lost && !self.farewell
    }

    /// The connection is lost: nothing may be sent on it again.
    pub fn lost(&mut self, why: &str) -> Fault {
        self.broken = true;
        self.lost = true;
        Fault::new(SqlState::CONNECTION_FAILURE, format!("lost connection to shard server {}", self.address))
            .detail(why.to_owned())
            .hint("The statement may or may not have taken effect; check before repeating it.")
            .blame(Blame::Server)
    }

    /// The server has ended the connection, with this error.
    pub fn ended(&mut self, error: &[u8]) -> Fault {
        self.farewell = true;
        let said = server_fault(error);
        self.lost(&format!("the server said: FATAL: {} (SQLSTATE {})", said.message, said.code.as_str()))
    }

    pub fn out_of_step(&mut self, tag: u8) -> Fault {
        self.lost(&format!("unexpected message type \"{}\" from the server", tag.escape_ascii()))
    }
}

/// The fault that repeats a server's ErrorResponse.
pub fn server_fault(body: &[u8]) -> Fault {
    ErrorFields::parse(body).into_fault()
}

fn text_row(body: &[u8]) -> Result<Vec<Option<String>>, Fault> {
    let mut fields = frame::Fields::new(body);
    let count = fields.count()?;
    (0..count).map(|_| Ok(fields.value()?.map(|v| String::from_utf8_lossy(v).into_owned()))).collect()
}

//! Reads whose server broke before the client had a word of the answer: they are sent again, and the primary has the last word. A
//! single one is sent again at once, a batch of the extended protocol by going through its messages again; what is merged of several
//! shards is run again by [`crate::session::again`].

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use smallvec::SmallVec;

use crate::backend::Backend;
use crate::backend::cluster::ServerCheckout;
use crate::exec::client::ClientGone;
use crate::fault::{Blame, Fault, SqlState};
use crate::session::control::is_local;
use crate::session::hedge::{Hedge, hear_out};
use crate::session::prepared::ClientStatement;
use crate::session::{Failure, Session, Stop};
use crate::sql::Analysis;
use crate::sql::utility::StatementKind;
use crate::wire::frame::{Fields, Frame, HEADER, ParseView, peek};
use crate::wire::{error_fields, reply};

/// Bytes of messages that are kept to be sent again.
const MOST: usize = 16 * 1024;

/// The messages of a batch of which nothing has been answered yet.
#[derive(Debug, Default)]
pub struct Kept {
    frames: SmallVec<[Frame; 4]>,
    bytes: usize,
    /// How many of them are Binds, and how many of these are of statements that only read, on one server.
    binds: usize,
    reads: usize,
}

impl Kept {
    /// Takes note of one more; false: they are too many, or one that cannot be sent again.
    fn add(&mut self, frame: &Frame) -> bool {
        self.bytes += frame.bytes.len();
        self.frames.push(frame.clone());
        matches!(frame.tag, b'P' | b'B' | b'D' | b'E') && self.bytes <= MOST
    }

    fn only_reads(&self) -> bool {
        self.binds == self.reads
    }
}

impl Session {
    /// Whether the transaction, if there is one, is nothing on any server yet.
    pub(super) fn is_fresh(&self) -> bool {
        !self.tx.is_open() || self.tx.is_untouched() && !self.tx.has_failed()
    }

    /// Whether the statement may be sent again that is now all that its connection was asked for. `fresh`: it is the first of its
    /// transaction.
    pub(super) fn may_ask_again(&self, at: usize, analysis: &Analysis, fresh: bool) -> bool {
        analysis.only_reads && fresh && self.held[at].pin.is_none()
    }

    /// Whether a failure of several servers' answer is one of the servers', not of the statement.
    pub(super) fn is_of_servers(&self, failure: &Failure, on_replicas: bool) -> bool {
        match failure {
            // Replicas of two shards may have come to different places of a definition that changes.
            Failure::Fault(fault) => {
                is_break(fault) || on_replicas && fault.code == SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE
            }
            Failure::Reported => {
                let code = self.client.kept_error();
                self.pools.has_replicas() && code.is_some_and(|code| is_of_the_server(code, on_replicas))
            }
            Failure::Stop(_) => false,
        }
    }

    /// Waits for the first word of an answer, of which the client has nothing yet. False: it is to be asked for again, because the
    /// connection broke, its server ends, or a replica says what a primary would not; the connection is gone.
    ///
    /// # Errors
    /// The client is gone.
    pub(super) async fn answers(&mut self, at: usize) -> Result<bool, Failure> {
        let mut hedge = self.hedge(at);
        let Self { held, client, slot, shared, .. } = self;
        let held = &mut held[at];
        let mut word = Word::of(&held.server, held.is_replica());
        let mut over = None;
        let first = poll_fn(|cx| {
            if over.is_none() {
                match word.poll(&mut held.server, cx) {
                    // Its time is up: whoever reads on is told so.
                    Poll::Ready(_) if held.server.cancel.is_out_of_time() => return Poll::Ready(Ok(First::Own(true))),
                    Poll::Ready(Heard::Answer) => return Poll::Ready(Ok(First::Own(true))),
                    Poll::Ready(heard @ (Heard::Break | Heard::Elsewhere)) => over = Some(heard),
                    Poll::Pending => {}
                }
            }
            if let Some(hedge) = &mut hedge {
                let asked = |second: &ServerCheckout| {
                    slot.add(Arc::clone(&second.cancel), shared.cancels.moment(Instant::now()));
                };
                if hedge.poll(cx, asked).is_ready() {
                    return Poll::Ready(Ok(First::Second));
                }
            }
            if over.is_some() && !hedge.as_ref().is_some_and(Hedge::is_asked) {
                return Poll::Ready(Ok(First::Own(false)));
            }
            if client.control.poll_kill(cx).is_ready() {
                return Poll::Ready(Err(Failure::from(Stop::Gone)));
            }
            client.poll_watch(cx).map(|ClientGone| Err(Failure::from(Stop::Gone)))
        });
        let first = first.await;
        self.held[at].server.broken |= over == Some(Heard::Break);
        match (&first, hedge) {
            (Ok(First::Second), Some(hedge)) => self.prefer_second(at, hedge),
            (Ok(First::Own(answered)), Some(hedge)) => self.keep_first(hedge, *answered),
            (Err(_), Some(hedge)) => self.keep_first(hedge, false),
            (_, None) => {}
        }
        let answers = first? != First::Own(false);
        if !answers {
            if over == Some(Heard::Elsewhere) {
                hear_out(self.take_away(at));
            } else {
                self.let_go(at);
            }
        }
        Ok(answers)
    }

    /// What runs now goes to primaries from here on: they have the last word. Its transaction has no part on any server.
    pub(super) fn ask_primaries(&mut self) {
        self.shared.metrics.retry("read");
        self.asks_primaries = true;
        if self.tx.is_open() {
            self.tx.forget_touched();
        }
    }

    /// A message of a batch, before anything is done for it.
    pub(super) fn keep_frame(&mut self, frame: &Frame) {
        let whole = self.client.rest() == 0;
        if let Some(kept) = &mut self.batch.kept
            && !(whole && kept.add(frame))
            && frame.tag != b'H'
        {
            self.batch.kept = None;
        }
    }

    /// It is a Bind of this statement, whose server has got it.
    pub(super) fn note_read(&mut self, statement: &ClientStatement) {
        if let Some(kept) = &mut self.batch.kept {
            kept.reads += usize::from(statement.analysis.only_reads);
        }
    }

    /// The same message has been dealt with.
    pub(super) fn note_kept(&mut self, frame: &Frame) {
        if frame.tag == b'B'
            && let Some(kept) = &mut self.batch.kept
        {
            kept.binds += 1;
        }
    }

    /// Whether all that this connection, the open one, was asked for can be asked for again.
    pub(super) fn may_send_again(&self, at: usize) -> bool {
        let held = &self.held[at];
        self.is_kept() && held.pin.is_none() && !held.shard.is_combine() && !held.server.inflight.is_empty()
    }

    fn is_kept(&self) -> bool {
        let elsewhere = || self.held.iter().any(|held| held.joined && Some(held.shard) != self.batch.open);
        self.batch.kept.as_ref().is_some_and(Kept::only_reads) && self.client.is_marked() && !elsewhere()
    }

    /// Whether the batch broke with this failure of its server's, and can be sent again.
    pub(super) fn broke_unanswered(&self, failure: &Failure) -> bool {
        let Failure::Fault(fault) = failure else { return false };
        is_break(fault) && self.is_kept() && self.held.iter().all(|held| held.pin.is_none())
    }

    /// The statement of the only Bind of the batch, while nothing of it is answered.
    pub(super) fn kept_statement(&self) -> Option<Arc<ClientStatement>> {
        let kept = self.batch.kept.as_ref().filter(|kept| (kept.binds, kept.reads) == (1, 1))?;
        let bind = kept.frames.iter().find(|frame| frame.tag == b'B')?;
        let mut fields = Fields::new(bind.body());
        fields.cstr().ok()?;
        self.statements.get(fields.cstr().ok()?).ok().map(Arc::clone)
    }

    /// Goes through the messages of the batch once more, with the primary. What they have made of the client's statements stays.
    pub(super) fn send_again(&mut self) -> Pin<Box<dyn Future<Output = Result<(), Failure>> + Send + '_>> {
        Box::pin(async move {
            let Some(kept) = self.batch.kept.take() else { return Ok(()) };
            self.undo_changes();
            self.drop_open();
            self.client.take_back_to_mark();
            self.ask_primaries();
            self.batch.bound = false;
            self.batch.unproven.clear();
            self.batch.pending_parse = None;
            self.is_counted = true;
            let sent = self.put_again(&kept.frames).await;
            self.is_counted = false;
            sent
        })
    }

    async fn put_again(&mut self, frames: &[Frame]) -> Result<(), Failure> {
        for frame in frames {
            match frame.tag {
                b'P' => self.parse_again(frame).await?,
                b'B' => {
                    let portal = Fields::new(frame.body()).cstr().map_err(Fault::from)?;
                    self.statements.remove_portal(portal);
                    self.bind(frame).await?;
                }
                b'D' => self.describe(frame).await?,
                b'E' => self.execute(frame).await?,
                _ => {}
            }
        }
        Ok(())
    }

    /// A Parse whose statement is known to the client, or was.
    async fn parse_again(&mut self, frame: &Frame) -> Result<(), Failure> {
        let view = ParseView::read(frame.body()).map_err(Fault::from)?;
        let known = self.statements.get(view.name).ok().filter(|_| !view.name.is_empty()).map(Arc::clone);
        let Some(statement) = known else { return self.parse(frame).await };
        self.settle_parse().await?;
        let kind = &statement.analysis.kind;
        if is_local(kind) || *kind == StatementKind::Empty {
            self.answer(reply::PARSE_COMPLETE);
        } else {
            self.batch.pending_parse = Some((view.name.into(), statement));
        }
        Ok(())
    }
}

/// Who was the first to answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum First {
    /// The server that was asked first; false: it broke.
    Own(bool),
    Second,
}

/// What is heard of a server that was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    Answer,
    /// The connection is over: another server is to be asked.
    Break,
    /// The same, and the connection is good: a replica says what the primary would not.
    Elsewhere,
}

/// Where one stands who listens for the first word of an answer: everything stays in the connection's buffer.
pub(super) struct Word {
    /// Its shard has other servers: of the only one a farewell is its last word for now.
    several: bool,
    is_replica: bool,
    /// Queries of our own that are answered before.
    own: usize,
    /// Bytes that say nothing yet.
    seen: usize,
}

impl Word {
    pub fn of(server: &Backend, is_replica: bool) -> Self {
        Self { several: server.stint != 0, is_replica, own: server.inflight.own_queries(), seen: 0 }
    }

    /// Reads on until it is known.
    pub fn poll(&mut self, server: &mut Backend, cx: &mut Context<'_>) -> Poll<Heard> {
        loop {
            let unseen = &server.read[self.seen..];
            match peek(unseen, usize::MAX >> 1) {
                Ok(Some(header)) => {
                    let whole = unseen.len() >= header.len;
                    match header.tag {
                        b'E' if whole => {
                            let error = &unseen[HEADER..header.len];
                            let of_the_server =
                                self.several && is_of_the_server(error_fields::code(error), self.is_replica);
                            return Poll::Ready(match of_the_server {
                                true if error_fields::is_fatal(error) => Heard::Break,
                                true => Heard::Elsewhere,
                                false => Heard::Answer,
                            });
                        }
                        b'E' => {}
                        // What settings and BEGIN say is not for the client; and Postgres says the heads of an answer in one breath with
                        // its first rows, or its error.
                        tag if self.own > 0 || is_head(tag) => {
                            if whole {
                                self.own -= usize::from(self.own > 0 && tag == b'Z');
                                self.seen += header.len;
                                continue;
                            }
                        }
                        _ => return Poll::Ready(Heard::Answer),
                    }
                }
                Ok(None) => {}
                // Whoever reads it says what is wrong with it.
                Err(_) => return Poll::Ready(Heard::Answer),
            }
            match server.poll_progress(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(Heard::Break),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

/// Frames that Postgres sends before it knows whether there will be a row.
fn is_head(tag: u8) -> bool {
    matches!(tag, b'1' | b'2' | b'3' | b't' | b'T' | b'n' | b'S')
}

/// Whether a connection to a server broke that had been asked for something.
fn is_break(fault: &Fault) -> bool {
    fault.code == SqlState::CONNECTION_FAILURE && fault.blame == Blame::Server
}

/// The same of one that was only told settings: its server may have had a last word.
pub(super) fn is_lost(fault: &Fault) -> bool {
    is_break(fault) || [b"57P01", b"57P02"].contains(&&fault.code.0)
}

/// Whether an error tells of the server that was asked, not of the statement.
fn is_of_the_server(code: SqlState, is_replica: bool) -> bool {
    // It shuts down, crashed, starts; of the primary these alone.
    let ends = [b"57P01", b"57P02", b"57P03"].contains(&&code.0);
    // Recovery was in the way; it would write; it cannot be serializable.
    let conflicts = [b"40001", b"40P01", b"57P04", b"25006", b"0A000"].contains(&&code.0);
    // Names and types that it does not have may be those of a change that has not come to it yet; no syntax is, nor rights, mostly.
    let unknown = (code.0.starts_with(b"42") || code.0.starts_with(b"3F")) && ![b"42601", b"42501"].contains(&&code.0);
    ends || is_replica && (conflicts || unknown)
}

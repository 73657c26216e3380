//! A transaction that is opened ahead of a statement. What stands behind its BEGIN is held back until the server says that it is open: a
//! BEGIN can fail (`statement_timeout`, a `pg_cancel_backend`), and a statement that the server had already would then run by itself, and last.

use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};

use crate::backend::{Backend, server_fault};
use crate::fault::{Fault, SqlState};
use crate::wire::error_fields::{code, is_fatal};
use crate::wire::frame::{self, HEADER};
use crate::wire::reply::Status;

/// How often it is tried where it is cancelled. To a client its BEGIN has succeeded long ago, so what meets this one comes too early for
/// the statement behind it, as a cancel that reaches an idle server does.
const ATTEMPTS: u32 = 5;

/// What is queued of it, and of what goes before it.
#[derive(Debug)]
pub(super) struct Opening {
    /// How many bytes of what is queued are not written yet.
    pub bytes: usize,
    /// How many ReadyForQuery are still to come; the last is its own.
    pub readies: usize,
    /// What opens it.
    request: Bytes,
    /// What the server has answered to that. Nobody reads it before all of it is there.
    answer: BytesMut,
    /// Whether what comes now belongs to it.
    answering: bool,
    attempts: u32,
}

/// How the server has answered.
enum Answered {
    NotYet,
    Opened,
    /// It ends, and says why to whoever reads it.
    Farewell,
    Cancelled(Fault),
    Failed(Fault),
}

impl Backend {
    /// Queues what opens a transaction. It is not cancelled by the router before it is answered, and nothing that is queued later is
    /// sent before.
    pub fn open(&mut self, sql: &str) {
        self.cancel.begin();
        let before = self.out.len();
        self.ask(sql);
        let request = Bytes::copy_from_slice(self.out.get(before..).unwrap_or_default());
        let queued: usize = self.queue.iter().map(Bytes::len).sum();
        self.opening = Some(Opening {
            bytes: queued + self.out.len(),
            readies: self.inflight.readies(),
            request,
            answer: BytesMut::new(),
            answering: false,
            attempts: 1,
        });
    }

    /// After a read, before which there were so many bytes: whether there is something to be written now.
    ///
    /// # Errors
    /// The transaction has not been opened. Nothing of what was held back has been sent, nor will anything be: the connection is to be
    /// thrown away.
    pub(super) fn look_at_opening(&mut self, before: usize) -> Result<bool, Fault> {
        self.try_opening(before).inspect_err(|fault| {
            self.broken = true;
            self.queue.clear();
            self.out.clear();
            self.unopened = Some(Box::new(fault.clone()));
        })
    }

    fn try_opening(&mut self, before: usize) -> Result<bool, Fault> {
        let Some(mut opening) = self.opening.take() else { return Ok(false) };
        let start = match opening.answering {
            true => Some(before),
            // Behind the answers to what was asked before.
            false => self.end_of_readies(opening.readies.saturating_sub(1))?,
        };
        let Some(start) = start else {
            self.opening = Some(opening);
            return Ok(false);
        };
        opening.answering = true;
        opening.answer.unsplit(self.read.split_off(start));
        match self.answered(&opening.answer)? {
            Answered::NotYet => {
                self.opening = Some(opening);
                Ok(false)
            }
            Answered::Opened => {
                self.read.unsplit(opening.answer);
                Ok(true)
            }
            Answered::Farewell => {
                self.queue.clear();
                self.out.clear();
                self.read.unsplit(opening.answer);
                Ok(false)
            }
            Answered::Cancelled(_) if opening.attempts < ATTEMPTS => {
                self.queue.push_front(opening.request.clone());
                opening.bytes = opening.request.len();
                opening.answer = self.news_of(&opening.answer)?;
                opening.attempts += 1;
                self.opening = Some(opening);
                Ok(true)
            }
            Answered::Cancelled(fault) | Answered::Failed(fault) => Err(fault),
        }
    }

    /// Ready when no transaction is being opened, or will be. Why one was not is told to whoever reads.
    pub fn poll_opened(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.opening.is_some() {
            if ready!(self.poll_progress(cx)).is_err() {
                break;
            }
        }
        Poll::Ready(())
    }

    /// Where the so many next ReadyForQuery end in what has been read; `None`: they are not all there.
    fn end_of_readies(&mut self, count: usize) -> Result<Option<usize>, Fault> {
        let (mut at, mut seen) = (0, 0);
        while seen < count {
            let Some((tag, len)) = self.whole(self.read.get(at..).unwrap_or_default())? else { return Ok(None) };
            seen += usize::from(tag == b'Z');
            at += len;
        }
        Ok(Some(at))
    }

    /// What an answer tells besides: notifications and settings, which belong to no request.
    fn news_of(&self, answer: &[u8]) -> Result<BytesMut, Fault> {
        let (mut at, mut news) = (0, BytesMut::new());
        while let Some((tag, len)) = self.whole(answer.get(at..).unwrap_or_default())? {
            if matches!(tag, b'A' | b'S') {
                news.extend_from_slice(answer.get(at..at + len).unwrap_or_default());
            }
            at += len;
        }
        Ok(news)
    }

    fn answered(&self, answer: &[u8]) -> Result<Answered, Fault> {
        let (mut at, mut error) = (0, None);
        while let Some((tag, len)) = self.whole(answer.get(at..).unwrap_or_default())? {
            let body = answer.get(at + HEADER..at + len).unwrap_or_default();
            match tag {
                b'E' if is_fatal(body) => return Ok(Answered::Farewell),
                b'E' => error = Some((code(body), server_fault(body))),
                b'Z' => {
                    let status = body.first().copied().and_then(Status::from_byte);
                    return Ok(match (error, status) {
                        (None, Some(Status::InTransaction)) => Answered::Opened,
                        (Some((SqlState::QUERY_CANCELED, fault)), Some(Status::Idle)) => Answered::Cancelled(fault),
                        (Some((_, fault)), _) => Answered::Failed(fault),
                        (None, _) => Answered::Failed(
                            Fault::new(SqlState::CONNECTION_FAILURE, "a server has not opened its transaction")
                                .detail(format!("The server is {}.", self.address)),
                        ),
                    });
                }
                _ => {}
            }
            at += len;
        }
        Ok(Answered::NotYet)
    }

    /// Tag and length of a message that is whole.
    fn whole(&self, bytes: &[u8]) -> Result<Option<(u8, usize)>, Fault> {
        let header = frame::peek(bytes, self.max_message)?;
        Ok(header.filter(|header| bytes.len() >= header.len).map(|header| (header.tag, header.len)))
    }
}

#[cfg(test)]
mod tests;

//! Between two messages of the client: how long it may be silent, and what servers say meanwhile.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use crate::config::limits::Limit;
use crate::exec::client::Idle;
use crate::fault::{Fault, SqlState};
use crate::metrics::Overdue;
use crate::session::{Session, Stop};
use crate::wire::frame::Frame;

/// After so long in the middle of a pipeline its client is taken to wait for an answer.
const PIPELINE_REST: Duration = Duration::from_millis(20);

enum Event {
    Read,
    Gone,
    Ended,
    Server(Result<Frame, Fault>),
    Fence,
}

impl Session {
    /// Waits for the client's next message, for as long as it may be silent.
    pub(super) async fn next_frame(&mut self) -> Result<Frame, Stop> {
        self.database.stats.fold(&mut self.tally);
        let in_batch = self.batch.is_open() || self.batch.discarding;
        if !in_batch && !self.has_begun() {
            self.seat.rest();
        }
        if in_batch
            && self.open_at().is_some_and(|at| self.held[at].server.inflight.owes_ends())
            && let Some(frame) = self.next_of_pipeline().await?
        {
            return Ok(frame);
        }
        // A batch without its Sync may be a transaction, and holds its servers as one does.
        let in_transaction = self.tx.in_block() || in_batch && !self.held.is_empty();
        let limit = self.times.get(if in_transaction { Limit::IdleTransaction } else { Limit::ClientIdle });
        let own = if in_batch { None } else { self.idle_limit() };
        let limit = [limit, own].into_iter().flatten().min();
        let waited = {
            // Pinned where it is made: a future that is a variable first is copied whole, for every message.
            let waiting = std::pin::pin!(async {
                if !in_batch {
                    return self.wait_idle().await;
                }
                Ok(self.client.next_frame().await?.map_or(Idle::Gone, Idle::Frame))
            });
            match limit {
                Some(limit) => tokio::time::timeout(limit, waiting).await,
                None => Ok(waiting.await),
            }
        };
        match waited {
            Ok(Ok(Idle::Frame(frame))) => Ok(frame),
            Ok(Ok(Idle::Gone)) => Err(Stop::Gone),
            Ok(Ok(Idle::Ended)) => Err(Stop::Fatal(self.client.control.reason())),
            Ok(Err(fault)) => Err(Stop::Fatal(fault)),
            Err(_) => Err(Stop::Fatal(self.overslept(in_transaction))),
        }
    }

    /// The next message of a pipeline that has asked for something. `None`: none has come, and what was asked for has been carried out, as
    /// in Postgres, which does not wait for the Sync: the client may wait for its rows.
    async fn next_of_pipeline(&mut self) -> Result<Option<Frame>, Stop> {
        match tokio::time::timeout(PIPELINE_REST, self.client.next_frame()).await {
            Ok(Ok(Some(frame))) => return Ok(Some(frame)),
            Ok(Ok(None)) => return Err(Stop::Gone),
            Ok(Err(fault)) => return Err(Stop::Fatal(fault)),
            // Boxed: a session that waits has no room for what answers.
            Err(_) => Box::pin(self.carry_out_pipeline()).await?,
        }
        Ok(None)
    }

    /// What a pipeline has asked for so far.
    async fn carry_out_pipeline(&mut self) -> Result<(), Stop> {
        let shared = Arc::clone(&self.shared);
        let _at = shared.desks.enter(self).await?;
        let flushed = match self.take_telling() {
            Some(failure) => Err(failure),
            None => self.flush_batch().await,
        };
        if let Err(failure) = flushed {
            self.fail_batch(failure).await?;
        }
        Ok(())
    }

    /// The client was silent for too long.
    pub(super) fn overslept(&self, in_transaction: bool) -> Fault {
        let (limit, code, message) = match in_transaction {
            true => (
                Overdue::IdleTransaction,
                SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
                "terminating connection due to idle-in-transaction timeout",
            ),
            false => (
                Overdue::ClientIdle,
                SqlState::IDLE_SESSION_TIMEOUT,
                "terminating connection due to idle-session timeout",
            ),
        };
        self.shared.metrics.overdue(limit);
        Fault::new(code, message).fatal()
    }

    /// Waits for the client's next message; what pinned servers say meanwhile (notifications) is passed on.
    async fn wait_idle(&mut self) -> Result<Idle, Fault> {
        // A drain waits for the end of a block; only a kill ends it inside.
        let patient = self.tx.in_block();
        let keeps = !self.held.is_empty() && !self.tx.is_open();
        let mut fences = keeps.then(|| self.database.rules.changes());
        // One that was raised while a statement ran is not told again.
        if keeps && (0..self.held.len()).any(|at| !self.is_well_marked(at)) {
            Box::pin(self.follow_fence()).await?;
        }
        loop {
            self.client.tell_news();
            self.pass_news();
            if let Some(frame) = self.client.cut()? {
                return Ok(Idle::Frame(frame));
            }
            let client = &mut self.client;
            let held = &mut self.held;
            let mut fence = fences.as_mut().map(|fences| Box::pin(fences.changed()));
            let event = poll_fn(|cx| {
                let end = if patient { client.control.poll_kill(cx) } else { client.control.poll_end(cx) };
                if end.is_ready() {
                    return Poll::Ready(Event::Ended);
                }
                if let Poll::Ready(Err(_)) = client.poll_flush(cx) {
                    return Poll::Ready(Event::Gone);
                }
                if let Poll::Ready(read) = client.poll_read_idle(cx) {
                    return Poll::Ready(if read.is_ok() { Event::Read } else { Event::Gone });
                }
                if fence.as_mut().is_some_and(|fence| fence.as_mut().poll(cx).is_ready()) {
                    return Poll::Ready(Event::Fence);
                }
                held.poll_unasked(cx).map(Event::Server)
            });
            match event.await {
                Event::Read => {}
                Event::Gone => return Ok(Idle::Gone),
                Event::Ended => return Ok(Idle::Ended),
                Event::Server(Ok(frame)) if frame.tag == b'S' => {
                    self.client.parameters.hear(frame.body());
                    self.client.tell_parameters();
                }
                Event::Server(Ok(frame)) => self.client.out.extend_from_slice(&frame.bytes),
                Event::Server(Err(fault)) => return Err(fault.fatal()),
                // Whoever has raised it waits for the connections that this session keeps.
                Event::Fence => Box::pin(self.follow_fence()).await?,
            }
        }
    }
}

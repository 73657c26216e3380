//! A session and the placement of tables, which others may change: the marks of its connections, and the wait for rows that move.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use crate::backend::Backend;
use crate::backend::rules::{PATIENCE, changed};
use crate::control::rules;
use crate::exec::replies::poll_client;
use crate::fault::{Fault, SqlState};
use crate::session::{Failure, Session, Stop};
use crate::topology::Closed;
use crate::wire::reply::Status;

/// Between two looks at what is waited for.
pub(super) const PAUSE: Duration = Duration::from_millis(25);

impl Session {
    /// Whether what this session knows of the placement of tables is good enough for a connection.
    pub(super) fn check_mark(&self, server: &Backend) -> Result<(), Fault> {
        match server.mark {
            Some(mark) if mark > self.view.topology.epoch => Err(changed()),
            Some(_) | None => Ok(()),
        }
    }

    /// Whether a connection has its mark, and outside of a transaction that of now.
    pub(super) fn is_well_marked(&self, at: usize) -> bool {
        let held = &self.held[at];
        let current = || held.server.mark.is_none_or(|mark| mark >= self.database.rules.fence());
        held.is_marked() && (held.joined || held.server.status != Status::Idle || current())
    }

    /// A statement is to run on this connection.
    pub(super) async fn keep_marked(&mut self, at: usize) -> Result<(), Failure> {
        if self.is_well_marked(at) {
            return Ok(());
        }
        let held = &self.held[at];
        let (shard, marked) = (held.shard, held.is_marked());
        let database = Arc::clone(&self.database);
        let server = &mut self.held[at].server;
        let kept = match marked {
            true => database.rules.mark(server, PATIENCE).await.map(Some),
            false => database.rules.mark_again(server).await,
        }?;
        let mark = server.mark;
        // Its transaction sees the moment when it began.
        if kept.is_none() && rules::fence(&database, shard).await? > mark.unwrap_or_default() {
            return Err(changed().into());
        }
        Ok(self.check_mark(&self.held[at].server)?)
    }

    /// The connections that the session keeps while it is idle get the mark of now.
    pub(super) async fn follow_fence(&mut self) -> Result<(), Fault> {
        self.refresh_view();
        for at in 0..self.held.len() {
            match self.keep_marked(at).await {
                Ok(()) => {}
                Err(Failure::Fault(fault)) if self.held[at].server.broken => return Err(fault.fatal()),
                // Its next statement says so.
                Err(Failure::Fault(fault)) => tracing::debug!(error = %fault, "a connection keeps its mark"),
                Err(Failure::Stop(Stop::Fatal(fault))) => return Err(fault),
                Err(Failure::Reported | Failure::Stop(_)) => {}
            }
        }
        Ok(())
    }

    /// Waits until no rows move any more, outside of a transaction. False: it was not waited.
    pub(super) async fn wait_for_moves(&mut self) -> Result<bool, Failure> {
        if self.tx.is_open() || self.batch.open.is_some() {
            return Ok(false);
        }
        // Whoever moves the rows waits for connections under earlier rules.
        for at in 0..self.held.len() {
            self.keep_marked(at).await?;
        }
        let slot = Arc::clone(&self.slot);
        let _waiting = slot.wait();
        let limit = self.database.limits.wait;
        let started = Instant::now();
        let mut told = Instant::now();
        self.database.rules.note_stale();
        // Nobody is to wait for a session that waits.
        self.seat.rest();
        while started.elapsed() < limit && self.rows_move() {
            if told.elapsed() > Duration::from_secs(1) {
                told = Instant::now();
                self.database.rules.note_stale();
            }
            self.pause(PAUSE).await?;
        }
        self.begin_view().await?;
        Ok(true)
    }

    fn rows_move(&self) -> bool {
        if self.database.is_over() {
            return false;
        }
        let topology = Arc::clone(&self.database.cluster.load().topology);
        topology.closed.values().any(|why| *why == Closed::Moving)
    }

    /// A moment in which the client can leave; or cancel, where its slot waits.
    pub(super) async fn pause(&mut self, pause: Duration) -> Result<(), Failure> {
        let client = &mut self.client;
        let mut over = std::pin::pin!(tokio::time::sleep(pause));
        poll_fn(|cx| {
            if client.control.poll_cancel(cx).is_ready() {
                let canceled = Fault::new(SqlState::QUERY_CANCELED, "canceling statement due to user request");
                return Poll::Ready(Err(Failure::Fault(canceled)));
            }
            if poll_client(client, cx).is_ready() {
                return Poll::Ready(Err(Stop::Gone.into()));
            }
            over.as_mut().poll(cx).map(Ok)
        })
        .await
    }
}

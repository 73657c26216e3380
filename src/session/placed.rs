//! A session and the placement of tables, which others may change: the marks of its connections, and the wait for rows that move.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use crate::backend::Backend;
use crate::backend::cluster::{Cluster, Database};
use crate::backend::rules::{PATIENCE, changed};
use crate::config::limits::Limit;
use crate::control::rules;
use crate::exec::client::ClientGone;
use crate::exec::replies::{poll_client, watched};
use crate::fault::{Fault, SqlState};
use crate::ids::{Epoch, QualifiedName};
use crate::session::{Failure, Session, Stop};
use crate::topology::{Closed, Topology};
use crate::wire::reply::Status;

/// How often who waits for rows to be moved looks who waits for him.
const LOOK: Duration = Duration::from_secs(1);

/// Between two looks at what is waited for.
pub(super) const PAUSE: Duration = Duration::from_millis(25);

impl Session {
    /// Whether a connection has its mark, outside of a transaction that of now, and is not marked for later rules than the session's.
    pub(super) fn is_well_marked(&self, at: usize) -> bool {
        let held = &self.held[at];
        let epoch = self.view.topology.epoch;
        held.is_marked()
            && held.server.mark.is_none_or(|mark| {
                // The router may be about to raise its own.
                let fence = self.database.rules.fence().max(self.view.topology.fence);
                // Under rules that are over, an earlier mark that is still there is as good as one of theirs.
                let current = || mark >= fence || fence > epoch;
                mark <= epoch && (held.joined || held.server.status != Status::Idle || current())
            })
    }

    /// A statement is to run on this connection.
    pub(super) async fn keep_marked(&mut self, at: usize) -> Result<(), Failure> {
        if self.is_well_marked(at) {
            return Ok(());
        }
        let epoch = self.view.topology.epoch;
        let database = Arc::clone(&self.database);
        let held = &mut self.held[at];
        let certain = match held.is_marked() {
            true => database.rules.mark(&mut held.server, PATIENCE).await.map(|()| true),
            false => database.rules.mark_again(&mut held.server).await,
        }?;
        // While it had no mark, rows may have begun to move.
        if !certain && rules::moved(&database).await? > held.server.mark.unwrap_or_default() {
            return Err(changed().into());
        }
        Ok(join_rules(&database, epoch, &mut held.server).await?)
    }

    /// Whether a statement can be planned anew that has failed because rows have moved since it was planned: nothing of it, nor of its
    /// transaction, was sent.
    pub(super) fn follows(&mut self, failure: &Failure) -> bool {
        let moved = matches!(failure, Failure::Fault(fault) if *fault == changed());
        if !moved || self.batch.open.is_some() || !self.tx.is_untouched() {
            return false;
        }
        self.refresh_view();
        true
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

    /// Waits, as behind a lock, until no rows move any more. False: it was not waited, or the statement must not follow them.
    ///
    /// In a transaction they can be followed where each statement sees a moment of its own: the table that has moved was closed for
    /// all that came before.
    pub(super) async fn wait_for_moves(&mut self) -> Result<bool, Failure> {
        if self.tx.has_failed() {
            return Ok(false);
        }
        self.leave_open().await?;
        if !self.tx.is_untouched() && self.sees_one_moment().await? {
            return Err(changed().into());
        }
        // Whoever moves the rows waits for connections under earlier rules.
        for at in 0..self.held.len() {
            self.keep_marked(at).await?;
        }
        let slot = Arc::clone(&self.slot);
        let _waiting = slot.wait();
        let limit = self.times.get(Limit::QueryWait).unwrap_or(Duration::MAX);
        let started = Instant::now();
        self.database.rules.note_stale();
        loop {
            self.let_rows_move(started, limit).await?;
            let has_begun = self.has_begun();
            if !has_begun {
                self.begin_view().await?;
            } else if !self.follow_rows()? {
                return Ok(false);
            }
            // The next mover may have been faster: then what is planned under this view would be refused, also where that one is done by now.
            if started.elapsed() >= limit || !self.meets_moves() {
                return Ok(true);
            }
            // It waits for this transaction, which must not wait for it.
            if has_begun {
                return Err(changed().into());
            }
        }
    }

    /// Until nothing moves any more of what this session has met, or the time is over.
    async fn let_rows_move(&mut self, started: Instant, limit: Duration) -> Result<(), Failure> {
        if !self.has_begun() {
            // Nobody is to wait for a session that waits.
            self.seat.rest();
        }
        let mut told = Instant::now();
        while started.elapsed() < limit && self.rows_move() {
            if told.elapsed() > LOOK {
                told = Instant::now();
                self.database.rules.note_stale();
                if self.has_begun() && self.is_waited_for().await? {
                    return Err(circle().into());
                }
            }
            // The next mover waits for this transaction: it must not wait for that one.
            if self.has_begun() && self.database.cluster.load().topology.fence > self.view.topology.fence {
                return Err(changed().into());
            }
            self.pause(PAUSE).await?;
        }
        Ok(())
    }

    /// Whether somebody waits for a lock of the open transaction: the mover may wait for that one's end, and nobody would go on.
    async fn is_waited_for(&mut self) -> Result<bool, Failure> {
        const WAITERS: &str = "SELECT 1 FROM pg_catalog.pg_locks w WHERE NOT w.granted \
             AND pg_catalog.pg_backend_pid() = ANY (pg_catalog.pg_blocking_pids(w.pid)) LIMIT 1";
        self.park_runs().await?;
        for at in 0..self.held.len() {
            if !self.held[at].joined {
                continue;
            }
            let asked = watched(&mut self.client, self.held[at].server.query(WAITERS)).await;
            if !asked.map_err(|ClientGone| Stop::Gone)??.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether all statements of the open transaction see the rows of one moment.
    async fn sees_one_moment(&mut self) -> Result<bool, Failure> {
        const LEVEL: &str = "SELECT pg_catalog.current_setting('transaction_isolation')";
        let Some(joined) = (0..self.held.len()).find(|at| self.held[*at].joined) else { return Ok(true) };
        self.park_runs().await?;
        let rows = self.held[joined].server.query(LEVEL).await?;
        let level = rows.first().and_then(|row| row.first()?.as_deref());
        Ok(!matches!(level, Some("read committed" | "read uncommitted")))
    }

    /// The open transaction goes on under the rules of now, unless they differ in more than what was closed for it.
    fn follow_rows(&mut self) -> Result<bool, Failure> {
        if self.database.is_over() {
            return self.follow_configuration();
        }
        let now = Arc::clone(&self.database.cluster.load().topology);
        let follows = now.only_opens(&self.view.topology);
        if follows {
            let Cluster { catalog, catalog_known, turn, since, .. } = &*self.view;
            let (catalog, catalog_known, turn, since) = (Arc::clone(catalog), *catalog_known, *turn, *since);
            self.view = Arc::new(Cluster { topology: now, catalog, catalog_known, turn, since });
        }
        Ok(follows)
    }

    /// Whether rows are on their way under the session's view.
    fn meets_moves(&self) -> bool {
        self.view.topology.closed.values().any(|closed| *closed == Closed::Moving)
    }

    /// Whether rows that this session has met on their way still are.
    fn rows_move(&self) -> bool {
        if self.database.is_over() {
            return false;
        }
        let now = Arc::clone(&self.database.cluster.load().topology);
        let moving = |topology: &Topology, table: &QualifiedName| topology.closed.get(table) == Some(&Closed::Moving);
        self.view.topology.closed.keys().any(|table| moving(&self.view.topology, table) && moving(&now, table))
    }

    /// A moment in which the client can leave; or cancel, where its slot waits.
    pub(super) async fn pause(&mut self, pause: Duration) -> Result<(), Failure> {
        let Self { client, slot, .. } = self;
        let mut over = std::pin::pin!(tokio::time::sleep(pause));
        poll_fn(|cx| {
            if client.control.poll_cancel(cx).is_ready() {
                return Poll::Ready(Err(Failure::Fault(slot.canceled())));
            }
            if poll_client(client, cx).is_ready() {
                return Poll::Ready(Err(Stop::Gone.into()));
            }
            over.as_mut().poll(cx).map(Ok)
        })
        .await
    }
}

/// A transaction that waits for rows to be moved, and for which others wait, is the victim: moving goes before.
fn circle() -> Fault {
    Fault::new(SqlState::DEADLOCK_DETECTED, "deadlock detected")
        .detail("The transaction waits for a table whose rows are being moved, and others wait for the transaction, for whose end the mover may wait.")
        .hint("The transaction can be repeated.")
}

/// A connection that was made under later rules than those of `epoch`, under which a statement is to run on it, joins them: as long as
/// no rows have begun to move since then.
///
/// # Errors
/// `40001`: they have. The loss of the connection; the home shard cannot be reached.
pub(super) async fn join_rules(database: &Database, epoch: Epoch, server: &mut Backend) -> Result<(), Fault> {
    if server.mark.is_none_or(|mark| mark <= epoch) {
        return Ok(());
    }
    database.rules.mark_older(server, epoch).await?;
    if rules::moved(database).await? > epoch { Err(changed()) } else { Ok(()) }
}

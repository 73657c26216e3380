//! What the metrics, the log and a trace are told of the statement that runs: since when, how it was routed, what it has waited for.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::backend::stats::Count;
use crate::fault::SqlState;
use crate::ids::ShardId;
use crate::metrics::Route;
use crate::session::Session;
use crate::session::logged::{Over, Said};
use crate::traces::Trace;

/// What the metrics are told of a statement when it is over.
#[derive(Debug, Default)]
pub(super) struct Clock {
    pub(super) started: Option<Instant>,
    /// When the transaction began that is open, or to which the running statement belongs.
    pub(super) transaction: Option<Instant>,
    /// How long it has waited for server connections.
    pub(super) waited: Duration,
    /// For how long the server was busy that was busy longest.
    pub(super) served: Duration,
    /// Rows that command tags told of.
    pub(super) rows: u64,
    /// Its text, where the log may want it.
    pub(super) said: Option<Said>,
    /// How it was routed, once it is over; and its shard, where it has one.
    pub(super) over: Option<(Route, usize)>,
    pub(super) shard: Option<ShardId>,
    /// It was refused; it has failed.
    pub(super) refused: Option<SqlState>,
    pub(super) failed: Option<SqlState>,
    pub(super) trace: Option<Box<Trace>>,
    /// Another statement of its message or batch was before it.
    pub(super) is_later: bool,
    pub(super) routed: Option<(Route, usize)>,
}

impl Session {
    /// A statement, or a batch of them, begins.
    pub(super) fn start_clock(&mut self) {
        let now = Instant::now();
        self.clock = Clock {
            started: Some(now),
            transaction: Some(self.clock.transaction.unwrap_or(now)),
            routed: self.clock.routed.take(),
            ..Clock::default()
        };
        // What connections that it keeps have done before is no part of it.
        for held in self.held.iter_mut() {
            let _ = held.server.work.take();
        }
        self.asks_primaries = false;
        self.hint = None;
        self.start_deadlines(now);
        self.slot.note_statement(self.shared.cancels.moment(now));
    }

    /// A Query message, or a batch, has its answer.
    pub(super) fn end_request(&mut self) {
        self.key_place = None;
        self.telling = None;
        // Before what the next request brings.
        self.client.tell_news();
        let now = Instant::now();
        self.stop_clock(now);
        // A statement that failed before it was routed.
        self.log_over(now);
        self.slot.note_statement(0);
        self.slot.note_prepared(self.statements.len());
        self.tally.add(Count::Queries, 1);
        let took = self.clock.started.map(|started| now.duration_since(started));
        if let Some(took) = took {
            self.tally.add_time(Count::QueryTime, took);
        }
        if !self.tx.in_block() {
            self.tally.add(Count::Xacts, 1);
            if let Some(began) = self.clock.transaction.take() {
                let alone = took.filter(|_| self.clock.started == Some(began));
                self.tally.add_time(Count::XactTime, alone.unwrap_or_else(|| now.duration_since(began)));
            }
            self.slot.last_moment.store(0, Ordering::Relaxed);
        }
    }

    /// The statement that was routed last has its answer; or its part of it, in a batch.
    pub(super) fn stop_clock(&mut self, now: Instant) {
        if let (Some(started), Some((route, shards))) = (self.clock.started, self.clock.routed.take()) {
            let took = now.duration_since(started);
            self.shared.metrics.query(route.class(), shards, took);
            self.clock.over = Some((route, shards));
            self.log_over(now);
            if tracing::enabled!(tracing::Level::DEBUG) {
                tracing::Span::current().record("took", tracing::field::debug(took));
                tracing::debug!(shards, "answered");
            }
        }
        let (received, sent) = self.client.take_traffic();
        self.shared.metrics.client_bytes_in.inc_by(received);
        self.shared.metrics.client_bytes_out.inc_by(sent);
        self.tally.add(Count::Received, received);
        self.tally.add(Count::Sent, sent);
    }

    /// The statement whose text is known is over: the log is told, and what was noted of it is forgotten.
    pub(super) fn log_over(&mut self, now: Instant) {
        let Some(said) = self.clock.said.take() else { return };
        self.held.iter_mut().for_each(|held| self.clock.note_work(held, &self.view.topology));
        let mut clock = std::mem::take(&mut self.clock);
        let trace = clock.trace.take();
        let total = clock.started.map_or(Duration::ZERO, |started| now.duration_since(started));
        let over = Over {
            said,
            route: clock.over,
            shard: clock.shard,
            refused: clock.refused,
            total,
            waited: clock.waited,
            served: clock.served,
            rows: clock.rows,
            failed: clock.failed,
        };
        self.log_statement(&over);
        if let Some(trace) = trace {
            self.end_trace(*trace, &over, now);
        }
        let Clock { started, transaction, .. } = clock;
        self.clock = Clock { started, transaction, is_later: true, ..Clock::default() };
    }
}

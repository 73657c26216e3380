//! Time-outs: statements, transactions and stalled clients whose time is up are ended, by one task for all sessions.
//!
//! A statement is cancelled as its user would cancel it: the servers that work for it are asked to stop, their answers are read to the end,
//! and their connections go on clean. So every way in which a statement runs is covered, the waits included. What a client does not take
//! of the answer is not waited for. A server that has not stopped within `cancel_grace` is left behind, and what has not ended then
//! either (in the middle of a client's message, say) ends with its client.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::backend::cancel::CancelHandle;
use crate::config::limits::{Limit, TimeLimits};
use crate::fault::{Fault, SqlState};
use crate::metrics::{Metrics, Overdue};
use crate::scope::Wish;
use crate::session::Session;
use crate::session::cancel::{CancelRegistry, CancelSlot, micros};
use crate::sql::utility::plain_value;

/// How exactly limits are kept.
const TICK: Duration = Duration::from_millis(20);
/// A statement that goes on (it was between two requests, perhaps) is cancelled again after so long.
const AGAIN: Duration = Duration::from_millis(250);
/// A server that could not be told to stop within so long is not waited for.
const REACH: Duration = Duration::from_secs(1);

/// How many clients have limits: nobody looks while there are none.
#[derive(Debug, Default)]
pub struct Limited {
    clients: AtomicUsize,
    first: Notify,
}

/// Its time is up.
pub(super) fn of_statement() -> Fault {
    Fault::new(SqlState::QUERY_CANCELED, "canceling statement due to statement timeout")
}

fn unheeded() -> Fault {
    Fault::new(SqlState::QUERY_CANCELED, "terminating connection due to statement timeout")
        .detail("it went on when it was to stop")
        .fatal()
}

fn of_transaction() -> Fault {
    Fault::new(SqlState::TRANSACTION_TIMEOUT, "terminating connection due to transaction timeout").fatal()
}

fn of_writing() -> Fault {
    Fault::new(SqlState::CONNECTION_FAILURE, "terminating connection due to client_write_timeout")
        .detail("the client has read nothing of its answer")
        .fatal()
}

impl CancelSlot {
    /// A statement begins that has these ends, as moments; 0: none.
    fn note_ends(&self, statement: u64, transaction: u64) {
        self.deadline.store(statement, Ordering::Relaxed);
        self.last_moment.store(transaction, Ordering::Relaxed);
        self.expired.store(0, Ordering::Relaxed);
        self.first_expired.store(0, Ordering::Relaxed);
        self.control.forget_due();
    }

    /// Whether a statement goes on for so long behind its end, from the moment at which that was `noticed`.
    fn outstays(&self, noticed: u64, now: u64, more: Duration) -> bool {
        let grace = self.grace.load(Ordering::Relaxed);
        grace > 0 && now.saturating_sub(noticed) > grace.saturating_add(micros(more)) && !self.is_committing()
    }
}

impl CancelRegistry {
    /// A client has limits that somebody must look at, or has none any more.
    pub(super) fn note_limited(&self, limited: bool) {
        if !limited {
            self.limited.clients.fetch_sub(1, Ordering::AcqRel);
        } else if self.limited.clients.fetch_add(1, Ordering::AcqRel) == 0 {
            self.limited.first.notify_one();
        }
    }

    /// Ends what takes too long, for as long as the router runs.
    pub async fn enforce(self: Arc<Self>, metrics: Arc<Metrics>) {
        loop {
            if self.limited.clients.load(Ordering::Acquire) == 0 {
                self.limited.first.notified().await;
            }
            tokio::time::sleep(TICK).await;
            self.look_at_limits(&metrics);
        }
    }

    fn look_at_limits(&self, metrics: &Metrics) {
        let now = self.moment(Instant::now());
        for entry in &self.clients {
            let slot = entry.value();
            let patience = Duration::from_micros(slot.patience.load(Ordering::Relaxed));
            if !patience.is_zero() && slot.control.blocked_for().is_some_and(|blocked| blocked > patience) {
                end(slot, of_writing(), Overdue::ClientWrite, metrics);
            }
            let is_up = |moment: u64| moment > 0 && now >= moment;
            // The statement first: whoever sees it sees its own end.
            let statement = slot.statement();
            let transaction_is_up = || is_up(slot.last_moment.load(Ordering::Relaxed));
            // Once more behind the lock: with the end of a commit the moment is gone.
            if transaction_is_up() && !slot.is_committing() && transaction_is_up() {
                end(slot, of_transaction(), Overdue::Transaction, metrics);
                // It waits for a server that hangs, and sees nothing else.
                if slot.outstays(slot.last_moment.load(Ordering::Relaxed), now, REACH) {
                    slot.give_up_servers(statement);
                }
            } else if statement > 0 && is_up(slot.deadline.load(Ordering::Relaxed)) {
                expire(slot, statement, now, metrics);
            }
        }
    }
}

/// A client is ended, once.
fn end(slot: &CancelSlot, why: Fault, limit: Overdue, metrics: &Metrics) {
    if slot.control.wish() != Wish::Kill {
        metrics.overdue(limit);
        slot.control.end(why);
    }
}

/// The time of a statement is up.
fn expire(slot: &Arc<CancelSlot>, statement: u64, now: u64, metrics: &Metrics) {
    let last = slot.expired.load(Ordering::Relaxed);
    if last > 0 && now.saturating_sub(last) < micros(AGAIN) {
        return;
    }
    slot.expired.store(now, Ordering::Relaxed);
    match slot.first_expired.load(Ordering::Relaxed) {
        0 => {
            slot.first_expired.store(now, Ordering::Relaxed);
            metrics.overdue(Overdue::Statement);
        }
        first if slot.outstays(first, now, REACH) => {
            slot.control.end(unheeded());
            return;
        }
        first if slot.outstays(first, now, Duration::ZERO) && slot.give_up_servers(statement) => return,
        _ => {}
    }
    let servers = slot.condemn(statement, &of_statement());
    if !servers.is_empty() {
        let slot = Arc::clone(slot);
        tokio::spawn(async move {
            futures::future::join_all(servers.iter().map(async |server: &Arc<CancelHandle>| {
                if !server.send_within(REACH, slot.over(statement)).await {
                    server.abandon();
                    slot.control.wake();
                }
                server.settle();
            }))
            .await;
        });
    }
}

/// The limits of a session: its own, with what it has set since.
pub fn limits_of<'a>(own: TimeLimits, settings: impl Iterator<Item = (&'a str, &'a str)>) -> TimeLimits {
    let mut limits = own;
    for (name, value) in settings {
        let Some(limit) = name.strip_prefix("pgloom.").and_then(Limit::named) else { continue };
        // What is no duration was refused when it was set.
        if let Ok(value) = value_of(limit, value) {
            limits.set(limit, value);
        }
    }
    limits
}

/// A value in SQL, or DEFAULT.
fn value_of(limit: Limit, value: &str) -> Result<Option<Duration>, String> {
    let plain = plain_value(value).ok_or("expected one value")?;
    limit.parse(&plain)
}

/// # Errors
/// `42704` for a setting of ours that is none, `22023` for a value that is no duration, or one that no session may say.
pub fn check_limit(name: &str, value: &str) -> Result<(), Fault> {
    let Some(own) = name.strip_prefix("pgloom.") else { return Ok(()) };
    let Some(limit) = Limit::named(own) else { return Err(unknown_setting(name)) };
    let time = value_of(limit, value).map_err(|expected| {
        let shown = plain_value(value).unwrap_or_else(|| value.into());
        Fault::new(SqlState::INVALID_PARAMETER_VALUE, format!("invalid value for parameter \"{name}\": \"{shown}\""))
            .detail(expected)
    })?;
    match (time, limit.least_of_sessions()) {
        (Some(time), Some(least)) if time < least => {
            let (micros, least) = (time.as_micros(), least.as_millis());
            let shown = if micros % 1000 == 0 { format!("{} ms", micros / 1000) } else { format!("{micros} us") };
            let message =
                format!("{shown} is outside the valid range for parameter \"{name}\" ({least} .. {})", i32::MAX);
            Err(Fault::new(SqlState::INVALID_PARAMETER_VALUE, message))
        }
        _ => Ok(()),
    }
}

/// No setting of the router has this name.
pub fn unknown_setting(name: &str) -> Fault {
    let names: Vec<String> = Limit::of_sessions().map(|limit| format!("pgloom.{}", limit.name())).collect();
    Fault::new(SqlState::UNDEFINED_OBJECT, format!("unrecognized configuration parameter \"{name}\""))
        .hint(format!("Those that can be set in a session are {}.", names.join(", ")))
}

impl Session {
    /// Follows what the session, or the configuration, says of its limits now.
    pub(super) fn follow_limits(&mut self) {
        let effective = self.tx.with_locals(&self.settings);
        self.times = limits_of(self.own_times, effective.iter().filter(|(_, value)| *value != "DEFAULT"));
        let patience = self.times.get(Limit::ClientWrite).map_or(0, micros);
        self.slot.patience.store(patience, Ordering::Relaxed);
        let grace = self.times.get(Limit::CancelGrace).map_or(0, micros);
        self.slot.grace.store(grace, Ordering::Relaxed);
        let watched = [Limit::Query, Limit::Scatter, Limit::Transaction, Limit::ClientWrite];
        let limited = watched.into_iter().any(|limit| self.times.get(limit).is_some());
        if limited != self.is_limited {
            self.is_limited = limited;
            self.slot.note_ends(0, 0);
            self.shared.cancels.note_limited(limited);
        }
    }

    /// A statement was read at `now`: its ends.
    pub(super) fn start_deadlines(&self, now: Instant) {
        if !self.is_limited {
            return;
        }
        let end = |began: Instant, limit: Limit| match self.times.get(limit) {
            Some(time) => self.shared.cancels.moment(began).saturating_add(micros(time)),
            None => 0,
        };
        let transaction = self.clock.transaction.map_or(0, |began| end(began, Limit::Transaction));
        self.slot.note_ends(end(now, Limit::Query), transaction);
    }

    /// The statement goes to several shards, which have one end for all of them.
    pub(super) fn limit_scatter(&self) {
        let (Some(time), Some(began)) = (self.times.get(Limit::Scatter), self.clock.started) else { return };
        let end = self.shared.cancels.moment(began).saturating_add(micros(time));
        let known = self.slot.deadline.load(Ordering::Relaxed);
        self.slot.deadline.store(if known == 0 { end } else { known.min(end) }, Ordering::Relaxed);
    }

    /// Until the end of the statement that runs, where it has one.
    pub(super) fn time_left(&self) -> Duration {
        match self.slot.deadline.load(Ordering::Relaxed) {
            0 => Duration::MAX,
            end => Duration::from_micros(end.saturating_sub(self.shared.cancels.moment(Instant::now()))),
        }
    }

    /// A statement whose time was up has ended: what is still on its way to its servers must not meet the next one.
    pub(super) async fn settle_expired(&self) {
        if self.slot.expired.load(Ordering::Relaxed) == 0 {
            return;
        }
        // What is still to be done, such as a rollback, is not cancelled again.
        self.slot.deadline.store(0, Ordering::Relaxed);
        self.settle_cancels().await;
        self.client.control.forget_due();
    }

    /// Waits until no cancel request is on its way to a server that the session holds: it would meet the next statement.
    pub(super) async fn settle_cancels(&self) {
        for held in self.held.iter() {
            // A request that cannot be delivered is given up in time.
            while held.server.cancel.is_announced() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            held.server.cancel.acquit();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn values_are_durations_and_names_are_known() {
        for (name, value, code) in [
            ("pgloom.query_timeout", "'5s'", ""),
            ("pgloom.query_timeout", "5", ""),
            ("pgloom.query_timeout", "0", ""),
            ("pgloom.query_timeout", "'5 parsecs'", "22023"),
            ("pgloom.server_login_timeout", "0", ""),
            ("pgloom.server_connect_timeout", "0", "22023"),
            ("pgloom.query_timeout", "'5s', '6s'", "22023"),
            ("pgloom.nothing", "1", "42704"),
            ("work_mem", "'64MB'", ""),
        ] {
            let checked = check_limit(name, value);
            assert_eq!(
                checked.map_err(|fault| fault.code.as_str().to_owned()).err().unwrap_or_default(),
                code,
                "{name} {value}"
            );
        }
        let own = limits_of(TimeLimits::default(), [("pgloom.query_timeout", "'7s'")].into_iter());
        let set = limits_of(
            own,
            [("a", "b"), ("pgloom.scatter_timeout", "'250ms'"), ("pgloom.query_timeout", "0")].into_iter(),
        );
        assert_eq!(
            (own.text(Limit::Query), set.text(Limit::Query), set.text(Limit::Scatter)),
            ("7s".into(), "0".into(), "250ms".into())
        );
    }
}

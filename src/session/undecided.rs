//! How long a commit over several shards waits for them while nothing is decided: until then it can be undone everywhere.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use crate::config::TimeLimits;
use crate::config::limits::Limit;
use crate::exec::client::Client;
use crate::exec::replies::poll_client;
use crate::fault::{Fault, SqlState};
use crate::session::cancel::CancelSlot;

/// How much longer is waited for a client that is gone: one Postgres would commit all the same.
const UNHEARD: Duration = Duration::from_secs(10);
/// How much longer for servers that have been asked to stop: what they say is surer than what is left to the resolver.
const UNHEEDED: Duration = Duration::from_secs(1);

/// The wait: it ends with the time of the statement or the transaction, and when it is cancelled or its session is to end.
pub(super) struct Undecided<'a> {
    client: &'a mut Client,
    slot: &'a CancelSlot,
    end: Option<Pin<Box<Sleep>>>,
    /// Why it is to end.
    told: Option<Fault>,
    gone: bool,
}

impl<'a> Undecided<'a> {
    pub fn new(client: &'a mut Client, slot: &'a CancelSlot, times: &TimeLimits) -> Self {
        let end = time_of(times).map(|limit| Box::pin(tokio::time::sleep(limit)));
        Self { client, slot, end, told: None, gone: false }
    }

    /// Ready with what the client is told once nothing is waited for any longer.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Fault> {
        if self.told.is_none() && self.client.control.poll_cancel(cx).is_ready() {
            self.told = Some(self.slot.canceled());
            self.end_within(UNHEEDED);
        }
        if self.told.is_none() && self.client.control.poll_kill(cx).is_ready() {
            let killed = "terminating connection due to administrator command";
            self.told = Some(Fault::new(SqlState::ADMIN_SHUTDOWN, killed));
            self.end_within(UNHEEDED);
        }
        if self.told.is_none() && !self.gone && poll_client(self.client, cx).is_ready() {
            self.gone = true;
            self.end_within(UNHEARD);
        }
        match &mut self.end {
            Some(end) => end.as_mut().poll(cx).map(|()| self.told.take().unwrap_or_else(late)),
            None => Poll::Pending,
        }
    }

    /// No later than that.
    fn end_within(&mut self, limit: Duration) {
        let until = Instant::now() + limit;
        if self.end.as_ref().is_none_or(|end| end.deadline() > until) {
            self.end = Some(Box::pin(tokio::time::sleep_until(until)));
        }
    }
}

/// How long is waited for what is decided: for what the client's own time leaves, and for what servers may take behind it. `None`: for ever.
pub(super) fn decided_within(times: &TimeLimits) -> Option<Duration> {
    Some(time_of(times)? + times.get(Limit::CancelGrace)?)
}

/// How long shards that may know the outcome are asked for it, where the client's time is limited.
pub(super) fn patience(times: &TimeLimits, most: Duration) -> Duration {
    let grace = time_of(times).and_then(|_| times.get(Limit::CancelGrace));
    grace.map_or(most, |grace| grace.min(most))
}

fn time_of(times: &TimeLimits) -> Option<Duration> {
    [Limit::Query, Limit::Transaction].into_iter().filter_map(|limit| times.get(limit)).min()
}

/// What has not answered in that time.
pub(super) fn silent() -> Fault {
    Fault::new(SqlState::QUERY_CANCELED, "canceling statement due to statement timeout")
        .detail("a shard did not answer while the transaction was being committed")
}

fn late() -> Fault {
    Fault::new(SqlState::QUERY_CANCELED, "canceling statement due to statement timeout")
        .detail("a shard did not answer while the transaction was being committed, and it was rolled back")
}

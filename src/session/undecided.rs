//! How long a commit over several shards waits for them, and when they are asked to wait for nothing more themselves, such as a synchronous
//! standby that does not answer.

use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, Sleep};

use crate::backend::cancel::CancelHandle;
use crate::commit::two_phase::Request;
use crate::config::TimeLimits;
use crate::config::limits::Limit;
use crate::exec::client::Client;
use crate::exec::replies::poll_client;
use crate::fault::{Fault, SqlState};
use crate::ids::ShardId;
use crate::session::cancel::CancelSlot;

/// How much longer is waited for a client that is gone: one Postgres would commit all the same.
const UNHEARD: Duration = Duration::from_secs(10);
/// How much longer for servers that have been asked to stop: what they say is surer than what is left to the resolver.
const UNHEEDED: Duration = Duration::from_secs(1);
/// How long for one that undoes its part.
const UNDONE: Duration = Duration::from_secs(10);
/// A server that goes on (it may not have begun when it was asked) is asked again after so long.
const AGAIN: Duration = Duration::from_millis(250);

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// It can still be undone everywhere, and is when the wait is ended.
    Undecided,
    /// It is decided: who ends the wait ends that of the servers for their standbys, as in one Postgres, and no more.
    Commits,
    /// It is being undone, for which no standby is waited for: what is undone is not there after a failover either.
    RollsBack,
    /// The same of what is not prepared: who closes the connection undoes it as well.
    Ends,
}

impl Stage {
    /// Of requests that are made at once.
    pub fn of(requests: impl Iterator<Item = Request>) -> Self {
        let stage_of = |request| match request {
            Request::Decide | Request::Prepare => Self::Undecided,
            Request::RollBack => Self::Ends,
            Request::Finish { commit: false, .. } => Self::RollsBack,
            Request::Commit | Request::Finish { commit: true, .. } | Request::Fence | Request::Read => Self::Commits,
        };
        let mut stages = requests.map(stage_of);
        let first = stages.next().unwrap_or(Self::Undecided);
        stages.fold(first, |one, other| if matches!(one, Self::Undecided | Self::Ends) { other } else { one })
    }
}

/// The wait: it ends with the time of the statement or the transaction, and, where nothing is decided, when it is cancelled or its session is
/// to end. Before it does, the servers are asked to stop.
pub(super) struct Patience<'a> {
    stage: Stage,
    client: &'a mut Client,
    slot: &'a CancelSlot,
    /// When the servers are asked to stop.
    hurry: Option<Pin<Box<Sleep>>>,
    /// They are.
    hurries: bool,
    /// When they are asked again.
    again: Option<Pin<Box<Sleep>>>,
    asked: Vec<(ShardId, JoinHandle<()>)>,
    end: Option<Pin<Box<Sleep>>>,
    /// Which time ends.
    limit: Limit,
    /// Why it is to end.
    told: Option<Fault>,
    gone: bool,
}

impl<'a> Patience<'a> {
    /// `told`: why the transaction is to be undone, where that is known.
    pub fn new(
        stage: Stage,
        client: &'a mut Client,
        slot: &'a CancelSlot,
        times: &TimeLimits,
        told: Option<Fault>,
    ) -> Self {
        let time = time_of(times);
        let hurry = match stage {
            Stage::Undecided if told.is_some() => Some(Duration::ZERO),
            Stage::Undecided | Stage::Commits => time.map(|(time, _)| time),
            Stage::RollsBack | Stage::Ends => Some(AGAIN),
        };
        let end = match stage {
            Stage::Undecided => None,
            Stage::Commits => decided_within(times),
            Stage::Ends => Some(AGAIN + UNHEEDED),
            // What is left prepared is undone by whoever finds it.
            Stage::RollsBack => Some(decided_within(times).map_or(UNDONE, |within| within.min(UNDONE))),
        };
        Self {
            stage,
            client,
            slot,
            hurry: hurry.map(sleep),
            hurries: false,
            again: None,
            asked: Vec::new(),
            end: end.map(sleep),
            limit: time.map_or(Limit::Query, |(_, limit)| limit),
            told,
            gone: false,
        }
    }

    /// Ready with what the client is told once nothing is waited for any longer. `servers`: those that work.
    pub fn poll(&mut self, cx: &mut Context<'_>, servers: &[(ShardId, Arc<CancelHandle>)]) -> Poll<Fault> {
        if self.told.is_none() && !matches!(self.stage, Stage::RollsBack | Stage::Ends) {
            if self.client.control.poll_cancel(cx).is_ready() {
                self.told = Some(self.slot.canceled());
                self.hurry_within(Duration::ZERO);
            } else if self.client.control.poll_kill(cx).is_ready() {
                let killed = "terminating connection due to administrator command";
                self.told = Some(Fault::new(SqlState::ADMIN_SHUTDOWN, killed));
                self.hurry_within(Duration::ZERO);
            }
        }
        if self.told.is_none()
            && self.stage == Stage::Undecided
            && !self.gone
            && poll_client(self.client, cx).is_ready()
        {
            self.gone = true;
            self.hurry_within(UNHEARD);
        }
        if !self.hurries && is_over(&mut self.hurry, cx) {
            self.hurries = true;
            if self.stage == Stage::Undecided {
                let limit = self.limit;
                self.told.get_or_insert_with(|| late(limit));
                self.end = Some(sleep(UNHEEDED));
            }
        }
        while self.hurries && (self.again.is_none() || is_over(&mut self.again, cx)) {
            self.again = Some(sleep(AGAIN));
            self.asked.retain(|(_, asked)| !asked.is_finished());
            // A second request could meet what comes behind the first one's end.
            let unasked = servers.iter().filter(|(_, server)| !server.is_announced());
            self.asked.extend(unasked.map(|(shard, server)| (*shard, ask_to_stop(server))));
        }
        match is_over(&mut self.end, cx) {
            false => Poll::Pending,
            true if self.stage == Stage::Undecided => {
                let limit = self.limit;
                Poll::Ready(self.told.get_or_insert_with(|| late(limit)).clone())
            }
            true => Poll::Ready(silent()),
        }
    }

    /// One of the servers has refused: the others need not go on.
    pub fn undo(&mut self, why: &Fault) {
        if self.stage == Stage::Undecided && self.told.is_none() {
            self.told = Some(why.clone());
            self.hurry_within(Duration::ZERO);
        }
    }

    /// Waits until nothing is on its way any more to those that have answered, which would meet what they are asked next. Why the transaction is
    /// to be undone, if it is. `servers`: those that have not answered.
    pub async fn settle(mut self, servers: &[(ShardId, Arc<CancelHandle>)]) -> Option<Fault> {
        for (shard, asked) in self.asked {
            if servers.iter().all(|(other, _)| *other != shard) {
                // It ends by itself, and there is nothing in it that could fail.
                let _ = asked.await;
            }
        }
        match self.stage {
            Stage::Undecided => {
                if self.told.is_none() && self.client.control.is_canceled() {
                    self.told = Some(self.slot.canceled());
                }
                self.told
            }
            Stage::Commits | Stage::RollsBack | Stage::Ends => None,
        }
    }

    /// No later than that.
    fn hurry_within(&mut self, limit: Duration) {
        let until = Instant::now() + limit;
        if self.hurry.as_ref().is_none_or(|hurry| hurry.deadline() > until) {
            self.hurry = Some(Box::pin(tokio::time::sleep_until(until)));
        }
    }
}

fn sleep(time: Duration) -> Pin<Box<Sleep>> {
    Box::pin(tokio::time::sleep(time))
}

fn is_over(time: &mut Option<Pin<Box<Sleep>>>, cx: &mut Context<'_>) -> bool {
    time.as_mut().is_some_and(|time| time.is_elapsed() || time.as_mut().poll(cx).is_ready())
}

/// The connection goes to nobody else while the request is on its way.
fn ask_to_stop(server: &Arc<CancelHandle>) -> JoinHandle<()> {
    server.announce();
    let server = Arc::clone(server);
    tokio::spawn(async move {
        server.send_within(UNHEEDED, pending()).await;
        server.settle();
    })
}

/// How long is waited for what is decided: for what the client's own time leaves, and for what servers may take behind it. `None`: for ever.
pub(super) fn decided_within(times: &TimeLimits) -> Option<Duration> {
    Some(time_of(times)?.0 + times.get(Limit::CancelGrace)?)
}

/// How long shards that may know the outcome are asked for it, where the client's time is limited: what is left of the grace behind the wait for
/// those that were asked to stop.
pub(super) fn patience(times: &TimeLimits, most: Duration) -> Duration {
    let grace = time_of(times).and_then(|_| times.get(Limit::CancelGrace));
    grace.map_or(most, |grace| grace.saturating_sub(UNHEEDED).max(grace / 2).min(most))
}

fn time_of(times: &TimeLimits) -> Option<(Duration, Limit)> {
    [Limit::Query, Limit::Transaction]
        .into_iter()
        .filter_map(|limit| Some((times.get(limit)?, limit)))
        .min_by_key(|(time, _)| *time)
}

/// What has not answered in that time.
fn silent() -> Fault {
    Fault::new(SqlState::QUERY_CANCELED, "canceling statement due to statement timeout")
        .detail("a shard did not answer while the transaction was being committed")
}

fn late(limit: Limit) -> Fault {
    let fault = match limit == Limit::Transaction {
        true => Fault::new(SqlState::TRANSACTION_TIMEOUT, "canceling statement due to transaction timeout"),
        false => Fault::new(SqlState::QUERY_CANCELED, "canceling statement due to statement timeout"),
    };
    fault.detail("a shard did not answer while the transaction was being committed, and it was rolled back")
}

//! How a session comes to server connections: it waits for them as long as its client does, and for a shard that is between two primaries.

use std::future::poll_fn;
use std::task::Poll;
use std::time::{Duration, Instant};

use smallvec::SmallVec;

use crate::backend::breakers::chance;
use crate::backend::cluster::ServerCheckout;
use crate::backend::connector::Aim;
use crate::backend::gate::{Patience, Reach};
use crate::backend::pool;
use crate::backend::retry::Retries;
use crate::backend::servers::ShardServers;
use crate::backend::stats::Count;
use crate::backend::turns::Place;
use crate::config::limits::Limit;
use crate::exec::replies::{poll_client, watched};
use crate::fault::{Blame, Fault, SqlState};
use crate::ids::ShardId;
use crate::metrics::Overdue;
use crate::session::commit::lost_part;
use crate::session::held::Unlent;
use crate::session::{Failure, Session, Stop};

/// What a connection is lent for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    /// Statements of the session, which must not see custom settings of others.
    Session,
    /// Questions to which those make no difference.
    Any,
}

impl Session {
    /// Nothing has been sent yet, so it is tried again where a shard of several servers has no primary that answers, and where the only one
    /// does not, for as long as the configuration says.
    pub(super) async fn lend(&mut self, places: &[Place], fit: Fit) -> Result<SmallVec<[ServerCheckout; 1]>, Unlent> {
        if self.database.traffic().has_paused_shards() {
            let shards: Vec<ShardId> = places.iter().map(|place| self.pools.at(*place).connector.shard).collect();
            self.wait_for_shards(shards.into_iter()).await.map_err(Unlent::Failure)?;
        }
        if let [place] = places
            && let Some(lent) = self.lend_idle(*place, fit)
        {
            return Ok(SmallVec::from_buf([lent]));
        }
        let mut retries = None;
        loop {
            let (place, fault) = match self.lend_now(places, fit).await {
                Err(Unlent::Connect(place, fault)) => (place, fault),
                lent => return lent,
            };
            let pools = std::sync::Arc::clone(&self.pools);
            let (several, limit) = match &pools.at(place).connector.aim {
                Aim::Primary(servers) => (Some(servers), self.times.get(Limit::Failover).unwrap_or_default()),
                // Who is beside the shards has others for it, and the home shard.
                Aim::One(_) if pools.at(place).connector.shard.is_combine() => {
                    return Err(Unlent::Connect(place, fault));
                }
                Aim::One(_) => (None, self.limits.restart_timeout),
                Aim::Replica(..) => return Err(Unlent::Connect(place, fault)),
            };
            if fault.blame != Blame::Server {
                return Err(Unlent::Connect(place, fault));
            }
            if let Some(servers) = several {
                servers.doubt();
            }
            let retries = retries.get_or_insert_with(|| Retries::new(Instant::now(), limit));
            let Some(pause) = retries.next(Instant::now(), chance()) else {
                let fault = several.map(|servers| without_primary(servers, fault.clone())).unwrap_or(fault);
                return Err(Unlent::Connect(place, fault));
            };
            self.shared.metrics.retry(if several.is_some() { "no_primary" } else { "restart" });
            let mut changes = several.map(|servers| servers.changes());
            let waited = async {
                match &mut changes {
                    Some(changes) => drop(tokio::time::timeout(pause, changes.changed()).await),
                    None => tokio::time::sleep(pause).await,
                }
                Ok(())
            };
            self.attend(waited).await?;
        }
    }

    /// What most statements ask for: one connection, which is idle, for a session that holds none. Nothing is waited for.
    fn lend_idle(&self, place: Place, fit: Fit) -> Option<ServerCheckout> {
        if !self.held.is_empty() || self.database.traffic().has_paused_shards() {
            return None;
        }
        let pool = self.pools.at(place);
        match fit {
            Fit::Any => pool.lend_idle(None),
            Fit::Session if self.making.is_empty() => pool.lend_idle(Some(self.settings.placeholders())),
            Fit::Session => pool.lend_idle(Some(&self.placeholders())),
        }
    }

    /// How long the connections may take that are made for this session, where it says so itself.
    fn own_reach(&self) -> Option<Reach> {
        let says = |limit| self.times.get(limit) != self.own_times.get(limit);
        let connect = self.times.get(Limit::ServerConnect)?;
        let login = self.times.get(Limit::ServerLogin);
        (says(Limit::ServerConnect) || says(Limit::ServerLogin)).then_some(Reach { connect, login })
    }

    async fn lend_now(&mut self, places: &[Place], fit: Fit) -> Result<SmallVec<[ServerCheckout; 1]>, Unlent> {
        if self.database.traffic().has_paused_shards() {
            let shards: Vec<ShardId> = places.iter().map(|place| self.pools.at(*place).connector.shard).collect();
            self.wait_for_shards(shards.into_iter()).await.map_err(Unlent::Failure)?;
        }
        let (user, shared) = (std::sync::Arc::clone(&self.pools), std::sync::Arc::clone(&self.shared));
        let placeholders = match fit {
            Fit::Session => Some(self.placeholders()),
            Fit::Any => None,
        };
        let limit = self.times.get(Limit::QueryWait).unwrap_or(Duration::MAX);
        // A turn is a session's whole life there, which says nothing of the next one's.
        let useful = if self.session_mode { Duration::MAX } else { limit.min(self.time_left()) };
        let patience = Patience { wait: limit, useful, reach: self.own_reach() };
        // Pushed: nearly always it is none and one.
        let (mut holds, mut pools) = (SmallVec::<[Place; 4]>::new(), SmallVec::<[_; 4]>::new());
        self.held.iter().for_each(|held| holds.push(held.server.place()));
        places.iter().for_each(|place| pools.push(user.at(*place)));
        // Who holds nothing is in nobody's way.
        let _wanting =
            (!holds.is_empty()).then(|| self.slot.want(pools.iter().map(|pool| std::sync::Arc::clone(pool))));
        let lending = async {
            let (mut right, mut left) = (None, patience);
            // Whoever holds something goes on: others may wait for it.
            if pools.len() > 1 && holds.is_empty() {
                let since = Instant::now();
                right = shared.fanout.enter(pools.len(), limit).await.map_err(|fault| Unlent::Failure(fault.into()))?;
                left = patience.less(since.elapsed());
            }
            let lent = pool::checkout(&pools, &holds, placeholders.as_ref(), left).await;
            let mut lent = lent.map_err(|pool::Unlent { place, fault }| match place {
                Some(place) => Unlent::Connect(place, fault),
                None => {
                    if fault.message == pool::WAITED_TOO_LONG {
                        shared.metrics.overdue(Overdue::QueryWait);
                    }
                    Unlent::Failure(fault.into())
                }
            })?;
            if let (Some(right), Some(first)) = (right, lent.first_mut()) {
                first.keep(right);
            }
            Ok(lent)
        };
        self.attend(lending).await
    }

    /// What a server that the session holds says to a question of the router's own, for which it may have to wait there.
    ///
    /// # Errors
    /// The client is gone, and the server is in the middle of it; or what the server says.
    pub(super) async fn ask_held(&mut self, at: usize, sql: &str) -> Result<Vec<Vec<Option<String>>>, Failure> {
        Ok(watched(&mut self.client, self.held[at].server.query(sql)).await??)
    }

    /// Waits for something that ends when the client leaves or cancels.
    pub(super) async fn attend<T>(&mut self, wait: impl Future<Output = Result<T, Unlent>>) -> Result<T, Unlent> {
        let Self { client, slot, tally, shared, clock, .. } = self;
        let mut wait = std::pin::pin!(wait);
        let (mut waiting, mut since) = (None, None);
        let done = poll_fn(|cx| {
            if let Poll::Ready(done) = wait.as_mut().poll(cx) {
                return Poll::Ready(done);
            }
            waiting.get_or_insert_with(|| {
                let now = *since.insert(Instant::now());
                slot.wait_for_servers(shared.cancels.moment(now))
            });
            if client.control.poll_cancel(cx).is_ready() {
                return Poll::Ready(Err(Unlent::Failure(slot.canceled().into())));
            }
            poll_client(client, cx).map(|_| Err(Unlent::Failure(Stop::Gone.into())))
        })
        .await;
        if let Some(since) = since {
            let waited = since.elapsed();
            tally.add_time(Count::WaitTime, waited);
            shared.metrics.wait_seconds.observe(waited.as_secs_f64());
            clock.waited += waited;
            clock.note_part("wait", Some(since), Vec::new());
        }
        done
    }

    /// Lets go of a connection on which a statement cannot run. Where its server is the primary no more, it is closed, and what the
    /// session had there is lost.
    ///
    /// # Errors
    /// `40000` where its transaction has a part there, `57P01`, with which the session ends, where the connection had something of it.
    pub(super) fn give_up(&mut self, at: usize) -> Result<(), Failure> {
        let held = &mut self.held[at];
        held.server.broken |= !held.is_of_its_stint();
        let (shard, joined, pinned) = (held.shard, held.joined, held.pin.is_some());
        self.let_go(at);
        let name = self.shard_names(&[shard]);
        if joined {
            return Err(lost_part(&name).into());
        }
        if pinned {
            let lost = Fault::new(SqlState::ADMIN_SHUTDOWN, "terminating connection because of a failover")
                .detail(format!("Shard {name} has another primary now, and the session had a state of its own there."))
                .blame(Blame::Server);
            return Err(Stop::Fatal(lost.fatal()).into());
        }
        Ok(())
    }
}

/// What is told of a shard for whose primary nobody waits any longer.
fn without_primary(servers: &ShardServers, cause: Fault) -> Fault {
    if servers.primary().is_none() {
        return servers.no_primary();
    }
    Fault::new(SqlState::CANNOT_CONNECT_NOW, format!("shard \"{}\" has no primary that answers", servers.shard))
        .detail(cause.to_string())
        .hint("Retry shortly: it may be restarting, or a replica may be about to be promoted.")
        .blame(Blame::Server)
}

//! A statement, or a transaction, begins: under the map of now and the configuration of now, or it waits while work is held back.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use crate::backend::cluster::Database;
use crate::config::limits::Limit;
use crate::exec::replies::poll_client;
use crate::fault::{Blame, Fault, SqlState};
use crate::ids::ShardId;
use crate::metrics::Overdue;
use crate::session::deadlines::of_statement;
use crate::session::held::Unlent;
use crate::session::lend::Fit;
use crate::session::own_catalog::is_own;
use crate::session::{Failure, Session, Stop};
use crate::topology::Moved;

impl Session {
    /// Whether a transaction has begun on a server: what it works under stays.
    pub(super) fn has_begun(&self) -> bool {
        self.tx.is_open() && !self.tx.is_untouched()
    }

    /// Takes the view of now, and goes over to the configuration of now. In a transaction that has begun everything stays as it is.
    pub(super) async fn begin_view(&mut self) -> Result<(), Failure> {
        if self.has_begun() {
            return Ok(());
        }
        self.follow_new_limits();
        loop {
            if self.database.is_over() {
                self.succeed()?;
                self.learn_defaults().await?;
            } else if self.pools.is_over()
                && self.held.is_empty()
                && let Some(pools) = self.database.pools(&self.user)
            {
                // The home shard has told of another password, and an open session goes on, as in Postgres.
                self.pools = pools;
                self.learn_defaults().await?;
            }
            self.retake_view();
            if self.database.traffic().is_held() {
                self.seat.rest();
                self.wait_for_release().await?;
            // Behind the look at the holds: a successor that work was held back for is there when it is released.
            } else if !self.database.is_over() {
                return Ok(());
            }
        }
    }

    /// The same under the same configuration: nothing of what was planned before is used any more.
    pub(super) fn retake_view(&mut self) {
        if self.has_begun() {
            return;
        }
        loop {
            self.refresh_view();
            self.seat.work(self.view.turn);
            // Who has swapped in another one since either is seen here, or sees the seat.
            if Arc::ptr_eq(&self.view, &self.database.cluster.load()) {
                return;
            }
        }
    }

    /// Work is held back: for a moment, or for as long as an operator wants.
    async fn wait_for_release(&mut self) -> Result<(), Failure> {
        let traffic = Arc::clone(self.database.traffic());
        self.wait_out(traffic.released(), "the database").await
    }

    /// A statement is about to use these shards: it waits while one of them is paused for it.
    pub(super) async fn wait_for_shards(&mut self, shards: impl Iterator<Item = ShardId>) -> Result<(), Failure> {
        if !self.database.traffic().has_paused_shards() {
            return Ok(());
        }
        let traffic = Arc::clone(self.database.traffic());
        let (turn, configured) = (self.seat.turn(), Arc::clone(&self.database.configured));
        let names = shards.filter_map(|shard| configured.shards.get(shard.index()));
        let paused = |name: &Arc<str>| traffic.is_shard_paused(name, turn);
        let names: Vec<Arc<str>> = names.map(|shard| Arc::clone(&shard.name)).filter(paused).collect();
        let Some(first) = names.first() else { return Ok(()) };
        let what = format!("shard {first}");
        self.wait_out(traffic.shards_released(&names, turn), &what).await
    }

    /// Waits for the end of what an operator has paused, as for a server connection.
    async fn wait_out(&mut self, end: impl Future<Output = ()>, what: &str) -> Result<(), Failure> {
        let slot = Arc::clone(&self.slot);
        let _waiting = slot.wait();
        let limit = self.times.get(Limit::QueryWait).unwrap_or(Duration::MAX);
        self.wait_at_most(limit, end, || paused(what, limit)).await
    }

    /// Waits until an operator lets all work go on, for no longer than a statement may take that came at this moment.
    pub(super) async fn wait_for_work(&mut self, end: impl Future<Output = ()>, came: Instant) -> Result<(), Failure> {
        let slot = Arc::clone(&self.slot);
        let _waiting = slot.wait();
        // One that has begun has its end already, which is looked after.
        let time = self.times.get(Limit::Query).filter(|_| slot.statement() == 0);
        let limit = time.map_or(Duration::MAX, |time| time.saturating_sub(came.elapsed()));
        let metrics = Arc::clone(&self.shared.metrics);
        self.wait_at_most(limit, end, || {
            metrics.overdue(Overdue::Statement);
            of_statement()
        })
        .await
    }

    /// The same with another error, within a wait of the slot's that the caller has begun.
    pub(super) async fn wait_at_most(
        &mut self,
        limit: Duration,
        end: impl Future<Output = ()>,
        over: impl Fn() -> Fault,
    ) -> Result<(), Failure> {
        let (slot, has_begun) = (Arc::clone(&self.slot), self.has_begun());
        let client = &mut self.client;
        let mut released = std::pin::pin!(tokio::time::timeout(limit, end));
        poll_fn(|cx| {
            if let Poll::Ready(released) = released.as_mut().poll(cx) {
                return Poll::Ready(released.map_err(|_| over().into()));
            }
            let ends = if has_begun { client.control.poll_kill(cx) } else { client.control.poll_end(cx) };
            if ends.is_ready() {
                return Poll::Ready(Err(Stop::Fatal(ended()).into()));
            }
            if client.control.poll_cancel(cx).is_ready() {
                return Poll::Ready(Err(slot.canceled().into()));
            }
            poll_client(client, cx).map(|_| Err(Stop::Gone.into()))
        })
        .await
    }

    /// A transaction that waited for what the new configuration places elsewhere, and had not touched it, goes on under that one.
    /// False: something else is another there, too.
    pub(super) fn follow_configuration(&mut self) -> Result<bool, Failure> {
        let Some(next) = self.database.newest() else { return Ok(false) };
        let now = next.cluster.load_full();
        let opened = match now.topology.moved_since(&self.view.topology) {
            Moved::Tables(tables) => tables.iter().all(|table| self.view.topology.closed.contains_key(table)),
            Moved::Everything => false,
        };
        let same_login = next.member(&self.user).is_some_and(|member| *member.credentials.user == *self.server_user);
        if !opened || !same_login || is_own(&self.view.catalog) || self.lost_shard(&next).is_some() {
            return Ok(false);
        }
        self.succeed()?;
        self.view = now;
        Ok(true)
    }

    /// What holds for all databases can be another while each of them stays as it is.
    fn follow_new_limits(&mut self) {
        let limits = self.shared.limits.load();
        if !Arc::ptr_eq(&limits, &self.limits) {
            self.limits = Arc::clone(&limits);
            drop(limits);
            self.follow_limits();
        }
    }

    /// Goes over to the configuration that has taken the place of the session's own.
    fn succeed(&mut self) -> Result<(), Failure> {
        let next = self.database.newest().ok_or_else(|| Stop::Fatal(ended()))?;
        let pools = next.pools(&self.user).ok_or_else(|| Stop::Fatal(ended()))?;
        if let Some(shard) = self.lost_shard(&next) {
            let fault = ended().detail(format!(
                "The session keeps state on a server of shard {shard}, which is not there any more by the configuration."
            ));
            return Err(Stop::Fatal(fault).into());
        }
        self.session_mode = next.keeps_connections(&self.user);
        let server_user = pools.credentials().user.as_str();
        let renamed = *self.server_user != *server_user;
        if renamed {
            self.server_user = server_user.into();
        }
        self.database = next;
        self.pools = pools;
        self.limits = self.shared.limits.load_full();
        self.own_times = self.database.times_of(&self.user);
        self.takes_hints = self.database.takes_hints(&self.user);
        self.follow_limits();
        if renamed {
            self.adopt(Arc::clone(&self.settings));
        }
        Ok(())
    }

    /// Where another shard has become the home shard, what logins begin with is asked of it before anything is planned by that. One that
    /// does not answer keeps nobody from the others.
    async fn learn_defaults(&mut self) -> Result<(), Failure> {
        if self.pools.defaults.get().is_some() || !self.held.is_empty() {
            return Ok(());
        }
        let place = self.pools.pool(self.database.configured.home).place();
        match self.lend(&[place], Fit::Any).await {
            Err(Unlent::Failure(failure @ Failure::Stop(_))) => Err(failure),
            Ok(_) | Err(Unlent::Failure(Failure::Fault(_) | Failure::Reported) | Unlent::Connect(..)) => Ok(()),
        }
    }

    /// A shard on which the session keeps a connection, and of which the servers are others by the next configuration.
    fn lost_shard(&self, next: &Database) -> Option<Arc<str>> {
        let (old, new) = (&self.database.configured, &next.configured);
        let is_same = |shard: ShardId| {
            let known = new.shards.get(shard.index());
            known.is_some_and(|known| known == old.shard(shard))
        };
        let home = old.home;
        self.held.iter().filter(|held| held.beside.is_none()).find_map(|held| {
            let shard = if held.shard.is_combine() { home } else { held.shard };
            let kept = is_same(shard) && (!held.shard.is_combine() || new.home == home);
            (!kept).then(|| Arc::clone(&old.shard(shard).name))
        })
    }
}

fn ended() -> Fault {
    Fault::new(SqlState::ADMIN_SHUTDOWN, "terminating connection due to administrator command").fatal()
}

fn paused(what: &str, limit: std::time::Duration) -> Fault {
    Fault::new(SqlState::TOO_MANY_CONNECTIONS, "query_wait_timeout")
        .detail(format!("{what} was paused for {limit:?}"))
        .blame(Blame::Router)
}

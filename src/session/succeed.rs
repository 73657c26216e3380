//! A statement, or a transaction, begins: under the map of now and the configuration of now, or it waits while work is held back.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use crate::backend::cluster::Database;
use crate::config::limits::Limit;
use crate::exec::replies::poll_client;
use crate::fault::{Blame, Fault, SqlState};
use crate::session::{Failure, Session, Stop};

impl Session {
    /// Takes the view of now, and goes over to the configuration of now. Within a transaction everything stays as it is, once it has been
    /// on a shard.
    pub(super) async fn begin_view(&mut self) -> Result<(), Failure> {
        if self.tx.is_open() {
            self.retake_view();
            return Ok(());
        }
        loop {
            if self.database.is_over() {
                self.succeed()?;
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
        if self.tx.is_open() && !self.tx.is_untouched() {
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
        let slot = Arc::clone(&self.slot);
        let _waiting = slot.wait();
        let traffic = Arc::clone(self.database.traffic());
        let limit = self.times.get(Limit::QueryWait).unwrap_or(Duration::MAX);
        let client = &mut self.client;
        let mut released = std::pin::pin!(tokio::time::timeout(limit, traffic.released()));
        poll_fn(|cx| {
            if let Poll::Ready(released) = released.as_mut().poll(cx) {
                return Poll::Ready(released.map_err(|_| paused(limit).into()));
            }
            if client.control.poll_end(cx).is_ready() {
                return Poll::Ready(Err(Stop::Fatal(ended()).into()));
            }
            if client.control.poll_cancel(cx).is_ready() {
                return Poll::Ready(Err(slot.canceled().into()));
            }
            poll_client(client, cx).map(|_| Err(Stop::Gone.into()))
        })
        .await
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
        self.follow_limits();
        if renamed {
            self.adopt(Arc::clone(&self.settings));
        }
        Ok(())
    }

    /// A shard on which the session keeps a connection, and of which the servers are others by the next configuration.
    fn lost_shard(&self, next: &Database) -> Option<Arc<str>> {
        let (old, new) = (&self.database.configured, &next.configured);
        let is_same = |shard: crate::ids::ShardId| {
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

fn paused(limit: std::time::Duration) -> Fault {
    Fault::new(SqlState::TOO_MANY_CONNECTIONS, "query_wait_timeout")
        .detail(format!("the database was paused for {limit:?}"))
        .blame(Blame::Router)
}

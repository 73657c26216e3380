//! `Rules`: how server connections are fenced off from the rules of tables that they were made under.
//!
//! Each connection that runs clients' statements on a shard holds a shared advisory lock, its mark: `(KEY, fence)`, where the fence is the
//! one that the router knew when the connection was made. Who changes where a table's rows are raises the fence of every shard
//! first, and goes on when no connection with an older mark is left (`control::rules`). A connection looks at the shard's fence behind
//! its mark: so either its mark is seen by whoever has raised the fence, or it sees the fence.
//!
//! A transaction that is under way when a fence is raised goes on to its end under the rules that it began with, also on further
//! connections: see [`Rules::mark_older`].

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, watch};

use crate::backend::Backend;
use crate::fault::{Blame, Fault, SqlState};
use crate::ids::Epoch;
use crate::wire::reply::Status;

/// Whether there are fences at all. Asked in words that need no rights, and of a catalog that is always there.
const HAS_FENCE: &str = "SELECT pg_catalog.current_setting('transaction_isolation'), pg_catalog.count(*) \
     FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
     WHERE n.nspname = 'pgloom' AND c.relname = 'fence'";

/// Where there is one.
const FENCE: &str = "SELECT f.fence FROM pgloom.fence f";

/// The first half of the locks' names.
pub const KEY: u32 = 1_885_826_931;

/// How long a session waits for the router to learn of rules that it has met.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// What the connections of one logical database have in common.
#[derive(Debug, Default)]
pub struct Rules {
    /// What is known of the fence: asked for with each statement.
    known: AtomicU64,
    fence: watch::Sender<Epoch>,
    stale: Notify,
}

impl Rules {
    /// The fence that this router knows: its rules are at least of this epoch.
    pub fn fence(&self) -> Epoch {
        Epoch(self.known.load(Ordering::Acquire))
    }

    /// The router has the rules of this epoch now. A fence is never lowered.
    pub fn raise(&self, fence: Epoch) {
        self.known.fetch_max(fence.0, Ordering::AcqRel);
        self.fence.send_if_modified(|known| {
            let higher = fence > *known;
            *known = fence.max(*known);
            higher
        });
    }

    /// Tells when the fence is raised.
    pub fn changes(&self) -> watch::Receiver<Epoch> {
        self.fence.subscribe()
    }

    /// Somebody has met rules that the router does not know.
    pub fn note_stale(&self) {
        self.stale.notify_one();
    }

    /// Ends when somebody has.
    pub async fn stale(&self) {
        self.stale.notified().await;
    }

    /// Whether a connection with this mark may be lent.
    pub fn is_current(&self, server: &Backend) -> bool {
        server.mark == Some(self.fence())
    }

    /// Puts the mark of now on a connection that is in no transaction, and takes off the one from before. `patience`: how long to wait for
    /// the router to learn of rules that the server knows.
    ///
    /// # Errors
    /// The loss of the connection, or its server's refusal.
    pub async fn mark(&self, server: &mut Backend, patience: Duration) -> Result<(), Fault> {
        loop {
            let mark = self.fence();
            server.ask(&lock(mark));
            let seen = self.seen(server).await?;
            let before = server.mark.replace(mark);
            if let Some(before) = before.filter(|before| *before != mark) {
                server.query(&format!("SELECT pg_catalog.pg_advisory_unlock_shared({KEY}, {})", before.0)).await?;
            }
            server.is_marked = true;
            let seen = seen.ok_or_else(|| self.unseen(server))?;
            if seen <= mark {
                return Ok(());
            }
            self.follow(seen, patience).await?;
        }
    }

    /// The same mark once more, behind code that may have taken it off. False: whether rows have moved meanwhile is not known.
    ///
    /// # Errors
    /// As [`Self::mark`].
    pub async fn mark_again(&self, server: &mut Backend) -> Result<bool, Fault> {
        if server.status == Status::Idle {
            return self.mark(server, PATIENCE).await.map(|()| true);
        }
        let Some(mark) = server.mark else { return Ok(true) };
        server.ask(&lock(mark));
        let seen = self.seen(server).await?;
        server.is_marked = true;
        Ok(seen.is_some_and(|seen| seen <= mark))
    }

    /// Puts the mark of an earlier fence on a connection that is in no transaction, and takes off its own: for a transaction that began
    /// under the rules of before. It counts only if no rows have begun to move since then, which is to be asked *behind* it
    /// (`control::rules::moved`): whoever moves rows says so first, and looks for marks once more after that.
    ///
    /// # Errors
    /// The loss of the connection, or its server's refusal.
    pub async fn mark_older(&self, server: &mut Backend, mark: Epoch) -> Result<(), Fault> {
        server.query(&lock(mark)).await?;
        let later = server.mark.replace(mark);
        server.is_marked = true;
        if let Some(later) = later.filter(|later| *later != mark) {
            server.query(&format!("SELECT pg_catalog.pg_advisory_unlock_shared({KEY}, {})", later.0)).await?;
        }
        Ok(())
    }

    /// The fence of a server's shard.
    ///
    /// # Errors
    /// The server's refusal, or the loss of the connection.
    pub async fn fence_of(&self, server: &mut Backend) -> Result<Epoch, Fault> {
        self.seen(server).await?.ok_or_else(|| self.unseen(server))
    }

    /// The same; `None`: its transaction sees an earlier moment.
    async fn seen(&self, server: &mut Backend) -> Result<Option<Epoch>, Fault> {
        let rows = server.query(HAS_FENCE).await?;
        let mut row = rows.into_iter().flatten();
        let (isolation, tables) = (row.next().flatten(), row.next().flatten());
        if server.status != Status::Idle && isolation.as_deref() != Some("read committed") {
            return Ok(None);
        }
        if tables.as_deref() == Some("0") {
            return Ok(Some(Epoch(0)));
        }
        let rows = server.query(FENCE).await?;
        // Nobody has raised it yet.
        let fence = rows.first().and_then(|row| row.first()?.as_deref()?.parse().ok());
        Ok(Some(Epoch(fence.unwrap_or(0))))
    }

    /// Waits until the router has rules of this epoch.
    async fn follow(&self, fence: Epoch, patience: Duration) -> Result<(), Fault> {
        self.note_stale();
        let mut known = self.fence.subscribe();
        match tokio::time::timeout(patience, known.wait_for(|known| *known >= fence)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Fault::new(
                SqlState::CANNOT_CONNECT_NOW,
                "the placement of tables has changed, and is not known here yet",
            )
            .detail("The home shard, which has the rules, could not be read.")
            .hint("Retry shortly.")
            .blame(Blame::Router)),
        }
    }

    fn unseen(&self, server: &mut Backend) -> Fault {
        server.lost("a connection was to be marked in the middle of a transaction")
    }
}

/// The statement, or its transaction, was planned under rules that hold no more.
pub fn changed() -> Fault {
    Fault::new(SqlState::SERIALIZATION_FAILURE, "the placement of tables has changed since the transaction began")
        .hint("Run the transaction again.")
        .blame(Blame::Router)
}

fn lock(mark: Epoch) -> String {
    format!("SELECT pg_catalog.pg_advisory_lock_shared({KEY}, {})", mark.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fence_is_never_lowered() {
        let rules = Rules::default();
        rules.raise(Epoch(4));
        rules.raise(Epoch(2));
        assert_eq!(rules.fence(), Epoch(4));
    }
}

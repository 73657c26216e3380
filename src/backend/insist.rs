//! What a connection must be brought to, whoever cancels: a late cancel, or a time limit that is about to be lifted, meets what the router asks
//! on its own account. In one Postgres it would meet nothing, and what the session has there (temporary tables) is not to go with it.

use crate::backend::Backend;
use crate::fault::{Fault, SqlState};
use crate::wire::reply::Status;

/// How often it is tried where it is cancelled.
const ATTEMPTS: usize = 5;

/// Whether the statement was cancelled, and the connection is well.
pub fn was_cancelled<T>(server: &Backend, done: &Result<T, Fault>) -> bool {
    matches!(done, Err(fault) if fault.code == SqlState::QUERY_CANCELED)
        && !server.broken
        && !server.cancel.is_abandoned()
}

impl Backend {
    /// ROLLBACK, until the server has done it.
    ///
    /// # Errors
    /// As [`Self::query`].
    pub async fn roll_back(&mut self) -> Result<(), Fault> {
        self.insist("ROLLBACK").await
    }

    /// A statement that may be run twice, outside of a transaction.
    ///
    /// # Errors
    /// As [`Self::query`].
    pub async fn insist(&mut self, sql: &str) -> Result<(), Fault> {
        let mut done = self.query(sql).await;
        for _ in 1..ATTEMPTS {
            if !was_cancelled(self, &done) {
                break;
            }
            if self.status != Status::Idle {
                // Of one that has opened a transaction itself.
                done = self.query("ROLLBACK").await;
            }
            if self.status == Status::Idle && !self.broken {
                done = self.query(sql).await;
            }
        }
        done.map(drop)
    }
}

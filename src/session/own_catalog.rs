//! The catalog as the open transaction sees it: what its own DDL has made is there for its later statements.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::backend::cluster::Cluster;
use crate::control::catalog;
use crate::fault::Fault;
use crate::session::batch::Reload;
use crate::session::{Failure, Session};
use crate::sql::Analysis;
use crate::sql::utility::StatementKind;

/// Generations of catalogs that one transaction alone sees: beyond all others, and none is used twice.
static GENERATION: AtomicU64 = AtomicU64::new(1 << 63);

/// Names mean what `pg_catalog` says while the catalog is read, and what the client says afterwards.
const BEFORE: &str = "SAVEPOINT pgloom_catalog; SET LOCAL search_path TO ''";
const AFTER: &str = "ROLLBACK TO SAVEPOINT pgloom_catalog; RELEASE SAVEPOINT pgloom_catalog";

impl Session {
    /// A statement runs that may change the catalog.
    pub(super) fn note_change(&mut self, kind: &StatementKind) {
        let change = Reload::after(kind);
        self.batch.reload |= change;
        self.batch.unread |= change == Reload::Surely;
    }

    /// Before a statement is analyzed: what DDL of its own transaction has changed is looked at.
    pub(super) async fn see_own_changes(&mut self) -> Result<(), Failure> {
        if !self.batch.unread || !self.tx.is_open() || self.tx.has_failed() {
            return Ok(());
        }
        self.rest_open().await?;
        self.read_own_catalog().await
    }

    async fn read_own_catalog(&mut self) -> Result<(), Failure> {
        self.batch.unread = false;
        let at = self.enlist(self.view.topology.home).await?;
        let safe = &self.database.safe_functions;
        let server = &mut self.held[at].server;
        server.query(BEFORE).await?;
        let mut catalog = catalog::read_from(server, safe).await?;
        server.query(AFTER).await?;
        catalog.generation = GENERATION.fetch_add(1, Ordering::Relaxed);
        self.view = Arc::new(Cluster {
            topology: Arc::clone(&self.view.topology),
            catalog: Arc::new(catalog),
            catalog_known: true,
        });
        Ok(())
    }

    /// The analysis of a statement that writes a distributed table; one that the catalog does not know is looked for once more, because
    /// another router may have made it.
    pub(super) async fn seen(&mut self, text: &str, analysis: Arc<Analysis>) -> Result<Arc<Analysis>, Failure> {
        if !analysis.unseen || self.tx.has_failed() {
            return Ok(analysis);
        }
        if self.tx.is_open() {
            self.rest_open().await?;
            self.read_own_catalog().await?;
        } else {
            catalog::reload(&self.database, false).await.map_err(unreadable)?;
            self.refresh_view();
        }
        self.scan_one(text)?;
        Ok(self.analysis(text))
    }
}

fn unreadable(fault: Fault) -> Fault {
    fault.hint("The table is not known to the router, which looks for it on the home shard.")
}

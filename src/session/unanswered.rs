//! What the messages of a pipeline have changed of the client's names while the answer to one before them was still to come: if that is an
//! error, Postgres has skipped them, and what they have changed is undone.

use std::sync::Arc;

use crate::backend::inflight::Owed;
use crate::ids::ShardId;
use crate::session::prepared::{ClientStatement, Place, Portal};
use crate::session::{Failure, Session};

/// A change, by what was there before it.
pub(super) enum Undo {
    Statement(Box<[u8]>, Option<Arc<ClientStatement>>),
    Portal(Box<[u8]>, Box<Portal>),
}

impl std::fmt::Debug for Undo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (kind, name) = match self {
            Self::Statement(name, _) => ("statement", name),
            Self::Portal(name, _) => ("portal", name),
        };
        write!(f, "{kind} {:?}", String::from_utf8_lossy(name))
    }
}

impl Session {
    /// The statement of this name is about to become another one, or none.
    pub(super) fn before_statement_changes(&mut self, name: &[u8]) {
        if self.awaits_answers() {
            let before = self.statements.get(name).ok().map(Arc::clone);
            self.note_change(Undo::Statement(name.into(), before));
        }
    }

    /// Takes a portal away; the shard whose connection has it.
    pub(super) async fn take_portal(&mut self, name: &[u8]) -> Result<Option<ShardId>, Failure> {
        let Some(portal) = self.statements.find_portal(name) else { return Ok(None) };
        let shard = match &portal.place {
            Place::Server(shard) => Some(*shard),
            Place::Local(_)
            | Place::Execute
            | Place::Router { .. }
            | Place::OfPortal(_)
            | Place::Finished
            | Place::Failed => None,
            // What has been closed is not given back: it is closed when nothing before it can fail any more.
            Place::Running(_) | Place::Finishing(_) => {
                self.drain_open().await?;
                if let Some(portal) = self.statements.remove_portal(name) {
                    self.close_place(portal.place).await;
                }
                return Ok(None);
            }
        };
        let portal = self.statements.remove_portal(name);
        // Outside of a block no portal outlives an error.
        if let Some(portal) = portal.filter(|_| self.tx.is_open() && self.awaits_answers()) {
            self.note_change(Undo::Portal(name.into(), Box::new(portal)));
        }
        Ok(shard)
    }

    /// Whether messages of this batch are with a server that has not said how they end.
    fn awaits_answers(&self) -> bool {
        self.open_at().is_some_and(|at| !self.held[at].server.inflight.is_empty())
    }

    fn note_change(&mut self, change: Undo) {
        if let Some(at) = self.open_at() {
            self.held[at].server.inflight.push(Owed::Change);
            self.batch.changes.push(change);
        }
    }

    /// What stands before some changes has been answered: they last.
    pub(super) fn settle_changes(&mut self, at: usize) {
        let made = self.held[at].server.inflight.take_changes();
        self.batch.changes.drain(..made.min(self.batch.changes.len()));
    }

    /// What stands before them has failed.
    pub(super) fn undo_changes(&mut self) {
        if self.batch.changes.is_empty() {
            return;
        }
        for change in std::mem::take(&mut self.batch.changes).into_iter().rev() {
            match change {
                Undo::Statement(name, Some(before)) => self.statements.replace(&name, before),
                Undo::Statement(name, None) => drop(self.statements.remove(&name)),
                Undo::Portal(name, portal) => self.statements.restore_portal(&name, *portal),
            }
        }
    }
}

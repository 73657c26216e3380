//! Cursors WITH HOLD over several shards: at the end of its transaction Postgres puts the cursor's rows aside on the combine connection,
//! which stays with the client until the cursor is closed.

use crate::fault::Fault;
use crate::ids::ShardId;
use crate::session::control::cursor_of;
use crate::session::held::Finishing;
use crate::session::{Failure, Session};
use crate::sql::positioned::{of_another_shard, of_many_shards};
use crate::sql::utility::StatementKind;

impl Session {
    /// Before the shards commit: what a cursor's query still fails with fails the COMMIT. Returns the connections that have such
    /// cursors now.
    pub(super) async fn keep_held_cursors(&mut self) -> Result<Vec<ShardId>, Failure> {
        let holds = |finishing| matches!(finishing, Finishing::Cursor { hold: true, .. });
        let slots: Vec<ShardId> =
            self.held.iter().filter(|held| holds(held.finishing)).map(|held| held.shard).collect();
        for slot in &slots {
            if let Err(failure) = self.keep_cursor(*slot).await {
                self.end_all_finishes(&slots).await;
                return Err(failure);
            }
        }
        Ok(slots)
    }

    /// Commits the finishing transaction, by which Postgres puts the rows aside, and empties its inputs, whose rows are there for
    /// others now.
    pub(super) async fn keep_cursor(&mut self, slot: ShardId) -> Result<(), Failure> {
        let at = self.held_at(slot)?;
        let server = &mut self.held[at].server;
        let committing = async {
            // Whatever becomes of the COMMIT: its rows may be there, and what was set in the transaction for the session.
            server.inputs.spoil();
            server.applied = None;
            server.command("COMMIT").await?;
            let cleaned = match server.inputs.clean() {
                Some(sql) => server.insist(&sql).await,
                None => Ok(()),
            };
            // It has the cursor, and the rows.
            server.broken |= cleaned.is_err();
            cleaned
        };
        committing.await.map_err(Fault::without_position)?;
        self.held[at].finishing = Finishing::Held;
        Ok(())
    }

    pub(super) async fn end_all_finishes(&mut self, slots: &[ShardId]) {
        for slot in slots {
            self.end_finish(*slot).await;
        }
    }

    /// CLOSE ALL: every cursor and portal, wherever it is.
    pub(super) async fn close_all_cursors(&mut self) -> Result<(), Failure> {
        self.park_runs().await?;
        for held in self.held.iter_mut().filter(|held| held.finishing == Finishing::No) {
            held.server.query("CLOSE ALL").await?;
        }
        self.close_all_runs(true).await;
        self.statements.clear_portals();
        let kept: Vec<ShardId> =
            self.held.iter().filter(|held| held.finishing == Finishing::Held).map(|held| held.shard).collect();
        self.end_all_finishes(&kept).await;
        self.cursors.clear();
        Ok(())
    }

    /// Where a statement runs that names a cursor; `shard` for others. Where no DECLARE has told it, a function may have opened the
    /// cursor on any shard that takes part in the transaction.
    pub(super) async fn at_cursor(&mut self, kind: &StatementKind, shard: ShardId) -> Result<ShardId, Failure> {
        let Some(name) = cursor_of(kind) else { return Ok(shard) };
        if let Some(of_portal) = self.shard_of_portal(name) {
            return match kind {
                StatementKind::Positioned(cursor) if shard != self.view.topology.home && of_portal != shard => {
                    Err(of_another_shard(cursor).into())
                }
                _ => Ok(of_portal),
            };
        }
        if let StatementKind::Positioned(cursor) = kind
            && self.statements.find_portal(cursor.as_bytes()).is_some()
        {
            return Err(of_many_shards(cursor).into());
        }
        if !self.cursors.contains_key(name) {
            self.find_cursor(name).await?;
        }
        let of_cursor = self.cursors.get(name).copied().unwrap_or(shard);
        let home = self.view.topology.home;
        match kind {
            StatementKind::Positioned(cursor) if of_cursor.is_combine() => Err(of_many_shards(cursor).into()),
            // A table of a placed schema; what every shard has, or the home shard alone, is planned for the home shard.
            StatementKind::Positioned(cursor) if shard != home && of_cursor != shard => {
                Err(of_another_shard(cursor).into())
            }
            _ => Ok(of_cursor),
        }
    }

    async fn find_cursor(&mut self, name: &str) -> Result<(), Failure> {
        let home = self.view.topology.home;
        if !self.held.iter().any(|held| held.finishing == Finishing::No && held.shard != home) {
            return Ok(());
        }
        let shards: Vec<ShardId> =
            self.held.iter().filter(|held| held.finishing == Finishing::No).map(|held| held.shard).collect();
        for shard in shards {
            if self.has_cursor(shard, name).await? {
                self.cursors.insert(name.into(), shard);
                return Ok(());
            }
        }
        Ok(())
    }
}

//! Portals over several shards that live longer than one Execute.

use crate::exec::scatter::{Answer, RunEnd, ScatterRun as Merged};
use crate::ids::ShardId;
use crate::plan::combine::{Combine, Fold, Step};
use crate::plan::{Access, ShardSql, Window};
use crate::session::prepared::{ClientStatement, Place};
use crate::session::run::Ask;
use crate::session::{Failure, Session};
use crate::wire::reply;

/// A merge in progress and the shards it reads from.
pub struct ScatterRun {
    merged: Merged,
    shards: Vec<ShardId>,
    /// A transaction was opened for this statement alone.
    opened: bool,
}

impl Session {
    pub(super) async fn start_run(
        &mut self,
        parts: &[(ShardId, ShardSql)],
        combine: &Combine,
        window: Option<Window>,
        access: Access,
        ask: &Ask<'_>,
    ) -> Result<ScatterRun, Failure> {
        let (merged, shards, opened) = self.start_parts(parts, combine, window, access, Answer::Merged, ask).await?;
        Ok(ScatterRun { merged, shards, opened })
    }

    /// The next rows of a portal that runs over several shards.
    pub(super) async fn resume(
        &mut self,
        name: &[u8],
        mut run: Box<ScatterRun>,
        max: Option<u64>,
    ) -> Result<(), Failure> {
        let result = {
            let mut servers = self.held.servers(&run.shards);
            run.merged.run(&mut servers, &mut self.client, max).await
        };
        match result {
            Ok(RunEnd::Complete(tag)) => {
                self.end_parts(run.opened).await?;
                reply::command_complete(&mut self.client.out, &tag)?;
                if let Ok(portal) = self.statements.portal(name) {
                    portal.place = Place::Finished { tag: tag.into() };
                }
                Ok(())
            }
            Ok(RunEnd::Suspended) => {
                self.client.out.extend_from_slice(reply::PORTAL_SUSPENDED);
                if let Ok(portal) = self.statements.portal(name) {
                    portal.place = Place::Running(run);
                }
                Ok(())
            }
            Err(error) => Err(self.scatter_failure(error, run.opened).await),
        }
    }

    /// Another statement needs these connections: suspended merges are read to their end first, into bounded memory.
    pub(super) async fn park_runs(&mut self) -> Result<(), Failure> {
        let mut failed = None;
        for run in self.statements.running() {
            if run.merged.is_finished() {
                continue;
            }
            let mut servers = self.held.servers(&run.shards);
            if let Err(error) = run.merged.park(&mut servers, &mut self.client).await {
                failed = Some(error);
                break;
            }
        }
        match failed {
            Some(error) => Err(self.scatter_failure(error, false).await),
            None => Ok(()),
        }
    }

    pub(super) async fn close_run(&mut self, mut run: ScatterRun) {
        let mut servers = self.held.servers(&run.shards);
        run.merged.close(&mut servers).await;
    }

    pub(super) async fn close_all_runs(&mut self) {
        for run in self.statements.running() {
            let mut servers = self.held.servers(&run.shards);
            run.merged.close(&mut servers).await;
        }
    }

    /// Columns that the shards return beyond those of the client's own statement.
    pub(super) fn columns_added(&self, _statement: &ClientStatement, combine: &Combine, sql: &ShardSql) -> usize {
        if matches!(sql, ShardSql::AsWritten) {
            return 0;
        }
        let mut added = combine.hidden;
        for step in &combine.steps {
            if let Step::Aggregate { outputs, .. } = step {
                added += outputs.iter().filter(|o| matches!(o.fold, Fold::Avg { .. })).count();
            }
        }
        added
    }
}

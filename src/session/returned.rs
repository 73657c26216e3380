//! Statements whose WITH changes data on several shards: the shards make the changes, and a Postgres finishes the statement on the rows that
//! they return. All in one transaction, whether or not the client has one open.

use crate::backend::inflight::{Audience, Owed};
use crate::exec::forward::without_position;
use crate::exec::replies::ScatterError;
use crate::exec::scatter::{Answer, RunEnd, ScatterRun};
use crate::fault::{Fault, SqlState};
use crate::ids::ShardId;
use crate::plan::FinishPlan;
use crate::plan::combine::Combine;
use crate::session::finish::PORTAL;
use crate::session::run::Ask;
use crate::session::scatter::ScatterRun as PortalRun;
use crate::session::{Failure, Session};
use crate::wire::request;

impl Session {
    /// Runs the statement to its end; rows and command tag to the client.
    pub(super) async fn run_returned(&mut self, plan: &FinishPlan, ask: &Ask<'_>) -> Result<(), Failure> {
        let opened = !self.tx.is_open();
        if opened {
            self.tx.begin_implicit(&self.settings);
        }
        let done = self.finish_returned(plan, ask).await;
        self.end_write(done, opened).await
    }

    /// The first rows of a portal that is fetched in pieces. As in Postgres, the statement has been carried out when they come: what is not
    /// fetched yet is held, within `merge_max_bytes`.
    pub(super) async fn execute_returned(
        &mut self,
        name: &[u8],
        plan: &FinishPlan,
        ask: &Ask<'_>,
        max: u64,
    ) -> Result<(), Failure> {
        let (slot, mut run) = self.start_returned(plan, ask).await?;
        let held = {
            let mut servers = self.held.servers(&[slot]);
            run.park(&mut servers, &mut self.client).await
        };
        self.end_returned(slot, held).await?;
        self.resume(name, Box::new(PortalRun::new(run, Vec::new())), Some(max)).await
    }

    async fn finish_returned(&mut self, plan: &FinishPlan, ask: &Ask<'_>) -> Result<String, Failure> {
        let (slot, mut run) = self.start_returned(plan, ask).await?;
        let ended = {
            let mut servers = self.held.servers(&[slot]);
            run.run(&mut servers, &mut self.client, None).await
        };
        match self.end_returned(slot, ended).await? {
            RunEnd::Complete(tag) => Ok(tag),
            RunEnd::Suspended => Err(Fault::new(SqlState::INTERNAL_ERROR, "a merge has stopped early").into()),
        }
    }

    /// Everything up to the first row: by then all that is read has been read, and all changes have been made.
    async fn start_returned(&mut self, plan: &FinishPlan, ask: &Ask<'_>) -> Result<(ShardId, ScatterRun), Failure> {
        // All shards at once, so that nobody waits for one with others in his hands.
        let mut shards = self.sources(plan)?;
        shards.insert(self.view.topology.home);
        let shards: Vec<ShardId> = shards.iter().collect();
        match plan.writes_copies() {
            true => self.take_turn(&shards, Some(ask.statement().0)).await?,
            false => self.enlist_all(&shards).await?,
        }
        let (finish, original, _hold) = self.supplied(plan, ask).await?;
        let (slot, original) = self.begin_finish(&finish, ask, original).await?;
        let started = self.start_rows(slot).await;
        let run = match started {
            Ok(run) => run,
            failed => self.end_returned(slot, failed).await?,
        };
        if ask.describes() && original.rows.first() == Some(&b'T') {
            self.client.out.extend_from_slice(&original.rows);
        }
        Ok((slot, run))
    }

    async fn start_rows(&mut self, slot: ShardId) -> Result<ScatterRun, ScatterError> {
        let at = self.held_at(slot)?;
        let server = &mut self.held[at].server;
        request::describe(&mut server.out, request::Target::Portal, PORTAL)?;
        server.inflight.push(Owed::DescribePortal(Audience::Client));
        request::execute(&mut server.out, PORTAL, 0)?;
        server.inflight.push(Owed::Execute(Audience::Client));
        server.out.extend_from_slice(request::SYNC);
        server.inflight.push(Owed::Sync(Audience::Router));
        let manner = self.manner(Answer::Merged);
        let mut servers = self.held.servers(&[slot]);
        ScatterRun::start(&mut servers, &mut self.client, &Combine::CONCAT, None, manner).await
    }

    /// The combine connection is not needed any more. `done`: what came of it.
    async fn end_returned<T>(&mut self, slot: ShardId, done: Result<T, ScatterError>) -> Result<T, Failure> {
        let error = match done {
            Ok(done) => {
                self.end_finish(slot).await;
                return Ok(done);
            }
            // The text is not the client's.
            Err(ScatterError::Shard(frame)) => ScatterError::Shard(without_position(&frame)),
            Err(error) => error,
        };
        let failure = self.scatter_failure(error, false).await;
        self.end_finish(slot).await;
        Err(failure)
    }
}

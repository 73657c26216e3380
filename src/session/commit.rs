//! Ends the client's transaction on every shard that took part.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::commit::{CommitPlan, Gid, decide};
use crate::fault::{Blame, Fault, SqlState};
use crate::ids::ShardId;
use crate::session::held::Finishing;
use crate::session::{Failure, Session};
use crate::wire::reply::Status;

static SEQUENCE: AtomicU64 = AtomicU64::new(0);

impl Session {
    /// COMMIT everywhere; the tag that the client gets. On an error nothing is committed anywhere, unless it says so (`08007`).
    pub(super) async fn commit(&mut self) -> Result<&'static str, Failure> {
        self.close_all_runs().await;
        self.commit_statement().await
    }

    /// COMMIT of a transaction that was opened for one statement alone: portals that are suspended beside it go on.
    pub(super) async fn commit_statement(&mut self) -> Result<&'static str, Failure> {
        let done = match self.commit_plan() {
            CommitPlan::Nothing => Ok("COMMIT"),
            CommitPlan::OnePhase { writer, readers } => self.commit_one_phase(writer, &readers).await,
            CommitPlan::TwoPhase { anchor, others, readers } => self.commit_two_phase(anchor, &others, &readers).await,
        };
        match done {
            Ok(tag) => {
                let locals = self.tx.has_locals();
                self.tx.end();
                if locals {
                    self.adopt(std::sync::Arc::clone(&self.settings));
                }
                self.finish_joined(true);
                self.reload_catalog().await;
                Ok(tag)
            }
            Err(fault) => {
                self.roll_back_quietly().await;
                Err(fault.into())
            }
        }
    }

    fn commit_plan(&self) -> CommitPlan {
        let participants: Vec<(ShardId, bool)> =
            self.held.iter().filter(|h| h.joined).map(|h| (h.shard, h.wrote)).collect();
        CommitPlan::of(&participants)
    }

    /// What EXPLAIN (ROUTE) COMMIT says: how the transaction would end that the client is in.
    pub(super) fn explain_commit(&self) -> String {
        let names = |shards: &[ShardId]| {
            let known = &self.view.topology.shards;
            shards.iter().map(|s| known.get(s.index()).map_or("?", |shard| &*shard.name)).collect::<Vec<_>>().join(", ")
        };
        match self.commit_plan() {
            CommitPlan::Nothing => "Local: no shard takes part".to_owned(),
            CommitPlan::OnePhase { writer: Some(writer), .. } => {
                format!("Commit {}: no other shard wrote", names(&[writer]))
            }
            CommitPlan::OnePhase { writer: None, readers } => {
                format!("Commit {}: nothing was written", names(&readers))
            }
            CommitPlan::TwoPhase { anchor, others, .. } => {
                format!("TwoPhase: prepare {}, then commit {} with the decision", names(&others), names(&[anchor]))
            }
        }
    }

    async fn commit_one_phase(&mut self, writer: Option<ShardId>, readers: &[ShardId]) -> Result<&'static str, Fault> {
        let mut tag = self.commit_readers(readers).await?;
        let Some(at) = writer.and_then(|shard| self.held.position(shard)) else {
            return Ok(tag);
        };
        let server = &mut self.held[at].server;
        if server.status == Status::Failed {
            tag = "ROLLBACK";
        }
        match server.query("COMMIT").await {
            Ok(_) => Ok(tag),
            // The server's answer got lost, not its work: nobody knows.
            Err(_) if server.broken => Err(unknown_outcome(&server.address)),
            Err(fault) => Err(fault),
        }
    }

    /// Those who only read end first: their COMMIT can still fail (a serialization failure), and then nobody has committed.
    async fn commit_readers(&mut self, readers: &[ShardId]) -> Result<&'static str, Fault> {
        let failed = self.held.select(readers).iter().any(|(_, server)| server.status == Status::Failed);
        self.ask_many(readers, "COMMIT").await.into_iter().collect::<Result<Vec<()>, Fault>>()?;
        Ok(if failed { "ROLLBACK" } else { "COMMIT" })
    }

    /// Anchor decides, others prepare, anchor commits, others commit.
    async fn commit_two_phase(
        &mut self,
        anchor: ShardId,
        others: &[ShardId],
        readers: &[ShardId],
    ) -> Result<&'static str, Fault> {
        let sequence = SEQUENCE.fetch_add(1, Ordering::Relaxed);
        let gid = Gid { transaction: format!("{}-{sequence}", self.shared.router), anchor };
        if !self.database.two_phase_commit {
            return Err(Fault::unsupported(
                "a transaction that writes on several shards is not supported here",
                "two_phase_commit is off for this database, and without it such a transaction would not be atomic.",
                "Write rows of one sharding key in a transaction, or turn two_phase_commit on.",
            ));
        }
        if self.held.iter().any(|h| h.joined && h.server.status == Status::Failed) {
            return Err(Fault::new(SqlState::TRANSACTION_ROLLBACK, "the transaction has failed on a shard"));
        }
        self.commit_readers(readers).await?;
        self.ask_one(anchor, &decide(&gid)).await.map_err(|fault| {
            fault.hint("Cross-shard writes need the table pgloom.decision on every shard: run \"pgloom check\".")
        })?;
        let prepared = self.ask_each(others, |shard| format!("PREPARE TRANSACTION '{}'", gid.on(shard))).await;
        let failed = prepared.iter().find_map(|r| r.as_ref().err().cloned());
        // A failed transaction answers PREPARE with a rollback and no error.
        let lost = self.held.iter().any(|h| others.contains(&h.shard) && h.server.status != Status::Idle);
        if failed.is_some() || lost {
            self.undo_prepared(&gid, others).await;
            return Err(failed.unwrap_or_else(|| {
                Fault::new(SqlState::TRANSACTION_ROLLBACK, "the transaction could not be prepared on every shard")
            }));
        }
        match self.ask_one(anchor, "COMMIT").await {
            Ok(()) => {}
            Err(fault) => {
                let address = self.held.position(anchor).map(|at| self.held[at].server.broken);
                if address != Some(false) {
                    // The decision may have been taken: the resolver reads it from the anchor and finishes the others.
                    return Err(unknown_outcome(&fault.message).detail(fault.to_string()));
                }
                self.undo_prepared(&gid, others).await;
                return Err(fault);
            }
        }
        // Decided. Whatever fails from here on is finished by the resolver.
        for result in self.ask_each(others, |shard| format!("COMMIT PREPARED '{}'", gid.on(shard))).await {
            if let Err(fault) = result {
                tracing::warn!(%gid, error = %fault, "second phase left to the resolver");
            }
        }
        Ok("COMMIT")
    }

    async fn undo_prepared(&mut self, gid: &Gid, others: &[ShardId]) {
        for shard in others {
            let Some(at) = self.held.position(*shard) else { continue };
            let server = &mut self.held[at].server;
            if !server.broken && server.status == Status::Idle {
                // Fails where PREPARE failed: there is nothing to undo then.
                let _ = server.query(&format!("ROLLBACK PREPARED '{}'", gid.on(*shard))).await;
            }
        }
    }

    async fn ask_one(&mut self, shard: ShardId, sql: &str) -> Result<(), Fault> {
        let at = self.held_at(shard)?;
        self.held[at].server.query(sql).await.map(drop)
    }

    /// The same statement to these shards at once; each one's outcome.
    async fn ask_many(&mut self, shards: &[ShardId], sql: &str) -> Vec<Result<(), Fault>> {
        self.ask_each(shards, |_| sql.to_owned()).await
    }

    /// To each of these shards its own statement, all at once.
    async fn ask_each(&mut self, shards: &[ShardId], sql: impl Fn(ShardId) -> String) -> Vec<Result<(), Fault>> {
        let asks = self.held.select(shards).into_iter().map(|(shard, server)| {
            let sql = sql(shard);
            async move { server.query(&sql).await.map(drop) }
        });
        futures::future::join_all(asks).await
    }

    /// ROLLBACK everywhere, at the client's wish.
    pub(super) async fn roll_back(&mut self) -> Result<(), Failure> {
        self.roll_back_quietly().await;
        Ok(())
    }

    /// ROLLBACK everywhere. A connection that does not answer it well is closed, which rolls back too.
    pub(super) async fn roll_back_quietly(&mut self) {
        self.close_all_runs().await;
        let joined: Vec<ShardId> = self.held.iter().filter(|h| h.joined && !h.server.broken).map(|h| h.shard).collect();
        self.ask_many(&joined, "ROLLBACK").await;
        if let Some(settings) = self.tx.end() {
            self.adopt(settings);
        }
        self.finish_joined(false);
        self.reload_catalog().await;
    }

    /// After the end on the servers: each is out of the transaction, or of no use.
    fn finish_joined(&mut self, committed: bool) {
        for held in self.held.iter_mut().filter(|h| h.joined) {
            held.joined = false;
            held.wrote = false;
            held.unseen_locally = false;
            let before = held.server.applied_before.take();
            if !committed {
                held.server.applied = before.flatten();
            }
            if held.server.status != Status::Idle {
                held.server.broken = true;
            }
        }
        for at in 0..self.held.len() {
            if !self.held[at].server.broken && self.held[at].finishing == Finishing::No {
                self.report_parameters(at);
                break;
            }
        }
        self.cursors.retain(|_, shard| self.held.position(*shard).is_some_and(|at| self.held[at].pin.is_some()));
        self.drop_broken();
        self.release_idle();
    }
}

fn unknown_outcome(server: &str) -> Fault {
    Fault::new(SqlState::TRANSACTION_RESOLUTION_UNKNOWN, "the outcome of the transaction is unknown")
        .detail(format!("the connection to {server} broke while it was committing"))
        .hint("Read back what the transaction wrote before repeating it.")
        .blame(Blame::Server)
}

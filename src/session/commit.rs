//! Ends the client's transaction on every shard that took part.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use crate::backend::settings::quote_identifier;
use crate::commit::{CommitPlan, Did};
use crate::config::TwoPhaseCommit;
use crate::exec::replies::outlived;
use crate::fault::{Blame, Fault, SqlState};
use crate::ids::ShardId;
use crate::session::held::{Finishing, Held};
use crate::session::two_phase::unknown_outcome;
use crate::session::undecided::{Patience, Stage, decided_within};
use crate::session::{Failure, Session};
use crate::sql::utility::{Mode, modes};
use crate::wire::reply::{NoticeLevel, Status};

/// How long a server may take for the ROLLBACK of a client that is gone.
const UNDONE: Duration = Duration::from_secs(5);

impl Session {
    /// COMMIT everywhere; the tag that the client gets. On an error nothing is committed anywhere, unless it says so (`08007`).
    pub(super) async fn commit(&mut self) -> Result<&'static str, Failure> {
        let kept = match self.keep_held_cursors().await {
            Ok(kept) => kept,
            Err(failure) => {
                self.roll_back_quietly().await;
                return Err(failure);
            }
        };
        self.close_all_runs(true).await;
        let done = self.commit_statement().await;
        if done.is_err() {
            self.end_all_finishes(&kept).await;
        }
        done
    }

    /// COMMIT of a transaction that was opened for one statement alone: portals that are suspended beside it go on.
    pub(super) async fn commit_statement(&mut self) -> Result<&'static str, Failure> {
        self.heed_joined();
        let done = self.commit_everywhere().await;
        self.pass_said();
        match done {
            Ok(()) => {
                let locals = self.tx.has_locals();
                self.tx.end();
                if locals {
                    self.adopt(Arc::clone(&self.settings));
                }
                self.finish_joined(true);
                self.reload_catalog().await;
                Ok("COMMIT")
            }
            Err(fault) => {
                self.roll_back_quietly().await;
                Err(fault.into())
            }
        }
    }

    async fn commit_everywhere(&mut self) -> Result<(), Fault> {
        self.check_whole()?;
        self.register_values().await?;
        let plan = self.commit_plan(false);
        let plan = match Box::pin(self.guards_can_fail(plan.guards())).await? {
            true => self.commit_plan(true),
            false => plan,
        };
        self.commit_as(&plan).await?;
        self.end_guards(plan.guards()).await;
        Ok(())
    }

    /// All but the guards.
    async fn commit_as(&mut self, plan: &CommitPlan) -> Result<(), Fault> {
        match plan {
            CommitPlan::Nothing => Ok(()),
            CommitPlan::OnePhase { writer, readers, .. } => {
                self.commit_readers(readers).await?;
                match writer {
                    Some(writer) => self.commit_writer(*writer).await,
                    None => Ok(()),
                }
            }
            CommitPlan::TwoPhase { anchor, others, readers, .. } => match self.database.two_phase_commit {
                TwoPhaseCommit::On => {
                    self.commit_readers(readers).await?;
                    self.commit_two_phase(*anchor, others).await
                }
                TwoPhaseCommit::BestEffort => {
                    self.commit_readers(readers).await?;
                    self.commit_one_by_one(*anchor, others).await
                }
                TwoPhaseCommit::Off => Err(Fault::unsupported(
                    "a transaction that writes on several shards is not supported here",
                    "two_phase_commit is off for this database, and without it such a transaction would not be atomic.",
                    "Write rows of one sharding key in a transaction, or turn two_phase_commit on.",
                )),
            },
        }
    }

    /// What comes next runs the client's own code: deferred triggers, whose notices the client hears.
    pub(super) fn heed_joined(&mut self) {
        self.held.iter_mut().filter(|held| held.joined).for_each(|held| held.server.heed());
    }

    pub(super) fn pass_said(&mut self) {
        // What has written copies alone says the same on every shard.
        let copies = !self.held.iter().any(|held| held.wrote && held.wrote_apart);
        let home = self.view.topology.home;
        let one = self.held.iter().find(|held| held.wrote && held.shard == home).map(|held| held.shard);
        let mut unreplicated = None;
        for held in self.held.iter_mut() {
            // Said once in one Postgres.
            unreplicated = held.server.take_unreplicated().or(unreplicated);
            let said = held.server.take_said();
            if copies && held.wrote && one.is_some_and(|one| one != held.shard) {
                continue;
            }
            for notice in said {
                self.client.notice(&notice);
            }
        }
        unreplicated.iter().for_each(|notice| self.client.notice(notice));
    }

    /// Every shard that the transaction has touched still has its part of it: else there is nothing whole to commit.
    fn check_whole(&self) -> Result<(), Fault> {
        let well = |shard: ShardId| {
            self.held.position(shard).map(|at| &self.held[at]).is_some_and(|held| {
                let well = held.joined && !held.server.broken && held.server.status != Status::Failed;
                // What another server has taken over from is not to be asked to commit.
                well && held.is_of_its_stint()
            })
        };
        match self.tx.touched().iter().find(|shard| !well(*shard)) {
            None => Ok(()),
            Some(shard) => Err(lost_part(&self.shard_names(&[shard]))),
        }
    }

    /// Those that have locks alone keep them until all that these guard is committed, and then there is no way back: whether the end of one
    /// of them could fail, as it can under SERIALIZABLE. That they still have them is seen by that they answer.
    async fn guards_can_fail(&mut self, guards: &[ShardId]) -> Result<bool, Fault> {
        if guards.is_empty() {
            return Ok(false);
        }
        let slot = Arc::clone(&self.slot);
        let _waiting = slot.wait();
        let mut patience = Patience::new(Stage::Undecided, &mut self.client, &slot, &self.times, None);
        let answers = {
            let asks = self
                .held
                .select(guards)
                .into_iter()
                .map(|(shard, server)| async move { (shard, server.query("SHOW transaction_isolation").await) });
            let mut asks = pin!(futures::future::join_all(asks));
            poll_fn(|cx| match asks.as_mut().poll(cx) {
                Poll::Ready(answers) => Poll::Ready(Ok(answers)),
                Poll::Pending => patience.poll(cx, &[]).map(Err),
            })
            .await
        };
        let answers = match answers {
            Ok(answers) => answers,
            Err(told) => {
                // Who has not answered may do so at any time.
                for (_, server) in self.held.select(guards) {
                    server.broken |= !server.inflight.is_empty();
                }
                return Err(told);
            }
        };
        let mut can_fail = false;
        for (shard, answer) in answers {
            match answer {
                Ok(rows) => can_fail |= rows.iter().flatten().any(|level| level.as_deref() == Some("serializable")),
                Err(_) if self.held.position(shard).is_none_or(|at| self.held[at].server.broken) => {
                    return Err(lost_part(&self.shard_names(&[shard])));
                }
                Err(fault) => return Err(fault),
            }
        }
        Ok(can_fail)
    }

    /// All is committed: whoever waits for one of these locks sees it. One that does not answer has its connection closed.
    async fn end_guards(&mut self, guards: &[ShardId]) {
        let limit = decided_within(&self.times);
        let ends = self.ask_many(guards, "COMMIT");
        let answers = match limit {
            Some(limit) => tokio::time::timeout(limit, ends).await.unwrap_or_default(),
            None => ends.await,
        };
        for (shard, answer) in guards.iter().zip(answers) {
            let Err(fault) = answer else { continue };
            let shard = self.shard_names(&[*shard]);
            tracing::warn!(%shard, error = %fault, "what only locks in a transaction has not ended well, behind its commit");
            let told = Fault::new(
                SqlState::WARNING,
                "the transaction is committed, but its part on one shard has not ended well",
            )
            .detail(format!("Shard {shard}, where nothing was written: {fault}"));
            self.tell_notice(NoticeLevel::Warning, &told);
        }
    }

    /// `prepares_guards`: those that have locks alone are committed like those that have written.
    pub(super) fn commit_plan(&self, prepares_guards: bool) -> CommitPlan {
        let mut joined: Vec<&Held> = self.held.iter().filter(|h| h.joined).collect();
        // What has made a cursor WITH HOLD cannot be prepared: best it is the anchor. Else that is the home shard, where LISTEN, NOTIFY and
        // temporary tables are: what has used them cannot be prepared either. Who has the decision row is the anchor in any case.
        let home = self.view.topology.home;
        let decided = self.tx.decided.as_ref().map(|decided| decided.anchor);
        // Of others it is the last that joined: what was locked first, often guards the rest, and its locks are given back behind that.
        let is_bound = |h: &Held| h.wrote || h.temporary;
        let first = |h: &Held| (Some(h.shard) != decided, !h.holds, h.shard != home || !is_bound(h));
        let none = (true, true, true);
        let last = match joined.iter().any(|h| first(h) != none) {
            true => None,
            false => joined.iter().filter(|h| h.wrote).map(|h| h.joined_as).max(),
        };
        joined.sort_by_key(|h| (first(h), Some(h.joined_as) != last, !h.wrote, h.joined_as));
        let any = joined.iter().any(|h| h.wrote);
        // Its cursor would stay where what was written elsewhere fails to commit. So it is, where two phases cannot be: of two cursors one would
        // have to be prepared, or what is bound to the home shard, and none is the anchor who has begun to read only.
        let mut holders = joined.iter().filter(|h| h.holds).map(|h| h.shard);
        let holder = holders.next().filter(|_| holders.next().is_none());
        let whole = self.database.two_phase_commit == TwoPhaseCommit::On
            && decided.map_or(!self.tx.may_be_read_only(), |anchor| holder == Some(anchor))
            && holder.is_some_and(|shard| shard == home || !joined.iter().any(|h| h.shard == home && is_bound(h)));
        let did = |h: &&Held| match (h.wrote, h.locked) {
            (true, _) => Did::Wrote,
            // Its COMMIT can fail.
            (false, true) if any && (prepares_guards || h.holds) || Some(h.shard) == decided => Did::Wrote,
            (false, true) => Did::Locked,
            (false, false) if any && whole && h.holds => Did::Wrote,
            (false, false) => Did::Read,
        };
        CommitPlan::of(&joined.iter().map(|h| (h.shard, did(h))).collect::<Vec<_>>())
    }

    /// What EXPLAIN (ROUTE) COMMIT says: how the transaction would end that the client is in.
    pub(super) fn explain_commit(&self) -> String {
        let names = |shards: &[ShardId]| self.shard_names(shards);
        let plan = self.commit_plan(self.is_serializable());
        let guarded = match plan.guards() {
            [] => String::new(),
            guards => format!("; then give back the locks on {}", names(guards)),
        };
        let said = match plan {
            CommitPlan::Nothing => "Local: no shard takes part".to_owned(),
            CommitPlan::OnePhase { writer: Some(writer), .. } => {
                format!("Commit {}: no other shard wrote", names(&[writer]))
            }
            CommitPlan::OnePhase { writer: None, readers, .. } => {
                format!("Commit {}: nothing was written", names(&readers))
            }
            CommitPlan::TwoPhase { anchor, others, .. } => match self.database.two_phase_commit {
                TwoPhaseCommit::On => {
                    format!("TwoPhase: prepare {}, then commit {} with the decision", names(&others), names(&[anchor]))
                }
                TwoPhaseCommit::BestEffort => {
                    let others: Vec<ShardId> = others.iter().rev().copied().collect();
                    format!("BestEffort: commit {}, then {}; not atomic", names(&[anchor]), names(&others))
                }
                TwoPhaseCommit::Off => {
                    format!("Refused: {}, {} were written, two_phase_commit is off", names(&[anchor]), names(&others))
                }
            },
        };
        said + &guarded
    }

    /// Whether the open transaction is, by what the client has said of it and by what its transactions begin with.
    fn is_serializable(&self) -> bool {
        let mut all = self.tx.chained(true);
        let before = self.tx.settings_before().unwrap_or(&self.settings);
        all.or_defaults(|name| self.value_in(before, name));
        modes(&all.text()).contains(&Mode::Isolation("serializable"))
    }

    pub(super) fn shard_names(&self, shards: &[ShardId]) -> String {
        let known = &self.view.topology.shards;
        shards.iter().map(|s| known.get(s.index()).map_or("?", |shard| &*shard.name)).collect::<Vec<_>>().join(", ")
    }

    /// The same messages as on a direct connection.
    async fn commit_writer(&mut self, writer: ShardId) -> Result<(), Fault> {
        let at = self.held_at(writer)?;
        let server = &mut self.held[at].server;
        match server.command("COMMIT").await {
            Ok(tag) if tag == "COMMIT" => Ok(()),
            Ok(_) => Err(lost_part(&self.shard_names(&[writer]))),
            // The server's answer got lost, not its work: nobody knows.
            Err(fault) if self.held[at].server.broken => {
                Err(unknown_outcome(&format!("Shard {}: {fault}", self.shard_names(&[writer]))))
            }
            Err(fault) => Err(fault),
        }
    }

    /// Ends what a transaction has on servers on which it has only read, and goes on elsewhere.
    pub(super) async fn end_readers(&mut self) -> Result<(), Fault> {
        let shards: Vec<ShardId> = self.tx.touched().iter().collect();
        let done = self.commit_readers(&shards).await;
        self.part_joined(done.is_ok());
        self.drop_broken();
        self.release_idle();
        done
    }

    /// Those who only read end first: their COMMIT can still fail (a serialization failure), and then nobody has committed.
    async fn commit_readers(&mut self, readers: &[ShardId]) -> Result<(), Fault> {
        let answers = self.ask_many(readers, "COMMIT").await;
        for (shard, answer) in readers.iter().zip(answers) {
            let Err(fault) = answer else { continue };
            let lost = self.held.position(*shard).is_none_or(|at| self.held[at].server.broken);
            return Err(match lost {
                true => lost_part(&self.shard_names(&[*shard])),
                false => fault,
            });
        }
        Ok(())
    }

    /// `two_phase_commit = "best_effort"`: where a later one fails, the earlier ones stay committed, and the client is told which.
    async fn commit_one_by_one(&mut self, first: ShardId, others: &[ShardId]) -> Result<(), Fault> {
        if !self.told_best_effort {
            let notice = Fault::new(SqlState::WARNING, "transactions over several shards are not atomic here")
                .detail("two_phase_commit is \"best_effort\": the shards commit one after the other.")
                .hint("This is said once in a session.");
            self.told_best_effort = self.tell_notice(NoticeLevel::Warning, &notice);
        }
        // What joined first often guards the rest: its locks are given back last.
        let writers: Vec<ShardId> = std::iter::once(first).chain(others.iter().rev().copied()).collect();
        for (done, writer) in writers.iter().enumerate() {
            let Err(fault) = self.commit_writer(*writer).await else { continue };
            let unknown = fault.code == SqlState::TRANSACTION_RESOLUTION_UNKNOWN;
            if done == 0 && !unknown {
                return Err(fault);
            }
            return Err(self.half_committed(&writers, done, unknown, &fault));
        }
        Ok(())
    }

    /// Which shards have committed, when the one at `failed` did not, or nobody knows.
    fn half_committed(&self, writers: &[ShardId], failed: usize, unknown: bool, fault: &Fault) -> Fault {
        let mut said = Vec::new();
        if failed > 0 {
            said.push(format!("committed on {}", self.shard_names(&writers[..failed])));
        }
        let what = if unknown { "unknown on" } else { "rolled back on" };
        said.push(format!("{what} {}", self.shard_names(&writers[failed..=failed])));
        if failed + 1 < writers.len() {
            said.push(format!("rolled back on {}", self.shard_names(&writers[failed + 1..])));
        }
        let message = match failed {
            0 => "the outcome of the transaction is unknown",
            _ => "the transaction is committed on some shards only",
        };
        Fault::new(SqlState::TRANSACTION_RESOLUTION_UNKNOWN, message)
            .detail(format!("It is {}: {fault}", said.join(", ")))
            .hint(
                "Read back what the transaction wrote and complete or undo it; two_phase_commit = \"on\" avoids this.",
            )
            .blame(Blame::Server)
    }

    /// The same statement to these shards at once; each one's outcome.
    async fn ask_many(&mut self, shards: &[ShardId], sql: &str) -> Vec<Result<(), Fault>> {
        self.ask_each(shards, |_| sql.to_owned()).await
    }

    /// ROLLBACK to these. Where the client is gone, one that has not answered a little later has its connection closed, and that is one, too.
    async fn undo(&mut self, shards: &[ShardId]) {
        let asks = self.held.select(shards).into_iter().map(|(_, server)| async move { server.roll_back().await });
        if outlived(&mut self.client, UNDONE, futures::future::join_all(asks)).await.is_none() {
            for (_, server) in self.held.select(shards) {
                server.broken |= !server.inflight.is_empty();
            }
        }
    }

    /// To each of these shards its own statement, all at once.
    async fn ask_each(&mut self, shards: &[ShardId], sql: impl Fn(ShardId) -> String) -> Vec<Result<(), Fault>> {
        let asks = self.held.select(shards).into_iter().map(|(shard, server)| {
            let sql = sql(shard);
            async move { server.query(&sql).await.map(drop) }
        });
        futures::future::join_all(asks).await
    }

    /// A block has failed on one shard: on the others, too, its locks are given back at once, or those taken behind its last
    /// savepoint. In one Postgres nobody waits for a failed transaction until its client says ROLLBACK.
    pub(super) async fn give_back_locks(&mut self) {
        if !self.tx.has_failed() {
            return;
        }
        let of_block =
            |h: &crate::session::held::Held| h.joined && !h.server.broken && h.server.status == Status::InTransaction;
        let parts: Vec<ShardId> = self.held.iter().filter(|h| of_block(h)).map(|h| h.shard).collect();
        if parts.is_empty() {
            return;
        }
        let sql = match self.tx.last_savepoint() {
            Some(name) => format!("ROLLBACK TO SAVEPOINT {}", quote_identifier(name)),
            None => "ROLLBACK".to_owned(),
        };
        // Portals from before a savepoint outlive what is undone behind it.
        match self.tx.last_savepoint() {
            Some(_) => self.park_or_stop_runs().await,
            None => self.stop_runs(false).await,
        }
        self.ask_many(&parts, &sql).await;
    }

    /// ROLLBACK everywhere, at the client's wish.
    pub(super) async fn roll_back(&mut self) -> Result<(), Failure> {
        self.roll_back_quietly().await;
        Ok(())
    }

    /// ROLLBACK everywhere. A connection that does not answer it well is closed, which rolls back too.
    pub(super) async fn roll_back_quietly(&mut self) {
        self.close_all_runs(false).await;
        let joined: Vec<ShardId> = self.held.iter().filter(|h| h.joined && !h.server.broken).map(|h| h.shard).collect();
        self.undo(&joined).await;
        if let Some(settings) = self.tx.end() {
            let settings = self.with_placeholders(&settings);
            self.adopt(settings);
        }
        self.finish_joined(false);
        self.reload_catalog().await;
    }

    /// ROLLBACK on every server of a transaction in which nothing was done but what failed there: it goes on as one that has come to none.
    pub(super) async fn leave_servers(&mut self) {
        self.close_all_runs(false).await;
        let joined: Vec<ShardId> = self.held.iter().filter(|h| h.joined && !h.server.broken).map(|h| h.shard).collect();
        self.undo(&joined).await;
        self.part_joined(false);
        self.tx.begin_anew();
        self.drop_broken();
        self.release_idle();
    }

    /// After the end on the servers: each is out of the transaction, or of no use.
    fn finish_joined(&mut self, committed: bool) {
        self.changed_rows = false;
        self.part_joined(committed);
        for at in 0..self.held.len() {
            let held = &self.held[at];
            // One that is kept beside the transaction follows the session with its next statement only.
            // What custom settings the session has named is told by no parameter.
            let follows = held.server.applied.as_ref().is_some_and(|applied| {
                Arc::ptr_eq(applied, &self.settings) || Arc::ptr_eq(&self.with_placeholders(applied), &self.settings)
            });
            if follows && !held.server.broken && held.finishing == Finishing::No {
                self.report_parameters(at);
                break;
            }
        }
        self.cursors.retain(|_, shard| {
            let at = self.held.position(*shard);
            at.is_some_and(|at| self.held[at].pin.is_some() || self.held[at].finishing == Finishing::Held)
        });
        self.drop_broken();
        self.release_idle();
    }

    fn part_joined(&mut self, committed: bool) {
        for held in self.held.iter_mut().filter(|h| h.joined) {
            held.joined = false;
            held.temporaries_seen = false;
            held.wrote = false;
            held.locked = false;
            held.holds = false;
            held.joined_as = 0;
            held.untimed = false;
            held.unseen_locally = false;
            let before = held.server.applied_before.take();
            if !committed {
                held.server.applied = before.flatten();
            }
            if held.server.status != Status::Idle {
                held.server.broken = true;
            }
        }
    }
}

/// Nothing is committed: a part of the transaction is gone, and with it the whole.
pub(super) fn lost_part(shard: &str) -> Fault {
    Fault::new(SqlState::TRANSACTION_ROLLBACK, "the transaction was rolled back on every shard")
        .detail(format!("Its part on shard {shard} has failed or was lost."))
        .hint("It can be repeated.")
        .blame(Blame::Server)
}

//! EXPLAIN of a statement that runs on several shards: each explains its part, and the answers stand below the router's own plan.
//! With ANALYZE the parts run. No rows come back by that: a read is asked once more, so that its merge runs and is counted, unless the rows
//! are only put one behind the other. What is pulled for a Postgres that finishes a statement is asked twice as well: a shard gives its rows or
//! its plan with their times, and not both.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use crate::backend::clock::Moment;
use crate::backend::inflight::{Audience, Owed};
use crate::backend::server_fault;
use crate::exec::explain::{Answered, read};
use crate::exec::finish;
use crate::exec::forward::without_position;
use crate::exec::replies::ScatterError;
use crate::exec::scatter::{Answer, ScatterRun};
use crate::fault::{Fault, SqlState};
use crate::ids::{ShardId, ShardSet};
use crate::merge::Count;
use crate::plan::combine::{Combine, Window};
use crate::plan::shard_plans::{Counted, Merged, ShardPlan, ShardPlans, answer};
use crate::plan::{Access, ExplainPlan, FinishPlan, Plan, PlanKind, PullFrom, ShardSql, Why};
use crate::session::combine::Tried;
use crate::session::finish::{PORTAL, with};
use crate::session::prepared::ClientStatement;
use crate::session::pulls::Asked;
use crate::session::run::{Ask, How};
use crate::session::{Failure, Session};
use crate::sql::Analysis;
use crate::wire::frame::{BindView, Frame};
use crate::wire::{reply, request};

impl Session {
    /// Execute of a portal.
    pub(super) async fn execute_explain(
        &mut self,
        statement: &Arc<ClientStatement>,
        bind: &[u8],
        mut plan: Box<Plan>,
    ) -> Result<(), Failure> {
        // See execute_finish.
        if self.tx.is_open() {
            *plan = self.plan_bound(statement, &BindView::read(bind)?.parameters).without_lookup();
        }
        self.note_plan(&plan);
        self.columns_of(statement).await?;
        self.leave_open().await?;
        self.run_multi(&plan, &statement.analysis, &Ask::Bound { statement, bind, columns_added: 0, how: How::Through })
            .await
    }

    /// Asks every shard and answers the client, but for the ReadyForQuery.
    pub(super) async fn run_explain(
        &mut self,
        explain: &ExplainPlan,
        access: Access,
        analysis: &Arc<Analysis>,
        ask: &Ask<'_>,
    ) -> Result<(), Failure> {
        let began = Instant::now();
        let mut explain = Cow::Borrowed(explain);
        let mut took = None;
        let (head, mut plans) = match &explain.plan.kind {
            PlanKind::Broadcast(sql) => {
                let shards: ShardSet = self.view.topology.all_shards();
                let parts: Vec<_> = shards.iter().map(|shard| (shard, sql.clone())).collect();
                self.explain_parts(&explain, &parts, access, ask).await?
            }
            PlanKind::Scatter { shards, sql, combine, window } => {
                let parts: Vec<_> = shards.iter().map(|shard| (shard, sql.clone())).collect();
                let (head, mut plans) = self.explain_parts(&explain, &parts, access, ask).await?;
                took = Some(began.elapsed());
                // The shards have said how many rows there are, and nothing is made of them.
                let concatenated = combine.is_concatenation() && window.is_none();
                if explain.options.analyze && access == Access::Read && !concatenated {
                    plans.merged = Some(self.run_counted(&explain, parts, combine, *window, ask).await?);
                }
                (head, plans)
            }
            PlanKind::Each(parts) | PlanKind::Split { parts, .. } => {
                self.explain_parts(&explain, parts, access, ask).await?
            }
            PlanKind::Finish(finish) => {
                let (carried_out, head, plans) = self.explain_finish(&explain, finish, ask).await?;
                let plan = Plan { kind: PlanKind::Finish(Arc::new(carried_out)), ..explain.plan.clone() };
                explain = Cow::Owned(ExplainPlan { plan, ..explain.into_owned() });
                (head, plans)
            }
            PlanKind::Refuse(_)
            | PlanKind::Single(_)
            | PlanKind::Any
            | PlanKind::Deliver(_)
            | PlanKind::Supply(_)
            | PlanKind::Claim(_)
            | PlanKind::Locked(_)
            | PlanKind::CopyIn(_)
            | PlanKind::CreateAs(_)
            | PlanKind::Stamp(_)
            | PlanKind::Explain(_)
            | PlanKind::Lookup(_)
            | PlanKind::Draw(_) => {
                return Err(Fault::new(SqlState::INTERNAL_ERROR, "a plan that no shards explain").into());
            }
        };
        if explain.options.analyze && explain.options.summary != Some(false) {
            plans.took = Some(took.unwrap_or_else(|| began.elapsed()));
        }
        if ask.describes() {
            self.client.out.extend_from_slice(&head);
        }
        for row in answer(&explain, analysis, &self.plan_view(), &plans) {
            reply::data_row(&mut self.client.out, [Some(row.as_bytes())])?;
        }
        reply::command_complete(&mut self.client.out, "EXPLAIN")?;
        Ok(())
    }

    /// The statement itself, for what the router's own steps make of its rows: nobody gets them.
    async fn run_counted(
        &mut self,
        explain: &ExplainPlan,
        mut parts: Vec<(ShardId, ShardSql)>,
        combine: &Combine,
        window: Option<Window>,
        ask: &Ask<'_>,
    ) -> Result<Merged, Failure> {
        let shards: Vec<ShardId> = parts.iter().map(|(shard, _)| *shard).collect();
        self.enlist_all(&with(&shards, self.clock_for(&parts))).await?;
        if let Some(told) = self.told_parts(&parts).await? {
            parts = told;
        }
        let began = Instant::now();
        for (shard, sql) in &mut parts {
            if let ShardSql::AsWritten = sql {
                let inner = ask.statement().0.get(explain.prefix.len()..).unwrap_or_default();
                *sql = ShardSql::Rewritten { text: inner.into(), parameters: None };
            }
            let at = self.held_at(*shard)?;
            let held = &mut self.held[at];
            held.note_access(Access::Read);
            match ask {
                Ask::Query { .. } => ask.put(&mut held.server, sql)?,
                Ask::Bound { statement, bind, how, .. } => {
                    let columns_added = self.columns_added_by(&explain.plan);
                    let ask = Ask::Bound { statement, bind, columns_added, how: *how };
                    ask.put(&mut self.held[at].server, sql)?;
                }
            }
        }
        let manner = self.manner(Answer::Merged);
        let ran = {
            let mut servers = self.held.servers(&shards);
            let client = &mut self.client;
            match ScatterRun::start(&mut servers, client, combine, window, manner).await {
                Ok(mut run) => {
                    if !explain.options.untimed {
                        run.time_with(Instant::now);
                    }
                    run.skip(&mut servers, client, None).await.map(|_| run)
                }
                Err(error) => Err(error),
            }
        };
        let run = match ran {
            Ok(run) => run,
            Err(error) => return Err(self.scatter_failure(error, false).await),
        };
        self.end_parts(false).await?;
        let timed = !explain.options.untimed;
        let counted = |count: Count| Counted { rows: count.rows, took: timed.then_some(count.took) };
        let left = counted(Count { rows: run.rows(), took: run.shown_in() });
        Ok(Merged { counts: run.counts().iter().copied().map(counted).collect(), left, took: began.elapsed() })
    }

    /// Each shard explains its part; what it writes by that is committed on all or on none.
    async fn explain_parts(
        &mut self,
        explain: &ExplainPlan,
        parts: &[(ShardId, ShardSql)],
        access: Access,
        ask: &Ask<'_>,
    ) -> Result<(Bytes, ShardPlans), Failure> {
        self.check_fanout(parts.len())?;
        let opened = access != Access::Read && parts.len() > 1 && !self.tx.is_open();
        if opened {
            self.tx.begin_implicit(&self.settings);
        }
        let shards: Vec<ShardId> = parts.iter().map(|(shard, _)| *shard).collect();
        match access == Access::Write && explain.plan.why == Why::Reference {
            true => self.take_turn(&shards, Some(ask.statement().0)).await?,
            false => self.enlist_all(&with(&shards, self.clock_for(parts))).await?,
        }
        let told = self.told_parts(parts).await?;
        let parts = told.as_deref().unwrap_or(parts);
        for (shard, sql) in parts {
            let at = self.held_at(*shard)?;
            let held = &mut self.held[at];
            held.note_access(access);
            let sql = match sql {
                // EXPLAIN and all.
                ShardSql::AsWritten => ShardSql::AsWritten,
                ShardSql::Rewritten { text, parameters } | ShardSql::Timed { text, parameters, .. } => {
                    ShardSql::Rewritten {
                        text: format!("{}{text}", explain.prefix).into(),
                        parameters: parameters.clone(),
                    }
                }
            };
            ask.put(&mut held.server, &sql)?;
        }
        let as_written = parts.iter().all(|(_, sql)| matches!(sql, ShardSql::AsWritten));
        let answers = match self.read_answers(&shards, as_written).await {
            Ok(answers) => answers,
            Err(ScatterError::Shard(frame)) if !as_written => {
                let within = self.tx.is_open() && !opened;
                // Nobody waits for a further connection while the shards still work, and hold what they have locked.
                self.tx.fail();
                self.quiet(&shards, false).await;
                if opened {
                    self.roll_back_quietly().await;
                }
                let frame = self.with_position(frame, within, ask).await;
                return Err(self.scatter_failure(ScatterError::Shard(frame), false).await);
            }
            Err(error) => return Err(self.scatter_failure(error, opened).await),
        };
        self.end_parts(opened).await?;
        let head = answers.first().and_then(|of| of.first()).map(|answer| answer.head.clone()).unwrap_or_default();
        let answers = shards.iter().zip(answers).filter_map(|(shard, mut of)| Some((*shard, of.pop()?)));
        let parts = answers.map(|(shard, answer)| shard_plan(explain, shard, answer)).collect();
        Ok((head, ShardPlans { parts, ..ShardPlans::default() }))
    }

    /// Each shard explains its pulls, and then a Postgres the finishing statement: over the rows themselves with ANALYZE, else over
    /// empty inputs. Also returns the plan of the server that did it.
    async fn explain_finish(
        &mut self,
        explain: &ExplainPlan,
        plan: &FinishPlan,
        ask: &Ask<'_>,
    ) -> Result<(FinishPlan, Bytes, ShardPlans), Failure> {
        let explained = FinishPlan { sql: format!("{}{}", explain.prefix, plan.sql), ..plan.clone() };
        let original = self.original(&explained, ask).await?;
        let mut tried = Tried::default();
        let (carried_out, slot, asked) = loop {
            let on = self.choose_combiner(plan, &original, &mut tried);
            let placed = on.as_ref().and_then(|running| plan.placed(running.address()));
            let pulls_more = placed.as_ref().is_some_and(|placed| placed.pulls.len() > plan.pulls.len());
            let of = placed.unwrap_or_else(|| plan.clone());
            let mut finishing = FinishPlan { sql: format!("{}{}", explain.prefix, of.sql), ..of.clone() };
            if !explain.options.analyze {
                finishing.pulls.iter_mut().for_each(|pull| pull.from = PullFrom::Shards(ShardSet::new()));
            }
            let tried_on = self.try_finish(&finishing, ask, &original, on, pulls_more, &mut tried).await?;
            if let Some((slot, asked)) = tried_on {
                break (of, slot, asked);
            }
        };
        let at = self.held_at(slot)?;
        let server = &mut self.held[at].server;
        request::execute(&mut server.out, PORTAL, 0)?;
        server.inflight.push(Owed::Execute(Audience::Client));
        server.out.extend_from_slice(request::SYNC);
        server.inflight.push(Owed::Sync(Audience::Router));
        let answers = self.read_answers(&[slot], false).await;
        let answers = match answers {
            Ok(answers) => answers,
            Err(error) => {
                let failure = self.scatter_failure(error, false).await;
                self.end_finish(slot).await;
                return Err(failure);
            }
        };
        self.end_finish(slot).await;
        let answer = answers.into_iter().flatten().next_back().unwrap_or_default();
        let mut finish = shard_plan(explain, self.view.topology.home, answer);
        finish.beside.clone_from(&carried_out.on);
        // After it, because what was pulled first may have gone with the later questions.
        let asked = match explain.options.analyze {
            true => asked,
            false => {
                let plan = &carried_out;
                let clock = if plan.needs_moment() { Some(self.shard_of_time()) } else { None };
                let (_, shards) = self.feeds(plan)?;
                self.enlist_all(&with(&shards, clock)).await?;
                let moment = match clock {
                    Some(shard) => self.moment_of(shard).await?,
                    None => Moment::default(),
                };
                self.asked_before(plan, ask, &original, moment)?
            }
        };
        let pulls = self.explain_pulls(explain, &asked).await?;
        let filled = asked.iter().map(|asked| asked.filled).collect();
        Ok((carried_out, original.rows, ShardPlans { pulls, filled, finish: Some(finish), ..ShardPlans::default() }))
    }

    async fn explain_pulls(&mut self, explain: &ExplainPlan, asked: &[Asked]) -> Result<Vec<Vec<ShardPlan>>, Failure> {
        let mut shards: Vec<ShardId> = asked.iter().flat_map(|asked| &asked.shards).copied().collect();
        shards.sort_unstable();
        shards.dedup();
        self.check_fanout(shards.len())?;
        self.enlist_all(&shards).await?;
        for shard in &shards {
            let at = self.held_at(*shard)?;
            let server = &mut self.held[at].server;
            for asked in asked.iter().filter(|asked| asked.shards.contains(shard)) {
                let (sql, types, values) = asked.of(*shard);
                finish::ask(server, &format!("{}{sql}", explain.prefix), types, values, false)?;
            }
            server.out.extend_from_slice(request::SYNC);
            server.inflight.push(Owed::Sync(Audience::Router));
        }
        let answers = match self.read_answers(&shards, false).await {
            Ok(answers) => answers,
            Err(error) => return Err(self.scatter_failure(error, false).await),
        };
        self.end_parts(false).await?;
        let mut answers: Vec<_> = answers.into_iter().map(Vec::into_iter).collect();
        let mut plans = Vec::with_capacity(asked.len());
        for of in asked {
            let mut pull = Vec::with_capacity(of.shards.len());
            for shard in &of.shards {
                let answer = shards.binary_search(shard).ok().and_then(|at| answers.get_mut(at)?.next());
                pull.extend(answer.map(|answer| shard_plan(explain, *shard, answer)));
            }
            plans.push(pull);
        }
        Ok(plans)
    }

    /// The answers of these servers.
    async fn read_answers(&mut self, shards: &[ShardId], as_written: bool) -> Result<Vec<Vec<Answered>>, ScatterError> {
        let mut servers = self.held.servers(shards);
        read(&mut servers, &mut self.client, as_written).await
    }

    /// The error that a shard has found in a text of ours as a Postgres finds it in the client's, where it does. `within` a transaction the
    /// one that is asked does not see what that has made: it must say the very same.
    async fn with_position(&mut self, frame: Frame, within: bool, ask: &Ask<'_>) -> Frame {
        let (text, types) = ask.statement();
        let ours = server_fault(frame.body());
        let is_same = |theirs: &Fault| theirs.code == ours.code && (!within || theirs.message == ours.message);
        match self.parse_error_on(self.view.topology.home, text, types).await {
            Ok(Some(theirs)) if is_same(&server_fault(theirs.body())) => theirs,
            Ok(_) | Err(_) => without_position(&frame),
        }
    }
}

fn shard_plan(explain: &ExplainPlan, shard: ShardId, answer: Answered) -> ShardPlan {
    let analyzed = explain.options.analyze.then_some(answer.took);
    ShardPlan::new(shard, answer.text, explain.options.format, analyzed)
}

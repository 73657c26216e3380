//! Parse: what a statement of the extended protocol means, and when which server is told of it.

use crate::backend::inflight::{Audience, Owed};
use crate::backend::prepared::StatementDef;
use crate::backend::stats::Count;
use crate::fault::{Fault, SqlState};
use crate::ids::{Oid, ShardId, ShardSet};
use crate::plan::{self, Inputs, Plan, PlanKind, View};
use crate::session::aside::is_large;
use crate::session::control::is_local;
use crate::session::prepared::ClientStatement;
use crate::session::set_config::check_declared;
use crate::session::simple::utf8;
use crate::session::sql_execute::other_settings;
use crate::session::{Failure, Session};
use crate::sql::outcome::{Outcome, Routed};
use crate::sql::utility::{SetStatement, StatementKind};
use crate::sql::{Analysis, split};
use crate::types::oid;
use crate::wire::error_fields::ErrorFields;
use crate::wire::frame::{Frame, ParseView};
use crate::wire::reply;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, OnceLock};

/// Statements that a server checks the syntax of, though the router runs them.
fn is_checked(kind: &StatementKind) -> bool {
    matches!(
        kind,
        StatementKind::Prepare(_)
            | StatementKind::Execute(_)
            | StatementKind::Unclear
            | StatementKind::Set(SetStatement::Opaque)
    )
}

/// What the router answers itself has parameters of its own only where it is a call; of those that are declared beside them each needs a
/// type (`42P18`). A server looks at those of all other statements.
fn check_types(analysis: &Analysis, types: &[Oid]) -> Result<(), Fault> {
    let kind = &analysis.kind;
    if types.is_empty() || !is_local(kind) || is_checked(kind) || matches!(kind, StatementKind::ExplainRoute { .. }) {
        return Ok(());
    }
    let own = usize::from(analysis.parameters);
    match types.iter().skip(own).position(|of| [0, oid::UNKNOWN].contains(of)) {
        None => Ok(()),
        Some(at) => {
            let message = format!("could not determine data type of parameter ${}", own + at + 1);
            Err(Fault::new(SqlState::INDETERMINATE_DATATYPE, message))
        }
    }
}

/// The shards that have what a statement names, whatever its values.
fn needed_shards(outcome: &Outcome) -> Option<&ShardSet> {
    match outcome {
        Outcome::Routed(routed) => Some(&routed.also),
        Outcome::Insert(insert) => Some(&insert.also),
        Outcome::Draw(draw) => needed_shards(&draw.as_written),
        Outcome::Refuse(_)
        | Outcome::Home(_)
        | Outcome::Shard(..)
        | Outcome::Any(_)
        | Outcome::Broadcast(_)
        | Outcome::Parts(..)
        | Outcome::Each(..)
        | Outcome::CreateAs(_)
        | Outcome::Stamp(_)
        | Outcome::Deliver(_)
        | Outcome::Supply(_)
        | Outcome::CopyIn(_) => None,
    }
}

impl Session {
    pub(super) async fn parse(&mut self, frame: &Frame) -> Result<(), Failure> {
        self.tally.add(Count::ClientParses, 1);
        let view = ParseView::read(frame.body()).map_err(Fault::from)?;
        let text = utf8(view.text)?;
        self.settle_parse().await?;
        self.see_own_changes().await?;
        self.heed_strings(text).await?;
        let statement = match self.statement_of(&view, text).await {
            Ok(statement) => statement,
            Err(failure) => {
                // As Postgres, which forgets the unnamed one before it reads another. Behind a message that has failed it reads none.
                if view.name.is_empty() && !matches!(failure, Failure::Reported) {
                    self.before_statement_changes(view.name);
                    self.statements.drop_unnamed();
                }
                return Err(failure);
            }
        };
        let kind = &statement.analysis.kind;
        let local = (is_local(kind) && !is_checked(kind)) || *kind == StatementKind::Empty;
        if let Err(taken) = self.statements.check_new(view.name) {
            return Err(if local { taken.into() } else { self.read_before(taken, &statement).await });
        }
        self.before_statement_changes(view.name);
        self.statements.insert(view.name, Arc::clone(&statement), self.limits.max_statements)?;
        if local {
            self.answer(reply::PARSE_COMPLETE);
        } else {
            // A server answers for it: the one that Bind leads to, when Bind comes next.
            let learns = !view.name.is_empty() && self.must_promise(kind);
            self.batch.pending_parse = Some((view.name.into(), statement));
            if learns {
                self.settle_parse().await?;
            }
        }
        Ok(())
    }

    async fn statement_of(&mut self, view: &ParseView<'_>, text: &str) -> Result<Arc<ClientStatement>, Failure> {
        let written = split::without_first_semicolons(text);
        let text = written.as_deref().unwrap_or(text);
        if let Some(statement) = self.parsed_before(view, text) {
            self.check_read_not_failed(&statement.analysis.kind, text).await?;
            return Ok(statement);
        }
        let known = match is_large(text.len()) {
            true => Box::pin(self.read_aside(text)).await?,
            false => self.known_or_scanned(text)?,
        };
        let Some(analysis) = known else {
            // Postgres reads them all before it counts them.
            self.leave_open().await?;
            let fault = match self.read_several(text).await? {
                Some(frame) => ErrorFields::parse(frame.body()).into_fault(),
                None => {
                    let message = "cannot insert multiple commands into a prepared statement";
                    Fault::new(SqlState::SYNTAX_ERROR, message)
                }
            };
            return Err(fault.into());
        };
        self.check_read_not_failed(&analysis.kind, text).await?;
        let analysis = self.seen(text, analysis).await?;
        check_types(&analysis, &view.types)?;
        let statement = self.client_statement(text.into(), view.types.as_slice().into(), analysis);
        if let StatementKind::SetConfig(query) = &statement.analysis.kind
            && let Err(refused) = check_declared(query, &statement.types)
        {
            return Err(self.read_before(refused, &statement).await);
        }
        Ok(statement)
    }

    /// The unnamed statement, when this Parse would make it again as it is.
    pub(super) fn parsed_before(&self, view: &ParseView<'_>, text: &str) -> Option<Arc<ClientStatement>> {
        let last = self.statements.get(view.name).ok().filter(|_| view.name.is_empty())?;
        let is_of_now = match last.analysis.kind {
            StatementKind::Fetch(_) => self.fetch_mark == Some(last.names),
            _ => true,
        };
        let same = is_of_now
            && !last.is_renewed()
            && *last.text == *text
            && *view.types == *last.types
            && last.meaning == self.meaning
            && self.is_current(last);
        same.then(|| Arc::clone(last))
    }

    /// A statement under what names and literals mean now; its literals are in `self.scan`.
    pub(super) fn client_statement(
        &mut self,
        text: Arc<str>,
        types: Box<[Oid]>,
        analysis: Arc<Analysis>,
    ) -> Arc<ClientStatement> {
        let scope = self.names().fingerprint;
        let numbers_of = match self.view.topology.places_schemas() {
            true => self.names().base().shard,
            false => self.view.topology.home,
        };
        let names = match analysis.kind {
            // What a server has parsed has the columns of the cursor of then, for whoever parses the same text.
            StatementKind::Fetch(_) => *self.fetch_mark.get_or_insert_with(|| self.shared.registry.fresh()),
            _ => self.scope.meaning_of(analysis.resolved, scope),
        };
        Arc::new(ClientStatement {
            text,
            types,
            slots: self.scan.slots.clone(),
            generation: self.view.catalog.generation,
            epoch: self.view.topology.epoch,
            scope,
            names,
            numbers_of,
            standard_strings: self.scope.standard_strings(),
            meaning: self.meaning,
            def: Mutex::new(None),
            description: Mutex::new(None),
            arguments: OnceLock::new(),
            told: OnceLock::new(),
            behind: OnceLock::new(),
            promise: OnceLock::new(),
            kept: AtomicBool::new(false),
            renewed: AtomicBool::new(false),
            analysis,
        })
    }

    /// A statement is about to run: one that is no FETCH can change what the cursors are.
    pub(super) fn note_fetch(&mut self, kind: &StatementKind) {
        if !matches!(kind, StatementKind::Fetch(_)) {
            self.fetch_mark = None;
        }
    }

    /// A Parse that was not followed by its Bind is asked of a server now.
    pub(super) async fn settle_parse(&mut self) -> Result<(), Failure> {
        let Some((name, statement)) = self.batch.pending_parse.take() else {
            return Ok(());
        };
        if let Some(plan) = self.foreign_plan(&statement) {
            if let Err(failure) = self.describe_foreign(&statement, &plan).await {
                self.statements.remove_this(&name, &statement);
                return Err(failure);
            }
            self.answer(reply::PARSE_COMPLETE);
            return Ok(());
        }
        let mut tried = self.open_described(&statement).await;
        if let Err(failure) = &tried
            && self.follows(failure)
        {
            tried = self.open_described(&statement).await;
        }
        match tried {
            Ok(at) if is_checked(&statement.analysis.kind) => Ok(self.check_on(at, &statement, name)?),
            Ok(at) => {
                self.learn_on(at, &statement, name).await?;
                Ok(())
            }
            // It has failed itself, or what stands before it has, and then it is undone already.
            Err(Failure::Reported) => Err(Failure::Reported),
            Err(failure) => {
                self.statements.remove_this(&name, &statement);
                Err(failure)
            }
        }
    }

    async fn open_described(&mut self, statement: &Arc<ClientStatement>) -> Result<usize, Failure> {
        let shard = self.shard_for_describe(statement).await?;
        self.open(shard).await
    }

    /// The server only says whether it could read the text, which is the router's to run.
    fn check_on(&mut self, at: usize, statement: &ClientStatement, name: Box<[u8]>) -> Result<(), Fault> {
        self.batch.unproven.push(name);
        let server = &mut self.held[at].server;
        server.parse(b"", statement.text.as_bytes(), &statement.types)?;
        server.inflight.push(Owed::Parse(Audience::Client));
        Ok(())
    }

    /// The name under which this very statement waits for its ParseComplete; another one that waits is settled first.
    pub(super) async fn parsing(&mut self, statement: &Arc<ClientStatement>) -> Result<Option<Box<[u8]>>, Failure> {
        match self.batch.pending_parse.take() {
            Some((name, pending)) if Arc::ptr_eq(&pending, statement) => Ok(Some(name)),
            other => {
                self.batch.pending_parse = other;
                self.settle_parse().await?;
                Ok(None)
            }
        }
    }

    /// [`Self::shard_for_describe`]; where there is none, the Parse of this name waits on for its answer.
    pub(super) async fn shard_parsing(
        &mut self,
        statement: &Arc<ClientStatement>,
        parsing: &Option<Box<[u8]>>,
    ) -> Result<ShardId, Failure> {
        let shard = self.shard_for_describe(statement).await;
        if let (Err(_), Some(name)) = (&shard, parsing) {
            self.batch.pending_parse = Some((name.clone(), Arc::clone(statement)));
        }
        shard
    }

    /// A shard that can tell what a statement is: the one at hand, or any that it could run on.
    pub(super) async fn shard_for_describe(&mut self, statement: &Arc<ClientStatement>) -> Result<ShardId, Failure> {
        let plan = {
            let inputs = Inputs { text: &statement.text, slots: &statement.slots, parameters: None };
            self.plan_of(&statement.analysis, &inputs)
        };
        let shard = match &plan.kind {
            PlanKind::Single(_) if let Some(shard) = self.cursor_shard(&statement.analysis.kind) => return Ok(shard),
            PlanKind::Single(_) if is_checked(&statement.analysis.kind) => self.any_shard(),
            // What it can't do with it, it says when it is run.
            PlanKind::Refuse(_) if statement.analysis.kind == StatementKind::Unclear => self.any_shard(),
            PlanKind::Single(shard) => *shard,
            // Types that users made are told with the numbers that the catalog has, which clients read there.
            PlanKind::Scatter { .. } | PlanKind::Claim(_) | PlanKind::Lookup(_) => self.view.topology.home,
            // It may name tables that only the home shard has.
            PlanKind::Finish(_)
            | PlanKind::Deliver(_)
            | PlanKind::Supply(_)
            | PlanKind::Locked(_)
            | PlanKind::Draw(_) => {
                return Ok(self.view.topology.home);
            }
            PlanKind::Refuse(fault) if statement.analysis.parameters == 0 => {
                return Err(self.refusal(fault, &statement.text, &statement.types).await);
            }
            PlanKind::Refuse(fault) => match needed_shards(&statement.analysis.outcome) {
                Some(also) if also.len() > 1 => {
                    return Err(self.refusal(fault, &statement.text, &statement.types).await);
                }
                also => match also.and_then(ShardSet::single) {
                    Some(shard) => return Ok(shard),
                    None => self.any_shard(),
                },
            },
            PlanKind::CreateAs(_) | PlanKind::Stamp(_) => return Ok(self.view.topology.home),
            PlanKind::Any
            | PlanKind::Broadcast(_)
            | PlanKind::Each(_)
            | PlanKind::Split { .. }
            | PlanKind::CopyIn(_) => self.any_shard(),
            PlanKind::Explain(explain) => match &explain.plan.kind {
                PlanKind::Finish(_) => return Ok(self.view.topology.home),
                _ => self.any_shard(),
            },
        };
        // Any shard that holds the tables will do; one that is open already costs nothing.
        Ok(match self.batch.open {
            Some(open) if !matches!(plan.kind, PlanKind::Single(_)) || is_checked(&statement.analysis.kind) => open,
            _ => shard,
        })
    }

    /// The shard that has all that a statement names, whatever its values: the home shard, but for what lies in placed schemas.
    pub(super) fn shard_with_tables(&self, outcome: &Outcome) -> Result<ShardId, Fault> {
        let home = self.view.topology.home;
        if let Outcome::Shard(shard, _) = outcome {
            return Ok(*shard);
        }
        match needed_shards(outcome).filter(|also| !also.is_empty()) {
            None => Ok(home),
            Some(also) => also.single().ok_or_else(|| match outcome {
                Outcome::Routed(Routed { many: Err(fault), .. }) => fault.clone(),
                _ => Fault::unsupported(
                    "the statement is not supported across shards",
                    "no server has all of its tables",
                    "Name tables of one shard: pins place schemas together, and reference tables are on every shard.",
                ),
            }),
        }
    }

    pub(super) fn plan_view(&self) -> View<'_> {
        View {
            topology: &self.view.topology,
            catalog: &self.view.catalog,
            in_transaction: self.tx.is_open(),
            combine_servers: !self.database.combine.is_empty(),
            prints_otherwise: false,
        }
    }

    /// The plan of one execution.
    pub(super) fn plan_of(&self, analysis: &Analysis, inputs: &Inputs<'_>) -> Plan {
        self.count_key(analysis, inputs);
        let view = self.plan_view();
        // Few ask, and it costs a look into the settings.
        let prints_otherwise = analysis.style().is_some_and(|needed| !self.text_style().has(needed));
        let mut plan = plan::plan(analysis, inputs, &View { prints_otherwise, ..view });
        if analysis.random {
            plan = self.check_seeded(plan);
        }
        if let (PlanKind::Single(shard), true) = (&plan.kind, self.sampler.picks()) {
            self.note_key(analysis, inputs, *shard);
        }
        plan
    }

    /// Behind `setseed` random numbers are what they are where it was called, and on one Postgres everywhere.
    fn check_seeded(&self, plan: Plan) -> Plan {
        let Some(seeded) = self.held.iter().find(|held| held.seeded) else { return plan };
        match &plan.kind {
            PlanKind::Refuse(_) => plan,
            PlanKind::Single(shard) if *shard == seeded.shard => plan,
            PlanKind::Any if self.any_shard() == seeded.shard => plan,
            _ => plan::refused(Fault::unsupported(
                "random numbers behind setseed() are not supported on this shard",
                "The numbers that setseed() decides are those of one connection to the home shard.",
                "Take the numbers in a statement that names no sharded table; or DISCARD ALL, which forgets the seed here.",
            )),
        }
    }

    /// After an error: a statement whose Parse has failed is none, and what stood behind the message that failed is undone. Which Parse of our
    /// own succeeded nobody knows: the server's own word is asked again next time.
    pub(super) fn forget_unproven(&mut self) {
        if let Some(at) = self.open_at() {
            self.settle_changes(at);
            self.undo_changes();
            self.batch.pending_parse = None;
            let server = &mut self.held[at].server;
            let proven = server.inflight.take_parsed();
            let unproven = std::mem::take(&mut self.batch.unproven);
            if let Some(name) = unproven.get(proven).filter(|_| server.inflight.parse_failed()) {
                self.statements.remove(name);
            }
            server.doubt();
        }
    }

    /// Makes the statement known on this connection. `parsing`: the client waits for the ParseComplete of this name.
    pub(super) fn prepare_on(
        &mut self,
        at: usize,
        statement: &Arc<ClientStatement>,
        parsing: Option<Box<[u8]>>,
    ) -> Result<Arc<StatementDef>, Fault> {
        let def = statement.definition(&self.shared.registry);
        let server = &mut self.held[at].server;
        if server.prepared.touch(def.id) {
            if parsing.is_some() {
                self.answer(reply::PARSE_COMPLETE);
            }
            return Ok(def);
        }
        if self.has_other_literals(statement) {
            return Err(other_settings());
        }
        let audience = if parsing.is_some() { Audience::Client } else { Audience::Router };
        self.batch.unproven.extend(parsing);
        let server = &mut self.held[at].server;
        server.make_known(&def, &statement.text, &statement.types, audience)?;
        server.cancel.facts.note_prepared(server.prepared.len());
        self.tally.add(Count::ServerParses, 1);
        Ok(def)
    }
}

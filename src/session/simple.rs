//! The simple protocol: one Query message, one or several statements, one ReadyForQuery.

use std::sync::Arc;
use std::time::Instant;

use crate::backend::inflight::{Audience, Owed};
use crate::exec::forward::{NO_POSITION, Seen};
use crate::fault::{Fault, SqlState};
use crate::metrics::Route;
use crate::plan::{self, Inputs, Parameters, Plan, PlanKind};
use crate::session::aside::is_large;
use crate::session::batch::MOVES;
use crate::session::control::is_local;
use crate::session::fetch::Wanted;
use crate::session::local::LocalRows;
use crate::session::prepared::BoundValues;
use crate::session::replica::Servers;
use crate::session::retry::is_lost;
use crate::session::run::Ask;
use crate::session::sql_execute::{Call, executes};
use crate::session::transaction::TxState;
use crate::session::{Failure, Session, Stop, of_server};
use crate::sql::lexer::under_any_setting;
use crate::sql::shorten::analyze_large;
use crate::sql::utility::{StatementKind, TransactionStatement, execution};
use crate::sql::words::first_parameter;
use crate::sql::{Analysis, split};
use crate::wire::frame::{BindView, Frame, HEADER, not_utf8};
use crate::wire::reply;

/// How often a read is sent again whose server broke before a word of its answer.
const SENT_AGAIN: u8 = 2;

impl Session {
    pub(super) async fn simple_query(&mut self, frame: Frame) -> Result<(), Stop> {
        let ends_batch = self.batch.is_open();
        if ends_batch && !self.leave_batch().await? {
            return Ok(());
        }
        self.offset = 0;
        self.start_clock();
        self.statements.drop_unnamed();
        if let Some(portal) = self.statements.remove_portal(b"") {
            self.close_place(portal.place).await;
        }
        let outcome = match self.begin_message().await {
            Ok(()) => {
                self.settle_sequences();
                self.run_query(&frame).await
            }
            Err(failure) => Err(failure),
        };
        self.client.hold_done(false);
        // Before a connection is given back: one with a request on its way would be closed.
        self.settle_expired().await;
        let ready_sent = match outcome {
            Ok(ready_sent) => ready_sent,
            Err(failure) => {
                self.fail_statement(failure).await?;
                false
            }
        };
        self.rest_behind_query(ends_batch).await;
        if !ready_sent {
            self.ready_for_query();
        }
        self.end_query().await
    }

    /// Nothing is left of what was open for the message alone.
    async fn rest_behind_query(&mut self, ends_batch: bool) {
        if self.tx.state == TxState::Implicit {
            self.roll_back_quietly().await;
        }
        if ends_batch {
            self.batch.executed = false;
            self.batch.queried = false;
            self.forget_batch().await;
        }
        self.release_idle();
        self.settle_sequences();
    }

    /// The client has its ReadyForQuery.
    async fn end_query(&mut self) -> Result<(), Stop> {
        // Behind the end of what it has done: in the middle of a pipeline nothing is committed yet.
        self.note_written();
        let flushed = self.client.flush().await.map_err(|_| Stop::Gone);
        if flushed.is_ok() {
            self.give_back_values().await;
        }
        self.end_request();
        flushed
    }

    /// FunctionCall: refused in its place. What came before it in a pipeline is answered first, and undone with it.
    pub(super) async fn function_call(&mut self) -> Result<(), Stop> {
        let ends_batch = self.batch.is_open();
        if ends_batch && !self.leave_batch().await? {
            return Ok(());
        }
        self.start_clock();
        let fault = Fault::unsupported(
            "function call messages are not supported",
            "The fastpath interface of the protocol cannot be routed.",
            "Call the function in a SELECT.",
        );
        self.fail_statement(Failure::Fault(fault)).await?;
        self.rest_behind_query(ends_batch).await;
        self.ready_for_query();
        self.end_query().await
    }

    /// Tells the client of a failure and puts the transaction into the state that Postgres would be in.
    pub(super) async fn fail_statement(&mut self, failure: Failure) -> Result<(), Stop> {
        match failure {
            Failure::Stop(stop) => return Err(stop),
            Failure::Fault(fault) => self.tell(&fault),
            Failure::Reported => {}
        }
        self.memory.failed();
        self.tx.fail();
        if self.tx.state == TxState::Implicit {
            self.roll_back_quietly().await;
        }
        self.give_back_locks().await;
        // What was set in the transaction is undone on the servers.
        self.report_joined();
        Ok(())
    }

    /// Runs every statement of the message. True: ReadyForQuery has been queued with the last server's answer.
    async fn run_query(&mut self, frame: &Frame) -> Result<bool, Failure> {
        let text = query_text(frame)?;
        self.see_own_changes().await?;
        self.heed_strings(text).await?;
        self.say_message(&frame.bytes, HEADER..HEADER + text.len());
        self.take_hint(text)?;
        let written = split::without_first_semicolons(text);
        let first = written.as_deref().unwrap_or(text);
        let known = match is_large(first.len()) {
            true => Box::pin(self.read_aside(first)).await?,
            false => self.known_or_scanned(first)?,
        };
        if let Some(analysis) = known {
            let analysis = self.seen(first, analysis).await?;
            let alone = self.tx.state == TxState::None;
            let frame = if written.is_none() { Some(frame) } else { None };
            let ready_sent = self.run_placed(first, frame, analysis, alone).await?;
            self.commit_message().await?;
            return Ok(ready_sent);
        }
        // Postgres reads them all before it runs the first, whatever that sets.
        let standard_strings = self.scope.standard_strings();
        let parts = match split::statements(text, standard_strings) {
            Ok(parts) => parts,
            Err(error) => {
                // A server has the words for it, and the place.
                self.check_syntax(text).await?;
                return Err(scan_fault(error).into());
            }
        };
        if parts.is_empty() {
            self.client.out.extend_from_slice(reply::EMPTY_QUERY);
            self.commit_message().await?;
            return Ok(false);
        }
        self.check_syntax(text).await?;
        self.tx.begin_message(&self.settings);
        // One Postgres commits before it says so of the last statement.
        self.client.hold_done(true);
        let (whole, mut counted, mut characters) = (text, 0, 0);
        for part in parts {
            self.say_message(&frame.bytes, HEADER + part.start..HEADER + part.end);
            characters += whole[counted..part.start].chars().count();
            counted = part.start;
            self.offset = u32::try_from(characters).unwrap_or(u32::MAX);
            self.heed_strings(&whole[part.clone()]).await?;
            let read = self.as_read(&whole[part.clone()], standard_strings)?;
            if read.is_some() {
                self.offset = NO_POSITION;
            }
            let text = read.as_deref().unwrap_or(&whole[part]);
            self.take_hint(text)?;
            // As in Postgres, each has its own time.
            self.start_deadlines(Instant::now());
            self.see_own_changes().await?;
            if is_large(text.len()) {
                Box::pin(self.go_aside()).await?;
            }
            self.scan_one(text)?;
            let tree = self.hold_tree()?;
            let analysis = self.analysis(text);
            drop(tree);
            let analysis = self.seen(text, analysis).await?;
            self.run_placed(text, None, analysis, false).await?;
            if self.tx.state == TxState::None {
                // A COMMIT within the message ended what was open: the rest is a transaction of its own again.
                self.tx.begin_message(&self.settings);
            }
        }
        self.commit_message().await?;
        Ok(false)
    }

    /// The end of a Query whose statements are one transaction, with the batch before it. As in Postgres, the last statement is not
    /// done before that is committed.
    async fn commit_message(&mut self) -> Result<(), Failure> {
        if self.tx.state != TxState::Implicit {
            return Ok(());
        }
        let done = self.client.take_done();
        self.client.hold_news();
        let committed = self.commit().await;
        if committed.is_ok() {
            self.client.out.extend_from_slice(&done);
        }
        self.client.tell_news();
        committed.map(drop)
    }

    /// The analysis of `text` when it is one statement, with its literals in `self.scan`.
    pub(super) fn known_or_scanned(&mut self, text: &str) -> Result<Option<Arc<Analysis>>, Failure> {
        let names = self.scope.names(&self.view, &self.tx, &self.held);
        if let Some(analysis) = self.recent.find(text, &names, &mut self.scan) {
            self.shared.metrics.plan_cache_hits.inc();
            return Ok(Some(Arc::clone(analysis)));
        }
        if !self.scan_one(text)? {
            return Ok(None);
        }
        let tree = self.hold_tree()?;
        let analysis = self.analysis(text);
        drop(tree);
        self.recent.keep(text, &self.scan, &self.scope.names(&self.view, &self.tx, &self.held), &analysis);
        Ok(Some(analysis))
    }

    /// Scans into `self.scan`; true when `text` is one statement.
    pub(super) fn scan_one(&mut self, text: &str) -> Result<bool, Failure> {
        match crate::sql::template::scan(text, self.scope.standard_strings(), &mut self.scan) {
            Ok(()) => Ok(self.scan.next_statement.is_none()),
            // Where a backslash escapes what follows, strings end elsewhere.
            Err(_) if !self.scope.standard_strings() && memchr::memchr(b'\\', text.as_bytes()).is_some() => {
                Ok(split::statements(text, false).map_or(true, |parts| parts.len() <= 1))
            }
            // Postgres has the right words for what its own lexer refuses; the analysis sends it there.
            Err(_) => Ok(true),
        }
    }

    /// One of several statements whose strings were read under this `standard_conforming_strings`, written so that it says the same now.
    /// Of backslashes in them a server has told already. `None`: it does so as it is.
    fn as_read(&self, text: &str, standard_strings: bool) -> Result<Option<String>, Fault> {
        let stays = standard_strings && self.scope.standard_strings();
        if stays || memchr::memchr2(b'\\', b'&', text.as_bytes()).is_none() {
            return Ok(None);
        }
        under_any_setting(text, standard_strings).map_err(|_| {
            Fault::unsupported(
                "statement is not supported behind one that changes standard_conforming_strings",
                "a string in it was read under the setting of before",
                "Send the statement in a message of its own.",
            )
        })
    }

    /// The analysis of the statement that `self.scan` was made of.
    pub(super) fn analysis(&mut self, text: &str) -> Arc<Analysis> {
        let names = self.scope.names(&self.view, &self.tx, &self.held);
        match self.shared.plans.get(&self.scan, text, &names) {
            Some(analysis) => {
                self.shared.metrics.plan_cache_hits.inc();
                analysis
            }
            None => {
                self.shared.metrics.plan_cache_misses.inc();
                let analysis = Arc::new(analyze_large(text, &self.scan, &names));
                self.shared.plans.insert(&self.scan, text, &names, Arc::clone(&analysis));
                analysis
            }
        }
    }

    /// [`Self::run_statement`]; where rows have moved before anything of it was sent, once more as they lie now.
    async fn run_placed(
        &mut self,
        text: &str,
        frame: Option<&Frame>,
        mut analysis: Arc<Analysis>,
        last: bool,
    ) -> Result<bool, Failure> {
        self.is_counted = false;
        for _ in 0..MOVES {
            match self.run_statement(text, frame, &analysis, last).await {
                Err(failure) if self.follows(&failure) => {
                    self.scan_one(text)?;
                    analysis = self.analysis(text);
                    analysis = self.seen(text, analysis).await?;
                }
                done => return done,
            }
        }
        self.run_statement(text, frame, &analysis, last).await
    }

    /// One statement of a simple Query. `last`: it is the only one, so its server may speak the ReadyForQuery.
    async fn run_statement(
        &mut self,
        text: &str,
        frame: Option<&Frame>,
        analysis: &Arc<Analysis>,
        last: bool,
    ) -> Result<bool, Failure> {
        self.check_read_not_failed(&analysis.kind, text).await?;
        if let StatementKind::Empty = analysis.kind {
            self.client.out.extend_from_slice(reply::EMPTY_QUERY);
            return Ok(false);
        }
        self.note_fetch(&analysis.kind);
        if let Some(portal) = self.own_portal(text, &analysis.kind) {
            self.run_on_portal(&portal, text, Wanted { formats: &[], describes: true }).await?;
            return Ok(false);
        }
        if (is_local(&analysis.kind) || matches!(analysis.kind, StatementKind::Transaction(_)))
            && let Some(local) = self.run_local(text, analysis, true).await?
        {
            self.note_route(Route::Local, 0);
            if !local.columns.is_empty() {
                let description = local.describe(&[])?;
                self.client.out.extend_from_slice(&description);
            }
            local.put_rows(&mut self.client.out, &[])?;
            return Ok(false);
        }
        self.check_in_block(&analysis.kind)?;
        self.check_replicas(analysis).await?;
        if executes(&analysis.kind) && self.run_execute(text).await? {
            self.reload_catalog().await;
            return Ok(false);
        }
        self.check_sequences(analysis)?;
        let plan = self.plan(text, analysis);
        self.keep_pace().await?;
        if let PlanKind::Draw(draw) = &plan.kind {
            let (text, analysis) = self.drawn(text, draw).await?;
            // Where an error is in the text with the values is not where it is in the client's.
            let offset = std::mem::replace(&mut self.offset, NO_POSITION);
            let done = Box::pin(self.run_statement(&text, None, &analysis, last)).await;
            self.offset = offset;
            return done;
        }
        // What a registry has found on the primaries need not have come to a replica.
        let found = matches!(plan.kind, PlanKind::Lookup(_));
        let plan = self.look_up(plan).await?;
        self.note_plan(&plan);
        self.note_plan_sequences(analysis, &plan);
        let done = match &plan.kind {
            // Its shard does not commit it alone.
            PlanKind::Single(shard) if self.registers(&plan) && !self.tx.is_open() => {
                let shard = self.at_cursor(&analysis.kind, *shard).await?;
                self.run_call(shard, plan.access, analysis, &Ask::Query { text }).await?;
                false
            }
            PlanKind::Single(shard) => {
                let shard = self.at_cursor(&analysis.kind, *shard).await?;
                self.single_query(shard, text, frame, analysis, &plan, Place { last, found }).await?
            }
            PlanKind::Any => {
                let shard = self.any_shard();
                self.single_query(shard, text, frame, analysis, &plan, Place { last, found }).await?
            }
            _ => {
                self.check_parameters(text, analysis)?;
                self.run_multi(&plan, analysis, &Ask::Query { text }).await?;
                false
            }
        };
        self.note_definition(analysis, plan.one_shard());
        self.reload_catalog().await;
        Ok(done)
    }

    /// `42P02` for a parameter in a simple Query, where no server is asked that would say so.
    fn check_parameters(&self, text: &str, analysis: &Analysis) -> Result<(), Fault> {
        use StatementKind::{Delete, Insert, Query, Update};
        if analysis.parameters == 0 || !matches!(analysis.kind, Query | Insert | Update | Delete) {
            return Ok(());
        }
        let Some(bytes) = first_parameter(text, self.scope.standard_strings()) else { return Ok(()) };
        let before = text.get(..bytes.start).map_or(0, |before| before.chars().count());
        let position = u32::try_from(before + 1).unwrap_or(u32::MAX).saturating_add(self.offset);
        let name = text.get(bytes).unwrap_or_default();
        Err(Fault::new(SqlState::UNDEFINED_PARAMETER, format!("there is no parameter {name}")).position(position))
    }

    pub(super) fn plan(&self, text: &str, analysis: &Analysis) -> Plan {
        let inputs = Inputs { text, slots: &self.scan.slots, parameters: None };
        self.plan_of(analysis, &inputs)
    }

    /// The statement runs on one shard as it is; true when the shard's own ReadyForQuery went to the client.
    async fn single_query(
        &mut self,
        shard: crate::ids::ShardId,
        text: &str,
        frame: Option<&Frame>,
        analysis: &Analysis,
        plan: &Plan,
        Place { last, found }: Place,
    ) -> Result<bool, Failure> {
        self.check_cursor_of_shard(&analysis.kind, shard).await?;
        let told = self.told_time(shard, analysis, text).await?;
        let (frame, text) = match &told {
            None => (frame, text),
            Some(told) => (None, &**told),
        };
        // Where an error is in a text with the time is not where it is in the client's.
        let offset = if told.is_some() { NO_POSITION } else { self.offset };
        let offset = std::mem::replace(&mut self.offset, offset);
        let done = self.put_single(shard, text, frame, analysis, plan, Place { last, found }).await;
        self.offset = offset;
        done
    }

    /// The same, of a text for this shard.
    async fn put_single(
        &mut self,
        shard: crate::ids::ShardId,
        text: &str,
        frame: Option<&Frame>,
        analysis: &Analysis,
        plan: &Plan,
        Place { last, found }: Place,
    ) -> Result<bool, Failure> {
        let mut servers = self.servers_for(analysis)?;
        if self.tx.on_replicas.is_none() && found {
            servers = Servers::Primaries;
        }
        let ready = if last && !self.tx.is_open() { Audience::Client } else { Audience::Router };
        // The primary may be on its way down too, and say so on one connection after the other.
        let (mut left, fresh) = (SENT_AGAIN, self.is_fresh());
        let at = loop {
            let at = match self.enlist_on(shard, servers).await {
                // It broke while it was told the session's settings.
                Err(Failure::Fault(fault)) if left > 0 && analysis.only_reads && fresh && is_lost(&fault) => {
                    self.ask_primaries();
                    (left, servers) = (left - 1, Servers::Primaries);
                    continue;
                }
                enlisted => enlisted?,
            };
            let held = &mut self.held[at];
            held.note_access(plan.access);
            held.note_pin(analysis.pin);
            held.note_unlocks(analysis.unlocks);
            self.note_code(at, analysis, text);
            let held = &mut self.held[at];
            match frame {
                Some(frame) => held.server.put(&frame.bytes),
                None => crate::wire::request::query(&mut held.server.out, text.as_bytes())?,
            }
            held.server.inflight.push(Owed::Query { audience: Audience::Client, ready });
            if left == 0 || !self.may_ask_again(at, analysis, fresh) || self.answers(at).await? {
                break at;
            }
            self.ask_primaries();
            (left, servers) = (left - 1, Servers::Primaries);
        };
        let seen = self.pump_held(at).await?;
        self.note_cursor(&analysis.kind, shard);
        self.after_single(at, seen)?;
        self.after_close(&analysis.kind, shard).await?;
        Ok(seen.ready)
    }

    /// The server's word on the transaction, after a statement went through it untouched.
    pub(super) fn after_single(&mut self, at: usize, seen: Seen) -> Result<(), Failure> {
        if seen.error {
            self.clock.failed = seen.sqlstate.map(SqlState);
            let blame = self.clock.failed.map_or("server", of_server);
            self.shared.metrics.error(seen.sqlstate(), blame);
            self.memory.failed();
            self.tx.fail();
            if seen.ready && !self.tx.is_open() {
                return Ok(());
            }
            return Err(Failure::Reported);
        }
        let server = &mut self.held[at].server;
        if !self.tx.is_open() && server.status != reply::Status::Idle {
            // A transaction that we did not see begin: never shared, and ended with the client.
            self.held[at].pin.get_or_insert(crate::sql::analyze::PinReason::Code);
        }
        Ok(())
    }

    /// `25P01` for what counts in a block only, and meets the router's own transaction on the servers: they would take it.
    pub(super) fn check_in_block(&self, kind: &StatementKind) -> Result<(), Fault> {
        let ours = self.tx.state == TxState::Implicit && !self.tx.counts_as_block();
        match kind {
            StatementKind::Lock if ours => self.need_block("LOCK TABLE"),
            StatementKind::Declare { hold: false, .. } if ours => self.need_block("DECLARE CURSOR"),
            _ => Ok(()),
        }
    }

    /// `25P02` for everything but the end of a failed block.
    pub(super) fn check_not_failed(&self, kind: &StatementKind) -> Result<(), Failure> {
        use TransactionStatement as Tx;
        let ends = matches!(
            kind,
            StatementKind::Transaction(Tx::Commit { .. } | Tx::Rollback { .. } | Tx::RollbackTo(_))
                | StatementKind::Empty
        );
        if self.tx.has_failed() && !ends {
            return Err(aborted().into());
        }
        Ok(())
    }

    /// Rows of EXPLAIN (ROUTE) for the statement that starts at `inner`.
    pub(super) async fn explain_route(&mut self, text: &str, inner: usize, json: bool) -> Result<LocalRows, Failure> {
        let text = text.get(inner..).unwrap_or("");
        self.scan_one(text)?;
        let analysis = self.analysis(text);
        match &analysis.kind {
            StatementKind::Transaction(TransactionStatement::Commit { .. }) => {
                Ok(LocalRows::of("QUERY PLAN", vec![self.explain_commit()], "EXPLAIN"))
            }
            StatementKind::Execute(_) if let Some(found) = execution(text) => {
                let Call { statement, bind } = self.call(text, &found, &[]).await?;
                self.scan_one(&statement.text)?;
                let values = BindView::read(&bind)?.parameters;
                let values = BoundValues { statement: &statement, values: &values };
                let plan = self.plan_values(&statement, &values);
                let plan = self.look_up_shown(plan).await?;
                Ok(self.routes(plan, &statement.text, &statement.analysis, Some(&values), json))
            }
            _ => {
                let plan = self.plan(text, &analysis);
                let plan = self.look_up_shown(plan).await?;
                Ok(self.routes(plan, text, &analysis, None, json))
            }
        }
    }

    /// How the statement that `self.scan` was made of is routed, line by line.
    fn routes(
        &self,
        mut plan: Plan,
        text: &str,
        analysis: &Analysis,
        parameters: Option<&dyn Parameters>,
        json: bool,
    ) -> LocalRows {
        let inputs = Inputs { text, slots: &self.scan.slots, parameters };
        let view = self.plan_view();
        self.show_combine(&mut plan);
        let advice = plan::advice::advice(&plan, &inputs, &self.scan, &self.names(), &view);
        let lines = if json {
            vec![plan::explain::json(&plan, analysis, &view, &advice)]
        } else {
            let mut lines = plan::explain::text(&plan, analysis, &view);
            lines.extend(plan::advice::lines(&advice));
            lines
        };
        LocalRows::of("QUERY PLAN", lines, "EXPLAIN")
    }
}

/// How a statement stands that one shard runs as it is.
struct Place {
    /// It is the only one of its message.
    last: bool,
    /// A registry has told its shard.
    found: bool,
}

/// The transaction has failed, and nothing runs in it.
pub(super) fn aborted() -> Fault {
    Fault::new(
        SqlState::IN_FAILED_SQL_TRANSACTION,
        "current transaction is aborted, commands ignored until end of transaction block",
    )
}

/// The text of a Query message.
pub fn query_text(frame: &Frame) -> Result<&str, Fault> {
    let mut fields = crate::wire::frame::Fields::new(frame.body());
    let text = fields.cstr().map_err(|_| Fault::new(SqlState::PROTOCOL_VIOLATION, "invalid string in message"))?;
    fields.end().map_err(|_| Fault::new(SqlState::PROTOCOL_VIOLATION, "invalid message format"))?;
    utf8(text)
}

/// Statement text as UTF-8; Postgres's own words when it is not.
pub fn utf8(text: &[u8]) -> Result<&str, Fault> {
    std::str::from_utf8(text).map_err(|error| not_utf8(text.get(error.valid_up_to()..).unwrap_or_default()))
}

fn scan_fault(error: crate::sql::lexer::ScanError) -> Fault {
    Fault::new(SqlState::SYNTAX_ERROR, "syntax error in a query of several statements")
        .detail(format!("the statements cannot be told apart: {error:?}"))
}

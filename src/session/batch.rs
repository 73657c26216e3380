//! The extended protocol: what lies between two Syncs. Messages are turned into requests to one server at a time, with the
//! replies in the client's order; a pipeline that meets several shards becomes a transaction over them.

use std::sync::{Arc, Mutex};

use bytes::{Bytes, BytesMut};

use crate::backend::inflight::{Audience, Owed};
use crate::backend::prepared::StatementDef;
use crate::exec::forward::Seen;
use crate::exec::scatter::{describe_with_formats, visible};
use crate::fault::{Fault, SqlState};
use crate::ids::{Oid, ShardId};
use crate::metrics::QueryClass;
use crate::plan::combine::Combine;
use crate::plan::{self, Inputs, Parameters, Plan, PlanKind, View};
use crate::session::control::is_local;
use crate::session::prepared::{BoundValues, ClientStatement, Place, Portal};
use crate::session::run::Ask;
use crate::session::simple::{changes_catalog, utf8};
use crate::session::transaction::TxState;
use crate::session::{Failure, Session, Stop};
use crate::sql::Analysis;
use crate::sql::template::SlotKind;
use crate::sql::utility::StatementKind;
use crate::wire::frame::{BindValues, BindView, Fields, Frame, Malformed, ParseView};
use crate::wire::{reply, request};

/// Bytes queued for a server in one batch before they are written though no Sync has come.
const BATCH_HIGH: usize = 64 * 1024;

/// The state of the batch that the client is in.
#[derive(Debug, Default)]
pub struct Batch {
    /// The shard whose connection has messages of this batch and no Sync behind them.
    open: Option<ShardId>,
    /// The open server has bound or run something in this batch: its implicit transaction matters.
    bound: bool,
    /// A Parse that no server has been asked about yet.
    pending_parse: Option<(Box<[u8]>, Arc<ClientStatement>)>,
    /// Names whose Parse was sent to the open server for the client, in order, and not proven yet.
    unproven: Vec<Box<[u8]>>,
    /// After an error: everything is skipped until Sync.
    pub discarding: bool,
    /// Messages have come since the last Sync.
    started: bool,
    /// DDL ran in this transaction: the catalog is read again at its end.
    pub reload_catalog: bool,
}

impl Batch {
    pub fn is_open(&self) -> bool {
        self.started
    }
}

impl Session {
    pub(super) async fn extended(&mut self, frame: Frame) -> Result<(), Stop> {
        if !self.batch.started {
            self.batch.started = true;
            self.start_clock();
            self.refresh_view();
        }
        let done = match frame.tag {
            b'P' => self.parse(&frame).await,
            b'B' => self.bind(&frame).await,
            b'D' => self.describe(&frame).await,
            b'E' => self.execute(&frame).await,
            b'C' => self.close(&frame).await,
            b'H' => self.flush_batch().await,
            _ => return self.sync().await,
        };
        match done {
            Ok(()) if self.is_relaxed() => Ok(()),
            Ok(()) => self.relieve().await,
            Err(failure) => self.fail_batch(failure).await,
        }
    }

    /// Whether the open server can take more of this batch before anything is written.
    fn is_relaxed(&self) -> bool {
        self.open_at().is_none_or(|at| self.held[at].server.out.len() < BATCH_HIGH)
    }

    /// An error within a batch: told in its place, and the rest is skipped until Sync.
    async fn fail_batch(&mut self, failure: Failure) -> Result<(), Stop> {
        match failure {
            Failure::Stop(stop) => return Err(stop),
            Failure::Reported => {}
            Failure::Fault(fault) => {
                // What came before must be answered before.
                match self.drain_open().await {
                    Ok(()) => self.tell(&fault),
                    Err(Failure::Stop(stop)) => return Err(stop),
                    // It failed before us: that is the error that the client gets.
                    Err(Failure::Reported) => {}
                    Err(Failure::Fault(earlier)) => self.tell(&earlier),
                }
                // The server knows of no error and would commit what came before: it must not.
                if !self.tx.is_open() {
                    self.drop_open();
                }
            }
        }
        if let Some((name, _)) = self.batch.pending_parse.take() {
            self.statements.remove(&name);
        }
        self.batch.discarding = true;
        self.tx.fail();
        Ok(())
    }

    /// Closes the open server's connection with its implicit transaction.
    fn drop_open(&mut self) {
        if let Some(shard) = self.batch.open.take()
            && let Some(at) = self.held.position(shard)
        {
            self.held[at].server.broken = true;
            self.let_go(at);
        }
    }

    /// Bytes of our own at this place in the order of replies.
    fn answer(&mut self, bytes: &[u8]) {
        if let Some(at) = self.open_at() {
            let inflight = &mut self.held[at].server.inflight;
            if !inflight.is_empty() {
                inflight.push(Owed::Local(Bytes::copy_from_slice(bytes)));
                return;
            }
        }
        self.client.answer(bytes);
    }

    fn open_at(&self) -> Option<usize> {
        self.held.position(self.batch.open?)
    }

    async fn parse(&mut self, frame: &Frame) -> Result<(), Failure> {
        let view = ParseView::read(frame.body()).map_err(Fault::from)?;
        let text = utf8(view.text)?;
        self.settle_parse().await?;
        self.statements.check_new(view.name)?;
        let statement = match self.parsed_before(&view, text) {
            Some(statement) => {
                self.check_not_failed(&statement.analysis.kind)?;
                statement
            }
            None => {
                let Some(analysis) = self.known_or_scanned(text)? else {
                    return Err(Fault::new(
                        SqlState::SYNTAX_ERROR,
                        "cannot insert multiple commands into a prepared statement",
                    )
                    .into());
                };
                self.check_not_failed(&analysis.kind)?;
                self.client_statement(text.into(), view.types.into(), analysis)
            }
        };
        let kind = &statement.analysis.kind;
        let local = is_local(kind) || *kind == StatementKind::Empty;
        self.statements.insert(view.name, Arc::clone(&statement), self.shared.limits.max_statements)?;
        if local {
            self.answer(reply::PARSE_COMPLETE);
        } else {
            // A server answers for it: the one that Bind leads to, when Bind comes next.
            self.batch.pending_parse = Some((view.name.into(), statement));
        }
        Ok(())
    }

    /// The unnamed statement, when this Parse would make it again as it is.
    fn parsed_before(&self, view: &ParseView<'_>, text: &str) -> Option<Arc<ClientStatement>> {
        let last = self.statements.get(view.name).ok().filter(|_| view.name.is_empty())?;
        let same = *last.text == *text
            && *view.types == *last.types
            && last.meaning == self.meaning
            && last.scope == self.scope.fingerprint()
            && last.generation == self.view.catalog.generation
            && last.epoch == self.view.topology.epoch;
        same.then(|| Arc::clone(last))
    }

    /// A statement under what names and literals mean now; its literals are in `self.scan`.
    fn client_statement(&self, text: Arc<str>, types: Box<[Oid]>, analysis: Arc<Analysis>) -> Arc<ClientStatement> {
        Arc::new(ClientStatement {
            text,
            types,
            slots: self.scan.slots.clone(),
            generation: self.view.catalog.generation,
            epoch: self.view.topology.epoch,
            scope: self.scope.fingerprint(),
            meaning: self.meaning,
            def: Mutex::new(None),
            description: Mutex::new(None),
            analysis,
        })
    }

    /// A Parse that was not followed by its Bind is asked of a server now.
    async fn settle_parse(&mut self) -> Result<(), Failure> {
        let Some((name, statement)) = self.batch.pending_parse.take() else {
            return Ok(());
        };
        let tried = async {
            let shard = self.shard_for_describe(&statement).await?;
            self.open(shard).await
        };
        match tried.await {
            Ok(at) => {
                self.prepare_on(at, &statement, Some(name))?;
                Ok(())
            }
            Err(failure) => {
                self.statements.remove(&name);
                Err(failure)
            }
        }
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

    /// A shard that can tell what a statement is: the one at hand, or any that it could run on.
    async fn shard_for_describe(&mut self, statement: &Arc<ClientStatement>) -> Result<ShardId, Failure> {
        let plan = {
            let inputs = Inputs { text: &statement.text, slots: &statement.slots, parameters: None };
            plan::plan(&statement.analysis, &inputs, &self.plan_view())
        };
        let shard = match &plan.kind {
            PlanKind::Single(shard) => *shard,
            PlanKind::Scatter { shards, .. } => shards.min().unwrap_or(self.view.topology.home),
            // It may name tables that only the home shard has.
            PlanKind::Finish(_) => return Ok(self.view.topology.home),
            PlanKind::Refuse(fault) if statement.analysis.parameters == 0 => {
                return Err(self.refusal(fault, &statement.text, &statement.types).await);
            }
            PlanKind::Refuse(_)
            | PlanKind::Any
            | PlanKind::Broadcast(_)
            | PlanKind::Split { .. }
            | PlanKind::CopyIn(_) => self.any_shard(),
        };
        // Any shard that holds the tables will do; one that is open already costs nothing.
        Ok(match self.batch.open {
            Some(open) if !matches!(plan.kind, PlanKind::Single(_)) => open,
            _ => shard,
        })
    }

    fn plan_view(&self) -> View<'_> {
        View { topology: &self.view.topology, catalog: &self.view.catalog, in_transaction: self.tx.is_open() }
    }

    /// The connection of `shard`, with whatever another shard has in this batch brought to its end first.
    pub(super) async fn open(&mut self, shard: ShardId) -> Result<usize, Failure> {
        if let Some(open) = self.batch.open {
            if open == shard
                && let Some(at) = self.held.position(shard)
            {
                return Ok(at);
            }
            self.leave_open().await?;
        }
        let at = self.enlist(shard).await?;
        self.batch.open = Some(shard);
        Ok(at)
    }

    /// Brings the open server to a rest without ending its transaction: a pipeline that goes on elsewhere is one transaction.
    pub(super) async fn leave_open(&mut self) -> Result<(), Failure> {
        let Some(at) = self.open_at() else {
            self.batch.open = None;
            return Ok(());
        };
        if !self.tx.is_open() && !self.batch.bound {
            // It was only asked what statements are.
            self.sync_open(Audience::Router).await?;
            self.batch.open = None;
            self.release_idle();
            return Ok(());
        }
        if !self.tx.is_open() {
            // BEGIN behind statements of the same pipeline takes them into the block.
            let server = &mut self.held[at].server;
            request::parse(&mut server.out, b"", b"BEGIN", &[])?;
            server.inflight.push(Owed::Parse(Audience::Router));
            request::bind_raw(&mut server.out, b"", b"", &[0; 6])?;
            server.inflight.push(Owed::Bind(Audience::Router));
            request::execute(&mut server.out, b"", 0)?;
            server.inflight.push(Owed::Execute(Audience::Router));
            server.applied_before = Some(server.applied.clone());
            self.held[at].joined = true;
            self.tx.begin_implicit(&self.settings);
        }
        self.sync_open(Audience::Router).await?;
        self.batch.open = None;
        self.batch.bound = false;
        Ok(())
    }

    /// Sync on the open server and everything up to its answer.
    async fn sync_open(&mut self, ready: Audience) -> Result<Seen, Failure> {
        let Some(at) = self.open_at() else {
            return Ok(Seen::default());
        };
        let server = &mut self.held[at].server;
        server.out.extend_from_slice(request::SYNC);
        server.inflight.push(Owed::Sync(ready));
        let seen = self.pump_held(at).await?;
        self.after_pump(seen)?;
        Ok(seen)
    }

    /// Everything that the open server owes so far, without a Sync.
    pub(super) async fn drain_open(&mut self) -> Result<(), Failure> {
        let Some(at) = self.open_at() else {
            return Ok(());
        };
        let server = &mut self.held[at].server;
        if server.inflight.is_empty() {
            return Ok(());
        }
        server.out.extend_from_slice(request::FLUSH);
        let seen = self.pump_held(at).await?;
        self.after_pump(seen)
    }

    fn after_pump(&mut self, seen: Seen) -> Result<(), Failure> {
        if seen.error {
            self.shared.metrics.error(seen.sqlstate(), "client");
            self.forget_unproven();
            return Err(Failure::Reported);
        }
        if let Some(at) = self.open_at() {
            self.held[at].server.inflight.take_parsed();
        }
        self.batch.unproven.clear();
        Ok(())
    }

    /// After an error nobody knows which Parse of the batch succeeded: the server's own word is asked again next time.
    fn forget_unproven(&mut self) {
        if let Some(at) = self.open_at() {
            let server = &mut self.held[at].server;
            let proven = server.inflight.take_parsed();
            for name in std::mem::take(&mut self.batch.unproven).into_iter().skip(proven) {
                self.statements.remove(&name);
            }
            for id in std::mem::take(&mut server.unproven) {
                if let Some(def) = server.prepared.forget(id) {
                    server.doubtful.push(def);
                }
            }
        }
    }

    /// Makes the statement known on this connection. `parsing`: the client waits for the ParseComplete of this name.
    pub(super) fn prepare_on(
        &mut self,
        at: usize,
        statement: &Arc<ClientStatement>,
        parsing: Option<Box<[u8]>>,
    ) -> Result<Arc<StatementDef>, Fault> {
        let def = {
            let mut slot = statement.def.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let def = slot.get_or_insert_with(|| {
                self.shared.registry.intern(&statement.text, &statement.types, statement.generation, statement.meaning)
            });
            Arc::clone(def)
        };
        let server = &mut self.held[at].server;
        if server.prepared.touch(def.id) {
            if parsing.is_some() {
                self.answer(reply::PARSE_COMPLETE);
            }
            return Ok(def);
        }
        if statement.meaning != self.meaning && statement.slots.iter().any(|slot| slot.kind != SlotKind::Integer) {
            return Err(Fault::unsupported(
                "the prepared statement was made under other settings",
                "A literal in it may mean something else under the settings that the session has now.",
                "Prepare the statement again.",
            ));
        }
        let audience = if parsing.is_some() { Audience::Client } else { Audience::Router };
        self.batch.unproven.extend(parsing);
        let server = &mut self.held[at].server;
        if let Some(evicted) = server.prepared.insert(&def) {
            request::close(&mut server.out, request::Target::Statement, evicted.name.as_bytes())?;
            server.inflight.push(Owed::Close(Audience::Router));
        }
        for doubtful in std::mem::take(&mut server.doubtful) {
            // Closing what does not exist is no error.
            request::close(&mut server.out, request::Target::Statement, doubtful.name.as_bytes())?;
            server.inflight.push(Owed::Close(Audience::Router));
        }
        request::parse(&mut server.out, def.name.as_bytes(), statement.text.as_bytes(), &statement.types)?;
        server.inflight.push(Owed::Parse(audience));
        server.unproven.push(def.id);
        Ok(def)
    }

    async fn bind(&mut self, frame: &Frame) -> Result<(), Failure> {
        let whole;
        let frame = if self.client.rest() == 0 {
            frame
        } else {
            match Box::pin(self.bind_large(frame)).await? {
                None => return Ok(()),
                Some(frame) => {
                    whole = frame;
                    &whole
                }
            }
        };
        let view = match BindView::read(frame.body()) {
            Ok(view) => view,
            Err(fault) => {
                // A Parse before it was good all the same.
                self.settle_parse().await?;
                return Err(fault.into());
            }
        };
        let mut statement = Arc::clone(self.statements.get(view.statement)?);
        self.check_not_failed(&statement.analysis.kind)?;
        if statement.generation != self.view.catalog.generation {
            statement = self.renew(view.statement, &statement)?;
        }
        if view.portal.is_empty()
            && let Some(portal) = self.statements.remove_portal(b"")
        {
            self.close_place(portal.place).await;
        }
        let used = match statement.analysis.kind {
            // The parameters in the text are those of the statement that it prepares.
            StatementKind::Prepare(_) => 0,
            _ => usize::from(statement.analysis.parameters),
        };
        let required = statement.types.len().max(used);
        if view.parameters.len() != required {
            self.settle_parse().await?;
            return Err(Fault::new(
                SqlState::PROTOCOL_VIOLATION,
                format!(
                    "bind message supplies {} parameters, but prepared statement \"{}\" requires {required}",
                    view.parameters.len(),
                    String::from_utf8_lossy(view.statement),
                ),
            )
            .into());
        }
        let kind = &statement.analysis.kind;
        if is_local(kind) || *kind == StatementKind::Empty {
            self.settle_parse().await?;
            self.statements.put_portal(
                view.portal,
                Portal { statement, formats: result_formats(frame.body())?, place: Place::Local },
            )?;
            self.answer(reply::BIND_COMPLETE);
            return Ok(());
        }
        let plan = self.plan_bound(&statement, &view.parameters);
        let single = match &plan.kind {
            PlanKind::Single(shard) => Some(*shard),
            PlanKind::Any => Some(self.batch.open.unwrap_or_else(|| self.any_shard())),
            PlanKind::Refuse(fault) => {
                self.note_plan(&plan);
                return Err(self.refusal(fault, &statement.text, &statement.types).await);
            }
            PlanKind::Broadcast(_)
            | PlanKind::Scatter { .. }
            | PlanKind::Finish(_)
            | PlanKind::Split { .. }
            | PlanKind::CopyIn(_) => None,
        };
        match single {
            Some(shard) => {
                let shard = self.cursor_shard_for(&statement).unwrap_or(shard);
                return self.bind_on(shard, &statement, &view, &plan).await;
            }
            None => {
                self.try_bind(&statement, &view).await?;
                let portal = Portal {
                    formats: result_formats(frame.body())?,
                    place: Place::Router {
                        bind: frame.bytes.slice(crate::wire::frame::HEADER..),
                        plan: Box::new(plan),
                    },
                    statement,
                };
                self.statements.put_portal(view.portal, portal)
            }
        }
        .map_err(Failure::from)
    }

    /// A Bind whose portal will run on several shards is tried on one of them: it has the word on what values are valid, and
    /// its BindComplete is the client's.
    async fn try_bind(&mut self, statement: &Arc<ClientStatement>, view: &BindView<'_>) -> Result<(), Failure> {
        const TRIAL: &[u8] = b"pgloom_bind";
        let parsing = self.parsing(statement).await?;
        let shard = self.shard_for_describe(statement).await?;
        let at = self.open(shard).await?;
        let def = self.prepare_on(at, statement, parsing)?;
        let server = &mut self.held[at].server;
        request::bind_raw(&mut server.out, TRIAL, def.name.as_bytes(), view.tail)?;
        server.inflight.push(Owed::Bind(Audience::Client));
        request::close(&mut server.out, request::Target::Portal, TRIAL)?;
        server.inflight.push(Owed::Close(Audience::Router));
        Ok(())
    }

    async fn bind_on(
        &mut self,
        shard: ShardId,
        statement: &Arc<ClientStatement>,
        view: &BindView<'_>,
        plan: &Plan,
    ) -> Result<(), Failure> {
        let (at, def) = self.bind_at(shard, statement, plan).await?;
        let held = &mut self.held[at];
        request::bind_raw(&mut held.server.out, view.portal, def.name.as_bytes(), view.tail)?;
        held.server.inflight.push(Owed::Bind(Audience::Client));
        let portal = Portal { statement: Arc::clone(statement), formats: Vec::new(), place: Place::Server(shard) };
        self.statements.put_portal(view.portal, portal)?;
        self.note_cursor(&statement.analysis.kind, shard);
        Ok(())
    }

    fn cursor_shard_for(&self, statement: &ClientStatement) -> Option<ShardId> {
        self.cursor_shard(&statement.analysis.kind)
    }

    pub(super) fn plan_bound(&self, statement: &ClientStatement, values: &BindValues<'_>) -> Plan {
        self.plan_values(statement, &BoundValues { types: &statement.types, values })
    }

    pub(super) fn plan_values(&self, statement: &ClientStatement, values: &dyn Parameters) -> Plan {
        let inputs = Inputs { text: &statement.text, slots: &statement.slots, parameters: Some(values) };
        plan::plan(&statement.analysis, &inputs, &self.plan_view())
    }

    /// The open server has a portal of this batch.
    pub(super) fn mark_bound(&mut self) {
        self.batch.bound = true;
    }

    /// The statement as it is under a newer catalog: analysed, and on the servers prepared, anew.
    fn renew(&mut self, name: &[u8], old: &Arc<ClientStatement>) -> Result<Arc<ClientStatement>, Failure> {
        let text = Arc::clone(&old.text);
        self.scan_one(&text)?;
        let analysis = self.analysis(&text);
        let statement = self.client_statement(text, old.types.clone(), analysis);
        if let Some((_, pending)) = self.batch.pending_parse.as_mut().filter(|(_, p)| Arc::ptr_eq(p, old)) {
            *pending = Arc::clone(&statement);
        }
        self.statements.replace(name, Arc::clone(&statement));
        Ok(statement)
    }

    async fn describe(&mut self, frame: &Frame) -> Result<(), Failure> {
        let (what, name) = target(frame)?;
        match what {
            b'S' => {
                let statement = Arc::clone(self.statements.get(name)?);
                self.describe_statement(&statement).await
            }
            _ => self.describe_portal(name).await,
        }
    }

    async fn describe_statement(&mut self, statement: &Arc<ClientStatement>) -> Result<(), Failure> {
        let kind = &statement.analysis.kind;
        if is_local(kind) || *kind == StatementKind::Empty {
            self.settle_parse().await?;
            let mut out = BytesMut::new();
            reply::parameter_description(&mut out, &[])?;
            match self.local_columns(kind)? {
                Some(rows) => out.extend_from_slice(&rows.describe(&[])?),
                None => out.extend_from_slice(reply::NO_DATA),
            }
            self.answer(&out);
            return Ok(());
        }
        let parsing = self.parsing(statement).await?;
        let shard = self.shard_for_describe(statement).await?;
        let at = self.open(shard).await?;
        let def = self.prepare_on(at, statement, parsing)?;
        let server = &mut self.held[at].server;
        request::describe(&mut server.out, request::Target::Statement, def.name.as_bytes())?;
        server.inflight.push(Owed::DescribeStatement(Audience::Client));
        Ok(())
    }

    /// The shard of a cursor that was declared in SQL: to Postgres it is a portal like any other.
    fn sql_cursor(&mut self, name: &[u8]) -> Option<ShardId> {
        if name.is_empty() || self.cursors.is_empty() || self.statements.portal(name).is_ok() {
            return None;
        }
        self.cursors.get(std::str::from_utf8(name).ok()?).copied()
    }

    async fn describe_portal(&mut self, name: &[u8]) -> Result<(), Failure> {
        if self.batch.pending_parse.is_some() {
            self.settle_parse().await?;
        }
        if let Some(shard) = self.sql_cursor(name) {
            let at = self.open(shard).await?;
            let server = &mut self.held[at].server;
            request::describe(&mut server.out, request::Target::Portal, name)?;
            server.inflight.push(Owed::DescribePortal(Audience::Client));
            return Ok(());
        }
        let portal = self.statements.portal(name)?;
        let statement = Arc::clone(&portal.statement);
        let formats = portal.formats.clone();
        let combine = match &portal.place {
            Place::Server(shard) => {
                let shard = *shard;
                let at = self.open(shard).await?;
                let server = &mut self.held[at].server;
                request::describe(&mut server.out, request::Target::Portal, name)?;
                server.inflight.push(Owed::DescribePortal(Audience::Client));
                return Ok(());
            }
            Place::Local => {
                match self.local_columns(&statement.analysis.kind)? {
                    Some(rows) => {
                        let description = rows.describe(&formats)?;
                        self.answer(&description);
                    }
                    None => self.answer(reply::NO_DATA),
                }
                return Ok(());
            }
            Place::Router { .. } | Place::Running(_) | Place::Finishing(_) | Place::Finished => Combine::CONCAT,
        };
        let columns = self.columns_of(&statement).await?;
        match columns {
            Some(columns) => {
                let description = describe_with_formats(&visible(&combine, &columns), &formats)?;
                self.answer(&description);
            }
            None => self.answer(reply::NO_DATA),
        }
        Ok(())
    }

    /// The result columns of a statement as one Postgres describes it, asked once and remembered.
    pub(super) async fn columns_of(
        &mut self,
        statement: &Arc<ClientStatement>,
    ) -> Result<Option<Vec<reply::Column>>, Failure> {
        let known = statement.described();
        let description = match known {
            Some((_, rows)) => rows,
            None => {
                self.drain_open().await?;
                let shard = self.shard_for_describe(statement).await?;
                let at = self.open(shard).await?;
                let def = self.prepare_on(at, statement, None)?;
                let server = &mut self.held[at].server;
                request::describe(&mut server.out, request::Target::Statement, def.name.as_bytes())?;
                server.inflight.push(Owed::DescribeStatement(Audience::Router));
                server.out.extend_from_slice(request::FLUSH);
                let mut rows = Bytes::new();
                let mut parameters = Bytes::new();
                while !server.inflight.is_empty() {
                    let frame = server.next_frame().await?;
                    match server.inflight.step(frame.tag) {
                        crate::backend::inflight::Verdict::OutOfStep => {
                            return Err(server.out_of_step(frame.tag).into());
                        }
                        crate::backend::inflight::Verdict::Error(_) => {
                            self.client.out.extend_from_slice(&frame.bytes);
                            self.forget_unproven();
                            return Err(Failure::Reported);
                        }
                        _ => {}
                    }
                    match frame.tag {
                        b't' => parameters = frame.bytes,
                        b'T' | b'n' => rows = frame.bytes,
                        b'N' => self.client.out.extend_from_slice(&frame.bytes),
                        _ => {}
                    }
                }
                statement.set_described(parameters, rows.clone());
                rows
            }
        };
        match description.first() {
            Some(b'T') => {
                let body = description.get(crate::wire::frame::HEADER..).unwrap_or_default();
                Ok(Some(crate::wire::row::read_row_description(body)?))
            }
            _ => Ok(None),
        }
    }

    async fn execute(&mut self, frame: &Frame) -> Result<(), Failure> {
        let mut fields = Fields::new(frame.body());
        let name = fields.cstr().map_err(Fault::from)?;
        let max_rows = fields.i32().map_err(Fault::from)?;
        fields.end().map_err(Fault::from)?;
        if self.batch.pending_parse.is_some() {
            self.settle_parse().await?;
        }
        if let Some(shard) = self.sql_cursor(name) {
            let at = self.open(shard).await?;
            let server = &mut self.held[at].server;
            server.out.extend_from_slice(&frame.bytes);
            server.inflight.push(Owed::Execute(Audience::Client));
            return Ok(());
        }
        let portal = self.statements.portal(name)?;
        let statement = Arc::clone(&portal.statement);
        if let Place::Server(shard) = portal.place {
            self.check_not_failed(&statement.analysis.kind)?;
            let at = self.open(shard).await?;
            let server = &mut self.held[at].server;
            server.out.extend_from_slice(&frame.bytes);
            server.inflight.push(Owed::Execute(Audience::Client));
            if changes_catalog(&statement.analysis.kind) {
                self.batch.reload_catalog = true;
            }
            return Ok(());
        }
        if statement.analysis.kind == StatementKind::Empty {
            self.answer(reply::EMPTY_QUERY);
            return Ok(());
        }
        let local = matches!(portal.place, Place::Local);
        self.check_not_failed(&statement.analysis.kind)?;
        if local {
            return self.execute_local(name, &statement).await;
        }
        self.execute_routed(name, &statement, max_rows).await
    }

    /// BEGIN, SET, SHOW pgloom.* and their like.
    async fn execute_local(&mut self, name: &[u8], statement: &Arc<ClientStatement>) -> Result<(), Failure> {
        // The messages before it are part of what it ends or changes: they are answered first.
        let begins = matches!(
            statement.analysis.kind,
            StatementKind::Transaction(crate::sql::utility::TransactionStatement::Begin { .. })
        );
        // A SET is undone with what came before it in the pipeline.
        let joins = begins || matches!(statement.analysis.kind, StatementKind::Set(_));
        if joins && self.batch.open.is_some() && !self.tx.is_open() {
            self.leave_open().await?;
        } else {
            self.rest_open().await?;
        }
        let text = Arc::clone(&statement.text);
        self.scan_one(&text)?;
        let ends = matches!(
            statement.analysis.kind,
            StatementKind::Transaction(
                crate::sql::utility::TransactionStatement::Commit { .. }
                    | crate::sql::utility::TransactionStatement::Rollback { .. }
            )
        );
        let rows = self.run_local(&text, &statement.analysis).await?.unwrap_or_default();
        self.note_route(QueryClass::Local, 0);
        rows.put_rows(&mut self.client.out)?;
        if !ends && let Ok(portal) = self.statements.portal(name) {
            portal.place = Place::Finished;
        }
        Ok(())
    }

    /// The open server is brought to a rest: inside a transaction by a Sync, else it stays open with its replies read.
    async fn rest_open(&mut self) -> Result<(), Failure> {
        if self.batch.open.is_some() && self.tx.is_open() {
            self.sync_open(Audience::Router).await?;
            self.batch.open = None;
            return Ok(());
        }
        self.drain_open().await
    }

    /// A portal over several shards.
    async fn execute_routed(
        &mut self,
        name: &[u8],
        statement: &Arc<ClientStatement>,
        max_rows: i32,
    ) -> Result<(), Failure> {
        self.leave_open().await?;
        let portal = self.statements.portal(name)?;
        let place = std::mem::replace(&mut portal.place, Place::Finished);
        let max = u64::try_from(max_rows).ok().filter(|n| *n > 0);
        let (bind, plan) = match place {
            Place::Router { bind, plan } => (bind, plan),
            Place::Running(run) => return self.resume(name, run, max).await,
            Place::Finishing(slot) => return self.resume_finish(name, slot, max_rows).await,
            Place::Finished => {
                // A query that is at its end has no more rows; anything else is not run twice.
                if statement.analysis.kind == StatementKind::Query {
                    reply::command_complete(&mut self.client.out, "SELECT 0")?;
                    return Ok(());
                }
                return Err(Fault::new(
                    SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
                    format!("portal \"{}\" cannot be run", String::from_utf8_lossy(name)),
                )
                .into());
            }
            Place::Server(_) | Place::Local => {
                return Err(Fault::new(SqlState::INTERNAL_ERROR, "a portal changed its place").into());
            }
        };
        if let PlanKind::Finish(_) = &plan.kind {
            return self.execute_finish(name, statement, &bind, plan, max_rows).await;
        }
        self.note_plan(&plan);
        let columns_added = match &plan.kind {
            PlanKind::Scatter { combine, sql, .. } => self.columns_added(statement, combine, sql),
            _ => 0,
        };
        let ask = Ask::Bound { statement, bind: &bind, columns_added };
        match (&plan.kind, max) {
            (PlanKind::Scatter { shards, sql, combine, window }, Some(max)) => {
                let parts: Vec<_> = shards.iter().map(|s| (s, sql.clone())).collect();
                let run = self.start_run(&parts, combine, *window, plan.access, &ask).await?;
                self.resume(name, Box::new(run), Some(max)).await
            }
            _ => {
                self.run_multi(&plan, &statement.analysis, &ask).await?;
                if changes_catalog(&statement.analysis.kind) {
                    self.after_ddl(false).await;
                }
                Ok(())
            }
        }
    }

    async fn close(&mut self, frame: &Frame) -> Result<(), Failure> {
        let (what, name) = target(frame)?;
        self.settle_parse().await?;
        match what {
            b'S' => {
                self.statements.remove(name);
            }
            _ => match self.statements.remove_portal(name).map(|p| p.place) {
                Some(Place::Server(shard)) if self.held.position(shard).is_some() => {
                    let at = self.open(shard).await?;
                    let server = &mut self.held[at].server;
                    request::close(&mut server.out, request::Target::Portal, name)?;
                    server.inflight.push(Owed::Close(Audience::Client));
                    return Ok(());
                }
                Some(place) => self.close_place(place).await,
                None => {}
            },
        }
        self.answer(reply::CLOSE_COMPLETE);
        Ok(())
    }

    async fn flush_batch(&mut self) -> Result<(), Failure> {
        self.settle_parse().await?;
        self.drain_open().await?;
        self.client.flush().await?;
        Ok(())
    }

    /// A long pipeline is carried on before its Sync comes: what is queued for the server is written, what it answers is passed on.
    async fn relieve(&mut self) -> Result<(), Stop> {
        match self.drain_open().await {
            Ok(()) => Ok(()),
            Err(failure) => self.fail_batch(failure).await,
        }
    }

    async fn sync(&mut self) -> Result<(), Stop> {
        if !self.batch.discarding
            && self.batch.pending_parse.is_some()
            && let Err(failure) = self.settle_parse().await
        {
            self.fail_batch(failure).await?;
        }
        self.end_batch(true).await?;
        let flushed = self.client.flush().await.map_err(|_| Stop::Gone);
        self.stop_clock();
        flushed
    }

    /// The end of a batch: the open server gets its Sync, an implicit transaction its end, the client its ReadyForQuery.
    pub(super) async fn end_batch(&mut self, ready: bool) -> Result<(), Stop> {
        let mut failed = self.batch.discarding;
        let implicit = self.tx.state == TxState::Implicit;
        // Within a block of one server its status is the client's; it may speak for itself.
        let forward = ready && !failed && !implicit && self.batch.open.is_some();
        let audience = if forward { Audience::Client } else { Audience::Router };
        let mut ready_sent = false;
        match self.sync_open(audience).await {
            // COPY has begun behind this Sync: the server ignores it, and so does the client, who sends another after the data.
            Ok(seen) if seen.copying => return Ok(()),
            Ok(seen) => ready_sent = seen.ready,
            Err(Failure::Stop(stop)) => return Err(stop),
            Err(Failure::Fault(fault)) => {
                failed = true;
                self.tell(&fault);
                self.tx.fail();
            }
            Err(Failure::Reported) => {
                failed = true;
                self.tx.fail();
                // The error was on its way before the Sync: its ReadyForQuery has gone out if it was the client's.
                ready_sent = forward;
            }
        }
        if let Some(at) = self.open_at() {
            self.held[at].server.unproven.clear();
        }
        self.batch.open = None;
        self.batch.bound = false;
        self.batch.discarding = false;
        self.batch.started = false;
        self.batch.pending_parse = None;
        if self.tx.state == TxState::Implicit {
            if failed {
                self.roll_back_quietly().await;
            } else if let Err(failure) = self.commit().await {
                self.fail_statement(failure).await?;
            }
        }
        if !self.tx.is_open() {
            self.close_all_runs().await;
            self.statements.clear_portals();
            self.release_idle();
            if self.batch.reload_catalog {
                self.after_ddl(false).await;
            }
        }
        if ready && !ready_sent {
            reply::ready_for_query(&mut self.client.out, self.tx.status());
        }
        Ok(())
    }
}

/// Kind and name in Describe and Close.
fn target(frame: &Frame) -> Result<(u8, &[u8]), Fault> {
    let mut fields = Fields::new(frame.body());
    let what = fields.u8()?;
    let name = fields.cstr()?;
    fields.end()?;
    if !matches!(what, b'S' | b'P') {
        let message = if frame.tag == b'D' { "DESCRIBE" } else { "CLOSE" };
        return Err(Fault::new(SqlState::PROTOCOL_VIOLATION, format!("invalid {message} message subtype {what}")));
    }
    Ok((what, name))
}

/// The result format codes at the end of a Bind message.
pub fn result_formats(body: &[u8]) -> Result<Vec<i16>, Malformed> {
    let mut fields = Fields::new(body);
    fields.cstr()?;
    fields.cstr()?;
    let formats = fields.count()?;
    fields.bytes(formats * 2)?;
    for _ in 0..fields.count()? {
        fields.value()?;
    }
    (0..fields.count()?).map(|_| fields.i16()).collect()
}

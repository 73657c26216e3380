//! Prepared statements that outlive what they were planned for: planned anew, and held to what they have promised.

use std::sync::Arc;

use bytes::Bytes;

use crate::backend::inflight::{Audience, Owed, Verdict};
use crate::backend::prepared::StatementDef;
use crate::exec::columns::tables_have_changed;
use crate::exec::forward::move_position;
use crate::fault::{Fault, SqlState};
use crate::ids::{Oid, ShardId, ShardSet};
use crate::plan::{FinishPlan, Plan, PlanKind};
use crate::session::batch::Reload;
use crate::session::control::is_local;
use crate::session::finish::{AGAIN, Original, Same, same_columns};
use crate::session::prepared::ClientStatement;
use crate::session::promise::{Description, Promise, changed, columns};
use crate::session::run::Ask;
use crate::session::sql_execute::{executes, other_settings};
use crate::session::{Failure, Session};
use crate::sql::Analysis;
use crate::sql::utility::StatementKind;
use crate::types::oid;
use crate::wire::frame::BindView;
use crate::wire::{error_fields, request};

impl Session {
    /// The statement of this name, as it is under the catalog, map and names of now.
    pub(super) fn current(&mut self, name: &[u8]) -> Result<Arc<ClientStatement>, Failure> {
        let statement = Arc::clone(self.statements.get(name)?);
        if self.is_current(&statement) { Ok(statement) } else { self.renew(name, &statement) }
    }

    /// The same for a message behind which a Parse can wait: that was good, whatever is wrong with this one.
    pub(super) async fn current_or_settle(&mut self, name: &[u8]) -> Result<Arc<ClientStatement>, Failure> {
        if let Ok(statement) = self.statements.get(name).map(Arc::clone) {
            // A server that does not know it yet would read it under the settings of now.
            self.heed_strings(&statement.text).await?;
        }
        match self.current(name) {
            Err(failure) => {
                self.settle_parse().await?;
                Err(failure)
            }
            found => found,
        }
    }

    /// Whether a statement's analysis is of the catalog, map and names of now.
    pub(super) fn is_current(&self, statement: &ClientStatement) -> bool {
        statement.generation == self.view.catalog.generation
            && statement.epoch == self.view.topology.epoch
            && statement.scope == self.names().fingerprint
    }

    /// The statement analysed, and on the servers prepared, anew. Its parameters keep their types.
    fn renew(&mut self, name: &[u8], old: &Arc<ClientStatement>) -> Result<Arc<ClientStatement>, Failure> {
        let text = Arc::clone(&old.text);
        if old.standard_strings != self.scope.standard_strings() && text.contains('\\') {
            return Err(other_settings().into());
        }
        self.scan_one(&text)?;
        let analysis = self.analysis(&text);
        // What the client has just parsed, no server has yet: one that was the same before has promised for itself alone.
        let is_new = self.batch.pending_parse.as_ref().is_some_and(|(_, pending)| Arc::ptr_eq(pending, old));
        let promise = match old.analysis.kind {
            StatementKind::Fetch(_) => None,
            _ if is_new => None,
            _ => old.promised()?,
        };
        let types = promise.as_ref().map_or_else(|| old.types.clone(), |promise| kept_types(&old.types, promise));
        let statement = self.client_statement(text, types, analysis);
        if statement.names != old.names && promise.is_none() && !is_new && self.must_promise(&statement.analysis.kind) {
            // Nobody has been told anything of it, but what its Parse has made of its parameters cannot be known any more.
            return Err(Fault::unsupported(
                "the prepared statement was made under another search_path",
                "Its names mean other tables now, which could have other columns.",
                "Prepare the statement again.",
            )
            .into());
        }
        if !is_new {
            statement.set_renewed();
        }
        if let Some(types) = old.arguments() {
            statement.set_arguments(types);
        }
        statement.set_behind(old.behind());
        if let Some(promise) = promise {
            statement.set_promise(promise);
        }
        if let Some((parameters, rows)) = old.described().filter(|_| statement.is_like(old)) {
            statement.set_described(parameters, rows);
        }
        if let Some((_, pending)) = self.batch.pending_parse.as_mut().filter(|(_, p)| Arc::ptr_eq(p, old)) {
            *pending = Arc::clone(&statement);
        }
        self.statements.replace(name, Arc::clone(&statement));
        Ok(statement)
    }

    /// Whether the promise of such a statement is learned with its Parse: the search path can lead it to other shards, where nobody knows
    /// what it was.
    pub(super) fn must_promise(&self, kind: &StatementKind) -> bool {
        let promises =
            !is_local(kind) && !executes(kind) && !matches!(kind, StatementKind::Empty | StatementKind::Fetch(_));
        promises && self.view.topology.places_schemas()
    }

    /// Makes the statement known on this connection, and sees to it that it returns there what it has promised. What the client has
    /// just parsed has promised nothing yet, and is asked along with it what it returns.
    pub(super) async fn known_on(
        &mut self,
        at: usize,
        statement: &Arc<ClientStatement>,
        parsing: Option<Box<[u8]>>,
    ) -> Result<Arc<StatementDef>, Failure> {
        if parsing.is_some() {
            // It is held to what it returns now, whatever becomes of its tables, with or without a name: once asked, this is known of all
            // that are equal.
            let def = self.prepare_on(at, statement, parsing)?;
            if def.description().is_none() {
                self.held[at].server.ask_along(&def)?;
            }
            return Ok(def);
        }
        let def = statement.definition(&self.shared.registry);
        if self.held[at].server.prepared.touch(def.id) {
            if statement.is_kept() {
                return Ok(def);
            }
            if let Some(description) = def.description() {
                self.keep_promise(statement, &description)?;
                return Ok(def);
            }
        }
        let (def, description) = self.describe_on(at, statement, None).await?;
        if let Err(fault) = self.keep_promise(statement, &description) {
            // Under this name there are other columns here than elsewhere.
            let server = &mut self.held[at].server;
            let forgotten = server.prepared.forget(def.id);
            server.doubtful.extend(forgotten);
            return Err(fault.into());
        }
        Ok(def)
    }

    /// The same for a statement that the client has parsed and is in no hurry to bind: what it returns is its promise.
    pub(super) async fn learn_on(
        &mut self,
        at: usize,
        statement: &Arc<ClientStatement>,
        parsing: Box<[u8]>,
    ) -> Result<Description, Failure> {
        let def = statement.definition(&self.shared.registry);
        let known = self.held[at].server.prepared.touch(def.id);
        let description = match def.description().filter(|_| known) {
            Some(description) => {
                self.prepare_on(at, statement, Some(parsing))?;
                description
            }
            None => self.describe_on(at, statement, Some(parsing)).await?.1,
        };
        self.keep_promise(statement, &description)?;
        Ok(description)
    }

    /// Holds a description against what the statement has promised; the first one is its promise.
    pub(super) fn keep_promise(&mut self, statement: &ClientStatement, description: &Description) -> Result<(), Fault> {
        if let StatementKind::Fetch(_) = statement.analysis.kind {
            // It returns whatever its cursor has.
            statement.set_kept();
            return Ok(());
        }
        match statement.promised()? {
            None => statement.set_promise(statement.promise_of(description)?),
            Some(promise) => {
                promise.check_parameters(statement.names)?;
                self.check_promise(&promise, statement.names, columns(&description.1)?.as_deref())?;
                statement.set_promise(promise);
            }
        }
        statement.set_kept();
        Ok(())
    }

    /// `0A000` where these are other columns. When neither the catalog nor the search path explains it, the catalog is read again.
    pub(super) fn check_promise(
        &mut self,
        promise: &Promise,
        names: u64,
        columns: Option<&[crate::wire::reply::Column]>,
    ) -> Result<(), Fault> {
        promise.check(columns, names).inspect_err(|_| {
            if promise.generation == self.view.catalog.generation && promise.names == names {
                self.note_stale();
            }
        })
    }

    /// Tables are not what the catalog says: it is read again, and everything is planned anew, as soon as no transaction is open.
    pub(super) fn note_stale(&mut self) {
        self.batch.reload |= Reload::Surely;
        self.batch.touched = ShardSet::new();
    }

    /// The description of a statement that is executed in SQL, held against its promise.
    pub(super) async fn keep_promise_now(&mut self, statement: &Arc<ClientStatement>) -> Result<(), Failure> {
        if statement.is_kept() && statement.described().is_some() {
            return Ok(());
        }
        self.leave_open().await?;
        let offset = std::mem::replace(&mut self.offset, statement.behind());
        let described = self.description_of(statement).await;
        self.offset = offset;
        let description = described?;
        self.keep_promise(statement, &description)?;
        statement.set_described(description.0, description.1);
        Ok(())
    }

    /// What a server that has all tables of a statement says of it, in no batch; or else the connection that finishes it.
    pub(super) async fn description_of(&mut self, statement: &Arc<ClientStatement>) -> Result<Description, Failure> {
        match self.foreign_plan(statement) {
            Some(plan) => self.describe_finish(&plan, &statement.types).await,
            None => {
                let shard = self.shard_with_tables(&statement.analysis.outcome)?;
                self.describe_at(shard, &statement.text, &statement.types, AGAIN).await
            }
        }
    }

    /// Whether the failure is that of an old catalog, and there is a newer one now.
    pub(super) async fn look_again(&mut self, failure: &Failure) -> bool {
        let stale = matches!(failure, Failure::Fault(fault) if *fault == tables_have_changed());
        if !stale || self.tx.is_open() {
            return false;
        }
        let before = self.view.catalog.generation;
        self.note_stale();
        self.reload_catalog().await;
        self.view.catalog.generation != before
    }

    /// The plan of the same request under the catalog of now.
    /// Without a look into the registry: what was read of it is not of this moment.
    pub(super) fn plan_again(&mut self, ask: &Ask<'_>) -> Result<(Plan, Arc<Analysis>), Failure> {
        let (text, types) = ask.statement();
        self.scan_one(text)?;
        let analysis = self.analysis(text);
        let plan = match ask {
            Ask::Query { text } => self.plan(text, &analysis).without_lookup(),
            Ask::Bound { bind, .. } => {
                let statement = self.client_statement(text.into(), types.into(), Arc::clone(&analysis));
                self.plan_bound(&statement, &BindView::read(bind)?.parameters).without_lookup()
            }
        };
        Ok((plan, analysis))
    }

    /// [`Self::start_finish`]; where it finds that tables were changed behind the router's back, once more under the catalog as it is.
    pub(super) async fn begin_finish(
        &mut self,
        plan: &FinishPlan,
        ask: &Ask<'_>,
        original: Original,
    ) -> Result<(ShardId, Original), Failure> {
        let failure = match self.start_finish(plan, ask, &original).await {
            Ok((slot, _)) => return Ok((slot, original)),
            Err(failure) => failure,
        };
        // Shards that answer with different columns may all have others than the catalog knows.
        let differ =
            matches!(&failure, Failure::Fault(fault) if fault.code == SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE);
        let stale = Failure::Fault(tables_have_changed());
        if !self.look_again(if differ { &stale } else { &failure }).await {
            return Err(failure);
        }
        let (plan, _) = self.plan_again(ask)?;
        let PlanKind::Finish(plan) = plan.kind else { return Err(failure) };
        let (text, types) = ask.statement();
        let described = match plan.foreign {
            true => self.describe_finish(&plan, types).await?,
            false => self.describe_at(self.view.topology.home, text, types, AGAIN).await?,
        };
        // Who has only asked has been told nothing yet.
        let told = matches!(ask, Ask::Bound { .. });
        if told && same_columns(&original.rows, &described.1)? == Same::No {
            return Err(changed().into());
        }
        let original = Original { rows: described.1, ..original };
        let (slot, _) = self.start_finish(&plan, ask, &original).await?;
        Ok((slot, original))
    }

    /// Prepares the statement on the open server and has it described there, by itself.
    pub(super) async fn describe_on(
        &mut self,
        at: usize,
        statement: &Arc<ClientStatement>,
        parsing: Option<Box<[u8]>>,
    ) -> Result<(Arc<StatementDef>, Description), Failure> {
        self.drain_open().await?;
        let def = self.prepare_on(at, statement, parsing)?;
        let server = &mut self.held[at].server;
        request::describe(&mut server.out, request::Target::Statement, def.name.as_bytes())?;
        server.inflight.push(Owed::DescribeStatement(Audience::Router));
        server.out.extend_from_slice(request::FLUSH);
        let (mut parameters, mut rows) = (Bytes::new(), Bytes::new());
        while !server.inflight.is_empty() {
            if let Some(local) = server.inflight.take_local() {
                self.client.out.extend_from_slice(&local);
                continue;
            }
            let frame = server.next_frame().await?;
            match server.inflight.step(frame.tag) {
                Verdict::OutOfStep => return Err(server.out_of_step(frame.tag).into()),
                Verdict::Error(_) => {
                    if error_fields::is_changed_plan(frame.body()) {
                        self.note_stale();
                    }
                    self.client.out.extend_from_slice(&move_position(frame.body(), statement.behind()));
                    self.forget_unproven();
                    return Err(Failure::Reported);
                }
                Verdict::Forward => self.client.out.extend_from_slice(&frame.bytes),
                Verdict::Swallow | Verdict::Ready(_) | Verdict::CopyIn => {}
            }
            match frame.tag {
                b't' => parameters = frame.bytes,
                b'T' | b'n' => rows = frame.bytes,
                _ => {}
            }
        }
        server.inflight.take_parsed();
        self.settle_changes(at);
        self.batch.unproven.clear();
        let description = (parameters, rows);
        def.set_description(description.clone());
        Ok((def, description))
    }
}

/// What a parameter was declared as, or found to be: types that users made are left to each server.
fn kept_types(declared: &[Oid], promise: &Promise) -> Box<[Oid]> {
    let found = promise.parameters.iter().enumerate().map(|(at, found)| match declared.get(at) {
        Some(0) | None if *found < oid::FIRST_NORMAL => *found,
        declared => declared.copied().unwrap_or(0),
    });
    found.collect()
}

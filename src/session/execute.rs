//! Execute and Close: runs a portal on its server, in the router, or over several shards.

use crate::backend::Unnamed;
use crate::backend::inflight::{Audience, Owed};
use crate::backend::rules::changed as moved;
use crate::exec::columns::tables_have_changed;
use crate::exec::forward::rows_of_tag;
use crate::fault::{Fault, SqlState};
use crate::metrics::Route;
use crate::plan::combine::Combine;
use crate::plan::{Access, Plan, PlanKind, Why, refused};
use crate::session::control::cursor_of;
use crate::session::create_as::Told;
use crate::session::describe::target;
use crate::session::fetch::{Wanted, no_cursor};
use crate::session::prepared::{ClientStatement, Place};
use crate::session::run::{Ask, How};
use crate::session::scatter::ScatterRun;
use crate::session::sql_execute::other_settings;
use crate::session::{Failure, Session};
use crate::sql::Analysis;
use crate::sql::utility::fetch::Fetch;
use crate::sql::utility::{StatementKind, TransactionStatement};
use crate::wire::frame::{BindView, Fields, Frame};
use crate::wire::{reply, request};
use std::sync::Arc;

impl Session {
    pub(super) async fn execute(&mut self, frame: &Frame) -> Result<(), Failure> {
        let mut fields = Fields::new(frame.body());
        let name = fields.name().map_err(Fault::from)?;
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
        if let Place::Execute = self.statements.portal(name)?.place {
            let statement = Arc::clone(&self.statements.portal(name)?.statement);
            self.check_not_failed(&statement.analysis.kind)?;
            self.expand_portal(name).await?;
        }
        let portal = self.statements.portal(name)?;
        let statement = Arc::clone(&portal.statement);
        if !matches!(statement.analysis.kind, StatementKind::Fetch(_)) {
            self.fetch_mark = None;
        }
        self.batch.queried |= is_query(&statement.analysis.kind);
        if may_change_what_is_seen(&statement) {
            self.begin_bound_before(name).await?;
        }
        let portal = self.statements.portal(name)?;
        if let Place::Server(shard) = portal.place {
            self.check_not_failed(&statement.analysis.kind)?;
            self.check_in_block(&statement.analysis.kind)?;
            let at = self.open(shard).await?;
            self.check_unnamed(name, at)?;
            let server = &mut self.held[at].server;
            server.out.extend_from_slice(&frame.bytes);
            server.inflight.push(Owed::Execute(Audience::Client));
            if name.is_empty() {
                server.unnamed = if max_rows > 0 { Unnamed::Kept } else { Unnamed::None };
            }
            self.batch.asks_for_rows = statement.analysis.kind.asks_for_rows();
            self.held[at].note_unlocks(statement.analysis.unlocks);
            self.note_definition(&statement.analysis, Some(shard));
            self.note_sequences(&statement.analysis, Some(shard));
            return self.after_close(&statement.analysis.kind, shard).await;
        }
        if statement.analysis.kind == StatementKind::Empty {
            self.answer(reply::EMPTY_QUERY);
            return Ok(());
        }
        let local = match &portal.place {
            Place::Local(text) => Some(Arc::clone(text)),
            _ => None,
        };
        if let Place::OfPortal(text) = &portal.place {
            let text = Arc::clone(text);
            return self.execute_on_portal(name, &text, &statement, max_rows).await;
        }
        self.check_not_failed(&statement.analysis.kind)?;
        if self.is_read_otherwise(name, &statement)? {
            return Err(other_settings().into());
        }
        if let Some(text) = local {
            return self.execute_local(name, text, &statement).await;
        }
        self.follow_printing(name).await?;
        let done = self.execute_routed(name, &statement, max_rows).await;
        if max_rows > 0 {
            self.note_printed(name);
        }
        done
    }

    /// Whether the text and the values of a portal that has not begun would be read under other settings now.
    pub(super) fn is_read_otherwise(&mut self, name: &[u8], statement: &ClientStatement) -> Result<bool, Fault> {
        let portal = self.statements.portal(name)?;
        let begins = matches!(portal.place, Place::Router { .. });
        let bound = portal.meaning;
        let values = statement.analysis.parameters > 0 && bound.is_some_and(|bound| bound != self.meaning);
        Ok(begins && (values || self.has_other_literals(statement)))
    }

    /// A portal without a name is still the client's own.
    pub(super) fn check_unnamed(&self, name: &[u8], at: usize) -> Result<(), Fault> {
        if !name.is_empty() || self.held[at].server.unnamed != Unnamed::Lost {
            return Ok(());
        }
        Err(Fault::unsupported(
            "a portal without a name cannot be gone on with behind other statements here",
            "The router has used the server that has it for one of these.",
            "Give the portal a name in Bind.",
        ))
    }

    /// FETCH, MOVE or CLOSE of another portal.
    async fn execute_on_portal(
        &mut self,
        name: &[u8],
        text: &str,
        statement: &Arc<ClientStatement>,
        max_rows: i32,
    ) -> Result<(), Failure> {
        self.check_not_failed(&statement.analysis.kind)?;
        if let Some(max) = u64::try_from(max_rows).ok().filter(|max| *max > 0)
            && may_reach(statement, max)
        {
            return Err(fetched_in_pieces().into());
        }
        let Some(of) = self.own_portal(text, &statement.analysis.kind) else {
            let name = cursor_of(&statement.analysis.kind).unwrap_or_default();
            return Err(no_cursor(name.as_bytes()).into());
        };
        let formats = self.statements.portal(name)?.formats.clone();
        self.run_on_portal(&of, text, Wanted { formats: &formats, describes: false }).await?;
        if let Some(portal) = self.statements.find_portal(name) {
            portal.place = Place::Finished;
        }
        Ok(())
    }

    /// BEGIN, SET, SHOW pgloom.* and their like.
    async fn execute_local(
        &mut self,
        name: &[u8],
        text: Arc<str>,
        statement: &Arc<ClientStatement>,
    ) -> Result<(), Failure> {
        use {StatementKind as Kind, TransactionStatement as Tx};
        // The messages before it are part of what it ends or changes: they are answered first.
        let begins = matches!(statement.analysis.kind, Kind::Transaction(Tx::Begin { .. }));
        // A SET is undone with what came before it in the pipeline.
        let sets = matches!(
            statement.analysis.kind,
            Kind::SetConfig(_) | Kind::Set(_) | Kind::Transaction(Tx::SetConstraints(_))
        );
        let ends = matches!(statement.analysis.kind, Kind::Transaction(Tx::Commit { .. } | Tx::Rollback { .. }));
        let joins =
            begins || ends || sets || matches!(statement.analysis.kind, Kind::Prepare(_) | Kind::CloseCursor(None));
        if joins && self.batch.open.is_some() && !self.tx.is_open() {
            self.leave_open().await?;
        } else {
            self.rest_open().await?;
        }
        if sets {
            // As in Postgres, it lasts or is undone with the rest of the pipeline; what is local ends with it.
            self.tx.begin_implicit(&self.settings);
        }
        self.scan_one(&text)?;
        // CLOSE ALL closes all but the portal that it runs in.
        let stays = match statement.analysis.kind {
            Kind::CloseCursor(None) => self.statements.remove_portal(name),
            _ => None,
        };
        let rows = self.run_local(&text, &statement.analysis, false).await?.unwrap_or_default();
        if let Some(portal) = stays {
            self.statements.restore_portal(name, portal);
        }
        self.note_route(Route::Local, 0);
        let formats = self.statements.portal(name).map(|portal| portal.formats.clone()).unwrap_or_default();
        rows.put_rows(&mut self.client.out, &formats)?;
        if !ends && let Some(portal) = self.statements.find_portal(name) {
            portal.place = Place::Finished;
        }
        Ok(())
    }

    /// The open server is brought to a rest: inside a transaction by a Sync, else it stays open with its replies read.
    pub(super) async fn rest_open(&mut self) -> Result<(), Failure> {
        if self.batch.open.is_some() && self.tx.is_open() {
            self.sync_open(Audience::Router).await?;
            self.batch.open = None;
            return Ok(());
        }
        self.drain_open().await
    }

    /// A portal over several shards. One that could not be begun, because rows have moved since it was bound, is as it was.
    pub(super) async fn execute_routed(
        &mut self,
        name: &[u8],
        statement: &Arc<ClientStatement>,
        max_rows: i32,
    ) -> Result<(), Failure> {
        let bound = match &self.statements.portal(name)?.place {
            Place::Router { bind, .. } => Some(bind.clone()),
            _ => None,
        };
        let done = self.execute_first(name, statement, max_rows).await;
        if let (Err(Failure::Fault(fault)), Some(bind)) = (&done, bound)
            && *fault == moved()
            && let Some(portal) = self.statements.find_portal(name)
        {
            portal.statement = Arc::clone(statement);
            portal.place = Place::Router { bind, plan: Box::new(refused(moved())) };
        }
        done
    }

    pub(super) async fn execute_planned(
        &mut self,
        name: &[u8],
        statement: &Arc<ClientStatement>,
        max_rows: i32,
    ) -> Result<(), Failure> {
        self.say_prepared(&statement.text);
        self.take_hint(&statement.text)?;
        self.leave_open().await?;
        let epoch = self.view.topology.epoch;
        let portal = self.statements.portal(name)?;
        let place = std::mem::replace(&mut portal.place, Place::Finished);
        let max = u64::try_from(max_rows).ok().filter(|n| *n > 0);
        let renewed;
        let (statement, bind, plan) = match place {
            Place::Router { bind, .. } if statement.epoch != epoch => {
                let plan;
                (renewed, plan) = self.placed_anew(statement, &bind).await?;
                (&renewed, bind, Box::new(plan))
            }
            Place::Router { bind, plan } => (statement, bind, plan),
            Place::Running(run) => return self.resume(name, run, max).await,
            Place::Finishing(slot) => return self.resume_finish(name, slot, max_rows).await,
            Place::Finished => {
                // What returns rows has no more of them; anything else is not run twice.
                if let Some(tag) = self.tag_of_no_rows(statement).await? {
                    reply::command_complete(&mut self.client.out, tag)?;
                    return Ok(());
                }
                return Err(cannot_be_run(name).into());
            }
            Place::Failed => {
                portal.place = Place::Failed;
                return Err(cannot_be_run(name).into());
            }
            Place::Server(_) | Place::Local(_) | Place::Execute | Place::OfPortal(_) => {
                return Err(Fault::new(SqlState::INTERNAL_ERROR, "a portal changed its place").into());
            }
        };
        let drawn;
        let (statement, plan) = match &plan.kind {
            PlanKind::Draw(draw) => {
                let (with_values, plan) = self.drawn_bound(statement, &bind, draw).await?;
                drawn = with_values;
                // Whoever goes on with its rows, or describes them, asks for those of the statement with the values.
                self.statements.portal(name)?.statement = Arc::clone(&drawn);
                (&drawn, Box::new(plan))
            }
            _ => (statement, plan),
        };
        let plan = if let PlanKind::Lookup(_) = &plan.kind { Box::new(self.look_up(*plan).await?) } else { plan };
        self.note_plan_sequences(&statement.analysis, &plan);
        // A text like `now` is read outside of transactions alone.
        let reads_time = statement.analysis.reads_time.as_ref().is_some_and(|reads| !reads.moment);
        if plan.access == Access::Read && reads_time && self.client.read.first() != Some(&b'S') {
            // As in Postgres, all statements of a pipeline have one time: that of its transaction.
            self.tx.begin_implicit(&self.settings);
        }
        if let PlanKind::Finish(_) = &plan.kind {
            return self.execute_finish(name, statement, &bind, plan, max_rows).await;
        }
        if let PlanKind::Explain(_) = &plan.kind {
            return self.execute_explain(statement, &bind, plan).await;
        }
        if let PlanKind::Deliver(_) | PlanKind::Supply(_) | PlanKind::Claim(_) | PlanKind::Locked(_) = &plan.kind {
            self.columns_of(statement).await?;
            self.leave_open().await?;
        }
        self.note_plan(&plan);
        // As in Postgres, what it writes lasts or is undone with the rest of the pipeline.
        let alone = matches!(plan.why, Why::OneByOne(_));
        if plan.access != Access::Read && !alone {
            self.tx.begin_for_statement(&self.settings);
        }
        if let Some(max) = max {
            check_locked_pieces(&plan, max)?;
        }
        if let (PlanKind::Single(_) | PlanKind::Scatter { .. } | PlanKind::Split { .. }, Some(max)) = (&plan.kind, max)
        {
            return self.execute_pieces(name, statement, &bind, &plan, max).await;
        }
        let columns_added = self.columns_added_by(&plan);
        let ask = Ask::Bound { statement, bind: &bind, columns_added, how: How::Through };
        match (&plan.kind, max) {
            (PlanKind::Deliver(delivery), Some(max)) => {
                return Box::pin(self.execute_delivery(name, delivery, &ask, max)).await;
            }
            (PlanKind::Supply(supply), Some(max)) => {
                return Box::pin(self.execute_supplied(name, supply, &ask, max)).await;
            }
            (PlanKind::Broadcast(sql), Some(max))
                if plan.why == Why::Reference && self.columns_of(statement).await?.is_some() =>
            {
                return Box::pin(self.execute_copies(name, sql, plan.access, &ask, max)).await;
            }
            (PlanKind::Claim(_) | PlanKind::Locked(_), Some(max)) => {
                return self.execute_locked(&plan, &statement.analysis, &ask, max).await;
            }
            _ => {}
        }
        self.run_multi(&plan, &statement.analysis, &ask).await?;
        self.note_definition(&statement.analysis, None);
        self.reload_catalog().await;
        Ok(())
    }

    /// All rows at once, of which there are no more than asked for.
    async fn execute_locked(
        &mut self,
        plan: &Plan,
        analysis: &Arc<Analysis>,
        ask: &Ask<'_>,
        max: u64,
    ) -> Result<(), Failure> {
        self.told = Told::Kept(String::new());
        let done = self.run_multi(plan, analysis, ask).await;
        let told = std::mem::take(&mut self.told);
        done?;
        match told {
            // Postgres does not know yet that these were all.
            Told::Kept(tag) if rows_of_tag(tag.as_bytes()) == max => {
                self.client.out.extend_from_slice(reply::PORTAL_SUSPENDED);
            }
            Told::Kept(tag) => reply::command_complete(&mut self.client.out, &tag)?,
            Told::Client => {}
        }
        self.reload_catalog().await;
        Ok(())
    }

    /// A statement and its plan for the placement of now, after it was bound for an earlier one.
    pub(super) async fn placed_anew(
        &mut self,
        statement: &Arc<ClientStatement>,
        bind: &[u8],
    ) -> Result<(Arc<ClientStatement>, Plan), Failure> {
        let mut renewed = self.placed(statement)?;
        if renewed.analysis.closed && self.wait_for_moves().await? {
            renewed = self.placed(statement)?;
        }
        let plan = self.plan_bound(&renewed, &BindView::read(bind)?.parameters);
        Ok((renewed, plan))
    }

    fn placed(&mut self, statement: &ClientStatement) -> Result<Arc<ClientStatement>, Failure> {
        self.scan_one(&statement.text)?;
        let analysis = self.analysis(&statement.text);
        let renewed = self.client_statement(Arc::clone(&statement.text), statement.types.clone(), analysis);
        renewed.set_behind(statement.behind());
        Ok(renewed)
    }

    /// The first rows of a portal that is fetched in pieces.
    async fn execute_pieces(
        &mut self,
        name: &[u8],
        statement: &Arc<ClientStatement>,
        bind: &[u8],
        plan: &Plan,
        max: u64,
    ) -> Result<(), Failure> {
        let run = match self.start_pieces(statement, bind, plan, How::Through).await {
            Err(failure) if self.look_again(&failure).await => {
                let ask = Ask::Bound { statement, bind, columns_added: 0, how: How::Through };
                let (plan, _) = self.plan_again(&ask)?;
                self.start_pieces(statement, bind, &plan, How::Through).await?
            }
            started => started?,
        };
        self.resume(name, Box::new(run), Some(max)).await
    }

    pub(super) async fn start_pieces(
        &mut self,
        statement: &Arc<ClientStatement>,
        bind: &[u8],
        plan: &Plan,
        how: How<'_>,
    ) -> Result<ScatterRun, Failure> {
        let ask = Ask::Bound { statement, bind, columns_added: self.columns_added_by(plan), how };
        match &plan.kind {
            PlanKind::Split { parts, combine } => self.start_run(parts, combine, None, plan.access, &ask).await,
            PlanKind::Scatter { shards, sql, combine, window } => {
                let parts: Vec<_> = shards.iter().map(|s| (s, sql.clone())).collect();
                self.start_run(&parts, combine, *window, plan.access, &ask).await
            }
            PlanKind::Single(shard) => {
                let parts = [self.part_of(*shard, &statement.analysis, &ask).await?];
                self.start_run(&parts, &Combine::CONCAT, None, plan.access, &ask).await
            }
            PlanKind::Refuse(fault) => Err(fault.clone().into()),
            PlanKind::Any
            | PlanKind::Broadcast(_)
            | PlanKind::Each(_)
            | PlanKind::CreateAs(_)
            | PlanKind::Stamp(_)
            | PlanKind::Finish(_)
            | PlanKind::Deliver(_)
            | PlanKind::Supply(_)
            | PlanKind::Claim(_)
            | PlanKind::Locked(_)
            | PlanKind::CopyIn(_)
            | PlanKind::Explain(_)
            | PlanKind::Lookup(_)
            | PlanKind::Draw(_) => Err(tables_have_changed().into()),
        }
    }

    /// What a portal says that has returned its rows already; `None`: it returns none.
    async fn tag_of_no_rows(&mut self, statement: &Arc<ClientStatement>) -> Result<Option<&'static str>, Failure> {
        let tag = match statement.analysis.kind {
            StatementKind::Query | StatementKind::SetConfig(_) | StatementKind::Placement(_) => {
                return Ok(Some("SELECT 0"));
            }
            StatementKind::Fetch(_) if fetches(statement) => return Ok(Some("FETCH 0")),
            StatementKind::Insert => "INSERT 0 0",
            StatementKind::Update => "UPDATE 0",
            StatementKind::Delete => "DELETE 0",
            _ => return Ok(None),
        };
        Ok(self.columns_of(statement).await?.map(|_| tag))
    }

    pub(super) async fn close(&mut self, frame: &Frame) -> Result<(), Failure> {
        let (what, name) = target(frame)?;
        self.settle_parse().await?;
        match what {
            b'S' => {
                self.before_statement_changes(name);
                self.statements.remove(name);
            }
            _ => {
                let known = self.statements.find_portal(name).is_some();
                if let Some(shard) = self.take_portal(name).await?
                    && self.held.position(shard).is_some()
                {
                    let at = self.open(shard).await?;
                    let server = &mut self.held[at].server;
                    request::close(&mut server.out, request::Target::Portal, name)?;
                    server.inflight.push(Owed::Close(Audience::Client));
                    return Ok(());
                }
                // To Postgres a cursor of SQL is a portal like any other.
                if !known && let Some(shard) = self.sql_cursor(name) {
                    return self.close_cursor(shard, name).await;
                }
            }
        }
        self.answer(reply::CLOSE_COMPLETE);
        Ok(())
    }
}

/// Whether Postgres takes a snapshot for it, so that the modes of its transaction cannot change any more.
fn is_query(kind: &StatementKind) -> bool {
    matches!(kind, StatementKind::Query | StatementKind::Insert | StatementKind::Update | StatementKind::Delete)
}

/// Whether what is bound and has not begun might see something else behind it. Ends of transactions end portals, too, and a FETCH or CLOSE
/// begins the one that it names.
pub(super) fn may_change_what_is_seen(statement: &ClientStatement) -> bool {
    use TransactionStatement as Tx;
    let analysis = &statement.analysis;
    !analysis.only_reads
        && !matches!(
            analysis.kind,
            StatementKind::Fetch(_)
                | StatementKind::CloseCursor(_)
                | StatementKind::Empty
                | StatementKind::Transaction(Tx::Begin { .. } | Tx::Commit { .. } | Tx::Rollback { .. })
        )
}

/// Whether it is a FETCH and no MOVE.
fn fetches(statement: &ClientStatement) -> bool {
    Fetch::parse(&statement.text).is_some_and(|fetch| !fetch.is_move)
}

/// Whether a FETCH may return so many rows: then there may be more to come.
fn may_reach(statement: &ClientStatement, max: u64) -> bool {
    let fetch = Fetch::parse(&statement.text).filter(|fetch| !fetch.is_move);
    fetch.is_some_and(|fetch| fetch.most().is_none_or(|rows| rows >= max))
}

pub(super) fn cannot_be_run(name: &[u8]) -> Fault {
    let message = format!("portal \"{}\" cannot be run", String::from_utf8_lossy(name));
    Fault::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, message)
}

fn fetched_in_pieces() -> Fault {
    Fault::unsupported(
        "the rows of a FETCH from a portal over several shards cannot be read in pieces",
        "They go to the client as they are fetched.",
        "Execute the FETCH without a row limit, or with one above the rows that it asks for.",
    )
}

/// Rows that are locked on several shards are locked at once; one Postgres locks those of a portal as they are fetched.
pub(super) fn check_locked_pieces(plan: &Plan, max: u64) -> Result<(), Fault> {
    let at_once = match &plan.kind {
        PlanKind::Scatter { shards, .. } => plan.access != Access::Lock || shards.len() < 2,
        PlanKind::Claim(claim) => claim.window.limit.is_some_and(|limit| limit <= max),
        PlanKind::Locked(locked) => locked.window.limit.is_some_and(|limit| limit <= max),
        PlanKind::Refuse(_)
        | PlanKind::Single(_)
        | PlanKind::Any
        | PlanKind::Broadcast(_)
        | PlanKind::Each(_)
        | PlanKind::CreateAs(_)
        | PlanKind::Stamp(_)
        | PlanKind::Finish(_)
        | PlanKind::Split { .. }
        | PlanKind::Deliver(_)
        | PlanKind::Supply(_)
        | PlanKind::CopyIn(_)
        | PlanKind::Explain(_)
        | PlanKind::Lookup(_)
        | PlanKind::Draw(_) => true,
    };
    if at_once {
        return Ok(());
    }
    Err(Fault::unsupported(
        "fetching rows in pieces that are locked on several shards is not supported",
        "each shard would lock all of them at once, and not as they are fetched",
        "Fetch all rows at once (without a row limit or fetch size), or give the sharding key one value in WHERE.",
    ))
}

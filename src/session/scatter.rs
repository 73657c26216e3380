//! Portals over several shards that live longer than one Execute.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;

use crate::backend::inflight::{Audience, Owed};
use crate::backend::settings::Printing;
use crate::exec::client::Client;
use crate::exec::replies::{ScatterError, start_sending};
use crate::exec::scatter::{Answer, RunEnd, ScatterRun as Merged};
use crate::fault::Fault;
use crate::ids::{Oid, ShardId};
use crate::plan::combine::{Combine, Fold, Step};
use crate::plan::{Access, Plan, PlanKind, ShardSql, Window};
use crate::session::held::Held;
use crate::session::prepared::{ClientStatement, Place, Unclosed};
use crate::session::run::{Ask, How};
use crate::session::{Failure, Session};
use crate::sql::utility::fetch::Position;
use crate::types::compare::TextStyle;
use crate::types::oid;
use crate::wire::reply::{self, Column};
use crate::wire::request;

/// Asks a server to stop what nobody waits for. False: it has not even opened its transaction.
pub(super) async fn cancel(held: &mut Held) -> bool {
    // Cancelled in the middle of its BEGIN, a server would run what was sent behind it outside of the transaction.
    held.server.cancel.stop();
    let opened = tokio::time::timeout(CANCELLED, held.server.settle_opening()).await;
    if !matches!(opened, Ok(Ok(()))) {
        return false;
    }
    held.running().send().await;
    true
}

/// How long a server may take to come to rest after it was asked to cancel.
const CANCELLED: Duration = Duration::from_secs(5);

/// A merge in progress and the shards it reads from.
pub struct ScatterRun {
    merged: Merged,
    shards: Vec<ShardId>,
    /// A transaction was opened for this statement alone.
    opened: bool,
    position: Position,
    /// It waits on the shards under this name for its first rows to be asked for.
    waits: Option<Waiting>,
}

struct Waiting {
    name: Box<[u8]>,
    /// How values were printed when its merge was made.
    style: TextStyle,
}

impl ScatterRun {
    /// A merge that reads from these shards, within a transaction.
    pub fn new(merged: Merged, shards: Vec<ShardId>) -> Self {
        Self { merged, shards, opened: false, position: Position::default(), waits: None }
    }

    /// Whether its shards are in the middle of its answer.
    fn is_under_way(&self) -> bool {
        self.waits.is_none() && !self.merged.is_finished()
    }

    /// What the client sees of each row.
    pub fn columns(&self) -> Option<&[Column]> {
        self.merged.columns.as_deref()
    }

    pub fn position(&self) -> Position {
        self.position
    }

    /// Until they are released, the rows that come now are held behind `head`.
    pub fn hold(&mut self, head: BytesMut) {
        self.merged.hold(head);
    }

    pub fn release(&mut self, client: &mut Client) {
        self.merged.release(client);
    }

    /// How many rows the last part of it had.
    pub fn rows(&self) -> u64 {
        self.merged.rows()
    }
}

fn printed_before() -> Fault {
    Fault::unsupported(
        "the rest of a portal over several shards cannot be printed by other settings",
        "DateStyle, TimeZone or the like was changed since its first rows were fetched.",
        "Fetch all of its rows before the settings are changed, or ask for results in binary.",
    )
}

/// Whether values are the same text whatever DateStyle and its like say.
fn is_printed_alike(of: Oid) -> bool {
    matches!(
        of,
        oid::BOOL
            | oid::INT2
            | oid::INT4
            | oid::INT8
            | oid::OID
            | oid::NUMERIC
            | oid::TEXT
            | oid::VARCHAR
            | oid::BPCHAR
            | oid::NAME
            | oid::UUID
            | oid::JSON
            | oid::JSONB
            | oid::INET
            | oid::CIDR
    )
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
        Ok(ScatterRun { merged, shards, opened, position: Position::default(), waits: None })
    }

    /// Postgres prints rows as the settings of the moment say when they are fetched. So does the one that finishes a statement; what several
    /// shards send was printed when the portal began.
    pub(super) async fn follow_printing(&mut self, name: &[u8]) -> Result<(), Failure> {
        let (now, style) = (self.printing(), self.text_style());
        let portal = self.statements.portal(name)?;
        if let Place::Running(run) = &portal.place
            && let Some(waiting) = &run.waits
        {
            // The shards have printed nothing yet, and its merge reads what they will.
            let in_binary = !portal.formats.is_empty() && portal.formats.iter().all(|format| *format == 1);
            return if waiting.style == style || in_binary { Ok(()) } else { Err(printed_before().into()) };
        }
        let Some(printed) = portal.printed.filter(|printed| *printed != now) else { return Ok(()) };
        match &portal.place {
            Place::Finishing(slot) => {
                let slot = *slot;
                portal.printed = Some(now);
                let sql = self.tx.with_locals(&self.settings).print_locally();
                let at = self.held_at(slot)?;
                self.held[at].server.query(&sql).await?;
                Ok(())
            }
            Place::Running(run) => {
                let in_text = |at: usize| match portal.formats[..] {
                    [] => true,
                    [all] => all == 0,
                    ref each => each.get(at).copied().unwrap_or(0) == 0,
                };
                let mut columns = run.columns().unwrap_or_default().iter().enumerate().filter(|(at, _)| in_text(*at));
                let differs = match printed.encoding == now.encoding {
                    true => columns.any(|(_, column)| !is_printed_alike(column.type_oid)),
                    false => columns.next().is_some(),
                };
                match differs {
                    true => Err(printed_before().into()),
                    false => Ok(()),
                }
            }
            Place::Server(_)
            | Place::Local(_)
            | Place::Execute
            | Place::OfPortal(_)
            | Place::Router { .. }
            | Place::Finished
            | Place::Failed => Ok(()),
        }
    }

    /// Notes how the rows are printed that a portal still has.
    pub(super) fn note_printed(&mut self, name: &[u8]) {
        let now = self.printing();
        if let Some(portal) = self.statements.find_portal(name)
            && match &portal.place {
                Place::Running(run) => run.waits.is_none(),
                place => matches!(place, Place::Finishing(_)),
            }
        {
            portal.printed.get_or_insert(now);
        }
    }

    fn printing(&self) -> Printing {
        self.tx.with_locals(&self.settings).printing()
    }

    /// The first rows of a portal that changes a reference table. Every shard has run all of it by then, and to one effect: what is not
    /// fetched yet is held, within `merge_max_bytes`.
    pub(super) async fn execute_copies(
        &mut self,
        name: &[u8],
        sql: &ShardSql,
        access: Access,
        ask: &Ask<'_>,
        max: u64,
    ) -> Result<(), Failure> {
        let home = self.view.topology.home;
        let mut parts: Vec<_> = self.view.topology.all_shards().iter().map(|shard| (shard, sql.clone())).collect();
        parts.sort_by_key(|(shard, _)| *shard != home);
        let (mut merged, shards, opened) =
            self.start_parts(&parts, &Combine::CONCAT, None, access, Answer::First, ask).await?;
        let held = {
            let mut servers = self.held.servers(&shards);
            merged.park(&mut servers, &mut self.client).await
        };
        if let Err(error) = held {
            return Err(self.scatter_failure(error, opened).await);
        }
        let run = ScatterRun { merged, shards, opened, position: Position::default(), waits: None };
        self.resume(name, Box::new(run), Some(max)).await
    }

    /// The next rows of a portal that runs over several shards.
    pub(super) async fn resume(
        &mut self,
        name: &[u8],
        mut run: Box<ScatterRun>,
        max: Option<u64>,
    ) -> Result<(), Failure> {
        self.run_opened(&mut run).await?;
        let end = self.advance(&mut run, max, true).await;
        match self.after_advance(name, run, end).await? {
            Some(tag) => reply::command_complete(&mut self.client.out, &tag)?,
            None => self.client.out.extend_from_slice(reply::PORTAL_SUSPENDED),
        }
        Ok(())
    }

    /// Goes on with a merge. `shown`: its rows are for the client.
    pub(super) async fn advance(
        &mut self,
        run: &mut ScatterRun,
        max: Option<u64>,
        shown: bool,
    ) -> Result<RunEnd, ScatterError> {
        let mut servers = self.held.servers(&run.shards);
        let end = match shown {
            true => run.merged.run(&mut servers, &mut self.client, max).await,
            false => run.merged.skip(&mut servers, &mut self.client, max).await,
        }?;
        run.position.advance(run.merged.rows(), end != RunEnd::Suspended);
        Ok(end)
    }

    /// Where its portal stands then. Returns the command tag of one that has come to its end.
    pub(super) async fn after_advance(
        &mut self,
        name: &[u8],
        run: Box<ScatterRun>,
        end: Result<RunEnd, ScatterError>,
    ) -> Result<Option<String>, Failure> {
        let (place, tag, position) = match end {
            Ok(RunEnd::Complete(tag)) => {
                self.end_parts(run.opened).await?;
                (Place::Finished, Some(tag), run.position)
            }
            Ok(RunEnd::Suspended) => {
                let position = run.position;
                (Place::Running(run), None, position)
            }
            Err(error) => {
                if let Some(portal) = self.statements.find_portal(name) {
                    portal.place = Place::Failed;
                }
                return Err(self.scatter_failure(error, run.opened).await);
            }
        };
        if let Some(portal) = self.statements.find_portal(name) {
            portal.place = place;
            portal.position = Some(position);
        }
        Ok(tag)
    }

    /// Another statement needs these connections: suspended merges are read to their end first, into bounded memory.
    pub(super) async fn park_runs(&mut self) -> Result<(), Failure> {
        let mut failed = None;
        for run in self.statements.running().filter(|run| run.is_under_way()) {
            let mut servers = self.held.servers(&run.shards);
            if let Err(error) = run.merged.park(&mut servers, &mut self.client).await {
                failed = Some(error);
                break;
            }
        }
        match failed {
            Some(error) => Err(self.scatter_failure(error, false).await),
            None => {
                self.close_unclosed().await;
                Ok(())
            }
        }
    }

    /// The same after an error that the client has been told: a merge that cannot be parked is over, without another one.
    pub(super) async fn park_or_stop_runs(&mut self) {
        let mut over = Vec::new();
        for run in self.statements.running().filter(|run| run.is_under_way()) {
            let mut servers = self.held.servers(&run.shards);
            if run.merged.park(&mut servers, &mut self.client).await.is_err() {
                run.merged.close();
                over.extend(run.shards.iter().copied());
            }
        }
        self.quiet(&over, false).await;
    }

    /// The client closed a portal that was suspended. Its servers may be in a block that goes on: they are read, not cancelled.
    pub(super) async fn close_run(&mut self, mut run: ScatterRun) {
        // Only then is what these servers are in the middle of its own.
        let under_way = run.is_under_way();
        run.merged.close();
        if under_way {
            self.quiet(&run.shards, self.tx.is_open()).await;
        }
        if let Some(waiting) = run.waits.filter(|_| self.tx.is_open()) {
            self.close_portal_on(run.shards, waiting.name).await;
        }
    }

    /// Ends a portal of ours on these shards, within the transaction: as soon as no rows of another one are on their way there.
    pub(super) async fn close_portal_on(&mut self, shards: Vec<ShardId>, name: Box<[u8]>) {
        self.statements.unclosed.push(Unclosed { shards, name });
        if !self.statements.running().any(|run| run.is_under_way()) {
            self.close_unclosed().await;
        }
    }

    /// Ends the portals of ours that are nobody's any more; nothing else may be on its way from their shards.
    async fn close_unclosed(&mut self) {
        for Unclosed { shards, name } in std::mem::take(&mut self.statements.unclosed) {
            self.close_on(&shards, &name);
            self.quiet(&shards, true).await;
        }
    }

    /// The same as [`Self::start_pieces`], within a transaction: the shards have the portal, and run it when its rows are asked for.
    pub(super) async fn open_run(
        &mut self,
        statement: &Arc<ClientStatement>,
        bind: &[u8],
        plan: &Plan,
    ) -> Result<ScatterRun, Failure> {
        let name = self.statements.name_on_shards().into_boxed_slice();
        let mut run = self.start_pieces(statement, bind, plan, How::Named(&name)).await?;
        self.quiet(&run.shards, true).await;
        run.waits = Some(Waiting { name, style: self.text_style() });
        Ok(run)
    }

    /// Has the shards run what they only have.
    pub(super) async fn run_opened(&mut self, run: &mut ScatterRun) -> Result<(), Failure> {
        let Some(waiting) = run.waits.take() else { return Ok(()) };
        self.park_runs().await?;
        // All of them are there, or nothing is asked of any.
        let places = run.shards.iter().map(|shard| self.held_at(*shard)).collect::<Result<Vec<_>, _>>()?;
        for at in places {
            let server = &mut self.held[at].server;
            request::execute(&mut server.out, &waiting.name, 0)?;
            server.inflight.push(Owed::Execute(Audience::Client));
            request::close(&mut server.out, request::Target::Portal, &waiting.name)?;
            server.inflight.push(Owed::Close(Audience::Router));
            server.out.extend_from_slice(request::SYNC);
            server.inflight.push(Owed::Sync(Audience::Router));
        }
        let sent = start_sending(&mut self.held.servers(&run.shards), &mut self.client).await;
        match sent {
            Ok(()) => Ok(()),
            Err(error) => Err(self.scatter_failure(error, false).await),
        }
    }

    /// Queues the end of a portal of ours on these shards, within the transaction.
    fn close_on(&mut self, shards: &[ShardId], name: &[u8]) {
        for held in self.held.iter_mut().filter(|held| held.joined && shards.contains(&held.shard)) {
            let server = &mut held.server;
            if !server.broken && request::close(&mut server.out, request::Target::Portal, name).is_ok() {
                server.inflight.push(Owed::Close(Audience::Router));
                server.out.extend_from_slice(request::SYNC);
                server.inflight.push(Owed::Sync(Audience::Router));
            }
        }
    }

    /// The transaction is over, and with it every suspended portal. `patient`: it is to be committed, and to cancel what runs in
    /// it would be to fail it.
    pub(super) async fn close_all_runs(&mut self, patient: bool) {
        self.stop_runs(patient).await;
        self.close_suspended().await;
    }

    /// The merges of suspended portals are over; their servers come to rest.
    pub(super) async fn stop_runs(&mut self, patient: bool) {
        if !self.statements.has_running() {
            return;
        }
        let mut shards = Vec::new();
        for run in self.statements.running() {
            run.merged.close();
            shards.extend(run.shards.iter().copied());
        }
        if !shards.is_empty() {
            self.quiet(&shards, patient).await;
        }
    }

    /// The client is done with a portal before its end.
    pub(super) async fn close_place(&mut self, place: Place) {
        match place {
            Place::Running(run) => self.close_run(*run).await,
            Place::Finishing(slot) => self.end_finish(slot).await,
            Place::Server(_)
            | Place::Local(_)
            | Place::Execute
            | Place::OfPortal(_)
            | Place::Router { .. }
            | Place::Finished
            | Place::Failed => {}
        }
    }

    /// Brings these servers to rest. `patient`: what runs may go on to its end; else it is cancelled. A server that does not
    /// come to rest in time is closed.
    pub(super) async fn quiet(&mut self, shards: &[ShardId], patient: bool) {
        let busy: Vec<_> =
            self.held.iter_mut().filter(|h| shards.contains(&h.shard) && !h.server.inflight.is_empty()).collect();
        let ends = busy.into_iter().map(|held| async move {
            if held.server.broken {
                return;
            }
            if !patient && !cancel(held).await {
                held.server.broken = true;
                return;
            }
            let drained = match patient {
                true => held.server.drain().await.is_ok(),
                false => matches!(tokio::time::timeout(CANCELLED, held.server.drain()).await, Ok(Ok(()))),
            };
            held.server.broken |= !drained;
        });
        futures::future::join_all(ends).await;
    }

    /// Columns that the shards return beyond those of the client's own statement.
    pub(super) fn columns_added_by(&self, plan: &Plan) -> usize {
        let PlanKind::Scatter { combine, sql: ShardSql::Rewritten { .. } | ShardSql::Timed { .. }, .. } = &plan.kind
        else {
            return 0;
        };
        let mut added = combine.hidden;
        for step in &combine.steps {
            if let Step::Aggregate { outputs, .. } = step {
                added += outputs.iter().filter(|o| matches!(o.fold, Fold::Avg { .. })).count();
            }
        }
        added
    }
}

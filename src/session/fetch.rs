//! FETCH, MOVE and CLOSE in SQL of portals of the protocol: to Postgres they are cursors of these names. A portal that one server has
//! is that server's affair; the others go on here.

use std::sync::Arc;

use bytes::{BufMut, BytesMut};

use crate::backend::inflight::{Audience, Owed};
use crate::exec::columns::describe_with_formats;
use crate::exec::scatter::RunEnd;
use crate::fault::{Fault, SqlState};
use crate::ids::ShardId;
use crate::metrics::Route;
use crate::plan::{Access, PlanKind};
use crate::session::execute::{cannot_be_run, check_locked_pieces};
use crate::session::finish::PORTAL;
use crate::session::held::Finishing;
use crate::session::prepared::Place;
use crate::session::run::{Ask, How};
use crate::session::scatter::ScatterRun;
use crate::session::sql_execute::{check_formats, other_settings};
use crate::session::{Failure, Session};
use crate::sql::utility::StatementKind;
use crate::sql::utility::fetch::{Fetch, Step};
use crate::wire::frame::BindView;
use crate::wire::reply::Column;
use crate::wire::{reply, request};

/// How the client wants the rows.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'a> {
    /// The result formats of its Bind; none in a simple Query.
    pub formats: &'a [i16],
    /// It is told the columns, as in a simple Query.
    pub describes: bool,
}

impl Session {
    /// The portal that a FETCH, MOVE or CLOSE names, where it runs on no server alone.
    pub(super) fn own_portal(&mut self, text: &str, kind: &StatementKind) -> Option<Box<[u8]>> {
        let name = match kind {
            StatementKind::Fetch(name) if Fetch::parse(text).is_some() => name.as_bytes(),
            StatementKind::CloseCursor(Some(name)) => name.as_bytes(),
            _ => return None,
        };
        let portal = self.statements.find_portal(name)?;
        (!name.is_empty() && !matches!(portal.place, Place::Server(_))).then(|| name.into())
    }

    /// The shard whose server has the portal that a statement names.
    pub(super) fn shard_of_portal(&mut self, name: &str) -> Option<ShardId> {
        let portal = self.statements.find_portal(name.as_bytes())?;
        let Place::Server(shard) = portal.place else { return None };
        (!name.is_empty()).then_some(shard)
    }

    /// Runs the statement on the portal of this name.
    pub(super) async fn run_on_portal(&mut self, name: &[u8], text: &str, wanted: Wanted<'_>) -> Result<(), Failure> {
        self.leave_open().await?;
        self.note_route(Route::Local, 0);
        let Some(fetch) = Fetch::parse(text) else {
            let portal = self.statements.remove_portal(name).ok_or_else(|| no_cursor(name))?;
            self.close_place(portal.place).await;
            return Ok(self.tell_tag("CLOSE CURSOR")?);
        };
        // A way back is none for whatever has rows.
        if let Err(fault) = fetch.step(None)
            && !matches!(self.statements.portal(name)?.place, Place::Local(_) | Place::OfPortal(_) | Place::Execute)
        {
            self.fail_portal(name).await;
            return Err(fault.into());
        }
        if let Place::Router { .. } = self.statements.portal(name)?.place {
            self.begin_portal(name, Some(&fetch)).await?;
        }
        let columns = match fetch.is_move {
            true => None,
            false => self.columns_of_portal(name).await?,
        };
        check_formats(wanted.formats, columns.as_ref().map(Vec::len))?;
        if !fetch.is_move {
            self.follow_printing(name).await?;
        }
        let portal = self.statements.portal(name)?;
        let done = match std::mem::replace(&mut portal.place, Place::Failed) {
            Place::Running(run) => self.fetch_running(name, run, &fetch, columns, wanted).await,
            Place::Finishing(slot) => self.fetch_finishing(name, slot, &fetch, columns, wanted).await,
            Place::Finished if fetch.is_move || columns.is_some() => {
                portal.place = Place::Finished;
                let step = match portal.position {
                    None => fetch.step_at_end(),
                    known => fetch.step(known),
                };
                if step.is_err() {
                    portal.place = Place::Failed;
                }
                let step = step?.ok_or_else(unknown_position)?;
                let counted = match step {
                    Step::Stay { counted } => counted,
                    Step::Forward { .. } => 0,
                };
                self.describe_rows(columns, wanted)?;
                self.tell_fetched(&fetch, counted)
            }
            Place::Failed => Err(cannot_be_run(name).into()),
            place @ (Place::Finished
            | Place::Server(_)
            | Place::Local(_)
            | Place::Execute
            | Place::OfPortal(_)
            | Place::Router { .. }) => {
                portal.place = place;
                Err(no_rows_in_pieces().into())
            }
        };
        self.note_printed(name);
        done
    }

    /// A portal that has failed cannot be run again, whatever becomes of its transaction.
    async fn fail_portal(&mut self, name: &[u8]) {
        if let Some(portal) = self.statements.find_portal(name) {
            let place = std::mem::replace(&mut portal.place, Place::Failed);
            self.close_place(place).await;
        }
    }

    /// What the portal's own columns are; `None`: it returns none.
    pub(super) async fn columns_of_portal(&mut self, name: &[u8]) -> Result<Option<Vec<Column>>, Failure> {
        let portal = self.statements.portal(name)?;
        if let Place::Running(run) = &portal.place {
            return Ok(run.columns().map(<[_]>::to_vec));
        }
        let statement = Arc::clone(&portal.statement);
        if let StatementKind::Fetch(_) = statement.analysis.kind {
            return Ok(None);
        }
        let columns = self.columns_of(&statement).await?;
        self.leave_open().await?;
        Ok(columns)
    }

    async fn fetch_running(
        &mut self,
        name: &[u8],
        mut run: Box<ScatterRun>,
        fetch: &Fetch,
        columns: Option<Vec<Column>>,
        wanted: Wanted<'_>,
    ) -> Result<(), Failure> {
        let step = match fetch.step(Some(run.position())) {
            Ok(step) => step.ok_or_else(unknown_position)?,
            Err(fault) => {
                self.close_run(*run).await;
                return Err(fault.into());
            }
        };
        let portal = self.statements.portal(name)?;
        if columns.as_ref().is_some_and(|of| !same_formats(of.len(), &portal.formats, wanted.formats)) {
            portal.place = Place::Running(run);
            return Err(other_formats().into());
        }
        let (skip, take) = match step {
            Step::Stay { counted } => {
                self.statements.portal(name)?.place = Place::Running(run);
                self.describe_rows(columns, wanted)?;
                return self.tell_fetched(fetch, counted);
            }
            Step::Forward { skip, take } => (skip, take.unwrap_or(u64::MAX)),
        };
        self.run_opened(&mut run).await?;
        let mut end = Ok(RunEnd::Suspended);
        if skip > 0 {
            end = self.advance(&mut run, Some(skip), false).await;
        }
        // Postgres fetches all of them before the client is told of the first, or of the columns.
        run.hold(described(columns, wanted)?);
        let mut rows = 0;
        if let Ok(RunEnd::Suspended) = end {
            end = self.advance(&mut run, Some(take), !fetch.is_move).await;
            rows = run.rows();
        }
        if end.is_ok() {
            run.release(&mut self.client);
        }
        self.after_advance(name, run, end).await?;
        self.tell_fetched(fetch, rows)
    }

    /// A Postgres has the portal, though under a name of ours.
    async fn fetch_finishing(
        &mut self,
        name: &[u8],
        slot: ShardId,
        fetch: &Fetch,
        columns: Option<Vec<Column>>,
        wanted: Wanted<'_>,
    ) -> Result<(), Failure> {
        let portal = self.statements.portal(name)?;
        match fetch.step(portal.position) {
            Ok(Some(Step::Stay { counted })) => {
                portal.place = Place::Finishing(slot);
                self.describe_rows(columns, wanted)?;
                return self.tell_fetched(fetch, counted);
            }
            Ok(Some(Step::Forward { .. }) | None) => portal.position = None,
            Err(fault) => {
                self.end_finish(slot).await;
                return Err(fault.into());
            }
        }
        let at = self.held_at(slot)?;
        let server = &mut self.held[at].server;
        let sql = fetch.of(&String::from_utf8_lossy(PORTAL));
        request::parse(&mut server.out, b"", sql.as_bytes(), &[])?;
        server.inflight.push(Owed::Parse(Audience::Router));
        let mut tail = BytesMut::from(&[0; 4][..]);
        crate::wire::encode::count16(&mut tail, wanted.formats.len())?;
        wanted.formats.iter().for_each(|format| tail.put_i16(*format));
        server.bind_own(&tail)?;
        server.inflight.push(Owed::Bind(Audience::Router));
        let head = described(columns, wanted)?;
        if !head.is_empty() {
            server.inflight.push(Owed::Head(head.freeze()));
        }
        request::execute(&mut server.out, b"", 0)?;
        server.inflight.push(Owed::Execute(Audience::Client));
        server.out.extend_from_slice(request::SYNC);
        server.inflight.push(Owed::Sync(Audience::Router));
        let pumped = self.pump_unplaced(at).await;
        let seen = pumped?;
        if seen.error {
            self.shared.metrics.error(seen.sqlstate(), "client");
            self.end_finish(slot).await;
            return Err(Failure::Reported);
        }
        self.statements.portal(name)?.place = Place::Finishing(slot);
        Ok(())
    }

    /// Begins what a portal runs that was bound only: for this FETCH, or so that it sees the data of now.
    pub(super) async fn begin_portal(&mut self, name: &[u8], fetch: Option<&Fetch>) -> Result<(), Failure> {
        let portal = self.statements.portal(name)?;
        let mut statement = Arc::clone(&portal.statement);
        let Place::Router { bind, .. } = &portal.place else { return Ok(()) };
        let bind = bind.clone();
        if self.is_read_otherwise(name, &statement)? {
            return Err(other_settings().into());
        }
        let plan = if statement.epoch == self.view.topology.epoch {
            self.plan_bound(&statement, &BindView::read(&bind)?.parameters)
        } else {
            let plan;
            (statement, plan) = self.placed_anew(&statement, &bind).await?;
            plan
        };
        let plan = self.look_up(plan).await?;
        if plan.access == Access::Write {
            return Err(no_rows_in_pieces().into());
        }
        self.note_plan(&plan);
        self.note_plan_sequences(&statement.analysis, &plan);
        let place = match &plan.kind {
            PlanKind::Scatter { .. } | PlanKind::Single(_) if fetch.is_none() && self.tx.is_open() => {
                Place::Running(Box::new(self.open_run(&statement, &bind, &plan).await?))
            }
            PlanKind::Scatter { .. } | PlanKind::Single(_) => {
                let rows = match fetch.map(|fetch| fetch.step(None)).transpose()?.flatten() {
                    Some(Step::Forward { skip, take: Some(take) }) => skip.saturating_add(take),
                    Some(Step::Forward { take: None, .. } | Step::Stay { .. }) | None => u64::MAX,
                };
                check_locked_pieces(&plan, rows)?;
                if plan.access != Access::Read {
                    self.tx.begin_implicit(&self.settings);
                }
                Place::Running(Box::new(self.start_pieces(&statement, &bind, &plan, How::Through).await?))
            }
            PlanKind::Finish(finish) if finish.cursor.is_none() && !finish.writes() => {
                self.columns_of(&statement).await?;
                self.leave_open().await?;
                let ask = Ask::Bound { statement: &statement, bind: &bind, columns_added: 0, how: How::Through };
                let original = self.original(finish, &ask).await?;
                let (slot, original) = self.begin_finish(finish, &ask, original).await?;
                self.settle_bind(slot).await?;
                if let Err(failure) = self.guard(slot, finish, &ask, &original).await {
                    self.end_finish(slot).await;
                    return Err(failure);
                }
                Place::Finishing(slot)
            }
            PlanKind::Refuse(fault) => return Err(fault.clone().into()),
            PlanKind::Finish(_)
            | PlanKind::Any
            | PlanKind::Broadcast(_)
            | PlanKind::Each(_)
            | PlanKind::CreateAs(_)
            | PlanKind::Stamp(_)
            | PlanKind::Split { .. }
            | PlanKind::Deliver(_)
            | PlanKind::Supply(_)
            | PlanKind::Claim(_)
            | PlanKind::Locked(_)
            | PlanKind::CopyIn(_)
            | PlanKind::Explain(_)
            | PlanKind::Lookup(_)
            | PlanKind::Draw(_) => return Err(no_rows_in_pieces().into()),
        };
        let portal = self.statements.portal(name)?;
        portal.statement = statement;
        portal.place = place;
        Ok(())
    }

    /// A finishing portal has been bound, and waits. What fails then, the client is told.
    async fn settle_bind(&mut self, slot: ShardId) -> Result<(), Failure> {
        let at = self.held_at(slot)?;
        let server = &mut self.held[at].server;
        server.out.extend_from_slice(request::SYNC);
        server.inflight.push(Owed::Sync(Audience::Router));
        let pumped = self.pump_unplaced(at).await;
        if pumped?.error {
            self.end_finish(slot).await;
            return Err(Failure::Reported);
        }
        self.held[at].finishing = Finishing::Suspended;
        Ok(())
    }

    fn describe_rows(&mut self, columns: Option<Vec<Column>>, wanted: Wanted<'_>) -> Result<(), Fault> {
        self.client.out.extend_from_slice(&described(columns, wanted)?);
        Ok(())
    }

    fn tell_fetched(&mut self, fetch: &Fetch, rows: u64) -> Result<(), Failure> {
        let verb = if fetch.is_move { "MOVE" } else { "FETCH" };
        Ok(reply::command_complete(&mut self.client.out, &format!("{verb} {rows}"))?)
    }
}

/// The RowDescription that the client gets; nothing where it gets none.
fn described(columns: Option<Vec<Column>>, wanted: Wanted<'_>) -> Result<BytesMut, Fault> {
    columns
        .filter(|_| wanted.describes)
        .map_or_else(|| Ok(BytesMut::new()), |columns| describe_with_formats(&columns, wanted.formats))
}

/// Whether so many columns come in the same formats.
fn same_formats(columns: usize, ours: &[i16], theirs: &[i16]) -> bool {
    let of = |formats: &[i16], at: usize| match formats {
        [] => 0,
        [all] => *all,
        each => each.get(at).copied().unwrap_or(0),
    };
    (0..columns).all(|at| of(ours, at) == of(theirs, at))
}

pub(super) fn no_cursor(name: &[u8]) -> Fault {
    let message = format!("cursor \"{}\" does not exist", String::from_utf8_lossy(name));
    Fault::new(SqlState::INVALID_CURSOR_NAME, message)
}

fn other_formats() -> Fault {
    Fault::unsupported(
        "FETCH from a portal over several shards in another format than the portal's is not supported",
        "The shards send its rows in the formats that its Bind asked for.",
        "Ask for the same formats, or read the portal with Execute.",
    )
}

fn no_rows_in_pieces() -> Fault {
    Fault::unsupported(
        "FETCH and MOVE of this portal are not supported",
        "Its statement returns no rows in pieces here: it writes, or the router answers it.",
        "Read the portal with Execute.",
    )
}

fn unknown_position() -> Fault {
    Fault::unsupported(
        "FETCH by an absolute position from this portal is not supported",
        "How many rows it has returned is known to no server any more.",
        "Use FETCH FORWARD.",
    )
}

//! Tier 2: rows are pulled from the shards into temporary tables of a combine connection, and a Postgres finishes the statement
//! there. The combine connection, which has a pool of its own, is checked out together with those of the shards: nobody waits for one
//! of them with the others in his hands.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::backend::Backend;
use crate::backend::clock::{self, Moment};
use crate::backend::inflight::{Audience, Owed};
use crate::backend::insist::was_cancelled;
use crate::backend::numbers::Origin;
use crate::backend::settings::{SessionSettings, assign};
use crate::exec::client::Client;
use crate::exec::columns::{FIRST_NORMAL_OID, tables_have_changed};
use crate::exec::finish::Copies;
use crate::exec::forward::{NO_POSITION, without_position};
use crate::exec::replies::{Hears, ScatterError, content};
use crate::fault::{Fault, SqlState};
use crate::ids::{Oid, ShardId};
use crate::plan::{FinishPlan, Plan, PlanKind, Pull, PullFrom};
use crate::session::bind::result_formats;
use crate::session::combine::Unable;
use crate::session::cursor::{check_cursor_columns, portal_of};
use crate::session::held::Finishing;
use crate::session::idle_timers::UNTIMED;
use crate::session::prepared::{ClientStatement, Place};
use crate::session::run::{Ask, How};
use crate::session::{Failure, Session};
use crate::sql::utility::{StatementKind, classify};
use crate::sql::words::identifiers;
use crate::types::oid;
use crate::wire::frame::{BindView, Fields, Frame, HEADER};
use crate::wire::reply::Status;
use crate::wire::request;
use crate::wire::row::read_row_description;

/// The finishing statement's portal. It has a name, because a simple Query would close one without.
pub(super) const PORTAL: &[u8] = b"pgloom";
/// For a text whose notices the client has had.
pub(super) const AGAIN: Owed = Owed::Parse(Audience::Router);
/// How long the end of a finishing transaction may take before its connection is given up.
pub(super) const END: Duration = Duration::from_secs(10);

/// The client's own statement as the home shard, which has every table, describes it.
pub(super) struct Original {
    pub parameters: Vec<Oid>,
    /// RowDescription or NoData, whole.
    pub rows: Bytes,
    /// Of a cursor: where its columns come from.
    pub origins: Option<Box<[Origin]>>,
}

/// Why the pulls came to no good end.
pub(super) enum Halt {
    Failure(Failure),
    Scatter(ScatterError),
    /// The server that was to finish the statement cannot.
    Unable(Unable),
}

impl From<Unable> for Halt {
    fn from(unable: Unable) -> Self {
        Self::Unable(unable)
    }
}

impl From<Failure> for Halt {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl From<Fault> for Halt {
    fn from(fault: Fault) -> Self {
        Self::Failure(fault.into())
    }
}

impl From<ScatterError> for Halt {
    fn from(error: ScatterError) -> Self {
        Self::Scatter(error)
    }
}

impl Session {
    /// Runs the statement to its end; rows and command tag to the client.
    pub(super) async fn run_finish(&mut self, plan: &FinishPlan, ask: &Ask<'_>) -> Result<(), Failure> {
        if plan.writes() {
            return Box::pin(self.run_returned(plan, ask)).await;
        }
        let original = self.original(plan, ask).await?;
        if plan.cursor.is_some() {
            return self.declare_finish(plan, ask, original).await;
        }
        let (slot, original) = self.begin_finish(plan, ask, original).await?;
        if ask.describes() && original.rows.first() == Some(&b'T') {
            self.client.out.extend_from_slice(&original.rows);
        }
        self.fetch(slot, 0).await.map(drop)
    }

    /// The first Execute of a portal.
    pub(super) async fn execute_finish(
        &mut self,
        name: &[u8],
        statement: &Arc<ClientStatement>,
        bind: &[u8],
        mut plan: Box<Plan>,
        max: i32,
    ) -> Result<(), Failure> {
        // As in Postgres, such a cursor is kept when the pipeline ends well, and what is written lasts or is undone with the rest of it.
        if let PlanKind::Finish(finish) = &plan.kind
            && (finish.writes() || finish.cursor.as_ref().is_some_and(|cursor| cursor.hold))
        {
            self.leave_open().await?;
            self.tx.begin_implicit(&self.settings);
        }
        // A pipeline that has become a transaction since the Bind reads everything through its own connections.
        if self.tx.is_open()
            && let PlanKind::Finish(_) = &plan.kind
        {
            *plan = self.plan_bound(statement, &BindView::read(bind)?.parameters).without_lookup();
        }
        self.note_plan(&plan);
        let ask = Ask::Bound { statement, bind, columns_added: 0, how: How::Through };
        let PlanKind::Finish(finish) = &plan.kind else {
            return self.run_multi(&plan, &statement.analysis, &ask).await;
        };
        self.columns_of(statement).await?;
        self.leave_open().await?;
        if finish.writes() {
            return match u64::try_from(max).ok().filter(|max| *max > 0) {
                Some(max) => Box::pin(self.execute_returned(name, finish, &ask, max)).await,
                None => Box::pin(self.run_multi(&plan, &statement.analysis, &ask)).await,
            };
        }
        let original = self.original(finish, &ask).await?;
        if finish.cursor.is_some() {
            return self.declare_finish(finish, &ask, original).await;
        }
        let (slot, _) = self.begin_finish(finish, &ask, original).await?;
        self.resume_finish(name, slot, max).await
    }

    /// The next rows of a portal whose statement is being finished.
    pub(super) async fn resume_finish(&mut self, name: &[u8], slot: ShardId, max: i32) -> Result<(), Failure> {
        let suspended = self.fetch(slot, max.max(0)).await;
        let Some(portal) = self.statements.find_portal(name) else { return suspended.map(drop) };
        match suspended {
            Ok(true) => {
                portal.place = Place::Finishing(slot);
                if let Some(position) = &mut portal.position {
                    position.advance(u64::from(max.unsigned_abs()), false);
                }
            }
            // How many rows have come a server has counted.
            Ok(false) => portal.position = None,
            Err(failure) => {
                portal.place = Place::Failed;
                return Err(failure);
            }
        }
        Ok(())
    }

    /// An Execute on the combine connection. True: there may be more rows; else the connection has gone back.
    pub(super) async fn fetch(&mut self, slot: ShardId, max: i32) -> Result<bool, Failure> {
        let at = self.held_at(slot)?;
        let server = &mut self.held[at].server;
        request::execute(&mut server.out, PORTAL, max)?;
        server.inflight.push(Owed::Execute(Audience::Client));
        server.out.extend_from_slice(request::SYNC);
        server.inflight.push(Owed::Sync(Audience::Router));
        if max == 0 {
            server.ask("ROLLBACK");
        }
        let pumped = self.pump_unplaced(at).await;
        let seen = pumped?;
        if seen.error {
            self.shared.metrics.error(seen.sqlstate(), "client");
            self.end_finish(slot).await;
            return Err(Failure::Reported);
        }
        if max > 0 && self.held[at].server.inflight.is_suspended() {
            self.held[at].finishing = Finishing::Suspended;
            return Ok(true);
        }
        self.end_finish(slot).await;
        Ok(false)
    }

    /// Ends what runs on a combine connection and gives it back.
    pub(super) async fn end_finish(&mut self, slot: ShardId) {
        self.cursors.retain(|_, shard| *shard != slot);
        let Some(at) = self.held.position(slot) else { return };
        let kept = self.held[at].finishing == Finishing::Held;
        let guarded = std::mem::take(&mut self.held[at].guarded);
        let server = &mut self.held[at].server;
        if !server.broken {
            server.broken = !matches!(tokio::time::timeout(END, end_transaction(server, kept)).await, Ok(Ok(())));
        }
        self.let_go(at);
        // A cursor that outlived its transaction takes part in this one, which goes on without it: nothing of it was there.
        self.tx.forget_part(slot);
        if guarded && self.tx.is_open() {
            self.end_guard(slot).await;
        }
    }

    /// The transaction is over, and with it every finishing statement that waits for its next Execute.
    pub(super) async fn close_suspended(&mut self) {
        self.held.iter_mut().for_each(|held| held.guarded = false);
        let suspended: Vec<ShardId> = self
            .held
            .iter()
            .filter(|h| matches!(h.finishing, Finishing::Suspended | Finishing::Cursor { .. }))
            .map(|h| h.shard)
            .collect();
        for slot in suspended {
            self.end_finish(slot).await;
        }
    }

    pub(super) async fn original(&mut self, plan: &FinishPlan, ask: &Ask<'_>) -> Result<Original, Failure> {
        let (parameters, rows) = match ask {
            // Where it is described it is not run: nothing is held meanwhile.
            Ask::Query { .. } if plan.foreign => self.describe_finish(plan, &[]).await?,
            Ask::Query { text } => {
                if self.tx.is_open()
                    && let Ok((_, shards)) = self.feeds(plan)
                {
                    // The home shard stays with the transaction: it is not to be held while others are waited for.
                    self.enlist_all(&with(&shards, Some(self.view.topology.home))).await?;
                }
                self.describe_at(self.view.topology.home, text, &[], Owed::ParseHeard).await?
            }
            Ask::Bound { statement, .. } => statement
                .described()
                .ok_or_else(|| Fault::new(SqlState::INTERNAL_ERROR, "a statement was not described before it ran"))?,
        };
        let mut fields = Fields::new(parameters.get(HEADER..).unwrap_or_default());
        let parameters: Vec<Oid> = (0..fields.count()?).map(|_| fields.u32()).collect::<Result<_, _>>()?;
        let origins = if plan.cursor.is_some() { self.origins(plan, ask, &parameters).await? } else { None };
        Ok(Original { parameters, rows, origins })
    }

    /// Where the columns of a cursor's query come from, as the home shard says it of the query alone.
    async fn origins(
        &mut self,
        plan: &FinishPlan,
        ask: &Ask<'_>,
        parameters: &[Oid],
    ) -> Result<Option<Box<[Origin]>>, Failure> {
        let (text, _) = ask.statement();
        let StatementKind::Declare { inner, .. } = classify(text) else { return Ok(None) };
        let Some(query) = text.get(inner..).filter(|_| !plan.foreign) else { return Ok(None) };
        let offset = std::mem::replace(&mut self.offset, NO_POSITION);
        let described = self.describe_at(self.view.topology.home, query, parameters, AGAIN).await;
        self.offset = offset;
        let columns = crate::session::promise::columns(&described?.1)?;
        Ok(columns.map(|columns| columns.iter().map(Origin::of).collect()))
    }

    /// ParameterDescription and RowDescription (or NoData) of a statement; its error, if it has one, goes to the client. `parse`: what is
    /// owed for its text.
    pub(super) async fn describe_at(
        &mut self,
        shard: ShardId,
        text: &str,
        types: &[Oid],
        parse: Owed,
    ) -> Result<(Bytes, Bytes), Failure> {
        let at = self.enlist(shard).await?;
        let server = &mut self.held[at].server;
        server.parse(b"", text.as_bytes(), types)?;
        server.inflight.push(parse);
        request::describe(&mut server.out, request::Target::Statement, b"")?;
        server.inflight.push(Owed::DescribeStatement(Audience::Client));
        server.out.extend_from_slice(request::SYNC);
        server.inflight.push(Owed::Sync(Audience::Client));
        let offset = std::mem::take(&mut self.offset);
        let described = description(&mut self.held[at].server, &mut self.client, Hears::Behind(offset), None).await;
        self.offset = offset;
        let described = match described {
            Ok(Ok(described)) => Ok(described),
            Ok(Err(error)) => {
                let moved = crate::exec::forward::move_position(error.body(), offset);
                self.client.out.extend_from_slice(&moved);
                self.shared.metrics.error(&sqlstate(error.body()), "client");
                Err(Failure::Reported)
            }
            Err(error) => Err(self.scatter_failure(error, false).await),
        };
        // Not held while others are waited for.
        self.end_parts(false).await?;
        described
    }

    pub(super) async fn moment_of(&mut self, shard: ShardId) -> Result<Moment, Failure> {
        let at = self.enlist(shard).await?;
        self.moment_at(at, shard).await
    }

    /// The same of a shard whose connection is in the session's hands, whatever server it leads to.
    pub(super) async fn moment_at(&mut self, at: usize, shard: ShardId) -> Result<Moment, Failure> {
        let asked = self.ask_held(at, clock::ASK).await?;
        let mut moment = Moment::of(&asked).ok_or_else(no_moment)?;
        if let Some(time) = self.tx.time_elsewhere() {
            moment.transaction = time.to_string();
        } else if self.tx.is_open() {
            self.tx.clock = Some(shard);
            self.tx.time = Some(moment.transaction.as_str().into());
        }
        Ok(moment)
    }

    /// What keeps a session from having its statement finished elsewhere.
    pub(super) async fn check_finish(&mut self, plan: &FinishPlan, ask: &Ask<'_>) -> Result<(), Failure> {
        let pulled = |pull: &&Pull| matches!(pull.from, PullFrom::One(_)) && !pull.is_temporary();
        let pulled = plan.pulls.iter().find(pulled).map(|pull| &*pull.label);
        if let Some(table) = plan.reads_home.as_deref().or(pulled)
            && self.names_temporary(ask.statement().0).await?
        {
            let fault = Fault::unsupported(
                format!(
                    "\"{table}\" cannot be read together with sharded tables beside temporary tables that are named here"
                ),
                "The statement is finished on another connection, which does not see them.",
                "Run it in another session, or read the tables one by one.",
            );
            return Err(fault.into());
        }
        if plan.pulls.iter().any(|pull| pull.binary == Some(false)) {
            self.check_texts()?;
        }
        if plan.draws {
            self.check_drawn_apart().await?;
        }
        Ok(())
    }

    /// Whether a text has the name of something temporary of the session, which its own connection alone sees.
    pub(super) async fn names_temporary(&mut self, text: &str) -> Result<bool, Failure> {
        let Some(shard) = self.shard_of_temporaries() else { return Ok(false) };
        let Some(words) = identifiers(text, self.scope.standard_strings()) else { return Ok(true) };
        self.look_at_temporaries(shard).await?;
        let at = self.held_at(shard)?;
        // Functions in that schema are called by it.
        let (own, names) = (&self.held[at].temporaries, self.names());
        // The tables that the statement was planned with are read there.
        let unplanned = |name: &str| own.has_name(name) && (!own.has(name) || names.is_distributed(name));
        Ok(words.iter().any(|word| word.starts_with("pg_temp") || unplanned(word)))
    }

    /// Values of user-defined types and of a few others go as text.
    pub(super) fn check_texts(&self) -> Result<(), Fault> {
        self.exact_texts(
            "columns of types whose values go as text cannot be read together from several shards under these settings",
        )
    }

    /// `0A000` where a server's text of a value may not be read as that very value by another server with this session's settings.
    pub(super) fn exact_texts(&self, what: &'static str) -> Result<(), Fault> {
        let Some((setting, wanted)) = self.inexact_text() else { return Ok(()) };
        Err(Fault::unsupported(
            what,
            format!(
                "Values of user-defined types and of some others go as text, and as {setting} is set, another server may read a text as another value."
            ),
            format!("Set {setting} to {wanted}."),
        ))
    }

    /// Parses the finishing statement and binds it.
    pub(super) async fn bind_finish(
        &mut self,
        combine: ShardId,
        plan: &FinishPlan,
        ask: &Ask<'_>,
        original: &Original,
        copies: &mut Copies,
    ) -> Result<(), Halt> {
        self.parse_finish(combine, plan, ask, original, Some(copies)).await?;
        let at = self.held_at(combine)?;
        let server = &mut self.held[at].server;
        let tail = match ask {
            Ask::Query { .. } => Bytes::from_static(&[0; 6]),
            Ask::Bound { bind, .. } => Bytes::copy_from_slice(BindView::read(bind)?.tail),
        };
        request::bind_raw(&mut server.out, portal_of(plan), b"", &tail)?;
        server.inflight.push(Owed::Bind(Audience::Router));
        Ok(())
    }

    /// The client's role and what its transaction has set, as they must be on the combine connection. `tried`: nothing is run there.
    pub(super) fn finish_settings(&self, plan: &FinishPlan, tried: bool) -> String {
        let before = self.tx.settings_before().unwrap_or(&self.settings);
        let mut settings: Vec<String> =
            roles(before).map(|(name, value)| assign(name, value).replacen("SET ", "SET LOCAL ", 1)).collect();
        let mut changed: Vec<String> = match plan.cursor {
            Some(_) if !tried => self.tx.history(),
            _ => self.tx.settings_replay().map(str::to_owned).collect(),
        };
        changed.retain(|sql| !sql.to_ascii_lowercase().contains("temp_buffers"));
        settings.extend(changed);
        // Behind those of the client, which could be of this one.
        if !settings.is_empty() && self.idle_in_transaction().is_some() {
            settings.push(UNTIMED.to_owned());
        }
        settings.join("; ")
    }

    /// Parses the finishing statement under the client's role and settings, and checks that it has the original's columns. `copies`: those
    /// that are still to be answered; `None`: it is only tried.
    pub(super) async fn parse_finish(
        &mut self,
        combine: ShardId,
        plan: &FinishPlan,
        ask: &Ask<'_>,
        original: &Original,
        copies: Option<&mut Copies>,
    ) -> Result<(), Halt> {
        let mut none = Copies::default();
        let (copies, tried) = match copies {
            Some(copies) => (copies, false),
            None => (&mut none, true),
        };
        let at = self.held_at(combine)?;
        let settings = self.finish_settings(plan, tried);
        let server = &mut self.held[at].server;
        if !settings.is_empty() {
            server.ask(&settings);
        }
        if let Some(cursor) = &plan.cursor {
            check_cursor_columns(
                server,
                &mut self.client,
                plan.sql.get(cursor.query..).unwrap_or_default(),
                original,
                copies,
            )
            .await?;
        }
        let server = &mut self.held[at].server;
        server.parse(b"", plan.sql.as_bytes(), &original.parameters)?;
        server.inflight.push(Owed::Parse(Audience::Router));
        request::describe(&mut server.out, request::Target::Statement, b"")?;
        server.inflight.push(Owed::DescribeStatement(Audience::Client));
        server.out.extend_from_slice(request::SYNC);
        server.inflight.push(Owed::Sync(Audience::Client));
        let (_, rows) = match description(server, &mut self.client, Hears::Nothing, Some(copies)).await? {
            Ok(described) => described,
            Err(error) => return Err(ScatterError::Shard(without_position(&error)).into()),
        };
        if !copies.is_empty() {
            return Err(Fault::new(SqlState::INTERNAL_ERROR, "a COPY of ours was not answered").into());
        }
        match same_columns(&original.rows, &rows)? {
            Same::Yes => {}
            // The row type of an input is not that of its table. As text its values are the same.
            Same::RowTypes if !wants_binary(ask)? => {}
            Same::RowTypes => {
                return Err(Fault::unsupported(
                    "binary results of a table's row type are not supported across shards",
                    "the rows are put together on another table, whose row type has another OID",
                    "Ask for text format, or select the columns.",
                )
                .into());
            }
            Same::No => {
                return Err(ScatterError::Stale(tables_have_changed()).into());
            }
        }
        Ok(())
    }
}

/// These shards, and one more.
pub(super) fn with(shards: &[ShardId], one: Option<ShardId>) -> Vec<ShardId> {
    shards.iter().copied().chain(one.filter(|one| !shards.contains(one))).collect()
}

/// A finishing transaction is always rolled back: it has written nothing but its inputs, which are empty again by that, and what
/// it has set is undone.
/// `kept`: it has a cursor that outlives transactions.
async fn end_transaction(server: &mut Backend, kept: bool) -> Result<(), Fault> {
    let settled = server.settle().await.map(drop);
    if !was_cancelled(server, &settled) {
        settled?;
    }
    if server.status != Status::Idle {
        server.roll_back().await?;
    }
    if kept {
        server.insist("CLOSE ALL").await?;
    }
    match server.inputs.clean() {
        Some(sql) => server.insist(&sql).await,
        None => Ok(()),
    }
}

/// What a server says to a Describe of a statement; or its ErrorResponse. All that it owes is read. `copies`: it is a combine
/// connection, which has these to answer before, and whose notices are not the client's.
pub(super) async fn description(
    server: &mut Backend,
    client: &mut Client,
    hears: Hears,
    mut copies: Option<&mut Copies>,
) -> Result<Result<(Bytes, Bytes), Frame>, ScatterError> {
    let (mut parameters, mut rows, mut failed) = (Bytes::new(), Bytes::new(), None);
    while !server.inflight.is_empty() {
        let frame = content(server, client, hears).await?;
        if let Some(copies) = &mut copies {
            copies.note(&frame)?;
        }
        match frame.tag {
            b't' => parameters = frame.bytes,
            b'T' | b'n' => rows = frame.bytes,
            b'E' => failed = failed.or(Some(frame)),
            _ => {}
        }
    }
    Ok(failed.map_or(Ok((parameters, rows)), Err))
}

pub(super) fn sqlstate(body: &[u8]) -> String {
    let code = crate::wire::error_fields::iter(body).find(|(field, _)| *field == b'C');
    code.map_or_else(String::new, |(_, code)| String::from_utf8_lossy(code).into_owned())
}

/// Errors that a statement of ours can only meet where tables are not what they were: columns, tables and functions that are not there,
/// and types that do not fit.
pub(super) fn is_of_stale(code: &str) -> bool {
    matches!(code, "42703" | "42P01" | "42883" | "42804")
}

/// Whether two descriptions have the same names and types. Tables and their columns may differ.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Same {
    Yes,
    /// But for user-defined types.
    RowTypes,
    No,
}

pub(super) fn same_columns(original: &Bytes, finish: &Bytes) -> Result<Same, Fault> {
    let columns = |frame: &Bytes| match frame.first() {
        Some(b'T') => read_row_description(frame.get(HEADER..).unwrap_or_default()).map(Some),
        _ => Ok(None),
    };
    Ok(match (columns(original)?, columns(finish)?) {
        (None, None) => Same::Yes,
        (Some(ours), Some(theirs)) if ours.len() == theirs.len() => {
            let mut same = Same::Yes;
            for (a, b) in ours.iter().zip(&theirs) {
                // A row of a view is one of its query there, which has no type of its own.
                let users =
                    a.type_oid >= FIRST_NORMAL_OID && (b.type_oid >= FIRST_NORMAL_OID || b.type_oid == oid::RECORD);
                if a.name != b.name || (a.type_oid != b.type_oid && !users) {
                    return Ok(Same::No);
                }
                if a.type_oid != b.type_oid {
                    same = Same::RowTypes;
                }
            }
            same
        }
        _ => Same::No,
    })
}

/// Whether the client asks for any column in binary.
fn wants_binary(ask: &Ask<'_>) -> Result<bool, Fault> {
    match ask {
        Ask::Query { .. } => Ok(false),
        Ask::Bound { bind, .. } => Ok(result_formats(bind)?.contains(&1)),
    }
}

pub(super) fn no_moment() -> Fault {
    Fault::new(SqlState::INTERNAL_ERROR, "a server did not tell the time")
}

impl Session {
    /// Whether the client acts as another role than the one that logged in.
    pub(super) fn acts_as_other(&self) -> bool {
        roles(self.tx.settings_before().unwrap_or(&self.settings)).next().is_some()
    }
}

/// Who the session acts as. The inputs belong to the user that logged in, so they are made and filled as that one.
fn roles(settings: &SessionSettings) -> impl Iterator<Item = (&str, &str)> {
    ["session_authorization", "role"].into_iter().filter_map(|name| settings.get(name).map(|value| (name, value)))
}

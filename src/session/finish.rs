//! Tier 2: rows are pulled from the shards into temporary tables of a combine connection, and a Postgres finishes the statement
//! there. The shards' connections are checked out before the combine connection, which has a pool of its own: nobody who holds
//! one of these waits for a shard.

use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};

use crate::backend::Backend;
use crate::backend::clock::{self, Moment, make_clock};
use crate::backend::combine::{InputTable, make_inputs, qualified};
use crate::backend::inflight::{Audience, Owed};
use crate::backend::settings::{SessionSettings, assign, quote_identifier};
use crate::exec::client::Client;
use crate::exec::finish::{self, Copies, Input, Tally};
use crate::exec::forward::{NO_POSITION, without_position};
use crate::exec::scatter::{FIRST_NORMAL_OID, ScatterError, content, send_all};
use crate::fault::{Fault, SqlState};
use crate::ids::{Oid, ShardId};
use crate::plan::{FinishPlan, Plan, PlanKind, Pull, PullFrom};
use crate::session::bind::result_formats;
use crate::session::cursor::{check_cursor_columns, portal_of};
use crate::session::held::{Finishing, put_settings};
use crate::session::prepared::{ClientStatement, Place};
use crate::session::run::Ask;
use crate::session::{Failure, Session};
use crate::sql::outcome::{STATEMENT_MOMENT, TRANSACTION_MOMENT};
use crate::types::Format;
use crate::wire::frame::{BindView, Fields, Frame, HEADER};
use crate::wire::reply::Status;
use crate::wire::row::read_row_description;
use crate::wire::{encode, request};

/// The finishing statement's portal. It has a name, because a simple Query would close one without.
pub(super) const PORTAL: &[u8] = b"pgloom";
/// An input with more rows than this is analyzed before the planner sees it.
const ANALYZE_ROWS: u64 = 10_000;
/// The type of what the clock says.
const TIMESTAMPTZ: Oid = 1184;
/// How long the end of a finishing transaction may take before its connection is given up.
const END: Duration = Duration::from_secs(10);

/// The client's own statement as the home shard, which has every table, describes it.
pub(super) struct Original {
    pub parameters: Vec<Oid>,
    /// RowDescription or NoData, whole.
    pub rows: Bytes,
}

/// Why the pulls came to no good end.
pub(super) enum Halt {
    Failure(Failure),
    Scatter(ScatterError),
}

impl<E: Into<Failure>> From<E> for Halt {
    fn from(error: E) -> Self {
        Self::Failure(error.into())
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
        let original = self.original(plan, ask).await?;
        if plan.cursor.is_some() {
            return self.declare_finish(plan, ask, &original).await;
        }
        let slot = self.start_finish(plan, ask, &original).await?;
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
        // A pipeline that has become a transaction since the Bind reads everything through its own connections.
        if self.tx.is_open()
            && let PlanKind::Finish(_) = &plan.kind
        {
            *plan = self.plan_bound(statement, &BindView::read(bind)?.parameters);
        }
        self.note_plan(&plan);
        let ask = Ask::Bound { statement, bind, columns_added: 0, describe: false };
        let PlanKind::Finish(finish) = &plan.kind else {
            return self.run_multi(&plan, &statement.analysis, &ask).await;
        };
        self.columns_of(statement).await?;
        self.leave_open().await?;
        let original = self.original(finish, &ask).await?;
        if finish.cursor.is_some() {
            return self.declare_finish(finish, &ask, &original).await;
        }
        let slot = self.start_finish(finish, &ask, &original).await?;
        self.resume_finish(name, slot, max).await
    }

    /// The next rows of a portal whose statement is being finished.
    pub(super) async fn resume_finish(&mut self, name: &[u8], slot: ShardId, max: i32) -> Result<(), Failure> {
        if self.fetch(slot, max.max(0)).await?
            && let Ok(portal) = self.statements.portal(name)
        {
            portal.place = Place::Finishing(slot);
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
        let offset = std::mem::replace(&mut self.offset, NO_POSITION);
        let pumped = self.pump_held(at).await;
        self.offset = offset;
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
        let server = &mut self.held[at].server;
        if !server.broken {
            server.broken = !matches!(tokio::time::timeout(END, end_transaction(server)).await, Ok(Ok(())));
        }
        self.let_go(at);
    }

    /// The transaction is over, and with it every finishing statement that waits for its next Execute.
    pub(super) async fn close_suspended(&mut self) {
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
            Ask::Query { .. } if plan.foreign => self.describe_finish(plan, &[]).await?,
            Ask::Query { text } => self.describe_at(self.view.topology.home, text, &[]).await?,
            Ask::Bound { statement, .. } => statement
                .described()
                .ok_or_else(|| Fault::new(SqlState::INTERNAL_ERROR, "a statement was not described before it ran"))?,
        };
        let mut fields = Fields::new(parameters.get(HEADER..).unwrap_or_default());
        let parameters = (0..fields.count()?).map(|_| fields.u32()).collect::<Result<_, _>>()?;
        Ok(Original { parameters, rows })
    }

    /// ParameterDescription and RowDescription (or NoData) of a statement; its error, if it has one, goes to the client.
    pub(super) async fn describe_at(
        &mut self,
        shard: ShardId,
        text: &str,
        types: &[Oid],
    ) -> Result<(Bytes, Bytes), Failure> {
        let at = self.enlist(shard).await?;
        let server = &mut self.held[at].server;
        request::parse(&mut server.out, b"", text.as_bytes(), types)?;
        server.inflight.push(Owed::Parse(Audience::Router));
        request::describe(&mut server.out, request::Target::Statement, b"")?;
        server.inflight.push(Owed::DescribeStatement(Audience::Client));
        server.out.extend_from_slice(request::SYNC);
        server.inflight.push(Owed::Sync(Audience::Client));
        let offset = std::mem::take(&mut self.offset);
        let described = description(&mut self.held[at].server, &mut self.client, None).await;
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

    /// Pulls the rows and binds the finishing statement. On return the shards' connections are at rest, or back.
    pub(super) async fn start_finish(
        &mut self,
        plan: &FinishPlan,
        ask: &Ask<'_>,
        original: &Original,
    ) -> Result<ShardId, Failure> {
        self.check_finish(plan)?;
        let feeds: Vec<Vec<ShardId>> = plan.pulls.iter().map(|pull| self.feeding(plan, pull)).collect();
        let mut shards: Vec<ShardId> = feeds.iter().flatten().copied().collect();
        shards.sort_unstable();
        shards.dedup();
        self.check_fanout(shards.len())?;
        let mut slot = None;
        let mut tally = Tally {
            max_rows: self.shared.limits.pull_rows,
            max_bytes: self.shared.limits.pull_bytes,
            ..Tally::default()
        };
        let limit = self.shared.limits.query_timeout;
        let loading = self.load(plan, ask, original, &feeds, &shards, &mut slot, &mut tally);
        let loaded = match limit {
            None => loading.await,
            Some(limit) => match tokio::time::timeout(limit, loading).await {
                Ok(loaded) => loaded,
                Err(_) => {
                    if let Some(at) = slot.and_then(|slot| self.held.position(slot)) {
                        self.held[at].server.broken = true;
                    }
                    Err(Fault::new(SqlState::QUERY_CANCELED, "canceling statement due to query_timeout").into())
                }
            },
        };
        self.shared.metrics.pulled_rows.inc_by(tally.rows);
        self.shared.metrics.pulled_bytes.inc_by(tally.bytes);
        match (loaded, slot) {
            (Ok(()), Some(slot)) => Ok(slot),
            (Ok(()), None) => Err(Fault::new(SqlState::INTERNAL_ERROR, "no combine connection").into()),
            (Err(halt), slot) => {
                let failure = self.halted(halt).await;
                if let Some(slot) = slot {
                    self.end_finish(slot).await;
                }
                Err(failure)
            }
        }
    }

    async fn halted(&mut self, halt: Halt) -> Failure {
        match halt {
            Halt::Scatter(error) => self.scatter_failure(error, false).await,
            Halt::Failure(Failure::Fault(fault)) => self.scatter_failure(fault.into(), false).await,
            Halt::Failure(failure @ Failure::Reported) => {
                let unsaid = Fault::new(SqlState::INTERNAL_ERROR, "reported");
                self.scatter_failure(unsaid.into(), false).await;
                failure
            }
            Halt::Failure(failure @ Failure::Stop(_)) => failure,
        }
    }

    #[allow(clippy::too_many_arguments)]
    async fn load(
        &mut self,
        plan: &FinishPlan,
        ask: &Ask<'_>,
        original: &Original,
        feeds: &[Vec<ShardId>],
        shards: &[ShardId],
        slot: &mut Option<ShardId>,
        tally: &mut Tally,
    ) -> Result<(), Halt> {
        self.enlist_all(shards).await?;
        // Inside of a transaction, so that the statement's moment is asked of one of its connections before others are held.
        let within = self.tx.is_open();
        let mut moment = Moment::default();
        if plan.needs_moment() && within {
            moment = self.moment_of_a_shard(plan).await?;
        }
        let combine = self.enlist_combine().await?;
        *slot = Some(combine);
        let mut early = None;
        if plan.needs_moment() && !within {
            // The moment is the finishing transaction's own.
            early = Some(self.make_inputs(combine, plan, feeds, shards).await?);
            let at = self.held_at(combine)?;
            let asked = self.held[at].server.query(clock::ASK).await?;
            moment = Moment::of(&asked).ok_or_else(no_moment)?;
            if let Ask::Query { .. } = ask {
                // A transaction of one Query message begins with its statement.
                moment.statement.clone_from(&moment.transaction);
            }
        }
        for shard in shards {
            self.ask_pulls(*shard, plan, ask, original, feeds, &moment)?;
        }
        {
            // The shards work while the inputs are made.
            let mut servers = self.held.servers(shards);
            send_all(&mut servers, &mut self.client).await?;
        }
        let inputs = match early {
            Some(inputs) => inputs,
            None => self.make_inputs(combine, plan, feeds, shards).await?,
        };
        if plan.own_clock {
            let at = self.held_at(combine)?;
            self.held[at].server.ask(&moment.set());
        }
        let all: Vec<ShardId> = shards.iter().copied().chain([combine]).collect();
        let mut copies = Copies::default();
        for (input, pull) in inputs.iter().zip(&plan.pulls) {
            let mut servers = self.held.servers(&all);
            let Some((combine, servers)) = servers.split_last_mut() else { continue };
            let before = *tally;
            let filled = finish::fill(input, combine, servers, &mut self.client, tally, &mut copies).await;
            combine.inputs.note_rows(&pull.name, tally.rows - before.rows, tally.bytes - before.bytes);
            let rows = filled?;
            if rows > ANALYZE_ROWS {
                combine.ask(&format!("ANALYZE {}", qualified(&pull.name)));
            }
        }
        {
            let mut servers = self.held.servers(shards);
            finish::settle(&mut servers, &mut self.client).await?;
        }
        self.end_parts(false).await?;
        self.bind_finish(combine, plan, ask, original, &mut copies).await
    }

    /// The moment of a statement in a transaction. Every shard has begun its part of it at a time of its own; rows that were written
    /// in it have the time of their shard, so that one's clock is read.
    pub(super) async fn moment_of_a_shard(&mut self, plan: &FinishPlan) -> Result<Moment, Failure> {
        let home = self.view.topology.home;
        let wrote: Vec<ShardId> = self.held.iter().filter(|h| h.joined && h.wrote).map(|h| h.shard).collect();
        let shard = self.tx.clock.unwrap_or(wrote.first().copied().unwrap_or(home));
        if wrote.iter().any(|other| *other != shard) {
            return Err(Fault::unsupported(
                format!(
                    "function {}() is not supported here behind writes on several shards",
                    plan.clock.as_deref().unwrap_or("now")
                ),
                "Each shard has begun its part of the transaction at a time of its own, which rows written in it may have.",
                "Send the time as a parameter or a literal, or run the statement outside of the transaction.",
            )
            .into());
        }
        let at = self.enlist(shard).await?;
        let asked = self.held[at].server.query(clock::ASK).await?;
        if self.tx.is_open() {
            self.tx.clock = Some(shard);
        }
        Ok(Moment::of(&asked).ok_or_else(no_moment)?)
    }

    /// What keeps a session from having its statement finished elsewhere.
    fn check_finish(&self, plan: &FinishPlan) -> Result<(), Fault> {
        let pulled = plan.pulls.iter().find(|pull| matches!(pull.from, PullFrom::One(_))).map(|pull| &*pull.table.name);
        if let Some(table) = plan.reads_home.as_deref().or(pulled)
            && self.held.iter().any(|h| h.temporary)
        {
            return Err(Fault::unsupported(
                format!(
                    "a session that may have temporary tables cannot read \"{table}\" together with sharded tables"
                ),
                "The statement is finished on another connection, which does not see them.",
                "Run it in another session, or read the tables one by one.",
            ));
        }
        if plan.pulls.iter().any(|pull| !pull.binary) && !self.texts_are_exact() {
            return Err(Fault::unsupported(
                "columns of user-defined types cannot be read together from several shards under these settings",
                "Values go as text here, and as DateStyle and extra_float_digits are set, texts may lose digits or time zones.",
                "Set DateStyle to ISO and extra_float_digits to 1.",
            ));
        }
        Ok(())
    }

    /// Whether a server's text of any value is read as that very value by another server with this session's settings.
    pub(super) fn texts_are_exact(&self) -> bool {
        let style = self.text_style();
        style.iso_dates && style.exact_floats
    }

    /// The shards that hold the rows of a pull.
    pub(super) fn feeding(&self, plan: &FinishPlan, pull: &Pull) -> Vec<ShardId> {
        match &pull.from {
            PullFrom::Shards(shards) => shards.iter().collect(),
            PullFrom::Any => vec![plan.shards().min().unwrap_or_else(|| self.any_shard())],
            PullFrom::One(shard) => vec![*shard],
        }
    }

    /// Queues on one shard all that is pulled from it, one after the other.
    fn ask_pulls(
        &mut self,
        shard: ShardId,
        plan: &FinishPlan,
        ask: &Ask<'_>,
        original: &Original,
        feeds: &[Vec<ShardId>],
        moment: &Moment,
    ) -> Result<(), Fault> {
        let at = self.held_at(shard)?;
        let joined = self.held[at].joined;
        let pulls: Vec<&Pull> =
            plan.pulls.iter().zip(feeds).filter(|(_, feeds)| feeds.contains(&shard)).map(|(pull, _)| pull).collect();
        // What one shard gives for one statement is of one moment.
        let snapshot = pulls.len() > 1 && !joined;
        let level = self.settings.get("default_transaction_isolation").unwrap_or("").to_ascii_lowercase();
        let server = &mut self.held[at].server;
        if snapshot {
            let level = if level.contains("serializable") { "SERIALIZABLE" } else { "REPEATABLE READ" };
            server.ask(&format!("BEGIN ISOLATION LEVEL {level} READ ONLY"));
        }
        for pull in pulls {
            let types = declared_types(pull, original);
            finish::ask(server, &pull.sql, &types, &values_of(ask, &pull.parameters, moment)?, pull.binary)?;
        }
        server.out.extend_from_slice(request::SYNC);
        server.inflight.push(Owed::Sync(Audience::Client));
        if snapshot {
            // Queued at once: it ends the transaction whether the pulls succeed or fail.
            server.ask("COMMIT");
        }
        Ok(())
    }

    /// A combine connection for one statement.
    pub(super) async fn enlist_combine(&mut self) -> Result<ShardId, Failure> {
        let slot = self.held.next_combine().ok_or_else(|| {
            Fault::new(SqlState::CONFIGURATION_LIMIT_EXCEEDED, "too many suspended portals over several shards")
        })?;
        self.check_unseen_settings(slot)?;
        let server = self.checkout(self.pools.combine()).await?;
        let at = self.hold(slot, server);
        self.held[at].pin = None;
        self.held[at].finishing = Finishing::Running;
        Ok(slot)
    }

    /// Settings, empty inputs and an open transaction on the combine connection.
    pub(super) async fn make_inputs(
        &mut self,
        combine: ShardId,
        plan: &FinishPlan,
        feeds: &[Vec<ShardId>],
        shards: &[ShardId],
    ) -> Result<Vec<Input>, Failure> {
        let settings = for_inputs(self.tx.settings_before().unwrap_or(&self.settings));
        let within = self.tx.is_open();
        let tables: Vec<InputTable<'_>> = plan
            .pulls
            .iter()
            .map(|pull| {
                let key = pull.primary_key.iter().filter_map(|at| pull.columns.get(*at));
                InputTable {
                    name: &pull.name,
                    create: &pull.create,
                    source: format!("{}.{}", quote_identifier(&pull.table.schema), quote_identifier(&pull.table.name)),
                    primary_key: key.map(|column| quote_identifier(&column.name)).collect::<Vec<_>>().join(", "),
                    generation: self.view.catalog.generation,
                }
            })
            .collect();
        let at = self.held_at(combine)?;
        let server = &mut self.held[at].server;
        put_settings(server, &settings).await?;
        if plan.own_clock {
            make_clock(server).await?;
        }
        let types = make_inputs(server, &tables, within).await?;
        server.ask("BEGIN");
        let inputs = plan.pulls.iter().zip(types).zip(feeds).map(|((pull, types), feeds)| Input {
            copy: format!(
                "COPY {} FROM STDIN{}",
                qualified(&pull.name),
                if pull.binary { " (FORMAT binary)" } else { "" }
            ),
            binary: pull.binary,
            types,
            servers: feeds.iter().filter_map(|shard| shards.binary_search(shard).ok()).collect(),
            table: pull.table.to_string(),
            filtered: pull.filtered,
        });
        Ok(inputs.collect())
    }

    /// The client's role and what its transaction has set, as they must be on the combine connection.
    pub(super) fn finish_settings(&self, plan: &FinishPlan) -> String {
        let before = self.tx.settings_before().unwrap_or(&self.settings);
        let mut settings: Vec<String> =
            roles(before).map(|(name, value)| assign(name, value).replacen("SET ", "SET LOCAL ", 1)).collect();
        let mut changed: Vec<String> = match plan.cursor {
            Some(_) => self.tx.history(),
            None => self.tx.settings_replay().map(str::to_owned).collect(),
        };
        changed.retain(|sql| !sql.to_ascii_lowercase().contains("temp_buffers"));
        settings.extend(changed);
        settings.join("; ")
    }

    /// Parses the finishing statement under the client's role and settings, checks that it has the original's columns, and binds it.
    async fn bind_finish(
        &mut self,
        combine: ShardId,
        plan: &FinishPlan,
        ask: &Ask<'_>,
        original: &Original,
        copies: &mut Copies,
    ) -> Result<(), Halt> {
        let at = self.held_at(combine)?;
        let settings = self.finish_settings(plan);
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
        request::parse(&mut server.out, b"", plan.sql.as_bytes(), &original.parameters)?;
        server.inflight.push(Owed::Parse(Audience::Router));
        request::describe(&mut server.out, request::Target::Statement, b"")?;
        server.inflight.push(Owed::DescribeStatement(Audience::Client));
        server.out.extend_from_slice(request::SYNC);
        server.inflight.push(Owed::Sync(Audience::Client));
        let (_, rows) = match description(server, &mut self.client, Some(copies)).await? {
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
                let message = "the finishing statement has other columns than the original";
                return Err(Fault::new(SqlState::INTERNAL_ERROR, message).detail(plan.sql.clone()).into());
            }
        }
        let server = &mut self.held[at].server;
        let tail = match ask {
            Ask::Query { .. } => Bytes::from_static(&[0; 6]),
            Ask::Bound { bind, .. } => Bytes::copy_from_slice(BindView::read(bind)?.tail),
        };
        request::bind_raw(&mut server.out, portal_of(plan), b"", &tail)?;
        server.inflight.push(Owed::Bind(Audience::Router));
        Ok(())
    }
}

/// A finishing transaction is always rolled back: it has written nothing but its inputs, which are empty again by that, and what
/// it has set is undone.
async fn end_transaction(server: &mut Backend) -> Result<(), Fault> {
    server.settle().await?;
    if server.status != Status::Idle {
        server.query("ROLLBACK").await?;
    }
    match server.inputs.clean() {
        Some(sql) => server.query(&sql).await.map(drop),
        None => Ok(()),
    }
}

/// What a server says to a Describe of a statement; or its ErrorResponse. All that it owes is read. `copies`: it is a combine
/// connection, which has these to answer before, and whose notices are not the client's.
pub(super) async fn description(
    server: &mut Backend,
    client: &mut Client,
    mut copies: Option<&mut Copies>,
) -> Result<Result<(Bytes, Bytes), Frame>, ScatterError> {
    let (mut parameters, mut rows, mut failed) = (Bytes::new(), Bytes::new(), None);
    while !server.inflight.is_empty() {
        let frame = content(server, client, copies.is_none()).await?;
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

fn sqlstate(body: &[u8]) -> String {
    let code = crate::wire::error_fields::iter(body).find(|(field, _)| *field == b'C');
    code.map_or_else(String::new, |(_, code)| String::from_utf8_lossy(code).into_owned())
}

/// Whether two descriptions have the same names and types. Tables and their columns may differ.
#[derive(Debug, PartialEq, Eq)]
enum Same {
    Yes,
    /// But for user-defined types.
    RowTypes,
    No,
}

fn same_columns(original: &Bytes, finish: &Bytes) -> Result<Same, Fault> {
    let columns = |frame: &Bytes| match frame.first() {
        Some(b'T') => read_row_description(frame.get(HEADER..).unwrap_or_default()).map(Some),
        _ => Ok(None),
    };
    Ok(match (columns(original)?, columns(finish)?) {
        (None, None) => Same::Yes,
        (Some(ours), Some(theirs)) if ours.len() == theirs.len() => {
            let mut same = Same::Yes;
            for (a, b) in ours.iter().zip(&theirs) {
                let users = a.type_oid >= FIRST_NORMAL_OID && b.type_oid >= FIRST_NORMAL_OID;
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

/// The types of the parameters that a pull uses.
pub(super) fn declared_types(pull: &Pull, original: &Original) -> Vec<Oid> {
    let types = pull.parameters.iter().map(|p| match *p {
        TRANSACTION_MOMENT | STATEMENT_MOMENT => TIMESTAMPTZ,
        p => original.parameters.get(usize::from(p)).copied().unwrap_or(0),
    });
    // A type that users made has another OID on each server: the shard sees by itself what is meant.
    types.map(|oid| if oid >= FIRST_NORMAL_OID { 0 } else { oid }).collect()
}

fn no_moment() -> Fault {
    Fault::new(SqlState::INTERNAL_ERROR, "a server did not tell the time")
}

/// What a Bind says of chosen parameters: their formats and values.
pub(super) fn values_of(ask: &Ask<'_>, chosen: &[u16], moment: &Moment) -> Result<BytesMut, Fault> {
    let mut out = BytesMut::new();
    let values = match ask {
        Ask::Bound { bind, .. } => Some(BindView::read(bind)?.parameters),
        Ask::Query { .. } => None,
    };
    let unknown =
        || Fault::new(SqlState::PROTOCOL_VIOLATION, "a parameter of the statement is not in its bind message");
    let chosen = chosen.iter().map(|p| match *p {
        TRANSACTION_MOMENT => Ok((Format::Text, Some(moment.transaction.as_bytes()))),
        STATEMENT_MOMENT => Ok((Format::Text, Some(moment.statement.as_bytes()))),
        p => values.as_ref().and_then(|values| values.get(usize::from(p))).ok_or_else(unknown),
    });
    let chosen = chosen.collect::<Result<Vec<(Format, Option<&[u8]>)>, Fault>>()?;
    encode::count16(&mut out, chosen.len())?;
    chosen.iter().for_each(|(format, _)| out.put_i16(format.code()));
    encode::count16(&mut out, chosen.len())?;
    for (_, value) in chosen {
        encode::value(&mut out, value)?;
    }
    Ok(out)
}

/// Who the session acts as. The inputs belong to the user that logged in, so they are made and filled as that one.
fn roles(settings: &SessionSettings) -> impl Iterator<Item = (&str, &str)> {
    ["session_authorization", "role"].into_iter().filter_map(|name| settings.get(name).map(|value| (name, value)))
}

/// The settings under which inputs are made and filled. temp_buffers cannot be changed where there are temporary tables already.
fn for_inputs(settings: &Arc<SessionSettings>) -> Arc<SessionSettings> {
    const LEFT_OUT: [&str; 3] = ["session_authorization", "role", "temp_buffers"];
    if LEFT_OUT.iter().all(|name| settings.get(name).is_none()) {
        return Arc::clone(settings);
    }
    let mut plain = (**settings).clone();
    LEFT_OUT.iter().for_each(|name| plain.remove(name));
    Arc::new(plain)
}

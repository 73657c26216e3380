//! Tier 2: what is asked of the shards for a statement that a Postgres finishes, stage by stage, and the way of their rows into the
//! inputs. Pulls of a later stage go with the values that the earlier ones have brought.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};

use crate::backend::clock::{self, Moment};
use crate::backend::combine::{TypedColumn, qualified};
use crate::backend::combiners::Running;
use crate::backend::inflight::{Audience, Owed};
use crate::backend::server_fault;
use crate::backend::settings::quote_identifier;
use crate::exec::columns::{FIRST_NORMAL_OID, tables_have_changed};
use crate::exec::finish::{self, Copies, Input, Tally, Values};
use crate::exec::forward::Broken;
use crate::exec::replies::{ScatterError, start_sending};
use crate::fault::{Fault, SqlState};
use crate::ids::{Oid, ShardId, ShardSet};
use crate::plan::{FinishPlan, Keys, KeysFrom, Pull, PullFrom, PullPart};
use crate::session::combine::{Tried, Unable};
use crate::session::finish::{END, Halt, Original, is_of_stale, no_moment, sqlstate, with};
use crate::session::held::{Finishing, Held};
use crate::session::run::{Ask, commented};
use crate::session::views::below_views;
use crate::session::{Failure, Session};
use crate::sql::outcome::{STATEMENT_MOMENT, TRANSACTION_MOMENT};
use crate::types::Format;
use crate::wire::frame::BindView;
use crate::wire::reply::Status;
use crate::wire::{encode, request};

/// An input with more rows than this is analyzed before the planner sees it.
const ANALYZE_ROWS: u64 = 10_000;
/// So are all where the tables of the statement, each row with each of every other, would make more rows than this. Without statistics the
/// planner takes any condition for one that few rows fulfil, and can join many small tables in an order that takes minutes.
const ANALYZE_JOINED: u64 = 100_000_000;
/// The type of what the clock says.
const TIMESTAMPTZ: Oid = 1184;

/// A pull as it is asked for in one call.
pub(super) struct Asked {
    pub sql: String,
    pub types: Vec<Oid>,
    /// What its Bind says between its names and its result formats.
    pub values: BytesMut,
    pub shards: Vec<ShardId>,
    /// What shards are asked that each get another text.
    parts: Vec<(ShardId, AskedPart)>,
    /// How many rows have come into its input, and in what time.
    pub filled: Option<(u64, Duration)>,
}

/// What one shard is asked.
#[derive(Clone)]
pub(super) struct AskedPart {
    pub sql: String,
    pub types: Vec<Oid>,
    pub values: BytesMut,
}

impl Asked {
    /// What this shard is asked: its text, its types and values.
    pub fn of(&self, shard: ShardId) -> (&str, &[Oid], &[u8]) {
        match self.parts.iter().find(|(of, _)| *of == shard) {
            Some((_, part)) => (&part.sql, &part.types, &part.values),
            None => (&self.sql, &self.types, &self.values),
        }
    }
}

/// One statement on its way to its inputs.
struct Loading<'a> {
    plan: &'a FinishPlan,
    ask: &'a Ask<'a>,
    original: &'a Original,
    moment: Moment,
    /// The shards that may have rows of each pull.
    feeds: Vec<Vec<ShardId>>,
    /// All of them, in order.
    shards: Vec<ShardId>,
    /// Values that were asked for already: no second pull asks again.
    known: Vec<(&'a KeysFrom, Values)>,
    copies: Copies,
}

impl Session {
    /// Pulls the rows and binds the finishing statement, on whichever server can. On return the shards' connections are at rest, or
    /// back. Returns the combine connection, and how each pull was asked for.
    pub(super) async fn start_finish(
        &mut self,
        plan: &FinishPlan,
        ask: &Ask<'_>,
        original: &Original,
    ) -> Result<(ShardId, Vec<Asked>), Failure> {
        let plan = self.check_views(plan).await?;
        let mut tried = Tried::default();
        loop {
            let on = self.choose_combiner(plan, original, &mut tried);
            let of = on.as_ref().and_then(|_| plan.elsewhere()).unwrap_or(plan);
            let pulls_more = !std::ptr::eq(of, plan);
            if let Some(done) = self.try_finish(of, ask, original, on, pulls_more, &mut tried).await? {
                return Ok(done);
            }
        }
    }

    /// The same on this server, or on the home shard. `None`: the server cannot, and another one is to be tried. `pulls_more`: than it
    /// would be for the home shard.
    pub(super) async fn try_finish(
        &mut self,
        plan: &FinishPlan,
        ask: &Ask<'_>,
        original: &Original,
        on: Option<Running>,
        pulls_more: bool,
        tried: &mut Tried,
    ) -> Result<Option<(ShardId, Vec<Asked>)>, Failure> {
        self.check_finish(plan, ask).await?;
        let (feeds, shards) = self.feeds(plan)?;
        let mut slot = None;
        let mut tally =
            Tally { max_rows: self.limits.pull_rows, max_bytes: self.limits.pull_bytes, ..Tally::default() };
        let (moment, copies) = (Moment::default(), Copies::default());
        let server = on.as_ref().map(|running| running.at);
        let loading = Loading { plan, ask, original, moment, feeds, shards, known: Vec::new(), copies };
        let loaded = self.load(loading, on, &mut slot, &mut tally).await;
        self.shared.metrics.pulled_rows.inc_by(tally.rows);
        self.shared.metrics.pulled_bytes.inc_by(tally.bytes);
        let halt = match (loaded, slot) {
            (Ok(asked), Some(slot)) => {
                self.count_finish(server.is_some(), tried);
                return Ok(Some((slot, asked)));
            }
            (Ok(_), None) => Fault::new(SqlState::INTERNAL_ERROR, "no combine connection").into(),
            (Err(_), _) if server.is_some() && pulls_more && tally.is_over() => Unable::TooMuch.into(),
            (Err(halt), _) => halt,
        };
        match (halt, server) {
            (Halt::Unable(unable), Some(at)) => {
                tried.note(&self.database.combine, at, &unable);
                if let Unable::TooMuch = unable {
                    // More is pulled outside of transactions only: nothing is lost with what is cancelled.
                    let shards: Vec<ShardId> = self.held.iter().map(|held| held.shard).collect();
                    self.quiet(&shards, false).await;
                }
                if let Some(slot) = slot {
                    self.end_finish(slot).await;
                }
                self.end_snapshots().await;
                self.drop_broken();
                self.end_parts(false).await?;
                Ok(None)
            }
            (halt, _) => {
                let failure = self.halted(of_moved(plan, below_views(plan, halt))).await;
                if let Some(slot) = slot {
                    self.end_finish(slot).await;
                }
                self.end_snapshots().await;
                self.drop_broken();
                Err(failure)
            }
        }
    }

    /// Ends the transactions of pulls whose last stage was not reached: on a connection that stays with the session they would go on.
    async fn end_snapshots(&mut self) {
        let open = |held: &&mut Held| {
            let own = !held.joined && held.finishing == Finishing::No;
            own && !held.server.broken && held.server.status != Status::Idle
        };
        for held in self.held.iter_mut().filter(open) {
            let server = &mut held.server;
            let end = async {
                server.drain().await?;
                server.roll_back().await
            };
            let ended = matches!(tokio::time::timeout(END, end).await, Ok(Ok(_)));
            held.server.broken |= !ended;
        }
    }

    pub(super) async fn halted(&mut self, halt: Halt) -> Failure {
        match halt {
            // The client's own statement was found to be right: what is wrong is what was made of it.
            Halt::Scatter(ScatterError::Shard(frame)) if is_of_stale(&sqlstate(frame.body())) => {
                self.scatter_failure(ScatterError::Stale(tables_have_changed()), false).await
            }
            Halt::Scatter(ScatterError::Fault(fault)) | Halt::Failure(Failure::Fault(fault))
                if is_of_stale(fault.code.as_str()) =>
            {
                self.scatter_failure(ScatterError::Stale(tables_have_changed()), false).await
            }
            Halt::Scatter(error) => self.scatter_failure(error, false).await,
            Halt::Failure(Failure::Fault(fault)) => self.scatter_failure(fault.into(), false).await,
            Halt::Failure(failure @ Failure::Reported) => {
                let unsaid = Fault::new(SqlState::INTERNAL_ERROR, "reported");
                self.scatter_failure(unsaid.into(), false).await;
                failure
            }
            Halt::Failure(failure @ Failure::Stop(_)) => failure,
            // Only servers beside the shards are ever unable, and others are tried then.
            Halt::Unable(Unable::Unreachable(fault) | Unable::Refuses(fault)) => {
                self.scatter_failure(fault.into(), false).await
            }
            Halt::Unable(Unable::TooMuch) => {
                let fault = Fault::new(SqlState::INTERNAL_ERROR, "the home shard was not tried");
                self.scatter_failure(fault.into(), false).await
            }
        }
    }

    /// The shards that may have rows of each pull, and all of them in order.
    pub(super) fn feeds(&self, plan: &FinishPlan) -> Result<(Vec<Vec<ShardId>>, Vec<ShardId>), Fault> {
        let feeds: Vec<Vec<ShardId>> = plan.pulls.iter().map(|pull| self.feeding(plan, pull)).collect();
        let mut shards: Vec<ShardId> = feeds.iter().flatten().copied().collect();
        shards.sort_unstable();
        shards.dedup();
        self.check_fanout(shards.len())?;
        Ok((feeds, shards))
    }

    fn feeding(&self, plan: &FinishPlan, pull: &Pull) -> Vec<ShardId> {
        match &pull.from {
            PullFrom::Shards(shards) | PullFrom::Copies(shards) => shards.iter().collect(),
            PullFrom::Any => vec![plan.shards().min().unwrap_or_else(|| self.any_shard())],
            PullFrom::One(shard) => vec![*shard],
        }
    }

    async fn load(
        &mut self,
        mut of: Loading<'_>,
        on: Option<Running>,
        slot: &mut Option<ShardId>,
        tally: &mut Tally,
    ) -> Result<Vec<Asked>, Halt> {
        let plan = of.plan;
        let within = self.tx.is_open();
        // Inside of a transaction the statement's moment is asked of one of its connections.
        let clock = if plan.needs_moment() && within { Some(self.shard_of_time()) } else { None };
        let columns = match on {
            Some(_) => Some(self.columns_of_pulls(plan).await?),
            None => None,
        };
        let combine = self.enlist_with_combine(&with(&of.shards, clock), on, slot).await?;
        if let Some(shard) = clock {
            of.moment = self.moment_of_statement(shard, of.ask).await?;
        }
        let own = if within && columns.is_none() { self.own_columns(plan).await? } else { None };
        let mut inputs = None;
        let asks_types = plan.pulls.iter().any(|pull| pull.binary.is_none());
        if let Some(columns) = &columns {
            inputs = Some(self.prepare_beside(combine, &of, columns).await?);
        } else if asks_types || plan.needs_moment() && !within {
            inputs = Some(self.make_inputs(combine, plan, own.as_deref(), &of.feeds, &of.shards).await?);
        }
        if plan.needs_moment() && !within {
            // The moment is the finishing transaction's own.
            let at = self.held_at(combine)?;
            let asked = self.ask_held(at, clock::ASK).await?;
            of.moment = Moment::of(&asked).ok_or_else(no_moment)?;
            if let Ask::Query { .. } = of.ask {
                // A transaction of one Query message begins with its statement.
                of.moment.statement.clone_from(&of.moment.transaction);
            }
        }
        let last = plan.pulls.iter().map(|pull| pull.stage).max().unwrap_or(0);
        let mut filled = vec![0; plan.pulls.len()];
        let mut times = vec![Duration::ZERO; plan.pulls.len()];
        let mut asked: Vec<Option<Asked>> = plan.pulls.iter().map(|_| None).collect();
        for stage in 0..=last {
            let of_stage: Vec<usize> = (0..plan.pulls.len()).filter(|at| plan.pulls[*at].stage == stage).collect();
            for at in &of_stage {
                asked[*at] = Some(self.ask_with_keys(combine, &mut of, *at).await?);
            }
            let binary: Vec<bool> = match &inputs {
                Some(inputs) => inputs.iter().map(|input: &Input| input.binary).collect(),
                None => plan.pulls.iter().map(|pull| pull.binary == Some(true)).collect(),
            };
            for shard in of.shards.clone() {
                self.ask_pulls(shard, &of, stage, &asked, &binary)?;
            }
            // The shards work while the inputs are made.
            start_sending(&mut self.held.servers(&of.shards), &mut self.client).await?;
            let inputs = match &mut inputs {
                Some(inputs) => inputs,
                None => inputs.insert(self.make_inputs(combine, plan, own.as_deref(), &of.feeds, &of.shards).await?),
            };
            // Before the cursor is declared: what fails then would be a second answer.
            if plan.foreign && plan.cursor.is_some() && stage == 0 {
                self.number_inputs(combine, plan).await?;
            }
            if plan.own_clock && stage == 0 {
                let at = self.held_at(combine)?;
                self.held[at].server.ask(&of.moment.set());
            }
            for at in of_stage {
                let (Some(input), Some(asked)) = (inputs.get_mut(at), asked[at].as_ref()) else { continue };
                let places = asked.shards.iter().filter_map(|shard| of.shards.binary_search(shard).ok());
                input.servers = places.collect();
                let began = Instant::now();
                filled[at] = self.fill_input(combine, &mut of, &plan.pulls[at], input, tally).await?;
                times[at] = began.elapsed();
            }
        }
        let at = self.held_at(combine)?;
        for pull in to_analyze(plan, &filled) {
            self.held[at].server.ask(&format!("ANALYZE {}", qualified(&pull.name)));
        }
        {
            let mut servers = self.held.servers(&of.shards);
            finish::settle(&mut servers, &mut self.client).await?;
        }
        self.end_parts(false).await?;
        self.bind_finish(combine, plan, of.ask, of.original, &mut of.copies).await?;
        let counted = asked.into_iter().zip(filled.into_iter().zip(times));
        Ok(counted.filter_map(|(asked, filled)| Some(Asked { filled: Some(filled), ..asked? })).collect())
    }

    /// Everything that can show that a server beside the shards is not able, before a row is pulled: what a shard has begun within a
    /// transaction could not be undone.
    async fn prepare_beside(
        &mut self,
        combine: ShardId,
        of: &Loading<'_>,
        columns: &[Vec<TypedColumn>],
    ) -> Result<Vec<Input>, Halt> {
        let made = match self.make_inputs(combine, of.plan, Some(columns), &of.feeds, &of.shards).await {
            Ok(inputs) if inputs.iter().all(|input| input.binary) => {
                let parsed = self.parse_finish(combine, of.plan, of.ask, of.original, None).await;
                parsed.map(|()| inputs)
            }
            Ok(_) => {
                Err(Fault::new(SqlState::FEATURE_NOT_SUPPORTED, "values hold numbers of one server's catalog").into())
            }
            Err(fault) => Err(fault.into()),
        };
        let fault = match made {
            Ok(inputs) => return Ok(inputs),
            Err(Halt::Failure(Failure::Fault(fault))) => fault,
            Err(Halt::Scatter(ScatterError::Shard(frame))) => crate::backend::server_fault(frame.body()),
            Err(Halt::Scatter(
                ScatterError::Broken(Broken::Server(fault)) | ScatterError::Fault(fault) | ScatterError::Stale(fault),
            )) => fault,
            Err(halt) => return Err(halt),
        };
        let at = self.held_at(combine)?;
        match fault.code {
            SqlState::QUERY_CANCELED => Err(fault.into()),
            _ if self.held[at].server.lost => Err(Unable::Unreachable(fault).into()),
            _ => Err(Unable::Refuses(fault).into()),
        }
    }

    async fn fill_input(
        &mut self,
        combine: ShardId,
        of: &mut Loading<'_>,
        pull: &Pull,
        input: &Input,
        tally: &mut Tally,
    ) -> Result<u64, Halt> {
        let all: Vec<ShardId> = of.shards.iter().copied().chain([combine]).collect();
        let mut servers = self.held.servers(&all);
        let Some((combine, servers)) = servers.split_last_mut() else { return Ok(0) };
        let before = *tally;
        let filled = finish::fill(input, combine, servers, &mut self.client, tally, &mut of.copies).await;
        combine.inputs.note_rows(&pull.name, tally.rows - before.rows, tally.bytes - before.bytes);
        Ok(filled?)
    }

    /// What is asked for a pull, with the values that its keys have by now.
    async fn ask_with_keys<'p>(&mut self, combine: ShardId, of: &mut Loading<'p>, at: usize) -> Result<Asked, Halt> {
        let pull: &'p Pull = &of.plan.pulls[at];
        let mut arrays = Vec::new();
        for keys in &pull.keys {
            let values = match of.known.iter().find(|(from, _)| **from == keys.from) {
                Some((_, values)) => values.clone(),
                None => {
                    let values = self.values_for(combine, of, &keys.from).await?;
                    of.known.push((&keys.from, values.clone()));
                    values
                }
            };
            match values {
                Values::Many => {}
                Values::None => {
                    let nowhere = of.asked(at, self, &[])?;
                    return Ok(Asked { shards: Vec::new(), ..nowhere });
                }
                Values::Few(array) => arrays.push((keys, array)),
            }
        }
        Ok(of.asked(at, self, &arrays)?)
    }

    /// The values of a column that are together on the combine connection.
    async fn values_for(&mut self, combine: ShardId, of: &mut Loading<'_>, from: &KeysFrom) -> Result<Values, Halt> {
        let (sql, parameters) = match from {
            KeysFrom::Input { pull, column } => {
                let name = of.plan.pulls.get(*pull).map_or("", |pull| &pull.name);
                (format!("SELECT {} FROM {}", quote_identifier(column), qualified(name)), &[][..])
            }
            // The client's role may be needed to see it, and is not on the connection yet.
            KeysFrom::Home { .. } if self.acts_as_other() => return Ok(Values::Many),
            KeysFrom::Home { sql, parameters } => (sql.clone(), &parameters[..]),
        };
        let types = declared_types(parameters, of.original);
        let values = values_of(of.ask, parameters, &of.moment, &[])?;
        let at = self.held_at(combine)?;
        let server = &mut self.held[at].server;
        Ok(finish::values(server, &mut self.client, &sql, &types, &values, &mut of.copies).await?)
    }

    /// Queues on one shard all that a stage pulls from it, one after the other.
    fn ask_pulls(
        &mut self,
        shard: ShardId,
        of: &Loading<'_>,
        stage: usize,
        asked: &[Option<Asked>],
        binary: &[bool],
    ) -> Result<(), Fault> {
        let at = self.held_at(shard)?;
        let joined = self.held[at].joined;
        let feeding = || of.plan.pulls.iter().enumerate().filter(|(at, _)| of.feeds[*at].contains(&shard));
        let (first, last) = (feeding().map(|(_, p)| p.stage).min(), feeding().map(|(_, p)| p.stage).max());
        // What one shard gives for one statement is of one moment.
        let snapshot = feeding().count() > 1 && !joined;
        let level = self.snapshot_level();
        let goes = |at: usize| asked[at].as_ref().is_some_and(|asked| asked.shards.contains(&shard));
        if feeding().any(|(at, pull)| pull.writes && pull.stage == stage && goes(at)) {
            if !joined {
                return Err(Fault::new(SqlState::INTERNAL_ERROR, "a change that is pulled outside of a transaction"));
            }
            // Noted before it is sent: a shard that breaks off may have done it.
            self.held[at].note_rows(false);
        }
        let comment: Option<Arc<str>> = self.clock.trace.as_ref().map(|trace| trace.context.comment().into());
        let server = &mut self.held[at].server;
        if snapshot && first == Some(stage) {
            server.ask(&format!("BEGIN ISOLATION LEVEL {level} READ ONLY"));
        }
        let of_stage = feeding().filter(|(_, pull)| pull.stage == stage).map(|(at, _)| at);
        let mut any = false;
        for at in of_stage {
            let Some(asked) = asked[at].as_ref().filter(|asked| asked.shards.contains(&shard)) else { continue };
            let (sql, types, values) = asked.of(shard);
            finish::ask(server, &commented(sql, comment.clone()), types, values, binary[at])?;
            any = true;
        }
        if any {
            server.out.extend_from_slice(request::SYNC);
            server.inflight.push(Owed::Sync(Audience::Client));
        }
        if snapshot && last == Some(stage) {
            // Queued at once: it ends the transaction whether the pulls succeed or fail.
            server.ask("COMMIT");
        }
        Ok(())
    }

    /// The isolation level of a transaction that sees one moment.
    pub(super) fn snapshot_level(&self) -> &'static str {
        let level = self.settings.get("default_transaction_isolation").unwrap_or("").to_ascii_lowercase();
        if level.contains("serializable") { "SERIALIZABLE" } else { "REPEATABLE READ" }
    }

    /// How the pulls are asked for as far as that is known before any rows are there.
    pub(super) fn asked_before(
        &self,
        plan: &FinishPlan,
        ask: &Ask<'_>,
        original: &Original,
        moment: Moment,
    ) -> Result<Vec<Asked>, Fault> {
        let (feeds, shards) = self.feeds(plan)?;
        let of = Loading { plan, ask, original, moment, feeds, shards, known: Vec::new(), copies: Copies::default() };
        (0..plan.pulls.len()).map(|at| of.asked(at, self, &[])).collect()
    }
}

impl Loading<'_> {
    fn asked(&self, at: usize, session: &Session, keys: &[(&Keys, Bytes)]) -> Result<Asked, Fault> {
        let pull = &self.plan.pulls[at];
        let mut sql = match pull.whole && !keys.is_empty() {
            true => format!("SELECT * FROM ({}) AS pgloom", pull.sql),
            false => pull.sql.clone(),
        };
        let mut more = pull.filtered && !pull.whole;
        let mut types = declared_types(&pull.parameters, self.original);
        types.extend(pull.sent.iter().map(|(of, _)| *of));
        let mut shards: ShardSet = self.feeds[at].iter().copied().collect();
        for (keys, array) in keys {
            types.push(keys.array);
            let condition = format!("{} = ANY (${})", quote_identifier(&keys.column), types.len());
            sql.push_str(if more { " AND " } else { " WHERE " });
            sql.push_str(&condition);
            more = true;
            if let Some(of_keys) = keys.shards(array, &session.view.topology) {
                shards.intersect_with(&of_keys);
            }
        }
        let sent = pull.sent.iter().map(|(_, array)| array);
        let arrays: Vec<&[u8]> = sent.chain(keys.iter().map(|(_, array)| array)).map(|array| &array[..]).collect();
        let values = values_of(self.ask, &pull.parameters, &self.moment, &arrays)?;
        let part = |part: &PullPart| {
            let types = declared_types(&part.parameters, self.original);
            let values = values_of(self.ask, &part.parameters, &self.moment, &[])?;
            Ok((part.shard, AskedPart { sql: part.sql.clone(), types, values }))
        };
        let parts = pull.parts.iter().map(part).collect::<Result<_, Fault>>()?;
        Ok(Asked { sql, types, values, shards: shards.iter().collect(), parts, filled: None })
    }
}

/// What a shard says of rows that refer to one that goes: one Postgres would have looked at the new row before, and perhaps found it wrong, or
/// right in the place of another.
fn of_moved(plan: &FinishPlan, halt: Halt) -> Halt {
    match (&plan.moves, &halt) {
        (Some(table), Halt::Scatter(ScatterError::Shard(frame)))
            if sqlstate(frame.body()) == SqlState::FOREIGN_KEY_VIOLATION.as_str() =>
        {
            let why = server_fault(frame.body());
            let why = why.detail.as_deref().unwrap_or(&why.message);
            let fault = Fault::unsupported(
                format!("changing the sharding key of table \"{}\" is not supported for this row", table.name),
                format!("rows of another table refer to it: {why}"),
                "Move what refers to it first, or insert the new row, change those rows, and delete the old one.",
            );
            Halt::Failure(fault.into())
        }
        _ => halt,
    }
}

/// The inputs that the planner must have statistics of. `filled`: the rows of each.
fn to_analyze<'p>(plan: &'p FinishPlan, filled: &[u64]) -> impl Iterator<Item = &'p Pull> {
    let joined = plan.pulls.iter().zip(filled).fold(1, |joined: u64, (pull, rows)| {
        let uses = u32::try_from(plan.sql.matches(&qualified(&pull.name)).count()).unwrap_or(u32::MAX);
        joined.saturating_mul((*rows).max(1).saturating_pow(uses))
    });
    let all = joined > ANALYZE_JOINED;
    let wanted = move |rows: u64| rows > ANALYZE_ROWS || all && rows > 0;
    plan.pulls.iter().zip(filled.to_vec()).filter(move |(_, rows)| wanted(*rows)).map(|(pull, _)| pull)
}

/// The types of chosen parameters of the client's.
pub(super) fn declared_types(parameters: &[u16], original: &Original) -> Vec<Oid> {
    let types = parameters.iter().map(|p| match *p {
        TRANSACTION_MOMENT | STATEMENT_MOMENT => TIMESTAMPTZ,
        p => original.parameters.get(usize::from(p)).copied().unwrap_or(0),
    });
    // A type that users made has another OID on each server: the shard sees by itself what is meant.
    types.map(|oid| if oid >= FIRST_NORMAL_OID { 0 } else { oid }).collect()
}

/// What a Bind says of chosen parameters, with values in binary behind them: their formats and values.
pub(super) fn values_of(ask: &Ask<'_>, chosen: &[u16], moment: &Moment, binary: &[&[u8]]) -> Result<BytesMut, Fault> {
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
    let binary = binary.iter().map(|value| Ok((Format::Binary, Some(*value))));
    let all = chosen.chain(binary).collect::<Result<Vec<(Format, Option<&[u8]>)>, Fault>>()?;
    encode::count16(&mut out, all.len())?;
    all.iter().for_each(|(format, _)| out.put_i16(format.code()));
    encode::count16(&mut out, all.len())?;
    for (_, value) in all {
        encode::value(&mut out, value)?;
    }
    Ok(out)
}

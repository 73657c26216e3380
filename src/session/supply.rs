//! UPDATE and DELETE that are sent what they read: rows of other tables are put together on the combine connection, held, and go along with
//! the statement to each shard, as WITH queries over arrays.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};

use crate::backend::clock::Moment;
use crate::backend::combine::qualified;
use crate::backend::inflight::{Audience, Owed};
use crate::exec::delivery::{To, ask_bound, collect};
use crate::exec::forward::without_position;
use crate::exec::replies::ScatterError;
use crate::exec::scatter::{Answer, Manner, ScatterRun};
use crate::fault::{Fault, SqlState};
use crate::ids::{ShardId, ShardSet};
use crate::memory::Hold;
use crate::plan::combine::Combine;
use crate::plan::supply::{Supplied, SuppliedRows};
use crate::plan::{FinishPlan, SupplyPlan};
use crate::session::bind::result_formats;
use crate::session::delivery::{Answering, place, unread_key};
use crate::session::finish::Original;
use crate::session::pulls::{declared_types, values_of};
use crate::session::run::Ask;
use crate::session::sent::{Collation, Sent, from_arrays, names};
use crate::session::transaction::TxState;
use crate::session::{Failure, Session};
use crate::sql::delivery::{DepotKey, Place};
use crate::sql::outcome::{STATEMENT_MOMENT, TRANSACTION_MOMENT};
use crate::sql::pulls::quoted;
use crate::sql::supply::{MOMENT, SupplyPlace};
use crate::types::Format;
use crate::wire::array::ArrayWriter;
use crate::wire::row::RowView;
use crate::wire::{encode, reply, request};

/// Rows that are held until the statement is sent.
struct Held {
    name: String,
    sent: Vec<Sent>,
    /// For each shard that has a part in the statement; or the same for all of them.
    arrays: Vec<Vec<Bytes>>,
    /// The shards that got rows, where each gets rows of its own.
    sorted: Option<Vec<bool>>,
    /// The memory that they take.
    hold: Hold,
}

impl Session {
    /// Runs the statement to its end; rows and command tag to the client. It is atomic, whether or not the client has a transaction open.
    pub(super) async fn run_supplied(&mut self, plan: &SupplyPlan, ask: &Ask<'_>) -> Result<(), Failure> {
        let opened = !self.tx.is_open();
        if opened {
            self.tx.begin_implicit(&self.settings);
        }
        let done = match self.start_supplied(plan, ask).await {
            Ok(answering) => self.finish_answering(answering).await,
            Err(failure) => Err(failure),
        };
        self.end_write(done, opened).await
    }

    /// The first rows of a portal that is fetched in pieces.
    pub(super) async fn execute_supplied(
        &mut self,
        name: &[u8],
        plan: &SupplyPlan,
        ask: &Ask<'_>,
        max: u64,
    ) -> Result<(), Failure> {
        let answering = self.start_supplied(plan, ask).await?;
        self.resume_answering(name, answering, max).await
    }

    /// Everything up to the first rows of the shards' answers.
    async fn start_supplied(&mut self, plan: &SupplyPlan, ask: &Ask<'_>) -> Result<Answering, Failure> {
        // All shards at once, so that nobody waits for one with others in his hands.
        let clock = if plan.moment { Some(self.shard_of_time()) } else { None };
        let describes = (!plan.supplies.is_empty()).then_some(self.view.topology.home);
        let mut shards: ShardSet = clock.into_iter().chain(describes).collect();
        shards.union_with(&self.sources(&plan.finish)?);
        shards.union_with(&plan.reaches());
        let shards: Vec<ShardId> = shards.iter().collect();
        self.check_fanout(shards.len())?;
        match (plan.everywhere, plan.finish.writes_copies()) {
            (_, true) => self.take_turn(&shards, Some(ask.statement().0)).await?,
            (true, false) => self.take_turn(&shards, None).await?,
            (false, false) => self.enlist_all(&shards).await?,
        }
        let (held, original) = match plan.supplies.is_empty() {
            true => (Vec::new(), None),
            false => {
                let (held, original) = self.hold_supplies(plan, ask).await?;
                (held, Some(original))
            }
        };
        let moment = match clock {
            None => Moment::default(),
            Some(shard) => self.moment_of_statement(shard, ask).await?,
        };
        match self.supply_shards(plan, ask, &held, original.as_ref(), &moment).await {
            Ok(answering) => Ok(answering),
            Err(error) => Err(self.scatter_failure(error, false).await),
        }
    }

    /// The moment of a statement in a transaction.
    pub(super) async fn moment_of_statement(&mut self, shard: ShardId, ask: &Ask<'_>) -> Result<Moment, Failure> {
        let mut moment = self.moment_of(shard).await?;
        if let (Ask::Query { .. }, TxState::Implicit) = (ask, self.tx.state) {
            // A transaction of one Query message begins with its statement.
            moment.statement.clone_from(&moment.transaction);
        }
        Ok(moment)
    }

    /// The rows of all supplies; and how the home shard describes the client's own statement.
    async fn hold_supplies(&mut self, plan: &SupplyPlan, ask: &Ask<'_>) -> Result<(Vec<Held>, Original), Failure> {
        let (finish, original, _hold) = self.supplied(&plan.finish, ask).await?;
        if plan.supplies.iter().all(|supplied| supplied.claim().is_some()) {
            return match self.read_supplies(None, plan, ask, &original).await {
                Ok(held) => Ok((held, original)),
                Err(error) => Err(self.scatter_failure(error, false).await),
            };
        }
        // What runs on the combine connection besides the supplies returns no rows, whatever the statement itself returns.
        let (parameters, rows) = (original.parameters.clone(), reply::NO_DATA.into());
        let (slot, _) = self.begin_finish(&finish, ask, Original { parameters, rows, origins: None }).await?;
        let held = match self.read_supplies(Some(slot), plan, ask, &original).await {
            Ok(held) => Ok(held),
            Err(error) => Err(self.scatter_failure(error, false).await),
        };
        self.end_finish(slot).await;
        Ok((held?, original))
    }

    /// Every shard that is asked for what a Postgres finishes.
    pub(super) fn sources(&self, plan: &FinishPlan) -> Result<ShardSet, Fault> {
        let (_, sources) = self.feeds(plan)?;
        let mut shards: ShardSet = sources.into_iter().collect();
        for (_, supply) in &plan.supplies {
            shards.union_with(&supply.reaches());
            shards.union_with(&self.sources(&supply.finish)?);
        }
        Ok(shards)
    }

    /// The plan with what its pulls are sent along; how the home shard describes the client's statement; and the memory that is taken.
    pub(super) async fn supplied<'p>(
        &mut self,
        plan: &'p FinishPlan,
        ask: &Ask<'_>,
    ) -> Result<(Cow<'p, FinishPlan>, Original, Vec<Hold>), Failure> {
        let original = self.original(plan, ask).await?;
        let (mut finish, mut holds) = (Cow::Borrowed(plan), Vec::new());
        for (at, supply) in &plan.supplies {
            let held = match supply.supplies.is_empty() {
                true => Vec::new(),
                false => Box::pin(self.hold_supplies(supply, ask)).await?.0,
            };
            let Some(pull) = finish.to_mut().pulls.get_mut(*at) else {
                return Err(Fault::new(SqlState::INTERNAL_ERROR, "what is sent along has no pull").into());
            };
            pull.sql = statement(supply, &held);
            pull.parameters = parameters(supply);
            let arrays = held.iter().flat_map(|held| held.sent.iter().zip(held.arrays.iter().flatten()));
            pull.sent = arrays.map(|(sent, array)| (sent.array, array.clone())).collect();
            holds.extend(held.into_iter().map(|held| held.hold));
        }
        Ok((finish, original, holds))
    }

    async fn read_supplies(
        &mut self,
        slot: Option<ShardId>,
        plan: &SupplyPlan,
        ask: &Ask<'_>,
        original: &Original,
    ) -> Result<Vec<Held>, ScatterError> {
        let mut held = Vec::new();
        let mut left = self.limits.merge_bytes;
        let nowhere = || {
            Fault::new(SqlState::INTERNAL_ERROR, "rows to be sent along without a place where they are put together")
        };
        for supplied in &plan.supplies {
            let rows = match supplied.claim() {
                Some(claim) => {
                    let (sent, arrays, hold) = self.claim_supply(claim, ask, left).await?;
                    Held { name: supplied.name.clone(), sent, arrays: vec![arrays], sorted: None, hold }
                }
                None => self.read_supply(slot.ok_or_else(nowhere)?, plan, supplied, ask, original, left).await?,
            };
            left = left.saturating_sub(rows.arrays.iter().flatten().map(Bytes::len).sum());
            held.push(rows);
        }
        Ok(held)
    }

    async fn read_supply(
        &mut self,
        slot: ShardId,
        plan: &SupplyPlan,
        supplied: &Supplied,
        ask: &Ask<'_>,
        original: &Original,
        limit: usize,
    ) -> Result<Held, ScatterError> {
        let of_pull;
        let (sql, parameters) = match &supplied.rows {
            SuppliedRows::Query { sql, parameters } => (sql, &parameters[..]),
            SuppliedRows::Claim(_) => {
                return Err(
                    Fault::new(SqlState::INTERNAL_ERROR, "locked rows are not put together in one place").into()
                );
            }
            SuppliedRows::Pull(at) => {
                let pull = plan.finish.pulls.get(*at);
                let columns = pull.map_or(&[][..], |pull| &pull.columns).iter().map(|column| quoted(&column.name));
                let name = pull.map_or("", |pull| &pull.name);
                of_pull = format!("SELECT {} FROM {}", columns.collect::<Vec<_>>().join(", "), qualified(name));
                (&of_pull, &[][..])
            }
        };
        let types = declared_types(parameters, original);
        let mut sent = self.sent_columns(slot, sql, &types).await?;
        let mut bind = values_of(ask, parameters, &Moment::default(), &[])?;
        self.find_collations(slot, sql, &types, &bind, &mut sent).await?;
        encode::count16(&mut bind, sent.len())?;
        sent.iter().for_each(|sent| bind.put_i16(sent.format.code()));
        let elements: Vec<_> = sent.iter().map(|sent| sent.element).collect();
        let (bytes, hold) = (self.limits.merge_bytes, self.shared.memory.hold());
        let topology = Arc::clone(&self.view.topology);
        let targets: Vec<ShardId> = plan.shards.iter().collect();
        let to = supplied.place.as_ref().map(|of| Ok::<_, Fault>((place_of(of, &sent)?, &of.table))).transpose()?;
        let formats: Vec<Format> = sent.iter().map(|sent| sent.format).collect();
        let sort = |row: &RowView<'_>| match &to {
            None => Ok(To::All),
            Some((to, table)) => place(row, to, table, &formats, &topology, &targets),
        };
        let at = self.held_at(slot)?;
        let server = &mut self.held[at].server;
        ask_bound(server, sql, &types, &bind)?;
        let shards = if to.is_some() { targets.len() } else { 1 };
        let collected =
            collect(server, &mut self.client, shards, &elements, (limit, hold), sort, || too_much(bytes)).await?;
        let arrays = collected.arrays.iter().map(|arrays| arrays_of(arrays, &sent)).collect::<Result<_, _>>()?;
        let sorted = to.is_some().then(|| collected.arrays.iter().map(|arrays| !arrays.is_empty()).collect());
        Ok(Held { name: supplied.name.clone(), arrays, sorted, sent, hold: collected.hold })
    }

    /// The statement on every shard, with all that is sent along.
    async fn supply_shards(
        &mut self,
        plan: &SupplyPlan,
        ask: &Ask<'_>,
        held: &[Held],
        original: Option<&Original>,
        moment: &Moment,
    ) -> Result<Answering, ScatterError> {
        let parameters = parameters(plan);
        let text = statement(plan, held);
        let mut types = match original {
            Some(original) => declared_types(&parameters, original),
            None => {
                let (_, declared) = ask.statement();
                let declared = Original { parameters: declared.to_vec(), rows: Bytes::new(), origins: None };
                declared_types(&parameters, &declared)
            }
        };
        types.extend(held.iter().flat_map(|held| &held.sent).map(|sent| sent.array));
        let shards = who_runs(plan, held);
        for (place, shard) in &shards {
            let arrays = held.iter().flat_map(|held| held.arrays.get(*place).or(held.arrays.first()));
            let arrays: Vec<&[u8]> = arrays.flatten().map(|array| &array[..]).collect();
            let mut bind = values_of(ask, &parameters, moment, &arrays)?;
            put_formats(&mut bind, ask)?;
            let at = self.held_at(*shard)?;
            let held = &mut self.held[at];
            held.note_rows(plan.everywhere);
            let server = &mut held.server;
            server.parse(b"", text.as_bytes(), &types)?;
            server.inflight.push(Owed::Parse(Audience::Client));
            server.bind_own(&bind)?;
            server.inflight.push(Owed::Bind(Audience::Router));
            request::describe(&mut server.out, request::Target::Portal, b"")?;
            server.inflight.push(Owed::DescribePortal(Audience::Client));
            request::execute(&mut server.out, b"", 0)?;
            server.inflight.push(Owed::Execute(Audience::Client));
            server.out.extend_from_slice(request::SYNC);
            server.inflight.push(Owed::Sync(Audience::Router));
        }
        let shards: Vec<ShardId> = shards.into_iter().map(|(_, shard)| shard).collect();
        let run = self.start_answers(&shards, &Combine::CONCAT, plan.everywhere, ask, original).await?;
        Ok(Answering { run, shards, same: plan.everywhere })
    }

    /// The heads of the shards' answers; the client is told the columns, where it is to be told them.
    pub(super) async fn start_answers(
        &mut self,
        shards: &[ShardId],
        combine: &Combine,
        everywhere: bool,
        ask: &Ask<'_>,
        original: Option<&Original>,
    ) -> Result<ScatterRun, ScatterError> {
        let manner = Manner { settled: true, ..self.manner(if everywhere { Answer::First } else { Answer::Merged }) };
        let run = {
            let mut servers = self.held.servers(shards);
            ScatterRun::start(&mut servers, &mut self.client, combine, None, manner).await
        };
        // The text is not the client's.
        let mut run = run.map_err(|error| match error {
            ScatterError::Shard(frame) => ScatterError::Shard(without_position(&frame)),
            error => error,
        })?;
        match self.tell_answers(&run, ask, original) {
            Ok(()) => Ok(run),
            Err(fault) => Err(run.fail(fault)),
        }
    }

    /// The columns as they are described where every table exists, if they were.
    fn tell_answers(&mut self, run: &ScatterRun, ask: &Ask<'_>, original: Option<&Original>) -> Result<(), Fault> {
        match original {
            Some(original) if ask.describes() && original.rows.first() == Some(&b'T') => {
                self.client.out.extend_from_slice(&original.rows);
                Ok(())
            }
            _ => self.tell_columns(run, ask),
        }
    }
}

/// The shards that run the statement, by their places among those that have a part in it: where each gets rows of its own only who got
/// some, but at least one.
fn who_runs(plan: &SupplyPlan, held: &[Held]) -> Vec<(usize, ShardId)> {
    let sorted: Vec<&Vec<bool>> = held.iter().filter_map(|held| held.sorted.as_ref()).collect();
    let all: Vec<(usize, ShardId)> = plan.shards.iter().enumerate().collect();
    let got = |(place, _): &(usize, ShardId)| sorted.iter().all(|sorted| sorted.get(*place) == Some(&true));
    let mut runs: Vec<(usize, ShardId)> = all.iter().copied().filter(got).collect();
    if runs.is_empty() {
        runs.extend(all.first());
    }
    runs
}

/// Where the rows of a supply go whose columns have these types.
fn place_of(of: &SupplyPlace, sent: &[Sent]) -> Result<Place, Fault> {
    let key = of.key.iter().map(|(name, not_null)| {
        // Equal texts that differ in their bytes would belong to several shards.
        let read = |sent: &Sent| {
            sent.format == Format::Binary && !matches!(sent.collation, Collation::Known { folds: true, .. })
        };
        let column = sent.iter().position(|sent| sent.name == *name && read(sent));
        let column = column.ok_or_else(|| unread_key(&of.table))?;
        Ok(DepotKey { column, type_oid: sent[column].element, not_null: *not_null })
    });
    let key = key.collect::<Result<_, Fault>>()?;
    Ok(Place::Keyed { distribution: of.distribution, name: Arc::clone(&of.name), key })
}

/// The arrays of a supply; empty ones where it has no rows.
fn arrays_of(arrays: &[ArrayWriter], sent: &[Sent]) -> Result<Vec<Bytes>, Fault> {
    match arrays.is_empty() {
        false => arrays.iter().map(ArrayWriter::bytes).collect(),
        true => sent.iter().map(|sent| ArrayWriter::new(sent.element).bytes()).collect(),
    }
}

/// The formats in which the client wants its rows, at the end of a Bind.
pub(super) fn put_formats(bind: &mut BytesMut, ask: &Ask<'_>) -> Result<(), Fault> {
    let formats = match ask {
        Ask::Query { .. } => Vec::new(),
        Ask::Bound { bind, .. } => result_formats(bind)?,
    };
    encode::count16(bind, formats.len())?;
    formats.iter().for_each(|format| bind.put_i16(*format));
    Ok(())
}

/// Those of the statement, and the time where it is sent along.
fn parameters(plan: &SupplyPlan) -> Vec<u16> {
    let moments: &[u16] = if plan.moment { &[TRANSACTION_MOMENT, STATEMENT_MOMENT] } else { &[] };
    plan.parameters.iter().chain(moments).copied().collect()
}

/// The client's statement behind WITH queries of what is sent along.
fn statement(plan: &SupplyPlan, held: &[Held]) -> String {
    let mut next = plan.parameters.len() + 1;
    let mut with = Vec::new();
    if plan.moment {
        with.push(format!(
            "{MOMENT} AS (SELECT t AS \"now\", t AS \"transaction_timestamp\", t AS \"current_timestamp\", \
             s AS \"statement_timestamp\", t::pg_catalog.date AS \"current_date\", t::pg_catalog.timetz AS \"current_time\", \
             t::pg_catalog.time AS \"localtime\", t::pg_catalog.timestamp AS \"localtimestamp\" \
             FROM (SELECT ${next}::pg_catalog.timestamptz, ${}::pg_catalog.timestamptz) m (t, s))",
            next + 1
        ));
        next += 2;
    }
    for held in held {
        let (values, from) = from_arrays(&held.sent, next);
        next += held.sent.len();
        with.push(format!("{} ({}) AS (SELECT {} FROM {from})", held.name, names(&held.sent), values.join(", ")));
    }
    let recursive = if plan.with == Some(true) { "RECURSIVE " } else { "" };
    let behind = if plan.with.is_some() { "," } else { "" };
    format!("WITH {recursive}{}{behind} {}", with.join(", "), plan.statement)
}

fn too_much(limit: usize) -> Fault {
    Fault::new(SqlState::CONFIGURATION_LIMIT_EXCEEDED, "the statement reads too much of other shards")
        .detail(format!(
            "merge_max_bytes is {limit}, and what a write reads of other shards is held to be sent to each"
        ))
        .hint("Restrict what it reads in WHERE, change the rows in several statements, or raise merge_max_bytes.")
}

//! SELECT with row locks and LIMIT over several shards: rows are locked in the order of the result until there are enough, so that no row
//! is locked that does not belong to it.

use std::collections::VecDeque;

use bytes::{BufMut, Bytes, BytesMut};

use crate::backend::Backend;
use crate::backend::inflight::{Audience, Owed};
use crate::exec::client::Client;
use crate::exec::columns::{FIRST_NORMAL_OID, tables_have_changed};
use crate::exec::delivery::ask_bound;
use crate::exec::finish::settle;
use crate::exec::forward::without_position;
use crate::exec::replies::{Hears, ScatterError, content, send_all};
use crate::fault::{Blame, Fault, SqlState};
use crate::ids::{Oid, ShardId};
use crate::memory::Hold;
use crate::merge::{Advance, ColumnInfo, Merge, MergeLimits};
use crate::plan::combine::{Combine, Gather};
use crate::plan::{Access, ClaimPlan, ClaimText};
use crate::session::bind::result_formats;
use crate::session::delivery::Answering;
use crate::session::run::Ask;
use crate::session::sent::Sent;
use crate::session::{Failure, Session};
use crate::sql::claim::{KEYS, WHICH_SHARD};
use crate::sql::locking::Busy;
use crate::types::{Format, oid};
use crate::wire::array::ArrayWriter;
use crate::wire::frame::{BindView, Fields, HEADER};
use crate::wire::row::{RowView, read_row_description};
use crate::wire::{encode, request};

/// The portal of a shard's candidates.
const PORTAL: &[u8] = b"pgloom_claim";
/// Most rows that are locked at once on a shard, and most candidates that it is asked for.
const AT_ONCE: usize = 512;

/// A row that may be claimed, or that is.
struct Row {
    /// The place of its shard among those of the plan.
    shard: usize,
    /// The values of its primary key, in binary.
    key: Vec<Bytes>,
}

/// One statement on its way to its rows.
struct Claiming<'a> {
    plan: &'a ClaimPlan,
    ask: &'a Ask<'a>,
    shards: Vec<ShardId>,
    /// Types of the client's parameters.
    types: Vec<Oid>,
    merge: Merge,
    /// What each shard has told of its candidates and the merge has not taken yet.
    told: Vec<VecDeque<Bytes>>,
    /// The shards that may have more.
    open: Vec<bool>,
    /// Bytes of rows that may still be held.
    left: usize,
    limit: usize,
    /// The memory of what is held.
    hold: Hold,
}

impl Session {
    /// Runs the statement to its end; rows and command tag to the client.
    pub(super) async fn run_claim(&mut self, plan: &ClaimPlan, ask: &Ask<'_>) -> Result<(), Failure> {
        let opened = !self.tx.is_open();
        if opened {
            self.tx.begin_implicit(&self.settings);
        }
        let done = match self.start_claim(plan, ask).await {
            Ok(answering) => self.finish_answering(answering).await,
            Err(failure) => Err(failure),
        };
        self.end_write(done, opened).await
    }

    /// Everything up to the first row of the result.
    async fn start_claim(&mut self, plan: &ClaimPlan, ask: &Ask<'_>) -> Result<Answering, Failure> {
        let shards: Vec<ShardId> = plan.shards.iter().collect();
        self.check_fanout(shards.len())?;
        self.enlist_all(&shards).await?;
        match self.claim(plan, ask, shards).await {
            Ok(answering) => Ok(answering),
            Err(error) => Err(self.scatter_failure(error, false).await),
        }
    }

    async fn claim(
        &mut self,
        plan: &ClaimPlan,
        ask: &Ask<'_>,
        shards: Vec<ShardId>,
    ) -> Result<Answering, ScatterError> {
        let mut of = Claiming::new(plan, ask, shards, self.merge_limits())?;
        let claimed = of.claimed(self).await?;
        of.read(self, &claimed).await
    }

    /// The rows that a query within a statement locks, in arrays: what their columns are, and the columns. Its shards are at hand.
    pub(super) async fn claim_supply(
        &mut self,
        plan: &ClaimPlan,
        ask: &Ask<'_>,
        limit: usize,
    ) -> Result<(Vec<Sent>, Vec<Bytes>, Hold), ScatterError> {
        let mut of = Claiming::new(
            plan,
            ask,
            plan.shards.iter().collect(),
            MergeLimits { max_bytes: limit, ..self.merge_limits() },
        )?;
        let claimed = of.claimed(self).await?;
        let (sent, arrays) = of.collect(self, &claimed).await?;
        Ok((sent, arrays, of.hold))
    }
}

impl<'a> Claiming<'a> {
    fn new(plan: &'a ClaimPlan, ask: &'a Ask<'a>, shards: Vec<ShardId>, limits: MergeLimits) -> Result<Self, Fault> {
        let info = |(type_oid, collation): &(Oid, _)| ColumnInfo {
            type_oid: *type_oid,
            format: Format::Binary,
            collation: *collation,
        };
        let combine = Combine { gather: plan.gather.clone(), ..Combine::CONCAT };
        let columns: Vec<ColumnInfo> = plan.sorts.iter().map(info).collect();
        let (limit, hold) = (limits.max_bytes, limits.memory.hold());
        let merge = Merge::new(&combine, None, &columns, Default::default(), shards.len(), limits)?;
        let (told, open) = (shards.iter().map(|_| VecDeque::new()).collect(), vec![true; shards.len()]);
        Ok(Self { plan, ask, types: types_of(ask)?, shards, merge, told, open, left: limit, limit, hold })
    }

    /// Locks the rows of the result; those that are behind its OFFSET.
    async fn claimed(&mut self, session: &mut Session) -> Result<Vec<Row>, ScatterError> {
        let window = self.plan.window;
        let wanted = window.limit.map_or(u64::MAX, |limit| match limit {
            0 => 0,
            limit => limit.saturating_add(window.offset),
        });
        let mut claimed: Vec<Row> = Vec::new();
        if wanted > 0 {
            self.open(session, wanted).await?;
            loop {
                let missing = wanted.saturating_sub(claimed.len() as u64);
                let next = self.next(session, missing.min(AT_ONCE as u64) as usize).await?;
                if next.is_empty() {
                    break;
                }
                claimed.extend(self.lock(session, next).await?);
            }
            self.close(session).await?;
        }
        let behind = usize::try_from(window.offset).unwrap_or(usize::MAX).min(claimed.len());
        claimed.drain(..behind);
        Ok(claimed)
    }

    /// Asks every shard for its first candidates.
    async fn open(&mut self, session: &mut Session, wanted: u64) -> Result<(), ScatterError> {
        let text = &self.plan.candidates;
        for (at, shard) in self.shards.iter().enumerate() {
            let bind = self.bind(text, at, &[])?;
            let server = server_of(session, *shard)?;
            server.parse(b"", text.text.as_bytes(), &self.declared(text))?;
            server.inflight.push(Owed::Parse(Audience::Router));
            request::bind_raw(&mut server.out, PORTAL, b"", &with_formats(bind, &[1])?)?;
            server.inflight.push(Owed::Bind(Audience::Router));
            request::describe(&mut server.out, request::Target::Portal, PORTAL)?;
            server.inflight.push(Owed::DescribePortal(Audience::Client));
            fetch(server, wanted.min(AT_ONCE as u64) as usize)?;
        }
        send_all(&mut session.held.servers(&self.shards), &mut session.client).await?;
        for at in 0..self.shards.len() {
            self.hear(session, at).await?;
        }
        Ok(())
    }

    /// What a shard answers to an Execute of its candidates.
    async fn hear(&mut self, session: &mut Session, at: usize) -> Result<(), ScatterError> {
        let mut servers = session.held.servers(&self.shards[at..=at]);
        let Some(server) = servers.first_mut() else { return Err(lost().into()) };
        self.open[at] = false;
        while !server.inflight.is_empty() {
            let frame = content(server, &mut session.client, Hears::Nothing).await?;
            match frame.tag {
                b'D' => {
                    let too_much = || too_many(self.limit);
                    self.left = self.left.checked_sub(frame.bytes.len()).ok_or_else(too_much)?;
                    self.hold.grow(frame.bytes.len())?;
                    self.told[at].push_back(frame.bytes);
                }
                b'T' => {
                    let columns = read_row_description(frame.bytes.get(HEADER..).unwrap_or_default())?;
                    let expected = self.plan.sorts.iter().map(|(oid, _)| *oid);
                    let expected = expected.chain(self.plan.key.iter().map(|(oid, _)| *oid)).chain([oid::INT4]);
                    if !columns.iter().map(|column| column.type_oid).eq(expected) {
                        return Err(ScatterError::Stale(tables_have_changed()));
                    }
                }
                b's' => self.open[at] = true,
                b'E' => return Err(ScatterError::Shard(without_position(&frame))),
                _ => {}
            }
        }
        Ok(())
    }

    /// The next candidates of all shards, in order.
    async fn next(&mut self, session: &mut Session, count: usize) -> Result<Vec<Row>, ScatterError> {
        let mut rows = Vec::new();
        while rows.len() < count {
            let input = match self.merge.advance()? {
                Advance::Row(row) => {
                    rows.push(self.row(&row)?);
                    continue;
                }
                Advance::Done => break,
                Advance::Need(input) => input,
                Advance::NeedAny => {
                    match (0..self.shards.len()).find(|at| self.open[*at] || !self.told[*at].is_empty()) {
                        Some(input) => input,
                        None => {
                            (0..self.shards.len()).for_each(|at| self.merge.close(at));
                            continue;
                        }
                    }
                }
            };
            if self.told[input].is_empty() && self.open[input] {
                fetch(server_of(session, self.shards[input])?, AT_ONCE)?;
                self.hear(session, input).await?;
            }
            match self.told[input].pop_front() {
                Some(row) => self.merge.push(input, row)?,
                None => self.merge.close(input),
            }
        }
        Ok(rows)
    }

    fn row(&self, row: &Bytes) -> Result<Row, Fault> {
        let view = RowView::parse(row)?;
        let columns: Vec<Option<&[u8]>> = view.columns().collect::<Result<_, _>>()?;
        let key = columns.iter().skip(self.plan.sorts.len()).take(self.plan.key.len());
        let key: Option<Vec<Bytes>> = key.map(|value| value.map(Bytes::copy_from_slice)).collect();
        let shard = columns.last().copied().flatten().and_then(|bytes| <[u8; 4]>::try_from(bytes).ok());
        let shard = shard.and_then(|bytes| usize::try_from(i32::from_be_bytes(bytes)).ok());
        match (key, shard.filter(|shard| *shard < self.shards.len())) {
            (Some(key), Some(shard)) => Ok(Row { shard, key }),
            _ => Err(lost()),
        }
    }

    /// Locks candidates; those that are claimed by it, in order.
    async fn lock(&mut self, session: &mut Session, rows: Vec<Row>) -> Result<Vec<Row>, ScatterError> {
        // Who waits for locks waits for them in the order of the rows, as one Postgres does: two who claim the same rows do not
        // lock each other out.
        let together = |a: &Row, b: &Row| self.plan.busy != Busy::Wait || a.shard == b.shard;
        let mut locked = Vec::new();
        let mut rest = &rows[..];
        let mut kept = vec![false; rows.len()];
        while let Some(first) = rest.first() {
            let start = rows.len() - rest.len();
            let run = rest.iter().position(|row| !together(first, row)).unwrap_or(rest.len());
            for at in self.lock_run(session, &rest[..run]).await? {
                kept[start + at] = true;
            }
            rest = &rest[run..];
        }
        locked.extend(rows.into_iter().zip(kept).filter(|(_, kept)| *kept).map(|(row, _)| row));
        Ok(locked)
    }

    /// Has the shards lock these rows, all at once; the places of those that they have locked.
    async fn lock_run(&mut self, session: &mut Session, rows: &[Row]) -> Result<Vec<usize>, ScatterError> {
        let text = &self.plan.lock;
        let mut asked: Vec<(ShardId, Vec<usize>)> = Vec::new();
        for (at, shard) in self.shards.iter().enumerate() {
            let places: Vec<usize> = (0..rows.len()).filter(|place| rows[*place].shard == at).collect();
            if places.is_empty() {
                continue;
            }
            let arrays = self.arrays(places.iter().map(|place| &rows[*place]))?;
            let bind = with_formats(self.bind(text, at, &arrays)?, &[1])?;
            let held = session.held_at(*shard)?;
            let held = &mut session.held[held];
            held.note_access(Access::Lock);
            let server = &mut held.server;
            server.parse(b"", text.text.as_bytes(), &self.declared(text))?;
            server.inflight.push(Owed::Parse(Audience::Router));
            server.bind_own(&bind)?;
            server.inflight.push(Owed::Bind(Audience::Router));
            request::execute(&mut server.out, b"", 0)?;
            server.inflight.push(Owed::Execute(Audience::Client));
            server.out.extend_from_slice(request::SYNC);
            server.inflight.push(Owed::Sync(Audience::Client));
            asked.push((*shard, places));
        }
        let shards: Vec<ShardId> = asked.iter().map(|(shard, _)| *shard).collect();
        let mut servers = session.held.servers(&shards);
        send_all(&mut servers, &mut session.client).await?;
        let mut locked = Vec::new();
        for (server, (_, places)) in servers.into_iter().zip(&asked) {
            for place in numbers(server, &mut session.client).await? {
                let place = usize::try_from(place - 1).ok().and_then(|at| places.get(at)).ok_or_else(lost)?;
                if locked.contains(place) {
                    return Err(twice().into());
                }
                locked.push(*place);
            }
        }
        Ok(locked)
    }

    /// The portals are closed, also those that have told all: in a block they would stand in the way of the next ones.
    async fn close(&mut self, session: &mut Session) -> Result<(), ScatterError> {
        let mut servers = session.held.servers(&self.shards);
        for server in &mut servers {
            request::close(&mut server.out, request::Target::Portal, PORTAL)?;
            server.inflight.push(Owed::Close(Audience::Router));
            server.out.extend_from_slice(request::SYNC);
            server.inflight.push(Owed::Sync(Audience::Client));
        }
        settle(&mut servers, &mut session.client).await
    }

    /// Has the rows read that are claimed.
    async fn read(&mut self, session: &mut Session, claimed: &[Row]) -> Result<Answering, ScatterError> {
        let text = &self.plan.rows;
        let mut has: Vec<usize> =
            (0..self.shards.len()).filter(|at| claimed.iter().any(|row| row.shard == *at)).collect();
        if has.is_empty() {
            // Some shard says what the columns are.
            has.push(0);
        }
        let mut formats = match self.ask {
            Ask::Query { .. } => Vec::new(),
            Ask::Bound { bind, .. } => result_formats(bind).map_err(Fault::from)?,
        };
        if formats.len() > 1 {
            formats.push(0);
        }
        let shards: Vec<ShardId> = has.iter().map(|at| self.shards[*at]).collect();
        for (at, shard) in has.iter().zip(&shards) {
            let arrays = self.arrays(claimed.iter().filter(|row| row.shard == *at))?;
            let bind = with_formats(self.bind(text, *at, &arrays)?, &formats)?;
            let server = server_of(session, *shard)?;
            server.parse(b"", text.text.as_bytes(), &self.declared(text))?;
            server.inflight.push(Owed::Parse(Audience::Router));
            server.bind_own(&bind)?;
            server.inflight.push(Owed::Bind(Audience::Router));
            request::describe(&mut server.out, request::Target::Portal, b"")?;
            server.inflight.push(Owed::DescribePortal(Audience::Client));
            request::execute(&mut server.out, b"", 0)?;
            server.inflight.push(Owed::Execute(Audience::Client));
            server.out.extend_from_slice(request::SYNC);
            server.inflight.push(Owed::Sync(Audience::Router));
        }
        let order = claimed.iter().filter_map(|row| has.iter().position(|at| *at == row.shard));
        let gather = Gather::Interleave(order.map(|at| at as u16).collect());
        let combine = Combine { gather, hidden: 1, ..Combine::CONCAT };
        let run = session.start_answers(&shards, &combine, false, self.ask, None).await?;
        Ok(Answering { run, shards, same: false })
    }

    /// Reads the rows that are claimed into arrays.
    async fn collect(
        &mut self,
        session: &mut Session,
        claimed: &[Row],
    ) -> Result<(Vec<Sent>, Vec<Bytes>), ScatterError> {
        let text = &self.plan.rows;
        let types = self.declared(text);
        let Some(first) = self.shards.first().copied() else { return Err(lost().into()) };
        let mut sent = session.sent_columns(first, &text.text, &types).await?;
        // The places are the last column.
        sent.pop();
        let none = self.bind(text, 0, &self.arrays(std::iter::empty())?)?;
        session.find_collations(first, &text.text, &types, &none, &mut sent).await?;
        let formats: Vec<i16> = sent.iter().map(|sent| sent.format.code()).chain([0]).collect();
        let mut arrays: Vec<ArrayWriter> = sent.iter().map(|sent| ArrayWriter::new(sent.element)).collect();
        for (at, shard) in self.shards.iter().enumerate() {
            if !claimed.iter().any(|row| row.shard == at) {
                continue;
            }
            let keys = self.arrays(claimed.iter().filter(|row| row.shard == at))?;
            let bind = with_formats(self.bind(text, at, &keys)?, &formats)?;
            let held = session.held_at(*shard)?;
            let server = &mut session.held[held].server;
            ask_bound(server, &text.text, &types, &bind)?;
            while !server.inflight.is_empty() {
                let frame = content(server, &mut session.client, Hears::Nothing).await?;
                match frame.tag {
                    b'D' => {
                        self.left = self.left.checked_sub(frame.bytes.len()).ok_or_else(|| too_many(self.limit))?;
                        self.hold.grow(frame.bytes.len())?;
                        for (value, array) in RowView::parse(&frame.bytes)?.columns().zip(&mut arrays) {
                            array.push(value?)?;
                        }
                    }
                    b'E' => return Err(ScatterError::Shard(without_position(&frame))),
                    _ => {}
                }
            }
        }
        let arrays = arrays.iter().map(ArrayWriter::bytes).collect::<Result<_, _>>()?;
        Ok((sent, arrays))
    }

    /// The keys of rows, column by column.
    fn arrays<'r>(&self, rows: impl Iterator<Item = &'r Row>) -> Result<Vec<Bytes>, Fault> {
        let mut arrays: Vec<ArrayWriter> = self.plan.key.iter().map(|(of, _)| ArrayWriter::new(*of)).collect();
        for row in rows {
            for (array, value) in arrays.iter_mut().zip(&row.key) {
                array.push(Some(value))?;
            }
        }
        arrays.iter().map(ArrayWriter::bytes).collect()
    }

    /// The types of the text's parameters.
    fn declared(&self, text: &ClaimText) -> Vec<Oid> {
        let array = |at: u16| self.plan.key.get(usize::from(at)).map_or(0, |(_, array)| *array);
        let types = text.parameters.iter().map(|p| match *p {
            WHICH_SHARD => oid::INT4,
            p if p >= KEYS => array(p - KEYS),
            // A type that users made has another OID on each server: the shard sees by itself what is meant.
            p => self.types.get(usize::from(p)).copied().filter(|of| *of < FIRST_NORMAL_OID).unwrap_or(0),
        });
        types.collect()
    }

    /// What a Bind says of the text's parameters: their formats and values.
    fn bind(&self, text: &ClaimText, shard: usize, arrays: &[Bytes]) -> Result<BytesMut, Fault> {
        let values = match self.ask {
            Ask::Bound { bind, .. } => Some(BindView::read(bind)?.parameters),
            Ask::Query { .. } => None,
        };
        let shard = i32::try_from(shard).unwrap_or(i32::MAX).to_be_bytes();
        let value = |p: &u16| match *p {
            WHICH_SHARD => Ok((Format::Binary, Some(&shard[..]))),
            p if p >= KEYS => {
                let array = arrays.get(usize::from(p - KEYS)).ok_or_else(lost)?;
                Ok((Format::Binary, Some(&array[..])))
            }
            p => values.as_ref().and_then(|values| values.get(usize::from(p))).ok_or_else(lost),
        };
        let all: Vec<(Format, Option<&[u8]>)> = text.parameters.iter().map(value).collect::<Result<_, Fault>>()?;
        let mut out = BytesMut::new();
        encode::count16(&mut out, all.len())?;
        all.iter().for_each(|(format, _)| out.put_i16(format.code()));
        encode::count16(&mut out, all.len())?;
        for (_, value) in all {
            encode::value(&mut out, value)?;
        }
        Ok(out)
    }
}

fn server_of(session: &mut Session, shard: ShardId) -> Result<&mut Backend, Fault> {
    let at = session.held_at(shard)?;
    Ok(&mut session.held[at].server)
}

/// Asks for more candidates.
fn fetch(server: &mut Backend, rows: usize) -> Result<(), Fault> {
    request::execute(&mut server.out, PORTAL, i32::try_from(rows).unwrap_or(i32::MAX))?;
    server.inflight.push(Owed::Execute(Audience::Client));
    server.out.extend_from_slice(request::SYNC);
    server.inflight.push(Owed::Sync(Audience::Client));
    Ok(())
}

/// The values of a server's only column, bigints in binary.
async fn numbers(server: &mut Backend, client: &mut Client) -> Result<Vec<i64>, ScatterError> {
    let mut numbers = Vec::new();
    while !server.inflight.is_empty() {
        let frame = content(server, client, Hears::Nothing).await?;
        match frame.tag {
            b'D' => {
                let value = RowView::parse(&frame.bytes)?.columns().next().transpose()?.flatten();
                let bytes = value.and_then(|bytes| <[u8; 8]>::try_from(bytes).ok()).ok_or_else(lost)?;
                numbers.push(i64::from_be_bytes(bytes));
            }
            b'E' => return Err(ScatterError::Shard(without_position(&frame))),
            _ => {}
        }
    }
    Ok(numbers)
}

/// A Bind's parameters with the formats of its results behind them.
fn with_formats(mut bind: BytesMut, formats: &[i16]) -> Result<BytesMut, Fault> {
    encode::count16(&mut bind, formats.len())?;
    formats.iter().for_each(|format| bind.put_i16(*format));
    Ok(bind)
}

/// The types of the client's parameters, as far as they are known.
fn types_of(ask: &Ask<'_>) -> Result<Vec<Oid>, Fault> {
    let Ask::Bound { statement, .. } = ask else { return Ok(Vec::new()) };
    let Some((parameters, _)) = statement.described() else { return Ok(statement.types.to_vec()) };
    let mut fields = Fields::new(parameters.get(HEADER..).unwrap_or_default());
    Ok((0..fields.count()?).map(|_| fields.u32()).collect::<Result<_, _>>()?)
}

fn lost() -> Fault {
    Fault::new(SqlState::INTERNAL_ERROR, "a row that was to be locked was lost between the shards").blame(Blame::Router)
}

/// A key that is checked at the end of the transaction only.
fn twice() -> Fault {
    Fault::unsupported(
        "FOR UPDATE or FOR SHARE with LIMIT is not supported here",
        "two rows of one shard have the same primary key: it is deferred",
        "Give the sharding key one value in WHERE.",
    )
}

fn too_many(limit: usize) -> Fault {
    Fault::new(SqlState::CONFIGURATION_LIMIT_EXCEEDED, "the statement locks too many rows at once over several shards")
        .detail(format!("merge_max_bytes is {limit}, and the keys of rows that are to be locked are held at once"))
        .hint("Use a smaller LIMIT, or raise merge_max_bytes.")
}

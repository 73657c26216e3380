//! COPY FROM STDIN: to one shard as it comes, or cut into rows that go to the shard of their key.

use std::borrow::Cow;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use crate::backend::inflight::{Audience, Owed};
use crate::config::limits::Limit;
use crate::copy::origins::{Origins, context, line_of, returns_within, without_line};
use crate::copy::shown::{IN_HEADER, header_without_added, of_field, of_row, without_added};
use crate::copy::{CONVERTED, KeyField, Piece, Row, RowCutter};
use crate::exec::columns::tables_have_changed;
use crate::exec::copy::{
    Chunks, CopyEnd, Silence, all_ended, begun, break_off, copy_in, fail, is_of_copy, is_told, spoke,
};
use crate::exec::forward::Broken;
use crate::exec::replies::watched;
use crate::fault::{Fault, SqlState};
use crate::ids::{Oid, ShardId};
use crate::plan::CopyInPlan;
use crate::session::copied_values::CopiedValues;
use crate::session::copy_encoded::Converter;
use crate::session::copy_keys::{ReadKeys, Reader, is_readable};
use crate::session::copy_source::CopySource;
use crate::session::finish::with;
use crate::session::run::Ask;
use crate::session::{Failure, Session, Stop};
use crate::sql::utility::CopyFormat;
use crate::sql::utility::encodings::is_ascii;
use crate::types::canonical::{KeyError, KeyValue};
use crate::types::{Format, KeyType};
use crate::wire::frame::{self, Frame};
use crate::wire::{error_fields, reply, request};

/// Bytes queued for the slowest shard before the client is no longer read.
const SHARD_HIGH: usize = 256 * 1024;
/// From this major version on, a line `\.` in CSV is a row; before, it ends the data.
const CSV_MARKER_IS_DATA: u32 = 18;

/// `CopyGetData` in Postgres's `copyfromparse.c`.
fn out_of_place(tag: u8) -> Fault {
    let message = format!("unexpected message type 0x{tag:02X} during COPY from stdin");
    Fault::new(SqlState::PROTOCOL_VIOLATION, message)
}

/// What Postgres says where it loses step in the middle of rows: it reads no further.
fn lost_step() -> Fault {
    Fault::new(SqlState::CONNECTION_FAILURE, "unexpected EOF on client connection with an open transaction")
}

impl Session {
    /// One held server asked for CopyData: the client's pass through. True: the server will not answer before another Sync or
    /// Flush, which is the client's to send.
    pub(super) async fn copy_in(&mut self, at: usize) -> Result<bool, Failure> {
        let max = self.limits.max_message;
        crate::exec::copy::forget_sync(&mut self.held[at].server);
        let extended = matches!(self.held[at].server.inflight.front(), Some(Owed::Execute(_)));
        self.client.flush().await?;
        let mut silence = self.copy_silence();
        let slot = Arc::clone(&self.slot);
        // A server that waits for rows heeds no cancel.
        let _waiting = slot.wait_copying();
        let held = &mut self.held[at];
        match copy_in(&mut held.server, &mut self.client, max, &mut silence).await {
            Ok(CopyEnd::Sent) => Ok(extended),
            Ok(CopyEnd::ServerSpoke) => Ok(false),
            Ok(CopyEnd::Canceled) => {
                let why = slot.canceled();
                fail(&mut held.server, &why.message);
                held.server.cancel.sentence(why);
                Ok(false)
            }
            Ok(CopyEnd::Silent) => Err(Stop::Fatal(self.overslept(true)).into()),
            Ok(end @ (CopyEnd::Interrupted(_) | CopyEnd::Lost)) => {
                let why = if let CopyEnd::Interrupted(tag) = end { out_of_place(tag) } else { lost_step() };
                match break_off(&mut held.server, &mut self.client).await {
                    Ok(Some(context)) if context.is_empty() => Err(self.lose_step(&why)),
                    Ok(Some(context)) => Err(self.lose_step(&why.about(b'W', context))),
                    // It has failed before: the message is the next one to be answered.
                    Ok(None) => Ok(false),
                    Err(broken) => Err(self.break_held(at, broken)),
                }
            }
            Err(broken) => Err(self.break_held(at, broken)),
        }
    }

    /// A client that says nothing in the middle of a COPY holds its servers as one in a transaction does.
    fn copy_silence(&self) -> Silence {
        Silence::new(self.times.get(Limit::IdleTransaction))
    }

    /// As in Postgres, such a message is an error, and the end of the session (`postgres.c`: it was not read to its end).
    fn lose_step(&mut self, why: &Fault) -> Failure {
        self.tell(why);
        Failure::Stop(Stop::Fatal(Fault::protocol("terminating connection because protocol synchronization was lost")))
    }

    /// COPY FROM STDIN into a sharded table, atomic over the shards.
    pub(super) async fn run_copy_split(&mut self, plan: &Arc<CopyInPlan>, ask: &Ask<'_>) -> Result<(), Failure> {
        let opened = !self.tx.is_open();
        if opened {
            self.tx.begin_implicit(&self.settings);
        }
        match self.copy_split(plan, ask).await {
            Ok(tag) => {
                let ended = self.end_parts(opened).await;
                self.copied = None;
                ended?;
                reply::command_complete(&mut self.client.out, &tag)?;
                Ok(())
            }
            Err(failure) => {
                self.tx.fail();
                if opened && !matches!(failure, Failure::Stop(_)) {
                    self.roll_back_quietly().await;
                }
                Err(failure)
            }
        }
    }

    async fn copy_split(&mut self, plan: &Arc<CopyInPlan>, ask: &Ask<'_>) -> Result<String, Failure> {
        let topology = &self.view.topology;
        let shards: Vec<ShardId> = match plan.distribution {
            Some(distribution) => topology.distribution(distribution).shards().iter().collect(),
            None => topology.all_shards().iter().collect(),
        };
        self.check_fanout(shards.len())?;
        let mut source = self.copy_source(plan).await?;
        let text = match (&plan.fill, ask) {
            (Some(fill), _) => fill.text.to_string(),
            (None, Ask::Query { text }) => (*text).to_owned(),
            (None, Ask::Bound { statement, .. }) => statement.text.to_string(),
        };
        match plan.distribution {
            None => self.take_turn(&shards, None).await?,
            Some(_) => self.enlist_all(&with(&shards, self.shard_of_moment(plan))).await?,
        }
        self.add_moment(plan, &mut source).await?;
        Self::add_uuids(plan, &mut source);
        for shard in &shards {
            let at = self.held_at(*shard)?;
            let held = &mut self.held[at];
            held.note_rows(plan.distribution.is_none());
            request::query(&mut held.server.out, text.as_bytes())?;
            held.server.inflight.push(Owed::Query { audience: Audience::Client, ready: Audience::Router });
        }
        let response = match watched(&mut self.client, begun(&mut self.held.servers(&shards))).await?? {
            Ok(response) => response,
            Err(error) => {
                self.client.out.extend_from_slice(&error.bytes);
                return Err(Failure::Reported);
            }
        };
        let mut feed = Feed::new(self, plan, &shards);
        if is_of_others(plan, &response) {
            self.note_stale();
            let changed = tables_have_changed();
            self.end_copy(plan, &shards, Some(&changed.clone().into()), &feed).await?;
            return Err(changed.into());
        }
        match &plan.fill {
            None => self.client.out.extend_from_slice(&response.bytes),
            // The client was not asked for the columns that are added.
            Some(_) => {
                reply::copy_in_response(&mut self.client.out, plan.format == CopyFormat::Binary, plan.fields)?;
            }
        }
        self.client.flush().await?;
        let (fed, interrupted) = match self.feed_shards(plan, &shards, &mut source, &mut feed).await {
            Ok(None) => (Ok(()), None),
            Ok(Some(why)) => (Err(Failure::Fault(why.clone())), Some(why)),
            Err(failure) => (Err(failure), None),
        };
        if !matches!(fed, Err(Failure::Stop(_))) {
            if fed.is_err() {
                feed.end_lines(plan);
            }
            // A shard that has failed reads no more; what others have before that line may be wrong, too, and comes first.
            feed.chunks.flush_all();
            self.hand_over(&shards, &mut feed)?;
        }
        let ended = self.end_copy(plan, &shards, fed.as_ref().err(), &feed).await;
        self.keep_rest(source, fed.is_ok() && ended.is_ok());
        match (fed, ended) {
            (Err(failure @ Failure::Stop(_)), _) => Err(failure),
            // A shard's own error says more than that we stopped feeding it.
            (_, Err(failure)) => Err(failure),
            (Err(_), Ok(stopped)) if let Some(why) = &interrupted => Err(self.lose_step(&stopped.at(why.clone()))),
            (Err(Failure::Fault(fault)), Ok(stopped)) if fault.code == SqlState::QUERY_CANCELED => {
                Err(stopped.at(fault).into())
            }
            (Err(failure), Ok(_)) => Err(failure),
            (Ok(()), Ok(Ended { rows, .. })) => {
                self.copied = feed.copied.take();
                Ok(format!("COPY {rows}"))
            }
        }
    }

    /// Reads the client's rows to their end and hands each to its shard. Returns the error for a message that is none of a COPY, where one
    /// comes before the end; it is not taken.
    async fn feed_shards(
        &mut self,
        plan: &Arc<CopyInPlan>,
        shards: &[ShardId],
        source: &mut CopySource,
        feed: &mut Feed,
    ) -> Result<Option<Fault>, Failure> {
        // Rows that go everywhere are cut only where something is added to each.
        let times = if shards.len() > 1 { &plan.times[..] } else { &[] };
        let cut = plan.distribution.is_some() || plan.fill.is_some() || !times.is_empty();
        feed.uncut = !cut;
        let mut wanted = plan.key_fields.clone();
        if let Some((fields, copied)) = CopiedValues::of(&self.database.uniques, plan, self.shared.memory.hold()) {
            wanted.extend(fields);
            feed.copied = Some(copied);
        }
        feed.read_fields = wanted.len();
        // Behind a row that ends too early something would stand in the place of what is missing.
        wanted.extend(plan.fill.as_ref().and_then(|_| Some((plan.fields.checked_sub(1)?, Box::default()))));
        let mut cutter = RowCutter::new(&plan.format, &wanted, self.limits.max_message);
        cutter.of_table(&plan.table.name);
        cutter.refuse_moments(times);
        cutter.csv_end_marker(!self.all_since(shards, CSV_MARKER_IS_DATA));
        if let Some(encoding) = &plan.encoding {
            cutter.in_encoding(encoding.characters);
        }
        feed.converter = Converter::new(plan, &cutter);
        // Rows that are not cut are not counted: the shards do.
        let at_line = |fault: Fault, cutter: &RowCutter| match cut {
            true => cutter.at_unread_line(fault, &plan.table.name),
            false => fault,
        };
        loop {
            let frame = match self.next_copy_frame(shards, feed).await {
                Ok(CopyInput::Frame(frame)) => frame,
                Ok(CopyInput::ServerSpoke) => {
                    feed.end_lines(plan);
                    return Ok(None);
                }
                Ok(CopyInput::OutOfPlace(why)) => return Ok(Some(at_line(why, &cutter))),
                Err(Failure::Fault(fault)) if fault.code == SqlState::QUERY_CANCELED => {
                    return Err(at_line(fault, &cutter).into());
                }
                Err(failure) => return Err(failure),
            };
            match frame.tag {
                b'd' if !cut => feed.everywhere(frame.body()),
                b'd' => {
                    cutter.feed(frame.body());
                    self.route_rows(&mut cutter, plan, shards, source, feed).await?;
                }
                b'c' => {
                    if cut {
                        cutter.finish();
                        self.route_rows(&mut cutter, plan, shards, source, feed).await?;
                    }
                    feed.chunks.flush_all();
                    self.hand_over(shards, feed)?;
                    return Ok(None);
                }
                b'f' => {
                    let reason = crate::wire::frame::Fields::new(frame.body()).cstr().unwrap_or(b"");
                    let reason = String::from_utf8_lossy(reason);
                    if !cut {
                        // The shards have counted them.
                        feed.given_up = Some(reason.into());
                        return Ok(None);
                    }
                    let message = format!("COPY from stdin failed: {reason}");
                    return Err(at_line(Fault::new(SqlState::QUERY_CANCELED, message), &cutter).into());
                }
                _ => {}
            }
            self.hand_over(shards, feed)?;
        }
    }

    /// Routes what the cutter has, with all that must be asked for meanwhile.
    async fn route_rows(
        &mut self,
        cutter: &mut RowCutter,
        plan: &CopyInPlan,
        shards: &[ShardId],
        source: &mut CopySource,
        feed: &mut Feed,
    ) -> Result<(), Failure> {
        loop {
            match feed.rows(cutter, plan, source)? {
                Rows::Done => return Ok(()),
                Rows::NeedValues => {
                    let most = self.limits.sequence_block;
                    self.while_copying(source.refill(most)).await??;
                }
                Rows::NeedKey(nth, text) => {
                    let read = self.read_key(plan, nth, &text, &mut feed.reader).await?;
                    feed.read.insert(nth, text, read);
                }
                Rows::NeedCharacters(characters) => {
                    if let Some(converter) = &mut feed.converter {
                        self.ask_characters(characters, converter, &mut feed.reader).await?;
                    }
                }
            }
            self.hand_over(shards, feed)?;
        }
    }

    /// Whether all these shards' servers are of this major version or a later one.
    fn all_since(&self, shards: &[ShardId], major: u32) -> bool {
        let version = |server: &crate::backend::Backend| -> Option<u32> {
            let (_, version) = server.parameters.iter().find(|(name, _)| &**name == "server_version")?;
            version.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
        };
        let held = self.held.iter().filter(|held| shards.contains(&held.shard));
        held.map(|held| version(&held.server)).all(|version| version.is_some_and(|version| version >= major))
    }

    /// Whether these shards' servers take the client's bytes for characters, whatever they are.
    fn is_unverified(&self, shards: &[ShardId]) -> bool {
        let held = self.held.iter().filter(|held| shards.contains(&held.shard));
        let mut told = held.flat_map(|held| &held.server.parameters);
        told.any(|(name, value)| &**name == "client_encoding" && is_ascii(value))
    }

    /// Moves what the feed has gathered into the servers' queues.
    fn hand_over(&mut self, shards: &[ShardId], feed: &mut Feed) -> Result<(), Failure> {
        for (i, shard) in shards.iter().enumerate() {
            let at = self.held_at(*shard)?;
            feed.chunks.hand_over(i, &mut self.held[at].server);
        }
        Ok(())
    }

    /// The client's next message; meanwhile the shards are written to, as fast as the slowest one drinks.
    async fn next_copy_frame(&mut self, shards: &[ShardId], feed: &mut Feed) -> Result<CopyInput, Failure> {
        let control = Arc::clone(&self.client.control);
        let (slot, mut silence) = (Arc::clone(&self.slot), self.copy_silence());
        // Servers that wait for rows heed no cancel.
        let _waiting = slot.wait_copying();
        loop {
            let queued = self.held.iter().filter(|h| shards.contains(&h.shard)).map(|h| h.server.out.len()).max();
            let may_read = queued.unwrap_or(0) < SHARD_HIGH;
            match self.client.read.first() {
                Some(tag) if may_read && !is_of_copy(*tag) => return Ok(CopyInput::OutOfPlace(out_of_place(*tag))),
                Some(_) if may_read && frame::has_lost_step(&self.client.read) => {
                    return Ok(CopyInput::OutOfPlace(lost_step()));
                }
                Some(_) | None => {}
            }
            if may_read && let Some(frame) = self.client.cut()? {
                return Ok(CopyInput::Frame(frame));
            }
            let (client, held) = (&mut self.client, &mut self.held);
            let met = poll_fn(|cx| {
                if control.poll_kill(cx).is_ready() {
                    return Poll::Ready(Err(Failure::Stop(Stop::Gone)));
                }
                if control.poll_cancel(cx).is_ready() {
                    return Poll::Ready(Err(slot.canceled().into()));
                }
                let mut drained = false;
                for one in held.iter_mut().filter(|h| shards.contains(&h.shard)) {
                    let before = one.server.out.len();
                    match one.server.poll_progress(cx) {
                        Poll::Ready(Ok(())) => return Poll::Ready(Ok(Met::Shard)),
                        Poll::Ready(Err(fault)) => return Poll::Ready(Err(fault.into())),
                        Poll::Pending => {}
                    }
                    drained |= before >= SHARD_HIGH && one.server.out.len() < SHARD_HIGH;
                }
                if drained {
                    return Poll::Ready(Ok(Met::Room));
                }
                if !may_read {
                    return Poll::Pending;
                }
                match client.poll_read(cx) {
                    Poll::Ready(read) => Poll::Ready(read.map(|()| Met::Client).map_err(Failure::from)),
                    Poll::Pending => silence.poll(cx).map(|()| Ok(Met::Silence)),
                }
            });
            match met.await? {
                Met::Room => {}
                Met::Client => silence.broken(),
                Met::Silence => return Err(Stop::Fatal(self.overslept(true)).into()),
                Met::Shard if self.shard_spoke(shards) => {
                    feed.chunks.flush_all();
                    return Ok(CopyInput::ServerSpoke);
                }
                Met::Shard => {}
            }
        }
    }

    /// Whether a shard has said anything but a notice while it copies: it has failed.
    fn shard_spoke(&mut self, shards: &[ShardId]) -> bool {
        self.held.servers(shards).into_iter().any(spoke)
    }

    /// CopyDone (or CopyFail) to every shard, and their answers: rows copied in all, or on each where all got the same.
    async fn end_copy(
        &mut self,
        plan: &CopyInPlan,
        shards: &[ShardId],
        failed: Option<&Failure>,
        feed: &Feed,
    ) -> Result<Ended, Failure> {
        let same = plan.distribution.is_none();
        let origins = &feed.origins[..];
        let reason = match failed {
            Some(Failure::Stop(_)) => return Ok(Ended::default()),
            Some(Failure::Fault(fault)) => Some(&*fault.message),
            Some(Failure::Reported) => Some("the COPY failed on another shard"),
            None => feed.given_up.as_deref(),
        };
        let mut servers = self.held.servers(shards);
        servers.iter_mut().for_each(|server| server.heed());
        let ended = watched(&mut self.client, all_ended(&mut servers, reason, same)).await;
        for (nth, server) in servers.into_iter().enumerate() {
            // Of rows that all get, one Postgres would speak once.
            for notice in server.take_said().iter().filter(|_| nth == 0 || !same) {
                match origins.get(nth) {
                    Some(origins) => self.client.notice(&with_client_line(notice, plan, origins)),
                    None => self.client.notice(notice),
                }
            }
        }
        let mut errors = match ended?? {
            Ok(rows) => return Ok(Ended { rows, place: None }),
            Err(errors) => errors,
        };
        // Where they stood when they were told to stop, each at the same line.
        let told = errors.iter().find(|(_, frame)| feed.uncut && is_told(frame));
        let place = told.and_then(|(_, frame)| error_fields::iter(frame.body()).find(|(field, _)| *field == b'W'));
        let place = place.map(|(_, shown)| String::from_utf8_lossy(shown).into_owned());
        if failed.is_some() {
            // What a shard finds wrong is in a row before the one that was found wrong here.
            errors.retain(|(_, frame)| !is_told(frame));
        }
        let line = |nth: usize, frame: &Frame| {
            let of = &plan.table.name;
            origins.get(nth).and_then(|origins| client_line(frame, of, origins)).unwrap_or(u64::MAX)
        };
        // As in one Postgres, which reads line by line: the first of the client's lines that is wrong.
        let first = errors.into_iter().min_by_key(|(nth, frame)| (is_told(frame), line(*nth, frame), *nth));
        let Some((nth, frame)) = first else { return Ok(Ended { rows: 0, place }) };
        let frame = match origins.get(nth) {
            Some(origins) => with_client_line(&frame, plan, origins),
            None => frame,
        };
        self.client.out.extend_from_slice(&frame.bytes);
        Err(Failure::Reported)
    }
}

/// How the shards have ended a COPY without an error of their own.
#[derive(Default)]
struct Ended {
    /// Copied in all, or on each where all got the same.
    rows: u64,
    /// The CONTEXT in which they were stopped, where their lines are the client's.
    place: Option<String>,
}

impl Ended {
    /// Why they were stopped, with the place where that was.
    fn at(self, fault: Fault) -> Fault {
        match self.place {
            Some(place) => fault.about(b'W', place),
            None => fault,
        }
    }
}

/// How far the rows at hand were routed.
#[derive(PartialEq)]
enum Rows {
    Done,
    NeedValues,
    /// A Postgres is to say which value this text is of the key column of this number.
    NeedKey(usize, Box<[u8]>),
    /// A Postgres is to say what these characters are in UTF-8.
    NeedCharacters(Vec<Box<[u8]>>),
}

enum CopyInput {
    Frame(Frame),
    ServerSpoke,
    /// The next message is none of a COPY, and this is told.
    OutOfPlace(Fault),
}

/// What ends the wait for the client's next message.
enum Met {
    Shard,
    /// A shard has taken what was queued for it.
    Room,
    Client,
    Silence,
}

/// A row that was cut already.
struct Waiting {
    bytes: Vec<u8>,
    keys: smallvec::SmallVec<[KeyField<'static>; 2]>,
    line: u64,
    /// The row as it goes to its shard, where that is made already.
    whole: Option<Vec<u8>>,
}

impl Waiting {
    fn new(row: &Row<'_>) -> Self {
        let keys = row.keys.iter().map(|key| match key {
            KeyField::Null => KeyField::Null,
            KeyField::Missing => KeyField::Missing,
            KeyField::Value(bytes) => KeyField::Value(bytes.clone().into_owned().into()),
            KeyField::Encoded(bytes) => KeyField::Encoded(bytes.clone().into_owned().into()),
        });
        Self { bytes: row.bytes.to_vec(), keys: keys.collect(), line: row.line, whole: None }
    }

    fn row(&self) -> Row<'_> {
        let keys = self.keys.iter().map(|key| match key {
            KeyField::Null => KeyField::Null,
            KeyField::Missing => KeyField::Missing,
            KeyField::Value(bytes) => KeyField::Value(Cow::Borrowed(bytes)),
            KeyField::Encoded(bytes) => KeyField::Encoded(Cow::Borrowed(bytes)),
        });
        Row { bytes: &self.bytes, keys: keys.collect(), line: self.line }
    }
}

/// Rows gathered per shard.
struct Feed {
    types: Vec<KeyType>,
    topology: Arc<crate::topology::Topology>,
    /// Position in `ready` by shard.
    slots: Vec<Option<usize>>,
    /// A row for which there were no values, or whose key is to be read.
    waiting: Option<Waiting>,
    /// What texts mean that depend on settings, as a Postgres has read them.
    read: ReadKeys,
    reader: Option<Reader>,
    /// Of rows in another encoding than UTF-8.
    converter: Option<Converter>,
    /// How many fields are read of each row; those of the key come first.
    read_fields: usize,
    /// Values that must be unique over all shards.
    copied: Option<CopiedValues>,
    /// Shards take bytes that make no characters.
    unverified: bool,
    chunks: Chunks,
    /// By position, where shards get different rows.
    origins: Vec<Origins>,
    /// Why the client has given up, where that is for the shards to tell.
    given_up: Option<Box<str>>,
    /// The client's line that was cut last.
    line: u64,
    /// What comes before the rows was cut, and its lines are not counted yet.
    has_preamble: bool,
    /// The client's bytes pass as they are.
    uncut: bool,
    /// By position: the row that it got last ends in a carriage return.
    returns: Vec<bool>,
}

impl Feed {
    fn new(session: &Session, plan: &CopyInPlan, shards: &[ShardId]) -> Self {
        let topology = Arc::clone(&session.view.topology);
        let mut slots = vec![None; topology.shards.len()];
        for (i, shard) in shards.iter().enumerate() {
            slots[shard.index()] = Some(i);
        }
        let types = plan.distribution.map_or_else(Vec::new, |of| topology.distribution(of).key_types.clone());
        let apart = if plan.distribution.is_some() { shards.len() } else { 0 };
        let origins = (0..apart).map(|_| Origins::new(apart)).collect();
        Self {
            types,
            topology,
            slots,
            waiting: None,
            read: ReadKeys::default(),
            reader: None,
            converter: None,
            read_fields: 0,
            copied: None,
            unverified: plan.format != CopyFormat::Binary
                && plan.unverified.unwrap_or_else(|| session.is_unverified(shards)),
            chunks: Chunks::new(shards.len()),
            origins,
            given_up: None,
            line: 0,
            has_preamble: false,
            uncut: false,
            returns: vec![false; shards.len()],
        }
    }

    /// The COPY is broken off. A server that does not know yet how lines end waits behind a carriage return for what follows, and has not
    /// read that line; one that converts what it gets waits for more behind what it cannot. They get the beginning of another line.
    fn end_lines(&mut self, plan: &CopyInPlan) {
        if plan.format == CopyFormat::Binary {
            return;
        }
        let converts = plan.encoding.is_some() && !self.uncut;
        for slot in (0..self.returns.len()).filter(|slot| converts || self.returns[*slot]) {
            self.chunks.put(slot, if converts { &[b'x'; CONVERTED] } else { b"x" });
        }
    }

    /// Whole rows for this shard.
    fn give(&mut self, slot: usize, rows: &[u8]) {
        self.chunks.put(slot, rows);
        self.returns[slot] = !self.uncut && rows.ends_with(b"\r");
    }

    /// Bytes of a reference table's rows, or what comes before rows: every shard gets them all.
    fn everywhere(&mut self, bytes: &[u8]) {
        (0..self.chunks.len()).for_each(|slot| self.give(slot, bytes));
    }

    /// Routes every row that the cutter has complete, as long as there are values for what the rows leave out.
    fn rows(&mut self, cutter: &mut RowCutter, plan: &CopyInPlan, source: &mut CopySource) -> Result<Rows, Failure> {
        let mut whole = Vec::new();
        loop {
            if self.copied.as_ref().is_some_and(CopiedValues::is_over) {
                self.copied = None;
                cutter.read_no_more(plan.key_fields.len()..self.read_fields);
                self.read_fields = plan.key_fields.len();
            }
            if std::mem::take(&mut self.has_preamble) {
                let lines = cutter.line().saturating_sub(self.line);
                self.line = cutter.line();
                self.origins.iter_mut().for_each(|origins| origins.preamble(lines));
            }
            let mut held = self.waiting.take();
            let made = held.as_mut().and_then(|held| held.whole.take());
            let mut row = match &held {
                Some(held) => held.row(),
                None => match cutter.next_piece() {
                    None => return Ok(Rows::Done),
                    Some(piece) => match piece? {
                        Piece::Row(row) => row,
                        Piece::Preamble(bytes) => {
                            whole.clear();
                            source.header(&plan.format, bytes, &mut whole);
                            self.everywhere(&whole);
                            self.has_preamble = true;
                            continue;
                        }
                    },
                },
            };
            if let Some(converter) = &mut self.converter {
                if held.is_none() {
                    converter.begin_row();
                }
                let keys = row.keys.get_mut(..self.read_fields).unwrap_or_default();
                if let Err(unknown) = converter.convert(keys) {
                    self.waiting = Some(Waiting { whole: made, ..Waiting::new(&row) });
                    return Ok(Rows::NeedCharacters(unknown));
                }
            }
            if let Some(made) = made {
                whole = made;
            } else if source.adds() {
                if !source.has_row() {
                    self.waiting = Some(Waiting::new(&row));
                    return Ok(Rows::NeedValues);
                }
                whole.clear();
                match row.keys.last() {
                    Some(KeyField::Missing) if plan.fill.is_some() => whole.extend_from_slice(row.bytes),
                    Some(_) | None => source.row(&plan.format, row.bytes, &mut whole)?,
                }
            }
            let Some(distribution) = plan.distribution else {
                self.everywhere(if source.adds() { &whole } else { row.bytes });
                continue;
            };
            let mut key: smallvec::SmallVec<[KeyValue<'_>; 2]> = smallvec::SmallVec::new();
            // Any shard has the right words for it, or leaves it out by WHERE.
            let mut missing = false;
            let mut null = None;
            for (nth, (field, (key_type, (at, column)))) in
                row.keys.iter().zip(self.types.iter().zip(&plan.key_fields)).enumerate()
            {
                let given = match at.checked_sub(plan.fields) {
                    _ if *at == CopyInPlan::ABSENT => Ok(None),
                    // Behind the fields of the row: a value that was added.
                    Some(added) => source.key(added, *key_type).map(Some).map_err(|()| KeyProblem::Unsure),
                    None => {
                        let of = plan.types.get(nth).copied().flatten();
                        match (key_value(field, *key_type, of, plan), field) {
                            // No shard refuses it, and no hash puts it anywhere.
                            (Ok(None), KeyField::Value(value))
                                if self.unverified && std::str::from_utf8(value).is_err() =>
                            {
                                Err(KeyProblem::Encoding)
                            }
                            (given, _) => given,
                        }
                    }
                };
                let given = match (given, field) {
                    (Err(KeyProblem::Unsure), KeyField::Value(text)) if is_readable(plan, *at, text) => {
                        match self.read.get(nth, text) {
                            Some(read) => read.value(*key_type),
                            None => {
                                let asked = Rows::NeedKey(nth, text.as_ref().into());
                                let waiting = Waiting { whole: Some(whole), ..Waiting::new(&row) };
                                self.waiting = Some(waiting);
                                return Ok(asked);
                            }
                        }
                    }
                    (given, _) => given,
                };
                match given {
                    Ok(Some(value)) => {
                        let typmod = plan.typmods.get(nth).copied().unwrap_or(-1);
                        match key_type.stored(value, typmod) {
                            // Clause 6: the shard is computed from the value that will be stored.
                            Ok(value) => key.push(value),
                            // Any shard refuses it.
                            Err(KeyError::Invalid | KeyError::NoMatch) => missing = true,
                            Err(KeyError::Unsure) => return Err(changed_by_column(plan, column, &row, field).into()),
                        }
                    }
                    // Too few fields.
                    Ok(None) => missing = true,
                    Err(KeyProblem::Null) if plan.not_null.get(nth).copied().unwrap_or_default() => missing = true,
                    Err(problem @ KeyProblem::Null) => null = null.or(Some((problem, column, field))),
                    Err(problem) => return Err(problem.fault(plan, column, row.line, field).into()),
                }
            }
            if let Some((problem, column, field)) = null.filter(|_| !missing) {
                return Err(problem.fault(plan, column, row.line, field).into());
            }
            let slot =
                if missing {
                    0
                } else {
                    let located = self.topology.distribution(distribution).locate(&key);
                    let shard = located.map_err(|_| unmapped(plan, &key, &row))?;
                    self.slots.get(shard.index()).copied().flatten().ok_or_else(|| {
                        Fault::new(SqlState::INTERNAL_ERROR, "a row's shard takes no part in the COPY")
                    })?
                };
            drop(key);
            self.give(slot, if source.adds() { &whole } else { row.bytes });
            if let Some(copied) = &mut self.copied {
                copied.note(row.keys.get(plan.key_fields.len()..self.read_fields).unwrap_or_default(), row.line);
            }
            if let Some(origins) = self.origins.get_mut(slot) {
                let returns = || match plan.format {
                    CopyFormat::Csv { quote, escape, .. } => returns_within(row.bytes, quote, escape),
                    CopyFormat::Text { .. } | CopyFormat::Binary => 0,
                };
                origins.row(row.line.saturating_sub(self.line), row.line, returns);
            }
            self.line = row.line;
        }
    }
}

/// Whether the table has another number of columns than the router knows of, so that the key may be another of them: it has changed while the
/// COPY waited for it, or through another router.
fn is_of_others(plan: &CopyInPlan, response: &Frame) -> bool {
    let columns =
        response.body().get(1..3).and_then(|count| count.first_chunk().map(|count| u16::from_be_bytes(*count)));
    let added = plan.fill.as_ref().map_or(0, |fill| fill.names().count());
    // A key that is first stays first.
    let can_move = plan.key_fields.iter().any(|(at, _)| *at >= plan.key_fields.len());
    can_move && columns.is_some_and(|columns| usize::from(columns) != plan.fields + added)
}

/// A shard's error with the line that the client sent; with none where that is not known.
fn with_client_line(error: &Frame, plan: &CopyInPlan, origins: &Origins) -> Frame {
    let added = plan.fill.as_ref().map_or(0, |fill| fill.names().count());
    let message = error_fields::iter(error.body()).find(|(field, _)| *field == b'M');
    let message = message.and_then(|(_, text)| std::str::from_utf8(text).ok());
    let of_header = message.filter(|_| added > 0).and_then(|message| header_without_added(message, added));
    let fields = if of_header.is_some() { IN_HEADER } else { plan.fields };
    let told = error_fields::with_context(error, |shown| {
        let shown = String::from_utf8_lossy(shown);
        let without = || without_line(&shown, &plan.table.name).to_owned();
        let shown = context(&shown, &plan.table.name, origins, is_told(error)).unwrap_or_else(without);
        match added {
            0 => shown.into_bytes(),
            added => without_added(&shown, &plan.format, fields, added).into_bytes(),
        }
    });
    match of_header {
        Some(message) => error_fields::with_field(&told, b'M', |_| message.clone().into_bytes()),
        None => told,
    }
}

/// The client's line that a shard's error is about.
fn client_line(error: &Frame, table: &str, origins: &Origins) -> Option<u64> {
    let (_, shown) = error_fields::iter(error.body()).find(|(field, _)| *field == b'W')?;
    line_of(&String::from_utf8_lossy(shown), table, origins, is_told(error))
}

/// Why a row has no shard.
pub(super) enum KeyProblem {
    Null,
    /// Bytes that make no text in UTF-8.
    Encoding,
    Unsure,
}

impl KeyProblem {
    fn fault(&self, plan: &CopyInPlan, column: &str, line: u64, field: &KeyField<'_>) -> Fault {
        let fault = match self {
            // The column takes NULLs: where it does not, a shard says so.
            Self::Null => Fault::unsupported(
                format!("a row of sharded table \"{}\" needs a value for its sharding key", plan.table.name),
                format!("its column \"{column}\" is NULL"),
                "Leave such rows out, or give them a value.",
            ),
            Self::Encoding => Fault::unsupported(
                format!("cannot tell the shard of a value of column \"{column}\""),
                "its bytes are no text in UTF-8, and SQL_ASCII lets them in",
                "Send the rows in UTF-8, or name their encoding with ENCODING.",
            ),
            Self::Unsure => Fault::unsupported(
                format!("cannot tell the shard of a value of column \"{column}\""),
                "the spelling depends on settings of the server",
                "Write the value in its canonical form (ISO dates, explicit UTC offsets).",
            ),
        };
        fault.about(b'W', field_place(plan, line, column, field))
    }
}

fn key_value<'a>(
    field: &'a KeyField<'_>,
    key_type: KeyType,
    of: Option<Oid>,
    plan: &CopyInPlan,
) -> Result<Option<KeyValue<'a>>, KeyProblem> {
    let parsed = match (field, &plan.format) {
        (KeyField::Encoded(_) | KeyField::Missing, _) => return Ok(None),
        (KeyField::Null, _) => return Err(KeyProblem::Null),
        (KeyField::Value(bytes), CopyFormat::Binary) => {
            let known = of.filter(|of| KeyType::from_oid(*of).is_some());
            key_type.parse_typed(known.unwrap_or(0), Format::Binary, bytes)
        }
        (KeyField::Value(bytes), _) if let Some(value) = key_type.plain_integer(bytes) => Ok(KeyValue::Int(value)),
        (KeyField::Value(bytes), _) => match std::str::from_utf8(bytes) {
            Ok(text) => key_type.parse_text(text),
            Err(_) => Err(KeyError::Invalid),
        },
    };
    match parsed {
        Ok(KeyValue::Null) => Err(KeyProblem::Null),
        Ok(value) => Ok(Some(value)),
        // What is no value of the key's type can be one of a column of another type, which no shard refuses.
        Err(KeyError::Invalid | KeyError::NoMatch) if of.is_some_and(|of| of != key_type.oid()) => {
            Err(KeyProblem::Unsure)
        }
        // Any shard refuses it, in Postgres's words.
        Err(KeyError::Invalid | KeyError::NoMatch) => Ok(None),
        Err(KeyError::Unsure) => Err(KeyProblem::Unsure),
    }
}

/// The CONTEXT of an error about a field.
fn field_place(plan: &CopyInPlan, line: u64, column: &str, field: &KeyField<'_>) -> String {
    let field = if plan.format == CopyFormat::Binary { &KeyField::Missing } else { field };
    of_field(&plan.table.name, line, column, field)
}

/// Clause 6: the shard is computed from the value that will be stored.
fn changed_by_column(plan: &CopyInPlan, column: &str, row: &Row<'_>, field: &KeyField<'_>) -> Fault {
    Fault::unsupported(
        format!("the sharding key of a row for table \"{}\" does not fit its column", plan.table.name),
        format!("the value of \"{column}\" is more precise than can be told here"),
        "Give the value as the column stores it.",
    )
    .about(b'W', field_place(plan, row.line, column, field))
}

fn unmapped(plan: &CopyInPlan, key: &[KeyValue<'_>], row: &Row<'_>) -> Fault {
    let shown: Vec<String> = key.iter().map(KeyValue::to_string).collect();
    Fault::unsupported(
        format!("no shard serves the key of a row of \"{}\"", plan.table.name),
        format!("the key is ({})", shown.join(", ")),
        "Add a range, a list value or a default shard to the distribution.",
    )
    .about(b'W', of_row(&plan.table.name, row, &plan.format))
}

impl From<Broken> for Failure {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Client => Self::Stop(Stop::Gone),
            Broken::Server(fault) => fault.into(),
        }
    }
}

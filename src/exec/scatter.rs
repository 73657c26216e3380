//! Several servers, one answer: heads from all, rows through the merge, tails into one.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use crate::backend::Backend;
use crate::catalog::numbers::Made;
use crate::exec::client::{Client, OUT_HIGH};
use crate::exec::columns::{
    are_user_types, binary_user_type, column_info, drift, has_numbers_inside, is_text, same_shape, tables_have_changed,
    visible,
};
use crate::exec::forward::Broken;
use crate::exec::replies::{
    Hears, ScatterError, any_content, begun, content, first_told, flush, is_of_foreign_key, pass_notice, pass_rows,
    send_all, try_content,
};
use crate::fault::{Fault, SqlState};
use crate::memory::Hold;
use crate::merge::{Advance, Clock, ColumnInfo, Count, Merge, MergeLimits};
use crate::plan::Window;
use crate::plan::combine::Combine;
use crate::types::compare::TextStyle;
use crate::wire::frame::{Frame, command_tag};
use crate::wire::reply::{self, Column};
use crate::wire::row::read_row_description;

/// A merge in progress over servers that the caller holds; input i is the i-th of the servers given to each call.
pub struct ScatterRun {
    merge: Option<Merge>,
    /// What the client sees of each row; `None`: no rows come.
    pub columns: Option<Vec<Column>>,
    inputs: Vec<Input>,
    /// Rows that were merged ahead, when the servers were needed for something else.
    parked: VecDeque<Bytes>,
    parked_bytes: usize,
    parked_hold: Hold,
    limits: MergeLimits,
    rows: u64,
    /// Rows are asked for in pieces: each tells how many it has.
    in_pieces: bool,
    /// Rows are counted, and nobody gets them.
    silent: bool,
    /// What the client gets when a FETCH is over, or when this is full: behind an error it gets nothing of it.
    held: Option<BytesMut>,
    answer: Answer,
    /// COPY TO STDOUT: CopyData instead of rows.
    copy: bool,
    /// The input that gave a row last, where any will do.
    turn: usize,
    /// What the client's statement does, where the servers' does it in another way.
    verb: Option<&'static str>,
    finished: bool,
}

/// Whose rows the client gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// All inputs', merged.
    Merged,
    /// The first input's: all do the same.
    First,
    /// The first input's, of definitions.
    Defined,
}

/// How a merge asks and answers.
#[derive(Clone, Debug)]
pub struct Manner {
    pub answer: Answer,
    pub limits: MergeLimits,
    pub style: TextStyle,
    /// One server after the other, in the order of their shards. Where one fails, the later ones have not even begun the transaction, which
    /// must end then.
    pub in_turn: bool,
    /// They change rows: the client is told of none before all have changed theirs, as one Postgres tells of none before that.
    pub settled: bool,
    pub made: Made,
}

#[derive(Debug, Default)]
struct Input {
    /// No more rows come.
    closed: bool,
    /// CommandComplete's tag and count.
    tag: Option<(Box<str>, Option<u64>)>,
}

/// How a call to [`ScatterRun::run`] ended.
#[derive(Debug, PartialEq, Eq)]
pub enum RunEnd {
    /// The command tag that the client gets.
    Complete(String),
    /// The row limit was reached; there may be more.
    Suspended,
}

impl ScatterRun {
    /// Reads the heads of all replies and checks that they agree.
    pub async fn start(
        servers: &mut [&mut Backend],
        client: &mut Client,
        combine: &Combine,
        window: Option<Window>,
        manner: Manner,
    ) -> Result<Self, ScatterError> {
        let Manner { answer, limits, style, in_turn, settled, made } = manner;
        let mut run = Self {
            merge: None,
            columns: None,
            inputs: servers.iter().map(|_| Input::default()).collect(),
            parked: VecDeque::new(),
            parked_bytes: 0,
            parked_hold: limits.memory.hold(),
            limits,
            rows: 0,
            in_pieces: false,
            silent: false,
            held: None,
            answer,
            copy: false,
            turn: 0,
            verb: None,
            finished: false,
        };
        let mut columns: Option<Vec<Column>> = None;
        let heads = match run.all_heads(servers, client, in_turn, settled).await {
            Ok(heads) => heads,
            Err(error) if settled && run.differ() => {
                return Err(first_told(error, servers, client, |at| run.hears(at)).await);
            }
            Err(error) => return Err(error),
        };
        for (at, head) in heads.into_iter().enumerate() {
            match head {
                Head::Rows(theirs) if has_numbers_inside(servers[at], &theirs, made) => {
                    return Err(run.fail(binary_user_type()));
                }
                Head::Rows(theirs) => match &columns {
                    Some(ours) if !same_shape(ours, &theirs) => {
                        let user_type = ours.len() == theirs.len()
                            && ours
                                .iter()
                                .zip(&theirs)
                                .all(|(a, b)| a.name == b.name && (a.type_oid == b.type_oid || are_user_types(a, b)));
                        let fault = if user_type { binary_user_type() } else { drift(servers[0], servers[at]) };
                        return Err(run.fail(fault));
                    }
                    Some(_) => {}
                    None => columns = Some(theirs),
                },
                Head::Copy(response) if at == 0 => {
                    run.copy = true;
                    client.out.extend_from_slice(&response.bytes);
                }
                Head::Copy(_) if run.copy => {}
                Head::Copy(_) => return Err(run.fail(drift(servers[0], servers[at]))),
                Head::NoRows if columns.is_some() => {
                    return Err(run.fail(drift(servers[0], servers[at])));
                }
                Head::NoRows => run.inputs[at].closed = true,
            }
        }
        if let Some(columns) = columns {
            if !combine.fits(columns.iter().map(|column| (&*column.name, is_text(column.type_oid)))) {
                return Err(run.stale());
            }
            let infos: Vec<ColumnInfo> = columns.iter().map(column_info).collect();
            let inputs = if answer == Answer::Merged { servers.len() } else { 1 };
            match Merge::new(combine, window, &infos, style, inputs, run.limits.clone()) {
                Ok(merge) => run.merge = Some(merge),
                // For the columns that the plan knew it can be done.
                Err(fault) if fault.code == SqlState::INTERNAL_ERROR => return Err(run.stale()),
                Err(fault) => return Err(run.fail(fault)),
            }
            run.columns = Some(visible(combine, &columns));
        }
        Ok(run)
    }

    async fn all_heads(
        &mut self,
        servers: &mut [&mut Backend],
        client: &mut Client,
        in_turn: bool,
        settled: bool,
    ) -> Result<Vec<Head>, ScatterError> {
        let heads = match in_turn {
            true => self.heads_in_turn(servers, client).await?,
            false => self.heads(servers, client).await?,
        };
        if settled {
            for at in (0..servers.len()).filter(|at| matches!(heads[*at], Head::Rows(_))) {
                self.first_row(servers, at, client).await?;
            }
        }
        Ok(heads)
    }

    /// Whether each server has rows of its own.
    fn differ(&self) -> bool {
        self.answer == Answer::Merged
    }

    /// Every server works at once.
    async fn heads(&mut self, servers: &mut [&mut Backend], client: &mut Client) -> Result<Vec<Head>, ScatterError> {
        send_all(servers, client).await?;
        let mut heads = Vec::with_capacity(servers.len());
        for at in 0..servers.len() {
            heads.push(self.head(servers, at, client).await?);
        }
        Ok(heads)
    }

    /// A server is asked when those of the shards before it have made their changes, and so have their locks: statements that go this way
    /// meet at the first shard where they meet at all, and not in a circle.
    async fn heads_in_turn(
        &mut self,
        servers: &mut [&mut Backend],
        client: &mut Client,
    ) -> Result<Vec<Head>, ScatterError> {
        let mut order: Vec<usize> = (0..servers.len()).collect();
        order.sort_by_key(|at| servers[*at].cancel.shard);
        let mut heads = Vec::with_capacity(servers.len());
        let mut told_last = None;
        for (nth, at) in order.iter().enumerate() {
            match self.head_alone(servers, *at, client).await {
                Ok(head) => heads.push((*at, head)),
                Err(error) if self.differ() && is_of_foreign_key(&error) => {
                    told_last.get_or_insert(error);
                }
                Err(error) => {
                    order[nth + 1..].iter().for_each(|at| servers[*at].unsend());
                    return Err(error);
                }
            }
        }
        if let Some(error) = told_last {
            return Err(error);
        }
        heads.sort_by_key(|(at, _)| *at);
        Ok(heads.into_iter().map(|(_, head)| head).collect())
    }

    async fn head_alone(
        &mut self,
        servers: &mut [&mut Backend],
        at: usize,
        client: &mut Client,
    ) -> Result<Head, ScatterError> {
        send_all(&mut servers[at..=at], client).await?;
        let head = self.head(servers, at, client).await?;
        if let Head::Rows(_) = head {
            self.first_row(servers, at, client).await?;
        }
        Ok(head)
    }

    /// Waits until there is a row, or none comes. What changes rows and returns them has changed all before it returns the first.
    async fn first_row(
        &mut self,
        servers: &mut [&mut Backend],
        at: usize,
        client: &mut Client,
    ) -> Result<(), ScatterError> {
        begun(servers[at], client, self.hears(at)).await?;
        match servers[at].header().map_err(Broken::Server)? {
            Some(header) if header.tag == b'E' => {
                let frame = content(servers[at], client, self.hears(at)).await?;
                Err(self.shard_error(frame))
            }
            _ => Ok(()),
        }
    }

    async fn head(
        &mut self,
        servers: &mut [&mut Backend],
        at: usize,
        client: &mut Client,
    ) -> Result<Head, ScatterError> {
        loop {
            let frame = content(servers[at], client, self.hears(at)).await?;
            match frame.tag {
                b'T' => match read_row_description(frame.body()) {
                    Ok(columns) => return Ok(Head::Rows(columns)),
                    Err(fault) => return Err(self.fail(fault)),
                },
                b'C' => {
                    self.complete(at, &frame);
                    return Ok(Head::NoRows);
                }
                b'n' => {}
                b'E' => return Err(self.shard_error(frame)),
                b'H' => return Ok(Head::Copy(frame)),
                b'G' | b'W' => {
                    let fault = Fault::new(SqlState::INTERNAL_ERROR, "a shard asked for COPY within a merge");
                    return Err(self.fail(fault));
                }
                _ => {}
            }
        }
    }

    /// Sends merged rows to the client: all of them, or `max_rows` at most.
    pub async fn run(
        &mut self,
        servers: &mut [&mut Backend],
        client: &mut Client,
        max_rows: Option<u64>,
    ) -> Result<RunEnd, ScatterError> {
        // Each Execute of a portal counts its own rows.
        self.rows = 0;
        self.in_pieces |= max_rows.is_some();
        if self.copy {
            self.rows_through(b'd', servers, client).await?;
            client.out.extend_from_slice(reply::COPY_DONE);
        } else if max_rows.is_none() && self.passes_all() {
            self.rows_through(b'D', servers, client).await?;
        } else if !self.merge_rows(servers, client, max_rows.unwrap_or(u64::MAX)).await? {
            return Ok(RunEnd::Suspended);
        }
        Ok(RunEnd::Complete(self.finish(servers, client).await?))
    }

    /// As [`Self::run`], but nobody gets the rows.
    pub async fn skip(
        &mut self,
        servers: &mut [&mut Backend],
        client: &mut Client,
        max_rows: Option<u64>,
    ) -> Result<RunEnd, ScatterError> {
        self.silent = true;
        let end = self.run(servers, client, Some(max_rows.unwrap_or(u64::MAX))).await;
        self.silent = false;
        end
    }

    /// How many rows the last [`Self::run`] had.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The merge is told what each of its steps takes.
    pub fn time_with(&mut self, clock: Clock) {
        self.merge.iter_mut().for_each(|merge| merge.time_with(clock));
    }

    /// How many rows the servers gave so far, and each step of the merge made of them.
    pub fn counts(&self) -> &[Count] {
        self.merge.as_ref().map_or(&[], Merge::counts)
    }

    /// What LIMIT and OFFSET took, where the merge has a clock.
    pub fn shown_in(&self) -> Duration {
        self.merge.as_ref().map_or(Duration::ZERO, Merge::shown_in)
    }

    /// Whether rows need no look: all of all inputs, in whatever order they come.
    fn passes_all(&self) -> bool {
        let merge = self.merge.as_ref().is_some_and(Merge::passes_all);
        merge && self.answer == Answer::Merged && self.parked.is_empty() && !self.finished
    }

    /// Sends the rows of all inputs as they come, in runs, each row whole.
    async fn rows_through(
        &mut self,
        tag: u8,
        servers: &mut [&mut Backend],
        client: &mut Client,
    ) -> Result<(), ScatterError> {
        while self.inputs.iter().any(|input| !input.closed) {
            let inputs = &self.inputs;
            match pass_rows(tag, servers, |at| !inputs[at].closed, client, &mut self.rows).await? {
                Some((at, frame)) => self.take(at, frame, client)?,
                None => flush(client).await?,
            }
        }
        Ok(())
    }

    /// Sends merged rows, `max` at most; whether there are no more.
    async fn merge_rows(
        &mut self,
        servers: &mut [&mut Backend],
        client: &mut Client,
        max: u64,
    ) -> Result<bool, ScatterError> {
        while self.rows < max {
            let row = match self.parked.pop_front() {
                Some(row) => {
                    self.parked_bytes -= row.len();
                    self.parked_hold.shrink(row.len());
                    row
                }
                None => match self.try_row(servers, client)? {
                    Next::Row(row) => row,
                    Next::Wait(input) => {
                        self.wait(input, servers, client).await?;
                        continue;
                    }
                    Next::Done => return Ok(true),
                },
            };
            self.give(&row, client);
            self.rows += 1;
            if client.out.len() >= OUT_HIGH {
                flush(client).await?;
            }
        }
        Ok(false)
    }

    fn give(&mut self, row: &[u8], client: &mut Client) {
        if self.silent {
            return;
        }
        let Some(held) = &mut self.held else { return client.out.extend_from_slice(row) };
        held.extend_from_slice(row);
        if held.len() >= OUT_HIGH {
            self.release(client);
        }
    }

    /// The rows that come now are held behind `head`, as many as the client's buffer takes.
    pub fn hold(&mut self, head: BytesMut) {
        self.held = Some(head);
    }

    /// The client gets what is held.
    pub fn release(&mut self, client: &mut Client) {
        if let Some(held) = self.held.take() {
            client.out.extend_from_slice(&held);
        }
    }

    /// Merges what is left into memory, so that the servers can do other work. `53400` beyond the merge's byte limit.
    pub async fn park(&mut self, servers: &mut [&mut Backend], client: &mut Client) -> Result<(), ScatterError> {
        loop {
            let row = match self.try_row(servers, client)? {
                Next::Row(row) => row,
                Next::Wait(input) => {
                    self.wait(input, servers, client).await?;
                    continue;
                }
                Next::Done => break,
            };
            self.parked_bytes += row.len();
            if let Err(fault) = self.parked_hold.grow(row.len()) {
                return Err(self.fail(fault));
            }
            self.parked.push_back(row);
            if self.parked_bytes > self.limits.max_bytes {
                let fault = Fault::new(
                    SqlState::CONFIGURATION_LIMIT_EXCEEDED,
                    "a suspended portal over several shards holds too many rows",
                )
                .detail(format!("merge_max_bytes is {}", self.limits.max_bytes))
                .hint("Fetch the portal to its end before running other statements, or raise merge_max_bytes.");
                return Err(self.fail(fault));
            }
        }
        self.finish(servers, client).await.map(drop)
    }

    /// The next row, if it can be made of what has been read.
    fn try_row(&mut self, servers: &mut [&mut Backend], client: &mut Client) -> Result<Next, ScatterError> {
        if self.finished {
            return Ok(Next::Done);
        }
        loop {
            let Some(merge) = &mut self.merge else { return Ok(Next::Done) };
            let input = match merge.advance() {
                Ok(Advance::Row(row)) => return Ok(Next::Row(row)),
                Ok(Advance::Done) => return Ok(Next::Done),
                Ok(Advance::Need(at)) => Some(at),
                Ok(Advance::NeedAny) => None,
                Err(fault) => return Err(self.fail(fault)),
            };
            let found = match input {
                Some(at) => try_content(servers[at])?.map(|frame| (at, frame)),
                None => self.try_any(servers)?,
            };
            match found {
                Some((at, frame)) => self.take(at, frame, client)?,
                None => return Ok(Next::Wait(input)),
            }
        }
    }

    /// A frame that has been read of any input, first of the one that gave the last.
    fn try_any(&mut self, servers: &mut [&mut Backend]) -> Result<Option<(usize, Frame)>, ScatterError> {
        for at in (self.turn..servers.len()).chain(0..self.turn) {
            if self.inputs[at].closed {
                continue;
            }
            if let Some(frame) = try_content(servers[at])? {
                self.turn = at;
                return Ok(Some((at, frame)));
            }
        }
        Ok(None)
    }

    /// Waits for a frame of this input, or of any.
    async fn wait(
        &mut self,
        input: Option<usize>,
        servers: &mut [&mut Backend],
        client: &mut Client,
    ) -> Result<(), ScatterError> {
        let (at, frame) = match input {
            Some(at) => (at, content(servers[at], client, self.hears(at)).await?),
            None => any_content(servers, |at| !self.inputs[at].closed, client).await?,
        };
        self.take(at, frame, client)
    }

    /// One frame of input `at` into the merge.
    fn take(&mut self, at: usize, frame: Frame, client: &mut Client) -> Result<(), ScatterError> {
        match frame.tag {
            b'D' if at > 0 && self.answer != Answer::Merged => {}
            b'D' => {
                if let Some(merge) = &mut self.merge
                    && let Err(fault) = merge.push(at, frame.bytes)
                {
                    return Err(self.fail(fault));
                }
            }
            b'C' => self.complete(at, &frame),
            b'E' => return Err(self.shard_error(frame)),
            b'N' => pass_notice(client, &frame, self.hears(at)),
            _ => {}
        }
        Ok(())
    }

    /// Which notices of this input are for the client.
    fn hears(&self, at: usize) -> Hears {
        match self.answer {
            Answer::Merged | Answer::First | Answer::Defined if at == 0 => Hears::Everything,
            Answer::Merged => Hears::Rows,
            Answer::First | Answer::Defined => Hears::Nothing,
        }
    }

    fn complete(&mut self, at: usize, frame: &Frame) {
        let (verb, count) = command_tag(frame.body());
        self.inputs[at] = Input { closed: true, tag: Some((verb.into(), count)) };
        let counts = at == 0 || self.answer == Answer::Merged;
        if let Some(merge) = self.merge.as_mut().filter(|_| counts) {
            merge.close(at);
        }
    }

    /// The tag that all inputs agree on; for statements that do the same everywhere.
    pub fn common_tag(&self) -> Result<String, Fault> {
        let mut tags = self.inputs.iter().filter_map(|i| i.tag.as_ref());
        let first = tags.next();
        if tags.any(|tag| Some(tag) != first) {
            return Err(copies_differ(self.inputs.iter().map(|input| input.tag.as_ref())));
        }
        Ok(match first {
            Some((verb, Some(count))) => format!("{verb} {count}"),
            Some((verb, None)) => verb.to_string(),
            None => String::new(),
        })
    }

    /// Reads every reply to its ReadyForQuery and folds the tags into one.
    async fn finish(&mut self, servers: &mut [&mut Backend], client: &mut Client) -> Result<String, ScatterError> {
        if !self.finished {
            for (at, server) in servers.iter_mut().enumerate() {
                while !server.inflight.is_empty() {
                    let frame = content(server, client, self.hears(at)).await?;
                    match frame.tag {
                        b'C' => self.complete(at, &frame),
                        b'E' => return Err(self.shard_error(frame)),
                        _ => {}
                    }
                }
            }
            self.finished = true;
            if self.answer == Answer::First {
                self.common_tag().map_err(ScatterError::Fault)?;
            }
        }
        Ok(self.tag())
    }

    /// SELECT counts what the client got; writes add up what the shards did.
    pub fn tag(&self) -> String {
        let theirs = self.inputs.iter().find_map(|i| i.tag.as_ref()).map_or("SELECT", |(verb, _)| verb);
        let verb = self.verb.unwrap_or(theirs);
        let changes = matches!(verb, "INSERT 0" | "UPDATE" | "DELETE" | "MERGE");
        if self.merge.is_some() && (verb == "SELECT" || verb == "FETCH" || changes && self.in_pieces) {
            return format!("{verb} {}", self.rows);
        }
        let counts: Option<u64> = self.inputs.iter().filter_map(|i| i.tag.as_ref()).map(|(_, n)| *n).sum();
        counts.map_or_else(|| verb.to_owned(), |n| format!("{verb} {n}"))
    }

    /// The command tag begins with this.
    pub fn say(&mut self, verb: &'static str) {
        self.verb = Some(verb);
    }

    /// No more rows come of this run; what the servers still owe is the caller's to end.
    pub fn fail(&mut self, fault: Fault) -> ScatterError {
        self.finished = true;
        ScatterError::Fault(fault)
    }

    fn stale(&mut self) -> ScatterError {
        self.finished = true;
        ScatterError::Stale(tables_have_changed())
    }

    fn shard_error(&mut self, frame: Frame) -> ScatterError {
        self.finished = true;
        ScatterError::Shard(frame)
    }

    /// Nobody will fetch from this run any more; what the servers still owe is the caller's to end.
    pub fn close(&mut self) {
        self.finished = true;
        self.parked.clear();
        self.parked_hold.shrink(std::mem::take(&mut self.parked_bytes));
    }

    pub fn is_finished(&self) -> bool {
        self.finished
    }

    pub fn has_parked(&self) -> bool {
        !self.parked.is_empty()
    }
}

/// What a merge can do without waiting.
enum Next {
    Row(Bytes),
    /// This input is to be read, or any.
    Wait(Option<usize>),
    Done,
}

enum Head {
    /// CopyOutResponse.
    Copy(Frame),
    Rows(Vec<Column>),
    NoRows,
}

/// What must have one effect on all shards has several.
pub(super) fn copies_differ<'a>(tags: impl Iterator<Item = Option<&'a (Box<str>, Option<u64>)>>) -> Fault {
    Fault::new(SqlState::DATA_CORRUPTED, "the shards disagree on the effect of the statement")
        .detail(format!("command tags: {:?}", tags.collect::<Vec<_>>()))
        .hint("A reference table has different contents on different shards; compare and repair it.")
}

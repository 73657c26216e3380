//! PURE. The operators that a `Combine` asks for. Owns no socket: `advance` says what it needs and the caller fetches it.

pub mod aggregate;
pub mod decimal;
pub mod kway;
pub mod steps;

mod key;
mod values;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::fault::{Blame, Fault, SqlState};
use crate::ids::Oid;
use crate::memory::{Hold, Memory};
use crate::merge::aggregate::Aggregate;
use crate::merge::key::OrderKey;
use crate::merge::kway::KWayMerge;
use crate::merge::steps::{Distinct, Filter, Sort};
use crate::plan::combine::{Combine, Gather, Step, Window};
use crate::types::compare::TextStyle;
use crate::types::{Collation, Format};
use crate::wire::row::{RowView, RowWriter};

/// What the merge must know of a column of the shards' rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ColumnInfo {
    pub type_oid: Oid,
    pub format: Format,
    pub collation: Collation,
}

/// One column of the merged rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputColumn {
    /// The column of the shards' rows that it is made of, whose name it has.
    pub source: usize,
    /// Its own type, which differs from the source's for `avg`.
    pub info: ColumnInfo,
}

/// What one merge may hold.
#[derive(Clone, Debug)]
pub struct MergeLimits {
    /// Bytes of rows and groups kept at once by hashing and sorting; `53400` beyond. Streaming operators keep a row an input.
    pub max_bytes: usize,
    /// What all merges take from together.
    pub memory: Arc<Memory>,
}

/// What is to be done next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Advance {
    /// Fetch the next row of this input: `push` it, or `close` the input when there is none.
    Need(usize),
    /// Fetch a row of any input that is not closed: `push` it, or `close` the input.
    NeedAny,
    /// A row for the client: a whole DataRow frame.
    Row(Bytes),
    /// No more rows. May come before the inputs are at their end (LIMIT): cancel what still runs.
    Done,
}

/// What tells the time to a merge that is timed.
pub type Clock = fn() -> Instant;

/// What came out of one operator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    pub rows: u64,
    /// What it took by itself, where a clock was given.
    pub took: Duration,
}

/// What an operator gives when asked for a row.
#[derive(Debug)]
enum Flow {
    Need(usize),
    NeedAny,
    Row(Bytes),
    End,
}

/// The replies of several shards becoming one.
#[derive(Debug)]
pub struct Merge {
    gather: Gatherer,
    stages: Vec<Stage>,
    /// Of the gatherer, and of each stage.
    counts: Vec<Count>,
    clock: Option<Clock>,
    /// What LIMIT, OFFSET and the hidden columns took, by the clock.
    shown_in: Duration,
    window: Window,
    columns: Vec<OutputColumn>,
    hidden: usize,
    writer: RowWriter,
    budget: Budget,
    done: bool,
}

impl Merge {
    /// `columns` describes the shards' rows, in the formats in which they will come. Faults with `0A000` when the merge needs
    /// an order, an equality or an arithmetic that is not provably Postgres's.
    pub fn new(
        combine: &Combine,
        window: Option<Window>,
        columns: &[ColumnInfo],
        style: TextStyle,
        inputs: usize,
        limits: MergeLimits,
    ) -> Result<Self, Fault> {
        let gather = Gatherer::new(&combine.gather, columns, style, inputs)?;
        let window = window.unwrap_or(Window { offset: 0, limit: None });
        let mut outputs: Vec<OutputColumn> =
            columns.iter().enumerate().map(|(source, info)| OutputColumn { source, info: *info }).collect();
        let mut stages = Vec::with_capacity(combine.steps.len());
        for (i, step) in combine.steps.iter().enumerate() {
            let infos: Vec<ColumnInfo> = outputs.iter().map(|output| output.info).collect();
            stages.push(match step {
                Step::Aggregate { groups, sorted, outputs: folds } => {
                    let aggregate = Aggregate::new(groups, *sorted, folds, &infos, style)?;
                    let made = aggregate.columns(folds, &infos)?;
                    outputs = made
                        .into_iter()
                        .map(|(from, info)| OutputColumn { source: outputs[from].source, info })
                        .collect();
                    Stage::Aggregate(aggregate)
                }
                Step::Filter(conditions) => Stage::Filter(Filter::new(conditions, &infos, style)?),
                Step::Distinct { columns, sorted } => Stage::Distinct(Distinct::new(*columns, *sorted, &infos, style)?),
                Step::Sort(keys) => {
                    let last = i + 1 == combine.steps.len();
                    let wanted = window.limit.filter(|_| last).map(|limit| limit.saturating_add(window.offset));
                    Stage::Sort(Sort::new(OrderKey::all(keys, &infos, style)?, wanted))
                }
            });
        }
        let shown = outputs.len().checked_sub(combine.hidden).ok_or_else(|| {
            Fault::new(SqlState::INTERNAL_ERROR, "the merge hides more columns than there are").blame(Blame::Router)
        })?;
        outputs.truncate(shown);
        Ok(Self {
            gather,
            counts: vec![Count::default(); stages.len() + 1],
            clock: None,
            shown_in: Duration::ZERO,
            stages,
            window,
            columns: outputs,
            hidden: combine.hidden,
            writer: RowWriter::new(),
            budget: Budget { left: limits.max_bytes, max: limits.max_bytes, hold: limits.memory.hold() },
            done: false,
        })
    }

    /// The columns of the rows that come out.
    pub fn columns(&self) -> &[OutputColumn] {
        &self.columns
    }

    /// How many rows the inputs gave so far, and each step made of them, in order.
    pub fn counts(&self) -> &[Count] {
        &self.counts
    }

    /// From here on it is told what each step takes.
    pub fn time_with(&mut self, clock: Clock) {
        self.clock = Some(clock);
    }

    /// What LIMIT, OFFSET and the hidden columns took, where a clock was given.
    pub fn shown_in(&self) -> Duration {
        self.shown_in
    }

    /// Whether every row goes to the client as it is, in whatever order: the caller may then pass rows on without asking.
    pub fn passes_all(&self) -> bool {
        let empty = matches!(&self.gather, Gatherer::Concat { rows, .. } if rows.is_empty());
        empty && self.stages.is_empty() && self.hidden == 0 && self.window == Window { offset: 0, limit: None }
    }

    /// What is to be done next. After a fault the merge is at its end.
    pub fn advance(&mut self) -> Result<Advance, Fault> {
        loop {
            if self.done || self.window.limit == Some(0) {
                self.done = true;
                return Ok(Advance::Done);
            }
            let (gather, stages, counts) = (&mut self.gather, &mut self.stages[..], &mut self.counts[..]);
            let pulled = match self.clock {
                None => pull(gather, stages, counts, &mut self.budget, &Untimed),
                Some(clock) => pull(gather, stages, counts, &mut self.budget, &Timed(clock)),
            };
            let row = match pulled? {
                Flow::Row(row) => row,
                Flow::Need(input) => return Ok(Advance::Need(input)),
                Flow::NeedAny => return Ok(Advance::NeedAny),
                Flow::End => {
                    self.done = true;
                    self.gather.check_order()?;
                    continue;
                }
            };
            let shown = match self.clock {
                None => self.shown(row)?,
                Some(clock) => {
                    let began = clock();
                    let shown = self.shown(row);
                    self.shown_in += clock().saturating_duration_since(began);
                    shown?
                }
            };
            if let Some(row) = shown {
                return Ok(Advance::Row(row));
            }
        }
    }

    /// A row that all steps have let through, as the client gets it; `None`: OFFSET leaves it out.
    fn shown(&mut self, row: Bytes) -> Result<Option<Bytes>, Fault> {
        if self.window.offset > 0 {
            self.window.offset -= 1;
            return Ok(None);
        }
        if let Some(limit) = &mut self.window.limit {
            *limit -= 1;
        }
        if self.hidden == 0 { Ok(Some(row)) } else { self.hide(&row).map(Some) }
    }

    /// Gives a row of `input` that `advance` asked for: a whole DataRow frame, tag and length included.
    pub fn push(&mut self, input: usize, row: Bytes) -> Result<(), Fault> {
        let Some(clock) = self.clock else { return self.gather.push(input, row) };
        let gather = &mut self.gather;
        let pushed = |count: &mut Count| Timed(clock).watch(&mut count.took, || gather.push(input, row));
        self.counts.first_mut().map_or(Ok(()), pushed)
    }

    /// `input` has no more rows.
    pub fn close(&mut self, input: usize) {
        match &mut self.gather {
            Gatherer::MergeSort(merge) => merge.close(input),
            Gatherer::Concat { open, .. } | Gatherer::Interleave { open, .. } => {
                if let Some(open) = open.get_mut(input) {
                    *open = false;
                }
            }
        }
    }

    /// The row without its last columns.
    fn hide(&mut self, row: &Bytes) -> Result<Bytes, Fault> {
        let view = RowView::parse(row)?;
        let shown = self.columns.len();
        if view.len() != shown + self.hidden {
            return Err(crate::wire::row::malformed());
        }
        self.writer.start();
        self.writer.raw(shown, view.leading(shown)?);
        self.writer.finish()
    }
}

/// Whether the clock is read around what an operator does.
trait Watch {
    fn watch<T>(&self, took: &mut Duration, work: impl FnOnce() -> T) -> T;
}

/// Of all statements but those that are explained.
struct Untimed;

struct Timed(Clock);

impl Watch for Untimed {
    fn watch<T>(&self, _: &mut Duration, work: impl FnOnce() -> T) -> T {
        work()
    }
}

impl Watch for Timed {
    fn watch<T>(&self, took: &mut Duration, work: impl FnOnce() -> T) -> T {
        let began = (self.0)();
        let done = work();
        *took += (self.0)().saturating_duration_since(began);
        done
    }
}

/// The next row behind the last of `stages`.
fn pull(
    gather: &mut Gatherer,
    stages: &mut [Stage],
    counts: &mut [Count],
    budget: &mut Budget,
    watch: &impl Watch,
) -> Result<Flow, Fault> {
    let Some((count, counts)) = counts.split_last_mut() else { return Ok(Flow::End) };
    let Some((last, earlier)) = stages.split_last_mut() else {
        let flow = watch.watch(&mut count.took, || gather.next());
        count.rows += u64::from(matches!(flow, Flow::Row(_)));
        return Ok(flow);
    };
    loop {
        if last.is_draining() {
            let row = watch.watch(&mut count.took, || last.drain())?;
            count.rows += u64::from(row.is_some());
            return Ok(row.map_or(Flow::End, Flow::Row));
        }
        match pull(gather, earlier, counts, budget, watch)? {
            Flow::Row(row) => {
                if let Some(row) = watch.watch(&mut count.took, || last.accept(row, budget))? {
                    count.rows += 1;
                    return Ok(Flow::Row(row));
                }
            }
            Flow::End => watch.watch(&mut count.took, || last.finish()),
            need => return Ok(need),
        }
    }
}

/// N streams to one.
#[derive(Debug)]
enum Gatherer {
    Concat {
        rows: VecDeque<Bytes>,
        open: Vec<bool>,
    },
    MergeSort(KWayMerge),
    /// `next` counts through `order`; what the inputs still have behind it follows input by input.
    Interleave {
        order: Vec<usize>,
        next: usize,
        held: Option<Bytes>,
        open: Vec<bool>,
        /// How many rows each input has given.
        given: Vec<usize>,
    },
}

impl Gatherer {
    fn new(gather: &Gather, columns: &[ColumnInfo], style: TextStyle, inputs: usize) -> Result<Self, Fault> {
        let open = vec![true; inputs];
        Ok(match gather {
            Gather::Concat => Self::Concat { rows: VecDeque::new(), open },
            Gather::MergeSort(keys) => Self::MergeSort(KWayMerge::new(OrderKey::all(keys, columns, style)?, inputs)),
            Gather::Interleave(order) => {
                let order = order.iter().map(|input| usize::from(*input)).collect();
                Self::Interleave { order, next: 0, held: None, open, given: vec![0; inputs] }
            }
        })
    }

    fn push(&mut self, input: usize, row: Bytes) -> Result<(), Fault> {
        match self {
            Self::Concat { rows, .. } => {
                rows.push_back(row);
                Ok(())
            }
            Self::MergeSort(merge) => merge.push(input, row),
            Self::Interleave { held, given, .. } if held.is_none() => {
                *held = Some(row);
                if let Some(given) = given.get_mut(input) {
                    *given += 1;
                }
                Ok(())
            }
            Self::Interleave { .. } => Err(not_asked()),
        }
    }

    fn next(&mut self) -> Flow {
        match self {
            Self::Concat { rows, open } => match rows.pop_front() {
                Some(row) => Flow::Row(row),
                None if open.contains(&true) => Flow::NeedAny,
                None => Flow::End,
            },
            Self::MergeSort(merge) => merge.next(),
            Self::Interleave { order, next, held, open, .. } => {
                if let Some(row) = held.take() {
                    *next += 1;
                    return Flow::Row(row);
                }
                // An input may give fewer rows than its turns (ON CONFLICT DO NOTHING): they are passed over.
                while let Some(input) = order.get(*next) {
                    if open.get(*input) == Some(&true) {
                        return Flow::Need(*input);
                    }
                    *next += 1;
                }
                open.iter().position(|open| *open).map_or(Flow::End, Flow::Need)
            }
        }
    }

    /// Whether the rows came in the order that was asked for. An input that gives fewer rows than its turns (ON CONFLICT DO NOTHING, a trigger)
    /// does not say which it leaves out: they are in order only if no other input's turn with rows lies among its own.
    fn check_order(&self) -> Result<(), Fault> {
        let Self::Interleave { order, given, .. } = self else { return Ok(()) };
        let turns = |input: usize| order.iter().filter(|of| **of == input).count();
        let gives = |input: usize| given.get(input).is_some_and(|given| *given > 0);
        for (input, given) in given.iter().enumerate().filter(|(input, given)| **given > 0 && **given != turns(*input))
        {
            let (first, last) = (order.iter().position(|of| *of == input), order.iter().rposition(|of| *of == input));
            let own = first.unwrap_or_default()..last.map_or(0, |last| last + 1);
            if *given > turns(input) || order[own].iter().any(|other| *other != input && gives(*other)) {
                return Err(unplaced());
            }
        }
        Ok(())
    }
}

fn unplaced() -> Fault {
    Fault::unsupported(
        "RETURNING of rows for several shards is not supported where some are left out",
        "a shard has left out some of its rows (ON CONFLICT, a trigger), and which they are cannot be told: those that come back would \
         come in another order than they were given",
        "Leave RETURNING out, or give the rows of one shard in a statement.",
    )
}

/// One stream to one.
#[derive(Debug)]
enum Stage {
    Aggregate(Aggregate),
    Filter(Filter),
    Distinct(Distinct),
    Sort(Sort),
}

impl Stage {
    /// Takes a row; gives the one that it completes, if any.
    fn accept(&mut self, row: Bytes, budget: &mut Budget) -> Result<Option<Bytes>, Fault> {
        match self {
            Self::Aggregate(aggregate) => aggregate.accept(row, budget),
            Self::Filter(filter) => filter.accept(row),
            Self::Distinct(distinct) => distinct.accept(row, budget),
            Self::Sort(sort) => sort.accept(row, budget),
        }
    }

    /// There are no more rows: what is held comes out by `drain`.
    fn finish(&mut self) {
        match self {
            Self::Aggregate(aggregate) => aggregate.finish(),
            Self::Sort(sort) => sort.finish(),
            Self::Filter(filter) => filter.finish(),
            Self::Distinct(distinct) => distinct.finish(),
        }
    }

    fn is_draining(&self) -> bool {
        match self {
            Self::Aggregate(aggregate) => aggregate.is_draining(),
            Self::Sort(sort) => sort.is_draining(),
            Self::Filter(filter) => filter.is_draining(),
            Self::Distinct(distinct) => distinct.is_draining(),
        }
    }

    fn drain(&mut self) -> Result<Option<Bytes>, Fault> {
        match self {
            Self::Aggregate(aggregate) => aggregate.drain(),
            Self::Sort(sort) => Ok(sort.drain()),
            Self::Filter(_) | Self::Distinct(_) => Ok(None),
        }
    }
}

/// The memory that hashing and sorting may still take.
#[derive(Debug)]
struct Budget {
    left: usize,
    max: usize,
    hold: Hold,
}

impl Budget {
    /// What one entry costs beside its bytes: table slots, vector headers, the allocator's own.
    const ENTRY: usize = 96;

    fn take(&mut self, bytes: usize) -> Result<(), Fault> {
        let bytes = bytes.saturating_add(Self::ENTRY);
        match self.left.checked_sub(bytes) {
            Some(left) => {
                self.hold.grow(bytes)?;
                self.left = left;
                Ok(())
            }
            None => Err(Fault::new(
                SqlState::CONFIGURATION_LIMIT_EXCEEDED,
                format!("merging the answers of the shards needs more than {} bytes of memory", self.max),
            )
            .hint(
                "Group or sort by fewer values, add a LIMIT or a condition on the sharding key, or raise the limit.",
            )),
        }
    }

    fn give_back(&mut self, bytes: usize) {
        let bytes = bytes.saturating_add(Self::ENTRY);
        self.left = self.left.saturating_add(bytes).min(self.max);
        self.hold.shrink(bytes);
    }
}

/// `0A000` for a column that the merge cannot handle exactly.
fn refused(what: &'static str, column: &ColumnInfo) -> Fault {
    Fault::unsupported(
        what,
        format!("Type OID {}, collation {:?}, {:?} format.", column.type_oid, column.collation, column.format),
        "Restrict the statement to one value of the sharding key, or use COLLATE \"C\" for text.",
    )
}

fn not_asked() -> Fault {
    Fault::new(SqlState::INTERNAL_ERROR, "a row was given to the merge that it did not ask for").blame(Blame::Router)
}

#[cfg(test)]
mod tests;

//! PURE. `SequenceBlocks`: values that the router has taken from the home shard's sequences and not given out yet.
//!
//! A value is taken once and given once; what is dropped is lost, which makes a gap. A block is dropped when it is old, so that a
//! sequence that was set through another router is seen, and when the catalog has changed. How many values the next block has follows
//! the demand: a sequence of which one value is needed now and then has no gaps.
//!
//! What a session gets is later in the sequence than what it got before, as in one Postgres. Several may ask for values at once, and who asked
//! first may be answered last, so values lie in runs, one for each time that the home shard was asked. A session goes on in the run that
//! it is in, or with one that was begun when it had its last value.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::ids::QualifiedName;

/// Age beyond which the values of a block are not given out.
pub const BLOCK_LIFE: Duration = Duration::from_secs(5);
/// Runs of one sequence that are kept at a time.
const RUNS: usize = 16;

/// By the user who took them: another one may have no right to the sequence.
type Key = (Box<str>, QualifiedName);

#[derive(Debug, Default)]
pub struct SequenceBlocks {
    blocks: Mutex<HashMap<Key, Block>>,
    /// Goes on with everything that has an order.
    clock: AtomicU64,
}

#[derive(Debug)]
struct Block {
    /// None of them is empty.
    runs: VecDeque<Run>,
    /// When values were taken last.
    taken: Instant,
    /// Of the catalog that they were taken under.
    generation: u64,
    /// Values beyond what was needed, of which it was made.
    spare: usize,
}

/// The rest of what came at one time.
#[derive(Debug)]
struct Run {
    /// When the sequence was asked, which no other run has.
    began: u64,
    /// When the answer was there.
    ended: u64,
    values: VecDeque<i64>,
    taken: Instant,
}

/// How far a session has come with a sequence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reached {
    /// The run that its last value is of; 0: of none.
    run: u64,
    /// Whoever asks from then on gets later values.
    pub at: u64,
}

impl Reached {
    /// Values were taken past the blocks until then.
    pub fn at(tick: u64) -> Self {
        Self { run: 0, at: tick }
    }
}

/// Who wants values, and when.
#[derive(Clone, Copy, Debug)]
pub struct Asking<'a> {
    pub user: &'a str,
    pub sequence: &'a QualifiedName,
    /// Of the catalog.
    pub generation: u64,
    pub now: Instant,
}

/// What there is for a statement.
#[derive(Debug, PartialEq, Eq)]
pub struct Given {
    /// As many as are wanted, or all that there are.
    pub values: Vec<i64>,
    /// How many values to take beyond what is needed, if some are missing.
    pub spare: usize,
}

impl SequenceBlocks {
    /// A moment behind all before it: before the sequence is asked, or when its answer is there.
    pub fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// The next `wanted` values, as far as there are some that come behind those that the session has. `most`: the size of a block.
    pub fn give(&self, asking: Asking<'_>, wanted: usize, most: usize, reached: &mut Reached) -> Given {
        let mut blocks = self.all();
        let Some(block) = blocks.get_mut(&(asking.user.into(), asking.sequence.clone())) else {
            return Given { values: Vec::new(), spare: 0 };
        };
        let is_old = |taken: Instant| asking.now.saturating_duration_since(taken) >= BLOCK_LIFE;
        if block.generation != asking.generation || is_old(block.taken) {
            *block = Block { runs: VecDeque::new(), taken: asking.now, generation: asking.generation, spare: 0 };
            return Given { values: Vec::new(), spare: 0 };
        }
        block.runs.retain(|run| !is_old(run.taken));
        let mut values = Vec::new();
        for run in &mut block.runs {
            if values.len() < wanted && (run.began == reached.run || run.began > reached.at) {
                let count = (wanted - values.len()).min(run.values.len());
                values.extend(run.values.drain(..count));
                *reached = Reached { run: run.began, at: run.ended };
            }
        }
        block.runs.retain(|run| !run.values.is_empty());
        Given { values, spare: (block.spare * 2).clamp(1, most.max(1)) }
    }

    /// Keeps what was taken beyond the need, by somebody who asked when it `began`; how far he has come.
    pub fn keep(&self, asking: Asking<'_>, values: Vec<i64>, spare: usize, began: u64) -> Reached {
        let ended = self.tick();
        let mut blocks = self.all();
        let block = blocks.entry((asking.user.into(), asking.sequence.clone())).or_insert_with(|| Block {
            runs: VecDeque::new(),
            taken: asking.now,
            generation: asking.generation,
            spare: 0,
        });
        if block.generation != asking.generation {
            block.runs.clear();
            block.generation = asking.generation;
        }
        block.taken = asking.now;
        block.spare = spare;
        if !values.is_empty() {
            if block.runs.len() >= RUNS {
                block.runs.pop_front();
            }
            // In the order in which they can follow each other.
            let at = block.runs.partition_point(|run| run.began < began);
            block.runs.insert(at, Run { began, ended, values: values.into(), taken: asking.now });
        }
        Reached { run: began, at: ended }
    }

    /// Values were taken past the blocks: none that was taken before them is given out behind them.
    pub fn forget_one(&self, sequence: &QualifiedName) {
        self.all().retain(|(_, of), _| of != sequence);
    }

    /// A sequence may have been set to another value: none that was taken before is given out.
    pub fn forget(&self) {
        self.all().clear();
    }

    fn all(&self) -> MutexGuard<'_, HashMap<Key, Block>> {
        self.blocks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name() -> QualifiedName {
        QualifiedName::new("public", "s")
    }

    fn asking(name: &QualifiedName, now: Instant) -> Asking<'_> {
        Asking { user: "u", sequence: name, generation: 1, now }
    }

    /// What a session that has no value yet is given.
    fn given(blocks: &SequenceBlocks, asking: Asking<'_>, wanted: usize) -> Given {
        blocks.give(asking, wanted, 100, &mut Reached::default())
    }

    #[test]
    fn blocks_grow_with_the_demand_up_to_their_size() {
        let (blocks, now, name) = (SequenceBlocks::default(), Instant::now(), name());
        let mut spare = Vec::new();
        for _ in 0..5 {
            let given = blocks.give(asking(&name, now), 1, 4, &mut Reached::default());
            assert!(given.values.is_empty());
            blocks.keep(asking(&name, now), Vec::new(), given.spare, blocks.tick());
            spare.push(given.spare);
        }
        assert_eq!(spare, [0, 1, 2, 4, 4]);
    }

    #[test]
    fn values_are_given_once_and_in_order() {
        let (blocks, now, name) = (SequenceBlocks::default(), Instant::now(), name());
        let asking = asking(&name, now);
        blocks.keep(asking, vec![3, 4, 5], 3, blocks.tick());
        assert!(given(&blocks, Asking { user: "other", ..asking }, 2).values.is_empty());
        assert_eq!(given(&blocks, asking, 2).values, [3, 4]);
        assert_eq!(given(&blocks, asking, 2).values, [5]);
        assert!(given(&blocks, asking, 2).values.is_empty());
    }

    #[test]
    fn what_is_old_or_of_another_catalog_is_dropped() {
        let (blocks, now, name) = (SequenceBlocks::default(), Instant::now(), name());
        let asking = asking(&name, now);
        let nothing = Given { values: vec![], spare: 0 };
        blocks.keep(asking, vec![3], 1, blocks.tick());
        let later = Asking { generation: 2, ..asking };
        assert_eq!(given(&blocks, later, 1), nothing);
        blocks.keep(later, vec![4], 1, blocks.tick());
        assert_eq!(given(&blocks, Asking { now: now + BLOCK_LIFE, ..later }, 1), nothing);
        blocks.keep(later, vec![5], 1, blocks.tick());
        blocks.forget();
        assert!(given(&blocks, later, 1).values.is_empty());
    }

    #[test]
    fn nobody_is_given_an_earlier_value_than_the_last() {
        let (blocks, now, name) = (SequenceBlocks::default(), Instant::now(), name());
        let asking = asking(&name, now);
        // Both ask at once: the one gets 1 to 3, the other 4 to 6, and is answered first.
        let (one, other) = (blocks.tick(), blocks.tick());
        let mut second = blocks.keep(asking, vec![5, 6], 2, other);
        let mut first = blocks.keep(asking, vec![2, 3], 2, one);
        assert_eq!(blocks.give(asking, 3, 100, &mut second).values, [5, 6]);
        assert!(blocks.give(asking, 1, 100, &mut second).values.is_empty());
        assert_eq!(blocks.give(asking, 1, 100, &mut first).values, [2]);
        // A value that was taken past the router is later than all of before, and what comes from then on later than that.
        let mut direct = Reached::at(blocks.tick());
        assert!(blocks.give(asking, 1, 100, &mut direct).values.is_empty());
        let began = blocks.tick();
        blocks.keep(asking, vec![8, 9], 2, began);
        assert_eq!(blocks.give(asking, 1, 100, &mut direct).values, [8]);
        // Who has none yet begins where there is something, and goes on from there.
        let mut new = Reached::default();
        assert_eq!(blocks.give(asking, 3, 100, &mut new).values, [3, 9]);
    }

    #[test]
    fn runs_are_bounded() {
        let (blocks, now, name) = (SequenceBlocks::default(), Instant::now(), name());
        for value in 0..2 * RUNS {
            blocks.keep(asking(&name, now), vec![value as i64], 1, blocks.tick());
        }
        assert_eq!(given(&blocks, asking(&name, now), usize::MAX).values.len(), RUNS);
    }
}

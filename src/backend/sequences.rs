//! PURE. `SequenceBlocks`: values that the router has taken from the home shard's sequences and not given out yet.
//!
//! A value is taken once and given once; what is dropped is lost, which makes a gap. A block is dropped when it is old, so that a
//! sequence that was set through another router is seen, and when the catalog has changed. How many values the next block has follows
//! the demand: a sequence of which one value is needed now and then has no gaps.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::ids::QualifiedName;

/// Age beyond which the values of a block are not given out.
pub const BLOCK_LIFE: Duration = Duration::from_secs(5);

/// By the user who took them: another one may have no right to the sequence.
type Key = (Box<str>, QualifiedName);

#[derive(Debug, Default)]
pub struct SequenceBlocks {
    blocks: Mutex<HashMap<Key, Block>>,
}

#[derive(Debug)]
struct Block {
    values: VecDeque<i64>,
    taken: Instant,
    /// Of the catalog that it was taken under.
    generation: u64,
    /// Values beyond what was needed, of which it was made.
    spare: usize,
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
    /// The next `wanted` values, as far as there are some. `most`: the size of a block.
    pub fn give(
        &self,
        user: &str,
        sequence: &QualifiedName,
        wanted: usize,
        most: usize,
        generation: u64,
        now: Instant,
    ) -> Given {
        let mut blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(block) = blocks.get_mut(&(user.into(), sequence.clone())) else {
            return Given { values: Vec::new(), spare: 0 };
        };
        let old = now.saturating_duration_since(block.taken) >= BLOCK_LIFE;
        if block.generation != generation || old {
            *block = Block { values: VecDeque::new(), taken: now, generation, spare: 0 };
            return Given { values: Vec::new(), spare: 0 };
        }
        let count = wanted.min(block.values.len());
        Given { values: block.values.drain(..count).collect(), spare: (block.spare * 2).clamp(1, most.max(1)) }
    }

    /// Keeps what was taken beyond the need.
    pub fn keep(
        &self,
        user: &str,
        sequence: &QualifiedName,
        values: Vec<i64>,
        spare: usize,
        generation: u64,
        now: Instant,
    ) {
        let mut blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        let block = blocks.entry((user.into(), sequence.clone())).or_insert_with(|| Block {
            values: VecDeque::new(),
            taken: now,
            generation,
            spare: 0,
        });
        if block.generation != generation || block.values.is_empty() {
            block.values.clear();
            block.taken = now;
            block.generation = generation;
        }
        block.spare = spare;
        block.values.extend(values);
    }

    /// Values were taken past the blocks: none that was taken before them is given out behind them.
    pub fn forget_one(&self, sequence: &QualifiedName) {
        let mut blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        blocks.retain(|(_, of), _| of != sequence);
    }

    /// A sequence may have been set to another value: none that was taken before is given out.
    pub fn forget(&self) {
        self.blocks.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name() -> QualifiedName {
        QualifiedName::new("public", "s")
    }

    #[test]
    fn blocks_grow_with_the_demand_up_to_their_size() {
        let (blocks, now) = (SequenceBlocks::default(), Instant::now());
        let mut spare = Vec::new();
        for _ in 0..5 {
            let given = blocks.give("u", &name(), 1, 4, 1, now);
            assert!(given.values.is_empty());
            blocks.keep("u", &name(), Vec::new(), given.spare, 1, now);
            spare.push(given.spare);
        }
        assert_eq!(spare, [0, 1, 2, 4, 4]);
    }

    #[test]
    fn values_are_given_once_and_in_order() {
        let (blocks, now) = (SequenceBlocks::default(), Instant::now());
        blocks.keep("u", &name(), vec![3, 4, 5], 3, 1, now);
        assert!(blocks.give("other", &name(), 2, 100, 1, now).values.is_empty());
        assert_eq!(blocks.give("u", &name(), 2, 100, 1, now).values, [3, 4]);
        assert_eq!(blocks.give("u", &name(), 2, 100, 1, now).values, [5]);
        assert!(blocks.give("u", &name(), 2, 100, 1, now).values.is_empty());
    }

    #[test]
    fn what_is_old_or_of_another_catalog_is_dropped() {
        let (blocks, now) = (SequenceBlocks::default(), Instant::now());
        blocks.keep("u", &name(), vec![3], 1, 1, now);
        assert_eq!(blocks.give("u", &name(), 1, 100, 2, now), Given { values: vec![], spare: 0 });
        blocks.keep("u", &name(), vec![4], 1, 2, now);
        assert_eq!(blocks.give("u", &name(), 1, 100, 2, now + BLOCK_LIFE), Given { values: vec![], spare: 0 });
        blocks.keep("u", &name(), vec![5], 1, 2, now);
        blocks.forget();
        assert!(blocks.give("u", &name(), 1, 100, 2, now).values.is_empty());
    }
}

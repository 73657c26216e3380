//! Sorted streams to one sorted stream, one row held per shard.

use std::cmp::Ordering;

use bytes::Bytes;
use smallvec::SmallVec;

use crate::fault::Fault;
use crate::merge::Flow;
use crate::merge::key::{Field, OrderKey, compare_fields, lead};
use crate::wire::row::RowView;

/// Merges N sorted inputs with a tree of losers: about log2(N) comparisons a row. Rows that are equal come in the order of
/// their inputs, and rows of one input in their own order.
#[derive(Debug)]
pub struct KWayMerge {
    keys: Box<[OrderKey]>,
    slots: Box<[Slot]>,
    /// `losers[n]` lost the match at inner node n, whose children are 2n and 2n+1; leaf i is node `inputs + i`.
    losers: Box<[usize]>,
    /// The input with the smallest row; `None` until every input has answered once.
    winner: Option<usize>,
}

#[derive(Debug)]
struct Slot {
    state: State,
    /// What mostly decides: see [`lead`]; `u128::MAX` for a closed input.
    lead: u128,
    /// The sort keys of the row, read once.
    fields: SmallVec<[Field; 2]>,
}

#[derive(Debug)]
enum State {
    Empty,
    Row(Bytes),
    Closed,
}

impl KWayMerge {
    pub(super) fn new(keys: Vec<OrderKey>, inputs: usize) -> Self {
        let slot = || Slot { state: State::Empty, lead: 0, fields: SmallVec::new() };
        Self {
            keys: keys.into(),
            slots: std::iter::repeat_with(slot).take(inputs).collect(),
            losers: vec![0; inputs].into(),
            winner: None,
        }
    }

    /// The row of `input` that was asked for.
    pub(super) fn push(&mut self, input: usize, row: Bytes) -> Result<(), Fault> {
        let slot = self.slots.get_mut(input).filter(|slot| matches!(slot.state, State::Empty));
        let slot = slot.ok_or_else(super::not_asked)?;
        let view = RowView::parse(&row)?;
        slot.fields.clear();
        for key in &self.keys {
            slot.fields.push(Field::read(key.comparator, &view, key.column)?);
        }
        slot.lead = lead(&self.keys, &slot.fields, &row);
        slot.state = State::Row(row);
        self.settle(input);
        Ok(())
    }

    /// `input` has no more rows.
    pub(super) fn close(&mut self, input: usize) {
        if let Some(slot) = self.slots.get_mut(input) {
            slot.state = State::Closed;
            slot.lead = u128::MAX;
            self.settle(input);
        }
    }

    pub(super) fn next(&mut self) -> Flow {
        let winner = match self.winner {
            Some(winner) => winner,
            None => {
                if let Some(waiting) = self.slots.iter().position(|slot| matches!(slot.state, State::Empty)) {
                    return Flow::Need(waiting);
                }
                self.build()
            }
        };
        match self.slots.get_mut(winner).map(|slot| (std::mem::replace(&mut slot.state, State::Empty), slot)) {
            None => Flow::End,
            Some((State::Row(row), _)) => Flow::Row(row),
            Some((State::Empty, _)) => Flow::Need(winner),
            Some((State::Closed, slot)) => {
                // The smallest is a closed input: all are closed.
                slot.state = State::Closed;
                Flow::End
            }
        }
    }

    /// Plays all matches.
    fn build(&mut self) -> usize {
        let inputs = self.slots.len();
        // The winner at each node; leaves win their own.
        let mut winners: Vec<usize> = (0..inputs).chain(0..inputs).collect();
        for node in (1..inputs).rev() {
            let (a, b) = (winners[2 * node], winners[2 * node + 1]);
            let (winner, loser) = if self.before(a, b) { (a, b) } else { (b, a) };
            winners[node] = winner;
            self.losers[node] = loser;
        }
        let winner = winners.get(1).copied().unwrap_or(0);
        self.winner = Some(winner);
        winner
    }

    /// Replays the matches of `input`, which was the winner, after its row was replaced.
    fn settle(&mut self, input: usize) {
        // Another input can only be closed early, by a caller that gives up; the tree is then built anew.
        match self.winner {
            Some(winner) if winner == input => {}
            _ => {
                self.winner = None;
                return;
            }
        }
        let mut winner = input;
        let mut node = (self.slots.len() + input) / 2;
        while node > 0 {
            if self.before(self.losers[node], winner) {
                std::mem::swap(&mut self.losers[node], &mut winner);
            }
            node /= 2;
        }
        self.winner = Some(winner);
    }

    /// Whether the row of input `a` comes before that of `b`; closed inputs come last.
    fn before(&self, a: usize, b: usize) -> bool {
        let (slot_a, slot_b) = (&self.slots[a], &self.slots[b]);
        match slot_a.lead.cmp(&slot_b.lead) {
            Ordering::Equal => self.before_among_equals(a, b),
            order => order.is_lt(),
        }
    }

    fn before_among_equals(&self, a: usize, b: usize) -> bool {
        let (slot_a, slot_b) = (&self.slots[a], &self.slots[b]);
        match (&slot_a.state, &slot_b.state) {
            (State::Row(row_a), State::Row(row_b)) => {
                match compare_fields(&self.keys, (&slot_a.fields, row_a), (&slot_b.fields, row_b)) {
                    Ordering::Equal => a < b,
                    order => order.is_lt(),
                }
            }
            (State::Row(_), _) => true,
            (_, State::Row(_)) => false,
            _ => a < b,
        }
    }
}

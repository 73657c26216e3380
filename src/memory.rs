//! PURE. `Memory`: what all statements of the router may hold together, beside what each may hold by itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::fault::{Blame, Fault, SqlState};

/// A statement takes memory in steps of so many bytes, so that a row costs no atomic.
pub const STEP: usize = 64 << 10;
/// What lasts is many small things of many sessions, and taken seldom: it is counted closer.
const FINE: usize = 1 << 10;
/// What each session may keep however much others do, as long as there is any memory.
const RESERVE: usize = 64 << 10;

/// See the module.
#[derive(Debug)]
pub struct Memory {
    /// `usize::MAX`: none.
    limit: AtomicUsize,
    used: AtomicUsize,
    /// What of it is held for longer than a statement takes.
    lasting: AtomicUsize,
}

impl Memory {
    /// `None`: no limit.
    pub fn new(limit: Option<usize>) -> Arc<Self> {
        Arc::new(Self {
            limit: AtomicUsize::new(limit.unwrap_or(usize::MAX)),
            used: AtomicUsize::new(0),
            lasting: AtomicUsize::new(0),
        })
    }

    /// What is held beyond another limit stays.
    pub fn set_limit(&self, limit: Option<usize>) {
        self.limit.store(limit.unwrap_or(usize::MAX), Ordering::Relaxed);
    }

    /// `None`: no limit.
    pub fn limit(&self) -> Option<usize> {
        Some(self.limit.load(Ordering::Relaxed)).filter(|limit| *limit < usize::MAX)
    }

    /// Bytes that are held now.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// For somebody who holds nothing yet.
    pub fn hold(self: &Arc<Self>) -> Hold {
        Hold { of: Arc::clone(self), needed: 0, taken: 0, lasts: false }
    }

    /// For what a session keeps between its statements. Beyond its first 64 KiB, all of that together is half of the memory at most, and one
    /// session may have as much of it as is left for others: however many take what they can, something is left for whoever comes next.
    /// The first 64 KiB of each count as what statements hold does.
    pub fn hold_lasting(self: &Arc<Self>) -> Hold {
        let mut hold = self.hold();
        hold.lasts = true;
        hold
    }

    /// `has`: what the session holds already.
    fn take_lasting(&self, bytes: usize, has: usize) -> Result<(), Fault> {
        let most = self.limit.load(Ordering::Relaxed) / 2;
        let share = |lasting: usize| {
            let (all, own) = (lasting.checked_add(bytes)?, has.checked_add(bytes)?);
            (own <= RESERVE || own <= most.checked_sub(all)?).then_some(all)
        };
        let taken = self.lasting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, share);
        taken.map(drop).map_err(|lasting| {
            Fault::new(SqlState::OUT_OF_MEMORY, "out of memory")
                .detail(format!(
                    "This session keeps {has} bytes and all sessions {lasting}; one may keep {RESERVE}, and beyond that as much as is left of half of memory_limit, {most} bytes."
                ))
                .hint("Close prepared statements that are no longer needed, or raise memory_limit.")
                .blame(Blame::Router)
        })
    }

    fn take(&self, bytes: usize) -> Result<(), Fault> {
        let limit = self.limit.load(Ordering::Relaxed);
        let more = |used: usize| used.checked_add(bytes).filter(|used| *used <= limit);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).map(drop).map_err(|used| {
            Fault::new(SqlState::OUT_OF_MEMORY, "out of memory")
                .detail(format!("all statements together hold {used} bytes, and memory_limit is {limit}"))
                .hint("Try again later, ask for fewer rows or groups at a time, or raise memory_limit.")
                .blame(Blame::Router)
        })
    }

    fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// What one holds. Dropped: it is given back.
#[derive(Debug)]
pub struct Hold {
    of: Arc<Memory>,
    needed: usize,
    /// In whole units, not less than `needed`.
    taken: usize,
    /// Between statements, too.
    lasts: bool,
}

impl Hold {
    /// Another one for somebody else, who holds nothing yet.
    pub fn another(&self) -> Self {
        self.of.hold()
    }

    /// # Errors
    /// `53200`: others hold too much. Nothing more is held then.
    pub fn grow(&mut self, bytes: usize) -> Result<(), Fault> {
        let needed = self.needed.saturating_add(bytes);
        if needed > self.taken {
            let unit = self.unit();
            let step = (needed - self.taken).div_ceil(unit).saturating_mul(unit);
            if self.lasts {
                self.of.take_lasting(step, self.taken)?;
            }
            if let Err(fault) = self.of.take(step) {
                self.forget_lasting(step);
                return Err(fault);
            }
            self.taken += step;
        }
        self.needed = needed;
        Ok(())
    }

    pub fn shrink(&mut self, bytes: usize) {
        self.needed = self.needed.saturating_sub(bytes);
        // One is kept, so that somebody who takes and gives around a unit does not ask each time.
        let (unit, spare) = (self.unit(), usize::from(self.needed > 0));
        let kept = self.needed.div_ceil(unit).saturating_add(spare).saturating_mul(unit);
        if self.taken > kept {
            self.of.give_back(self.taken - kept);
            self.forget_lasting(self.taken - kept);
            self.taken = kept;
        }
    }

    fn unit(&self) -> usize {
        if self.lasts { FINE } else { STEP }
    }

    fn forget_lasting(&self, bytes: usize) {
        if self.lasts {
            self.of.lasting.fetch_sub(bytes, Ordering::Relaxed);
        }
    }

    /// So much from now on.
    ///
    /// # Errors
    /// As [`Self::grow`].
    pub fn become_of(&mut self, bytes: usize) -> Result<(), Fault> {
        match bytes.checked_sub(self.needed) {
            Some(more) => self.grow(more),
            None => {
                self.shrink(self.needed - bytes);
                Ok(())
            }
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.of.give_back(self.taken);
        self.forget_lasting(self.taken);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn all_together_stay_below_the_limit_and_give_everything_back() {
        let memory = Memory::new(Some(4 * STEP));
        let (mut one, mut other) = (memory.hold(), memory.hold());
        one.grow(1).unwrap();
        one.grow(STEP - 1).unwrap();
        assert_eq!(memory.used(), STEP);
        other.grow(3 * STEP).unwrap();
        let fault = one.grow(1).unwrap_err();
        assert_eq!((fault.code, memory.used()), (SqlState::OUT_OF_MEMORY, 4 * STEP));
        assert!(fault.detail.as_deref().unwrap().contains("memory_limit is 262144"));
        // What could not be had is not held.
        other.shrink(3 * STEP - 1);
        assert_eq!(memory.used(), 3 * STEP);
        one.grow(STEP).unwrap();
        drop(one);
        assert_eq!(memory.used(), 2 * STEP);
        other.become_of(0).unwrap();
        assert_eq!(memory.used(), 0);
        other.become_of(1).unwrap();
        drop(other);
        assert_eq!(memory.used(), 0);
    }

    #[test]
    fn something_is_left_of_what_sessions_keep_however_many_take_what_they_can() {
        let memory = Memory::new(Some(64 * STEP));
        let mut greedy: Vec<Hold> = (0..5).map(|_| memory.hold_lasting()).collect();
        for one in &mut greedy {
            while one.grow(STEP).is_ok() {}
        }
        // One alone has half of what may be kept.
        assert_eq!(greedy[0].taken, 16 * STEP);
        let kept: usize = greedy.iter().map(|one| one.taken).sum();
        assert!(kept < 32 * STEP && memory.used() == kept, "{kept}");
        let mut modest = memory.hold_lasting();
        modest.grow(1).unwrap();
        // However many have taken what they can, each next one has its own beginning, and statements have what is left.
        let mut next: Vec<Hold> = (0..8).map(|_| memory.hold_lasting()).collect();
        assert!(next.iter_mut().all(|one| one.grow(RESERVE).is_ok()) && next[0].grow(8 * STEP).is_err());
        drop(next);
        memory.hold().grow(31 * STEP).unwrap();
        let fault = greedy[4].grow(8 * STEP).unwrap_err();
        assert!(fault.hint.as_deref().unwrap().contains("prepared statements"), "{fault:?}");
        drop((greedy, modest));
        assert_eq!((memory.used(), memory.lasting.load(Ordering::Relaxed)), (0, 0));
    }

    /// Thousands of clients of a pool that have prepared a statement or two each.
    #[test]
    fn many_small_sessions_take_what_they_need_and_no_more() {
        let memory = Memory::new(Some(16 << 20));
        let mut sessions: Vec<Hold> = (0..4_000).map(|_| memory.hold_lasting()).collect();
        for one in &mut sessions {
            one.become_of(700).unwrap();
            one.become_of(1_900).unwrap();
        }
        assert_eq!(memory.used(), 4_000 * 2 * FINE);
        // A large one among them has none of the half then, and one that comes next its own part.
        assert!(sessions[0].become_of(2 << 20).is_err());
        let mut next = memory.hold_lasting();
        next.become_of(RESERVE).unwrap();
        // All of it is memory that there is: nobody has more than that.
        let over = sessions.iter_mut().filter_map(|one| one.become_of(RESERVE).err()).count();
        assert!(over > 3_000 && memory.used() <= 16 << 20, "{over}");
        drop((sessions, next));
        assert_eq!((memory.used(), memory.lasting.load(Ordering::Relaxed)), (0, 0));
    }

    #[test]
    fn a_lower_limit_takes_nothing_away() {
        let memory = Memory::new(None);
        let mut hold = memory.hold();
        hold.grow(10 * STEP).unwrap();
        memory.set_limit(Some(STEP));
        assert!(hold.grow(STEP).is_err() && memory.used() == 10 * STEP);
        memory.set_limit(None);
        hold.grow(STEP).unwrap();
        assert_eq!(memory.limit(), None);
    }
}

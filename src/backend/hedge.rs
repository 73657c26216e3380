//! PURE. `Hedges`: when a read that a replica does not answer is sent to a second server too, and how many may be, so that servers which
//! are all slow are not asked for twice as much.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::config::HedgeAfter;

/// Reads whose times must be known before a percentile of them says something.
const KNOWN: u32 = 100;
/// When so many are known, each counts for half: what was long ago is forgotten.
const MOST: u32 = 4096;
/// Buckets of times, each twice as long as the one four before it, from 16 microseconds to 16 minutes.
const BUCKETS: usize = 104;
const LEAST: f64 = 16.0;
/// Hedged reads that may come at once, after a pause without any, in thousandths.
const BURST: u64 = 10_000;

/// When and how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HedgeSettings {
    pub after: HedgeAfter,
    /// Of a hundred reads.
    pub most_percent: u32,
}

/// What is known of the replicas of one shard.
#[derive(Debug)]
pub struct Hedges {
    state: Mutex<State>,
    sent: AtomicU64,
    won: AtomicU64,
}

#[derive(Debug)]
struct State {
    /// Reads that may be hedged, in thousandths.
    budget: u64,
    times: [u32; BUCKETS],
    known: u32,
}

impl Default for Hedges {
    fn default() -> Self {
        let state = State { budget: BURST, times: [0; BUCKETS], known: 0 };
        Self { state: Mutex::new(state), sent: AtomicU64::new(0), won: AtomicU64::new(0) }
    }
}

impl Hedges {
    /// A read goes to a replica: after how long it may be sent to a second server. `None`: it may not.
    pub fn begin(&self, settings: HedgeSettings) -> Option<Duration> {
        if settings.after == HedgeAfter::Off {
            return None;
        }
        let mut state = self.state();
        state.budget = (state.budget + 10 * u64::from(settings.most_percent)).min(BURST);
        match settings.after {
            HedgeAfter::Off => None,
            HedgeAfter::Time(after) => Some(after),
            HedgeAfter::Percentile(percent) => state.percentile(percent),
        }
    }

    /// Its time is over: whether it is one of those that may be hedged.
    pub fn take(&self) -> bool {
        let mut state = self.state();
        let left = state.budget.checked_sub(1000);
        state.budget = left.unwrap_or(state.budget);
        left.is_some()
    }

    /// It was sent to a second server, which was the first to answer or was not.
    pub fn note(&self, won: bool) {
        self.sent.fetch_add(1, Ordering::Relaxed);
        self.won.fetch_add(u64::from(won), Ordering::Relaxed);
    }

    /// A read has had its first word after so long.
    pub fn observe(&self, took: Duration) {
        let mut state = self.state();
        state.times[bucket(took)] += 1;
        state.known += 1;
        if state.known >= MOST {
            state.times.iter_mut().for_each(|count| *count /= 2);
            state.known = state.times.iter().sum();
        }
    }

    /// How many were sent twice, and of how many the second server was the first to answer.
    pub fn counts(&self) -> (u64, u64) {
        (self.sent.load(Ordering::Relaxed), self.won.load(Ordering::Relaxed))
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// No less than what so many of a hundred have taken.
    fn percentile(&self, percent: u8) -> Option<Duration> {
        if self.known < KNOWN {
            return None;
        }
        let enough = (u64::from(self.known) * u64::from(percent)).div_ceil(100);
        let mut sum = 0;
        let at = self.times.iter().position(|count| {
            sum += u64::from(*count);
            sum >= enough
        })?;
        Some(end_of(at))
    }
}

fn bucket(took: Duration) -> usize {
    let steps = (took.as_secs_f64() * 1e6 / LEAST).max(1.0).log2() * 4.0;
    (steps as usize).min(BUCKETS - 1)
}

/// The longest time of a bucket.
fn end_of(bucket: usize) -> Duration {
    Duration::from_secs_f64(LEAST * ((bucket + 1) as f64 / 4.0).exp2() / 1e6)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn settings(after: HedgeAfter) -> HedgeSettings {
        HedgeSettings { after, most_percent: 5 }
    }

    #[test]
    fn no_more_are_sent_twice_than_may_be() {
        let hedges = Hedges::default();
        let fixed = settings(HedgeAfter::Time(Duration::from_millis(3)));
        assert_eq!(hedges.begin(settings(HedgeAfter::Off)), None);
        // All of them are slow.
        let sent = (0..1000).filter(|_| hedges.begin(fixed) == Some(Duration::from_millis(3)) && hedges.take()).count();
        assert!((50..=60).contains(&sent), "{sent}");
        // A pause is worth a few at once.
        (0..1000).for_each(|_| assert!(hedges.begin(fixed).is_some()));
        assert_eq!((0..100).filter(|_| hedges.take()).count(), 10);
        hedges.note(true);
        hedges.note(false);
        assert_eq!(hedges.counts(), (2, 1));
    }

    #[test]
    fn a_percentile_is_that_of_the_reads_of_late() {
        let hedges = Hedges::default();
        let p95 = settings(HedgeAfter::Percentile(95));
        let millis = |n: u64| Duration::from_millis(n);
        for _ in 0..99 {
            hedges.observe(millis(1));
        }
        assert_eq!(hedges.begin(p95), None, "too few are known");
        for n in 0..900 {
            hedges.observe(millis(if n % 10 == 0 { 100 } else { 1 }));
        }
        let after = hedges.begin(p95).unwrap();
        assert!(after >= millis(100) && after < millis(120), "{after:?}");
        let median = hedges.begin(settings(HedgeAfter::Percentile(50))).unwrap();
        assert!(median >= millis(1) && median < Duration::from_micros(1200), "{median:?}");
        (0..20_000).for_each(|_| hedges.observe(millis(1)));
        assert_eq!(hedges.begin(p95).unwrap(), median);
        // Of any length.
        for took in [Duration::ZERO, Duration::from_secs(86_400)] {
            hedges.observe(took);
        }
        for at in 0..BUCKETS - 1 {
            assert_eq!(bucket(end_of(at) - Duration::from_nanos(900)), at);
        }
    }
}

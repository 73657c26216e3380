//! `Stats`: what one logical database has done for its clients. Sessions count for themselves, in a [`Tally`], and add it up here when
//! they rest, so that a statement touches nothing that others write.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What is counted, in the order in which PgBouncer shows it. Times are microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// Server connections lent to clients.
    Assignments,
    /// Transactions: blocks, and statements outside of one.
    Xacts,
    /// Query messages, and batches of the extended protocol.
    Queries,
    /// Bytes from clients.
    Received,
    /// Bytes to clients.
    Sent,
    /// From the first statement of a transaction to the answer of its last.
    XactTime,
    /// From a Query message, or the first message of a batch, to the end of its answer.
    QueryTime,
    /// Waiting for server connections, the time to make them included.
    WaitTime,
    /// Parse messages of clients.
    ClientParses,
    /// Statements prepared on server connections for them.
    ServerParses,
    /// Bind messages of clients.
    Binds,
    /// Clients that were let in.
    Logins,
}

impl Count {
    pub const ALL: [Self; 12] = [
        Self::Assignments,
        Self::Xacts,
        Self::Queries,
        Self::Received,
        Self::Sent,
        Self::XactTime,
        Self::QueryTime,
        Self::WaitTime,
        Self::ClientParses,
        Self::ServerParses,
        Self::Binds,
        Self::Logins,
    ];
}

/// One number for each [`Count`], in its order.
pub type Counts = [u64; Count::ALL.len()];

/// What a session has counted since it last added it up.
#[derive(Debug, Default)]
pub struct Tally(Counts);

impl Tally {
    pub fn add(&mut self, count: Count, n: u64) {
        self.0[count as usize] += n;
    }

    pub fn add_time(&mut self, count: Count, time: Duration) {
        self.add(count, u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    }
}

#[derive(Debug)]
pub struct Stats {
    counts: [AtomicU64; Count::ALL.len()],
    period: Mutex<Period>,
}

/// The period that averages are of.
#[derive(Debug)]
struct Period {
    begun: Instant,
    /// What had been counted then.
    then: Counts,
    /// Those of the last whole period.
    averages: Counts,
}

impl Default for Stats {
    fn default() -> Self {
        let period = Period { begun: Instant::now(), then: Counts::default(), averages: Counts::default() };
        Self { counts: Default::default(), period: Mutex::new(period) }
    }
}

impl Stats {
    /// Adds up what a session has counted, and empties it.
    pub fn fold(&self, tally: &mut Tally) {
        for (total, n) in self.counts.iter().zip(&mut tally.0) {
            if *n > 0 {
                total.fetch_add(std::mem::take(n), Ordering::Relaxed);
            }
        }
    }

    pub fn totals(&self) -> Counts {
        self.counts.each_ref().map(|count| count.load(Ordering::Relaxed))
    }

    /// The averages of the last whole period; zeros before the first has passed.
    pub fn averages(&self) -> Counts {
        self.period.lock().unwrap_or_else(PoisonError::into_inner).averages
    }

    /// Ends the period if it has lasted so long. Called now and then.
    pub fn tick(&self, now: Instant, length: Duration) {
        let mut period = self.period.lock().unwrap_or_else(PoisonError::into_inner);
        let lasted = now.saturating_duration_since(period.begun);
        if lasted < length {
            return;
        }
        let totals = self.totals();
        let averages = averages(&period.then, &totals, lasted);
        *period = Period { begun: now, then: totals, averages };
    }
}

/// As PgBouncer makes them: counts, bytes and waiting by the second, times of transactions and queries by each of them.
fn averages(then: &Counts, now: &Counts, lasted: Duration) -> Counts {
    let grown = |count: Count| now[count as usize].saturating_sub(then[count as usize]);
    let micros = lasted.as_micros().max(1);
    Count::ALL.map(|count| {
        let by = match count {
            Count::XactTime => return grown(count).checked_div(grown(Count::Xacts)).unwrap_or(0),
            Count::QueryTime => return grown(count).checked_div(grown(Count::Queries)).unwrap_or(0),
            Count::Assignments
            | Count::Xacts
            | Count::Queries
            | Count::Received
            | Count::Sent
            | Count::WaitTime
            | Count::ClientParses
            | Count::ServerParses
            | Count::Binds
            | Count::Logins => u128::from(grown(count)) * 1_000_000 / micros,
        };
        u64::try_from(by).unwrap_or(u64::MAX)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_is_its_place_and_is_added_up_once() {
        let (stats, mut tally) = (Stats::default(), Tally::default());
        for (at, count) in Count::ALL.into_iter().enumerate() {
            assert_eq!(count as usize, at);
            tally.add(count, at as u64 + 1);
        }
        stats.fold(&mut tally);
        stats.fold(&mut tally);
        assert_eq!(stats.totals(), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
    }

    #[test]
    fn averages_are_those_of_the_last_whole_period() {
        let (stats, mut tally) = (Stats::default(), Tally::default());
        let start = Instant::now();
        let second = Duration::from_secs(1);
        tally.add(Count::Queries, 60);
        tally.add_time(Count::QueryTime, Duration::from_millis(120));
        tally.add(Count::Xacts, 20);
        tally.add_time(Count::XactTime, Duration::from_millis(100));
        tally.add_time(Count::WaitTime, Duration::from_millis(30));
        stats.fold(&mut tally);
        stats.tick(start + 5 * second, 60 * second);
        assert_eq!(stats.averages(), Counts::default());
        stats.tick(start + 61 * second, 60 * second);
        let of = |count: Count| stats.averages()[count as usize];
        // 60 in 61 seconds or a little less: the clock of the test began a moment before.
        assert!((0..=1).contains(&of(Count::Queries)));
        assert_eq!((of(Count::QueryTime), of(Count::XactTime)), (2_000, 5_000));
        assert!((480..=500).contains(&of(Count::WaitTime)), "{}", of(Count::WaitTime));
        stats.tick(start + 122 * second, 60 * second);
        assert_eq!(stats.averages(), Counts::default());
    }
}

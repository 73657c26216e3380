//! Statements that the log tells of: slow ones, refused ones, and those over several shards, with their text and their times.
//!
//! Where no such log is wanted a statement pays one look at a flag. The text is kept as what it came in, not copied.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::config::LogStatements;
use crate::config::limits::Limit;
use crate::fault::SqlState;
use crate::ids::ShardId;
use crate::metrics::Route;
use crate::session::Session;
use crate::session::simple::utf8;
use crate::sql::normal::{Values, shown};

/// The text of a statement, as it is at hand.
#[derive(Debug)]
pub(super) enum Said {
    /// A part of the body of a Query message.
    Message(Bytes, std::ops::Range<usize>),
    Prepared(Arc<str>),
}

impl Said {
    pub fn text(&self) -> &str {
        match self {
            Self::Message(message, text) => message.get(text.clone()).and_then(|text| utf8(text).ok()).unwrap_or(""),
            Self::Prepared(text) => text,
        }
    }
}

/// What is known of a statement when it is over.
pub(super) struct Over {
    pub said: Said,
    pub route: Option<(Route, usize)>,
    pub shard: Option<ShardId>,
    pub refused: Option<SqlState>,
    pub total: Duration,
    pub waited: Duration,
    pub served: Duration,
    pub rows: u64,
    pub failed: Option<SqlState>,
}

/// Why a statement is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    Refused,
    Slow,
    Scattered,
}

impl Reason {
    /// The first that holds.
    fn of(over: &Over, rules: &LogStatements, slow: Option<Duration>) -> Option<Self> {
        let scattered = rules.scattered && over.route.is_some_and(|(_, shards)| shards > 1);
        match () {
            () if rules.refused && over.refused.is_some() => Some(Self::Refused),
            () if slow.is_some_and(|slow| over.total >= slow) => Some(Self::Slow),
            () if scattered => Some(Self::Scattered),
            () => None,
        }
    }

    fn label(self) -> &'static str {
        match self {
            Self::Refused => "refused statement",
            Self::Slow => "slow statement",
            Self::Scattered => "scattered statement",
        }
    }
}

/// Keeps the log from being flooded: one for the whole router.
#[derive(Debug, Default)]
pub struct StatementLog {
    /// The second that is counted, since the start, and how many were logged in it.
    second: AtomicU64,
    logged: AtomicU32,
    /// Statements that were not logged since the last one that was.
    suppressed: AtomicU64,
    seed: AtomicU32,
}

impl StatementLog {
    /// Whether one more is logged now, `now` being the time since the start; then how many were not before it.
    fn admit(&self, rules: &LogStatements, now: Duration) -> Option<u64> {
        if self.is_in_share(rules.share) && self.is_in_time(rules.per_second, now.as_secs()) {
            return Some(self.suppressed.swap(0, Ordering::Relaxed));
        }
        self.suppressed.fetch_add(1, Ordering::Relaxed);
        None
    }

    fn is_in_share(&self, share: u32) -> bool {
        if share >= 100 {
            return true;
        }
        // A number that is not like its neighbours (Knuth's multiplicative hash), so that nothing regular is always hit.
        let drawn = self.seed.fetch_add(1, Ordering::Relaxed).wrapping_mul(2_654_435_769) >> 16;
        drawn % 100 < share
    }

    /// Two who are the first of a second may both count anew: a few more are logged then.
    fn is_in_time(&self, per_second: u32, second: u64) -> bool {
        if self.second.swap(second, Ordering::Relaxed) != second {
            self.logged.store(0, Ordering::Relaxed);
        }
        per_second == 0 || self.logged.fetch_add(1, Ordering::Relaxed) < per_second
    }
}

impl Session {
    /// Whether statements of this session may be logged, or traced.
    pub(super) fn logs_statements(&self) -> bool {
        let rules = &self.limits.log;
        let logs = rules.refused || rules.scattered || self.times.get(Limit::LogSlow).is_some();
        logs || self.shared.tracer.is_on()
    }

    /// A statement of a Query message begins: `text` is a part of its body.
    pub(super) fn say_message(&mut self, message: &Bytes, text: std::ops::Range<usize>) {
        if self.logs_statements() {
            self.say(Said::Message(message.clone(), text));
        }
    }

    /// The same of a statement that was prepared.
    pub(super) fn say_prepared(&mut self, text: &Arc<str>) {
        // A portal that was bound just now.
        let is_known = matches!(&self.clock.said, Some(Said::Prepared(known)) if Arc::ptr_eq(known, text));
        if self.logs_statements() && !(is_known && self.clock.routed.is_none()) {
            self.say(Said::Prepared(Arc::clone(text)));
        }
    }

    fn say(&mut self, said: Said) {
        if self.clock.routed.is_some() {
            self.stop_clock(Instant::now());
        }
        self.clock.trace = self.begin_trace(said.text());
        self.clock.said = Some(said);
    }

    /// A statement is over.
    pub(super) fn log_statement(&self, over: &Over) {
        let rules = &self.limits.log;
        let Some(reason) = Reason::of(over, rules, self.times.get(Limit::LogSlow)) else { return };
        let since = Duration::from_micros(self.shared.cancels.moment(Instant::now()));
        let Some(suppressed) = self.shared.statement_log.admit(rules, since) else { return };
        let values = if rules.literals { Values::Shown } else { Values::Hidden };
        let statement = shown(over.said.text(), self.scope.standard_strings(), values);
        let (route, shards) = over.route.map_or(("none", 0), |(route, shards)| (route.label(), shards));
        let shard = over.shard.map(|shard| self.shard_names(&[shard]));
        let millis = |time: Duration| time.as_micros() as f64 / 1000.0;
        tracing::info!(
            target: "pgloom::statements",
            client = self.pid,
            user = %self.user,
            database = %self.database.name,
            route,
            shards,
            shard,
            sqlstate = over.refused.as_ref().map(SqlState::as_str),
            total_ms = millis(over.total),
            wait_ms = millis(over.waited),
            server_ms = millis(over.served),
            rows = over.rows,
            suppressed,
            statement,
            "{}",
            reason.label()
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn over(total: u64, shards: usize, refused: bool) -> Over {
        Over {
            said: Said::Prepared("SELECT 1".into()),
            route: Some((Route::Scatter, shards)),
            shard: None,
            refused: refused.then_some(SqlState::FEATURE_NOT_SUPPORTED),
            total: Duration::from_millis(total),
            waited: Duration::ZERO,
            served: Duration::ZERO,
            rows: 0,
            failed: None,
        }
    }

    #[test]
    fn what_is_logged_is_what_was_asked_for() {
        let all = LogStatements { refused: true, scattered: true, ..LogStatements::default() };
        let slow = Some(Duration::from_millis(50));
        assert_eq!(Reason::of(&over(80, 4, true), &all, slow), Some(Reason::Refused));
        assert_eq!(Reason::of(&over(80, 4, false), &all, slow), Some(Reason::Slow));
        assert_eq!(Reason::of(&over(50, 1, false), &all, slow), Some(Reason::Slow));
        assert_eq!(Reason::of(&over(20, 4, false), &all, slow), Some(Reason::Scattered));
        assert_eq!(Reason::of(&over(20, 1, false), &all, slow), None);
        assert_eq!(Reason::of(&over(80, 4, true), &LogStatements::default(), None), None);
    }

    #[test]
    fn so_many_in_a_second_and_the_others_are_counted() {
        let log = StatementLog::default();
        let rules = LogStatements { share: 100, per_second: 2, ..LogStatements::default() };
        let at = |millis: u64| log.admit(&rules, Duration::from_millis(millis));
        assert_eq!([at(7_100), at(7_200), at(7_300), at(7_999)], [Some(0), Some(0), None, None]);
        assert_eq!(at(8_000), Some(2));
        let rules = LogStatements { share: 25, per_second: 0, ..LogStatements::default() };
        let logged = (0..10_000).filter(|_| log.admit(&rules, Duration::ZERO).is_some()).count();
        assert!((2_200..2_800).contains(&logged), "{logged}");
    }
}

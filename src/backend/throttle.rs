//! PURE. `Throttle`: how many statements a second there are for one value of the sharding key, so that one tenant leaves the others room.
//!
//! Each key has a bucket of one second's statements (as GCRA: one moment for each key, at which its bucket is full again). A key whose
//! moment has passed is as one that never came, so forgetting it changes nothing; and so many keys at one time that they do not fit are
//! too many for one of them to matter.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Keys that are known at one time; each takes about 32 bytes.
const MOST_KEYS: usize = 65_536;
/// Between two looks for keys that can be forgotten, in nanoseconds: each look is at all of them.
const SWEEP: u64 = 100_000_000;
const SECOND: u64 = 1_000_000_000;

/// What one key may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyLimit {
    /// Statements a second, and at once after a pause.
    pub rate: NonZeroU32,
    /// A statement that comes too early waits no longer than this.
    pub wait: Duration,
}

/// When a statement may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    Now,
    After(Duration),
    /// It would have to wait too long, and counts for nothing.
    TooMany,
}

#[derive(Debug)]
pub struct Throttle {
    made: Instant,
    keys: Mutex<Keys>,
}

/// Moments are nanoseconds since the throttle was made.
#[derive(Debug, Default)]
struct Keys {
    full_at: HashMap<u64, u64>,
    swept: u64,
}

impl Default for Throttle {
    fn default() -> Self {
        Self { made: Instant::now(), keys: Mutex::default() }
    }
}

impl Throttle {
    /// A statement of this key comes at this moment.
    pub fn ask(&self, key: u64, limit: KeyLimit, now: Instant) -> Pace {
        let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let now = nanos(now.saturating_duration_since(self.made));
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let known = keys.full_at.get(&key).copied();
        if known.is_none() && !keys.has_room(now) {
            return Pace::Now;
        }
        let step = (SECOND / u64::from(limit.rate.get())).max(1);
        let full_at = known.unwrap_or(0).max(now).saturating_add(step);
        // Empty: it is full again after a second and more.
        let early = full_at.saturating_sub(now).saturating_sub(SECOND.max(step));
        if early > nanos(limit.wait) {
            return Pace::TooMany;
        }
        keys.full_at.insert(key, full_at);
        if early == 0 { Pace::Now } else { Pace::After(Duration::from_nanos(early)) }
    }

    /// Keys that are known.
    pub fn keys(&self) -> usize {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner).full_at.len()
    }
}

impl Keys {
    fn has_room(&mut self, now: u64) -> bool {
        if self.full_at.len() >= MOST_KEYS && now.saturating_sub(self.swept) >= SWEEP {
            self.swept = now;
            self.full_at.retain(|_, full_at| *full_at > now);
        }
        self.full_at.len() < MOST_KEYS
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn limit(rate: u32, wait: u64) -> KeyLimit {
        KeyLimit { rate: NonZeroU32::new(rate).unwrap(), wait: Duration::from_millis(wait) }
    }

    #[test]
    fn a_key_has_its_seconds_worth_at_once_and_its_rate_from_then_on() {
        let throttle = Throttle::default();
        let start = throttle.made;
        let at = |millis: u64| start + Duration::from_millis(millis);
        for _ in 0..10 {
            assert_eq!(throttle.ask(7, limit(10, 0), at(0)), Pace::Now);
        }
        assert_eq!(throttle.ask(7, limit(10, 0), at(0)), Pace::TooMany);
        // Another key is not touched; what was refused counts for nothing.
        assert_eq!(throttle.ask(8, limit(10, 0), at(0)), Pace::Now);
        assert_eq!(throttle.ask(7, limit(10, 0), at(99)), Pace::TooMany);
        assert_eq!(throttle.ask(7, limit(10, 0), at(100)), Pace::Now);
        assert_eq!(throttle.ask(7, limit(10, 250), at(100)), Pace::After(Duration::from_millis(100)));
        assert_eq!(throttle.ask(7, limit(10, 250), at(100)), Pace::After(Duration::from_millis(200)));
        assert_eq!(throttle.ask(7, limit(10, 250), at(100)), Pace::TooMany);
        // Over ten seconds of asking without a pause the rate is kept.
        let ran = (0..10_000).filter(|millis| throttle.ask(9, limit(10, 0), at(*millis)) == Pace::Now).count();
        assert!((109..=110).contains(&ran), "{ran}");
        assert_eq!(throttle.ask(11, limit(1, 0), at(0)), Pace::Now);
        assert_eq!(throttle.ask(11, limit(1, 0), at(999)), Pace::TooMany);
        assert_eq!(throttle.ask(11, limit(1, 0), at(1000)), Pace::Now);
    }

    #[test]
    fn keys_that_rest_are_forgotten_and_more_than_there_is_room_for_are_let_through() {
        let throttle = Throttle::default();
        let at = |millis: u64| throttle.made + Duration::from_millis(1000 + millis);
        for key in 0..MOST_KEYS as u64 {
            assert_eq!(throttle.ask(key, limit(1, 0), at(0)), Pace::Now);
        }
        for _ in 0..3 {
            assert_eq!(throttle.ask(u64::MAX, limit(1, 0), at(500)), Pace::Now);
        }
        assert_eq!((throttle.ask(5, limit(1, 0), at(500)), throttle.keys()), (Pace::TooMany, MOST_KEYS));
        assert_eq!(throttle.ask(u64::MAX, limit(1, 0), at(1001)), Pace::Now);
        assert_eq!(throttle.ask(u64::MAX, limit(1, 0), at(1001)), Pace::TooMany);
        assert_eq!(throttle.keys(), 1);
    }
}

//! PURE. `Pace`: how fast the line at a pool gets ahead, so that who would wait in vain is told at once.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Turns that are remembered.
const MOST: usize = 32;
/// Fewer say nothing.
const LEAST: usize = 8;

/// When the last connections came back for which somebody waited.
#[derive(Debug, Default)]
pub struct Pace(VecDeque<Instant>);

impl Pace {
    /// A connection has come back, and somebody waits for it.
    pub fn turn(&mut self, now: Instant) {
        if self.0.len() == MOST {
            self.0.pop_front();
        }
        self.0.push_back(now);
    }

    /// Nobody waits any more.
    pub fn rest(&mut self) {
        self.0.clear();
    }

    /// How long somebody waits who comes now, behind so many others, where that is longer than so; as [`Self::wait`] says it. Where the last few
    /// alone show that it is not, which is nearly always, that costs two of its numbers and no clock.
    pub fn longer_than(&self, useful: Duration, before: usize, now: impl FnOnce() -> Instant) -> Option<Duration> {
        if turns(self.lately()? / (LEAST as u32 - 1), before) <= useful {
            return None;
        }
        self.wait(before, now()).filter(|wait| *wait > useful)
    }

    /// How long the last few turns took; `None`: too little is known.
    fn lately(&self) -> Option<Duration> {
        let first = *self.0.get(self.0.len().checked_sub(LEAST)?)?;
        Some(self.0.back()?.saturating_duration_since(first))
    }

    /// How long somebody waits who comes now, behind so many others; `None`: too little is known. What one long transaction has held up
    /// does not count: the longest of the gaps is left out. It is no median, since connections that come back together have hardly any gap
    /// but one. Where the line has become faster, the last few are believed.
    pub fn wait(&self, before: usize, now: Instant) -> Option<Duration> {
        let last = *self.0.back()?;
        let lately = self.lately()?;
        let gaps = self.0.iter().zip(self.0.iter().skip(1)).map(|(one, next)| next.saturating_duration_since(*one));
        let (all, longest) =
            gaps.fold((Duration::ZERO, Duration::ZERO), |(all, longest), gap| (all + gap, longest.max(gap)));
        let others = u32::try_from(self.0.len().saturating_sub(2)).ok().filter(|others| *others > 0)?;
        let turn = ((all - longest) / others).min(lately / (LEAST as u32 - 1));
        Some(turns(turn, before).saturating_sub(now.saturating_duration_since(last).min(turn)))
    }
}

/// How long so many take their turns, and one more.
fn turns(turn: Duration, before: usize) -> Duration {
    turn.saturating_mul(u32::try_from(before).unwrap_or(u32::MAX).saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEN: Duration = Duration::from_millis(10);

    fn after(start: Instant, turns: impl IntoIterator<Item = u32>) -> (Pace, Instant) {
        let (mut pace, mut now) = (Pace::default(), start);
        for millis in turns {
            now += Duration::from_millis(millis.into());
            pace.turn(now);
        }
        (pace, now)
    }

    #[test]
    fn a_steady_line_is_foretold() {
        let (pace, now) = after(Instant::now(), [10; 50]);
        assert_eq!(pace.wait(0, now), Some(TEN));
        assert_eq!(pace.wait(9, now), Some(10 * TEN));
        // The next turn is due: not later than at once, however late it is.
        assert_eq!(pace.wait(9, now + TEN / 2), Some(9 * TEN + TEN / 2));
        assert_eq!(pace.wait(9, now + 70 * TEN), Some(9 * TEN));
    }

    #[test]
    fn little_that_is_known_and_a_line_that_has_ended_say_nothing() {
        let (mut pace, now) = after(Instant::now(), [10; LEAST - 1]);
        assert_eq!(pace.wait(1000, now), None);
        pace.turn(now);
        assert!(pace.wait(1000, now).is_some());
        pace.rest();
        assert_eq!(pace.wait(1000, now), None);
    }

    #[test]
    fn one_that_held_all_up_does_not_count_not_even_at_once() {
        for known in [LEAST - 1, 12, 30] {
            let (mut pace, mut now) = after(Instant::now(), std::iter::repeat_n(10, known));
            now += Duration::from_secs(60);
            for _ in 0..10 {
                pace.turn(now);
                assert!(pace.wait(0, now) <= Some(TEN) && pace.wait(0, now) > Some(TEN / 2), "{:?}", pace.wait(0, now));
                now += TEN;
            }
        }
        // Some connections that come back together.
        for together in [2, 5] {
            let burst = std::iter::once(10 * together).chain(std::iter::repeat_n(0, together as usize - 1));
            let (pace, now) = after(Instant::now(), burst.cycle().take(40));
            assert!((TEN / 3..=2 * TEN).contains(&pace.wait(0, now).unwrap_or_default()), "{:?}", pace.wait(0, now));
        }
    }

    #[test]
    fn only_a_wait_that_may_be_too_long_is_worked_out() {
        let (pace, now) = after(Instant::now(), [10; 40]);
        let longer = |useful: u32, before: usize| pace.longer_than(useful * TEN, before, || now);
        assert_eq!((longer(10, 9), longer(9, 9), longer(9, 8)), (None, Some(10 * TEN), None));
        assert_eq!(pace.longer_than(10 * TEN, 9, || panic!("it reads the clock")), None);
        // The last few were slow, all of them were not.
        let (pace, now) = after(Instant::now(), [1; 25].into_iter().chain([20; LEAST - 1]));
        assert_eq!(pace.longer_than(10 * TEN, 9, || now), None);
        assert!(pace.wait(9, now) > Some(TEN), "{:?}", pace.wait(9, now));
        let (pace, now) = after(Instant::now(), [10; LEAST - 1]);
        assert_eq!(pace.longer_than(Duration::ZERO, 9, || now), None);
    }

    #[test]
    fn a_pace_that_changes_is_followed() {
        let (pace, now) = after(Instant::now(), [100; 40].into_iter().chain([1; 8]));
        assert!(pace.wait(99, now) < Some(Duration::from_millis(200)), "{:?}", pace.wait(99, now));
    }
}

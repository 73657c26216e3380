//! PURE. `Retries`: how often something is tried again that has had no effect, and how long to wait before.

use std::time::{Duration, Instant};

const FIRST: Duration = Duration::from_millis(10);
const LONGEST: Duration = Duration::from_millis(500);

/// Attempts until a deadline, each pause twice as long as the one before.
#[derive(Clone, Copy, Debug)]
pub struct Retries {
    deadline: Instant,
    pause: Duration,
}

impl Retries {
    pub fn new(now: Instant, limit: Duration) -> Self {
        Self { deadline: now + limit, pause: FIRST }
    }

    /// How long to wait before the next attempt; `None`: it is too late for another one. `chance`, from 0 to 1, keeps those apart who
    /// failed together.
    pub fn next(&mut self, now: Instant, chance: f64) -> Option<Duration> {
        let left = self.deadline.checked_duration_since(now).filter(|left| !left.is_zero())?;
        let pause = self.pause.mul_f64(0.5 + chance / 2.0).min(left);
        self.pause = (self.pause * 2).min(LONGEST);
        Some(pause)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn pauses_grow_and_end() {
        let start = Instant::now();
        let mut retries = Retries::new(start, Duration::from_secs(3));
        let (mut now, mut pauses) = (start, Vec::new());
        while let Some(pause) = retries.next(now, 1.0) {
            now += pause;
            pauses.push(pause);
        }
        assert_eq!(now, start + Duration::from_secs(3));
        assert_eq!(pauses[..4], [10, 20, 40, 80].map(Duration::from_millis));
        assert!(pauses.iter().all(|pause| *pause <= LONGEST) && pauses.len() < 20);
        assert_eq!(Retries::new(start, Duration::from_secs(1)).next(start, 0.0), Some(FIRST / 2));
        assert_eq!(Retries::new(start, Duration::ZERO).next(start, 0.0), None);
    }
}

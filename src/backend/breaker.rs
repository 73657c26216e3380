//! PURE. `Breaker`: whether a server is to be tried. Closed until it fails too often; open for a while, in which nobody waits for it; then one
//! tries it for all.

use std::time::{Duration, Instant};

/// When a breaker opens, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerLimits {
    /// Failures in a row that open it. 0: it never opens.
    pub failures: u32,
    /// Failures in a hundred uses, within a window of at least [`Self::LEAST_USES`], that open it. 0: they are not counted.
    pub error_percent: u32,
    /// How long uses are counted, from the first failure on.
    pub window: Duration,
    /// How long it is open at first. Each probe that fails doubles that.
    pub open: Duration,
    /// How long it is open at most.
    pub longest: Duration,
}

impl BreakerLimits {
    /// Fewer uses say nothing of a rate.
    pub const LEAST_USES: u32 = 20;
}

impl Default for BreakerLimits {
    fn default() -> Self {
        Self {
            failures: 5,
            error_percent: 50,
            window: Duration::from_secs(10),
            open: Duration::from_secs(1),
            longest: Duration::from_secs(10),
        }
    }
}

/// The clock is the caller's, and so is chance.
#[derive(Clone, Debug)]
pub struct Breaker {
    limits: BreakerLimits,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed {
        /// Failures in a row.
        row: u32,
        counted: Option<Counted>,
    },
    Open {
        until: Instant,
        /// Probes that failed.
        failed: u32,
    },
    Probing {
        failed: u32,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Counted {
    since: Instant,
    uses: u32,
    failures: u32,
}

/// Whether somebody may try the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    Go,
    /// For all: the breaker must be told how it ended, or that it was [given up](Breaker::give_up).
    Probe,
    /// Not before this much time; zero while a probe is under way.
    Wait(Duration),
}

/// What others see of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BreakerState {
    #[default]
    Closed,
    Open,
    Probing,
}

impl BreakerState {
    pub fn label(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::Probing => "probing",
        }
    }
}

impl Breaker {
    pub fn new(limits: BreakerLimits) -> Self {
        Self { limits, state: State::Closed { row: 0, counted: None } }
    }

    /// Other limits from now on; what was counted stays.
    pub fn set_limits(&mut self, limits: BreakerLimits) {
        self.limits = limits;
    }

    pub fn state(&self) -> BreakerState {
        match self.state {
            State::Closed { .. } => BreakerState::Closed,
            State::Open { .. } => BreakerState::Open,
            State::Probing { .. } => BreakerState::Probing,
        }
    }

    /// Failures in a row while it is closed, probes that failed since it opened.
    pub fn failures(&self) -> u32 {
        match self.state {
            State::Closed { row, .. } => row,
            State::Open { failed, .. } | State::Probing { failed } => failed,
        }
    }

    /// Whether it would say [`Admission::Wait`], and how long.
    pub fn wait(&self, now: Instant) -> Option<Duration> {
        match self.state {
            State::Closed { .. } => None,
            State::Open { until, .. } => Some(until.saturating_duration_since(now)).filter(|wait| !wait.is_zero()),
            State::Probing { .. } => Some(Duration::ZERO),
        }
    }

    /// Asks for the right to try the server.
    pub fn admit(&mut self, now: Instant) -> Admission {
        match self.state {
            State::Closed { .. } => Admission::Go,
            State::Open { until, failed } if until <= now => {
                self.state = State::Probing { failed };
                Admission::Probe
            }
            State::Open { until, .. } => Admission::Wait(until.duration_since(now)),
            State::Probing { .. } => Admission::Wait(Duration::ZERO),
        }
    }

    /// The server has answered, whoever asked it. Returns whether there is nothing to remember any more.
    pub fn succeeded(&mut self, now: Instant) -> bool {
        let State::Closed { counted, .. } = self.state else {
            self.state = State::Closed { row: 0, counted: None };
            return true;
        };
        let counted = counted
            .filter(|counted| self.is_recent(counted, now))
            .map(|counted| Counted { uses: counted.uses.saturating_add(1), ..counted });
        self.state = State::Closed { row: 0, counted };
        counted.is_none()
    }

    /// It has not, and that is its own fault. `chance`: from 0 to 1. Returns whether the breaker has opened by it.
    pub fn failed(&mut self, now: Instant, chance: f64) -> bool {
        let (failed, was_open) = match self.state {
            State::Closed { row, counted } => {
                let counted = counted.filter(|counted| self.is_recent(counted, now));
                let mut counted = counted.unwrap_or(Counted { since: now, uses: 0, failures: 0 });
                counted.uses = counted.uses.saturating_add(1);
                counted.failures = counted.failures.saturating_add(1);
                let row = row.saturating_add(1);
                if !self.is_too_much(row, &counted) {
                    self.state = State::Closed { row, counted: Some(counted) };
                    return false;
                }
                (0, false)
            }
            // Somebody who had tried it before: that says nothing new.
            State::Open { .. } => return false,
            State::Probing { failed } => (failed.saturating_add(1), true),
        };
        self.state = State::Open { until: now + self.pause(failed, chance), failed };
        !was_open
    }

    /// A probe ended without an answer, and not by the server's fault: the next one may try.
    pub fn give_up(&mut self, now: Instant) {
        if let State::Probing { failed } = self.state {
            self.state = State::Open { until: now, failed };
        }
    }

    fn is_recent(&self, counted: &Counted, now: Instant) -> bool {
        now.saturating_duration_since(counted.since) < self.limits.window
    }

    fn is_too_much(&self, row: u32, counted: &Counted) -> bool {
        let BreakerLimits { failures, error_percent, .. } = self.limits;
        let rate = u64::from(counted.failures) * 100 >= u64::from(error_percent) * u64::from(counted.uses);
        let rated = error_percent > 0 && counted.uses >= BreakerLimits::LEAST_USES;
        failures > 0 && (row >= failures || (rated && rate))
    }

    /// Between half and all of what doubles with each failed probe, so that many routers do not come back at once.
    fn pause(&self, failed: u32, chance: f64) -> Duration {
        let doubled = self.limits.open.saturating_mul(1_u32.checked_shl(failed.min(31)).unwrap_or(u32::MAX));
        doubled.min(self.limits.longest.max(self.limits.open)).mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: BreakerLimits = BreakerLimits {
        failures: 3,
        error_percent: 50,
        window: Duration::from_secs(10),
        open: Duration::from_secs(1),
        longest: Duration::from_secs(8),
    };

    fn after(start: Instant, millis: u64) -> Instant {
        start + Duration::from_millis(millis)
    }

    #[test]
    fn failures_in_a_row_open_it_and_one_probe_closes_it() {
        let start = Instant::now();
        let mut breaker = Breaker::new(LIMITS);
        assert!(!breaker.failed(start, 0.0) && !breaker.failed(start, 0.0));
        assert!(!breaker.succeeded(start));
        assert!(!breaker.failed(start, 0.0) && !breaker.failed(start, 0.0));
        assert!(breaker.failed(start, 1.0));
        assert_eq!(breaker.admit(after(start, 400)), Admission::Wait(Duration::from_millis(600)));
        assert_eq!(breaker.admit(after(start, 1000)), Admission::Probe);
        assert_eq!(breaker.admit(after(start, 1000)), Admission::Wait(Duration::ZERO));
        assert!(breaker.succeeded(after(start, 1001)));
        assert_eq!((breaker.admit(after(start, 1001)), breaker.failures()), (Admission::Go, 0));
    }

    #[test]
    fn probes_that_fail_come_ever_later_up_to_a_limit() {
        let mut now = Instant::now();
        let mut breaker = Breaker::new(LIMITS);
        (0..3).for_each(|_| {
            let _ = breaker.failed(now, 1.0);
        });
        for seconds in [1, 2, 4, 8, 8, 8] {
            let pause = Duration::from_secs(seconds);
            assert_eq!(breaker.wait(now), Some(pause));
            now += pause;
            assert_eq!(breaker.admit(now), Admission::Probe);
            assert!(!breaker.failed(now, 1.0));
        }
        // One that was given up does not count.
        now += Duration::from_secs(8);
        assert_eq!(breaker.admit(now), Admission::Probe);
        breaker.give_up(now);
        assert_eq!(breaker.admit(now), Admission::Probe);
    }

    #[test]
    fn a_rate_opens_it_where_successes_come_between() {
        let start = Instant::now();
        let mut breaker = Breaker::new(LIMITS);
        let mut opened = false;
        for i in 0..20 {
            match i % 2 {
                0 => {
                    breaker.succeeded(start);
                }
                _ => opened |= breaker.failed(start, 0.0),
            }
        }
        // The first use was before any failure: 10 of 19 since then, which are too few uses.
        assert!(!opened && breaker.failed(start, 0.0));
        // The same, more slowly than the window is long.
        let mut slow = Breaker::new(LIMITS);
        for i in 0..100 {
            let now = after(start, i * 1000);
            assert!(!slow.failed(now, 0.0));
            slow.succeeded(now);
        }
    }

    #[test]
    fn none_opens_without_limits() {
        let mut breaker = Breaker::new(BreakerLimits { failures: 0, ..LIMITS });
        let now = Instant::now();
        assert!((0..1000).all(|_| !breaker.failed(now, 0.0)) && breaker.admit(now) == Admission::Go);
    }

    #[derive(Clone, Copy, Debug)]
    enum Event {
        Ask,
        Succeed,
        Fail(u8),
        GiveUp,
        Pass(u16),
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            3 => Just(Event::Ask),
            2 => Just(Event::Succeed),
            4 => any::<u8>().prop_map(Event::Fail),
            1 => Just(Event::GiveUp),
            2 => (0..3000_u16).prop_map(Event::Pass),
        ]
    }

    proptest! {
        /// While it is closed it opens at the failure that is the last of so many in a row, or the one by which so many in a hundred
        /// uses of the window were failures, and at no other: told from the whole list of what has happened.
        #[test]
        fn it_opens_when_it_should_and_only_then(
            events in prop::collection::vec((any::<bool>(), 0..800_u64), 0..300),
            failures in 3..30_u32,
            error_percent in 0..=100_u32,
        ) {
            let limits = BreakerLimits { failures, error_percent, ..LIMITS };
            let start = Instant::now();
            let (mut breaker, mut now) = (Breaker::new(limits), start);
            // Uses since the first failure of the window that is counted.
            let mut window: Option<(Instant, Vec<bool>)> = None;
            let mut row = 0;
            for (is_failure, pause) in events {
                now += Duration::from_millis(pause);
                window = window.filter(|(since, _)| now.duration_since(*since) < limits.window);
                if !is_failure {
                    breaker.succeeded(now);
                    row = 0;
                    if let Some((_, uses)) = &mut window {
                        uses.push(false);
                    }
                    continue;
                }
                row += 1;
                let (_, uses) = window.get_or_insert_with(|| (now, Vec::new()));
                uses.push(true);
                let failed = uses.iter().filter(|failed| **failed).count();
                let rated = error_percent > 0
                    && uses.len() >= BreakerLimits::LEAST_USES as usize
                    && failed * 100 >= error_percent as usize * uses.len();
                prop_assert_eq!(breaker.failed(now, 0.5), row >= failures || rated, "{:?}", uses);
                if row >= failures || rated {
                    break;
                }
            }
        }

        /// It opens only at a failure; it is never open longer than its limit; there is one probe at a time; a success always closes it.
        #[test]
        fn it_keeps_its_promises(events in prop::collection::vec(event(), 0..200)) {
            let mut now = Instant::now();
            let mut breaker = Breaker::new(LIMITS);
            let mut probing = false;
            let mut row = 0_u32;
            for event in events {
                let before = breaker.state();
                match event {
                    Event::Ask => match breaker.admit(now) {
                        Admission::Go => prop_assert_eq!(before, BreakerState::Closed),
                        Admission::Probe => {
                            prop_assert!(!probing && before == BreakerState::Open);
                            probing = true;
                        }
                        Admission::Wait(left) => {
                            prop_assert!(before != BreakerState::Closed && left <= LIMITS.longest);
                            prop_assert_eq!(probing, left.is_zero());
                        }
                    },
                    Event::Succeed => {
                        breaker.succeeded(now);
                        (probing, row) = (false, 0);
                        prop_assert_eq!(breaker.state(), BreakerState::Closed);
                    }
                    Event::Fail(chance) => {
                        let chance = f64::from(chance) / 255.0;
                        let opened = breaker.failed(now, chance);
                        if before == BreakerState::Closed {
                            row += 1;
                            prop_assert!(opened || row < LIMITS.failures);
                        }
                        // At first between half of the time and all of it.
                        if opened {
                            prop_assert_eq!(breaker.wait(now), Some(LIMITS.open.mul_f64(0.5 + chance / 2.0)));
                        }
                        prop_assert_eq!(opened, before == BreakerState::Closed && breaker.state() == BreakerState::Open);
                        if before != BreakerState::Closed || opened {
                            (probing, row) = (false, 0);
                            prop_assert_eq!(breaker.state(), BreakerState::Open);
                        }
                    }
                    Event::GiveUp => {
                        breaker.give_up(now);
                        probing = false;
                    }
                    Event::Pass(millis) => now += Duration::from_millis(millis.into()),
                }
                // Whoever waits for as long as it is told gets an answer.
                if let (Some(left), false) = (breaker.wait(now), probing) {
                    prop_assert_eq!(breaker.clone().admit(now + left), Admission::Probe);
                }
            }
        }
    }
}

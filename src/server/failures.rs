//! `Failures`: logins that have failed lately, by address. Who has failed too often is refused for a while, before any exchange.
//!
//! They are counted for each user of an address, and for the address in all; IPv6 by /64, which is what one network has. A user alone is
//! never refused: anybody could keep others out by failing in their name. Users that do not exist count as others do.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::fault::{Fault, SqlState};
use crate::server::knocking::network;

/// So many times more failures than one user of an address may have, an address may have in all.
const USERS: u32 = 10;
/// Places that are kept at least; at most twice as many.
const PLACES: usize = 32_768;

/// How many failures are let pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailureLimits {
    /// At once.
    pub burst: NonZeroU32,
    /// Then one more each time that so long has passed.
    pub interval: Duration,
}

/// Under whichever configuration.
#[derive(Debug, Default)]
pub struct Failures {
    table: Mutex<Table>,
    /// Names are kept as hashes: they may be long, and are told by anybody.
    hasher: RandomState,
}

/// What a failure counts for: the network, and a user's hash or nobody's.
type Place = (u128, Option<u64>);

/// When each place has its whole allowance again. Two generations bound it: in the older one are those that were not heard of lately.
#[derive(Debug, Default)]
struct Table {
    young: HashMap<Place, Instant>,
    old: HashMap<Place, Instant>,
}

impl Table {
    fn get(&self, place: &Place) -> Option<Instant> {
        self.young.get(place).or_else(|| self.old.get(place)).copied()
    }

    fn put(&mut self, place: Place, whole: Instant) {
        if self.young.len() >= PLACES && !self.young.contains_key(&place) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(place, whole);
    }

    fn remove(&mut self, place: &Place) {
        self.young.remove(place);
        self.old.remove(place);
    }
}

impl Failures {
    /// # Errors
    /// `28000` where too many have failed; the same one whether the user exists or not.
    pub fn admit(&self, from: IpAddr, user: &str, now: Instant, limits: FailureLimits) -> Result<(), Fault> {
        let table = self.table();
        let places = self.places(from, user);
        if places.iter().any(|place| is_spent(table.get(place), now, limits.of(place))) {
            return Err(Fault::new(
                SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
                format!("too many failed logins of user \"{user}\" or from this address"),
            )
            .hint("Retry later, and with the right password.")
            .fatal());
        }
        Ok(())
    }

    /// A proof was wrong. Whether further ones are refused from now on, and were not before.
    pub fn note(&self, from: IpAddr, user: &str, now: Instant, limits: FailureLimits) -> bool {
        let mut table = self.table();
        let mut refused = false;
        for place in self.places(from, user) {
            let limits = limits.of(&place);
            let whole = table.get(&place);
            let was = is_spent(whole, now, limits);
            // Those that had begun before count, too, and not without end: who corrects the password is not kept out for hours.
            let worst = now + limits.interval * limits.burst.get() * 2;
            let whole = (whole.unwrap_or(now).max(now) + limits.interval).min(worst);
            table.put(place, whole);
            refused |= !was && is_spent(Some(whole), now, limits);
        }
        refused
    }

    /// A right proof: what this user failed by from there was a mistake. What the address has in all stays.
    pub fn forget(&self, from: IpAddr, user: &str) {
        let [of_user, _] = self.places(from, user);
        self.table().remove(&of_user);
    }

    fn places(&self, from: IpAddr, user: &str) -> [Place; 2] {
        let network = network(from);
        [(network, Some(self.hasher.hash_one(user))), (network, None)]
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FailureLimits {
    fn of(self, place: &Place) -> Self {
        match place.1 {
            Some(_) => self,
            // An address has more users, and as many more at a time.
            None => Self { burst: self.burst.saturating_mul(USERS_AT_ONCE), interval: self.interval / USERS },
        }
    }
}

const USERS_AT_ONCE: NonZeroU32 = NonZeroU32::new(USERS).expect("it is not zero");

/// `whole`: when the allowance is whole again; so much of it is missing as is missing of the time until then.
fn is_spent(whole: Option<Instant>, now: Instant, limits: FailureLimits) -> bool {
    let missing = whole.map_or(Duration::ZERO, |whole| whole.saturating_duration_since(now));
    missing > limits.interval * (limits.burst.get() - 1)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn limits(burst: u32) -> FailureLimits {
        FailureLimits { burst: NonZeroU32::new(burst).unwrap(), interval: 10 * SECOND }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn failures_of_one_user_of_one_address_are_bounded_and_nobody_elses() {
        let (failures, now, limits) = (Failures::default(), Instant::now(), limits(3));
        let may = |from: &str, user: &str, now| failures.admit(ip(from), user, now, limits).is_ok();
        for _ in 0..2 {
            assert!(!failures.note(ip("10.0.0.1"), "u", now, limits));
            assert!(may("10.0.0.1", "u", now));
        }
        assert!(failures.note(ip("10.0.0.1"), "u", now, limits), "the last one is told");
        assert!(!may("10.0.0.1", "u", now) && !may("::ffff:10.0.0.1", "u", now));
        assert!(may("10.0.0.2", "u", now) && may("10.0.0.1", "v", now) && may("::1", "u", now));
        let fault = failures.admit(ip("10.0.0.1"), "u", now, limits).unwrap_err();
        assert!(fault.code.as_str() == "28000" && fault.is_fatal());
        // One more after each interval.
        assert!(!may("10.0.0.1", "u", now + 9 * SECOND) && may("10.0.0.1", "u", now + 10 * SECOND));
        assert!(failures.note(ip("10.0.0.1"), "u", now + 10 * SECOND, limits));
        assert!(!may("10.0.0.1", "u", now + 19 * SECOND) && may("10.0.0.1", "u", now + 20 * SECOND));
    }

    #[test]
    fn a_right_password_makes_good_what_its_user_failed_by() {
        let (failures, now, limits) = (Failures::default(), Instant::now(), limits(2));
        for user in ["u", "v"] {
            failures.note(ip("10.0.0.1"), user, now, limits);
            failures.note(ip("10.0.0.1"), user, now, limits);
        }
        failures.forget(ip("10.0.0.1"), "u");
        assert!(failures.admit(ip("10.0.0.1"), "u", now, limits).is_ok());
        assert!(failures.admit(ip("10.0.0.1"), "v", now, limits).is_err());
    }

    #[test]
    fn an_address_that_tries_many_users_is_refused_for_all() {
        let (failures, now, limits) = (Failures::default(), Instant::now(), limits(2));
        for n in 0..20 {
            assert!(failures.admit(ip("10.0.0.1"), "last", now, limits).is_ok());
            failures.note(ip("10.0.0.1"), &format!("u{n}"), now, limits);
            // A user of one's own does not help.
            failures.forget(ip("10.0.0.1"), "mine");
        }
        assert!(failures.admit(ip("10.0.0.1"), "last", now, limits).is_err());
        assert!(failures.admit(ip("10.0.0.2"), "last", now, limits).is_ok());
        assert!(failures.admit(ip("10.0.0.1"), "last", now + SECOND, limits).is_ok());
    }

    #[test]
    fn networks_of_ipv6_are_one_address() {
        let (failures, now, limits) = (Failures::default(), Instant::now(), limits(1));
        failures.note(ip("2001:db8::1"), "u", now, limits);
        assert!(failures.admit(ip("2001:db8::ffff:2"), "u", now, limits).is_err());
        assert!(failures.admit(ip("2001:db8:0:1::1"), "u", now, limits).is_ok());
    }

    #[test]
    fn many_that_fail_at_once_do_not_keep_out_for_ever() {
        let (failures, now, limits) = (Failures::default(), Instant::now(), limits(2));
        for _ in 0..10_000 {
            failures.note(ip("10.0.0.1"), "u", now, limits);
        }
        assert!(failures.admit(ip("10.0.0.1"), "u", now + 29 * SECOND, limits).is_err());
        assert!(failures.admit(ip("10.0.0.1"), "u", now + 30 * SECOND, limits).is_ok());
    }

    #[test]
    fn table_is_bounded() {
        let (failures, now, limits) = (Failures::default(), Instant::now(), limits(1));
        for n in 0..3 * PLACES as u32 {
            failures.note(std::net::Ipv4Addr::from_bits(n).into(), "u", now, limits);
        }
        let table = failures.table();
        assert!(table.young.len() <= PLACES && table.old.len() <= PLACES);
    }
}

//! `Passing`: how many requests are on their way to which router, and by how many connections.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::ids::RouterNumber;

/// Requests and connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    pub requests: usize,
    pub connections: usize,
}

/// Only routers to which something is on its way are in here.
#[derive(Debug, Default)]
pub(super) struct Passing(Mutex<HashMap<RouterNumber, Count>>);

impl Passing {
    /// One more request, over so many connections, as long as the value lives.
    pub fn begin(&self, number: RouterNumber, connections: usize) -> Counted<'_> {
        let mut counts = self.counts();
        let count = counts.entry(number).or_default();
        count.requests += 1;
        count.connections += connections;
        Counted { passing: self, number, connections }
    }

    pub fn to(&self, number: RouterNumber) -> Count {
        self.counts().get(&number).copied().unwrap_or_default()
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<RouterNumber, Count>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request that is on its way.
pub(super) struct Counted<'a> {
    passing: &'a Passing,
    number: RouterNumber,
    connections: usize,
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        let mut counts = self.passing.counts();
        let Some(count) = counts.get_mut(&self.number) else { return };
        count.requests -= 1;
        count.connections -= self.connections;
        if *count == Count::default() {
            counts.remove(&self.number);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_over_is_not_counted() {
        let (passing, number) = (Passing::default(), RouterNumber::new(7).unwrap());
        let first = passing.begin(number, 1);
        let second = passing.begin(number, 3);
        assert_eq!(passing.to(number), Count { requests: 2, connections: 4 });
        assert_eq!(passing.to(RouterNumber::new(8).unwrap()), Count::default());
        drop(first);
        assert_eq!(passing.to(number), Count { requests: 1, connections: 3 });
        drop(second);
        assert!(passing.counts().is_empty());
    }
}

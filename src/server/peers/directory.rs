//! PURE. `Directory`: which router is where, by what was heard of them lately.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::ids::RouterNumber;

/// A router that was not heard of for so long is forgotten. One that drains has left the list of routers while its clients are still
/// there, and another process may have its address, which finds it beside itself.
const KEPT: Duration = Duration::from_secs(3600);
/// Routers with one number that are asked, those heard of last.
const MOST_PLACES: usize = 4;

#[derive(Debug, Default)]
pub(super) struct Directory(HashMap<RouterNumber, Vec<(Box<str>, Instant)>>);

impl Directory {
    /// Bounded: there are so many numbers, with so many places each.
    pub fn hear(&mut self, number: RouterNumber, address: &str, now: Instant) {
        let places = self.0.entry(number).or_default();
        places.retain(|(known, heard)| **known != *address && now.saturating_duration_since(*heard) < KEPT);
        places.insert(0, (address.into(), now));
        places.truncate(MOST_PLACES);
    }

    /// Who is where, by number.
    pub fn all(&self, now: Instant) -> Vec<(RouterNumber, Box<str>)> {
        let mut numbers: Vec<RouterNumber> = self.0.keys().copied().collect();
        numbers.sort_unstable_by_key(|number| number.get());
        let each = |number| self.places(number, now).into_iter().map(move |place| (number, place));
        numbers.into_iter().flat_map(each).collect()
    }

    /// Where routers of this number are.
    pub fn places(&self, number: RouterNumber, now: Instant) -> Vec<Box<str>> {
        let places = self.0.get(&number).into_iter().flatten();
        let young = places.filter(|(_, heard)| now.saturating_duration_since(*heard) < KEPT);
        young.map(|(address, _)| address.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_number_has_few_places_and_forgets_the_oldest() {
        let (mut known, start) = (Directory::default(), Instant::now());
        let number = RouterNumber::new(7).unwrap();
        for (at, place) in ["a:1", "b:1", "c:1", "d:1", "e:1", "b:1"].into_iter().enumerate() {
            known.hear(number, place, start + Duration::from_secs(at as u64));
        }
        let places = known.places(number, start + Duration::from_secs(6));
        assert_eq!(places.iter().map(|place| &**place).collect::<Vec<_>>(), ["b:1", "e:1", "d:1", "c:1"]);
        // Of those heard of at 2, 3, 4 and 5 s.
        assert_eq!(known.places(number, start + KEPT + Duration::from_secs(4)).len(), 1);
        assert!(known.places(RouterNumber::new(8).unwrap(), start).is_empty());
        known.hear(RouterNumber::new(3).unwrap(), "f:1", start);
        let all = known.all(start + Duration::from_secs(6));
        assert_eq!((all.len(), all[0].0.get(), &*all[0].1), (5, 3, "f:1"));
    }

    #[test]
    fn process_ids_name_their_router() {
        for (number, client) in [(1, 1), (RouterNumber::MOST, RouterNumber::CLIENTS), (9, 77)] {
            let router = RouterNumber::new(number).unwrap();
            let pid = router.pid(client);
            assert!(pid <= 0x7fff_ffff && pid > 0);
            assert_eq!(RouterNumber::of(pid), Some(router));
            assert_ne!(RouterNumber::of(pid ^ 1 << 20), Some(router));
        }
        for nobodys in [0, 1, RouterNumber::CLIENTS, 0x8000_0000, u32::MAX] {
            assert_eq!(RouterNumber::of(nobodys), None, "{nobodys}");
        }
    }
}

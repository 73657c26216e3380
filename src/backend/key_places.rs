//! PURE. `KeyPlaces`: how many statements of one value of the sharding key run at one time.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Only of keys for which something runs or waits.
#[derive(Debug, Default)]
pub struct KeyPlaces(Mutex<HashMap<u64, Line>>);

#[derive(Debug)]
struct Line {
    size: NonZeroU32,
    free: Arc<Semaphore>,
    /// Those who run and those who wait.
    users: usize,
}

/// A statement of a key runs, or waits, as long as it lives.
#[derive(Debug)]
pub struct KeyPlace {
    of: Arc<KeyPlaces>,
    pub key: u64,
    /// It runs.
    permit: Option<OwnedSemaphorePermit>,
}

impl KeyPlaces {
    /// A place for a statement of this key; `None`: it would have to wait longer. Under another limit than before once nobody is there.
    pub async fn enter(self: &Arc<Self>, key: u64, size: NonZeroU32, wait: Duration) -> Option<KeyPlace> {
        let (mut place, free) = self.join(key, size);
        place.permit = match Arc::clone(&free).try_acquire_owned() {
            Ok(permit) => Some(permit),
            Err(_) if wait.is_zero() => None,
            Err(_) => tokio::time::timeout(wait, free.acquire_owned()).await.ok()?.ok(),
        };
        place.permit.is_some().then_some(place)
    }

    /// Whether a statement of this key that comes now would have to wait.
    pub fn is_full(&self, key: u64) -> bool {
        self.lines().get(&key).is_some_and(|line| line.free.available_permits() == 0)
    }

    fn join(self: &Arc<Self>, key: u64, size: NonZeroU32) -> (KeyPlace, Arc<Semaphore>) {
        let mut lines = self.lines();
        let made = || Line { size, free: Arc::new(Semaphore::new(size.get() as usize)), users: 0 };
        let line = lines.entry(key).or_insert_with(made);
        if size > line.size {
            line.free.add_permits((size.get() - line.size.get()) as usize);
            line.size = size;
        }
        line.users += 1;
        (KeyPlace { of: Arc::clone(self), key, permit: None }, Arc::clone(&line.free))
    }

    fn lines(&self) -> MutexGuard<'_, HashMap<u64, Line>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for KeyPlace {
    fn drop(&mut self) {
        self.permit = None;
        let mut lines = self.of.lines();
        let Some(line) = lines.get_mut(&self.key) else { return };
        line.users -= 1;
        if line.users == 0 {
            lines.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const SHORT: Duration = Duration::from_millis(10);

    #[tokio::test]
    async fn each_key_has_so_many_places_and_none_is_kept_for_those_who_are_gone() {
        let places = Arc::new(KeyPlaces::default());
        let size = |size| NonZeroU32::new(size).unwrap();
        let (one, two) = (places.enter(7, size(2), SHORT).await, places.enter(7, size(2), SHORT).await);
        assert!(one.is_some() && two.is_some() && places.is_full(7) && !places.is_full(8));
        assert!(places.enter(7, size(2), SHORT).await.is_none());
        assert!(places.enter(7, size(2), Duration::ZERO).await.is_none());
        assert!(places.enter(8, size(2), Duration::ZERO).await.is_some());
        let late = places.enter(7, size(2), Duration::from_secs(60));
        tokio::pin!(late);
        assert!(futures::poll!(&mut late).is_pending());
        drop(one);
        let late = late.await;
        assert!(late.is_some() && places.is_full(7));
        // More from now on.
        assert!(places.enter(7, size(3), SHORT).await.is_some());
        drop((two, late));
        assert!(places.lines().is_empty());
    }
}

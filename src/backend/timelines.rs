//! The newest timeline of each cluster that this router, an earlier run of it, or one that shares its map has heard of: a primary that was
//! left behind is known for one although nobody who knows better answers just now. `control::timelines` keeps them on disk,
//! `control::map::timelines` shares them.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

/// The first timeline of every cluster: there is none before it.
pub const FIRST: u32 = 1;

/// By the cluster's system identifier.
#[derive(Debug, Default)]
pub struct Timelines {
    newest: Mutex<BTreeMap<u64, u32>>,
    /// Raised with each of them.
    rises: watch::Sender<u64>,
}

impl Timelines {
    pub fn new(known: BTreeMap<u64, u32>) -> Self {
        Self { newest: Mutex::new(known), rises: watch::Sender::new(0) }
    }

    fn newest(&self) -> MutexGuard<'_, BTreeMap<u64, u32>> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A server of this cluster knows of this timeline. Returns the newest one that any has told of.
    pub fn hear(&self, system: u64, timeline: u32) -> u32 {
        let mut all = self.newest();
        let newest = all.get(&system).copied().unwrap_or(FIRST);
        if timeline <= newest {
            return newest;
        }
        all.insert(system, timeline);
        drop(all);
        self.rises.send_modify(|count| *count += 1);
        timeline
    }

    /// All beyond the first ones.
    pub fn all(&self) -> BTreeMap<u64, u32> {
        self.newest().clone()
    }

    /// Changes whenever one is newer than before.
    pub fn rises(&self) -> watch::Receiver<u64> {
        self.rises.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timelines_only_rise() {
        let timelines = Timelines::new(BTreeMap::from([(7, 3)]));
        let rises = timelines.rises();
        assert_eq!([timelines.hear(7, 2), timelines.hear(8, 1)], [3, 1]);
        assert!(!rises.has_changed().unwrap_or(true));
        assert_eq!(timelines.hear(8, 2), 2);
        assert!(rises.has_changed().unwrap_or(false));
        assert_eq!(timelines.all(), BTreeMap::from([(7, 3), (8, 2)]));
    }
}

//! The newest timeline of each cluster that this router, or an earlier run of it, has heard of: a primary that was left behind is known for
//! one although nobody who knows better answers just now. `control::timelines` keeps them on disk.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// The first timeline of every cluster: there is none before it.
const FIRST: u32 = 1;

/// By the cluster's system identifier.
#[derive(Debug, Default)]
pub struct Timelines {
    newest: Mutex<BTreeMap<u64, u32>>,
    risen: Notify,
}

impl Timelines {
    pub fn new(known: BTreeMap<u64, u32>) -> Self {
        Self { newest: Mutex::new(known), risen: Notify::new() }
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
        self.risen.notify_one();
        timeline
    }

    /// All beyond the first ones.
    pub fn all(&self) -> BTreeMap<u64, u32> {
        self.newest().clone()
    }

    /// Waits until one is newer than when this was waited for last.
    pub async fn risen(&self) {
        self.risen.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn timelines_only_rise() {
        let timelines = Timelines::new(BTreeMap::from([(7, 3)]));
        assert_eq!([timelines.hear(7, 2), timelines.hear(8, 1), timelines.hear(8, 2)], [3, 1, 2]);
        timelines.risen().await;
        assert_eq!(timelines.all(), BTreeMap::from([(7, 3), (8, 2)]));
    }
}

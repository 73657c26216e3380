//! `HotKeys`: the sharding keys that statements ask for most, of one logical database, in bounded memory.
//!
//! Of about [`RATE`] statements for one key one is looked at, so that a statement pays nothing for it. Those are counted by the
//! space-saving algorithm (Metwally, Agrawal, El Abbadi 2005): as many counters as keys are kept; a key that has none takes over that of
//! the rarest one, with its count. A key that is asked for more often than one in so many is always among them, and no count is too
//! high by more than its `error`. All counts are halved each minute, so old heat goes.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::ids::{DistributionId, ShardId};

/// One statement in so many is counted.
pub const RATE: u32 = 32;
/// How many keys are kept.
const KEPT: usize = 128;
/// Counts are halved this often.
const HALVED: Duration = Duration::from_secs(60);
/// A longer key is cut: it is to be recognised, not stored.
const SHOWN: usize = 200;

/// One key, as it is counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HotKey {
    pub distribution: DistributionId,
    /// As SQL would write it; with commas between those of several columns.
    pub key: Box<str>,
    /// Where it was found last.
    pub shard: ShardId,
    /// Statements that were counted, and how many of them may have been for others.
    pub count: u64,
    pub error: u64,
}

#[derive(Debug, Default)]
pub struct HotKeys(Mutex<Sketch>);

impl HotKeys {
    /// A statement for this key was routed.
    pub fn note(&self, distribution: DistributionId, key: &str, shard: ShardId) {
        self.sketch().note(distribution, key, shard, Instant::now());
    }

    /// Those asked for most first, with their parts of all that was counted.
    pub fn most(&self, limit: usize) -> Vec<(HotKey, f64)> {
        let mut sketch = self.sketch();
        sketch.cool(Instant::now());
        let all = sketch.total.max(1) as f64;
        let mut keys = sketch.keys.clone();
        drop(sketch);
        keys.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.key.cmp(&b.key)));
        keys.truncate(limit);
        keys.into_iter().map(|key| (key.count as f64 / all, key)).map(|(share, key)| (key, share)).collect()
    }

    fn sketch(&self) -> std::sync::MutexGuard<'_, Sketch> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, Default)]
struct Sketch {
    keys: Vec<HotKey>,
    /// Of each of `keys`: [`print`] of its text. Together they are a few lines of cache.
    prints: Vec<u64>,
    total: u64,
    halved: Option<Instant>,
}

impl Sketch {
    fn note(&mut self, distribution: DistributionId, key: &str, shard: ShardId, now: Instant) {
        self.cool(now);
        self.total += 1;
        let key = match key.char_indices().nth(SHOWN) {
            Some((end, _)) => &key[..end],
            None => key,
        };
        let print = print(key);
        for at in (0..self.keys.len()).filter(|at| self.prints[*at] == print) {
            let known = &mut self.keys[at];
            if known.distribution == distribution && *known.key == *key {
                known.count += 1;
                known.shard = shard;
                return;
            }
        }
        let fresh = |error| HotKey { distribution, key: key.into(), shard, count: error + 1, error };
        if self.keys.len() < KEPT {
            self.keys.push(fresh(0));
            self.prints.push(print);
        } else if let Some((at, rarest)) = self.keys.iter_mut().enumerate().min_by_key(|(_, known)| known.count) {
            *rarest = fresh(rarest.count);
            self.prints[at] = print;
        }
    }

    fn cool(&mut self, now: Instant) {
        let since = *self.halved.get_or_insert(now);
        let times = now.saturating_duration_since(since).as_secs() / HALVED.as_secs();
        if times == 0 {
            return;
        }
        let times = u32::try_from(times).unwrap_or(u32::MAX);
        self.halved = Some(since + HALVED * times);
        let half = |count: u64| count.checked_shr(times).unwrap_or(0);
        self.total = half(self.total);
        for key in &mut self.keys {
            (key.count, key.error) = (half(key.count), half(key.error));
        }
        self.keys.retain(|key| key.count > 0);
        self.prints.clear();
        self.prints.extend(self.keys.iter().map(|key| print(&key.key)));
    }
}

/// FNV-1a of a text: that of most others is another one.
fn print(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |print, byte| (print ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const OF: DistributionId = DistributionId(0);

    #[test]
    fn a_key_that_is_asked_for_often_stays_whatever_else_comes() {
        let (mut sketch, now) = (Sketch::default(), Instant::now());
        // 20,000 others, each once, and one for every fiftieth.
        for i in 0..20_000 {
            sketch.note(OF, &format!("cold {i}"), ShardId(1), now);
            if i % 50 == 0 {
                sketch.note(OF, "hot", ShardId(2), now);
            }
        }
        assert_eq!(sketch.keys.len(), KEPT);
        let hot = sketch.keys.iter().max_by_key(|key| key.count).unwrap();
        assert_eq!((&*hot.key, hot.shard), ("hot", ShardId(2)));
        assert!(hot.count >= 400 && hot.count - hot.error <= 400, "{hot:?}");
        assert_eq!(sketch.keys.iter().map(|key| key.count).sum::<u64>(), sketch.total);
        assert!(sketch.keys.iter().map(|key| print(&key.key)).eq(sketch.prints.iter().copied()));
        sketch.cool(now + HALVED * 2);
        assert!(sketch.keys.iter().map(|key| print(&key.key)).eq(sketch.prints.iter().copied()));
    }

    #[test]
    fn what_was_hot_is_forgotten() {
        let (mut sketch, start) = (Sketch::default(), Instant::now());
        for _ in 0..8 {
            sketch.note(OF, "5", ShardId(0), start);
        }
        sketch.cool(start + HALVED * 2);
        assert_eq!((sketch.keys[0].count, sketch.total), (2, 2));
        sketch.cool(start + HALVED * 3 - Duration::from_secs(1));
        assert_eq!(sketch.keys[0].count, 2);
        sketch.cool(start + HALVED * 1000);
        assert!(sketch.keys.is_empty());
    }

    #[test]
    fn the_same_key_of_two_distributions_is_two_keys_and_a_long_one_is_cut() {
        let keys = HotKeys::default();
        keys.note(OF, "5", ShardId(0));
        keys.note(DistributionId(1), "5", ShardId(0));
        keys.note(OF, &"ä".repeat(5000), ShardId(0));
        let most = keys.most(10);
        assert_eq!(most.len(), 3);
        assert!(most.iter().any(|(key, share)| key.key.chars().count() == SHOWN && *share > 0.3));
        assert_eq!(keys.most(1).len(), 1);
    }
}

//! The newest timeline of each shard's cluster that this router, an earlier run of it, or another router has heard of: a primary that was
//! left behind is known for one although nobody who knows better answers just now. `control::timelines` keeps them on disk,
//! `control::map::timelines` shares them through etcd, and `server::peers` asks the other routers for them.
//!
//! A cluster is known by its system identifier, with the name of its shard and with the address of each of its servers. By the identifier
//! alone it is not: copies of one data directory that became several shards share it, and have timelines of their own. By the name it is
//! known when it moves to other machines, by an address when the shard is renamed or another database has the same servers; copies never
//! share an address.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ring::digest::{SHA256, digest};
use tokio::sync::watch;

/// The first timeline of every cluster: there is none before it.
pub const FIRST: u32 = 1;
/// What other routers may have told of clusters that this one has not met.
const MOST_TOLD: usize = 65_536;

/// The cluster of one shard, or of the server at one address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lineage {
    /// See [`shard_path`] and [`server_path`].
    pub shard: Arc<str>,
    /// Its system identifier.
    pub system: u64,
}

fn plain(name: &str) -> String {
    name.replace('%', "%25").replace('/', "%2F")
}

/// The name of a shard among those of all databases: `database/shard`.
pub fn shard_path(database: &str, shard: &str) -> Arc<str> {
    format!("{}/{}", plain(database), plain(shard)).into()
}

/// The same for whatever is at an address: `%server/host:port`, which no database is called.
pub fn server_path(address: &str) -> Arc<str> {
    format!("%server/{}", plain(address)).into()
}

impl Lineage {
    /// What [`fmt::Display`] writes.
    pub fn parse(text: &str) -> Option<Self> {
        let (shard, system) = text.rsplit_once('/')?;
        let system = system.parse().ok()?;
        (shard.split('/').count() == 2).then(|| Self { shard: shard.into(), system })
    }

    fn mark(&self) -> Mark {
        let digest = digest(&SHA256, self.to_string().as_bytes());
        let mut mark = [0; 16];
        mark.copy_from_slice(&digest.as_ref()[..16]);
        Mark(mark)
    }
}

impl fmt::Display for Lineage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.shard, self.system)
    }
}

/// How routers name a cluster to each other: whoever asks, before any login, is told no names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mark(pub [u8; 16]);

#[derive(Debug, Default)]
pub struct Timelines {
    known: Mutex<Known>,
    /// Raised with each of them.
    rises: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Known {
    /// Beyond the first ones.
    newest: BTreeMap<Lineage, u32>,
    /// Every cluster that was heard of.
    met: BTreeMap<Lineage, Mark>,
    /// What other routers have told of clusters that were not met yet.
    told: BTreeMap<Mark, u32>,
}

impl Known {
    fn newest(&self, lineage: &Lineage) -> u32 {
        self.newest.get(lineage).copied().unwrap_or(FIRST)
    }

    /// Whether that is news.
    fn raise(&mut self, lineage: &Lineage, timeline: u32) -> bool {
        let rises = timeline > self.newest(lineage);
        if rises {
            self.newest.insert(lineage.clone(), timeline);
        }
        rises
    }

    /// Whether others have told of a later timeline of a cluster that is met now.
    fn meet(&mut self, lineage: &Lineage) -> bool {
        if self.met.contains_key(lineage) {
            return false;
        }
        let mark = lineage.mark();
        self.met.insert(lineage.clone(), mark);
        self.told.remove(&mark).is_some_and(|told| self.raise(lineage, told))
    }
}

impl Timelines {
    pub fn new(newest: BTreeMap<Lineage, u32>) -> Self {
        let met = newest.keys().map(|lineage| (lineage.clone(), lineage.mark())).collect();
        Self { known: Mutex::new(Known { newest, met, told: BTreeMap::new() }), rises: watch::Sender::new(0) }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A server of the cluster that is known by all of these knows of this timeline. Returns the newest one that any has told of.
    pub fn hear(&self, lineages: &[Lineage], timeline: u32) -> u32 {
        let mut known = self.known();
        let (mut told, mut heard) = (false, false);
        lineages.iter().for_each(|lineage| told |= known.meet(lineage));
        let newest = lineages.iter().map(|lineage| known.newest(lineage)).fold(timeline.max(FIRST), u32::max);
        lineages.iter().for_each(|lineage| heard |= known.raise(lineage, newest));
        drop(known);
        self.rise(told || heard);
        newest
    }

    /// Another router tells of these. Whether one is news of a cluster that was met.
    pub fn learn(&self, told: impl IntoIterator<Item = (Mark, u32)>) -> bool {
        let mut known = self.known();
        let met: HashMap<Mark, Lineage> = known.met.iter().map(|(lineage, mark)| (*mark, lineage.clone())).collect();
        let mut is_news = false;
        for (mark, timeline) in told {
            match met.get(&mark) {
                Some(lineage) => is_news |= known.raise(lineage, timeline),
                None if known.told.len() < MOST_TOLD || known.told.contains_key(&mark) => {
                    let newest = known.told.entry(mark).or_insert(timeline);
                    *newest = timeline.max(*newest);
                }
                None => {}
            }
        }
        drop(known);
        self.rise(is_news);
        is_news
    }

    fn rise(&self, rises: bool) {
        if rises {
            self.rises.send_modify(|count| *count += 1);
        }
    }

    /// All beyond the first ones.
    pub fn all(&self) -> BTreeMap<Lineage, u32> {
        self.known().newest.clone()
    }

    /// The same, as other routers are told of them.
    pub fn marked(&self) -> Vec<(Mark, u32)> {
        self.known().newest.iter().map(|(lineage, timeline)| (lineage.mark(), *timeline)).collect()
    }

    /// Changes whenever one is newer than before.
    pub fn rises(&self) -> watch::Receiver<u64> {
        self.rises.subscribe()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn of(shard: &str, system: u64) -> Lineage {
        Lineage { shard: shard_path("d", shard), system }
    }

    #[test]
    fn timelines_only_rise() {
        let timelines = Timelines::new(BTreeMap::from([(of("s", 7), 3)]));
        let rises = timelines.rises();
        assert_eq!([timelines.hear(&[of("s", 7)], 2), timelines.hear(&[of("s", 8)], 1)], [3, 1]);
        assert!(!rises.has_changed().unwrap_or(true));
        assert_eq!(timelines.hear(&[of("s", 8)], 2), 2);
        assert!(rises.has_changed().unwrap_or(false));
        assert_eq!(timelines.all(), BTreeMap::from([(of("s", 7), 3), (of("s", 8), 2)]));
    }

    #[test]
    fn shards_that_are_copies_of_one_have_timelines_of_their_own() {
        let timelines = Timelines::default();
        assert_eq!(timelines.hear(&[of("s0", 7)], 5), 5);
        assert_eq!(timelines.hear(&[of("s1", 7)], 1), 1);
        let other = Lineage { shard: shard_path("e", "s0"), system: 7 };
        assert_eq!(timelines.hear(&[other], 2), 2);
        assert_eq!(timelines.hear(&[of("s0", 7)], 1), 5);
    }

    #[test]
    fn what_others_tell_counts_also_for_clusters_that_are_met_later() {
        let (told, timelines) = (Timelines::new(BTreeMap::from([(of("s", 7), 4)])), Timelines::default());
        assert!(!timelines.learn(told.marked()) && timelines.all().is_empty());
        let rises = timelines.rises();
        assert_eq!(timelines.hear(&[of("s", 8)], 1), 1);
        assert!(!rises.has_changed().unwrap());
        assert_eq!(timelines.hear(&[of("s", 7)], 1), 4);
        assert!(rises.has_changed().unwrap());
        // What is not later than what is known is no news.
        assert!(!timelines.learn(told.marked()));
        told.hear(&[of("s", 7)], 6);
        assert!(timelines.learn(told.marked()));
        assert_eq!(timelines.all(), told.all());
    }

    #[test]
    fn a_cluster_is_met_again_at_each_of_its_addresses() {
        let at = |address: &str| Lineage { shard: server_path(address), system: 7 };
        let timelines = Timelines::default();
        assert_eq!(timelines.hear(&[of("s0", 7), at("a:1"), at("b:1")], 3), 3);
        assert_eq!(timelines.hear(&[of("t0", 7), at("b:1"), at("c:1")], 1), 3);
        assert_eq!(timelines.hear(&[of("u0", 7), at("c:1")], 1), 3);
        // A copy is elsewhere, and another cluster at the same address is another one.
        assert_eq!(timelines.hear(&[of("s1", 7), at("a:2")], 1), 1);
        assert_eq!(timelines.hear(&[of("s0", 8), Lineage { shard: server_path("a:1"), system: 8 }], 1), 1);
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        for (database, shard) in [("shop", "s0"), ("a/b", "c"), ("a", "b/c"), ("50%", "%2F")] {
            let lineage = Lineage { shard: shard_path(database, shard), system: u64::MAX };
            assert_eq!(Lineage::parse(&lineage.to_string()), Some(lineage));
        }
        assert_ne!(shard_path("a/b", "c"), shard_path("a", "b/c"));
        for address in ["10.0.0.1:5432", "/var/run/postgresql:5432", "[::1]:5"] {
            let lineage = Lineage { shard: server_path(address), system: 7 };
            assert_eq!(Lineage::parse(&lineage.to_string()), Some(lineage));
        }
        assert_ne!(server_path("a"), shard_path("%server", "a"));
        for wrong in ["7", "a/7", "a/b/c/7", "a/b/x", ""] {
            assert_eq!(Lineage::parse(wrong), None, "{wrong}");
        }
    }
}

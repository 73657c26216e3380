//! Template -> `Arc<Analysis>`; bounded in bytes; an entry of an older catalog or topology is a miss.
//!
//! Generations and epochs of different databases do not compare: where one cache serves several, the scope's fingerprint
//! must tell them apart.
//! It holds literals only where they shape the plan (guards), and no parameters.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock};

use smallvec::SmallVec;

use crate::sql::template::{Scan, Slot};
use crate::sql::{Analysis, NameScope};

/// Longest template that is kept, in bytes.
pub const MAX_TEMPLATE: usize = 64 * 1024;
/// Parts with a lock each.
const SEGMENTS: usize = 8;
/// Most sets of guard values kept for one template: who varies them pushes out only his own.
const MAX_VARIANTS: usize = 64;
/// How often the hand passes a much-used entry before it goes.
const MAX_HEAT: u8 = 3;
/// What an analysis is taken to hold, by a template's byte; a syntax tree is much larger than its text.
const ANALYSIS_PER_BYTE: usize = 48;
const ANALYSIS_BASE: usize = 1024;

/// See the module. Shared between sessions by reference; a hit allocates nothing and takes one read lock.
pub struct PlanCache<A = Analysis> {
    hasher: foldhash::quality::RandomState,
    segments: Box<[Locked<A>]>,
    /// Most bytes of a segment.
    limit: AtomicUsize,
}

/// Its counters lie beside a segment, so that hits on different templates touch different cache lines.
#[repr(align(128))]
struct Locked<A> {
    segment: RwLock<Segment<A>>,
    hits: AtomicU64,
    misses: AtomicU64,
}

/// Sums since the start, except `entries` and `bytes`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheStats {
    pub hits: u64,
    pub misses: u64,
    pub evictions: u64,
    /// Templates held now.
    pub entries: usize,
    /// Their estimated size.
    pub bytes: usize,
}

/// What of a [`NameScope`] an analysis depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Key {
    fingerprint: u64,
    generation: u64,
    epoch: u64,
}

impl From<&NameScope<'_>> for Key {
    fn from(scope: &NameScope<'_>) -> Self {
        Self { fingerprint: scope.fingerprint, generation: scope.catalog.generation, epoch: scope.topology.epoch.0 }
    }
}

struct Segment<A> {
    /// Hash of template and fingerprint -> place in `entries`. Two templates of one hash take turns.
    index: HashMap<u64, usize, BuildHasherDefault<Identity>>,
    entries: Vec<Option<Entry<A>>>,
    free: Vec<usize>,
    hand: usize,
    bytes: usize,
    evictions: u64,
}

struct Entry<A> {
    hash: u64,
    key: Key,
    template: Box<[u8]>,
    /// Slots whose text is part of the key, ascending.
    guards: Box<[u16]>,
    variants: SmallVec<[Variant<A>; 1]>,
    /// Next variant to be looked at when one has to go.
    hand: usize,
    bytes: usize,
    heat: AtomicU8,
}

struct Variant<A> {
    hash: u64,
    /// The guards' texts, one behind the other.
    texts: Box<[u8]>,
    /// Where each text ends.
    ends: Box<[u32]>,
    analysis: Arc<A>,
    used: AtomicBool,
}

impl PlanCache {
    /// Keeps an analysis of this scan made under `scope`, if it is worth its room and holds for other texts of the template.
    pub fn insert(&self, scan: &Scan, text: &str, scope: &NameScope<'_>, analysis: Arc<Analysis>) {
        if analysis.kind.has_offsets() {
            return;
        }
        let guards = guards(scan.slots.len(), &analysis.free_slots);
        self.put(scan, text, scope.into(), guards, analysis);
    }
}

impl<A> PlanCache<A> {
    /// `limit` in bytes, of all entries together.
    pub fn new(limit: usize) -> Self {
        Self {
            hasher: foldhash::quality::RandomState::default(),
            segments: (0..SEGMENTS).map(|_| Locked::new()).collect(),
            limit: AtomicUsize::new(limit / SEGMENTS),
        }
    }

    /// Another limit, in bytes, from now on.
    pub fn set_limit(&self, limit: usize) {
        self.limit.store(limit / SEGMENTS, Relaxed);
        let mut dropped = Vec::new();
        for locked in &self.segments {
            let mut segment = locked.segment.write().unwrap_or_else(PoisonError::into_inner);
            segment.shrink(limit / SEGMENTS, &mut dropped);
        }
    }

    /// The analysis of a statement with the same template, names meaning the same, and the same text in all guards.
    pub fn get(&self, scan: &Scan, text: &str, scope: &NameScope<'_>) -> Option<Arc<A>> {
        self.find(scan, text, scope.into())
    }

    /// [`Self::insert`] of anything: `free_slots` as in [`Analysis::free_slots`].
    pub fn insert_with(&self, scan: &Scan, text: &str, scope: &NameScope<'_>, free_slots: &[u16], value: Arc<A>) {
        self.put(scan, text, scope.into(), guards(scan.slots.len(), free_slots), value);
    }

    pub fn stats(&self) -> CacheStats {
        let mut stats = CacheStats::default();
        for locked in &self.segments {
            let segment = locked.segment.read().unwrap_or_else(PoisonError::into_inner);
            stats.hits += locked.hits.load(Relaxed);
            stats.misses += locked.misses.load(Relaxed);
            stats.evictions += segment.evictions;
            stats.entries += segment.index.len();
            stats.bytes += segment.bytes;
        }
        stats
    }

    fn hash(&self, template: &[u8], fingerprint: u64) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write_u64(fingerprint);
        hasher.write(template);
        hasher.finish()
    }

    fn locked(&self, hash: u64) -> Option<&Locked<A>> {
        // The map inside uses the lowest and the highest bits.
        self.segments.get((hash >> 32) as usize % SEGMENTS)
    }

    fn find(&self, scan: &Scan, text: &str, key: Key) -> Option<Arc<A>> {
        if !is_kept(scan) {
            return None;
        }
        let hash = self.hash(&scan.template, key.fingerprint);
        let locked = self.locked(hash)?;
        let found = {
            let segment = locked.segment.read().unwrap_or_else(PoisonError::into_inner);
            segment.entry(hash).filter(|entry| entry.is(key, &scan.template)).and_then(|entry| {
                let variant = entry.variant(&scan.slots, text, || self.guard_hash(&entry.guards, &scan.slots, text))?;
                // Only written when it changes: a hot entry's line stays shared between the cores.
                let heat = entry.heat.load(Relaxed);
                if heat < MAX_HEAT {
                    entry.heat.store(heat + 1, Relaxed);
                }
                if !variant.used.load(Relaxed) {
                    variant.used.store(true, Relaxed);
                }
                Some(Arc::clone(&variant.analysis))
            })
        };
        let counter = if found.is_some() { &locked.hits } else { &locked.misses };
        counter.fetch_add(1, Relaxed);
        found
    }

    fn guard_hash(&self, guards: &[u16], slots: &[Slot], text: &str) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        for guard in guards {
            let literal = slot_text(slots, *guard, text);
            hasher.write_usize(literal.len());
            hasher.write(literal);
        }
        hasher.finish()
    }

    fn put(&self, scan: &Scan, text: &str, key: Key, guards: Box<[u16]>, analysis: Arc<A>) {
        if !is_kept(scan) {
            return;
        }
        let hash = self.hash(&scan.template, key.fingerprint);
        let Some(locked) = self.locked(hash) else { return };
        // Dropped after the lock is given back: analyses are trees.
        let mut dropped = Vec::new();
        let mut segment = locked.segment.write().unwrap_or_else(PoisonError::into_inner);
        // Taken out, changed and put back: the counting of bytes has one place.
        let mut entry = match segment.take(hash) {
            Some(entry) if entry.is(key, &scan.template) => entry,
            // A statement that still runs under an older view must not push out what the newer ones use.
            Some(entry) if *entry.template == *scan.template && entry.key.is_newer_than(key) => {
                segment.keep(entry);
                return;
            }
            other => {
                dropped.extend(other);
                Entry::new(hash, key, &scan.template, guards.clone())
            }
        };
        if let Some(union) = entry.more_guards(&guards) {
            let heat = entry.heat.load(Relaxed);
            dropped.push(std::mem::replace(&mut entry, Entry::new(hash, key, &scan.template, union)));
            entry.heat.store(heat, Relaxed);
        }
        let guard_hash = self.guard_hash(&entry.guards, &scan.slots, text);
        let variant = Variant::new(guard_hash, &entry.guards, &scan.slots, text, analysis);
        let limit = self.limit.load(Relaxed);
        let most = limit / 4;
        if entry.bytes + variant.bytes(entry.template.len()) > most {
            let guards = entry.guards.clone();
            dropped.push(std::mem::replace(&mut entry, Entry::new(hash, key, &scan.template, guards)));
        }
        entry.add(variant);
        if entry.bytes <= most {
            segment.keep(entry);
            segment.shrink(limit, &mut dropped);
        }
    }
}

impl<A> Locked<A> {
    fn new() -> Self {
        let segment = Segment {
            index: HashMap::default(),
            entries: Vec::new(),
            free: Vec::new(),
            hand: 0,
            bytes: 0,
            evictions: 0,
        };
        Self { segment: RwLock::new(segment), hits: AtomicU64::new(0), misses: AtomicU64::new(0) }
    }
}

impl Key {
    fn is_newer_than(self, other: Key) -> bool {
        self.generation > other.generation && self.epoch >= other.epoch
            || self.generation >= other.generation && self.epoch > other.epoch
    }
}

impl<A> Segment<A> {
    fn entry(&self, hash: u64) -> Option<&Entry<A>> {
        self.entries.get(*self.index.get(&hash)?)?.as_ref()
    }

    fn take(&mut self, hash: u64) -> Option<Entry<A>> {
        let place = self.index.remove(&hash)?;
        let entry = self.entries.get_mut(place)?.take()?;
        self.free.push(place);
        self.bytes -= entry.bytes;
        Some(entry)
    }

    fn keep(&mut self, entry: Entry<A>) {
        self.bytes += entry.bytes;
        let hash = entry.hash;
        // The last place freed is the one just behind the hand: a new entry has a whole round to prove itself.
        let place = match self.free.pop() {
            Some(place) => place,
            None => {
                self.entries.push(None);
                self.entries.len() - 1
            }
        };
        if let Some(slot) = self.entries.get_mut(place) {
            *slot = Some(entry);
            self.index.insert(hash, place);
        }
    }

    /// Drops entries until they fit. The hand cools what it passes and drops what is cold.
    fn shrink(&mut self, limit: usize, dropped: &mut Vec<Entry<A>>) {
        while self.bytes > limit && !self.index.is_empty() {
            self.hand = if self.hand < self.entries.len() { self.hand } else { 0 };
            let cold = self.entries.get_mut(self.hand).and_then(Option::as_mut).and_then(|entry| {
                let heat = entry.heat.get_mut();
                let cold = *heat == 0;
                *heat = heat.saturating_sub(1);
                cold.then_some(entry.hash)
            });
            if let Some(hash) = cold {
                dropped.extend(self.take(hash));
                self.evictions += 1;
            }
            self.hand += 1;
        }
    }
}

impl<A> Entry<A> {
    fn new(hash: u64, key: Key, template: &[u8], guards: Box<[u16]>) -> Self {
        let bytes = 2 * size_of::<Self>() + template.len() + size_of_val(&*guards);
        Self {
            hash,
            key,
            template: template.into(),
            guards,
            variants: SmallVec::new(),
            hand: 0,
            bytes,
            heat: AtomicU8::new(0),
        }
    }

    fn is(&self, key: Key, template: &[u8]) -> bool {
        self.key == key && *self.template == *template
    }

    /// All analyses of a template agree on its guards: where another brings new ones, the union of both. The old variants,
    /// whose texts there are not known, are of no more use then.
    fn more_guards(&self, guards: &[u16]) -> Option<Box<[u16]>> {
        if guards.iter().all(|guard| self.guards.binary_search(guard).is_ok()) {
            return None;
        }
        let mut union: Vec<u16> = self.guards.iter().chain(guards).copied().collect();
        union.sort_unstable();
        union.dedup();
        Some(union.into())
    }

    fn variant(&self, slots: &[Slot], text: &str, hash: impl Fn() -> u64) -> Option<&Variant<A>> {
        if self.guards.is_empty() {
            return self.variants.first();
        }
        let hash = hash();
        self.variants.iter().find(|variant| variant.hash == hash && variant.is(&self.guards, slots, text))
    }

    fn add(&mut self, variant: Variant<A>) {
        let old = match self.variants.iter().position(|old| old.hash == variant.hash) {
            Some(place) => Some(place),
            None if self.variants.len() >= MAX_VARIANTS => Some(self.coldest()),
            None => None,
        };
        self.bytes += variant.bytes(self.template.len());
        match old.and_then(|place| self.variants.get_mut(place)) {
            Some(old) => {
                self.bytes -= old.bytes(self.template.len());
                *old = variant;
            }
            None => self.variants.push(variant),
        }
    }

    /// A variant that was not used since the hand last came by.
    fn coldest(&mut self) -> usize {
        loop {
            self.hand = (self.hand + 1) % self.variants.len().max(1);
            match self.variants.get_mut(self.hand).map(|variant| variant.used.get_mut()) {
                Some(used) if *used => *used = false,
                _ => return self.hand,
            }
        }
    }
}

impl<A> Variant<A> {
    fn new(hash: u64, guards: &[u16], slots: &[Slot], text: &str, analysis: Arc<A>) -> Self {
        let mut texts = Vec::new();
        let mut ends = Vec::with_capacity(guards.len());
        for guard in guards {
            texts.extend_from_slice(slot_text(slots, *guard, text));
            ends.push(texts.len() as u32);
        }
        Self { hash, texts: texts.into(), ends: ends.into(), analysis, used: AtomicBool::new(false) }
    }

    fn is(&self, guards: &[u16], slots: &[Slot], text: &str) -> bool {
        let mut start = 0;
        guards.iter().zip(&self.ends).all(|(guard, end)| {
            let end = *end as usize;
            let same = self.texts.get(start..end) == Some(slot_text(slots, *guard, text));
            start = end;
            same
        })
    }

    fn bytes(&self, template: usize) -> usize {
        size_of::<Self>() + self.texts.len() + size_of_val(&*self.ends) + ANALYSIS_BASE + template * ANALYSIS_PER_BYTE
    }
}

/// Not a text that could not be read (its template is empty), nor an enormous one. Slots are counted in 16 bits.
fn is_kept(scan: &Scan) -> bool {
    (1..=MAX_TEMPLATE).contains(&scan.template.len()) && scan.slots.len() <= usize::from(u16::MAX)
}

fn slot_text<'a>(slots: &[Slot], slot: u16, text: &'a str) -> &'a [u8] {
    slots.get(usize::from(slot)).map_or(&[], |slot| slot.text(text).as_bytes())
}

/// The slots `0 .. count` that are not free.
fn guards(count: usize, free: &[u16]) -> Box<[u16]> {
    let mut free = free.iter().copied().peekable();
    (0..count as u16).filter(|slot| free.next_if(|f| f <= slot).is_none_or(|f| f != *slot)).collect()
}

/// The keys are hashes already.
#[derive(Default)]
struct Identity(u64);

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::sql::template::scan;

    const KEY: Key = Key { fingerprint: 7, generation: 1, epoch: 1 };

    fn scanned(text: &str) -> Scan {
        let mut out = Scan::default();
        scan(text, true, &mut out).unwrap();
        out
    }

    fn put(cache: &PlanCache<u32>, text: &str, key: Key, guards: &[u16], value: u32) {
        cache.put(&scanned(text), text, key, guards.into(), Arc::new(value));
    }

    fn find(cache: &PlanCache<u32>, text: &str, key: Key) -> Option<u32> {
        cache.find(&scanned(text), text, key).map(|value| *value)
    }

    #[test]
    fn free_literals_are_no_part_of_the_key_and_guards_are() {
        let cache = PlanCache::new(1 << 20);
        put(&cache, "SELECT a FROM t WHERE k = 1 LIMIT 10", KEY, &[1], 1);
        put(&cache, "SELECT a FROM t WHERE k = 1 LIMIT 20", KEY, &[1], 2);
        assert_eq!(find(&cache, "SELECT a FROM t WHERE k = 99 LIMIT 10", KEY), Some(1));
        assert_eq!(find(&cache, "SELECT a FROM t  WHERE k = 5 LIMIT 20 -- x", KEY), Some(2));
        assert_eq!(find(&cache, "SELECT a FROM t WHERE k = 1 LIMIT 30", KEY), None);
        assert_eq!(find(&cache, "SELECT a FROM t WHERE k = '1' LIMIT 10", KEY), None);
        assert_eq!(find(&cache, "SELECT A FROM t WHERE k = 1 LIMIT 10", KEY), None);
        let stats = cache.stats();
        assert_eq!((stats.hits, stats.misses, stats.entries), (2, 3, 1));
    }

    #[test]
    fn guard_texts_do_not_run_together() {
        let cache = PlanCache::new(1 << 20);
        put(&cache, "SELECT 1, 23", KEY, &[0, 1], 1);
        assert_eq!(find(&cache, "SELECT 12, 3", KEY), None);
        assert_eq!(find(&cache, "SELECT 1, 23", KEY), Some(1));
    }

    #[test]
    fn guards_grow_to_the_union() {
        let cache = PlanCache::new(1 << 20);
        put(&cache, "SELECT 1, 2", KEY, &[0], 1);
        put(&cache, "SELECT 1, 3", KEY, &[1], 2);
        assert_eq!(find(&cache, "SELECT 1, 3", KEY), Some(2));
        assert_eq!(find(&cache, "SELECT 1, 2", KEY), None);
        put(&cache, "SELECT 1, 2", KEY, &[], 3);
        assert_eq!(find(&cache, "SELECT 1, 2", KEY), Some(3));
        assert_eq!(find(&cache, "SELECT 5, 2", KEY), None);
        assert_eq!(find(&cache, "SELECT 1, 3", KEY), Some(2));
        assert_eq!(cache.stats().entries, 1);
    }

    #[test]
    fn another_catalog_topology_or_path_is_a_miss() {
        let cache = PlanCache::new(1 << 20);
        put(&cache, "SELECT 1", KEY, &[], 1);
        let newer = Key { generation: 2, ..KEY };
        assert_eq!(find(&cache, "SELECT 1", newer), None);
        assert_eq!(find(&cache, "SELECT 1", Key { epoch: 2, ..KEY }), None);
        assert_eq!(find(&cache, "SELECT 1", Key { fingerprint: 8, ..KEY }), None);
        put(&cache, "SELECT 1", newer, &[], 2);
        // A late one of the older view does not come back.
        put(&cache, "SELECT 1", KEY, &[], 3);
        assert_eq!((find(&cache, "SELECT 1", newer), find(&cache, "SELECT 1", KEY)), (Some(2), None));
    }

    #[test]
    fn a_flood_of_templates_neither_grows_it_nor_pushes_out_what_is_used() {
        let limit = 1 << 20;
        let cache = PlanCache::new(limit);
        let hot: Vec<String> = (0..20).map(|i| format!("SELECT a{i} FROM t WHERE k = 1")).collect();
        for (i, text) in hot.iter().enumerate() {
            put(&cache, text, KEY, &[], i as u32);
        }
        for i in 0..20_000u32 {
            put(&cache, &format!("SELECT x{i} FROM t"), KEY, &[], i);
            if i % 50 == 0 {
                for text in &hot {
                    assert!(find(&cache, text, KEY).is_some(), "{text} is gone after {i}");
                }
            }
            assert!(cache.stats().bytes <= limit);
        }
        assert!(cache.stats().evictions > 18_000);
    }

    #[test]
    fn a_flood_of_guard_values_stays_in_its_template() {
        let cache = PlanCache::new(8 << 20);
        put(&cache, "SELECT a FROM t", KEY, &[], 1);
        put(&cache, "SELECT b FROM t LIMIT 1", KEY, &[0], 2);
        for i in 0..1000 {
            put(&cache, &format!("SELECT b FROM t LIMIT {i}0"), KEY, &[0], 3);
            assert_eq!(find(&cache, "SELECT b FROM t LIMIT 1", KEY), Some(2));
        }
        assert_eq!(find(&cache, "SELECT a FROM t", KEY), Some(1));
        let stats = cache.stats();
        assert_eq!((stats.entries, stats.evictions), (2, 0));
        assert!(stats.bytes < 1 << 20);
    }

    #[test]
    fn what_is_too_large_is_not_kept() {
        let cache = PlanCache::new(1 << 20);
        let text = format!("SELECT {}", vec!["a"; MAX_TEMPLATE].join(","));
        put(&cache, &text, KEY, &[], 1);
        assert_eq!(find(&cache, &text, KEY), None);
        let text = format!("SELECT {}", vec!["a"; 5000].join(","));
        put(&cache, &text, KEY, &[], 1);
        assert_eq!(find(&cache, &text, KEY), None);
        assert_eq!(cache.stats().bytes, 0);
    }

    #[test]
    fn an_unreadable_text_is_not_kept() {
        let cache = PlanCache::new(1 << 20);
        let mut out = Scan::default();
        let text = "SELECT a FROM t WHERE k = 5 AND x = 'a";
        scan(text, true, &mut out).unwrap_err();
        cache.put(&out, text, KEY, [].into(), Arc::new(1));
        assert_eq!(cache.stats().entries, 0);
        assert_eq!(find(&cache, "SELECT a FROM t WHERE k = 5", KEY), None);
        assert_eq!(find(&cache, "", KEY), None);
    }

    #[test]
    fn guards_are_what_is_not_free() {
        assert_eq!(*guards(5, &[1, 3]), [0, 2, 4]);
        assert_eq!(*guards(2, &[]), [0, 1]);
        assert!(guards(2, &[0, 1]).is_empty());
    }
}

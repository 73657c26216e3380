//! Every distribution compiled to one sorted lookup. Owns no names: shards are positions, values are typed.

use std::cmp::Ordering;
use std::fmt;
use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use hashbrown::HashTable;

use crate::ids::{ShardId, ShardSet, Token};
use crate::topology::distribution::KeyRange;
use crate::topology::key_order::{compare, compare_keys};
use crate::types::canonical::{self, KeyValue};
use crate::types::postgres_hash::partition_hash;

/// The compiled form of a distribution's method, with its pins. The default serves no key.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ShardMap {
    pins: KeyTable,
    method: Method,
    /// Every shard that the method or a pin names.
    shards: ShardSet,
}

/// How a key that is not pinned finds its shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Method {
    Hash(TokenMap),
    Range(RangeMap),
    List {
        values: KeyTable,
        default: Option<ShardId>,
    },
    /// Postgres's own hash partitions: the shard of each remainder.
    Remainders(Box<[ShardId]>),
    Composite(CompositeMap),
}

impl Default for Method {
    fn default() -> Self {
        Self::List { values: KeyTable::default(), default: None }
    }
}

impl ShardMap {
    pub fn new(method: Method, pins: KeyTable) -> Self {
        let mut shards = match &method {
            Method::Hash(map) => map.shards(),
            Method::Range(map) => map.shards().collect(),
            Method::List { values, default } => values.shards().chain(*default).collect(),
            Method::Remainders(owners) => owners.iter().copied().collect(),
            Method::Composite(map) => map.shards(),
        };
        shards.union_with(&pins.shards().collect());
        Self { pins, method, shards }
    }

    pub fn method(&self) -> &Method {
        &self.method
    }

    /// Single keys placed by name, looked up before the method.
    pub fn pins(&self) -> &KeyTable {
        &self.pins
    }

    /// Every shard that can hold a row.
    pub fn shards(&self) -> &ShardSet {
        &self.shards
    }

    /// `None` when no shard serves the key. The key has no NULL and the distribution's types.
    pub fn locate(&self, key: &[KeyValue<'_>]) -> Option<ShardId> {
        if let Some(shard) = self.pins.get(key) {
            return Some(shard);
        }
        match &self.method {
            Method::Hash(map) => map.get(canonical::token(key)?),
            Method::Range(map) => map.get(key.first()?),
            Method::List { values, default } => values.get(key).or(*default),
            Method::Remainders(owners) => remainder(owners, key),
            Method::Composite(map) => map.get(key),
        }
    }

    /// The shards that can hold a one-column key in `range`, whose bounds have the distribution's type and our order.
    pub fn locate_range(&self, range: &KeyRange<'_>) -> ShardSet {
        let mut shards = match &self.method {
            Method::Hash(map) => match range.point() {
                Some(key) => canonical::token(std::slice::from_ref(key)).and_then(|t| map.get(t)).into_iter().collect(),
                None => map.shards(),
            },
            Method::Range(map) => map.overlapping(range).collect(),
            Method::List { values, default } => values.within(range).chain(*default).collect(),
            Method::Remainders(owners) => match range.point() {
                Some(key) => remainder(owners, std::slice::from_ref(key)).into_iter().collect(),
                None => owners.iter().copied().collect(),
            },
            Method::Composite(map) => map.shards(),
        };
        shards.union_with(&self.pins.within(range).collect());
        shards
    }

    /// The shards that can hold a key of several columns of which the first is known; all where the method looks at the whole key.
    pub fn locate_first(&self, first: &KeyValue<'_>) -> ShardSet {
        let Method::Composite(map) = &self.method else { return self.shards.clone() };
        let mut shards = map.group(first).map(TokenMap::shards).unwrap_or_default();
        let pinned = self.pins.entries.iter().filter(|(key, _)| key.first() == Some(first));
        shards.union_with(&pinned.map(|(_, shard)| *shard).collect());
        shards
    }
}

/// The first column picks a group of shards, the hash of the others one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompositeMap {
    pub outer: Outer,
    /// For each group, its tokens.
    pub groups: Box<[TokenMap]>,
}

/// Which group, by its position, the value of the first column belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outer {
    List { values: KeyTable<usize>, default: Option<usize> },
    Range(RangeMap<usize>),
}

impl CompositeMap {
    fn get(&self, key: &[KeyValue<'_>]) -> Option<ShardId> {
        let (first, rest) = key.split_first()?;
        self.group(first)?.get(canonical::token(rest)?)
    }

    fn group(&self, first: &KeyValue<'_>) -> Option<&TokenMap> {
        let group = match &self.outer {
            Outer::List { values, default } => values.get(std::slice::from_ref(first)).or(*default),
            Outer::Range(map) => map.get(first),
        };
        self.groups.get(group?)
    }

    fn shards(&self) -> ShardSet {
        let mut shards = ShardSet::new();
        self.groups.iter().for_each(|group| shards.union_with(&group.shards()));
        shards
    }
}

fn remainder(owners: &[ShardId], key: &[KeyValue<'_>]) -> Option<ShardId> {
    let modulus = u64::try_from(owners.len()).ok()?;
    let remainder = partition_hash(key)?.checked_rem(modulus)?;
    owners.get(usize::try_from(remainder).ok()?).copied()
}

/// Every token's shard: the sorted first tokens of the ranges, and beside them the owners.
///
/// A token's leading bits name an entry of `index`, and most entries lie within one range: one read of memory, cold more often than not
/// between two statements, finds the shard. Where ranges meet, the few starts in question are compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenMap {
    starts: Box<[u64]>,
    owners: Box<[ShardId]>,
    /// For each value of the leading bits: [`WHOLE`] and the owner's position plus one (0: nobody), or how many starts lie before.
    index: Box<[u32]>,
    /// How far a token is shifted to leave its leading bits.
    shift: u32,
}

/// All tokens with these leading bits have one owner.
const WHOLE: u32 = 1 << 31;
/// Entries for each start, as a power of two: so that five of six are whole.
const FINER: u32 = 2;

impl Default for TokenMap {
    fn default() -> Self {
        Self::new([])
    }
}

impl TokenMap {
    /// From the first token of each range, sorted; a range ends where the next begins. Nothing serves the tokens before the first.
    pub fn new(ranges: impl IntoIterator<Item = (Token, ShardId)>) -> Self {
        let mut joined: Vec<(u64, ShardId)> = Vec::new();
        for (Token(start), shard) in ranges {
            if joined.last().is_none_or(|last| last.1 != shard) {
                joined.push((start, shard));
            }
        }
        let (starts, owners): (Vec<_>, Vec<_>) = joined.into_iter().unzip();
        let bits = (starts.len().next_power_of_two().trailing_zeros() + FINER).min(20);
        let shift = u64::BITS - bits;
        let entry = |leading: u64| {
            let first = leading << shift;
            let last = first | (u64::MAX >> bits);
            let before = starts.partition_point(|start| *start <= first);
            match starts.get(before) {
                Some(next) if *next <= last => before as u32,
                _ => {
                    WHOLE
                        | before
                            .checked_sub(1)
                            .and_then(|at| owners.get(at))
                            .map_or(0, |o: &ShardId| u32::from(o.0) + 1)
                }
            }
        };
        let index = (0..1 << bits).map(entry).collect();
        Self { starts: starts.into(), owners: owners.into(), index, shift }
    }

    pub fn get(&self, token: Token) -> Option<ShardId> {
        let entry = *self.index.get((token.0 >> self.shift) as usize)?;
        if entry & WHOLE != 0 {
            return (entry ^ WHOLE).checked_sub(1).map(|owner| ShardId(owner as u16));
        }
        let before = entry as usize;
        let rest = self.starts.get(before..)?;
        // One or two, but where explicit tokens crowd together.
        let more = match rest.iter().take(8).position(|start| *start > token.0) {
            Some(more) => more,
            None => rest.partition_point(|start| *start <= token.0),
        };
        self.owners.get((before + more).checked_sub(1)?).copied()
    }

    /// The ranges in ascending order: first token, last token, shard.
    pub fn ranges(&self) -> impl Iterator<Item = (Token, Token, ShardId)> + '_ {
        (0..).map_while(|at| self.range(at))
    }

    /// The range at this place among [`Self::ranges`].
    pub fn range(&self, at: usize) -> Option<(Token, Token, ShardId)> {
        let (first, shard) = (self.starts.get(at)?, self.owners.get(at)?);
        let last = self.starts.get(at + 1).map_or(u64::MAX, |next| next - 1);
        Some((Token(*first), Token(last), *shard))
    }

    fn shards(&self) -> ShardSet {
        self.owners.iter().copied().collect()
    }
}

/// The keys from `from` (inclusive) to `to` (exclusive); `None` is no limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interval<T = ShardId> {
    pub from: Option<KeyValue<'static>>,
    pub to: Option<KeyValue<'static>>,
    pub shard: T,
}

/// Disjoint intervals in ascending order; what lies between them has no shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeMap<T = ShardId> {
    intervals: Box<[Interval<T>]>,
}

impl<T> Default for RangeMap<T> {
    fn default() -> Self {
        Self { intervals: Box::default() }
    }
}

impl<T: Copy> RangeMap<T> {
    /// `intervals` must not overlap; they may come in any order.
    pub fn new(mut intervals: Vec<Interval<T>>) -> Self {
        intervals.sort_by(|a, b| compare_from(a.from.as_ref(), b.from.as_ref()));
        Self { intervals: intervals.into() }
    }

    pub fn intervals(&self) -> &[Interval<T>] {
        &self.intervals
    }

    pub fn get(&self, key: &KeyValue<'_>) -> Option<T> {
        let after = self.intervals.partition_point(|i| i.from.as_ref().is_none_or(|from| compare(from, key).is_le()));
        let interval = self.intervals.get(after.checked_sub(1)?)?;
        interval.to.as_ref().is_none_or(|to| compare(key, to).is_lt()).then_some(interval.shard)
    }

    fn overlapping(&self, range: &KeyRange<'_>) -> impl Iterator<Item = T> {
        let begin = match &range.low {
            None => 0,
            Some((low, _)) => {
                self.intervals.partition_point(|i| i.to.as_ref().is_some_and(|to| compare(to, low).is_le()))
            }
        };
        let reaches = |interval: &&Interval<T>| match (&interval.from, &range.high) {
            (Some(from), Some((high, inclusive))) => match compare(from, high) {
                Ordering::Less => true,
                Ordering::Equal => *inclusive,
                Ordering::Greater => false,
            },
            _ => true,
        };
        let some = if range.is_empty() { 0 } else { self.intervals.len() };
        self.intervals.iter().take(some).skip(begin).take_while(reaches).map(|i| i.shard)
    }

    fn shards(&self) -> impl Iterator<Item = T> {
        self.intervals.iter().map(|i| i.shard)
    }
}

/// The order of interval starts: no limit comes first.
pub(super) fn compare_from(a: Option<&KeyValue<'_>>, b: Option<&KeyValue<'_>>) -> Ordering {
    match (a, b) {
        (Some(a), Some(b)) => compare(a, b),
        (a, b) => a.is_some().cmp(&b.is_some()),
    }
}

/// Whole keys with their shards, sorted by key.
#[derive(Clone)]
pub struct KeyTable<T = ShardId> {
    entries: Box<[KeyEntry<T>]>,
    /// The place in `entries` of each key, by its hash: a search among a million sorted keys misses the cache twenty times.
    places: HashTable<u32>,
}

/// A key and where it lies.
pub type KeyEntry<T = ShardId> = (Box<[KeyValue<'static>]>, T);

impl<T> Default for KeyTable<T> {
    fn default() -> Self {
        Self { entries: Box::default(), places: HashTable::new() }
    }
}

/// The places follow from the entries.
impl<T: PartialEq> PartialEq for KeyTable<T> {
    fn eq(&self, other: &Self) -> bool {
        self.entries == other.entries
    }
}

impl<T: Eq> Eq for KeyTable<T> {}

impl<T: fmt::Debug> fmt::Debug for KeyTable<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.entries.iter().map(|(key, place)| (key, place))).finish()
    }
}

/// Who may ask chooses no key of the table, so one seed for all does.
fn hash(key: &[KeyValue<'_>]) -> u64 {
    FixedState::default().hash_one(key)
}

impl<T: Copy> KeyTable<T> {
    /// Keys must be different; they may come in any order.
    pub fn new(mut entries: Vec<KeyEntry<T>>) -> Self {
        entries.sort_by(|a, b| compare_keys(&a.0, &b.0));
        let mut places = HashTable::with_capacity(entries.len());
        for (place, entry) in (0u32..).zip(&entries) {
            places.insert_unique(hash(&entry.0), place, |place| {
                entries.get(*place as usize).map_or(0, |entry| hash(&entry.0))
            });
        }
        Self { entries: entries.into(), places }
    }

    pub fn entries(&self) -> &[KeyEntry<T>] {
        &self.entries
    }

    pub fn get(&self, key: &[KeyValue<'_>]) -> Option<T> {
        if self.entries.is_empty() {
            return None;
        }
        let entry = |place: u32| self.entries.get(place as usize);
        let place = self.places.find(hash(key), |place| entry(*place).is_some_and(|entry| *entry.0 == *key))?;
        entry(*place).map(|entry| entry.1)
    }

    /// The shards of the keys whose first column lies in `range`.
    fn within(&self, range: &KeyRange<'_>) -> impl Iterator<Item = T> {
        let begin = match &range.low {
            None => 0,
            Some((low, _)) => self.entries.partition_point(|(key, _)| is_below(key, low)),
        };
        let reaches = |key: &[KeyValue<'_>]| match (key.first(), &range.high) {
            (Some(first), Some((high, _))) => compare(first, high).is_le(),
            (Some(_) | None, None) | (None, Some(_)) => true,
        };
        let rest = self.entries.iter().skip(begin).take_while(move |(key, _)| reaches(key));
        rest.filter(|(key, _)| key.first().is_some_and(|key| range.contains(key))).map(|entry| entry.1)
    }

    fn shards(&self) -> impl Iterator<Item = T> + '_ {
        self.entries.iter().map(|entry| entry.1)
    }
}

fn is_below(key: &[KeyValue<'_>], low: &KeyValue<'_>) -> bool {
    key.first().is_none_or(|first| compare(first, low).is_lt())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn int(value: i64) -> KeyValue<'static> {
        KeyValue::Int(value)
    }

    fn one(value: i64) -> Box<[KeyValue<'static>]> {
        Box::new([int(value)])
    }

    /// Intervals between sorted cuts, some left out, some ends open.
    fn intervals() -> impl Strategy<Value = Vec<Interval>> {
        let cuts = proptest::collection::btree_set(-20i64..20, 1..8);
        (cuts, proptest::collection::vec(proptest::option::weighted(0.7, 0u16..4), 9)).prop_map(|(cuts, owners)| {
            let cuts: Vec<i64> = cuts.into_iter().collect();
            let froms = std::iter::once(None).chain(cuts.iter().copied().map(Some));
            let tos = cuts.iter().copied().map(Some).chain([None]);
            let pieces = froms.zip(tos).zip(owners);
            pieces
                .filter_map(|((from, to), owner)| {
                    Some(Interval { from: from.map(int), to: to.map(int), shard: ShardId(owner?) })
                })
                .collect()
        })
    }

    fn key_range() -> impl Strategy<Value = KeyRange<'static>> {
        let bound =
            || proptest::option::of((-25i64..25, any::<bool>()).prop_map(|(value, inclusive)| (int(value), inclusive)));
        (bound(), bound()).prop_map(|(low, high)| KeyRange { low, high })
    }

    fn holds(interval: &Interval, key: i64) -> bool {
        interval.from.as_ref().is_none_or(|from| compare(from, &int(key)).is_le())
            && interval.to.as_ref().is_none_or(|to| compare(&int(key), to).is_lt())
    }

    fn maps() -> impl Strategy<Value = ShardMap> {
        let keys = || proptest::collection::btree_map(-20i64..20, 0u16..6, 0..6);
        let table = |entries: std::collections::BTreeMap<i64, u16>| {
            KeyTable::new(entries.into_iter().rev().map(|(key, shard)| (one(key), ShardId(shard))).collect())
        };
        let method = prop_oneof![
            intervals().prop_map(|mut list| {
                list.reverse();
                Method::Range(RangeMap::new(list))
            }),
            (keys(), proptest::option::of(0u16..4)).prop_map(move |(values, default)| Method::List {
                values: table(values),
                default: default.map(ShardId)
            }),
            proptest::collection::btree_map(any::<u64>(), 0u16..4, 0..10).prop_map(|starts| {
                let rest = starts.into_iter().map(|(token, shard)| (Token(token), ShardId(shard)));
                Method::Hash(TokenMap::new(std::iter::once((Token(0), ShardId(0))).chain(rest)))
            }),
        ];
        let remainders = proptest::collection::vec(0u16..4, 1..9)
            .prop_map(|owners| Method::Remainders(owners.into_iter().map(ShardId).collect()));
        let method = prop_oneof![3 => method, 1 => remainders];
        (method, keys()).prop_map(move |(method, pins)| ShardMap::new(method, table(pins)))
    }

    proptest! {
        #[test]
        fn range_lookup_agrees_with_a_scan(intervals in intervals(), key in -30i64..30) {
            let scanned = intervals.iter().find(|i| holds(i, key)).map(|i| i.shard);
            prop_assert_eq!(RangeMap::new(intervals).get(&int(key)), scanned);
        }

        #[test]
        fn token_lookup_agrees_with_a_scan(starts in proptest::collection::btree_map(any::<u64>(), 0u16..4, 0..50), probe in any::<u64>()) {
            let map = TokenMap::new(starts.iter().map(|(token, shard)| (Token(*token), ShardId(*shard))));
            for token in starts.keys().copied().chain([0, probe, u64::MAX]) {
                let scanned = starts.iter().rfind(|(start, _)| **start <= token).map(|(_, s)| ShardId(*s));
                prop_assert_eq!(map.get(Token(token)), scanned);
                let listed = map.ranges().find(|(first, last, _)| *first <= Token(token) && Token(token) <= *last).map(|r| r.2);
                prop_assert_eq!(listed, scanned);
            }
        }

        #[test]
        fn range_condition_names_every_shard_with_a_matching_key(map in maps(), range in key_range()) {
            let located = map.locate_range(&range);
            for key in (-30..30).filter(|key| range.contains(&int(*key))) {
                if let Some(shard) = map.locate(&[int(key)]) {
                    prop_assert!(located.contains(shard), "key {key} lies on {shard}, not in {located}");
                    prop_assert!(map.shards().contains(shard));
                }
            }
            for shard in located.iter() {
                prop_assert!(map.shards().contains(shard));
            }
        }
    }

    proptest! {
        #[test]
        fn a_composite_key_lies_in_the_group_of_its_first_column(
            outer in intervals(),
            lists in proptest::bool::ANY,
            rings in proptest::collection::vec(proptest::collection::btree_map(any::<u64>(), 0u16..6, 0..6), 4),
            pins in proptest::collection::btree_map((-20i64..20, -20i64..20), 0u16..8, 0..6),
            key in (-25i64..25, -25i64..25),
        ) {
            let groups: Box<[TokenMap]> = rings.into_iter().enumerate().map(|(group, starts)| {
                let rest = starts.into_iter().map(|(token, shard)| (Token(token), ShardId(shard)));
                TokenMap::new(std::iter::once((Token(0), ShardId(group as u16))).chain(rest))
            }).collect();
            let group = |i: &Interval| usize::from(i.shard.0);
            let outer = match lists {
                false => Outer::Range(RangeMap::new(outer.iter().map(|i| Interval {
                    from: i.from.clone(), to: i.to.clone(), shard: group(i),
                }).collect())),
                true => Outer::List {
                    values: KeyTable::new(outer.iter().filter_map(|i| {
                        Some((Box::from([i.from.clone()?]), group(i)))
                    }).collect()),
                    default: outer.first().map(group),
                },
            };
            let composite = CompositeMap { outer, groups };
            let (first, second) = (int(key.0), int(key.1));
            let pinned = pins.get(&key).map(|shard| ShardId(*shard));
            let wanted = pinned.or_else(|| {
                composite.group(&first)?.get(canonical::token(std::slice::from_ref(&second))?)
            });
            let pins = pins.iter().map(|((a, b), shard)| (Box::from([int(*a), int(*b)]), ShardId(*shard))).collect();
            let map = ShardMap::new(Method::Composite(composite), KeyTable::new(pins));
            let located = map.locate(&[first.clone(), second]);
            prop_assert_eq!(located, wanted);
            if let Some(shard) = located {
                prop_assert!(map.locate_first(&first).contains(shard));
                prop_assert!(map.shards().contains(shard));
            }
            prop_assert!(map.locate_first(&first).iter().all(|shard| map.shards().contains(shard)));
        }
    }

    #[test]
    fn range_condition_skips_ranges_outside_it() {
        let cut = |from: Option<i64>, to: Option<i64>, shard| Interval {
            from: from.map(int),
            to: to.map(int),
            shard: ShardId(shard),
        };
        let intervals = vec![cut(None, Some(10), 0), cut(Some(10), Some(20), 1), cut(Some(30), None, 2)];
        let map = ShardMap::new(Method::Range(RangeMap::new(intervals)), KeyTable::new(vec![(one(15), ShardId(3))]));
        let located = |low: Option<(i64, bool)>, high: Option<(i64, bool)>| {
            let bound = |b: Option<(i64, bool)>| b.map(|(value, inclusive)| (int(value), inclusive));
            map.locate_range(&KeyRange { low: bound(low), high: bound(high) }).to_string()
        };
        assert_eq!(located(None, Some((10, false))), "0");
        assert_eq!(located(None, Some((10, true))), "0,1");
        assert_eq!(located(Some((20, true)), Some((29, true))), "");
        assert_eq!(located(Some((15, true)), Some((15, true))), "1,3");
        assert_eq!(located(Some((16, true)), None), "1,2");
        assert_eq!(located(Some((40, true)), Some((35, true))), "");
        assert_eq!(located(None, None), "0,1,2,3");
    }

    #[test]
    fn pins_go_before_the_method() {
        let map = ShardMap::new(
            Method::List { values: KeyTable::new(vec![(one(1), ShardId(0))]), default: None },
            KeyTable::new(vec![(one(7), ShardId(2)), (one(-7), ShardId(1))]),
        );
        let located: Vec<_> = [1, 7, -7, 2].map(|key| map.locate(&[int(key)])).into();
        assert_eq!(located, [Some(ShardId(0)), Some(ShardId(2)), Some(ShardId(1)), None]);
    }
}

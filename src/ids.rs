//! The identities that the layers pass to each other: newtypes, so that a shard is never taken for a position.

use std::fmt;

/// A Postgres object identifier (`pg_type.oid` and its like).
pub type Oid = u32;

/// A shard: its place in [`crate::topology::Topology::shards`] of the same epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(pub u16);

/// A rule key -> shard: its place in [`crate::topology::Topology::distributions`] of the same epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DistributionId(pub u16);

/// The version of the shard map. A router never goes to a smaller one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Epoch(pub u64);

/// The 64-bit hash of a sharding key's canonical bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// Names a router among those that pass cancel requests on to each other: the upper bits of the process ids that its clients are told.
/// Two routers may have the same one; then the secret tells whose client it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouterNumber(u16);

impl RouterNumber {
    /// The bits of a process id that number the clients of one router; 11 are left for the router, and the sign stays 0.
    const CLIENT_BITS: u32 = 20;
    /// The greatest number of a router.
    pub const MOST: u16 = 0x7ff;
    /// Process ids that one router can give at a time: 0 is nobody.
    pub const CLIENTS: u32 = (1 << Self::CLIENT_BITS) - 1;

    /// `None`: no router has this one.
    pub fn new(number: u16) -> Option<Self> {
        (1..=Self::MOST).contains(&number).then_some(Self(number))
    }

    pub fn get(self) -> u16 {
        self.0
    }

    /// The process id of a client, by its number from 1 to [`Self::CLIENTS`].
    pub fn pid(self, client: u32) -> u32 {
        u32::from(self.0) << Self::CLIENT_BITS | client & Self::CLIENTS
    }

    /// Whose client has this process id. `None`: nobody's.
    pub fn of(pid: u32) -> Option<Self> {
        u16::try_from(pid >> Self::CLIENT_BITS).ok().and_then(Self::new)
    }
}

impl ShardId {
    /// Not a shard of the topology: a connection to the home shard on which Postgres finishes a statement. A session may hold
    /// several, each under a number of its own.
    pub fn combine(number: u8) -> Self {
        Self(u16::MAX - u16::from(number))
    }

    /// Whether it is one of [`Self::combine`].
    pub fn is_combine(self) -> bool {
        self.0 >= u16::MAX - u16::from(u8::MAX)
    }

    /// The position in the topology's list of shards.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A table, view, type or function name with its schema, both as stored in the catalog (already folded, unquoted).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QualifiedName {
    pub schema: Box<str>,
    pub name: Box<str>,
}

impl QualifiedName {
    pub fn new(schema: impl Into<Box<str>>, name: impl Into<Box<str>>) -> Self {
        Self { schema: schema.into(), name: name.into() }
    }
}

impl fmt::Display for QualifiedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.name)
    }
}

/// A set of shards, iterated in ascending order: a bit a shard, inline up to 128 shards.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ShardSet {
    words: smallvec::SmallVec<[u64; 2]>,
}

impl ShardSet {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn one(shard: ShardId) -> Self {
        let mut set = Self::new();
        set.insert(shard);
        set
    }

    /// The shards `0 .. count`.
    pub fn first(count: usize) -> Self {
        (0..count).map(|i| ShardId(i as u16)).collect()
    }

    pub fn insert(&mut self, shard: ShardId) {
        let word = shard.index() / 64;
        if self.words.len() <= word {
            self.words.resize(word + 1, 0);
        }
        self.words[word] |= 1 << (shard.index() % 64);
    }

    pub fn remove(&mut self, shard: ShardId) {
        if let Some(word) = self.words.get_mut(shard.index() / 64) {
            *word &= !(1 << (shard.index() % 64));
        }
        while self.words.last() == Some(&0) {
            self.words.pop();
        }
    }

    pub fn contains(&self, shard: ShardId) -> bool {
        self.words.get(shard.index() / 64).is_some_and(|word| word & (1 << (shard.index() % 64)) != 0)
    }

    pub fn len(&self) -> usize {
        self.words.iter().map(|w| w.count_ones() as usize).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|w| *w == 0)
    }

    /// The smallest member.
    pub fn min(&self) -> Option<ShardId> {
        self.iter().next()
    }

    /// The only member, where there is exactly one.
    pub fn single(&self) -> Option<ShardId> {
        let mut iter = self.iter();
        let first = iter.next()?;
        iter.next().is_none().then_some(first)
    }

    pub fn union_with(&mut self, other: &ShardSet) {
        if self.words.len() < other.words.len() {
            self.words.resize(other.words.len(), 0);
        }
        for (mine, theirs) in self.words.iter_mut().zip(&other.words) {
            *mine |= theirs;
        }
    }

    pub fn intersect_with(&mut self, other: &ShardSet) {
        self.words.truncate(other.words.len());
        for (mine, theirs) in self.words.iter_mut().zip(&other.words) {
            *mine &= theirs;
        }
        while self.words.last() == Some(&0) {
            self.words.pop();
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = ShardId> + '_ {
        self.words.iter().enumerate().flat_map(|(word, bits)| {
            let mut bits = *bits;
            std::iter::from_fn(move || {
                if bits == 0 {
                    return None;
                }
                let bit = bits.trailing_zeros();
                bits &= bits - 1;
                Some(ShardId((word * 64) as u16 + bit as u16))
            })
        })
    }
}

impl FromIterator<ShardId> for ShardSet {
    fn from_iter<T: IntoIterator<Item = ShardId>>(iter: T) -> Self {
        let mut set = Self::new();
        for shard in iter {
            set.insert(shard);
        }
        set
    }
}

impl fmt::Display for ShardSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, shard) in self.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            write!(f, "{shard}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shard_set_iterates_in_order_across_words() {
        let set: ShardSet = [130, 3, 64, 3].into_iter().map(ShardId).collect();
        let ids: Vec<u16> = set.iter().map(|s| s.0).collect();
        assert_eq!(ids, [3, 64, 130]);
        assert_eq!(set.len(), 3);
        assert_eq!(set.single(), None);
    }

    #[test]
    fn shard_set_intersection_shrinks_to_equal_sets() {
        let mut a: ShardSet = [1, 200].into_iter().map(ShardId).collect();
        a.intersect_with(&ShardSet::first(8));
        assert_eq!(a, ShardSet::one(ShardId(1)));
        assert_eq!(a.single(), Some(ShardId(1)));
    }
}

//! PURE. What a transaction changes of the values that are unique over all shards, and where the registry has each of them.
//!
//! A value is text: an array of the columns' values as Postgres prints it. Only what is left at the end counts: a value that one row gives
//! up and another takes is not touched.

use std::collections::BTreeMap;

/// One value of one rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub scope: String,
    pub value: String,
    /// For people.
    pub shown: String,
    /// Registered, or given up.
    pub added: bool,
}

/// What the shards have noted of one transaction.
#[derive(Debug, Default)]
pub struct Changes(BTreeMap<(String, String), (String, i64)>);

impl Changes {
    /// `change`: rows that have the value now, less those that have it no more.
    pub fn note(&mut self, scope: String, value: String, shown: String, change: i64) {
        self.0.entry((scope, value)).or_insert((shown, 0)).1 += change;
    }

    /// The changes of the registry, by the place of each shard among `shards`, in an order that is the same for all.
    ///
    /// # Errors
    /// A value that two rows have now.
    pub fn by_shard(self, shards: usize) -> Result<BTreeMap<usize, Vec<Entry>>, Entry> {
        let mut found: BTreeMap<usize, Vec<Entry>> = BTreeMap::new();
        for ((scope, value), (shown, change)) in self.0 {
            let at = place(&scope, &value, shards);
            let entry = Entry { scope, value, shown, added: change > 0 };
            match change {
                0 => {}
                2.. => return Err(entry),
                _ => found.entry(at).or_default().push(entry),
            }
        }
        Ok(found)
    }
}

/// The place of the shard that has a value in its registry.
pub fn place(scope: &str, value: &str, shards: usize) -> usize {
    let hash = fnv(fnv(OFFSET, scope.as_bytes()), &[0]);
    let hash = fnv(hash, value.as_bytes());
    // FNV's low bits alone are poor.
    ((hash ^ (hash >> 32)) % (shards.max(1) as u64)) as usize
}

/// What a registry was made for: under other shards its values are elsewhere.
pub fn fingerprint<'a>(scope: &str, shards: impl Iterator<Item = &'a str>) -> String {
    let hash = shards.fold(fnv(OFFSET, scope.as_bytes()), |hash, name| fnv(fnv(hash, &[0]), name.as_bytes()));
    format!("{hash:016x}")
}

/// A short name of a rule, for its triggers.
pub fn short(scope: &str) -> String {
    format!("{:016x}", fnv(OFFSET, scope.as_bytes()))
}

const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;

/// FNV-1a: what is named or placed by it must not change with the version of the compiler.
fn fnv(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn noted(list: &[(&str, i64)]) -> Result<Vec<(String, bool)>, String> {
        let mut changes = Changes::default();
        for (value, change) in list {
            changes.note("t (a)".to_owned(), (*value).to_owned(), (*value).to_owned(), *change);
        }
        let entries = changes.by_shard(1).map_err(|entry| entry.value)?;
        Ok(entries.into_values().flatten().map(|entry| (entry.value, entry.added)).collect())
    }

    #[test]
    fn only_what_is_left_at_the_end_counts() {
        let changed = noted(&[("a", 1), ("b", 1), ("a", -1), ("c", -1), ("b", -1), ("b", 1)]).unwrap();
        assert_eq!(changed, [("b".to_owned(), true), ("c".to_owned(), false)]);
        // Two rows swap their values.
        assert_eq!(noted(&[("a", -1), ("b", 1), ("b", -1), ("a", 1)]), Ok(Vec::new()));
        assert_eq!(noted(&[("a", 1), ("b", 1), ("b", 1)]), Err("b".to_owned()));
    }

    #[test]
    fn values_are_spread_over_all_shards() {
        let mut counts = [0; 4];
        (0..1000).for_each(|n| counts[place("public.users (email)", &format!("{{user{n}@example.com}}"), 4)] += 1);
        assert!(counts.iter().all(|count| *count > 180), "{counts:?}");
    }
}

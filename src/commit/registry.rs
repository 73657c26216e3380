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
    pub change: Change,
    /// The shard that has the row now.
    pub shard: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// No row had the value.
    Added,
    /// No row has it any more.
    Removed,
    /// A row on another shard has it.
    Moved,
}

impl Change {
    /// The rows that have the value now, less those that had it.
    pub fn rows(self) -> i8 {
        match self {
            Self::Added => 1,
            Self::Removed => -1,
            Self::Moved => 0,
        }
    }
}

/// What is shown of a value, and by shard the rows that have it now, less those that have it no more.
type Noted = (String, BTreeMap<usize, i64>);

/// What the shards have noted of one transaction.
#[derive(Debug, Default)]
pub struct Changes(BTreeMap<(String, String), Noted>);

impl Changes {
    /// `change`: rows of this shard that have the value now, less those that have it no more.
    pub fn note(&mut self, scope: String, value: String, shown: String, shard: usize, change: i64) {
        let (_, by_shard) = self.0.entry((scope, value)).or_insert_with(|| (shown, BTreeMap::new()));
        *by_shard.entry(shard).or_default() += change;
    }

    /// The changes of the registry, by the place of each shard among `shards`, in an order that is the same for all; and the values that
    /// two rows have now, which are among them.
    pub fn by_shard(self, shards: usize) -> (BTreeMap<usize, Vec<Entry>>, Vec<Entry>) {
        let mut found: BTreeMap<usize, Vec<Entry>> = BTreeMap::new();
        let mut twice_now = Vec::new();
        for ((scope, value), (shown, by_shard)) in self.0 {
            let at = place(&scope, &value, shards);
            let gained = by_shard.iter().find(|(_, change)| **change > 0).map(|(shard, _)| *shard);
            let (change, twice) = match (by_shard.values().sum::<i64>(), gained) {
                // Of all shards, none has it more or less than before.
                (0, None) => continue,
                (0, Some(_)) => (Change::Moved, false),
                (1.., _) => (Change::Added, by_shard.values().sum::<i64>() > 1),
                (..0, _) => (Change::Removed, false),
            };
            let entry = Entry { scope, value, shown, change, shard: gained.unwrap_or_default() };
            if twice {
                twice_now.push(entry.clone());
            }
            found.entry(at).or_default().push(entry);
        }
        (found, twice_now)
    }
}

/// The place of the shard that has a value in its registry.
pub fn place(scope: &str, value: &str, shards: usize) -> usize {
    let hash = fnv(fnv(OFFSET, scope.as_bytes()), &[0]);
    let hash = fnv(hash, value.as_bytes());
    // FNV's low bits alone are poor.
    ((hash ^ (hash >> 32)) % (shards.max(1) as u64)) as usize
}

/// A value as Postgres prints it: an array of the columns' values (`array_out`).
pub fn value_of(columns: &[String]) -> String {
    let element = |text: &String| {
        let special = |c: char| matches!(c, '"' | '\\' | '{' | '}' | ',' | ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c');
        if !text.is_empty() && !text.eq_ignore_ascii_case("null") && !text.contains(special) {
            return text.clone();
        }
        format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
    };
    format!("{{{}}}", columns.iter().map(element).collect::<Vec<_>>().join(","))
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

    fn noted_on(list: &[(&str, usize, i64)]) -> Result<Vec<(String, Change, usize)>, String> {
        let mut changes = Changes::default();
        for (value, shard, change) in list {
            changes.note("t (a)".to_owned(), (*value).to_owned(), (*value).to_owned(), *shard, *change);
        }
        let (entries, twice) = changes.by_shard(1);
        if let Some(entry) = twice.first() {
            return Err(entry.value.clone());
        }
        Ok(entries.into_values().flatten().map(|entry| (entry.value, entry.change, entry.shard)).collect())
    }

    fn noted(list: &[(&str, i64)]) -> Result<Vec<(String, bool)>, String> {
        let list: Vec<(&str, usize, i64)> = list.iter().map(|(value, change)| (*value, 0, *change)).collect();
        let entries = noted_on(&list)?;
        Ok(entries.into_iter().map(|(value, change, _)| (value, change == Change::Added)).collect())
    }

    #[test]
    fn a_value_that_goes_to_another_shard_stays_registered() {
        let a = |change, shard| Ok(vec![("a".to_owned(), change, shard)]);
        assert_eq!(noted_on(&[("a", 0, -1), ("a", 2, 1)]), a(Change::Moved, 2));
        assert_eq!(noted_on(&[("a", 0, -1), ("a", 2, 1), ("a", 2, -1), ("a", 1, 1)]), a(Change::Moved, 1));
        assert_eq!(noted_on(&[("a", 0, -1), ("a", 2, 1), ("a", 2, -1), ("a", 0, 1)]), Ok(Vec::new()));
        assert_eq!(noted_on(&[("a", 3, 1)]), a(Change::Added, 3));
        assert_eq!(noted_on(&[("a", 0, -1), ("a", 2, 1), ("a", 2, -1)]), a(Change::Removed, 0));
        assert_eq!(noted_on(&[("a", 0, 1), ("a", 2, 1)]), Err("a".to_owned()));
    }

    #[test]
    fn values_are_written_as_postgres_prints_them() {
        let value = |columns: &[&str]| value_of(&columns.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>());
        assert_eq!(value(&["a@x"]), "{a@x}");
        assert_eq!(value(&["nick", "-1"]), "{nick,-1}");
        assert_eq!(value(&["", "NuLL", "a b", "ä"]), r#"{"","NuLL","a b",ä}"#);
        assert_eq!(value(&[r#"a"b\c"#, "{", "x,y", "\t"]), "{\"a\\\"b\\\\c\",\"{\",\"x,y\",\"\t\"}");
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

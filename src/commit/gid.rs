//! `Gid`: the global identifier of one distributed transaction, and the names of its parts as prepared on the shards.

use std::fmt;

/// Names longer than this, or with other signs than [`is_plain`] takes, are put by their hash: Postgres takes 199 bytes in all.
const LONGEST: usize = 36;

/// Names the transaction, and the shard that holds its decision, so that whoever finds one of its parts knows where to ask.
///
/// Database and shards are named, never counted: routers with different or differently ordered lists of shards, or two logical
/// databases over one server, must not take each other's parts for their own.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Gid {
    /// [`tag`] of the logical database.
    pub database: String,
    /// Unique over all routers and restarts.
    pub transaction: String,
    /// [`tag`] of the shard that decides.
    pub anchor: String,
}

impl Gid {
    /// What each name of ours begins with.
    pub const PREFIX: &'static str = "pgloom:";

    pub fn new(database: &str, transaction: String, anchor: &str) -> Self {
        Self { database: tag(database), transaction, anchor: tag(anchor) }
    }

    /// The name of the part on one shard. Shards may be databases of one server, whose names are one space.
    pub fn on(&self, participant: &str) -> String {
        format!("{self}:{}", tag(participant))
    }

    /// Reads the name of a prepared transaction: whose part it is, and the tag of the shard that it is on. `None`: none of ours.
    pub fn parse(name: &str) -> Option<(Self, String)> {
        let mut parts = name.strip_prefix(Self::PREFIX)?.split(':');
        let mut next = || parts.next().filter(|part| is_tag(part)).map(str::to_owned);
        let (database, transaction, anchor, participant) = (next()?, next()?, next()?, next()?);
        parts.next().is_none().then_some((Self { database, transaction, anchor }, participant))
    }

    /// What the names of all transactions of a logical database begin with.
    pub fn prefix_of(database: &str) -> String {
        format!("{}{}:", Self::PREFIX, tag(database))
    }
}

impl fmt::Display for Gid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}:{}:{}", Self::PREFIX, self.database, self.transaction, self.anchor)
    }
}

/// A name as it stands in a gid: itself where it is short and plain, else `~` and its hash. It needs no quotes in SQL.
pub fn tag(name: &str) -> String {
    if !name.is_empty() && name.len() <= LONGEST && name.bytes().all(is_plain) {
        return name.to_owned();
    }
    format!("~{:016x}", hash(name))
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.')
}

fn is_tag(part: &str) -> bool {
    !part.is_empty() && part.bytes().all(|byte| is_plain(byte) || byte == b'~')
}

/// FNV-1a: the same on every router and in every version.
fn hash(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::commit::seal::Seal;

    #[test]
    fn a_gid_is_read_back_and_foreign_names_are_not() {
        let gid = Gid::new("shop", "9f0c-7".to_owned(), "s_3");
        assert_eq!(gid.on("s5"), "pgloom:shop:9f0c-7:s_3:s5");
        assert_eq!(Gid::parse(&gid.on("s5")), Some((gid, "s5".to_owned())));
        for foreign in
            ["", "theirs", "pgloom:", "pgloom:a:b:c", "pgloom:a:b:c:d:e", "pgloom:a::c:d", "pgloom:a:b:c:d'; DROP"]
        {
            assert_eq!(Gid::parse(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn names_that_are_long_or_strange_go_by_their_hash() {
        for name in ["", "a b", "s:1", "~s", "O'Hara", "größe", &"x".repeat(37)] {
            let tag = tag(name);
            assert!(tag.len() == 17 && tag.starts_with('~') && is_tag(&tag), "{name}: {tag}");
        }
        assert_ne!(tag("a b"), tag("a c"));
        let long = "y".repeat(36);
        let gid = Gid::new(&long, Seal::of([0; 16]).transaction(&"f".repeat(16), u64::MAX), &long);
        assert!(gid.on(&long).len() < 200, "Postgres refuses longer ones");
    }

    proptest! {
        #[test]
        fn any_names_come_back(database in ".*", anchor in ".*", participant in ".*") {
            let gid = Gid::new(&database, "1-2".to_owned(), &anchor);
            let name = gid.on(&participant);
            prop_assert!(name.starts_with(&Gid::prefix_of(&database)));
            prop_assert_eq!(Gid::parse(&name), Some((gid, tag(&participant))));
        }

        #[test]
        fn any_text_parses(text in ".*") {
            if let Some((gid, participant)) = Gid::parse(&text) {
                prop_assert_eq!(format!("{gid}:{participant}"), text);
            }
        }
    }
}

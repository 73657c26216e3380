//! PURE. The numbers (OIDs) of types that users made: each server gives its own, and a client knows those of the home shard.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::ids::{Oid, QualifiedName};
use crate::types::oid;

/// A type that users made, on one shard. The row types of tables are not among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserType {
    pub oid: Oid,
    /// Its values in binary have numbers of such types inside: an array of them, a composite with one.
    pub has_numbers: bool,
}

pub type UserTypes = HashMap<QualifiedName, UserType>;

/// How the numbers of one shard and those of the home shard belong together, where they differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypeNumbers {
    to_home: HashMap<Oid, Oid>,
    from_home: HashMap<Oid, Oid>,
    /// Types of which binary values are the same bytes everywhere, by the numbers of the home shard.
    plain: HashSet<Oid>,
}

impl TypeNumbers {
    /// `None`: the shard has the numbers of the home shard.
    pub fn between(home: &UserTypes, shard: &UserTypes) -> Option<Arc<Self>> {
        let pairs: Vec<(Oid, Oid)> = home
            .iter()
            .filter_map(|(name, of_home)| Some((of_home.oid, shard.get(name)?.oid)))
            .filter(|(of_home, here)| of_home != here)
            .collect();
        if pairs.is_empty() {
            return None;
        }
        Some(Arc::new(Self {
            to_home: pairs.iter().map(|(of_home, here)| (*here, *of_home)).collect(),
            from_home: pairs.into_iter().collect(),
            plain: home.values().filter(|of| !of.has_numbers).map(|of| of.oid).collect(),
        }))
    }

    /// A number of the shard as the home shard has it.
    pub fn to_home(&self, here: Oid) -> Oid {
        self.to_home.get(&here).copied().unwrap_or(here)
    }

    /// A number of the home shard as the shard has it.
    pub fn from_home(&self, of_home: Oid) -> Oid {
        self.from_home.get(&of_home).copied().unwrap_or(of_home)
    }

    /// Whether binary values of a type (as the home shard numbers it) can have numbers inside that mean another type there.
    pub fn differs_in_binary(&self, of_home: Oid) -> bool {
        match of_home {
            oid::RECORD | oid::RECORD_ARRAY | oid::REGTYPE | oid::REGTYPE_ARRAY => true,
            of_home => of_home >= oid::FIRST_NORMAL && !self.plain.contains(&of_home),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn types(of: &[(&str, Oid, bool)]) -> UserTypes {
        of.iter()
            .map(|(name, oid, has_numbers)| {
                (QualifiedName::new("public", *name), UserType { oid: *oid, has_numbers: *has_numbers })
            })
            .collect()
    }

    #[test]
    fn numbers_change_places() {
        let home = types(&[("a", 20_001, false), ("b", 20_002, false), ("_a", 20_003, true), ("gone", 20_009, false)]);
        let other = types(&[("a", 20_002, false), ("b", 20_001, false), ("_a", 20_003, true), ("new", 20_008, false)]);
        let numbers = TypeNumbers::between(&home, &other).unwrap();
        assert_eq!([20_001, 20_002, 20_003, 23].map(|of| numbers.to_home(of)), [20_002, 20_001, 20_003, 23]);
        assert_eq!([20_001, 20_002, 20_003, 23].map(|of| numbers.from_home(of)), [20_002, 20_001, 20_003, 23]);
        assert!(!numbers.differs_in_binary(20_001) && !numbers.differs_in_binary(23));
        // An array, the row type of a table, a row of any type.
        assert!([20_003, 30_000, oid::RECORD, oid::REGTYPE].iter().all(|of| numbers.differs_in_binary(*of)));
        assert_eq!(TypeNumbers::between(&home, &home), None);
        assert_eq!(TypeNumbers::between(&home, &types(&[])), None);
    }
}

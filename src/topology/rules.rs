//! The rules that SQL has made (`pgloom.distribute` and its like), laid over those of the configuration.

use std::collections::{HashMap, HashSet};
use std::fmt;

use crate::ids::{DistributionId, Epoch, QualifiedName};
use crate::topology::{TableRule, Topology};

/// A rule as the home shard keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRule {
    pub table: QualifiedName,
    pub kind: StoredKind,
    /// Its rows are on their way from one placement to another: nobody may say where they are.
    pub moving: bool,
}

/// What a rule says, or said before its rows began to move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoredKind {
    /// On the home shard; only while its rows move, for else there is no rule.
    Unsharded,
    Sharded {
        distribution: Box<str>,
        columns: Vec<Box<str>>,
    },
    Reference,
}

/// All of them at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredRules {
    /// Grows with every change.
    pub epoch: Epoch,
    /// No server connection may be used under rules of before this epoch.
    pub fence: Epoch,
    pub rules: Vec<StoredRule>,
}

/// Why nobody may say where a table's rows are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Closed {
    Moving,
    /// What its rule names is not in the configuration.
    Unknown(String),
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Moving => f.write_str("its rows are being moved"),
            Self::Unknown(why) => f.write_str(why),
        }
    }
}

impl Topology {
    /// The topology of the configuration, which this is, with these rules. Of a table that both name the configuration's holds.
    pub fn with_rules(&self, stored: &StoredRules) -> Self {
        let mut tables = self.tables.clone();
        let (mut closed, mut from_sql) = (HashMap::new(), HashSet::new());
        for stored in stored.rules.iter().filter(|stored| !self.tables.contains_key(&stored.table)) {
            let name = stored.table.clone();
            if stored.moving {
                closed.insert(name, Closed::Moving);
                continue;
            }
            match self.rule_of(stored) {
                Ok(None) => {}
                Ok(Some(rule)) => {
                    from_sql.insert(name.clone());
                    tables.insert(name, rule);
                }
                Err(why) => drop(closed.insert(name, Closed::Unknown(why))),
            }
        }
        Self { epoch: stored.epoch, fence: stored.fence, tables, closed, from_sql, ..self.clone() }
    }

    /// Whether these rules differ from earlier ones only in what those said of tables that were closed.
    pub fn only_opens(&self, before: &Self) -> bool {
        let same = |table: &QualifiedName| self.tables.get(table) == before.tables.get(table);
        self.closed.keys().all(|table| before.closed.contains_key(table))
            && self
                .tables
                .keys()
                .chain(before.tables.keys())
                .all(|table| before.closed.contains_key(table) || same(table))
    }

    fn rule_of(&self, stored: &StoredRule) -> Result<Option<TableRule>, String> {
        if stored.kind != StoredKind::Unsharded && self.place_of_schema(&stored.table.schema).is_some() {
            return Err(format!("schema \"{}\" lies whole on one shard by the configuration", stored.table.schema));
        }
        match &stored.kind {
            StoredKind::Unsharded => Ok(None),
            StoredKind::Reference => Ok(Some(TableRule::Reference)),
            StoredKind::Sharded { distribution: name, columns } => {
                let distribution = self.distribution_named(name).filter(|id| self.distribution(*id).schemas.is_none());
                let Some(distribution) = distribution else {
                    return Err(format!("its distribution \"{name}\" is not in the configuration"));
                };
                let (found, expected) = (columns.len(), self.distribution(distribution).key_types.len());
                if found != expected {
                    return Err(format!("it has {found} key columns, and distribution \"{name}\" has {expected}"));
                }
                Ok(Some(TableRule::Sharded { distribution, columns: columns.clone() }))
            }
        }
    }

    pub fn distribution_named(&self, name: &str) -> Option<DistributionId> {
        let at = self.distributions.iter().position(|distribution| *distribution.name == *name)?;
        u16::try_from(at).ok().map(DistributionId)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::topology::spec::{DistributionSpec, MethodSpec, RingSpec, RuleSpec, TableSpec};
    use crate::topology::{Server, Shard, TopologySpec};
    use crate::types::KeyType;

    fn topology() -> Topology {
        let server = Server::new("h", 1, "d");
        let spec = TopologySpec {
            shards: vec![Shard { name: "s0".into(), servers: vec![server] }],
            distributions: vec![DistributionSpec {
                name: "key".into(),
                key_types: vec![KeyType::Int4],
                method: MethodSpec::Ring(RingSpec::default()),
                pins: Vec::new(),
            }],
            tables: vec![TableSpec { name: QualifiedName::new("public", "c"), rule: RuleSpec::Reference }],
            ..TopologySpec::default()
        };
        spec.build().unwrap().0
    }

    fn stored(table: &str, kind: StoredKind, moving: bool) -> StoredRule {
        StoredRule { table: QualifiedName::new("public", table), kind, moving }
    }

    fn sharded(distribution: &str, columns: &[&str]) -> StoredKind {
        let columns = columns.iter().map(|column| (*column).into()).collect();
        StoredKind::Sharded { distribution: distribution.into(), columns }
    }

    #[test]
    fn what_cannot_be_placed_is_closed_and_the_configuration_holds() {
        let rules = StoredRules {
            epoch: Epoch(7),
            fence: Epoch(6),
            rules: vec![
                stored("a", sharded("key", &["id"]), false),
                stored("b", sharded("gone", &["id"]), false),
                stored("c", sharded("key", &["id"]), false),
                stored("d", StoredKind::Unsharded, true),
                stored("e", sharded("key", &["id", "n"]), false),
                stored("f", StoredKind::Reference, true),
            ],
        };
        let merged = topology().with_rules(&rules);
        assert_eq!(merged.epoch, Epoch(7));
        let rule = |table: &str| merged.rule(&QualifiedName::new("public", table));
        assert!(matches!(rule("a"), Some(TableRule::Sharded { .. })));
        assert_eq!(rule("c"), Some(&TableRule::Reference));
        assert!(rule("b").is_none() && rule("d").is_none() && rule("f").is_none());
        let mut closed: Vec<_> = merged.closed.keys().map(|name| &*name.name).collect();
        closed.sort_unstable();
        assert_eq!(closed, ["b", "d", "e", "f"]);
        assert_eq!(merged.closed[&QualifiedName::new("public", "d")], Closed::Moving);
        assert!(!merged.is_all_home());
    }
}

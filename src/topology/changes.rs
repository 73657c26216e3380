//! What a new topology places elsewhere than the one before: the tables of which nobody may work under both.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::ids::{DistributionId, QualifiedName};
use crate::topology::{Distribution, Server, Shard, TableRule, Topology, diff};

/// Whose rows belong elsewhere under a new topology.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Moved {
    /// Those of these tables; may be none.
    Tables(HashSet<QualifiedName>),
    /// Any, also those of tables that nobody names: the home shard is another one, or whole schemas belong elsewhere.
    Everything,
}

impl Moved {
    pub fn is_nothing(&self) -> bool {
        match self {
            Self::Tables(tables) => tables.is_empty(),
            Self::Everything => false,
        }
    }
}

impl Topology {
    /// What this one places elsewhere than `before`. A shard is its name and position: where its servers are is no matter of placement, as
    /// long as they are not those of another one.
    pub fn moved_since(&self, before: &Topology) -> Moved {
        let names = |topology: &Topology| topology.shards.iter().map(|shard| shard.name.clone()).collect::<Vec<_>>();
        let (old, new) = (names(before), names(self));
        let common = old.len().min(new.len());
        let same_names = old[..common] == new[..common];
        let same_places = self.home == before.home && self.schema_places() == before.schema_places();
        if !same_names || !same_places || !self.taken_servers(before).is_empty() {
            return Moved::Everything;
        }
        let same_shards = old.len() == new.len();
        let named =
            self.tables.keys().chain(before.tables.keys()).chain(self.closed.keys()).chain(before.closed.keys());
        let moved = named.filter(|table| {
            let closed = self.closed.contains_key(*table) || before.closed.contains_key(*table);
            match (self.rule(table), before.rule(table)) {
                (None, None) => closed,
                (Some(TableRule::Reference), Some(TableRule::Reference)) => !same_shards,
                (
                    Some(TableRule::Sharded { distribution, columns }),
                    Some(TableRule::Sharded { distribution: old, columns: old_columns }),
                ) => columns != old_columns || !self.places_as(*distribution, before, *old),
                (None | Some(TableRule::Reference | TableRule::Sharded { .. }), _) => true,
            }
        });
        Moved::Tables(moved.cloned().collect())
    }

    /// Servers that a shard gets which were another one's, by the shard's name: with that one's name and rows.
    pub fn taken_servers<'a>(&'a self, before: &'a Topology) -> BTreeMap<&'a str, (&'a Server, &'a str)> {
        if self.shards == before.shards {
            return BTreeMap::new();
        }
        let place = |server: &'a Server| (&*server.host, server.port, &*server.dbname);
        let of = |shard: &'a Shard| shard.servers.iter().map(move |server| (place(server), &*shard.name));
        let known: HashMap<_, &str> = before.shards.iter().flat_map(of).collect();
        let names: HashSet<&str> = before.shards.iter().map(|shard| &*shard.name).collect();
        let taken = |shard: &'a Shard| {
            let then = |server: &'a Server| Some((server, *known.get(&place(server))?));
            shard.servers.iter().filter_map(then).find(|(_, then)| **then != *shard.name)
        };
        let same = self.shards.iter().filter(|shard| names.contains(&*shard.name));
        same.filter_map(|shard| Some((&*shard.name, taken(shard)?))).collect()
    }

    /// Whether this one differs from `before` in nothing but the shards of keys: what is known of tables is as good under it.
    pub fn differs_in_keys_alone(&self, before: &Topology) -> bool {
        let unkeyed = |topology: &Topology| {
            let names = topology.distributions.iter().map(|of| (of.name.clone(), of.key_types.clone()));
            names.collect::<Vec<_>>()
        };
        self.shards == before.shards
            && self.home == before.home
            && self.tables == before.tables
            && self.closed == before.closed
            && self.from_sql == before.from_sql
            && self.uniques == before.uniques
            && unkeyed(self) == unkeyed(before)
            && self.schema_places() == before.schema_places()
    }

    fn places_as(&self, distribution: DistributionId, before: &Topology, old: DistributionId) -> bool {
        let (new, old) = (self.distribution(distribution), before.distribution(old));
        let same = new.key_types == old.key_types && new.map == old.map;
        same || !diff::moves((before, old), (self, new))
    }

    fn schema_places(&self) -> Vec<&Distribution> {
        self.distributions.iter().filter(|distribution| distribution.schemas.is_some()).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::topology::TopologySpec;
    use crate::topology::spec::{DistributionSpec, MethodSpec, RingSpec, RuleSpec, TableSpec, ValueSpec};
    use crate::types::KeyType;

    fn shard(name: &str, port: u16) -> Shard {
        let server = Server::new("h", port, "d");
        Shard { name: name.into(), servers: vec![server] }
    }

    fn table(name: &str, rule: RuleSpec) -> TableSpec {
        TableSpec { name: QualifiedName::new("public", name), rule }
    }

    fn sharded(distribution: &str) -> RuleSpec {
        RuleSpec::Sharded { distribution: distribution.into(), columns: vec!["id".into()] }
    }

    fn distribution(name: &str, nodes: &[&str]) -> DistributionSpec {
        let nodes = nodes.iter().map(|node| ((*node).to_owned(), 1)).collect();
        DistributionSpec {
            name: name.into(),
            key_types: vec![KeyType::Int8],
            method: MethodSpec::Ring(RingSpec { nodes, ..RingSpec::default() }),
            pins: Vec::new(),
        }
    }

    fn spec() -> TopologySpec {
        TopologySpec {
            shards: vec![shard("s0", 1), shard("s1", 2)],
            distributions: vec![distribution("a", &["s0", "s1"]), distribution("b", &["s0", "s1"])],
            tables: vec![table("t", sharded("a")), table("u", sharded("b")), table("r", RuleSpec::Reference)],
            ..TopologySpec::default()
        }
    }

    fn moved(change: impl FnOnce(&mut TopologySpec)) -> Moved {
        let mut new = spec();
        change(&mut new);
        new.build().unwrap().0.moved_since(&spec().build().unwrap().0)
    }

    fn tables(names: &[&str]) -> Moved {
        Moved::Tables(names.iter().map(|name| QualifiedName::new("public", *name)).collect())
    }

    #[test]
    fn only_what_lies_elsewhere_has_moved() {
        assert_eq!(moved(|_| {}), tables(&[]));
        assert_eq!(moved(|spec| spec.shards[1] = shard("s1", 9)), tables(&[]));
        // Another server of its own is none that has another shard's rows.
        let with = |name: &str, ports: &[u16]| {
            let servers = ports.iter().map(|port| Server::new("h", *port, "d")).collect();
            Shard { name: name.into(), servers }
        };
        assert_eq!(moved(|spec| spec.shards[1] = with("s1", &[2, 9])), tables(&[]));
        assert_eq!(
            moved(|spec| (spec.shards[0], spec.shards[1]) = (with("s0", &[1, 2]), with("s1", &[9]))),
            Moved::Everything
        );
        assert_eq!(
            moved(|spec| (spec.shards[0], spec.shards[1]) = (shard("s0", 2), shard("s1", 1))),
            Moved::Everything
        );
        assert_eq!(moved(|spec| spec.distributions.swap(0, 1)), tables(&[]));
        assert_eq!(moved(|spec| spec.tables.push(table("n", sharded("a")))), tables(&["n"]));
        assert_eq!(moved(|spec| drop(spec.tables.pop())), tables(&["r"]));
        assert_eq!(moved(|spec| spec.tables[0] = table("t", RuleSpec::Reference)), tables(&["t"]));
        // It lies on s1: a pin there moves nothing.
        let pin = |shard: &str| ValueSpec { key: vec!["7".into()], shard: shard.into() };
        assert_eq!(moved(|spec| spec.distributions[1].pins.push(pin("s0"))), tables(&["u"]));
        assert_eq!(moved(|spec| spec.distributions[1].pins.push(pin("s1"))), tables(&[]));
    }

    #[test]
    fn pins_and_rings_change_nothing_but_the_shards_of_keys() {
        let alone = |change: &dyn Fn(&mut TopologySpec)| {
            let mut new = spec();
            change(&mut new);
            new.build().unwrap().0.differs_in_keys_alone(&spec().build().unwrap().0)
        };
        let pin = || ValueSpec { key: vec!["7".into()], shard: "s0".into() };
        assert!(alone(&|_| {}) && alone(&|spec| spec.distributions[1].pins.push(pin())));
        assert!(alone(&|spec| spec.distributions[0] = distribution("a", &["s1"])));
        assert!(!alone(&|spec| spec.shards[1] = shard("s1", 9)));
        assert!(!alone(&|spec| spec.tables.push(table("n", sharded("a")))));
        assert!(!alone(&|spec| spec.distributions.swap(0, 1)));
        assert!(!alone(&|spec| spec.home_shard = Some("s1".into())));
    }

    #[test]
    fn a_shard_more_moves_what_is_on_every_shard_and_what_uses_it() {
        assert_eq!(moved(|spec| spec.shards.push(shard("s2", 3))), tables(&["r"]));
        let used = moved(|spec| {
            spec.shards.push(shard("s2", 3));
            spec.distributions[0] = distribution("a", &["s0", "s1", "s2"]);
        });
        assert_eq!(used, tables(&["r", "t"]));
    }

    #[test]
    fn another_home_or_other_names_move_everything() {
        assert_eq!(moved(|spec| spec.home_shard = Some("s1".into())), Moved::Everything);
        let renamed = moved(|spec| {
            spec.shards[1] = shard("x", 2);
            spec.distributions.clear();
            spec.tables.clear();
        });
        assert_eq!(renamed, Moved::Everything);
    }
}

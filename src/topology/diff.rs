//! What is another in one topology than in the one before, in words, and which keys would belong to another shard.
//!
//! A map says where rows are, it does not bring them there. So every change after which a key that had a shard has another one is told
//! as a move, also where nobody can say how many keys that are.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::ids::{QualifiedName, ShardId, Token};
use crate::topology::key_order::compare_keys;
use crate::topology::shard_map::{CompositeMap, Method, Outer, RangeMap, TokenMap, compare_from};
use crate::topology::{Distribution, Shard, TableRule, Topology};
use crate::types::canonical::KeyValue;

/// One difference.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    pub what: String,
    /// Keys that would belong to another shard than the one that has their rows.
    pub moves: Option<Moved>,
}

/// Which keys.
#[derive(Clone, Debug, PartialEq)]
pub enum Moved {
    /// This part of all tokens, and from where to where.
    Tokens(f64, BTreeMap<(Box<str>, Box<str>), f64>),
    /// So many single keys.
    Keys(usize),
    /// So many ranges of keys.
    Ranges(usize),
    /// Nobody can say how many.
    Some,
}

impl fmt::Display for Moved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tokens(share, paths) => {
                write!(f, "{:.2} % of all keys", share * 100.0)?;
                let mut paths: Vec<_> = paths.iter().collect();
                paths.sort_by(|a, b| b.1.total_cmp(a.1));
                for (i, ((from, to), share)) in paths.iter().take(5).enumerate() {
                    write!(f, "{} {:.2} % {from} -> {to}", if i == 0 { ":" } else { "," }, *share * 100.0)?;
                }
                if paths.len() > 5 {
                    write!(f, ", and {} more paths", paths.len() - 5)?;
                }
                Ok(())
            }
            Self::Keys(1) => f.write_str("1 key"),
            Self::Keys(count) => write!(f, "{count} keys"),
            Self::Ranges(1) => f.write_str("1 range of keys"),
            Self::Ranges(count) => write!(f, "{count} ranges of keys"),
            Self::Some => f.write_str("keys, nobody can say how many"),
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.moves {
            None => f.write_str(&self.what),
            Some(moved) => write!(f, "{}; MOVES {moved}", self.what),
        }
    }
}

/// The differences of `new` from `old`, shards first.
pub fn differences(old: &Topology, new: &Topology) -> Vec<Difference> {
    let mut found = Found { old, new, differences: Vec::new() };
    found.shards();
    found.home();
    found.distributions();
    found.tables();
    found.uniques();
    found.differences
}

/// Whether keys that had a shard have another one, or none, in the distribution that takes the place of another.
pub fn moves(old: (&Topology, &Distribution), new: (&Topology, &Distribution)) -> bool {
    let (before, after) = (old.1, new.1);
    if before.key_types != after.key_types || before.method_name() != after.method_name() {
        return true;
    }
    let mut found = Found { old: old.0, new: new.0, differences: Vec::new() };
    found.placement(before, after);
    found.differences.iter().any(|difference| difference.moves.is_some())
}

struct Found<'a> {
    old: &'a Topology,
    new: &'a Topology,
    differences: Vec<Difference>,
}

impl Found<'_> {
    fn tell(&mut self, what: String, moves: Option<Moved>) {
        self.differences.push(Difference { what, moves });
    }

    fn shards(&mut self) {
        let (old, new) = (by_name(self.old), by_name(self.new));
        let taken = self.new.taken_servers(self.old);
        for (name, shard) in &old {
            match new.get(name) {
                None => self.tell(format!("shard {name} is removed"), Some(Moved::Some)),
                Some(now) if now.servers != shard.servers => {
                    let what = format!("shard {name}: {} instead of {}", servers(now), servers(shard));
                    match taken.get(name) {
                        None => self.tell(what, None),
                        Some((server, then)) => {
                            let whose = format!(
                                "{}:{} has been a server of shard {then}, with its rows",
                                server.host, server.port
                            );
                            self.tell(format!("{what}: {whose}"), Some(Moved::Some));
                        }
                    }
                }
                Some(_) => {}
            }
        }
        for (name, shard) in new.iter().filter(|(name, _)| !old.contains_key(*name)) {
            self.tell(format!("shard {name} is added: {}", servers(shard)), None);
        }
        let reference = |topology: &Topology| topology.tables.values().any(|rule| *rule == TableRule::Reference);
        if new.keys().any(|name| !old.contains_key(name)) && reference(self.old) {
            self.tell(
                "reference tables lie on every shard: the new ones need their copies".to_owned(),
                Some(Moved::Some),
            );
        }
    }

    fn home(&mut self) {
        let (old, new) = (&self.old.shard(self.old.home).name, &self.new.shard(self.new.home).name);
        if old != new {
            let what = format!("the home shard is {new} instead of {old}: all tables that are not sharded");
            self.tell(what, Some(Moved::Some));
        }
    }

    fn distributions(&mut self) {
        for old in &self.old.distributions {
            let name = &old.name;
            let Some(new) = self.new.distributions.iter().find(|new| new.name == *name) else {
                // The tables that it places tell of moves; schemas have nobody else who does.
                self.tell(format!("distribution {name} is removed"), old.schemas.as_ref().map(|_| Moved::Some));
                continue;
            };
            if old.key_types != new.key_types {
                self.tell(format!("distribution {name}: other key types"), Some(Moved::Some));
            } else if old.method_name() != new.method_name() {
                let what =
                    format!("distribution {name}: method {} instead of {}", new.method_name(), old.method_name());
                self.tell(what, Some(Moved::Some));
            } else {
                self.placement(old, new);
            }
        }
        for new in &self.new.distributions {
            if !self.old.distributions.iter().any(|old| old.name == new.name) {
                let what = format!("distribution {} is added", new.name);
                // Schemas that it places may be there, on the home shard.
                self.tell(what, new.schemas.as_ref().map(|_| Moved::Some));
            }
        }
    }

    fn placement(&mut self, old: &Distribution, new: &Distribution) {
        let name = &new.name;
        if old.schemas != new.schemas {
            self.tell(format!("distribution {name}: other schemas"), Some(Moved::Some));
        }
        let sides = Sides { old: self.old, new: self.new };
        if let Some((what, moves)) = sides.methods(old, new) {
            self.tell(format!("distribution {name}: {what}"), moves);
        }
        let pins = old.map.pins().entries().iter().chain(new.map.pins().entries()).map(|(key, _)| &**key);
        let pinned = |key: &[KeyValue<'_>]| (old.map.pins().get(key), new.map.pins().get(key));
        let (changed, moved) = sides.keys(pins, old, new, pinned);
        if changed > 0 {
            let what = format!("distribution {name}: {changed} pins are others");
            self.tell(what, (moved > 0).then_some(Moved::Keys(moved)));
        }
    }

    fn tables(&mut self) {
        let names: BTreeSet<&QualifiedName> = self.old.tables.keys().chain(self.new.tables.keys()).collect();
        let names: Vec<QualifiedName> = names.into_iter().cloned().collect();
        for table in names {
            let (old, new) = (rule(self.old, &table), rule(self.new, &table));
            if old != new {
                let what = format!("table {table}: {new} instead of {old}");
                self.tell(what, Some(Moved::Some));
            }
        }
    }

    fn uniques(&mut self) {
        let list = |topology: &Topology| -> BTreeSet<String> {
            topology.uniques.iter().map(|unique| format!("{} as {}", unique.scope(), unique.name)).collect()
        };
        let (old, new) = (list(self.old), list(self.new));
        for removed in old.difference(&new) {
            self.tell(format!("values are not unique any more: {removed}"), None);
        }
        for added in new.difference(&old) {
            self.tell(format!("values are unique over all shards: {added}; run pgloom unique"), None);
        }
    }
}

/// Two topologies, whose shards are compared by their names.
struct Sides<'a> {
    old: &'a Topology,
    new: &'a Topology,
}

impl Sides<'_> {
    fn same(&self, old: ShardId, new: ShardId) -> bool {
        self.old.shard(old).name == self.new.shard(new).name
    }

    /// Where one had the key, and the other has it not, or elsewhere.
    fn moves(&self, old: Option<ShardId>, new: Option<ShardId>) -> bool {
        old.is_some_and(|old| new.is_none_or(|new| !self.same(old, new)))
    }

    fn differ(&self, old: Option<ShardId>, new: Option<ShardId>) -> bool {
        self.moves(old, new) || old.is_none() && new.is_some()
    }

    /// Of single keys: how many are placed otherwise by `part`, and how many of them have another shard on the whole.
    fn keys<'k>(
        &self,
        keys: impl Iterator<Item = &'k [KeyValue<'static>]>,
        old: &Distribution,
        new: &Distribution,
        part: impl Fn(&[KeyValue<'_>]) -> (Option<ShardId>, Option<ShardId>),
    ) -> (usize, usize) {
        let mut keys: Vec<_> = keys.collect();
        keys.sort_unstable_by(|a, b| compare_keys(a, b));
        keys.dedup_by(|a, b| compare_keys(a, b).is_eq());
        let (mut changed, mut moved) = (0, 0);
        for key in keys {
            let (before, after) = part(key);
            if self.differ(before, after) {
                changed += 1;
                moved += usize::from(self.moves(old.map.locate(key), new.map.locate(key)));
            }
        }
        (changed, moved)
    }

    /// What the methods, which are of one kind, place otherwise.
    fn methods(&self, old: &Distribution, new: &Distribution) -> Option<(String, Option<Moved>)> {
        match (old.map.method(), new.map.method()) {
            (Method::Hash(before), Method::Hash(after)) => {
                let moved = self.tokens(before, after)?;
                Some(("other tokens".to_owned(), Some(moved)))
            }
            (Method::Range(before), Method::Range(after)) => self.ranges(before, after),
            (
                Method::List { values: before, default: default_before },
                Method::List { values: after, default: default_after },
            ) => {
                let keys = before.entries().iter().chain(after.entries()).map(|(key, _)| &**key);
                let listed =
                    |key: &[KeyValue<'_>]| (before.get(key).or(*default_before), after.get(key).or(*default_after));
                let (changed, moved) = self.keys(keys, old, new, listed);
                if self.moves(*default_before, *default_after) {
                    return Some(("another shard for values that are not listed".to_owned(), Some(Moved::Some)));
                }
                let other_default = self.differ(*default_before, *default_after);
                let what = format!("{changed} values are placed otherwise");
                (changed > 0 || other_default).then(|| (what, (moved > 0).then_some(Moved::Keys(moved))))
            }
            (Method::Remainders(before), Method::Remainders(after)) => {
                let same = before.len() == after.len() && before.iter().zip(after).all(|(a, b)| self.same(*a, *b));
                (!same).then(|| ("other partitions".to_owned(), Some(Moved::Some)))
            }
            (Method::Composite(before), Method::Composite(after)) => {
                (!self.same_groups(before, after)).then(|| ("other groups".to_owned(), Some(Moved::Some)))
            }
            (
                Method::Hash(_) | Method::Range(_) | Method::List { .. } | Method::Remainders(_) | Method::Composite(_),
                _,
            ) => Some(("another method".to_owned(), Some(Moved::Some))),
        }
    }

    /// `None`: no token has another shard.
    fn tokens(&self, old: &TokenMap, new: &TokenMap) -> Option<Moved> {
        let (old, new): (Vec<_>, Vec<_>) = (old.ranges().collect(), new.ranges().collect());
        let mut paths: BTreeMap<(Box<str>, Box<str>), f64> = BTreeMap::new();
        let (mut i, mut j, mut share) = (0, 0, 0.0);
        while let (Some((from, to, before)), Some((from_after, to_after, after))) = (old.get(i), new.get(j)) {
            let (first, last): (Token, Token) = ((*from).max(*from_after), (*to).min(*to_after));
            if first <= last && !self.same(*before, *after) {
                let part = ((last.0 - first.0) as f64 + 1.0) / 2f64.powi(64);
                let name = |topology: &Topology, shard: ShardId| topology.shard(shard).name.as_ref().into();
                *paths.entry((name(self.old, *before), name(self.new, *after))).or_default() += part;
                share += part;
            }
            i += usize::from(*to == last);
            j += usize::from(*to_after == last);
        }
        (!paths.is_empty()).then_some(Moved::Tokens(share, paths))
    }

    fn ranges(&self, old: &RangeMap, new: &RangeMap) -> Option<(String, Option<Moved>)> {
        // Between two neighbouring bounds every key has the shard of the first of them.
        let mut bounds: Vec<Option<&KeyValue<'static>>> = vec![None];
        for interval in old.intervals().iter().chain(new.intervals()) {
            bounds.push(interval.from.as_ref());
            bounds.extend(interval.to.as_ref().map(Some));
        }
        bounds.sort_by(|a, b| compare_from(*a, *b));
        bounds.dedup_by(|a, b| compare_from(*a, *b).is_eq());
        let at = |map: &RangeMap, bound: Option<&KeyValue<'static>>| match bound {
            Some(key) => map.get(key),
            None => map.intervals().first().filter(|interval| interval.from.is_none()).map(|interval| interval.shard),
        };
        let (mut changed, mut moved) = (0, 0);
        for bound in &bounds {
            let (before, after) = (at(old, *bound), at(new, *bound));
            changed += usize::from(self.differ(before, after));
            moved += usize::from(self.moves(before, after));
        }
        (changed > 0)
            .then(|| (format!("{changed} ranges are placed otherwise"), (moved > 0).then_some(Moved::Ranges(moved))))
    }

    fn same_groups(&self, old: &CompositeMap, new: &CompositeMap) -> bool {
        let same_outer = match (&old.outer, &new.outer) {
            (Outer::List { values, default }, Outer::List { values: after, default: default_after }) => {
                values.entries() == after.entries() && default == default_after
            }
            (Outer::Range(map), Outer::Range(after)) => map.intervals() == after.intervals(),
            (Outer::List { .. } | Outer::Range(_), _) => false,
        };
        let mut groups = old.groups.iter().zip(&new.groups);
        same_outer
            && old.groups.len() == new.groups.len()
            && groups.all(|(before, after)| self.tokens(before, after).is_none())
    }
}

fn by_name(topology: &Topology) -> BTreeMap<&str, &Shard> {
    topology.shards.iter().map(|shard| (&*shard.name, shard)).collect()
}

fn servers(shard: &Shard) -> String {
    let servers = shard.servers.iter().map(|server| format!("{}:{}/{}", server.host, server.port, server.dbname));
    servers.collect::<Vec<_>>().join(", ")
}

fn rule(topology: &Topology, table: &QualifiedName) -> String {
    match topology.rule(table) {
        None => "on the home shard".to_owned(),
        Some(TableRule::Reference) => "on every shard".to_owned(),
        Some(TableRule::Sharded { distribution, columns }) => {
            format!("by {} ({})", topology.distribution(*distribution).name, columns.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::topology::Server;
    use crate::topology::spec::{
        DistributionSpec, MethodSpec, RangeSpec, RingSpec, RuleSpec, TableSpec, TopologySpec, ValueSpec,
    };
    use crate::types::KeyType;

    fn shard(name: &str, port: u16) -> Shard {
        Shard { name: name.into(), servers: vec![Server::new("h", port, "d")] }
    }

    fn value(key: &str, shard: &str) -> ValueSpec {
        ValueSpec { key: vec![key.to_owned()], shard: shard.to_owned() }
    }

    fn range(from: Option<&str>, to: Option<&str>, shard: &str) -> RangeSpec {
        RangeSpec { from: from.map(str::to_owned), to: to.map(str::to_owned), shard: shard.to_owned() }
    }

    fn by(name: &str, method: MethodSpec) -> DistributionSpec {
        DistributionSpec { name: name.to_owned(), key_types: vec![KeyType::Int8], method, pins: Vec::new() }
    }

    fn spec() -> TopologySpec {
        let nodes = vec![("a".to_owned(), 1), ("b".to_owned(), 1)];
        TopologySpec {
            shards: vec![shard("a", 1), shard("b", 2), shard("c", 3)],
            distributions: vec![
                by("ring", MethodSpec::Ring(RingSpec { nodes, ..RingSpec::default() })),
                by("ranges", MethodSpec::Range(vec![range(None, Some("10"), "a"), range(Some("20"), None, "b")])),
                by("list", MethodSpec::List { values: vec![value("1", "a"), value("2", "b")], default: None }),
            ],
            tables: vec![TableSpec {
                name: QualifiedName::new("public", "t"),
                rule: RuleSpec::Sharded { distribution: "ring".to_owned(), columns: vec!["id".to_owned()] },
            }],
            ..TopologySpec::default()
        }
    }

    #[track_caller]
    fn changed(change: impl FnOnce(&mut TopologySpec)) -> Vec<String> {
        let mut new = spec();
        change(&mut new);
        let (old, new) = (spec().build().unwrap().0, new.build().unwrap().0);
        differences(&old, &new).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_moves_nothing_says_so() {
        assert_eq!(changed(|_| {}), [""; 0]);
        assert_eq!(changed(|spec| spec.shards[1] = shard("b", 9)), ["shard b: h:9/d instead of h:2/d"]);
        assert_eq!(changed(|spec| spec.shards.push(shard("d", 4))), ["shard d is added: h:4/d"]);
        assert_eq!(changed(|spec| spec.shards.swap(1, 2)), [""; 0]);
        let gap = MethodSpec::Range(vec![range(None, Some("15"), "a"), range(Some("20"), None, "b")]);
        assert_eq!(
            changed(|spec| spec.distributions[1].method = gap),
            ["distribution ranges: 1 ranges are placed otherwise"]
        );
        let longer =
            MethodSpec::List { values: vec![value("1", "a"), value("2", "b"), value("3", "c")], default: None };
        assert_eq!(
            changed(|spec| spec.distributions[2].method = longer),
            ["distribution list: 1 values are placed otherwise"]
        );
        // A pin for a key that nobody has had.
        let pin = || vec![value("9", "c")];
        assert_eq!(changed(|spec| spec.distributions[2].pins = pin()), ["distribution list: 1 pins are others"]);
    }

    #[test]
    fn every_key_that_would_lie_elsewhere_is_a_move() {
        let all = MethodSpec::Ring(RingSpec::default());
        let told = changed(|spec| spec.distributions[0].method = all);
        assert!(told[0].starts_with("distribution ring: other tokens; MOVES 3"), "{told:?}");
        assert!(told[0].contains("a -> c") && told[0].contains("b -> c") && !told[0].contains("-> a"), "{told:?}");
        let cut = MethodSpec::Range(vec![range(None, Some("5"), "a"), range(Some("20"), None, "c")]);
        assert_eq!(
            changed(|spec| spec.distributions[1].method = cut),
            ["distribution ranges: 2 ranges are placed otherwise; MOVES 2 ranges of keys"]
        );
        let swapped = MethodSpec::List { values: vec![value("1", "b")], default: None };
        assert_eq!(
            changed(|spec| spec.distributions[2].method = swapped),
            ["distribution list: 2 values are placed otherwise; MOVES 2 keys"]
        );
        assert_eq!(
            changed(|spec| spec.distributions[0].pins = vec![value("1", "c")]),
            ["distribution ring: 1 pins are others; MOVES 1 key"]
        );
        assert_eq!(
            changed(|spec| spec.tables.clear()),
            ["table public.t: on the home shard instead of by ring (id); MOVES keys, nobody can say how many"]
        );
        assert!(changed(|spec| spec.home_shard = Some("b".to_owned()))[0].contains("MOVES"));
        assert!(changed(|spec| spec.distributions[0].key_types = vec![KeyType::Text])[0].contains("MOVES"));
    }
}

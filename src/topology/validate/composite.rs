//! Composite distributions: values or ranges of the first column pick a group of shards, each with its ring.

use std::collections::HashSet;
use std::sync::Arc;

use super::Work;
use crate::topology::error::TopologyError;
use crate::topology::ring::{MAX_VIRTUAL_NODES, Node, Ring};
use crate::topology::shard_map::{CompositeMap, KeyTable, Outer, TokenMap};
use crate::topology::spec::{DistributionSpec, GroupSpec, RangeSpec, Site};

impl<'a> Work<'a> {
    pub(super) fn composite(
        &mut self,
        i: usize,
        spec: &'a DistributionSpec,
        groups: &[GroupSpec],
        virtual_nodes: u32,
    ) -> Option<CompositeMap> {
        let (whole, distribution) = (Site::Distribution(i), || spec.name.clone());
        let [first, _, ..] = spec.key_types[..] else {
            self.fail(whole, TopologyError::CompositeOfOneColumn { distribution: distribution() });
            return None;
        };
        if groups.is_empty() {
            self.fail(whole, TopologyError::NoGroups { distribution: distribution() });
        }
        if !(1..=MAX_VIRTUAL_NODES).contains(&virtual_nodes) {
            self.fail(whole, TopologyError::BadVirtualNodes { distribution: distribution(), virtual_nodes });
            return None;
        }
        let site = |entry| Site::Entry { distribution: i, entry };
        let by_value = groups.iter().any(|group| !group.values.is_empty());
        let by_range = groups.iter().position(|group| group.from.is_some() || group.to.is_some());
        if let (true, Some(entry)) = (by_value, by_range) {
            self.fail(site(entry), TopologyError::MixedGroups { distribution: distribution() });
            return None;
        }
        let rings: Vec<TokenMap> = (0..groups.len())
            .map(|entry| self.group(site(entry), spec, &groups[entry].shards, virtual_nodes))
            .collect();
        let outer = if by_value {
            let mut others = (0..groups.len()).filter(|entry| groups[*entry].values.is_empty());
            let default = others.next();
            if let Some(second) = others.next() {
                self.fail(site(second), TopologyError::TwoDefaultGroups { distribution: distribution() });
            }
            let mut seen = HashSet::new();
            let mut entries = Vec::new();
            for (entry, text) in groups.iter().enumerate().flat_map(|(n, g)| g.values.iter().map(move |v| (n, v))) {
                let Some(value) = self.value(site(entry), first, text) else { continue };
                if !seen.insert(value.clone()) {
                    let twice = TopologyError::DuplicateValue { distribution: distribution(), value: text.clone() };
                    self.fail(site(entry), twice);
                }
                entries.push((Box::from([value]), entry));
            }
            Outer::List { values: KeyTable::new(entries), default }
        } else {
            let range = |group: &GroupSpec| {
                let (from, to) = (group.from.clone(), group.to.clone());
                RangeSpec { from, to, shard: group.shards.join("`, `") }
            };
            let ranges: Vec<RangeSpec> = groups.iter().map(range).collect();
            Outer::Range(self.ranges_of(i, spec, first, &ranges, |_, _, entry| Some(entry)))
        };
        Some(CompositeMap { outer, groups: rings.into() })
    }

    /// The ring of one group.
    pub(super) fn group(
        &mut self,
        site: Site,
        spec: &DistributionSpec,
        shards: &[String],
        virtual_nodes: u32,
    ) -> TokenMap {
        let distribution = || spec.name.clone();
        if shards.is_empty() {
            self.fail(site, TopologyError::EmptyGroup { distribution: distribution() });
        }
        let mut nodes: Vec<Node> = Vec::new();
        for name in shards {
            let Some(shard) = self.shard(site, name) else { continue };
            if nodes.iter().any(|node| *node.shard == **name) {
                self.fail(site, TopologyError::DuplicateNode { distribution: distribution(), name: name.clone() });
            }
            nodes.push(Node { shard: Arc::clone(&self.spec.shards[shard.index()].name), weight: 1 });
        }
        if nodes.is_empty() || !self.errors.is_empty() {
            return TokenMap::default();
        }
        let built = Ring::build(&nodes, virtual_nodes);
        TokenMap::new(built.ranges().iter().filter_map(|range| Some((range.first, *self.shards.get(&*range.shard)?))))
    }
}

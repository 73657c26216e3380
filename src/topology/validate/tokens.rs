//! Hash distributions: the ring of virtual nodes, and explicit ranges of tokens that must cover every hash.

use std::cmp::Ordering;
use std::sync::Arc;

use super::Work;
use super::ranges::empty_range;
use crate::ids::{ShardId, Token};
use crate::topology::error::{MAX_WEIGHT, TopologyError};
use crate::topology::ring::{MAX_VIRTUAL_NODES, Node, Ring};
use crate::topology::shard_map::TokenMap;
use crate::topology::spec::{DistributionSpec, RangeSpec, RingSpec, Site};

impl<'a> Work<'a> {
    pub(super) fn ring(&mut self, i: usize, spec: &'a DistributionSpec, ring: &'a RingSpec) -> TokenMap {
        let distribution = || spec.name.clone();
        let mut nodes: Vec<Node> = Vec::new();
        for (entry, (name, weight)) in ring.nodes.iter().enumerate() {
            let site = Site::Entry { distribution: i, entry };
            let Some(shard) = self.shard(site, name) else { continue };
            if nodes.iter().any(|node| *node.shard == **name) {
                self.fail(site, TopologyError::DuplicateNode { distribution: distribution(), name: name.clone() });
            }
            if !(1..=MAX_WEIGHT).contains(weight) {
                self.fail(
                    site,
                    TopologyError::BadWeight { distribution: distribution(), name: name.clone(), weight: *weight },
                );
            }
            nodes.push(Node { shard: Arc::clone(&self.spec.shards[shard.index()].name), weight: *weight });
        }
        if ring.nodes.is_empty() {
            nodes = self.spec.shards.iter().map(|shard| Node { shard: Arc::clone(&shard.name), weight: 1 }).collect();
        }
        if !(1..=MAX_VIRTUAL_NODES).contains(&ring.virtual_nodes) {
            let virtual_nodes = ring.virtual_nodes;
            self.fail(
                Site::Distribution(i),
                TopologyError::BadVirtualNodes { distribution: distribution(), virtual_nodes },
            );
        }
        if !self.errors.is_empty() {
            return TokenMap::default();
        }
        let built = Ring::build(&nodes, ring.virtual_nodes);
        TokenMap::new(built.ranges().iter().filter_map(|range| Some((range.first, *self.shards.get(&*range.shard)?))))
    }

    pub(super) fn tokens(&mut self, i: usize, spec: &'a DistributionSpec, ranges: &[RangeSpec]) -> TokenMap {
        if ranges.is_empty() {
            self.fail(Site::Distribution(i), TopologyError::NoRanges { distribution: spec.name.clone() });
            return TokenMap::default();
        }
        let before = self.errors.len();
        // Half-open, in 128 bits so that the end of the last one can be written.
        let mut parsed: Vec<(u128, u128, ShardId, usize)> = Vec::new();
        for (entry, range) in ranges.iter().enumerate() {
            let site = Site::Entry { distribution: i, entry };
            let shard = self.shard(site, &range.shard);
            let from = range.from.as_ref().map_or(Some(0), |text| self.token(site, text));
            let to = range.to.as_ref().map_or(Some(1 << 64), |text| self.token(site, text));
            let (Some(shard), Some(from), Some(to)) = (shard, from, to) else { continue };
            if from >= to {
                self.fail(site, empty_range(range));
                continue;
            }
            parsed.push((from, to, shard, entry));
        }
        if self.errors.len() > before {
            return TokenMap::default();
        }
        parsed.sort_unstable();
        let mut reached = 0;
        for (n, (from, to, _, entry)) in parsed.iter().enumerate() {
            match from.cmp(&reached) {
                Ordering::Less => {
                    let previous = n.checked_sub(1).and_then(|p| parsed.get(p)).and_then(|p| ranges.get(p.3));
                    self.overlap(i, spec, previous, *entry, ranges);
                }
                Ordering::Greater => self.token_gap(i, spec, reached, *from),
                Ordering::Equal => {}
            }
            reached = reached.max(*to);
        }
        if reached < 1 << 64 {
            self.token_gap(i, spec, reached, 1 << 64);
        }
        TokenMap::new(parsed.into_iter().map(|(from, _, shard, _)| (Token(from as u64), shard)))
    }

    pub(super) fn token(&mut self, site: Site, text: &str) -> Option<u128> {
        let hex = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
        let parsed = hex.map_or_else(|| text.parse::<u64>(), |hex| u64::from_str_radix(hex, 16));
        if parsed.is_err() {
            self.fail(site, TopologyError::BadToken { value: text.to_owned() });
        }
        parsed.ok().map(u128::from)
    }

    pub(super) fn token_gap(&mut self, i: usize, spec: &DistributionSpec, from: u128, to: u128) {
        let (first, last) = (from as u64, (to - 1) as u64);
        self.fail(Site::Distribution(i), TopologyError::TokenGap { distribution: spec.name.clone(), first, last });
    }
}

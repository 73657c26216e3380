//! Virtual nodes -> token ranges; two rings -> the moves between them.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::ids::Token;
use crate::types::canonical::{self, KeyValue};

/// Virtual nodes of a shard of weight 1. Part of the placement: another number is another map, so it never changes.
///
/// Measured over 32 clusters of 2 to 32 shards (`ring_shares_are_even`), the deviation of a shard from its fair share:
///
/// | virtual nodes | half of the shards | 99 % | the worst |
/// |---:|---:|---:|---:|
/// | 64 | 7.7 % | 28 % | 31 % |
/// | 256 | 3.7 % | 15 % | 19 % |
/// | 1024 | 2.0 % | 6.6 % | 11 % |
/// | 2048 | 1.4 % | 5.4 % | 6.3 % |
///
/// With 1024 a map of 4 shards has 3,000 ranges (30 kB), one of 16 has 15,000 (150 kB).
pub const DEFAULT_VIRTUAL_NODES: u32 = 1024;

/// More than this many virtual nodes a shard only costs memory.
pub const MAX_VIRTUAL_NODES: u32 = 65_536;

/// A shard as the ring sees it: named, so that the map does not depend on the order in the config.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    pub shard: Arc<str>,
    /// Share of the keys relative to the others.
    pub weight: u32,
}

/// The tokens `first ..= last`, held by one shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRange {
    pub first: Token,
    pub last: Token,
    pub shard: Arc<str>,
}

/// Every token with its shard: sorted, without gaps, neighbours of one shard joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ring {
    ranges: Vec<TokenRange>,
}

/// Tokens that change their shard when one map replaces another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    pub first: Token,
    pub last: Token,
    pub from: Arc<str>,
    pub to: Arc<str>,
}

impl Move {
    /// How many tokens move (up to 2^64).
    pub fn tokens(&self) -> u128 {
        u128::from(self.last.0 - self.first.0) + 1
    }
}

impl Ring {
    /// Places `virtual_nodes * weight` points a shard, at the token of the text `shard/i`. Each point owns the tokens from its
    /// own up to the next point; the tokens before the first point belong to the last. Empty when there is no point.
    pub fn build(nodes: &[Node], virtual_nodes: u32) -> Self {
        // Of two shards at one point the smaller name has it, whatever the order of `nodes`.
        let mut points: BTreeMap<Token, &Arc<str>> = BTreeMap::new();
        for node in nodes {
            for i in 0..virtual_nodes.saturating_mul(node.weight) {
                let Some(token) = canonical::token(&[KeyValue::Text(format!("{}/{i}", node.shard).into())]) else {
                    continue;
                };
                let owner = points.entry(token).or_insert(&node.shard);
                *owner = (*owner).min(&node.shard);
            }
        }
        let wrapped = points.last_key_value().map(|(_, shard)| (Token(0), *shard));
        let starts = wrapped.into_iter().chain(points.iter().map(|(token, shard)| (*token, *shard)));
        let mut ranges: Vec<TokenRange> = Vec::new();
        for (first, shard) in starts {
            match ranges.last_mut() {
                Some(last) if last.shard == *shard => continue,
                // A point at token 0 leaves nothing to wrap around.
                Some(last) if last.first == first => {
                    last.shard = Arc::clone(shard);
                    continue;
                }
                Some(last) => last.last = Token(first.0 - 1),
                None => {}
            }
            ranges.push(TokenRange { first, last: Token(u64::MAX), shard: Arc::clone(shard) });
        }
        Self { ranges }
    }

    /// In ascending order; together they hold every token once.
    pub fn ranges(&self) -> &[TokenRange] {
        &self.ranges
    }

    pub fn into_ranges(self) -> Vec<TokenRange> {
        self.ranges
    }

    /// The part of all tokens that each shard holds, by name.
    pub fn shares(&self) -> BTreeMap<Arc<str>, f64> {
        let mut shares = BTreeMap::new();
        for range in &self.ranges {
            let tokens = (range.last.0 - range.first.0) as f64 + 1.0;
            *shares.entry(Arc::clone(&range.shard)).or_insert(0.0) += tokens / 2f64.powi(64);
        }
        shares
    }

    /// What has to move when `next` replaces this ring, in token order.
    pub fn moves_to(&self, next: &Ring) -> Vec<Move> {
        moves(&self.ranges, &next.ranges)
    }
}

/// The tokens that `old` and `new` give to different shards. Both sorted and without gaps.
pub fn moves(old: &[TokenRange], new: &[TokenRange]) -> Vec<Move> {
    let mut moves: Vec<Move> = Vec::new();
    let (mut i, mut j) = (0, 0);
    while let (Some(a), Some(b)) = (old.get(i), new.get(j)) {
        let (first, last) = (a.first.max(b.first), a.last.min(b.last));
        if a.shard != b.shard {
            match moves.last_mut() {
                Some(m) if m.from == a.shard && m.to == b.shard && m.last.0.checked_add(1) == Some(first.0) => {
                    m.last = last
                }
                _ => moves.push(Move { first, last, from: Arc::clone(&a.shard), to: Arc::clone(&b.shard) }),
            }
        }
        i += usize::from(a.last == last);
        j += usize::from(b.last == last);
    }
    moves
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn nodes(names: impl IntoIterator<Item = String>) -> Vec<Node> {
        names.into_iter().map(|name| Node { shard: name.into(), weight: 1 }).collect()
    }

    fn numbered(prefix: &str, count: usize) -> Vec<Node> {
        nodes((1..=count).map(|i| format!("{prefix}{i}")))
    }

    fn assert_covers_every_token_once(ring: &Ring) {
        assert_eq!(ring.ranges.first().unwrap().first, Token(0));
        assert_eq!(ring.ranges.last().unwrap().last, Token(u64::MAX));
        for pair in ring.ranges.windows(2) {
            assert_eq!(pair[0].last.0 + 1, pair[1].first.0);
            assert_ne!(pair[0].shard, pair[1].shard);
        }
    }

    /// How far each shard is from its fair share, ascending, over clusters of many sizes and names.
    fn deviations(virtual_nodes: u32) -> Vec<f64> {
        let mut deviations = Vec::new();
        for prefix in ["shard", "s", "db-", "pg.eu-west-1.example.com:"] {
            for count in [2, 3, 4, 5, 8, 12, 16, 32] {
                let ring = Ring::build(&numbered(prefix, count), virtual_nodes);
                deviations.extend(ring.shares().values().map(|share| (share * count as f64 - 1.0).abs()));
            }
        }
        deviations.sort_by(f64::total_cmp);
        deviations
    }

    #[test]
    fn ring_shares_are_even() {
        let deviations = deviations(DEFAULT_VIRTUAL_NODES);
        let at = |part: f64| deviations[((deviations.len() - 1) as f64 * part) as usize];
        let measured = format!("half within {:.3}, 99 % within {:.3}, all within {:.3}", at(0.5), at(0.99), at(1.0));
        assert!(at(0.5) < 0.03 && at(0.99) < 0.10 && at(1.0) < 0.12, "{measured}");
    }

    #[test]
    fn ring_shares_follow_the_weights() {
        let mut nodes = numbered("s", 3);
        nodes[2].weight = 2;
        let shares = Ring::build(&nodes, DEFAULT_VIRTUAL_NODES).shares();
        assert!((shares["s3"] - 0.5).abs() < 0.05, "{shares:?}");
    }

    #[test]
    fn adding_a_shard_moves_its_share_and_only_to_itself() {
        for count in [1, 2, 4, 9] {
            let old = Ring::build(&numbered("s", count), DEFAULT_VIRTUAL_NODES);
            let new = Ring::build(&numbered("s", count + 1), DEFAULT_VIRTUAL_NODES);
            let moves = old.moves_to(&new);
            let added = format!("s{}", count + 1);
            assert!(moves.iter().all(|m| *m.to == *added && *m.from != *added));
            let moved = moves.iter().map(Move::tokens).sum::<u128>() as f64 / 2f64.powi(64);
            let fair = 1.0 / (count + 1) as f64;
            assert!(
                (moved / fair - 1.0).abs() < 0.10,
                "{count} shards and one more moved {moved:.3}, fair is {fair:.3}"
            );
        }
    }

    #[test]
    fn ring_does_not_depend_on_the_order_of_shards() {
        let mut nodes = numbered("s", 5);
        let ring = Ring::build(&nodes, 64);
        nodes.reverse();
        assert_eq!(Ring::build(&nodes, 64), ring);
    }

    #[test]
    fn ring_of_one_shard_is_one_range() {
        let ring = Ring::build(&numbered("only", 1), 64);
        assert_eq!(ring.ranges.len(), 1);
        assert_covers_every_token_once(&ring);
        assert!(Ring::build(&[], 64).ranges.is_empty());
    }

    /// The placement of stored rows: a change here means that every row of every cluster lies in the wrong place.
    #[test]
    fn ring_positions_are_frozen() {
        let ring = Ring::build(&numbered("shard", 4), DEFAULT_VIRTUAL_NODES);
        let sample: Vec<&str> = (0..16u64)
            .map(|i| i << 60)
            .map(|token| &*ring.ranges.iter().find(|r| r.last.0 >= token).unwrap().shard)
            .collect();
        let frozen = "4 4 1 3 4 3 2 1 3 4 1 1 4 2 4 3";
        assert_eq!(sample.join(" ").replace("shard", ""), frozen);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn ring_agrees_with_a_search_for_the_nearest_point(count in 1usize..6, virtual_nodes in 1u32..40, tokens in proptest::collection::vec(any::<u64>(), 20)) {
            let nodes = numbered("n", count);
            let ring = Ring::build(&nodes, virtual_nodes);
            assert_covers_every_token_once(&ring);
            let mut points = Vec::new();
            for node in &nodes {
                for i in 0..virtual_nodes {
                    let name = format!("{}/{i}", node.shard);
                    points.push((canonical::token(&[KeyValue::Text(name.into())]).unwrap(), Arc::clone(&node.shard)));
                }
            }
            for token in tokens.into_iter().map(Token) {
                let below = points.iter().filter(|p| p.0 <= token).max_by_key(|p| p.0);
                let expected = below.or(points.iter().max_by_key(|p| p.0)).unwrap();
                let found = ring.ranges.iter().find(|r| r.first <= token && token <= r.last).unwrap();
                prop_assert_eq!(&found.shard, &expected.1);
            }
        }

        #[test]
        fn moves_name_exactly_the_tokens_that_change(a in 1usize..6, b in 1usize..6, tokens in proptest::collection::vec(any::<u64>(), 50)) {
            let (old, new) = (Ring::build(&numbered("n", a), 16), Ring::build(&numbered("n", b), 16));
            let moves = old.moves_to(&new);
            let owner = |ring: &Ring, token| Arc::clone(&ring.ranges.iter().find(|r| r.first <= token && token <= r.last).unwrap().shard);
            for token in tokens.into_iter().map(Token) {
                let moved = moves.iter().find(|m| m.first <= token && token <= m.last);
                let (from, to) = (owner(&old, token), owner(&new, token));
                prop_assert_eq!(moved.is_some(), from != to);
                if let Some(m) = moved {
                    prop_assert_eq!((&m.from, &m.to), (&from, &to));
                }
            }
        }
    }
}

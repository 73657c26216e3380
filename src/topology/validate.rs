//! `TopologySpec` -> `Topology`: every name resolved, every value typed, and all errors collected, not only the first.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::ids::{DistributionId, QualifiedName, ShardId, Token};
use crate::topology::distribution::Distribution;
use crate::topology::error::{
    At, MAX_DISTRIBUTIONS, MAX_MODULUS, MAX_SHARDS, MAX_WEIGHT, TopologyError, TopologyWarning,
};
use crate::topology::key_order::compare;
use crate::topology::ring::{MAX_VIRTUAL_NODES, Node, Ring};
use crate::topology::schemas::{Schemas, is_reserved};
use crate::topology::shard_map::{
    CompositeMap, Interval, KeyTable, Method, Outer, RangeMap, ShardMap, TokenMap, compare_from,
};
use crate::topology::spec::{
    DistributionSpec, GroupSpec, MethodSpec, RangeSpec, RemainderSpec, RingSpec, RuleSpec, Site, TopologySpec,
    ValueSpec,
};
use crate::topology::{Shard, TableRule, Topology};
use crate::types::KeyType;
use crate::types::canonical::KeyValue;
use crate::types::postgres_hash::is_hashed;

pub type Errors = Vec<At<TopologyError>>;
pub type Warnings = Vec<At<TopologyWarning>>;

impl TopologySpec {
    /// The compiled topology with what looks unintended, or everything that is wrong.
    pub fn build(&self) -> Result<(Topology, Warnings), Errors> {
        let mut work = Work { shards: HashMap::new(), spec: self, errors: Vec::new(), warnings: Vec::new() };
        work.check_shards();
        let home = work.home();
        let distributions = work.distributions();
        let tables = work.tables();
        if !work.errors.is_empty() {
            return Err(work.errors);
        }
        let topology = Topology {
            epoch: self.epoch,
            fence: crate::ids::Epoch::default(),
            shards: self.shards.clone(),
            home,
            distributions,
            tables,
            from_sql: HashSet::new(),
            closed: HashMap::new(),
            uniques: Vec::new(),
        };
        Ok((topology, work.warnings))
    }
}

/// One validation: the spec, the names known so far and the findings.
struct Work<'a> {
    spec: &'a TopologySpec,
    shards: HashMap<&'a str, ShardId>,
    errors: Errors,
    warnings: Warnings,
}

impl<'a> Work<'a> {
    fn fail(&mut self, site: Site, finding: TopologyError) {
        self.errors.push(At { site, finding });
    }

    fn check_shards(&mut self) {
        let count = self.spec.shards.len();
        if count == 0 {
            self.fail(Site::Topology, TopologyError::NoShards);
        }
        if count > MAX_SHARDS {
            self.fail(Site::Topology, TopologyError::TooManyShards { count });
        }
        let mut servers = HashMap::new();
        for (i, shard) in self.spec.shards.iter().enumerate().take(MAX_SHARDS) {
            if shard.name.is_empty() {
                self.fail(Site::Shard(i), TopologyError::EmptyShardName);
            }
            if self.shards.insert(&shard.name, ShardId(i as u16)).is_some() {
                self.fail(Site::Shard(i), TopologyError::DuplicateShard { name: shard.name.to_string() });
            }
            self.check_servers(i, shard, &mut servers);
        }
    }

    fn check_servers(&mut self, i: usize, shard: &'a Shard, seen: &mut HashMap<(&'a str, u16, &'a str), &'a str>) {
        let name = || shard.name.to_string();
        if shard.servers.is_empty() {
            self.fail(Site::Shard(i), TopologyError::NoServers { shard: name() });
        }
        for server in &shard.servers {
            let Some(other) = seen.insert((&server.host, server.port, &server.dbname), &shard.name) else { continue };
            self.fail(
                Site::Shard(i),
                TopologyError::SharedServer {
                    shard: name(),
                    other: other.to_owned(),
                    host: server.host.to_string(),
                    port: server.port,
                    dbname: server.dbname.to_string(),
                },
            );
        }
    }

    fn home(&mut self) -> ShardId {
        match &self.spec.home_shard {
            Some(name) => self.shard(Site::HomeShard, name).unwrap_or(ShardId(0)),
            None => ShardId(0),
        }
    }

    fn shard(&mut self, site: Site, name: &str) -> Option<ShardId> {
        let found = self.shards.get(name).copied();
        if found.is_none() && !self.spec.shards.is_empty() {
            let known = self.spec.shards.iter().map(|shard| shard.name.to_string()).collect();
            self.fail(site, TopologyError::UnknownShard { name: name.to_owned(), known });
        }
        found
    }

    fn distributions(&mut self) -> Vec<Distribution> {
        let count = self.spec.distributions.len();
        if count > MAX_DISTRIBUTIONS {
            self.fail(Site::Topology, TopologyError::TooManyDistributions { count });
        }
        let mut names = HashSet::new();
        let mut compiled = Vec::new();
        for (i, spec) in self.spec.distributions.iter().enumerate() {
            if spec.name.is_empty() {
                self.fail(Site::Distribution(i), TopologyError::EmptyDistributionName);
            }
            if !names.insert(&spec.name) {
                self.fail(Site::Distribution(i), TopologyError::DuplicateDistribution { name: spec.name.clone() });
            }
            if spec.key_types.is_empty() {
                self.fail(Site::Distribution(i), TopologyError::NoKeyTypes { distribution: spec.name.clone() });
                continue;
            }
            let method = self.method(i, spec);
            let pins = self.pins(i, spec);
            compiled.push(Distribution {
                name: Arc::from(spec.name.as_str()),
                key_types: spec.key_types.clone(),
                map: ShardMap::new(method, pins),
                schemas: match &spec.method {
                    MethodSpec::Schemas { schemas, except, .. } => Some(boxed_schemas(schemas, except)),
                    _ => None,
                },
            });
        }
        compiled
    }

    fn method(&mut self, i: usize, spec: &'a DistributionSpec) -> Method {
        match &spec.method {
            MethodSpec::Ring(ring) => Method::Hash(self.ring(i, spec, ring)),
            MethodSpec::Tokens(ranges) => Method::Hash(self.tokens(i, spec, ranges)),
            MethodSpec::Range(ranges) => Method::Range(self.ranges(i, spec, ranges)),
            MethodSpec::List { values, default } => {
                if values.is_empty() && default.is_none() {
                    self.fail(Site::Distribution(i), TopologyError::NoValues { distribution: spec.name.clone() });
                }
                let values = self.values(i, spec, values);
                let default = default.as_ref().and_then(|name| self.shard(Site::ListDefault(i), name));
                Method::List { values, default }
            }
            MethodSpec::Remainders(partitions) => Method::Remainders(self.remainders(i, spec, partitions)),
            MethodSpec::Composite { groups, virtual_nodes } => {
                self.composite(i, spec, groups, *virtual_nodes).map_or_else(Method::default, Method::Composite)
            }
            MethodSpec::Schemas { schemas, except, ring, default } => {
                self.check_schemas(i, spec, schemas, except);
                match default {
                    Some(name) => {
                        Method::List { values: KeyTable::default(), default: self.shard(Site::ListDefault(i), name) }
                    }
                    None => Method::Hash(self.ring(i, spec, ring)),
                }
            }
        }
    }

    fn check_schemas(&mut self, i: usize, spec: &DistributionSpec, schemas: &[String], except: &[String]) {
        let whole = Site::Distribution(i);
        if schemas.is_empty() {
            self.fail(whole, TopologyError::NoSchemas { distribution: spec.name.clone() });
        }
        for pattern in schemas.iter().chain(except).filter(|pattern| pattern.is_empty()) {
            self.fail(whole, TopologyError::BadPattern { pattern: pattern.clone() });
        }
        for pattern in schemas.iter().filter(|pattern| is_reserved(pattern)) {
            self.fail(whole, TopologyError::BadPattern { pattern: pattern.clone() });
        }
        let placed = boxed_schemas(schemas, except);
        for (pin, value) in spec.pins.iter().enumerate() {
            if let [schema] = &value.key[..]
                && !placed.has(schema)
            {
                let (distribution, schema) = (spec.name.clone(), schema.clone());
                self.fail(Site::Pin { distribution: i, pin }, TopologyError::PinOfOtherSchema { distribution, schema });
            }
        }
    }

    fn composite(
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
    fn group(&mut self, site: Site, spec: &DistributionSpec, shards: &[String], virtual_nodes: u32) -> TokenMap {
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

    /// The shard of each remainder by the largest modulus; the others divide it.
    fn remainders(&mut self, i: usize, spec: &'a DistributionSpec, partitions: &[RemainderSpec]) -> Box<[ShardId]> {
        let distribution = || spec.name.clone();
        let before = self.errors.len();
        for key_type in spec.key_types.iter().copied().filter(|key_type| !is_hashed(*key_type)) {
            let finding = TopologyError::NoPostgresHash { distribution: distribution(), key_type };
            self.fail(Site::Distribution(i), finding);
        }
        if partitions.is_empty() {
            self.fail(Site::Distribution(i), TopologyError::NoPartitions { distribution: distribution() });
        }
        for (entry, RemainderSpec { modulus, remainder, .. }) in partitions.iter().enumerate() {
            if !(1..=MAX_MODULUS).contains(modulus) || remainder >= modulus {
                let finding = TopologyError::BadRemainder { modulus: *modulus, remainder: *remainder };
                self.fail(Site::Entry { distribution: i, entry }, finding);
            }
        }
        if self.errors.len() > before {
            return Box::default();
        }
        let largest = partitions.iter().map(|partition| partition.modulus).max().unwrap_or(1);
        let mut owners: Vec<Option<ShardId>> = vec![None; largest as usize];
        // As Postgres checks them: one after the other, the smallest first.
        let mut sorted: Vec<(usize, &RemainderSpec)> = partitions.iter().enumerate().collect();
        sorted.sort_by_key(|(_, partition)| partition.modulus);
        let mut next_larger = sorted.iter().skip(1).map(|(_, next)| next.modulus).chain([largest]);
        for (entry, partition) in &sorted {
            let site = Site::Entry { distribution: i, entry: *entry };
            let (modulus, remainder) = (partition.modulus, partition.remainder);
            let larger = next_larger.next().unwrap_or(largest);
            if !larger.is_multiple_of(modulus) {
                let finding =
                    TopologyError::ModulusIsNoFactor { distribution: distribution(), modulus, largest: larger };
                self.fail(site, finding);
                continue;
            }
            let Some(shard) = self.shard(site, &partition.shard) else { continue };
            let mut shared = false;
            for owner in owners.iter_mut().skip(remainder as usize).step_by(modulus as usize) {
                shared |= owner.replace(shard).is_some();
            }
            if shared {
                let finding = TopologyError::SharedRemainder { distribution: distribution(), modulus, remainder };
                self.fail(site, finding);
            }
        }
        let gap = owners.iter().position(Option::is_none).and_then(|gap| u32::try_from(gap).ok());
        if let (Some(remainder), true) = (gap, self.errors.len() == before) {
            let finding = TopologyError::RemainderGap { distribution: distribution(), modulus: largest, remainder };
            self.fail(Site::Distribution(i), finding);
        }
        owners.into_iter().flatten().collect()
    }

    fn ring(&mut self, i: usize, spec: &'a DistributionSpec, ring: &'a RingSpec) -> TokenMap {
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

    fn tokens(&mut self, i: usize, spec: &'a DistributionSpec, ranges: &[RangeSpec]) -> TokenMap {
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

    fn token(&mut self, site: Site, text: &str) -> Option<u128> {
        let hex = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
        let parsed = hex.map_or_else(|| text.parse::<u64>(), |hex| u64::from_str_radix(hex, 16));
        if parsed.is_err() {
            self.fail(site, TopologyError::BadToken { value: text.to_owned() });
        }
        parsed.ok().map(u128::from)
    }

    fn token_gap(&mut self, i: usize, spec: &DistributionSpec, from: u128, to: u128) {
        let (first, last) = (from as u64, (to - 1) as u64);
        self.fail(Site::Distribution(i), TopologyError::TokenGap { distribution: spec.name.clone(), first, last });
    }

    fn ranges(&mut self, i: usize, spec: &'a DistributionSpec, ranges: &[RangeSpec]) -> RangeMap {
        let distribution = || spec.name.clone();
        let [key_type] = spec.key_types[..] else {
            let count = spec.key_types.len();
            self.fail(
                Site::Distribution(i),
                TopologyError::RangeOverSeveralColumns { distribution: distribution(), count },
            );
            return RangeMap::default();
        };
        if ranges.is_empty() {
            self.fail(Site::Distribution(i), TopologyError::NoRanges { distribution: distribution() });
        }
        self.ranges_of(i, spec, key_type, ranges, |work, site, entry| work.shard(site, &ranges.get(entry)?.shard))
    }

    /// Ranges of one column, each with what `owner` says of it.
    fn ranges_of<T: Copy>(
        &mut self,
        i: usize,
        spec: &DistributionSpec,
        key_type: KeyType,
        ranges: &[RangeSpec],
        owner: impl Fn(&mut Self, Site, usize) -> Option<T>,
    ) -> RangeMap<T> {
        if key_type == KeyType::Bool {
            let distribution = spec.name.clone();
            self.fail(Site::Distribution(i), TopologyError::RangeOverBool { distribution, key_type });
            return RangeMap::default();
        }
        let mut parsed: Vec<(Interval<T>, usize)> = Vec::new();
        for (entry, range) in ranges.iter().enumerate() {
            let site = Site::Entry { distribution: i, entry };
            let shard = owner(self, site, entry);
            let mut bound = |text: &Option<String>| match text {
                Some(text) => self.value(site, key_type, text).map(Some),
                None => Some(None),
            };
            let (from, to) = (bound(&range.from), bound(&range.to));
            let (Some(shard), Some(from), Some(to)) = (shard, from, to) else { continue };
            if let (Some(low), Some(high)) = (&from, &to)
                && compare(low, high).is_ge()
            {
                self.fail(site, empty_range(range));
                continue;
            }
            parsed.push((Interval { from, to, shard }, entry));
        }
        parsed.sort_by(|(a, _), (b, _)| compare_from(a.from.as_ref(), b.from.as_ref()));
        self.check_neighbours(i, spec, &parsed, ranges);
        RangeMap::new(parsed.into_iter().map(|(interval, _)| interval).collect())
    }

    /// Overlaps are errors, gaps are warnings. `sorted` is by start, each with its place in `ranges`.
    fn check_neighbours<T>(
        &mut self,
        i: usize,
        spec: &DistributionSpec,
        sorted: &[(Interval<T>, usize)],
        ranges: &[RangeSpec],
    ) {
        let mut gaps = Vec::new();
        for pair in sorted.windows(2) {
            let [(a, first), (b, second)] = pair else { continue };
            let (end, start) = (text_of(ranges, *first, |r| &r.to), text_of(ranges, *second, |r| &r.from));
            let order = match (&a.to, &b.from) {
                (Some(to), Some(from)) => compare(to, from),
                _ => Ordering::Greater,
            };
            match order {
                Ordering::Greater => self.overlap(i, spec, ranges.get(*first), *second, ranges),
                Ordering::Less => gaps.push(format!("from `{end}` to `{start}`")),
                Ordering::Equal => {}
            }
        }
        if let Some((Interval { from: Some(_), .. }, first)) = sorted.first() {
            gaps.push(format!("below `{}`", text_of(ranges, *first, |r| &r.from)));
        }
        if let Some((Interval { to: Some(_), .. }, last)) = sorted.last() {
            gaps.push(format!("from `{}` on", text_of(ranges, *last, |r| &r.to)));
        }
        for gap in gaps {
            let finding = TopologyWarning::Gap { distribution: spec.name.clone(), gap };
            self.warnings.push(At { site: Site::Distribution(i), finding });
        }
    }

    fn overlap(
        &mut self,
        i: usize,
        spec: &DistributionSpec,
        first: Option<&RangeSpec>,
        second: usize,
        ranges: &[RangeSpec],
    ) {
        let finding = TopologyError::OverlappingRanges {
            distribution: spec.name.clone(),
            first: first.map(show_range).unwrap_or_default(),
            second: ranges.get(second).map(show_range).unwrap_or_default(),
        };
        self.fail(Site::Entry { distribution: i, entry: second }, finding);
    }

    fn values(&mut self, i: usize, spec: &'a DistributionSpec, values: &[ValueSpec]) -> KeyTable {
        let site = |entry| Site::Entry { distribution: i, entry };
        let twice = |distribution, value| TopologyError::DuplicateValue { distribution, value };
        self.key_table(spec, values, site, twice)
    }

    fn pins(&mut self, i: usize, spec: &'a DistributionSpec) -> KeyTable {
        let site = |pin| Site::Pin { distribution: i, pin };
        let twice = |distribution, value| TopologyError::DuplicatePin { distribution, value };
        let pins = self.key_table(spec, &spec.pins, site, twice);
        if let MethodSpec::List { values, .. } = &spec.method {
            for (pin, value) in spec.pins.iter().enumerate() {
                let Some(key) = parse_key(spec, value) else { continue };
                if values.iter().any(|listed| parse_key(spec, listed).as_ref() == Some(&key)) {
                    let (distribution, value) = (spec.name.clone(), value.key.join(", "));
                    self.fail(site(pin), TopologyError::PinnedAndListed { distribution, value });
                }
            }
        }
        pins
    }

    fn key_table(
        &mut self,
        spec: &'a DistributionSpec,
        values: &[ValueSpec],
        site: impl Fn(usize) -> Site,
        twice: impl Fn(String, String) -> TopologyError,
    ) -> KeyTable {
        let mut seen = HashSet::new();
        let mut entries = Vec::new();
        for (n, value) in values.iter().enumerate() {
            let shard = self.shard(site(n), &value.shard);
            let (expected, found) = (spec.key_types.len(), value.key.len());
            if expected != found {
                let (distribution, value) = (spec.name.clone(), value.key.join(", "));
                self.fail(site(n), TopologyError::KeyArity { distribution, value, expected, found });
                continue;
            }
            let columns = spec.key_types.iter().zip(&value.key);
            let key: Vec<_> = columns.filter_map(|(key_type, text)| self.value(site(n), *key_type, text)).collect();
            if key.len() < expected {
                continue;
            }
            if !seen.insert(key.clone()) {
                self.fail(site(n), twice(spec.name.clone(), value.key.join(", ")));
            }
            entries.extend(shard.map(|shard| (key.into_boxed_slice(), shard)));
        }
        KeyTable::new(entries)
    }

    fn value(&mut self, site: Site, key_type: KeyType, text: &str) -> Option<KeyValue<'static>> {
        let value = parse_value(key_type, text);
        if value.is_none() {
            self.fail(site, TopologyError::BadValue { value: text.to_owned(), key_type });
        }
        value
    }

    fn tables(&mut self) -> HashMap<QualifiedName, TableRule> {
        let mut tables = HashMap::new();
        let mut used = HashSet::new();
        for (i, spec) in self.spec.distributions.iter().enumerate() {
            let MethodSpec::Schemas { schemas, except, .. } = &spec.method else { continue };
            used.insert(spec.name.as_str());
            let placed = boxed_schemas(schemas, except);
            for at in (0..self.spec.tables.len()).filter(|at| placed.has(&self.spec.tables[*at].name.schema)) {
                let (table, distribution) =
                    (self.spec.tables[at].name.clone(), self.spec.distributions[i].name.clone());
                self.fail(Site::Table(at), TopologyError::TableOfPlacedSchema { table, distribution });
            }
        }
        for (i, table) in self.spec.tables.iter().enumerate() {
            let rule = match &table.rule {
                RuleSpec::Reference => Some(TableRule::Reference),
                RuleSpec::Sharded { distribution, columns } => {
                    used.insert(distribution.as_str());
                    self.sharded(i, &table.name, distribution, columns)
                }
            };
            if tables.insert(table.name.clone(), rule).is_some() {
                self.fail(Site::Table(i), TopologyError::DuplicateTable { table: table.name.clone() });
            }
        }
        for (i, spec) in
            self.spec.distributions.iter().enumerate().filter(|(_, spec)| !used.contains(spec.name.as_str()))
        {
            let finding = TopologyWarning::UnusedDistribution { distribution: spec.name.clone() };
            self.warnings.push(At { site: Site::Distribution(i), finding });
        }
        tables.into_iter().filter_map(|(name, rule)| Some((name, rule?))).collect()
    }

    fn sharded(&mut self, i: usize, table: &QualifiedName, name: &str, columns: &[String]) -> Option<TableRule> {
        let site = Site::Table(i);
        let Some(place) = self.spec.distributions.iter().position(|spec| spec.name == name) else {
            let known = self.spec.distributions.iter().map(|spec| spec.name.clone()).collect();
            self.fail(site, TopologyError::UnknownDistribution { table: table.clone(), name: name.to_owned(), known });
            return None;
        };
        if let MethodSpec::Schemas { .. } = self.spec.distributions.get(place)?.method {
            self.fail(site, TopologyError::TableBySchema { table: table.clone(), distribution: name.to_owned() });
            return None;
        }
        let (expected, found) = (self.spec.distributions.get(place)?.key_types.len(), columns.len());
        if expected != found && expected > 0 {
            let (table, distribution) = (table.clone(), name.to_owned());
            self.fail(site, TopologyError::ColumnArity { table, distribution, expected, found });
        }
        let mut seen = HashSet::new();
        for column in columns.iter().filter(|column| !seen.insert(*column)) {
            self.fail(site, TopologyError::DuplicateColumn { table: table.clone(), column: column.clone() });
        }
        let columns = columns.iter().map(|column| column.as_str().into()).collect();
        Some(TableRule::Sharded { distribution: DistributionId(u16::try_from(place).ok()?), columns })
    }
}

fn boxed_schemas(patterns: &[String], except: &[String]) -> Schemas {
    let boxed = |list: &[String]| list.iter().map(|text| text.as_str().into()).collect();
    Schemas { patterns: boxed(patterns), except: boxed(except) }
}

/// A value that no setting of the session can change the meaning of; NULL has no place on any shard.
fn parse_value(key_type: KeyType, text: &str) -> Option<KeyValue<'static>> {
    let value = key_type.parse_text(text).ok()?;
    (!value.is_null()).then(|| value.into_owned())
}

fn parse_key(spec: &DistributionSpec, value: &ValueSpec) -> Option<Vec<KeyValue<'static>>> {
    spec.key_types.iter().zip(&value.key).map(|(key_type, text)| parse_value(*key_type, text)).collect()
}

fn empty_range(range: &RangeSpec) -> TopologyError {
    let text = |bound: &Option<String>| bound.clone().unwrap_or_default();
    TopologyError::EmptyRange { from: text(&range.from), to: text(&range.to) }
}

fn text_of<'r>(ranges: &'r [RangeSpec], place: usize, bound: impl Fn(&'r RangeSpec) -> &'r Option<String>) -> &'r str {
    let Some(range) = ranges.get(place) else { return "" };
    bound(range).as_deref().unwrap_or("")
}

fn show_range(range: &RangeSpec) -> String {
    let bound = |text: &Option<String>, open: &str| text.as_ref().map_or(open.to_owned(), |text| format!("`{text}`"));
    format!("{} to {} (shard `{}`)", bound(&range.from, "the lowest"), bound(&range.to, "the highest"), range.shard)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::ids::ShardSet;
    use crate::topology::Server;
    use crate::topology::spec::TableSpec;

    fn shard(name: &str) -> Shard {
        let server = Server::new(name, 5432, "shop");
        Shard { name: name.into(), servers: vec![server] }
    }

    fn value(key: &str, shard: &str) -> ValueSpec {
        ValueSpec { key: key.split(',').map(str::to_owned).collect(), shard: shard.into() }
    }

    fn range(from: &str, to: &str, shard: &str) -> RangeSpec {
        let bound = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        RangeSpec { from: bound(from), to: bound(to), shard: shard.into() }
    }

    fn distribution(name: &str, method: MethodSpec) -> DistributionSpec {
        DistributionSpec { name: name.into(), key_types: vec![KeyType::Int8], method, pins: vec![] }
    }

    fn sharded(table: &str, distribution: &str, columns: &[&str]) -> TableSpec {
        let columns = columns.iter().map(|c| (*c).to_owned()).collect();
        TableSpec {
            name: QualifiedName::new("public", table),
            rule: RuleSpec::Sharded { distribution: distribution.into(), columns },
        }
    }

    /// Two shards `a` and `b`, one table over a hash ring: everything right.
    fn good() -> TopologySpec {
        TopologySpec {
            shards: vec![shard("a"), shard("b")],
            distributions: vec![distribution("d", MethodSpec::Ring(RingSpec::default()))],
            tables: vec![sharded("t", "d", &["id"])],
            ..TopologySpec::default()
        }
    }

    fn with_method(method: MethodSpec) -> TopologySpec {
        TopologySpec { distributions: vec![distribution("d", method)], ..good() }
    }

    fn errors(spec: &TopologySpec) -> Vec<(Site, String)> {
        spec.build().unwrap_err().into_iter().map(|e| (e.site, e.finding.to_string())).collect()
    }

    #[track_caller]
    fn assert_refused(spec: &TopologySpec, site: Site, message: &str) {
        let errors = errors(spec);
        assert_eq!(errors.len(), 1, "{errors:#?}");
        assert_eq!(errors[0].0, site);
        assert!(errors[0].1.starts_with(message), "{}", errors[0].1);
    }

    const ENTRY_1: Site = Site::Entry { distribution: 0, entry: 1 };

    #[test]
    fn good_topology_compiles_and_locates() {
        let (topology, warnings) = good().build().unwrap();
        assert_eq!(warnings, []);
        assert_eq!(topology.home, ShardId(0));
        let rule = topology.rule(&QualifiedName::new("public", "t")).unwrap();
        let TableRule::Sharded { distribution, columns } = rule else { panic!("{rule:?}") };
        assert_eq!(columns[..], [Box::from("id")]);
        let distribution = topology.distribution(*distribution);
        let located: std::collections::BTreeSet<_> =
            (0..100).map(|id| distribution.locate(&[KeyValue::Int(id)]).unwrap()).collect();
        assert_eq!(located.len(), 2);
        assert_eq!(distribution.shards(), topology.all_shards());
    }

    #[test]
    fn hash_partitions_hold_every_key_once() {
        let spec = |partitions: &[(u32, u32, &str)]| {
            let partition = |(modulus, remainder, shard): &(u32, u32, &str)| RemainderSpec {
                modulus: *modulus,
                remainder: *remainder,
                shard: (*shard).into(),
            };
            with_method(MethodSpec::Remainders(partitions.iter().map(partition).collect()))
        };
        let (topology, _) = spec(&[(4, 3, "b"), (2, 0, "a"), (4, 1, "a")]).build().unwrap();
        let Method::Remainders(owners) = topology.distributions[0].map.method() else { panic!() };
        assert_eq!(owners[..], [ShardId(0), ShardId(0), ShardId(0), ShardId(1)]);
        let whole = Site::Distribution(0);
        let entry = |entry| Site::Entry { distribution: 0, entry };
        assert_refused(&spec(&[]), whole, "distribution `d` has no partitions");
        assert_refused(&spec(&[(2, 0, "a"), (2, 2, "b")]), entry(1), "modulus 2 and remainder 2 are no partition");
        assert_refused(&spec(&[(0, 0, "a")]), entry(0), "modulus 0 and remainder 0 are no partition");
        assert_refused(&spec(&[(2, 0, "a"), (3, 1, "b")]), entry(0), "modulus 2 does not divide modulus 3");
        assert_refused(&spec(&[(2, 0, "a"), (4, 2, "b")]), entry(1), "two partitions of distribution `d`");
        assert_refused(
            &spec(&[(2, 0, "a"), (4, 1, "b")]),
            whole,
            "no partition of distribution `d` holds the keys of remainder 3 by 4",
        );
        assert_refused(&spec(&[(2, 0, "a"), (2, 1, "z")]), entry(1), "unknown shard `z`");
        let mut numeric = spec(&[(1, 0, "a")]);
        numeric.distributions[0].key_types = vec![KeyType::Numeric];
        assert_refused(&numeric, whole, "distribution `d` is by postgres_hash of numeric");
    }

    #[test]
    fn composite_groups_are_by_value_or_by_range() {
        let by = |values: &[&str], from: Option<&str>, to: Option<&str>, shards: &[&str]| GroupSpec {
            values: values.iter().map(|v| (*v).to_owned()).collect(),
            from: from.map(str::to_owned),
            to: to.map(str::to_owned),
            shards: shards.iter().map(|s| (*s).to_owned()).collect(),
        };
        let spec = |groups: &[GroupSpec]| {
            let mut spec = with_method(MethodSpec::Composite { groups: groups.to_vec(), virtual_nodes: 16 });
            spec.distributions[0].key_types = vec![KeyType::Int4, KeyType::Int8];
            spec.tables = vec![sharded("t", "d", &["a", "b"])];
            spec
        };
        let list = [by(&["1", "2"], None, None, &["a"]), by(&[], None, None, &["a", "b"])];
        let (topology, _) = spec(&list).build().unwrap();
        let at = |a, b| topology.distributions[0].locate(&[KeyValue::Int(a), KeyValue::Int(b)]);
        assert!((0..50).all(|b| at(1, b) == Ok(ShardId(0)) && at(2, b) == Ok(ShardId(0))));
        assert!((0..50).any(|b| at(3, b) == Ok(ShardId(1))));
        assert_eq!(topology.distributions[0].locate_first(&KeyValue::Int(2)), ShardSet::one(ShardId(0)));
        let range = [by(&[], None, Some("10"), &["a"]), by(&[], Some("20"), None, &["b"])];
        let (topology, warnings) = spec(&range).build().unwrap();
        let at = |a, b| topology.distributions[0].locate(&[KeyValue::Int(a), KeyValue::Int(b)]).ok();
        assert_eq!([at(9, 1), at(10, 1), at(20, 1)], [Some(ShardId(0)), None, Some(ShardId(1))]);
        assert_eq!(warnings.len(), 1);
        let whole = Site::Distribution(0);
        let entry = |entry| Site::Entry { distribution: 0, entry };
        assert_refused(&spec(&[]), whole, "distribution `d` has no groups");
        let empty = [by(&["1"], None, None, &[])];
        assert_refused(&spec(&empty), entry(0), "a group of distribution `d` has no shards");
        let mixed = [by(&["1"], None, None, &["a"]), by(&[], Some("2"), None, &["b"])];
        assert_refused(&spec(&mixed), entry(1), "distribution `d` has groups by value and groups by range");
        let twice = [by(&["1"], None, None, &["a"]), by(&["01"], None, None, &["b"])];
        assert_refused(&spec(&twice), entry(1), "the value `01` of distribution `d` is listed twice");
        let others = [by(&["1"], None, None, &["a"]), by(&[], None, None, &["a"]), by(&[], None, None, &["b"])];
        assert_refused(&spec(&others), entry(2), "distribution `d` has two groups for every other value");
        let overlap = [by(&[], None, Some("10"), &["a"]), by(&[], Some("9"), None, &["b"])];
        assert_refused(&spec(&overlap), entry(1), "the ranges");
        let stranger = [by(&["1"], None, None, &["z"])];
        assert_refused(&spec(&stranger), entry(0), "unknown shard `z`");
        let mut narrow = spec(&list);
        narrow.distributions[0].key_types.pop();
        narrow.tables = vec![sharded("t", "d", &["a"])];
        assert_refused(&narrow, whole, "distribution `d` is composite over one column");
    }

    fn by_schema(schemas: &[&str], pins: &[(&str, &str)], default: Option<&str>) -> TopologySpec {
        let strings = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        let method = MethodSpec::Schemas {
            schemas: strings(schemas),
            except: strings(&["tenant_template"]),
            ring: RingSpec::default(),
            default: default.map(str::to_owned),
        };
        let mut spec = TopologySpec { tables: vec![], ..with_method(method) };
        spec.distributions[0].key_types = vec![KeyType::Text];
        spec.distributions[0].pins = pins.iter().map(|(schema, shard)| value(schema, shard)).collect();
        spec
    }

    #[test]
    fn schemas_lie_by_their_names_whole() {
        let (topology, warnings) = by_schema(&["tenant_*"], &[("tenant_big", "b")], None).build().unwrap();
        assert_eq!(warnings, []);
        assert_eq!(topology.distributions[0].method_name(), "schema");
        let place = |schema: &str| topology.place_of_schema(schema).map(|(_, shard)| shard);
        assert_eq!(place("tenant_big"), Some(ShardId(1)));
        assert_eq!([place("public"), place("tenant_template"), place("other")], [None, None, None]);
        // As a hash distribution over text places the same names.
        let mut hash = with_method(MethodSpec::Ring(RingSpec::default()));
        hash.distributions[0].key_types = vec![KeyType::Text];
        let (hash, _) = hash.build().unwrap();
        let names: Vec<String> = (0..100).map(|n| format!("tenant_{n}")).collect();
        for name in &names {
            let key = [KeyValue::Text(name.as_str().into())];
            assert_eq!(place(name), hash.distributions[0].locate(&key).ok());
        }
        assert_eq!(names.iter().filter_map(|name| place(name)).collect::<HashSet<_>>().len(), 2);
        let (all_on_one, _) = by_schema(&["tenant_*"], &[("tenant_big", "b")], Some("a")).build().unwrap();
        assert_eq!(all_on_one.place_of_schema("tenant_77"), Some((DistributionId(0), ShardId(0))));
        assert_eq!(all_on_one.place_of_schema("tenant_big"), Some((DistributionId(0), ShardId(1))));
    }

    #[test]
    fn bad_schemas_are_refused() {
        let whole = Site::Distribution(0);
        assert_refused(&by_schema(&[], &[], None), whole, "distribution `d` by schema names no schemas");
        assert_refused(&by_schema(&["public"], &[], None), whole, "`public` is no pattern of schemas");
        assert_refused(&by_schema(&["t", "pg_x"], &[], None), whole, "`pg_x` is no pattern of schemas");
        assert_refused(&by_schema(&["t", ""], &[], None), whole, "`` is no pattern of schemas");
        let pin = Site::Pin { distribution: 0, pin: 0 };
        assert_refused(&by_schema(&["t*"], &[("x", "a")], None), pin, "the pin `x` of distribution `d` is none");
        assert_refused(&by_schema(&["t*"], &[("t", "z")], None), pin, "unknown shard `z`");
        assert_refused(&by_schema(&["t*"], &[], Some("z")), Site::ListDefault(0), "unknown shard `z`");
        let with_table = |name: QualifiedName, rule: RuleSpec| TopologySpec {
            tables: vec![TableSpec { name, rule }],
            ..by_schema(&["t*"], &[], None)
        };
        let reference = with_table(QualifiedName::new("t_1", "x"), RuleSpec::Reference);
        assert_refused(&reference, Site::Table(0), "table t_1.x lies in a schema that distribution `d` places whole");
        let by = RuleSpec::Sharded { distribution: "d".into(), columns: vec!["id".into()] };
        let sharded = with_table(QualifiedName::new("public", "x"), by);
        assert_refused(&sharded, Site::Table(0), "table public.x names distribution `d`, which places whole schemas");
    }

    #[test]
    fn all_errors_are_collected() {
        let mut spec = good();
        spec.home_shard = Some("z".into());
        spec.tables.push(sharded("t", "e", &["id"]));
        spec.tables.push(sharded("u", "d", &["id", "id"]));
        let sites: Vec<Site> = errors(&spec).into_iter().map(|e| e.0).collect();
        assert_eq!(sites, [Site::HomeShard, Site::Table(1), Site::Table(1), Site::Table(2), Site::Table(2)]);
    }

    #[test]
    fn bad_shards_are_refused() {
        let with = |change: &dyn Fn(&mut TopologySpec)| {
            let mut spec = good();
            change(&mut spec);
            spec
        };
        let second = Site::Shard(1);
        assert_refused(&with(&|s| s.shards.clear()), Site::Topology, "no shards; add");
        assert_refused(&with(&|s| s.shards[1].servers.clear()), second, "shard `b` has no servers; give");
        assert_refused(&with(&|s| s.shards[1].name = "".into()), second, "a shard has an empty name");
        assert_refused(
            &with(&|s| s.home_shard = Some("c".into())),
            Site::HomeShard,
            "unknown shard `c`; there are `a`, `b`",
        );
        let shared = with(&|s| s.shards[1].servers[0].host = "a".into());
        assert_refused(&shared, second, "shard `b` and shard `a` are both the database `shop` at a:5432");
        let two = with(&|s| s.shards[1].servers.push(shard("b").servers[0].clone()));
        assert_refused(&two, second, "shard `b` and shard `b` are both the database `shop` at b:5432");
        let named = with(&|s| s.shards[1].name = "a".into());
        assert_refused(&named, second, "two shards are named `a`");
        let mut crowd = good();
        crowd.shards = (0..=MAX_SHARDS).map(|i| shard(&i.to_string())).collect();
        assert_refused(&crowd, Site::Topology, "65536 shards; a database has at most 65535");
    }

    #[test]
    fn bad_rings_are_refused() {
        let ring = |nodes: &[(&str, u32)]| {
            let nodes = nodes.iter().map(|(name, weight)| ((*name).to_owned(), *weight)).collect();
            with_method(MethodSpec::Ring(RingSpec { nodes, ..RingSpec::default() }))
        };
        assert_refused(&ring(&[("a", 1), ("c", 1)]), ENTRY_1, "unknown shard `c`");
        assert_refused(&ring(&[("a", 1), ("a", 1)]), ENTRY_1, "shard `a` is named twice");
        assert_refused(&ring(&[("a", 1), ("b", 0)]), ENTRY_1, "shard `b` has weight 0");
        let none = with_method(MethodSpec::Ring(RingSpec { virtual_nodes: 0, nodes: vec![] }));
        assert_refused(&none, Site::Distribution(0), "distribution `d` has virtual_nodes = 0");
        let (topology, _) = ring(&[("b", 1)]).build().unwrap();
        assert_eq!(topology.distributions[0].shards(), crate::ids::ShardSet::one(ShardId(1)));
    }

    #[test]
    fn bad_ranges_are_refused_and_gaps_reported() {
        let ranges = |list: &[(&str, &str, &str)]| {
            with_method(MethodSpec::Range(list.iter().map(|(from, to, shard)| range(from, to, shard)).collect()))
        };
        assert_refused(
            &ranges(&[("", "10", "a"), ("9", "", "b")]),
            ENTRY_1,
            "the ranges the lowest to `10` (shard `a`) and `9` to",
        );
        assert_refused(&ranges(&[("", "", "a"), ("9", "10", "b")]), ENTRY_1, "the ranges");
        assert_refused(&ranges(&[("", "5", "a"), ("", "10", "b")]), ENTRY_1, "the ranges");
        assert_refused(&ranges(&[("", "5", "a"), ("7", "7", "b")]), ENTRY_1, "the range from `7` to `7` holds nothing");
        assert_refused(&ranges(&[("", "5", "a"), ("x", "7", "b")]), ENTRY_1, "`x` is not a bigint that");
        assert_refused(&ranges(&[]), Site::Distribution(0), "distribution `d` has no ranges");
        let (topology, warnings) = ranges(&[("20", "30", "b"), ("0", "10", "a")]).build().unwrap();
        let gaps: Vec<String> = warnings.iter().map(|w| w.finding.to_string()).collect();
        let expected = ["from `10` to `20`;", "below `0`;", "from `30` on;"];
        assert!(gaps.iter().zip(expected).all(|(gap, part)| gap.contains(part)) && gaps.len() == 3, "{gaps:#?}");
        let locate = |key| topology.distributions[0].locate(&[KeyValue::Int(key)]).ok();
        assert_eq!([locate(9), locate(10), locate(20)], [Some(ShardId(0)), None, Some(ShardId(1))]);
        let mut wide = ranges(&[("", "", "a")]);
        wide.distributions[0].key_types.push(KeyType::Int8);
        wide.tables.clear();
        assert_refused(&wide, Site::Distribution(0), "distribution `d` is by range over 2 columns");
    }

    #[test]
    fn explicit_tokens_must_cover_every_hash() {
        let tokens = |list: &[(&str, &str, &str)]| {
            with_method(MethodSpec::Tokens(list.iter().map(|(from, to, shard)| range(from, to, shard)).collect()))
        };
        let half = "0x8000000000000000";
        let (topology, _) = tokens(&[(half, "", "b"), ("", half, "a")]).build().unwrap();
        let Method::Hash(map) = topology.distributions[0].map.method() else { panic!() };
        assert_eq!(
            [map.get(Token(0)), map.get(Token(1 << 63)), map.get(Token(u64::MAX))],
            [0, 1, 1].map(|s| Some(ShardId(s)))
        );
        assert_refused(
            &tokens(&[("", half, "a")]),
            Site::Distribution(0),
            "no shard of distribution `d` holds the tokens 0x8000000000000000 to 0xffffffffffffffff",
        );
        assert_refused(
            &tokens(&[("1", "", "a")]),
            Site::Distribution(0),
            "no shard of distribution `d` holds the tokens 0x0000000000000000 to 0x0000000000000000",
        );
        assert_refused(&tokens(&[("", half, "a"), ("5", "", "b")]), ENTRY_1, "the ranges");
        assert_refused(&tokens(&[("", "", "a"), ("0x1g", "", "b")]), ENTRY_1, "`0x1g` is not a token");
    }

    #[test]
    fn bad_lists_and_pins_are_refused() {
        let list = |values: &[(&str, &str)], pins: &[(&str, &str)]| {
            let all = |list: &[(&str, &str)]| list.iter().map(|(key, shard)| value(key, shard)).collect();
            let mut spec = with_method(MethodSpec::List { values: all(values), default: None });
            spec.distributions[0].pins = all(pins);
            spec
        };
        let pin = Site::Pin { distribution: 0, pin: 0 };
        assert_refused(&list(&[], &[]), Site::Distribution(0), "distribution `d` has neither values");
        assert_refused(
            &list(&[("1", "a"), ("01", "b")], &[]),
            ENTRY_1,
            "the value `01` of distribution `d` is listed twice",
        );
        assert_refused(
            &list(&[("1", "a"), ("1,2", "b")], &[]),
            ENTRY_1,
            "a key of distribution `d` has 1 columns, `1, 2` has 2",
        );
        assert_refused(&list(&[("1", "a")], &[("big", "b")]), pin, "`big` is not a bigint that");
        assert_refused(&list(&[("1", "a")], &[("2", "c")]), pin, "unknown shard `c`");
        assert_refused(&list(&[("1", "a")], &[("1", "b")]), pin, "the value `1` of distribution `d` is both");
        let second = Site::Pin { distribution: 0, pin: 1 };
        assert_refused(
            &list(&[("1", "a")], &[("2", "b"), ("2", "b")]),
            second,
            "the value `2` of distribution `d` is pinned twice",
        );
        let mut default = list(&[("1", "a")], &[]);
        default.distributions[0].method = MethodSpec::List { values: vec![], default: Some("c".into()) };
        assert_refused(&default, Site::ListDefault(0), "unknown shard `c`");
    }

    #[test]
    fn bad_tables_are_refused() {
        let table = |table: TableSpec| TopologySpec { tables: vec![sharded("t", "d", &["id"]), table], ..good() };
        let site = Site::Table(1);
        assert_refused(&table(sharded("t", "d", &["id"])), site, "table public.t is named twice");
        assert_refused(
            &table(sharded("u", "e", &["id"])),
            site,
            "table public.u names the unknown distribution `e`; there are `d`",
        );
        assert_refused(
            &table(sharded("u", "d", &["id", "x"])),
            site,
            "table public.u has 2 key columns and distribution `d` has 1",
        );
        let unused = TopologySpec { tables: vec![], ..good() };
        let (_, warnings) = unused.build().unwrap();
        assert_eq!(warnings[0].finding.to_string(), "no table uses distribution `d`");
    }
}

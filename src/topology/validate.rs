//! `TopologySpec` -> `Topology`: every name resolved, every value typed, and all errors collected, not only the first.

mod composite;
mod keys;
mod ranges;
mod remainders;
mod tables;
mod tokens;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::ids::ShardId;
use crate::topology::distribution::Distribution;
use crate::topology::error::{At, MAX_DISTRIBUTIONS, MAX_SHARDS, TopologyError, TopologyWarning};
use crate::topology::schemas::{Schemas, is_reserved};
use crate::topology::shard_map::{KeyTable, Method, ShardMap};
use crate::topology::spec::{DistributionSpec, MethodSpec, Site, TopologySpec};
use crate::topology::{Shard, Topology};

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
            let pins = self.pins(i, spec, &method);
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
}

fn boxed_schemas(patterns: &[String], except: &[String]) -> Schemas {
    let boxed = |list: &[String]| list.iter().map(|text| text.as_str().into()).collect();
    Schemas { patterns: boxed(patterns), except: boxed(except) }
}

#[cfg(test)]
mod tests;

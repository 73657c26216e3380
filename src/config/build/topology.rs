//! `Placement` -> `TopologySpec` -> `Topology`, its findings brought back to their lines.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::config::build::Build;
use crate::config::error::Origin;
use crate::config::file::{self, Placement};
use crate::config::section::Setting;
use crate::config::units::{KeyText, MethodName};
use crate::ids::QualifiedName;
use crate::topology::spec::{
    DistributionSpec, GroupSpec, MethodSpec, RangeSpec, RemainderSpec, RingSpec, RuleSpec, Site, TableSpec,
    TopologySpec, ValueSpec,
};
use crate::topology::{Server, Shard, Topology};
use crate::types::KeyType;

/// Every name by which clients reach the admin console.
const RESERVED: &str = "pgloom";

/// The methods that put shards on a ring and can leave some of them out.
const RING: &str = "method = \"hash\" without tokens, and schema without default_shard";

/// Errors, and warnings, of one database that are told.
const MOST_FINDINGS: usize = 100;

/// The lines of a spec's parts, for its errors. Those of entries and pins, of which there may be millions, are looked for when needed.
type Lines = HashMap<Site, Origin>;

impl Build<'_> {
    pub(super) fn topology(&mut self, name: &str, placement: &Placement) -> Option<Topology> {
        if name.is_empty() || name == RESERVED {
            let message = format!("a database can't be called `{name}`, that name is the router's own; choose another");
            self.fail(&placement.origin, message);
        }
        let mut lines = Lines::from([(Site::Topology, placement.origin.clone())]);
        let before = self.errors.len();
        let spec = TopologySpec {
            shards: self.shards(name, placement, &mut lines),
            home_shard: placement.home_shard.as_ref().map(|home| {
                lines.insert(Site::HomeShard, home.origin.clone());
                home.value.clone()
            }),
            distributions: self.distributions(placement, &mut lines),
            tables: self.tables(placement, &mut lines),
            ..TopologySpec::default()
        };
        let line = |site: &Site| {
            let found = match *site {
                Site::Entry { distribution, entry } => {
                    let section = placement.distributions.value.get(distribution);
                    section.and_then(|section| entry_line(placement, section, entry))
                }
                Site::Pin { distribution, pin } => {
                    let section = placement.distributions.value.get(distribution);
                    section.and_then(|section| value_line(section.pins.as_ref()?, pin))
                }
                Site::Topology
                | Site::HomeShard
                | Site::Shard(_)
                | Site::Distribution(_)
                | Site::ListDefault(_)
                | Site::Table(_) => lines.get(site),
            };
            found.unwrap_or(&placement.origin)
        };
        match spec.build() {
            Ok((topology, warnings)) => {
                for warning in warnings.into_iter().take(MOST_FINDINGS) {
                    self.warn(line(&warning.site), warning.finding.to_string());
                }
                (self.errors.len() == before).then_some(topology)
            }
            Err(errors) => {
                // Of a million entries with one mistake, nobody reads more.
                let more = errors.len().saturating_sub(MOST_FINDINGS);
                for error in errors.into_iter().take(MOST_FINDINGS) {
                    self.fail(line(&error.site), error.finding.to_string());
                }
                if more > 0 {
                    self.fail(&placement.origin, format!("and {more} errors more"));
                }
                None
            }
        }
    }

    fn shards(&mut self, name: &str, placement: &Placement, lines: &mut Lines) -> Vec<Shard> {
        let mut shards = Vec::new();
        for (i, shard) in placement.shards.value.iter().enumerate() {
            lines.insert(Site::Shard(i), shard.origin.clone());
            let dbname = shard.dbname.as_ref().map_or(name, |dbname| &dbname.value);
            let mut servers = Vec::new();
            if let Some(host) = &shard.host {
                self.check_server(host, shard.port.value, &shard.port.origin);
                servers.push(Server::new(&host.value, shard.port.value, dbname));
            }
            for server in &shard.servers.value {
                let port = server.port.as_ref().unwrap_or(&shard.port);
                self.check_server(&server.host, port.value, &port.origin);
                let dbname = server.dbname.as_ref().map_or(dbname, |dbname| &dbname.value);
                if server.weight.value == 0 {
                    self.fail(&server.weight.origin, "wrong value `0`: the weight of a server is 1 to 65535");
                }
                let weight = server.weight.value;
                servers.push(Server { weight, ..Server::new(&server.host.value, port.value, dbname) });
            }
            shards.push(Shard { name: shard.name.value.as_str().into(), servers });
        }
        shards
    }

    pub(super) fn check_server(&mut self, host: &Setting<String>, port: u16, port_origin: &Origin) {
        if port == 0 {
            self.fail(port_origin, "wrong value `0`: the port of a Postgres server is 1 to 65535, usually 5432");
        }
        let text = host.value.as_str();
        let named = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        let valid =
            text.starts_with('/') || text.parse::<IpAddr>().is_ok() || (!text.is_empty() && text.chars().all(named));
        if !valid {
            let message = format!(
                "`{text}` is no host; write a name, an IP address or the directory of a Unix socket, and the port as `port`"
            );
            self.fail(&host.origin, message);
        }
    }

    fn distributions(&mut self, placement: &Placement, lines: &mut Lines) -> Vec<DistributionSpec> {
        let sections = placement.distributions.value.iter().enumerate();
        sections
            .map(|(i, section)| {
                lines.insert(Site::Distribution(i), section.origin.clone());
                self.check_method_keys(section);
                let pins = section.pins.as_ref().map(|pins| self.values(&pins.value));
                DistributionSpec {
                    name: section.name.value.clone(),
                    key_types: key_types(section),
                    method: self.method(i, section, placement, lines),
                    pins: pins.unwrap_or_default(),
                }
            })
            .collect()
    }

    /// A key that the method does not use is a misunderstanding.
    fn check_method_keys(&mut self, section: &file::Distribution) {
        let method = section.method.value;
        let by_schema = method == MethodName::Schema;
        let on_ring = match method {
            MethodName::Hash => section.tokens.is_none(),
            MethodName::Schema => section.default_shard.is_none(),
            _ => false,
        };
        let keys: [(&str, Option<&Origin>, bool, &str); 12] = [
            ("key_types", origin(&section.key_types), !by_schema, "the keys of rows"),
            ("schemas", origin(&section.schemas), by_schema, "method = \"schema\""),
            ("except", origin(&section.except), by_schema, "method = \"schema\""),
            ("tokens", origin(&section.tokens), method == MethodName::Hash, "method = \"hash\""),
            ("shards", origin(&section.shards), on_ring, RING),
            ("weights", origin(&section.weights), on_ring, RING),
            (
                "virtual_nodes",
                Some(&section.virtual_nodes.origin).filter(|o| **o != Origin::Default),
                on_ring || method == MethodName::Composite,
                "method = \"hash\" without tokens, schema without default_shard, and composite",
            ),
            ("ranges", origin(&section.ranges), method == MethodName::Range, "method = \"range\""),
            ("values", origin(&section.values), method == MethodName::List, "method = \"list\""),
            (
                "default_shard",
                origin(&section.default_shard),
                method == MethodName::List || by_schema,
                "method = \"list\" and schema",
            ),
            (
                "partitions",
                origin(&section.partitions),
                method == MethodName::PostgresHash,
                "method = \"postgres_hash\"",
            ),
            ("groups", origin(&section.groups), method == MethodName::Composite, "method = \"composite\""),
        ];
        for (key, given, used, by) in keys {
            if let (Some(given), false) = (given, used) {
                let (name, method) = (&section.name.value, method.word());
                self.fail(given, format!("distribution `{name}` by {method} does not use `{key}`, which goes with {by}; remove it or change the method"));
            }
        }
    }

    fn method(
        &mut self,
        i: usize,
        section: &file::Distribution,
        placement: &Placement,
        lines: &mut Lines,
    ) -> MethodSpec {
        let ranges = |list: &Option<Setting<Vec<file::Range>>>| {
            let list = list.iter().flat_map(|list| &list.value);
            list.map(|range| RangeSpec {
                from: key_text(&range.from),
                to: key_text(&range.to),
                shard: range.shard.value.clone(),
            })
            .collect::<Vec<_>>()
        };
        match section.method.value {
            MethodName::Hash if section.tokens.is_some() => MethodSpec::Tokens(ranges(&section.tokens)),
            MethodName::Hash => MethodSpec::Ring(self.ring(section, placement)),
            MethodName::Range => MethodSpec::Range(ranges(&section.ranges)),
            MethodName::PostgresHash => {
                let partitions = section.partitions.iter().flat_map(|list| &list.value);
                let spec = |partition: &file::Partition| {
                    let (modulus, remainder) = (partition.modulus.value, partition.remainder.value);
                    RemainderSpec { modulus, remainder, shard: partition.shard.value.clone() }
                };
                MethodSpec::Remainders(partitions.map(spec).collect())
            }
            MethodName::Composite => {
                let groups = section.groups.iter().flat_map(|list| &list.value);
                let spec = |group: &file::Group| {
                    let one = group.value.iter().map(|value| &value.value);
                    let many = group.values.iter().flat_map(|values| &values.value);
                    GroupSpec {
                        values: one.chain(many).map(|text| text.0.clone()).collect(),
                        from: key_text(&group.from),
                        to: key_text(&group.to),
                        shards: group.shards.value.clone(),
                    }
                };
                MethodSpec::Composite { groups: groups.map(spec).collect(), virtual_nodes: section.virtual_nodes.value }
            }
            MethodName::Schema => {
                let list =
                    |list: &Option<Setting<Vec<String>>>| list.iter().flat_map(|list| list.value.clone()).collect();
                let default = self.default_shard(i, section, lines);
                MethodSpec::Schemas {
                    schemas: list(&section.schemas),
                    except: list(&section.except),
                    ring: self.ring(section, placement),
                    default,
                }
            }
            MethodName::List => {
                let values = section.values.as_ref().map(|values| self.values(&values.value));
                let default = self.default_shard(i, section, lines);
                MethodSpec::List { values: values.unwrap_or_default(), default }
            }
        }
    }

    fn default_shard(&mut self, i: usize, section: &file::Distribution, lines: &mut Lines) -> Option<String> {
        let default = section.default_shard.as_ref()?;
        lines.insert(Site::ListDefault(i), default.origin.clone());
        Some(default.value.clone())
    }

    fn ring(&mut self, section: &file::Distribution, placement: &Placement) -> RingSpec {
        if section.shards.is_none() && section.weights.is_none() {
            return RingSpec { virtual_nodes: section.virtual_nodes.value, nodes: Vec::new() };
        }
        let named = section.shards.as_ref().map(|shards| shards.value.clone());
        let all = || placement.shards.value.iter().map(|shard| shard.name.value.clone()).collect();
        let shards: Vec<String> = named.unwrap_or_else(all);
        if let Some(list) = &section.shards
            && shards.is_empty()
        {
            self.fail(&list.origin, "the ring has no shards; name at least one, or leave `shards` out for all");
        }
        let mut weights = HashMap::new();
        for (name, weight) in section.weights.iter().flat_map(|weights| &weights.value.0) {
            if shards.contains(name) {
                weights.insert(name.as_str(), weight.value);
            } else {
                let message = format!(
                    "the weight of `{name}` has no shard on the ring of distribution `{}`; correct the name or remove it",
                    section.name.value
                );
                self.fail(&weight.origin, message);
            }
        }
        let nodes =
            shards.iter().map(|name| (name.clone(), weights.get(name.as_str()).copied().unwrap_or(1))).collect();
        RingSpec { virtual_nodes: section.virtual_nodes.value, nodes }
    }

    fn values(&mut self, values: &[file::Value]) -> Vec<ValueSpec> {
        let mut specs = Vec::new();
        for section in values {
            if section.value.is_some() == section.values.is_some() {
                self.fail(
                    &section.origin,
                    "a placement has either `value` (one key) or `values` (several); give one of the two",
                );
                continue;
            }
            for key in keys_of(section) {
                let key = key.iter().map(|text| text.0.clone()).collect();
                specs.push(ValueSpec { key, shard: section.shard.value.clone() });
            }
        }
        specs
    }

    fn tables(&mut self, placement: &Placement, lines: &mut Lines) -> Vec<TableSpec> {
        let mut specs = Vec::new();
        for section in &placement.tables.value {
            let Some(name) = section.name.value.qualified("public") else { continue };
            let Some(rule) = self.rule(section, &name) else { continue };
            lines.insert(Site::Table(specs.len()), section.origin.clone());
            specs.push(TableSpec { name, rule });
        }
        specs
    }

    fn rule(&mut self, section: &file::Table, name: &QualifiedName) -> Option<RuleSpec> {
        let message = match (&section.distribution, &section.columns, section.reference.value) {
            (None, None, true) => return Some(RuleSpec::Reference),
            (Some(distribution), Some(columns), false) => {
                let distribution = distribution.value.clone();
                let names: Option<Vec<String>> = columns.value.iter().map(|column| column.single()).collect();
                match names {
                    Some(columns) => return Some(RuleSpec::Sharded { distribution, columns }),
                    None => format!("a key column of table {name} has a dot; write the column's name alone"),
                }
            }
            (Some(_), None, false) => {
                format!("table {name} has no columns; name its sharding-key columns, such as columns = [\"tenant_id\"]")
            }
            (None, Some(_), false) => {
                format!("table {name} has columns and no distribution; name one of [[databases.NAME.distributions]]")
            }
            (None, None, false) => format!(
                "table {name} has neither a distribution nor reference = true; give one, or remove it: a table that is not named lies on the home shard"
            ),
            (_, _, true) => format!(
                "table {name} is a reference table, which has no distribution and no columns; remove them, or reference"
            ),
        };
        self.fail(&section.origin, message);
        None
    }
}

/// The line of an entry of a distribution's method, which is numbered as in its spec.
fn entry_line<'a>(placement: &'a Placement, section: &'a file::Distribution, entry: usize) -> Option<&'a Origin> {
    let ranges = |list: &'a Option<Setting<Vec<file::Range>>>| -> Option<&'a Origin> {
        list.as_ref()?.value.get(entry).map(|range| &range.origin)
    };
    match section.method.value {
        MethodName::Hash if section.tokens.is_some() => ranges(&section.tokens),
        MethodName::Range => ranges(&section.ranges),
        MethodName::Hash | MethodName::Schema => {
            let list = section.shards.as_ref();
            let name = match list {
                Some(list) => list.value.get(entry)?,
                None => &placement.shards.value.get(entry)?.name.value,
            };
            let mut weights = section.weights.iter().flat_map(|weights| &weights.value.0);
            let weight = weights.find(|(shard, _)| shard == name);
            weight.map(|(_, weight)| &weight.origin).or(list.map(|list| &list.origin))
        }
        MethodName::PostgresHash => section.partitions.as_ref()?.value.get(entry).map(|partition| &partition.origin),
        MethodName::Composite => section.groups.as_ref()?.value.get(entry).map(|group| &group.origin),
        MethodName::List => value_line(section.values.as_ref()?, entry),
    }
}

/// The line of the key of that number among all keys of the placements by value.
fn value_line(values: &Setting<Vec<file::Value>>, number: usize) -> Option<&Origin> {
    let usable = values.value.iter().filter(|section| section.value.is_some() != section.values.is_some());
    usable.flat_map(|section| keys_of(section).map(|_| &section.origin)).nth(number)
}

fn keys_of(section: &file::Value) -> impl Iterator<Item = &Vec<KeyText>> {
    let one = section.value.iter().map(|value| &value.value);
    one.chain(section.values.iter().flat_map(|values| &values.value))
}

/// The key of a whole schema is its name.
fn key_types(section: &file::Distribution) -> Vec<KeyType> {
    match section.method.value {
        MethodName::Schema => vec![KeyType::Text],
        _ => section.key_types.as_ref().map(|types| types.value.clone()).unwrap_or_default(),
    }
}

fn origin<T>(setting: &Option<Setting<T>>) -> Option<&Origin> {
    setting.as_ref().map(|setting| &setting.origin)
}

fn key_text(setting: &Option<Setting<KeyText>>) -> Option<String> {
    setting.as_ref().map(|setting| setting.value.0.clone())
}

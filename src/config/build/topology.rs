//! [databases.NAME] -> `TopologySpec` -> `Topology`, its findings brought back to their lines.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::config::build::Build;
use crate::config::error::Origin;
use crate::config::file::{self, Database};
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

/// The lines of a spec's parts, for its errors.
type Lines = HashMap<Site, Origin>;

impl Build<'_> {
    pub(super) fn topology(&mut self, name: &str, database: &Database) -> Option<Topology> {
        if name.is_empty() || name == RESERVED {
            let message = format!("a database can't be called `{name}`, that name is the router's own; choose another");
            self.fail(&database.origin, message);
        }
        let mut lines = Lines::from([(Site::Topology, database.origin.clone())]);
        let before = self.errors.len();
        let spec = TopologySpec {
            shards: self.shards(name, database, &mut lines),
            home_shard: database.home_shard.as_ref().map(|home| {
                lines.insert(Site::HomeShard, home.origin.clone());
                home.value.clone()
            }),
            distributions: self.distributions(database, &mut lines),
            tables: self.tables(database, &mut lines),
            ..TopologySpec::default()
        };
        let line = |site: &Site| lines.get(site).unwrap_or(&database.origin);
        match spec.build() {
            Ok((topology, warnings)) => {
                for warning in warnings {
                    self.warn(line(&warning.site), warning.finding.to_string());
                }
                (self.errors.len() == before).then_some(topology)
            }
            Err(errors) => {
                for error in errors {
                    self.fail(line(&error.site), error.finding.to_string());
                }
                None
            }
        }
    }

    fn shards(&mut self, name: &str, database: &Database, lines: &mut Lines) -> Vec<Shard> {
        let mut shards = Vec::new();
        for (i, shard) in database.shards.value.iter().enumerate() {
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

    fn distributions(&mut self, database: &Database, lines: &mut Lines) -> Vec<DistributionSpec> {
        let sections = database.distributions.value.iter().enumerate();
        sections
            .map(|(i, section)| {
                lines.insert(Site::Distribution(i), section.origin.clone());
                self.check_method_keys(section);
                let pins = section.pins.as_ref().map(|pins| {
                    self.values(&pins.value, |pin, origin| {
                        lines.insert(Site::Pin { distribution: i, pin }, origin);
                    })
                });
                DistributionSpec {
                    name: section.name.value.clone(),
                    key_types: key_types(section),
                    method: self.method(i, section, database, lines),
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

    fn method(&mut self, i: usize, section: &file::Distribution, database: &Database, lines: &mut Lines) -> MethodSpec {
        let mut ranges = |list: &Option<Setting<Vec<file::Range>>>| {
            let list = list.iter().flat_map(|list| &list.value).enumerate();
            list.map(|(entry, range)| {
                lines.insert(Site::Entry { distribution: i, entry }, range.origin.clone());
                RangeSpec { from: key_text(&range.from), to: key_text(&range.to), shard: range.shard.value.clone() }
            })
            .collect::<Vec<_>>()
        };
        match section.method.value {
            MethodName::Hash if section.tokens.is_some() => MethodSpec::Tokens(ranges(&section.tokens)),
            MethodName::Hash => MethodSpec::Ring(self.ring(i, section, database, lines)),
            MethodName::Range => MethodSpec::Range(ranges(&section.ranges)),
            MethodName::PostgresHash => {
                let partitions = section.partitions.iter().flat_map(|list| &list.value).enumerate();
                let spec = |(entry, partition): (usize, &file::Partition)| {
                    lines.insert(Site::Entry { distribution: i, entry }, partition.origin.clone());
                    let (modulus, remainder) = (partition.modulus.value, partition.remainder.value);
                    RemainderSpec { modulus, remainder, shard: partition.shard.value.clone() }
                };
                MethodSpec::Remainders(partitions.map(spec).collect())
            }
            MethodName::Composite => {
                let groups = section.groups.iter().flat_map(|list| &list.value).enumerate();
                let spec = |(entry, group): (usize, &file::Group)| {
                    lines.insert(Site::Entry { distribution: i, entry }, group.origin.clone());
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
                    ring: self.ring(i, section, database, lines),
                    default,
                }
            }
            MethodName::List => {
                let values = section.values.as_ref().map(|values| {
                    self.values(&values.value, |entry, origin| {
                        lines.insert(Site::Entry { distribution: i, entry }, origin);
                    })
                });
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

    fn ring(&mut self, i: usize, section: &file::Distribution, database: &Database, lines: &mut Lines) -> RingSpec {
        if section.shards.is_none() && section.weights.is_none() {
            return RingSpec { virtual_nodes: section.virtual_nodes.value, nodes: Vec::new() };
        }
        let named = section.shards.as_ref().map(|shards| shards.value.clone());
        let all = || database.shards.value.iter().map(|shard| shard.name.value.clone()).collect();
        let shards: Vec<String> = named.unwrap_or_else(all);
        if let Some(list) = &section.shards {
            if shards.is_empty() {
                self.fail(&list.origin, "the ring has no shards; name at least one, or leave `shards` out for all");
            }
            for entry in 0..shards.len() {
                lines.insert(Site::Entry { distribution: i, entry }, list.origin.clone());
            }
        }
        let mut weights = HashMap::new();
        for (name, weight) in section.weights.iter().flat_map(|weights| &weights.value.0) {
            match shards.iter().position(|shard| shard == name) {
                Some(entry) => {
                    lines.insert(Site::Entry { distribution: i, entry }, weight.origin.clone());
                    weights.insert(name.as_str(), weight.value);
                }
                None => {
                    let message = format!(
                        "the weight of `{name}` has no shard on the ring of distribution `{}`; correct the name or remove it",
                        section.name.value
                    );
                    self.fail(&weight.origin, message);
                }
            }
        }
        let nodes =
            shards.iter().map(|name| (name.clone(), weights.get(name.as_str()).copied().unwrap_or(1))).collect();
        RingSpec { virtual_nodes: section.virtual_nodes.value, nodes }
    }

    fn values(&mut self, values: &[file::Value], mut line: impl FnMut(usize, Origin)) -> Vec<ValueSpec> {
        let mut specs = Vec::new();
        for section in values {
            let one = section.value.iter().map(|value| &value.value);
            let many = section.values.iter().flat_map(|values| &values.value);
            if section.value.is_some() == section.values.is_some() {
                self.fail(
                    &section.origin,
                    "a placement has either `value` (one key) or `values` (several); give one of the two",
                );
                continue;
            }
            for key in one.chain(many) {
                line(specs.len(), section.origin.clone());
                let key = key.iter().map(|text| text.0.clone()).collect();
                specs.push(ValueSpec { key, shard: section.shard.value.clone() });
            }
        }
        specs
    }

    fn tables(&mut self, database: &Database, lines: &mut Lines) -> Vec<TableSpec> {
        let mut specs = Vec::new();
        for section in &database.tables.value {
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

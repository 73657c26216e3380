//! Where rows lie: SHARDS, DISTRIBUTIONS, MAP, TABLES, SCHEMAS.

use std::collections::HashMap;
use std::sync::Arc;

use super::rows::{Answer, Row};
use super::{Look, Seen, What, map_state, text};
use crate::catalog::{RelationKind, Table};
use crate::ids::ShardId;
use crate::topology::shard_map::{KeyTable, Method, Outer, RangeMap, TokenMap};
use crate::topology::{Distribution, TableRule, Topology};
use crate::types::canonical::KeyValue;

/// How the shard, or the group of shards, of an entry is written.
type Named<'a, T> = &'a dyn Fn(&T) -> String;

impl Look<'_> {
    pub(super) fn shards(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        for Seen { database, cluster } in &self.databases {
            let topology = &cluster.topology;
            for (at, shard) in topology.shards.iter().enumerate() {
                let roles = database.servers(shard).report();
                // One that is alone is not asked.
                let lone = roles.len() == 1;
                rows.extend(roles.into_iter().map(|report| {
                    let server = &report.server;
                    vec![
                        text(&database.name),
                        text(at),
                        text(&shard.name),
                        text(&server.host),
                        text(server.port),
                        text(&server.dbname),
                        text(if lone { "primary" } else { report.role.label() }),
                        text(at == topology.home.index()),
                        text(topology.epoch.0),
                    ]
                }));
            }
        }
        rows
    }

    /// The servers of each shard, what they are, and how far they have come.
    pub(super) fn shard_servers(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        for Seen { database, cluster } in &self.databases {
            for shard in &cluster.topology.shards {
                let servers = database.servers(shard);
                // One that is alone is not asked.
                let lone = servers.is_lone();
                let (hedged, won) = servers.hedges().counts();
                rows.extend(servers.report().into_iter().map(|report| {
                    vec![
                        text(&shard.name),
                        text(report.server.address()),
                        text(if lone { "primary" } else { report.role.label() }),
                        (!lone).then(|| (!report.silent).to_string()),
                        report.timeline.and_then(text),
                        report.lag_bytes.and_then(text),
                        report.lag.map(|lag| lag.as_millis().to_string()),
                        report.latency.map(|latency| latency.as_micros().to_string()),
                        text(report.breaker.report().state.label()),
                        report.role.reason().and_then(text),
                        text(&database.name),
                        (!lone).then(|| hedged.to_string()),
                        (!lone).then(|| won.to_string()),
                    ]
                }));
            }
        }
        rows
    }

    pub(super) fn distributions(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        for Seen { database, cluster } in &self.databases {
            let topology = &cluster.topology;
            for (at, distribution) in topology.distributions.iter().enumerate() {
                let places = |rule: &&TableRule| match rule {
                    TableRule::Sharded { distribution, .. } => usize::from(distribution.0) == at,
                    TableRule::Reference => false,
                };
                let types: Vec<&str> = distribution.key_types.iter().map(|key_type| key_type.name()).collect();
                let shards = distribution.shards();
                let shards: Vec<&str> = shards.iter().map(|shard| &*topology.shard(shard).name).collect();
                rows.push(vec![
                    text(&database.name),
                    text(&distribution.name),
                    text(distribution.method_name()),
                    text(types.join(", ")),
                    text(shards.join(", ")),
                    text(distribution.map.pins().entries().len()),
                    text(topology.tables.values().filter(places).count()),
                ]);
            }
        }
        rows
    }

    /// The rows of MAP, made as they are taken: a map may have millions of entries.
    pub fn map(&self) -> Answer {
        let seen = |seen: &Seen| (Arc::clone(&seen.database.name), Arc::clone(&seen.cluster.topology));
        let databases: Vec<_> = self.databases.iter().map(seen).collect();
        let state = map_state::cells(self.map.as_deref());
        let rows = databases.into_iter().flat_map(move |(name, topology)| MapRows::new(name, topology, state.clone()));
        Answer { rows: Box::new(rows), ..What::Map.show().answer(Vec::new()).into() }
    }

    pub(super) fn tables(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        for seen in &self.databases {
            let mut own = tables(seen);
            own.sort();
            rows.extend(own);
        }
        rows
    }

    pub(super) fn schemas(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        for seen in &self.databases {
            let mut own = schemas(seen);
            own.sort();
            rows.extend(own);
        }
        rows
    }
}

fn tables(Seen { database, cluster }: &Seen) -> Vec<Row> {
    let topology = &cluster.topology;
    let source = |name| if topology.from_sql.contains(name) { "SQL" } else { "configuration" };
    let placed = topology.tables.iter().map(|(name, rule)| {
        let (kind, distribution, key) = match rule {
            TableRule::Sharded { distribution, columns } => {
                let distribution = &topology.distribution(*distribution).name;
                ("sharded", text(distribution), text(columns.join(", ")))
            }
            TableRule::Reference => ("reference", None, None),
        };
        vec![text(&database.name), text(name), text(kind), distribution, key, text(source(name))]
    });
    let closed = topology.closed.iter().map(|(name, why)| {
        vec![text(&database.name), text(name), text(format!("closed: {why}")), None, None, text("SQL")]
    });
    let in_schemas = cluster.catalog.tables.values().filter(|table| is_table(table)).filter_map(|table| {
        let (distribution, _) = topology.place_of_schema(&table.name.schema)?;
        let distribution = text(&topology.distribution(distribution).name);
        Some(vec![text(&database.name), text(&table.name), text("schema"), distribution, None, text("configuration")])
    });
    placed.chain(closed).chain(in_schemas).collect()
}

fn schemas(Seen { database, cluster }: &Seen) -> Vec<Row> {
    let (topology, catalog) = (&cluster.topology, &cluster.catalog);
    let mut tables: HashMap<&str, usize> = HashMap::new();
    for table in catalog.tables.values().filter(|table| is_table(table)) {
        *tables.entry(&table.name.schema).or_default() += 1;
    }
    let row = |schema: &Box<str>| {
        let (distribution, shard) = topology.place_of_schema(schema)?;
        let distribution = topology.distribution(distribution);
        let pinned = distribution.map.pins().get(&[KeyValue::Text((&**schema).into())]).is_some();
        Some(vec![
            text(&database.name),
            text(schema),
            text(&distribution.name),
            text(&topology.shard(shard).name),
            text(pinned),
            text(tables.get(&**schema).copied().unwrap_or_default()),
        ])
    };
    catalog.placed.keys().filter_map(row).collect()
}

fn is_table(table: &Table) -> bool {
    matches!(table.kind, RelationKind::Table | RelationKind::PartitionedTable | RelationKind::Foreign)
}

/// What the map of one database says, entry by entry.
struct MapRows {
    name: Arc<str>,
    topology: Arc<Topology>,
    /// How sure the map is: the same for each entry.
    state: Vec<Option<String>>,
    /// Where the next entry stands: in which distribution, in which part of it, and at which place.
    distribution: usize,
    part: usize,
    at: usize,
}

impl MapRows {
    fn new(name: Arc<str>, topology: Arc<Topology>, state: Vec<Option<String>>) -> Self {
        Self { name, topology, state, distribution: 0, part: 0, at: 0 }
    }

    fn row(&self, distribution: Option<String>, entry: Entry) -> Row {
        let mut row = vec![text(&self.name), distribution];
        row.extend(entry);
        row.extend(self.state.iter().cloned());
        row
    }
}

impl Iterator for MapRows {
    type Item = Row;

    fn next(&mut self) -> Option<Row> {
        let topology = Arc::clone(&self.topology);
        if topology.distributions.is_empty() && self.distribution == 0 {
            self.distribution = 1;
            return Some(self.row(None, [text("home"), None, None, text(&topology.shard(topology.home).name)]));
        }
        loop {
            let distribution = topology.distributions.get(self.distribution)?;
            match entry(distribution, &topology, self.part, self.at) {
                Some(Some(entry)) => {
                    self.at += 1;
                    return Some(self.row(text(&distribution.name), entry));
                }
                Some(None) => (self.part, self.at) = (self.part + 1, 0),
                None => (self.distribution, self.part, self.at) = (self.distribution + 1, 0, 0),
            }
        }
    }
}

/// `kind`, `low`, `high` and `shard`.
type Entry = [Option<String>; 4];

/// What stands at this place of a part of what a map says; the first part are the pins, because they are looked up first. `None`: there is no
/// such part, `Some(None)`: it has ended.
fn entry(distribution: &Distribution, topology: &Topology, part: usize, at: usize) -> Option<Option<Entry>> {
    let shard = |shard: &ShardId| topology.shard(*shard).name.to_string();
    let group = |group: &usize| group.to_string();
    let map = &distribution.map;
    Some(match (map.method(), part) {
        (_, 0) => key("pin", map.pins(), at, &shard),
        (Method::Hash(map), 1) => tokens("tokens", map, at, &shard),
        (Method::Range(map), 1) => range("range", map, at, &shard),
        (Method::List { values, .. }, 1) => key("value", values, at, &shard),
        (Method::List { default, .. }, 2) => rest("default", default, at, &shard),
        (Method::Remainders(owners), 1) => {
            owners.get(at).map(|owner| [text("remainder"), text(at), None, text(shard(owner))])
        }
        (Method::Composite(map), 1) => match &map.outer {
            Outer::Range(outer) => range("group range", outer, at, &group),
            Outer::List { values, .. } => key("group value", values, at, &group),
        },
        (Method::Composite(map), 2) => match &map.outer {
            Outer::Range(_) => None,
            Outer::List { default, .. } => rest("group default", default, at, &group),
        },
        (Method::Composite(map), part) => {
            let of = part - 3;
            tokens(&format!("tokens of group {of}"), map.groups.get(of)?, at, &shard)
        }
        (Method::Hash(_) | Method::Range(_) | Method::List { .. } | Method::Remainders(_), _) => return None,
    })
}

fn rest<T>(kind: &str, owner: &Option<T>, at: usize, named: Named<'_, T>) -> Option<Entry> {
    owner.iter().nth(at).map(|owner| [text(kind), None, None, text(named(owner))])
}

fn key<T: Copy>(kind: &str, table: &KeyTable<T>, at: usize, named: Named<'_, T>) -> Option<Entry> {
    table.entries().get(at).map(|(key, owner)| {
        let key: Vec<String> = key.iter().map(ToString::to_string).collect();
        [text(kind), text(key.join(", ")), None, text(named(owner))]
    })
}

fn range<T: Copy>(kind: &str, map: &RangeMap<T>, at: usize, named: Named<'_, T>) -> Option<Entry> {
    map.intervals().get(at).map(|interval| {
        let (from, to) = (interval.from.as_ref().and_then(text), interval.to.as_ref().and_then(text));
        [text(kind), from, to, text(named(&interval.shard))]
    })
}

fn tokens(kind: &str, map: &TokenMap, at: usize, named: Named<'_, ShardId>) -> Option<Entry> {
    map.range(at).map(|(first, last, owner)| {
        [text(kind), text(format!("{:016x}", first.0)), text(format!("{:016x}", last.0)), text(named(&owner))]
    })
}

//! Where rows lie: SHARDS, DISTRIBUTIONS, MAP, TABLES, SCHEMAS.

use std::collections::HashMap;

use super::{Look, Seen, map_state, text};
use crate::catalog::{RelationKind, Table};
use crate::topology::shard_map::{KeyTable, Method, Outer, RangeMap, TokenMap};
use crate::topology::{Distribution, TableRule, Topology};
use crate::types::canonical::KeyValue;

type Row = Vec<Option<String>>;

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

    pub(super) fn map(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        let state = map_state::cells(self.map.as_deref());
        for Seen { database, cluster } in &self.databases {
            let topology = &cluster.topology;
            let mut tell = |distribution: Option<String>, entry: [Option<String>; 4]| {
                let mut row = vec![text(&database.name), distribution];
                row.extend(entry);
                row.extend(state.iter().cloned());
                rows.push(row);
            };
            if topology.distributions.is_empty() {
                tell(None, [text("home"), None, None, text(&topology.shard(topology.home).name)]);
            }
            for distribution in &topology.distributions {
                entries(distribution, topology).into_iter().for_each(|entry| tell(text(&distribution.name), entry));
            }
        }
        rows
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

/// `kind`, `low`, `high` and `shard` of all that a map says; pins first, because they are looked up first.
fn entries(distribution: &Distribution, topology: &Topology) -> Vec<[Option<String>; 4]> {
    let shard = |shard: &crate::ids::ShardId| topology.shard(*shard).name.to_string();
    let group = |group: &usize| group.to_string();
    let mut rows = keys("pin", distribution.map.pins(), &shard);
    match distribution.map.method() {
        Method::Hash(map) => rows.extend(tokens(map, &shard)),
        Method::Range(map) => rows.extend(ranges("range", map, &shard)),
        Method::List { values, default } => {
            rows.extend(keys("value", values, &shard));
            rows.extend(default.iter().map(|owner| [text("default"), None, None, text(shard(owner))]));
        }
        Method::Remainders(owners) => {
            let owners = owners.iter().enumerate();
            rows.extend(owners.map(|(at, owner)| [text("remainder"), text(at), None, text(shard(owner))]));
        }
        Method::Composite(map) => {
            match &map.outer {
                Outer::Range(outer) => rows.extend(ranges("group range", outer, &group)),
                Outer::List { values, default } => {
                    rows.extend(keys("group value", values, &group));
                    rows.extend(default.iter().map(|of| [text("group default"), None, None, text(of)]));
                }
            }
            for (at, map) in map.groups.iter().enumerate() {
                let kind = format!("tokens of group {at}");
                rows.extend(tokens(map, &shard).into_iter().map(|[_, low, high, of]| [text(&kind), low, high, of]));
            }
        }
    }
    rows
}

fn keys<T: Copy>(kind: &str, table: &KeyTable<T>, named: Named<'_, T>) -> Vec<[Option<String>; 4]> {
    let entries = table.entries().iter().map(|(key, owner)| {
        let key: Vec<String> = key.iter().map(ToString::to_string).collect();
        [text(kind), text(key.join(", ")), None, text(named(owner))]
    });
    entries.collect()
}

fn ranges<T: Copy>(kind: &str, map: &RangeMap<T>, named: Named<'_, T>) -> Vec<[Option<String>; 4]> {
    let intervals = map.intervals().iter().map(|interval| {
        let (from, to) = (interval.from.as_ref().and_then(text), interval.to.as_ref().and_then(text));
        [text(kind), from, to, text(named(&interval.shard))]
    });
    intervals.collect()
}

fn tokens(map: &TokenMap, named: Named<'_, crate::ids::ShardId>) -> Vec<[Option<String>; 4]> {
    let ranges = map.ranges().map(|(first, last, owner)| {
        [text("tokens"), text(format!("{:016x}", first.0)), text(format!("{:016x}", last.0)), text(named(&owner))]
    });
    ranges.collect()
}

//! Answers that the router gives itself: the rows of SHOW pgloom.* and EXPLAIN (ROUTE), in both protocols.

use std::collections::HashMap;

use bytes::BytesMut;

use crate::catalog::{RelationKind, Table};
use crate::config::ReadPreference;
use crate::control::transactions::Prepared;
use crate::fault::{Fault, SqlState};
use crate::session::Session;
use crate::types::canonical::KeyValue;
use crate::types::oid;
use crate::wire::reply::{self, Column, NoticeLevel};

/// A small result, all text.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct LocalRows {
    pub columns: Vec<Box<str>>,
    pub rows: Vec<Vec<Option<String>>>,
    pub tag: String,
}

impl LocalRows {
    pub fn of(column: &str, rows: Vec<String>, tag: &str) -> Self {
        Self {
            columns: vec![column.into()],
            rows: rows.into_iter().map(|row| vec![Some(row)]).collect(),
            tag: tag.to_owned(),
        }
    }

    /// RowDescription. Text and binary format of text are the same bytes, so the client's wish is granted as it is.
    pub fn describe(&self, formats: &[i16]) -> Result<BytesMut, Fault> {
        let columns: Vec<Column> = self.columns.iter().map(|name| Column::text(name.clone(), oid::TEXT, -1)).collect();
        crate::exec::columns::describe_with_formats(&columns, formats)
    }

    pub fn put_rows(&self, out: &mut BytesMut) -> Result<(), Fault> {
        for row in &self.rows {
            reply::data_row(out, row.iter().map(|value| value.as_deref().map(str::as_bytes)))?;
        }
        reply::command_complete(out, &self.tag)
    }
}

impl Session {
    /// `SHOW pgloom.name`.
    pub(super) fn show_router(&self, name: &str) -> Result<LocalRows, Fault> {
        let name = name.strip_prefix("pgloom.").unwrap_or(name);
        match name {
            "version" => Ok(LocalRows::of("pgloom.version", vec![env!("CARGO_PKG_VERSION").to_owned()], "SHOW")),
            "shards" => Ok(self.show_shards()),
            "tables" => Ok(self.show_tables()),
            "schemas" => Ok(self.show_schemas()),
            "epoch" => Ok(LocalRows::of("pgloom.epoch", vec![self.view.topology.epoch.0.to_string()], "SHOW")),
            "pools" => Ok(self.show_pools()),
            "read_preference" => {
                let wanted = self.read_preference().unwrap_or(ReadPreference::Primary);
                Ok(LocalRows::of("pgloom.read_preference", vec![wanted.word().to_owned()], "SHOW"))
            }
            "breakers" => Ok(self.show_breakers()),
            "servers" => Ok(self.show_servers()),
            "transactions" => Ok(transaction_rows(Vec::new())),
            "map" => Ok(self.show_map()),
            _ => Err(Fault::new(
                SqlState::UNDEFINED_OBJECT,
                format!("unrecognized configuration parameter \"pgloom.{name}\""),
            )
            .hint("There are pgloom.version, pgloom.epoch, pgloom.shards, pgloom.servers, pgloom.schemas, pgloom.tables, pgloom.pools, pgloom.breakers, pgloom.map, pgloom.read_preference and pgloom.transactions.")),
        }
    }

    /// What is prepared on the shards; those that cannot be asked are named in a warning.
    pub(super) async fn show_transactions(&mut self) -> LocalRows {
        let listing = crate::control::transactions::list(&self.database).await;
        for (shard, fault) in &listing.failed {
            let warning =
                Fault::new(SqlState::WARNING, format!("shard {shard} cannot be asked")).detail(fault.to_string());
            reply::notice(&mut self.client.out, NoticeLevel::Warning, &warning);
        }
        transaction_rows(listing.prepared)
    }

    fn show_shards(&self) -> LocalRows {
        let topology = &self.view.topology;
        let rows = topology.shards.iter().enumerate().flat_map(|(at, shard)| {
            let roles = self.database.servers(shard).report();
            let lone = roles.len() == 1;
            roles.into_iter().map(move |report| {
                let server = &report.server;
                vec![
                    Some(at.to_string()),
                    Some(shard.name.to_string()),
                    Some(server.host.to_string()),
                    Some(server.port.to_string()),
                    Some(server.dbname.to_string()),
                    // One that is alone is not asked.
                    Some(if lone { "primary" } else { report.role.label() }.to_owned()),
                    Some((at == topology.home.index()).to_string()),
                ]
            })
        });
        LocalRows {
            columns: ["shard", "name", "host", "port", "dbname", "role", "home"].map(Into::into).to_vec(),
            rows: rows.collect(),
            tag: "SHOW".to_owned(),
        }
    }

    fn show_tables(&self) -> LocalRows {
        use crate::topology::TableRule;
        let topology = &self.view.topology;
        let source = |name| if topology.from_sql.contains(name) { "SQL" } else { "configuration" };
        let mut rows: Vec<Vec<Option<String>>> = topology
            .tables
            .iter()
            .map(|(name, rule)| {
                let (kind, distribution, key) = match rule {
                    TableRule::Sharded { distribution, columns } => {
                        let distribution = topology.distribution(*distribution).name.to_string();
                        ("sharded", Some(distribution), Some(columns.join(", ")))
                    }
                    TableRule::Reference => ("reference", None, None),
                };
                vec![Some(name.to_string()), Some(kind.to_owned()), distribution, key, Some(source(name).to_owned())]
            })
            .collect();
        for (name, why) in &topology.closed {
            let kind = Some(format!("closed: {why}"));
            rows.push(vec![Some(name.to_string()), kind, None, None, Some("SQL".to_owned())]);
        }
        for table in self.view.catalog.tables.values().filter(|table| is_table(table)) {
            if let Some((distribution, _)) = topology.place_of_schema(&table.name.schema) {
                let distribution = topology.distribution(distribution).name.to_string();
                rows.push(vec![
                    Some(table.name.to_string()),
                    Some("schema".to_owned()),
                    Some(distribution),
                    None,
                    Some("configuration".to_owned()),
                ]);
            }
        }
        rows.sort();
        LocalRows {
            columns: ["table", "kind", "distribution", "key", "source"].map(Into::into).to_vec(),
            rows,
            tag: "SHOW".to_owned(),
        }
    }

    /// The schemas that lie whole on shards, as they exist there.
    fn show_schemas(&self) -> LocalRows {
        let (topology, catalog) = (&self.view.topology, &self.view.catalog);
        let mut tables: HashMap<&str, usize> = HashMap::new();
        for table in catalog.tables.values().filter(|table| is_table(table)) {
            *tables.entry(&table.name.schema).or_default() += 1;
        }
        let row = |schema: &Box<str>| {
            let (distribution, shard) = topology.place_of_schema(schema)?;
            let distribution = topology.distribution(distribution);
            let pinned = distribution.map.pins().get(&[KeyValue::Text((&**schema).into())]).is_some();
            Some(vec![
                Some(schema.to_string()),
                Some(distribution.name.to_string()),
                Some(topology.shard(shard).name.to_string()),
                Some(pinned.to_string()),
                Some(tables.get(&**schema).copied().unwrap_or_default().to_string()),
            ])
        };
        let mut rows: Vec<_> = catalog.placed.keys().filter_map(row).collect();
        rows.sort();
        LocalRows {
            columns: ["schema", "distribution", "shard", "pinned", "tables"].map(Into::into).to_vec(),
            rows,
            tag: "SHOW".to_owned(),
        }
    }

    /// The servers of each shard, what they are, and how far they have come.
    fn show_servers(&self) -> LocalRows {
        let rows = self.view.topology.shards.iter().flat_map(|shard| {
            let servers = self.database.servers(shard);
            let lone = servers.is_lone();
            servers.report().into_iter().map(move |report| {
                vec![
                    Some(shard.name.to_string()),
                    Some(report.server.address()),
                    // One that is alone is not asked.
                    Some(if lone { "primary" } else { report.role.label() }.to_owned()),
                    (!lone).then(|| (!report.silent).to_string()),
                    report.timeline.map(|timeline| timeline.to_string()),
                    report.lag_bytes.map(|bytes| bytes.to_string()),
                    report.lag.map(|lag| lag.as_millis().to_string()),
                    report.latency.map(|latency| latency.as_micros().to_string()),
                    Some(report.breaker.report().state.label().to_owned()),
                    report.role.reason().map(str::to_owned),
                ]
            })
        });
        LocalRows {
            columns: [
                "shard",
                "server",
                "role",
                "answers",
                "timeline",
                "lag_bytes",
                "lag_ms",
                "latency_us",
                "breaker",
                "why",
            ]
            .map(Into::into)
            .to_vec(),
            rows: rows.collect(),
            tag: "SHOW".to_owned(),
        }
    }

    /// Where the shard map comes from, and how sure that is.
    fn show_map(&self) -> LocalRows {
        let state = self.shared.map.get();
        let status = state.map(|state| state.status());
        let text = |value: &str| Some(value.to_owned()).filter(|value| !value.is_empty());
        let row = match (state, status) {
            (Some(state), Some(status)) => vec![
                text(status.source),
                text(&status.place),
                status.epoch.map(|epoch| epoch.to_string()),
                status.revision.map(|revision| revision.to_string()),
                text(&status.changed_at),
                text(&status.changed_by),
                text(&status.reason),
                Some(format!("{:.3}", state.stale().as_secs_f64())),
                Some(status.rejected.to_string()),
                status.problem.map(Into::into),
            ],
            _ => {
                let mut row = vec![None; 10];
                (row[0], row[7], row[8]) = (text("file"), text("0.000"), text("0"));
                row
            }
        };
        let columns = [
            "source",
            "place",
            "epoch",
            "revision",
            "changed_at",
            "changed_by",
            "reason",
            "stale_seconds",
            "rejected",
            "problem",
        ];
        LocalRows { columns: columns.map(Into::into).to_vec(), rows: vec![row], tag: "SHOW".to_owned() }
    }

    /// The servers of this database, and whether they are left alone.
    fn show_breakers(&self) -> LocalRows {
        use std::sync::atomic::Ordering;
        let shards = self.view.topology.shards.iter().flat_map(|shard| &shard.servers);
        let servers = shards.chain(self.database.combine.servers());
        let mut breakers: Vec<_> = servers.map(|server| self.database.access.breakers.of(server)).collect();
        breakers.sort_by(|a, b| a.address.cmp(&b.address));
        breakers.dedup_by(|a, b| a.address == b.address);
        let rows = breakers.into_iter().map(|breaker| {
            let report = breaker.report();
            vec![
                Some(breaker.address.to_string()),
                Some(report.state.label().to_owned()),
                Some(report.failures.to_string()),
                report.wait.map(|wait| wait.as_millis().to_string()),
                Some(breaker.opened.load(Ordering::Relaxed).to_string()),
                Some(breaker.rejected.load(Ordering::Relaxed).to_string()),
                report.cause.map(|cause| cause.to_string()),
            ]
        });
        LocalRows {
            columns: ["server", "state", "failures", "retry_in_ms", "opened", "rejected", "last_failure"]
                .map(Into::into)
                .to_vec(),
            rows: rows.collect(),
            tag: "SHOW".to_owned(),
        }
    }

    fn show_pools(&self) -> LocalRows {
        use std::sync::atomic::Ordering;
        let topology = &self.view.topology;
        let shards = self.pools.iter().map(|(shard, pool)| (topology.shard(shard).name.to_string(), pool));
        let combine = (format!("{} (combine)", topology.shard(topology.home).name), self.pools.combine());
        let beside =
            self.pools.combiners().iter().map(|pool| (format!("{} (combine)", pool.connector.address()), pool));
        let replicas = self.pools.replicas().map(|(shard, pool)| {
            (format!("{} (replica {})", topology.shard(shard).name, pool.connector.address()), pool)
        });
        let rows = shards.chain([combine]).chain(beside).chain(replicas).map(|(name, pool)| {
            vec![
                Some(name),
                Some(self.user.to_string()),
                Some(pool.counts.active.load(Ordering::Relaxed).to_string()),
                Some(pool.idle_count().to_string()),
                Some(pool.waiting().to_string()),
                Some(pool.limits().size.to_string()),
            ]
        });
        LocalRows {
            columns: ["shard", "user", "sv_active", "sv_idle", "cl_waiting", "pool_size"].map(Into::into).to_vec(),
            rows: rows.collect(),
            tag: "SHOW".to_owned(),
        }
    }
}

fn transaction_rows(prepared: Vec<Prepared>) -> LocalRows {
    let rows = prepared.into_iter().map(|part| {
        let age = format!("{:.1}s", part.age_seconds);
        let decision = part.decision.label().to_owned();
        [part.gid, part.shard, part.database, part.owner, age, part.anchor, decision].map(Some).to_vec()
    });
    LocalRows {
        columns: ["gid", "shard", "database", "owner", "age", "anchor", "decision"].map(Into::into).to_vec(),
        rows: rows.collect(),
        tag: "SHOW".to_owned(),
    }
}

fn is_table(table: &Table) -> bool {
    matches!(table.kind, RelationKind::Table | RelationKind::PartitionedTable | RelationKind::Foreign)
}

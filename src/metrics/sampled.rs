//! `Sampled`: the metrics that a scrape sets, from a [`Sample`].

use std::time::Instant;

use prometheus::core::{MetricVec, MetricVecBuilder};
use prometheus::{Gauge, GaugeVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

use super::families::Families;
use super::process::Process;
use super::sample::{BreakerSample, PoolSample, Sample, ServerSample};

pub(super) struct Sampled {
    started: Instant,
    ready: IntGauge,
    shard_up: IntGaugeVec,
    uptime: Gauge,
    unlogged: IntCounter,
    memory_held: IntGauge,
    memory_limit: IntGauge,
    scatter_requests: IntGauge,
    scatters_waiting: IntGauge,
    prepared: IntGauge,
    plan_cache_entries: IntGauge,
    plan_cache_bytes: IntGauge,
    plan_cache_evictions: IntCounterVec,
    pools: Pools,
    counted: Counted,
    breaker_opened: IntCounterVec,
    breaker_rejected: IntCounterVec,
    map_epoch: IntGaugeVec,
    map_file_epoch: IntGaugeVec,
    map_rejected: IntCounterVec,
    map_troubled: IntGaugeVec,
    servers: Servers,
    topology_version: IntGaugeVec,
    topology_stale: GaugeVec,
    shard_rows: IntGaugeVec,
    shard_bytes: IntGaugeVec,
    hot_keys: GaugeVec,
    process: Process,
}

struct Pools {
    cl_active: IntGaugeVec,
    cl_waiting: IntGaugeVec,
    sv_idle: IntGaugeVec,
    sv_active: IntGaugeVec,
    maxwait: GaugeVec,
    breaker: IntGaugeVec,
}

/// What others count, who begin anew when a pool or a database does: Prometheus takes a value that has gone down for a new start.
struct Counted {
    transactions: IntCounterVec,
    assignments: IntCounterVec,
    client_parses: IntCounterVec,
    server_parses: IntCounterVec,
    binds: IntCounterVec,
    connects: IntCounterVec,
    discards: IntCounterVec,
}

struct Servers {
    role: IntGaugeVec,
    lag_bytes: IntGaugeVec,
    lag_seconds: GaugeVec,
    latency: GaugeVec,
}

impl Sampled {
    pub fn register(r: &mut Families) -> Self {
        Self {
            started: Instant::now(),
            ready: r.gauge("pgloom_ready", "1 while the router can serve: see /readyz"),
            shard_up: r.gauges("pgloom_shard_up", "1 while a shard answers the router", &["database", "shard"]),
            uptime: r.float_gauge("pgloom_uptime_seconds", "since the start"),
            unlogged: r.counter(
                "pgloom_log_lines_dropped_total",
                "lines of the log that were lost because nobody took what was written before them",
            ),
            memory_held: r.gauge("pgloom_memory_held_bytes", "held by all statements together"),
            memory_limit: r.gauge("pgloom_memory_limit_bytes", "that they may hold; 0: any number"),
            scatter_requests: r.gauge(
                "pgloom_scatter_requests",
                "shards at which statements over several are, where scatter_max_requests limits that",
            ),
            scatters_waiting: r.gauge("pgloom_scatters_waiting", "statements that wait for scatter_max_requests"),
            prepared: r.gauge("pgloom_prepared_statements", "distinct statements that server connections share"),
            plan_cache_entries: r.gauge("pgloom_plan_cache_entries", "statements whose analysis is at hand"),
            plan_cache_bytes: r.gauge("pgloom_plan_cache_bytes", "held by the plan cache"),
            plan_cache_evictions: r.counters(
                "pgloom_plan_cache_evictions_total",
                "analyses that made room for others",
                &[],
            ),
            pools: Pools::register(r),
            counted: Counted::register(r),
            breaker_opened: r.counters(
                "pgloom_breaker_opened_total",
                "times that a server failed too often",
                &["host"],
            ),
            breaker_rejected: r.counters(
                "pgloom_breaker_rejected_total",
                "requests for a connection that failed at once because a breaker was open",
                &["host"],
            ),
            map_epoch: r.gauges(
                "pgloom_topology_epoch",
                "epoch of the document that is served; 0 where the map stands in the file",
                &[],
            ),
            map_file_epoch: r.gauges(
                "pgloom_topology_file_epoch",
                "epoch of the map that is served, where it stands in the file: routers count alike that share history_directory",
                &[],
            ),
            map_rejected: r.counters(
                "pgloom_topology_rejected_total",
                "documents, or configurations with the map in the file, that were not taken",
                &[],
            ),
            map_troubled: r.gauges("pgloom_topology_troubled", "1 while the document cannot be followed", &[]),
            servers: Servers::register(r),
            topology_version: r.gauges(
                "pgloom_topology_version",
                "epoch of the rules that SQL has made",
                &["database"],
            ),
            topology_stale: r.float_gauges(
                "pgloom_topology_stale_seconds",
                "since the shard map's source confirmed it",
                &["database"],
            ),
            shard_rows: r.gauges(
                "pgloom_shard_rows",
                "rows of sharded tables on a shard, as its Postgres estimates them",
                &["database", "shard"],
            ),
            shard_bytes: r.gauges(
                "pgloom_shard_bytes",
                "size of sharded tables on a shard without their indexes, as its Postgres last noted it",
                &["database", "shard"],
            ),
            hot_keys: r.float_gauges(
                "pgloom_hot_key_share",
                "part of the statements for one key that were for this one; key is empty unless hot_key_metrics is on",
                &["database", "distribution", "rank", "shard", "key"],
            ),
            process: Process::register(r),
        }
    }

    pub fn refresh(&self, sample: &Sample) {
        self.ready.set(sample.ready.into());
        empty(&self.shard_up);
        for (database, shard, answers) in &sample.shards {
            self.shard_up.with_label_values(&[database, shard]).set((*answers).into());
        }
        self.uptime.set(self.started.elapsed().as_secs_f64());
        self.process.refresh();
        self.memory_held.set(whole(sample.memory_held as u64));
        self.memory_limit.set(whole(sample.memory_limit.unwrap_or(0) as u64));
        self.scatter_requests.set(whole(sample.scatter_requests as u64));
        self.scatters_waiting.set(whole(sample.scatters_waiting as u64));
        self.prepared.set(whole(sample.prepared as u64));
        self.unlogged.inc_by(sample.unlogged.saturating_sub(self.unlogged.get()));
        self.plan_cache_entries.set(whole(sample.plan_cache.entries as u64));
        self.plan_cache_bytes.set(whole(sample.plan_cache.bytes as u64));
        counted(&self.plan_cache_evictions, &[], sample.plan_cache.evictions);
        self.refresh_map(sample);
        self.pools.refresh(&sample.pools);
        self.counted.refresh(sample);
        self.servers.refresh(&sample.servers);
        for breaker in &sample.breakers {
            counted(&self.breaker_opened, &[&breaker.host], breaker.opened);
            counted(&self.breaker_rejected, &[&breaker.host], breaker.rejected);
        }
        empty(&self.shard_rows);
        empty(&self.shard_bytes);
        for rows in &sample.rows {
            let labels = [&*rows.database, &*rows.shard];
            self.shard_rows.with_label_values(&labels).set(whole(rows.rows));
            self.shard_bytes.with_label_values(&labels).set(whole(rows.bytes));
        }
        empty(&self.hot_keys);
        for hot in &sample.hot_keys {
            let rank = hot.rank.to_string();
            let labels = [&*hot.database, &*hot.distribution, &*rank, &*hot.shard, hot.key.as_deref().unwrap_or("")];
            self.hot_keys.with_label_values(&labels).set(hot.share);
        }
    }

    fn refresh_map(&self, sample: &Sample) {
        empty(&self.map_epoch);
        empty(&self.map_file_epoch);
        empty(&self.map_rejected);
        empty(&self.map_troubled);
        if let Some(map) = sample.map {
            self.map_epoch.with_label_values::<&str>(&[]).set(whole(map.epoch));
            self.map_file_epoch.with_label_values::<&str>(&[]).set(whole(map.file_epoch));
            self.map_rejected.with_label_values::<&str>(&[]).inc_by(map.rejected);
            self.map_troubled.with_label_values::<&str>(&[]).set(map.troubled.into());
        }
        empty(&self.topology_version);
        empty(&self.topology_stale);
        for topology in &sample.topologies {
            self.topology_version.with_label_values(&[&topology.database]).set(whole(topology.epoch));
            self.topology_stale.with_label_values(&[&topology.database]).set(topology.stale.as_secs_f64());
        }
    }
}

impl Pools {
    fn register(r: &mut Families) -> Self {
        let pool = ["database", "user", "shard", "role", "host"];
        Self {
            cl_active: r.gauges("pgloom_pool_cl_active", "clients that hold a server connection", &pool),
            cl_waiting: r.gauges("pgloom_pool_cl_waiting", "clients that wait for a server connection", &pool),
            sv_idle: r.gauges("pgloom_pool_sv_idle", "server connections that nobody holds", &pool),
            sv_active: r.gauges("pgloom_pool_sv_active", "server connections that a client holds", &pool),
            maxwait: r.float_gauges("pgloom_pool_maxwait_seconds", "longest wait of a client now", &pool),
            breaker: r.gauges("pgloom_breaker_state", "0 closed, 1 open, 2 probing", &pool),
        }
    }

    /// A pool that is gone must not go on being reported.
    fn refresh(&self, pools: &[PoolSample]) {
        for gauges in [&self.cl_active, &self.cl_waiting, &self.sv_idle, &self.sv_active, &self.breaker] {
            empty(gauges);
        }
        empty(&self.maxwait);
        for pool in pools {
            let labels = [&*pool.database, &*pool.user, &*pool.shard, pool.role, &*pool.host];
            self.cl_active.with_label_values(&labels).set(pool.cl_active);
            self.cl_waiting.with_label_values(&labels).set(pool.cl_waiting);
            self.sv_idle.with_label_values(&labels).set(pool.sv_idle);
            self.sv_active.with_label_values(&labels).set(pool.sv_active);
            self.maxwait.with_label_values(&labels).set(pool.maxwait.as_secs_f64());
            self.breaker.with_label_values(&labels).set(match pool.breaker {
                BreakerSample::Closed => 0,
                BreakerSample::Open => 1,
                BreakerSample::Probing => 2,
            });
        }
    }
}

impl Counted {
    fn register(r: &mut Families) -> Self {
        let (database, shard) = (["database"], ["database", "shard"]);
        Self {
            transactions: r.counters("pgloom_transactions_total", "blocks, and statements outside of one", &database),
            assignments: r.counters("pgloom_assignments_total", "server connections lent to clients", &database),
            client_parses: r.counters("pgloom_client_parses_total", "Parse messages of clients", &database),
            server_parses: r.counters(
                "pgloom_server_parses_total",
                "statements prepared on server connections for them",
                &database,
            ),
            binds: r.counters("pgloom_binds_total", "Bind messages of clients", &database),
            connects: r.counters(
                "pgloom_shard_connects_total",
                "server connections tried",
                &["database", "shard", "outcome"],
            ),
            discards: r.counters(
                "pgloom_shard_discards_total",
                "server connections closed because they came back unclean",
                &shard,
            ),
        }
    }

    fn refresh(&self, sample: &Sample) {
        let all = [&self.transactions, &self.assignments, &self.client_parses, &self.server_parses, &self.binds];
        all.into_iter().chain([&self.connects, &self.discards]).for_each(empty);
        for database in &sample.databases {
            let values = [
                (&self.transactions, database.transactions),
                (&self.assignments, database.assignments),
                (&self.client_parses, database.client_parses),
                (&self.server_parses, database.server_parses),
                (&self.binds, database.binds),
            ];
            for (counts, value) in values {
                counts.with_label_values(&[&database.database]).inc_by(value);
            }
        }
        for shard in &sample.connects {
            let opened = shard.tried.saturating_sub(shard.failed);
            for (outcome, value) in [("opened", opened), ("failed", shard.failed)] {
                self.connects.with_label_values(&[&*shard.database, &*shard.shard, outcome]).inc_by(value);
            }
            self.discards.with_label_values(&[&*shard.database, &*shard.shard]).inc_by(shard.discarded);
        }
    }
}

impl Servers {
    fn register(r: &mut Families) -> Self {
        let server = ["database", "shard", "server"];
        Self {
            role: r.gauges(
                "pgloom_server_role",
                "1 for the role that a server of a shard of several has",
                &["database", "shard", "server", "role"],
            ),
            lag_bytes: r.gauges("pgloom_replication_lag_bytes", "that a replica is behind", &server),
            lag_seconds: r.float_gauges(
                "pgloom_replication_lag_seconds",
                "for which a replica may have been behind: it has all that was written before",
                &server,
            ),
            latency: r.float_gauges("pgloom_server_latency_seconds", "that a server takes to answer", &server),
        }
    }

    fn refresh(&self, servers: &[ServerSample]) {
        empty(&self.role);
        empty(&self.lag_bytes);
        empty(&self.lag_seconds);
        empty(&self.latency);
        for server in servers {
            let labels = [&*server.database, &*server.shard, &*server.server];
            self.role.with_label_values(&[labels[0], labels[1], labels[2], server.role]).set(1);
            if let Some(bytes) = server.lag_bytes {
                self.lag_bytes.with_label_values(&labels).set(whole(bytes));
            }
            for (gauge, value) in [(&self.lag_seconds, server.lag), (&self.latency, server.latency)] {
                if let Some(value) = value {
                    gauge.with_label_values(&labels).set(value.as_secs_f64());
                }
            }
        }
    }
}

fn whole(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Takes out the series of before.
fn empty<T: MetricVecBuilder>(family: &MetricVec<T>) {
    family.reset();
}

/// Somebody else counts, and never less than before.
fn counted(family: &IntCounterVec, labels: &[&str], value: u64) {
    let count = family.with_label_values(labels);
    count.inc_by(value.saturating_sub(count.get()));
}

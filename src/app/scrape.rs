//! What a scrape of the metrics reads off the running router.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use crate::admin::Seen;
use crate::admin::pools::{PoolAt, pools_of};
use crate::app::Health;
use crate::backend::breaker::BreakerState;
use crate::backend::breakers::ServerBreaker;
use crate::backend::cluster::Database;
use crate::backend::stats::Count;
use crate::control::map::MapState;
use crate::metrics::{
    BreakerCounts, BreakerSample, CacheSample, ConnectSample, DatabaseSample, HotKeySample, MapSample, PoolSample,
    RowsSample, Sample, ServerSample, Source, TopologySample,
};
use crate::server::http::Readiness;
use crate::session::Shared;

/// So many of the keys that are asked for most are in the metrics, for each database.
const HOT_KEYS: usize = 10;

/// What a scrape of the metrics reads.
pub(super) struct Watcher {
    pub health: Arc<Health>,
    pub map: Arc<OnceLock<Arc<MapState>>>,
    /// Lines of the log that nobody has taken.
    pub unlogged: Arc<OnceLock<Arc<AtomicU64>>>,
    /// It holds the metrics, which hold this.
    pub shared: Weak<Shared>,
}

impl Source for Watcher {
    fn sample(&self) -> Sample {
        let mut sample =
            Sample { ready: self.health.report().ready, shards: self.health.shards(), ..Sample::default() };
        sample.unlogged = self.unlogged.get().map_or(0, |lines| lines.load(Ordering::Relaxed));
        let map = self.map.get();
        sample.map = map.map(|map| MapSample {
            epoch: map.shared_epoch().unwrap_or_default(),
            file_epoch: map.file_epoch().unwrap_or_default(),
            rejected: map.status().rejected,
            troubled: map.is_troubled(),
        });
        let stale = map.map_or(Duration::ZERO, |map| map.stale());
        let mut names_keys = false;
        if let Some(shared) = self.shared.upgrade() {
            let stats = shared.plans.stats();
            sample.plan_cache = CacheSample { entries: stats.entries, bytes: stats.bytes, evictions: stats.evictions };
            sample.prepared = shared.registry.len();
            sample.memory_held = shared.memory.used();
            sample.memory_limit = shared.memory.limit();
            sample.scatter_requests = shared.fanout.used();
            sample.scatters_waiting = shared.fanout.waiting();
            names_keys = shared.limits.load().hot_key_metrics;
        }
        // One register for all databases.
        let databases = self.health.databases.load();
        let breakers = databases.first().map(|database| database.access.breakers.all());
        sample.breakers = breakers.iter().flatten().map(|breaker| breaker_counts(breaker)).collect();
        for database in databases.iter() {
            let topology = Arc::clone(&database.cluster.load().topology);
            sample.topologies.push(TopologySample {
                database: database.name.to_string(),
                epoch: topology.epoch.0,
                stale,
            });
            sample.servers.extend(server_samples(database));
            sample.databases.push(counts(database));
            sample.rows.extend(sizes(database));
            sample.hot_keys.extend(hot_keys(database, names_keys));
            pools(database, &mut sample);
        }
        sample
    }
}

fn counts(database: &Database) -> DatabaseSample {
    let totals = database.stats.totals();
    let of = |count: Count| totals[count as usize];
    DatabaseSample {
        database: database.name.to_string(),
        transactions: of(Count::Xacts),
        assignments: of(Count::Assignments),
        client_parses: of(Count::ClientParses),
        server_parses: of(Count::ServerParses),
        binds: of(Count::Binds),
    }
}

fn sizes(database: &Database) -> Vec<RowsSample> {
    let sizes = database.sizes.lock().unwrap_or_else(PoisonError::into_inner);
    let sample = |size: &crate::backend::cluster::ShardSize| RowsSample {
        database: database.name.to_string(),
        shard: size.shard.to_string(),
        rows: size.rows,
        bytes: size.bytes,
    };
    sizes.iter().map(sample).collect()
}

fn hot_keys(database: &Database, named: bool) -> Vec<HotKeySample> {
    let topology = Arc::clone(&database.cluster.load().topology);
    let most = database.hot_keys.most(HOT_KEYS).into_iter().enumerate();
    let samples = most.filter_map(|(at, (key, share))| {
        Some(HotKeySample {
            database: database.name.to_string(),
            // A configuration from before may have had others.
            distribution: topology.distributions.get(usize::from(key.distribution.0))?.name.to_string(),
            shard: topology.shards.get(key.shard.index())?.name.to_string(),
            rank: at + 1,
            key: named.then(|| key.key.to_string()),
            share,
        })
    });
    samples.collect()
}

/// Each pool, and what was connected for each shard.
fn pools(database: &Arc<Database>, sample: &mut Sample) {
    let (seen, now) = (Seen::now(database), Instant::now());
    let mut connects = BTreeMap::<String, ConnectSample>::new();
    for (user, pools) in database.all_pools() {
        for PoolAt { pool, shard, role } in pools_of(&seen, &pools) {
            let counts = &pool.counts;
            let sum = connects.entry(shard.clone()).or_default();
            sum.tried += counts.connects.load(Ordering::Relaxed);
            sum.failed += counts.connect_failures.load(Ordering::Relaxed);
            sum.discarded += counts.discards.load(Ordering::Relaxed);
            let active = counts.active.load(Ordering::Relaxed) as i64;
            sample.pools.push(PoolSample {
                database: database.name.to_string(),
                user: user.to_string(),
                shard,
                role,
                host: pool.connector.address().to_string(),
                cl_active: active,
                cl_waiting: pool.waiting() as i64,
                sv_idle: pool.idle_count() as i64,
                sv_active: active,
                maxwait: pool.longest_wait(now),
                breaker: match pool.connector.breaker().report().state {
                    BreakerState::Closed => BreakerSample::Closed,
                    BreakerState::Open => BreakerSample::Open,
                    BreakerState::Probing => BreakerSample::Probing,
                },
            });
        }
    }
    let named = connects.into_iter().map(|(shard, sum)| {
        let database = database.name.to_string();
        ConnectSample { database, shard, ..sum }
    });
    sample.connects.extend(named);
}

fn breaker_counts(breaker: &ServerBreaker) -> BreakerCounts {
    BreakerCounts {
        host: breaker.address.to_string(),
        opened: breaker.opened.load(Ordering::Relaxed),
        rejected: breaker.rejected.load(Ordering::Relaxed),
    }
}

/// The servers of the shards that have several.
fn server_samples(database: &Database) -> Vec<ServerSample> {
    let topology = Arc::clone(&database.cluster.load().topology);
    let several = topology.shards.iter().map(|shard| (shard, database.servers(shard)));
    let several = several.filter(|(_, servers)| !servers.is_lone());
    let samples = several.flat_map(|(shard, servers)| {
        servers.report().into_iter().map(|report| ServerSample {
            database: database.name.to_string(),
            shard: shard.name.to_string(),
            server: report.server.address(),
            role: report.role.label(),
            lag_bytes: report.lag_bytes,
            lag: report.lag,
            latency: report.latency,
        })
    });
    samples.collect()
}

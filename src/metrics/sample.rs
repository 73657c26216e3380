//! `Sample`: what is read off the running router when somebody scrapes.

use std::time::Duration;

/// Where it is read.
pub trait Source: Send + Sync {
    /// Must not block: it runs in the task that answers the scrape.
    fn sample(&self) -> Sample;
}

/// The state of one moment.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    pub ready: bool,
    /// Bytes that all statements hold together, and may.
    pub memory_held: usize,
    pub memory_limit: Option<usize>,
    /// Shards at which statements over several are, where that is limited, and such statements that wait.
    pub scatter_requests: usize,
    pub scatters_waiting: usize,
    /// Database, shard, and whether it has answered lately.
    pub shards: Vec<(String, String, bool)>,
    pub pools: Vec<PoolSample>,
    pub topologies: Vec<TopologySample>,
    /// Where the map does not stand in the configuration.
    pub map: Option<MapSample>,
    pub breakers: Vec<BreakerCounts>,
    pub servers: Vec<ServerSample>,
    pub databases: Vec<DatabaseSample>,
    pub connects: Vec<ConnectSample>,
    pub rows: Vec<RowsSample>,
    pub hot_keys: Vec<HotKeySample>,
    pub plan_cache: CacheSample,
    /// Distinct statements that are prepared, or may be, on server connections.
    pub prepared: usize,
    /// Lines of the log that nobody has taken in time.
    pub unlogged: u64,
}

/// The cache of analyses.
#[derive(Clone, Copy, Debug, Default)]
pub struct CacheSample {
    pub entries: usize,
    pub bytes: usize,
    pub evictions: u64,
}

/// What was done for the clients of one database since the start.
#[derive(Clone, Debug, Default)]
pub struct DatabaseSample {
    pub database: String,
    pub transactions: u64,
    /// Server connections lent.
    pub assignments: u64,
    pub client_parses: u64,
    pub server_parses: u64,
    pub binds: u64,
}

/// Connections to the servers of one shard that clients use, since the pools were made.
#[derive(Clone, Debug, Default)]
pub struct ConnectSample {
    pub database: String,
    pub shard: String,
    pub tried: u64,
    pub failed: u64,
    /// Closed because they came back unclean.
    pub discarded: u64,
}

/// What the sharded tables of one shard hold, as its Postgres estimates it.
#[derive(Clone, Debug, Default)]
pub struct RowsSample {
    pub database: String,
    pub shard: String,
    pub rows: u64,
    pub bytes: u64,
}

/// One of the keys that statements ask for most.
#[derive(Clone, Debug, Default)]
pub struct HotKeySample {
    pub database: String,
    pub distribution: String,
    pub shard: String,
    /// From 1.
    pub rank: usize,
    /// Only where the configuration wants keys in the metrics.
    pub key: Option<String>,
    /// Of the statements for one key.
    pub share: f64,
}

/// One server of a shard that has several.
#[derive(Clone, Debug, Default)]
pub struct ServerSample {
    pub database: String,
    pub shard: String,
    /// `host:port`.
    pub server: String,
    /// `primary`, `replica`, `fenced`, `stranger` or `unknown`.
    pub role: &'static str,
    pub lag_bytes: Option<u64>,
    pub lag: Option<Duration>,
    pub latency: Option<Duration>,
}

/// One pool: the server connections of one user on one server of one shard.
#[derive(Clone, Debug, Default)]
pub struct PoolSample {
    pub database: String,
    pub user: String,
    pub shard: String,
    /// `primary`, `replica` or `combine`.
    pub role: &'static str,
    /// `host:port` of the server.
    pub host: String,
    pub cl_active: i64,
    pub cl_waiting: i64,
    pub sv_idle: i64,
    pub sv_active: i64,
    /// How long the client that has waited longest has waited.
    pub maxwait: Duration,
    pub breaker: BreakerSample,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BreakerSample {
    #[default]
    Closed,
    Open,
    Probing,
}

/// How often the breaker of one server has acted since the start.
#[derive(Clone, Debug, Default)]
pub struct BreakerCounts {
    /// `host:port` of the server.
    pub host: String,
    pub opened: u64,
    pub rejected: u64,
}

/// The map that one database is served by.
#[derive(Clone, Debug, Default)]
pub struct TopologySample {
    pub database: String,
    pub epoch: u64,
    /// Since its source last confirmed it; zero for a file.
    pub stale: Duration,
}

/// The document that all databases are placed by.
#[derive(Clone, Copy, Debug, Default)]
pub struct MapSample {
    pub epoch: u64,
    /// The same where the map stands in the file: of those who share its directory.
    pub file_epoch: u64,
    /// Documents that were not served.
    pub rejected: u64,
    /// Whether something is in the way now.
    pub troubled: bool,
}

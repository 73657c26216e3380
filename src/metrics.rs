//! Every metric as a typed handle in one struct; the only door to prometheus.
//!
//! What it costs (benches/metrics.rs, unoptimised, on a busy machine): a counter 16 ns, all that [`Metrics::query`] does for a
//! statement 90 ns, of the 15,000 ns that forwarding it takes. So nothing is sampled. The handles of the statement path are
//! resolved when the struct is built: no label is looked up for a statement. State that can be read off (pools, topology,
//! memory) is asked for when somebody scrapes, through [`Source`], and costs the statements nothing.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use prometheus::core::Collector;
use prometheus::{
    Encoder, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    Opts, Registry, TextEncoder,
};

/// The content type of what [`Metrics::render`] writes.
pub const CONTENT_TYPE: &str = prometheus::TEXT_FORMAT;

/// Upper bounds in seconds: a point read takes tenths of a millisecond, a report minutes.
const SECONDS: [f64; 14] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.5, 10.0, 60.0];
const SHARDS: [f64; 10] = [0.0, 1.0, 2.0, 3.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0];

/// How a statement was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueryClass {
    /// By one shard, its frames passed on untouched.
    Single,
    /// By several shards, each its own part: multi-row INSERT, COPY, DDL.
    Multi,
    /// By several shards whose answers were merged.
    Scatter,
    /// By a Postgres, from rows that were pulled from the shards.
    Finish,
    /// Not at all: refused by pgloom.
    Rejected,
    /// By pgloom itself.
    Local,
}

impl QueryClass {
    const ALL: [QueryClass; 6] = [
        QueryClass::Single,
        QueryClass::Multi,
        QueryClass::Scatter,
        QueryClass::Finish,
        QueryClass::Rejected,
        QueryClass::Local,
    ];

    fn label(self) -> &'static str {
        match self {
            QueryClass::Single => "single",
            QueryClass::Multi => "multi",
            QueryClass::Scatter => "scatter",
            QueryClass::Finish => "finish",
            QueryClass::Rejected => "rejected",
            QueryClass::Local => "local",
        }
    }
}

/// All metrics of one router. Share it as `Arc<Metrics>`; two of them share nothing.
pub struct Metrics {
    registry: Registry,
    queries: [ClassMetrics; 6],
    fanout_shards: Histogram,
    shard_request_seconds: HistogramVec,
    shard_connects: IntCounterVec,
    errors: IntCounterVec,
    refusals: IntCounterVec,
    /// Bytes that clients sent.
    pub client_bytes_in: IntCounter,
    /// Bytes that clients were sent.
    pub client_bytes_out: IntCounter,
    /// Clients connected now, those still logging in included.
    pub clients: IntGauge,
    /// Clients that were let in since the start.
    pub logins: IntCounter,
    /// Clients that were turned away: wrong password, unknown database, too many, garbage.
    pub login_failures: IntCounter,
    /// Cancel requests that named a live session.
    pub cancels: IntCounter,
    /// Deadlocks over shards that this router has broken.
    pub deadlocks: IntCounter,
    /// Statements whose analysis was at hand.
    pub plan_cache_hits: IntCounter,
    /// Statements that had to be parsed.
    pub plan_cache_misses: IntCounter,
    config_reloads: IntCounterVec,
    config_reloaded: Gauge,
    config_current: IntGauge,
    /// Rows looked at while tables changed their placement.
    pub moved_rows: IntCounter,
    /// Bytes that the plan cache holds.
    pub plan_cache_bytes: IntGauge,
    /// Time from the first row asked for to the last row merged.
    pub merge_seconds: Histogram,
    /// Rows pulled from shards for a Postgres that finishes the statement.
    pub pulled_rows: IntCounter,
    /// Bytes of those rows.
    pub pulled_bytes: IntCounter,
    finishes: IntCounterVec,
    retries: IntCounterVec,
    passed_on: IntCounterVec,
    throttled: IntCounterVec,
    sampled: Sampled,
    source: OnceLock<Box<dyn Source>>,
}

/// The handles of one [`QueryClass`].
pub struct ClassMetrics {
    /// Statements answered.
    pub total: IntCounter,
    /// From the statement read to its last byte given to the socket.
    pub seconds: Histogram,
}

/// The handles of one shard of one database, resolved once and kept beside its pools.
#[derive(Clone)]
pub struct ShardMetrics {
    /// From a statement sent to the shard to its ReadyForQuery.
    pub request_seconds: Histogram,
    /// Server connections opened.
    pub connects: IntCounter,
    /// Server connections that could not be opened.
    pub connect_failures: IntCounter,
}

/// What is read off the running router when somebody scrapes.
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
    pub pools: Vec<PoolSample>,
    pub topologies: Vec<TopologySample>,
    /// Where the map does not stand in the configuration.
    pub map: Option<MapSample>,
    pub breakers: Vec<BreakerCounts>,
    pub servers: Vec<ServerSample>,
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
    /// Documents that were not served.
    pub rejected: u64,
    /// Whether something is in the way now.
    pub troubled: bool,
}

/// Gauges that a scrape sets.
struct Sampled {
    memory_held: IntGauge,
    memory_limit: IntGauge,
    scatter_requests: IntGauge,
    scatters_waiting: IntGauge,
    started: Instant,
    ready: IntGauge,
    cl_active: IntGaugeVec,
    cl_waiting: IntGaugeVec,
    sv_idle: IntGaugeVec,
    sv_active: IntGaugeVec,
    maxwait: GaugeVec,
    breaker: IntGaugeVec,
    breaker_opened: IntCounterVec,
    breaker_rejected: IntCounterVec,
    map_epoch: IntGaugeVec,
    map_rejected: IntCounterVec,
    map_troubled: IntGaugeVec,
    server_role: IntGaugeVec,
    lag_bytes: IntGaugeVec,
    lag_seconds: GaugeVec,
    server_latency: GaugeVec,
    topology_version: IntGaugeVec,
    topology_stale: GaugeVec,
    uptime: Gauge,
    process: Process,
}

/// What the kernel tells of this process (`proc(5)`), under the names that every Prometheus client library uses.
struct Process {
    cpu_seconds: Gauge,
    resident_bytes: IntGauge,
    open_fds: IntGauge,
}

impl Metrics {
    pub fn new() -> Arc<Self> {
        let registry = Registry::new();
        let r = &registry;
        let queries = vector(r, "pgloom_queries_total", "statements answered, by how", &["class"]);
        let seconds = histograms(
            r,
            "pgloom_query_seconds",
            "from the statement read to its last byte sent",
            &["class"],
            &SECONDS,
        );
        let build = gauges(r, "pgloom_build_info", "always 1; the label tells the version", &["version"]);
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let bytes = vector(r, "pgloom_client_bytes_total", "bytes exchanged with clients", &["direction"]);
        let metrics = Self {
            queries: QueryClass::ALL.map(|class| ClassMetrics {
                total: queries.with_label_values(&[class.label()]),
                seconds: seconds.with_label_values(&[class.label()]),
            }),
            fanout_shards: histogram(r, "pgloom_fanout_shards", "shards that one statement was sent to", &SHARDS),
            shard_request_seconds: histograms(
                r,
                "pgloom_shard_request_seconds",
                "from a statement sent to a shard to the end of its answer",
                &["database", "shard"],
                &SECONDS,
            ),
            shard_connects: vector(
                r,
                "pgloom_shard_connects_total",
                "server connections tried",
                &["database", "shard", "outcome"],
            ),
            errors: vector(r, "pgloom_errors_total", "errors sent to clients", &["sqlstate_class", "blame"]),
            refusals: vector(r, "pgloom_refusals_total", "statements refused, by reason", &["reason"]),
            client_bytes_in: bytes.with_label_values(&["in"]),
            client_bytes_out: bytes.with_label_values(&["out"]),
            clients: gauge(r, "pgloom_clients", "clients connected"),
            logins: counter(r, "pgloom_logins_total", "clients let in"),
            login_failures: counter(r, "pgloom_login_failures_total", "clients turned away"),
            cancels: counter(r, "pgloom_cancels_total", "cancel requests for a live session"),
            deadlocks: counter(r, "pgloom_deadlocks_total", "deadlocks over shards broken"),
            plan_cache_hits: counter(r, "pgloom_plan_cache_hits_total", "statements not parsed again"),
            config_reloads: vector(
                r,
                "pgloom_config_reloads_total",
                "times that the configuration was read again: applied, unchanged or rejected",
                &["result"],
            ),
            config_reloaded: float_gauge(
                r,
                "pgloom_config_last_reload_success_timestamp_seconds",
                "when the configuration was last read again and was good; 0: not since the start",
            ),
            config_current: good(gauge(
                r,
                "pgloom_config_last_reload_successful",
                "0 when the configuration that was read last was rejected, else 1",
            )),
            moved_rows: counter(r, "pgloom_moved_rows_total", "rows looked at while tables changed their placement"),
            plan_cache_misses: counter(r, "pgloom_plan_cache_misses_total", "statements parsed"),
            plan_cache_bytes: gauge(r, "pgloom_plan_cache_bytes", "held by the plan cache"),
            merge_seconds: histogram(r, "pgloom_merge_seconds", "time that one merge took", &SECONDS),
            pulled_rows: counter(r, "pgloom_pulled_rows_total", "rows pulled for statements that Postgres finishes"),
            pulled_bytes: counter(r, "pgloom_pulled_bytes_total", "bytes of rows pulled for such statements"),
            finishes: vector(
                r,
                "pgloom_finishes_total",
                "statements that Postgres finishes, by where, and why on the home shard though there are combine servers",
                &["on", "why"],
            ),
            throttled: vector(
                r,
                "pgloom_key_throttled_total",
                "statements that came too early for key_max_rate, by what became of them",
                &["result"],
            ),
            passed_on: vector(
                r,
                "pgloom_cancels_passed_on_total",
                "cancel requests for clients of other routers, by what became of them",
                &["result"],
            ),
            retries: vector(r, "pgloom_retries_total", "attempts made again after one without effect", &["reason"]),
            sampled: Sampled::register(r),
            source: OnceLock::new(),
            registry,
        };
        Arc::new(metrics)
    }

    /// The handles of one class: an index, no look-up.
    pub fn class(&self, class: QueryClass) -> &ClassMetrics {
        // In the order of QueryClass::ALL, which is the order of declaration.
        &self.queries[class as usize]
    }

    /// One statement answered: its class, how many shards it went to and how long it took.
    pub fn query(&self, class: QueryClass, shards: usize, took: Duration) {
        let handles = self.class(class);
        handles.total.inc();
        handles.seconds.observe(took.as_secs_f64());
        self.fanout_shards.observe(shards as f64);
    }

    /// One error sent to a client. Only the SQLSTATE's class is a label: a function can raise any code.
    pub fn error(&self, sqlstate: &str, blame: &'static str) {
        let class = match sqlstate.get(..2) {
            Some(class) if class.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_uppercase()) => class,
            _ => "??",
        };
        self.errors.with_label_values(&[class, blame]).inc();
    }

    /// One statement refused. `reason` is one of a few fixed words, never text of the statement.
    pub fn refused(&self, reason: &'static str) {
        self.refusals.with_label_values(&[reason]).inc();
    }

    /// The configuration was read again, and this came of it: `applied`, `unchanged` or `rejected`.
    pub fn reloaded(&self, result: &'static str) {
        self.config_reloads.with_label_values(&[result]).inc();
        let good = result != "rejected";
        self.config_current.set(good.into());
        if good {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            self.config_reloaded.set(now.as_secs_f64());
        }
    }

    /// A statement is finished on the home shard or on a server beside the shards. `why`, one of a few fixed words: what kept it from
    /// such a server, where there are any.
    pub fn finish(&self, on: &'static str, why: &'static str) {
        self.finishes.with_label_values(&[on, why]).inc();
    }

    /// Something is tried again. `reason` is one of a few fixed words.
    /// A statement that came too early for its key has `waited`, or was `refused`.
    pub fn throttled(&self, result: &'static str) {
        self.throttled.with_label_values(&[result]).inc();
    }

    /// What became of a cancel request for a client of another router: `beside` and `router` have been reached, `unknown` is nobody's,
    /// `failed` could not be delivered, `too_many` were on their way.
    pub fn passed_on(&self, result: &'static str) {
        self.passed_on.with_label_values(&[result]).inc();
    }

    pub fn retry(&self, reason: &'static str) {
        self.retries.with_label_values(&[reason]).inc();
    }

    /// The handles of one shard; look them up when its pools are made, not for a statement.
    pub fn shard(&self, database: &str, shard: &str) -> ShardMetrics {
        ShardMetrics {
            request_seconds: self.shard_request_seconds.with_label_values(&[database, shard]),
            connects: self.shard_connects.with_label_values(&[database, shard, "opened"]),
            connect_failures: self.shard_connects.with_label_values(&[database, shard, "failed"]),
        }
    }

    /// Names where scrapes read the router's state from. The first call counts.
    pub fn set_source(&self, source: impl Source + 'static) {
        let _ = self.source.set(Box::new(source));
    }

    /// Everything in Prometheus's text format ([`CONTENT_TYPE`]).
    pub fn render(&self) -> Vec<u8> {
        self.sampled.refresh(self.source.get().map(|source| source.sample()).unwrap_or_default());
        let mut text = Vec::with_capacity(16 * 1024);
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            tracing::error!(%error, "metrics could not be written");
        }
        text
    }
}

impl Sampled {
    fn register(r: &Registry) -> Self {
        let pool = ["database", "user", "shard", "role", "host"];
        let server = ["database", "shard", "server"];
        Self {
            started: Instant::now(),
            memory_held: gauge(r, "pgloom_memory_held_bytes", "held by all statements together"),
            memory_limit: gauge(r, "pgloom_memory_limit_bytes", "that they may hold; 0: any number"),
            scatter_requests: gauge(
                r,
                "pgloom_scatter_requests",
                "shards at which statements over several are, where scatter_max_requests limits that",
            ),
            scatters_waiting: gauge(r, "pgloom_scatters_waiting", "statements that wait for scatter_max_requests"),
            ready: gauge(r, "pgloom_ready", "1 while every shard has answered lately"),
            cl_active: gauges(r, "pgloom_pool_cl_active", "clients that hold a server connection", &pool),
            cl_waiting: gauges(r, "pgloom_pool_cl_waiting", "clients that wait for a server connection", &pool),
            sv_idle: gauges(r, "pgloom_pool_sv_idle", "server connections that nobody holds", &pool),
            sv_active: gauges(r, "pgloom_pool_sv_active", "server connections that a client holds", &pool),
            maxwait: float_gauges(r, "pgloom_pool_maxwait_seconds", "longest wait of a client now", &pool),
            breaker: gauges(r, "pgloom_breaker_state", "0 closed, 1 open, 2 probing", &pool),
            breaker_opened: vector(r, "pgloom_breaker_opened_total", "times that a server failed too often", &["host"]),
            breaker_rejected: vector(
                r,
                "pgloom_breaker_rejected_total",
                "requests for a connection that failed at once because a breaker was open",
                &["host"],
            ),
            map_epoch: gauges(r, "pgloom_topology_epoch", "epoch of the document that is served", &[]),
            map_rejected: vector(r, "pgloom_topology_rejected_total", "documents that were not served", &[]),
            map_troubled: gauges(r, "pgloom_topology_troubled", "1 while the document cannot be followed", &[]),
            topology_version: gauges(
                r,
                "pgloom_topology_version",
                "epoch of the rules that SQL has made",
                &["database"],
            ),
            server_role: gauges(
                r,
                "pgloom_server_role",
                "1 for the role that a server of a shard of several has",
                &["database", "shard", "server", "role"],
            ),
            lag_bytes: gauges(r, "pgloom_replication_lag_bytes", "that a replica is behind", &server),
            lag_seconds: float_gauges(
                r,
                "pgloom_replication_lag_seconds",
                "for which a replica may have been behind: it has all that was written before",
                &server,
            ),
            server_latency: float_gauges(r, "pgloom_server_latency_seconds", "that a server takes to answer", &server),
            topology_stale: float_gauges(
                r,
                "pgloom_topology_stale_seconds",
                "since the shard map's source confirmed it",
                &["database"],
            ),
            uptime: float_gauge(r, "pgloom_uptime_seconds", "since the start"),
            process: Process {
                cpu_seconds: float_gauge(r, "process_cpu_seconds_total", "user and system time"),
                resident_bytes: gauge(r, "process_resident_memory_bytes", "resident memory"),
                open_fds: gauge(r, "process_open_fds", "open file descriptors"),
            },
        }
    }

    fn refresh(&self, sample: Sample) {
        self.ready.set(sample.ready.into());
        let whole = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.memory_held.set(whole(sample.memory_held));
        self.memory_limit.set(whole(sample.memory_limit.unwrap_or(0)));
        self.scatter_requests.set(whole(sample.scatter_requests));
        self.scatters_waiting.set(whole(sample.scatters_waiting));
        self.uptime.set(self.started.elapsed().as_secs_f64());
        self.process.refresh();
        // A pool that is gone must not go on being reported.
        let pools = [&self.cl_active, &self.cl_waiting, &self.sv_idle, &self.sv_active, &self.breaker];
        for gauges in pools.into_iter().chain([&self.server_role, &self.lag_bytes]) {
            gauges.reset();
        }
        for gauges in [&self.lag_seconds, &self.server_latency] {
            gauges.reset();
        }
        self.maxwait.reset();
        self.map_epoch.reset();
        self.map_rejected.reset();
        self.map_troubled.reset();
        if let Some(map) = sample.map {
            self.map_epoch.with_label_values::<&str>(&[]).set(i64::try_from(map.epoch).unwrap_or(i64::MAX));
            self.map_rejected.with_label_values::<&str>(&[]).inc_by(map.rejected);
            self.map_troubled.with_label_values::<&str>(&[]).set(map.troubled.into());
        }
        self.topology_version.reset();
        self.topology_stale.reset();
        for pool in &sample.pools {
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
        for breaker in &sample.breakers {
            let counted = |counts: &IntCounterVec, value: u64| {
                let count = counts.with_label_values(&[&*breaker.host]);
                count.inc_by(value.saturating_sub(count.get()));
            };
            counted(&self.breaker_opened, breaker.opened);
            counted(&self.breaker_rejected, breaker.rejected);
        }
        for server in &sample.servers {
            let labels = [&*server.database, &*server.shard, &*server.server];
            self.server_role.with_label_values(&[labels[0], labels[1], labels[2], server.role]).set(1);
            if let Some(bytes) = server.lag_bytes {
                self.lag_bytes.with_label_values(&labels).set(i64::try_from(bytes).unwrap_or(i64::MAX));
            }
            let seconds = [(&self.lag_seconds, server.lag), (&self.server_latency, server.latency)];
            for (gauge, value) in seconds {
                if let Some(value) = value {
                    gauge.with_label_values(&labels).set(value.as_secs_f64());
                }
            }
        }
        for topology in &sample.topologies {
            let epoch = i64::try_from(topology.epoch).unwrap_or(i64::MAX);
            self.topology_version.with_label_values(&[&topology.database]).set(epoch);
            self.topology_stale.with_label_values(&[&topology.database]).set(topology.stale.as_secs_f64());
        }
    }
}

impl Process {
    /// Leaves the last values where `/proc` can't be read.
    fn refresh(&self) {
        // USER_HZ and the page size are what every Linux on x86-64 and arm64 with 4 KiB pages has.
        const TICKS_PER_SECOND: f64 = 100.0;
        if let Ok(stat) = std::fs::read_to_string("/proc/self/stat")
            && let Some((_, fields)) = stat.rsplit_once(") ")
        {
            // utime and stime: fields 14 and 15 of the line, 3 being the first after the name.
            let ticks: u64 = fields.split(' ').skip(11).take(2).filter_map(|f| f.parse::<u64>().ok()).sum();
            self.cpu_seconds.set(ticks as f64 / TICKS_PER_SECOND);
        }
        if let Ok(status) = std::fs::read_to_string("/proc/self/status")
            && let Some(line) = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))
            && let Some(kib) = line.trim().strip_suffix(" kB").and_then(|n| n.parse::<i64>().ok())
        {
            self.resident_bytes.set(kib.saturating_mul(1024));
        }
        if let Ok(entries) = std::fs::read_dir("/proc/self/fd") {
            self.open_fds.set(i64::try_from(entries.count()).unwrap_or(i64::MAX));
        }
    }
}

/// Names and labels are constants of this file, checked by a test that builds them all: none can be refused at run time.
fn register<C: Collector + Clone + 'static>(registry: &Registry, made: prometheus::Result<C>) -> C {
    let metric = made.expect("the metric's name and labels are well-formed");
    registry.register(Box::new(metric.clone())).expect("the metric's name is used once");
    metric
}

/// One that tells of trouble by 0, and has met none yet.
fn good(gauge: IntGauge) -> IntGauge {
    gauge.set(1);
    gauge
}

fn counter(r: &Registry, name: &str, help: &str) -> IntCounter {
    register(r, IntCounter::new(name, help))
}

fn vector(r: &Registry, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    register(r, IntCounterVec::new(Opts::new(name, help), labels))
}

fn gauge(r: &Registry, name: &str, help: &str) -> IntGauge {
    register(r, IntGauge::new(name, help))
}

fn gauges(r: &Registry, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
    register(r, IntGaugeVec::new(Opts::new(name, help), labels))
}

fn float_gauge(r: &Registry, name: &str, help: &str) -> Gauge {
    register(r, Gauge::new(name, help))
}

fn float_gauges(r: &Registry, name: &str, help: &str, labels: &[&str]) -> GaugeVec {
    register(r, GaugeVec::new(Opts::new(name, help), labels))
}

fn histogram(r: &Registry, name: &str, help: &str, bounds: &[f64]) -> Histogram {
    register(r, Histogram::with_opts(HistogramOpts::new(name, help).buckets(bounds.to_vec())))
}

fn histograms(r: &Registry, name: &str, help: &str, labels: &[&str], bounds: &[f64]) -> HistogramVec {
    register(r, HistogramVec::new(HistogramOpts::new(name, help).buckets(bounds.to_vec()), labels))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn text(metrics: &Metrics) -> String {
        String::from_utf8(metrics.render()).unwrap()
    }

    #[test]
    fn every_class_is_counted_under_its_own_label() {
        let metrics = Metrics::new();
        for (i, class) in QueryClass::ALL.into_iter().enumerate() {
            assert_eq!(class as usize, i);
            metrics.query(class, i, Duration::from_millis(3));
        }
        metrics.query(QueryClass::Scatter, 4, Duration::from_millis(3));
        let text = text(&metrics);
        for line in [
            "pgloom_queries_total{class=\"single\"} 1\n",
            "pgloom_queries_total{class=\"scatter\"} 2\n",
            "pgloom_query_seconds_bucket{class=\"scatter\",le=\"0.0025\"} 0\n",
            "pgloom_query_seconds_bucket{class=\"scatter\",le=\"0.005\"} 2\n",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn a_pool_that_is_gone_is_no_longer_reported() {
        struct Once(std::sync::Mutex<Vec<Sample>>);
        impl Source for Once {
            fn sample(&self) -> Sample {
                self.0.lock().unwrap().pop().unwrap_or_default()
            }
        }
        let pool = PoolSample {
            database: "shop".into(),
            user: "app".into(),
            shard: "s1".into(),
            role: "primary",
            host: "h:1".into(),
            sv_idle: 3,
            breaker: BreakerSample::Open,
            ..PoolSample::default()
        };
        let topologies = vec![TopologySample { database: "shop".into(), epoch: 7, stale: Duration::ZERO }];
        let metrics = Metrics::new();
        let breakers = vec![BreakerCounts { host: "h:1".into(), opened: 2, rejected: 9 }];
        let server = ServerSample {
            database: "shop".into(),
            shard: "s1".into(),
            server: "h:2".into(),
            role: "replica",
            lag_bytes: Some(80),
            lag: Some(Duration::from_millis(1500)),
            latency: None,
        };
        metrics.set_source(Once(
            vec![Sample {
                ready: true,
                pools: vec![pool],
                topologies,
                breakers,
                servers: vec![server],
                ..Sample::default()
            }]
            .into(),
        ));

        let labels = "{database=\"shop\",host=\"h:1\",role=\"primary\",shard=\"s1\",user=\"app\"}";
        let first = text(&metrics);
        assert!(first.contains(&format!("pgloom_pool_sv_idle{labels} 3\n")), "{first}");
        assert!(first.contains(&format!("pgloom_breaker_state{labels} 1\n")), "{first}");
        assert!(first.contains("pgloom_breaker_opened_total{host=\"h:1\"} 2\n"), "{first}");
        assert!(first.contains("pgloom_breaker_rejected_total{host=\"h:1\"} 9\n"), "{first}");
        assert!(first.contains("pgloom_ready 1\n") && first.contains("pgloom_topology_version{database=\"shop\"} 7\n"));
        let server = "{database=\"shop\",server=\"h:2\",shard=\"s1\"}";
        assert!(first.contains(&format!("pgloom_replication_lag_bytes{server} 80\n")), "{first}");
        assert!(first.contains(&format!("pgloom_replication_lag_seconds{server} 1.5\n")), "{first}");
        let role = "{database=\"shop\",role=\"replica\",server=\"h:2\",shard=\"s1\"}";
        assert!(first.contains(&format!("pgloom_server_role{role} 1\n")), "{first}");
        let second = text(&metrics);
        assert!(second.contains("pgloom_ready 0\n") && !second.contains("shop"), "{second}");
        // A count does not go back.
        assert!(second.contains("pgloom_breaker_opened_total{host=\"h:1\"} 2\n"), "{second}");
    }

    #[test]
    fn errors_are_labelled_by_class_and_odd_codes_share_one_label() {
        let metrics = Metrics::new();
        metrics.error("42P01", "client");
        metrics.error("42601", "client");
        metrics.error("é\n", "server");
        metrics.refused("no_sharding_key");
        let text = text(&metrics);
        assert!(text.contains("pgloom_errors_total{blame=\"client\",sqlstate_class=\"42\"} 2\n"), "{text}");
        assert!(text.contains("pgloom_errors_total{blame=\"server\",sqlstate_class=\"??\"} 1\n"), "{text}");
        assert!(text.contains("pgloom_refusals_total{reason=\"no_sharding_key\"} 1\n"), "{text}");
    }

    #[test]
    fn the_process_reports_its_own_memory_and_files() {
        let text = text(&Metrics::new());
        let value = |name: &str| -> f64 {
            let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim().parse().unwrap()
        };
        assert!(value("process_resident_memory_bytes ") > 100_000.0);
        assert!(value("process_open_fds ") >= 3.0);
    }
}

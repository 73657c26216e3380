//! Every metric as a typed handle in one struct; the only door to prometheus.
//!
//! What it costs (benches/metrics.rs, unoptimised, on a busy machine): a counter 16 ns, all that [`Metrics::query`] does for a
//! statement 90 ns, of the 15,000 ns that forwarding it takes. So nothing is sampled but keys. The handles of the statement path are
//! resolved when the struct is built: no label is looked up for a statement. State that can be read off (pools, topology,
//! memory) is asked for when somebody scrapes, through [`Source`], and costs the statements nothing.

mod families;
mod labels;
mod process;
mod sample;
mod sampled;
#[cfg(test)]
mod tests;

use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use prometheus::{
    Encoder, Gauge, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, TextEncoder,
};

pub use families::Declared;
use families::{Families, SECONDS, SHARDS};
pub use labels::{Ended, Overdue, QueryClass, Route, Tier};
pub use sample::{
    BreakerCounts, BreakerSample, CacheSample, ConnectSample, DatabaseSample, HotKeySample, MapSample, PoolSample,
    RowsSample, Sample, ServerSample, Source, TopologySample,
};
use sampled::Sampled;

/// The content type of what [`Metrics::render`] writes.
pub const CONTENT_TYPE: &str = prometheus::TEXT_FORMAT;

/// The classes of SQLSTATE that Postgres has.
const CLASSES: [&str; 44] = [
    "00", "01", "02", "03", "08", "09", "0A", "0B", "0F", "0L", "0P", "0Z", "10", "20", "21", "22", "23", "24", "25",
    "26", "27", "28", "2B", "2D", "2F", "34", "38", "39", "3B", "3D", "3F", "40", "42", "44", "53", "54", "55", "57",
    "58", "72", "F0", "HV", "P0", "XX",
];

/// All metrics of one router. Share it as `Arc<Metrics>`; two of them share nothing.
pub struct Metrics {
    families: Families,
    queries: [ClassMetrics; QueryClass::ALL.len()],
    plans: [IntCounter; Route::ALL.len()],
    fanout_shards: Histogram,
    /// How long statements waited for server connections, of those that had to.
    pub wait_seconds: Histogram,
    /// Time from the first row asked for to the last row merged.
    pub merge_seconds: Histogram,
    shard_request_seconds: HistogramVec,
    shard_bytes: IntCounterVec,
    errors: IntCounterVec,
    refusals: IntCounterVec,
    overdue: [IntCounter; Overdue::ALL.len()],
    two_phase: [IntCounter; Ended::ALL.len()],
    two_phase_seconds: Histogram,
    resolved: IntCounterVec,
    in_doubt: IntGaugeVec,
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
    pub logins_throttled: IntCounter,
    /// Those that had not logged in when others came, and there were too many of them.
    pub logins_displaced: IntCounter,
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
    /// Rows pulled from shards for a Postgres that finishes the statement.
    pub pulled_rows: IntCounter,
    /// Bytes of those rows.
    pub pulled_bytes: IntCounter,
    finishes: IntCounterVec,
    retries: IntCounterVec,
    passed_on: IntCounterVec,
    throttled: IntCounterVec,
    hedged: IntCounterVec,
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
    /// From a request sent to a server of the shard to its ReadyForQuery.
    pub request_seconds: Histogram,
    /// Bytes that its servers were sent, and that they have sent.
    pub bytes_out: IntCounter,
    pub bytes_in: IntCounter,
}

impl Metrics {
    pub fn new() -> Arc<Self> {
        let mut families = Families::default();
        let r = &mut families;
        let queries = r.counters("pgloom_queries_total", "statements answered, by how", &["class"]);
        let seconds =
            r.histograms("pgloom_query_seconds", "from the statement read to its last byte sent", &["class"], &SECONDS);
        let plans = r.counters("pgloom_plans_total", "statements planned, by kind and tier", &["kind", "tier"]);
        let build = r.gauges("pgloom_build_info", "always 1; the label tells the version", &["version"]);
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let bytes = r.counters("pgloom_client_bytes_total", "bytes exchanged with clients", &["direction"]);
        let overdue = r.counters("pgloom_timeouts_total", "what took longer than it may", &["limit"]);
        let two_phase = r.counters(
            "pgloom_two_phase_commits_total",
            "commits over several shards, by what their clients were told",
            &["outcome"],
        );
        let metrics = Self {
            queries: QueryClass::ALL.map(|class| ClassMetrics {
                total: queries.with_label_values(&[class.label()]),
                seconds: seconds.with_label_values(&[class.label()]),
            }),
            plans: Route::ALL.map(|route| plans.with_label_values(&[route.label(), route.tier().label()])),
            fanout_shards: r.histogram("pgloom_fanout_shards", "shards that one statement was sent to", &SHARDS),
            wait_seconds: r.histogram(
                "pgloom_wait_seconds",
                "for server connections, of the statements that had to wait; the time to make new ones included",
                &SECONDS,
            ),
            merge_seconds: r.histogram("pgloom_merge_seconds", "time that one merge took, its rows sent", &SECONDS),
            shard_request_seconds: r.histograms(
                "pgloom_shard_request_seconds",
                "from a request sent to a server of a shard to the end of its answer",
                &["database", "shard"],
                &SECONDS,
            ),
            shard_bytes: r.counters(
                "pgloom_shard_traffic_bytes_total",
                "bytes exchanged with servers for clients",
                &["database", "shard", "direction"],
            ),
            errors: r.counters("pgloom_errors_total", "errors sent to clients", &["sqlstate_class", "blame"]),
            refusals: r.counters(
                "pgloom_refusals_total",
                "statements that the router refused (0A000, 53400, 53300), by the part of it that did",
                &["reason"],
            ),
            overdue: Overdue::ALL.map(|limit| overdue.with_label_values(&[limit.label()])),
            two_phase: Ended::ALL.map(|ended| two_phase.with_label_values(&[ended.label()])),
            two_phase_seconds: r.histogram("pgloom_two_phase_seconds", "time that such a commit took", &SECONDS),
            resolved: r.counters(
                "pgloom_two_phase_resolved_total",
                "parts of commits that this router has finished for others",
                &["verdict"],
            ),
            in_doubt: r.gauges(
                "pgloom_two_phase_in_doubt",
                "prepared parts older than two_phase_grace that could not be finished when they were last looked for",
                &["database"],
            ),
            client_bytes_in: bytes.with_label_values(&["in"]),
            client_bytes_out: bytes.with_label_values(&["out"]),
            clients: r.gauge("pgloom_clients", "clients connected"),
            logins: r.counter("pgloom_logins_total", "clients let in"),
            login_failures: r.counter("pgloom_login_failures_total", "clients turned away"),
            logins_throttled: r.counter(
                "pgloom_logins_throttled_total",
                "clients turned away because logins of their user or address had failed too often",
            ),
            logins_displaced: r.counter(
                "pgloom_logins_displaced_total",
                "clients turned away because more came than may be there without having logged in",
            ),
            cancels: r.counter("pgloom_cancels_total", "cancel requests for a live session"),
            deadlocks: r.counter("pgloom_deadlocks_total", "deadlocks over shards broken"),
            plan_cache_hits: r.counter("pgloom_plan_cache_hits_total", "statements not parsed again"),
            plan_cache_misses: r.counter("pgloom_plan_cache_misses_total", "statements parsed"),
            config_reloads: r.counters(
                "pgloom_config_reloads_total",
                "times that the configuration was read again: applied, unchanged or rejected",
                &["result"],
            ),
            config_reloaded: r.float_gauge(
                "pgloom_config_last_reload_success_timestamp_seconds",
                "when the configuration was last read again and was good; 0: not since the start",
            ),
            config_current: r.gauge(
                "pgloom_config_last_reload_successful",
                "0 when the configuration that was read last was rejected, else 1",
            ),
            moved_rows: r.counter("pgloom_moved_rows_total", "rows looked at while tables changed their placement"),
            pulled_rows: r.counter("pgloom_pulled_rows_total", "rows pulled for statements that Postgres finishes"),
            pulled_bytes: r.counter("pgloom_pulled_bytes_total", "bytes of rows pulled for such statements"),
            finishes: r.counters(
                "pgloom_finishes_total",
                "statements that Postgres finishes, by where, and why on the home shard though there are combine servers",
                &["on", "why"],
            ),
            retries: r.counters("pgloom_retries_total", "attempts made again after one without effect", &["reason"]),
            passed_on: r.counters(
                "pgloom_cancels_passed_on_total",
                "cancel requests for clients of other routers, by what became of them",
                &["result"],
            ),
            throttled: r.counters(
                "pgloom_key_throttled_total",
                "statements that came too early for key_max_rate, by what became of them",
                &["result"],
            ),
            hedged: r.counters(
                "pgloom_hedged_reads_total",
                "reads that a replica did not answer within hedge_after: the second server answered first, or did not, or was not asked",
                &["result"],
            ),
            sampled: Sampled::register(r),
            source: OnceLock::new(),
            families,
        };
        // None has been rejected yet.
        metrics.config_current.set(1);
        Arc::new(metrics)
    }

    /// All families, also those that have nothing to tell yet.
    pub fn declared(&self) -> &[Declared] {
        &self.families.declared
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

    /// One statement planned.
    pub fn planned(&self, route: Route) {
        self.plans[route as usize].inc();
    }

    /// One error sent to a client. Only the SQLSTATE's class is a label, where Postgres has it: a function can raise any code.
    pub fn error(&self, sqlstate: &str, blame: &'static str) {
        let class = match sqlstate.get(..2) {
            Some(class) if CLASSES.contains(&class) => class,
            _ => "other",
        };
        self.errors.with_label_values(&[class, blame]).inc();
    }

    /// One statement refused. `reason` is the name of a file of this program, or one of a few fixed words; never text of the statement.
    pub fn refused(&self, reason: &'static str) {
        self.refusals.with_label_values(&[reason]).inc();
    }

    /// Something has taken longer than it may.
    pub fn overdue(&self, limit: Overdue) {
        self.overdue[limit as usize].inc();
    }

    /// A commit in two phases has ended.
    pub fn two_phase(&self, ended: Ended, took: Duration) {
        self.two_phase[ended as usize].inc();
        self.two_phase_seconds.observe(took.as_secs_f64());
    }

    /// Prepared parts were looked for: so many were finished, so many are left in doubt.
    pub fn resolved(&self, database: &str, committed: usize, rolled_back: usize, in_doubt: usize) {
        self.resolved.with_label_values(&["committed"]).inc_by(committed as u64);
        self.resolved.with_label_values(&["rolled_back"]).inc_by(rolled_back as u64);
        self.in_doubt.with_label_values(&[database]).set(i64::try_from(in_doubt).unwrap_or(i64::MAX));
    }

    /// A database is served no more.
    pub fn forget_database(&self, database: &str) {
        let _ = self.in_doubt.remove_label_values(&[database]);
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
    pub fn retry(&self, reason: &'static str) {
        self.retries.with_label_values(&[reason]).inc();
    }

    /// A read that a replica did not answer in time: the second server has `won` or `lost`, or was `denied`.
    pub fn hedged(&self, result: &'static str) {
        self.hedged.with_label_values(&[result]).inc();
    }

    /// A statement that came too early for its key has `waited`, or was `refused`.
    pub fn throttled(&self, result: &'static str) {
        self.throttled.with_label_values(&[result]).inc();
    }

    /// What became of a cancel request for a client of another router: `beside` and `router` have been reached, `unknown` is nobody's,
    /// `failed` could not be delivered, `too_many` were on their way.
    pub fn passed_on(&self, result: &'static str) {
        self.passed_on.with_label_values(&[result]).inc();
    }

    /// The handles of one shard; look them up when its pools are made, not for a statement.
    pub fn shard(&self, database: &str, shard: &str) -> ShardMetrics {
        ShardMetrics {
            request_seconds: self.shard_request_seconds.with_label_values(&[database, shard]),
            bytes_out: self.shard_bytes.with_label_values(&[database, shard, "out"]),
            bytes_in: self.shard_bytes.with_label_values(&[database, shard, "in"]),
        }
    }

    /// Names where scrapes read the router's state from. The first call counts.
    pub fn set_source(&self, source: impl Source + 'static) {
        let _ = self.source.set(Box::new(source));
    }

    /// Everything in Prometheus's text format ([`CONTENT_TYPE`]).
    pub fn render(&self) -> Vec<u8> {
        self.sampled.refresh(&self.source.get().map(|source| source.sample()).unwrap_or_default());
        let mut text = Vec::with_capacity(16 * 1024);
        if let Err(error) = TextEncoder::new().encode(&self.families.registry.gather(), &mut text) {
            tracing::error!(%error, "metrics could not be written");
        }
        text
    }
}

//! [general]: listening, time-outs, limits, TLS, logs.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::build::Build;
use crate::config::build::map_source::is_address;
use crate::config::error::Origin;
use crate::config::file::General;
use crate::config::limits::{Limit, TimeLimits, TimeWishes};
use crate::config::section::Setting;
use crate::config::units::{Bytes, SslMode};
use crate::config::{
    AuthSettings, BreakerSettings, Keepalive, LimitSettings, ListenSettings, LogSettings, LogStatements,
    MetricsSettings, ReplicaSettings, Timeouts, TlsIdentity, TlsSettings, TraceSettings,
};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
/// Each of them is asked for its number again and again.
const MOST_PEERS: usize = 256;
/// More clients than a router has process ids for.
const MOST_CLIENTS: u32 = 1_000_000;

/// What [general] becomes.
pub(super) struct Parts {
    pub listen: ListenSettings,
    pub timeouts: Timeouts,
    pub limits: LimitSettings,
    pub breakers: BreakerSettings,
    pub auth: AuthSettings,
    pub client_tls: TlsSettings,
    pub server_tls: TlsSettings,
    pub peer_tls: TlsSettings,
    pub metrics: MetricsSettings,
    pub log: LogSettings,
}

impl Build<'_> {
    pub(super) fn general(&mut self, general: &General) -> Option<Parts> {
        let listen = self.listen(general);
        let timeouts = self.timeouts(general);
        let limits = self.limits(general);
        let breakers = self.breakers(general);
        let client_tls = self.client_tls(general);
        let server_tls = self.server_tls(general);
        let peer_tls = self.peer_tls(general);
        let auth = self.auth(general);
        Some(Parts {
            listen: listen?,
            timeouts: timeouts?,
            limits: limits?,
            breakers,
            auth: auth?,
            client_tls: client_tls?,
            server_tls: server_tls?,
            peer_tls: peer_tls?,
            metrics: MetricsSettings {
                listen: general.metrics_listen.value.0,
                hot_keys: general.hot_key_metrics.value,
                traces: self.traces(general),
            },
            log: LogSettings {
                level: general.log_level.value,
                format: general.log_format.value,
                connections: general.log_connections.value,
                disconnections: general.log_disconnections.value,
                statements: self.log_statements(general),
            },
        })
    }

    fn server_connections(&mut self, most: &Setting<u32>) -> usize {
        if most.value == 1 {
            let why = "wrong value `1`: a statement that is finished on the home shard needs two at a time";
            self.fail(&most.origin, why);
        }
        most.value as usize
    }

    fn traces(&mut self, general: &General) -> Option<TraceSettings> {
        let endpoint = &general.trace_endpoint;
        if endpoint.value.is_empty() {
            return None;
        }
        if !["http://", "https://"].iter().any(|scheme| endpoint.value.starts_with(scheme)) {
            let message = format!(
                "`{}` is no endpoint of a collector; expected one such as \"http://127.0.0.1:4317\"",
                endpoint.value
            );
            self.fail(&endpoint.origin, message);
        }
        Some(TraceSettings { endpoint: endpoint.value.as_str().into(), millionths: general.trace_ratio.value.0 })
    }

    fn log_statements(&mut self, general: &General) -> LogStatements {
        let share = &general.log_statement_share;
        if !(1..=100).contains(&share.value) {
            self.fail(&share.origin, format!("log_statement_share is {}; use 1 to 100", share.value));
        }
        LogStatements {
            refused: general.log_refused_statements.value,
            scattered: general.log_scattered_statements.value,
            literals: general.log_statement_literals.value,
            share: share.value,
            per_second: general.log_statements_per_second.value,
        }
    }

    fn listen(&mut self, general: &General) -> Option<ListenSettings> {
        let port = general.port.value;
        if port == 0 {
            self.fail(&general.port.origin, "wrong value `0`: clients need a port they know, such as 6432");
        }
        if general.host.value.is_empty() {
            self.fail(&general.host.origin, "host is empty; name at least one address, such as \"127.0.0.1\"");
        }
        let mut addresses: Vec<SocketAddr> = Vec::new();
        for ip in &general.host.value {
            let address = SocketAddr::new(*ip, port);
            if addresses.contains(&address) {
                self.fail(&general.host.origin, format!("host names {ip} twice; keep one"));
            }
            addresses.push(address);
        }
        if general.metrics_listen.value.0.is_some_and(|metrics| addresses.contains(&metrics)) {
            self.fail(
                &general.metrics_listen.origin,
                "metrics_listen is also the address for clients; use another port",
            );
        }
        let whole_seconds = |d: Duration| (!d.is_zero()).then(|| d.max(Duration::from_secs(1)));
        let keepalive = Keepalive {
            idle: whole_seconds(general.tcp_keepidle.value),
            interval: whole_seconds(general.tcp_keepintvl.value),
            count: Some(general.tcp_keepcnt.value).filter(|count| *count > 0),
        };
        let others = [("advertise", &general.advertise.value, &general.advertise.origin)];
        let others = others.into_iter().filter(|(_, address, _)| !address.is_empty());
        let peers = general.peers.value.iter().map(|peer| ("peers", peer, &general.peers.origin));
        for (key, address, origin) in others.chain(peers) {
            if !is_address(address) {
                self.fail(
                    origin,
                    format!("`{address}` in {key} is no address; write host:port, such as 10.0.0.2:6432"),
                );
            }
        }
        if general.peers.value.len() > MOST_PEERS {
            self.fail(&general.peers.origin, format!("peers names more than {MOST_PEERS} routers"));
        }
        let processors = || std::thread::available_parallelism().map_or(1, usize::from);
        (port > 0 && !addresses.is_empty()).then(|| ListenSettings {
            addresses,
            reuse_port: general.so_reuseport.value,
            keepalive: general.tcp_keepalive.value.then_some(keepalive),
            workers: match general.workers.value {
                0 => processors(),
                workers => usize::from(workers),
            },
            advertise: Some(&general.advertise.value).filter(|own| !own.is_empty()).map(|own| own.as_str().into()),
            peers: general.peers.value.iter().map(|peer| peer.as_str().into()).collect(),
        })
    }

    fn timeouts(&mut self, general: &General) -> Option<Timeouts> {
        let limit = |setting: &Setting<Duration>| (!setting.value.is_zero()).then_some(setting.value);
        let needed = [
            ("client_login_timeout", &general.client_login_timeout),
            ("server_connect_timeout", &general.server_connect_timeout),
            ("catalog_refresh_interval", &general.catalog_refresh_interval),
            ("server_check_interval", &general.server_check_interval),
        ];
        for (key, setting) in needed {
            if setting.value.is_zero() {
                self.fail(&setting.origin, format!("{key} = 0 would wait for ever; give it a time, such as \"15s\""));
            }
        }
        if general.two_phase_grace.value.is_zero() {
            let message = "two_phase_grace = 0 would end transactions that are just being committed; give it a time, such as \"30s\"";
            self.fail(&general.two_phase_grace.origin, message);
        }
        Some(Timeouts {
            client_login: general.client_login_timeout.value,
            limits: TimeLimits::default().with(&wishes(general)),
            server_connect: general.server_connect_timeout.value,
            server_login: limit(&general.server_login_timeout),
            server_idle: limit(&general.server_idle_timeout),
            server_lifetime: limit(&general.server_lifetime),
            server_check: general.server_check_interval.value,
            dns: limit(&general.dns_max_ttl),
            shutdown: general.shutdown_timeout.value,
            shutdown_clients: general.shutdown_client_timeout.value,
            shutdown_delay: general.shutdown_delay.value,
            autoreload: limit(&general.autoreload),
            two_phase_grace: general.two_phase_grace.value,
            deadlock: limit(&general.deadlock_timeout),
            catalog_refresh: general.catalog_refresh_interval.value,
        })
    }

    fn breakers(&mut self, general: &General) -> BreakerSettings {
        if general.breaker_error_percent.value > 100 {
            self.fail(&general.breaker_error_percent.origin, "breaker_error_percent is more than 100");
        }
        let (open, longest) = (&general.breaker_open_time, &general.breaker_max_open_time);
        if longest.value < open.value {
            self.fail(&longest.origin, "breaker_max_open_time is less than breaker_open_time");
        }
        BreakerSettings {
            failures: general.breaker_failures.value,
            error_percent: general.breaker_error_percent.value,
            window: general.breaker_window.value,
            open: open.value,
            longest: longest.value,
        }
    }

    fn limits(&mut self, general: &General) -> Option<LimitSettings> {
        let max_client_conn = self.not_zero(&general.max_client_conn, "nobody could connect");
        if general.max_client_conn.value > MOST_CLIENTS {
            self.fail(&general.max_client_conn.origin, format!("max_client_conn is more than {MOST_CLIENTS}"));
        }
        let max_message_size = self.size("max_message_size", &general.max_message_size, 64 * KIB, GIB);
        let plan_cache_size = self.size("plan_cache_size", &general.plan_cache_size, MIB, 64 * GIB);
        let merge_max_bytes = self.size("merge_max_bytes", &general.merge_max_bytes, 64 * KIB, 64 * GIB);
        let memory = match general.memory_limit.value.0 {
            0 => Some(None),
            _ => self.size("memory_limit", &general.memory_limit, MIB, 1024 * GIB).map(Some),
        };
        let sequence_block = self.not_zero(&general.sequence_block, "no value could be taken");
        let share = &general.scatter_pool_share;
        if !(1..=100).contains(&share.value) {
            self.fail(&share.origin, format!("scatter_pool_share is {}; use 1 to 100", share.value));
        }
        let hedged = &general.hedge_max_percent;
        if !(1..=50).contains(&hedged.value) {
            self.fail(&hedged.origin, format!("hedge_max_percent is {}; use 1 to 50", hedged.value));
        }
        Some(LimitSettings {
            max_client_conn: max_client_conn?.get() as usize,
            max_client_conn_per_address: NonZeroU32::new(general.max_client_conn_per_address.value),
            max_login_conn: match general.max_login_conn.value {
                0 => max_client_conn?.get() as usize,
                most => most as usize,
            },
            max_message_size: max_message_size?,
            max_prepared_statements: general.max_prepared_statements.value as usize,
            plan_cache_size: plan_cache_size?,
            scatter_max_shards: NonZeroU32::new(general.scatter_max_shards.value),
            scatter_pool_share: share.value.clamp(1, 100),
            pool_queue_size: NonZeroU32::new(general.pool_queue_size.value),
            merge_max_bytes: merge_max_bytes?,
            memory: memory?,
            scatter_max_requests: NonZeroU32::new(general.scatter_max_requests.value),
            sequence_block: sequence_block?,
            restart_timeout: general.restart_timeout.value,
            deadlock_retries: general.deadlock_retries.value,
            max_server_connections: self.server_connections(&general.max_server_connections),
            replicas: ReplicaSettings {
                max_lag: (!general.max_replica_lag.value.is_zero()).then_some(general.max_replica_lag.value),
                max_lag_bytes: Some(general.max_replica_lag_bytes.value.0).filter(|bytes| *bytes > 0),
                read_your_writes: general.read_your_writes.value,
                hedge_after: general.hedge_after.value,
                hedge_max_percent: hedged.value.clamp(1, 50),
            },
        })
    }

    pub(super) fn size(&mut self, key: &str, setting: &Setting<Bytes>, least: u64, most: u64) -> Option<usize> {
        let bytes = setting.value.0;
        if (least..=most).contains(&bytes) {
            return usize::try_from(bytes).ok();
        }
        let show = |bytes: u64| match bytes {
            b if b >= GIB => format!("{}GiB", b / GIB),
            b if b >= MIB => format!("{}MiB", b / MIB),
            b => format!("{}KiB", b / KIB),
        };
        self.fail(&setting.origin, format!("{key} is {bytes} bytes; use {} to {}", show(least), show(most)));
        None
    }

    fn client_tls(&mut self, general: &General) -> Option<TlsSettings> {
        let mode = &general.client_tls_sslmode;
        let identity = self.identity("client", &general.client_tls_cert_file, &general.client_tls_key_file);
        let ca_file = self.readable(&general.client_tls_ca_file, "client_tls_ca_file");
        if mode.value == SslMode::Disable {
            if identity.is_some() {
                let message = "client_tls_cert_file is not used, client_tls_sslmode is \"disable\"; set it to \"prefer\" or \"require\"";
                self.warn(&general.client_tls_cert_file.origin, message);
            }
        } else if general.client_tls_cert_file.value.as_os_str().is_empty() {
            let message = format!(
                "client_tls_sslmode = \"{}\" needs client_tls_cert_file and client_tls_key_file",
                mode.value.word()
            );
            self.fail(&mode.origin, message);
        }
        if verifies(mode.value) && ca_file.is_none() {
            let message = format!(
                "client_tls_sslmode = \"{}\" needs client_tls_ca_file, the authorities that sign the clients' certificates",
                mode.value.word()
            );
            self.fail(&mode.origin, message);
        }
        Some(TlsSettings { mode: mode.value, identity, ca_file })
    }

    fn server_tls(&mut self, general: &General) -> Option<TlsSettings> {
        let mode = &general.server_tls_sslmode;
        let identity = self.identity("server", &general.server_tls_cert_file, &general.server_tls_key_file);
        let ca_file = self.readable(&general.server_tls_ca_file, "server_tls_ca_file");
        if ca_file.is_some() && !verifies(mode.value) {
            let message = format!(
                "server_tls_ca_file is not used, server_tls_sslmode = \"{}\" checks no certificate; set it to \"verify-full\"",
                mode.value.word()
            );
            self.warn(&general.server_tls_ca_file.origin, message);
        }
        Some(TlsSettings { mode: mode.value, identity, ca_file })
    }

    fn peer_tls(&mut self, general: &General) -> Option<TlsSettings> {
        let mode = &general.peer_tls_sslmode;
        let ca_file = self.readable(&general.peer_tls_ca_file, "peer_tls_ca_file");
        if ca_file.is_some() && !verifies(mode.value) {
            let message = format!(
                "peer_tls_ca_file is not used, peer_tls_sslmode = \"{}\" checks no certificate; set it to \"verify-ca\"",
                mode.value.word()
            );
            self.warn(&general.peer_tls_ca_file.origin, message);
        }
        let (cert, key) = (&general.client_tls_cert_file.value, &general.client_tls_key_file.value);
        // What is wrong with these is said of client_tls.
        let given = !cert.as_os_str().is_empty() && !key.as_os_str().is_empty();
        let identity =
            given.then(|| self.identity("client", &general.client_tls_cert_file, &general.client_tls_key_file));
        Some(TlsSettings { mode: mode.value, identity: identity.flatten(), ca_file })
    }

    fn identity(&mut self, side: &str, cert: &Setting<PathBuf>, key: &Setting<PathBuf>) -> Option<TlsIdentity> {
        let cert_file = self.readable(cert, &format!("{side}_tls_cert_file"));
        let key_file = self.readable(key, &format!("{side}_tls_key_file"));
        let mut lonely = |origin: &Origin, has: &str, lacks: &str| {
            self.fail(origin, format!("{side}_tls_{has} without {side}_tls_{lacks}; give both"));
        };
        match (cert_file, key_file) {
            (Some(cert_file), Some(key_file)) => return Some(TlsIdentity { cert_file, key_file }),
            (Some(_), None) => lonely(&cert.origin, "cert_file", "key_file"),
            (None, Some(_)) => lonely(&key.origin, "key_file", "cert_file"),
            (None, None) => {}
        }
        None
    }
}

/// What [general] says of time.
fn wishes(general: &General) -> TimeWishes {
    time_wishes([
        Some(&general.query_timeout),
        Some(&general.scatter_timeout),
        Some(&general.transaction_timeout),
        Some(&general.idle_transaction_timeout),
        Some(&general.client_idle_timeout),
        Some(&general.query_wait_timeout),
        Some(&general.client_write_timeout),
        Some(&general.cancel_grace),
        Some(&general.failover_timeout),
        Some(&general.key_wait_timeout),
        Some(&general.server_connect_timeout),
        Some(&general.server_login_timeout),
        Some(&general.log_slow_statements),
    ])
}

/// In the order of [`Limit::ALL`]; 0 is no limit.
pub(super) fn time_wishes(said: [Option<&Setting<Duration>>; Limit::ALL.len()]) -> TimeWishes {
    let mut wishes = TimeWishes::default();
    for (limit, setting) in Limit::ALL.into_iter().zip(said) {
        if let Some(setting) = setting {
            wishes.set(limit, (!setting.value.is_zero()).then_some(setting.value));
        }
    }
    wishes
}

fn verifies(mode: SslMode) -> bool {
    matches!(mode, SslMode::VerifyCa | SslMode::VerifyFull)
}

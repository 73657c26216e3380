//! `Settings`: validated, one small struct per subsystem.

// `[general]` in a comment is the section of the file, not a link.
#![allow(rustdoc::broken_intra_doc_links)]

mod build;
pub mod document;
pub mod error;
pub mod file;
pub mod hba;
pub mod ident;
pub mod limits;
pub mod placements;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod reference;
pub mod section;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
mod tree;
pub mod units;
pub mod userlist;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub use document::{Document, Placed};
pub use error::{ConfigError, ConfigErrors, Origin};
pub use limits::{TimeLimits, TimeWishes};
pub use units::{AuthType, HedgeAfter, LogFormat, LogLevel, PoolMode, ReadPreference, SslMode, TwoPhaseCommit};

use crate::ids::QualifiedName;
use crate::net::Keepalive;
use crate::secret::Secret;
use crate::topology::Topology;
pub use crate::topology::UniqueRule;

/// One valid configuration. Immutable: a reload makes a new one and swaps it in whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The files that it was read from, as they are named: the configuration itself, certificates, keys, passwords.
    pub files: Vec<PathBuf>,
    pub listen: ListenSettings,
    pub timeouts: Timeouts,
    pub limits: LimitSettings,
    pub breakers: BreakerSettings,
    pub combine: CombineSettings,
    pub map: MapSettings,
    /// Whether a map that stands in the file may place rows elsewhere than they are.
    pub allow_moves: bool,
    /// Of the document that the databases are placed by; `None`: they are placed by the file.
    pub epoch: Option<u64>,
    pub auth: AuthSettings,
    pub client_tls: TlsSettings,
    pub server_tls: TlsSettings,
    /// Shown is the certificate that clients are shown.
    pub peer_tls: TlsSettings,
    pub metrics: MetricsSettings,
    pub log: LogSettings,
    pub console: ConsoleSettings,
    /// Where the router keeps what it has heard of its shards' timelines.
    pub timelines_file: PathBuf,
    /// [general] as it was written, in the order of its declaration.
    pub shown: Vec<Shown>,
    pub users: Vec<User>,
    /// In the order of the file.
    pub databases: Vec<Database>,
    /// What is allowed but rarely meant, to be logged at start and reload.
    pub warnings: Vec<ConfigError>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenSettings {
    /// Never empty.
    pub addresses: Vec<SocketAddr>,
    pub reuse_port: bool,
    /// For client and server connections; `None`: no probes.
    pub keepalive: Option<Keepalive>,
    /// Threads that serve clients, at least 1.
    pub workers: usize,
    /// `host:port` where other routers reach this one; `None`: by its addresses.
    pub advertise: Option<Box<str>>,
    /// Other routers, each `host:port`.
    pub peers: Vec<Box<str>>,
}

/// `None` is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    pub client_login: Duration,
    /// What a database, a user or a session can change.
    pub limits: TimeLimits,
    /// Until the connection is there.
    pub server_connect: Duration,
    /// From then on, until it can be used; `None`: what is left of `server_connect`.
    pub server_login: Option<Duration>,
    pub server_idle: Option<Duration>,
    pub server_lifetime: Option<Duration>,
    /// Between two looks at who is the primary of a shard.
    pub server_check: Duration,
    /// Between two looks at what the names of servers lead to; `None`: they are looked up for new connections alone.
    pub dns: Option<Duration>,
    pub shutdown: Duration,
    pub shutdown_clients: Duration,
    pub shutdown_delay: Duration,
    /// How often the configuration's files are looked at; `None`: they are not.
    pub autoreload: Option<Duration>,
    pub two_phase_grace: Duration,
    /// `None`: deadlocks over shards are not looked for.
    pub deadlock: Option<Duration>,
    pub catalog_refresh: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitSettings {
    pub max_client_conn: usize,
    /// `None`: no limit.
    pub max_client_conn_per_address: Option<NonZeroU32>,
    /// Of those who have not logged in.
    pub max_login_conn: usize,
    /// Bytes of one message with its header, at most 1 GiB.
    pub max_message_size: usize,
    /// On each server connection; 0: none is kept.
    pub max_prepared_statements: usize,
    /// Bytes of cached analyses.
    pub plan_cache_size: usize,
    /// Shards that one statement may read; `None`: all.
    pub scatter_max_shards: Option<NonZeroU32>,
    /// Of a hundred connections of a pool, those that statements over several shards may have; 1 to 100.
    pub scatter_pool_share: u32,
    /// Clients that may wait for a pool; `None`: any number.
    pub pool_queue_size: Option<NonZeroU32>,
    /// Bytes that one statement's merge may hold.
    pub merge_max_bytes: usize,
    /// Bytes that all statements may hold together; `None`: no limit.
    pub memory: Option<usize>,
    /// Shards at which all statements over several may be; `None`: any number.
    pub scatter_max_requests: Option<NonZeroU32>,
    /// Values of a sequence that are taken at a time.
    pub sequence_block: NonZeroU32,
    /// How long the only server of a shard is waited for.
    pub restart_timeout: Duration,
    /// Further runs of a statement that falls victim to deadlocks.
    pub deadlock_retries: u32,
    /// Of each server; 0: no limit.
    pub max_server_connections: usize,
    pub replicas: ReplicaSettings,
}

/// Which replicas are fresh enough to be read. `None`: all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplicaSettings {
    pub max_lag: Option<Duration>,
    pub max_lag_bytes: Option<u64>,
    pub read_your_writes: bool,
    pub hedge_after: HedgeAfter,
    pub hedge_max_percent: u32,
}

/// When a server is left alone, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerSettings {
    /// Failures in a row; 0: it never is.
    pub failures: u32,
    /// Of the uses within `window`; 0: they are not counted.
    pub error_percent: u32,
    pub window: Duration,
    /// At first.
    pub open: Duration,
    /// At most, not less than `open`.
    pub longest: Duration,
}

/// Reads that a Postgres finishes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CombineSettings {
    /// Rows that one statement may pull from the shards.
    pub max_rows: u64,
    /// Bytes that one statement may pull, as Postgres sends them in binary.
    pub max_bytes: u64,
    /// Connections for each user to each server that finishes.
    pub pool_size: NonZeroU32,
    /// Those beside the shards.
    pub servers: Vec<CombineServer>,
}

/// Where the shard map comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MapSettings {
    File {
        /// Where the maps that were served are kept; `None`: nowhere.
        history: Option<PathBuf>,
        /// Bytes that they may take.
        room: u64,
        /// How long a router that is gone stays in the list of those that share the directory.
        router_ttl: Duration,
    },
    Etcd(Box<EtcdSettings>),
}

/// How etcd is reached, and what of it is ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EtcdSettings {
    /// Never empty; all with TLS or none.
    pub endpoints: Vec<Box<str>>,
    pub tls: bool,
    /// Authorities that we trust; `None`: those of the operating system.
    pub ca_file: Option<PathBuf>,
    pub identity: Option<TlsIdentity>,
    pub login: Option<(Box<str>, Secret)>,
    /// Without a slash at its end.
    pub prefix: Box<str>,
    pub request_timeout: Duration,
    pub check_interval: Duration,
    pub router_ttl: Duration,
    pub copy_file: PathBuf,
    pub start_timeout: Duration,
    /// Bytes that earlier maps may take.
    pub room: u64,
    /// Where the users that stand there are kept; `None`: they are not asked for.
    pub users_file: Option<PathBuf>,
}

/// A Postgres that finishes reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CombineServer {
    pub host: Arc<str>,
    pub port: u16,
    /// `None`: the name of the logical database.
    pub dbname: Option<Arc<str>>,
}

/// TLS with one side. Paths are absolute or relative to the working directory; each file could be read at load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSettings {
    pub mode: SslMode,
    /// Certificate chain and key that we show; always given for clients when `mode` is not `Disable`.
    pub identity: Option<TlsIdentity>,
    /// Authorities that we trust; `None`: those of the operating system (for shards).
    pub ca_file: Option<PathBuf>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsIdentity {
    pub cert_file: PathBuf,
    pub key_file: PathBuf,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricsSettings {
    pub listen: Option<SocketAddr>,
    /// The metrics name the keys that are asked for most.
    pub hot_keys: bool,
    pub traces: Option<TraceSettings>,
}

/// Where statements are told to as traces, and which part of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceSettings {
    /// `http://` or `https://`.
    pub endpoint: Arc<str>,
    pub millionths: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogSettings {
    pub level: LogLevel,
    pub format: LogFormat,
    pub connections: bool,
    pub disconnections: bool,
    pub statements: LogStatements,
}

/// Which statements the log tells of, beside those that take longer than [`limits::Limit::LogSlow`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogStatements {
    pub refused: bool,
    pub scattered: bool,
    /// Literals are shown.
    pub literals: bool,
    /// Of a hundred such statements; 1 to 100.
    pub share: u32,
    /// Of all sessions together; 0: no limit.
    pub per_second: u32,
}

/// How clients prove who they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthSettings {
    pub auth_type: AuthType,
    /// For `cert` and `hba`: the entries that say so.
    pub hba: Option<Arc<hba::Hba>>,
    pub idents: Arc<ident::IdentMaps>,
    /// Where the secret is of which the salts of strangers are made, where that was said.
    pub mock_key_file: Option<PathBuf>,
    /// Failed logins that are let pass; `None`: all.
    pub failures: Option<FailureSettings>,
    /// How a database's home shard is asked for users; `None`: it is not.
    pub query: Option<AuthQuerySettings>,
}

/// See `auth_query`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthQuerySettings {
    /// `None`: the router's own.
    pub text: Option<Arc<str>>,
    pub ttl: Duration,
    pub timeout: Duration,
}

/// See `auth_failure_limit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailureSettings {
    pub limit: NonZeroU32,
    /// Not zero.
    pub interval: Duration,
}

/// Who may use the admin console.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsoleSettings {
    pub admins: Vec<Arc<str>>,
    pub stats: Vec<Arc<str>>,
    /// Also from other machines without TLS.
    pub plaintext: bool,
}

/// The keys of [general] whose new values hold from the next start on.
pub const AT_START: [&str; 6] =
    ["advertise", "workers", "log_format", "so_reuseport", "timelines_file", "auth_mock_key_file"];

/// A setting as it may be shown to operators: no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    pub key: &'static str,
    pub value: String,
    pub default: &'static str,
    /// Another value holds without a new start.
    pub changeable: bool,
}

/// A user that may log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    pub name: Arc<str>,
    /// As in the file: clear text, a SCRAM verifier or `md5...`. `None` only where no entry or method asks for one.
    pub password: Option<Secret>,
    /// `None`: every database.
    pub databases: Option<Vec<Arc<str>>>,
    /// Clients at one time; `None`: any number.
    pub max_clients: Option<NonZeroU32>,
    pub pool_size: Option<NonZeroU32>,
    pub pool_mode: Option<PoolMode>,
    pub times: TimeWishes,
    /// Of its connections to servers; `None`: as the database says.
    pub server_connect: Option<Duration>,
    /// `Some(None)`: what is left of `server_connect`.
    pub server_login: Option<Option<Duration>>,
    pub read_preference: Option<ReadPreference>,
    /// See `read_preference_hints`.
    pub takes_hints: bool,
    pub server: Login,
}

/// How we log in to a Postgres server. Without a password only a server that trusts us lets us in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    pub user: Arc<str>,
    /// Clear text.
    pub password: Option<Secret>,
    /// Without a password: the SCRAM verifier by which clients show what to log in with.
    pub verifier: Option<Secret>,
}

/// A logical database: what clients connect to by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Database {
    pub name: Arc<str>,
    pub topology: Arc<Topology>,
    pub keys: KeySettings,
    /// `None`: as all connections to servers.
    pub server_connect: Option<Duration>,
    pub server_login: Option<Option<Duration>>,
    /// Clients at one time; `None`: any number.
    pub max_clients: Option<NonZeroU32>,
    pub pool: PoolSettings,
    pub times: TimeWishes,
    /// For the router's own work on the shards; `None` when no user may connect to this database.
    pub router: Option<Login>,
    pub two_phase_commit: TwoPhaseCommit,
    pub read_preference: ReadPreference,
    /// Functions declared to read and write no sharded table.
    pub safe_functions: Vec<QualifiedName>,
    pub uniques: Vec<UniqueRule>,
}

/// What one value of a sharding key may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeySettings {
    /// Statements a second; `None`: any number.
    pub rate: Option<NonZeroU32>,
    /// Statements at one time; `None`: any number.
    pub at_once: Option<NonZeroU32>,
}

/// For each shard and user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolSettings {
    pub mode: PoolMode,
    pub size: NonZeroU32,
    /// Kept open when idle; at most `size`.
    pub min_size: u32,
}

/// A duration as in the file: `"500ms"`, `"5s"`.
///
/// # Errors
/// Says what is expected.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    units::Scalar::parse(text)
}

/// What a process needs before it has the map.
#[derive(Clone, Debug)]
pub struct Early {
    pub map: MapSettings,
    pub log: LogSettings,
    pub workers: usize,
}

/// A file that was read, and is not settings yet: the shard map may be elsewhere.
#[derive(Clone, Debug)]
pub struct Draft(build::Source);

impl Draft {
    /// Reads the file and the environment variables `PGLOOM_*`.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn load(path: &Path) -> Result<Self, ConfigErrors> {
        let shown = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|e| {
            let message = format!(
                "cannot be read: {e}; start from config/examples/minimal.toml, or name another file with --config"
            );
            ConfigErrors(vec![ConfigError { file: shown.as_str().into(), origin: Origin::Default, message }])
        })?;
        // A variable that is not UTF-8 can't be one of ours.
        let variables = std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
        let ours = variables.filter(|(name, _)| name.starts_with("PGLOOM_"));
        let mut draft = Self::new(&shown, &text, path.parent().unwrap_or(Path::new("")), ours.collect());
        draft.0.path = Some(path.to_owned());
        Ok(draft)
    }

    /// `file` is the name in messages, relative paths start at `directory`, `environment` overrides [general].
    pub fn new(file: &str, text: &str, directory: &Path, environment: HashMap<String, String>) -> Self {
        let (file, text, directory) = (file.to_owned(), text.to_owned(), directory.to_owned());
        Self(build::Source { path: None, file, text, directory, environment, console: HashMap::new(), users: None })
    }

    /// The same with settings of `[general]` that go before the file and the environment.
    pub fn with_said<'a>(&self, said: impl IntoIterator<Item = (&'a String, &'a String)>) -> Self {
        let mut draft = self.clone();
        draft.0.console.extend(said.into_iter().map(|(key, value)| (key.clone(), value.clone())));
        draft
    }

    /// The same with the databases placed by this document, a JSON text.
    ///
    /// # Errors
    /// They cannot be, see [`placements::with_map`], or the file would say something else than the document.
    pub fn with_map(&self, map: &str) -> Result<Self, String> {
        let mut draft = self.clone();
        draft.0.text = placements::with_map(&draft.0.text, map)?;
        let written = draft.map_text().map_err(|errors| errors.to_string())?;
        match document::places_alike(map, &written) {
            Ok(true) => Ok(draft),
            Ok(false) => Err("what the map says cannot be written into the file".to_owned()),
            Err(errors) => Err(errors.to_string()),
        }
    }

    /// The same with the users that stand in etcd, where the file says that some do: a text as that of auth_file.
    pub fn with_users(&self, users: &str) -> Self {
        let mut draft = self.clone();
        draft.0.users = Some(users.to_owned());
        draft
    }

    /// The map that stands in the file, as a document without epoch.
    ///
    /// # Errors
    /// It is not TOML, or has no databases.
    pub fn map_text(&self) -> Result<String, ConfigErrors> {
        document::from_config(&self.0.file, &self.0.text)
    }

    /// The text of the file.
    pub fn text(&self) -> &str {
        &self.0.text
    }

    /// Where the map comes from.
    ///
    /// # Errors
    /// All that is wrong with that part of the file.
    pub fn map_source(&self) -> Result<MapSettings, ConfigErrors> {
        build::map_settings(&self.0)
    }

    /// What is known before the map is.
    ///
    /// # Errors
    /// As [`Self::map_source`], and what is wrong with `[general]`.
    pub fn early(&self) -> Result<Early, ConfigErrors> {
        build::early(&self.0)
    }

    /// `map`: the document that places the databases, where the file does not.
    ///
    /// # Errors
    /// All that is wrong, not only the first.
    pub fn settings(&self, map: Option<&Document>) -> Result<Settings, ConfigErrors> {
        build::settings(&self.0, map)
    }
}

impl Settings {
    /// Reads and checks a file that says where all rows lie.
    ///
    /// # Errors
    /// As [`Draft::settings`].
    pub fn load(path: &Path) -> Result<Self, ConfigErrors> {
        Draft::load(path)?.settings(None)
    }

    /// Checks `text`, as [`Draft::new`] takes it.
    ///
    /// # Errors
    /// As [`Draft::settings`].
    pub fn parse(
        file: &str,
        text: &str,
        directory: &Path,
        environment: HashMap<String, String>,
    ) -> Result<Self, ConfigErrors> {
        Draft::new(file, text, directory, environment).settings(None)
    }

    /// The same with the databases placed by another document.
    ///
    /// # Errors
    /// It does not place all of them, or as the other settings allow.
    pub fn placed_by(&self, document: &Document) -> Result<Self, String> {
        let mut settings = self.clone();
        for database in &mut settings.databases {
            let name = &database.name;
            let placed = document
                .placed(name)
                .ok_or_else(|| format!("it places no database `{name}`, which this router serves"))?;
            if !placed.uniques.is_empty() && database.two_phase_commit != TwoPhaseCommit::On {
                return Err(format!("database `{name}` has uniques, which need two_phase_commit = \"on\" here"));
            }
            (database.topology, database.uniques) = (Arc::clone(&placed.topology), placed.uniques.clone());
        }
        settings.epoch = document.epoch;
        Ok(settings)
    }

    /// What the router itself writes, by the keys that name it, each with a file that it must be able to write for that: timelines where a
    /// primary can be an old one.
    pub fn kept_files(&self) -> Vec<(&'static str, PathBuf, PathBuf)> {
        let mut shards = self.databases.iter().flat_map(|database| &database.topology.shards);
        let timelines =
            shards.any(|shard| shard.servers.len() > 1).then(|| ("timelines_file", self.timelines_file.clone()));
        let map = match &self.map {
            MapSettings::Etcd(etcd) => Some(("copy_file", etcd.copy_file.clone())),
            MapSettings::File { history, .. } => history.clone().map(|directory| ("history_directory", directory)),
        };
        let users = match &self.map {
            MapSettings::Etcd(etcd) => etcd.users_file.clone().map(|file| ("users_file", file)),
            MapSettings::File { .. } => None,
        };
        let probe = |(key, path): (&'static str, PathBuf)| {
            // The directory is made with those above it, when it is needed.
            let there = path.ancestors().find(|path| path.exists()).map(|there| there.join("0.json"));
            let file = there.filter(|_| key == "history_directory").unwrap_or_else(|| path.clone());
            (key, path, file)
        };
        timelines.into_iter().chain(map).chain(users).map(probe).collect()
    }

    pub fn database(&self, name: &str) -> Option<&Database> {
        self.databases.iter().find(|database| &*database.name == name)
    }

    pub fn user(&self, name: &str) -> Option<&User> {
        self.users.iter().find(|user| &*user.name == name)
    }
}

impl User {
    pub fn may_connect(&self, database: &str) -> bool {
        self.databases.as_ref().is_none_or(|names| names.iter().any(|name| &**name == database))
    }

    /// The pool that this user has on each shard of `database`.
    pub fn pool(&self, database: &Database) -> PoolSettings {
        let size = self.pool_size.unwrap_or(database.pool.size);
        PoolSettings {
            mode: self.pool_mode.unwrap_or(database.pool.mode),
            size,
            min_size: database.pool.min_size.min(size.get()),
        }
    }
}

//! Builds each part and hands it what it needs; the only file that knows them all.

mod accounts;
mod doors;
pub mod live;
pub mod map;
mod moves;
pub mod reading;
mod scrape;
pub mod shared_users;
pub mod strangers;
mod watch;
mod words;

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use ring::rand::{SecureRandom, SystemRandom};
use tokio::net::{TcpListener, TcpSocket};

use crate::admin::UserView;
use crate::backend::asked::AuthQuery;
use crate::backend::breaker::BreakerLimits;
use crate::backend::breakers::Breakers;
use crate::backend::cluster::{Database, DatabaseSettings, Look, Membership};
use crate::backend::connector::{Credentials, ServerAccess};
use crate::backend::fanout::Fanout;
use crate::backend::hedge::HedgeSettings;
use crate::backend::names::Names;
use crate::backend::passed::{KeyRing, PassedKeys};
use crate::backend::pool::PoolLimits;
use crate::backend::prepared::StatementRegistry;
use crate::backend::quota::Quotas;
use crate::backend::servers::ServerBook;
use crate::backend::settings::SettingsTable;
use crate::backend::timelines::Timelines;
use crate::config::{self, BreakerSettings, PoolMode, Settings, SslMode, TlsSettings, TwoPhaseCommit};
pub use crate::control::live::Ending;
use crate::control::{self, timelines};
use crate::fault::Fault;
use crate::ids::ShardId;
use crate::metrics::Metrics;
use crate::net::descriptors;
use crate::plan::cache::PlanCache;
use crate::scope::{Crowd, Wish};
use crate::secret::Secret;
use crate::server::Front;
use crate::server::console::ConsoleRules;
use crate::server::failures::{FailureLimits, Failures};
use crate::server::handshake::HandshakeContext;
use crate::server::http::{self, Readiness, Report, Unready};
use crate::session::desk::Desks;
use crate::session::logged::StatementLog;
use crate::session::{SessionLimits, Shared};
use crate::tls::{ClientCertificates, ClientTls, ClientTlsMode, ServerTls, ServerTlsFiles, ServerTlsMode, TlsError};
use crate::topology::Server;
use crate::traces::{Rules, Tracer};
use crate::wire::auth::{MockKey, ScramVerifier, VerifierError};
use live::Live;
use scrape::Watcher;

/// Idle connections are looked at this often.
const SWEEP: Duration = Duration::from_secs(5);
/// A shard that does not answer is tried again this often.
const PROBE: Duration = Duration::from_secs(2);
/// Prepared transactions that nobody finished are looked for at most this often, and twice in their time of grace.
const RESOLVE: Duration = Duration::from_secs(15);
/// Decision rows that nobody needs any more are removed this often.
const FORGET: Duration = Duration::from_secs(30);
/// Averages of SHOW STATS are of so long.
const STATS_PERIOD: Duration = Duration::from_secs(60);
/// Between two looks at who is still there when the router ends.
const DRAIN: Duration = Duration::from_millis(20);
/// Prepared statements that one client may name.
const CLIENT_STATEMENTS: usize = 10_000;

/// What keeps a router from starting.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(
        "cannot listen on {address}: {source}; choose another listen_addr or listen_port, or stop what listens there"
    )]
    Listen { address: SocketAddr, source: io::Error },
    #[error("{0}")]
    Tls(#[from] TlsError),
    #[error("user \"{user}\": {source}")]
    Password { user: String, source: VerifierError },
    #[error("the system's random number generator does not work")]
    Random,
    #[error("{0}")]
    Traces(String),
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// A router whose sockets are open.
pub struct Router {
    live: Arc<Live>,
}

impl Router {
    /// Builds everything and opens the sockets. Shards need not be up.
    pub async fn start(settings: &Settings, mock: &Secret) -> Result<Self, StartError> {
        descriptors::raise_limit();
        let room = descriptors::room_for_clients();
        if room < settings.limits.max_client_conn {
            tracing::warn!(
                room,
                "max_client_conn is more than the process may open files for: LimitNOFILE=, ulimit -n"
            );
        }
        Ok(Self { live: Live::start(settings, mock)? })
    }

    /// Where clients are taken in.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.live.addresses()
    }

    /// What changes the configuration while the router runs.
    pub fn live(&self) -> Arc<Live> {
        Arc::clone(&self.live)
    }

    /// Serves until `stop` resolves, then drains: no new clients, idle ones are told, transactions may finish for a time.
    pub async fn run(self, stop: impl Future<Output = Ending>) {
        self.live.serve().await;
        let live = Arc::clone(&self.live);
        let late = tokio::spawn(async move { live.follow_late().await });
        let watch = tokio::spawn(watch::follow(Arc::clone(&self.live)));
        let ending = stop.await;
        late.abort();
        watch.abort();
        self.live.be_unready();
        let timeouts = self.live.settings().timeouts;
        if ending == Ending::OfClients {
            tokio::time::sleep(timeouts.shutdown_delay).await;
        }
        self.live.stop_accepting().await;
        let front = self.live.front.load_full();
        let started = Instant::now();
        if ending == Ending::OfClients {
            let limit = timeouts.shutdown_clients.min(timeouts.shutdown);
            while clients(&front) > 0 && started.elapsed() < limit {
                tokio::time::sleep(DRAIN).await;
            }
        }
        let patience = if ending == Ending::AtOnce { Duration::ZERO } else { timeouts.shutdown };
        drain(&front, started + patience).await;
        self.live.end().await;
    }
}

/// Sockets of clients, without those of operators.
fn clients(front: &Front) -> usize {
    front.open.load(Ordering::Acquire).saturating_sub(front.shared.operators.len())
}

/// Asks all sessions to end; those in a transaction have until then to finish it.
async fn drain(front: &Front, deadline: Instant) {
    let cancels = &front.shared.cancels;
    // What waits for an operator may end.
    front.shared.desks.resume();
    // Also those that have just come.
    while front.open.load(Ordering::Acquire) > 0 && Instant::now() < deadline {
        cancels.ask_all(Wish::Drain);
        front.shared.operators.ask_all(Wish::Drain);
        tokio::time::sleep(DRAIN).await;
    }
    front.shared.operators.ask_all(Wish::Kill);
    if !cancels.is_empty() {
        tracing::warn!(clients = cancels.len(), "ending sessions that did not finish in time");
        cancels.ask_all(Wish::Kill);
        let last = Instant::now() + Duration::from_secs(2);
        while !cancels.is_empty() && Instant::now() < last {
            tokio::time::sleep(DRAIN).await;
        }
    }
}

fn listen(address: SocketAddr, reuse_port: bool) -> Result<TcpListener, StartError> {
    let bind = || -> io::Result<TcpListener> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        if reuse_port {
            socket.set_reuseport(true)?;
        }
        socket.bind(address)?;
        socket.listen(4096)
    };
    bind().map_err(|source| StartError::Listen { address, source })
}

fn session_limits(settings: &Settings) -> SessionLimits {
    SessionLimits {
        max_message: settings.limits.max_message_size,
        max_statements: CLIENT_STATEMENTS,
        merge_bytes: settings.limits.merge_max_bytes,
        pull_rows: settings.combine.max_rows,
        pull_bytes: settings.combine.max_bytes,
        max_fanout: settings.limits.scatter_max_shards.map_or(usize::MAX, |n| n.get() as usize),
        sequence_block: settings.limits.sequence_block.get() as usize,
        restart_timeout: settings.limits.restart_timeout,
        deadlock_retries: settings.limits.deadlock_retries,
        max_replica_lag: settings.limits.replicas.max_lag,
        max_replica_lag_bytes: settings.limits.replicas.max_lag_bytes,
        read_your_writes: settings.limits.replicas.read_your_writes,
        hedge: HedgeSettings {
            after: settings.limits.replicas.hedge_after,
            most_percent: settings.limits.replicas.hedge_max_percent,
        },
        log_disconnections: settings.log.disconnections,
        log: settings.log.statements,
        hot_key_metrics: settings.metrics.hot_keys,
    }
}

fn trace_rules(settings: &Settings) -> Option<Rules> {
    let traces = settings.metrics.traces.as_ref()?;
    Some(Rules { endpoint: traces.endpoint.to_string(), ratio: f64::from(traces.millionths) / 1e6 })
}

fn fanout(settings: &Settings) -> Arc<Fanout> {
    let fanout = Arc::default();
    set_fanout(&fanout, settings);
    fanout
}

fn set_fanout(fanout: &Fanout, settings: &Settings) {
    let queue = settings.limits.pool_queue_size.map_or(usize::MAX, |n| n.get() as usize);
    fanout.set(settings.limits.scatter_max_requests, queue);
}

/// A name that no other router, and no earlier run of this one, has: it goes into global transaction identifiers.
fn router_name() -> Result<String, StartError> {
    let mut bytes = [0; 8];
    SystemRandom::new().fill(&mut bytes).map_err(|_| StartError::Random)?;
    Ok(format!("{:016x}", u64::from_be_bytes(bytes)))
}

/// `mock`: with what those are deceived who are nobody. The same one for as long as the router runs, or they could tell.
fn handshake_context(
    settings: &Settings,
    tls: Option<ClientTls>,
    mock: Arc<MockKey>,
    failures: Arc<Failures>,
) -> HandshakeContext {
    let mode = match settings.client_tls.mode {
        SslMode::Disable => ClientTlsMode::Disable,
        SslMode::Prefer => ClientTlsMode::Allow,
        SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => ClientTlsMode::Require,
    };
    HandshakeContext {
        tls,
        mode,
        login_timeout: settings.timeouts.client_login,
        stranger_method: accounts::stranger_method(settings),
        mock,
        hba: settings.auth.hba.clone(),
        idents: Arc::clone(&settings.auth.idents),
        failure_limits: settings
            .auth
            .failures
            .map(|failures| FailureLimits { burst: failures.limit, interval: failures.interval }),
        failures,
    }
}

/// With what clients are spoken to over TLS, as the files are now.
fn client_tls(settings: &Settings) -> Result<Option<ClientTls>, StartError> {
    let Some(identity) = &settings.client_tls.identity else { return Ok(None) };
    if settings.client_tls.mode == SslMode::Disable {
        return Ok(None);
    }
    let verifies = matches!(settings.client_tls.mode, SslMode::VerifyCa | SslMode::VerifyFull);
    let clients = match &settings.client_tls.ca_file {
        Some(authorities) if verifies => ClientCertificates::Demanded(authorities),
        Some(authorities) if wants_certificates(settings) => ClientCertificates::Asked(authorities),
        Some(_) | None => ClientCertificates::NotAsked,
    };
    Ok(Some(ClientTls::load(&identity.cert_file, &identity.key_file, clients)?))
}

fn wants_certificates(settings: &Settings) -> bool {
    settings.auth.hba.as_ref().is_some_and(|hba| hba.wants_certificates())
}

fn user_views(settings: &Settings) -> Vec<UserView> {
    let rules = console_rules(&settings.console);
    let view = |user: &config::User| UserView {
        name: user.name.as_ref().into(),
        pool_size: user.pool_size.map(|size| size.get() as usize),
        session_mode: user.pool_mode.map(|mode| mode == PoolMode::Session),
        console: rules.access(&user.name),
        max_clients: user.max_clients.map_or(0, |most| most.get() as usize),
    };
    let mut views: Vec<_> = settings.users.iter().map(view).collect();
    views.sort_by(|a, b| a.name.cmp(&b.name));
    views
}

fn console_rules(settings: &config::ConsoleSettings) -> ConsoleRules {
    let names = |names: &[Arc<str>]| names.iter().map(|name| name.as_ref().into()).collect();
    ConsoleRules { admins: names(&settings.admins), stats: names(&settings.stats), plaintext: settings.plaintext }
}

/// Those who may connect to a database.
fn members(settings: &Settings, database: &str, keys: &KeyRing) -> HashMap<Box<str>, Membership> {
    let able = settings.users.iter().filter(|user| user.may_connect(database));
    let member = |user: &config::User| Membership {
        credentials: credentials(&user.server, keys),
        pool_size: user.pool_size.map(|n| n.get() as usize),
        session_mode: user.pool_mode.map(|mode| mode == PoolMode::Session),
        times: user.times,
        connect_timeout: user.server_connect,
        login_timeout: user.server_login,
        read_preference: user.read_preference,
        takes_hints: user.takes_hints,
    };
    able.map(|user| (user.name.as_ref().into(), member(user))).collect()
}

fn credentials(login: &config::Login, keys: &KeyRing) -> Credentials {
    let passed = login.verifier.as_ref().and_then(|verifier| passed(verifier, keys));
    Credentials { user: login.user.to_string(), password: login.password.clone(), passed }
}

/// What clients show by this verifier. `None`: it is none, which is an error where it is to check a client.
fn passed(verifier: &Secret, keys: &KeyRing) -> Option<Arc<PassedKeys>> {
    let text = std::str::from_utf8(verifier.reveal()).ok()?;
    Some(keys.of(&ScramVerifier::parse(text)?))
}

fn server_tls(settings: &TlsSettings) -> Result<ServerTls, TlsError> {
    let mode = match settings.mode {
        SslMode::Disable => ServerTlsMode::Disable,
        SslMode::Prefer => ServerTlsMode::Prefer,
        SslMode::Require => ServerTlsMode::Require,
        SslMode::VerifyCa => ServerTlsMode::VerifyCa,
        SslMode::VerifyFull => ServerTlsMode::VerifyFull,
    };
    let files = ServerTlsFiles {
        authorities: settings.ca_file.clone(),
        identity: settings.identity.as_ref().map(|i| (i.cert_file.clone(), i.key_file.clone())),
    };
    ServerTls::load(mode, &files)
}

/// How other routers are spoken to.
fn peer_tls(settings: &Settings) -> Result<ServerTls, TlsError> {
    server_tls(&settings.peer_tls)
}

/// The logical databases of a configuration, with no connection made yet.
pub fn databases(settings: &Settings) -> Result<Vec<Arc<Database>>, StartError> {
    let tls = Arc::new(server_tls(&settings.server_tls)?);
    let access = server_access(settings, tls, &Known::new(settings));
    let databases = settings.databases.iter();
    let made = databases.filter_map(|database| {
        Some(Database::new(Arc::clone(&database.name), database_settings(settings, database, &access)?))
    });
    Ok(made.collect())
}

fn server_access(settings: &Settings, tls: Arc<ServerTls>, known: &Known) -> ServerAccess {
    ServerAccess {
        tls,
        keepalive: settings.listen.keepalive,
        connect_timeout: settings.timeouts.server_connect,
        login_timeout: settings.timeouts.server_login,
        max_message: settings.limits.max_message_size,
        max_prepared: settings.limits.max_prepared_statements,
        breakers: Arc::clone(&known.breakers),
        servers: Arc::clone(&known.servers),
        names: Arc::clone(&known.names),
        quotas: Arc::clone(&known.quotas),
        keys: Arc::clone(&known.keys),
        metrics: Arc::clone(&known.metrics),
    }
}

/// What is known of servers, under whichever configuration.
struct Known {
    breakers: Arc<Breakers>,
    servers: Arc<ServerBook>,
    names: Arc<Names>,
    quotas: Arc<Quotas>,
    keys: Arc<KeyRing>,
    metrics: Arc<Metrics>,
}

impl Known {
    fn new(settings: &Settings) -> Self {
        let breakers = Breakers::new(breaker_limits(settings.breakers));
        let quotas = Arc::<Quotas>::default();
        quotas.set_limit(settings.limits.max_server_connections);
        let timelines = timelines::read(&settings.timelines_file).unwrap_or_else(|error| {
            let file = settings.timelines_file.display();
            tracing::error!(%file, %error, "the shards' timelines of before cannot be read: an old primary may pass for the one of now");
            Default::default()
        });
        let servers = Arc::new(ServerBook::new(Timelines::new(timelines)));
        Self { breakers, servers, names: Arc::default(), quotas, keys: Arc::default(), metrics: Metrics::new() }
    }
}

/// `None`: nobody may connect to it, there is nothing to serve.
fn database_settings(
    settings: &Settings,
    database: &config::Database,
    access: &ServerAccess,
) -> Option<DatabaseSettings> {
    Some(DatabaseSettings {
        topology: (*database.topology).clone(),
        access: ServerAccess {
            connect_timeout: database.server_connect.unwrap_or(access.connect_timeout),
            login_timeout: database.server_login.unwrap_or(access.login_timeout),
            ..access.clone()
        },
        limits: PoolLimits {
            size: database.pool.size.get() as usize,
            min_size: database.pool.min_size as usize,
            idle_timeout: settings.timeouts.server_idle,
            lifetime: settings.timeouts.server_lifetime,
            size_setting: "default_pool_size",
            queue: settings.limits.pool_queue_size.map_or(usize::MAX, |n| n.get() as usize),
            share: settings.limits.scatter_pool_share as usize,
        },
        combine_size: settings.combine.pool_size.get() as usize,
        combine: combine_servers(&settings.combine, &database.name),
        own: credentials(database.router.as_ref()?, &access.keys),
        logins: logins(settings, &database.name, &access.keys),
        safe_functions: database.safe_functions.clone(),
        uniques: database.uniques.clone(),
        session_mode: database.pool.mode == PoolMode::Session,
        read_preference: database.read_preference,
        two_phase_commit: database.two_phase_commit,
        times: settings.timeouts.limits.with(&database.times),
        key_rate: database.keys.rate,
        key_places: database.keys.at_once,
        members: members(settings, &database.name, &access.keys),
        auth_query: settings.auth.query.as_ref().map(|query| AuthQuery {
            text: query.text.clone().unwrap_or_else(|| control::users::OWN_QUERY.into()),
            ttl: query.ttl,
            timeout: query.timeout,
        }),
    })
}

fn breaker_limits(settings: BreakerSettings) -> BreakerLimits {
    let BreakerSettings { failures, error_percent, window, open, longest } = settings;
    BreakerLimits { failures, error_percent, window, open, longest }
}

/// As whom clients' statements run on the shards of a database, each once.
fn logins(settings: &Settings, database: &str, keys: &KeyRing) -> Vec<Credentials> {
    let mut logins: Vec<Credentials> = Vec::new();
    for user in settings.users.iter().filter(|user| user.may_connect(database)) {
        let login = credentials(&user.server, keys);
        if !logins.contains(&login) {
            logins.push(login);
        }
    }
    logins
}

/// The servers that finish statements of a logical database.
fn combine_servers(settings: &config::CombineSettings, database: &Arc<str>) -> Vec<Server> {
    let server = |server: &config::CombineServer| {
        Server::new(&server.host, server.port, server.dbname.as_ref().unwrap_or(database))
    };
    settings.servers.iter().map(server).collect()
}

/// Keeps one database's catalog, and the router's knowledge of which shard answers.
async fn watch_database(database: Arc<Database>, health: Arc<Health>, refresh: Duration, looks_for_deadlocks: bool) {
    let mut read_at: Option<Instant> = None;
    let mut prepared = vec![false; database.cluster.load().topology.shards.len()];
    // With what two-phase commit needs; without that the router makes nothing of its own on the shards.
    let mut ids_made = database.two_phase_commit != TwoPhaseCommit::On;
    loop {
        let mut all_well = true;
        let locked = database.own.are_awaited();
        let probes = prepared.iter_mut().enumerate().map(|(at, prepared)| {
            let (shard, database) = (ShardId(at as u16), &database);
            let health = &health;
            async move {
                let tried = probe(database, shard, prepared, looks_for_deadlocks).await;
                let answers = tried.is_ok();
                health.note(database, shard, tried.err());
                answers
            }
        });
        // All at once: one that hangs must not hide what the others say.
        for answers in futures::future::join_all(probes).await {
            all_well &= answers;
        }
        let due = read_at.is_none_or(|at| at.elapsed() >= refresh);
        if due {
            if all_well && !ids_made {
                match control::ids::prepare(&database).await {
                    Ok(()) => ids_made = true,
                    Err(fault) => {
                        tracing::warn!(database = %database.name, error = %fault, "pgloom.unique_id() cannot be made");
                    }
                }
            }
            // Rules first: whoever has a catalog is served.
            let known = match read_at {
                None => control::rules::reload(&database).await,
                Some(_) => Ok(()),
            };
            let read = match known {
                Ok(()) => control::catalog::reload(&database, false, None).await,
                Err(fault) => Err(fault),
            };
            match read {
                Ok(()) => {
                    read_at = Some(Instant::now());
                    database.note_look(Look::Read);
                    control::sizes::read(&database).await;
                }
                Err(fault) => {
                    all_well = false;
                    tracing::warn!(database = %database.name, error = %fault, "the catalog cannot be read");
                    database.note_look(if locked { Look::Locked(fault) } else { Look::Failed(fault) });
                }
            }
        }
        // One that does not answer is looked at again as soon as a shard would be.
        all_well &= control::combine::look(&database, due).await;
        database.stats.tick(Instant::now(), STATS_PERIOD);
        for (_, pools) in database.all_pools() {
            for (_, pool) in pools.iter() {
                pool.sweep(Instant::now());
                pool.fill().await;
            }
            pools.combine().sweep(Instant::now());
            pools.combiners().iter().for_each(|pool| pool.sweep(Instant::now()));
            pools.replicas().for_each(|(_, pool)| pool.sweep(Instant::now()));
        }
        let pause = tokio::time::sleep(if all_well { SWEEP } else { PROBE });
        match database.own.passed.as_ref().filter(|_| locked) {
            // Whoever shows it waits for the catalog.
            Some(passed) => tokio::select! { () = passed.shown() => {}, () = pause => {} },
            None => pause.await,
        }
    }
}

/// Whether a shard answers; at the first answer it gets the tables of our own that it needs.
async fn probe(
    database: &Database,
    shard: ShardId,
    prepared: &mut bool,
    looks_for_deadlocks: bool,
) -> Result<(), Fault> {
    let mut server = control::connect(database, shard).await?;
    if *prepared {
        return Ok(());
    }
    *prepared = true;
    if database.two_phase_commit == TwoPhaseCommit::On
        && let Err(fault) = server.query(crate::commit::decision::SCHEMA).await
    {
        tracing::warn!(database = %database.name, %shard, error = %fault, "pgloom.decision cannot be made");
        *prepared = false;
    }
    let topology = Arc::clone(&database.cluster.load().topology);
    if looks_for_deadlocks
        && topology.shards.len() > 1
        && shard == topology.home
        && let Err(fault) = server.query(control::deadlock::SCHEMA).await
    {
        // Without it deadlocks between clients of one router are still seen.
        tracing::warn!(database = %database.name, %shard, error = %fault, "pgloom.waiting cannot be made");
    }
    Ok(())
}

async fn resolve_database(database: Arc<Database>, grace: Duration, metrics: Arc<Metrics>) {
    // Also where two phases are off now: what they left behind before that is there.
    let mut forgot = Instant::now();
    loop {
        tokio::time::sleep((grace / 2).min(RESOLVE)).await;
        let done = control::resolver::resolve(&database, grace, None).await;
        metrics.resolved(&database.name, done.committed, done.rolled_back, done.in_doubt);
        if database.two_phase_commit == TwoPhaseCommit::On && forgot.elapsed() >= FORGET {
            forgot = Instant::now();
            control::resolver::forget_old(&database, control::resolver::FORGET_AFTER).await;
        }
    }
}

/// Which shards answer, as the watchers found them.
struct Health {
    databases: ArcSwap<Vec<Arc<Database>>>,
    /// The router is about to end.
    ending: AtomicBool,
    failures: Mutex<HashMap<(Arc<str>, ShardId), String>>,
}

impl Health {
    /// These are the databases from now on. What was found of those that are others than before is forgotten.
    fn follow(&self, databases: Vec<Arc<Database>>) {
        let before = self.databases.swap(Arc::new(databases));
        let now = self.databases.load_full();
        let same = |name: &Arc<str>| {
            let known = |all: &[Arc<Database>]| all.iter().find(|database| database.name == *name).map(Arc::as_ptr);
            known(&before) == known(&now)
        };
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).retain(|(name, _), _| same(name));
    }

    fn note(&self, database: &Database, shard: ShardId, failure: Option<Fault>) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (Arc::clone(&database.name), shard);
        match failure {
            Some(fault) => {
                if failures.insert(key, fault.to_string()).is_none() {
                    tracing::warn!(database = %database.name, %shard, error = %fault, "shard does not answer");
                }
            }
            None => {
                if failures.remove(&key).is_some() {
                    tracing::info!(database = %database.name, %shard, "shard answers again");
                }
            }
        }
    }
}

impl Health {
    /// Each shard, and whether it has answered lately.
    fn shards(&self) -> Vec<(String, String, bool)> {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let mut shards = Vec::new();
        for database in self.databases.load().iter() {
            for (at, shard) in database.cluster.load().topology.shards.iter().enumerate() {
                let answers = !failures.contains_key(&(Arc::clone(&database.name), ShardId(at as u16)));
                shards.push((database.name.to_string(), shard.name.to_string(), answers));
            }
        }
        shards
    }
}

/// A shard that is lost is lost to all routers: were they not ready for it, nobody could reach the others. A router that more than half
/// of the shards do not answer is rather cut off itself, and clients are better sent to another one.
impl Readiness for Health {
    fn report(&self) -> Report {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let mut found = Vec::new();
        let (mut able, mut shards, mut lost) = (true, 0, 0);
        if self.ending.load(Ordering::Relaxed) {
            let why = "the router is shutting down".to_owned();
            found.push(Unready { database: String::new(), shard: None, why });
            able = false;
        }
        for database in self.databases.load().iter() {
            let cluster = database.cluster.load();
            if !cluster.catalog_known {
                let why = "the catalog has not been read yet".to_owned();
                found.push(Unready { database: database.name.to_string(), shard: None, why });
                able = false;
            }
            shards += cluster.topology.shards.len();
            for (at, shard) in cluster.topology.shards.iter().enumerate() {
                if let Some(why) = failures.get(&(Arc::clone(&database.name), ShardId(at as u16))) {
                    lost += 1;
                    found.push(Unready {
                        database: database.name.to_string(),
                        shard: Some(shard.name.to_string()),
                        why: why.clone(),
                    });
                }
            }
        }
        Report { ready: able && 2 * lost <= shards, wrong: found }
    }
}

//! `Live`: a running router and its configuration, which another one can replace whole.
//!
//! A new configuration is made ready in full first: every file read, every password parsed, every map compiled, every socket bound. What
//! fails there changes nothing. Then those wait who would work under a map that places rows elsewhere than the old one, until nobody
//! works under the old one (`make_way`); who is still at it when the time is over keeps the old configuration in force. The swap itself
//! cannot fail.

mod certificates;
mod change;
mod steering;

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock, Weak};

use futures::future::BoxFuture;
use tokio::runtime::Handle;
use tokio::sync::{Notify, OwnedMutexGuard, watch};
use tokio::task::JoinSet;

use super::*;
use crate::app::accounts::{Accounts, accounts, derive_beside, mock_among};
use crate::app::doors::{Door, Doors};
use crate::app::moves;
use crate::app::reading::{Instead, Reading, Said};
use crate::app::words;
use crate::backend::traffic::Hold;
use crate::config::document::Head;
use crate::config::{AT_START, ConfigError, ConfigErrors, Document, LogLevel, MapSettings};
use crate::control::etcd::Ways;
use crate::control::live::{Applied, Steering};
use crate::control::map::follow::NotTaken;
use crate::control::map::history::KeptMap;
use crate::control::map::{MapState, MapStatus};
use crate::control::rules::CLOSING;
use crate::fault::{Blame, SqlState};
use crate::memory::Memory;
use crate::server::accept;
use crate::server::handshake::{Account, AuthMethod};
use crate::server::knocking::Knocking;
use crate::server::peers::Peers;
use crate::server::population::{ClientLimits, Population};
use crate::topology::{Moved, Shard};

pub(super) use change::Change;

use certificates::Certificates;
use steering::{describe, note_kept};

/// The map was changed while the configuration was read with the one from before.
const OVERTAKEN: &str = "the shard map has changed meanwhile";

type SetLogLevel = Box<dyn Fn(LogLevel) + Send + Sync>;

/// See the module.
pub struct Live {
    /// For what is done on another thread.
    own: Weak<Self>,
    pub(super) front: Arc<ArcSwap<Front>>,
    health: Arc<Health>,
    known: Known,
    /// What looks names of servers up.
    names: Mutex<JoinSet<()>>,
    clients: Doors,
    watchers: Doors,
    reading: OnceLock<Arc<Reading>>,
    /// Those who go the way to the map, where it is in etcd.
    ways: OnceLock<Arc<Ways>>,
    /// Settings that hold until the configuration is read again. Whoever changes them, or reads it, holds it.
    said: Arc<tokio::sync::Mutex<Said>>,
    /// The warnings of the configuration that was read last.
    warned: Mutex<Vec<ConfigError>>,
    ending: watch::Sender<Option<Ending>>,
    log_level: OnceLock<SetLogLevel>,
    /// Lines of the log that nobody has taken.
    unlogged: Arc<OnceLock<Arc<AtomicU64>>>,
    settings: ArcSwap<Settings>,
    /// The configuration that was read last waits for transactions that were open.
    is_late: AtomicBool,
    late: Notify,
    /// One change at a time.
    state: tokio::sync::Mutex<State>,
}

/// What was made of the configuration of now.
struct State {
    certificates: Certificates,
    /// The jobs of each database.
    jobs: HashMap<Arc<str>, JoinSet<()>>,
    /// Ends what takes too long, in all of them.
    limits: JoinSet<()>,
}

/// What those meet who knock, clients and other routers.
struct Doorstep {
    accounts: Accounts,
    context: HandshakeContext,
    population: Arc<Population>,
    router: Arc<Peers>,
    peer_tls: ServerTls,
}

impl Live {
    pub(super) fn start(settings: &Settings, mock: &Secret) -> Result<Arc<Self>, StartError> {
        let known = Known::new(settings);
        let metrics = Arc::clone(&known.metrics);
        let router = Arc::new(
            Peers::new(
                Arc::clone(&metrics),
                Arc::clone(&known.servers),
                settings.listen.addresses.first().map_or(0, SocketAddr::port),
            )
            .map_err(|_| StartError::Random)?,
        );
        let certificates = Certificates::load(settings, None)?;
        let access = server_access(settings, Arc::clone(&certificates.servers), &known);
        let databases: Vec<_> = settings
            .databases
            .iter()
            .filter_map(|database| {
                Some(Database::new(Arc::clone(&database.name), database_settings(settings, database, &access)?))
            })
            .collect();
        let shared = Arc::new(Shared {
            plans: PlanCache::new(settings.limits.plan_cache_size),
            registry: StatementRegistry::default(),
            settings: SettingsTable::default(),
            cancels: Arc::clone(router.cancels()),
            metrics: Arc::clone(&metrics),
            memory: Memory::new(settings.limits.memory),
            fanout: fanout(settings),
            statement_log: StatementLog::default(),
            operators: Crowd::default(),
            tracer: Tracer::default(),
            desks: Desks::default(),
            buffers: Arc::default(),
            limits: ArcSwap::from_pointee(session_limits(settings)),
            contended: Default::default(),
            router: router_name()?.into(),
            steering: OnceLock::new(),
            map: Arc::default(),
        });
        shared.tracer.configure(trace_rules(settings)).map_err(StartError::Traces)?;
        let context = handshake_context(settings, client_tls(settings)?, Arc::new(MockKey::new(mock)), Arc::default());
        let counts = Default::default();
        let peer_tls = peer_tls(settings)?;
        let context = Doorstep {
            accounts: accounts(settings, &known.keys, None)?,
            context,
            population: Arc::default(),
            router,
            peer_tls,
        };
        let front = front(settings, &databases, Arc::clone(&shared), context, counts);
        let health = Arc::new(Health {
            databases: ArcSwap::from_pointee(databases),
            failures: Mutex::default(),
            ending: AtomicBool::new(false),
        });
        let unlogged = Arc::<OnceLock<_>>::default();
        metrics.set_source(Watcher {
            health: Arc::clone(&health),
            unlogged: Arc::clone(&unlogged),
            map: Arc::clone(&shared.map),
            shared: Arc::downgrade(&shared),
        });
        let live = Arc::new_cyclic(|own| Self {
            own: Weak::clone(own),
            front: Arc::new(ArcSwap::from_pointee(front)),
            health,
            known,
            names: Mutex::default(),
            clients: Doors::default(),
            watchers: Doors::default(),
            reading: OnceLock::new(),
            ways: OnceLock::new(),
            said: Arc::default(),
            warned: Mutex::default(),
            ending: watch::Sender::new(None),
            log_level: OnceLock::new(),
            unlogged,
            settings: ArcSwap::from_pointee(settings.clone()),
            is_late: AtomicBool::new(false),
            late: Notify::new(),
            state: tokio::sync::Mutex::new(State { certificates, jobs: HashMap::new(), limits: JoinSet::new() }),
        });
        live.clients.add(live.clients.missing(&settings.listen.addresses, settings.listen.reuse_port)?);
        live.watchers.add(live.watchers.missing(settings.metrics.listen.as_slice(), settings.listen.reuse_port)?);
        let steering: Weak<dyn Steering> = Arc::downgrade(&live) as Weak<dyn Steering>;
        let _ = shared.steering.set(steering);
        Ok(live)
    }

    /// Where [`Steering::reload`] finds the configuration.
    pub fn read_by(&self, reading: Reading) {
        if let Some(file) = reading.map_file() {
            let state = MapState::new("file", &file.display().to_string());
            match reading.instead() {
                None => note_kept(&state, reading.keep()),
                Some(Instead { kept, why }) => state.update(|status| {
                    (status.source, status.rejected) = ("copy", 1);
                    describe(status, &kept.head);
                    status.confirmed = Instant::now().checked_sub(kept.since.elapsed().unwrap_or_default());
                    status.problem = Some(format!("not served: {}", why.lines().collect::<Vec<_>>().join("; ")).into());
                }),
            }
            self.share_map(&state);
        }
        let _ = self.reading.set(Arc::new(reading));
    }

    /// Who is told of another way to the map.
    pub fn lead_by(&self, ways: Arc<Ways>) {
        let _ = self.ways.set(ways);
    }

    /// Resolves when somebody says that the router is to end.
    pub async fn asked_to_end(&self) -> Ending {
        let mut asked = self.ending.subscribe();
        let ending = asked.wait_for(Option::is_some).await.map(|ending| *ending);
        // The sender lives as long as this.
        ending.ok().flatten().unwrap_or(Ending::OfTransactions)
    }

    /// How the level of the log is changed, and how many of its lines are lost.
    pub fn log_by(&self, set: impl Fn(LogLevel) + Send + Sync + 'static, dropped: Arc<AtomicU64>) {
        let _ = self.log_level.set(Box::new(set));
        let _ = self.unlogged.set(dropped);
    }

    /// What is known of the map is shown from now on; the name of this router.
    pub(super) fn share_map(&self, state: &Arc<MapState>) -> String {
        let shared = &self.front.load().shared;
        let _ = shared.map.set(Arc::clone(state));
        shared.router.to_string()
    }

    /// What is known of a map that stands in a file, and the name of this router.
    pub(super) fn map_of_file(&self) -> Option<(String, Arc<MapState>)> {
        let shared = &self.front.load().shared;
        let is_in_file = self.reading.get().is_some_and(|reading| reading.map_file().is_some());
        Some((shared.router.to_string(), shared.map.get().filter(|_| is_in_file).cloned()?))
    }

    /// Who knows the other routers.
    pub(super) fn router(&self) -> Arc<Peers> {
        Arc::clone(&self.front.load().router)
    }

    /// Who knows the servers.
    pub(super) fn servers(&self) -> Arc<ServerBook> {
        Arc::clone(&self.known.servers)
    }

    /// The configuration of now.
    pub fn settings(&self) -> Arc<Settings> {
        self.settings.load_full()
    }

    /// Its files.
    pub fn files(&self) -> Vec<PathBuf> {
        self.settings.load().files.clone()
    }

    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.clients.addresses()
    }

    pub(super) async fn serve(&self) {
        let mut state = self.state.lock().await;
        let shared = Arc::clone(&self.front.load().shared);
        state.limits.spawn(Arc::clone(&shared.cancels).enforce(Arc::clone(&shared.metrics)));
        let settings = self.settings();
        if !settings.listen.peers.is_empty() {
            self.known.servers.ask_others_first();
        }
        let router = Arc::clone(&self.front.load().router);
        state.limits.spawn(Arc::clone(&router).serve_beside());
        state.limits.spawn(router.follow(Arc::clone(&self.front)));
        if settings.kept_files().iter().any(|(key, ..)| *key == "timelines_file") {
            control::timelines::check(&settings.timelines_file);
        }
        let timelines = Arc::clone(&self.known.servers.timelines);
        state.limits.spawn(control::timelines::keep(timelines, settings.timelines_file.clone()));
        for database in self.health.databases.load().iter() {
            state.jobs.insert(Arc::clone(&database.name), self.jobs_of(database, &settings));
        }
        self.look_up_names(settings.timeouts.dns);
        self.open();
    }

    /// Looks the names of servers up each time that so long has passed.
    fn look_up_names(&self, pause: Option<Duration>) {
        let mut jobs = JoinSet::new();
        let names = Arc::clone(&self.known.names);
        let due = move || Instant::now().checked_add(pause?);
        names.note_due(due());
        if let Some(pause) = pause {
            jobs.spawn(async move {
                loop {
                    tokio::time::sleep(pause).await;
                    names.look_up().await;
                    names.note_due(due());
                }
            });
        }
        *self.names.lock().unwrap_or_else(PoisonError::into_inner) = jobs;
    }

    /// The router is not to be sent new clients, whether it still takes them or not.
    pub(super) fn be_unready(&self) {
        self.health.ending.store(true, Ordering::Relaxed);
    }

    fn open(&self) {
        self.clients.open(|listener, closing| accept(listener, Arc::clone(&self.front), closing.asked()));
        self.watchers.open(|listener, closing| {
            let readiness: Arc<dyn Readiness> = Arc::clone(&self.health) as Arc<dyn Readiness>;
            http::serve(listener, Arc::clone(&self.front.load().shared.metrics), readiness, closing.asked())
        });
    }

    pub(super) async fn stop_accepting(&self) {
        self.clients.close().await;
    }

    pub(super) async fn end(&self) {
        self.watchers.close().await;
        self.front.load_full().shared.tracer.end().await;
        // Somebody may still wait to change the configuration: its jobs end with the process.
        let Ok(mut state) = self.state.try_lock() else { return };
        for (_, mut jobs) in state.jobs.drain() {
            jobs.shutdown().await;
        }
    }

    /// What runs beside the clients of a database, until the value is dropped.
    fn jobs_of(&self, database: &Arc<Database>, settings: &Settings) -> JoinSet<()> {
        let timeouts = &settings.timeouts;
        let shared = Arc::clone(&self.front.load().shared);
        let mut jobs = JoinSet::new();
        let health = Arc::clone(&self.health);
        jobs.spawn(watch_database(Arc::clone(database), health, timeouts.catalog_refresh, timeouts.deadlock.is_some()));
        let metrics = Arc::clone(&shared.metrics);
        jobs.spawn(resolve_database(Arc::clone(database), timeouts.two_phase_grace, metrics));
        jobs.spawn(control::servers::watch(Arc::clone(database), timeouts.server_check));
        if !database.cluster.load().topology.is_all_home() {
            jobs.spawn(control::news::follow(Arc::clone(database), shared.router.clone()));
        }
        jobs.spawn(control::rules::watch(Arc::clone(database)));
        if let Some(bound) = timeouts.deadlock.filter(|_| database.configured.shards.len() > 1) {
            let (sessions, metrics) = (Arc::clone(&shared.cancels), Arc::clone(&shared.metrics));
            let router = shared.router.clone();
            jobs.spawn(control::deadlock::watch(Arc::clone(database), router, bound, sessions, metrics));
        }
        jobs
    }

    /// Does this on another thread, to its end, whatever becomes of who has asked: maps may be large, and clients are not to wait for
    /// what is made of them.
    ///
    /// # Errors
    /// The router is ending.
    async fn aside<T, F>(&self, work: impl FnOnce(Arc<Self>) -> F + Send + 'static) -> Result<T, String>
    where
        T: Send + 'static,
        F: Future<Output = T>,
    {
        let live = self.own.upgrade().ok_or("the router is ending")?;
        let runtime = Handle::current();
        let done = tokio::task::spawn_blocking(move || runtime.block_on(work(live)));
        done.await.map_err(|error| error.to_string())
    }

    /// Makes this the configuration of now, whole. Where it comes from is no matter.
    ///
    /// # Errors
    /// Why it was rejected: the one of before is still in force.
    async fn apply(&self, settings: Settings) -> Result<Applied, Vec<String>> {
        let mut state = self.state.lock().await;
        if settings.epoch < self.settings.load().epoch {
            return Err(vec![OVERTAKEN.to_owned()]);
        }
        self.replace(&mut state, settings).await
    }

    /// Another map, in the configuration of now. `then` is told of it when it is in force.
    ///
    /// # Errors
    /// As [`Self::reload_now`], and where the map does not go with the rest of the configuration, which no other time will change.
    pub async fn apply_map(
        &self,
        document: Document,
        then: impl FnOnce(Document) + Send + 'static,
    ) -> Result<Applied, NotTaken> {
        let done = self.aside(async move |live| {
            let mut state = live.state.lock().await;
            let settings = live.settings.load().placed_by(&document).map_err(NotTaken::Wrong)?;
            let done = live.replace(&mut state, settings).await;
            done.inspect(|_| then(document)).map_err(|errors| NotTaken::Later(errors.join("; ")))
        });
        done.await.map_err(NotTaken::Later)?
    }
}

fn front(
    settings: &Settings,
    databases: &[Arc<Database>],
    shared: Arc<Shared>,
    Doorstep { accounts, context, population, router, peer_tls }: Doorstep,
    (open, knocking): (Arc<AtomicUsize>, Arc<Knocking>),
) -> Front {
    let context = HandshakeContext { mock: Arc::new(mock_among(settings, &accounts, &context.mock)), ..context };
    derive_beside(&accounts, &context.mock);
    Front {
        shared,
        accounts,
        asked_method: crate::app::accounts::method(settings.auth.auth_type),
        databases: databases.iter().map(|database| (database.name.as_ref().into(), Arc::clone(database))).collect(),
        context,
        console: console_rules(&settings.console),
        users: user_views(settings),
        config: settings.shown.clone(),
        max_clients: settings.limits.max_client_conn,
        max_knocking: settings.limits.max_login_conn,
        client_limits: client_limits(settings),
        population,
        router,
        peers: settings.listen.peers.clone(),
        peer_tls,
        keepalive: settings.listen.keepalive,
        log_connections: settings.log.connections,
        open,
        knocking,
    }
}

fn client_limits(settings: &Settings) -> ClientLimits {
    let users = settings.users.iter().map(|user| (&user.name, user.max_clients));
    let databases = settings.databases.iter().map(|database| (&database.name, database.max_clients));
    fn limited<'a>(all: impl Iterator<Item = (&'a Arc<str>, Option<NonZeroU32>)>) -> HashMap<Box<str>, usize> {
        all.filter_map(|(name, most)| Some((name.as_ref().into(), most?.get() as usize))).collect()
    }
    let address = settings.limits.max_client_conn_per_address.map(|most| most.get() as usize);
    ClientLimits { users: limited(users), databases: limited(databases), address }
}

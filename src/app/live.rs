//! `Live`: a running router and its configuration, which another one can replace whole.
//!
//! A new configuration is made ready in full first: every file read, every password parsed, every map compiled, every socket bound. What
//! fails there changes nothing. Then those wait who would work under a map that places rows elsewhere than the old one, until nobody
//! works under the old one (`make_way`); who is still at it when the time is over keeps the old configuration in force. The swap itself
//! cannot fail.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock, Weak};

use futures::future::BoxFuture;
use tokio::runtime::Handle;
use tokio::sync::{Notify, OwnedMutexGuard, watch};
use tokio::task::JoinSet;

use super::*;
use crate::app::accounts::{Accounts, accounts, derive_beside};
use crate::app::doors::{Door, Doors};
use crate::app::moves;
use crate::app::reading::{Instead, Reading, Said};
use crate::app::words;
use crate::backend::traffic::Hold;
use crate::config::document::Head;
use crate::config::{AT_START, ConfigErrors, Document, LogLevel, MapSettings};
use crate::control::etcd::Ways;
use crate::control::live::{Applied, Steering};
use crate::control::map::follow::NotTaken;
use crate::control::map::history::KeptMap;
use crate::control::map::{MapState, MapStatus};
use crate::control::rules::CLOSING;
use crate::fault::{Blame, SqlState};
use crate::memory::Memory;
use crate::server::accept;
use crate::server::knocking::Knocking;
use crate::server::peers::Peers;
use crate::server::population::{ClientLimits, Population};
use crate::topology::{Moved, Shard};

/// How often the catalog is read once more because somebody has changed something meanwhile. Behind the change it is read in any case.
const READS: usize = 3;

/// The map was changed while the configuration was read with the one from before.
const OVERTAKEN: &str = "the shard map has changed meanwhile";

/// Before a configuration is read again that had to wait for transactions.
const LATER: Duration = Duration::from_secs(5);

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

/// What was made of files that can change while their names stay.
#[derive(Clone)]
struct Certificates {
    servers: Arc<ServerTls>,
    servers_hash: Vec<u8>,
    clients_hash: Vec<u8>,
    peers_hash: Vec<u8>,
    etcd_hash: Vec<u8>,
}

/// A configuration that is ready to be the one of now.
struct Ready {
    settings: Settings,
    applied: Applied,
    certificates: Certificates,
    doorstep: Doorstep,
    databases: Vec<Change>,
    clients: Vec<Door>,
    watchers: Vec<Door>,
}

/// What those meet who knock, clients and other routers.
struct Doorstep {
    accounts: Accounts,
    context: HandshakeContext,
    population: Arc<Population>,
    router: Arc<Peers>,
    peer_tls: ServerTls,
}

/// What becomes of a database.
pub(super) enum Change {
    Stays(Arc<Database>),
    New(Arc<Database>),
    /// The first one is replaced by the second.
    Another(Arc<Database>, Arc<Database>),
}

impl Change {
    fn database(&self) -> &Arc<Database> {
        match self {
            Self::Stays(database) | Self::New(database) | Self::Another(_, database) => database,
        }
    }
}

/// Keeps the work of others from what a new map places elsewhere. Dropped before it is done: everything is as before.
enum Way {
    Tables { before: Arc<Database>, turn: u64, done: bool },
    Everything { before: Arc<Database>, _hold: Hold },
}

impl Drop for Way {
    fn drop(&mut self) {
        if let Self::Tables { before, done: false, .. } = self {
            before.open_tables();
        }
    }
}

impl Way {
    async fn clear(&self) -> Result<(), String> {
        let (before, waited) = match self {
            Self::Tables { before, turn, .. } => (before, before.traffic().settle(*turn, Some(CLOSING)).await),
            Self::Everything { before, .. } => (before, before.traffic().come_to_rest(Some(CLOSING)).await),
        };
        waited.map_err(|working| late(before, working, CLOSING))
    }
}

fn late(before: &Database, working: usize, waited: Duration) -> String {
    let name = &before.name;
    format!(
        "database {name}: {working} transactions that began under the shard map of before have not ended within {waited:?}"
    )
}

impl Live {
    pub(super) fn start(settings: &Settings) -> Result<Arc<Self>, StartError> {
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
        let context = handshake_context(settings, mock_key()?, Arc::default())?;
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

    async fn replace(&self, state: &mut State, settings: Settings) -> Result<Applied, Vec<String>> {
        let ready = match self.make_ready(state, settings) {
            Ok(Some(ready)) => ready,
            Ok(None) => return Ok(Applied::default()),
            Err(error) => return Err(vec![error.to_string()]),
        };
        let in_file = matches!(ready.settings.map, MapSettings::File { .. });
        let relies_on_none = in_file && moves::check(&ready.settings, &ready.databases).await?;
        let ways =
            self.make_way(&ready.databases).await.inspect_err(|_| self.is_late.store(true, Ordering::Release))?;
        // Where there were no rows somebody may have put some, before there was nobody who could.
        if relies_on_none {
            moves::check(&ready.settings, &ready.databases).await?;
        }
        self.swap(state, ready, ways).await
    }

    /// `None`: nothing is another.
    fn make_ready(&self, state: &State, settings: Settings) -> Result<Option<Ready>, StartError> {
        let certificates = Certificates::load(&settings, Some(&state.certificates))?;
        let renewed = certificates.differ_from(&state.certificates);
        let before = self.settings();
        if settings == *before && renewed.is_empty() {
            return Ok(None);
        }
        if let Some(rules) = trace_rules(&settings) {
            Tracer::check(&rules).map_err(StartError::Traces)?;
        }
        let front = self.front.load();
        let access = server_access(&settings, Arc::clone(&certificates.servers), &self.known);
        let known = self.health.databases.load_full();
        let databases = settings.databases.iter().filter_map(|database| {
            let wanted = database_settings(&settings, database, &access)?;
            Some(match known.iter().find(|known| known.name == database.name) {
                None => Change::New(Database::new(Arc::clone(&database.name), wanted)),
                Some(known) if known.is_as(&wanted) => Change::Stays(Arc::clone(known)),
                Some(known) => Change::Another(Arc::clone(known), known.next(wanted)),
            })
        });
        Ok(Some(Ready {
            applied: words::between(&before, &settings, &renewed),
            doorstep: Doorstep {
                accounts: accounts(&settings, &self.known.keys, Some(&front.accounts))?,
                context: handshake_context(
                    &settings,
                    Arc::clone(&front.context.mock),
                    Arc::clone(&front.context.failures),
                )?,
                population: Arc::clone(&front.population),
                router: Arc::clone(&front.router),
                peer_tls: peer_tls(&settings)?,
            },
            databases: databases.collect(),
            clients: self.clients.missing(&settings.listen.addresses, settings.listen.reuse_port)?,
            watchers: self.watchers.missing(settings.metrics.listen.as_slice(), settings.listen.reuse_port)?,
            certificates,
            settings,
        }))
    }

    /// Waits until nobody works under a map that places elsewhere what a new one places; whoever wants to begin with that waits too.
    async fn make_way(&self, changes: &[Change]) -> Result<Vec<Way>, Vec<String>> {
        let moved = |before: &Database, next| before.topology_of(next).moved_since(&before.cluster.load().topology);
        let nothing = |moved: &Moved| matches!(moved, Moved::Tables(tables) if tables.is_empty());
        let of_those = changes.iter().filter_map(|change| match change {
            Change::Another(before, next) => Some((before, next)),
            Change::New(_) | Change::Stays(_) => None,
        });
        let others: Vec<_> = of_those.filter(|(before, next)| !nothing(&moved(before, next))).collect();
        // Those who began long ago, and perhaps wait for their users, are waited for before anybody is made to wait.
        let ends = others
            .iter()
            .map(async |(before, _)| before.outlast(CLOSING).await.map_err(|working| late(before, working, CLOSING)));
        let late: Vec<String> = futures::future::join_all(ends).await.into_iter().filter_map(Result::err).collect();
        if !late.is_empty() {
            return Err(late);
        }
        let mut ways = Vec::new();
        for (before, next) in others {
            let before = Arc::clone(before);
            match moved(&before, next) {
                Moved::Tables(tables) if tables.is_empty() => {}
                Moved::Tables(tables) => {
                    let turn = before.close_tables(tables);
                    ways.push(Way::Tables { before, turn, done: false });
                }
                Moved::Everything => {
                    let hold = before.traffic().hold();
                    ways.push(Way::Everything { before, _hold: hold });
                }
            }
        }
        let cleared = futures::future::join_all(ways.iter().map(Way::clear)).await;
        let late: Vec<String> = cleared.into_iter().filter_map(Result::err).collect();
        if late.is_empty() { Ok(ways) } else { Err(late) }
    }

    async fn swap(&self, state: &mut State, ready: Ready, mut ways: Vec<Way>) -> Result<Applied, Vec<String>> {
        let mut read = Vec::new();
        for change in &ready.databases {
            let Change::Another(before, next) = change else { continue };
            let moved =
                ways.iter().any(|way| matches!(way, Way::Everything { before: of, .. } if Arc::ptr_eq(of, before)));
            match read_catalog(before, next, moved).await {
                Ok(generation) => {
                    furnish(before, next, ready.settings.timeouts.deadlock.is_some()).await;
                    read.push((Arc::clone(before), Arc::clone(next), generation));
                }
                Err(fault) => return Err(vec![format!("database {}: {fault}", next.name)]),
            }
        }
        // From here on nothing fails.
        let Ready { settings, applied, certificates, doorstep, databases, clients, watchers } = ready;
        for (before, next, generation) in &read {
            hand_over(before, next, *generation).await;
        }
        for way in &mut ways {
            if let Way::Tables { done, .. } = way {
                *done = true;
            }
        }
        let shared = Arc::clone(&self.front.load().shared);
        let all: Vec<_> = databases.iter().map(|change| Arc::clone(change.database())).collect();
        let counts = self.front.load().counts();
        self.look_up_names(settings.timeouts.dns);
        self.known.breakers.set_limits(breaker_limits(settings.breakers));
        self.known.quotas.set_limit(settings.limits.max_server_connections);
        shared.limits.store(Arc::new(session_limits(&settings)));
        shared.memory.set_limit(settings.limits.memory);
        set_fanout(&shared.fanout, &settings);
        shared.plans.set_limit(settings.limits.plan_cache_size);
        if let Err(error) = shared.tracer.configure(trace_rules(&settings)) {
            tracing::warn!("{error}");
        }
        if let Some(set) = self.log_level.get() {
            set(settings.log.level);
        }
        self.front.store(Arc::new(front(&settings, &all, Arc::clone(&shared), doorstep, counts)));
        let before = self.health.databases.load_full();
        self.health.follow(all.clone());
        for gone in before.iter().filter(|old| !all.iter().any(|database| database.name == old.name)) {
            gone.end();
            shared.metrics.forget_database(&gone.name);
            state.jobs.remove(&gone.name);
        }
        let same_timing = settings.timeouts == self.settings.load().timeouts;
        for change in &databases {
            if let (Change::Stays(_), true) = (change, same_timing) {
                continue;
            }
            let database = change.database();
            // What ran for the one before ends here.
            drop(state.jobs.insert(Arc::clone(&database.name), self.jobs_of(database, &settings)));
        }
        drop(ways);
        let stays = |database: &str, user: &str| {
            all.iter().any(|known| *known.name == *database && known.member(user).is_some())
        };
        shared.cancels.ask_those(Wish::Drain, |database, user| !stays(database, user));
        self.clients.become_those(clients, &settings.listen.addresses).await;
        self.watchers.become_those(watchers, settings.metrics.listen.as_slice()).await;
        self.open();
        self.lead(&settings, certificates.etcd_hash != state.certificates.etcd_hash);
        self.settings.store(Arc::new(settings));
        state.certificates = certificates;
        self.known.keys.sweep();
        Ok(applied)
    }

    /// Another way to the map is told to those who go it.
    fn lead(&self, settings: &Settings, renewed: bool) {
        let changed = renewed || settings.map != self.settings.load().map;
        if let (true, Some(ways), MapSettings::Etcd(etcd)) = (changed, self.ways.get(), &settings.map) {
            ways.change(etcd);
        }
    }

    async fn read_and_apply(&self) -> Result<Applied, Vec<String>> {
        loop {
            match self.read_and_apply_once().await {
                Err(errors) if errors == [OVERTAKEN] => continue,
                done => return done,
            }
        }
    }

    async fn read_and_apply_once(&self) -> Result<Applied, Vec<String>> {
        self.read_by_and_apply(|reading| reading.anew()).await
    }

    async fn read_by_and_apply(
        &self,
        read: impl FnOnce(&Reading) -> Result<Settings, ConfigErrors>,
    ) -> Result<Applied, Vec<String>> {
        let Some(reading) = self.reading.get().cloned() else {
            return Err(vec!["there is no file of which the configuration was read".to_owned()]);
        };
        let settings = read(&reading);
        let settings = settings.map_err(|errors| errors.0.iter().map(ToString::to_string).collect::<Vec<_>>())?;
        for warning in &settings.warnings {
            tracing::warn!("{warning}");
        }
        self.apply(settings).await
    }

    /// Another value of one setting, beside those that were given before.
    async fn give(&self, key: &str, value: &str) -> Result<Applied, Fault> {
        let settings = self.settings();
        let shown = settings.shown.iter().find(|shown| shown.key == key).ok_or_else(|| {
            Fault::new(SqlState::UNDEFINED_OBJECT, format!("there is no setting \"{key}\""))
                .hint("SHOW CONFIG lists them.")
        })?;
        if AT_START.contains(&shown.key) {
            let message = format!("\"{key}\" cannot change while the router runs");
            return Err(Fault::new(SqlState::CANT_CHANGE_RUNTIME_PARAM, message)
                .hint("Write it into the configuration file, and start the router anew."));
        }
        let mut said = Arc::clone(&self.said).lock_owned().await;
        let mut wanted = said.clone();
        wanted.insert(key.to_owned(), value.to_owned());
        let done = self.aside(async move |live| {
            let done = live.read_by_and_apply(|reading| reading.with(&wanted)).await;
            live.tell(&done);
            if done.is_ok() {
                *said = wanted;
            }
            done
        });
        let done = done.await.unwrap_or_else(|error| Err(vec![error]));
        done.map_err(|errors| {
            let message = format!("\"{key}\" cannot be set to \"{value}\"");
            Fault::new(SqlState::INVALID_PARAMETER_VALUE, message).detail(errors.join("\n")).blame(Blame::Router)
        })
    }

    /// Reads the configuration again and applies it, and tells the log and the metrics what came of it: on another thread.
    ///
    /// # Errors
    /// Why it was rejected, or cannot be read: the one of before is still in force.
    pub async fn reload_now(&self) -> Result<Applied, Vec<String>> {
        // Who waits for another one waits on no thread.
        let said = Arc::clone(&self.said).lock_owned().await;
        let done = self.aside(async move |live| live.reload_here(said).await);
        done.await.unwrap_or_else(|error| Err(vec![error]))
    }

    async fn reload_here(&self, mut said: OwnedMutexGuard<Said>) -> Result<Applied, Vec<String>> {
        self.is_late.store(false, Ordering::Release);
        let done = self.read_and_apply().await;
        if done.is_ok() {
            said.clear();
        }
        let is_late = done.is_err() && self.is_late.load(Ordering::Acquire);
        self.note_map(&done, is_late);
        self.tell(&done);
        if is_late {
            tracing::info!("it is tried again in {LATER:?}");
            self.late.notify_one();
        }
        done
    }

    /// What came of a file in which the map stands.
    fn note_map(&self, done: &Result<Applied, Vec<String>>, is_late: bool) {
        let Some(reading) = self.reading.get().cloned() else { return };
        if done.is_ok() {
            reading.took();
        }
        let shared = Arc::clone(&self.front.load().shared);
        let Some(state) = shared.map.get().filter(|_| reading.map_file().is_some()) else { return };
        match done {
            Ok(_) => {
                state.update(|status| {
                    (status.source, status.differs, status.problem) = ("file", None, None);
                });
                note_kept(state, reading.keep());
            }
            Err(errors) => state.update(|status| {
                status.rejected += u64::from(!is_late);
                status.differs.get_or_insert_with(Instant::now);
                status.problem = Some(format!("not served: {}", errors.join("; ")).into());
            }),
        }
    }

    /// Reads a configuration again that could not be applied because transactions were open, for ever.
    pub(super) async fn follow_late(&self) {
        loop {
            self.late.notified().await;
            tokio::time::sleep(LATER).await;
            // Another one may have been applied meanwhile.
            if self.is_late.load(Ordering::Acquire) {
                tracing::info!("reading the configuration again: transactions were in the way of the last one");
                // What came of it is told there.
                let _ = self.reload_now().await;
            }
        }
    }

    /// Databases by name; all without one.
    fn databases(&self, name: Option<&str>) -> Result<Vec<Arc<Database>>, Fault> {
        let all = self.health.databases.load();
        let found: Vec<_> = all.iter().filter(|known| name.is_none_or(|name| *known.name == *name)).cloned().collect();
        match (name, found.is_empty()) {
            (Some(name), true) => {
                let message = format!("database \"{name}\" does not exist");
                Err(Fault::new(SqlState::INVALID_CATALOG_NAME, message))
            }
            (Some(_) | None, _) => Ok(found),
        }
    }

    async fn pause_those(&self, database: Option<&str>, shard: Option<&str>) -> Result<(), Fault> {
        let databases = self.databases(database)?;
        let pauses = databases.iter().map(|database| async move {
            let name = &database.name;
            match shard {
                None => {
                    tracing::info!(database = %name, "pausing: new statements wait");
                    database.pause().await;
                    tracing::info!(database = %name, "paused: nothing runs");
                }
                Some(shard) => {
                    tracing::info!(database = %name, shard, "pausing: new statements for the shard wait");
                    if database.pause_shard(shard).await.is_err() {
                        let message = format!("database \"{name}\" has no shard \"{shard}\"");
                        return Err(Fault::new(SqlState::UNDEFINED_OBJECT, message));
                    }
                    tracing::info!(database = %name, shard, "paused: nothing runs there");
                }
            }
            Ok(())
        });
        futures::future::try_join_all(pauses).await.map(drop)
    }

    fn resume_those(&self, database: Option<&str>, shard: Option<&str>) -> Result<(), Fault> {
        let mut any = false;
        for database in self.databases(database)? {
            let resumed = match shard {
                Some(shard) => database.resume_shard(shard),
                None => {
                    let shards = database.traffic().paused_shards();
                    let resumed = shards.iter().filter(|shard| database.resume_shard(shard)).count();
                    database.resume() || resumed > 0
                }
            };
            if resumed {
                tracing::info!(database = %database.name, shard, "resumed");
            }
            any |= resumed;
        }
        if any { Ok(()) } else { Err(Fault::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, "nothing is paused")) }
    }

    /// What came of a configuration, for the log and the metrics.
    pub fn tell(&self, done: &Result<Applied, Vec<String>>) {
        let metrics = &self.front.load().shared.metrics;
        match done {
            Ok(applied) if applied.changed.is_empty() && applied.later.is_empty() => {
                metrics.reloaded("unchanged");
                tracing::info!("the configuration is unchanged");
            }
            Ok(applied) => {
                metrics.reloaded("applied");
                tracing::info!(changed = applied.changed.join(", "), "the new configuration is in force");
                if !applied.later.is_empty() {
                    tracing::warn!(settings = applied.later.join(", "), "these settings take effect at the next start");
                }
            }
            Err(errors) => {
                metrics.reloaded("rejected");
                for error in errors {
                    tracing::error!("{error}");
                }
                tracing::error!("the new configuration was rejected; the one of before is in force");
            }
        }
    }
}

impl Steering for Live {
    fn reload(&self) -> BoxFuture<'_, Result<Applied, Fault>> {
        Box::pin(async {
            self.reload_now().await.map_err(|errors| {
                Fault::new(SqlState::CONFIG_FILE_ERROR, "the configuration was rejected")
                    .detail(errors.join("\n"))
                    .hint("The configuration of before is still in force.")
                    .blame(Blame::Router)
            })
        })
    }

    fn pause<'a>(&'a self, database: Option<&'a str>, shard: Option<&'a str>) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(self.pause_those(database, shard))
    }

    fn resume(&self, database: Option<&str>, shard: Option<&str>) -> Result<(), Fault> {
        self.resume_those(database, shard)
    }

    fn set<'a>(&'a self, key: &'a str, value: &'a str) -> BoxFuture<'a, Result<Applied, Fault>> {
        Box::pin(self.give(key, value))
    }

    fn shut_down(&self, how: Ending) {
        tracing::info!(?how, "the console ends the router");
        self.ending.send_replace(Some(how));
    }
}

/// The map of a file is served: under which epoch it is kept, or why it is not.
fn note_kept(state: &MapState, kept: Option<io::Result<KeptMap>>) {
    match kept {
        None => {}
        Some(Ok(kept)) => {
            if let Some(problem) = &kept.problem {
                tracing::error!(problem, "the next map cannot be kept on disk as this one was");
            }
            state.update(|status| {
                describe(status, &kept.head);
                let told = kept
                    .problem
                    .map(|problem| format!("the next map cannot be kept on disk as this one was: {problem}").into());
                status.problem = told.or(status.problem.take());
            });
        }
        Some(Err(error)) => {
            tracing::error!(%error, "the map cannot be kept on disk: there is no way back to it, and a start with a file that is wrong would have none");
            state.update(|status| status.problem = Some(format!("the map cannot be kept on disk: {error}").into()));
        }
    }
}

fn describe(status: &mut MapStatus, head: &Head) {
    status.epoch = head.epoch;
    status.changed_at = (&*head.changed_at).into();
    status.changed_by = (&*head.changed_by).into();
    status.reason = (&*head.reason).into();
}

/// Reads the catalog for the next configuration where that of before does not do: tables that it knows of may have been made past the
/// router, shards may be others, or other functions are declared safe. Returns the generation of the one of before at that moment.
async fn read_catalog(before: &Database, next: &Arc<Database>, moved: bool) -> Result<Option<u64>, Fault> {
    let places = before.cluster.load().catalog_known && next.configured.differs_in_keys_alone(&before.configured);
    if (places || before.configured == next.configured) && before.safe_functions == next.safe_functions {
        return Ok(None);
    }
    let generation = before.cluster.load().catalog.generation;
    match control::catalog::reload(next, false, None).await {
        Ok(()) => Ok(Some(generation)),
        // What is known of the tables is of other places.
        Err(fault) if moved => Err(fault),
        Err(fault) => {
            tracing::warn!(database = %next.name, error = %fault, "the catalog cannot be read; that of before is used");
            Ok(None)
        }
    }
}

/// Shards that were not there before get the tables of our own that they need, where they answer.
async fn furnish(before: &Database, next: &Database, looks_for_deadlocks: bool) {
    let known = |shard: &Shard| before.configured.shards.contains(shard);
    let fresh = next.configured.shards.iter().enumerate().filter(|(_, shard)| !known(shard));
    let probes = fresh.map(|(at, shard)| async move {
        if let Err(fault) = probe(next, ShardId(at as u16), &mut false, looks_for_deadlocks).await {
            tracing::warn!(database = %next.name, shard = %shard.name, error = %fault, "the new shard does not answer");
        }
    });
    futures::future::join_all(probes).await;
}

/// `read`: the generation that the catalog of before had when that of the next one was read.
async fn hand_over(before: &Database, next: &Arc<Database>, mut read: Option<u64>) {
    for _ in 0..READS {
        // While nobody reads the catalog for the configuration of before: its reader would tell nobody of what it has found.
        let reading = before.parts.lock().await;
        if read.is_none_or(|generation| generation == before.cluster.load().catalog.generation) {
            return before.hand_over(next);
        }
        drop(reading);
        read = read_catalog(before, next, false).await.unwrap_or(None);
    }
    let _reading = before.parts.lock().await;
    before.hand_over(next);
}

fn front(
    settings: &Settings,
    databases: &[Arc<Database>],
    shared: Arc<Shared>,
    Doorstep { accounts, context, population, router, peer_tls }: Doorstep,
    (open, knocking): (Arc<AtomicUsize>, Arc<Knocking>),
) -> Front {
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

impl Certificates {
    /// Where the files are those of `before`, so is what is made of them.
    fn load(settings: &Settings, before: Option<&Self>) -> Result<Self, TlsError> {
        // Before they are read: what changes meanwhile is seen the next time.
        let (servers_hash, clients_hash) = (hash(&settings.server_tls), hash(&settings.client_tls));
        let etcd = etcd_tls(&settings.map);
        let (peers_hash, etcd_hash) = (hash(&settings.peer_tls), etcd.as_ref().map(hash).unwrap_or_default());
        let same = before.filter(|before| before.servers_hash == servers_hash);
        let servers = match same {
            Some(before) => Arc::clone(&before.servers),
            None => Arc::new(server_tls(&settings.server_tls)?),
        };
        // Each connection to etcd reads them itself; a configuration with what cannot be used is rejected. Not at the start, which has
        // the copy of the map.
        if let Some(etcd) = etcd.filter(|_| before.is_some_and(|before| before.etcd_hash != etcd_hash)) {
            server_tls(&etcd)?;
        }
        Ok(Self { servers, servers_hash, clients_hash, peers_hash, etcd_hash })
    }

    fn differ_from(&self, before: &Self) -> Vec<&'static str> {
        let servers = (self.servers_hash != before.servers_hash).then_some("server TLS");
        let clients = (self.clients_hash != before.clients_hash).then_some("client TLS");
        let peers = (self.peers_hash != before.peers_hash).then_some("peer TLS");
        let etcd = (self.etcd_hash != before.etcd_hash).then_some("TLS of etcd");
        servers.into_iter().chain(clients).chain(peers).chain(etcd).collect()
    }
}

/// With what etcd is spoken to, where it is with TLS.
fn etcd_tls(map: &MapSettings) -> Option<TlsSettings> {
    match map {
        MapSettings::Etcd(etcd) if etcd.tls => {
            let (identity, ca_file) = (etcd.identity.clone(), etcd.ca_file.clone());
            Some(TlsSettings { mode: SslMode::VerifyFull, identity, ca_file })
        }
        MapSettings::Etcd(_) | MapSettings::File { .. } => None,
    }
}

/// Of the settings and of what is in their files.
fn hash(settings: &TlsSettings) -> Vec<u8> {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    context.update(format!("{settings:?}").as_bytes());
    let identity = settings.identity.iter().flat_map(|identity| [&identity.cert_file, &identity.key_file]);
    for path in identity.chain(&settings.ca_file) {
        // What cannot be read is told by who needs it.
        let bytes = std::fs::read(path).unwrap_or_default();
        context.update(&bytes.len().to_le_bytes());
        context.update(&bytes);
    }
    context.finish().as_ref().to_vec()
}

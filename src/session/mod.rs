//! One client: reads a frame, decides what it means now, acts. Everything that this client owns hangs here.

pub mod again;
mod aside;
pub mod batch;
mod bind;
mod block_time;
mod bound;
pub mod cancel;
mod claim;
mod clock;
mod combine;
pub mod commit;
pub mod control;
mod copied_values;
pub mod copy;
mod copy_encoded;
mod copy_keys;
mod copy_source;
mod create_as;
mod cursor;
pub mod deadlines;
mod defaults;
mod delivery;
mod describe;
pub mod desk;
mod draw;
mod execute;
mod explain;
mod fetch;
pub mod finish;
mod foreign;
mod greet;
mod hedge;
pub mod held;
mod hint;
mod hold;
mod idle;
mod idle_timers;
mod large;
mod lend;
pub mod local;
mod locked;
pub mod logged;
mod memory;
mod moments;
mod moving;
mod noting;
mod one_by_one;
mod own_catalog;
mod pace;
mod parse;
mod placed;
mod placeholders;
mod placement;
pub mod prepared;
pub mod probe;
mod promise;
mod pulls;
pub mod recent;
mod replacing;
mod replan;
mod replica;
mod retry;
mod returned;
pub mod run;
mod sampler;
pub mod scatter;
mod schemas;
pub mod scope;
mod sent;
mod set;
mod set_config;
pub mod simple;
mod sql_arguments;
mod sql_execute;
mod sql_prepare;
mod stamp;
mod succeed;
mod supply;
mod taking;
mod temporary;
mod traced;
pub mod transaction;
mod turn;
mod two_phase;
mod unanswered;
mod undecided;
mod uniques;
mod views;
mod whereabouts;
mod whole;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use bytes::BytesMut;

use crate::backend::cluster::{Cluster, Database};
use crate::backend::defaults::Defaults;
use crate::backend::fanout::Fanout;
use crate::backend::hedge::HedgeSettings;
use crate::backend::key_places::KeyPlace;
use crate::backend::prepared::StatementRegistry;
use crate::backend::settings::{Meaning, SessionSettings, SettingsTable};
use crate::backend::stats::{Count, Tally};
use crate::backend::traffic::Seat;
use crate::backend::user_pools::UserPools;
use crate::catalog::placeholders::Placeholders;
use crate::config::LogStatements;
use crate::config::limits::TimeLimits;
use crate::control::live::Steering;
use crate::control::map::MapState;
use crate::exec::client::{Buffers, Client};
use crate::fault::{Blame, Fault, SqlState};
use crate::ids::QualifiedName;
use crate::memory::Memory;
use crate::merge::MergeLimits;
use crate::metrics::Metrics;
use crate::net::ClientStream;
use crate::plan::cache::PlanCache;
use crate::scope::{Control, Crowd, Wish};
use crate::session::cancel::{CancelRegistry, CancelSlot, Identity};
use crate::sql::NameScope;
use crate::sql::template::Scan;
use crate::traces::Tracer;
use crate::wire::frame::Frame;
use crate::wire::reply;
use batch::Batch;
pub use bind::result_formats;
use clock::Clock;
pub use describe::target as describe_target;
use held::HeldServers;
use logged::StatementLog;
use prepared::ClientStatements;
use sampler::Sampler;
use scope::SearchScope;
use transaction::Transaction;
use whole::DateStyles;

/// What all sessions of the router share.
pub struct Shared {
    pub plans: PlanCache,
    pub registry: StatementRegistry,
    pub settings: SettingsTable,
    pub cancels: Arc<CancelRegistry>,
    pub metrics: Arc<Metrics>,
    /// What all statements hold together.
    pub memory: Arc<Memory>,
    /// At how many shards statements over several may be.
    pub fanout: Arc<Fanout>,
    pub statement_log: StatementLog,
    pub tracer: Tracer,
    /// Where statements run, and the buffers that clients have while they do.
    pub desks: desk::Desks,
    pub buffers: Arc<Buffers>,
    /// Those who are at the console.
    pub operators: Crowd,
    /// Those of now: a session follows them with its next statement outside of a transaction.
    pub limits: ArcSwap<SessionLimits>,
    /// Names this router in two-phase transactions.
    pub router: Box<str>,
    /// Those who may ask the router for something as a whole.
    pub steering: OnceLock<Weak<dyn Steering>>,
    /// The statements that have met deadlocks lately.
    pub contended: again::Contended,
    /// What is known of the shard map where it does not stand in the configuration.
    pub map: Arc<OnceLock<Arc<MapState>>>,
}

/// Bounds on what one session may take.
#[derive(Clone, Debug)]
pub struct SessionLimits {
    /// Bytes of one message's body.
    pub max_message: usize,
    /// Named prepared statements of one client.
    pub max_statements: usize,
    /// Bytes that one merge may hold.
    pub merge_bytes: usize,
    /// Rows, and bytes of them, that one statement may pull for a Postgres that finishes it.
    pub pull_rows: u64,
    pub pull_bytes: u64,
    /// Shards that one statement may touch at once.
    pub max_fanout: usize,
    /// Values of a sequence that the router takes at a time.
    pub sequence_block: usize,
    /// How long the only server of a shard is waited for.
    pub restart_timeout: Duration,
    /// Further runs of a statement that falls victim to deadlocks.
    pub deadlock_retries: u32,
    /// A replica that is further behind is not read.
    pub max_replica_lag: Option<Duration>,
    pub max_replica_lag_bytes: Option<u64>,
    /// Nor one that lacks what the session has written.
    pub read_your_writes: bool,
    /// When a read that a replica does not answer goes to a second server.
    pub hedge: HedgeSettings,
    /// Whether the log tells of sessions that end.
    pub log_disconnections: bool,
    /// Which statements it tells of.
    pub log: LogStatements,
    /// Whether the metrics name the keys that are asked for most.
    pub hot_key_metrics: bool,
}

/// A client that has proven who it is.
pub struct Login {
    pub stream: ClientStream,
    pub leftover: BytesMut,
    pub database: Arc<Database>,
    pub user: Arc<str>,
    /// As whom it is logged in at the servers.
    pub server_user: Arc<str>,
    pub pools: Arc<UserPools>,
    /// Startup parameters that are settings (`options` unpacked), in order.
    pub settings: Vec<(String, String)>,
    /// Server connections stay with the client until it leaves.
    pub session_mode: bool,
    /// How long things may take, before the session says otherwise.
    pub times: TimeLimits,
    /// Bytes of the cancel key's secret: 4 in protocol 3.0, 32 in 3.2.
    pub secret_len: usize,
}

impl Login {
    fn identity(&self) -> Identity {
        Identity {
            database: Arc::clone(&self.database.name),
            user: Arc::clone(&self.user),
            peer: self.stream.peer_addr().ok(),
            local: self.stream.local_addr().ok(),
            tls: self.stream.tls_name(),
            fd: self.stream.fd(),
        }
    }
}

/// Why a session ends.
#[derive(Debug)]
pub enum Stop {
    /// Nobody is there to be told anything.
    Gone,
    /// The client is told this and the connection closes.
    Fatal(Fault),
    /// Terminate.
    Goodbye,
}

/// Why a statement did not run to its end.
#[derive(Debug)]
pub enum Failure {
    /// To be told to the client.
    Fault(Fault),
    /// An ErrorResponse of a server has already been queued for the client.
    Reported,
    Stop(Stop),
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        if fault.is_fatal() { Self::Stop(Stop::Fatal(fault)) } else { Self::Fault(fault) }
    }
}

impl From<Stop> for Failure {
    fn from(stop: Stop) -> Self {
        Self::Stop(stop)
    }
}

impl From<crate::exec::client::ClientGone> for Failure {
    fn from(_: crate::exec::client::ClientGone) -> Self {
        Self::Stop(Stop::Gone)
    }
}

pub struct Session {
    shared: Arc<Shared>,
    limits: Arc<SessionLimits>,
    database: Arc<Database>,
    user: Arc<str>,
    server_user: Arc<str>,
    pools: Arc<UserPools>,
    client: Client,
    pid: u32,
    slot: Arc<CancelSlot>,
    /// The settings that the client has made, and those it came with (what RESET goes back to).
    settings: Arc<SessionSettings>,
    startup: Arc<SessionSettings>,
    /// The custom settings that the statement which runs is about to make.
    making: Placeholders,
    /// [`SessionSettings::meaning`] of `settings`.
    meaning: Meaning,
    session_mode: bool,
    /// The client has not been greeted.
    begins: bool,
    /// How long things may take by the configuration, and with what the session has set.
    own_times: TimeLimits,
    times: TimeLimits,
    /// Somebody must look at `times`.
    is_limited: bool,
    /// Something was written since it was last noted when.
    wrote: bool,
    /// When the session's last write was over.
    wrote_at: Option<Instant>,
    /// The settings that its connections begin with.
    defaults: Arc<Defaults>,
    scope: SearchScope,
    tx: Transaction,
    held: HeldServers,
    statements: ClientStatements,
    batch: Batch,
    /// What the FETCH statements mean that are parsed now: their cursors are of this session, and of this moment.
    fetch_mark: Option<u64>,
    /// SQL cursors by name and the shard that has them.
    cursors: HashMap<Box<str>, crate::ids::ShardId>,
    /// The values of sequences that it has taken.
    memory: memory::SequenceMemory,
    /// The transaction may have written rows whose values are registered.
    changed_rows: bool,
    /// What a COPY has given to rows, until its end is over.
    copied: Option<copied_values::CopiedValues>,
    /// The statement that runs goes to one shard after the other.
    in_turn: bool,
    /// What runs is not to go to replicas: it was asked for there, or elsewhere, and had no answer.
    asks_primaries: bool,
    /// Its message was cancelled before it began.
    telling: Option<desk::Telling>,
    /// Comments before its statements are looked at.
    takes_hints: bool,
    /// What the client says in a comment before the statement at hand.
    hint: Option<crate::config::ReadPreference>,
    /// `backend::throttle` has counted the statement, or the message of a batch, that runs now.
    is_counted: bool,
    /// Kept between statements so that a scan allocates nothing.
    scan: Scan,
    recent: recent::Recent,
    /// The statement that runs: when it was read, and how it was routed once that is known.
    clock: Clock,
    /// What it has done since it last rested.
    tally: Tally,
    /// Which statements are looked at for their keys.
    sampler: Sampler,
    /// Characters of the Query message before the statement that runs.
    offset: u32,
    /// Where each shard gets a text of its own: so many characters it begins with as the client's does, and those before the statement.
    alike: (u32, u32),
    /// The map and catalog that the running statement, or transaction, sees.
    view: Arc<Cluster>,
    /// Tells others since which view it works.
    seat: Seat,
    /// The client knows that its transactions over several shards are not atomic.
    told_best_effort: bool,
    told: create_as::Told,
    /// The key of the statement that was planned last, where somebody counts; 0: it has none.
    named_key: AtomicU64,
    /// The place of its key that the statement which runs has, where keys have places.
    key_place: Option<KeyPlace>,
    /// Under the catalog of this generation: names that nobody knows, in a session that has temporary tables.
    temporaries: (u64, HashSet<QualifiedName>),
}

impl Session {
    /// What a merge may hold.
    fn merge_limits(&self) -> MergeLimits {
        MergeLimits { max_bytes: self.limits.merge_bytes, memory: Arc::clone(&self.shared.memory) }
    }

    /// What names mean now.
    fn names(&self) -> NameScope<'_> {
        self.scope.names(&self.view, &self.tx, &self.held)
    }

    /// Greets the client (ParameterStatus, BackendKeyData, ReadyForQuery) and serves it until it leaves.
    pub fn serve(login: Login, shared: Arc<Shared>) -> impl Future<Output = ()> + Send {
        let Opened { mut session, secret, date_styles, entry } = Self::of_login(login, shared);
        async move {
            let _entry = entry;
            // What is done once takes no room in a session that waits.
            let greeted = Box::pin(session.greet(&secret, &date_styles)).await;
            let (mut session, end) = match greeted {
                Ok(()) => session.run().await,
                Err(stop) => (session, stop),
            };
            session.shared.metrics.clients.dec();
            if std::mem::take(&mut session.is_limited) {
                session.shared.cancels.note_limited(false);
            }
            Box::pin(session.leave(end)).await;
        }
    }

    fn of_login(login: Login, shared: Arc<Shared>) -> Opened {
        let control = Arc::new(Control::default());
        let (pid, secret, slot) = shared.cancels.register(login.secret_len, login.identity(), Arc::clone(&control));
        let entry = Registered { shared: Arc::clone(&shared), pid };
        let limits = shared.limits.load_full();
        let hold = shared.memory.hold_lasting();
        let client = Client::new(login.stream, login.leftover, control, limits.max_message, shared.memory.hold())
            .sharing(Arc::clone(&shared.buffers));
        let mut startup = SessionSettings::default();
        let mut date_styles = DateStyles::default();
        for (name, value) in &login.settings {
            let name = name.to_ascii_lowercase();
            date_styles.note(&name, value);
            startup.set(&name, &crate::backend::settings::text_value(&name, value));
        }
        startup.take_role(whole::next_taking());
        let startup = shared.settings.share(startup);
        let view = login.database.cluster.load_full();
        let takes_hints = login.database.takes_hints(&login.user);
        let mut session = Box::new(Self {
            scope: SearchScope::new(&startup, &Defaults::default(), &login.server_user, &login.database.name),
            seat: login.database.traffic().sit(),
            shared,
            limits,
            database: login.database,
            user: login.user,
            server_user: login.server_user,
            pools: login.pools,
            client,
            pid,
            slot,
            settings: Arc::clone(&startup),
            meaning: startup.meaning(&Defaults::default()),
            startup,
            making: Placeholders::default(),
            session_mode: login.session_mode,
            begins: true,
            own_times: login.times,
            times: login.times,
            is_limited: false,
            wrote: false,
            wrote_at: None,
            defaults: Arc::default(),
            tx: Transaction::default(),
            held: HeldServers::default(),
            statements: ClientStatements::new(hold),
            batch: Batch::default(),
            fetch_mark: None,
            cursors: HashMap::new(),
            memory: memory::SequenceMemory::default(),
            changed_rows: false,
            copied: None,
            in_turn: false,
            asks_primaries: false,
            telling: None,
            takes_hints,
            hint: None,
            is_counted: false,
            scan: Scan::default(),
            recent: recent::Recent::default(),
            clock: Clock::default(),
            tally: Tally::default(),
            sampler: Sampler::new(pid),
            offset: 0,
            alike: (0, 0),
            view,
            told_best_effort: false,
            told: create_as::Told::Client,
            named_key: AtomicU64::new(0),
            key_place: None,
            temporaries: (0, HashSet::new()),
        });
        session.shared.metrics.clients.inc();
        session.tally.add(Count::Logins, 1);
        session.note_application();
        session.follow_limits();
        Opened { session, secret, date_styles, entry }
    }

    /// Until the client leaves, or is to go.
    async fn run(mut self: Box<Self>) -> (Box<Self>, Stop) {
        self.begins = false;
        let shared = Arc::clone(&self.shared);
        loop {
            let frame = match self.next_frame().await {
                Ok(frame) => frame,
                Err(Stop::Fatal(fault)) => {
                    let stop = Box::pin(self.end_behind(fault)).await;
                    return (self, stop);
                }
                Err(stop) => return (self, stop),
            };
            let done;
            (self, done) = shared.desks.work(self, frame).await;
            if let Err(stop) = done {
                return (self, stop);
            }
        }
    }

    async fn dispatch(&mut self, frame: Frame) -> Result<(), Stop> {
        if self.batch.discarding && !matches!(frame.tag, b'S' | b'X') {
            return Ok(());
        }
        if !matches!(frame.tag, b'Q' | b'P' | b'B' | b'D' | b'E' | b'C' | b'H' | b'S') {
            self.telling = None;
        }
        match frame.tag {
            b'Q' => self.simple_query(frame).await,
            b'P' | b'B' | b'D' | b'E' | b'C' | b'H' | b'S' => self.extended(frame).await,
            b'X' => Err(Stop::Goodbye),
            b'F' => self.function_call().await,
            // What is left of a COPY that has failed.
            b'd' | b'c' | b'f' => Ok(()),
            tag => Err(Stop::Fatal(Fault::protocol(format!("invalid frontend message type {tag}")))),
        }
    }

    /// ReadyForQuery, behind changed parameters and the notifications that came on the way, as in Postgres.
    fn ready_for_query(&mut self) {
        self.client.tell_parameters();
        self.client.tell_news();
        self.pass_news();
        reply::ready_for_query(&mut self.client.out, self.tx.status());
    }

    /// Tells the client of the notifications that came while the router was answered.
    fn pass_news(&mut self) {
        let out = self.client.news();
        self.held.iter_mut().for_each(|held| held.server.pass_news(out));
    }

    /// Queues an ErrorResponse.
    fn tell(&mut self, fault: &Fault) {
        self.shared.metrics.error(fault.code.as_str(), blame_label(fault.blame));
        self.clock.failed = Some(fault.code);
        if let Some(reason) = fault.refused_by() {
            self.shared.metrics.refused(reason);
            self.clock.refused = Some(fault.code);
        }
        tracing::debug!(code = fault.code.as_str(), message = %fault.message, "error to client");
        reply::error(&mut self.client.out, fault);
    }

    /// The session is over: tells the client what it can still be told, ends what runs for it.
    async fn leave(mut self: Box<Self>, end: Stop) {
        let end = match end {
            // It was not the client who left; half a message cannot be followed by another one.
            Stop::Gone if self.client.control.wish() == Wish::Kill && self.can_be_told() => {
                Stop::Fatal(self.client.control.reason())
            }
            end => end,
        };
        if let Stop::Fatal(fault) = &end {
            let fault = fault.clone().fatal();
            self.tell(&fault);
            let last = async {
                let told = self.client.flush_last().await;
                // It is in the middle of a message that is too long.
                if told.is_ok() && fault.code == SqlState::OUT_OF_MEMORY {
                    self.client.hear_out().await;
                }
            };
            let _ = tokio::time::timeout(Duration::from_secs(1), last).await;
        }
        if self.limits.log_disconnections {
            tracing::info!(user = %self.user, database = %self.database.name, reason = ?end, "disconnect");
        }
        self.database.stats.fold(&mut self.tally);
        self.slot.clear();
        // In the middle of something: the servers are asked to stop, and the connections are not reused.
        let busy: Vec<_> = self.held.drain_busy();
        if !busy.is_empty() {
            tokio::spawn(async move {
                let ends = busy.into_iter().map(|mut held| async move {
                    scatter::cancel(&mut held).await;
                    held.server.discard();
                });
                futures::future::join_all(ends).await;
            });
        }
        self.end_held().await;
    }

    /// Whether the client takes what it is told, and is not in the middle of a message.
    fn can_be_told(&self) -> bool {
        self.client.control.blocked_for().is_none() && self.held.iter().all(|held| held.server.streaming == 0)
    }

    /// What those see who look at the router's clients.
    fn note_application(&self) {
        let name = self.settings.get("application_name").unwrap_or_default();
        self.slot.note_application(name.strip_prefix('\'').and_then(|name| name.strip_suffix('\'')).unwrap_or(name));
    }

    fn refresh_view(&mut self) {
        if self.has_begun() {
            return;
        }
        let now = self.database.cluster.load();
        if !Arc::ptr_eq(&self.view, &now) {
            let before = std::mem::replace(&mut self.view, Arc::clone(&now));
            if !Arc::ptr_eq(&before.catalog, &self.view.catalog) {
                self.follow_sequences(&before.catalog);
            }
        }
        drop(now);
        // Connections that it holds keep the settings that they began with.
        if self.held.is_empty() && !self.pools.defaults.is(&self.defaults) {
            self.follow_defaults();
        }
    }
}

/// Whose fault it is, for the metrics, what a server says of a statement: its own where it cannot go on.
fn of_server(code: SqlState) -> &'static str {
    let is_own = ["08", "53", "57", "58", "XX"].iter().any(|class| code.as_str().starts_with(class));
    blame_label(if is_own && code != SqlState::QUERY_CANCELED { Blame::Server } else { Blame::Client })
}

fn blame_label(blame: Blame) -> &'static str {
    match blame {
        Blame::Client => "client",
        Blame::Server => "server",
        Blame::Router => "router",
    }
}

impl From<crate::wire::frame::Malformed> for Failure {
    fn from(malformed: crate::wire::frame::Malformed) -> Self {
        Self::Fault(malformed.into())
    }
}

/// A session that is about to greet its client.
struct Opened {
    session: Box<Session>,
    secret: Vec<u8>,
    date_styles: DateStyles,
    entry: Registered,
}

struct Registered {
    shared: Arc<Shared>,
    pid: u32,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.shared.cancels.remove(self.pid);
    }
}

//! `Cluster`: topology, catalog and pools of one moment, swapped whole by arc-swap.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::backend::breakers::{Breakers, Probe, ServerBreaker};
use crate::backend::cancel::CancelHandle;
use crate::backend::combiners::CombineServers;
use crate::backend::defaults::{Defaults, HomeDefaults};
use crate::backend::facts::Facts;
use crate::backend::gate::Gate;
use crate::backend::hot_keys::HotKeys;
use crate::backend::names::Names;
use crate::backend::pool::{Checkout, Connect, Pool, PoolLimits};
use crate::backend::quota::{Quota, Quotas};
use crate::backend::roles::Heard;
use crate::backend::rules::Rules;
use crate::backend::sequences::SequenceBlocks;
use crate::backend::servers::{self, ServerBook, ShardServers};
use crate::backend::stats::Stats;
use crate::backend::succession::Lasting;
use crate::backend::throttle::KeyLimit;
use crate::backend::turns::Place;
use crate::backend::{Backend, Work, login};
use crate::catalog::Catalog;
use crate::catalog::numbers::UserTypes;
use crate::config::{ReadPreference, TimeLimits, TimeWishes, TwoPhaseCommit, UniqueRule};
use crate::fault::{Blame, Fault, SqlState};
use crate::ids::{ShardId, ShardSet};
use crate::metrics::{Metrics, ShardMetrics};
use crate::net::Keepalive;
use crate::secret::Secret;
use crate::tls::ServerTls;
use crate::topology::{Server, Shard, StoredRules, Topology};

/// Who we are to the shards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    pub user: String,
    pub password: Option<Secret>,
}

/// How connections to servers are made, whoever they are for.
#[derive(Clone)]
pub struct ServerAccess {
    pub tls: Arc<ServerTls>,
    /// `None`: no probes.
    pub keepalive: Option<Keepalive>,
    pub connect_timeout: Duration,
    /// `None`: what is left of `connect_timeout`.
    pub login_timeout: Option<Duration>,
    pub max_message: usize,
    pub max_prepared: usize,
    /// Of all servers that this router knows.
    pub breakers: Arc<Breakers>,
    /// Of all shards that it knows.
    pub servers: Arc<ServerBook>,
    /// Of servers.
    pub names: Arc<Names>,
    /// Of servers.
    pub quotas: Arc<Quotas>,
    pub metrics: Arc<Metrics>,
}

impl ServerAccess {
    /// Until a connection can be used.
    fn whole_timeout(&self) -> Duration {
        self.connect_timeout + self.login_timeout.unwrap_or_default()
    }

    /// Whether connections that were made in one way are as those made in the other.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.tls, &other.tls)
            && self.keepalive == other.keepalive
            && self.connect_timeout == other.connect_timeout
            && self.login_timeout == other.login_timeout
            && self.max_message == other.max_message
            && self.max_prepared == other.max_prepared
            && Arc::ptr_eq(&self.breakers, &other.breakers)
    }
}

/// Connects over TCP (and TLS) as one user.
#[derive(Clone)]
pub struct ServerConnector {
    pub shard: ShardId,
    pub aim: Aim,
    pub credentials: Credentials,
    pub access: ServerAccess,
    pub start: Start,
    /// Those of a shard on which clients' statements run.
    pub rules: Option<Arc<Rules>>,
    /// Where the work of those connections is told.
    pub metrics: Option<ShardMetrics>,
}

/// To which server a connector goes.
#[derive(Clone)]
pub enum Aim {
    /// Always this one, whatever it is.
    One(Arc<OneServer>),
    /// Whichever is the primary of a shard of several servers.
    Primary(Arc<ShardServers>),
    /// The server at this place of the shard, while it is a replica.
    Replica(Arc<ShardServers>, usize),
}

pub struct OneServer {
    pub server: Server,
    pub address: Arc<str>,
    pub breaker: Arc<ServerBreaker>,
}

/// A server that a connector goes to now.
struct Goal<'a> {
    server: &'a Server,
    breaker: &'a Arc<ServerBreaker>,
    /// The stint in which it is what it is to be; 0 where nobody asks for that.
    word: u64,
}

impl Aim {
    pub fn one(server: &Server, access: &ServerAccess) -> Self {
        let (server, breaker) = (server.clone(), access.breakers.of(server));
        Self::One(Arc::new(OneServer { address: server.address().into(), server, breaker }))
    }

    /// The primary of a shard; where it has one server alone, that one.
    pub fn primary(of: &Arc<ShardServers>, access: &ServerAccess) -> Self {
        match of.members() {
            [only] => Self::one(&only.server, access),
            _ => Self::Primary(Arc::clone(of)),
        }
    }

    /// Whether both go to the same server.
    fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::One(one), Self::One(other)) => one.server == other.server,
            (Self::Primary(of), Self::Primary(other)) => Arc::ptr_eq(of, other),
            (Self::Replica(of, at), Self::Replica(other, place)) => Arc::ptr_eq(of, other) && at == place,
            (Self::One(_) | Self::Primary(_) | Self::Replica(..), _) => false,
        }
    }

    /// The shard's servers, where there are several.
    pub fn several(&self) -> Option<&Arc<ShardServers>> {
        match self {
            Self::One(_) => None,
            Self::Primary(of) | Self::Replica(of, _) => Some(of),
        }
    }

    /// The word of the stint that a connection must be of.
    fn word(&self) -> u64 {
        match self {
            Self::One(_) => 0,
            Self::Primary(of) => of.primary_word(),
            Self::Replica(of, at) => of.replica_word(*at),
        }
    }

    fn goal(&self) -> Result<Goal<'_>, Fault> {
        let word = self.word();
        let (of, at) = match self {
            Self::One(one) => return Ok(Goal { server: &one.server, breaker: &one.breaker, word }),
            Self::Primary(of) if word == 0 => return Err(of.no_primary()),
            Self::Replica(of, at) if word == 0 => return Err(of.no_replica(*at)),
            Self::Primary(of) | Self::Replica(of, _) => (of, servers::place_of(word)),
        };
        let member = of.members().get(at).ok_or_else(|| of.no_primary())?;
        Ok(Goal { server: &member.server, breaker: &member.breaker, word })
    }
}

/// With which settings a connection begins.
#[derive(Clone)]
pub enum Start {
    /// Whatever they are: nobody relies on them.
    Unknown,
    /// The home shard's say what they are everywhere.
    Home(Arc<HomeDefaults>),
    /// Those of the home shard, whose servers these are.
    Alike(Arc<HomeDefaults>, Arc<ShardServers>),
}

impl Start {
    fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Unknown, Self::Unknown) => true,
            (Self::Home(home), Self::Home(other)) => Arc::ptr_eq(home, other),
            (Self::Alike(home, server), Self::Alike(other, theirs)) => {
                Arc::ptr_eq(home, other) && Arc::ptr_eq(server, theirs)
            }
            (Self::Unknown | Self::Home(_) | Self::Alike(..), _) => false,
        }
    }
}

impl Connect for ServerConnector {
    fn quota(&self) -> Option<Arc<Quota>> {
        let goal = self.aim.goal().ok()?;
        Some(self.access.quotas.of(goal.server))
    }

    async fn connect(&self) -> Result<Backend, Fault> {
        let deadline = Instant::now() + self.access.whole_timeout();
        let begun = tokio::time::timeout_at(deadline.into(), self.begin(deadline)).await;
        begun.unwrap_or_else(|_| {
            let goal = self.aim.goal()?;
            let fault = self.timed_out(&goal.server.address());
            goal.breaker.failed(&fault);
            Err(fault)
        })
    }

    fn is_current(&self, backend: &Backend) -> bool {
        let begins = match &self.start {
            Start::Unknown => true,
            Start::Home(home) | Start::Alike(home, _) => home.is(&backend.defaults),
        };
        begins
            && backend.is_where_its_name_leads()
            && self.is_of_its_stint(backend)
            && self.rules.as_ref().is_none_or(|rules| rules.is_current(backend))
    }

    fn check(&self) -> Result<(), Fault> {
        self.aim.goal()?.breaker.check()
    }

    fn admit(&self) -> Result<Option<Probe>, Fault> {
        self.aim.goal()?.breaker.admit()
    }

    fn is_doubtful(&self, backend: &Backend) -> bool {
        self.aim.goal().is_ok_and(|goal| goal.breaker.is_doubtful(backend.proven_at))
    }

    async fn try_out(&self, backend: &mut Backend) -> bool {
        let answered = tokio::time::timeout(self.access.connect_timeout, backend.query("SELECT 1")).await;
        let answers = matches!(answered, Ok(Ok(_)));
        if answers {
            backend.proven_at = Instant::now();
            if let Ok(goal) = self.aim.goal() {
                goal.breaker.succeeded();
            }
        }
        answers
    }

    fn note(&self, backend: &Backend) {
        if let (true, Some(servers)) = (backend.lost, self.aim.several()) {
            servers.doubt();
        }
        // What became of a connection to a server that is the aim no more tells nothing of the one that is.
        let Ok(goal) = self.aim.goal() else { return };
        if !self.is_of_its_stint(backend) {
            return;
        }
        if backend.broke_off() {
            goal.breaker.failed(&lost_connection(&backend.address));
        } else if backend.heard {
            goal.breaker.succeeded();
        }
    }
}

impl ServerConnector {
    pub fn new(shard: ShardId, aim: Aim, credentials: &Credentials, access: &ServerAccess, start: Start) -> Self {
        Self { shard, aim, credentials: credentials.clone(), access: access.clone(), start, rules: None, metrics: None }
    }

    /// Where it goes now, for messages; where nobody is the primary, the first that could be.
    pub fn address(&self) -> Arc<str> {
        match &self.aim {
            Aim::One(one) => Arc::clone(&one.address),
            Aim::Primary(of) => Arc::clone(&of.primary().unwrap_or(&of.members()[0]).address),
            Aim::Replica(of, at) => Arc::clone(&of.members()[*at].address),
        }
    }

    /// The breaker of that server.
    pub fn breaker(&self) -> &Arc<ServerBreaker> {
        match &self.aim {
            Aim::One(one) => &one.breaker,
            Aim::Primary(of) => &of.primary().unwrap_or(&of.members()[0]).breaker,
            Aim::Replica(of, at) => &of.members()[*at].breaker,
        }
    }

    /// Whether a connection is one to the server that is still what it was when it was made.
    pub fn is_of_its_stint(&self, backend: &Backend) -> bool {
        backend.stint == self.aim.word()
    }

    /// Whether the connections of one are as those of the other.
    fn is_like(&self, other: &Self) -> bool {
        let rules = match (&self.rules, &other.rules) {
            (Some(rules), Some(other)) => Arc::ptr_eq(rules, other),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        rules
            && self.shard == other.shard
            && self.aim.is_like(&other.aim)
            && self.credentials == other.credentials
            && self.access.is_like(&other.access)
            && self.start.is_like(&other.start)
    }

    async fn begin(&self, deadline: Instant) -> Result<Backend, Fault> {
        let mut backend = self.begin_alike(deadline).await?;
        if let Some(rules) = &self.rules {
            // Who waits for the router's rules has not waited for the server.
            let patience = deadline.saturating_duration_since(Instant::now()) / 2;
            rules.mark(&mut backend, patience).await?;
        }
        backend.work = Work { metrics: self.metrics.clone(), ..Work::default() };
        Ok(backend)
    }

    async fn begin_alike(&self, deadline: Instant) -> Result<Backend, Fault> {
        let mut backend = self.reach(&[], deadline).await?;
        let (home, servers) = match &self.start {
            Start::Unknown => return Ok(backend),
            Start::Home(home) => {
                backend.defaults = home.note(Defaults::ask(&mut backend).await?);
                return Ok(backend);
            }
            Start::Alike(home, servers) => (home, servers),
        };
        let wanted = match home.get() {
            Some(wanted) => wanted,
            None => {
                let member = servers.primary().ok_or_else(|| servers.no_primary())?;
                let mut asked = self.log_in(&member.server, &member.breaker, &[], deadline).await?;
                home.note(Defaults::ask(&mut asked).await?)
            }
        };
        let own = Defaults::ask(&mut backend).await?;
        let other = wanted.beyond(&own);
        if !other.is_empty() {
            backend = self.reach(&other, deadline).await?;
            let own = Defaults::ask(&mut backend).await?;
            if let Some((name, value)) = wanted.beyond(&own).first() {
                let detail = format!("logins begin with {name} = '{value}' on the home shard, and not on this server");
                return Err(unable(&backend.address).detail(detail).blame(Blame::Server));
            }
        }
        backend.defaults = wanted;
        Ok(backend)
    }

    /// A connection to the server that is aimed at; where the shard has several, one that says itself that it is the one.
    async fn reach(&self, settings: &[(&str, &str)], deadline: Instant) -> Result<Backend, Fault> {
        let Goal { server, breaker, word } = self.aim.goal()?;
        let mut backend = self.log_in(server, breaker, settings, deadline).await?;
        let Some(servers) = self.aim.several() else { return Ok(backend) };
        let asked = Instant::now();
        // A name can lead to another server by now, and a server can have become another one.
        servers.hear(servers::place_of(word), asked, Heard::Said(servers::who(&mut backend).await?));
        backend.stint = word;
        if matches!(self.aim, Aim::Replica(..)) {
            let level = backend.query("SHOW default_transaction_isolation").await?;
            if level.first().and_then(|row| row.first()?.as_deref()) == Some("serializable") {
                let detail = "a replica cannot be read under SERIALIZABLE, which is the default there";
                return Err(unable(&backend.address).detail(detail));
            }
        }
        if matches!(self.aim, Aim::Primary(_)) {
            servers.note_made(word, &backend.cancel);
        }
        if self.is_of_its_stint(&backend) {
            return Ok(backend);
        }
        servers.doubt();
        let message = format!("shard server {} is not what it was", backend.address);
        Err(Fault::new(SqlState::CANNOT_CONNECT_NOW, message)
            .detail("its role has changed")
            .hint("Retry shortly.")
            .blame(Blame::Server))
    }

    /// How it ends is told to the server's breaker.
    async fn log_in(
        &self,
        server: &Server,
        breaker: &ServerBreaker,
        settings: &[(&str, &str)],
        deadline: Instant,
    ) -> Result<Backend, Fault> {
        let logged_in = tokio::time::timeout_at(deadline.into(), self.try_log_in(server, settings)).await;
        let logged_in = logged_in.unwrap_or_else(|_| Err(self.timed_out(&server.address())));
        match &logged_in {
            Ok(_) => breaker.succeeded(),
            Err(fault) => breaker.failed(fault),
        }
        logged_in
    }

    async fn try_log_in(&self, server: &Server, settings: &[(&str, &str)]) -> Result<Backend, Fault> {
        let mut parameters = vec![("application_name", "pgloom"), ("client_encoding", "UTF8")];
        parameters.extend_from_slice(settings);
        let logged_in = login::connect(login::Target {
            server,
            user: &self.credentials.user,
            password: self.credentials.password.as_ref(),
            tls: &self.access.tls,
            connect_timeout: self.access.connect_timeout,
            login_timeout: self.access.login_timeout.unwrap_or(self.access.connect_timeout),
            parameters: &parameters,
        })
        .await?;
        if let Some(keepalive) = &self.access.keepalive {
            keepalive.apply(&logged_in.stream.socket());
        }
        // What waits on a primary is not to be taken for what runs on a replica.
        let shard = if matches!(self.aim, Aim::Replica(..)) { ShardId::combine(0) } else { self.shard };
        let cancel = Arc::new(CancelHandle::new(
            shard,
            server.clone(),
            Arc::clone(&self.access.tls),
            self.access.connect_timeout,
            logged_in.key.clone(),
            Facts::of(&logged_in.stream),
        ));
        let (max_message, max_prepared) = (self.access.max_message, self.access.max_prepared);
        let named = logged_in.stream.peer_addr().map(|peer| peer.ip());
        let named = named.and_then(|peer| Some((self.access.names.note(&server.host, peer)?, peer)));
        let address = server.address().into();
        Ok(Backend { named, ..Backend::new(logged_in, address, cancel, max_message, max_prepared) })
    }

    fn timed_out(&self, address: &str) -> Fault {
        Fault::new(SqlState::UNABLE_TO_CONNECT, format!("could not connect to shard server {address}"))
            .detail(format!("no answer within {:?}", self.access.whole_timeout()))
            .blame(Blame::Server)
    }
}

fn lost_connection(address: &str) -> Fault {
    Fault::new(SqlState::CONNECTION_FAILURE, format!("lost connection to shard server {address}")).blame(Blame::Server)
}

fn unable(address: &str) -> Fault {
    Fault::new(SqlState::UNABLE_TO_CONNECT, format!("could not connect to shard server {address}"))
}

pub type ServerPool = Pool<ServerConnector>;
pub type ServerCheckout = Checkout<ServerConnector>;

/// The pools of one user of one database: one for each shard's primary, the one of combine connections to the home shard, one for
/// each server beside the shards, and one for each server of a shard of several, in case it is a replica. They share a gate.
pub struct UserPools {
    pools: Vec<Arc<ServerPool>>,
    /// How many of `pools` are those of shards.
    shards: usize,
    /// How many are those of servers beside them.
    beside: usize,
    /// Of each shard of several servers, where the pools of its replicas begin.
    replicas: Vec<Option<usize>>,
    gate: Arc<Gate>,
    /// Of the places behind the gate, which of `pools` has it. Others are of pools from before.
    by_place: Vec<Option<usize>>,
    credentials: Credentials,
    /// The servers that have `defaults`.
    home: Arc<ShardServers>,
    combine_size: usize,
    /// How many combine connections may stay with their clients: the other half is for statements that end.
    keeps: Arc<Semaphore>,
    /// The settings that this user's logins begin with.
    pub defaults: Arc<HomeDefaults>,
}

impl UserPools {
    /// The pools of a user of this database. Those of `before` that would be the same ones are the same ones, with the limits of now; the
    /// others retire.
    pub fn new(of: &Database, topology: &Topology, member: &Membership, before: Option<&Self>) -> Arc<Self> {
        let (credentials, combine_size) = (member.credentials.clone(), of.combine_size);
        let limits = PoolLimits { size: member.pool_size.unwrap_or(of.limits.size), ..of.limits.clone() };
        let servers = |shard: ShardId| of.servers(topology.shard(shard));
        let home = servers(topology.home);
        let alike = before.filter(|before| before.credentials == credentials && Arc::ptr_eq(&before.home, &home));
        let defaults = alike.map(|before| Arc::clone(&before.defaults)).unwrap_or_default();
        let gate = before.map(|before| Arc::clone(&before.gate)).unwrap_or_default();
        gate.set_share(match limits.share {
            100.. => None,
            share => Some((limits.size * share / 100).max(1)),
        });
        let pool = |id: ShardId, aim: Aim, limits: &PoolLimits, old: &[Arc<ServerPool>]| {
            let start = match &aim {
                Aim::One(_) | Aim::Primary(_) if id == topology.home => Start::Home(Arc::clone(&defaults)),
                Aim::One(_) | Aim::Primary(_) | Aim::Replica(..) => {
                    Start::Alike(Arc::clone(&defaults), Arc::clone(&home))
                }
            };
            // Servers beside the shards have no tables of the users', and what is read on replicas cannot be moved.
            let marked = !id.is_combine() && !matches!(aim, Aim::Replica(..));
            let rules = marked.then(|| Arc::clone(&of.rules));
            let access = &of.access;
            let name = if id.is_combine() { "combine" } else { &topology.shard(id).name };
            let metrics = Some(access.metrics.shard(&of.name, name));
            let plain = ServerConnector::new(id, aim, &credentials, access, start);
            let connector = ServerConnector { rules, metrics, ..plain };
            match old.iter().find(|old| old.connector.is_like(&connector)) {
                Some(old) => {
                    old.set_limits(limits.clone());
                    Arc::clone(old)
                }
                None => Pool::new(connector, limits.clone(), &gate),
            }
        };
        let old = |which: fn(&Self) -> &[Arc<ServerPool>]| before.map_or(&[][..], which);
        let primary = |shard: ShardId| Aim::primary(&servers(shard), &of.access);
        let of_shards = old(|before| &before.pools[..before.shards]);
        let shards = topology.all_shards();
        let mut pools: Vec<_> = shards.iter().map(|shard| pool(shard, primary(shard), &limits, of_shards)).collect();
        let finish =
            PoolLimits { size: combine_size, min_size: 0, size_setting: "[combine] pool_size", ..limits.clone() };
        let shards = pools.len();
        let own = old(|before| std::slice::from_ref(before.combine()));
        pools.push(pool(topology.home, primary(topology.home), &finish, own));
        // No shard's: nobody is to look there for what waits on a shard.
        let beside = old(Self::combiners);
        let aim = |server: &Server| Aim::one(server, &of.access);
        pools.extend(of.combine.servers().map(|server| pool(ShardId::combine(0), aim(server), &finish, beside)));
        let beside = pools.len() - shards - 1;
        let old_replicas = old(Self::replica_pools);
        let limits = PoolLimits { min_size: 0, ..limits };
        let mut replicas = Vec::with_capacity(shards);
        for shard in topology.all_shards().iter() {
            let servers = servers(shard);
            replicas.push((!servers.is_lone()).then_some(pools.len()));
            if !servers.is_lone() {
                let aims = (0..servers.members().len()).map(|at| Aim::Replica(Arc::clone(&servers), at));
                pools.extend(aims.map(|aim| pool(shard, aim, &limits, old_replicas)));
            }
        }
        let keeps = before.filter(|before| before.combine_size == combine_size).map(|before| Arc::clone(&before.keeps));
        let keeps = keeps.unwrap_or_else(|| Arc::new(Semaphore::new(combine_size / 2)));
        let mut by_place = Vec::new();
        for (at, pool) in pools.iter().enumerate() {
            by_place.resize(by_place.len().max(pool.place() + 1), None);
            by_place[pool.place()] = Some(at);
        }
        if let Some(before) = before {
            let kept = |old: &&Arc<ServerPool>| !pools.iter().any(|pool| Arc::ptr_eq(pool, old));
            before.pools.iter().filter(kept).for_each(|pool| pool.dissolve());
        }
        Arc::new(Self {
            pools,
            shards,
            beside,
            replicas,
            gate,
            by_place,
            credentials,
            home,
            combine_size,
            keeps,
            defaults,
        })
    }

    /// Nobody comes to these pools any more.
    pub fn dissolve(&self) {
        self.pools.iter().for_each(|pool| pool.dissolve());
    }

    /// As whom its connections are logged in.
    pub fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// The right to keep a combine connection beyond its transaction.
    ///
    /// # Errors
    /// `53400` when half of them are kept already.
    pub fn keep_combine(&self) -> Result<OwnedSemaphorePermit, Fault> {
        Arc::clone(&self.keeps).try_acquire_owned().map_err(|_| {
            let size = self.combine().limits().size;
            Fault::new(SqlState::CONFIGURATION_LIMIT_EXCEEDED, "too many cursors WITH HOLD over several shards")
                .detail(format!(
                    "they keep {} of the {size} connections of [combine] pool_size, which is half of them",
                    size / 2
                ))
                .hint("Close cursors that are no longer needed, or raise [combine] pool_size.")
        })
    }

    /// The connections to the home shard on which Postgres finishes statements.
    pub fn combine(&self) -> &Arc<ServerPool> {
        &self.pools[self.shards]
    }

    /// The connections to a server beside the shards that finishes statements.
    pub fn combiner(&self, at: usize) -> &Arc<ServerPool> {
        &self.pools[self.shards + 1 + at]
    }

    /// All of those.
    pub fn combiners(&self) -> &[Arc<ServerPool>] {
        &self.pools[self.shards + 1..][..self.beside]
    }

    /// The connections to the server at this place of a shard, while it is a replica; `None` where the shard has one server.
    pub fn replica(&self, shard: ShardId, at: usize) -> Option<&Arc<ServerPool>> {
        let first = (*self.replicas.get(shard.index())?)?;
        self.pools.get(first + at)
    }

    /// Whether some shard has several servers.
    pub fn has_replicas(&self) -> bool {
        !self.replica_pools().is_empty()
    }

    fn replica_pools(&self) -> &[Arc<ServerPool>] {
        &self.pools[self.shards + 1 + self.beside..]
    }

    /// All of those, with their shards.
    pub fn replicas(&self) -> impl Iterator<Item = (ShardId, &Arc<ServerPool>)> {
        self.replica_pools().iter().map(|pool| (pool.connector.shard, pool))
    }

    /// The pool at this place behind the gate.
    pub fn at(&self, place: Place) -> &Arc<ServerPool> {
        let at = self.by_place.get(place).copied().flatten();
        &self.pools[at.expect("a place is that of one of these pools")]
    }

    pub fn pool(&self, shard: ShardId) -> &Arc<ServerPool> {
        &self.pools[shard.index()]
    }

    /// Those of shards, and those that finish statements.
    pub fn all(&self) -> &[Arc<ServerPool>] {
        &self.pools
    }

    pub fn iter(&self) -> impl Iterator<Item = (ShardId, &Arc<ServerPool>)> {
        self.pools[..self.shards].iter().enumerate().map(|(i, pool)| (ShardId(i as u16), pool))
    }
}

/// The map and catalog of one moment. A statement, or its whole transaction, holds one `Arc` of it.
pub struct Cluster {
    pub topology: Arc<Topology>,
    pub catalog: Arc<Catalog>,
    /// Whether the catalog was ever read: before that nothing can be routed.
    pub catalog_known: bool,
    /// Greater than that of every view before: see [`Traffic`](crate::backend::traffic::Traffic).
    pub turn: u64,
    /// When it came: what it says was true on the primaries by then. Replicas that lack what was written before are not asked by it.
    pub since: Instant,
}

/// How the last attempt to read a database's catalog ended.
#[derive(Clone, Debug)]
pub enum Look {
    /// The router has just started.
    Pending,
    Read,
    Failed(Fault),
}

/// How a user works in a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// How its connections log in at the shards.
    pub credentials: Credentials,
    /// Connections to each shard; `None`: as the database says.
    pub pool_size: Option<usize>,
    /// `None`: as the database says.
    pub session_mode: Option<bool>,
    pub times: TimeWishes,
    /// `None`: as the database says.
    pub read_preference: Option<ReadPreference>,
}

/// What a configuration says of a logical database.
#[derive(Clone)]
pub struct DatabaseSettings {
    pub topology: Topology,
    pub access: ServerAccess,
    pub limits: PoolLimits,
    pub combine_size: usize,
    pub combine: Vec<Server>,
    pub own: Credentials,
    pub logins: Vec<Credentials>,
    pub safe_functions: Vec<crate::ids::QualifiedName>,
    pub uniques: Vec<UniqueRule>,
    pub session_mode: bool,
    pub read_preference: ReadPreference,
    pub two_phase_commit: TwoPhaseCommit,
    pub times: TimeLimits,
    /// What one value of the sharding key may have; `None`: whatever it asks for.
    pub key_limit: Option<KeyLimit>,
    /// How many statements of one value may run at a time, and how long others wait.
    pub key_places: Option<(NonZeroU32, Duration)>,
    /// Those who may connect.
    pub members: HashMap<Box<str>, Membership>,
}

/// One logical database that clients connect to, under one configuration. Another configuration is another value, its successor: see
/// [`crate::backend::succession`].
pub struct Database {
    pub name: Arc<str>,
    pub cluster: ArcSwap<Cluster>,
    /// The topology of the configuration alone.
    pub configured: Arc<Topology>,
    pub rules: Arc<Rules>,
    pub(super) lasting: Lasting,
    /// What has taken its place; `None` within: nothing, the configuration does not have it any more.
    pub(super) successor: OnceLock<Option<Arc<Database>>>,
    /// Those who may connect.
    pub members: HashMap<Box<str>, Membership>,
    pub access: ServerAccess,
    pub limits: PoolLimits,
    /// Combine connections for each user and server.
    pub combine_size: usize,
    /// The servers beside the shards that finish statements.
    pub combine: Arc<CombineServers>,
    /// By client user.
    pub(super) pools: Mutex<HashMap<Box<str>, Arc<UserPools>>>,
    /// The credentials with which the router itself reads catalogs and resolves transactions.
    pub own: Credentials,
    /// Those with which clients' statements run on the shards: what they have prepared, only they may finish, or a superuser.
    pub logins: Vec<Credentials>,
    /// Functions that the config declares to touch no sharded table.
    pub safe_functions: Vec<crate::ids::QualifiedName>,
    /// Values that are unique over all shards.
    pub uniques: Vec<UniqueRule>,
    /// The shards that can be asked for the rows of such values.
    pub finds: Finds,
    /// Server connections stay with their client until it leaves.
    pub session_mode: bool,
    /// Which servers answer reads, where neither user nor session say.
    pub read_preference: ReadPreference,
    /// How a transaction that wrote on several shards is committed.
    pub two_phase_commit: TwoPhaseCommit,
    /// How long things may take here, before a user or a session says otherwise.
    pub times: TimeLimits,
    /// What one value of the sharding key may have; `None`: whatever it asks for.
    pub key_limit: Option<KeyLimit>,
    /// How many statements of one value may run at a time, and how long others wait.
    pub key_places: Option<(NonZeroU32, Duration)>,
    /// Values of sequences that are taken and not given out yet.
    pub sequences: SequenceBlocks,
    pub stats: Arc<Stats>,
    /// The keys that statements ask for most.
    pub hot_keys: Arc<HotKeys>,
    /// What its sharded tables hold, by shard, where that was asked.
    pub sizes: Arc<Mutex<Vec<ShardSize>>>,
    /// Nobody else may come in.
    pub disabled: Arc<AtomicBool>,
    look: watch::Sender<Look>,
    /// What was last read of each shard's catalog; whoever reads holds it.
    pub parts: tokio::sync::Mutex<HashMap<ShardId, Arc<Catalog>>>,
    /// What was last read of the shards' types.
    pub types: tokio::sync::Mutex<ShardTypes>,
}

/// The types that users have made on the home shard, and what other shards were found to have since those are as they are.
#[derive(Default)]
pub struct ShardTypes {
    pub home: UserTypes,
    pub others: HashMap<ShardId, UserTypes>,
}

/// What the sharded tables of one shard hold, as its Postgres estimates it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardSize {
    pub shard: Arc<str>,
    pub rows: u64,
    pub bytes: u64,
}

/// Shards that are known to have the function that finds rows by their unique values. It is never taken away.
#[derive(Default)]
pub struct Finds(Mutex<ShardSet>);

impl Finds {
    pub fn knows(&self, shard: ShardId) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(shard)
    }

    pub fn note(&self, shard: ShardId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(shard);
    }
}

impl Database {
    /// A database that has not been here before.
    pub fn new(name: Arc<str>, settings: DatabaseSettings) -> Arc<Self> {
        let combine = CombineServers::new(settings.combine.clone());
        Self::build(
            name,
            settings,
            combine,
            Lasting::default(),
            Catalog { generation: first_generation(), ..Catalog::default() },
        )
    }

    /// `catalog`: not read yet; of the generation that is to be the one before the first.
    pub(super) fn build(
        name: Arc<str>,
        settings: DatabaseSettings,
        combine: Arc<CombineServers>,
        lasting: Lasting,
        catalog: Catalog,
    ) -> Arc<Self> {
        let configured = Arc::new(settings.topology);
        let cluster = Cluster {
            topology: Arc::new(lasting.placed(&configured)),
            catalog: Arc::new(catalog),
            catalog_known: false,
            turn: lasting.traffic.next_turn(),
            since: Instant::now(),
        };
        Arc::new(Self {
            rules: Arc::clone(&lasting.rules),
            stats: Arc::clone(&lasting.stats),
            hot_keys: Arc::clone(&lasting.hot_keys),
            sizes: Arc::clone(&lasting.sizes),
            disabled: Arc::clone(&lasting.disabled),
            lasting,
            successor: OnceLock::new(),
            members: settings.members,
            name,
            cluster: ArcSwap::from_pointee(cluster),
            configured,
            access: settings.access,
            limits: settings.limits,
            combine_size: settings.combine_size,
            combine,
            pools: Mutex::default(),
            own: settings.own,
            logins: settings.logins,
            safe_functions: settings.safe_functions,
            uniques: settings.uniques,
            finds: Finds::default(),
            session_mode: settings.session_mode,
            read_preference: settings.read_preference,
            two_phase_commit: settings.two_phase_commit,
            times: settings.times,
            key_limit: settings.key_limit,
            key_places: settings.key_places,
            sequences: SequenceBlocks::default(),
            look: watch::Sender::new(Look::Pending),
            parts: tokio::sync::Mutex::default(),
            types: tokio::sync::Mutex::default(),
        })
    }

    /// Notes how an attempt to read the catalog ended.
    pub fn note_look(&self, look: Look) {
        self.look.send_replace(look);
    }

    /// How the last attempt to read the catalog ended; waits for the first one.
    pub async fn look(&self) -> Look {
        let mut looks = self.look.subscribe();
        let seen = looks.wait_for(|look| !matches!(look, Look::Pending)).await;
        seen.map_or(Look::Pending, |look| look.clone())
    }

    /// The pools of one client user, made at its first login. `None`: it may not connect.
    pub fn pools(&self, user: &str) -> Option<Arc<UserPools>> {
        let member = self.members.get(user)?;
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = pools.get(user) {
            return Some(Arc::clone(found));
        }
        let made = UserPools::new(self, &self.configured, member, None);
        pools.insert(user.into(), Arc::clone(&made));
        Some(made)
    }

    /// Whether a user's server connections stay with it until it leaves.
    pub fn keeps_connections(&self, user: &str) -> bool {
        let own = self.members.get(user).and_then(|member| member.session_mode);
        own.unwrap_or(self.session_mode)
    }

    /// How long things may take for a user, before its session says otherwise.
    pub fn times_of(&self, user: &str) -> TimeLimits {
        self.members.get(user).map_or(self.times, |member| self.times.with(&member.times))
    }

    /// Which servers answer a user's reads, where its session does not say.
    pub fn prefers(&self, user: &str) -> ReadPreference {
        let own = self.members.get(user).and_then(|member| member.read_preference);
        own.unwrap_or(self.read_preference)
    }

    /// The servers of a shard of this database.
    pub fn servers(&self, shard: &Shard) -> Arc<ShardServers> {
        self.access.servers.of(shard, &self.access.breakers)
    }

    /// Every pool that exists now, with its user.
    pub fn all_pools(&self) -> Vec<(Box<str>, Arc<UserPools>)> {
        let pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> = pools.iter().map(|(user, p)| (user.clone(), Arc::clone(p))).collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    }

    /// Swaps in the rules of a later epoch, and closes the connections that were made under those of before a new fence. One that is in
    /// use is closed when it is given back. Rules of an epoch that has gone by are left alone.
    pub fn set_rules(&self, stored: &StoredRules) {
        let mut placements = self.lasting.placements();
        if stored.epoch <= placements.stored.epoch {
            return;
        }
        placements.stored = stored.clone();
        let newest = self.newest();
        let all = || std::iter::once(self).chain(newest.as_deref());
        for database in all() {
            database.put_topology(placements.over(&database.configured));
        }
        // Behind the rules: who sees the fence has them.
        self.rules.raise(stored.fence);
        all().for_each(Self::sweep);
    }

    /// The topology is another one. Who has planned under the one before plans anew: by its epoch, or by the catalog's generation.
    pub(super) fn put_topology(&self, topology: Topology) {
        let topology = Arc::new(topology);
        self.cluster.rcu(|old| {
            let catalog = match topology.epoch > old.topology.epoch {
                true => Arc::clone(&old.catalog),
                false => {
                    let mut catalog = Catalog::clone(&old.catalog);
                    catalog.generation += 1;
                    Arc::new(catalog)
                }
            };
            let turn = self.lasting.traffic.next_turn();
            let (topology, catalog_known) = (Arc::clone(&topology), old.catalog_known);
            Arc::new(Cluster { topology, catalog, catalog_known, turn, since: Instant::now() })
        });
    }

    /// Closes the idle connections that nobody may use any more.
    pub fn sweep(&self) {
        let now = Instant::now();
        for (_, pools) in self.all_pools() {
            pools.pools.iter().for_each(|pool| pool.sweep(now));
        }
    }

    /// Every server connection that is open now is closed when its client gives it back.
    pub fn reconnect(&self) {
        let now = Instant::now();
        for (_, pools) in self.all_pools() {
            pools.all().iter().for_each(|pool| pool.retire(now));
        }
    }

    /// Swaps in a newer catalog. One that says the same is not newer, unless the servers' own plans are known to be `stale`: what
    /// was derived from it, and what is prepared on the servers, stays good.
    pub fn set_catalog(&self, mut catalog: Catalog, stale: bool) {
        self.cluster.rcu(|old| {
            catalog.generation = old.catalog.generation;
            if !stale && old.catalog_known && catalog == *old.catalog {
                return Arc::clone(old);
            }
            catalog.generation += 1;
            Arc::new(Cluster {
                topology: Arc::clone(&old.topology),
                catalog: Arc::new(catalog.clone()),
                catalog_known: true,
                turn: self.lasting.traffic.next_turn(),
                since: Instant::now(),
            })
        });
    }
}

/// Databases come and go, and their names return: no two of them ever have a generation of the catalog in common.
fn first_generation() -> u64 {
    static MADE: AtomicU64 = AtomicU64::new(0);
    MADE.fetch_add(1, Ordering::Relaxed) << 40
}

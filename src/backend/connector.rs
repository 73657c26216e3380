//! `ServerConnector`: how a connection to a shard's server is made, for whom, and with which settings it begins.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::backend::breakers::{Breakers, Probe, ServerBreaker};
use crate::backend::cancel::CancelHandle;
use crate::backend::defaults::{Defaults, HomeDefaults};
use crate::backend::facts::Facts;
use crate::backend::gate::Reach;
use crate::backend::names::Names;
use crate::backend::passed::{KeyRing, PassedKeys};
use crate::backend::pool::Connect;
use crate::backend::quota::{Quota, Quotas};
use crate::backend::roles::Heard;
use crate::backend::rules::Rules;
use crate::backend::servers::{self, ServerBook, ShardServers};
use crate::backend::{Backend, Work, login};
use crate::fault::{Blame, Fault, SqlState};
use crate::ids::ShardId;
use crate::metrics::{Metrics, ShardMetrics};
use crate::net::Keepalive;
use crate::secret::Secret;
use crate::tls::ServerTls;
use crate::topology::Server;

/// Longer than anybody waits.
const FOR_EVER: Duration = Duration::from_secs(30 * 365 * 86_400);

/// Who we are to the shards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    pub user: String,
    pub password: Option<Secret>,
    /// In its place, where the config has a SCRAM verifier alone.
    pub passed: Option<Arc<PassedKeys>>,
}

impl Credentials {
    /// Whether a client has to show first with what to log in.
    pub fn are_awaited(&self) -> bool {
        self.password.is_none() && self.passed.as_ref().is_some_and(|passed| !passed.are_known())
    }
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
    /// Of users.
    pub keys: Arc<KeyRing>,
    pub metrics: Arc<Metrics>,
}

impl ServerAccess {
    fn reach(&self) -> Reach {
        Reach { connect: self.connect_timeout, login: self.login_timeout }
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
    /// How long somebody has for a connection who says so; `None`: as `access` has it.
    pub hurry: Option<Reach>,
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

    async fn connect(&self, reach: Option<Reach>) -> Result<Backend, Fault> {
        match reach {
            None => self.connect_in_time().await,
            Some(_) => Self { hurry: reach, ..self.clone() }.connect_in_time().await,
        }
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
    async fn connect_in_time(&self) -> Result<Backend, Fault> {
        let deadline = self.deadline();
        let begun = tokio::time::timeout_at(deadline.into(), self.begin(deadline)).await;
        begun.unwrap_or_else(|_| {
            let goal = self.aim.goal()?;
            let fault = self.timed_out(&goal.server.address());
            self.note_late(goal.breaker, &fault);
            Err(fault)
        })
    }

    fn reach_time(&self) -> Reach {
        self.hurry.unwrap_or_else(|| self.access.reach())
    }

    /// Until then a connection that is begun now can be used.
    fn deadline(&self) -> Instant {
        let now = Instant::now();
        // What is too long to be counted is no limit.
        now.checked_add(self.reach_time().whole()).unwrap_or_else(|| now + FOR_EVER)
    }

    /// The server did not answer in time: that is its failure where it had as long as with everybody.
    fn note_late(&self, breaker: &ServerBreaker, fault: &Fault) {
        if self.reach_time().is_no_shorter_than(self.access.reach()) {
            breaker.failed(fault);
        }
    }

    pub fn new(shard: ShardId, aim: Aim, credentials: &Credentials, access: &ServerAccess, start: Start) -> Self {
        Self {
            shard,
            aim,
            credentials: credentials.clone(),
            access: access.clone(),
            start,
            rules: None,
            metrics: None,
            hurry: None,
        }
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
    pub(super) fn is_like(&self, other: &Self) -> bool {
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

    /// The DateStyle of a login with these parts of one, on a connection of its own.
    ///
    /// # Errors
    /// The server cannot be reached, or has no room.
    pub async fn date_style_with(&self, parts: &[Box<str>]) -> Result<String, Fault> {
        let Goal { server, breaker, .. } = self.aim.goal()?;
        let Some(_slot) = self.access.quotas.of(server).try_enter() else {
            let message = format!("there is no room for a connection to shard server {}", server.address());
            return Err(Fault::new(SqlState::TOO_MANY_CONNECTIONS, message)
                .detail("a login with a part of DateStyle has to ask the server for the other one")
                .hint("Give DateStyle whole, as in \"ISO, MDY\", or raise max_server_connections.")
                .blame(Blame::Router));
        };
        let settings: Vec<(&str, &str)> = parts.iter().map(|part| ("DateStyle", &**part)).collect();
        let asked = self.log_in(server, breaker, &settings, self.deadline()).await?;
        let told = asked.parameters.iter().find(|(name, _)| &**name == "DateStyle");
        told.map(|(_, value)| value.to_string()).ok_or_else(|| unable(&asked.address).detail("it tells no DateStyle"))
    }

    /// How it ends is told to the server's breaker.
    async fn log_in(
        &self,
        server: &Server,
        breaker: &ServerBreaker,
        settings: &[(&str, &str)],
        deadline: Instant,
    ) -> Result<Backend, Fault> {
        let course = login::Course::default();
        let logged_in = tokio::time::timeout_at(deadline.into(), self.try_log_in(server, settings, &course)).await;
        let overdue = logged_in.as_ref().map_or_else(|_| Some(course.limit()), |_| course.overdue());
        if let Some(limit) = overdue {
            self.access.metrics.overdue(limit);
        }
        let logged_in = logged_in.unwrap_or_else(|_| Err(self.timed_out(&server.address())));
        match &logged_in {
            Ok(_) => breaker.succeeded(),
            Err(fault) if overdue.is_some() => self.note_late(breaker, fault),
            Err(fault) => breaker.failed(fault),
        }
        logged_in
    }

    async fn try_log_in(
        &self,
        server: &Server,
        settings: &[(&str, &str)],
        course: &login::Course,
    ) -> Result<Backend, Fault> {
        let mut parameters = vec![("client_encoding", "UTF8")];
        // Clients see the name that their connections begin with; only those of the router itself have its name.
        if matches!(self.start, Start::Unknown) {
            parameters.push(("application_name", "pgloom"));
        }
        parameters.extend_from_slice(settings);
        let reach = self.reach_time();
        let logged_in = login::connect(login::Target {
            server,
            user: &self.credentials.user,
            password: self.credentials.password.as_ref(),
            passed: self.credentials.passed.as_deref(),
            tls: &self.access.tls,
            connect_timeout: reach.connect,
            login_timeout: reach.login.unwrap_or(reach.connect),
            parameters: &parameters,
            course,
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
            .detail(format!("no answer within {:?}", self.reach_time().whole()))
            .blame(Blame::Server)
    }
}

fn lost_connection(address: &str) -> Fault {
    Fault::new(SqlState::CONNECTION_FAILURE, format!("lost connection to shard server {address}")).blame(Blame::Server)
}

fn unable(address: &str) -> Fault {
    Fault::new(SqlState::UNABLE_TO_CONNECT, format!("could not connect to shard server {address}"))
}

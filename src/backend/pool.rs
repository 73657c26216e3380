//! `Pool`: the connections to one server for one user. A `Checkout` gives back a clean connection or discards it. How many there may
//! be, and who gets the next one, is the business of the [`Gate`] that a user's pools share.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use smallvec::SmallVec;
use tokio::sync::OwnedSemaphorePermit;

use crate::backend::Backend;
use crate::backend::breakers::Probe;
use crate::backend::cancel::CancelHandle;
use crate::backend::facts::Members;
use crate::backend::gate::{Denied, Gate, Patience, Reach};
use crate::backend::quota::{Crowded, Given, Lender, Next, PoolId, Quota, Slot};
use crate::backend::turns::Place;
use crate::catalog::placeholders::Placeholders;
use crate::fault::{Blame, Fault, SqlState};

/// What PgBouncer says, too.
pub const WAITED_TOO_LONG: &str = "query_wait_timeout";

/// Makes a new connection for a pool: TCP and TLS in the router, memory in tests.
pub trait Connect: Send + Sync + 'static {
    /// How many connections there may be to the server, of all pools.
    fn quota(&self) -> Option<Arc<Quota>> {
        None
    }

    /// `reach`: how long that may take, for somebody who says so.
    fn connect(&self, reach: Option<Reach>) -> impl Future<Output = Result<Backend, Fault>> + Send;

    /// Whether an idle connection is as a new one would be.
    fn is_current(&self, backend: &Backend) -> bool;

    /// # Errors
    /// `57P03` while nobody is to wait for the server.
    fn check(&self) -> Result<(), Fault>;

    /// The right to try the server; what is returned is kept while it is tried.
    ///
    /// # Errors
    /// As [`Self::check`].
    fn admit(&self) -> Result<Option<Probe>, Fault>;

    /// Whether an idle connection may hang where no server is any more.
    fn is_doubtful(&self, backend: &Backend) -> bool;

    /// Whether the server at the other end of an idle connection answers.
    fn try_out(&self, backend: &mut Backend) -> impl Future<Output = bool> + Send;

    /// A connection comes back from its client: what became of it tells of the server.
    fn note(&self, backend: &Backend);
}

/// Limits and ages of one pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolLimits {
    /// Connections at most.
    pub size: usize,
    /// Connections kept open though nobody uses them, once the pool is in use.
    pub min_size: usize,
    /// An idle connection older than this is closed.
    pub idle_timeout: Option<Duration>,
    /// A connection older than this is not reused.
    pub lifetime: Option<Duration>,
    /// The setting that `size` comes from, for messages.
    pub size_setting: &'static str,
    /// Clients that may wait for a connection; who comes then is told at once.
    pub queue: usize,
    /// Of a hundred connections, those that statements which need several pools may have.
    pub share: usize,
}

/// Counts that metrics and the console read.
#[derive(Debug, Default)]
pub struct PoolCounts {
    /// Lent, or being made for somebody.
    pub active: AtomicUsize,
    /// Of those: being made.
    pub login: AtomicUsize,
    /// Of those: being tried out, because the server has failed.
    pub tested: AtomicUsize,
    pub connects: AtomicU64,
    pub connect_failures: AtomicU64,
    pub discards: AtomicU64,
}

pub struct Pool<C> {
    me: Weak<Self>,
    pub connector: Arc<C>,
    limits: ArcSwap<PoolLimits>,
    /// The configuration has another one in its place: what comes back is closed.
    dissolved: AtomicBool,
    gate: Arc<Gate>,
    place: Place,
    idle: Mutex<Idle>,
    members: Members,
    pub counts: PoolCounts,
    /// What the last attempt to connect failed with, until one succeeds: for `/readyz` and `check`.
    last_failure: Mutex<Option<Fault>>,
}

/// The connections that nobody uses.
#[derive(Default)]
struct Idle {
    /// Boxed once: a connection moves between pool and clients as one pointer.
    #[allow(clippy::vec_box)]
    connections: Vec<Box<Backend>>,
    /// What was connected before this is not reused; set by each sweep, so that giving back reads no clock.
    expired: Option<Instant>,
    /// Nor what was connected before this.
    retired: Option<Instant>,
}

impl Idle {
    /// The connection used last: its caches are warm, and the others can age. Of those that fit, one with the very custom settings of
    /// its client goes before: others can still be anybody's.
    fn best(&self, fit: Option<&Placeholders>) -> Option<usize> {
        let last = self.connections.len().checked_sub(1)?;
        let Some(fit) = fit else { return Some(last) };
        if self.connections.get(last).is_some_and(|backend| backend.placeholders == *fit) {
            return Some(last);
        }
        let same = self.connections.iter().rposition(|backend| backend.placeholders == *fit);
        same.or_else(|| self.connections.iter().rposition(|backend| fits(backend, Some(fit))))
    }
}

/// Whether a connection has no custom settings but these; `None`: it does not matter.
fn fits(backend: &Backend, fit: Option<&Placeholders>) -> bool {
    fit.is_none_or(|fit| fit.hold(&backend.placeholders))
}

/// What a connection of a pool is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberState {
    /// In a client's hands.
    Active,
    /// In a client's hands, or on its way out of them, with a cancel request on its way to it.
    BeingCanceled,
    Idle,
    /// Idle, and to be tried out before somebody gets it.
    Used,
}

/// Counts as long as it lives.
struct Counting<'a>(&'a AtomicUsize);

impl<'a> Counting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Counting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<C: Connect> Pool<C> {
    /// One more pool behind `gate`.
    pub fn new(connector: C, mut limits: PoolLimits, gate: &Arc<Gate>) -> Arc<Self> {
        limits.size = limits.size.max(1);
        Arc::new_cyclic(|me| Self {
            me: Weak::clone(me),
            place: gate.add(limits.size, limits.queue),
            gate: Arc::clone(gate),
            connector: Arc::new(connector),
            limits: ArcSwap::from_pointee(limits),
            dissolved: AtomicBool::new(false),
            idle: Mutex::default(),
            members: Members::default(),
            counts: PoolCounts::default(),
            last_failure: Mutex::default(),
        })
    }

    /// Which of the pools behind its gate it is.
    pub fn place(&self) -> Place {
        self.place
    }

    /// Whether a client that comes now would have to wait for a connection of this pool.
    pub fn is_busy(&self) -> bool {
        self.gate.is_full(self.place)
    }

    /// How many clients wait for a connection of this pool.
    pub fn waiting(&self) -> usize {
        self.gate.waiting(self.place)
    }

    /// How long the first of them has waited.
    pub fn longest_wait(&self, now: Instant) -> Duration {
        self.gate.waiting_since(self.place).map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }

    /// Its connections and what they do; oldest first.
    pub fn members(&self) -> Vec<(Arc<CancelHandle>, MemberState)> {
        let idle = self.idle();
        let mut members: Vec<_> = self
            .members
            .all()
            .into_iter()
            .map(|member| {
                let resting = idle.connections.iter().find(|backend| Arc::ptr_eq(&backend.cancel, &member));
                let state = match resting {
                    Some(backend) if self.connector.is_doubtful(backend) => MemberState::Used,
                    Some(_) => MemberState::Idle,
                    None if member.is_announced() => MemberState::BeingCanceled,
                    None => MemberState::Active,
                };
                (member, state)
            })
            .collect();
        members.sort_by_key(|(member, _)| member.facts.id);
        members
    }

    /// What was connected before this is closed: at once where nobody has it, else when it is given back.
    pub fn retire(&self, before: Instant) {
        self.idle().retired = Some(before);
        self.sweep(Instant::now());
    }

    /// What was connected before this is to be closed.
    pub fn retired(&self) -> Option<Instant> {
        self.idle().retired
    }

    pub fn limits(&self) -> Arc<PoolLimits> {
        self.limits.load_full()
    }

    /// Other limits from now on. Connections in use stay so; those that are too many then are closed when they come back.
    pub fn set_limits(&self, mut limits: PoolLimits) {
        limits.size = limits.size.max(1);
        let (size, queue) = (limits.size, limits.queue);
        if *self.limits.swap(Arc::new(limits)) != **self.limits.load() {
            self.gate.resize(self.place, size, queue);
            self.sweep(Instant::now());
        }
    }

    /// Nobody new comes to this pool: its idle connections are closed, and the others when they come back.
    pub fn dissolve(&self) {
        self.dissolved.store(true, Ordering::Release);
        self.idle().connections.clear();
    }

    /// Number of connections that nobody uses.
    pub fn idle_count(&self) -> usize {
        self.idle().connections.len()
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn last_failure(&self) -> Option<Fault> {
        self.last_failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The checkout of somebody whom the gate has let in; it has no connection yet where none is idle.
    fn lend(self: &Arc<Self>, fit: Option<&Placeholders>) -> Checkout<C> {
        self.counts.active.fetch_add(1, Ordering::Relaxed);
        Checkout { backend: self.take_idle(fit), pool: Arc::clone(self), share: None, fanout: None }
    }

    /// The same for a client that holds nothing, where nobody is before it and a connection is idle that need not be tried out. `None`:
    /// [`checkout`] says what there is to wait for.
    pub fn lend_idle(self: &Arc<Self>, fit: Option<&Placeholders>) -> Option<Checkout<C>> {
        self.connector.check().ok()?;
        if !self.gate.enter_free(self.place) {
            return None;
        }
        let lent = self.lend(fit);
        (!lent.needs_connecting()).then_some(lent)
    }

    fn denied(&self, denied: Denied, patience: Patience) -> Fault {
        let Patience { wait, useful, .. } = patience;
        let PoolLimits { size, size_setting, queue, .. } = &**self.limits.load();
        let fault = match denied {
            Denied::Share => Fault::new(SqlState::TOO_MANY_CONNECTIONS, WAITED_TOO_LONG)
                .detail(format!("as many statements over several shards as may run at once ran for {wait:?}"))
                .hint("Raise scatter_pool_share or the pool's size, or give statements the sharding key."),
            Denied::ShareCrowded => {
                Fault::new(SqlState::TOO_MANY_CONNECTIONS, "too many clients wait for server connections")
                    .detail(format!("{queue} statements over several shards wait already for their share of the pools"))
                    .hint("Try again later; pool_queue_size limits how many wait, scatter_pool_share how many run.")
            }
            Denied::Crowded(_) => {
                Fault::new(SqlState::TOO_MANY_CONNECTIONS, "too many clients wait for server connections")
                    .detail(format!("{queue} wait already for one of the pool's {size} connections"))
                    .hint("Try again later; pool_queue_size limits how many wait.")
            }
            Denied::Late(_, expected) => {
                let (expected, useful) = (in_millis(expected), in_millis(useful));
                Fault::new(SqlState::TOO_MANY_CONNECTIONS, "too many clients wait for server connections")
                    .detail(format!("this one would wait for about {expected} for one of the pool's {size}, and has {useful}"))
                    .hint(format!("Try again later. Raise {size_setting}, or what bounds the wait: query_wait_timeout and query_timeout."))
            }
            Denied::Timeout(_) => Fault::new(SqlState::TOO_MANY_CONNECTIONS, WAITED_TOO_LONG)
                .detail(format!("all {size} server connections of the pool were busy for {wait:?}"))
                .hint(format!("Raise {size_setting} or query_wait_timeout, or look for long transactions.")),
            Denied::Alone(_) => {
                Fault::new(SqlState::TOO_MANY_CONNECTIONS, "the session would wait for a server connection of its own")
                    .detail(format!("it holds all {size} server connections of the pool"))
                    .hint(format!("Raise {size_setting}, or end what the session keeps open."))
            }
            Denied::Circle => Fault::new(SqlState::DEADLOCK_DETECTED, "deadlock detected")
                .detail(
                    "transactions hold all server connections of pools, and each waits for one that another one holds",
                )
                .hint(format!("Run the transaction again. Raise {size_setting} if this happens often.")),
        };
        fault.blame(Blame::Router)
    }

    /// A place for one more connection to the server, waited for until then. `None`: nobody counts them.
    async fn slot(&self, until: Option<Instant>) -> Result<Option<Given>, Fault> {
        let Some(quota) = self.connector.quota() else { return Ok(None) };
        let me: Weak<Self> = Weak::clone(&self.me);
        let lender: Weak<dyn Lender> = me;
        quota.know(&lender);
        let queue = self.limits.load().queue;
        let entered = quota.enter(queue, self.id());
        let entered = match until {
            Some(until) => tokio::time::timeout_at(until.into(), entered).await,
            None => Ok(entered.await),
        };
        let denied = |message: &'static str, detail: String| {
            Fault::new(SqlState::TOO_MANY_CONNECTIONS, message)
                .detail(detail)
                .hint("Try again later, raise max_server_connections, or look for long transactions.")
                .blame(Blame::Router)
        };
        match entered {
            Ok(Ok(given)) => Ok(Some(given)),
            Ok(Err(Crowded)) => {
                let detail = format!("{queue} wait already for one of the server's connections");
                Err(denied("too many clients wait for server connections", detail))
            }
            Err(_) => {
                let detail = format!("all {} connections that there may be to the server were in use", quota.most());
                Err(denied(WAITED_TOO_LONG, detail))
            }
        }
    }

    async fn connect(&self, slot: Option<Slot>, reach: Option<Reach>) -> Result<Backend, Fault> {
        let _probe = self.connector.admit()?;
        self.counts.connects.fetch_add(1, Ordering::Relaxed);
        let _login = Counting::new(&self.counts.login);
        let begun = Instant::now();
        let connected = self.connector.connect(reach).await.map(|mut backend| {
            backend.slot = slot;
            backend
        });
        match &connected {
            Ok(backend) => self.members.add(&backend.cancel),
            Err(_) => {
                self.counts.connect_failures.fetch_add(1, Ordering::Relaxed);
            }
        }
        // What one client has no time for is not what keeps others waiting; what a server says to it is.
        let is_late =
            reach.is_some_and(|reach| begun.elapsed() >= reach.connect.min(reach.login.unwrap_or(reach.connect)));
        if connected.is_ok() || !is_late {
            *self.last_failure.lock().unwrap_or_else(PoisonError::into_inner) = connected.as_ref().err().cloned();
        }
        connected
    }

    /// A connection to a server that answers: the idle one that may hang, or a new one.
    async fn revive(
        &self,
        idle: Option<Box<Backend>>,
        fit: Option<&Placeholders>,
        until: Option<Instant>,
        reach: Option<Reach>,
    ) -> Result<Box<Backend>, Fault> {
        if let Some(mut backend) = idle {
            let probe = self.connector.admit()?;
            let _tested = Counting::new(&self.counts.tested);
            if self.connector.try_out(&mut backend).await {
                return Ok(backend);
            }
            drop((probe, backend));
        }
        let slot = match self.slot(until).await? {
            Some(Given::Connection(backend)) if fits(&backend, fit) => return Ok(backend),
            // Its place is taken by another one.
            Some(Given::Connection(mut backend)) => backend.slot.take(),
            Some(Given::Right(slot)) => Some(slot),
            None => None,
        };
        self.connect(slot, reach).await.map(Box::new)
    }

    /// While it lives.
    fn id(&self) -> PoolId {
        PoolId(std::ptr::from_ref(self) as usize)
    }

    fn take_idle(&self, fit: Option<&Placeholders>) -> Option<Box<Backend>> {
        let mut idle = self.idle();
        loop {
            let Some(at) = idle.best(fit) else {
                // One that is not for this client makes room for one that is.
                let most = self.limits.load().size.saturating_sub(self.counts.active.load(Ordering::Relaxed));
                let surplus = idle.connections.len().saturating_sub(most);
                idle.connections.drain(..surplus);
                self.counts.discards.fetch_add(surplus as u64, Ordering::Relaxed);
                return None;
            };
            let mut backend = idle.connections.remove(at);
            if !backend.peer_has_spoken() && self.connector.is_current(&backend) {
                backend.idle_since = None;
                backend.heard = false;
                return Some(backend);
            }
        }
    }

    /// Closes connections that were idle or alive for too long. Called now and then.
    pub fn sweep(&self, now: Instant) {
        let mut idle = self.idle();
        let limits = self.limits.load();
        idle.expired = limits.lifetime.and_then(|limit| now.checked_sub(limit)).max(idle.retired);
        let expired = idle.expired;
        let most = limits.size.saturating_sub(self.counts.active.load(Ordering::Relaxed));
        // Those used longest ago are at the front.
        let surplus = idle.connections.len().saturating_sub(most);
        idle.connections.drain(..surplus);
        idle.connections.retain_mut(|backend| {
            let idle_since = *backend.idle_since.get_or_insert(now);
            let stale = limits.idle_timeout.is_some_and(|limit| now.duration_since(idle_since) > limit);
            !stale && !is_expired(backend, expired) && !backend.peer_has_spoken() && self.connector.is_current(backend)
        });
    }

    /// Opens connections until `min_size` are there. Called now and then; a server that does not answer is left alone.
    pub async fn fill(self: &Arc<Self>) {
        let mut fresh = Vec::new();
        let limits = self.limits();
        while self.idle_count() + self.counts.active.load(Ordering::Relaxed) < limits.min_size.min(limits.size) {
            if !self.gate.try_enter(self.place) {
                break;
            }
            self.counts.active.fetch_add(1, Ordering::Relaxed);
            let mut checkout = Checkout { backend: None, pool: Arc::clone(self), share: None, fanout: None };
            // Those that are kept open take no place from anybody who wants one.
            let slot = self.connector.quota().map(|quota| quota.try_enter());
            let connected = match slot {
                Some(None) => break,
                Some(slot) => self.connect(slot, None).await,
                None => self.connect(None, None).await,
            };
            match connected {
                Ok(backend) => checkout.backend = Some(Box::new(backend)),
                Err(_) => break,
            }
            fresh.push(checkout);
        }
    }

    fn give_back(&self, mut backend: Box<Backend>) {
        self.connector.note(&backend);
        if !backend.is_clean() {
            self.counts.discards.fetch_add(1, Ordering::Relaxed);
            return;
        }
        backend.slim();
        let mut idle = self.idle();
        loop {
            // Looked at under the lock: who dissolves the pool closes what was put there before.
            let useful = !self.dissolved.load(Ordering::Acquire) && idle.connections.len() < self.limits.load().size;
            if !useful || is_expired(&backend, idle.expired) || !self.connector.is_current(&backend) {
                return;
            }
            match backend.slot.as_ref().map_or(Next::Idle, |slot| slot.next(self.id())) {
                Next::Idle => return idle.connections.push(backend),
                Next::Closed => return,
                Next::Handed(bell) => match bell.send(Given::Connection(backend)) {
                    // Somebody who waits no longer.
                    Err(Given::Connection(back)) => backend = back,
                    Ok(()) | Err(Given::Right(_)) => return,
                },
            }
        }
    }
}

impl<C: Connect> Lender for Pool<C> {
    fn close_idle(&self, quota: &Quota) -> bool {
        let is_of = |backend: &Box<Backend>| backend.slot.as_ref().is_some_and(|slot| slot.is_of(quota));
        let found = {
            let mut idle = self.idle();
            let at = idle.connections.iter().position(is_of);
            at.map(|at| idle.connections.remove(at))
        };
        found.is_some()
    }
}

impl<C> Drop for Pool<C> {
    fn drop(&mut self) {
        self.gate.remove(self.place);
    }
}

fn is_expired(backend: &Backend, before: Option<Instant>) -> bool {
    before.is_some_and(|before| backend.connected_at < before)
}

/// For people.
fn in_millis(time: Duration) -> String {
    format!("{} ms", time.as_millis())
}

/// Why there are no connections.
#[derive(Debug)]
pub struct Unlent {
    /// The pool that could not make a new one; `None`: it was the gate that said no.
    pub place: Option<Place>,
    pub fault: Fault,
}

/// A connection of each of these pools, which share a gate, for one client that holds some of the pools at `holds` already and waits so
/// long, or not at all where that would be in vain. All or none: nobody keeps one pool from others while it waits for another one. They have no custom settings but those of `fit`;
/// `None`: whichever.
///
/// # Errors
/// `57P03` at once while nobody is to wait for one of the servers; `53300` when they did not come free in time; `40P01` when they never
/// could; a connector's fault when a new connection could not be made.
pub async fn checkout<C: Connect>(
    pools: &[&Arc<Pool<C>>],
    holds: &[Place],
    fit: Option<&Placeholders>,
    patience: Patience,
) -> Result<SmallVec<[Checkout<C>; 1]>, Unlent> {
    let Some(first) = pools.first() else { return Ok(SmallVec::new()) };
    for pool in pools {
        pool.connector.check().map_err(|fault| Unlent { place: Some(pool.place), fault })?;
    }
    // A transaction that goes on to more shards must not wait for those that have begun later.
    let (mut share, mut left) = (None, patience);
    if pools.len() > 1 && holds.is_empty() {
        let since = Instant::now();
        let shared = first.gate.share(patience.wait, first.limits().queue).await;
        share = shared.map_err(|denied| Unlent { place: None, fault: first.denied(denied, patience) })?;
        left = patience.less(since.elapsed());
    }
    let mut wants: SmallVec<[Place; 4]> = SmallVec::new();
    pools.iter().for_each(|pool| wants.push(pool.place));
    if let Err(denied) = first.gate.enter(&wants, holds, left).await {
        let short = match denied {
            Denied::Timeout(place) | Denied::Alone(place) | Denied::Crowded(place) | Denied::Late(place, _) => {
                pools.iter().find(|pool| pool.place == place)
            }
            Denied::Circle | Denied::Share | Denied::ShareCrowded => None,
        };
        return Err(Unlent { place: None, fault: short.unwrap_or(first).denied(denied, patience) });
    }
    let mut checkouts: SmallVec<[Checkout<C>; 1]> = SmallVec::new();
    pools.iter().for_each(|pool| checkouts.push(pool.lend(fit)));
    if let Some(checkout) = checkouts.first_mut() {
        checkout.share = share;
    }
    if checkouts.iter().any(Checkout::needs_connecting) {
        let until = Instant::now().checked_add(left.wait);
        let missing = checkouts.iter_mut().filter(|checkout| checkout.needs_connecting());
        let connects = missing.map(async |checkout| {
            let place = Some(checkout.pool.place);
            let idle = checkout.backend.take();
            checkout.backend = Some(
                checkout.pool.revive(idle, fit, until, left.reach).await.map_err(|fault| Unlent { place, fault })?,
            );
            Ok::<_, Unlent>(())
        });
        futures::future::try_join_all(connects).await?;
    }
    Ok(checkouts)
}

/// One connection lent to one client. Dropped: given back when clean, closed when not.
pub struct Checkout<C: Connect> {
    backend: Option<Box<Backend>>,
    pool: Arc<Pool<C>>,
    /// Its statement's right to several pools.
    share: Option<OwnedSemaphorePermit>,
    /// Its statement's right to several shards.
    fanout: Option<OwnedSemaphorePermit>,
}

impl<C: Connect> Checkout<C> {
    /// Whether it has no connection, or one that may hang.
    fn needs_connecting(&self) -> bool {
        self.backend.as_ref().is_none_or(|backend| self.pool.connector.is_doubtful(backend))
    }

    /// Given back with the connection.
    pub fn keep(&mut self, fanout: OwnedSemaphorePermit) {
        self.fanout = Some(fanout);
    }

    /// What has made this connection.
    pub fn connector(&self) -> &C {
        &self.pool.connector
    }

    /// The place of its pool.
    pub fn place(&self) -> Place {
        self.pool.place
    }

    /// Never to be used again, whatever its state looks like.
    pub fn discard(mut self) {
        if let Some(backend) = &mut self.backend {
            backend.broken = true;
        }
    }
}

impl<C: Connect> std::ops::Deref for Checkout<C> {
    type Target = Backend;

    fn deref(&self) -> &Backend {
        self.backend.as_ref().expect("a checkout holds its connection until it is dropped")
    }
}

impl<C: Connect> std::ops::DerefMut for Checkout<C> {
    fn deref_mut(&mut self) -> &mut Backend {
        self.backend.as_mut().expect("a checkout holds its connection until it is dropped")
    }
}

impl<C: Connect> Drop for Checkout<C> {
    fn drop(&mut self) {
        self.pool.counts.active.fetch_sub(1, Ordering::Relaxed);
        if let Some(backend) = self.backend.take() {
            self.pool.give_back(backend);
        }
        self.pool.gate.give_back(self.pool.place);
    }
}

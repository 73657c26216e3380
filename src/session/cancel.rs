//! Who may cancel what: keys of clients, and the server connections that work for each right now.

use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use dashmap::DashMap;
use ring::rand::{SecureRandom, SystemRandom};
use smallvec::SmallVec;
use tokio::sync::Notify;

use crate::admin::ClientView;
use crate::backend::cancel::CancelHandle;
use crate::backend::cluster::ServerPool;
use crate::backend::pool::MemberState;
use crate::control::deadlock::graph::Process;
use crate::control::deadlock::{Holder, Queue, Sessions};
use crate::fault::{Fault, SqlState};
use crate::ids::RouterNumber;
use crate::scope::{Control, Wish};
use crate::secret::Secret;
use crate::session::deadlines::Limited;

/// A client that was killed, and is still there after so long, waits for a server that hangs.
const HANGS: Duration = Duration::from_secs(3);

/// Who a client is.
#[derive(Clone, Debug)]
pub struct Identity {
    pub database: Arc<str>,
    pub user: Arc<str>,
    pub peer: Option<SocketAddr>,
    pub local: Option<SocketAddr>,
    /// Protocol and cipher; empty without TLS.
    pub tls: Box<str>,
    /// The number of its socket among the open files of this process.
    pub fd: RawFd,
}

/// One client's entry: its secret, and what runs for it.
pub struct CancelSlot {
    secret: Secret,
    identity: Identity,
    /// When it came.
    connected: SystemTime,
    application: Mutex<Box<str>>,
    /// Statements that it has prepared.
    prepared: AtomicUsize,
    /// Cancel requests of its own that are being passed on.
    cancels: AtomicUsize,
    running: Mutex<Running>,
    /// When it began to hold the first of them, and when the statement that runs was read (0: none runs); in microseconds since the
    /// registry was made.
    began: AtomicU64,
    statement: AtomicU64,
    /// When the last statement was read, and since when it waits for server connections (0: it does not).
    request: AtomicU64,
    waits: AtomicU64,
    /// When the time of the statement is up, and that of the transaction (0: never).
    pub(super) deadline: AtomicU64,
    pub(super) last_moment: AtomicU64,
    /// When the statement was last cancelled because its time was up, and for the first time.
    pub(super) expired: AtomicU64,
    pub(super) first_expired: AtomicU64,
    /// Microseconds for which the client may take nothing of its answer, and for which a statement may go on when its time is up (0: for
    /// ever).
    pub(super) patience: AtomicU64,
    pub(super) grace: AtomicU64,
    /// What a statement that waits is told when it is cancelled; `None`: that its user wanted it.
    verdict: Mutex<Option<Fault>>,
    /// Somebody waits for the end of its statement: [`Self::over`].
    awaited: AtomicBool,
    ended: Notify,
    /// The gid under which its transaction is being committed.
    gid: Mutex<Option<Box<str>>>,
    /// The pools of which its statement wants connections beside those that work for it.
    wanted: Mutex<SmallVec<[Arc<ServerPool>; 2]>>,
    pub control: Arc<Control>,
}

#[derive(Default)]
struct Running {
    servers: SmallVec<[Arc<CancelHandle>; 2]>,
    /// Its statement waits for server connections; or for servers in a commit that can still be undone.
    waiting: bool,
    /// It waits for its client's rows, or for the servers to take them: these have work to be cancelled.
    copying: bool,
}

impl CancelSlot {
    /// Notes the server connections that now work for this client.
    pub fn set(&self, running: impl IntoIterator<Item = Arc<CancelHandle>>) {
        let mut slot = self.running();
        slot.servers.clear();
        slot.servers.extend(running);
    }

    /// One more, in a statement that was read at this moment.
    pub fn add(&self, running: Arc<CancelHandle>, now: u64) {
        let mut slot = self.running();
        if slot.servers.is_empty() {
            self.began.store(now, Ordering::Relaxed);
        }
        slot.servers.push(running);
    }

    /// A statement was read at this moment; 0: it has been answered.
    pub fn note_statement(&self, moment: u64) {
        self.statement.store(moment, Ordering::Relaxed);
        if moment > 0 {
            self.request.store(moment, Ordering::Relaxed);
        }
        if self.awaited.load(Ordering::Relaxed) {
            self.awaited.store(false, Ordering::Relaxed);
            self.ended.notify_waiters();
        }
    }

    /// The statement that was read at this moment has been answered.
    pub(super) async fn over(&self, statement: u64) {
        loop {
            let mut ended = std::pin::pin!(self.ended.notified());
            ended.as_mut().enable();
            self.awaited.store(true, Ordering::Relaxed);
            if self.statement() != statement {
                return;
            }
            // Statements have no fence for the sake of those who wait: one that ended just then may not have seen this one.
            let _ = tokio::time::timeout(Duration::from_millis(50), ended).await;
        }
    }

    pub fn note_application(&self, name: &str) {
        let mut known = self.application.lock().unwrap_or_else(PoisonError::into_inner);
        if **known != *name {
            *known = name.into();
        }
    }

    pub fn note_prepared(&self, count: usize) {
        self.prepared.store(count, Ordering::Relaxed);
    }

    /// It is being committed on several shards, under this name; `None`: that is over, and the transaction with it, however long it took.
    pub fn note_commit(&self, gid: Option<String>) {
        if gid.is_none() {
            self.last_moment.store(0, Ordering::Relaxed);
        }
        *self.gid.lock().unwrap_or_else(PoisonError::into_inner) = gid.map(Into::into);
    }

    /// Nothing runs any more.
    pub fn clear(&self) {
        self.running().servers.clear();
    }

    /// As [`Self::wait`], while servers copy what the client sends.
    pub fn wait_copying(&self) -> Waiting<'_> {
        self.running().copying = true;
        self.wait()
    }

    /// As [`Self::wait`], for server connections, from this moment on.
    pub fn wait_for_servers(&self, now: u64) -> Waiting<'_> {
        self.waits.store(now, Ordering::Relaxed);
        self.wait()
    }

    /// While the value lives, those who look for deadlocks know what it waits for, where it waits.
    pub fn want(self: &Arc<Self>, pools: impl IntoIterator<Item = Arc<ServerPool>>) -> Wanting {
        self.wanted().extend(pools);
        Wanting(Arc::clone(self))
    }

    fn wanted(&self) -> MutexGuard<'_, SmallVec<[Arc<ServerPool>; 2]>> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The pools that it waits for and that have lent all they may.
    fn queues(&self) -> Vec<Queue> {
        let since = self.waits.load(Ordering::Relaxed);
        if since == 0 {
            return Vec::new();
        }
        let wanted = self.wanted().clone();
        let each = wanted.iter().filter_map(|pool| {
            let lent = pool.members().into_iter().filter(|(_, state)| match state {
                MemberState::Active | MemberState::BeingCanceled => true,
                MemberState::Idle | MemberState::Used => false,
            });
            let mut lent: Vec<Process> = lent.map(|(handle, _)| process(&handle)).collect();
            lent.sort();
            // One that is being made has no process yet: whoever has it goes on.
            let active = pool.counts.active.load(Ordering::Relaxed);
            let full = active >= pool.limits().size && lent.len() >= active;
            full.then_some(Queue { shard: pool.connector.shard, since, lent })
        });
        each.collect()
    }

    /// While the value lives, a cancel request ends the wait: [`Control::poll_cancel`] becomes ready.
    pub fn wait(&self) -> Waiting<'_> {
        self.running().waiting = true;
        Waiting(self)
    }

    /// Why the wait has ended, where it was cancelled.
    pub fn canceled(&self) -> Fault {
        let verdict = self.verdict.lock().unwrap_or_else(PoisonError::into_inner).take();
        verdict.unwrap_or_else(|| Fault::new(SqlState::QUERY_CANCELED, "canceling statement due to user request"))
    }

    /// Cancels the statement that was read at this moment, and that is told this: the servers that work for it are to be asked.
    pub(super) fn condemn(&self, statement: u64, why: &Fault) -> SmallVec<[Arc<CancelHandle>; 2]> {
        // Under the lock, as in `cancel`.
        let running = self.running();
        let commits = self.gid.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        if commits || self.statement.load(Ordering::Relaxed) != statement {
            return SmallVec::new();
        }
        if running.waiting {
            *self.verdict.lock().unwrap_or_else(PoisonError::into_inner) = Some(why.clone());
            self.control.cancel();
        }
        for handle in &running.servers {
            handle.sentence(why.clone());
            handle.announce();
        }
        self.control.fall_due(why.clone());
        running.servers.clone()
    }

    /// The servers have not stopped in time: nobody waits for them any longer. False: nobody does already.
    pub(super) fn give_up_servers(&self, statement: u64) -> bool {
        let running = self.running();
        // Under the lock, as in `cancel`: those of the next statement are not meant, nor a commit that has begun meanwhile.
        if self.statement() != statement || self.is_committing() {
            return true;
        }
        let waited_for = running.servers.iter().any(|server| !server.is_abandoned());
        running.servers.iter().for_each(|server| server.abandon());
        drop(running);
        self.control.wake();
        waited_for
    }

    /// The moment at which the statement that runs was read; 0: none runs.
    pub(super) fn statement(&self) -> u64 {
        self.statement.load(Ordering::Relaxed)
    }

    /// Its transaction is being committed on several shards: no time is up any more.
    pub(super) fn is_committing(&self) -> bool {
        self.gid.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends a client. Where that waits for a server that hangs, and sees nothing else, nobody waits for the server a little later.
fn kill(slot: &Arc<CancelSlot>) {
    slot.control.ask(Wish::Kill);
    let (slot, statement) = (Arc::clone(slot), slot.statement());
    tokio::spawn(async move {
        tokio::time::sleep(HANGS).await;
        slot.give_up_servers(statement);
    });
}

/// A statement that waits for server connections.
pub struct Waiting<'a>(&'a CancelSlot);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut running = self.0.running();
        (running.waiting, running.copying) = (false, false);
        drop(running);
        self.0.waits.store(0, Ordering::Relaxed);
        self.0.verdict.lock().unwrap_or_else(PoisonError::into_inner).take();
        // One that came too late is not for the next statement.
        self.0.control.forget_cancel();
    }
}

/// A statement that wants connections of pools.
pub struct Wanting(Arc<CancelSlot>);

impl Drop for Wanting {
    fn drop(&mut self) {
        self.0.wanted().clear();
    }
}

fn process(handle: &CancelHandle) -> Process {
    Process { shard: handle.shard, pid: handle.key.pid }
}

/// Every client of this router by the process id that it was told.
pub struct CancelRegistry {
    pub(super) clients: DashMap<u32, Arc<CancelSlot>>,
    /// How many clients have limits that somebody must look at.
    pub(super) limited: Limited,
    /// In the process ids of all of them, so that other routers know whose they are.
    number: RouterNumber,
    next: AtomicU32,
    made: (Instant, SystemTime),
}

impl CancelRegistry {
    pub fn new(number: RouterNumber) -> Self {
        Self {
            number,
            clients: DashMap::new(),
            limited: Limited::default(),
            next: AtomicU32::new(0),
            made: (Instant::now(), SystemTime::now()),
        }
    }

    pub fn number(&self) -> RouterNumber {
        self.number
    }

    /// A moment as slots note it; never 0.
    pub fn moment(&self, at: Instant) -> u64 {
        micros(at.saturating_duration_since(self.made.0)).max(1)
    }

    /// A new client: its process id, its secret (`secret_len` random bytes) and its slot.
    pub fn register(
        &self,
        secret_len: usize,
        identity: Identity,
        control: Arc<Control>,
    ) -> (u32, Vec<u8>, Arc<CancelSlot>) {
        let mut secret = vec![0; secret_len];
        // The system's generator does not fail once the process runs; a zero secret would still have to be guessed right.
        let _ = SystemRandom::new().fill(&mut secret);
        let slot = Arc::new(CancelSlot {
            secret: Secret::new(secret.clone()),
            identity,
            connected: SystemTime::now(),
            application: Mutex::default(),
            prepared: AtomicUsize::new(0),
            cancels: AtomicUsize::new(0),
            running: Mutex::default(),
            began: AtomicU64::new(0),
            statement: AtomicU64::new(0),
            request: AtomicU64::new(0),
            waits: AtomicU64::new(0),
            deadline: AtomicU64::new(0),
            last_moment: AtomicU64::new(0),
            expired: AtomicU64::new(0),
            first_expired: AtomicU64::new(0),
            patience: AtomicU64::new(0),
            grace: AtomicU64::new(0),
            verdict: Mutex::default(),
            awaited: AtomicBool::new(false),
            ended: Notify::new(),
            gid: Mutex::default(),
            wanted: Mutex::default(),
            control,
        });
        loop {
            // There are fewer clients than numbers: `max_client_conn` has a limit.
            let client = self.next.fetch_add(1, Ordering::Relaxed).wrapping_add(1) & RouterNumber::CLIENTS;
            if client == 0 {
                continue;
            }
            let pid = self.number.pid(client);
            if let dashmap::Entry::Vacant(entry) = self.clients.entry(pid) {
                entry.insert(Arc::clone(&slot));
                return (pid, secret, slot);
            }
        }
    }

    pub fn remove(&self, pid: u32) {
        self.clients.remove(&pid);
    }

    pub fn len(&self) -> usize {
        self.clients.len()
    }

    pub fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }

    /// Wishes something of every client.
    pub fn ask_all(&self, wish: Wish) {
        for client in &self.clients {
            client.control.ask(wish);
        }
    }

    /// Wishes something of the clients of which this is true: of their database and user.
    pub fn ask_those(&self, wish: Wish, which: impl Fn(&str, &str) -> bool) {
        for client in self.clients.iter().filter(|client| which(&client.identity.database, &client.identity.user)) {
            client.control.ask(wish);
        }
    }

    /// A CancelRequest: passes it on to the servers that work for this client now. Wrong keys do nothing, and take as long.
    pub async fn cancel(&self, pid: u32, secret: &[u8]) {
        let Some(slot) = self.clients.get(&pid).map(|s| Arc::clone(&s)) else {
            return;
        };
        if !slot.secret.matches(secret) {
            return;
        }
        let (targets, statement) = {
            let running = slot.running();
            if running.waiting {
                slot.control.cancel();
            }
            // Under the lock: a session takes its connections out of the slot before it gives them back, and then sees that one is under way.
            running.servers.iter().for_each(|handle| handle.announce());
            (running.servers.clone(), slot.statement())
        };
        // It comes to its end whatever becomes of the client that asks: what is announced is settled.
        let sending = tokio::spawn(async move {
            let _counted = Counted::new(&slot.cancels);
            // All at once: where one has not even begun, its statement waits for another one.
            let sent = targets.iter().map(async |target| {
                target.send_within(Duration::MAX, slot.over(statement)).await;
                target.settle();
            });
            futures::future::join_all(sent).await;
        });
        let _ = sending.await;
    }

    /// Ends one client, whatever it does. False: there is none of this process id.
    pub fn kill(&self, pid: u32) -> bool {
        let client = self.clients.get(&pid);
        client.inspect(|client| kill(client)).is_some()
    }

    /// Ends all clients of a database; how many there were.
    pub fn kill_all_of(&self, database: &str) -> usize {
        let clients = self.clients.iter().filter(|client| *client.identity.database == *database);
        clients.map(|client| kill(&client)).count()
    }

    /// All clients, those that came first in front.
    pub fn views(&self) -> Vec<ClientView> {
        let now = self.moment(Instant::now());
        let mut views: Vec<_> = self.clients.iter().map(|entry| self.view(*entry.key(), entry.value(), now)).collect();
        views.sort_by_key(|view| (view.connected, view.id));
        views
    }

    /// The client of this process id.
    pub fn view_of(&self, pid: u32) -> Option<ClientView> {
        let now = self.moment(Instant::now());
        self.clients.get(&pid).map(|slot| self.view(pid, &slot, now))
    }

    fn view(&self, id: u32, slot: &CancelSlot, now: u64) -> ClientView {
        let at = |moment: u64| Some(self.made.1 + Duration::from_micros(moment)).filter(|_| moment > 0);
        let waits = slot.waits.load(Ordering::Relaxed);
        let servers = slot.running().servers.iter().map(|handle| handle.facts.id).collect();
        ClientView {
            id,
            database: Arc::clone(&slot.identity.database),
            user: Arc::clone(&slot.identity.user),
            peer: slot.identity.peer,
            local: slot.identity.local,
            tls: slot.identity.tls.clone(),
            fd: slot.identity.fd,
            connected: slot.connected,
            request: at(slot.request.load(Ordering::Relaxed)),
            waited: (waits > 0).then(|| Duration::from_micros(now.saturating_sub(waits))),
            to_be_closed: slot.control.wish() != Wish::Run,
            servers,
            application: slot.application.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            prepared: slot.prepared.load(Ordering::Relaxed),
            cancels: slot.cancels.load(Ordering::Relaxed),
            unsent: slot.control.unsent(),
        }
    }
}

/// Counts as long as it lives.
struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn deadlock(detail: &str) -> Fault {
    Fault::new(SqlState::DEADLOCK_DETECTED, "deadlock detected")
        .detail(detail.to_owned())
        .hint("See the router's log for details; the transaction can be repeated.")
}

pub(super) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

impl Sessions for CancelRegistry {
    fn holders(&self, database: &str) -> Vec<Holder> {
        let now = self.moment(Instant::now());
        let epoch = self.made.1.duration_since(SystemTime::UNIX_EPOCH).map_or(0, micros);
        let mut holders = Vec::new();
        for entry in self.clients.iter().filter(|slot| *slot.identity.database == *database) {
            let slot = entry.value();
            let queues = slot.queues();
            let running = slot.running();
            let running = &running.servers;
            if running.len() < if queues.is_empty() { 2 } else { 1 } {
                continue;
            }
            let statement = slot.statement.load(Ordering::Relaxed);
            holders.push(Holder {
                client: *entry.key(),
                began: epoch.saturating_add(slot.began.load(Ordering::Relaxed)),
                statement,
                busy: (statement > 0).then(|| Duration::from_micros(now.saturating_sub(statement))),
                members: running.iter().map(|handle| process(handle)).collect(),
                gid: slot.gid.lock().unwrap_or_else(PoisonError::into_inner).clone(),
                queues,
            });
        }
        holders
    }

    fn sentence(&self, holder: &Holder, detail: &str) -> Option<Vec<Arc<CancelHandle>>> {
        let slot = self.clients.get(&holder.client).map(|slot| Arc::clone(&slot))?;
        // Under the lock, as in `cancel`.
        let running = slot.running();
        if slot.statement.load(Ordering::Relaxed) != holder.statement {
            return None;
        }
        if running.waiting {
            *slot.verdict.lock().unwrap_or_else(PoisonError::into_inner) = Some(deadlock(detail));
            slot.control.cancel();
            if !slot.is_committing() && !running.copying {
                // What it holds has nothing to do.
                return Some(Vec::new());
            }
        }
        for handle in &running.servers {
            handle.sentence(deadlock(detail));
            handle.announce();
        }
        Some(running.servers.to_vec())
    }
}

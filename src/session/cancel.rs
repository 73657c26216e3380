//! Who may cancel what: keys of clients, and the server connections that work for each right now.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use dashmap::DashMap;
use ring::rand::{SecureRandom, SystemRandom};
use smallvec::SmallVec;

use crate::backend::cancel::CancelHandle;
use crate::control::deadlock::graph::Process;
use crate::control::deadlock::{Holder, Sessions};
use crate::scope::{Control, Wish};
use crate::secret::Secret;

/// One client's entry: its secret, and what runs for it.
pub struct CancelSlot {
    secret: Secret,
    database: Arc<str>,
    user: Arc<str>,
    running: Mutex<Running>,
    /// When it began to hold the first of them, and when the statement that runs was read (0: none runs); in microseconds since the
    /// registry was made.
    began: AtomicU64,
    statement: AtomicU64,
    /// The gid under which its transaction is being committed.
    gid: Mutex<Option<Box<str>>>,
    pub control: Arc<Control>,
}

#[derive(Default)]
struct Running {
    servers: SmallVec<[Arc<CancelHandle>; 2]>,
    /// Its statement waits for server connections.
    waiting: bool,
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
    }

    pub fn note_commit(&self, gid: Option<String>) {
        *self.gid.lock().unwrap_or_else(PoisonError::into_inner) = gid.map(Into::into);
    }

    /// Nothing runs any more.
    pub fn clear(&self) {
        self.running().servers.clear();
    }

    /// While the value lives, a cancel request ends the wait: [`Control::poll_cancel`] becomes ready.
    pub fn wait(&self) -> Waiting<'_> {
        self.running().waiting = true;
        Waiting(self)
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A statement that waits for server connections.
pub struct Waiting<'a>(&'a CancelSlot);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.running().waiting = false;
        // One that came too late is not for the next statement.
        self.0.control.forget_cancel();
    }
}

/// Every client of this router by the process id that it was told.
pub struct CancelRegistry {
    clients: DashMap<u32, Arc<CancelSlot>>,
    next: AtomicU32,
    made: (Instant, SystemTime),
}

impl Default for CancelRegistry {
    fn default() -> Self {
        Self { clients: DashMap::new(), next: AtomicU32::new(0), made: (Instant::now(), SystemTime::now()) }
    }
}

impl CancelRegistry {
    /// A moment as slots note it; never 0.
    pub fn moment(&self, at: Instant) -> u64 {
        micros(at.saturating_duration_since(self.made.0)).max(1)
    }

    /// A new client of a database: its process id, its secret (`secret_len` random bytes) and its slot.
    pub fn register(
        &self,
        secret_len: usize,
        database: Arc<str>,
        user: Arc<str>,
        control: Arc<Control>,
    ) -> (u32, Vec<u8>, Arc<CancelSlot>) {
        let mut secret = vec![0; secret_len];
        // The system's generator does not fail once the process runs; a zero secret would still have to be guessed right.
        let _ = SystemRandom::new().fill(&mut secret);
        let slot = Arc::new(CancelSlot {
            secret: Secret::new(secret.clone()),
            database,
            user,
            running: Mutex::default(),
            began: AtomicU64::new(0),
            statement: AtomicU64::new(0),
            gid: Mutex::default(),
            control,
        });
        loop {
            let pid = self.next.fetch_add(1, Ordering::Relaxed).wrapping_add(1) & 0x7fff_ffff;
            if pid == 0 {
                continue;
            }
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
        for client in self.clients.iter().filter(|client| which(&client.database, &client.user)) {
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
        let targets = {
            let running = slot.running();
            if running.waiting {
                slot.control.cancel();
            }
            // Under the lock: a session takes its connections out of the slot before it gives them back, and then sees that one is under way.
            running.servers.iter().for_each(|handle| handle.announce());
            running.servers.clone()
        };
        for target in targets {
            target.send().await;
            target.settle();
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

impl Sessions for CancelRegistry {
    fn holders(&self, database: &str) -> Vec<Holder> {
        let now = self.moment(Instant::now());
        let epoch = self.made.1.duration_since(SystemTime::UNIX_EPOCH).map_or(0, micros);
        let mut holders = Vec::new();
        for entry in self.clients.iter().filter(|slot| *slot.database == *database) {
            let slot = entry.value();
            let running = slot.running();
            let running = &running.servers;
            if running.len() < 2 {
                continue;
            }
            let statement = slot.statement.load(Ordering::Relaxed);
            holders.push(Holder {
                client: *entry.key(),
                began: epoch.saturating_add(slot.began.load(Ordering::Relaxed)),
                statement,
                busy: (statement > 0).then(|| Duration::from_micros(now.saturating_sub(statement))),
                members: running.iter().map(|handle| Process { shard: handle.shard, pid: handle.key.pid }).collect(),
                gid: slot.gid.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            });
        }
        holders
    }

    fn sentence(&self, holder: &Holder, detail: &str) -> Vec<Arc<CancelHandle>> {
        let Some(slot) = self.clients.get(&holder.client).map(|slot| Arc::clone(&slot)) else {
            return Vec::new();
        };
        // Under the lock, as in `cancel`.
        let running = slot.running();
        let running = &running.servers;
        if slot.statement.load(Ordering::Relaxed) != holder.statement {
            return Vec::new();
        }
        for handle in running.iter() {
            handle.sentence(detail);
            handle.announce();
        }
        running.to_vec()
    }
}

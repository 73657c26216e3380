//! Who may cancel what: keys of clients, and the server connections that work for each right now.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dashmap::DashMap;
use ring::rand::{SecureRandom, SystemRandom};
use smallvec::SmallVec;

use crate::backend::cancel::CancelHandle;
use crate::scope::{Control, Wish};
use crate::secret::Secret;

/// One client's entry: its secret, and what runs for it.
pub struct CancelSlot {
    secret: Secret,
    running: Mutex<Running>,
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

    pub fn add(&self, running: Arc<CancelHandle>) {
        self.running().servers.push(running);
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
#[derive(Default)]
pub struct CancelRegistry {
    clients: DashMap<u32, Arc<CancelSlot>>,
    next: AtomicU32,
}

impl CancelRegistry {
    /// A new client: its process id, its secret (`secret_len` random bytes) and its slot.
    pub fn register(&self, secret_len: usize, control: Arc<Control>) -> (u32, Vec<u8>, Arc<CancelSlot>) {
        let mut secret = vec![0; secret_len];
        // The system's generator does not fail once the process runs; a zero secret would still have to be guessed right.
        let _ = SystemRandom::new().fill(&mut secret);
        let slot = Arc::new(CancelSlot { secret: Secret::new(secret.clone()), running: Mutex::default(), control });
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

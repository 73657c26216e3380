//! Who may cancel what: keys of clients, and the server connections that work for each right now.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use dashmap::DashMap;
use ring::rand::{SecureRandom, SystemRandom};

use crate::backend::CancelKey;
use crate::backend::cluster::ServerConnector;
use crate::backend::login;
use crate::scope::{Control, Wish};
use crate::secret::Secret;

/// A statement in flight on a server connection, and how to reach its server.
#[derive(Clone)]
pub struct Running {
    pub connector: Arc<ServerConnector>,
    pub key: CancelKey,
    /// Raised while a cancel request is on its way: the connection is not reused then.
    pub gate: Arc<AtomicUsize>,
}

/// One client's entry: its secret, and what runs for it.
pub struct CancelSlot {
    secret: Secret,
    running: Mutex<Vec<Running>>,
    pub control: Arc<Control>,
}

impl CancelSlot {
    /// Notes the server connections that now work for this client.
    pub fn set(&self, running: impl IntoIterator<Item = Running>) {
        let mut slot = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        slot.clear();
        slot.extend(running);
    }

    pub fn add(&self, running: Running) {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).push(running);
    }

    /// Nothing runs any more.
    pub fn clear(&self) {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).clear();
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
            let running = slot.running.lock().unwrap_or_else(PoisonError::into_inner);
            // Under the lock: a session takes its connections out of the slot before it gives them back, and then sees the gate.
            running.iter().for_each(|r| _ = r.gate.fetch_add(1, Ordering::AcqRel));
            running.clone()
        };
        for target in targets {
            cancel_running(&target).await;
            target.gate.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

/// Asks one server to cancel; returns when the server has taken note, or when it cannot be reached in time.
pub async fn cancel_running(target: &Running) {
    let connector = &target.connector;
    let sent = login::send_cancel(&connector.server, &connector.access.tls, &target.key);
    let failure = match tokio::time::timeout(connector.access.connect_timeout, sent).await {
        Ok(Ok(())) => return,
        Ok(Err(fault)) => fault.to_string(),
        Err(_) => "timed out".to_owned(),
    };
    tracing::warn!(server = %connector.address, error = failure, "cancel request not delivered");
}

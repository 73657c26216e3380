//! `Pool`: the connections to one server for one user. A `Checkout` gives back a clean connection or discards it.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::backend::Backend;
use crate::fault::{Blame, Fault, SqlState};

/// Makes a new connection for a pool: TCP and TLS in the router, memory in tests.
pub trait Connect: Send + Sync {
    fn connect(&self) -> impl Future<Output = Result<Backend, Fault>> + Send;
}

/// Limits and ages of one pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolLimits {
    /// Connections at most.
    pub size: usize,
    /// Connections kept open though nobody uses them, once the pool is in use.
    pub min_size: usize,
    /// How long a client waits for a connection.
    pub wait: Duration,
    /// An idle connection older than this is closed.
    pub idle_timeout: Option<Duration>,
    /// A connection older than this is not reused.
    pub lifetime: Option<Duration>,
    /// The setting that `size` comes from, for messages.
    pub size_setting: &'static str,
}

/// Counts that metrics and the console read.
#[derive(Debug, Default)]
pub struct PoolCounts {
    pub active: AtomicUsize,
    pub waiting: AtomicUsize,
    pub connects: AtomicU64,
    pub connect_failures: AtomicU64,
    pub discards: AtomicU64,
}

pub struct Pool<C> {
    pub connector: Arc<C>,
    limits: PoolLimits,
    permits: Semaphore,
    idle: Mutex<Idle>,
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
}

impl<C: Connect> Pool<C> {
    pub fn new(connector: C, limits: PoolLimits) -> Arc<Self> {
        Arc::new(Self {
            permits: Semaphore::new(limits.size.clamp(1, Semaphore::MAX_PERMITS)),
            connector: Arc::new(connector),
            limits,
            idle: Mutex::default(),
            counts: PoolCounts::default(),
            last_failure: Mutex::default(),
        })
    }

    pub fn limits(&self) -> &PoolLimits {
        &self.limits
    }

    /// Number of connections that nobody uses.
    pub fn idle_count(&self) -> usize {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).connections.len()
    }

    pub fn last_failure(&self) -> Option<Fault> {
        self.last_failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A connection for one client, fairly in turn, within the pool's wait.
    ///
    /// # Errors
    /// `53300` when no connection came free in time; the connector's fault when a new one could not be made.
    pub async fn checkout(self: &Arc<Self>) -> Result<Checkout<C>, Fault> {
        let permit = match self.permits.try_acquire() {
            Ok(permit) => permit,
            Err(_) => self.wait().await?,
        };
        self.counts.active.fetch_add(1, Ordering::Relaxed);
        // The checkout gives the permit back.
        permit.forget();
        let mut checkout = Checkout { backend: self.take_idle(), pool: Arc::clone(self) };
        if checkout.backend.is_none() {
            checkout.backend = Some(Box::new(self.connect().await?));
        }
        Ok(checkout)
    }

    async fn wait(&self) -> Result<SemaphorePermit<'_>, Fault> {
        self.counts.waiting.fetch_add(1, Ordering::Relaxed);
        let _left = Decrement(&self.counts.waiting);
        let acquired = tokio::time::timeout(self.limits.wait, self.permits.acquire()).await;
        match acquired {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(Fault::new(SqlState::TOO_MANY_CONNECTIONS, "query_wait_timeout")
                .detail(format!(
                    "all {} server connections of the pool were busy for {:?}",
                    self.limits.size, self.limits.wait
                ))
                .hint(format!(
                    "Raise {} or query_wait_timeout, or look for long transactions.",
                    self.limits.size_setting
                ))
                .blame(Blame::Router)),
        }
    }

    async fn connect(&self) -> Result<Backend, Fault> {
        self.counts.connects.fetch_add(1, Ordering::Relaxed);
        let connected = self.connector.connect().await;
        if connected.is_err() {
            self.counts.connect_failures.fetch_add(1, Ordering::Relaxed);
        }
        *self.last_failure.lock().unwrap_or_else(PoisonError::into_inner) = connected.as_ref().err().cloned();
        connected
    }

    fn take_idle(&self) -> Option<Box<Backend>> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            // The one used last: its caches are warm, and the others can age.
            let mut backend = idle.connections.pop()?;
            if !backend.peer_has_spoken() {
                backend.idle_since = None;
                return Some(backend);
            }
        }
    }

    /// Closes connections that were idle or alive for too long. Called now and then.
    pub fn sweep(&self, now: Instant) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.expired = self.limits.lifetime.and_then(|limit| now.checked_sub(limit));
        let expired = idle.expired;
        idle.connections.retain_mut(|backend| {
            let idle_since = *backend.idle_since.get_or_insert(now);
            let stale = self.limits.idle_timeout.is_some_and(|limit| now.duration_since(idle_since) > limit);
            !stale && !is_expired(backend, expired) && !backend.peer_has_spoken()
        });
    }

    /// Opens connections until `min_size` are there. Called now and then; a server that does not answer is left alone.
    pub async fn fill(self: &Arc<Self>) {
        let mut fresh = Vec::new();
        while self.idle_count() + self.counts.active.load(Ordering::Relaxed)
            < self.limits.min_size.min(self.limits.size)
        {
            let Ok(permit) = self.permits.try_acquire() else { break };
            self.counts.active.fetch_add(1, Ordering::Relaxed);
            permit.forget();
            let mut checkout = Checkout { backend: None, pool: Arc::clone(self) };
            match self.connect().await {
                Ok(backend) => checkout.backend = Some(Box::new(backend)),
                Err(_) => break,
            }
            fresh.push(checkout);
        }
    }

    fn give_back(&self, mut backend: Box<Backend>) {
        if !backend.is_clean() {
            self.counts.discards.fetch_add(1, Ordering::Relaxed);
            return;
        }
        backend.slim();
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if !is_expired(&backend, idle.expired) {
            idle.connections.push(backend);
        }
    }
}

fn is_expired(backend: &Backend, before: Option<Instant>) -> bool {
    before.is_some_and(|before| backend.connected_at < before)
}

struct Decrement<'a>(&'a AtomicUsize);

impl Drop for Decrement<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One connection lent to one client. Dropped: given back when clean, closed when not.
pub struct Checkout<C: Connect> {
    backend: Option<Box<Backend>>,
    pool: Arc<Pool<C>>,
}

impl<C: Connect> Checkout<C> {
    /// What reaches this connection's server: for cancel requests.
    pub fn connector(&self) -> Arc<C> {
        Arc::clone(&self.pool.connector)
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
        self.pool.permits.add_permits(1);
    }
}

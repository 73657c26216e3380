//! `ServerBreaker`: the breaker of one server, shared by all who use it, and `Breakers`, where they are found.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::backend::breaker::{Admission, Breaker, BreakerLimits, BreakerState};
use crate::fault::{Blame, Fault, SqlState};
use crate::topology::Server;

/// One for each address, whatever databases and users it serves.
#[derive(Debug)]
pub struct Breakers {
    limits: Mutex<BreakerLimits>,
    by_address: Mutex<HashMap<Arc<str>, Arc<ServerBreaker>>>,
}

impl Breakers {
    pub fn new(limits: BreakerLimits) -> Arc<Self> {
        Arc::new(Self { limits: Mutex::new(limits), by_address: Mutex::default() })
    }

    /// That of a server, made when it is first asked for.
    pub fn of(&self, server: &Server) -> Arc<ServerBreaker> {
        let address: Arc<str> = server.address().into();
        let mut by_address = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        let made = || Arc::new(ServerBreaker::new(Arc::clone(&address), self.limits()));
        Arc::clone(by_address.entry(Arc::clone(&address)).or_insert_with(made))
    }

    fn limits(&self) -> BreakerLimits {
        *self.limits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Other limits from now on, for all; what they remember stays.
    pub fn set_limits(&self, limits: BreakerLimits) {
        *self.limits.lock().unwrap_or_else(PoisonError::into_inner) = limits;
        for breaker in self.all() {
            breaker.inner().breaker.set_limits(limits);
        }
    }

    /// All, by address.
    pub fn all(&self) -> Vec<Arc<ServerBreaker>> {
        let by_address = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> = by_address.values().cloned().collect();
        all.sort_by(|a, b| a.address.cmp(&b.address));
        all
    }
}

#[derive(Debug)]
pub struct ServerBreaker {
    pub address: Arc<str>,
    /// There is something to remember: who succeeds looks at this alone while there is not.
    troubled: AtomicBool,
    inner: Mutex<Inner>,
    /// When it was made; `opened_at` counts from then on.
    start: Instant,
    /// Nanoseconds from `start` until it opened last. 0: never.
    opened_at: AtomicU64,
    /// How often it has opened.
    pub opened: AtomicU64,
    /// How often somebody was told to come again.
    pub rejected: AtomicU64,
}

#[derive(Debug)]
struct Inner {
    breaker: Breaker,
    /// What the last failure was.
    cause: Option<Fault>,
}

/// What SHOW and metrics tell.
#[derive(Clone, Debug)]
pub struct BreakerReport {
    pub state: BreakerState,
    pub failures: u32,
    /// Until the server is tried again.
    pub wait: Option<Duration>,
    pub cause: Option<Fault>,
}

impl ServerBreaker {
    fn new(address: Arc<str>, limits: BreakerLimits) -> Self {
        Self {
            address,
            troubled: AtomicBool::new(false),
            inner: Mutex::new(Inner { breaker: Breaker::new(limits), cause: None }),
            start: Instant::now(),
            opened_at: AtomicU64::new(0),
            opened: AtomicU64::new(0),
            rejected: AtomicU64::new(0),
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it is closed and remembers nothing.
    fn is_calm(&self) -> bool {
        !self.troubled.load(Ordering::Acquire)
    }

    /// Whether the server is to be chosen where there are others.
    pub fn is_closed(&self) -> bool {
        self.is_calm() || self.inner().breaker.state() == BreakerState::Closed
    }

    /// # Errors
    /// `57P03` while nobody is to wait for the server.
    pub fn check(&self) -> Result<(), Fault> {
        if self.is_calm() {
            return Ok(());
        }
        let inner = self.inner();
        inner.breaker.wait(Instant::now()).map_or(Ok(()), |wait| Err(self.rejection(&inner, wait)))
    }

    /// The right to try the server; a probe's ends with what is returned.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub fn admit(self: &Arc<Self>) -> Result<Option<Probe>, Fault> {
        if self.is_calm() {
            return Ok(None);
        }
        let mut inner = self.inner();
        match inner.breaker.admit(Instant::now()) {
            Admission::Go => Ok(None),
            Admission::Probe => Ok(Some(Probe { of: Arc::clone(self) })),
            Admission::Wait(wait) => Err(self.rejection(&inner, wait)),
        }
    }

    /// The server has answered.
    pub fn succeeded(&self) {
        if self.is_calm() {
            return;
        }
        let mut inner = self.inner();
        let was = inner.breaker.state();
        if inner.breaker.succeeded(Instant::now()) {
            self.troubled.store(false, Ordering::Release);
        }
        if was != BreakerState::Closed {
            tracing::info!(server = %self.address, "the server answers again; its breaker is closed");
        }
    }

    /// Counts a failure that is the server's own.
    pub fn failed(&self, fault: &Fault) {
        if fault.blame != Blame::Server {
            return;
        }
        let mut inner = self.inner();
        let now = Instant::now();
        self.troubled.store(true, Ordering::Release);
        inner.cause = Some(fault.clone());
        if inner.breaker.failed(now, chance()) {
            let nanos = u64::try_from(now.duration_since(self.start).as_nanos()).unwrap_or(u64::MAX);
            self.opened_at.store(nanos.max(1), Ordering::Relaxed);
            self.opened.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(server = %self.address, error = %fault, "the server fails too often; its breaker is open");
        }
    }

    /// Whether a connection is older than the last time of trouble: it may hang where nobody is any more.
    pub fn is_doubtful(&self, connected_at: Instant) -> bool {
        match self.opened_at.load(Ordering::Relaxed) {
            0 => false,
            nanos => connected_at <= self.start + Duration::from_nanos(nanos),
        }
    }

    pub fn report(&self) -> BreakerReport {
        let inner = self.inner();
        BreakerReport {
            state: inner.breaker.state(),
            failures: inner.breaker.failures(),
            wait: inner.breaker.wait(Instant::now()),
            cause: inner.cause.clone().filter(|_| !self.is_calm()),
        }
    }

    fn rejection(&self, inner: &Inner, wait: Duration) -> Fault {
        self.rejected.fetch_add(1, Ordering::Relaxed);
        let cause = inner.cause.as_ref().map(|cause| format!("the last time: {cause}")).unwrap_or_default();
        let hint = match wait.is_zero() {
            true => "It is being tried now: retry shortly.".to_owned(),
            false => format!("It is tried again in {} ms: retry then.", wait.as_millis().max(1)),
        };
        Fault::new(SqlState::CANNOT_CONNECT_NOW, format!("shard server {} is not available", self.address))
            .detail(format!("It has failed too often; {cause}"))
            .hint(hint)
            .blame(Blame::Server)
    }
}

/// The one attempt that is made for all while a breaker is open. Dropped without an outcome, the next one may try.
#[derive(Debug)]
pub struct Probe {
    of: Arc<ServerBreaker>,
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.of.inner().breaker.give_up(Instant::now());
    }
}

/// From 0 to 1.
pub fn chance() -> f64 {
    let random = RandomState::new().build_hasher().finish();
    (random >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn server(port: u16) -> Server {
        Server::new("h", port, "d")
    }

    fn limits(open: Duration) -> BreakerLimits {
        BreakerLimits { failures: 2, open, longest: open, ..BreakerLimits::default() }
    }

    fn refused() -> Fault {
        Fault::new(SqlState::UNABLE_TO_CONNECT, "could not connect").detail("connection refused").blame(Blame::Server)
    }

    #[test]
    fn databases_on_one_server_share_a_breaker() {
        let breakers = Breakers::new(BreakerLimits::default());
        let other = Server { dbname: "e".into(), ..server(1) };
        assert!(Arc::ptr_eq(&breakers.of(&server(1)), &breakers.of(&other)));
        assert!(!Arc::ptr_eq(&breakers.of(&server(1)), &breakers.of(&server(2))));
        assert_eq!(breakers.all().len(), 2);
    }

    #[test]
    fn the_first_cause_is_told_and_clients_faults_do_not_count() {
        let breaker = Breakers::new(limits(Duration::from_secs(60))).of(&server(1));
        let syntax = Fault::new(SqlState::SYNTAX_ERROR, "syntax error");
        let full = Fault::new(SqlState::TOO_MANY_CONNECTIONS, "too many").blame(Blame::Router);
        for _ in 0..9 {
            breaker.failed(&syntax);
            breaker.failed(&full);
        }
        assert!(breaker.check().is_ok() && breaker.is_calm());
        let before = Instant::now();
        breaker.failed(&refused());
        assert!(breaker.check().is_ok() && !breaker.is_doubtful(before));
        breaker.failed(&refused());
        let fault = breaker.check().unwrap_err();
        assert_eq!((fault.code, fault.blame), (SqlState::CANNOT_CONNECT_NOW, Blame::Server));
        assert!(fault.detail.as_deref().unwrap().contains("connection refused"), "{fault}");
        assert!(breaker.is_doubtful(before) && !breaker.is_doubtful(Instant::now() + Duration::from_secs(1)));
        breaker.succeeded();
        assert!(breaker.check().is_ok() && breaker.report().cause.is_none());
    }

    #[test]
    fn a_probe_that_is_dropped_lets_the_next_one_try() {
        let breaker = Breakers::new(limits(Duration::ZERO)).of(&server(1));
        (0..2).for_each(|_| breaker.failed(&refused()));
        let probe = breaker.admit().unwrap();
        assert!(probe.is_some() && breaker.admit().is_err() && breaker.check().is_err());
        drop(probe);
        let probe = breaker.admit().unwrap();
        breaker.succeeded();
        drop(probe);
        assert_eq!(breaker.report().state, BreakerState::Closed);
        assert!((0.0..1.0).contains(&chance()));
    }
}

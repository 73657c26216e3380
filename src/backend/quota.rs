//! `Quota`: how many connections there are to one server, of all pools together, and who gets the next one where there may be no more.
//!
//! Who wants one where all are there has the idle connection of another pool closed; where none is idle, it stands in line. What comes back
//! goes on to whoever waits longest for a connection of the same pool; it is closed for those of other pools where nobody does, or where
//! they have waited for a time: to connect anew costs more than a statement. A transaction that holds connections waits here for what others hold, who
//! may wait for what it holds: such a circle is not seen, and ends with the time that each may wait.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::oneshot;
use tokio::time::{Duration, Instant};

use crate::backend::Backend;
use crate::topology::Server;

/// After so long those of other pools wait no longer for who waits for the same.
const IMPATIENT: Duration = Duration::from_millis(200);

/// Those of all servers.
#[derive(Debug, Default)]
pub struct Quotas {
    /// 0: none.
    limit: Arc<AtomicUsize>,
    by_address: Mutex<HashMap<Box<str>, Arc<Quota>>>,
}

/// That of one server.
pub struct Quota {
    limit: Arc<AtomicUsize>,
    state: Mutex<State>,
    lenders: Mutex<Vec<Weak<dyn Lender>>>,
}

#[derive(Debug, Default)]
struct State {
    open: usize,
    line: VecDeque<Waits>,
}

#[derive(Debug)]
struct Waits {
    pool: PoolId,
    since: Instant,
    bell: oneshot::Sender<Given>,
}

impl Waits {
    fn is_gone(&self) -> bool {
        self.bell.is_closed()
    }
}

/// Tells one pool from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolId(pub usize);

/// What somebody has waited for.
#[derive(Debug)]
pub enum Given {
    /// The right to one more.
    Right(Slot),
    /// One of its own pool that has come back, clean.
    Connection(Box<Backend>),
}

/// What is to become of a connection that comes back.
#[derive(Debug)]
pub enum Next {
    /// Nobody waits: it lies idle.
    Idle,
    /// There are too many, or somebody of another pool is to have its place.
    Closed,
    /// It is for this one.
    Handed(oneshot::Sender<Given>),
}

/// A pool that may have idle connections to the server.
pub trait Lender: Send + Sync {
    /// Closes the idle connection of this quota that was used longest ago; false: there is none.
    fn close_idle(&self, quota: &Quota) -> bool;
}

/// The right to one connection.
#[derive(Debug)]
pub struct Slot(Arc<Quota>);

/// As many wait as may.
#[derive(Debug)]
pub struct Crowded;

impl Quotas {
    /// `0`: none. What is at work stays open; idle ones beyond it are closed.
    pub fn set_limit(&self, limit: usize) {
        self.limit.store(limit, Ordering::Relaxed);
        let all: Vec<Arc<Quota>> = self.known().values().cloned().collect();
        for quota in &all {
            while quota.open() > quota.most() && quota.close_one() {}
            Quota::admit(quota);
        }
    }

    pub fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    pub fn of(&self, server: &Server) -> Arc<Quota> {
        let mut known = self.known();
        let made =
            || Arc::new(Quota { limit: Arc::clone(&self.limit), state: Mutex::default(), lenders: Mutex::default() });
        Arc::clone(known.entry(server.address().into()).or_insert_with(made))
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Box<str>, Arc<Quota>>> {
        self.by_address.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Quota {
    /// A pool that connects to the server.
    pub fn know(&self, lender: &Weak<dyn Lender>) {
        let mut lenders = self.lenders.lock().unwrap_or_else(PoisonError::into_inner);
        if !lenders.iter().any(|known| known.ptr_eq(lender)) {
            lenders.retain(|known| known.strong_count() > 0);
            lenders.push(Weak::clone(lender));
        }
    }

    /// The right to one more, where there may be one and nobody waits.
    pub fn try_enter(self: &Arc<Self>) -> Option<Slot> {
        let mut state = self.state();
        let free = state.line.is_empty() && state.open < self.most();
        free.then(|| {
            state.open += 1;
            Slot(Arc::clone(self))
        })
    }

    /// The right to one more, waited for as long as the caller does.
    ///
    /// # Errors
    /// So many wait already.
    pub async fn enter(self: &Arc<Self>, queue: usize, pool: PoolId) -> Result<Given, Crowded> {
        if let Some(slot) = self.try_enter() {
            return Ok(Given::Right(slot));
        }
        let rung = {
            let mut state = self.state();
            state.line.retain(|waits| !waits.is_gone());
            if state.line.len() >= queue {
                return Err(Crowded);
            }
            let (bell, rung) = oneshot::channel();
            state.line.push_back(Waits { pool, since: Instant::now(), bell });
            rung
        };
        // Whoever is first in line gets what comes of it.
        while self.is_crowded() && self.close_one() {}
        Self::admit(self);
        rung.await.map_err(|_| Crowded)
    }

    /// How many there are.
    pub fn open(&self) -> usize {
        self.state().open
    }

    pub fn waiting(&self) -> usize {
        self.state().line.iter().filter(|waits| !waits.is_gone()).count()
    }

    /// Whether somebody waits who cannot be let in.
    fn is_crowded(&self) -> bool {
        let state = self.state();
        state.open >= self.most() && state.line.iter().any(|waits| !waits.is_gone())
    }

    /// False: nobody has an idle one.
    fn close_one(&self) -> bool {
        let lenders: Vec<Arc<dyn Lender>> = {
            let lenders = self.lenders.lock().unwrap_or_else(PoisonError::into_inner);
            lenders.iter().filter_map(Weak::upgrade).collect()
        };
        // Not always that of the same pool.
        let first = self.open() % lenders.len().max(1);
        let (later, sooner) = lenders.split_at(first);
        sooner.iter().chain(later).any(|lender| lender.close_idle(self))
    }

    /// Lets in as many of those who wait as there is room for.
    fn admit(this: &Arc<Self>) {
        loop {
            let bell = {
                let mut state = this.state();
                if state.open >= this.most() {
                    return;
                }
                state.line.retain(|waits| !waits.is_gone());
                let Some(first) = state.line.pop_front() else { return };
                state.open += 1;
                first.bell
            };
            // One that waits no longer gives it back, which comes here again.
            let _ = bell.send(Given::Right(Slot(Arc::clone(this))));
        }
    }

    /// How many there may be.
    pub fn most(&self) -> usize {
        match self.limit.load(Ordering::Relaxed) {
            0 => usize::MAX,
            limit => limit,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Quota {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Quota").field("state", &self.state).finish_non_exhaustive()
    }
}

impl Slot {
    /// For a connection of this pool that nobody works with any more.
    pub fn next(&self, pool: PoolId) -> Next {
        // Whoever had waited was let in when the limit went: nothing is locked for each connection that comes back.
        if self.0.most() == usize::MAX {
            return Next::Idle;
        }
        let mut state = self.0.state();
        state.line.retain(|waits| !waits.is_gone());
        if state.open > self.0.most() {
            return Next::Closed;
        }
        match state.line.front() {
            None => return Next::Idle,
            Some(first) if first.pool != pool && first.since.elapsed() >= IMPATIENT => return Next::Closed,
            Some(_) => {}
        }
        let own = state.line.iter().position(|waits| waits.pool == pool);
        match own.and_then(|at| state.line.remove(at)) {
            Some(waits) => Next::Handed(waits.bell),
            None => Next::Closed,
        }
    }

    pub fn is_of(&self, quota: &Quota) -> bool {
        std::ptr::eq(Arc::as_ptr(&self.0), quota)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.state().open -= 1;
        Quota::admit(&self.0);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn server(name: &str) -> Server {
        Server::new(name, 5432, "shop")
    }

    fn right(given: Given) -> Slot {
        match given {
            Given::Right(slot) => slot,
            Given::Connection(_) => panic!("no connection has come back"),
        }
    }

    /// By somebody of another pool.
    fn is_wanted(slot: &Slot) -> bool {
        !matches!(slot.next(PoolId(9)), Next::Idle)
    }

    /// Idle connections of a pool.
    #[derive(Default)]
    struct Idle(Mutex<Vec<Slot>>);

    impl Lender for Idle {
        fn close_idle(&self, quota: &Quota) -> bool {
            let mut idle = self.0.lock().unwrap();
            let found = idle.iter().position(|slot| slot.is_of(quota)).map(|at| idle.remove(at));
            drop(idle);
            found.is_some()
        }
    }

    #[tokio::test]
    async fn the_next_one_is_that_of_who_waits_longest() {
        let quotas = Quotas::default();
        let quota = quotas.of(&server("a"));
        let many: Vec<Slot> = (0..9).map(|_| quota.try_enter().unwrap()).collect();
        quotas.set_limit(2);
        assert!(quota.try_enter().is_none() && is_wanted(&many[0]));
        drop(many);
        let (one, other) =
            (quota.enter(0, PoolId(0)).await.map(right).unwrap(), quota.enter(0, PoolId(0)).await.map(right).unwrap());
        assert!(!is_wanted(&one) && quota.enter(0, PoolId(0)).await.is_err());
        assert!(quotas.of(&server("b")).try_enter().is_some(), "each server has its own");
        let (first, second) = (quota.enter(2, PoolId(0)), quota.enter(2, PoolId(0)));
        tokio::pin!(first, second);
        assert!(futures::poll!(&mut first).is_pending() && futures::poll!(&mut second).is_pending());
        assert!(is_wanted(&one) && quota.waiting() == 2);
        drop(one);
        assert!(quota.try_enter().is_none());
        let first = right(first.await.unwrap());
        assert!(futures::poll!(&mut second).is_pending());
        quotas.set_limit(3);
        let second = right(second.await.unwrap());
        assert_eq!(quota.open(), 3);
        drop((first, second, other));
        assert_eq!((quota.open(), quota.waiting()), (0, 0));
    }

    #[tokio::test]
    async fn who_waits_no_longer_is_passed_over() {
        let quotas = Quotas::default();
        quotas.set_limit(1);
        let quota = quotas.of(&server("a"));
        let one = quota.try_enter().unwrap();
        {
            let gone = quota.enter(9, PoolId(0));
            tokio::pin!(gone);
            assert!(futures::poll!(&mut gone).is_pending());
        }
        assert!(!is_wanted(&one));
        let late = quota.enter(1, PoolId(0));
        tokio::pin!(late);
        assert!(futures::poll!(&mut late).is_pending());
        drop(one);
        // Given, and not taken.
        drop(right(late.await.unwrap()));
        assert_eq!(quota.open(), 0);
    }

    #[tokio::test]
    async fn idle_connections_of_others_are_closed_for_who_waits() {
        let quotas = Quotas::default();
        quotas.set_limit(2);
        let quota = quotas.of(&server("a"));
        let idle = Arc::new(Idle::default());
        let lender: Arc<dyn Lender> = Arc::clone(&idle) as _;
        quota.know(&Arc::downgrade(&lender));
        quota.know(&Arc::downgrade(&lender));
        idle.0.lock().unwrap().extend([quota.try_enter().unwrap(), quota.try_enter().unwrap()]);
        let one = quota.enter(9, PoolId(0)).await.map(right).unwrap();
        assert_eq!((idle.0.lock().unwrap().len(), quota.open()), (1, 2));
        let two = quota.enter(9, PoolId(0)).await.map(right).unwrap();
        assert_eq!((idle.0.lock().unwrap().len(), quota.open()), (0, 2));
        let three = quota.enter(9, PoolId(0));
        tokio::pin!(three);
        assert!(futures::poll!(&mut three).is_pending());
        drop((one, two));
        right(three.await.unwrap());
    }

    #[tokio::test]
    async fn what_comes_back_goes_to_its_own_pool_for_a_time() {
        let quotas = Quotas::default();
        quotas.set_limit(1);
        let quota = quotas.of(&server("a"));
        let one = quota.try_enter().unwrap();
        let (stranger, own) = (quota.enter(9, PoolId(1)), quota.enter(9, PoolId(2)));
        tokio::pin!(stranger, own);
        assert!(futures::poll!(&mut stranger).is_pending() && futures::poll!(&mut own).is_pending());
        let Next::Handed(bell) = one.next(PoolId(2)) else { panic!("it is for the one of its pool") };
        bell.send(Given::Right(one)).unwrap();
        let one = right(own.await.unwrap());
        // Nobody of its pool is left.
        assert!(matches!(one.next(PoolId(2)), Next::Closed));
        let own = quota.enter(9, PoolId(2));
        tokio::pin!(own);
        assert!(futures::poll!(&mut own).is_pending());
        tokio::time::sleep(IMPATIENT).await;
        assert!(matches!(one.next(PoolId(2)), Next::Closed));
        drop(one);
        drop(right(stranger.await.unwrap()));
        right(own.await.unwrap());
    }

    #[tokio::test]
    async fn a_lower_limit_closes_what_is_idle() {
        let quotas = Quotas::default();
        let quota = quotas.of(&server("a"));
        let idle = Arc::new(Idle::default());
        let lender: Arc<dyn Lender> = Arc::clone(&idle) as _;
        quota.know(&Arc::downgrade(&lender));
        idle.0.lock().unwrap().extend((0..9).map(|_| quota.try_enter().unwrap()));
        quotas.set_limit(3);
        assert_eq!((idle.0.lock().unwrap().len(), quota.open()), (3, 3));
        let one = right(quota.enter(9, PoolId(0)).await.unwrap());
        assert_eq!((idle.0.lock().unwrap().len(), quota.open()), (2, 3));
        drop(one);
    }
}

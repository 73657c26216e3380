//! `Traffic`: which sessions of a logical database work right now and since which of its views, and whether new work is to wait. It
//! stays the same while configurations come and go.
//!
//! A session has a [`Seat`]. Before it works it notes there the turn of the view that it works under, and looks behind that whether it is
//! still the view of now and nobody holds new work back. Whoever changes something first changes it and then looks at the seats: so either
//! the session sees the change, or its work is seen.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::sync::watch;

/// Between two looks at who still works.
const LOOK: Duration = Duration::from_millis(5);
const IDLE: u64 = 0;

#[derive(Debug, Default)]
pub struct Traffic {
    seats: Mutex<Seats>,
    /// How many hold new work back.
    holds: watch::Sender<usize>,
    held: AtomicU64,
    /// The turn of the newest view.
    turn: AtomicU64,
    /// That of an operator, until it is taken back.
    pause: Mutex<Option<Hold>>,
    /// By name: work that began with this turn or later does not come to these shards.
    shards: watch::Sender<BTreeMap<Arc<str>, u64>>,
    /// How many they are: looked at before each use of a shard.
    paused_shards: AtomicUsize,
}

#[derive(Debug, Default)]
struct Seats {
    last: u64,
    taken: HashMap<u64, Arc<AtomicU64>>,
}

/// The place of one session.
#[derive(Debug)]
pub struct Seat {
    traffic: Arc<Traffic>,
    number: u64,
    /// The turn of the view that it works under.
    turn: Arc<AtomicU64>,
}

/// While it lives, no new work begins.
#[derive(Debug)]
pub struct Hold(Weak<Traffic>);

impl Drop for Hold {
    fn drop(&mut self) {
        let Some(traffic) = self.0.upgrade() else { return };
        traffic.held.fetch_sub(1, Ordering::AcqRel);
        traffic.holds.send_modify(|holds| *holds = holds.saturating_sub(1));
    }
}

impl Traffic {
    pub fn sit(self: &Arc<Self>) -> Seat {
        let turn = Arc::new(AtomicU64::new(IDLE));
        let mut seats = self.seats();
        seats.last += 1;
        let number = seats.last;
        seats.taken.insert(number, Arc::clone(&turn));
        Seat { traffic: Arc::clone(self), number, turn }
    }

    /// The turn of one more view. Of two views the newer one has the greater number.
    pub fn next_turn(&self) -> u64 {
        self.turn.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// New work waits until the value is dropped; what runs goes on.
    pub fn hold(self: &Arc<Self>) -> Hold {
        self.held.fetch_add(1, Ordering::AcqRel);
        self.holds.send_modify(|holds| *holds += 1);
        Hold(Arc::downgrade(self))
    }

    pub fn is_held(&self) -> bool {
        self.held.load(Ordering::Acquire) > 0
    }

    /// Ends when nobody holds new work back.
    pub async fn released(&self) {
        // The sender is here: it does not go away meanwhile.
        let _ = self.holds.subscribe().wait_for(|holds| *holds == 0).await;
    }

    /// How many sessions work under a view of before this turn.
    pub fn working_before(&self, turn: u64) -> usize {
        fence(Ordering::SeqCst);
        let before = |seat: &&Arc<AtomicU64>| (1..turn).contains(&seat.load(Ordering::Acquire));
        self.seats().taken.values().filter(before).count()
    }

    /// New work waits from now on, until [`Self::resume`]. False: it does already.
    pub fn pause(self: &Arc<Self>) -> bool {
        let mut pause = self.pause.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = pause.is_none();
        pause.get_or_insert_with(|| self.hold());
        fresh
    }

    /// False: nobody had paused it.
    pub fn resume(&self) -> bool {
        self.pause.lock().unwrap_or_else(PoisonError::into_inner).take().is_some()
    }

    pub fn is_paused(&self) -> bool {
        self.pause.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Work that begins with this turn or later does not come to this shard.
    pub fn pause_shard(&self, name: Arc<str>, turn: u64) {
        self.change_shards(|shards| {
            shards.insert(name, turn);
        });
    }

    /// False: nobody had paused it.
    pub fn resume_shard(&self, name: &str) -> bool {
        let mut paused = false;
        self.change_shards(|shards| paused = shards.remove(name).is_some());
        paused
    }

    fn change_shards(&self, change: impl FnOnce(&mut BTreeMap<Arc<str>, u64>)) {
        self.shards.send_modify(|shards| {
            change(shards);
            self.paused_shards.store(shards.len(), Ordering::SeqCst);
        });
    }

    /// Whether there is one at all.
    pub fn has_paused_shards(&self) -> bool {
        self.paused_shards.load(Ordering::Relaxed) > 0
    }

    /// Those that are paused, by name.
    pub fn paused_shards(&self) -> Vec<Arc<str>> {
        self.shards.borrow().keys().cloned().collect()
    }

    /// Whether work of this turn is to wait before it comes to this shard.
    pub fn is_shard_paused(&self, name: &str, turn: u64) -> bool {
        self.shards.borrow().get(name).is_some_and(|since| turn == IDLE || turn >= *since)
    }

    /// Ends when work of this turn may come to all of these shards.
    pub async fn shards_released(&self, names: &[Arc<str>], turn: u64) {
        let free = |shards: &BTreeMap<Arc<str>, u64>| {
            !names.iter().any(|name| shards.get(name).is_some_and(|since| turn == IDLE || turn >= *since))
        };
        let _ = self.shards.subscribe().wait_for(free).await;
    }

    /// Waits until nobody works under a view of before this turn. `limit`: `None` is none.
    ///
    /// # Errors
    /// How many still do when the time is over.
    pub async fn settle(&self, turn: u64, limit: Option<Duration>) -> Result<(), usize> {
        let until = limit.and_then(|limit| Instant::now().checked_add(limit));
        loop {
            match self.working_before(turn) {
                0 => return Ok(()),
                working if until.is_some_and(|until| Instant::now() >= until) => return Err(working),
                _ => tokio::time::sleep(LOOK).await,
            }
        }
    }

    /// Waits until nobody works at all; for whoever holds new work back.
    ///
    /// # Errors
    /// As [`Self::settle`].
    pub async fn come_to_rest(&self, limit: Option<Duration>) -> Result<(), usize> {
        self.settle(u64::MAX, limit).await
    }

    fn seats(&self) -> MutexGuard<'_, Seats> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// Work begins, or goes on, under the view of this turn. What is looked at behind this call is of no earlier moment.
    pub fn work(&self, turn: u64) {
        self.turn.store(turn, Ordering::Release);
        fence(Ordering::SeqCst);
    }

    /// The turn of the view that it works under; 0: it does not work.
    pub fn turn(&self) -> u64 {
        self.turn.load(Ordering::Relaxed)
    }

    pub fn rest(&self) {
        self.turn.store(IDLE, Ordering::Release);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.traffic.seats().taken.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const SHORT: Option<Duration> = Some(Duration::from_millis(20));

    #[tokio::test]
    async fn only_work_under_earlier_views_is_waited_for() {
        let traffic = Arc::<Traffic>::default();
        let (old, new) = (traffic.next_turn(), traffic.next_turn());
        let (late, current, idle) = (traffic.sit(), traffic.sit(), traffic.sit());
        late.work(old);
        current.work(new);
        idle.rest();
        assert_eq!(traffic.settle(new, SHORT).await, Err(1));
        late.rest();
        assert_eq!(traffic.settle(new, SHORT).await, Ok(()));
        assert_eq!(traffic.come_to_rest(SHORT).await, Err(1));
        drop(current);
        assert_eq!(traffic.come_to_rest(SHORT).await, Ok(()));
    }

    #[tokio::test]
    async fn work_is_held_until_the_last_hold_is_gone() {
        let traffic = Arc::<Traffic>::default();
        let (first, second) = (traffic.hold(), traffic.hold());
        drop(first);
        assert!(traffic.is_held());
        assert!(tokio::time::timeout(SHORT.unwrap(), traffic.released()).await.is_err());
        drop(second);
        assert!(!traffic.is_held());
        traffic.released().await;
    }

    #[test]
    fn a_pause_is_one_however_often_it_is_asked_for() {
        let traffic = Arc::<Traffic>::default();
        assert!(traffic.pause() && !traffic.pause() && traffic.is_held());
        assert!(traffic.resume() && !traffic.resume() && !traffic.is_held());
    }

    #[test]
    fn work_that_has_begun_before_comes_to_a_paused_shard() {
        let traffic = Traffic::default();
        traffic.pause_shard("s1".into(), 5);
        let waits = |name: &str, turn: u64| traffic.is_shard_paused(name, turn);
        assert!(!waits("s1", 4) && waits("s1", 5) && waits("s1", 6) && waits("s1", IDLE) && !waits("s0", 6));
        assert!(traffic.has_paused_shards() && traffic.resume_shard("s1") && !traffic.resume_shard("s1"));
        assert!(!traffic.has_paused_shards() && !waits("s1", 6));
    }
}

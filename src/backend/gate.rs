//! `Gate`: the one door to all pools of a user. Who comes in has a connection of each pool that it asked for; the others wait, for
//! so long and no longer, in the order of [`Turns`].

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::backend::pace::Pace;
use crate::backend::turns::{Entry, Place, Ticket, Turns};

/// Why somebody did not get connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// This pool, of those asked for, had none in time.
    Timeout(Place),
    /// See [`Entry::Alone`].
    Alone(Place),
    /// See [`Entry::Circle`].
    Circle,
    /// See [`Entry::Crowded`].
    Crowded(Place),
    /// It would have waited for so long, which is longer than is of use to it.
    Late(Place, Duration),
    /// Too many had several pools for too long.
    Share,
    /// As many as may wait for several pools are waiting.
    ShareCrowded,
}

/// How long somebody waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// After so long it gives up.
    pub wait: Duration,
    /// What comes later is too late for it: it does not begin to wait where that is to be seen.
    pub useful: Duration,
    /// For a connection that is made for it; `None`: as everybody.
    pub reach: Option<Reach>,
}

/// How long it may take to make a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reach {
    pub connect: Duration,
    /// From then on; `None`: what is left.
    pub login: Option<Duration>,
}

impl Reach {
    /// Until a connection can be used.
    pub fn whole(self) -> Duration {
        self.connect.saturating_add(self.login.unwrap_or_default())
    }

    /// Whether each part of it is.
    pub fn is_no_shorter_than(self, other: Self) -> bool {
        let login = |reach: Self| reach.login.unwrap_or(reach.connect);
        self.connect >= other.connect && login(self) >= login(other)
    }
}

impl Patience {
    pub fn of(wait: Duration) -> Self {
        Self { wait, useful: wait, reach: None }
    }

    /// When it has waited for so long already.
    pub fn less(self, waited: Duration) -> Self {
        Self { wait: self.wait.saturating_sub(waited), useful: self.useful.saturating_sub(waited), ..self }
    }
}

#[derive(Debug, Default)]
pub struct Gate {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    turns: Turns,
    /// Of each pool.
    paces: Vec<Pace>,
    /// How those who wait are told that they have been admitted.
    bells: HashMap<Ticket, Bell>,
    /// With its size.
    share: Option<(usize, Arc<Semaphore>)>,
    /// How many wait for their share.
    sharing: Arc<AtomicUsize>,
}

/// Waits for its share as long as it lives.
struct Sharing(Arc<AtomicUsize>);

impl Drop for Sharing {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[derive(Debug)]
struct Bell {
    sender: oneshot::Sender<()>,
    since: Instant,
}

impl State {
    /// The pool for which somebody who comes now would wait for too long, and how long that is.
    fn hopeless(&self, wants: &[Place], useful: Duration) -> Option<(Place, Duration)> {
        let mut full = wants.iter().filter(|place| self.turns.is_full(**place)).peekable();
        full.peek()?;
        let now = Instant::now();
        let wait = |place: &Place| self.paces.get(*place)?.wait(self.turns.waiting(*place), now);
        full.filter_map(|place| Some((*place, wait(place)?))).find(|(_, wait)| *wait > useful)
    }

    fn ring(&mut self, admitted: impl IntoIterator<Item = Ticket>) {
        for ticket in admitted {
            if let Some(bell) = self.bells.remove(&ticket) {
                // One that has just given up finds that it was admitted, and gives its connections back.
                let _ = bell.sender.send(());
            }
        }
    }
}

impl Gate {
    /// One more pool behind this gate, for which so many newcomers may wait.
    pub fn add(&self, size: usize, queue: usize) -> Place {
        let mut state = self.state();
        let place = state.turns.add(size, queue);
        let known = state.paces.len().max(place + 1);
        state.paces.resize_with(known, Pace::default);
        place
    }

    /// So many statements at a time may want connections of several pools from now on: the others are for those that need one. `None`: any
    /// number.
    pub fn set_share(&self, size: Option<usize>) {
        let mut state = self.state();
        if state.share.as_ref().map(|(size, _)| *size) != size {
            state.share = size.map(|size| (size, Arc::new(Semaphore::new(size))));
        }
    }

    /// The right to want several pools, for somebody who holds nothing. Who waits for it stands in no line, where it would keep
    /// connections from those who need one; no more than `queue` do.
    pub async fn share(&self, wait: Duration, queue: usize) -> Result<Option<OwnedSemaphorePermit>, Denied> {
        let (share, sharing) = {
            let state = self.state();
            (state.share.clone(), Arc::clone(&state.sharing))
        };
        let Some((_, share)) = share else { return Ok(None) };
        if let Ok(permit) = Arc::clone(&share).try_acquire_owned() {
            return Ok(Some(permit));
        }
        let before = sharing.fetch_add(1, Ordering::Relaxed);
        let _waits = Sharing(sharing);
        if before >= queue {
            return Err(Denied::ShareCrowded);
        }
        match tokio::time::timeout(wait, share.acquire_owned()).await {
            Ok(Ok(permit)) => Ok(Some(permit)),
            // It is never closed.
            Ok(Err(_)) | Err(_) => Err(Denied::Share),
        }
    }

    /// A pool is gone, with all who knew it.
    pub fn remove(&self, place: Place) {
        let mut state = self.state();
        state.turns.remove(place);
        if let Some(pace) = state.paces.get_mut(place) {
            pace.rest();
        }
    }

    /// So many connections may a pool have from now on, and so many newcomers wait for it.
    pub fn resize(&self, place: Place, size: usize, queue: usize) {
        let mut state = self.state();
        let admitted = state.turns.resize(place, size, queue);
        state.ring(admitted);
    }

    /// A connection of each of these pools, of which the asker has `holds` already, is the caller's; each is to be given back.
    pub async fn enter(&self, wants: &[Place], holds: &[Place], patience: Patience) -> Result<(), Denied> {
        let mut waiting = {
            let mut state = self.state();
            // Whoever holds something goes before the line.
            if holds.is_empty()
                && let Some((place, wait)) = state.hopeless(wants, patience.useful)
            {
                return Err(Denied::Late(place, wait));
            }
            match state.turns.enter(wants, holds) {
                Entry::Admitted => return Ok(()),
                Entry::Alone(place) => return Err(Denied::Alone(place)),
                Entry::Circle => return Err(Denied::Circle),
                Entry::Crowded(place) => return Err(Denied::Crowded(place)),
                Entry::Waits(ticket) => {
                    let (sender, rung) = oneshot::channel();
                    state.bells.insert(ticket, Bell { sender, since: Instant::now() });
                    Waiting { gate: self, ticket, wants, rung, admitted: false }
                }
            }
        };
        match tokio::time::timeout(patience.wait, &mut waiting.rung).await {
            Ok(Ok(())) => {
                waiting.admitted = true;
                Ok(())
            }
            // A bell is not thrown away while somebody listens to it.
            Ok(Err(_)) | Err(_) => {
                let state = self.state();
                let missing = wants.iter().find(|place| state.turns.is_missing(waiting.ticket, **place));
                Err(Denied::Timeout(missing.or(wants.first()).copied().unwrap_or_default()))
            }
        }
    }

    /// The same for somebody who would not wait.
    pub fn enter_free(&self, place: Place) -> bool {
        self.state().turns.enter_free(place)
    }

    /// One connection, if there is one that nobody waits for.
    pub fn try_enter(&self, place: Place) -> bool {
        let mut state = self.state();
        match state.turns.enter(&[place], &[]) {
            Entry::Admitted => true,
            Entry::Waits(ticket) => {
                let admitted = state.turns.leave(ticket);
                state.ring(admitted.into_iter().flatten());
                false
            }
            Entry::Alone(_) | Entry::Circle | Entry::Crowded(_) => false,
        }
    }

    pub fn give_back(&self, place: Place) {
        let mut state = self.state();
        let waits = state.turns.waiting(place) > 0;
        match state.paces.get_mut(place) {
            Some(pace) if waits => pace.turn(Instant::now()),
            Some(pace) => pace.rest(),
            None => {}
        }
        let admitted = state.turns.give_back(place);
        state.ring(admitted);
    }

    /// Whether somebody who comes now would have to wait for a connection of this pool.
    pub fn is_full(&self, place: Place) -> bool {
        self.state().turns.is_full(place)
    }

    /// How many wait for a connection of this pool.
    pub fn waiting(&self, place: Place) -> usize {
        self.state().turns.waiting(place)
    }

    /// Since when the first of them waits.
    pub fn waiting_since(&self, place: Place) -> Option<Instant> {
        let state = self.state();
        let first = state.turns.first_waiting(place)?;
        state.bells.get(&first).map(|bell| bell.since)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody in line. Dropped before it was admitted: it leaves the line, or gives back what it has been given in this moment.
struct Waiting<'a> {
    gate: &'a Gate,
    ticket: Ticket,
    wants: &'a [Place],
    rung: oneshot::Receiver<()>,
    admitted: bool,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.admitted {
            return;
        }
        let mut state = self.gate.state();
        state.bells.remove(&self.ticket);
        match state.turns.leave(self.ticket) {
            Some(admitted) => state.ring(admitted),
            None => {
                for place in self.wants {
                    let admitted = state.turns.give_back(*place);
                    state.ring(admitted);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use super::*;

    const LONG: Patience = Patience { wait: Duration::from_secs(60), useful: Duration::from_secs(60), reach: None };

    fn gate(sizes: &[usize]) -> Arc<Gate> {
        let gate = Gate::default();
        for size in sizes {
            gate.add(*size, usize::MAX);
        }
        Arc::new(gate)
    }

    #[tokio::test]
    async fn the_pool_that_was_short_is_named() {
        let gate = gate(&[1, 1]);
        gate.enter(&[1], &[], LONG).await.unwrap();
        let denied = gate.enter(&[0, 1], &[], Patience::of(Duration::from_millis(10))).await;
        assert_eq!(denied, Err(Denied::Timeout(1)));
        // Nothing is left of the one that gave up.
        assert!(gate.try_enter(0) && !gate.try_enter(1));
    }

    #[tokio::test]
    async fn who_goes_away_just_when_it_is_admitted_keeps_nothing() {
        let gate = gate(&[1]);
        gate.enter(&[0], &[], LONG).await.unwrap();
        let waits = {
            let gate = Arc::clone(&gate);
            tokio::spawn(async move { gate.enter(&[0], &[], LONG).await })
        };
        tokio::task::yield_now().await;
        assert_eq!(gate.waiting(0), 1);
        gate.give_back(0);
        // It has not been polled since its bell rang.
        waits.abort();
        assert!(waits.await.unwrap_err().is_cancelled());
        assert!(gate.try_enter(0));
    }

    #[tokio::test]
    async fn who_would_wait_for_too_long_is_told_at_once_and_holders_are_not() {
        let gate = gate(&[1, 2]);
        gate.enter(&[0], &[], LONG).await.unwrap();
        let waits: Vec<_> = (0..10)
            .map(|_| {
                let gate = Arc::clone(&gate);
                tokio::spawn(async move { gate.enter(&[0], &[], LONG).await })
            })
            .collect();
        tokio::task::yield_now().await;
        // Each has it for ten milliseconds.
        for _ in 0..8 {
            std::thread::sleep(Duration::from_millis(10));
            gate.give_back(0);
        }
        assert_eq!(gate.waiting(0), 2);
        let short = Patience { useful: Duration::from_millis(15), ..LONG };
        let denied = gate.enter(&[1, 0], &[], short).await.unwrap_err();
        let Denied::Late(0, wait) = denied else { panic!("{denied:?}") };
        assert!(wait > short.useful && wait < Duration::from_secs(5), "{wait:?}");
        // It has left nothing behind, and where there is room nobody asks for the pace.
        gate.enter(&[1], &[], short).await.unwrap();
        let holder = tokio::time::timeout(Duration::from_millis(20), gate.enter(&[0], &[1], short)).await;
        assert!(holder.is_err(), "a holder waits: {holder:?}");
        // The line has ended: the next one does not know anything of it.
        (0..3).for_each(|_| gate.give_back(0));
        for wait in waits {
            wait.await.unwrap().unwrap();
        }
        gate.enter(&[0], &[], short).await.unwrap();
        let late = gate.enter(&[0], &[], Patience::of(Duration::from_millis(5))).await;
        assert_eq!(late, Err(Denied::Timeout(0)));
    }

    #[tokio::test]
    async fn who_is_admitted_keeps_its_connection_though_its_wait_is_over() {
        let gate = gate(&[1]);
        gate.enter(&[0], &[], LONG).await.unwrap();
        let waits = {
            let gate = Arc::clone(&gate);
            tokio::spawn(async move { gate.enter(&[0], &[], LONG).await })
        };
        tokio::task::yield_now().await;
        gate.give_back(0);
        waits.await.unwrap().unwrap();
        assert!(!gate.try_enter(0));
        gate.give_back(0);
        assert!(gate.try_enter(0));
    }
}

//! `Gate`: the one door to all pools of a user. Who comes in has a connection of each pool that it asked for; the others wait, for
//! so long and no longer, in the order of [`Turns`].
//!
//! To wait costs no allocation and no timer: who waits has a bell among others that were used before, and one task looks at the clock for all.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::backend::pace::Pace;
use crate::backend::seats::Seats;
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
pub struct Gate(Arc<Door>);

#[derive(Debug, Default)]
struct Door {
    state: Mutex<State>,
    /// Somebody waits whose time is up before the one who looks at the clock looks again.
    sooner: Arc<Notify>,
}

#[derive(Debug, Default)]
struct State {
    turns: Turns,
    /// Of each pool.
    paces: Vec<Pace>,
    /// How those who wait are told that they have been admitted.
    bells: Seats<Bell>,
    /// Of the seat of a ticket: where its bell is. A bell stays until it is heard, a seat is another one's as soon as its ticket is admitted.
    by_seat: Vec<usize>,
    /// When somebody looks at the clock next; `None`: nobody does.
    watched: Option<Instant>,
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

/// Of one who waits.
#[derive(Debug)]
struct Bell {
    since: Instant,
    /// Then its time is up; `None`: never.
    until: Option<Instant>,
    said: Option<Said>,
    /// Of the task in which it waits.
    waker: Waker,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    Admitted,
    Late,
}

impl State {
    /// The pool for which somebody who comes now would wait for too long, and how long that is.
    fn hopeless(&self, wants: &[Place], useful: Duration) -> Option<(Place, Duration)> {
        let mut full = wants.iter().copied().filter(|place| self.turns.is_full(*place));
        full.find_map(|place| {
            let wait = self.paces.get(place)?.longer_than(useful, self.turns.waiting(place), Instant::now)?;
            Some((place, wait))
        })
    }

    /// A bell for who has this ticket.
    fn hang(&mut self, ticket: Ticket, bell: Bell) -> usize {
        let at = self.bells.put(bell);
        if self.by_seat.len() <= ticket.seat() {
            self.by_seat.resize(ticket.seat() + 1, at);
        }
        self.by_seat[ticket.seat()] = at;
        at
    }

    fn bell_of(&mut self, ticket: Ticket) -> Option<&mut Bell> {
        self.bells.get_mut(*self.by_seat.get(ticket.seat())?)
    }

    /// One that has just given up finds that it was admitted, and gives its connections back.
    fn ring(&mut self, admitted: impl IntoIterator<Item = Ticket>) {
        for ticket in admitted {
            if let Some(bell) = self.bell_of(ticket) {
                bell.said = Some(Said::Admitted);
                bell.waker.wake_by_ref();
            }
        }
    }

    /// Tells those whose time is up; when that is so for the next one.
    fn look(&mut self, now: Instant) -> Option<Instant> {
        let mut next: Option<Instant> = None;
        for bell in self.bells.iter_mut().filter(|bell| bell.said.is_none()) {
            match bell.until {
                Some(until) if until <= now => {
                    bell.said = Some(Said::Late);
                    bell.waker.wake_by_ref();
                }
                Some(until) => next = Some(next.map_or(until, |next| next.min(until))),
                None => {}
            }
        }
        self.watched = next;
        next
    }
}

impl Door {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody is to look at the clock at `until`, where before that was so at `watched`.
    fn watch(self: &Arc<Self>, watched: Option<Instant>, until: Instant) {
        match watched {
            Some(next) if next <= until => {}
            Some(_) => self.sooner.notify_one(),
            None => {
                drop(tokio::spawn(Watch { door: Arc::downgrade(self), ended: false }.run(Arc::clone(&self.sooner))))
            }
        }
    }
}

/// Looks at the clock for those who wait, as long as there are any. Dropped before: nobody does.
struct Watch {
    door: Weak<Door>,
    ended: bool,
}

impl Watch {
    async fn run(mut self, sooner: Arc<Notify>) {
        while let Some(next) = self.look() {
            // Told or not, it looks who waits.
            let _ = tokio::time::timeout_at(next.into(), sooner.notified()).await;
        }
        self.ended = true;
    }

    fn look(&self) -> Option<Instant> {
        let door = self.door.upgrade()?;
        door.state().look(Instant::now())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(door) = self.door.upgrade().filter(|_| !self.ended) {
            door.state().watched = None;
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
        let begun = poll_fn(|cx| Poll::Ready(self.begin(wants, holds, patience, cx.waker()))).await?;
        let Some(mut waiting) = begun else { return Ok(()) };
        match (&mut waiting).await {
            Said::Admitted => Ok(()),
            Said::Late => {
                let state = self.state();
                let missing = wants.iter().find(|place| state.turns.is_missing(waiting.ticket, **place));
                Err(Denied::Timeout(missing.or(wants.first()).copied().unwrap_or_default()))
            }
        }
    }

    /// `None`: it is admitted.
    fn begin<'a>(
        &'a self,
        wants: &'a [Place],
        holds: &[Place],
        patience: Patience,
        waker: &Waker,
    ) -> Result<Option<Waiting<'a>>, Denied> {
        let mut state = self.state();
        // Whoever holds something goes before the line.
        if holds.is_empty()
            && let Some((place, wait)) = state.hopeless(wants, patience.useful)
        {
            return Err(Denied::Late(place, wait));
        }
        match state.turns.enter(wants, holds) {
            Entry::Admitted => Ok(None),
            Entry::Alone(place) => Err(Denied::Alone(place)),
            Entry::Circle => Err(Denied::Circle),
            Entry::Crowded(place) => Err(Denied::Crowded(place)),
            Entry::Waits(ticket) => {
                let since = Instant::now();
                let until = since.checked_add(patience.wait);
                let bell = state.hang(ticket, Bell { since, until, said: None, waker: waker.clone() });
                let watched = state.watched;
                state.watched = watched.into_iter().chain(until).min();
                drop(state);
                if let Some(until) = until {
                    self.0.watch(watched, until);
                }
                Ok(Some(Waiting { gate: self, ticket, wants, bell, is_new: true, admitted: false }))
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
        state.bells.get(*state.by_seat.get(first.seat())?).map(|bell| bell.since)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state()
    }
}

/// Somebody in line. Dropped before it was admitted: it leaves the line, or gives back what it has been given in this moment.
struct Waiting<'a> {
    gate: &'a Gate,
    ticket: Ticket,
    wants: &'a [Place],
    bell: usize,
    /// The one who waits has just been asked for its waker.
    is_new: bool,
    admitted: bool,
}

impl Future for Waiting<'_> {
    type Output = Said;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Said> {
        if std::mem::take(&mut self.is_new) {
            return Poll::Pending;
        }
        let (gate, at) = (self.gate, self.bell);
        let mut state = gate.state();
        let Some(bell) = state.bells.get_mut(at) else { return Poll::Ready(Said::Late) };
        match bell.said {
            Some(Said::Admitted) => {
                state.bells.take(at);
                self.admitted = true;
                Poll::Ready(Said::Admitted)
            }
            Some(Said::Late) => Poll::Ready(Said::Late),
            None => {
                bell.waker.clone_from(cx.waker());
                Poll::Pending
            }
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.admitted {
            return;
        }
        let mut state = self.gate.state();
        state.bells.take(self.bell);
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

    /// Counts how often its task is woken.
    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl std::task::Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[tokio::test]
    async fn who_comes_first_is_woken_once_and_nobody_else() {
        let gate = gate(&[1]);
        gate.enter(&[0], &[], LONG).await.unwrap();
        let woken: Vec<Arc<Woken>> = (0..4).map(|_| Arc::default()).collect();
        let wakers: Vec<Waker> = woken.iter().map(|woken| Waker::from(Arc::clone(woken))).collect();
        let mut waits: Vec<_> = (0..4).map(|_| Box::pin(gate.enter(&[0], &[], LONG))).collect();
        for (wait, waker) in waits.iter_mut().zip(&wakers) {
            assert!(wait.as_mut().poll(&mut Context::from_waker(waker)).is_pending());
        }
        let counts = || woken.iter().map(|woken| woken.0.load(Ordering::Relaxed)).collect::<Vec<_>>();
        gate.give_back(0);
        assert_eq!(counts(), [1, 0, 0, 0]);
        assert!(waits[0].as_mut().poll(&mut Context::from_waker(&wakers[0])).is_ready());
        // One that leaves hands on what it was given in that moment; one that was given nothing hands on nothing.
        gate.give_back(0);
        drop(waits.remove(1));
        drop(waits.remove(2));
        assert_eq!((counts(), gate.waiting(0)), (vec![1, 1, 1, 0], 0));
        assert!(waits[1].as_mut().poll(&mut Context::from_waker(&wakers[2])).is_ready());
        gate.give_back(0);
        assert!(gate.try_enter(0));
        // Their bells are there for others.
        let state = gate.state();
        assert!(state.bells.iter().next().is_none() && state.bells.next() < 4);
    }

    #[tokio::test]
    async fn whose_time_is_up_first_is_told_first_and_others_wait_on() {
        let gate = gate(&[1]);
        gate.enter(&[0], &[], LONG).await.unwrap();
        let wait = |millis| gate.enter(&[0], &[], Patience::of(Duration::from_millis(millis)));
        let begun = Instant::now();
        let told = async |millis: u64| (wait(millis).await, begun.elapsed() >= Duration::from_millis(millis));
        let forever = gate.enter(&[0], &[], Patience::of(Duration::MAX));
        let mut long = std::pin::pin!(gate.enter(&[0], &[], LONG));
        let late = Err(Denied::Timeout(0));
        tokio::select! {
            biased;
            _ = &mut long => panic!("nothing has come back"),
            _ = forever => panic!("nothing has come back"),
            told = async { tokio::join!(told(40), told(10), told(0), told(20)) } => {
                assert_eq!(told, ((late, true), (late, true), (late, true), (late, true)));
            }
        }
        assert_eq!(gate.waiting(0), 1);
        gate.give_back(0);
        long.await.unwrap();
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

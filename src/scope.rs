//! `Control`: the one way to stop a session or its statement from outside.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures::task::AtomicWaker;

use crate::fault::{Fault, SqlState};

/// Shared between a session and those who may end it. Costs the session one atomic load when it is about to wait.
#[derive(Debug)]
pub struct Control {
    state: AtomicU8,
    /// What the session's client is told when it ends; `None`: that an administrator wanted it.
    why: Mutex<Option<Fault>>,
    made: Instant,
    /// Since when the client has taken nothing of what is to be written to it; microseconds since `made`, 0: it takes.
    blocked: AtomicU64,
    /// Bytes that it does not take.
    unsent: AtomicUsize,
    /// The statement that waits for server connections is to be canceled.
    canceled: AtomicBool,
    /// The time of the statement that runs is up: what its client is told, where that has not taken all of its answer.
    due: Mutex<Option<Fault>>,
    /// Whether it is, for those who look at every row.
    is_due: AtomicBool,
    waker: AtomicWaker,
}

impl Default for Control {
    fn default() -> Self {
        Self {
            state: AtomicU8::default(),
            why: Mutex::default(),
            made: Instant::now(),
            blocked: AtomicU64::new(0),
            unsent: AtomicUsize::new(0),
            canceled: AtomicBool::default(),
            due: Mutex::default(),
            is_due: AtomicBool::default(),
            waker: AtomicWaker::new(),
        }
    }
}

/// Those who can be asked together.
#[derive(Debug, Default)]
pub struct Crowd(Mutex<Vec<Weak<Control>>>);

impl Crowd {
    /// Until it is dropped.
    pub fn add(&self, control: &Arc<Control>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|known| known.strong_count() > 0);
        all.push(Arc::downgrade(control));
    }

    pub fn ask_all(&self, wish: Wish) {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().filter_map(Weak::upgrade).for_each(|control| control.ask(wish));
    }

    pub fn len(&self) -> usize {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().filter(|known| known.strong_count() > 0).count()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What is wanted of a session; a stronger wish replaces a weaker one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wish {
    Run = 0,
    /// End at the next moment outside a transaction (`57P01`).
    Drain = 1,
    /// End now, whatever runs.
    Kill = 2,
}

impl Control {
    pub fn wish(&self) -> Wish {
        match self.state.load(Ordering::Acquire) {
            0 => Wish::Run,
            1 => Wish::Drain,
            _ => Wish::Kill,
        }
    }

    pub fn ask(&self, wish: Wish) {
        self.state.fetch_max(wish as u8, Ordering::AcqRel);
        self.waker.wake();
    }

    /// Ends the session now, whatever runs, for this reason.
    pub fn end(&self, why: Fault) {
        self.why.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(why);
        self.ask(Wish::Kill);
    }

    /// Why the session is to end.
    pub fn reason(&self) -> Fault {
        let why = self.why.lock().unwrap_or_else(PoisonError::into_inner).clone();
        why.unwrap_or_else(|| {
            Fault::new(SqlState::ADMIN_SHUTDOWN, "terminating connection due to administrator command").fatal()
        })
    }

    /// The client's socket takes nothing more for now, or takes something again.
    pub fn note_blocked(&self, blocked: bool) {
        let since = if blocked { u64::try_from(self.made.elapsed().as_micros()).unwrap_or(u64::MAX).max(1) } else { 0 };
        self.blocked.store(since, Ordering::Relaxed);
    }

    /// So many bytes wait for the client, which takes nothing now.
    pub fn note_unsent(&self, bytes: usize) {
        self.unsent.store(bytes, Ordering::Relaxed);
    }

    pub fn unsent(&self) -> usize {
        self.unsent.load(Ordering::Relaxed)
    }

    /// For how long the client has taken nothing of what is to be written to it.
    pub fn blocked_for(&self) -> Option<Duration> {
        let since = Some(self.blocked.load(Ordering::Relaxed)).filter(|since| *since > 0)?;
        Some(self.made.elapsed().saturating_sub(Duration::from_micros(since)))
    }

    /// Ends the wait of a statement that has no server connections yet.
    pub fn cancel(&self) {
        self.canceled.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// The time of the statement is up. Its servers do not wait any longer for a client that takes its answer slowly.
    pub fn fall_due(&self, why: Fault) {
        *self.due.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
        self.is_due.store(true, Ordering::Release);
        self.waker.wake();
    }

    pub fn is_due(&self) -> bool {
        self.is_due.load(Ordering::Acquire)
    }

    /// What is told when the time is up.
    pub fn due(&self) -> Option<Fault> {
        self.is_due().then(|| self.due.lock().unwrap_or_else(PoisonError::into_inner).clone())?
    }

    /// The statement has ended, or another one begins.
    pub fn forget_due(&self) {
        if self.is_due() {
            self.is_due.store(false, Ordering::Release);
            *self.due.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }

    /// Has the session look again at what it waits for.
    pub fn wake(&self) {
        self.waker.wake();
    }

    pub fn forget_cancel(&self) {
        self.canceled.store(false, Ordering::Release);
    }

    /// Ready once the wait of the statement is to end.
    pub fn poll_cancel(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.waker.register(cx.waker());
        if self.canceled.load(Ordering::Acquire) { Poll::Ready(()) } else { Poll::Pending }
    }

    pub fn is_canceled(&self) -> bool {
        self.canceled.load(Ordering::Acquire)
    }

    /// Ready once the session is to end at its next idle moment.
    pub fn poll_end(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_at_least(cx, Wish::Drain)
    }

    /// Ready once the session is to end at once.
    pub fn poll_kill(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_at_least(cx, Wish::Kill)
    }

    fn poll_at_least(&self, cx: &mut Context<'_>, wish: Wish) -> Poll<()> {
        self.waker.register(cx.waker());
        if self.wish() >= wish { Poll::Ready(()) } else { Poll::Pending }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weaker_wish_does_not_undo_a_stronger_one() {
        let control = Control::default();
        control.ask(Wish::Kill);
        control.ask(Wish::Drain);
        assert_eq!(control.wish(), Wish::Kill);
    }
}

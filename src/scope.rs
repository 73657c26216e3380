//! `Control`: the one way to stop a session or its statement from outside.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::task::{Context, Poll};

use futures::task::AtomicWaker;

/// Shared between a session and those who may end it. Costs the session one atomic load when it is about to wait.
#[derive(Debug, Default)]
pub struct Control {
    state: AtomicU8,
    /// The statement that waits for server connections is to be canceled.
    canceled: AtomicBool,
    waker: AtomicWaker,
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

    /// Ends the wait of a statement that has no server connections yet.
    pub fn cancel(&self) {
        self.canceled.store(true, Ordering::Release);
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

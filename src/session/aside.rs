//! Large statements are read aside: on another thread than the one that serves, so that nobody waits behind them.
//!
//! The session that has one asks for a turn, and says so when it has it. Whoever polls it then has it polled once beside the thread, up to
//! the next moment at which it waits for something, and takes it back. What the session does is the same wherever it is polled.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::limits::Limit;
use crate::fault::{Blame, Fault, SqlState};
use crate::memory::Hold;
use crate::session::{Failure, Session};
use crate::sql::Analysis;

/// Statements of fewer bytes are read where they have come.
const LARGE: usize = 128 << 10;
/// Bytes that the tree of a statement may take for each byte of it that is no literal's.
const TREE: usize = 256;

thread_local! {
    /// What is polled on this thread is to go on aside.
    static ASKED: Cell<Option<OwnedSemaphorePermit>> = const { Cell::new(None) };
    /// This thread is beside those that serve.
    static IS_ASIDE: Cell<bool> = const { Cell::new(false) };
    /// What is polled on this thread is at a desk, which can be carried aside.
    static AT_DESK: Cell<bool> = const { Cell::new(false) };
}

/// Polls a desk.
pub(super) fn at_desk(poll: impl FnOnce()) {
    AT_DESK.set(true);
    poll();
    AT_DESK.set(false);
}

/// How many statements are read aside at once.
#[derive(Debug)]
pub(super) struct Turns(Arc<Semaphore>);

impl Default for Turns {
    /// On half of the processors, so that nobody's statements take all of them.
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self(Arc::new(Semaphore::new((processors / 2).max(1))))
    }
}

/// Goes on aside, from where it is polled again.
struct StepAside(Option<OwnedSemaphorePermit>);

impl Future for StepAside {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        match self.0.take() {
            Some(turn) => {
                ASKED.set(Some(turn));
                Poll::Pending
            }
            None => Poll::Ready(()),
        }
    }
}

/// The turn with which what was just polled wants to go on aside.
pub(super) fn asked() -> Option<OwnedSemaphorePermit> {
    ASKED.take()
}

/// Polls it once aside, for as long as it has its turn. Whatever it waits for then wakes whoever polls this.
pub(super) async fn poll_aside<W>(mut work: W, turn: OwnedSemaphorePermit, poll: fn(&mut W, &mut Context<'_>)) -> W
where
    W: Send + 'static,
{
    let waker = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
    let polled = tokio::task::spawn_blocking(move || {
        IS_ASIDE.set(true);
        poll(&mut work, &mut Context::from_waker(&waker));
        IS_ASIDE.set(false);
        drop(turn);
        work
    });
    match polled.await {
        Ok(work) => work,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The router ends.
            Err(_) => std::future::pending().await,
        },
    }
}

pub(super) fn is_large(bytes: usize) -> bool {
    bytes >= LARGE
}

fn unread(limit: Duration) -> Fault {
    Fault::new(SqlState::TOO_MANY_CONNECTIONS, "too many large statements are being read")
        .detail(format!("The statement has waited for {limit:?} (query_wait_timeout)."))
        .hint("Try again later, send smaller statements, or use COPY.")
        .blame(Blame::Router)
}

impl Session {
    /// [`Self::known_or_scanned`] of a large text, aside.
    pub(super) async fn read_aside(&mut self, text: &str) -> Result<Option<Arc<Analysis>>, Failure> {
        let slot = Arc::clone(&self.slot);
        let _waiting = slot.wait();
        self.step_aside().await?;
        let known = self.known_or_scanned(text)?;
        // Nobody can stop it while it reads, as in Postgres; nothing is begun when it is to stop.
        if self.client.control.is_canceled() { Err(slot.canceled().into()) } else { Ok(known) }
    }

    /// What follows is done aside, until the session next waits for something.
    pub(super) async fn go_aside(&mut self) -> Result<(), Failure> {
        let slot = Arc::clone(&self.slot);
        let _waiting = slot.wait();
        self.step_aside().await
    }

    async fn step_aside(&mut self) -> Result<(), Failure> {
        // Elsewhere nobody would hear of it.
        if IS_ASIDE.get() || !AT_DESK.get() {
            return Ok(());
        }
        let turns = Arc::clone(&self.shared.desks.turns.0);
        let mut turn = None;
        let limit = self.times.get(Limit::QueryWait).unwrap_or(Duration::MAX);
        self.wait_at_most(limit, async { turn = turns.acquire_owned().await.ok() }, || unread(limit)).await?;
        StepAside(turn).await;
        Ok(())
    }

    /// The memory of the tree of the statement in `self.scan`, where it is a large one.
    pub(super) fn hold_tree(&self) -> Result<Option<Hold>, Fault> {
        let bytes = self.scan.template.len();
        if bytes < LARGE {
            return Ok(None);
        }
        let mut hold = self.shared.memory.hold();
        hold.grow(bytes.saturating_mul(TREE))?;
        Ok(Some(hold))
    }
}

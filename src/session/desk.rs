//! Desks: where statements run. What a running statement needs is large, whatever it does; a client needs it while one runs and no longer.
//! So the few that run share the desks, and what they use is warm in the processor's caches. An idle client has its session alone.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use tracing::Instrument;

use crate::session::{Session, Stop};
use crate::wire::frame::Frame;

/// Desks that are kept while nobody works at them.
const KEPT: usize = 64;

/// Those of the router.
#[derive(Default)]
pub struct Desks {
    free: Mutex<Vec<Desk>>,
}

/// Work that begins anew with each session that is put into its tray, and never ends.
struct Desk {
    tray: Arc<Mutex<Tray>>,
    work: Pin<Box<dyn Future<Output = ()> + Send>>,
}

enum Tray {
    Empty,
    In(Box<Session>, Frame),
    Out(Box<Session>, Result<(), Stop>),
}

impl Desk {
    fn new() -> Self {
        let tray = Arc::new(Mutex::new(Tray::Empty));
        Self { work: Box::pin(work(Arc::clone(&tray))), tray }
    }
}

impl Desks {
    fn free(&self) -> MutexGuard<'_, Vec<Desk>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does what the client has sent. Dropped on the way, it takes the desk with it.
    pub(super) async fn work(&self, session: Box<Session>, frame: Frame) -> (Box<Session>, Result<(), Stop>) {
        let free = self.free().pop();
        let mut desk = free.unwrap_or_else(Desk::new);
        *lock(&desk.tray) = Tray::In(session, frame);
        let done = poll_fn(|cx| {
            // Nobody is polled who has nothing to do: it never ends.
            let _ = desk.work.as_mut().poll(cx);
            let mut tray = lock(&desk.tray);
            match std::mem::replace(&mut *tray, Tray::Empty) {
                Tray::Out(session, done) => Poll::Ready((session, done)),
                other => {
                    *tray = other;
                    Poll::Pending
                }
            }
        })
        .await;
        let mut free = self.free();
        if free.len() < KEPT {
            free.push(desk);
        }
        done
    }
}

fn lock(tray: &Mutex<Tray>) -> MutexGuard<'_, Tray> {
    tray.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn work(tray: Arc<Mutex<Tray>>) {
    loop {
        let (mut session, frame) = poll_fn(|_| {
            let mut tray = lock(&tray);
            match std::mem::replace(&mut *tray, Tray::Empty) {
                Tray::In(session, frame) => Poll::Ready((session, frame)),
                // Whoever puts something in polls.
                other => {
                    *tray = other;
                    Poll::Pending
                }
            }
        })
        .await;
        let done = session.answer_all(frame).await;
        *lock(&tray) = Tray::Out(session, done);
    }
}

impl Session {
    /// Deals with a message, and with those behind it that have come whole.
    async fn answer_all(&mut self, mut frame: Frame) -> Result<(), Stop> {
        loop {
            if tracing::enabled!(tracing::Level::DEBUG) {
                let span = tracing::debug_span!(
                    "statement",
                    client = self.pid,
                    message = %char::from(frame.tag),
                    route = tracing::field::Empty,
                    shards = tracing::field::Empty,
                    took = tracing::field::Empty,
                );
                Box::pin(self.dispatch(frame).instrument(span)).await?;
            } else {
                self.dispatch(frame).await?;
            }
            match self.client.cut() {
                Ok(Some(next)) => frame = next,
                Ok(None) => return Ok(()),
                Err(fault) => return Err(Stop::Fatal(fault)),
            }
        }
    }
}

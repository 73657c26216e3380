//! Desks: where statements run. What a running statement needs is large, whatever it does; a client needs it while one runs and no longer.
//! So the few that run share the desks, and what they use is warm in the processor's caches. An idle client has its session alone.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tracing::Instrument;

use crate::session::aside::{self, Turns};
use crate::session::{Failure, Session, Stop};
use crate::wire::frame::Frame;

/// Desks that are kept while nobody works at them.
const KEPT: usize = 64;

/// Between two looks at who still works.
const LOOK: Duration = Duration::from_millis(5);

/// Those of the router.
#[derive(Default)]
pub struct Desks {
    room: Mutex<Room>,
    /// Nobody begins to work: what clients send waits, wherever their transactions are. It changes while the room is locked.
    suspended: AtomicBool,
    resumed: Notify,
    /// Those of statements that are read aside.
    pub(super) turns: Turns,
}

#[derive(Default)]
struct Room {
    free: Vec<Desk>,
    /// Those that sessions work at.
    taken: usize,
}

/// A message was cancelled while it waited for a desk.
pub(super) enum Telling {
    /// It is to fail so.
    Due(Box<Failure>),
    /// It has, and its client waits for ReadyForQuery.
    Begun,
}

/// A desk that a session works at. Dropped on the way, it takes the desk with it.
pub(super) struct AtDesk<'a> {
    desks: &'a Desks,
    desk: Option<Desk>,
    done: bool,
}

impl Drop for AtDesk<'_> {
    fn drop(&mut self) {
        let mut room = self.desks.room();
        room.taken -= 1;
        if self.done && room.free.len() < KEPT {
            room.free.extend(self.desk.take());
        }
    }
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

    /// The session whose work is done.
    fn take_out(&self) -> Option<(Box<Session>, Result<(), Stop>)> {
        let mut tray = lock(&self.tray);
        match std::mem::replace(&mut *tray, Tray::Empty) {
            Tray::Out(session, done) => Some((session, done)),
            other => {
                *tray = other;
                None
            }
        }
    }

    /// Nobody polls it who has nothing to do: it never ends.
    fn poll(&mut self, cx: &mut Context<'_>) {
        aside::at_desk(|| {
            let _ = self.work.as_mut().poll(cx);
        });
    }
}

impl Desks {
    fn room(&self) -> MutexGuard<'_, Room> {
        self.room.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `None`: work is suspended, and this is not `urgent`.
    fn take(&self, urgent: bool) -> Option<AtDesk<'_>> {
        let mut room = self.room();
        if self.is_suspended() && !urgent {
            return None;
        }
        room.taken += 1;
        let desk = room.free.pop();
        drop(room);
        Some(AtDesk { desks: self, desk, done: false })
    }

    /// Nobody begins to work from now on, until [`Self::resume`]; ends when nobody does. Given up before that, it stays so.
    pub async fn suspend(&self) {
        self.set_suspended(true);
        while self.room().taken > 0 && self.is_suspended() {
            tokio::time::sleep(LOOK).await;
        }
    }

    /// False: nobody had suspended it.
    pub fn resume(&self) -> bool {
        self.set_suspended(false)
    }

    /// What it was before.
    fn set_suspended(&self, suspended: bool) -> bool {
        let room = self.room();
        let before = self.suspended.swap(suspended, Ordering::Relaxed);
        drop(room);
        self.resumed.notify_waiters();
        before
    }

    pub fn is_suspended(&self) -> bool {
        self.suspended.load(Ordering::Relaxed)
    }

    /// A place at which a session works, as soon as that may be: at once for one whose message was cancelled, until its client has been told.
    pub(super) async fn enter(&self, session: &mut Session) -> Result<AtDesk<'_>, Stop> {
        let came = Instant::now();
        loop {
            // Who is told from now on has been waiting.
            let resumed = self.resumed.notified();
            if let Some(at) = self.take(session.telling.is_some()) {
                return Ok(at);
            }
            match session.wait_for_work(resumed, came).await {
                Ok(()) => {}
                Err(Failure::Stop(stop)) => return Err(stop),
                // What is skipped up to its Sync has failed already.
                Err(_) if session.batch.discarding => session.telling = Some(Telling::Begun),
                Err(failure) => session.telling = Some(Telling::Due(Box::new(failure))),
            }
        }
    }

    /// Does what the client has sent.
    pub(super) async fn work(&self, mut session: Box<Session>, frame: Frame) -> (Box<Session>, Result<(), Stop>) {
        let mut at = match self.enter(&mut session).await {
            Ok(at) => at,
            Err(stop) => return (session, Err(stop)),
        };
        let mut desk = at.desk.take().unwrap_or_else(Desk::new);
        *lock(&desk.tray) = Tray::In(session, frame);
        loop {
            let turn = poll_fn(|cx| {
                desk.poll(cx);
                match (desk.take_out(), aside::asked()) {
                    (Some(out), _) => Poll::Ready(Ok(out)),
                    (None, Some(turn)) => Poll::Ready(Err(turn)),
                    (None, None) => Poll::Pending,
                }
            })
            .await;
            let out = match turn {
                Ok(out) => Some(out),
                Err(turn) => {
                    desk = Box::pin(aside::poll_aside(desk, turn, Desk::poll)).await;
                    desk.take_out()
                }
            };
            if let Some(out) = out {
                (at.desk, at.done) = (Some(desk), true);
                return out;
            }
        }
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
    /// Takes the view of now, for a message that was not cancelled before.
    pub(super) async fn begin_message(&mut self) -> Result<(), Failure> {
        match self.take_telling() {
            Some(failure) => Err(failure),
            None => self.begin_view().await,
        }
    }

    /// What the message that waited for a desk fails with.
    pub(super) fn take_telling(&mut self) -> Option<Failure> {
        match self.telling.replace(Telling::Begun) {
            Some(Telling::Due(failure)) => Some(*failure),
            before => {
                self.telling = before;
                None
            }
        }
    }

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
            // What is there already waits like what comes.
            if self.telling.is_none() && self.shared.desks.is_suspended() {
                return Ok(());
            }
            match self.client.cut() {
                Ok(Some(next)) => frame = next,
                Ok(None) => return Ok(()),
                Err(fault) => return Err(Box::pin(self.end_behind(fault)).await),
            }
        }
    }
}

//! Keeps what of etcd is in force on disk, the map or the users, on a thread of its own: a disk that hangs holds nobody up.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::{MapState, copy};

/// What is to be on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copy {
    pub path: PathBuf,
    pub prefix: Box<str>,
    pub text: Arc<str>,
}

type Write = Box<dyn Fn(&Copy) -> io::Result<()> + Send + Sync>;

/// One file's writer. One copy is written at a time, and of those that wait the last one alone: never an older one in the place of a
/// newer one.
#[derive(Clone)]
pub struct Keeper {
    shared: Arc<Shared>,
}

struct Shared {
    now: Mutex<Now>,
    idle: Notify,
    /// What it keeps.
    what: &'static str,
    /// Who is told what cannot be written.
    state: Option<Arc<MapState>>,
    write: Write,
}

#[derive(Default)]
struct Now {
    /// The one that comes after what is being written.
    next: Option<Copy>,
    is_writing: bool,
    /// Where what is in force is kept, or will be.
    place: Option<PathBuf>,
    /// Why it is not.
    problem: Option<Box<str>>,
}

impl Keeper {
    /// Of the map. `state`: who is told that a copy cannot be written.
    pub fn new(state: Arc<MapState>) -> Self {
        Self::of("the map", Some(state), |wanted| copy::write(&wanted.path, &wanted.prefix, &wanted.text))
    }

    /// Of something that is written like this; the log calls it `what`.
    pub fn of(
        what: &'static str,
        state: Option<Arc<MapState>>,
        write: impl Fn(&Copy) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let (now, idle) = (Mutex::default(), Notify::new());
        Self { shared: Arc::new(Shared { now, idle, what, state, write: Box::new(write) }) }
    }

    /// Why what is in force is not on disk, as far as is known.
    pub fn problem(&self) -> Option<Box<str>> {
        self.shared.now().problem.clone()
    }

    /// What is in force is in this file already.
    pub fn found(&self, path: PathBuf) {
        self.shared.now().place = Some(path);
    }

    /// Something else is in force than what is kept.
    pub fn forget(&self) {
        self.shared.now().place = None;
    }

    /// Sees to it that what is in force, this text, is in this file; returns at once.
    pub fn keep(&self, path: &PathBuf, prefix: &str, text: &str) {
        let mut now = self.shared.now();
        if now.place.as_ref() == Some(path) {
            return;
        }
        now.place = Some(path.clone());
        now.next = Some(Copy { path: path.clone(), prefix: prefix.into(), text: text.into() });
        if !std::mem::replace(&mut now.is_writing, true) {
            let shared = Arc::clone(&self.shared);
            tokio::task::spawn_blocking(move || shared.write_all());
        }
    }

    /// Waits until all is written, at most so long. Whether it is.
    pub async fn end(&self, limit: Duration) -> bool {
        let written = async {
            loop {
                let idle = self.shared.idle.notified();
                if !self.shared.now().is_writing {
                    return;
                }
                idle.await;
            }
        };
        tokio::time::timeout(limit, written).await.is_ok()
    }
}

impl Shared {
    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_all(&self) {
        while let Some(wanted) = self.next() {
            let write = std::panic::AssertUnwindSafe(|| (self.write)(&wanted));
            let done = std::panic::catch_unwind(write);
            let done = done.unwrap_or_else(|_| Err(io::Error::other("the writer has panicked")));
            self.note(&wanted, done);
        }
    }

    fn next(&self) -> Option<Copy> {
        let mut now = self.now();
        let next = now.next.take();
        if next.is_none() {
            now.is_writing = false;
            self.idle.notify_one();
        }
        next
    }

    /// What came of it, for whoever looks.
    fn note(&self, wanted: &Copy, done: io::Result<()>) {
        let problem: Option<Box<str>> = done.as_ref().err().map(|error| {
            let file = wanted.path.display();
            format!("the copy {file} cannot be written: {error}").into()
        });
        let mut now = self.now();
        let before = std::mem::replace(&mut now.problem, problem.clone());
        // A later look tries it again, where no newer one is waiting.
        if problem.is_some() && now.next.is_none() {
            now.place = None;
        }
        drop(now);
        if let Err(error) = done
            && problem != before
        {
            let file = wanted.path.display();
            tracing::error!(%file, %error, "{} cannot be kept on disk: a start without etcd would have none", self.what);
        }
        // What else is in the way is told first.
        let Some(state) = &self.state else { return };
        state.update(|status| {
            if status.problem == before {
                status.problem = problem;
            }
        });
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::mpsc;
    use std::time::Instant;

    use super::*;

    type Written = Arc<Mutex<Vec<String>>>;

    /// A keeper whose disk takes a write only when it is let through, what it has written, and its end.
    fn slow() -> (Keeper, mpsc::Sender<io::Result<()>>, Written, Arc<MapState>) {
        let (through, wait) = mpsc::channel();
        let (wait, state) = (Mutex::new(wait), MapState::new("etcd", ""));
        let written = Written::default();
        let to = Arc::clone(&written);
        let keeper = Keeper::of("the map", Some(Arc::clone(&state)), move |wanted| {
            let result: io::Result<()> = wait.lock().unwrap().recv().unwrap();
            to.lock().unwrap().push(wanted.text.to_string());
            result
        });
        (keeper, through, written, state)
    }

    fn serve(keeper: &Keeper, map: &str) {
        keeper.forget();
        keeper.keep(&PathBuf::from("copy.json"), "/a", map);
    }

    #[tokio::test]
    async fn a_disk_that_hangs_holds_nobody_up_and_the_last_map_is_the_one_that_stays() {
        let (keeper, through, written, _) = slow();
        let start = Instant::now();
        ["1", "2", "3", "4"].iter().for_each(|map| serve(&keeper, map));
        // The same one is not asked for twice.
        keeper.keep(&PathBuf::from("copy.json"), "/a", "4");
        assert!(!keeper.end(Duration::from_millis(50)).await, "it has written what nobody let through");
        assert!(start.elapsed() < Duration::from_secs(5));
        (0..4).for_each(|_| through.send(Ok(())).unwrap());
        assert!(keeper.end(Duration::from_secs(20)).await);
        let written = written.lock().unwrap().clone();
        assert_eq!(written.last().map(String::as_str), Some("4"));
        assert!(written.len() <= 2, "{written:?}: what a newer one has replaced is not written");
        assert!(keeper.end(Duration::ZERO).await);
    }

    #[tokio::test]
    async fn what_cannot_be_written_is_told_and_tried_again() {
        let (keeper, through, written, state) = slow();
        let path = PathBuf::from("copy.json");
        serve(&keeper, "1");
        through.send(Err(io::Error::other("full"))).unwrap();
        assert!(keeper.end(Duration::from_secs(20)).await);
        assert_eq!(keeper.problem().as_deref(), Some("the copy copy.json cannot be written: full"));
        assert_eq!(state.status().problem, keeper.problem());
        // What else is in the way stays told.
        state.update(|status| status.problem = Some("etcd is lost".into()));
        keeper.keep(&path, "/a", "1");
        through.send(Ok(())).unwrap();
        assert!(keeper.end(Duration::from_secs(20)).await);
        assert_eq!((keeper.problem(), state.status().problem.as_deref()), (None, Some("etcd is lost")));
        keeper.keep(&path, "/a", "1");
        assert!(keeper.end(Duration::ZERO).await);
        assert_eq!(written.lock().unwrap().len(), 2);
    }
}

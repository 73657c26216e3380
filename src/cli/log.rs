//! Where the lines of the log go: to the standard error of the process, by a thread of its own. Who reads them may be slow, or gone: then
//! lines are lost, and counted, and clients are served on.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// What waits to be written takes at most so many bytes.
const ROOM: usize = 4 << 20;
/// How long whoever ends the process waits for the last lines.
const LAST_LINES: Duration = Duration::from_millis(500);

/// The log of this process, once it has begun.
static LOG: OnceLock<Lines> = OnceLock::new();

/// Where each event is written as one line.
#[derive(Clone)]
pub(super) struct Lines {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
    dropped: Arc<AtomicU64>,
}

#[derive(Default)]
struct Queue {
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
    /// One has been taken out, and is not written yet.
    is_writing: bool,
}

impl Lines {
    /// Those that go to standard error.
    ///
    /// # Errors
    /// There is no thread for them.
    pub(super) fn begin() -> io::Result<Self> {
        let lines = Self::to(io::stderr())?;
        let _ = LOG.set(lines.clone());
        Ok(lines)
    }

    fn to(mut out: impl Write + Send + 'static) -> io::Result<Self> {
        let lines = Self { shared: Arc::default() };
        let shared = Arc::clone(&lines.shared);
        std::thread::Builder::new().name("log".to_owned()).spawn(move || {
            loop {
                let line = shared.take();
                // A line that cannot be written is nobody's: there is no other place to tell it.
                if out.write_all(&line).is_err() {
                    shared.dropped.fetch_add(1, Ordering::Relaxed);
                }
                shared.done();
            }
        })?;
        Ok(lines)
    }

    /// How many lines nobody has taken in time.
    pub(super) fn dropped(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.shared.dropped)
    }

    fn put(&self, line: &[u8]) {
        let mut queue = self.shared.queue();
        if queue.bytes + line.len() > ROOM {
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        queue.bytes += line.len();
        queue.lines.push_back(line.to_vec());
        drop(queue);
        self.shared.changed.notify_all();
    }

    /// Waits until all lines are written, at most so long. Whether they are.
    fn flush(&self, limit: Duration) -> bool {
        let open = |queue: &mut Queue| queue.is_writing || !queue.lines.is_empty();
        let waited = self.shared.changed.wait_timeout_while(self.shared.queue(), limit, open);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Vec<u8> {
        let mut queue = self.queue();
        loop {
            if let Some(line) = queue.lines.pop_front() {
                queue.bytes -= line.len();
                queue.is_writing = true;
                return line;
            }
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn done(&self) {
        self.queue().is_writing = false;
        self.changed.notify_all();
    }
}

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.put(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// The last lines are written before the process ends, if anybody takes them.
pub(super) fn flush() {
    if let Some(lines) = LOG.get() {
        lines.flush(LAST_LINES);
    }
}

/// Ends the process, as somebody has asked for.
pub(super) fn exit() -> ! {
    flush();
    std::process::exit(0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::mpsc;

    use super::*;

    /// Takes a line each time that it is let.
    struct Gate(mpsc::Receiver<()>, Arc<Mutex<Vec<u8>>>);

    impl Write for Gate {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.recv().map_err(io::Error::other)?;
            self.1.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_nobody_takes_is_counted_and_holds_nobody_up() {
        let (open, gate) = mpsc::channel();
        let taken = Arc::<Mutex<Vec<u8>>>::default();
        let mut lines = Lines::to(Gate(gate, Arc::clone(&taken))).unwrap();
        let line = [b'x'; 64 << 10];
        for _ in 0..ROOM / line.len() + 10 {
            lines.write_all(&line).unwrap();
        }
        // One may be in the thread's hands.
        let dropped = lines.dropped().load(Ordering::Relaxed);
        assert!((9..=10).contains(&dropped), "{dropped}");
        assert!(!Lines::flush(&lines, Duration::from_millis(20)));
        (0..200).for_each(|_| open.send(()).unwrap());
        assert!(Lines::flush(&lines, Duration::from_secs(30)));
        let written = taken.lock().unwrap().len() / line.len();
        assert_eq!(written as u64 + dropped, (ROOM / line.len() + 10) as u64);
        lines.write_all(b"last\n").unwrap();
        assert!(Lines::flush(&lines, Duration::from_secs(30)));
        assert!(taken.lock().unwrap().ends_with(b"last\n"));
    }
}

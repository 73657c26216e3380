//! Where the lines of the log go: to the standard error of the process, by a thread of its own. Who reads them may be slow, or gone: then
//! lines are lost, and counted, and clients are served on.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::io::{self, IsTerminal, Write};
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
    /// They have colours.
    coloured: bool,
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
        let lines = Self::to(io::stderr(), io::stderr().is_terminal())?;
        let _ = LOG.set(lines.clone());
        Ok(lines)
    }

    fn to(mut out: impl Write + Send + 'static, coloured: bool) -> io::Result<Self> {
        let lines = Self { shared: Arc::new(Shared { coloured, ..Shared::default() }) };
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
        let line = &*one_line(line, self.shared.coloured);
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

/// An event is one line, whatever stands in it: names and texts of clients can have line ends and what terminals obey.
fn one_line(line: &[u8], coloured: bool) -> Cow<'_, [u8]> {
    let inner = line.strip_suffix(b"\n").unwrap_or(line);
    let is_plain = |at: usize| match inner[at] {
        b'\t' => true,
        0x1b => coloured,
        // Of two bytes in UTF-8.
        0x80..=0x9f => at == 0 || inner[at - 1] != 0xc2,
        byte => !byte.is_ascii_control(),
    };
    if (0..inner.len()).all(is_plain) {
        return Cow::Borrowed(line);
    }
    // An object, whose texts have no other sign than U+007F to U+009F that is not escaped already.
    let is_json = inner.starts_with(b"{") && inner.ends_with(b"}");
    let mut shown = Vec::with_capacity(line.len() + 16);
    for (at, byte) in inner.iter().enumerate() {
        match byte {
            _ if is_plain(at) => shown.push(*byte),
            b'\n' => shown.extend_from_slice(b"\\n"),
            _ => {
                if matches!(byte, 0x80..=0x9f) {
                    shown.pop();
                }
                let escaped = if is_json { format!("\\u{byte:04x}") } else { format!("\\x{byte:02x}") };
                shown.extend_from_slice(escaped.as_bytes());
            }
        }
    }
    shown.extend_from_slice(&line[inner.len()..]);
    Cow::Owned(shown)
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
    fn an_event_is_one_line_and_tells_terminals_nothing() {
        let shown = |text: &str, coloured| String::from_utf8(one_line(text.as_bytes(), coloured).into_owned()).unwrap();
        for plain in ["a\tb\n", "é 漢 \u{a0}\n", "", "\n", "no end"] {
            assert!(matches!(one_line(plain.as_bytes(), false), Cow::Borrowed(_)), "{plain:?}");
        }
        let forged = "user \"x\n2026 ERROR forged\r\u{1b}[31m\u{9b}2J\u{7f}\"\n";
        let told = "user \"x\\n2026 ERROR forged\\x0d\\x1b[31m\\x9b2J\\x7f\"\n";
        assert_eq!(shown(forged, false), told);
        let json = shown("{\"user\":\"a\u{7f}b\u{9b}2J\u{85}é\"}\n", false);
        assert_eq!(json, "{\"user\":\"a\\u007fb\\u009b2J\\u0085é\"}\n");
        let read: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(read["user"], "a\u{7f}b\u{9b}2J\u{85}é");
        assert_eq!(shown("\u{1b}[32m INFO\u{1b}[0m\n", true), "\u{1b}[32m INFO\u{1b}[0m\n");
    }

    #[test]
    fn what_nobody_takes_is_counted_and_holds_nobody_up() {
        let (open, gate) = mpsc::channel();
        let taken = Arc::<Mutex<Vec<u8>>>::default();
        let mut lines = Lines::to(Gate(gate, Arc::clone(&taken)), false).unwrap();
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

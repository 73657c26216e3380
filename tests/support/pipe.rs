//! A TCP relay that can be slow, break its connections, or be a cable that somebody has cut: its connections stay open, and nothing
//! comes through.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::Duration;

const CUT: u64 = u64::MAX;
/// How often a relay looks whether it is to break.
const LOOK: Duration = Duration::from_millis(20);

/// What is wrong with it.
#[derive(Default)]
struct State {
    /// Milliseconds before what has come is passed on.
    delay: AtomicU64,
    /// Milliseconds for each byte, which goes alone; 0: all at once.
    trickle: AtomicU64,
    /// Connections from before this was counted up end.
    broken: AtomicU64,
    /// As by a process that was killed with bytes unread, not by one that has said goodbye.
    resets: AtomicBool,
    /// Nobody listens.
    refuses: AtomicBool,
    /// Nothing comes through on connections whose clients have said this in what they sent first.
    without: Mutex<Option<String>>,
}

impl State {
    /// `opening`: what the client has sent first.
    fn holds(&self, waited: u64, opening: &OnceLock<String>) -> bool {
        let of = |sign: &String| opening.get().is_some_and(|opening| opening.contains(sign));
        self.delay.load(Ordering::Relaxed) > waited || self.without.lock().unwrap().as_ref().is_some_and(of)
    }
}

/// Listens on `port` for its life.
pub struct Pipe {
    pub port: u16,
    state: Arc<State>,
}

impl Pipe {
    /// To 127.0.0.1:`to`.
    pub fn start(to: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let state: Arc<State> = Arc::default();
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for client in listener.incoming() {
                let Ok(client) = client else { return };
                if shared.refuses.load(Ordering::Relaxed) {
                    reset(&client);
                    continue;
                }
                let Ok(server) = TcpStream::connect(("127.0.0.1", to)) else { continue };
                let _ = (client.set_nodelay(true), server.set_nodelay(true));
                let opening: Arc<OnceLock<String>> = Arc::default();
                pump(
                    client.try_clone().unwrap(),
                    server.try_clone().unwrap(),
                    Arc::clone(&shared),
                    Arc::clone(&opening),
                    true,
                );
                pump(server, client, Arc::clone(&shared), opening, false);
            }
        });
        Self { port, state }
    }

    pub fn cut(&self) {
        self.state.delay.store(CUT, Ordering::Relaxed);
    }

    pub fn slow(&self, millis: u64) {
        self.state.delay.store(millis, Ordering::Relaxed);
    }

    /// A cable that is cut for those alone whose first words have this in them.
    pub fn cut_off(&self, sign: &str) {
        *self.state.without.lock().unwrap() = Some(sign.to_owned());
    }

    /// So many milliseconds for each byte.
    pub fn trickle(&self, millis: u64) {
        self.state.trickle.store(millis, Ordering::Relaxed);
    }

    /// Ends all connections, in order or by a reset.
    pub fn break_all(&self, by_reset: bool) {
        self.state.resets.store(by_reset, Ordering::Relaxed);
        self.state.broken.fetch_add(1, Ordering::Relaxed);
    }

    /// New connections are reset, too.
    pub fn refuse(&self) {
        self.state.refuses.store(true, Ordering::Relaxed);
        self.break_all(true);
    }

    pub fn mend(&self) {
        self.slow(0);
        self.trickle(0);
        self.state.refuses.store(false, Ordering::Relaxed);
        *self.state.without.lock().unwrap() = None;
    }
}

/// Its close, when all hold it no more, is a reset.
fn reset(stream: &TcpStream) {
    let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

/// `asks`: it is the client's side.
fn pump(mut from: TcpStream, mut to: TcpStream, state: Arc<State>, opening: Arc<OnceLock<String>>, asks: bool) {
    let born = state.broken.load(Ordering::Relaxed);
    thread::spawn(move || {
        let is_broken = || state.broken.load(Ordering::Relaxed) != born;
        let mut buffer = [0; 16 * 1024];
        let _ = from.set_read_timeout(Some(LOOK));
        while !is_broken() {
            let length = match from.read(&mut buffer) {
                Ok(0) => break,
                Ok(length) => length,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => continue,
                Err(_) => break,
            };
            if asks {
                opening.get_or_init(|| String::from_utf8_lossy(&buffer[..length]).into_owned());
            }
            let mut waited = 0;
            while state.holds(waited, &opening) && !is_broken() {
                thread::sleep(Duration::from_millis(10));
                waited += 10;
            }
            if is_broken() || pass(&buffer[..length], &mut to, &state).is_err() {
                break;
            }
        }
        if is_broken() && state.resets.load(Ordering::Relaxed) {
            reset(&from);
            reset(&to);
            return;
        }
        let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
    });
}

fn pass(bytes: &[u8], to: &mut TcpStream, state: &State) -> std::io::Result<()> {
    for (at, byte) in bytes.iter().enumerate() {
        match state.trickle.load(Ordering::Relaxed) {
            0 => return to.write_all(&bytes[at..]),
            millis => {
                thread::sleep(Duration::from_millis(millis));
                to.write_all(&[*byte])?;
            }
        }
    }
    Ok(())
}

//! A TCP relay between a router and one server, with a trap: it stops at one message of the protocol, just before it arrives,
//! after it was carried out, or after it was answered. No TLS goes through it.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;

/// The text of a trap for the next Execute, whatever it executes.
pub const EXECUTE: &str = "(Execute)";

/// When a trap goes off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// The statement has not arrived, and never will.
    Before,
    /// It was carried out; its answer never arrives.
    Behind,
    /// It was carried out, and its answer arrives; nothing that follows does.
    Answered,
}

/// What happens to the connection afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    Cut,
    /// As if nothing had been.
    Pass,
}

struct Trap {
    /// How the Query begins; up to its end where it ends with `$`.
    text: String,
    when: When,
    then: Then,
    act: Box<dyn FnOnce() + Send>,
    sprung: Sender<()>,
}

impl Trap {
    fn catches(&self, query: &str) -> bool {
        match self.text.strip_suffix('$') {
            Some(whole) => query == whole,
            None => query.starts_with(&self.text),
        }
    }
}

/// Listens on `port` for its life.
pub struct Relay {
    pub port: u16,
    trap: Arc<Mutex<Option<Trap>>>,
}

impl Relay {
    /// To the server on 127.0.0.1:`to`.
    pub fn start(to: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let trap: Arc<Mutex<Option<Trap>>> = Arc::default();
        let shared = Arc::clone(&trap);
        thread::spawn(move || {
            for client in listener.incoming() {
                let Ok(client) = client else { return };
                // Dropped: the router finds nobody there, as where the server is down.
                let Ok(server) = TcpStream::connect(("127.0.0.1", to)) else { continue };
                let _ = (client.set_nodelay(true), server.set_nodelay(true));
                serve(&client, &server, &shared);
            }
        });
        Self { port, trap }
    }

    /// The next Query that begins with `text` springs the trap: `act` is done, then the connection is cut or goes on. What is
    /// returned hears of it.
    pub fn set(&self, text: &str, when: When, then: Then, act: impl FnOnce() + Send + 'static) -> Receiver<()> {
        let (sprung, hears) = channel();
        let trap = Trap { text: text.to_owned(), when, then, act: Box::new(act), sprung };
        *self.trap.lock().unwrap() = Some(trap);
        hears
    }

    /// Whether the trap is still set; it is not afterwards.
    pub fn clear(&self) -> bool {
        self.trap.lock().unwrap().take().is_some()
    }
}

/// Between the two halves of a connection: the trap that its next answer springs.
type Armed = Arc<Mutex<Option<Trap>>>;

fn serve(client: &TcpStream, server: &TcpStream, trap: &Arc<Mutex<Option<Trap>>>) {
    let armed: Armed = Arc::default();
    let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    let (shared, mine) = (Arc::clone(trap), Arc::clone(&armed));
    thread::spawn(move || {
        let _ = forward(&mut from, &mut to, &shared, &mine);
        close(&from, &to);
    });
    let (mut from, mut to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
    thread::spawn(move || {
        let _ = answer(&mut from, &mut to, &armed);
        close(&from, &to);
    });
}

fn close(one: &TcpStream, other: &TcpStream) {
    let _ = (one.shutdown(Shutdown::Both), other.shutdown(Shutdown::Both));
}

/// Router to server.
fn forward(from: &mut TcpStream, to: &mut TcpStream, trap: &Mutex<Option<Trap>>, armed: &Armed) -> io::Result<()> {
    // The startup packet has no tag.
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let mut rest = vec![0; u32::from_be_bytes(length) as usize - 4];
    from.read_exact(&mut rest)?;
    to.write_all(&[&length[..], &rest].concat())?;
    loop {
        let frame = frame(from)?;
        let caught = match frame[0] {
            b'Q' => {
                let query = String::from_utf8_lossy(&frame[5..frame.len() - 1]).into_owned();
                let mut set = trap.lock().unwrap();
                if set.as_ref().is_some_and(|trap| trap.catches(&query)) { set.take() } else { None }
            }
            b'E' => {
                let mut set = trap.lock().unwrap();
                if set.as_ref().is_some_and(|trap| trap.text == EXECUTE) { set.take() } else { None }
            }
            _ => None,
        };
        match caught {
            Some(trap) if trap.when == When::Before => {
                (trap.act)();
                let _ = trap.sprung.send(());
                if trap.then == Then::Cut {
                    return Ok(());
                }
            }
            Some(trap) => *armed.lock().unwrap() = Some(trap),
            None => {}
        }
        to.write_all(&frame)?;
    }
}

/// Server to router.
fn answer(from: &mut TcpStream, to: &mut TcpStream, armed: &Armed) -> io::Result<()> {
    loop {
        let frame = frame(from)?;
        let mut set = armed.lock().unwrap();
        match set.as_ref().map(|trap| trap.when) {
            Some(When::Behind) if frame[0] != b'Z' => continue,
            Some(_) if frame[0] == b'Z' => {}
            _ => {
                to.write_all(&frame)?;
                continue;
            }
        }
        let Some(trap) = set.take() else { continue };
        (trap.act)();
        if trap.then == Then::Cut {
            // First the server's side: what the router says next is not to be heard.
            let _ = from.shutdown(Shutdown::Both);
        }
        // Whoever was to read it may be gone by `act`.
        let answered = if trap.when == When::Answered { to.write_all(&frame) } else { Ok(()) };
        let _ = trap.sprung.send(());
        if trap.then == Then::Cut {
            return Ok(());
        }
        answered?;
    }
}

fn frame(from: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut head = [0; 5];
    from.read_exact(&mut head)?;
    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
    let mut frame = head.to_vec();
    frame.resize(1 + length, 0);
    from.read_exact(&mut frame[5..])?;
    Ok(frame)
}

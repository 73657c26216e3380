//! A TCP relay that can be slow, or a cable that somebody has cut: its connections stay open, and nothing comes through.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

const CUT: u64 = u64::MAX;

/// Listens on `port` for its life.
pub struct Pipe {
    pub port: u16,
    /// Milliseconds before what has come is passed on.
    delay: Arc<AtomicU64>,
}

impl Pipe {
    /// To 127.0.0.1:`to`.
    pub fn start(to: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let delay: Arc<AtomicU64> = Arc::default();
        let shared = Arc::clone(&delay);
        thread::spawn(move || {
            for client in listener.incoming() {
                let Ok(client) = client else { return };
                let Ok(server) = TcpStream::connect(("127.0.0.1", to)) else { continue };
                let _ = (client.set_nodelay(true), server.set_nodelay(true));
                pump(client.try_clone().unwrap(), server.try_clone().unwrap(), Arc::clone(&shared));
                pump(server, client, Arc::clone(&shared));
            }
        });
        Self { port, delay }
    }

    pub fn cut(&self) {
        self.delay.store(CUT, Ordering::Relaxed);
    }

    pub fn slow(&self, millis: u64) {
        self.delay.store(millis, Ordering::Relaxed);
    }

    pub fn mend(&self) {
        self.slow(0);
    }
}

fn pump(mut from: TcpStream, mut to: TcpStream, delay: Arc<AtomicU64>) {
    thread::spawn(move || {
        let mut buffer = [0; 16 * 1024];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            let mut waited = 0;
            while delay.load(Ordering::Relaxed) > waited {
                thread::sleep(Duration::from_millis(10));
                waited += 10;
            }
            if to.write_all(&buffer[..length]).is_err() {
                break;
            }
        }
        let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
    });
}

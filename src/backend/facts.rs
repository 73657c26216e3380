//! `Facts`: what is told of one server connection, whoever has it now; and `Members`, where those of a pool are found.

use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Instant, SystemTime};

use crate::backend::cancel::CancelHandle;
use crate::net::ServerStream;

#[derive(Debug)]
pub struct Facts {
    /// No other connection of this router has it.
    pub id: u64,
    /// `None` for a Unix socket.
    pub peer: Option<SocketAddr>,
    pub local: Option<SocketAddr>,
    /// Protocol and cipher; empty without TLS.
    pub tls: Box<str>,
    /// Its number among the open files of this process, while it is open.
    pub fd: Option<RawFd>,
    pub connected: (Instant, SystemTime),
    /// Statements that are prepared on it.
    prepared: AtomicUsize,
}

impl Facts {
    pub fn new(peer: Option<SocketAddr>, local: Option<SocketAddr>, tls: Box<str>) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let connected = (Instant::now(), SystemTime::now());
        Self { id, peer, local, tls, fd: None, connected, prepared: AtomicUsize::new(0) }
    }

    pub fn of(stream: &ServerStream) -> Self {
        Self { fd: Some(stream.fd()), ..Self::new(stream.peer_addr(), stream.local_addr(), stream.tls_name()) }
    }

    pub fn note_prepared(&self, count: usize) {
        self.prepared.store(count, Ordering::Relaxed);
    }

    pub fn prepared(&self) -> usize {
        self.prepared.load(Ordering::Relaxed)
    }
}

/// The connections of one pool, in whose hands they may be.
#[derive(Debug, Default)]
pub struct Members(Mutex<Vec<Weak<CancelHandle>>>);

impl Members {
    /// One more has been made; those that are gone are forgotten.
    pub fn add(&self, member: &Arc<CancelHandle>) {
        let mut members = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        members.retain(|member| member.strong_count() > 0);
        members.push(Arc::downgrade(member));
    }

    /// Those that are there.
    pub fn all(&self) -> Vec<Arc<CancelHandle>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().filter_map(Weak::upgrade).collect()
    }
}

//! `Doors`: the sockets on which clients, and those who watch, are let in; opened and closed while the router runs.

use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::app::{StartError, listen};

/// One listening socket, and whoever accepts there.
pub(super) struct Door {
    /// As the configuration has it; its port may be 0.
    configured: SocketAddr,
    local: SocketAddr,
    /// Until it is opened.
    listener: Option<TcpListener>,
    closing: watch::Sender<bool>,
    keeper: Option<JoinHandle<()>>,
}

impl Door {
    pub fn new(address: SocketAddr, reuse_port: bool) -> Result<Self, StartError> {
        let listener = listen(address, reuse_port)?;
        let local = listener.local_addr()?;
        let closing = watch::channel(false).0;
        Ok(Self { configured: address, local, listener: Some(listener), closing, keeper: None })
    }

    /// Somebody accepts from now on: a job that is given the socket and what resolves when it is to stop.
    fn open<F: Future<Output = ()> + Send + 'static>(&mut self, keep: impl FnOnce(TcpListener, Closing) -> F) {
        if let Some(listener) = self.listener.take() {
            self.keeper = Some(tokio::spawn(keep(listener, Closing(self.closing.subscribe()))));
        }
    }

    /// Nobody accepts there any more when this is done.
    async fn close(mut self) {
        let _ = self.closing.send(true);
        if let Some(keeper) = self.keeper.take() {
            let _ = keeper.await;
        }
    }
}

/// Resolves when a door is to be closed.
pub(super) struct Closing(watch::Receiver<bool>);

impl Closing {
    pub async fn asked(mut self) {
        // The door is gone: so is who would ask.
        let _ = self.0.wait_for(|closing| *closing).await;
    }
}

/// Those of one kind.
#[derive(Default)]
pub(super) struct Doors(Mutex<Vec<Door>>);

impl Doors {
    /// Where they are.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.doors().iter().map(|door| door.local).collect()
    }

    /// The doors that are missing for these addresses, not open yet.
    ///
    /// # Errors
    /// One cannot be had.
    pub fn missing(&self, addresses: &[SocketAddr], reuse_port: bool) -> Result<Vec<Door>, StartError> {
        let known: Vec<SocketAddr> = self.doors().iter().map(|door| door.configured).collect();
        let missing = addresses.iter().filter(|address| !known.contains(address));
        missing.map(|address| Door::new(*address, reuse_port)).collect()
    }

    /// They are opened by [`Self::open`].
    pub fn add(&self, doors: Vec<Door>) {
        self.doors().extend(doors);
    }

    /// Those that are at none of these addresses are closed, all at once.
    pub async fn keep_those(&self, addresses: &[SocketAddr]) {
        let closed: Vec<Door> = self.doors().extract_if(.., |door| !addresses.contains(&door.configured)).collect();
        futures::future::join_all(closed.into_iter().map(Door::close)).await;
    }

    /// Those that are not yet open are opened.
    pub fn open<F: Future<Output = ()> + Send + 'static>(&self, keep: impl Fn(TcpListener, Closing) -> F) {
        self.doors().iter_mut().for_each(|door| door.open(&keep));
    }

    pub async fn close(&self) {
        self.keep_those(&[]).await;
    }

    fn doors(&self) -> MutexGuard<'_, Vec<Door>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! I/O. `Beside`: routers that share a port find each other by sockets of the kernel's own name space (unix(7), "abstract"), one for each
//! router. As ports they belong to a network name space, and they are gone with their process. No file tells who may use them, so both
//! sides look whose process the other one is.

use std::future::Future;

use crate::ids::RouterNumber;
use crate::wire::startup::CancelKey;

pub(super) use platform::Beside;

#[cfg(target_os = "linux")]
mod platform {
    use std::io;
    use std::os::unix::fs::MetadataExt;
    use std::sync::Arc;
    use std::time::Duration;

    use bytes::BytesMut;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{UnixListener, UnixStream};
    use tokio::sync::Semaphore;

    use super::*;
    use crate::wire::startup::{FirstPacket, take_first_packet};

    /// Requests that are dealt with at one time; others wait in the kernel.
    const MOST: usize = 64;
    /// For saying what is wanted.
    const READ: Duration = Duration::from_secs(2);
    /// Numbers that are tried; there are 2047, and few routers share a port.
    const TRIES: usize = 64;

    pub struct Beside {
        /// That the router was started with.
        port: u16,
        number: RouterNumber,
        /// `None`: the name could not be had, and nobody beside us finds us.
        listener: Option<UnixListener>,
    }

    /// The zero says that it is no file.
    fn name(port: u16, number: RouterNumber) -> String {
        format!("\0pgloom/router/{port}/{}", number.get())
    }

    /// Whether the other side is a process of the user that runs us.
    fn is_ours(stream: &UnixStream) -> bool {
        let own = std::fs::metadata("/proc/self").map(|own| own.uid());
        matches!((own, stream.peer_cred()), (Ok(own), Ok(other)) if other.uid() == own)
    }

    impl Beside {
        pub fn claim<E>(port: u16, mut number: impl FnMut() -> Result<RouterNumber, E>) -> Result<Self, E> {
            let mut last = number()?;
            for _ in 0..TRIES {
                match UnixListener::bind(name(port, last)) {
                    Ok(listener) => return Ok(Self { port, number: last, listener: Some(listener) }),
                    Err(error) if error.kind() == io::ErrorKind::AddrInUse => last = number()?,
                    Err(error) => {
                        tracing::warn!(%error, "routers that share the port cannot pass cancel requests on to this one");
                        break;
                    }
                }
            }
            Ok(Self { port, number: last, listener: None })
        }

        pub fn number(&self) -> RouterNumber {
            self.number
        }

        /// False: no router of this number shares the port, or it takes no more.
        pub async fn pass_on(&self, number: RouterNumber, packet: &[u8]) -> bool {
            let Ok(mut stream) = UnixStream::connect(name(self.port, number)).await else { return false };
            if !is_ours(&stream) {
                return false;
            }
            if stream.write_all(packet).await.is_ok() {
                // It closes when it has dealt with the request.
                let _ = stream.read(&mut [0; 1]).await;
            }
            true
        }

        pub async fn serve<C, F>(&self, cancel: C)
        where
            C: Fn(CancelKey) -> F + Clone + Send + 'static,
            F: Future<Output = ()> + Send + 'static,
        {
            let Some(listener) = &self.listener else { return std::future::pending().await };
            let places = Arc::new(Semaphore::new(MOST));
            loop {
                // It is never closed.
                let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
                let Ok((stream, _)) = listener.accept().await else {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                };
                let cancel = cancel.clone();
                tokio::spawn(async move {
                    deal_with(stream, cancel).await;
                    drop(place);
                });
            }
        }
    }

    async fn deal_with<F: Future<Output = ()>>(mut stream: UnixStream, cancel: impl Fn(CancelKey) -> F) {
        if !is_ours(&stream) {
            return;
        }
        if let Ok(Some(key)) = tokio::time::timeout(READ, read_key(&mut stream)).await {
            cancel(key).await;
        }
    }

    async fn read_key(stream: &mut UnixStream) -> Option<CancelKey> {
        let mut buffer = BytesMut::new();
        loop {
            match take_first_packet(&mut buffer).ok()? {
                Some(FirstPacket::PassedOn(key)) => return Some(key),
                Some(_) => return None,
                None if stream.read_buf(&mut buffer).await.ok()? == 0 => return None,
                None => {}
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod platform {
    use super::*;

    pub struct Beside(RouterNumber);

    impl Beside {
        pub fn claim<E>(_: u16, mut number: impl FnMut() -> Result<RouterNumber, E>) -> Result<Self, E> {
            number().map(Self)
        }

        pub fn number(&self) -> RouterNumber {
            self.0
        }

        pub async fn pass_on(&self, _: RouterNumber, _: &[u8]) -> bool {
            false
        }

        pub async fn serve<C, F>(&self, _: C)
        where
            C: Fn(CancelKey) -> F + Clone + Send + 'static,
            F: Future<Output = ()> + Send + 'static,
        {
            std::future::pending().await
        }
    }
}

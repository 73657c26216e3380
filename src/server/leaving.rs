//! Closing a listening socket so that nobody whom the kernel has let in is lost: another process may have the port, too (`so_reuseport`).

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{SockFilter, SockRef};
use tokio::net::{TcpListener, TcpStream};

/// How long handshakes that have begun may take. Who comes meanwhile and is dealt to this socket tries again one second later, as TCP does.
const HANDSHAKES: Duration = Duration::from_millis(500);
/// Behind one that cannot be taken in.
const PAUSE: Duration = Duration::from_millis(20);

/// Takes in whom the kernel has queued for this socket, and closes it.
///
/// A socket that shares its port gets no new connections first (`SO_ATTACH_FILTER`: their SYN is dropped, and sent again by the client when this
/// socket is gone): with those the kernel would end a handshake in the very moment of the close, and reset it. Where nobody shares the port,
/// nobody is lost who would not be refused a moment later.
pub(super) async fn take_in_the_last(listener: TcpListener, mut welcome: impl FnMut(TcpStream, SocketAddr)) {
    let settling = tokio::time::Instant::now() + HANDSHAKES;
    let shared = SockRef::from(&listener).reuse_port().unwrap_or(false);
    match if shared { let_nobody_begin(&SockRef::from(&listener)) } else { Ok(()) } {
        Ok(()) if shared => {
            // An error is there at once, each time: the clock is looked at before.
            while tokio::time::Instant::now() < settling
                && let Ok(accepted) = tokio::time::timeout_at(settling, listener.accept()).await
            {
                match accepted {
                    Ok((stream, peer)) => let_in(Ok(stream), peer, &mut welcome),
                    // Somebody has given up, or there are no descriptors for a moment: the others still come.
                    Err(error) => {
                        tracing::debug!(%error, "could not accept a client");
                        tokio::time::sleep(PAUSE).await;
                    }
                }
            }
        }
        Ok(()) => {}
        Err(error) => tracing::warn!(%error, "connections that begin while the listener closes may be reset"),
    }
    let Ok(listener) = listener.into_std() else { return };
    while let Ok((stream, peer)) = listener.accept() {
        let stream = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream));
        let_in(stream, peer, &mut welcome);
    }
}

fn let_in(stream: io::Result<TcpStream>, peer: SocketAddr, welcome: &mut impl FnMut(TcpStream, SocketAddr)) {
    match stream {
        Ok(stream) => {
            // It is inherited from the listener.
            let _ = SockRef::from(&stream).detach_filter();
            welcome(stream, peer);
        }
        Err(error) => tracing::warn!(%error, "could not accept a client"),
    }
}

/// Drops what asks for a new connection; all else passes, also the end of a handshake. Linux shows a filter the segment from its TCP header on (RFC 9293,
/// section 3.1: the flags are its byte 13).
fn let_nobody_begin(listener: &SockRef<'_>) -> io::Result<()> {
    const LOAD_BYTE: u16 = 0x30;
    const JUMP_IF_SET: u16 = 0x45;
    const RETURN: u16 = 0x06;
    const SYN: u32 = 0x02;
    listener.attach_filter(&[
        SockFilter::new(LOAD_BYTE, 0, 0, 13),
        SockFilter::new(JUMP_IF_SET, 0, 1, SYN),
        SockFilter::new(RETURN, 0, 0, 0),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
    ])
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use tokio::net::TcpSocket;

    use super::*;

    fn listen(port: u16) -> TcpListener {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseport(true).unwrap();
        socket.bind(SocketAddr::from(([127, 0, 0, 1], port))).unwrap();
        socket.listen(64).unwrap()
    }

    /// Whom nobody accepts yet when the close begins.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn who_is_queued_is_taken_in_and_who_comes_gets_the_other_socket() {
        let old = listen(0);
        let port = old.local_addr().unwrap().port();
        let connect = move || std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
        let queued: Vec<_> = (0..5).map(|_| connect()).collect();
        let new = listen(port);
        let comers = std::thread::spawn(move || {
            // Half of them are dealt to the old socket.
            (0..40).map(|_| connect()).collect::<Vec<_>>()
        });
        let serve = |mut stream: std::net::TcpStream, who: u8| stream.write_all(&[who]).unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = new.accept().await {
                let stream = stream.into_std().unwrap();
                stream.set_nonblocking(false).unwrap();
                serve(stream, 2);
            }
        });
        take_in_the_last(old, |stream, _| {
            let stream = stream.into_std().unwrap();
            stream.set_nonblocking(false).unwrap();
            serve(stream, 1);
        })
        .await;
        let said = |mut stream: std::net::TcpStream| {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            byte[0]
        };
        assert!(queued.into_iter().all(|stream| said(stream) == 1));
        // None of them was reset.
        let answers: Vec<u8> =
            tokio::task::spawn_blocking(move || comers.join().unwrap().into_iter().map(said).collect()).await.unwrap();
        assert_eq!(answers.len(), 40);
        assert!(answers.contains(&2));
        accepting.abort();
    }

    /// A handshake that has begun may end; a new one does not begin.
    #[tokio::test]
    async fn nobody_begins_at_a_socket_that_closes() {
        let old = listen(0);
        let port = old.local_addr().unwrap().port();
        let_nobody_begin(&SockRef::from(&old)).unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let tried = tokio::time::timeout(Duration::from_millis(100), TcpStream::connect(address)).await;
        assert!(tried.is_err(), "{tried:?}");
    }
}

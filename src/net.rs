//! `ClientStream`, `ServerStream`: one connection, plain or TLS, as one type. Knows no protocol.

pub mod descriptors;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::BytesMut;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// Probes on a silent connection, so that a peer that vanished is noticed. Each `None`: as the operating system does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keepalive {
    pub idle: Option<Duration>,
    pub interval: Option<Duration>,
    pub count: Option<u32>,
}

impl Keepalive {
    /// Turns the probes on. A socket that takes no such option (a Unix socket) needs none.
    pub fn apply(&self, socket: &SockRef<'_>) {
        let mut probes = TcpKeepalive::new();
        if let Some(idle) = self.idle {
            probes = probes.with_time(idle);
        }
        if let Some(interval) = self.interval {
            probes = probes.with_interval(interval);
        }
        if let Some(count) = self.count {
            probes = probes.with_retries(count);
        }
        if let Err(error) = socket.set_keepalive(true).and_then(|()| socket.set_tcp_keepalive(&probes)) {
            tracing::debug!(%error, "no keep-alive probes on this socket");
        }
    }
}

/// A client's connection.
#[derive(Debug)]
pub enum ClientStream {
    Plain(TcpStream),
    Tls(Box<tokio_rustls::server::TlsStream<TcpStream>>),
}

/// A connection to a Postgres server.
#[derive(Debug)]
pub enum ServerStream {
    Plain(TcpStream),
    Tls(Box<tokio_rustls::client::TlsStream<TcpStream>>),
    Unix(UnixStream),
}

impl ClientStream {
    fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream.get_ref().0,
        }
    }

    pub fn is_tls(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.tcp().peer_addr()
    }

    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp().local_addr()
    }

    /// Protocol and cipher of TLS; empty without.
    pub fn tls_name(&self) -> Box<str> {
        match self {
            Self::Plain(_) => Box::default(),
            Self::Tls(stream) => tls_name(stream.get_ref().1),
        }
    }

    /// For socket options.
    pub fn socket(&self) -> SockRef<'_> {
        SockRef::from(self.tcp())
    }

    /// Its number among the open files of this process.
    pub fn fd(&self) -> RawFd {
        self.tcp().as_raw_fd()
    }

    /// Ready when there may be something to read: an attempt tells. TLS may hold it already.
    pub fn poll_unread(&self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Plain(stream) => stream.poll_read_ready(cx).map(drop),
            Self::Tls(_) => Poll::Ready(()),
        }
    }

    /// As [`ServerStream::try_read`].
    pub fn try_read(&mut self, buffer: &mut BytesMut) -> io::Result<Option<usize>> {
        try_read(self, buffer)
    }

    /// As [`ServerStream::try_write`].
    pub fn try_write(&mut self, bytes: &[u8]) -> io::Result<Option<usize>> {
        try_write(self, bytes)
    }
}

impl ServerStream {
    pub fn is_tls(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// Bytes cannot leave this machine.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Unix(_) => true,
            Self::Plain(stream) => stream.peer_addr().is_ok_and(|peer| peer.ip().to_canonical().is_loopback()),
            Self::Tls(stream) => {
                stream.get_ref().0.peer_addr().is_ok_and(|peer| peer.ip().to_canonical().is_loopback())
            }
        }
    }

    fn tcp(&self) -> Option<&TcpStream> {
        match self {
            Self::Plain(stream) => Some(stream),
            Self::Tls(stream) => Some(stream.get_ref().0),
            Self::Unix(_) => None,
        }
    }

    /// `None` for a Unix socket.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.tcp()?.peer_addr().ok()
    }

    /// `None` for a Unix socket.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.tcp()?.local_addr().ok()
    }

    /// As [`ClientStream::fd`].
    pub fn fd(&self) -> RawFd {
        self.socket().as_raw_fd()
    }

    /// As [`ClientStream::tls_name`].
    pub fn tls_name(&self) -> Box<str> {
        match self {
            Self::Plain(_) | Self::Unix(_) => Box::default(),
            Self::Tls(stream) => tls_name(stream.get_ref().1),
        }
    }

    /// For socket options.
    pub fn socket(&self) -> SockRef<'_> {
        match self {
            Self::Plain(stream) => SockRef::from(stream),
            Self::Tls(stream) => SockRef::from(stream.get_ref().0),
            Self::Unix(stream) => SockRef::from(stream),
        }
    }

    /// Appends what can be read at once. `None`: nothing now; `Some(0)`: the peer closed.
    ///
    /// It takes the place of a reader that waits on the same stream: poll that again before relying on its waking.
    pub fn try_read(&mut self, buffer: &mut BytesMut) -> io::Result<Option<usize>> {
        try_read(self, buffer)
    }

    /// Writes what can be written at once; `None`: nothing now. TLS may hold bytes back until the stream is flushed.
    pub fn try_write(&mut self, bytes: &[u8]) -> io::Result<Option<usize>> {
        try_write(self, bytes)
    }
}

fn tls_name(session: &tokio_rustls::rustls::CommonState) -> Box<str> {
    let protocol = session.protocol_version().map(|version| format!("{version:?}").replace("v1_", "v1."));
    let cipher = session.negotiated_cipher_suite().map(|suite| format!("{:?}", suite.suite()));
    format!("{}/{}", protocol.unwrap_or_default(), cipher.unwrap_or_default()).into()
}

fn try_read<S: AsyncRead + Unpin>(stream: &mut S, buffer: &mut BytesMut) -> io::Result<Option<usize>> {
    let mut context = Context::from_waker(Waker::noop());
    match pin!(stream.read_buf(buffer)).poll(&mut context) {
        Poll::Ready(read) => read.map(Some),
        Poll::Pending => Ok(None),
    }
}

fn try_write<S: AsyncWrite + Unpin>(stream: &mut S, bytes: &[u8]) -> io::Result<Option<usize>> {
    let mut context = Context::from_waker(Waker::noop());
    match Pin::new(stream).poll_write(&mut context, bytes) {
        Poll::Ready(written) => written.map(Some),
        Poll::Pending => Ok(None),
    }
}

/// Reads and writes by the variant's own stream.
macro_rules! delegate {
    ($stream:ident: $($variant:ident),+) => {
        impl AsyncRead for $stream {
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                match self.get_mut() {
                    $(Self::$variant(stream) => Pin::new(stream).poll_read(cx, buf),)+
                }
            }
        }

        impl AsyncWrite for $stream {
            fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
                match self.get_mut() {
                    $(Self::$variant(stream) => Pin::new(stream).poll_write(cx, buf),)+
                }
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bufs: &[io::IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                match self.get_mut() {
                    $(Self::$variant(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),)+
                }
            }

            fn is_write_vectored(&self) -> bool {
                match self {
                    $(Self::$variant(stream) => stream.is_write_vectored(),)+
                }
            }

            fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                match self.get_mut() {
                    $(Self::$variant(stream) => Pin::new(stream).poll_flush(cx),)+
                }
            }

            fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                match self.get_mut() {
                    $(Self::$variant(stream) => Pin::new(stream).poll_shutdown(cx),)+
                }
            }
        }
    };
}

delegate!(ClientStream: Plain, Tls);
delegate!(ServerStream: Plain, Tls, Unix);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tokio::io::AsyncWriteExt;

    use super::*;

    #[tokio::test]
    async fn try_read_tells_nothing_now_from_closed() {
        let (near, mut far) = UnixStream::pair().unwrap();
        let mut near = ServerStream::Unix(near);
        let mut buffer = BytesMut::new();
        assert_eq!(near.try_read(&mut buffer).unwrap(), None);
        far.write_all(b"abc").await.unwrap();
        near.read_buf(&mut buffer).await.unwrap();
        assert_eq!(&buffer[..], b"abc");
        assert!(near.is_local());
        assert_eq!(near.try_write(b"x").unwrap(), Some(1));
        drop(far);
        tokio::task::yield_now().await;
        // The byte that the peer never read may reset the connection instead of closing it.
        assert!(matches!(near.read_buf(&mut buffer).await, Ok(0) | Err(_)));
    }
}

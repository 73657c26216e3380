//! A client without a thread of its own: thousands of them run in one.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use super::support::raw::{Fold, Message, Reply, message as m};

/// Longer than anybody waits who is not forgotten.
const PATIENCE: Duration = Duration::from_secs(120);

/// Where clients are and whom they ask for.
#[derive(Clone, Debug)]
pub struct Door {
    pub port: u16,
    pub database: String,
}

impl Door {
    /// A connection on which nothing was sent; `from`: an address of this machine, `received`: a small buffer for what comes.
    pub async fn open(&self, from: Option<Ipv4Addr>, received: Option<u32>) -> io::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        if let Some(bytes) = received {
            socket.set_recv_buffer_size(bytes)?;
        }
        if let Some(from) = from {
            socket.set_reuseaddr(true)?;
            socket.bind(SocketAddr::from((from, 0)))?;
        }
        let stream = socket.connect(SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// The first message of a client.
    pub fn startup(&self) -> Vec<u8> {
        m::startup(196_608, &[("user", "postgres"), ("database", &self.database)])
    }

    /// A client that is logged in.
    pub async fn connect(&self, from: Option<Ipv4Addr>) -> Result<Client, String> {
        self.login(self.open(from, None).await.map_err(|e| format!("connect: {e}"))?).await
    }

    pub async fn login(&self, stream: TcpStream) -> Result<Client, String> {
        let mut client = Client { stream, buffer: BytesMut::new() };
        let reply = client.ask(&self.startup()).await?;
        match reply.error {
            None => Ok(client),
            Some(error) => Err(format!("login: {error}")),
        }
    }
}

/// A client that is logged in.
#[derive(Debug)]
pub struct Client {
    pub stream: TcpStream,
    buffer: BytesMut,
}

impl Client {
    /// Sends this and folds what comes up to ReadyForQuery.
    pub async fn ask(&mut self, bytes: &[u8]) -> Result<Reply, String> {
        timeout(PATIENCE, self.exchange(bytes)).await.map_err(|_| format!("no answer within {PATIENCE:?}"))?
    }

    async fn exchange(&mut self, bytes: &[u8]) -> Result<Reply, String> {
        self.stream.write_all(bytes).await.map_err(|e| format!("write: {e}"))?;
        let mut fold = Fold::default();
        loop {
            let message = self.message().await.map_err(|e| format!("read: {e}"))?;
            let fatal = message.tag == b'E' && message.report().0.get(&'S').is_some_and(|level| level == "FATAL");
            if fold.take(&message) || fatal {
                return Ok(fold.reply);
            }
        }
    }

    async fn message(&mut self) -> io::Result<Message> {
        loop {
            if let Some(length) = self.buffer.get(1..5) {
                let length = u32::from_be_bytes([length[0], length[1], length[2], length[3]]) as usize;
                if self.buffer.len() > length {
                    let mut frame = self.buffer.split_to(1 + length);
                    let tag = frame.get_u8();
                    frame.advance(4);
                    return Ok(Message { tag, body: frame.to_vec() });
                }
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

/// The only cell that matters of an answer with one row: its first.
pub fn only_number(reply: &Reply) -> Result<i64, String> {
    if let Some(error) = &reply.error {
        return Err(error.to_string());
    }
    match reply.answers.iter().flat_map(|answer| &answer.rows).collect::<Vec<_>>()[..] {
        [row] => {
            let cell = row.first().and_then(Option::as_deref).and_then(|cell| std::str::from_utf8(cell).ok());
            cell.and_then(|cell| cell.parse().ok()).ok_or_else(|| format!("no number in {row:?}"))
        }
        ref rows => Err(format!("{} rows", rows.len())),
    }
}

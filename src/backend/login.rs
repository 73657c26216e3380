//! Logging in at a Postgres server, and sending it a cancel request. What the server says is never trusted to be well-formed.
//!
//! A password in clear text is sent only over TLS, to this machine, or through a Unix socket: else a server that is not
//! the one we want could ask for it, and anybody on the way could read it. md5 and SCRAM answers may go anywhere.

#![deny(clippy::as_conversions, clippy::indexing_slicing, clippy::unwrap_used)]

mod machine;

use std::borrow::Cow;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use ring::rand::{SecureRandom, SystemRandom};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use crate::backend::CancelKey;
use crate::backend::passed::PassedKeys;
use crate::fault::{Blame, Fault, SqlState};
use crate::metrics::Overdue;
use crate::net::{ServerStream, descriptors};
use crate::secret::Secret;
use crate::tls::{ServerTls, server_end_point};
use crate::topology::Server;
use crate::wire::auth::client::Binding;
use crate::wire::error_fields::ErrorFields;
use crate::wire::request;
use machine::{Machine, Step, Terms};

/// All that a server says during a login has to fit in here, in bytes.
const MAX_LOGIN: usize = 1024 * 1024;

/// Where to log in, and as whom, and how long it may take.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// A host that starts with `/` is the directory of a Unix socket.
    pub server: &'a Server,
    pub user: &'a str,
    /// In clear text; a stored `md5...` hash answers md5 requests only.
    pub password: Option<&'a Secret>,
    /// Where there is no password: what stands in for it with servers that ask for SCRAM.
    pub passed: Option<&'a PassedKeys>,
    pub tls: &'a ServerTls,
    /// Until the connection is there.
    pub connect_timeout: Duration,
    /// From then on: TLS, and the exchange with the server.
    pub login_timeout: Duration,
    /// Startup parameters beside user and database.
    pub parameters: &'a [(&'a str, &'a str)],
    pub course: &'a Course,
}

/// How far a login has come, for whoever does not wait for its end.
#[derive(Debug, Default)]
pub struct Course {
    /// The connection is there.
    reached: AtomicBool,
    late: AtomicBool,
}

impl Course {
    /// The limit that it has not kept; `None`: it has not been too long.
    pub fn overdue(&self) -> Option<Overdue> {
        self.late.load(Ordering::Relaxed).then(|| self.limit())
    }

    /// The limit that counts now.
    pub fn limit(&self) -> Overdue {
        if self.reached.load(Ordering::Relaxed) { Overdue::ServerLogin } else { Overdue::ServerConnect }
    }

    fn note_late(&self, error: &LoginError) {
        let is_late = matches!(error, LoginError::Io(error) if error.kind() == io::ErrorKind::TimedOut);
        self.late.store(is_late, Ordering::Relaxed);
    }
}

/// An open session: the server has said ReadyForQuery.
#[derive(Debug)]
pub struct LoggedIn {
    pub stream: ServerStream,
    /// What ParameterStatus reported, in that order.
    pub parameters: Vec<(Box<str>, Box<str>)>,
    /// Empty where the server sent none: its statements cannot be cancelled.
    pub key: CancelKey,
    /// What was read beyond ReadyForQuery.
    pub leftover: BytesMut,
}

/// Why a login failed; becomes a [`Fault`] that names the server.
#[derive(Debug)]
pub(crate) enum LoginError {
    Io(io::Error),
    Tls(io::Error),
    TlsRefused,
    /// The server's own error.
    Refused(Box<ErrorFields>),
    /// Broke the protocol, failed to prove itself, or asked for what we don't do.
    Peer(Fault),
    Protocol(&'static str),
    CleartextRefused,
    NoPassword,
    /// Nobody has shown the keys of the verifier yet.
    NotShown,
    /// There is no more than a verifier, which is good for SCRAM alone.
    VerifierOnly,
    UnsupportedMethod,
}

impl LoginError {
    fn protocol(what: &'static str) -> Self {
        Self::Protocol(what)
    }

    fn into_fault(self, server: &Server) -> Fault {
        let mut code = SqlState::UNABLE_TO_CONNECT;
        let mut blame = Blame::Server;
        let mut hint: Option<Cow<'static, str>> = None;
        let detail = match self {
            Self::Io(e) if descriptors::are_used_up(&e) => {
                code = SqlState::INSUFFICIENT_RESOURCES;
                blame = Blame::Router;
                hint = Some(
                    "Let the router's process open more files (LimitNOFILE=, ulimit -n), or lower max_client_conn."
                        .into(),
                );
                e.to_string()
            }
            Self::Io(e) => e.to_string(),
            Self::Tls(e) => format!("the TLS handshake failed: {e}"),
            Self::TlsRefused => {
                blame = Blame::Router;
                hint = Some("Turn TLS on at the server, or choose another TLS mode for servers.".into());
                "the server does not offer TLS, which the config requires".to_owned()
            }
            Self::Refused(fields) => {
                // A server that starts, stops or is full says so to the client too. All else is wrong in our config.
                let cannot_accept = fields.code.0.starts_with(b"57P");
                if cannot_accept || fields.code.0.starts_with(b"53") {
                    code = fields.code;
                }
                if !cannot_accept {
                    blame = Blame::Router;
                }
                let detail = fields.detail.map(|detail| format!(" ({detail})")).unwrap_or_default();
                format!(
                    "the server said: {}: {}{detail} (SQLSTATE {})",
                    fields.severity,
                    fields.message,
                    fields.code.as_str()
                )
            }
            Self::Peer(fault) => {
                if fault.blame == Blame::Router {
                    blame = Blame::Router;
                }
                hint.clone_from(&fault.hint);
                fault.to_string()
            }
            Self::Protocol(what) => format!("the server broke the protocol: {what}"),
            Self::CleartextRefused => {
                blame = Blame::Router;
                hint = Some("Let the server ask for scram-sha-256, or use TLS for servers.".into());
                "the server asks for the password in clear text over a connection without TLS".to_owned()
            }
            Self::NoPassword => {
                blame = Blame::Router;
                hint = Some("Set the password that this user has on the servers.".into());
                "the server asks for a password, and the config has none".to_owned()
            }
            Self::NotShown => {
                blame = Blame::Router;
                hint = Some(
                    "Log in to the router once as this user, by SCRAM; or set server_password, for the router's own work router_user and router_password."
                        .into(),
                );
                "the server asks for a password, and the config has none but a SCRAM verifier, by which no client has logged in yet"
                    .to_owned()
            }
            Self::VerifierOnly => {
                blame = Blame::Router;
                hint = Some("Let the server ask for scram-sha-256, or set server_password.".into());
                "the server asks for a password in clear text or as md5, and the config has none but a SCRAM verifier"
                    .to_owned()
            }
            Self::UnsupportedMethod => {
                blame = Blame::Router;
                hint = Some("Use scram-sha-256, md5, password, cert or trust in the server's pg_hba.conf.".into());
                "the server asks for an authentication method that is not supported".to_owned()
            }
        };
        let fault = Fault::new(code, format!("could not connect to shard server {}:{}", server.host, server.port))
            .detail(detail)
            .blame(blame);
        match hint {
            Some(hint) => fault.hint(hint),
            None => fault,
        }
    }
}

impl From<io::Error> for LoginError {
    fn from(e: io::Error) -> Self {
        Self::Io(e)
    }
}

impl From<Fault> for LoginError {
    fn from(fault: Fault) -> Self {
        Self::Peer(fault)
    }
}

/// Opens a session.
///
/// Errors: `08001` with the cause in DETAIL; where the server itself said that it cannot accept a connection now, its own
/// `57P0x` or `53xxx`. Blamed on the server only where it could not be reached, broke the protocol, or is not up.
pub async fn connect(target: Target<'_>) -> Result<LoggedIn, Fault> {
    log_in(target).await.map_err(|e| e.into_fault(target.server))
}

/// Asks the server to cancel what the session of `key` runs. Returns once the server has closed the connection,
/// and by that has signalled the session: a later statement of it is not hit.
pub async fn send_cancel(server: &Server, tls: &ServerTls, limit: Duration, key: &CancelKey) -> Result<(), Fault> {
    let mut out = BytesMut::new();
    request::cancel(&mut out, key.pid, &key.secret)?;
    deliver(server, tls, limit, &out, 0).await.map(drop)
}

/// What somebody says who is told this alone, until it closes the connection; of a long speech the first `most` bytes.
pub async fn deliver(
    server: &Server,
    tls: &ServerTls,
    limit: Duration,
    what: &[u8],
    most: usize,
) -> Result<Vec<u8>, Fault> {
    let said = async {
        let mut stream = secure(reach(server, limit).await?, server, tls).await?;
        stream.write_all(what).await?;
        stream.flush().await?;
        let (mut said, mut part) = (Vec::new(), [0; 1024]);
        // TLS that ends without a farewell, or a reset, is an end as well.
        while let Ok(read @ 1..) = stream.read(&mut part).await {
            let room = most.saturating_sub(said.len()).min(read);
            said.extend_from_slice(part.get(..room).unwrap_or_default());
        }
        Ok(said)
    };
    said.await.map_err(|e: LoginError| e.into_fault(server))
}

async fn log_in(target: Target<'_>) -> Result<LoggedIn, LoginError> {
    let course = target.course;
    let reached = reach(target.server, target.connect_timeout).await;
    let socket = reached.inspect_err(|error| course.note_late(error))?;
    course.reached.store(true, Ordering::Relaxed);
    let limit = target.login_timeout;
    let introduced = tokio::time::timeout(limit, introduce(socket, target)).await.unwrap_or_else(|_| {
        let message = format!("the login was not finished within {limit:?}");
        Err(io::Error::new(io::ErrorKind::TimedOut, message).into())
    });
    introduced.inspect_err(|error| course.note_late(error))
}

/// Everything behind the connection.
async fn introduce(socket: ServerStream, target: Target<'_>) -> Result<LoggedIn, LoginError> {
    let mut stream = secure(socket, target.server, target.tls).await?;
    let mut nonce = [0; 18];
    SystemRandom::new().fill(&mut nonce).map_err(|_| io::Error::other("no random numbers"))?;
    let mut machine = Machine::new(Terms {
        user: target.user,
        password: target.password,
        passed: target.passed,
        binding: match &stream {
            ServerStream::Tls(tls) => server_end_point(tls).map_or(Binding::Unsupported, Binding::EndPoint),
            ServerStream::Plain(_) | ServerStream::Unix(_) => Binding::Unsupported,
        },
        private: stream.is_tls() || stream.is_local(),
        nonce,
    });

    let mut out = BytesMut::new();
    let identity = [("user", target.user), ("database", &*target.server.dbname)];
    request::startup(&mut out, 0, identity.into_iter().chain(target.parameters.iter().copied()))?;
    let mut input = Input::default();
    loop {
        stream.write_all(&out).await?;
        stream.flush().await?;
        out.clear();
        let (tag, body) = input.next(&mut stream).await?;
        match machine.message(tag, &body, &mut out)? {
            Step::Continue => {}
            Step::Prove { client, challenge } => {
                // The server chooses how long this takes, up to seconds: not on a thread that serves clients.
                let proof = tokio::task::spawn_blocking(move || client.server_first(&challenge));
                let (last, proof) = proof.await.map_err(|_| io::Error::other("interrupted"))??;
                machine.proved(last, &proof, &mut out)?;
            }
            Step::Ready => {
                let Machine { parameters, key, .. } = machine;
                return Ok(LoggedIn { stream, parameters, key, leftover: input.buffer });
            }
        }
    }
}

/// The connection.
async fn reach(server: &Server, limit: Duration) -> Result<ServerStream, LoginError> {
    if server.host.starts_with('/') {
        let socket = Path::new(&*server.host).join(format!(".s.PGSQL.{}", server.port));
        return Ok(ServerStream::Unix(in_time(limit, UnixStream::connect(socket)).await?));
    }
    let stream = in_time(limit, TcpStream::connect((&*server.host, server.port))).await?;
    stream.set_nodelay(true)?;
    Ok(ServerStream::Plain(stream))
}

/// With TLS on it where that is wanted and the server has it.
async fn secure(socket: ServerStream, server: &Server, tls: &ServerTls) -> Result<ServerStream, LoginError> {
    let ServerStream::Plain(mut stream) = socket else { return Ok(socket) };
    if !tls.wanted() {
        return Ok(ServerStream::Plain(stream));
    }
    stream.write_all(request::SSL_REQUEST).await?;
    let mut answer = [0; 2];
    let read = stream.read(&mut answer).await?;
    match answer.get(..read) {
        Some(b"S") => {
            let stream = tls.connect(&server.host, stream).await.map_err(LoginError::Tls)?;
            Ok(ServerStream::Tls(Box::new(stream)))
        }
        Some(b"N") if tls.required() => Err(LoginError::TlsRefused),
        Some(b"N") => Ok(ServerStream::Plain(stream)),
        Some(b"") => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
        // More than one byte is plain text that somebody put in front of the TLS; an error in plain text is nobody's word.
        _ => Err(LoginError::protocol("an answer to SSLRequest that is neither S nor N alone")),
    }
}

async fn in_time<S>(limit: Duration, connecting: impl Future<Output = io::Result<S>>) -> Result<S, LoginError> {
    match tokio::time::timeout(limit, connecting).await {
        Ok(connected) => Ok(connected?),
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {limit:?}")).into()),
    }
}

/// Cuts messages off what was read, of which there may be so much and no more.
#[derive(Default)]
struct Input {
    buffer: BytesMut,
    taken: usize,
}

impl Input {
    async fn next(&mut self, stream: &mut ServerStream) -> Result<(u8, BytesMut), LoginError> {
        loop {
            if let Some(message) = self.take()? {
                return Ok(message);
            }
            if stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed the connection").into());
            }
        }
    }

    fn take(&mut self) -> Result<Option<(u8, BytesMut)>, LoginError> {
        let Some(&[tag, a, b, c, d]) = self.buffer.first_chunk::<5>() else { return Ok(None) };
        let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
        if length < 4 || length > MAX_LOGIN.saturating_sub(self.taken) {
            return Err(LoginError::protocol("a message that is too long for a login, or no message at all"));
        }
        if self.buffer.len() <= length {
            return Ok(None);
        }
        let mut message = self.buffer.split_to(length + 1);
        self.taken += message.len();
        message.advance(5);
        Ok(Some((tag, message)))
    }
}

#[cfg(test)]
#[path = "login/tests.rs"]
mod tests;

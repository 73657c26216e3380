//! A client's way from the accepted socket to AuthenticationOk: encryption, StartupMessage, proof of identity.
//!
//! Whoever speaks here has not logged in. One deadline covers all of it, every message is short, memory follows the bytes
//! received. Who the client is comes from its one StartupMessage and never changes; until the proof, a user that exists
//! and one that does not are answered alike.

#![deny(clippy::as_conversions, clippy::indexing_slicing, clippy::unwrap_used)]

mod authenticate;
mod rules;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::backend::passed::PassedKeys;
use crate::config::hba::Hba;
use crate::config::ident::IdentMaps;
use crate::fault::{Fault, SqlState};
use crate::net::ClientStream;
use crate::server::failures::{FailureLimits, Failures};
use crate::tls::{ALPN, ClientTls, ClientTlsMode};
use crate::wire::auth::{MockKey, Verifier};
use crate::wire::reply;
use crate::wire::startup::{CancelKey, FirstPacket, Question, Startup, take_first_packet, unsupported_protocol};

/// How long a client that was refused may take to read why.
const FAREWELL: Duration = Duration::from_secs(1);
/// Bytes of input that a refused client may still send before we hang up.
const MAX_IGNORED: usize = 64 * 1024;

/// How a user proves its identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthMethod {
    /// It need not.
    Trust,
    ScramSha256,
    /// md5 for verifiers that can, SCRAM for those that are SCRAM's: as Postgres's `md5`.
    Md5,
    /// By the certificate that it has shown.
    Cert,
}

/// What the config knows of a user.
#[derive(Clone, Debug)]
pub struct Account {
    pub method: AuthMethod,
    /// Without one only `Trust` lets the user in.
    pub verifier: Option<Arc<Verifier>>,
    /// Where the servers are to be shown what the client has shown us.
    pub passed: Option<Arc<PassedKeys>>,
}

/// Who wants to come in.
#[derive(Clone, Copy, Debug)]
pub struct Applicant<'a> {
    pub database: &'a str,
    pub user: &'a str,
    pub peer: SocketAddr,
    pub tls: bool,
}

/// Looks users up. `None`: unknown, or may not enter this database in this way; the client is told a wrong password.
///
/// For a database that does not exist, of a user that does, answer with the account: after the login the session
/// can say `3D000` to somebody who has proven to be one of us.
pub trait Accounts: Sync {
    fn lookup(&self, applicant: Applicant<'_>) -> Option<Account>;

    /// The same for users whom `lookup` does not know, where somebody else is asked for them; and whether somebody was, for this one.
    ///
    /// # Errors
    /// Nobody can tell now; the same fault for every name.
    fn ask(&self, _: Applicant<'_>) -> impl Future<Output = Result<(Option<Account>, bool), Fault>> + Send {
        std::future::ready(Ok((None, false)))
    }

    /// The name by which entries of the HBA file know this database, where it has several.
    fn entry_name<'a>(&self, database: &'a str) -> &'a str {
        database
    }
}

/// What the listener knows. `tls` and `mode` may differ from one connection to the next: certificates are reloaded.
#[derive(Clone, Debug)]
pub struct HandshakeContext {
    pub tls: Option<ClientTls>,
    pub mode: ClientTlsMode,
    /// From the accepted socket to AuthenticationOk.
    pub login_timeout: Duration,
    /// What unknown users are asked for, also where an entry says md5: the method of most users. `Trust` counts as `ScramSha256`.
    pub stranger_method: AuthMethod,
    pub mock: Arc<MockKey>,
    /// Who may come in from where, and how; without it every user as its account says.
    pub hba: Option<Arc<Hba>>,
    /// Which certificates are for which users.
    pub idents: Arc<IdentMaps>,
    /// `None`: as many as want to may fail.
    pub failure_limits: Option<FailureLimits>,
    pub failures: Arc<Failures>,
}

impl HandshakeContext {
    fn note_failure(&self, from: IpAddr, user: &str) {
        let Some(limits) = self.failure_limits else { return };
        if self.failures.note(from, user, Instant::now(), limits) {
            tracing::warn!(%from, user, "too many logins have failed: further ones are refused for a while");
        }
    }
}

/// Somebody was asked who the user is. Who then says nothing until its time is up, or is displaced, has cost that for nothing as one who
/// leaves: dropped before it is over, it counts.
struct Inquiry<'a> {
    context: &'a HandshakeContext,
    from: IpAddr,
    user: &'a str,
    is_over: bool,
}

impl Drop for Inquiry<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.context.note_failure(self.from, self.user);
        }
    }
}

/// What became of a connection.
#[derive(Debug)]
pub enum Handshake {
    Login(Box<Admitted>),
    /// A CancelRequest. The connection is to be closed when it has been dealt with, and not before.
    Cancel {
        key: CancelKey,
        /// Another router has passed it on.
        passed_on: bool,
        stream: ClientStream,
    },
    /// Another router asks this one.
    Asked {
        question: Question,
        stream: ClientStream,
    },
    /// Logins of this user or address have failed too often; the client was told.
    Throttled(Fault),
    /// The client is gone, or was told the fault and is gone.
    Closed(Option<Fault>),
}

/// A client that is who it says. It was sent AuthenticationOk and nothing after it.
#[derive(Debug)]
pub struct Admitted {
    pub stream: ClientStream,
    /// What was read beyond the login.
    pub leftover: BytesMut,
    pub startup: Startup,
    pub user: String,
    pub database: String,
    /// The settings that the session starts with, those of `options` included; later ones win.
    pub settings: Vec<(String, String)>,
}

impl Admitted {
    /// Bytes of the secret in this client's cancel key.
    pub fn cancel_secret_len(&self) -> usize {
        if self.startup.minor >= 2 { 32 } else { 4 }
    }
}

/// Why a login ends early.
#[derive(Debug)]
enum End {
    Gone,
    Refused(Fault),
    /// Whoever it is, its password is not that of whom it said it is.
    Failed(Fault),
    /// It may not even try.
    Throttled(Fault),
}

impl From<Fault> for End {
    fn from(fault: Fault) -> Self {
        Self::Refused(fault)
    }
}

impl From<io::Error> for End {
    fn from(_: io::Error) -> Self {
        Self::Gone
    }
}

/// Brings a client in. Never fails: what goes wrong is told to the client, as far as it can be, and returned for the log. `has_room` is
/// asked when it has said who it is.
pub async fn handshake(
    stream: TcpStream,
    context: &HandshakeContext,
    accounts: &impl Accounts,
    has_room: &(dyn Fn() -> Result<(), Fault> + Sync),
) -> Handshake {
    let _ = stream.set_nodelay(true);
    let Ok(peer) = stream.peer_addr() else { return Handshake::Closed(None) };
    let mut client = Conversation { stream: Some(ClientStream::Plain(stream)), buffer: BytesMut::new(), peer };
    let end = match timeout(context.login_timeout, client.admit(context, accounts, has_room)).await {
        Ok(Ok(Entry::Login(entered))) => match client.stream.take() {
            Some(stream) => {
                let Entered { startup, user, database, settings } = *entered;
                let leftover = client.buffer;
                let admitted = Admitted { stream, leftover, startup, user, database, settings };
                return Handshake::Login(Box::new(admitted));
            }
            None => End::Gone,
        },
        Ok(Ok(Entry::Cancel { key, passed_on })) => match client.stream.take() {
            Some(stream) => return Handshake::Cancel { key, passed_on, stream },
            None => End::Gone,
        },
        Ok(Ok(Entry::Asked(question))) => match client.stream.take() {
            Some(stream) => return Handshake::Asked { question, stream },
            None => End::Gone,
        },
        Ok(Err(end)) => end,
        Err(_) => End::Refused(Fault::new(SqlState::QUERY_CANCELED, "canceling authentication due to timeout").fatal()),
    };
    match end {
        End::Gone => Handshake::Closed(None),
        End::Refused(fault) | End::Failed(fault) => {
            let _ = timeout(FAREWELL, client.dismiss(&fault)).await;
            Handshake::Closed(Some(fault))
        }
        End::Throttled(fault) => {
            let _ = timeout(FAREWELL, client.dismiss(&fault)).await;
            Handshake::Throttled(fault)
        }
    }
}

/// What a client has asked for and may have.
enum Entry {
    Login(Box<Entered>),
    Cancel { key: CancelKey, passed_on: bool },
    Asked(Question),
}

struct Entered {
    startup: Startup,
    user: String,
    database: String,
    settings: Vec<(String, String)>,
}

/// The client's stream during the login. It is `None` only while TLS starts, which a client that is dropped then cannot
/// be told anything about.
struct Conversation {
    stream: Option<ClientStream>,
    buffer: BytesMut,
    peer: SocketAddr,
}

impl Conversation {
    async fn admit(
        &mut self,
        context: &HandshakeContext,
        accounts: &impl Accounts,
        has_room: &(dyn Fn() -> Result<(), Fault> + Sync),
    ) -> Result<Entry, End> {
        let startup = match self.open(context).await? {
            Opening::Startup(startup) => startup,
            Opening::Cancel(key) => return Ok(Entry::Cancel { key, passed_on: false }),
            Opening::PassedOn(key) => return Ok(Entry::Cancel { key, passed_on: true }),
            Opening::Asked(question) => return Ok(Entry::Asked(question)),
        };
        has_room()?;
        let tls = self.stream.as_ref().is_some_and(ClientStream::is_tls);
        if context.mode == ClientTlsMode::Require && !tls {
            let fault = Fault::new(SqlState::INVALID_AUTHORIZATION_SPECIFICATION, "this server requires TLS").hint(
                "Connect with sslmode=require, or with verify-full and the authority of the server's certificate.",
            );
            return Err(fault.fatal().into());
        }
        let (user, database) = (startup.user()?.to_owned(), startup.database()?.to_owned());
        startup.check_replication()?;
        if let Some(negotiation) = startup.negotiation() {
            self.send(&negotiation).await?;
        }
        let applicant = Applicant { database: &database, user: &user, peer: self.peer, tls };
        let meant = Applicant { database: accounts.entry_name(&database), ..applicant };
        let entry = rules::entry(context.hba.as_deref(), &meant)?;
        let (account, was_asked) = match accounts.lookup(applicant) {
            Some(account) => (Some(account), false),
            None => {
                // Before somebody is asked: who guesses names is stopped like who guesses passwords.
                self.may_try(context, &user)?;
                accounts.ask(applicant).await?
            }
        };
        let mut asked = was_asked.then(|| Inquiry { context, from: self.peer.ip(), user: &user, is_over: false });
        let proven = self.authenticate(context, &user, account, entry).await;
        if let Some(asked) = &mut asked {
            asked.is_over = true;
        }
        drop(asked);
        self.count(context, &user, &proven, was_asked);
        let _: bool = proven?;
        self.send(reply::AUTHENTICATION_OK).await?;
        // As Postgres, which reads them when it knows who has come.
        let settings = startup.settings()?;
        Ok(Entry::Login(Box::new(Entered { startup, user, database, settings })))
    }

    /// Failures count, whether the user exists or not. Only a password makes good what passwords have failed.
    /// `was_asked`: somebody was asked who the user is. Who leaves then has cost that for nothing, and counts too.
    fn count(&self, context: &HandshakeContext, user: &str, proven: &Result<bool, End>, was_asked: bool) {
        let from = self.peer.ip();
        match proven {
            Ok(true) if context.failure_limits.is_some() => context.failures.forget(from, user),
            Ok(_) => {}
            Err(End::Gone) if !was_asked => {}
            Err(End::Failed(_) | End::Gone) => context.note_failure(from, user),
            Err(End::Refused(_) | End::Throttled(_)) => {}
        }
    }

    /// Up to the StartupMessage. As in Postgres, SSLRequest and GSSENCRequest may each come once, in any order.
    async fn open(&mut self, context: &HandshakeContext) -> Result<Opening, End> {
        let tls = context.tls.as_ref().filter(|_| context.mode != ClientTlsMode::Disable);
        if self.starts_with_tls().await? {
            let Some(tls) = tls else {
                return Err(Fault::protocol("TLS without SSLRequest, and TLS is not enabled").into());
            };
            self.start_tls(tls, true).await?;
        }
        let (mut ssl_asked, mut gss_asked) = (self.is_tls(), self.is_tls());
        loop {
            match self.first_packet().await? {
                FirstPacket::Startup(startup) => return Ok(Opening::Startup(startup)),
                FirstPacket::Cancel(key) => return Ok(Opening::Cancel(key)),
                FirstPacket::PassedOn(key) => return Ok(Opening::PassedOn(key)),
                FirstPacket::Asked(question) => return Ok(Opening::Asked(question)),
                FirstPacket::DirectTls => return Err(Fault::protocol("invalid length of startup packet").into()),
                FirstPacket::SslRequest if ssl_asked => return Err(unsupported_protocol(1234, 5679).into()),
                FirstPacket::GssEncRequest if gss_asked => return Err(unsupported_protocol(1234, 5680).into()),
                FirstPacket::SslRequest => {
                    ssl_asked = true;
                    self.nothing_follows("SSL request")?;
                    match tls {
                        Some(tls) => {
                            self.send(reply::ENCRYPTION_ACCEPTED).await?;
                            self.start_tls(tls, false).await?;
                            gss_asked = true;
                        }
                        None => self.send(reply::ENCRYPTION_REFUSED).await?,
                    }
                }
                FirstPacket::GssEncRequest => {
                    gss_asked = true;
                    self.nothing_follows("GSSAPI encryption request")?;
                    self.send(reply::ENCRYPTION_REFUSED).await?;
                }
            }
        }
    }

    /// Looks at the first byte without taking it: a ClientHello belongs to the TLS session whole.
    async fn starts_with_tls(&mut self) -> Result<bool, End> {
        let Some(ClientStream::Plain(stream)) = &self.stream else { return Err(End::Gone) };
        let mut first = [0];
        if stream.peek(&mut first).await? == 0 {
            return Err(End::Gone);
        }
        Ok(take_first_packet(&mut BytesMut::from(&first[..])) == Ok(Some(FirstPacket::DirectTls)))
    }

    /// What came in plain text before the answer may have been put there by anybody: it never becomes part of the session.
    fn nothing_follows(&self, request: &str) -> Result<(), End> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        Err(Fault::protocol(format!("received unencrypted data after {request}"))
            .detail("This could be either a client-software bug or evidence of an attempted man-in-the-middle attack.")
            .into())
    }

    async fn start_tls(&mut self, tls: &ClientTls, direct: bool) -> Result<(), End> {
        let Some(ClientStream::Plain(stream)) = self.stream.take() else { return Err(End::Gone) };
        let stream = tls.acceptor.accept(stream).await?;
        let named = stream.get_ref().1.alpn_protocol() == Some(ALPN);
        self.stream = Some(ClientStream::Tls(Box::new(stream)));
        self.buffer = BytesMut::new();
        // Else a browser, tricked into talking to us, could pass for a client.
        if direct && !named {
            let message = "received direct SSL connection request without ALPN protocol negotiation extension";
            return Err(Fault::protocol(message).into());
        }
        Ok(())
    }

    fn is_tls(&self) -> bool {
        self.stream.as_ref().is_some_and(ClientStream::is_tls)
    }

    async fn first_packet(&mut self) -> Result<FirstPacket, End> {
        loop {
            if let Some(packet) = take_first_packet(&mut self.buffer)? {
                return Ok(packet);
            }
            self.read().await?;
        }
    }

    /// Reads what there is, at least a byte. The buffer grows with what has come, never with what was announced.
    async fn read(&mut self) -> Result<(), End> {
        let stream = self.stream.as_mut().ok_or(End::Gone)?;
        match stream.read_buf(&mut self.buffer).await? {
            0 => Err(End::Gone),
            _ => Ok(()),
        }
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<(), End> {
        let stream = self.stream.as_mut().ok_or(End::Gone)?;
        stream.write_all(bytes).await?;
        Ok(stream.flush().await?)
    }

    /// Tells the client why, and waits until it has hung up: closing on unread input would take the message back.
    async fn dismiss(&mut self, fault: &Fault) -> Result<(), End> {
        let mut out = BytesMut::new();
        reply::error(&mut out, fault);
        self.send(&out).await?;
        let stream = self.stream.as_mut().ok_or(End::Gone)?;
        stream.shutdown().await?;
        let mut ignored = 0;
        while ignored < MAX_IGNORED {
            self.buffer.clear();
            self.read().await?;
            ignored += self.buffer.len();
        }
        Ok(())
    }
}

enum Opening {
    Startup(Startup),
    Cancel(CancelKey),
    PassedOn(CancelKey),
    Asked(Question),
}

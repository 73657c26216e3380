//! I/O. Accepts clients, brings them in, drains them at the end; and answers those who watch.

pub mod console;
pub mod handshake;
pub mod http;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

use crate::backend::cluster::{Credentials, Database};
use crate::config::{Shown, TimeWishes};
use crate::fault::{Blame, Fault, SqlState};
use crate::net::{ClientStream, Keepalive};
use crate::session::{Login, Session, Shared};
use crate::wire::auth::Verifier;
use crate::wire::reply;
use console::{Console, ConsoleRules};
use handshake::{Account, Accounts, Admitted, Applicant, AuthMethod, Handshake, HandshakeContext, handshake};

/// A client's CancelRequest may take so long before its connection is closed all the same.
const CANCEL_LIMIT: Duration = Duration::from_secs(10);
/// For telling a client why it cannot come in.
const FAREWELL: Duration = Duration::from_secs(1);

/// A user of the config, ready for logins.
pub struct Member {
    pub method: AuthMethod,
    pub verifier: Option<Arc<Verifier>>,
    /// `None`: every database.
    pub databases: Option<Vec<Arc<str>>>,
    /// How its connections log in at the shards.
    pub credentials: Credentials,
    pub pool_size: Option<usize>,
    /// `None`: as the database says.
    pub session_mode: Option<bool>,
    pub times: TimeWishes,
}

/// Everything a listener needs for a client.
pub struct Front {
    pub shared: Arc<Shared>,
    pub members: HashMap<Box<str>, Member>,
    pub databases: HashMap<Box<str>, Arc<Database>>,
    pub context: HandshakeContext,
    pub console: ConsoleRules,
    /// The settings that the console shows.
    pub config: Vec<Shown>,
    pub max_clients: usize,
    /// `None`: no probes.
    pub keepalive: Option<Keepalive>,
    pub log_connections: bool,
    /// Sockets open now, logins included.
    pub open: AtomicUsize,
    /// Of those: not let in yet.
    pub knocking: AtomicUsize,
}

impl Accounts for Front {
    fn lookup(&self, applicant: Applicant<'_>) -> Option<Account> {
        let member = self.members.get(applicant.user)?;
        Some(Account { method: member.method, verifier: member.verifier.clone() })
    }
}

/// Accepts clients until `shutdown` resolves. Each is served by a task of its own.
pub async fn accept(listener: TcpListener, front: Arc<Front>, shutdown: impl Future<Output = ()>) {
    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            biased;
            () = &mut shutdown => return,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let front = Arc::clone(&front);
                    tokio::spawn(async move { serve(stream, front).await });
                }
                Err(error) => {
                    // Out of descriptors: old clients go on, new ones wait in the backlog.
                    tracing::warn!(%error, "could not accept a client");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
        }
    }
}

/// Counts a socket as long as it lives.
struct Open<'a>(&'a AtomicUsize);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

async fn serve(stream: TcpStream, front: Arc<Front>) {
    // A cancel must come through when the router is full; twice the limit bounds those who only knock.
    let open = front.open.fetch_add(1, Ordering::AcqRel) + 1;
    let _open = Open(&front.open);
    if open > front.max_clients.saturating_mul(2).saturating_add(64) {
        front.shared.metrics.login_failures.inc();
        return;
    }
    if let Some(keepalive) = &front.keepalive {
        keepalive.apply(&socket2::SockRef::from(&stream));
    }
    let came = {
        front.knocking.fetch_add(1, Ordering::AcqRel);
        let _knocking = Open(&front.knocking);
        handshake(stream, &front.context, &*front).await
    };
    match came {
        Handshake::Login(admitted) => admit(*admitted, &front).await,
        Handshake::Cancel { key, stream } => {
            let cancel = front.shared.cancels.cancel(key.pid, &key.secret);
            let _ = tokio::time::timeout(CANCEL_LIMIT, cancel).await;
            front.shared.metrics.cancels.inc();
            drop(stream);
        }
        Handshake::Closed(fault) => {
            front.shared.metrics.login_failures.inc();
            if let Some(fault) = fault
                && front.log_connections
            {
                tracing::info!(code = fault.code.as_str(), error = %fault.message, "login refused");
            }
        }
    }
}

async fn admit(admitted: Admitted, front: &Arc<Front>) {
    let secret_len = admitted.cancel_secret_len();
    let Admitted { stream, leftover, user, database: name, settings, .. } = admitted;
    if console::is_console(front, &name) {
        return match console::enter(front, &user, &name, &stream) {
            Ok(access) => {
                front.shared.metrics.logins.inc();
                if front.log_connections {
                    tracing::info!(user, access = access.label(), tls = stream.is_tls(), "console login");
                }
                Console::serve(Arc::clone(front), stream, leftover, user, access).await;
            }
            Err(fault) => {
                front.shared.metrics.login_failures.inc();
                dismiss(stream, &fault).await;
            }
        };
    }
    match enter(front, &user, &name) {
        Ok((member, database)) => {
            front.shared.metrics.logins.inc();
            if front.log_connections {
                tracing::info!(user, database = %database.name, tls = stream.is_tls(), "login");
            }
            let login = Login {
                stream,
                leftover,
                pools: database.pools(&user, &member.credentials, member.pool_size),
                session_mode: member.session_mode.unwrap_or(database.session_mode),
                times: database.times.with(&member.times),
                database,
                user: user.into(),
                server_user: member.credentials.user.as_str().into(),
                settings,
                secret_len,
            };
            Session::serve(login, Arc::clone(&front.shared)).await;
        }
        Err(fault) => {
            front.shared.metrics.login_failures.inc();
            dismiss(stream, &fault).await;
        }
    }
}

/// The member and database of a client that has proven who it is, or why it still cannot come in.
fn enter<'a>(front: &'a Front, user: &str, name: &str) -> Result<(&'a Member, Arc<Database>), Fault> {
    let unknown = || Fault::new(SqlState::INVALID_CATALOG_NAME, format!("database \"{name}\" does not exist")).fatal();
    let member = front.members.get(user).ok_or_else(unknown)?;
    let database = front.databases.get(name).ok_or_else(unknown)?;
    if database.disabled.load(Ordering::Acquire) {
        // As in Postgres for one that allows no connections.
        return Err(Fault::new(
            SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!("database \"{name}\" is not currently accepting connections"),
        )
        .blame(Blame::Router)
        .fatal());
    }
    let allowed = member.databases.as_ref().is_none_or(|names| names.iter().any(|n| **n == *name));
    if !allowed {
        return Err(Fault::new(
            SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
            format!("user \"{user}\" may not connect to database \"{name}\""),
        )
        .fatal());
    }
    if front.shared.cancels.len() >= front.max_clients {
        return Err(Fault::new(SqlState::TOO_MANY_CONNECTIONS, "sorry, too many clients already")
            .detail(format!("max_client_conn is {}", front.max_clients))
            .blame(Blame::Router)
            .fatal());
    }
    Ok((member, Arc::clone(database)))
}

async fn dismiss(mut stream: ClientStream, fault: &Fault) {
    let mut out = BytesMut::new();
    reply::error(&mut out, fault);
    let _ = tokio::time::timeout(FAREWELL, async {
        stream.write_all(&out).await?;
        stream.shutdown().await
    })
    .await;
}

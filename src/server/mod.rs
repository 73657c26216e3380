//! I/O. Accepts clients, brings them in, drains them at the end; and answers those who watch.

pub mod console;
pub mod failures;
pub mod handshake;
pub mod http;
pub mod knocking;
mod leaving;
pub mod peers;
pub mod population;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::BytesMut;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

use crate::admin::UserView;
use crate::backend::asked::Asked;
use crate::backend::cluster::Database;
use crate::backend::user_pools::UserPools;
use crate::config::Shown;
use crate::control;
use crate::fault::{Blame, Fault, SqlState};
use crate::metrics::Overdue;
use crate::net::{ClientStream, Keepalive, descriptors};
use crate::session::{Login, Session, Shared};
use crate::tls::ServerTls;
use crate::wire::reply;
use crate::wire::startup::Question;
use console::{Console, ConsoleRules};
use handshake::{Account, Accounts, Admitted, Applicant, AuthMethod, Handshake, HandshakeContext, handshake};
use knocking::Knocking;
use peers::{Came, Peers};
use population::{ClientLimits, Population, Present};

/// A client's CancelRequest may take so long before its connection is closed all the same.
const CANCEL_LIMIT: Duration = Duration::from_secs(10);
/// For telling a client why it cannot come in.
const FAREWELL: Duration = Duration::from_secs(1);

/// Everything a listener needs for a client, by the configuration of now.
pub struct Front {
    pub shared: Arc<Shared>,
    /// The users of the configuration.
    pub accounts: HashMap<Box<str>, Account>,
    /// How those prove who they are whom a home shard is asked for.
    pub asked_method: AuthMethod,
    pub databases: HashMap<Box<str>, Arc<Database>>,
    pub context: HandshakeContext,
    pub console: ConsoleRules,
    /// The users that the console shows.
    pub users: Vec<UserView>,
    /// The settings that the console shows.
    pub config: Vec<Shown>,
    pub max_clients: usize,
    /// Clients that have not been let in yet.
    pub max_knocking: usize,
    pub client_limits: ClientLimits,
    pub population: Arc<Population>,
    pub router: Arc<Peers>,
    /// The other routers that the configuration names, and how they are spoken to.
    pub peers: Vec<Box<str>>,
    pub peer_tls: ServerTls,
    /// `None`: no probes.
    pub keepalive: Option<Keepalive>,
    pub log_connections: bool,
    /// Sockets open now, logins included.
    pub open: Arc<AtomicUsize>,
    /// Of those: not let in yet.
    pub knocking: Arc<Knocking>,
}

impl Front {
    /// The counts of sockets, which go on under another configuration.
    pub fn counts(&self) -> (Arc<AtomicUsize>, Arc<Knocking>) {
        (Arc::clone(&self.open), Arc::clone(&self.knocking))
    }
}

impl Accounts for Front {
    fn lookup(&self, applicant: Applicant<'_>) -> Option<Account> {
        self.accounts.get(applicant.user).cloned()
    }

    fn ask(&self, applicant: Applicant<'_>) -> impl Future<Output = Result<(Option<Account>, bool), Fault>> + Send {
        let database = self.databases.get(applicant.database).filter(|database| database.auth_query.is_some());
        let database = database.map(|database| database.newest().unwrap_or_else(|| Arc::clone(database)));
        let (user, method) = (applicant.user.to_owned(), self.asked_method);
        async move {
            let Some(database) = database else { return Ok((None, false)) };
            let (found, was_asked) = control::users::find(&database, &user).await?;
            let account =
                |asked: Asked| Account { method, verifier: Some(asked.verifier), passed: asked.credentials.passed };
            Ok((found.map(account), was_asked))
        }
    }

    fn entry_name<'a>(&self, database: &'a str) -> &'a str {
        if console::is_console(self, database) { console::NAME } else { database }
    }
}

/// Accepts clients until `shutdown` resolves. Each is served by a task of its own.
pub async fn accept(listener: TcpListener, front: Arc<ArcSwap<Front>>, shutdown: impl Future<Output = ()>) {
    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            biased;
            () = &mut shutdown => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => welcome(stream, peer, &front),
                Err(error) => {
                    // Out of descriptors: old clients go on, new ones wait in the backlog.
                    tracing::warn!(%error, "could not accept a client");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
        }
    }
    leaving::take_in_the_last(listener, |stream, peer| welcome(stream, peer, &front)).await;
}

fn welcome(stream: TcpStream, peer: SocketAddr, fronts: &Arc<ArcSwap<Front>>) {
    let front = fronts.load_full();
    // Counted at once: somebody may be waiting until nobody is left.
    let open = Open::new(&front.open);
    let fronts = Arc::clone(fronts);
    tokio::spawn(async move {
        // Boxed, as all that is over when the client is in: a session that waits has no room for it.
        if let Some(client) = Box::pin(receive(stream, peer, front, fronts, open.nth)).await {
            client.served.await;
        }
        drop(open);
    });
}

/// A client that is in.
struct Inside {
    /// Until it leaves.
    served: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// Those of the console are counted there.
    _present: Option<Present>,
}

/// A socket that is open.
struct Open {
    sockets: Arc<AtomicUsize>,
    /// How many there were with it.
    nth: usize,
}

impl Open {
    fn new(sockets: &Arc<AtomicUsize>) -> Self {
        Self { sockets: Arc::clone(sockets), nth: sockets.fetch_add(1, Ordering::AcqRel) + 1 }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.sockets.fetch_sub(1, Ordering::AcqRel);
    }
}

/// What comes of a socket, the `nth` that is open: a client that is in, or it has been told all that there is to tell.
async fn receive(
    stream: TcpStream,
    peer: SocketAddr,
    front: Arc<Front>,
    fronts: Arc<ArcSwap<Front>>,
    nth: usize,
) -> Option<Inside> {
    // Those who are told that they cannot come in are none of either, for a moment.
    if nth > front.max_clients.saturating_add(front.max_knocking).saturating_add(64) {
        front.shared.metrics.login_failures.inc();
        return None;
    }
    if let Some(keepalive) = &front.keepalive {
        keepalive.apply(&socket2::SockRef::from(&stream));
    }
    let came = {
        let (knock, mut sent_away) = front.knocking.enter(peer.ip(), front.max_knocking);
        let has_room = || {
            if knock.speak() {
                return Ok(());
            }
            front.shared.metrics.logins_displaced.inc();
            Err(too_many_logins(front.max_knocking))
        };
        tokio::select! {
            biased;
            came = handshake(stream, &front.context, &*front, &has_room) => came,
            () = sent_away.wait() => {
                front.shared.metrics.login_failures.inc();
                front.shared.metrics.logins_displaced.inc();
                tracing::debug!(%peer, "a client has not logged in in time to make room for others");
                return None;
            }
        }
    };
    match came {
        Handshake::Login(admitted) => return admit(admitted, &front, fronts).await,
        Handshake::Cancel { key, passed_on, stream } => {
            let came = if passed_on { Came::Router } else { Came::Client };
            let cancel = front.router.cancel(&key, came, &front.peer_tls);
            let _ = tokio::time::timeout(CANCEL_LIMIT, cancel).await;
            front.shared.metrics.cancels.inc();
            drop(stream);
        }
        Handshake::Asked { question, stream } => {
            let told = match question {
                Question::Number => u32::from(front.router.number().get()).to_be_bytes().to_vec(),
                Question::Timelines => front.router.timelines(),
            };
            tell(stream, &told).await;
        }
        Handshake::Throttled(fault) => {
            front.shared.metrics.login_failures.inc();
            front.shared.metrics.logins_throttled.inc();
            // The first one of them was told of.
            tracing::debug!(code = fault.code.as_str(), error = %fault.message, "login refused");
        }
        Handshake::Closed(fault) => {
            front.shared.metrics.login_failures.inc();
            // Nothing else is cancelled in a login.
            if fault.as_ref().is_some_and(|fault| fault.code == SqlState::QUERY_CANCELED) {
                front.shared.metrics.overdue(Overdue::ClientLogin);
            }
            if let Some(fault) = fault
                && front.log_connections
            {
                tracing::info!(code = fault.code.as_str(), error = %fault.message, "login refused");
            }
        }
    }
    None
}

fn too_many_logins(most: usize) -> Fault {
    Fault::new(SqlState::TOO_MANY_CONNECTIONS, "sorry, too many clients are logging in")
        .detail(format!("max_login_conn is {most}"))
        .hint("Retry shortly.")
        .blame(Blame::Router)
        .fatal()
}

/// One that has proven who it is. `None`: it cannot come in all the same, and has been told why.
async fn admit(admitted: Box<Admitted>, front: &Arc<Front>, fronts: Arc<ArcSwap<Front>>) -> Option<Inside> {
    let secret_len = admitted.cancel_secret_len();
    let Admitted { stream, leftover, user, database: name, settings, .. } = *admitted;
    if console::is_console(front, &name) {
        return match console::enter(front, &user, &name, &stream) {
            Ok(access) => {
                front.shared.metrics.logins.inc();
                if front.log_connections {
                    tracing::info!(user, access = access.label(), tls = stream.is_tls(), "console login");
                }
                let served = Box::pin(Console::serve(fronts, stream, leftover, user, access));
                Some(Inside { served, _present: None })
            }
            Err(fault) => {
                front.shared.metrics.login_failures.inc();
                dismiss(stream, &fault).await;
                None
            }
        };
    }
    match enter(front, &user, &name, stream.peer_addr().ok().map(|peer| peer.ip())) {
        Ok((database, pools, present)) => {
            front.shared.metrics.logins.inc();
            if front.log_connections {
                tracing::info!(user, database = %database.name, tls = stream.is_tls(), "login");
            }
            let login = Login {
                stream,
                leftover,
                server_user: pools.credentials().user.as_str().into(),
                pools,
                session_mode: database.keeps_connections(&user),
                times: database.times_of(&user),
                database,
                user: user.into(),
                settings,
                secret_len,
            };
            let served = Box::pin(Session::serve(login, Arc::clone(&front.shared)));
            Some(Inside { served, _present: Some(present) })
        }
        Err(fault) => {
            front.shared.metrics.login_failures.inc();
            dismiss(stream, &fault).await;
            None
        }
    }
}

/// The database of a client that has proven who it is, and its pools there, or why it still cannot come in.
fn enter(
    front: &Front,
    user: &str,
    name: &str,
    from: Option<IpAddr>,
) -> Result<(Arc<Database>, Arc<UserPools>, Present), Fault> {
    let unknown = || Fault::new(SqlState::INVALID_CATALOG_NAME, format!("database \"{name}\" does not exist")).fatal();
    let database = front.databases.get(name).ok_or_else(unknown)?;
    // One that came while the configuration changed is a client of the new one.
    let database = database.newest().unwrap_or_else(|| Arc::clone(database));
    if database.disabled.load(Ordering::Acquire) {
        // As in Postgres for one that allows no connections.
        return Err(Fault::new(
            SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!("database \"{name}\" is not currently accepting connections"),
        )
        .blame(Blame::Router)
        .fatal());
    }
    let Some(pools) = database.pools(user) else {
        return Err(Fault::new(
            SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
            format!("user \"{user}\" may not connect to database \"{name}\""),
        )
        .fatal());
    };
    let (clients, room) = (front.shared.cancels.len(), descriptors::room_for_clients());
    if clients >= front.max_clients.min(room) {
        let why = match descriptors::limit() {
            Some(limit) if room < front.max_clients => format!("the router's process may open {limit} files"),
            Some(_) | None => format!("max_client_conn is {}", front.max_clients),
        };
        return Err(Fault::new(SqlState::TOO_MANY_CONNECTIONS, "sorry, too many clients already")
            .detail(why)
            .blame(Blame::Router)
            .fatal());
    }
    let present = front.population.enter(user, name, from, &front.client_limits)?;
    Ok((database, pools, present))
}

/// To a router that has asked.
async fn tell(mut stream: ClientStream, what: &[u8]) {
    let _ = tokio::time::timeout(FAREWELL, async {
        stream.write_all(what).await?;
        stream.shutdown().await
    })
    .await;
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

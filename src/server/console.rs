//! The admin console: a database of no shard, in which operators look at the router and command it.
//!
//! pgwire's server API is not used: it begins with a startup of its own, and its decoders trust their input. What comes here was let in by our
//! own handshake, and is cut into frames by the same code as the frames of sessions.

mod commands;
mod extended;

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::BytesMut;

use crate::admin::command::{Command, SESSION};
use crate::admin::{Access, Answer};
use crate::exec::client::{Client, ClientGone, Idle};
use crate::fault::{Fault, SqlState};
use crate::memory::Memory;
use crate::net::ClientStream;
use crate::scope::Control;
use crate::server::Front;
use crate::session::simple::query_text;
use crate::wire::frame::Frame;
use crate::wire::reply::{self, NoticeLevel, Status};
use extended::Portal;

/// What it is called, here and by others.
const NAMES: [&str; 4] = [NAME, "pgbouncer", "pgcat", "admin"];
/// By which entries of an HBA file know it.
pub const NAME: &str = "pgloom";
/// Commands are short.
const MAX_MESSAGE: usize = 64 * 1024;

/// So much of an answer is made at a time.
const PIECE: usize = 32 * 1024;

/// Who may come in.
#[derive(Debug, Default)]
pub struct ConsoleRules {
    pub admins: HashSet<Box<str>>,
    pub stats: HashSet<Box<str>>,
    /// Also from other machines without TLS.
    pub plaintext: bool,
}

impl ConsoleRules {
    pub fn access(&self, user: &str) -> Option<Access> {
        match () {
            () if self.admins.contains(user) => Some(Access::Admin),
            () if self.stats.contains(user) => Some(Access::Stats),
            () => None,
        }
    }

    /// # Errors
    /// `28000` for a client whose commands and answers could be read, or changed, on their way.
    fn check_way(&self, stream: &ClientStream) -> Result<(), Fault> {
        if self.plaintext || is_private(stream.is_tls(), stream.peer_addr().ok().map(|peer| peer.ip())) {
            return Ok(());
        }
        Err(Fault::new(SqlState::INVALID_AUTHORIZATION_SPECIFICATION, "the console needs TLS from other machines")
            .hint("Connect with sslmode=require, from the router's own machine, or set admin_plaintext = true.")
            .fatal())
    }
}

/// Whether nobody on the way can read or change what is said.
fn is_private(tls: bool, peer: Option<IpAddr>) -> bool {
    tls || peer.is_some_and(|ip| ip.to_canonical().is_loopback())
}

/// Whether a client that names this database wants the console. A logical database of the same name goes before it.
pub fn is_console(front: &Front, database: &str) -> bool {
    NAMES.contains(&database) && !front.databases.contains_key(database)
}

/// What this user may do there.
///
/// # Errors
/// As for a database that does not exist where the user may do nothing.
pub fn enter(front: &Front, user: &str, database: &str, stream: &ClientStream) -> Result<Access, Fault> {
    let unknown =
        || Fault::new(SqlState::INVALID_CATALOG_NAME, format!("database \"{database}\" does not exist")).fatal();
    let access = front.console.access(user).ok_or_else(unknown)?;
    front.console.check_way(stream)?;
    Ok(access)
}

/// Why a console ends.
enum End {
    Gone,
    Fatal(Fault),
}

impl From<ClientGone> for End {
    fn from(_: ClientGone) -> Self {
        Self::Gone
    }
}

impl From<Fault> for End {
    fn from(fault: Fault) -> Self {
        Self::Fatal(fault)
    }
}

/// One operator.
pub struct Console {
    /// Its configuration changes while the operator is here.
    fronts: Arc<ArcSwap<Front>>,
    client: Client,
    user: Box<str>,
    access: Access,
    statements: HashMap<Box<[u8]>, Arc<str>>,
    portals: HashMap<Box<[u8]>, Portal>,
    /// After an error in the extended protocol: until Sync.
    discarding: bool,
}

impl Console {
    pub async fn serve(
        fronts: Arc<ArcSwap<Front>>,
        stream: ClientStream,
        leftover: BytesMut,
        user: String,
        access: Access,
    ) {
        let control = Arc::<Control>::default();
        let shared = Arc::clone(&fronts.load().shared);
        shared.operators.add(&control);
        let client = Client::new(stream, leftover, control, MAX_MESSAGE, Memory::new(None).hold());
        let (statements, portals) = (HashMap::new(), HashMap::new());
        let user = user.into();
        let mut console = Self { fronts, client, user, access, statements, portals, discarding: false };
        let Err(end) = console.run().await;
        if let End::Fatal(fault) = end {
            reply::error(&mut console.client.out, &fault.fatal());
            let _ = tokio::time::timeout(super::FAREWELL, console.client.flush()).await;
        }
    }

    async fn run(&mut self) -> Result<std::convert::Infallible, End> {
        self.greet();
        loop {
            match self.client.next_frame_idle().await? {
                Idle::Frame(frame) => self.dispatch(&frame).await?,
                Idle::Gone => return Err(End::Gone),
                Idle::Ended => return Err(End::Fatal(self.client.control.reason())),
            }
        }
    }

    /// As PgBouncer does: whoever reads the version sees what this is.
    fn greet(&mut self) {
        let own = ("is_superuser", if self.access == Access::Admin { "on" } else { "off" });
        let out = &mut self.client.out;
        // Constants: there is nothing in them that could not be told.
        for (name, value) in SESSION.iter().copied().chain([own]) {
            let _ = reply::parameter_status(out, name, value);
        }
        let _ = reply::backend_key_data(out, 0, &[0; 4]);
        reply::ready_for_query(out, Status::Idle);
    }

    async fn dispatch(&mut self, frame: &Frame) -> Result<(), End> {
        if self.discarding && !matches!(frame.tag, b'S' | b'X') {
            return Ok(());
        }
        match frame.tag {
            b'Q' => self.query(frame).await,
            b'P' | b'B' | b'D' | b'E' | b'C' => {
                if let Err(fault) = self.extended(frame).await? {
                    reply::error(&mut self.client.out, &fault);
                    self.discarding = true;
                }
                Ok(())
            }
            b'H' => Ok(self.client.flush().await?),
            b'S' => {
                self.discarding = false;
                self.portals.clear();
                reply::ready_for_query(&mut self.client.out, Status::Idle);
                Ok(self.client.flush().await?)
            }
            b'X' => Err(End::Gone),
            // What is left of a COPY that nobody began.
            b'd' | b'c' | b'f' => Ok(()),
            tag => Err(Fault::protocol(format!("invalid frontend message type {tag}")).into()),
        }
    }

    /// A simple Query.
    async fn query(&mut self, frame: &Frame) -> Result<(), End> {
        self.statements.remove(&b""[..]);
        self.portals.clear();
        let text = query_text(frame).map(str::to_owned);
        let answered = match text {
            Ok(text) => self.run_text(&text).await?,
            Err(fault) => Err(fault),
        };
        let told = match answered {
            Ok(answer) => self.tell(answer).await?,
            Err(fault) => Err(fault),
        };
        if let Err(fault) = told {
            reply::error(&mut self.client.out, &fault);
        }
        reply::ready_for_query(&mut self.client.out, Status::Idle);
        Ok(self.client.flush().await?)
    }

    /// Rows with their description; `None`: there was nothing to be done.
    async fn tell(&mut self, answer: Option<Answer>) -> Result<Result<(), Fault>, End> {
        let Some(mut answer) = answer else {
            self.client.out.extend_from_slice(reply::EMPTY_QUERY);
            return Ok(Ok(()));
        };
        if !answer.columns.is_empty() {
            match answer.describe(&[]) {
                Ok(description) => self.client.out.extend_from_slice(&description),
                Err(fault) => return Ok(Err(fault)),
            }
        }
        let told = self.put_rows(&mut answer, &[], None).await?;
        Ok(told.and_then(|_| reply::command_complete(&mut self.client.out, &answer.tag)))
    }

    /// Up to so many rows, as fast as the operator takes them; whether there may be more.
    async fn put_rows(
        &mut self,
        answer: &mut Answer,
        formats: &[i16],
        most: Option<usize>,
    ) -> Result<Result<bool, Fault>, End> {
        let mut put = 0;
        while most.is_none_or(|most| put < most) {
            match answer.put_next(&mut self.client.out, formats) {
                Ok(true) => put += 1,
                Ok(false) => return Ok(Ok(false)),
                Err(fault) => return Ok(Err(fault)),
            }
            if self.client.out.len() >= PIECE {
                self.client.flush().await?;
                // Clients are served in between.
                tokio::task::yield_now().await;
            }
        }
        Ok(Ok(true))
    }

    /// Runs one command; `None` where there is none. It ends with its client.
    async fn run_text(&mut self, text: &str) -> Result<Result<Option<Answer>, Fault>, End> {
        let command = match Command::parse(text) {
            Ok(command) => command,
            Err(fault) => return Ok(Err(fault)),
        };
        let front = self.fronts.load_full();
        // Who is no operator any more by the configuration of now is none.
        self.access = front.console.access(&self.user).ok_or_else(|| self.client.control.reason())?;
        if let Err(fault) = self.check_access(&command) {
            return Ok(Err(fault));
        }
        let mut running = std::pin::pin!(front.run_command(&command, self.access));
        let client = &mut self.client;
        let done = std::future::poll_fn(|cx| {
            use std::task::Poll;
            if let Poll::Ready(done) = running.as_mut().poll(cx) {
                return Poll::Ready(Ok(done));
            }
            if client.control.poll_end(cx).is_ready() {
                return Poll::Ready(Err(End::Fatal(client.control.reason())));
            }
            client.poll_watch(cx).map(|gone| Err(gone.into()))
        });
        let done = done.await?;
        for notice in &done.warnings {
            let level = match notice.code {
                SqlState::SUCCESSFUL_COMPLETION => NoticeLevel::Notice,
                _ => NoticeLevel::Warning,
            };
            reply::notice(&mut self.client.out, level, notice);
        }
        Ok(done.rows)
    }

    /// Who may only look changes nothing. What changes something is logged, with who has done it.
    fn check_access(&self, command: &Command) -> Result<(), Fault> {
        if command.access() == Access::Stats {
            return Ok(());
        }
        let allowed = self.access >= command.access();
        tracing::info!(target: "pgloom::audit", user = %self.user, allowed, ?command, "console command");
        if allowed {
            return Ok(());
        }
        Err(Fault::new(SqlState::INSUFFICIENT_PRIVILEGE, format!("permission denied for {}", command.tag()))
            .detail("the user is one of stats_users, who may only look")
            .hint("Connect as one of admin_users."))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_this_machine_needs_no_tls() {
        let private = |tls, ip: &str| is_private(tls, Some(ip.parse().unwrap()));
        assert!(private(false, "127.0.0.1") && private(false, "::1") && private(false, "::ffff:127.0.0.1"));
        assert!(!private(false, "10.0.0.7") && !private(false, "2001:db8::1") && !is_private(false, None));
        assert!(private(true, "10.0.0.7"));
    }

    #[test]
    fn who_is_both_may_do_everything() {
        let rules = ConsoleRules {
            admins: ["ops".into()].into(),
            stats: ["ops".into(), "watch".into()].into(),
            plaintext: false,
        };
        let access = ["ops", "watch", "app"].map(|user| rules.access(user));
        assert_eq!(access, [Some(Access::Admin), Some(Access::Stats), None]);
        assert!(Access::Admin > Access::Stats);
    }
}

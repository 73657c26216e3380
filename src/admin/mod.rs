//! What SHOW tells of the running router, and the commands of the console: one producer of rows for sessions (`SHOW pgloom.pools`) and for
//! the console (`SHOW POOLS`).

mod clients;
pub mod command;
pub mod map_state;
mod placement;
pub mod pools;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod reference;
pub mod rows;
pub mod shows;
mod stats;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::backend::Backend;
use crate::backend::cluster::{Cluster, Database, ServerPool};
use crate::control::map::MapState;
use crate::control::transactions::{self, Prepared};
use crate::fault::Fault;
use crate::types::canonical::KeyValue;
pub use rows::{Answer, LocalRows};
pub use shows::{Show, What};

/// What somebody may do in the console.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// SHOW, and nothing else.
    Stats,
    Admin,
}

impl Access {
    pub fn label(self) -> &'static str {
        match self {
            Self::Stats => "stats",
            Self::Admin => "admin",
        }
    }
}

/// A client, as it is now.
#[derive(Clone, Debug)]
pub struct ClientView {
    pub id: u32,
    pub database: Arc<str>,
    pub user: Arc<str>,
    pub peer: Option<SocketAddr>,
    pub local: Option<SocketAddr>,
    pub tls: Box<str>,
    /// The number of its socket among the open files of this process.
    pub fd: RawFd,
    pub connected: SystemTime,
    /// When its last statement was read.
    pub request: Option<SystemTime>,
    /// How long its statement has waited for server connections; `None`: it does not.
    pub waited: Option<Duration>,
    pub to_be_closed: bool,
    /// The ids of the server connections that it has.
    pub servers: Vec<u64>,
    pub application: Box<str>,
    pub prepared: usize,
    /// Cancel requests of its own that are being passed on.
    pub cancels: usize,
    /// Bytes that it does not take now.
    pub unsent: usize,
}

/// A user that may log in.
#[derive(Clone, Debug)]
pub struct UserView {
    pub name: Box<str>,
    pub pool_size: Option<usize>,
    /// `None`: as the database says.
    pub session_mode: Option<bool>,
    pub console: Option<Access>,
    /// Its clients at one time; 0: any number.
    pub max_clients: usize,
}

/// Another router.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerView {
    pub number: u16,
    /// `host:port`.
    pub address: Box<str>,
    /// Requests that may be on their way to all of them.
    pub places: usize,
    /// Those that are on their way to it, and the connections that are for them.
    pub requests: usize,
    pub connections: usize,
}

/// What memory is kept for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryView {
    pub name: &'static str,
    /// Bytes of all that are used.
    pub bytes: usize,
    pub used: usize,
    pub free: usize,
}

/// A setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigView {
    pub key: &'static str,
    pub value: String,
    pub default: &'static str,
    pub changeable: bool,
}

/// A logical database, with the map and catalog that it is looked at with.
pub struct Seen {
    pub database: Arc<Database>,
    pub cluster: Arc<Cluster>,
}

impl Seen {
    pub fn now(database: &Arc<Database>) -> Self {
        Self { database: Arc::clone(database), cluster: database.cluster.load_full() }
    }
}

/// What SHOW looks at.
#[derive(Default)]
pub struct Look<'a> {
    /// By name.
    pub databases: Vec<Seen>,
    /// The only user whose pools are shown; `None`: everybody's.
    pub user: Option<&'a str>,
    pub clients: Vec<ClientView>,
    pub users: Vec<UserView>,
    /// Clients of a database at one time, where there is a limit.
    pub max_clients: HashMap<Box<str>, usize>,
    pub config: Vec<ConfigView>,
    /// Where the map does not stand in the configuration.
    pub map: Option<Arc<MapState>>,
    /// Other routers, by their numbers.
    pub peers: Vec<PeerView>,
    /// What the router as a whole keeps, beside what belongs to databases.
    pub memory: Vec<MemoryView>,
    /// Clients that have not come in yet.
    pub knocking: usize,
    /// By SUSPEND.
    pub suspended: bool,
    /// Whoever looks may see the keys of customers.
    pub sees_keys: bool,
}

impl Look<'_> {
    pub fn rows(&self, what: What) -> LocalRows {
        let rows = match what {
            What::ActiveSockets => self.sockets(true),
            What::Breakers => self.breakers(),
            What::Clients => self.clients(),
            What::Config => self.config(),
            What::Databases => self.databases(),
            What::Distributions => self.distributions(),
            What::DnsHosts => self.dns_hosts(),
            // The operating system is asked for names, and knows of their zones.
            What::DnsZones => Vec::new(),
            What::Fds => self.fds(),
            What::Help => command::help(),
            What::HotKeys => self.hot_keys(),
            What::Lists => self.lists(),
            What::Mem => self.mem(),
            What::Peers => self.peers(),
            What::PeerPools => self.peer_pools(),
            What::Pools => self.pools(),
            What::Schemas => self.schemas(),
            What::Servers => self.servers(),
            What::ShardPools => self.shard_pools(),
            What::ShardServers => self.shard_servers(),
            What::Shards => self.shards(),
            What::Sockets => self.sockets(false),
            What::State => self.state(),
            What::Stats => self.stats(),
            What::StatsAverages => self.stats_averages(),
            What::StatsTotals => self.stats_totals(),
            What::Tables => self.tables(),
            What::Totals => self.totals(),
            // Whoever can wait asks the shards for them, or takes them in pieces: `prepared`, `map`.
            What::Transactions | What::Map => Vec::new(),
            What::Users => self.users(),
            What::Version => vec![vec![text(concat!("pgloom ", env!("CARGO_PKG_VERSION")))]],
        };
        what.show().answer(rows)
    }

    /// What is prepared on the shards; and those that cannot be asked, as warnings.
    pub async fn prepared(&self) -> (LocalRows, Vec<Fault>) {
        let (mut rows, mut warnings) = (Vec::new(), Vec::new());
        for seen in &self.databases {
            let listing = transactions::list(&seen.database).await;
            rows.extend(listing.prepared.into_iter().map(prepared_row));
            warnings.extend(listing.failed.into_iter().map(|(shard, fault)| {
                Fault::new(crate::fault::SqlState::WARNING, format!("shard {shard} cannot be asked"))
                    .detail(fault.to_string())
            }));
        }
        (What::Transactions.show().answer(rows), warnings)
    }

    fn peers(&self) -> Vec<Vec<Option<String>>> {
        let row = |peer: &PeerView| {
            let (host, port) = pools::parted(&peer.address);
            vec![text(peer.number), text(host), text(port), text(peer.places)]
        };
        self.peers.iter().map(row).collect()
    }

    /// One row for each router, as PgBouncer's; PEERS has one for each of its addresses.
    fn peer_pools(&self) -> Vec<Vec<Option<String>>> {
        let mut routers: Vec<&PeerView> = self.peers.iter().collect();
        routers.dedup_by_key(|peer| peer.number);
        let row =
            |peer: &&PeerView| vec![text(peer.number), text(peer.requests), text(0), text(peer.connections), text(0)];
        routers.iter().map(row).collect()
    }

    fn mem(&self) -> Vec<Vec<Option<String>>> {
        let pools: Vec<_> = self.databases.iter().flat_map(|seen| seen.database.all_pools()).collect();
        let of_servers = || pools.iter().flat_map(|(_, pools)| pools.all());
        let of_each = |name, used: usize, size: usize| MemoryView { name, bytes: used * size, used, free: 0 };
        let own = [
            of_each("server_cache", of_servers().map(|pool| pool.members().len()).sum(), size_of::<Backend>()),
            of_each("pool_cache", of_servers().count(), size_of::<ServerPool>()),
        ];
        let cell = |number: usize| text(i32::try_from(number).unwrap_or(i32::MAX));
        let row = |view: &MemoryView| {
            let size = view.bytes.checked_div(view.used).unwrap_or(0);
            vec![text(view.name), cell(size), cell(view.used), cell(view.free), text(view.bytes)]
        };
        self.memory.iter().chain(&own).map(row).collect()
    }

    fn config(&self) -> Vec<Vec<Option<String>>> {
        let row = |setting: &ConfigView| {
            let changeable = if setting.changeable { "yes" } else { "no" };
            vec![text(setting.key), text(&setting.value), text(setting.default), text(changeable)]
        };
        self.config.iter().map(row).collect()
    }

    fn state(&self) -> Vec<Vec<Option<String>>> {
        let row = |key: &str, is: bool| vec![text(key), text(if is { "yes" } else { "no" })];
        let paused =
            !self.databases.is_empty() && self.databases.iter().all(|seen| seen.database.traffic().is_paused());
        vec![row("active", !paused && !self.suspended), row("paused", paused), row("suspended", self.suspended)]
    }
}

fn prepared_row(part: Prepared) -> Vec<Option<String>> {
    let age = format!("{:.1}s", part.age_seconds);
    let decision = part.decision.label().to_owned();
    [part.gid, part.shard, part.database, part.owner, age, part.anchor, decision].map(Some).to_vec()
}

fn text(value: impl ToString) -> Option<String> {
    Some(value.to_string())
}

fn flag(is: bool) -> Option<String> {
    text(u8::from(is))
}

/// A moment as PgBouncer writes it.
fn moment(at: SystemTime) -> String {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    // Postgres's own timestamps begin with the year 2000.
    let seconds = i64::try_from(since).unwrap_or(i64::MAX / 4_000_000) - 946_684_800;
    format!("{} UTC", KeyValue::Timestamp(seconds * 1_000_000))
}

/// Whole seconds, and the microseconds beside them.
fn parts(time: Duration) -> [Option<String>; 2] {
    let seconds = i32::try_from(time.as_secs()).unwrap_or(i32::MAX);
    [text(seconds), text(time.subsec_micros())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_as_pgbouncer_writes_them() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_732_870_801);
        assert_eq!(moment(at), "2024-11-29 09:00:01 UTC");
        assert_eq!(parts(Duration::from_millis(1_250)), [text("1"), text("250000")]);
    }
}

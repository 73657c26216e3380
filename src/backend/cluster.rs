//! `Cluster`: topology, catalog and pools of one moment, swapped whole by arc-swap.

use std::borrow::Cow;
use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::watch;

use crate::backend::asked::AuthQuery;
use crate::backend::combiners::CombineServers;
use crate::backend::connector::{Credentials, ServerAccess, ServerConnector};
use crate::backend::hot_keys::HotKeys;
use crate::backend::pool::{Checkout, Pool, PoolLimits};
use crate::backend::rules::Rules;
use crate::backend::sequences::SequenceBlocks;
use crate::backend::servers::ShardServers;
use crate::backend::stats::Stats;
use crate::backend::succession::Lasting;
use crate::backend::user_pools::UserPools;
use crate::catalog::Catalog;
use crate::catalog::numbers::Numbered;
use crate::config::{ReadPreference, TimeLimits, TimeWishes, TwoPhaseCommit, UniqueRule};
use crate::fault::Fault;
use crate::ids::{ShardId, ShardSet};
use crate::topology::{Server, Shard, StoredRules, Topology};

pub type ServerPool = Pool<ServerConnector>;
pub type ServerCheckout = Checkout<ServerConnector>;

/// The map and catalog of one moment. A statement, or its whole transaction, holds one `Arc` of it.
pub struct Cluster {
    pub topology: Arc<Topology>,
    pub catalog: Arc<Catalog>,
    /// Whether the catalog was ever read: before that nothing can be routed.
    pub catalog_known: bool,
    /// Greater than that of every view before: see [`Traffic`](crate::backend::traffic::Traffic).
    pub turn: u64,
    /// When it came: what it says was true on the primaries by then. Replicas that lack what was written before are not asked by it.
    pub since: Instant,
}

/// How the last attempt to read a database's catalog ended.
#[derive(Clone, Debug)]
pub enum Look {
    /// The router has just started.
    Pending,
    Read,
    Failed(Fault),
    /// The router has nothing to log in with before a client has shown it.
    Locked(Fault),
}

/// How a user works in a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// How its connections log in at the shards.
    pub credentials: Credentials,
    /// Connections to each shard; `None`: as the database says.
    pub pool_size: Option<usize>,
    /// `None`: as the database says.
    pub session_mode: Option<bool>,
    pub times: TimeWishes,
    /// For a connection to a server; `None`: as the database says.
    pub connect_timeout: Option<Duration>,
    /// For a login there; `None`: as the database says, `Some(None)`: what is left of the other one.
    pub login_timeout: Option<Option<Duration>>,
    /// `None`: as the database says.
    pub read_preference: Option<ReadPreference>,
    /// Comments before its statements may say so as well.
    pub takes_hints: bool,
}

impl Membership {
    /// Of somebody whom the configuration does not have: in all as the database says.
    fn of_asked(credentials: Credentials) -> Self {
        Self {
            credentials,
            pool_size: None,
            session_mode: None,
            times: TimeWishes::default(),
            connect_timeout: None,
            login_timeout: None,
            read_preference: None,
            takes_hints: false,
        }
    }
}

/// What a configuration says of a logical database.
#[derive(Clone)]
pub struct DatabaseSettings {
    pub topology: Topology,
    pub access: ServerAccess,
    pub limits: PoolLimits,
    pub combine_size: usize,
    pub combine: Vec<Server>,
    pub own: Credentials,
    pub logins: Vec<Credentials>,
    pub safe_functions: Vec<crate::ids::QualifiedName>,
    pub uniques: Vec<UniqueRule>,
    pub session_mode: bool,
    pub read_preference: ReadPreference,
    pub two_phase_commit: TwoPhaseCommit,
    pub times: TimeLimits,
    /// What one value of the sharding key may have; `None`: whatever it asks for.
    pub key_rate: Option<NonZeroU32>,
    /// How many statements of one value may run at a time, and how long others wait.
    pub key_places: Option<NonZeroU32>,
    /// Those who may connect.
    pub members: HashMap<Box<str>, Membership>,
    /// How the home shard is asked for others who may; `None`: there are none.
    pub auth_query: Option<AuthQuery>,
}

/// One logical database that clients connect to, under one configuration. Another configuration is another value, its successor: see
/// [`crate::backend::succession`].
pub struct Database {
    pub name: Arc<str>,
    pub cluster: ArcSwap<Cluster>,
    /// The topology of the configuration alone.
    pub configured: Arc<Topology>,
    pub rules: Arc<Rules>,
    pub(super) lasting: Lasting,
    /// What has taken its place; `None` within: nothing, the configuration does not have it any more.
    pub(super) successor: OnceLock<Option<Arc<Database>>>,
    /// Those who may connect.
    pub members: HashMap<Box<str>, Membership>,
    /// How the home shard is asked for others who may; `None`: there are none.
    pub auth_query: Option<AuthQuery>,
    pub access: ServerAccess,
    pub limits: PoolLimits,
    /// Combine connections for each user and server.
    pub combine_size: usize,
    /// The servers beside the shards that finish statements.
    pub combine: Arc<CombineServers>,
    /// By client user.
    pub(super) pools: Mutex<HashMap<Box<str>, Arc<UserPools>>>,
    /// The credentials with which the router itself reads catalogs and resolves transactions.
    pub own: Credentials,
    /// Those with which clients' statements run on the shards: what they have prepared, only they may finish, or a superuser.
    pub logins: Vec<Credentials>,
    /// Functions that the config declares to touch no sharded table.
    pub safe_functions: Vec<crate::ids::QualifiedName>,
    /// Values that are unique over all shards.
    pub uniques: Vec<UniqueRule>,
    /// The shards that can be asked for the rows of such values.
    pub finds: Finds,
    /// Server connections stay with their client until it leaves.
    pub session_mode: bool,
    /// Which servers answer reads, where neither user nor session say.
    pub read_preference: ReadPreference,
    /// How a transaction that wrote on several shards is committed.
    pub two_phase_commit: TwoPhaseCommit,
    /// How long things may take here, before a user or a session says otherwise.
    pub times: TimeLimits,
    /// What one value of the sharding key may have; `None`: whatever it asks for.
    pub key_rate: Option<NonZeroU32>,
    /// How many statements of one value may run at a time, and how long others wait.
    pub key_places: Option<NonZeroU32>,
    /// Values of sequences that are taken and not given out yet.
    pub sequences: SequenceBlocks,
    pub stats: Arc<Stats>,
    /// The keys that statements ask for most.
    pub hot_keys: Arc<HotKeys>,
    /// What its sharded tables hold, by shard, where that was asked.
    pub sizes: Arc<Mutex<Vec<ShardSize>>>,
    /// Nobody else may come in.
    pub disabled: Arc<AtomicBool>,
    look: watch::Sender<Look>,
    /// What was last read of each shard's catalog; whoever reads holds it.
    pub parts: tokio::sync::Mutex<HashMap<ShardId, Arc<Catalog>>>,
    /// What was last read of how the shards number what users have made.
    pub numbered: tokio::sync::Mutex<ShardNumbers>,
}

/// What users have made on the home shard, and what other shards were found to have since that is as it is.
#[derive(Default)]
pub struct ShardNumbers {
    pub home: Arc<Numbered>,
    pub others: HashMap<ShardId, Arc<Numbered>>,
    /// Those that did not answer, and when they were asked last.
    pub silent: HashMap<ShardId, Instant>,
}

/// What the sharded tables of one shard hold, as its Postgres estimates it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardSize {
    pub shard: Arc<str>,
    pub rows: u64,
    pub bytes: u64,
}

/// Shards that are known to have the function that finds rows by their unique values. It is never taken away.
#[derive(Default)]
pub struct Finds(Mutex<ShardSet>);

impl Finds {
    pub fn knows(&self, shard: ShardId) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(shard)
    }

    pub fn note(&self, shard: ShardId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(shard);
    }
}

impl Database {
    /// A database that has not been here before.
    pub fn new(name: Arc<str>, settings: DatabaseSettings) -> Arc<Self> {
        let combine = CombineServers::new(settings.combine.clone());
        Self::build(
            name,
            settings,
            combine,
            Lasting::default(),
            Catalog { generation: first_generation(), ..Catalog::default() },
        )
    }

    /// `catalog`: not read yet; of the generation that is to be the one before the first.
    pub(super) fn build(
        name: Arc<str>,
        settings: DatabaseSettings,
        combine: Arc<CombineServers>,
        lasting: Lasting,
        catalog: Catalog,
    ) -> Arc<Self> {
        let configured = Arc::new(settings.topology);
        let cluster = Cluster {
            topology: Arc::new(lasting.placed(&configured)),
            catalog: Arc::new(catalog),
            catalog_known: false,
            turn: lasting.traffic.next_turn(),
            since: Instant::now(),
        };
        Arc::new(Self {
            rules: Arc::clone(&lasting.rules),
            stats: Arc::clone(&lasting.stats),
            hot_keys: Arc::clone(&lasting.hot_keys),
            sizes: Arc::clone(&lasting.sizes),
            disabled: Arc::clone(&lasting.disabled),
            lasting,
            successor: OnceLock::new(),
            members: settings.members,
            auth_query: settings.auth_query,
            name,
            cluster: ArcSwap::from_pointee(cluster),
            configured,
            access: settings.access,
            limits: settings.limits,
            combine_size: settings.combine_size,
            combine,
            pools: Mutex::default(),
            own: settings.own,
            logins: settings.logins,
            safe_functions: settings.safe_functions,
            uniques: settings.uniques,
            finds: Finds::default(),
            session_mode: settings.session_mode,
            read_preference: settings.read_preference,
            two_phase_commit: settings.two_phase_commit,
            times: settings.times,
            key_rate: settings.key_rate,
            key_places: settings.key_places,
            sequences: SequenceBlocks::default(),
            look: watch::Sender::new(Look::Pending),
            parts: tokio::sync::Mutex::default(),
            numbered: tokio::sync::Mutex::default(),
        })
    }

    /// Notes how an attempt to read the catalog ended.
    pub fn note_look(&self, look: Look) {
        self.look.send_replace(look);
    }

    /// How the last attempt to read the catalog ended; waits for the first one, and for the first one with what a client has shown.
    pub async fn look(&self) -> Look {
        let mut looks = self.look.subscribe();
        let seen = looks
            .wait_for(|look| match look {
                Look::Pending => false,
                Look::Locked(_) => self.own.are_awaited(),
                Look::Read | Look::Failed(_) => true,
            })
            .await;
        seen.map_or(Look::Pending, |look| look.clone())
    }

    /// The pools of one client user, made at its first login. `None`: it may not connect.
    pub fn pools(&self, user: &str) -> Option<Arc<UserPools>> {
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        // Under the lock: who was told of an earlier password does not put it back.
        let member = self.member(user)?;
        let found = pools.get(user);
        // One that the home shard has told of may have another password now.
        if let Some(found) = found.filter(|found| *found.credentials() == member.credentials) {
            return Some(Arc::clone(found));
        }
        let made = UserPools::new(self, &self.configured, &member, found.map(|found| &**found));
        pools.insert(user.into(), Arc::clone(&made));
        Some(made)
    }

    /// How a user works here. `None`: it may not connect.
    pub fn member(&self, user: &str) -> Option<Cow<'_, Membership>> {
        if let Some(member) = self.members.get(user) {
            return Some(Cow::Borrowed(member));
        }
        self.auth_query.as_ref()?;
        Some(Cow::Owned(Membership::of_asked(self.asked().credentials(user)?)))
    }

    /// Whether a user's server connections stay with it until it leaves.
    pub fn keeps_connections(&self, user: &str) -> bool {
        let own = self.members.get(user).and_then(|member| member.session_mode);
        own.unwrap_or(self.session_mode)
    }

    /// How long things may take for a user, before its session says otherwise.
    pub fn times_of(&self, user: &str) -> TimeLimits {
        self.members.get(user).map_or(self.times, |member| self.times.with(&member.times))
    }

    /// Which servers answer a user's reads, where its session does not say.
    pub fn prefers(&self, user: &str) -> ReadPreference {
        let own = self.members.get(user).and_then(|member| member.read_preference);
        own.unwrap_or(self.read_preference)
    }

    /// Whether comments before a user's statements are looked at.
    pub fn takes_hints(&self, user: &str) -> bool {
        self.members.get(user).is_some_and(|member| member.takes_hints)
    }

    /// The servers of a shard of this database.
    pub fn servers(&self, shard: &Shard) -> Arc<ShardServers> {
        self.access.servers.of(&self.name, shard, &self.access.breakers)
    }

    /// Every pool that exists now, with its user.
    pub fn all_pools(&self) -> Vec<(Box<str>, Arc<UserPools>)> {
        let pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> = pools.iter().map(|(user, p)| (user.clone(), Arc::clone(p))).collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    }

    /// Swaps in the rules of a later epoch, and closes the connections that were made under those of before a new fence. One that is in
    /// use is closed when it is given back. Rules of an epoch that has gone by are left alone.
    pub fn set_rules(&self, stored: &StoredRules) {
        let mut placements = self.lasting.placements();
        if stored.epoch <= placements.stored.epoch {
            return;
        }
        placements.stored = stored.clone();
        let newest = self.newest();
        let all = || std::iter::once(self).chain(newest.as_deref());
        for database in all() {
            database.put_topology(placements.over(&database.configured));
        }
        // Behind the rules: who sees the fence has them.
        self.rules.raise(stored.fence);
        all().for_each(Self::sweep);
    }

    /// The topology is another one. Who has planned under the one before plans anew: by its epoch, or by the catalog's generation.
    pub(super) fn put_topology(&self, topology: Topology) {
        let topology = Arc::new(topology);
        self.cluster.rcu(|old| {
            let catalog = match topology.epoch > old.topology.epoch {
                true => Arc::clone(&old.catalog),
                false => {
                    let mut catalog = Catalog::clone(&old.catalog);
                    catalog.generation += 1;
                    Arc::new(catalog)
                }
            };
            let turn = self.lasting.traffic.next_turn();
            let (topology, catalog_known) = (Arc::clone(&topology), old.catalog_known);
            Arc::new(Cluster { topology, catalog, catalog_known, turn, since: Instant::now() })
        });
    }

    /// Closes the idle connections that nobody may use any more.
    pub fn sweep(&self) {
        let now = Instant::now();
        for (_, pools) in self.all_pools() {
            pools.all().iter().for_each(|pool| pool.sweep(now));
        }
    }

    /// Every server connection that is open now is closed when its client gives it back.
    pub fn reconnect(&self) {
        let now = Instant::now();
        for (_, pools) in self.all_pools() {
            pools.all().iter().for_each(|pool| pool.retire(now));
        }
    }

    /// Swaps in a newer catalog. One that says the same is not newer, unless the servers' own plans are known to be `stale`: what
    /// was derived from it, and what is prepared on the servers, stays good.
    pub fn set_catalog(&self, mut catalog: Catalog, stale: bool) {
        self.cluster.rcu(|old| {
            catalog.generation = old.catalog.generation;
            if !stale && old.catalog_known && catalog == *old.catalog {
                return Arc::clone(old);
            }
            catalog.generation += 1;
            Arc::new(Cluster {
                topology: Arc::clone(&old.topology),
                catalog: Arc::new(catalog.clone()),
                catalog_known: true,
                turn: self.lasting.traffic.next_turn(),
                since: Instant::now(),
            })
        });
    }
}

/// Databases come and go, and their names return: no two of them ever have a generation of the catalog in common.
fn first_generation() -> u64 {
    static MADE: AtomicU64 = AtomicU64::new(0);
    MADE.fetch_add(1, Ordering::Relaxed) << 40
}

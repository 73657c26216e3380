//! `UserPools`: all connections of one user of one database, one pool for each server and purpose.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::backend::cluster::{Database, Membership, ServerPool};
use crate::backend::connector::{Aim, Credentials, ServerAccess, ServerConnector, Start};
use crate::backend::defaults::HomeDefaults;
use crate::backend::gate::Gate;
use crate::backend::pool::{Pool, PoolLimits};
use crate::backend::servers::ShardServers;
use crate::backend::turns::Place;
use crate::fault::{Fault, SqlState};
use crate::ids::ShardId;
use crate::topology::{Server, Topology};

/// The pools of one user of one database: one for each shard's primary, the one of combine connections to the home shard, one for
/// each server beside the shards, and one for each server of a shard of several, in case it is a replica. They share a gate.
pub struct UserPools {
    pools: Vec<Arc<ServerPool>>,
    /// How many of `pools` are those of shards.
    shards: usize,
    /// How many are those of servers beside them.
    beside: usize,
    /// Of each shard of several servers, where the pools of its replicas begin.
    replicas: Vec<Option<usize>>,
    gate: Arc<Gate>,
    /// Of the places behind the gate, which of `pools` has it. Others are of pools from before.
    by_place: Vec<Option<usize>>,
    credentials: Credentials,
    /// The servers that have `defaults`.
    home: Arc<ShardServers>,
    combine_size: usize,
    /// How many combine connections may stay with their clients: the other half is for statements that end.
    keeps: Arc<Semaphore>,
    /// The settings that this user's logins begin with.
    pub defaults: Arc<HomeDefaults>,
    /// Others have taken their place.
    over: AtomicBool,
}

impl UserPools {
    /// The pools of a user of this database. Those of `before` that would be the same ones are the same ones, with the limits of now; the
    /// others retire.
    pub fn new(of: &Database, topology: &Topology, member: &Membership, before: Option<&Self>) -> Arc<Self> {
        let (credentials, combine_size) = (member.credentials.clone(), of.combine_size);
        let limits = PoolLimits { size: member.pool_size.unwrap_or(of.limits.size), ..of.limits.clone() };
        let servers = |shard: ShardId| of.servers(topology.shard(shard));
        let home = servers(topology.home);
        let alike = before.filter(|before| before.credentials == credentials && Arc::ptr_eq(&before.home, &home));
        let defaults = alike.map(|before| Arc::clone(&before.defaults)).unwrap_or_default();
        let gate = before.map(|before| Arc::clone(&before.gate)).unwrap_or_default();
        gate.set_share(match limits.share {
            100.. => None,
            share => Some((limits.size * share / 100).max(1)),
        });
        let access = &ServerAccess {
            connect_timeout: member.connect_timeout.unwrap_or(of.access.connect_timeout),
            login_timeout: member.login_timeout.unwrap_or(of.access.login_timeout),
            ..of.access.clone()
        };
        let pool = |id: ShardId, aim: Aim, limits: &PoolLimits, old: &[Arc<ServerPool>]| {
            let start = match &aim {
                Aim::One(_) | Aim::Primary(_) if id == topology.home => Start::Home(Arc::clone(&defaults)),
                Aim::One(_) | Aim::Primary(_) | Aim::Replica(..) => {
                    Start::Alike(Arc::clone(&defaults), Arc::clone(&home))
                }
            };
            // Servers beside the shards have no tables of the users', and what is read on replicas cannot be moved.
            let marked = !id.is_combine() && !matches!(aim, Aim::Replica(..));
            let rules = marked.then(|| Arc::clone(&of.rules));
            let name = if id.is_combine() { "combine" } else { &topology.shard(id).name };
            let metrics = Some(access.metrics.shard(&of.name, name));
            let plain = ServerConnector::new(id, aim, &credentials, access, start);
            let connector = ServerConnector { rules, metrics, ..plain };
            match old.iter().find(|old| old.connector.is_like(&connector)) {
                Some(old) => {
                    old.set_limits(limits.clone());
                    Arc::clone(old)
                }
                None => Pool::new(connector, limits.clone(), &gate),
            }
        };
        let old = |which: fn(&Self) -> &[Arc<ServerPool>]| before.map_or(&[][..], which);
        let primary = |shard: ShardId| Aim::primary(&servers(shard), &of.access);
        let of_shards = old(|before| &before.pools[..before.shards]);
        let shards = topology.all_shards();
        let mut pools: Vec<_> = shards.iter().map(|shard| pool(shard, primary(shard), &limits, of_shards)).collect();
        let finish =
            PoolLimits { size: combine_size, min_size: 0, size_setting: "[combine] pool_size", ..limits.clone() };
        let shards = pools.len();
        let own = old(|before| std::slice::from_ref(before.combine()));
        pools.push(pool(topology.home, primary(topology.home), &finish, own));
        // No shard's: nobody is to look there for what waits on a shard.
        let beside = old(Self::combiners);
        let aim = |server: &Server| Aim::one(server, &of.access);
        pools.extend(of.combine.servers().map(|server| pool(ShardId::combine(0), aim(server), &finish, beside)));
        let beside = pools.len() - shards - 1;
        let old_replicas = old(Self::replica_pools);
        let limits = PoolLimits { min_size: 0, ..limits };
        let mut replicas = Vec::with_capacity(shards);
        for shard in topology.all_shards().iter() {
            let servers = servers(shard);
            replicas.push((!servers.is_lone()).then_some(pools.len()));
            if !servers.is_lone() {
                let aims = (0..servers.members().len()).map(|at| Aim::Replica(Arc::clone(&servers), at));
                pools.extend(aims.map(|aim| pool(shard, aim, &limits, old_replicas)));
            }
        }
        let keeps = before.filter(|before| before.combine_size == combine_size).map(|before| Arc::clone(&before.keeps));
        let keeps = keeps.unwrap_or_else(|| Arc::new(Semaphore::new(combine_size / 2)));
        let mut by_place = Vec::new();
        for (at, pool) in pools.iter().enumerate() {
            by_place.resize(by_place.len().max(pool.place() + 1), None);
            by_place[pool.place()] = Some(at);
        }
        if let Some(before) = before {
            before.over.store(true, Ordering::Release);
            let kept = |old: &&Arc<ServerPool>| !pools.iter().any(|pool| Arc::ptr_eq(pool, old));
            before.pools.iter().filter(kept).for_each(|pool| pool.dissolve());
        }
        Arc::new(Self {
            pools,
            shards,
            beside,
            replicas,
            gate,
            by_place,
            credentials,
            home,
            combine_size,
            keeps,
            defaults,
            over: AtomicBool::new(false),
        })
    }

    /// Whether others have taken their place: of another configuration, or with another password.
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    /// Nobody comes to these pools any more.
    pub fn dissolve(&self) {
        self.pools.iter().for_each(|pool| pool.dissolve());
    }

    /// As whom its connections are logged in.
    pub fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// The right to keep a combine connection beyond its transaction.
    ///
    /// # Errors
    /// `53400` when half of them are kept already.
    pub fn keep_combine(&self) -> Result<OwnedSemaphorePermit, Fault> {
        Arc::clone(&self.keeps).try_acquire_owned().map_err(|_| {
            let size = self.combine().limits().size;
            Fault::new(SqlState::CONFIGURATION_LIMIT_EXCEEDED, "too many cursors WITH HOLD over several shards")
                .detail(format!(
                    "they keep {} of the {size} connections of [combine] pool_size, which is half of them",
                    size / 2
                ))
                .hint("Close cursors that are no longer needed, or raise [combine] pool_size.")
        })
    }

    /// The connections to the home shard on which Postgres finishes statements.
    pub fn combine(&self) -> &Arc<ServerPool> {
        &self.pools[self.shards]
    }

    /// The connections to a server beside the shards that finishes statements.
    pub fn combiner(&self, at: usize) -> &Arc<ServerPool> {
        &self.pools[self.shards + 1 + at]
    }

    /// All of those.
    pub fn combiners(&self) -> &[Arc<ServerPool>] {
        &self.pools[self.shards + 1..][..self.beside]
    }

    /// The connections to the server at this place of a shard, while it is a replica; `None` where the shard has one server.
    pub fn replica(&self, shard: ShardId, at: usize) -> Option<&Arc<ServerPool>> {
        let first = (*self.replicas.get(shard.index())?)?;
        self.pools.get(first + at)
    }

    /// Whether some shard has several servers.
    pub fn has_replicas(&self) -> bool {
        !self.replica_pools().is_empty()
    }

    fn replica_pools(&self) -> &[Arc<ServerPool>] {
        &self.pools[self.shards + 1 + self.beside..]
    }

    /// All of those, with their shards.
    pub fn replicas(&self) -> impl Iterator<Item = (ShardId, &Arc<ServerPool>)> {
        self.replica_pools().iter().map(|pool| (pool.connector.shard, pool))
    }

    /// The pool at this place behind the gate.
    pub fn at(&self, place: Place) -> &Arc<ServerPool> {
        let at = self.by_place.get(place).copied().flatten();
        &self.pools[at.expect("a place is that of one of these pools")]
    }

    pub fn pool(&self, shard: ShardId) -> &Arc<ServerPool> {
        &self.pools[shard.index()]
    }

    /// Those of shards, and those that finish statements.
    pub fn all(&self) -> &[Arc<ServerPool>] {
        &self.pools
    }

    pub fn iter(&self) -> impl Iterator<Item = (ShardId, &Arc<ServerPool>)> {
        self.pools[..self.shards].iter().enumerate().map(|(i, pool)| (ShardId(i as u16), pool))
    }
}

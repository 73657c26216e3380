//! One configuration of a logical database follows another: what stays, and how the one hands over to the other.
//!
//! A `Database` never changes what it was configured as; another configuration makes another one. Sessions go over to it when they begin
//! their next statement outside of a transaction (`session::succeed`), so a transaction has one map from its beginning to its end. Pools
//! whose connections would be made in the same way are the same pools; the others give up each connection as it comes back.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::backend::asked::{AskedUsers, AuthQuery};
use crate::backend::cluster::{Cluster, Database, DatabaseSettings, Look, ShardSize};
use crate::backend::combiners::CombineServers;
use crate::backend::hot_keys::HotKeys;
use crate::backend::key_places::KeyPlaces;
use crate::backend::rules::Rules;
use crate::backend::stats::Stats;
use crate::backend::throttle::Throttle;
use crate::backend::traffic::Traffic;
use crate::backend::user_pools::UserPools;
use crate::catalog::Catalog;
use crate::ids::QualifiedName;
use crate::topology::{Closed, StoredRules, Topology};

/// A database has no shard of this name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownShard;

/// What a logical database keeps under every configuration.
#[derive(Clone, Default)]
pub(super) struct Lasting {
    pub(super) rules: Arc<Rules>,
    pub(super) traffic: Arc<Traffic>,
    pub(super) throttle: Arc<Throttle>,
    pub(super) key_places: Arc<KeyPlaces>,
    pub(super) stats: Arc<Stats>,
    pub(super) hot_keys: Arc<HotKeys>,
    pub(super) sizes: Arc<Mutex<Vec<ShardSize>>>,
    pub(super) disabled: Arc<AtomicBool>,
    pub(super) asked: Arc<AskedUsers>,
    /// Whoever changes a topology, or hands over, holds it.
    placements: Arc<Mutex<Placements>>,
}

/// What is laid over the topology of the configuration.
#[derive(Debug, Default)]
pub(super) struct Placements {
    /// The rules that SQL has made.
    pub(super) stored: StoredRules,
    /// Tables that a new configuration places elsewhere, while somebody works who does not know that.
    closing: HashSet<QualifiedName>,
}

impl Placements {
    pub(super) fn over(&self, configured: &Topology) -> Topology {
        let mut topology = configured.with_rules(&self.stored);
        for table in &self.closing {
            topology.tables.remove(table);
            topology.from_sql.remove(table);
            topology.closed.insert(table.clone(), Closed::Moving);
        }
        topology
    }
}

impl Lasting {
    pub(super) fn placements(&self) -> MutexGuard<'_, Placements> {
        self.placements.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn placed(&self, configured: &Topology) -> Topology {
        self.placements().over(configured)
    }
}

impl Database {
    pub fn traffic(&self) -> &Arc<Traffic> {
        &self.lasting.traffic
    }

    /// The statements that run, by their keys.
    pub fn places_of_keys(&self) -> &Arc<KeyPlaces> {
        &self.lasting.key_places
    }

    /// Users whom the configuration does not have.
    pub fn asked(&self) -> &AskedUsers {
        &self.lasting.asked
    }

    /// Who counts statements by their keys.
    pub fn throttle(&self) -> &Throttle {
        &self.lasting.throttle
    }

    /// From now on new work waits; ends when what runs has ended. Given up before that, it is paused all the same.
    pub async fn pause(&self) {
        self.traffic().pause();
        // Without a limit nobody is left.
        let _ = self.traffic().come_to_rest(None).await;
    }

    /// False: it was not paused.
    pub fn resume(&self) -> bool {
        self.traffic().resume()
    }

    /// The same for what uses one shard. A transaction that has begun before goes on, also to this shard.
    ///
    /// # Errors
    /// There is no shard of this name.
    pub async fn pause_shard(&self, name: &str) -> Result<(), UnknownShard> {
        let shard = self.configured.shards.iter().find(|shard| *shard.name == *name).ok_or(UnknownShard)?;
        let turn = self.traffic().next_turn();
        self.traffic().pause_shard(Arc::clone(&shard.name), turn);
        // Who begins behind this works under a later turn.
        let newest = self.newest();
        newest.as_deref().unwrap_or(self).turn_over();
        let _ = self.traffic().settle(turn, None).await;
        Ok(())
    }

    /// False: it was not paused.
    pub fn resume_shard(&self, name: &str) -> bool {
        self.traffic().resume_shard(name)
    }

    /// Waits until nobody works who began before this call; nobody else is in the way of anybody.
    ///
    /// # Errors
    /// How many still do when the time is over.
    pub async fn outlast(&self, limit: Duration) -> Result<(), usize> {
        let turn = self.traffic().next_turn();
        self.turn_over();
        self.traffic().settle(turn, Some(limit)).await
    }

    /// The same view under a later turn.
    fn turn_over(&self) {
        self.cluster.rcu(|old| {
            let Cluster { topology, catalog, catalog_known, since, .. } = &**old;
            let (topology, catalog) = (Arc::clone(topology), Arc::clone(catalog));
            let turn = self.traffic().next_turn();
            Cluster { topology, catalog, catalog_known: *catalog_known, turn, since: *since }
        });
    }

    /// The same database under another configuration. Nobody is there yet; what was `read` of the catalog is that of the one before.
    pub fn next(&self, settings: DatabaseSettings) -> Arc<Self> {
        let same = self.combine.servers().eq(&settings.combine);
        let combine = if same { Arc::clone(&self.combine) } else { CombineServers::new(settings.combine.clone()) };
        let generation = self.cluster.load().catalog.generation;
        let catalog = Catalog { generation, ..Catalog::default() };
        let mut lasting = self.lasting.clone();
        let text = |query: &Option<AuthQuery>| query.as_ref().map(|query| Arc::clone(&query.text));
        if text(&self.auth_query) != text(&settings.auth_query) {
            // What another query has told counts no longer.
            lasting.asked = Arc::default();
        }
        Self::build(Arc::clone(&self.name), settings, combine, lasting, catalog)
    }

    /// Whether it is what this configuration would make of it.
    pub fn is_as(&self, settings: &DatabaseSettings) -> bool {
        *self.configured == settings.topology
            && self.access.is_like(&settings.access)
            && self.limits == settings.limits
            && self.combine_size == settings.combine_size
            && self.combine.servers().eq(&settings.combine)
            && self.own == settings.own
            && self.logins == settings.logins
            && self.safe_functions == settings.safe_functions
            && self.uniques == settings.uniques
            && self.session_mode == settings.session_mode
            && self.read_preference == settings.read_preference
            && self.two_phase_commit == settings.two_phase_commit
            && self.times == settings.times
            && self.key_rate == settings.key_rate
            && self.key_places == settings.key_places
            && self.members == settings.members
            && self.auth_query == settings.auth_query
    }

    /// Whether another configuration, or none, has taken its place.
    pub fn is_over(&self) -> bool {
        self.successor.get().is_some()
    }

    /// The configuration of now; `None`: this one is it, or there is none.
    pub fn newest(&self) -> Option<Arc<Self>> {
        let mut newest = self.successor.get()?.clone()?;
        while let Some(next) = newest.successor.get() {
            newest = next.clone()?;
        }
        Some(newest)
    }

    /// Nobody may touch these tables until they are [opened](Self::open_tables). Returns the turn of the first view that knows it.
    pub fn close_tables(&self, tables: HashSet<QualifiedName>) -> u64 {
        self.set_closing(tables);
        self.cluster.load().turn
    }

    pub fn open_tables(&self) {
        self.set_closing(HashSet::new());
    }

    fn set_closing(&self, tables: HashSet<QualifiedName>) {
        let mut placements = self.lasting.placements();
        placements.closing = tables;
        self.put_topology(placements.over(&self.configured));
    }

    /// The topology that `next` would have now.
    pub fn topology_of(&self, next: &Self) -> Topology {
        let placements = self.lasting.placements();
        next.configured.with_rules(&placements.stored)
    }

    /// From now on `next` is this database. Its catalog is the one that it has read, else that of before.
    pub fn hand_over(&self, next: &Arc<Self>) {
        let mut placements = self.lasting.placements();
        placements.closing.clear();
        let topology = placements.over(&next.configured);
        let (was, read) = (self.cluster.load_full(), next.cluster.load_full());
        let source = if read.catalog_known { &read } else { &was };
        let mut catalog = Catalog { generation: was.catalog.generation, ..Catalog::clone(&source.catalog) };
        // What was planned, and what is prepared on the servers, is good as long as nothing that it was planned with has changed.
        let same = topology == *was.topology
            && catalog == *was.catalog
            && next.safe_functions == self.safe_functions
            && next.uniques == self.uniques
            && Arc::ptr_eq(&next.combine, &self.combine);
        if !same {
            catalog.generation = was.catalog.generation.max(read.catalog.generation) + 1;
        }
        let catalog_known = source.catalog_known;
        let (topology, catalog) = (Arc::new(topology), Arc::new(catalog));
        let turn = self.lasting.traffic.next_turn();
        next.cluster.store(Arc::new(Cluster { topology, catalog, catalog_known, turn, since: Instant::now() }));
        if catalog_known {
            next.note_look(Look::Read);
        }
        next.take_pools(self);
        // A second one would have been made of what is over.
        let _ = self.successor.set(Some(Arc::clone(next)));
    }

    /// The configuration does not have this database any more.
    pub fn end(&self) {
        let _placements = self.lasting.placements();
        let _ = self.successor.set(None);
        for (_, pools) in self.all_pools() {
            pools.dissolve();
        }
    }

    fn take_pools(&self, before: &Self) {
        let mut pools = HashMap::new();
        for (user, old) in before.all_pools() {
            match self.member(&user) {
                Some(member) => drop(pools.insert(user, UserPools::new(self, &self.configured, &member, Some(&old)))),
                None => old.dissolve(),
            }
        }
        *self.pools.lock().unwrap_or_else(PoisonError::into_inner) = pools;
    }
}

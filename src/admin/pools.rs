//! Pools and the servers that they lead to: POOLS, SHARD_POOLS, DATABASES, DNS_HOSTS, BREAKERS.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::{Look, Seen, flag, parts, text};
use crate::backend::cluster::ServerPool;
use crate::backend::pool::MemberState;
use crate::backend::user_pools::UserPools;

/// A pool, and where it leads.
pub struct PoolAt<'a> {
    pub pool: &'a Arc<ServerPool>,
    /// The shard; of a server beside the shards its address.
    pub shard: String,
    /// `primary`, `replica` or `combine`.
    pub role: &'static str,
}

/// All pools of a user of a database.
pub fn pools_of<'a>(seen: &Seen, pools: &'a UserPools) -> Vec<PoolAt<'a>> {
    let topology = &seen.cluster.topology;
    let shards = pools.iter().map(|(shard, pool)| PoolAt {
        pool,
        shard: topology.shard(shard).name.to_string(),
        role: "primary",
    });
    let home = topology.shard(topology.home).name.to_string();
    let combine = PoolAt { pool: pools.combine(), shard: home, role: "combine" };
    let beside = pools.combiners().iter().map(|pool| PoolAt {
        pool,
        shard: pool.connector.address().to_string(),
        role: "combine",
    });
    let replicas = pools.replicas().map(|(shard, pool)| PoolAt {
        pool,
        shard: topology.shard(shard).name.to_string(),
        role: "replica",
    });
    shards.chain([combine]).chain(beside).chain(replicas).collect()
}

/// What the connections of pools do.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    active: usize,
    requests: usize,
    being_canceled: usize,
    idle: usize,
    used: usize,
    tested: usize,
    login: usize,
}

impl Sums {
    fn add(&mut self, pool: &ServerPool) {
        let counts = &pool.counts;
        let (login, tested) = (counts.login.load(Ordering::Relaxed), counts.tested.load(Ordering::Relaxed));
        let mut being_canceled = 0;
        for (member, state) in pool.members() {
            self.requests += member.requests();
            match state {
                MemberState::Active => {}
                MemberState::BeingCanceled => being_canceled += 1,
                MemberState::Idle => self.idle += 1,
                MemberState::Used => self.used += 1,
            }
        }
        self.login += login;
        self.tested += tested;
        self.being_canceled += being_canceled;
        self.active += counts.active.load(Ordering::Relaxed).saturating_sub(login + tested + being_canceled);
    }

    fn cells(&self) -> [Option<String>; 7] {
        let Self { active, requests, being_canceled, idle, used, tested, login } = self;
        [active, requests, being_canceled, idle, used, tested, login].map(text)
    }
}

/// `host:port` in its parts.
pub(super) fn parted(address: &str) -> (&str, &str) {
    address.rsplit_once(':').unwrap_or((address, "0"))
}

pub(super) fn mode(session: bool) -> &'static str {
    if session { "session" } else { "transaction" }
}

impl Look<'_> {
    /// The pools of a database with their users, as far as they are shown.
    pub(super) fn users_pools(&self, seen: &Seen) -> Vec<(Box<str>, Arc<UserPools>)> {
        let shown = |(user, _): &(Box<str>, _)| self.user.is_none_or(|only| only == &**user);
        seen.database.all_pools().into_iter().filter(shown).collect()
    }

    pub(super) fn pools(&self) -> Vec<Vec<Option<String>>> {
        let mut rows = Vec::new();
        for seen in &self.databases {
            for (user, pools) in self.users_pools(seen) {
                let mut sums = Sums::default();
                pools.all().iter().for_each(|pool| sums.add(pool));
                let database = &seen.database.name;
                let own = || self.clients.iter().filter(|c| c.database == *database && *c.user == *user);
                let waiting = own().filter(|client| client.waited.is_some()).count();
                let cancels: usize = own().map(|client| client.cancels).sum();
                let longest = own().filter_map(|client| client.waited).max().unwrap_or_default();
                let chosen = self.users.iter().find(|known| known.name == user).and_then(|known| known.session_mode);
                let mut row = vec![text(database), text(&user)];
                row.extend([own().count() - waiting, waiting, cancels, 0].map(text));
                row.extend(sums.cells());
                row.extend(parts(longest));
                row.push(text(mode(chosen.unwrap_or(seen.database.session_mode))));
                row.push(None);
                rows.push(row);
            }
        }
        rows
    }

    pub(super) fn shard_pools(&self) -> Vec<Vec<Option<String>>> {
        let mut rows = Vec::new();
        let now = Instant::now();
        for seen in &self.databases {
            for (user, pools) in self.users_pools(seen) {
                for PoolAt { pool, shard, role } in pools_of(seen, &pools) {
                    let address = pool.connector.address();
                    let (host, port) = parted(&address);
                    let mut sums = Sums::default();
                    sums.add(pool);
                    let mut row = vec![text(&seen.database.name), text(&user), text(shard), text(role)];
                    row.extend([text(host), text(port), text(pool.waiting())]);
                    row.extend(sums.cells());
                    row.extend(parts(pool.longest_wait(now)));
                    row.push(text(pool.limits().size));
                    row.push(text(pool.connector.breaker().report().state.label()));
                    rows.push(row);
                }
            }
        }
        rows
    }

    pub(super) fn databases(&self) -> Vec<Vec<Option<String>>> {
        let mut rows = Vec::new();
        for seen in &self.databases {
            let (database, topology) = (&seen.database, &seen.cluster.topology);
            let limits = &database.limits;
            let all = database.all_pools();
            let clients = self.clients.iter().filter(|client| client.database == database.name).count();
            for shard in topology.all_shards().iter() {
                let servers = database.servers(topology.shard(shard));
                // Where none is the primary now, the first that could be.
                let Some(member) = servers.primary().or(servers.members().first()) else { continue };
                let server = &member.server;
                let address = server.address();
                let here = all.iter().flat_map(|(_, pools)| pools.all());
                let here = here.filter(|pool| *pool.connector.address() == *address);
                let connections: usize = here.map(|pool| pool.members().len()).sum();
                let lifetime = limits.lifetime.map_or(0, |lifetime| lifetime.as_secs());
                let mut row = vec![text(&database.name), text(&server.host), text(server.port), text(&server.dbname)];
                row.push(None);
                row.extend([limits.size, limits.min_size, 0].map(text));
                row.extend([text(lifetime), text(mode(database.session_mode)), None]);
                let most = database.access.quotas.limit();
                let most_clients = self.max_clients.get(&*database.name).copied().unwrap_or(0);
                row.extend([most, connections, most_clients, clients].map(text));
                let traffic = database.traffic();
                let name = &topology.shard(shard).name;
                let paused = traffic.is_paused() || traffic.paused_shards().contains(name);
                row.extend([flag(paused), flag(database.disabled.load(Ordering::Relaxed))]);
                row.extend([text(&topology.shard(shard).name), flag(shard == topology.home)]);
                row.push(text(if limits.queue == usize::MAX { 0 } else { limits.queue }));
                row.push(text(database.key_rate.map_or(0, NonZeroU32::get)));
                row.push(text(database.key_places.map_or(0, NonZeroU32::get)));
                rows.push(row);
            }
        }
        rows
    }

    /// Names of servers; whatever database they are of, they are looked up once.
    pub(super) fn dns_hosts(&self) -> Vec<Vec<Option<String>>> {
        let now = Instant::now();
        let mut rows = BTreeMap::new();
        for Seen { database, .. } in &self.databases {
            let names = &database.access.names;
            let due = names.due().map(|due| due.saturating_duration_since(now).as_secs().to_string());
            for (host, addresses) in names.all() {
                let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
                rows.insert(Arc::clone(&host), vec![text(host), due.clone(), text(addresses.join(","))]);
            }
        }
        rows.into_values().collect()
    }

    pub(super) fn breakers(&self) -> Vec<Vec<Option<String>>> {
        let mut breakers = Vec::new();
        for Seen { database, cluster } in &self.databases {
            let shards = cluster.topology.shards.iter().flat_map(|shard| &shard.servers);
            let servers = shards.chain(database.combine.servers());
            breakers.extend(servers.map(|server| database.access.breakers.of(server)));
        }
        breakers.sort_by(|a, b| a.address.cmp(&b.address));
        breakers.dedup_by(|a, b| a.address == b.address);
        let rows = breakers.into_iter().map(|breaker| {
            let report = breaker.report();
            vec![
                text(&breaker.address),
                text(report.state.label()),
                text(report.failures),
                report.wait.map(|wait: Duration| wait.as_millis().to_string()),
                text(breaker.opened.load(Ordering::Relaxed)),
                text(breaker.rejected.load(Ordering::Relaxed)),
                report.cause.map(|cause| cause.to_string()),
            ]
        });
        rows.collect()
    }
}

//! Breaks deadlocks over shards: while transactions that hold several shards wait, asks the shards who waits for whom, and cancels one
//! of each circle. Who holds connections and waits for one more, of a pool that has none, waits for those who have them all.
//!
//! The shards are asked only while such a wait lasts. What other routers' transactions are is read from `pgloom.waiting` on the home
//! shard, where each router notes those of its own that wait, and only then.

pub mod graph;
pub mod knot;
mod waiting;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use crate::backend::Backend;
use crate::backend::cancel::CancelHandle;
use crate::backend::cluster::Database;
use crate::commit::Gid;
use crate::fault::Fault;
use crate::ids::ShardId;
use crate::metrics::Metrics;
use crate::topology::Topology;
use graph::{Blocker, Deadlock, Owners, Process, Transaction, Wait, deadlocks};
use knot::{Knot, Queued, Step, knots};
pub use waiting::SCHEMA;

/// A look at the shards that takes longer is given up.
const PATIENCE: Duration = Duration::from_secs(5);
/// While statements run for long and wait for nobody, looks become rarer, down to one in so many times the bound.
const RARELY: u32 = 8;

/// A client that holds several server connections, or one, and waits for more.
#[derive(Clone, Debug)]
pub struct Holder {
    pub client: u32,
    /// Since when it holds any, in microseconds of the router's clock.
    pub began: u64,
    /// Names the statement that runs.
    pub statement: u64,
    /// How long that has been running; `None` when none is.
    pub busy: Option<Duration>,
    pub members: Vec<Process>,
    /// The gid under which its transaction is being committed.
    pub gid: Option<Box<str>>,
    /// The pools that have no connection for it.
    pub queues: Vec<Queue>,
}

/// A pool all of whose connections are lent.
#[derive(Clone, Debug)]
pub struct Queue {
    pub shard: ShardId,
    /// When the wait began.
    pub since: u64,
    pub lent: Vec<Process>,
}

/// The clients of this router.
pub trait Sessions: Send + Sync + 'static {
    /// Those of one logical database that hold more than one server connection, or one, and wait for more.
    fn holders(&self, database: &str) -> Vec<Holder>;
    /// Marks the server connections of a holder that still runs the same statement: a cancel there is told as the deadlock that it
    /// breaks. They are announced; the caller sends the cancel and settles it. A wait for connections ends at once. `None`: it runs no more.
    fn sentence(&self, holder: &Holder, detail: &str) -> Option<Vec<Arc<CancelHandle>>>;
}

/// Looks for deadlocks of one database, for ever.
pub async fn watch<S: Sessions>(
    database: Arc<Database>,
    router: Box<str>,
    bound: Duration,
    sessions: Arc<S>,
    metrics: Arc<Metrics>,
) {
    let mut watch =
        Watch { database, router, bound, sessions, metrics, servers: HashMap::new(), noted: false, told: false };
    let tick = (bound / 2).max(Duration::from_millis(20));
    let mut pause = tick;
    loop {
        tokio::time::sleep(pause).await;
        let holders = watch.sessions.holders(&watch.database.name);
        if !holders.iter().any(|holder| holder.busy.is_some_and(|busy| busy >= bound)) {
            watch.rest().await;
            pause = tick;
            continue;
        }
        match tokio::time::timeout(PATIENCE, watch.look(&holders)).await {
            Ok(Ok(true)) => pause = tick,
            Ok(Ok(false)) => {
                watch.rest().await;
                pause = (pause * 2).min(bound * RARELY);
            }
            Ok(Err(fault)) => {
                tracing::debug!(database = %watch.database.name, error = %fault, "deadlocks cannot be looked for");
                watch.servers.clear();
            }
            // Their answers are still owed.
            Err(_) => watch.servers.clear(),
        }
    }
}

struct Watch<S> {
    database: Arc<Database>,
    router: Box<str>,
    bound: Duration,
    sessions: Arc<S>,
    metrics: Arc<Metrics>,
    /// Kept while somebody waits.
    servers: HashMap<ShardId, Backend>,
    /// There are rows of ours in `pgloom.waiting`.
    noted: bool,
    /// That it cannot be written was logged.
    told: bool,
}

impl<S: Sessions> Watch<S> {
    /// Whether any of these waits for a lock. Breaks the circles that they are in.
    async fn look(&mut self, holders: &[Holder]) -> Result<bool, Fault> {
        let topology = Arc::clone(&self.database.cluster.load().topology);
        let lent = holders.iter().flat_map(|holder| holder.queues.iter().flat_map(|queue| &queue.lent));
        let members = holders.iter().flat_map(|holder| &holder.members);
        let shards: HashSet<ShardId> =
            members.chain(lent).map(|p| p.shard).filter(|shard| !shard.is_combine()).collect();
        let mut waits = self.waits(&topology, shards.iter().copied()).await;
        let waiters: HashSet<Process> = waits.iter().map(|wait| wait.waiter).collect();
        let waiting: Vec<&Holder> =
            holders.iter().filter(|holder| holder.members.iter().any(|process| waiters.contains(process))).collect();
        if waiting.is_empty() && holders.iter().all(|holder| holder.queues.is_empty()) {
            return Ok(false);
        }
        let mut owners = self.owners(holders);
        let mut found = deadlocks(&waits, &owners);
        if found.is_empty() && !waiting.is_empty() {
            // Perhaps it goes through transactions of another router.
            let theirs = self.exchange(&topology, &waiting).await?;
            let more = theirs.processes.keys().map(|process| process.shard).filter(|shard| !shards.contains(shard));
            let more: HashSet<ShardId> = more.collect();
            waits.append(&mut self.waits(&topology, more.into_iter()).await);
            owners.processes.extend(theirs.processes);
            owners.prepared.extend(theirs.prepared);
            found = deadlocks(&waits, &owners);
        }
        let of_locks = !found.is_empty();
        found.retain(|deadlock| deadlock.victim.router == self.router);
        for deadlock in &found {
            if self.lasts(&topology, deadlock).await {
                let detail = detail(&topology, &deadlock.circle);
                self.break_up(holders, &deadlock.victim, &detail).await;
            }
        }
        if !of_locks {
            self.untie(&topology, holders, &waits, &owners).await;
        }
        Ok(true)
    }

    /// Breaks the circles that go through the queues of pools.
    async fn untie(&mut self, topology: &Topology, holders: &[Holder], waits: &[Wait], owners: &Owners) {
        let queued = self.queued(holders);
        if queued.is_empty() {
            return;
        }
        for knot in knots(waits, &queued, owners, &self.router) {
            if self.holds(topology, &knot).await {
                let detail = detail_of_steps(topology, &knot.circle);
                self.break_up(holders, &knot.victim, &detail).await;
            }
        }
    }

    fn queued(&self, holders: &[Holder]) -> Vec<Queued> {
        let each = holders.iter().flat_map(|holder| {
            let waiter = Transaction { began: holder.began, router: self.router.clone(), client: holder.client };
            holder.queues.iter().map(move |Queue { shard, since, lent }| Queued {
                waiter: waiter.clone(),
                since: *since,
                shard: *shard,
                lent: lent.clone(),
            })
        });
        each.collect()
    }

    fn owners(&self, holders: &[Holder]) -> Owners {
        let mut owners = Owners::default();
        for holder in holders {
            let Holder { began, client, .. } = *holder;
            let transaction = Transaction { began, router: self.router.clone(), client };
            owners.processes.extend(holder.members.iter().map(|process| (*process, transaction.clone())));
            if let Some(gid) = &holder.gid {
                owners.prepared.insert(gid.clone(), transaction);
            }
        }
        owners
    }

    /// Whether each wait of the circle is still the one that was seen. All were seen before this look began, so there was a moment
    /// at which all were there: it was a deadlock then, and is one for ever.
    async fn lasts(&mut self, topology: &Topology, deadlock: &Deadlock) -> bool {
        let shards: HashSet<ShardId> = deadlock.circle.iter().map(|wait| wait.waiter.shard).collect();
        let now: HashSet<Wait> = self.waits(topology, shards.into_iter()).await.into_iter().collect();
        deadlock.circle.iter().all(|wait| now.contains(wait))
    }

    /// The same of a circle through queues: who still stands in the same queue, for the same connections, has stood there all the time.
    async fn holds(&mut self, topology: &Topology, knot: &Knot) -> bool {
        let shards: HashSet<ShardId> = knot.waits.iter().map(|wait| wait.waiter.shard).collect();
        let now: HashSet<Wait> = self.waits(topology, shards.into_iter()).await.into_iter().collect();
        let queued = self.queued(&self.sessions.holders(&self.database.name));
        knot.waits.iter().all(|wait| now.contains(wait)) && knot.queued.iter().all(|one| queued.contains(one))
    }

    async fn break_up(&self, holders: &[Holder], victim: &Transaction, detail: &str) {
        let holder = holders.iter().find(|holder| holder.client == victim.client);
        let Some(handles) = holder.and_then(|holder| self.sessions.sentence(holder, detail)) else { return };
        self.metrics.deadlocks.inc();
        tracing::warn!(database = %self.database.name, client = victim.client, detail, "deadlock over shards");
        // What is announced is settled, also where this job ends before.
        let sending = tokio::spawn(async move {
            let cancels = handles.iter().map(|handle| async move {
                handle.send().await;
                handle.settle();
            });
            futures::future::join_all(cancels).await;
        });
        let _ = sending.await;
    }

    /// Notes who waits here, and reads who waits elsewhere.
    async fn exchange(&mut self, topology: &Topology, waiting: &[&Holder]) -> Result<Owners, Fault> {
        let sql = waiting::exchange(&self.router, topology, waiting, self.bound);
        let home = self.server(topology, topology.home).await?;
        let rows = match home.query(&sql).await {
            Ok(rows) => rows,
            Err(fault) if home.broken => return Err(fault),
            Err(fault) => {
                if !std::mem::replace(&mut self.told, true) {
                    let database = &self.database.name;
                    tracing::warn!(%database, error = %fault, "deadlocks with clients of other routers are not seen");
                }
                return Ok(Owners::default());
            }
        };
        self.noted = true;
        Ok(waiting::read(topology, &rows))
    }

    /// Nobody waits: what was noted is taken back, connections are closed.
    async fn rest(&mut self) {
        if std::mem::take(&mut self.noted) {
            let topology = Arc::clone(&self.database.cluster.load().topology);
            let forget = waiting::forget(&self.router);
            let forgotten = async { self.server(&topology, topology.home).await?.query(&forget).await };
            if let Ok(Err(fault)) = tokio::time::timeout(PATIENCE, forgotten).await {
                // Others ignore it as soon as it is old.
                tracing::debug!(database = %self.database.name, error = %fault, "pgloom.waiting keeps a note");
            }
        }
        self.servers.clear();
    }

    async fn server(&mut self, topology: &Topology, shard: ShardId) -> Result<&mut Backend, Fault> {
        let server = match self.servers.remove(&shard).filter(|server| !server.broken) {
            Some(server) => server,
            None => super::connect_as(&self.database, topology, shard, &self.database.own).await?,
        };
        Ok(self.servers.entry(shard).or_insert(server))
    }

    /// Who waits for whom on these shards, all asked at once. Of one that cannot be asked nothing is known: a circle may be missed,
    /// none is invented.
    async fn waits(&mut self, topology: &Topology, shards: impl Iterator<Item = ShardId>) -> Vec<Wait> {
        let wanted: HashSet<ShardId> = shards.collect();
        let missing = wanted.iter().filter(|shard| self.servers.get(shard).is_none_or(|server| server.broken));
        let connects = missing.map(|shard| {
            let database = &self.database;
            async move {
                let connected = super::connect_as(database, topology, *shard, &database.own);
                (*shard, tokio::time::timeout(PATIENCE / 4, connected).await)
            }
        });
        for (shard, server) in futures::future::join_all(connects).await {
            match server {
                Ok(Ok(server)) => drop(self.servers.insert(shard, server)),
                Ok(Err(fault)) => not_asked(&self.database, shard, &fault),
                Err(_) => tracing::debug!(database = %self.database.name, %shard, "not asked for deadlocks: no answer"),
            }
        }
        let asked = self.servers.iter_mut().filter(|(shard, _)| wanted.contains(shard));
        let asked = asked.map(|(shard, server)| async move { (*shard, server.query(WAITS).await) });
        let mut waits = Vec::new();
        for (shard, answer) in futures::future::join_all(asked).await {
            match answer {
                Ok(rows) => waits.extend(rows.into_iter().filter_map(|row| wait(shard, row))),
                Err(fault) => not_asked(&self.database, shard, &fault),
            }
        }
        waits
    }
}

fn not_asked(database: &Database, shard: ShardId, fault: &Fault) {
    tracing::debug!(database = %database.name, %shard, error = %fault, "not asked for deadlocks");
}

/// One row for each pair; only processes in this database wait for what concerns it. A wait whose beginning is not known yet is too
/// young to matter. Of prepared transactions only those that hold a row are looked for: that is what statements wait for.
const WAITS: &str = "SELECT w.pid, b.pid, extract(epoch FROM w.waitstart), w.mode || ' on ' || CASE w.locktype \
       WHEN 'transactionid' THEN 'transaction ' || w.transactionid::pg_catalog.text \
       WHEN 'virtualxid' THEN 'virtual transaction ' || w.virtualxid \
       WHEN 'relation' THEN 'relation ' || w.relation || ' of database ' || w.database \
       WHEN 'tuple' THEN 'tuple (' || w.page || ',' || w.tuple || ') of relation ' || w.relation || ' of database ' || w.database \
       WHEN 'advisory' THEN 'advisory lock [' || w.database || ',' || w.classid || ',' || w.objid || ',' || w.objsubid || ']' \
       ELSE w.locktype END, \
     CASE WHEN b.pid = 0 AND w.locktype = 'transactionid' THEN \
       (SELECT p.gid FROM pg_catalog.pg_prepared_xacts p WHERE p.transaction = w.transactionid) END \
     FROM pg_catalog.pg_locks w \
     JOIN pg_catalog.pg_stat_activity a ON a.pid = w.pid AND a.datname = pg_catalog.current_database() \
     CROSS JOIN LATERAL pg_catalog.unnest(pg_catalog.pg_blocking_pids(w.pid)) b(pid) \
     WHERE NOT w.granted AND w.waitstart IS NOT NULL";

fn wait(shard: ShardId, row: Vec<Option<String>>) -> Option<Wait> {
    let [waiter, blocker, since, lock, gid] = <[Option<String>; 5]>::try_from(row).ok()?;
    let blocker = match blocker?.parse().ok()? {
        0 => Blocker::Prepared(Gid::parse(&gid?)?.0.to_string().into()),
        pid => Blocker::Process(pid),
    };
    let waiter = Process { shard, pid: waiter?.parse().ok()? };
    Some(Wait { waiter, blocker, since: since?.into(), lock: lock?.into() })
}

/// What Postgres says of its own deadlocks, with the shards.
fn detail(topology: &Topology, circle: &[Wait]) -> String {
    circle.iter().map(|wait| line_of_wait(topology, wait)).collect::<Vec<_>>().join("\n")
}

fn line_of_wait(topology: &Topology, wait: &Wait) -> String {
    let by = match &wait.blocker {
        Blocker::Process(pid) => format!("process {pid}"),
        Blocker::Prepared(gid) => format!("prepared transaction {gid}"),
    };
    let shard = name_of(topology, wait.waiter.shard);
    format!("Process {} on shard {shard} waits for {}; blocked by {by}.", wait.waiter.pid, wait.lock)
}

fn name_of(topology: &Topology, shard: ShardId) -> &str {
    topology.shards.get(shard.index()).map_or("?", |shard| &shard.name)
}

/// The same of a circle through queues.
fn detail_of_steps(topology: &Topology, circle: &[Step]) -> String {
    let lines = circle.iter().map(|step| match step {
        Step::Lock(wait) => line_of_wait(topology, wait),
        Step::Queue(queued, process) => format!(
            "Client {} waits for a connection to shard {}; blocked by process {} and all others that the pool has, {} in all.",
            queued.waiter.client,
            name_of(topology, queued.shard),
            process.pid,
            queued.lent.len(),
        ),
    });
    lines.collect::<Vec<_>>().join("\n")
}

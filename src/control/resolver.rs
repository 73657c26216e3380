//! Finishes what two-phase commits left behind: prepared transactions whose router is gone, by the anchor's decision row.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::backend::Backend;
use crate::backend::cluster::Database;
use crate::commit::decision::{REMEMBER, forget};
use crate::commit::two_phase::{Action, Event, Reply, Request, TwoPhase};
use crate::commit::{Gid, tag};
use crate::control::errand::Errands;
use crate::fault::Fault;
use crate::ids::ShardId;
use crate::topology::Topology;

/// A decision row is kept for so long though nobody needs it: somebody may want to look.
pub const FORGET_AFTER: Duration = Duration::from_secs(600);

/// What one pass found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolved {
    pub committed: usize,
    pub rolled_back: usize,
    /// Left for the next pass: a shard did not answer, or is not in the configuration.
    pub open: usize,
    /// Parts that are known to be prepared, and that this pass could not finish.
    pub in_doubt: usize,
}

/// One pass over all shards of a database. A prepared transaction younger than `grace` still has its router. `only`: none but
/// this one, by its gid or that of one of its parts.
pub async fn resolve(database: &Arc<Database>, grace: Duration, only: Option<&str>) -> Resolved {
    let topology = Arc::clone(&database.cluster.load().topology);
    let mut errands = Errands::new(database, &topology, grace);
    let mut done = Resolved::default();
    let mut left: BTreeMap<Gid, Vec<ShardId>> = BTreeMap::new();
    for at in 0..topology.shards.len() {
        let shard = ShardId(at as u16);
        match old_parts(&mut errands, database, &topology, shard, grace).await {
            Ok(gids) => gids.into_iter().for_each(|gid| left.entry(gid).or_default().push(shard)),
            Err(fault) => {
                done.open += 1;
                tracing::debug!(database = %database.name, %shard, error = %fault, "resolver: shard not examined");
            }
        }
    }
    let wanted =
        |gid: &Gid| only.is_none_or(|only| only == gid.to_string() || Gid::parse(only).is_some_and(|(o, _)| o == *gid));
    for (gid, shards) in left.iter().filter(|(gid, _)| wanted(gid)) {
        match by_tag(&topology, &gid.anchor) {
            Some(anchor) => finish(&mut errands, gid, anchor, shards, &mut done).await,
            None => {
                done.open += shards.len();
                done.in_doubt += shards.len();
                tracing::warn!(database = %database.name, %gid, "resolver: the shard that decides is not in the configuration");
            }
        }
    }
    done
}

async fn old_parts(
    errands: &mut Errands,
    database: &Database,
    topology: &Topology,
    shard: ShardId,
    grace: Duration,
) -> Result<Vec<Gid>, Fault> {
    let seconds = grace.as_secs_f64();
    let old = format!("prepared < pg_catalog.now() - pg_catalog.make_interval(secs => {seconds})");
    let mut gids = Vec::new();
    for (gid, participant) in parts(errands.server(shard).await?, database, &old).await? {
        if topology.shards.get(shard.index()).is_some_and(|s| tag(&s.name) == participant) {
            gids.push(gid);
        } else {
            tracing::warn!(database = %database.name, %shard, %gid, participant, "resolver: a part on a shard of another name");
        }
    }
    Ok(gids)
}

/// Our parts of this logical database on one server, with the shard that each is named after.
async fn parts(server: &mut Backend, database: &Database, condition: &str) -> Result<Vec<(Gid, String)>, Fault> {
    let names = server
        .query(&format!(
            "SELECT gid FROM pg_catalog.pg_prepared_xacts WHERE database = pg_catalog.current_database() \
             AND pg_catalog.starts_with(gid, '{}') AND {condition}",
            Gid::prefix_of(&database.name)
        ))
        .await?;
    Ok(names.into_iter().flatten().flatten().filter_map(|name| Gid::parse(&name)).collect())
}

/// The shard that a gid means.
pub fn by_tag(topology: &Topology, wanted: &str) -> Option<ShardId> {
    topology.shards.iter().position(|shard| tag(&shard.name) == wanted).map(|at| ShardId(at as u16))
}

/// Runs the protocol's end for one transaction.
async fn finish(errands: &mut Errands, gid: &Gid, anchor: ShardId, shards: &[ShardId], done: &mut Resolved) {
    let (mut machine, actions) = TwoPhase::left_behind(anchor, shards);
    let mut open = shards.len();
    let mut actions = VecDeque::from(actions);
    while let Some(action) = actions.pop_front() {
        let Action::Ask { shard, request } = action else { break };
        let reply = errands.run(gid, shard, request).await.unwrap_or_else(|fault| {
            tracing::warn!(%gid, %shard, ?request, error = %fault, "resolver: not now");
            Reply::Failed
        });
        if let Request::Finish { commit, .. } = request {
            let finished = if commit { &mut done.committed } else { &mut done.rolled_back };
            *finished += usize::from(reply == Reply::Done);
            open -= usize::from(matches!(reply, Reply::Done | Reply::Absent));
            if reply == Reply::Done {
                tracing::warn!(%gid, %shard, commit, "resolver: finished a prepared transaction");
            }
        }
        let (next, more) = machine.step(Event { shard, request, reply });
        machine = next;
        actions.extend(more);
    }
    done.open += open;
    done.in_doubt += open;
}

/// Removes decision rows that are older than `age` and can matter to nobody: each shard that they name was asked afterwards, and
/// has nothing prepared. Rows that name a shard which is not asked stay.
/// What cannot be removed now is removed another time.
pub async fn forget_old(database: &Arc<Database>, age: Duration) {
    let topology = Arc::clone(&database.cluster.load().topology);
    let mut errands = Errands::new(database, &topology, Duration::MAX);
    let mut asked: Vec<ShardId> = Vec::new();
    for shard in (0..topology.shards.len()).map(|at| ShardId(at as u16)) {
        match remember(&mut errands, shard).await {
            Ok(()) => asked.push(shard),
            Err(fault) => not_forgotten(database, shard, &fault),
        }
    }
    // Behind the snapshots of all of them.
    let mut prepared: Vec<Gid> = Vec::new();
    let mut examined: Vec<ShardId> = Vec::new();
    for shard in &asked {
        let found = match errands.server(*shard).await {
            Ok(server) => parts(server, database, "true").await,
            Err(fault) => Err(fault),
        };
        match found {
            Ok(found) => {
                prepared.extend(found.into_iter().map(|(gid, _)| gid));
                examined.push(*shard);
            }
            Err(fault) => not_forgotten(database, *shard, &fault),
        }
    }
    for shard in &examined {
        let names = examined.iter().filter_map(|shard| topology.shards.get(shard.index())).map(|shard| &*shard.name);
        let sql = forget(&database.name, names, &prepared, age.as_secs());
        let forgotten = match errands.server(*shard).await {
            Ok(server) => server.query(&sql).await.map(drop),
            Err(fault) => Err(fault),
        };
        if let Err(fault) = forgotten {
            not_forgotten(database, *shard, &fault);
        }
    }
}

async fn remember(errands: &mut Errands, shard: ShardId) -> Result<(), Fault> {
    errands.server(shard).await?.query(REMEMBER).await.map(drop)
}

fn not_forgotten(database: &Database, shard: ShardId, fault: &Fault) {
    tracing::debug!(database = %database.name, %shard, error = %fault, "resolver: old decisions not removed");
}

//! Finishes what two-phase commits left behind: prepared transactions whose router is gone, by the anchor's decision row.

use std::sync::Arc;
use std::time::Duration;

use crate::backend::cluster::Database;
use crate::commit::{Gid, tombstone, verdict};
use crate::fault::Fault;
use crate::ids::ShardId;

/// A decision row is of no use when every participant is long done.
const FORGET: &str = "1 day";
/// For one statement of the resolver; a tombstone may have to wait for an anchor that is committing.
const PATIENCE: &str = "SET statement_timeout TO '10s'";

/// What one pass found and did.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Resolved {
    pub committed: usize,
    pub rolled_back: usize,
    /// Left for the next pass: a shard did not answer.
    pub open: usize,
}

/// One pass over all shards of a database. A prepared transaction younger than `grace` still has its router.
pub async fn resolve(database: &Arc<Database>, grace: Duration) -> Resolved {
    let shards = database.cluster.load().topology.shards.len();
    let mut done = Resolved::default();
    for shard in (0..shards).map(|i| ShardId(i as u16)) {
        match resolve_shard(database, shard, grace, &mut done).await {
            Ok(()) => {}
            Err(fault) => {
                done.open += 1;
                tracing::debug!(database = %database.name, %shard, error = %fault, "resolver: shard not examined");
            }
        }
    }
    if done.open == 0 {
        // Every shard was examined and nothing old is prepared anywhere: rows that are far older have served their purpose.
        for shard in (0..shards).map(|i| ShardId(i as u16)) {
            if let Err(fault) = forget_old(database, shard).await {
                tracing::debug!(database = %database.name, %shard, error = %fault, "resolver: old decisions not removed");
            }
        }
    }
    done
}

async fn resolve_shard(
    database: &Arc<Database>,
    shard: ShardId,
    grace: Duration,
    done: &mut Resolved,
) -> Result<(), Fault> {
    let mut server = super::connect(database, shard).await?;
    server.query(PATIENCE).await?;
    let left = server
        .query(&format!(
            "SELECT gid FROM pg_catalog.pg_prepared_xacts WHERE database = pg_catalog.current_database() \
             AND gid LIKE 'pgloom\\_%' AND prepared < pg_catalog.now() - pg_catalog.make_interval(secs => {})",
            grace.as_secs_f64()
        ))
        .await?;
    for name in left.into_iter().flatten().flatten() {
        let Some(gid) = Gid::parse(&name) else { continue };
        match decision(database, &gid).await {
            Ok(commit) => {
                let verb = if commit { "COMMIT" } else { "ROLLBACK" };
                server.query(&format!("{verb} PREPARED '{}'", gid.on(shard))).await?;
                tracing::warn!(database = %database.name, %shard, %gid, verb, "resolver: finished a prepared transaction");
                if commit {
                    done.committed += 1;
                } else {
                    done.rolled_back += 1;
                }
            }
            Err(fault) => {
                done.open += 1;
                tracing::warn!(database = %database.name, %shard, %gid, error = %fault, "resolver: no decision yet");
            }
        }
    }
    Ok(())
}

/// Whether the transaction is committed: the anchor's row says so, and where there is none a tombstone makes sure that there
/// never will be one.
async fn decision(database: &Database, gid: &Gid) -> Result<bool, Fault> {
    let mut anchor = super::connect(database, gid.anchor).await?;
    anchor.query(PATIENCE).await?;
    anchor.query(&tombstone(gid)).await?;
    let rows = anchor.query(&verdict(gid)).await?;
    let committed = rows.first().and_then(|r| r.first()).and_then(Option::as_deref);
    committed.map(|c| c == "t").ok_or_else(|| {
        Fault::new(crate::fault::SqlState::INTERNAL_ERROR, "the decision row vanished between two statements")
    })
}

async fn forget_old(database: &Database, shard: ShardId) -> Result<(), Fault> {
    let mut server = super::connect(database, shard).await?;
    let sql =
        format!("DELETE FROM pgloom.decision WHERE decided_at < pg_catalog.now() - '{FORGET}'::pg_catalog.interval");
    server.query(&sql).await.map(drop)
}

//! How much the sharded tables hold on each shard, as its Postgres estimates it: for the metrics, which show whether one has too much.

use std::fmt::Write;
use std::sync::{Arc, PoisonError};

use crate::backend::cluster::{Database, ShardSize};
use crate::backend::settings::quote_literal;
use crate::fault::Fault;
use crate::ids::ShardId;
use crate::topology::{TableRule, Topology};

/// Asks all shards. Of one that does not answer, what it said last stays.
pub async fn read(database: &Arc<Database>) {
    let topology = Arc::clone(&database.cluster.load().topology);
    let Some(sql) = question(&topology) else { return };
    let shards = (0..topology.shards.len()).map(|at| ShardId(at as u16));
    let sql = sql.as_str();
    let asked = shards.map(|shard| async move { (shard, ask(database, shard, sql).await) });
    let answers = futures::future::join_all(asked).await;
    let mut sizes = database.sizes.lock().unwrap_or_else(PoisonError::into_inner);
    sizes.retain(|size| topology.shards.iter().any(|shard| shard.name == size.shard));
    for (shard, answer) in answers {
        let name = &topology.shard(shard).name;
        match answer {
            Ok((rows, bytes)) => {
                sizes.retain(|size| size.shard != *name);
                sizes.push(ShardSize { shard: Arc::clone(name), rows, bytes });
            }
            Err(fault) => {
                tracing::debug!(database = %database.name, shard = %name, error = %fault, "sizes cannot be read");
            }
        }
    }
}

async fn ask(database: &Database, shard: ShardId, sql: &str) -> Result<(u64, u64), Fault> {
    let rows = super::connect(database, shard).await?.query(sql).await?;
    let number = |at: usize| rows.first().and_then(|row| row.get(at)?.as_deref()?.parse().ok()).unwrap_or(0);
    Ok((number(0), number(1)))
}

/// Both numbers are notes of the last VACUUM or ANALYZE: nothing is counted, nothing is locked. Partitions are added up.
fn question(topology: &Topology) -> Option<String> {
    let mut names = String::new();
    for (name, rule) in &topology.tables {
        if let TableRule::Sharded { .. } = rule {
            let comma = if names.is_empty() { "" } else { ", " };
            let _ = write!(names, "{comma}({}, {})", quote_literal(&name.schema), quote_literal(&name.name));
        }
    }
    (!names.is_empty()).then(|| {
        format!(
            "WITH RECURSIVE tables (oid) AS (SELECT c.oid FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n \
               ON n.oid = c.relnamespace WHERE (n.nspname, c.relname) IN ({names}) \
               UNION SELECT i.inhrelid FROM pg_catalog.pg_inherits i JOIN tables t ON i.inhparent = t.oid) \
             SELECT coalesce(pg_catalog.sum(greatest(c.reltuples, 0)), 0)::pg_catalog.int8, \
               coalesce(pg_catalog.sum(c.relpages), 0)::pg_catalog.int8 \
               * pg_catalog.current_setting('block_size')::pg_catalog.int8 \
             FROM pg_catalog.pg_class c JOIN tables t ON t.oid = c.oid WHERE c.relkind = 'r'"
        )
    })
}

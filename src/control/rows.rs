//! Whether tables have rows, on whichever shard: while they have none, another map may place them elsewhere.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use crate::backend::cluster::Database;
use crate::control;
use crate::control::definition::{exists, quoted};
use crate::fault::Fault;
use crate::ids::{QualifiedName, ShardId};

/// A reload waits for no shard that says nothing.
const LONGEST: Duration = Duration::from_secs(30);
/// One that is locked for longer is not looked at. Row level security would hide rows: it fails then.
const MANNERS: &str = "SET statement_timeout TO '5s'; SET row_security TO off";

/// Those that have rows, and those of which nobody can say that they have none, in words.
pub async fn occupied(database: &Database, tables: &HashSet<QualifiedName>) -> Vec<String> {
    let topology = Arc::clone(&database.cluster.load().topology);
    let mut tables: Vec<&QualifiedName> = tables.iter().collect();
    tables.sort();
    let shards: Vec<_> =
        topology.all_shards().iter().map(|shard| (shard, topology.shard(shard).name.clone())).collect();
    let looks = shards.into_iter().map(async |(shard, name)| {
        match tokio::time::timeout(LONGEST, on_shard(database, shard, &tables)).await {
            Ok(Ok(occupied)) => {
                occupied.iter().map(|table| format!("table {table} has rows on shard {name}")).collect()
            }
            Ok(Err(fault)) => vec![format!("shard {name} does not tell whether there are rows: {fault}")],
            Err(_) => vec![format!("shard {name} does not tell in time whether there are rows")],
        }
    });
    futures::future::join_all(looks).await.concat()
}

async fn on_shard(database: &Database, shard: ShardId, tables: &[&QualifiedName]) -> Result<Vec<QualifiedName>, Fault> {
    let mut server = control::connect(database, shard).await?;
    server.query(MANNERS).await?;
    let mut occupied = Vec::new();
    for table in tables {
        let first = format!("SELECT 1 FROM {} LIMIT 1", quoted(table));
        if exists(&mut server, table).await? && !server.query(&first).await?.is_empty() {
            occupied.push((*table).clone());
        }
    }
    Ok(occupied)
}

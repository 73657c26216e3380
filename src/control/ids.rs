//! `pgloom.unique_id()` on every shard: time-ordered 64-bit numbers, of which no two shards make the same one.
//!
//! A number is `milliseconds since 2024 (41 bits) | node (10 bits) | counter (12 bits)`. The sequence `pgloom.unique_clock` holds
//! milliseconds and counter of the last one. Each call moves it forward, under a lock of its own that lasts for this moment alone: to the
//! present, or by one where it is there already, or ahead because the clock went back or more than 4096 were made in a millisecond. So a
//! node's numbers only grow. The node is a shard's own for ever: the row in `pgloom.node`, which a shard is given once.

use std::sync::Arc;

use crate::backend::Backend;
use crate::backend::cluster::Database;
use crate::fault::{Fault, SqlState};
use crate::ids::ShardId;

/// Nodes that there can be.
const NODES: usize = 1024;

/// The lock that calls of one shard wait for, and the one that routers wait for who give out nodes.
const CALLS: &str = "1885826930, 1";
const GIVING: &str = "1885826930, 2";

/// Idempotent. Made by the router's own user, whose rights the function has: who calls it needs none to the sequence.
fn schema() -> String {
    format!(
        "CREATE SCHEMA IF NOT EXISTS pgloom; GRANT USAGE ON SCHEMA pgloom TO PUBLIC; \
         CREATE TABLE IF NOT EXISTS pgloom.node (single boolean PRIMARY KEY DEFAULT true CHECK (single), \
           id integer NOT NULL CHECK (id BETWEEN 0 AND {})); \
         CREATE SEQUENCE IF NOT EXISTS pgloom.unique_clock MAXVALUE 9007199254740991; \
         DO $do$ BEGIN IF pg_catalog.to_regprocedure('pgloom.unique_id()') IS NULL THEN \
         CREATE FUNCTION pgloom.unique_id() RETURNS bigint LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = '' AS $body$ \
         DECLARE moment bigint; node integer; \
         BEGIN \
           SELECT id INTO STRICT node FROM pgloom.node; \
           BEGIN \
             PERFORM pg_catalog.pg_advisory_lock({CALLS}); \
             SELECT pg_catalog.setval('pgloom.unique_clock', GREATEST(c.last_value + 1, \
               (EXTRACT(EPOCH FROM pg_catalog.clock_timestamp()) * 1000 - 1704067200000)::bigint << 12)) \
               INTO moment FROM pgloom.unique_clock c; \
             PERFORM pg_catalog.pg_advisory_unlock({CALLS}); \
           EXCEPTION WHEN query_canceled OR OTHERS THEN \
             PERFORM pg_catalog.pg_advisory_unlock({CALLS}); RAISE; \
           END; \
           RETURN ((moment >> 12) << 22) | (node::bigint << 12) | (moment & 4095); \
         END $body$; \
         GRANT EXECUTE ON FUNCTION pgloom.unique_id() TO PUBLIC; \
         END IF; END $do$",
        NODES - 1
    )
}

/// Gives every shard that has none its node, and the function. All shards must answer: a node that another one has is never given.
///
/// # Errors
/// A shard does not answer, the router's user may not create what is needed, or there are more than 1024 shards.
pub async fn prepare(database: &Arc<Database>) -> Result<(), Fault> {
    let topology = Arc::clone(&database.cluster.load().topology);
    // One router at a time, or two could give one node to two shards.
    let mut home = super::connect(database, topology.home).await?;
    home.query(&format!("SELECT pg_catalog.pg_advisory_lock({GIVING})")).await?;
    let done = give_nodes(database, topology.shards.len()).await;
    // It goes with the connection as well.
    home.query(&format!("SELECT pg_catalog.pg_advisory_unlock({GIVING})")).await?;
    done
}

async fn give_nodes(database: &Arc<Database>, shards: usize) -> Result<(), Fault> {
    let mut servers = Vec::with_capacity(shards);
    let mut nodes = Vec::with_capacity(shards);
    for shard in (0..shards).map(|i| ShardId(i as u16)) {
        let mut server = super::connect(database, shard).await?;
        server.query(&schema()).await?;
        nodes.push(node_of(&mut server).await?);
        servers.push(server);
    }
    for (at, server) in servers.iter_mut().enumerate() {
        if nodes.get(at).copied().flatten().is_some() {
            continue;
        }
        let free = (0..NODES).find(|node| !nodes.contains(&Some(*node)));
        let free = free.ok_or_else(|| {
            Fault::new(
                SqlState::PROGRAM_LIMIT_EXCEEDED,
                "there are more than 1024 shards, and a unique id has no room for more",
            )
        })?;
        server.query(&format!("INSERT INTO pgloom.node (id) VALUES ({free}) ON CONFLICT DO NOTHING")).await?;
        let given = node_of(server).await?;
        if let Some(place) = nodes.get_mut(at) {
            *place = given;
        }
    }
    let twice = |at: usize| nodes.get(..at).is_some_and(|before| before.contains(&nodes[at]));
    if (0..nodes.len()).any(twice) {
        return Err(Fault::new(SqlState::DATA_CORRUPTED, "two shards have the same row in pgloom.node")
            .hint("Give one of them a number that no shard has; ids that both made before can be the same."));
    }
    Ok(())
}

async fn node_of(server: &mut Backend) -> Result<Option<usize>, Fault> {
    let rows = server.query("SELECT id FROM pgloom.node").await?;
    Ok(rows.first().and_then(|row| row.first()?.as_deref()?.parse().ok()))
}

//! I/O. What the router does on its own account, beside any client: reads catalogs, resolves what commits left behind.

pub mod catalog;
pub mod combine;
pub mod deadlock;
pub mod definition;
pub mod errand;
pub mod ids;
pub mod live;
pub mod news;
pub mod resolver;
pub mod rules;
pub mod transactions;
pub mod uniques;

use std::sync::Arc;

use crate::backend::Backend;
use crate::backend::cluster::{Credentials, Database, ServerConnector, Start, primary};
use crate::backend::pool::Connect;
use crate::fault::Fault;
use crate::ids::ShardId;
use crate::topology::{Server, Shard, Topology};

/// A connection of the router's own to the primary of one shard: no client's parameter ever touched it, names mean pg_catalog's.
///
/// # Errors
/// The connector's fault, or the server's.
pub async fn connect(database: &Database, shard: ShardId) -> Result<Backend, Fault> {
    let topology = Arc::clone(&database.cluster.load().topology);
    connect_as(database, &topology, shard, &database.own).await
}

/// The same as somebody, to a shard of this topology.
///
/// # Errors
/// As [`connect`].
pub async fn connect_as(
    database: &Database,
    topology: &Topology,
    shard: ShardId,
    login: &Credentials,
) -> Result<Backend, Fault> {
    connect_to(database, shard, primary(self::shard(topology, shard)?), login).await
}

/// The same to any server of the database.
///
/// # Errors
/// The connector's fault, or the server's.
pub async fn connect_to(
    database: &Database,
    shard: ShardId,
    server: &Server,
    login: &Credentials,
) -> Result<Backend, Fault> {
    // It is not kept from a server that others are not to wait for: its attempts tell them when the server is back.
    let connector = ServerConnector::new(shard, server, login, &database.access, Start::Unknown);
    let mut backend = connector.connect().await?;
    backend.query("SET search_path TO ''").await?;
    Ok(backend)
}

/// # Errors
/// The topology has no such shard (any more).
pub fn shard(topology: &Topology, shard: ShardId) -> Result<&Shard, Fault> {
    topology.shards.get(shard.index()).ok_or_else(|| {
        Fault::new(crate::fault::SqlState::UNABLE_TO_CONNECT, "the shard is not in the configuration any more")
    })
}

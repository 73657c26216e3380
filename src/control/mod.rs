//! I/O. What the router does on its own account, beside any client: reads catalogs, resolves what commits left behind.

mod attached;
pub mod catalog;
pub mod combine;
pub mod deadlock;
pub mod definition;
pub mod errand;
pub mod etcd;
pub mod ids;
pub mod live;
pub mod map;
pub mod news;
pub mod numbers;
pub mod resolver;
pub mod rows;
pub mod rules;
pub mod servers;
pub mod sizes;
pub mod timelines;
pub mod transactions;
mod uncalled;
pub mod uniques;
pub mod users;

use std::sync::Arc;

use crate::backend::Backend;
use crate::backend::cluster::Database;
use crate::backend::connector::{Aim, Credentials, ServerConnector, Start};
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
    let servers = database.servers(self::shard(topology, shard)?);
    if servers.primary().is_none() {
        // Nobody has looked yet, or somebody is just taking over.
        servers::ask_all(database, &servers).await;
    }
    connect_aimed(database, shard, Aim::primary(&servers, &database.access), login).await
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
    connect_aimed(database, shard, Aim::one(server, &database.access), login).await
}

async fn connect_aimed(database: &Database, shard: ShardId, aim: Aim, login: &Credentials) -> Result<Backend, Fault> {
    // It is not kept from a server that others are not to wait for: its attempts tell them when the server is back.
    let connector = ServerConnector::new(shard, aim, login, &database.access, Start::Unknown);
    let mut backend = connector.connect(None).await?;
    backend.query("SET search_path TO ''").await?;
    Ok(backend)
}

/// Whether a connection of [`connect_as`] is one to the server that is the primary now.
pub fn is_to_primary(database: &Database, topology: &Topology, shard: ShardId, server: &Backend) -> bool {
    let shard = topology.shards.get(shard.index());
    shard.is_some_and(|shard| database.servers(shard).primary_word() == server.stint)
}

/// # Errors
/// The topology has no such shard (any more).
pub fn shard(topology: &Topology, shard: ShardId) -> Result<&Shard, Fault> {
    topology.shards.get(shard.index()).ok_or_else(|| {
        Fault::new(crate::fault::SqlState::UNABLE_TO_CONNECT, "the shard is not in the configuration any more")
    })
}

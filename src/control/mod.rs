//! I/O. What the router does on its own account, beside any client: reads catalogs, resolves what commits left behind.

pub mod catalog;
pub mod ids;
pub mod resolver;

use crate::backend::Backend;
use crate::backend::cluster::{Database, ServerConnector};
use crate::backend::pool::Connect;
use crate::fault::Fault;
use crate::ids::ShardId;
use crate::topology::Role;

/// A connection of the router's own to the primary of one shard: no client's parameter ever touched it, names mean pg_catalog's.
///
/// # Errors
/// The connector's fault, or the server's.
pub async fn connect(database: &Database, shard: ShardId) -> Result<Backend, Fault> {
    let topology = &database.cluster.load().topology;
    let server = topology.shard(shard).servers.iter().find(|s| s.role == Role::Primary);
    let Some(server) = server.or(topology.shard(shard).servers.first()) else {
        return Err(Fault::new(crate::fault::SqlState::UNABLE_TO_CONNECT, "the shard has no server"));
    };
    let connector = ServerConnector {
        server: server.clone(),
        address: format!("{}:{}", server.host, server.port).into(),
        credentials: database.own.clone(),
        access: database.access.clone(),
    };
    let mut backend = connector.connect().await?;
    backend.query("SET search_path TO ''").await?;
    Ok(backend)
}

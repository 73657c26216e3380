//! I/O. What the router does on its own account, beside any client: reads catalogs, resolves what commits left behind.

pub mod catalog;
pub mod combine;
pub mod resolver;

use crate::backend::Backend;
use crate::backend::cluster::{Database, ServerConnector, primary};
use crate::backend::pool::Connect;
use crate::fault::Fault;
use crate::ids::ShardId;
use crate::topology::Server;

/// A connection of the router's own to the primary of one shard: no client's parameter ever touched it, names mean pg_catalog's.
///
/// # Errors
/// The connector's fault, or the server's.
pub async fn connect(database: &Database, shard: ShardId) -> Result<Backend, Fault> {
    let topology = &database.cluster.load().topology;
    connect_to(database, primary(topology.shard(shard))).await
}

/// The same to any server of the database.
///
/// # Errors
/// The connector's fault, or the server's.
pub async fn connect_to(database: &Database, server: &Server) -> Result<Backend, Fault> {
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

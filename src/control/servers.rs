//! Asks the servers of each shard who they are, again and again, so that a failover is followed: `backend::servers` draws the conclusions.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::{AbortHandle, JoinSet};

use crate::backend::Backend;
use crate::backend::cluster::Database;
use crate::backend::roles::{Fact, Heard};
use crate::backend::servers::{ShardServers, who};
use crate::fault::{Blame, Fault, SqlState};
use crate::ids::ShardId;

/// However many doubt a server, it is not asked more often.
const LEAST: Duration = Duration::from_millis(50);
/// How often it is looked which servers there are.
const LOOK: Duration = Duration::from_secs(1);

/// Asks all servers of a database's shards each `interval`, and when somebody has doubts. Where a shard has one server, nobody is asked.
pub async fn watch(database: Arc<Database>, interval: Duration) {
    database.access.servers.others_were_asked().await;
    let mut tasks = JoinSet::new();
    let mut running: HashMap<(usize, usize), (Arc<ShardServers>, AbortHandle)> = HashMap::new();
    loop {
        let topology = Arc::clone(&database.cluster.load().topology);
        let mut wanted = HashMap::new();
        let now: Vec<_> = topology.shards.iter().map(|shard| database.servers(shard)).collect();
        // A block that began under the list of before ends under it.
        for servers in now.into_iter().chain(database.access.servers.in_use(&database.name)) {
            if !servers.is_lone() {
                let key = |at| (Arc::as_ptr(&servers) as usize, at);
                wanted.extend((0..servers.members().len()).map(|at| (key(at), Arc::clone(&servers))));
            }
        }
        running.retain(|key, (_, task)| {
            let stays = wanted.contains_key(key);
            if !stays {
                task.abort();
            }
            stays
        });
        for (key, servers) in wanted {
            running.entry(key).or_insert_with(|| {
                let follow = follow(Arc::clone(&database), Arc::clone(&servers), key.1, interval);
                (servers, tasks.spawn(follow))
            });
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Asks one server for ever.
async fn follow(database: Arc<Database>, servers: Arc<ShardServers>, at: usize, interval: Duration) {
    let mut doubts = servers.doubts();
    let mut connection = None;
    loop {
        doubts.mark_unchanged();
        ask(&database, &servers, at, &mut connection).await;
        tokio::time::sleep(LEAST.min(interval)).await;
        // Its sender lives as long as `servers`.
        let _ = tokio::time::timeout(interval.saturating_sub(LEAST), doubts.changed()).await;
    }
}

/// Asks all servers of a shard once, for somebody who cannot wait for the next time.
pub async fn ask_all(database: &Database, servers: &ShardServers) {
    database.access.servers.others_were_asked().await;
    let asks = (0..servers.members().len()).map(async |at| ask(database, servers, at, &mut None).await);
    futures::future::join_all(asks).await;
}

/// Asks a server on this connection, or on a new one, and notes what it says.
async fn ask(database: &Database, servers: &ShardServers, at: usize, connection: &mut Option<Backend>) {
    let limit = database.access.connect_timeout;
    let asked = Instant::now();
    match tokio::time::timeout(limit, ask_on(database, servers, at, connection)).await {
        Ok(Ok(fact)) => servers.hear(at, asked, Heard::Said(fact)),
        Ok(Err(fault)) => {
            tracing::debug!(database = %database.name, server = %servers.members()[at].address, error = %fault, "a server does not tell its role");
            if connection.as_ref().is_none_or(|connection| connection.broken) || fault.blame == Blame::Server {
                *connection = None;
                servers.hear(at, asked, Heard::Silence);
            }
            // Else it answers, in the middle of becoming something else.
        }
        Err(_) => {
            *connection = None;
            let timed_out = Fault::new(SqlState::UNABLE_TO_CONNECT, "a server does not tell its role")
                .detail(format!("no answer within {limit:?}"))
                .blame(Blame::Server);
            servers.members()[at].breaker.failed(&timed_out);
            servers.hear(at, asked, Heard::Silence);
        }
    }
}

async fn ask_on(
    database: &Database,
    servers: &ShardServers,
    at: usize,
    connection: &mut Option<Backend>,
) -> Result<Fact, Fault> {
    let known =
        connection.take().map(|mut server| (server.is_where_its_name_leads() && !server.peer_has_spoken(), server));
    let server = match known {
        Some((true, server)) => connection.insert(server),
        Some((false, _)) | None => {
            let server = &servers.members()[at].server;
            // No shard's part: it is in nobody's way.
            connection.insert(super::connect_to(database, ShardId(0), server, &database.own).await?)
        }
    };
    let begun = Instant::now();
    let fact = who(server).await?;
    servers.took(at, begun.elapsed());
    servers.members()[at].breaker.succeeded();
    Ok(fact)
}

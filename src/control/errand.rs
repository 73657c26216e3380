//! What `TwoPhase` asks of a shard on a connection of the router's own: the fence, the verdict, and the end of what is prepared.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::backend::Backend;
use crate::backend::cluster::Database;
use crate::backend::connector::Credentials;
use crate::commit::Gid;
use crate::commit::decision::{status, tombstone, verdict};
use crate::commit::two_phase::{Reply, Request};
use crate::fault::{Fault, SqlState};
use crate::ids::ShardId;
use crate::topology::Topology;

/// For one statement; a tombstone may have to wait for an anchor that is committing.
const PATIENCE: &str = "SET statement_timeout TO '10s'";
/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(200);
/// A fence that waits for longer looks at what it waits for.
const HURRY: Duration = Duration::from_secs(1);

/// Connections to the shards, kept for the next errand.
pub struct Errands {
    database: Arc<Database>,
    topology: Arc<Topology>,
    connections: HashMap<ShardId, Backend>,
    /// How long an anchor may have been idle, in its open transaction, when a fence waits for it: its router is gone then.
    idle: Duration,
    /// The number of the anchor's transaction, where it is known.
    pub number: Option<u64>,
    /// As whom the transaction ran, where that is known.
    pub login: Option<Credentials>,
}

impl Errands {
    /// `topology`: the one by which shards are numbered here.
    pub fn new(database: &Arc<Database>, topology: &Arc<Topology>, idle: Duration) -> Self {
        let (database, topology) = (Arc::clone(database), Arc::clone(topology));
        Self { database, topology, connections: HashMap::new(), idle, number: None, login: None }
    }

    /// Tries again until `deadline` where trying can help.
    pub async fn run_until(&mut self, deadline: Instant, gid: &Gid, shard: ShardId, request: Request) -> Reply {
        loop {
            let tried = tokio::time::timeout_at(deadline, self.run(gid, shard, request)).await;
            match tried {
                Ok(Ok(reply)) => return reply,
                Ok(Err(fault)) => {
                    tracing::debug!(%gid, %shard, ?request, error = %fault, "errand failed");
                    if is_final(fault.code) {
                        return Reply::Failed;
                    }
                    tokio::time::sleep_until(deadline.min(Instant::now() + PAUSE)).await;
                    if Instant::now() >= deadline {
                        return Reply::Lost;
                    }
                }
                Err(_) => {
                    // Its answer is still owed.
                    self.connections.remove(&shard);
                    return Reply::Lost;
                }
            }
        }
    }

    /// Once.
    ///
    /// # Errors
    /// The shard cannot be reached, or refuses.
    pub async fn run(&mut self, gid: &Gid, shard: ShardId, request: Request) -> Result<Reply, Fault> {
        let done = self.try_run(gid, shard, request).await;
        if self.connections.get(&shard).is_some_and(|server| server.broken) {
            self.connections.remove(&shard);
        }
        done
    }

    async fn try_run(&mut self, gid: &Gid, shard: ShardId, request: Request) -> Result<Reply, Fault> {
        match request {
            Request::Fence => self.fence(gid, shard).await.map(|()| Reply::Done),
            Request::Read => self.read(gid, shard).await,
            Request::Finish { commit, .. } => self.finish(gid, shard, commit).await,
            Request::Decide | Request::Prepare | Request::Commit | Request::RollBack => {
                Err(Fault::new(SqlState::INTERNAL_ERROR, "a transaction's own request was sent on another connection"))
            }
        }
    }

    /// The connection of the router's own to this shard.
    ///
    /// # Errors
    /// The connector's fault.
    pub async fn server(&mut self, shard: ShardId) -> Result<&mut Backend, Fault> {
        let server = match self.connections.remove(&shard) {
            Some(server) if super::is_to_primary(&self.database, &self.topology, shard, &server) => server,
            Some(_) | None => {
                let mut server = self.connect(shard, &self.database.own).await?;
                server.query(PATIENCE).await?;
                server
            }
        };
        Ok(self.connections.entry(shard).or_insert(server))
    }

    async fn connect(&self, shard: ShardId, login: &Credentials) -> Result<Backend, Fault> {
        super::connect_as(&self.database, &self.topology, shard, login).await
    }

    async fn fence(&mut self, gid: &Gid, anchor: ShardId) -> Result<(), Fault> {
        let (database, topology, idle) = (Arc::clone(&self.database), Arc::clone(&self.topology), self.idle);
        let server = self.server(anchor).await?;
        let waiting = server.cancel.key.pid;
        let sql = tombstone(gid);
        let written = server.query(&sql);
        tokio::pin!(written);
        match tokio::time::timeout(HURRY, &mut written).await {
            Ok(done) => done.map(drop),
            Err(_) => {
                let second = super::connect_as(&database, &topology, anchor, &database.own).await;
                let ended = match second {
                    Ok(mut second) => end_idle_anchor(&mut second, waiting, idle).await,
                    Err(fault) => Err(fault),
                };
                match ended {
                    Ok(false) => {}
                    Ok(true) => tracing::warn!(%gid, %anchor, "ended an anchor that was left idle in its transaction"),
                    Err(fault) => tracing::debug!(%gid, %anchor, error = %fault, "an idle anchor cannot be ended"),
                }
                written.await.map(drop)
            }
        }
    }

    async fn read(&mut self, gid: &Gid, anchor: ShardId) -> Result<Reply, Fault> {
        let number = self.number;
        let server = self.server(anchor).await?;
        match first(server.query(&verdict(gid)).await?).as_deref() {
            Some("t") => return Ok(Reply::Verdict { committed: true, proven: true }),
            Some(_) => {}
            None => {
                return Err(Fault::new(SqlState::INTERNAL_ERROR, "the decision row vanished between two statements"));
            }
        }
        let status = match number {
            Some(number) => match server.query(&status(number)).await {
                Ok(rows) => first(rows),
                Err(fault) if server.broken => return Err(fault),
                // A server that crashed may not have come to this number again.
                Err(_) => None,
            },
            None => None,
        };
        // Only this word is a proof: a server that crashed may have given the number to another transaction, which committed.
        Ok(Reply::Verdict { committed: false, proven: status.as_deref() == Some("aborted") })
    }

    async fn finish(&mut self, gid: &Gid, shard: ShardId, commit: bool) -> Result<Reply, Fault> {
        let name = gid.on(&super::shard(&self.topology, shard)?.name);
        let server = self.server(shard).await?;
        match finish_on(server, &name, commit).await {
            Err(fault) if fault.code == SqlState::INSUFFICIENT_PRIVILEGE => {
                let Some(owner) = owner(server, &name).await? else { return Ok(Reply::Absent) };
                self.finish_as(shard, &owner, &name, commit).await
            }
            done => done,
        }
    }

    /// Who prepares a transaction finishes it, or a superuser: as the owner then, by its login where the configuration has it, else
    /// by one that may take on the role, as the client had.
    async fn finish_as(&self, shard: ShardId, owner: &str, name: &str, commit: bool) -> Result<Reply, Fault> {
        if let Some(login) = self.database.logins.iter().find(|login| login.user == owner) {
            let mut server = self.connect(shard, login).await?;
            return finish_on(&mut server, name, commit).await;
        }
        let all = self.login.iter().chain([&self.database.own]).chain(&self.database.logins);
        for login in all {
            let mut server = self.connect(shard, login).await?;
            if let Ok(reply) = finish_as_role(&mut server, owner, name, commit).await {
                return Ok(reply);
            }
        }
        Err(Fault::new(
            SqlState::INSUFFICIENT_PRIVILEGE,
            format!("no user of the configuration may finish what role \"{owner}\" has prepared"),
        )
        .hint(format!(
            "Grant the role to the router's user, or run on that shard as its owner: COMMIT or ROLLBACK PREPARED '{name}'."
        )))
    }
}

/// COMMIT PREPARED or ROLLBACK PREPARED on any connection that may.
///
/// # Errors
/// The server's refusal, or the loss of the connection.
pub async fn finish_on(server: &mut Backend, name: &str, commit: bool) -> Result<Reply, Fault> {
    let verb = if commit { "COMMIT" } else { "ROLLBACK" };
    match server.query(&format!("{verb} PREPARED '{name}'")).await {
        Ok(_) => Ok(Reply::Done),
        Err(fault) if fault.code == SqlState::UNDEFINED_OBJECT => Ok(Reply::Absent),
        Err(fault) => Err(fault),
    }
}

/// The same after the connection has taken on a role, which it keeps.
async fn finish_as_role(server: &mut Backend, role: &str, name: &str, commit: bool) -> Result<Reply, Fault> {
    server.query(&format!("SET ROLE \"{}\"", role.replace('"', "\"\""))).await?;
    finish_on(server, name, commit).await
}

/// Whose a prepared transaction is; `None` when it is gone.
async fn owner(server: &mut Backend, name: &str) -> Result<Option<String>, Fault> {
    let sql = format!("SELECT owner FROM pg_catalog.pg_prepared_xacts WHERE gid = '{name}'");
    Ok(first(server.query(&sql).await?))
}

/// The first value of an answer.
fn first(rows: Vec<Vec<Option<String>>>) -> Option<String> {
    rows.into_iter().flatten().next().flatten()
}

/// Ends the connection that a fence waits for, if its transaction has been idle for so long: nobody is there to commit it, or
/// somebody who will ask for the verdict. Needs the rights of pg_signal_backend.
async fn end_idle_anchor(server: &mut Backend, waiting: u32, idle: Duration) -> Result<bool, Fault> {
    let ended = server
        .query(&format!(
            "SELECT pg_catalog.pg_terminate_backend(a.pid) FROM pg_catalog.pg_stat_activity a \
             WHERE a.pid = ANY (pg_catalog.pg_blocking_pids({waiting})) AND a.state = 'idle in transaction' \
             AND a.state_change <= pg_catalog.now() - pg_catalog.make_interval(secs => {})",
            idle.as_secs_f64()
        ))
        .await?;
    Ok(!ended.is_empty())
}

/// Whether trying again is of no use: the shard answered, and will answer the same.
fn is_final(code: SqlState) -> bool {
    matches!(code, SqlState::INSUFFICIENT_PRIVILEGE | SqlState::UNDEFINED_TABLE | SqlState::UNDEFINED_COLUMN)
}

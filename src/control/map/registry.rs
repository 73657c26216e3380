//! The list of routers: each is there for as long as it keeps its lease, with the epoch that it serves. They tell each other of the shards'
//! timelines in the same rounds.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::backend::servers::ServerBook;
use crate::control::etcd::{Connection, Etcd, Lease, StoreError};
use crate::control::map::follow::random;
use crate::control::map::{MapState, timelines};

/// Before a registration that failed is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// What a router says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub id: String,
    pub host: String,
    pub pid: u32,
    /// Where clients are taken in.
    pub listen: Vec<String>,
    pub version: String,
    /// RFC 3339, in UTC.
    pub started: String,
    /// That is served; `None`: none yet.
    pub epoch: Option<u64>,
    /// In the process ids of its clients, and where cancel requests for them are passed on to; routers of older versions have neither.
    #[serde(default)]
    pub number: Option<u16>,
    #[serde(default)]
    pub reached_at: Option<String>,
}

impl Entry {
    /// `None`: a router of another version has written what this one does not read.
    pub fn read(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }
}

/// Is told of the routers in the list, again and again.
pub type Hear = Box<dyn Fn(&Entry) + Send + Sync>;

/// What a router tells the others, and learns of them.
pub struct Shared {
    pub state: Arc<MapState>,
    pub servers: Arc<ServerBook>,
    pub hear: Hear,
    /// The shards' timelines could not be exchanged the last time, and that was told.
    pub apart: bool,
}

impl Shared {
    /// Of the shards' timelines. Who may not read or write them in etcd is in the list all the same.
    async fn exchange_timelines(&mut self, connection: &mut Connection) {
        let done = timelines::exchange(connection, &self.servers).await;
        self.note_exchange(&done.map_err(|StoreError(error)| error));
    }

    /// Tells when that begins to fail, and when it does no longer.
    pub(super) fn note_exchange(&mut self, done: &Result<(), impl Display>) {
        match done {
            Ok(()) if self.apart => tracing::info!("the shards' timelines are shared with the other routers again"),
            Err(error) if !self.apart => {
                tracing::warn!(%error, "the shards' timelines are not shared with the other routers");
            }
            Ok(()) | Err(_) => {}
        }
        self.apart = done.is_err();
    }
}

/// Keeps a router in the list until `stop` resolves, whatever happens to etcd, and tells of the others that are there.
pub async fn register(mut etcd: Etcd, mut entry: Entry, mut shared: Shared, stop: impl Future<Output = ()>) {
    let mut member = (random() * etcd.settings().endpoints.len() as f64) as usize;
    let mut failures = 0;
    tokio::pin!(stop);
    loop {
        let mut place = None;
        let ended = tokio::select! {
            biased;
            () = &mut stop => {
                // It would go by itself, a little later.
                if let Some((mut connection, lease)) = place {
                    let _: Result<(), StoreError> = Connection::leave(&mut connection, &lease).await;
                }
                return;
            }
            ended = stay(&mut etcd, member, &mut entry, &mut shared, &mut place, &mut failures) => ended,
        };
        let Err(StoreError(error)) = ended else { continue };
        failures += 1;
        // Told when every member has failed, and not with each attempt.
        if failures == etcd.settings().endpoints.len() {
            tracing::warn!(%error, "this router is not in the list of routers in etcd");
        } else {
            tracing::debug!(%error, "this router is not in the list of routers");
        }
        member = member.wrapping_add(1);
        let retry = tokio::time::sleep(RETRY.mul_f64(0.5 + random() / 2.0));
        tokio::select! {
            biased;
            () = &mut stop => return,
            () = etcd.changed() => {}
            () = retry => {}
        }
    }
}

/// In the list, for as long as one member answers, or until there is another way to etcd: then the place is taken again by that, which
/// is the same place. `failures`: of those before.
async fn stay(
    etcd: &mut Etcd,
    member: usize,
    entry: &mut Entry,
    shared: &mut Shared,
    place: &mut Option<(Connection, Lease)>,
    failures: &mut usize,
) -> Result<(), StoreError> {
    let mut epochs = shared.state.epochs();
    let mut rises = shared.servers.timelines.rises();
    let ttl = etcd.settings().router_ttl;
    let mut connection = etcd.connect(member).await?;
    let lease = connection.lease(ttl).await?;
    let (connection, lease) = place.insert((connection, lease));
    loop {
        entry.epoch = *epochs.borrow_and_update();
        // Texts and numbers: they always serialise.
        let text = serde_json::to_string(&entry).unwrap_or_default();
        connection.announce(lease, &entry.id, &text).await?;
        if std::mem::take(failures) >= etcd.settings().endpoints.len() {
            tracing::info!(endpoint = %connection.endpoint, "this router is in the list of routers again");
        }
        loop {
            rises.mark_unchanged();
            shared.exchange_timelines(connection).await;
            let routers = connection.routers().await?;
            routers.iter().filter_map(|text| Entry::read(text)).for_each(|router| (shared.hear)(&router));
            // Somebody may have taken it out, or put another state of etcd in its place.
            let listed = routers.contains(&text);
            tokio::select! {
                biased;
                () = etcd.changed() => return Ok(()),
                changed = epochs.changed() => match changed {
                    Ok(()) => break,
                    Err(_) => tokio::time::sleep(ttl / 3).await,
                },
                // Its sender lives as long as `servers`.
                Ok(()) = rises.changed() => {}
                () = tokio::time::sleep(ttl / 3) => {}
            }
            connection.keep(lease).await?;
            if !listed {
                break;
            }
        }
    }
}

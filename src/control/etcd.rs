//! The shard map and the list of routers in etcd; the only door to etcd-client.
//!
//! A connection is to one member of the cluster: who loses it goes on to another. So a member that hangs costs one request's time, and
//! is not asked again by chance.
//!
//! Under the prefix lie `map`, the document that is served, and `history/<epoch>`, the same document once more, both written in one
//! transaction. A document that does not fit into one request lies in parts, `parts/<epoch>/<attempt>/<n>`, which are written before;
//! `map` then says what they are. `routers/<id>` hangs on a lease of its router. `timelines/<database>/<shard>/<system identifier>` has the
//! newest timeline of a shard's cluster that any router has heard of. `users` are those that all routers share, `mock_key` the secret of the
//! salts of strangers.

mod mock_key;
mod parts;
mod timelines;
mod users;
mod way;

use std::collections::BTreeMap;
use std::time::Duration;

use etcd_client::{
    Client, Compare, CompareOp, DeleteOptions, GetOptions, LeaseKeepAliveStream, LeaseKeeper, PutOptions, Txn, TxnOp,
    WatchStream,
};

pub use mock_key::LEAST_MOCK_KEY;
pub use timelines::Reached;
pub use users::SharedUsers;
pub use way::{Etcd, Ways};

/// Epochs that are kept.
pub const KEPT: u64 = 100;
/// etcd takes requests of 1.5 MiB, and a change has the document twice.
const WHOLE: usize = 600 << 10;

/// What went wrong, in words that name the member.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct StoreError(pub String);

/// A document as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    pub text: Result<String, Unreadable>,
    /// The revision of its last change: who changes it must have seen this one.
    pub revision: i64,
}

/// A value that somebody has put in a document's place, and that is no text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct Unreadable {
    pub value: Vec<u8>,
    pub why: String,
}

/// One look at the map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// The revision of the whole store.
    pub at: i64,
    pub map: Option<Stored>,
}

/// What became of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Swap {
    Done,
    /// Somebody else has changed the map.
    Lost,
}

/// What a watch tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// The map is another one, or gone, or nobody can say: look at it.
    Change,
    /// It lives.
    Progress,
}

/// To one of its members.
pub struct Connection {
    client: Client,
    pub endpoint: Box<str>,
    prefix: Box<str>,
    limit: Duration,
    /// Bytes that earlier documents may take.
    room: u64,
}

/// A router in the list, until its lease ends.
pub struct Lease {
    id: i64,
    keeper: LeaseKeeper,
    answers: LeaseKeepAliveStream,
}

pub struct Watch {
    stream: WatchStream,
    endpoint: Box<str>,
}

impl Connection {
    fn key(&self, name: &str) -> String {
        format!("{}/{name}", self.prefix)
    }

    async fn ask<T>(&self, answer: impl Future<Output = Result<T, etcd_client::Error>>) -> Result<T, StoreError> {
        within(self.limit, &self.endpoint, async { answer.await.map_err(|error| failed(&self.endpoint, &error)) }).await
    }

    /// The revision of the store and, where there is a map, that of its last change. No other member knows a later one.
    ///
    /// # Errors
    /// No answer in time, or a refusal.
    pub async fn revision(&mut self) -> Result<(i64, Option<i64>), StoreError> {
        let mut kv = self.client.kv_client();
        let found = self.ask(kv.get(self.key("map"), Some(GetOptions::new().with_keys_only()))).await?;
        let at = found.header().map_or(0, etcd_client::ResponseHeader::revision);
        Ok((at, found.kvs().first().map(etcd_client::KeyValue::mod_revision)))
    }

    /// # Errors
    /// As [`Self::revision`].
    pub async fn look(&mut self) -> Result<Look, StoreError> {
        let mut kv = self.client.kv_client();
        let found = self.ask(kv.get(self.key("map"), None)).await?;
        let at = found.header().map_or(0, etcd_client::ResponseHeader::revision);
        let Some(value) = found.kvs().first() else { return Ok(Look { at, map: None }) };
        let text = self.whole(value.value()).await?;
        Ok(Look { at, map: Some(Stored { text, revision: value.mod_revision() }) })
    }

    /// The document of an epoch that is still kept.
    ///
    /// # Errors
    /// As [`Self::revision`].
    pub async fn past(&mut self, epoch: u64) -> Result<Option<Result<String, Unreadable>>, StoreError> {
        let mut kv = self.client.kv_client();
        let found = self.ask(kv.get(self.key(&history(epoch)), None)).await?;
        match found.kvs().first() {
            Some(value) => self.whole(value.value()).await.map(Some),
            None => Ok(None),
        }
    }

    /// The epochs that are kept, the latest first.
    ///
    /// # Errors
    /// As [`Self::revision`].
    pub async fn epochs(&mut self) -> Result<Vec<u64>, StoreError> {
        let mut kv = self.client.kv_client();
        let prefix = self.key("history/");
        let found = self.ask(kv.get(prefix.clone(), Some(GetOptions::new().with_prefix().with_keys_only()))).await?;
        let epoch = |value: &etcd_client::KeyValue| value.key_str().ok()?.strip_prefix(&prefix)?.parse().ok();
        let mut epochs: Vec<u64> = found.kvs().iter().filter_map(epoch).collect();
        epochs.sort_unstable_by(|a, b| b.cmp(a));
        Ok(epochs)
    }

    /// Puts a document in the place of the one whose last change was `seen`; `None`: where there is none.
    ///
    /// # Errors
    /// As [`Self::revision`]. It may have come through all the same: look.
    pub async fn swap(&mut self, seen: Option<i64>, epoch: u64, text: &str) -> Result<Swap, StoreError> {
        let oldest = self.oldest_kept(epoch, text.len()).await?;
        let (value, parts) = match text.len() <= WHOLE {
            true => (text.to_owned(), None),
            false => self.put_parts(epoch, text).await.map(|(value, parts)| (value, Some(parts)))?,
        };
        let map = self.key("map");
        let unchanged = Compare::mod_revision(map.clone(), CompareOp::Equal, seen.unwrap_or(0));
        let mut changes =
            vec![TxnOp::put(map, value.clone(), None), TxnOp::put(self.key(&history(epoch)), value, None)];
        for (first, end) in [(history(0), history(oldest)), (parts::of(0), parts::of(oldest))] {
            let older = DeleteOptions::new().with_range(self.key(&end));
            changes.push(TxnOp::delete(self.key(&first), Some(older)));
        }
        let mut kv = self.client.kv_client();
        let done = self.ask(kv.txn(Txn::new().when([unchanged]).and_then(changes))).await?;
        if done.succeeded() {
            return Ok(Swap::Done);
        }
        if let Some(parts) = parts {
            self.forget_parts(&parts).await;
        }
        Ok(Swap::Lost)
    }

    /// The first epoch that stays when a document of so many bytes is put under `epoch`: of the last [`KEPT`], as many as there is room for,
    /// and always the one before. Those that fit into one request are small beside the room, and are not counted.
    async fn oldest_kept(&mut self, epoch: u64, bytes: usize) -> Result<u64, StoreError> {
        let mut kv = self.client.kv_client();
        let prefix = self.key("parts/");
        let options = GetOptions::new().with_prefix().with_keys_only();
        let found = self.ask(kv.get(prefix.clone(), Some(options))).await?;
        let epoch_of = |value: &etcd_client::KeyValue| {
            value.key_str().ok()?.strip_prefix(&prefix)?.split('/').next()?.parse::<u64>().ok()
        };
        let mut parts: BTreeMap<u64, u64> = BTreeMap::new();
        for epoch in found.kvs().iter().filter_map(epoch_of) {
            *parts.entry(epoch).or_default() += 1;
        }
        let new = if bytes <= WHOLE { 0 } else { bytes as u64 };
        Ok(first_kept(epoch, new, &parts, self.room))
    }

    /// Hears of changes of the map from this revision on.
    ///
    /// # Errors
    /// As [`Self::revision`].
    pub async fn watch(&mut self, from: i64) -> Result<Watch, StoreError> {
        self.watch_key("map", from).await
    }

    /// A lease that ends when it is not kept for this long.
    ///
    /// # Errors
    /// As [`Self::revision`].
    pub async fn lease(&mut self, ttl: Duration) -> Result<Lease, StoreError> {
        let mut client = self.client.lease_client();
        let seconds = i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX).max(1);
        let granted = self.ask(client.grant(seconds, None)).await?;
        let (keeper, answers) = self.ask(client.keep_alive(granted.id())).await?;
        Ok(Lease { id: granted.id(), keeper, answers })
    }

    /// # Errors
    /// It has ended, or nobody answers.
    pub async fn keep(&mut self, lease: &mut Lease) -> Result<(), StoreError> {
        let limit = self.limit;
        within(limit, &self.endpoint, async {
            lease.keeper.keep_alive().await.map_err(|error| failed(&self.endpoint, &error))?;
            match lease.answers.message().await.map_err(|error| failed(&self.endpoint, &error))? {
                Some(kept) if kept.ttl() > 0 => Ok(()),
                Some(_) | None => Err(StoreError(format!("{}: the lease has ended", self.endpoint))),
            }
        })
        .await
    }

    /// What others read of a router, for as long as its lease lasts.
    ///
    /// # Errors
    /// As [`Self::revision`].
    pub async fn announce(&mut self, lease: &Lease, id: &str, text: &str) -> Result<(), StoreError> {
        let mut kv = self.client.kv_client();
        let key = self.key(&format!("routers/{id}"));
        self.ask(kv.put(key, text, Some(PutOptions::new().with_lease(lease.id)))).await.map(drop)
    }

    /// The router is gone, and says so.
    ///
    /// # Errors
    /// As [`Self::revision`]; then the lease ends by itself.
    pub async fn leave(&mut self, lease: &Lease) -> Result<(), StoreError> {
        let mut client = self.client.lease_client();
        self.ask(client.revoke(lease.id)).await.map(drop)
    }

    /// What routers say of themselves.
    ///
    /// # Errors
    /// As [`Self::revision`].
    pub async fn routers(&mut self) -> Result<Vec<String>, StoreError> {
        let mut kv = self.client.kv_client();
        let found = self.ask(kv.get(self.key("routers/"), Some(GetOptions::new().with_prefix()))).await?;
        Ok(found.kvs().iter().map(|value| String::from_utf8_lossy(value.value()).into_owned()).collect())
    }
}

impl Watch {
    /// # Errors
    /// It has ended.
    pub async fn next(&mut self) -> Result<Heard, StoreError> {
        let message = self.stream.message().await.map_err(|error| failed(&self.endpoint, &error))?;
        let Some(message) = message else { return Err(StoreError(format!("{}: the watch has ended", self.endpoint))) };
        // Compacted: what was between is gone, and the map of now is what counts.
        if message.compact_revision() > 0 || !message.events().is_empty() {
            return Ok(Heard::Change);
        }
        if message.canceled() {
            let reason = message.cancel_reason();
            return Err(StoreError(format!("{}: the watch was cancelled: {reason}", self.endpoint)));
        }
        Ok(Heard::Progress)
    }
}

/// `parts`: how many lie there of each epoch.
fn first_kept(epoch: u64, new: u64, parts: &BTreeMap<u64, u64>, room: u64) -> u64 {
    let oldest = epoch.saturating_sub(KEPT - 1);
    let mut left = room.saturating_sub(new);
    for (at, (known, count)) in parts.range(oldest..epoch).rev().enumerate() {
        let bytes = count.saturating_mul(parts::PART as u64);
        if bytes > left && at > 0 {
            return known + 1;
        }
        left = left.saturating_sub(bytes);
    }
    oldest
}

fn history(epoch: u64) -> String {
    format!("history/{epoch:020}")
}

fn failed(endpoint: &str, error: &etcd_client::Error) -> StoreError {
    let said = match error {
        etcd_client::Error::GRpcStatus(status) => status.message().to_owned(),
        other => other.to_string(),
    };
    let hint = match said.contains("database space exceeded") {
        true => {
            "; its quota is used up: compact and defragment it and disarm its alarm, as docs/TOPOLOGY.md says under \"Room in etcd\""
        }
        false => "",
    };
    StoreError(format!("{endpoint}: {said}{hint}"))
}

async fn within<T>(
    limit: Duration,
    endpoint: &str,
    answer: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    let answered = tokio::time::timeout(limit, answer).await;
    answered.unwrap_or_else(|_| Err(StoreError(format!("{endpoint}: no answer within {limit:?}"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_documents_go_where_there_is_no_room_and_the_one_before_stays() {
        const PART: u64 = parts::PART as u64;
        let parts: BTreeMap<u64, u64> = (1..=300).map(|epoch| (epoch, 2)).collect();
        let first = |room: u64| first_kept(301, 2 * PART, &parts, room);
        assert_eq!(first(u64::MAX), 301 - (KEPT - 1));
        assert_eq!([first(10 * PART), first(9 * PART), first(8 * PART)], [297, 298, 298]);
        assert_eq!([first(4 * PART), first(2 * PART), first(0)], [300; 3]);
        // What fits into one request takes no room.
        assert_eq!(first_kept(301, 0, &BTreeMap::new(), 0), 301 - (KEPT - 1));
        assert_eq!(first_kept(1, 0, &BTreeMap::new(), 0), 0);
    }
}

//! The shard map and the list of routers in etcd; the only door to etcd-client.
//!
//! A connection is to one member of the cluster: who loses it goes on to another. So a member that hangs costs one request's time, and
//! is not asked again by chance.
//!
//! Under the prefix lie `map`, the document that is served, and `history/<epoch>`, the same document once more, both written in one
//! transaction. A document that does not fit into one request lies in parts, `parts/<epoch>/<attempt>/<n>`, which are written before;
//! `map` then says what they are. `routers/<id>` hangs on a lease of its router. `timelines/<database>/<shard>/<system identifier>` has the
//! newest timeline of a shard's cluster that any router has heard of.

mod parts;
mod timelines;
mod way;

use std::time::Duration;

use etcd_client::{
    Client, Compare, CompareOp, DeleteOptions, GetOptions, LeaseKeepAliveStream, LeaseKeeper, PutOptions, Txn, TxnOp,
    WatchOptions, WatchStream,
};

pub use timelines::Reached;
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
        let value = if text.len() <= WHOLE { text.to_owned() } else { self.put_parts(epoch, text).await? };
        let map = self.key("map");
        let unchanged = Compare::mod_revision(map.clone(), CompareOp::Equal, seen.unwrap_or(0));
        let mut changes =
            vec![TxnOp::put(map, value.clone(), None), TxnOp::put(self.key(&history(epoch)), value, None)];
        if let Some(old) = epoch.checked_sub(KEPT) {
            changes.push(TxnOp::delete(self.key(&history(old)), None));
            let all = DeleteOptions::new().with_prefix();
            changes.push(TxnOp::delete(self.key(&format!("parts/{old:020}/")), Some(all)));
        }
        let mut kv = self.client.kv_client();
        let done = self.ask(kv.txn(Txn::new().when([unchanged]).and_then(changes))).await?;
        Ok(if done.succeeded() { Swap::Done } else { Swap::Lost })
    }

    /// Hears of changes of the map from this revision on.
    ///
    /// # Errors
    /// As [`Self::revision`].
    pub async fn watch(&mut self, from: i64) -> Result<Watch, StoreError> {
        let mut client = self.client.watch_client();
        let options = WatchOptions::new().with_start_revision(from).with_progress_notify();
        let stream = self.ask(client.watch(self.key("map"), Some(options))).await?;
        Ok(Watch { stream, endpoint: self.endpoint.clone() })
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

fn history(epoch: u64) -> String {
    format!("history/{epoch:020}")
}

fn failed(endpoint: &str, error: &etcd_client::Error) -> StoreError {
    let said = match error {
        etcd_client::Error::GRpcStatus(status) => status.message().to_owned(),
        other => other.to_string(),
    };
    StoreError(format!("{endpoint}: {said}"))
}

async fn within<T>(
    limit: Duration,
    endpoint: &str,
    answer: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    let answered = tokio::time::timeout(limit, answer).await;
    answered.unwrap_or_else(|_| Err(StoreError(format!("{endpoint}: no answer within {limit:?}"))))
}

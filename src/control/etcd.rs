//! The shard map and the list of routers in etcd; the only door to etcd-client.
//!
//! A connection is to one member of the cluster: who loses it goes on to another. So a member that hangs costs one request's time, and
//! is not asked again by chance.
//!
//! Under the prefix lie `map`, the document that is served, and `history/<epoch>`, the same document once more, both written in one
//! transaction. A document that does not fit into one request lies in parts, `parts/<epoch>/<attempt>/<n>`, which are written before;
//! `map` then says what they are. `routers/<id>` hangs on a lease of its router.

use std::time::Duration;

use etcd_client::{
    Certificate, Client, Compare, CompareOp, ConnectOptions, DeleteOptions, GetOptions, Identity, LeaseKeepAliveStream,
    LeaseKeeper, PutOptions, TlsOptions, Txn, TxnOp, WatchOptions, WatchStream,
};
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};

use crate::config::EtcdSettings;

/// Epochs that are kept.
pub const KEPT: u64 = 100;
/// etcd takes requests of 1.5 MiB, and a change has the document twice.
const WHOLE: usize = 600 << 10;
const PART: usize = 1 << 20;
/// A map in parts that says it has more is none.
const MOST_PARTS: usize = 1024;

/// What went wrong, in words that name the member.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct StoreError(pub String);

/// A document as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    pub text: String,
    /// The revision of its last change: who changes it must have seen this one.
    pub revision: i64,
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

/// What stands in `map` instead of a document in parts.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Contents {
    parts_at: String,
    parts: usize,
    bytes: usize,
    sha256: String,
}

/// The cluster.
pub struct Etcd {
    settings: EtcdSettings,
    options: ConnectOptions,
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

impl Etcd {
    /// # Errors
    /// A certificate cannot be read.
    pub fn new(settings: &EtcdSettings) -> Result<Self, StoreError> {
        let read = |path: &std::path::Path| {
            std::fs::read(path).map_err(|error| StoreError(format!("cannot read {}: {error}", path.display())))
        };
        let mut options = ConnectOptions::new()
            .with_connect_timeout(settings.request_timeout)
            .with_keep_alive(settings.check_interval, settings.request_timeout)
            .with_keep_alive_while_idle(true)
            .with_require_leader(true)
            .with_auto_token_refresh(true);
        if let Some((user, password)) = &settings.login {
            options = options.with_user(user.to_string(), String::from_utf8_lossy(password.reveal()));
        }
        if settings.tls {
            let mut tls = match &settings.ca_file {
                Some(ca) => TlsOptions::new().ca_certificate(Certificate::from_pem(read(ca)?)),
                None => TlsOptions::new().with_enabled_roots(),
            };
            if let Some(identity) = &settings.identity {
                tls = tls.identity(Identity::from_pem(read(&identity.cert_file)?, read(&identity.key_file)?));
            }
            options = options.with_tls(tls);
        }
        Ok(Self { settings: settings.clone(), options })
    }

    pub fn settings(&self) -> &EtcdSettings {
        &self.settings
    }

    /// To a member, counted round and round.
    ///
    /// # Errors
    /// It is not there, or does not let us in.
    pub async fn connect(&self, member: usize) -> Result<Connection, StoreError> {
        let endpoints = &self.settings.endpoints;
        let endpoint = &endpoints[member % endpoints.len()];
        let limit = self.settings.request_timeout;
        // The channel below never says why it cannot connect; this does, and at once.
        let address = endpoint.split_once("://").map_or(&**endpoint, |(_, address)| address);
        within(limit, endpoint, async {
            tokio::net::TcpStream::connect(address).await.map_err(|error| StoreError(format!("{endpoint}: {error}")))
        })
        .await?;
        let client = within(limit, endpoint, async {
            Client::connect([&**endpoint], Some(self.options.clone())).await.map_err(|error| failed(endpoint, &error))
        })
        .await?;
        Ok(Connection { client, endpoint: endpoint.clone(), prefix: self.settings.prefix.clone(), limit })
    }

    /// To the first member that answers a look at the map.
    ///
    /// # Errors
    /// What each of them has said.
    pub async fn any(&self) -> Result<Connection, StoreError> {
        let mut errors = Vec::new();
        for member in 0..self.settings.endpoints.len() {
            let tried = async {
                let mut connection = self.connect(member).await?;
                connection.revision().await.map(|_| connection)
            };
            match tried.await {
                Ok(connection) => return Ok(connection),
                Err(StoreError(error)) => errors.push(error),
            }
        }
        Err(StoreError(errors.join("; ")))
    }
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
    /// As [`Self::revision`]; a map in parts that are not all there.
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
    /// As [`Self::look`].
    pub async fn past(&mut self, epoch: u64) -> Result<Option<String>, StoreError> {
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

    /// What is to stand in `map` when the parts are there. Parts of an attempt that loses go with their epoch.
    async fn put_parts(&mut self, epoch: u64, text: &str) -> Result<String, StoreError> {
        let mut attempt = [0; 8];
        SystemRandom::new().fill(&mut attempt).map_err(|_| StoreError("no random number".to_owned()))?;
        let parts_at = format!("parts/{epoch:020}/{:016x}/", u64::from_be_bytes(attempt));
        let mut kv = self.client.kv_client();
        let parts = text.as_bytes().chunks(PART);
        let contents = Contents { parts: parts.len(), bytes: text.len(), sha256: sha256(text.as_bytes()), parts_at };
        for (number, part) in parts.enumerate() {
            self.ask(kv.put(self.key(&format!("{}{number:05}", contents.parts_at)), part, None)).await?;
        }
        Ok(serde_json::json!({ "in_parts": contents }).to_string())
    }

    async fn whole(&mut self, value: &[u8]) -> Result<String, StoreError> {
        #[derive(Deserialize)]
        struct InParts {
            in_parts: Contents,
        }
        let not_utf8 = |_| StoreError("the map is not UTF-8".to_owned());
        if !value.starts_with(b"{\"in_parts\"") {
            return String::from_utf8(value.to_vec()).map_err(|error| not_utf8(error.utf8_error()));
        }
        let InParts { in_parts } =
            serde_json::from_slice(value).map_err(|error| StoreError(format!("the map's parts: {error}")))?;
        let wrong = || StoreError("the parts of the map are not those that were written".to_owned());
        if in_parts.parts > MOST_PARTS || in_parts.bytes > in_parts.parts * PART {
            return Err(wrong());
        }
        let mut text = Vec::with_capacity(in_parts.bytes);
        let mut kv = self.client.kv_client();
        for number in 0..in_parts.parts {
            let found = self.ask(kv.get(self.key(&format!("{}{number:05}", in_parts.parts_at)), None)).await?;
            text.extend_from_slice(found.kvs().first().ok_or_else(wrong)?.value());
        }
        if text.len() != in_parts.bytes || sha256(&text) != in_parts.sha256 {
            return Err(wrong());
        }
        String::from_utf8(text).map_err(|error| not_utf8(error.utf8_error()))
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

fn sha256(bytes: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
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

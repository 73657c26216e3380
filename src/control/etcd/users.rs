//! The users that all routers of a map share: one text, as that of auth_file, beside the map.

use etcd_client::{Compare, CompareOp, GetOptions, Txn, TxnOp, WatchOptions};

use super::{Connection, StoreError, Swap, Watch};

const NAME: &str = "users";

/// The users as they stand there.
#[derive(Clone, PartialEq, Eq)]
pub struct SharedUsers {
    /// Names and SCRAM verifiers. A secret: who has a verifier can pretend to be the server, and can guess passwords at home.
    pub text: String,
    /// The revision of its last change: who changes it must have seen this one.
    pub revision: i64,
}

impl Connection {
    /// The revision of the whole store, and the users; `None`: nobody has put any there.
    ///
    /// # Errors
    /// As [`Self::revision`]; what is there is no text.
    pub async fn users(&mut self) -> Result<(i64, Option<SharedUsers>), StoreError> {
        let mut kv = self.client.kv_client();
        let found = self.ask(kv.get(self.key(NAME), None)).await?;
        let at = found.header().map_or(0, etcd_client::ResponseHeader::revision);
        let Some(kept) = found.kvs().first() else { return Ok((at, None)) };
        let text = kept.value_str().map_err(|_| StoreError(format!("{}: {NAME} is no text", self.endpoint)))?;
        Ok((at, Some(SharedUsers { text: text.to_owned(), revision: kept.mod_revision() })))
    }

    /// The revision of the last change of them, and that of the store.
    ///
    /// # Errors
    /// As [`Self::revision`].
    pub async fn users_revision(&mut self) -> Result<(i64, Option<i64>), StoreError> {
        let mut kv = self.client.kv_client();
        let found = self.ask(kv.get(self.key(NAME), Some(GetOptions::new().with_keys_only()))).await?;
        let at = found.header().map_or(0, etcd_client::ResponseHeader::revision);
        Ok((at, found.kvs().first().map(etcd_client::KeyValue::mod_revision)))
    }

    /// Puts others in the place of those whose last change was `seen`; `None`: where there are none.
    ///
    /// # Errors
    /// As [`Self::revision`].
    pub async fn swap_users(&mut self, seen: Option<i64>, text: &str) -> Result<Swap, StoreError> {
        let key = self.key(NAME);
        let unchanged = Compare::mod_revision(key.clone(), CompareOp::Equal, seen.unwrap_or(0));
        let put = TxnOp::put(key, text, None);
        let mut kv = self.client.kv_client();
        let done = self.ask(kv.txn(Txn::new().when([unchanged]).and_then([put]))).await?;
        Ok(if done.succeeded() { Swap::Done } else { Swap::Lost })
    }

    /// Hears of changes of the users from this revision on.
    ///
    /// # Errors
    /// As [`Self::revision`].
    pub async fn watch_users(&mut self, from: i64) -> Result<Watch, StoreError> {
        self.watch_key(NAME, from).await
    }

    /// Hears of changes of a key from this revision on.
    pub(super) async fn watch_key(&mut self, name: &str, from: i64) -> Result<Watch, StoreError> {
        let mut client = self.client.watch_client();
        let options = WatchOptions::new().with_start_revision(from).with_progress_notify();
        let stream = self.ask(client.watch(self.key(name), Some(options))).await?;
        Ok(Watch { stream, endpoint: self.endpoint.clone() })
    }
}

//! The secret of which the salts of strangers are made: one for all routers of a map.

use etcd_client::{Compare, CompareOp, Txn, TxnOp};

use super::{Connection, StoreError};
use crate::secret::Secret;

const NAME: &str = "mock_key";
/// Bytes of a secret that could not be guessed.
pub const LEAST_MOCK_KEY: usize = 16;

impl Connection {
    /// The one that is kept; `made`, where there is none yet.
    ///
    /// # Errors
    /// As [`Self::revision`]; the one that is kept could be guessed.
    pub async fn mock_key(&mut self, made: &Secret) -> Result<Secret, StoreError> {
        if let Some(kept) = self.kept_mock_key().await? {
            return Ok(kept);
        }
        let key = self.key(NAME);
        let none = Compare::create_revision(key.clone(), CompareOp::Equal, 0);
        let put = TxnOp::put(key, made.reveal(), None);
        let mut kv = self.client.kv_client();
        // Whoever was first has made that of all.
        self.ask(kv.txn(Txn::new().when([none]).and_then([put]))).await?;
        let kept = self.kept_mock_key().await?;
        kept.ok_or_else(|| StoreError(format!("{}: {NAME} has been taken away", self.endpoint)))
    }

    async fn kept_mock_key(&mut self) -> Result<Option<Secret>, StoreError> {
        let mut kv = self.client.kv_client();
        let found = self.ask(kv.get(self.key(NAME), None)).await?;
        let Some(kept) = found.kvs().first().map(|kept| kept.value().trim_ascii()) else { return Ok(None) };
        if kept.len() < LEAST_MOCK_KEY {
            let too_short = format!("{}: {NAME} has fewer than {LEAST_MOCK_KEY} bytes", self.endpoint);
            return Err(StoreError(too_short));
        }
        Ok(Some(Secret::new(kept.to_vec())))
    }
}

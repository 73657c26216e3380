//! The newest timeline of each shard's cluster, as any of the routers has heard of it.

use std::collections::BTreeMap;

use etcd_client::{Compare, CompareOp, GetOptions, Txn, TxnOp};

use super::{Connection, StoreError, Swap};
use crate::backend::timelines::Lineage;

/// A timeline as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reached {
    /// 0 for a value that is no number: the next router that knows better writes over it.
    pub timeline: u32,
    /// The revision of its last change: who raises it must have seen this one.
    pub revision: i64,
}

const UNDER: &str = "timelines/";

impl Connection {
    /// By the shards' clusters.
    ///
    /// # Errors
    /// As [`Self::revision`].
    pub async fn timelines(&mut self) -> Result<BTreeMap<Lineage, Reached>, StoreError> {
        let mut kv = self.client.kv_client();
        let prefix = self.key(UNDER);
        let found = self.ask(kv.get(prefix.clone(), Some(GetOptions::new().with_prefix()))).await?;
        let reached = |value: &etcd_client::KeyValue| {
            let lineage = Lineage::parse(value.key_str().ok()?.strip_prefix(&prefix)?)?;
            let timeline = value.value_str().ok().and_then(|text| text.parse().ok()).unwrap_or(0);
            Some((lineage, Reached { timeline, revision: value.mod_revision() }))
        };
        Ok(found.kvs().iter().filter_map(reached).collect())
    }

    /// Puts a later timeline in the place of the one that was `seen`; `None`: where there is none.
    ///
    /// # Errors
    /// As [`Self::revision`].
    pub async fn raise_timeline(
        &mut self,
        lineage: &Lineage,
        seen: Option<Reached>,
        timeline: u32,
    ) -> Result<Swap, StoreError> {
        let key = self.key(&format!("{UNDER}{lineage}"));
        let seen = seen.map_or(0, |seen| seen.revision);
        let unchanged = Compare::mod_revision(key.clone(), CompareOp::Equal, seen);
        let put = TxnOp::put(key, timeline.to_string(), None);
        let mut kv = self.client.kv_client();
        let done = self.ask(kv.txn(Txn::new().when([unchanged]).and_then([put]))).await?;
        Ok(if done.succeeded() { Swap::Done } else { Swap::Lost })
    }
}

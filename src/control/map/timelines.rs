//! Routers that share a map tell each other of the shards' timelines: one that has just begun, and does not reach the new primary, knows
//! the old one for what it is.

use crate::backend::servers::ServerBook;
use crate::control::etcd::{Connection, StoreError, Swap};

/// Learns what others have heard of, and tells them of what they have not.
///
/// # Errors
/// Those of the store. What was read until then is known.
pub async fn exchange(connection: &mut Connection, servers: &ServerBook) -> Result<(), StoreError> {
    loop {
        let stored = connection.timelines().await?;
        servers.learn(stored.iter().map(|(lineage, reached)| (lineage.clone(), reached.timeline)));
        let mut lost = false;
        for (lineage, timeline) in servers.timelines.all() {
            let seen = stored.get(&lineage).copied();
            if seen.is_none_or(|seen| timeline > seen.timeline) {
                lost |= connection.raise_timeline(&lineage, seen, timeline).await? == Swap::Lost;
            }
        }
        // Who was there first may have heard of a later one, or of an earlier one.
        if !lost {
            return Ok(());
        }
    }
}

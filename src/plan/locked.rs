//! SELECT with row locks of rows that are put together in one place: what one call asks for.

use std::sync::Arc;

use crate::ids::ShardSet;
use crate::plan::{Inputs, Plan, PlanKind, Why, Window, refused, window};
use crate::sql::Access;
use crate::sql::locked::Locked;

/// How it is carried out, in a transaction, the client's or one that is opened for it:
/// 1. The statement is read without its locks, LIMIT and OFFSET, and with the keys of the rows that it locks behind its columns.
/// 2. Of its rows as many as it wants are locked, in order, by those keys: table by table, on the shards where they lie.
/// 3. If any of that is new, both once more: what has been waited for may be other rows now. Else what was read is the answer.
#[derive(Clone, Debug)]
pub struct LockedPlan {
    pub shards: ShardSet,
    pub locked: Arc<Locked>,
    pub window: Window,
}

pub(super) fn plan(locked: &Arc<Locked>, shards: ShardSet, why: Why, inputs: &Inputs<'_>) -> Plan {
    match window(&locked.limit, inputs) {
        Ok(window) => {
            let plan = LockedPlan { shards, locked: Arc::clone(locked), window };
            Plan { kind: PlanKind::Locked(Arc::new(plan)), access: Access::Lock, why }
        }
        Err(fault) => refused(fault),
    }
}

//! SELECT with row locks and LIMIT over several shards: the texts of one call.

use std::sync::Arc;

use crate::fault::Fault;
use crate::ids::{Oid, ShardSet};
use crate::plan::combine::Gather;
use crate::plan::{Inputs, Plan, PlanKind, Why, Window, lost_literals, refused, window};
use crate::sql::Access;
use crate::sql::claim::{Claim, KEYS, WHICH_SHARD};
use crate::sql::locking::Busy;
use crate::sql::pieces::Pieces;
use crate::types::Collation;

/// Rows that are locked one after the other, by the order of the result, until there are enough.
///
/// How it is carried out, in a transaction, the client's or one that is opened for it:
/// 1. Each shard opens a portal of `candidates`: its rows in order, which are merged as far as they are needed.
/// 2. As many of them as are missing are locked by their keys; those that are skipped, or that another transaction has changed so that
///    they do not belong to the result any more, are missing again.
/// 3. `rows` reads what is locked, behind the OFFSET.
#[derive(Clone, Debug, PartialEq)]
pub struct ClaimPlan {
    pub shards: ShardSet,
    pub candidates: ClaimText,
    /// The types of the sort keys.
    pub sorts: Vec<(Oid, Collation)>,
    pub gather: Gather,
    /// Types of the primary key's columns, and of arrays of them.
    pub key: Arc<[(Oid, Oid)]>,
    pub lock: ClaimText,
    pub busy: Busy,
    pub rows: ClaimText,
    pub window: Window,
}

/// A text, and what its parameters are: `$n` of the client's as n - 1, or one of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimText {
    pub text: String,
    pub parameters: Vec<u16>,
}

impl ClaimText {
    fn of(pieces: &Pieces, inputs: &Inputs<'_>) -> Result<Self, Fault> {
        let (mut text, mut parameters) = (String::new(), Vec::new());
        pieces.fill(&mut text, inputs.text, inputs.slots, &mut parameters).ok_or_else(lost_literals)?;
        Ok(Self { text, parameters })
    }

    /// What its parameters are, for people.
    pub fn describe(&self) -> String {
        let of = self.parameters.iter().map(|p| match *p {
            WHICH_SHARD => "the shard".to_owned(),
            p if p >= KEYS => format!("keys {}", p - KEYS + 1),
            p => format!("${}", p + 1),
        });
        of.collect::<Vec<_>>().join(", ")
    }
}

pub(super) fn plan(claim: &Claim, shards: ShardSet, why: Why, inputs: &Inputs<'_>) -> Plan {
    match fill(claim, shards, inputs) {
        Ok(plan) => Plan { kind: PlanKind::Claim(Arc::new(plan)), access: Access::Lock, why },
        Err(fault) => refused(fault),
    }
}

pub(super) fn fill(claim: &Claim, shards: ShardSet, inputs: &Inputs<'_>) -> Result<ClaimPlan, Fault> {
    Ok(ClaimPlan {
        shards,
        candidates: ClaimText::of(&claim.candidates, inputs)?,
        sorts: claim.sorts.clone(),
        gather: claim.gather.clone(),
        key: Arc::clone(&claim.key),
        lock: ClaimText::of(&claim.lock, inputs)?,
        busy: claim.busy,
        rows: ClaimText::of(&claim.rows, inputs)?,
        window: window(&claim.limit, inputs)?,
    })
}

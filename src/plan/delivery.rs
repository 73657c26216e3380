//! Rows that a Postgres puts together before they are written, and how they reach the shards that they belong to.

use std::sync::Arc;

use crate::fault::Fault;
use crate::ids::ShardSet;
use crate::plan::{FinishPlan, Inputs, Plan, PlanKind, View, Why, finish, lost_literals, refused};
use crate::sql::Access;
use crate::sql::delivery::{Delivery, Depot, Landing, Place};
use crate::sql::rewrite::renumber;
use crate::topology::Topology;

/// A write whose rows are put together first.
///
/// How it is carried out, in a transaction, the client's or one that is opened for it:
/// 1. The client's ORIGINAL statement is parsed and described on the home shard, as for a [`FinishPlan`].
/// 2. `finish` is carried out up to its end: it fills its depot on the combine connection. By then all that the statement reads has been
///    read, and every row is what an INSERT would make of it.
/// 3. The depot's rows go to the shards, each to the one of its key, as fast as the slowest takes them.
#[derive(Clone, Debug)]
pub struct DeliveryPlan {
    /// `INSERT INTO pg_temp.<depot> ...`; it has a depot.
    pub finish: FinishPlan,
    pub landing: Arc<Landing>,
    /// The INSERT that takes the rows on each shard; `None`: COPY does.
    pub taking: Option<TakingPlan>,
}

/// An INSERT of rows that are sent along with it as arrays, one for each column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TakingPlan {
    /// `INSERT INTO table [AS alias]`
    pub head: String,
    /// The client's ON CONFLICT and RETURNING; the arrays' parameters follow those that it uses.
    pub tail: String,
    /// Which of the client's parameters (`$n` as n - 1) are `$1, $2, ...` of `tail`.
    pub parameters: Vec<u16>,
    /// RETURNING gives every row once, in its order.
    pub in_order: bool,
    /// Every shard must read the same time in `tail`.
    pub reads_clock: bool,
}

impl DeliveryPlan {
    pub fn depot(&self) -> Option<&Arc<Depot>> {
        self.finish.depot.as_ref()
    }

    /// Every shard that may get rows.
    pub fn targets(&self, topology: &Topology) -> ShardSet {
        match &self.landing.place {
            Place::Keyed { distribution, .. } => topology.distribution(*distribution).shards(),
            Place::Everywhere => topology.all_shards(),
            Place::Home => [topology.home].into_iter().collect(),
        }
    }
}

pub(super) fn plan(delivery: &Delivery, inputs: &Inputs<'_>, view: &View<'_>, parameters: u16) -> Plan {
    match fill(delivery, inputs, view, parameters) {
        Ok(plan) => {
            let why = match &plan.landing.place {
                Place::Keyed { name, .. } => Why::Keys(Arc::clone(name)),
                Place::Everywhere => Why::Reference,
                Place::Home => Why::Unsharded,
            };
            Plan { kind: PlanKind::Deliver(Arc::new(plan)), access: Access::Write, why }
        }
        Err(fault) => refused(fault),
    }
}

fn fill(delivery: &Delivery, inputs: &Inputs<'_>, view: &View<'_>, parameters: u16) -> Result<DeliveryPlan, Fault> {
    let taking = match &delivery.landing.taking {
        None => None,
        Some(taking) => {
            let mut text = String::new();
            taking.tail.fill(&mut text, inputs.text, inputs.slots, &mut Vec::new()).ok_or_else(lost_literals)?;
            let (tail, used) = renumber(&text, parameters).ok_or_else(lost_literals)?;
            Some(TakingPlan {
                head: taking.head.clone(),
                tail,
                parameters: used.map_or_else(|| (0..parameters).collect(), |used| used.to_vec()),
                in_order: taking.in_order,
                reads_clock: taking.reads_clock,
            })
        }
    };
    // It runs in a transaction, whether or not the client has one open.
    let view = View { in_transaction: true, ..*view };
    let mut finish = finish::fill(&delivery.finish, inputs, &view)?;
    let moved = delivery.landing.moved.as_ref();
    finish.moves = moved.map(|_| delivery.landing.table.clone());
    Ok(DeliveryPlan { finish, landing: Arc::clone(&delivery.landing), taking })
}

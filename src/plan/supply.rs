//! UPDATE and DELETE on several shards that are sent what they read of other tables.

use std::sync::Arc;

use crate::fault::Fault;
use crate::ids::ShardSet;
use crate::plan::{
    ClaimPlan, FinishPlan, Inputs, Plan, PlanKind, View, Why, claim, finish, lost_literals, refused, route,
    unknown_value,
};
use crate::sql::Access;
use crate::sql::pieces::Pieces;
use crate::sql::rewrite::renumber;
use crate::sql::supply::{Supply, SupplyPlace, SupplyRows, SupplyTarget};

/// A write for which rows of other tables are put together first.
///
/// How it is carried out, in a transaction, the client's or one that is opened for it:
/// 1. Where there are supplies: the client's ORIGINAL statement is parsed and described on the home shard, and the pulls of `finish` fill
///    their inputs on the combine connection, as for a [`FinishPlan`]. Each supply is read there, and held.
/// 2. Every shard runs the statement, with the supplies and the time as WITH queries over arrays.
#[derive(Clone, Debug, PartialEq)]
pub struct SupplyPlan {
    pub finish: FinishPlan,
    pub supplies: Vec<Supplied>,
    /// Behind its own WITH.
    pub statement: String,
    /// The statement has a WITH of its own, perhaps a recursive one.
    pub with: Option<bool>,
    /// What reads the clock reads [`crate::sql::supply::MOMENT`].
    pub moment: bool,
    pub shards: ShardSet,
    /// The same on every shard.
    pub everywhere: bool,
    /// Which of the client's parameters (`$n` as n - 1) are `$1, $2, ...` of `statement`.
    pub parameters: Vec<u16>,
}

impl SupplyPlan {
    /// The shards that run the statement, and those where rows are locked for it.
    pub fn reaches(&self) -> ShardSet {
        let mut shards = self.shards.clone();
        self.supplies.iter().filter_map(Supplied::claim).for_each(|claim| shards.union_with(&claim.shards));
        shards
    }
}

impl Supplied {
    /// What locks the rows.
    pub fn claim(&self) -> Option<&ClaimPlan> {
        match &self.rows {
            SuppliedRows::Claim(claim) => Some(claim),
            SuppliedRows::Pull(_) | SuppliedRows::Query { .. } => None,
        }
    }
}

/// Rows that are sent along.
#[derive(Clone, Debug, PartialEq)]
pub struct Supplied {
    pub name: String,
    pub rows: SuppliedRows,
    /// Each row to one shard only.
    pub place: Option<SupplyPlace>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum SuppliedRows {
    /// Those of the input of this pull.
    Pull(usize),
    /// Those that a query gives on the combine connection; and which of the client's parameters are its own.
    Query { sql: String, parameters: Vec<u16> },
    /// Those that a query locks on the shards.
    Claim(Box<ClaimPlan>),
}

pub(super) fn plan(supply: &Supply, why: Option<Why>, inputs: &Inputs<'_>, view: &View<'_>) -> Plan {
    match fill(supply, inputs, view) {
        Ok(plan) => {
            let why = why.unwrap_or_else(|| match &supply.target {
                SupplyTarget::Sharded(group) => Why::NoKey(group.name.clone()),
                SupplyTarget::Everywhere => Why::Reference,
                SupplyTarget::Home => Why::Unsharded,
            });
            Plan { kind: PlanKind::Supply(Arc::new(plan)), access: Access::Write, why }
        }
        Err(fault) => refused(fault),
    }
}

pub(super) fn fill(supply: &Supply, inputs: &Inputs<'_>, view: &View<'_>) -> Result<SupplyPlan, Fault> {
    let parameters = supply.parameters;
    let topology = view.topology;
    let (shards, everywhere) = match &supply.target {
        SupplyTarget::Sharded(group) => {
            let mut reach = route::reach(group, inputs, topology);
            if reach.unsure {
                return Err(unknown_value(Some(&group.name)));
            }
            if reach.shards.is_empty() {
                // Some shard says what the statement returns.
                topology
                    .distribution(group.distribution)
                    .shards()
                    .min()
                    .into_iter()
                    .for_each(|s| reach.shards.insert(s));
            }
            (reach.shards, false)
        }
        SupplyTarget::Everywhere => (topology.all_shards(), true),
        SupplyTarget::Home => ([topology.home].into_iter().collect(), false),
    };
    let text = |pieces: &Pieces| -> Result<(String, Vec<u16>), Fault> {
        let mut text = String::new();
        pieces.fill(&mut text, inputs.text, inputs.slots, &mut Vec::new()).ok_or_else(lost_literals)?;
        let (text, used) = renumber(&text, parameters).ok_or_else(lost_literals)?;
        Ok((text, used.map_or_else(|| (0..parameters).collect(), |used| used.to_vec())))
    };
    let supplies = supply.supplies.iter().map(|of| {
        let rows = match &of.rows {
            SupplyRows::Pull(at) => SuppliedRows::Pull(*at),
            SupplyRows::Query(sql) => {
                let (sql, parameters) = text(sql)?;
                SuppliedRows::Query { sql, parameters }
            }
            SupplyRows::Claim { claim, groups } => {
                let mut shards = ShardSet::new();
                groups.iter().for_each(|group| shards.union_with(&route::reach(group, inputs, topology).shards));
                if let (true, Some(group)) = (shards.is_empty(), groups.first()) {
                    // Some shard says what the columns are.
                    topology.distribution(group.distribution).shards().min().into_iter().for_each(|s| shards.insert(s));
                }
                SuppliedRows::Claim(Box::new(claim::fill(claim, shards, inputs)?))
            }
        };
        Ok(Supplied { name: of.name.clone(), rows, place: of.place.clone() })
    });
    // It runs in a transaction, whether or not the client has one open.
    let in_transaction = View { in_transaction: true, ..*view };
    let (statement, parameters) = text(&supply.statement)?;
    Ok(SupplyPlan {
        finish: finish::fill_apart(&supply.finish, inputs, &in_transaction)?,
        supplies: supplies.collect::<Result<_, Fault>>()?,
        statement,
        with: supply.with,
        moment: supply.moment,
        shards,
        everywhere,
        parameters,
    })
}

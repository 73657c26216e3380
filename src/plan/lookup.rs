//! Rows found by values that are unique over all shards: what the registry is asked for before a statement is sent, and what then comes of it.

use std::sync::Arc;

use crate::ids::{ShardId, ShardSet};
use crate::plan::values::evaluate;
use crate::plan::{Inputs, Plan, PlanKind, View, Why};
use crate::sql::Analysis;
use crate::sql::keys::{KeyExpr, Operand, Value};
use crate::sql::outcome::{FoundBy, Routed};
use crate::sql::utility::StatementKind;
use crate::topology::UniqueRule;
use crate::types::KeyType;
use crate::types::canonical::{KeyError, KeyValue};

/// Most values that are looked up for one statement; with more it goes to all shards, as without a registry.
const MOST: usize = 8;
/// Longer values, in bytes, are hardly in an index.
const LONGEST: usize = 2048;

/// A statement for the one shard that has the rows with these values.
#[derive(Clone, Debug)]
pub struct LookupPlan {
    pub rule: Arc<UniqueRule>,
    /// The texts of the rule's columns, of each value that a row can have.
    pub values: Vec<Vec<String>>,
    /// Where the statement runs when no shard has such a row.
    pub nowhere: ShardId,
    /// What is done where the registry cannot be asked.
    pub otherwise: Plan,
}

impl LookupPlan {
    /// The plan, when it is known on which shards the rows are.
    pub fn found(self, shards: &ShardSet) -> Plan {
        let Plan { access, mut kind, why } = self.otherwise;
        let shard = if shards.is_empty() { Some(self.nowhere) } else { shards.single() };
        if let Some(shard) = shard {
            return Plan { kind: PlanKind::Single(shard), access, why: Why::Unique(self.rule) };
        }
        // Some shards of those that it would go to: as by a list of keys.
        if let PlanKind::Scatter { shards: all, .. } = &mut kind {
            *all = shards.clone();
            return Plan { kind, access, why: Why::Unique(self.rule) };
        }
        Plan { kind, access, why }
    }
}

/// The plan of a statement that several shards would answer, with a look into the registry before it where that can tell the shard.
pub(super) fn before(plan: Plan, analysis: &Analysis, routed: &Routed, inputs: &Inputs<'_>, view: &View<'_>) -> Plan {
    let several = match &plan.kind {
        PlanKind::Scatter { .. }
        | PlanKind::Finish(_)
        | PlanKind::Claim(_)
        | PlanKind::Locked(_)
        | PlanKind::Supply(_) => true,
        PlanKind::Refuse(_)
        | PlanKind::Single(_)
        | PlanKind::Any
        | PlanKind::Broadcast(_)
        | PlanKind::Each(_)
        | PlanKind::CreateAs(_)
        | PlanKind::Stamp(_)
        | PlanKind::Split { .. }
        | PlanKind::Deliver(_)
        | PlanKind::CopyIn(_)
        | PlanKind::Explain(_)
        | PlanKind::Lookup(_)
        | PlanKind::Draw(_) => false,
    };
    let understood = matches!(
        analysis.kind,
        StatementKind::Query | StatementKind::Update | StatementKind::Delete | StatementKind::Explain { .. }
    );
    // What leaves something behind on its connection goes where it would go without all this.
    let plain = analysis.pin.is_none() && !analysis.unlocks && routed.also.is_empty() && routed.key_change.is_none();
    if !several || !understood || !plain {
        return plan;
    }
    let found = routed.found_by.iter().find_map(|found| Some((found, values(found, inputs)?)));
    let Some((FoundBy { rule, distribution, .. }, values)) = found else { return plan };
    let Some(nowhere) = view.topology.distribution(*distribution).shards().min() else { return plan };
    if values.is_empty() {
        return Plan { kind: PlanKind::Single(nowhere), access: plan.access, why: Why::Contradiction };
    }
    let access = plan.access;
    let why = Why::Unique(Arc::clone(rule));
    let lookup = LookupPlan { rule: Arc::clone(rule), values, nowhere, otherwise: plan };
    Plan { kind: PlanKind::Lookup(Box::new(lookup)), access, why }
}

/// The values that rows can have in all columns of the rule; `None` where that is not certain.
fn values(found: &FoundBy, inputs: &Inputs<'_>) -> Option<Vec<Vec<String>>> {
    let parts = match &found.expr {
        KeyExpr::All(parts) => parts.as_slice(),
        one => std::slice::from_ref(one),
    };
    let mut all = vec![Vec::new()];
    for (at, key_type) in found.types.iter().enumerate() {
        let of_column = parts.iter().find_map(|part| {
            let KeyExpr::Equal { column, operand } = part else { return None };
            if usize::from(*column) == at { column_values(operand, *key_type, inputs) } else { None }
        })?;
        if all.len() * of_column.len() > MOST {
            return None;
        }
        let extended = |before: &Vec<String>, value: &String| [before.as_slice(), std::slice::from_ref(value)].concat();
        all = all.iter().flat_map(|before| of_column.iter().map(|value| extended(before, value))).collect();
    }
    Some(all)
}

/// As the registry has them; without those that no row has.
fn column_values(operand: &Operand, key_type: KeyType, inputs: &Inputs<'_>) -> Option<Vec<String>> {
    let text = |value: &Value| match evaluate(value, key_type, inputs) {
        Ok(KeyValue::Null) | Err(KeyError::NoMatch) => Some(None),
        Ok(value) => text(&value).filter(|text| text.len() <= LONGEST).map(Some),
        Err(KeyError::Unsure | KeyError::Invalid) => None,
    };
    let mut found: Vec<String> = match operand {
        Operand::One(value) => text(value)?.into_iter().collect(),
        Operand::List(values) if values.len() <= MOST => {
            values.iter().map(text).collect::<Option<Vec<_>>>()?.into_iter().flatten().collect()
        }
        Operand::OneOrNull(_) | Operand::List(_) | Operand::Beside(_) | Operand::Array(_) => return None,
    };
    found.sort();
    found.dedup();
    Some(found)
}

/// A value as Postgres prints it, of the types whose equal values have one text.
fn text(value: &KeyValue<'_>) -> Option<String> {
    match value {
        KeyValue::Int(value) => Some(value.to_string()),
        KeyValue::Text(value) => Some(value.to_string()),
        KeyValue::Uuid(bytes) => {
            let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
            let parts = [&bytes[..4], &bytes[4..6], &bytes[6..8], &bytes[8..10], &bytes[10..]];
            Some(parts.map(hex).join("-"))
        }
        KeyValue::Null
        | KeyValue::Date(_)
        | KeyValue::Timestamp(_)
        | KeyValue::Numeric(_)
        | KeyValue::Bytea(_)
        | KeyValue::Bool(_)
        | KeyValue::Inet { .. } => None,
    }
}

//! Which one value of a sharding key a statement is about, for those who count statements by it.

use std::fmt;

use smallvec::SmallVec;

use crate::ids::DistributionId;
use crate::plan::Inputs;
use crate::plan::values::{array, evaluate};
use crate::sql::Analysis;
use crate::sql::keys::{KeyExpr, KeyGroup, Operand, RowKey};
use crate::sql::outcome::Outcome;
use crate::topology::Topology;
use crate::types::KeyType;
use crate::types::canonical::{KeyError, KeyValue, token};

type Columns<'a> = SmallVec<[Option<KeyValue<'a>>; 1]>;

/// One value of a sharding key, and whose.
#[derive(Debug, PartialEq)]
pub struct NamedKey<'a> {
    pub distribution: DistributionId,
    columns: SmallVec<[KeyValue<'a>; 1]>,
}

impl<'a> NamedKey<'a> {
    fn of(distribution: DistributionId, columns: impl Iterator<Item = Option<KeyValue<'a>>>) -> Option<Self> {
        Some(Self { distribution, columns: columns.collect::<Option<_>>()? })
    }

    /// Its hash with that of its distribution; never 0. `None`: it is NULL, which nobody has.
    pub fn hash(&self) -> Option<u64> {
        let token = token(&self.columns)?.0;
        // Keys of two distributions are other keys; what mixes them need not be strong.
        Some((token ^ (u64::from(self.distribution.0) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)).max(1))
    }
}

/// As people write it.
impl fmt::Display for NamedKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, column) in self.columns.iter().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            write!(f, "{comma}{column}")?;
        }
        Ok(())
    }
}

/// The key that the statement names by `=`, in a list, an array or a range of this one value, or that all rows have which it inserts.
/// `None`: it names none, or several, or one that is not certain.
pub fn named_key<'a>(analysis: &'a Analysis, inputs: &'a Inputs<'_>, topology: &Topology) -> Option<NamedKey<'a>> {
    match &analysis.outcome {
        Outcome::Routed(routed) => routed.groups.iter().find_map(|group| of_group(group, inputs, topology)),
        Outcome::Insert(insert) => {
            let types = &topology.distribution(insert.distribution).key_types;
            let (first, others) = insert.rows.split_first()?;
            let key = of_row(first, types, insert.distribution, inputs)?;
            let same = |row| of_row(row, types, insert.distribution, inputs).as_ref() == Some(&key);
            others.iter().all(same).then_some(key)
        }
        Outcome::Draw(_)
        | Outcome::Deliver(_)
        | Outcome::Supply(_)
        | Outcome::Refuse(_)
        | Outcome::Home(_)
        | Outcome::Shard(..)
        | Outcome::Any(_)
        | Outcome::Broadcast(_)
        | Outcome::Parts(..)
        | Outcome::Each(..)
        | Outcome::Stamp(_)
        | Outcome::CreateAs(_)
        | Outcome::CopyIn(_) => None,
    }
}

fn of_group<'a>(group: &'a KeyGroup, inputs: &'a Inputs<'_>, topology: &Topology) -> Option<NamedKey<'a>> {
    let types = &topology.distribution(group.distribution).key_types;
    let mut columns: Columns<'_> = types.iter().map(|_| None).collect();
    fill(&group.expr, types, inputs, &mut columns);
    NamedKey::of(group.distribution, columns.into_iter())
}

fn of_row<'a>(
    row: &'a RowKey,
    types: &[KeyType],
    distribution: DistributionId,
    inputs: &'a Inputs<'_>,
) -> Option<NamedKey<'a>> {
    NamedKey::of(distribution, row.iter().zip(types).map(|(value, key_type)| evaluate(value, *key_type, inputs).ok()))
}

/// Only what every row of the result must have.
fn fill<'a>(expr: &'a KeyExpr, types: &[KeyType], inputs: &'a Inputs<'_>, columns: &mut Columns<'a>) {
    let (column, value) = match expr {
        KeyExpr::Equal { column, operand } => {
            (*column, types.get(usize::from(*column)).and_then(|of| operand_value(operand, *of, inputs)))
        }
        KeyExpr::Between { column, low: Some((low, true)), high: Some((high, true)) } => {
            let ends = |of: &KeyType| only([evaluate(low, *of, inputs), evaluate(high, *of, inputs)]);
            (*column, types.get(usize::from(*column)).and_then(ends))
        }
        KeyExpr::All(parts) => return parts.iter().for_each(|part| fill(part, types, inputs, columns)),
        KeyExpr::Any | KeyExpr::Nothing | KeyExpr::Between { .. } | KeyExpr::Either(_) => return,
    };
    // Of several conditions one that names a value is enough.
    if let (Some(place), Some(value)) = (columns.get_mut(usize::from(column)), value) {
        *place = Some(value);
    }
}

fn operand_value<'a>(operand: &'a Operand, key_type: KeyType, inputs: &'a Inputs<'_>) -> Option<KeyValue<'a>> {
    match operand {
        Operand::One(value) => evaluate(value, key_type, inputs).ok(),
        Operand::List(values) => only(values.iter().map(|value| evaluate(value, key_type, inputs))),
        Operand::Array(value) => only(array(value, key_type, inputs)?),
        Operand::OneOrNull(_) | Operand::Beside(_) => None,
    }
}

/// The one value of all; NULL is equal to none, so that it adds none.
fn only<'a>(values: impl IntoIterator<Item = Result<KeyValue<'a>, KeyError>>) -> Option<KeyValue<'a>> {
    let mut found = None;
    for value in values {
        match value {
            Ok(KeyValue::Null) => {}
            Ok(value) if found.as_ref().is_none_or(|found| *found == value) => found = Some(value),
            Ok(_) | Err(_) => return None,
        }
    }
    found
}

//! Which one value of a sharding key a statement is about, for those who count statements by it.

use std::fmt;

use smallvec::SmallVec;

use crate::ids::DistributionId;
use crate::plan::Inputs;
use crate::plan::values::evaluate;
use crate::sql::Analysis;
use crate::sql::keys::{KeyExpr, KeyGroup, Operand, RowKey};
use crate::sql::outcome::Outcome;
use crate::topology::Topology;
use crate::types::KeyType;
use crate::types::canonical::{KeyValue, token};

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

/// The key that the statement names by `=`, or that all rows have which it inserts. `None`: it names none, or several, or one that is not
/// certain.
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
    match expr {
        KeyExpr::Equal { column, operand: Operand::One(value) } => {
            let column = usize::from(*column);
            if let (Some(place), Some(key_type)) = (columns.get_mut(column), types.get(column)) {
                *place = evaluate(value, *key_type, inputs).ok();
            }
        }
        KeyExpr::All(parts) => parts.iter().for_each(|part| fill(part, types, inputs, columns)),
        KeyExpr::Equal { operand: Operand::OneOrNull(_) | Operand::List(_) | Operand::Array(_), .. }
        | KeyExpr::Any
        | KeyExpr::Nothing
        | KeyExpr::Between { .. }
        | KeyExpr::Either(_) => {}
    }
}

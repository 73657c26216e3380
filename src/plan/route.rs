//! Values -> shards: what each condition on a sharding key is worth in this call.

use std::borrow::Cow;
use std::collections::HashSet;

use smallvec::SmallVec;

use crate::fault::{Fault, SqlState};
use crate::ids::{ShardId, ShardSet};
use crate::plan::Inputs;
use crate::plan::values::{array, evaluate};
use crate::sql::keys::{Bound, KeyExpr, KeyGroup, KeyName, Operand, RowKey, Source, Value};
use crate::sql::template::string_value;
use crate::topology::{Distribution, KeyRange, Topology};
use crate::types::canonical::{KeyError, KeyValue};
use crate::types::{Format, KeyType};

/// Most combinations of values of a key of several columns; beyond, the condition counts as not understood.
const MAX_COMBINATIONS: usize = 10_000;

/// Where the rows that a condition allows can be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reach {
    pub shards: ShardSet,
    /// A value could not be read with certainty, and the condition was left out for it.
    pub unsure: bool,
    /// Nothing restricts the key.
    pub open: bool,
    /// A value is none of the key's type.
    pub invalid: bool,
}

/// The one shard of a condition `key = value`, without allocating; `None` where it takes more to tell.
#[inline]
pub(crate) fn single(group: &KeyGroup, inputs: &Inputs<'_>, topology: &Topology) -> Option<ShardId> {
    let KeyExpr::Equal { column: 0, operand: Operand::One(value) } = &group.expr else { return None };
    let distribution = topology.distribution(group.distribution);
    let [key_type] = distribution.key_types[..] else { return None };
    let key = evaluate(value, key_type, inputs).ok()?;
    distribution.locate(&[key]).ok()
}

/// The shards of one group of table references.
pub(crate) fn reach(group: &KeyGroup, inputs: &Inputs<'_>, topology: &Topology) -> Reach {
    let distribution = topology.distribution(group.distribution);
    let open = group.expr == KeyExpr::Any;
    let mut reach = Reach { shards: ShardSet::new(), unsure: false, open, invalid: false };
    let mut walk = Walk { distribution, inputs, unsure: false, invalid: false };
    reach.shards = walk.shards(&group.expr);
    reach.unsure = walk.unsure;
    reach.invalid = walk.invalid;
    reach
}

struct Walk<'a> {
    distribution: &'a Distribution,
    inputs: &'a Inputs<'a>,
    unsure: bool,
    invalid: bool,
}

impl<'a> Walk<'a> {
    fn shards(&mut self, expr: &'a KeyExpr) -> ShardSet {
        match expr {
            KeyExpr::Any => self.distribution.shards(),
            KeyExpr::Nothing => ShardSet::new(),
            KeyExpr::Equal { .. } => self.all(std::slice::from_ref(expr)),
            KeyExpr::Between { column, low, high } => self.range(*column, low.as_ref(), high.as_ref()),
            KeyExpr::All(parts) => self.all(parts),
            KeyExpr::Either(parts) => {
                let mut union = ShardSet::new();
                for part in parts {
                    union.union_with(&self.shards(part));
                }
                union
            }
        }
    }

    /// A conjunction: the shards that every part allows, and for a key of several columns those of the combinations of values.
    fn all(&mut self, parts: &'a [KeyExpr]) -> ShardSet {
        let width = self.distribution.key_types.len();
        let mut columns: SmallVec<[Option<Vec<KeyValue<'a>>>; 1]> = (0..width).map(|_| None).collect();
        let mut shards = self.distribution.shards();
        for part in parts {
            let KeyExpr::Equal { column, operand } = part else {
                shards.intersect_with(&self.shards(part));
                continue;
            };
            let Some(place) = columns.get_mut(usize::from(*column)) else { continue };
            let Some(values) = self.values(*column, operand) else { continue };
            // Two conditions on one column: what the first allows and the second does too.
            *place = Some(match place.take() {
                None => values,
                Some(before) => in_both(before, &values),
            });
        }
        if columns.iter().flatten().any(|values| values.is_empty()) {
            return ShardSet::new();
        }
        let combinations = columns.iter().try_fold(1usize, |product, values| {
            let product = product.checked_mul(values.as_ref()?.len())?;
            (product <= MAX_COMBINATIONS || width == 1).then_some(product)
        });
        if combinations.is_some() {
            let mut located = ShardSet::new();
            let mut key: Vec<KeyValue<'a>> = Vec::with_capacity(width);
            self.combine(&columns, &mut key, &mut located);
            shards.intersect_with(&located);
        } else if let Some(Some(firsts)) = columns.first() {
            // A composite key whose first column alone is known lies in its group.
            let mut located = ShardSet::new();
            firsts.iter().for_each(|first| located.union_with(&self.distribution.locate_first(first)));
            shards.intersect_with(&located);
        }
        shards
    }

    fn combine(&self, columns: &[Option<Vec<KeyValue<'a>>>], key: &mut Vec<KeyValue<'a>>, found: &mut ShardSet) {
        match columns.get(key.len()) {
            None => {
                // A key that no shard serves has no row anywhere.
                if let Ok(shard) = self.distribution.locate(key) {
                    found.insert(shard);
                }
            }
            Some(values) => {
                for value in values.iter().flatten() {
                    key.push(value.clone());
                    self.combine(columns, key, found);
                    key.pop();
                }
            }
        }
    }

    /// The values that a column can have; `None` where that is not certain. Values that no row can have are left out.
    fn values(&mut self, column: u8, operand: &'a Operand) -> Option<Vec<KeyValue<'a>>> {
        let key_type = *self.distribution.key_types.get(usize::from(column))?;
        let mut found = Vec::new();
        let mut invalid = false;
        let mut take = |value: Result<KeyValue<'a>, KeyError>| match value {
            Ok(KeyValue::Null) | Err(KeyError::NoMatch) => true,
            Err(KeyError::Invalid) => {
                invalid = true;
                true
            }
            Ok(value) => {
                found.push(value);
                true
            }
            Err(KeyError::Unsure) => false,
        };
        let inputs = self.inputs;
        let mut uncertain = None;
        let certain = match operand {
            Operand::One(value) => take(evaluate(value, key_type, self.inputs)),
            Operand::OneOrNull(value) => match evaluate(value, key_type, self.inputs) {
                Ok(KeyValue::Null) => false,
                value => take(value),
            },
            // Clause 9: every member counts, so one that cannot be read leaves nothing certain.
            Operand::List(values) | Operand::Beside(values) => {
                uncertain = values.iter().find(|value| !take(evaluate(value, key_type, inputs)));
                uncertain.is_none()
            }
            Operand::Array(value) => match array(value, key_type, self.inputs) {
                Some(members) => members.into_iter().all(take),
                None => false,
            },
        };
        self.invalid |= invalid;
        if !certain {
            // What only might have narrowed it may stay unknown.
            let might = match operand {
                Operand::Beside(_) => true,
                Operand::One(value) | Operand::OneOrNull(value) => value.is_called(),
                Operand::List(_) => uncertain.is_some_and(Value::is_called),
                Operand::Array(_) => false,
            };
            self.unsure |= !might;
            return None;
        }
        Some(found)
    }

    fn range(&mut self, column: u8, low: Option<&'a Bound>, high: Option<&'a Bound>) -> ShardSet {
        let [key_type] = self.distribution.key_types[..] else { return self.distribution.shards() };
        if column != 0 {
            return self.distribution.shards();
        }
        let mut bound = |bound: Option<&'a Bound>| {
            let (value, inclusive) = bound?;
            match evaluate(value, key_type, self.inputs) {
                Ok(KeyValue::Null) => None,
                Ok(value) => Some((value, *inclusive)),
                Err(KeyError::Unsure) => {
                    self.unsure |= !value.is_called();
                    None
                }
                // Between two values of the type, or not one at all: no bound that we could use.
                Err(KeyError::NoMatch | KeyError::Invalid) => None,
            }
        };
        let range = KeyRange { low: bound(low), high: bound(high) };
        // Only columns that are ordered by bytes get here.
        self.distribution.locate_range_collated(&range, crate::types::Collation::Bytes)
    }
}

/// The values of the first that the second has too. By their hashes: whoever writes the lists chooses how long they are.
fn in_both<'a>(first: Vec<KeyValue<'a>>, second: &[KeyValue<'a>]) -> Vec<KeyValue<'a>> {
    let second: HashSet<&KeyValue<'a>> = second.iter().collect();
    first.into_iter().filter(|value| second.contains(value)).collect()
}

/// Why the shard of a row that INSERT brings is not known.
pub(crate) enum NoShard {
    /// What is stored as its key, only a Postgres can tell.
    Uncertain(Fault),
    Fault(Fault),
}

impl From<NoShard> for Fault {
    fn from(none: NoShard) -> Self {
        let (NoShard::Uncertain(fault) | NoShard::Fault(fault)) = none;
        fault
    }
}

/// The shard of a row that INSERT brings. Clause 6: only from values that are known to be stored as they are read here.
pub(crate) fn row_shard(
    row: &RowKey,
    typmods: &[i32],
    name: &KeyName,
    distribution: &Distribution,
    inputs: &Inputs<'_>,
) -> Result<ShardId, NoShard> {
    let no_key = |detail| NoShard::Uncertain(no_key(name, detail));
    let mut key: SmallVec<[KeyValue<'_>; 1]> = SmallVec::new();
    for (i, (value, key_type)) in row.iter().zip(&distribution.key_types).enumerate() {
        let value_of = match evaluate(value, *key_type, inputs) {
            Ok(KeyValue::Null) => return Err(no_key("it is NULL")),
            Ok(value) => value,
            Err(KeyError::Invalid) => return Err(NoShard::Uncertain(invalid(value, *key_type, name, inputs))),
            Err(KeyError::NoMatch) => return Err(no_key("the value would be rounded or is out of range")),
            Err(KeyError::Unsure) => return Err(no_key("the value cannot be read with certainty")),
        };
        if !fits_typmod(*key_type, typmods.get(i).copied().unwrap_or(-1), &value_of) {
            return Err(no_key("the value is longer or more precise than the column, which would store another"));
        }
        key.push(value_of);
    }
    distribution.locate(&key).map_err(|_| NoShard::Fault(unmapped(name, &key)))
}

fn no_key(name: &KeyName, detail: &'static str) -> Fault {
    Fault::unsupported(
        format!("INSERT into sharded table \"{}\" needs a value for its sharding key", name.table),
        detail,
        format!("Give {} a value of its own type in the statement.", name.columns),
    )
}

/// No shard serves this key.
pub fn unmapped(name: &KeyName, key: &[KeyValue<'_>]) -> Fault {
    let shown: Vec<String> = key.iter().map(KeyValue::to_string).collect();
    Fault::unsupported(
        format!("no shard serves key ({}) of table \"{}\"", shown.join(", "), name.table),
        format!("the value of {} lies outside of the ranges and lists of the table's distribution", name.columns),
        "Add a range, a list value or a default shard to the distribution.",
    )
}

/// The error that Postgres has for a text that is not of the type.
fn invalid(value: &Value, key_type: KeyType, name: &KeyName, inputs: &Inputs<'_>) -> Fault {
    let written = match &value.source {
        Source::Slot { index, .. } => {
            inputs.slots.get(usize::from(*index)).and_then(|slot| string_value(inputs.text, slot)).map(Cow::into_owned)
        }
        Source::Text(written) => Some(written.to_string()),
        Source::Parameter { index, .. } => inputs
            .parameters
            .and_then(|parameters| parameters.get(usize::from(*index)))
            .and_then(|(_, format, bytes)| match (format, bytes) {
                (Format::Text, Some(bytes)) => Some(String::from_utf8_lossy(bytes).into_owned()),
                _ => None,
            }),
        _ => None,
    };
    match written {
        Some(written) if value.cast.is_none() => {
            let unsigned = written.trim().trim_start_matches(['-', '+']);
            let whole = !unsigned.is_empty() && unsigned.bytes().all(|b| b.is_ascii_digit());
            if whole && matches!(key_type, KeyType::Int2 | KeyType::Int4 | KeyType::Int8) {
                return Fault::new(
                    SqlState::NUMERIC_VALUE_OUT_OF_RANGE,
                    format!("value \"{written}\" is out of range for type {}", key_type.name()),
                );
            }
            if matches!(key_type, KeyType::Date | KeyType::Timestamp | KeyType::Timestamptz) {
                return Fault::new(
                    SqlState::DATETIME_FIELD_OVERFLOW,
                    format!("date/time field value out of range: \"{written}\""),
                );
            }
            Fault::new(
                SqlState::INVALID_TEXT_REPRESENTATION,
                format!("invalid input syntax for type {}: \"{written}\"", key_type.name()),
            )
        }
        _ => no_key(name, "the value is not of the key's type"),
    }
}

/// Whether a column with this type modifier stores the value as it is (`varchar(n)`, `numeric(p, s)`, `timestamp(p)` can change it).
pub fn fits_typmod(key_type: KeyType, typmod: i32, value: &KeyValue<'_>) -> bool {
    if typmod < 0 {
        return true;
    }
    match (key_type, value) {
        (KeyType::Varchar | KeyType::Bpchar, KeyValue::Text(text)) => {
            usize::try_from(typmod - 4).is_ok_and(|length| text.chars().count() <= length)
        }
        (KeyType::Numeric, KeyValue::Numeric(digits)) => {
            // The scale is the low 11 bits, signed (numeric.c: numeric_typmod_scale).
            let scale = (((typmod - 4) & 0x7ff) ^ 1024) - 1024;
            let fraction = digits.split_once('.').map_or(0, |(_, fraction)| fraction.len());
            scale >= 0 && i32::try_from(fraction).is_ok_and(|fraction| fraction <= scale)
        }
        (KeyType::Timestamp | KeyType::Timestamptz, KeyValue::Timestamp(micros)) => {
            let step = u32::try_from(typmod).ok().and_then(|p| 6u32.checked_sub(p)).map_or(1, |p| 10i64.pow(p));
            micros % step == 0
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_value_that_the_column_would_change_does_not_fit() {
        let numeric = |digits: &'static str| KeyValue::Numeric(Cow::Borrowed(digits));
        // numeric(10,2): ((10 << 16) | 2) + 4
        let typmod = (10 << 16 | 2) + 4;
        assert!(fits_typmod(KeyType::Numeric, typmod, &numeric("1.25")));
        assert!(!fits_typmod(KeyType::Numeric, typmod, &numeric("1.255")));
        assert!(fits_typmod(KeyType::Varchar, 3 + 4, &KeyValue::Text("äöü".into())));
        assert!(!fits_typmod(KeyType::Varchar, 3 + 4, &KeyValue::Text("abcd".into())));
        assert!(!fits_typmod(KeyType::Timestamp, 0, &KeyValue::Timestamp(1_500_000)));
        assert!(fits_typmod(KeyType::Timestamp, 3, &KeyValue::Timestamp(1_500_000)));
    }
}

//! Columns that rows are sorted or grouped by: read out of a row once, compared without looking into the row again.

use std::cmp::Ordering;

use crate::fault::{Blame, Fault, SqlState};
use crate::merge::{ColumnInfo, refused};
use crate::plan::combine::SortKey;
use crate::types::Format;
use crate::types::compare::{Comparator, Prepared, TextStyle, Unreadable};
use crate::wire::row::RowView;

/// One ORDER BY column with its proved order.
#[derive(Clone, Copy, Debug)]
pub(super) struct OrderKey {
    pub column: usize,
    pub comparator: Comparator,
    descending: bool,
    nulls_first: bool,
}

impl OrderKey {
    pub fn all(keys: &[SortKey], columns: &[ColumnInfo], style: TextStyle) -> Result<Vec<Self>, Fault> {
        keys.iter()
            .map(|key| {
                let comparator = order(columns, key.column, style)?;
                let SortKey { column, descending, nulls_first } = *key;
                Ok(Self { column, comparator, descending, nulls_first })
            })
            .collect()
    }
}

/// The order of rows by `keys` as far as the first of them tells: a smaller number comes before a larger one, and of equal ones
/// [`compare_fields`] decides. Below `u128::MAX`.
pub(super) fn lead(keys: &[OrderKey], fields: &[Field], row: &[u8]) -> u128 {
    let (Some(key), Some(field)) = (keys.first(), fields.first()) else { return 0 };
    match *field {
        Field::Null if key.nulls_first => 0,
        Field::Null => 2 << 64,
        Field::Value(prepared, start, end) => {
            let lead = key.comparator.lead(prepared, bytes(row, start, end));
            1 << 64 | u128::from(if key.descending { !lead } else { lead })
        }
    }
}

/// The proved order of column `index`, or a refusal.
pub(super) fn order(columns: &[ColumnInfo], index: usize, style: TextStyle) -> Result<Comparator, Fault> {
    let column = column(columns, index)?;
    let of = |style| Comparator::order(column.type_oid, column.collation, column.format, style);
    of(style).ok_or_else(|| match of(TextStyle::default()) {
        Some(_) => printed_otherwise(column),
        None => refused("rows cannot be sorted across shards by a column of this type or collation", column),
    })
}

/// The proved equality of column `index`, or a refusal.
pub(super) fn equality(columns: &[ColumnInfo], index: usize, style: TextStyle) -> Result<Comparator, Fault> {
    let column = column(columns, index)?;
    let of = |style| Comparator::equality(column.type_oid, column.collation, column.format, style);
    of(style).ok_or_else(|| match of(TextStyle::default()) {
        Some(_) => printed_otherwise(column),
        None => refused("rows cannot be grouped across shards by a column of this type or collation", column),
    })
}

pub(super) fn column(columns: &[ColumnInfo], index: usize) -> Result<&ColumnInfo, Fault> {
    columns.get(index).ok_or_else(|| {
        Fault::new(SqlState::INTERNAL_ERROR, "the merge names a column that the shards' rows don't have")
            .blame(Blame::Router)
    })
}

/// The session's settings have values printed in a form that does not say their order, or not even whether they are equal.
fn printed_otherwise(column: &ColumnInfo) -> Fault {
    Fault::unsupported(
        "rows cannot be compared across shards as this session's settings print them",
        format!("A column has type OID {}, and is asked for in text format.", column.type_oid),
        "Set DateStyle to ISO, extra_float_digits to 1 or more and bytea_output to hex, or ask for binary format.",
    )
}

/// A shard sent a value that is not in the form that its type has.
pub(super) fn unreadable(_: Unreadable) -> Fault {
    Fault::new(SqlState::PROTOCOL_VIOLATION, "a shard sent a value in an unexpected form")
        .hint("Check that DateStyle is ISO and bytea_output is hex.")
        .blame(Blame::Server)
}

/// One key column of one row.
#[derive(Clone, Copy, Debug)]
pub(super) enum Field {
    Null,
    /// What it is compared by, and where in the row's frame it lies.
    Value(Prepared, u32, u32),
}

impl Field {
    pub fn read(comparator: Comparator, row: &RowView<'_>, column: usize) -> Result<Self, Fault> {
        let Some(range) = row.range(column)? else { return Ok(Self::Null) };
        let prepared = comparator.prepare(row.bytes(range.clone())).map_err(unreadable)?;
        // Frames are shorter than 2 GiB: their length is an i32.
        let place = |at: usize| u32::try_from(at).map_err(|_| crate::wire::row::malformed());
        Ok(Self::Value(prepared, place(range.start)?, place(range.end)?))
    }
}

fn bytes(row: &[u8], start: u32, end: u32) -> &[u8] {
    row.get(start as usize..end as usize).unwrap_or_default()
}

/// The order of two rows by `keys`.
pub(super) fn compare_fields(keys: &[OrderKey], a: (&[Field], &[u8]), b: (&[Field], &[u8])) -> Ordering {
    for (key, (field_a, field_b)) in keys.iter().zip(a.0.iter().zip(b.0)) {
        let order = match (*field_a, *field_b) {
            (Field::Null, Field::Null) => Ordering::Equal,
            (Field::Null, Field::Value(..)) if key.nulls_first => Ordering::Less,
            (Field::Null, Field::Value(..)) => Ordering::Greater,
            (Field::Value(..), Field::Null) if key.nulls_first => Ordering::Greater,
            (Field::Value(..), Field::Null) => Ordering::Less,
            (Field::Value(value_a, s1, e1), Field::Value(value_b, s2, e2)) => {
                let order =
                    key.comparator.compare_prepared((value_a, bytes(a.1, s1, e1)), (value_b, bytes(b.1, s2, e2)));
                if key.descending { order.reverse() } else { order }
            }
        };
        if order.is_ne() {
            return order;
        }
    }
    Ordering::Equal
}

/// Columns whose equality makes rows equal (GROUP BY, DISTINCT): NULLs are equal to each other.
#[derive(Clone, Debug)]
pub(super) struct EqualityKey(Box<[(usize, Comparator)]>);

impl EqualityKey {
    pub fn new(of: impl IntoIterator<Item = usize>, columns: &[ColumnInfo], style: TextStyle) -> Result<Self, Fault> {
        of.into_iter().map(|column| Ok((column, equality(columns, column, style)?))).collect::<Result<_, _>>().map(Self)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether two rows are equal in all key columns.
    pub fn equal(&self, a: &RowView<'_>, b: &RowView<'_>) -> Result<bool, Fault> {
        for (column, comparator) in &self.0 {
            let equal = match (a.column(*column)?, b.column(*column)?) {
                (Some(a), Some(b)) => comparator.equal(a, b).map_err(unreadable)?,
                (None, None) => true,
                _ => false,
            };
            if !equal {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Bytes that are the same for rows that are equal in all key columns, and for no others.
    pub fn hash_key(&self, row: &RowView<'_>, key: &mut Vec<u8>) -> Result<(), Fault> {
        key.clear();
        for (column, comparator) in &self.0 {
            match row.column(*column)? {
                None => key.push(0),
                Some(value) => {
                    key.push(1);
                    comparator.hash_key(value, key).map_err(unreadable)?;
                }
            }
        }
        Ok(())
    }
}

/// An integer column's width on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Width {
    Int2,
    Int4,
    Int8,
}

impl Width {
    pub fn of(column: &ColumnInfo) -> Option<Self> {
        match column.type_oid {
            crate::types::oid::INT2 => Some(Self::Int2),
            crate::types::oid::INT4 => Some(Self::Int4),
            crate::types::oid::INT8 => Some(Self::Int8),
            _ => None,
        }
    }

    pub fn read(self, format: Format, bytes: &[u8]) -> Result<i64, Fault> {
        let value = match (format, self) {
            (Format::Text, _) => crate::types::compare::integer(bytes),
            (Format::Binary, Self::Int2) => bytes.try_into().ok().map(|b| i16::from_be_bytes(b).into()),
            (Format::Binary, Self::Int4) => bytes.try_into().ok().map(|b| i32::from_be_bytes(b).into()),
            (Format::Binary, Self::Int8) => bytes.try_into().ok().map(i64::from_be_bytes),
        };
        value.ok_or_else(|| unreadable(Unreadable))
    }
}

//! INSERT: where its rows come from, and the sharding key of each that it brings.

use std::sync::Arc;

use smallvec::SmallVec;
use sqlparser::ast::{Expr, Insert, Query, Select, SetExpr, Values};

use crate::catalog::{Column, Table};
use crate::fault::Fault;
use crate::ids::{DistributionId, Oid, QualifiedName};
use crate::sql::exprs::{At, Ctes};
use crate::sql::facts::{as_select, unnest};
use crate::sql::insert::is_default;
use crate::sql::keys::{KeyName, RowKey, Source, Value};
use crate::sql::left_out::{omitted, refuse_sequences};
use crate::sql::model::{Columns, Model, Spread, Stop};
use crate::sql::query::item_expr;

/// The sharded table that an INSERT writes.
pub(crate) struct Target {
    pub name: QualifiedName,
    pub table: Option<Arc<Table>>,
    pub distribution: DistributionId,
    pub key: Vec<Box<str>>,
    /// Columns that always get their defaults, because the view does not show them that is written through.
    pub hidden: Vec<Column>,
}

/// Where the rows of an INSERT into a sharded table belong.
pub(crate) enum Keys {
    /// By these keys, in the order of VALUES; of a query all rows have the one.
    Rows(Vec<RowKey>),
    /// Where the rows lie that they come from.
    Lie(Spread),
}

/// The keys of the rows; refused where they are not known.
/// `alone`: nothing is written into the rows, so that what they leave out is left to the shards.
pub(crate) fn keys_of(
    model: &Model<'_>,
    target: &Target,
    columns: Option<Vec<String>>,
    source: &InsertSource<'_>,
    alone: bool,
) -> Result<Keys, Stop> {
    let columns = match (columns, &target.table) {
        (Some(columns), _) => columns,
        (None, Some(table)) => table.columns.iter().map(|column| column.name.to_string()).collect(),
        (None, None) => return Err(missing(target, "its columns are not known; name them in the INSERT").into()),
    };
    if let (Some(table), true) = (&target.table, alone) {
        refuse_sequences(table, &omitted(table, Some(&columns), source))?;
    }
    let positions: Vec<usize> = target
        .key
        .iter()
        .map(|key| {
            let position = columns.iter().position(|column| **column == **key);
            position.ok_or_else(|| missing(target, format!("column \"{key}\" is not in the column list")))
        })
        .collect::<Result<_, Fault>>()?;
    let rows: Vec<RowKey> = match source {
        InsertSource::Defaults => return Err(missing(target, "DEFAULT VALUES gives it none").into()),
        InsertSource::Values(values) => {
            let key = |row: &[Expr]| -> Result<RowKey, Fault> {
                positions.iter().map(|at| key_cell(model, target, row.get(*at))).collect()
            };
            values.rows.iter().map(|row| key(&row.content)).collect::<Result<_, _>>()?
        }
        InsertSource::Query(spread, (output, query)) => {
            return from_query(model, target, &positions, spread, output, query);
        }
    };
    Ok(Keys::Rows(rows))
}

/// INSERT ... SELECT: pushed down where each row is already on the shard that it goes to, or where its key is one constant.
pub(crate) fn from_query(
    model: &Model<'_>,
    target: &Target,
    positions: &[usize],
    spread: &Spread,
    output: &Columns,
    query: &Query,
) -> Result<Keys, Stop> {
    let refuse = |detail: String| {
        Fault::unsupported(
            format!("INSERT ... SELECT into sharded table \"{}\" is not supported in this form", target.name.name),
            detail,
            "Select the sharding key of a co-located table as the new row's key, or read the rows and insert them.",
        )
    };
    if let Some(row) = as_select(query).and_then(|select| constant_key(model, select, positions)) {
        return Ok(Keys::Rows(vec![row]));
    }
    if !output.complete {
        return Err(refuse("the columns that * stands for are not all known".to_owned()).into());
    }
    let nodes: Option<Vec<usize>> =
        positions.iter().map(|at| output.list.get(*at).and_then(|column| column.node)).collect();
    let tied = nodes.and_then(|nodes| {
        let same_key = |r: &usize| {
            let reference = &model.refs[*r];
            // A column of another length or precision could store another value than its source has.
            let stored_as_is = reference.key.iter().zip(&target.key).all(|(node, column)| {
                let typmod = target.table.as_ref().and_then(|table| table.column(column)).map(|(_, c)| c.typmod);
                typmod.is_none_or(|typmod| typmod < 0 || typmod == model.nodes[*node].typmod)
            });
            stored_as_is
                && reference.distribution == target.distribution
                && reference.key.iter().zip(&nodes).all(|(key, node)| {
                    key == node || (model.reach(*key).contains(node) && model.reach(*node).contains(key))
                })
        };
        match spread {
            Spread::Parted { anchors, .. } => anchors.iter().copied().find(|r| same_key(r)),
            _ => (0..model.refs.len()).find(|r| same_key(r)),
        }
    });
    if tied.is_none() {
        return Err(refuse(
            "the key of the new rows is not the key of a co-located table that they come from".to_owned(),
        )
        .into());
    }
    Ok(Keys::Lie(spread.clone()))
}

/// `types`: those of the columns that get the values.
pub(crate) fn source<'q>(
    model: &mut Model<'_>,
    insert: &'q Insert,
    ctes: &Ctes<'q>,
    types: &[Option<Oid>],
) -> Result<InsertSource<'q>, Stop> {
    let Some(query) = &insert.source else { return Ok(InsertSource::Defaults) };
    if let SetExpr::Values(values) = &*query.body
        && query.with.is_none()
        && query.order_by.is_none()
        && query.limit_clause.is_none()
        && query.fetch.is_none()
    {
        let level = model.add_level(None, None);
        let at = At { level, ctes: ctes.clone(), vary: true };
        for row in &values.rows {
            for (at_column, cell) in row.content.iter().enumerate() {
                if !is_default(cell) {
                    model.note_stored(level, cell, types.get(at_column).copied().flatten());
                    model.walk(&at, cell)?;
                }
            }
        }
        return Ok(InsertSource::Values(values));
    }
    model.set_arms += 1;
    let rows = model.query(query, None, None, ctes)?;
    model.set_arms -= 1;
    model.note_stored_columns(&rows.columns, types.iter().copied());
    Ok(InsertSource::Query(rows.spread, (rows.columns, query)))
}

pub(crate) enum InsertSource<'q> {
    Defaults,
    Values(&'q Values),
    Query(Spread, (Columns, &'q Query)),
}

impl InsertSource<'_> {
    /// The rows that stand in the text.
    pub(crate) fn rows(&self) -> Option<Vec<&[Expr]>> {
        match self {
            InsertSource::Defaults => Some(vec![&[]]),
            InsertSource::Values(values) => Some(values.rows.iter().map(|row| &row.content[..]).collect()),
            InsertSource::Query(..) => None,
        }
    }
}

impl Target {
    pub fn typmods(&self) -> SmallVec<[i32; 1]> {
        let typmod = |key: &Box<str>| {
            self.table.as_ref().and_then(|table| table.column(key)).map_or(-1, |(_, column)| column.typmod)
        };
        self.key.iter().map(typmod).collect()
    }

    pub fn is_key(&self, column: &str) -> bool {
        self.key.iter().any(|key| **key == *column)
    }

    pub fn key_name(&self) -> Arc<KeyName> {
        Arc::new(KeyName { table: self.name.name.clone(), columns: self.key.join(", ").into() })
    }
}

pub(crate) fn missing(target: &Target, detail: impl Into<String>) -> Fault {
    Fault::unsupported(
        format!("INSERT into sharded table \"{}\" needs a value for its sharding key", target.name.name),
        detail.into(),
        format!("Give {} a value in the statement.", target.key.join(", ")),
    )
}

/// The value of a key column in a VALUES row.
pub(crate) fn key_cell(model: &Model<'_>, target: &Target, cell: Option<&Expr>) -> Result<Value, Fault> {
    let Some(cell) = cell else { return Err(missing(target, "the row is too short")) };
    if is_default(cell) {
        return Err(missing(target, "it is DEFAULT"));
    }
    match model.as_value(cell) {
        Some(Value { source: Source::Null, .. }) => Err(missing(target, "it is NULL")),
        Some(value) => Ok(value),
        None => Err(missing(target, "it is not a constant or parameter that the router can evaluate")),
    }
}

/// The key of the only row, or of all rows, that a SELECT makes with constants in these places.
pub(crate) fn constant_key(model: &Model<'_>, select: &Select, positions: &[usize]) -> Option<RowKey> {
    positions
        .iter()
        .map(|at| {
            let value = model.as_value(unnest(item_expr(select, *at)?))?;
            (value.source != Source::Null).then_some(value)
        })
        .collect()
}

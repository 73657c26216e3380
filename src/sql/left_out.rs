//! Columns that the rows of an INSERT leave to their defaults, or that SET gives them: which of these no shard may make by itself.

use sqlparser::ast::{Assignment, Expr};

use crate::catalog::{Column, ColumnDefault, Table};
use crate::fault::Fault;
use crate::ids::QualifiedName;
use crate::sql::NameScope;
use crate::sql::defaults::uses_of;
use crate::sql::insert::{assigned, is_default};
use crate::sql::insert_keys::InsertSource;
use crate::sql::names::Place;
use crate::sql::sequences::fill::expression_pieces;
use crate::sql::sequences::{self, Piece, Take};

/// The columns that get their defaults: not in the list, or DEFAULT in some row.
pub(crate) fn omitted(table: &Table, columns: Option<&[String]>, source: &InsertSource<'_>) -> Vec<usize> {
    let defaulted = |position: usize, width: usize| match source {
        InsertSource::Defaults => true,
        InsertSource::Values(values) => {
            position >= width || values.rows.iter().any(|row| row.content.get(position).is_none_or(is_default))
        }
        InsertSource::Query(_, (output, _)) => output.complete && position >= output.list.len(),
    };
    let at = |index: usize, name: &str| match columns {
        Some(columns) => columns.iter().position(|column| column == name),
        None => Some(index),
    };
    let width = columns.map_or(table.columns.len(), <[String]>::len);
    let is_omitted = |index: &usize| match at(*index, &table.columns[*index].name) {
        None => true,
        Some(position) => defaulted(position, width),
    };
    (0..table.columns.len()).filter(is_omitted).collect()
}

/// The sequence that a column takes its value from, alone or within an expression.
pub(crate) fn sequence_of(column: &Column) -> Option<QualifiedName> {
    match &column.default {
        ColumnDefault::Sequence(default) => Some(default.sequence.clone()),
        ColumnDefault::Expression(text) => {
            expression_pieces(text).ok().flatten()?.into_iter().find_map(|piece| match piece {
                Piece::Take { take: Take::Next(sequence), .. } => Some(sequence),
                Piece::Take { .. } | Piece::Text(_) => None,
            })
        }
        ColumnDefault::None => None,
    }
}

pub(crate) fn takes_from_sequence(column: &Column) -> bool {
    match &column.default {
        ColumnDefault::Sequence(_) => true,
        ColumnDefault::Expression(text) => expression_pieces(text) != Ok(None),
        ColumnDefault::None => false,
    }
}

pub(crate) fn from_sequence(column: &Column, table: &Table) -> Result<(), Fault> {
    if !takes_from_sequence(column) {
        return Ok(());
    }
    Err(Fault::unsupported(
        format!(
            "column \"{}\" of distributed table \"{}\" takes its value from a sequence",
            column.name, table.name.name
        ),
        "each shard has a sequence of its own, and would give out numbers that others gave already",
        "Give the column a value in the statement; rows of a VALUES list can leave it out.",
    ))
}

pub(crate) fn refuse_sequences(table: &Table, omitted: &[usize]) -> Result<(), Fault> {
    omitted.iter().try_for_each(|index| from_sequence(&table.columns[*index], table))
}

/// That the shard of an undistributed table gives out the values of what is left to sequences.
pub(crate) fn check_sources(
    scope: &NameScope<'_>,
    table: &Table,
    omitted: &[usize],
    place: &Place,
) -> Result<(), Fault> {
    omitted.iter().filter_map(|at| table.columns.get(*at)).try_for_each(|column| match sequence_of(column) {
        Some(sequence) => sequences::check_source(scope, table, &column.name, &sequence, place.shard),
        None => Ok(()),
    })
}

/// `SET column = DEFAULT` where the default takes a value of a sequence.
pub(crate) fn refuse_sequence_defaults(table: &Table, assignments: &[Assignment]) -> Result<(), Fault> {
    let to_default = assignments.iter().filter(|assignment| mentions_default(&assignment.value));
    for assignment in to_default {
        for name in assigned(std::slice::from_ref(assignment)) {
            if let Some((_, column)) = table.column(&name) {
                from_sequence(column, table)?;
            }
        }
    }
    Ok(())
}

/// The sequences that a server takes values of for `SET column = DEFAULT`.
pub(crate) fn set_from_sequences<'a>(
    table: &'a Table,
    assignments: &'a [Assignment],
) -> impl Iterator<Item = QualifiedName> + 'a {
    let to_default = assignments.iter().filter(|assignment| mentions_default(&assignment.value));
    let names = to_default.flat_map(|assignment| assigned(std::slice::from_ref(assignment)));
    names.filter_map(|name| sequence_of(table.column(&name)?.1))
}

pub(crate) fn mentions_default(value: &Expr) -> bool {
    match value {
        Expr::Tuple(members) => members.iter().any(is_default),
        Expr::Nested(inner) => mentions_default(inner),
        other => is_default(other),
    }
}

/// Defaults that each shard would evaluate to a value of its own.
pub(crate) fn refuse_varying_defaults(scope: &NameScope<'_>, table: &Table, omitted: &[usize]) -> Result<(), Fault> {
    refuse_sequences(table, omitted)?;
    refuse_varying(scope, table, omitted.iter().filter_map(|index| table.columns.get(*index)))
}

pub(crate) fn refuse_varying<'c>(
    scope: &NameScope<'_>,
    table: &Table,
    columns: impl IntoIterator<Item = &'c Column>,
) -> Result<(), Fault> {
    for column in columns {
        if let ColumnDefault::Expression(text) = &column.default
            && !is_same_everywhere(scope, text)
        {
            return Err(Fault::unsupported(
                format!(
                    "the default of column \"{}\" of reference table \"{}\" can differ between shards",
                    column.name, table.name.name
                ),
                format!("it is {text}"),
                "Give the column a value in the statement.",
            ));
        }
    }
    Ok(())
}

/// Whether an expression without columns has the same value on every shard.
pub(crate) fn is_same_everywhere(scope: &NameScope<'_>, text: &str) -> bool {
    uses_of(scope, text).is_some_and(|uses| {
        uses.one_shard().is_none()
            && [&uses.volatile, &uses.clock, &uses.server, &uses.unknown_function, &uses.unsafe_function]
                .into_iter()
                .all(Option::is_none)
    })
}

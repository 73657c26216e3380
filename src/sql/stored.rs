//! Values that are stored in columns of given types: numbers of the catalog among them are those of the shard that stores them.

use sqlparser::ast::{Expr, MergeInsertExpr};

use crate::catalog::{Column, ColumnDefault, Table};
use crate::fault::Fault;
use crate::ids::Oid;
use crate::sql::NameScope;
use crate::sql::exprs::At;
use crate::sql::facts::{plain_args, unnest};
use crate::sql::insert::is_default;
use crate::sql::literals::Literals;
use crate::sql::model::{Model, Stop};
use crate::sql::names::{Relation, parts};
use crate::types::oid;

/// The values of several columns of these types, which are one row or a query of one.
pub(crate) fn walk_row<'q>(
    model: &mut Model<'_>,
    at: &At<'q>,
    value: &'q Expr,
    types: &[Option<Oid>],
) -> Result<(), Stop> {
    let members = match unnest(value) {
        Expr::Tuple(members) => members.iter().collect(),
        Expr::Function(function) if function.name.to_string().eq_ignore_ascii_case("row") => {
            plain_args(function).unwrap_or_default()
        }
        _ => Vec::new(),
    };
    if members.is_empty() {
        // What a query gives is noted with it, but for texts that become names.
        if types.iter().flatten().any(|of| oid::is_name_of_catalog(*of)) {
            model.note_number(value.to_string());
        }
        return model.walk(at, value);
    }
    for (member, stored) in members.into_iter().zip(types) {
        if !is_default(member) {
            model.note_stored(at.level, member, *stored);
            model.walk(at, member)?;
        }
    }
    Ok(())
}

/// The type of the column that gets the value in this place of an INSERT's VALUES.
pub(crate) fn type_of_place(relation: &Relation, insert: &MergeInsertExpr, place: usize) -> Option<Oid> {
    let table = relation.table()?;
    let column = match insert.columns.is_empty() {
        true => table.columns.get(place)?,
        false => table.column(&parts(insert.columns.get(place)?)?.1)?.1,
    };
    Some(column.type_oid)
}

/// Refuses a default of a distributed table that gives a number of the catalog, which is another one on each shard.
pub(crate) fn check_numbers(scope: &NameScope<'_>, relation: &Relation, columns: &[usize]) -> Result<(), Fault> {
    let Some(table) = relation.table().filter(|_| relation.is_distributed()) else { return Ok(()) };
    match columns.iter().filter_map(|at| table.columns.get(*at)).find(|column| gives_number(scope, column)) {
        Some(column) => Err(number_by_default(table, column)),
        None => Ok(()),
    }
}

fn number_by_default(table: &Table, column: &Column) -> Fault {
    Fault::unsupported(
        format!("the default of column \"{}\" of table \"{}\" is not supported", column.name, table.name.name),
        "it is the number of something in the catalog, and each shard numbers that in a way of its own",
        "Give the column a value in the statement, or make it one of type regclass.",
    )
}

fn gives_number(scope: &NameScope<'_>, column: &Column) -> bool {
    let ColumnDefault::Expression(text) = &column.default else { return false };
    // What looks a name up says so by the name of its type.
    if !text.contains("reg") && !text.contains("pg_typeof") {
        return false;
    }
    let Some(expr) = super::parse_expr(text) else { return false };
    let mut scratch = Model::new(*scope, Literals::new("", 0, &[]), Default::default());
    let level = scratch.add_level(None, None);
    scratch.note_stored(level, &expr, Some(column.type_oid));
    let walked = scratch.walk(&At { level, ctes: None, vary: false }, &expr);
    walked.is_ok() && scratch.uses.numbering.gives.is_some()
}

//! ON CONFLICT: what it infers must be found on the one shard that has the row.

use sqlparser::ast::{
    Assignment, AssignmentTarget, ConflictTarget, Expr, Ident, Insert, ObjectName, OnConflict, OnConflictAction,
    OnInsert, SetExpr, TableObject,
};

use crate::catalog::{Column, ColumnDefault, RelationKind, Table};
use crate::fault::{Fault, SqlState};
use crate::sql::NameScope;
use crate::sql::exprs::At;
use crate::sql::facts::{row, unnest};
use crate::sql::insert::{assigned, column_list, walk_assignments};
use crate::sql::insert_keys::Target;
use crate::sql::model::{Model, Stop};
use crate::sql::names::{Relation, folded, parts, resolve};
use crate::types::KeyType;

/// What ON CONFLICT DO UPDATE sets.
pub(crate) fn conflict_assignments(insert: &Insert) -> &[Assignment] {
    match &insert.on {
        Some(OnInsert::OnConflict(OnConflict { action: OnConflictAction::DoUpdate(update), .. })) => {
            &update.assignments
        }
        _ => &[],
    }
}

/// ON CONFLICT over a sharded table: only by indexes that hold the key, so that no other shard can have the conflicting row.
pub(crate) fn check_conflict(scope: &NameScope<'_>, insert: &Insert, target: &Target) -> Result<(), Stop> {
    let conflict = match &insert.on {
        None => return Ok(()),
        Some(OnInsert::OnConflict(conflict)) => conflict,
        Some(_) => return Err(Stop::NotUnderstood("this form of INSERT")),
    };
    let refuse = |detail: String| -> Stop {
        Fault::unsupported(
            format!("ON CONFLICT on sharded table \"{}\" is not supported in this form", target.name.name),
            detail,
            format!("Name the columns of a unique index that contains {}.", target.key.join(", ")),
        )
        .into()
    };
    let by_key = match &conflict.conflict_target {
        Some(ConflictTarget::Columns(columns)) => {
            target.key.iter().all(|key| columns.iter().any(|column| *folded(column) == **key))
        }
        None | Some(ConflictTarget::OnConstraint(_)) => target.table.as_ref().is_some_and(|table| {
            let has = |unique: &Vec<usize>, key: &str| {
                unique.iter().any(|i| table.columns.get(*i).is_some_and(|column| &*column.name == key))
            };
            table.unique_keys.iter().all(|unique| target.key.iter().all(|key| has(unique, key)))
        }),
    };
    if let (Some(ConflictTarget::Columns(columns)), Some(table)) = (&conflict.conflict_target, &target.table)
        && infers_nothing(table, columns)
    {
        let message = "there is no unique or exclusion constraint matching the ON CONFLICT specification";
        return Err(Fault::new(SqlState::INVALID_COLUMN_REFERENCE, message).into());
    }
    if !by_key {
        return Err(refuse("a row on another shard could be the one that conflicts".to_owned()));
    }
    // No index means all of them, and one Postgres has one for these.
    let rules = scope.topology.uniques.iter().filter(|rule| rule.table == target.name);
    let mut rules = rules.filter(|rule| !gives_null(scope, insert, target, &rule.columns));
    if let (None, Some(rule)) = (&conflict.conflict_target, rules.next()) {
        let detail = format!("{} is unique over all shards, which is seen when the transaction ends", rule.scope());
        return Err(refuse(detail));
    }
    if let OnConflictAction::DoUpdate(update) = &conflict.action
        && let changed = update.assignments.iter().filter(|assignment| !keeps(assignment, target))
        && let Some(name) = changed.flat_map(|of| assigned(std::slice::from_ref(of))).find(|name| target.is_key(name))
    {
        return Err(refuse(format!("DO UPDATE sets the sharding key \"{name}\"")));
    }
    Ok(())
}

/// Whether DO UPDATE gives each column of the key that it sets the value that is there, or that of the row which has met it: by the index
/// both rows have one key.
fn keeps(assignment: &Assignment, target: &Target) -> bool {
    let last = |name: &ObjectName| name.0.last().and_then(|part| part.as_ident()).map(|name| folded(name).into_owned());
    let is_kept = |name: &ObjectName, value: &Expr| {
        let Some(name) = last(name) else { return false };
        let given = match value {
            Expr::CompoundIdentifier(path) => path.last(),
            _ => None,
        };
        !target.is_key(&name) || given.is_some_and(|given| *folded(given) == *name)
    };
    match &assignment.target {
        AssignmentTarget::ColumnName(name) => is_kept(name, unnest(&assignment.value)),
        AssignmentTarget::Tuple(names) => row(&assignment.value).is_some_and(|values| {
            names.len() == values.len() && names.iter().zip(values).all(|(name, value)| is_kept(name, unnest(value)))
        }),
    }
}

/// Whether each row has NULL in one of these columns: then it is in nobody's way.
pub(crate) fn gives_null(scope: &NameScope<'_>, insert: &Insert, target: &Target, unique: &[Box<str>]) -> bool {
    let (Some(table), Ok(Some(named)), true) = (&target.table, column_list(insert), is_itself(scope, insert, target))
    else {
        return false;
    };
    // A default of a domain is not told.
    let without_default = |column: &Column| {
        column.default == ColumnDefault::None && !column.generated && KeyType::from_oid(column.type_oid).is_some()
    };
    let cells = |at: usize| match insert.source.as_deref().map(|source| &*source.body) {
        Some(SetExpr::Values(values)) => values.rows.iter().all(|row| row.get(at).is_some_and(is_null)),
        _ => false,
    };
    unique.iter().any(|unique| {
        let known = table.column(unique).is_some_and(|(_, column)| without_default(column));
        match named.iter().position(|name| **name == **unique) {
            Some(at) => cells(at),
            None => known,
        }
    })
}

/// Whether the INSERT names the table itself: the columns of a view can have other names.
pub(crate) fn is_itself(scope: &NameScope<'_>, insert: &Insert, target: &Target) -> bool {
    let TableObject::TableName(name) = &insert.table else { return false };
    parts(name).is_some_and(|(schema, name)| {
        matches!(resolve(scope, schema.as_deref(), &name), Relation::Sharded { name, .. } if name == target.name)
    })
}

pub(crate) fn is_null(cell: &Expr) -> bool {
    matches!(cell, Expr::Value(value) if value.value == sqlparser::ast::Value::Null)
}

/// Whether no index of the table is one on just these columns. (One with a predicate is meant only where the statement has one too.)
pub(crate) fn infers_nothing(table: &Table, columns: &[Ident]) -> bool {
    let at = |column: &Ident| table.columns.iter().position(|of| *of.name == *folded(column));
    // What is no column is Postgres's to say.
    let Some(named) = columns.iter().map(at).collect::<Option<Vec<usize>>>() else { return false };
    let is_meant =
        |unique: &Vec<usize>| unique.iter().all(|of| named.contains(of)) && named.iter().all(|of| unique.contains(of));
    table.kind == RelationKind::Table && !table.unique_keys.iter().any(is_meant)
}

pub(crate) fn walk_conflict<'q>(model: &mut Model<'_>, at: &At<'q>, insert: &'q Insert) -> Result<(), Stop> {
    match &insert.on {
        None => Ok(()),
        Some(OnInsert::OnConflict(OnConflict { action: OnConflictAction::DoNothing, .. })) => Ok(()),
        Some(OnInsert::OnConflict(OnConflict { action: OnConflictAction::DoUpdate(update), .. })) => {
            walk_assignments(model, at, &update.assignments)?;
            model.walk_all(at, update.selection.as_ref())
        }
        Some(_) => Err(Stop::NotUnderstood("this form of INSERT")),
    }
}

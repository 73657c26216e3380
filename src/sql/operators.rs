//! Operators and casts that users have made: what their functions do, statements that use them do.

use std::fmt::Display;

use crate::catalog::{Cast, Operator, Sets, Table, UserFunction};
use crate::sql::NameScope;
use crate::sql::functions::trusted;
use crate::sql::model::{Model, Uses};

/// Those that a statement can use without having them written: IN, BETWEEN, USING, LIKE, SIMILAR TO, ORDER BY, DISTINCT.
const UNWRITTEN: [&str; 12] = ["=", "<>", "<", "<=", ">", ">=", "~~", "!~~", "~~*", "!~~*", "~", "!~"];

impl Model<'_> {
    /// An operator of an expression, which says its name.
    pub fn note_operator(&mut self, operator: &impl Display) {
        if self.scope.catalog.operators.is_empty() {
            return;
        }
        let written = operator.to_string();
        // `OPERATOR(schema.name)`
        let name = written.strip_prefix("OPERATOR(").and_then(|rest| rest.strip_suffix(')')).unwrap_or(&written);
        let name = name.rsplit('.').next().unwrap_or(name);
        note(&self.scope, &mut self.uses, name);
    }
}

/// Notes in the beginning what any statement may use.
pub(crate) fn note_unwritten(scope: &NameScope<'_>, uses: &mut Uses) {
    if !scope.catalog.operators.is_empty() {
        UNWRITTEN.iter().for_each(|name| note(scope, uses, name));
    }
    let everywhere = scope.catalog.casts.iter().filter(|cast| cast.types.is_empty());
    everywhere.for_each(|cast| note_function(scope, uses, &cast.function));
}

/// A value of a type that is called so is made or read: casts from it and to it may run.
pub(crate) fn note_type(scope: &NameScope<'_>, uses: &mut Uses, name: &str) {
    let of_type = scope.catalog.casts.iter().filter(|cast| cast.names.iter().any(|of| **of == *name));
    of_type.for_each(|cast| note_function(scope, uses, &cast.function));
}

/// The same of the columns of a table.
pub(crate) fn note_columns(scope: &NameScope<'_>, uses: &mut Uses, table: &Table) {
    // A row of it has the type that is called as it is.
    let has = |cast: &&Cast| {
        table.columns.iter().any(|column| cast.types.contains(&column.type_oid))
            || cast.names.contains(&table.name.name)
    };
    scope.catalog.casts.iter().filter(has).for_each(|cast| note_function(scope, uses, &cast.function));
}

fn note(scope: &NameScope<'_>, uses: &mut Uses, operator: &str) {
    if let Some(operator) = scope.catalog.operators.get(operator) {
        note_function(scope, uses, operator);
    }
}

fn note_function(scope: &NameScope<'_>, uses: &mut Uses, Operator { schema, name, function }: &Operator) {
    let function: UserFunction = match scope.topology.place_of_schema(schema) {
        Some(_) => trusted(scope, *function),
        None => *function,
    };
    uses.note_user_function(name, function);
    uses.note_sets(function.sets);
    if function.sets != Sets::Nothing {
        uses.home_function |= uses.home.is_none();
        uses.home.get_or_insert_with(|| format!("function {name}()").into());
    }
}

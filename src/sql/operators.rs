//! Operators and casts that users have made: what their functions do, statements that use them do.

use std::collections::HashSet;
use std::fmt::Display;

use crate::catalog::effects::UNWRITTEN;
use crate::catalog::{Cast, Operator, Sets, Table, UserFunction, Volatility};
use crate::sql::NameScope;
use crate::sql::functions::trusted;
use crate::sql::lexer::{Token, TokenKind};
use crate::sql::model::{Model, Uses};
use crate::sql::names::is_temporary_schema;
use crate::sql::temporary::SCHEMA;
use crate::sql::words::{name_of, text_of};

impl Model<'_> {
    /// An operator of an expression, which says its name.
    pub fn note_operator(&mut self, operator: &impl Display) {
        let written = operator.to_string();
        if self.scope.catalog.operators.is_empty() && !written.contains(SCHEMA) {
            return;
        }
        // `OPERATOR(schema.name)`
        let name = written.strip_prefix("OPERATOR(").and_then(|rest| rest.strip_suffix(')')).unwrap_or(&written);
        let (schema, name) = name.rsplit_once('.').unwrap_or(("", name));
        if is_temporary_schema(schema.trim_matches('"')) {
            note_function(&self.scope, &mut self.uses, &temporary(name));
        }
        note(&self.scope, &mut self.uses, name);
    }
}

/// An operator of the session's own, which no catalog has.
fn temporary(name: &str) -> Operator {
    let function =
        UserFunction { volatility: Volatility::Volatile, declared_safe: false, sets: Sets::Lasting, callable: true };
    Operator { schema: SCHEMA.into(), name: format!("{SCHEMA}.{name}").into(), function }
}

/// What may run where nobody calls it, in a text that is not walked as a tree: by the names that it has.
pub(crate) fn uncalled(scope: &NameScope<'_>, text: &str, tokens: &[Token]) -> Vec<Operator> {
    let catalog = scope.catalog;
    let mut found: Vec<Operator> = Vec::new();
    for (at, token) in tokens.iter().enumerate().filter(|(_, token)| token.kind == TokenKind::Operator) {
        let name = text_of(text, token);
        found.extend(catalog.operators.get(name).cloned());
        let schema = match at.checked_sub(2).map(|start| &tokens[start..at]) {
            Some([schema, dot]) if dot.is(b'.') => name_of(text, schema),
            _ => None,
        };
        if schema.is_some_and(|schema| is_temporary_schema(&schema)) {
            found.push(temporary(name));
        }
    }
    found.extend(UNWRITTEN.iter().filter_map(|name| catalog.operators.get(*name)).cloned());
    if !catalog.casts.is_empty() {
        let names: HashSet<String> = tokens.iter().filter_map(|token| name_of(text, token)).collect();
        let tables: Vec<&Table> =
            catalog.tables.values().filter(|table| names.contains(&*table.name.name)).map(|table| &**table).collect();
        let runs = |cast: &&Cast| {
            cast.types.is_empty()
                || cast.names.iter().any(|name| names.contains(&**name))
                || tables.iter().any(|table| reads(cast, table))
        };
        found.extend(catalog.casts.iter().filter(runs).map(|cast| cast.function.clone()));
    }
    for operator in &mut found {
        if scope.topology.place_of_schema(&operator.schema).is_some() {
            operator.function = trusted(scope, operator.function);
        }
    }
    found
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
    let has = |cast: &&Cast| reads(cast, table);
    scope.catalog.casts.iter().filter(has).for_each(|cast| note_function(scope, uses, &cast.function));
}

/// Whether it may run for what is read of a table. A row of that has the type that is called as it is.
fn reads(cast: &Cast, table: &Table) -> bool {
    let of_column = || table.columns.iter().any(|column| cast.types.contains(&column.type_oid));
    !cast.checks && (of_column() || cast.names.contains(&table.name.name))
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
        uses.home_changes = true;
        uses.home.get_or_insert_with(|| format!("function {name}()").into());
    }
}

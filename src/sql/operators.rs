//! Operators that users have made: what their functions do, statements that use them do.

use std::fmt::Display;

use crate::catalog::{Operator, Sets, UserFunction};
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
}

fn note(scope: &NameScope<'_>, uses: &mut Uses, operator: &str) {
    let Some(Operator { schema, name, function }) = scope.catalog.operators.get(operator) else { return };
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

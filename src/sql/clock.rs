//! Functions that read the clock, where a Postgres finishes a statement: its own transaction is not the client's. Functions of the
//! same names, made on the connection, say the client's time instead.

use sqlparser::ast::{Function, FunctionArgumentList, FunctionArguments, Ident, ObjectName};

use crate::sql::NameScope;
use crate::sql::functions::{FunctionClass, classify};
use crate::sql::names::parts;

/// Which of the calls are replaced.
#[derive(Clone, Copy)]
pub(crate) struct Clock<'a> {
    pub scope: NameScope<'a>,
    /// The client is in a transaction. If not, the finishing transaction's own start is the moment, and only the start of the
    /// statement, which is the same, is none of its.
    pub all: bool,
}

/// A call that was replaced: the first and last of the names that it had, and what stands in their place.
pub(crate) struct Replaced {
    pub first: Ident,
    pub last: Ident,
    pub text: String,
}

impl Clock<'_> {
    /// The name of the function that is called in the place of this one.
    pub fn replaced(&self, name: &ObjectName) -> Option<String> {
        let (schema, name) = parts(name)?;
        let reads = classify(&self.scope, schema.as_deref(), &name) == FunctionClass::Clock;
        (reads && (self.all || name == "statement_timestamp")).then_some(name)
    }

    /// Puts the connection's own function in the place of one that reads the clock. (It has the same name, which can be a column's.)
    pub fn replace(&self, function: &mut Function) -> Option<Replaced> {
        let own = self.replaced(&function.name)?;
        let one = matches!(&function.args, FunctionArguments::List(list) if list.args.len() == 1);
        if own == "age" && !one {
            // The difference of two times.
            return None;
        }
        let first = function.name.0.first()?.as_ident()?.clone();
        let last = function.name.0.last()?.as_ident()?.clone();
        let called = matches!(function.args, FunctionArguments::List(_));
        let text = format!("pg_temp.\"{own}\"{}", if called { "" } else { "()" });
        function.name = ObjectName::from(vec![Ident::new("pg_temp"), Ident::with_quote('"', own)]);
        if !called {
            let none = FunctionArgumentList { duplicate_treatment: None, args: Vec::new(), clauses: Vec::new() };
            function.args = FunctionArguments::List(none);
        }
        Some(Replaced { first, last, text })
    }
}

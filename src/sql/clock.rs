//! Functions that read the clock, where a Postgres finishes a statement: its own transaction is not the client's. Functions of the
//! same names, made on the connection, say the client's time instead.

use sqlparser::ast::ObjectName;

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

impl Clock<'_> {
    /// The name of the function that is called in the place of this one.
    pub fn replaced(&self, name: &ObjectName) -> Option<String> {
        let (schema, name) = parts(name)?;
        let reads = classify(&self.scope, schema.as_deref(), &name) == FunctionClass::Clock;
        (reads && (self.all || name == "statement_timestamp")).then_some(name)
    }
}

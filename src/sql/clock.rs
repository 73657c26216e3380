//! Functions that read the clock, where their own transaction is not the client's: that of the Postgres which finishes a statement, or that
//! of one of several shards. They are replaced by something that says the client's time.

use std::ops::ControlFlow;

use sqlparser::ast::{
    Expr, Function, FunctionArgumentList, FunctionArguments, Ident, ObjectName, Statement, Visit, Visitor,
};

use crate::sql::NameScope;
use crate::sql::functions::{FunctionClass, classify};
use crate::sql::names::parts;
use crate::sql::supply::MOMENT;

/// Which of the calls are replaced, and by what.
#[derive(Clone, Copy)]
pub(crate) struct Clock<'a> {
    pub scope: NameScope<'a>,
    pub calls: Calls,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Calls {
    /// None: they run where the client's transaction is.
    Kept,
    /// By functions of the same names, made on the connection. Outside of a transaction the finishing transaction's own start is the
    /// moment, and only the start of the statement, which is the same, is none of its.
    OfStatement,
    /// The same, where the client is in a transaction.
    OfTransaction,
    /// By the columns of a row that is sent along.
    Moment,
}

/// A call that was replaced: the first and last of the names that it had, and what stands in their place.
pub(crate) struct Replaced {
    pub first: Ident,
    pub last: Ident,
    pub by: Replacement,
}

pub(crate) enum Replacement {
    /// Another name before the arguments.
    Name(String),
    /// An expression in the place of name and arguments; around the argument, where there is one.
    Value { before: String, around: Option<(String, String)> },
}

impl Clock<'_> {
    /// The name of the function that is called in the place of this one.
    pub fn replaced(&self, name: &ObjectName) -> Option<String> {
        let (schema, name) = parts(name)?;
        let reads = classify(&self.scope, schema.as_deref(), &name) == FunctionClass::Clock;
        let which = match self.calls {
            Calls::Kept => false,
            Calls::OfStatement => name == "statement_timestamp",
            Calls::OfTransaction | Calls::Moment => true,
        };
        (reads && which).then_some(name)
    }

    /// Puts what says the client's time in the place of a call that reads the clock. (It gives a column the same name.)
    pub fn replace(&self, function: &mut Function) -> Option<Replaced> {
        let own = self.replaced(&function.name)?;
        let args = match &function.args {
            FunctionArguments::List(list) => list.args.len(),
            FunctionArguments::None | FunctionArguments::Subquery(_) => 0,
        };
        if own == "age" && (args != 1 || self.calls == Calls::Moment) {
            // The difference of two times; or one that nobody sends.
            return None;
        }
        let first = function.name.0.first()?.as_ident()?.clone();
        let last = function.name.0.last()?.as_ident()?.clone();
        if self.calls == Calls::Moment {
            let before = format!("(SELECT \"{own}\" FROM {MOMENT})");
            let of = match &*own {
                "current_timestamp" => "timestamptz",
                "localtimestamp" => "timestamp",
                "current_time" => "timetz",
                _ => "time",
            };
            let around = (args > 0).then(|| {
                (format!("(SELECT pg_catalog.\"{of}\"(\"{own}\", "), format!(") AS \"{own}\" FROM {MOMENT})"))
            });
            return Some(Replaced { first, last, by: Replacement::Value { before, around } });
        }
        let called = matches!(function.args, FunctionArguments::List(_));
        let text = format!("pg_temp.\"{own}\"{}", if called { "" } else { "()" });
        function.name = ObjectName::from(vec![Ident::new("pg_temp"), Ident::with_quote('"', own)]);
        if !called {
            let none = FunctionArgumentList { duplicate_treatment: None, args: Vec::new(), clauses: Vec::new() };
            function.args = FunctionArguments::List(none);
        }
        Some(Replaced { first, last, by: Replacement::Name(text) })
    }

    /// Whether a statement reads the clock in a way that no row says.
    pub fn has_more_than_moment(&self, tree: &Statement) -> bool {
        struct Age<'a>(Clock<'a>);
        impl Visitor for Age<'_> {
            type Break = ();
            fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
                match expr {
                    Expr::Function(function)
                        if self.0.replaced(&function.name).is_some_and(|name| name == "age")
                            && matches!(&function.args, FunctionArguments::List(list) if list.args.len() == 1) =>
                    {
                        ControlFlow::Break(())
                    }
                    _ => ControlFlow::Continue(()),
                }
            }
        }
        tree.visit(&mut Age(*self)).is_break()
    }
}

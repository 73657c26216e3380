//! Functions that give another value at each call, in statements that change rows on several shards.

use std::ops::ControlFlow;

use sqlparser::ast::{Expr, ObjectName, Query, SetExpr, Statement, TableFactor, Visit, Visitor};

use crate::sql::analyze::Analyzer;
use crate::sql::functions::{FunctionClass, classify};
use crate::sql::model::{Model, Obstacle};
use crate::sql::names::parts;

/// Several shards may call such a function where each row asks it anew, because nobody expects any particular value. But not where rows
/// are asked for once and then joined or looked up: one Postgres would take the same for all rows.
pub(crate) fn check_calls(of: &Analyzer<'_>, tree: &Statement, model: &Model<'_>) -> Result<(), Obstacle> {
    let Some(name) = &model.uses.volatile else { return Ok(()) };
    if model.uses.user_function.is_some() {
        return Err(Obstacle::new(format!("function {name}() may have effects")));
    }
    let mut asks = Asks { of, model, inside: 0, once: 0, found: false };
    let _ = tree.visit(&mut asks);
    match asks.found {
        true => Err(Obstacle::new(format!("function {name}() gives another value at each call"))),
        false => Ok(()),
    }
}

struct Asks<'a> {
    of: &'a Analyzer<'a>,
    model: &'a Model<'a>,
    /// Queries and FROM items that the visit is inside of; and those that are asked once.
    inside: usize,
    once: usize,
    found: bool,
}

impl Asks<'_> {
    fn note(&mut self, name: &ObjectName) {
        let Some((schema, name)) = parts(name) else { return };
        let asked = classify(&self.of.scope, schema.as_deref(), &name) == FunctionClass::Volatile;
        self.found |= asked && self.once == 0 && self.inside > 0;
    }

    fn is_once(&self, query: &Query) -> bool {
        self.model.supplied.queries.contains_key(&std::ptr::from_ref(query))
    }
}

/// The statement itself can stand behind a WITH.
fn is_query(query: &Query) -> bool {
    !matches!(&*query.body, SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_))
}

impl Visitor for Asks<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        self.inside += usize::from(is_query(query));
        self.once += usize::from(self.is_once(query));
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        self.inside -= usize::from(is_query(query));
        self.once -= usize::from(self.is_once(query));
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        self.inside += 1;
        match factor {
            TableFactor::Table { name, args: Some(_), .. } | TableFactor::Function { name, .. } => self.note(name),
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn post_visit_table_factor(&mut self, _: &TableFactor) -> ControlFlow<()> {
        self.inside -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if let Expr::Function(function) = expr {
            self.note(&function.name);
        }
        ControlFlow::Continue(())
    }
}

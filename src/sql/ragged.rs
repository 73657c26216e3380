//! VALUES lists whose rows have different lengths: an error to Postgres, whatever else the statement says.

use std::ops::ControlFlow;

use sqlparser::ast::{Query, SetExpr, Statement, Visit, Visitor};

use crate::fault::{Fault, SqlState};
use crate::sql::Access;
use crate::sql::analyze::{Analyzer, Verdict};
use crate::sql::outcome::{Outcome, Why};

/// The verdict on a statement with such a list. The home shard says what is wrong with it, and where: it has every table, and none of
/// them is asked for a row.
pub(crate) fn verdict(of: &Analyzer<'_>, tree: &Statement) -> Option<Verdict> {
    if tree.visit(&mut Ragged).is_continue() {
        return None;
    }
    if of.scope.topology.places_schemas() {
        let fault = Fault::new(SqlState::SYNTAX_ERROR, "VALUES lists must all be the same length");
        return Some(Verdict::refuse(fault));
    }
    Some(Verdict::new(Outcome::Home(Why::NoTable), Access::Read))
}

struct Ragged;

impl Visitor for Ragged {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        if is_ragged(&query.body) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

fn is_ragged(body: &SetExpr) -> bool {
    match body {
        SetExpr::Values(values) => values.rows.windows(2).any(|rows| rows[0].content.len() != rows[1].content.len()),
        SetExpr::SetOperation { left, right, .. } => is_ragged(left) || is_ragged(right),
        _ => false,
    }
}

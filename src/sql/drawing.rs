//! Queries with `nextval`, of rows that lie where the sequence does not: a Postgres puts the rows together and takes the values, as one
//! Postgres that has the rows would.

use std::ops::ControlFlow;
use std::rc::Rc;

use sqlparser::ast::{
    Expr, GroupByExpr, JoinConstraint, JoinOperator, Query, Select, SelectItem, TableFactor, TableWithJoins, Visit,
    VisitMut, Visitor,
};

use crate::sql::alone::constraint;
use crate::sql::analyze::Analyzer;
use crate::sql::model::{LevelId, Model};
use crate::sql::once::{Draws, Effects};

/// Whether a statement takes values of sequences where a Postgres finishes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Drawing {
    /// It takes none.
    #[default]
    Nothing,
    /// For each row of its result: how the rows are found does not matter.
    ByRow,
    /// In select lists, ORDER BY or HAVING anywhere: also for rows of which nothing is left in the end. So every row must be there that one
    /// Postgres would come to.
    ByAnyRow,
}

impl Drawing {
    pub fn takes(self) -> bool {
        self != Self::Nothing
    }
}

impl<'s> Analyzer<'s> {
    /// The same analyzer for a statement that takes values of sequences; `None`: it takes none, or how many it takes is not said by its rows.
    /// `select`: what the query is, where it is no set operation.
    pub(crate) fn drawing(
        &self,
        model: &Model<'_>,
        query: &Query,
        select: Option<(&Select, LevelId)>,
    ) -> Option<Analyzer<'s>> {
        if !model.uses.home_function || model.uses.pin.is_some() || !query.locks.is_empty() || model.uses.writing_cte {
            return None;
        }
        let mut draws = Draws::new(self);
        let _ = VisitMut::visit(&mut query.clone(), &mut draws);
        // One that stands in a condition is called as often as Postgres finds fit.
        let all = Effects::in_all(self, query)?;
        if draws.found == 0 || draws.unread || all != draws.found || query.visit(&mut Conditions(self)).is_break() {
            return None;
        }
        let by_row = select.is_some_and(|(select, level)| self.is_by_row(model, query, select, level, all));
        Some(Analyzer {
            scope: self.scope,
            text: self.text,
            scan: self.scan,
            used: self.used.clone(),
            parameters: self.parameters,
            once: self.once,
            draws: if by_row { Drawing::ByRow } else { Drawing::ByAnyRow },
            told: Rc::clone(&self.told),
        })
    }

    /// Whether all that it takes stands in the select list, once for each row.
    fn is_by_row(&self, model: &Model<'_>, query: &Query, select: &Select, level: LevelId, all: usize) -> bool {
        let grouped = !matches!(&select.group_by, GroupByExpr::Expressions(by, _) if by.is_empty());
        let of = &model.levels[level];
        let plain = query.with.is_none()
            && select.distinct.is_none()
            && select.having.is_none()
            && !grouped
            && !of.aggregates
            && of.windows.is_empty();
        let in_list = |item: &SelectItem| Some(Effects::in_all(self, item)? - Effects::in_queries(self, item)?);
        plain && select.projection.iter().map(in_list).sum::<Option<usize>>() == Some(all)
    }
}

/// Finds effects in conditions.
struct Conditions<'a, 's>(&'a Analyzer<'s>);

impl Conditions<'_, '_> {
    fn look(&self, condition: &Expr) -> ControlFlow<()> {
        match Effects::in_all(self.0, condition) {
            Some(0) => ControlFlow::Continue(()),
            _ => ControlFlow::Break(()),
        }
    }

    fn look_at_joins(&self, from: &TableWithJoins) -> ControlFlow<()> {
        from.joins.iter().filter_map(|join| on(&join.join_operator)).try_for_each(|condition| self.look(condition))
    }
}

impl Visitor for Conditions<'_, '_> {
    type Break = ();

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        select.selection.iter().try_for_each(|condition| self.look(condition))?;
        select.from.iter().try_for_each(|from| self.look_at_joins(from))
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        match factor {
            TableFactor::NestedJoin { table_with_joins, .. } => self.look_at_joins(table_with_joins),
            _ => ControlFlow::Continue(()),
        }
    }
}

/// The condition of a join's ON.
fn on(join: &JoinOperator) -> Option<&Expr> {
    match constraint(join)? {
        JoinConstraint::On(condition) => Some(condition),
        _ => None,
    }
}

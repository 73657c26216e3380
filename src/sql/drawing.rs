//! SELECT with `nextval` in its select list, of rows that lie where the sequence does not: a Postgres puts the rows together and takes the
//! values, one for each row of the result, as one Postgres that has the rows would.

use std::rc::Rc;

use sqlparser::ast::{GroupByExpr, Query, Select, SelectItem, VisitMut};

use crate::sql::analyze::Analyzer;
use crate::sql::model::{LevelId, Model};
use crate::sql::once::{Draws, Effects};

impl<'s> Analyzer<'s> {
    /// The same analyzer for a statement that takes its values by the row; `None`: it takes none, or how many it takes is not said by the rows
    /// of its result alone.
    pub(crate) fn drawing(
        &self,
        model: &Model<'_>,
        query: &Query,
        select: &Select,
        level: LevelId,
    ) -> Option<Analyzer<'s>> {
        let grouped = !matches!(&select.group_by, GroupByExpr::Expressions(by, _) if by.is_empty());
        let of = model.levels.get(level)?;
        let plain = query.with.is_none()
            && query.locks.is_empty()
            && select.distinct.is_none()
            && select.having.is_none()
            && !grouped
            && !of.aggregates
            && of.windows.is_empty();
        if !plain || !model.uses.home_function || model.uses.pin.is_some() {
            return None;
        }
        let mut draws = Draws::new(self);
        for item in &select.projection {
            let (SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) = item else { continue };
            let mut expr = expr.clone();
            let _ = VisitMut::visit(&mut expr, &mut draws);
        }
        // One that stands anywhere else is called as often as Postgres finds fit.
        let all = Effects::in_all(self, query)?;
        let below: usize =
            select.projection.iter().map(|item| Effects::in_queries(self, item)).sum::<Option<usize>>()?;
        let by_row = draws.found > 0 && !draws.unread && all == draws.found && below == 0;
        by_row.then(|| Analyzer {
            scope: self.scope,
            text: self.text,
            scan: self.scan,
            used: self.used.clone(),
            parameters: self.parameters,
            once: self.once,
            draws: true,
            told: Rc::clone(&self.told),
        })
    }
}

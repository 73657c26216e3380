//! Conditions above a query that Postgres looks at before it makes the query's groups: those on grouping columns alone. Of groups that they
//! leave out nothing is computed, and nothing fails.

use std::borrow::Cow;
use std::ops::ControlFlow;

use sqlparser::ast::{
    BinaryOperator, Distinct, Expr, Query, Select, SelectItem, SetExpr, Visit, VisitMut, Visitor, VisitorMut,
};

use crate::sql::model::{LeafId, LevelId, Model, Part};
use crate::sql::pushdown::can_ask;
use crate::sql::query::{is_distinct, is_grouped, is_limited};

/// A query in FROM as the shards are asked for it: where something of it can fail, with the conditions that Postgres puts below it. `None`: it
/// must stay where it is.
pub(crate) fn less_asked<'q>(model: &Model<'_>, query: &'q Query, uses: &[&Part]) -> Option<Cow<'q, Query>> {
    if !fails_otherwise(model, query, uses) {
        return Some(Cow::Borrowed(query));
    }
    let ([part], SetExpr::Select(select)) = (uses, &*query.body) else { return None };
    let above = Above::of(model, query, select, part);
    let level = part.levels.start;
    let makes_rows = is_grouped(select) || is_distinct(select) || !model.levels[level].windows.is_empty();
    if above.higher || !makes_rows {
        return None;
    }
    let mut asked = query.clone();
    let SetExpr::Select(of) = &mut *asked.body else { return None };
    for condition in above.own {
        let mut condition = condition.clone();
        let mut write = Write { above: &above.place, level: above.level };
        if VisitMut::visit(&mut condition, &mut write).is_break() || !can_ask(model, level, &condition) {
            return None;
        }
        let condition = Expr::Nested(Box::new(condition));
        of.selection = Some(match of.selection.take() {
            None => condition,
            Some(before) => Expr::BinaryOp {
                left: Box::new(Expr::Nested(Box::new(before))),
                op: BinaryOperator::And,
                right: Box::new(condition),
            },
        });
    }
    Some(Cow::Owned(asked))
}

/// Whether something of a query can fail for rows that conditions around it leave out.
pub(crate) fn fails_otherwise(model: &Model<'_>, query: &Query, uses: &[&Part]) -> bool {
    let SetExpr::Select(select) = &*query.body else { return false };
    uses.iter().any(|part| {
        let above = Above::of(model, query, select, part);
        (above.higher || !above.own.is_empty()) && model.may_fail_by_row(part.levels.start, query)
    })
}

/// The conditions on the groups of a query.
struct Above<'m, 's> {
    place: Place<'m, 's>,
    /// The level that the FROM item stands in.
    level: LevelId,
    /// Those on the FROM item that the query is.
    own: Vec<&'m Expr>,
    /// There are such further above.
    higher: bool,
}

/// A FROM item, and what its columns are.
#[derive(Clone, Copy)]
struct Place<'m, 's> {
    model: &'m Model<'s>,
    leaf: LeafId,
    /// In the query's own level, where that is the FROM item or one of a set operation that is.
    items: Option<(LevelId, &'m [SelectItem])>,
    /// Only columns that conditions go through to are groups.
    through: bool,
}

impl<'m, 's> Above<'m, 's> {
    fn of(model: &'m Model<'s>, query: &Query, select: &'m Select, part: &Part) -> Self {
        let level = part.levels.start;
        let of = &model.levels[level];
        let mut at = part.leaf.or(of.leaf_of);
        let through = !of.windows.is_empty() || matches!(select.distinct, Some(Distinct::On(_)));
        let items = Some((level, &select.projection[..]));
        let mut above = Self {
            place: Place { model, leaf: at.unwrap_or(0), items, through },
            level,
            own: Vec::new(),
            higher: false,
        };
        // Postgres puts nothing below these.
        if is_limited(query) || of.grouping_sets {
            return above;
        }
        let filters = model.collected.as_deref().map_or(&[][..], |collected| &collected.filters);
        let mut place = above.place;
        let mut first = true;
        while let Some(leaf) = at {
            place.leaf = leaf;
            let level = model.leaves[leaf].level;
            let below = filters.iter().filter(|filter| filter.level == level && place.is_named_in(level, &filter.expr));
            if first {
                above.level = level;
                above.own = below.map(|filter| &filter.expr).collect();
            } else {
                above.higher |= below.count() > 0;
            }
            (first, place.items, place.through) = (false, None, false);
            at = model.levels[level].leaf_of;
        }
        above
    }
}

impl<'m> Place<'m, '_> {
    /// Whether a condition names columns of the FROM item alone, all of them groups.
    fn is_named_in(&self, level: LevelId, condition: &Expr) -> bool {
        let mut names = Named { place: *self, level, found: false };
        condition.visit(&mut names).is_continue() && names.found
    }

    /// What a column is in the query itself.
    fn item(&self, name: &str) -> Option<&'m Expr> {
        let columns = &self.model.leaves[self.leaf].columns.list;
        let (_, items) = self.items.filter(|(_, items)| items.len() == columns.len())?;
        match items.get(columns.iter().position(|column| *column.name == *name)?)? {
            SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => Some(expr),
            _ => None,
        }
    }
}

struct Named<'m, 's> {
    place: Place<'m, 's>,
    level: LevelId,
    found: bool,
}

impl Visitor for Named<'_, '_> {
    type Break = ();

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        ControlFlow::Break(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        let names = match expr {
            Expr::Identifier(name) => std::slice::from_ref(name),
            Expr::CompoundIdentifier(names) => names,
            Expr::Wildcard(_) | Expr::QualifiedWildcard(..) => return ControlFlow::Break(()),
            _ => return ControlFlow::Continue(()),
        };
        let Place { model, leaf, items, through } = self.place;
        let is_group = |name: &str| match (self.place.item(name), items) {
            (Some(expr), Some((level, _))) => !model.may_aggregate(level, expr),
            // What it is nobody knows.
            _ => true,
        };
        let found = model.find_column(self.level, names).filter(|found| found.leaf == leaf);
        self.found =
            found.is_some_and(|found| (!through || found.column.node.is_some()) && is_group(&found.column.name));
        if self.found { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }
}

/// Writes a condition on a query as one within it.
struct Write<'a, 'm, 's> {
    above: &'a Place<'m, 's>,
    level: LevelId,
}

impl VisitorMut for Write<'_, '_, '_> {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        let names = match expr {
            Expr::Identifier(name) => std::slice::from_ref(name),
            Expr::CompoundIdentifier(names) => names,
            _ => return ControlFlow::Continue(()),
        };
        let found = self.above.model.find_column(self.level, names);
        match found.and_then(|found| self.above.item(&found.column.name)) {
            Some(item) => {
                *expr = Expr::Nested(Box::new(item.clone()));
                ControlFlow::Continue(())
            }
            None => ControlFlow::Break(()),
        }
    }
}

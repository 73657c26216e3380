//! Conditions above a query that Postgres looks at before it makes the query's groups: those on grouping columns alone. Of groups that they
//! leave out nothing is computed, and nothing fails.

use std::borrow::Cow;
use std::ops::ControlFlow;

use sqlparser::ast::{
    BinaryOperator, Distinct, Expr, Ident, Query, Select, SelectItem, SetExpr, Value as Literal, ValueWithSpan, Visit,
    VisitMut, Visitor, VisitorMut,
};

use crate::sql::distinct::has_sets;
use crate::sql::facts::{row, unnest};
use crate::sql::fixed::fixed;
use crate::sql::model::{Filter, LeafId, LevelId, Model, Part};
use crate::sql::names::folded;
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
    if above.others || !makes_rows {
        return None;
    }
    let mut asked = query.clone();
    let SetExpr::Select(of) = &mut *asked.body else { return None };
    for filter in above.own {
        // Only what holds of its rows before an outer join makes others of them.
        if !filter.leaves.contains(&above.place.leaf) {
            return None;
        }
        let mut condition = filter.expr.clone();
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
        (above.others || !above.own.is_empty()) && model.may_fail_by_row(part.levels.start, query)
    })
}

/// The conditions on the groups of a query.
struct Above<'m, 's> {
    place: Place<'m, 's>,
    /// The level that the FROM item stands in.
    level: LevelId,
    /// Those on the FROM item that the query is.
    own: Vec<&'m Filter>,
    /// There are such further above, or some that follow from conditions on other FROM items as well.
    others: bool,
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
            others: false,
        };
        // Postgres puts nothing below these.
        if is_limited(query) || of.grouping_sets {
            return above;
        }
        let filters = model.collected.as_deref().map_or(&[][..], |collected| &collected.filters);
        let mut place = above.place;
        let mut places = Vec::new();
        while let Some(leaf) = at {
            place.leaf = leaf;
            let level = model.leaves[leaf].level;
            for filter in filters.iter().filter(|filter| filter.level == level) {
                match place.named_in(level, &filter.expr) {
                    Named { groups: true, aggregates: false, others: false, .. } if places.is_empty() => {
                        above.own.push(filter);
                    }
                    Named { groups: true, aggregates: false, others: false, .. } => above.others = true,
                    // What of it names one item alone Postgres takes out of all but a plain comparison.
                    Named { groups: true, .. } => above.others |= !compares(&filter.expr),
                    Named { .. } => {}
                }
            }
            if places.is_empty() {
                above.level = level;
            }
            places.push(place);
            (place.items, place.through) = (None, false);
            at = model.levels[level].leaf_of;
        }
        let leaves: Vec<LeafId> = places.iter().map(|place| place.leaf).collect();
        let fixed = fixed(model, filters, &above.own, &leaves);
        above.others |= fixed
            .into_iter()
            .any(|(leaf, name)| places.iter().any(|place| place.leaf == leaf && place.is_group(&name)));
        above
    }
}

impl<'m, 's> Place<'m, 's> {
    /// What a condition of this level names.
    fn named_in(&self, level: LevelId, condition: &Expr) -> Named<'_, 'm, 's> {
        let mut named = Named { place: self, level, queries: 0, groups: false, aggregates: false, others: false };
        let _ = condition.visit(&mut named);
        named
    }

    /// Whether a column is a group, for all that is known.
    fn is_group(&self, name: &str) -> bool {
        let columns = &self.model.leaves[self.leaf].columns.list;
        let passes = || columns.iter().any(|column| *column.name == *name && column.node.is_some());
        let is_plain = |(level, _): (LevelId, _)| {
            // Postgres puts no condition on what gives several rows below, and none can name it in WHERE.
            self.item(name).is_none_or(|expr| !self.model.may_aggregate(level, expr) && !has_sets(expr))
        };
        (!self.through || passes()) && self.items.is_none_or(is_plain)
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

/// Whether it is a comparison of two values, no rows.
fn compares(condition: &Expr) -> bool {
    use BinaryOperator::{Eq, Gt, GtEq, Lt, LtEq, NotEq};
    match unnest(condition) {
        Expr::BinaryOp { left, op: Eq | NotEq | Lt | LtEq | Gt | GtEq, right } => {
            row(left).is_none() && row(right).is_none()
        }
        _ => false,
    }
}

/// What a condition names outside of the queries in it, which Postgres can answer beforehand.
struct Named<'p, 'm, 's> {
    place: &'p Place<'m, 's>,
    level: LevelId,
    /// How many queries are open.
    queries: usize,
    /// Columns of the FROM item that are groups.
    groups: bool,
    /// Others of it.
    aggregates: bool,
    /// Other FROM items, or what is not known.
    others: bool,
}

impl Visitor for Named<'_, '_, '_> {
    type Break = ();

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.queries += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.queries -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        let names = match expr {
            _ if self.queries > 0 => return ControlFlow::Continue(()),
            Expr::Identifier(name) => std::slice::from_ref(name),
            Expr::CompoundIdentifier(names) => names,
            Expr::Wildcard(_) | Expr::QualifiedWildcard(..) => {
                self.others = true;
                return ControlFlow::Continue(());
            }
            _ => return ControlFlow::Continue(()),
        };
        let Place { model, leaf, .. } = *self.place;
        match model.find_column(self.level, names) {
            Some(found) if found.leaf == leaf && self.place.is_group(&found.column.name) => self.groups = true,
            Some(found) if found.leaf == leaf => self.aggregates = true,
            // One of a query around this one has one value.
            Some(found) if model.leaves[found.leaf].level != self.level => {}
            _ => self.others = true,
        }
        ControlFlow::Continue(())
    }
}

/// Writes a condition on a query as one within it.
struct Write<'a, 'm, 's> {
    above: &'a Place<'m, 's>,
    level: LevelId,
}

impl VisitorMut for Write<'_, '_, '_> {
    type Break = ();

    fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        ControlFlow::Break(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        let names = match expr {
            Expr::Identifier(name) => std::slice::from_ref(name),
            Expr::CompoundIdentifier(names) => names,
            _ => return ControlFlow::Continue(()),
        };
        let model = self.above.model;
        let is_merged =
            |name: &Ident| model.levels[self.level].merged.iter().any(|merged| *merged.name == *folded(name));
        // What USING and NATURAL put together has a type of its own.
        if let [name] = names
            && is_merged(name)
        {
            return ControlFlow::Break(());
        }
        let found = model.find_column(self.level, names);
        let found = found.filter(|found| found.leaf == self.above.leaf);
        match found.and_then(|found| self.above.item(&found.column.name)) {
            // Without a type of its own it is text as a column, and anything in a condition.
            Some(item) if is_untyped(item) || collates(item) => ControlFlow::Break(()),
            Some(item) => {
                *expr = Expr::Nested(Box::new(item.clone()));
                ControlFlow::Continue(())
            }
            None => ControlFlow::Break(()),
        }
    }
}

/// What a column has of it implicitly, the expression says.
fn collates(item: &Expr) -> bool {
    struct Named;
    impl Visitor for Named {
        type Break = ();
        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            if matches!(expr, Expr::Collate { .. }) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
    }
    item.visit(&mut Named).is_break()
}

fn is_untyped(item: &Expr) -> bool {
    let Expr::Value(ValueWithSpan { value, .. }) = unnest(item) else { return false };
    !matches!(value, Literal::Number(..) | Literal::Boolean(_))
}

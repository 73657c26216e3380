//! ORDER BY with LIMIT in a pull: where every row of the result is one row of one table, the first rows of all are among the first
//! rows of each shard, in whatever order a Postgres sorts.

use std::ops::ControlFlow;

use sqlparser::ast::{
    Distinct, Expr, GroupByExpr, OrderByExpr, OrderByKind, OrderBySort, Query, Select, SelectItem, SetExpr,
    Value as Literal, Visit, Visitor,
};

use crate::sql::colnames::output_name;
use crate::sql::facts::{conjuncts, unnest};
use crate::sql::limit::read_limit;
use crate::sql::model::{Model, TableUse};
use crate::sql::names::{folded, parts};
use crate::sql::outcome::Top;
use crate::sql::pieces::Pieces;
use crate::sql::pushdown::print_pushed;
use crate::sql::query::item_expr;

/// The order and limit of a query that go down with the pull of its only table, if they do. `columns`: the table's.
pub(crate) fn top(model: &Model<'_>, query: &Query, table: &TableUse, columns: &[&str]) -> Option<Top> {
    let SetExpr::Select(select) = &*query.body else { return None };
    let [from] = &select.from[..] else { return None };
    let level = model.leaves[table.leaf].level;
    let plain = query.with.is_none()
        && from.joins.is_empty()
        && std::ptr::eq(&from.relation, table.factor)
        && select.having.is_none()
        && matches!(select.distinct, None | Some(Distinct::All))
        && matches!(&select.group_by, GroupByExpr::Expressions(by, also) if by.is_empty() && also.is_empty())
        && !model.levels[level].aggregates
        && model.levels[level].windows.is_empty();
    if !plain || model.needs_all_rows() || multiplies_rows(select) || model.uses.attribute.is_some() {
        return None;
    }
    let limit = read_limit(query).ok()??;
    limit.limit?;
    let pushed = |expr: &Expr| print_pushed(model, table.leaf, level, expr, columns);
    // What is not checked on the shards would take away from the rows that they send.
    if !select.selection.iter().flat_map(conjuncts).all(|part| pushed(part).is_some()) {
        return None;
    }
    let OrderByKind::Expressions(items) = &query.order_by.as_ref()?.kind else { return None };
    let mut order = Pieces::default();
    for (i, item) in items.iter().enumerate() {
        if !is_default_order(item) || item.with_fill.is_some() {
            return None;
        }
        if i > 0 {
            order.push(", ");
        }
        order.extend(pushed(sorted_by(select, &item.expr)?)?);
        let options =
            OrderByExpr { expr: Expr::Identifier("x".into()), options: item.options.clone(), with_fill: None };
        order.push(options.to_string().strip_prefix('x')?);
    }
    Some(Top { order, limit })
}

/// Whether an item sorts as its type does by default, up or down. `USING <` does: the shards order by the very same operator.
fn is_default_order(item: &OrderByExpr) -> bool {
    match &item.options.sort {
        None | Some(OrderBySort::Asc | OrderBySort::Desc) => true,
        Some(OrderBySort::Using(operator)) => matches!(operator.to_string().as_str(), "<" | ">"),
    }
}

/// The expression over the table's columns that an item of ORDER BY means: an ordinal or an output name is that of the select list.
fn sorted_by<'q>(select: &'q Select, expr: &'q Expr) -> Option<&'q Expr> {
    match unnest(expr) {
        Expr::Value(value) => match &value.value {
            Literal::Number(digits, _) => item_expr(select, digits.parse::<usize>().ok()?.checked_sub(1)?),
            _ => None,
        },
        Expr::Identifier(name) => {
            let mut named = select.projection.iter().filter_map(|item| match item {
                SelectItem::ExprWithAlias { expr, alias } if folded(alias) == folded(name) => Some(expr),
                SelectItem::UnnamedExpr(expr) if output_name(expr) == folded(name) => Some(expr),
                _ => None,
            });
            let Some(first) = named.next() else { return Some(expr) };
            // Beside `*` the name may stand for two columns.
            let all_named = select
                .projection
                .iter()
                .all(|item| matches!(item, SelectItem::ExprWithAlias { .. } | SelectItem::UnnamedExpr(_)));
            (all_named && named.all(|other| other == first)).then_some(first)
        }
        _ => Some(expr),
    }
}

/// Whether the select list may make several rows of one, or none.
fn multiplies_rows(select: &Select) -> bool {
    struct Sets;
    impl Visitor for Sets {
        type Break = ();
        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            // Parts of the names of all functions that return sets.
            const PARTS: [&str; 12] = [
                "series",
                "subscripts",
                "unnest",
                "matches",
                "table",
                "each",
                "elements",
                "keys",
                "query",
                "set",
                "ts_",
                "explode",
            ];
            match expr {
                Expr::Function(function) => {
                    let scalar = parts(&function.name).is_some_and(|(schema, name)| {
                        schema.is_none() && !PARTS.iter().any(|part| name.contains(part))
                    });
                    if scalar { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
                }
                _ => ControlFlow::Continue(()),
            }
        }
    }
    select.projection.iter().any(|item| item.visit(&mut Sets).is_break())
}

//! Names that stand alone in expressions, by the SELECTs whose tables can have a column of that name: the one that a name stands in and
//! those around it. Aliases and keywords are none, nor is what ORDER BY names of the result.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;

use sqlparser::ast::{
    Expr, JoinConstraint, JoinOperator, ObjectName, OrderByKind, Query, Select, SelectItem, SetExpr, Statement,
    TableFactor, TableWithJoins, Visit, Visitor,
};

use crate::sql::colnames::output_name;
use crate::sql::names::folded;

/// The pointers are compared and never followed.
#[derive(Debug, Default)]
pub(crate) struct Alone {
    by_select: HashMap<*const Select, HashSet<String>>,
    /// In which SELECT a table stands.
    selects: HashMap<*const TableFactor, *const Select>,
    /// Names in ORDER BY that are those of columns of the result.
    outputs: HashSet<*const Expr>,
}

impl Alone {
    pub fn of(tree: &Statement) -> Self {
        let mut find = Find::default();
        let _ = tree.visit(&mut find);
        find.found
    }

    /// Whether this name, alone, can be that of a column of the table here.
    pub fn names(&self, table: *const TableFactor, name: &str) -> bool {
        // What is not known can be anything.
        let Some(select) = self.selects.get(&table) else { return true };
        self.by_select.get(select).is_some_and(|names| names.contains(name))
    }

    /// Whether this names a column of a query's result.
    pub fn is_output(&self, expr: &Expr) -> bool {
        self.outputs.contains(&std::ptr::from_ref(expr))
    }
}

/// A query that is visited. Its ORDER BY and LIMIT stand outside of its SELECT and name the same columns.
struct Open {
    query: *const Query,
    select: Option<*const Select>,
}

#[derive(Default)]
struct Find {
    found: Alone,
    open: Vec<Open>,
    selects: Vec<*const Select>,
    /// Queries that do not see the tables of this SELECT, which is around them.
    blind: HashMap<*const Query, *const Select>,
}

impl Find {
    fn name(&mut self, name: &str) {
        let hidden: Vec<*const Select> =
            self.open.iter().filter_map(|open| self.blind.get(&open.query).copied()).collect();
        let around = self.open.iter().filter_map(|open| open.select).chain(self.selects.iter().copied());
        for select in around.filter(|select| !hidden.contains(select)) {
            self.found.by_select.entry(select).or_default().insert(name.to_owned());
        }
    }

    fn using(&mut self, from: &TableWithJoins) {
        for join in &from.joins {
            if let Some(JoinConstraint::Using(names)) = constraint(&join.join_operator) {
                for name in names.iter().filter_map(last) {
                    self.name(&name);
                }
            }
        }
    }

    /// Names of the result in ORDER BY; of a set operation every name is one.
    fn outputs(&mut self, query: &Query) {
        let Some(OrderByKind::Expressions(items)) = query.order_by.as_ref().map(|order| &order.kind) else { return };
        let names: Option<Vec<String>> = match innermost(&query.body) {
            SetExpr::Select(select) => Some(select.projection.iter().filter_map(output).collect()),
            // Its own columns are no table's.
            SetExpr::Values(_) => Some(Vec::new()),
            _ => None,
        };
        for item in items {
            if let Expr::Identifier(name) = &item.expr
                && names.as_ref().is_none_or(|names| names.iter().any(|output| *output == *folded(name)))
            {
                self.found.outputs.insert(std::ptr::from_ref(&item.expr));
            }
        }
    }
}

/// The SELECT that a query is, in whatever parentheses: ORDER BY and LIMIT behind them are its own.
fn select_of(body: &SetExpr) -> Option<&Select> {
    match innermost(body) {
        SetExpr::Select(select) => Some(select),
        _ => None,
    }
}

fn innermost(body: &SetExpr) -> &SetExpr {
    match body {
        SetExpr::Query(query) => innermost(&query.body),
        body => body,
    }
}

fn output(item: &SelectItem) -> Option<String> {
    match item {
        SelectItem::ExprWithAlias { alias, .. } => Some(folded(alias).into_owned()),
        SelectItem::UnnamedExpr(expr) => Some(output_name(expr)),
        _ => None,
    }
}

fn last(name: &ObjectName) -> Option<String> {
    name.0.last()?.as_ident().map(|ident| folded(ident).into_owned())
}

/// What a join is made on.
pub(crate) fn constraint(join: &JoinOperator) -> Option<&JoinConstraint> {
    use JoinOperator::{CrossJoin, FullOuter, Inner, Join, Left, LeftOuter, Right, RightOuter};
    match join {
        Join(on) | Inner(on) | CrossJoin(on) | Left(on) | LeftOuter(on) | Right(on) | RightOuter(on)
        | FullOuter(on) => Some(on),
        _ => None,
    }
}

impl Visitor for Find {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let select = select_of(&query.body).map(std::ptr::from_ref);
        if let Some(select) = select {
            let with = query.with.iter().flat_map(|with| &with.cte_tables);
            self.blind.extend(with.map(|cte| (std::ptr::from_ref(&*cte.query), select)));
        }
        self.open.push(Open { query: std::ptr::from_ref(query), select });
        self.outputs(query);
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.open.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        self.selects.push(std::ptr::from_ref(select));
        select.from.iter().for_each(|from| self.using(from));
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, _: &Select) -> ControlFlow<()> {
        self.selects.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        match (factor, self.selects.last().copied()) {
            (TableFactor::NestedJoin { table_with_joins, .. }, _) => self.using(table_with_joins),
            (TableFactor::Derived { lateral: false, subquery, .. }, Some(select)) => {
                self.blind.insert(std::ptr::from_ref(&**subquery), select);
            }
            (factor, Some(select)) => {
                self.found.selects.insert(std::ptr::from_ref(factor), select);
            }
            (_, None) => {}
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if let Expr::Identifier(name) = expr
            && !self.found.is_output(expr)
        {
            self.name(&folded(name));
        }
        ControlFlow::Continue(())
    }
}

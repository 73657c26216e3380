//! Whether an UPDATE with FROM finds at most one row for each row that it changes. Of several one Postgres takes any; where every shard
//! changes the same rows, one could take another than the next.

use std::ops::ControlFlow;

use sqlparser::ast::{
    Distinct, Expr, GroupByExpr, Query, SelectItem, SetExpr, Statement, TableFactor, TableWithJoins,
    UpdateTableFromKind, Value, Visit, Visitor,
};

use crate::catalog::{RelationKind, Table};
use crate::sql::NameScope;
use crate::sql::distinct::has_sets;
use crate::sql::facts::{as_select, unnest};
use crate::sql::functions::{FunctionClass, classify};
use crate::sql::keys::Operand;
use crate::sql::model::{Cond, LeafId, LevelId, Model, NodeId, TableUse};
use crate::sql::names::{Relation, folded, parts};

/// The name of a FROM item of the level which could have several rows for one of the changed table's, that is its first leaf. The model
/// has collected its tables. `made`: queries in that FROM with what no two of their rows have in common.
pub(crate) fn several_match(model: &Model<'_>, level: LevelId, made: &[(String, Vec<usize>)]) -> Option<Box<str>> {
    let leaves = &model.levels[level].leaves;
    let mut certain: Vec<LeafId> = leaves.iter().take(1).copied().collect();
    loop {
        let left: Vec<LeafId> = leaves.iter().filter(|leaf| !certain.contains(leaf)).copied().collect();
        let first = *left.first()?;
        let more: Vec<LeafId> = left.into_iter().filter(|leaf| matches_once(model, *leaf, &certain, made)).collect();
        if more.is_empty() {
            return Some(model.leaves[first].name.clone());
        }
        certain.extend(more);
    }
}

/// Whether there is one row of a leaf at most for each row of others together.
fn matches_once(model: &Model<'_>, leaf: LeafId, others: &[LeafId], made: &[(String, Vec<usize>)]) -> bool {
    let columns = &model.leaves[leaf].columns;
    let is_given = |column: &usize| {
        let node = columns.list.get(*column).and_then(|column| column.node);
        node.is_some_and(|node| model.reach(node).iter().any(|node| gives(model, *node, others)))
    };
    let tables = model.collected.as_deref().map_or(&[][..], |collected| &collected.tables);
    let given = match tables.iter().find(|table| table.leaf == leaf) {
        Some(table) => unique_keys(model, table).any(|key| key.iter().all(is_given)),
        None => made.iter().any(|(name, key)| **name == *model.leaves[leaf].name && key.iter().all(is_given)),
    };
    columns.complete && given
}

/// The queries in the FROM of an UPDATE that have one row for each of the values of some of their columns, by their names. `is_sent`: whether
/// a query is asked once, and its rows are sent along.
pub(crate) fn made_in_from(
    tree: &Statement,
    scope: &NameScope<'_>,
    is_sent: impl Fn(&Query) -> bool,
) -> Vec<(String, Vec<usize>)> {
    let update = match tree {
        Statement::Update(update) => update,
        Statement::Query(query) => match &*query.body {
            SetExpr::Update(Statement::Update(update)) => update,
            _ => return Vec::new(),
        },
        _ => return Vec::new(),
    };
    let Some(UpdateTableFromKind::AfterSet(from)) = &update.from else { return Vec::new() };
    let of = |item: &TableWithJoins| match &item.relation {
        TableFactor::Derived { lateral: false, subquery, alias: Some(alias), .. }
            if item.joins.is_empty() && is_sent(subquery) =>
        {
            Some((folded(&alias.name).into_owned(), unique_columns(subquery, scope)?))
        }
        _ => None,
    };
    from.iter().filter_map(of).collect()
}

/// The places of the columns of which no two rows of a query have the same values: what it is grouped by, or all of DISTINCT; none of a
/// query that has one row.
pub(crate) fn unique_columns(query: &Query, scope: &NameScope<'_>) -> Option<Vec<usize>> {
    let select = as_select(query).filter(|_| query.with.is_none())?;
    let GroupByExpr::Expressions(by, modifiers) = &select.group_by else { return None };
    let item = |item: &'_ SelectItem| match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } if !has_sets(expr) => Some(expr.clone()),
        _ => None,
    };
    let items: Vec<Expr> = select.projection.iter().map(item).collect::<Option<_>>()?;
    // One that the router does not know can give several rows for each.
    if items.visit(&mut Calls(scope, 0, is_strange)).is_break() {
        return None;
    }
    let place = |expr: &Expr| match unnest(expr) {
        Expr::Value(value) => match &value.value {
            Value::Number(number, _) => number.parse::<usize>().ok()?.checked_sub(1).filter(|at| *at < items.len()),
            _ => None,
        },
        column @ (Expr::Identifier(_) | Expr::CompoundIdentifier(_)) => {
            items.iter().position(|item| unnest(item) == column)
        }
        _ => None,
    };
    match (&select.distinct, by.is_empty()) {
        (_, _) if !modifiers.is_empty() => None,
        (Some(Distinct::Distinct), true) => Some((0..items.len()).collect()),
        (None, true) => items.visit(&mut Calls(scope, 0, is_aggregate)).is_break().then(Vec::new),
        (None, false) => by.iter().map(place).collect(),
        (Some(_), _) => None,
    }
}

fn is_aggregate(class: &FunctionClass) -> bool {
    matches!(class, FunctionClass::Aggregate | FunctionClass::UserAggregate(_))
}

fn is_strange(class: &FunctionClass) -> bool {
    matches!(class, FunctionClass::User(_) | FunctionClass::Unknown)
}

/// Finds calls of functions of such a class outside of queries, but those over windows.
struct Calls<'a>(&'a NameScope<'a>, usize, fn(&FunctionClass) -> bool);

impl Visitor for Calls<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.1 += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.1 -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        let Expr::Function(function) = expr else { return ControlFlow::Continue(()) };
        let Some((schema, name)) = parts(&function.name) else { return ControlFlow::Continue(()) };
        let class = classify(self.0, schema.as_deref(), &name);
        match (self.2)(&class) && function.over.is_none() && self.1 == 0 {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }
}

/// Whether a column is one of these leaves' or has one value.
fn gives(model: &Model<'_>, node: NodeId, leaves: &[LeafId]) -> bool {
    leaves.contains(&model.nodes[node].leaf)
        || model.facts.iter().any(|fact| fact.leaves.contains(&model.nodes[node].leaf) && fixes(&fact.cond, node))
}

fn fixes(cond: &Cond, node: NodeId) -> bool {
    match cond {
        Cond::Equal { node: of, operand: Operand::One(_), .. } => *of == node,
        Cond::All(parts) => parts.iter().any(|part| fixes(part, node)),
        Cond::Equal { .. } | Cond::Either(_) | Cond::Between { .. } | Cond::True | Cond::False => false,
    }
}

/// What is unique in all rows of a table, wherever they lie: the positions of the columns.
pub(crate) fn unique_keys<'t>(model: &Model<'_>, table: &'t TableUse) -> impl Iterator<Item = &'t Vec<usize>> {
    let catalog = model.scope.catalog;
    let (of, key): (Option<&Table>, &[Box<str>]) = match &table.relation {
        Relation::Sharded { table, key, .. } => (table.as_deref(), key),
        Relation::Reference { table, .. } | Relation::Unsharded { table, .. } => (table.as_deref(), &[]),
        Relation::View { .. } | Relation::System => (None, &[]),
    };
    let heirs = |of: &&Table| {
        let child = |table: &std::sync::Arc<Table>| table.is_child_of(&of.name);
        of.kind != RelationKind::PartitionedTable && catalog.tables.values().any(child)
    };
    let of = of.filter(|of| !heirs(of));
    of.into_iter().flat_map(move |of| {
        let has = move |unique: &[usize], name: &str| {
            unique.iter().any(|at| of.columns.get(*at).is_some_and(|column| &*column.name == name))
        };
        of.firm_keys().filter(move |unique| key.iter().all(|name| has(unique, name)))
    })
}

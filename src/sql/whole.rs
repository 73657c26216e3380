//! Queries that the shards run whole for a statement which a Postgres finishes: each has its part of the rows, and all of them
//! together are the query's.

use std::ops::ControlFlow;

use sqlparser::ast::{
    Expr, JoinConstraint, JoinOperator, Query, Select, SelectItem, SetExpr, Value as Literal, ValueWithSpan, Visit,
    VisitMut, Visitor, VisitorMut,
};

use crate::sql::collations::Own;
use crate::sql::colnames::output_name;
use crate::sql::functions::{FunctionClass, classify};
use crate::sql::infer::may_be_users;
use crate::sql::keys::KeyGroup;
use crate::sql::model::{LevelId, Model, RefId, RowsOf};
use crate::sql::moment::tell_shard_time;
use crate::sql::names::{folded, parts};
use crate::sql::outcome::{PullSource, PullText};
use crate::sql::pieces::{Pieces, make_holes};
use crate::types::Collation;

/// The pull of a query, without a name. `None`: its columns have no names of their own, or depend on a call's parameters.
/// `refs`: the sharded tables that it reads.
pub(crate) fn whole_query(model: &Model<'_>, query: Query, refs: &[RefId]) -> Option<PullText> {
    let columns = names(&query)?;
    let mut head = query.clone();
    let _ = VisitMut::visit(&mut head, &mut Strip);
    let mut query = query;
    if Visit::visit(&head, &mut FindParameter).is_break() {
        return None;
    }
    if model.uses.clock.is_some() {
        tell_shard_time(&mut query, &model.scope)?;
    }
    make_holes(&mut query, &model.literals, true);
    let mut tables: Vec<&str> = Vec::new();
    let mut groups: Vec<KeyGroup> = Vec::new();
    for id in refs.iter().filter(|id| model.refs[**id].of != RowsOf::Queries) {
        let (table, group) = (&*model.refs[*id].name.table, model.group_of(*id));
        if !tables.contains(&table) {
            tables.push(table);
        }
        if !groups.contains(&group) {
            groups.push(group);
        }
    }
    Some(PullText {
        name: String::new(),
        label: tables.join(", ").into(),
        table: None,
        columns: columns.into_iter().map(|name| (name, 0, -1)).collect(),
        primary_key: Vec::new(),
        binary: None,
        source: PullSource::Sharded(groups),
        head: head.to_string(),
        create: None,
        path: model.scope.search_path.iter().map(|schema| format!("\0{schema}")).collect::<String>().into(),
        whole: Some(Pieces::of(&query.to_string())?),
        filters: Vec::new(),
        top: None,
        keys: Vec::new(),
        stage: 0,
        writes: false,
    })
}

/// The names of a query's columns, if each has one and they differ.
fn names(query: &Query) -> Option<Vec<Box<str>>> {
    use sqlparser::ast::SelectItem::{ExprWithAlias, UnnamedExpr};
    let SetExpr::Select(select) = &*query.body else { return None };
    let mut found: Vec<Box<str>> = Vec::new();
    for item in &select.projection {
        let name: Box<str> = match item {
            ExprWithAlias { alias, .. } => folded(alias).into(),
            UnnamedExpr(expr) => output_name(expr).into(),
            _ => return None,
        };
        if found.contains(&name) {
            return None;
        }
        found.push(name);
    }
    (!found.is_empty()).then_some(found)
}

/// Takes out what decides which rows there are, and leaves what decides their columns.
struct Strip;

impl VisitorMut for Strip {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        query.limit_clause = None;
        query.fetch = None;
        query.order_by = None;
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        select.selection = None;
        select.having = None;
        for join in select.from.iter_mut().flat_map(|item| &mut item.joins) {
            strip_join(&mut join.join_operator);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut sqlparser::ast::TableFactor) -> ControlFlow<()> {
        if let sqlparser::ast::TableFactor::NestedJoin { table_with_joins, .. } = factor {
            table_with_joins.joins.iter_mut().for_each(|join| strip_join(&mut join.join_operator));
        }
        ControlFlow::Continue(())
    }
}

fn strip_join(join: &mut JoinOperator) {
    use JoinOperator::{CrossJoin, FullOuter, Inner, Join, Left, LeftOuter, Right, RightOuter};
    if let Join(on) | Inner(on) | CrossJoin(on) | Left(on) | LeftOuter(on) | Right(on) | RightOuter(on) | FullOuter(on) =
        join
        && let JoinConstraint::On(condition) = on
    {
        *condition = Expr::value(Literal::Boolean(true));
    }
}

/// Whether a table can have a column of what an output column gives: not of records without a type of their own, and not of text in
/// no one collation.
pub(crate) fn can_be_stored(model: &Model<'_>, level: LevelId, item: &SelectItem) -> bool {
    let (SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) = item else { return false };
    let mut of = Storable { model, level, collation: None };
    Visit::visit(expr, &mut of).is_continue()
}

struct Storable<'m, 's> {
    model: &'m Model<'s>,
    level: LevelId,
    /// Of the columns of text so far.
    collation: Option<Own>,
}

impl Visitor for Storable<'_, '_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        /// Parts of the names of all functions that return records.
        const OF_RECORDS: [&str; 8] = ["row", "each", "record", "ts_", "explode", "pg_", "info", "unnest"];
        let names = match expr {
            Expr::Identifier(name) => std::slice::from_ref(name),
            Expr::CompoundIdentifier(names) => names,
            Expr::Tuple(_) | Expr::Wildcard(_) | Expr::QualifiedWildcard(..) => return ControlFlow::Break(()),
            Expr::Function(function) => {
                let plain = parts(&function.name).is_some_and(|(schema, name)| {
                    classify(&self.model.scope, schema.as_deref(), &name) != FunctionClass::Unknown
                        && !may_be_users(self.model, self.level, function, &name)
                        && !OF_RECORDS.iter().any(|part| name.contains(part))
                });
                return if plain { ControlFlow::Continue(()) } else { ControlFlow::Break(()) };
            }
            _ => return ControlFlow::Continue(()),
        };
        // What is no column can be a whole row, and one of unknown type a record.
        let Some(column) = self.model.find_column(self.level, names).map(|found| found.column) else {
            return ControlFlow::Break(());
        };
        let Some(ty) = column.ty.or(column.node.map(|node| self.model.nodes[node].ty)) else {
            return ControlFlow::Break(());
        };
        if ty.collation == Collation::None {
            return ControlFlow::Continue(());
        }
        let own = self.model.own_collation(&column);
        match &self.collation {
            // Of two that nobody knows, one can be another than the other.
            Some(other) if *other != own || own == Own::Unknown => return ControlFlow::Break(()),
            _ => self.collation = Some(own),
        }
        ControlFlow::Continue(())
    }
}

struct FindParameter;

impl Visitor for FindParameter {
    type Break = ();
    fn pre_visit_value(&mut self, value: &ValueWithSpan) -> ControlFlow<()> {
        match value.value {
            Literal::Placeholder(_) => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    }
}

//! GROUP BY and aggregates over several shards: each shard makes partial groups, the router folds them.

use sqlparser::ast::{BinaryOperator, Expr, GroupByExpr, Ident, Select, SelectItem, UnaryOperator, Value as Literal};

use crate::sql::colnames::output_name;
use crate::sql::combine::{Assumed, Combine, Comparison, Condition, DistinctFold, Fold, Gather, Output, Step};
use crate::sql::distinct::{has_distinct, is_sortable};
use crate::sql::facts::{conjuncts, plain_args, unnest};
use crate::sql::functions::{FunctionClass, returns_sets};
use crate::sql::infer::{class_of, may_be_users, type_of};
use crate::sql::limit::{no_rows, set_limit};
use crate::sql::model::{ColumnType, Obstacle};
use crate::sql::moment::says_moment;
use crate::sql::names::parts;
use crate::sql::outcome::{Limit, Scatter, ScatterSql};
use crate::sql::query::is_distinct;
use crate::sql::shape::{
    Printer, Shape, Sorted, by_bytes, has_equality, has_order, hidden_items, is_ordered_text, merged, order_by_keys,
    ordinal, sorted,
};
use crate::types::oid;

impl Shape<'_, '_> {
    /// Groups have rows on several shards: each shard makes partial groups, the router folds them.
    pub fn aggregate(&mut self, limit: Option<Limit>, printer: &Printer<'_>) -> Result<Scatter, Obstacle> {
        if is_distinct(self.select) {
            return Err(Obstacle::new("DISTINCT over groups of several shards"));
        }
        let group_exprs = self.group_exprs()?;
        let mut partial = Partial::default();
        let mut items: Vec<Expr> = Vec::new();
        for item in &self.select.projection {
            match item {
                SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => items.push(expr.clone()),
                _ => return Err(Obstacle::new("* in a query with GROUP BY or aggregates")),
            }
        }
        for expr in &items {
            let fold = match group_exprs.iter().any(|group| self.same(group, expr)) {
                true => Partly::Group,
                false => self.fold_of(expr, &group_exprs, true)?,
            };
            partial.push(expr, fold);
        }
        let visible = items.len();
        let mut groups = Vec::new();
        let mut group_types = Vec::new();
        for group in &group_exprs {
            let ty = type_of(self.model, self.level, group);
            if !ty.is_some_and(has_equality) {
                return Err(Obstacle::new(format!(
                    "GROUP BY {group}: values of this type or collation cannot be compared outside of Postgres with certainty"
                )));
            }
            group_types.push(ty);
            let column = match partial.exprs.iter().position(|(expr, _)| self.same(expr, group)) {
                Some(column) => column,
                None => partial.push(group, Partly::Group),
            };
            if !groups.contains(&column) {
                groups.push(column);
            }
        }
        let (conditions, kept) = self.having(&mut partial, &group_exprs)?;
        let sort = self.group_order(&mut partial, &group_exprs, visible)?;
        self.finish(limit, printer, partial, visible, groups, &group_types, conditions, kept, sort)
    }

    #[allow(clippy::too_many_arguments)]
    fn finish(
        &self,
        limit: Option<Limit>,
        printer: &Printer<'_>,
        partial: Partial,
        visible: usize,
        groups: Vec<usize>,
        group_types: &[Option<ColumnType>],
        conditions: Vec<Condition>,
        kept: Option<Expr>,
        sort: Vec<Sorted>,
    ) -> Result<Scatter, Obstacle> {
        let hidden = partial.exprs.len() - visible;
        let values = self.value_columns(&partial, !groups.is_empty())?;
        let averages: Vec<usize> =
            partial.exprs.iter().enumerate().filter(|(_, (_, fold))| *fold == Partly::Avg).map(|(i, _)| i).collect();
        let counts = partial.exprs.len();
        let outputs = partial.exprs.iter().enumerate().map(|(column, (_, fold))| Output {
            column,
            fold: match fold {
                Partly::Group => Fold::Key,
                Partly::Fold(fold) => *fold,
                Partly::Distinct(of, _) => Fold::Distinct(*of),
                Partly::Avg => {
                    Fold::Avg { count: counts + averages.iter().position(|average| *average == column).unwrap_or(0) }
                }
            },
        });
        let outputs: Vec<Output> = outputs.collect();
        // Groups that come in order are folded as they come; the others wait in a hash table.
        let (sortable, any): (fn(ColumnType) -> bool, _) = match values.is_empty() {
            true => (has_order, !groups.is_empty()),
            false => (is_sortable, true),
        };
        let ordered = any && group_types.iter().all(|ty| ty.is_some_and(sortable));
        let must_change =
            hidden > 0 || !averages.is_empty() || !values.is_empty() || limit.is_some() || self.select.having != kept;
        let sorted = ordered && (must_change || printer.is_faithful());
        if !values.is_empty() && !(sorted && printer.is_faithful_in_parts()) {
            return Err(Obstacle::new(
                "DISTINCT values of groups that the shards cannot put in an order that the router knows",
            ));
        }
        let by_group = sort.iter().all(|key| groups.contains(&key.column));
        let mut keys: Vec<Sorted> = Vec::new();
        if sorted {
            if by_group {
                keys.extend(&sort);
            }
            for column in &groups {
                if !keys.iter().any(|key| key.column == *column) {
                    keys.push(Sorted { column: *column, descending: false, nulls_first: false });
                }
            }
            // The others are the same values.
            keys.extend(values.first().map(|column| Sorted { column: *column, descending: false, nulls_first: false }));
        }
        let as_written_order = sorted && by_group && keys.len() == sort.len();
        let mut steps = vec![Step::Aggregate { groups: groups.clone(), sorted, outputs }];
        if !conditions.is_empty() {
            steps.push(Step::Filter(conditions));
        }
        if !sort.is_empty() && !(sorted && by_group) {
            steps.push(Step::Sort(sort.iter().copied().map(Sorted::key).collect()));
        }
        let sql = if !must_change && (as_written_order || !sorted) {
            ScatterSql::AsWritten
        } else {
            printer.print(|query, select| {
                let added = (visible..partial.exprs.len()).map(|at| partial.printed(at).clone());
                select.projection.extend(hidden_items(added));
                for value in values.iter().filter(|value| **value < visible) {
                    put_value(select, *value, partial.printed(*value));
                }
                if let (Some(value), GroupByExpr::Expressions(by, _)) = (values.first(), &mut select.group_by) {
                    by.push(ordinal(*value));
                }
                for average in &averages {
                    split_average(select, *average);
                }
                select.having = kept;
                query.order_by = sorted.then(|| {
                    order_by_keys(&keys, |column| {
                        let expr = partial.printed(column);
                        let own = type_of(self.model, self.level, expr).is_some_and(has_order);
                        if own { ordinal(column) } else { by_bytes(expr) }
                    })
                });
                if limit.is_some() {
                    set_limit(query, no_rows(limit));
                }
            })?
        };
        let gather = match sorted {
            true => Gather::MergeSort(keys.into_iter().map(Sorted::key).collect()),
            false => Gather::Concat,
        };
        let types: Vec<_> =
            (0..partial.exprs.len()).map(|at| type_of(self.model, self.level, partial.printed(at))).collect();
        let texts = (0..types.len()).filter(|at| types[*at].is_some_and(is_ordered_text)).collect();
        let assumed = Assumed { texts, names: Vec::new() };
        Ok(merged(sql, Combine { gather, steps, hidden, assumed }, limit, &types))
    }

    fn group_exprs(&self) -> Result<Vec<Expr>, Obstacle> {
        let GroupByExpr::Expressions(exprs, _) = &self.select.group_by else {
            return Err(Obstacle::new("GROUP BY ALL"));
        };
        let resolve = |expr: &Expr| {
            self.model
                .grouped_expr(self.level, self.select, expr)
                .cloned()
                .ok_or_else(|| Obstacle::new("GROUP BY position that is not in the select list"))
        };
        exprs.iter().map(resolve).collect()
    }

    /// How partial values of an expression fold into the final one.
    fn fold_of(&self, expr: &Expr, groups: &[Expr], constants: bool) -> Result<Partly, Obstacle> {
        let refuse = || {
            Obstacle::new(format!("{expr}: neither an aggregate that a merge folds nor in GROUP BY"))
                .hint("Group by the sharding key, or select count, sum, min, max, avg, bool_and, bool_or or bit aggregates alone.")
        };
        let function = match unnest(expr) {
            Expr::Function(function) => function,
            Expr::Value(_) if constants => return Ok(Partly::Group),
            _ if self.is_of_groups(expr, groups) => return Ok(Partly::Group),
            _ => return Err(refuse()),
        };
        if self.is_of_groups(expr, groups) {
            return Ok(Partly::Group);
        }
        if function.over.is_some() || !function.within_group.is_empty() || function.null_treatment.is_some() {
            return Err(refuse());
        }
        let Some((schema, name)) = parts(&function.name) else { return Err(refuse()) };
        if schema.as_deref().is_some_and(|schema| schema != "pg_catalog")
            || schema.is_none() && may_be_users(self.model, self.level, function, &name)
        {
            return Err(refuse());
        }
        let arg = || {
            let args = plain_args(function)?;
            match args[..] {
                [arg] => type_of(self.model, self.level, arg),
                _ => None,
            }
        };
        let distinct = has_distinct(function);
        // To others it is no matter how often they see a value.
        let matters =
            distinct && !matches!(&*name, "min" | "max" | "bool_and" | "bool_or" | "every" | "bit_and" | "bit_or");
        if matters && (&*name == "avg" || !self.distinct_by_key(function)) {
            return self.of_values(expr, function, &name);
        }
        let base = |ty: ColumnType| ColumnType { oid: self.model.scope.catalog.base_of(ty.oid), ..ty };
        let of = |types: &[u32]| arg().is_some_and(|ty| types.contains(&base(ty).oid));
        // Of a domain over text a reply does not tell which it was.
        let ordered = || arg().is_some_and(|ty| has_order(base(ty)) && (base(ty) == ty || !is_ordered_text(base(ty))));
        let fold = match &*name {
            "count" => Fold::Count,
            "sum" if of(&[oid::INT2, oid::INT4, oid::INT8, oid::NUMERIC]) => Fold::Sum,
            "avg" if !distinct && of(&[oid::INT2, oid::INT4, oid::INT8, oid::NUMERIC]) => return Ok(Partly::Avg),
            "min" if ordered() => Fold::Min,
            "max" if ordered() => Fold::Max,
            "bool_and" | "every" => Fold::BoolAnd,
            "bool_or" => Fold::BoolOr,
            "bit_and" if of(&[oid::INT2, oid::INT4, oid::INT8]) => Fold::BitAnd,
            "bit_or" if of(&[oid::INT2, oid::INT4, oid::INT8]) => Fold::BitOr,
            "bit_xor" if !distinct && of(&[oid::INT2, oid::INT4, oid::INT8]) => Fold::BitXor,
            _ => return Err(refuse()),
        };
        Ok(Partly::Fold(fold))
    }

    /// Whether an expression is made of GROUP BY expressions and constants alone, so that it has one value in a group.
    pub fn is_of_groups(&self, expr: &Expr, groups: &[Expr]) -> bool {
        if groups.iter().any(|group| self.same(group, expr)) {
            return true;
        }
        let all = |exprs: &[&Expr]| exprs.iter().all(|expr| self.is_of_groups(expr, groups));
        match expr {
            Expr::Value(_) | Expr::TypedString(_) => true,
            Expr::Nested(inner)
            | Expr::Cast { expr: inner, .. }
            | Expr::Collate { expr: inner, .. }
            | Expr::UnaryOp { expr: inner, .. }
            | Expr::Extract { expr: inner, .. } => self.is_of_groups(inner, groups),
            Expr::BinaryOp { left, right, .. } => all(&[left, right]),
            Expr::IsNull(inner) | Expr::IsNotNull(inner) => self.is_of_groups(inner, groups),
            Expr::Between { expr, low, high, .. } => all(&[expr, low, high]),
            Expr::InList { expr, list, .. } => {
                self.is_of_groups(expr, groups) && list.iter().all(|member| self.is_of_groups(member, groups))
            }
            Expr::Like { any: false, expr, pattern, escape_char: None, .. } => all(&[expr, pattern]),
            // One time in the whole statement.
            Expr::Function(function) if says_moment(function, &self.model.scope) => true,
            Expr::Function(function) => {
                let pure = parts(&function.name).is_some_and(|(schema, name)| {
                    class_of(self.model, self.level, function, schema.as_deref(), &name) == FunctionClass::Pure
                        && !returns_sets(&name)
                });
                let plain = function.over.is_none() && function.filter.is_none() && function.within_group.is_empty();
                let args = plain_args(function).filter(|args| !args.is_empty());
                pure && plain && args.is_some_and(|args| all(&args))
            }
            _ => false,
        }
    }

    /// HAVING as conditions on folded columns, and what of it the shards can decide: conditions on groups alone.
    fn having(&self, partial: &mut Partial, groups: &[Expr]) -> Result<(Vec<Condition>, Option<Expr>), Obstacle> {
        let Some(having) = &self.select.having else { return Ok((Vec::new(), None)) };
        let refuse = |part: &Expr| {
            Obstacle::new(format!("HAVING {part}: not a comparison of an aggregate with a constant"))
                .hint("Compare count, sum, min, max or a GROUP BY column with a literal, or group by the sharding key.")
        };
        let mut conditions = Vec::new();
        let mut kept: Option<Expr> = None;
        for part in conjuncts(having) {
            // Without GROUP BY there is one group, of which every shard has a part.
            if !groups.is_empty() && self.is_of_groups(part, groups) {
                let part = Expr::Nested(Box::new(part.clone()));
                kept = Some(match kept {
                    None => part,
                    Some(before) => {
                        Expr::BinaryOp { left: Box::new(before), op: BinaryOperator::And, right: Box::new(part) }
                    }
                });
                continue;
            }
            let compared = match unnest(part) {
                Expr::BinaryOp { left, op, right } => match (comparison(op), constant(left), constant(right)) {
                    (Some(op), None, Some(value)) => vec![(left, op, value)],
                    (Some(op), Some(value), None) => vec![(right, flipped(op), value)],
                    _ => return Err(refuse(part)),
                },
                Expr::Between { expr, negated: false, low, high } => match (constant(low), constant(high)) {
                    (Some(low), Some(high)) => vec![(expr, Comparison::Ge, low), (expr, Comparison::Le, high)],
                    _ => return Err(refuse(part)),
                },
                _ => return Err(refuse(part)),
            };
            for (expr, op, constant) in compared {
                let column = self.folded_column(expr, groups, partial)?;
                let fits = match type_of(self.model, self.level, expr).map(|ty| ty.oid) {
                    Some(oid::INT2 | oid::INT4 | oid::INT8) => constant.parse::<i64>().is_ok(),
                    Some(oid::NUMERIC) => constant.parse::<f64>().is_ok(),
                    _ => false,
                };
                if !fits {
                    return Err(refuse(part));
                }
                conditions.push(Condition { column, op, value: constant.into() });
            }
        }
        if conditions.is_empty() {
            kept = Some(having.clone());
        }
        Ok((conditions, kept))
    }

    /// The column that holds an aggregate or group expression; added behind the others if need be.
    fn folded_column(&self, expr: &Expr, groups: &[Expr], partial: &mut Partial) -> Result<usize, Obstacle> {
        if let Some(column) = partial.exprs.iter().position(|(known, _)| self.same(known, expr)) {
            return Ok(column);
        }
        let fold = self.fold_of(expr, groups, false)?;
        Ok(partial.push(expr, fold))
    }

    fn group_order(&self, partial: &mut Partial, groups: &[Expr], visible: usize) -> Result<Vec<Sorted>, Obstacle> {
        let mut keys = Vec::new();
        for item in self.order_items()? {
            let column = match self.output_position(&item.expr)? {
                Some(column) if column < visible => column,
                _ => self.folded_column(&item.expr, groups, partial)?,
            };
            let expr = partial.exprs[column].0.clone();
            if !type_of(self.model, self.level, &expr).is_some_and(has_order) {
                return Err(Obstacle::new(format!(
                    "ORDER BY {}: its order is not one that the router can prove to be Postgres's own",
                    item.expr
                )));
            }
            keys.push(sorted(column, &item.options)?);
        }
        Ok(keys)
    }
}

/// The columns of partial groups.
#[derive(Debug, Default)]
pub(crate) struct Partial {
    pub exprs: Vec<(Expr, Partly)>,
}

impl Partial {
    fn push(&mut self, expr: &Expr, fold: Partly) -> usize {
        self.exprs.push((expr.clone(), fold));
        self.exprs.len() - 1
    }

    /// What the shards return at a place.
    fn printed(&self, at: usize) -> &Expr {
        match &self.exprs[at] {
            (_, Partly::Distinct(_, value)) => value,
            (expr, Partly::Group | Partly::Fold(_) | Partly::Avg) => expr,
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Partly {
    Group,
    Fold(Fold),
    Avg,
    /// The values themselves.
    Distinct(DistinctFold, Box<Expr>),
}

/// Puts values in the place of the aggregate over them, under its name.
fn put_value(select: &mut Select, position: usize, value: &Expr) {
    let Some(item) = select.projection.get_mut(position) else { return };
    let alias = match item {
        SelectItem::UnnamedExpr(expr) => Ident::with_quote('"', output_name(expr)),
        SelectItem::ExprWithAlias { alias, .. } => alias.clone(),
        _ => return,
    };
    *item = SelectItem::ExprWithAlias { expr: value.clone(), alias };
}

/// Turns `avg(x)` at a place of the select list into `sum(x)` under its name, and adds `count(x)` at the end.
fn split_average(select: &mut Select, position: usize) {
    let Some(item) = select.projection.get_mut(position) else { return };
    let (expr, alias) = match item {
        SelectItem::UnnamedExpr(expr) => (expr.clone(), Ident::with_quote('"', output_name(expr))),
        SelectItem::ExprWithAlias { expr, alias } => (expr.clone(), alias.clone()),
        _ => return,
    };
    let call = |name: &str| match unnest(&expr) {
        Expr::Function(function) => {
            let mut function = function.clone();
            function.name = sqlparser::ast::ObjectName::from(vec![Ident::new("pg_catalog"), Ident::new(name)]);
            Expr::Function(function)
        }
        other => other.clone(),
    };
    *item = SelectItem::ExprWithAlias { expr: call("sum"), alias };
    let count = format!("pgloom_count_{position}");
    select.projection.push(SelectItem::ExprWithAlias { expr: call("count"), alias: Ident::with_quote('"', count) });
}

fn comparison(op: &BinaryOperator) -> Option<Comparison> {
    Some(match op {
        BinaryOperator::Eq => Comparison::Eq,
        BinaryOperator::NotEq => Comparison::Ne,
        BinaryOperator::Lt => Comparison::Lt,
        BinaryOperator::LtEq => Comparison::Le,
        BinaryOperator::Gt => Comparison::Gt,
        BinaryOperator::GtEq => Comparison::Ge,
        _ => return None,
    })
}

fn flipped(op: Comparison) -> Comparison {
    match op {
        Comparison::Eq => Comparison::Eq,
        Comparison::Ne => Comparison::Ne,
        Comparison::Lt => Comparison::Gt,
        Comparison::Le => Comparison::Ge,
        Comparison::Gt => Comparison::Lt,
        Comparison::Ge => Comparison::Le,
    }
}

/// A number literal, with its sign.
pub(crate) fn constant(expr: &Expr) -> Option<String> {
    match unnest(expr) {
        Expr::Value(value) => match &value.value {
            Literal::Number(digits, _) => Some(digits.clone()),
            _ => None,
        },
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => match unnest(expr) {
            Expr::Value(value) => match &value.value {
                Literal::Number(digits, _) => Some(format!("-{digits}")),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    }
}

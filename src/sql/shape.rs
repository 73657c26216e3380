//! `Shape`: order, groups, aggregates, DISTINCT, LIMIT of a query over several shards, and the merge that makes its result.
//! Clause 3: what is not proved here is refused; no arm falls through.

use std::sync::Arc;

use sqlparser::ast::{
    BinaryOperator, Distinct, DuplicateTreatment, Expr, Function, FunctionArguments, GroupByExpr, Ident, LimitClause,
    OrderBy, OrderByExpr, OrderByKind, OrderByOptions, OrderBySort, Query, Select, SelectItem, SetExpr, Statement,
    UnaryOperator, Value as Literal,
};

use crate::fault::Fault;
use crate::sql::combine::{Combine, Comparison, Condition, Fold, Gather, Output, SortKey, Step};
use crate::sql::facts::{as_select, conjuncts, parameter_index, plain_args, unnest};
use crate::sql::functions::{FunctionClass, classify};
use crate::sql::infer::type_of;
use crate::sql::model::{ColumnType, Columns, LevelId, Model, NodeId, Obstacle, RefId, Spread};
use crate::sql::names::{folded, parts};
use crate::sql::outcome::{Count, Limit, Scatter, ShardSql};
use crate::sql::query::{SelectLevel, is_distinct, is_grouped, is_limited, item_expr, output_name};
use crate::sql::rewrite;
use crate::types::compare::{Comparator, TextStyle};
use crate::types::{Format, oid};

/// Why nothing of a statement may run on more than one shard, whatever its shape.
pub(crate) fn check_scatter(model: &Model<'_>, base: &Spread) -> Result<(), Obstacle> {
    if let Some(obstacle) = &model.obstacle {
        return Err(obstacle.clone());
    }
    if let Spread::Tangled(why) = base {
        return Err(why.clone());
    }
    let uses = &model.uses;
    if let Some(what) = &uses.home {
        return Err(Obstacle::new(format!("the statement needs the home shard for {what}"))
            .hint("Make the table a reference table, or give the sharding key a value that lies on the home shard."));
    }
    if uses.sample {
        return Err(Obstacle::new("TABLESAMPLE"));
    }
    if let Some(column) = &uses.system_column {
        return Err(Obstacle::new(format!("system column \"{column}\"")));
    }
    if let Some(name) = &uses.volatile {
        return Err(Obstacle::new(format!("function {name}() gives another value at each call")));
    }
    if let Some(name) = &uses.clock {
        return Err(Obstacle::new(format!("function {name}() reads the clock, which differs between shards"))
            .hint("Send the time as a parameter or a literal, or give the sharding key one value in WHERE."));
    }
    if let Some(name) = &uses.server {
        return Err(Obstacle::new(format!("{name} depends on the server that runs it")));
    }
    if let Some(name) = &uses.unknown_function {
        return Err(Obstacle::new(format!("function {name}() is not known to the router")));
    }
    for (spread, level) in &model.subqueries {
        match spread {
            Spread::Same => {}
            Spread::Tangled(why) => return Err(why.clone()),
            Spread::Parted { refs, .. } => {
                if !model.follows_outer(refs, Some(*level)) {
                    let table = refs.first().map_or("", |r| &*model.refs[*r].name.table).to_owned();
                    return Err(Obstacle::new(format!(
                        "the subquery on table \"{table}\" is not tied to the rows around it by the sharding key"
                    )));
                }
            }
        }
    }
    Ok(())
}

/// The query's parts that shape its result.
struct Shape<'m, 'q> {
    model: &'m Model<'m>,
    query: &'q Query,
    select: &'q Select,
    level: LevelId,
    columns: &'m Columns,
    anchors: Vec<RefId>,
    refs: Vec<RefId>,
    /// Expressions that the shards return behind the visible columns.
    added: Vec<Expr>,
}

/// An ORDER BY item: the column of the shards' rows that it sorts by.
#[derive(Clone, Copy, Debug)]
struct Sorted {
    column: usize,
    descending: bool,
    nulls_first: bool,
}

/// The merge of a query over several shards, or why there is none.
pub(crate) fn scatter(
    model: &Model<'_>,
    statement: &Statement,
    text: &str,
    query: &Query,
    level: &SelectLevel,
    parameters: u16,
) -> Result<Scatter, Fault> {
    check_scatter(model, &level.base).map_err(Obstacle::fault)?;
    let Spread::Parted { refs, anchors } = &level.base else {
        return Err(Obstacle::new("a subquery reads a sharded table, and the rows around it do not").fault());
    };
    let select =
        as_select(query).ok_or_else(|| Obstacle::new("a set operation over rows of several shards").fault())?;
    let limit = read_limit(query).map_err(Obstacle::fault)?;
    let mut shape = Shape {
        model,
        query,
        select,
        level: level.level,
        columns: &level.columns,
        anchors: anchors.clone(),
        refs: refs.clone(),
        added: Vec::new(),
    };
    let printer = Printer { statement, text, standard_strings: model.scope.standard_strings, parameters };
    shape.plan(limit, &printer).map_err(Obstacle::fault)
}

/// Changes and prints the statement.
struct Printer<'a> {
    statement: &'a Statement,
    text: &'a str,
    standard_strings: bool,
    parameters: u16,
}

impl Printer<'_> {
    fn is_faithful(&self) -> bool {
        rewrite::is_faithful(self.statement, self.text, self.standard_strings)
    }

    fn print(&self, change: impl FnOnce(&mut Query, &mut Select)) -> Result<ShardSql, Obstacle> {
        let unprintable =
            || Obstacle::new("the statement must be changed for the shards, and cannot be printed faithfully");
        if !self.is_faithful() {
            return Err(unprintable());
        }
        let mut tree = self.statement.clone();
        let query = match &mut tree {
            Statement::Query(query) => query,
            _ => return Err(unprintable()),
        };
        // The body is taken out so that query and select can be changed side by side.
        let empty =
            SetExpr::Values(sqlparser::ast::Values { explicit_row: false, value_keyword: false, rows: Vec::new() });
        match std::mem::replace(&mut *query.body, empty) {
            SetExpr::Select(mut select) => {
                change(query, &mut select);
                *query.body = SetExpr::Select(select);
            }
            _ => return Err(unprintable()),
        }
        rewrite::shard_sql(&tree, self.parameters).ok_or_else(unprintable)
    }
}

impl Shape<'_, '_> {
    fn plan(&mut self, limit: Option<Limit>, printer: &Printer<'_>) -> Result<Scatter, Obstacle> {
        let level = &self.model.levels[self.level];
        if level.grouping_sets {
            return Err(Obstacle::new("GROUPING SETS, CUBE or ROLLUP over rows of several shards"));
        }
        if let Some(Distinct::On(exprs)) = &self.select.distinct {
            // By the sharding key each set of rows lies on one shard, which picks its first row.
            let mut nodes = Vec::new();
            for expr in exprs {
                nodes.extend(match self.output_position(expr)? {
                    Some(column) => self.columns.list[column].node,
                    None => self.node(expr),
                });
            }
            if !self.anchors.iter().any(|anchor| self.model.has_key(&nodes, *anchor)) {
                return Err(Obstacle::new("DISTINCT ON over rows of several shards, not by their sharding key"));
            }
        }
        if self.model.uses.locking && limit.is_some() {
            return Err(Obstacle::new("FOR UPDATE or FOR SHARE with LIMIT over several shards"));
        }
        let grouped = is_grouped(self.select) || level.aggregates;
        let mut local = self.anchors.clone();
        if !level.windows.is_empty() {
            local.retain(|anchor| self.model.windows_have_key(self.level, *anchor));
            if local.is_empty() {
                return Err(Obstacle::new("a window function whose PARTITION BY does not contain the sharding key"));
            }
        }
        if grouped {
            let nodes = self.model.group_nodes(self.level, self.select);
            local.retain(|anchor| self.model.has_key(&nodes, *anchor));
            if local.is_empty() {
                if !level.windows.is_empty() {
                    return Err(Obstacle::new("a window function over groups of several shards"));
                }
                return self.aggregate(limit, printer);
            }
        }
        self.rows(limit, printer)
    }

    /// Every row of the result is one shard's row.
    fn rows(&mut self, limit: Option<Limit>, printer: &Printer<'_>) -> Result<Scatter, Obstacle> {
        let mut steps = Vec::new();
        let mut keys = self.order_keys()?;
        let mut sort_by_all = false;
        let mut push_limit = true;
        let distinct = matches!(self.select.distinct, Some(Distinct::Distinct));
        if distinct && !self.added.is_empty() {
            return Err(Obstacle::new("ORDER BY of DISTINCT rows by what is not in the select list"));
        }
        if distinct && !self.output_has_key() {
            if !self.columns.complete {
                return Err(unknown_columns());
            }
            let types: Vec<Option<ColumnType>> = self.columns.list.iter().map(|column| column.ty).collect();
            if let Some(i) = types.iter().position(|ty| !ty.is_some_and(has_equality)) {
                return Err(self.not_comparable("DISTINCT", i));
            }
            // Sorted rows need no memory to find what is equal.
            if keys.is_empty() && types.iter().all(|ty| ty.is_some_and(has_order)) && printer.is_faithful() {
                sort_by_all = true;
                keys =
                    (0..types.len()).map(|column| Sorted { column, descending: false, nulls_first: false }).collect();
            }
            let sorted = (0..types.len()).all(|column| keys.iter().any(|key| key.column == column));
            steps.push(Step::Distinct { columns: types.len(), sorted });
            push_limit = false;
        }
        let hidden = self.added.len();
        let offset = limit.is_some_and(|limit| limit.offset.is_some());
        let drops_limit = limit.is_some() && !push_limit;
        let sql = if hidden == 0 && !sort_by_all && !drops_limit && !(offset && push_limit) {
            ShardSql::AsWritten
        } else {
            let (added, width) = (std::mem::take(&mut self.added), self.columns.list.len());
            printer.print(|query, select| {
                select.projection.extend(added.into_iter().map(SelectItem::UnnamedExpr));
                if sort_by_all {
                    query.order_by = Some(order_by_ordinals(0..width));
                }
                if let Some(limit) = limit {
                    set_limit(query, push_limit.then_some(limit));
                }
            })?
        };
        let gather = match keys.is_empty() {
            true => Gather::Concat,
            false => Gather::MergeSort(keys.into_iter().map(Sorted::key).collect()),
        };
        Ok(Scatter { sql, combine: Arc::new(Combine { gather, steps, hidden }), limit })
    }

    /// Whether the visible columns hold the whole key of a reference whose key is in every row.
    fn output_has_key(&self) -> bool {
        let nodes: Vec<NodeId> = self.columns.list.iter().filter_map(|column| column.node).collect();
        self.anchors.iter().any(|anchor| self.model.has_key(&nodes, *anchor))
    }

    fn not_comparable(&self, what: &str, column: usize) -> Obstacle {
        let name = self.columns.list.get(column).map_or("?column?", |column| &column.name);
        Obstacle::new(format!(
            "{what}: values of column \"{name}\" cannot be compared outside of Postgres with certainty"
        ))
        .hint("Only Postgres itself can compare values of this type or collation; for text add COLLATE \"C\".")
    }

    fn order_items(&self) -> Result<&[OrderByExpr], Obstacle> {
        match &self.query.order_by {
            None => Ok(&[]),
            Some(OrderBy { kind: OrderByKind::Expressions(items), .. }) => Ok(items),
            Some(_) => Err(Obstacle::new("this form of ORDER BY")),
        }
    }

    /// The columns that ORDER BY sorts by; what is no output column is added behind them.
    fn order_keys(&mut self) -> Result<Vec<Sorted>, Obstacle> {
        let mut keys = Vec::new();
        for item in self.order_items()?.to_vec() {
            if !self.columns.complete {
                return Err(unknown_columns());
            }
            let (column, ty) = match self.output_position(&item.expr)? {
                Some(column) => (column, self.columns.list[column].ty),
                None => {
                    let ty = type_of(self.model, self.level, &item.expr);
                    self.added.push(item.expr.clone());
                    (self.columns.list.len() + self.added.len() - 1, ty)
                }
            };
            if !ty.is_some_and(has_order) {
                return Err(Obstacle::new(format!(
                    "ORDER BY {}: its order is not one that the router can prove to be Postgres's own",
                    item.expr
                ))
                .hint("Add COLLATE \"C\" to order text by its bytes, or give the sharding key one value in WHERE."));
            }
            keys.push(sorted(column, &item.options)?);
        }
        Ok(keys)
    }

    /// The output column that an ORDER BY expression means.
    fn output_position(&self, expr: &Expr) -> Result<Option<usize>, Obstacle> {
        let width = self.columns.list.len();
        match expr {
            Expr::Value(value) => match &value.value {
                Literal::Number(digits, _) => match digits.parse::<usize>() {
                    Ok(n) if (1..=width).contains(&n) => Ok(Some(n - 1)),
                    _ => Err(Obstacle::new("ORDER BY position that is not in the select list")),
                },
                _ => Err(Obstacle::new("ORDER BY a constant")),
            },
            Expr::Identifier(name) => {
                // An output name goes before a column of the FROM list.
                let mut named = self.columns.list.iter().enumerate().filter(|(_, c)| *c.name == *folded(name));
                match (named.next(), named.next()) {
                    (Some((i, _)), None) => Ok(Some(i)),
                    (None, _) => Ok(self.same_output(expr)),
                    (Some((first, a)), Some(_)) => {
                        // The same column twice is no ambiguity.
                        let all = self.columns.list.iter().filter(|c| *c.name == *folded(name));
                        match a.node {
                            Some(node) if all.clone().all(|c| c.node == Some(node)) => Ok(Some(first)),
                            _ => Err(Obstacle::new(format!("ORDER BY \"{name}\" names several output columns"))),
                        }
                    }
                }
            }
            _ => Ok(self.same_output(expr)),
        }
    }

    /// The output column made by this very expression.
    fn same_output(&self, expr: &Expr) -> Option<usize> {
        if let Some(node) = self.node(expr)
            && let Some(i) = self.columns.list.iter().position(|column| column.node == Some(node))
        {
            return Some(i);
        }
        (0..self.columns.list.len())
            .find(|i| item_expr(self.select, *i).is_some_and(|item| unnest(item) == unnest(expr)))
    }

    fn node(&self, expr: &Expr) -> Option<NodeId> {
        match unnest(expr) {
            expr @ (Expr::Identifier(_) | Expr::CompoundIdentifier(_)) => {
                self.model.as_column(self.level, expr)?.column.node
            }
            _ => None,
        }
    }

    fn same(&self, a: &Expr, b: &Expr) -> bool {
        unnest(a) == unnest(b) || self.node(a).is_some_and(|node| self.node(b) == Some(node))
    }

    /// Groups have rows on several shards: each shard makes partial groups, the router folds them.
    fn aggregate(&mut self, limit: Option<Limit>, printer: &Printer<'_>) -> Result<Scatter, Obstacle> {
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
        let averages: Vec<usize> =
            partial.exprs.iter().enumerate().filter(|(_, (_, fold))| *fold == Partly::Avg).map(|(i, _)| i).collect();
        let counts = partial.exprs.len();
        let outputs = partial.exprs.iter().enumerate().map(|(column, (_, fold))| Output {
            column,
            fold: match fold {
                Partly::Group => Fold::Key,
                Partly::Fold(fold) => *fold,
                Partly::Avg => {
                    Fold::Avg { count: counts + averages.iter().position(|average| *average == column).unwrap_or(0) }
                }
            },
        });
        let outputs: Vec<Output> = outputs.collect();
        // Groups that come in order are folded as they come; the others wait in a hash table.
        let ordered = !groups.is_empty() && group_types.iter().all(|ty| ty.is_some_and(has_order));
        let must_change = hidden > 0 || !averages.is_empty() || limit.is_some() || self.select.having != kept;
        let sorted = ordered && (must_change || printer.is_faithful());
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
            ShardSql::AsWritten
        } else {
            printer.print(|query, select| {
                let added: Vec<Expr> = partial.exprs.iter().skip(visible).map(|(expr, _)| expr.clone()).collect();
                select.projection.extend(added.into_iter().map(SelectItem::UnnamedExpr));
                for average in &averages {
                    split_average(select, *average);
                }
                select.having = kept;
                query.order_by = sorted.then(|| order_by_keys(&keys));
                if limit.is_some() {
                    set_limit(query, None);
                }
            })?
        };
        let gather = match sorted {
            true => Gather::MergeSort(keys.into_iter().map(Sorted::key).collect()),
            false => Gather::Concat,
        };
        Ok(Scatter { sql, combine: Arc::new(Combine { gather, steps, hidden }), limit })
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
            Obstacle::new(format!("{expr}: neither an aggregate that can be folded over shards nor in GROUP BY"))
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
        if schema.is_some_and(|schema| schema != "pg_catalog")
            || self.model.scope.catalog.functions.contains_key(&*name)
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
        if distinct && !matches!(&*name, "min" | "max") && !self.distinct_by_key(function) {
            return Err(Obstacle::new(format!("{expr}: DISTINCT values of a column that is not the sharding key")));
        }
        let of = |types: &[u32]| arg().is_some_and(|ty| types.contains(&ty.oid));
        let fold = match &*name {
            "count" => Fold::Count,
            "sum" if of(&[oid::INT2, oid::INT4, oid::INT8, oid::NUMERIC]) => Fold::Sum,
            "avg" if !distinct && of(&[oid::INT2, oid::INT4, oid::INT8, oid::NUMERIC]) => return Ok(Partly::Avg),
            "min" if arg().is_some_and(has_order) => Fold::Min,
            "max" if arg().is_some_and(has_order) => Fold::Max,
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
    fn is_of_groups(&self, expr: &Expr, groups: &[Expr]) -> bool {
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
            Expr::Function(function) => {
                let pure = parts(&function.name).is_some_and(|(schema, name)| {
                    classify(self.model.scope.catalog, schema.as_deref(), &name) == FunctionClass::Pure
                });
                let plain = function.over.is_none() && function.filter.is_none() && function.within_group.is_empty();
                let args = plain_args(function).filter(|args| !args.is_empty());
                pure && plain && args.is_some_and(|args| all(&args))
            }
            _ => false,
        }
    }

    /// `count(DISTINCT key)`: a value lies on one shard, so no shard counts another's.
    fn distinct_by_key(&self, function: &Function) -> bool {
        let Some(args) = plain_args(function) else { return false };
        let nodes: Vec<NodeId> = args.iter().filter_map(|arg| self.node(arg)).collect();
        args.len() == 1 && self.refs.iter().any(|reference| self.model.has_key(&nodes, *reference))
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
struct Partial {
    exprs: Vec<(Expr, Partly)>,
}

impl Partial {
    fn push(&mut self, expr: &Expr, fold: Partly) -> usize {
        self.exprs.push((expr.clone(), fold));
        self.exprs.len() - 1
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Partly {
    Group,
    Fold(Fold),
    Avg,
}

impl Sorted {
    fn key(self) -> SortKey {
        SortKey { column: self.column, descending: self.descending, nulls_first: self.nulls_first }
    }
}

fn sorted(column: usize, options: &OrderByOptions) -> Result<Sorted, Obstacle> {
    let descending = match options.sort {
        None | Some(OrderBySort::Asc) => false,
        Some(OrderBySort::Desc) => true,
        Some(OrderBySort::Using(_)) => return Err(Obstacle::new("ORDER BY ... USING")),
    };
    Ok(Sorted { column, descending, nulls_first: options.nulls_first.unwrap_or(descending) })
}

fn unknown_columns() -> Obstacle {
    Obstacle::new("the columns that * stands for are not all known").hint("Name the columns in the select list.")
}

/// Whether the order of values of this type is provably Postgres's, in both formats.
fn has_order(ty: ColumnType) -> bool {
    [Format::Text, Format::Binary]
        .into_iter()
        .all(|format| Comparator::order(ty.oid, ty.collation, format, TextStyle::default()).is_some())
}

fn has_equality(ty: ColumnType) -> bool {
    [Format::Text, Format::Binary]
        .into_iter()
        .all(|format| Comparator::equality(ty.oid, ty.collation, format, TextStyle::default()).is_some())
}

fn has_distinct(function: &Function) -> bool {
    matches!(&function.args, FunctionArguments::List(list) if list.duplicate_treatment == Some(DuplicateTreatment::Distinct))
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
    select.projection.push(SelectItem::UnnamedExpr(call("count")));
}

fn ordinal(position: usize) -> Expr {
    Expr::value(Literal::Number((position + 1).to_string(), false))
}

fn order_by_ordinals(columns: std::ops::Range<usize>) -> OrderBy {
    let keys: Vec<Sorted> = columns.map(|column| Sorted { column, descending: false, nulls_first: false }).collect();
    order_by_keys(&keys)
}

fn order_by_keys(keys: &[Sorted]) -> OrderBy {
    let item = |key: &Sorted| OrderByExpr {
        expr: ordinal(key.column),
        options: OrderByOptions {
            sort: Some(if key.descending { OrderBySort::Desc } else { OrderBySort::Asc }),
            nulls_first: Some(key.nulls_first),
        },
        with_fill: None,
    };
    OrderBy { kind: OrderByKind::Expressions(keys.iter().map(item).collect()), interpolate: None }
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
fn constant(expr: &Expr) -> Option<String> {
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

/// LIMIT, OFFSET and FETCH FIRST where they are constants or parameters. Clause 5: others cannot be evaluated here.
fn read_limit(query: &Query) -> Result<Option<Limit>, Obstacle> {
    if !is_limited(query) {
        return Ok(None);
    }
    let mut found = Limit::default();
    match &query.limit_clause {
        None => {}
        Some(LimitClause::LimitOffset { limit, offset, .. }) => {
            found.limit = limit.as_ref().map(count).transpose()?.flatten();
            found.offset = offset.as_ref().map(|offset| count(&offset.value)).transpose()?.flatten();
        }
        Some(LimitClause::OffsetCommaLimit { .. }) => return Err(Obstacle::new("this form of LIMIT")),
    }
    if let Some(fetch) = &query.fetch {
        if fetch.with_ties || fetch.percent {
            return Err(Obstacle::new("FETCH FIRST ... WITH TIES over rows of several shards"));
        }
        found.limit = match &fetch.quantity {
            None => Some(Count::Constant(1)),
            Some(quantity) => count(quantity)?,
        };
    }
    Ok(Some(found))
}

/// `None`: ALL or NULL.
fn count(expr: &Expr) -> Result<Option<Count>, Obstacle> {
    let refuse = || Obstacle::new("LIMIT or OFFSET that is neither a constant nor a parameter");
    match unnest(expr) {
        Expr::Value(value) => match &value.value {
            Literal::Number(digits, _) => digits.parse().map(|n| Some(Count::Constant(n))).map_err(|_| refuse()),
            Literal::Placeholder(name) => parameter_index(name).map(|n| Some(Count::Parameter(n))).ok_or_else(refuse),
            Literal::Null => Ok(None),
            _ => Err(refuse()),
        },
        Expr::UnaryOp { op: UnaryOperator::Minus, .. } => {
            let value = constant(expr).and_then(|n| n.parse().ok()).ok_or_else(refuse)?;
            Ok(Some(Count::Constant(value)))
        }
        _ => Err(refuse()),
    }
}

/// The shards' LIMIT: limit + offset of the whole, or none at all.
fn set_limit(query: &mut Query, limit: Option<Limit>) {
    query.fetch = None;
    query.limit_clause = None;
    let Some(Limit { limit: Some(limit), offset }) = limit else { return };
    let text = match (limit, offset) {
        (Count::Constant(limit), None) => limit.to_string(),
        (Count::Constant(limit), Some(Count::Constant(offset))) => match limit.checked_add(offset) {
            Some(sum) => sum.to_string(),
            None => return,
        },
        (limit, None) => limit.sql(),
        (limit, Some(offset)) => format!("({} + coalesce({}, 0))", limit.sql(), offset.sql()),
    };
    let Some(limit) = super::parse_expr(&text) else { return };
    query.limit_clause = Some(LimitClause::LimitOffset { limit: Some(limit), offset: None, limit_by: Vec::new() });
}

impl Count {
    fn sql(self) -> String {
        match self {
            Count::Constant(n) => n.to_string(),
            Count::Parameter(n) => format!("${}::bigint", n + 1),
        }
    }
}

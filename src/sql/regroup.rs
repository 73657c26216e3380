//! What the shards can do of a query before a Postgres puts it together: they make partial groups, or the rows of the result with
//! their own DISTINCT and LIMIT, of a FROM clause that each of them has its part of. What is left (other groups of these groups,
//! expressions over aggregates, HAVING, windows over groups, order in any collation) is a query over one input.
//!
//! Partial groups are taken only of aggregates whose parts give Postgres's own result, to the last digit; see [`Parts::aggregate`].

use std::ops::ControlFlow;

use sqlparser::ast::{
    BinaryOperator, Distinct, DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause,
    FunctionArguments, GroupByExpr, Ident, ObjectName, OrderBy, OrderByExpr, OrderByKind, Query, Select, SelectItem,
    SetExpr, Statement, ValueWithSpan, Visit, VisitMut, Visitor, VisitorMut,
};
use sqlparser::tokenizer::Span;

use crate::sql::facts::{conjuncts, plain_args, unnest};
use crate::sql::failing::most_rows;
use crate::sql::functions::FunctionClass;
use crate::sql::infer::{class_of, may_be_users, type_of};
use crate::sql::limit::{read_limit, read_limit_with_ties, set_limit, set_limit_with_ties};
use crate::sql::model::{Column, Columns, Model, RefId, Spread};
use crate::sql::moment::reads_clock;
use crate::sql::names::parts;
use crate::sql::outcome::FinishText;
use crate::sql::pieces::{Pieces, can_have_holes, make_holes};
use crate::sql::pulls::share;
use crate::sql::query::{SelectLevel, is_distinct, is_grouped, is_limited};
use crate::sql::shape::{Shape, check_scatter_but_clock};
use crate::sql::whole::{can_be_stored, whole_query};
use crate::sql::{parse_expr, parse_query, rewrite};
use crate::types::oid;

/// What the input is called in the query over it.
const INPUT: &str = "pgloom";

/// The finishing of a query by parts that the shards make of it whole; `None` where there are none that help.
pub(crate) fn regroup(
    model: &Model<'_>,
    statement: &Statement,
    text: &str,
    query: &Query,
    level: &SelectLevel,
) -> Option<FinishText> {
    let SetExpr::Select(select) = &*query.body else { return None };
    check_scatter_but_clock(model, &level.base).ok()?;
    let prints = can_have_holes(text) && rewrite::is_faithful_in_parts(statement, text, model.scope.standard_strings);
    if !prints || model.uses.clock.is_some() && (model.uses.clock_in_view || model.uses.writing_cte) {
        return None;
    }
    let (asked, finishing) = divide(model, query, select, level, Below::Statement)?;
    let refs: Vec<RefId> = (0..model.refs.len()).collect();
    let pull = whole_query(model, asked, &refs)?;
    let mut pulls = Vec::new();
    share(&mut pulls, pull);
    let sql = Pieces::of(&finishing.over(&pulls.first()?.name, model)?.to_string())?;
    Some(FinishText {
        below: Vec::new(),
        pulls,
        sql,
        reads_home: None,
        pulls_all: true,
        clock: model.uses.clock.clone(),
        own_clock: false,
        foreign: false,
        limit: most_rows(query),
        depot: None,
        views: Vec::new(),
        supplies: Vec::new(),
    })
}

/// Where a query stands that is divided.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Below {
    /// It is the statement.
    Statement,
    /// Inside of one that is finished, where nothing but this divides it.
    Query,
    /// The same, where other queries have a say in the types of its columns.
    Arm,
}

/// What of a query the shards can do, and what is left to be done over their answers; `None`: nothing that helps.
pub(crate) fn divide(
    model: &Model<'_>,
    query: &Query,
    select: &Select,
    level: &SelectLevel,
    below: Below,
) -> Option<(Query, Finishing)> {
    let Spread::Parted { refs, anchors } = &level.base else { return None };
    if model.uses.locking || model.uses.stored.is_some() || !level.columns.complete || level.columns.list.is_empty() {
        return None;
    }
    let (refs, anchors) = (refs.clone(), anchors.clone());
    let shape =
        Shape { model, query, select, level: level.level, columns: &level.columns, anchors, refs, added: Vec::new() };
    let (asked, finishing) = if shape.has_own_groups() { shape.as_rows(below)? } else { shape.as_groups(below)? };
    let projected = match &*asked.body {
        SetExpr::Select(select) => &select.projection[..],
        _ => return None,
    };
    let stored = projected.iter().all(|item| can_be_stored(model, level.level, item));
    // Each shard is told the time, and what is left is not.
    let timeless = model.uses.clock.is_none() || !reads_clock(&finishing.0, &model.scope);
    (stored && timeless).then_some((asked, finishing))
}

/// The query over the input that the shards fill, still without its FROM.
#[derive(Clone, Debug)]
pub(crate) struct Finishing(Query);

impl Finishing {
    /// The column of the input that an output column is, if it is one.
    pub fn input_column(&self, at: usize) -> Option<&str> {
        let SetExpr::Select(select) = &*self.0.body else { return None };
        match select.projection.get(at)? {
            SelectItem::ExprWithAlias { expr: Expr::CompoundIdentifier(names), .. } => match &names[..] {
                [input, column] if input.value == INPUT => Some(&column.value),
                _ => None,
            },
            _ => None,
        }
    }

    /// Without the order, LIMIT and DISTINCT that were put to the query for the shards alone.
    pub fn leave_out(&mut self, of: &Query) {
        let Query { order_by, limit_clause, fetch, .. } = of;
        if order_by.is_none() {
            self.0.order_by = None;
        }
        (self.0.limit_clause, self.0.fetch) = (limit_clause.clone(), fetch.clone());
        if let (SetExpr::Select(own), SetExpr::Select(of)) = (&mut *self.0.body, &*of.body)
            && of.distinct.is_none()
        {
            own.distinct = None;
        }
    }

    /// With holes in the place of the call's literals.
    pub fn over(self, input: &str, model: &Model<'_>) -> Option<Query> {
        let mut query = self.0;
        let mut from = parse_query(&format!("SELECT FROM pg_temp.{input} AS {INPUT}"))?;
        let (SetExpr::Select(select), SetExpr::Select(of)) = (&mut *query.body, &mut *from.body) else { return None };
        select.from = std::mem::take(&mut of.from);
        make_holes(&mut query, &model.literals, false);
        Some(query)
    }
}

impl Shape<'_, '_> {
    /// Whether every group, and every row that a window sees, lies on one shard.
    fn has_own_groups(&self) -> bool {
        let level = &self.model.levels[self.level];
        let mut local = self.anchors.clone();
        if !level.windows.is_empty() {
            local.retain(|anchor| self.model.windows_have_key(self.level, *anchor));
        }
        let grouped = is_grouped(self.select) || level.aggregates;
        if grouped {
            let nodes = self.model.group_nodes(self.level, self.select);
            local.retain(|anchor| !level.grouping_sets && self.model.has_key(&nodes, *anchor));
        }
        !(local.is_empty() && (grouped || !level.windows.is_empty()))
    }

    /// The shards make rows of the result: output columns, and behind them what ORDER BY and DISTINCT ON ask for besides.
    fn as_rows(&self, below: Below) -> Option<(Query, Finishing)> {
        let grouped = is_grouped(self.select) || self.model.levels[self.level].aggregates;
        let ties = read_limit_with_ties(self.query);
        let first = ties.is_some() || below != Below::Statement && is_limited(self.query);
        // Of a single table its own pull brings less.
        if !grouped && !is_distinct(self.select) && !first && self.model.levels[self.level].leaves.len() < 2 {
            return None;
        }
        let mut items = self.items()?;
        let width = items.len();
        let place = |expr: &Expr, items: &mut Vec<Expr>| {
            if let Some(at) = self.output_position(expr).ok()? {
                return Some(at);
            }
            let hidden = items.iter().skip(width).position(|item| self.same(item, expr));
            Some(hidden.map_or_else(
                || {
                    items.push(expr.clone());
                    items.len() - 1
                },
                |at| width + at,
            ))
        };
        let mut on = Vec::new();
        if let Some(Distinct::On(exprs)) = &self.select.distinct {
            for expr in exprs {
                on.push(place(expr, &mut items)?);
            }
        }
        let mut order = Vec::new();
        for item in self.order_items().ok()? {
            if item.with_fill.is_some() {
                return None;
            }
            order.push((place(&item.expr, &mut items)?, item.options.clone()));
        }
        if items.len() > width && matches!(self.select.distinct, Some(Distinct::Distinct)) {
            return None;
        }
        let stays = |at: usize| below == Below::Arm && at < width && is_constant(&items[at]);
        let sent: Vec<usize> = (0..items.len()).filter(|at| !stays(*at)).collect();
        // What sorts has a type of its own, which no query beside it changes.
        if sent.is_empty() || on.iter().chain(order.iter().map(|(at, _)| at)).any(|at| stays(*at)) {
            return None;
        }
        let name = |at: usize| Ident::with_quote('"', format!("c{}", at + 1));
        let column = |at: usize| of_input(name(at));
        let ordinal = |at: usize| ordinal(sent.partition_point(|of| *of < at));
        let by = |place: &dyn Fn(usize) -> Expr| {
            let item = |(at, options): &(usize, _)| OrderByExpr {
                expr: place(*at),
                options: Clone::clone(options),
                with_fill: None,
            };
            order_by(order.iter().map(item).collect())
        };
        let limit = if ties.is_some() { ties } else { read_limit(self.query).ok()? };
        let mut asked = self.query.clone();
        asked.order_by = by(&ordinal).filter(|_| limit.is_some() || !on.is_empty());
        match ties {
            Some(limit) => set_limit_with_ties(&mut asked, limit),
            None => set_limit(&mut asked, limit),
        }
        let select = select_of(&mut asked)?;
        select.projection = sent.iter().map(|at| aliased(items[*at].clone(), name(*at))).collect();
        select.group_by = self.resolved_groups()?;
        if let Some(Distinct::On(exprs)) = &mut select.distinct {
            *exprs = on.iter().map(|at| ordinal(*at)).collect();
        }
        let mut finishing = bare(self.query);
        finishing.order_by = by(&column);
        let select = select_of(&mut finishing)?;
        let item = |at: usize| if stays(at) { items[at].clone() } else { column(at) };
        select.projection = (0..width).map(|at| Some(aliased(item(at), self.output(at)?))).collect::<Option<_>>()?;
        select.distinct = match &self.select.distinct {
            Some(Distinct::On(_)) => Some(Distinct::On(on.iter().map(|at| column(*at)).collect())),
            other => other.clone(),
        };
        Some((asked, Finishing(finishing)))
    }

    /// The shards make partial groups.
    fn as_groups(&self, below: Below) -> Option<(Query, Finishing)> {
        if !is_grouped(self.select) && !self.model.levels[self.level].aggregates {
            return None;
        }
        let GroupByExpr::Expressions(by, modifiers) = &self.select.group_by else { return None };
        if !modifiers.is_empty() {
            return None;
        }
        let mut parts = Parts { shape: self, groups: Vec::new(), grouped: 0, named: 0, partials: Vec::new() };
        let by: Vec<Expr> = by.iter().map(|expr| parts.group_by(expr)).collect::<Option<_>>()?;
        parts.grouped = parts.groups.len();
        // One expression at two places of the select list is two columns to grouping sets, and here it is one.
        if self.model.levels[self.level].grouping_sets && parts.named > parts.grouped {
            return None;
        }
        let mut finishing = bare(self.query);
        let order = self.order_items().ok()?.iter().map(|item| {
            let expr = match self.output_position(&item.expr).ok()? {
                Some(at) => ordinal(at),
                None => parts.regrouped(&item.expr)?,
            };
            Some(OrderByExpr { expr, options: item.options.clone(), with_fill: None })
        });
        finishing.order_by = order_by(order.collect::<Option<_>>()?);
        let items = self.select.projection.iter().enumerate().map(|(at, item)| match item {
            SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
                Some(aliased(parts.regrouped(expr)?, self.output(at)?))
            }
            _ => None,
        });
        let select = select_of(&mut finishing)?;
        select.projection = items.collect::<Option<_>>()?;
        select.group_by = GroupByExpr::Expressions(by, Vec::new());
        select.having = match &self.select.having {
            Some(having) => Some(parts.regrouped(having)?),
            None => None,
        };
        select.distinct = match &self.select.distinct {
            Some(Distinct::On(exprs)) => {
                let on = exprs.iter().map(|expr| match self.output_position(expr).ok()? {
                    Some(at) => Some(ordinal(at)),
                    None => parts.regrouped(expr),
                });
                Some(Distinct::On(on.collect::<Option<_>>()?))
            }
            other => other.clone(),
        };
        select.named_window = self.select.named_window.clone();
        if VisitMut::visit(&mut select.named_window, &mut Replacing { parts: &mut parts, depth: 0, until: None })
            .is_break()
        {
            return None;
        }
        // The shards group by all of it at once, where Postgres need not: values that cannot be sorted, beside others that cannot be hashed.
        let at_once = self.model.levels[self.level].grouping_sets || parts.groups.len() > parts.grouped;
        if at_once && !parts.groups.iter().all(|group| self.is_sortable(group)) {
            return None;
        }
        if below == Below::Arm && parts.groups.iter().any(is_constant) {
            return None;
        }
        // Of what is asked of the groups themselves each shard can judge: as in Postgres, before it reads any row where it can.
        let of_groups = |part: &&Expr| {
            !self.model.levels[self.level].grouping_sets && self.is_of_groups(part, &parts.groups[..parts.grouped])
        };
        let having = self.select.having.as_ref().map_or_else(Vec::new, conjuncts);
        let early: Vec<Expr> = having.into_iter().filter(of_groups).cloned().collect();
        Some((parts.asked(self.query, early)?, Finishing(finishing)))
    }

    /// Whether values can be sorted, as far as can be told: a Postgres can group by any number of such.
    fn is_sortable(&self, expr: &Expr) -> bool {
        struct Unsorted<'a, 'm, 'q>(&'a Shape<'m, 'q>);
        impl Visitor for Unsorted<'_, '_, '_> {
            type Break = ();
            fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
                // xid, cid and aclitem, and arrays of them.
                const OIDS: [u32; 6] = [28, 29, 1011, 1012, 1033, 1034];
                const NAMES: [&str; 3] = ["xid", "cid", "aclitem"];
                let Self(shape) = self;
                let known = |names: &[Ident]| {
                    let ty = shape.model.find_column(shape.level, names).and_then(|found| found.column.ty);
                    ty.is_some_and(|ty| !OIDS.contains(&ty.oid))
                };
                let sorted = match expr {
                    Expr::Identifier(name) => known(std::slice::from_ref(name)),
                    Expr::CompoundIdentifier(names) => known(names),
                    Expr::Cast { data_type, .. } => {
                        let name = data_type.to_string().to_ascii_lowercase();
                        !NAMES.iter().any(|of| name.split(['.', '[', '"']).any(|part| part == *of))
                    }
                    _ => true,
                };
                if sorted { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            }
        }
        Visit::visit(expr, &mut Unsorted(self)).is_continue()
    }

    /// The expressions of the output columns.
    fn items(&self) -> Option<Vec<Expr>> {
        let plain = |item: &SelectItem| match item {
            SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => Some(expr.clone()),
            _ => None,
        };
        if let [SelectItem::Wildcard(_)] = &self.select.projection[..] {
            return every_column(self.model, self.level, self.columns);
        }
        self.select.projection.iter().map(plain).collect()
    }

    /// The name of an output column.
    fn output(&self, at: usize) -> Option<Ident> {
        self.columns.list.get(at).map(|column| Ident::with_quote('"', &*column.name))
    }

    /// GROUP BY without output names and ordinals.
    fn resolved_groups(&self) -> Option<GroupByExpr> {
        let GroupByExpr::Expressions(by, modifiers) = &self.select.group_by else { return None };
        let resolved = by.iter().map(|expr| self.model.grouped_expr(self.level, self.select, expr).cloned());
        let resolved: Vec<Expr> = resolved.collect::<Option<_>>()?;
        // A constant would be read as a place.
        (!resolved.iter().any(is_constant)).then(|| GroupByExpr::Expressions(resolved, modifiers.clone()))
    }
}

/// A literal, whose type can be one of those around it.
fn is_constant(expr: &Expr) -> bool {
    matches!(unnest(expr), Expr::Value(_))
}

/// What `*` stands for, where each name of it has one meaning.
fn every_column(model: &Model<'_>, level: usize, columns: &Columns) -> Option<Vec<Expr>> {
    let level = &model.levels[level];
    if !level.merged.is_empty() || level.unknown_merge {
        return None;
    }
    let leaves = level.leaves.iter().map(|leaf| &model.leaves[*leaf]);
    let qualified = |leaf: &str, column: &Column| {
        Expr::CompoundIdentifier(vec![Ident::with_quote('"', leaf), Ident::with_quote('"', &*column.name)])
    };
    let all: Vec<Expr> =
        leaves.flat_map(|leaf| leaf.columns.list.iter().map(|column| qualified(&leaf.name, column))).collect();
    (all.len() == columns.list.len()).then_some(all)
}

fn select_of(query: &mut Query) -> Option<&mut Select> {
    match &mut *query.body {
        SetExpr::Select(select) => Some(select),
        _ => None,
    }
}

/// The query without what its parts have done: all that is left is its LIMIT.
fn bare(query: &Query) -> Query {
    let mut bare = query.clone();
    bare.with = None;
    bare.order_by = None;
    if let Some(select) = select_of(&mut bare) {
        select.from.clear();
        select.selection = None;
        select.group_by = GroupByExpr::Expressions(Vec::new(), Vec::new());
        select.having = None;
        select.named_window.clear();
    }
    bare
}

fn order_by(items: Vec<OrderByExpr>) -> Option<OrderBy> {
    (!items.is_empty()).then_some(OrderBy { kind: OrderByKind::Expressions(items), interpolate: None })
}

fn ordinal(at: usize) -> Expr {
    Expr::value(sqlparser::ast::Value::Number((at + 1).to_string(), false))
}

fn aliased(expr: Expr, alias: Ident) -> SelectItem {
    SelectItem::ExprWithAlias { expr, alias }
}

/// The columns of partial groups.
struct Parts<'p, 'm, 'q> {
    shape: &'p Shape<'m, 'q>,
    /// What the shards group by: first what the query is grouped by, behind it the arguments of DISTINCT aggregates.
    groups: Vec<Expr>,
    /// How many of these the query is grouped by.
    grouped: usize,
    /// How often GROUP BY names one.
    named: usize,
    partials: Vec<Expr>,
}

impl Parts<'_, '_, '_> {
    /// What the shards are asked for. `early`: conditions on the groups.
    fn asked(self, query: &Query, early: Vec<Expr>) -> Option<Query> {
        let mut asked = query.clone();
        asked.order_by = None;
        set_limit(&mut asked, None);
        let select = select_of(&mut asked)?;
        let groups = self.groups.iter().enumerate().map(|(at, expr)| aliased(expr.clone(), group_name(at)));
        let partials = self.partials.iter().enumerate().map(|(at, expr)| aliased(expr.clone(), partial_name(at)));
        select.projection = groups.chain(partials).collect();
        select.group_by = GroupByExpr::Expressions((0..self.groups.len()).map(ordinal).collect(), Vec::new());
        select.having = None;
        for condition in early {
            let condition = Expr::Nested(Box::new(condition));
            select.selection = Some(match select.selection.take() {
                None => condition,
                Some(before) => Expr::BinaryOp {
                    left: Box::new(Expr::Nested(Box::new(before))),
                    op: BinaryOperator::And,
                    right: Box::new(condition),
                },
            });
        }
        select.distinct = None;
        select.named_window.clear();
        // Groups of nothing at all: every shard would have to say that there is one.
        (!select.projection.is_empty()).then_some(asked)
    }

    fn group(&mut self, expr: &Expr) -> Expr {
        let known = self.groups.iter().position(|group| self.shape.same(group, expr));
        let at = known.unwrap_or_else(|| {
            self.groups.push(unnest(expr).clone());
            self.groups.len() - 1
        });
        of_input(group_name(at))
    }

    fn partial(&mut self, call: Expr) -> Expr {
        let known = self.partials.iter().position(|partial| *partial == call);
        of_input(partial_name(known.unwrap_or_else(|| {
            self.partials.push(call);
            self.partials.len() - 1
        })))
    }

    /// An item of GROUP BY, also within grouping sets.
    fn group_by(&mut self, expr: &Expr) -> Option<Expr> {
        let sets = |parts: &mut Self, sets: &[Vec<Expr>]| {
            let set = |set: &Vec<Expr>| set.iter().map(|expr| parts.group_by(expr)).collect::<Option<Vec<_>>>();
            sets.iter().map(set).collect::<Option<Vec<_>>>()
        };
        Some(match expr {
            Expr::GroupingSets(all) => Expr::GroupingSets(sets(self, all)?),
            Expr::Cube(all) => Expr::Cube(sets(self, all)?),
            Expr::Rollup(all) => Expr::Rollup(sets(self, all)?),
            Expr::Tuple(members) => Expr::Tuple(members.iter().map(|expr| self.group_by(expr)).collect::<Option<_>>()?),
            // Nothing is printed of what the parser takes for a call.
            expr if self.shape.model.nested_sets(expr).is_some() => return None,
            expr => {
                self.named += 1;
                let of = self.shape.model.grouped_expr(self.shape.level, self.shape.select, expr)?;
                self.group(of)
            }
        })
    }

    /// An expression over groups, as one over their parts.
    fn regrouped(&mut self, expr: &Expr) -> Option<Expr> {
        let mut expr = expr.clone();
        let visited = VisitMut::visit(&mut expr, &mut Replacing { parts: self, depth: 0, until: None });
        visited.is_continue().then_some(expr)
    }

    /// What stands for an expression; `Ok(None)`: itself, with what stands for its parts.
    fn replaced(&mut self, expr: &Expr) -> Result<Option<Expr>, Irreplaceable> {
        let groups = self.groups.iter().take(self.grouped);
        if let Some(at) = groups.into_iter().position(|group| self.shape.same(group, expr)) {
            return Ok(Some(of_input(group_name(at))));
        }
        match expr {
            Expr::Function(function) if function.over.is_none() => {
                let (schema, name) = parts(&function.name).ok_or(Irreplaceable)?;
                match class_of(self.shape.model, self.shape.level, function, schema.as_deref(), &name) {
                    FunctionClass::Aggregate | FunctionClass::UserAggregate(_) => {
                        self.aggregate(function, schema.as_deref(), &name).map(Some).ok_or(Irreplaceable)
                    }
                    _ => Ok(None),
                }
            }
            // A column that is the same within a group for reasons that only Postgres knows.
            Expr::Identifier(_)
            | Expr::CompoundIdentifier(_)
            | Expr::CompoundFieldAccess { .. }
            | Expr::Wildcard(_)
            | Expr::QualifiedWildcard(..)
            | Expr::Subquery(_)
            | Expr::Exists { .. }
            | Expr::InSubquery { .. } => Err(Irreplaceable),
            _ => Ok(None),
        }
    }

    /// An aggregate over the parts that the shards have made of it.
    ///
    /// Counts, and sums of integers and numeric, are added up exactly (`int8_avg`, `numeric_sum`); `avg` of these is the very division
    /// that Postgres does (`numeric_div` of sum and count); of min, max, bool and bit aggregates the parts are aggregated again.
    /// Sums of floats are not: they depend on the order of their addition, and shards would add up other sums. What has DISTINCT is
    /// finished over the distinct values themselves, which is why the shards group by them.
    fn aggregate(&mut self, function: &Function, schema: Option<&str>, name: &str) -> Option<Expr> {
        let shape = self.shape;
        if !function.within_group.is_empty() || function.null_treatment.is_some() {
            return None;
        }
        let distinct = matches!(&function.args, FunctionArguments::List(list)
            if list.duplicate_treatment == Some(DuplicateTreatment::Distinct));
        if distinct {
            return self.distinct_aggregate(function);
        }
        let built_in = match schema {
            None => !may_be_users(shape.model, shape.level, function, name),
            Some(schema) => schema == "pg_catalog",
        };
        if !built_in {
            return None;
        }
        let arg = || match plain_args(function)?[..] {
            [arg] => type_of(shape.model, shape.level, arg).map(|ty| shape.model.scope.catalog.base_of(ty.oid)),
            _ => None,
        };
        let call = Expr::Function(function.clone());
        let renamed = |other: &str| {
            let name = vec![Ident::new("pg_catalog"), Ident::new(other)];
            Expr::Function(Function { name: sqlparser::ast::ObjectName::from(name), ..function.clone() })
        };
        let text = match name {
            "count" => format!("CAST(COALESCE(pg_catalog.sum({}), 0) AS pg_catalog.int8)", self.partial(call)),
            "sum" => match arg()? {
                oid::INT2 | oid::INT4 => format!("CAST(pg_catalog.sum({}) AS pg_catalog.int8)", self.partial(call)),
                oid::INT8 | oid::NUMERIC | oid::INTERVAL | oid::MONEY => {
                    format!("pg_catalog.sum({})", self.partial(call))
                }
                _ => return None,
            },
            "avg" => match arg()? {
                oid::INT2 | oid::INT4 | oid::INT8 | oid::NUMERIC => {
                    let (sum, count) = (self.partial(renamed("sum")), self.partial(renamed("count")));
                    format!("(pg_catalog.sum({sum}) OPERATOR(pg_catalog./) pg_catalog.sum({count}))")
                }
                // By a float8, as `interval_avg` divides.
                oid::INTERVAL => {
                    let (sum, count) = (self.partial(renamed("sum")), self.partial(renamed("count")));
                    format!(
                        "(pg_catalog.sum({sum}) OPERATOR(pg_catalog./) CAST(pg_catalog.sum({count}) AS pg_catalog.float8))"
                    )
                }
                _ => return None,
            },
            "variance" | "var_samp" | "var_pop" | "stddev" | "stddev_samp" | "stddev_pop" => match arg()? {
                oid::INT2 | oid::INT4 | oid::INT8 => self.deviation(function, name, 60)?,
                oid::NUMERIC if self.is_short(function) => self.deviation(function, name, 220)?,
                _ => return None,
            },
            "min" | "max" | "bool_and" | "bool_or" | "every" | "bit_and" | "bit_or" | "bit_xor" => {
                format!("pg_catalog.{name}({})", self.partial(call))
            }
            _ => return None,
        };
        written(&text)
    }

    /// Whether an aggregate is over a column of numeric with no more than 100 digits, before and behind the point.
    fn is_short(&self, function: &Function) -> bool {
        let model = self.shape.model;
        let args = plain_args(function).unwrap_or_default();
        let [arg] = args[..] else { return false };
        let node = model.as_column(self.shape.level, unnest(arg)).and_then(|found| found.column.node);
        // A type modifier is precision and scale behind a header of 4.
        let Some(declared) = node.and_then(|node| model.nodes[node].typmod.checked_sub(4)).filter(|of| *of >= 0) else {
            return false;
        };
        declared >> 16 <= 100 && declared & 0x7ff <= 100
    }

    /// Variance, and its root, of exact numbers: by the very sums and the very division of `numeric_stddev_internal`.
    ///
    /// The root has as many digits as the variance. `sqrt` would give it others where these are few, so it is taken of the variance with
    /// more of them, and then rounded: a root of a number with d digits behind the point is never half way between two of d digits, and
    /// no nearer to that than 2 d digits tell, and half as many as the number has before the point. `more`: enough for these.
    fn deviation(&mut self, function: &Function, name: &str, more: u32) -> Option<String> {
        let [arg] = plain_args(function)?[..] else { return None };
        let number = format!("CAST({arg} AS pg_catalog.numeric)");
        let mut part = |name: &str, arg: &str| {
            let mut part = function.clone();
            part.name = ObjectName::from(vec![Ident::new("pg_catalog"), Ident::new(name)]);
            let FunctionArguments::List(list) = &mut part.args else { return None };
            list.args = vec![FunctionArg::Unnamed(FunctionArgExpr::Expr(written(arg)?))];
            Some(format!("pg_catalog.sum({})", self.partial(Expr::Function(part))))
        };
        let n = part("count", &arg.to_string())?;
        let sum = part("sum", &number)?;
        let squares = part("sum", &format!("{number} OPERATOR(pg_catalog.*) {number}"))?;
        let (least, divisor) = match name {
            "var_pop" | "stddev_pop" => (0, format!("({n} * {n})")),
            _ => (1, format!("({n} * ({n} - 1))")),
        };
        let above = format!("({n} * {squares} - {sum} * {sum})");
        let variance = format!("CASE WHEN {above} > 0 THEN {above} / {divisor} ELSE CAST(0 AS pg_catalog.numeric) END");
        let value = match name {
            "variance" | "var_samp" | "var_pop" => variance,
            _ => {
                let digits = format!("pg_catalog.scale({variance})");
                // A NaN has no scale.
                format!(
                    "coalesce(pg_catalog.round(pg_catalog.sqrt(pg_catalog.round({variance}, {digits} * 2 + {more})), {digits}), {variance})"
                )
            }
        };
        Some(format!("CASE WHEN {n} > {least} THEN {value} END"))
    }

    fn distinct_aggregate(&mut self, function: &Function) -> Option<Expr> {
        // What fails for a row that the filter leaves out must not be asked of the shards, who do not know the filter.
        let plain = |expr: &Expr| matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_) | Expr::Value(_));
        if function.filter.is_some() && !plain_args(function)?.into_iter().all(|expr| plain(unnest(expr))) {
            return None;
        }
        let mut function = function.clone();
        let FunctionArguments::List(list) = &mut function.args else { return None };
        for arg in &mut list.args {
            let FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) = arg else { return None };
            self.group_argument(expr);
        }
        for clause in &mut list.clauses {
            let FunctionArgumentClause::OrderBy(items) = clause else { return None };
            if function.filter.is_some() && !items.iter().all(|item| plain(unnest(&item.expr))) {
                return None;
            }
            items.iter_mut().for_each(|item| self.group_argument(&mut item.expr));
        }
        if let Some(filter) = &mut function.filter {
            self.group_argument(filter);
        }
        Some(Expr::Function(function))
    }

    fn group_argument(&mut self, expr: &mut Expr) {
        // A row is distinct by its members.
        if let Expr::Tuple(members) = expr {
            members.iter_mut().for_each(|member| self.group_argument(member));
        } else if !matches!(unnest(expr), Expr::Value(_)) {
            *expr = self.group(expr);
        }
    }
}

/// An expression of ours. Its literals stand nowhere in the client's text.
pub(crate) fn written(text: &str) -> Option<Expr> {
    struct Nowhere;
    impl VisitorMut for Nowhere {
        type Break = ();
        fn pre_visit_value(&mut self, value: &mut ValueWithSpan) -> ControlFlow<()> {
            value.span = Span::empty();
            ControlFlow::Continue(())
        }
    }
    let mut expr = parse_expr(text)?;
    let _ = VisitMut::visit(&mut expr, &mut Nowhere);
    Some(expr)
}

/// A column of the input. Qualified: ORDER BY and DISTINCT ON read a bare name as that of an output column first, whose names are
/// the client's.
fn of_input(name: Ident) -> Expr {
    Expr::CompoundIdentifier(vec![Ident::new(INPUT), name])
}

fn group_name(at: usize) -> Ident {
    Ident::with_quote('"', format!("g{}", at + 1))
}

fn partial_name(at: usize) -> Ident {
    Ident::with_quote('"', format!("a{}", at + 1))
}

struct Irreplaceable;

/// Puts columns of the input in the place of groups and aggregates.
struct Replacing<'r, 'p, 'm, 'q> {
    parts: &'r mut Parts<'p, 'm, 'q>,
    depth: usize,
    /// What stands below this depth has been put there.
    until: Option<usize>,
}

impl VisitorMut for Replacing<'_, '_, '_, '_> {
    type Break = ();

    fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        ControlFlow::Break(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        self.depth += 1;
        if self.until.is_some() {
            return ControlFlow::Continue(());
        }
        match self.parts.replaced(expr) {
            Ok(Some(other)) => {
                *expr = other;
                self.until = Some(self.depth);
            }
            Ok(None) => {}
            Err(Irreplaceable) => return ControlFlow::Break(()),
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, _: &mut Expr) -> ControlFlow<()> {
        if self.until == Some(self.depth) {
            self.until = None;
        }
        self.depth -= 1;
        ControlFlow::Continue(())
    }
}

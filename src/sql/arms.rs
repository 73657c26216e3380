//! Queries that a set operation puts together: what the shards make of each by itself, before a Postgres puts them to the others. Rows
//! that are equal go once where the set operation counts them once, and no more than the first where no others are asked for.

use std::ops::ControlFlow;

use sqlparser::ast::{
    Distinct, Expr, Fetch, LimitClause, OrderBy, OrderByExpr, OrderByKind, OrderByOptions, OrderBySort, Query, Select,
    SelectItem, SetExpr, SetOperator, SetQuantifier, Value as Literal, Visit, Visitor,
};

use crate::sql::collations::Own;
use crate::sql::facts::unnest;
use crate::sql::limit::read_limit;
use crate::sql::matches::unique_keys;
use crate::sql::model::{Column, ColumnType, Columns, LevelId, Model, PartOf};
use crate::sql::names::folded;
use crate::sql::query::{is_distinct, is_limited};
use crate::sql::shape::ordinal;
use crate::types::oid;

/// What a set operation does with the rows of a query in it.
#[derive(Clone, Debug)]
pub(crate) struct Arm {
    /// Equal ones count once.
    distinct: bool,
    /// No others matter than the first, in this order, as many as its LIMIT says.
    first: Option<First>,
    /// One Postgres need not come to all of them.
    pub may_stop: bool,
}

#[derive(Clone, Debug)]
struct First {
    order: Vec<(usize, OrderByOptions)>,
    limit: Option<LimitClause>,
    fetch: Option<Fetch>,
    /// Rows of all queries are equal by the same rules.
    alike: bool,
}

/// Queries of one set operation that are asked for by themselves: each is a statement to every shard and a table of its own. Of more the tables
/// are pulled, each once.
const MOST_ARMS: usize = 64;

/// The queries of a set operation, and what it does with their rows. `columns`: what a query in it gives. `may_stop`: there is a LIMIT around it.
pub(crate) fn arms<'m>(
    model: &Model<'_>,
    query: &Query,
    columns: impl Fn(PartOf) -> Option<&'m Columns>,
    may_stop: bool,
) -> Vec<(PartOf, Arm)> {
    let mut found = Vec::new();
    let may_stop = may_stop || is_limited(query);
    collect(&query.body, Arm { distinct: false, first: None, may_stop }, true, &mut found);
    if found.len() > MOST_ARMS {
        return Vec::new();
    }
    let first = first(model, query, &found, columns);
    let with = |(of, arm, is_union): (PartOf, Arm, bool)| {
        let first = first.clone().filter(|_| is_union);
        (of, Arm { first, ..arm })
    };
    found.into_iter().filter(|(of, ..)| *of != NO_QUERY).map(with).collect()
}

/// Stands for what is neither a SELECT nor in parentheses.
const NO_QUERY: PartOf = PartOf::Query(std::ptr::null());

/// `is_union`: each row of it is one of the whole, or equals one.
fn collect(body: &SetExpr, mut arm: Arm, mut is_union: bool, found: &mut Vec<(PartOf, Arm, bool)>) {
    // The left side of a chain is a loop, as it is written.
    let mut at = body;
    while let SetExpr::SetOperation { left, right, op, set_quantifier } = at {
        let all = *set_quantifier == SetQuantifier::All;
        let is_plain = matches!(set_quantifier, SetQuantifier::All | SetQuantifier::Distinct | SetQuantifier::None);
        match op {
            SetOperator::Union if is_plain => arm.distinct |= !all,
            _ => {
                arm.distinct = is_plain && !all;
                arm.may_stop = true;
                is_union = false;
            }
        }
        collect(right, arm.clone(), is_union, found);
        at = left;
    }
    let of = match at {
        SetExpr::Select(select) => PartOf::Arm(std::ptr::from_ref(&**select)),
        SetExpr::Query(query) => match (is_plain(query), &*query.body) {
            (true, body @ (SetExpr::SetOperation { .. } | SetExpr::Query(_))) => {
                return collect(body, arm, is_union, found);
            }
            (plain, _) => {
                arm.distinct &= plain;
                is_union &= plain;
                PartOf::Query(std::ptr::from_ref(&**query))
            }
        },
        _ => NO_QUERY,
    };
    found.push((of, arm, is_union));
}

/// Nothing but a body in parentheses.
fn is_plain(query: &Query) -> bool {
    query.with.is_none() && query.order_by.is_none() && !is_limited(query) && query.locks.is_empty()
}

/// The first rows that a set operation asks for, where the queries in it sort theirs by the same order.
fn first<'m>(
    model: &Model<'_>,
    query: &Query,
    arms: &[(PartOf, Arm, bool)],
    columns: impl Fn(PartOf) -> Option<&'m Columns>,
) -> Option<First> {
    read_limit(query).ok()??.limit?;
    let items = match &query.order_by {
        None => &[][..],
        Some(OrderBy { kind: OrderByKind::Expressions(items), interpolate: None }) => items,
        Some(_) => return None,
    };
    let all: Vec<&Columns> =
        arms.iter().map(|(of, ..)| columns(*of).filter(|columns| columns.complete)).collect::<Option<_>>()?;
    // The leftmost was found last.
    let named = all.last()?;
    let place = |item: &OrderByExpr| {
        let at = match unnest(&item.expr) {
            Expr::Value(value) => match &value.value {
                Literal::Number(digits, _) => digits.parse::<usize>().ok()?.checked_sub(1)?,
                _ => return None,
            },
            Expr::Identifier(name) => {
                let mut places = (0..named.list.len()).filter(|at| *named.list[*at].name == *folded(name));
                places.next().filter(|_| places.next().is_none())?
            }
            _ => return None,
        };
        let sorted: Vec<&Column> = all.iter().map(|of| of.list.get(at)).collect::<Option<_>>()?;
        // A collation of its own in one query sorts all of them: only of columns it is known that they have none.
        let is_plain_text = |of: &Column| model.own_collation(of) == Own::Nothing;
        let is_sorted = |of: &&Column| of.ty.is_some_and(|ty| ty.collation.order_is_bytes()) || is_plain_text(of);
        let is_one = sorted.iter().all(|of| is_sorted(of) && of.ty.is_some() && of.ty == sorted[0].ty);
        let is_plain = item.with_fill.is_none() && !matches!(item.options.sort, Some(OrderBySort::Using(_)));
        (is_one && is_plain).then(|| (at, item.options.clone()))
    };
    let order = items.iter().map(place).collect::<Option<_>>()?;
    let types = |of: &Columns| of.list.iter().map(|column| column.ty).collect::<Option<Vec<ColumnType>>>();
    let alike = types(named).is_some_and(|named| all.iter().all(|of| types(of).as_ref() == Some(&named)));
    Some(First { order, limit: query.limit_clause.clone(), fetch: query.fetch.clone(), alike })
}

impl Arm {
    /// The query as its rows are needed here, and whether that is less than all of them; `None`: it must stay as it is.
    pub fn needed(&self, model: &Model<'_>, query: &Query, level: LevelId, columns: &Columns) -> Option<(Query, bool)> {
        let mut needed = query.clone();
        let SetExpr::Select(select) = &mut *needed.body else { return None };
        // What is written so goes before other collations, and a column does not.
        if select.projection.iter().any(is_collated) {
            return None;
        }
        let mut less = false;
        let unique = are_unique(model, level, columns, select);
        let comparable = columns.complete && columns.list.iter().all(|of| of.ty.is_some_and(stays_equal));
        if self.distinct && comparable && !unique && !is_distinct(select) {
            select.distinct = Some(Distinct::Distinct);
            less = true;
        }
        // As many different rows.
        let differ = unique || matches!(select.distinct, Some(Distinct::Distinct));
        let counted = |first: &&First| !self.distinct || first.alike && comparable && differ;
        // DISTINCT ON has an order of its own.
        let sorts = matches!(select.distinct, Some(Distinct::On(_)));
        let counted = |first: &&First| !sorts && counted(first);
        if let Some(First { order, limit, fetch, .. }) = self.first.as_ref().filter(counted) {
            needed.limit_clause = limit.clone();
            needed.fetch = fetch.clone();
            let item = |(at, options): &(usize, OrderByOptions)| OrderByExpr {
                expr: ordinal(*at),
                options: options.clone(),
                with_fill: None,
            };
            let items: Vec<OrderByExpr> = order.iter().map(item).collect();
            needed.order_by =
                (!items.is_empty()).then_some(OrderBy { kind: OrderByKind::Expressions(items), interpolate: None });
            less = true;
        }
        Some((needed, less))
    }
}

fn is_collated(item: &SelectItem) -> bool {
    struct Collated;
    impl Visitor for Collated {
        type Break = ();
        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            if let Expr::Collate { .. } = expr { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
    }
    item.visit(&mut Collated).is_break()
}

/// Whether values of a type that are equal are so as well in each type that a set operation can make of it and another one.
fn stays_equal(ty: ColumnType) -> bool {
    const TYPES: [u32; 17] = [
        oid::BOOL,
        oid::BYTEA,
        oid::INT2,
        oid::INT4,
        oid::INT8,
        oid::FLOAT4,
        oid::FLOAT8,
        oid::NUMERIC,
        oid::TEXT,
        oid::VARCHAR,
        oid::BPCHAR,
        oid::DATE,
        oid::TIMESTAMP,
        oid::TIMESTAMPTZ,
        oid::TIME,
        oid::INTERVAL,
        oid::UUID,
    ];
    TYPES.contains(&ty.oid) && ty.collation.equality_is_bytes()
}

/// Whether no two rows of a shard are equal anyway: they are the rows of one table, and have a unique key of it.
fn are_unique(model: &Model<'_>, level: LevelId, columns: &Columns, select: &Select) -> bool {
    // A function can make several rows of one.
    let is_value = |item: &SelectItem| match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
            matches!(unnest(expr), Expr::Identifier(_) | Expr::CompoundIdentifier(_) | Expr::Value(_))
        }
        _ => false,
    };
    if !select.projection.iter().all(is_value) {
        return false;
    }
    let [leaf] = model.levels[level].leaves[..] else { return false };
    let tables = model.collected.as_deref().map_or(&[][..], |collected| &collected.tables);
    let Some(used) = tables.iter().find(|used| used.leaf == leaf) else { return false };
    let Some(table) = used.relation.table() else { return false };
    let of_table = &model.leaves[leaf].columns.list;
    let given = |at: &usize| {
        let node = of_table.get(*at).and_then(|column| column.node);
        let not_null = table.columns.get(*at).is_some_and(|column| column.not_null);
        not_null && node.is_some() && columns.list.iter().any(|column| column.node == node)
    };
    unique_keys(model, used).any(|key| !key.is_empty() && key.iter().all(given))
}

/// The rest of a SELECT that no query is put around.
pub(crate) fn alone(select: &Select) -> Query {
    Query {
        with: None,
        body: Box::new(SetExpr::Select(Box::new(select.clone()))),
        order_by: None,
        limit_clause: None,
        fetch: None,
        locks: Vec::new(),
        for_clause: None,
        settings: None,
        format_clause: None,
        pipe_operators: Vec::new(),
    }
}

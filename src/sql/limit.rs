//! LIMIT, OFFSET and FETCH FIRST of a query over several shards. Clause 5.

use sqlparser::ast::{
    DataType, Expr, Fetch, GroupByExpr, LimitClause, Query, Select, SelectItem, SetExpr, UnaryOperator,
    Value as Literal,
};

use crate::sql::facts::{parameter_index, unnest};
use crate::sql::groups::constant;
use crate::sql::model::Obstacle;
use crate::sql::outcome::{Count, Limit};
use crate::sql::query::is_limited;
use crate::sql::regroup::written;

/// LIMIT, OFFSET and FETCH FIRST where they are constants or parameters. Clause 5: others cannot be evaluated here.
pub(crate) fn read_limit(query: &Query) -> Result<Option<Limit>, Obstacle> {
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
        // What LIMIT makes of its argument anyway.
        Expr::Cast { expr, data_type: DataType::BigInt(None) | DataType::Int8(None), format: None, .. } => count(expr),
        Expr::UnaryOp { op: UnaryOperator::Minus, .. } => {
            let value = constant(expr).and_then(|n| n.parse().ok()).ok_or_else(refuse)?;
            Ok(Some(Count::Constant(value)))
        }
        Expr::Subquery(query) => match one_value(query).map(unnest) {
            // A NULL or a parameter is text there.
            Some(value @ Expr::Value(of)) if matches!(of.value, Literal::Number(..)) => count(value),
            _ => Err(refuse()),
        },
        _ => Err(refuse()),
    }
}

/// What a query that reads nothing gives, where it is one value.
fn one_value(query: &Query) -> Option<&Expr> {
    let SetExpr::Select(select) = &*query.body else { return None };
    let Select { projection, from, selection: None, having: None, distinct: None, group_by, .. } = &**select else {
        return None;
    };
    let plain = from.is_empty()
        && query.with.is_none()
        && query.locks.is_empty()
        && !is_limited(query)
        && matches!(group_by, GroupByExpr::Expressions(by, also) if by.is_empty() && also.is_empty());
    match &projection[..] {
        [SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }] if plain => Some(expr),
        _ => None,
    }
}

/// FETCH FIRST ... WITH TIES as the limit that it would be without.
pub(crate) fn read_limit_with_ties(query: &Query) -> Option<Limit> {
    let fetch = query.fetch.as_ref().filter(|fetch| fetch.with_ties && !fetch.percent && query.order_by.is_some())?;
    let mut plain = query.clone();
    plain.fetch = Some(Fetch { with_ties: false, ..fetch.clone() });
    read_limit(&plain).ok()?
}

/// The shards' LIMIT of such a query: their own first rows, and what is tied with the last of them.
pub(crate) fn set_limit_with_ties(query: &mut Query, limit: Limit) {
    set_limit(query, Some(limit));
    if let Some(LimitClause::LimitOffset { limit: Some(limit), .. }) = query.limit_clause.take() {
        let quantity = Some(Expr::Nested(Box::new(limit)));
        query.fetch = Some(Fetch { with_ties: true, percent: false, quantity });
    }
}

/// What is left of a LIMIT for shards that must not have it: of no row of the whole nothing needs to be computed, as in Postgres.
pub(crate) fn no_rows(limit: Option<Limit>) -> Option<Limit> {
    limit.filter(|limit| limit.limit == Some(Count::Constant(0))).map(|limit| Limit { offset: None, ..limit })
}

/// The shards' LIMIT: limit + offset of the whole, or none at all.
pub(crate) fn set_limit(query: &mut Query, limit: Option<Limit>) {
    query.fetch = None;
    query.limit_clause = None;
    let Some(Limit { limit: Some(limit), offset }) = limit else { return };
    let text = match (limit, offset) {
        (Count::Constant(limit), None) => limit.to_string(),
        // What is negative is an error, and Postgres says so of OFFSET before LIMIT: the whole's, where it comes to them.
        (Count::Constant(limit), Some(Count::Constant(offset))) => match limit.max(0).checked_add(offset.max(0)) {
            Some(sum) => sum.to_string(),
            None => return,
        },
        (limit, None) => limit.sql(),
        // Their sum may be more than a LIMIT can be.
        (limit, Some(offset)) => {
            let (limit, offset) = (limit.sql(), offset.sql());
            format!(
                "least(CASE WHEN {limit} < 0 THEN 0 ELSE {limit}::numeric END + greatest(coalesce({offset}, 0), 0), {})::bigint",
                i64::MAX
            )
        }
    };
    let Some(limit) = written(&text) else { return };
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

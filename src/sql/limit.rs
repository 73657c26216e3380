//! LIMIT, OFFSET and FETCH FIRST of a query over several shards. Clause 5.

use sqlparser::ast::{DataType, Expr, LimitClause, Query, UnaryOperator, Value as Literal};

use crate::sql::facts::{parameter_index, unnest};
use crate::sql::groups::constant;
use crate::sql::model::Obstacle;
use crate::sql::outcome::{Count, Limit};
use crate::sql::query::is_limited;

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
        _ => Err(refuse()),
    }
}

/// The shards' LIMIT: limit + offset of the whole, or none at all.
pub(crate) fn set_limit(query: &mut Query, limit: Option<Limit>) {
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
        // Their sum may be more than a LIMIT can be.
        (limit, Some(offset)) => {
            format!("least({}::numeric + coalesce({}, 0), {})::bigint", limit.sql(), offset.sql(), i64::MAX)
        }
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

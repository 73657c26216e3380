//! The names that Postgres gives to output columns without alias (`FigureColname` of its parser): ORDER BY and GROUP BY can mean
//! them.

use sqlparser::ast::{
    AccessExpr, BinaryOperator, DataType, Expr, FunctionArguments, Query, SelectItem, SetExpr, TrimWhereField,
};

use crate::sql::facts::type_oid;
use crate::sql::names::{folded, parts};
use crate::types::oid;

/// What Postgres calls a column that nothing names.
pub(crate) const NO_NAME: &str = "?column?";

/// The name of an output column without alias.
pub(crate) fn output_name(expr: &Expr) -> String {
    figure(expr).map_or_else(|| NO_NAME.to_owned(), |(name, _)| name)
}

/// The name, and whether it is a strong one: a weak one gives way to what is around it.
fn figure(expr: &Expr) -> Option<(String, bool)> {
    let strong = |name: &str| Some((name.to_owned(), true));
    match expr {
        Expr::Identifier(name) => Some((folded(name).into_owned(), true)),
        Expr::CompoundIdentifier(names) => names.last().map(|name| (folded(name).into_owned(), true)),
        Expr::Nested(inner) | Expr::Collate { expr: inner, .. } => figure(inner),
        Expr::CompoundFieldAccess { root, access_chain } => {
            let field = access_chain.iter().rev().find_map(|access| match access {
                AccessExpr::Dot(Expr::Identifier(name)) => Some((folded(name).into_owned(), true)),
                _ => None,
            });
            field.or_else(|| figure(root))
        }
        Expr::Function(function) => {
            // ARRAY(SELECT ...) is read as a function of that name, and called so.
            let name = parts(&function.name).map(|(_, name)| (name, true));
            name.filter(|_| !matches!(function.parameters, FunctionArguments::List(_)))
        }
        Expr::Cast { expr, data_type, .. } => cast(figure(expr), data_type),
        Expr::TypedString(typed) => cast(None, &typed.data_type),
        Expr::Interval(_) => Some(("interval".to_owned(), false)),
        Expr::Case { else_result, .. } => match else_result.as_deref().and_then(figure) {
            Some((name, true)) => Some((name, true)),
            _ => Some(("case".to_owned(), false)),
        },
        Expr::BinaryOp { op: BinaryOperator::Overlaps, .. } => strong("overlaps"),
        Expr::Exists { .. } => strong("exists"),
        Expr::Subquery(query) => subquery(query),
        Expr::Array(_) => strong("array"),
        Expr::Tuple(_) => strong("row"),
        Expr::Extract { .. } => strong("extract"),
        Expr::Position { .. } => strong("position"),
        Expr::Substring { shorthand, .. } => strong(if *shorthand { "substr" } else { "substring" }),
        Expr::Overlay { .. } => strong("overlay"),
        Expr::AtTimeZone { .. } => strong("timezone"),
        Expr::Ceil { .. } => strong("ceil"),
        Expr::Floor { .. } => strong("floor"),
        Expr::IsNormalized { .. } => strong("is_normalized"),
        Expr::Trim { trim_where, .. } => strong(match trim_where {
            Some(TrimWhereField::Leading) => "ltrim",
            Some(TrimWhereField::Trailing) => "rtrim",
            Some(TrimWhereField::Both) | None => "btrim",
        }),
        _ => None,
    }
}

/// A cast has the name of what it casts, or else of its type.
fn cast(inner: Option<(String, bool)>, data_type: &DataType) -> Option<(String, bool)> {
    match inner {
        Some((name, true)) => Some((name, true)),
        _ => Some((type_name(data_type), false)),
    }
}

/// The name by which Postgres knows a type.
fn type_name(data_type: &DataType) -> String {
    let written = match data_type {
        DataType::Array(sqlparser::ast::ArrayElemTypeDef::SquareBracket(inner, _)) => return type_name(inner),
        DataType::Custom(name, _) => return parts(name).map(|(_, name)| name).unwrap_or_default(),
        other => other.to_string().to_ascii_lowercase(),
    };
    let known = match type_oid(data_type) {
        Some(oid::INT2) => "int2",
        Some(oid::INT4) => "int4",
        Some(oid::INT8) => "int8",
        Some(oid::BOOL) => "bool",
        Some(oid::NUMERIC) => "numeric",
        Some(oid::VARCHAR) => "varchar",
        Some(oid::BPCHAR) => "bpchar",
        Some(oid::TIMESTAMP) => "timestamp",
        Some(oid::TIMESTAMPTZ) => "timestamptz",
        _ if written.starts_with("double") || written.starts_with("float") => "float8",
        _ if written.starts_with("real") => "float4",
        _ if written.starts_with("time with time zone") => "timetz",
        _ => written.split(['(', ' ']).next().unwrap_or_default(),
    };
    known.to_owned()
}

/// A scalar subquery has the name of its column.
fn subquery(query: &Query) -> Option<(String, bool)> {
    let mut body = &query.body;
    loop {
        match &**body {
            SetExpr::Query(inner) => body = &inner.body,
            SetExpr::SetOperation { left, .. } => body = left,
            SetExpr::Select(select) => {
                return match select.projection.first()? {
                    SelectItem::ExprWithAlias { alias, .. } => Some((folded(alias).into_owned(), true)),
                    SelectItem::UnnamedExpr(expr) => Some((output_name(expr), true)),
                    _ => None,
                };
            }
            SetExpr::Values(_) => return Some(("column1".to_owned(), true)),
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// The names that PostgreSQL 15 gives.
    #[test]
    fn columns_are_called_as_postgres_calls_them() {
        for (expr, name) in [
            ("a", "a"),
            ("t.\"A\"", "A"),
            ("(a)::text", "a"),
            ("a + 1", "?column?"),
            ("5", "?column?"),
            ("'x'::text", "text"),
            ("5::bigint", "int8"),
            ("CAST('1' AS varchar(3))", "varchar"),
            ("DATE '2020-01-01'", "date"),
            ("INTERVAL '1 day'", "interval"),
            ("CASE WHEN a THEN b ELSE c END", "c"),
            ("CASE WHEN a THEN b ELSE 5 END", "case"),
            ("CASE WHEN a THEN b ELSE 'x'::text END", "case"),
            ("CASE WHEN a THEN b END", "case"),
            ("lower(a)", "lower"),
            ("coalesce(a, b)", "coalesce"),
            ("nullif(a, b)", "nullif"),
            ("greatest(a, b)", "greatest"),
            ("extract(year FROM a)", "extract"),
            ("substring(a FROM 2)", "substring"),
            ("substr(a, 2)", "substr"),
            ("trim(a)", "btrim"),
            ("a AT TIME ZONE 'UTC'", "timezone"),
            ("EXISTS (SELECT 1)", "exists"),
            ("(SELECT max(a) FROM t)", "max"),
            ("(SELECT 1)", "?column?"),
            ("ARRAY[1]", "array"),
            ("ARRAY(SELECT 1)", "array"),
            ("(a, b)", "row"),
            ("a COLLATE \"C\"", "a"),
            ("a[1]", "a"),
            ("(a).b", "b"),
            ("current_date", "current_date"),
            ("a IS NULL", "?column?"),
            ("NOT a", "?column?"),
            ("sum(a) OVER ()", "sum"),
            ("'{1}'::int[]", "int4"),
        ] {
            assert_eq!(output_name(&crate::sql::parse_expr(expr).unwrap()), name, "{expr}");
        }
    }
}

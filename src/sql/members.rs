//! What a column is a member of: lists, arrays, VALUES, and arrays that a subquery takes apart.

use sqlparser::ast::{
    CastKind, DataType, Expr, Query, Select, SelectItem, SetExpr, TableFactor, Value as Literal, ValueWithSpan,
};

use crate::ids::Oid;
use crate::sql::facts::{as_select, plain_args, row, type_oid, unnest};
use crate::sql::functions::is_users;
use crate::sql::keys::{Operand, Value};
use crate::sql::lexer::is_bigint;
use crate::sql::model::{Cond, LevelId, Model};
use crate::sql::names::{folded, parts};

impl Model<'_> {
    /// `expr IN (a, b, ...)`
    pub(super) fn member_of(&self, level: LevelId, expr: &Expr, list: &[&Expr]) -> Cond {
        if row(expr).is_some() {
            return Cond::Either(list.iter().map(|member| self.equality(level, expr, member)).collect());
        }
        let Some((leaf, node)) = self.as_node(level, expr) else { return Cond::True };
        // Clause 9: a member that is not understood could be any key.
        let value = |member: &&Expr| self.as_value(member).or_else(|| self.selected_value(member));
        let values: Option<Vec<Value>> = list.iter().map(value).collect();
        match values {
            Some(values) if has_one_type(list, &values) => Cond::Equal { node, leaf, operand: Operand::List(values) },
            _ => Cond::True,
        }
    }

    /// `expr IN (query)`, where the rows of the query stand in it. What it leaves out of them again does not matter.
    pub(super) fn member_of_query(&self, level: LevelId, expr: &Expr, query: &Query) -> Cond {
        if let Some(rows) = value_rows(query) {
            return self.member_of_rows(level, expr, &rows);
        }
        let array = as_select(query).and_then(|select| self.unnested(select));
        match (array, self.as_node(level, expr)) {
            (Some(operand), Some((leaf, node))) => Cond::Equal { node, leaf, operand },
            _ => Cond::True,
        }
    }

    fn member_of_rows(&self, level: LevelId, expr: &Expr, rows: &[&[Expr]]) -> Cond {
        let Some(columns) = row(expr) else {
            let list: Vec<&Expr> = rows.iter().filter_map(|row| row.first()).collect();
            return match rows.iter().all(|row| row.len() == 1) {
                true => self.member_of(level, expr, &list),
                false => Cond::True,
            };
        };
        let one_type = |at: usize| {
            let cells: Option<Vec<&Expr>> = rows.iter().map(|row| row.get(at)).collect();
            let Some(cells) = cells else { return false };
            // A cell that is no value says nothing of its row, but can give the column another type.
            let values: Option<Vec<Value>> = cells.iter().map(|cell| self.as_value(cell)).collect();
            values.is_some_and(|values| has_one_type(&cells, &values))
        };
        let row_of = |cells: &[Expr]| {
            let pairs = columns.iter().copied().zip(cells).enumerate().filter(|(at, _)| one_type(*at));
            Cond::All(pairs.map(|(_, (column, cell))| self.equality(level, column, cell)).collect())
        };
        Cond::Either(rows.iter().map(|cells| row_of(cells)).collect())
    }

    /// The array of `SELECT unnest(array)`, `SELECT x FROM unnest(array) u(x)`.
    fn unnested(&self, select: &Select) -> Option<Operand> {
        let [item] = &select.projection[..] else { return None };
        let array = match &select.from[..] {
            [] => match item {
                SelectItem::UnnamedExpr(Expr::Function(function))
                | SelectItem::ExprWithAlias { expr: Expr::Function(function), .. } => {
                    let (schema, name) = parts(&function.name)?;
                    if &*name != "unnest" || schema.is_some_and(|schema| schema != "pg_catalog") {
                        return None;
                    }
                    let args = plain_args(function)?;
                    let [array] = args[..] else { return None };
                    array
                }
                _ => return None,
            },
            [from] if from.joins.is_empty() => {
                let TableFactor::UNNEST { alias, array_exprs, with_offset: false, with_ordinality: false, .. } =
                    &from.relation
                else {
                    return None;
                };
                let [array] = &array_exprs[..] else { return None };
                let column = match alias {
                    None => "unnest".into(),
                    Some(alias) => folded(alias.columns.first().map_or(&alias.name, |column| &column.name)),
                };
                let takes_it = match item {
                    SelectItem::Wildcard(_) => true,
                    SelectItem::UnnamedExpr(Expr::Identifier(name)) => folded(name) == column,
                    SelectItem::UnnamedExpr(Expr::CompoundIdentifier(names)) => {
                        names.len() == 2 && names.last().is_some_and(|name| folded(name) == column)
                    }
                    _ => false,
                };
                takes_it.then_some(array)?
            }
            _ => return None,
        };
        self.as_array(array).filter(|_| !is_users(&self.scope, "unnest"))
    }

    pub(super) fn any_of(&self, level: LevelId, left: &Expr, right: &Expr) -> Cond {
        if let Expr::Subquery(query) = unnest(right) {
            return self.member_of_query(level, left, query);
        }
        let Some((leaf, node)) = self.as_node(level, left) else { return Cond::True };
        match self.as_array(right) {
            Some(operand) => Cond::Equal { node, leaf, operand },
            None => Cond::True,
        }
    }

    fn as_array(&self, expr: &Expr) -> Option<Operand> {
        match expr {
            Expr::Nested(inner) => self.as_array(inner),
            Expr::Array(array) => {
                let members: Vec<&Expr> = array.elem.iter().collect();
                let values: Vec<Value> = members.iter().map(|e| self.as_value(e)).collect::<Option<_>>()?;
                has_one_type(&members, &values).then_some(Operand::List(values))
            }
            Expr::Cast { kind: CastKind::Cast | CastKind::DoubleColon, expr, data_type, format: None } => {
                let element = array_element(data_type)?;
                match self.as_array(expr)? {
                    Operand::Array(value) if value.cast.is_none() => {
                        Some(Operand::Array(Value { cast: Some(element), ..value }))
                    }
                    Operand::List(values) => {
                        let cast =
                            |value: Value| value.cast.is_none().then_some(Value { cast: Some(element), ..value });
                        Some(Operand::List(values.into_iter().map(cast).collect::<Option<_>>()?))
                    }
                    _ => None,
                }
            }
            Expr::Value(ValueWithSpan { value: Literal::Number(..) | Literal::Boolean(_), .. }) => None,
            Expr::Value(_) => Some(Operand::Array(self.as_value(expr)?)),
            _ => None,
        }
    }
}

/// The rows of a query that is one VALUES list, through parentheses.
fn value_rows(query: &Query) -> Option<Vec<&[Expr]>> {
    let mut body = &query.body;
    loop {
        match &**body {
            SetExpr::Values(values) => return Some(values.rows.iter().map(|row| &row.content[..]).collect()),
            SetExpr::Query(inner) => body = &inner.body,
            _ => return None,
        }
    }
}

/// Whether untyped members of a list are read as the column's type. Beside a fraction, a number beyond bigint or a member of a named type, Postgres reads
/// them as the type that all have in common (`k IN ('5.0', 2.5)` compares numerics).
fn has_one_type(members: &[&Expr], values: &[Value]) -> bool {
    let is_fraction = |expr: &Expr| match unnest(expr) {
        Expr::UnaryOp { expr, .. } => is_fractional(unnest(expr)),
        expr => is_fractional(expr),
    };
    let typed = members.iter().any(|member| is_fraction(member)) || values.iter().any(|value| value.cast.is_some());
    let untyped = |(member, value): (&&Expr, &Value)| {
        value.cast.is_none()
            && match unnest(member) {
                Expr::Value(literal) => !matches!(literal.value, Literal::Number(..) | Literal::Null),
                Expr::UnaryOp { .. } | Expr::BinaryOp { .. } => false,
                _ => true,
            }
    };
    !typed || !members.iter().zip(values).any(untyped)
}

fn is_fractional(expr: &Expr) -> bool {
    matches!(expr, Expr::Value(ValueWithSpan { value: Literal::Number(digits, _), .. })
        if !digits.bytes().all(|b| b.is_ascii_digit()) || !is_bigint(digits.as_bytes()))
}

/// The element type of an array type.
fn array_element(data_type: &DataType) -> Option<Oid> {
    use sqlparser::ast::ArrayElemTypeDef;
    match data_type {
        DataType::Array(ArrayElemTypeDef::SquareBracket(inner, _)) => type_oid(inner),
        _ => None,
    }
}

//! The type of an expression, where it follows from the catalog and from what every Postgres has built in. `None` is "not known".

use std::ops::ControlFlow;

use sqlparser::ast::{
    BinaryOperator, CaseWhen, DataType, Expr, Function, ObjectName, UnaryOperator, Value as Literal, Visit, Visitor,
};

use crate::ids::Oid;
use crate::sql::facts::{plain_args, type_oid, unnest};
use crate::sql::functions::{FunctionClass, builtin, classify, is_of_own_types, is_users};
use crate::sql::model::{ColumnType, LevelId, Model};
use crate::sql::names::parts;
use crate::types::{Collation, oid};

/// Type and collation of an expression in a level.
pub(crate) fn type_of(model: &Model<'_>, level: LevelId, expr: &Expr) -> Option<ColumnType> {
    let of = |expr: &Expr| type_of(model, level, expr);
    let plain = |oid: Oid| Some(ColumnType::plain(oid));
    match expr {
        Expr::Nested(inner) => of(inner),
        Expr::Identifier(name) => model.find_column(level, std::slice::from_ref(name))?.column.ty,
        Expr::CompoundIdentifier(names) => model.find_column(level, names)?.column.ty,
        Expr::Value(literal) => match &literal.value {
            Literal::Number(digits, _) => plain(number_type(digits)),
            Literal::Boolean(_) => plain(oid::BOOL),
            Literal::SingleQuotedString(_) | Literal::EscapedStringLiteral(_) | Literal::DollarQuotedString(_) => {
                Some(text(model))
            }
            _ => None,
        },
        Expr::TypedString(typed) => cast_to(model, &typed.data_type, None),
        Expr::Cast { expr, data_type, .. } => cast_to(model, data_type, of(expr)),
        Expr::Collate { expr, collation } => {
            let inner = of(expr)?;
            is_text(inner.oid).then_some(ColumnType { oid: inner.oid, collation: named_collation(model, collation)? })
        }
        Expr::UnaryOp { op: UnaryOperator::Minus | UnaryOperator::Plus, expr } => {
            of(expr).filter(|ty| is_number(ty.oid))
        }
        Expr::UnaryOp { op: UnaryOperator::Not, .. }
        | Expr::IsNull(_)
        | Expr::IsNotNull(_)
        | Expr::IsTrue(_)
        | Expr::IsNotTrue(_)
        | Expr::IsFalse(_)
        | Expr::IsNotFalse(_)
        | Expr::IsDistinctFrom(..)
        | Expr::IsNotDistinctFrom(..)
        | Expr::InList { .. }
        | Expr::InSubquery { .. }
        | Expr::Between { .. }
        | Expr::Like { .. }
        | Expr::ILike { .. }
        | Expr::Exists { .. } => plain(oid::BOOL),
        Expr::BinaryOp { left, op, right } => match op {
            BinaryOperator::And
            | BinaryOperator::Or
            | BinaryOperator::Eq
            | BinaryOperator::NotEq
            | BinaryOperator::Lt
            | BinaryOperator::LtEq
            | BinaryOperator::Gt
            | BinaryOperator::GtEq => plain(oid::BOOL),
            BinaryOperator::Plus
            | BinaryOperator::Minus
            | BinaryOperator::Multiply
            | BinaryOperator::Divide
            | BinaryOperator::Modulo => arithmetic(op, of(left)?, of(right)?),
            BinaryOperator::StringConcat => {
                let (left, right) = (of(left)?, of(right)?);
                let both = is_text(left.oid) && is_text(right.oid);
                both.then_some(ColumnType { oid: oid::TEXT, collation: joint(model, &[left, right])? })
            }
            _ => None,
        },
        Expr::Substring { expr, .. } | Expr::Trim { expr, .. } => {
            of(expr).filter(|ty| is_text(ty.oid)).map(|ty| ColumnType { oid: oid::TEXT, ..ty })
        }
        Expr::Position { .. } => plain(oid::INT4),
        Expr::Extract { .. } => plain(oid::NUMERIC),
        Expr::Ceil { expr, .. } | Expr::Floor { expr, .. } => of(expr).filter(|ty| ty.oid == oid::NUMERIC),
        Expr::Case { conditions, else_result, .. } => {
            let results = conditions.iter().map(|CaseWhen { result, .. }| result).chain(else_result.as_deref());
            common(model, &results.filter(|expr| !is_null(expr)).map(of).collect::<Option<Vec<_>>>()?)
        }
        Expr::Function(function) => function_type(model, level, function),
        _ => None,
    }
}

/// Whether a call could mean a function that users have made: not where each of theirs is for a type of theirs, and the first argument is a
/// column of another.
pub(crate) fn may_be_users(model: &Model<'_>, level: LevelId, function: &Function, name: &str) -> bool {
    /// `FirstNormalObjectId` (access/transam.h)
    const FIRST_USER_TYPE: Oid = 16384;
    if !is_users(&model.scope, name) {
        return false;
    }
    if !is_of_own_types(&model.scope, name) {
        return true;
    }
    let first = plain_args(function).and_then(|args| args.first().copied());
    // A bare text has no type yet; and calls within calls would be looked into twice at each.
    let known = first.filter(|expr| !matches!(unnest(expr), Expr::Value(_)) && !has_calls(expr));
    !known
        .and_then(|expr| type_of(model, level, expr))
        .is_some_and(|ty| ty.oid < FIRST_USER_TYPE && ty.oid != oid::RECORD)
}

fn has_calls(expr: &Expr) -> bool {
    struct Calls;
    impl Visitor for Calls {
        type Break = ();
        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            if let Expr::Function(_) = expr { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
    }
    expr.visit(&mut Calls).is_break()
}

/// The class of a call.
pub(crate) fn class_of(
    model: &Model<'_>,
    level: LevelId,
    function: &Function,
    schema: Option<&str>,
    name: &str,
) -> FunctionClass {
    match schema {
        None if is_users(&model.scope, name) && !may_be_users(model, level, function, name) => builtin(name),
        schema => classify(&model.scope, schema, name),
    }
}

/// What an aggregate or function call gives.
fn function_type(model: &Model<'_>, level: LevelId, function: &Function) -> Option<ColumnType> {
    let (schema, name) = parts(&function.name)?;
    if schema.as_deref().is_some_and(|schema| schema != "pg_catalog")
        || schema.is_none() && may_be_users(model, level, function, &name)
    {
        return None;
    }
    let args = plain_args(function);
    let arg = |i: usize| type_of(model, level, args.as_ref()?.get(i)?);
    let plain = |oid: Oid| Some(ColumnType::plain(oid));
    // An aggregate of a domain's values is one of those of its type.
    let base = |ty: ColumnType| ColumnType { oid: model.scope.catalog.base_of(ty.oid), ..ty };
    match &*name {
        "count" | "row_number" | "rank" | "dense_rank" | "regr_count" => plain(oid::INT8),
        "sum" => match base(arg(0)?).oid {
            oid::INT2 | oid::INT4 => plain(oid::INT8),
            oid::INT8 | oid::NUMERIC => plain(oid::NUMERIC),
            _ => None,
        },
        "avg" => match base(arg(0)?).oid {
            oid::INT2 | oid::INT4 | oid::INT8 | oid::NUMERIC => plain(oid::NUMERIC),
            _ => None,
        },
        "min" | "max" | "first_value" | "last_value" => {
            // Of varchar there is no min: it is text's.
            let ty = arg(0)?;
            let ty = if matches!(&*name, "min" | "max") { base(ty) } else { ty };
            Some(if ty.oid == oid::VARCHAR { ColumnType { oid: oid::TEXT, ..ty } } else { ty })
        }
        "bit_and" | "bit_or" | "bit_xor" => arg(0).filter(|ty| matches!(ty.oid, oid::INT2 | oid::INT4 | oid::INT8)),
        "bool_and" | "bool_or" | "every" | "starts_with" | "regexp_like" => plain(oid::BOOL),
        "lower" | "upper" | "initcap" | "btrim" | "ltrim" | "rtrim" | "substr" | "left" | "right" | "replace"
        | "lpad" | "rpad" | "split_part" | "repeat" | "reverse" | "translate" | "regexp_replace" => {
            let ty = arg(0)?;
            is_text(ty.oid).then_some(ColumnType { oid: oid::TEXT, collation: ty.collation })
        }
        "md5" | "concat" | "concat_ws" | "format" | "to_char" | "string_agg" => {
            let types = args.as_ref()?.iter().map(|arg| type_of(model, level, arg)).collect::<Option<Vec<_>>>()?;
            Some(ColumnType { oid: oid::TEXT, collation: joint(model, &types)? })
        }
        "length" | "char_length" | "character_length" | "octet_length" | "bit_length" | "strpos" | "ascii"
        | "cardinality" => plain(oid::INT4),
        "abs" => arg(0).filter(|ty| is_number(ty.oid)),
        "round" | "trunc" | "ceil" | "ceiling" | "floor" => arg(0).filter(|ty| ty.oid == oid::NUMERIC),
        "mod" => arithmetic(&BinaryOperator::Modulo, arg(0)?, arg(1)?),
        "date" | "make_date" | "to_date" => plain(oid::DATE),
        "pg_typeof" => plain(oid::REGTYPE),
        "date_part" => plain(oid::FLOAT8),
        "date_trunc" => match (arg(1)?.oid, args.as_ref()?.len()) {
            (oid::TIMESTAMP, 2) => plain(oid::TIMESTAMP),
            (oid::TIMESTAMPTZ | oid::DATE, _) => plain(oid::TIMESTAMPTZ),
            _ => None,
        },
        "to_timestamp" | "make_timestamptz" => plain(oid::TIMESTAMPTZ),
        "coalesce" | "greatest" | "least" => {
            let args = args?;
            let types = args.iter().filter(|arg| !is_null(arg)).map(|arg| type_of(model, level, arg));
            common(model, &types.collect::<Option<Vec<_>>>()?)
        }
        // Also in FROM and in the select list: one value a row.
        "nullif" | "generate_series" => arg(0),
        _ => None,
    }
}

fn cast_to(model: &Model<'_>, data_type: &DataType, from: Option<ColumnType>) -> Option<ColumnType> {
    let oid = type_oid(data_type).or(match data_type {
        // Length and precision change values, not order or equality.
        DataType::Varchar(_) | DataType::CharacterVarying(_) => Some(oid::VARCHAR),
        DataType::Numeric(_) | DataType::Decimal(_) => Some(oid::NUMERIC),
        _ => None,
    })?;
    if !is_text(oid) {
        return Some(ColumnType::plain(oid));
    }
    let collation = match from {
        Some(from) if is_text(from.oid) => from.collation,
        _ => text(model).collation,
    };
    Some(ColumnType { oid, collation })
}

fn arithmetic(op: &BinaryOperator, left: ColumnType, right: ColumnType) -> Option<ColumnType> {
    let rank = |oid: Oid| match oid {
        oid::INT2 => Some(0),
        oid::INT4 => Some(1),
        oid::INT8 => Some(2),
        oid::NUMERIC => Some(3),
        _ => None,
    };
    match (rank(left.oid), rank(right.oid)) {
        (Some(l), Some(r)) => Some(if l >= r { left } else { right }),
        _ => match (op, left.oid, right.oid) {
            (BinaryOperator::Minus, oid::DATE, oid::DATE) => Some(ColumnType::plain(oid::INT4)),
            (BinaryOperator::Minus | BinaryOperator::Plus, oid::DATE, oid::INT2 | oid::INT4) => Some(left),
            _ => None,
        },
    }
}

/// The one type that all have, as COALESCE and CASE give it; different ones are not modelled.
fn common(model: &Model<'_>, types: &[ColumnType]) -> Option<ColumnType> {
    let first = types.first()?;
    if !types.iter().all(|ty| ty.oid == first.oid) {
        return None;
    }
    if !is_text(first.oid) {
        return Some(*first);
    }
    Some(ColumnType { oid: first.oid, collation: joint(model, types)? })
}

/// The collation of an expression over several: the only one that is not the default.
fn joint(model: &Model<'_>, types: &[ColumnType]) -> Option<Collation> {
    let default = text(model).collation;
    let mut found = default;
    for ty in types.iter().filter(|ty| is_text(ty.oid)) {
        if ty.collation != default {
            if found != default && found != ty.collation {
                return None;
            }
            found = ty.collation;
        }
    }
    Some(found)
}

fn named_collation(model: &Model<'_>, name: &ObjectName) -> Option<Collation> {
    let (schema, name) = parts(name)?;
    if schema.is_some_and(|schema| schema != "pg_catalog") {
        return None;
    }
    match &*name {
        "C" | "POSIX" | "ucs_basic" => Some(Collation::Bytes),
        "default" => Some(text(model).collation),
        _ => None,
    }
}

/// `text` with the database's collation.
fn text(model: &Model<'_>) -> ColumnType {
    ColumnType::new(oid::TEXT, model.scope.catalog.default_collation)
}

pub(crate) fn is_text(oid: Oid) -> bool {
    matches!(oid, oid::TEXT | oid::VARCHAR | oid::BPCHAR | oid::NAME)
}

pub(crate) fn is_number(oid: Oid) -> bool {
    matches!(oid, oid::INT2 | oid::INT4 | oid::INT8 | oid::NUMERIC)
}

fn is_null(expr: &Expr) -> bool {
    matches!(expr, Expr::Value(value) if value.value == Literal::Null)
}

/// The type of a number literal: the smallest of integer, bigint, numeric that holds it.
pub(crate) fn number_type(digits: &str) -> Oid {
    match digits.parse::<i64>() {
        Ok(value) if i32::try_from(value).is_ok() => oid::INT4,
        Ok(_) => oid::INT8,
        Err(_) => oid::NUMERIC,
    }
}

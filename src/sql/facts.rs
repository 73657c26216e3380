//! Conditions of WHERE and JOIN ... ON -> facts about columns. What is not understood says nothing.

use sqlparser::ast::{
    BinaryOperator, CastKind, DataType, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, Query,
    SetExpr, UnaryOperator, Value as Literal, ValueWithSpan,
};

use crate::ids::Oid;
use crate::sql::keys::{Operand, Source};
use crate::sql::model::{Column, Cond, Fact, LeafId, LevelId, Model, NodeId};
use crate::sql::names::{fold, folded};
use crate::types::{KeyType, oid};

/// A column as a name in some level found it.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// The leaf of the level where the name was found.
    pub leaf: LeafId,
    pub column: Column,
}

impl Model<'_> {
    /// The column that a name means in a level; `None` where that is not certain.
    pub fn find_column(&self, level: LevelId, idents: &[Ident]) -> Option<Found> {
        match idents {
            [name] => self.find_unqualified(level, &folded(name)),
            [table, name] => self.find_qualified(level, None, &folded(table), &folded(name)),
            [schema, table, name] => self.find_qualified(level, Some(&folded(schema)), &folded(table), &folded(name)),
            _ => None,
        }
    }

    fn find_unqualified(&self, level: LevelId, name: &str) -> Option<Found> {
        let mut at = Some(level);
        while let Some(id) = at {
            let level = &self.levels[id];
            if level.unknown_merge {
                return None;
            }
            if let Some(merged) = level.merged.iter().find(|m| &*m.name == name) {
                let (leaf, column) = merged.stands_for.clone()?;
                return Some(Found { leaf, column });
            }
            let mut matches = level.leaves.iter().flat_map(|leaf| {
                self.leaves[*leaf].columns.list.iter().filter(|c| &*c.name == name).map(move |c| (*leaf, c))
            });
            if let Some((leaf, column)) = matches.next() {
                // Two of the name: Postgres calls it ambiguous.
                return matches.next().is_none().then(|| Found { leaf, column: column.clone() });
            }
            if level.leaves.iter().any(|leaf| !self.leaves[*leaf].columns.complete) {
                return None;
            }
            at = level.outer;
        }
        None
    }

    fn find_qualified(&self, level: LevelId, schema: Option<&str>, table: &str, name: &str) -> Option<Found> {
        let leaf = self.leaf_called(level, schema, table)?;
        let mut columns = self.leaves[leaf].columns.list.iter().filter(|c| &*c.name == name);
        let column = columns.next()?;
        columns.next().is_none().then(|| Found { leaf, column: column.clone() })
    }

    /// The FROM item that a name means before a column's; `None` where that is not certain.
    pub fn find_leaf(&self, level: LevelId, qualifier: &[Ident]) -> Option<LeafId> {
        match qualifier {
            [table] => self.leaf_called(level, None, &folded(table)),
            [schema, table] => self.leaf_called(level, Some(&folded(schema)), &folded(table)),
            _ => None,
        }
    }

    fn leaf_called(&self, level: LevelId, schema: Option<&str>, table: &str) -> Option<LeafId> {
        let mut at = Some(level);
        while let Some(id) = at {
            let mut named = self.leaves_called(id, table).iter().copied().filter(|leaf| {
                let leaf = &self.leaves[*leaf];
                &*leaf.name == table && schema.is_none_or(|schema| leaf.schema.as_deref() == Some(schema))
            });
            if let Some(leaf) = named.next() {
                return named.next().is_none().then_some(leaf);
            }
            at = self.levels[id].outer;
        }
        None
    }

    /// The column that an expression is, through parentheses and casts that keep its values' canonical form.
    pub fn as_column(&self, level: LevelId, expr: &Expr) -> Option<Found> {
        match expr {
            Expr::Identifier(name) => self.find_column(level, std::slice::from_ref(name)),
            Expr::CompoundIdentifier(names) => self.find_column(level, names),
            Expr::Nested(inner) => self.as_column(level, inner),
            Expr::Cast { kind: CastKind::Cast | CastKind::DoubleColon, expr, data_type, format: None } => {
                let found = self.as_column(level, expr)?;
                let from = found.column.ty?.oid;
                let to = type_oid(data_type)?;
                let harmless = match (from, to) {
                    (oid::INT2, oid::INT2 | oid::INT4 | oid::INT8) => true,
                    (oid::INT4, oid::INT4 | oid::INT8) => true,
                    (oid::TEXT | oid::VARCHAR, oid::TEXT | oid::VARCHAR) => true,
                    (from, to) => from == to,
                };
                harmless.then_some(found)
            }
            _ => None,
        }
    }

    /// The node of an expression that is a column with one, of a type that can be a key.
    pub(super) fn as_node(&self, level: LevelId, expr: &Expr) -> Option<(LeafId, NodeId)> {
        let found = self.as_column(level, expr)?;
        let node = found.column.node?;
        // Under a nondeterministic collation equal texts can differ in their bytes.
        self.nodes[node].ty.collation.equality_is_bytes().then_some((found.leaf, node))
    }

    /// Notes what `condition` says of the rows of `leaves` that matter.
    pub fn add_condition(&mut self, level: LevelId, condition: &Expr, leaves: &[LeafId]) {
        for part in conjuncts(condition) {
            if let Expr::BinaryOp { left, op: BinaryOperator::Eq, right } = unnest(part) {
                self.add_equalities(level, left, right, leaves);
            }
            if let Expr::InSubquery { expr, subquery, negated: false } = unnest(part) {
                self.add_membership(level, expr, subquery, leaves);
            }
            match self.condition(level, part) {
                Cond::True => {}
                cond => self.facts.push(Fact { cond, leaves: leaves.to_vec() }),
            }
        }
    }

    fn add_equalities(&mut self, level: LevelId, left: &Expr, right: &Expr, leaves: &[LeafId]) {
        if let (Some(a), Some(b)) = (self.as_node(level, left), self.as_node(level, right)) {
            self.add_equality(a, b, leaves);
        }
        if let (Some(left), Some(right)) = (row(left), row(right))
            && left.len() == right.len()
        {
            for (left, right) in left.into_iter().zip(right).filter(|(left, _)| row(left).is_none()) {
                self.add_equalities(level, left, right, leaves);
            }
        }
    }

    /// `expr IN (SELECT column ...)`: the column's rows matter only where they equal `expr`, and the other way round.
    fn add_membership(&mut self, level: LevelId, expr: &Expr, subquery: &Query, leaves: &[LeafId]) {
        let Some(inner) = self.subquery_columns.get(&std::ptr::from_ref(subquery)).cloned() else { return };
        let exprs = row(expr).unwrap_or_else(|| vec![expr]);
        if exprs.len() != inner.len() {
            return;
        }
        for (expr, column) in exprs.into_iter().zip(inner) {
            if let (Some(outer), Some((leaf, node))) = (self.as_node(level, expr), column) {
                let mut both = leaves.to_vec();
                both.push(leaf);
                self.add_equality(outer, (leaf, node), &both);
            }
        }
    }

    fn condition(&self, level: LevelId, expr: &Expr) -> Cond {
        // `int = text` can be an operator of a user's, and is no comparison of keys then.
        if self.scope.catalog.customs.compare() {
            return Cond::True;
        }
        match unnest(expr) {
            Expr::BinaryOp { op: BinaryOperator::And, .. } => {
                Cond::All(conjuncts(expr).into_iter().map(|part| self.condition(level, part)).collect())
            }
            Expr::BinaryOp { op: BinaryOperator::Or, .. } => {
                Cond::Either(disjuncts(expr).into_iter().map(|part| self.condition(level, part)).collect())
            }
            Expr::BinaryOp { left, op: BinaryOperator::Eq, right } => self.equality(level, left, right),
            Expr::BinaryOp { left, op: BinaryOperator::PGCustomBinaryOperator(name), right } => {
                // It binds as other operators do, the parser thinks otherwise: only where nothing else could be its operand.
                let alone = |side: &Expr| !matches!(side, Expr::BinaryOp { .. } | Expr::UnaryOp { .. });
                let equals = matches!(&name[..], [schema, operator] if schema == "pg_catalog" && operator == "=");
                if equals && alone(left) && alone(right) { self.equality(level, left, right) } else { Cond::True }
            }
            Expr::BinaryOp { left, op, right } => self.inequality(level, left, op, right),
            Expr::Between { expr, negated: false, low, high } => self.between(level, expr, low, high),
            Expr::InList { expr, list, negated: false } => {
                self.member_of(level, expr, &list.iter().collect::<Vec<_>>())
            }
            Expr::InSubquery { expr, subquery, negated: false } => self.member_of_query(level, expr, subquery),
            Expr::AnyOp { left, compare_op: BinaryOperator::Eq, right, .. } => self.any_of(level, left, right),
            Expr::IsNotDistinctFrom(left, right) => self.same(level, left, right),
            Expr::IsTrue(inner) => self.condition(level, inner),
            Expr::UnaryOp { op: UnaryOperator::Not, expr } => self.negated(level, expr),
            Expr::Value(ValueWithSpan { value: Literal::Boolean(false), .. }) => Cond::False,
            _ => Cond::True,
        }
    }

    /// What holds where the condition is false: where it is null, its negation is not true either.
    fn negated(&self, level: LevelId, expr: &Expr) -> Cond {
        match unnest(expr) {
            Expr::UnaryOp { op: UnaryOperator::Not, expr } => self.condition(level, expr),
            Expr::BinaryOp { op: BinaryOperator::And, .. } => {
                Cond::Either(conjuncts(expr).into_iter().map(|part| self.negated(level, part)).collect())
            }
            Expr::BinaryOp { op: BinaryOperator::Or, .. } => {
                Cond::All(disjuncts(expr).into_iter().map(|part| self.negated(level, part)).collect())
            }
            Expr::BinaryOp { left, op: BinaryOperator::NotEq, right } => self.equality(level, left, right),
            Expr::BinaryOp { left, op, right } => match op {
                BinaryOperator::Gt => self.inequality(level, left, &BinaryOperator::LtEq, right),
                BinaryOperator::GtEq => self.inequality(level, left, &BinaryOperator::Lt, right),
                BinaryOperator::Lt => self.inequality(level, left, &BinaryOperator::GtEq, right),
                BinaryOperator::LtEq => self.inequality(level, left, &BinaryOperator::Gt, right),
                _ => Cond::True,
            },
            Expr::InList { expr, list, negated: true } => self.member_of(level, expr, &list.iter().collect::<Vec<_>>()),
            Expr::InSubquery { expr, subquery, negated: true } => self.member_of_query(level, expr, subquery),
            Expr::IsDistinctFrom(left, right) => self.same(level, left, right),
            // BETWEEN says nothing here: BETWEEN SYMMETRIC is read as its negation (see `spelling::looser`).
            _ => Cond::True,
        }
    }

    /// IS NOT DISTINCT FROM: two nulls are the same.
    fn same(&self, level: LevelId, left: &Expr, right: &Expr) -> Cond {
        match self.equality(level, left, right) {
            Cond::Equal { node, leaf, operand: Operand::One(value) } => match value.source {
                Source::Null => Cond::True,
                Source::Parameter { .. } | Source::Computed(_) => {
                    Cond::Equal { node, leaf, operand: Operand::OneOrNull(value) }
                }
                Source::Slot { .. } | Source::Text(_) | Source::Number { .. } | Source::Bool(_) => {
                    Cond::Equal { node, leaf, operand: Operand::One(value) }
                }
            },
            // Of rows each member would have to be looked at.
            _ => Cond::True,
        }
    }

    pub(super) fn equality(&self, level: LevelId, left: &Expr, right: &Expr) -> Cond {
        if let (Some(left), Some(right)) = (row(left), row(right)) {
            if left.len() != right.len() {
                return Cond::True;
            }
            // Rows within rows are compared as values, in which one NULL equals another.
            let members = left.iter().zip(right).filter(|(left, _)| row(left).is_none());
            return Cond::All(members.map(|(l, r)| self.equality(level, l, r)).collect());
        }
        for (column, value) in [(left, right), (right, left)] {
            if let Some((leaf, node)) = self.as_node(level, column)
                && let Some(value) = self.as_value(value).or_else(|| self.selected_value(value))
            {
                return Cond::Equal { node, leaf, operand: Operand::One(value) };
            }
        }
        Cond::True
    }

    fn inequality(&self, level: LevelId, left: &Expr, op: &BinaryOperator, right: &Expr) -> Cond {
        let (low, inclusive) = match op {
            BinaryOperator::Gt => (true, false),
            BinaryOperator::GtEq => (true, true),
            BinaryOperator::Lt => (false, false),
            BinaryOperator::LtEq => (false, true),
            _ => return Cond::True,
        };
        for (column, value, low) in [(left, right, low), (right, left, !low)] {
            if let Some((leaf, node)) = self.as_node(level, column)
                && let Some(value) = self.as_value(value)
            {
                let bound = Some((value, inclusive));
                let (low, high) = if low { (bound, None) } else { (None, bound) };
                return self.ordered(Cond::Between { node, leaf, low, high });
            }
        }
        Cond::True
    }

    fn between(&self, level: LevelId, expr: &Expr, low: &Expr, high: &Expr) -> Cond {
        let Some((leaf, node)) = self.as_node(level, expr) else { return Cond::True };
        let low = self.as_value(low).map(|value| (value, true));
        let high = self.as_value(high).map(|value| (value, true));
        if low.is_none() && high.is_none() {
            return Cond::True;
        }
        self.ordered(Cond::Between { node, leaf, low, high })
    }

    /// A range means something only where the column's order is that of canonical values.
    fn ordered(&self, cond: Cond) -> Cond {
        match cond {
            Cond::Between { node, .. } if !self.nodes[node].ty.collation.order_is_bytes() => Cond::True,
            cond => cond,
        }
    }
}

/// `$n` as n - 1.
pub(crate) fn parameter_index(name: &str) -> Option<u16> {
    name.strip_prefix('$')?.parse::<u16>().ok()?.checked_sub(1)
}

/// The expression inside its parentheses.
pub(crate) fn unnest(expr: &Expr) -> &Expr {
    let mut expr = expr;
    while let Expr::Nested(inner) = expr {
        expr = inner;
    }
    expr
}

pub(crate) fn is_comparison(op: &BinaryOperator) -> bool {
    use BinaryOperator::{Eq, Gt, GtEq, Lt, LtEq, NotEq};
    matches!(op, Eq | NotEq | Lt | LtEq | Gt | GtEq)
}

/// The parts that must all be true.
pub(crate) fn conjuncts(expr: &Expr) -> Vec<&Expr> {
    chain(expr, &BinaryOperator::And)
}

pub(crate) fn disjuncts(expr: &Expr) -> Vec<&Expr> {
    chain(expr, &BinaryOperator::Or)
}

/// The operands of a chain of one operator, without recursion along its left side.
fn chain<'a>(expr: &'a Expr, operator: &BinaryOperator) -> Vec<&'a Expr> {
    let mut parts = Vec::new();
    let mut open = vec![expr];
    while let Some(next) = open.pop() {
        match unnest(next) {
            Expr::BinaryOp { left, op, right } if op == operator => {
                open.push(right);
                open.push(left);
            }
            other => parts.push(other),
        }
    }
    parts
}

/// The members of `(a, b)` and `ROW(a, b)`.
pub(crate) fn row(expr: &Expr) -> Option<Vec<&Expr>> {
    match expr {
        Expr::Tuple(members) => Some(members.iter().collect()),
        Expr::Nested(inner) => row(inner),
        Expr::Function(function) if is_row(function) => plain_args(function),
        _ => None,
    }
}

/// Whether it is no call, but ROW: without quotes the word has no other meaning.
pub(crate) fn is_row(function: &Function) -> bool {
    let plain = function.over.is_none() && function.filter.is_none() && function.within_group.is_empty();
    let [part] = &function.name.0[..] else { return false };
    plain && part.as_ident().is_some_and(|name| name.quote_style.is_none() && name.value.eq_ignore_ascii_case("row"))
}

/// The type by which a cast converts, where the conversion keeps the value (no length, no precision).
pub(crate) fn type_oid(data_type: &DataType) -> Option<Oid> {
    Some(match data_type {
        DataType::SmallInt(None) | DataType::Int2(None) => oid::INT2,
        DataType::Int(None) | DataType::Integer(None) | DataType::Int4(None) => oid::INT4,
        DataType::BigInt(None) | DataType::Int8(None) => oid::INT8,
        DataType::Text => oid::TEXT,
        DataType::Varchar(None) | DataType::CharacterVarying(None) => oid::VARCHAR,
        DataType::Uuid => oid::UUID,
        DataType::Date => oid::DATE,
        DataType::Timestamp(None, zone) => match zone {
            sqlparser::ast::TimezoneInfo::None | sqlparser::ast::TimezoneInfo::WithoutTimeZone => oid::TIMESTAMP,
            sqlparser::ast::TimezoneInfo::WithTimeZone | sqlparser::ast::TimezoneInfo::Tz => oid::TIMESTAMPTZ,
        },
        DataType::Numeric(sqlparser::ast::ExactNumberInfo::None)
        | DataType::Decimal(sqlparser::ast::ExactNumberInfo::None) => oid::NUMERIC,
        DataType::Bytea => oid::BYTEA,
        DataType::Bool | DataType::Boolean => oid::BOOL,
        DataType::Regclass => oid::REGCLASS,
        DataType::Real | DataType::Float4 => oid::FLOAT4,
        DataType::DoublePrecision | DataType::Float8 => oid::FLOAT8,
        DataType::Custom(name, modifiers) if modifiers.is_empty() => {
            let (schema, name) = crate::sql::names::parts(name)?;
            if schema.is_some_and(|schema| schema != "pg_catalog") {
                return None;
            }
            match &*fold(&name, true) {
                "bpchar" => oid::BPCHAR,
                "inet" => oid::INET,
                "oid" => oid::OID,
                "name" => oid::NAME,
                reg if let Some(of) = oid::of_name_of_catalog(reg) => of,
                other => KeyType::from_name(other).filter(|t| *t != KeyType::Bpchar)?.oid(),
            }
        }
        _ => return None,
    })
}

/// The plain arguments of a call; `None` where there are others.
pub(crate) fn plain_args(function: &Function) -> Option<Vec<&Expr>> {
    match &function.args {
        FunctionArguments::List(list) => list
            .args
            .iter()
            .map(|arg| match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
                _ => None,
            })
            .collect(),
        FunctionArguments::None => Some(Vec::new()),
        FunctionArguments::Subquery(_) => None,
    }
}

/// The body of a query that is one SELECT, through parentheses.
pub(crate) fn as_select(query: &Query) -> Option<&sqlparser::ast::Select> {
    let mut body = &query.body;
    loop {
        match &**body {
            SetExpr::Select(select) => return Some(select),
            SetExpr::Query(inner)
                if inner.with.is_none()
                    && inner.order_by.is_none()
                    && inner.limit_clause.is_none()
                    && inner.fetch.is_none()
                    && inner.locks.is_empty() =>
            {
                body = &inner.body;
            }
            _ => return None,
        }
    }
}

//! Conditions that a pull can check already on the shards: those on one table alone, by functions whose answer is the same
//! everywhere. The finishing statement checks them again, so leaving one out costs rows and nothing else.

use std::ops::ControlFlow;

use sqlparser::ast::{
    BinaryOperator, CastKind, DataType, Expr, Function, FunctionArguments, Ident, TimezoneInfo, UnaryOperator,
    Value as Literal, VisitMut, VisitorMut,
};

use crate::sql::carried::carried;
use crate::sql::facts::plain_args;
use crate::sql::functions::{FunctionClass, classify};
use crate::sql::model::{LeafId, LevelId, Model};
use crate::sql::names::parts;
use crate::sql::numbered::names_of_catalog;
use crate::sql::outcome::{STATEMENT_MOMENT, TRANSACTION_MOMENT};
use crate::sql::pieces::{Pieces, make_holes, parameter_hole};
use crate::sql::template::says_moment;

/// The conditions on the leaf of a table, with its columns under the names that the table gives them.
pub(crate) fn filters(model: &Model<'_>, table: Scanned<'_>) -> Vec<Pieces> {
    let Some(collected) = &model.collected else { return Vec::new() };
    // A shard has other numbers than the one that finishes the statement.
    if model.uses.numbering.hangs_on_server() {
        return Vec::new();
    }
    let level = model.leaves[table.leaf].level;
    let of_leaf = collected.filters.iter().filter(|f| f.leaves.contains(&table.leaf) && f.level == level);
    let carried = carried(model, table.leaf);
    let mut all: Vec<Pieces> = Vec::new();
    for expr in of_leaf.map(|filter| &filter.expr).chain(&carried).filter(|expr| !model.waits(level, *expr)) {
        let found = print_over(model, &[table], level, expr);
        all.extend(found.filter(|pieces| !all.contains(pieces)));
    }
    all
}

/// A table of the shards that a printed expression can read.
#[derive(Clone, Copy)]
pub(crate) struct Scanned<'a> {
    pub leaf: LeafId,
    /// What the table itself calls its columns.
    pub columns: &'a [&'a str],
    /// What its columns are qualified by, not quoted; `None`: by nothing.
    pub qualifier: Option<&'a str>,
}

/// An expression of a level as the shards can answer it over one leaf's table, in parentheses; `None`: they cannot.
pub(crate) fn print_pushed(
    model: &Model<'_>,
    leaf: LeafId,
    level: LevelId,
    expr: &Expr,
    columns: &[&str],
) -> Option<Pieces> {
    if model.waits(level, expr) {
        return None;
    }
    print_over(model, &[Scanned { leaf, columns, qualifier: None }], level, expr)
}

/// The same over several tables, each of which it names.
pub(crate) fn print_over(model: &Model<'_>, tables: &[Scanned<'_>], level: LevelId, expr: &Expr) -> Option<Pieces> {
    let mut of = Pushdown { model, tables, level, named: Vec::new() };
    // Without a column it is another thing: a constant in ORDER BY names a column.
    if !of.can_push(expr) || !tables.iter().all(|table| of.named.contains(&table.leaf)) {
        return None;
    }
    let mut expr = expr.clone();
    let mut names = Names { model, tables, level };
    if expr.visit(&mut names).is_break() {
        return None;
    }
    make_holes(&mut expr, &model.literals, true);
    Pieces::of(&format!("({expr})"))
}

/// Whether the shards can answer an expression over the tables of a level.
pub(crate) fn can_ask(model: &Model<'_>, level: LevelId, expr: &Expr) -> bool {
    let leaves = &model.levels[level].leaves;
    let names = |leaf: &LeafId| model.leaves[*leaf].columns.list.iter().map(|column| &*column.name).collect();
    let columns: Vec<Vec<&str>> = leaves.iter().map(names).collect();
    let scanned = |(leaf, columns)| Scanned { leaf, columns, qualifier: None };
    let tables: Vec<Scanned<'_>> = leaves.iter().copied().zip(columns.iter().map(Vec::as_slice)).map(scanned).collect();
    Pushdown { model, tables: &tables, level, named: Vec::new() }.can_push(expr)
}

struct Pushdown<'m, 's> {
    model: &'m Model<'s>,
    tables: &'m [Scanned<'m>],
    level: usize,
    /// The leaves whose columns the expression names.
    named: Vec<LeafId>,
}

impl Pushdown<'_, '_> {
    fn all<'e>(&mut self, exprs: impl IntoIterator<Item = &'e Expr>) -> bool {
        exprs.into_iter().all(|expr| self.can_push(expr))
    }

    /// Whether the shards' answer to this is one Postgres's answer.
    fn can_push(&mut self, expr: &Expr) -> bool {
        match expr {
            Expr::Identifier(name) => self.column(std::slice::from_ref(name)),
            Expr::CompoundIdentifier(names) => self.column(names),
            // What a literal of the client says is looked at when the call is planned.
            Expr::Value(value) if self.model.literals.slot(value).is_some() => true,
            Expr::Value(value) => match &value.value {
                Literal::SingleQuotedString(text) | Literal::EscapedStringLiteral(text) => !reads_clock(text),
                Literal::DollarQuotedString(text) => !reads_clock(&text.value),
                Literal::Number(..) | Literal::Boolean(_) | Literal::Null | Literal::Placeholder(_) => true,
                _ => false,
            },
            Expr::TypedString(typed) => {
                let known = self.model.literals.slot(&typed.value).is_some();
                is_plain_type(&typed.data_type) && (known || !reads_clock(&typed.value.to_string()))
            }
            Expr::Interval(interval) => self.can_push(&interval.value),
            Expr::Nested(inner)
            | Expr::IsFalse(inner)
            | Expr::IsNotFalse(inner)
            | Expr::IsTrue(inner)
            | Expr::IsNotTrue(inner)
            | Expr::IsNull(inner)
            | Expr::IsNotNull(inner)
            | Expr::IsUnknown(inner)
            | Expr::IsNotUnknown(inner)
            | Expr::Collate { expr: inner, .. }
            | Expr::Extract { expr: inner, .. } => self.can_push(inner),
            Expr::UnaryOp { op: UnaryOperator::Plus | UnaryOperator::Minus | UnaryOperator::Not, expr } => {
                self.can_push(expr)
            }
            Expr::BinaryOp { left, op, right } => is_plain(op) && self.all([&**left, &**right]),
            Expr::IsDistinctFrom(a, b) | Expr::IsNotDistinctFrom(a, b) => self.all([&**a, &**b]),
            Expr::InList { expr, list, .. } => self.can_push(expr) && self.all(list),
            Expr::Between { expr, low, high, .. } => self.all([&**expr, &**low, &**high]),
            Expr::Like { any: false, expr, pattern, escape_char: None, .. }
            | Expr::ILike { any: false, expr, pattern, escape_char: None, .. } => self.all([&**expr, &**pattern]),
            Expr::AnyOp { left, right, compare_op, .. } | Expr::AllOp { left, right, compare_op, .. } => {
                is_plain(compare_op) && self.all([&**left, &**right])
            }
            Expr::Cast { expr, data_type, format: None, kind: CastKind::Cast | CastKind::DoubleColon } => {
                is_plain_type(data_type) && self.can_push(expr)
            }
            Expr::Tuple(members) => self.all(members),
            Expr::Array(array) => self.all(&array.elem),
            Expr::Case { operand, conditions, else_result, .. } => {
                self.all(operand.as_deref())
                    && conditions.iter().all(|when| self.all([&when.condition, &when.result]))
                    && self.all(else_result.as_deref())
            }
            Expr::Function(function) => self.function(function),
            _ => false,
        }
    }

    fn column(&mut self, names: &[Ident]) -> bool {
        let found = column_of(self.model, self.level, self.tables, names);
        self.named.extend(found.map(|(table, _)| table.leaf));
        found.is_some()
    }

    fn function(&mut self, function: &Function) -> bool {
        let plain = function.over.is_none()
            && function.filter.is_none()
            && function.within_group.is_empty()
            && matches!(function.parameters, FunctionArguments::None);
        let Some((schema, name)) = parts(&function.name) else { return false };
        let pure = match classify(&self.model.scope, schema.as_deref(), &name) {
            FunctionClass::Pure => true,
            FunctionClass::Clock => {
                return plain
                    && moment_of(function, &name).is_some()
                    && !self.model.parameters.contains_key(&STATEMENT_MOMENT);
            }
            _ => false,
        };
        plain && pure && plain_args(function).is_some_and(|args| self.all(args))
    }
}

/// The column that a name means, if it is one of these tables' own: its table, and what that calls it.
fn column_of<'a>(
    model: &Model<'_>,
    level: LevelId,
    tables: &[Scanned<'a>],
    names: &[Ident],
) -> Option<(Scanned<'a>, &'a str)> {
    // What USING merged can be of another type than the column.
    if let [name] = names
        && model.levels[level].merged.iter().any(|merged| *merged.name == *crate::sql::names::folded(name))
    {
        return None;
    }
    let found = model.find_column(level, names)?;
    let table = tables.iter().find(|table| table.leaf == found.leaf)?;
    let node = found.column.node?;
    let at = model.leaves[table.leaf].columns.list.iter().position(|column| column.node == Some(node))?;
    Some((*table, *table.columns.get(at)?))
}

/// Gives columns the names of the tables, whatever the statement calls them.
struct Names<'m, 's> {
    model: &'m Model<'s>,
    tables: &'m [Scanned<'m>],
    level: LevelId,
}

impl VisitorMut for Names<'_, '_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        let names = match expr {
            Expr::Identifier(name) => std::slice::from_ref(name),
            Expr::CompoundIdentifier(names) => names,
            Expr::Function(function) => {
                let class = |(schema, name): &(Option<String>, String)| {
                    classify(&self.model.scope, schema.as_deref(), name) == FunctionClass::Clock
                };
                if let Some((_, name)) = parts(&function.name).filter(class)
                    && let Some(moment) = moment_of(function, &name)
                {
                    *expr = moment;
                }
                return ControlFlow::Continue(());
            }
            _ => return ControlFlow::Continue(()),
        };
        let Some((table, name)) = column_of(self.model, self.level, self.tables, names) else {
            return ControlFlow::Break(());
        };
        let name = Ident::with_quote('"', name);
        *expr = match table.qualifier {
            Some(qualifier) => Expr::CompoundIdentifier(vec![Ident::with_quote('"', qualifier), name]),
            None => Expr::Identifier(name),
        };
        ControlFlow::Continue(())
    }
}

/// What stands for a call of a function that reads the clock: a parameter that brings the statement's moment, as the function's type.
fn moment_of(function: &Function, name: &str) -> Option<Expr> {
    let bare = match &function.args {
        FunctionArguments::None => true,
        FunctionArguments::List(list) => list.args.is_empty(),
        FunctionArguments::Subquery(_) => false,
    };
    let data_type = match name {
        "now" | "current_timestamp" | "transaction_timestamp" | "statement_timestamp" => None,
        "current_date" => Some(DataType::Date),
        "current_time" => Some(DataType::Time(None, TimezoneInfo::Tz)),
        "localtime" => Some(DataType::Time(None, TimezoneInfo::None)),
        "localtimestamp" => Some(DataType::Timestamp(None, TimezoneInfo::None)),
        _ => return None,
    };
    let moment = if name == "statement_timestamp" { STATEMENT_MOMENT } else { TRANSACTION_MOMENT };
    let moment = Expr::Value(Literal::Placeholder(parameter_hole(moment)).with_empty_span());
    bare.then(|| match data_type {
        None => moment,
        Some(data_type) => Expr::Nested(Box::new(Expr::Cast {
            kind: CastKind::DoubleColon,
            expr: Box::new(moment),
            data_type,
            format: None,
        })),
    })
}

fn is_plain(op: &BinaryOperator) -> bool {
    // Operators that are written as OPERATOR(...) or that Postgres does not know.
    !matches!(op, BinaryOperator::PGCustomBinaryOperator(_) | BinaryOperator::Custom(_) | BinaryOperator::Assignment)
}

/// Not a type that looks names up in the server's catalog.
fn is_plain_type(data_type: &DataType) -> bool {
    !names_of_catalog(data_type)
}

/// Whether a text, read as a date or time, is another one at each moment.
pub(crate) fn reads_clock(text: &str) -> bool {
    says_moment(text.as_bytes())
}

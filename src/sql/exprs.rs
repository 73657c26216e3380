//! The walk over expressions: functions and their effects, subqueries, literals that may vary. Every form of expression that
//! is not listed here ends the walk: nothing passes unseen.

use std::rc::Rc;

use sqlparser::ast::{
    AccessExpr, CaseWhen, Cte, DataType, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause,
    FunctionArguments, GroupByExpr, Ident, ObjectName, OrderByExpr, Query, SelectItem, SetExpr, Subscript,
    Value as Literal, WindowSpec, WindowType,
};

use crate::catalog::Volatility;
use crate::sql::analyze::PinReason;
use crate::sql::facts::plain_args;
use crate::sql::functions::{FunctionClass, classify, is_order_sensitive};
use crate::sql::model::{LevelId, Model, Stop, Window};
use crate::sql::names::{check_connection_view, fold, folded, parts};

/// The CTEs that names can mean at some place of a statement, innermost WITH first.
#[derive(Debug)]
pub(crate) struct CteScope<'q> {
    pub parent: Ctes<'q>,
    pub list: &'q [Cte],
    /// How many of the list are visible.
    pub visible: usize,
    pub recursive: bool,
}

pub(crate) type Ctes<'q> = Option<Rc<CteScope<'q>>>;

/// System columns of every table.
const SYSTEM_COLUMNS: [&str; 6] = ["ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"];

/// The walk inside one level. `vary`: literals here shape nothing and may differ from call to call, as in conditions and
/// assigned values.
#[derive(Clone)]
pub(crate) struct At<'q> {
    pub level: LevelId,
    pub ctes: Ctes<'q>,
    pub vary: bool,
}

impl At<'_> {
    /// The same place, where literals stay as they are.
    fn fixed(&self) -> Self {
        At { vary: false, ..self.clone() }
    }
}

impl Model<'_> {
    pub fn walk<'q>(&mut self, at: &At<'q>, expr: &'q Expr) -> Result<(), Stop> {
        // The left side of operator chains is as deep as the statement is long: a loop, not recursion.
        let mut expr = expr;
        while let Expr::BinaryOp { left, right, .. } = expr {
            self.walk(at, right)?;
            expr = left;
        }
        match expr {
            Expr::BinaryOp { .. } => Ok(()),
            Expr::Identifier(name) => {
                self.note_system_column(&folded(name));
                self.note_unresolved(at.level, std::slice::from_ref(name));
                Ok(())
            }
            Expr::CompoundIdentifier(names) => {
                self.note_unresolved(at.level, names);
                if let Some(name) = names.last() {
                    self.note_system_column(&folded(name));
                }
                Ok(())
            }
            Expr::Value(literal) => match &literal.value {
                Literal::DoubleQuotedString(_) | Literal::QuoteDelimitedStringLiteral(_) => {
                    Err(Stop::NotUnderstood("this form of literal"))
                }
                _ => {
                    // Literals of a view's definition are no slots, wherever their spans point.
                    if at.vary && self.view_depth == 0 {
                        self.literals.set_free(literal);
                    }
                    Ok(())
                }
            },
            Expr::TypedString(typed) => self.walk_type(&typed.data_type),
            Expr::Interval(interval) => self.walk(&at.fixed(), &interval.value),
            Expr::Nested(inner)
            | Expr::IsFalse(inner)
            | Expr::IsNotFalse(inner)
            | Expr::IsTrue(inner)
            | Expr::IsNotTrue(inner)
            | Expr::IsNull(inner)
            | Expr::IsNotNull(inner)
            | Expr::IsUnknown(inner)
            | Expr::IsNotUnknown(inner)
            | Expr::UnaryOp { expr: inner, .. }
            | Expr::Collate { expr: inner, .. }
            | Expr::Extract { expr: inner, .. }
            | Expr::IsNormalized { expr: inner, .. }
            | Expr::IsJson { expr: inner, .. } => self.walk(at, inner),
            Expr::Ceil { expr: inner, field } | Expr::Floor { expr: inner, field } => match field {
                sqlparser::ast::CeilFloorKind::DateTimeField(sqlparser::ast::DateTimeField::NoDateTime) => {
                    self.walk(at, inner)
                }
                _ => Err(Stop::NotUnderstood("ceil or floor with a field")),
            },
            Expr::IsDistinctFrom(a, b) | Expr::IsNotDistinctFrom(a, b) => self.walk_all(at, [&**a, &**b]),
            Expr::AtTimeZone { timestamp, time_zone } => self.walk_all(at, [&**timestamp, &**time_zone]),
            Expr::Position { expr, r#in } => self.walk_all(at, [&**expr, &**r#in]),
            Expr::InList { expr, list, .. } => {
                self.walk(at, expr)?;
                self.walk_all(at, list)
            }
            Expr::Between { expr, low, high, .. } => self.walk_all(at, [&**expr, &**low, &**high]),
            Expr::Like { any: false, expr, pattern, escape_char, .. }
            | Expr::ILike { any: false, expr, pattern, escape_char, .. }
            | Expr::SimilarTo { expr, pattern, escape_char, .. } => {
                self.walk_all(at, [&**expr, &**pattern].into_iter().chain(escape_char.as_deref()))
            }
            Expr::AnyOp { left, right, .. } | Expr::AllOp { left, right, .. } => self.walk_all(at, [&**left, &**right]),
            Expr::Cast { expr, data_type, format: None, kind } => match kind {
                sqlparser::ast::CastKind::Cast | sqlparser::ast::CastKind::DoubleColon => {
                    self.walk_type(data_type)?;
                    self.walk(at, expr)
                }
                _ => Err(Stop::NotUnderstood("TRY_CAST")),
            },
            Expr::Substring { expr, substring_from, substring_for, .. } => self
                .walk_all(at, [&**expr].into_iter().chain(substring_from.as_deref()).chain(substring_for.as_deref())),
            Expr::Trim { trim_what, expr, trim_characters, .. } => {
                self.walk_all(at, [&**expr].into_iter().chain(trim_what.as_deref()))?;
                self.walk_all(at, trim_characters.iter().flatten())
            }
            Expr::Overlay { expr, overlay_what, overlay_from, overlay_for } => {
                self.walk_all(at, [&**expr, &**overlay_what, &**overlay_from].into_iter().chain(overlay_for.as_deref()))
            }
            Expr::Tuple(members) => self.walk_all(at, members),
            Expr::Array(array) => self.walk_all(at, &array.elem),
            Expr::Case { operand, conditions, else_result, .. } => {
                self.walk_all(at, operand.as_deref())?;
                for CaseWhen { condition, result } in conditions {
                    self.walk_all(at, [condition, result])?;
                }
                self.walk_all(at, else_result.as_deref())
            }
            Expr::CompoundFieldAccess { root, access_chain } => {
                self.walk(at, root)?;
                access_chain.iter().try_for_each(|access| self.walk_access(at, access))
            }
            Expr::GroupingSets(sets) | Expr::Cube(sets) | Expr::Rollup(sets) => {
                self.levels[at.level].grouping_sets = true;
                sets.iter().try_for_each(|set| self.walk_all(at, set))
            }
            Expr::Wildcard(_) | Expr::QualifiedWildcard(..) => Ok(()),
            Expr::Function(function) => self.walk_function(at, function),
            Expr::Exists { subquery, .. } => {
                let level = self.levels.len();
                self.walk_subquery(at, subquery)?;
                // EXISTS (SELECT * ...) reads no columns.
                if let (None, SetExpr::Select(select)) = (&subquery.with, &*subquery.body)
                    && matches!(select.projection[..], [SelectItem::Wildcard(_)])
                    && select.distinct.is_none()
                    // Neither may name a column by its place.
                    && subquery.order_by.is_none()
                    && matches!(&select.group_by, GroupByExpr::Expressions(by, _) if by.is_empty())
                    && let Some(level) = self.levels.get_mut(level)
                {
                    level.wildcard = false;
                }
                Ok(())
            }
            Expr::Subquery(subquery) => self.walk_subquery(at, subquery),
            Expr::InSubquery { expr, subquery, .. } => {
                self.walk(at, expr)?;
                self.walk_subquery(at, subquery)
            }
            _ => Err(Stop::NotUnderstood("this form of expression")),
        }
    }

    pub fn walk_all<'q>(&mut self, at: &At<'q>, exprs: impl IntoIterator<Item = &'q Expr>) -> Result<(), Stop> {
        exprs.into_iter().try_for_each(|expr| self.walk(at, expr))
    }

    pub fn walk_order<'q>(&mut self, at: &At<'q>, order: &'q [OrderByExpr]) -> Result<(), Stop> {
        for item in order {
            if item.with_fill.is_some() {
                return Err(Stop::NotUnderstood("WITH FILL"));
            }
            self.walk(at, &item.expr)?;
        }
        Ok(())
    }

    fn walk_access<'q>(&mut self, at: &At<'q>, access: &'q AccessExpr) -> Result<(), Stop> {
        match access {
            AccessExpr::Dot(Expr::Identifier(_)) => Ok(()),
            AccessExpr::Dot(expr) => self.walk(at, expr),
            AccessExpr::Subscript(Subscript::Index { index }) => self.walk(at, index),
            AccessExpr::Subscript(Subscript::Slice { lower_bound, upper_bound, stride }) => {
                self.walk_all(at, lower_bound.iter().chain(upper_bound).chain(stride))
            }
        }
    }

    fn note_unresolved(&mut self, level: LevelId, names: &[Ident]) {
        if self.unresolved.is_some() && self.find_column(level, names).is_none() {
            let name = names.last().map(|name| folded(name).into_owned());
            self.unresolved.iter_mut().for_each(|found| found.extend(name.clone()));
        }
    }

    fn note_system_column(&mut self, name: &str) {
        if SYSTEM_COLUMNS.contains(&name) {
            self.uses.system_column.get_or_insert_with(|| name.into());
        }
    }

    /// Casts to `regclass` and its like look names up in the server's catalog; their numbers differ between shards.
    fn walk_type(&mut self, data_type: &DataType) -> Result<(), Stop> {
        let name = data_type.to_string().to_ascii_lowercase();
        if name.starts_with("reg") || name.starts_with("pg_catalog.reg") {
            self.uses.server.get_or_insert_with(|| name.into());
        }
        Ok(())
    }

    fn walk_subquery<'q>(&mut self, at: &At<'q>, subquery: &'q Query) -> Result<(), Stop> {
        self.correlated += 1;
        let rows = self.query(subquery, Some(at.level), None, &at.ctes);
        self.correlated -= 1;
        let rows = rows?;
        let columns = rows.columns.list.iter().map(|column| column.node.map(|node| (self.nodes[node].leaf, node)));
        let columns = if rows.columns.complete { columns.collect() } else { Vec::new() };
        self.subquery_columns.insert(std::ptr::from_ref(subquery), columns);
        for base in rows.bases {
            self.subqueries.push((base, at.level));
        }
        Ok(())
    }

    fn walk_function<'q>(&mut self, at: &At<'q>, function: &'q Function) -> Result<(), Stop> {
        if function.uses_odbc_syntax || !matches!(function.parameters, FunctionArguments::None) {
            return Err(Stop::NotUnderstood("this form of function call"));
        }
        let class = self.note_function(at.level, function)?;
        // What a sequence, lock or setting is called is part of what the statement does.
        let inside = if class == FunctionClass::Pure { at.clone() } else { at.fixed() };
        match &function.args {
            FunctionArguments::None => {}
            FunctionArguments::Subquery(query) => self.walk_subquery(&inside, query)?,
            FunctionArguments::List(list) => {
                for arg in &list.args {
                    self.walk_arg(&inside, arg)?;
                }
                for clause in &list.clauses {
                    match clause {
                        FunctionArgumentClause::OrderBy(order) => self.walk_order(&inside, order)?,
                        FunctionArgumentClause::IgnoreOrRespectNulls(_) => {}
                        _ => return Err(Stop::NotUnderstood("this clause in a function call")),
                    }
                }
            }
        }
        self.walk_all(&inside, function.filter.as_deref())?;
        self.walk_order(&inside, &function.within_group)?;
        match &function.over {
            None => {}
            Some(WindowType::NamedWindow(name)) => {
                self.levels[at.level].windows.push(Window::Named(folded(name).into()));
            }
            Some(WindowType::WindowSpec(spec)) => {
                self.walk_window(&inside, spec)?;
                let partition = self.partition_of(at.level, spec);
                self.levels[at.level].windows.push(Window::Partitioned(partition));
            }
        }
        Ok(())
    }

    pub fn walk_window<'q>(&mut self, at: &At<'q>, spec: &'q WindowSpec) -> Result<(), Stop> {
        self.walk_all(at, &spec.partition_by)?;
        self.walk_order(at, &spec.order_by)?;
        if let Some(frame) = &spec.window_frame {
            for bound in [Some(&frame.start_bound), frame.end_bound.as_ref()].into_iter().flatten() {
                match bound {
                    sqlparser::ast::WindowFrameBound::Preceding(Some(expr))
                    | sqlparser::ast::WindowFrameBound::Following(Some(expr)) => self.walk(at, expr)?,
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn walk_arg<'q>(&mut self, at: &At<'q>, arg: &'q FunctionArg) -> Result<(), Stop> {
        let arg = match arg {
            FunctionArg::Unnamed(arg) | FunctionArg::Named { arg, .. } | FunctionArg::ExprNamed { arg, .. } => arg,
        };
        match arg {
            FunctionArgExpr::Expr(expr) => self.walk(at, expr),
            FunctionArgExpr::Wildcard | FunctionArgExpr::QualifiedWildcard(_) => Ok(()),
            FunctionArgExpr::WildcardWithOptions(_) => Err(Stop::NotUnderstood("this form of *")),
        }
    }

    /// A function in FROM.
    pub fn walk_table_function<'q>(
        &mut self,
        at: &At<'q>,
        name: &ObjectName,
        args: &'q [FunctionArg],
    ) -> Result<(), Stop> {
        self.note_name(name)?;
        args.iter().try_for_each(|arg| self.walk_arg(at, arg))
    }

    fn note_function(&mut self, level: LevelId, function: &Function) -> Result<FunctionClass, Stop> {
        let (schema, name) = parts(&function.name).ok_or(Stop::NotUnderstood("this form of function name"))?;
        let built_in = schema.as_deref().is_none_or(|schema| schema == "pg_catalog");
        if built_in {
            check_connection_view(&name).map_err(Stop::Refuse)?;
            match &*name {
                // ARRAY(SELECT ...)
                "array" if matches!(function.args, FunctionArguments::Subquery(_)) => return Ok(FunctionClass::Pure),
                // Two arguments: a difference. One: counted from today.
                "age" if plain_args(function).is_some_and(|args| args.len() == 2) => {
                    return Ok(FunctionClass::Pure);
                }
                "grouping" => return Ok(FunctionClass::Pure),
                "set_config" if !sets_locally(function) => {
                    self.uses.pin.get_or_insert(PinReason::Setting);
                }
                _ => {}
            }
        }
        let class = self.note_class(schema.as_deref(), &name);
        match class {
            FunctionClass::UserAggregate(_) if function.over.is_none() => {
                let level = &mut self.levels[level];
                level.aggregates = true;
                level.order_sensitive = true;
            }
            FunctionClass::Aggregate if function.over.is_none() => {
                let level = &mut self.levels[level];
                level.aggregates = true;
                level.order_sensitive |= is_order_sensitive(&name);
            }
            FunctionClass::Window if function.over.is_none() => {
                return Err(Stop::NotUnderstood("a window function without OVER"));
            }
            _ => {}
        }
        Ok(class)
    }

    fn note_name(&mut self, name: &ObjectName) -> Result<(), Stop> {
        let (schema, name) = parts(name).ok_or(Stop::NotUnderstood("this form of function name"))?;
        check_connection_view(&name).map_err(Stop::Refuse)?;
        self.note_class(schema.as_deref(), &fold(&name, true));
        Ok(())
    }

    fn note_class(&mut self, schema: Option<&str>, name: &str) -> FunctionClass {
        let class = classify(self.scope.catalog, schema, name);
        let uses = &mut self.uses;
        match class {
            FunctionClass::Pure | FunctionClass::Aggregate | FunctionClass::Window => {}
            FunctionClass::Clock => note(&mut uses.clock, name),
            FunctionClass::Server => note(&mut uses.server, name),
            FunctionClass::Volatile => note(&mut uses.volatile, name),
            FunctionClass::RunsSql => note(&mut uses.runs_sql, name),
            FunctionClass::Unknown => note(&mut uses.unknown_function, name),
            FunctionClass::Home(pin) => {
                // set_config pins by its arguments, not by its name.
                if name != "set_config" {
                    uses.pin = uses.pin.or(pin);
                }
                uses.home_function |= uses.home.is_none();
                uses.home.get_or_insert_with(|| format!("function {name}()").into());
            }
            FunctionClass::User(function) | FunctionClass::UserAggregate(function) => {
                note(&mut uses.user_function, name);
                if !function.declared_safe && function.volatility != Volatility::Immutable {
                    note(&mut uses.unsafe_function, name);
                }
                if function.volatility == Volatility::Volatile {
                    note(&mut uses.volatile, name);
                }
            }
        }
        class
    }
}

fn note(first: &mut Option<Box<str>>, name: &str) {
    first.get_or_insert_with(|| name.into());
}

/// `set_config(name, value, true)`: ends with the transaction.
fn sets_locally(function: &Function) -> bool {
    let third = plain_args(function).and_then(|args| args.get(2).copied());
    matches!(third, Some(Expr::Value(literal)) if literal.value == Literal::Boolean(true))
}

//! The walk over expressions: functions and their effects, subqueries, literals that may vary. Every form of expression that
//! is not listed here ends the walk: nothing passes unseen.

use std::ops::ControlFlow;
use std::rc::Rc;

use sqlparser::ast::{
    AccessExpr, ArrayElemTypeDef, CaseWhen, Cte, DataType, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArgumentClause, FunctionArguments, GroupByExpr, Ident, ObjectName, OrderByExpr, Query, SelectItem, SetExpr,
    Subscript, Value as Literal, ValueWithSpan, Visit, Visitor, WindowSpec, WindowType,
};

use crate::catalog::effects::SET_CONFIG;
use crate::catalog::{Sets, Volatility};
use crate::fault::Fault;
use crate::sql::NameScope;
use crate::sql::facts::{plain_args, unnest};
use crate::sql::finish::{SESSION_SETTING, is_same_at_home};
use crate::sql::functions::{
    FunctionClass, classify, hidden, is_order_sensitive, is_random, is_users, placed_with, takes_advisory_lock,
};
use crate::sql::infer::{is_text, may_be_users, type_of};
use crate::sql::model::{LevelId, Model, PartOf, Stop, Uses, Window};
use crate::sql::names::{Place, Relation, check_connection_view, fold, folded, parts, resolve};
use crate::sql::numbered::{looks_up, names_of_catalog};
use crate::sql::operators::note_type;
use crate::sql::template::{is_moment, says_moment};
use crate::sql::words::Words;

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
pub(crate) const SYSTEM_COLUMNS: [&str; 6] = ["ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"];

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
        self.note_compared(at.level, expr);
        let mut told = self.note_numbers(at.level, expr);
        while let Expr::BinaryOp { left, right, op } = expr {
            self.note_operator(op);
            self.walk(at, right)?;
            expr = left;
            self.note_compared(at.level, expr);
            told = self.note_numbers(at.level, expr);
        }
        match expr {
            Expr::BinaryOp { .. } => Ok(()),
            Expr::Identifier(name) => {
                self.note_system_column(at.level, std::slice::from_ref(name));
                if name.quote_style.is_none() && name.value.eq_ignore_ascii_case("current_schema") {
                    self.note_schemas("current_schema")?;
                }
                self.note_unresolved(at.level, std::slice::from_ref(name));
                self.note_row(at.level, std::slice::from_ref(name));
                Ok(())
            }
            Expr::CompoundIdentifier(names) => {
                self.note_unresolved(at.level, names);
                self.note_row(at.level, names);
                self.note_system_column(at.level, names);
                self.note_attribute(at.level, names)
            }
            Expr::Value(literal) => match &literal.value {
                Literal::DoubleQuotedString(_) | Literal::QuoteDelimitedStringLiteral(_) => {
                    Err(Stop::NotUnderstood("this form of literal"))
                }
                _ => {
                    // Literals of a view's definition are no slots, wherever their spans point.
                    if at.vary && !told && self.view_depth == 0 {
                        self.literals.set_free(literal);
                    }
                    Ok(())
                }
            },
            Expr::TypedString(typed) => {
                self.walk_type(&typed.data_type)?;
                self.note_moment(&typed.value, &typed.data_type);
                if names_of_catalog(&typed.data_type) {
                    self.note_written_name(&typed.value.value);
                }
                Ok(())
            }
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
            | Expr::Collate { expr: inner, .. }
            | Expr::Named { expr: inner, .. }
            | Expr::Extract { expr: inner, .. }
            | Expr::IsNormalized { expr: inner, .. }
            | Expr::IsJson { expr: inner, .. } => self.walk(at, inner),
            Expr::UnaryOp { op, expr: inner } => {
                self.note_operator(op);
                self.walk(at, inner)
            }
            Expr::Ceil { expr: inner, field } | Expr::Floor { expr: inner, field } => match field {
                sqlparser::ast::CeilFloorKind::DateTimeField(sqlparser::ast::DateTimeField::NoDateTime) => {
                    self.note_parsed(if matches!(expr, Expr::Ceil { .. }) { "ceil" } else { "floor" })?;
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
            Expr::AnyOp { left, right, compare_op: op, .. } | Expr::AllOp { left, right, compare_op: op } => {
                self.note_operator(op);
                self.walk_all(at, [&**left, &**right])
            }
            Expr::Cast { expr, data_type, format: None, kind } => match kind {
                sqlparser::ast::CastKind::Cast | sqlparser::ast::CastKind::DoubleColon => {
                    self.walk_type(data_type)?;
                    match unnest(expr) {
                        Expr::Value(literal) => self.note_moment(literal, data_type),
                        Expr::Array(array) => array.elem.iter().for_each(|member| {
                            if let Expr::Value(literal) = unnest(member) {
                                self.note_moment(literal, data_type);
                            }
                        }),
                        _ => {}
                    }
                    if names_of_catalog(data_type) {
                        if self.scope.topology.places_schemas() {
                            self.note_written(expr);
                        }
                        // The name says where the statement runs; one that is a number, on which shards.
                        return self.walk(&at.fixed(), expr);
                    }
                    self.walk(at, expr)
                }
                _ => Err(Stop::NotUnderstood("TRY_CAST")),
            },
            Expr::Substring { expr, substring_from, substring_for, shorthand, special } => {
                // SUBSTRING(.. FROM ..) is Postgres's own.
                if *special || *shorthand {
                    self.note_parsed(if *shorthand { "substr" } else { "substring" })?;
                }
                self.walk_all(
                    at,
                    [&**expr].into_iter().chain(substring_from.as_deref()).chain(substring_for.as_deref()),
                )
            }
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
                let results = conditions.iter().map(|when| &when.result).chain(else_result.as_deref());
                self.note_choice(at.level, &results.collect::<Vec<_>>());
                for CaseWhen { condition, result } in conditions {
                    self.walk_all(at, [condition, result])?;
                }
                self.walk_all(at, else_result.as_deref())
            }
            Expr::CompoundFieldAccess { root, access_chain } => {
                self.walk(at, root)?;
                self.note_accesses(at.level, root, access_chain)?;
                access_chain.iter().try_for_each(|access| self.walk_access(at, access))
            }
            Expr::GroupingSets(sets) | Expr::Cube(sets) | Expr::Rollup(sets) => {
                self.levels[at.level].grouping_sets = true;
                for expr in sets.iter().flatten() {
                    match self.nested_sets(expr) {
                        Some(members) => self.walk_all(at, members)?,
                        None => self.walk(at, expr)?,
                    }
                }
                Ok(())
            }
            Expr::Wildcard(_) | Expr::QualifiedWildcard(..) => {
                self.uses.numbering.made.rows = true;
                Ok(())
            }
            Expr::Function(function) => {
                match plain_args(function).filter(|_| is_choice(function)) {
                    Some(args) => self.note_choice(at.level, &args),
                    None => self.note_bare_moment(expr),
                }
                self.walk_function(at, function)
            }
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

    /// What `ROLLUP (...)` and `CUBE (...)` group by within GROUPING SETS, where the parser takes them for calls.
    pub fn nested_sets<'q>(&self, expr: &'q Expr) -> Option<Vec<&'q Expr>> {
        let Expr::Function(function) = expr else { return None };
        let [part] = &function.name.0[..] else { return None };
        let name = part.as_ident().filter(|name| name.quote_style.is_none())?;
        let grouping = ["rollup", "cube"].iter().any(|word| name.value.eq_ignore_ascii_case(word));
        let plain = grouping && classify(&self.scope, None, &folded(name)) == FunctionClass::Unknown;
        plain_args(function).filter(|_| plain)
    }

    pub fn walk_all<'q>(&mut self, at: &At<'q>, exprs: impl IntoIterator<Item = &'q Expr>) -> Result<(), Stop> {
        exprs.into_iter().try_for_each(|expr| self.walk(at, expr))
    }

    pub fn walk_order<'q>(&mut self, at: &At<'q>, order: &'q [OrderByExpr]) -> Result<(), Stop> {
        for item in order {
            if item.with_fill.is_some() {
                return Err(Stop::NotUnderstood("WITH FILL"));
            }
            self.note_ordered_number(at.level, &item.expr);
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

    /// Not a column that a query in FROM calls so.
    fn note_system_column(&mut self, level: LevelId, names: &[Ident]) {
        let Some(name) = names.last().map(folded) else { return };
        if SYSTEM_COLUMNS.contains(&&*name) && self.find_column(level, names).is_none() {
            self.uses.system_column.get_or_insert_with(|| (*name).into());
        }
    }

    /// A value is read as a type that is not looked at: that of a column, or of what else may stand in its place.
    pub fn note_bare_moment(&mut self, expr: &Expr) {
        match expr {
            Expr::Value(literal) if is_bare_moment(literal) => self.note_moment_read(),
            Expr::Nested(inner) => self.note_bare_moment(inner),
            Expr::Tuple(members) => members.iter().for_each(|member| self.note_bare_moment(member)),
            Expr::Function(function) if is_row_or_choice(function) => {
                let args = plain_args(function).unwrap_or_default();
                args.into_iter().for_each(|arg| self.note_bare_moment(arg));
            }
            _ => {}
        }
    }

    /// One of these is taken, and all are read as one type: where one is text for certain, that is text.
    fn note_choice(&mut self, level: LevelId, among: &[&Expr]) {
        let is_literal = |expr: &Expr| matches!(unnest(expr), Expr::Value(_));
        let text = |expr: &Expr| !is_literal(expr) && type_of(self, level, expr).is_some_and(|ty| is_text(ty.oid));
        if among.iter().any(|expr| text(expr)) {
            return;
        }
        among.iter().for_each(|expr| self.note_bare_moment(expr));
    }

    /// A literal is read as this type.
    fn note_moment(&mut self, literal: &ValueWithSpan, data_type: &DataType) {
        if is_time(data_type) && says_now(literal) {
            self.note_moment_read();
        }
    }

    /// A text like `now` is read as a time.
    pub fn note_moment_read(&mut self) {
        self.uses.moment = true;
        note(&mut self.uses.clock, "now");
    }

    /// Casts to `regclass` and its like look names up in the server's catalog; their numbers differ between shards.
    pub fn walk_type(&mut self, data_type: &DataType) -> Result<(), Stop> {
        if names_of_catalog(data_type) {
            let name = data_type.to_string().to_ascii_lowercase();
            self.uses.numbering.made.names = true;
            self.uses.server.get_or_insert_with(|| name.into());
        }
        let mut element = data_type;
        while let DataType::Array(ArrayElemTypeDef::AngleBracket(of) | ArrayElemTypeDef::SquareBracket(of, _)) = element
        {
            element = of;
        }
        if let DataType::Custom(name, _) = element
            && let Some((schema, name)) = parts(name)
        {
            self.uses.numbering.made.rows = true;
            self.note_placed_type(schema.as_deref(), &name);
            self.note_named_type(schema.as_deref(), &name);
            note_type(&self.scope, &mut self.uses, &name);
        }
        Ok(())
    }

    /// A type that users have made in a placed schema is there and nowhere else.
    fn note_placed_type(&mut self, schema: Option<&str>, name: &str) {
        let scope = self.scope;
        let has = |schema: &&str| scope.catalog.placed.get(*schema).is_some_and(|placed| placed.types.contains(name));
        self.by_path |= schema.is_none() && crate::types::KeyType::from_name(name).is_none();
        let schema = match schema {
            Some(schema) => Some(schema).filter(|schema| scope.topology.place_of_schema(schema).is_some()),
            None => scope.placed_path().find(has),
        };
        if let Some(place) = schema.and_then(|schema| scope.place_of_schema(schema)) {
            self.uses.need(&place);
            note(&mut self.uses.placed_name, name);
        }
    }

    /// What the search path finds depends on the schemas that exist where it is asked.
    fn note_schemas(&mut self, name: &str) -> Result<(), Stop> {
        let scope = self.scope;
        let base = scope.base();
        if base.schema.is_none() {
            return Ok(());
        }
        let elsewhere = |schema: &str| {
            let there = scope.catalog.placed.contains_key(schema);
            there && scope.place_of(schema).shard != base.shard
        };
        if name == "current_schemas" && scope.placed_path().any(elsewhere) {
            return Err(Fault::unsupported(
                "current_schemas() is not supported under this search_path",
                "schemas of the path are on different shards, and none has them all",
                "Set search_path to schemas of one shard.",
            )
            .into());
        }
        self.uses.need(&base);
        note(&mut self.uses.server, name);
        Ok(())
    }

    /// The names that the arguments of a function write as text lead to the shards that have what they name.
    fn note_written_args(&mut self, args: &[FunctionArg]) {
        for arg in args {
            let (FunctionArg::Unnamed(arg) | FunctionArg::Named { arg, .. } | FunctionArg::ExprNamed { arg, .. }) = arg;
            if let FunctionArgExpr::Expr(expr) = arg {
                self.note_written(expr);
            }
        }
    }

    fn note_written(&mut self, expr: &Expr) {
        match expr {
            Expr::Nested(inner) | Expr::Cast { expr: inner, .. } => self.note_written(inner),
            Expr::Value(literal) => self.note_written_name(&literal.value),
            Expr::TypedString(typed) => self.note_written_name(&typed.value.value),
            _ => {}
        }
    }

    fn note_written_name(&mut self, literal: &Literal) {
        self.by_path = true;
        if !self.scope.topology.places_schemas() {
            return;
        }
        let (Literal::SingleQuotedString(text) | Literal::EscapedStringLiteral(text)) = literal else { return };
        match place_of_text(&self.scope, text) {
            Some(place) if place.is_home(&self.scope) => {
                self.uses.home.get_or_insert_with(|| format!("{text:?}, which is not distributed").into());
            }
            Some(place) => {
                self.uses.need(&place);
                note(&mut self.uses.placed_name, text);
            }
            None => {}
        }
    }

    fn walk_subquery<'q>(&mut self, at: &At<'q>, subquery: &'q Query) -> Result<(), Stop> {
        self.correlated += 1;
        let of = PartOf::Query(std::ptr::from_ref(subquery));
        let rows = self.part(of, None, |model| model.query(subquery, Some(at.level), None, &at.ctes));
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
        if matches!(class, FunctionClass::Aggregate | FunctionClass::UserAggregate(_)) && function.over.is_none() {
            self.uses.outer_aggregate |= self.may_be_outer(at.level, function);
        }
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

    /// Whether an aggregate may be one of a query around its own: that of the innermost of its columns.
    fn may_be_outer(&self, level: LevelId, function: &Function) -> bool {
        #[derive(Default)]
        struct Columns(Vec<Vec<Ident>>);
        impl Visitor for Columns {
            type Break = ();
            fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
                match expr {
                    Expr::Identifier(name) => self.0.push(vec![name.clone()]),
                    Expr::CompoundIdentifier(names) => self.0.push(names.clone()),
                    _ => {}
                }
                ControlFlow::Continue(())
            }
        }
        if self.levels[level].outer.is_none() {
            return false;
        }
        let own = &self.levels[level].leaves;
        let mut columns = Columns::default();
        let _ = function.visit(&mut columns);
        let is_own = |names: &Vec<Ident>| self.find_column(level, names).is_some_and(|found| own.contains(&found.leaf));
        !columns.0.is_empty() && !columns.0.iter().any(is_own)
    }

    pub fn walk_window<'q>(&mut self, at: &At<'q>, spec: &'q WindowSpec) -> Result<(), Stop> {
        spec.partition_by.iter().for_each(|expr| self.tell_name(at.level, expr));
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
            FunctionArgExpr::Wildcard => Ok(()),
            FunctionArgExpr::QualifiedWildcard(_) => {
                self.uses.numbering.made.rows = true;
                Ok(())
            }
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
        let (schema, function) = parts(name).ok_or(Stop::NotUnderstood("this form of function name"))?;
        check_connection_view(&function).map_err(Stop::Refuse)?;
        self.note_class(schema.as_deref(), &fold(&function, true), args)?;
        args.iter().try_for_each(|arg| self.walk_arg(at, arg))
    }

    /// A call that the parser has a form of its own for: users may have a function of that name.
    fn note_parsed(&mut self, name: &str) -> Result<(), Stop> {
        if is_users(&self.scope, name) {
            return Err(Stop::NotUnderstood("a call of a user's function with the name of one of Postgres's"));
        }
        Ok(())
    }

    pub fn note_function(&mut self, level: LevelId, function: &Function) -> Result<FunctionClass, Stop> {
        let (schema, name) = parts(&function.name).ok_or(Stop::NotUnderstood("this form of function name"))?;
        let built_in = schema.as_deref().is_none_or(|schema| schema == "pg_catalog");
        if built_in {
            check_connection_view(&name).map_err(Stop::Refuse)?;
            // One of users may be meant.
            let own = |model: &Self| schema.is_none() && is_users(&model.scope, &name);
            match &*name {
                // ARRAY(SELECT ...)
                "array" if matches!(function.args, FunctionArguments::Subquery(_)) => return Ok(FunctionClass::Pure),
                // Two arguments: a difference. One: counted from today.
                "age" if !own(self) && plain_args(function).is_some_and(|args| args.len() == 2) => {
                    return Ok(FunctionClass::Pure);
                }
                "grouping" => return Ok(FunctionClass::Pure),
                // Every server of the session has what its client has set.
                "current_setting" if !own(self) && asks_client(function) => return Ok(FunctionClass::Pure),
                "current_setting" if !own(self) && asks_session(function) => {
                    note_server(&mut self.uses, SESSION_SETTING);
                    return Ok(FunctionClass::Server);
                }
                _ => {}
            }
        }
        let args = match &function.args {
            FunctionArguments::List(list) => &list.args[..],
            FunctionArguments::None | FunctionArguments::Subquery(_) => &[],
        };
        // Theirs are for other types, and it is Postgres's own.
        let own = schema.is_none() && is_users(&self.scope, &name) && !may_be_users(self, level, function, &name);
        let schema = if own { Some("pg_catalog") } else { schema.as_deref() };
        let class = self.note_class(schema, &name, args)?;
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

    pub fn note_class(
        &mut self,
        schema: Option<&str>,
        name: &str,
        args: &[FunctionArg],
    ) -> Result<FunctionClass, Stop> {
        let class = classify(&self.scope, schema, name);
        let scope = self.scope;
        // Sequences are found by the search path.
        self.by_path |= matches!(class, FunctionClass::Sequence(_));
        if scope.topology.places_schemas() {
            match class {
                FunctionClass::Server | FunctionClass::Sequence(_) => self.note_written_args(args),
                FunctionClass::Pure if matches!(name, "current_schema" | "current_schemas") => {
                    self.note_schemas(name)?;
                }
                FunctionClass::Unknown => {
                    // Made a moment ago, if it is there at all.
                    if let Some(place) = schema.and_then(|schema| scope.place_of_schema(schema)) {
                        self.uses.need(&place);
                    }
                }
                _ => {}
            }
            for schema in placed_with(&scope, schema, name) {
                self.uses.need(&scope.place_of(schema));
                note(&mut self.uses.placed_name, name);
            }
        }
        let uses = &mut self.uses;
        uses.numbering.made.names |= looks_up(name);
        uses.random |= is_random(name);
        if matches!(name, "pg_column_size" | "pg_column_compression") {
            note(&mut uses.stored, name);
        }
        match class {
            // With the schema of temporary tables, which is that of a connection.
            FunctionClass::Pure if name == "current_schemas" && !leaves_implicit_out(args) => {
                note(&mut uses.server, name);
            }
            FunctionClass::Pure | FunctionClass::Aggregate | FunctionClass::Window => {}
            FunctionClass::Clock => {
                uses.clock_in_view |= self.view_depth > 0;
                note(&mut uses.clock, name);
            }
            FunctionClass::Server => {
                self.by_path = true;
                note_server(uses, name);
            }
            FunctionClass::Volatile => note(&mut uses.volatile, name),
            FunctionClass::RunsSql => {
                // What it is given may call anything.
                uses.note_sets(Sets::Lasting);
                note(&mut uses.runs_sql, name);
            }
            FunctionClass::Unknown => {
                self.by_path |= schema.is_none();
                uses.numbering.made.rows = true;
                note(&mut uses.unknown_function, name);
            }
            FunctionClass::Home(_) | FunctionClass::Sequence(_) => {
                if name == SET_CONFIG {
                    uses.note_sets(if sets_locally(args) { Sets::Locally } else { Sets::Lasting });
                }
                self.note_single(class, name);
            }
            FunctionClass::User(function) | FunctionClass::UserAggregate(function) => {
                self.by_path |= schema.is_none();
                uses.numbering.made.rows = true;
                // It may call random().
                uses.random |= function.volatility == Volatility::Volatile;
                uses.note_sets(function.sets);
                if function.sets != Sets::Nothing && placed_with(&scope, schema, name).is_empty() {
                    uses.home_function |= uses.home.is_none();
                    uses.home_changes = true;
                    uses.home.get_or_insert_with(|| format!("function {name}()").into());
                }
                uses.note_user_function(name, function);
                if let Some(of_postgres) = hidden(schema, name) {
                    if name == SET_CONFIG {
                        uses.note_sets(Sets::Lasting);
                    }
                    self.note_single(of_postgres, name);
                }
            }
        }
        Ok(class)
    }

    /// What exists once, on one shard.
    fn note_single(&mut self, class: FunctionClass, name: &str) {
        let (scope, uses) = (self.scope, &mut self.uses);
        match class {
            // By now its name has led somewhere, if it is one that is known.
            FunctionClass::Sequence(pin) if scope.topology.places_schemas() => {
                uses.pin = uses.pin.or(pin);
                uses.home_function = true;
                uses.home_changes = true;
                if uses.places.is_empty() && uses.home.is_none() {
                    match scope.base() {
                        base if base.is_home(&scope) => {
                            uses.home = Some(format!("function {name}()").into());
                        }
                        base => uses.need(&base),
                    }
                }
            }
            FunctionClass::Home(pin) | FunctionClass::Sequence(pin) => {
                // This one pins by its arguments, not by its name.
                if name != SET_CONFIG {
                    uses.pin = uses.pin.or(pin);
                }
                uses.home_function |= uses.home.is_none();
                uses.home_changes |= !takes_advisory_lock(name);
                uses.locks_by_function |= takes_advisory_lock(name);
                uses.home.get_or_insert_with(|| format!("function {name}()").into());
            }
            FunctionClass::Pure
            | FunctionClass::Clock
            | FunctionClass::Server
            | FunctionClass::Volatile
            | FunctionClass::RunsSql
            | FunctionClass::Aggregate
            | FunctionClass::Window
            | FunctionClass::User(_)
            | FunctionClass::UserAggregate(_)
            | FunctionClass::Unknown => {}
        }
    }
}

/// A type whose values, or some in them, can be written as `now`.
fn is_time(data_type: &DataType) -> bool {
    let name = data_type.to_string().to_ascii_lowercase();
    let name = name.strip_prefix("pg_catalog.").unwrap_or(&name);
    let is_range = name.starts_with("ts") && name.contains("range");
    name.starts_with("date") || name.starts_with("time") || is_range
}

/// Whether a literal is a text like `now`.
pub(crate) fn says_now(literal: &ValueWithSpan) -> bool {
    match &literal.value {
        Literal::SingleQuotedString(text) | Literal::EscapedStringLiteral(text) => says_moment(text.as_bytes()),
        Literal::DollarQuotedString(text) => says_moment(text.value.as_bytes()),
        _ => false,
    }
}

/// Whether a literal is nothing but a text like `now`.
pub(crate) fn is_bare_moment(literal: &ValueWithSpan) -> bool {
    match &literal.value {
        Literal::SingleQuotedString(text) | Literal::EscapedStringLiteral(text) => is_moment(text.as_bytes()),
        Literal::DollarQuotedString(text) => is_moment(text.value.as_bytes()),
        _ => false,
    }
}

/// `ROW(...)`, and what takes one of its arguments for its value: their types are those of others.
fn is_row_or_choice(function: &Function) -> bool {
    let name = function.name.to_string().to_ascii_lowercase();
    matches!(&*name, "row" | "coalesce" | "greatest" | "least" | "nullif")
}

/// What takes one of its arguments for its value, or compares them.
fn is_choice(function: &Function) -> bool {
    is_row_or_choice(function) && !function.name.to_string().eq_ignore_ascii_case("row")
}

/// Where the text of a name leads: that of a placed schema, of something in one, or of a table that lies on one shard.
fn place_of_text(scope: &NameScope<'_>, text: &str) -> Option<Place> {
    let mut words = Words::new(text, true)?;
    let names = words.parts().filter(|_| words.is_done() || words.is_punct(b'('))?;
    let (last, qualifiers) = names.split_last()?;
    if let Some(place) = qualifiers.iter().find_map(|part| scope.place_of_schema(part)) {
        return Some(place);
    }
    if qualifiers.is_empty() && scope.catalog.placed.contains_key(&**last) {
        return scope.place_of_schema(last);
    }
    match resolve(scope, qualifiers.last().map(|schema| &**schema), last) {
        Relation::Unsharded { table: Some(_), place } => Some(place),
        Relation::View { name, .. } => Some(scope.place_of(&name.schema)),
        Relation::Sharded { .. } | Relation::Reference { .. } | Relation::Unsharded { .. } | Relation::System => None,
    }
}

pub(crate) fn note(first: &mut Option<Box<str>>, name: &str) {
    first.get_or_insert_with(|| name.into());
}

/// `current_schemas(false)`
fn leaves_implicit_out(args: &[FunctionArg]) -> bool {
    matches!(
        args,
        [FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(literal)))] if literal.value == Literal::Boolean(false)
    )
}

/// What is the same at home hides nothing else.
fn note_server(uses: &mut Uses, name: &str) {
    if uses.server.as_deref().is_none_or(is_same_at_home) {
        uses.server = Some(name.into());
    }
}

/// `current_setting` of what no server has but by its clients.
fn asks_client(function: &Function) -> bool {
    setting_of(function).is_some_and(|name| name.contains('.') && !name.to_ascii_lowercase().starts_with("pgloom."))
}

/// `current_setting` of what clients can set, and servers or the router have by themselves too.
fn asks_session(function: &Function) -> bool {
    const NAMES: [&str; 5] = ["application_name", "timezone", "search_path", "datestyle", "intervalstyle"];
    let asks = |name: &str| name.contains('.') || NAMES.iter().any(|of| name.eq_ignore_ascii_case(of));
    setting_of(function).is_some_and(asks)
}

/// The setting that `current_setting` is asked for, where a literal says it.
fn setting_of(function: &Function) -> Option<&str> {
    match *plain_args(function)?.first()? {
        Expr::Value(ValueWithSpan { value: Literal::SingleQuotedString(name), .. }) => Some(name),
        _ => None,
    }
}

/// `set_config(name, value, true)`: ends with the transaction.
fn sets_locally(args: &[FunctionArg]) -> bool {
    let third = args.get(2);
    matches!(third, Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(literal)))) if literal.value == Literal::Boolean(true))
}

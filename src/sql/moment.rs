//! The time in a statement that several shards run their parts of. Each of them has begun its transaction at a moment of its own, and one
//! Postgres has one: the functions that read the clock are replaced by that one, as a constant.

use std::ops::ControlFlow;

use sqlparser::ast::{
    CastKind, DataType, Expr, Function, FunctionArguments, Ident, ObjectName, Query, Select, SelectItem, Statement,
    TableFactor, TimezoneInfo, Value as Literal, Visit, VisitMut, Visitor, VisitorMut,
};

use crate::sql::NameScope;
use crate::sql::colnames::output_name;
use crate::sql::functions::{FunctionClass, classify};
use crate::sql::names::parts;
use crate::sql::outcome::TRANSACTION_MOMENT;
use crate::sql::pieces::{moment_hole, parameter_hole};

/// Puts the time in the place of every call that reads the clock of the transaction; `None`: there is one in whose place nothing can stand.
pub(crate) fn tell_time(tree: &mut Statement, scope: &NameScope<'_>) -> Option<()> {
    let moment = cast(placeholder(moment_hole()), DataType::Timestamp(None, TimezoneInfo::WithTimeZone));
    VisitMut::visit(tree, &mut Tell { scope, moment }).is_continue().then_some(())
}

/// The same in a query that is pulled, which gets the time as a parameter.
pub(crate) fn tell_shard_time(query: &mut Query, scope: &NameScope<'_>) -> Option<()> {
    let moment = placeholder(parameter_hole(TRANSACTION_MOMENT));
    VisitMut::visit(query, &mut Tell { scope, moment }).is_continue().then_some(())
}

/// Whether something in it reads the clock.
pub(crate) fn reads_clock<T: Visit>(tree: &T, scope: &NameScope<'_>) -> bool {
    Visit::visit(tree, &mut Find { scope }).is_break()
}

/// The name of a function that reads the clock.
fn clock_name(name: &ObjectName, scope: &NameScope<'_>) -> Option<String> {
    let (schema, name) = parts(name)?;
    (classify(scope, schema.as_deref(), &name) == FunctionClass::Clock).then_some(name)
}

/// What a call reads of the clock: its name, where it is no difference of two times.
fn called(function: &Function, scope: &NameScope<'_>) -> Option<String> {
    let name = clock_name(&function.name, scope)?;
    let two = matches!(&function.args, FunctionArguments::List(list) if list.args.len() == 2);
    (name != "age" || !two).then_some(name)
}

/// Whether a call of this name without arguments says the time at which the transaction began.
pub(crate) fn says_moment(function: &Function, scope: &NameScope<'_>) -> bool {
    called(function, scope).is_some_and(|name| type_of_value(function, &name).is_some())
}

struct Find<'a, 's> {
    scope: &'a NameScope<'s>,
}

impl Visitor for Find<'_, '_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match expr {
            Expr::Function(function) if called(function, self.scope).is_some() => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        match factor {
            TableFactor::Table { name, args: Some(_), .. } | TableFactor::Function { name, .. }
                if clock_name(name, self.scope).is_some() =>
            {
                ControlFlow::Break(())
            }
            _ => ControlFlow::Continue(()),
        }
    }
}

struct Tell<'a, 's> {
    scope: &'a NameScope<'s>,
    /// The time, a timestamptz.
    moment: Expr,
}

impl VisitorMut for Tell<'_, '_> {
    type Break = ();

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        // A column is called by the function, and a constant has no such name.
        for item in &mut select.projection {
            if let SelectItem::UnnamedExpr(expr) = item
                && reads_clock(expr, self.scope)
            {
                let alias = Ident::with_quote('"', output_name(expr));
                *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias };
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        let Expr::Function(function) = expr else { return ControlFlow::Continue(()) };
        let Some(name) = called(function, self.scope) else { return ControlFlow::Continue(()) };
        let Some(other) = type_of_value(function, &name) else { return ControlFlow::Break(()) };
        let moment = self.moment.clone();
        *expr = match other {
            Some(data_type) => cast(moment, data_type),
            None => moment,
        };
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        match factor {
            TableFactor::Table { name, args: Some(_), .. } | TableFactor::Function { name, .. }
                if clock_name(name, self.scope).is_some() =>
            {
                ControlFlow::Break(())
            }
            _ => ControlFlow::Continue(()),
        }
    }
}

/// The type of what a call says, where it is the time at which the transaction began; `Some(None)`: timestamptz.
fn type_of_value(function: &Function, name: &str) -> Option<Option<DataType>> {
    let bare = match &function.args {
        FunctionArguments::None => true,
        FunctionArguments::List(list) => list.args.is_empty() && list.clauses.is_empty(),
        FunctionArguments::Subquery(_) => false,
    };
    let plain = bare && function.over.is_none() && function.filter.is_none() && function.within_group.is_empty();
    let of = match name {
        "now" | "current_timestamp" | "transaction_timestamp" => None,
        "current_date" => {
            let name = ObjectName::from(vec![Ident::new("pg_catalog"), Ident::new("date")]);
            Some(DataType::Custom(name, Vec::new()))
        }
        "current_time" => Some(DataType::Time(None, TimezoneInfo::WithTimeZone)),
        "localtime" => Some(DataType::Time(None, TimezoneInfo::None)),
        "localtimestamp" => Some(DataType::Timestamp(None, TimezoneInfo::None)),
        _ => return None,
    };
    plain.then_some(of)
}

fn placeholder(hole: String) -> Expr {
    Expr::value(Literal::Placeholder(hole))
}

fn cast(expr: Expr, data_type: DataType) -> Expr {
    Expr::Cast { kind: CastKind::Cast, expr: Box::new(expr), data_type, format: None }
}

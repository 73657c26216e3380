//! UPDATE that changes the sharding key: the DELETE of the old rows returns, beside each, what SET takes from the tables of the FROM and from
//! queries within it.

use std::ops::ControlFlow;

use sqlparser::ast::{
    Assignment, Expr, Ident, Query, SelectItem, SelectItemQualifiedWildcardKind, TableWithJoins, Update,
    UpdateTableFromKind, Value as Literal, ValueWithSpan, Visit, VisitMut, Visitor, VisitorMut,
};

use crate::catalog::{Column, ColumnDefault};
use crate::sql::exprs::Ctes;
use crate::sql::facts::unnest;
use crate::sql::finish::is_same_at_home;
use crate::sql::inserting::has_query;
use crate::sql::literals::Literals;
use crate::sql::model::{ColumnType, LeafId, LevelId, Model, Uses};
use crate::sql::names::{folded, parts};
use crate::types::oid;

/// An UPDATE without its FROM and the queries in its SET: what these gave has become columns of the changed table.
pub(crate) struct Unjoined {
    pub update: Update,
    pub from: Vec<TableWithJoins>,
    pub beside: Vec<Beside>,
}

/// A column that comes from the FROM, or from a query.
pub(crate) struct Beside {
    /// As the client writes it.
    pub expr: Expr,
    /// Under a name that no column of a table has.
    pub column: Column,
}

impl Unjoined {
    /// `level`: that of the UPDATE, `changed`: its table, known there by the name `alias`. `scratch`: another model of the same walk, with the
    /// queries of WITH, to look at the queries in SET with.
    ///
    /// # Errors
    /// What cannot be taken out, in words.
    pub fn of(
        model: &Model<'_>,
        (level, changed): (LevelId, LeafId),
        alias: &str,
        update: &Update,
        scratch: (&mut Model<'_>, &Ctes<'_>),
    ) -> Result<Self, String> {
        let from = match &update.from {
            None => Vec::new(),
            Some(UpdateTableFromKind::AfterSet(from)) => from.clone(),
            Some(UpdateTableFromKind::BeforeSet(_)) => return Err("this form of UPDATE is not understood".to_owned()),
        };
        if update.from.is_none() && !has_query(&update.assignments) {
            return Ok(Self { update: update.clone(), from, beside: Vec::new() });
        }
        let columns = Columns { model, level, changed };
        if update.from.is_some() {
            columns.check_returning(alias, update.returning.as_deref().unwrap_or_default())?;
        }
        let mut update = Update { from: None, ..update.clone() };
        let mut taken = Taken { columns, alias, scratch, beside: Vec::new(), asks: false };
        for Assignment { value, .. } in &mut update.assignments {
            if let ControlFlow::Break(why) = value.visit(&mut taken) {
                return Err(why);
            }
        }
        let (beside, asks) = (taken.beside, taken.asks);
        if !beside.is_empty() {
            tell_values(&from, &model.literals);
        }
        if asks {
            check_asked(&model.uses)?;
        }
        Ok(Self { update, from, beside })
    }
}

/// A query in SET is asked where the old rows lie, of which one Postgres has but one place.
fn check_asked(uses: &Uses) -> Result<(), String> {
    if let Some(column) = &uses.system_column {
        return Err(format!("there is a subquery in its SET, and it uses system column \"{column}\""));
    }
    let server = uses.server.as_ref().filter(|name| !is_same_at_home(name));
    match [&uses.unknown_function, &uses.user_function].into_iter().flatten().chain(server).next() {
        Some(function) => Err(format!("there is a subquery in its SET, and it calls {function}()")),
        None => Ok(()),
    }
}

/// Their types follow from what they say, which a query that is asked for types alone has in it: they may not differ from call to call.
pub(crate) fn tell_values(part: &impl Visit, literals: &Literals) {
    struct Told<'a>(&'a Literals);
    impl Visitor for Told<'_> {
        type Break = ();
        fn pre_visit_value(&mut self, value: &ValueWithSpan) -> ControlFlow<()> {
            self.0.tell(value);
            ControlFlow::Continue(())
        }
    }
    let _ = part.visit(&mut Told(literals));
}

/// The same without parameters, for a query that is asked for types alone.
pub(crate) fn without_parameters<T: VisitMut + Clone>(part: &T) -> T {
    struct Parameters;
    impl VisitorMut for Parameters {
        type Break = ();
        fn pre_visit_value(&mut self, value: &mut ValueWithSpan) -> ControlFlow<()> {
            if let Literal::Placeholder(_) = value.value {
                value.value = Literal::Null;
            }
            ControlFlow::Continue(())
        }
    }
    let mut part = part.clone();
    let _ = VisitMut::visit(&mut part, &mut Parameters);
    part
}

/// What names mean in the UPDATE.
struct Columns<'m, 's> {
    model: &'m Model<'s>,
    level: LevelId,
    changed: LeafId,
}

impl Columns<'_, '_> {
    fn is_own(&self, names: &[Ident]) -> bool {
        self.model.find_column(self.level, names).is_some_and(|found| found.leaf == self.changed)
    }

    /// RETURNING sees the new rows alone, where they are written.
    fn check_returning(&self, alias: &str, items: &[SelectItem]) -> Result<(), String> {
        struct Names<'a, 'm, 's>(&'a Columns<'m, 's>);
        impl Visitor for Names<'_, '_, '_> {
            type Break = ();
            fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
                let own = match expr {
                    Expr::Identifier(name) => self.0.is_own(std::slice::from_ref(name)),
                    Expr::CompoundIdentifier(names) => self.0.is_own(names),
                    Expr::Wildcard(_) | Expr::QualifiedWildcard(..) => false,
                    _ => true,
                };
                if own { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            }
        }
        for item in items {
            let own = match item {
                SelectItem::UnnamedExpr(expr)
                | SelectItem::ExprWithAlias { expr, .. }
                | SelectItem::ExprWithAliases { expr, .. } => expr.visit(&mut Names(self)).is_continue(),
                SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) => {
                    parts(name).is_some_and(|(of, name)| of.is_none() && name == alias)
                }
                SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::Expr(_), _) => false,
                SelectItem::Wildcard(_) => false,
            };
            if !own {
                return Err("its RETURNING shows more than the changed table's columns".to_owned());
            }
        }
        Ok(())
    }
}

/// Takes the columns of other tables, and queries, out of an expression.
struct Taken<'a, 'm, 's, 't, 'q> {
    columns: Columns<'m, 's>,
    alias: &'a str,
    scratch: (&'a mut Model<'t>, &'a Ctes<'q>),
    beside: Vec<Beside>,
    /// There are queries.
    asks: bool,
}

impl Taken<'_, '_, '_, '_, '_> {
    fn take(&mut self, expr: &mut Expr) -> Result<(), String> {
        if let Some((ty, typmod)) = self.query(expr)? {
            tell_values(expr, &self.columns.model.literals);
            self.asks = true;
            self.put(expr, ty, typmod);
            return Ok(());
        }
        let names = match &*expr {
            Expr::Identifier(name) => std::slice::from_ref(name),
            Expr::CompoundIdentifier(names) => &names[..],
            Expr::Wildcard(_) | Expr::QualifiedWildcard(..) => {
                return Err("it uses whole rows in its SET".to_owned());
            }
            _ => return Ok(()),
        };
        let model = self.columns.model;
        let Some(found) = model.find_column(self.columns.level, names) else {
            let name = names.last().map(folded).unwrap_or_default();
            return Err(format!("\"{name}\" in its SET is not understood"));
        };
        if found.leaf == self.columns.changed {
            return Ok(());
        }
        let (Some(ty), Some(node)) = (found.column.ty, found.column.node) else {
            return Err(format!("the type of column \"{}\" is not known", found.column.name));
        };
        self.put(expr, ty, model.nodes[node].typmod);
        Ok(())
    }

    /// What an expression gives that asks a query.
    fn query(&mut self, expr: &Expr) -> Result<Option<(ColumnType, i32)>, String> {
        let query: &Query = match expr {
            Expr::Exists { .. } | Expr::InSubquery { .. } => return Ok(Some((ColumnType::plain(oid::BOOL), -1))),
            Expr::AnyOp { right, .. } | Expr::AllOp { right, .. } => {
                let is_query = matches!(unnest(right), Expr::Subquery(_));
                return Ok(is_query.then(|| (ColumnType::plain(oid::BOOL), -1)));
            }
            Expr::Subquery(query) => query,
            _ => return Ok(None),
        };
        let unknown = || "the type of a subquery in its SET is not known".to_owned();
        let level = self.columns.level;
        let (scratch, ctes) = &mut self.scratch;
        let rows = scratch.query(query, Some(level), None, ctes).map_err(|_| unknown())?;
        let [column] = &rows.columns.list[..] else { return Err(unknown()) };
        let ty = column.ty.filter(|_| rows.columns.complete).ok_or_else(unknown)?;
        let typmod = column.node.and_then(|node| scratch.nodes.get(node)).map_or(-1, |node| node.typmod);
        Ok(Some((ty, typmod)))
    }

    /// Has the old rows return it beside their own columns.
    fn put(&mut self, expr: &mut Expr, ty: ColumnType, typmod: i32) {
        let is_name = matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_));
        // A query is asked as often as it is written.
        let known = self.beside.iter().position(|other| is_name && other.expr == *expr);
        let at = known.unwrap_or(self.beside.len());
        let name: Box<str> = format!("pgloom_from_{at}").into();
        let here = [self.alias, &name].map(|name| Ident::with_quote('"', name)).to_vec();
        let theirs = std::mem::replace(expr, Expr::CompoundIdentifier(here));
        if known.is_none() {
            let column = Column {
                name,
                type_oid: ty.oid,
                typmod,
                collation: ty.collation,
                collation_name: None,
                not_null: false,
                generated: false,
                default: ColumnDefault::None,
                declared: None,
            };
            self.beside.push(Beside { expr: theirs, column });
        }
    }
}

impl VisitorMut for Taken<'_, '_, '_, '_, '_> {
    type Break = String;

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<String> {
        match self.take(expr) {
            Ok(()) => ControlFlow::Continue(()),
            Err(why) => ControlFlow::Break(why),
        }
    }
}

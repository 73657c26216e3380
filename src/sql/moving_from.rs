//! UPDATE ... FROM that changes the sharding key: the DELETE of the old rows returns, beside each, what SET takes from the other tables.

use std::ops::ControlFlow;

use sqlparser::ast::{
    Assignment, Expr, Ident, SelectItem, SelectItemQualifiedWildcardKind, TableWithJoins, Update, UpdateTableFromKind,
    Visit, VisitMut, Visitor, VisitorMut,
};

use crate::catalog::{Column, ColumnDefault};
use crate::sql::model::{LeafId, LevelId, Model};
use crate::sql::names::{folded, parts};

/// An UPDATE without its FROM: what its SET took from there has become columns of the changed table.
pub(crate) struct Unjoined {
    pub update: Update,
    pub from: Vec<TableWithJoins>,
    pub beside: Vec<Beside>,
}

/// A column that comes from the FROM.
pub(crate) struct Beside {
    /// As the client names it.
    pub expr: Expr,
    /// Under a name that no column of a table has.
    pub column: Column,
}

impl Unjoined {
    /// `level`: that of the UPDATE, `changed`: its table, known there by the name `alias`.
    ///
    /// # Errors
    /// What cannot be taken out, in words.
    pub fn of(
        model: &Model<'_>,
        (level, changed): (LevelId, LeafId),
        alias: &str,
        update: &Update,
    ) -> Result<Self, String> {
        let from = match &update.from {
            None => return Ok(Self { update: update.clone(), from: Vec::new(), beside: Vec::new() }),
            Some(UpdateTableFromKind::AfterSet(from)) => from.clone(),
            Some(UpdateTableFromKind::BeforeSet(_)) => return Err("this form of UPDATE is not understood".to_owned()),
        };
        let columns = Columns { model, level, changed };
        columns.check_returning(alias, update.returning.as_deref().unwrap_or_default())?;
        let mut update = Update { from: None, ..update.clone() };
        let mut taken = Taken { columns, alias, beside: Vec::new() };
        for Assignment { value, .. } in &mut update.assignments {
            if let ControlFlow::Break(why) = value.visit(&mut taken) {
                return Err(why);
            }
        }
        let beside = taken.beside;
        if !beside.is_empty() && has_values(&from) {
            return Err("its FROM has values in it".to_owned());
        }
        Ok(Self { update, from, beside })
    }
}

/// Whether there is a literal or a parameter.
pub(crate) fn has_values(part: &impl Visit) -> bool {
    struct HasValues;
    impl Visitor for HasValues {
        type Break = ();
        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            if matches!(expr, Expr::Value(_)) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
    }
    part.visit(&mut HasValues).is_break()
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

/// Takes the columns of other tables out of an expression.
struct Taken<'a, 'm, 's> {
    columns: Columns<'m, 's>,
    alias: &'a str,
    beside: Vec<Beside>,
}

impl Taken<'_, '_, '_> {
    fn take(&mut self, expr: &mut Expr) -> Result<(), String> {
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
        let known = self.beside.iter().position(|other| other.expr == *expr);
        let at = known.unwrap_or(self.beside.len());
        let name: Box<str> = format!("pgloom_from_{at}").into();
        let here = [self.alias, &name].map(|name| Ident::with_quote('"', name)).to_vec();
        let theirs = std::mem::replace(expr, Expr::CompoundIdentifier(here));
        if known.is_none() {
            let column = Column {
                name,
                type_oid: ty.oid,
                typmod: model.nodes[node].typmod,
                collation: ty.collation,
                collation_name: None,
                not_null: false,
                generated: false,
                default: ColumnDefault::None,
                declared: None,
            };
            self.beside.push(Beside { expr: theirs, column });
        }
        Ok(())
    }
}

impl VisitorMut for Taken<'_, '_, '_> {
    type Break = String;

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<String> {
        match self.take(expr) {
            Ok(()) => ControlFlow::Continue(()),
            Err(why) => ControlFlow::Break(why),
        }
    }
}

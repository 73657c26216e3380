//! count, sum and avg of DISTINCT values over several shards: each shard groups by the values too and sends them in order, so that the
//! router sees equal ones next to each other and has to keep one.

use std::ops::ControlFlow;

use sqlparser::ast::{CaseWhen, DuplicateTreatment, Expr, Function, FunctionArguments, Visit, Visitor};

use crate::sql::combine::{DistinctFold, Fold};
use crate::sql::facts::{plain_args, unnest};
use crate::sql::functions::returns_sets;
use crate::sql::groups::{Partial, Partly};
use crate::sql::infer::{is_number, type_of};
use crate::sql::model::{ColumnType, NodeId, Obstacle};
use crate::sql::names::parts;
use crate::sql::shape::{Shape, has_order, is_ordered_text};

impl Shape<'_, '_> {
    /// How an aggregate over distinct values is made of the values themselves.
    pub fn of_values(&self, expr: &Expr, function: &Function, name: &str) -> Result<Partly, Obstacle> {
        let refuse = |why: &str| Obstacle::new(format!("{expr}: DISTINCT {why}"));
        let of = match name {
            "count" => DistinctFold::Count,
            "sum" => DistinctFold::Sum,
            "avg" => DistinctFold::Avg,
            _ => return Err(refuse("values of a column that is not the sharding key")),
        };
        // What Postgres says no to is for a Postgres to say no to.
        let ordered = matches!(&function.args, FunctionArguments::List(list) if !list.clauses.is_empty());
        let value = match plain_args(function).as_deref() {
            // A constant in the select list is no column to group by.
            Some([arg]) if !ordered && !matches!(unnest(arg), Expr::Value(_)) && !has_sets(arg) => *arg,
            _ => return Err(refuse("values that are not one expression")),
        };
        let fits = |ty: ColumnType| match of {
            DistinctFold::Count => is_sortable(ty),
            DistinctFold::Sum | DistinctFold::Avg => is_number(ty.oid),
        };
        if !type_of(self.model, self.level, value).is_some_and(fits) {
            return Err(refuse(
                "values of this type or collation cannot be compared outside of Postgres with certainty",
            ));
        }
        Ok(Partly::Distinct(of, Box::new(filtered(value, function.filter.as_deref()))))
    }

    /// `count(DISTINCT key)`: a value lies on one shard, so no shard counts another's.
    pub fn distinct_by_key(&self, function: &Function) -> bool {
        let Some(args) = plain_args(function) else { return false };
        let nodes: Vec<NodeId> = args.iter().filter_map(|arg| self.node(arg)).collect();
        args.len() == 1 && self.refs.iter().any(|reference| self.model.has_key(&nodes, *reference))
    }

    /// The columns of distinct values. The shards can put the values of one expression in order, not of several.
    pub fn value_columns(&self, partial: &Partial, grouped: bool) -> Result<Vec<usize>, Obstacle> {
        let mut values: Vec<(usize, &Expr)> = Vec::new();
        for (at, (expr, fold)) in partial.exprs.iter().enumerate() {
            let Partly::Distinct(_, value) = fold else { continue };
            if values.first().is_some_and(|(_, first)| !self.same(first, value)) {
                return Err(Obstacle::new(format!("{expr}: DISTINCT values of several columns")));
            }
            values.push((at, value));
        }
        if values.is_empty() {
            return Ok(Vec::new());
        }
        for (expr, fold) in &partial.exprs {
            match fold {
                // A shard's part of a group is cut up by the values, and one value of the key can be in several pieces.
                Partly::Fold(Fold::Count | Fold::Sum) if is_over_distinct(expr) => {
                    return Err(Obstacle::new(format!("{expr}: DISTINCT values of several columns")));
                }
                // Of no rows there is no group, and nobody to say the constant.
                Partly::Group if !grouped => {
                    return Err(Obstacle::new(format!("{expr}: a constant beside DISTINCT values")));
                }
                Partly::Group | Partly::Fold(_) | Partly::Avg | Partly::Distinct(..) => {}
            }
        }
        Ok(values.into_iter().map(|(at, _)| at).collect())
    }
}

/// Whether the shards can put values in an order that the router knows: their own, or that of their bytes.
pub(crate) fn is_sortable(ty: ColumnType) -> bool {
    has_order(ty) || is_ordered_text(ty)
}

pub(crate) fn has_distinct(function: &Function) -> bool {
    matches!(&function.args, FunctionArguments::List(list) if list.duplicate_treatment == Some(DuplicateTreatment::Distinct))
}

fn is_over_distinct(expr: &Expr) -> bool {
    matches!(unnest(expr), Expr::Function(function) if has_distinct(function))
}

/// Whether an expression calls a function that can give several rows.
pub(crate) fn has_sets(expr: &Expr) -> bool {
    struct HasSets;
    impl Visitor for HasSets {
        type Break = ();
        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            match expr {
                Expr::Function(function) if parts(&function.name).is_some_and(|(_, name)| returns_sets(&name)) => {
                    ControlFlow::Break(())
                }
                _ => ControlFlow::Continue(()),
            }
        }
    }
    expr.visit(&mut HasSets).is_break()
}

/// The value where the filter lets it through, else NULL, which is not counted.
fn filtered(value: &Expr, filter: Option<&Expr>) -> Expr {
    let nested = |expr: &Expr| Expr::Nested(Box::new(unnest(expr).clone()));
    let Some(filter) = filter else { return unnest(value).clone() };
    Expr::Case {
        case_token: sqlparser::ast::helpers::attached_token::AttachedToken::empty(),
        end_token: sqlparser::ast::helpers::attached_token::AttachedToken::empty(),
        operand: None,
        conditions: vec![CaseWhen { condition: nested(filter), result: nested(value) }],
        else_result: None,
    }
}

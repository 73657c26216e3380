//! Columns of queries in FROM and WITH whose values the statement itself gives: constants in a select list, rows of VALUES.

use sqlparser::ast::{CaseWhen, Expr, Select, Value as Literal, Values};

use crate::sql::facts::{as_select, unnest};
use crate::sql::infer::{is_text, number_type, type_of};
use crate::sql::keys::{Operand, Source, Value};
use crate::sql::merge_keys::one_row;
use crate::sql::model::{ColumnType, Columns, Cond, Fact, LeafId, LevelId, Model};
use crate::sql::query::item_expr;
use crate::types::oid;

impl Model<'_> {
    /// The constants among the columns of a SELECT that is a FROM item.
    pub fn note_constants(&mut self, level: LevelId, leaf: LeafId, select: &Select, columns: &mut Columns) {
        for at in 0..columns.list.len() {
            let Some(expr) = item_expr(select, at) else { return };
            if columns.list[at].node.is_none()
                && let Some((ty, value)) = self.constant(level, expr)
            {
                self.add_values(leaf, columns, at, ty, Self::operand(vec![value]));
            }
        }
    }

    /// The columns of VALUES that is a FROM item.
    pub fn note_values(&mut self, level: LevelId, leaf: LeafId, values: &Values, columns: &mut Columns) {
        for at in 0..columns.list.len() {
            let cells = values.rows.iter().map(|row| self.constant(level, row.content.get(at)?));
            // Of one type: what two have in common is not modelled.
            let Some(cells) = cells.collect::<Option<Vec<(ColumnType, Value)>>>() else { continue };
            let Some((ty, _)) = cells.first().cloned() else { continue };
            if cells.iter().all(|(of, _)| *of == ty) {
                let operand = Self::operand(cells.into_iter().map(|(_, value)| value).collect());
                columns.list[at].ty = Some(ty);
                self.add_values(leaf, columns, at, ty, operand);
            }
        }
    }

    /// What is surely known, else values beside the table.
    fn operand(mut values: Vec<Value>) -> Operand {
        let is_plain = |value: &Value| match value.source {
            Source::Number { .. } | Source::Bool(_) => true,
            Source::Text(_) => value.cast == Some(oid::TEXT),
            _ => false,
        };
        match (values.iter().all(is_plain), values.len()) {
            (true, 1) => Operand::One(values.remove(0)),
            (true, _) => Operand::List(values),
            (false, _) => Operand::Beside(values),
        }
    }

    fn add_values(&mut self, leaf: LeafId, columns: &mut Columns, at: usize, ty: ColumnType, operand: Operand) {
        let node = self.add_made_node(leaf, ty, -1);
        columns.list[at].node = Some(node);
        self.facts.push(Fact { cond: Cond::Equal { node, leaf, operand }, leaves: vec![leaf] });
    }

    /// A value that is no column's, with the type that it has by itself.
    fn constant(&self, level: LevelId, expr: &Expr) -> Option<(ColumnType, Value)> {
        let value = self.as_fixed_value(expr).filter(|value| value.source != Source::Null)?;
        let ty = type_of(self, level, expr)?;
        let value = match (value.cast, &value.source) {
            (Some(to), _) => (to == ty.oid).then_some(value)?,
            (None, Source::Text(_)) => Value { cast: Some(oid::TEXT), ..value },
            (None, Source::Number { .. } | Source::Bool(_)) => value,
            // What a parameter is without a cast, or arithmetic with one, is not known here.
            (None, _) => return None,
        };
        let plain = !is_text(ty.oid) || ty.collation.equality_is_bytes();
        plain.then_some((ty, value))
    }

    /// The value of `(SELECT constant)`.
    pub fn selected_value(&self, expr: &Expr) -> Option<Value> {
        let query = match unnest(expr) {
            Expr::Subquery(query) => query,
            // So the first member of a list is read: see `spelling::looser`.
            Expr::Case { operand: None, conditions, else_result: None, .. } => match &conditions[..] {
                [CaseWhen { condition: Expr::Value(condition), result }]
                    if condition.value == Literal::Boolean(true) =>
                {
                    return self.selected_value(result);
                }
                _ => return None,
            },
            _ => return None,
        };
        as_select(query)?;
        let row = one_row(query)?;
        let [expr] = row[..] else { return None };
        let value = self.as_fixed_value(expr)?;
        // By its own type, whatever it stands beside.
        let cast = match (value.cast, &value.source) {
            (Some(to), _) => to,
            (None, Source::Number { digits, .. }) => {
                let ty = number_type(digits);
                (ty != oid::NUMERIC).then_some(ty)?
            }
            (None, Source::Text(_) | Source::Parameter { .. }) => oid::TEXT,
            (None, Source::Bool(_)) => oid::BOOL,
            (None, Source::Null | Source::Slot { .. } | Source::Computed(_)) => return None,
        };
        Some(Value { cast: Some(cast), ..value })
    }
}

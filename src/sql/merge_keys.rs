//! Where the rows that a MERGE inserts have their sharding key from.

use sqlparser::ast::{BinaryOperator, Expr, Merge, MergeInsertExpr, Query, SelectItem, SetExpr, TableFactor};

use crate::catalog::Table;
use crate::fault::Fault;
use crate::ids::{DistributionId, QualifiedName};
use crate::sql::facts::{as_select, conjuncts, row, unnest};
use crate::sql::infer::type_of;
use crate::sql::keys::Value;
use crate::sql::merging::{no_origin, value_of};
use crate::sql::model::{LeafId, Model, NodeId, RefId, Spread, family};
use crate::sql::query::is_grouped;
use crate::sql::supplying::Sorted;

/// Which row of the source a new row has its key from.
pub(crate) enum Origin {
    /// A sharded table: the new row belongs to the shard that has the source's row.
    Lies(RefId),
    /// Columns of the source, by their places: those that ON compares with the key.
    Columns(Vec<usize>),
}

/// A MERGE into a sharded table that can insert.
pub(crate) struct Keyed<'a> {
    pub name: &'a QualifiedName,
    pub table: &'a Table,
    pub distribution: DistributionId,
    pub key: &'a [Box<str>],
    /// The key's nodes.
    pub nodes: Vec<NodeId>,
    pub leaf: LeafId,
    pub source: LeafId,
    pub merge: &'a Merge,
}

impl Keyed<'_> {
    /// Where the new rows have their keys from; or in words why that is not known.
    pub fn origin(&self, model: &Model<'_>, inserted: &[&MergeInsertExpr]) -> Result<Origin, String> {
        let values = self.values(inserted)?;
        match self.lies(model, &values) {
            Some(of) => Ok(Origin::Lies(of)),
            None => self.columns(model, inserted).map(Origin::Columns),
        }
    }

    /// What the new rows get as their keys, of each INSERT one after the other.
    fn values<'i>(&self, inserted: &[&'i MergeInsertExpr]) -> Result<Vec<&'i Expr>, String> {
        let mut values = Vec::new();
        for insert in inserted {
            for key in self.key {
                let value = value_of(self.table, insert, key);
                values.push(value.ok_or_else(|| format!("it gives no value to the sharding key \"{key}\""))?);
            }
        }
        Ok(values)
    }

    /// The columns of the source that ON compares with the key, where the new rows have their keys from these.
    pub fn columns(&self, model: &Model<'_>, inserted: &[&MergeInsertExpr]) -> Result<Vec<usize>, String> {
        let values = self.values(inserted)?;
        let mut columns = Vec::new();
        for (at, node) in self.nodes.iter().enumerate() {
            let column = self.compared(model, *node).ok_or_else(|| {
                format!("ON does not compare the sharding key \"{}\" with a column of the source", self.key[at])
            })?;
            let of_key = values.iter().skip(at).step_by(self.key.len());
            if !of_key.into_iter().all(|value| self.source_column(model, value) == Some(column)) {
                return Err(format!("the new row's \"{}\" is not the column that ON compares with it", self.key[at]));
            }
            if !self.keeps(model, at, column) {
                return Err(format!("the source's column could change its value as \"{}\"", self.key[at]));
            }
            columns.push(column);
        }
        Ok(columns)
    }

    /// A sharded table of the source whose key is the new rows' and compared with the table's own.
    fn lies(&self, model: &Model<'_>, values: &[&Expr]) -> Option<RefId> {
        let level = model.leaves[self.leaf].level;
        let Spread::Parted { anchors, .. } = &model.leaves[self.source].spread else { return None };
        let nodes: Option<Vec<NodeId>> =
            values.iter().map(|value| model.as_column(level, value).and_then(|found| found.column.node)).collect();
        let nodes = nodes?;
        let is_key = |of: &&RefId| {
            let of = &model.refs[**of];
            let ties = self.nodes.iter().zip(&of.key).all(|(own, key)| model.reach(*own).contains(key));
            let takes = nodes.iter().zip(of.key.iter().cycle()).all(|(node, key)| model.reach(*node).contains(key));
            let kept = self.nodes.iter().zip(&of.key).all(|(own, key)| {
                let (own, key) = (&model.nodes[*own], &model.nodes[*key]);
                own.typmod == -1 || (own.ty.oid == key.ty.oid && own.typmod == key.typmod)
            });
            of.distribution == self.distribution && ties && takes && kept
        };
        anchors.iter().find(is_key).copied()
    }

    /// The column of the source that ON says equals a column of the table.
    fn compared(&self, model: &Model<'_>, node: NodeId) -> Option<usize> {
        let level = model.leaves[self.leaf].level;
        let is_key = |expr: &Expr| model.as_column(level, expr).is_some_and(|found| found.column.node == Some(node));
        let equalities = conjuncts(&self.merge.on).into_iter().flat_map(equalities);
        equalities.into_iter().find_map(|(left, right)| match (is_key(left), is_key(right)) {
            (true, _) => self.source_column(model, right),
            (_, true) => self.source_column(model, left),
            (false, false) => None,
        })
    }

    /// Its place among the source's columns, where an expression is plainly one of them.
    fn source_column(&self, model: &Model<'_>, expr: &Expr) -> Option<usize> {
        let plain = matches!(unnest(expr), Expr::Identifier(_) | Expr::CompoundIdentifier(_));
        let found =
            model.as_column(model.leaves[self.leaf].level, expr).filter(|found| plain && found.leaf == self.source)?;
        let columns = &model.leaves[self.source].columns;
        let place = columns.list.iter().position(|column| column.name == found.column.name);
        place.filter(|_| columns.complete)
    }

    /// Whether a value of the source's column comes to be in the table's as it is, and is compared as it is.
    fn keeps(&self, model: &Model<'_>, at: usize, column: usize) -> bool {
        let own = &model.nodes[self.nodes[at]];
        let Some(column) = model.leaves[self.source].columns.list.get(column) else { return false };
        let node = column.node.map(|node| &model.nodes[node]);
        let typmod =
            own.typmod == -1 || node.is_some_and(|node| node.ty.oid == own.ty.oid && node.typmod == own.typmod);
        // What is not known here is seen when the rows are there.
        let collation = column.ty.is_none_or(|ty| ty.collation.equality_is_bytes());
        typmod && collation && own.ty.collation.equality_is_bytes()
    }

    /// The values of these columns, where the source is one row of them.
    pub fn constants(&self, model: &Model<'_>, columns: &[usize]) -> Option<Vec<Value>> {
        let TableFactor::Derived { lateral: false, subquery, sample: None, .. } = &self.merge.source else {
            return None;
        };
        let row = one_row(subquery)?;
        let value = |(at, column): (usize, &usize)| {
            let known = self.table.column(&self.key[at]).is_some_and(|(_, column)| column.not_null);
            let own = &model.nodes[self.nodes[at]];
            let expr = row.get(*column)?;
            let ty = type_of(model, model.leaves[self.leaf].level, expr)?;
            let same = family(ty.oid) == family(own.ty.oid);
            model.as_value(expr).filter(|_| known && same)
        };
        columns.iter().enumerate().map(value).collect()
    }

    pub fn sorted(&self, columns: Vec<usize>) -> Sorted {
        let not_null = |key: &Box<str>| self.table.column(key).is_some_and(|(_, column)| column.not_null);
        Sorted::By {
            source: &raw const self.merge.source,
            columns,
            not_null: self.key.iter().map(not_null).collect(),
            distribution: self.distribution,
            table: self.name.clone(),
        }
    }

    pub fn unplaced(&self) -> Fault {
        no_origin(
            &self.name.name,
            "its source's rows lie on other shards than the rows that they could match".to_owned(),
        )
    }
}

/// What `=` compares, rows member by member.
fn equalities(condition: &Expr) -> Vec<(&Expr, &Expr)> {
    let Expr::BinaryOp { left, op: BinaryOperator::Eq, right } = unnest(condition) else { return Vec::new() };
    match (row(left), row(right)) {
        (Some(left), Some(right)) if left.len() == right.len() => left.into_iter().zip(right).collect(),
        _ => vec![(left, right)],
    }
}

/// What a query of one row returns.
pub(crate) fn one_row(query: &Query) -> Option<Vec<&Expr>> {
    let plain =
        query.with.is_none() && query.order_by.is_none() && query.limit_clause.is_none() && query.fetch.is_none();
    if let SetExpr::Values(values) = &*query.body {
        return match &values.rows[..] {
            [row] if plain => Some(row.content.iter().collect()),
            _ => None,
        };
    }
    let select = as_select(query).filter(|_| plain)?;
    let bare = select.from.is_empty()
        && select.selection.is_none()
        && select.having.is_none()
        && select.distinct.is_none()
        && !is_grouped(select);
    if bare { select.projection.iter().map(item_expr).collect() } else { None }
}

fn item_expr(item: &SelectItem) -> Option<&Expr> {
    match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => Some(expr),
        SelectItem::ExprWithAliases { .. } | SelectItem::QualifiedWildcard(..) | SelectItem::Wildcard(_) => None,
    }
}

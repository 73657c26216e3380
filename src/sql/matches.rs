//! Whether an UPDATE with FROM finds at most one row for each row that it changes. Of several one Postgres takes any; where every shard
//! changes the same rows, one could take another than the next.

use crate::catalog::{RelationKind, Table};
use crate::sql::keys::Operand;
use crate::sql::model::{Cond, LeafId, LevelId, Model, NodeId, TableUse};
use crate::sql::names::Relation;

/// The name of a FROM item of the level which could have several rows for one of the changed table's, that is its first leaf. The model
/// has collected its tables.
pub(crate) fn several_match(model: &Model<'_>, level: LevelId) -> Option<Box<str>> {
    let leaves = &model.levels[level].leaves;
    let mut certain: Vec<LeafId> = leaves.iter().take(1).copied().collect();
    loop {
        let left: Vec<LeafId> = leaves.iter().filter(|leaf| !certain.contains(leaf)).copied().collect();
        let first = *left.first()?;
        let more: Vec<LeafId> = left.into_iter().filter(|leaf| matches_once(model, *leaf, &certain)).collect();
        if more.is_empty() {
            return Some(model.leaves[first].name.clone());
        }
        certain.extend(more);
    }
}

/// Whether there is one row of a leaf at most for each row of others together.
fn matches_once(model: &Model<'_>, leaf: LeafId, others: &[LeafId]) -> bool {
    let tables = model.collected.as_deref().map_or(&[][..], |collected| &collected.tables);
    let Some(table) = tables.iter().find(|table| table.leaf == leaf) else { return false };
    let columns = &model.leaves[leaf].columns;
    let is_given = |column: &usize| {
        let node = columns.list.get(*column).and_then(|column| column.node);
        node.is_some_and(|node| model.reach(node).iter().any(|node| gives(model, *node, others)))
    };
    columns.complete && unique_keys(model, table).any(|key| key.iter().all(is_given))
}

/// Whether a column is one of these leaves' or has one value.
fn gives(model: &Model<'_>, node: NodeId, leaves: &[LeafId]) -> bool {
    leaves.contains(&model.nodes[node].leaf)
        || model.facts.iter().any(|fact| fact.leaves.contains(&model.nodes[node].leaf) && fixes(&fact.cond, node))
}

fn fixes(cond: &Cond, node: NodeId) -> bool {
    match cond {
        Cond::Equal { node: of, operand: Operand::One(_), .. } => *of == node,
        Cond::All(parts) => parts.iter().any(|part| fixes(part, node)),
        Cond::Equal { .. } | Cond::Either(_) | Cond::Between { .. } | Cond::True | Cond::False => false,
    }
}

/// What is unique in all rows of a table, wherever they lie: the positions of the columns.
pub(crate) fn unique_keys<'t>(model: &Model<'_>, table: &'t TableUse) -> impl Iterator<Item = &'t Vec<usize>> {
    let catalog = model.scope.catalog;
    let (of, key): (Option<&Table>, &[Box<str>]) = match &table.relation {
        Relation::Sharded { table, key, .. } => (table.as_deref(), key),
        Relation::Reference { table, .. } | Relation::Unsharded { table, .. } => (table.as_deref(), &[]),
        Relation::View { .. } | Relation::System => (None, &[]),
    };
    let heirs = |of: &&Table| {
        let child = |table: &std::sync::Arc<Table>| table.is_child_of(&of.name);
        of.kind != RelationKind::PartitionedTable && catalog.tables.values().any(child)
    };
    let of = of.filter(|of| !heirs(of));
    of.into_iter().flat_map(move |of| {
        let has = move |unique: &[usize], name: &str| {
            unique.iter().any(|at| of.columns.get(*at).is_some_and(|column| &*column.name == name))
        };
        of.firm_keys().filter(move |unique| key.iter().all(|name| has(unique, name)))
    })
}

//! Families: tables with their partitions and children. What holds rows of another table lies where that one's rows lie.

use std::collections::HashSet;
use std::sync::Arc;

use crate::catalog::Table;
use crate::fault::Fault;
use crate::ids::{QualifiedName, ShardId};
use crate::sql::NameScope;
use crate::sql::analyze::Analyzer;
use crate::sql::named::is_about_session;
use crate::sql::names::{Relation, with_derived};
use crate::sql::utility::StatementKind;
use crate::topology::TableRule;

/// Most tables that are looked at above one.
const MAX_ABOVE: usize = 1024;

/// The rule of the nearest table above that has one.
pub(crate) fn rule_above<'a>(scope: &NameScope<'a>, table: &Table) -> Option<&'a TableRule> {
    let mut above = table.parents.clone();
    let mut at = 0;
    while let Some(name) = above.get(at) {
        if let Some(rule) = scope.topology.rule(name) {
            return Some(rule);
        }
        let further = scope.catalog.table(name).map_or(&[][..], |table| &table.parents);
        let new: Vec<QualifiedName> = further.iter().filter(|name| !above.contains(name)).cloned().collect();
        above.extend(new);
        at += 1;
        if at > MAX_ABOVE {
            break;
        }
    }
    None
}

/// Where the rows of a table lie.
#[derive(PartialEq, Eq)]
enum Lies<'a> {
    By(&'a TableRule),
    On(ShardId),
}

fn lies<'a>(scope: &NameScope<'a>, name: &QualifiedName, table: Option<&Table>) -> Lies<'a> {
    let rule = scope.topology.rule(name).or_else(|| rule_above(scope, table?));
    rule.map_or_else(|| Lies::On(scope.place_of(&name.schema).shard), Lies::By)
}

/// Whether the rows of both lie alike, so that those of one can be rows of the other.
pub(crate) fn lie_alike(one: &Relation, other: &Relation) -> bool {
    match (one, other) {
        (
            Relation::Sharded { distribution, key, .. },
            Relation::Sharded { distribution: other, key: other_key, .. },
        ) => distribution == other && key == other_key,
        (Relation::Reference { .. }, Relation::Reference { .. }) => true,
        (Relation::Unsharded { place, .. }, Relation::Unsharded { place: other, .. }) => place.shard == other.shard,
        (
            Relation::Sharded { .. }
            | Relation::Reference { .. }
            | Relation::Unsharded { .. }
            | Relation::View { .. }
            | Relation::System,
            _,
        ) => false,
    }
}

/// A table above another whose rows lie otherwise, and that other one.
fn torn<'a>(scope: &'a NameScope<'_>) -> impl Iterator<Item = (&'a QualifiedName, &'a Arc<Table>)> {
    let catalog = scope.catalog;
    catalog.tables.values().filter(|table| !table.parents.is_empty()).flat_map(move |child| {
        let own = lies(scope, &child.name, Some(child));
        let differs =
            move |parent: &&QualifiedName| lies(scope, parent, catalog.table(parent).map(|table| &**table)) != own;
        child.parents.iter().filter(differs).map(move |parent| (parent, child))
    })
}

impl Analyzer<'_> {
    /// Refuses a statement that names a table with a partition or child whose rows lie otherwise: no shard could read it whole. The
    /// configuration has come to say so, or it was made behind the router's back.
    pub fn check_families(&self, kind: &StatementKind) -> Result<(), Fault> {
        let scope = &self.scope;
        if scope.topology.is_all_home() || !names_tables(kind) {
            return Ok(());
        }
        let mut names: HashSet<Box<str>> = torn(scope).map(|(parent, _)| parent.name.clone()).collect();
        if names.is_empty() {
            return Ok(());
        }
        // What is above has the rows of all below.
        loop {
            let tables = scope.catalog.tables.values();
            let above: Vec<&QualifiedName> =
                tables.filter(|table| names.contains(&table.name.name)).flat_map(|table| &table.parents).collect();
            let before = names.len();
            names.extend(above.into_iter().map(|parent| parent.name.clone()));
            if names.len() == before {
                break;
            }
        }
        let Some(name) = self.find_name(&with_derived(scope, names), self.text, scope.standard_strings) else {
            return Ok(());
        };
        let (parent, child) = match torn(scope).next() {
            Some((parent, child)) => (parent.to_string(), child.name.to_string()),
            None => return Ok(()),
        };
        Err(Fault::unsupported(
            format!("\"{name}\" cannot be used"),
            format!(
                "table {child} is a partition or child of {parent}, but the configuration places its rows otherwise"
            ),
            "Let the configuration say the same of both, or take the two apart on each shard.",
        ))
    }
}

/// Whether the names in such a statement can be those of tables. (Statements within others are looked at by themselves.)
fn names_tables(kind: &StatementKind) -> bool {
    matches!(kind, StatementKind::AroundExecute(_)) || !is_about_session(kind)
}

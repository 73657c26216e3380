//! Which tables a change of rows can reach: those with which a table shares its rows, and by foreign keys.

use std::collections::HashSet;
use std::sync::Arc;

use crate::catalog::{Catalog, Table};
use crate::ids::QualifiedName;

/// The table with its partitions, its parents and its children, and whatever has foreign keys to any of them.
pub(crate) fn reached(catalog: &Catalog, table: &QualifiedName) -> HashSet<QualifiedName> {
    let mut found = HashSet::from([table.clone()]);
    let mut open = vec![table.clone()];
    while let Some(name) = open.pop() {
        let known = catalog.table(&name);
        let above = known.into_iter().flat_map(|table| table.parents.iter().chain(&table.referenced_by));
        let child = |table: &&Arc<Table>| table.is_child_of(&name);
        let below = catalog.tables.values().filter(child).map(|table| &table.name);
        for next in above.chain(below) {
            if found.insert(next.clone()) {
                open.push(next.clone());
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::RelationKind;

    fn table(name: &str, parents: &[&str], referenced_by: &[&str]) -> (QualifiedName, Arc<Table>) {
        let named = |name: &&str| QualifiedName::new("public", *name);
        let table = Table {
            name: named(&name),
            kind: RelationKind::Table,
            columns: Vec::new(),
            unique_keys: Vec::new(),
            uniques: Default::default(),
            definition: None,
            has_triggers: false,
            effects: None,
            referenced_by: referenced_by.iter().map(named).collect(),
            parents: parents.iter().map(named).collect(),
            owner: None,
        };
        (table.name.clone(), Arc::new(table))
    }

    #[test]
    fn a_change_reaches_what_refers_to_the_rows_under_any_of_their_tables() {
        let mut catalog = Catalog::default();
        catalog.tables.extend([
            table("orders", &[], &[]),
            table("orders_old", &["orders"], &["lines"]),
            table("lines", &[], &["notes"]),
            table("notes", &[], &["notes"]),
            table("other", &[], &["orders"]),
        ]);
        let reached = |name: &str| {
            let found = reached(&catalog, &QualifiedName::new("public", name));
            let mut names: Vec<String> = found.into_iter().map(|name| name.name.to_string()).collect();
            names.sort();
            names
        };
        assert_eq!(reached("orders"), ["lines", "notes", "orders", "orders_old"]);
        assert_eq!(reached("orders_old"), ["lines", "notes", "orders", "orders_old"]);
        assert_eq!(reached("notes"), ["notes"]);
        assert_eq!(reached("other").len(), 5);
    }
}

//! In which collation a column of text is, as far as the catalog tells.

use crate::sql::infer::is_text;
use crate::sql::model::{Column, Model};

/// What goes before the database's own collation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Own {
    /// Nothing: the column's type has no collation, or it is the database's.
    Nothing,
    Named(Box<str>),
    /// Something, or nothing: nobody knows.
    Unknown,
}

impl Model<'_> {
    /// The collation of what gives the column of a table as it is.
    pub fn own_collation(&self, column: &Column) -> Own {
        let Some(ty) = column.ty.or(column.node.map(|node| self.nodes[node].ty)) else { return Own::Unknown };
        if !is_text(ty.oid) {
            return if ty.collation.order_is_bytes() { Own::Nothing } else { Own::Unknown };
        }
        let Some(node) = column.node.filter(|node| !self.nodes[*node].made) else { return Own::Unknown };
        let leaf = self.nodes[node].leaf;
        let tables = self.collected.as_deref().map_or(&[][..], |collected| &collected.tables);
        let table = tables.iter().find(|used| used.leaf == leaf).and_then(|used| used.relation.table());
        let at = self.leaves[leaf].columns.list.iter().position(|column| column.node == Some(node));
        match at.zip(table).and_then(|(at, table)| table.columns.get(at)).map(|column| &column.collation_name) {
            Some(None) if ty.collation.equality_is_bytes() => Own::Nothing,
            Some(Some(name)) if !name.is_empty() => Own::Named(name.clone()),
            _ => Own::Unknown,
        }
    }
}

//! PURE. Values that are unique over all shards: the columns that have them, as the configuration names them.

use crate::ids::QualifiedName;

/// Columns of a sharded table of which no two rows may have the same values, whichever shards they lie on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UniqueRule {
    pub table: QualifiedName,
    pub columns: Vec<Box<str>>,
    /// By which errors name it.
    pub name: Box<str>,
}

impl UniqueRule {
    /// By which the registry knows it.
    pub fn scope(&self) -> String {
        format!("{} ({})", self.table, self.columns.join(", "))
    }
}

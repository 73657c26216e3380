//! PURE. `Catalog`: what the shards' system catalogs say of tables, columns, views and functions, and how shards differ in it.

use std::collections::HashMap;
use std::sync::Arc;

use crate::ids::{Oid, QualifiedName};
use crate::types::Collation;

/// The catalog of one moment. `generation` grows with every change, so that what was derived from an older one is a miss.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Catalog {
    pub generation: u64,
    pub tables: HashMap<QualifiedName, Arc<Table>>,
    /// By name without schema: what is known of user-defined functions (those outside pg_catalog and information_schema).
    pub functions: HashMap<Box<str>, UserFunction>,
    /// Schemas that exist, to resolve `search_path`.
    pub schemas: Vec<Box<str>>,
    /// Names of user-defined aggregates, operators' and types' names are not needed yet.
    pub aggregates: Vec<Box<str>>,
    /// The database's default collation (`pg_database.datcollate` is C or POSIX, or not).
    pub default_collation: Collation,
    pub customs: Customs,
}

/// What users have made, besides tables and functions, that can change what an expression means. A Postgres without it is not to
/// read such an expression.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Customs {
    /// Names of types and domains.
    pub types: Vec<Box<str>>,
    /// Names of operators over types that are all built in.
    pub operators: Vec<Box<str>>,
    /// There are casts between built-in types, or conversions of encodings, which no name in a statement shows.
    pub casts: bool,
}

/// `pg_class.relkind`, as far as routing cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelationKind {
    Table,
    PartitionedTable,
    View,
    MaterializedView,
    Foreign,
    Sequence,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    pub name: QualifiedName,
    pub kind: RelationKind,
    /// In `attnum` order, dropped ones left out.
    pub columns: Vec<Column>,
    /// Column positions of each unique index or primary key without expressions or predicate.
    pub unique_keys: Vec<Vec<usize>>,
    /// The view's defining query (`pg_get_viewdef`), for views.
    pub definition: Option<Box<str>>,
    /// Has triggers, rules or row security that can read or write other tables; a view also when a table that it reads has row
    /// security, which asks who owns the view.
    pub has_triggers: bool,
    /// A foreign key of another table points to it.
    pub referenced: bool,
    /// Inheritance or partition parent.
    pub parent: Option<QualifiedName>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    pub name: Box<str>,
    pub type_oid: Oid,
    pub typmod: i32,
    pub collation: Collation,
    /// The name of its collation in pg_catalog, where that is not the database's own; empty for one that users made.
    pub collation_name: Option<Box<str>>,
    pub not_null: bool,
    /// `GENERATED ALWAYS AS (...) STORED`.
    pub generated: bool,
    pub default: ColumnDefault,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ColumnDefault {
    None,
    /// `nextval(...)`, serial or identity.
    Sequence,
    /// Any other expression, as `pg_get_expr` prints it.
    Expression(Box<str>),
}

/// What routing must know of a user-defined function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserFunction {
    pub volatility: Volatility,
    /// Declared safe in the config: it reads and writes no sharded table.
    pub declared_safe: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Volatility {
    Immutable,
    Stable,
    Volatile,
}

impl Catalog {
    pub fn table(&self, name: &QualifiedName) -> Option<&Arc<Table>> {
        self.tables.get(name)
    }
}

impl Table {
    pub fn column(&self, name: &str) -> Option<(usize, &Column)> {
        self.columns.iter().enumerate().find(|(_, column)| &*column.name == name)
    }
}

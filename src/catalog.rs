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
    /// The table of each index.
    pub indexes: HashMap<QualifiedName, QualifiedName>,
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
    /// `nextval('name')` alone: serial or identity.
    Sequence(SequenceDefault),
    /// Any other expression, as `pg_get_expr` prints it where names must be qualified.
    Expression(Box<str>),
}

/// The sequence that a column takes its values from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SequenceDefault {
    pub sequence: QualifiedName,
    pub identity: Identity,
}

/// Whether a column is an identity column, and whether it takes a value that a statement gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    No,
    ByDefault,
    Always,
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

impl ColumnDefault {
    /// A default as `pg_get_expr` prints it where every name must be qualified.
    pub fn of_expression(expression: &str) -> Self {
        match nextval_alone(expression) {
            Some(sequence) => Self::Sequence(SequenceDefault { sequence, identity: Identity::No }),
            None => Self::Expression(expression.into()),
        }
    }
}

/// The sequence of `nextval('schema.name'::regclass)`, where the expression is nothing else.
fn nextval_alone(expression: &str) -> Option<QualifiedName> {
    let call = expression.strip_prefix("pg_catalog.").unwrap_or(expression);
    let literal = call.strip_prefix("nextval('")?.strip_suffix("'::regclass)")?;
    let unquoted = literal.replace("''", "\u{0}");
    if unquoted.contains('\'') {
        return None;
    }
    match &mut name_parts(&unquoted.replace('\u{0}', "'"))?[..] {
        [schema, name] => Some(QualifiedName::new(std::mem::take(schema), std::mem::take(name))),
        _ => None,
    }
}

/// The parts of a name as `regclass` reads it: `schema.name`, folded where it is not quoted. `None` where it is no name.
pub fn name_parts(text: &str) -> Option<Vec<String>> {
    let mut parts = Vec::new();
    let mut rest = text.trim_matches(|c: char| c.is_ascii_whitespace());
    loop {
        let (part, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_part(quoted)?,
            None => {
                let end = rest.find(['.', '"', ' ', '\t', '\n', '\r']).unwrap_or(rest.len());
                (rest[..end].to_ascii_lowercase(), &rest[end..])
            }
        };
        // Longer names are cut off by some of Postgres's readers, and refused by others.
        if part.is_empty() || part.len() > 63 {
            return None;
        }
        parts.push(part);
        match after.strip_prefix('.') {
            Some(next) => rest = next,
            None if after.is_empty() => return Some(parts),
            None => return None,
        }
    }
}

/// The name up to its closing quote, and what is behind that.
fn quoted_part(text: &str) -> Option<(String, &str)> {
    let mut name = String::new();
    let mut rest = text;
    loop {
        let (before, after) = rest.split_once('"')?;
        name.push_str(before);
        match after.strip_prefix('"') {
            Some(next) => {
                name.push('"');
                rest = next;
            }
            None => return Some((name, after)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_regclass_reads_them() {
        let parts = |text: &str| name_parts(text).map(|parts| parts.join("|"));
        assert_eq!(parts("public.Orders_id_seq").as_deref(), Some("public|orders_id_seq"));
        assert_eq!(parts(" \"My.Schema\".\"a\"\"b\" ").as_deref(), Some("My.Schema|a\"b"));
        for broken in ["", "a.", "\"a", "a b", "\"a\"b", "."] {
            assert_eq!(parts(broken), None, "{broken}");
        }
    }

    #[test]
    fn a_default_is_a_sequence_where_it_is_nextval_alone() {
        let sequence = |text: &str| match ColumnDefault::of_expression(text) {
            ColumnDefault::Sequence(default) => Some(default.sequence.to_string()),
            ColumnDefault::Expression(_) | ColumnDefault::None => None,
        };
        assert_eq!(sequence("nextval('public.s'::regclass)").as_deref(), Some("public.s"));
        assert_eq!(sequence("nextval('public.\"it''s\"'::regclass)").as_deref(), Some("public.it's"));
        assert_eq!(sequence("(nextval('public.s'::regclass) + 1)"), None);
        assert_eq!(sequence("nextval('public.s'::regclass) + nextval('public.t'::regclass)"), None);
    }
}

//! PURE. `Catalog`: what the shards' system catalogs say of tables, columns, views and functions, and how shards differ in it.

mod assigned;
pub mod code;
pub mod effects;
pub mod numbers;
pub mod placeholders;
pub mod source;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::ids::{Oid, QualifiedName, ShardId, ShardSet};
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
    /// Names of user-defined aggregates.
    pub aggregates: Vec<Box<str>>,
    /// Names of user-defined functions and aggregates of which each takes, as its first argument, a type of users that no value of Postgres's
    /// own types becomes by itself.
    pub of_own_types: HashSet<Box<str>>,
    /// Domains, and the types that they are made of in the end.
    pub domains: HashMap<Oid, Oid>,
    /// By name, the worst of all that have it: operators whose functions are neither immutable nor written in C.
    pub operators: HashMap<Box<str>, Operator>,
    /// Those whose functions are neither immutable nor written in C; and what the checks of domains call.
    pub casts: Vec<Cast>,
    /// The schemas that lie whole on a shard of their own, as they exist there. Their tables are among `tables`, but what else is
    /// in them concerns nobody who does not name them.
    pub placed: HashMap<Box<str>, Arc<PlacedSchema>>,
    /// Shards of which is not known what is in the schemas that lie on them.
    pub unread: ShardSet,
    /// Each index with its table.
    pub indexes: HashMap<QualifiedName, QualifiedName>,
    /// Each object of extended statistics with its table.
    pub statistics: HashMap<QualifiedName, QualifiedName>,
    /// The database's default collation (`pg_database.datcollate` is C or POSIX, or not).
    pub default_collation: Collation,
    pub customs: Customs,
    /// The custom settings that functions name which set something.
    pub makes: placeholders::Makes,
    /// What users have made, as this shard numbers it.
    pub numbered: Arc<numbers::Numbered>,
    /// The shards that number in another way than the home shard.
    pub numbers: Vec<(ShardId, Arc<numbers::Numbers>)>,
    /// What users have made on the other shards, of those that could be read.
    pub others: Vec<(ShardId, Arc<numbers::Numbered>)>,
}

/// What users have made, besides tables and functions, that can change what an expression means. A Postgres without it is not to
/// read such an expression.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Customs {
    /// Names of types and domains.
    pub types: Vec<Box<str>>,
    /// Those of enums and domains. A name can be there several times, for several schemas.
    pub bases: Vec<Based>,
    /// Names of operators over types that are all built in.
    pub operators: Vec<Box<str>>,
    /// There are casts between built-in types, or conversions of encodings, which no name in a statement shows.
    pub casts: bool,
}

/// An enum or a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Based {
    pub name: Box<str>,
    pub number: Oid,
    /// The type whose values its own are, as far as equality goes: of an enum, text.
    pub base: Oid,
}

impl Customs {
    /// The type by whose values those of this one are placed.
    pub fn base_of(&self, number: Oid) -> Oid {
        self.bases.iter().find(|of| of.number == number).map_or(number, |of| of.base)
    }

    /// Whether a comparison of values of built-in types may be another one than Postgres's own.
    pub fn compare(&self) -> bool {
        self.operators.iter().any(|name| matches!(&**name, "=" | "<>" | "<" | "<=" | ">" | ">="))
    }
}

/// What is in a schema that lies whole on one shard, besides relations.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PlacedSchema {
    /// As [`Catalog::functions`].
    pub functions: HashMap<Box<str>, UserFunction>,
    pub aggregates: HashSet<Box<str>>,
    /// Types of every kind, those of tables' rows too.
    pub types: HashSet<Box<str>>,
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

/// How a table's keys are unique.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Uniques {
    /// Which of the unique keys are DEFERRABLE: rows of one transaction may be alike in them for a while.
    pub deferrable: Vec<usize>,
    /// Columns that a unique index with expressions or a predicate, or an exclusion constraint, looks at.
    pub otherwise: Vec<usize>,
}

impl Table {
    /// The unique keys in which no two rows are ever alike.
    pub fn firm_keys(&self) -> impl Iterator<Item = &Vec<usize>> {
        let keys = self.unique_keys.iter().enumerate();
        keys.filter(|(at, _)| !self.uniques.deferrable.contains(at)).map(|(_, key)| key)
    }

    /// Notes what must be unique, as the catalog has it; what is not known of its columns is left out.
    pub fn note_unique(&mut self, columns: &[&str], kind: UniqueKind) {
        let place = |name: &&str| self.column(name).map(|(at, _)| at);
        match kind {
            UniqueKind::Key { deferrable } => {
                let Some(key) = columns.iter().map(place).collect() else { return };
                if deferrable {
                    self.uniques.deferrable.push(self.unique_keys.len());
                }
                self.unique_keys.push(key);
            }
            UniqueKind::Otherwise => {
                let places: Vec<usize> = columns.iter().filter_map(place).collect();
                self.uniques.otherwise.extend(places);
            }
        }
    }
}

/// What makes rows unique.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UniqueKind {
    /// A primary key, or a unique index of plain columns over all rows.
    Key { deferrable: bool },
    /// See [`Uniques::otherwise`].
    Otherwise,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    pub name: QualifiedName,
    pub kind: RelationKind,
    /// In `attnum` order, dropped ones left out.
    pub columns: Vec<Column>,
    /// Column positions of each unique index or primary key without expressions or predicate; the primary key first.
    pub unique_keys: Vec<Vec<usize>>,
    /// What is said of those, and what else must be unique.
    pub uniques: Uniques,
    /// The view's defining query (`pg_get_viewdef`), for views.
    pub definition: Option<Box<str>>,
    /// Has triggers, rules or row security that can read or write other tables; a view also when a table that it reads has row
    /// security, which asks who owns the view.
    pub has_triggers: bool,
    /// What code that is tied to it does where its rows are read or written, without functions that are declared safe; `None`: nothing.
    pub effects: Option<Arc<effects::Effects>>,
    /// The tables with foreign keys that point to it.
    pub referenced_by: Vec<QualifiedName>,
    /// The table that it is a partition of, or those that it inherits from.
    pub parents: Vec<QualifiedName>,
    /// Of a sequence: the table with the column that it belongs to.
    pub owner: Option<QualifiedName>,
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
    /// Its type and collation as SQL, where the home shard may not have the table: in schemas that lie whole on a shard.
    pub declared: Option<Box<str>>,
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
    pub sets: Sets,
    /// An expression can call it: it is no procedure and no trigger's function.
    pub callable: bool,
}

/// An operator by the function that it calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operator {
    pub schema: Box<str>,
    pub name: Box<str>,
    pub function: UserFunction,
}

/// A cast that users have made, by the function that it calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cast {
    /// The types of users that it converts from and to, and arrays of them; empty: both types are Postgres's own.
    pub types: Vec<Oid>,
    /// What they are called.
    pub names: Vec<Box<str>>,
    /// It is no cast but the check of a domain: it runs where a value is made, not where one is read.
    pub checks: bool,
    pub function: Operator,
}

/// Whether code changes a setting of its session, or takes a lock for it, as far as its text says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sets {
    Nothing,
    /// Until the transaction ends.
    Locally,
    /// No setting, but an advisory lock that outlives the transaction.
    Locks,
    Lasting,
}

impl Sets {
    /// What holds of both.
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Locally, Self::Locks) | (Self::Locks, Self::Locally) => Self::Lasting,
            (one, other) => one.max(other),
        }
    }

    /// What holds of all.
    pub fn of_all(all: impl IntoIterator<Item = Self>) -> Self {
        all.into_iter().fold(Self::Nothing, Self::and)
    }

    /// Whether a setting may be another one behind it.
    pub fn changes_settings(self) -> bool {
        matches!(self, Self::Locally | Self::Lasting)
    }
}

impl UserFunction {
    /// What holds of both.
    pub fn worse(self, other: Self) -> Self {
        Self {
            volatility: self.volatility.max(other.volatility),
            declared_safe: self.declared_safe && other.declared_safe,
            sets: self.sets.and(other.sets),
            callable: self.callable || other.callable,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Volatility {
    Immutable,
    Stable,
    Volatile,
}

impl Catalog {
    /// The type that a domain is made of; of any other type itself.
    pub fn base_of(&self, of: Oid) -> Oid {
        self.domains.get(&of).copied().unwrap_or(of)
    }

    /// How a shard numbers types and tables, where that is not as the home shard does.
    pub fn numbers_of(&self, shard: ShardId) -> Option<&Arc<numbers::Numbers>> {
        self.numbers.iter().find(|(of, _)| *of == shard).map(|(_, numbers)| numbers)
    }

    /// Whether another shard than the home shard has a relation or type of this name too. Where it was never read, that is not known: no.
    pub fn has_on(&self, shard: ShardId, name: &QualifiedName) -> bool {
        let known = self.others.iter().find(|(of, _)| *of == shard);
        known.is_some_and(|(_, known)| known.tables.contains_key(name) || known.types.contains_key(name))
    }

    /// This catalog with the schemas that lie whole on other shards; `None`: what that shard has was never read.
    pub fn with_placed<'a>(mut self, others: impl IntoIterator<Item = (ShardId, Option<&'a Catalog>)>) -> Self {
        for (shard, other) in others {
            let Some(other) = other else {
                self.unread.insert(shard);
                continue;
            };
            let placed = |name: &QualifiedName| other.placed.contains_key(&name.schema);
            let tables = other.tables.iter().filter(|(name, _)| placed(name));
            self.tables.extend(tables.map(|(name, table)| (name.clone(), Arc::clone(table))));
            let indexes = other.indexes.iter().filter(|(name, _)| placed(name));
            self.indexes.extend(indexes.map(|(index, table)| (index.clone(), table.clone())));
            let statistics = other.statistics.iter().filter(|(name, _)| placed(name));
            self.statistics.extend(statistics.map(|(name, table)| (name.clone(), table.clone())));
            self.schemas.extend(other.placed.keys().cloned());
            self.placed.extend(other.placed.iter().map(|(name, schema)| (name.clone(), Arc::clone(schema))));
        }
        self.schemas.sort_unstable();
        self
    }

    /// This catalog without some of the schemas that lie whole on one shard.
    pub fn without_placed(mut self, gone: impl Fn(&str) -> bool) -> Self {
        self.tables.retain(|name, _| !gone(&name.schema));
        self.indexes.retain(|name, _| !gone(&name.schema));
        self.statistics.retain(|name, _| !gone(&name.schema));
        self.schemas.retain(|schema| !gone(schema));
        self.placed.retain(|schema, _| !gone(schema));
        self
    }

    pub fn table(&self, name: &QualifiedName) -> Option<&Arc<Table>> {
        self.tables.get(name)
    }
}

impl Table {
    /// Whether its rows are rows of that table too, directly.
    pub fn is_child_of(&self, table: &QualifiedName) -> bool {
        self.parents.contains(table)
    }

    /// Whether a foreign key points to it.
    pub fn is_referenced(&self) -> bool {
        !self.referenced_by.is_empty()
    }

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

    fn catalog(tables: &[(&str, &str)], placed: &[&str]) -> Catalog {
        let mut catalog = Catalog::default();
        for (schema, name) in tables {
            let name = QualifiedName::new(*schema, *name);
            let table = Table {
                name: name.clone(),
                kind: RelationKind::Table,
                columns: Vec::new(),
                unique_keys: Vec::new(),
                uniques: Uniques::default(),
                definition: None,
                has_triggers: false,
                effects: None,
                referenced_by: Vec::new(),
                parents: Vec::new(),
                owner: None,
            };
            catalog.tables.insert(name, Arc::new(table));
        }
        catalog.placed = placed.iter().map(|name| ((*name).into(), Arc::default())).collect();
        catalog
    }

    #[test]
    fn other_shards_add_the_schemas_that_lie_on_them_and_nothing_else() {
        let home = catalog(&[("public", "a")], &[]);
        let other = catalog(&[("public", "b"), ("t_1", "c")], &["t_1"]);
        let all = home.with_placed([(ShardId(1), Some(&other)), (ShardId(2), None)]);
        let mut names: Vec<String> = all.tables.keys().map(ToString::to_string).collect();
        names.sort();
        assert_eq!(names, ["public.a", "t_1.c"]);
        assert_eq!(all.schemas[..], ["t_1".into()]);
        assert_eq!(all.unread, ShardSet::one(ShardId(2)));
        let less = all.without_placed(|schema| schema == "t_1");
        assert_eq!((less.tables.len(), less.schemas.len(), less.placed.len()), (1, 0, 0));
    }

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

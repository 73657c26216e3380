//! Names as Postgres reads them: folding, `search_path`, and what a table name stands for in the topology.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

use sqlparser::ast::{Ident, ObjectName, ObjectNamePart};

use crate::catalog::{RelationKind, Table};
use crate::fault::Fault;
use crate::ids::{DistributionId, QualifiedName, ShardId};
use crate::sql::{NameScope, changes, families};
use crate::topology::TableRule;

/// Longest name that Postgres keeps, in bytes (`NAMEDATALEN` - 1).
const MAX_NAME: usize = 63;

/// What a table name in a statement stands for.
#[derive(Clone, Debug)]
pub(crate) enum Relation {
    Sharded {
        name: QualifiedName,
        table: Option<Arc<Table>>,
        distribution: DistributionId,
        key: Vec<Box<str>>,
    },
    Reference {
        name: QualifiedName,
        table: Option<Arc<Table>>,
    },
    View {
        name: QualifiedName,
        table: Arc<Table>,
    },
    /// On one shard alone; `table` where the catalog knows it.
    Unsharded {
        table: Option<Arc<Table>>,
        place: Place,
    },
    /// pg_catalog, information_schema, pg_temp, pg_toast.
    System,
}

/// The one shard on which something lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub shard: ShardId,
    /// The placed schema for whose sake it lies there; `None`: the home shard, or that of the session's temporary tables.
    pub schema: Option<Box<str>>,
}

impl Place {
    pub fn home(scope: &NameScope<'_>) -> Self {
        Self { shard: scope.topology.home, schema: None }
    }

    /// Whether it is the home shard, not for a schema's sake.
    pub fn is_home(&self, scope: &NameScope<'_>) -> bool {
        self.schema.is_none() && self.shard == scope.topology.home
    }
}

impl NameScope<'_> {
    /// Where what is in this schema lies, if the schema is placed whole.
    pub(crate) fn place_of_schema(&self, schema: &str) -> Option<Place> {
        let (_, shard) = self.topology.place_of_schema(schema)?;
        Some(Place { shard, schema: Some(schema.into()) })
    }

    /// Where an undistributed relation of this schema lies.
    pub(crate) fn place_of(&self, schema: &str) -> Place {
        self.place_of_schema(schema).unwrap_or_else(|| Place::home(self))
    }

    /// Where statements go that name no table: the shard of the schema in which the session makes things.
    pub(crate) fn base(&self) -> Place {
        match self.topology.places_schemas().then(|| creation_schema(self)).flatten() {
            Some(schema) => self.place_of(schema),
            None => Place::home(self),
        }
    }

    /// Where an unqualified name points that nobody knows: to a temporary table, or to what was made just now.
    pub(crate) fn unknown(&self) -> Place {
        self.temporary.map_or_else(|| self.base(), |shard| Place { shard, schema: None })
    }

    /// The placed schemas of the search path.
    pub(crate) fn placed_path(&self) -> impl Iterator<Item = &str> {
        let placed = |schema: &&str| self.topology.place_of_schema(schema).is_some();
        self.search_path.iter().map(|schema| &**schema).filter(placed)
    }

    fn has_schema(&self, schema: &str) -> bool {
        if is_temporary_schema(schema) {
            // Made when something is made in it.
            return true;
        }
        if let Some(there) = changes::schema(self.changes, schema) {
            return there;
        }
        // Before anything is known of them, all are there.
        self.catalog.schemas.is_empty()
            || self.catalog.schemas.iter().any(|known| **known == *schema)
            || self.is_unread(schema)
    }

    fn note_unknown(&self, schema: Option<&str>, name: &str) {
        let Some(unknown) = self.unknown.filter(|_| self.temporary.is_none() && !self.topology.is_all_home()) else {
            return;
        };
        let schemas: Vec<&str> = match schema {
            Some(schema) => vec![schema],
            None => {
                self.search_path.iter().map(|schema| &**schema).filter(|schema| !is_system_schema(schema)).collect()
            }
        };
        let mut unknown = unknown.names.borrow_mut();
        for schema in schemas {
            unknown.insert(QualifiedName::new(schema, name));
        }
    }

    /// Nothing is known of what is in the schema.
    fn is_unread(&self, schema: &str) -> bool {
        !self.catalog.unread.is_empty()
            && self.topology.place_of_schema(schema).is_some_and(|(_, shard)| self.catalog.unread.contains(shard))
    }
}

impl Relation {
    /// What the catalog has of it.
    pub fn table(&self) -> Option<&Table> {
        match self {
            Self::Sharded { table, .. } | Self::Reference { table, .. } | Self::Unsharded { table, .. } => {
                table.as_deref()
            }
            Self::View { table, .. } => Some(table),
            Self::System => None,
        }
    }

    /// Whether every shard has it (and not one alone).
    pub fn is_distributed(&self) -> bool {
        matches!(self, Relation::Sharded { .. } | Relation::Reference { .. })
    }
}

/// An unquoted name in lower case (ASCII, as Postgres does in UTF-8 databases), a quoted one as it is, cut to 63 bytes.
pub(crate) fn fold(value: &str, quoted: bool) -> Cow<'_, str> {
    let mut end = value.len().min(MAX_NAME);
    while !value.is_char_boundary(end) {
        end -= 1;
    }
    let value = value.get(..end).unwrap_or(value);
    if quoted || !value.bytes().any(|b| b.is_ascii_uppercase()) {
        Cow::Borrowed(value)
    } else {
        Cow::Owned(value.to_ascii_lowercase())
    }
}

pub(crate) fn folded(ident: &Ident) -> Cow<'_, str> {
    fold(&ident.value, ident.quote_style.is_some())
}

/// Schema and name of a one- or two-part name (a leading database name is left out, as Postgres does with its own).
pub(crate) fn parts(name: &ObjectName) -> Option<(Option<String>, String)> {
    let mut idents: Vec<&Ident> = Vec::with_capacity(name.0.len());
    for part in &name.0 {
        match part {
            ObjectNamePart::Identifier(ident) => idents.push(ident),
            ObjectNamePart::Function(_) => return None,
        }
    }
    match idents[..] {
        [name] => Some((None, folded(name).into_owned())),
        [schema, name] | [_, schema, name] => Some((Some(folded(schema).into_owned()), folded(name).into_owned())),
        _ => None,
    }
}

/// What pg_catalog tells of the one connection that is asked: its statements and cursors are the router's, not the client's.
pub(crate) fn check_connection_view(name: &str) -> Result<(), Fault> {
    const OF_A_CONNECTION: [&str; 4] = ["pg_prepared_statements", "pg_prepared_statement", "pg_cursors", "pg_cursor"];
    if !OF_A_CONNECTION.contains(&name) {
        return Ok(());
    }
    Err(Fault::unsupported(
        format!("{name} is not supported"),
        "it tells of a connection between the router and a shard, not of the client's session",
        "DEALLOCATE ALL and CLOSE ALL need no names.",
    ))
}

/// What `schema.name`, or `name` by the search path, stands for.
pub(crate) fn resolve(scope: &NameScope<'_>, schema: Option<&str>, name: &str) -> Relation {
    match schema {
        Some("pg_temp") if scope.temporary.is_some() => {
            scope.note_temporary();
            let unknown = || Relation::Unsharded { table: None, place: scope.unknown() };
            scope.temporary_table(name).unwrap_or_else(unknown)
        }
        Some("pg_temp") if scope.temporaries.is_some() => {
            scope.note_temporary();
            scope.temporary_table(name).unwrap_or(Relation::System)
        }
        Some(schema) if is_system_schema(schema) => {
            if is_temporary_schema(schema) {
                scope.note_temporary();
            }
            Relation::System
        }
        Some(schema) => {
            let name = QualifiedName::new(schema, name);
            known(scope, &name).unwrap_or_else(|| {
                scope.note_unknown(Some(schema), &name.name);
                Relation::Unsharded { table: None, place: scope.place_of(schema) }
            })
        }
        None => {
            // Temporary tables come first, where the path does not give them another place.
            let mut temporary = scope.temporary_table(name);
            for schema in scope.search_path {
                if is_temporary_schema(schema)
                    && let Some(relation) = temporary.take()
                {
                    scope.note_temporary();
                    return relation;
                }
                if is_system_schema(schema) {
                    continue;
                }
                if let Some(relation) = known(scope, &QualifiedName::new(schema.clone(), name)) {
                    if !matches!(relation, Relation::Unsharded { .. }) {
                        scope.note_hiding(name);
                        return relation;
                    }
                    if temporary.is_none() && scope.is_own_relation(name) {
                        return Relation::Unsharded { table: None, place: scope.unknown() };
                    }
                    scope.note_temporary();
                    let later = scope.search_path.iter().any(|schema| is_temporary_schema(schema));
                    return temporary.filter(|_| !later).unwrap_or(relation);
                }
                if scope.is_unread(schema) {
                    return Relation::Unsharded { table: None, place: scope.place_of(schema) };
                }
            }
            scope.note_temporary();
            if let Some(relation) = temporary {
                return relation;
            }
            match name.starts_with("pg_") {
                true => Relation::System,
                false => {
                    scope.note_unknown(None, name);
                    Relation::Unsharded { table: None, place: scope.unknown() }
                }
            }
        }
    }
}

/// The table of this name, where the catalog or the topology knows it.
pub(crate) fn known(scope: &NameScope<'_>, name: &QualifiedName) -> Option<Relation> {
    let table = scope.catalog.table(name).cloned();
    if let Some(relation) = ruled(scope, name, table.clone()) {
        return Some(relation);
    }
    match changes::relation(scope.changes, name) {
        // Unless the catalog is that of the transaction.
        Some(true) if table.is_none() => {
            return Some(Relation::Unsharded { table: None, place: scope.place_of(&name.schema) });
        }
        Some(true) => {}
        Some(false) => return None,
        None => {}
    }
    let table = table?;
    // A partition or child holds rows of its parent, so the parent's rule is its own.
    if let Some(rule) = families::rule_above(scope, &table) {
        return Some(of_rule(rule, name, Some(table)));
    }
    Some(match table.kind {
        RelationKind::View => Relation::View { name: name.clone(), table },
        _ => Relation::Unsharded { table: Some(table), place: scope.place_of(&name.schema) },
    })
}

fn ruled(scope: &NameScope<'_>, name: &QualifiedName, table: Option<Arc<Table>>) -> Option<Relation> {
    Some(of_rule(scope.topology.rule(name)?, name, table))
}

fn of_rule(rule: &TableRule, name: &QualifiedName, table: Option<Arc<Table>>) -> Relation {
    match rule {
        TableRule::Sharded { distribution, columns } => {
            Relation::Sharded { name: name.clone(), table, distribution: *distribution, key: columns.clone() }
        }
        TableRule::Reference => Relation::Reference { name: name.clone(), table },
    }
}

pub(crate) fn is_system_schema(schema: &str) -> bool {
    schema == "information_schema" || schema.starts_with("pg_")
}

/// The schema of a session's temporary relations, under its alias or as whichever it is.
pub(crate) fn is_temporary_schema(schema: &str) -> bool {
    schema == "pg_temp" || schema.starts_with("pg_temp_")
}

/// Whether `CREATE ... name` without a schema makes something temporary.
pub(crate) fn makes_temporary(scope: &NameScope<'_>) -> bool {
    creation_schema(scope).is_some_and(is_temporary_schema)
}

/// Where `CREATE ... name` without a schema makes it: the first schema of the search path that exists.
pub(crate) fn creation_schema<'a>(scope: &NameScope<'a>) -> Option<&'a str> {
    scope.search_path.iter().find(|schema| scope.has_schema(schema)).map(|schema| &**schema)
}

/// Names (without schema) whose mention makes a statement that cannot be read one about distributed tables: sharded and
/// reference tables, their partitions, and views whose definition mentions one of these.
pub(crate) fn distributed_names(scope: &NameScope<'_>) -> HashSet<Box<str>> {
    with_derived(scope, scope.topology.tables.keys().map(|name| name.name.clone()).collect())
}

/// Those of [`distributed_names`] whose rows are not all on the home shard.
pub(crate) fn sharded_names(scope: &NameScope<'_>) -> HashSet<Box<str>> {
    let sharded = scope.topology.tables.iter().filter(|(_, rule)| matches!(rule, TableRule::Sharded { .. }));
    with_derived(scope, sharded.map(|(name, _)| name.name.clone()).collect())
}

/// Names whose mention makes a definition one about reference tables: theirs, of what is made of them, and of their indexes.
pub(crate) fn names_of_copies(scope: &NameScope<'_>) -> HashSet<Box<str>> {
    let is_copy = |rule: &TableRule| matches!(rule, TableRule::Reference);
    let copies = scope.topology.tables.iter().filter(|(_, rule)| is_copy(rule));
    let indexes = scope.catalog.indexes.iter().filter(|(_, table)| scope.topology.rule(table).is_some_and(is_copy));
    let mut names = with_derived(scope, copies.map(|(name, _)| name.name.clone()).collect());
    names.extend(indexes.map(|(index, _)| index.name.clone()));
    names
}

/// Adds partitions of the named tables, and views that mention them.
pub(crate) fn with_derived(scope: &NameScope<'_>, mut names: HashSet<Box<str>>) -> HashSet<Box<str>> {
    if names.is_empty() {
        return names;
    }
    let mentions = |names: &HashSet<Box<str>>, text: &str| {
        super::words::identifiers(text, true).is_none_or(|found| found.iter().any(|name| names.contains(&**name)))
    };
    // Each round finds one more layer of partitions and views.
    loop {
        let before = names.len();
        for table in scope.catalog.tables.values() {
            let by_parent = table.parents.iter().any(|parent| names.contains(&parent.name));
            let by_text = table.kind == RelationKind::View
                && !names.contains(&table.name.name)
                && table.definition.as_ref().is_some_and(|text| mentions(&names, text));
            if by_parent || by_text {
                names.insert(table.name.name.clone());
            }
        }
        if names.len() == before {
            return names;
        }
    }
}

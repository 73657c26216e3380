//! `Temporaries`: the temporary tables that a session has on its own connection to the home shard. They are unsharded tables that no other
//! connection sees, so that a Postgres which finishes a statement gets their rows as it gets those of the shards.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use crate::catalog::{Catalog, Table};
use crate::fault::Fault;
use crate::sql::NameScope;
use crate::sql::called::is_unsafe;
use crate::sql::names::{Place, Relation, distributed_names, is_temporary_schema};

/// The schema under which the session's own connection finds them, whatever its number is there.
pub const SCHEMA: &str = "pg_temp";

/// As they were when they were looked at last.
#[derive(Debug, Default)]
pub struct Temporaries {
    tables: HashMap<Box<str>, Arc<Table>>,
    /// The names of all relations, indexes and sequences among them.
    relations: HashSet<Box<str>>,
    types: HashSet<Box<str>>,
    /// The tables and views whose defaults, indexes, constraints, triggers or definitions call functions of users, and these.
    calls: Vec<(Box<str>, Box<str>)>,
    /// Hash of the definitions and names.
    pub fingerprint: u64,
}

impl Temporaries {
    /// `tables`: those that are read together with others. `relations`, `types`: the names of all that there is. `calls`: see the field.
    pub fn new(
        tables: impl IntoIterator<Item = Table>,
        relations: impl IntoIterator<Item = String>,
        types: impl IntoIterator<Item = String>,
        calls: impl IntoIterator<Item = (String, String)>,
    ) -> Self {
        let mut tables: Vec<Table> = tables.into_iter().collect();
        tables.sort_unstable_by(|a, b| a.name.name.cmp(&b.name.name));
        let mut hasher = DefaultHasher::new();
        for table in &tables {
            format!("{:?} {:?} {:?} {:?}", table.name, table.columns, table.unique_keys, table.uniques)
                .hash(&mut hasher);
        }
        let sorted = |names: &mut dyn Iterator<Item = String>| {
            let mut names: Vec<Box<str>> = names.map(Into::into).collect();
            names.sort_unstable();
            names
        };
        let (relations, types) = (sorted(&mut relations.into_iter()), sorted(&mut types.into_iter()));
        let calls = calls.into_iter().map(|(of, function)| (of.into(), function.into()));
        let mut calls: Vec<(Box<str>, Box<str>)> = calls.collect();
        calls.sort_unstable();
        (&relations, &types, &calls).hash(&mut hasher);
        let by_name = |table: Table| (table.name.name.clone(), Arc::new(table));
        Self {
            tables: tables.into_iter().map(by_name).collect(),
            fingerprint: hasher.finish(),
            relations: relations.into_iter().collect(),
            types: types.into_iter().collect(),
            calls,
        }
    }

    /// A function that one of these names runs, and that is not known to be safe any more.
    pub(crate) fn unsafe_call(&self, catalog: &Catalog, names: &[String]) -> Option<&str> {
        let is_unsafe = |name: &str| catalog.functions.get(name).is_some_and(is_unsafe);
        let named = |of: &str| names.iter().any(|name| **name == *of);
        let mut calls = self.calls.iter().filter(|(of, function)| named(of) && is_unsafe(function));
        calls.next().map(|(_, function)| &**function)
    }

    /// Whether it is the name of something temporary.
    pub fn has_name(&self, name: &str) -> bool {
        self.relations.contains(name) || self.types.contains(name)
    }

    /// Whether it is that of a table which is read together with others.
    pub fn has(&self, name: &str) -> bool {
        self.tables.contains_key(name)
    }
}

/// Whether it is a table of [`Temporaries`].
pub(crate) fn is_temporary(table: &Table) -> bool {
    is_temporary_schema(&table.name.schema)
}

impl Relation {
    /// Whether only the session's own connection has it.
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Unsharded { table: Some(table), .. } if is_temporary(table))
    }

    /// As the target of an INSERT: what is to be known of a temporary table is known where it is.
    pub fn without_temporary(self) -> Self {
        match self {
            Self::Unsharded { table: Some(table), place } if is_temporary(&table) => {
                Self::Unsharded { table: None, place }
            }
            other => other,
        }
    }
}

impl NameScope<'_> {
    /// The session's temporary table of this name, which hides whatever else the home shard has under it.
    pub(crate) fn temporary_table(&self, name: &str) -> Option<Relation> {
        let table = self.temporaries?.tables.get(name)?;
        Some(Relation::Unsharded { table: Some(Arc::clone(table)), place: Place::home(self) })
    }

    /// Whether something of this name lies on several shards, which is read whatever temporary table there is.
    pub fn is_distributed(&self, name: &str) -> bool {
        distributed_names(self).contains(name)
    }

    /// What a name means may hang on the temporary things that there are now.
    pub(crate) fn note_temporary(&self) {
        if let (Some(_), Some(unknown)) = (self.own, self.unknown) {
            unknown.temporary.set(true);
        }
    }

    /// Whether a temporary relation, index or sequence goes before all others of this name, which is written without a schema.
    pub(crate) fn is_own_relation(&self, name: &str) -> bool {
        self.note_temporary();
        self.own.is_some_and(|own| own.relations.contains(name)) && !self.has_own_later()
    }

    /// The same of a type or domain.
    pub(crate) fn is_own_type(&self, name: &str) -> bool {
        self.note_temporary();
        self.own.is_some_and(|own| own.types.contains(name)) && !self.has_own_later()
    }

    /// Whether the search path gives the temporary things another place than the first one.
    fn has_own_later(&self) -> bool {
        self.search_path.iter().any(|schema| is_temporary_schema(schema))
    }

    /// A name that was taken for what lies on several shards: one of the session's own may go before it.
    pub(crate) fn note_hiding(&self, name: &str) {
        if self.is_own_relation(name)
            && let Some(unknown) = self.unknown
        {
            unknown.hidden.borrow_mut().get_or_insert_with(|| name.into());
        }
    }
}

/// A name was taken for what lies on several shards, where a temporary thing of the session goes before it.
pub(crate) fn hidden(name: &str) -> Fault {
    Fault::unsupported(
        format!("\"{name}\" is a temporary relation of the session and the name of one that lies on several shards"),
        "The temporary one goes before the other, but the session's own connection alone has it.",
        "Give the temporary one a name of its own, or write the schema of the other one before its name.",
    )
}

//! `Temporaries`: the temporary tables that a session has on its own connection to the home shard. They are unsharded tables that no other
//! connection sees, so that a Postgres which finishes a statement gets their rows as it gets those of the shards.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use crate::catalog::Table;
use crate::sql::NameScope;
use crate::sql::names::{Place, Relation, distributed_names, is_temporary_schema};

/// The schema under which the session's own connection finds them, whatever its number is there.
pub const SCHEMA: &str = "pg_temp";

/// As they were when they were looked at last.
#[derive(Debug, Default)]
pub struct Temporaries {
    tables: HashMap<Box<str>, Arc<Table>>,
    /// Hash of the definitions.
    pub fingerprint: u64,
}

impl Temporaries {
    pub fn new(tables: impl IntoIterator<Item = Table>) -> Self {
        let mut tables: Vec<Table> = tables.into_iter().collect();
        tables.sort_unstable_by(|a, b| a.name.name.cmp(&b.name.name));
        let mut hasher = DefaultHasher::new();
        for table in &tables {
            format!("{:?} {:?} {:?}", table.name, table.columns, table.unique_keys).hash(&mut hasher);
        }
        let by_name = |table: Table| (table.name.name.clone(), Arc::new(table));
        Self { tables: tables.into_iter().map(by_name).collect(), fingerprint: hasher.finish() }
    }

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

    /// What a name means may hang on the temporary tables that there are now.
    pub(crate) fn note_temporary(&self) {
        if let (Some(_), Some(unknown)) = (self.temporaries, self.unknown) {
            unknown.temporary.set(true);
        }
    }
}

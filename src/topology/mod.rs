//! PURE. `Topology`: the versioned document of shards, distributions and table rules, validated and compiled.

pub mod changes;
pub mod diff;
pub mod distribution;
pub mod error;
pub mod key_order;
pub mod ring;
pub mod rules;
pub mod schemas;
pub mod shard_map;
pub mod spec;
pub mod uniques;
mod validate;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::ids::{DistributionId, Epoch, QualifiedName, ShardId};
pub use changes::Moved;
pub use distribution::{Distribution, KeyRange, Unmapped};
pub use error::{At, TopologyError, TopologyWarning};
pub use rules::{Closed, StoredKind, StoredRule, StoredRules};
pub use schemas::Schemas;
pub use spec::TopologySpec;
pub use uniques::UniqueRule;
pub use validate::{Errors, Warnings};

use crate::types::canonical::KeyValue;

/// Where every row of one logical database lies. Immutable: a change makes a new one with a larger epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topology {
    pub epoch: Epoch,
    /// Server connections that were marked before this epoch are not used under it: see `backend::rules`.
    pub fence: Epoch,
    pub shards: Vec<Shard>,
    /// Holds unsharded tables and answers catalog queries.
    pub home: ShardId,
    pub distributions: Vec<Distribution>,
    pub tables: HashMap<QualifiedName, TableRule>,
    /// Those of `tables` whose rule was made in SQL.
    pub from_sql: HashSet<QualifiedName>,
    /// Tables of which nobody may say where their rows are: no statement touches them.
    pub closed: HashMap<QualifiedName, Closed>,
    /// Columns that are unique over all shards: a registry tells where a row with given values of them is.
    pub uniques: Vec<Arc<UniqueRule>>,
}

/// A Postgres primary with its replicas. Which of the servers is the primary is never written down: they are asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shard {
    pub name: Arc<str>,
    pub servers: Vec<Server>,
}

/// One Postgres server: where it listens and which database on it holds the shard.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Server {
    pub host: Arc<str>,
    pub port: u16,
    pub dbname: Arc<str>,
    /// Its share of the reads, where several replicas could answer them alike.
    pub weight: u16,
}

impl Server {
    pub fn new(host: &str, port: u16, dbname: &str) -> Self {
        Self { host: host.into(), port, dbname: dbname.into(), weight: 1 }
    }

    /// `host:port`, for messages.
    pub fn address(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

/// What the topology says of a table; a table that it does not name is unsharded and lies on the home shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TableRule {
    /// `columns`: the sharding-key columns, in the order of the distribution's key types.
    Sharded { distribution: DistributionId, columns: Vec<Box<str>> },
    /// A full copy on every shard.
    Reference,
}

impl Topology {
    pub fn rule(&self, table: &QualifiedName) -> Option<&TableRule> {
        self.tables.get(table)
    }

    /// The shard that holds a schema whole, and the distribution that says so; `None` for a schema that no distribution places.
    pub fn place_of_schema(&self, schema: &str) -> Option<(DistributionId, ShardId)> {
        let placed =
            |distribution: &Distribution| distribution.schemas.as_ref().is_some_and(|schemas| schemas.has(schema));
        let at = self.distributions.iter().position(placed)?;
        let shard = self.distributions.get(at)?.locate(&[KeyValue::Text(schema.into())]).ok()?;
        Some((DistributionId(u16::try_from(at).ok()?), shard))
    }

    /// Whether some schemas lie whole on shards of their own.
    pub fn places_schemas(&self) -> bool {
        self.distributions.iter().any(|distribution| distribution.schemas.is_some())
    }

    /// Whether everything lies on the home shard.
    pub fn is_all_home(&self) -> bool {
        self.tables.is_empty() && self.closed.is_empty() && !self.places_schemas()
    }

    pub fn distribution(&self, id: DistributionId) -> &Distribution {
        &self.distributions[usize::from(id.0)]
    }

    pub fn shard(&self, id: ShardId) -> &Shard {
        &self.shards[id.index()]
    }

    pub fn all_shards(&self) -> crate::ids::ShardSet {
        crate::ids::ShardSet::first(self.shards.len())
    }
}

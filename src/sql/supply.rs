//! UPDATE and DELETE that read rows which do not lie where the changed rows lie: what they read is put together first and sent along to each
//! shard, which then changes its own rows.

use std::sync::Arc;

use crate::ids::{DistributionId, QualifiedName};
use crate::sql::claim::Claim;
use crate::sql::keys::{KeyGroup, KeyName};
use crate::sql::outcome::Finish;
use crate::sql::pieces::Pieces;

/// What is sent along, and the statement that reads it.
#[derive(Clone, Debug)]
pub struct Supply {
    /// Its pulls bring together what the supplies are made of. Its own statement does nothing.
    pub finish: Finish,
    pub supplies: Vec<SupplyText>,
    /// The client's statement with the names of supplies in the place of what they stand for, behind its own WITH.
    pub statement: Pieces,
    /// The statement has a WITH of its own, perhaps a recursive one.
    pub with: Option<bool>,
    /// The statement reads the clock, as [`MOMENT`].
    pub moment: bool,
    pub target: SupplyTarget,
    /// How many parameters the client's statement has.
    pub parameters: u16,
}

/// What pulls of a statement are sent along, by their places among these.
pub type Supplies = Vec<(usize, Arc<Supply>)>;

/// The name of the one row that says what time it is, with a column for each function that reads the clock.
pub const MOMENT: &str = "pgloom_moment";

/// The name of a MERGE's source whose rows go to one shard each.
pub const SOURCE: &str = "pgloom_source";

/// Rows that are sent along.
#[derive(Clone, Debug)]
pub struct SupplyText {
    /// By which the statement knows them.
    pub name: String,
    pub rows: SupplyRows,
    /// Each row to one shard only.
    pub place: Option<SupplyPlace>,
}

/// Which shard a row of a MERGE's source goes to: the one of the rows that it can match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SupplyPlace {
    pub distribution: DistributionId,
    pub name: Arc<KeyName>,
    /// The changed table.
    pub table: QualifiedName,
    /// The supply's columns that are the key; and whether the table's own refuse NULL by themselves.
    pub key: Vec<(Box<str>, bool)>,
}

#[derive(Clone, Debug)]
pub enum SupplyRows {
    /// Those that a pull has brought, by its place among the pulls.
    Pull(usize),
    /// Those of a query of the statement, which is asked once. It has the client's parameters under their own numbers.
    Query(Pieces),
    /// Those of a query of the statement that locks its rows: as many as its LIMIT says, of these tables' shards.
    Claim { claim: Arc<Claim>, groups: Vec<KeyGroup> },
}

/// Whose rows are changed.
#[derive(Clone, Debug)]
pub enum SupplyTarget {
    /// Those of a sharded table, on the shards that the conditions allow.
    Sharded(Arc<KeyGroup>),
    /// Those of a reference table, on every shard.
    Everywhere,
    Home,
}

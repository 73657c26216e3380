//! Rows that are put together before any of them is written, where only their values tell the shards that they go to. A Postgres fills a
//! *depot*, a temporary table with the types of the columns that the rows go to, so that they are what an INSERT would make of
//! them; what lies there is then delivered.

use std::sync::Arc;

use crate::ids::{DistributionId, Oid, QualifiedName};
use crate::sql::keys::KeyName;
use crate::sql::outcome::Finish;
use crate::sql::pieces::Pieces;
use crate::sql::pulls::is_portable;

/// How the rows are put together, and where they go from there.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Fills its depot.
    pub finish: Finish,
    pub landing: Arc<Landing>,
}

/// Where the rows are put together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Depot {
    /// It is the temporary table `pg_temp.<name>`; a name always stands for the same columns and defaults.
    pub name: String,
    pub columns: Vec<DepotColumn>,
    /// Columns that are not delivered.
    pub beside: Vec<DepotColumn>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DepotColumn {
    /// That of the column that it goes to, not quoted.
    pub name: Box<str>,
    pub type_oid: Oid,
    pub typmod: i32,
    /// An expression; for what the statement leaves to the column's default and no shard must evaluate by itself.
    pub default: Option<String>,
}

impl Depot {
    /// Whether binary values of all its columns mean the same on every server.
    pub fn is_portable(&self) -> bool {
        self.columns.iter().all(|column| is_portable(column.type_oid))
    }
}

/// Where delivered rows go.
#[derive(Clone, Debug)]
pub struct Landing {
    pub table: QualifiedName,
    /// The statement names its schema: no temporary table is meant.
    pub qualified: bool,
    pub place: Place,
    /// The INSERT that takes the rows on each shard; `None`: COPY does.
    pub taking: Option<Taking>,
    /// What the client's statement does.
    pub verb: Verb,
    /// The rows were there before: the shards that had them have deleted them.
    pub moved: Option<Moved>,
    pub draws: Draws,
}

/// Values of the home shard's sequences that the depot's defaults take for each row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Draws {
    /// In the order in which a row takes them.
    pub sequences: Vec<QualifiedName>,
    /// Those of identity columns: who may insert needs no right to them.
    pub of_identity: Vec<QualifiedName>,
    /// The statement itself takes no others.
    pub alone: bool,
}

/// The first word of a command tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    Insert,
    Update,
}

impl Verb {
    /// As errors name the command.
    pub fn name(self) -> &'static str {
        match self {
            Self::Insert => "INSERT",
            Self::Update => "UPDATE",
        }
    }

    pub fn word(self) -> &'static str {
        match self {
            Self::Insert => "INSERT 0",
            Self::Update => "UPDATE",
        }
    }

    pub fn tag(self, rows: u64) -> String {
        format!("{} {rows}", self.word())
    }
}

/// Rows whose key an UPDATE has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// The columns that the UPDATE sets.
    pub assigned: Vec<Box<str>>,
    /// A query of the depot: whether some row takes what must be unique from another that is moved too.
    pub takes_over: Option<String>,
}

#[derive(Clone, Debug)]
pub enum Place {
    /// Each row to the shard of its key.
    Keyed {
        distribution: DistributionId,
        name: Arc<KeyName>,
        key: Vec<DepotKey>,
    },
    /// A reference table: all rows to every shard.
    Everywhere,
    Home,
}

/// A key column of the rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DepotKey {
    /// Its place in the depot.
    pub column: usize,
    pub type_oid: Oid,
    /// The column refuses NULL by itself.
    pub not_null: bool,
}

/// An INSERT of rows that a shard is sent along with it.
#[derive(Clone, Debug)]
pub struct Taking {
    /// `INSERT INTO table [AS alias] (columns)`
    pub head: String,
    /// The client's ON CONFLICT and RETURNING.
    pub tail: Pieces,
    /// Rows come back in the order in which they are given.
    pub in_order: bool,
    /// `tail` reads the time of the transaction, which must be the same on every shard.
    pub reads_clock: bool,
}

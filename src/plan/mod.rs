//! PURE. Analysis + this call's values + topology -> `Plan`. A refusal is a plan.

pub mod cache;
pub mod combine;
pub mod explain;
pub mod route;

use std::sync::Arc;

use crate::catalog::Catalog;
use crate::fault::Fault;
use crate::ids::{Oid, ShardId, ShardSet};
use crate::sql::template::Slot;
use crate::topology::Topology;
use crate::types::Format;

pub use crate::sql::Access;
pub use combine::{Combine, Window};
pub use route::Why;

/// The values of one execution.
pub struct Inputs<'a> {
    /// The statement's text, which `slots` point into.
    pub text: &'a str,
    pub slots: &'a [Slot],
    /// `None` in the simple protocol and when only Describe is asked.
    pub parameters: Option<&'a dyn Parameters>,
}

/// The values of a Bind message, read in place.
pub trait Parameters {
    fn len(&self) -> usize;
    /// `$n` with `index` = n - 1: its type where Parse declared it (0: undeclared), its format, its bytes (None: NULL).
    fn get(&self, index: usize) -> Option<(Oid, Format, Option<&[u8]>)>;
}

/// The map and catalog of one moment, pinned by the statement.
#[derive(Clone, Copy)]
pub struct View<'a> {
    pub topology: &'a Topology,
    pub catalog: &'a Catalog,
}

/// What is to be done for one execution of one statement.
#[derive(Clone, Debug)]
pub struct Plan {
    pub kind: PlanKind,
    pub access: Access,
    pub why: Why,
}

#[derive(Clone, Debug)]
pub enum PlanKind {
    /// No shard is asked.
    Refuse(Fault),
    /// The whole statement runs on one shard as the client wrote it; its frames pass untouched.
    Single(ShardId),
    /// Like `Single`, on whichever shard is convenient: reference tables, table-less SELECT.
    Any,
    /// The same statement with the same effect on every shard (DDL, writes to reference tables); the client sees one answer.
    /// All must agree on the command tag.
    Broadcast(ShardSql),
    /// Every shard answers a part. Also UPDATE and DELETE over several shards (tags are added up).
    Scatter { shards: ShardSet, sql: ShardSql, combine: Arc<Combine>, window: Option<Window> },
    /// Multi-row INSERT cut by shard: each shard its own text. `combine` puts RETURNING rows back in the client's order.
    Split { parts: Vec<(ShardId, ShardSql)>, combine: Arc<Combine> },
    /// COPY FROM STDIN into a sharded table: rows go to the shard of their key.
    CopyIn(Arc<CopyInPlan>),
}

/// The text that a shard gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShardSql {
    AsWritten,
    Rewritten {
        text: Arc<str>,
        /// Which of the client's parameters ($n as n - 1) become $1, $2, ... of `text`; `None`: all, in order.
        parameters: Option<Arc<[u16]>>,
    },
}

/// How the rows of a COPY FROM STDIN find their shard.
#[derive(Clone, Debug)]
pub struct CopyInPlan {
    pub distribution: crate::ids::DistributionId,
    /// Name of the table, for messages.
    pub table: crate::ids::QualifiedName,
    /// Fields of a row (columns of the COPY's column list).
    pub fields: usize,
    /// For each sharding-key column: its field's position and its name.
    pub key_fields: Vec<(usize, Box<str>)>,
    pub format: crate::sql::utility::CopyFormat,
}
pub fn plan(_a: &crate::sql::Analysis, _i: &Inputs<'_>, _v: &View<'_>) -> Plan {
    Plan { kind: PlanKind::Any, access: Access::Write, why: Why::NoTable }
}

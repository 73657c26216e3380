//! PURE. Analysis + this call's values + topology -> `Plan`. A refusal is a plan.

pub mod advice;
pub mod cache;
pub mod claim;
pub mod combine;
mod computed;
mod counts;
pub mod delivery;
pub mod explain;
pub mod finish;
pub mod locked;
pub mod lookup;
pub mod named_key;
pub mod route;
pub mod shard_plans;
mod shared;
mod split;
pub mod supply;
mod values;

use std::sync::Arc;

use crate::catalog::Catalog;
use crate::fault::{Fault, SqlState};
use crate::ids::{Oid, QualifiedName, ShardId, ShardSet};
use crate::sql::Analysis;
use crate::sql::create_as::CreateAs;
use crate::sql::keys::{KeyGroup, KeyName};
use crate::sql::outcome::{Count, Finish, InsertRows, KeyChange, Limit, Many, ManyRows, Outcome, Routed, Scatter};
use crate::sql::sequences::Draw;
use crate::sql::stamp::Stamped;
use crate::sql::supply::SupplyTarget;
use crate::sql::template::Slot;
use crate::sql::utility::{ExplainOptions, StatementKind};
use crate::topology::Topology;
use crate::types::Format;
use crate::types::compare::TextStyle;

pub use crate::sql::Access;
pub use crate::sql::outcome::{CopyFill, CopyInPlan, ShardSql, Why};
pub use claim::{ClaimPlan, ClaimText};
pub use combine::{Combine, Window};
pub use delivery::{DeliveryPlan, TakingPlan};
pub use finish::{Elsewhere, FinishPlan, InputColumn, Keys, KeysFrom, Pull, PullFrom, PullPart};
pub use locked::LockedPlan;
pub use lookup::LookupPlan;
pub use supply::{SuppliedRows, SupplyPlan};

use counts::window;

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
    /// `$n` with `index` = n - 1: its type where Parse declared it (0: undeclared), its format, its bytes (None: NULL).
    fn get(&self, index: usize) -> Option<(Oid, Format, Option<&[u8]>)>;
}

/// The map and catalog of one moment, pinned by the statement.
#[derive(Clone, Copy)]
pub struct View<'a> {
    pub topology: &'a Topology,
    pub catalog: &'a Catalog,
    /// There are servers beside the shards that finish statements.
    pub combine_servers: bool,
    /// A transaction is open, and what the statement reads must be read through its connections: a Postgres that finishes the
    /// statement sees neither its writes nor its snapshot.
    pub in_transaction: bool,
    /// The session has values printed in another form than the statement's merge reads ([`Analysis::style`]).
    pub prints_otherwise: bool,
}

/// What is to be done for one execution of one statement.
#[derive(Clone, Debug)]
pub struct Plan {
    pub kind: PlanKind,
    pub access: Access,
    pub why: Why,
}

impl Plan {
    /// The shard that runs the whole statement, where one does.
    pub fn one_shard(&self) -> Option<ShardId> {
        match &self.kind {
            PlanKind::Single(shard) => Some(*shard),
            PlanKind::Scatter { shards, .. } => shards.iter().next().filter(|_| shards.len() == 1),
            PlanKind::Refuse(_)
            | PlanKind::Any
            | PlanKind::Broadcast(_)
            | PlanKind::Each(_)
            | PlanKind::CreateAs(_)
            | PlanKind::Stamp(_)
            | PlanKind::Finish(_)
            | PlanKind::Split { .. }
            | PlanKind::Deliver(_)
            | PlanKind::Supply(_)
            | PlanKind::Claim(_)
            | PlanKind::Locked(_)
            | PlanKind::CopyIn(_)
            | PlanKind::Explain(_)
            | PlanKind::Lookup(_)
            | PlanKind::Draw(_) => None,
        }
    }

    /// What is done where the registry is not asked.
    pub fn without_lookup(self) -> Self {
        match self {
            Plan { kind: PlanKind::Lookup(lookup), .. } => lookup.otherwise,
            other => other,
        }
    }

    /// Shows the plan that servers beside the shards would carry out, where they may: one of them, `on` in words.
    pub fn show_on(&mut self, on: &str) {
        match &mut self.kind {
            PlanKind::Finish(finish) => {
                if let Some(placed) = finish.placed(on) {
                    *finish = Arc::new(placed);
                }
            }
            PlanKind::Explain(explain) => explain.plan.show_on(on),
            PlanKind::Lookup(lookup) => lookup.otherwise.show_on(on),
            PlanKind::Refuse(_)
            | PlanKind::Single(_)
            | PlanKind::Any
            | PlanKind::Broadcast(_)
            | PlanKind::Each(_)
            | PlanKind::CreateAs(_)
            | PlanKind::Stamp(_)
            | PlanKind::Scatter { .. }
            | PlanKind::Split { .. }
            | PlanKind::Deliver(_)
            | PlanKind::Supply(_)
            | PlanKind::Claim(_)
            | PlanKind::Locked(_)
            | PlanKind::CopyIn(_)
            | PlanKind::Draw(_) => {}
        }
    }
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
    /// Some shards each with a text of its own, to one effect; the client sees the answer of the first.
    Each(Vec<(ShardId, ShardSql)>),
    /// A table is made of rows that lie elsewhere: made empty, then filled by a statement that is planned when it is there.
    CreateAs(Arc<CreateAs>),
    /// A definition on every shard, with values of the clock that are asked for first.
    Stamp(Arc<Stamped>),
    /// Every shard answers a part. Also UPDATE and DELETE over several shards (tags are added up).
    Scatter { shards: ShardSet, sql: ShardSql, combine: Arc<Combine>, window: Option<Window> },
    /// Tier 2: rows are pulled from the shards, and a Postgres finishes the statement on them.
    Finish(Arc<FinishPlan>),
    /// Multi-row INSERT cut by shard: each shard its own text. `combine` puts RETURNING rows back in the client's order.
    Split { parts: Vec<(ShardId, ShardSql)>, combine: Arc<Combine> },
    /// Rows are put together by a Postgres, and then go to the shards of their keys.
    Deliver(Arc<DeliveryPlan>),
    /// What the statement reads is put together by a Postgres, and sent along to each shard.
    Supply(Arc<SupplyPlan>),
    /// Rows are locked one after the other until there are as many as LIMIT says.
    Claim(Arc<ClaimPlan>),
    /// Rows that are put together in one place are read, locked, and read again under the locks.
    Locked(Arc<LockedPlan>),
    /// COPY FROM STDIN into a sharded table: rows go to the shard of their key.
    CopyIn(Arc<CopyInPlan>),
    /// EXPLAIN of what runs on several shards: each explains its part.
    Explain(Box<ExplainPlan>),
    /// The registry of unique values is asked first for the shard that has the row.
    Lookup(Box<LookupPlan>),
    /// Values of sequences are taken first; the statement with them is planned anew.
    Draw(Arc<Draw>),
}

/// EXPLAIN of a statement that one shard alone does not run.
#[derive(Clone, Debug)]
pub struct ExplainPlan {
    /// The plan of the statement within.
    pub plan: Plan,
    /// EXPLAIN and its options as the client wrote them.
    pub prefix: Box<str>,
    pub options: ExplainOptions,
}

impl Analysis {
    /// How values must be printed for it to run as it does, where it can run in another way: see [`View::prints_otherwise`].
    pub fn style(&self) -> Option<TextStyle> {
        let Outcome::Routed(Routed { many: Ok(Many::Scatter(scatter)), .. }) = &self.outcome else { return None };
        scatter.otherwise.is_some().then_some(scatter.style)
    }
}

/// Decides one execution. For `key = value` it looks the value up and allocates nothing.
pub fn plan(analysis: &Analysis, inputs: &Inputs<'_>, view: &View<'_>) -> Plan {
    let plan = match &analysis.kind {
        StatementKind::Explain { inner, options } => {
            let plan = match &analysis.outcome {
                Outcome::Draw(_) if options.analyze => refused(drawn_in_explain()),
                // Nothing is taken, nothing is written.
                Outcome::Draw(draw) => plan_outcome(&draw.as_written, analysis, inputs, view),
                outcome => plan_outcome(outcome, analysis, inputs, view),
            };
            explained(plan, *inner, *options, inputs)
        }
        _ => plan_outcome(&analysis.outcome, analysis, inputs, view),
    };
    let numbering = &analysis.numbering;
    // What is in a placed schema has the numbers of its shard, for everybody.
    if !numbering.hangs_on_server() || matches!(analysis.outcome, Outcome::Shard(..)) {
        return plan;
    }
    let plan = match &numbering.gives {
        Some(what) => numbered(plan, what, view),
        None => plan,
    };
    numbering.names.iter().fold(plan, |plan, name| named(plan, name, view))
}

/// Numbers of the catalog are those of the home shard, for whoever asks.
fn numbered(plan: Plan, what: &str, view: &View<'_>) -> Plan {
    let home = view.topology.home;
    let is_as_home = |shard: ShardId| shard == home || view.catalog.numbers_of(shard).is_none();
    as_at_home(plan, view, &is_as_home, &|| {
        Fault::unsupported(
            format!("{what} is not supported on this shard"),
            "each shard numbers its tables in a way of its own",
            "Ask for the name (tableoid::regclass, 'name'::regclass), or for the number in a statement that names no table.",
        )
    })
}

/// What has this name is found by it, wherever it is looked up.
fn named(plan: Plan, name: &QualifiedName, view: &View<'_>) -> Plan {
    let home = view.topology.home;
    let is_there = |shard: ShardId| shard == home || view.catalog.has_on(shard, name);
    as_at_home(plan, view, &is_there, &|| {
        Fault::unsupported(
            format!("\"{}\" is not known on all shards of this statement", name.name),
            "what has this name is on the home shard alone, and the rows of the statement are elsewhere",
            "Look it up, or make a value of it, in a statement that names no table.",
        )
    })
}

/// The plan, if all its shards are like the home shard in what counts; else what can go there goes there, and the rest is refused.
fn as_at_home(
    plan: Plan,
    view: &View<'_>,
    is_as_home: &impl Fn(ShardId) -> bool,
    refusal: &impl Fn() -> Fault,
) -> Plan {
    let home = view.topology.home;
    match plan.kind {
        PlanKind::Any => Plan { kind: PlanKind::Single(home), ..plan },
        _ if view.topology.all_shards().iter().all(is_as_home) => plan,
        PlanKind::Single(shard) if is_as_home(shard) => plan,
        PlanKind::Scatter { ref shards, .. } if shards.iter().all(is_as_home) => plan,
        PlanKind::Lookup(lookup) => as_at_home(lookup.otherwise, view, is_as_home, refusal),
        // These are planned anew, or finished at home.
        PlanKind::Refuse(_) | PlanKind::Draw(_) | PlanKind::Finish(_) | PlanKind::Explain(_) => plan,
        PlanKind::Single(_)
        | PlanKind::Broadcast(_)
        | PlanKind::Each(_)
        | PlanKind::CreateAs(_)
        | PlanKind::Stamp(_)
        | PlanKind::Scatter { .. }
        | PlanKind::Split { .. }
        | PlanKind::Deliver(_)
        | PlanKind::Supply(_)
        | PlanKind::Claim(_)
        | PlanKind::Locked(_)
        | PlanKind::CopyIn(_) => refused(refusal()),
    }
}

/// The plan of a statement whose values of sequences stay with its server.
pub fn plan_as_written(draw: &Draw, analysis: &Analysis, inputs: &Inputs<'_>, view: &View<'_>) -> Plan {
    plan_outcome(&draw.as_written, analysis, inputs, view)
}

fn drawn_in_explain() -> Fault {
    Fault::unsupported(
        "EXPLAIN ANALYZE of a statement that takes values of sequences is not supported",
        "the router takes the values, and would have to explain another statement",
        "Give the column a value in the statement, or use EXPLAIN without ANALYZE.",
    )
}

/// What runs on one shard explains itself.
fn explained(mut plan: Plan, inner: usize, options: ExplainOptions, inputs: &Inputs<'_>) -> Plan {
    // Without ANALYZE nothing is written.
    let access = if options.analyze { plan.access } else { Access::Read };
    let why = plan.why.clone();
    let prefix = inputs.text.get(..inner).unwrap_or_default();
    match &mut plan.kind {
        PlanKind::Refuse(_) | PlanKind::Single(_) | PlanKind::Any => return Plan { access, ..plan },
        // One shard explains it alone, where the registry tells which.
        PlanKind::Lookup(lookup) => {
            let otherwise = std::mem::replace(&mut lookup.otherwise, refused(lost_literals()));
            lookup.otherwise = Plan { access, ..explained(otherwise, inner, options, inputs) };
            return Plan { access, ..plan };
        }
        // Its parts are cut out of the whole text.
        PlanKind::Split { parts, .. } => {
            for (_, sql) in parts {
                if let ShardSql::Rewritten { text, .. } = sql
                    && let Some(part) = text.strip_prefix(prefix)
                {
                    *text = part.into();
                }
            }
        }
        PlanKind::Finish(finish) if finish.writes() && options.analyze => {
            return refused(Fault::unsupported(
                "EXPLAIN ANALYZE of this statement is not supported",
                "its WITH changes data, and the shards would be asked twice",
                "Use EXPLAIN without ANALYZE.",
            ));
        }
        PlanKind::Finish(finish) if !finish.supplies.is_empty() => return put_together(),
        PlanKind::Broadcast(_) | PlanKind::Each(_) | PlanKind::Scatter { .. } | PlanKind::Finish(_) => {}
        PlanKind::Deliver(_) | PlanKind::Supply(_) => {
            return put_together();
        }
        PlanKind::Claim(_) => {
            return refused(Fault::unsupported(
                "EXPLAIN of this statement is not supported",
                "rows are locked one after the other until there are enough",
                "EXPLAIN (ROUTE) shows how.",
            ));
        }
        PlanKind::Locked(_) => {
            return refused(Fault::unsupported(
                "EXPLAIN of this statement is not supported",
                "its rows are read, locked, and read again under the locks",
                "EXPLAIN (ROUTE) shows how; explain the SELECT without its lock clause.",
            ));
        }
        PlanKind::CreateAs(_) => {
            return refused(Fault::unsupported(
                "EXPLAIN of this statement is not supported",
                "it makes a table of rows that lie on several shards, in several steps",
                "Explain the query alone.",
            ));
        }
        PlanKind::CopyIn(_) | PlanKind::Stamp(_) | PlanKind::Explain(_) | PlanKind::Draw(_) => {
            return refused(lost_literals());
        }
    }
    let explain = ExplainPlan { plan, prefix: prefix.into(), options };
    Plan { kind: PlanKind::Explain(Box::new(explain)), access, why }
}

#[inline]
fn plan_outcome(outcome: &Outcome, analysis: &Analysis, inputs: &Inputs<'_>, view: &View<'_>) -> Plan {
    let (kind, why) = match outcome {
        Outcome::Routed(routed) => return routed_plan(analysis, routed, inputs, view),
        Outcome::Insert(insert) => return insert_plan(analysis, insert, inputs, view),
        Outcome::Draw(draw) => (PlanKind::Draw(Arc::clone(draw)), Why::Sequence),
        Outcome::Deliver(delivery) => return delivery::plan(delivery, inputs, view, analysis.parameters),
        Outcome::Supply(supply) => return supply::plan(supply, None, inputs, view),
        Outcome::Refuse(fault) => (PlanKind::Refuse(fault.clone()), Why::Refused),
        Outcome::Home(why) => (PlanKind::Single(view.topology.home), why.clone()),
        Outcome::Shard(shard, why) => (PlanKind::Single(*shard), why.clone()),
        Outcome::Any(why) => (PlanKind::Any, why.clone()),
        Outcome::Broadcast(why) => (PlanKind::Broadcast(ShardSql::AsWritten), why.clone()),
        Outcome::Parts(parts, why) => {
            (PlanKind::Split { parts: texts(parts), combine: Arc::new(Combine::CONCAT) }, why.clone())
        }
        Outcome::Each(parts, why) => (PlanKind::Each(texts(parts)), why.clone()),
        Outcome::Stamp(stamped) => (PlanKind::Stamp(Arc::clone(stamped)), Why::Ddl),
        Outcome::CreateAs(create) => (PlanKind::CreateAs(Arc::clone(create)), Why::Ddl),
        Outcome::CopyIn(copy) if copy.distribution.is_none() => (PlanKind::CopyIn(copy.clone()), Why::Reference),
        Outcome::CopyIn(copy) => {
            let columns: Vec<&str> = copy.key_fields.iter().map(|(_, name)| &**name).collect();
            let name = KeyName { table: copy.table.name.clone(), columns: columns.join(", ").into() };
            (PlanKind::CopyIn(copy.clone()), Why::Keys(Arc::new(name)))
        }
    };
    Plan { kind, access: analysis.access, why }
}

/// What each shard runs.
pub fn texts(parts: &[(ShardId, Arc<str>)]) -> Vec<(ShardId, ShardSql)> {
    let part =
        |(shard, text): &(ShardId, Arc<str>)| (*shard, ShardSql::Rewritten { text: text.clone(), parameters: None });
    parts.iter().map(part).collect()
}

/// Nothing is sent; the client gets this error.
pub(crate) fn refused(fault: Fault) -> Plan {
    Plan { kind: PlanKind::Refuse(fault), access: Access::Write, why: Why::Refused }
}

#[inline]
fn routed_plan(analysis: &Analysis, routed: &Routed, inputs: &Inputs<'_>, view: &View<'_>) -> Plan {
    if let ([group], true, None) = (&routed.groups[..], routed.also.is_empty(), &routed.key_change)
        && let Some(shard) = route::single(group, inputs, view.topology)
    {
        return Plan { kind: PlanKind::Single(shard), access: analysis.access, why: Why::Key(group.name.clone()) };
    }
    let plan = general_plan(analysis, routed, inputs, view);
    if routed.found_by.is_empty() {
        return plan;
    }
    lookup::before(plan, analysis, routed, inputs, view)
}

fn general_plan(analysis: &Analysis, routed: &Routed, inputs: &Inputs<'_>, view: &View<'_>) -> Plan {
    let topology = view.topology;
    // Clause 2: all references together decide. One that no row can match asks for nothing.
    let mut shards = ShardSet::new();
    let mut unsure = false;
    let mut open = false;
    let mut invalid = None;
    for group in &routed.groups {
        let reach = route::reach(group, inputs, topology);
        invalid = invalid.or(reach.invalid.then_some(&group.name));
        shards.union_with(&reach.shards);
        unsure |= reach.unsure;
        open |= reach.open;
    }
    let first = routed.groups.first();
    let name = first.map(|group| &group.name);
    if unsure && analysis.access == Access::Write {
        return refused(unknown_value(name.map(|name| &**name)));
    }
    shards.union_with(&routed.also);
    let access = analysis.access;
    if shards.is_empty() {
        let of = first.and_then(|group| topology.distribution(group.distribution).shards().min());
        let shard = of.unwrap_or(topology.home);
        let why = invalid.map_or(Why::Contradiction, |name| Why::NoValue(name.clone()));
        return Plan { kind: PlanKind::Single(shard), access, why };
    }
    if let (Some(change), Some(first)) = (&routed.key_change, first)
        && !stays(change, first, &shards, inputs, topology)
    {
        return match &change.moved {
            Ok(delivery) => delivery::plan(delivery, inputs, view, analysis.parameters),
            Err(fault) => refused(fault.clone()),
        };
    }
    let why = match name {
        None => Why::Unsharded,
        Some(name) if open => Why::NoKey(name.clone()),
        Some(name) => Why::Keys(name.clone()),
    };
    if let Some(shard) = shards.single() {
        let why = if let Why::Keys(name) = why { Why::Key(name) } else { why };
        return Plan { kind: PlanKind::Single(shard), access, why };
    }
    let scatter = match &routed.many {
        Ok(Many::Scatter(Scatter { otherwise: Some(finish), .. })) if view.prints_otherwise => {
            return finished(finish, inputs, view, access, why);
        }
        Ok(Many::Scatter(scatter)) => scatter,
        Ok(Many::Finish(finish)) => return finished(finish, inputs, view, access, why),
        Ok(Many::Deliver(delivery)) => return delivery::plan(delivery, inputs, view, analysis.parameters),
        Ok(Many::Supply(supply)) => {
            let why = (!matches!(supply.target, SupplyTarget::Home)).then_some(why);
            return supply::plan(supply, why, inputs, view);
        }
        Ok(Many::Claim(claim)) => return claim::plan(claim, shards, why, inputs),
        Ok(Many::Locked(locked)) => return locked::plan(locked, shards, why, inputs),
        Ok(Many::Fill(create)) => return Plan { kind: PlanKind::CreateAs(Arc::clone(create)), access, why },
        Err(fault) => return refused(fault.clone()),
    };
    let window = match &scatter.limit {
        None => None,
        Some(limit) => match window(limit, inputs) {
            Ok(window) => Some(window),
            // Any shard says so, behind the columns.
            Err(fault) if fault.code != SqlState::FEATURE_NOT_SUPPORTED && access == Access::Read => {
                return Plan { kind: PlanKind::Any, access, why };
            }
            Err(fault) => return refused(fault),
        },
    };
    let Some(mut sql) = scatter.sql.fill(inputs.text, inputs.slots) else { return refused(lost_literals()) };
    let is_parameter = matches!(scatter.limit, Some(Limit { limit: Some(Count::Parameter(_)), .. }));
    if is_parameter && access == Access::Read && window.as_ref().is_some_and(|window| window.limit == Some(0)) {
        sql = sql.without_rows();
    }
    let combine = scatter.combine.clone();
    Plan { kind: PlanKind::Scatter { shards, sql, combine, window }, access, why }
}

fn finished(finish: &Finish, inputs: &Inputs<'_>, view: &View<'_>, access: Access, why: Why) -> Plan {
    match finish::fill(finish, inputs, view) {
        Ok(finish) => Plan { kind: PlanKind::Finish(Arc::new(finish)), access, why },
        Err(fault) => refused(fault),
    }
}

fn insert_plan(analysis: &Analysis, insert: &InsertRows, inputs: &Inputs<'_>, view: &View<'_>) -> Plan {
    let distribution = view.topology.distribution(insert.distribution);
    let shard_of = |row| route::row_shard(row, &insert.typmods, &insert.name, distribution, inputs);
    let why = Why::Key(insert.name.clone());
    let access = analysis.access;
    if let ([row], [], true) = (&insert.rows[..], &insert.groups[..], insert.also.is_empty()) {
        return match shard_of(row) {
            Ok(shard) => Plan { kind: PlanKind::Single(shard), access, why },
            Err(none) => uncertain_plan(analysis, insert, none, inputs, view),
        };
    }
    let rows: Vec<ShardId> = match insert.rows.iter().map(shard_of).collect() {
        Ok(rows) => rows,
        Err(none) => return uncertain_plan(analysis, insert, none, inputs, view),
    };
    let mut shards: ShardSet = rows.iter().copied().collect();
    for group in &insert.groups {
        let reach = route::reach(group, inputs, view.topology);
        if reach.unsure {
            return refused(unknown_value(Some(&group.name)));
        }
        shards.union_with(&reach.shards);
    }
    shards.union_with(&insert.also);
    if let Some(shard) = shards.single() {
        return Plan { kind: PlanKind::Single(shard), access, why };
    }
    let cut = match &insert.many {
        Ok(ManyRows::Split(cut)) => split::split(inputs.text, *cut, &rows, analysis.parameters),
        Ok(ManyRows::Deliver(delivery)) => return delivery::plan(delivery, inputs, view, analysis.parameters),
        Ok(ManyRows::Finish(finish)) => {
            return finished(finish, inputs, view, access, Why::Keys(insert.name.clone()));
        }
        Ok(ManyRows::Supply(supply)) => {
            return supply::plan(supply, Some(Why::Keys(insert.name.clone())), inputs, view);
        }
        Err(fault) => Err(fault.clone()),
    };
    match cut {
        Ok(kind) => Plan { kind, access, why: Why::Keys(insert.name.clone()) },
        Err(fault) => refused(fault),
    }
}

/// A Postgres puts the rows together, which knows what is stored as their keys.
fn uncertain_plan(
    analysis: &Analysis,
    insert: &InsertRows,
    none: route::NoShard,
    inputs: &Inputs<'_>,
    view: &View<'_>,
) -> Plan {
    match (&none, &insert.uncertain, &insert.many) {
        (route::NoShard::Uncertain(_), Some(delivery), _)
        | (route::NoShard::Uncertain(_), None, Ok(ManyRows::Deliver(delivery))) => {
            delivery::plan(delivery, inputs, view, analysis.parameters)
        }
        _ => refused(none.into()),
    }
}

/// Whether rows with a changed key are on the one shard where they were.
fn stays(change: &KeyChange, of: &KeyGroup, shards: &ShardSet, inputs: &Inputs<'_>, topology: &Topology) -> bool {
    let (Some(shard), Some(key)) = (shards.single(), &change.new_key) else { return false };
    let distribution = topology.distribution(of.distribution);
    route::row_shard(key, &change.typmods, &of.name, distribution, inputs).is_ok_and(|new| new == shard)
}

/// A call that is not of the statement that was analyzed.
fn lost_literals() -> Fault {
    Fault::new(SqlState::INTERNAL_ERROR, "a statement without the literals that it was analyzed with")
}

fn unknown_value(name: Option<&KeyName>) -> Fault {
    let column = name.map_or("the sharding key", |name| &name.columns);
    Fault::unsupported(
        "the shards of this write are not certain",
        format!("a value that {column} is compared with cannot be read with certainty"),
        "Write the value in the plain form of the column's type.",
    )
}

/// What each shard would do is not known before.
fn put_together() -> Plan {
    refused(Fault::unsupported(
        "EXPLAIN of this statement is not supported",
        "rows are put together in one place before any are written",
        "EXPLAIN (ROUTE) shows how.",
    ))
}

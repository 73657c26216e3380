//! Values that are unique over all shards: before a transaction commits, what it has changed of them goes into the registry, on the shards
//! of the values, as a part of the transaction. And the other way round: a statement by such a value goes to the shard that the registry names.

use std::collections::{BTreeMap, HashMap};

use crate::backend::settings::quote_identifier;
use crate::commit::registry::{Changes, Entry, place, value_of};
use crate::control::uniques::{CAN_FIND, find, put, take};
use crate::fault::{Fault, SqlState};
use crate::ids::{ShardId, ShardSet};
use crate::plan::{Access, LookupPlan, Plan, PlanKind, Why};
use crate::session::copied_values::Twice;
use crate::session::{Failure, Session};

impl Session {
    /// Whether the plan may write rows of sharded tables, whose values are registered then. By triggers of Postgres's own this reaches
    /// tables that the statement does not name.
    pub(super) fn registers(&self, plan: &Plan) -> bool {
        !self.database.uniques.is_empty() && plan.access == Access::Write && writes_rows(&plan.why)
    }

    /// A statement that one shard could commit by itself becomes a transaction of ours, because more than that shard has a part in it.
    pub(super) async fn begin_registering(&mut self, plan: &Plan) -> Result<(), Failure> {
        if !self.registers(plan) || self.tx.is_open() {
            return Ok(());
        }
        if self.batch.open.is_some() {
            self.leave_open().await?;
        }
        if !self.tx.is_open() {
            self.tx.begin_implicit(&self.settings);
        }
        Ok(())
    }

    /// Registers what the transaction has changed. On an error it cannot be committed.
    pub(super) async fn register_values(&mut self) -> Result<(), Fault> {
        let wrote: Vec<ShardId> =
            self.held.iter().filter(|held| held.joined && held.wrote).map(|held| held.shard).collect();
        if self.database.uniques.is_empty() || wrote.is_empty() {
            return Ok(());
        }
        if self.statements.has_running() {
            self.park_runs().await.map_err(fault_of)?;
        }
        let database = std::sync::Arc::clone(&self.database);
        let topology = std::sync::Arc::clone(&self.view.topology);
        let names: Vec<&str> = topology.shards.iter().map(|shard| &*shard.name).collect();
        // DDL alone must not wait for what it makes itself.
        let rules = if self.changed_rows { &database.uniques[..] } else { &[] };
        let sql = take(rules, &names);
        let mut changes = Changes::default();
        for shard in wrote {
            let at = self.held_at(shard)?;
            let server = &mut self.held[at].server;
            if !self.changed_rows && !is_made(server).await? {
                // Before anything of this is there.
                continue;
            }
            let server = &mut self.held[at].server;
            for row in server.query(&sql).await? {
                let [Some(scope), Some(value), Some(shown), Some(change)] = &row[..] else { return Err(unread()) };
                let change = change.parse().map_err(|_| unread())?;
                changes.note(scope.clone(), value.clone(), shown.clone(), shard.index(), change);
            }
        }
        let (parts, twice) = changes.by_shard(topology.shards.len());
        // Of a COPY all are asked for: the first of its lines is told.
        let all = self.copied.is_some();
        let of_entry = |entry: Entry| Twice { scope: entry.scope, shown: entry.shown, is_there: false };
        let mut twice: Vec<Twice> = twice.into_iter().map(of_entry).take(if all { usize::MAX } else { 1 }).collect();
        let name_of = |twice: &Twice| (twice.scope.clone(), twice.shown.clone());
        let mut known: HashMap<(String, String), usize> =
            twice.iter().enumerate().map(|(at, twice)| (name_of(twice), at)).collect();
        // In the order of the shards, so that two who register the same values do not lock each other out.
        for (place, entries) in parts {
            if !twice.is_empty() && !all {
                break;
            }
            let shard = ShardId(u16::try_from(place).map_err(|_| unread())?);
            let at = self.enlist(shard).await.map_err(fault_of)?;
            let held = &mut self.held[at];
            held.note_rows(true);
            for row in held.server.query(&put(&entries, &names, all)).await? {
                let [Some(scope), Some(shown)] = &row[..] else { return Err(unread()) };
                let (scope, shown) = (scope.clone(), shown.clone());
                match known.get(&(scope.clone(), shown.clone())).and_then(|at| twice.get_mut(*at)) {
                    Some(known) => known.is_there = true,
                    None => {
                        known.insert((scope.clone(), shown.clone()), twice.len());
                        twice.push(Twice { scope, shown, is_there: true });
                    }
                }
            }
        }
        let Some(first) = twice.first() else { return Ok(()) };
        Err(match self.copied.as_ref().and_then(|copied| copied.first(&twice)) {
            Some((first, place)) => self.duplicate(&first.scope, &first.shown).about(b'W', place),
            None => self.duplicate(&first.scope, &first.shown),
        })
    }

    /// The plan of a statement when the registry has said where its rows are, where it is to be asked first.
    pub(super) async fn look_up(&mut self, plan: Plan) -> Result<Plan, Failure> {
        let PlanKind::Lookup(lookup) = plan.kind else { return Ok(plan) };
        Ok(match Box::pin(self.shards_of_values(&lookup)).await? {
            Some(shards) => lookup.found(&shards),
            None => lookup.otherwise,
        })
    }

    /// The same for one that is only shown: a transaction, or a pipeline, is not to have a part on one more shard for that.
    pub(super) async fn look_up_shown(&mut self, plan: Plan) -> Result<Plan, Failure> {
        if self.tx.is_open() || self.batch.open.is_some() {
            return Ok(plan);
        }
        self.look_up(plan).await
    }

    /// The shards that have the rows; `None` where the registry cannot tell.
    async fn shards_of_values(&mut self, lookup: &LookupPlan) -> Result<Option<ShardSet>, Failure> {
        // What the transaction has changed is registered when it ends.
        let changed = self.tx.is_open() && self.changed_rows || self.held.iter().any(|held| held.joined && held.wrote);
        if changed || !self.database.uniques.contains(&lookup.rule) {
            return Ok(None);
        }
        let topology = std::sync::Arc::clone(&self.view.topology);
        let names: Vec<&str> = topology.shards.iter().map(|shard| &*shard.name).collect();
        let scope = lookup.rule.scope();
        let mut asked: BTreeMap<usize, Vec<String>> = BTreeMap::new();
        for value in lookup.values.iter().map(|columns| value_of(columns)) {
            asked.entry(place(&scope, &value, names.len())).or_default().push(value);
        }
        let mut found = ShardSet::new();
        for (at, values) in asked {
            let shard = ShardId(u16::try_from(at).map_err(|_| unread())?);
            let rows = self.ask_registry(shard, &find(&lookup.rule, &names, &values)).await?;
            if rows.len() != values.len() {
                return Ok(None);
            }
            for row in rows {
                match &row[..] {
                    [Some(there), None] if there == "f" => {}
                    [Some(_), Some(name)] => match names.iter().position(|known| known == name) {
                        Some(at) => found.insert(ShardId(u16::try_from(at).map_err(|_| unread())?)),
                        None => return Ok(None),
                    },
                    _ => return Err(unread().into()),
                }
            }
        }
        Ok(Some(found))
    }

    /// The rows of [`find`]; none where the shard has no such function.
    async fn ask_registry(&mut self, shard: ShardId, sql: &str) -> Result<Vec<Vec<Option<String>>>, Failure> {
        let at = self.enlist(shard).await?;
        let server = &mut self.held[at].server;
        let known = self.database.finds.knows(shard);
        let can = known || says_yes(server, CAN_FIND).await?;
        if can && !known {
            self.database.finds.note(shard);
        }
        let rows = if can { server.query(sql).await? } else { Vec::new() };
        if !self.tx.is_open() {
            self.release_idle();
        }
        Ok(rows)
    }

    /// As Postgres says it.
    fn duplicate(&self, scope: &str, shown: &str) -> Fault {
        let rule = self.database.uniques.iter().find(|rule| rule.scope() == *scope);
        let name = rule.map_or(scope, |rule| &*rule.name);
        let fault = Fault::new(
            SqlState::UNIQUE_VIOLATION,
            format!("duplicate key value violates unique constraint \"{name}\""),
        );
        let Some(rule) = rule else { return fault };
        let columns: Vec<String> = rule.columns.iter().map(|column| quote_identifier(column)).collect();
        fault
            .detail(format!("Key ({})=({shown}) already exists.", columns.join(", ")))
            .about(b's', &*rule.table.schema)
            .about(b't', &*rule.table.name)
            .about(b'n', name)
    }
}

/// Whether the writes of a plan with this reason are those of rows that shards may have registered.
fn writes_rows(why: &Why) -> bool {
    match why {
        Why::Key(_)
        | Why::Keys(_)
        | Why::NoKey(_)
        | Why::Contradiction
        | Why::NoValue(_)
        | Why::Unique(_)
        | Why::Reference
        | Why::Cursor
        | Why::Sequence => true,
        Why::Unsharded | Why::Schema(_) | Why::NoTable | Why::Ddl | Why::OneByOne(_) | Why::Hint | Why::Refused => {
            false
        }
    }
}

async fn is_made(server: &mut crate::backend::Backend) -> Result<bool, Fault> {
    says_yes(server, "SELECT pg_catalog.to_regproc('pgloom.unique_take') IS NOT NULL").await
}

async fn says_yes(server: &mut crate::backend::Backend, sql: &str) -> Result<bool, Fault> {
    let rows = server.query(sql).await?;
    Ok(rows.first().and_then(|row| row.first()).is_some_and(|cell| cell.as_deref() == Some("t")))
}

fn fault_of(failure: Failure) -> Fault {
    match failure {
        Failure::Fault(fault) => fault,
        Failure::Reported | Failure::Stop(_) => {
            Fault::new(SqlState::TRANSACTION_ROLLBACK, "the values that must be unique could not be registered")
        }
    }
}

fn unread() -> Fault {
    Fault::new(SqlState::INTERNAL_ERROR, "a shard did not tell which values must be unique")
}

//! Values that are unique over all shards: before a transaction commits, what it has changed of them goes into the registry, on the shards
//! of the values, as a part of the transaction.

use crate::commit::registry::{Changes, Entry};
use crate::control::uniques::{put, take};
use crate::fault::{Fault, SqlState};
use crate::ids::ShardId;
use crate::plan::{Access, Plan, Why};
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
                changes.note(scope.clone(), value.clone(), shown.clone(), change);
            }
        }
        let parts =
            changes.by_shard(topology.shards.len()).map_err(|entry| self.duplicate(&entry.scope, &entry.shown))?;
        // In the order of the shards, so that two who register the same values do not lock each other out.
        for (place, entries) in parts {
            let shard = ShardId(u16::try_from(place).map_err(|_| unread())?);
            let at = self.enlist(shard).await.map_err(fault_of)?;
            let held = &mut self.held[at];
            held.wrote = true;
            let of = |entry: &'_ Entry| (entry.scope.clone(), entry.value.clone(), entry.added);
            let list: Vec<(String, String, bool)> = entries.iter().map(of).collect();
            let rows =
                held.server.query(&put(list.iter().map(|(scope, value, added)| (&**scope, &**value, *added)))).await?;
            if let Some([Some(scope), Some(shown)]) = rows.first().map(|row| &row[..]) {
                return Err(self.duplicate(scope, shown));
            }
        }
        Ok(())
    }

    /// As Postgres says it.
    fn duplicate(&self, scope: &str, shown: &str) -> Fault {
        let rule = self.database.uniques.iter().find(|rule| rule.scope() == *scope);
        let (name, columns) = rule.map_or((scope, String::new()), |rule| (&*rule.name, rule.columns.join(", ")));
        Fault::new(SqlState::UNIQUE_VIOLATION, format!("duplicate key value violates unique constraint \"{name}\""))
            .detail(format!("Key ({columns})=({shown}) already exists."))
    }
}

/// Whether the writes of a plan with this reason are those of rows that shards may have registered.
fn writes_rows(why: &Why) -> bool {
    match why {
        Why::Key(_)
        | Why::Keys(_)
        | Why::NoKey(_)
        | Why::Contradiction
        | Why::Reference
        | Why::Cursor
        | Why::Sequence => true,
        Why::Unsharded | Why::Schema(_) | Why::NoTable | Why::Ddl | Why::OneByOne(_) | Why::Hint | Why::Refused => {
            false
        }
    }
}

async fn is_made(server: &mut crate::backend::Backend) -> Result<bool, Fault> {
    let rows = server.query("SELECT pg_catalog.to_regproc('pgloom.unique_take') IS NOT NULL").await?;
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

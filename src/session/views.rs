//! Who may read the views that a statement names: where their definitions have been put in the place of their names, no Postgres asks.

use std::fmt::Write;

use crate::backend::server_fault;
use crate::backend::settings::{quote_identifier, quote_literal};
use crate::exec::replies::ScatterError;
use crate::fault::{Fault, SqlState};
use crate::ids::{QualifiedName, ShardId};
use crate::plan::FinishPlan;
use crate::session::finish::{Halt, with};
use crate::session::{Failure, Session};

/// What the user may read of a relation.
#[derive(Clone, Copy)]
struct Rights {
    whole: bool,
    some_column: bool,
}

impl Session {
    /// Fails as Postgres does where the client may not read a view, before anything is pulled. The tables below it Postgres reads with
    /// the rights of the view's owner, and pulls read them with the client's: where it has none, the statement is refused.
    /// Where the shards can read the views by their names, the plan for that takes its place.
    pub(super) async fn check_views<'p>(&mut self, plan: &'p FinishPlan) -> Result<&'p FinishPlan, Failure> {
        if plan.views.is_empty() {
            return Ok(plan);
        }
        let (_, shards) = self.feeds(plan)?;
        let below = plan.by_views.iter().flat_map(|(_, below)| below);
        let tables: Vec<&QualifiedName> =
            plan.pulls.iter().filter_map(|pull| pull.table.as_ref()).chain(below).collect();
        let relations: Vec<&QualifiedName> = plan.views.iter().map(|(view, _)| view).chain(tables.clone()).collect();
        let home = self.view.topology.home;
        if self.tx.is_open() {
            // It stays with the transaction: it is not to be held while others are waited for.
            self.enlist_all(&with(&shards, Some(home))).await?;
        }
        let mut rights = self.rights_at(home, &relations).await?;
        // Views of placed schemas are where these lie; one that reads no table is where nothing is pulled from.
        let all: Vec<ShardId> = (0..self.view.topology.shards.len()).map(|at| ShardId(at as u16)).collect();
        let others = shards.iter().chain(all.iter().filter(|shard| !shards.contains(shard)));
        for shard in others.copied().filter(|shard| *shard != home) {
            if rights.iter().take(plan.views.len()).all(Option::is_some) {
                break;
            }
            let there = self.rights_at(shard, &relations).await?;
            rights.iter_mut().zip(there).for_each(|(known, there)| *known = known.or(there));
        }
        let mut rights = rights.into_iter();
        for (view, is_named) in &plan.views {
            match rights.next().flatten() {
                Some(Rights { whole: true, .. }) => {}
                Some(Rights { some_column: false, .. }) if *is_named => {
                    let message = format!("permission denied for view {}", view.name);
                    return Err(Fault::new(SqlState::INSUFFICIENT_PRIVILEGE, message).into());
                }
                Some(_) | None => return Err(unclear(view).into()),
            }
        }
        // What was not looked at is read where it is, and its rights are looked at there.
        let is_closed = |rights: Option<Rights>| rights.is_some_and(|rights| !rights.some_column);
        match tables.into_iter().zip(rights).find(|(_, rights)| is_closed(*rights)) {
            Some((table, _)) => match &plan.by_views {
                Some((by_views, _)) => Ok(by_views),
                None => Err(not_below(table).into()),
            },
            None => Ok(plan),
        }
    }

    /// What the user may read there of each; `None`: it is not there.
    async fn rights_at(
        &mut self,
        shard: ShardId,
        relations: &[&QualifiedName],
    ) -> Result<Vec<Option<Rights>>, Failure> {
        let mut sql = String::from("VALUES ");
        for (at, name) in relations.iter().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            let qualified = format!("{}.{}", quote_identifier(&name.schema), quote_identifier(&name.name));
            let relation = format!("pg_catalog.to_regclass({})", quote_literal(&qualified));
            let _ = write!(
                sql,
                "{comma}(pg_catalog.has_table_privilege({relation}, 'SELECT'), pg_catalog.has_any_column_privilege({relation}, 'SELECT'))"
            );
        }
        let at = self.enlist(shard).await?;
        let rows = self.ask_held(at, &sql).await;
        // Not held while others are waited for.
        self.end_parts(false).await?;
        let rights = |row: &Vec<Option<String>>| {
            let is = |at: usize| row.get(at).and_then(Option::as_deref).map(|said| said == "t");
            Some(Rights { whole: is(0)?, some_column: is(1)? })
        };
        let mut found: Vec<Option<Rights>> = rows?.iter().map(rights).collect();
        found.resize(relations.len(), None);
        Ok(found)
    }
}

fn unclear(view: &QualifiedName) -> Fault {
    Fault::unsupported(
        format!("view \"{}\" over several shards cannot be read with rights on some of its columns alone", view.name),
        "Its definition stands in the place of its name, and which of its columns are read is not compared with the rights.",
        "Grant SELECT on the whole view.",
    )
}

/// What the client is told where a pull failed. Of the tables in a query that the shards run whole nobody has asked for the rights; and where a
/// statement names views, a table that it may not read is one below them.
pub(super) fn below_views(plan: &FinishPlan, halt: Halt) -> Halt {
    let denied = match &halt {
        Halt::Scatter(ScatterError::Shard(frame)) => {
            server_fault(frame.body()).code == SqlState::INSUFFICIENT_PRIVILEGE
        }
        Halt::Scatter(ScatterError::Fault(fault)) | Halt::Failure(Failure::Fault(fault)) => {
            fault.code == SqlState::INSUFFICIENT_PRIVILEGE
        }
        Halt::Scatter(ScatterError::Broken(_) | ScatterError::Stale(_))
        | Halt::Failure(Failure::Reported | Failure::Stop(_))
        | Halt::Unable(_) => false,
    };
    if !denied || plan.views.is_empty() {
        return halt;
    }
    Halt::Failure(
        Fault::unsupported(
            "a view over several shards reads what the user has no rights on",
            "Rows are pulled from the shards with the user's own rights, not with those of the view's owner.",
            "Grant SELECT on the tables that the view reads, or give the sharding key, so that one shard reads the view.",
        )
        .into(),
    )
}

fn not_below(table: &QualifiedName) -> Fault {
    Fault::unsupported(
        format!("a view over several shards reads table \"{}\", on which the user has no rights", table.name),
        "Rows are pulled from the shards with the user's own rights, not with those of the view's owner.",
        "Grant SELECT on the table, or give the sharding key, so that one shard reads the view.",
    )
}

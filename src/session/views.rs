//! Who may read the views that a statement names: where their definitions have been put in the place of their names, no Postgres asks.

use std::fmt::Write;

use crate::backend::settings::{quote_identifier, quote_literal};
use crate::fault::{Fault, SqlState};
use crate::ids::QualifiedName;
use crate::plan::FinishPlan;
use crate::session::finish::with;
use crate::session::{Failure, Session};

impl Session {
    /// Fails as Postgres does where the client may not read a view, before anything is pulled. The tables below it Postgres reads with
    /// the rights of the view's owner, and pulls read them with the client's: where it has none, the statement is refused.
    pub(super) async fn check_views(&mut self, plan: &FinishPlan) -> Result<(), Failure> {
        if plan.views.is_empty() {
            return Ok(());
        }
        let tables: Vec<&QualifiedName> = plan.pulls.iter().filter_map(|pull| pull.table.as_ref()).collect();
        let mut sql = String::from("VALUES ");
        for (at, name) in plan.views.iter().map(|(view, _)| view).chain(tables.iter().copied()).enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            let qualified = format!("{}.{}", quote_identifier(&name.schema), quote_identifier(&name.name));
            let relation = format!("pg_catalog.to_regclass({})", quote_literal(&qualified));
            let _ = write!(
                sql,
                "{comma}(pg_catalog.has_table_privilege({relation}, 'SELECT'), pg_catalog.has_any_column_privilege({relation}, 'SELECT'))"
            );
        }
        let home = self.view.topology.home;
        if self.tx.is_open() {
            // It stays with the transaction: it is not to be held while others are waited for.
            let (_, shards) = self.feeds(plan)?;
            self.enlist_all(&with(&shards, Some(home))).await?;
        }
        let at = self.enlist(home).await?;
        let rows = self.held[at].server.query(&sql).await;
        self.end_parts(false).await?;
        let mut rights = rows?.into_iter().map(|row| {
            let is = |at: usize| row.get(at).and_then(Option::as_deref) == Some("t");
            (is(0), is(1))
        });
        for (view, is_named) in &plan.views {
            match rights.next() {
                Some((true, _)) => {}
                Some((false, false)) if *is_named => {
                    let message = format!("permission denied for view {}", view.name);
                    return Err(Fault::new(SqlState::INSUFFICIENT_PRIVILEGE, message).into());
                }
                Some((false, _)) | None => return Err(unclear(view).into()),
            }
        }
        match tables.into_iter().zip(rights).find(|(_, (_, some))| !some) {
            Some((table, _)) => Err(not_below(table).into()),
            None => Ok(()),
        }
    }
}

fn unclear(view: &QualifiedName) -> Fault {
    Fault::unsupported(
        format!("view \"{}\" over several shards cannot be read with rights on some of its columns alone", view.name),
        "Its definition stands in the place of its name, and which of its columns are read is not compared with the rights.",
        "Grant SELECT on the whole view.",
    )
}

fn not_below(table: &QualifiedName) -> Fault {
    Fault::unsupported(
        format!("a view over several shards reads table \"{}\", on which the user has no rights", table.name),
        "Rows are pulled from the shards with the user's own rights, not with those of the view's owner.",
        "Grant SELECT on the table, or give the sharding key, so that one shard reads the view.",
    )
}

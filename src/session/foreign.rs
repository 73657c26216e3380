//! Statements over tables that the home shard does not have: no server has them all, so nobody can describe the client's own text.
//! The statement that finishes them is described instead, on a combine connection, over empty inputs.

use std::sync::Arc;

use crate::backend::combine;
use crate::backend::inflight::{Audience, Owed};
use crate::backend::settings::quote_literal;
use crate::catalog::numbers::Numbers;
use crate::exec::forward::{NO_POSITION, without_position};
use crate::exec::replies::Hears;
use crate::fault::Fault;
use crate::ids::{Oid, ShardId};
use crate::plan::{FinishPlan, Inputs, PlanKind};
use crate::session::prepared::ClientStatement;
use crate::session::promise::Description;
use crate::session::{Failure, Session};
use crate::wire::request;

impl Session {
    /// How a statement is finished that only its finishing statement can describe; `None`: some server has all its tables.
    pub(super) fn foreign_plan(&self, statement: &ClientStatement) -> Option<FinishPlan> {
        if !self.view.topology.places_schemas() {
            return None;
        }
        let inputs = Inputs { text: &statement.text, slots: &statement.slots, parameters: None };
        match self.plan_of(&statement.analysis, &inputs).without_lookup().kind {
            PlanKind::Finish(finish) if finish.foreign => Some((*finish).clone()),
            PlanKind::Explain(explain) => match &explain.plan.kind {
                PlanKind::Finish(finish) if finish.foreign => {
                    Some(FinishPlan { sql: format!("{}{}", explain.prefix, finish.sql), ..(**finish).clone() })
                }
                _ => None,
            },
            _ => None,
        }
    }

    /// The description of such a statement, which must be what it has promised; remembered.
    pub(super) async fn describe_foreign(
        &mut self,
        statement: &Arc<ClientStatement>,
        plan: &FinishPlan,
    ) -> Result<Description, Failure> {
        if let Some(known) = statement.described().filter(|_| statement.is_kept()) {
            return Ok(known);
        }
        // An error of it comes behind what the batch owes so far.
        self.drain_open().await?;
        let description = self.describe_finish(plan, &statement.types).await?;
        self.keep_promise(statement, &description)?;
        statement.set_described(description.0.clone(), description.1.clone());
        Ok(description)
    }

    /// What a combine connection says of the finishing statement.
    pub(super) async fn describe_finish(&mut self, plan: &FinishPlan, types: &[Oid]) -> Result<Description, Failure> {
        // Given back before others are waited for.
        let mut slot = None;
        let slot = match self.enlist_with_combine(&[], None, &mut slot).await {
            Ok(slot) => slot,
            Err(halt) => return Err(self.halted(halt).await),
        };
        let described = self.describe_over_nothing(slot, plan, types).await;
        self.end_finish(slot).await;
        described
    }

    /// Tells of the columns of inputs as of those of the tables in whose places they are: where the home shard has them, as it numbers them.
    pub(super) async fn number_inputs(&mut self, slot: ShardId, plan: &FinishPlan) -> Result<(), Fault> {
        let at = self.held_at(slot)?;
        let numbers = plan.pulls.iter().map(|pull| {
            format!("{}::pg_catalog.regclass::pg_catalog.oid", quote_literal(&combine::qualified(&pull.name)))
        });
        let sql = format!("SELECT {}", numbers.collect::<Vec<_>>().join(", "));
        let server = &mut self.held[at].server;
        let row = server.query(&sql).await?.pop().unwrap_or_default();
        let numbers = row.iter().map(|number| number.as_deref().and_then(|number| number.parse().ok()).unwrap_or(0));
        let inputs = plan.pulls.iter().zip(numbers).map(|(pull, number): (_, Oid)| {
            // What is read of a view is not of the tables behind it.
            let table = pull.table.as_ref().filter(|_| plan.views.is_empty());
            (number, table, pull.columns.iter().map(|column| &*column.name).collect())
        });
        let numbers = Numbers::of_inputs(&self.view.catalog.numbered, inputs, !plan.views.is_empty());
        server.numbers = Some(numbers);
        Ok(())
    }

    async fn describe_over_nothing(
        &mut self,
        slot: ShardId,
        plan: &FinishPlan,
        types: &[Oid],
    ) -> Result<Description, Failure> {
        let nowhere = vec![Vec::new(); plan.pulls.len()];
        self.make_inputs(slot, plan, None, &nowhere, &[]).await?;
        self.number_inputs(slot, plan).await?;
        let settings = self.finish_settings(plan, true);
        let at = self.held_at(slot)?;
        let server = &mut self.held[at].server;
        if !settings.is_empty() {
            server.ask(&settings);
        }
        server.parse(b"", plan.sql.as_bytes(), types)?;
        server.inflight.push(Owed::Parse(Audience::Router));
        request::describe(&mut server.out, request::Target::Statement, b"")?;
        server.inflight.push(Owed::DescribeStatement(Audience::Client));
        server.out.extend_from_slice(request::SYNC);
        server.inflight.push(Owed::Sync(Audience::Client));
        match super::finish::description(server, &mut self.client, Hears::Behind(NO_POSITION), None).await {
            Ok(Ok(described)) => Ok(described),
            Ok(Err(error)) => {
                self.client.out.extend_from_slice(&without_position(&error).bytes);
                Err(Failure::Reported)
            }
            Err(error) => Err(self.scatter_failure(error, false).await),
        }
    }
}

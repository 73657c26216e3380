//! Portals that were bound, and wait for their first Execute. In Postgres they see the data and the names of their Bind, and the tables that
//! they read are in use: nobody of the session changes their definitions, or empties them.

use std::sync::Arc;

use bytes::Bytes;

use crate::backend::inflight::{Audience, Owed};
use crate::ids::ShardId;
use crate::plan::FinishPlan;
use crate::session::finish::Original;
use crate::session::run::Ask;
use crate::session::{Failure, Session};
use crate::sql::utility::{StatementKind, classify};
use crate::wire::frame::BindView;
use crate::wire::request;

/// No parameters, and results as text.
const NO_VALUES: &[u8] = &[0; 6];

impl Session {
    /// Begins the portals over shards that are bound only, but for this one: something comes behind which they would see more, or other
    /// things, than at their Bind. An Execute in the same batch, the usual case, comes before that.
    pub(super) async fn begin_bound(&mut self, but: Option<&[u8]>) -> Result<(), Failure> {
        // Nothing begins in a transaction that has failed: it is left, and they are with it.
        if self.tx.has_failed() {
            return Ok(());
        }
        for name in self.statements.bound(but) {
            let statement = Arc::clone(&self.statements.portal(&name)?.statement);
            if self.is_read_otherwise(&name, &statement)? {
                // Its Execute says why.
                continue;
            }
            // What it returns is told by the names of now, whatever they mean when it is asked.
            self.columns_of(&statement).await?;
            self.leave_open().await?;
            self.begin_portal(&name, None).await?;
            self.note_printed(&name);
        }
        Ok(())
    }

    /// The same before a statement that could change what they see is bound to this portal, or run by it.
    pub(super) async fn begin_bound_before(&mut self, name: &[u8]) -> Result<(), Failure> {
        if self.tx.has_failed() || self.statements.bound(Some(name)).is_empty() {
            return Ok(());
        }
        self.settle_parse().await?;
        self.leave_open().await?;
        // As in Postgres, the pipeline is one transaction, and what is bound in it uses its tables.
        self.tx.begin_implicit(&self.settings);
        self.begin_bound(Some(name)).await
    }

    /// A portal of the query on the home shard, for as long as its rows wait on `slot`. It never runs: it is there for Postgres to say
    /// what may not be done to the tables that it reads (`55006`).
    pub(super) async fn guard(
        &mut self,
        slot: ShardId,
        plan: &FinishPlan,
        ask: &Ask<'_>,
        original: &Original,
    ) -> Result<(), Failure> {
        let home = self.view.topology.home;
        let in_transaction = match &plan.cursor {
            Some(_) => self.tx.counts_as_block(),
            None => self.tx.is_open(),
        };
        if plan.foreign || !in_transaction || !self.held.iter().any(|held| held.shard == home && held.joined) {
            return Ok(());
        }
        let (text, _) = ask.statement();
        let tail = match ask {
            Ask::Bound { bind, .. } => Bytes::copy_from_slice(BindView::read(bind)?.tail),
            Ask::Query { .. } => Bytes::from_static(NO_VALUES),
        };
        let query = match (classify(text), ask) {
            (StatementKind::Declare { inner, .. }, _) => text.get(inner..).unwrap_or_default(),
            (_, Ask::Bound { .. }) => text,
            (_, Ask::Query { .. }) => return Ok(()),
        };
        let at = self.enlist(home).await?;
        let server = &mut self.held[at].server;
        server.parse(b"", query.as_bytes(), &original.parameters)?;
        server.inflight.push(Owed::Parse(Audience::Router));
        request::bind_raw(&mut server.out, guard_of(slot).as_bytes(), b"", &tail)?;
        server.inflight.push(Owed::Bind(Audience::Router));
        server.out.extend_from_slice(request::SYNC);
        server.inflight.push(Owed::Sync(Audience::Router));
        let pumped = self.pump_unplaced(at).await;
        if pumped?.error {
            return Err(Failure::Reported);
        }
        let at = self.held_at(slot)?;
        self.held[at].guarded = true;
        Ok(())
    }

    /// Its rows are waited for no longer.
    pub(super) async fn end_guard(&mut self, slot: ShardId) {
        self.close_portal_on(vec![self.view.topology.home], guard_of(slot).into_bytes().into()).await;
    }
}

fn guard_of(slot: ShardId) -> String {
    format!("pgloom_guard_{}", slot.index())
}

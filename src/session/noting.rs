//! What is noted of a statement for metrics and logs: how it was routed, and which key it was for.

use std::time::Instant;

use crate::ids::ShardId;
use crate::metrics::Route;
use crate::plan::named_key::named_key;
use crate::plan::{Access, Inputs, Plan, PlanKind};
use crate::session::Session;
use crate::sql::Analysis;

impl Session {
    /// How the statement at hand is answered. One that was routed before it in the same batch has had its time.
    pub(super) fn note_route(&mut self, route: Route, shards: usize) {
        if self.clock.routed.is_some() {
            self.stop_clock(Instant::now());
        }
        self.shared.metrics.planned(route);
        self.clock.note_part("plan", None, Vec::new());
        self.clock.routed = Some((route, shards));
        if shards > 1 {
            self.limit_scatter();
        }
    }

    pub(super) fn note_plan(&mut self, plan: &Plan) {
        self.wrote |= plan.access == Access::Write;
        self.tx.note_run();
        if let PlanKind::Explain(explain) = &plan.kind {
            return self.note_plan(&explain.plan);
        }
        if let PlanKind::Lookup(lookup) = &plan.kind {
            return self.note_plan(&lookup.otherwise);
        }
        self.changed_rows = self.registers(plan) || self.tx.is_open() && self.changed_rows;
        let (route, shards) = self.route_of(plan);
        self.note_route(route, shards);
        self.clock.shard = plan.one_shard();
        if tracing::enabled!(tracing::Level::DEBUG) {
            let span = tracing::Span::current();
            span.record("route", route.label());
            span.record("shards", shards);
            tracing::debug!(route = route.label(), shards, why = ?plan.why, "routed");
        }
    }

    /// The kind of a plan, and how many shards it asks.
    fn route_of(&self, plan: &Plan) -> (Route, usize) {
        let all = self.view.topology.shards.len();
        match &plan.kind {
            PlanKind::Refuse(_) => (Route::Refuse, 0),
            PlanKind::Single(_) => (Route::Single, 1),
            PlanKind::Any => (Route::Any, 1),
            PlanKind::Draw(_) => (Route::Draw, 1),
            PlanKind::Broadcast(_) => (Route::Broadcast, all),
            PlanKind::CopyIn(_) => (Route::CopyIn, all),
            PlanKind::Each(parts) => (Route::Each, parts.len()),
            PlanKind::Split { parts, .. } => (Route::Split, parts.len()),
            PlanKind::Scatter { shards, .. } => (Route::Scatter, shards.len()),
            PlanKind::Finish(finish) => (Route::Finish, finish.shards().len()),
            PlanKind::Supply(supply) => (Route::Supply, supply.shards.len()),
            PlanKind::Claim(claim) => (Route::Claim, claim.shards.len()),
            PlanKind::Locked(locked) => (Route::Claim, locked.shards.len()),
            PlanKind::Deliver(delivery) => (Route::Deliver, delivery.targets(&self.view.topology).len()),
            PlanKind::CreateAs(_) => (Route::CreateAs, all),
            PlanKind::Stamp(_) => (Route::Stamp, all),
            PlanKind::Explain(explain) => self.route_of(&explain.plan),
            PlanKind::Lookup(lookup) => self.route_of(&lookup.otherwise),
        }
    }

    /// One of the statements that are looked at for their keys.
    pub(super) fn note_key(&self, analysis: &Analysis, inputs: &Inputs<'_>, shard: ShardId) {
        if let Some(key) = named_key(analysis, inputs, &self.view.topology) {
            self.database.hot_keys.note(key.distribution, &key.to_string(), shard);
        }
    }
}

//! Which shards have a function or type: those that name what the home shard alone has are there alone.

use crate::backend::settings::quote_literal;
use crate::exec::replies::watched;
use crate::fault::Fault;
use crate::ids::ShardId;
use crate::session::{Failure, Session};

/// Put on every shard, within a transaction, before a definition that may turn out to be one of the home shard alone.
pub(super) const MARK: &str = "SAVEPOINT pgloom_definition";

/// Where functions and types of one name are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whereabouts {
    Nowhere,
    HomeAlone,
    Everywhere,
    /// The shards have drifted apart.
    Some,
}

impl Session {
    /// Takes these shards back to before the definition. False: not all of them can be.
    pub(super) async fn back_to_mark(&mut self, shards: &[ShardId]) -> bool {
        self.quiet(shards, true).await;
        for shard in shards {
            let Some(at) = self.held.position(*shard).filter(|at| !self.held[*at].server.broken) else { return false };
            if self.ask_held(at, "ROLLBACK TO SAVEPOINT pgloom_definition").await.is_err() {
                return false;
            }
        }
        self.release_mark(shards).await.is_ok()
    }

    pub(super) async fn release_mark(&mut self, shards: &[ShardId]) -> Result<(), Failure> {
        for shard in shards {
            let at = self.held_at(*shard)?;
            self.ask_held(at, "RELEASE SAVEPOINT pgloom_definition").await?;
        }
        Ok(())
    }

    /// Asks every shard.
    pub(super) async fn whereabouts(&mut self, name: &str) -> Result<Whereabouts, Failure> {
        let name = quote_literal(name);
        let sql = format!(
            "SELECT 1 FROM pg_catalog.pg_proc WHERE proname = {name} \
             UNION ALL SELECT 1 FROM pg_catalog.pg_type WHERE typname = {name} \
             UNION ALL SELECT 1 FROM pg_catalog.pg_event_trigger WHERE evtname = {name}"
        );
        let home = self.view.topology.home;
        let at_home = !self.ask(home, &sql, false).await?.is_empty();
        let (mut with, mut without) = (0, 0);
        for shard in self.view.topology.all_shards().iter().filter(|shard| *shard != home) {
            match self.ask(shard, &sql, false).await?.is_empty() {
                true => without += 1,
                false => with += 1,
            }
        }
        Ok(match (at_home, with, without) {
            (false, 0, _) => Whereabouts::Nowhere,
            (true, 0, 1..) => Whereabouts::HomeAlone,
            (true, _, 0) => Whereabouts::Everywhere,
            _ => Whereabouts::Some,
        })
    }
}

impl Session {
    /// That no event trigger runs with a definition on these shards, all but the home shard, that could do there what it would do once in
    /// one Postgres. The home shard's run once: it has every definition.
    pub(super) async fn check_event_triggers(&mut self, shards: &[ShardId]) -> Result<(), Failure> {
        let home = self.view.topology.home;
        let others: Vec<ShardId> = shards.iter().copied().filter(|shard| *shard != home).collect();
        let asks = self.held.servers(&others).into_iter().map(|server| server.query(EVENT_TRIGGERS));
        let found = watched(&mut self.client, futures::future::try_join_all(asks)).await??;
        for row in found.iter().flatten() {
            let [Some(trigger), Some(function)] = &row[..] else { continue };
            if !crate::sql::is_known_safe(&self.view.catalog, function) {
                return Err(Fault::unsupported(
                    format!("definitions with event trigger \"{trigger}\" on several shards are not supported"),
                    format!("It would run once on each shard, and function {function}() is not known to be safe."),
                    "Drop or disable the event trigger on all shards but the home shard, where it runs for every definition.",
                )
                .into());
            }
        }
        Ok(())
    }
}

/// Those that are enabled, and their functions.
const EVENT_TRIGGERS: &str = "SELECT e.evtname, p.proname FROM pg_catalog.pg_event_trigger e \
    JOIN pg_catalog.pg_proc p ON p.oid = e.evtfoid WHERE e.evtenabled NOT IN ('D', 'R')";

/// A CREATE OR REPLACE of what some shards have and others do not.
pub(super) fn replaced_in_part(name: &str) -> Fault {
    Fault::unsupported(
        format!("replacing \"{name}\", which some shards have and others do not, is not supported"),
        "Where it is made anew it would have another owner and other rights than where it is replaced.",
        "Drop it, and create it again.",
    )
}

//! Which shards have a function or type: those that name what the home shard alone has are there alone.

use crate::backend::settings::quote_literal;
use crate::fault::Fault;
use crate::session::{Failure, Session};

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
    /// Asks every shard.
    pub(super) async fn whereabouts(&mut self, name: &str) -> Result<Whereabouts, Failure> {
        let name = quote_literal(name);
        let sql = format!(
            "SELECT 1 FROM pg_catalog.pg_proc WHERE proname = {name} \
             UNION ALL SELECT 1 FROM pg_catalog.pg_type WHERE typname = {name}"
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

/// A CREATE OR REPLACE of what some shards have and others do not.
pub(super) fn replaced_in_part(name: &str) -> Fault {
    Fault::unsupported(
        format!("replacing \"{name}\", which some shards have and others do not, is not supported"),
        "Where it is made anew it would have another owner and other rights than where it is replaced.",
        "Drop it, and create it again.",
    )
}

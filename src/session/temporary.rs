//! Temporary things of the session. They go before all others of their name, and its own connection alone has them: a statement that other
//! servers run as well would mean something else there.

use std::collections::HashSet;
use std::sync::Arc;

use crate::fault::Fault;
use crate::ids::ShardId;
use crate::session::{Failure, Session};
use crate::sql::Analysis;
use crate::sql::ddl::{self, Owner};
use crate::sql::outcome::{Outcome, Why};
use crate::sql::utility::StatementKind;

/// What the session's connection to this shard has, as it was when the last statement ran there that may have changed it.
#[derive(Debug, Default)]
pub(super) struct Temporaries {
    known: Option<(ShardId, HashSet<String>)>,
}

impl Session {
    /// The analysis of a statement in a session that may have temporary things.
    pub(super) async fn hidden_by_temporaries(
        &mut self,
        text: &str,
        analysis: Arc<Analysis>,
    ) -> Result<Arc<Analysis>, Failure> {
        let Some(at) = self.held.iter().position(|held| held.temporary) else { return Ok(analysis) };
        if self.view.topology.is_all_home() && self.view.topology.shards.len() == 1 {
            return Ok(analysis);
        }
        let shard = self.held[at].shard;
        if goes_there_alone(&analysis.outcome, shard, self.view.topology.home) {
            if !analysis.only_reads {
                self.own_things.known = None;
            }
            return Ok(analysis);
        }
        if matches!(analysis.kind, StatementKind::Transaction(_)) {
            return Ok(analysis);
        }
        let made = match self.own_things.known.take() {
            Some((known, made)) if known == shard => made,
            _ => {
                self.rest_open().await?;
                self.read_own_things(at).await?
            }
        };
        let told = self.told(text, &analysis, &made, shard);
        self.own_things.known = Some((shard, made));
        Ok(match told {
            None => analysis,
            Some(outcome) => {
                if matches!(outcome, Outcome::Home(_) | Outcome::Shard(..)) {
                    self.own_things.known = None;
                }
                Arc::new(Analysis { outcome, takes_turn: false, ..Analysis::clone(&analysis) })
            }
        })
    }

    async fn read_own_things(&mut self, at: usize) -> Result<HashSet<String>, Failure> {
        const MADE: &str = "SELECT relname FROM pg_catalog.pg_class WHERE relnamespace = pg_catalog.pg_my_temp_schema() \
             UNION SELECT typname FROM pg_catalog.pg_type WHERE typnamespace = pg_catalog.pg_my_temp_schema()";
        Ok(self.ask_held(at, MADE).await?.into_iter().flatten().flatten().collect())
    }

    /// Where else the statement goes, if it does not mean what every server takes it for.
    fn told(&self, text: &str, analysis: &Analysis, made: &HashSet<String>, shard: ShardId) -> Option<Outcome> {
        if made.is_empty() || matches!(analysis.outcome, Outcome::Refuse(_)) {
            return None;
        }
        if analysis.kind == StatementKind::Ddl {
            match ddl::owner(text, self.scope.standard_strings(), made) {
                Owner::Session if shard == self.view.topology.home => return Some(Outcome::Home(Why::Unsharded)),
                Owner::Session => return Some(Outcome::Shard(shard, Why::Unsharded)),
                Owner::Both => {
                    return Some(Outcome::Refuse(Fault::unsupported(
                        "a definition of temporary things and of others together is not supported",
                        "what is temporary is on the session's own connection alone",
                        "Name them in statements of their own.",
                    )));
                }
                Owner::Others => {}
            }
        }
        let catalog = &self.view.catalog;
        let hides = |name: &str| {
            catalog.tables.keys().any(|table| *table.name == *name)
                || catalog.indexes.keys().any(|index| *index.name == *name)
                || catalog.numbered.types.keys().any(|known| *known.name == *name)
        };
        let hiding: HashSet<&str> = made.iter().map(|name| &**name).filter(|name| hides(name)).collect();
        if hiding.is_empty() {
            return None;
        }
        let hidden = ddl::names_bare(text, self.scope.standard_strings(), &hiding)?;
        Some(Outcome::Refuse(Fault::unsupported(
            format!("\"{hidden}\" is a temporary object of the session and the name of another one"),
            "The temporary one goes before the other, but the session's own connection alone has it.",
            "Write the schema of the other one before its name in another session, or give the temporary one a name of its own.",
        )))
    }
}

/// Whether the session's own connection alone runs it.
fn goes_there_alone(outcome: &Outcome, shard: ShardId, home: ShardId) -> bool {
    match outcome {
        Outcome::Home(_) => shard == home,
        Outcome::Shard(to, _) => *to == shard,
        _ => false,
    }
}

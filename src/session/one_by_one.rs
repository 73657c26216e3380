//! Commands that cannot run in a transaction (CONCURRENTLY, VACUUM): one shard after the other, and a report when one fails half way.

use crate::backend::server_fault;
use crate::backend::settings::quote_literal;
use crate::exec::forward::Broken;
use crate::exec::replies::ScatterError;
use crate::exec::scatter::{Answer, ScatterRun};
use crate::fault::{Fault, SqlState};
use crate::ids::{QualifiedName, ShardId, ShardSet};
use crate::plan::combine::Combine;
use crate::plan::{ShardSql, texts};
use crate::session::run::Ask;
use crate::session::{Failure, Session, Stop};
use crate::sql::outcome::OneByOne;
use crate::sql::pulls::quoted;
use crate::wire::reply;

impl Session {
    pub(super) async fn run_one_by_one(
        &mut self,
        steps: &OneByOne,
        shards: &ShardSet,
        sql: &ShardSql,
        ask: &Ask<'_>,
    ) -> Result<(), Failure> {
        if self.tx.is_open() || self.batch.executed {
            let inside = self.tx.counts_as_block();
            if *steps.command == *"ANALYZE" {
                return Err(Fault::unsupported(
                    "ANALYZE of all tables in a transaction is not supported here",
                    "Shards are databases of one server, and their parts of it would wait for each other.",
                    "Run it outside of the transaction, or name the tables.",
                )
                .into());
            }
            let place = if inside { "run inside a transaction block" } else { "be executed within a pipeline" };
            let message = format!("{} cannot {place}", steps.command);
            return Err(Fault::new(SqlState::ACTIVE_SQL_TRANSACTION, message).into());
        }
        let mut all: Vec<ShardId> = shards.iter().collect();
        let texts = steps.parts.as_deref().map(texts);
        if let Some(texts) = &texts {
            all.retain(|shard| texts.iter().any(|(of, _)| of == shard));
        }
        if let Some((parent, partition)) = &steps.detached {
            all = self.still_attached(all, parent, partition).await?;
        }
        // Looked at on every shard before anything is done on one.
        for shard in &all {
            if let Some(index) = &steps.index {
                self.check_valid(*shard, index).await?;
            }
            if ["CREATE", "DROP", "ALTER"].iter().any(|verb| steps.command.starts_with(verb)) {
                self.enlist(*shard).await?;
                let checked = self.check_event_triggers(&[*shard]).await;
                self.release_idle();
                checked?;
            }
        }
        self.client.tell_once(true);
        let texts = texts.unwrap_or_else(|| all.iter().map(|shard| (*shard, sql.clone())).collect());
        let done = self.run_on_each(steps, &all, &texts, ask).await;
        self.client.tell_once(false);
        reply::command_complete(&mut self.client.out, &done?)?;
        Ok(())
    }

    /// The command tag.
    async fn run_on_each(
        &mut self,
        steps: &OneByOne,
        all: &[ShardId],
        texts: &[(ShardId, ShardSql)],
        ask: &Ask<'_>,
    ) -> Result<String, Failure> {
        let mut tag = String::new();
        for (at, shard) in all.iter().enumerate() {
            let Some((_, sql)) = texts.iter().find(|(of, _)| of == shard) else { continue };
            let done = match self.enlist(*shard).await {
                Ok(place) => self.run_alone(place, *shard, sql, ask).await,
                Err(Failure::Fault(fault)) => Err(ScatterError::Fault(fault)),
                Err(failure) => return Err(failure),
            };
            match done {
                Ok(theirs) => tag = theirs,
                Err(ScatterError::Broken(Broken::Client)) => return Err(Failure::Stop(Stop::Gone)),
                Err(error) => {
                    let fault = match error {
                        ScatterError::Shard(frame) => server_fault(frame.body()),
                        ScatterError::Broken(Broken::Server(fault))
                        | ScatterError::Fault(fault)
                        | ScatterError::Stale(fault) => fault,
                        ScatterError::Broken(Broken::Client) => return Err(Failure::Stop(Stop::Gone)),
                    };
                    self.quiet(all, false).await;
                    self.drop_broken();
                    self.release_idle();
                    return Err(self.half_done(steps, all, at, fault).into());
                }
            }
            self.release_idle();
        }
        Ok(tag)
    }

    async fn run_alone(
        &mut self,
        at: usize,
        shard: ShardId,
        sql: &ShardSql,
        ask: &Ask<'_>,
    ) -> Result<String, ScatterError> {
        ask.put(&mut self.held[at].server, sql)?;
        let manner = self.manner(Answer::First);
        let mut servers = self.held.servers(&[shard]);
        let client = &mut self.client;
        let concat = &Combine::CONCAT;
        let mut run = ScatterRun::start(&mut servers, client, concat, None, manner).await?;
        run.run(&mut servers, client, None).await?;
        Ok(run.common_tag()?)
    }

    /// IF NOT EXISTS passes over an index that is there, also one that an earlier attempt has left behind and that no query uses.
    async fn check_valid(&mut self, shard: ShardId, index: &QualifiedName) -> Result<(), Failure> {
        let sql = format!(
            "SELECT 1 FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid \
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             WHERE n.nspname = {} AND c.relname = {} AND NOT i.indisvalid",
            quote_literal(&index.schema),
            quote_literal(&index.name)
        );
        let at = self.enlist(shard).await?;
        let invalid = !self.held[at].server.query(&sql).await?.is_empty();
        self.release_idle();
        if !invalid {
            return Ok(());
        }
        let name = &self.view.topology.shard(shard).name;
        Err(Fault::new(
            SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!("index \"{}\" on shard \"{name}\" is not valid", index.name),
        )
        .detail("An earlier attempt to build it has failed, or another one is still running.")
        .hint("If none is running, DROP INDEX CONCURRENTLY IF EXISTS removes it from every shard; then run the command again.")
        .into())
    }

    /// The shards on which a partition is one still. If there is none, the first: it says so in its words.
    async fn still_attached(
        &mut self,
        all: Vec<ShardId>,
        parent: &QualifiedName,
        partition: &QualifiedName,
    ) -> Result<Vec<ShardId>, Failure> {
        let name = |name: &QualifiedName| quote_literal(&format!("{}.{}", quoted(&name.schema), quoted(&name.name)));
        let sql = format!(
            "SELECT 1 FROM pg_catalog.pg_inherits WHERE inhparent = pg_catalog.to_regclass({}) \
             AND inhrelid = pg_catalog.to_regclass({})",
            name(parent),
            name(partition)
        );
        let mut left = Vec::new();
        for shard in &all {
            let at = self.enlist(*shard).await?;
            if !self.held[at].server.query(&sql).await?.is_empty() {
                left.push(*shard);
            }
            self.release_idle();
        }
        Ok(if left.is_empty() { all.into_iter().take(1).collect() } else { left })
    }

    /// The shard's error, with what is done and what is not.
    fn half_done(&self, steps: &OneByOne, all: &[ShardId], failed: usize, fault: Fault) -> Fault {
        let names = |shards: &[ShardId]| {
            let names: Vec<&str> = shards.iter().map(|shard| &*self.view.topology.shard(*shard).name).collect();
            if names.is_empty() { "none".to_owned() } else { names.join(", ") }
        };
        let (done, rest) = all.split_at(failed);
        let report = format!(
            "{} is done on shards: {}; failed on: {}; not sent to: {}.",
            steps.command,
            names(done),
            names(rest.get(..1).unwrap_or_default()),
            names(rest.get(1..).unwrap_or_default())
        );
        let detail = match &fault.detail {
            Some(detail) => format!("{detail}\n{report}"),
            None => report,
        };
        fault.detail(detail).hint(steps.remedy)
    }
}

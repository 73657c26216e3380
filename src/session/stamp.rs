//! Definitions with a value of the clock: it is asked for once, of one shard, and every shard gets the statement with it.

use std::sync::Arc;

use crate::backend::settings::quote_literal;
use crate::exec::replies::watched;
use crate::fault::Fault;
use crate::ids::ShardId;
use crate::plan::{Access, ShardSql, Why};
use crate::session::create_as::Told;
use crate::session::run::Ask;
use crate::session::{Failure, Session};
use crate::sql::pulls::quoted;
use crate::sql::stamp::{Stamp, Stamped};

impl Session {
    pub(super) async fn run_stamped(
        &mut self,
        stamped: &Stamped,
        takes_turn: bool,
        ask: &Ask<'_>,
    ) -> Result<(), Failure> {
        let opened = !self.tx.is_open();
        if opened {
            self.tx.begin_implicit(&self.settings);
        }
        let done = self.stamp(stamped, takes_turn, ask).await;
        self.told = Told::Client;
        self.end_write(done, opened).await
    }

    /// The command tag.
    async fn stamp(&mut self, stamped: &Stamped, takes_turn: bool, ask: &Ask<'_>) -> Result<String, Failure> {
        if !self.text_style().iso_dates {
            return Err(Fault::unsupported(
                "a column whose default is the time cannot be added to a distributed table under these settings",
                "The value goes to the shards as text, and as DateStyle is set it may lose its time zone.",
                "Set DateStyle to ISO.",
            )
            .into());
        }
        let shard = self.shard_of_time();
        let shards: Vec<ShardId> = self.view.topology.all_shards().iter().collect();
        self.check_fanout(shards.len())?;
        self.enlist_all(&shards).await?;
        let at = self.enlist(shard).await?;
        let question = stamped.question();
        let asked = watched(&mut self.client, self.held[at].server.query(&question)).await?;
        let answer = asked.map_err(Fault::without_position)?;
        self.tx.clock = Some(shard);
        let mut values = Vec::new();
        for (stamp, value) in stamped.stamps.iter().zip(answer.into_iter().flatten()) {
            let there = stamp.if_not_exists && self.has_column(shard, stamped, stamp).await?;
            let value = value.map_or("NULL".to_owned(), |value| quote_literal(&value));
            values.push((!there).then_some(value));
        }
        let text: Arc<str> = stamped.with_values(&values).into();
        let part = |shard: &ShardId| (*shard, ShardSql::Rewritten { text: Arc::clone(&text), parameters: None });
        self.told = Told::Kept(String::new());
        self.run_each(shards.iter().map(part).collect(), Access::Write, &Why::Ddl, takes_turn, ask).await?;
        self.kept_tag()
    }

    async fn has_column(&mut self, shard: ShardId, stamped: &Stamped, stamp: &Stamp) -> Result<bool, Failure> {
        let table = format!("{}.{}", quoted(&stamped.table.schema), quoted(&stamped.table.name));
        let sql = format!(
            "SELECT 1 FROM pg_catalog.pg_attribute WHERE attrelid = pg_catalog.to_regclass({}) AND attname = {} AND NOT attisdropped",
            quote_literal(&table),
            quote_literal(&stamp.column)
        );
        let at = self.enlist(shard).await?;
        Ok(!self.ask_held(at, &sql).await?.is_empty())
    }
}

//! The time of a transaction: that of the shard to which it came first. Statements that others run alone are told it.

use std::sync::Arc;

use crate::backend::settings::quote_literal;
use crate::exec::forward::NO_POSITION;
use crate::fault::Fault;
use crate::ids::ShardId;
use crate::plan::combine::Combine;
use crate::plan::{Access, ShardSql};
use crate::session::run::Ask;
use crate::session::{Failure, Session};
use crate::sql::Analysis;
use crate::sql::block_time::with_time;

impl Session {
    /// The shard that tells the moment of a statement over several shards.
    pub(super) fn shard_of_time(&self) -> ShardId {
        self.tx.shard_of_time().unwrap_or(self.view.topology.home)
    }

    /// Whether a statement reads the time of its transaction on a shard that has another one.
    pub(super) fn needs_time(&self, shard: ShardId, analysis: &Analysis) -> bool {
        if analysis.reads_time.is_none() {
            return false;
        }
        let of = match self.tx.is_open() {
            true if self.tx.has_moved => return true,
            true => self.tx.shard_of_time(),
            // What stands in a pipeline becomes part of one that goes on elsewhere.
            false => self.batch.open.filter(|open| self.batch.bound && !open.is_combine()),
        };
        of.is_some_and(|of| of != shard)
    }

    /// A statement for this shard with the time of the transaction in it; `None`: it goes there as it is.
    pub(super) async fn told_time(
        &mut self,
        shard: ShardId,
        analysis: &Analysis,
        text: &str,
    ) -> Result<Option<Arc<str>>, Failure> {
        let Some(reads) = analysis.reads_time.as_ref().filter(|_| self.needs_time(shard, analysis)) else {
            return Ok(None);
        };
        self.leave_open().await?;
        let time = match &self.tx.time {
            Some(time) => Arc::clone(time),
            None => self.moment_of(self.shard_of_time()).await?.transaction.into(),
        };
        let told = with_time(text, reads, &time, &self.names()).map_err(|what| {
            Fault::unsupported(
                "this use of the transaction's time is not supported in a transaction over several shards",
                format!("the transaction began on another shard, at a moment of its own, and {what}"),
                "Take the time once (SELECT now()) and send it with the statement; or run the statement first.",
            )
        })?;
        Ok(Some(told.into()))
    }

    /// The shard that must be there, besides those of the parts, to tell the time that is written into them.
    pub(super) fn clock_for(&self, parts: &[(ShardId, ShardSql)]) -> Option<ShardId> {
        let asks = self.tx.is_open() && self.tx.time.is_none() && parts.iter().any(|(_, sql)| sql.needs_time());
        asks.then(|| self.shard_of_time())
    }

    /// The parts with the time in them, one for all: that of the transaction, or of the first of the shards, at the moment at which the
    /// statement begins. `None`: they need none.
    pub(super) async fn told_parts(
        &mut self,
        parts: &[(ShardId, ShardSql)],
    ) -> Result<Option<Vec<(ShardId, ShardSql)>>, Failure> {
        let Some((first, _)) = parts.iter().find(|(_, sql)| sql.needs_time()) else { return Ok(None) };
        let time: Arc<str> = match &self.tx.time {
            Some(time) => Arc::clone(time),
            None => {
                let shard = self.clock_for(parts).unwrap_or(*first);
                // On whatever server it is held already.
                let moment = match self.held.position(shard) {
                    Some(at) => self.moment_at(at, shard).await?,
                    None => self.moment_of(shard).await?,
                };
                moment.transaction.into()
            }
        };
        let literal = quote_literal(&time);
        Ok(Some(parts.iter().map(|(shard, sql)| (*shard, sql.told(&literal))).collect()))
    }

    /// One shard runs a statement for itself.
    pub(super) async fn run_for_itself(
        &mut self,
        shard: ShardId,
        access: Access,
        analysis: &Analysis,
        ask: &Ask<'_>,
    ) -> Result<(), Failure> {
        let part = self.part_of(shard, analysis, ask).await?;
        // Where an error is in a text with the time is not where it is in the client's.
        let offset = match part.1 {
            ShardSql::AsWritten => self.offset,
            ShardSql::Rewritten { .. } | ShardSql::Timed { .. } => NO_POSITION,
        };
        let offset = std::mem::replace(&mut self.offset, offset);
        let done = self.run_parts(&[part], &Combine::CONCAT, None, access, ask).await;
        self.offset = offset;
        done
    }

    /// What one shard gets of a statement that it runs alone.
    pub(super) async fn part_of(
        &mut self,
        shard: ShardId,
        analysis: &Analysis,
        ask: &Ask<'_>,
    ) -> Result<(ShardId, ShardSql), Failure> {
        let told = self.told_time(shard, analysis, ask.statement().0).await?;
        Ok((shard, told.map_or(ShardSql::AsWritten, |text| ShardSql::Rewritten { text, parameters: None })))
    }
}

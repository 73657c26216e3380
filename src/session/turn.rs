//! Who writes copies of reference tables does it alone, or the copies could come to differ.

use crate::exec::replies::watched;
use crate::fault::Fault;
use crate::ids::ShardId;
use crate::session::{Failure, Session};
use crate::sql::words;

/// A lock of the transaction's, held by what is prepared too. Behind it the isolation level of the transaction.
const TURN: &str = "SELECT pg_catalog.current_setting('transaction_isolation') \
    FROM (SELECT pg_catalog.pg_advisory_xact_lock(1885826932, 1)) AS turn";

impl Session {
    /// Connections to these shards, all of which have copies, in a transaction that nobody overtakes who writes any.
    ///
    /// Each shard carries the statement out with a snapshot of its own, taken behind its lock: there every transaction that had its turn
    /// before is committed. The home shard's lock comes first, so that those who wait do not wait for each other. `text`: a statement that
    /// each shard evaluates for itself.
    pub(super) async fn take_turn(&mut self, shards: &[ShardId], text: Option<&str>) -> Result<(), Failure> {
        self.enlist_all(shards).await?;
        if shards.len() < 2 {
            return Ok(());
        }
        let home = self.view.topology.home;
        let at = self.held_at(home)?;
        let level = watched(&mut self.client, self.held[at].server.query(TURN)).await??;
        let level = level.first().and_then(|row| row.first()?.as_deref());
        // Snapshots of before, on each shard of another moment.
        let frozen = !matches!(level, Some("read committed" | "read uncommitted"));
        if frozen && text.is_some_and(|text| asks(text, self.scope.standard_strings())) {
            return Err(Fault::unsupported(
                "writing to a reference table by a query is not supported in this transaction",
                "Under REPEATABLE READ and SERIALIZABLE each shard sees the rows of another moment, and the copies could come to differ.",
                "Use READ COMMITTED, or send the values with the statement.",
            )
            .into());
        }
        let others: Vec<ShardId> = shards.iter().copied().filter(|shard| *shard != home).collect();
        let asks = self.held.servers(&others).into_iter().map(|server| server.query(TURN));
        watched(&mut self.client, futures::future::try_join_all(asks)).await??;
        Ok(())
    }
}

/// Whether a statement looks at other rows than those that it changes.
fn asks(text: &str, standard_strings: bool) -> bool {
    let Some(words) = words::identifiers(text, standard_strings) else { return true };
    // EXPLAIN of one too.
    let deletes = words.iter().find(|word| matches!(&***word, "insert" | "update" | "delete"));
    let deletes = deletes.is_some_and(|word| word == "delete");
    words
        .iter()
        .any(|word| matches!(&**word, "select" | "using" | "merge" | "with" | "table") || word == "from" && !deletes)
}

//! Placed schemas that the search path names and the catalog does not know: they may have been made a moment ago, through another
//! router. Without a look, their names would mean what lies behind them in the path.

use crate::control::catalog;
use crate::ids::ShardSet;
use crate::session::Session;

impl Session {
    /// After the search path has changed: asks the shards of its unknown schemas whether they are there, and reads them if so.
    pub(super) async fn look_for_schemas(&mut self) {
        if !self.view.topology.places_schemas() {
            return;
        }
        let mut found = ShardSet::new();
        for (shard, schema) in self.scope.missing(&self.view) {
            match catalog::has_schema(&self.database, shard, &schema).await {
                Ok(true) => found.insert(shard),
                Ok(false) => {}
                // The statements that need the shard will say so.
                Err(fault) => tracing::warn!(error = %fault, schema = %schema, "a schema cannot be looked for"),
            }
        }
        if found.is_empty() {
            return;
        }
        if let Err(fault) = catalog::reload(&self.database, false, Some(&found)).await {
            tracing::warn!(error = %fault, "catalog not read for a new schema");
        }
        // A transaction that has asked nothing yet may see what is there now.
        if !self.held.iter().any(|held| held.joined) {
            self.view = self.database.cluster.load_full();
        }
    }
}

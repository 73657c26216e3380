//! What the session has of temporary things, on the one connection that keeps them. They go before all others of their names, and no other
//! connection has them: a statement that others run as well would mean something else there.

use std::sync::Arc;

use crate::control::catalog;
use crate::ids::ShardId;
use crate::session::own_catalog::{AFTER, BEFORE};
use crate::session::{Failure, Session};
use crate::sql::{Analysis, Temporaries};
use crate::wire::reply::Status;

const BEFORE_ALONE: &str = "BEGIN; SET LOCAL search_path TO ''";
const AFTER_ALONE: &str = "ROLLBACK";

/// The name of each, whether it is a type, and whether it is a table.
const NAMES: &str = "SELECT c.relname, '', c.relkind FROM pg_catalog.pg_class c WHERE c.relnamespace = pg_catalog.pg_my_temp_schema() \
     UNION ALL SELECT t.typname, 't', '' FROM pg_catalog.pg_type t LEFT JOIN pg_catalog.pg_class c ON c.oid = t.typrelid \
     WHERE t.typnamespace = pg_catalog.pg_my_temp_schema() AND t.typcategory <> 'A' AND coalesce(c.relkind, 'c') = 'c'";

/// The functions of users that something temporary calls by itself: its table or view, and the function.
const CALLS: &str = "SELECT DISTINCT c.relname, p.proname \
     FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_proc p ON d.refclassid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND p.oid = d.refobjid \
       LEFT JOIN pg_catalog.pg_index i ON d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND i.indexrelid = d.objid \
       LEFT JOIN pg_catalog.pg_attrdef a ON d.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass AND a.oid = d.objid \
       LEFT JOIN pg_catalog.pg_constraint k ON d.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass AND k.oid = d.objid \
       LEFT JOIN pg_catalog.pg_trigger t ON d.classid = 'pg_catalog.pg_trigger'::pg_catalog.regclass AND t.oid = d.objid \
       LEFT JOIN pg_catalog.pg_rewrite r ON d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND r.oid = d.objid \
       LEFT JOIN pg_catalog.pg_policy y ON d.classid = 'pg_catalog.pg_policy'::pg_catalog.regclass AND y.oid = d.objid \
       JOIN pg_catalog.pg_class c ON c.oid = coalesce(i.indrelid, a.adrelid, k.conrelid, t.tgrelid, r.ev_class, y.polrelid) \
     WHERE c.relnamespace = pg_catalog.pg_my_temp_schema() AND p.oid >= 16384";

impl Session {
    /// The analysis of a statement with the session's temporary things as they are now, where it may hang on them.
    pub(super) async fn beside_temporaries(
        &mut self,
        text: &str,
        analysis: Arc<Analysis>,
    ) -> Result<Arc<Analysis>, Failure> {
        if !self.see_temporaries(&analysis).await? {
            return Ok(analysis);
        }
        self.scan_one(text)?;
        Ok(self.analysis(text))
    }

    /// Looks at them where the meaning of a statement may hang on them; whether they are others than it was analysed with.
    pub(super) async fn see_temporaries(&mut self, analysis: &Analysis) -> Result<bool, Failure> {
        if self.tx.has_failed() || !analysis.beside_temporary && !(analysis.may_be_temporary && self.code_may_differ())
        {
            return Ok(false);
        }
        match self.shard_of_temporaries() {
            Some(shard) => self.look_at_temporaries(shard).await,
            None => Ok(false),
        }
    }

    /// Whether functions may have become others since the session's temporary things were looked at last. Those of a definition are looked at
    /// where it is made.
    fn code_may_differ(&mut self) -> bool {
        let generation = self.view.catalog.generation;
        let Some(held) = self.held.iter_mut().find(|held| held.temporary) else { return false };
        let differs = held.temporaries_of != Some(generation);
        held.temporaries_seen &= !differs;
        differs
    }

    /// The shard on whose connection the session may have temporary things.
    pub(super) fn shard_of_temporaries(&self) -> Option<ShardId> {
        self.held.iter().find(|held| held.temporary).map(|held| held.shard)
    }

    /// Whether they have changed since they were looked at last.
    pub(super) async fn look_at_temporaries(&mut self, shard: ShardId) -> Result<bool, Failure> {
        if self.held.position(shard).is_some_and(|at| self.held[at].temporaries_seen) {
            return Ok(false);
        }
        self.leave_open().await?;
        let within = self.tx.is_open();
        let collation = self.view.catalog.default_collation;
        let tables = shard == self.view.topology.home && !self.view.topology.is_all_home();
        let generation = self.view.catalog.generation;
        let at = self.enlist(shard).await?;
        let server = &mut self.held[at].server;
        let (before, after) = if within { (BEFORE, AFTER) } else { (BEFORE_ALONE, AFTER_ALONE) };
        let begun = server.query(before).await;
        let read = match begun {
            Ok(_) => read(server, tables, collation).await,
            Err(fault) => Err(fault),
        };
        let ended = server.query(after).await;
        if !within && server.status != Status::Idle {
            // Whatever it was, the next statement would be in a transaction that the client knows nothing of.
            server.broken = true;
        }
        let now = read?;
        ended?;
        let held = &mut self.held[at];
        let changed = held.temporaries.fingerprint != now.fingerprint;
        held.temporaries = now;
        held.temporaries_seen = true;
        held.temporaries_of = Some(generation);
        Ok(changed)
    }
}

async fn read(
    server: &mut crate::backend::Backend,
    tables: bool,
    collation: crate::types::Collation,
) -> Result<Temporaries, crate::fault::Fault> {
    let (mut relations, mut types, mut has_table) = (Vec::new(), Vec::new(), false);
    for row in server.query(NAMES).await? {
        let mut row = row.into_iter().map(Option::unwrap_or_default);
        let (Some(name), Some(is_type), Some(kind)) = (row.next(), row.next(), row.next()) else { continue };
        has_table |= kind == "r";
        if is_type.is_empty() { &mut relations } else { &mut types }.push(name);
    }
    let tables = match tables && has_table {
        true => catalog::read_temporary(server, collation).await?,
        false => Vec::new(),
    };
    let calls = server.query(CALLS).await?.into_iter().filter_map(|row| {
        let mut row = row.into_iter().flatten();
        row.next().zip(row.next())
    });
    Ok(Temporaries::new(tables, relations, types, calls))
}

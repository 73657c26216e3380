//! `pgloom.waiting` on the home shard: which server processes are one transaction, noted by each router while its transactions wait.

use std::time::Duration;

use crate::commit::tag;
use crate::control::deadlock::Holder;
use crate::control::deadlock::graph::{Owners, Process, Transaction};
use crate::control::resolver::by_tag;
use crate::topology::Topology;

/// Of the routers' users alone: who can write here can have others' transactions cancelled. Nothing in it outlives a crash, nor
/// has to.
pub const SCHEMA: &str = "DO $$ BEGIN \
    IF pg_catalog.to_regnamespace('pgloom') IS NULL THEN \
        CREATE SCHEMA pgloom; GRANT USAGE ON SCHEMA pgloom TO PUBLIC; \
    END IF; \
    IF pg_catalog.to_regclass('pgloom.waiting') IS NULL THEN \
        CREATE UNLOGGED TABLE pgloom.waiting (\
            router text, client bigint, began bigint, gid text, shard text, pid bigint, \
            noted timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()); \
    END IF; END $$";

/// Replaces what this router has noted, and reads what others have noted lately, in one message.
pub fn exchange(router: &str, topology: &Topology, waiting: &[&Holder], bound: Duration) -> String {
    let rows = waiting.iter().flat_map(|holder| {
        let gid = holder.gid.as_ref().map_or("NULL".to_owned(), |gid| format!("'{gid}'"));
        holder.members.iter().filter_map(move |process| {
            let shard = tag(&topology.shards.get(process.shard.index())?.name);
            Some(format!("('{router}', {}, {}, {gid}, '{shard}', {})", holder.client, holder.began, process.pid))
        })
    });
    let rows: Vec<String> = rows.collect();
    // A note is renewed at each look, and each look is done within its patience.
    let fresh = bound.as_secs_f64() * 2.0 + 10.0;
    format!(
        "{}; DELETE FROM pgloom.waiting WHERE ctid = ANY (ARRAY(SELECT ctid FROM pgloom.waiting \
         WHERE noted < pg_catalog.clock_timestamp() - '10 min'::pg_catalog.interval FOR UPDATE SKIP LOCKED)); \
         INSERT INTO pgloom.waiting (router, client, began, gid, shard, pid) VALUES {}; \
         SELECT router, client, began, gid, shard, pid FROM pgloom.waiting WHERE router <> '{router}' \
         AND noted > pg_catalog.clock_timestamp() - pg_catalog.make_interval(secs => {fresh})",
        forget(router),
        rows.join(", "),
    )
}

pub fn forget(router: &str) -> String {
    format!("DELETE FROM pgloom.waiting WHERE router = '{router}'")
}

/// The answer to [`exchange`].
pub fn read(topology: &Topology, rows: &[Vec<Option<String>>]) -> Owners {
    let mut owners = Owners::default();
    for row in rows {
        let [Some(router), Some(client), Some(began), gid, Some(shard), Some(pid)] = row.as_slice() else { continue };
        let (Ok(client), Ok(began), Ok(pid)) = (client.parse(), began.parse(), pid.parse()) else { continue };
        let transaction = Transaction { began, router: router.as_str().into(), client };
        if let Some(shard) = by_tag(topology, shard) {
            owners.processes.insert(Process { shard, pid }, transaction.clone());
        }
        if let Some(gid) = gid {
            owners.prepared.insert(gid.as_str().into(), transaction);
        }
    }
    owners
}

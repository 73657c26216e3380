//! The decision rows: `pgloom.decision` on every shard, and the statements that write, read and forget them.

use crate::commit::gid::{Gid, tag};
use crate::commit::seal::{Seal, is_proven};

macro_rules! number {
    () => {
        "pg_catalog.pg_current_xact_id(), CASE pg_catalog.current_setting('synchronous_commit') \
         WHEN 'off' THEN pg_catalog.set_config('synchronous_commit', 'on', true) END"
    };
}

/// What the decision rows need, on every shard. Run by the router's own user; idempotent, and asks for no right where all is
/// there: an administrator may have made it.
pub const SCHEMA: &str = "DO $$ BEGIN \
    IF pg_catalog.to_regnamespace('pgloom') IS NULL THEN \
        CREATE SCHEMA pgloom; GRANT USAGE ON SCHEMA pgloom TO PUBLIC; \
    END IF; \
    IF pg_catalog.to_regclass('pgloom.decision') IS NULL THEN \
        CREATE TABLE pgloom.decision (\
            gid text PRIMARY KEY, committed boolean NOT NULL, decided_at timestamptz NOT NULL DEFAULT pg_catalog.now(), \
            participants text[] NOT NULL DEFAULT '{}', proof text); \
        GRANT INSERT ON pgloom.decision TO PUBLIC; \
    ELSIF NOT EXISTS (SELECT FROM pg_catalog.pg_attribute WHERE attrelid = 'pgloom.decision'::pg_catalog.regclass \
            AND attname = 'participants' AND NOT attisdropped) THEN \
        ALTER TABLE pgloom.decision ADD COLUMN participants text[] NOT NULL DEFAULT '{}', ADD COLUMN proof text; \
    ELSIF NOT EXISTS (SELECT FROM pg_catalog.pg_attribute WHERE attrelid = 'pgloom.decision'::pg_catalog.regclass \
            AND attname = 'proof' AND NOT attisdropped) THEN \
        ALTER TABLE pgloom.decision ADD COLUMN proof text; \
    END IF; END $$";

/// The anchor's row, inside its own transaction: committed with it or not at all. It names those who will be prepared, so that
/// nobody forgets it who does not know them all. Its answer is the transaction's number, for [`status`].
///
/// The others' COMMIT PREPARED is always on disk before it is answered; so must be the decision that it follows, also where the
/// client, or the server, has turned `synchronous_commit` off.
pub fn decide<'a>(gid: &Gid, seal: &Seal, participants: impl IntoIterator<Item = &'a str>) -> String {
    format!("{} RETURNING {NUMBER}", row(gid, seal, participants))
}

/// The same row, by a transaction that goes on and will not be able to write it: [`DECIDED`] is asked when it ends. `participants`: all
/// who may be prepared then.
pub fn row<'a>(gid: &Gid, seal: &Seal, participants: impl IntoIterator<Item = &'a str>) -> String {
    let (participants, proof) = (tags(participants), seal.proof());
    format!(
        "INSERT INTO pgloom.decision (gid, committed, proof, participants) VALUES ('{gid}', true, '{proof}', '{{{participants}}}')"
    )
}

/// In place of [`decide`], where the transaction has its [`row`] already.
pub const DECIDED: &str = concat!("SELECT ", number!());

/// The transaction's number; and what follows the decision finds it on disk.
const NUMBER: &str = number!();

/// The resolver's row. Waits for an anchor that has written its own and is still open; behind it the anchor's outcome is certain.
pub fn tombstone(gid: &Gid) -> String {
    format!("INSERT INTO pgloom.decision (gid, committed) VALUES ('{gid}', false) ON CONFLICT (gid) DO NOTHING")
}

/// Whether the transaction is committed, and its gid, once there is a row. One that is not of who began the transaction stands in its anchor's way, as a
/// tombstone does.
pub fn verdict(gid: &Gid) -> String {
    format!("SELECT committed AND {}, gid FROM pgloom.decision WHERE gid = '{gid}'", is_proven(&gid.transaction))
}

/// What became of the anchor's transaction. Behind the fence `aborted` is true whatever happened since; `committed` may be said of
/// another transaction that got the number after a crash.
pub fn status(number: u64) -> String {
    format!("SELECT pg_catalog.pg_xact_status('{number}'::pg_catalog.xid8)")
}

/// First half of forgetting: what is decided by now is all that may be forgotten. Behind it the shards are asked what they have
/// prepared: everything that a row of this snapshot can still matter to is prepared by then.
pub const REMEMBER: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1";

/// Second half: removes the rows of this logical database that can matter to nobody any more. `shards`: all that were asked since
/// [`REMEMBER`]; `prepared`: what they have, whatever its age. A tombstone can be written again at any time.
pub fn forget<'a>(
    database: &str,
    shards: impl IntoIterator<Item = &'a str>,
    prepared: impl IntoIterator<Item = &'a Gid>,
    seconds: u64,
) -> String {
    let prepared: Vec<String> = prepared.into_iter().map(|gid| format!("\"{gid}\"")).collect();
    format!(
        "DELETE FROM pgloom.decision WHERE decided_at < pg_catalog.now() - pg_catalog.make_interval(secs => {seconds}) \
         AND pg_catalog.starts_with(gid, '{}') AND (NOT committed OR participants <@ '{{{}}}'::pg_catalog.text[]) \
         AND gid <> ALL ('{{{}}}'::pg_catalog.text[]); COMMIT",
        Gid::prefix_of(database),
        tags(shards),
        prepared.join(","),
    )
}

/// Elements of an array literal. Quoted, because a shard may be called NULL; tags themselves hold no quotes.
fn tags<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().map(|name| format!("\"{}\"", tag(name))).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decision_names_its_participants() {
        let gid = Gid::new("shop", "1-1".to_owned(), "s1");
        let seal = Seal::of([0; 16]);
        let row = format!("VALUES ('pgloom:shop:1-1:s1', true, '{}', '{{\"s2\",\"NULL\"}}')", seal.proof());
        let decide = decide(&gid, &seal, ["s2", "NULL"]);
        assert!(decide.contains(&row), "{decide}");
    }
}

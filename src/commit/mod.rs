//! PURE. How a transaction over shards ends: nothing to do, one phase, or two with an anchor.

use std::fmt;

use crate::ids::ShardId;

/// What the ending of a transaction needs, from who took part and who wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommitPlan {
    /// Nobody joined.
    Nothing,
    /// At most one shard wrote: the readers commit first, then it.
    OnePhase { writer: Option<ShardId>, readers: Vec<ShardId> },
    /// Several wrote: the anchor's commit is the decision.
    TwoPhase { anchor: ShardId, others: Vec<ShardId>, readers: Vec<ShardId> },
}

impl CommitPlan {
    /// `participants`: every shard that joined, in the order of joining, and whether it wrote.
    pub fn of(participants: &[(ShardId, bool)]) -> Self {
        let writers: Vec<ShardId> = participants.iter().filter(|(_, wrote)| *wrote).map(|(s, _)| *s).collect();
        let readers: Vec<ShardId> = participants.iter().filter(|(_, wrote)| !*wrote).map(|(s, _)| *s).collect();
        match writers.as_slice() {
            [] if readers.is_empty() => Self::Nothing,
            [] => Self::OnePhase { writer: None, readers },
            [writer] => Self::OnePhase { writer: Some(*writer), readers },
            [anchor, others @ ..] => Self::TwoPhase { anchor: *anchor, others: others.to_vec(), readers },
        }
    }
}

/// The global identifier of one distributed transaction: it names the anchor, so that whoever finds a prepared transaction
/// knows where the decision lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gid {
    /// Unique over all routers and restarts: letters, digits and `-`.
    pub transaction: String,
    pub anchor: ShardId,
}

impl Gid {
    const PREFIX: &'static str = "pgloom_";

    /// The name of the transaction as prepared on one shard. Shards may be databases of one server, whose names are one space.
    pub fn on(&self, participant: ShardId) -> String {
        format!("{self}_{participant}")
    }

    /// Reads the name of a prepared transaction; `None` when it is none of ours.
    pub fn parse(name: &str) -> Option<Self> {
        let (own, participant) = name.rsplit_once('_')?;
        participant.parse::<u16>().ok()?;
        let (transaction, anchor) = own.strip_prefix(Self::PREFIX)?.rsplit_once('_')?;
        let valid = !transaction.is_empty() && transaction.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        valid.then_some(())?;
        Some(Self { transaction: transaction.to_owned(), anchor: ShardId(anchor.parse().ok()?) })
    }
}

impl fmt::Display for Gid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}_{}", Self::PREFIX, self.transaction, self.anchor)
    }
}

/// The schema that the decision rows need, on every shard. Run by the router's own user; idempotent.
pub const SCHEMA: &str = "\
    CREATE SCHEMA IF NOT EXISTS pgloom;\
    CREATE TABLE IF NOT EXISTS pgloom.decision (\
        gid text PRIMARY KEY, committed boolean NOT NULL, decided_at timestamptz NOT NULL DEFAULT pg_catalog.now());\
    GRANT USAGE ON SCHEMA pgloom TO PUBLIC;\
    GRANT INSERT ON pgloom.decision TO PUBLIC";

/// The anchor's row, inside its own transaction: committed with it or not at all.
pub fn decide(gid: &Gid) -> String {
    format!("INSERT INTO pgloom.decision (gid, committed) VALUES ('{gid}', true)")
}

/// The resolver's row: makes a late commit of the anchor fail on the primary key. Waits for an anchor that is just committing.
pub fn tombstone(gid: &Gid) -> String {
    format!("INSERT INTO pgloom.decision (gid, committed) VALUES ('{gid}', false) ON CONFLICT (gid) DO NOTHING")
}

pub fn verdict(gid: &Gid) -> String {
    format!("SELECT committed FROM pgloom.decision WHERE gid = '{gid}'")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_several_writers_need_two_phases() {
        let s = ShardId;
        assert_eq!(CommitPlan::of(&[]), CommitPlan::Nothing);
        assert_eq!(
            CommitPlan::of(&[(s(0), false), (s(1), true)]),
            CommitPlan::OnePhase { writer: Some(s(1)), readers: vec![s(0)] }
        );
        assert_eq!(
            CommitPlan::of(&[(s(2), true), (s(1), false), (s(0), true)]),
            CommitPlan::TwoPhase { anchor: s(2), others: vec![s(0)], readers: vec![s(1)] }
        );
    }

    #[test]
    fn a_gid_is_read_back_and_foreign_names_are_not() {
        let gid = Gid { transaction: "r1-7-99".to_owned(), anchor: ShardId(3) };
        assert_eq!(gid.on(ShardId(5)), "pgloom_r1-7-99_3_5");
        assert_eq!(Gid::parse(&gid.on(ShardId(5))), Some(gid));
        assert_eq!(Gid::parse("pgloom_'; DROP TABLE x; --_1_2"), None);
        assert_eq!(Gid::parse("other_1_2_3"), None);
        assert_eq!(Gid::parse("pgloom_x_70000_1"), None);
    }
}

//! PURE. How a transaction over shards ends: nothing to do, one phase, or two with an anchor.

pub mod decision;
mod gid;
pub mod registry;
pub mod seal;
pub mod two_phase;

use crate::ids::ShardId;
pub use gid::{Gid, tag};

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
}

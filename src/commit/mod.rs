//! PURE. How a transaction over shards ends: nothing to do, one phase, or two with an anchor.

pub mod decision;
mod gid;
pub mod registry;
pub mod seal;
pub mod two_phase;

use crate::ids::ShardId;
pub use gid::{Gid, tag};

/// What a shard has done in a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Did {
    Read,
    /// It has locked what guards the writes on others: it ends behind them.
    Locked,
    Wrote,
}

/// What the ending of a transaction needs, from who took part and who wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommitPlan {
    /// Nobody joined.
    Nothing,
    /// At most one shard wrote: the readers commit first, then it, and behind it the guards.
    OnePhase { writer: Option<ShardId>, readers: Vec<ShardId>, guards: Vec<ShardId> },
    /// Several wrote: the anchor's commit is the decision.
    TwoPhase { anchor: ShardId, others: Vec<ShardId>, readers: Vec<ShardId>, guards: Vec<ShardId> },
}

impl CommitPlan {
    /// `participants`: every shard that joined, and what it did; the first that wrote is to be the anchor.
    pub fn of(participants: &[(ShardId, Did)]) -> Self {
        let of = |what: Did| -> Vec<ShardId> {
            participants.iter().filter(|(_, did)| *did == what).map(|(shard, _)| *shard).collect()
        };
        let (writers, mut readers, guards) = (of(Did::Wrote), of(Did::Read), of(Did::Locked));
        match writers.as_slice() {
            [] if participants.is_empty() => Self::Nothing,
            [] => {
                readers.extend(guards);
                Self::OnePhase { writer: None, readers, guards: Vec::new() }
            }
            [writer] => Self::OnePhase { writer: Some(*writer), readers, guards },
            [anchor, others @ ..] => Self::TwoPhase { anchor: *anchor, others: others.to_vec(), readers, guards },
        }
    }

    /// Those whose locks guard what others have written.
    pub fn guards(&self) -> &[ShardId] {
        match self {
            Self::Nothing => &[],
            Self::OnePhase { guards, .. } | Self::TwoPhase { guards, .. } => guards,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_several_writers_need_two_phases() {
        let s = ShardId;
        let none = Vec::new;
        assert_eq!(CommitPlan::of(&[]), CommitPlan::Nothing);
        assert_eq!(
            CommitPlan::of(&[(s(0), Did::Read), (s(1), Did::Wrote)]),
            CommitPlan::OnePhase { writer: Some(s(1)), readers: vec![s(0)], guards: none() }
        );
        assert_eq!(
            CommitPlan::of(&[(s(2), Did::Wrote), (s(1), Did::Read), (s(0), Did::Wrote)]),
            CommitPlan::TwoPhase { anchor: s(2), others: vec![s(0)], readers: vec![s(1)], guards: none() }
        );
        // Locks alone guard nothing.
        assert_eq!(
            CommitPlan::of(&[(s(0), Did::Locked), (s(1), Did::Read)]),
            CommitPlan::OnePhase { writer: None, readers: vec![s(1), s(0)], guards: none() }
        );
        assert_eq!(
            CommitPlan::of(&[(s(0), Did::Locked), (s(1), Did::Wrote)]),
            CommitPlan::OnePhase { writer: Some(s(1)), readers: none(), guards: vec![s(0)] }
        );
    }
}

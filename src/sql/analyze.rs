//! Statement -> `Analysis`: tables, access, keys, shape, volatility. Everything that does not depend on this call's values.

use crate::sql::Access;
use crate::sql::utility::StatementKind;

/// What is known of a statement before its parameters and literals are. Shared between sessions by the plan cache.
#[derive(Clone, Debug)]
pub struct Analysis {
    pub kind: StatementKind,
    pub access: Access,
    /// Session state that this statement leaves on the server connection.
    pub pin: Option<PinReason>,
    /// Number of `$n` parameters (the largest n).
    pub parameters: u16,
    /// Literals (positions in [`crate::sql::template::Scan::slots`], ascending) whose text may differ from call to call
    /// without changing anything here. The others are guards: the plan cache finds this only where their text is the same.
    pub free_slots: smallvec::SmallVec<[u16; 8]>,
}

/// Why one server connection must stay with one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PinReason {
    TemporaryTable,
    AdvisoryLock,
    Listen,
    HoldCursor,
    SqlPrepare,
    /// SET, set_config or code whose effect cannot be replayed.
    Setting,
    /// lastval/currval
    SequenceState,
}
pub fn analyze(text: &str, _s: &crate::sql::template::Scan, _n: &crate::sql::NameScope<'_>) -> Analysis {
    Analysis {
        kind: crate::sql::utility::classify(text),
        access: Access::Write,
        pin: None,
        parameters: 0,
        free_slots: Default::default(),
    }
}

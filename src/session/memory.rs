//! PURE. What `currval` and `lastval` say in this session: the values of sequences that it has taken, whoever took them for it.

use std::collections::HashMap;

use crate::backend::sequences::Reached;
use crate::fault::{Fault, SqlState};
use crate::ids::{QualifiedName, ShardId};
use crate::sql::sequences::{SequenceUse, Take};

#[derive(Debug, Default)]
pub struct SequenceMemory {
    known: HashMap<QualifiedName, Known>,
    last: Option<Last>,
    /// A server connection has taken values that are not told: any sequence's value may be an older one.
    any: Option<Where>,
    /// How far it has come with each sequence of which the router has given it values.
    reached: HashMap<QualifiedName, Reached>,
    /// The same for those of which it has taken values past the router.
    floor: Reached,
    /// It may have taken some since.
    passed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    Value(i64),
    Server(Where),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Last {
    Of(QualifiedName),
    Server(Where),
}

/// Where the server connection is that knows a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Where {
    /// In the session's hands, to this shard.
    Held(ShardId),
    /// Given back.
    Gone,
}

/// What the session answers when it is asked for a value.
#[derive(Debug, PartialEq)]
pub enum Recalled {
    Value(i64),
    /// The connection to this shard knows it, which the session holds.
    AskServer(ShardId),
    Fault(Fault),
}

impl SequenceMemory {
    /// A depot may have taken values.
    pub fn pass(&mut self) {
        self.passed = true;
    }

    /// The router has taken these values, one after the other. `last`: the sequence of the last one; `None`: not known.
    pub fn took(&mut self, values: impl IntoIterator<Item = (QualifiedName, i64)>, last: Option<QualifiedName>) {
        for (sequence, value) in values {
            self.known.insert(sequence, Known::Value(value));
        }
        self.last = Some(last.map_or(Last::Server(Where::Gone), Last::Of));
    }

    /// It is not known how many values of these were taken.
    pub fn lost(&mut self, sequences: impl IntoIterator<Item = QualifiedName>) {
        for sequence in sequences {
            self.known.insert(sequence, Known::Server(Where::Gone));
        }
        self.last = Some(Last::Server(Where::Gone));
    }

    /// A statement ran on a shard that took or set values there; `None`: on a connection that does not stay with the session.
    pub fn forwarded(&mut self, uses: &SequenceUse, shard: Option<ShardId>) {
        let held = shard.map_or(Where::Gone, Where::Held);
        for sequence in &uses.takes {
            self.known.insert(sequence.clone(), Known::Server(held));
        }
        if uses.takes_any || uses.sets {
            self.known.clear();
            self.any = Some(held);
        }
        if uses.takes_any || !uses.takes.is_empty() {
            self.last = Some(Last::Server(held));
            self.passed = true;
        }
    }

    /// How far the session has come with a sequence, at this moment.
    pub fn reached(&mut self, sequence: &QualifiedName, now: u64) -> Reached {
        if std::mem::take(&mut self.passed) {
            self.floor = Reached::at(now);
        }
        self.reached.get(sequence).copied().filter(|reached| reached.at > self.floor.at).unwrap_or(self.floor)
    }

    pub fn reach(&mut self, sequence: &QualifiedName, reached: Reached) {
        self.reached.insert(sequence.clone(), reached);
    }

    /// The session has given back its connections to the other shards.
    pub fn keep(&mut self, is_held: impl Fn(ShardId) -> bool) {
        let settle = |place: &mut Where| {
            if let Where::Held(shard) = *place
                && !is_held(shard)
            {
                *place = Where::Gone;
            }
        };
        for known in self.known.values_mut() {
            if let Known::Server(place) = known {
                settle(place);
            }
        }
        if let Some(Last::Server(place)) = &mut self.last {
            settle(place);
        }
        if let Some(place) = &mut self.any {
            settle(place);
        }
    }

    /// Nothing was taken yet.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty() && self.last.is_none() && self.any.is_none()
    }

    /// Every value that the session has taken is one that its connection to this shard knows.
    pub fn is_at(&self, shard: ShardId) -> bool {
        let held = Where::Held(shard);
        let known = self.known.values().all(|known| *known == Known::Server(held));
        !self.is_empty() && known && self.any.is_none_or(|place| place == held)
    }

    /// What it has taken is forgotten; what it gets from now on is still later.
    pub fn clear(&mut self) {
        let Self { reached, floor, passed, .. } = std::mem::take(self);
        *self = Self { reached, floor, passed, ..Self::default() };
    }

    /// `pinned`: a connection to `shard` stays with the session, and may know what the router does not.
    pub fn recall(&self, take: &Take, shard: ShardId, pinned: bool) -> Recalled {
        let place = match take {
            Take::Next(_) | Take::Unique => return Recalled::AskServer(shard),
            Take::Current(sequence) => match self.known.get(sequence) {
                Some(Known::Value(value)) => return Recalled::Value(*value),
                Some(Known::Server(place)) => Some(*place),
                None => self.any,
            },
            Take::Last => match &self.last {
                Some(Last::Of(sequence)) => {
                    return self.recall(&Take::Current(sequence.clone()), shard, pinned);
                }
                Some(Last::Server(place)) => Some(*place),
                None => self.any,
            },
        };
        match place {
            Some(Where::Held(shard)) => Recalled::AskServer(shard),
            Some(Where::Gone) => Recalled::Fault(lost(take)),
            None if pinned => Recalled::AskServer(shard),
            None => Recalled::Fault(undefined(take)),
        }
    }
}

fn function(take: &Take) -> &'static str {
    match take {
        Take::Next(_) => "nextval",
        Take::Current(_) => "currval",
        Take::Last => "lastval",
        Take::Unique => "pgloom.unique_id",
    }
}

fn lost(take: &Take) -> Fault {
    Fault::unsupported(
        format!("{}() is not supported here", function(take)),
        "the value was taken on a server connection of an earlier transaction, which may serve other clients now",
        "Ask for it in the same transaction, or take the value by RETURNING or SELECT nextval('name').",
    )
}

/// In Postgres's words.
fn undefined(take: &Take) -> Fault {
    let message = match take {
        Take::Next(sequence) | Take::Current(sequence) => {
            format!("currval of sequence \"{}\" is not yet defined in this session", sequence.name)
        }
        Take::Last | Take::Unique => "lastval is not yet defined in this session".to_owned(),
    };
    Fault::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_servers_took_are_behind_those_of_before() {
        let (mut memory, s) = (SequenceMemory::default(), name("s"));
        assert_eq!(memory.reached(&s, 3), Reached::default());
        memory.reach(&s, Reached::at(4));
        assert_eq!(memory.reached(&s, 5), Reached::at(4));
        memory.forwarded(&SequenceUse { takes_any: true, ..SequenceUse::default() }, None);
        memory.clear();
        assert_eq!((memory.reached(&s, 6), memory.reached(&s, 7)), (Reached::at(6), Reached::at(6)));
        memory.reach(&s, Reached::at(8));
        assert_eq!((memory.reached(&s, 9), memory.reached(&name("t"), 9)), (Reached::at(8), Reached::at(6)));
    }

    fn name(name: &str) -> QualifiedName {
        QualifiedName::new("public", name)
    }

    const HOME: ShardId = ShardId(0);

    #[test]
    fn a_value_is_recalled_until_a_server_takes_a_newer_one() {
        let mut memory = SequenceMemory::default();
        let current = Take::Current(name("s"));
        let recall = |memory: &SequenceMemory, take: &Take| memory.recall(take, HOME, false);
        assert_eq!(recall(&memory, &current), Recalled::Fault(undefined(&current)));
        memory.took([(name("s"), 4), (name("s"), 5), (name("t"), 9)], Some(name("s")));
        assert_eq!(recall(&memory, &current), Recalled::Value(5));
        assert_eq!(recall(&memory, &Take::Last), Recalled::Value(5));
        memory.forwarded(&SequenceUse { takes: vec![name("t")], ..SequenceUse::default() }, Some(ShardId(2)));
        assert_eq!(recall(&memory, &current), Recalled::Value(5));
        assert_eq!(recall(&memory, &Take::Current(name("t"))), Recalled::AskServer(ShardId(2)));
        assert_eq!(recall(&memory, &Take::Last), Recalled::AskServer(ShardId(2)));
        memory.keep(|shard| shard == ShardId(2));
        assert_eq!(recall(&memory, &Take::Last), Recalled::AskServer(ShardId(2)));
        memory.keep(|shard| shard == HOME);
        assert_eq!(recall(&memory, &Take::Last), Recalled::Fault(lost(&Take::Last)));
        memory.took([(name("t"), 10)], Some(name("t")));
        assert_eq!(recall(&memory, &Take::Last), Recalled::Value(10));
        memory.forwarded(&SequenceUse { takes: vec![name("s")], ..SequenceUse::default() }, None);
        assert_eq!(recall(&memory, &Take::Last), Recalled::Fault(lost(&Take::Last)));
    }

    #[test]
    fn values_of_unknown_sequences_make_all_doubtful() {
        let mut memory = SequenceMemory::default();
        memory.took([(name("s"), 4)], Some(name("s")));
        memory.forwarded(&SequenceUse { takes_any: true, ..SequenceUse::default() }, Some(HOME));
        assert!(memory.is_at(HOME) && !memory.is_at(ShardId(1)));
        memory.keep(|_| false);
        let current = Take::Current(name("s"));
        assert_eq!(memory.recall(&current, HOME, true), Recalled::Fault(lost(&current)));
    }
}

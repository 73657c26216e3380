//! PURE. What `currval` and `lastval` say in this session: the values of sequences that it has taken, whoever took them for it.

use std::collections::HashMap;

use crate::backend::sequences::Reached;
use crate::fault::{Fault, SqlState};
use crate::ids::{Oid, QualifiedName, ShardId, ShardSet};
use crate::sql::sequences::{SequenceUse, Take};

/// Sequences of names that have passed on to others, of which values are kept.
const OTHERS: usize = 64;

#[derive(Debug, Default)]
pub struct SequenceMemory {
    known: HashMap<QualifiedName, Known>,
    /// The numbers of the sequences of which they are, as far as they were known then.
    oids: HashMap<QualifiedName, Oid>,
    /// Values of sequences whose names others have had since.
    others: Vec<(Oid, i64)>,
    last: Option<Last>,
    /// A server connection has taken values that are not told: any sequence's value may be an older one.
    any: Option<Where>,
    /// How far it has come with each sequence of which the router has given it values.
    reached: HashMap<QualifiedName, Reached>,
    /// The same for those of which it has taken values past the router.
    floor: Reached,
    /// It may have taken some since.
    passed: bool,
    /// The shards to which the session holds connections that may have taken values.
    on: ShardSet,
    /// What statements of this message have taken, if they succeed.
    pending: Vec<QualifiedName>,
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
    /// In the session's hands, to this shard. `surely`: a statement that has succeeded takes one there whatever else it does, so that the
    /// connection can be asked when the statement is over. Of another, it may know what it knew before.
    Held { shard: ShardId, surely: bool },
    /// Given back, or another one may know a later value.
    Gone,
}

impl Where {
    fn is_at(self, of: ShardId) -> bool {
        matches!(self, Self::Held { shard, .. } if shard == of)
    }

    fn is_surely_at(self, of: ShardId) -> bool {
        matches!(self, Self::Held { shard, surely: true } if shard == of)
    }

    /// Behind a statement that may have taken a value, or may not. `before`: where it was known, if it was.
    fn perhaps(before: Option<Known>, now: Option<ShardId>) -> Self {
        match (before, now) {
            (None, Some(shard)) => Self::Held { shard, surely: false },
            (Some(Known::Server(before)), Some(shard)) if before.is_at(shard) => Self::Held { shard, surely: false },
            (_, _) => Self::Gone,
        }
    }
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

    /// What each sequence is called now; `None`: it is gone, and one of the same name is another one, of which nothing was taken.
    /// `now` is also told the sequence's number where that is known.
    pub fn follow(&mut self, now: impl Fn(&QualifiedName, Option<Oid>) -> Option<QualifiedName>) {
        let oids = std::mem::take(&mut self.oids);
        let now = |sequence: &QualifiedName| now(sequence, oids.get(sequence).copied());
        let known = std::mem::take(&mut self.known);
        self.known = known.into_iter().filter_map(|(sequence, value)| Some((now(&sequence)?, value))).collect();
        self.oids = oids.iter().filter_map(|(sequence, oid)| Some((now(sequence)?, *oid))).collect();
        let reached = std::mem::take(&mut self.reached);
        self.reached = reached.into_iter().filter_map(|(sequence, value)| Some((now(&sequence)?, value))).collect();
        if let Some(Last::Of(sequence)) = &self.last {
            self.last = now(sequence).map(Last::Of);
        }
    }

    /// A sequence of which a value is taken has this number.
    pub fn numbered(&mut self, sequence: &QualifiedName, oid: Option<Oid>) {
        let Some(oid) = oid else {
            self.oids.remove(sequence);
            return;
        };
        let before = self.oids.insert(sequence.clone(), oid).filter(|before| *before != oid);
        if let (Some(before), Some(Known::Value(value))) = (before, self.known.get(sequence)) {
            // A rollback brings back what was there last.
            if self.others.len() == OTHERS {
                self.others.remove(0);
            }
            self.others.push((before, *value));
        }
    }

    /// What is known of the sequence that has this name and this number now.
    fn known(&self, sequence: &QualifiedName, oid: Option<Oid>) -> Option<Known> {
        let was = self.oids.get(sequence).copied();
        let other = |oid: Oid| {
            let shadowed = self.others.iter().rev().find(|(of, _)| *of == oid).map(|(_, value)| Known::Value(*value));
            let renamed =
                || self.oids.iter().find(|(_, of)| **of == oid).and_then(|(name, _)| self.known.get(name)).copied();
            shadowed.or_else(renamed)
        };
        match (self.known.get(sequence), oid) {
            (Some(known), Some(oid)) if was.is_none_or(|was| was == oid) => Some(*known),
            (_, Some(oid)) => other(oid),
            (known, None) => known.copied(),
        }
    }

    /// The sequence that `lastval()` is about, where one alone is.
    pub fn last_of(&self) -> Option<&QualifiedName> {
        match &self.last {
            Some(Last::Of(sequence)) => Some(sequence),
            Some(Last::Server(_)) | None => None,
        }
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
    /// `clean`: what that connection knows is this session's own.
    pub fn forwarded(&mut self, uses: &SequenceUse, shard: Option<ShardId>, clean: bool) {
        let own = shard.filter(|_| clean);
        let any = self.any.map(Known::Server);
        if let Some(set) = &uses.set {
            if let Some(sequence) = set {
                let place = shard.map_or(Where::Gone, |shard| Where::Held { shard, surely: true });
                self.oids.remove(sequence);
                self.known.insert(sequence.clone(), Known::Server(place));
                self.pending.push(sequence.clone());
            }
        } else if uses.takes_any || uses.sets {
            for known in self.known.values_mut() {
                *known = Known::Server(Where::perhaps(Some(*known), own));
            }
            self.any = Some(Where::perhaps(any, own));
        }
        for sequence in &uses.takes {
            let place = match shard {
                Some(shard) if uses.surely.contains(sequence) => Where::Held { shard, surely: true },
                _ => Where::perhaps(self.known.get(sequence).copied().or(any), own),
            };
            self.oids.remove(sequence);
            self.known.insert(sequence.clone(), Known::Server(place));
            self.pending.push(sequence.clone());
        }
        if uses.takes_any || !uses.takes.is_empty() {
            self.last = Some(self.last_behind(uses, shard, own));
            self.passed = true;
        }
        if let (Some(shard), false) = (shard, uses.takes_nothing()) {
            self.on.insert(shard);
        }
    }

    /// What `lastval` is about behind a statement.
    fn last_behind(&self, uses: &SequenceUse, shard: Option<ShardId>, own: Option<ShardId>) -> Last {
        let before = match &self.last {
            None => self.any.map(Known::Server),
            Some(Last::Server(place)) => Some(Known::Server(*place)),
            Some(Last::Of(sequence)) => self.known.get(sequence).copied(),
        };
        match &uses.takes[..] {
            [one, more @ ..] if uses.takes_surely() && more.iter().all(|of| of == one) => Last::Of(one.clone()),
            // The last of several, whichever it was.
            [_, ..] if uses.takes_surely() => Last::Server(Where::perhaps(None, shard)),
            _ => Last::Server(Where::perhaps(before, own)),
        }
    }

    /// A statement of this message has failed: whether it came to its sequences is not known.
    pub fn failed(&mut self) {
        let pending = std::mem::take(&mut self.pending);
        if !pending.is_empty() {
            self.lost(pending);
        }
    }

    /// The session takes values on its connection to this shard.
    pub fn takes_on(&mut self, shard: ShardId) {
        self.on.insert(shard);
    }

    /// The connection to this shard is given back. Whether it knows values that are this session's.
    pub fn leaves(&mut self, shard: ShardId) -> bool {
        let took = self.on.contains(shard);
        self.on.remove(shard);
        took
    }

    /// The sequences of which only the connection to this shard knows the session's values, and knows them for sure.
    pub fn waiting_on(&self, shard: ShardId) -> Vec<QualifiedName> {
        let waits = |known: &Known| matches!(known, Known::Server(place) if place.is_surely_at(shard));
        self.known.iter().filter(|(_, known)| waits(known)).map(|(sequence, _)| sequence.clone()).collect()
    }

    pub fn waits_on(&self, shard: ShardId) -> bool {
        self.known.values().any(|known| matches!(known, Known::Server(place) if place.is_surely_at(shard)))
    }

    /// What that connection says of such a sequence; `None`: it does not tell.
    pub fn told(&mut self, sequence: QualifiedName, oid: Option<Oid>, value: Option<i64>) {
        self.numbered(&sequence, oid);
        self.known.insert(sequence, value.map_or(Known::Server(Where::Gone), Known::Value));
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

    /// Between two messages. The session has given back its connections to the other shards.
    pub fn keep(&mut self, is_held: impl Fn(ShardId) -> bool) {
        self.pending.clear();
        let settle = |place: &mut Where| {
            if let Where::Held { shard, .. } = *place
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
        let known = self.known.values().all(|known| matches!(known, Known::Server(place) if place.is_at(shard)));
        let last = match &self.last {
            None | Some(Last::Of(_)) => true,
            Some(Last::Server(place)) => place.is_at(shard),
        };
        !self.is_empty() && known && last && self.any.is_none_or(|place| place.is_at(shard))
    }

    /// What it has taken is forgotten; what it gets from now on is still later.
    pub fn clear(&mut self) {
        let Self { reached, floor, passed, on, .. } = std::mem::take(self);
        *self = Self { reached, floor, passed, on, ..Self::default() };
    }

    /// `pinned`: a connection to `shard` stays with the session, and may know what the router does not.
    /// `oid`: the numbers that sequences have now.
    pub fn recall(
        &self,
        take: &Take,
        shard: ShardId,
        pinned: bool,
        oid: &dyn Fn(&QualifiedName) -> Option<Oid>,
    ) -> Recalled {
        let place = match take {
            Take::Next(_) | Take::Unique => return Recalled::AskServer(shard),
            Take::Current(sequence) => match self.known(sequence, oid(sequence)) {
                Some(Known::Value(value)) => return Recalled::Value(value),
                Some(Known::Server(place)) => Some(place),
                None => self.any,
            },
            Take::Last => match &self.last {
                Some(Last::Of(sequence)) => {
                    return self.recall(&Take::Current(sequence.clone()), shard, pinned, oid);
                }
                Some(Last::Server(place)) => Some(*place),
                None => self.any,
            },
        };
        match place {
            Some(Where::Held { shard, .. }) => Recalled::AskServer(shard),
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
        "whether the session has taken a value, or which one, only a server connection knows that may serve other clients now",
        "Take the value by RETURNING or SELECT nextval('name').",
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
        memory.forwarded(&SequenceUse { takes_any: true, ..SequenceUse::default() }, None, true);
        memory.clear();
        assert_eq!((memory.reached(&s, 6), memory.reached(&s, 7)), (Reached::at(6), Reached::at(6)));
        memory.reach(&s, Reached::at(8));
        assert_eq!((memory.reached(&s, 9), memory.reached(&name("t"), 9)), (Reached::at(8), Reached::at(6)));
    }

    fn name(name: &str) -> QualifiedName {
        QualifiedName::new("public", name)
    }

    const HOME: ShardId = ShardId(0);

    fn unknown(_: &QualifiedName) -> Option<Oid> {
        None
    }

    fn takes(sequences: &[&str], surely: bool) -> SequenceUse {
        let takes: Vec<QualifiedName> = sequences.iter().map(|of| name(of)).collect();
        let surely = if surely { takes.clone() } else { Vec::new() };
        SequenceUse { takes, surely, ..SequenceUse::default() }
    }

    #[test]
    fn a_value_is_recalled_until_a_server_takes_a_newer_one() {
        let mut memory = SequenceMemory::default();
        let current = Take::Current(name("s"));
        let recall = |memory: &SequenceMemory, take: &Take| memory.recall(take, HOME, false, &unknown);
        assert_eq!(recall(&memory, &current), Recalled::Fault(undefined(&current)));
        memory.took([(name("s"), 4), (name("s"), 5), (name("t"), 9)], Some(name("s")));
        assert_eq!(recall(&memory, &current), Recalled::Value(5));
        assert_eq!(recall(&memory, &Take::Last), Recalled::Value(5));
        memory.forwarded(&takes(&["t"], true), Some(ShardId(2)), false);
        assert_eq!(recall(&memory, &current), Recalled::Value(5));
        assert_eq!(recall(&memory, &Take::Current(name("t"))), Recalled::AskServer(ShardId(2)));
        assert_eq!(recall(&memory, &Take::Last), Recalled::AskServer(ShardId(2)));
        memory.keep(|shard| shard == ShardId(2));
        assert_eq!(recall(&memory, &Take::Last), Recalled::AskServer(ShardId(2)));
        memory.keep(|shard| shard == HOME);
        assert_eq!(recall(&memory, &Take::Last), Recalled::Fault(lost(&Take::Current(name("t")))));
        memory.took([(name("t"), 10)], Some(name("t")));
        assert_eq!(recall(&memory, &Take::Last), Recalled::Value(10));
        memory.forwarded(&takes(&["s"], true), None, true);
        assert_eq!(recall(&memory, &Take::Last), Recalled::Fault(lost(&Take::Current(name("s")))));
    }

    #[test]
    fn another_sequence_of_the_same_name_has_no_value_yet() {
        let mut memory = SequenceMemory::default();
        let recall = |memory: &SequenceMemory, of: &str, oid: u32| {
            memory.recall(&Take::Current(name(of)), HOME, false, &|_| Some(oid))
        };
        memory.numbered(&name("s"), Some(1));
        memory.took([(name("s"), 4)], Some(name("s")));
        assert_eq!(recall(&memory, "s", 1), Recalled::Value(4));
        assert_eq!(recall(&memory, "s", 2), Recalled::Fault(undefined(&Take::Current(name("s")))));
        memory.numbered(&name("s"), Some(2));
        memory.took([(name("s"), 7)], Some(name("s")));
        assert_eq!(recall(&memory, "s", 2), Recalled::Value(7));
        assert_eq!(recall(&memory, "s", 3), Recalled::Fault(undefined(&Take::Current(name("s")))));
        // Rolled back.
        assert_eq!(recall(&memory, "s", 1), Recalled::Value(4));
        memory.follow(|of, oid| (oid != Some(2)).then(|| of.clone()));
        assert_eq!(recall(&memory, "s", 1), Recalled::Value(4));
        assert_eq!(recall(&memory, "s", 2), Recalled::Fault(undefined(&Take::Current(name("s")))));
    }

    #[test]
    fn what_setval_sets_alone_is_the_sessions_value() {
        let mut memory = SequenceMemory::default();
        memory.took([(name("s"), 4), (name("t"), 9)], Some(name("t")));
        let set = |set: Option<&str>| SequenceUse { sets: true, set: Some(set.map(name)), ..SequenceUse::default() };
        memory.forwarded(&set(Some("s")), Some(HOME), false);
        assert_eq!(memory.waiting_on(HOME), [name("s")]);
        memory.forwarded(&set(None), Some(HOME), false);
        assert_eq!(memory.recall(&Take::Last, HOME, false, &unknown), Recalled::Value(9));
        memory.told(name("s"), None, Some(50));
        assert_eq!(memory.recall(&Take::Current(name("s")), HOME, false, &unknown), Recalled::Value(50));
    }

    #[test]
    fn what_was_taken_for_sure_is_asked_for_before_its_connection_is_given_back() {
        let mut memory = SequenceMemory::default();
        memory.forwarded(&takes(&["s"], true), Some(HOME), false);
        assert!(memory.waits_on(HOME) && !memory.waits_on(ShardId(1)));
        assert_eq!(memory.waiting_on(HOME), [name("s")]);
        memory.told(name("s"), None, Some(7));
        assert!(!memory.waits_on(HOME) && memory.leaves(HOME) && !memory.leaves(HOME));
        memory.keep(|_| false);
        assert_eq!(memory.recall(&Take::Last, HOME, false, &unknown), Recalled::Value(7));
        assert_eq!(memory.recall(&Take::Current(name("s")), HOME, false, &unknown), Recalled::Value(7));
    }

    #[test]
    fn a_statement_that_failed_may_not_have_come_to_its_sequences() {
        let mut memory = SequenceMemory::default();
        memory.took([(name("s"), 4)], Some(name("s")));
        memory.forwarded(&takes(&["s"], true), Some(HOME), true);
        memory.failed();
        assert!(!memory.waits_on(HOME));
        assert_eq!(memory.recall(&Take::Last, HOME, false, &unknown), Recalled::Fault(lost(&Take::Last)));
        memory.forwarded(&takes(&["s"], true), Some(HOME), true);
        memory.keep(|_| true);
        memory.failed();
        assert!(memory.waits_on(HOME));
    }

    #[test]
    fn what_may_have_been_taken_is_asked_for_where_no_other_value_can_be_meant() {
        let recall = |memory: &SequenceMemory| memory.recall(&Take::Current(name("s")), HOME, false, &unknown);
        let lost = || Recalled::Fault(lost(&Take::Current(name("s"))));
        let mut memory = SequenceMemory::default();
        memory.forwarded(&takes(&["s"], false), Some(HOME), true);
        assert_eq!((recall(&memory), memory.waits_on(HOME)), (Recalled::AskServer(HOME), false));
        // The connection knows what other clients have taken.
        let mut memory = SequenceMemory::default();
        memory.forwarded(&takes(&["s"], false), Some(HOME), false);
        assert_eq!(recall(&memory), lost());
        // It may have taken none: then the value is the one of before.
        let mut memory = SequenceMemory::default();
        memory.took([(name("s"), 4)], Some(name("s")));
        memory.forwarded(&takes(&["s"], false), Some(HOME), true);
        assert_eq!(recall(&memory), lost());
    }

    #[test]
    fn values_of_unknown_sequences_make_all_doubtful() {
        let any = SequenceUse { takes_any: true, ..SequenceUse::default() };
        let mut memory = SequenceMemory::default();
        memory.forwarded(&any, Some(HOME), true);
        assert!(memory.is_at(HOME) && !memory.is_at(ShardId(1)));
        let mut memory = SequenceMemory::default();
        memory.took([(name("s"), 4)], Some(name("s")));
        memory.forwarded(&any, Some(HOME), true);
        assert!(!memory.is_at(HOME));
        memory.keep(|_| false);
        let current = Take::Current(name("s"));
        assert_eq!(memory.recall(&current, HOME, true, &unknown), Recalled::Fault(lost(&current)));
    }
}

//! Statement names a shared server connection knows, and the registry that gives equal statements one name.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use dashmap::DashMap;
use smallvec::SmallVec;

use crate::backend::Backend;
use crate::backend::inflight::{Audience, Owed};
use crate::backend::settings::Meaning;
use crate::fault::Fault;
use crate::ids::{Oid, ShardId};
use crate::wire::request;

/// One distinct prepared statement: same text, same declared parameter types, same catalog generation, names that mean the same.
#[derive(Debug)]
pub struct StatementDef {
    pub id: u64,
    /// The name it has on every server connection, `pgloom_<id>`.
    pub name: Box<str>,
    pub text: Arc<str>,
    pub types: Box<[Oid]>,
    /// ParameterDescription and RowDescription (or NoData), once a server has told them.
    description: OnceLock<(Bytes, Bytes)>,
}

impl StatementDef {
    pub fn description(&self) -> Option<(Bytes, Bytes)> {
        self.description.get().cloned()
    }

    /// The first server's word counts.
    pub fn set_description(&self, description: (Bytes, Bytes)) {
        let _ = self.description.set(description);
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct DefKey {
    text: Arc<str>,
    types: Box<[Oid]>,
    generation: u64,
    meaning: Meaning,
    names: u64,
    numbers_of: ShardId,
}

/// Gives equal statements one definition. Definitions that nobody holds any more are dropped when it grows.
#[derive(Debug, Default)]
pub struct StatementRegistry {
    defs: DashMap<DefKey, Arc<StatementDef>>,
    next: AtomicU64,
    prune_at: AtomicU64,
    /// Bytes of texts that have come since it was looked through last.
    added: AtomicU64,
}

impl StatementRegistry {
    /// Distinct statements that are known.
    pub fn len(&self) -> usize {
        self.defs.len()
    }

    pub fn is_empty(&self) -> bool {
        self.defs.is_empty()
    }

    const PRUNE_STEP: u64 = 4096;
    const PRUNE_BYTES: u64 = 16 << 20;

    /// The definition for this text and these parameter types under this catalog generation. `meaning`: of the settings that
    /// tell what its literals mean. `names`: hash of what its names mean: of one that means other tables a server has other types. `numbers_of`: the
    /// shard by whose numbers it is described.
    pub fn intern(
        &self,
        text: &Arc<str>,
        types: &[Oid],
        generation: u64,
        meaning: Meaning,
        names: u64,
        numbers_of: ShardId,
    ) -> Arc<StatementDef> {
        let key = DefKey { text: Arc::clone(text), types: types.into(), generation, meaning, names, numbers_of };
        if let Some(def) = self.defs.get(&key) {
            return Arc::clone(&def);
        }
        self.added.fetch_add(text.len() as u64, Ordering::Relaxed);
        self.prune();
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let def = Arc::new(StatementDef {
            id,
            name: format!("pgloom_{id}").into(),
            text: Arc::clone(text),
            types: types.into(),
            description: OnceLock::new(),
        });
        Arc::clone(self.defs.entry(key).or_insert(def).value())
    }

    /// A number that nobody else has.
    pub fn fresh(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Forgets definitions that no client and no server connection holds, each time the registry has grown by a step.
    fn prune(&self) {
        let len = self.defs.len() as u64;
        let is_short = self.added.load(Ordering::Relaxed) < Self::PRUNE_BYTES;
        if len < self.prune_at.load(Ordering::Relaxed).max(Self::PRUNE_STEP) && is_short {
            return;
        }
        self.added.store(0, Ordering::Relaxed);
        self.defs.retain(|_, def| Arc::strong_count(def) > 1);
        self.prune_at.store(self.defs.len() as u64 + Self::PRUNE_STEP, Ordering::Relaxed);
    }
}

/// Bytes of statements' texts that one server connection may have prepared: to the server each costs some times as much.
const PREPARED_BYTES: usize = 8 << 20;

/// What one server connection has prepared; bounded in number and in bytes, the least recently used goes first.
#[derive(Debug)]
pub struct PreparedSet {
    held: HashMap<u64, Held, foldhash::fast::RandomState>,
    clock: u64,
    max: usize,
    bytes: usize,
    max_bytes: usize,
}

#[derive(Debug)]
struct Held {
    def: Arc<StatementDef>,
    used: u64,
}

impl PreparedSet {
    pub fn new(max: usize) -> Self {
        Self { held: HashMap::default(), clock: 0, max: max.max(1), bytes: 0, max_bytes: PREPARED_BYTES }
    }

    /// Whether the statement is prepared here; counts as a use.
    pub fn touch(&mut self, id: u64) -> bool {
        self.clock += 1;
        match self.held.get_mut(&id) {
            Some(held) => {
                held.used = self.clock;
                true
            }
            None => false,
        }
    }

    pub fn get(&self, id: u64) -> Option<&Arc<StatementDef>> {
        self.held.get(&id).map(|held| &held.def)
    }

    /// Notes a statement as prepared. Returns those that must be closed to make room; one alone has room whatever its size.
    pub fn insert(&mut self, def: &Arc<StatementDef>) -> SmallVec<[Arc<StatementDef>; 1]> {
        self.clock += 1;
        let mut evicted = SmallVec::new();
        let fits = |set: &Self| set.held.len() < set.max && set.bytes.saturating_add(def.text.len()) <= set.max_bytes;
        while !fits(self)
            && let Some(oldest) = self.held.values().min_by_key(|h| h.used).map(|h| h.def.id)
        {
            evicted.extend(self.forget(oldest));
        }
        self.forget(def.id);
        self.bytes += def.text.len();
        self.held.insert(def.id, Held { def: Arc::clone(def), used: self.clock });
        evicted
    }

    /// Nobody knows whether its Parse succeeded. Returns it, so that its name can be closed before it is used again.
    pub fn forget(&mut self, id: u64) -> Option<Arc<StatementDef>> {
        let forgotten = self.held.remove(&id)?.def;
        self.bytes -= forgotten.text.len();
        Some(forgotten)
    }

    pub fn clear(&mut self) {
        self.held.clear();
        self.bytes = 0;
    }

    pub fn len(&self) -> usize {
        self.held.len()
    }

    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }
}

impl Backend {
    /// Has the server parse the statement under its name, behind the Closes of what makes room for it and of what is in doubt.
    ///
    /// # Errors
    /// The message is too long.
    pub fn make_known(
        &mut self,
        def: &Arc<StatementDef>,
        text: &str,
        types: &[Oid],
        audience: Audience,
    ) -> Result<(), Fault> {
        let mut closed = std::mem::take(&mut self.doubtful);
        closed.extend(self.prepared.insert(def));
        for gone in &closed {
            // Closing what does not exist is no error.
            request::close(&mut self.out, request::Target::Statement, gone.name.as_bytes())?;
            self.inflight.push(Owed::Close(Audience::Router));
        }
        self.closing.extend(closed);
        self.parse(def.name.as_bytes(), text.as_bytes(), types)?;
        self.inflight.push(Owed::Parse(audience));
        self.unproven.push(def.id);
        Ok(())
    }

    /// The batch has come to its end without an error: what was asked on the way is done.
    pub fn prove(&mut self) {
        self.unproven.clear();
        self.closing.clear();
    }

    /// After an error, behind which the server skips what it is asked: which statements it has parsed, and which it has closed, nobody knows.
    pub fn doubt(&mut self) {
        for id in std::mem::take(&mut self.unproven) {
            self.doubtful.extend(self.prepared.forget(id));
        }
        self.doubtful.append(&mut self.closing);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_statements_share_a_name_and_types_part_them() {
        let registry = StatementRegistry::default();
        let text: Arc<str> = "SELECT $1".into();
        let a = registry.intern(&text, &[23], 1, Meaning::default(), 0, ShardId(0));
        assert_eq!(a.id, registry.intern(&"SELECT $1".into(), &[23], 1, Meaning::default(), 0, ShardId(0)).id);
        assert_ne!(a.id, registry.intern(&text, &[20], 1, Meaning::default(), 0, ShardId(0)).id);
        assert_ne!(a.id, registry.intern(&text, &[23], 2, Meaning::default(), 0, ShardId(0)).id);
        assert_ne!(a.id, registry.intern(&text, &[23], 1, Meaning::default(), 1, ShardId(0)).id);
        assert_ne!(a.id, registry.intern(&text, &[23], 1, Meaning::default(), 0, ShardId(1)).id);
    }

    #[test]
    fn the_least_recently_used_statement_makes_room() {
        let registry = StatementRegistry::default();
        let defs: Vec<_> = ["a", "b", "c"]
            .iter()
            .map(|t| registry.intern(&(*t).into(), &[], 0, Meaning::default(), 0, ShardId(0)))
            .collect();
        let mut set = PreparedSet::new(2);
        assert!(set.insert(&defs[0]).is_empty());
        assert!(set.insert(&defs[1]).is_empty());
        assert!(set.touch(defs[0].id));
        assert_eq!(set.insert(&defs[2]).iter().map(|d| d.id).collect::<Vec<_>>(), [defs[1].id]);
        assert!(!set.touch(defs[1].id));
    }

    #[test]
    fn long_statements_make_room_for_each_other() {
        let registry = StatementRegistry::default();
        let def =
            |length: usize| registry.intern(&"x".repeat(length).into(), &[], 0, Meaning::default(), 0, ShardId(0));
        let mut set = PreparedSet { max_bytes: 100, ..PreparedSet::new(200) };
        let small: Vec<_> = [10, 20, 30, 40].map(def).into();
        assert!(small.iter().all(|def| set.insert(def).is_empty()));
        assert_eq!(set.insert(&def(25)).iter().map(|d| d.text.len()).collect::<Vec<_>>(), [10, 20]);
        assert_eq!((set.len(), set.bytes), (3, 95));
        // Longer than all that may be: it is alone.
        assert_eq!(set.insert(&def(1000)).len(), 3);
        assert_eq!((set.len(), set.bytes), (1, 1000));
        assert!(set.forget(small[0].id).is_none());
        assert_eq!(set.insert(&def(5)).len(), 1);
        assert_eq!((set.len(), set.bytes), (1, 5));
    }

    #[test]
    fn what_nobody_holds_is_forgotten_by_its_bytes_too() {
        let registry = StatementRegistry::default();
        for n in 0..40 {
            let text = format!("{n:02}{}", "x".repeat(StatementRegistry::PRUNE_BYTES as usize / 10));
            registry.intern(&text.into(), &[], 0, Meaning::default(), 0, ShardId(0));
        }
        assert!(registry.len() <= 20, "{}", registry.len());
    }
}

//! Statement names a shared server connection knows, and the registry that gives equal statements one name.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use dashmap::DashMap;

use crate::backend::settings::Meaning;
use crate::ids::{Oid, ShardId};

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
        if len < self.prune_at.load(Ordering::Relaxed).max(Self::PRUNE_STEP) {
            return;
        }
        self.defs.retain(|_, def| Arc::strong_count(def) > 1);
        self.prune_at.store(self.defs.len() as u64 + Self::PRUNE_STEP, Ordering::Relaxed);
    }
}

/// What one server connection has prepared; bounded, the least recently used goes first.
#[derive(Debug)]
pub struct PreparedSet {
    held: HashMap<u64, Held, foldhash::fast::RandomState>,
    clock: u64,
    max: usize,
}

#[derive(Debug)]
struct Held {
    def: Arc<StatementDef>,
    used: u64,
}

impl PreparedSet {
    pub fn new(max: usize) -> Self {
        Self { held: HashMap::default(), clock: 0, max: max.max(1) }
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

    /// Notes a statement as prepared. Returns the one that must be closed to make room.
    pub fn insert(&mut self, def: &Arc<StatementDef>) -> Option<Arc<StatementDef>> {
        self.clock += 1;
        let evicted = if self.held.len() >= self.max {
            let oldest = self.held.values().min_by_key(|h| h.used).map(|h| h.def.id);
            oldest.and_then(|id| self.held.remove(&id)).map(|h| h.def)
        } else {
            None
        };
        self.held.insert(def.id, Held { def: Arc::clone(def), used: self.clock });
        evicted
    }

    /// Nobody knows whether its Parse succeeded. Returns it, so that its name can be closed before it is used again.
    pub fn forget(&mut self, id: u64) -> Option<Arc<StatementDef>> {
        self.held.remove(&id).map(|h| h.def)
    }

    pub fn clear(&mut self) {
        self.held.clear();
    }

    pub fn len(&self) -> usize {
        self.held.len()
    }

    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
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
        assert!(set.insert(&defs[0]).is_none());
        assert!(set.insert(&defs[1]).is_none());
        assert!(set.touch(defs[0].id));
        assert_eq!(set.insert(&defs[2]).map(|d| d.id), Some(defs[1].id));
        assert!(!set.touch(defs[1].id));
    }
}

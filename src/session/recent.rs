//! PURE. The statements that this client ran last: one that comes again with other values needs no scan and no shared cache.

use std::sync::Arc;

use crate::sql::pattern::Pattern;
use crate::sql::template::Scan;
use crate::sql::{Analysis, NameScope};

/// Statements that are remembered: what an application repeats in a transaction.
const KEPT: usize = 4;

#[derive(Default)]
pub struct Recent {
    entries: [Option<Box<Entry>>; KEPT],
    next: usize,
}

struct Entry {
    pattern: Pattern,
    analysis: Arc<Analysis>,
    meaning: Meaning,
}

/// What an analysis depends on beside its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Meaning {
    fingerprint: u64,
    generation: u64,
    epoch: u64,
}

impl From<&NameScope<'_>> for Meaning {
    fn from(scope: &NameScope<'_>) -> Self {
        Self { fingerprint: scope.fingerprint, generation: scope.catalog.generation, epoch: scope.topology.epoch.0 }
    }
}

impl Recent {
    /// The analysis of a statement that differs from a remembered one in its free literals alone; `scan` is then that of `text`,
    /// without the template.
    pub fn find(&self, text: &str, names: &NameScope<'_>, scan: &mut Scan) -> Option<&Arc<Analysis>> {
        let meaning = Meaning::from(names);
        self.entries.iter().flatten().find_map(|entry| {
            let same = entry.meaning == meaning && entry.pattern.matches(text, names.standard_strings, scan);
            same.then_some(&entry.analysis)
        })
    }

    /// Remembers a statement in the place of the one that was remembered first.
    pub fn keep(&mut self, text: &str, scan: &Scan, names: &NameScope<'_>, analysis: &Arc<Analysis>) {
        if analysis.kind.has_offsets() {
            return;
        }
        if let Some(pattern) = Pattern::new(text, scan, &analysis.free_slots, names.standard_strings)
            && let Some(place) = self.entries.get_mut(self.next)
        {
            *place = Some(Box::new(Entry { pattern, analysis: Arc::clone(analysis), meaning: names.into() }));
            self.next = (self.next + 1) % KEPT;
        }
    }
}

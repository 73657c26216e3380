//! Single keys placed by name, listed or pinned: each typed, none twice.

use std::collections::HashSet;

use super::Work;
use crate::topology::error::TopologyError;
use crate::topology::shard_map::{KeyTable, Method};
use crate::topology::spec::{DistributionSpec, Site, ValueSpec};
use crate::types::KeyType;
use crate::types::canonical::KeyValue;

impl<'a> Work<'a> {
    pub(super) fn values(&mut self, i: usize, spec: &'a DistributionSpec, values: &[ValueSpec]) -> KeyTable {
        let site = |entry| Site::Entry { distribution: i, entry };
        let twice = |distribution, value| TopologyError::DuplicateValue { distribution, value };
        self.key_table(spec, values, site, twice)
    }

    /// A key can be pinned or listed by `method`, not both.
    pub(super) fn pins(&mut self, i: usize, spec: &'a DistributionSpec, method: &Method) -> KeyTable {
        let site = |pin| Site::Pin { distribution: i, pin };
        let twice = |distribution, value| TopologyError::DuplicatePin { distribution, value };
        let pins = self.key_table(spec, &spec.pins, site, twice);
        if let Method::List { values, .. } = method {
            for (pin, value) in spec.pins.iter().enumerate() {
                let columns = spec.key_types.iter().zip(&value.key);
                let key: Option<Vec<_>> = columns.map(|(key_type, text)| parse_value(*key_type, text)).collect();
                if key.is_some_and(|key| values.get(&key).is_some()) {
                    let (distribution, value) = (spec.name.clone(), value.key.join(", "));
                    self.fail(site(pin), TopologyError::PinnedAndListed { distribution, value });
                }
            }
        }
        pins
    }

    pub(super) fn key_table(
        &mut self,
        spec: &'a DistributionSpec,
        values: &[ValueSpec],
        site: impl Fn(usize) -> Site,
        twice: impl Fn(String, String) -> TopologyError,
    ) -> KeyTable {
        let mut seen = HashSet::new();
        let mut entries = Vec::new();
        for (n, value) in values.iter().enumerate() {
            let shard = self.shard(site(n), &value.shard);
            let (expected, found) = (spec.key_types.len(), value.key.len());
            if expected != found {
                let (distribution, value) = (spec.name.clone(), value.key.join(", "));
                self.fail(site(n), TopologyError::KeyArity { distribution, value, expected, found });
                continue;
            }
            let columns = spec.key_types.iter().zip(&value.key);
            let key: Vec<_> = columns.filter_map(|(key_type, text)| self.value(site(n), *key_type, text)).collect();
            if key.len() < expected {
                continue;
            }
            if !seen.insert(key.clone()) {
                self.fail(site(n), twice(spec.name.clone(), value.key.join(", ")));
            }
            entries.extend(shard.map(|shard| (key.into_boxed_slice(), shard)));
        }
        KeyTable::new(entries)
    }

    pub(super) fn value(&mut self, site: Site, key_type: KeyType, text: &str) -> Option<KeyValue<'static>> {
        let value = parse_value(key_type, text);
        if value.is_none() {
            self.fail(site, TopologyError::BadValue { value: text.to_owned(), key_type });
        }
        value
    }
}

/// A value that no setting of the session can change the meaning of; NULL has no place on any shard.
fn parse_value(key_type: KeyType, text: &str) -> Option<KeyValue<'static>> {
    let value = key_type.parse_text(text).ok()?;
    (!value.is_null()).then(|| value.into_owned())
}

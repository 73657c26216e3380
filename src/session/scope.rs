//! PURE. What names and literals mean for this session: its search path and string rules, hashed for the plan cache.

use std::borrow::Cow;
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::backend::cluster::Cluster;
use crate::backend::defaults::Defaults;
use crate::backend::settings::{self, SessionSettings};
use crate::ids::ShardId;
use crate::session::held::HeldServers;
use crate::session::transaction::Transaction;
use crate::sql::{NameScope, utility};

/// The setting that decides what backslashes in plain strings are.
pub(super) const STANDARD_STRINGS: &str = "standard_conforming_strings";

pub struct SearchScope {
    search_path: Vec<Box<str>>,
    standard_strings: bool,
    /// What a server has told of that where the session's settings do not say it.
    pub heard: Option<bool>,
    /// Hash of the database's name.
    database: u64,
    fingerprint: u64,
}

impl SearchScope {
    /// `user`: with whose name the session is logged in at the servers. `database`: its name is part of the fingerprint, because the
    /// plan cache serves them all.
    ///
    /// `defaults`: what holds where the session has set nothing.
    pub fn new(values: &SessionSettings, defaults: &Defaults, user: &str, database: &str) -> Self {
        let user = &*current_user(values, defaults, user);
        let set = values.get("search_path").and_then(|value| match settings::whole_text(value) {
            Some(text) => utility::search_path_setting(text, user),
            None => utility::search_path_value(value, user),
        });
        let default = || utility::search_path_setting(defaults.get("search_path")?, user);
        let search_path = set.or_else(default).unwrap_or_else(|| vec![user.into(), "public".into()]);
        let standard_strings = match values.get(STANDARD_STRINGS) {
            Some(value) => utility::plain_value(value).map(|value| !is_off(&value)),
            None => defaults.get(STANDARD_STRINGS).map(|value| !is_off(value)),
        }
        .unwrap_or(true);
        let database = hashed(database);
        let fingerprint = hashed((database, &search_path, standard_strings));
        Self { search_path, standard_strings, heard: None, database, fingerprint }
    }

    /// Whether names may mean something of the user's that are Postgres's own elsewhere.
    pub fn hides_system(&self) -> bool {
        self.search_path.iter().position(|schema| &**schema == "pg_catalog").is_some_and(|at| at > 0)
    }

    pub fn standard_strings(&self) -> bool {
        self.standard_strings
    }

    /// Schemas of the path that should be on these shards, and are not known there.
    pub fn missing(&self, view: &Cluster) -> Vec<(ShardId, Box<str>)> {
        let missing = |schema: &&Box<str>| !view.catalog.placed.contains_key(&***schema);
        let place = |schema: &Box<str>| {
            let (_, shard) = view.topology.place_of_schema(schema)?;
            (!view.catalog.unread.contains(shard)).then(|| (shard, schema.clone()))
        };
        self.search_path.iter().filter(missing).filter_map(place).collect()
    }

    /// What names mean now. What the transaction has made, and where the session may have temporary tables, matters only beside
    /// schemas that are placed: else all that is not distributed is in one place.
    pub fn names<'a>(&'a self, view: &'a Cluster, tx: &'a Transaction, held: &'a HeldServers) -> NameScope<'a> {
        let mut scope = NameScope {
            catalog: &view.catalog,
            topology: &view.topology,
            search_path: &self.search_path,
            standard_strings: self.standard_strings,
            changes: &[],
            defines: tx.defines(),
            temporary: None,
            temporaries: None,
            own: None,
            fingerprint: self.fingerprint,
            unknown: None,
        };
        if view.topology.shards.len() > 1 {
            scope.own = held.iter().find(|held| held.temporary).map(|held| &held.temporaries);
        }
        let own = scope.own.map(|own| own.fingerprint);
        let at_home = held.iter().find(|held| held.temporary).is_some_and(|held| held.shard == view.topology.home);
        if at_home && !view.topology.is_all_home() {
            scope.temporaries = scope.own;
        }
        if view.topology.places_schemas() {
            scope.changes = tx.changes();
            scope.temporary = held.iter().find(|held| held.temporary).map(|held| held.shard);
            if !scope.changes.is_empty() || scope.temporary.is_some() {
                scope.fingerprint = hashed((self.fingerprint, scope.changes, scope.temporary, own));
            }
        } else if let Some(own) = own {
            scope.fingerprint = hashed((self.fingerprint, own));
        }
        if scope.defines {
            scope.fingerprint = hashed((scope.fingerprint, "defines"));
        }
        scope
    }

    /// What the names of a statement mean, as a hash that tells databases apart. `resolved`: by its analysis under a scope with this
    /// fingerprint.
    pub fn meaning_of(&self, resolved: Option<u64>, fingerprint: u64) -> u64 {
        resolved.map_or(fingerprint, |resolved| hashed((self.database, resolved)))
    }
}

fn hashed(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// Who `$user` is: the role that was set, else whose session it is.
fn current_user<'a>(values: &'a SessionSettings, defaults: &Defaults, user: &'a str) -> Cow<'a, str> {
    let named = |setting: &str, nobody: &str| {
        let name = match values.get(setting) {
            Some(value) => utility::plain_value(value),
            None => defaults.get(setting).map(Into::into),
        };
        name.filter(|name| **name != *nobody)
    };
    match named("role", "none").or_else(|| named("session_authorization", "default")) {
        Some(name) => Cow::Owned(name.into()),
        None => Cow::Borrowed(user),
    }
}

/// `parse_bool`: a word may be cut short where it stays clear.
pub(super) fn is_off(value: &str) -> bool {
    let value = value.to_ascii_lowercase();
    let cut = |word: &str, least: usize| value.len() >= least && word.starts_with(&value);
    value == "0" || cut("false", 1) || cut("no", 1) || cut("off", 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_user_stands_first_in_the_default_path() {
        let scope = SearchScope::new(&SessionSettings::default(), &Defaults::default(), "ann", "shop");
        assert_eq!(scope.search_path, ["ann".into(), "public".into()] as [Box<str>; 2]);
        assert!(scope.standard_strings);
    }

    #[test]
    fn the_role_that_was_set_is_the_user() {
        let path = |settings: &[(&str, &str)]| {
            let mut values = SessionSettings::default();
            settings.iter().for_each(|(name, value)| values.set(name, value));
            SearchScope::new(&values, &Defaults::default(), "ann", "shop").search_path[0].to_string()
        };
        assert_eq!(path(&[("role", "Tenant_7")]), "tenant_7");
        assert_eq!(path(&[("role", "'T 7'"), ("search_path", "\"$user\", public")]), "T 7");
        assert_eq!(path(&[("role", "none"), ("session_authorization", "bob")]), "bob");
        assert_eq!(path(&[("role", "'none'")]), "ann");
    }

    #[test]
    fn another_database_is_another_scope() {
        let scope = |database| SearchScope::new(&SessionSettings::default(), &Defaults::default(), "ann", database);
        let (shop, archive) = (scope("shop"), scope("archive"));
        assert_ne!(shop.fingerprint, archive.fingerprint);
        // The tables of one name in two databases are two tables.
        assert_ne!(shop.meaning_of(Some(7), 0), archive.meaning_of(Some(7), 0));
        assert_eq!(shop.meaning_of(Some(7), 0), shop.meaning_of(Some(7), 1));
        assert_ne!(shop.meaning_of(None, 0), shop.meaning_of(None, 1));
    }

    #[test]
    fn strings_are_standard_unless_switched_off() {
        let standard = |value: &str| {
            let mut settings = SessionSettings::default();
            settings.set("standard_conforming_strings", value);
            SearchScope::new(&settings, &Defaults::default(), "ann", "shop").standard_strings
        };
        for off in ["'off'", "OF", "E'fal'", "0", "n", "'no'", "'f'", "false"] {
            assert!(!standard(off), "{off}");
        }
        for on in ["on", "1", "'t'", "yes", "true"] {
            assert!(standard(on), "{on}");
        }
    }
}

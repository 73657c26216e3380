//! PURE. What names and literals mean for this session: its search path and string rules, hashed for the plan cache.

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::backend::cluster::Cluster;
use crate::backend::settings::{self, SessionSettings};
use crate::sql::{NameScope, utility};

pub struct SearchScope {
    search_path: Vec<Box<str>>,
    standard_strings: bool,
    fingerprint: u64,
}

impl SearchScope {
    /// `database`: its name is part of the fingerprint, because the plan cache serves them all.
    pub fn new(values: &SessionSettings, user: &str, database: &str) -> Self {
        let search_path = values
            .get("search_path")
            .and_then(|value| match settings::whole_text(value) {
                Some(text) => utility::search_path_setting(text, user),
                None => utility::search_path_value(value, user),
            })
            .unwrap_or_else(|| vec![user.into(), "public".into()]);
        let standard_strings = values
            .get("standard_conforming_strings")
            .is_none_or(|value| !matches!(unquoted(value).as_str(), "off" | "false" | "no" | "0" | "f" | "n" | "of"));
        let mut hasher = DefaultHasher::new();
        (database, &search_path, standard_strings).hash(&mut hasher);
        Self { search_path, standard_strings, fingerprint: hasher.finish() }
    }

    /// Equal where names and literals mean the same.
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// Whether names may mean something of the user's that are Postgres's own elsewhere.
    pub fn hides_system(&self) -> bool {
        self.search_path.iter().position(|schema| &**schema == "pg_catalog").is_some_and(|at| at > 0)
    }

    pub fn standard_strings(&self) -> bool {
        self.standard_strings
    }

    pub fn names<'a>(&'a self, view: &'a Cluster) -> NameScope<'a> {
        NameScope {
            catalog: &view.catalog,
            topology: &view.topology,
            search_path: &self.search_path,
            standard_strings: self.standard_strings,
            fingerprint: self.fingerprint,
        }
    }
}

fn unquoted(value: &str) -> String {
    value.trim().trim_start_matches(['E', 'e']).trim_matches('\'').trim().to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_user_stands_first_in_the_default_path() {
        let scope = SearchScope::new(&SessionSettings::default(), "ann", "shop");
        assert_eq!(scope.search_path, ["ann".into(), "public".into()] as [Box<str>; 2]);
        assert!(scope.standard_strings);
    }

    #[test]
    fn another_database_is_another_scope() {
        let fingerprint = |database| SearchScope::new(&SessionSettings::default(), "ann", database).fingerprint;
        assert_ne!(fingerprint("shop"), fingerprint("archive"));
    }

    #[test]
    fn strings_are_standard_unless_switched_off() {
        let mut settings = SessionSettings::default();
        settings.set("standard_conforming_strings", "'off'");
        assert!(!SearchScope::new(&settings, "ann", "shop").standard_strings);
    }
}

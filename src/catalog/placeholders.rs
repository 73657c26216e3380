//! PURE. Names of custom settings (`app.tenant`), which Postgres keeps for as long as a session lives: empty where nothing is set.

use std::collections::BTreeSet;
use std::sync::Arc;

/// Such names. A copy costs nothing, nor does the comparison of two where there are none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Placeholders(Option<Arc<BTreeSet<Box<str>>>>);

/// What a statement makes of them besides SET and set_config, which are run by the router.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Makes {
    These(Placeholders),
    /// Its code computes a name.
    Unknown,
}

/// Whether a setting is one that Postgres makes when it is first named. The router's own are nobody's matter on the servers.
fn is_custom(name: &str) -> bool {
    name.contains('.') && !name.starts_with("pgloom.")
}

impl Placeholders {
    pub fn of(name: &str) -> Self {
        let mut one = Self::default();
        one.add(name);
        one
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    pub fn has(&self, name: &str) -> bool {
        self.0.as_ref().is_some_and(|names| names.contains(name))
    }

    /// Whether there is none among `others` that is not here.
    pub fn hold(&self, others: &Self) -> bool {
        match (&self.0, &others.0) {
            (_, None) => true,
            (None, Some(_)) => false,
            (Some(own), Some(others)) => Arc::ptr_eq(own, others) || others.is_subset(own),
        }
    }

    /// Any other name than that of a custom setting is left alone.
    pub fn add(&mut self, name: &str) {
        if is_custom(name) && !self.has(name) {
            Arc::make_mut(self.0.get_or_insert_default()).insert(name.into());
        }
    }

    pub fn join(&mut self, others: &Self) {
        if self.hold(others) {
            return;
        }
        if others.hold(self) {
            self.clone_from(others);
            return;
        }
        others.iter().for_each(|name| self.add(name));
    }

    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().flat_map(|names| names.iter()).map(|name| &**name)
    }
}

impl FromIterator<String> for Placeholders {
    fn from_iter<I: IntoIterator<Item = String>>(names: I) -> Self {
        let mut all = Self::default();
        names.into_iter().for_each(|name| all.add(&name));
        all
    }
}

impl Makes {
    /// What two pieces of code make.
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::These(mut own), Self::These(other)) => {
                own.join(&other);
                Self::These(own)
            }
            (Self::Unknown, _) | (_, Self::Unknown) => Self::Unknown,
        }
    }
}

impl Default for Makes {
    fn default() -> Self {
        Self::These(Placeholders::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_custom_names_are_kept() {
        let names: Placeholders =
            ["work_mem", "app.a", "pgloom.query_timeout", "app.b"].map(str::to_owned).into_iter().collect();
        assert_eq!(names.iter().collect::<Vec<_>>(), ["app.a", "app.b"]);
        assert!(Placeholders::of("work_mem").is_empty());
    }

    #[test]
    fn they_hold_what_is_among_them() {
        let (none, a, b) = (Placeholders::default(), Placeholders::of("a.a"), Placeholders::of("b.b"));
        let mut both = a.clone();
        both.join(&b);
        assert!(none.hold(&none) && a.hold(&none) && both.hold(&a) && both.hold(&b) && both.hold(&both.clone()));
        assert!(!none.hold(&a) && !a.hold(&b) && !a.hold(&both));
        let mut all = none;
        all.join(&both);
        assert_eq!(all, both);
    }
}

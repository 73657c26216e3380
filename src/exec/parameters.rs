//! PURE. The parameters that the client is told of (ParameterStatus). As Postgres does, the router tells of a change once, with the value
//! that is left of it, just before ReadyForQuery.

use bytes::BytesMut;

use crate::wire::frame::Fields;
use crate::wire::reply;

/// Names and values, in the order in which they came.
pub type Values = Vec<(Box<str>, Box<str>)>;

#[derive(Debug, Default)]
pub struct Parameters {
    values: Values,
    /// What has changed since the client was told last, with the value that it knows.
    untold: Vec<(Box<str>, Option<Box<str>>)>,
}

impl Parameters {
    /// A session begins with these, of which the client is told at once.
    pub fn begin_with(&mut self, values: &Values) {
        self.values.clone_from(values);
        self.untold.clear();
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.iter().find(|(known, _)| **known == *name).map(|(_, value)| &**value)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values.iter().map(|(name, value)| (&**name, &**value))
    }

    /// A ParameterStatus, by its body.
    pub fn hear(&mut self, body: &[u8]) {
        let mut fields = Fields::new(body);
        if let (Ok(name), Ok(value)) = (fields.cstr(), fields.cstr()) {
            self.note(&String::from_utf8_lossy(name), &String::from_utf8_lossy(value));
        }
    }

    /// This one has this value now.
    pub fn note(&mut self, name: &str, value: &str) {
        let known = self.values.iter_mut().find(|(known, _)| **known == *name);
        let old = match known {
            Some((_, old)) if **old == *value => return,
            Some((_, old)) => Some(std::mem::replace(old, value.into())),
            None => {
                self.values.push((name.into(), value.into()));
                None
            }
        };
        if self.untold.iter().all(|(untold, _)| **untold != *name) {
            self.untold.push((name.into(), old));
        }
    }

    /// Postgres 14 and 15 look through all settings, which are sorted. Of later ones the order is not followed: theirs is a list of what has changed.
    fn are_told_by_name(&self) -> bool {
        let version = self.get("server_version").unwrap_or_default();
        let major = version.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
        matches!(major, "14" | "15")
    }

    pub fn has_untold(&self) -> bool {
        !self.untold.is_empty()
    }

    /// Tells the client what is another value than it knows.
    pub fn tell(&mut self, out: &mut BytesMut) {
        let mut untold = std::mem::take(&mut self.untold);
        if untold.len() > 1 && self.are_told_by_name() {
            untold.sort_by_cached_key(|(name, _)| name.to_ascii_lowercase());
        }
        for (name, known) in untold {
            if let Some(value) = self.get(&name).filter(|value| known.as_deref() != Some(value)) {
                // Neither has a NUL: a server has sent them.
                let _ = reply::parameter_status(out, &name, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(parameters: &mut Parameters) -> String {
        let mut out = BytesMut::new();
        parameters.tell(&mut out);
        String::from_utf8_lossy(&out).replace(['\0', 'S'], " ").split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_change_is_told_once_with_what_is_left_of_it() {
        let mut parameters = Parameters::default();
        parameters.begin_with(&vec![("TimeZone".into(), "utc".into()), ("is_superuser".into(), "on".into())]);
        parameters.note("TimeZone", "a");
        parameters.note("TimeZone", "b");
        parameters.note("is_superuser", "off");
        parameters.note("is_superuser", "on");
        let said = told(&mut parameters);
        assert!(said.contains("TimeZone b") && !said.contains("is_superuser") && !said.contains(" a"), "{said}");
        assert_eq!(told(&mut parameters), "");
        parameters.note("new", "x");
        assert!(told(&mut parameters).contains("new x"));
    }

    #[test]
    fn changes_are_told_in_the_order_of_the_servers_version() {
        for (version, order) in [("14.12", "a Y b Z C X"), ("15.8 (Debian)", "a Y b Z C X")] {
            let mut parameters = Parameters::default();
            parameters.begin_with(&vec![("server_version".into(), version.into())]);
            for (name, value) in [("b", "Z"), ("C", "X"), ("a", "Y")] {
                parameters.note(name, value);
            }
            assert_eq!(told(&mut parameters).replace('\u{8}', ""), order);
        }
    }
}

//! PURE. The settings of a session as SQL values, and the statements that bring a server connection from one set to another.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

/// `SET name TO value` for each entry; the value is SQL as the client wrote it (quoted where it was).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct SessionSettings {
    values: BTreeMap<Box<str>, Box<str>>,
}

/// Gives equal settings one address, so that two clients with the same settings are seen to have them without a comparison.
#[derive(Debug, Default)]
pub struct SettingsTable {
    known: Mutex<HashSet<Arc<SessionSettings>>>,
}

impl SettingsTable {
    const PRUNE_ABOVE: usize = 1024;

    pub fn share(&self, settings: SessionSettings) -> Arc<SessionSettings> {
        if settings.is_empty() {
            return SessionSettings::none();
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = known.get(&settings) {
            return Arc::clone(found);
        }
        if known.len() >= Self::PRUNE_ABOVE && known.len() == known.capacity() {
            known.retain(|settings| Arc::strong_count(settings) > 1);
        }
        let settings = Arc::new(settings);
        known.insert(Arc::clone(&settings));
        settings
    }
}

impl SessionSettings {
    /// Those of a connection on which nothing was set: one for all.
    pub fn none() -> Arc<Self> {
        static NONE: LazyLock<Arc<SessionSettings>> = LazyLock::new(Arc::default);
        Arc::clone(&NONE)
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(|v| &**v)
    }

    pub fn set(&mut self, name: &str, value: &str) {
        self.values.insert(name.into(), value.into());
    }

    pub fn remove(&mut self, name: &str) {
        self.values.remove(name);
    }

    /// Hash of what decides how values are printed as text.
    pub fn printing(&self) -> u64 {
        const PRINTERS: [&str; 7] = [
            "bytea_output",
            "client_encoding",
            "datestyle",
            "extra_float_digits",
            "intervalstyle",
            "lc_monetary",
            "timezone",
        ];
        let prints = |name: &str| PRINTERS.contains(&name);
        let mut hasher = DefaultHasher::new();
        for (name, value) in self.values.iter().filter(|(name, _)| prints(name)) {
            (name, value).hash(&mut hasher);
        }
        hasher.finish()
    }

    /// Hash of what decides how the literals of a statement are read: the settings that Postgres's parser and the input functions of its
    /// types look at, and who reads. (What names mean is the search path's matter, which is not in it.)
    pub fn meaning(&self) -> u64 {
        const READERS: [&str; 15] = [
            "array_nulls",
            "backslash_quote",
            "datestyle",
            "default_text_search_config",
            "intervalstyle",
            "lc_messages",
            "lc_monetary",
            "lc_numeric",
            "lc_time",
            "role",
            "session_authorization",
            "standard_conforming_strings",
            "timezone",
            "timezone_abbreviations",
            "xmloption",
        ];
        // Such as transform_null_equals, which is no literal's, but a word of the text all the same.
        const PARSER: [&str; 1] = ["transform_null_equals"];
        let decides = |name: &str| READERS.contains(&name) || PARSER.contains(&name);
        let mut hasher = DefaultHasher::new();
        for (name, value) in self.values.iter().filter(|(name, _)| decides(name)) {
            (name, value).hash(&mut hasher);
        }
        hasher.finish()
    }

    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values.iter().map(|(n, v)| (&**n, &**v))
    }

    /// The statements that turn a connection with `from` into one with `self`; `None` when there is nothing to do.
    /// `from` None: unknown, so everything is reset first.
    pub fn statements_from(&self, from: Option<&SessionSettings>) -> Option<String> {
        let mut sql = String::new();
        match from {
            Some(from) if from == self => return None,
            Some(from) => {
                // Roles first: they may be what is allowed to set the rest.
                for name in from.values.keys().filter(|name| !self.values.contains_key(*name)) {
                    let _ = write!(sql, "{};", reset(name));
                }
                for (name, value) in self.values.iter().filter(|(n, v)| from.values.get(*n) != Some(v)) {
                    let _ = write!(sql, "{};", assign(name, value));
                }
            }
            None => {
                sql.push_str("RESET SESSION AUTHORIZATION;RESET ROLE;RESET ALL;");
                for (name, value) in &self.values {
                    let _ = write!(sql, "{};", assign(name, value));
                }
            }
        }
        Some(sql)
    }
}

/// Settings whose value is a list of names: SET quotes each member of the list that it is given, set_config and a
/// startup packet give the list as a whole (Postgres: `GUC_LIST_QUOTE`).
const NAME_LISTS: [&str; 6] = [
    "search_path",
    "temp_tablespaces",
    "local_preload_libraries",
    "session_preload_libraries",
    "shared_preload_libraries",
    "unix_socket_directories",
];
/// Begins a value that no SET can give. No SQL value begins so.
const WHOLE: char = '=';

/// A setting's own text as a value for [`SessionSettings::set`] and [`assign`].
pub fn text_value(name: &str, text: &str) -> String {
    if NAME_LISTS.contains(&name) { format!("{WHOLE}{text}") } else { quote_literal(text) }
}

/// The text of a list of names that was given as a whole.
pub fn whole_text(value: &str) -> Option<&str> {
    value.strip_prefix(WHOLE)
}

/// `SET name TO value`, with the forms that are not plain settings.
pub fn assign(name: &str, value: &str) -> String {
    if let Some(text) = whole_text(value) {
        return assign_whole(name, text, false);
    }
    match name {
        "session_authorization" => format!("SET SESSION AUTHORIZATION {value}"),
        "timezone" => format!("SET TIME ZONE {value}"),
        "role" => format!("SET ROLE {value}"),
        _ => format!("SET {} TO {value}", quote_name(name)),
    }
}

/// `SET LOCAL name TO value`
pub fn assign_local(name: &str, value: &str) -> String {
    match whole_text(value) {
        Some(text) => assign_whole(name, text, true),
        None => assign(name, value).replacen("SET ", "SET LOCAL ", 1),
    }
}

/// Without a row, so that it can stand before anything else.
fn assign_whole(name: &str, text: &str, local: bool) -> String {
    let (name, text) = (quote_literal(name), quote_literal(text));
    format!("SELECT WHERE pg_catalog.set_config({name}, {text}, {local}) IS NULL")
}

pub fn reset(name: &str) -> String {
    match name {
        "session_authorization" => "RESET SESSION AUTHORIZATION".to_owned(),
        "role" => "RESET ROLE".to_owned(),
        "timezone" => "RESET TIME ZONE".to_owned(),
        _ => format!("RESET {}", quote_name(name)),
    }
}

/// A setting's name as an identifier; `extension.name` stays two parts, and each may be a keyword.
fn quote_name(name: &str) -> String {
    if !name.contains('.') {
        return quote_identifier(name);
    }
    name.split('.').map(|part| format!("\"{}\"", part.replace('"', "\"\""))).collect::<Vec<_>>().join(".")
}

/// An SQL identifier, quoted where it must be (Postgres: `quote_identifier`, without its keyword table: quoting is always allowed).
pub fn quote_identifier(name: &str) -> String {
    let plain = !name.is_empty()
        && name.bytes().enumerate().all(|(i, b)| b == b'_' || b.is_ascii_lowercase() || (i > 0 && b.is_ascii_digit()));
    if plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

/// An SQL string literal that means the same whatever `standard_conforming_strings` is.
pub fn quote_literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if text.contains('\\') { format!("E'{}'", quoted.replace('\\', "\\\\")) } else { format!("'{quoted}'") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(pairs: &[(&str, &str)]) -> SessionSettings {
        let mut s = SessionSettings::default();
        pairs.iter().for_each(|(n, v)| s.set(n, v));
        s
    }

    #[test]
    fn only_differences_are_sent() {
        let from = settings(&[("a", "1"), ("b", "2")]);
        let to = settings(&[("b", "3"), ("c.d", "'x'")]);
        assert_eq!(to.statements_from(Some(&from)).as_deref(), Some("RESET a;SET b TO 3;SET \"c\".\"d\" TO 'x';"));
        assert_eq!(to.statements_from(Some(&to.clone())), None);
    }

    #[test]
    fn lists_of_names_are_given_as_they_are() {
        let value = text_value("search_path", "a,\"$user\"");
        assert_eq!(whole_text(&value), Some("a,\"$user\""));
        let whole = "SELECT WHERE pg_catalog.set_config('search_path', 'a,\"$user\"', true) IS NULL";
        assert_eq!(assign_local("search_path", &value), whole);
        assert_eq!(assign_local("work_mem", &text_value("work_mem", "1MB")), "SET LOCAL work_mem TO '1MB'");
    }

    #[test]
    fn what_reads_no_literal_leaves_their_meaning() {
        let none = SessionSettings::default().meaning();
        for (name, value) in
            [("enable_seqscan", "off"), ("app.tenant", "'5'"), ("search_path", "other"), ("jit", "off")]
        {
            assert_eq!(settings(&[(name, value)]).meaning(), none, "{name}");
        }
        for (name, value) in [("datestyle", "'German'"), ("timezone", "'Asia/Tokyo'"), ("role", "app")] {
            assert_ne!(settings(&[(name, value)]).meaning(), none, "{name}");
        }
    }

    #[test]
    fn an_unknown_connection_is_reset_first() {
        let to = settings(&[("role", "app")]);
        let sql = to.statements_from(None);
        assert_eq!(sql.as_deref(), Some("RESET SESSION AUTHORIZATION;RESET ROLE;RESET ALL;SET ROLE app;"));
    }
}

//! PURE. The settings of a session as SQL values, and the statements that bring a server connection from one set to another.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use crate::backend::defaults::Defaults;
use crate::catalog::placeholders::Placeholders;

/// `SET name TO value` for each entry; the value is SQL as the client wrote it (quoted where it was).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct SessionSettings {
    values: BTreeMap<Box<str>, Setting>,
    /// The custom settings that were ever named: Postgres keeps each, whatever becomes of its value.
    placeholders: Placeholders,
    /// Which SET made the user another one: a role's name can be given to another role, and the right to be one taken away, so that a
    /// connection whose user was made by another SET is not one with these settings. 0: the user is who has logged in.
    taking: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Setting {
    value: Box<str>,
    /// Who has set it, where that was not who has logged in: that user alone may have the right to.
    by: Option<Arc<Roles>>,
}

/// Who the user was made by SET SESSION AUTHORIZATION and SET ROLE; each value is SQL.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Roles([Option<Box<str>>; 2]);

impl Roles {
    /// The statements that make the user this one, on a connection whose user is who has logged in.
    fn take_on(&self, sql: &mut String) {
        for (name, value) in ROLES.iter().zip(&self.0) {
            if let Some(value) = value {
                let _ = write!(sql, "{};", assign(name, value));
            }
        }
    }
}

/// Makes the user who has logged in.
const LEAVE_ROLES: &str = "RESET SESSION AUTHORIZATION;RESET ROLE;";

/// Gives equal settings one address, so that two clients with the same settings are seen to have them without a comparison.
#[derive(Debug, Default)]
pub struct SettingsTable {
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    all: HashSet<Arc<SessionSettings>>,
    bytes: usize,
    /// From how many, and from how many bytes on, those are looked for that nobody has any more.
    full: (usize, usize),
}

impl SettingsTable {
    /// Until there are so many, or so many bytes of them, nobody looks.
    const FEW: (usize, usize) = (1024, 1 << 20);

    pub fn share(&self, settings: SessionSettings) -> Arc<SessionSettings> {
        if settings.is_empty() {
            return SessionSettings::none();
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = known.all.get(&settings) {
            return Arc::clone(found);
        }
        let known = &mut *known;
        if known.all.len() >= known.full.0 || known.bytes >= known.full.1 {
            known.all.retain(|settings| Arc::strong_count(settings) > 1);
            known.bytes = known.all.iter().map(|settings| settings.bytes()).sum();
            // What is left is not looked through again before it has doubled.
            known.full = (Self::FEW.0.max(known.all.len() * 2), Self::FEW.1.max(known.bytes * 2));
        }
        known.bytes += settings.bytes();
        let settings = Arc::new(settings);
        known.all.insert(Arc::clone(&settings));
        settings
    }
}

/// Hashes of the settings by which literals are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Meaning {
    /// Those that dates, times and intervals are read by.
    pub times: u64,
    pub others: u64,
    /// Who reads.
    pub who: u64,
    /// What `= NULL` is.
    pub nulls: u64,
}

/// What decides how values of some types are printed.
const PRINTERS: [&str; 6] =
    ["bytea_output", "datestyle", "extra_float_digits", "intervalstyle", "lc_monetary", "timezone"];

const ENCODING: &str = "client_encoding";

/// How values are printed as text, as hashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Printing {
    pub encoding: u64,
    /// Of those that are not printed alike whatever the settings are.
    pub values: u64,
}

impl SessionSettings {
    /// Those of a connection on which nothing was set: one for all.
    pub fn none() -> Arc<Self> {
        static NONE: LazyLock<Arc<SessionSettings>> = LazyLock::new(Arc::default);
        Arc::clone(&NONE)
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(|setting| &*setting.value)
    }

    pub fn set(&mut self, name: &str, value: &str) {
        self.set_by(name, value, None);
    }

    /// A setting that such a user has made.
    pub fn set_by(&mut self, name: &str, value: &str, by: Option<Arc<Roles>>) {
        self.placeholders.add(name);
        self.values.insert(name.into(), Setting { value: value.into(), by });
    }

    /// Back to its default.
    pub fn remove(&mut self, name: &str) {
        self.placeholders.add(name);
        self.values.remove(name);
        if !self.has_roles() {
            self.taking = 0;
        }
    }

    /// The user was made another one by this SET, of all that the router has seen.
    pub fn take_role(&mut self, taking: u64) {
        self.taking = if self.has_roles() { taking } else { 0 };
    }

    /// Which SET made the user another one.
    pub fn taking(&self) -> u64 {
        self.taking
    }

    pub fn placeholders(&self) -> &Placeholders {
        &self.placeholders
    }

    /// The same with these custom settings, empty where they have no value.
    pub fn with(mut self, placeholders: &Placeholders) -> Self {
        self.placeholders.join(placeholders);
        self
    }

    /// What decides how values are printed as text.
    pub fn printing(&self) -> Printing {
        let hash = |names: &[&str]| {
            let mut hasher = DefaultHasher::new();
            for (name, value) in self.iter().filter(|(name, _)| names.contains(name)) {
                (name, value).hash(&mut hasher);
            }
            hasher.finish()
        };
        Printing { encoding: hash(&[ENCODING]), values: hash(&PRINTERS) }
    }

    /// The same as SQL, for the transaction at hand alone.
    pub fn print_locally(&self) -> String {
        let names = PRINTERS.iter().chain([&ENCODING]);
        let all = names.map(|name| assign_local(name, self.get(name).unwrap_or("DEFAULT")));
        all.collect::<Vec<_>>().join("; ")
    }

    /// What decides how the literals of a statement are read: the settings that Postgres's parser and the input functions of its types
    /// look at, and who reads. (What names mean is the search path's matter, which is not in it.) A setting that is as logins begin with
    /// it is none.
    pub fn meaning(&self, defaults: &Defaults) -> Meaning {
        const TIMES: [&str; 5] = ["datestyle", "intervalstyle", "lc_time", "timezone", "timezone_abbreviations"];
        const OTHERS: [&str; 8] = [
            "array_nulls",
            "backslash_quote",
            "default_text_search_config",
            "lc_messages",
            "lc_monetary",
            "lc_numeric",
            "standard_conforming_strings",
            "xmloption",
        ];
        const NULLS: [&str; 1] = ["transform_null_equals"];
        let hash = |names: &[&str]| {
            let mut hasher = DefaultHasher::new();
            let set = names.iter().filter_map(|name| Some((*name, self.get(name)?)));
            let is_default =
                |name: &str, value: &str| defaults.get(name).is_some_and(|text| text_value(name, text) == value);
            set.filter(|(name, value)| !is_default(name, value)).for_each(|set| set.hash(&mut hasher));
            hasher.finish()
        };
        Meaning { times: hash(&TIMES), others: hash(&OTHERS), who: hash(&ROLES), nulls: hash(&NULLS) }
    }

    /// About what it takes in memory.
    fn bytes(&self) -> usize {
        let of_each = |(name, setting): (&Box<str>, &Setting)| name.len() + setting.value.len() + size_of::<Setting>();
        let named = self.placeholders.iter().map(|name| name.len() + 4 * size_of::<usize>());
        size_of::<Self>() + self.values.iter().map(of_each).chain(named).sum::<usize>()
    }

    pub fn is_empty(&self) -> bool {
        self.values.is_empty() && self.placeholders.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values.iter().map(|(name, setting)| (&**name, &*setting.value))
    }

    /// Whether somebody else was made the user than who has logged in.
    pub fn has_roles(&self) -> bool {
        ROLES.iter().any(|name| self.values.contains_key(*name))
    }

    /// Who the user is, where it is not who has logged in.
    pub fn roles(&self) -> Option<Arc<Roles>> {
        self.has_roles().then(|| Arc::new(Roles(ROLES.map(|name| self.get(name).map(Into::into)))))
    }

    /// Whether somebody else than who has logged in has set something.
    pub fn has_of_others(&self) -> bool {
        self.values.values().any(|setting| setting.by.is_some())
    }

    /// All but those.
    pub fn others(&self) -> impl Iterator<Item = (&str, &str)> {
        self.iter().filter(|(name, _)| !ROLES.contains(name))
    }

    /// The statements that turn a connection with `from` into one with `self`; `None` when there is nothing to do.
    /// `from` None: unknown, so everything is reset first.
    ///
    /// Roles are left first and taken on last: what was set by who has logged in, another user may have no right to set or to reset. What
    /// another user has set, that one sets again.
    pub fn statements_from(&self, from: Option<&SessionSettings>) -> Option<String> {
        let mut sql = String::new();
        if from == Some(self) {
            return None;
        }
        if from.is_none_or(SessionSettings::has_roles) {
            sql.push_str(LEAVE_ROLES);
        }
        match from {
            Some(from) => {
                for (name, _) in from.others().filter(|(name, _)| !self.values.contains_key(*name)) {
                    let _ = write!(sql, "{};", reset(name));
                }
            }
            None => sql.push_str("RESET ALL;"),
        }
        let made = from.map(SessionSettings::placeholders);
        if made.is_none_or(|made| !made.hold(&self.placeholders)) {
            let missing = |name: &&str| made.is_none_or(|made| !made.has(name)) && !self.values.contains_key(*name);
            self.placeholders.iter().filter(missing).for_each(|name| sql.push_str(&make(name)));
        }
        let mut of_others: BTreeMap<&Roles, String> = BTreeMap::new();
        let is_set = |name: &str, value: &str| from.is_some_and(|from| from.get(name) == Some(value));
        for (name, Setting { value, by }) in self.values.iter().filter(|(name, _)| !ROLES.contains(&name.as_ref())) {
            if !is_set(name, value) {
                let sql = by.as_deref().map_or(&mut sql, |by| of_others.entry(by).or_default());
                let _ = write!(sql, "{};", assign(name, value));
            }
        }
        let roles = self.roles();
        let last = roles.as_deref().and_then(|roles| of_others.remove(roles));
        for (by, settings) in of_others {
            by.take_on(&mut sql);
            sql.push_str(&settings);
            sql.push_str(LEAVE_ROLES);
        }
        if let Some(roles) = roles {
            roles.take_on(&mut sql);
        }
        sql.push_str(&last.unwrap_or_default());
        (!sql.is_empty()).then_some(sql)
    }
}

/// Makes a custom setting, empty, where there is none.
fn make(name: &str) -> String {
    let name = quote_literal(name);
    format!(
        "SELECT WHERE CASE WHEN pg_catalog.current_setting({name}, true) IS NULL \
         THEN pg_catalog.set_config({name}, '', false) IS NULL END;"
    )
}

/// The settings that say who the user is. The first ends the second.
pub const ROLES: [&str; 2] = ["session_authorization", "role"];

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
    #![allow(clippy::unwrap_used)]
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
    fn custom_settings_stay_when_they_have_no_value() {
        let set = settings(&[("app.a", "'x'")]);
        let mut reset = set.clone();
        reset.remove("app.a");
        assert!(reset.iter().next().is_none() && !reset.is_empty());
        assert_eq!(reset.statements_from(Some(&set)).as_deref(), Some("RESET \"app\".\"a\";"));
        let made = reset.statements_from(Some(&SessionSettings::default())).unwrap();
        assert!(made.contains("set_config('app.a', '', false)"), "{made}");
        // A connection that has more than is asked for is not for this session, which somebody else sees to.
        assert_eq!(SessionSettings::default().statements_from(Some(&reset)), None);
        assert_eq!(SessionSettings::default().with(reset.placeholders()), reset);
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
        let meaning = |pair: (&str, &str)| settings(&[pair]).meaning(&Defaults::default());
        let none = SessionSettings::default().meaning(&Defaults::default());
        for (name, value) in
            [("enable_seqscan", "off"), ("app.tenant", "'5'"), ("search_path", "other"), ("jit", "off")]
        {
            assert_eq!(meaning((name, value)), none, "{name}");
        }
        for (name, value) in [("datestyle", "'German'"), ("timezone", "'Asia/Tokyo'"), ("role", "app")] {
            assert_ne!(meaning((name, value)), none, "{name}");
        }
    }

    #[test]
    fn roles_are_left_first_and_taken_on_last() {
        let none = SessionSettings::default();
        let first = settings(&[("log_min_duration_statement", "5"), ("role", "app"), ("session_authorization", "ann")]);
        let to_first = "SET log_min_duration_statement TO 5;SET SESSION AUTHORIZATION ann;SET ROLE app;";
        assert_eq!(first.statements_from(Some(&none)).as_deref(), Some(to_first));
        let back = "RESET SESSION AUTHORIZATION;RESET ROLE;RESET log_min_duration_statement;";
        assert_eq!(none.statements_from(Some(&first)).as_deref(), Some(back));
        let second = settings(&[("role", "app"), ("session_authorization", "ann"), ("jit", "off")]);
        let sql = format!("{back}SET jit TO off;SET SESSION AUTHORIZATION ann;SET ROLE app;");
        assert_eq!(second.statements_from(Some(&first)), Some(sql));
    }

    #[test]
    fn what_another_user_has_set_that_one_sets_again() {
        let mut set = settings(&[("jit", "off"), ("role", "boss")]);
        set.set_by("log_min_duration_statement", "5", set.roles());
        let none = SessionSettings::default();
        let own = "SET jit TO off;SET ROLE boss;SET log_min_duration_statement TO 5;";
        assert_eq!(set.statements_from(Some(&none)).as_deref(), Some(own));
        set.set("role", "app");
        let other = "SET jit TO off;SET ROLE boss;SET log_min_duration_statement TO 5;\
                     RESET SESSION AUTHORIZATION;RESET ROLE;SET ROLE app;";
        assert_eq!(set.statements_from(Some(&none)).as_deref(), Some(other));
        assert!(set.has_of_others() && !none.has_of_others());
    }

    #[test]
    fn an_unknown_connection_is_reset_first() {
        let to = settings(&[("role", "app")]);
        let sql = to.statements_from(None);
        assert_eq!(sql.as_deref(), Some("RESET SESSION AUTHORIZATION;RESET ROLE;RESET ALL;SET ROLE app;"));
    }
}

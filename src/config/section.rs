//! Reads tables into structs and keeps going: every unknown key, wrong value and missing key is reported with its line.
//!
//! A section is declared once, with `section!`: its keys, their types, defaults and comments. The reader, the reference in
//! docs/CONFIG.md and config/pgloom.toml all come from that declaration.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::config::error::{ConfigError, Origin, nearest};
use crate::config::tree::{Kind, Malformed, Member, Value};
use crate::config::units::{Kinds, Scalar};

/// A value and where it comes from.
#[derive(Clone, Debug)]
pub struct Setting<T> {
    pub value: T,
    pub origin: Origin,
}

/// One key of a section, for the reference.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    pub name: &'static str,
    pub takes: &'static str,
    pub need: Need,
    /// Never to be shown.
    pub secret: bool,
    pub doc: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    Required,
    Optional,
    /// The default, as an environment variable would say it.
    Default(&'static str),
}

/// A table with a fixed set of keys.
pub trait Section: Sized {
    const KEYS: &'static [Key];
    /// Whether environment variables `PGLOOM_<KEY>` go before the file.
    const ENVIRONMENT: bool;
    fn from_fields(fields: &Fields<'_>, reader: &mut Reader) -> Option<Self>;
}

/// Something that a value can be read as. `None` means that an error was reported.
pub trait FromTree: Sized {
    const TAKES: &'static str;
    const SECRET: bool = false;
    fn from_tree(value: &Value<'_>, key: &str, reader: &mut Reader) -> Option<Self>;
    /// From a default or an environment variable.
    fn from_text(text: &str) -> Result<Self, String>;
}

/// The state of one reading: where lines begin, which section is being read, and what was found wrong.
pub struct Reader {
    pub file: Arc<str>,
    line_starts: Vec<usize>,
    environment: HashMap<String, String>,
    /// What the console has said of settings, by key; it goes before the environment.
    console: HashMap<String, String>,
    /// What was said, in the file or the environment, of keys that environment variables can set.
    pub said: Vec<(&'static str, String)>,
    section: String,
    /// Whether the value that is read next is a member of an array.
    in_array: bool,
    pub errors: Vec<ConfigError>,
}

/// A table's values by key, checked against the section's keys.
pub struct Fields<'a> {
    pub origin: Origin,
    /// Few enough that they are looked through.
    values: Vec<(&'a str, &'a Value<'a>)>,
    environment: bool,
}

impl Fields<'_> {
    pub fn value(&self, key: &str) -> Option<&Value<'_>> {
        self.values.iter().find(|(name, _)| *name == key).map(|(_, value)| *value)
    }
}

impl Reader {
    pub fn new(file: &str, text: &str, environment: HashMap<String, String>) -> Self {
        Self::with_console(file, text, environment, HashMap::new())
    }

    pub fn with_console(
        file: &str,
        text: &str,
        environment: HashMap<String, String>,
        console: HashMap<String, String>,
    ) -> Self {
        let line_starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self {
            file: file.into(),
            line_starts,
            environment,
            console,
            said: Vec::new(),
            section: String::new(),
            in_array: false,
            errors: Vec::new(),
        }
    }

    pub fn line(&self, offset: usize) -> Origin {
        Origin::Line(self.line_starts.partition_point(|start| *start <= offset) as u32)
    }

    pub fn fail(&mut self, origin: Origin, message: impl Into<String>) {
        self.errors.push(ConfigError { file: Arc::clone(&self.file), origin, message: message.into() });
    }

    /// Reads with `section` as the name that errors show, such as `[general]`.
    pub fn within<T>(&mut self, section: String, read: impl FnOnce(&mut Self) -> T) -> T {
        let outer = (std::mem::replace(&mut self.section, section), std::mem::take(&mut self.in_array));
        let result = read(self);
        (self.section, self.in_array) = outer;
        result
    }

    /// `key` in the section that is being read, for messages.
    pub fn place(&self, key: &str) -> String {
        match self.section.as_str() {
            "" => format!("`{key}` at the top of the file"),
            section => format!("`{key}` in {section}"),
        }
    }

    /// The name of a table (or member of an array of tables) `key` inside the section that is being read.
    pub fn inner(&self, key: &str) -> String {
        let path = self.section.trim_start_matches('[').trim_end_matches(']');
        let path = if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
        if self.in_array { format!("[[{path}]]") } else { format!("[{path}]") }
    }

    pub fn malformed(&mut self, malformed: Malformed) {
        let origin = malformed.at.map_or(Origin::Default, |at| self.line(at));
        self.fail(origin, malformed.message);
    }

    /// The values of a table, after its unknown keys were reported.
    pub fn fields<'a, S: Section>(&mut self, table: &'a [Member<'a>], origin: Origin) -> Fields<'a> {
        self.fields_among(table, origin, S::ENVIRONMENT, &[S::KEYS])
    }

    /// The same of a table that several sections share.
    pub fn fields_among<'a>(
        &mut self,
        table: &'a [Member<'a>],
        origin: Origin,
        environment: bool,
        keys: &[&[Key]],
    ) -> Fields<'a> {
        let mut values: Vec<(&str, &Value<'_>)> = Vec::with_capacity(table.len());
        for Member { name, at, value } in table {
            let name: &str = name;
            if !keys.iter().copied().flatten().any(|known| known.name == name) {
                let remedy = remedy(name, &keys.concat());
                self.fail(self.line(*at), format!("unknown key {}{remedy}", self.place(name)));
            } else if values.iter().any(|(other, _)| *other == name) {
                self.fail(self.line(*at), format!("{} is given twice; keep one", self.place(name)));
            } else {
                values.push((name, value));
            }
        }
        Fields { origin, values, environment }
    }

    pub fn wrong_kind(&mut self, value: &Value<'_>, key: &str, expected: &str) {
        let found = match &value.kind {
            Kind::Text(_) => "a text",
            Kind::Integer(_) => "a whole number",
            Kind::Float(_) => "a number",
            Kind::Boolean(_) => "true or false",
            Kind::Moment(_) => "a date",
            Kind::Null => "null, which is no value",
            Kind::List(_) => "a list",
            Kind::Table(_) => "a table",
        };
        self.fail(self.line(value.at), format!("{} is {found}; {expected}", self.place(key)));
    }

    /// The value of `key` from the console, the environment or the file; `Ok(None)`: neither has it; `Err`: reported.
    fn given<T: FromTree>(&mut self, fields: &Fields<'_>, key: &'static str) -> Result<Option<Setting<T>>, ()> {
        if fields.environment {
            let name = format!("PGLOOM_{}", key.to_ascii_uppercase());
            let console = self.console.get(key).map(|text| (Origin::Console(key.to_owned()), text));
            let said = console.or_else(|| self.environment.get(&name).map(|text| (Origin::Environment(name), text)));
            if let Some((origin, text)) = said {
                let parsed = T::from_text(text);
                self.said.push((key, text.clone()));
                return match parsed {
                    Ok(value) => Ok(Some(Setting { value, origin })),
                    Err(expected) => {
                        self.fail(origin, expected);
                        Err(())
                    }
                };
            }
        }
        let Some(value) = fields.value(key) else { return Ok(None) };
        let origin = self.line(value.at);
        if fields.environment {
            self.said.push((key, written(value)));
        }
        T::from_tree(value, key, self).map(|value| Some(Setting { value, origin })).ok_or(())
    }

    pub fn required<T: FromTree>(&mut self, fields: &Fields<'_>, key: &'static str) -> Option<Setting<T>> {
        let given = self.given(fields, key).ok()?;
        if given.is_none() {
            self.fail(fields.origin.clone(), format!("{} is missing; add {key} = {}", self.place(key), T::TAKES));
        }
        given
    }

    pub fn optional<T: FromTree>(&mut self, fields: &Fields<'_>, key: &'static str) -> Option<Option<Setting<T>>> {
        self.given(fields, key).ok()
    }

    pub fn or_default<T: FromTree>(
        &mut self,
        fields: &Fields<'_>,
        key: &'static str,
        default: &str,
    ) -> Option<Setting<T>> {
        let given = self.given(fields, key).ok()?;
        given.or_else(|| {
            let value =
                T::from_text(default).map_err(|e| self.fail(Origin::Default, format!("default of {key}: {e}"))).ok()?;
            Some(Setting { value, origin: Origin::Default })
        })
    }
}

impl<T: Scalar> FromTree for T {
    const TAKES: &'static str = <T as Scalar>::TAKES;
    const SECRET: bool = <T as Scalar>::SECRET;

    fn from_tree(value: &Value<'_>, key: &str, reader: &mut Reader) -> Option<Self> {
        let Kinds { string, integer, float, boolean } = T::KINDS;
        let text: Cow<'_, str> = match &value.kind {
            Kind::Text(text) if string => Cow::Borrowed(text),
            Kind::Integer(number) if integer => Cow::Borrowed(number),
            Kind::Float(number) if float => Cow::Borrowed(number),
            Kind::Boolean(word) if boolean => word.to_string().into(),
            Kind::Moment(moment) if float && string && boolean => Cow::Borrowed(moment),
            _ => {
                let expected = match (string, integer) {
                    (true, true) => format!("write a {}", T::TAKES),
                    (true, false) => format!("write it in quotes ({})", T::TAKES),
                    (false, true) => format!("write a {} without quotes", T::TAKES),
                    (false, false) => "write true or false, without quotes".to_owned(),
                };
                reader.wrong_kind(value, key, &expected);
                return None;
            }
        };
        match T::parse(&text) {
            Ok(parsed) => Some(parsed),
            Err(expected) => {
                let message = format!("{} has the wrong value `{text}`: {expected}", reader.place(key));
                reader.fail(reader.line(value.at), message);
                None
            }
        }
    }

    fn from_text(text: &str) -> Result<Self, String> {
        T::parse(text).map_err(|expected| format!("wrong value `{text}`: {expected}"))
    }
}

impl<T: FromTree> FromTree for Vec<T> {
    const TAKES: &'static str = "list";

    /// A list, or one value by itself.
    fn from_tree(value: &Value<'_>, key: &str, reader: &mut Reader) -> Option<Self> {
        let Kind::List(members) = &value.kind else {
            return T::from_tree(value, key, reader).map(|member| vec![member]);
        };
        // Every member is read before the first failure is acted on.
        let mut read = Vec::with_capacity(members.len());
        for member in members {
            reader.in_array = true;
            read.push(T::from_tree(member, key, reader));
        }
        reader.in_array = false;
        read.into_iter().collect()
    }

    /// Members between commas.
    fn from_text(text: &str) -> Result<Self, String> {
        text.split(',').map(str::trim).filter(|member| !member.is_empty()).map(T::from_text).collect()
    }
}

/// A table whose keys are free names, in the order of the file.
#[derive(Clone, Debug)]
pub struct Named<T>(pub Vec<(String, Setting<T>)>);

impl<T: FromTree> FromTree for Named<T> {
    const TAKES: &'static str = "table of names";

    fn from_tree(value: &Value<'_>, key: &str, reader: &mut Reader) -> Option<Self> {
        let Kind::Table(members) = &value.kind else {
            reader.wrong_kind(value, key, "write a table of names");
            return None;
        };
        let section = reader.inner(key);
        let read = reader.within(section, |reader| {
            let mut seen = HashSet::new();
            let read = members.iter().map(|Member { name, at, value }| {
                let (origin, name) = (reader.line(*at), name.to_string());
                if !seen.insert(name.clone()) {
                    reader.fail(origin, format!("{} is given twice; keep one", reader.place(&name)));
                    return None;
                }
                let value = T::from_tree(value, &name, reader)?;
                Some((name, Setting { value, origin }))
            });
            read.collect::<Vec<_>>()
        });
        read.into_iter().collect::<Option<Vec<_>>>().map(Self)
    }

    /// `name=value` between commas.
    fn from_text(text: &str) -> Result<Self, String> {
        let members = text.split(',').map(str::trim).filter(|member| !member.is_empty());
        let read = members.map(|member| {
            let (name, value) = member.split_once('=').ok_or_else(|| format!("expected name=value, not `{member}`"))?;
            Ok((name.trim().to_owned(), Setting { value: T::from_text(value.trim())?, origin: Origin::Default }))
        });
        read.collect::<Result<Vec<_>, String>>().map(Self)
    }
}

/// What to write instead of the unknown key `name`.
fn remedy(name: &str, keys: &[Key]) -> String {
    /// What other poolers call it, and what it is called here.
    const NAMES: &[(&str, &str)] = &[
        ("listen_addr", "host"),
        ("listen_port", "port"),
        ("pool_size", "default_pool_size"),
        ("default_pool_size", "pool_size"),
        ("checkout_timeout", "query_wait_timeout"),
        ("connect_timeout", "server_connect_timeout"),
        ("idle_timeout", "server_idle_timeout"),
        ("idle_client_in_transaction_timeout", "idle_transaction_timeout"),
        ("max_connections", "max_client_conn"),
        ("prepared_statements_limit", "max_prepared_statements"),
        ("prepared_statements_cache_size", "max_prepared_statements"),
        ("prometheus_exporter_port", "metrics_listen"),
        ("openmetrics_port", "metrics_listen"),
        ("metric_port", "metrics_listen"),
        ("tls_certificate", "client_tls_cert_file"),
        ("tls_private_key", "client_tls_key_file"),
        ("tls_verify", "server_tls_sslmode"),
        ("tls_server_ca_certificate", "server_tls_ca_file"),
        ("worker_threads", "workers"),
        ("database_name", "dbname"),
        ("column", "columns"),
        ("key_type", "key_types"),
        ("data_type", "key_types"),
        ("hasher", "method"),
        ("vnodes", "virtual_nodes"),
        ("default", "default_shard"),
        ("default_schema", "home_shard"),
        ("primary_shard", "home_shard"),
    ];
    let foreign = || NAMES.iter().filter(|(_, ours)| keys.iter().any(|key| key.name == *ours));
    let Some(meant) = nearest(name, keys.iter().map(|key| key.name).chain(foreign().map(|(theirs, _)| *theirs))) else {
        return String::new();
    };
    match foreign().find(|(theirs, _)| *theirs == meant) {
        Some((theirs, ours)) => format!("; `{theirs}` is called `{ours}` here"),
        None => format!("; did you mean `{meant}`?"),
    }
}

/// Declares a section: `key: Type = required`, `= optional` or `= "default"`.
macro_rules! section {
    (
        $(#[doc = $section_doc:literal])*
        pub struct $name:ident, environment $environment:literal {
            $( $(#[doc = $doc:literal])* $key:ident: $ty:ty = $need:tt, )*
        }
    ) => {
        $(#[doc = $section_doc])*
        #[derive(Clone, Debug)]
        pub struct $name {
            pub origin: Origin,
            $( $(#[doc = $doc])* pub $key: section!(@field $need $ty), )*
        }

        impl Section for $name {
            const KEYS: &'static [Key] = &[$(Key {
                name: stringify!($key),
                takes: <$ty as FromTree>::TAKES,
                need: section!(@need $need),
                secret: <$ty as FromTree>::SECRET,
                doc: concat!($($doc),*),
            },)*];
            const ENVIRONMENT: bool = $environment;

            fn from_fields(fields: &Fields<'_>, reader: &mut Reader) -> Option<Self> {
                // All are read before the first failure is acted on.
                $( let $key = section!(@read $need, reader, fields, stringify!($key)); )*
                Some(Self { origin: fields.origin.clone(), $( $key: $key?, )* })
            }
        }

        impl FromTree for $name {
            const TAKES: &'static str = "table";

            fn from_tree(value: &$crate::config::tree::Value<'_>, key: &str, reader: &mut Reader) -> Option<Self> {
                let $crate::config::tree::Kind::Table(table) = &value.kind else {
                    reader.wrong_kind(value, key, "write a table");
                    return None;
                };
                let origin = reader.line(value.at);
                reader.within(reader.inner(key), |reader| {
                    let fields = reader.fields::<Self>(table, origin);
                    Self::from_fields(&fields, reader)
                })
            }

            fn from_text(_: &str) -> Result<Self, String> {
                Err("a table cannot be written as one text".to_owned())
            }
        }
    };
    (@field required $ty:ty) => { Setting<$ty> };
    (@field optional $ty:ty) => { Option<Setting<$ty>> };
    (@field $default:literal $ty:ty) => { Setting<$ty> };
    (@need required) => { Need::Required };
    (@need optional) => { Need::Optional };
    (@need $default:literal) => { Need::Default($default) };
    (@read required, $reader:ident, $fields:ident, $key:expr) => { $reader.required($fields, $key) };
    (@read optional, $reader:ident, $fields:ident, $key:expr) => { $reader.optional($fields, $key) };
    (@read $default:literal, $reader:ident, $fields:ident, $key:expr) => { $reader.or_default($fields, $key, $default) };
}

pub(super) use section;

/// A value as an environment variable would say it.
fn written(value: &Value<'_>) -> String {
    match &value.kind {
        Kind::Text(text) | Kind::Integer(text) | Kind::Float(text) => text.to_string(),
        Kind::Boolean(is) => is.to_string(),
        Kind::Moment(text) => text.clone(),
        Kind::List(members) => members.iter().map(written).collect::<Vec<_>>().join(", "),
        Kind::Null | Kind::Table(_) => String::new(),
    }
}

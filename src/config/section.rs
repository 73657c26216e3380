//! Reads TOML tables into structs and keeps going: every unknown key, wrong value and missing key is reported with its line.
//!
//! A section is declared once, with `section!`: its keys, their types, defaults and comments. The reader, the reference in
//! docs/CONFIG.md and config/pgloom.toml all come from that declaration.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::config::error::{ConfigError, Origin, nearest};
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
    fn from_fields(fields: &Fields<'_, '_>, reader: &mut Reader) -> Option<Self>;
}

/// Something that a TOML value can be read as. `None` means that an error was reported.
pub trait FromToml: Sized {
    const TAKES: &'static str;
    const SECRET: bool = false;
    fn from_toml(value: &Spanned<DeValue<'_>>, key: &str, reader: &mut Reader) -> Option<Self>;
    /// From a default or an environment variable.
    fn from_text(text: &str) -> Result<Self, String>;
}

/// The state of one reading: where lines begin, which section is being read, and what was found wrong.
pub struct Reader {
    pub file: Arc<str>,
    text: String,
    line_starts: Vec<usize>,
    environment: HashMap<String, String>,
    /// What was said, in the file or the environment, of keys that environment variables can set.
    pub said: Vec<(&'static str, String)>,
    section: String,
    /// Whether the value that is read next is a member of an array.
    in_array: bool,
    pub errors: Vec<ConfigError>,
}

/// A table's values by key, checked against the section's keys.
pub struct Fields<'a, 'toml> {
    pub origin: Origin,
    values: BTreeMap<&'a str, &'a Spanned<DeValue<'toml>>>,
    environment: bool,
}

impl Reader {
    pub fn new(file: &str, text: &str, environment: HashMap<String, String>) -> Self {
        let line_starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self {
            file: file.into(),
            text: text.to_owned(),
            line_starts,
            environment,
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

    /// The values of a table, after its unknown keys were reported.
    pub fn fields<'a, 'toml, S: Section>(&mut self, table: &'a DeTable<'toml>, origin: Origin) -> Fields<'a, 'toml> {
        let mut values = BTreeMap::new();
        for (key, value) in table {
            let name: &str = key.get_ref();
            if S::KEYS.iter().any(|known| known.name == name) {
                values.insert(name, value);
                continue;
            }
            let remedy = remedy(name, S::KEYS);
            self.fail(self.line(key.span().start), format!("unknown key {}{remedy}", self.place(name)));
        }
        Fields { origin, values, environment: S::ENVIRONMENT }
    }

    pub fn wrong_kind(&mut self, value: &Spanned<DeValue<'_>>, key: &str, expected: &str) {
        let found = match value.get_ref() {
            DeValue::String(_) => "a text",
            DeValue::Integer(_) => "a whole number",
            DeValue::Float(_) => "a number",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        self.fail(self.line(value.span().start), format!("{} is {found}; {expected}", self.place(key)));
    }

    /// The value of `key` from the environment or the file; `Ok(None)`: neither has it; `Err`: reported.
    fn given<T: FromToml>(&mut self, fields: &Fields<'_, '_>, key: &'static str) -> Result<Option<Setting<T>>, ()> {
        if fields.environment {
            let name = format!("PGLOOM_{}", key.to_ascii_uppercase());
            if let Some(text) = self.environment.get(&name) {
                let (origin, parsed) = (Origin::Environment(name), T::from_text(text));
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
        let Some(value) = fields.values.get(key) else { return Ok(None) };
        let origin = self.line(value.span().start);
        if fields.environment {
            let written = self.written(value);
            self.said.push((key, written));
        }
        T::from_toml(value, key, self).map(|value| Some(Setting { value, origin })).ok_or(())
    }

    /// A value as an environment variable would say it.
    fn written(&self, value: &Spanned<DeValue<'_>>) -> String {
        match value.get_ref() {
            DeValue::String(text) => text.to_string(),
            DeValue::Array(members) => members.iter().map(|member| self.written(member)).collect::<Vec<_>>().join(", "),
            DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Table(_) => self.text.get(value.span()).unwrap_or_default().to_owned(),
        }
    }

    pub fn required<T: FromToml>(&mut self, fields: &Fields<'_, '_>, key: &'static str) -> Option<Setting<T>> {
        let given = self.given(fields, key).ok()?;
        if given.is_none() {
            self.fail(fields.origin.clone(), format!("{} is missing; add {key} = {}", self.place(key), T::TAKES));
        }
        given
    }

    pub fn optional<T: FromToml>(&mut self, fields: &Fields<'_, '_>, key: &'static str) -> Option<Option<Setting<T>>> {
        self.given(fields, key).ok()
    }

    pub fn or_default<T: FromToml>(
        &mut self,
        fields: &Fields<'_, '_>,
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

impl<T: Scalar> FromToml for T {
    const TAKES: &'static str = <T as Scalar>::TAKES;
    const SECRET: bool = <T as Scalar>::SECRET;

    fn from_toml(value: &Spanned<DeValue<'_>>, key: &str, reader: &mut Reader) -> Option<Self> {
        let Kinds { string, integer, float, boolean } = T::KINDS;
        let text = match value.get_ref() {
            DeValue::String(text) if string => text.to_string(),
            DeValue::Integer(number) if integer && number.radix() == 10 => number.as_str().to_owned(),
            DeValue::Integer(number) if integer => match u64::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => number.to_string(),
                Err(_) => number.to_string(),
            },
            DeValue::Float(number) if float => number.as_str().to_owned(),
            DeValue::Boolean(word) if boolean => word.to_string(),
            DeValue::Datetime(moment) if float && string && boolean => moment.to_string(),
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
                reader.fail(reader.line(value.span().start), message);
                None
            }
        }
    }

    fn from_text(text: &str) -> Result<Self, String> {
        T::parse(text).map_err(|expected| format!("wrong value `{text}`: {expected}"))
    }
}

impl<T: FromToml> FromToml for Vec<T> {
    const TAKES: &'static str = "list";

    /// A list, or one value by itself.
    fn from_toml(value: &Spanned<DeValue<'_>>, key: &str, reader: &mut Reader) -> Option<Self> {
        let DeValue::Array(members) = value.get_ref() else {
            return T::from_toml(value, key, reader).map(|member| vec![member]);
        };
        // Every member is read before the first failure is acted on.
        let mut read = Vec::new();
        for member in members {
            reader.in_array = true;
            read.push(T::from_toml(member, key, reader));
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

impl<T: FromToml> FromToml for Named<T> {
    const TAKES: &'static str = "table of names";

    fn from_toml(value: &Spanned<DeValue<'_>>, key: &str, reader: &mut Reader) -> Option<Self> {
        let DeValue::Table(table) = value.get_ref() else {
            reader.wrong_kind(value, key, "write a table of names");
            return None;
        };
        let mut members: Vec<_> = table.iter().collect();
        members.sort_by_key(|(name, _)| name.span().start);
        let section = reader.inner(key);
        let read = reader.within(section, |reader| {
            let read = members.into_iter().map(|(name, value)| {
                let (origin, name) = (reader.line(name.span().start), name.get_ref().to_string());
                let value = T::from_toml(value, &name, reader)?;
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
                takes: <$ty as FromToml>::TAKES,
                need: section!(@need $need),
                secret: <$ty as FromToml>::SECRET,
                doc: concat!($($doc),*),
            },)*];
            const ENVIRONMENT: bool = $environment;

            fn from_fields(fields: &Fields<'_, '_>, reader: &mut Reader) -> Option<Self> {
                // All are read before the first failure is acted on.
                $( let $key = section!(@read $need, reader, fields, stringify!($key)); )*
                Some(Self { origin: fields.origin.clone(), $( $key: $key?, )* })
            }
        }

        impl FromToml for $name {
            const TAKES: &'static str = "table";

            fn from_toml(value: &Spanned<DeValue<'_>>, key: &str, reader: &mut Reader) -> Option<Self> {
                let DeValue::Table(table) = value.get_ref() else {
                    reader.wrong_kind(value, key, "write a table");
                    return None;
                };
                let origin = reader.line(value.span().start);
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

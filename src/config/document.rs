//! `Document`: the shard map as all routers share it, one JSON text. Its databases are declared and checked as those of pgloom.toml.
//!
//! docs/TOPOLOGY.md describes the format. A document that was stored is never changed: a change is another one, of the next epoch.

use std::sync::Arc;

use serde_json::value::RawValue;

use crate::config::build;
use crate::config::error::{ConfigError, ConfigErrors, Origin};
use crate::config::file::Placement;
use crate::config::section::Section;
use crate::config::tree::{Kind, Member, Value};
use crate::topology::{Topology, UniqueRule};

/// The version of the format that this program reads and writes.
pub const FORMAT: u32 = 1;

/// A valid document.
#[derive(Clone, Debug)]
pub struct Document {
    /// What messages call it.
    pub source: Arc<str>,
    /// Always there in one that was stored.
    pub epoch: Option<u64>,
    pub changed_at: Arc<str>,
    pub changed_by: Arc<str>,
    pub reason: Arc<str>,
    pub databases: Vec<Placed>,
    pub warnings: Vec<ConfigError>,
}

/// Where the rows of one logical database lie.
#[derive(Clone, Debug)]
pub struct Placed {
    pub name: Arc<str>,
    pub topology: Arc<Topology>,
    pub uniques: Vec<UniqueRule>,
}

/// What is written into a document beside its databases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub epoch: u64,
    /// RFC 3339, in UTC.
    pub at: String,
    pub by: String,
    pub reason: String,
}

impl Document {
    /// # Errors
    /// All that is wrong with it, with its lines. `source` is what messages call it.
    pub fn parse(source: &str, text: &str) -> Result<Self, ConfigErrors> {
        build::document(source, text)
    }

    /// What it says of itself.
    pub fn head(&self) -> Head {
        let Self { epoch, changed_at, changed_by, reason, .. } = self;
        let words = [changed_at, changed_by, reason].map(|words| words.to_string());
        let [changed_at, changed_by, reason] = words;
        Head { epoch: *epoch, changed_at, changed_by, reason }
    }

    pub fn placed(&self, database: &str) -> Option<&Placed> {
        self.databases.iter().find(|placed| &*placed.name == database)
    }
}

/// The text of a document as it is stored: the databases of `text`, letter by letter, under the head of this change. `None`: `text`
/// is no document.
pub fn stamped(text: &str, change: &Change) -> Option<String> {
    databases_of(text).map(|databases| with_head(change, databases))
}

/// What a document says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(default)]
pub struct Head {
    pub epoch: Option<u64>,
    pub changed_at: String,
    pub changed_by: String,
    pub reason: String,
}

/// `None`: it is no document.
pub fn head_of(text: &str) -> Option<Head> {
    databases_of(text)?;
    serde_json::from_str(text).ok()
}

/// The databases of a document, letter by letter, by which two maps are told from each other.
pub fn databases_of(text: &str) -> Option<&str> {
    #[derive(serde::Deserialize)]
    struct Body<'a> {
        #[serde(borrow)]
        databases: &'a RawValue,
    }
    serde_json::from_str::<Body<'_>>(text).ok().map(|body| body.databases.get())
}

/// Whether two documents place the same databases in the same way, however that is written.
///
/// # Errors
/// All that is wrong with one of them.
pub fn places_alike(one: &str, other: &str) -> Result<bool, ConfigErrors> {
    let read = |text: &str| {
        // Epochs are another matter.
        let databases = databases_of(text).unwrap_or("{}");
        Document::parse("the map", &format!("{{\"format\": {FORMAT}, \"databases\": {databases}}}"))
    };
    let (one, other) = (read(one)?, read(other)?);
    let is_there = |placed: &Placed| {
        let same = |other: &Placed| other.topology == placed.topology && other.uniques == placed.uniques;
        other.placed(&placed.name).is_some_and(same)
    };
    Ok(one.databases.len() == other.databases.len() && one.databases.iter().all(is_there))
}

/// The databases of a configuration file as a document without epoch, with all that says where rows lie.
///
/// # Errors
/// It is not TOML, or has no databases.
pub fn from_config(file: &str, text: &str) -> Result<String, ConfigErrors> {
    let fail = |origin, message: &str| {
        ConfigErrors(vec![ConfigError { file: file.into(), origin, message: message.to_owned() }])
    };
    let tree = Value::from_toml(text).map_err(|errors| {
        let first = errors.first().map_or("not TOML", |error| &error.message);
        fail(Origin::Default, first)
    })?;
    let none = || fail(Origin::Default, "it has no [databases.NAME]");
    let databases = members_of(&tree).iter().find(|member| member.name == "databases").ok_or_else(none)?;
    let placements = members_of(&databases.value).iter().map(|database| {
        let keys = members_of(&database.value).iter();
        let keys = keys.filter(|member| Placement::KEYS.iter().any(|key| key.name == member.name)).cloned();
        let value = Value { at: database.at, kind: Kind::Table(keys.collect()) };
        Member { name: database.name.clone(), at: database.at, value }
    });
    let placements = placements.collect();
    let mut written = String::new();
    Value { at: 0, kind: Kind::Table(placements) }.write_json(&mut written, 1);
    Ok(format!("{{\n  \"format\": {FORMAT},\n  \"databases\": {written}\n}}\n"))
}

/// None of what is no table.
pub(super) fn members_of<'v, 'a>(value: &'v Value<'a>) -> &'v [Member<'a>] {
    match &value.kind {
        Kind::Table(members) => members,
        Kind::Text(_)
        | Kind::Integer(_)
        | Kind::Float(_)
        | Kind::Boolean(_)
        | Kind::Moment(_)
        | Kind::Null
        | Kind::List(_) => &[],
    }
}

/// A document with these databases, a JSON object.
pub fn with_head(change: &Change, databases: &str) -> String {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    format!(
        "{{\n  \"format\": {FORMAT},\n  \"epoch\": {},\n  \"changed_at\": {},\n  \"changed_by\": {},\n  \"reason\": {},\n  \
         \"databases\": {databases}\n}}\n",
        change.epoch,
        quoted(&change.at),
        quoted(&change.by),
        quoted(&change.reason)
    )
}

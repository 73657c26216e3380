//! Configuration files: any text is a valid configuration or a list of what is wrong in it, with lines that it has.

use std::collections::HashMap;
use std::path::Path;

use pgloom::config::document::from_config;
use pgloom::config::{ConfigErrors, Document, Draft, MapSettings, Settings};

use super::topology;

pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    // Files that the configuration names are opened: none of the machine's own.
    if ["/dev", "/proc", "/sys"].iter().any(|path| text.contains(path)) {
        return;
    }
    let directory = Path::new("/nonexistent");
    let draft = Draft::new("fuzz.toml", text, directory, HashMap::new());
    let read = draft.settings(None);
    // What is read first is read as it is read with all the rest.
    if let Ok(early) = draft.early() {
        assert_eq!(draft.map_source().ok(), Some(early.map.clone()));
        if let Ok(settings) = &read {
            assert_eq!((&settings.map, settings.log), (&early.map, early.log));
        }
    }
    match &read {
        Ok(settings) => valid(settings, text),
        Err(errors) => told(errors, text),
    }
    assert_eq!(Settings::parse("fuzz.toml", text, directory, HashMap::new()), read, "the same again");
}

/// Every error says something, and where.
pub fn told(errors: &ConfigErrors, text: &str) {
    assert!(!errors.0.is_empty());
    let lines = text.split('\n').count() as u32;
    for error in &errors.0 {
        assert!(!error.message.is_empty());
        if let pgloom::config::Origin::Line(line) = error.origin {
            assert!((1..=lines).contains(&line), "line {line} of {lines}: {error}");
        }
    }
    assert!(!errors.to_string().is_empty());
}

fn valid(settings: &Settings, text: &str) {
    assert!(!settings.listen.addresses.is_empty() && settings.listen.workers > 0);
    for database in &settings.databases {
        topology::places_keys(&database.topology);
        assert!(settings.database(&database.name).is_some());
        for user in &settings.users {
            assert!(user.pool(database).min_size <= user.pool(database).size.get());
        }
    }
    // `pgloom topology init` makes a document of it, by which the same router serves the same rows.
    if !matches!(settings.map, MapSettings::File { .. }) {
        return;
    }
    let document = from_config("fuzz.toml", text).expect("it has databases");
    let document = Document::parse("document", &document).unwrap_or_else(|e| panic!("{e}\n{document}"));
    let placed = settings.placed_by(&document).expect("all databases are placed");
    for (before, after) in settings.databases.iter().zip(&placed.databases) {
        let differences = pgloom::topology::diff::differences(&before.topology, &after.topology);
        assert!(differences.is_empty(), "{differences:?}");
        assert_eq!(before.uniques, after.uniques);
    }
}

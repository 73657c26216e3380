//! The reference that the sections declare about themselves, kept equal to config/pgloom.toml and docs/CONFIG.md by tests.
//! `UPDATE=1 cargo test reference` rewrites both.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::config::Settings;
use crate::config::file::{
    Combine, CombineServer, Database, Distribution, General, MapFrom, Placement, Range, Server, Shard, Table, Unique,
    User, Value,
};
use crate::config::section::{Key, Need, Section};

const SECTIONS: [(&str, &[Key]); 14] = [
    ("general", General::KEYS),
    ("combine", Combine::KEYS),
    ("combine servers", CombineServer::KEYS),
    ("topology", MapFrom::KEYS),
    ("users", User::KEYS),
    ("databases", Database::KEYS),
    ("placements", Placement::KEYS),
    ("shards", Shard::KEYS),
    ("servers", Server::KEYS),
    ("distributions", Distribution::KEYS),
    ("ranges", Range::KEYS),
    ("values", Value::KEYS),
    ("tables", Table::KEYS),
    ("uniques", Unique::KEYS),
];

/// The line of config/pgloom.toml above which all is generated.
const END_OF_DEFAULTS: &str = "# ---- users ";

fn repository(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(repository(path)).unwrap()
}

/// Writes `text` to the file when UPDATE is set; else the file must have it already.
#[track_caller]
fn assert_up_to_date(path: &str, text: &str) {
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(repository(path), text).unwrap();
    }
    assert!(read(path) == text, "{path} is not what src/config/file.rs declares; run UPDATE=1 cargo test reference");
}

fn comment(doc: &str) -> String {
    let mut lines = String::new();
    let mut line = "#".to_owned();
    for word in doc.split_whitespace() {
        if line.len() + 1 + word.len() > 110 {
            let _ = writeln!(lines, "{line}");
            line = "#".to_owned();
        }
        let _ = write!(line, " {word}");
    }
    lines + &line + "\n"
}

/// A default as TOML writes it.
fn toml_value(default: &str) -> String {
    let bare = matches!(default, "true" | "false") || default.parse::<u64>().is_ok();
    if bare { default.to_owned() } else { format!("\"{default}\"") }
}

fn settings_at_defaults() -> String {
    let mut text = "# Every setting of pgloom at its default. Copy what you change; config/examples/minimal.toml is all that one needs.\n\
                    # docs/CONFIG.md explains units, paths, environment variables and the placement of rows.\n"
        .to_owned();
    for (section, keys) in [("general", General::KEYS), ("combine", Combine::KEYS), ("topology", MapFrom::KEYS)] {
        let _ = writeln!(text, "\n[{section}]");
        for (at, key) in keys.iter().enumerate() {
            // What may be left out and has no default is shown where it is used.
            let Need::Default(default) = key.need else { continue };
            let space = if at > 0 { "\n" } else { "" };
            let value = if (key.takes, default) == ("list", "") { "[]".to_owned() } else { toml_value(default) };
            let _ = writeln!(text, "{space}{}{} = {value}", comment(key.doc), key.name);
        }
    }
    text + "\n"
}

fn table(keys: &[Key]) -> String {
    let mut text = "| key | value | default | meaning |\n|---|---|---|---|\n".to_owned();
    for key in keys {
        let default = match key.need {
            Need::Required => "required".to_owned(),
            Need::Optional => String::new(),
            Need::Default("") => "none".to_owned(),
            Need::Default(default) => format!("`{}`", toml_value(default)),
        };
        let _ = writeln!(text, "| `{}` | {} | {default} | {} |", key.name, key.takes, key.doc.trim());
    }
    text
}

#[test]
fn reference_file_shows_the_defaults() {
    let path = "config/pgloom.toml";
    let now = read(path);
    let rest = now.find(END_OF_DEFAULTS).map(|at| &now[at..]).unwrap();
    assert_up_to_date(path, &(settings_at_defaults() + rest));
}

/// What the file says and what is used when it says nothing are the same.
#[test]
fn reference_file_equals_the_defaults() {
    let text = read("config/pgloom.toml");
    let settings = |text: &str| Settings::parse("pgloom.toml", text, Path::new(""), Default::default()).unwrap();
    let users_and_databases = &text[text.find(END_OF_DEFAULTS).unwrap()..];
    let said = Settings { databases: vec![], ..settings(&text) };
    let unsaid = Settings { databases: vec![], ..settings(users_and_databases) };
    assert_eq!(format!("{said:#?}"), format!("{unsaid:#?}"));
}

#[test]
fn reference_file_names_every_key() {
    let text = read("config/pgloom.toml");
    let words: Vec<&str> = text.split(|c: char| !(c.is_alphanumeric() || c == '_')).collect();
    for (section, keys) in SECTIONS {
        for key in keys {
            assert!(words.contains(&key.name), "config/pgloom.toml does not show {} of {section}", key.name);
        }
    }
}

#[test]
fn reference_page_lists_every_key() {
    let path = "docs/CONFIG.md";
    let mut text = read(path);
    for (section, keys) in SECTIONS {
        let begin = format!("<!-- keys of {section} -->\n");
        let from = text.find(&begin).unwrap_or_else(|| panic!("{path} has no {begin}")) + begin.len();
        let to = from + text[from..].find("<!-- end -->").unwrap();
        text.replace_range(from..to, &table(keys));
    }
    assert_up_to_date(path, &text);
}

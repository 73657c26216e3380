//! docs/ADMIN.md is kept equal to what the console declares about itself. `UPDATE=1 cargo test admin::reference` rewrites it.

use std::fmt::Write as _;
use std::path::Path;

use super::command::help;
use super::rows::Kind;
use super::shows::SHOWS;

const PAGE: &str = "docs/ADMIN.md";

fn columns() -> String {
    let mut text = String::new();
    for show in SHOWS {
        let session = match show.in_sessions {
            true => format!(" In a session: `SHOW pgloom.{}`.", show.name.to_lowercase()),
            false => String::new(),
        };
        let _ = writeln!(
            text,
            "### SHOW {}\n\n{}{session}\n\n| column | type | meaning |\n|---|---|---|",
            show.name, show.doc
        );
        for field in show.fields {
            let kind = match field.kind {
                Kind::Text => "text",
                Kind::Int4 => "int4",
                Kind::Int8 => "int8",
                Kind::Numeric => "numeric",
            };
            let _ = writeln!(text, "| `{}` | {kind} | {} |", field.name, field.doc);
        }
        text.push('\n');
    }
    text
}

fn commands() -> String {
    let mut text = "| command | what it does |\n|---|---|\n".to_owned();
    for row in help() {
        let [command, access, help] = &row[..] else { panic!("three columns") };
        if access.as_deref() == Some("admin") {
            let _ = writeln!(text, "| `{}` | {} |", command.as_deref().unwrap(), help.as_deref().unwrap());
        }
    }
    text
}

#[test]
fn the_page_tells_every_column_and_command() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE);
    let now = std::fs::read_to_string(&path).unwrap();
    let mut text = now.clone();
    for (mark, part) in [("commands", commands()), ("shows", columns())] {
        let begin = format!("<!-- {mark} -->\n");
        let from = text.find(&begin).unwrap_or_else(|| panic!("{PAGE} has no {begin}")) + begin.len();
        let to = from + text[from..].find("<!-- end -->").unwrap();
        text.replace_range(from..to, &part);
    }
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let told = std::fs::read_to_string(&path).unwrap();
    assert!(told == text, "{PAGE} is not what src/admin declares; run UPDATE=1 cargo test admin::reference");
}

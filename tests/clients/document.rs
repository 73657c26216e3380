//! The snippets of docs/CLIENTS.md, which the tests run as they stand there: ```` ```LANGUAGE test NAME ````.

use std::fs;
use std::path::PathBuf;

use super::shop::{Shop, Side, root};

/// All that the document shows, by name: a snippet that no test runs must not stay.
pub fn names() -> Vec<String> {
    blocks().into_iter().map(|(name, _)| name).collect()
}

fn blocks() -> Vec<(String, String)> {
    let text = fs::read_to_string(root().join("docs/CLIENTS.md")).unwrap();
    let mut blocks = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some((_, name)) = line.strip_prefix("```").and_then(|marks| marks.split_once(" test ")) {
            let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            blocks.push((name.to_owned(), block.join("\n") + "\n"));
        }
    }
    blocks
}

/// The snippet as the document has it.
pub fn snippet(name: &str) -> String {
    let found = blocks().into_iter().find(|(known, _)| known == name);
    found.unwrap_or_else(|| panic!("docs/CLIENTS.md has no snippet {name}")).1
}

/// The snippet in a file of its own, in which port 6432 and database `shop` are those of this side.
pub fn file(shop: &Shop, side: &Side<'_>, name: &str, as_file: &str) -> PathBuf {
    let text = snippet(name);
    assert!(text.contains("6432") && text.contains("shop"), "{name} says to whom it connects:\n{text}");
    let text = text.replace("6432", &side.port.to_string()).replace("shop", side.database);
    let dir = shop.dir.join(side.name);
    fs::create_dir_all(&dir).unwrap();
    let path = dir.join(as_file);
    fs::write(&path, text).unwrap();
    path
}

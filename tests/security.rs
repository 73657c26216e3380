//! SECURITY.md names tests: they exist, and they are tests.

#![allow(clippy::unwrap_used)]

use std::path::Path;

/// File and name of each test that the text names: `file.rs: name`.
fn named(text: &str) -> Vec<(&str, &str)> {
    let quoted = text.split('`').skip(1).step_by(2);
    quoted.filter_map(|quoted| quoted.split_once(": ")).filter(|(file, _)| file.ends_with(".rs")).collect()
}

/// Whether the file has a test of this name.
fn has_test(file: &str, name: &str) -> bool {
    let lines: Vec<&str> = file.lines().map(str::trim).collect();
    let declared = |line: &str| {
        let rest = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ");
        rest.and_then(|rest| rest.strip_prefix(name)).is_some_and(|rest| rest.starts_with('('))
    };
    let marked = |line: &&str| line.starts_with("#[test]") || line.starts_with("#[tokio::test");
    // Between the mark and the name: comments and other attributes.
    let between = |line: &&&str| line.starts_with("#[") || line.starts_with("//");
    lines
        .iter()
        .enumerate()
        .any(|(at, line)| declared(line) && lines[..at].iter().rev().take_while(between).any(marked))
}

#[test]
fn every_test_that_security_md_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("SECURITY.md")).unwrap();
    let tests = named(&text);
    assert!(tests.len() >= 40, "only {} tests are named", tests.len());
    let mut wrong = Vec::new();
    for (file, name) in tests {
        match std::fs::read_to_string(root.join(file)) {
            Ok(code) if has_test(&code, name) => {}
            Ok(_) => wrong.push(format!("{file} has no test {name}")),
            Err(e) => wrong.push(format!("{file}: {e}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_defence_names_a_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("SECURITY.md")).unwrap();
    let table = text.split("| Attack | Defence | Tests |\n|---|---|---|\n").nth(1).unwrap();
    let rows: Vec<&str> = table.lines().take_while(|line| line.starts_with('|')).collect();
    assert!(rows.len() >= 20, "only {} rows", rows.len());
    for row in rows {
        assert!(!named(row).is_empty(), "{row}");
    }
}

#[test]
fn tests_are_told_from_other_functions() {
    let code =
        "#[test]\n/// Why.\nfn a() {}\nfn b() {}\n#[tokio::test]\nasync fn c() {}\n// fn d()\n#[test]\nfn ab() {}";
    for (name, is_test) in [("a", true), ("b", false), ("c", true), ("d", false), ("ab", true)] {
        assert_eq!(has_test(code, name), is_test, "{name}");
    }
}

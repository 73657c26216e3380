//! Who sees whom (docs/ARCHITECTURE.md): a module uses only those below it, one third-party crate has one door, and what is
//! called pure touches no socket, clock, file, task or process.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The modules of src/, bottom to top, each with those that it may use beside the base.
const LAYERS: &[(&str, &[&str])] = &[
    // The base: everything may use it. A member of it may use those before it.
    ("ids", &[]),
    ("fault", &[]),
    ("secret", &[]),
    ("scope", &[]),
    ("memory", &[]),
    ("metrics", &[]),
    ("traces", &[]),
    // Bytes in and out.
    ("net", &[]),
    ("tls", &["net"]),
    // What is decided, without touching anything.
    ("types", &[]),
    ("wire", &["types"]),
    ("catalog", &["types"]),
    ("topology", &["types"]),
    ("config", &["net", "types", "wire", "topology"]),
    ("sql", &["types", "catalog", "topology"]),
    ("copy", &["types", "wire", "sql"]),
    ("commit", &[]),
    ("plan", &["types", "catalog", "topology", "sql"]),
    ("merge", &["types", "wire", "plan"]),
    // What is done.
    ("backend", &["net", "tls", "types", "wire", "catalog", "topology", "config"]),
    // Never sql, plan, exec or session: the jobs in the background touch the data plane through the topology alone.
    ("control", &["net", "types", "wire", "catalog", "topology", "config", "commit", "backend"]),
    ("admin", &["types", "wire", "catalog", "topology", "config", "sql", "plan", "merge", "backend", "control"]),
    (
        "exec",
        &["net", "types", "wire", "catalog", "topology", "config", "sql", "copy", "commit", "plan", "merge", "backend"],
    ),
    (
        "session",
        &[
            "net", "types", "wire", "catalog", "topology", "config", "sql", "copy", "commit", "plan", "merge",
            "backend", "control", "admin", "exec",
        ],
    ),
    (
        "server",
        &[
            "net", "tls", "types", "wire", "topology", "config", "plan", "backend", "control", "admin", "exec",
            "session",
        ],
    ),
    // The only one that knows them all.
    (
        "app",
        &[
            "net", "tls", "types", "wire", "catalog", "topology", "config", "sql", "commit", "plan", "merge",
            "backend", "admin", "exec", "session", "server", "control",
        ],
    ),
    ("cli", &["types", "catalog", "topology", "config", "sql", "plan", "backend", "control", "app"]),
];

/// How many of `LAYERS` are the base.
const BASE: usize = 7;

/// Third-party crates with one door: where it is.
const DOORS: &[(&str, &[&str])] = &[
    ("base64", &["wire/"]),
    ("clap", &["cli/", "main.rs"]),
    ("etcd_client", &["control/etcd.rs", "control/etcd/"]),
    ("http_body_util", &["server/http.rs"]),
    ("hyper", &["server/http.rs"]),
    ("hyper_util", &["server/http.rs"]),
    ("indicatif", &["cli/demo/"]),
    ("murmur3", &["types/canonical.rs"]),
    ("opentelemetry", &["traces/export.rs"]),
    ("opentelemetry_otlp", &["traces/export.rs"]),
    ("opentelemetry_sdk", &["traces/export.rs"]),
    ("pgwire", &["wire/"]),
    ("prometheus", &["metrics/"]),
    ("rustls", &["tls.rs", "tls/"]),
    ("rustls_native_certs", &["tls.rs", "tls/"]),
    ("rustls_pki_types", &["tls.rs", "tls/"]),
    ("sqlparser", &["sql/"]),
    ("stringprep", &["wire/"]),
    ("tokio_postgres", &["cli/demo/"]),
    ("tokio_rustls", &["tls.rs", "tls/", "net.rs"]),
    ("toml", &["config/"]),
    ("toml_edit", &["config/placements.rs"]),
];

/// Folders and files that compute values from values.
const PURE: &[&str] = &[
    "ids.rs",
    "fault.rs",
    "types/",
    "wire/",
    "catalog.rs",
    "topology/",
    "config/hba.rs",
    "config/hba/",
    "config/ident.rs",
    "config/userlist.rs",
    "sql/",
    "commit/",
    "copy/",
    "plan/",
    "merge/",
    "control/deadlock/graph.rs",
    "control/map/watcher.rs",
    "backend/inflight.rs",
    "backend/turns.rs",
    "backend/pace.rs",
    "backend/breaker.rs",
    "backend/retry.rs",
    "backend/roles.rs",
    "backend/sequences.rs",
    "admin/command.rs",
    "admin/rows.rs",
    "admin/shows.rs",
    "traces/context.rs",
    "server/failures.rs",
    "server/handshake/rules.rs",
    "session/phase.rs",
    "session/sampler.rs",
    "session/memory.rs",
    "session/transaction.rs",
    "session/pin.rs",
];

/// What pure code never names.
const IMPURE: &[&str] = &[
    "tokio::",
    "std::fs",
    "std::net::Tcp",
    "std::net::Udp",
    "std::os::unix::net",
    "std::process",
    "std::thread",
    "Instant::now",
    "SystemTime::now",
    "static mut",
];

/// One file of src/ without its comments and its tests.
struct Source {
    /// Relative to src/.
    path: String,
    /// The module of src/ that it belongs to.
    module: String,
    code: String,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    files.sort();
    let sources: Vec<Source> = files
        .iter()
        .map(|file| {
            let path = file.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
            let module = path.split('/').next().unwrap().trim_end_matches(".rs").to_owned();
            Source { code: code_of(&fs::read_to_string(file).unwrap()), path, module }
        })
        .filter(|source| !source.path.ends_with("/tests.rs") && !source.path.contains("/tests/"))
        .collect();
    assert!(sources.len() > 30, "src/ was not found");
    sources
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// Tests come last in a file, and a comment that names another module uses nothing of it.
fn code_of(text: &str) -> String {
    let end = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    text[..end].lines().map(|line| line.split("//").next().unwrap()).collect::<Vec<_>>().join("\n")
}

/// The modules of this crate that the code names: `crate::a::..`, `use crate::{a::.., b}`.
fn used_modules(code: &str) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    for (at, found) in code.match_indices("crate::") {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '$') {
            continue;
        }
        let rest = &code[at + found.len()..];
        match rest.strip_prefix('{') {
            Some(group) => used.extend(names_of_group(group)),
            None => used.extend(leading_name(rest)),
        }
    }
    used
}

fn names_of_group(group: &str) -> Vec<String> {
    let (mut depth, mut start, mut names) = (0, 0, Vec::new());
    for (i, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                names.extend(leading_name(group[start..i].trim()));
                return names;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                names.extend(leading_name(group[start..i].trim()));
                start = i + 1;
            }
            _ => (),
        }
    }
    panic!("a `use crate::{{` without its end");
}

fn leading_name(path: &str) -> Option<String> {
    let name: String = path.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    (!name.is_empty()).then_some(name)
}

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|(name, _)| *name == module)
}

#[test]
fn a_module_uses_only_the_layers_below_it() {
    let mut wrong = Vec::new();
    for source in sources() {
        if ["lib", "main"].contains(&&*source.module) {
            continue;
        }
        let Some(own) = layer(&source.module) else {
            wrong.push(format!("src/{}: module {} has no place in LAYERS", source.path, source.module));
            continue;
        };
        for used in used_modules(&source.code) {
            let Some(other) = layer(&used) else {
                // A macro at the crate's root, or an enum's name inside a macro.
                continue;
            };
            let allowed = other == own || (other < BASE && other < own) || LAYERS[own].1.contains(&&*used);
            if !allowed {
                wrong.push(format!("src/{}: {} must not use {used}", source.path, source.module));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_layers_themselves_have_no_cycle() {
    for (own, (module, sees)) in LAYERS.iter().enumerate() {
        for seen in *sees {
            assert!(layer(seen).is_some_and(|other| other < own), "{module} may use {seen}, which is not below it");
        }
    }
}

#[test]
fn a_third_party_crate_has_one_door() {
    let mut wrong = Vec::new();
    for source in sources() {
        for (name, doors) in DOORS {
            let named = source.code.match_indices(&format!("{name}::")).any(|(at, _)| {
                let before = source.code[..at].chars().next_back();
                // `crate::config::toml::` would be ours.
                !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':')
            });
            if named && !doors.iter().any(|door| source.path.starts_with(door)) {
                wrong.push(format!("src/{} uses {name}, whose door is src/{}", source.path, doors.join(" or src/")));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn pure_code_touches_nothing_outside() {
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| PURE.iter().any(|pure| source.path.starts_with(pure))) {
        for impure in IMPURE {
            if source.code.contains(impure) {
                wrong.push(format!("src/{} is pure, but names {impure}", source.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The first sentence of a file's own documentation.
fn first_sentence(text: &str) -> String {
    let doc = text.lines().take_while(|line| line.starts_with("//!")).map(|line| line["//!".len()..].trim());
    let doc: Vec<&str> = doc.take_while(|line| !line.is_empty()).collect();
    let doc = doc.join(" ");
    let doc = doc.trim_start_matches("PURE. ").trim_start_matches("I/O. ");
    let doc = if doc.starts_with("PURE, sees") { doc.split_once(". ").map_or(doc, |(_, rest)| rest) } else { doc };
    doc.replace(" ... ", " … ").split(". ").next().unwrap().trim_end_matches('.').replace(" … ", " ... ")
}

#[test]
fn the_tree_in_the_architecture_document_is_the_tree() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let document = root.join("docs/ARCHITECTURE.md");
    let text = fs::read_to_string(&document).unwrap();
    let start = text.find("```text\nsrc/").expect("the tree") + "```text\n".len();
    let end = start + text[start..].find("```").unwrap();
    let files: Vec<(String, String)> = sources()
        .into_iter()
        .filter(|source| !source.path.ends_with("_tests.rs"))
        .map(|source| {
            let sentence = first_sentence(&fs::read_to_string(root.join("src").join(&source.path)).unwrap());
            (format!("src/{}", source.path), sentence)
        })
        .collect();
    if std::env::var_os("UPDATE").is_some() {
        let width = files.iter().map(|(path, _)| path.len()).max().unwrap();
        let lines: String = files.iter().map(|(path, sentence)| format!("{path:width$}  {sentence}\n")).collect();
        fs::write(&document, format!("{}{lines}{}", &text[..start], &text[end..])).unwrap();
        return;
    }
    let listed: BTreeSet<&str> = text[start..end].lines().filter_map(|line| line.split_whitespace().next()).collect();
    let present: BTreeSet<&str> = files.iter().map(|(path, _)| path.as_str()).collect();
    let wrong: Vec<&&str> = listed.symmetric_difference(&present).collect();
    assert!(wrong.is_empty(), "{wrong:?}: run `UPDATE=1 cargo test --test layering` to write the tree anew");
}

#[test]
fn the_scan_finds_what_a_file_uses() {
    let code =
        "use crate::ids::Oid;\nuse crate::{plan::{self, Plan}, sql};\nfn f(_: crate::wire::Tag) { mycrate::no::x() }";
    assert_eq!(Vec::from_iter(used_modules(code)), ["ids", "plan", "sql", "wire"]);
    assert_eq!(code_of("a\n// crate::b\nc // d\n#[cfg(test)]\nmod tests {\ncrate::e"), "a\n\nc ");
}

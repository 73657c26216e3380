//! What is not ours: licences and sources as deny.toml allows them, the bill of materials, and no unsafe code. Without network.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

/// The standard output of a program that reads no network.
fn run(program: &str, arguments: &[&str]) -> String {
    let output =
        Command::new(program).args(arguments).current_dir(root()).env("CARGO_NET_OFFLINE", "true").output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value[key].as_str().unwrap_or_default()
}

fn list<'v>(value: &'v Value, key: &str) -> &'v [Value] {
    value[key].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Every package but our own, as cargo tells of them.
fn packages() -> Vec<Value> {
    let metadata: Value =
        serde_json::from_str(&run("cargo", &["metadata", "--format-version", "1", "--locked"])).unwrap();
    let packages = list(&metadata, "packages").iter().filter(|package| text(package, "name") != "pgloom");
    let packages: Vec<Value> = packages.cloned().collect();
    assert!(packages.len() > 100);
    packages
}

/// Name and version -> checksum, of Cargo.lock.
fn locked() -> BTreeMap<(String, String), String> {
    let lock: toml::Table = read("Cargo.lock").parse().unwrap();
    let of = |package: &toml::Value, key: &str| {
        package.get(key).and_then(toml::Value::as_str).unwrap_or_default().to_owned()
    };
    let packages = lock["package"].as_array().unwrap().iter();
    let packages = packages.filter(|package| of(package, "name") != "pgloom");
    packages.map(|package| ((of(package, "name"), of(package, "version")), of(package, "checksum"))).collect()
}

/// deny.toml: the licences that any crate may have, and crate -> those that it alone may have.
fn allowed() -> (BTreeSet<String>, BTreeMap<String, BTreeSet<String>>) {
    let deny: toml::Table = read("deny.toml").parse().unwrap();
    let licenses = &deny["licenses"];
    let names = |value: &toml::Value| -> BTreeSet<String> {
        value["allow"].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect()
    };
    let exceptions = licenses["exceptions"].as_array().unwrap().iter();
    let exceptions = exceptions.map(|one| (one["crate"].as_str().unwrap().to_owned(), names(one))).collect();
    (names(licenses), exceptions)
}

/// Whether licences that `may` takes are enough for an SPDX expression.
fn satisfied(expression: &str, may: &dyn Fn(&str) -> bool) -> bool {
    // The old spelling of OR.
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let (truth, rest) = either(&words, may);
    assert!(rest.is_empty(), "{expression}");
    truth
}

fn either<'w>(words: &'w [&'w str], may: &dyn Fn(&str) -> bool) -> (bool, &'w [&'w str]) {
    let (mut truth, mut rest) = both(words, may);
    while let ["OR", more @ ..] = rest {
        let (other, behind) = both(more, may);
        (truth, rest) = (truth | other, behind);
    }
    (truth, rest)
}

fn both<'w>(words: &'w [&'w str], may: &dyn Fn(&str) -> bool) -> (bool, &'w [&'w str]) {
    let (mut truth, mut rest) = one(words, may);
    while let ["AND", more @ ..] = rest {
        let (other, behind) = one(more, may);
        (truth, rest) = (truth & other, behind);
    }
    (truth, rest)
}

fn one<'w>(words: &'w [&'w str], may: &dyn Fn(&str) -> bool) -> (bool, &'w [&'w str]) {
    match words {
        ["(", inner @ ..] => {
            let (truth, rest) = either(inner, may);
            (truth, rest.strip_prefix(&[")"]).unwrap())
        }
        [name, "WITH", exception, rest @ ..] => (may(&format!("{name} WITH {exception}")), rest),
        [name, rest @ ..] => (may(name), rest),
        [] => panic!("a licence is missing"),
    }
}

#[test]
fn licence_expressions_are_read() {
    let mit = |name: &str| name == "MIT";
    for enough in ["MIT", "MIT OR GPL-3.0", "GPL-3.0/MIT", "(GPL-3.0 OR MIT) AND MIT", "ISC AND X OR MIT"] {
        assert!(satisfied(enough, &mit), "{enough}");
    }
    for not in ["ISC", "MIT AND ISC", "MIT AND (ISC OR X)", "MIT WITH exception"] {
        assert!(!satisfied(not, &mit), "{not}");
    }
}

#[test]
fn every_licence_is_one_that_deny_toml_allows() {
    let (general, exceptions) = allowed();
    let mut needed = BTreeSet::new();
    let mut used = BTreeSet::new();
    for package in packages() {
        let (name, license) = (text(&package, "name"), text(&package, "license"));
        assert!(!license.is_empty(), "{name} names no licence");
        let own = exceptions.get(name);
        // What is allowed to all, where that is enough.
        if satisfied(license, &|of| general.contains(of)) {
            general.iter().filter(|of| license.contains(&***of)).for_each(|of| {
                used.insert(of.clone());
            });
            continue;
        }
        let may = |of: &str| general.contains(of) || own.is_some_and(|own| own.contains(of));
        assert!(satisfied(license, &may), "{name}: {license}");
        needed.insert(name.to_owned());
    }
    assert_eq!(
        needed,
        exceptions.into_keys().collect(),
        "exceptions of deny.toml that no crate needs, or the other way round"
    );
    assert_eq!(used, general, "licences of deny.toml that no crate has");
}

#[test]
fn every_package_comes_from_the_registry_with_its_checksum() {
    let locked = locked();
    let deny: toml::Table = read("deny.toml").parse().unwrap();
    let banned: Vec<&str> =
        deny["bans"]["deny"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    for package in packages() {
        let (name, version) = (text(&package, "name"), text(&package, "version"));
        assert_eq!(text(&package, "source"), CRATES_IO, "{name}");
        let checksum = &locked[&(name.to_owned(), version.to_owned())];
        assert!(checksum.len() == 64 && checksum.bytes().all(|b| b.is_ascii_hexdigit()), "{name}: {checksum}");
        assert!(!banned.contains(&name), "{name} is banned in deny.toml");
    }
    // Our own requirements name versions.
    let manifest: toml::Table = read("Cargo.toml").parse().unwrap();
    for section in ["dependencies", "dev-dependencies"] {
        for (name, wanted) in manifest[section].as_table().unwrap() {
            let version = wanted.as_str().or_else(|| wanted.get("version")?.as_str());
            assert!(version.is_some_and(|version| !version.contains('*')), "{name}: {wanted}");
        }
    }
}

/// cargo-deny looks at the same list, by the name of each version.
#[test]
fn no_second_version_of_a_crate_comes_in_unseen() {
    let deny: toml::Table = read("deny.toml").parse().unwrap();
    assert_eq!(deny["bans"]["multiple-versions"].as_str(), Some("deny"));
    let mut known = BTreeSet::new();
    for skip in deny["bans"]["skip"].as_array().unwrap() {
        let reason = skip["reason"].as_str().unwrap();
        assert!(reason.len() > 3, "{skip}");
        known.insert(skip["crate"].as_str().unwrap().to_owned());
    }
    let mut versions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for target in ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"] {
        for line in run("cargo", &["tree", "--locked", "--prefix", "none", "--target", target]).lines() {
            let mut words = line.split(' ');
            let (name, version) = (words.next().unwrap(), words.next().unwrap_or_default());
            if let Some(version) = version.strip_prefix('v') {
                versions.entry(name.to_owned()).or_default().insert(version.to_owned());
            }
        }
    }
    // All but the newest.
    let number =
        |version: &str| -> Vec<u64> { version.split(['.', '-', '+']).filter_map(|part| part.parse().ok()).collect() };
    let mut older = BTreeSet::new();
    for (name, versions) in versions {
        let newest = versions.iter().max_by_key(|version| number(version)).unwrap();
        older.extend(versions.iter().filter(|version| *version != newest).map(|version| format!("{name}@{version}")));
    }
    assert_eq!(
        older, known,
        "of two versions of a crate the older one stands in skip of deny.toml, with its reason, and no other"
    );
}

#[test]
fn the_bill_of_materials_lists_every_package() {
    let bill: Value = serde_json::from_str(&run("scripts/sbom", &[])).unwrap();
    assert_eq!((text(&bill, "bomFormat"), text(&bill, "specVersion")), ("CycloneDX", "1.5"));
    let own = &bill["metadata"]["component"];
    assert_eq!((text(own, "name"), text(own, "version")), ("pgloom", env!("CARGO_PKG_VERSION")));
    let mut listed = BTreeMap::new();
    let mut inside = BTreeSet::new();
    for component in list(&bill, "components") {
        let (name, version) = (text(component, "name"), text(component, "version"));
        assert_eq!(text(component, "purl"), format!("pkg:cargo/{name}@{version}"));
        let license = text(&component["licenses"][0], "expression");
        assert!(!license.is_empty() && !license.contains('/'), "{name}: {license}");
        let hash = &component["hashes"][0];
        assert_eq!(text(hash, "alg"), "SHA-256");
        listed.insert((name.to_owned(), version.to_owned()), text(hash, "content").to_owned());
        match text(component, "scope") {
            "required" => {
                inside.insert(format!("{name} v{version}"));
            }
            scope => assert_eq!(scope, "excluded", "{name}"),
        }
    }
    assert_eq!(listed, locked());
    // What cargo itself says is compiled for the program.
    let mut expected = BTreeSet::new();
    for target in ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"] {
        let arguments = ["tree", "--locked", "--edges", "normal", "--prefix", "none", "--target", target];
        let tree = run("cargo", &arguments);
        let lines = tree.lines().map(|line| line.split(" (").next().unwrap().to_owned());
        expected.extend(lines.filter(|line| !line.starts_with("pgloom ")));
    }
    assert_eq!(inside, expected);
    // What only tests need is not: `toml` is compiled into the program, `proptest` is not.
    let has = |name: &str| inside.iter().any(|package| package.starts_with(&format!("{name} v")));
    let manifest: toml::Table = read("Cargo.toml").parse().unwrap();
    let names = |section: &str| manifest[section].as_table().unwrap().keys().cloned().collect::<BTreeSet<_>>();
    assert!(names("dependencies").iter().all(|name| has(name)));
    assert!(!has("proptest") && !has("criterion") && !has("stateright"));
    // Who needs whom: every name is one of the list.
    let known: BTreeSet<&str> =
        list(&bill, "components").iter().chain([own]).map(|component| text(component, "bom-ref")).collect();
    let graph = list(&bill, "dependencies");
    assert_eq!(graph.len(), known.len());
    for node in graph {
        assert!(known.contains(text(node, "ref")));
        assert!(list(node, "dependsOn").iter().all(|needed| known.contains(needed.as_str().unwrap())));
    }
}

/// The compiler refuses `unsafe` in the whole crate, and no attribute may allow it again.
#[test]
fn there_is_no_unsafe_code() {
    let manifest: toml::Table = read("Cargo.toml").parse().unwrap();
    assert_eq!(manifest["lints"]["rust"]["unsafe_code"].as_str(), Some("forbid"));
}

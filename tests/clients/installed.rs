//! Where `scripts/setup-clients` has put the drivers. One that is not there fails its test, with what to do: no test is skipped.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use super::shop::root;

const SETUP: &str = "run make setup, or scripts/setup test";

/// A program of Python with the packages of tests/clients/python/requirements.txt.
pub fn python() -> Command {
    found("python/bin/python", "the drivers of Python")
}

/// A PATH on which the tools of those packages come first.
pub fn python_path() -> OsString {
    let tools = existing("python/bin/pgcli", "pgcli").parent().unwrap().to_path_buf();
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::join_paths(std::iter::once(tools).chain(std::env::split_paths(&path))).unwrap()
}

/// Node.js with the packages of tests/clients/node/package.json.
pub fn node() -> Command {
    let modules = existing("node/node_modules/pg", "the drivers of Node.js");
    let mut node = Command::new("node");
    // Its warnings say how the driver will change one day.
    node.arg("--no-deprecation").env("NODE_PATH", modules.parent().unwrap());
    node
}

/// Java with pgjdbc.
pub fn java() -> Command {
    let jar = PathBuf::from("/usr/share/java/postgresql.jar");
    assert!(jar.exists(), "pgjdbc: {} is not there; {SETUP}", jar.display());
    let mut java = Command::new("java");
    // One short run: what the second compiler would gain it does not pay back.
    java.args(["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Duser.timezone=UTC", "-cp"]).arg(jar);
    java
}

/// A program of tests/clients/rust.
pub fn rust(program: &str) -> Command {
    found(&format!("rust/{program}"), "the drivers of Rust")
}

fn found(path: &str, what: &str) -> Command {
    Command::new(existing(path, what))
}

/// A file of a part that was set up to its end.
fn existing(path: &str, what: &str) -> PathBuf {
    let (part, _) = path.split_once('/').unwrap();
    let clients = root().join("target/clients");
    let place = clients.join(path);
    assert!(clients.join(part).join("done").exists(), "{what}: target/clients/{part} was not set up; {SETUP}");
    assert!(place.exists(), "{what}: {} is not there; {SETUP}", place.display());
    place
}

/// A file of this folder.
pub fn source(path: &str) -> PathBuf {
    let place = root().join("tests/clients").join(path);
    assert!(place.exists(), "{}", place.display());
    place
}

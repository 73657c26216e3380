//! What is fuzzed: each target takes any bytes and panics where pgloom breaks a promise. Run by libFuzzer (`make fuzz`), and by
//! tests/fuzz.rs, which feeds the committed corpora and mutations of them.

pub mod analyzer;
mod bind;
mod config;
mod copy;
mod frames;
mod input;
mod predicate;
mod reader;
mod startup;
mod template;
mod topology;
#[allow(dead_code)]
#[path = "../../tests/plans/world.rs"]
mod world;

/// One of them; its corpus lies in `fuzz/corpus/<name>`.
pub struct Target {
    pub name: &'static str,
    pub run: fn(&[u8]),
}

/// Every target.
pub const ALL: [Target; 8] = [
    Target { name: "frames", run: frames::run },
    Target { name: "startup", run: startup::run },
    Target { name: "template", run: template::run },
    Target { name: "analyzer", run: analyzer::run },
    Target { name: "bind", run: bind::run },
    Target { name: "copy", run: copy::run },
    Target { name: "config", run: config::run },
    Target { name: "topology", run: topology::run },
];

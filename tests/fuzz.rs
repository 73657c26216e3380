//! The fuzz targets of `make fuzz` on their committed corpora, and on mutations of them: what fuzzing has found stays found.
//!
//! PGLOOM_FUZZ_SECONDS: how long each target is fed mutations (default 3). They are the same in every run, unless PGLOOM_FUZZ_SEED
//! is given. An input that fails is written to target/fuzz/.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

#[path = "../fuzz/targets/mod.rs"]
mod targets;

use targets::{ALL, Target};

/// What all corpora together may weigh, in bytes: a repository is not the place for more.
const HEAVIEST: u64 = 300 * 1024;

fn target(name: &str) -> &'static Target {
    ALL.iter().find(|target| target.name == name).unwrap()
}

fn repository(path: impl AsRef<Path>) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The committed inputs of a target, in the order of their names.
fn corpus(name: &str) -> Vec<Vec<u8>> {
    let directory = repository("fuzz/corpus").join(name);
    let mut files: Vec<PathBuf> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| std::fs::read(file).unwrap()).collect()
}

/// Runs one input, and keeps it where it fails.
fn feed(target: &Target, input: &[u8]) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| (target.run)(input))) {
        let directory = repository("target/fuzz");
        std::fs::create_dir_all(&directory).unwrap();
        let file = directory.join(format!("{}-failed", target.name));
        std::fs::write(&file, input).unwrap();
        eprintln!("{} fails on {}: {}", target.name, file.display(), input.escape_ascii());
        resume_unwind(panic);
    }
}

/// Numbers that look like chance (splitmix64), the same for the same seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 8) as usize % n.max(1)
    }

    /// One of the inputs with some bytes changed, left out, repeated, or from another one.
    fn mutated(&mut self, corpus: &[Vec<u8>]) -> Vec<u8> {
        let mut input = corpus[self.below(corpus.len())].clone();
        for _ in 0..=self.below(4) {
            let at = self.below(input.len() + 1);
            let until = at + self.below((input.len() - at).min(32) + 1);
            match self.below(6) {
                0 if at < input.len() => input[at] ^= 1 << self.below(8),
                1 if at < input.len() => input[at] = self.below(256) as u8,
                2 => drop(input.drain(at..until)),
                3 => {
                    let part = input[at..until].to_vec();
                    drop(input.splice(at..at, part));
                }
                4 => {
                    let other = &corpus[self.below(corpus.len())];
                    let from = self.below(other.len() + 1);
                    let to = from + self.below((other.len() - from).min(64) + 1);
                    drop(input.splice(at..until, other[from..to].iter().copied()));
                }
                _ => input.insert(at, [0, 0xff, b'\'', b'\\', b'\n', b'(', b'"', b'$'][self.below(8)]),
            }
        }
        input
    }
}

fn replay(name: &str) {
    let target = target(name);
    let corpus = corpus(name);
    assert!(corpus.len() >= 10, "only {} inputs", corpus.len());
    corpus.iter().for_each(|input| feed(target, input));
    let number = |name: &str, default: u64| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    let until = Instant::now() + Duration::from_secs(number("PGLOOM_FUZZ_SECONDS", 3));
    let mut chance = Chance(number("PGLOOM_FUZZ_SEED", 1));
    let mut runs = 0;
    // Some at least, however busy the machine is.
    while runs < 50 || Instant::now() < until {
        feed(target, &chance.mutated(&corpus));
        runs += 1;
    }
    println!("{name}: {} inputs and {runs} mutations", corpus.len());
}

#[test]
fn frames() {
    replay("frames");
}

#[test]
fn startup() {
    replay("startup");
}

#[test]
fn template() {
    replay("template");
}

#[test]
fn analyzer() {
    replay("analyzer");
}

#[test]
fn bind() {
    replay("bind");
}

#[test]
fn copy() {
    replay("copy");
}

#[test]
fn config() {
    replay("config");
}

#[test]
fn topology() {
    replay("topology");
}

/// Each target has a corpus and each corpus a target, and they are light.
#[test]
fn corpora_are_small_and_complete() {
    let mut names: Vec<&str> = ALL.iter().map(|target| target.name).collect();
    names.sort_unstable();
    let mut found = Vec::new();
    let mut bytes = 0;
    for entry in std::fs::read_dir(repository("fuzz/corpus")).unwrap() {
        let directory = entry.unwrap().path();
        bytes +=
            std::fs::read_dir(&directory).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum::<u64>();
        found.push(directory.file_name().unwrap().to_str().unwrap().to_owned());
    }
    found.sort();
    assert_eq!(found, names);
    assert!(bytes <= HEAVIEST, "{bytes} bytes");
}

/// A target that sees nothing proves nothing.
#[test]
fn a_plan_that_forgets_a_shard_is_seen() {
    let panic = catch_unwind(targets::analyzer::forgets_a_shard).unwrap_err();
    let text = panic.downcast_ref::<String>().unwrap();
    assert!(text.contains("Single(ShardId(0))"), "{text}");
}

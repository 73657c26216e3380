//! What does a map of a million entries on a thousand shards cost: to read and compile, in memory, to look a key up, and when a new epoch
//! of it comes? `PGLOOM_BENCH_ENTRIES=1000000 cargo bench --bench map_scale`; without it a small one, to see that it runs.
//! Budget: a new epoch within 5 s, a lookup within 1 us.

use std::fmt::Write;
use std::hint::black_box;
use std::time::Instant;

use criterion::{Criterion, criterion_group, criterion_main};
use pgloom::config::Document;
use pgloom::topology::diff::differences;
use pgloom::types::canonical::KeyValue;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SHARDS: usize = 1024;

fn entries() -> usize {
    std::env::var("PGLOOM_BENCH_ENTRIES").ok().and_then(|count| count.parse().ok()).unwrap_or(10_000)
}

/// A document whose only distribution has these keys; `shift` places them otherwise.
fn document(method: &str, count: usize, shift: usize) -> String {
    let mut text = String::from("{\"format\": 1, \"epoch\": 1, \"databases\": {\"shop\": {\"shards\": [\n");
    for shard in 0..SHARDS {
        let comma = if shard == 0 { "" } else { ",\n" };
        let _ = write!(text, "{comma}{{\"name\": \"s{shard}\", \"host\": \"10.0.{}.{}\"}}", shard / 256, shard % 256);
    }
    let shard = |entry: usize| (entry + shift) % SHARDS;
    let list = |text: &mut String, entry: &dyn Fn(usize) -> String| {
        for number in 0..count {
            let comma = if number == 0 { "" } else { ",\n" };
            let _ = write!(text, "{comma}{}", entry(number));
        }
    };
    text.push_str("],\n\"distributions\": [{\"name\": \"d\", \"key_types\": [\"int8\"], ");
    match method {
        "ring" => text.push_str("\"virtual_nodes\": 1024"),
        "ranges" => {
            text.push_str("\"method\": \"range\", \"ranges\": [\n");
            list(&mut text, &|n| {
                format!("{{\"from\": {}, \"to\": {}, \"shard\": \"s{}\"}}", n * 1000, (n + 1) * 1000, shard(n))
            });
            text.push(']');
        }
        "values" => {
            text.push_str("\"method\": \"list\", \"values\": [\n");
            list(&mut text, &|n| format!("{{\"value\": {}, \"shard\": \"s{}\"}}", n * 1000, shard(n)));
            text.push(']');
        }
        _ => {
            text.push_str("\"virtual_nodes\": 16, \"pins\": [\n");
            list(&mut text, &|n| format!("{{\"value\": {}, \"shard\": \"s{}\"}}", n * 1000, shard(n)));
            text.push(']');
        }
    }
    text.push_str("}]}}}\n");
    text
}

fn resident_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").trim().parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
}

fn peak_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").trim().parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
}

fn map_scale(c: &mut Criterion) {
    let count = entries();
    for method in ["ring", "ranges", "values", "pins"] {
        let (text, other) = (document(method, count, 0), document(method, count, 1));
        let (before, start) = (resident_mib(), Instant::now());
        let old = Document::parse("map", &text).expect("the benchmark's map is valid");
        println!(
            "{method}, {count} entries, {SHARDS} shards: {:.1} MiB of text, read and compiled in {:?}; {:.0} MiB held, {:.0} MiB at the peak of all so far",
            text.len() as f64 / f64::from(1 << 20),
            start.elapsed(),
            resident_mib() - before,
            peak_mib()
        );
        let new = Document::parse("map", &other).expect("the benchmark's map is valid");
        let distribution = &old.databases[0].topology.distributions[0];
        let mut next = 0u64;
        c.bench_function(&format!("{method}, {count} entries: locate"), |b| {
            b.iter(|| {
                next = next.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let key = (next >> 33) as usize % count * 1000;
                distribution.locate(&[KeyValue::Int(key as i64)])
            });
        });
        let mut group = c.benchmark_group(format!("{method}, {count} entries"));
        group.sample_size(10);
        group.bench_function("a new epoch, read and compiled", |b| {
            b.iter(|| Document::parse("map", black_box(&other)));
        });
        group.bench_function("what a new epoch moves", |b| {
            b.iter(|| differences(&old.databases[0].topology, &new.databases[0].topology));
        });
        group.finish();
    }
}

criterion_group!(benches, map_scale);
criterion_main!(benches);

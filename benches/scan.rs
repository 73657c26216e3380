//! What does a statement cost before anything is known of it: the scan into a template, and the plan cache's hit?

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use pgloom::catalog::Catalog;
use pgloom::ids::{Epoch, ShardId};
use pgloom::plan::cache::PlanCache;
use pgloom::sql::NameScope;
use pgloom::sql::template::{Scan, scan};
use pgloom::topology::Topology;

/// 100 bytes, three literals.
const POINT: &str =
    "SELECT id, name, balance FROM account WHERE tenant_id = 48151 AND state = 'open' AND balance > 1624";

const UPDATE: &str = "UPDATE pgbench_accounts SET abalance = abalance + -3371 WHERE aid = 77231;";

fn scan_cost(c: &mut Criterion) {
    let insert = format!(
        "INSERT INTO events (tenant, at, kind) VALUES {}",
        vec!["(1234, '2026-01-01', 'click')"; 100].join(", ")
    );
    let catalog = Catalog::default();
    let topology = Topology {
        epoch: Epoch(1),
        fence: Epoch(0),
        shards: Vec::new(),
        home: ShardId(0),
        distributions: Vec::new(),
        tables: HashMap::new(),
        from_sql: std::collections::HashSet::new(),
        closed: HashMap::new(),
        uniques: Vec::new(),
    };
    let scope = NameScope {
        catalog: &catalog,
        topology: &topology,
        search_path: &[],
        standard_strings: true,
        changes: &[],
        defines: false,
        temporary: None,
        temporaries: None,
        own: None,
        fingerprint: 42,
        unknown: None,
    };
    let cache = PlanCache::<u32>::new(64 << 20);
    let mut group = c.benchmark_group("scan");
    for (name, text) in [("point", POINT), ("update", UPDATE), ("insert_100_rows", insert.as_str())] {
        let mut out = Scan::default();
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(name, |b| b.iter(|| scan(black_box(text), true, &mut out)));
        let free: Vec<u16> = (0..out.slots.len() as u16).collect();
        cache.insert_with(&out, text, &scope, &free, Arc::new(1));
        group.bench_function(format!("{name}_with_cache_hit"), |b| {
            b.iter(|| {
                let _ = scan(black_box(text), true, &mut out);
                cache.get(&out, text, &scope)
            })
        });
    }
    group.finish();
    // Unless a filter has left them all out.
    let stats = cache.stats();
    assert!(stats.hits > 0 || stats.misses == 0, "a cached analysis was not found");
}

criterion_group!(benches, scan_cost);
criterion_main!(benches);

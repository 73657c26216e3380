//! From a statement's bytes to its shard: what does a routed point read cost before it is sent, and does that grow with the statements that are
//! known, with the shards, or with the map? Budget: 500 ns for 100 bytes in the simple protocol, 150 ns for a Bind of a known statement.

#![allow(clippy::unwrap_used)]

#[path = "../tests/plans/world.rs"]
#[allow(dead_code)]
mod world;

use std::fmt::Write;
use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use pgloom::plan::cache::PlanCache;
use pgloom::plan::{self, Inputs, Parameters, PlanKind};
use pgloom::session::recent::Recent;
use pgloom::sql::Analysis;
use pgloom::sql::template::{Scan, scan};
use pgloom::topology::spec::{DistributionSpec, MethodSpec, RingSpec, ValueSpec};
use pgloom::topology::{Distribution, Server, Shard, TopologySpec};
use pgloom::types::canonical::KeyValue;
use pgloom::types::{Format, KeyType, oid};
use world::{Bound, World};

/// 100 bytes each, but for their numbers.
fn statement(out: &mut String, kind: u64, key: u64) {
    out.clear();
    let _ = write!(
        out,
        "SELECT id, amount, note AS n{kind:06} FROM orders WHERE tenant_id = {key:07} AND paid AND qty < 10000000"
    );
}

/// Numbers in an order that the branch predictor cannot learn.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

fn is_single(kind: &PlanKind) -> bool {
    matches!(kind, PlanKind::Single(_))
}

/// A statement that the session has just run, one that the router knows, and the Bind of a prepared one.
fn route(c: &mut Criterion) {
    let world = World::new();
    let (view, scope) = (world.view_of(), world.scope());
    let mut group = c.benchmark_group("route");
    let (mut text, mut numbers, mut out) = (String::new(), Numbers(7), Scan::default());
    statement(&mut text, 0, 1);
    assert_eq!(text.len(), 100);
    let (first, analysis) = world.analyze(&text);
    let analysis = Arc::new(analysis);

    let mut recent = Recent::default();
    recent.keep(&text, &first, &scope, &analysis);
    group.bench_function("simple, the session's last statement", |b| {
        b.iter(|| {
            statement(&mut text, 0, numbers.below(1_000_000));
            let analysis = recent.find(&text, &scope, &mut out).unwrap();
            let inputs = Inputs { text: &text, slots: &out.slots, parameters: None };
            assert!(is_single(&plan::plan(analysis, &inputs, &view).kind));
        });
    });
    let cache = PlanCache::<Analysis>::new(64 << 20);
    cache.insert(&first, &text, &scope, Arc::clone(&analysis));
    group.bench_function("simple, one of the router's statements", |b| {
        b.iter(|| {
            statement(&mut text, 0, numbers.below(1_000_000));
            scan(&text, true, &mut out).unwrap();
            let analysis = cache.get(&out, &text, &scope).unwrap();
            let inputs = Inputs { text: &text, slots: &out.slots, parameters: None };
            assert!(is_single(&plan::plan(&analysis, &inputs, &view).kind));
        });
    });
    // What the two above spend on making the text.
    group.bench_function("simple, the text itself", |b| {
        b.iter(|| {
            statement(&mut text, 0, numbers.below(1_000_000));
            black_box(&text);
        });
    });
    let sql = "SELECT id, amount, note FROM orders WHERE tenant_id = $1 AND paid AND qty < 10000000";
    let (scanned, analysis) = world.analyze(sql);
    for (name, format) in [("bind, text", Format::Text), ("bind, binary", Format::Binary)] {
        let mut bound = Bound(vec![(oid::INT8, format, Some(b"1234567\0".to_vec()))]);
        if format == Format::Text {
            bound.0[0].2.as_mut().unwrap().pop();
        }
        group.bench_function(name, |b| {
            b.iter(|| {
                let parameters = Some(black_box(&bound) as &dyn Parameters);
                let inputs = Inputs { text: sql, slots: &scanned.slots, parameters };
                assert!(is_single(&plan::plan(&analysis, &inputs, &view).kind));
            });
        });
    }
    group.finish();
}

fn map(shards: usize, values: usize) -> Distribution {
    let shard =
        |i: usize| Shard { name: format!("s{i}").into(), servers: vec![Server::new("db", 5432, &format!("shop{i}"))] };
    let value = |i: usize| ValueSpec { key: vec![(i * 1000).to_string()], shard: format!("s{}", i % shards) };
    let method = match values {
        0 => MethodSpec::Ring(RingSpec::default()),
        _ => MethodSpec::List { values: (0..values).map(value).collect(), default: Some("s0".to_owned()) },
    };
    let distribution = DistributionSpec { name: "d".into(), key_types: vec![KeyType::Int8], method, pins: Vec::new() };
    let spec = TopologySpec {
        shards: (0..shards).map(shard).collect(),
        distributions: vec![distribution],
        ..TopologySpec::default()
    };
    spec.build().unwrap().0.distributions.remove(0)
}

fn growth(c: &mut Criterion) {
    let world = World::new();
    let scope = world.scope();
    let mut group = c.benchmark_group("growth");
    let (mut text, mut numbers, mut out) = (String::new(), Numbers(7), Scan::default());
    for count in [1, 100, 10_000, 100_000] {
        let cache = PlanCache::<Analysis>::new(4 << 30);
        for kind in 0..count {
            statement(&mut text, kind, 1);
            scan(&text, true, &mut out).unwrap();
            cache.insert(&out, &text, &scope, Arc::new(world.analyze(&text).1));
        }
        group.bench_function(format!("of {count} statements"), |b| {
            b.iter(|| {
                statement(&mut text, numbers.below(count), numbers.below(1_000_000));
                scan(&text, true, &mut out).unwrap();
                cache.get(&out, &text, &scope).unwrap()
            });
        });
    }
    for (name, shards, values) in [
        ("1 shard", 1, 0),
        ("16 shards", 16, 0),
        ("1,024 shards", 1024, 0),
        ("1,000 values", 16, 1_000),
        ("100,000 values", 16, 100_000),
        ("1,000,000 values", 16, 1_000_000),
    ] {
        let distribution = map(shards, values);
        let keys = if values == 0 { 1_000_000 } else { values as u64 };
        group.bench_function(format!("map of {name}"), |b| {
            b.iter(|| distribution.locate(&[KeyValue::Int(numbers.below(keys) as i64 * 1000)]));
        });
    }
    group.finish();
}

criterion_group!(benches, route, growth);
criterion_main!(benches);

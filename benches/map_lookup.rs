//! How long does one key take to find its shard? Budget: 100 ns with the hash of the key, no allocation.

use criterion::{Criterion, criterion_group, criterion_main};
use pgloom::ids::Token;
use pgloom::topology::spec::{DistributionSpec, MethodSpec, RangeSpec, RingSpec, ValueSpec};
use pgloom::topology::{Distribution, Server, Shard, TopologySpec};
use pgloom::types::KeyType;
use pgloom::types::canonical::KeyValue;

fn distribution(shards: usize, method: MethodSpec, pins: usize) -> Distribution {
    let shard = |i: usize| Shard {
        name: format!("shard{i}").into(),
        servers: vec![Server::new("db", 5432, &format!("shop{i}"))],
    };
    let pin = |i: usize| ValueSpec { key: vec![(i * 1_000_003).to_string()], shard: "shard0".into() };
    let spec = TopologySpec {
        shards: (0..shards).map(shard).collect(),
        distributions: vec![DistributionSpec {
            name: "d".into(),
            key_types: vec![KeyType::Int8],
            method,
            pins: (0..pins).map(pin).collect(),
        }],
        ..TopologySpec::default()
    };
    let (mut topology, _) = spec.build().expect("the benchmark's topology is valid");
    topology.distributions.remove(0)
}

fn ranges(count: usize) -> MethodSpec {
    let bound = |i: usize| Some((i * 10_000).to_string());
    let range = |i: usize| RangeSpec { from: bound(i), to: bound(i + 1), shard: format!("shard{}", i % 16) };
    MethodSpec::Range((0..count).map(range).collect())
}

/// Integer keys in an order that the branch predictor cannot learn.
fn locate(c: &mut Criterion, name: &str, distribution: &Distribution) {
    let mut next = 0u64;
    c.bench_function(name, |b| {
        b.iter(|| {
            next = next.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            distribution.locate(&[KeyValue::Int((next >> 44) as i64)])
        });
    });
}

fn map_lookup(c: &mut Criterion) {
    for shards in [4, 16, 256] {
        let ring = distribution(shards, MethodSpec::Ring(RingSpec::default()), 0);
        locate(c, &format!("locate by hash, {shards} shards"), &ring);
    }
    locate(c, "locate by hash, 4 shards, 100 pins", &distribution(4, MethodSpec::Ring(RingSpec::default()), 100));
    locate(c, "locate by range, 100 ranges", &distribution(16, ranges(100), 0));
    let ring = distribution(16, MethodSpec::Ring(RingSpec::default()), 0);
    let pgloom::topology::shard_map::Method::Hash(map) = ring.map.method() else { return };
    let mut token = 1u64;
    c.bench_function("token to shard, 16 shards", |b| {
        b.iter(|| {
            token = token.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            map.get(Token(token))
        });
    });
}

criterion_group!(benches, map_lookup);
criterion_main!(benches);

//! How long does a statement whose analysis is cached take to its plan? Budget: 200 ns for a point statement, no allocation.

#![allow(clippy::unwrap_used)]

#[path = "../tests/plans/world.rs"]
#[allow(dead_code)]
mod world;

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use pgloom::plan::{self, Inputs, Parameters};
use pgloom::types::{Format, oid};
use world::{Bound, World};

fn plan(c: &mut Criterion, name: &str, sql: &str, bound: Option<Bound>) {
    let world = World::new();
    let (scan, analysis) = world.analyze(sql);
    let view = world.view_of();
    let parameters = bound.as_ref().map(|bound| bound as &dyn Parameters);
    c.bench_function(name, |b| {
        b.iter(|| {
            let inputs = Inputs { text: black_box(sql), slots: &scan.slots, parameters };
            plan::plan(black_box(&analysis), &inputs, &view)
        });
    });
}

fn analyze(c: &mut Criterion, name: &str, sql: &str) {
    let world = World::new();
    c.bench_function(name, |b| b.iter(|| world.analyze(black_box(sql))));
}

fn keys(c: &mut Criterion) {
    let int = |format, bytes: &[u8]| Some(Bound(vec![(oid::INT8, format, Some(bytes.to_vec()))]));
    plan(c, "plan/literal integer", "SELECT * FROM orders WHERE tenant_id = 123456", None);
    plan(c, "plan/literal text", "SELECT * FROM racks WHERE zone = 'west'", None);
    plan(c, "plan/bind text", "SELECT * FROM orders WHERE tenant_id = $1", int(Format::Text, b"123456"));
    plan(
        c,
        "plan/bind binary",
        "SELECT * FROM orders WHERE tenant_id = $1",
        int(Format::Binary, &123_456i64.to_be_bytes()),
    );
    plan(c, "plan/insert", "INSERT INTO orders (tenant_id, id) VALUES (123456, 1)", None);
    plan(c, "plan/join", "SELECT * FROM orders o JOIN lines l USING (tenant_id) WHERE o.tenant_id = 123456", None);
    plan(c, "plan/in list", "SELECT * FROM orders WHERE tenant_id IN (1, 2, 3, 4, 5, 6, 7, 8)", None);
    plan(c, "plan/scatter", "SELECT id FROM orders ORDER BY id LIMIT 10", None);
    analyze(c, "analyze/point", "SELECT * FROM orders WHERE tenant_id = 123456");
    analyze(
        c,
        "analyze/join",
        "SELECT o.id, sum(l.qty) FROM orders o JOIN lines l ON l.tenant_id = o.tenant_id AND l.order_id = o.id \
         WHERE o.tenant_id = 7 AND o.paid GROUP BY o.id ORDER BY 2 DESC LIMIT 10",
    );
}

criterion_group!(benches, keys);
criterion_main!(benches);

//! What the metrics cost a statement: under 1 % of the 15 us that a relay takes for it.
#![allow(missing_docs)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use pgloom::metrics::{Metrics, QueryClass};

fn count(c: &mut Criterion) {
    let metrics = Metrics::new();
    c.bench_function("metrics/count bytes", |b| b.iter(|| metrics.client_bytes_in.inc_by(black_box(65))));
    c.bench_function("metrics/one statement", |b| {
        b.iter(|| metrics.query(black_box(QueryClass::Single), 1, Duration::from_micros(black_box(300))));
    });
    c.bench_function("metrics/read the clock", |b| b.iter(Instant::now));
}

criterion_group!(benches, count);
criterion_main!(benches);

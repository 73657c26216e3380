//! From a literal or parameter as the client sent it to the token that finds its shard. Budget: 60 ns for an integer or a
//! uuid, and no allocation.

#![allow(clippy::unwrap_used)]

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use pgloom::types::canonical::token;
use pgloom::types::{Format, KeyType, oid};

fn tokens(c: &mut Criterion) {
    let mut group = c.benchmark_group("token");
    group.measurement_time(Duration::from_secs(2));
    let mut typed = |name: &str, key: KeyType, oid: u32, format: Format, bytes: &[u8]| {
        group.bench_function(name, |b| {
            b.iter(|| token(&[black_box(key).parse_typed(oid, format, black_box(bytes)).unwrap()]));
        });
    };
    typed("bigint, text parameter", KeyType::Int8, 0, Format::Text, b"1234567");
    typed("bigint, binary int4", KeyType::Int8, oid::INT4, Format::Binary, &[0, 18, 214, 135]);
    typed("uuid, text", KeyType::Uuid, 0, Format::Text, b"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11");
    typed("uuid, binary", KeyType::Uuid, 0, Format::Binary, b"a0eebc999c0b4ef8");
    typed("text of 12 bytes", KeyType::Text, 0, Format::Text, b"tenant-00017");
    typed("text of 200 bytes", KeyType::Text, 0, Format::Text, &[b'x'; 200]);
    typed("numeric, text", KeyType::Numeric, 0, Format::Text, b"12345.6700");
    typed("timestamptz, text", KeyType::Timestamptz, 0, Format::Text, b"2024-01-05 10:00:00.123456+02");
    group.bench_function("bigint, literal", |b| {
        b.iter(|| token(&[black_box(KeyType::Int8).parse_number(black_box("1234567"), false).unwrap()]));
    });
    group.bench_function("two columns", |b| {
        b.iter(|| {
            let tenant = KeyType::Text.parse_text(black_box("tenant-00017")).unwrap();
            token(&[tenant, KeyType::Int8.parse_text(black_box("1234567")).unwrap()])
        });
    });
    group.finish();
}

criterion_group!(benches, tokens);
criterion_main!(benches);

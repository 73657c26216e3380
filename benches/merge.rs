//! What a merged row costs, beside the same rows only passed on: nanoseconds a row (criterion's "time" divided by "elem").

#![allow(clippy::unwrap_used)]

use std::hint::black_box;
use std::time::Duration;

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use pgloom::merge::{Advance, ColumnInfo, Merge, MergeLimits};
use pgloom::plan::combine::{Combine, Fold, Gather, Output, SortKey, Step};
use pgloom::types::compare::TextStyle;
use pgloom::types::{Collation, Format, oid};
use pgloom::wire::row::RowWriter;

const SHARDS: usize = 4;
const ROWS: i64 = 100_000;

fn info(type_oid: u32) -> ColumnInfo {
    ColumnInfo { type_oid, format: Format::Text, collation: Collation::Bytes }
}

/// Rows of about 65 bytes, dealt out to the shards: a key that grows, a text, a number, a date.
fn shards(key: impl Fn(i64) -> String) -> Vec<Vec<Bytes>> {
    let mut shards = vec![Vec::new(); SHARDS];
    let mut writer = RowWriter::new();
    for i in 0..ROWS {
        writer.start();
        writer.column(Some(key(i).as_bytes()));
        writer.column(Some(b"some text of a row"));
        writer.column(Some(b"12345.67"));
        writer.column(Some(b"2024-01-05"));
        shards[(i.wrapping_mul(7_919) as usize >> 2) % SHARDS].push(writer.finish().unwrap());
    }
    shards
}

fn drive(merge: &mut Merge, shards: &[Vec<Bytes>]) -> usize {
    let mut inputs: Vec<_> = shards.iter().map(|rows| rows.iter()).collect();
    let mut bytes = 0;
    let mut any = 0;
    loop {
        let input = match merge.advance().unwrap() {
            Advance::Need(input) => input,
            Advance::NeedAny => any,
            Advance::Row(row) => {
                bytes += row.len();
                continue;
            }
            Advance::Done => return bytes,
        };
        match inputs[input].next() {
            Some(row) => merge.push(input, row.clone()).unwrap(),
            None => {
                merge.close(input);
                any += 1;
            }
        }
    }
}

fn per_row(c: &mut Criterion, name: &str, combine: &Combine, columns: &[ColumnInfo], shards: &[Vec<Bytes>]) {
    let mut group = c.benchmark_group("merge");
    group.throughput(Throughput::Elements(ROWS as u64)).sample_size(20).measurement_time(Duration::from_secs(3));
    let limits = MergeLimits { max_bytes: 1 << 30 };
    group.bench_function(name, |b| {
        b.iter_batched_ref(
            || Merge::new(combine, None, columns, TextStyle::default(), SHARDS, limits).unwrap(),
            |merge| black_box(drive(merge, shards)),
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

fn merge(c: &mut Criterion) {
    let columns = [info(oid::INT8), info(oid::TEXT), info(oid::NUMERIC), info(oid::DATE)];
    let key = |column| SortKey { column, descending: false, nulls_first: false };
    let sorted = |column| Combine { gather: Gather::MergeSort(vec![key(column)]), ..Combine::CONCAT };
    let output = |column, fold| Output { column, fold };
    let ints = shards(|i| i.to_string());

    // The floor: what the state machine itself and the clone of a `Bytes` cost.
    per_row(c, "pass on", &Combine::CONCAT, &columns, &ints);
    per_row(c, "drop one hidden column", &Combine { hidden: 1, ..Combine::CONCAT }, &columns, &ints);
    // At most four times the floor.
    per_row(c, "sort by bigint", &sorted(0), &columns, &ints);
    let texts = shards(|i| format!("customer-{i:08}"));
    per_row(c, "sort by text", &sorted(0), &[info(oid::TEXT), columns[1], columns[2], columns[3]], &texts);
    let stamps = shards(|i| format!("2024-01-05 {:02}:{:02}:{:02}.5", i / 3600 % 24, i / 60 % 60, i % 60));
    per_row(c, "sort by timestamp", &sorted(0), &[info(oid::TIMESTAMP), columns[1], columns[2], columns[3]], &stamps);
    per_row(c, "sort by numeric", &sorted(0), &[info(oid::NUMERIC), columns[1], columns[2], columns[3]], &ints);

    let outputs = vec![output(0, Fold::Key), output(2, Fold::Sum), output(3, Fold::Max)];
    let aggregate = |sorted| Step::Aggregate { groups: vec![0], sorted, outputs: outputs.clone() };
    let groups = shards(|i| (i / 20).to_string());
    let in_order = Combine { steps: vec![aggregate(true)], ..sorted(0) };
    per_row(c, "groups of 20 in order: sum of numeric, max of date", &in_order, &columns, &groups);
    let hashed = Combine { steps: vec![aggregate(false)], ..Combine::CONCAT };
    per_row(c, "groups of 20 by hash: sum of numeric, max of date", &hashed, &columns, &groups);
    let distinct = Combine { steps: vec![Step::Distinct { columns: 1, sorted: false }], ..Combine::CONCAT };
    per_row(c, "distinct by hash", &distinct, &columns, &groups);
}

criterion_group!(benches, merge);
criterion_main!(benches);

//! What a merged row costs, beside the same rows only passed on: rows and bytes a second of one core.

#![allow(clippy::unwrap_used)]

mod rows;

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use pgloom::plan::combine::Combine;
use pgloom::types::oid;
use rows::{deal, info, merge_all, sorted};

const ROWS: u64 = 100_000;

/// Rows of about 65 bytes: a key that grows, a text, a number, a date.
fn shards(key: impl Fn(u64) -> String) -> Vec<Vec<Bytes>> {
    deal(ROWS, |i| [key(i), "some text of a row".into(), "12345.67".into(), "2024-01-05".into()])
}

fn merge(c: &mut Criterion) {
    let columns = |key| [info(key), info(oid::TEXT), info(oid::NUMERIC), info(oid::DATE)];
    let ints = shards(|i| i.to_string());
    // The floor: what the state machine itself and the clone of a `Bytes` cost. (Rows that need no look pass in runs, beside it.)
    merge_all(c, "merge", "pass on", &Combine::CONCAT, &columns(oid::INT8), &ints);
    let hidden = Combine { hidden: 1, ..Combine::CONCAT };
    merge_all(c, "merge", "drop one hidden column", &hidden, &columns(oid::INT8), &ints);
    // At most four times the floor.
    merge_all(c, "merge", "sort by bigint", &sorted(0), &columns(oid::INT8), &ints);
    let texts = shards(|i| format!("customer-{i:08}"));
    merge_all(c, "merge", "sort by text C", &sorted(0), &columns(oid::TEXT), &texts);
    let stamps = shards(|i| format!("2024-01-05 {:02}:{:02}:{:02}.5", i / 3600 % 24, i / 60 % 60, i % 60));
    merge_all(c, "merge", "sort by timestamp", &sorted(0), &columns(oid::TIMESTAMP), &stamps);
    merge_all(c, "merge", "sort by numeric", &sorted(0), &columns(oid::NUMERIC), &ints);
}

criterion_group!(benches, merge);
criterion_main!(benches);

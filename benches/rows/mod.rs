//! Replies of shards in memory, and a merge driven over them as the executor does: shared by the benchmarks of the merge.

use std::hint::black_box;
use std::time::Duration;

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput};
use pgloom::merge::{Advance, ColumnInfo, Merge, MergeLimits};
use pgloom::plan::combine::{Combine, Gather, SortKey};
use pgloom::types::compare::TextStyle;
use pgloom::types::{Collation, Format};
use pgloom::wire::row::RowWriter;

// What the router itself allocates with.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

pub const SHARDS: usize = 4;

pub fn info(type_oid: u32) -> ColumnInfo {
    ColumnInfo { type_oid, format: Format::Text, collation: Collation::Bytes }
}

/// Sorted inputs.
pub fn sorted(column: usize) -> Combine {
    Combine {
        gather: Gather::MergeSort(vec![SortKey { column, descending: false, nulls_first: false }]),
        ..Combine::CONCAT
    }
}

/// Rows of text columns, dealt out to the shards in an order of its own that keeps each shard's rows in theirs.
pub fn deal<const COLUMNS: usize>(rows: u64, columns: impl Fn(u64) -> [String; COLUMNS]) -> Vec<Vec<Bytes>> {
    let mut shards = vec![Vec::new(); SHARDS];
    let mut writer = RowWriter::new();
    for i in 0..rows {
        writer.start();
        columns(i).iter().for_each(|value| writer.column(Some(value.as_bytes())));
        shards[(i.wrapping_mul(7_919) as usize >> 2) % SHARDS].push(writer.finish().unwrap());
    }
    shards
}

/// One merge of all rows: gives the bytes that came out.
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

/// Measures a merge of all rows, in rows and bytes a second of one core.
pub fn merge_all(
    c: &mut Criterion,
    group: &str,
    name: &str,
    combine: &Combine,
    columns: &[ColumnInfo],
    shards: &[Vec<Bytes>],
) {
    let (mut rows, mut bytes) = (0, 0);
    for row in shards.iter().flatten() {
        rows += 1;
        bytes += row.len() as u64;
    }
    let mut group = c.benchmark_group(group);
    group.throughput(Throughput::ElementsAndBytes { elements: rows, bytes });
    group.sample_size(20).measurement_time(Duration::from_secs(3));
    let limits = MergeLimits { max_bytes: 1 << 30, memory: pgloom::memory::Memory::new(None) };
    group.bench_function(name, |b| {
        b.iter_batched_ref(
            || Merge::new(combine, None, columns, TextStyle::default(), SHARDS, limits.clone()).unwrap(),
            |merge| black_box(drive(merge, shards)),
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

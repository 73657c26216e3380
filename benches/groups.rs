//! What a partial row costs that is folded into its group, by the number of groups: rows and bytes a second of one core.

#![allow(clippy::unwrap_used)]

mod rows;

use criterion::{Criterion, criterion_group, criterion_main};
use pgloom::plan::combine::{Combine, Fold, Output, Step};
use pgloom::types::oid;
use rows::{SHARDS, deal, info, merge_all, sorted};

const ROWS: u64 = 1_000_000;

fn output(column: usize, fold: Fold) -> Output {
    Output { column, fold }
}

fn groups(c: &mut Criterion) {
    // The group, count(*), sum of an integer, max of a date, sum and count of a numeric: what the shards answer to avg.
    let columns = [oid::INT8, oid::INT8, oid::INT8, oid::DATE, oid::NUMERIC, oid::INT8].map(info);
    let row = |i: u64, group: u64| {
        [group.to_string(), "5".into(), i.to_string(), "2024-01-05".into(), format!("{}.25", i % 100_000), "5".into()]
    };
    let aggregate = |sorted, outputs: &[Output]| Step::Aggregate { groups: vec![0], sorted, outputs: outputs.to_vec() };
    let counts = [output(0, Fold::Key), output(1, Fold::Count), output(2, Fold::Sum)];
    let averages = [output(0, Fold::Key), output(4, Fold::Avg { count: 5 })];
    let sums = [output(0, Fold::Key), output(4, Fold::Sum)];
    let maxima = [output(0, Fold::Key), output(3, Fold::Max)];
    let hashed = |outputs: &[Output]| Combine { steps: vec![aggregate(false, outputs)], ..Combine::CONCAT };
    let in_order = |outputs: &[Output]| Combine { steps: vec![aggregate(true, outputs)], ..sorted(0) };

    for of in [10, 10_000, 1_000_000] {
        // Every shard has every group, or as many of them as it has rows.
        let rows = deal(ROWS, |i| row(i, i.wrapping_mul(7_919) % of));
        merge_all(c, "hash", &format!("{of} groups: count, sum"), &hashed(&counts), &columns, &rows);
        let distinct = Combine { steps: vec![Step::Distinct { columns: 1, sorted: false }], ..Combine::CONCAT };
        let key_alone: Vec<_> = deal(ROWS, |i| [(i.wrapping_mul(7_919) % of).to_string()]);
        merge_all(c, "hash", &format!("{of} distinct values"), &distinct, &columns[..1], &key_alone);
        if of == 10_000 {
            merge_all(c, "hash", &format!("{of} groups: avg of numeric"), &hashed(&averages), &columns, &rows);
            merge_all(c, "hash", &format!("{of} groups: sum of numeric"), &hashed(&sums), &columns, &rows);
            merge_all(c, "hash", &format!("{of} groups: max of date"), &hashed(&maxima), &columns, &rows);
        }
    }

    // As a scatter has them: each shard's rows are groups of its own, in order.
    let rows = deal(ROWS, |i| row(i, i / SHARDS as u64));
    merge_all(c, "sorted", "250000 groups: count, sum", &in_order(&counts), &columns, &rows);
    merge_all(c, "sorted", "250000 groups: avg of numeric", &in_order(&averages), &columns, &rows);
    let distinct = Combine { steps: vec![Step::Distinct { columns: 1, sorted: true }], ..sorted(0) };
    merge_all(c, "sorted", "250000 distinct values", &distinct, &columns, &rows);
}

criterion_group!(benches, groups);
criterion_main!(benches);

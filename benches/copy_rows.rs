//! How fast is COPY FROM data cut into rows, with one key field of each? Bytes a second, by format.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use pgloom::copy::{KeyField, Piece, RowCutter};
use pgloom::sql::utility::CopyFormat;

/// What a client sends in one message.
const CHUNK: usize = 64 * 1024;
const ROWS: usize = 20_000;

fn inputs() -> Vec<(&'static str, CopyFormat, Vec<u8>)> {
    let text = CopyFormat::Text { delimiter: b'\t', null: "\\N".into(), header: false };
    let csv = CopyFormat::Csv {
        delimiter: b',',
        quote: b'"',
        escape: b'"',
        null: "".into(),
        header: false,
        force_not_null: Vec::new(),
        force_null: Vec::new(),
    };
    let row = |i: usize, between: &str, name: &str| {
        [format!("{i}"), format!("{}", i % 977), name.to_owned(), "2026-01-31 12:00:00+00".into(), "19.90".into()]
            .join(between)
    };
    let lines = |between: &str, name: &str| (0..ROWS).map(|i| row(i, between, name) + "\n").collect::<String>();
    let mut binary = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0".to_vec();
    for i in 0..ROWS as u64 {
        binary.extend([0, 3, 0, 0, 0, 8]);
        binary.extend(i.to_be_bytes());
        binary.extend([0, 0, 0, 8]);
        binary.extend((i % 977).to_be_bytes());
        binary.extend([0, 0, 0, 40]);
        binary.extend([b'x'; 40]);
    }
    vec![
        ("text", text.clone(), lines("\t", "some customer's name").into_bytes()),
        ("text_escapes", text, lines("\t", "some\\tcustomer's \\\\ \\N name").into_bytes()),
        ("csv", csv.clone(), lines(",", "some customer's name").into_bytes()),
        ("csv_quotes", csv, lines(",", "\"some, \"\"customer's\"\" name\"").into_bytes()),
        ("binary", CopyFormat::Binary, binary),
    ]
}

/// Cuts all the data, counts rows and adds up the lengths of their keys.
fn cut(format: &CopyFormat, data: &[u8]) -> (usize, usize) {
    let mut cutter = RowCutter::new(format, &[(1, "tenant".into())], 1 << 20);
    let (mut rows, mut keys) = (0, 0);
    for chunk in data.chunks(CHUNK) {
        cutter.feed(chunk);
        while let Some(Ok(piece)) = cutter.next_piece() {
            if let Piece::Row(row) = piece {
                rows += 1;
                if let Some(KeyField::Value(value)) = row.keys.first() {
                    keys += value.len();
                }
            }
        }
    }
    (rows, keys)
}

fn copy_rows(c: &mut Criterion) {
    let mut group = c.benchmark_group("copy_rows");
    for (name, format, data) in inputs() {
        assert_eq!(cut(&format, &data).0, ROWS);
        group.throughput(Throughput::Bytes(data.len() as u64));
        group.bench_function(name, |b| b.iter(|| cut(&format, black_box(&data))));
    }
    group.finish();
}

criterion_group!(benches, copy_rows);
criterion_main!(benches);

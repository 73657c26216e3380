//! The rows that we cut out of COPY data against a real Postgres: the same rows, the same values, or the same error.

#![allow(clippy::unwrap_used)]

mod support;

use pgloom::copy::{KeyField, Piece, RowCutter};
use pgloom::sql::utility::{CopyFormat, StatementKind, classify};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use support::{Cluster, Raw};

/// Columns of the table; every one is a key field.
const COLUMNS: [&str; 2] = ["a", "b"];

/// What became of the data: its rows, and the error if there was one.
#[derive(Debug, PartialEq)]
struct Outcome {
    rows: Vec<Vec<Option<Vec<u8>>>>,
    /// SQLSTATE and message.
    error: Option<(String, String)>,
}

fn format_of(statement: &str) -> CopyFormat {
    match classify(statement) {
        StatementKind::Copy(copy) => copy.format,
        other => panic!("{statement}: {other:?}"),
    }
}

/// What Postgres makes of it. The table keeps the rows in order and goes away with the transaction.
fn postgres(raw: &mut Raw, statement: &str, data: &[u8]) -> Outcome {
    raw.must("BEGIN; CREATE TEMP TABLE t (a text, b text) ON COMMIT DROP");
    let reply = raw.copy_in(statement, data);
    let outcome = match reply.error {
        Some(error) => Outcome { rows: Vec::new(), error: Some((error.code().to_owned(), error.message().to_owned())) },
        None => {
            let rows = raw.must("SELECT a, b FROM t ORDER BY ctid").answers.remove(0).rows;
            Outcome { rows, error: None }
        }
    };
    raw.must("ROLLBACK");
    outcome
}

/// What we make of it. A row without one of its keys, or with more fields, is one that Postgres must refuse.
fn ours(format: &CopyFormat, data: &[u8], chunk: usize) -> (Outcome, bool) {
    let keys: Vec<(usize, Box<str>)> = COLUMNS.iter().enumerate().map(|(i, name)| (i, (*name).into())).collect();
    let mut cutter = RowCutter::new(format, &keys, 1 << 20);
    let mut outcome = Outcome { rows: Vec::new(), error: None };
    let mut missing = false;
    let mut chunks = data.chunks(chunk);
    loop {
        let chunk = chunks.next();
        match chunk {
            Some(chunk) => cutter.feed(chunk),
            None => cutter.finish(),
        }
        while let Some(piece) = cutter.next_piece() {
            match piece {
                Ok(Piece::Preamble(_)) => {}
                Ok(Piece::Row(row)) => {
                    let value = |key: &KeyField| match key {
                        KeyField::Null => None,
                        KeyField::Value(value) => Some(value.to_vec()),
                        KeyField::Missing => {
                            missing = true;
                            None
                        }
                    };
                    outcome.rows.push(row.keys.iter().map(value).collect());
                }
                Err(fault) => outcome.error = Some((fault.code.as_str().to_owned(), fault.message.to_string())),
            }
        }
        if chunk.is_none() {
            return (outcome, missing);
        }
    }
}

/// Errors that one shard's Postgres finds by itself in the row that it gets.
fn is_of_one_row(message: &str) -> bool {
    message.starts_with("missing data for column")
        || message == "extra data after last expected column"
        || message == "unterminated CSV quoted field"
        || message.starts_with("invalid byte sequence")
        || message.starts_with("COPY file signature")
        || message.starts_with("invalid COPY file header")
        || message.starts_with("unrecognized critical flags")
        || message.starts_with("row field count is")
        || message == "unexpected EOF in COPY data"
        || message == "invalid field size"
}

fn compare(raw: &mut Raw, statement: &str, data: &[u8]) -> Result<(), String> {
    let format = format_of(statement);
    let expected = postgres(raw, statement, data);
    for chunk in [1, 3, data.len().max(1)] {
        let (outcome, missing) = ours(&format, data, chunk);
        let agree = match (&expected.error, &outcome.error) {
            (None, None) => outcome.rows == expected.rows && !missing,
            // Both saw something wrong between rows: the very same.
            (Some(theirs), Some(ours)) => theirs == ours || is_of_one_row(&theirs.1),
            // The row is handed to a shard, which refuses it.
            (Some((_, message)), None) => is_of_one_row(message),
            (None, Some(_)) => false,
        };
        if !agree {
            let data = data.escape_ascii();
            return Err(format!("{statement}\n{data}\npostgres: {expected:?}\nours: {outcome:?} missing: {missing}"));
        }
    }
    Ok(())
}

const TEXT: &str = "COPY t FROM STDIN";
const CSV: &str = "COPY t FROM STDIN CSV";

const STATEMENTS: &[&str] = &[
    TEXT,
    CSV,
    "COPY t FROM STDIN WITH (HEADER)",
    "COPY t FROM STDIN WITH (DELIMITER ',', NULL '')",
    "COPY t FROM STDIN WITH (DELIMITER '''', NULL 'a')",
    "COPY t FROM STDIN CSV HEADER",
    "COPY t FROM STDIN WITH (FORMAT csv, ESCAPE '\\')",
    "COPY t FROM STDIN WITH (FORMAT csv, QUOTE '.', NULL 'a')",
    "COPY t FROM STDIN WITH (FORMAT csv, QUOTE '''', DELIMITER '.', FORCE_NULL (a), FORCE_NOT_NULL (b))",
    "COPY t FROM STDIN WITH (FORMAT csv, NULL 'a', FORCE_NULL (a, b))",
];

#[test]
fn known_cases() {
    let mut raw = Cluster::shared().oracle.connect("postgres");
    for data in [
        "a\tb\nc\td\n",
        "a\tb\r\nc\td\r\n",
        "a\tb\rc\td\r",
        "a\tb\rc\td",
        "a\tb\nc\td\r\n",
        "a\tb\r\nc\td\n",
        "a\tb\r\nc\td\re\tf\r\n",
        "a\tb\rc\td\n",
        "a\tb\r",
        "\\N\t\\\\N\n",
        "\\N\\N\t\\n\\x4e\\116\\7\\18\n",
        "a\\\tb\tc\\\nd\n",
        "a\tb\\",
        "a\t\\",
        "\\\t\\\n",
        "a\tb\n\\.\nc\td\n",
        "a\tb\\.\nc\td\n",
        "a\tb\n\\.",
        "a\tb\n\\.x",
        "a\tb\r\n\\.\n",
        "a\tb\r\n\\.\r\n",
        "a\tb\r\n\\.\rx",
        "a\tb\n\\.\r\n",
        "\\.\r\nx",
        "\\.",
        "",
        "\n",
        "a\n",
        "a\tb\tc\n",
        "é\t\\xC3\\xA9\n",
        "\\xC3\tb\n",
    ] {
        compare(&mut raw, TEXT, data.as_bytes()).unwrap_or_else(|e| panic!("{e}"));
        compare(&mut raw, "COPY t FROM STDIN WITH (HEADER)", data.as_bytes()).unwrap_or_else(|e| panic!("{e}"));
    }
    for data in [
        "a,b\nc,d\n",
        "\"a\",\"b\"\"c\"\n",
        "\"a\nb\",\"c\rd\"\n",
        "\"a\nb\",\"c\rd\"\r\ne,f\r\n",
        "a,b\r\nc,\"d\n\"\r\n",
        "a,b\nc\rd,e\n",
        "a,b\r\nc,d\n",
        ",\n",
        "\"\",\"\"\n",
        "a\"b,c\"d,e\n",
        "a\"b,c\"d,e\nf\",\"g\n",
        "\"a,b\n",
        "a,b\n\\.\nc,d\n",
        "a,b\n\\.,c\n",
        "a,b\n\\.",
        "a,b\r\n\\.\n,c\r\n",
        "a,b\r\n\\.\r\nc,d\r\n",
        "a,b\n\\.\r\n",
        "\\.\nc,d\n",
        "\\,b\n",
        "a,\"\\\"\nb,\"\\\\\"\n",
        "a,b\r",
        "a,b\rc,d",
        "a,\"b\\",
        "a,b\\",
    ] {
        for statement in STATEMENTS.iter().filter(|s| s.to_ascii_uppercase().contains("CSV")) {
            compare(&mut raw, statement, data.as_bytes()).unwrap_or_else(|e| panic!("{e}"));
        }
    }
}

#[test]
fn binary_cases() {
    let mut raw = Cluster::shared().oracle.connect("postgres");
    let header = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0".as_slice();
    let row = b"\0\x02\0\0\0\x01a\xff\xff\xff\xff".as_slice();
    let end = b"\xff\xff".as_slice();
    for parts in [
        &[header, row, row, end][..],
        &[header, row],
        &[header, end],
        &[header],
        &[&header[..10]],
        &[&header[..15]],
        &[b"PGCOPY\n\xff\r\n\0\0\x01\0\0\0\0\0\0", row],
        &[b"PGCOPY\n\xff\r\n\0\0\0\0\0\xff\xff\xff\xff", row],
        &[b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\x02xy", row, end],
        &[b"not the signature..", row],
        &[header, row, end, b"x"],
        &[header, &row[..5]],
        &[header, b"\0\x01\0\0\0\x01a", end],
        &[header, b"\xff\xfe", row],
        &[header, b"\0\x02\xff\xff\xff\xfe\0\0\0\0", end],
        &[header, row, b"\0"],
    ] {
        compare(&mut raw, "COPY t FROM STDIN BINARY", &parts.concat()).unwrap_or_else(|e| panic!("{e}"));
    }
}

/// Data made of pieces that mean something to a reader of COPY data.
#[test]
fn random_data() {
    let mut raw = Cluster::shared().oracle.connect("postgres");
    let piece = prop::sample::select(vec![
        "a", "a", "\\", ".", "\\.", "\n", "\n", "\r", "\r\n", "\"", "\"", "'", ",", ",", "\t", "\t", "\\N", "x4", "12",
    ]);
    // Whole rows of two fields with one kind of newline are most of it: else nearly all data ends in the first row's error.
    let row = (prop::collection::vec(piece.clone(), 0..3), prop::collection::vec(piece.clone(), 0..3))
        .prop_map(|(a, b)| (a.concat(), b.concat()));
    let rows = (prop::collection::vec(row, 0..4), prop::sample::select(vec!["\n", "\r", "\r\n"]))
        .prop_map(|(rows, newline)| (rows, newline.to_owned()));
    let noise = prop::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat());
    let cases = (prop::sample::select(STATEMENTS), rows, noise);
    let mut runner = TestRunner::new(Config { cases: 1500, failure_persistence: None, ..Config::default() });
    let raw = std::cell::RefCell::new(&mut raw);
    let outcome = runner.run(&cases, |(statement, (rows, newline), noise)| {
        let delimiter = match format_of(statement) {
            CopyFormat::Text { delimiter, .. } | CopyFormat::Csv { delimiter, .. } => char::from(delimiter),
            CopyFormat::Binary => ',',
        };
        let rows: String = rows.iter().map(|(a, b)| format!("{a}{delimiter}{b}{newline}")).collect();
        compare(&mut raw.borrow_mut(), statement, format!("{rows}{noise}").as_bytes()).map_err(TestCaseError::fail)
    });
    if let Err(e) = outcome {
        panic!("{e}");
    }
}

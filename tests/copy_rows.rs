//! The rows that we cut out of COPY data against a real Postgres: the same rows, the same values, or the same error.

#![allow(clippy::unwrap_used)]

mod support;

use pgloom::copy::{KeyField, Piece, RowCutter};
use pgloom::sql::utility::encodings::{FileEncoding, Named, named};
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

/// The encoding of the rows, where that is not UTF-8.
fn encoding_of(statement: &str) -> Option<FileEncoding> {
    let StatementKind::Copy(copy) = classify(statement) else { panic!("{statement}") };
    match named(copy.encoding.as_deref()?) {
        Named::Other(encoding) => Some(encoding),
        other => panic!("{statement}: {other:?}"),
    }
}

/// The field in UTF-8; `None`: every Postgres refuses it.
fn converted(raw: &mut Raw, encoding: &FileEncoding, field: &[u8]) -> Option<String> {
    let digits: String = field.iter().map(|byte| format!("{byte:02x}")).collect();
    let reply = raw.simple(&format!("SELECT convert_from('\\x{digits}', '{}')", encoding.name));
    let value = reply.answers.into_iter().next()?.rows.into_iter().next()?.remove(0)?;
    Some(String::from_utf8(value).unwrap())
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
fn ours(raw: &mut Raw, statement: &str, data: &[u8], chunk: usize) -> (Outcome, bool) {
    let (format, encoding) = (&format_of(statement), encoding_of(statement));
    let keys: Vec<(usize, Box<str>)> = COLUMNS.iter().enumerate().map(|(i, name)| (i, (*name).into())).collect();
    let mut cutter = RowCutter::new(format, &keys, 1 << 20);
    if let Some(encoding) = &encoding {
        cutter.in_encoding(encoding.characters);
    }
    let reader = cutter.field_reader();
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
                    let value = |(nth, key): (usize, &KeyField)| {
                        let read = match key {
                            KeyField::Encoded(field) => converted(raw, encoding.as_ref().unwrap(), field)
                                .map_or(KeyField::Missing, |text| reader.as_ref().unwrap().read(nth, &text)),
                            other => other.clone(),
                        };
                        match read {
                            KeyField::Null => None,
                            KeyField::Value(value) => Some(value.to_vec()),
                            KeyField::Missing | KeyField::Encoded(_) => {
                                missing = true;
                                None
                            }
                        }
                    };
                    outcome.rows.push(row.keys.iter().enumerate().map(value).collect());
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
        || message.starts_with("character with byte sequence")
        || message.starts_with("COPY file signature")
        || message.starts_with("invalid COPY file header")
        || message.starts_with("unrecognized critical flags")
        || message.starts_with("row field count is")
        || message == "unexpected EOF in COPY data"
        || message == "invalid field size"
}

fn compare(raw: &mut Raw, statement: &str, data: &[u8]) -> Result<(), String> {
    let expected = postgres(raw, statement, data);
    for chunk in [1, 3, data.len().max(1)] {
        let (outcome, missing) = ours(raw, statement, data, chunk);
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

/// Characters of encodings whose bytes look like ASCII, among signs, and bytes that are none.
#[test]
fn random_data_in_other_encodings() {
    let mut raw = Cluster::shared().oracle.connect("postgres");
    let characters: [(&str, &[&[u8]]); 9] = [
        ("SJIS", &[b"\x83\\", b"\x95\\", b"\x83|", b"\x94\\", b"\xb1", b"\x8f\\"]),
        ("BIG5", &[b"\xa5\\", b"\xb3\\", b"\xbb\\", b"\xa4@", b"\xa4|"]),
        ("GBK", &[b"\xd5\\", b"\x81\\", b"\x81|", b"\x81@"]),
        ("GB18030", &[b"\xd5\\", b"\x81\\", b"\x810\x810", b"\x900\x810", b"\xa8\xa6"]),
        ("UHC", &[b"\xb0\xa1", b"\x81A", b"\x81a", b"\x94\xee"]),
        ("JOHAB", &[b"\xb0\xa1", b"\x88a"]),
        ("SHIFT_JIS_2004", &[b"\x83\\", b"\x82\xf5", b"\xb1", b"\x81|"]),
        ("EUC_JP", &[b"\xb4\xc1", b"\x8e\xb1", b"\x8f\xb0\xa1"]),
        ("WIN1252", &[b"\xe9", b"\x80"]),
    ];
    let statement = |encoding: &str, options: &str| format!("COPY t FROM STDIN WITH (ENCODING '{encoding}'{options})");
    let options = [
        "",
        ", DELIMITER '|'",
        ", FORMAT csv",
        ", FORMAT csv, ESCAPE '\\'",
        ", FORMAT csv, QUOTE '|', ESCAPE 'a'",
        ", NULL 'é'",
    ];
    let of_encoding = |(encoding, characters): (&'static str, &'static [&'static [u8]])| {
        let signs: [&[u8]; 10] = [b"a", b"1", b"\\", b"\"", b"|", b",", b"\t", b"\\N", b"\\x83", b"\xe9"];
        let piece = prop::sample::select([characters, characters, &signs[..9]].concat());
        let field = prop::collection::vec(piece, 0..3).prop_map(|pieces| pieces.concat());
        let rows = (prop::collection::vec((field.clone(), field), 0..4), prop::sample::select(vec!["\n", "\r\n"]));
        let wild = prop_oneof![
            3 => Just(Vec::new()),
            2 => prop::collection::vec(any::<u8>(), 1..24),
            1 => prop::collection::vec(prop::sample::select([characters, &signs[..]].concat()), 1..9)
                .prop_map(|pieces| pieces.concat()),
        ];
        (prop::sample::select(options.to_vec()), rows, wild)
            .prop_map(move |(options, rows, wild)| (encoding, options, rows, wild))
    };
    let cases = prop::sample::select(characters.to_vec()).prop_flat_map(of_encoding);
    let mut runner = TestRunner::new(Config { cases: 2000, failure_persistence: None, ..Config::default() });
    let raw = std::cell::RefCell::new(&mut raw);
    let stored = std::cell::Cell::new(0);
    let outcome = runner.run(&cases, |(encoding, options, (rows, newline), wild)| {
        let statement = statement(encoding, options);
        let delimiter = match format_of(&statement) {
            CopyFormat::Text { delimiter, .. } | CopyFormat::Csv { delimiter, .. } => delimiter,
            CopyFormat::Binary => b',',
        };
        let row = |(a, b): &(Vec<u8>, Vec<u8>)| [a, &[delimiter][..], b, newline.as_bytes()].concat();
        let data = [rows.iter().flat_map(row).collect(), wild.clone()].concat();
        let raw = &mut raw.borrow_mut();
        stored.set(stored.get() + usize::from(postgres(raw, &statement, &data).error.is_none()));
        compare(raw, &statement, &data).map_err(TestCaseError::fail)
    });
    if let Err(e) = outcome {
        panic!("{e}");
    }
    assert!(stored.get() > 300, "{}", stored.get());
}

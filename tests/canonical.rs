//! Our canonical values against a real Postgres: equal there exactly when equal here, refused there when `Invalid` here.

#![allow(clippy::unwrap_used)]

mod support;

use std::slice::from_ref;

use pgloom::types::canonical::{KeyError, KeyValue, token};
use pgloom::types::{Collation, Format, KeyType, oid};
use support::raw::Value;
use support::{Cluster, Raw};

/// Settings under which a spelling must mean the same.
const SETTINGS: [&str; 4] = [
    "SET DateStyle = 'ISO, MDY'; SET TimeZone = 'UTC'",
    "SET DateStyle = 'SQL, DMY'; SET TimeZone = 'America/New_York'",
    "SET DateStyle = 'German, YMD'; SET TimeZone = 'Asia/Kathmandu'",
    "SET DateStyle = 'Postgres, DMY'; SET TimeZone = 'UTC'",
];

/// The name that means the type without a length: `character` alone would be `character(1)`.
fn sql_name(key: KeyType) -> &'static str {
    if key == KeyType::Bpchar { "bpchar" } else { key.name() }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn connect() -> Raw {
    Cluster::shared().oracle.connect("postgres")
}

/// Spellings, of which ours may call some `Unsure`; values that are close to each other on purpose.
fn spellings(key: KeyType) -> Vec<&'static str> {
    match key {
        KeyType::Int2 | KeyType::Int4 | KeyType::Int8 => vec![
            "5",
            "05",
            " 5 ",
            "+5",
            "-5",
            "- 5",
            "-05",
            "0",
            "-0",
            "",
            " ",
            "+",
            "5.0",
            "5e0",
            "0x5",
            "5_0",
            "1_",
            "\t5\n",
            "5\u{b}\u{c}\r",
            "5 5",
            "32767",
            "32768",
            "-32768",
            "-32769",
            "2147483647",
            "2147483648",
            "-2147483648",
            "-2147483649",
            "9223372036854775807",
            "9223372036854775808",
            "-9223372036854775808",
            "-9223372036854775809",
            "99999999999999999999999",
            "00000000000000000000000000005",
            "five",
            "5\u{a0}",
            "５",
        ],
        KeyType::Text | KeyType::Varchar | KeyType::Bpchar => vec![
            "",
            " ",
            "  ",
            "a",
            "a ",
            "a  ",
            " a",
            "A",
            "ab",
            "a b",
            "a\t",
            "a\t ",
            "ä",
            "a\u{308}",
            "ß",
            "ss",
            "日本",
            "日本 ",
            "'",
            "\\x61",
            "\u{1F600}",
        ],
        KeyType::Uuid => vec![
            "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
            "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11",
            "{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}",
            "a0eebc999c0b4ef8bb6d6bb9bd380a11",
            "a0ee-bc99-9c0b-4ef8-bb6d-6bb9-bd38-0a11",
            "{a0eebc99-9c0b4ef8-bb6d6bb9-bd380a11}",
            "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a12",
            "{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
            "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}",
            " a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
            "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11 ",
            "a0-eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
            "a0eebc99--9c0b-4ef8-bb6d-6bb9bd380a11",
            "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1",
            "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a111",
            "g0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
            "",
            "{}",
            "-a0eebc999c0b4ef8bb6d6bb9bd380a11",
            "a0eebc999c0b4ef8bb6d6bb9bd380a11-",
            "00000000-0000-0000-0000-000000000000",
            "ffffffffffffffffffffffffffffffff",
        ],
        KeyType::Bool => vec![
            "t", "true", "TRUE", "tr", "tRu", "y", "yes", "ye", "on", "ON", "1", "f", "fa", "fals", "false", "n", "no",
            "of", "off", "0", "o", "O", "", " true ", "\ttrue\n", " ", "truex", "yess", "onn", "offf", "01", "00",
            "11", "2", "-1", "tf", "ｔ", "ja",
        ],
        KeyType::Bytea => vec![
            "",
            "\\x",
            "\\x61",
            "a",
            "\\x 61",
            "\\x61 ",
            "\\x6 1",
            "\\x6",
            "\\x6G",
            "\\x6162",
            "\\x61 62",
            "ab",
            "\\141",
            "\\141b",
            "\\\\",
            "\\",
            "\\x5c",
            "\\8",
            "\\400",
            "\\377",
            "\\xFF",
            "\\xff",
            "\\000",
            "\\x00",
            "\\X61",
            " \\x61",
            "ä",
            "\\xc3a4",
            "\\12",
            "\\x\n61\t",
            "\\x61\u{b}",
        ],
        KeyType::Numeric => vec![
            "0",
            "-0",
            "+0",
            "0.0",
            "-0.00",
            "1",
            "1.0",
            "1.00",
            "01",
            "+1",
            " 1 ",
            "1.",
            ".5",
            "0.5",
            "-.5",
            "-0.50",
            ".",
            "",
            " ",
            "-",
            "+",
            "1e3",
            "1E3",
            "1e+3",
            "1e03",
            "1000",
            "1e-3",
            "0.001",
            ".001",
            "12.345e2",
            "1234.5",
            "12345e-2",
            "123.45",
            "1e",
            "1e+",
            "1 e3",
            "1e 3",
            "1e3 ",
            "NaN",
            "nan",
            " NAN ",
            "-NaN",
            "+NaN",
            "Infinity",
            "infinity",
            "inf",
            "+inf",
            "-inf",
            "-Infinity",
            "+Infinity",
            "infin",
            "infinityx",
            "1_000",
            "0x10",
            "0b1",
            "1..0",
            "1.0.0",
            "1e3.5",
            "--1",
            "1-",
            "123456789012345678901234567890.123456789012345678901234567890",
            "1e100",
            "1e-100",
            "-1e100",
            "9999",
            "10000",
            "9999.9999",
            "0.00010000",
            "1e200000",
            "1e-20000",
            "1e99999999999",
            "0e99999",
            "١",
        ],
        KeyType::Date => vec![
            "2024-01-05",
            "2024-1-5",
            " 2024-01-05 ",
            "2024-01-05 00:00:00",
            "2024-01-05 23:59:59.999999",
            "2024-01-05T10:00",
            "2024-01-05T10:00:00Z",
            "2024-01-05 10:00:00+14",
            "2024-01-05 10:00:00-12:30",
            "2024-01-05 24:00:00",
            "2024-01-05 23:59:60",
            "2024-01-06",
            "2024-13-05",
            "2024-00-05",
            "2024-02-30",
            "2024-02-29",
            "2023-02-29",
            "1900-02-29",
            "2000-02-29",
            "2024-01-32",
            "2024-01-00",
            "2024-04-31",
            "0000-01-01",
            "0001-01-01",
            "9999-12-31",
            "10000-01-01",
            "0044-03-15 BC",
            "1/5/2024",
            "05.01.2024",
            "20240105",
            "2024.5",
            "Jan 5, 2024",
            "2024-Jan-05",
            "J2451545",
            "infinity",
            "-infinity",
            "Infinity",
            "INFINITY",
            "+infinity",
            "epoch",
            "EPOCH",
            "1970-01-01",
            "",
            "x",
            "2024-01",
            "2024-01-05x",
            "2024-01-05 10",
            "2024-01-05 1:00",
            "2024-01-05 10:0",
            "2024-01-05 10:00:00.1234567",
            "2024-01-05 25:00",
            "2024-01-05 10:60",
            "2024-01-05 10:00 PM",
            "2024-01-05 10:00 UTC",
            "2024-01-05 10:00 Europe/Berlin",
            "2024-01-05-08",
            "2024-01-05 +08",
        ],
        KeyType::Timestamp | KeyType::Timestamptz => vec![
            "2024-01-05",
            "2024-01-05Z",
            "2024-01-05 00:00:00",
            "2024-01-05 00:00:00Z",
            "2024-01-05 00:00",
            "2024-01-05T00:00:00",
            "2024-01-05t00:00:00z",
            "2024-01-05 00:00:00+00",
            "2024-01-05 02:00:00+02",
            "2024-01-05 02:00:00+0200",
            "2024-01-05 02:00:00+02:00",
            "2024-01-05 02:00:00 +02",
            "2024-01-05T02:00:00 +02:00",
            "2024-01-05 02:00:00+02:00:00",
            "2024-01-05 02:00:00  +02",
            "2024-01-05  00:00:00",
            "2024-01-04 16:07:02-07:52:58",
            "2024-01-05 05:30+05:30",
            "2024-01-05 05:30+0530",
            "2024-01-04 19:00:00-05",
            "2024-01-05 00:00:00.000000",
            "2024-01-05 00:00:00.000001",
            "2024-01-05 00:00:00.1",
            "2024-01-05 00:00:00.100000Z",
            "2024-01-05 00:00:00.1Z",
            "2024-01-05 00:00:00.9999999",
            "2024-01-05 24:00:00",
            "2024-01-05 23:59:60",
            "2024-01-05 00:00:00+2",
            "2024-01-05 00:00:00+15:59",
            "2024-01-05 00:00:00+16",
            "2024-01-05 00:00:00+24",
            "2024-01-05 00:00:00+02:60",
            "2024-01-05 00:00:00-15:59:59",
            "2024-01-05 00:00:00 UTC",
            "2024-01-05 00:00:00 Europe/Berlin",
            "2024-01-05 00:00:00 PST",
            "2024-01-05 00:00:00,5",
            "2024-01-05 00:00:00.",
            "2024-01-05 00:00:00+",
            "2024-01-05 00:00:00+02x",
            "2024-13-05 00:00:00Z",
            "2024-02-30 00:00:00Z",
            "0000-01-01 00:00:00Z",
            "0001-01-01 00:00:00Z",
            "9999-12-31 23:59:59.999999Z",
            "9999-12-31 23:59:59.999999",
            "infinity",
            "-infinity",
            " Infinity ",
            "epoch",
            "1970-01-01 00:00:00Z",
            "1970-01-01 00:00:00",
            "",
            "now",
            "today",
            "2024-01-05 00:00:00 BC",
            "20240105T000000",
            "2024-01-05T00:00:00.000+00:00",
            "1999-12-31 23:59:59.999999+00",
            "1999-12-31 23:59:59.999999",
            "2000-01-01 00:00:00+00:30",
        ],
        KeyType::Inet => vec![
            "10.0.0.1",
            "10.0.0.1/32",
            "10.0.0.1/8",
            "10.0.0.0/8",
            "10/8",
            "10.1/16",
            "10.1",
            "010.0.0.1",
            "10.0.0.01",
            "10.0.0.1/08",
            "10.0.0.1/33",
            "10.0.0.256",
            "10.0.0.1/",
            "/8",
            "10.0.0.1.2",
            "10..0.1",
            " 10.0.0.1",
            "10.0.0.1 ",
            "",
            "x",
            "0.0.0.0",
            "0.0.0.0/0",
            "255.255.255.255",
            "::",
            "::1",
            "::1/128",
            "0:0:0:0:0:0:0:1",
            "::1/64",
            "::/0",
            "::1/129",
            "1:2:3:4:5:6:7::",
            "1:2:3:4:5:6:7:0",
            "1:2:3:4:5:6:7:8",
            "1:2:3:4:5:6:7:8:9",
            "::ffff:10.0.0.1",
            "::ffff:a00:1",
            "::10.0.0.1",
            "FE80::1",
            "fe80::1",
            "fe80::0001",
            "fe80::00001",
            "fe80::1%eth0",
            "1::2::3",
            ":1",
            "1:",
            ":::",
            "::ffff:10.0.0.256",
            "2001:db8::/32",
        ],
    }
}

/// The spellings that are `Ok`, with their values, checked one by one against the server.
fn accepted(raw: &mut Raw, key: KeyType) -> Vec<(&'static str, KeyValue<'static>)> {
    let name = sql_name(key);
    let mut accepted = Vec::new();
    for text in spellings(key) {
        let reply = raw.simple(&format!("SELECT {}::{name}", quoted(text)));
        match key.parse_text(text) {
            Ok(value) => {
                assert!(reply.error.is_none(), "{name} {text:?}: {value} here, {} in Postgres", reply.text());
                accepted.push((text, value.into_owned()));
            }
            Err(KeyError::Invalid) => assert!(reply.error.is_some(), "{name} {text:?} is valid: {}", reply.text()),
            Err(KeyError::Unsure) => {}
            Err(KeyError::NoMatch) => panic!("{name} {text:?}: an input function gives a value or an error"),
        }
    }
    accepted
}

#[test]
fn spellings_are_equal_here_when_they_are_equal_in_postgres() {
    let mut raw = connect();
    for setting in SETTINGS {
        raw.must(setting);
        for key in KeyType::ALL {
            let name = sql_name(key);
            let accepted = accepted(&mut raw, key);
            assert!(accepted.len() >= 5, "{name}: {accepted:?}");
            let rows: Vec<String> =
                accepted.iter().enumerate().map(|(i, (text, _))| format!("({i}, {}::{name})", quoted(text))).collect();
            let collate =
                if matches!(key, KeyType::Text | KeyType::Varchar | KeyType::Bpchar) { "COLLATE \"C\"" } else { "" };
            let sql = format!(
                "WITH v (i, v) AS (VALUES {}) SELECT a.i, b.i, a.v = b.v, a.v {collate} < b.v FROM v a, v b",
                rows.join(", ")
            );
            for row in raw.must(&sql).answers.remove(0).rows {
                let cell = |i: usize| String::from_utf8(row[i].clone().unwrap()).unwrap();
                let (a, b) =
                    (&accepted[cell(0).parse::<usize>().unwrap()], &accepted[cell(1).parse::<usize>().unwrap()]);
                assert_eq!(cell(2) == "t", a.1 == b.1, "{name} {:?} = {:?}", a.0, b.0);
                assert_eq!(a.1 == b.1, a.1.canonical_bytes() == b.1.canonical_bytes(), "{name} {:?} {:?}", a.0, b.0);
                assert_eq!(a.1 == b.1, token(from_ref(&a.1)) == token(from_ref(&b.1)));
                let order = a.1.compare(&b.1, Collation::Bytes).unwrap();
                assert_eq!(cell(3) == "t", order.is_lt(), "{name} {:?} < {:?}", a.0, b.0);
                assert_eq!(a.1 == b.1, order.is_eq());
            }
        }
    }
}

#[test]
fn text_and_binary_form_of_a_value_are_the_same_value() {
    let mut raw = connect();
    for key in KeyType::ALL {
        for (text, value) in accepted(&mut raw, key) {
            let sql = format!("SELECT {}::{}", quoted(text), sql_name(key));
            let rows = raw.extended(&sql, &[], &[], 1).answers.remove(0).rows;
            let binary = rows[0][0].clone().unwrap();
            for oid in [key.oid(), 0, oid::UNKNOWN] {
                assert_eq!(key.parse_typed(oid, Format::Binary, &binary).as_ref(), Ok(&value), "{key:?} {text:?}");
            }
            let rows = raw.extended(&sql, &[], &[], 0).answers.remove(0).rows;
            let printed = String::from_utf8(rows[0][0].clone().unwrap()).unwrap();
            match key.parse_text(&printed) {
                Ok(again) => assert_eq!(again, value, "{key:?} {text:?}"),
                // The year 10000 is not among the spellings that we take.
                Err(error) => assert_eq!((error, key), (KeyError::Unsure, KeyType::Timestamptz), "{printed}"),
            }
            // And back: what we show of a value is a spelling of it.
            if !matches!(value, KeyValue::Text(_) | KeyValue::Timestamp(_)) {
                assert_eq!(key.parse_text(&value.to_string()), Ok(value.clone()), "{value}");
            }
        }
    }
}

#[test]
fn numbers_match_a_column_as_postgres_compares_them() {
    let mut raw = connect();
    let numbers = [
        "0",
        "5",
        "05",
        "5.0",
        "5.",
        "5.5",
        ".5",
        "5e0",
        "50e-1",
        "5e3",
        "5000",
        "32767",
        "32768",
        "32768.0",
        "2147483647",
        "2147483648",
        "3000000000",
        "9223372036854775807",
        "9223372036854775808",
        "9223372036854775808.0",
        "1e30",
        "0.00",
        "12345678901234567890.5",
    ];
    let columns = [
        "-9223372036854775808",
        "-32768",
        "-5",
        "0",
        "5",
        "5000",
        "32767",
        "2147483647",
        "2147483648",
        "9223372036854775807",
    ];
    for key in KeyType::ALL {
        let name = sql_name(key);
        let column_texts: Vec<&str> = match key {
            KeyType::Int2 | KeyType::Int4 | KeyType::Int8 => {
                columns.into_iter().filter(|c| key.parse_text(c).is_ok()).collect()
            }
            KeyType::Numeric => [&columns[..], &["5.5", "0.5", "NaN", "5.000", "9223372036854775808", "1e30"]].concat(),
            _ => spellings(key).into_iter().filter(|text| key.parse_text(text).is_ok()).take(2).collect(),
        };
        for digits in numbers {
            for negative in [false, true] {
                let literal = if negative { format!("-{digits}") } else { digits.to_owned() };
                let parsed = key.parse_number(digits, negative);
                for column in &column_texts {
                    let reply = raw.simple(&format!("SELECT {}::{name} = {literal}", quoted(column)));
                    match &parsed {
                        Ok(value) => assert_eq!(
                            reply.text() == "t",
                            key.parse_text(column).as_ref() == Ok(value),
                            "{name} {column} = {literal}"
                        ),
                        Err(KeyError::NoMatch) => assert_eq!(reply.text(), "f", "{name} {column} = {literal}"),
                        Err(KeyError::Invalid) => assert_eq!(reply.code(), "42883", "{name} {column} = {literal}"),
                        Err(KeyError::Unsure) => panic!("{name} {literal} is a plain number"),
                    }
                }
            }
        }
        for odd in ["0x1F", "1_000", "0b1", "0o7", "1e", "", "abc"] {
            assert!(matches!(key.parse_number(odd, false), Err(KeyError::Unsure | KeyError::Invalid)), "{odd}");
        }
    }
}

#[test]
fn a_typed_parameter_matches_a_column_as_postgres_compares_them() {
    let mut raw = connect();
    let parameters: [(u32, &str, &[&str]); 16] = [
        (oid::INT2, "int2", &["5", " 05 ", "-32768", "32768"]),
        (oid::INT4, "int4", &["5", "40000", "2147483648"]),
        (oid::INT8, "int8", &["5", "3000000000", "x"]),
        (oid::NUMERIC, "numeric", &["5", "5.00", "5.5", "NaN", "1e30", "Infinity"]),
        (oid::FLOAT8, "float8", &["5", "5.5"]),
        (oid::OID, "oid", &["5"]),
        (oid::TEXT, "text", &["a", "a ", "", "5"]),
        (oid::VARCHAR, "varchar", &["a", "a ", ""]),
        (oid::BPCHAR, "bpchar", &["a", "a ", ""]),
        (oid::NAME, "name", &["a", "a ", ""]),
        (oid::DATE, "date", &["2024-01-05"]),
        (oid::TIMESTAMP, "timestamp", &["2024-01-05", "2024-01-05 00:00:00.000001"]),
        (oid::TIMESTAMPTZ, "timestamptz", &["2024-01-05 00:00:00Z"]),
        (oid::BOOL, "bool", &["t", "no"]),
        (oid::INET, "inet", &["10.0.0.0/8", "::1"]),
        (oid::CIDR, "cidr", &["10.0.0.0/8", "::1", "10/8"]),
    ];
    let columns = |key: KeyType| -> &'static [&'static str] {
        match key {
            KeyType::Int2 | KeyType::Int4 | KeyType::Int8 => &["5", "-32768", "0"],
            KeyType::Numeric => &["5", "5.5", "NaN", "3000000000", "1e30", "Infinity"],
            KeyType::Text | KeyType::Varchar | KeyType::Bpchar => &["a", "a ", "", "5"],
            KeyType::Date | KeyType::Timestamp | KeyType::Timestamptz => &["2024-01-05", "2024-01-06"],
            KeyType::Bool => &["t", "f"],
            KeyType::Inet => &["10.0.0.0/8", "10.0.0.1", "::1"],
            KeyType::Uuid => &["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"],
            KeyType::Bytea => &["\\x61"],
        }
    };
    let mut decided = 0;
    for key in KeyType::ALL {
        for (oid, type_name, texts) in parameters {
            for text in texts {
                let mut forms = vec![Value::text(text)];
                let binary = raw.extended(&format!("SELECT {}::{type_name}", quoted(text)), &[], &[], 1);
                if binary.error.is_none() {
                    forms.push(Value::binary(binary.answers[0].rows[0][0].clone().unwrap()));
                }
                for form in forms {
                    let format = Format::from_code(form.format).unwrap();
                    let bytes = form.bytes.clone().unwrap();
                    let parsed = key.parse_typed(oid, format, &bytes);
                    for column in columns(key) {
                        let sql = format!("SELECT {}::{} = $1", quoted(column), sql_name(key));
                        let reply = raw.extended(&sql, &[oid], from_ref(&form), 0);
                        let context =
                            format!("{key:?} {column:?} = {type_name} {text:?} ({format:?}): {}", reply.text());
                        match &parsed {
                            Ok(value) => {
                                decided += 1;
                                // A timestamptz column without an offset is spelled in the session's zone, UTC here.
                                let column = if key == KeyType::Timestamptz {
                                    format!("{column} 00:00Z")
                                } else {
                                    (*column).to_owned()
                                };
                                assert_eq!(
                                    reply.text() == "t",
                                    key.parse_text(&column).as_ref() == Ok(value),
                                    "{context}"
                                );
                            }
                            Err(KeyError::NoMatch) => assert_eq!(reply.text(), "f", "{context}"),
                            Err(KeyError::Invalid) => assert!(reply.error.is_some(), "{context}"),
                            Err(KeyError::Unsure) => {}
                        }
                    }
                }
            }
        }
    }
    assert!(decided > 150, "{decided}");
}

#[test]
fn an_assigned_value_is_stored_as_we_foresee() {
    let mut raw = connect();
    let cases: [(KeyType, &str, i32, &[&str]); 14] = [
        (KeyType::Varchar, "varchar(3)", 7, &["abc", "ab", "abc  ", "abcd", "äöü", "äöü ", "äöüß", "a  ", "日本語  "]),
        (KeyType::Bpchar, "char(3)", 7, &["abc", "ab", "abc  ", "abcd", "äöü ", "", "   a"]),
        (
            KeyType::Numeric,
            "numeric(5,2)",
            (5 << 16 | 2) + 4,
            &["1", "1.005", "1.004", "-1.005", "999.994", "999.995", "1000", "NaN", "Infinity", "0.001"],
        ),
        (KeyType::Numeric, "numeric(3)", (3 << 16) + 4, &["0.5", "-0.5", "0.4", "999.4", "999.5", "12.999"]),
        (
            KeyType::Numeric,
            "numeric(2,-3)",
            (2 << 16 | (-3 & 0x7FF)) + 4,
            &["499", "500", "1499.99", "99499", "99500", "-1500"],
        ),
        (
            KeyType::Numeric,
            "numeric(2,4)",
            (2 << 16 | 4) + 4,
            &["0.0099", "0.00994", "0.00995", "0.01", "0.00001", "0.5", "-0.00555"],
        ),
        (KeyType::Numeric, "numeric", -1, &["1.50"]),
        (
            KeyType::Timestamp,
            "timestamp(0)",
            0,
            &[
                "2024-01-05 00:00:00.5",
                "2024-01-05 00:00:00.499999",
                "1999-01-05 00:00:00.5",
                "1999-12-31 23:59:59.5",
                "infinity",
            ],
        ),
        (
            KeyType::Timestamp,
            "timestamp(3)",
            3,
            &["2024-01-05 00:00:00.0005", "1999-01-05 00:00:00.0005", "2024-01-05 00:00:00.000499"],
        ),
        (
            KeyType::Timestamptz,
            "timestamptz(1)",
            1,
            &["2024-01-05 00:00:00.05Z", "1999-01-05 00:00:00.05Z", "-infinity"],
        ),
        (KeyType::Timestamp, "timestamp", -1, &["2024-01-05 00:00:00.123456"]),
        (KeyType::Int4, "int4", -1, &["5"]),
        (KeyType::Text, "text", -1, &["a  "]),
        (KeyType::Varchar, "varchar", -1, &["a  "]),
    ];
    for (key, column, typmod, texts) in cases {
        raw.must(&format!("CREATE TEMPORARY TABLE stored (v {column})"));
        assert_eq!(
            raw.value("SELECT atttypmod FROM pg_attribute WHERE attrelid = 'stored'::regclass AND attnum = 1"),
            typmod.to_string()
        );
        for text in texts {
            let reply =
                raw.simple(&format!("INSERT INTO stored VALUES ({}) RETURNING v::{}", quoted(text), sql_name(key)));
            match key.stored(key.parse_text(text).unwrap(), typmod) {
                Ok(value) => assert_eq!(
                    key.parse_typed(0, Format::Binary, &binary(&mut raw, key)).as_ref(),
                    Ok(&value),
                    "{column} {text:?}"
                ),
                Err(KeyError::Invalid) => assert!(reply.error.is_some(), "{column} {text:?}: {}", reply.text()),
                Err(error) => panic!("{column} {text:?}: {error:?}"),
            }
            raw.must("TRUNCATE stored");
        }
        raw.must("DROP TABLE stored");
    }
    for (key, column) in [
        (KeyType::Int2, "int2"),
        (KeyType::Int4, "int4"),
        (KeyType::Int8, "int8"),
        (KeyType::Numeric, "numeric"),
        (KeyType::Text, "text"),
    ] {
        raw.must(&format!("CREATE TEMPORARY TABLE stored (v {column})"));
        for digits in [
            "5",
            "5.4",
            "5.5",
            "6.5",
            "0.5",
            "32767.4",
            "32767.5",
            "32768",
            "2147483647.5",
            "9223372036854775807.5",
            "9223372036854775808",
            "1e3",
            "007",
        ] {
            for negative in [false, true] {
                let literal = if negative { format!("-{digits}") } else { digits.to_owned() };
                let reply = raw.simple(&format!("INSERT INTO stored VALUES ({literal})"));
                match key.assign_number(digits, negative) {
                    Ok(value) => assert_eq!(
                        key.parse_typed(0, Format::Binary, &binary(&mut raw, key)).as_ref(),
                        Ok(&value),
                        "{column} {literal}"
                    ),
                    Err(KeyError::Invalid) => assert!(reply.error.is_some(), "{column} {literal}: {}", reply.text()),
                    Err(KeyError::Unsure) => assert_eq!(key, KeyType::Text),
                    Err(KeyError::NoMatch) => panic!("{column} {literal}: an assignment cannot miss"),
                }
                raw.must("TRUNCATE stored");
            }
        }
        raw.must("DROP TABLE stored");
    }
}

/// The one value of `stored`, in binary.
fn binary(raw: &mut Raw, key: KeyType) -> Vec<u8> {
    let sql = format!("SELECT v::{} FROM stored", sql_name(key));
    let rows = raw.extended(&sql, &[], &[], 1).answers.remove(0).rows;
    rows[0][0].clone().unwrap()
}

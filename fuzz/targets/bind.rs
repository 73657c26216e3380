//! Bind parameters: the text and binary forms of a value are one key, what reads as a key reads as the same when it is written in
//! Postgres's plain form, and no bytes do harm.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::net::Ipv6Addr;

use pgloom::plan::route::fits_typmod;
use pgloom::topology::key_order::fits;
use pgloom::types::canonical::{KeyError, KeyValue, token};
use pgloom::types::postgres_hash::{is_hashed, partition_hash};
use pgloom::types::{Collation, Format, KeyType, oid};

use super::input::Input;

pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let key_type = input.pick(&KeyType::ALL);
    match input.below(4) {
        0 => anything(key_type, &mut input),
        1 => numbers(key_type, &mut input),
        _ => both_ways(key_type, &mut input),
    }
}

/// Bytes that say to be of some type.
fn anything(key_type: KeyType, input: &mut Input<'_>) {
    let other = [0, oid::UNKNOWN, oid::NAME, oid::CIDR, oid::FLOAT8, 1_000_000];
    let declared = match input.below(3) {
        0 => key_type.oid(),
        1 => input.pick(&KeyType::ALL).oid(),
        _ => input.pick(&other),
    };
    let format = if input.yes() { Format::Binary } else { Format::Text };
    let typmod = i32::from_be_bytes(input.array());
    let bytes = input.rest();
    let Ok(value) = key_type.parse_typed(declared, format, bytes) else { return };
    is_key(key_type, &value);
    stored(key_type, &value, typmod);
    // What was declared as the column's own type is what is read where nothing was declared.
    if declared == key_type.oid() {
        assert_eq!(key_type.parse_typed(0, format, bytes), Ok(value));
    }
}

/// A value that was read has a place, and Postgres's own forms of it are read as the same.
fn is_key(key_type: KeyType, value: &KeyValue<'_>) {
    assert!(fits(key_type, value), "{value:?} is no {key_type:?}");
    assert!(token(std::slice::from_ref(value)).is_some());
    assert_eq!(partition_hash(std::slice::from_ref(value)).is_some(), is_hashed(key_type));
    assert_eq!(value.compare(value, Collation::Bytes), Some(Ordering::Equal));
    let plain = match value {
        KeyValue::Text(text) => text.to_string(),
        // Printed in UTC, without saying so.
        KeyValue::Timestamp(micros) if key_type == KeyType::Timestamptz && ![i64::MIN, i64::MAX].contains(micros) => {
            let text = value.to_string();
            match text.strip_suffix(" BC") {
                Some(before) => format!("{before}+00 BC"),
                None => format!("{text}+00"),
            }
        }
        other => other.to_string(),
    };
    let again = key_type.parse_text(&plain);
    // Numbers with thousands of digits are not certain, nor years of other than four.
    let far = match value {
        KeyValue::Date(days) => !(-730_000..2_900_000).contains(days),
        KeyValue::Timestamp(micros) => !(-730_000..2_900_000).contains(&(micros / 86_400_000_000)),
        _ => plain.len() > 7_000,
    };
    let too_long = again == Err(KeyError::Unsure) && far;
    assert!(too_long || again.as_ref() == Ok(value), "{value:?} is printed as {plain:?}, which is {again:?}");
    let binary = binary(key_type, value);
    let again = key_type.parse_typed(key_type.oid(), Format::Binary, &binary);
    assert!(too_long || again.as_ref() == Ok(value), "{value:?} is sent as {binary:?}, which is {again:?}");
}

/// What a column makes of a value stays as it is, and is the value itself where the router says that it fits.
fn stored(key_type: KeyType, value: &KeyValue<'_>, typmod: i32) {
    // As pg_attribute can have them.
    let typmod = match key_type {
        KeyType::Varchar | KeyType::Bpchar => 5 + typmod.rem_euclid(40),
        KeyType::Timestamp | KeyType::Timestamptz => typmod.rem_euclid(7),
        KeyType::Numeric => {
            let (precision, scale) = (1 + typmod.rem_euclid(40), typmod.rem_euclid(20));
            (precision << 16 | scale) + 4
        }
        _ => -1,
    };
    let kept = key_type.stored(value.clone(), typmod);
    if let Ok(kept) = &kept {
        assert_eq!(key_type.stored(kept.clone(), typmod).as_ref(), Ok(kept));
        if fits_typmod(key_type, typmod, value) {
            assert_eq!(kept, value, "type modifier {typmod}");
        }
    }
}

/// A number in a statement is what the same digits in a parameter are.
fn numbers(key_type: KeyType, input: &mut Input<'_>) {
    let negative = input.yes();
    let digits: String =
        input.rest().iter().map(|byte| char::from(b"0123456789.e+-_x"[usize::from(byte % 16)])).collect();
    let literal = key_type.parse_number(&digits, negative);
    let assigned = key_type.assign_number(&digits, negative);
    if let Ok(value) = &literal {
        assert!(fits(key_type, value));
        assert_eq!(assigned.as_ref(), Ok(value), "what equals a value is stored as it");
    }
    let text = if negative { format!("-{digits}") } else { digits.clone() };
    if digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') && digits.bytes().all(|b| b != b'_' && b != b'x') {
        match (key_type.parse_text(&text), &literal) {
            (Ok(text), Ok(literal)) if matches!(key_type, KeyType::Numeric) || fits(KeyType::Int8, literal) => {
                assert_eq!(text, *literal);
            }
            (Ok(KeyValue::Int(_)), Err(e)) => panic!("{digits} is a number in a text and {e:?} in a statement"),
            _ => {}
        }
    }
}

/// One value, said in text and in binary.
fn both_ways(key_type: KeyType, input: &mut Input<'_>) {
    let (text, value) = spelled(key_type, input);
    let of = [key_type.oid(), 0][input.below(2)];
    let read = key_type.parse_typed(of, Format::Text, text.as_bytes());
    assert_eq!(read.as_ref(), Ok(&value), "{text:?} as {key_type:?}");
    is_key(key_type, &value);
    let (_, other) = spelled(key_type, input);
    // An order that tells two values apart exactly where they are.
    let order = value.compare(&other, Collation::Bytes);
    assert_eq!(order == Some(Ordering::Equal), value == other);
    assert_eq!(order.map(Ordering::reverse), other.compare(&value, Collation::Bytes));
    assert!(value != other || token(&[value]) == token(&[other]));
}

/// A spelling that every server reads, and what it means.
fn spelled(key_type: KeyType, input: &mut Input<'_>) -> (String, KeyValue<'static>) {
    let blank = |input: &mut Input<'_>| ["", " ", "\t\n"][input.below(3)].to_owned();
    let around = |input: &mut Input<'_>, text: String| blank(input) + &text + &blank(input);
    match key_type {
        KeyType::Int2 | KeyType::Int4 | KeyType::Int8 => {
            let value = match key_type {
                KeyType::Int2 => i64::from(i16::from_be_bytes(input.array())),
                KeyType::Int4 => i64::from(i32::from_be_bytes(input.array())),
                _ => i64::from_be_bytes(input.array()),
            };
            let sign = if value < 0 { "-" } else { ["", "+"][input.below(2)] };
            let text = format!("{sign}{}{}", ["", "000"][input.below(2)], value.unsigned_abs());
            (around(input, text), KeyValue::Int(value))
        }
        KeyType::Text | KeyType::Varchar | KeyType::Bpchar => {
            let length = input.below(16);
            let text = String::from_utf8_lossy(input.bytes(length)).replace('\0', " ");
            let kept = if key_type == KeyType::Bpchar { text.trim_end_matches(' ') } else { &text };
            let value = KeyValue::Text(Cow::Owned(kept.to_owned()));
            (text, value)
        }
        KeyType::Uuid => {
            let bytes: [u8; 16] = input.array();
            let mut text = String::new();
            for (i, byte) in bytes.iter().enumerate() {
                text += if i > 0 && i % 2 == 0 && input.yes() { "-" } else { "" };
                text += &if input.yes() { format!("{byte:02x}") } else { format!("{byte:02X}") };
            }
            (if input.yes() { format!("{{{text}}}") } else { text }, KeyValue::Uuid(bytes))
        }
        KeyType::Date => {
            let (year, month, day) = date(input);
            let text = format!("{year:04}-{month:02}-{day:02}");
            (around(input, text), KeyValue::Date(i32::try_from(days_since_2000(year, month, day)).expect("few years")))
        }
        KeyType::Timestamp | KeyType::Timestamptz => {
            let (year, month, day) = date(input);
            let (hour, minute, second) = (input.below(24), input.below(60), input.below(60));
            let micros = usize::from(u16::from_be_bytes(input.array())) * 15;
            let text = format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{micros:06}");
            let offset = input.below(15) as i64 - 7;
            let zoned = key_type == KeyType::Timestamptz;
            let text = if zoned { format!("{text}{offset:+03}") } else { text };
            let seconds =
                ((days_since_2000(year, month, day) * 24 + hour as i64) * 60 + minute as i64) * 60 + second as i64;
            let seconds = if zoned { seconds - offset * 3600 } else { seconds };
            (around(input, text), KeyValue::Timestamp(seconds * 1_000_000 + micros as i64))
        }
        KeyType::Numeric => {
            let digits = |input: &mut Input<'_>| -> String {
                let length = input.below(12);
                (0..length).map(|_| char::from(b'0' + input.byte() % 10)).collect()
            };
            let (int, frac, negative) = (digits(input), digits(input), input.yes());
            let text =
                format!("{}{int}.{frac}{}", if negative { "-" } else { "" }, if frac.is_empty() { "0" } else { "" });
            let (int, frac) = (int.trim_start_matches('0'), frac.trim_end_matches('0'));
            let zero = int.is_empty() && frac.is_empty();
            let plain = format!(
                "{}{}{}{frac}",
                if negative && !zero { "-" } else { "" },
                if int.is_empty() { "0" } else { int },
                if frac.is_empty() { "" } else { "." }
            );
            (around(input, text), KeyValue::Numeric(Cow::Owned(plain)))
        }
        KeyType::Bytea => {
            let length = input.below(16);
            let bytes = input.bytes(length).to_vec();
            let text = match input.yes() {
                true => format!("\\x{}", bytes.iter().map(|b| format!("{b:02x}")).collect::<String>()),
                false => bytes.iter().map(|b| format!("\\{b:03o}")).collect(),
            };
            (text, KeyValue::Bytea(Cow::Owned(bytes)))
        }
        KeyType::Bool => {
            let words =
                [("t", true), ("TRUE", true), ("y", true), ("on", true), ("1", true), ("f", false), ("no", false)];
            let (text, value) = input.pick(&words);
            (around(input, text.to_owned()), KeyValue::Bool(value))
        }
        KeyType::Inet if input.yes() => {
            let [a, b, c, d]: [u8; 4] = input.array();
            let prefix = input.below(33) as u8;
            let mut address = [0; 16];
            address[..4].copy_from_slice(&[a, b, c, d]);
            let text = if prefix == 32 { format!("{a}.{b}.{c}.{d}") } else { format!("{a}.{b}.{c}.{d}/{prefix}") };
            (text, KeyValue::Inet { family: 4, prefix, address })
        }
        KeyType::Inet => {
            let address: [u8; 16] = input.array();
            let prefix = input.below(129) as u8;
            (format!("{}/{prefix}", Ipv6Addr::from(address)), KeyValue::Inet { family: 6, prefix, address })
        }
    }
}

fn date(input: &mut Input<'_>) -> (i64, i64, i64) {
    let year = 1 + i64::from(u16::from_be_bytes(input.array()) % 9999);
    (year, 1 + input.below(12) as i64, 1 + input.below(28) as i64)
}

/// Counted year by year and month by month.
fn days_since_2000(year: i64, month: i64, day: i64) -> i64 {
    let leaps = |year: i64| year / 4 - year / 100 + year / 400;
    let leap = i64::from(leaps(year) > leaps(year - 1));
    let months: i64 = [31, 28 + leap, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][..month as usize - 1].iter().sum();
    (year - 2000) * 365 + leaps(year - 1) - leaps(1999) + months + day - 1
}

/// The binary form that Postgres's send function gives.
fn binary(key_type: KeyType, value: &KeyValue<'_>) -> Vec<u8> {
    match value {
        KeyValue::Null => panic!("not sent"),
        KeyValue::Int(value) => match key_type {
            KeyType::Int2 => (*value as i16).to_be_bytes().to_vec(),
            KeyType::Int4 => (*value as i32).to_be_bytes().to_vec(),
            _ => value.to_be_bytes().to_vec(),
        },
        KeyValue::Text(text) => text.as_bytes().to_vec(),
        KeyValue::Uuid(bytes) => bytes.to_vec(),
        KeyValue::Date(days) => days.to_be_bytes().to_vec(),
        KeyValue::Timestamp(micros) => micros.to_be_bytes().to_vec(),
        KeyValue::Numeric(text) => numeric(text),
        KeyValue::Bytea(bytes) => bytes.to_vec(),
        KeyValue::Bool(value) => vec![u8::from(*value)],
        KeyValue::Inet { family, prefix, address } => {
            let length = if *family == 4 { 4 } else { 16 };
            [&[if *family == 4 { 2 } else { 3 }, *prefix, 0, length], &address[..usize::from(length)]].concat()
        }
    }
}

/// `numeric_send`: groups of four digits, the weight of the first one, sign and digits behind the point.
fn numeric(text: &str) -> Vec<u8> {
    let special = |sign: u16| [[0u8; 4].as_slice(), &sign.to_be_bytes(), &[0, 0]].concat();
    match text {
        "NaN" => return special(0xC000),
        "Infinity" => return special(0xD000),
        "-Infinity" => return special(0xF000),
        _ => {}
    }
    let (sign, magnitude) = text.strip_prefix('-').map_or((0u16, text), |magnitude| (0x4000, magnitude));
    let (int, frac) = magnitude.split_once('.').unwrap_or((magnitude, ""));
    let int = format!("{}{int}", "0".repeat((4 - int.len() % 4) % 4));
    let padded = format!("{int}{frac}{}", "0".repeat((4 - frac.len() % 4) % 4));
    let mut groups: Vec<u16> =
        padded.as_bytes().chunks(4).map(|four| four.iter().fold(0, |n, b| n * 10 + u16::from(b - b'0'))).collect();
    let mut weight = (int.len() / 4) as i16 - 1;
    while groups.first() == Some(&0) {
        groups.remove(0);
        weight -= 1;
    }
    while groups.last() == Some(&0) {
        groups.pop();
    }
    if groups.is_empty() {
        weight = 0;
    }
    let head = [groups.len() as u16, weight.cast_unsigned(), sign, frac.len() as u16];
    head.iter().chain(&groups).flat_map(|word| word.to_be_bytes()).collect()
}

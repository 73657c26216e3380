#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

fn text(key: KeyType, text: &str) -> KeyValue<'static> {
    key.parse_text(text).unwrap().into_owned()
}

fn typed(key: KeyType, oid: Oid, format: Format, bytes: &[u8]) -> Result<KeyValue<'static>, KeyError> {
    key.parse_typed(oid, format, bytes).map(KeyValue::into_owned)
}

#[test]
fn the_token_is_the_first_word_of_murmur3() {
    // From the reference implementation: the digest begins with these eight bytes, read as a little-endian word.
    let digest = murmur3::murmur3_x64_128(&mut &b"hello"[..], 0).unwrap();
    let bytes = digest.to_le_bytes();
    let first = u64::from_le_bytes(bytes[..8].try_into().unwrap());
    assert_eq!(token(&[KeyValue::Text("hello".into())]), Some(Token(first)));
    assert_eq!(first, 0xcbd8_a7b3_41bd_9b02);
    assert_eq!(token(&[]), None);
    assert_eq!(token(&[KeyValue::Int(1), KeyValue::Null]), None);
}

/// Data lies where these tokens say: a change of any of them loses rows.
#[test]
fn tokens_never_change() {
    let tokens: Vec<String> = [
        vec![text(KeyType::Int8, "5")],
        vec![text(KeyType::Text, "tenant-1")],
        vec![text(KeyType::Uuid, "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11")],
        vec![text(KeyType::Date, "2024-01-05")],
        vec![text(KeyType::Timestamp, "2024-01-05 10:00:00")],
        vec![text(KeyType::Numeric, "12.50")],
        vec![text(KeyType::Bytea, "\\x616263")],
        vec![text(KeyType::Bool, "t")],
        vec![text(KeyType::Inet, "10.0.0.1/8")],
        vec![text(KeyType::Inet, "::1")],
        vec![text(KeyType::Int4, "5"), text(KeyType::Text, "a")],
    ]
    .iter()
    .map(|key| format!("{:016x}", token(key).unwrap().0))
    .collect();
    assert_eq!(
        tokens,
        [
            "3df498b19568b584",
            "f66d88afca3d298f",
            "f3dc9b88e053728f",
            "9593caae28130ff8",
            "e02f4824ee497e69",
            "9b79e77459edfd65",
            "b4963f3f3fad7867",
            "7ace5c908374fe16",
            "8338f76f589b9694",
            "8726868ea2e980f5",
            "9c06f4afceabdf47"
        ]
    );
}

#[test]
fn columns_of_a_composite_key_do_not_run_into_each_other() {
    let key = |a: &str, b: &str| token(&[text(KeyType::Text, a), text(KeyType::Text, b)]).unwrap();
    assert_ne!(key("ab", "c"), key("a", "bc"));
    assert_ne!(key("", "a"), key("a", ""));
}

#[test]
fn an_int4_value_is_the_same_key_in_every_spelling_and_width() {
    let five = KeyValue::Int(5);
    for key in [KeyType::Int2, KeyType::Int4, KeyType::Int8] {
        assert_eq!(text(key, "05"), five);
        assert_eq!(key.parse_number("5.0", false), Ok(five.clone()));
        assert_eq!(typed(key, oid::INT2, Format::Binary, &5i16.to_be_bytes()), Ok(five.clone()));
        assert_eq!(typed(key, oid::INT8, Format::Binary, &5i64.to_be_bytes()), Ok(five.clone()));
        assert_eq!(typed(key, oid::NUMERIC, Format::Text, b"5.000"), Ok(five.clone()));
    }
    assert_eq!(KeyType::Int4.parse_number("3000000000", false), Err(KeyError::NoMatch));
    assert_eq!(KeyType::Int4.parse_number("5.5", false), Err(KeyError::NoMatch));
    assert_eq!(KeyType::Text.parse_number("5", false), Err(KeyError::Invalid));
    assert_eq!(typed(KeyType::Int4, oid::TEXT, Format::Text, b"5"), Err(KeyError::Unsure));
    assert_eq!(typed(KeyType::Int4, 0, Format::Binary, &5i64.to_be_bytes()), Err(KeyError::Unsure));
    assert_eq!(typed(KeyType::Int4, oid::INT4, Format::Binary, &5i64.to_be_bytes()), Err(KeyError::Invalid));
}

#[test]
fn values_are_shown_as_postgres_shows_them() {
    let shown = |key, spelling: &str| text(key, spelling).to_string();
    assert_eq!(shown(KeyType::Text, "it's"), "'it''s'");
    assert_eq!(shown(KeyType::Date, "2024-2-9"), "2024-02-09");
    assert_eq!(shown(KeyType::Timestamp, "1999-12-31T23:59:59.50"), "1999-12-31 23:59:59.5");
    assert_eq!(KeyValue::Date(-2_451_545).to_string(), "4714-11-24 BC");
    assert_eq!(shown(KeyType::Inet, "::1"), "::1/128");
}

/// `numeric_send` of a decimal.
fn numeric_binary(negative: bool, int: &str, frac: &str) -> Vec<u8> {
    let int = format!("{}{int}", "0".repeat((4 - int.len() % 4) % 4));
    let padded = format!("{int}{frac}{}", "0".repeat((4 - frac.len() % 4) % 4));
    let groups: Vec<u16> =
        padded.as_bytes().chunks(4).map(|c| std::str::from_utf8(c).unwrap().parse().unwrap()).collect();
    let weight = (int.len() / 4) as i16 - 1;
    let mut bytes = Vec::new();
    bytes.extend((groups.len() as u16).to_be_bytes());
    bytes.extend(weight.to_be_bytes());
    bytes.extend((if negative { numeric::NEGATIVE } else { numeric::POSITIVE }).to_be_bytes());
    bytes.extend((frac.len() as u16).to_be_bytes());
    groups.iter().for_each(|group| bytes.extend(group.to_be_bytes()));
    bytes
}

/// The reference is the crate.
fn murmur3_of(mut bytes: &[u8]) -> Token {
    Token(murmur3::murmur3_x64_128(&mut bytes, 0).unwrap() as u64)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn what_is_hashed_here_is_hashed_as_elsewhere(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
        prop_assert_eq!(hash(&bytes), Some(murmur3_of(&bytes)));
        prop_assert_eq!(short_hash(&bytes).is_some(), bytes.len() < 16);
    }

    #[test]
    fn an_integer_of_plain_digits_is_the_one_of_postgres_s_input(digits in "[0-9]{0,20}", other in "[-+ 0-9a-f_x.]{0,6}") {
        for key in [KeyType::Int2, KeyType::Int4, KeyType::Int8] {
            for text in [&digits, &other] {
                let read = key.parse_text(text);
                if let Some(value) = key.plain_integer(text.as_bytes()) {
                    prop_assert_eq!(&read, &Ok(KeyValue::Int(value)));
                }
                prop_assert_eq!(&typed(key, 0, Format::Text, text.as_bytes()), &read);
            }
        }
    }
}

proptest! {
    #[test]
    fn integers_in_text_and_binary_have_one_token(value: i64) {
        let binary = typed(KeyType::Int8, oid::INT8, Format::Binary, &value.to_be_bytes());
        prop_assert_eq!(Ok(text(KeyType::Int8, &format!(" {value:+} "))), binary.clone());
        let number = value.unsigned_abs().to_string();
        prop_assert_eq!(KeyType::Int8.parse_number(&number, value < 0), binary);
    }

    #[test]
    fn numerics_in_text_and_binary_have_one_token(
        negative: bool, int in "[0-9]{0,12}", frac in "[0-9]{0,12}", zeros in "0{0,3}", shift in -30i32..30,
    ) {
        prop_assume!(!int.is_empty() || !frac.is_empty());
        let sign = if negative { "-" } else { "" };
        let value = text(KeyType::Numeric, &format!("{sign}{int}.{frac}"));
        let same = text(KeyType::Numeric, &format!(" {sign}{zeros}{int}.{frac}{zeros}E0"));
        prop_assert_eq!(&value, &same);
        let binary = typed(KeyType::Numeric, oid::NUMERIC, Format::Binary, &numeric_binary(negative, &int, &frac));
        prop_assert_eq!(Ok(value.clone()), binary);
        // 10^n back and forth is the same number; once is the same only for zero.
        let shifted = text(KeyType::Numeric, &format!("{sign}{int}.{frac}e{shift}"));
        let back = text(KeyType::Numeric, &format!("{shifted}e{}", -shift));
        prop_assert_eq!(&value, &back);
        prop_assert_eq!(value == shifted, shift == 0 || value == KeyValue::Numeric("0".into()));
    }

    #[test]
    fn numerics_are_ordered_as_numbers(a in -99_999i64..99_999, b in -99_999i64..99_999, scale_a in 0usize..4, scale_b in 0usize..4) {
        let make = |value: i64, scale: usize| {
            let digits = format!("{:0width$}", value.abs(), width = scale + 1);
            let (int, frac) = digits.split_at(digits.len() - scale);
            (text(KeyType::Numeric, &format!("{}{int}.{frac}", if value < 0 { "-" } else { "" })), value * 10i64.pow(4 - scale as u32))
        };
        let ((va, na), (vb, nb)) = (make(a, scale_a), make(b, scale_b));
        prop_assert_eq!(va.compare(&vb, Collation::None), Some(na.cmp(&nb)));
        prop_assert_eq!(va == vb, na == nb);
    }

    #[test]
    fn dates_and_timestamps_in_text_and_binary_have_one_token(days in -730_119i32..2_921_939, time in 0..datetime::DAY_MICROS, offset in -57_599i64..57_599) {
        let date = KeyValue::Date(days);
        prop_assert_eq!(&text(KeyType::Date, &date.to_string()), &date);
        prop_assert_eq!(typed(KeyType::Date, 0, Format::Binary, &days.to_be_bytes()), Ok(date));
        let micros = i64::from(days) * datetime::DAY_MICROS + time;
        let stamp = KeyValue::Timestamp(micros);
        prop_assert_eq!(&text(KeyType::Timestamp, &stamp.to_string()), &stamp);
        let east = format!("{stamp}{}{:02}:{:02}:{:02}", if offset < 0 { '-' } else { '+' }, offset.abs() / 3600, offset.abs() / 60 % 60, offset.abs() % 60);
        prop_assert_eq!(text(KeyType::Timestamptz, &east), KeyValue::Timestamp(micros - offset * 1_000_000));
    }

    #[test]
    fn uuids_and_byteas_in_text_and_binary_have_one_token(bytes: [u8; 16], tail: Vec<u8>) {
        let uuid = KeyValue::Uuid(bytes);
        prop_assert_eq!(&text(KeyType::Uuid, &uuid.to_string().to_uppercase()), &uuid);
        prop_assert_eq!(typed(KeyType::Uuid, 0, Format::Binary, &bytes), Ok(uuid));
        let bytea = KeyValue::Bytea(Cow::Owned(tail.clone()));
        prop_assert_eq!(&text(KeyType::Bytea, &bytea.to_string()), &bytea);
        let escaped: String = tail.iter().map(|b| format!("\\{b:03o}")).collect();
        prop_assert_eq!(&text(KeyType::Bytea, &escaped), &bytea);
        prop_assert_eq!(typed(KeyType::Bytea, 0, Format::Binary, &tail), Ok(bytea));
    }

    #[test]
    fn no_bytes_make_the_parsers_panic(bytes: Vec<u8>, spelling in "\\PC{0,20}", digits in "[-+0-9.eE_x /:{}T]{0,20}", oid in 0u32..3000) {
        for key in KeyType::ALL {
            for oid in [0, oid, key.oid()] {
                let _ = key.parse_typed(oid, Format::Binary, &bytes);
                let _ = key.parse_typed(oid, Format::Text, &bytes);
            }
            for spelling in [&spelling, &digits] {
                let _ = key.parse_number(spelling, true);
                let _ = key.assign_number(spelling, false);
                if let Ok(value) = key.parse_text(spelling) {
                    let _ = (value.to_string(), token(std::slice::from_ref(&value)));
                    for typmod in [-1, 0, 3, 4, 7, 0x30_0006] {
                        let _ = key.stored(value.clone(), typmod);
                    }
                }
            }
        }
    }
}

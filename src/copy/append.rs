//! Fields added behind those of a row: values that its sender left out.

use crate::fault::{Fault, SqlState};
use crate::ids::Oid;
use crate::sql::utility::CopyFormat;
use crate::types::oid;

/// A column whose values are added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Added {
    pub name: Box<str>,
    pub type_oid: Oid,
    pub value: Value,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Each row has its own.
    Integer,
    Uuid,
    /// The same for each row, as it stands there.
    Constant(Box<[u8]>),
}

/// One row's values, in the order of the columns that have such.
#[derive(Debug, Default)]
pub struct RowValues {
    pub integers: Vec<i64>,
    pub uuids: Vec<[u8; 16]>,
}

/// Random, as version 4 says.
pub fn uuid_of(mut bytes: [u8; 16]) -> [u8; 16] {
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    bytes
}

fn uuid_text(uuid: &[u8; 16]) -> String {
    let digits: String = uuid.iter().map(|byte| format!("{byte:02x}")).collect();
    let part = |from: usize, to: usize| digits.get(from..to).unwrap_or_default();
    format!("{}-{}-{}-{}-{}", part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32))
}

/// `0A000` where a value cannot be written behind a row. `encoded`: the rows are in another encoding than UTF-8.
///
/// # Errors
/// The binary form of a column's type is not known here, or the value is not in the rows' encoding and has no escapes.
pub fn check(format: &CopyFormat, added: &[Added], encoded: bool) -> Result<(), Fault> {
    let known =
        |column: &Added| column.value != Value::Integer || matches!(column.type_oid, oid::INT2 | oid::INT4 | oid::INT8);
    let plain = |column: &Added| {
        let ascii = match &column.value {
            Value::Constant(constant) => constant.is_ascii(),
            Value::Integer | Value::Uuid => true,
        };
        column.name.is_ascii() && ascii
    };
    match format {
        CopyFormat::Csv { .. } if encoded && !added.iter().all(plain) => {
            return Err(Fault::unsupported(
                "COPY that leaves out a column with such a name or default is not supported in this encoding",
                "the router adds it to the rows, and it is more than ASCII",
                "Send the rows in UTF-8, or as text.",
            ));
        }
        CopyFormat::Binary if !added.iter().all(known) => {}
        CopyFormat::Text { .. } | CopyFormat::Csv { .. } | CopyFormat::Binary => return Ok(()),
    }
    Err(Fault::unsupported(
        "COPY that leaves out a column that takes its values from a sequence or the clock is not supported in this format",
        "the router adds the values to the rows, and does not know the binary form of the column's type",
        "Give the column its values in the COPY, or send the rows as text.",
    ))
}

/// Whether the digits of an integer can be read as something else.
fn is_odd(format: &CopyFormat) -> bool {
    let digit = |sign: &u8| sign.is_ascii_digit() || *sign == b'-';
    let is_integer = |null: &str| null.parse::<i64>().is_ok();
    match format {
        CopyFormat::Text { delimiter, null, .. } => digit(delimiter) || is_integer(null),
        CopyFormat::Csv { delimiter, quote, escape, null, .. } => {
            [delimiter, quote, escape].into_iter().any(digit) || is_integer(null)
        }
        CopyFormat::Binary => false,
    }
}

/// Each byte as Postgres reads it whatever the signs are.
fn octal(text: &[u8]) -> Vec<u8> {
    text.iter().flat_map(|byte| format!("\\{byte:03o}").into_bytes()).collect()
}

/// A value as it stands in a field of such a row; `None` where that cannot be written here.
pub fn constant(format: &CopyFormat, value: &str) -> Option<Box<[u8]>> {
    let mut field = Vec::with_capacity(value.len() + 2);
    match format {
        CopyFormat::Text { delimiter, null, .. } => {
            for byte in value.bytes() {
                match byte {
                    b'\n' => field.extend_from_slice(b"\\n"),
                    b'\r' => field.extend_from_slice(b"\\r"),
                    b'\\' => field.extend_from_slice(b"\\\\"),
                    sign if sign == *delimiter => field.extend_from_slice(&[b'\\', sign]),
                    // Whatever encoding the rows are in, escapes are bytes of the database's.
                    0x80.. => field.extend_from_slice(&octal(&[byte])),
                    byte => field.push(byte),
                }
            }
            if field == null.as_bytes() {
                // What is compared with the marker is what stands there.
                field = octal(value.as_bytes());
            }
        }
        CopyFormat::Csv { quote, escape, .. } => {
            field.push(*quote);
            for byte in value.bytes() {
                if byte == *quote || byte == *escape {
                    field.push(*escape);
                }
                field.push(byte);
            }
            field.push(*quote);
        }
        CopyFormat::Binary => return binary_of_record(value).map(|(_, value)| value),
    }
    Some(field.into())
}

/// From the digits of a row in its binary form that has nothing but a value: its type and the value. `None`: it is NULL, or no such row.
pub fn binary_of_record(digits: &str) -> Option<(Oid, Box<[u8]>)> {
    let byte = |at: usize| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
    let row: Vec<u8> = (0..digits.len()).step_by(2).map(byte).collect::<Option<_>>()?;
    let number = |at: usize| row.get(at..at + 4)?.first_chunk().map(|bytes| i32::from_be_bytes(*bytes));
    let (oid, length) = (number(4)?.cast_unsigned(), number(8)?);
    let value = row.get(12..)?;
    (usize::try_from(length) == Ok(value.len())).then(|| (oid, value.into()))
}

/// The header line with the added columns.
pub fn header(format: &CopyFormat, line: &[u8], added: &[Added], out: &mut Vec<u8>) {
    let (CopyFormat::Text { delimiter, .. } | CopyFormat::Csv { delimiter, .. }) = format else {
        out.extend_from_slice(line);
        return;
    };
    let (text, newline) = cut_newline(line);
    out.extend_from_slice(text);
    let plain = |name: &str| name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    for column in added {
        out.push(*delimiter);
        match constant(format, &column.name).filter(|_| is_odd(format) || !plain(&column.name)) {
            Some(name) => out.extend_from_slice(&name),
            None => out.extend_from_slice(column.name.as_bytes()),
        }
    }
    out.extend_from_slice(newline);
}

/// The row with the values of the added columns.
///
/// # Errors
/// `22003`: a value is beyond its column's type; told here for the binary format, by the server for the others.
pub fn row(
    format: &CopyFormat,
    row: &[u8],
    values: &RowValues,
    added: &[Added],
    out: &mut Vec<u8>,
) -> Result<(), Fault> {
    match format {
        CopyFormat::Text { delimiter, .. } | CopyFormat::Csv { delimiter, .. } => {
            let (text, newline) = cut_newline(row);
            out.extend_from_slice(text);
            let odd = is_odd(format);
            let (mut integers, mut uuids) = (values.integers.iter(), values.uuids.iter());
            for column in added {
                out.push(*delimiter);
                match &column.value {
                    Value::Constant(constant) => out.extend_from_slice(constant),
                    Value::Integer => match integers.next() {
                        Some(value) if odd => out.extend_from_slice(&odd_integer(format, *value)),
                        Some(value) => out.extend_from_slice(value.to_string().as_bytes()),
                        None => {}
                    },
                    Value::Uuid => {
                        let text = uuids.next().and_then(|uuid| constant(format, &uuid_text(uuid)));
                        out.extend_from_slice(&text.unwrap_or_default());
                    }
                }
            }
            out.extend_from_slice(newline);
            Ok(())
        }
        CopyFormat::Binary => binary_row(row, values, added, out),
    }
}

fn odd_integer(format: &CopyFormat, value: i64) -> Vec<u8> {
    let digits = value.to_string();
    match format {
        CopyFormat::Text { .. } => octal(digits.as_bytes()),
        CopyFormat::Csv { .. } | CopyFormat::Binary => constant(format, &digits).unwrap_or_default().into_vec(),
    }
}

fn binary_row(row: &[u8], values: &RowValues, added: &[Added], out: &mut Vec<u8>) -> Result<(), Fault> {
    let count = row.first_chunk().map(|bytes| i16::from_be_bytes(*bytes));
    let more = i16::try_from(added.len()).ok().and_then(|more| count?.checked_add(more));
    let (Some(0..), Some(count)) = (count, more) else {
        // No row: the server has the words for it.
        out.extend_from_slice(row);
        return Ok(());
    };
    out.extend_from_slice(&count.to_be_bytes());
    out.extend_from_slice(row.get(2..).unwrap_or_default());
    let (mut integers, mut uuids) = (values.integers.iter(), values.uuids.iter());
    for column in added {
        let value = match &column.value {
            Value::Constant(constant) => {
                field(out, constant);
                continue;
            }
            Value::Uuid => {
                uuids.next().into_iter().for_each(|uuid| field(out, uuid));
                continue;
            }
            Value::Integer => integers.next(),
        };
        let Some(value) = value else { continue };
        let out_of_range = |ty: &str| Fault::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, format!("{ty} out of range"));
        match column.type_oid {
            oid::INT2 => field(out, &i16::try_from(*value).map_err(|_| out_of_range("smallint"))?.to_be_bytes()),
            oid::INT4 => field(out, &i32::try_from(*value).map_err(|_| out_of_range("integer"))?.to_be_bytes()),
            _ => field(out, &value.to_be_bytes()),
        }
    }
    Ok(())
}

fn field(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
    out.extend_from_slice(bytes);
}

fn cut_newline(line: &[u8]) -> (&[u8], &[u8]) {
    let end = match line {
        [.., b'\r', b'\n'] => line.len() - 2,
        [.., b'\n' | b'\r'] => line.len() - 1,
        _ => line.len(),
    };
    line.split_at(end)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn added(type_oid: Oid) -> [Added; 1] {
        [Added { name: "id".into(), type_oid, value: Value::Integer }]
    }

    fn integers(values: &[i64]) -> RowValues {
        RowValues { integers: values.to_vec(), uuids: Vec::new() }
    }

    #[test]
    fn a_uuid_is_written_in_the_form_of_the_row() {
        let added = [Added { name: "u".into(), type_oid: oid::UUID, value: Value::Uuid }];
        let values = RowValues { integers: Vec::new(), uuids: vec![uuid_of([0xff; 16])] };
        let written = |format: &CopyFormat, given: &[u8]| {
            let mut out = Vec::new();
            row(format, given, &values, &added, &mut out).unwrap();
            out
        };
        assert_eq!(written(&text("\\N", b'\t'), b"a\n"), b"a\tffffffff-ffff-4fff-bfff-ffffffffffff\n");
        // A sign of the format within it is no sign.
        let odd = String::from_utf8(written(&text("\\N", b'-'), b"a\n")).unwrap();
        assert_eq!(odd, "a-ffffffff\\-ffff\\-4fff\\-bfff\\-ffffffffffff\n");
        let binary = written(&CopyFormat::Binary, &[0, 1, 0, 0, 0, 1, b'x']);
        assert_eq!(binary[..11], [0, 2, 0, 0, 0, 1, b'x', 0, 0, 0, 16]);
        assert_eq!(binary[11..], uuid_of([0xff; 16]));
        assert_eq!(check(&CopyFormat::Binary, &added, false), Ok(()));
    }

    #[test]
    fn a_constant_is_read_as_the_value_that_it_is() {
        let csv = |quote: u8, escape: u8| CopyFormat::Csv {
            delimiter: b',',
            quote,
            escape,
            null: "".into(),
            header: false,
            force_null: Default::default(),
            force_not_null: Default::default(),
        };
        let field = |format: &CopyFormat, value: &str| {
            constant(format, value).map(|field| String::from_utf8_lossy(&field).into_owned())
        };
        let value = "2024-01-02 03:04:05+00";
        assert_eq!(field(&text("\\N", b'\t'), value).as_deref(), Some(value));
        assert_eq!(field(&text("\\N", b':'), value).as_deref(), Some("2024-01-02 03\\:04\\:05+00"));
        assert_eq!(field(&text("\\N", b'\t'), "a\\b\nc").as_deref(), Some("a\\\\b\\nc"));
        assert_eq!(field(&text("x", b'\t'), "x").as_deref(), Some("\\170"));
        assert_eq!(field(&csv(b'"', b'"'), "a\"b").as_deref(), Some("\"a\"\"b\""));
        assert_eq!(field(&csv(b'\'', b'\\'), "a'b\\").as_deref(), Some("'a\\'b\\\\'"));
        assert_eq!(field(&CopyFormat::Binary, value), None);
        let mut out = Vec::new();
        let mut two = [added(oid::INT4), added(oid::TIMESTAMPTZ)].concat();
        two[1].value = Value::Constant(constant(&text("\\N", b'\t'), value).unwrap());
        assert_eq!(row(&text("\\N", b'\t'), b"a\n", &integers(&[5]), &two, &mut out), Ok(()));
        assert_eq!(String::from_utf8_lossy(&out), "a\t5\t2024-01-02 03:04:05+00\n");
    }

    fn text(null: &str, delimiter: u8) -> CopyFormat {
        CopyFormat::Text { delimiter, null: null.into(), header: true }
    }

    #[test]
    fn values_stand_before_the_newline() {
        let format = text("\\N", b'\t');
        for (line, with) in [("a\tb\n", "a\tb\t5\n"), ("a\r\n", "a\t5\r\n"), ("\n", "\t5\n"), ("a", "a\t5")] {
            let mut out = Vec::new();
            assert_eq!(row(&format, line.as_bytes(), &integers(&[5]), &added(oid::INT4), &mut out), Ok(()));
            assert_eq!(String::from_utf8_lossy(&out), with);
        }
        let mut out = Vec::new();
        header(&format, b"a\tb\n", &added(oid::INT4), &mut out);
        assert_eq!(out, b"a\tb\tid\n");
    }

    #[test]
    fn a_binary_row_has_one_field_more() {
        let mut out = Vec::new();
        let given = [0, 1, 0, 0, 0, 1, b'x'];
        assert_eq!(row(&CopyFormat::Binary, &given, &integers(&[7]), &added(oid::INT2), &mut out), Ok(()));
        assert_eq!(out, [0, 2, 0, 0, 0, 1, b'x', 0, 0, 0, 2, 0, 7]);
        let beyond = row(&CopyFormat::Binary, &given, &integers(&[70_000]), &added(oid::INT2), &mut Vec::new());
        assert_eq!(beyond.map_err(|fault| fault.code), Err(SqlState::NUMERIC_VALUE_OUT_OF_RANGE));
    }

    #[test]
    fn integers_are_spelled_so_that_no_sign_is_met() {
        let spelled = |format: &CopyFormat, value: i64| {
            let mut out = Vec::new();
            row(format, b"a\n", &integers(&[value]), &added(oid::INT4), &mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(spelled(&text("5", b'\t'), 5), "a\t\\065\n");
        assert_eq!(spelled(&text("", b'-'), -5), "a-\\055\\065\n");
        let csv = |delimiter: u8, quote: u8, null: &str| CopyFormat::Csv {
            delimiter,
            quote,
            escape: quote,
            null: null.into(),
            header: false,
            force_null: Default::default(),
            force_not_null: Default::default(),
        };
        assert_eq!(spelled(&csv(b'1', b'"', ""), 12), "a1\"12\"\n");
        assert_eq!(spelled(&csv(b',', b'1', ""), 12), "a,11121\n");
        assert_eq!(spelled(&csv(b',', b'"', "5"), 5), "a,\"5\"\n");
        assert!(check(&CopyFormat::Binary, &added(oid::TEXT), false).is_err());
        let named = [Added { name: "é".into(), type_oid: oid::INT4, value: Value::Integer }];
        let refused = |format: &CopyFormat, encoded| check(format, &named, encoded).is_err();
        assert!(refused(&csv(b',', b'"', ""), true) && !refused(&csv(b',', b'"', ""), false));
        assert!(!refused(&text("\\N", b'\t'), true));
        assert_eq!(constant(&text("\\N", b'\t'), "é").as_deref(), Some(&b"\\303\\251"[..]));
    }
}

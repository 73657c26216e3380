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
    /// The same for each row, as it stands there; `None`: an integer of its own.
    pub constant: Option<Box<[u8]>>,
}

/// `0A000` where an integer behind a row could be read as something else.
///
/// # Errors
/// The format's signs are digits, or the binary form of a column's type is not known here.
pub fn check(format: &CopyFormat, added: &[Added]) -> Result<(), Fault> {
    let digit = |sign: u8| sign.is_ascii_digit() || sign == b'-';
    let is_integer = |null: &str| null.parse::<i64>().is_ok();
    let plain = |name: &str| name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    let good = match format {
        _ if added.is_empty() => true,
        CopyFormat::Text { delimiter, null, header } => {
            !digit(*delimiter) && !is_integer(null) && (!header || added.iter().all(|column| plain(&column.name)))
        }
        CopyFormat::Csv { delimiter, quote, escape, null, header, .. } => {
            ![delimiter, quote, escape].into_iter().any(|sign| digit(*sign))
                && !is_integer(null)
                && (!header || added.iter().all(|column| plain(&column.name)))
        }
        CopyFormat::Binary => added
            .iter()
            .all(|column| column.constant.is_some() || matches!(column.type_oid, oid::INT2 | oid::INT4 | oid::INT8)),
    };
    if good {
        return Ok(());
    }
    Err(Fault::unsupported(
        "COPY that leaves out a column that takes its values from a sequence or the clock is not supported in this format",
        "the router adds the values to the rows, where they could be read as something else",
        "Give the column its values in the COPY, or use other signs for delimiter, quote and NULL.",
    ))
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
                    byte => field.push(byte),
                }
            }
            if field == null.as_bytes() {
                return None;
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
        CopyFormat::Binary => return binary_constant(value),
    }
    Some(field.into())
}

/// From the digits of a row in its binary form that has nothing but the value: how many fields, the type, the length, the value.
fn binary_constant(digits: &str) -> Option<Box<[u8]>> {
    let byte = |at: usize| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
    let row: Vec<u8> = (0..digits.len()).step_by(2).map(byte).collect::<Option<_>>()?;
    let length = i32::from_be_bytes(*row.get(8..12)?.first_chunk()?);
    let value = row.get(12..)?;
    (usize::try_from(length) == Ok(value.len())).then(|| value.into())
}

/// The header line with the added columns.
pub fn header(format: &CopyFormat, line: &[u8], added: &[Added], out: &mut Vec<u8>) {
    let (CopyFormat::Text { delimiter, .. } | CopyFormat::Csv { delimiter, .. }) = format else {
        out.extend_from_slice(line);
        return;
    };
    let (text, newline) = cut_newline(line);
    out.extend_from_slice(text);
    for column in added {
        out.push(*delimiter);
        out.extend_from_slice(column.name.as_bytes());
    }
    out.extend_from_slice(newline);
}

/// The row with the values of the added columns.
///
/// # Errors
/// `22003`: a value is beyond its column's type; told here for the binary format, by the server for the others.
pub fn row(format: &CopyFormat, row: &[u8], values: &[i64], added: &[Added], out: &mut Vec<u8>) -> Result<(), Fault> {
    match format {
        CopyFormat::Text { delimiter, .. } | CopyFormat::Csv { delimiter, .. } => {
            let (text, newline) = cut_newline(row);
            out.extend_from_slice(text);
            let mut values = values.iter();
            for column in added {
                out.push(*delimiter);
                match (&column.constant, values.next()) {
                    (Some(constant), _) => out.extend_from_slice(constant),
                    (None, Some(value)) => out.extend_from_slice(value.to_string().as_bytes()),
                    (None, None) => {}
                }
            }
            out.extend_from_slice(newline);
            Ok(())
        }
        CopyFormat::Binary => binary_row(row, values, added, out),
    }
}

fn binary_row(row: &[u8], values: &[i64], added: &[Added], out: &mut Vec<u8>) -> Result<(), Fault> {
    let count = row.first_chunk().map(|bytes| i16::from_be_bytes(*bytes));
    let more = i16::try_from(added.len()).ok().and_then(|more| count?.checked_add(more));
    let (Some(0..), Some(count)) = (count, more) else {
        // No row: the server has the words for it.
        out.extend_from_slice(row);
        return Ok(());
    };
    out.extend_from_slice(&count.to_be_bytes());
    out.extend_from_slice(row.get(2..).unwrap_or_default());
    let mut values = values.iter();
    for column in added {
        let value = match (&column.constant, values.next()) {
            (Some(constant), _) => {
                field(out, constant);
                continue;
            }
            (None, Some(value)) => value,
            (None, None) => continue,
        };
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
    use super::*;

    fn added(type_oid: Oid) -> [Added; 1] {
        [Added { name: "id".into(), type_oid, constant: None }]
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
        assert_eq!(field(&text("x", b'\t'), "x"), None);
        assert_eq!(field(&csv(b'"', b'"'), "a\"b").as_deref(), Some("\"a\"\"b\""));
        assert_eq!(field(&csv(b'\'', b'\\'), "a'b\\").as_deref(), Some("'a\\'b\\\\'"));
        assert_eq!(field(&CopyFormat::Binary, value), None);
        let mut out = Vec::new();
        let mut two = [added(oid::INT4), added(oid::TIMESTAMPTZ)].concat();
        two[1].constant = constant(&text("\\N", b'\t'), value);
        assert_eq!(row(&text("\\N", b'\t'), b"a\n", &[5], &two, &mut out), Ok(()));
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
            assert_eq!(row(&format, line.as_bytes(), &[5], &added(oid::INT4), &mut out), Ok(()));
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
        assert_eq!(row(&CopyFormat::Binary, &given, &[7], &added(oid::INT2), &mut out), Ok(()));
        assert_eq!(out, [0, 2, 0, 0, 0, 1, b'x', 0, 0, 0, 2, 0, 7]);
        let beyond = row(&CopyFormat::Binary, &given, &[70_000], &added(oid::INT2), &mut Vec::new());
        assert_eq!(beyond.map_err(|fault| fault.code), Err(SqlState::NUMERIC_VALUE_OUT_OF_RANGE));
    }

    #[test]
    fn signs_that_are_digits_are_refused() {
        assert!(check(&text("\\N", b'\t'), &added(oid::TEXT)).is_ok());
        assert!(check(&text("5", b'\t'), &added(oid::INT4)).is_err());
        assert!(check(&text("", b'1'), &added(oid::INT4)).is_err());
        assert!(check(&CopyFormat::Binary, &added(oid::TEXT)).is_err());
    }
}

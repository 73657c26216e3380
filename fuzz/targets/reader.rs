//! COPY data read slowly, one byte after another, with all of it at hand: what the router's cutter must agree with.

use pgloom::sql::utility::CopyFormat;

/// A row: where it begins and ends with its newline, and its fields. `None` in them: NULL.
#[derive(Debug, PartialEq, Eq)]
pub struct Row {
    pub start: usize,
    pub end: usize,
    /// Up to the first that cannot be read.
    pub fields: Vec<Option<Vec<u8>>>,
}

/// All rows (a header is the first of them), and whether what follows them is an error.
///
/// `longest`: what announces to be longer, in bytes, is an error, whether it is there or not.
pub fn read(format: &CopyFormat, data: &[u8], longest: usize) -> (Vec<Row>, bool) {
    match format {
        CopyFormat::Text { delimiter, null, .. } => {
            lines(data, None, |line| text_fields(line, *delimiter, null.as_bytes()))
        }
        CopyFormat::Csv { delimiter, quote, escape, null, .. } => {
            let marks = (*delimiter, *quote, *escape);
            lines(data, Some((*quote, *escape)), |line| csv_fields(line, marks, null.as_bytes()))
        }
        CopyFormat::Binary => binary(data, longest),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Newline {
    Unknown,
    Lf,
    Cr,
    CrLf,
}

type Fields = Vec<Option<Vec<u8>>>;

/// `CopyReadLineText`; `csv`: quote and escape.
fn lines(data: &[u8], csv: Option<(u8, u8)>, fields: impl Fn(&[u8]) -> Fields) -> (Vec<Row>, bool) {
    let mut rows = Vec::new();
    let mut newline = Newline::Unknown;
    let (mut start, mut at) = (0, 0);
    let (mut quoted, mut escaped) = (false, false);
    let byte = |at: usize| data.get(at).copied();
    let row = |start: usize, text: usize, end: usize| Row { start, end, fields: fields(&data[start..text]) };
    while let Some(c) = byte(at) {
        if let Some((quote, escape)) = csv {
            let escape = (escape != quote).then_some(escape);
            if quoted && Some(c) == escape {
                escaped = !escaped;
            }
            if c == quote && !escaped {
                quoted = !quoted;
            }
            if Some(c) != escape {
                escaped = false;
            }
        }
        if c == b'\r' && !quoted {
            let next_is_lf = byte(at + 1) == Some(b'\n');
            newline = match newline {
                Newline::Lf => return (rows, true),
                Newline::Unknown | Newline::CrLf if next_is_lf => Newline::CrLf,
                Newline::CrLf => return (rows, true),
                Newline::Unknown | Newline::Cr => Newline::Cr,
            };
            let end = at + if newline == Newline::CrLf { 2 } else { 1 };
            rows.push(row(start, at, end));
            (start, at) = (end, end);
            continue;
        }
        if c == b'\n' && !quoted {
            if matches!(newline, Newline::Cr | Newline::CrLf) {
                return (rows, true);
            }
            newline = Newline::Lf;
            rows.push(row(start, at, at + 1));
            (start, at) = (at + 1, at + 1);
            continue;
        }
        if c == b'\\' && (csv.is_none() || at == start) {
            if byte(at + 1) == Some(b'.') {
                match marker(&byte, at, newline, csv.is_some()) {
                    Marker::Wrong => return (rows, true),
                    Marker::End => {
                        if at > start {
                            rows.push(row(start, at, at));
                        }
                        return (rows, false);
                    }
                    Marker::Data => {}
                }
            } else if csv.is_none() {
                at += 1;
            }
        }
        at += 1;
    }
    if start < data.len() {
        rows.push(row(start, data.len(), data.len()));
    }
    (rows, false)
}

enum Marker {
    End,
    Data,
    Wrong,
}

/// The `\.` at `at`.
fn marker(byte: &impl Fn(usize) -> Option<u8>, at: usize, newline: Newline, csv: bool) -> Marker {
    let unlike = if csv { Marker::Data } else { Marker::Wrong };
    let mut next = at + 2;
    if newline == Newline::CrLf {
        if byte(next) != Some(b'\r') {
            return unlike;
        }
        next += 1;
    }
    match (newline, byte(next)) {
        (Newline::Unknown, Some(b'\n' | b'\r')) => Marker::End,
        (Newline::Lf | Newline::CrLf, Some(b'\n')) | (Newline::Cr, Some(b'\r')) => Marker::End,
        (_, Some(b'\n' | b'\r')) => Marker::Wrong,
        _ => unlike,
    }
}

/// `CopyReadAttributesText`
fn text_fields(line: &[u8], delimiter: u8, null: &[u8]) -> Fields {
    let mut fields = Vec::new();
    let mut at = 0;
    loop {
        let start = at;
        let mut value = Vec::new();
        let mut end;
        let more = loop {
            end = at;
            let Some(&c) = line.get(at) else { break false };
            at += 1;
            if c == delimiter {
                break true;
            }
            if c != b'\\' {
                value.push(c);
                continue;
            }
            let Some(&c) = line.get(at) else { break false };
            at += 1;
            let octal = |at: usize| line.get(at).copied().filter(|b| (b'0'..=b'7').contains(b));
            let hex = |at: usize| line.get(at).and_then(|b| char::from(*b).to_digit(16));
            match c {
                b'0'..=b'7' => {
                    let mut number = u32::from(c - b'0');
                    for _ in 0..2 {
                        let Some(digit) = octal(at) else { break };
                        number = number << 3 | u32::from(digit - b'0');
                        at += 1;
                    }
                    value.push((number & 0o377) as u8);
                }
                b'x' => match hex(at) {
                    None => value.push(b'x'),
                    Some(first) => {
                        at += 1;
                        let second = hex(at);
                        at += usize::from(second.is_some());
                        value.push(second.map_or(first, |second| first << 4 | second) as u8);
                    }
                },
                b'b' => value.push(8),
                b'f' => value.push(12),
                b'n' => value.push(b'\n'),
                b'r' => value.push(b'\r'),
                b't' => value.push(b'\t'),
                b'v' => value.push(11),
                other => value.push(other),
            }
        };
        fields.push((line[start..end] != *null).then_some(value));
        if !more {
            return fields;
        }
    }
}

/// `CopyReadAttributesCSV`, without the options that name columns.
fn csv_fields(line: &[u8], (delimiter, quote, escape): (u8, u8, u8), null: &[u8]) -> Fields {
    let mut fields = Vec::new();
    let mut at = 0;
    loop {
        let mut value = Vec::new();
        let (mut quoted, mut inside) = (false, false);
        let more = loop {
            let Some(&c) = line.get(at) else {
                if inside {
                    return fields;
                }
                break false;
            };
            at += 1;
            if !inside {
                if c == delimiter {
                    break true;
                }
                if c == quote {
                    (quoted, inside) = (true, true);
                } else {
                    value.push(c);
                }
                continue;
            }
            let next = line.get(at).copied();
            if c == escape && (next == Some(escape) || next == Some(quote)) {
                value.extend(next);
                at += 1;
            } else if c == quote {
                inside = false;
            } else {
                value.push(c);
            }
        };
        fields.push((quoted || value != null).then_some(value));
        if !more {
            return fields;
        }
    }
}

/// What binary data begins with.
pub const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";

/// The header is the first row. A row that is cut short is one without fields.
fn binary(data: &[u8], longest: usize) -> (Vec<Row>, bool) {
    let int = |at: usize| data.get(at..at + 4).map(|b| i64::from(i32::from_be_bytes([b[0], b[1], b[2], b[3]])));
    let broken = |start: usize, end: usize| Row { start, end, fields: Vec::new() };
    let mut rows = Vec::new();
    if data.is_empty() {
        return (rows, false);
    }
    if data.get(..SIGNATURE.len()).is_some_and(|begin| begin != SIGNATURE) {
        return (vec![broken(0, SIGNATURE.len())], false);
    }
    let extension = match int(15) {
        Some(extension) if extension < 0 => return (vec![broken(0, 19)], false),
        Some(extension) if 19 + extension as usize > longest => return (rows, true),
        Some(extension) if 19 + extension as usize <= data.len() => extension as usize,
        Some(_) | None => return (vec![broken(0, data.len())], false),
    };
    let mut at = 19 + extension;
    rows.push(broken(0, at));
    loop {
        let start = at;
        let Some(count) = data.get(at..at + 2) else { return (rows, false) };
        let count = i16::from_be_bytes([count[0], count[1]]);
        at += 2;
        match count {
            -1 => return (rows, at < data.len()),
            ..0 => {
                rows.push(broken(start, at));
                return (rows, false);
            }
            0.. => {}
        }
        let mut fields = Vec::new();
        for _ in 0..count {
            let Some(size) = int(at) else {
                rows.push(broken(start, data.len()));
                return (rows, false);
            };
            at += 4;
            match size {
                -1 => fields.push(None),
                ..0 => {
                    rows.push(broken(start, at));
                    return (rows, false);
                }
                size if at - start + size as usize > longest => return (rows, true),
                size => match data.get(at..at + size as usize) {
                    Some(value) => {
                        fields.push(Some(value.to_vec()));
                        at += size as usize;
                    }
                    None => {
                        rows.push(broken(start, data.len()));
                        return (rows, false);
                    }
                },
            }
        }
        rows.push(Row { start, end: at, fields });
    }
}

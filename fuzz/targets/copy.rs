//! COPY rows: the borders of the messages change nothing, and rows and keys are those that a slow reader finds.

use pgloom::copy::{KeyField, Piece, RowCutter};
use pgloom::sql::utility::CopyFormat;

use super::input::{Input, pieces};
use super::reader;

/// Longest row, in bytes: none of these is as long.
const LONGEST: usize = 1 << 20;

/// What was handed out: where it lies in the data, whether it is the preamble, its keys, its line.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Cut {
    start: usize,
    end: usize,
    preamble: bool,
    keys: Vec<Key>,
    line: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Key {
    Missing,
    Null,
    Value(Vec<u8>),
}

pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let format = format(&mut input);
    let positions = [input.below(3), input.below(4)];
    let sizes = input.array::<3>();
    // Not shorter than the header of the binary format.
    let limit = 19 + input.below(64);
    let rest = input.rest();
    // Mostly what begins as binary data must: the rest would never be looked at.
    let signed = matches!(format, CopyFormat::Binary) && !sizes[0].is_multiple_of(4);
    let stream = &if signed { [reader::SIGNATURE, rest].concat() } else { rest.to_vec() }[..];
    let (whole, refused) = cut(&format, &positions, &[stream], LONGEST);
    assert_eq!(cut(&format, &positions, &pieces(stream, &sizes), LONGEST), (whole.clone(), refused.clone()));
    against_reader(&format, &positions, stream, &whole, refused.is_some());
    // With a limit: what is handed out is the same as far as it goes, and no row is longer.
    let (short, _) = cut(&format, &positions, &pieces(stream, &sizes), limit);
    assert!(short.iter().all(|cut| cut.end - cut.start <= limit));
    let cut_short = |cut: &Cut| whole.iter().any(|other| (other.start, other.end) == (cut.start, cut.end));
    assert!(short.iter().all(cut_short));
}

fn format(input: &mut Input<'_>) -> CopyFormat {
    let header = input.yes();
    let csv = |delimiter, quote, escape, null: &str, header| CopyFormat::Csv {
        delimiter,
        quote,
        escape,
        null: null.into(),
        header,
        force_not_null: Vec::new(),
        force_null: Vec::new(),
    };
    match input.below(7) {
        0 => CopyFormat::Text { delimiter: b'\t', null: "\\N".into(), header },
        1 => CopyFormat::Text { delimiter: b',', null: "".into(), header },
        2 => csv(b',', b'"', b'"', "", header),
        3 => csv(b',', b'"', b'\\', "", header),
        4 => csv(b'.', b'\'', b'\'', "a", header),
        5 => csv(b';', b'.', b'"', "\\N", header),
        _ => CopyFormat::Binary,
    }
}

/// All that the cutter hands out, and its error.
fn cut(format: &CopyFormat, positions: &[usize], chunks: &[&[u8]], limit: usize) -> (Vec<Cut>, Option<String>) {
    let wanted: Vec<(usize, Box<str>)> = positions.iter().map(|at| (*at, "k".into())).collect();
    let mut cutter = RowCutter::new(format, &wanted, limit);
    let (mut cuts, mut at) = (Vec::new(), 0);
    let mut chunks = chunks.iter();
    loop {
        let chunk = chunks.next();
        match chunk {
            Some(chunk) => cutter.feed(chunk),
            None => cutter.finish(),
        }
        while let Some(piece) = cutter.next_piece() {
            let (bytes, preamble, keys, line) = match &piece {
                Ok(Piece::Preamble(bytes)) => (*bytes, true, Vec::new(), 0),
                Ok(Piece::Row(row)) => {
                    let key = |key: &KeyField<'_>| match key {
                        KeyField::Missing => Key::Missing,
                        KeyField::Null => Key::Null,
                        KeyField::Value(value) | KeyField::Encoded(value) => Key::Value(value.to_vec()),
                    };
                    (row.bytes, false, row.keys.iter().map(key).collect(), row.line)
                }
                Err(fault) => return (cuts, Some(fault.to_string())),
            };
            let start = at;
            at += bytes.len();
            cuts.push(Cut { start, end: at, preamble, keys, line });
        }
        if chunk.is_none() {
            return (cuts, None);
        }
    }
}

/// The rows of a reader that takes its time.
fn against_reader(format: &CopyFormat, positions: &[usize], stream: &[u8], cuts: &[Cut], refused: bool) {
    // A server refuses a zero byte, and reads on in its own way.
    if matches!(format, CopyFormat::Csv { .. }) && stream.contains(&0) {
        return;
    }
    let (rows, wrong) = reader::read(format, stream, LONGEST);
    let places = |cuts: &[Cut]| cuts.iter().map(|cut| (cut.start, cut.end)).collect::<Vec<_>>();
    let expected: Vec<_> = rows.iter().map(|row| (row.start, row.end)).collect();
    assert_eq!((places(cuts), refused), (expected, wrong));
    for (cut, row) in cuts.iter().zip(&rows).filter(|(cut, _)| !cut.preamble) {
        let keys: Vec<Key> = positions
            .iter()
            .map(|at| match row.fields.get(*at) {
                None => Key::Missing,
                Some(None) => Key::Null,
                Some(Some(value)) => Key::Value(value.clone()),
            })
            .collect();
        assert_eq!(cut.keys, keys, "{:?}", stream[cut.start..cut.end].escape_ascii().to_string());
    }
}

#![allow(clippy::unwrap_used)]
use proptest::prelude::*;

use super::*;
use crate::fault::Fault;
use crate::sql::utility::CopyFormat;
use crate::sql::utility::encodings::Characters;

const LIMIT: usize = 1 << 20;

fn text(header: bool) -> CopyFormat {
    CopyFormat::Text { delimiter: b'\t', null: "\\N".into(), header }
}

fn csv(escape: u8, header: bool) -> CopyFormat {
    CopyFormat::Csv {
        delimiter: b',',
        quote: b'"',
        escape,
        null: "".into(),
        header,
        force_not_null: vec!["forced".into()],
        force_null: vec!["nulled".into()],
    }
}

fn columns(names: &[&str]) -> Vec<(usize, Box<str>)> {
    names.iter().enumerate().map(|(position, name)| (position, (*name).into())).collect()
}

/// All pieces as text: `H:` and the header, a row's line number, bytes and keys, the error's message last.
fn cut_with(format: &CopyFormat, names: &[&str], chunks: &[&[u8]], limit: usize) -> Vec<String> {
    let mut cutter = RowCutter::new(format, &columns(names), limit);
    let mut out = Vec::new();
    let mut drain = |cutter: &mut RowCutter| {
        while let Some(piece) = cutter.next_piece() {
            out.push(show(piece));
        }
    };
    for chunk in chunks {
        cutter.feed(chunk);
        drain(&mut cutter);
    }
    cutter.finish();
    drain(&mut cutter);
    out
}

/// `~` is a newline, `^` a carriage return, `|` a tab; bytes of the binary format are escaped.
fn visible(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => text.replace('\n', "~").replace('\r', "^").replace('\t', "|"),
        _ => bytes.escape_ascii().to_string(),
    }
}

fn show(piece: Result<Piece<'_>, Fault>) -> String {
    match piece {
        Ok(Piece::Preamble(bytes)) => format!("H:{}", visible(bytes)),
        Ok(Piece::Row(row)) => {
            let keys: Vec<String> = row
                .keys
                .iter()
                .map(|key| match key {
                    KeyField::Null => "NULL".into(),
                    KeyField::Missing => "MISSING".into(),
                    KeyField::Value(value) => format!("[{}]", visible(value)),
                    KeyField::Encoded(field) => format!("<{}>", visible(field)),
                })
                .collect();
            format!("{}:{} {}", row.line, visible(row.bytes), keys.join(" "))
        }
        Err(fault) => format!("{} {}", fault.code.as_str(), fault.message),
    }
}

fn cut(format: &CopyFormat, names: &[&str], data: &str) -> Vec<String> {
    cut_with(format, names, &[data.as_bytes()], LIMIT)
}

#[test]
fn text_rows_and_their_keys() {
    let two = |data: &str| cut(&text(false), &["a", "b"], data);
    assert_eq!(two("1\tx\ty\n2\tz"), ["1:1|x|y~ [1] [x]", "2:2|z [2] [z]"]);
    assert_eq!(two("\\N\t\\\\N\n"), [r"1:\N|\\N~ NULL [\N]"]);
    assert_eq!(two("\\N\n\n"), [r"1:\N~ NULL MISSING", "2:~ [] MISSING"]);
    assert_eq!(two("a\\tb\tc\\\td\\\ne\te\n"), [r"1:a\tb|c\|d\~e|e~ [a|b] [c|d~e]"]);
    assert_eq!(two("\\101\\x41\\x4a1\\0411\t\\q\\xg\\\\\n"), [r"1:\101\x41\x4a1\0411|\q\xg\\~ [AAJ1!1] [qxg\]"]);
    assert_eq!(cut(&text(false), &["a"], "a\\"), [r"1:a\ [a]"]);
    assert_eq!(cut(&text(false), &[], "a\nb\n"), ["1:a~ ", "2:b~ "]);
    assert_eq!(two(""), Vec::<String>::new());
}

#[test]
fn key_fields_in_any_order() {
    let mut cutter = RowCutter::new(&text(false), &[(2, "c".into()), (0, "a".into()), (2, "c".into())], LIMIT);
    cutter.feed(b"x\ty\tz\n");
    assert_eq!(show(cutter.next_piece().unwrap()), "1:x|y|z~ [z] [x] [z]");
}

#[test]
fn csv_rows_and_their_keys() {
    let three = |data: &str| cut(&csv(b'"', false), &["a", "forced", "nulled"], data);
    assert_eq!(three("1,,\n"), ["1:1,,~ [1] [] NULL"]);
    assert_eq!(three("\"\",\"\",\"\"\n"), [r#"1:"","",""~ [] [] NULL"#]);
    // The line is that of the row's end.
    assert_eq!(
        three("1\n\"a\"\"b\nc\",x\"y,\"z,\"\nu\"\n"),
        ["1:1~ [1] MISSING MISSING", "4:\"a\"\"b~c\",x\"y,\"z,\"~u\"~ [a\"b~c] [xy,z] [~u]"]
    );
    assert_eq!(three("1,\"x"), [r#"1:1,"x [1] MISSING MISSING"#]);
}

#[test]
fn moments_in_fields_of_times_are_refused() {
    let refused = |format: &CopyFormat, row: &str| {
        let mut cutter = RowCutter::new(format, &columns(&["a"]), LIMIT);
        cutter.refuse_moments(&[(1, "at".into()), (2, "then".into())]);
        cutter.feed(row.as_bytes());
        cutter.finish();
        cutter.next_piece().unwrap().err().map(|fault| fault.code.as_str().to_owned())
    };
    for said in
        ["now", " NOW ", "today", "Tomorrow", "yesterday 10:00", "10:00 today", "\\x6eow", "no\\w", "{now}", "[today,)"]
    {
        for row in [format!("1\t{said}\n"), format!("1\t2024-01-02\t{said}\tnothing\n"), format!("1\t\\N\t{said}")] {
            assert_eq!(refused(&text(false), &row).as_deref(), Some("0A000"), "{row:?}");
        }
    }
    for said in ["now", "\"now\"", "n\"o\"w", "\"to\"day", "ToMorrow"] {
        assert_eq!(refused(&csv(b'"', false), &format!("1,{said}\n")).as_deref(), Some("0A000"), "{said}");
    }
    for row in
        ["now\t\\N\t2024-01-02\n", "1\tinfinity\tepoch\tnow and today\n", "1\tsnow\tmonday\n", "today", "1\t\\n\n"]
    {
        assert_eq!(refused(&text(false), row), None, "{row:?}");
    }
    assert_eq!(refused(&csv(b'"', false), "\"now\",\"2024-01-02\",,\"now\"\n"), None);
}

#[test]
fn csv_with_another_escape() {
    let one = |data: &str| cut(&csv(b'\\', false), &["a"], data);
    assert_eq!(one("\"a\\\"\\\\\\n\",b\\\n"), [r#"1:"a\"\\\n",b\~ [a"\\n]"#]);
    assert_eq!(one("b\\\n"), [r"1:b\~ [b\]"]);
    assert_eq!(one("\"a\"\"b\"\n"), [r#"1:"a""b"~ [ab]"#]);
}

#[test]
fn the_first_newline_decides() {
    for format in [text(false), csv(b'"', false)] {
        assert_eq!(cut(&format, &["a"], "a\r\nb\r\n"), ["1:a^~ [a]", "2:b^~ [b]"]);
        assert_eq!(cut(&format, &["a"], "a\rb\r"), ["1:a^ [a]", "2:b^ [b]"]);
        assert_eq!(cut(&format, &["a"], "a\r"), ["1:a^ [a]"]);
        for (data, what) in [
            ("a\nb\rc\n", "carriage return"),
            ("a\r\nb\rc", "carriage return"),
            ("a\r\nb\n", "newline"),
            ("a\rb\n", "newline"),
        ] {
            let pieces = cut(&format, &["a"], data);
            assert_eq!(pieces.len(), 2, "{data:?}");
            assert!(pieces[1].starts_with("22P04 ") && pieces[1].ends_with(&format!("{what} found in data")));
        }
    }
}

#[test]
fn end_markers() {
    let text = |data: &str| cut(&text(false), &["a"], data);
    assert_eq!(text("a\n\\.\nb\n"), ["1:a~ [a]"]);
    assert_eq!(text("a\nb\\.\nc\n"), ["1:a~ [a]", "2:b [b]"]);
    assert_eq!(text("a\\\\.\n"), [r"1:a\\.~ [a\.]"]);
    assert_eq!(text("a\n\\.")[1], "22P04 end-of-copy marker corrupt");
    assert_eq!(text("a\n\\.x\n")[1], "22P04 end-of-copy marker corrupt");
    let style = "22P04 end-of-copy marker does not match previous newline style";
    assert_eq!(text("a\r\n\\.\n")[1], style);
    assert_eq!(text("a\n\\.\r\n")[1], style);

    let csv = csv(b'"', false);
    assert_eq!(cut(&csv, &["a"], "a\n\\.\nb\n"), ["1:a~ [a]"]);
    assert_eq!(cut(&csv, &["a"], "\\.x\nb\\.\n\"\n\\.\n\""), [r"1:\.x~ [\.x]", r"2:b\.~ [b\.]", r#"5:"~\.~" [~\.~]"#]);
    let mut cutter = RowCutter::new(&csv, &columns(&["a"]), LIMIT);
    cutter.csv_end_marker(false);
    cutter.feed(b"\\.\nb\n");
    assert_eq!(show(cutter.next_piece().unwrap()), r"1:\.~ [\.]");
}

#[test]
fn headers_go_to_all() {
    assert_eq!(cut(&text(true), &["a"], "h\n1\n"), ["H:h~", "2:1~ [1]"]);
    assert_eq!(cut(&csv(b'"', true), &["a"], "\"h\n\",i\r\n1\r\n"), ["H:\"h~\",i^~", "2:1^~ [1]"]);
    assert_eq!(cut(&csv(b'"', true), &["a"], "h"), ["H:h"]);
    assert_eq!(cut(&csv(b'"', true), &["a"], "\\.\n1\n"), Vec::<String>::new());
}

#[test]
fn rows_over_the_limit_are_refused() {
    let long = "x".repeat(50);
    for chunk in [5, 1000] {
        let data = format!("a\n{long}\nb\n");
        let chunks: Vec<&[u8]> = data.as_bytes().chunks(chunk).collect();
        assert_eq!(cut_with(&text(false), &["a"], &chunks, 40), ["1:a~ [a]", "54000 COPY row is too long"]);
    }
    let mut data = binary(&[&[Some(b"a")]]);
    data.truncate(data.len() - 2);
    data.extend([0, 1, 0x7f, 0xff, 0xff, 0xff]);
    assert_eq!(cut_with(&CopyFormat::Binary, &["a"], &[&data], 40).last().unwrap(), "54000 COPY row is too long");
}

/// Before the header of the binary format is read there is no line.
#[test]
fn what_is_wrong_with_a_header_is_at_no_line() {
    let fault = || crate::fault::Fault::protocol("gone");
    for (format, header, place) in [
        (CopyFormat::Binary, &b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\x7f\xff"[..], None),
        (text(true), &[b'x'; 60][..], Some("COPY t, line 1")),
    ] {
        let mut cutter = RowCutter::new(&format, &[(0, "a".into())], 40);
        cutter.of_table("t");
        let place: Option<(u8, Box<str>)> = place.map(|place: &str| (b'W', place.into()));
        assert_eq!(cutter.at_unread_line(fault(), "t").about.first(), place.as_ref());
        cutter.feed(header);
        let told = cutter.next_piece().unwrap().unwrap_err();
        assert_eq!((told.code.0, told.about.first()), (*b"54000", place.as_ref()));
    }
}

fn binary(rows: &[&[Option<&[u8]>]]) -> Vec<u8> {
    let mut data = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\x03ext".to_vec();
    for row in rows {
        data.extend((row.len() as i16).to_be_bytes());
        for field in *row {
            data.extend(field.map_or(-1, |field| field.len() as i32).to_be_bytes());
            data.extend(field.unwrap_or_default());
        }
    }
    data.extend((-1i16).to_be_bytes());
    data
}

#[test]
fn binary_rows() {
    let data = binary(&[&[Some(b"a"), None], &[Some(b"b")], &[None, Some(b"")]]);
    let expected = [
        "H:PGCOPY\\n\\xff\\r\\n\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x03ext",
        "1:\\x00\\x02\\x00\\x00\\x00\\x01a\\xff\\xff\\xff\\xff NULL [a]",
        "2:\\x00\\x01\\x00\\x00\\x00\\x01b MISSING [b]",
        "3:\\x00\\x02\\xff\\xff\\xff\\xff\\x00\\x00\\x00\\x00 [] NULL",
    ];
    let show_all = |chunks: &[&[u8]]| {
        let mut cutter = RowCutter::new(&CopyFormat::Binary, &[(1, "b".into()), (0, "a".into())], LIMIT);
        let mut out = Vec::new();
        for chunk in chunks.iter().map(Some).chain([None]) {
            match chunk {
                Some(chunk) => cutter.feed(chunk),
                None => cutter.finish(),
            }
            while let Some(piece) = cutter.next_piece() {
                out.push(show(piece));
            }
        }
        out
    };
    assert_eq!(show_all(&[&data]), expected);
    assert_eq!(show_all(&data.chunks(1).collect::<Vec<_>>()), expected);
    // The trailer may be missing, but nothing may follow it.
    assert_eq!(show_all(&[&data[..data.len() - 2]]), expected);
    assert_eq!(show_all(&[&data, b"x"]).last().unwrap(), "22P04 received copy data after EOF marker");
    assert_eq!(show_all(&[&data[..30]]).last().unwrap(), "1:\\x00\\x02\\x00\\x00\\x00\\x01a\\xff MISSING MISSING");
    assert_eq!(show_all(&[b"PGCO"]), ["1:PGCO MISSING MISSING"]);
    let broken = [&data[..22], &[0xff, 0xfe, 1, 2]].concat();
    assert_eq!(show_all(&[&broken]).last().unwrap(), "1:\\xff\\xfe MISSING MISSING");
    let broken = [&data[..22], &[0, 1, 0xff, 0xff, 0xff, 0xfe, 1]].concat();
    assert_eq!(show_all(&[&broken]).last().unwrap(), "1:\\x00\\x01\\xff\\xff\\xff\\xfe MISSING MISSING");
}

/// Bytes that look like signs and are parts of characters are none; what cannot be a character ends the rows.
#[test]
fn rows_in_encodings_that_hide_ascii() {
    let cut = |format: &CopyFormat, characters: Characters, data: &[u8], chunk: usize| {
        let mut cutter = RowCutter::new(format, &columns(&["a", "b"]), LIMIT);
        cutter.in_encoding(characters);
        let mut out = Vec::new();
        for chunk in data.chunks(chunk).map(Some).chain([None]) {
            match chunk {
                Some(chunk) => cutter.feed(chunk),
                None => cutter.finish(),
            }
            while let Some(piece) = cutter.next_piece() {
                out.push(show(piece));
            }
        }
        out
    };
    let cases: [(CopyFormat, Characters, &[u8], &[&str]); 6] = [
        (
            text(false),
            Characters::Sjis,
            b"a\x83\\\t\\\x83\\x\n7\t\\x41\n",
            &["1:a\\x83\\\\\\t\\\\\\x83\\\\x\\n <a\\x83\\\\> <\\\\\\x83\\\\x>", "2:7|\\x41~ [7] [A]"],
        ),
        (
            csv(b'"', false),
            Characters::Pairs,
            b"\xb3\\,\"\xb3|\n\"\r\n",
            &["1:\\xb3\\\\,\\\"\\xb3|\\n\\\"\\r\\n <\\xb3\\\\> <\\\"\\xb3|\\n\\\">"],
        ),
        (
            csv(b'\\', false),
            Characters::Gb18030,
            b"1,\"\x81\\\"\n",
            &["1:1,\\\"\\x81\\\\\\\"\\n [1] <\\\"\\x81\\\\\\\">"],
        ),
        // Sixteen bytes behind it a Postgres says so.
        (
            csv(b'"', false),
            Characters::Gb18030,
            b"1,2\n\"\n\x810a,\n",
            &["1:1,2~ [1] [2]", "3:\\\"\\n\\x810a,\\n MISSING MISSING"],
        ),
        (text(true), Characters::Sjis, b"a\tb\n\x83", &["H:a|b~", "2:\\x83 MISSING MISSING"]),
        (text(false), Characters::Single, b"\xe9\tb\n", &["1:\\xe9\\tb\\n <\\xe9> [b]"]),
    ];
    for (format, characters, data, expected) in &cases {
        for chunk in [1, 2, 100] {
            let shown = cut(format, *characters, data, chunk);
            assert_eq!(shown, *expected, "{characters:?}, by {chunk}");
        }
    }
    let long = [b"1\t2\n\xa0".as_slice(), &[b'x'; 14], b"\n"].concat();
    let mut cutter = RowCutter::new(&text(false), &columns(&["a"]), LIMIT);
    cutter.in_encoding(Characters::Sjis);
    cutter.feed(&long[..long.len() - 1]);
    assert!(cutter.next_piece().is_some() && cutter.next_piece().is_none(), "15 bytes are not enough");
    cutter.feed(b"\n");
    assert!(matches!(cutter.next_piece(), Some(Ok(Piece::Row(row))) if row.line == 2 && row.bytes.len() == 16));
    assert!(cutter.next_piece().is_none());
}

fn copy_like() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just("a"),
        Just("\\"),
        Just("."),
        Just("\\."),
        Just("\n"),
        Just("\n"),
        Just("\r"),
        Just("\r\n"),
        Just("\""),
        Just(","),
        Just("\t"),
        Just("\\N"),
        Just("x4"),
        Just("12"),
        Just("'"),
        Just("é"),
    ];
    prop::collection::vec(piece, 0..30).prop_map(|pieces| pieces.concat().into_bytes())
}

fn any_format() -> impl Strategy<Value = CopyFormat> {
    prop_oneof![
        any::<bool>().prop_map(text),
        any::<bool>().prop_map(|header| csv(b'"', header)),
        any::<bool>().prop_map(|header| csv(b'\\', header)),
        Just(CopyFormat::Binary),
    ]
}

proptest! {
    /// Where messages begin and end changes nothing.
    #[test]
    fn chunks_do_not_matter(format in any_format(), data in copy_like(), sizes in prop::collection::vec(1usize..6, 1..40)) {
        let whole = cut_with(&format, &["a", "b"], &[&data], LIMIT);
        let mut rest = &data[..];
        let mut chunks = Vec::new();
        for size in sizes.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (chunk, behind) = rest.split_at((*size).min(rest.len()));
            chunks.push(chunk);
            rest = behind;
        }
        prop_assert_eq!(cut_with(&format, &["a", "b"], &chunks, LIMIT), whole);
    }

    /// What is handed out is the data, in order, up to where it ends or is refused.
    #[test]
    fn bytes_are_handed_out_unchanged(format in any_format(), data in copy_like()) {
        let mut cutter = RowCutter::new(&format, &columns(&["a"]), LIMIT);
        cutter.feed(&data);
        cutter.finish();
        let mut out = Vec::new();
        while let Some(piece) = cutter.next_piece() {
            match piece {
                Ok(Piece::Preamble(bytes)) => out.extend_from_slice(bytes),
                Ok(Piece::Row(row)) => out.extend_from_slice(row.bytes),
                Err(_) => break,
            }
        }
        prop_assert!(data.starts_with(&out));
    }

    #[test]
    fn binary_noise_does_no_harm(data in prop::collection::vec(prop_oneof![Just(0u8), Just(1), Just(0xff), any::<u8>()], 0..80)) {
        let mut whole = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0".to_vec();
        whole.extend(data);
        let one = cut_with(&CopyFormat::Binary, &["a", "b"], &[&whole], 64);
        prop_assert!(!one.is_empty());
        let _ = cut_with(&CopyFormat::Binary, &["a"], &whole.chunks(3).collect::<Vec<_>>(), 64);
    }
}

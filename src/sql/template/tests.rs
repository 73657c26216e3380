#![allow(clippy::unwrap_used)]
use proptest::prelude::*;

use super::*;

fn scanned(text: &str) -> Scan {
    let mut out = Scan::default();
    scan(text, true, &mut out).unwrap();
    out
}

/// The template with its marks readable, and the literals.
fn parts(text: &str) -> (String, Vec<&str>) {
    let scan = scanned(text);
    let template =
        scan.template.iter().map(|b| if (1..=6).contains(b) { (b'0' + b) as char } else { *b as char }).collect();
    let slots = scan.slots.iter().map(|slot| slot.text(text)).collect();
    (template, slots)
}

fn fails(text: &str) -> ScanError {
    scan(text, true, &mut Scan::default()).unwrap_err()
}

#[test]
fn literals_become_marks_and_gaps_one_blank() {
    assert_eq!(
        parts("  SELECT  a,b FROM\n\"T  x\" /* c */ WHERE a=1 AND b = 'it''s'--end"),
        ("SELECT a,b FROM \"T  x\" WHERE a=1 AND b = 3".into(), vec!["1", "'it''s'"])
    );
    assert_eq!(
        parts("SELECT 1.5, .5, 1e3, 1., 0x1F, 1_000, 12"),
        ("SELECT 2, 2, 2, 2, 2, 2, 1".into(), vec!["1.5", ".5", "1e3", "1.", "0x1F", "1_000", "12"])
    );
    assert_eq!(
        parts("SELECT E'a\\'b', $$x$$, $t$a$$b$t$, B'01', x'1F', N'n', U&'d\\0061', $1, a$1"),
        (
            "SELECT 4, 5, 5, B6, x6, N6, U&6, $1, a$1".into(),
            vec!["E'a\\'b'", "$$x$$", "$t$a$$b$t$", "B'01'", "x'1F'", "N'n'", "U&'d\\0061'"]
        )
    );
}

#[test]
fn tokens_that_touch() {
    assert_eq!(
        parts("SELECT a-1,a=-1,a--1\n+/*x*/2,1..3,1.5.3,a.b,1::int"),
        ("SELECT a-1,a=-1,a + 1,1..1,22,a.b,1::int".into(), vec!["1", "1", "2", "1", "3", "1.5", ".3", "1"])
    );
    assert_eq!(parts("SELECT'a'FROM t").0, "SELECT3FROM t");
    assert_eq!(parts("SELECT xE'a', _e'b'").0, "SELECT xE3, _e3");
}

#[test]
fn strings_continue_on_the_next_line() {
    let text = "SELECT 'a' -- c\n 'b', E'x'\r\n'y\\'', 'c' 'd'";
    assert_eq!(parts(text), ("SELECT 3, 4, 3 3".into(), vec!["'a' -- c\n 'b'", "E'x'\r\n'y\\''", "'c'", "'d'"]));
    assert_eq!(string_value(text, &scanned(text).slots[0]).unwrap(), "ab");
    assert_eq!(string_value(text, &scanned(text).slots[1]).unwrap(), "xy'");
    assert_eq!(parts("SELECT 'a' /* no */\n 'b'").0, "SELECT 3 3");
}

#[test]
fn the_first_statement_and_where_the_next_begins() {
    let scan = scanned(" ; /* hint */ -- x\n SELECT 1 /* t */ ; ; SELECT 2");
    assert_eq!((scan.start, scan.end, scan.next_statement), (20, 28, Some(41)));
    assert_eq!(scan.leading_comment, Some((3, 13)));
    assert_eq!(scan.template, b"SELECT \x01");
    assert_eq!(scanned("SELECT 1; -- no more\n;").next_statement, None);
    assert_eq!(scanned("  -- nothing").template, b"");
}

#[test]
fn what_is_no_sql() {
    for text in
        ["SELECT 'a", "SELECT \"a", "SELECT /* a", "SELECT /* /* */", "SELECT $a$ $b$", "SELECT E'a\\'", "SELECT E'\\"]
    {
        assert_eq!(fails(text), ScanError::Unterminated, "{text}");
    }
    for text in ["SELECT \x01", "SELECT {", "SELECT a \\", "SELECT $a", "SELECT $", "SELECT \x7f", "SELECT 1; /*"] {
        assert_eq!(fails(text), ScanError::Unterminated, "{text}");
    }
    for text in [
        "SELECT 123abc",
        "SELECT 1e",
        "SELECT 0x",
        "SELECT 1_",
        "SELECT 0xg",
        "SELECT $1a",
        "SELECT 1.a",
        "SELECT 1__0",
    ] {
        assert_eq!(fails(text), ScanError::NotUnderstood, "{text}");
    }
    assert_eq!(parts("SELECT \"\x01\"").0.len(), 10);
}

#[test]
fn nothing_is_left_of_an_unreadable_text() {
    let mut out = Scan::default();
    assert_eq!(scan("SELECT 1 WHERE k = 5 AND x = 'a", true, &mut out), Err(ScanError::Unterminated));
    assert!(out.template.is_empty() && out.slots.is_empty());
    assert_eq!(scan("/* x */ SELECT 1; /*", true, &mut out), Err(ScanError::Unterminated));
    assert!(out.template.is_empty() && out.slots.is_empty() && out.leading_comment.is_none());
}

#[test]
fn backslashes_without_standard_strings() {
    let off = |text: &str| scan(text, false, &mut Scan::default());
    assert_eq!(off("SELECT 'a\\'"), Err(ScanError::NotUnderstood));
    assert_eq!(off("SELECT 'a\\' , '"), Err(ScanError::NotUnderstood));
    assert_eq!(off("SELECT U&'a'"), Err(ScanError::NotUnderstood));
    assert_eq!(off("SELECT 'a', E'\\n', $$\\$$"), Ok(()));
}

#[test]
fn values_are_decoded_as_postgres_does() {
    let value = |text: &str| string_value(text, &scanned(text).slots[0]).map(|value| value.into_owned());
    for (text, expected) in [
        ("'it''s'", Some("it's")),
        ("''", Some("")),
        ("''''", Some("'")),
        ("'a\\n'", Some("a\\n")),
        ("E'a\\nb\\t\\\\\\'\\q'''", Some("a\nb\t\\'q'")),
        ("E'\\101\\x41\\x4a1\\0411'", Some("AAJ1!1")),
        ("E'\\u00e9\\U0001F600\\uD83D\\uDE00'", Some("é😀😀")),
        ("E'\\xC3\\xA9'", Some("é")),
        ("E'\\xg'", Some("xg")),
        ("E'\\é'", Some("é")),
        ("E'\\xC3'", None),
        ("E'\\0'", None),
        ("E'\\u12'", None),
        ("E'\\uD83Dx'", None),
        ("E'\\v'", None),
        ("$$a'b$$", Some("a'b")),
        ("$tag$$$$tag$", Some("$$")),
        ("U&'a'", None),
        ("B'1'", None),
        ("1", None),
    ] {
        assert_eq!(value(text).as_deref(), expected, "{text}");
    }
    let number = |text: &str| number_text(text, &scanned(text).slots[0]).map(str::to_owned);
    assert_eq!(number("12").as_deref(), Some("12"));
    assert_eq!(number("1.5e-3").as_deref(), Some("1.5e-3"));
    assert_eq!(number("0x1F"), None);
    assert_eq!(number("0b1"), None);
    assert_eq!(number("1_000"), None);
}

/// Text made of pieces that mean something to a lexer.
fn sql_like() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("'"),
        Just("''"),
        Just("\""),
        Just("$$"),
        Just("$a$"),
        Just("E'"),
        Just("U&'"),
        Just("U&\""),
        Just("B'"),
        Just("\\"),
        Just("--"),
        Just("/*"),
        Just("*/"),
        Just("\n"),
        Just(" "),
        Just(";"),
        Just("("),
        Just(")"),
        Just("1"),
        Just("1.5"),
        Just("."),
        Just(".."),
        Just("e"),
        Just("0x"),
        Just("_"),
        Just("$1"),
        Just("-"),
        Just("+"),
        Just("="),
        Just("a"),
        Just("é"),
        Just("SELECT"),
        Just("CREATE FUNCTION"),
        Just("BEGIN ATOMIC"),
        Just("END"),
        Just("\x01"),
        Just("::"),
    ];
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

#[test]
fn moments_are_told_apart_from_texts_that_mention_one() {
    let mark = |literal: &str, kind| moment_mark(literal.as_bytes(), kind);
    let blanks = " ".repeat(500);
    for alone in ["'now'", "' Today '", "'tomorrow 12:00'", "'now UTC'", "'yesterday allballs'", "'no'\n'w'"] {
        assert_eq!(mark(alone, SlotKind::String), Some(MOMENT_ALONE), "{alone}");
    }
    assert_eq!(mark(&format!("'{blanks}now{blanks}'"), SlotKind::String), Some(MOMENT_ALONE));
    assert_eq!(mark(r"E'n\157w'", SlotKind::EscapeString), Some(MOMENT_ALONE));
    assert_eq!(mark("$t$now$t$", SlotKind::DollarString), Some(MOMENT_ALONE));
    assert_eq!(mark("'buy it now'", SlotKind::String), Some(MOMENT));
    for other in ["'know'", "''", "'2024-01-01'", "'first\nsecond'"] {
        assert_eq!(mark(other, SlotKind::String), None, "{other}");
    }
    assert_eq!(mark("now", SlotKind::Other), None);
}

proptest! {
    /// Slots are in order and apart, and the template with the literals put back has the same tokens as the statement.
    #[test]
    fn templates_lose_nothing(text in sql_like(), standard in any::<bool>()) {
        let mut out = Scan::default();
        if scan(&text, standard, &mut out).is_ok() {
            let mut rebuilt = Vec::new();
            let mut slots = out.slots.iter();
            let mut quoted = false;
            for byte in &out.template {
                quoted ^= *byte == b'"';
                if !quoted && (1..=8).contains(byte) {
                    let slot = slots.next().unwrap();
                    let literal = slot.text(&text);
                    let mark = moment_mark(literal.as_bytes(), slot.kind).unwrap_or(slot.kind.mark());
                    prop_assert_eq!(mark, *byte);
                    let prefix = if slot.kind == SlotKind::Other { literal.find('\'').unwrap() } else { 0 };
                    rebuilt.extend_from_slice(&literal.as_bytes()[prefix..]);
                } else {
                    rebuilt.push(*byte);
                }
            }
            prop_assert!(slots.next().is_none());
            prop_assert!(out.slots.windows(2).all(|pair| pair[0].end <= pair[1].start));
            let rebuilt = String::from_utf8(rebuilt).unwrap();
            let mut again = Scan::default();
            prop_assert_eq!(scan(&rebuilt, standard, &mut again), Ok(()), "{:?}", rebuilt);
            prop_assert_eq!(&again.template, &out.template);
            prop_assert_eq!(again.next_statement, None);
            let literals = |scan: &Scan, of: &str| scan.slots.iter().map(|slot| slot.text(of).to_owned()).collect::<Vec<_>>();
            prop_assert_eq!(literals(&again, &rebuilt), literals(&out, &text));
            // The splitter cuts at the same place.
            if let Ok(statements) = crate::sql::split::statements(&text, standard) {
                prop_assert_eq!(statements.first().cloned(), (out.start < out.end).then_some(out.start..out.end));
                prop_assert_eq!(statements.get(1).map(|range| range.start), out.next_statement);
            }
        }
    }

    #[test]
    fn no_text_panics(text in any::<String>(), standard in any::<bool>()) {
        let mut out = Scan::default();
        if scan(&text, standard, &mut out).is_ok() {
            for slot in &out.slots {
                string_value(&text, slot);
                number_text(&text, slot);
            }
        }
    }

    #[test]
    fn no_literal_panics(text in sql_like()) {
        let mut out = Scan::default();
        if scan(&text, true, &mut out).is_ok() {
            for slot in &out.slots {
                string_value(&text, slot);
            }
        }
        crate::sql::utility::classify(&text);
        crate::sql::utility::creates_temporary(&text);
    }
}

/// Each sign of `++++` is a token of its own and looks at all behind it: so there may not be any number of them.
#[test]
fn operators_are_looked_for_in_short_runs_alone() {
    let mut out = Scan::default();
    assert_eq!(scan(&format!("SELECT 1 {} 1", "+".repeat(100)), true, &mut out), Ok(()));
    assert_eq!(out.slots.len(), 2);
    assert_eq!(scan(&format!("SELECT 1 {} 1", "+".repeat(1000)), true, &mut out), Err(ScanError::NotUnderstood));
    assert!(out.template.is_empty());
}

//! Template scanner: what it cuts out are literals and nothing else; put back, or others put in their place, they make the same template.

use pgloom::sql::template::{Scan, Slot, SlotKind, number_text, scan, string_value};

use super::input::Input;

/// Marks of literals that say a moment: these depend on what the literal says.
const MOMENTS: std::ops::RangeInclusive<u8> = 7..=8;

pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let standard = input.byte() != 1;
    let Ok(text) = std::str::from_utf8(input.rest()) else { return };
    let mut scan_of = Scan::default();
    let mut rest = text;
    // Statement by statement, as a simple query is.
    while let Ok(next) = one(rest, standard, &mut scan_of) {
        let Some(next) = next else { break };
        assert!(next > scan_of.end);
        rest = &rest[next..];
    }
}

/// Checks the first statement; where the next one begins.
fn one(text: &str, standard: bool, out: &mut Scan) -> Result<Option<usize>, ()> {
    if scan(text, standard, out).is_err() {
        assert!(out.template.is_empty() && out.slots.is_empty());
        return Err(());
    }
    assert!(out.start <= out.end && out.end <= text.len());
    let mut end = out.start;
    for slot in &out.slots {
        assert!(end <= slot.start as usize && slot.start < slot.end && slot.end as usize <= out.end);
        end = slot.end as usize;
        literal(text, slot);
    }
    put_back(text, standard, out);
    others(text, standard, out);
    Ok(out.next_statement)
}

/// A slot looks like its kind, and its value is read or not, without harm.
fn literal(text: &str, slot: &Slot) {
    let literal = slot.text(text);
    let first = literal.as_bytes()[0].to_ascii_uppercase();
    let fits = match slot.kind {
        SlotKind::Integer => literal.bytes().all(|b| b.is_ascii_digit()),
        SlotKind::Number => first.is_ascii_digit() || first == b'.',
        SlotKind::String => first == b'\'' && literal.len() >= 2 && literal.ends_with('\''),
        SlotKind::EscapeString => first == b'E' || first == b'\'',
        SlotKind::DollarString => first == b'$' && literal.ends_with('$'),
        SlotKind::Other => b"BXNU".contains(&first) && literal.ends_with('\''),
    };
    assert!(fits, "{literal:?} is no {:?}", slot.kind);
    let value = string_value(text, slot);
    // A plain string on one line has no secrets.
    if slot.kind == SlotKind::String && !literal.contains(['\n', '\r']) {
        assert_eq!(value.as_deref(), Some(&*literal[1..literal.len() - 1].replace("''", "'")));
    }
    if let Some(number) = number_text(text, slot) {
        assert!(number.parse::<f64>().is_ok(), "{number:?}");
    }
}

/// The template with its literals in it is the same statement.
fn put_back(text: &str, standard: bool, found: &Scan) {
    let literals = found.slots.iter().map(|slot| slot.text(text));
    let whole = filled(&found.template, found, literals);
    let mut again = Scan::default();
    scan(&whole, standard, &mut again).unwrap_or_else(|e| panic!("{whole:?}: {e:?}"));
    assert_eq!((again.start, again.end, again.next_statement), (0, whole.len(), None), "{whole:?}");
    assert_eq!(again.template.escape_ascii().to_string(), found.template.escape_ascii().to_string(), "{whole:?}");
    let words = |scan: &Scan, text: &str| -> Vec<(SlotKind, String)> {
        scan.slots.iter().map(|slot| (slot.kind, slot.text(text).to_owned())).collect()
    };
    assert_eq!(words(&again, &whole), words(found, text), "{whole:?}");
}

/// Another call of the same statement has the same template.
fn others(text: &str, standard: bool, found: &Scan) {
    if marks(&found.template).any(|(_, mark)| MOMENTS.contains(&mark)) {
        return;
    }
    let mut other = String::new();
    let mut copied = found.start;
    for slot in &found.slots {
        let (start, end) = (slot.start as usize, slot.end as usize);
        let alone = |byte: Option<&u8>| byte.is_none_or(|b| b" (),;=<>\n".contains(b));
        let bytes = text.as_bytes();
        // Where literals touch each other, others may run together.
        if !alone(start.checked_sub(1).and_then(|at| bytes.get(at))) || !alone(bytes.get(end)) {
            continue;
        }
        let literal = match slot.kind {
            SlotKind::Integer => "0123456789",
            SlotKind::Number => "0.5",
            SlotKind::String => "'it''s'",
            // With the setting off, such a string has no letter before it.
            SlotKind::EscapeString if slot.text(text).starts_with('\'') => r"'it\'s'",
            SlotKind::EscapeString => r"E'it\'s'",
            SlotKind::DollarString => "$o$it's $$ $o$",
            SlotKind::Other => continue,
        };
        other.push_str(&text[copied..start]);
        other.push_str(literal);
        copied = end;
    }
    other.push_str(&text[copied..found.end]);
    let mut again = Scan::default();
    scan(&other, standard, &mut again).unwrap_or_else(|e| panic!("{other:?}: {e:?}"));
    assert_eq!(again.template.escape_ascii().to_string(), found.template.escape_ascii().to_string(), "{other:?}");
    assert_eq!(again.slots.len(), found.slots.len());
}

/// Places of the marks in a template: outside of quoted names.
fn marks(template: &[u8]) -> impl Iterator<Item = (usize, u8)> {
    let mut quoted = false;
    template.iter().enumerate().filter_map(move |(at, byte)| {
        quoted ^= *byte == b'"';
        (!quoted && (1..=8).contains(byte)).then_some((at, *byte))
    })
}

fn filled<'t>(template: &[u8], found: &Scan, literals: impl Iterator<Item = &'t str>) -> String {
    let mut out = Vec::new();
    let mut copied = 0;
    let mut slots = found.slots.iter().zip(literals);
    for (at, _) in marks(template) {
        let (slot, literal) = slots.next().expect("a literal for each mark");
        // The letters before the quote stand in the template.
        let skipped = if slot.kind == SlotKind::Other { literal.find('\'').unwrap_or(0) } else { 0 };
        out.extend_from_slice(&template[copied..at]);
        out.extend_from_slice(&literal.as_bytes()[skipped..]);
        copied = at + 1;
    }
    assert!(slots.next().is_none(), "a mark for each literal");
    out.extend_from_slice(&template[copied..]);
    String::from_utf8(out).expect("made of text")
}

//! PURE. A scanned statement as a pattern for the next one of its kind: a client that repeats itself is recognised without a scan.

use smallvec::SmallVec;

use crate::sql::lexer::is_bigint;
use crate::sql::template::{Scan, Slot, SlotKind, moment_mark};

/// Longest text that is kept, in bytes: each session holds a few.
pub const MAX_TEXT: usize = 512;

/// A text and the literals in it that may differ. Everything between them must be the same byte for byte, so whatever follows a
/// literal ends it, or not, exactly as it did when the text was scanned.
#[derive(Clone, Debug)]
pub struct Pattern {
    text: Box<str>,
    scan: Scan,
    /// The slots that may differ, ascending.
    holes: SmallVec<[u16; 8]>,
    standard_strings: bool,
}

impl Pattern {
    /// `free`: the slots whose text does not matter, ascending. `None` when the text is no use as a pattern.
    pub fn new(text: &str, scan: &Scan, free: &[u16], standard_strings: bool) -> Option<Self> {
        if text.len() > MAX_TEXT || scan.template.is_empty() || scan.next_statement.is_some() {
            return None;
        }
        let holes = free
            .iter()
            .copied()
            .filter(|hole| {
                let slot = scan.slots.get(usize::from(*hole));
                slot.is_some_and(|slot| {
                    may_differ(slot, standard_strings) && moment_mark(slot.text(text).as_bytes(), slot.kind).is_none()
                })
            })
            .collect();
        let scan = Scan { template: Vec::new(), ..scan.clone() };
        Some(Self { text: text.into(), scan, holes, standard_strings })
    }

    /// Whether `text` is this statement with other values in its holes; if so `out` is what a scan of it gives, less the template.
    pub fn matches(&self, text: &str, standard_strings: bool, out: &mut Scan) -> bool {
        if standard_strings != self.standard_strings {
            return false;
        }
        let (old, new) = (self.text.as_bytes(), text.as_bytes());
        // Where we are in both texts; `shift` is how much further the new one is.
        let (mut at, mut shift) = (0usize, 0isize);
        let mut ends: SmallVec<[(u32, u32); 8]> = SmallVec::new();
        for hole in &self.holes {
            let Some(slot) = self.scan.slots.get(usize::from(*hole)) else { return false };
            let start = slot.start as usize;
            let Some(from) = at.checked_add_signed(shift) else { return false };
            let segment = old.get(at..start).unwrap_or_default();
            let Some(rest) = new.get(from..).and_then(|rest| rest.strip_prefix(segment)) else { return false };
            let Some(length) = literal(rest, slot.kind) else { return false };
            if moment_mark(rest.get(..length).unwrap_or_default(), slot.kind).is_some() {
                return false;
            }
            let begin = from + segment.len();
            ends.push((begin as u32, (begin + length) as u32));
            at = slot.end as usize;
            shift = (begin + length) as isize - at as isize;
        }
        let Some(from) = at.checked_add_signed(shift) else { return false };
        if new.get(from..) != old.get(at..) || u32::try_from(new.len()).is_err() {
            return false;
        }
        self.put(&ends, shift, out);
        true
    }

    fn put(&self, holes: &[(u32, u32)], shift: isize, out: &mut Scan) {
        out.template.clear();
        out.slots.clear();
        let mut holes = self.holes.iter().zip(holes).peekable();
        let mut moved = 0i64;
        for (place, slot) in self.scan.slots.iter().enumerate() {
            let slot = match holes.next_if(|(hole, _)| usize::from(**hole) == place) {
                Some((_, (start, end))) => {
                    moved = i64::from(*end) - i64::from(slot.end);
                    Slot { kind: slot.kind, start: *start, end: *end }
                }
                None => {
                    let to = |at: u32| (i64::from(at) + moved) as u32;
                    Slot { kind: slot.kind, start: to(slot.start), end: to(slot.end) }
                }
            };
            out.slots.push(slot);
        }
        // Both lie before the first literal.
        out.start = self.scan.start;
        out.leading_comment = self.scan.leading_comment;
        out.end = self.scan.end.saturating_add_signed(shift);
        out.next_statement = None;
    }
}

/// Kinds whose end is plain to see. A string with a backslash depends on the setting, so it needs the standard one.
fn may_differ(slot: &Slot, standard_strings: bool) -> bool {
    match slot.kind {
        SlotKind::Integer => true,
        SlotKind::String => standard_strings,
        SlotKind::Number | SlotKind::EscapeString | SlotKind::DollarString | SlotKind::Other => false,
    }
}

/// Bytes of the literal of this kind at the start of `text`. What stands behind it is compared with what stood behind the old one:
/// that ended a literal of this kind. A quote never did, so a doubled quote or a continuation is not taken for an end.
#[inline]
fn literal(text: &[u8], kind: SlotKind) -> Option<usize> {
    match kind {
        SlotKind::Integer => {
            let digits = text.iter().position(|b| !b.is_ascii_digit()).unwrap_or(text.len());
            (digits > 0 && is_bigint(text.get(..digits)?)).then_some(digits)
        }
        _ => {
            let inner = text.strip_prefix(b"'")?;
            Some(memchr::memchr(b'\'', inner)? + 2)
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::sql::template::scan;
    use proptest::prelude::*;

    fn scanned(text: &str) -> Scan {
        let mut out = Scan::default();
        scan(text, true, &mut out).unwrap();
        out
    }

    fn pattern(text: &str) -> Pattern {
        let scan = scanned(text);
        let free: Vec<u16> = (0..scan.slots.len() as u16).collect();
        Pattern::new(text, &scan, &free, true).unwrap()
    }

    /// What matching says must be what scanning says.
    fn check(old: &str, new: &str) -> bool {
        let mut found = Scan::default();
        let matched = pattern(old).matches(new, true, &mut found);
        if matched {
            let mut truth = Scan::default();
            scan(new, true, &mut truth).unwrap();
            assert_eq!(scanned(old).template, truth.template, "{old:?} is not of one template with {new:?}");
            truth.template.clear();
            assert_eq!((found.slots, found.start, found.end), (truth.slots, truth.start, truth.end), "{new:?}");
            assert_eq!(found.leading_comment, truth.leading_comment);
            assert_eq!(truth.next_statement, None);
        }
        matched
    }

    #[test]
    fn other_values_match() {
        assert!(check("SELECT * FROM t WHERE id = 5", "SELECT * FROM t WHERE id = 12345"));
        assert!(check("/* x */ SELECT 1, 'a' FROM t;", "/* x */ SELECT 22, 'bcd' FROM t;"));
        assert!(check("SELECT 'a'", "SELECT ''"));
        assert!(check("SELECT 1..2", "SELECT 33..4"));
    }

    #[test]
    fn another_statement_does_not() {
        for (old, new) in [
            ("SELECT 1", "SELECT 1.5"),
            ("SELECT 1", "SELECT 1 "),
            ("SELECT 1", "SELECT x"),
            ("SELECT 1", "SELECT 1;SELECT 2"),
            ("SELECT 'a'", "SELECT 'a''b'"),
            ("SELECT 'a'", "SELECT 'a'\n'b'"),
            ("SELECT 'a', 'b'", "SELECT 'a'', 'b'"),
            ("SELECT 1", "SELECT 1e5"),
            ("SELECT 1", "SELECT 0x1"),
            ("SELECT 1", "SELECT "),
            ("SELECT 1, 2", "SELECT 1"),
            ("SELECT '2024-01-01'::date", "SELECT ' NOW '::date"),
            ("SELECT 'now'::date", "SELECT '2024-01-01'::date"),
        ] {
            assert!(!check(old, new), "{old:?} took {new:?}");
        }
    }

    #[test]
    fn a_guard_must_be_equal() {
        let text = "SELECT 1 FROM t LIMIT 10";
        let pattern = Pattern::new(text, &scanned(text), &[0], true).unwrap();
        let mut out = Scan::default();
        assert!(pattern.matches("SELECT 77 FROM t LIMIT 10", true, &mut out));
        assert_eq!(out.slots, scanned("SELECT 77 FROM t LIMIT 10").slots);
        assert!(!pattern.matches("SELECT 1 FROM t LIMIT 11", true, &mut out));
        assert!(!pattern.matches(text, false, &mut out));
    }

    fn piece() -> impl Strategy<Value = String> {
        prop_oneof![
            "[0-9]{1,4}",
            "'[a-z\\\\ ]{0,3}'",
            "'[a-z]{0,2}''[a-z]{0,2}'",
            "[a-z]{1,2}",
            "[0-9]\\.[0-9]",
            Just("$1".to_owned()),
            Just("e'x'".to_owned()),
            Just("$$q$$".to_owned()),
        ]
    }

    fn gap() -> impl Strategy<Value = &'static str> {
        prop_oneof![
            Just(" "),
            Just(","),
            Just("\n"),
            Just(""),
            Just("--c\n"),
            Just("="),
            Just("-"),
            Just("."),
            Just("..")
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]
        #[test]
        fn matching_says_what_scanning_says(
            parts in proptest::collection::vec((piece(), piece(), gap(), any::<bool>()), 1..6),
        ) {
            let (mut old, mut new) = (String::from("S "), String::from("S "));
            for (a, b, gap, same) in &parts {
                old.push_str(a);
                new.push_str(if *same { a } else { b });
                old.push_str(gap);
                new.push_str(gap);
            }
            let mut probe = Scan::default();
            if scan(&old, true, &mut probe).is_ok() && probe.next_statement.is_none() {
                check(&old, &new);
            }
        }
    }
}

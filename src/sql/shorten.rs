//! PURE. Analyses a statement with megabytes of literals without parsing them: what does not matter to the analysis is left out.

use crate::sql::NameScope;
use crate::sql::analyze::{Analysis, analyze};
use crate::sql::template::{Scan, SlotKind, scan};

/// Texts below this are analysed as they are.
const LARGE_TEXT: usize = 256 * 1024;
/// String literals above this are left out of a large text.
const LARGE_LITERAL: usize = 1024;

/// [`analyze`], in memory that follows the text without its large literals wherever they turn out not to matter.
pub fn analyze_large(text: &str, scanned: &Scan, scope: &NameScope<'_>) -> Analysis {
    if text.len() >= LARGE_TEXT
        && let Some((short, left_out)) = shortened(text, scanned)
    {
        let mut scan_of_short = Scan::default();
        if scan(&short, scope.standard_strings, &mut scan_of_short).is_ok()
            && scan_of_short.template == scanned.template
        {
            let analysis = analyze(&short, &scan_of_short, scope);
            let unread = left_out.iter().all(|slot| analysis.free_slots.contains(slot));
            if unread && !analysis.kind.has_offsets() {
                return analysis;
            }
        }
    }
    analyze(text, scanned, scope)
}

/// The text with its large strings emptied, and which slots they are.
fn shortened(text: &str, scanned: &Scan) -> Option<(String, Vec<u16>)> {
    let mut short = String::new();
    let mut left_out = Vec::new();
    let mut at = 0;
    for (place, slot) in scanned.slots.iter().enumerate() {
        let (start, end) = (slot.start as usize, slot.end as usize);
        if slot.kind == SlotKind::String && end - start > LARGE_LITERAL {
            short.push_str(text.get(at..start)?);
            short.push_str("''");
            left_out.push(u16::try_from(place).ok()?);
            at = end;
        }
    }
    short.push_str(text.get(at..)?);
    (!left_out.is_empty()).then_some((short, left_out))
}

//! Long chains of OR, which the parser makes a tree of that is as deep as the chain is long. With parentheses around parts of a chain it is
//! as deep as it must be, and says the same: OR binds least of all that stands in an expression.

use crate::sql::spelling::Tokens;
use crate::sql::splice::Edit;

/// Chains of fewer operands are read as they are.
const LONG: usize = 100;
/// So many operands stand in one pair of parentheses.
const TOGETHER: usize = 32;

/// Words that an operand can begin or end at, or that make what stands around it something else. None of these is a name.
const ENDS: [&str; 38] = [
    "select",
    "from",
    "where",
    "on",
    "using",
    "having",
    "group",
    "order",
    "limit",
    "offset",
    "fetch",
    "for",
    "union",
    "intersect",
    "except",
    "when",
    "then",
    "else",
    "case",
    "end",
    "returning",
    "set",
    "values",
    "as",
    "join",
    "left",
    "right",
    "full",
    "inner",
    "cross",
    "natural",
    "window",
    "do",
    "into",
    "with",
    "default",
    "update",
    "insert",
];

impl Tokens<'_> {
    /// The parentheses that long chains of OR get.
    pub(super) fn chains(&self) -> Vec<Edit> {
        // The places of OR in each pair of parentheses that is open, since the last word or comma that could end an operand.
        let mut open: Vec<Vec<usize>> = vec![Vec::new()];
        let mut edits = Vec::new();
        for at in 0..self.list.len() {
            if self.is_punct(at, b'(') || self.is_punct(at, b'[') {
                open.push(Vec::new());
                continue;
            }
            let closes = self.is_punct(at, b')') || self.is_punct(at, b']');
            let Some(chain) = open.last_mut() else { return Vec::new() };
            if self.is(at, "or") {
                chain.push(at);
            } else if !chain.is_empty()
                && (closes || self.is_punct(at, b',') || self.is_punct(at, b';') || self.is_any(at, &ENDS))
            {
                edits.extend(self.grouped(&std::mem::take(chain)));
            }
            if closes {
                open.pop();
            }
        }
        edits.extend(open.iter().flat_map(|chain| self.grouped(chain)));
        edits
    }

    /// `ors`: the places of OR. The first operand and the last one may be parts of something longer, those between two OR are whole.
    fn grouped(&self, ors: &[usize]) -> Vec<Edit> {
        if ors.len() < LONG {
            return Vec::new();
        }
        let mut operands: Vec<(usize, usize)> = ors.windows(2).map(|pair| (pair[0] + 1, pair[1] - 1)).collect();
        let mut edits = Vec::new();
        // Each round puts parentheses around parts of what the last one has left.
        while operands.len() > TOGETHER {
            operands = operands.chunks(TOGETHER).filter_map(|part| Some((part.first()?.0, part.last()?.1))).collect();
            for (first, last) in &operands {
                edits.extend(self.insert_before(*first, "("));
                edits.extend(self.insert_behind(*last, ")"));
            }
        }
        edits
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::sql::spelling::{Changed, read};

    fn changed(text: &str) -> Option<String> {
        Some(Changed::of(text, Tokens::of(text)?.chains())?.text)
    }

    fn chain(terms: usize) -> String {
        let terms: Vec<String> = (0..terms).map(|n| format!("k = {n}")).collect();
        terms.join(" OR ")
    }

    #[test]
    fn a_long_chain_is_no_deep_tree() {
        let text = format!("SELECT 1 FROM t WHERE {}", chain(3000));
        let changed = changed(&text).unwrap();
        assert_eq!(changed.replace(['(', ')'], ""), text);
        assert!(changed.starts_with("SELECT 1 FROM t WHERE k = 0 OR ((k = 1 OR k = 2"), "{}", &changed[..80]);
        assert!(changed.ends_with(")) OR k = 2999"), "{}", &changed[changed.len() - 40..]);
        assert!(read(&text, 0, &[]).unwrap().other.is_some());
    }

    #[test]
    fn only_whole_operands_are_put_together() {
        assert_eq!(changed(&format!("SELECT 1 FROM t WHERE {}", chain(50))), None);
        let operand = |text: &str| format!("SELECT 1 FROM t WHERE {}", vec![text; 300].join(" OR "));
        // Between two words that end operands there are no two OR.
        assert_eq!(changed(&operand("a IS DISTINCT FROM b")), None);
        assert_eq!(changed(&operand("CASE WHEN a THEN b END")), None);
        let both = changed(&format!("SELECT {} FROM t WHERE NOT {} AND z", chain(101), chain(101))).unwrap();
        assert!(both.contains("k = 100 FROM t WHERE NOT k = 0 OR (k = 1"), "{both}");
        assert!(both.ends_with(") OR k = 100 AND z"), "{both}");
    }
}

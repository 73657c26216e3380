//! `Pieces`: a printed statement whose literals and parameters are holes, so that one analysis serves every call.

use sqlparser::ast::{Value as Literal, ValueWithSpan, VisitMut, VisitorMut};
use std::ops::ControlFlow;

use crate::sql::facts::parameter_index;
use crate::sql::literals::Literals;
use crate::sql::template::Slot;

/// A text with holes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pieces(pub Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    Text(Box<str>),
    /// The literal of this slot, as the call at hand writes it.
    Slot(u16),
    /// The client's `$n`, as n - 1.
    Parameter(u16),
    /// The time of the transaction, as a literal: known when the text is sent.
    Moment,
}

// What stands for a hole while a tree is printed. No SQL text that is rewritten has these characters.
const SLOT: char = '\u{1}';
const PARAMETER: char = '\u{2}';
const END: char = '\u{3}';
const MOMENT: char = '\u{4}';

/// Whether the text has no character that would be taken for a hole.
pub(crate) fn can_have_holes(text: &str) -> bool {
    !text.contains([SLOT, PARAMETER, END, MOMENT])
}

/// What stands for the parameter `$n`, given as n - 1, in a tree that is to be printed.
pub(crate) fn parameter_hole(index: u16) -> String {
    format!("{PARAMETER}{index}{END}")
}

/// What stands for the time of the transaction in a tree that is to be printed.
pub(crate) fn moment_hole() -> String {
    format!("{MOMENT}0{END}")
}

/// Puts holes in the place of the tree's literals that are slots, and of its parameters where these are to be numbered anew.
pub(crate) fn make_holes(tree: &mut impl VisitMut, literals: &Literals, parameters: bool) {
    struct Holes<'a> {
        literals: &'a Literals,
        parameters: bool,
    }
    impl VisitorMut for Holes<'_> {
        type Break = ();
        fn pre_visit_value(&mut self, value: &mut ValueWithSpan) -> ControlFlow<()> {
            let hole = match &value.value {
                Literal::Placeholder(name) if self.parameters => parameter_index(name).map(parameter_hole),
                Literal::Placeholder(_) => None,
                _ => self.literals.slot(value).map(|slot| format!("{SLOT}{slot}{END}")),
            };
            if let Some(hole) = hole {
                value.value = Literal::Placeholder(hole);
            }
            ControlFlow::Continue(())
        }
    }
    let _ = tree.visit(&mut Holes { literals, parameters });
}

impl Pieces {
    /// Cuts a printed tree at its holes.
    pub(crate) fn of(printed: &str) -> Option<Self> {
        let mut pieces = Pieces::default();
        let mut rest = printed;
        while let Some(at) = rest.find([SLOT, PARAMETER, MOMENT]) {
            let (before, hole) = rest.split_at(at);
            let (number, after) = hole.get(1..)?.split_once(END)?;
            let number = number.parse().ok()?;
            pieces.push(before);
            pieces.0.push(match hole.chars().next() {
                Some(SLOT) => Piece::Slot(number),
                Some(PARAMETER) => Piece::Parameter(number),
                _ => Piece::Moment,
            });
            rest = after;
        }
        pieces.push(rest);
        Some(pieces)
    }

    pub(crate) fn push(&mut self, text: &str) {
        match self.0.last_mut() {
            _ if text.is_empty() => {}
            Some(Piece::Text(last)) => *last = format!("{last}{text}").into(),
            _ => self.0.push(Piece::Text(text.into())),
        }
    }

    pub(crate) fn extend(&mut self, other: Pieces) {
        for piece in other.0 {
            match piece {
                Piece::Text(text) => self.push(&text),
                hole => self.0.push(hole),
            }
        }
    }

    pub(crate) fn prepend(&mut self, text: &str) {
        self.0.insert(0, Piece::Text(text.into()));
    }

    /// The text of one call. Parameters are numbered from `$1` as they are met; `used` says which of the client's they are. `None`:
    /// the call has not the literals that the statement has, or the text needs the time.
    #[must_use]
    pub fn fill(&self, out: &mut String, text: &str, slots: &[Slot], used: &mut Vec<u16>) -> Option<()> {
        let mut moments = Vec::new();
        self.fill_but_time(out, text, slots, used, &mut moments)?;
        moments.is_empty().then_some(())
    }

    /// The same of a text that may need the time; `moments`: at which of its bytes.
    #[must_use]
    pub fn fill_but_time(
        &self,
        out: &mut String,
        text: &str,
        slots: &[Slot],
        used: &mut Vec<u16>,
        moments: &mut Vec<usize>,
    ) -> Option<()> {
        for piece in &self.0 {
            match piece {
                Piece::Moment => moments.push(out.len()),
                Piece::Text(part) => out.push_str(part),
                Piece::Slot(slot) => {
                    out.push_str(slots.get(usize::from(*slot))?.text(text));
                }
                Piece::Parameter(parameter) => {
                    let known = used.iter().position(|p| p == parameter);
                    let number = known.unwrap_or_else(|| {
                        used.push(*parameter);
                        used.len() - 1
                    });
                    out.push_str(&format!("${}", number + 1));
                }
            }
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::sql::template::{Scan, scan};

    #[test]
    fn a_printed_statement_takes_the_literals_of_another_call() {
        let sql = "SELECT a FROM t WHERE b = 5 AND c LIKE E'a\\n%' AND d > $3 AND e < $1 AND f = $3";
        let mut scanned = Scan::default();
        scan(sql, true, &mut scanned).unwrap();
        let mut tree = crate::sql::parse(sql).unwrap();
        make_holes(&mut tree, &Literals::new(sql, 0, &scanned.slots), true);
        let pieces = Pieces::of(&tree.to_string()).unwrap();
        let other = sql.replace(" 5", " 6789").replace("a\\n%", "%");
        scan(&other, true, &mut scanned).unwrap();
        let (mut out, mut used) = (String::new(), Vec::new());
        pieces.fill(&mut out, &other, &scanned.slots, &mut used).unwrap();
        assert_eq!(out, "SELECT a FROM t WHERE b = 6789 AND c LIKE E'%' AND d > $1 AND e < $2 AND f = $1");
        assert_eq!(used, [2, 0]);
    }
}

//! `Source`: the client's text with a few names changed in it. Where a tree is printed something can be lost; what is changed here
//! is changed in the text itself, at names that are found where the tree says they are, or not at all.

use std::ops::Range;

use sqlparser::ast::Ident;
use sqlparser::tokenizer::{Location, Span};

use crate::sql::lexer::TokenKind;
use crate::sql::names::folded;
use crate::sql::pieces::{Piece, Pieces, can_have_holes};
use crate::sql::template::Slot;
use crate::sql::words::{name_of, tokens};

/// A statement's text, which a tree was parsed from.
pub(crate) struct Source<'a> {
    pub text: &'a str,
    /// Where `text` begins in what the slots point into.
    pub base: usize,
    pub slots: &'a [Slot],
}

/// The text to put in the place of these bytes.
#[derive(Clone, Debug)]
pub(crate) struct Edit {
    pub bytes: Range<usize>,
    pub text: String,
}

impl Source<'_> {
    /// The bytes of a run of names, from the first to the last; `None` where the text has other names there.
    pub fn range(&self, first: &Ident, last: &Ident) -> Option<Range<usize>> {
        let range = self.offset(first.span.start)?..self.offset(last.span.end)?;
        let text = self.text.get(range.clone())?;
        let tokens = tokens(text, true)?;
        let same = |ident: &Ident, token| name_of(text, token).is_some_and(|name| name == *folded(ident));
        (same(first, tokens.first()?) && same(last, tokens.last()?)).then_some(range)
    }

    /// The byte of a place that the parser tells by line and column, both from 1 in characters.
    fn offset(&self, place: Location) -> Option<usize> {
        let mut start = 0;
        for _ in 1..place.line.max(1) {
            start += self.text.get(start..)?.find('\n')? + 1;
        }
        let column = usize::try_from(place.column).ok()?.checked_sub(1)?;
        let line = self.text.get(start..)?;
        let within = line.char_indices().map(|(at, _)| at).chain([line.len()]).nth(column)?;
        Some(start + within)
    }

    /// The bytes of a call with its arguments, and those of what stands between its parentheses, if anything does.
    pub fn call(&self, first: &Ident, last: &Ident) -> Option<(Range<usize>, Option<Range<usize>>)> {
        let name = self.range(first, last)?;
        let tokens = tokens(self.text.get(name.end..)?, true)?;
        let Some(open) = tokens.first().filter(|token| token.is(b'(')) else { return Some((name, None)) };
        let mut depth = 0usize;
        for (at, token) in tokens.iter().enumerate() {
            if token.is(b'(') {
                depth += 1;
            } else if token.is(b')') {
                depth -= 1;
                if depth == 0 {
                    let inside = name.end + open.end..name.end + token.start;
                    return Some((name.start..name.end + token.end, (at > 1).then_some(inside)));
                }
            }
        }
        None
    }

    /// What stands between the parentheses around a query, given where its SELECT is.
    pub fn parenthesised(&self, select: Location) -> Option<Range<usize>> {
        self.parenthesised_from("select", select)
    }

    /// The same of a statement that begins with this word.
    pub fn parenthesised_from(&self, word: &str, place: Location) -> Option<Range<usize>> {
        let start = self.offset(place)?;
        let tokens = tokens(self.text, true)?;
        let at = tokens.iter().position(|token| token.start == start)?;
        let begins = name_of(self.text, tokens.get(at)?).is_some_and(|found| found == word);
        let open = tokens.get(at.checked_sub(1)?).filter(|token| begins && token.is(b'('))?;
        let mut depth = 0usize;
        for token in tokens.get(at..)? {
            if token.is(b'(') {
                depth += 1;
            } else if token.is(b')') {
                match depth.checked_sub(1) {
                    Some(less) => depth = less,
                    None => return Some(open.end..token.start),
                }
            }
        }
        None
    }

    /// The bytes of a SELECT in a set operation, given where it begins. Behind it stands what no SELECT holds outside of parentheses, but for
    /// labels, which can be any word.
    pub fn arm(&self, select: Location) -> Option<Range<usize>> {
        const BEHIND: [&str; 9] =
            ["union", "intersect", "except", "order", "limit", "offset", "fetch", "for", "returning"];
        let start = self.offset(select)?;
        let tokens = tokens(self.text, true)?;
        let first = tokens.iter().position(|token| token.start == start)?;
        let word = |at: usize| {
            let token = tokens.get(at).filter(|token| token.kind == TokenKind::Word)?;
            name_of(self.text, token)
        };
        if word(first)? != "select" {
            return None;
        }
        let (mut depth, mut label, mut end) = (0usize, false, start);
        for (at, token) in tokens.iter().enumerate().skip(first) {
            let is_label = std::mem::take(&mut label);
            if token.is(b'(') || token.is(b'[') {
                depth += 1;
            } else if token.is(b')') || token.is(b']') {
                match depth.checked_sub(1) {
                    Some(less) => depth = less,
                    None => break,
                }
            } else if depth == 0 && token.is(b';') {
                break;
            } else if depth == 0 && token.is(b'.') {
                label = true;
            } else if let (0, false, Some(word_here)) = (depth, is_label, word(at)) {
                let next = || word(at + 1).unwrap_or_default();
                match &*word_here {
                    "as" => label = true,
                    // Of an INSERT and a CREATE TABLE around it.
                    "on" if next() == "conflict" => return None,
                    "with" if matches!(&*next(), "no" | "data") => return None,
                    word if BEHIND.contains(&word) => break,
                    _ => {}
                }
            }
            end = token.end;
        }
        Some(start..end)
    }

    /// The text with the edits made and a hole for every literal.
    pub fn splice(&self, mut edits: Vec<Edit>) -> Option<Pieces> {
        edits.sort_by_key(|edit| edit.bytes.start);
        let end = self.base + self.text.len();
        let gone: Vec<Range<usize>> = edits.iter().map(|edit| edit.bytes.clone()).collect();
        let slots = self.slots.iter().enumerate().filter_map(|(index, slot)| {
            let bytes = slot.start as usize..slot.end as usize;
            let inside = bytes.start >= self.base && bytes.end <= end;
            let stays = inside && !gone.iter().any(|gone| gone.contains(&(bytes.start - self.base)));
            stays.then(|| (u16::try_from(index).ok(), bytes.start - self.base..bytes.end - self.base))
        });
        // They are numbered as they stand in the client's own text.
        let mut slots: Vec<_> = slots.collect();
        slots.sort_by_key(|(_, bytes)| bytes.start);
        let mut slots = slots.into_iter().peekable();
        let mut edits = edits.into_iter().peekable();
        // What is put in the place of names can have holes of its own.
        let holes = can_have_holes(self.text);
        let mut pieces = Pieces::default();
        let mut at = 0;
        loop {
            let edit_first = match (edits.peek(), slots.peek()) {
                (None, None) => break,
                (Some(edit), Some((_, slot))) => edit.bytes.start < slot.start,
                (edit, _) => edit.is_some(),
            };
            let bytes = match edit_first {
                true => edits.peek()?.bytes.clone(),
                false => slots.peek()?.1.clone(),
            };
            pieces.push(self.text.get(at..bytes.start)?);
            at = bytes.end;
            match edit_first {
                true => {
                    let text = &edits.next()?.text;
                    match holes {
                        true => pieces.extend(Pieces::of(text)?),
                        false => pieces.push(text),
                    }
                }
                // More literals than can be counted stay as they are: they are guards.
                false => match slots.next()? {
                    (Some(index), _) => pieces.0.push(Piece::Slot(index)),
                    (None, bytes) => pieces.push(self.text.get(bytes)?),
                },
            }
        }
        pieces.push(self.text.get(at..)?);
        Some(pieces)
    }
}

/// Whether a name was in the client's text.
pub(crate) fn is_placed(ident: &Ident) -> bool {
    ident.span != Span::empty()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::sql::template::{Scan, scan};
    use sqlparser::ast::{Expr, SelectItem, SetExpr, Statement};

    #[test]
    fn names_are_changed_in_the_text_itself() {
        let sql = "/* é */ SELECT 'ä',\n  public . \"Ords\".id FROM t -- x\n WHERE a = 5";
        let mut scanned = Scan::default();
        scan(sql, true, &mut scanned).unwrap();
        let source = Source { text: sql, base: 0, slots: &scanned.slots };
        let Statement::Query(query) = crate::sql::parse(sql).unwrap() else { panic!() };
        let SetExpr::Select(select) = *query.body else { panic!() };
        let SelectItem::UnnamedExpr(Expr::CompoundIdentifier(names)) = &select.projection[1] else { panic!() };
        let bytes = source.range(&names[0], &names[1]).unwrap();
        assert_eq!(&sql[bytes.clone()], "public . \"Ords\"");
        let pieces = source.splice(vec![Edit { bytes, text: "o".to_owned() }]).unwrap();
        let mut out = String::new();
        pieces.fill(&mut out, sql, &scanned.slots, &mut Vec::new()).unwrap();
        assert_eq!(out, "/* é */ SELECT 'ä',\n  o.id FROM t -- x\n WHERE a = 5");
        assert!(source.range(&names[1], &names[0]).is_none());
        assert!(source.range(&Ident::new("x"), &names[2]).is_none());
    }
}

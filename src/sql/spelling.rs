//! Spellings of Postgres that the parser does not know, put in ones that it knows: what is sent is the client's own text, or one
//! that means the very same.
//!
//! Two kinds of changes are kept apart. Those of [`same`] mean exactly the same to Postgres: the text with them can be printed, cut
//! and sent as the client's own can. Those of [`looser`] are for reading alone: what they leave out decides nothing about where the
//! statement goes, or says less of it. A tree that was read so is never printed, and its names and literals have the places that
//! they have in the text without these changes.

mod chains;
mod looser;
mod only;
mod same;
mod strings;
mod xml;

use std::ops::Range;

use sqlparser::ast::Statement;
use sqlparser::tokenizer::{Location, Span, TokenWithSpan};

use crate::sql::lexer::{Token, TokenKind};
use crate::sql::locking::LockText;
use crate::sql::pieces::{Piece, Pieces};
use crate::sql::rewrite::says_the_same;
use crate::sql::splice::Edit;
use crate::sql::template::Slot;
use crate::sql::words::{text_of, tokens};
use crate::sql::{MAX_DEPTH, parse, parse_tokens, tokenize};

pub(crate) use looser::MORE_COLUMNS;
pub(crate) use only::{is_marked, reads_only};

/// A statement as it was read.
pub(crate) struct Read {
    pub tree: Statement,
    /// The text that says the same, where that was read instead of the client's.
    pub other: Option<Other>,
}

/// Another text of the client's statement.
#[derive(Clone, Debug)]
pub(crate) struct Other {
    pub text: String,
    /// The literals of the client's text, by their places in this one. One that is not there lies beyond its end.
    pub slots: Vec<Slot>,
}

impl Other {
    /// One that was made with holes for the literals, with those of the client's text in them. `None`: one of them is there twice.
    pub fn of(made: &Pieces, text: &str, slots: &[Slot]) -> Option<Self> {
        let nowhere = |slot: &Slot| Slot { start: NOWHERE, end: NOWHERE, kind: slot.kind };
        let mut other = Self { text: String::new(), slots: slots.iter().map(nowhere).collect() };
        for piece in &made.0 {
            match piece {
                Piece::Text(part) => other.text.push_str(part),
                Piece::Slot(slot) => {
                    let literal = slots.get(usize::from(*slot))?;
                    let place = other.slots.get_mut(usize::from(*slot)).filter(|place| place.start == NOWHERE)?;
                    place.start = u32::try_from(other.text.len()).ok()?;
                    other.text.push_str(literal.text(text));
                    place.end = u32::try_from(other.text.len()).ok()?;
                }
                Piece::Parameter(_) | Piece::Moment => return None,
            }
        }
        Some(other)
    }

    /// Some of its bytes.
    pub fn part(&self, bytes: Range<usize>) -> Option<Self> {
        let text = self.text.get(bytes.clone())?.to_owned();
        let within = |at: u32| u32::try_from((at as usize).checked_sub(bytes.start)?).ok();
        let slots = self.slots.iter().map(|slot| {
            let inside = (slot.end as usize) <= bytes.end;
            let (start, end) =
                within(slot.start).zip(within(slot.end)).filter(|_| inside).unwrap_or((NOWHERE, NOWHERE));
            Slot { kind: slot.kind, start, end }
        });
        Some(Self { text, slots: slots.collect() })
    }
}

/// Where a literal is that another text does not have.
const NOWHERE: u32 = u32::MAX;

/// Reads one statement. `base`: where `text` begins in what the slots point into.
pub(crate) fn read(text: &str, base: usize, slots: &[Slot]) -> Option<Read> {
    let mut edits = same::edits(text);
    // Nearly all statements are read as they are.
    if edits.is_empty()
        && let Some(tree) = parse(text)
    {
        return Some(Read { tree, other: None });
    }
    if let Some(found) = read_with(text, base, slots, &edits) {
        return Some(found);
    }
    let chains = same::chains(text);
    if !chains.is_empty()
        && chains.len() < edits.len()
        && let Some(found) = read_with(text, base, slots, &chains)
    {
        return Some(found);
    }
    if let Some(tree) = Some(&edits).filter(|edits| !edits.is_empty() && chains.is_empty()).and_then(|_| parse(text)) {
        return Some(Read { tree, other: None });
    }
    edits.push(same::conditioned(text)?);
    read_with(text, base, slots, &edits)
}

/// Whether no chain of operators in the text that is read is longer than `most`, as `longest` counts them.
pub(crate) fn is_shortened(text: &str, longest: fn(&[Token]) -> usize, most: usize) -> bool {
    let changed = Tokens::of(text).and_then(|of| Changed::of(text, of.chains()));
    changed.and_then(|changed| tokens(&changed.text, true)).is_some_and(|tokens| longest(&tokens) <= most)
}

fn read_with(text: &str, base: usize, slots: &[Slot], edits: &[Edit]) -> Option<Read> {
    if edits.is_empty() {
        let tree = without_locks(text).or_else(|| read_loosely(text))?;
        return Some(Read { tree, other: None });
    }
    let changed = Changed::of(text, edits.to_vec())?;
    let tree = parse(&changed.text).or_else(|| without_locks(&changed.text)).or_else(|| read_loosely(&changed.text))?;
    let slots = changed.slots(base, slots);
    Some(Read { tree, other: Some(Other { text: changed.text, slots }) })
}

/// A query whose lock clause alone is not understood: nothing else of it is read as something else.
fn without_locks(text: &str) -> Option<Statement> {
    let LockText { clause, without, .. } = LockText::cut(text)?;
    let Statement::Query(mut query) = parse(&without)? else { return None };
    let alone = format!("SELECT FROM t {clause}");
    let Statement::Query(locks) = parse(&Changed::of(&alone, looser::edits(&alone))?.text)? else { return None };
    query.locks = locks.locks;
    Some(Statement::Query(query))
}

/// With what is changed for reading alone.
fn read_loosely(text: &str) -> Option<Statement> {
    let changed = Changed::of(text, looser::edits(text))?;
    // What is printed is compared with the text word by word: a change that this does not see must not be made.
    if says_the_same(&changed.text, text) {
        return None;
    }
    parse_tokens(changed.placed(text, tokenize(&changed.text)?)?)
}

/// A text with edits made, and what of it is where.
struct Changed {
    text: String,
    /// The bytes of each edit, before and after.
    edits: Vec<(Range<usize>, Range<usize>)>,
}

impl Changed {
    /// `None` where nothing is to be changed, or edits meet.
    fn of(text: &str, mut edits: Vec<Edit>) -> Option<Self> {
        edits.sort_by_key(|edit| (edit.bytes.start, edit.bytes.end));
        let mut changed = Self { text: String::with_capacity(text.len()), edits: Vec::new() };
        let mut at = 0;
        for edit in &edits {
            changed.text.push_str(text.get(at..edit.bytes.start)?);
            let start = changed.text.len();
            changed.text.push_str(&edit.text);
            changed.edits.push((edit.bytes.clone(), start..changed.text.len()));
            at = edit.bytes.end;
        }
        changed.text.push_str(text.get(at..)?);
        (!edits.is_empty()).then_some(changed)
    }

    /// The slots by their places in this text.
    fn slots(&self, base: usize, slots: &[Slot]) -> Vec<Slot> {
        let mut edits = self.edits.iter().peekable();
        let mut last = 0..0;
        let mut place = |slot: &Slot| -> Option<(u32, u32)> {
            let start = (slot.start as usize).checked_sub(base)?;
            let end = (slot.end as usize).checked_sub(base)?;
            while let Some((before, after)) = edits.next_if(|(before, _)| before.end <= start) {
                last = before.end..after.end;
            }
            if edits.peek().is_some_and(|(before, _)| before.start < end) {
                return None;
            }
            let moved = |at: usize| u32::try_from(at - last.start + last.end).ok();
            Some((moved(start)?, moved(end)?))
        };
        slots
            .iter()
            .map(|slot| {
                let (start, end) = place(slot).unwrap_or((NOWHERE, NOWHERE));
                Slot { kind: slot.kind, start, end }
            })
            .collect()
    }

    /// Its tokens, with the places that they have in the text before the edits; what an edit has brought has none.
    fn placed(&self, before: &str, mut tokens: Vec<TokenWithSpan>) -> Option<Vec<TokenWithSpan>> {
        let mut ours = Cursor::new(&self.text);
        let mut theirs = Cursor::new(before);
        let mut edits = self.edits.iter().peekable();
        let mut last = 0..0;
        for token in &mut tokens {
            let start = ours.byte_of(token.span.start)?;
            let end = ours.byte_of(token.span.end)?;
            while let Some((before, after)) = edits.next_if(|(_, after)| after.end <= start) {
                last = before.end..after.end;
            }
            let brought = edits.peek().is_some_and(|(_, after)| after.start < end);
            token.span = match brought {
                true => Span::empty(),
                false => {
                    let start = theirs.location_of(start - last.end + last.start)?;
                    Span::new(start, theirs.location_of(end - last.end + last.start)?)
                }
            };
        }
        Some(tokens)
    }
}

/// Goes over a text from front to back, by bytes or by lines and columns (both from 1, in characters).
struct Cursor<'a> {
    text: &'a str,
    byte: usize,
    place: Location,
}

impl<'a> Cursor<'a> {
    fn new(text: &'a str) -> Self {
        Self { text, byte: 0, place: Location::new(1, 1) }
    }

    fn step(&mut self) -> Option<()> {
        let c = self.text.get(self.byte..)?.chars().next()?;
        self.byte += c.len_utf8();
        self.place = match c {
            '\n' => Location::new(self.place.line + 1, 1),
            _ => Location::new(self.place.line, self.place.column + 1),
        };
        Some(())
    }

    fn byte_of(&mut self, place: Location) -> Option<usize> {
        while self.place < place {
            self.step()?;
        }
        (self.place == place).then_some(self.byte)
    }

    fn location_of(&mut self, byte: usize) -> Option<Location> {
        while self.byte < byte {
            self.step()?;
        }
        (self.byte == byte).then_some(self.place)
    }
}

/// A statement's tokens, for the rules that look for spellings.
struct Tokens<'a> {
    text: &'a str,
    list: Vec<Token>,
}

impl<'a> Tokens<'a> {
    /// `None`: not a statement that reads or changes rows, one that cannot be cut into tokens, or one of so many that looking for
    /// spellings could take long.
    fn of(text: &'a str) -> Option<Self> {
        const MOST: usize = 50_000;
        const FIRST: [&str; 8] = ["select", "with", "insert", "update", "delete", "merge", "values", "table"];
        let tokens = Self { text, list: tokens(text, true)? };
        let first = (0..tokens.list.len()).find(|at| !tokens.is_punct(*at, b'('))?;
        let small = tokens.list.len() <= MOST && tokens.depth() <= MAX_DEPTH;
        (small && FIRST.iter().any(|word| tokens.is(first, word))).then_some(tokens)
    }

    /// How deep parentheses and brackets nest.
    fn depth(&self) -> usize {
        let mut depth = 0usize;
        let depths = self.list.iter().map(|token| {
            match token.kind {
                TokenKind::Punct(b'(' | b'[') => depth += 1,
                TokenKind::Punct(b')' | b']') => depth = depth.saturating_sub(1),
                _ => {}
            }
            depth
        });
        depths.max().unwrap_or_default()
    }

    fn get(&self, at: usize) -> Option<&Token> {
        self.list.get(at)
    }

    fn text_at(&self, at: usize) -> &'a str {
        self.list.get(at).map_or("", |token| text_of(self.text, token))
    }

    /// Whether this word, without quotes, stands here.
    fn is(&self, at: usize, word: &str) -> bool {
        self.get(at).is_some_and(|token| token.kind == TokenKind::Word) && self.text_at(at).eq_ignore_ascii_case(word)
    }

    fn is_any(&self, at: usize, words: &[&str]) -> bool {
        words.iter().any(|word| self.is(at, word))
    }

    fn are(&self, at: usize, words: &[&str]) -> bool {
        words.iter().enumerate().all(|(i, word)| self.is(at + i, word))
    }

    fn is_punct(&self, at: usize, byte: u8) -> bool {
        self.get(at).is_some_and(|token| token.is(byte))
    }

    fn is_operator(&self, at: usize, operator: &str) -> bool {
        self.get(at).is_some_and(|token| token.kind == TokenKind::Operator) && self.text_at(at) == operator
    }

    /// Whether a name or keyword stands here, quoted or not.
    fn is_name(&self, at: usize) -> bool {
        self.get(at).is_some_and(|token| matches!(token.kind, TokenKind::Word | TokenKind::Quoted))
    }

    /// Whether what ends before this place can be an operand of what stands here.
    fn is_behind_operand(&self, at: usize) -> bool {
        let Some(token) = at.checked_sub(1).and_then(|at| self.get(at)) else { return false };
        match token.kind {
            TokenKind::Word | TokenKind::Quoted | TokenKind::UnicodeQuoted => true,
            TokenKind::Literal(_) | TokenKind::Parameter => true,
            TokenKind::Punct(byte) => matches!(byte, b')' | b']'),
            TokenKind::Operator => false,
        }
    }

    /// Where the parenthesis or bracket that opens here is closed.
    fn closing(&self, open: usize) -> Option<usize> {
        let mut depth = 0usize;
        for at in open..self.list.len() {
            if self.is_punct(at, b'(') || self.is_punct(at, b'[') {
                depth += 1;
            } else if self.is_punct(at, b')') || self.is_punct(at, b']') {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(at);
                }
            }
        }
        None
    }

    /// Where the parenthesis or bracket that is closed here opens.
    fn opening(&self, close: usize) -> Option<usize> {
        let mut depth = 0usize;
        for at in (0..=close).rev() {
            if self.is_punct(at, b')') || self.is_punct(at, b']') {
                depth += 1;
            } else if self.is_punct(at, b'(') || self.is_punct(at, b'[') {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(at);
                }
            }
        }
        None
    }

    /// The places between the parentheses that open here that are in no parentheses of their own, and where these close.
    fn top(&self, open: usize) -> Option<(Vec<usize>, usize)> {
        let close = self.closing(open)?;
        let mut places = Vec::new();
        let mut at = open + 1;
        while at < close {
            places.push(at);
            at = match self.is_punct(at, b'(') || self.is_punct(at, b'[') {
                true => self.closing(at)? + 1,
                false => at + 1,
            };
        }
        Some((places, close))
    }

    /// The parenthesis that a place is in, if any.
    fn around(&self, at: usize) -> Option<usize> {
        let mut depth = 0usize;
        (0..at).rev().find(|at| {
            if self.is_punct(*at, b')') || self.is_punct(*at, b']') {
                depth += 1;
            } else if self.is_punct(*at, b'(') || self.is_punct(*at, b'[') {
                match depth.checked_sub(1) {
                    Some(less) => depth = less,
                    None => return true,
                }
            }
            false
        })
    }

    /// The first token of the name that ends here, with what qualifies it.
    fn name_start(&self, last: usize) -> usize {
        let mut at = last;
        while at >= 2 && self.is_punct(at - 1, b'.') && self.is_name(at - 2) {
            at -= 2;
        }
        at
    }

    /// The last token of the name that begins here.
    fn name_end(&self, first: usize) -> usize {
        let mut at = first;
        while self.is_punct(at + 1, b'.') && self.is_name(at + 2) {
            at += 2;
        }
        at
    }

    /// These tokens, from the first to the last, replaced. Lines stay as many as they were, so that Postgres's own counting of them
    /// says the same.
    fn replace(&self, first: usize, last: usize, by: &str) -> Option<Edit> {
        let bytes = self.get(first)?.start..self.get(last)?.end;
        let lines = self.text.get(bytes.clone())?.matches('\n').count();
        Some(Edit { bytes, text: format!("{by}{}", "\n".repeat(lines)) })
    }

    fn insert_before(&self, at: usize, text: &str) -> Option<Edit> {
        let start = self.get(at)?.start;
        Some(Edit { bytes: start..start, text: text.to_owned() })
    }

    fn insert_behind(&self, at: usize, text: &str) -> Option<Edit> {
        let end = self.get(at)?.end;
        Some(Edit { bytes: end..end, text: text.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::sql::template::{Scan, scan};
    use proptest::prelude::*;

    /// The other text that is read, and the literals where they are in it.
    fn other(text: &str) -> (String, Vec<String>) {
        let mut scanned = Scan::default();
        scan(text, true, &mut scanned).unwrap();
        let read = read(text, 0, &scanned.slots).unwrap_or_else(|| panic!("{text}"));
        let other = read.other.unwrap_or_else(|| panic!("read as it is: {text}"));
        let literals = other.slots.iter().map(|slot| slot.text(&other.text).to_owned()).collect();
        (other.text, literals)
    }

    /// The tree that is read where no other text says the same.
    fn loosely(text: &str) -> String {
        let read = read(text, 0, &[]).unwrap_or_else(|| panic!("{text}"));
        assert!(read.other.is_none(), "{text}");
        read.tree.to_string()
    }

    #[test]
    fn literals_move_with_the_text_around_them() {
        let (text, literals) = other("SELECT 'a' ISNULL, 7 FROM t WHERE c NOT LIKE ALL ('{x}') AND b = 5");
        assert_eq!(text, "SELECT 'a' IS NULL, 7 FROM t WHERE c  !~~  ALL ('{x}') AND b = 5");
        assert_eq!(literals, ["'a'", "7", "'{x}'", "5"]);
    }

    #[test]
    fn names_and_literals_keep_their_places_where_something_else_is_read() {
        let text = "SELECT 'ä', concat(VARIADIC c) FROM t\nWHERE a BETWEEN SYMMETRIC 5 AND 1 AND b = '7' FOR NO KEY UPDATE OF t";
        let changed = Changed::of(text, looser::edits(text)).unwrap();
        let placed = changed.placed(text, tokenize(&changed.text).unwrap()).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        for token in placed.iter().filter(|token| token.span != Span::empty()) {
            let Location { line, column } = token.span.start;
            let rest: String = lines[line as usize - 1].chars().skip(column as usize - 1).collect();
            let written = token.token.to_string();
            let begins = rest.to_lowercase().starts_with(&written.to_lowercase());
            assert!(begins || written.trim().is_empty(), "{written:?} is said to be at {rest:?}");
        }
        assert!(loosely(text).contains("a NOT BETWEEN 5 AND 1"));
    }

    #[test]
    fn what_is_read_otherwise_is_never_printed_as_if_it_were_the_same() {
        assert!(read("SELECT o.*::text FROM o", 0, &[]).is_some());
        assert!(!says_the_same("SELECT row(o.*)::text FROM o", "SELECT o.*::text FROM o"));
    }

    #[test]
    fn a_part_of_another_text_has_the_literals_that_lie_in_it() {
        let text = "SELECT 1 WHERE 'a' ISNULL AND 2 IN (SELECT 'b' NOTNULL, 3) AND 4 > 5";
        let mut scanned = Scan::default();
        scan(text, true, &mut scanned).unwrap();
        let other = read(text, 0, &scanned.slots).unwrap().other.unwrap();
        let start = other.text.find("SELECT 'b'").unwrap();
        let part = other.part(start..other.text.find(") AND").unwrap()).unwrap();
        assert_eq!(part.text, "SELECT 'b' IS NOT NULL, 3");
        let literals: Vec<&str> = part.slots.iter().map(|slot| slot.text(&part.text)).collect();
        assert_eq!(literals, ["", "", "", "'b'", "3", "", ""]);
    }

    proptest! {
        /// Whatever is written, nothing is out of its place: literals are those of the client, and tokens stand where they are said to.
        #[test]
        fn literals_and_names_are_found_in_any_statement(words in prop::collection::vec(prop::sample::select(WORDS), 0..24)) {
            let text = format!("SELECT {}", words.join(" "));
            let mut scanned = Scan::default();
            prop_assume!(scan(&text, true, &mut scanned).is_ok());
            let _ = read(&text, 0, &scanned.slots);
            if let Some(changed) = Changed::of(&text, same::edits(&text)) {
                let slots = changed.slots(0, &scanned.slots);
                for (before, after) in scanned.slots.iter().zip(&slots).filter(|(_, after)| after.start != NOWHERE) {
                    prop_assert_eq!(before.text(&text), after.text(&changed.text));
                }
            }
            if let Some(changed) = Changed::of(&text, looser::edits(&text))
                && let Some(tokens) = tokenize(&changed.text)
            {
                let placed = changed.placed(&text, tokens).unwrap();
                // The parser has them without their escapes.
                let is_decoded = |token: &TokenWithSpan| token.token.to_string().to_lowercase().starts_with("u&");
                for token in placed.iter().filter(|token| token.span != Span::empty() && !is_decoded(token)) {
                    let start = usize::try_from(token.span.start.column).unwrap() - 1;
                    let end = usize::try_from(token.span.end.column).unwrap() - 1;
                    let there: String = text.chars().skip(start).take(end - start).collect();
                    prop_assert_eq!(token.token.to_string().to_lowercase(), there.to_lowercase());
                }
            }
        }
    }

    const WORDS: &[&str] = &[
        "a",
        "b.c",
        "(",
        ")",
        ",",
        "*",
        ".",
        "=",
        "||",
        "[",
        "]",
        "1",
        "'x'",
        "'ä'",
        "$1",
        "FROM",
        "WHERE",
        "AND",
        "NOT",
        "LIKE",
        "ANY",
        "ALL",
        "ISNULL",
        "NOTNULL",
        "TABLE",
        "ONLY",
        "AS",
        "USING",
        "ROWS",
        "UPDATE",
        "SET",
        "ROW",
        "xmlelement",
        "xmlroot",
        "name",
        "version",
        "standalone",
        "xmlserialize",
        "xmlexists",
        "passing",
        "by",
        "ref",
        "content",
        "SEARCH",
        "DEPTH",
        "FIRST",
        "CYCLE",
        "TO",
        "DEFAULT",
        "WITH",
        "trim",
        "leading",
        "substring",
        "similar",
        "escape",
        "OPERATOR",
        "pg_catalog",
        "VARIADIC",
        "BETWEEN",
        "SYMMETRIC",
        "U&'\\0061'",
        "UESCAPE",
        "'!'",
        "pg_lsn",
        "COLLATION",
        "FOR",
        "FETCH",
        "ROW",
        "GROUP",
        "DISTINCT",
        "OF",
        "u.*",
        "::",
    ];

    #[test]
    fn what_the_parser_reads_is_left_alone() {
        for text in ["SELECT 1", "SELECT isnull(a), any_value(b) FROM t WHERE c LIKE 'x'", "SELECT a * b FROM t"] {
            assert!(read(text, 0, &[]).unwrap().other.is_none(), "{text}");
        }
    }

    #[test]
    fn locks_and_conflicts_are_read() {
        for text in [
            "SELECT 1 FROM t FOR NO KEY UPDATE SKIP LOCKED",
            "SELECT 1 FROM t, u, v FOR KEY SHARE OF t, u NOWAIT",
            "SELECT 1 FROM t, u FOR UPDATE OF t, u LIMIT 1",
        ] {
            assert!(read(text, 0, &[]).is_some(), "{text}");
        }
        let tree = loosely("SELECT a FROM t ORDER BY a COLLATE \"C\" FOR KEY SHARE NOWAIT");
        assert!(tree.contains("COLLATE"), "{tree}");
        let (text, _) = other("INSERT INTO t SELECT 1, 'x' ON CONFLICT (a) DO UPDATE SET b = 2");
        assert!(text.contains("'x' WHERE true ON CONFLICT"), "{text}");
    }
}

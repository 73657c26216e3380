//! Row locks (`FOR UPDATE` and its kin): whose rows a query locks, and where the clause stands in its text.
//!
//! A row of a sharded table is on one shard, where every locker and writer meets its lock. A row of a reference table is on all of
//! them: only a lock on the home shard's copy is one that all sessions meet.

use std::ops::Range;

use sqlparser::ast::{LockClause, Query, SetExpr};

use crate::sql::lexer::{Token, TokenKind};
use crate::sql::model::{LeafId, LevelId, Model, Obstacle};
use crate::sql::names::folded;
use crate::sql::words::{text_of, tokens};

impl Model<'_> {
    /// Notes what the lock clauses of a SELECT lock, when its FROM list has been walked.
    pub fn note_locks(&mut self, query: &Query, level: LevelId) {
        if query.locks.is_empty() {
            return;
        }
        self.uses.locking = true;
        let locks = |leaf: &LeafId| query.locks.iter().any(|lock| may_lock(lock, &self.leaves[*leaf].name));
        let locked: Vec<LeafId> = self.levels[level].leaves.iter().copied().filter(locks).collect();
        let meets = |leaf: LeafId| self.enclosing(leaf).iter().any(|around| locked.contains(around));
        let Some((_, table)) = self.copies.iter().find(|(leaf, _)| meets(*leaf)) else { return };
        let what = format!("row locks on reference table \"{table}\"");
        self.uses.locks_copies = true;
        self.uses.home.get_or_insert(what.into());
    }
}

impl Model<'_> {
    /// The same of a query that is no SELECT: it locks what the SELECT in its parentheses reads.
    pub fn note_locks_behind(&mut self, query: &Query) {
        if query.locks.is_empty() || !matches!(*query.body, SetExpr::Query(_)) {
            return;
        }
        let Some((_, table)) = self.copies.first() else { return };
        let what = format!("row locks on reference table \"{table}\"");
        self.uses.locks_copies = true;
        self.uses.home.get_or_insert(what.into());
    }
}

/// Whether the clause locks rows of the FROM item with this name.
fn may_lock(lock: &LockClause, item: &str) -> bool {
    let name = lock.of.as_ref().and_then(|of| of.0.last()).and_then(|part| part.as_ident());
    name.is_none_or(|name| *folded(name) == *item)
}

/// Why rows of several shards that a Postgres puts together cannot be locked.
pub(crate) fn locks_copies() -> Obstacle {
    Obstacle::new("FOR UPDATE or FOR SHARE in a cursor, COPY or subquery over several shards, where rows are locked as they are fetched")
        .hint("Lock the rows by a SELECT of their own, then read what belongs to them.")
}

/// What happens at a row that somebody else has locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Busy {
    Wait,
    /// NOWAIT: an error.
    Fail,
    /// SKIP LOCKED
    Skip,
}

/// The lock clause of a query, as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LockText {
    /// `FOR UPDATE OF t SKIP LOCKED`
    pub clause: String,
    /// The statement with blanks in its place: everything else stands where it stood.
    pub without: String,
    pub busy: Busy,
    /// FOR KEY SHARE: others may change the row meanwhile, but for its keys.
    pub weak: bool,
}

impl LockText {
    /// `None` where there is not one such clause alone at the end of the statement, before or behind LIMIT.
    pub fn cut(text: &str) -> Option<Self> {
        let tokens = tokens(text, true)?;
        let word = |token: &Token, word: &str| {
            token.kind == TokenKind::Word && text_of(text, token).eq_ignore_ascii_case(word)
        };
        let mut depth = 0usize;
        let mut top: Vec<&Token> = Vec::new();
        for token in &tokens {
            if token.is(b')') || token.is(b']') {
                depth = depth.checked_sub(1)?;
            }
            if depth == 0 {
                top.push(token);
            }
            if token.is(b'(') || token.is(b'[') {
                depth += 1;
            }
        }
        let begins = |at: &usize| {
            let next = |n: usize, of: &[&str]| top.get(at + n).is_some_and(|token| of.iter().any(|w| word(token, w)));
            word(top[*at], "for") && next(1, &["update", "share", "no", "key"])
        };
        let starts: Vec<usize> = (0..top.len()).filter(begins).collect();
        let [start] = starts[..] else { return None };
        let ends = |token: &&Token| ["limit", "offset", "fetch"].iter().any(|end| word(token, end)) || token.is(b';');
        let end = top.iter().skip(start).position(ends).map_or(top.len(), |at| start + at);
        let bytes: Range<usize> = top[start].start..top.get(end.checked_sub(1)?)?.end;
        let clause = text.get(bytes.clone())?;
        // Tables may have these names.
        let ends_with = |words: &[&str]| {
            let Some(at) = end.checked_sub(words.len()).filter(|at| *at > start) else { return false };
            let is_name = top[at - 1].is(b',') || top[at - 1].is(b'.') || word(top[at - 1], "of");
            !is_name && top[at..end].iter().zip(words).all(|(token, of)| word(token, of))
        };
        let busy = match (ends_with(&["nowait"]), ends_with(&["skip", "locked"])) {
            (true, _) => Busy::Fail,
            (_, true) => Busy::Skip,
            _ => Busy::Wait,
        };
        let blank: String = clause.chars().map(|c| if c == '\n' { c } else { ' ' }).collect();
        let without = format!("{}{blank}{}", text.get(..bytes.start)?, text.get(bytes.end..)?);
        Some(Self { clause: clause.to_owned(), without, busy, weak: word(top.get(start + 1)?, "key") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &str) -> Option<(String, Busy)> {
        let cut = LockText::cut(text)?;
        assert_eq!(cut.without.len(), text.len());
        Some((cut.clause, cut.busy))
    }

    #[test]
    fn the_clause_is_found_on_both_sides_of_limit() {
        let found = |clause: &str, busy| Some((clause.to_owned(), busy));
        assert_eq!(cut("SELECT a FROM t LIMIT 1 FOR UPDATE"), found("FOR UPDATE", Busy::Wait));
        assert_eq!(
            cut("select a from t for no key update of t skip locked limit $1"),
            found("for no key update of t skip locked", Busy::Skip)
        );
        assert_eq!(cut("SELECT a FROM t FOR KEY SHARE NOWAIT\nOFFSET 3"), found("FOR KEY SHARE NOWAIT", Busy::Fail));
        for (clause, busy) in [
            ("FOR UPDATE OF skip", Busy::Wait),
            ("FOR UPDATE OF t, nowait", Busy::Wait),
            ("FOR UPDATE OF skip, locked", Busy::Wait),
            ("FOR SHARE OF nowait NOWAIT", Busy::Fail),
            ("FOR SHARE OF nowait, skip SKIP /* it */ LOCKED", Busy::Skip),
            ("FOR NO KEY UPDATE OF skip nowait", Busy::Fail),
        ] {
            assert_eq!(cut(&format!("SELECT a FROM t {clause}")), found(clause, busy));
            assert_eq!(cut(&format!("SELECT a FROM t {clause} LIMIT 1")), found(clause, busy));
        }
        for text in [
            "SELECT a FROM t",
            "SELECT substring(a FOR 3) FROM t",
            "SELECT a FROM (SELECT a FROM t FOR UPDATE) x",
            "SELECT a FROM t, u FOR UPDATE OF t FOR SHARE OF u",
        ] {
            assert_eq!(cut(text), None, "{text}");
        }
    }
}

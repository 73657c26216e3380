//! Values of sequences in a statement: where it takes one, and its text with the values in their places. A sequence exists once, on
//! the home shard; the router takes its values there before it routes, and the shards get them as constants.

pub mod fill;

use std::ops::Range;

use crate::catalog::{ColumnDefault, RelationKind, Table, name_parts};
use crate::fault::Fault;
use crate::ids::{QualifiedName, ShardId};
use crate::sql::NameScope;
use crate::sql::functions::{FunctionClass, classify};
use crate::sql::lexer::{Token, TokenKind};
use crate::sql::names::{Relation, resolve};
use crate::sql::outcome::Outcome;
use crate::sql::template::{Slot, string_value};
use crate::sql::words::{name_of, text_of, tokens};

pub use fill::Fill;

/// A statement that takes values of sequences, which must be known before it is routed.
#[derive(Clone, Debug)]
pub struct Draw {
    /// Where the statement itself would go: for EXPLAIN, and where only a server connection of the session knows the values.
    pub as_written: Outcome,
    pub form: Form,
}

/// Where the values stand.
#[derive(Clone, Debug)]
pub enum Form {
    /// In the place of the functions that give them.
    Calls,
    /// In the rows of an INSERT.
    Insert(Fill),
}

/// One value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Take {
    /// `nextval`
    Next(QualifiedName),
    /// `currval`
    Current(QualifiedName),
    /// `lastval()`
    Last,
    /// `pgloom.unique_id()`
    Unique,
}

/// What is written into a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    Text(Box<str>),
    /// A value. `bare`: as a number, where the column's own type is all that counts.
    Take {
        take: Take,
        bare: bool,
    },
}

/// A change of a statement's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    pub bytes: Range<usize>,
    pub pieces: Vec<Piece>,
}

/// The changes that put the values into a statement's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edits {
    /// In the order of the text, which is the order in which Postgres takes the values.
    pub list: Vec<Edit>,
    /// The sequence that `lastval()` is about afterwards; `None`: that cannot be told, or no value is taken.
    pub last: Option<QualifiedName>,
}

/// What a statement does with sequences on the server that it runs on, where the router does not take the values itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SequenceUse {
    /// It takes values of these.
    pub takes: Vec<QualifiedName>,
    /// Of these, those of which it takes one if it succeeds, whatever its rows are.
    pub surely: Vec<QualifiedName>,
    /// It may take values of any.
    pub takes_any: bool,
    /// `setval`
    pub sets: bool,
    /// Where `setval` is all that it does: the sequence of which the session has this value then; `None`: of none.
    pub set: Option<Option<QualifiedName>>,
    /// It asks for the values that the session has taken.
    pub reads: Vec<Take>,
    /// It asks for such values of sequences whose names are not known.
    pub reads_any: bool,
}

impl SequenceUse {
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    pub fn takes_nothing(&self) -> bool {
        self.takes.is_empty() && !self.takes_any && !self.sets
    }

    /// All that it takes it takes if it succeeds.
    pub fn takes_surely(&self) -> bool {
        !self.takes_any && !self.takes.is_empty() && self.takes.iter().all(|of| self.surely.contains(of))
    }
}

/// The places of the values in a statement; `None` where they cannot be told with certainty.
pub fn edits(text: &str, form: &Form, scope: &NameScope<'_>) -> Option<Edits> {
    let tokens = tokens(text, scope.standard_strings)?;
    match form {
        Form::Calls => call_edits(text, &tokens, scope),
        Form::Insert(fill) => fill::edits(text, &tokens, fill, scope),
    }
}

/// The text with the values that `value` gives, one after the other.
pub fn write(text: &str, edits: &Edits, mut value: impl FnMut(&Take) -> i64) -> Option<String> {
    let mut out = String::with_capacity(text.len() + 32 * edits.list.len());
    let mut at = 0;
    for edit in &edits.list {
        out.push_str(text.get(at..edit.bytes.start)?);
        for piece in &edit.pieces {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Take { take, bare: true } => out.push_str(&value(take).to_string()),
                Piece::Take { take, bare: false } => out.push_str(&format!("'{}'::bigint", value(take))),
            }
        }
        at = edit.bytes.end;
    }
    out.push_str(text.get(at..)?);
    Some(out)
}

impl Edits {
    pub fn takes(&self) -> impl Iterator<Item = &Take> {
        self.list.iter().flat_map(|edit| &edit.pieces).filter_map(|piece| match piece {
            Piece::Take { take, .. } => Some(take),
            Piece::Text(_) => None,
        })
    }
}

/// A call of one of the functions about sequences, as a range of tokens. `None`: which sequence is not certain.
struct Call {
    tokens: Range<usize>,
    function: String,
    take: Option<Take>,
    /// Its sequence lies on another shard than home, in a placed schema: the values are that shard's own business.
    elsewhere: bool,
}

impl Call {
    /// What the router gives in its place.
    fn ours(&self) -> Option<Take> {
        self.take.clone().filter(|_| !self.elsewhere)
    }
}

/// What statements of every kind do with sequences, as far as their text says.
pub(crate) fn uses(text: &str, tokens: &[Token], scope: &NameScope<'_>) -> SequenceUse {
    let mut uses = SequenceUse::default();
    for call in sequence_calls(text, tokens, scope) {
        match (&*call.function, call.take) {
            ("setval", _) => {
                uses.sets = true;
                uses.set = set_alone(text, tokens, &call.tokens, scope);
            }
            ("nextval", Some(Take::Next(sequence))) => uses.takes.push(sequence),
            ("nextval", _) => uses.takes_any = true,
            (_, Some(take)) => uses.reads.push(take),
            (_, None) => uses.reads_any = true,
        }
    }
    uses
}

/// `SELECT setval('name', number)`, and with `true` or `false`: surely the session has that value then, or the one that it had.
fn set_alone(
    text: &str,
    tokens: &[Token],
    call: &Range<usize>,
    scope: &NameScope<'_>,
) -> Option<Option<QualifiedName>> {
    let is_word = |at: usize, word: &str| tokens.get(at).is_some_and(|t| text_of(text, t).eq_ignore_ascii_case(word));
    if call.start != 1 || !is_word(0, "select") {
        return None;
    }
    let sequence = sequence_named(scope, &literal(text, tokens.get(call.end)?)?)?;
    let mut at = call.end + 1;
    if text_of(text, tokens.get(at)?) == "::" && is_word(at + 1, "regclass") {
        at += 2;
    }
    let number = tokens.get(at + 1)?;
    let is_number = text_of(text, number).bytes().all(|byte| byte.is_ascii_digit());
    if !tokens.get(at)?.is(b',') || !is_number {
        return None;
    }
    at += 2;
    let mut called = true;
    if tokens.get(at)?.is(b',') {
        called = is_word(at + 1, "true");
        if !called && !is_word(at + 1, "false") {
            return None;
        }
        at += 2;
    }
    let ends = tokens.get(at)?.is(b')') && tokens.get(at + 1).is_none_or(|token| token.is(b';'));
    ends.then(|| called.then_some(sequence))
}

fn calls(text: &str, tokens: &[Token], scope: &NameScope<'_>) -> Vec<Call> {
    (0..tokens.len()).filter_map(|at| call(text, tokens, at, scope)).collect()
}

/// The calls of functions about sequences.
fn sequence_calls(text: &str, tokens: &[Token], scope: &NameScope<'_>) -> Vec<Call> {
    let mut all = calls(text, tokens, scope);
    all.retain(|call| call.take != Some(Take::Unique));
    all
}

/// The call whose function is named by the token `at`.
fn call(text: &str, tokens: &[Token], at: usize, scope: &NameScope<'_>) -> Option<Call> {
    let function = name_of(text, tokens.get(at)?)?;
    if !matches!(&*function, "nextval" | "currval" | "lastval" | "setval" | "unique_id")
        || !tokens.get(at + 1)?.is(b'(')
    {
        return None;
    }
    let mut start = at;
    let mut schema = None;
    if at.checked_sub(1).and_then(|dot| tokens.get(dot)).is_some_and(|dot| dot.is(b'.')) {
        start = at.checked_sub(2)?;
        schema = name_of(text, tokens.get(start)?);
    }
    if function == "unique_id" {
        let alone = schema.as_deref() == Some("pgloom") && tokens.get(at + 2)?.is(b')');
        return alone.then(|| Call { tokens: start..at + 3, function, take: Some(Take::Unique), elsewhere: false });
    }
    if !matches!(classify(scope, schema.as_deref(), &function), FunctionClass::Sequence(_)) {
        return None;
    }
    let (take, end) = match argument(text, tokens, at + 2, scope) {
        Some((sequence, end)) => (take(&function, sequence), end),
        None => (None, at + 2),
    };
    let elsewhere = match &take {
        Some(Take::Next(sequence) | Take::Current(sequence)) => {
            scope.place_of(&sequence.schema).shard != scope.topology.home
        }
        Some(Take::Last | Take::Unique) | None => false,
    };
    Some(Call { tokens: start..end, function, take, elsewhere })
}

/// That a default takes its values on the shard where the sequence gives them out: the home shard, or that of a placed schema.
pub(crate) fn check_source(
    scope: &NameScope<'_>,
    table: &Table,
    column: &str,
    sequence: &QualifiedName,
    shard: ShardId,
) -> Result<(), Fault> {
    if scope.place_of(&sequence.schema).shard == shard {
        return Ok(());
    }
    Err(Fault::unsupported(
        format!("the default of column \"{column}\" of table \"{}\" is not supported", table.name.name),
        format!("the values of sequence {sequence} are given out on another shard"),
        "Give the column a value in the statement.",
    ))
}

fn take(function: &str, sequence: Option<QualifiedName>) -> Option<Take> {
    match (function, sequence) {
        ("lastval", None) => Some(Take::Last),
        ("nextval", Some(sequence)) => Some(Take::Next(sequence)),
        ("currval", Some(sequence)) => Some(Take::Current(sequence)),
        _ => None,
    }
}

/// `)` or `'name')`, perhaps with a cast to regclass or text; and the token behind.
fn argument(text: &str, tokens: &[Token], at: usize, scope: &NameScope<'_>) -> Option<(Option<QualifiedName>, usize)> {
    let first = tokens.get(at)?;
    if first.is(b')') {
        return Some((None, at + 1));
    }
    let (sequence, mut at) = match serial_sequence(text, tokens, at, scope) {
        Some(found) => found,
        None => (sequence_named(scope, &literal(text, first)?)?, at + 1),
    };
    if text_of(text, tokens.get(at)?) == "::" {
        at += 1;
        if name_of(text, tokens.get(at)?)? == "pg_catalog" && tokens.get(at + 1)?.is(b'.') {
            at += 2;
        }
        if !matches!(&*name_of(text, tokens.get(at)?)?, "regclass" | "text") {
            return None;
        }
        at += 1;
    }
    tokens.get(at)?.is(b')').then_some((Some(sequence), at + 1))
}

/// `pg_get_serial_sequence('table', 'column')`: the sequence of the column, and the token behind.
fn serial_sequence(text: &str, tokens: &[Token], at: usize, scope: &NameScope<'_>) -> Option<(QualifiedName, usize)> {
    let named = |at: usize, name: &str| tokens.get(at).and_then(|token| name_of(text, token)).as_deref() == Some(name);
    let punct = |at: usize, byte: u8| tokens.get(at).is_some_and(|token| token.is(byte));
    let at = if named(at, "pg_catalog") && punct(at + 1, b'.') { at + 2 } else { at };
    let called =
        named(at, "pg_get_serial_sequence") && punct(at + 1, b'(') && punct(at + 3, b',') && punct(at + 5, b')');
    if !called {
        return None;
    }
    let (table, column) = (literal(text, tokens.get(at + 2)?)?, literal(text, tokens.get(at + 4)?)?);
    let relation = match &name_parts(&table)?[..] {
        [name] => resolve(scope, None, name),
        [schema, name] => resolve(scope, Some(schema), name),
        _ => return None,
    };
    let (Relation::Sharded { table, .. } | Relation::Reference { table, .. } | Relation::Unsharded { table, .. }) =
        relation
    else {
        return None;
    };
    let table = table?;
    let (_, column) = table.column(&column)?;
    let ColumnDefault::Sequence(default) = &column.default else { return None };
    // One that belongs to no column, or to another one, is not found by it.
    let known = scope.catalog.table(&default.sequence)?;
    (known.owner.as_ref() == Some(&table.name)).then(|| (default.sequence.clone(), at + 6))
}

fn literal(text: &str, token: &Token) -> Option<String> {
    let TokenKind::Literal(kind) = token.kind else { return None };
    let slot = Slot { kind, start: u32::try_from(token.start).ok()?, end: u32::try_from(token.end).ok()? };
    string_value(text, &slot).map(Into::into)
}

/// The sequence that a name means as `regclass` reads it, where the catalog knows it.
pub(crate) fn sequence_named(scope: &NameScope<'_>, text: &str) -> Option<QualifiedName> {
    let relation = match &name_parts(text)?[..] {
        [name] if scope.is_own_relation(name) => return None,
        [name] => resolve(scope, None, name),
        [schema, name] => resolve(scope, Some(schema), name),
        _ => return None,
    };
    let Relation::Unsharded { table: Some(table), .. } = relation else { return None };
    (table.kind == RelationKind::Sequence).then(|| table.name.clone())
}

/// Whether the router can take the values of a statement's calls and write them in their places.
pub(crate) fn calls_can_be_replaced(text: &str, tokens: &[Token], scope: &NameScope<'_>) -> bool {
    call_edits(text, tokens, scope).is_some()
}

/// Values in the place of calls: in the list of a SELECT without FROM, where each is made once and from left to right; and, of values
/// that the session has taken before, behind or before an operator anywhere.
fn call_edits(text: &str, tokens: &[Token], scope: &NameScope<'_>) -> Option<Edits> {
    let calls = sequence_calls(text, tokens, scope);
    if calls.is_empty() {
        return None;
    }
    let (list, calls) = match select_list(text, tokens, &calls) {
        Some(list) => (list, calls),
        None => (constants(text, tokens, &calls)?, calls),
    };
    let last = calls.iter().rev().find_map(|call| match &call.take {
        Some(Take::Next(sequence)) => Some(sequence.clone()),
        _ => None,
    });
    Some(Edits { list, last })
}

fn bytes_of(tokens: &[Token], of: &Range<usize>) -> Option<Range<usize>> {
    Some(tokens.get(of.start)?.start..tokens.get(of.end.checked_sub(1)?)?.end)
}

fn replaced(tokens: &[Token], call: &Call) -> Option<Edit> {
    let take = call.ours()?;
    Some(Edit { bytes: bytes_of(tokens, &call.tokens)?, pieces: vec![Piece::Take { take, bare: false }] })
}

/// Words behind which a value can stand as well as a call.
const BEFORE_VALUE: [&str; 3] = ["and", "or", "where"];

/// Values that the statement does not change: each stands beside an operator, so that it names no column.
fn constants(text: &str, tokens: &[Token], calls: &[Call]) -> Option<Vec<Edit>> {
    let beside = |call: &Call| {
        let before = call.tokens.start.checked_sub(1).and_then(|at| tokens.get(at));
        let after = tokens.get(call.tokens.end);
        let operator = |token: &Token| token.kind == TokenKind::Operator && text_of(text, token) != "::";
        let word = |token: &Token| BEFORE_VALUE.iter().any(|word| text_of(text, token).eq_ignore_ascii_case(word));
        before.is_some_and(|token| operator(token) || word(token)) || after.is_some_and(operator)
    };
    let fixed = |call: &Call| matches!(call.take, Some(Take::Current(_) | Take::Last)) && beside(call);
    calls.iter().all(fixed).then(|| calls.iter().map(|call| replaced(tokens, call)).collect())?
}

/// `SELECT item, ...` of calls, constants, parameters, operators and casts alone.
fn select_list(text: &str, tokens: &[Token], calls: &[Call]) -> Option<Vec<Edit>> {
    let is_word = |at: usize, word: &str| tokens.get(at).is_some_and(|t| text_of(text, t).eq_ignore_ascii_case(word));
    if !is_word(0, "select") {
        return None;
    }
    let end = tokens.iter().position(|token| token.is(b';')).unwrap_or(tokens.len());
    let mut edits = Vec::new();
    let mut item = Item::default();
    let mut at = 1;
    while at < end {
        let token = tokens.get(at)?;
        if let Some(call) = calls.iter().find(|call| call.tokens.start == at) {
            edits.push(replaced(tokens, call)?);
            item.calls.push(call.function.clone());
            at = call.tokens.end;
            continue;
        }
        match token.kind {
            TokenKind::Punct(b',') if item.depth == 0 => {
                edits.extend(std::mem::take(&mut item).named(tokens.get(at - 1)?.end));
                at += 1;
                continue;
            }
            TokenKind::Punct(b'(') => item.depth += 1,
            TokenKind::Punct(b')') => item.depth = item.depth.checked_sub(1)?,
            TokenKind::Operator if text_of(text, token) == "::" => {
                // The type: one word.
                at += 1;
                (tokens.get(at)?.kind == TokenKind::Word).then_some(())?;
            }
            TokenKind::Operator | TokenKind::Literal(_) | TokenKind::Parameter => item.more = true,
            TokenKind::Word if item.depth == 0 && is_word(at, "as") => {
                at += 1;
                name_of(text, tokens.get(at)?)?;
                let ends = at + 1 >= end || tokens.get(at + 1)?.is(b',');
                (ends && !item.has_alias).then_some(())?;
                item.has_alias = true;
            }
            _ => return None,
        }
        at += 1;
    }
    edits.extend(item.named(tokens.get(end.checked_sub(1)?)?.end));
    Some(edits)
}

/// An item of a select list, as far as it was read.
#[derive(Default)]
struct Item {
    depth: usize,
    calls: Vec<String>,
    /// There is more than a call and its casts.
    more: bool,
    has_alias: bool,
}

impl Item {
    /// A call alone names its column: so does the value then.
    fn named(self, end: usize) -> Option<Edit> {
        let [function] = &self.calls[..] else { return None };
        let name = (!self.more && !self.has_alias).then(|| format!(" AS {function}").into())?;
        Some(Edit { bytes: end..end, pieces: vec![Piece::Text(name)] })
    }
}

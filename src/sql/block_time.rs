//! The time of a transaction over several shards, written into a statement that one of them runs: each has begun its part at a moment of its
//! own, and one Postgres has one time.

use crate::catalog::{Column, ColumnDefault, Table};
use crate::sql::NameScope;
use crate::sql::functions::{FunctionClass, classify};
use crate::sql::insert_keys::InsertSource;
use crate::sql::lexer::{Token, TokenKind};
use crate::sql::sequences::fill::{Cell, Fill, places};
use crate::sql::sequences::{Piece, write};
use crate::sql::template::{Slot, is_moment, string_value};
use crate::sql::words::{name_of, text_of, tokens};

/// What in a statement reads the time of its transaction, besides calls that stand in its text.
#[derive(Clone, Debug, Default)]
pub struct ReadsTime {
    /// Defaults that the rows of an INSERT leave out or ask for.
    pub fill: Option<Fill>,
    /// Columns that SET gives their defaults, and those.
    pub sets: Vec<(Box<str>, Box<str>)>,
    /// What reads it in a way that cannot be written otherwise.
    pub hidden: Option<Box<str>>,
    /// A text like `now` is read as a time.
    pub moment: bool,
}

impl ReadsTime {
    pub fn is_none(&self) -> bool {
        self.fill.is_none() && self.sets.is_empty() && self.hidden.is_none() && !self.moment
    }

    pub fn hide(&mut self, what: impl Into<Box<str>>) {
        self.hidden.get_or_insert_with(|| what.into());
    }
}

/// The default of a column that calls a function of the clock.
pub(crate) fn default_with_clock<'t>(scope: &NameScope<'_>, table: &'t Table, at: usize) -> Option<(&'t str, &'t str)> {
    let column = table.columns.get(at)?;
    Some((&*column.name, clock_default(scope, column)?))
}

/// The same of one column.
pub(crate) fn clock_default<'c>(scope: &NameScope<'_>, column: &'c Column) -> Option<&'c str> {
    let ColumnDefault::Expression(text) = &column.default else { return None };
    (!column.generated && has_calls(text, &tokens(text, true)?, scope)).then_some(&**text)
}

/// Notes which of the defaults of an INSERT read the clock; `left`: the columns that get theirs.
pub(crate) fn note_defaults(
    reads: &mut ReadsTime,
    scope: &NameScope<'_>,
    table: &Table,
    columns: Option<&[String]>,
    source: &InsertSource<'_>,
    left: &[usize],
) {
    let late: Vec<_> = left.iter().filter_map(|at| Some((*at, default_with_clock(scope, table, *at)?))).collect();
    let Some((_, (first, _))) = late.first() else { return };
    let Some(rows) = source.rows() else {
        return reads.hide(format!("the default of column \"{first}\" in the rows of a query"));
    };
    let width = rows.first().map_or(0, |row| row.len());
    if columns.is_some_and(|listed| listed.len() != width) && width > 0 {
        // Postgres has the words for it.
        return;
    }
    let names: Vec<Box<str>> = match columns {
        Some(listed) => listed.iter().map(|name| name.as_str().into()).take(width).collect(),
        None => table.columns.iter().map(|column| column.name.clone()).take(width).collect(),
    };
    let mut fill = Fill { list: columns.is_none().then(|| names.clone()), ..Fill::nothing(width) };
    for (_, (name, default)) in late {
        let pieces = vec![Piece::Text(format!("({default})").into())];
        match names.iter().position(|known| **known == *name).and_then(|at| fill.cells.get_mut(at)) {
            Some(cell) => *cell = Cell::Default(pieces),
            None => fill.omitted.push((name.into(), pieces)),
        }
    }
    reads.fill = Some(fill);
}

/// Whether a statement calls a function that reads the time of its transaction.
pub(crate) fn has_calls(text: &str, tokens: &[Token], scope: &NameScope<'_>) -> bool {
    (0..tokens.len()).any(|at| call(text, tokens, at, scope).is_some())
}

/// The statement with the time in it. `time`: as a text that every server reads alike. `Err`: what stands in the way.
pub fn with_time(text: &str, reads: &ReadsTime, time: &str, scope: &NameScope<'_>) -> Result<String, String> {
    if let Some(what) = &reads.hidden {
        return Err(what.to_string());
    }
    let unread = || "its defaults cannot be written into it with certainty".to_owned();
    let mut text = text.to_owned();
    if let Some(fill) = &reads.fill {
        let tokens = tokens(&text, scope.standard_strings).ok_or_else(unread)?;
        let edits = places(&text, &tokens, fill).ok_or_else(unread)?;
        text = write(&text, &edits, |_| 0).ok_or_else(unread)?;
    }
    for (column, default) in &reads.sets {
        text = with_default(&text, column, default, scope).ok_or_else(unread)?;
    }
    let tokens = tokens(&text, scope.standard_strings).ok_or_else(unread)?;
    with_values(&text, &tokens, reads.moment, time, scope)
}

/// The default in the place of `column = DEFAULT`.
fn with_default(text: &str, column: &str, default: &str, scope: &NameScope<'_>) -> Option<String> {
    let tokens = tokens(text, scope.standard_strings)?;
    let mut out = String::new();
    let mut copied = 0;
    for three in tokens.windows(3) {
        let [name, equals, value] = three else { return None };
        let is_default = value.kind == TokenKind::Word && text_of(text, value).eq_ignore_ascii_case("default");
        if is_default && text_of(text, equals) == "=" && name_of(text, name).is_some_and(|name| name == column) {
            out.push_str(text.get(copied..value.start)?);
            out.push_str(&format!("({default})"));
            copied = value.end;
        }
    }
    out.push_str(text.get(copied..)?);
    (copied > 0).then_some(out)
}

/// A call of a function that reads the time of its transaction: where it ends, and what stands in its place.
struct Call {
    first: usize,
    end: usize,
    of: Of,
}

enum Of {
    /// A value of this type, perhaps of this precision, in a column of this name.
    Value { name: &'static str, ty: &'static str, precision: String },
    /// `age(x)`: from the beginning of the day.
    Age,
    /// A text like `now` that is cast to a time; and whole days from today, where it is one.
    Text(Option<i32>),
    /// The same behind the name of this type.
    Typed(&'static str, Option<i32>),
}

/// What the functions without parentheses give.
fn keyword(word: &str) -> Option<(&'static str, &'static str)> {
    Some(match word {
        "current_timestamp" => ("current_timestamp", "timestamptz"),
        "current_date" => ("current_date", "date"),
        "current_time" => ("current_time", "timetz"),
        "localtime" => ("localtime", "time"),
        "localtimestamp" => ("localtimestamp", "timestamp"),
        _ => return None,
    })
}

/// The call whose name is the token `at`.
fn call(text: &str, tokens: &[Token], at: usize, scope: &NameScope<'_>) -> Option<Call> {
    let token = tokens.get(at)?;
    let punct = |at: usize, byte: u8| tokens.get(at).is_some_and(|token| token.is(byte));
    let before = at.checked_sub(1).and_then(|before| tokens.get(before));
    let qualified = before.is_some_and(|token| token.is(b'.'));
    if let TokenKind::Literal(_) = token.kind {
        return cast_to_time(text, tokens, at, moment_in(text, token)?);
    }
    let name = name_of(text, token)?;
    if let Some(ty) = TIMES.into_iter().find(|ty| *ty == name)
        && token.kind == TokenKind::Word
        && let Some(days) = tokens.get(at + 1).and_then(|literal| moment_in(text, literal))
    {
        // What is a time has no day.
        let of = Of::Typed(ty, days);
        return (days.is_none() || !matches!(ty, "time" | "timetz")).then_some(Call { first: at, end: at + 2, of });
    }
    if !qualified
        && token.kind == TokenKind::Word
        && let Some((name, ty)) = keyword(&name)
    {
        if punct(at + 1, b'.') || before.is_some_and(|token| text_of(text, token).eq_ignore_ascii_case("as")) {
            return None;
        }
        let precision = match punct(at + 1, b'(') && punct(at + 3, b')') {
            true => format!("({})", text_of(text, tokens.get(at + 2)?)),
            false => String::new(),
        };
        let end = if precision.is_empty() { at + 1 } else { at + 4 };
        return Some(Call { first: at, end, of: Of::Value { name, ty, precision } });
    }
    let known = ["now", "transaction_timestamp", "age"].into_iter().find(|known| *known == name)?;
    let first = if qualified { at.checked_sub(2)? } else { at };
    let schema = if qualified { Some(name_of(text, tokens.get(first)?)?) } else { None };
    if !punct(at + 1, b'(') || classify(scope, schema.as_deref(), known) != FunctionClass::Clock {
        return None;
    }
    if known == "age" {
        return is_counted_from_today(text, tokens, at + 2).then_some(Call { first, end: at + 2, of: Of::Age });
    }
    let of = Of::Value { name: known, ty: "timestamptz", precision: String::new() };
    punct(at + 2, b')').then_some(Call { first, end: at + 3, of })
}

const TIMES: [&str; 5] = ["date", "timestamp", "timestamptz", "time", "timetz"];

/// What moment a literal is, if it is one: now, or the beginning of a day so many days from today.
fn moment_in(text: &str, literal: &Token) -> Option<Option<i32>> {
    let TokenKind::Literal(kind) = literal.kind else { return None };
    let slot = Slot { kind, start: u32::try_from(literal.start).ok()?, end: u32::try_from(literal.end).ok()? };
    let value = string_value(text, &slot)?;
    match value.trim().to_ascii_lowercase().as_str() {
        "now" => Some(None),
        "today" => Some(Some(0)),
        "tomorrow" => Some(Some(1)),
        "yesterday" => Some(Some(-1)),
        _ => None,
    }
}

/// Whether an argument that begins here is the only one, and no transaction's number.
fn is_counted_from_today(text: &str, tokens: &[Token], from: usize) -> bool {
    let mut depth = 0usize;
    for (at, token) in tokens.iter().enumerate().skip(from) {
        match token.kind {
            TokenKind::Punct(b'(' | b'[') => depth += 1,
            TokenKind::Punct(b')') if depth == 0 => return at > from,
            TokenKind::Punct(b')' | b']') => depth = depth.saturating_sub(1),
            TokenKind::Punct(b',') if depth == 0 => return false,
            TokenKind::Word | TokenKind::Quoted => {
                let name = name_of(text, token).unwrap_or_default();
                if name.ends_with("xid") || matches!(&*name, "xmin" | "xmax") {
                    return false;
                }
            }
            _ => {}
        }
    }
    false
}

/// The text in this place, where it is cast to a type of times by its own spelling.
fn cast_to_time(text: &str, tokens: &[Token], at: usize, days: Option<i32>) -> Option<Call> {
    let is_time = |at: usize| -> Option<()> {
        let at = match (tokens.get(at).and_then(|token| name_of(text, token)), tokens.get(at + 1)) {
            (Some(schema), Some(dot)) if schema == "pg_catalog" && dot.is(b'.') => at + 2,
            _ => at,
        };
        let name = tokens.get(at).and_then(|token| name_of(text, token))?;
        let has_day = name == "date" || name.starts_with("timestamp");
        (has_day || days.is_none() && name.starts_with("time")).then_some(())
    };
    let follows = tokens.get(at + 1).map(|token| text_of(text, token)).unwrap_or_default();
    if follows == "::" || follows.eq_ignore_ascii_case("as") {
        is_time(at + 2)?;
        return Some(Call { first: at, end: at + 1, of: Of::Text(days) });
    }
    None
}

/// What of a query the tokens at hand belong to.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Clause {
    #[default]
    Outside,
    From,
    /// The condition of a join in FROM.
    On,
    Other,
}

impl Clause {
    /// What it is behind this word. FROM begins a clause only where a query has begun.
    fn after(self, word: &str, operator: bool) -> Self {
        match word {
            "select" | "insert" | "update" | "delete" | "merge" | "values" => Self::Other,
            "from" if self != Self::Outside && !operator => Self::From,
            "using" | "join" if self != Self::Outside => Self::From,
            "on" if self == Self::From => Self::On,
            "where" | "group" | "having" | "window" | "order" | "limit" | "offset" | "fetch" | "set" | "returning"
            | "union" | "intersect" | "except" | "when"
                if self != Self::Outside =>
            {
                Self::Other
            }
            _ => self,
        }
    }
}

fn with_values(
    text: &str,
    tokens: &[Token],
    moment: bool,
    time: &str,
    scope: &NameScope<'_>,
) -> Result<String, String> {
    let unread = || "the places of its calls cannot be told with certainty".to_owned();
    let mut out = String::with_capacity(text.len() + 96);
    let mut copied = 0;
    let mut clauses = vec![Clause::default()];
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        // The name of a function is behind that of its schema.
        let named = if tokens.get(at + 1).is_some_and(|dot| dot.is(b'.')) { at + 2 } else { at };
        let found = call(text, tokens, named, scope).filter(|call| call.first == at);
        if let Some(call) = found {
            let clause = clauses.last().copied().unwrap_or_default();
            if clause == Clause::From && matches!(call.of, Of::Value { .. }) {
                return Err(format!("it reads {} in FROM", text_of(text, token).to_ascii_lowercase()));
            }
            let end = call.end.checked_sub(1).and_then(|last| tokens.get(last)).ok_or_else(unread)?.end;
            out.push_str(text.get(copied..token.start).ok_or_else(unread)?);
            if let Of::Age = call.of {
                out.push_str(text.get(token.start..end).ok_or_else(unread)?);
                clauses.push(Clause::default());
            }
            out.push_str(&call.of.written(time));
            copied = end;
            at = call.end;
            continue;
        }
        if let TokenKind::Literal(kind) = token.kind
            && moment
            && is_left(text, token, kind)
        {
            return Err(format!("it reads the text {} as a time", text_of(text, token)));
        }
        follow(&mut clauses, text, tokens, at);
        at += 1;
    }
    out.push_str(text.get(copied..).ok_or_else(unread)?);
    Ok(out)
}

fn is_left(text: &str, token: &Token, kind: crate::sql::template::SlotKind) -> bool {
    let (Ok(start), Ok(end)) = (u32::try_from(token.start), u32::try_from(token.end)) else { return true };
    string_value(text, &Slot { kind, start, end }).is_some_and(|value| is_moment(value.as_bytes()))
}

/// Which clause it is behind this token.
fn follow(clauses: &mut Vec<Clause>, text: &str, tokens: &[Token], at: usize) {
    let Some(token) = tokens.get(at) else { return };
    let word = |at: Option<usize>| at.and_then(|at| tokens.get(at)).map(|token| text_of(text, token));
    let (before, two_before) = (word(at.checked_sub(1)), word(at.checked_sub(2)));
    let is = |found: Option<&str>, word: &str| found.is_some_and(|found| found.eq_ignore_ascii_case(word));
    match token.kind {
        TokenKind::Punct(b'(') => {
            let from = clauses.last() == Some(&Clause::From);
            let groups = ["from", "join", "lateral", ",", "("].iter().any(|word| is(before, word));
            clauses.push(if from && groups { Clause::From } else { Clause::Outside });
        }
        TokenKind::Punct(b')') if clauses.len() > 1 => {
            clauses.pop();
        }
        TokenKind::Punct(b',') => {
            if let Some(clause @ Clause::On) = clauses.last_mut() {
                *clause = Clause::From;
            }
        }
        TokenKind::Word => {
            let operator = is(before, "distinct") && (is(two_before, "is") || is(two_before, "not"));
            if let Some(clause) = clauses.last_mut() {
                *clause = clause.after(&text_of(text, token).to_ascii_lowercase(), operator);
            }
        }
        _ => {}
    }
}

impl Of {
    /// In the place of the call. A subquery gives its column the name that the call would.
    fn written(&self, time: &str) -> String {
        let moment = format!("'{time}'::pg_catalog.timestamptz");
        match self {
            Self::Value { name, ty: "timestamptz", precision } => format!("(SELECT {moment}{precision} AS \"{name}\")"),
            Self::Value { name, ty, precision } => {
                format!("(SELECT ({moment})::pg_catalog.{ty}{precision} AS \"{name}\")")
            }
            Self::Age => format!("({moment})::pg_catalog.date, "),
            Self::Text(None) => format!("({moment})"),
            Self::Text(Some(days)) => format!("(({moment})::pg_catalog.date + ({days}))"),
            Self::Typed(ty, days) => format!("{}::pg_catalog.{ty}", Self::Text(*days).written(time)),
        }
    }
}

#[cfg(test)]
mod tests;

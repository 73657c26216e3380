//! INSERT ... VALUES with the values of sequences that its rows leave out or ask for.

use std::ops::Range;

use crate::fault::{Fault, SqlState};
use crate::ids::QualifiedName;
use crate::sql::NameScope;
use crate::sql::lexer::{Token, TokenKind};
use crate::sql::sequences::{Call, Edit, Edits, Piece, Take, calls, check_source};
use crate::sql::words::{name_of, text_of, tokens};

use crate::catalog::{ColumnDefault, Identity, Table};

/// What is written into an INSERT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fill {
    /// The columns that its rows are for, where the text does not list them.
    pub list: Option<Vec<Box<str>>>,
    /// One for each value of a row.
    pub cells: Vec<Cell>,
    /// Columns that the rows leave out, with what goes into them.
    pub omitted: Vec<(Box<str>, Vec<Piece>)>,
    /// Values of identity columns are written that a statement may not give.
    pub overriding: bool,
    /// The sequence whose value a single row takes last.
    pub last_of_row: Option<QualifiedName>,
    /// It stands in a WITH: so many INSERTs are before it in the text. `None`: it is the statement itself.
    pub in_with: Option<usize>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cell {
    /// Stays as it is.
    Plain,
    /// DEFAULT is this.
    Default(Vec<Piece>),
    /// Whatever stands there is this (OVERRIDING USER VALUE).
    Always(Vec<Piece>),
}

/// `OVERRIDING ... VALUE`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Overriding {
    No,
    System,
    User,
}

/// Which columns of a row are how: the shape of an INSERT ... VALUES.
pub(crate) struct Rows<'a> {
    /// The column list of the text.
    pub listed: Option<&'a [String]>,
    /// Values in a row.
    pub width: usize,
    /// Columns whose values must be known before the rows are sent; `None`: all (every shard gets the same rows).
    pub keys: Option<&'a [Box<str>]>,
    /// Whether some row has DEFAULT in this place; whether some row has another value.
    pub has_default: &'a dyn Fn(usize) -> bool,
    pub has_value: &'a dyn Fn(usize) -> bool,
}

impl Fill {
    /// Of an INSERT whose rows leave out nothing that the router gives.
    pub(crate) fn nothing(width: usize) -> Self {
        let cells = vec![Cell::Plain; width];
        Self { list: None, cells, omitted: Vec::new(), overriding: false, last_of_row: None, in_with: None }
    }

    /// Whether it writes nothing into the rows but what they ask for.
    pub(crate) fn is_nothing(&self) -> bool {
        self.omitted.is_empty() && self.cells.iter().all(|cell| *cell == Cell::Plain)
    }
}

/// What must be written into an INSERT with these rows; `None`: it takes no value of a sequence.
pub(crate) fn fill_of(
    text: &str,
    table: &Table,
    rows: &Rows<'_>,
    scope: &NameScope<'_>,
) -> Result<Option<Fill>, Fault> {
    let Some(tokens) = tokens(text, scope.standard_strings) else { return Ok(None) };
    let overriding = overriding(text, &tokens);
    let names: Vec<&str> = match rows.listed {
        Some(listed) => listed.iter().map(|name| &**name).take(rows.width).collect(),
        None => table.columns.iter().map(|column| &*column.name).take(rows.width).collect(),
    };
    let mut fill = Fill {
        list: rows.listed.is_none().then(|| names.iter().map(|name| (*name).into()).collect()),
        cells: vec![Cell::Plain; rows.width],
        omitted: Vec::new(),
        overriding: false,
        last_of_row: None,
        in_with: None,
    };
    let mut drawn = false;
    let mut always = None;
    for column in &table.columns {
        let identity = match &column.default {
            ColumnDefault::Sequence(default) => default.identity,
            ColumnDefault::None | ColumnDefault::Expression(_) => Identity::No,
        };
        let position = names.iter().position(|name| **name == *column.name);
        if position.is_some_and(rows.has_value) && identity == Identity::Always {
            always.get_or_insert(&column.name);
        }
        let Some(pieces) = default_pieces(table, &column.name, &column.default)? else { continue };
        let unique = pieces.iter().any(|piece| matches!(piece, Piece::Take { take: Take::Unique, .. }));
        if unique && rows.keys.is_some_and(|keys| !keys.contains(&column.name)) {
            // Each shard makes its own.
            continue;
        }
        let cell = match position {
            Some(_) if overriding == Overriding::User && identity != Identity::No => Some(Cell::Always(pieces.clone())),
            Some(at) if (rows.has_default)(at) => Some(Cell::Default(pieces.clone())),
            Some(_) => continue,
            None => None,
        };
        for sequence in next_of(&pieces) {
            check_source(scope, table, &column.name, sequence, scope.topology.home)?;
        }
        drawn = true;
        fill.overriding |= identity == Identity::Always || overriding == Overriding::User;
        fill.last_of_row = next_of(&pieces).last().cloned();
        match (position.and_then(|at| fill.cells.get_mut(at)), cell) {
            (Some(place), Some(cell)) => *place = cell,
            _ => fill.omitted.push((column.name.clone(), pieces)),
        }
    }
    if let (Some(column), true, Overriding::No) = (always, fill.overriding, overriding) {
        let message = format!("cannot insert a non-DEFAULT value into column \"{column}\"");
        return Err(Fault::new(SqlState(*b"428C9"), message)
            .detail(format!("Column \"{column}\" is an identity column defined as GENERATED ALWAYS."))
            .hint("Use OVERRIDING SYSTEM VALUE to override."));
    }
    let asks = !calls(text, &tokens, scope).is_empty();
    Ok((drawn || asks).then_some(fill))
}

/// What a column's default is, with its values of sequences; `None`: it takes none.
fn default_pieces(table: &Table, column: &str, default: &ColumnDefault) -> Result<Option<Vec<Piece>>, Fault> {
    match default {
        ColumnDefault::None => Ok(None),
        ColumnDefault::Sequence(default) => {
            Ok(Some(vec![Piece::Take { take: Take::Next(default.sequence.clone()), bare: true }]))
        }
        ColumnDefault::Expression(text) if &**text == "pgloom.unique_id()" => {
            Ok(Some(vec![Piece::Take { take: Take::Unique, bare: true }]))
        }
        ColumnDefault::Expression(text) => expression_pieces(text).map_err(|()| {
            Fault::unsupported(
                format!("the default of column \"{column}\" of table \"{}\" is not supported", table.name.name),
                format!("it takes values of sequences in a form that the router does not understand: {text}"),
                "Give the column a value in the statement.",
            )
        }),
    }
}

/// An expression of the catalog, cut at its calls of `nextval('schema.name'::regclass)`; `None`: it has nothing to do with sequences.
pub(crate) fn expression_pieces(text: &str) -> Result<Option<Vec<Piece>>, ()> {
    let tokens = tokens(text, true).ok_or(())?;
    let is_word =
        |at: usize, word: &str| tokens.get(at).and_then(|t| name_of(text, t)).is_some_and(|name| name == word);
    let called = |at: usize| tokens.get(at + 1).is_some_and(|t| t.is(b'('));
    if (0..tokens.len()).any(|at| called(at) && ["currval", "lastval", "setval"].iter().any(|of| is_word(at, of))) {
        return Err(());
    }
    let mut pieces = vec![Piece::Text("(".into())];
    let mut copied = 0;
    for at in (0..tokens.len()).filter(|at| is_word(*at, "nextval") && called(*at)) {
        // Evaluated or not, as the rest of the expression says.
        if ["case", "coalesce", "and", "or"].iter().any(|word| (0..tokens.len()).any(|at| is_word(at, word))) {
            return Err(());
        }
        let (start, end) = (tokens.get(at).ok_or(())?.start, tokens.get(at + 5).ok_or(())?.end);
        match ColumnDefault::of_expression(text.get(start..end).ok_or(())?) {
            ColumnDefault::Sequence(default) => {
                // A schema before it is pg_catalog: the other one would not be printed without.
                let from = match at.checked_sub(1).is_some_and(|dot| tokens.get(dot).is_some_and(|t| t.is(b'.'))) {
                    true => return Err(()),
                    false => start,
                };
                pieces.push(Piece::Text(text.get(copied..from).ok_or(())?.into()));
                pieces.push(Piece::Take { take: Take::Next(default.sequence), bare: false });
                copied = end;
            }
            ColumnDefault::None | ColumnDefault::Expression(_) => return Err(()),
        }
    }
    if pieces.len() == 1 {
        return Ok(None);
    }
    pieces.push(Piece::Text(format!("{})", text.get(copied..).ok_or(())?).into()));
    Ok(Some(pieces))
}

fn next_of(pieces: &[Piece]) -> impl Iterator<Item = &QualifiedName> {
    pieces.iter().filter_map(|piece| match piece {
        Piece::Take { take: Take::Next(sequence), .. } => Some(sequence),
        Piece::Take { take: Take::Current(_) | Take::Last | Take::Unique, .. } | Piece::Text(_) => None,
    })
}

fn overriding(text: &str, tokens: &[Token]) -> Overriding {
    let is = |at: usize, word: &str| tokens.get(at).is_some_and(|t| is_word(text, t, word));
    let at = |kind: &str| (0..tokens.len()).any(|at| is(at, "overriding") && is(at + 1, kind) && is(at + 2, "value"));
    match (at("system"), at("user")) {
        (true, _) => Overriding::System,
        (false, true) => Overriding::User,
        (false, false) => Overriding::No,
    }
}

fn is_word(text: &str, token: &Token, word: &str) -> bool {
    token.kind == TokenKind::Word && text_of(text, token).eq_ignore_ascii_case(word)
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The changes of this INSERT's text.
pub(super) fn edits(text: &str, tokens: &[Token], fill: &Fill, scope: &NameScope<'_>) -> Option<Edits> {
    let mut walk = Walk { text, tokens, at: 0, fill, calls: calls(text, tokens, scope), list: Vec::new(), asked: 0 };
    let head = walk.head()?;
    walk.list.extend(head);
    let rows = walk.rows()?;
    let asked = walk.asked;
    // A call behind the rows, or before them.
    if asked != walk.calls.iter().filter(|call| call.take != Some(Take::Unique)).count() {
        return None;
    }
    let mut edits = Edits { list: walk.list, last: None };
    let mut sequences: Vec<&QualifiedName> = Vec::new();
    let mut reads_last = false;
    for take in edits.takes() {
        match take {
            Take::Next(sequence) => sequences.push(sequence),
            Take::Last => reads_last = true,
            Take::Current(_) | Take::Unique => {}
        }
    }
    let reads_own = edits.takes().any(|take| matches!(take, Take::Current(of) if sequences.contains(&of)));
    if (reads_last && !sequences.is_empty()) || reads_own {
        return None;
    }
    let last = sequences.last().copied().cloned();
    let one = sequences.iter().all(|sequence| Some(*sequence) == last.as_ref());
    edits.last = match (one, asked, rows) {
        (true, ..) => last,
        (false, 0, 1) => fill.last_of_row.clone(),
        (false, 0, _) => last,
        (false, ..) => None,
    };
    Some(edits)
}

/// The same of a fill that takes no value of a sequence, whatever the rows themselves ask for.
pub(crate) fn places(text: &str, tokens: &[Token], fill: &Fill) -> Option<Edits> {
    let mut walk = Walk { text, tokens, at: 0, fill, calls: Vec::new(), list: Vec::new(), asked: 0 };
    let head = walk.head()?;
    walk.list.extend(head);
    walk.rows()?;
    Some(Edits { list: walk.list, last: None })
}

struct Walk<'a> {
    text: &'a str,
    tokens: &'a [Token],
    at: usize,
    fill: &'a Fill,
    calls: Vec<Call>,
    list: Vec<Edit>,
    /// Calls that were met in rows.
    asked: usize,
}

impl Walk<'_> {
    fn is(&self, ahead: usize, word: &str) -> bool {
        self.tokens.get(self.at + ahead).is_some_and(|token| is_word(self.text, token, word))
    }

    fn punct(&self, byte: u8) -> bool {
        self.tokens.get(self.at).is_some_and(|token| token.is(byte))
    }

    /// Up to `VALUES`: the column list and OVERRIDING.
    fn head(&mut self) -> Option<Vec<Edit>> {
        let mut depth = 0usize;
        let mut before = 0;
        loop {
            if self.is(0, "insert") && self.is(1, "into") {
                match self.fill.in_with {
                    Some(nth) if nth == before => break,
                    None if depth == 0 => break,
                    Some(_) | None => before += 1,
                }
            }
            let token = self.tokens.get(self.at)?;
            depth = if token.is(b'(') {
                depth + 1
            } else if token.is(b')') {
                depth.checked_sub(1)?
            } else {
                depth
            };
            self.at += 1;
        }
        self.at += 2;
        loop {
            name_of(self.text, self.tokens.get(self.at)?)?;
            self.at += 1;
            if !self.punct(b'.') {
                break;
            }
            self.at += 1;
        }
        let ends = |walk: &Self| walk.punct(b'(') || ["values", "default", "overriding"].iter().any(|w| walk.is(0, w));
        if self.is(0, "as") {
            self.at += 2;
        } else if !ends(self) {
            self.at += 1;
        }
        let mut edits = Vec::new();
        let before_list = self.tokens.get(self.at.checked_sub(1)?)?.end;
        if self.punct(b'(') {
            while !self.punct(b')') {
                self.at += 1;
                self.tokens.get(self.at)?;
            }
            let names: String = self.fill.omitted.iter().map(|(name, _)| format!(", {}", quoted(name))).collect();
            let end = self.tokens.get(self.at)?.start;
            edits.extend((!names.is_empty()).then(|| text_edit(end..end, names)));
            self.at += 1;
        } else if !self.fill.omitted.is_empty() {
            edits.push(text_edit(before_list..before_list, self.whole_list()?));
        }
        let overriding = self.at;
        if self.is(0, "overriding") {
            self.at += 3;
        }
        if self.fill.overriding {
            let start = self.tokens.get(overriding)?.start;
            let end = if self.at > overriding { self.tokens.get(self.at - 1)?.end } else { start };
            let space = if end == start { " " } else { "" };
            edits.push(text_edit(start..end, format!("OVERRIDING SYSTEM VALUE{space}")));
        }
        Some(edits)
    }

    /// ` (a, b, ...)`: the columns of the rows and those that they leave out.
    fn whole_list(&self) -> Option<String> {
        let listed = self.fill.list.as_ref()?.iter().chain(self.fill.omitted.iter().map(|(name, _)| name));
        Some(format!(" ({})", listed.map(|name| quoted(name)).collect::<Vec<_>>().join(", ")))
    }

    /// The rows; how many.
    fn rows(&mut self) -> Option<usize> {
        if self.is(0, "default") && self.is(1, "values") {
            let (from, to) = (self.tokens.get(self.at)?.start, self.tokens.get(self.at + 1)?.end);
            let mut pieces = vec![Piece::Text("VALUES (".into())];
            for (at, (_, omitted)) in self.fill.omitted.iter().enumerate() {
                pieces.extend((at > 0).then(|| Piece::Text(", ".into())));
                pieces.extend(omitted.iter().cloned());
            }
            pieces.push(Piece::Text(")".into()));
            self.list.push(Edit { bytes: from..to, pieces });
            return once_each(&self.list).then_some(1);
        }
        if !self.is(0, "values") {
            return None;
        }
        self.at += 1;
        let mut rows = 0;
        loop {
            let before = self.list.len();
            self.row()?;
            rows += 1;
            // Which of two places is served first would have to be known.
            if !once_each(self.list.get(before..)?) {
                return None;
            }
            if !self.punct(b',') {
                return Some(rows);
            }
            self.at += 1;
        }
    }

    fn row(&mut self) -> Option<()> {
        if !self.punct(b'(') {
            return None;
        }
        self.at += 1;
        let mut cells = 0;
        loop {
            let cell = self.cell()?;
            self.write_cell(&cell, cells)?;
            cells += 1;
            let token = self.tokens.get(self.at)?;
            self.at += 1;
            if token.is(b')') {
                let pieces =
                    self.fill.omitted.iter().flat_map(|(_, pieces)| {
                        std::iter::once(Piece::Text(", ".into())).chain(pieces.iter().cloned())
                    });
                let pieces: Vec<Piece> = pieces.collect();
                if !pieces.is_empty() {
                    self.list.push(Edit { bytes: token.start..token.start, pieces });
                }
                return (cells == self.fill.cells.len()).then_some(());
            }
        }
    }

    /// The tokens of one value; afterwards the walk is at the comma or parenthesis behind it.
    fn cell(&mut self) -> Option<Range<usize>> {
        let start = self.at;
        let mut depth = 0usize;
        loop {
            let token = self.tokens.get(self.at)?;
            match token.kind {
                TokenKind::Punct(b'(' | b'[') => depth += 1,
                TokenKind::Punct(b',' | b')') if depth == 0 => return (self.at > start).then_some(start..self.at),
                TokenKind::Punct(b')' | b']') => depth = depth.checked_sub(1)?,
                _ => {}
            }
            self.at += 1;
        }
    }

    fn write_cell(&mut self, cell: &Range<usize>, position: usize) -> Option<()> {
        let inside = self.tokens.get(cell.clone())?;
        let bytes = inside.first()?.start..inside.last()?.end;
        let is_default = matches!(inside, [only] if is_word(self.text, only, "default"));
        let calls: Vec<&Call> = self.calls.iter().filter(|call| cell.contains(&call.tokens.start)).collect();
        self.asked += calls.iter().filter(|call| call.take != Some(Take::Unique)).count();
        match self.fill.cells.get(position)? {
            Cell::Always(pieces) => self.list.push(Edit { bytes, pieces: pieces.clone() }),
            Cell::Default(pieces) if is_default => self.list.push(Edit { bytes, pieces: pieces.clone() }),
            Cell::Default(_) | Cell::Plain => {
                // Whether such a call is made depends on other values.
                const CONDITIONAL: [&str; 6] = ["case", "coalesce", "and", "or", "select", "nullif"];
                let conditional = |token: &Token| CONDITIONAL.iter().any(|word| is_word(self.text, token, word));
                if !calls.is_empty() && inside.iter().any(conditional) {
                    return None;
                }
                for call in calls {
                    let inside = self.tokens.get(call.tokens.clone())?;
                    let bytes = inside.first()?.start..inside.last()?.end;
                    let piece = Piece::Take { take: call.ours()?, bare: call.tokens == *cell };
                    self.list.push(Edit { bytes, pieces: vec![piece] });
                }
            }
        }
        Some(())
    }
}

fn text_edit(bytes: Range<usize>, text: impl Into<Box<str>>) -> Edit {
    Edit { bytes, pieces: vec![Piece::Text(text.into())] }
}

/// Whether no sequence gives two values here.
fn once_each(edits: &[Edit]) -> bool {
    let mut seen: Vec<&QualifiedName> = Vec::new();
    edits.iter().flat_map(|edit| next_of(&edit.pieces)).all(|sequence| {
        let new = !seen.contains(&sequence);
        seen.push(sequence);
        new
    })
}

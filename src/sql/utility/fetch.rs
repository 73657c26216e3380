//! FETCH and MOVE of a portal that can only go forward, as Postgres takes them apart (`DoPortalRunFetch`).

use crate::fault::{Fault, SqlState};
use crate::sql::lexer::TokenKind;
use crate::sql::template::SlotKind;
use crate::sql::utility::cursor::Cursor;

/// FETCH or MOVE, without its cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fetch {
    pub is_move: bool,
    pub direction: Direction,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Rows forward; below zero: backward.
    Forward(i64),
    ForwardAll,
    BackwardAll,
    Absolute(i64),
    Relative(i64),
}

/// Where a portal stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Before the first row.
    pub at_start: bool,
    /// Behind the last one; a portal can be both.
    pub at_end: bool,
    /// Rows that have gone by.
    pub rows: u64,
}

impl Default for Position {
    fn default() -> Self {
        Self { at_start: true, at_end: false, rows: 0 }
    }
}

impl Position {
    /// So many rows have gone by; `all`: there are no more.
    pub fn advance(&mut self, rows: u64, all: bool) {
        self.at_start &= rows == 0;
        self.at_end |= all;
        self.rows += rows;
    }
}

/// What is to be done with the rows that come next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// `skip` rows are left out, then `take` are returned. `None`: all.
    Forward { skip: u64, take: Option<u64> },
    /// No row comes, and MOVE counts so many.
    Stay { counted: u64 },
}

impl Fetch {
    /// `None`: a form that Postgres does not have, or a number of another size.
    pub fn parse(text: &str) -> Option<Self> {
        let cursor = &mut Cursor::new(text);
        let is_move = cursor.is("move");
        if !cursor.accept("fetch") && !cursor.accept("move") {
            return None;
        }
        let direction = direction(cursor)?;
        if !cursor.accept("from") {
            cursor.accept("in");
        }
        cursor.own_name()?;
        cursor.at_end().then_some(Self { is_move, direction })
    }

    /// How many rows it can return; `None`: all that there are.
    pub fn most(&self) -> Option<u64> {
        match self.direction {
            Direction::Forward(rows) => Some(rows.unsigned_abs().max(1)),
            Direction::Absolute(_) | Direction::Relative(_) => Some(1),
            Direction::ForwardAll | Direction::BackwardAll => None,
        }
    }

    /// The same of another cursor.
    pub fn of(&self, cursor: &str) -> String {
        let verb = if self.is_move { "MOVE" } else { "FETCH" };
        match self.direction {
            Direction::Forward(rows) => format!("{verb} FORWARD {rows} FROM {cursor}"),
            Direction::ForwardAll => format!("{verb} FORWARD ALL FROM {cursor}"),
            Direction::BackwardAll => format!("{verb} BACKWARD ALL FROM {cursor}"),
            Direction::Absolute(row) => format!("{verb} ABSOLUTE {row} FROM {cursor}"),
            Direction::Relative(rows) => format!("{verb} RELATIVE {rows} FROM {cursor}"),
        }
    }

    /// What it means for a portal that stands at `at`; `None`: that depends on where the portal stands, and is not known.
    ///
    /// # Errors
    /// `55000` for every way back.
    pub fn step(&self, at: Option<Position>) -> Result<Option<Step>, Fault> {
        let forward = |rows: i64| Step::Forward { skip: 0, take: Some(rows.unsigned_abs()) };
        match self.direction {
            Direction::ForwardAll => Ok(Some(Step::Forward { skip: 0, take: None })),
            Direction::Forward(0) | Direction::Relative(0) => at.map(|at| self.again(at)).transpose(),
            Direction::Forward(rows) if rows > 0 => Ok(Some(forward(rows))),
            Direction::Relative(rows) if rows > 0 => {
                Ok(Some(Step::Forward { skip: rows.unsigned_abs() - 1, take: Some(1) }))
            }
            // Without rows it is a way back to the start, where the portal may be.
            Direction::BackwardAll if self.is_move => at
                .map(|at| if at.at_start && !at.at_end { Ok(Step::Stay { counted: 0 }) } else { Err(no_way_back()) })
                .transpose(),
            Direction::Absolute(row) if row >= 0 => at.map(|at| absolute(row.unsigned_abs(), at)).transpose(),
            Direction::Forward(_) | Direction::Relative(_) | Direction::Absolute(_) | Direction::BackwardAll => {
                Err(no_way_back())
            }
        }
    }

    /// The same for a portal that has come to its end, nobody knows behind how many rows.
    ///
    /// # Errors
    /// `55000` for every way back.
    pub fn step_at_end(&self) -> Result<Option<Step>, Fault> {
        // Few rows and many.
        let steps = [1, u64::MAX / 4].map(|rows| self.step(Some(Position { at_start: false, at_end: true, rows })));
        match steps {
            [few, many] if few == many => few,
            [_, _] => Ok(None),
        }
    }

    /// The row on which the portal stands, once more.
    fn again(&self, at: Position) -> Result<Step, Fault> {
        let on_row = !at.at_start && !at.at_end;
        match (on_row, self.is_move) {
            (true, false) => Err(no_way_back()),
            (_, _) => Ok(Step::Stay { counted: u64::from(on_row) }),
        }
    }
}

fn absolute(row: u64, at: Position) -> Result<Step, Fault> {
    let rewinds = row == 0 || row - 1 <= at.rows / 2;
    if rewinds {
        if !at.at_start || at.at_end {
            return Err(no_way_back());
        }
        return Ok(match row {
            0 => Step::Stay { counted: 0 },
            row => Step::Forward { skip: row - 1, take: Some(1) },
        });
    }
    // Behind the last row it stands on the one after it.
    let on = at.rows + u64::from(at.at_end);
    match row.checked_sub(on + 1) {
        None => Err(no_way_back()),
        Some(skip) => Ok(Step::Forward { skip, take: Some(1) }),
    }
}

fn direction(cursor: &mut Cursor<'_>) -> Option<Direction> {
    let one = Direction::Forward(1);
    // A name can be that of the cursor: it is the last token.
    if is_last(cursor) || cursor.is_any(&["from", "in"]) {
        return Some(one);
    }
    if cursor.accept("next") {
        return Some(one);
    }
    if cursor.accept("prior") {
        return Some(Direction::Forward(-1));
    }
    if cursor.accept("first") {
        return Some(Direction::Absolute(1));
    }
    if cursor.accept("last") {
        return Some(Direction::Absolute(-1));
    }
    if cursor.accept("absolute") {
        return number(cursor).map(Direction::Absolute);
    }
    if cursor.accept("relative") {
        return number(cursor).map(Direction::Relative);
    }
    if cursor.accept("all") {
        return Some(Direction::ForwardAll);
    }
    let back = cursor.is("backward");
    if cursor.accept("forward") || cursor.accept("backward") {
        let sign = if back { -1 } else { 1 };
        if cursor.accept("all") {
            return Some(if back { Direction::BackwardAll } else { Direction::ForwardAll });
        }
        if is_last(cursor) || cursor.is_any(&["from", "in"]) {
            return Some(Direction::Forward(sign));
        }
        return number(cursor).map(|rows| Direction::Forward(sign * rows));
    }
    number(cursor).map(Direction::Forward)
}

fn is_last(cursor: &Cursor<'_>) -> bool {
    let mut ahead = cursor.clone();
    ahead.own_name().is_some() && ahead.at_end()
}

/// `SignedIconst`.
fn number(cursor: &mut Cursor<'_>) -> Option<i64> {
    let negative = cursor.accept_operator("-");
    if !negative {
        cursor.accept_operator("+");
    }
    let token = cursor.take().filter(|token| token.kind == TokenKind::Literal(SlotKind::Integer))?;
    let digits: i32 = cursor.source(token).parse().ok()?;
    Some(i64::from(if negative { -digits } else { digits }))
}

pub fn no_way_back() -> Fault {
    Fault::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, "cursor can only scan forward")
        .hint("Declare it with SCROLL option to enable backward scan.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_the_grammar() {
        use Direction as D;
        for (text, direction) in [
            ("FETCH c", D::Forward(1)),
            ("FETCH FROM c", D::Forward(1)),
            ("fetch in c", D::Forward(1)),
            ("FETCH next", D::Forward(1)),
            ("FETCH NEXT c", D::Forward(1)),
            ("FETCH NEXT FROM c;", D::Forward(1)),
            ("FETCH PRIOR IN c", D::Forward(-1)),
            ("FETCH FIRST c", D::Absolute(1)),
            ("FETCH LAST c", D::Absolute(-1)),
            ("FETCH ABSOLUTE -3 c", D::Absolute(-3)),
            ("FETCH RELATIVE +2 FROM c", D::Relative(2)),
            ("FETCH 5 c", D::Forward(5)),
            ("FETCH -5 FROM \"C\"", D::Forward(-5)),
            ("FETCH ALL c", D::ForwardAll),
            ("FETCH FORWARD c", D::Forward(1)),
            ("FETCH FORWARD 0 c", D::Forward(0)),
            ("FETCH FORWARD ALL IN c", D::ForwardAll),
            ("FETCH BACKWARD FROM c", D::Forward(-1)),
            ("FETCH BACKWARD -2 c", D::Forward(2)),
            ("FETCH BACKWARD ALL FROM c", D::BackwardAll),
            ("FETCH forward", D::Forward(1)),
        ] {
            assert_eq!(Fetch::parse(text), Some(Fetch { is_move: false, direction }), "{text}");
        }
        assert_eq!(Fetch::parse("MOVE 2 c"), Some(Fetch { is_move: true, direction: D::Forward(2) }));
        for text in
            ["FETCH", "FETCH 1", "FETCH 99999999999 c", "FETCH 1.5 c", "FETCH ABSOLUTE c", "FETCH 1 c d", "SELECT 1"]
        {
            assert_eq!(Fetch::parse(text), None, "{text}");
        }
        assert_eq!(Fetch::parse("MOVE BACKWARD 3 c").unwrap().of("pgloom"), "MOVE FORWARD -3 FROM pgloom");
    }

    #[test]
    fn there_is_no_way_back() {
        let start = Position::default();
        let mut on_third = start;
        on_third.advance(3, false);
        let mut end = on_third;
        end.advance(1, true);
        let step = |text: &str, at: Position| Fetch::parse(text).unwrap().step(Some(at)).map(Option::unwrap);
        let forward = |skip, take| Ok(Step::Forward { skip, take });
        let back = || Err(no_way_back());
        for (text, at, wanted) in [
            ("FETCH 2 c", start, forward(0, Some(2))),
            ("FETCH RELATIVE 3 c", on_third, forward(2, Some(1))),
            ("FETCH 0 c", start, Ok(Step::Stay { counted: 0 })),
            ("FETCH 0 c", on_third, back()),
            ("MOVE 0 c", on_third, Ok(Step::Stay { counted: 1 })),
            ("FETCH 0 c", end, Ok(Step::Stay { counted: 0 })),
            ("FETCH FIRST c", start, forward(0, Some(1))),
            ("FETCH FIRST c", on_third, back()),
            ("FETCH ABSOLUTE 5 c", start, forward(4, Some(1))),
            ("FETCH ABSOLUTE 4 c", on_third, forward(0, Some(1))),
            ("FETCH ABSOLUTE 6 c", on_third, forward(2, Some(1))),
            ("FETCH ABSOLUTE 3 c", on_third, back()),
            ("FETCH ABSOLUTE 5 c", end, back()),
            ("FETCH ABSOLUTE 6 c", end, forward(0, Some(1))),
            ("FETCH ABSOLUTE 0 c", start, Ok(Step::Stay { counted: 0 })),
            ("FETCH LAST c", start, back()),
            ("FETCH PRIOR c", start, back()),
            ("FETCH BACKWARD ALL c", start, back()),
            ("MOVE BACKWARD ALL c", start, Ok(Step::Stay { counted: 0 })),
            ("MOVE BACKWARD ALL c", on_third, back()),
            ("FETCH ALL c", end, forward(0, None)),
        ] {
            assert_eq!(step(text, at), wanted, "{text} at {at:?}");
        }
        let at_end = |text: &str| Fetch::parse(text).unwrap().step_at_end();
        assert_eq!(at_end("MOVE 0 c"), Ok(Some(Step::Stay { counted: 0 })));
        assert_eq!(at_end("FETCH FIRST c"), Err(no_way_back()));
        assert_eq!(at_end("FETCH ABSOLUTE 9 c"), Ok(None));
        assert_eq!(at_end("FETCH 9 c"), forward(0, Some(9)).map(Some));
        assert_eq!(Fetch::parse("FETCH ABSOLUTE 4 c").unwrap().step(None), Ok(None));
        assert_eq!(Fetch::parse("FETCH LAST c").unwrap().step(None), Err(no_way_back()));
    }
}

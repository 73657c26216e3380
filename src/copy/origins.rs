//! `Origins`: which line of the client's data a shard means when it tells where an error is. Each shard counts the rows that it got.

use std::collections::VecDeque;

/// Most bytes for all shards of one COPY, and bounds for one.
const MOST: usize = 16 << 20;
const BOUNDS: (usize, usize) = (64 << 10, 1 << 20);
/// Introduces two numbers of four bytes, where one byte does not do.
const LONG: u8 = 0;

/// The rows that one shard got last: what was sent long ago it has read, and will not complain of.
#[derive(Debug)]
pub struct Origins {
    /// Before the first row that is kept: a line of the shard's data, and that of the client's.
    before: (u64, u64),
    /// Behind the last.
    last: (u64, u64),
    /// How much further each row is: one byte for the client's lines where the shard's are one, else [`LONG`] and both.
    steps: VecDeque<u8>,
    most: usize,
    /// Lines before the rows, which every shard gets.
    preamble: u64,
}

impl Origins {
    /// `shards`: how many share the memory.
    pub fn new(shards: usize) -> Self {
        let most = (MOST / shards.max(1)).clamp(BOUNDS.0, BOUNDS.1);
        Self { before: (0, 0), last: (0, 0), steps: VecDeque::new(), most, preamble: 0 }
    }

    /// What comes before the rows, and has this many lines.
    pub fn preamble(&mut self, lines: u64) {
        self.last = (self.last.0 + lines, self.last.1 + lines);
        self.before = self.last;
        self.preamble = self.last.0;
    }

    /// A row of so many lines, of which the last is this one of the client's. `returns`: the carriage returns within its values.
    pub fn row(&mut self, lines: u64, line: u64, returns: impl FnOnce() -> u64) {
        // Of the first line that it gets Postgres does not know yet how it ends: within its values it counts carriage returns.
        let lines = if self.last.0 == 0 { 1 + returns() } else { lines };
        let further = line.saturating_sub(self.last.1);
        self.last = (self.last.0 + lines, line);
        match (lines, u8::try_from(further)) {
            (1, Ok(further)) if further != LONG => self.steps.push_back(further),
            _ => {
                self.steps.push_back(LONG);
                self.steps.extend(u32::try_from(lines).unwrap_or(u32::MAX).to_le_bytes());
                self.steps.extend(u32::try_from(further).unwrap_or(u32::MAX).to_le_bytes());
            }
        }
        while self.steps.len() > self.most {
            let Some((lines, further)) = self.step(&mut 0) else { break };
            let bytes = if self.steps.front() == Some(&LONG) { 9 } else { 1 };
            self.steps.drain(..bytes);
            self.before = (self.before.0 + lines, self.before.1 + further);
        }
    }

    /// The client's line of the row that ends with this line of the shard's; `None` where that is not known any more.
    pub fn client_line(&self, line: u64) -> Option<u64> {
        // Without any row an error can be about the first line alone.
        if line > 0 && line <= self.preamble || line == 1 && self.last.0 == 0 {
            return Some(line);
        }
        let (mut own, mut client) = self.before;
        let mut at = 0;
        let mut is_first = false;
        while own < line {
            is_first = own == 0;
            let (lines, further) = self.step(&mut at)?;
            (own, client) = (own + lines, client + further);
        }
        // Within a row of several lines they are counted alike, but for the first one.
        (at > 0 && (own == line || !is_first)).then(|| client.saturating_sub(own - line))
    }

    /// The step that begins there.
    fn step(&self, at: &mut usize) -> Option<(u64, u64)> {
        let first = *self.steps.get(*at)?;
        if first != LONG {
            *at += 1;
            return Some((1, first.into()));
        }
        let number = |from: usize| {
            let byte = |i| self.steps.get(from + i).copied();
            Some(u64::from(u32::from_le_bytes([byte(0)?, byte(1)?, byte(2)?, byte(3)?])))
        };
        let step = (number(*at + 1)?, number(*at + 5)?);
        *at += 9;
        Some(step)
    }
}

/// The carriage returns in a row of CSV, but for those that end it.
pub fn returns_within(row: &[u8], quote: u8, escape: u8) -> u64 {
    let mut ended = row.strip_suffix(b"\n").unwrap_or(row);
    ended = ended.strip_suffix(b"\r").unwrap_or(ended);
    if ended.len() < row.len() && is_open(ended, quote, escape) {
        ended = row;
    }
    memchr::memchr_iter(b'\r', ended).count() as u64
}

/// Whether a row ends within a quote (`CopyReadLineText`).
fn is_open(row: &[u8], quote: u8, escape: u8) -> bool {
    let (mut quoted, mut escaped) = (false, false);
    for byte in row {
        let escapes = *byte == escape && escape != quote;
        escaped = match escapes {
            true => quoted && !escaped,
            false => {
                quoted ^= *byte == quote && !escaped;
                false
            }
        };
    }
    quoted
}

/// The client's line of which a shard's CONTEXT tells. `canceled`: so it was; before it has got anything it waits at a line that is none of the
/// client's.
pub fn line_of(context: &str, table: &str, origins: &Origins, canceled: bool) -> Option<u64> {
    if canceled && origins.last.0 == 0 {
        return None;
    }
    let digits = digits_of(context, table)?;
    origins.client_line(context.get(digits)?.parse().ok()?)
}

/// Where the number of the line stands.
fn digits_of(context: &str, table: &str) -> Option<std::ops::Range<usize>> {
    let start = context.find(&format!("COPY {table}, "))? + "COPY , ".len() + table.len();
    let digits = start + context.get(start..)?.find(|c: char| c.is_ascii_digit())?;
    let rest = context.get(digits..)?;
    Some(digits..digits + rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len()))
}

/// A shard's CONTEXT without the place in this table's rows. It stands last: around a COPY there is nothing else on a shard.
pub fn without_line<'a>(context: &'a str, table: &str) -> &'a str {
    let place = format!("COPY {table}, ");
    match context
        .match_indices(&place)
        .find(|(at, _)| context.get(..*at).is_some_and(|b| b.is_empty() || b.ends_with('\n')))
    {
        Some((at, _)) => context.get(..at).unwrap_or_default().trim_end_matches('\n'),
        None => context,
    }
}

/// A shard's CONTEXT (`COPY table, line 7, column n: "x"`) with the client's line in it. `None` where it names no line of this table's rows, or
/// one that is not known.
pub fn context(context: &str, table: &str, origins: &Origins, canceled: bool) -> Option<String> {
    let digits = digits_of(context, table)?;
    let line = line_of(context, table, origins, canceled)?;
    Some(format!("{}{line}{}", context.get(..digits.start)?, context.get(digits.end..)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_line_of_a_context_is_the_clients() {
        let mut origins = Origins::new(4);
        origins.preamble(1);
        origins.row(1, 5, || 0);
        origins.row(3, 900, || 2);
        let of = |text: &str| context(text, "t 7", &origins, true);
        assert_eq!(of("COPY t 7, line 2, column n: \"1\"").as_deref(), Some("COPY t 7, line 5, column n: \"1\""));
        assert_eq!(of("PL/x\nCOPY t 7, Zeile 5").as_deref(), Some("PL/x\nCOPY t 7, Zeile 900"));
        assert_eq!(of("COPY t 7, line 3").as_deref(), Some("COPY t 7, line 898"));
        assert_eq!(of("COPY t 7, line 6"), None);
        assert_eq!(without_line("PL/x\nCOPY t 7, line 6: \"a\nCOPY t 7, b\"", "t 7"), "PL/x");
        assert_eq!(without_line("COPY t 7, line 6: \"a\nb\"", "t 7"), "");
        assert_eq!(without_line("PL/x\n a", "t 7"), "PL/x\n a");
        assert_eq!(of("COPY t 7, line 1: \"a\"").as_deref(), Some("COPY t 7, line 1: \"a\""));
        // Without any row only what is read can be about the client's first line.
        let of_none = |canceled| line_of("COPY t, line 1", "t", &Origins::new(4), canceled);
        assert_eq!([false, true].map(of_none), [Some(1), None]);
        // The first row has three lines, of which the shard counts one; of another one, with CR LF within its values, all but the first LF.
        let mut first = Origins::new(4);
        first.row(3, 7, || 0);
        first.row(2, 11, || 0);
        assert_eq!((first.client_line(1), first.client_line(3)), (Some(7), Some(11)));
        let mut first = Origins::new(4);
        first.row(1, 7, || 2);
        first.row(2, 11, || 1);
        assert_eq!([1, 3, 4, 5].map(|line| first.client_line(line)), [None, Some(7), Some(10), Some(11)]);
        assert_eq!(of("COPY other, line 2"), None);
    }

    #[test]
    fn carriage_returns_that_end_a_row_do_not_count() {
        let of = |row: &[u8]| returns_within(row, b'"', b'"');
        assert_eq!([&b"a,\"b\r\n\r\"\r\n"[..], b"a\r", b"a", b"\"\r"].map(of), [2, 0, 0, 1]);
        // The data ends within a quote.
        assert_eq!([&b"a,\"b\r\nc\r\n"[..], b"\"\"\"\r\n", b"\"\"\r\n"].map(of), [2, 1, 0]);
        assert_eq!(returns_within(b"'a\\'\r\n", b'\'', b'\\'), 1);
        assert_eq!(returns_within(b"'a\\\\'\r\n", b'\'', b'\\'), 0);
    }

    proptest! {
        #[test]
        fn rows_are_found_or_forgotten(
            rows in prop::collection::vec((1..4_u64, 1..600_u64, 0..3_u64), 0..300),
            most in 9..200_usize,
        ) {
            let mut origins = Origins { most, ..Origins::new(1) };
            let (mut own, mut line) = (0, 0);
            let mut ends = Vec::new();
            for (lines, further, returns) in rows {
                own += if own == 0 { 1 + returns } else { lines };
                line += further;
                origins.row(lines, line, || returns);
                ends.push((own, line));
            }
            prop_assert!(origins.steps.len() <= most);
            for (nth, (own, line)) in ends.iter().rev().enumerate() {
                match origins.client_line(*own) {
                    Some(found) => prop_assert_eq!(found, *line),
                    None => prop_assert!(nth * 9 + 9 > most.saturating_sub(9)),
                }
            }
        }
    }
}

//! `RowCutter`: bytes of CopyData messages in, rows out, whatever the messages' borders.

use smallvec::SmallVec;

use super::binary::{self, TooLong, TupleFinder};
use super::fields::{FieldReader, Line, Syntax, Wanted};
use super::lines::{self, LineFinder};
use super::masked::Mask;
use super::shown::{of_field, of_line};
use super::{KeyField, Piece, Row};
use crate::fault::{Fault, SqlState};
use crate::sql::utility::CopyFormat;
use crate::sql::utility::encodings::Characters;

/// Buffer kept between chunks, in bytes.
const KEPT: usize = 256 * 1024;

/// Feed it, take all pieces, feed it again; at the end finish it and take the last. Its memory is one row and one chunk.
pub struct RowCutter {
    finder: Finder,
    wanted: Vec<Wanted>,
    /// Fields that may not say `now`, and the names of their columns.
    times: Vec<Wanted>,
    time_columns: Vec<Box<str>>,
    /// What was fed and not yet handed out begins at `start`.
    buffer: Vec<u8>,
    start: usize,
    /// The text is in another encoding than UTF-8.
    encoded: bool,
    /// The same bytes, where some look like ASCII and are not.
    mask: Option<Mask>,
    max_row: usize,
    eof: bool,
    /// The end marker, the trailer or an error was met.
    ended: bool,
    header: bool,
    line: u64,
    /// Of which errors tell the line.
    table: Option<Box<str>>,
}

enum Finder {
    Lines(LineFinder, Syntax),
    Tuples(TupleFinder),
}

/// What was found: how much to hand out, as what.
enum Cut {
    Preamble { total: usize },
    Line { text: usize, total: usize, special: bool },
    Tuple { total: usize },
    Broken { total: usize },
}

impl RowCutter {
    /// `key_fields`: the wanted fields' positions in a row and the names of their columns. `max_row`: the longest row in
    /// bytes; a longer one is refused with `54000`.
    pub fn new(format: &CopyFormat, key_fields: &[(usize, Box<str>)], max_row: usize) -> Self {
        let none: &[Box<str>] = &[];
        let (finder, header, not_null, null) = match format {
            CopyFormat::Text { delimiter, null, header } => {
                let syntax = Syntax::Text { delimiter: *delimiter, null: null.as_bytes().into() };
                (Finder::Lines(LineFinder::text(), syntax), *header, none, none)
            }
            CopyFormat::Csv { delimiter, quote, escape, null, header, force_not_null, force_null } => {
                let (delimiter, quote, escape) = (*delimiter, *quote, *escape);
                let syntax = Syntax::Csv { delimiter, quote, escape, null: null.as_bytes().into() };
                (Finder::Lines(LineFinder::csv(quote, escape), syntax), *header, &**force_not_null, &**force_null)
            }
            CopyFormat::Binary => (Finder::Tuples(TupleFinder::new()), false, none, none),
        };
        let wanted = key_fields
            .iter()
            .map(|(position, column)| Wanted {
                position: *position,
                force_not_null: not_null.contains(column),
                force_null: null.contains(column),
            })
            .collect();
        Self {
            finder,
            wanted,
            times: Vec::new(),
            time_columns: Vec::new(),
            buffer: Vec::new(),
            start: 0,
            encoded: false,
            mask: None,
            max_row,
            eof: false,
            ended: false,
            header,
            line: 0,
            table: None,
        }
    }

    /// The text is in an encoding of these characters. Binary values are not.
    pub fn in_encoding(&mut self, characters: Characters) {
        if let Finder::Lines(..) = self.finder {
            self.encoded = true;
            self.mask = characters.hide_ascii().then(|| Mask::new(characters));
        }
    }

    /// What reads key fields that are not in UTF-8, when they are converted.
    pub fn field_reader(&self) -> Option<FieldReader> {
        match &self.finder {
            Finder::Lines(_, syntax) => Some(FieldReader { syntax: syntax.clone(), wanted: self.wanted.clone() }),
            Finder::Tuples(_) => None,
        }
    }

    /// Whether `\.` alone on a line ends CSV data: so up to PG 17, where this is how it starts out; from PG 18 it is data.
    pub fn csv_end_marker(&mut self, recognised: bool) {
        if let Finder::Lines(lines, _) = &mut self.finder {
            lines.set_csv_marker(recognised);
        }
    }

    /// Refuses rows whose texts in these fields say `now` or the like, which each shard would read at a moment of its own.
    pub fn refuse_moments(&mut self, fields: &[(usize, Box<str>)]) {
        let field = |(position, _): &(usize, Box<str>)| Wanted { position: *position, ..Wanted::default() };
        self.times = fields.iter().map(field).collect();
        self.time_columns = fields.iter().map(|(_, column)| column.clone()).collect();
    }

    /// Of these wanted fields no more are read.
    pub fn read_no_more(&mut self, fields: std::ops::Range<usize>) {
        if fields.end <= self.wanted.len() {
            self.wanted.drain(fields);
        }
    }

    /// Takes the next bytes of the data. Take all pieces before the next call: what is left is kept.
    pub fn feed(&mut self, chunk: &[u8]) {
        if self.ended {
            return;
        }
        if let Some(mask) = &mut self.mask {
            mask.forget(self.start, KEPT);
            mask.extend(chunk);
        }
        if self.start == self.buffer.len() {
            self.buffer.clear();
            self.buffer.shrink_to(KEPT);
        } else {
            self.buffer.drain(..self.start);
        }
        self.start = 0;
        self.buffer.extend_from_slice(chunk);
    }

    /// Nothing more will be fed: CopyDone came.
    pub fn finish(&mut self) {
        self.eof = true;
    }

    /// Lines read so far, as Postgres counts them for its error context.
    pub fn line(&self) -> u64 {
        self.line
    }

    /// The line that is not whole yet: of it is what keeps the next bytes from coming. `None`: the binary header, which is before all lines.
    fn unread_line(&self) -> Option<u64> {
        let within = match &self.finder {
            Finder::Lines(lines, _) => lines.embedded(),
            Finder::Tuples(tuples) if tuples.at_header() => return None,
            Finder::Tuples(_) => 0,
        };
        Some(self.line + 1 + within)
    }

    /// What was met there, with the line.
    pub fn at_unread_line(&self, fault: Fault, table: &str) -> Fault {
        match self.unread_line() {
            Some(line) => fault.about(b'W', of_line(table, line)),
            None => fault,
        }
    }

    /// Whose rows they are: errors tell the line then.
    pub fn of_table(&mut self, name: &str) {
        self.table = Some(name.into());
    }

    /// The next piece; `None`: more data is needed, or after [`Self::finish`] there is none. After an error nothing comes.
    pub fn next_piece(&mut self) -> Option<Result<Piece<'_>, Fault>> {
        let cut = match self.cut() {
            Ok(cut) => cut?,
            Err(fault) => {
                self.ended = true;
                self.start = self.buffer.len();
                return Some(Err(match &self.table {
                    Some(table) => self.at_unread_line(fault, table),
                    None => fault,
                }));
            }
        };
        let start = self.start;
        let (Cut::Preamble { total } | Cut::Line { total, .. } | Cut::Tuple { total } | Cut::Broken { total }) = cut;
        self.start += total;
        if self.ended {
            self.start = self.buffer.len();
        }
        let bytes = self.buffer.get(start..start + total).unwrap_or_default();
        let keys = match (cut, &self.finder) {
            (Cut::Preamble { .. }, _) => return Some(Ok(Piece::Preamble(bytes))),
            (Cut::Line { text, special, .. }, Finder::Lines(_, syntax)) => {
                let sent = bytes.get(..text).unwrap_or_default();
                let masked = self.mask.as_ref().map(|mask| mask.text(start).get(..text).unwrap_or_default());
                let line = Line { text: masked.unwrap_or(sent), special, encoded: self.encoded.then_some(sent) };
                if !self.times.is_empty()
                    && let Some((nth, field)) = syntax.moment(line, &self.times)
                {
                    self.ended = true;
                    let named = self.table.as_ref().zip(self.time_columns.get(nth));
                    let place = named.map(|(table, column)| of_field(table, self.line, column, &field));
                    return Some(Err(place.map_or_else(moment, |place| moment().about(b'W', place))));
                }
                syntax.keys(line, &self.wanted)
            }
            (Cut::Tuple { .. }, Finder::Tuples(tuples)) => tuples.keys(bytes),
            _ => self.wanted.iter().map(|_| KeyField::Missing).collect::<SmallVec<_>>(),
        };
        Some(Ok(Piece::Row(Row { bytes, keys, line: self.line })))
    }

    fn cut(&mut self) -> Result<Option<Cut>, Fault> {
        if self.ended {
            return Ok(None);
        }
        let data = match &self.mask {
            Some(mask) => mask.text(self.start),
            None => self.buffer.get(self.start..).unwrap_or_default(),
        };
        match &mut self.finder {
            Finder::Lines(lines, _) => {
                let stuck = self.mask.as_ref().filter(|mask| mask.is_stuck(self.eof));
                let (cut, after) = match lines.find(data, self.eof && stuck.is_none())? {
                    lines::Found::More if let Some(mask) = stuck => {
                        if !mask.is_told(self.eof) {
                            return Ok(None);
                        }
                        self.ended = true;
                        self.line += 1 + lines.embedded();
                        let total = self.buffer.len() - self.start;
                        // All shards get the header line, and refuse it.
                        let is_header = std::mem::take(&mut self.header);
                        return Ok(Some(if is_header { Cut::Preamble { total } } else { Cut::Broken { total } }));
                    }
                    lines::Found::More => {
                        return if data.len() > self.max_row { Err(too_long(self.max_row)) } else { Ok(None) };
                    }
                    lines::Found::Line { text, total, special, embedded } => {
                        (Cut::Line { text, total, special }, embedded)
                    }
                    lines::Found::Marker { text, special } => {
                        self.ended = true;
                        if text == 0 {
                            return Ok(None);
                        }
                        (Cut::Line { text, total: text, special }, 0)
                    }
                };
                let Cut::Line { total, .. } = cut else { return Ok(None) };
                if total > self.max_row {
                    return Err(too_long(self.max_row));
                }
                self.line += 1 + after;
                if std::mem::take(&mut self.header) {
                    return Ok(Some(Cut::Preamble { total }));
                }
                Ok(Some(cut))
            }
            Finder::Tuples(tuples) => {
                if tuples.ended() {
                    return if data.is_empty() { Ok(None) } else { Err(binary::data_after_trailer()) };
                }
                match tuples
                    .find(data, self.eof, self.max_row, &self.wanted)
                    .map_err(|TooLong| too_long(self.max_row))?
                {
                    binary::Found::More if data.len() > self.max_row => Err(too_long(self.max_row)),
                    binary::Found::More => Ok(None),
                    binary::Found::Header(total) => Ok(Some(Cut::Preamble { total })),
                    binary::Found::Row(total) if tuples.ended() => {
                        self.start += total;
                        self.cut()
                    }
                    binary::Found::Row(total) => {
                        self.line += 1;
                        Ok(Some(Cut::Tuple { total }))
                    }
                    binary::Found::Broken(total) => {
                        self.line += 1;
                        self.ended = true;
                        Ok(Some(Cut::Broken { total }))
                    }
                }
            }
        }
    }
}

fn moment() -> Fault {
    Fault::unsupported(
        "COPY of texts like 'now' over several shards is not supported",
        "a row has one for a time, and each shard would read it at a moment of its own",
        "Send the time itself.",
    )
}

fn too_long(limit: usize) -> Fault {
    Fault::new(SqlState::PROGRAM_LIMIT_EXCEEDED, "COPY row is too long")
        .detail(format!("A row of a sharded COPY can have at most {limit} bytes."))
}

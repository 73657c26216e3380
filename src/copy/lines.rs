//! Where a line of the text and CSV formats ends (Postgres: `CopyReadLineText`). Fields are not looked at.

use memchr::{memchr, memchr_iter, memchr2, memchr3};

use crate::fault::{Fault, SqlState};

/// The newline in use: the first line decides, all others must agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Newline {
    Unknown,
    Lf,
    Cr,
    CrLf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Text,
    Csv { quote: u8, escape: u8 },
}

/// Finds one line after another in bytes that arrive in pieces, and looks at no byte twice.
#[derive(Clone, Debug)]
pub(super) struct LineFinder {
    mode: Mode,
    newline: Newline,
    /// `\.` alone on a line ends CSV data.
    csv_marker: bool,
    /// Bytes of the current line that were looked at.
    scanned: usize,
    in_quote: bool,
    /// The current line has a backslash (text) or a quote (CSV): its fields are more than what lies between delimiters.
    special: bool,
    /// Newlines inside quotes of the current line.
    embedded: u64,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// The line does not end in what is there.
    More,
    /// The line's text, and with its newline; the line is over.
    Line { text: usize, total: usize, special: bool, embedded: u64 },
    /// The end marker, after this much text on its line. What follows does not count.
    Marker { text: usize, special: bool },
}

/// What stands behind `\.`.
enum Marker {
    More,
    Ends,
    IsData,
}

impl LineFinder {
    pub fn text() -> Self {
        Self::new(Mode::Text)
    }

    pub fn csv(quote: u8, escape: u8) -> Self {
        Self::new(Mode::Csv { quote, escape })
    }

    fn new(mode: Mode) -> Self {
        Self {
            mode,
            newline: Newline::Unknown,
            csv_marker: true,
            scanned: 0,
            in_quote: false,
            special: false,
            embedded: 0,
        }
    }

    pub fn set_csv_marker(&mut self, recognised: bool) {
        self.csv_marker = recognised;
    }

    /// Lines that the current one has gone over already, inside of quotes.
    pub fn embedded(&self) -> u64 {
        self.embedded
    }

    /// Looks for the end of the line that `data` begins with. `data` starts at the same byte until a line was found;
    /// `eof`: nothing more will come.
    #[inline]
    pub fn find(&mut self, data: &[u8], eof: bool) -> Result<Found, Fault> {
        match self.mode {
            Mode::Text => self.find_text(data, eof),
            Mode::Csv { quote, escape } => self.find_csv(data, eof, quote, escape),
        }
    }

    #[inline]
    fn find_text(&mut self, data: &[u8], eof: bool) -> Result<Found, Fault> {
        loop {
            let rest = data.get(self.scanned..).unwrap_or_default();
            let Some(found) = memchr3(b'\n', b'\r', b'\\', rest) else { return Ok(self.no_newline(data, eof)) };
            let at = self.scanned + found;
            match data.get(at) {
                Some(b'\n') => return self.line_feed(at),
                Some(b'\r') => return self.carriage_return(data, eof, at),
                _ => self.special = true,
            }
            match data.get(at + 1) {
                None if !eof => {
                    self.scanned = at;
                    return Ok(Found::More);
                }
                // A backslash at the very end is data.
                None => self.scanned = data.len(),
                Some(b'.') => match self.marker(data, eof, at)? {
                    Marker::More => {
                        self.scanned = at;
                        return Ok(Found::More);
                    }
                    Marker::Ends | Marker::IsData => {
                        return Ok(Found::Marker { text: at, special: at > 0 && self.take_special() });
                    }
                },
                Some(_) => self.scanned = at + 2,
            }
        }
    }

    fn find_csv(&mut self, data: &[u8], eof: bool, quote: u8, escape: u8) -> Result<Found, Fault> {
        if self.scanned == 0 && data.first() == Some(&b'\\') && self.csv_marker {
            match data.get(1) {
                None if !eof => return Ok(Found::More),
                Some(b'.') => match self.marker(data, eof, 0)? {
                    Marker::More => return Ok(Found::More),
                    Marker::Ends => return Ok(Found::Marker { text: 0, special: false }),
                    Marker::IsData => {}
                },
                _ => {}
            }
        }
        loop {
            let rest = data.get(self.scanned..).unwrap_or_default();
            if !self.in_quote {
                let Some(found) = memchr3(quote, b'\n', b'\r', rest) else { return Ok(self.no_newline(data, eof)) };
                let at = self.scanned + found;
                match data.get(at) {
                    Some(byte) if *byte == quote => {
                        self.in_quote = true;
                        self.special = true;
                        self.scanned = at + 1;
                    }
                    Some(b'\n') => return self.line_feed(at),
                    _ => return self.carriage_return(data, eof, at),
                }
                continue;
            }
            let found = if escape == quote { memchr(quote, rest) } else { memchr2(quote, escape, rest) };
            let quoted = found.unwrap_or(rest.len());
            self.count_newlines(rest.get(..quoted).unwrap_or_default());
            self.scanned += quoted;
            match data.get(self.scanned) {
                None => return Ok(self.no_newline(data, eof)),
                Some(byte) if *byte == quote => {
                    self.in_quote = false;
                    self.scanned += 1;
                }
                // An escape: takes a quote or an escape behind it along, and is data before all else.
                Some(_) => match data.get(self.scanned + 1) {
                    None if !eof => return Ok(Found::More),
                    Some(next) if *next == quote || *next == escape => self.scanned += 2,
                    _ => self.scanned += 1,
                },
            }
        }
    }

    /// Postgres counts lines inside quotes by the newline it knows; before it knows one, by carriage returns.
    fn count_newlines(&mut self, quoted: &[u8]) {
        let newline = if self.newline == Newline::Lf { b'\n' } else { b'\r' };
        self.embedded += memchr_iter(newline, quoted).count() as u64;
    }

    fn take_special(&mut self) -> bool {
        self.scanned = 0;
        self.in_quote = false;
        std::mem::take(&mut self.special)
    }

    fn line(&mut self, text: usize, total: usize) -> Found {
        let special = self.take_special();
        Found::Line { text, total, special, embedded: std::mem::take(&mut self.embedded) }
    }

    fn no_newline(&mut self, data: &[u8], eof: bool) -> Found {
        if eof && !data.is_empty() {
            return self.line(data.len(), data.len());
        }
        self.scanned = data.len();
        Found::More
    }

    fn line_feed(&mut self, at: usize) -> Result<Found, Fault> {
        match self.newline {
            Newline::Cr | Newline::CrLf => return Err(self.stray("newline", "\\n")),
            Newline::Unknown | Newline::Lf => self.newline = Newline::Lf,
        }
        Ok(self.line(at, at + 1))
    }

    fn carriage_return(&mut self, data: &[u8], eof: bool, at: usize) -> Result<Found, Fault> {
        match (self.newline, data.get(at + 1)) {
            (Newline::Lf, _) => Err(self.stray("carriage return", "\\r")),
            (Newline::Cr, _) => Ok(self.line(at, at + 1)),
            (Newline::Unknown | Newline::CrLf, None) if !eof => {
                self.scanned = at;
                Ok(Found::More)
            }
            (Newline::Unknown | Newline::CrLf, Some(b'\n')) => {
                self.newline = Newline::CrLf;
                Ok(self.line(at, at + 2))
            }
            (Newline::CrLf, _) => Err(self.stray("carriage return", "\\r")),
            (Newline::Unknown, _) => {
                self.newline = Newline::Cr;
                Ok(self.line(at, at + 1))
            }
        }
    }

    /// Decides what the `\.` at `at` is. An unfinished one is an error in text, where `\.` cannot be data.
    fn marker(&self, data: &[u8], eof: bool, at: usize) -> Result<Marker, Fault> {
        let text = self.mode == Mode::Text;
        let mut next = at + 2;
        if self.newline == Newline::CrLf {
            match data.get(next) {
                None if !eof => return Ok(Marker::More),
                Some(b'\r') => next += 1,
                _ if !text => return Ok(Marker::IsData),
                Some(b'\n') => return Err(bad_format("end-of-copy marker does not match previous newline style")),
                _ => return Err(bad_format("end-of-copy marker corrupt")),
            }
        }
        match (self.newline, data.get(next)) {
            (_, None) if !eof => Ok(Marker::More),
            (Newline::Lf | Newline::CrLf | Newline::Unknown, Some(b'\n')) => Ok(Marker::Ends),
            (Newline::Cr | Newline::Unknown, Some(b'\r')) => Ok(Marker::Ends),
            (_, Some(b'\n' | b'\r')) => Err(bad_format("end-of-copy marker does not match previous newline style")),
            _ if !text => Ok(Marker::IsData),
            _ => Err(bad_format("end-of-copy marker corrupt")),
        }
    }

    fn stray(&self, what: &str, escape: &str) -> Fault {
        match self.mode {
            Mode::Text => bad_format(format!("literal {what} found in data"))
                .hint(format!("Use \"{escape}\" to represent {what}.")),
            Mode::Csv { .. } => bad_format(format!("unquoted {what} found in data"))
                .hint(format!("Use quoted CSV field to represent {what}.")),
        }
    }
}

pub(super) fn bad_format(message: impl Into<std::borrow::Cow<'static, str>>) -> Fault {
    Fault::new(SqlState::BAD_COPY_FILE_FORMAT, message)
}

//! A small blocking protocol client that shows every message: what a driver hides, a test may compare.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Longer than any statement of a test takes; a router that hangs fails the test with a message.
const PATIENCE: Duration = Duration::from_secs(60);

/// One message from the server.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    pub tag: u8,
    pub body: Vec<u8>,
}

/// The first OID of what users create; such OIDs differ between servers.
const FIRST_NORMAL_OID: u32 = 16_384;

/// One column of a RowDescription. Table OID and column number are left out: they differ between servers. So do the OIDs
/// of types that users create: each of them is `FIRST_NORMAL_OID` here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    pub type_oid: u32,
    pub type_len: i16,
    pub typmod: i32,
    pub format: i16,
}

/// What one statement answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// `None`: no RowDescription came (not even an empty one).
    pub columns: Option<Vec<Column>>,
    pub rows: Vec<Vec<Option<Vec<u8>>>>,
    /// The command tag; "" after EmptyQueryResponse; `PortalSuspended` after that message.
    pub tag: Option<String>,
    /// Bytes of CopyData messages, concatenated.
    pub copied: Option<Vec<u8>>,
}

/// The fields of an ErrorResponse or NoticeResponse, by their letter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report(pub BTreeMap<char, String>);

impl Report {
    pub fn code(&self) -> &str {
        self.0.get(&'C').map_or("", String::as_str)
    }

    pub fn message(&self) -> &str {
        self.0.get(&'M').map_or("", String::as_str)
    }

    pub fn hint(&self) -> &str {
        self.0.get(&'H').map_or("", String::as_str)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code(), self.message())?;
        for (letter, label) in [('D', "DETAIL"), ('H', "HINT")] {
            if let Some(text) = self.0.get(&letter) {
                write!(f, " {label}: {text}")?;
            }
        }
        Ok(())
    }
}

/// Everything up to a ReadyForQuery.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reply {
    pub answers: Vec<Answer>,
    pub error: Option<Report>,
    pub notices: Vec<Report>,
    /// Transaction status of ReadyForQuery: `I`, `T` or `E`; 0 when the connection ended instead.
    pub status: u8,
}

impl Reply {
    /// SQLSTATE of the error, "" without one.
    pub fn code(&self) -> &str {
        self.error.as_ref().map_or("", Report::code)
    }

    /// Text cells of the first answer with NULL as "NULL", one row a line, cells separated by `|`.
    pub fn text(&self) -> String {
        if let Some(error) = &self.error {
            return format!("ERROR {error}");
        }
        let rows = self.answers.iter().flat_map(|a| &a.rows);
        rows.map(|row| row.iter().map(|c| cell_text(c.as_deref())).collect::<Vec<_>>().join("|"))
            .collect::<Vec<_>>()
            .join("\n")
    }
}

/// A cell for people: UTF-8 as it is, other bytes in hexadecimal.
pub fn cell_text(cell: Option<&[u8]>) -> String {
    match cell {
        None => "NULL".to_owned(),
        Some(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) if !text.chars().any(char::is_control) => text.to_owned(),
            _ => bytes.iter().fold(String::from("\\x"), |text, b| text + &format!("{b:02x}")),
        },
    }
}

/// A value of a Bind message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    pub format: i16,
    pub bytes: Option<Vec<u8>>,
}

impl Value {
    pub fn text(text: &str) -> Self {
        Self { format: 0, bytes: Some(text.as_bytes().to_vec()) }
    }

    pub fn binary(bytes: impl Into<Vec<u8>>) -> Self {
        Self { format: 1, bytes: Some(bytes.into()) }
    }

    pub fn null() -> Self {
        Self { format: 0, bytes: None }
    }
}

/// Frontend messages, whole, ready to be sent.
pub mod message {
    use super::Value;

    pub fn frame(tag: u8, body: &[u8]) -> Vec<u8> {
        let mut out = vec![tag];
        out.extend((body.len() as u32 + 4).to_be_bytes());
        out.extend(body);
        out
    }

    fn text(text: &str) -> Vec<u8> {
        [text.as_bytes(), &[0]].concat()
    }

    pub fn startup(protocol: u32, parameters: &[(&str, &str)]) -> Vec<u8> {
        let mut body = protocol.to_be_bytes().to_vec();
        for (name, value) in parameters {
            body.extend(text(name));
            body.extend(text(value));
        }
        body.push(0);
        [&(body.len() as u32 + 4).to_be_bytes()[..], &body].concat()
    }

    pub fn query(sql: &str) -> Vec<u8> {
        frame(b'Q', &text(sql))
    }

    pub fn parse(name: &str, sql: &str, types: &[u32]) -> Vec<u8> {
        let mut body = [text(name), text(sql)].concat();
        body.extend((types.len() as u16).to_be_bytes());
        types.iter().for_each(|t| body.extend(t.to_be_bytes()));
        frame(b'P', &body)
    }

    /// `results`: the result format codes as sent (none: all text; one: for all columns).
    pub fn bind(portal: &str, statement: &str, values: &[Value], results: &[i16]) -> Vec<u8> {
        let mut body = [text(portal), text(statement)].concat();
        body.extend((values.len() as u16).to_be_bytes());
        values.iter().for_each(|v| body.extend(v.format.to_be_bytes()));
        body.extend((values.len() as u16).to_be_bytes());
        for value in values {
            match &value.bytes {
                None => body.extend((-1i32).to_be_bytes()),
                Some(bytes) => {
                    body.extend((bytes.len() as u32).to_be_bytes());
                    body.extend(bytes);
                }
            }
        }
        body.extend((results.len() as u16).to_be_bytes());
        results.iter().for_each(|r| body.extend(r.to_be_bytes()));
        frame(b'B', &body)
    }

    /// `kind`: b'S' a statement, b'P' a portal.
    pub fn describe(kind: u8, name: &str) -> Vec<u8> {
        frame(b'D', &[&[kind][..], &text(name)].concat())
    }

    pub fn close(kind: u8, name: &str) -> Vec<u8> {
        frame(b'C', &[&[kind][..], &text(name)].concat())
    }

    /// `limit`: rows, 0 for all.
    pub fn execute(portal: &str, limit: u32) -> Vec<u8> {
        frame(b'E', &[text(portal), limit.to_be_bytes().to_vec()].concat())
    }

    pub fn sync() -> Vec<u8> {
        frame(b'S', &[])
    }

    pub fn flush() -> Vec<u8> {
        frame(b'H', &[])
    }

    pub fn copy_data(bytes: &[u8]) -> Vec<u8> {
        frame(b'd', bytes)
    }

    pub fn copy_done() -> Vec<u8> {
        frame(b'c', &[])
    }

    pub fn copy_fail(reason: &str) -> Vec<u8> {
        frame(b'f', &text(reason))
    }

    pub fn terminate() -> Vec<u8> {
        frame(b'X', &[])
    }

    pub fn password(password: &str) -> Vec<u8> {
        frame(b'p', &text(password))
    }
}

/// Sends a CancelRequest and waits until the router has closed that connection; what it said.
pub fn cancel(port: u16, pid: u32, secret: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let mut request = Vec::new();
    request.extend((12 + secret.len() as u32).to_be_bytes());
    request.extend(80_877_102_u32.to_be_bytes());
    request.extend(pid.to_be_bytes());
    request.extend(secret);
    stream.write_all(&request).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    rest
}

/// A connection.
#[derive(Debug)]
pub struct Raw {
    stream: TcpStream,
    received: Vec<u8>,
    /// ParameterStatus values as last reported.
    pub parameters: BTreeMap<String, String>,
    /// Process id and secret of BackendKeyData.
    pub key: (u32, Vec<u8>),
    port: u16,
}

impl Raw {
    /// Connects to 127.0.0.1 as a user that is trusted.
    pub fn connect(port: u16, user: &str, database: &str) -> Result<Self, String> {
        Self::connect_with(port, &[("user", user), ("database", database)], None)
    }

    /// Connects with these startup parameters; answers a request for a clear-text password.
    pub fn connect_with(port: u16, parameters: &[(&str, &str)], password: Option<&str>) -> Result<Self, String> {
        let mut raw = Self::open(port).map_err(|e| e.to_string())?;
        raw.send(&message::startup(196_608, parameters)).map_err(|e| e.to_string())?;
        raw.finish_startup(password)?;
        Ok(raw)
    }

    /// The same to another address of this machine.
    pub fn connect_to(address: &str, port: u16, user: &str, database: &str) -> Result<Self, String> {
        let mut raw = Self::open_at(address, port).map_err(|e| e.to_string())?;
        let startup = message::startup(196_608, &[("user", user), ("database", database)]);
        raw.send(&startup).map_err(|e| e.to_string())?;
        raw.finish_startup(None)?;
        Ok(raw)
    }

    /// A TCP connection on which nothing was sent yet.
    pub fn open(port: u16) -> io::Result<Self> {
        Self::open_at("127.0.0.1", port)
    }

    fn open_at(address: &str, port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect((address, port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream, received: Vec::new(), parameters: BTreeMap::new(), key: (0, Vec::new()), port })
    }

    fn finish_startup(&mut self, password: Option<&str>) -> Result<(), String> {
        loop {
            let message = self.read().map_err(|e| format!("during startup: {e}"))?;
            match message.tag {
                b'R' => match message.u32_at(0) {
                    0 => {}
                    3 => {
                        let password = password.ok_or("a password is asked for")?;
                        self.send(&message::password(password)).map_err(|e| e.to_string())?;
                    }
                    other => return Err(format!("authentication kind {other} is asked for")),
                },
                b'K' => self.key = (message.u32_at(0), message.body.get(4..).unwrap_or_default().to_vec()),
                b'E' => return Err(message.report().to_string()),
                b'Z' => return Ok(()),
                b'S' | b'N' | b'v' => {}
                other => return Err(format!("unexpected message {:?} during startup", char::from(other))),
            }
        }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The same connection once more: one side may write while the other reads.
    pub fn second(&self) -> io::Result<Self> {
        let stream = self.stream.try_clone()?;
        let (received, parameters) = (self.received.clone(), self.parameters.clone());
        Ok(Self { stream, received, parameters, key: self.key.clone(), port: self.port })
    }

    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// The next message; ParameterStatus is noted in `parameters` and returned as well.
    pub fn read(&mut self) -> io::Result<Message> {
        self.fill(5)?;
        let length = u32::from_be_bytes(self.received[1..5].try_into().unwrap()) as usize;
        assert!(length >= 4, "message {:?} of length {length}", char::from(self.received[0]));
        self.fill(1 + length)?;
        let rest = self.received.split_off(1 + length);
        let frame = std::mem::replace(&mut self.received, rest);
        let message = Message { tag: frame[0], body: frame[5..].to_vec() };
        if message.tag == b'S' {
            let mut texts = message.texts();
            if let (Some(name), Some(value)) = (texts.next(), texts.next()) {
                self.parameters.insert(name, value);
            }
        }
        Ok(message)
    }

    fn fill(&mut self, length: usize) -> io::Result<()> {
        let mut chunk = [0; 16_384];
        while self.received.len() < length {
            match self.stream.read(&mut chunk)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                n => self.received.extend(&chunk[..n]),
            }
        }
        Ok(())
    }

    /// How long `read` waits before it fails.
    pub fn set_patience(&mut self, patience: Duration) {
        self.stream.set_read_timeout(Some(patience)).unwrap();
    }

    /// A single byte, as the answer to SSLRequest.
    pub fn read_byte(&mut self) -> io::Result<u8> {
        self.fill(1)?;
        Ok(self.received.remove(0))
    }

    /// All messages up to and with the next ReadyForQuery.
    pub fn read_to_ready(&mut self) -> io::Result<Vec<Message>> {
        let mut messages = Vec::new();
        loop {
            let message = self.read()?;
            let ready = message.tag == b'Z';
            messages.push(message);
            if ready {
                return Ok(messages);
            }
        }
    }

    /// A simple query. A COPY FROM STDIN in it is answered with `CopyFail`; see [`Raw::copy_in`].
    pub fn simple(&mut self, sql: &str) -> Reply {
        self.exchange(&message::query(sql), None)
    }

    /// A simple query that succeeds, or the test fails.
    #[track_caller]
    pub fn must(&mut self, sql: &str) -> Reply {
        let reply = self.simple(sql);
        if let Some(error) = &reply.error {
            panic!("{error}\n  in: {}", sql.chars().take(400).collect::<String>());
        }
        reply
    }

    /// First column of all rows as text, of a query that succeeds.
    #[track_caller]
    pub fn values(&mut self, sql: &str) -> Vec<String> {
        let reply = self.must(sql);
        let rows = reply.answers.iter().flat_map(|a| &a.rows);
        rows.map(|row| cell_text(row.first().and_then(Option::as_deref))).collect()
    }

    /// The rows of a query that succeeds, each by its columns' names; NULL is left out.
    #[track_caller]
    pub fn named(&mut self, sql: &str) -> Vec<BTreeMap<String, String>> {
        let reply = self.must(sql);
        let answer = reply.answers.first().unwrap_or_else(|| panic!("no rows of {sql}"));
        let names: Vec<String> = answer.columns.iter().flatten().map(|column| column.name.clone()).collect();
        let row = |row: &Vec<Option<Vec<u8>>>| {
            let cells = names.iter().cloned().zip(row);
            cells.filter_map(|(name, cell)| Some((name, cell_text(Some(cell.as_deref()?))))).collect()
        };
        answer.rows.iter().map(row).collect()
    }

    /// First column of the first row as text, of a query that succeeds.
    #[track_caller]
    pub fn value(&mut self, sql: &str) -> String {
        self.values(sql).into_iter().next().unwrap_or_default()
    }

    /// COPY ... FROM STDIN by the simple protocol with `data`, cut in messages of 8 kB without regard to rows.
    pub fn copy_in(&mut self, sql: &str, data: &[u8]) -> Reply {
        self.exchange(&message::query(sql), Some(data))
    }

    /// Parse, Bind, Describe (portal), Execute, Sync with the unnamed statement and portal.
    pub fn extended(&mut self, sql: &str, types: &[u32], values: &[Value], result_format: i16) -> Reply {
        let batch = [
            message::parse("", sql, types),
            message::bind("", "", values, &[result_format]),
            message::describe(b'P', ""),
            message::execute("", 0),
            message::sync(),
        ];
        self.exchange(&batch.concat(), None)
    }

    /// Sends `bytes` and folds what comes up to ReadyForQuery. A lost connection is an error with code `08006`.
    pub fn exchange(&mut self, bytes: &[u8], copy: Option<&[u8]>) -> Reply {
        self.exchange_with(bytes, copy, false)
    }

    /// Like `exchange`; `extended`: a COPY FROM STDIN swallows the Sync that was sent already, so another follows its data.
    pub fn exchange_with(&mut self, bytes: &[u8], copy: Option<&[u8]>, extended: bool) -> Reply {
        let mut fold = Fold::default();
        let outcome = self.send(bytes).and_then(|()| {
            loop {
                let message = self.read()?;
                if message.tag == b'G' {
                    let mut answer = match copy {
                        Some(data) => {
                            let mut out: Vec<u8> = data.chunks(8192).flat_map(message::copy_data).collect();
                            out.extend(message::copy_done());
                            out
                        }
                        None => message::copy_fail("no data in this test"),
                    };
                    if extended {
                        answer.extend(message::sync());
                    }
                    self.send(&answer)?;
                }
                if fold.take(&message) {
                    return Ok(());
                }
            }
        });
        if let Err(e) = outcome
            && fold.reply.error.is_none()
        {
            let fields = [('C', "08006".to_owned()), ('M', format!("connection lost: {e}"))];
            fold.reply.error = Some(Report(fields.into()));
        }
        fold.reply
    }
}

/// Folds messages into a [`Reply`].
#[derive(Default)]
pub struct Fold {
    pub reply: Reply,
    open: Answer,
}

impl Fold {
    /// True after ReadyForQuery.
    pub fn take(&mut self, message: &Message) -> bool {
        match message.tag {
            b'T' => self.open.columns = Some(message.columns()),
            b'D' => self.open.rows.push(message.cells()),
            b'H' => self.open.copied = Some(Vec::new()),
            b'd' => self.open.copied.get_or_insert_default().extend(&message.body),
            b'C' => self.end(message.texts().next().unwrap_or_default()),
            b'I' => self.end(String::new()),
            b's' => self.end("PortalSuspended".to_owned()),
            b'E' => {
                if self.open != Answer::default() {
                    let open = std::mem::take(&mut self.open);
                    self.reply.answers.push(open);
                }
                self.reply.error = Some(message.report());
            }
            b'N' => self.reply.notices.push(message.report()),
            b'Z' => {
                self.reply.status = message.body.first().copied().unwrap_or(0);
                return true;
            }
            _ => {}
        }
        false
    }

    fn end(&mut self, tag: String) {
        let mut answer = std::mem::take(&mut self.open);
        answer.tag = Some(tag);
        self.reply.answers.push(answer);
    }
}

impl Message {
    pub fn u16_at(&self, at: usize) -> u16 {
        u16::from_be_bytes(self.body[at..at + 2].try_into().unwrap())
    }

    pub fn u32_at(&self, at: usize) -> u32 {
        u32::from_be_bytes(self.body[at..at + 4].try_into().unwrap())
    }

    /// The zero-terminated texts of the body.
    pub fn texts(&self) -> impl Iterator<Item = String> + '_ {
        let parts = self.body.split(|b| *b == 0);
        parts.map(|part| String::from_utf8_lossy(part).into_owned())
    }

    /// Body of ErrorResponse or NoticeResponse.
    pub fn report(&self) -> Report {
        let fields = self.body.split(|b| *b == 0).filter(|f| !f.is_empty());
        Report(fields.map(|f| (char::from(f[0]), String::from_utf8_lossy(&f[1..]).into_owned())).collect())
    }

    /// Body of RowDescription.
    pub fn columns(&self) -> Vec<Column> {
        let mut at = 2;
        let mut columns = Vec::new();
        for _ in 0..self.u16_at(0) {
            let end = at + self.body[at..].iter().position(|b| *b == 0).unwrap();
            let name = String::from_utf8_lossy(&self.body[at..end]).into_owned();
            at = end + 1;
            columns.push(Column {
                name,
                type_oid: self.u32_at(at + 6).min(FIRST_NORMAL_OID),
                type_len: self.u16_at(at + 10) as i16,
                typmod: self.u32_at(at + 12) as i32,
                format: self.u16_at(at + 16) as i16,
            });
            at += 18;
        }
        assert_eq!(at, self.body.len(), "RowDescription has a rest");
        columns
    }

    /// Of each column in a RowDescription the table that it is of, and the number of its column there.
    pub fn origins(&self) -> Vec<(u32, i16)> {
        let mut rest = self.body.get(2..).unwrap_or_default();
        let mut found = Vec::new();
        while let Some(end) = rest.iter().position(|byte| *byte == 0) {
            let fields = &rest[end + 1..];
            let table = u32::from_be_bytes([fields[0], fields[1], fields[2], fields[3]]);
            found.push((table, i16::from_be_bytes([fields[4], fields[5]])));
            rest = &fields[18..];
        }
        found
    }

    /// Body of DataRow.
    pub fn cells(&self) -> Vec<Option<Vec<u8>>> {
        let mut at = 2;
        let mut cells = Vec::new();
        for _ in 0..self.u16_at(0) {
            let length = self.u32_at(at) as i32;
            at += 4;
            cells.push(usize::try_from(length).ok().map(|length| {
                at += length;
                self.body[at - length..at].to_vec()
            }));
        }
        assert_eq!(at, self.body.len(), "DataRow has a rest");
        cells
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", char::from(self.tag), cell_text(Some(&self.body)))
    }
}

//! The first packet of a connection: StartupMessage, SSLRequest, GSSENCRequest, CancelRequest, or direct TLS.
//!
//! Everything here is read before anybody has logged in. A packet is at most 10,000 bytes, as in Postgres
//! (`src/backend/tcop/backend_startup.c`), memory follows the bytes received, and each loop consumes input.

#![deny(clippy::as_conversions, clippy::indexing_slicing, clippy::unwrap_used)]

use bytes::{Buf, BytesMut};
use pgwire::messages::Message as _;
use pgwire::messages::startup::NegotiateProtocolVersion;
use smallvec::SmallVec;
use subtle::ConstantTimeEq;

use crate::fault::{Fault, Result, SqlState};

/// The newest protocol that we speak: 3.2, whose only novelty is cancel keys of up to 256 bytes.
pub const NEWEST_MINOR: u16 = 2;

/// A packet before the login is at most this long, its length word included, in bytes.
const MAX_PACKET: usize = 10_000;
const MIN_PACKET: usize = 8;
/// Bytes of the name of a user or a database.
pub const MAX_NAME: usize = 63;
const CANCEL_SECRET: std::ops::RangeInclusive<usize> = 4..=256;

const CANCEL_REQUEST: (u16, u16) = (1234, 5678);
const SSL_REQUEST: (u16, u16) = (1234, 5679);
const GSSENC_REQUEST: (u16, u16) = (1234, 5680);
/// Between routers alone; a Postgres that is asked in this way knows no such protocol.
pub const PASSED_ON: (u16, u16) = (0x504c, 1);
pub const WHO_IS_IT: (u16, u16) = (0x504c, 2);
pub const WHICH_TIMELINES: (u16, u16) = (0x504c, 3);
/// The first byte of a TLS ClientHello. As the first byte of a length it would announce 369 MB.
const TLS_HANDSHAKE: u8 = 0x16;

/// What a client may say first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FirstPacket {
    Startup(Startup),
    SslRequest,
    GssEncRequest,
    Cancel(CancelKey),
    /// Another router passes a CancelRequest on: it is for a client of this one, or of a router beside it, or for nobody.
    PassedOn(CancelKey),
    /// Another router asks this one.
    Asked(Question),
    /// A TLS handshake without SSLRequest (`sslnegotiation=direct`). Nothing was consumed.
    DirectTls,
}

/// What routers ask each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// For the router's number.
    Number,
    /// For the newest timelines of its shards that it has heard of.
    Timelines,
}

/// The key of a CancelRequest. Equality takes time that depends on the secrets' lengths only.
#[derive(Clone)]
pub struct CancelKey {
    pub pid: u32,
    pub secret: SmallVec<[u8; 32]>,
}

impl PartialEq for CancelKey {
    fn eq(&self, other: &Self) -> bool {
        self.pid == other.pid && self.secret.ct_eq(&other.secret).into()
    }
}

impl Eq for CancelKey {}

impl std::fmt::Debug for CancelKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CancelKey {{ pid: {}, .. }}", self.pid)
    }
}

/// A StartupMessage. Its version and parameters never change after this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Startup {
    /// The minor version that both sides speak from here on: 0 or 2.
    pub minor: u16,
    /// The minor version that the client asked for.
    pub requested_minor: u16,
    /// As sent and in that order, without the options of the protocol itself.
    pub params: Vec<(String, String)>,
    /// Options of the protocol (`_pq_.*`); we know none.
    pub protocol_options: Vec<String>,
}

/// Takes the first packet off `buffer`; `None` while it is incomplete.
///
/// Errors: a FATAL that Postgres would also report, except that garbage gets an answer too: `08P01`.
pub fn take_first_packet(buffer: &mut BytesMut) -> Result<Option<FirstPacket>> {
    if buffer.first() == Some(&TLS_HANDSHAKE) {
        return Ok(Some(FirstPacket::DirectTls));
    }
    let Some(word) = buffer.first_chunk::<4>() else { return Ok(None) };
    let length = usize::try_from(u32::from_be_bytes(*word)).unwrap_or(usize::MAX);
    if !(MIN_PACKET..=MAX_PACKET).contains(&length) {
        return Err(Fault::protocol("invalid length of startup packet"));
    }
    if buffer.len() < length {
        return Ok(None);
    }
    let mut packet = buffer.split_to(length);
    packet.advance(4);
    let version = (packet.get_u16(), packet.get_u16());
    match version {
        CANCEL_REQUEST => parse_cancel(&mut packet).map(FirstPacket::Cancel),
        PASSED_ON => parse_cancel(&mut packet).map(FirstPacket::PassedOn),
        WHO_IS_IT if packet.is_empty() => Ok(FirstPacket::Asked(Question::Number)),
        WHICH_TIMELINES if packet.is_empty() => Ok(FirstPacket::Asked(Question::Timelines)),
        WHO_IS_IT | WHICH_TIMELINES => Err(Fault::protocol("invalid length of startup packet")),
        SSL_REQUEST if packet.is_empty() => Ok(FirstPacket::SslRequest),
        GSSENC_REQUEST if packet.is_empty() => Ok(FirstPacket::GssEncRequest),
        SSL_REQUEST | GSSENC_REQUEST => Err(Fault::protocol("invalid length of startup packet")),
        (3, minor) => parse_startup(minor, &packet).map(FirstPacket::Startup),
        (major, minor) => Err(unsupported_protocol(major, minor)),
    }
    .map(Some)
}

/// What Postgres says to an unknown version, and to a second SSLRequest.
pub fn unsupported_protocol(major: u16, minor: u16) -> Fault {
    Fault::new(
        SqlState::FEATURE_NOT_SUPPORTED,
        format!("unsupported frontend protocol {major}.{minor}: server supports 3.0 to 3.{NEWEST_MINOR}"),
    )
    .fatal()
}

fn parse_cancel(packet: &mut BytesMut) -> Result<CancelKey> {
    let secret = packet.len().checked_sub(4).filter(|secret| CANCEL_SECRET.contains(secret));
    if secret.is_none() {
        return Err(Fault::protocol("invalid length of cancel request"));
    }
    Ok(CancelKey { pid: packet.get_u32(), secret: SmallVec::from_slice(packet) })
}

fn parse_startup(requested_minor: u16, body: &[u8]) -> Result<Startup> {
    // 3.1 was never released: like everything below 3.2 it is spoken as 3.0.
    let minor = if requested_minor >= NEWEST_MINOR { NEWEST_MINOR } else { 0 };
    let mut startup = Startup { minor, requested_minor, params: Vec::new(), protocol_options: Vec::new() };
    let mut rest = body;
    loop {
        let name = take_cstring(&mut rest)?;
        if name.is_empty() {
            break;
        }
        let name = utf8(name)?;
        let value = utf8(take_cstring(&mut rest)?)?;
        if name.starts_with("_pq_.") {
            startup.protocol_options.push(name);
        } else {
            startup.params.push((name, value));
        }
    }
    if rest.is_empty() { Ok(startup) } else { Err(bad_layout()) }
}

fn take_cstring<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8]> {
    let end = memchr::memchr(0, rest).ok_or_else(bad_layout)?;
    let (text, tail) = rest.split_at(end);
    *rest = tail.get(1..).unwrap_or_default();
    Ok(text)
}

fn bad_layout() -> Fault {
    Fault::protocol("invalid startup packet layout: expected terminator as last byte")
}

fn utf8(text: &[u8]) -> Result<String> {
    String::from_utf8(text.to_vec()).map_err(|_| {
        Fault::new(SqlState::CHARACTER_NOT_IN_REPERTOIRE, "invalid byte sequence in startup packet")
            .hint("Names, databases and settings in the startup packet must be UTF-8.")
            .fatal()
    })
}

impl Startup {
    /// The last value of a parameter, as Postgres counts.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.params.iter().rev().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// Errors: `28000` where the packet names none.
    pub fn user(&self) -> Result<&str> {
        self.get("user").filter(|user| !user.is_empty()).map(cut).ok_or_else(|| {
            Fault::new(
                SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
                "no PostgreSQL user name specified in startup packet",
            )
            .fatal()
        })
    }

    /// The user's name where the packet names no database.
    pub fn database(&self) -> Result<&str> {
        match self.get("database") {
            Some(database) if !database.is_empty() => Ok(cut(database)),
            _ => self.user(),
        }
    }

    /// Errors: `0A000` where the client asks for a replication connection, `22023` where it says neither yes nor no.
    pub fn check_replication(&self) -> Result<()> {
        let Some(value) = self.get("replication") else { return Ok(()) };
        let replicates = if value == "database" { Some(true) } else { parse_bool(value) };
        match replicates {
            Some(false) => Ok(()),
            Some(true) => Err(Fault::unsupported(
                "replication connections are not supported",
                "a router has no write-ahead log of its own",
                "Connect to the shard's server itself.",
            )
            .fatal()),
            None => Err(Fault::new(
                SqlState::INVALID_PARAMETER_VALUE,
                format!("invalid value for parameter \"replication\": \"{value}\""),
            )
            .hint("Valid values are: \"false\", 0, \"true\", 1, \"database\".")
            .fatal()),
        }
    }

    /// The settings that the session starts with, in the order in which they apply: later ones win.
    ///
    /// Those of `options` come first, then the packet's own parameters, as in Postgres.
    pub fn settings(&self) -> Result<Vec<(String, String)>> {
        let mut settings = match self.get("options") {
            Some(options) => parse_options(options)?,
            None => Vec::new(),
        };
        let own = self
            .params
            .iter()
            .filter(|(name, _)| !matches!(name.as_str(), "user" | "database" | "options" | "replication"));
        settings.extend(own.cloned());
        Ok(settings)
    }

    /// NegotiateProtocolVersion, where the client asked for more than we speak.
    pub fn negotiation(&self) -> Option<BytesMut> {
        if self.minor == self.requested_minor && self.protocol_options.is_empty() {
            return None;
        }
        // The whole version number, not the minor one alone, is what Postgres sends and libpq reads.
        let newest = (3 << 16) | i32::from(self.minor);
        let mut out = BytesMut::new();
        NegotiateProtocolVersion::new(newest, self.protocol_options.clone()).encode(&mut out).ok()?;
        Some(out)
    }
}

/// A name as Postgres cuts it to fit (`NAMEDATALEN`). One that would be cut in the middle of a character nobody has there: it stays, and
/// nobody has it here.
fn cut(name: &str) -> &str {
    name.get(..MAX_NAME).unwrap_or(name)
}

/// The other switches that a Postgres process takes.
const SWITCHES: [char; 26] = [
    'B', 'b', 'C', 'D', 'd', 'E', 'e', 'F', 'f', 'h', 'i', 'j', 'k', 'l', 'N', 'n', 'O', 'P', 'p', 'r', 'S', 's', 'T',
    't', 'v', 'W',
];

/// Reads `-c name=value`, `-cname=value` and `--name=value` with backslash escapes: the parameter `options`.
///
/// Errors: `42601` for what no Postgres takes, `0A000` for switches that have no meaning for a router.
pub fn parse_options(options: &str) -> Result<Vec<(String, String)>> {
    let mut settings = Vec::new();
    let mut words = split_options(options).into_iter();
    while let Some(word) = words.next() {
        if let Some(long) = word.strip_prefix("--").filter(|long| !long.is_empty()) {
            settings.push(assignment("--", long)?);
        } else if let Some(short) = word.strip_prefix("-c") {
            let text = if short.is_empty() { words.next() } else { Some(short.to_owned()) };
            let text = text.ok_or_else(|| invalid_argument(&word))?;
            settings.push(assignment("-c ", &text)?);
        } else if word == "--" {
            // The end of the switches: only silence may follow.
            if let Some(argument) = words.next() {
                return Err(invalid_argument(&argument));
            }
        } else if word.strip_prefix('-').is_some_and(|rest| rest.starts_with(SWITCHES)) {
            return Err(Fault::unsupported(
                format!("switch \"{word}\" in the startup parameter \"options\" is not supported"),
                "a router passes settings on, not the switches of a server process",
                "Use \"-c name=value\" or \"--name=value\".",
            )
            .fatal());
        } else {
            return Err(invalid_argument(&word));
        }
    }
    Ok(settings)
}

/// Words are parted by white space; a backslash takes the next character as it is.
fn split_options(options: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = options.chars();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c' => words.extend(word.take()),
            '\\' => word.get_or_insert_default().extend(chars.next()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

fn assignment(switch: &str, text: &str) -> Result<(String, String)> {
    match text.split_once('=') {
        // Postgres reads the dashes of a name as underscores.
        Some((name, value)) if !name.is_empty() => Ok((name.replace('-', "_"), value.to_owned())),
        Some(_) => Err(invalid_argument(&format!("{switch}{text}"))),
        None => Err(Fault::new(SqlState::SYNTAX_ERROR, format!("{switch}{text} requires a value")).fatal()),
    }
}

fn invalid_argument(argument: &str) -> Fault {
    Fault::new(SqlState::SYNTAX_ERROR, format!("invalid command-line argument for server process: {argument}"))
        .hint("Try \"postgres --help\" for more information.")
        .fatal()
}

/// A boolean as Postgres's `parse_bool` reads it: unique prefixes of the words, in any case.
fn parse_bool(text: &str) -> Option<bool> {
    let text = text.to_ascii_lowercase();
    let starts = |word: &str| !text.is_empty() && word.starts_with(&text);
    if starts("true") || starts("yes") || text == "on" || text == "1" {
        Some(true)
    } else if starts("false") || starts("no") || text == "off" || text == "of" || text == "0" {
        Some(false)
    } else {
        None
    }
}

#[cfg(test)]
#[path = "startup_tests.rs"]
mod tests;

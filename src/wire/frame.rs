//! Frames cut off a read buffer: headers are read, bodies are left alone. All length arithmetic of the protocol is here.

use bytes::{Bytes, BytesMut};

use crate::fault::{Fault, SqlState};
use crate::types::Format;

/// A frame's tag and its whole length (tag, length word and body), checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub tag: u8,
    /// Bytes of the whole frame, at least 5.
    pub len: usize,
}

/// Bytes of tag and length word.
pub const HEADER: usize = 5;

/// The header at the start of `buffer`; `None` until five bytes are there.
///
/// # Errors
/// A length below 4 or a body above `max` bytes: the stream cannot be followed any further.
pub fn peek(buffer: &[u8], max: usize) -> Result<Option<Header>, Fault> {
    let Some((head, _)) = buffer.split_first_chunk::<HEADER>() else {
        return Ok(None);
    };
    let announced = i32::from_be_bytes([head[1], head[2], head[3], head[4]]);
    match usize::try_from(announced) {
        Ok(length) if length >= 4 && length - 4 <= max => Ok(Some(Header { tag: head[0], len: length + 1 })),
        _ => Err(Fault::protocol("invalid message length")
            .detail(format!("message type \"{}\" announced {announced} bytes", head[0].escape_ascii()))),
    }
}

/// Postgres takes no more for messages that are short by their nature (`PQ_SMALL_MESSAGE_LIMIT`), the length word counted.
const SHORT: usize = 10_000;

/// Nor does it take any that is longer (`PQ_LARGE_MESSAGE_LIMIT`), the length word counted.
const LONGEST: usize = 0x3fff_fffe;

/// The most bytes that Postgres takes for a client's message of this type, the length word counted; `None`: there is no such message.
fn most_of(tag: u8) -> Option<usize> {
    match tag {
        b'Q' | b'F' | b'B' | b'P' | b'd' => Some(LONGEST),
        b'C' | b'D' | b'E' | b'H' | b'S' | b'X' | b'c' | b'f' => Some(SHORT),
        _ => None,
    }
}

/// Whether the message that begins here has a length that Postgres takes for none of its kind: nothing can be found behind it, and
/// Postgres closes the connection without a word.
pub fn has_lost_step(buffer: &[u8]) -> bool {
    let Some((head, _)) = buffer.split_first_chunk::<HEADER>() else { return false };
    let Some(most) = most_of(head[0]) else { return false };
    let announced = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
    !usize::try_from(announced).is_ok_and(|announced| (4..=most).contains(&announced))
}

/// The same of what a client sends behind its login: a message that is none, or too long for one of its kind, is told by its header.
///
/// # Errors
/// As [`peek`], and for a type of message that clients do not send.
pub fn peek_of_client(buffer: &[u8], max: usize) -> Result<Option<Header>, Fault> {
    let Some(tag) = buffer.first() else { return Ok(None) };
    let most = most_of(*tag).ok_or_else(|| Fault::protocol(format!("invalid frontend message type {tag}")))?;
    peek(buffer, max.min(most - 4))
}

/// The next whole frame of a client's, as [`take`] does it.
///
/// # Errors
/// As [`peek_of_client`].
pub fn take_of_client(buffer: &mut BytesMut, max: usize) -> Result<Option<Frame>, Fault> {
    let header = peek_of_client(buffer, max)?.filter(|header| buffer.len() >= header.len);
    Ok(header.map(|header| Frame { bytes: buffer.split_to(header.len).freeze(), tag: header.tag }))
}

/// The next whole frame, cut off `buffer`; `None` while it is incomplete.
pub fn take(buffer: &mut BytesMut, max: usize) -> Result<Option<Frame>, Fault> {
    match peek(buffer, max)? {
        Some(header) if buffer.len() >= header.len => {
            Ok(Some(Frame { bytes: buffer.split_to(header.len).freeze(), tag: header.tag }))
        }
        _ => Ok(None),
    }
}

/// The whole frames that stand at the start of `buffer`.
pub fn whole(mut buffer: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let header = peek(buffer, usize::MAX).ok()??;
        let (frame, rest) = buffer.split_at_checked(header.len)?;
        buffer = rest;
        Some(frame)
    })
}

/// How many whole frames with this tag stand at the start of `buffer`, and their bytes. A frame that cannot be ends the run, as one with
/// another tag does: [`peek`] tells why.
pub fn run_of(tag: u8, buffer: &[u8], max: usize) -> (u64, usize) {
    let (mut frames, mut bytes) = (0, 0);
    loop {
        let ahead = buffer.get(bytes..).unwrap_or_default();
        // Before the whole header is looked at: a wrong length is put into words, which costs.
        if ahead.first() != Some(&tag) {
            return (frames, bytes);
        }
        match peek(ahead, max) {
            Ok(Some(header)) if header.len <= ahead.len() => {
                frames += 1;
                bytes += header.len;
            }
            Ok(_) | Err(_) => return (frames, bytes),
        }
    }
}

/// One whole frame: tag, length word and body in one buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub tag: u8,
    pub bytes: Bytes,
}

impl Frame {
    pub fn body(&self) -> &[u8] {
        &self.bytes[HEADER..]
    }
}

/// Reads the fields of a message body in order; every step is checked, and the end must be exact.
#[derive(Clone, Copy)]
pub struct Fields<'a> {
    rest: &'a [u8],
}

/// A message whose fields do not fit its length (`08P01`, as Postgres words it).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// A field goes beyond the message.
    Length,
    /// The message goes beyond its fields.
    Rest,
    /// A name that is no UTF-8 (`22021`): the bytes of the character, of which there are so many.
    Encoding([u8; 4], usize),
    /// A string without its NUL.
    String,
}

impl From<Malformed> for Fault {
    fn from(malformed: Malformed) -> Self {
        let message = match malformed {
            Malformed::Length => "insufficient data left in message",
            Malformed::Rest => "invalid message format",
            Malformed::String => "invalid string in message",
            Malformed::Encoding(bytes, len) => return not_utf8(&bytes[..len]),
        };
        Fault::new(SqlState::PROTOCOL_VIOLATION, message)
    }
}

/// In Postgres's words: text that is no UTF-8 from here on. As many bytes are told as the first one says that its character has.
pub fn not_utf8(text: &[u8]) -> Fault {
    let bytes: Vec<String> = text.iter().take(character(text)).map(|byte| format!("0x{byte:02x}")).collect();
    Fault::new(
        SqlState::CHARACTER_NOT_IN_REPERTOIRE,
        format!("invalid byte sequence for encoding \"UTF8\": {}", bytes.join(" ")),
    )
}

/// How many bytes the first character has, by its first one, as far as they are there.
fn character(text: &[u8]) -> usize {
    let len = match text.first() {
        Some(0xc0..=0xdf) => 2,
        Some(0xe0..=0xef) => 3,
        Some(0xf0..=0xf7) => 4,
        Some(_) | None => 1,
    };
    len.min(text.len())
}

impl<'a> Fields<'a> {
    pub fn new(body: &'a [u8]) -> Self {
        Self { rest: body }
    }

    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub fn u8(&mut self) -> Result<u8, Malformed> {
        let (first, rest) = self.rest.split_first().ok_or(Malformed::Length)?;
        self.rest = rest;
        Ok(*first)
    }

    pub fn i16(&mut self) -> Result<i16, Malformed> {
        let (head, rest) = self.rest.split_first_chunk::<2>().ok_or(Malformed::Length)?;
        self.rest = rest;
        Ok(i16::from_be_bytes(*head))
    }

    /// A count: Postgres reads it as unsigned 16 bits.
    pub fn count(&mut self) -> Result<usize, Malformed> {
        self.i16().map(|n| usize::from(n.cast_unsigned()))
    }

    pub fn i32(&mut self) -> Result<i32, Malformed> {
        let (head, rest) = self.rest.split_first_chunk::<4>().ok_or(Malformed::Length)?;
        self.rest = rest;
        Ok(i32::from_be_bytes(*head))
    }

    pub fn u32(&mut self) -> Result<u32, Malformed> {
        self.i32().map(i32::cast_unsigned)
    }

    pub fn bytes(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (head, rest) = self.rest.split_at_checked(len).ok_or(Malformed::Length)?;
        self.rest = rest;
        Ok(head)
    }

    /// A NUL-terminated string, without the NUL.
    pub fn cstr(&mut self) -> Result<&'a [u8], Malformed> {
        let end = memchr::memchr(0, self.rest).ok_or(Malformed::String)?;
        let text = &self.rest[..end];
        self.rest = &self.rest[end + 1..];
        Ok(text)
    }

    /// A string of the client's that names something.
    pub fn name(&mut self) -> Result<&'a [u8], Malformed> {
        let name = self.cstr()?;
        match std::str::from_utf8(name) {
            Ok(_) => Ok(name),
            Err(error) => {
                let wrong = name.get(error.valid_up_to()..).unwrap_or_default();
                let (len, mut bytes) = (character(wrong), [0; 4]);
                bytes.iter_mut().zip(wrong).for_each(|(to, byte)| *to = *byte);
                Err(Malformed::Encoding(bytes, len))
            }
        }
    }

    /// A value preceded by its length; `None` for length -1 (NULL).
    pub fn value(&mut self) -> Result<Option<&'a [u8]>, Malformed> {
        match self.i32()? {
            -1 => Ok(None),
            len => self.bytes(usize::try_from(len).map_err(|_| Malformed::Length)?).map(Some),
        }
    }

    pub fn end(self) -> Result<(), Malformed> {
        if self.rest.is_empty() { Ok(()) } else { Err(Malformed::Rest) }
    }
}

/// A Parse message in place.
pub struct ParseView<'a> {
    pub name: &'a [u8],
    pub text: &'a [u8],
    pub types: Vec<u32>,
}

impl<'a> ParseView<'a> {
    pub fn read(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut fields = Fields::new(body);
        let name = fields.name()?;
        let text = fields.cstr()?;
        let count = fields.count()?;
        let mut types = Vec::with_capacity(count.min(fields.rest().len() / 4));
        for _ in 0..count {
            types.push(fields.u32()?);
        }
        fields.end()?;
        Ok(Self { name, text, types })
    }
}

/// A Bind message in place: checked whole once, its parameters found by position afterwards.
#[derive(Clone, Debug)]
pub struct BindView<'a> {
    pub portal: &'a [u8],
    pub statement: &'a [u8],
    /// Everything after the statement name: what is forwarded as it is.
    pub tail: &'a [u8],
    pub parameters: BindValues<'a>,
}

/// Formats and values of a Bind message.
#[derive(Clone, Debug, Default)]
pub struct BindValues<'a> {
    formats: &'a [u8],
    /// Position and length (-1: NULL) of each value in `body`.
    spans: smallvec::SmallVec<[(u32, i32); 8]>,
    body: &'a [u8],
}

/// The beginning of a Bind message: names, formats, and the values that have come.
#[derive(Clone, Debug)]
pub struct BindHead<'a> {
    pub portal: &'a [u8],
    pub statement: &'a [u8],
    /// Everything after the statement name that has come.
    pub tail: &'a [u8],
    /// Values that the whole message has.
    pub count: usize,
    /// The whole values among them, from the first on.
    pub parameters: BindValues<'a>,
}

impl<'a> BindHead<'a> {
    /// # Errors
    /// [`Malformed::Length`]: the head is too short to have the formats, or the message is no Bind.
    pub fn read(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut fields = Fields::new(body);
        let portal = fields.name().map_err(|_| Malformed::Length)?;
        let statement = fields.name().map_err(|_| Malformed::Length)?;
        let tail = fields.rest();
        let format_count = fields.count()?;
        let formats = fields.bytes(format_count * 2)?;
        let count = fields.count()?;
        if format_count > 1 && format_count != count {
            return Err(Malformed::Length);
        }
        let mut spans = smallvec::SmallVec::new();
        for _ in 0..count {
            let Ok(len) = fields.i32() else { break };
            let at = body.len() - fields.rest().len();
            if let Ok(len) = usize::try_from(len)
                && fields.bytes(len).is_err()
            {
                break;
            }
            spans.push((u32::try_from(at).map_err(|_| Malformed::Length)?, len));
        }
        Ok(Self { portal, statement, tail, count, parameters: BindValues { formats, spans, body } })
    }
}

impl<'a> BindView<'a> {
    pub fn read(body: &'a [u8]) -> Result<Self, Fault> {
        let mut fields = Fields::new(body);
        let portal = fields.name()?;
        let statement = fields.name()?;
        let tail = fields.rest();
        let format_count = fields.count()?;
        let formats = fields.bytes(format_count * 2)?;
        let count = fields.count()?;
        let mut spans = smallvec::SmallVec::with_capacity(count.min(fields.rest().len() / 4));
        for _ in 0..count {
            let len = fields.i32()?;
            let at = body.len() - fields.rest().len();
            if len != -1 {
                fields.bytes(usize::try_from(len).map_err(|_| Malformed::Length)?)?;
            }
            spans.push((u32::try_from(at).map_err(|_| Malformed::Length)?, len));
        }
        let results = fields.count()?;
        fields.bytes(results * 2)?;
        fields.end()?;
        if format_count > 1 && format_count != count {
            return Err(Fault::new(
                SqlState::PROTOCOL_VIOLATION,
                format!("bind message has {format_count} parameter formats but {count} parameters"),
            ));
        }
        Ok(Self { portal, statement, tail, parameters: BindValues { formats, spans, body } })
    }
}

impl<'a> BindValues<'a> {
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// Format and bytes (None: NULL) of value `index`; `None` beyond the last one or for a format code that does not exist.
    pub fn get(&self, index: usize) -> Option<(Format, Option<&'a [u8]>)> {
        let (at, len) = *self.spans.get(index)?;
        let code = match self.formats.len() {
            0 => 0,
            2 => i16::from_be_bytes([self.formats[0], self.formats[1]]),
            _ => i16::from_be_bytes([*self.formats.get(index * 2)?, *self.formats.get(index * 2 + 1)?]),
        };
        let value = match usize::try_from(len) {
            Ok(len) => Some(self.body.get(at as usize..at as usize + len)?),
            Err(_) => None,
        };
        Some((Format::from_code(code)?, value))
    }
}

/// The tag of a CommandComplete frame's body (`INSERT 0 5`), and its trailing number where it has one.
pub fn command_tag(body: &[u8]) -> (&str, Option<u64>) {
    let text = std::str::from_utf8(body.strip_suffix(&[0]).unwrap_or(body)).unwrap_or("");
    match text.rsplit_once(' ') {
        Some((verb, number)) => match number.parse() {
            Ok(number) => (verb, Some(number)),
            Err(_) => (text, None),
        },
        None => (text, None),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use bytes::BufMut;
    use proptest::prelude::*;

    #[test]
    fn messages_of_clients_are_as_long_as_their_kind() {
        let head = |tag: u8, length: i32| [&[tag][..], &length.to_be_bytes()].concat();
        for (tag, length, passes) in [
            (b'E', 10_000, true),
            (b'E', 10_001, false),
            (b'S', 4, true),
            (b'S', 1 << 20, false),
            (b'B', 1 << 20, true),
            (b'Q', 1 << 20, true),
            (b'y', 4, false),
            (b'p', 4, false),
        ] {
            assert_eq!(peek_of_client(&head(tag, length), 1 << 24).is_ok(), passes, "{tag} {length}");
        }
        assert!(peek_of_client(b"y", 1 << 24).is_err(), "at its first byte");
    }

    #[test]
    fn what_postgres_takes_at_no_length_is_told_from_what_is_over_a_limit() {
        let head = |tag: u8, length: i32| [&[tag][..], &length.to_be_bytes()].concat();
        for (tag, length, lost) in [
            (b'Q', 3, true),
            (b'Q', -1, true),
            (b'Q', 4, false),
            (b'Q', 0x3fff_fffe, false),
            (b'Q', 0x3fff_ffff, true),
            (b'S', 10_000, false),
            (b'S', 10_001, true),
            (b'd', 0, true),
            (b'y', 3, false),
        ] {
            assert_eq!(has_lost_step(&head(tag, length)), lost, "{} {length}", tag.escape_ascii());
            assert!(!lost || peek_of_client(&head(tag, length), 1 << 30).is_err());
        }
        assert!(!has_lost_step(b"Q\0\0\0"));
    }

    #[test]
    fn peek_refuses_lengths_that_cannot_be() {
        assert!(peek(&[b'Q', 0, 0, 0, 3], 100).is_err());
        assert!(peek(&[b'Q', 0xff, 0xff, 0xff, 0xff], 100).is_err());
        assert!(peek(&[b'Q', 0, 0, 0, 105], 100).is_err());
        assert_eq!(peek(&[b'Q', 0, 0, 0, 104], 100).unwrap(), Some(Header { tag: b'Q', len: 105 }));
        assert_eq!(peek(b"Q\0\0\0", 100).unwrap(), None);
    }

    #[test]
    fn bind_gives_each_parameter_its_format() {
        let mut body = BytesMut::new();
        body.put_slice(b"\0s1\0");
        body.put_i16(1);
        body.put_i16(1);
        body.put_i16(2);
        body.put_i32(4);
        body.put_i32(7);
        body.put_i32(-1);
        body.put_i16(0);
        let bind = BindView::read(&body).unwrap();
        assert_eq!(bind.statement, b"s1");
        assert_eq!(bind.parameters.get(0), Some((Format::Binary, Some(&7i32.to_be_bytes()[..]))));
        assert_eq!(bind.parameters.get(1), Some((Format::Binary, None)));
        assert_eq!(bind.parameters.get(2), None);
    }

    #[test]
    fn command_tag_splits_off_the_count() {
        assert_eq!(command_tag(b"INSERT 0 5\0"), ("INSERT 0", Some(5)));
        assert_eq!(command_tag(b"CREATE TABLE\0"), ("CREATE TABLE", None));
    }

    proptest! {
        #[test]
        fn bodies_never_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = ParseView::read(&body);
            if let Ok(bind) = BindView::read(&body) {
                for i in 0..bind.parameters.len() + 1 {
                    let _ = bind.parameters.get(i);
                }
            }
            let _ = peek(&body, 1 << 20);
        }

        /// Frames of a few tags with anything behind them, also a header cut short or a length that cannot be.
        #[test]
        fn a_run_is_what_frames_cut_one_by_one_are(
            frames in proptest::collection::vec((prop_oneof![8 => Just(b'D'), 1 => Just(b'C'), 1 => Just(b'N')], 0usize..12), 0..12),
            rest in proptest::collection::vec(any::<u8>(), 0..12),
            cut in 0usize..300,
        ) {
            const MAX: usize = 10;
            let mut buffer = BytesMut::new();
            for (tag, len) in frames {
                buffer.put_u8(tag);
                buffer.put_i32(len as i32 + 4);
                buffer.put_bytes(b'D', len);
            }
            buffer.put_slice(&rest);
            buffer.truncate(cut);
            let run = run_of(b'D', &buffer, MAX);
            let (mut count, mut bytes) = (0, 0);
            while buffer.first() == Some(&b'D') && let Ok(Some(frame)) = take(&mut buffer, MAX) {
                count += 1;
                bytes += frame.bytes.len();
            }
            prop_assert_eq!(run, (count, bytes));
        }
    }
}

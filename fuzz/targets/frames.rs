//! Frame cutter: the pieces in which bytes arrive change nothing, no frame reaches into the next, and what is read of a body is what
//! it says, put together again byte by byte.

use bytes::BytesMut;
use pgloom::wire::error_fields::{self, ErrorFields};
use pgloom::wire::frame::{self, BindHead, BindView, ParseView};
use pgloom::wire::request;
use pgloom::wire::row::{self, RowView};

use super::input::{Input, pieces};

pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let max = usize::from(u16::from_be_bytes(input.array()));
    let sizes = input.array::<3>();
    let stream = input.rest();
    let (expected, is_broken) = slowly(stream, max);
    let mut buffer = BytesMut::new();
    let mut found = Vec::new();
    let mut refused = false;
    for piece in pieces(stream, &sizes) {
        buffer.extend_from_slice(piece);
        // As a session does: what cannot be followed is the end.
        while !refused {
            match frame::take(&mut buffer, max) {
                Ok(Some(frame)) => found.push(frame),
                Ok(None) => break,
                Err(_) => refused = true,
            }
        }
    }
    let cut: Vec<&[u8]> = found.iter().map(|frame| &frame.bytes[..]).collect();
    assert_eq!((&cut, refused), (&expected, is_broken));
    assert_eq!(cut.concat(), stream[..stream.len() - buffer.len()]);
    for found in &found {
        assert_eq!(found.tag, found.bytes[0]);
        body(found.tag, found.body());
        of_server(&found.bytes);
    }
    // Seen in one look, frames are the same as cut off one by one.
    if let Some(first) = stream.first() {
        let run = expected.iter().take_while(|frame| frame[0] == *first);
        let (frames, bytes) = frame::run_of(*first, stream, max);
        assert_eq!((frames, bytes), (run.clone().count() as u64, run.map(|frame| frame.len()).sum()));
    }
    let unlimited = slowly(stream, usize::MAX).0;
    assert_eq!(frame::whole(stream).collect::<Vec<_>>(), unlimited);
}

/// The frames by the letter of the protocol, and whether a length that cannot be follows them.
fn slowly(mut stream: &[u8], max: usize) -> (Vec<&[u8]>, bool) {
    let mut frames = Vec::new();
    while stream.len() >= 5 {
        let announced = i64::from(i32::from_be_bytes([stream[1], stream[2], stream[3], stream[4]]));
        if announced < 4 || i128::from(announced) - 4 > max as i128 {
            return (frames, true);
        }
        let len = announced as usize + 1;
        if stream.len() < len {
            break;
        }
        frames.push(&stream[..len]);
        stream = &stream[len..];
    }
    (frames, false)
}

/// What a client says.
fn body(tag: u8, body: &[u8]) {
    let mut out = BytesMut::new();
    if let Ok(parse) = ParseView::read(body) {
        request::parse(&mut out, parse.name, parse.text, &parse.types).expect("what was read can be written");
        assert_eq!(&out[5..], body);
    }
    out.clear();
    if let Ok(bind) = BindView::read(body) {
        request::bind_raw(&mut out, bind.portal, bind.statement, bind.tail).expect("what was read can be written");
        assert_eq!(&out[5..], body);
        // All that is read in place, and nothing beyond.
        let mut end = 0;
        for index in 0..bind.parameters.len() {
            if let Some((_, Some(value))) = bind.parameters.get(index) {
                let at = value.as_ptr() as usize - body.as_ptr() as usize;
                assert!(at >= end && at + value.len() <= body.len());
                end = at + value.len();
            }
        }
        assert!(bind.parameters.get(bind.parameters.len()).is_none());
        for cut in [0, body.len() / 3, body.len() / 2, body.len()] {
            let Ok(head) = BindHead::read(&body[..cut]) else { continue };
            assert_eq!((head.portal, head.statement, head.count), (bind.portal, bind.statement, bind.parameters.len()));
            for index in 0..head.parameters.len() {
                assert_eq!(head.parameters.get(index), bind.parameters.get(index));
            }
        }
    } else if tag == b'B' {
        // A head of a message that is broken further on is read, or not: without harm.
        if let Ok(head) = BindHead::read(body) {
            assert!(head.parameters.len() <= head.count);
            for index in 0..=head.count {
                let _ = head.parameters.get(index);
            }
        }
    }
    let (command, count) = frame::command_tag(body);
    assert!(count.is_none() || !command.is_empty() || body.first() == Some(&b' '));
}

/// What a server says: it may be broken too.
fn of_server(frame: &[u8]) {
    let body = &frame[5..];
    let fields = ErrorFields::parse(body);
    let _ = fields.ends_connection();
    let _ = fields.into_fault();
    let _ = (error_fields::is_fatal(body), error_fields::is_changed_plan(body), error_fields::code(body));
    let _ = row::read_row_description(body);
    let Ok(row) = RowView::parse(frame) else { return };
    let all: Result<Vec<_>, _> = row.columns().collect();
    if let Ok(all) = all {
        for (index, value) in all.iter().enumerate().take(64) {
            assert_eq!(row.column(index).ok(), Some(*value));
        }
    }
    for index in 0..row.len().min(64) {
        let _ = row.column(index);
    }
    let _ = row.leading(row.len());
}

//! The packets before the login: read from any pieces alike, never more than one, and each said again in the same bytes.

use bytes::BytesMut;
use pgloom::wire::request;
use pgloom::wire::startup::{CancelKey, FirstPacket, Startup, parse_options, take_first_packet};

use super::input::{Input, pieces};

/// The longest packet and its announced length are checked before memory is taken for it.
const LONGEST: usize = 10_000;

pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let sizes = input.array::<2>();
    let mut stream = input.rest();
    if let Ok(options) = std::str::from_utf8(stream) {
        settings(options);
    }
    // A client may ask for encryption, hear no, and go on.
    for _ in 0..4 {
        let mut whole = BytesMut::from(stream);
        let expected = take_first_packet(&mut whole).map_err(|fault| fault.to_string());
        let mut buffer = BytesMut::new();
        let mut found = Ok(None);
        let mut waiting = stream.len();
        for piece in pieces(stream, &sizes) {
            buffer.extend_from_slice(piece);
            waiting -= piece.len();
            let before = buffer.len();
            found = take_first_packet(&mut buffer).map_err(|fault| fault.to_string());
            match &found {
                // What is not whole is left as it is, and more than the longest packet is never waited for.
                Ok(None) => assert!(buffer.len() == before && before < LONGEST),
                Ok(Some(_)) | Err(_) => break,
            }
        }
        assert_eq!(found, expected);
        let Ok(Some(packet)) = found else { return };
        let taken = stream.len() - waiting - buffer.len();
        said_again(&packet, &stream[..taken]);
        stream = &stream[taken..];
        match packet {
            FirstPacket::SslRequest | FirstPacket::GssEncRequest => {}
            FirstPacket::Startup(startup) => return login(&startup),
            FirstPacket::Cancel(_) | FirstPacket::PassedOn(_) | FirstPacket::Asked(_) => return,
            FirstPacket::DirectTls => return assert_eq!(taken, 0),
        }
    }
}

/// The packet has exactly these bytes: nothing behind it was taken, nothing in it was passed over.
fn said_again(packet: &FirstPacket, bytes: &[u8]) {
    let mut out = BytesMut::new();
    let cancel = |out: &mut BytesMut, key: &CancelKey| request::cancel(out, key.pid, &key.secret);
    match packet {
        FirstPacket::SslRequest => return assert_eq!(bytes, request::SSL_REQUEST),
        FirstPacket::GssEncRequest => return assert_eq!(bytes, b"\0\0\0\x08\x04\xd2\x16\x30"),
        FirstPacket::DirectTls => return,
        FirstPacket::Asked(question) => request::ask(&mut out, *question),
        FirstPacket::PassedOn(key) => request::passed_on(&mut out, key),
        FirstPacket::Cancel(key) => cancel(&mut out, key),
        FirstPacket::Startup(startup) => {
            assert_eq!(startup.minor, if startup.requested_minor >= 2 { 2 } else { 0 });
            // The options of the protocol itself stand apart, so only packets without them come out as they were.
            if !startup.protocol_options.is_empty() {
                return assert!(startup.protocol_options.iter().all(|name| name.starts_with("_pq_.")));
            }
            let params = startup.params.iter().map(|(name, value)| (name.as_str(), value.as_str()));
            request::startup(&mut out, startup.requested_minor, params)
        }
    }
    .expect("what was read can be written");
    assert_eq!(&out[..], bytes);
}

fn login(startup: &Startup) {
    let _ = (startup.user(), startup.database(), startup.check_replication());
    if let Ok(settings) = startup.settings() {
        let options = startup.get("options").map_or(0, str::len);
        let own: usize = startup.params.iter().map(|(name, value)| name.len() + value.len()).sum();
        let all: usize = settings.iter().map(|(name, value)| name.len() + value.len()).sum();
        assert!(all <= own + options, "settings are made of what was sent");
    }
    let asked = startup.requested_minor != startup.minor || !startup.protocol_options.is_empty();
    let answer = startup.negotiation();
    assert_eq!(answer.is_some(), asked);
    let Some(answer) = answer else { return };
    // NegotiateProtocolVersion by the letter of the protocol.
    let word = |at: usize| u32::from_be_bytes([answer[at], answer[at + 1], answer[at + 2], answer[at + 3]]) as usize;
    assert_eq!((answer[0], word(1)), (b'v', answer.len() - 1));
    assert_eq!(word(5), 3 << 16 | usize::from(startup.minor));
    assert_eq!(word(9), startup.protocol_options.len());
    let names: Vec<u8> = startup.protocol_options.iter().flat_map(|name| [name.as_bytes(), b"\0"].concat()).collect();
    assert_eq!(&answer[13..], names);
}

fn settings(options: &str) {
    let Ok(settings) = parse_options(options) else { return };
    // Each name and value, said with all its characters escaped, is read as itself.
    for (name, value) in settings {
        let escaped: String = format!("{name}={value}").chars().flat_map(|c| ['\\', c]).collect();
        assert_eq!(parse_options(&format!("-c {escaped}")).ok(), Some(vec![(name, value)]));
    }
}

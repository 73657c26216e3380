#![allow(clippy::unwrap_used, clippy::indexing_slicing)]
use proptest::prelude::*;

use super::*;
use crate::wire::request;

fn packet(minor: u16, params: &[(&str, &str)]) -> BytesMut {
    let mut out = BytesMut::new();
    request::startup(&mut out, minor, params.iter().copied()).unwrap();
    out
}

fn startup(minor: u16, params: &[(&str, &str)]) -> Startup {
    match take_first_packet(&mut packet(minor, params)).unwrap().unwrap() {
        FirstPacket::Startup(startup) => startup,
        other => panic!("{other:?}"),
    }
}

fn raw(body: &[u8]) -> BytesMut {
    let mut out = BytesMut::new();
    out.extend_from_slice(&u32::try_from(body.len() + 4).unwrap().to_be_bytes());
    out.extend_from_slice(body);
    out
}

fn refusal(body: &[u8]) -> Fault {
    take_first_packet(&mut raw(body)).unwrap_err()
}

#[test]
fn startup_is_taken_only_when_whole_and_leaves_what_follows() {
    let whole = packet(0, &[("user", "u"), ("database", "d")]);
    let mut buffer = BytesMut::new();
    for byte in &whole[..whole.len() - 1] {
        buffer.extend_from_slice(&[*byte]);
        assert_eq!(take_first_packet(&mut buffer).unwrap(), None);
    }
    buffer.extend_from_slice(&whole[whole.len() - 1..]);
    buffer.extend_from_slice(b"next");
    let FirstPacket::Startup(startup) = take_first_packet(&mut buffer).unwrap().unwrap() else { panic!() };
    assert_eq!((startup.user().unwrap(), startup.database().unwrap(), startup.minor), ("u", "d", 0));
    assert_eq!(&buffer[..], b"next");
    assert_eq!(startup.negotiation(), None);
}

#[test]
fn names_are_cut_to_what_fits_as_postgres_cuts_them() {
    let cut = |user: &str, database: &str| {
        let startup = startup(0, &[("user", user), ("database", database)]);
        (startup.user().unwrap().to_owned(), startup.database().unwrap().to_owned())
    };
    let (fits, long) = ("u".repeat(63), "u".repeat(64));
    assert_eq!(cut(&fits, "d"), (fits.clone(), "d".to_owned()));
    assert_eq!(cut(&long, ""), (fits.clone(), fits.clone()), "without a database it is the user's name");
    assert_eq!(cut("u", &"é".repeat(40)).1, "é".repeat(40), "cut in the middle of a character nobody has it");
    assert_eq!(cut("u", &format!("d{}", "é".repeat(40))).1, format!("d{}", "é".repeat(31)));
}

#[test]
fn lengths_outside_the_bounds_are_refused_from_the_header_alone() {
    for length in [0u32, 4, 7, 10_001, 0x7fff_ffff, 0xffff_ffff] {
        let mut buffer = BytesMut::from(&length.to_be_bytes()[..]);
        let fault = take_first_packet(&mut buffer).unwrap_err();
        assert_eq!((fault.code, fault.is_fatal()), (SqlState::PROTOCOL_VIOLATION, true));
    }
    let fault = take_first_packet(&mut BytesMut::from(&b"GET / HTTP/1.1\r\n"[..])).unwrap_err();
    assert_eq!(fault.message, "invalid length of startup packet");
}

#[test]
fn requests_for_encryption_have_no_body() {
    let mut both = raw(b"\x04\xd2\x16\x30");
    both.unsplit(raw(b"\x04\xd2\x16\x2f"));
    assert_eq!(take_first_packet(&mut both).unwrap(), Some(FirstPacket::GssEncRequest));
    assert_eq!(take_first_packet(&mut both).unwrap(), Some(FirstPacket::SslRequest));
    assert_eq!(refusal(b"\x04\xd2\x16\x2f\0").code, SqlState::PROTOCOL_VIOLATION);
    let mut hello = BytesMut::from(&b"\x16\x03\x01"[..]);
    assert_eq!(take_first_packet(&mut hello).unwrap(), Some(FirstPacket::DirectTls));
    assert_eq!(hello.len(), 3);
}

#[test]
fn cancel_keys_of_4_to_256_bytes_are_read() {
    for length in [4, 32, 256] {
        let body = [&b"\x04\xd2\x16\x2e\0\0\x01\0"[..], &vec![9; length]].concat();
        let Some(FirstPacket::Cancel(key)) = take_first_packet(&mut raw(&body)).unwrap() else { panic!() };
        assert_eq!((key.pid, key.secret.len()), (256, length));
        assert_eq!(format!("{key:?}"), "CancelKey { pid: 256, .. }");
    }
    for length in [0, 3, 257] {
        let body = [&b"\x04\xd2\x16\x2e\0\0\x01\0"[..], &vec![9; length]].concat();
        assert_eq!(refusal(&body).code, SqlState::PROTOCOL_VIOLATION);
    }
    assert_eq!(refusal(b"\x04\xd2\x16\x2e").code, SqlState::PROTOCOL_VIOLATION);
}

#[test]
fn other_major_versions_are_refused_by_name() {
    let fault = refusal(b"\0\x02\0\0user\0u\0\0");
    assert_eq!(fault.message, "unsupported frontend protocol 2.0: server supports 3.0 to 3.2");
    assert_eq!((fault.code, fault.is_fatal()), (SqlState::FEATURE_NOT_SUPPORTED, true));
    assert_eq!(
        refusal(b"\x04\xd2\x16\x31").message,
        "unsupported frontend protocol 1234.5681: server supports 3.0 to 3.2"
    );
}

#[test]
fn layout_must_end_at_the_end_of_the_packet() {
    for body in
        [&b"\0\x03\0\0"[..], b"\0\x03\0\0user\0u\0", b"\0\x03\0\0user\0u", b"\0\x03\0\0user\0", b"\0\x03\0\0\0x"]
    {
        assert_eq!(refusal(body).message, "invalid startup packet layout: expected terminator as last byte");
    }
    assert_eq!(refusal(b"\0\x03\0\0user\0\xff\0\0").code, SqlState::CHARACTER_NOT_IN_REPERTOIRE);
}

#[test]
fn newer_minors_and_protocol_options_are_negotiated_down() {
    let newer = startup(9999, &[("user", "u"), ("_pq_.new", "on"), ("application_name", "a")]);
    assert_eq!(newer.minor, 2);
    assert_eq!(newer.settings().unwrap(), [("application_name".into(), "a".into())]);
    assert_eq!(&newer.negotiation().unwrap()[..], b"v\0\0\0\x15\0\x03\0\x02\0\0\0\x01_pq_.new\0");
    assert_eq!(startup(2, &[("user", "u")]).negotiation(), None);
    assert_eq!(startup(2, &[("user", "u")]).minor, 2);
    assert_eq!(&startup(1, &[("user", "u")]).negotiation().unwrap()[..], b"v\0\0\0\x0c\0\x03\0\0\0\0\0\0");
    assert_eq!(&startup(0, &[("user", "u"), ("_pq_.x", "")]).negotiation().unwrap()[5..9], b"\0\x03\0\0");
}

#[test]
fn user_is_required_and_names_the_database() {
    let fault = startup(0, &[("database", "d")]).user().unwrap_err();
    assert_eq!(
        (fault.code.as_str(), &*fault.message),
        ("28000", "no PostgreSQL user name specified in startup packet")
    );
    startup(0, &[("user", "")]).database().unwrap_err();
    assert_eq!(startup(0, &[("user", "u"), ("database", "")]).database().unwrap(), "u");
    assert_eq!(startup(0, &[("user", "a"), ("user", "b")]).user().unwrap(), "b");
}

#[test]
fn replication_is_refused_unless_it_is_off() {
    let check = |value| startup(0, &[("user", "u"), ("replication", value)]).check_replication();
    for value in ["false", "0", "off", "No", "f"] {
        check(value).unwrap();
    }
    for value in ["true", "1", "on", "database", "Y"] {
        assert_eq!(check(value).unwrap_err().code, SqlState::FEATURE_NOT_SUPPORTED);
    }
    for value in ["", "o", "maybe"] {
        assert_eq!(check(value).unwrap_err().code, SqlState::INVALID_PARAMETER_VALUE);
    }
}

#[test]
fn options_give_settings_that_the_packet_overrides() {
    let startup = startup(
        0,
        &[
            ("user", "u"),
            ("TimeZone", "UTC"),
            ("options", r"-c work-mem=4MB  -csearch_path=a,\ b --lock-timeout=5 -c TimeZone=PST \ "),
        ],
    );
    let fault = startup.settings().unwrap_err();
    assert_eq!(fault.message, "invalid command-line argument for server process:  ");
    let settings =
        parse_options(r"-c work-mem=4MB  -csearch_path=a,\ b --lock-timeout=5 -c x=a\\=\'b -c y= --").unwrap();
    let expected = [("work_mem", "4MB"), ("search_path", "a, b"), ("lock_timeout", "5"), ("x", r"a\='b"), ("y", "")];
    assert_eq!(settings, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
}

#[test]
fn options_that_are_no_settings_are_refused() {
    let code = |options| parse_options(options).unwrap_err().code.as_str().to_owned();
    assert_eq!(code("-c"), "42601");
    assert_eq!(code("-z"), "42601");
    assert_eq!(code("-c work_mem"), "42601");
    assert_eq!(code("--work_mem"), "42601");
    assert_eq!(code("-c ="), "42601");
    assert_eq!(code("-c=x"), "42601");
    assert_eq!(code("--=x"), "42601");
    assert_eq!(code("-- x"), "42601");
    assert_eq!(code("work_mem=1"), "42601");
    assert_eq!(code("-"), "42601");
    assert_eq!(code("-S 100"), "0A000");
    assert_eq!(parse_options("  \t").unwrap(), []);
}

proptest! {
    #[test]
    fn any_bytes_are_taken_awaited_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = take_first_packet(&mut BytesMut::from(&bytes[..]));
        let _ = take_first_packet(&mut raw(&bytes));
        let startup = [&b"\0\x03\0\0"[..], &bytes].concat();
        if let Ok(Some(FirstPacket::Startup(startup))) = take_first_packet(&mut raw(&startup)) {
            let _ = (startup.settings(), startup.negotiation(), startup.check_replication());
        }
    }

    #[test]
    fn any_options_are_read_or_refused(options in r"[-c= \\a\t'é]{0,40}") {
        let _ = parse_options(&options);
    }

    #[test]
    fn any_parameters_read_back(params in proptest::collection::vec(("[a-z]{1,9}", "[^\\x00]{0,20}"), 0..20)) {
        let pairs: Vec<(&str, &str)> = params.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        prop_assert_eq!(startup(0, &pairs).params, params);
    }
}

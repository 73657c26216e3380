//! LISTEN and NOTIFY: a notification reaches its client whatever the router was doing when it came, as with one Postgres.

#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use support::Sharded;
use support::raw::{Message, Raw, message as m};

/// What a NotificationResponse says behind the process and the channel.
fn payload(message: &Message) -> String {
    let mut texts = message.body[4..].split(|b| *b == 0);
    String::from_utf8_lossy(texts.nth(1).unwrap()).into_owned()
}

/// Sends bytes and reads as many replies; the payloads of the notifications that came before the last ReadyForQuery.
fn heard(raw: &mut Raw, bytes: &[u8], replies: usize) -> Vec<String> {
    raw.send(bytes).unwrap();
    let mut payloads = Vec::new();
    for _ in 0..replies {
        for message in raw.read_to_ready().unwrap() {
            assert_ne!(message.tag, b'E', "{:?}", message.report());
            if message.tag == b'A' {
                payloads.push(payload(&message));
            }
        }
    }
    payloads
}

fn query(raw: &mut Raw, sql: &str) -> Vec<String> {
    heard(raw, &m::query(sql), 1)
}

/// What a listener gets within the time that one Postgres needs for it.
fn within_a_moment(raw: &mut Raw) -> Vec<String> {
    std::thread::sleep(Duration::from_millis(150));
    let mut payloads = query(raw, "SELECT 1");
    payloads.extend(query(raw, "SELECT 2"));
    payloads
}

#[test]
fn a_notification_that_comes_in_a_block_is_told_at_its_end() {
    let world = Sharded::create("notifyblock", "default_pool_size = 3");
    let (near, far) = (world.id(0, 0), world.id(1, 0));
    let touches = [
        "SELECT 1".to_owned(),
        "SELECT count(*) FROM plain".to_owned(),
        "SELECT count(*) FROM items".to_owned(),
        "UPDATE items SET n = n + 1".to_owned(),
        format!("UPDATE items SET n = n + 1 WHERE id = {near}"),
        format!("UPDATE items SET n = n + 1 WHERE id = {far}"),
        "UPDATE places SET title = 'B'".to_owned(),
    ];
    let (mut listener, mut speaker) = (world.connect(), world.connect());
    listener.must("LISTEN news");
    for end in ["COMMIT", "ROLLBACK"] {
        for touch in &touches {
            assert_eq!(query(&mut listener, "BEGIN"), [""; 0]);
            assert_eq!(query(&mut listener, touch), [""; 0]);
            speaker.must(&format!("NOTIFY news, '{end}'"));
            std::thread::sleep(Duration::from_millis(100));
            let mut told = query(&mut listener, touch);
            told.extend(query(&mut listener, end));
            told.extend(within_a_moment(&mut listener));
            assert_eq!(told, [end], "{touch}");
        }
    }
    for touch in &touches {
        speaker.must("NOTIFY news, 'alone'");
        let mut told = query(&mut listener, touch);
        told.extend(within_a_moment(&mut listener));
        assert_eq!(told, ["alone"], "{touch}");
    }
}

#[test]
fn what_a_client_tells_itself_comes_with_its_commit() {
    let world = Sharded::create("notifyown", "default_pool_size = 3");
    let (near, far) = (world.id(0, 0), world.id(1, 0));
    let mut own = world.connect();
    own.must("LISTEN news");
    own.must("BEGIN; NOTIFY news, 'one'");
    assert_eq!(query(&mut own, "COMMIT"), ["one"]);
    assert_eq!(query(&mut own, "BEGIN; NOTIFY news, 'two'; COMMIT"), ["two"]);
    assert_eq!(query(&mut own, "SELECT 1; NOTIFY news, 'three'"), ["three"]);
    assert_eq!(query(&mut own, "NOTIFY news, 'four'"), ["four"]);
    assert_eq!(query(&mut own, "SELECT pg_notify('news', body) FROM plain"), ["one"]);
    let step = |sql: &str| [m::parse("", sql, &[]), m::bind("", "", &[], &[]), m::execute("", 0), m::sync()].concat();
    assert_eq!(heard(&mut own, &[step("BEGIN"), step("NOTIFY news, 'five'"), step("COMMIT")].concat(), 3), ["five"]);
    let pipeline: Vec<u8> = ["NOTIFY news, 'six'", "SELECT count(*) FROM items"]
        .iter()
        .flat_map(|sql| [m::parse("", sql, &[]), m::bind("", "", &[], &[]), m::execute("", 0)].concat())
        .chain(m::sync())
        .collect();
    assert_eq!(heard(&mut own, &pipeline, 1), ["six"]);
    // The shard that has it cannot be prepared, whoever was written first.
    let several = world.free_ids(9_000).iter().map(|id| format!("({id}, 0)")).collect::<Vec<_>>().join(", ");
    let writes = [
        "UPDATE items SET n = 1".to_owned(),
        format!("UPDATE items SET n = 1 WHERE id = {near}"),
        format!("UPDATE items SET n = 1 WHERE id = {far}"),
        format!("UPDATE items SET n = 1 WHERE id IN ({near}, {far})"),
        format!("INSERT INTO items (id, n) VALUES {several}; DELETE FROM items WHERE id >= 9000"),
    ];
    for write in &writes {
        for told in ["NOTIFY news, 'own'", "SELECT pg_notify('news', 'own')"] {
            own.must(&format!("BEGIN; {write}; {told}"));
            assert_eq!(query(&mut own, "COMMIT"), ["own"], "{write}, then {told}");
            own.must(&format!("BEGIN; {told}; {write}"));
            assert_eq!(query(&mut own, "COMMIT"), ["own"], "{told}, then {write}");
            assert_eq!(query(&mut own, &format!("{write}; {told}")), ["own"], "{write} and {told} in one message");
        }
        own.must(&format!("BEGIN; {write}; UNLISTEN news; COMMIT"));
        own.must(&format!("BEGIN; {write}; LISTEN news; COMMIT"));
    }
    // As in Postgres just before ReadyForQuery, behind the statement's own answer.
    let tags = |own: &mut Raw, bytes: &[u8]| {
        own.send(bytes).unwrap();
        String::from_utf8(own.read_to_ready().unwrap().iter().map(|message| message.tag).collect()).unwrap()
    };
    let step = |sql: &str| [m::parse("", sql, &[]), m::bind("", "", &[], &[]), m::execute("", 0)].concat();
    for write in ["SELECT 1", &*writes[0], &writes[3]] {
        own.must(&format!("BEGIN; {write}; NOTIFY news, 'own'"));
        assert_eq!(tags(&mut own, &m::query("COMMIT")), "CAZ", "{write}");
        own.must(&format!("BEGIN; {write}; NOTIFY news, 'own'"));
        assert_eq!(tags(&mut own, &[step("COMMIT"), m::sync()].concat()), "12CAZ", "{write}");
    }
    assert_eq!(tags(&mut own, &m::query("NOTIFY news, 'own'")), "CAZ");
    assert_eq!(tags(&mut own, &m::query("NOTIFY news, 'own'; SELECT 1 WHERE false")), "CTCAZ");
    own.must("BEGIN; NOTIFY news, 'never'; ROLLBACK; UNLISTEN *");
    assert_eq!(query(&mut own, "NOTIFY news, 'nobody'"), [""; 0]);
    assert_eq!(world.prepared(), Vec::<String>::new());
}

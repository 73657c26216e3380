//! How a session begins, and the versions of the protocol.

use crate::record::{Ready, Send, compare, play, world};
use crate::support::raw::{Message, Raw, cancel, message as m};

/// All that comes in answer to this startup message, up to ReadyForQuery.
fn begun(port: u16, protocol: u32, parameters: &[(&str, &str)]) -> (Raw, Vec<Message>) {
    let mut raw = Raw::open(port).unwrap();
    raw.send(&m::startup(protocol, parameters)).unwrap();
    let mut messages = Vec::new();
    while let Ok(message) = raw.read() {
        if message.tag == b'K' {
            raw.key = (message.u32_at(0), message.body[4..].to_vec());
        }
        let last = message.tag == b'Z';
        messages.push(message);
        if last {
            break;
        }
    }
    (raw, messages)
}

#[test]
fn sessions_begin_as_in_postgres() {
    let world = world("xstartup");
    let Some(router) = &world.router else { return };
    for parameters in [
        &[][..],
        &[("application_name", "größe")],
        &[("options", "-c TimeZone=Asia/Tokyo -c search_path=nowhere")],
        &[("TimeZone", "Asia/Tokyo"), ("client_encoding", "utf-8")],
        &[("DateStyle", "German"), ("IntervalStyle", "iso_8601")],
        &[("work_mem", "much")],
        &[("nothing_at_all", "1")],
        &[("my.own", "1")],
        &[("options", "-c nothing")],
        &[("options", "-c")],
        &[("options", "-z")],
        &[("options", "nothing")],
        &[("transaction_isolation", "serializable")],
        &[("options", "-c transaction_isolation=Serializable")],
        &[("TRANSACTION_ISOLATION", "repeatable read")],
        &[("transaction_isolation", "read committed")],
        &[("transaction_isolation", "none")],
        &[("transaction_deferrable", "on")],
        &[("transaction_deferrable", "off")],
        &[("transaction_deferrable", "much")],
        &[("transaction_read_only", "on")],
        &[("transaction_read_only", "much")],
        &[("role", "nobody_of_this_name")],
    ] {
        let mut all = vec![("user", "postgres"), ("database", &world.db.name)];
        all.extend(parameters);
        let [theirs, ours] = [world.db.oracle().port(), router.port].map(|port| {
            let (mut raw, messages) = begun(port, 196_608, &all);
            let mut record: Vec<_> = messages.iter().map(crate::record::fields).collect();
            let asked = [
                "SHOW TimeZone",
                "SHOW search_path",
                "SHOW work_mem",
                "SHOW DateStyle",
                "SELECT current_setting('my.own', true)",
                "RESET ALL",
                "SHOW TimeZone",
            ];
            if messages.last().is_some_and(|message| message.tag == b'Z') {
                asked.iter().for_each(|sql| record.extend(play(&mut raw, &[Send(m::query(sql)), Ready])));
            }
            record
        });
        compare(&world, &format!("{parameters:?}"), &theirs, &ours);
    }
}

/// What belongs to a connection from its beginning is not refused as if it were a SET.
#[test]
fn what_only_a_login_can_bring_is_refused_as_that() {
    let world = world("xofconnections");
    let Some(router) = &world.router else { return };
    for name in ["log_connections", "ignore_system_indexes"] {
        for (given, value) in [(name, "on"), ("options", &format!("-c {name}=on"))] {
            let (_, messages) =
                begun(router.port, 196_608, &[("user", "postgres"), ("database", &world.db.name), (given, value)]);
            let last = messages.last().unwrap().report();
            assert_eq!((last.code(), last.message()), ("0A000", &*format!("{name} in a login is not supported")));
        }
        assert_eq!(world.through().simple(&format!("SET {name} = on")).code(), "55P02");
    }
}

/// Names are cut to what fits, in a login as elsewhere.
#[test]
fn long_names_are_cut_as_postgres_cuts_them() {
    let world = world("xlongnames");
    let Some(router) = &world.router else { return };
    for database in ["d".repeat(63), "d".repeat(64), "é".repeat(40), format!("d{}", "é".repeat(40))] {
        let [theirs, ours] = [world.db.oracle().port(), router.port].map(|port| {
            let (_, messages) = begun(port, 196_608, &[("user", "postgres"), ("database", &database)]);
            messages.iter().map(crate::record::fields).collect::<Vec<_>>()
        });
        // One that is cut in the middle of a character is no text any more: there is none of this name on either side.
        if database.is_char_boundary(63) {
            compare(&world, &database, &theirs, &ours);
        }
        let unknown = ("C".to_owned(), "3D000".to_owned());
        assert!([theirs, ours].iter().all(|record| record.iter().any(|message| message.contains(&unknown))));
    }
}

/// The servers of these tests know 3.0 alone: what is newer is compared with what Postgres 18 documents.
#[test]
fn newer_protocols_are_negotiated_and_long_keys_cancel() {
    let world = world("xnewer");
    let Some(router) = &world.router else { return };
    let user = [("user", "postgres"), ("database", &*world.db.name)];
    let optional = |name: &'static str| [user[0], user[1], (name, "on")];
    let negotiated = |messages: &[Message]| {
        let told = messages.iter().find(|message| message.tag == b'v')?;
        let names = told.body[8..].split(|byte| *byte == 0).map(|name| String::from_utf8(name.to_vec()).unwrap());
        Some((told.u32_at(0), told.u32_at(4), names.filter(|name| !name.is_empty()).collect::<Vec<_>>()))
    };
    for (protocol, parameters, told, key) in [
        (196_608, &user[..], None, 4),
        (196_610, &user[..], None, 32),
        // 3.1 was never used: it is answered as 3.0.
        (196_609, &user[..], Some((196_608, 0, vec![])), 4),
        (196_612, &user[..], Some((196_610, 0, vec![])), 32),
        (196_608 + 9999, &user[..], Some((196_610, 0, vec![])), 32),
        (196_608, &optional("_pq_.dream")[..], Some((196_608, 1, vec!["_pq_.dream".to_owned()])), 4),
        (196_610, &optional("_pq_.dream")[..], Some((196_610, 1, vec!["_pq_.dream".to_owned()])), 32),
    ] {
        let (mut raw, messages) = begun(router.port, protocol, parameters);
        assert_eq!(negotiated(&messages), told, "{protocol:x}");
        assert_eq!(raw.key.1.len(), key, "{protocol:x}");
        if told.is_some() {
            assert_eq!(messages[0].tag, b'v', "before the authentication");
        }
        for sql in [
            "SELECT pg_sleep(20)",
            "SELECT k, pg_sleep(20) FROM items WHERE k = 5",
            "SELECT k, pg_sleep(20) FROM items WHERE id = 1",
        ] {
            raw.send(&m::query(sql)).unwrap();
            std::thread::sleep(std::time::Duration::from_millis(150));
            // A part of the key, or another one, is none.
            let secret = raw.key.1.clone();
            let mut other = secret.clone();
            *other.last_mut().unwrap() ^= 1;
            [&other[..], &secret[..secret.len() - 1], &[&secret[..], &[0]].concat()]
                .iter()
                .for_each(|wrong| drop(cancel(router.port, raw.key.0, wrong)));
            raw.set_patience(std::time::Duration::from_millis(200));
            // Its columns may be told before its rows.
            while let Ok(message) = raw.read() {
                assert_eq!(message.tag, b'T', "it runs on: {message:?}");
            }
            cancel(router.port, raw.key.0, &secret);
            raw.set_patience(std::time::Duration::from_secs(20));
            let answer = raw.read_to_ready().unwrap();
            assert!(answer.iter().any(|message| message.tag == b'E' && message.report().code() == "57014"), "{sql}");
        }
    }
    // Another major version is refused.
    let [theirs, ours] = [world.db.oracle().port(), router.port].map(|port| {
        let (_, messages) = begun(port, 262_144, &user);
        messages.iter().map(crate::record::fields).collect::<Vec<_>>()
    });
    println!("{theirs:?}");
    assert_eq!(theirs.len(), 1);
    let code = |record: &[crate::record::Fields]| record[0].iter().find(|(field, _)| field == "C").cloned();
    assert_eq!(code(&ours), code(&theirs));
}

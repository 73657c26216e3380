//! At which message of the extended protocol an error comes, and with which code: as in Postgres.

#![allow(clippy::unwrap_used)]

mod support;

use support::Sharded;
use support::raw::{Raw, message as m};

/// The tags of the answer, and the codes of errors.
fn told(raw: &mut Raw, bytes: &[u8]) -> String {
    raw.send(bytes).unwrap();
    let messages = raw.read_to_ready().unwrap();
    let told = messages.iter().filter(|message| message.tag != b'S').map(|message| match message.tag {
        b'E' => format!("E{}", message.report().code()),
        tag => char::from(tag).to_string(),
    });
    told.collect::<Vec<_>>().join(" ")
}

#[test]
fn errors_come_at_the_step_where_postgres_finds_them() {
    let world = Sharded::create("steps", "default_pool_size = 2");
    world.db.oracle().must("CREATE TABLE items (id int PRIMARY KEY, n int, name text)");
    for sql in [
        "SET my.user = 'x'",
        "SET LOCAL my.all = 'x'",
        "SET \"my\".\"user\" = 'x'",
        "SET my.between = 'x'",
        "SET work_mem =",
        "SET work_mem",
        "SET x y z",
        "SET user = 'x'",
        "RESET my.user",
        "RESET",
        "RESET ALL",
        "RESET nobody",
        "SHOW my.user",
        "SHOW ALL",
        "SET nobody = 1",
        "SET work_mem = 'much'",
        "COPY items FROM STDIN (FORMAT nope)",
        "COPY items FROM STDIN (FORMAT csv, HEADER maybe)",
        "COPY items FROM STDIN (FORMAT csv DELIMITER)",
        "COPY items TO STDOUT (FORMAT nope)",
        "SET TIME ZONE INTERVAL",
    ] {
        let (mut oracle, mut through) = (world.db.oracle(), world.connect());
        let run = [m::bind("", "s", &[], &[]), m::execute("", 0), m::sync()].concat();
        for (what, bytes) in [
            ("simple", m::query(sql)),
            ("parsed", [m::parse("s", sql, &[]), m::sync()].concat()),
            ("run", run),
            ("at once", [m::parse("", sql, &[]), m::bind("", "", &[], &[]), m::execute("", 0), m::sync()].concat()),
            ("again", [m::parse("s", sql, &[]), m::sync()].concat()),
        ] {
            let (theirs, ours) = (told(&mut oracle, &bytes), told(&mut through, &bytes));
            assert_eq!(ours, theirs, "{sql} {what}");
        }
    }
}

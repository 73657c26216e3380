//! Types that users made have another number on each server: a client sees those of the home shard, whichever shard answers.

#![allow(clippy::unwrap_used)]

mod support;

use std::time::{Duration, Instant};

use support::raw::{Message, Raw, Reply, Value, message as m};
use support::script::{Pair, Placed};

/// On each server so many numbers are used up that those of the types differ.
const SCHEMA: &str = "DO $$ BEGIN FOR i IN 1..current_setting('port')::int % 13 LOOP CREATE TYPE pad AS (a int); DROP TYPE pad; END LOOP; END $$; \
     CREATE TYPE mood AS ENUM ('sad', 'ok', 'glad'); CREATE DOMAIN small AS int CHECK (VALUE < 100); \
     CREATE TYPE span AS RANGE (subtype = int); CREATE TYPE pair AS (a int, b text); CREATE TYPE mixed AS (a int, m mood); \
     CREATE TABLE feel (id int PRIMARY KEY, m mood, d small, s span, p pair, x mixed, ms mood[], n int)";
const FILL: &str = "(1, 'sad', 1, '[1,3)', '(1,a)', '(1,sad)', '{sad,ok}', 1), (2, 'ok', 2, '[2,4)', '(2,b)', '(2,ok)', '{ok}', 1), \
     (3, 'glad', 3, '[3,9)', '(3,c)', '(3,glad)', '{}', 2), (4, 'ok', 4, 'empty', NULL, NULL, NULL, 2), (5, NULL, 5, '[5,6)', '(5,e)', '(,ok)', '{glad}', 3), \
     (6, 'sad', 6, '(,6]', '(6,f)', '(6,sad)', '{sad}', 3), (7, 'glad', 7, NULL, '(7,g)', '(7,ok)', '{ok,NULL}', 4), (8, 'ok', 8, '[1,2)', '(8,h)', '(8,)', '{ok}', 4)";
const IDS: std::ops::RangeInclusive<i32> = 1..=8;

fn world(label: &str) -> Pair {
    world_with(label, "")
}

fn world_with(label: &str, sections: &str) -> Pair {
    let world = Pair::create(label, SCHEMA, &[("feel", Placed::By("id"))], sections);
    world.fill(&[&format!("INSERT INTO feel VALUES {FILL}")]);
    let numbers: Vec<u32> = (0..support::SHARDS).map(|shard| number(&mut world.db.shard(shard), "mood")).collect();
    assert!(numbers.iter().any(|of| *of != numbers[0]), "{numbers:?}");
    world
}

fn number(raw: &mut Raw, name: &str) -> u32 {
    raw.value(&format!("SELECT '{name}'::regtype::oid")).parse().unwrap()
}

/// The numbers of the types in RowDescription and ParameterDescription, as they came.
fn types(messages: &[Message]) -> Vec<Vec<u32>> {
    let of = |message: &Message| match message.tag {
        b't' => Some((0..usize::from(message.u16_at(0))).map(|at| message.u32_at(2 + 4 * at)).collect()),
        b'T' => {
            let mut rest = &message.body[2..];
            let mut found = Vec::new();
            while let Some(end) = rest.iter().position(|byte| *byte == 0) {
                let fields = &rest[end + 1..];
                found.push(u32::from_be_bytes(fields[6..10].try_into().unwrap()));
                rest = &fields[18..];
            }
            Some(found)
        }
        _ => None,
    };
    messages.iter().filter_map(of).collect()
}

fn ask(raw: &mut Raw, bytes: &[u8]) -> Vec<Message> {
    raw.send(bytes).unwrap();
    raw.read_to_ready().unwrap()
}

#[test]
fn a_client_sees_the_numbers_of_the_home_shard() {
    let world = world("usertypes");
    let mut home = world.db.shard(0);
    let known = ["mood", "span", "pair", "mixed", "mood[]"].map(|name| number(&mut home, name));
    // A column of a domain is told as one of its base type.
    let columns = vec![known[0], 23, known[1], known[2], known[3], known[4], 23];
    let mut raw = world.through();
    for id in IDS {
        let query = format!("SELECT m, d, s, p, x, ms, n FROM feel WHERE id = {id}");
        assert_eq!(types(&ask(&mut raw, &m::query(&query))), std::slice::from_ref(&columns), "{query}");
        let prepared = "SELECT m, d, s, p, x, ms, n FROM feel WHERE id = $1 AND m = $2";
        let parse = [m::parse("s", prepared, &[]), m::describe(b'S', "s"), m::sync()].concat();
        let bound = [
            m::bind("", "s", &[Value::text(&id.to_string()), Value::text("ok")], &[]),
            m::describe(b'P', ""),
            m::execute("", 0),
            m::close(b'S', "s"),
            m::sync(),
        ];
        assert_eq!(types(&ask(&mut raw, &parse)), [vec![23, known[0]], columns.clone()], "{id}");
        assert_eq!(types(&ask(&mut raw, &bound.concat())), std::slice::from_ref(&columns), "{id}");
        let at_once =
            [m::parse("", prepared, &[]), m::bind("", "", &[Value::text(&id.to_string()), Value::text("ok")], &[])];
        let at_once = [at_once.concat(), m::describe(b'S', ""), m::execute("", 0), m::sync()].concat();
        assert_eq!(types(&ask(&mut raw, &at_once)), [vec![23, known[0]], columns.clone()], "{id}");
    }
    for query in
        ["SELECT m, d, s, p, x, ms, n FROM feel", "SELECT m, d, s, p, x, ms, n FROM feel ORDER BY m, id LIMIT 3"]
    {
        assert_eq!(types(&ask(&mut raw, &m::query(query))), std::slice::from_ref(&columns), "{query}");
    }
}

#[test]
fn declared_types_go_to_every_shard() {
    let world = world("usertypesp");
    let played = |mut raw: Raw| -> Vec<Reply> {
        let [mood, small, moods, pair] = ["mood", "small", "mood[]", "pair"].map(|name| number(&mut raw, name));
        let (text, binary) = (Value::text, |text: &str| Value::binary(text));
        let mut replies = Vec::new();
        for id in IDS {
            let key = Value::text(&id.to_string());
            for values in [[key.clone(), text("ok")], [key.clone(), binary("ok")], [key.clone(), text("nothing")]] {
                replies.push(raw.extended("SELECT id, m FROM feel WHERE id = $1 AND m >= $2", &[23, mood], &values, 0));
                replies.push(raw.extended("SELECT id, m FROM feel WHERE id = $1 AND m = $2", &[23, mood], &values, 1));
                replies.push(raw.extended("SELECT id, $2 AS v FROM feel WHERE id = $1", &[23, mood], &values, 1));
            }
            let set = "UPDATE feel SET m = $2, d = $3, ms = $4, p = $5 WHERE id = $1 RETURNING m, d, s, n";
            let values = [key, text("glad"), Value::binary(9i32.to_be_bytes()), text("{ok,sad}"), text("(1,z)")];
            replies.push(raw.extended(set, &[23, mood, small, moods, pair], &values, 1));
        }
        for values in [[text("ok")], [binary("glad")]] {
            for format in [0, 1] {
                replies.push(raw.extended("SELECT id FROM feel WHERE m = $1 ORDER BY id", &[mood], &values, format));
                replies.push(raw.extended(
                    "SELECT id, m FROM feel WHERE m > $1 ORDER BY m, id",
                    &[mood],
                    &values,
                    format,
                ));
                replies.push(raw.extended(
                    "SELECT count(*), $1 AS v FROM feel WHERE m <= $1",
                    &[mood],
                    &values,
                    format,
                ));
            }
        }
        replies
    };
    let (theirs, ours) = (played(world.db.oracle()), played(world.through()));
    for (at, (theirs, ours)) in theirs.iter().zip(&ours).enumerate() {
        assert_eq!(ours.text(), theirs.text(), "{at}");
        assert_eq!(ours.answers, theirs.answers, "{at}");
    }
}

#[test]
fn binary_values_are_what_they_are_or_refused() {
    let world = world("usertypesb");
    let (mut oracle, mut raw) = (world.db.oracle(), world.through());
    for sql in [
        "SELECT id, m, d, s, p FROM feel ORDER BY id",
        "SELECT id, m FROM feel ORDER BY m NULLS FIRST, id",
        "SELECT DISTINCT m FROM feel ORDER BY m",
        "SELECT m, count(*) FROM feel GROUP BY m ORDER BY m",
        "SELECT min(m), max(m), min(d), count(DISTINCT s) FROM feel",
        "SELECT m, rank() OVER (ORDER BY m, id) FROM feel ORDER BY 2",
        "SELECT m, d, s, p FROM feel WHERE id = 1",
        "SELECT m, d, s, p FROM feel WHERE id = 2",
        "SELECT m, d, s, p FROM feel WHERE id = 3",
        "SELECT m, d, s, p FROM feel WHERE id = 4",
    ] {
        let (theirs, ours) = (oracle.extended(sql, &[], &[], 1), raw.extended(sql, &[], &[], 1));
        assert_eq!(ours.text(), theirs.text(), "{sql}");
    }
    // Numbers of types are inside of these.
    let mut refused = 0;
    for sql in [
        "SELECT ms FROM feel WHERE id = $1",
        "SELECT x FROM feel WHERE id = $1",
        "SELECT array_agg(m) FROM feel WHERE id = $1",
    ] {
        for id in IDS {
            let id = [Value::text(&id.to_string())];
            let answers = raw.extended(sql, &[23], &id, 1);
            if answers.code() == "0A000" {
                refused += 1;
            } else {
                // The home shard's own.
                assert_eq!(answers.text(), world.db.shard(0).extended(sql, &[23], &id, 1).text(), "{sql}");
            }
            assert_eq!(raw.extended(sql, &[23], &id, 0).text(), oracle.extended(sql, &[23], &id, 0).text(), "{sql}");
        }
        // What is finished is so on the home shard.
        let many = raw.extended(&sql.replace("id = $1", "n < 3"), &[], &[], 1);
        assert!(many.code() == "0A000" || sql.contains("array_agg"), "{sql}: {}", many.text());
    }
    assert!(refused > 0);
}

#[test]
fn statements_and_cursors_of_sql_have_parameters_of_them() {
    let world = world("usertypesq");
    let played = |mut raw: Raw| -> Vec<(String, Reply)> {
        let mut replies = Vec::new();
        let mut ask = |sql: &str, raw: &mut Raw| {
            let reply = raw.simple(sql);
            replies.push((sql.to_owned(), reply));
        };
        for (types, sql, calls) in [
            (
                "(mood)",
                "SELECT $1 AS x, max(m), count(*) FROM feel WHERE m <= $1",
                &["'ok'", "'ok'::mood", "NULL", "'none'"][..],
            ),
            ("(mood)", "SELECT id, m FROM feel WHERE m = $1 ORDER BY id", &["'sad'", "('s' || 'ad')::mood"]),
            (
                "(mood, int)",
                "SELECT id, $1 AS x FROM feel WHERE id = $2",
                &["'sad', 1", "'glad', 2", "'ok', 3", "'ok', 4"],
            ),
            (
                "(int, mood)",
                "UPDATE feel SET m = $2 WHERE id = $1 RETURNING id, m, $2 AS x",
                &["2, 'ok'", "4, 'ok'", "7, 'glad'"],
            ),
            ("(mood)", "UPDATE feel SET m = m WHERE m > $1", &["'sad'"]),
            (
                "(mood[])",
                "SELECT id FROM feel WHERE m = ANY ($1) ORDER BY id",
                &["'{sad,ok}'", "ARRAY['glad']::mood[]"],
            ),
            ("(pair)", "SELECT id, $1 AS x FROM feel WHERE p = $1 ORDER BY id", &["'(1,a)'", "ROW(3, 'c')::pair"]),
            (
                "(span)",
                "SELECT id, rank() OVER (ORDER BY s, id), $1 AS x FROM feel WHERE s && $1 ORDER BY id",
                &["'[1,4)'"],
            ),
            ("(small)", "SELECT id FROM feel WHERE d = $1", &["5", "500"]),
            ("(mood)", "SELECT $1 AS x", &["'ok'"]),
            ("", "SELECT id, $2::mood AS x FROM feel WHERE m = $1 AND id > $3 ORDER BY id", &["'ok', 'sad', 2"]),
        ] {
            ask(&format!("PREPARE q {types} AS {sql}"), &mut raw);
            for call in calls {
                ask(&format!("EXECUTE q ({call})"), &mut raw);
            }
            ask("DEALLOCATE q", &mut raw);
        }
        let mood = number(&mut raw, "mood");
        for (sql, values) in [
            ("SELECT id, m FROM feel WHERE m = $1 ORDER BY id", &["ok"][..]),
            ("SELECT id, m, $1 AS x FROM feel WHERE id = $2", &["ok", "3"]),
            ("SELECT max(m), $1 AS x FROM feel", &["glad"]),
            ("SELECT m FROM feel WHERE m = $1 AND id IN ($2, 3)", &["glad", "7"]),
        ] {
            for types in [&[][..], &[mood]] {
                let values: Vec<Value> = values.iter().map(|value| Value::text(value)).collect();
                raw.must("BEGIN");
                let declare = format!("DECLARE c CURSOR FOR {sql}");
                replies.push((declare.clone(), raw.extended(&declare, types, &values, 0)));
                for fetch in ["FETCH 2 FROM c", "FETCH BACKWARD 1 FROM c", "FETCH ALL FROM c"] {
                    replies.push((format!("{fetch}: {sql}"), raw.simple(fetch)));
                }
                raw.must("ROLLBACK");
            }
        }
        replies
    };
    let (theirs, ours) = (played(world.db.oracle()), played(world.through()));
    for ((sql, theirs), (_, ours)) in theirs.iter().zip(&ours) {
        assert_eq!(ours.text(), theirs.text(), "{sql}");
        assert_eq!(ours.answers, theirs.answers, "{sql}");
    }
}

#[test]
fn a_type_that_is_made_later_is_known() {
    let world = world("usertypesl");
    let mut raw = world.through();
    raw.must("CREATE TYPE later AS ENUM ('a', 'b')");
    raw.must("ALTER TABLE feel ADD COLUMN l later");
    raw.must("UPDATE feel SET l = 'a'");
    let later = number(&mut world.db.shard(0), "later");
    for id in IDS {
        let query = format!("SELECT l FROM feel WHERE id = {id}");
        assert_eq!(types(&ask(&mut raw, &m::query(&query))), [vec![later]]);
        let found = raw.extended(
            "SELECT id FROM feel WHERE id = $1 AND l = $2",
            &[23, later],
            &[Value::text(&id.to_string()), Value::text("a")],
            0,
        );
        assert_eq!(found.text(), id.to_string());
    }
    assert_eq!(raw.extended("SELECT DISTINCT l FROM feel", &[], &[], 1).text(), "a");
    // In one transaction with its own statements too, as text.
    raw.must("BEGIN");
    raw.must("DROP TYPE later CASCADE");
    raw.must("CREATE TYPE later AS ENUM ('c')");
    raw.must("ALTER TABLE feel ADD COLUMN l later DEFAULT 'c'");
    assert_eq!(raw.value("SELECT l FROM feel WHERE id = 2"), "c");
    raw.must("COMMIT");
    let later = number(&mut world.db.shard(0), "later");
    assert_eq!(types(&ask(&mut raw, &m::query("SELECT l FROM feel WHERE id = 2"))), [vec![later]]);
    assert_eq!(raw.extended("SELECT DISTINCT l FROM feel", &[], &[], 1).text(), "c");
}

/// What an administrator makes shard by shard is known by its numbers in the end, also where the home shard was read in between.
#[test]
fn what_is_made_past_the_router_is_known_after_a_look() {
    let interval = "catalog_refresh_interval = \"2s\"";
    let world = world_with("usertypesp", interval);
    let mut raw = world.through();
    let later = |raw: &mut Raw, name: &str| {
        raw.must(&format!("CREATE TYPE {name} AS ENUM ('a'); ALTER TABLE feel ADD COLUMN {name} {name}"))
    };
    for at in 0..support::SHARDS {
        later(&mut world.db.shard(at), "later");
    }
    // A definition on the home shard alone: its catalog is read, with the others' news in it.
    raw.must("CREATE TABLE of_home (a int)");
    let known = number(&mut world.db.shard(0), "later");
    let told = |raw: &mut Raw, id: i32| types(&ask(raw, &m::query(&format!("SELECT later FROM feel WHERE id = {id}"))));
    let until = Instant::now() + Duration::from_secs(20);
    for id in IDS {
        while told(&mut raw, id) != [vec![known]] {
            assert!(Instant::now() < until, "{id} is told {:?} for {known}", told(&mut raw, id));
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

//! Tables, their columns and their row types have other numbers on each server: a client is told those of the home shard, whichever
//! shard answers, and never gets another shard's number as a value.

#![allow(clippy::unwrap_used)]

mod support;

use support::raw::{Column, Message, Raw, Value, message as m};
use support::script::{Pair, Placed};

/// On each server so many numbers are used up that those of tables and columns differ.
const SCHEMA: &str = "DO $$ BEGIN FOR i IN 1..current_setting('port')::int % 13 LOOP CREATE TABLE pad (a int); DROP TABLE pad; END LOOP; END $$; \
     CREATE TABLE items (id int PRIMARY KEY); \
     DO $$ BEGIN FOR i IN 1..current_setting('port')::int % 5 LOOP ALTER TABLE items ADD pad int; ALTER TABLE items DROP pad; END LOOP; END $$; \
     ALTER TABLE items ADD name text; ALTER TABLE items ADD n int; \
     CREATE TABLE notes (item int, body text); CREATE TABLE places (code text PRIMARY KEY, title text); \
     CREATE TABLE plain (id int PRIMARY KEY, body text); \
     CREATE VIEW seen AS SELECT id, n AS number FROM items; \
     CREATE TABLE parts (id int, n int) PARTITION BY LIST (n); CREATE TABLE parts_1 PARTITION OF parts FOR VALUES IN (1); \
     CREATE TABLE parts_2 PARTITION OF parts FOR VALUES IN (2)";
const IDS: std::ops::RangeInclusive<i32> = 1..=8;

fn world(label: &str) -> Pair {
    let placed = [
        ("items", Placed::By("id")),
        ("notes", Placed::By("item")),
        ("parts", Placed::By("id")),
        ("places", Placed::Reference),
    ];
    let world = Pair::create(label, SCHEMA, &placed, "");
    let rows: Vec<String> = IDS.map(|id| format!("({id}, 'item {id}', {})", id % 3)).collect();
    let notes: Vec<String> = IDS.map(|id| format!("({id}, 'note {id}')")).collect();
    let parts: Vec<String> = IDS.map(|id| format!("({id}, {})", 1 + id % 2)).collect();
    world.fill(&[
        &format!("INSERT INTO items (id, name, n) VALUES {}", rows.join(", ")),
        &format!("INSERT INTO notes VALUES {}", notes.join(", ")),
        &format!("INSERT INTO parts VALUES {}", parts.join(", ")),
        "INSERT INTO places VALUES ('a', 'A')",
        "INSERT INTO plain VALUES (1, 'one')",
    ]);
    let of = |sql: &str| (0..support::SHARDS).map(|shard| world.db.shard(shard).value(sql)).collect::<Vec<_>>();
    for sql in [
        "SELECT 'items'::regclass::oid",
        "SELECT attnum FROM pg_attribute WHERE attrelid = 'items'::regclass AND attname = 'n'",
    ] {
        let numbers = of(sql);
        assert!(numbers.iter().any(|number| *number != numbers[0]), "{sql}: {numbers:?}");
    }
    world
}

/// Of each column that was described its name, and the names of the table and the column that it is of; numbers as `asked` knows them.
fn origins(messages: &[Message], asked: &mut Raw) -> Vec<[String; 3]> {
    let described = messages.iter().filter(|message| message.tag == b'T');
    let columns = described.flat_map(|message| message.columns().into_iter().zip(message.origins()));
    let of = |(column, (table, number)): (Column, (u32, i16))| {
        let of = match table {
            0 => "none".to_owned(),
            table => asked.values(&format!("SELECT relname FROM pg_class WHERE oid = {table}")).concat(),
        };
        let sql = format!("SELECT attname FROM pg_attribute WHERE attrelid = {table} AND attnum = {number}");
        [column.name, of, asked.values(&sql).concat()]
    };
    columns.map(of).collect()
}

fn ask(raw: &mut Raw, bytes: &[u8]) -> Vec<Message> {
    raw.send(bytes).unwrap();
    raw.read_to_ready().unwrap()
}

const STATEMENTS: &[&str] = &[
    "SELECT * FROM items WHERE id = $1",
    "SELECT n, name AS called, id + 1 AS more, ctid FROM items WHERE id = $1",
    "SELECT i.name, m.body, i.id FROM items i JOIN notes m ON m.item = i.id WHERE i.id = $1",
    "SELECT * FROM seen WHERE id = $1",
    "SELECT x.* FROM (SELECT n, upper(name) AS name, id FROM items) x WHERE x.id = $1",
    "WITH x AS (SELECT n, id FROM items WHERE id = $1) SELECT * FROM x",
    "SELECT i.n, p.title FROM items i CROSS JOIN places p WHERE i.id = $1",
    "SELECT items FROM items WHERE id = $1",
    "SELECT parts.*, tableoid::regclass FROM parts WHERE id = $1",
    "SELECT n FROM items WHERE id = $1 UNION ALL SELECT n FROM items WHERE id = $1",
    "UPDATE items SET n = n WHERE id = $1 RETURNING n, id, name || 'x' AS x",
    "DELETE FROM items WHERE id = $1 AND n > 9 RETURNING *",
    "INSERT INTO notes SELECT id, name FROM items WHERE id = $1 AND n > 9 RETURNING body, item",
    "SELECT * FROM items WHERE id >= $1 AND id <= 8 ORDER BY id",
    "SELECT n, name FROM items WHERE id > $1",
    "SELECT n, count(*), min(name) FROM items WHERE id > $1 GROUP BY n ORDER BY n",
    "SELECT DISTINCT n FROM items WHERE id > $1 ORDER BY n LIMIT 2",
    "SELECT n, name, rank() OVER (ORDER BY n, id) FROM items WHERE id > $1",
    "SELECT a.name, b.id FROM items a JOIN items b ON b.id = a.n WHERE a.id > $1",
    "SELECT i.name, p.body FROM items i JOIN plain p ON p.id = i.n WHERE i.id > $1",
    "SELECT number FROM seen WHERE id > $1 ORDER BY number",
    "UPDATE items SET n = n WHERE id > $1 RETURNING name, n",
    "SELECT * FROM places WHERE length(code) < $1",
    "SELECT * FROM plain WHERE id = $1",
    "SELECT relname, oid AS number FROM pg_class WHERE oid = $1",
];

/// Everything that describes a statement, or the rows of one.
fn told(mut raw: Raw, mut asked: Raw) -> Vec<(String, Vec<[String; 3]>)> {
    let mut all = Vec::new();
    let mut note = |what: String, raw: &mut Raw, bytes: &[u8]| {
        let messages = ask(raw, bytes);
        all.push((what, origins(&messages, &mut asked)));
    };
    for sql in STATEMENTS {
        for id in IDS {
            let query = sql.replace("$1", &id.to_string());
            note(format!("simple: {query}"), &mut raw, &m::query(&query));
            let bind = m::bind("", "", &[Value::text(&id.to_string())], &[]);
            let whole = [m::parse("", sql, &[23]), bind.clone(), m::describe(b'P', ""), m::execute("", 0), m::sync()];
            note(format!("portal: {query}"), &mut raw, &whole.concat());
            let statement = [m::parse("", sql, &[23]), m::describe(b'S', ""), bind, m::execute("", 0), m::sync()];
            note(format!("statement: {query}"), &mut raw, &statement.concat());
        }
        note(
            format!("described: {sql}"),
            &mut raw,
            &[m::parse("s", sql, &[23]), m::describe(b'S', "s"), m::sync()].concat(),
        );
        ask(&mut raw, &[m::close(b'S', "s"), m::sync()].concat());
        // Statements and cursors of SQL, and portals that SQL fetches from.
        raw.must(&format!("PREPARE q (int) AS {sql}"));
        for id in IDS {
            note(format!("EXECUTE q ({id}): {sql}"), &mut raw, &m::query(&format!("EXECUTE q ({id})")));
        }
        raw.must("DEALLOCATE q");
        if !sql.starts_with("SELECT") && !sql.starts_with("WITH") {
            continue;
        }
        for id in [1, 2, 3, 4] {
            let query = sql.replace("$1", &id.to_string());
            for then in [
                "BEGIN".to_owned(),
                format!("DECLARE c CURSOR FOR {query}"),
                "FETCH 1 FROM c".to_owned(),
                "FETCH 0 FROM c".to_owned(),
            ] {
                note(format!("{then}: {query}"), &mut raw, &m::query(&then));
            }
            let fetch = [m::parse("", "FETCH 1 FROM c", &[]), m::describe(b'S', ""), m::describe(b'P', "c"), m::sync()];
            note(format!("FETCH: {query}"), &mut raw, &fetch.concat());
            let portal = [m::parse("", &query, &[]), m::bind("p", "", &[], &[]), m::execute("p", 1), m::sync()];
            ask(&mut raw, &portal.concat());
            note(format!("FETCH 1 FROM p: {query}"), &mut raw, &m::query("FETCH 1 FROM p"));
            ask(&mut raw, &m::query("ROLLBACK"));
        }
    }
    all
}

#[test]
fn columns_are_told_as_of_the_home_shard() {
    let world = world("tablenumbers");
    let (theirs, ours) = (told(world.db.oracle(), world.db.oracle()), told(world.through(), world.through()));
    let mut different = Vec::new();
    for ((what, theirs), (_, ours)) in theirs.iter().zip(&ours) {
        if theirs != ours {
            different.push(format!("{what}\n   {theirs:?}\n   {ours:?}"));
        }
    }
    assert!(theirs.iter().filter(|(_, of)| !of.is_empty()).count() > 200);
    assert!(different.is_empty(), "{} of {}\n{}", different.len(), theirs.len(), different.join("\n"));
}

/// The type of a row is told with the number that the home shard has, too.
#[test]
fn row_types_are_told_as_of_the_home_shard() {
    let world = world("tablenumbersr");
    let mut raw = world.through();
    let known = raw.value("SELECT reltype FROM pg_class WHERE relname = 'items'");
    for id in IDS {
        let answer = ask(&mut raw, &m::query(&format!("SELECT items FROM items WHERE id = {id}")));
        let body = &answer.iter().find(|message| message.tag == b'T').unwrap().body;
        let end = 2 + body[2..].iter().position(|byte| *byte == 0).unwrap();
        assert_eq!(u32::from_be_bytes(body[end + 7..end + 11].try_into().unwrap()).to_string(), known);
    }
}

#[test]
fn values_are_no_other_shards_numbers() {
    let world = world("tablenumbersv");
    let (mut oracle, mut raw) = (world.db.oracle(), world.through());
    // Names are the same everywhere.
    for sql in [
        "SELECT id, tableoid::regclass FROM items WHERE id = $1",
        "SELECT id, (tableoid::regclass)::text AS t FROM parts WHERE id = $1",
        "SELECT id FROM parts WHERE id = $1 AND tableoid = 'parts_1'::regclass",
        "SELECT id FROM parts WHERE id = $1 AND tableoid IN ('parts_2'::regclass, 'items'::regclass)",
        "SELECT id FROM parts WHERE id = $1 AND tableoid::regclass <> 'parts_2'",
        "SELECT id, 'items'::regclass, to_regclass('nothing') IS NULL AS gone FROM items WHERE id = $1",
        "SELECT id, 'items'::regclass || '!' AS t FROM items WHERE id = $1",
        "UPDATE items SET n = n WHERE id = $1 RETURNING tableoid::regclass",
        "SELECT pg_typeof(n), pg_typeof(items) FROM items WHERE id = $1",
        "SELECT tableoid::regclass, code FROM places WHERE length(code) <= $1",
    ] {
        for id in IDS {
            let id = [Value::text(&id.to_string())];
            let (theirs, ours) = (oracle.extended(sql, &[23], &id, 0), raw.extended(sql, &[23], &id, 0));
            assert_eq!(ours.text(), theirs.text(), "{sql}");
            assert_eq!(ours.answers, theirs.answers, "{sql}");
        }
    }
    // Numbers are those of the home shard, or refused.
    let known = |name: &str| world.db.shard(0).value(&format!("SELECT '{name}'::regclass::oid"));
    let (items, plain) = (known("items"), known("plain"));
    let (mut given, mut refused) = (0, 0);
    for (sql, wanted) in [
        ("SELECT tableoid FROM items WHERE id = $1", &items),
        ("SELECT i.tableoid::int8 FROM items i WHERE id = $1", &items),
        ("SELECT max(tableoid) FROM items WHERE id = $1", &items),
        ("SELECT max(tableoid::regclass) FROM items WHERE id = $1", &items),
        ("SELECT 'plain'::regclass::oid FROM items WHERE id = $1", &plain),
        ("SELECT CAST(to_regclass('plain') AS int) FROM items WHERE id = $1", &plain),
        ("SELECT regclass 'plain'::bigint FROM items WHERE id = $1", &plain),
        ("UPDATE items SET n = n WHERE id = $1 RETURNING tableoid", &items),
        ("SELECT x.tableoid FROM (SELECT tableoid, id FROM items) x WHERE x.id = $1", &items),
        ("SELECT tableoid FROM places WHERE length(code) < $1 + 1", &known("places")),
        ("SELECT CASE WHEN tableoid > 1 THEN tableoid END FROM items WHERE id = $1", &items),
        ("SELECT tableoid::regclass FROM items WHERE id = $1 ORDER BY tableoid", &"items".to_owned()),
    ] {
        for (id, format) in IDS.zip([0, 1].into_iter().cycle()) {
            let ours =
                raw.extended(sql, &[23], &[Value::text(&id.to_string())], format.min(i16::from(wanted != "items")));
            if ours.code() == "0A000" {
                refused += 1;
                assert!(!sql.contains("places"), "{sql}: {}", ours.text());
                continue;
            }
            given += 1;
            let cell = ours.answers[0].rows[0][0].clone().unwrap();
            let number = match cell.len() {
                4 if format == 1 => u32::from_be_bytes(cell[..].try_into().unwrap()).to_string(),
                8 if format == 1 => i64::from_be_bytes(cell[..].try_into().unwrap()).to_string(),
                _ => String::from_utf8_lossy(&cell).into_owned(),
            };
            assert_eq!(number, *wanted, "{sql} with {id}");
        }
    }
    assert!(given > 10 && refused > 10, "{given} {refused}");
    // A number that the client knows is the home shard's.
    let sql = format!("SELECT id FROM items WHERE id = $1 AND tableoid = {items}");
    for id in IDS {
        let ours = raw.extended(&sql, &[23], &[Value::text(&id.to_string())], 0);
        assert!(ours.code() == "0A000" || ours.text() == id.to_string(), "{}", ours.text());
    }
    // In binary a name is a number.
    for sql in
        ["SELECT tableoid::regclass FROM items WHERE id = $1", "SELECT 'items'::regclass FROM items WHERE id = $1"]
    {
        for id in IDS {
            let ours = raw.extended(sql, &[23], &[Value::text(&id.to_string())], 1);
            let cell = || u32::from_be_bytes(ours.answers[0].rows[0][0].as_deref().unwrap().try_into().unwrap());
            assert!(ours.code() == "0A000" || cell().to_string() == items, "{sql}: {}", ours.text());
        }
    }
    // What is stored would be another number in each copy.
    for sql in [
        "INSERT INTO items VALUES (901, 'x', 'plain'::regclass::int)",
        "INSERT INTO items VALUES (901, 'x', 'plain'::regclass::int), (902, 'x', 2), (903, 'x', 2), (904, 'x', 2), (905, 'x', 2)",
        "INSERT INTO places VALUES ('r', 'plain'::regclass::oid::text)",
        "UPDATE places SET title = tableoid::text",
        "UPDATE items SET n = 'plain'::regclass::int",
    ] {
        let ours = raw.simple(sql);
        if ours.code() != "0A000" {
            assert_eq!(ours.code(), "00000", "{sql}");
            let stored = raw.values("SELECT n FROM items WHERE id > 900 AND name = 'x' ORDER BY id LIMIT 1").concat();
            assert!(stored.is_empty() || stored == plain, "{sql} stored {stored}");
            for shard in 0..support::SHARDS {
                let title = world.db.shard(shard).values("SELECT title FROM places WHERE code = 'r'").concat();
                assert!(title.is_empty() || title == plain, "{sql} stored {title} on {shard}");
            }
        }
    }
}

/// A number that a client says is one of the home shard's, and what stands for a name is told by its number there or not at all.
#[test]
fn numbers_that_are_said_are_those_of_the_home_shard() {
    let schema = format!(
        "{SCHEMA}; CREATE TYPE mood AS ENUM ('sad', 'glad'); CREATE FUNCTION twice(n int) RETURNS int IMMUTABLE RETURN 2 * n; \
         CREATE TABLE kept (id int PRIMARY KEY, what regclass, number oid, word text, kind regtype[])"
    );
    let placed = [
        ("items", Placed::By("id")),
        ("notes", Placed::By("item")),
        ("places", Placed::Reference),
        ("kept", Placed::By("id")),
    ];
    let world = Pair::create("tablenumberss", &schema, &placed, "");
    let rows: Vec<String> = IDS.map(|id| format!("({id}, 'item {id}', {})", id % 3)).collect();
    world.fill(&[
        &format!("INSERT INTO items (id, name, n) VALUES {}", rows.join(", ")),
        "INSERT INTO places VALUES ('a', 'A')",
        "INSERT INTO plain VALUES (1, 'one')",
    ]);
    let (mut raw, mut home) = (world.through(), world.db.shard(0));
    let of_home = |sql: &str| world.db.shard(0).value(sql);
    let plain = of_home("SELECT 'plain'::regclass::oid");
    let (mood, twice) = (of_home("SELECT 'mood'::regtype::oid"), of_home("SELECT 'twice'::regproc::oid"));
    for id in IDS {
        raw.must(&format!(
            "INSERT INTO kept VALUES ({id}, 'plain', {plain}, '{plain}', ARRAY['mood', 'plain']::regtype[])"
        ));
    }
    let (mut given, mut refused, mut wrong) = (0, 0, Vec::new());
    for sql in [
        "SELECT <plain>::regclass FROM items WHERE id = $1",
        "SELECT '<plain>'::regclass FROM items WHERE id = $1",
        "SELECT regclass '<plain>' FROM items WHERE id = $1",
        "SELECT regclass(<plain>) FROM items WHERE id = $1",
        "SELECT CAST(<plain>::oid AS regclass)::text FROM items WHERE id = $1",
        "SELECT ARRAY[<plain>]::regclass[] FROM items WHERE id = $1",
        "SELECT '{<plain>}'::regclass[] FROM items WHERE id = $1",
        "SELECT <mood>::regtype FROM items WHERE id = $1",
        "SELECT format_type(<mood>, NULL) FROM items WHERE id = $1",
        "SELECT pg_typeof('sad'::mood)::oid FROM items WHERE id = $1",
        "SELECT oid(pg_typeof('sad'::mood)) FROM items WHERE id = $1",
        "SELECT <twice>::regproc, <twice>::regprocedure FROM items WHERE id = $1",
        "SELECT to_regtype('mood')::oid FROM items WHERE id = $1",
        "SELECT x.t::oid FROM (SELECT 'plain'::regclass AS t, id FROM items) x WHERE x.id = $1",
        "WITH x AS (SELECT 'plain'::regclass AS t, id FROM items WHERE id = $1) SELECT t::int FROM x",
        "SELECT coalesce('plain'::regclass, 0::oid) FROM items WHERE id = $1",
        "SELECT CASE WHEN id > 0 THEN 'plain'::regclass ELSE 1::oid END FROM items WHERE id = $1",
        "SELECT (ARRAY['plain'::regclass])[1]::oid FROM items WHERE id = $1",
        "SELECT ARRAY['plain'::regclass]::oid[] FROM items WHERE id = $1",
        "SELECT ARRAY['plain'::regclass, 1::oid] FROM items WHERE id = $1",
        "SELECT 'plain'::regclass FROM items WHERE id = $1 UNION ALL SELECT 1::oid FROM items WHERE id = 0",
        "SELECT id FROM items WHERE id = $1 AND <plain> = ANY (ARRAY['plain'::regclass])",
        "SELECT id FROM items WHERE id = $1 AND 'plain'::regclass = ANY (ARRAY[<plain>]::oid[])",
        "SELECT id FROM items WHERE id = $1 AND CASE 'plain'::regclass WHEN <plain> THEN true END",
        "SELECT id FROM items WHERE id = $1 AND ('plain'::regclass, 1) = (<plain>, 1)",
        "SELECT nullif('plain'::regclass, <plain>) IS NULL FROM items WHERE id = $1",
        "SELECT id FROM items WHERE id = $1 AND 'plain'::regclass BETWEEN <plain> AND <plain>",
        "SELECT string_agg(t::text, ',' ORDER BY t) FROM (SELECT unnest('{items,plain,kept,notes}'::regclass[]) AS t, id FROM items) x WHERE id = $1",
        "SELECT t::text FROM (SELECT unnest('{items,plain,kept,notes}'::regclass[]) AS t, id FROM items) x WHERE id = $1 ORDER BY t",
        "SELECT what, number::regclass, kind FROM kept WHERE id = $1",
        "SELECT what::oid FROM kept WHERE id = $1",
        "SELECT word::regclass FROM kept WHERE id = $1",
        "SELECT max(what) FROM kept WHERE id = $1",
        "SELECT id FROM kept WHERE id = $1 AND what = <plain>",
        "SELECT id FROM kept WHERE id = $1 AND what = number",
        "SELECT id FROM kept WHERE id = $1 AND what = 'plain'::regclass",
        "SELECT k.what::oid FROM kept k WHERE k.id = $1",
        "SELECT (k).what::oid FROM kept k WHERE k.id = $1",
        "SELECT to_jsonb(what), what || '!', concat(what, kind), ROW(what) FROM kept WHERE id = $1",
        "SELECT array_agg(what) FROM kept WHERE id = $1",
        "SELECT count(what), bool_and(what IS NOT NULL) FROM kept WHERE id = $1",
        "SELECT pg_get_userbyid(10) IS NOT NULL, 23::regtype, format_type(23, NULL) FROM items WHERE id = $1",
        "SELECT obj_description(<plain>, 'pg_class') IS NULL FROM items WHERE id = $1",
        "SELECT has_table_privilege(<plain>, 'SELECT') FROM items WHERE id = $1",
        "SELECT has_table_privilege('plain', 'SELECT'), pg_table_is_visible('plain'::regclass) FROM items WHERE id = $1",
        // Over all shards.
        "SELECT DISTINCT <plain>::regclass FROM items WHERE id < $1 + 100",
        "SELECT DISTINCT what FROM kept WHERE id < $1 + 100",
        "SELECT DISTINCT kind FROM kept WHERE id < $1 + 100",
        "SELECT DISTINCT what::oid FROM kept WHERE id < $1 + 100",
        "SELECT DISTINCT format_type(<mood>, NULL) FROM items WHERE id < $1 + 100",
        "SELECT DISTINCT format_type(<mood>, NULL), rank() OVER (PARTITION BY id) FROM items WHERE id < $1 + 100",
        "SELECT count(DISTINCT what), count(DISTINCT pg_typeof(kind)) FROM kept WHERE id < $1 + 100",
        "SELECT what, count(*) FROM kept WHERE id < $1 + 100 GROUP BY what",
        "SELECT max(what::text), max(kind::text) FROM (SELECT what, kind, row_number() OVER (ORDER BY id) AS r FROM kept) x WHERE r < $1 + 100",
        "SELECT mode() WITHIN GROUP (ORDER BY what)::oid FROM kept WHERE id < $1 + 100",
        "SELECT mode() WITHIN GROUP (ORDER BY what), mode() WITHIN GROUP (ORDER BY kind) FROM kept WHERE id < $1 + 100",
        "SELECT DISTINCT ON (k.what) k.what, k.kind FROM kept k JOIN items i ON i.n = k.id - $1",
        "SELECT k.what, k.number::regclass, p.body FROM kept k JOIN plain p ON p.id = k.id WHERE k.id < 2 OR k.id = $1 + 100",
        "SELECT count(*) FROM kept k JOIN plain p ON p.id = k.id AND k.what = 'plain'::regclass WHERE $1 > 0",
        "SELECT count(*) FROM kept k JOIN plain p ON p.id = k.id AND k.what::oid = <plain> WHERE $1 > 0",
        "SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY <plain>::regclass::text) FROM items WHERE id < $1 + 100",
    ] {
        let sql = sql.replace("<plain>", &plain).replace("<mood>", &mood).replace("<twice>", &twice);
        // The home shard has no rows of the others, but what does not hang on them is the same: one row is made for it.
        for (id, format) in IDS.zip([0, 1].into_iter().cycle()) {
            let value = [Value::text(&id.to_string())];
            let ours = raw.extended(&sql, &[23], &value, format);
            if ours.code() == "0A000" {
                println!("refused with {id}: {sql}");
                refused += 1;
                continue;
            }
            given += 1;
            home.must("BEGIN");
            home.must("TRUNCATE items, kept");
            home.must(&format!("INSERT INTO items (id, name, n) VALUES {}", rows.join(", ")));
            home.must(&format!(
                "INSERT INTO kept SELECT id, 'plain', {plain}, '{plain}', ARRAY['mood', 'plain']::regtype[] FROM items"
            ));
            let theirs = home.extended(&sql, &[23], &value, format);
            home.must("ROLLBACK");
            assert_ne!(theirs.code(), "42601", "{sql}");
            if ours.text() != theirs.text() {
                wrong.push(format!("{sql} with {id} ({format})\n   {}\n   {}", theirs.text(), ours.text()));
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong\n{}", wrong.len(), wrong.join("\n"));
    assert!(given > 100 && refused > 100, "{given} {refused}");
    // Nothing of the client's has the name that a column without one gets.
    for (given, name) in [("'plain'", "column 2 of the query"), ("'plain' AS rel", "rel")] {
        let error =
            raw.simple(&format!("INSERT INTO kept (id, what) SELECT id + 900, {given} FROM items")).error.unwrap();
        let expected = ("0A000", format!("{name} is not supported on this shard"));
        assert_eq!((error.code(), error.message().to_owned()), expected);
    }
    // What is stored is what the client has said.
    for sql in [
        "INSERT INTO kept (id, number) VALUES (<id>, 'plain'::regclass)",
        "INSERT INTO kept (id, number) VALUES (<id>, 'plain'::regclass), (<id> + 1, 'plain'::regclass), (<id> + 2, 'plain'::regclass)",
        "INSERT INTO kept (id, what) VALUES (<id>, <plain>)",
        "INSERT INTO kept (id, what) VALUES (<id>, '<plain>')",
        "INSERT INTO kept (id, what) SELECT <id>, '<plain>'",
        "INSERT INTO kept (id, number) SELECT <id>, 'plain'::regclass FROM items WHERE id = 3",
        "INSERT INTO kept (id, what) SELECT <id>, what FROM kept ORDER BY id LIMIT 1",
        "INSERT INTO kept (id, what) SELECT <id> + id, what FROM kept WHERE id < 9",
        "INSERT INTO kept (id, number) VALUES (2, 1) ON CONFLICT (id) DO UPDATE SET number = kept.tableoid",
        "INSERT INTO kept (id, number) VALUES (1, 1) ON CONFLICT (id) DO UPDATE SET number = kept.what",
        "UPDATE kept SET number = what WHERE id = <id> % 8 + 1",
        "UPDATE kept SET number = 'plain'::regclass WHERE id = <id> % 8 + 1",
        "UPDATE kept SET what = <plain> WHERE id = <id> % 8 + 1",
        "UPDATE kept SET what = '<plain>' WHERE id = <id> % 8 + 1",
        "UPDATE kept SET what = number WHERE id = <id> % 8 + 1",
        "UPDATE kept SET id = <id> WHERE id = 8",
        "UPDATE kept SET id = 8 WHERE id = <id>",
    ] {
        for at in IDS {
            let id = (100 + at).to_string();
            let sql = sql.replace("<plain>", &plain).replace("<id>", &id);
            let ours = raw.simple(&sql);
            assert!(["0A000", ""].contains(&ours.code()), "{sql}: {}", ours.text());
            let stored = raw.values("SELECT DISTINCT what::text FROM kept WHERE what IS NOT NULL");
            assert_eq!(stored, ["plain"], "{sql} ({})", ours.code());
            let stored = raw.values("SELECT DISTINCT number FROM kept WHERE number IS NOT NULL AND number <> 1");
            assert_eq!(stored, [&*plain], "{sql} ({})", ours.code());
            raw.must("DELETE FROM kept WHERE id > 20");
        }
    }
}

/// What the home shard alone has is found by its name, or the statement is refused: no shard says that there is no such thing.
#[test]
fn names_are_looked_up_as_on_the_home_shard() {
    let world = world("tablenumbersl");
    // The router looks at what there is with its next definition.
    for mut server in [world.db.oracle(), world.db.shard(0)] {
        server.must("CREATE TYPE shy AS ENUM ('a', 'b')");
    }
    world.fill(&[
        "CREATE TABLE alone (id int PRIMARY KEY, body text)",
        "CREATE VIEW looked AS SELECT id FROM alone",
        "CREATE SEQUENCE counted",
    ]);
    assert_eq!(world.db.shard(1).value("SELECT to_regclass('alone') IS NULL"), "t");
    let (mut oracle, mut raw) = (world.db.oracle(), world.through());
    let (mut given, mut refused) = (0, 0);
    for sql in [
        "SELECT to_regclass('alone') FROM items WHERE id = $1",
        "SELECT to_regclass('public.alone') IS NULL FROM items WHERE id = $1",
        "SELECT to_regclass('alone_pkey') FROM items WHERE id = $1",
        "SELECT 'alone'::regclass FROM items WHERE id = $1",
        "SELECT regclass 'looked' FROM items WHERE id = $1",
        "SELECT CAST('counted' AS regclass)::text FROM items WHERE id = $1",
        "SELECT '{alone,items}'::regclass[] FROM items WHERE id = $1",
        "SELECT ARRAY['alone', 'items']::regclass[] FROM items WHERE id = $1",
        "SELECT to_regtype('alone[]') FROM items WHERE id = $1",
        "SELECT to_regtype('shy') FROM items WHERE id = $1",
        "SELECT ('a'::shy)::text FROM items WHERE id = $1",
        "SELECT id FROM items WHERE id = $1 AND 'b'::public.shy > 'a'",
        "SELECT id, rank() OVER (ORDER BY id) FROM items WHERE 'b'::shy > 'a' AND id > $1 ORDER BY id",
        "SELECT has_table_privilege('alone', 'SELECT') FROM items WHERE id = $1",
        "SELECT id FROM items WHERE id = $1 AND tableoid::regclass <> 'alone'",
        "SELECT coalesce(to_regclass('alone'), to_regclass('items')) FROM items WHERE id = $1",
        "SELECT id FROM items WHERE id >= $1 AND to_regclass('alone') IS NOT NULL ORDER BY id",
        "SELECT count(*) FROM items WHERE id <> $1 AND to_regclass('alone') IS NULL",
        "SELECT count(*), to_regclass('alone') FROM items WHERE id <> $1",
        "SELECT id, rank() OVER (ORDER BY id) FROM items WHERE id > $1 AND to_regclass('alone') IS NULL",
        "UPDATE items SET name = to_regclass('alone')::text WHERE id = $1 RETURNING name",
        "INSERT INTO notes VALUES ($1, to_regclass('alone')::text) RETURNING body",
        "UPDATE places SET title = to_regclass('alone')::text WHERE length(code) < $1 RETURNING title",
        // What every shard has by the configuration is found anywhere, as is what none has.
        "SELECT to_regclass('items'), 'places'::regclass, to_regclass('nothing') FROM items WHERE id = $1",
        "SELECT to_regclass('items_pkey') FROM items WHERE id = $1",
        "SELECT to_regtype('int4'), to_regclass('pg_class'), to_regclass('parts_1') FROM items WHERE id = $1",
        "SELECT count(*) FROM items WHERE id <> $1 AND to_regclass('items') IS NULL",
        // Nothing but the name.
        "SELECT to_regclass('alone') WHERE $1 > 0",
    ] {
        let anywhere = ["items_pkey", "'nothing'", "'pg_class'"].iter().any(|of| sql.contains(of));
        for id in IDS {
            let value = [Value::text(&id.to_string())];
            let (theirs, ours) = (oracle.extended(sql, &[23], &value, 0), raw.extended(sql, &[23], &value, 0));
            if ours.code() == "0A000" {
                assert!(!anywhere && !sql.starts_with("SELECT to_regclass('alone') WHERE"), "{sql}: {}", ours.text());
                refused += 1;
            } else {
                assert_eq!(ours.text(), theirs.text(), "{sql} with {id}");
                assert_eq!(ours.answers, theirs.answers, "{sql} with {id}");
                given += 1;
            }
        }
    }
    assert!(given > 50 && refused > 50, "{given} {refused}");
    // Wherever the block has been.
    for id in IDS {
        for sql in [
            "BEGIN",
            &format!("UPDATE items SET n = n WHERE id = {id}"),
            "SELECT to_regclass('alone'), to_regclass('looked')",
            "CREATE TABLE alone_too (id int)",
            "SELECT to_regclass('alone_too')",
            "ROLLBACK",
            "SELECT to_regclass('alone_too') IS NULL",
        ] {
            let (theirs, ours) = (oracle.simple(sql), raw.simple(sql));
            assert_eq!((ours.code(), ours.text()), (theirs.code(), theirs.text()), "{sql} behind item {id}");
        }
    }
}

/// Numbers that are stored are those of the home shard, however the statement stores them.
#[test]
fn numbers_are_stored_as_the_home_shard_has_them() {
    let world = world("tablenumbersd");
    world.fill(&["ALTER TABLE items ADD number oid, ADD what regclass"]);
    let plain = world.db.shard(0).value("SELECT 'plain'::regclass::oid");
    let mut raw = world.through();
    for sql in [
        "UPDATE items SET (number, name) = ('plain'::regclass, 'x') WHERE id = <id>",
        "UPDATE items SET (number, name) = ROW('plain'::regclass, 'x') WHERE id = <id>",
        "UPDATE items SET (number, name) = (SELECT 'plain'::regclass, 'x') WHERE id = <id>",
        "UPDATE items SET number = (SELECT 'plain'::regclass) WHERE id = <id>",
        "UPDATE items SET (what, name) = (<plain>, 'x') WHERE id = <id>",
        "UPDATE items SET (what, name) = ('plain', 'x') WHERE id = <id>",
        "UPDATE items SET (name, what) = (SELECT 'x', <plain>) WHERE id = <id>",
        "MERGE INTO items USING (VALUES (<id>)) v (k) ON id = k WHEN MATCHED THEN UPDATE SET number = 'plain'::regclass",
        "MERGE INTO items USING (VALUES (<id> + 100)) v (k) ON id = k WHEN NOT MATCHED THEN INSERT (id, number) VALUES (k, 'plain'::regclass)",
        "MERGE INTO items USING (VALUES (<id> + 100)) v (k) ON id = k WHEN NOT MATCHED THEN INSERT (id, what) VALUES (k, <plain>)",
        "MERGE INTO items USING (VALUES (<id> + 100)) v (k) ON id = k WHEN NOT MATCHED THEN INSERT (id, what) VALUES (k, 'plain')",
        "MERGE INTO items USING (VALUES (<id> + 100)) v (k) ON id = k WHEN NOT MATCHED THEN INSERT VALUES (k, 'x', 1, 'plain'::regclass)",
        "UPDATE items SET name = (SELECT lag('items'::regclass, 1, <plain>) OVER ())::text WHERE id = <id>",
    ] {
        let mut done = 0;
        for id in IDS {
            let sql = sql.replace("<plain>", &plain).replace("<id>", &id.to_string());
            let ours = raw.simple(&sql);
            assert!(["0A000", ""].contains(&ours.code()), "{sql}: {}", ours.text());
            done += i32::from(ours.code().is_empty());
            let stored = raw.values("SELECT DISTINCT number FROM items WHERE number IS NOT NULL");
            assert!(stored.is_empty() || stored == [&*plain], "{sql} stored {stored:?} ({})", ours.code());
            let stored = raw.values("SELECT DISTINCT what::text FROM items WHERE what IS NOT NULL");
            assert!(stored.is_empty() || stored == ["plain"], "{sql} stored {stored:?} ({})", ours.code());
            let stored = raw.values("SELECT DISTINCT name FROM items WHERE name NOT LIKE 'item%' AND name <> 'x'");
            assert!(stored.is_empty() || stored == ["plain"], "{sql} stored {stored:?} ({})", ours.code());
            raw.must("DELETE FROM items WHERE id > 20");
            raw.must("UPDATE items SET number = NULL, what = NULL, name = 'item'");
        }
        // Where rows are put together first no shard can give a number.
        let is_number = sql.starts_with("MERGE") && sql.contains("number");
        assert!(done > 0 || is_number || !sql.contains("'plain'"), "{sql} is never done");
    }
    // A default is such a value too.
    raw.must("ALTER TABLE items ALTER number SET DEFAULT 'plain'::regclass, ALTER what SET DEFAULT 'plain'::regclass");
    for id in 201..=208 {
        let ours = raw.simple(&format!("INSERT INTO items (id) VALUES ({id})"));
        assert_eq!(ours.code(), "0A000", "{}", ours.text());
        raw.must(&format!("INSERT INTO items (id, number) VALUES ({id}, 1)"));
    }
    assert_eq!(raw.values("SELECT DISTINCT what FROM items WHERE id > 200"), ["plain"]);
}

/// Binary values are the home shard's, or refused, on whatever level there is a number in them.
#[test]
fn numbers_deep_inside_are_found() {
    let schema = "DO $$ BEGIN FOR i IN 1..current_setting('port')::int % 13 LOOP CREATE TABLE pad (a int); DROP TABLE pad; END LOOP; END $$; \
         CREATE TABLE items (id int PRIMARY KEY); CREATE TYPE one AS (what regclass, n int); CREATE TYPE two AS (one one, n int); \
         CREATE DOMAIN ones AS one[]; CREATE DOMAIN two_more AS two; CREATE TYPE plain_one AS (a int, b text); CREATE DOMAIN plains AS plain_one; \
         CREATE TABLE deep (id int PRIMARY KEY, a two, b ones, c two_more, d two[], e plain_one, f plains)";
    let world = Pair::create("tablenumbersi", schema, &[("items", Placed::By("id")), ("deep", Placed::By("id"))], "");
    for id in IDS {
        world.fill(&[&format!(
            "INSERT INTO deep VALUES ({id}, ROW(ROW('items', 1), 2), ARRAY[ROW('items', 1)]::one[], ROW(ROW('items', 1), 2), \
             ARRAY[ROW(ROW('items', 1), 2)]::two[], ROW(1, 'x'), ROW(1, 'x'))"
        )]);
    }
    let (mut raw, mut home) = (world.through(), world.db.shard(0));
    let (mut given, mut refused) = (0, 0);
    for column in ["a", "b", "c", "d", "e", "f", "ROW(a)", "ROW(c, 1)", "'(items,1)'::one", "ARRAY[e]", "ROW(e)"] {
        let sql = format!("SELECT {column} FROM deep WHERE id = $1");
        // A row of the same values on the home shard.
        home.must("BEGIN; DELETE FROM deep");
        home.must(
            "INSERT INTO deep VALUES (1, ROW(ROW('items', 1), 2), ARRAY[ROW('items', 1)]::one[], ROW(ROW('items', 1), 2), \
             ARRAY[ROW(ROW('items', 1), 2)]::two[], ROW(1, 'x'), ROW(1, 'x'))",
        );
        let theirs = home.extended(&sql, &[23], &[Value::text("1")], 1).text();
        home.must("ROLLBACK");
        for id in IDS {
            let ours = raw.extended(&sql, &[23], &[Value::text(&id.to_string())], 1);
            match ours.code() {
                "0A000" => refused += 1,
                _ => {
                    assert_eq!(ours.text(), theirs, "{sql} with {id}");
                    given += 1;
                }
            }
            let text = raw.extended(&sql, &[23], &[Value::text(&id.to_string())], 0);
            assert_eq!(text.code(), "", "{sql}: {}", text.text());
        }
        if matches!(column, "e" | "f") {
            assert_eq!(
                raw.extended(&format!("SELECT {column} FROM deep WHERE id > $1"), &[23], &[Value::text("1")], 1).code(),
                ""
            );
        }
    }
    assert!(given > 20 && refused > 20, "{given} {refused}");
}

/// What the transaction itself has made is told as well.
#[test]
fn definitions_of_the_transaction_are_known() {
    let world = world("tablenumberst");
    let steps = [
        "BEGIN",
        "ALTER TABLE items DROP COLUMN n",
        "ALTER TABLE items ADD COLUMN later int",
        "CREATE TABLE made (id int PRIMARY KEY, what text)",
        "SELECT * FROM items WHERE id = 2",
        "SELECT later, id FROM items WHERE id = 3",
        "SELECT later, id FROM items",
        "SELECT made.* FROM made",
        "SAVEPOINT a",
        "ALTER TABLE items RENAME COLUMN later TO last",
        "SELECT last, id FROM items WHERE id = 4",
        "ROLLBACK TO a",
        "SELECT later, id FROM items WHERE id = 4",
        "COMMIT",
        "SELECT later, id FROM items WHERE id = 5",
        "SELECT * FROM items",
        "ALTER TABLE items RENAME TO things",
        "ALTER TABLE things RENAME TO items",
        "SELECT * FROM items WHERE id = 6",
    ];
    let told = |mut raw: Raw, mut asked: Raw| {
        let mut described = Vec::new();
        for sql in steps {
            let messages = ask(&mut raw, &m::query(sql));
            // The catalog of the transaction is asked within it.
            described.push((sql, messages));
        }
        described.into_iter().map(|(sql, messages)| (sql, origins(&messages, &mut asked))).collect::<Vec<_>>()
    };
    let (theirs, ours) = (told(world.db.oracle(), world.db.oracle()), told(world.through(), world.db.shard(0)));
    for (theirs, ours) in theirs.iter().zip(&ours) {
        assert_eq!(ours, theirs);
    }
}

/// An array of rows has the number of their type inside, and so has a record with a row.
#[test]
fn rows_in_binary_are_what_they_are_or_refused() {
    let world = world("tablenumbersb");
    let (mut oracle, mut raw, mut home) = (world.db.oracle(), world.through(), world.db.shard(0));
    let known = raw.value("SELECT reltype FROM pg_class WHERE relname = 'items'").parse::<u32>().unwrap();
    let (mut refused, mut given) = (0, 0);
    for sql in [
        "SELECT array_agg(i) FROM items i WHERE id = $1",
        "SELECT array_agg(items.*) FROM items WHERE id = $1",
        "SELECT ROW(1, i) FROM items i WHERE id = $1",
        "SELECT ARRAY[ROW(1, i)] FROM items i WHERE id = $1",
        "SELECT ARRAY[ROW(1, 2)::places] FROM items i WHERE id = $1",
    ] {
        for id in IDS {
            let id = [Value::text(&id.to_string())];
            let ours = raw.extended(sql, &[23], &id, 1);
            match ours.code() {
                "0A000" => refused += 1,
                _ if ours.text() == home.extended(sql, &[23], &id, 1).text() => given += 1,
                // On the home shard alone the number is the home shard's.
                _ => {
                    let cell = ours.answers[0].rows[0][0].as_deref().unwrap();
                    assert!(cell.windows(4).any(|four| four == known.to_be_bytes()), "{sql}: {}", ours.text());
                    given += 1;
                }
            }
            assert_eq!(raw.extended(sql, &[23], &id, 0).text(), oracle.extended(sql, &[23], &id, 0).text(), "{sql}");
        }
    }
    assert!(refused > 10 && given > 0, "{refused} {given}");
    for sql in ["SELECT ROW(1, i) FROM items i WHERE id >= $1", "SELECT array_agg(i) FROM items i WHERE id >= $1"] {
        let ours = raw.extended(sql, &[23], &[Value::text("1")], 1);
        assert_eq!(ours.code(), "0A000", "{sql}: {}", ours.text());
    }
    // Rows with nothing of the kind inside are the same bytes everywhere.
    for sql in [
        "SELECT i FROM items i WHERE id = $1",
        "SELECT ROW(id, n) FROM items WHERE id = $1",
        "SELECT array_agg(ROW(id, name)) FROM items WHERE id = $1",
        "SELECT ROW(id, n) FROM items WHERE id >= $1 ORDER BY id",
    ] {
        for id in IDS {
            let id = [Value::text(&id.to_string())];
            let (theirs, ours) = (oracle.extended(sql, &[23], &id, 1), raw.extended(sql, &[23], &id, 1));
            assert_eq!(ours.answers, theirs.answers, "{sql}");
        }
    }
}

/// Types whose names begin as those of names do are no names of the catalog.
#[test]
fn types_of_users_are_called_as_they_like() {
    let schema = "CREATE TYPE region AS ENUM ('north', 'south'); CREATE DOMAIN registration AS text; \
         CREATE TABLE items (id int PRIMARY KEY, area region, plate registration)";
    let world = Pair::create("tablenumbersn", schema, &[("items", Placed::By("id"))], "");
    let rows: Vec<String> = IDS.map(|id| format!("({id}, 'north', 'p{id}')")).collect();
    world.fill(&[&format!("INSERT INTO items VALUES {}", rows.join(", "))]);
    let (mut oracle, mut raw) = (world.db.oracle(), world.through());
    for sql in [
        "SELECT id, plate FROM items WHERE id = $1 AND area = 'north'::region",
        "SELECT id FROM items WHERE id = $1 AND area IN ('north'::region, 'south'::region)",
        "SELECT id, max('a'::registration) FROM items WHERE id = $1 GROUP BY id",
        "SELECT id, area FROM items WHERE id >= $1 AND area = 'north'::region ORDER BY id",
        "UPDATE items SET plate = 'x' WHERE id = $1 AND plate <> 'p'::registration RETURNING id",
    ] {
        for id in IDS {
            let id = [Value::text(&id.to_string())];
            let (theirs, ours) = (oracle.extended(sql, &[23], &id, 0), raw.extended(sql, &[23], &id, 0));
            assert_eq!(ours.text(), theirs.text(), "{sql}");
        }
    }
}

//! Describe of statements and portals of every kind, before and after Bind, and results in text, binary, and each column its own format:
//! the same names, types and bytes as of one Postgres.

#![allow(clippy::unwrap_used)]

mod support;

use support::raw::{Raw, Value, message as m};
use support::script::Step::{Ready, Send};
use support::script::{Pair, Placed, Step, batch, play_on, text};

const SCHEMA: &str = "CREATE TYPE mood AS ENUM ('low', 'fair', 'high'); CREATE DOMAIN small AS int CHECK (VALUE < 1000); \
     CREATE TABLE items (id int PRIMARY KEY, name varchar(20) COLLATE \"C\", n int, amount numeric(10,2), weight float8, day date, \
       at timestamptz, tags text[], body jsonb, feeling mood, size small, code char(4) COLLATE \"C\", raw bytea, uid uuid); \
     CREATE TABLE places (code text PRIMARY KEY, title text); CREATE TABLE plain (id int PRIMARY KEY, body text); \
     CREATE VIEW seen AS SELECT id, n, amount FROM items";

fn world() -> Pair {
    let placed = [("items", Placed::By("id")), ("places", Placed::Reference)];
    let world = Pair::create("describe", SCHEMA, &placed, "");
    let rows: Vec<String> = (1..=24)
        .map(|i| {
            format!(
                "({i}, 'item {i}', {}, {i}.25, {}, '2024-01-01'::date + {i}, '2024-01-01 00:00+00'::timestamptz + '{i} h', \
                 ARRAY['a', 'x{}'], '{{\"k\": {}}}', 'fair', {i}, 'c{}', '\\x{i:02x}', '00000000-0000-0000-0000-0000000000{i:02}')",
                i % 5,
                f64::from(i) / 8.0,
                i % 3,
                i % 4,
                i % 10,
            )
        })
        .collect();
    world.fill(&[
        &format!("INSERT INTO items VALUES {}", rows.join(", ")),
        "INSERT INTO places VALUES ('a', 'A'), ('b', 'B')",
        "INSERT INTO plain VALUES (1, 'one'), (2, 'two')",
    ]);
    world
}

/// Statements with the text of their parameters.
const STATEMENTS: &[(&str, &[&str])] = &[
    ("SELECT $1", &["a"]),
    ("SELECT $1 + 1", &["41"]),
    ("SELECT $1::int8 AS a, $2 AS b", &["5", "x"]),
    ("SELECT $1 IS NULL", &["5"]),
    ("SELECT $2::int", &["1", "2"]),
    ("VALUES ($1, 1), ('b', $2)", &["a", "2"]),
    ("SELECT 1 AS one, NULL, 'text', now() = now()", &[]),
    ("SELECT id, name FROM items WHERE id = $1", &["5"]),
    ("SELECT * FROM items WHERE id = $1", &["5"]),
    ("SELECT id, n, $2 FROM items WHERE id = $1", &["5", "x"]),
    ("SELECT id, name, n, amount, weight, day, at, tags, body, raw, uid FROM items ORDER BY id LIMIT 5", &[]),
    ("SELECT * FROM items ORDER BY id LIMIT 3", &[]),
    ("SELECT feeling, size FROM items ORDER BY id LIMIT 3", &[]),
    ("SELECT id FROM items ORDER BY n, name LIMIT $1", &["3"]),
    ("SELECT id FROM items ORDER BY n, name LIMIT $1 OFFSET $2", &["3", "2"]),
    ("SELECT id FROM items WHERE id = ANY($1) ORDER BY id", &["{1,2,3}"]),
    ("SELECT id FROM items WHERE name = ANY($1) ORDER BY id", &["{\"item 1\",\"item 9\"}"]),
    ("SELECT id FROM items WHERE id IN ($1, $2) ORDER BY id", &["4", "9"]),
    ("SELECT id FROM items WHERE id BETWEEN $1 AND $2 AND name < $3 ORDER BY id", &["2", "20", "item 2"]),
    ("SELECT id, amount * $1 AS more FROM items WHERE day > $2 ORDER BY id LIMIT 4", &["2", "2024-01-10"]),
    ("SELECT id FROM items WHERE feeling = $1 ORDER BY id LIMIT 2", &["fair"]),
    ("SELECT id FROM items WHERE size = $1 ORDER BY id", &["7"]),
    ("SELECT code, name FROM items WHERE code = $1 ORDER BY id", &["c3"]),
    (
        "SELECT n, count(*), sum(n), avg(n), min(name), max(amount), sum(amount), avg(amount) FROM items GROUP BY n ORDER BY n",
        &[],
    ),
    ("SELECT n + $1, count(*) FROM items GROUP BY 1 ORDER BY 1", &["10"]),
    ("SELECT count(*) AS \"How many\", bool_and(n < $1) FROM items", &["9"]),
    ("SELECT n, count(*) FROM items GROUP BY n HAVING count(*) > $1 ORDER BY n", &["4"]),
    ("SELECT DISTINCT n, code FROM items ORDER BY n, code LIMIT 4", &[]),
    ("SELECT id, rank() OVER (ORDER BY n, id) + $1 AS place FROM items ORDER BY id LIMIT 4", &["100"]),
    ("SELECT percentile_cont($1) WITHIN GROUP (ORDER BY weight) FROM items", &["0.5"]),
    (
        "SELECT percentile_disc($1) WITHIN GROUP (ORDER BY day), string_agg(name, $2 ORDER BY id) FROM items WHERE n = $3",
        &["0.5", ", ", "2"],
    ),
    ("SELECT a.id, b.amount, $1 FROM items a JOIN items b ON b.id = a.n WHERE a.id < $2 ORDER BY a.id", &["x", "9"]),
    (
        "SELECT id, name FROM items WHERE n = $1 UNION SELECT id, body FROM plain WHERE id < $2 ORDER BY 1, 2",
        &["1", "9"],
    ),
    (
        "WITH x AS (SELECT n, max(id) AS m FROM items GROUP BY n) SELECT x.*, $1 AS given FROM x WHERE m > $2 ORDER BY n",
        &["g", "3"],
    ),
    ("SELECT *, ntile($1) OVER (ORDER BY id) FROM items ORDER BY id LIMIT 2", &["4"]),
    ("SELECT feeling, count(DISTINCT code) FROM items GROUP BY feeling", &[]),
    ("SELECT s.*, p.title FROM seen s CROSS JOIN places p WHERE s.n = $1 ORDER BY s.id, p.code LIMIT 3", &["1"]),
    ("TABLE places", &[]),
    ("SELECT body FROM plain WHERE id = $1", &["1"]),
    ("INSERT INTO items (id, name, n, amount) VALUES ($1, $2, $3, $4)", &["901", "new", "1", "2.5"]),
    ("INSERT INTO items (id, name) VALUES ($1, $2), ($3, $4) RETURNING id, name, amount", &["902", "a", "903", "b"]),
    ("INSERT INTO items (id, feeling, size) VALUES ($1, $2, $3)", &["904", "low", "3"]),
    ("INSERT INTO items (id, size) VALUES ($1, $2)", &["905", "3000"]),
    ("INSERT INTO places VALUES ($1, $2) RETURNING *", &["z", "Z"]),
    ("INSERT INTO plain VALUES ($1, $2)", &["9", "nine"]),
    ("UPDATE items SET n = $1, amount = amount + $2 WHERE id = $3 RETURNING amount", &["4", "0.5", "4"]),
    ("UPDATE items SET n = n + $1 WHERE n = $2", &["0", "3"]),
    ("UPDATE items SET n = n + $1 WHERE n = $2 RETURNING id", &["0", "77"]),
    ("DELETE FROM items WHERE n = $1 RETURNING *", &["77"]),
    ("DELETE FROM places WHERE code = $1", &["z"]),
    ("SELECT nothing FROM items WHERE id = $1", &["1"]),
    ("SELECT id FROM items WHERE id = $1 AND nothing = $2", &["1", "2"]),
    ("SELECT id FROM items WHERE id = $1", &["x"]),
    ("SELECT id FROM items WHERE n = $1 ORDER BY id", &["x"]),
    ("SELECT id FROM items ORDER BY id LIMIT $1", &["-1"]),
    ("SELECT id FROM items ORDER BY id LIMIT $1", &[" 2 "]),
    ("SELECT id FROM items ORDER BY id LIMIT $1", &["2.5"]),
    ("SELECT id FROM items ORDER BY id LIMIT $1", &["x"]),
    ("SELECT id FROM items ORDER BY id LIMIT $1", &[""]),
    ("SELECT id FROM items ORDER BY id LIMIT $1", &["9223372036854775808"]),
    ("SELECT id FROM items ORDER BY id OFFSET $1", &["1e1"]),
    ("SELECT id FROM items WHERE id = $1 AND id = $2", &["1"]),
    ("EXPLAIN (COSTS OFF) SELECT * FROM plain WHERE id = $1", &["1"]),
    ("EXPLAIN (COSTS OFF, FORMAT json) SELECT * FROM plain WHERE id = 1", &[]),
    ("SHOW server_version_num", &[]),
    ("SET work_mem = '1MB'", &[]),
    ("CREATE TABLE IF NOT EXISTS places (a int)", &[]),
    ("DO $$ BEGIN NULL; END $$", &[]),
    ("LISTEN nothing", &[]),
    ("DISCARD PLANS", &[]),
    ("", &[]),
    ("-- nothing", &[]),
    ("SELEC", &[]),
];

/// The types that Postgres finds for the parameters, and their values in binary as it writes them.
fn in_binary(oracle: &mut Raw, sql: &str, values: &[&str]) -> Vec<Value> {
    let describe = [m::parse("", sql, &[]), m::describe(b'S', ""), m::sync()].concat();
    oracle.send(&describe).unwrap();
    let answer = oracle.read_to_ready().unwrap();
    let Some(types) = answer.iter().find(|message| message.tag == b't') else { return text(values) };
    let encode = |(index, value): (usize, &&str)| {
        if types.u16_at(0) as usize <= index {
            return Value::text(value);
        }
        let encoded = oracle.extended("SELECT $1", &[types.u32_at(2 + 4 * index)], &[Value::text(value)], 1);
        match encoded.answers.first().and_then(|a| a.rows.first()).and_then(|row| row.first()) {
            Some(Some(bytes)) => Value::binary(bytes.clone()),
            _ => Value::text(value),
        }
    };
    values.iter().enumerate().map(encode).collect()
}

fn described(sql: &str) -> Vec<Step> {
    vec![
        batch(&[m::close(b'S', "s"), m::parse("s", sql, &[]), m::describe(b'S', "s"), m::sync()]),
        Ready,
        batch(&[m::parse("", sql, &[]), m::describe(b'S', ""), m::sync()]),
        Ready,
    ]
}

fn executed(name: &str, values: &[Value], formats: &[i16]) -> Vec<Step> {
    vec![
        batch(&[
            m::bind("", name, values, formats),
            m::describe(b'P', ""),
            m::execute("", 0),
            m::describe(b'S', name),
            m::sync(),
        ]),
        Ready,
        Send(m::query("DELETE FROM items WHERE id > 900")),
        Ready,
        Send(m::query("DELETE FROM places WHERE code = 'z'")),
        Ready,
        Send(m::query("DELETE FROM plain WHERE id = 9")),
        Ready,
    ]
}

#[test]
fn of_every_kind_and_in_every_format() {
    let world = world();
    let mut encoder = world.db.oracle();
    let (mut oracle, mut router) = (world.db.oracle(), world.through());
    let mut refused = Vec::new();
    let mut same = |name: String, steps: &[Step]| {
        let (theirs, ours) = (play_on(&mut oracle, steps), play_on(&mut router, steps));
        if support::script::refused(&theirs, &ours) {
            refused.push(name);
        } else {
            world.compare(&name, &theirs, &ours);
        }
    };
    for (sql, values) in STATEMENTS {
        same(format!("described: {sql}"), &described(sql));
        let (as_text, as_binary) = (text(values), in_binary(&mut encoder, sql, values));
        for (label, values, formats) in [
            ("text", &as_text, &[][..]),
            ("text by name", &as_text, &[0]),
            ("binary", &as_binary, &[1]),
            ("binary parameters", &as_binary, &[0]),
            ("text first", &as_text, &[0, 1]),
            ("binary first", &as_text, &[1, 0, 0]),
            ("three", &as_text, &[1, 0, 1]),
            ("many", &as_text, &[0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0]),
        ] {
            same(format!("{label}: {sql}"), &executed("s", values, formats));
        }
    }
    // Binary results of types that users made have other numbers inside on each server.
    let users = |name: &str| name.contains("feeling") || name.contains("*") || name.contains("size");
    refused.retain(|name| {
        !(name.contains("binary") || name.contains("three") || name.contains("many") || name.contains("first"))
            || !users(name)
    });
    assert_eq!(refused, Vec::<String>::new(), "refused");
}

/// Where an error is in the text, and what comes before it.
#[test]
fn errors_are_where_postgres_has_them() {
    let world = world();
    for sql in [
        "EXPLAIN SELECT nothing FROM items",
        "EXPLAIN  (COSTS OFF)  SELECT   count(*), nothing FROM items GROUP BY n",
        "EXPLAIN SELECT   n ,'x'::int  FROM items    ORDER BY    n LIMIT 3",
        "EXPLAIN SELECT   n  ,  count(nothing)   FROM items GROUP BY n",
        "EXPLAIN SELECT  avg(n) ,  nothing(id)   FROM items",
        "EXPLAIN SELECT rank() OVER (ORDER BY nothing) FROM items",
        "EXPLAIN SELECT nothing FROM items WHERE id = 7",
        "EXPLAIN UPDATE items SET   nothing = 1",
        "EXPLAIN   UPDATE items SET n = nothing WHERE n = 3",
        "EXPLAIN DELETE FROM items WHERE   nothing",
        "EXPLAIN (ANALYZE) SELECT id FROM  nothing",
        "EXPLAIN (nothing) SELECT 1 FROM items",
        "EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) SELECT 1/(id-id) FROM items",
        "EXPLAIN INSERT INTO items (id, n) VALUES (1, 2), (901, 3), (902,  nothing), (903, 4)",
        "EXPLAIN INSERT INTO places VALUES ('x',  nothing)",
        "SELECT set_config('nothing', 'x', false)",
        "SELECT set_config('work_mem', 'x', false)",
        "SELECT set_config('work_mem', 'x', false) AS a, set_config('a.b', 'y', true)",
        "SELECT set_config('bad name', 'x', true)",
        "SELECT set_config('work_mem', E'x', true)",
        "SELECT set_config(NULL, 'x', false)",
        "SELECT set_config('work_mem', 'x', 'maybe')",
        "SELECT set_config('work_mem', 'x')",
        "SELECT set_config('server_version', 'x', false)",
        "SELECT set_config('TimeZone', 'Nowhere', false)",
        "SELECT set_config('work_mem', '5MB', false)",
        "SELECT current_setting('nothing')",
        "SHOW nothing",
    ] {
        world.answers(&format!("simple: {sql}"), &[Send(m::query(sql)), Ready]);
        world.answers(&format!("second: {sql}"), &[Send(m::query(&format!("SELECT 1; {sql}"))), Ready]);
        let steps = [Send(m::query("BEGIN")), Ready, Send(m::query(sql)), Ready, Send(m::query("ROLLBACK")), Ready];
        world.answers(&format!("in a block: {sql}"), &steps);
        let steps = [
            batch(&[
                m::parse("", sql, &[]),
                m::describe(b'S', ""),
                m::bind("", "", &[], &[]),
                m::describe(b'P', ""),
                m::execute("", 0),
                m::sync(),
            ]),
            Ready,
        ];
        world.answers(&format!("extended: {sql}"), &steps);
    }
}

/// Types that the client declares, of all or of some parameters.
#[test]
fn with_declared_types() {
    let world = world();
    for (sql, types, values) in [
        ("SELECT id FROM items WHERE id = $1", &[20][..], &["5"][..]),
        ("SELECT id FROM items WHERE id = $1", &[21], &["5"]),
        ("SELECT id FROM items WHERE id = $1", &[1700], &["5"]),
        ("SELECT id FROM items WHERE n = $1 AND amount > $2 ORDER BY id", &[0, 23], &["2", "4"]),
        ("SELECT id FROM items ORDER BY id LIMIT $1", &[23], &["2"]),
        ("SELECT id FROM items ORDER BY id LIMIT $1", &[23], &["2147483648"]),
        ("SELECT id FROM items ORDER BY id LIMIT $1", &[1700], &["2.5"]),
        ("SELECT id FROM items ORDER BY id LIMIT $1 OFFSET $2", &[1700, 1700], &["2.4", "0.5"]),
        ("SELECT id FROM items ORDER BY id LIMIT $1", &[1700], &["-0.6"]),
        ("SELECT $1, $2", &[1082], &["2024-01-02", "x"]),
        ("SELECT id, rank() OVER (ORDER BY n, id) + $1 FROM items ORDER BY 1 LIMIT 2", &[1700], &["1.5"]),
        ("INSERT INTO items (id, n) VALUES ($1, $2), ($3, $4)", &[20, 20, 20], &["901", "1", "902", "2"]),
        ("SELECT id FROM items WHERE id = $1", &[25], &["5"]),
        ("SELECT id FROM items WHERE id = $1", &[23, 25], &["5", "unused"]),
        ("SELECT id FROM items WHERE id = $1", &[99999], &["5"]),
    ] {
        world.answers(
            &format!("{sql} {types:?}"),
            &[
                batch(&[m::parse("s", sql, types), m::describe(b'S', "s"), m::sync()]),
                Ready,
                batch(&[m::bind("", "s", &text(values), &[]), m::describe(b'P', ""), m::execute("", 0), m::sync()]),
                Ready,
                Send(m::query("DELETE FROM items WHERE id > 900")),
                Ready,
            ],
        );
    }
}

/// LIMIT and OFFSET are bigints, of which Postgres makes what number it is given.
#[test]
fn limits_of_other_number_types() {
    let world = world();
    let mut encoder = world.db.oracle();
    let numerics = [
        "2.5",
        "2.4",
        "-0.4",
        "-0.6",
        "1e1",
        " 3 ",
        "NaN",
        "Infinity",
        "9223372036854775807",
        "9223372036854775807.5",
        "1e30",
        "",
    ];
    let floats = ["2.5", "3.5", "-0.4", "-0.5", "-0.6", "1e1", " 3 ", "NaN", "Infinity", "9.3e18", "1e30"];
    let integers = ["3", "-1", "0"];
    let of = [(1700, &numerics[..]), (701, &floats[..]), (700, &floats[..]), (21, &integers[..]), (23, &integers[..])];
    for (declared, value) in
        of.into_iter().flat_map(|(declared, values)| values.iter().map(move |value| (declared, *value)))
    {
        let written = Value::text(value);
        let encoded = encoder.extended("SELECT $1", &[declared], std::slice::from_ref(&written), 1);
        let bytes = encoded.answers.first().and_then(|a| a.rows.first()?.first()?.clone());
        for value in [Some(written), bytes.map(Value::binary)].into_iter().flatten() {
            for sql in ["SELECT id FROM items ORDER BY id LIMIT $1", "SELECT id FROM items ORDER BY id OFFSET $1"] {
                world.answers(
                    &format!("{sql} {declared} {value:?}"),
                    &[
                        batch(&[m::parse("s", sql, &[declared]), m::describe(b'S', "s"), m::sync()]),
                        Ready,
                        batch(&[m::bind("", "s", std::slice::from_ref(&value), &[]), m::execute("", 0), m::sync()]),
                        Ready,
                    ],
                );
            }
        }
    }
}

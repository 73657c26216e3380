//! Tables of one name in several schemas, some of them sharded: which one a name means decides where its rows are.

#![allow(clippy::unwrap_used)]

mod support;

use support::raw::message as m;
use support::script::{Pair, Placed, Step, batch, queries};

const SCHEMA: &str = "CREATE SCHEMA one; CREATE SCHEMA two; CREATE SCHEMA three; \
     CREATE TABLE one.t (id int PRIMARY KEY, n int, a text COLLATE \"C\"); \
     CREATE TABLE two.t (id int PRIMARY KEY, n int, b text COLLATE \"C\"); \
     CREATE TABLE three.t (id int, k int PRIMARY KEY, n int); \
     CREATE TABLE one.r (id int PRIMARY KEY, name text); CREATE TABLE two.r (id int PRIMARY KEY, name text); \
     CREATE TABLE one.only (id int PRIMARY KEY, n int)";

fn world(label: &str) -> Pair {
    // In `two` it lies on the home shard; in `three` it is sharded by another column.
    let placed = [
        ("one.t", Placed::By("id")),
        ("three.t", Placed::By("k")),
        ("one.r", Placed::Reference),
        ("one.only", Placed::By("id")),
    ];
    let world = Pair::create(label, SCHEMA, &placed, "");
    let rows = |of: &str| (1..=40).map(|id| format!("({id}, {}, '{of}{id}')", id % 5)).collect::<Vec<_>>().join(", ");
    let keyed: Vec<String> = (1..=40).map(|id| format!("({}, {id}, {})", id % 7, id % 3)).collect();
    world.fill(&[
        &format!("INSERT INTO one.t VALUES {}", rows("a")),
        &format!("INSERT INTO two.t VALUES {}", rows("b")),
        &format!("INSERT INTO three.t VALUES {}", keyed.join(", ")),
        "INSERT INTO one.r VALUES (1, 'reference')",
        "INSERT INTO two.r VALUES (1, 'home'), (2, 'home too')",
        "INSERT INTO one.only SELECT id, n FROM one.t",
    ]);
    world
}

const STATEMENTS: &[&str] = &[
    "SELECT count(*), sum(n) FROM t",
    "SELECT * FROM t WHERE id = 3 ORDER BY 1, 2, 3",
    "SELECT * FROM t WHERE n = 2 ORDER BY 1, 2, 3 LIMIT 4",
    "SELECT count(*) FROM one.t JOIN two.t USING (id)",
    "SELECT a, b FROM one.t JOIN two.t ON one.t.id = two.t.id WHERE one.t.id = 7",
    "SELECT one.t.id, two.t.n FROM one.t, two.t WHERE one.t.id = 7 AND two.t.id = 9",
    "SELECT count(*) FROM one.t a JOIN three.t b ON a.id = b.k",
    "SELECT count(*) FROM one.t a JOIN three.t b ON a.id = b.id",
    "SELECT a.id, b.k FROM one.t a JOIN three.t b ON a.id = b.k WHERE a.id = 11",
    "SELECT one.t.n FROM one.t JOIN three.t ON three.t.k = one.t.id WHERE three.t.k = 5",
    "SELECT count(*) FROM one.t WHERE id IN (SELECT id FROM two.t WHERE n = 1)",
    "SELECT count(*) FROM t WHERE EXISTS (SELECT FROM one.t WHERE one.t.id = t.n)",
    "SELECT count(*) FROM t WHERE n IN (SELECT t.id FROM three.t)",
    "WITH t AS (SELECT 1 AS id, 2 AS n) SELECT t.*, (SELECT count(*) FROM one.t) FROM t",
    "WITH t AS (SELECT * FROM one.t WHERE id < 5) SELECT count(*), sum(n) FROM t",
    "SELECT count(*) FROM t AS one, one.t AS two WHERE one.id = two.id",
    "SELECT count(*) FROM (SELECT id FROM one.t UNION ALL SELECT id FROM two.t UNION ALL SELECT id FROM t) q",
    "SELECT t.id FROM one.t ORDER BY t.id DESC LIMIT 2",
    "SELECT one.t.id FROM t ORDER BY 1 LIMIT 2",
    "SELECT count(*) FROM r",
    "SELECT r.name, count(*) FROM r, t WHERE t.n = r.id GROUP BY r.name ORDER BY r.name COLLATE \"C\"",
    "SELECT x.name, y.name FROM one.r x JOIN two.r y USING (id) JOIN one.t USING (id)",
    "SELECT count(*) FROM only",
    "SELECT count(*) FROM one.only o JOIN t ON o.id = t.id",
    "SELECT to_regclass('t')::text, 't'::regclass::text",
    "INSERT INTO t VALUES (100, 1)",
    "INSERT INTO t (id, n) VALUES (101, 1), (102, 2), (103, 3)",
    "INSERT INTO two.t SELECT id + 200, n, 'new' FROM one.t WHERE n = 3",
    "INSERT INTO one.t SELECT id + 300, n, 'new' FROM two.t WHERE n = 3",
    "UPDATE t SET n = n + 10 WHERE id = 3",
    "UPDATE t SET n = 10 WHERE n = 1",
    "UPDATE one.t SET n = two.t.n + 1 FROM two.t WHERE one.t.id = two.t.id AND one.t.id < 9",
    "UPDATE one.t AS x SET n = t.n + 1 FROM two.t WHERE x.id = t.id AND x.id < 9",
    "DELETE FROM one.t AS x USING two.t AS y WHERE x.id = y.id AND y.n = 4",
    "UPDATE two.t SET n = x.n FROM one.t x WHERE two.t.id = x.id",
    "DELETE FROM t WHERE id = 4",
    "DELETE FROM t WHERE n = 2",
    "DELETE FROM one.t USING two.t WHERE one.t.id = two.t.id AND two.t.n = 4",
    "UPDATE r SET name = 'other' WHERE id = 1",
    "INSERT INTO r VALUES (9, 'nine')",
    "MERGE INTO one.t USING three.t s ON one.t.id = s.k WHEN MATCHED THEN UPDATE SET n = s.n",
    "TRUNCATE t",
];

/// Each statement under each path, in a block that is undone; what it left in every table is compared, too.
#[test]
fn a_name_means_what_the_path_finds_first() {
    let world = world("samenames");
    const LEFT: &str =
        "SELECT (SELECT count(*) || ' ' || coalesce(sum(n), 0) || ' ' || coalesce(sum(id), 0) FROM one.t)";
    for path in ["one, two, three", "two, one", "three, two", "missing, one", "two", "pg_catalog, three", "public"] {
        for sql in STATEMENTS {
            let set = format!("SET search_path = {path}");
            let mut script = queries(&[&set, "BEGIN", sql, "SAVEPOINT s", LEFT]);
            script.extend(queries(&[
                "SELECT count(*), sum(n), sum(id) FROM two.t",
                "SELECT count(*), sum(n), sum(id) FROM three.t",
            ]));
            script.extend(queries(&[
                "SELECT count(*), min(name) FROM two.r",
                "SELECT count(*), min(name) FROM one.r",
                "ROLLBACK",
            ]));
            world.same(&format!("{path}: {sql}"), &script);
            let bound = [
                m::parse("", sql, &[]),
                m::bind("", "", &[], &[]),
                m::describe(b'P', ""),
                m::execute("", 0),
                m::sync(),
            ];
            let mut script = queries(&["BEGIN", &format!("SET LOCAL search_path = {path}")]);
            script.extend([batch(&bound), Step::Ready]);
            script.extend(queries(&["ROLLBACK"]));
            world.same(&format!("{path}, bound: {sql}"), &script);
        }
    }
}

/// A statement that was prepared under one path runs under another, and is what it is there.
#[test]
fn a_prepared_statement_follows_the_path() {
    let world = world("samenamesprepared");
    for sql in [
        "SELECT count(*), sum(n) FROM t WHERE id < $1",
        "SELECT n FROM t WHERE id = $1 ORDER BY n",
        "DELETE FROM t WHERE id = $1",
    ] {
        let execute = |value: &str| {
            [m::bind("", "s", &[support::raw::Value::text(value)], &[]), m::execute("", 0), m::sync()].concat()
        };
        for (first, second) in [("one", "two"), ("two", "one"), ("one", "three"), ("three", "two")] {
            let mut script = queries(&["BEGIN", &format!("SET search_path = {first}")]);
            script.extend([batch(&[m::parse("s", sql, &[23]), m::describe(b'S', "s"), m::sync()]), Step::Ready]);
            script.extend([Step::Send(execute("6")), Step::Ready]);
            script.extend(queries(&[&format!("SET search_path = {second}")]));
            script.extend([Step::Send(execute("6")), Step::Ready, Step::Send(execute("3")), Step::Ready]);
            script.extend(queries(&[
                "SELECT count(*) FROM one.t",
                "SELECT count(*) FROM two.t",
                "SELECT count(*) FROM three.t",
                "ROLLBACK",
            ]));
            world.same(&format!("{first}, {second}: {sql}"), &script);
        }
    }
}

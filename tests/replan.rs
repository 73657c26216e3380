//! Statements that live longer than the tables they were planned for: prepared by the protocol, then the schema or the search path
//! changes, by the same session, another one, or behind the router's back, and they are bound and executed again without a Parse.
//! One Postgres plans them anew, or says that a cached plan must not change its result type.

#![allow(clippy::unwrap_used)]

mod support;

use support::raw::{Raw, Value, message as m};
use support::script::Step::{self, Ready, Send};
use support::script::{Pair, Placed, batch, play_on, queries, text};

const SCHEMA: &str = "CREATE TABLE items (id int PRIMARY KEY, name text COLLATE \"C\", n int, w int); \
     CREATE TABLE places (code text PRIMARY KEY, title text); CREATE TABLE plain (id int PRIMARY KEY, body text, n int); \
     CREATE VIEW seen AS SELECT id, n FROM items; \
     CREATE SCHEMA other; CREATE TABLE other.plain (id int PRIMARY KEY, other text); \
     CREATE TABLE other.items (id int PRIMARY KEY, other text)";

fn world(label: &str) -> Pair {
    let placed = [("items", Placed::By("id")), ("places", Placed::Reference)];
    let world = Pair::create(label, SCHEMA, &placed, "");
    let rows: Vec<String> = (1..=40).map(|i| format!("({i}, 'item {i}', {}, {})", i % 7, i % 5)).collect();
    world.fill(&[
        &format!("INSERT INTO items VALUES {}", rows.join(", ")),
        "INSERT INTO places VALUES ('a', 'A'), ('b', 'B')",
        "INSERT INTO plain VALUES (1, 'one', 1), (2, 'two', 2)",
        "INSERT INTO other.plain VALUES (1, 'other one'), (2, 'other two')",
        "INSERT INTO other.items VALUES (1, 'other 1'), (2, 'other 2')",
    ]);
    world
}

/// Who changes the schema.
#[derive(Clone, Copy, Debug, PartialEq)]
enum By {
    Itself,
    Another,
    /// On every shard, past the router.
    Nobody,
}

const STATEMENTS: &[(&str, &str, &[&str])] = &[
    ("one_star", "SELECT * FROM items WHERE id = $1", &["5"]),
    ("one", "SELECT id, n FROM items WHERE id = $1", &["5"]),
    ("one_n", "SELECT id FROM items WHERE id = $1 AND n = $2", &["5", "5"]),
    ("all_star", "SELECT * FROM items ORDER BY n, id LIMIT 3", &[]),
    ("all_hidden", "SELECT id FROM items WHERE n = $1 ORDER BY w, name LIMIT 4", &["3"]),
    ("all_ordinal", "SELECT name, n, id FROM items ORDER BY 2, 3 LIMIT 3", &[]),
    ("groups", "SELECT n, count(*), sum(w), avg(w) FROM items GROUP BY n ORDER BY n", &[]),
    ("total", "SELECT max(n), min(name) FROM items", &[]),
    ("tier2", "SELECT id, rank() OVER (ORDER BY n, id) FROM items WHERE n < $1 ORDER BY 2 LIMIT 3", &["4"]),
    ("tier2_star", "SELECT *, row_number() OVER (ORDER BY n, id) FROM items ORDER BY n, id LIMIT 3", &[]),
    ("view", "SELECT * FROM seen WHERE n = $1 ORDER BY id LIMIT 3", &["2"]),
    ("view_one", "SELECT * FROM seen WHERE id = $1", &["7"]),
    ("reference", "SELECT * FROM places ORDER BY code", &[]),
    ("plain", "SELECT * FROM plain WHERE id = $1", &["1"]),
    ("insert", "INSERT INTO items (id, name, n) VALUES ($1, 'x', 1), ($2, 'y', 2)", &["901", "902"]),
    ("insert_star", "INSERT INTO items (id, n) VALUES ($1, 1), ($2, 2) RETURNING *", &["903", "904"]),
    ("update", "UPDATE items SET w = w + 1 WHERE n = $1", &["3"]),
    ("update_star", "UPDATE items SET w = w + 1 WHERE id = $1 RETURNING *", &["3"]),
];

/// Parse and Describe of each; executed once, so that plans are there.
fn prepared() -> Vec<Step> {
    let mut steps = Vec::new();
    for (name, sql, values) in STATEMENTS {
        steps.push(batch(&[m::parse(name, sql, &[]), m::describe(b'S', name), m::sync()]));
        steps.push(Ready);
        steps.extend(executed(name, values, 0));
    }
    steps.extend(queries(&["DELETE FROM items WHERE id > 900", "UPDATE items SET w = id % 5"]));
    steps
}

fn executed(name: &str, values: &[&str], format: i16) -> Vec<Step> {
    vec![
        batch(&[m::bind("", name, &text(values), &[format]), m::describe(b'P', ""), m::execute("", 0), m::sync()]),
        Ready,
    ]
}

/// The two connections of a test, one past the router.
struct Both {
    world: Pair,
    oracle: Raw,
    router: Raw,
}

impl Both {
    /// With all statements prepared.
    fn create(label: &str) -> Self {
        let world = world(label);
        let (oracle, router) = (world.db.oracle(), world.through());
        let mut both = Self { world, oracle, router };
        both.same("before", &prepared());
        both
    }

    fn same(&mut self, name: &str, steps: &[Step]) {
        let (theirs, ours) = (play_on(&mut self.oracle, steps), play_on(&mut self.router, steps));
        self.world.compare(name, &theirs, &ours);
    }

    fn change(&mut self, by: By, sql: &str) {
        match by {
            By::Itself => {
                self.oracle.must(sql);
                self.router.must(sql);
            }
            By::Another => {
                self.world.db.oracle().must(sql);
                self.world.through().must(sql);
            }
            By::Nobody => self.world.db.everywhere(sql),
        }
    }

    /// Each is bound and executed without Parse, described, and executed without a description, as a driver does that has its own.
    fn again(&mut self, what: &str) {
        for (name, _, values) in STATEMENTS {
            let mut steps = executed(name, values, 1);
            steps.extend(queries(&["DELETE FROM items WHERE id > 900"]));
            steps.extend([batch(&[m::describe(b'S', name), m::sync()]), Ready]);
            steps.extend([batch(&[m::bind("", name, &text(values), &[]), m::execute("", 0), m::sync()]), Ready]);
            steps.extend(queries(&["DELETE FROM items WHERE id > 900"]));
            self.same(&format!("{what}: {name}"), &steps);
        }
    }
}

fn changed(label: &str, by: By, change: &str, back: &str) {
    let mut both = Both::create(label);
    for sql in [change, back].into_iter().filter(|sql| !sql.is_empty()) {
        both.change(by, sql);
        both.again(&format!("{by:?}: {sql}"));
    }
}

fn by_each(label: &str, change: &str, back: &str) {
    for by in [By::Itself, By::Another, By::Nobody] {
        changed(label, by, change, back);
    }
}

#[test]
fn a_column_is_added() {
    by_each("addcol", "ALTER TABLE items ADD COLUMN extra text DEFAULT 'e'", "ALTER TABLE items DROP COLUMN extra");
}

#[test]
fn a_column_is_dropped() {
    by_each("dropcol", "ALTER TABLE items DROP COLUMN w", "ALTER TABLE items ADD COLUMN w int");
}

#[test]
fn a_column_changes_its_type() {
    by_each(
        "altertype",
        "DROP VIEW seen; ALTER TABLE items ALTER COLUMN n TYPE bigint; CREATE VIEW seen AS SELECT id, n FROM items",
        "",
    );
}

#[test]
fn a_column_is_renamed() {
    by_each("rename", "ALTER TABLE items RENAME COLUMN w TO x", "ALTER TABLE items RENAME COLUMN x TO w");
}

#[test]
fn a_table_is_dropped_and_made_anew() {
    by_each(
        "anew",
        "DROP VIEW seen; DROP TABLE items; CREATE TABLE items (id int PRIMARY KEY, name text COLLATE \"C\", n int, w int); \
         CREATE VIEW seen AS SELECT id, n FROM items",
        "DROP VIEW seen; DROP TABLE items; CREATE TABLE items (id int PRIMARY KEY, n int, w int, name text COLLATE \"C\"); \
         CREATE VIEW seen AS SELECT id, n FROM items",
    );
}

#[test]
fn an_index_is_made() {
    by_each("index", "CREATE INDEX items_n ON items (n)", "DROP INDEX items_n");
}

#[test]
fn a_view_is_replaced() {
    by_each(
        "view",
        "CREATE OR REPLACE VIEW seen AS SELECT id, n FROM items WHERE n < 2",
        "CREATE OR REPLACE VIEW seen AS SELECT id, n, w FROM items",
    );
}

#[test]
fn the_other_tables_change() {
    by_each(
        "others",
        "ALTER TABLE places ADD COLUMN extra int; ALTER TABLE plain ADD COLUMN extra int",
        "ALTER TABLE places DROP COLUMN extra; ALTER TABLE plain DROP COLUMN extra",
    );
}

#[test]
fn the_search_path_changes() {
    let mut both = Both::create("path");
    for sql in ["SET search_path = other, public", "SET search_path = public", "SET search_path = nowhere"] {
        both.change(By::Itself, sql);
        both.again(sql);
    }
}

/// The change is in the same transaction, and undone with it.
#[test]
fn within_a_transaction() {
    let mut both = Both::create("within");
    for (name, _, values) in STATEMENTS {
        for change in ["ALTER TABLE items ADD COLUMN extra text", "CREATE INDEX items_n ON items (n)"] {
            let mut steps = queries(&["BEGIN", change, "SAVEPOINT s"]);
            steps.extend(executed(name, values, 0));
            steps.extend(queries(&["ROLLBACK"]));
            steps.extend(executed(name, values, 0));
            steps.extend(queries(&["DELETE FROM items WHERE id > 900"]));
            both.same(&format!("{name}: {change}"), &steps);
        }
    }
}

/// As drivers do that prepare with the first execution: what a statement returns is known from its Parse on, whether it was described or
/// not, and whoever has changed the tables since.
#[test]
fn a_statement_that_is_bound_with_its_parse_promises_too() {
    let described = [("portal", true), ("nothing", false)];
    for by in [By::Itself, By::Another, By::Nobody] {
        let world = world("withparse");
        let mut both = Both { oracle: world.db.oracle(), router: world.through(), world };
        for (what, describes) in described {
            for (name, sql, values) in STATEMENTS {
                let mut messages = vec![m::parse(&format!("{name}_{what}"), sql, &[])];
                messages.push(m::bind("", &format!("{name}_{what}"), &text(values), &[1]));
                messages.extend(describes.then(|| m::describe(b'P', "")));
                messages.extend([m::execute("", 0), m::sync()]);
                let mut steps = vec![batch(&messages), Ready];
                steps.extend(queries(&["DELETE FROM items WHERE id > 900", "UPDATE items SET w = id % 5"]));
                both.same(&format!("{by:?}: {name}, described: {what}"), &steps);
            }
        }
        for sql in [
            "DROP VIEW seen; ALTER TABLE items ALTER COLUMN n TYPE bigint; CREATE VIEW seen AS SELECT id, n FROM items",
            "ALTER TABLE items ADD COLUMN extra text DEFAULT 'e'",
            "DROP VIEW seen; ALTER TABLE items DROP COLUMN n; ALTER TABLE items ADD COLUMN n float4 DEFAULT 1.5; \
             CREATE VIEW seen AS SELECT id, n FROM items; ALTER TABLE plain ADD COLUMN more int",
        ] {
            both.change(by, sql);
            for (what, _) in described {
                for (name, _, values) in STATEMENTS {
                    let name = format!("{name}_{what}");
                    let mut steps = Vec::new();
                    for _ in 0..2 {
                        steps.push(batch(&[m::bind("", &name, &text(values), &[1]), m::execute("", 0), m::sync()]));
                        steps.push(Ready);
                        steps.extend(queries(&["DELETE FROM items WHERE id > 900", "UPDATE items SET w = id % 5"]));
                    }
                    both.same(&format!("{by:?}: {sql}: {name}"), &steps);
                }
            }
        }
    }
}

/// Types of parameters are found once: what the client sends later is of these types.
#[test]
fn parameters_keep_their_types() {
    let world = world("paramtypes");
    let (mut oracle, mut router) = (world.db.oracle(), world.through());
    let binary = [Value::binary(3i32.to_be_bytes())];
    let statements = [
        ("one", "SELECT id FROM items WHERE id = 3 AND n = $1"),
        ("all", "SELECT id FROM items WHERE n = $1 ORDER BY id"),
        ("tier2", "SELECT count(DISTINCT name) + 0 FROM items WHERE n = $1"),
        ("update", "UPDATE items SET w = 1 WHERE n = $1"),
    ];
    let run = |name: &str| {
        [
            batch(&[m::bind("", name, &binary, &[]), m::execute("", 0), m::sync()]),
            Ready,
            batch(&[m::describe(b'S', name), m::sync()]),
            Ready,
        ]
    };
    let mut before = Vec::new();
    for (name, sql) in statements {
        before.extend([batch(&[m::parse(name, sql, &[]), m::describe(b'S', name), m::sync()]), Ready]);
        before.extend(run(name));
    }
    let first = (play_on(&mut oracle, &before), play_on(&mut router, &before));
    world.compare("before", &first.0, &first.1);
    let sql = "DROP VIEW seen; ALTER TABLE items ALTER COLUMN n TYPE bigint";
    world.db.oracle().must(sql);
    world.through().must(sql);
    let after: Vec<Step> = statements.iter().flat_map(|(name, _)| run(name)).collect();
    let then = (play_on(&mut oracle, &after), play_on(&mut router, &after));
    world.compare("after", &then.0, &then.1);
}

/// The same for statements that were prepared in SQL.
#[test]
fn statements_of_sql() {
    for by in [By::Itself, By::Another, By::Nobody] {
        let world = world("sqlreplan");
        let prepare: Vec<String> = STATEMENTS.iter().map(|(name, sql, _)| format!("PREPARE {name} AS {sql}")).collect();
        let execute: Vec<String> = STATEMENTS
            .iter()
            .map(|(name, _, values)| match values {
                [] => format!("EXECUTE {name}"),
                values => format!("EXECUTE {name} ({})", values.join(", ")),
            })
            .collect();
        let mut both = Both { oracle: world.db.oracle(), router: world.through(), world };
        let undo = ["DELETE FROM items WHERE id > 900", "UPDATE items SET w = id % 5"];
        for (prepare, execute) in prepare.iter().zip(&execute) {
            both.same(&format!("before: {execute}"), &queries(&[prepare, execute, undo[0], undo[1]]));
        }
        for sql in ["ALTER TABLE items ADD COLUMN extra text DEFAULT 'e'", "ALTER TABLE items DROP COLUMN extra"] {
            both.change(by, sql);
            for execute in &execute {
                both.same(&format!("{by:?}: {sql}: {execute}"), &queries(&[execute, undo[0], undo[1]]));
            }
        }
    }
}

/// The statement without a name is one like others: bound again, it is what it was when it was parsed.
#[test]
fn an_unnamed_statement_is_held_to_what_it_was() {
    let world = world("unnamed");
    let (oracle, router) = (world.db.oracle(), world.through());
    let mut both = Both { world, oracle, router };
    let cleared = || queries(&["DELETE FROM items WHERE id > 900"]);
    const ASKED: [&str; 7] = ["one_star", "one", "all_star", "tier2_star", "reference", "plain", "insert_star"];
    for (name, sql, values) in STATEMENTS.iter().filter(|(name, ..)| ASKED.contains(name)) {
        let table = ["items", "places", "plain"].into_iter().find(|table| sql.contains(table)).unwrap();
        let add = format!("ALTER TABLE {table} ADD COLUMN extra text DEFAULT 'e'");
        let drop = format!("ALTER TABLE {table} DROP COLUMN extra");
        for by in [By::Itself, By::Another, By::Nobody] {
            let parse = || m::parse("", sql, &[]);
            let bind = || m::bind("", "", &text(values), &[]);
            let run = || [bind(), m::describe(b'P', ""), m::execute("", 0)].concat();
            let hows = [
                ("described", [parse(), m::describe(b'S', "")].concat()),
                ("parsed", parse()),
                ("run", [parse(), run()].concat()),
                ("run without a description", [parse(), bind(), m::execute("", 0)].concat()),
            ];
            // Who changes it makes no difference to the others.
            let all = hows.len();
            let many = if by == By::Another { all } else { 2 };
            for (how, first) in hows.into_iter().take(many) {
                let what = format!("{by:?}: {name} {how}");
                both.same(&what, &[batch(&[first, m::sync()]), Ready]);
                // A Query would be the end of it.
                let alter = |both: &mut Both, sql: &str| match by {
                    By::Itself => {
                        let change = [m::parse("alter", sql, &[]), m::bind("", "alter", &[], &[]), m::execute("", 0)];
                        let closed = [m::close(b'S', "alter"), m::sync()];
                        both.same(&format!("{what}: {sql}"), &[batch(&change), batch(&closed), Ready]);
                    }
                    By::Another | By::Nobody => both.change(by, sql),
                };
                alter(&mut both, &add);
                both.same(&format!("{what}, changed"), &[batch(&[run(), m::sync()]), Ready]);
                if many == all {
                    // Parsed again, it is another statement of the same text.
                    let again = [parse(), run(), m::sync()];
                    both.same(&format!("{what}, parsed again"), &[batch(&again), Ready]);
                    both.same(&what, &cleared());
                    both.same(&format!("{what}, and bound again"), &[batch(&[run(), m::sync()]), Ready]);
                    both.same(&what, &cleared());
                }
                alter(&mut both, &drop);
                both.same(&format!("{what}, changed back"), &[batch(&[run(), m::sync()]), Ready]);
                both.same(&what, &cleared());
            }
        }
        // All in one pipeline, which is one transaction.
        let run = [m::bind("", "", &text(values), &[]), m::describe(b'P', ""), m::execute("", 0)].concat();
        let alter = [
            m::parse("alter", "ALTER TABLE items ADD COLUMN extra text", &[]),
            m::bind("", "alter", &[], &[]),
            m::execute("", 0),
            m::close(b'S', "alter"),
        ]
        .concat();
        let all = [m::parse("", sql, &[]), run.clone(), alter, run, m::sync()];
        both.same(&format!("{name} in a pipeline"), &[batch(&all), Ready]);
        both.same(
            name,
            &queries(&["DELETE FROM items WHERE id > 900", "ALTER TABLE items DROP COLUMN IF EXISTS extra"]),
        );
    }
}

/// COPY is no cached plan, but the router has one of it.
#[test]
fn copy_after_a_change() {
    for by in [By::Another, By::Nobody] {
        let world = world("copyreplan");
        let (mut oracle, mut router) = (world.db.oracle(), world.through());
        let steps = |rows: &'static [u8]| {
            [
                Send(m::query("COPY items FROM STDIN")),
                Step::Until(b'G'),
                batch(&[m::copy_data(rows), m::copy_done()]),
                Ready,
                Send(m::query("SELECT * FROM items WHERE id > 900 ORDER BY id")),
                Ready,
                Send(m::query("DELETE FROM items WHERE id > 900")),
                Ready,
            ]
        };
        let before = steps(b"901\tx\t1\t1\n902\ty\t2\t2\n903\tz\t3\t3\n");
        world.compare("before", &play_on(&mut oracle, &before), &play_on(&mut router, &before));
        let sql = "DROP VIEW seen; ALTER TABLE items DROP COLUMN name; ALTER TABLE items ADD COLUMN name text";
        match by {
            By::Nobody => world.db.everywhere(sql),
            By::Itself | By::Another => {
                world.db.oracle().must(sql);
                world.through().must(sql);
            }
        }
        let after = steps(b"901\t1\t1\tx\n902\t2\t2\ty\n903\t3\t3\tz\n");
        world.compare(&format!("{by:?}"), &play_on(&mut oracle, &after), &play_on(&mut router, &after));
        let sql = "ALTER TABLE items DROP COLUMN n";
        world.db.everywhere(sql);
        let after = steps(b"901\t1\tx\n902\t2\ty\n903\t3\tz\n");
        world.compare(&format!("{by:?} again"), &play_on(&mut oracle, &after), &play_on(&mut router, &after));
    }
}

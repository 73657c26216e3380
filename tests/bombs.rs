//! Statements made to cost: what the analyzer and the planner do with them grows as the statement does, and fits an ordinary stack.
//!
//! Each shape is made larger until it costs something, then four times as large: that may cost some more than four times as much,
//! never sixteen times. What is measured is the processor time of the thread alone, so a busy machine changes little.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

#[allow(dead_code)]
#[path = "plans/world.rs"]
mod world;

use world::World;

/// A statement of so many parts.
type Shape = (&'static str, fn(usize) -> String);

/// Cost of the smaller one of the two that are compared: clearly more than what a statement costs at least.
const ENOUGH: Duration = Duration::from_millis(60);
/// Larger ones are compared whatever they cost.
const MOST_PARTS: usize = 40_000;
/// Four times as large may cost so many times as much.
const GROWTH: u32 = 10;
/// The stack of a runtime's worker thread.
const STACK: usize = 2 << 20;

/// Processor time of this thread.
fn spent() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split_whitespace().next().unwrap().parse().unwrap())
}

fn cost(world: &World, sql: &str) -> Duration {
    let before = spent();
    world.explain(sql, None);
    spent() - before
}

fn check(shapes: &'static [Shape]) {
    let run = move || {
        let world = World::new();
        let mut wrong = Vec::new();
        for (name, shape) in shapes {
            let mut parts = 1_000;
            let mut less = cost(&world, &shape(parts));
            while less < ENOUGH && parts < MOST_PARTS {
                parts *= 2;
                less = cost(&world, &shape(parts));
            }
            let sql = shape(parts * 4);
            // The better one of two: what else the machine does is not to be counted.
            let more = cost(&world, &sql).min(cost(&world, &sql));
            println!("{name}: {parts} parts {less:?}, {} parts {more:?}", parts * 4);
            if more > ENOUGH && more > less * GROWTH {
                wrong.push(format!("{name}: {parts} parts cost {less:?}, {} parts {more:?}", parts * 4));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    };
    std::thread::Builder::new().stack_size(STACK).spawn(run).unwrap().join().unwrap();
}

/// `part` of each number, with `by` between them.
fn list(n: usize, by: &str, part: impl Fn(usize) -> String) -> String {
    (0..n).map(part).collect::<Vec<_>>().join(by)
}

fn numbers(n: usize) -> String {
    list(n, ",", |i| i.to_string())
}

#[test]
fn lists_of_keys() {
    check(&[
        ("IN", |n| format!("SELECT id FROM orders WHERE tenant_id IN ({})", numbers(n))),
        ("two INs", |n| {
            let list = numbers(n / 2);
            format!("SELECT id FROM orders WHERE tenant_id IN ({list}) AND tenant_id IN ({list})")
        }),
        ("INs that have nothing in common", |n| {
            let other = list(n / 2, ",", |i| (i + 10_000_000).to_string());
            format!("SELECT id FROM orders WHERE tenant_id IN ({}) AND tenant_id IN ({other})", numbers(n / 2))
        }),
        ("many INs, ANDed", |n| {
            let one = |i| format!("tenant_id IN ({},{i})", numbers(n / 200));
            format!("SELECT id FROM orders WHERE {}", list(200, " AND ", one))
        }),
        ("many INs, ORed", |n| {
            let one = |i| format!("tenant_id IN ({},{i})", numbers(n / 200));
            format!("SELECT id FROM orders WHERE {}", list(200, " OR ", one))
        }),
        ("ANY of an array", |n| format!("SELECT id FROM orders WHERE tenant_id = ANY (ARRAY[{}])", numbers(n))),
        ("ANY of a literal", |n| format!("SELECT id FROM orders WHERE tenant_id = ANY ('{{{}}}')", numbers(n))),
        ("NOT IN", |n| format!("SELECT id FROM orders WHERE tenant_id NOT IN ({})", numbers(n))),
        ("texts", |n| format!("SELECT id FROM racks WHERE zone IN ({})", list(n, ",", |i| format!("'z{i}'")))),
        ("moments", |n| format!("SELECT id FROM orders WHERE day IN ({})", list(n, ",", |_| "'now'".to_owned()))),
        ("parameters", |n| {
            format!("SELECT id FROM orders WHERE tenant_id IN ({})", list(n, ",", |i| format!("${}", i % 65_535 + 1)))
        }),
        ("rows", |n| format!("SELECT v FROM cells WHERE (a, b) IN ({})", list(n, ",", |i| format!("({i},'x')")))),
        ("columns of a key", |n| {
            let texts = list(n / 2, ",", |i| format!("'{i}'"));
            format!("SELECT v FROM cells WHERE a IN ({}) AND b IN ({texts})", numbers(n / 2))
        }),
        ("ranges", |n| format!("SELECT id FROM sites WHERE region_id IN ({})", numbers(n))),
    ]);
}

#[test]
fn rows_of_values() {
    check(&[
        ("INSERT", |n| format!("INSERT INTO orders (tenant_id, id) VALUES {}", list(n, ",", |i| format!("({i},1)")))),
        ("INSERT with RETURNING", |n| {
            format!("INSERT INTO orders (tenant_id, id) VALUES {} RETURNING id", list(n, ",", |i| format!("({i},1)")))
        }),
        ("INSERT ON CONFLICT", |n| {
            let rows = list(n, ",", |i| format!("({i},1)"));
            format!("INSERT INTO orders (tenant_id, id) VALUES {rows} ON CONFLICT (tenant_id, id) DO NOTHING")
        }),
        ("INSERT of values of a sequence", |n| {
            format!("INSERT INTO events (tenant_id, kind) VALUES {}", list(n, ",", |i| format!("({i},'x')")))
        }),
        ("INSERT of a key of two", |n| {
            format!("INSERT INTO cells (a, b) VALUES {}", list(n, ",", |i| format!("({i},'x')")))
        }),
        ("INSERT of expressions", |n| {
            format!(
                "INSERT INTO orders (tenant_id, id, note) VALUES {}",
                list(n, ",", |i| format!("({i},1,lower('X'))"))
            )
        }),
        ("VALUES", |n| format!("VALUES {}", list(n, ",", |i| format!("({i})")))),
        ("a join with VALUES", |n| {
            let rows = list(n, ",", |i| format!("({i})"));
            format!("SELECT o.id FROM orders o JOIN (VALUES {rows}) v (k) ON v.k = o.tenant_id")
        }),
        ("INSERT of SELECT of VALUES", |n| {
            let rows = list(n, ",", |i| format!("({i},1)"));
            format!("INSERT INTO orders (tenant_id, id) SELECT a, b FROM (VALUES {rows}) v (a, b)")
        }),
    ]);
}

#[test]
fn lists_of_other_things() {
    check(&[
        ("select list", |n| format!("SELECT {} FROM orders", list(n, ",", |_| "id".to_owned()))),
        ("select list of expressions", |n| format!("SELECT {} FROM orders", list(n, ",", |i| format!("id + {i}")))),
        ("select list with names", |n| format!("SELECT {} FROM orders", list(n, ",", |i| format!("id AS c{i}")))),
        ("ORDER BY", |n| format!("SELECT id FROM orders ORDER BY {}", list(n, ",", |_| "id".to_owned()))),
        ("arguments", |n| format!("SELECT coalesce({}) FROM orders", list(n, ",", |_| "id".to_owned()))),
        ("SET", |n| format!("UPDATE orders SET {} WHERE tenant_id = 5", list(n, ",", |i| format!("c{i} = 1")))),
        ("SET of one column", |n| {
            format!("UPDATE orders SET {} WHERE tenant_id = 5", list(n, ",", |_| "qty = 1".to_owned()))
        }),
        ("columns of INSERT", |n| {
            let names = list(n, ",", |i| format!("c{i}"));
            format!("INSERT INTO orders (tenant_id, {names}) VALUES (5, {})", numbers(n))
        }),
        ("spellings", |n| format!("SELECT {} FROM orders", list(n, ",", |_| "id ISNULL".to_owned()))),
        ("windows", |n| {
            format!("SELECT id FROM orders WINDOW {}", list(n, ",", |i| format!("w{i} AS (PARTITION BY id)")))
        }),
        ("GROUPING SETS", |n| {
            format!("SELECT count(*) FROM orders GROUP BY GROUPING SETS ({})", list(n, ",", |_| "(qty)".to_owned()))
        }),
    ]);
}

#[test]
fn definitions_and_settings() {
    check(&[
        ("CREATE TABLE", |n| {
            format!("CREATE TABLE brand_new (tenant_id int8, {})", list(n, ",", |i| format!("c{i} int")))
        }),
        ("CREATE TABLE with checks", |n| {
            format!("CREATE TABLE brand_new (tenant_id int8, {})", list(n, ",", |i| format!("CHECK (tenant_id > {i})")))
        }),
        ("ALTER TABLE", |n| format!("ALTER TABLE orders {}", list(n, ",", |i| format!("ADD COLUMN c{i} int")))),
        ("DROP TABLE", |n| format!("DROP TABLE {}", list(n, ",", |i| format!("t{i}")))),
        ("TRUNCATE", |n| format!("TRUNCATE {}", list(n, ",", |_| "orders".to_owned()))),
        ("GRANT", |n| format!("GRANT SELECT ON {} TO x", list(n, ",", |i| format!("t{i}")))),
        ("COPY", |n| format!("COPY orders ({}) FROM STDIN", list(n, ",", |i| format!("c{i}")))),
        ("SET", |n| format!("SET search_path = {}", list(n, ",", |i| format!("s{i}")))),
        ("LOCK", |n| format!("LOCK TABLE {}", list(n, ",", |_| "orders".to_owned()))),
        ("a function's body", |n| {
            let body = list(n, " ", |i| format!("SELECT {i};"));
            format!("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $$ {body} $$")
        }),
        ("an atomic function's body", |n| {
            let body = list(n, " ", |i| format!("SELECT {i};"));
            format!("CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC {body} END")
        }),
        ("DO", |n| format!("DO $$ BEGIN {} END $$", list(n, " ", |i| format!("PERFORM {i};")))),
    ]);
}

#[test]
fn words_and_blanks() {
    check(&[
        ("comments", |n| format!("SELECT {} 1", list(n, " ", |_| "/* x */".to_owned()))),
        ("comments within comments", |n| format!("{}{} SELECT 1", "/*".repeat(n), "*/".repeat(n))),
        ("comments that do not end", |n| "/*".repeat(n)),
        ("line comments", |n| format!("{}SELECT 1", "-- x\n".repeat(n))),
        ("semicolons", |n| format!("{}SELECT 1{}", ";".repeat(n), ";".repeat(n))),
        ("statements", |n| "SELECT 1;".repeat(n)),
        ("a string", |n| format!("SELECT '{}'", "''".repeat(n * 10))),
        ("an escape string", |n| format!("SELECT E'{}'", r"\x41\n\\\u0041".repeat(n))),
        ("a string in pieces", |n| format!("SELECT 'a'{}", "\n'a'".repeat(n))),
        ("dollars", |n| format!("SELECT $a${}$a$", "$b$ $a ".repeat(n))),
        ("dollars that do not end", |n| list(n, " ", |i| format!("$a{i}$"))),
        ("a quoted name", |n| format!("SELECT \"{}\" FROM orders", "a\"\"".repeat(n))),
        ("a long name", |n| format!("SELECT {} FROM orders", "a".repeat(n * 10))),
        ("a long number", |n| format!("SELECT id FROM orders WHERE tenant_id = {}", "9".repeat(n * 10))),
        ("a long fraction", |n| format!("SELECT v FROM prices WHERE key = 0.{}1", "0".repeat(n * 10))),
        ("a long number as text", |n| format!("SELECT v FROM prices WHERE key = '1e{}'", "9".repeat(n * 10))),
        ("a dotted name", |n| format!("SELECT a{} FROM orders", ".a".repeat(n))),
        ("a name of many parts", |n| format!("SELECT id FROM {}orders", "public.".repeat(n))),
        ("words", |n| "select ".repeat(n)),
        ("commas", |n| ",".repeat(n)),
        ("operators", |n| format!("SELECT 1 {} 1", "+".repeat(n))),
        ("brackets", |n| format!("SELECT {}1{}", "ARRAY[".repeat(n), "]".repeat(n))),
        ("braces in a literal", |n| {
            format!("SELECT id FROM orders WHERE tenant_id = ANY ('{}1{}')", "{".repeat(n), "}".repeat(n))
        }),
        ("blanks", |n| format!("SELECT{}1", " \n\t".repeat(n * 5))),
        ("other letters", |n| format!("SELECT 'ä', {} FROM orders", list(n, ",", |i| format!("'ö{i}'")))),
        ("lines", |n| format!("SELECT {} FROM orders", list(n, ",\n", |i| format!("id + {i}")))),
    ]);
}

#[test]
fn statements_within_statements() {
    check(&[
        ("EXPLAIN", |n| format!("{}SELECT 1", "EXPLAIN ".repeat(n))),
        ("EXPLAIN with options", |n| format!("{}SELECT id FROM orders", "EXPLAIN (COSTS off) ".repeat(n))),
        ("PREPARE", |n| format!("{}SELECT id FROM orders", "PREPARE p AS ".repeat(n))),
        ("DECLARE", |n| format!("{}SELECT id FROM orders", "DECLARE c CURSOR FOR ".repeat(n))),
        ("COPY of a query", |n| format!("{}SELECT 1{}", "COPY (".repeat(n), ") TO STDOUT".repeat(n))),
        ("CREATE TABLE AS", |n| format!("{}SELECT 1", "CREATE TABLE t AS ".repeat(n))),
        ("EXPLAIN and PREPARE", |n| format!("{}SELECT 1", "EXPLAIN PREPARE p AS ".repeat(n))),
        ("parentheses", |n| format!("{}SELECT 1{}", "(".repeat(n), ")".repeat(n))),
        ("subqueries", |n| format!("SELECT * FROM {}orders{}", "(SELECT * FROM ".repeat(n), ") x".repeat(n))),
        ("WITH in WITH", |n| format!("{}SELECT 1{}", "WITH a AS (".repeat(n), ") SELECT 1".repeat(n))),
        ("NOT", |n| format!("SELECT id FROM orders WHERE {} tenant_id = 5", "NOT ".repeat(n))),
        ("minus", |n| format!("SELECT id FROM orders WHERE tenant_id = {} 5", "- ".repeat(n))),
        ("casts", |n| format!("SELECT id FROM orders WHERE tenant_id = 5{}", "::int".repeat(n))),
        ("CASE", |n| format!("SELECT {}1{}", "CASE WHEN true THEN ".repeat(n), " END".repeat(n))),
        ("subscripts", |n| format!("SELECT (x){} FROM orders", "[1]".repeat(n))),
        ("functions", |n| format!("SELECT {}1{}", "abs(".repeat(n), ")".repeat(n))),
        ("UNION ALL", |n| list(n, " UNION ALL ", |_| "SELECT id FROM orders".to_owned())),
        ("UNION ALL with commas", |n| {
            list(n, " UNION ALL ", |_| "SELECT id, qty, 1 FROM orders o, lines l".to_owned())
        }),
        ("JOIN", |n| {
            let join = |i| format!("JOIN lines l{i} ON l{i}.tenant_id = o.tenant_id");
            format!("SELECT o.id FROM orders o {}", list(n, " ", join))
        }),
        ("OR", |n| format!("SELECT id FROM orders WHERE {}", list(n, " OR ", |i| format!("tenant_id = {i}")))),
        ("AND", |n| format!("SELECT id FROM orders WHERE {}", list(n, " AND ", |i| format!("tenant_id <> {i}")))),
        ("a sum beside a key", |n| {
            format!("SELECT id FROM orders WHERE tenant_id = {}", list(n, " + ", |_| "1".to_owned()))
        }),
        ("a condition beside a key", |n| {
            let or = list(n, " OR ", |i| format!("{i} = 0"));
            format!("SELECT id FROM orders WHERE tenant_id = CASE WHEN {or} THEN 5 END")
        }),
        ("a text beside a key", |n| {
            format!("SELECT * FROM racks WHERE zone = {}", list(n, " || ", |_| "'a'".to_owned()))
        }),
        ("MERGE", |n| {
            let when = "WHEN MATCHED AND o.qty = 1 THEN UPDATE SET qty = 1 ".repeat(n);
            format!("MERGE INTO orders o USING lines l ON o.tenant_id = l.tenant_id {when}")
        }),
        ("array types", |n| format!("SELECT NULL::int{} FROM orders", "[]".repeat(n))),
    ]);
}

/// As many tables as are read at all: what they cost is bounded by their number, and so is the stack.
#[test]
fn lists_of_many_tables() {
    let run = || {
        let world = World::new();
        for n in [300, 1_000, 100_000] {
            let from = list(n, ",", |i| format!("orders o{i}"));
            let spent = cost(&world, &format!("SELECT 1 FROM {from} WHERE o1.tenant_id = 5"));
            println!("{n} tables: {spent:?}");
            assert!(spent < Duration::from_secs(60), "{n} tables cost {spent:?}");
        }
    };
    std::thread::Builder::new().stack_size(STACK).spawn(run).unwrap().join().unwrap();
}

/// Joins and set operations cost by the square of their number at most.
#[test]
fn many_joins() {
    let shapes: &[Shape] = &[
        ("joins of other columns", |n| {
            let join = |i| format!("JOIN orders o{} ON o{}.qty = o{i}.qty", i + 1, i + 1);
            format!("SELECT count(*) FROM orders o0 {}", list(n, " ", join))
        }),
        ("outer joins of other columns", |n| {
            let join = |i| format!("LEFT JOIN orders o{} ON o{}.qty = o{i}.qty", i + 1, i + 1);
            format!("SELECT count(*) FROM orders o0 {}", list(n, " ", join))
        }),
        ("outer joins by the key", |n| {
            let join = |i| format!("LEFT JOIN orders o{} ON o{}.tenant_id = o{i}.tenant_id", i + 1, i + 1);
            format!("SELECT count(*) FROM orders o0 {}", list(n, " ", join))
        }),
        ("INTERSECT", |n| list(n, " INTERSECT ", |_| "SELECT tenant_id FROM orders".to_owned())),
    ];
    let run = move || {
        let world = World::new();
        let mut wrong = Vec::new();
        for (name, shape) in shapes {
            let least = |n| (0..2).map(|_| cost(&world, &shape(n))).min().unwrap();
            let (less, more) = (least(60), least(240));
            println!("{name}: 60 {less:?}, 240 {more:?}");
            // Four times as many: sixteen times, and not sixty-four.
            if more > ENOUGH && more > less * 32 {
                wrong.push(format!("{name}: 60 cost {less:?}, 240 {more:?}"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    };
    std::thread::Builder::new().stack_size(STACK).spawn(run).unwrap().join().unwrap();
}

/// The longest chains that are read at all: there the tree is deepest, and conditions are most.
#[test]
fn the_longest_chains_that_are_read() {
    let world = World::new();
    let chain = |n: usize, by: &str, part: &dyn Fn(usize) -> String| list(n, by, part);
    for (name, sql) in [
        ("OR", format!("SELECT id FROM orders WHERE {}", chain(1240, " OR ", &|i| format!("tenant_id = {i}")))),
        ("OR, put together", {
            let term = |i: usize| format!("tenant_id = {i} OR id > {i} AND tenant_id IN ({i}, 1)");
            format!("SELECT id FROM orders WHERE {}", chain(3000, " OR ", &term))
        }),
        ("AND", format!("SELECT id FROM orders WHERE {}", chain(1240, " AND ", &|i| format!("tenant_id = {i}")))),
        ("ranges", format!("SELECT id FROM sites WHERE {}", chain(1240, " OR ", &|i| format!("region_id > {i}")))),
        ("equalities", {
            let equal = |i: usize| format!("o{i}.tenant_id = o{}.tenant_id", i + 1);
            let from = chain(400, ",", &|i| format!("orders o{i}"));
            format!("SELECT 1 FROM {from} WHERE {}", chain(399, " AND ", &equal))
        }),
        ("joins", {
            let join = |i: usize| format!("JOIN lines l{i} ON l{i}.tenant_id = o.tenant_id");
            format!("SELECT o.id FROM orders o {}", chain(380, " ", &join))
        }),
        ("joins, one to the other", {
            let join = |i: usize| format!("JOIN lines l{} ON l{}.tenant_id = l{i}.tenant_id", i + 1, i + 1);
            format!("SELECT l0.no FROM lines l0 {}", chain(380, " ", &join))
        }),
        ("unions", chain(600, " UNION ALL ", &|i| format!("SELECT id FROM orders WHERE tenant_id = {i}"))),
        ("lists", {
            let one = |i: usize| format!("tenant_id IN ({},{i})", numbers(500));
            format!("SELECT id FROM orders WHERE {}", chain(1200, " AND ", &one))
        }),
    ] {
        let spent = cost(&world, &sql);
        println!("{name}: {} bytes, {spent:?}", sql.len());
        assert!(spent < Duration::from_secs(20), "{name}: {} bytes cost {spent:?}", sql.len());
    }
}

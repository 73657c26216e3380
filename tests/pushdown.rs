//! What tier 2 pulls: only rows that can matter, told by the router's own count of them, and the answers stay those of one Postgres.

#![allow(clippy::unwrap_used)]

mod support;

use support::raw::Raw;
use support::{Database, Router};

const SCHEMA: &str = "CREATE TABLE customers (tenant int, id int, name text, level int, PRIMARY KEY (tenant, id)); \
     CREATE TABLE orders (tenant int, id int, customer int, total numeric, note text, PRIMARY KEY (tenant, id)); \
     CREATE TABLE products (sku text PRIMARY KEY, price int); \
     CREATE TABLE colours (code text PRIMARY KEY, warm bool); \
     CREATE TABLE picks (id int, sku text)";
/// 2,000 customers, 20,000 orders, 12,000 products; 4 colours on every shard; 5 picks at home.
const FILL: [&str; 5] = [
    "INSERT INTO customers SELECT i % 20, i, 'name ' || i % 100, i % 10 FROM generate_series(1, 2000) i",
    "INSERT INTO orders SELECT i % 20, i, (i * 20 + i % 20) % 2000, i, CASE WHEN i % 3 = 0 THEN 'red' ELSE 'c' || i % 50 END \
       FROM generate_series(1, 20000) i",
    "INSERT INTO products SELECT 'sku ' || i, i % 1000 FROM generate_series(1, 12000) i",
    "INSERT INTO colours VALUES ('red', true), ('c7', true), ('c9', false), ('blue', false)",
    "INSERT INTO picks VALUES (7, 'sku 5'), (8, 'sku 99'), (9, 'sku 1000'), (10, NULL), (11, 'none')",
];

struct World {
    router: Router,
    db: Database,
}

impl World {
    fn create(label: &str) -> Self {
        let db = Database::create(label);
        db.everywhere(SCHEMA);
        let name = &db.name;
        let mut toml = format!(
            "[general]\nport = {{port}}\nmetrics_listen = \"127.0.0.1:{{http_port}}\"\nauth_type = \"trust\"\n\
             [[users]]\nname = \"postgres\"\n[databases.{name}]\n"
        );
        for (index, port) in db.ports().iter().enumerate() {
            toml += &format!("[[databases.{name}.shards]]\nname = \"s{index}\"\nhost = \"127.0.0.1\"\nport = {port}\n");
        }
        for (distribution, key_type) in [("tenant", "int4"), ("sku", "text")] {
            toml += &format!(
                "[[databases.{name}.distributions]]\nname = \"{distribution}\"\nkey_types = [\"{key_type}\"]\n"
            );
        }
        for (table, distribution) in [("customers", "tenant"), ("orders", "tenant"), ("products", "sku")] {
            toml += &format!(
                "[[databases.{name}.tables]]\nname = \"{table}\"\ndistribution = \"{distribution}\"\n\
                 columns = [\"{distribution}\"]\n"
            );
        }
        for schema in ["a", "b"] {
            toml += &format!(
                "[[databases.{name}.tables]]\nname = \"{schema}.things\"\ndistribution = \"tenant\"\ncolumns = [\"tenant\"]\n"
            );
        }
        toml += &format!("[[databases.{name}.tables]]\nname = \"colours\"\nreference = true\n");
        let world = Self { router: Router::start(&toml), db };
        let mut oracle = world.db.oracle();
        for sql in FILL {
            oracle.must(sql);
        }
        let mut router = world.router.connect(&world.db.name);
        for table in ["customers", "orders", "products", "colours", "picks"] {
            let out = oracle.must(&format!("COPY {table} TO STDOUT"));
            let rows = out.answers[0].copied.clone().unwrap();
            router.copy_in(&format!("COPY {table} FROM STDIN"), &rows);
        }
        world
    }

    fn pulled(&self) -> u64 {
        let (_, text) = self.router.http("/metrics");
        let line = text.lines().find_map(|line| line.strip_prefix("pgloom_pulled_rows_total ")).unwrap_or("0");
        line.trim().parse::<f64>().unwrap() as u64
    }

    /// The statement's answer is one Postgres's own, and takes no more rows than these from the shards.
    #[track_caller]
    fn pulls(&self, raw: &mut Raw, sql: &str, rows: u64) {
        let before = self.pulled();
        let ours = raw.simple(sql);
        let theirs = self.db.oracle().simple(sql);
        assert_eq!(ours, theirs, "{sql}");
        assert!(theirs.error.is_none(), "{theirs:?}");
        let pulled = self.pulled() - before;
        assert!(pulled <= rows && (pulled > 0 || rows == 0), "{sql}\n  {pulled} rows were pulled, {rows} expected");
    }
}

#[test]
fn rows_without_a_partner_are_not_pulled() {
    let world = World::create("partners");
    let mut raw = world.router.connect(&world.db.name);
    // 20 customers of that name; the 200 orders of theirs.
    let joined = "SELECT c.name, percentile_disc(0.5) WITHIN GROUP (ORDER BY o.total) FROM customers c JOIN orders o ON o.tenant = c.tenant AND o.customer = c.id \
                  WHERE c.name = 'name 7' GROUP BY c.name";
    world.pulls(&mut raw, joined, 20 + 200);
    let outer = "SELECT c.id, percentile_disc(0.5) WITHIN GROUP (ORDER BY o.id) FROM customers c LEFT JOIN orders o ON o.tenant = c.tenant AND \
                 o.customer = c.id WHERE c.name = 'name 7' GROUP BY c.tenant, c.id ORDER BY 1";
    world.pulls(&mut raw, outer, 0);
    // The other way round nothing can be left out of what is preserved.
    let preserved = "SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY o.id), count(c.id) FROM orders o LEFT JOIN customers c ON o.tenant = c.tenant AND \
                     o.customer = c.id AND c.name = 'name 7'";
    world.pulls(&mut raw, preserved, 20_000 + 20);
    let reference = "SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY o.id % 7), k.code FROM orders o JOIN colours k ON k.code = o.note WHERE NOT k.warm \
                     GROUP BY 2";
    world.pulls(&mut raw, reference, 400);
}

#[test]
fn values_of_what_is_pulled_first_restrict_what_is_pulled_later() {
    let world = World::create("keyed");
    let mut raw = world.router.connect(&world.db.name);
    let off_key = "SELECT o.id, c.name FROM customers c JOIN orders o ON o.customer = c.id AND o.tenant <> c.tenant + 1 \
                   WHERE c.name = 'name 7' ORDER BY 1, 2";
    world.pulls(&mut raw, off_key, 20 + 200);
    let home = "SELECT p.id, r.price FROM picks p JOIN products r ON r.sku = p.sku ORDER BY 1";
    world.pulls(&mut raw, home, 3);
    let outer = "SELECT p.id, r.price FROM picks p LEFT JOIN products r ON r.sku = p.sku AND r.price < 50 ORDER BY 1";
    world.pulls(&mut raw, outer, 2);
    let not_in = "SELECT p.id FROM picks p WHERE NOT EXISTS (SELECT FROM products r WHERE r.sku = p.sku) ORDER BY 1";
    world.pulls(&mut raw, not_in, 3);
    let none =
        "SELECT o.id FROM picks p JOIN products r ON r.sku = p.sku JOIN orders o ON o.id = r.price WHERE p.id > 20";
    world.pulls(&mut raw, none, 0);
    let chain = "SELECT o.id, c.name FROM picks p JOIN products r ON r.sku = p.sku JOIN orders o ON o.id = r.price \
                 JOIN customers c ON c.id = o.customer ORDER BY 1, 2";
    world.pulls(&mut raw, chain, 3 + 2 + 2);
    // Not an equality: all rows come that their own conditions leave.
    let many = "SELECT count(*), count(DISTINCT o.note) FROM products r JOIN orders o ON o.id = r.price + 1 OR r.sku = o.note \
                WHERE r.price >= 0 AND o.id < 100";
    world.pulls(&mut raw, many, 12_000 + 99);
    // More values than are sent.
    let too_many = "SELECT count(*) FROM products a JOIN products b ON a.sku = b.sku JOIN orders o ON o.note = a.sku \
                    WHERE a.price >= 0 AND o.id > 0";
    world.pulls(&mut raw, too_many, 12_000 + 12_000 + 20_000);
    // The shards that are asked follow from the values too.
    let report = raw.must(&format!("EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) {home}")).text();
    let (_, pull) = report.split_once("Pull public.products").unwrap();
    assert!(pull.contains("among SELECT \"sku\" FROM \"public\".\"picks\""), "{report}");
    assert!(pull.matches("On s").count() <= 4 && pull.contains("ANY"), "{report}");
    // Within a transaction the home shard's rows are pulled too, with the transaction's own.
    let mut oracle = world.db.oracle();
    for step in ["BEGIN", "INSERT INTO picks VALUES (12, 'sku 77')", home, "ROLLBACK"] {
        assert_eq!(raw.simple(step), oracle.simple(step), "{step}");
    }
}

#[test]
fn groups_and_rows_that_the_shards_make_are_pulled_and_not_what_they_are_made_of() {
    let world = World::create("regroup");
    let mut raw = world.router.connect(&world.db.name);
    let shards = 4;
    // 20 tenants, 10 levels, 51 notes; each on all shards at most.
    let expression = "SELECT level, sum(id) * 100 / count(*), avg(id) + 1 FROM customers GROUP BY level HAVING max(id) + 0 > 5 ORDER BY 1";
    world.pulls(&mut raw, expression, 10 * shards);
    let ordered = "SELECT note, count(*) FROM orders GROUP BY note ORDER BY note DESC LIMIT 5";
    world.pulls(&mut raw, ordered, 51 * shards);
    let distinct = "SELECT count(DISTINCT note) + 0, count(*), sum(total) FROM orders";
    world.pulls(&mut raw, distinct, 51 * shards);
    let cube = "SELECT c.level, o.note, count(*), grouping(c.level, o.note) FROM customers c JOIN orders o ON o.tenant = c.tenant AND \
                o.customer = c.id GROUP BY CUBE (c.level, o.note) ORDER BY 1, 2, 4";
    world.pulls(&mut raw, cube, 10 * 51 * shards);
    let window =
        "SELECT level, count(*), rank() OVER (ORDER BY count(*) DESC, level) FROM customers GROUP BY level ORDER BY 1";
    world.pulls(&mut raw, window, 10 * shards);
    let rows = "SELECT c.name, o.id FROM customers c JOIN orders o ON o.tenant = c.tenant AND o.customer = c.id ORDER BY c.name, o.id \
                LIMIT 7 OFFSET 3";
    world.pulls(&mut raw, rows, 10 * shards);
    let first = "SELECT DISTINCT ON (c.name) c.name, o.id FROM customers c JOIN orders o ON o.tenant = c.tenant AND o.customer = c.id \
                 ORDER BY c.name, o.id DESC";
    world.pulls(&mut raw, first, 100 * shards);
    let inner = "SELECT p.id, x.n FROM picks p JOIN (SELECT o.tenant, count(*) AS n FROM orders o JOIN customers c \
                 ON c.tenant = o.tenant AND c.id = o.customer GROUP BY o.tenant) x ON x.tenant = p.id ORDER BY 1";
    world.pulls(&mut raw, inner, 5);
    let twice = "WITH x AS (SELECT tenant, max(total) AS most FROM orders GROUP BY tenant) SELECT a.tenant, b.tenant FROM x a, x b, picks p \
                 WHERE a.most < b.most AND p.id = a.tenant ORDER BY 1, 2";
    world.pulls(&mut raw, twice, 20);
    // In a transaction with its own writes, by name, and with parameters.
    let mut oracle = world.db.oracle();
    for step in ["BEGIN", "DELETE FROM orders WHERE tenant = 3", distinct, inner, "ROLLBACK"] {
        assert_eq!(raw.simple(step), oracle.simple(step), "{step}");
    }
    let bound = "SELECT level, sum(id) * $1 / count(*) FROM customers WHERE id > $2 GROUP BY level ORDER BY 2 LIMIT $3";
    let values = ["3", "100", "4"].map(support::raw::Value::text);
    assert_eq!(raw.extended(bound, &[], &values, 1), oracle.extended(bound, &[], &values, 1));
}

/// Who may read some columns of a table reads it where these are all that the statement names of it.
#[test]
fn columns_that_are_not_named_are_not_asked_for() {
    let world = World::create("named");
    let role = "pushdown_reader";
    world.db.everywhere(&format!(
        "DO $$BEGIN CREATE ROLE {role}; EXCEPTION WHEN duplicate_object OR unique_violation THEN END$$; \
         GRANT SELECT (tenant, id, customer) ON orders TO {role}; GRANT SELECT (tenant, id) ON customers TO {role}; GRANT SELECT ON products, picks TO {role}"
    ));
    let (mut ours, mut theirs) = (world.router.connect(&world.db.name), world.db.oracle());
    for raw in [&mut ours, &mut theirs] {
        raw.must(&format!("SET ROLE {role}"));
    }
    let answered = [
        // Keywords, aliases and columns of other tables are none of a table's columns.
        "SELECT o.id AS note, rank() OVER (ORDER BY id) AS total FROM orders o ORDER BY total, note LIMIT 3",
        "SELECT note.id FROM orders note JOIN picks p ON p.id = note.customer ORDER BY 1 LIMIT 3",
        "SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY id) AS level FROM customers name",
        "SELECT p.price, percentile_disc(0.5) WITHIN GROUP (ORDER BY o.id) FROM orders o, products p WHERE p.price = o.id GROUP BY p.price ORDER BY price LIMIT 3",
        "SELECT id, (SELECT max(price) FROM products WHERE price < o.id) FROM orders o WHERE id < 5 ORDER BY id",
        "WITH q AS (SELECT price AS total, sku AS note FROM products) SELECT o.id, max(q.total), count(DISTINCT q.note) FROM orders o JOIN q ON q.total = o.id GROUP BY o.id ORDER BY o.id LIMIT 4",
        "SELECT o.id FROM orders o JOIN (SELECT price AS id, sku AS total FROM products) q USING (id) ORDER BY id LIMIT 4",
        "SELECT id AS note FROM orders UNION SELECT id FROM customers ORDER BY note LIMIT 4",
        "SELECT count(DISTINCT customer) AS total FROM orders HAVING count(*) > 5",
    ];
    let refused = [
        "SELECT note FROM orders ORDER BY rank() OVER (ORDER BY id) LIMIT 3",
        "SELECT id FROM orders o WHERE EXISTS (SELECT FROM products WHERE price = total) ORDER BY id LIMIT 3",
        "SELECT o.* FROM orders o JOIN products p ON p.price = o.id",
        "SELECT o FROM orders o JOIN products p ON p.price = o.id",
        "SELECT o.id FROM orders o JOIN customers USING (tenant, id) JOIN products p ON p.sku = name",
        "SELECT c.id, percentile_disc(0.5) WITHIN GROUP (ORDER BY level) FROM customers c GROUP BY c.id",
        "SELECT id FROM orders ORDER BY total, rank() OVER (ORDER BY id)",
        "SELECT id FROM orders JOIN (SELECT price AS id, sku AS note FROM products) p USING (id, note)",
    ];
    for sql in answered {
        let (a, b) = (ours.simple(sql), theirs.simple(sql));
        assert!(b.error.is_none(), "{sql}: {b:?}");
        assert_eq!(a, b, "{sql}");
    }
    for sql in refused {
        let (a, b) = (ours.simple(sql), theirs.simple(sql));
        assert_eq!((a.code(), b.code()), ("42501", "42501"), "{sql}");
    }
}

#[test]
fn inputs_of_one_search_path_are_none_of_another() {
    let world = World::create("regrouppath");
    let mut raw = world.router.connect(&world.db.name);
    let sql = "SELECT sum(v) + 1, max(v) || '' FROM things";
    for (schema, kind) in [("a", "int"), ("b", "numeric")] {
        for sql in [
            format!("CREATE SCHEMA {schema}"),
            format!("CREATE TABLE {schema}.things (tenant int, v {kind})"),
            format!("INSERT INTO {schema}.things VALUES (1, 1), (2, 2), (3, 3), (4, 4)"),
        ] {
            world.db.oracle().must(&sql);
            raw.must(&sql);
        }
    }
    for schema in ["a", "b", "a", "b"] {
        let mut oracle = world.db.oracle();
        let set = format!("SET search_path TO {schema}, public");
        oracle.must(&set);
        raw.must(&set);
        assert_eq!(raw.simple(sql), oracle.simple(sql), "{schema}");
        assert!(raw.must(&format!("EXPLAIN (ROUTE) {sql}")).text().contains("SELECT sum(v) AS"), "{schema}");
    }
}

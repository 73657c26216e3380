//! Statements that a Postgres finishes on rows pulled from the shards: the same as on one Postgres, in every protocol, and
//! nothing is left behind by their errors, cancels and limits.

#![allow(clippy::unwrap_used)]

mod support;

use std::io::Read;
use std::time::{Duration, Instant};

use support::raw::{Message, Raw, Reply, Value, message as m};
use support::{Database, Router, SHARDS, eventually};

const SCHEMA: &str = "CREATE TYPE mood AS ENUM ('low', 'fair', 'high'); \
     CREATE TABLE sales (id int PRIMARY KEY, buyer int, item int, amount numeric(10,2), weight float8, day date, \
       note text COLLATE \"C\", feeling mood, tags text[], body jsonb); \
     CREATE TABLE buyers (id int PRIMARY KEY, name text, region text); \
     CREATE TABLE regions (code text PRIMARY KEY, title text); \
     CREATE TABLE rates (item int PRIMARY KEY, rate numeric)";
const ROWS: i32 = 400;
const FILL: [&str; 4] = [
    "INSERT INTO sales VALUES ",
    "INSERT INTO buyers VALUES ",
    "INSERT INTO regions VALUES ('n', 'North'), ('s', 'South')",
    "INSERT INTO rates VALUES (0, 1.5), (1, 2.25), (2, 0.1)",
];

struct World {
    router: Router,
    db: Database,
}

impl World {
    fn create(label: &str, general: &str, combine: &str) -> Self {
        let db = Database::create(label);
        db.everywhere(SCHEMA);
        let name = &db.name;
        let mut toml = format!(
            "[general]\nport = {{port}}\nmetrics_listen = \"127.0.0.1:{{http_port}}\"\nauth_type = \"trust\"\n{general}\n\
             [combine]\n{combine}\n[[users]]\nname = \"postgres\"\n[databases.{name}]\n"
        );
        for (index, port) in db.ports().iter().enumerate() {
            toml += &format!("[[databases.{name}.shards]]\nname = \"s{index}\"\nhost = \"127.0.0.1\"\nport = {port}\n");
        }
        toml += &format!("[[databases.{name}.distributions]]\nname = \"key\"\nkey_types = [\"int4\"]\n");
        for table in ["sales", "buyers"] {
            toml += &format!(
                "[[databases.{name}.tables]]\nname = \"{table}\"\ndistribution = \"key\"\ncolumns = [\"id\"]\n"
            );
        }
        toml += &format!("[[databases.{name}.tables]]\nname = \"regions\"\nreference = true\n");
        let router = Router::start(&toml);
        let world = Self { router, db };
        let sales: Vec<String> = (1..=ROWS)
            .map(|i| {
                let feeling = ["'low'", "'fair'", "'high'", "NULL"][(i % 4) as usize];
                format!(
                    "({i}, {}, {}, {}.{:02}, {}, '2024-01-01'::date + {}, 'note\t{}\\', {feeling}, ARRAY['a', 'x{}'], \
                     '{{\"k\": {}}}')",
                    i % 17 + 1,
                    i % 3,
                    i * 7 % 1000,
                    i % 100,
                    f64::from(i) / 8.0,
                    i % 60,
                    i % 5,
                    i % 3,
                    i % 9
                )
            })
            .collect();
        let buyers: Vec<String> =
            (1..=20).map(|i| format!("({i}, 'buyer {i}', '{}')", if i % 2 == 0 { "n" } else { "s" })).collect();
        for mut raw in [world.db.oracle(), world.connect()] {
            raw.must(&format!("{}{}", FILL[0], sales.join(", ")));
            raw.must(&format!("{}{}", FILL[1], buyers.join(", ")));
            raw.must(FILL[2]);
            raw.must(FILL[3]);
        }
        world
    }

    fn connect(&self) -> Raw {
        self.router.connect(&self.db.name)
    }

    fn home(&self) -> Raw {
        self.db.shard(0)
    }

    /// Waits until nobody works in a transaction on the home shard's combine connections.
    fn at_rest(&self) {
        let sql = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = '{}' AND pid <> pg_backend_pid() AND state <> 'idle'",
            self.db.name
        );
        eventually(10, "no transaction is left open", || self.home().value(&sql) == "0");
    }
}

/// Statements that no merge in the router can answer.
const STATEMENTS: &[&str] = &[
    "SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY amount), sum(weight), bool_or(weight > 49) FROM sales",
    "SELECT item, percentile_cont(0.5) WITHIN GROUP (ORDER BY amount) FROM sales GROUP BY item ORDER BY item",
    "SELECT id, rank() OVER (PARTITION BY item ORDER BY amount DESC, id) AS place FROM sales ORDER BY id LIMIT 25",
    "SELECT DISTINCT ON (buyer) buyer, id, amount FROM sales ORDER BY buyer, amount DESC, id",
    "SELECT s.id, b.name FROM sales s JOIN buyers b ON b.id = s.buyer WHERE s.amount > 500 ORDER BY s.id",
    "SELECT b.region, r.title, sum(s.amount) FROM sales s JOIN buyers b ON b.id = s.buyer JOIN regions r ON r.code = b.region \
       GROUP BY b.region, r.title ORDER BY 1",
    "WITH big AS (SELECT buyer, sum(amount) AS total FROM sales GROUP BY buyer HAVING sum(amount) > 1000) \
       SELECT b.name, big.total FROM big JOIN buyers b ON b.id = big.buyer ORDER BY big.total DESC, b.name",
    "SELECT item, day, sum(weight), grouping(item, day) FROM sales WHERE id < 40 GROUP BY ROLLUP (item, day) ORDER BY 1, 2, 4",
    "SELECT count(DISTINCT note), count(DISTINCT buyer) FROM sales",
    "SELECT string_agg(note, ',' ORDER BY id) FROM sales WHERE id < 9",
    "SELECT s.id, r.rate * s.amount FROM sales s JOIN rates r ON r.item = s.item ORDER BY s.id LIMIT 7",
    "SELECT feeling, tags, body, percentile_disc(0.5) WITHIN GROUP (ORDER BY amount) FROM sales GROUP BY feeling, tags, body ORDER BY 1, 2, 3",
    "SELECT id, note FROM sales WHERE amount > (SELECT avg(amount) FROM sales) ORDER BY id",
    "SELECT name FROM buyers b WHERE NOT EXISTS (SELECT FROM sales s WHERE s.buyer = b.id) ORDER BY name",
    "SELECT buyer FROM sales INTERSECT SELECT id FROM buyers ORDER BY 1",
    "SELECT buyer, amount FROM sales ORDER BY amount FETCH FIRST 3 ROWS WITH TIES",
];

/// Tells a refusal from a difference: everything in this file must be answered.
#[track_caller]
fn same(what: &str, ours: &Reply, theirs: &Reply) {
    if let Some(error) = ours.error.as_ref().filter(|_| theirs.error.is_none()) {
        panic!("{what}\n  {error}");
    }
    assert_eq!(ours, theirs, "{what}");
}

#[test]
fn statements_prepared_in_sql_are_executed_over_shards() {
    let world = World::create("sql_prepare", "", "");
    let (mut oracle, mut raw) = (world.db.oracle(), world.connect());
    let steps = [
        "PREPARE one (int) AS SELECT id, buyer, note FROM sales WHERE id = $1",
        "PREPARE one AS SELECT 1 FROM sales",
        "EXECUTE one(7)",
        "EXECUTE one(3 + 4)",
        "EXECUTE one('8')",
        "EXECUTE one(1.6)",
        "EXECUTE one(NULL)",
        "EXECUTE one",
        "EXECUTE one(1, 2)",
        "EXECUTE one(true)",
        "EXECUTE one('x')",
        "EXECUTE one((SELECT 1))",
        "EXECUTE missing(1)",
        "PREPARE broken AS SELECT nothing FROM sales",
        "PREPARE many (numeric, date) AS SELECT item, count(*), avg(amount) FROM sales WHERE amount > $1 AND day < $2 GROUP BY item ORDER BY item",
        "EXECUTE many(100, '2024-02-01')",
        "EXECUTE many(99.5, date '2024-01-05' + 20)",
        "PREPARE merged AS SELECT id, amount FROM sales WHERE id < $1 ORDER BY amount DESC, id LIMIT $2",
        "EXECUTE merged(50, 5)",
        "PREPARE put AS INSERT INTO sales (id, buyer, note) VALUES ($1, $2, $3) RETURNING id, note",
        "PREPARE cut AS DELETE FROM sales WHERE id >= $1",
        "EXECUTE put(9001, 1, 'it''s')",
        "EXECUTE put(9001, 1, 'twice')",
        "BEGIN",
        "EXECUTE put(9002, 1, NULL)",
        "EXECUTE many(1, '2024-02-01')",
        "SAVEPOINT s",
        "EXECUTE one('y')",
        "ROLLBACK TO s",
        "EXECUTE one(9002)",
        "PREPARE within AS SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY amount) FROM sales",
        "ROLLBACK",
        "EXECUTE within",
        "EXECUTE one(9002)",
        "EXECUTE cut(9000)",
        "PREPARE at_home AS SELECT rate FROM rates WHERE item = $1",
        "PREPARE at_home AS SELECT 1 FROM sales",
        "EXECUTE at_home(1)",
        "EXECUTE one(1); EXECUTE one(2)",
        "PREPARE tell AS SELECT set_config('my.tale', $1, false)",
        "EXECUTE tell('of two shards')",
        "EXECUTE tell('o' || 'f one')",
        "SELECT current_setting('my.tale') FROM sales WHERE id = 1",
        "SELECT current_setting('my.tale') FROM sales WHERE id = 2",
        "SELECT current_setting('my.tale') FROM sales WHERE id = 3",
        "DEALLOCATE one",
        "EXECUTE one(1)",
        "PREPARE one AS SELECT max(id) FROM sales",
        "EXECUTE one",
        "DEALLOCATE ALL",
        "EXECUTE many(1, '2024-02-01')",
        "DEALLOCATE many",
    ];
    for step in steps {
        let (ours, theirs) = (raw.simple(step), oracle.simple(step));
        if theirs.error.is_none() {
            assert_eq!(ours.answers, theirs.answers, "{step}: {:?}", ours.error);
        }
        assert_eq!(ours.status, theirs.status, "{step}");
        let told = |reply: &Reply| {
            reply.error.as_ref().map(|e| ["C", "M", "P"].map(|f| e.0.get(&f.chars().next().unwrap()).cloned()))
        };
        assert_eq!(told(&ours), told(&theirs), "{step}");
    }
    world.at_rest();
    // On whatever connection it runs: nothing of it is left on the servers.
    let mut other = world.connect();
    other.must("PREPARE one AS SELECT min(id) FROM sales");
    assert_eq!(other.value("EXECUTE one"), "1");
}

/// What the router takes by itself has the names that Postgres would take.
#[test]
fn keywords_are_names_where_they_are_names_in_postgres() {
    let world = World::create("keywords", "", "");
    let (mut oracle, mut raw) = (world.db.oracle(), world.connect());
    let keywords = oracle.value("SELECT string_agg(word, ' ' ORDER BY word) FROM pg_get_keywords()");
    assert!(keywords.split(' ').count() > 400);
    for keyword in keywords.split(' ') {
        for verb in ["EXECUTE", "DEALLOCATE", "CLOSE", "FETCH"] {
            let step = format!("{verb} {keyword}");
            assert_eq!(raw.simple(&step).code(), oracle.simple(&step).code(), "{step}");
        }
        let declare = format!("BEGIN; DECLARE {keyword} CURSOR FOR SELECT id FROM sales; CLOSE {keyword}");
        assert_eq!(raw.simple(&declare).code(), oracle.simple(&declare).code(), "{declare}");
        raw.simple("ROLLBACK");
        oracle.simple("ROLLBACK");
    }
}

#[test]
fn statements_are_finished_as_one_postgres_answers_them() {
    let world = World::create("finish", "", "");
    let (mut oracle, mut raw) = (world.db.oracle(), world.connect());
    for sql in STATEMENTS {
        let plan = raw.must(&format!("EXPLAIN (ROUTE) {sql}")).text();
        assert!(plan.starts_with("Finish on s0"), "{sql}\n{plan}");
        same(sql, &raw.simple(sql), &oracle.simple(sql));
        for format in [0, 1] {
            same(sql, &raw.extended(sql, &[], &[], format), &oracle.extended(sql, &[], &[], format));
        }
    }
    // Values of all kinds of parameters, used by the pulls and by the finishing statement.
    let sql = "SELECT item, percentile_disc(0.5) WITHIN GROUP (ORDER BY amount) + $3 FROM sales WHERE id < $1 AND note <> $2 GROUP BY item ORDER BY item";
    let text = [Value::text("200"), Value::text("note\t1\\"), Value::text("1.25")];
    let binary = [Value::binary(200_i32.to_be_bytes()), Value::binary(*b"note\t1\\"), Value::text("1.25")];
    let null = [Value::binary(200_i32.to_be_bytes()), Value::null(), Value::text("1.25")];
    for values in [&text, &binary, &null] {
        for (types, format) in [(&[][..], 0), (&[][..], 1), (&[23, 25, 1700][..], 1)] {
            same(sql, &raw.extended(sql, types, values, format), &oracle.extended(sql, types, values, format));
        }
    }
    let wrong = [Value::text("many"), Value::text(""), Value::text("0")];
    assert_eq!(raw.extended(sql, &[], &wrong, 0).code(), oracle.extended(sql, &[], &wrong, 0).code());
    assert_eq!(raw.value("SELECT count(*) FROM sales"), "400");
    // A whole row: as text it is what it is, its type is another one where it is put together.
    let sql = "SELECT s FROM sales s WHERE s.weight = (SELECT max(weight) FROM sales)";
    same(sql, &raw.simple(sql), &oracle.simple(sql));
    same(sql, &raw.extended(sql, &[], &[], 0), &oracle.extended(sql, &[], &[], 0));
    assert_eq!(raw.extended(sql, &[], &[], 1).code(), "0A000");
    // Several statements in one message, an error in the last.
    let sql = "SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY amount) FROM sales; SELECT count(DISTINCT buyer) + 0 FROM sales; SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY amount) / 0 FROM sales";
    same(sql, &raw.simple(sql), &oracle.simple(sql));
    let sql = "COPY (SELECT buyer, percentile_disc(0.5) WITHIN GROUP (ORDER BY amount) FROM sales GROUP BY buyer ORDER BY buyer) TO STDOUT";
    same(sql, &raw.simple(sql), &oracle.simple(sql));
    let batch =
        [m::parse("", sql, &[]), m::bind("", "", &[], &[]), m::describe(b'P', ""), m::execute("", 0), m::sync()];
    assert_eq!(play(&mut raw, &batch), play(&mut oracle, &batch));
    world.at_rest();
}

#[test]
fn session_mode_gives_the_combine_connection_back_all_the_same() {
    let world = World::create("finishsession", "pool_mode = \"session\"\ndefault_pool_size = 3", "pool_size = 1");
    let (mut one, mut other) = (world.connect(), world.connect());
    let sql = "SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY amount) FROM sales";
    assert_eq!(one.must(sql).text(), other.must(sql).text());
    one.must("CREATE TEMP TABLE mine (a int); INSERT INTO mine VALUES (1)");
    one.must(sql);
    assert_eq!(one.value("SELECT a FROM mine"), "1");
    one.must("DISCARD ALL");
    assert_eq!(one.must(sql).text(), other.must(sql).text());
    let pools = other.named("SHOW pgloom.shard_pools");
    let combine = pools.iter().find(|pool| pool["role"] == "combine").unwrap();
    assert_eq!(
        ["shard", "sv_active", "sv_idle", "cl_waiting", "pool_size"].map(|name| &*combine[name]),
        ["s0", "0", "1", "0", "1"]
    );
}

#[test]
fn a_transaction_that_holds_a_lock_does_not_wait_for_itself() {
    let world = World::create("finishlock", "", "");
    let (mut oracle, mut raw) = (world.db.oracle(), world.connect());
    raw.must("BEGIN; LOCK TABLE sales IN ACCESS EXCLUSIVE MODE");
    let sql = "SELECT id, rank() OVER (ORDER BY amount, id) FROM sales ORDER BY id";
    assert_eq!(raw.must(sql).answers, oracle.must(sql).answers);
    raw.must("ROLLBACK");
    raw.must("SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY amount) FROM sales");
    // The input is there already: nothing needs the lock.
    raw.must("BEGIN; LOCK TABLE sales IN ACCESS EXCLUSIVE MODE");
    raw.must("SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY amount) FROM sales");
    raw.must("COMMIT");
    world.at_rest();
}

/// What the transaction itself has made of the tables is what it reads, also where a Postgres finishes the statement.
#[test]
fn definitions_of_the_transaction_are_finished_with() {
    let world = World::create("finishown", "", "");
    let (mut oracle, mut raw) = (world.db.oracle(), world.connect());
    for sql in [
        "BEGIN",
        "ALTER TABLE sales ADD grade text COLLATE \"C\", ADD rate numeric(6, 2)",
        "UPDATE sales SET grade = CASE id % 3 WHEN 0 THEN 'a' WHEN 1 THEN 'B' ELSE 'c' END, rate = id / 7.0",
        "SELECT id, grade, rank() OVER (ORDER BY grade, id) FROM sales ORDER BY id",
        "SELECT DISTINCT ON (grade) grade, rate FROM sales ORDER BY grade, rate",
        "SELECT id, rate, lag(rate) OVER (ORDER BY id) FROM sales WHERE grade > 'B' ORDER BY id",
        "SELECT a.id, b.rate FROM sales a JOIN sales b ON b.id = a.id + 1 AND b.grade = 'a' ORDER BY 1",
        "ALTER TABLE sales RENAME rate TO speed",
        "ALTER TABLE sales ALTER speed TYPE float8",
        "SELECT id, speed, rank() OVER (ORDER BY speed, id) FROM sales ORDER BY id",
        "SAVEPOINT a",
        "ALTER TABLE sales DROP speed",
        "SELECT *, rank() OVER (ORDER BY id) FROM sales ORDER BY id LIMIT 3",
        "ROLLBACK TO a",
        "SELECT max(r) FROM (SELECT rank() OVER (ORDER BY speed, id) AS r FROM sales) x",
        "TRUNCATE sales",
        "SELECT count(*) FROM (SELECT rank() OVER (ORDER BY id) FROM sales) x",
        "ROLLBACK",
        "SELECT id, rank() OVER (ORDER BY amount, id) FROM sales ORDER BY id",
        "BEGIN",
        "TRUNCATE sales",
        "SELECT count(*) FROM (SELECT rank() OVER (ORDER BY id) FROM sales) x",
        "ROLLBACK",
    ] {
        let (theirs, ours) = (oracle.simple(sql), raw.simple(sql));
        assert_eq!(ours.code(), theirs.code(), "{sql}: {}", ours.text());
        assert_eq!(ours.text(), theirs.text(), "{sql}");
    }
    world.at_rest();
}

/// What came back up to a ReadyForQuery, without what differs between servers.
fn play(raw: &mut Raw, messages: &[Vec<u8>]) -> Vec<String> {
    raw.send(&messages.concat()).unwrap();
    let shown = |message: &Message| match message.tag {
        b'T' => format!("T {:?}", message.columns()),
        b'E' => format!("E {} {}", message.report().code(), message.report().message()),
        _ => format!("{message:?}"),
    };
    raw.read_to_ready().unwrap().iter().map(shown).collect()
}

#[test]
fn portals_are_described_fetched_in_pieces_and_closed() {
    let world = World::create("finishportals", "", "pool_size = 3");
    let (mut oracle, mut raw) = (world.db.oracle(), world.connect());
    let sql = "SELECT id, rank() OVER (ORDER BY amount, id) FROM sales WHERE id <= $1 ORDER BY id";
    let other = "SELECT DISTINCT ON (buyer) buyer, amount FROM sales ORDER BY buyer, amount";
    let ten = || Value::text("10");
    let scripts: Vec<(&str, Vec<Vec<Vec<u8>>>)> = vec![
        (
            "statement and portal described",
            vec![vec![
                m::parse("s", sql, &[]),
                m::describe(b'S', "s"),
                m::bind("p", "s", &[ten()], &[1, 0]),
                m::describe(b'P', "p"),
                m::execute("p", 0),
                m::sync(),
            ]],
        ),
        (
            "in pieces within one batch",
            vec![vec![
                m::bind("", "s", &[ten()], &[]),
                m::execute("", 4),
                m::execute("", 4),
                m::execute("", 4),
                m::execute("", 4),
                m::sync(),
            ]],
        ),
        ("a row limit that is not reached", vec![vec![m::bind("", "s", &[ten()], &[]), m::execute("", 11), m::sync()]]),
        (
            "the unnamed portal is replaced",
            vec![vec![
                m::bind("", "s", &[ten()], &[]),
                m::execute("", 2),
                m::bind("", "s", &[Value::text("3")], &[]),
                m::execute("", 0),
                m::sync(),
            ]],
        ),
        (
            "a suspended portal lives until the end of the block, others run meanwhile",
            vec![
                vec![m::query("BEGIN")],
                vec![m::bind("a", "s", &[ten()], &[]), m::execute("a", 3), m::sync()],
                vec![m::query("SELECT count(*) FROM sales")],
                vec![m::parse("o", other, &[]), m::bind("b", "o", &[], &[]), m::execute("b", 2), m::sync()],
                vec![m::query("INSERT INTO sales (id, buyer, amount) VALUES (5000, 1, 1)")],
                vec![m::execute("a", 3), m::execute("b", 2), m::sync()],
                vec![m::query("SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY amount) FROM sales")],
                vec![m::close(b'P', "a"), m::execute("b", 0), m::sync()],
                vec![m::execute("a", 1), m::sync()],
                vec![m::query("ROLLBACK")],
                vec![m::execute("b", 1), m::sync()],
            ],
        ),
        (
            "a pipeline of several, with an error in the middle",
            vec![vec![
                m::bind("", "s", &[ten()], &[]),
                m::execute("", 0),
                m::parse("", "SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY amount) / 0 FROM sales", &[]),
                m::bind("", "", &[], &[]),
                m::execute("", 0),
                m::bind("", "s", &[ten()], &[]),
                m::execute("", 0),
                m::sync(),
            ]],
        ),
        (
            "a write over several shards between two pieces of the same batch",
            vec![vec![
                m::bind("a", "s", &[ten()], &[]),
                m::execute("a", 3),
                m::parse("", "SELECT id FROM sales ORDER BY id", &[]),
                m::bind("m", "", &[], &[]),
                m::execute("m", 2),
                m::parse("", "UPDATE sales SET item = item", &[]),
                m::bind("", "", &[], &[]),
                m::execute("", 0),
                m::parse("", other, &[]),
                m::bind("b", "", &[], &[]),
                m::execute("b", 1),
                m::execute("a", 3),
                m::execute("m", 2),
                m::execute("b", 1),
                m::sync(),
            ]],
        ),
        (
            "a pipeline that writes first and then reads its own row",
            vec![
                vec![
                    m::parse("", "INSERT INTO sales (id, buyer, amount) VALUES (6000, 1, 1)", &[]),
                    m::bind("", "", &[], &[]),
                    m::execute("", 0),
                    m::parse("", "SELECT max(id), count(DISTINCT buyer) + 0 FROM sales", &[]),
                    m::bind("", "", &[], &[]),
                    m::execute("", 0),
                    m::sync(),
                ],
                vec![m::query("DELETE FROM sales WHERE id = 6000")],
            ],
        ),
    ];
    for (name, batches) in scripts {
        for (at, batch) in batches.iter().enumerate() {
            assert_eq!(play(&mut raw, batch), play(&mut oracle, batch), "{name}, batch {at}");
        }
    }
    world.at_rest();
    // Nothing is held by them any more: as many as the pool has can run again.
    for _ in 0..4 {
        raw.must("SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY amount) FROM sales");
    }
}

#[test]
fn a_transaction_sees_its_own_writes_and_fails_as_postgres_does() {
    let world = World::create("finishtx", "", "");
    let (mut oracle, mut raw) = (world.db.oracle(), world.connect());
    let script = [
        "BEGIN",
        "INSERT INTO sales (id, buyer, item, amount) VALUES (1000, 99, 0, 12345.67), (1001, 98, 0, 1)",
        "SELECT max(amount), count(DISTINCT buyer) + 0 FROM sales",
        "UPDATE rates SET rate = 100 WHERE item = 0",
        "SELECT s.id, s.amount * r.rate FROM sales s JOIN rates r USING (item) WHERE s.id >= 1000 ORDER BY 1",
        "UPDATE regions SET title = 'Far ' || title",
        "SELECT r.title, percentile_disc(0.5) WITHIN GROUP (ORDER BY s.amount) FROM sales s JOIN buyers b ON b.id = s.buyer JOIN regions r ON r.code = b.region \
           GROUP BY 1 ORDER BY 1",
        "SAVEPOINT here",
        "DELETE FROM sales WHERE id = 1000",
        "SELECT max(amount), count(DISTINCT buyer) + 0 FROM sales",
        "SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY amount) / 0 FROM sales",
        "SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY amount) FROM sales",
        "ROLLBACK TO here",
        "SELECT max(amount), count(DISTINCT buyer) + 0 FROM sales",
        "SELECT count(DISTINCT nothing) + 0 FROM sales",
        "COMMIT",
        "SELECT max(amount), count(DISTINCT buyer) + 0 FROM sales",
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        "SET LOCAL extra_float_digits = 1",
        "SET LOCAL DateStyle = 'German'",
        "SELECT day, percentile_disc(0.5) WITHIN GROUP (ORDER BY amount) FROM sales GROUP BY day ORDER BY day LIMIT 3",
        "COMMIT",
        "SELECT day, percentile_disc(0.5) WITHIN GROUP (ORDER BY amount) FROM sales GROUP BY day ORDER BY day LIMIT 3",
        "SET DateStyle = 'SQL, DMY'",
        "SELECT day, percentile_disc(0.5) WITHIN GROUP (ORDER BY amount) FROM sales GROUP BY day ORDER BY day LIMIT 3",
        "BEGIN",
        "SET DateStyle = 'Postgres, MDY'",
        "SELECT day, percentile_disc(0.5) WITHIN GROUP (ORDER BY amount) FROM sales GROUP BY day ORDER BY day LIMIT 3",
        "ROLLBACK",
        "SELECT day, percentile_disc(0.5) WITHIN GROUP (ORDER BY amount) FROM sales GROUP BY day ORDER BY day LIMIT 3",
        "SET default_transaction_read_only = on",
        "SELECT count(DISTINCT weight) + 0 FROM sales",
        "SET default_transaction_isolation = 'serializable'",
        "SELECT a.id, b.id FROM sales a JOIN sales b ON b.id = a.buyer ORDER BY 1 LIMIT 5",
    ];
    for sql in script {
        let (ours, mut theirs) = (raw.simple(sql), oracle.simple(sql));
        if let (Some(ours), Some(theirs)) = (&ours.error, &mut theirs.error) {
            for field in ['F', 'L', 'R'] {
                theirs.0.remove(&field);
                let _ = ours;
            }
        }
        let mut ours = ours;
        if let Some(error) = &mut ours.error {
            ['F', 'L', 'R'].iter().for_each(|field| drop(error.0.remove(field)));
        }
        same(sql, &ours, &theirs);
    }
    world.at_rest();
}

#[test]
fn limits_end_a_statement_that_pulls_too_much_and_name_the_table() {
    let world = World::create("finishlimits", "", "max_rows = 350\nmax_bytes = \"64KiB\"");
    let mut raw = world.connect();
    let error = raw.simple("SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY amount) FROM sales").error.unwrap();
    assert_eq!(error.code(), "53400", "{error}");
    assert!(error.hint().starts_with("No condition on table public.sales could go down"), "{error}");
    let error = raw
        .simple("SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY amount) FROM sales WHERE weight > 0")
        .error
        .unwrap();
    assert!(error.hint().starts_with("Restrict table public.sales further"), "{error}");
    assert_ne!(raw.value("SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY amount) FROM sales WHERE id < 300"), "");
    let error = raw.simple(
        "SELECT count(DISTINCT repeat(note, 2)), max(body::text), max(tags), count(s) FROM sales s WHERE id < 340",
    );
    let error = error.error.map_or_else(String::new, |error| error.to_string());
    assert!(error.is_empty() || error.contains("53400"), "{error}");
    // In a block the limit is an error like any other.
    raw.must("BEGIN");
    assert_eq!(raw.simple("SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY amount) FROM sales").code(), "53400");
    assert_eq!(raw.simple("SELECT 1").code(), "25P02");
    raw.must("ROLLBACK");
    assert_ne!(raw.value("SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY amount) FROM sales WHERE id < 300"), "");
    world.at_rest();
}

#[test]
fn an_error_of_a_shard_is_the_clients_and_ends_the_other_pulls() {
    let world = World::create("finisherror", "default_pool_size = 2", "pool_size = 1");
    let (mut oracle, mut raw) = (world.db.oracle(), world.connect());
    // Only one shard has the row that cannot be divided by.
    let sql = "SELECT count(DISTINCT item) + 0 FROM sales WHERE 100 / (id - 7) > 1";
    for _ in 0..3 {
        let (ours, theirs) = (raw.simple(sql).error.unwrap(), oracle.simple(sql).error.unwrap());
        assert_eq!((ours.code(), ours.message()), (theirs.code(), theirs.message()));
        assert_eq!(raw.value("SELECT count(DISTINCT item) + 0 FROM sales"), "3");
    }
    // The statement itself is wrong: the error is that of the client's own text, with its place.
    for sql in ["SELECT stddev(amuont) FROM sales", "SELECT rank() OVER (ORDER BY id) FROM sales WHERE note + 1 = 2"] {
        for reply in [raw.simple(sql), raw.extended(sql, &[], &[], 0)] {
            let (ours, theirs) = (reply.error.unwrap(), oracle.simple(sql).error.unwrap());
            let shown =
                |r: &support::raw::Report| [r.0.get(&'C').cloned(), r.0.get(&'M').cloned(), r.0.get(&'P').cloned()];
            assert_eq!(shown(&ours), shown(&theirs), "{sql}");
        }
    }
    world.at_rest();
}

/// Sends a CancelRequest and waits until the router has closed that connection.
fn cancel(port: u16, pid: u32, secret: &[u8]) {
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    let mut request = (12 + secret.len() as u32).to_be_bytes().to_vec();
    request.extend(80_877_102_u32.to_be_bytes());
    request.extend(pid.to_be_bytes());
    request.extend(secret);
    std::io::Write::write_all(&mut stream, &request).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let _ = stream.read_to_end(&mut Vec::new());
}

#[test]
fn a_cancel_ends_pulls_and_finishing_statements_alike() {
    let world = World::create("finishcancel", "", "pool_size = 1");
    let mut raw = world.connect();
    raw.must("SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY amount) FROM sales");
    // In the middle of the pulls: two shards are blocked, the others have sent all they have.
    let blocked = |sql: &[u8], raw: &mut Raw, status: u8| {
        let locks: Vec<Raw> = [1, 2]
            .map(|index| {
                let mut lock = world.db.shard(index);
                lock.must("BEGIN; LOCK TABLE sales");
                lock
            })
            .into();
        raw.send(sql).unwrap();
        let waiting =
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
        eventually(20, "the pulls wait", || (1..3).all(|index| world.db.shard(index).value(waiting) == "1"));
        let start = Instant::now();
        cancel(world.router.port, raw.key.0, &raw.key.1);
        let messages = raw.read_to_ready().unwrap();
        assert!(start.elapsed() < Duration::from_secs(20));
        let errors: Vec<_> = messages.iter().filter(|message| message.tag == b'E').map(Message::report).collect();
        assert_eq!(errors.len(), 1);
        assert_eq!((errors[0].code(), errors[0].message()), ("57014", "canceling statement due to user request"));
        assert_eq!(messages.last().unwrap().body, [status]);
        drop(locks);
    };
    let sql = "SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY amount) FROM sales";
    blocked(&m::query(sql), &mut raw, b'I');
    raw.must(sql);
    let batch = [m::parse("", sql, &[]), m::bind("", "", &[], &[]), m::execute("", 0), m::sync()].concat();
    blocked(&batch, &mut raw, b'I');
    raw.must(sql);
    raw.must("BEGIN");
    blocked(&m::query(sql), &mut raw, b'E');
    raw.must("ROLLBACK");
    raw.must(sql);
    // In the finishing statement.
    raw.send(&m::query(
        "SELECT count(DISTINCT a.item), count(pg_sleep(1)) FROM sales a JOIN sales b ON b.buyer <> a.item",
    ))
    .unwrap();
    let running = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'";
    eventually(20, "the statement is being finished", || world.home().value(running) == "1");
    cancel(world.router.port, raw.key.0, &raw.key.1);
    let messages = raw.read_to_ready().unwrap();
    let error = messages.iter().find(|message| message.tag == b'E').unwrap().report();
    assert_eq!(error.code(), "57014", "{error}");
    raw.must(sql);
    world.at_rest();
    // A client that goes away does not leave its statement behind.
    raw.send(&m::query(
        "SELECT count(DISTINCT a.item), count(pg_sleep(1)) FROM sales a JOIN sales b ON b.buyer <> a.item",
    ))
    .unwrap();
    eventually(20, "the statement is being finished", || world.home().value(running) == "1");
    drop(raw);
    world.at_rest();
    world.connect().must(sql);
}

#[test]
fn the_query_timeout_and_the_wait_for_a_connection_have_their_ends() {
    let world = World::create("finishtime", "query_timeout = \"1s\"\nquery_wait_timeout = \"300ms\"", "pool_size = 1");
    let (mut raw, mut other) = (world.connect(), world.connect());
    let sql = "SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY amount) FROM sales";
    let mut lock = world.db.shard(2);
    lock.must("BEGIN; LOCK TABLE sales");
    assert_eq!(raw.simple(sql).code(), "57014");
    lock.must("ROLLBACK");
    raw.must(sql);
    assert_eq!(raw.simple("SELECT count(DISTINCT item), count(pg_sleep(1)) FROM sales").code(), "57014");
    let mut raw = world.connect();
    raw.must(sql);
    // One holds the only connection by a suspended portal.
    let batch =
        [m::query("BEGIN"), m::parse("", "SELECT DISTINCT ON (buyer) buyer FROM sales ORDER BY 1", &[])].concat();
    let batch = [batch, m::bind("p", "", &[], &[]), m::execute("p", 1), m::sync()].concat();
    raw.send(&batch).unwrap();
    raw.read_to_ready().unwrap();
    raw.read_to_ready().unwrap();
    let error = other.simple(sql).error.unwrap();
    assert_eq!(error.code(), "53300", "{error}");
    assert!(error.hint().contains("[combine] pool_size"), "{error}");
    raw.must("COMMIT");
    other.must(sql);
    world.at_rest();
}

#[test]
fn the_home_shards_catalog_does_not_grow_with_the_statements() {
    let world = World::create("finishbloat", "catalog_refresh_interval = \"1s\"", "pool_size = 2");
    let mut raw = world.connect();
    let repeated = [
        "SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY amount) FROM sales",
        "SELECT s.id, b.name FROM sales s JOIN buyers b ON b.id = s.buyer",
    ];
    for sql in STATEMENTS.iter().chain(&repeated) {
        raw.must(sql);
    }
    let size = |world: &World| -> i64 {
        let sql =
            "SELECT pg_relation_size('pg_class') + pg_relation_size('pg_attribute') + pg_relation_size('pg_type')";
        world.home().value(sql).parse().unwrap()
    };
    let before = size(&world);
    for round in 0..100 {
        if round == 50 {
            // The catalog is read again meanwhile: what says the same is not made anew.
            std::thread::sleep(Duration::from_secs(6));
        }
        repeated.iter().for_each(|sql| drop(raw.must(sql)));
    }
    assert_eq!(size(&world), before, "200 statements make no table");
    // What is kept is next to nothing, and a table of a user's type is not kept: its type can be dropped.
    assert!(kept(&world) < 4 << 20);
    let mut home = world.home();
    home.must("BEGIN; ALTER TABLE sales DROP COLUMN feeling; DROP TYPE mood; ROLLBACK");
}

#[test]
fn nothing_of_one_client_reaches_the_next() {
    let world = World::create("finishleaks", "catalog_refresh_interval = \"1s\"", "pool_size = 1");
    for index in 0..SHARDS {
        let _ = world.db.shard(index).simple("CREATE ROLE pgloom_reader");
        let grants = "GRANT SELECT ON sales TO pgloom_reader; GRANT SELECT (id, name) ON buyers TO pgloom_reader";
        world.db.shard(index).must(grants);
    }
    let mut owner = world.connect();
    owner.must("CREATE SCHEMA far");
    owner.must("CREATE TABLE far.rates (item int PRIMARY KEY, rate numeric)");
    owner.must("INSERT INTO far.rates VALUES (0, 100), (1, 100), (2, 100)");
    owner.must("GRANT USAGE ON SCHEMA far TO pgloom_reader");
    owner.must("GRANT SELECT ON far.rates TO pgloom_reader");
    let sql = "SELECT timestamptz '2024-01-01 00:00Z', max(rate), percentile_disc(0.5) WITHIN GROUP (ORDER BY amount) > 0 FROM sales JOIN rates USING (item)";
    let (mut one, mut other) = (world.connect(), world.connect());
    let plain = other.must(sql).text();
    assert!(plain.ends_with("|2.25|t"), "{plain}");
    one.must("SET TimeZone = 'Asia/Tokyo'; SET search_path = far, public; SET ROLE pgloom_reader");
    assert_eq!(one.must(sql).text(), "2024-01-01 09:00:00+09|100|t");
    assert_eq!(other.must(sql).text(), plain);
    assert_eq!(one.must(sql).text(), "2024-01-01 09:00:00+09|100|t");
    // The role's rights are those on the tables, not on what was pulled.
    let error = one.simple("SELECT count(DISTINCT region) + 0 FROM buyers").error.unwrap();
    assert_eq!(error.code(), "42501", "{error}");
    let error =
        one.simple("SELECT s.id, r.rate FROM sales s LEFT JOIN public.rates r USING (item) ORDER BY 1").error.unwrap();
    assert_eq!(error.code(), "42501", "{error}");
    one.must("BEGIN; SET LOCAL TimeZone = 'UTC'; SET ROLE NONE; SET search_path = public");
    assert_eq!(one.must(sql).text(), "2024-01-01 00:00:00+00|2.25|t");
    assert_eq!(other.must(sql).text(), plain);
    one.must("COMMIT");
    assert_eq!(one.must(sql).text(), "2024-01-01 09:00:00+09|2.25|t");
    assert_eq!(other.must(sql).text(), plain);
    // Two clients at once, one connection for both, each its own rows.
    std::thread::scope(|scope| {
        for buyer in 1..=8 {
            let world = &world;
            scope.spawn(move || {
                let (mut raw, mut oracle) = (world.connect(), world.db.oracle());
                let sql = format!(
                    "SELECT DISTINCT ON (day) day, id, amount FROM sales WHERE buyer = {buyer} ORDER BY day, id"
                );
                for _ in 0..10 {
                    same(&sql, &raw.simple(&sql), &oracle.simple(&sql));
                }
            });
        }
    });
    // What may not be set where temporary tables are already is left out.
    other.must("SET temp_buffers = '4MB'; BEGIN; SET temp_buffers = '5MB'");
    assert_eq!(other.must(sql).text(), plain);
    other.must("COMMIT");
    assert_eq!(other.must(sql).text(), plain);
    // Values that go as text must not lose anything.
    let feelings = "SELECT DISTINCT ON (feeling) feeling, weight, day FROM sales ORDER BY feeling, id";
    let right = world.db.oracle().must(feelings).text();
    assert_eq!(other.must(feelings).text(), right);
    for setting in ["DateStyle = 'SQL, MDY'", "extra_float_digits = 0", "LOCAL extra_float_digits = -1"] {
        other.must(&format!("BEGIN; SET {setting}"));
        assert_eq!(other.simple(feelings).code(), "0A000", "{setting}");
        other.must("ROLLBACK");
    }
    assert_eq!(other.must(feelings).text(), right);
    // A temporary table of the session's own is read with its rows, and nobody else has them.
    one.must("SET ROLE NONE; CREATE TEMP TABLE rates (item int, rate numeric)");
    one.must("INSERT INTO rates VALUES (1, 7)");
    for begin in ["SELECT 1", "BEGIN"] {
        one.must(begin);
        assert_eq!(one.must("SELECT max(r.rate) FROM sales s JOIN rates r USING (item)").text(), "7");
    }
    one.must("COMMIT");
    assert_eq!(other.must(sql).text(), plain);
}

/// The time is up at any moment, also between the making of an input and the questions behind it: whoever comes next finds no table in the way.
#[test]
fn an_input_that_was_made_in_vain_is_in_nobodys_way() {
    let world = World::create("finishvain", "default_pool_size = 1", "");
    let (mut ended, mut raw) = (0, world.connect());
    for n in 0..120 {
        if n == 60 {
            // On a connection that stays with its session: what it has there stays, too.
            raw.must("CREATE TEMP TABLE own AS SELECT 7 AS n");
        }
        let columns = ["amount", "weight", "day", "note", "feeling", "tags", "body", "buyer"];
        let of = |at: usize| columns[(n / 8_usize.pow(u32::try_from(at).unwrap()) + at) % 8];
        let sql = format!(
            "SELECT max({}::text), max({}::text), max({}::text), percentile_disc(0.5) WITHIN GROUP (ORDER BY id) FROM sales",
            of(0),
            of(1),
            of(2)
        );
        raw.must(&format!("SET statement_timeout = {}", 1 + n % 4));
        ended += usize::from(raw.simple(&sql).code() == "57014");
        raw.must("SET statement_timeout = 0");
        let reply = raw.simple(&sql);
        assert!(reply.error.is_none(), "{n}: {sql}: {:?}", reply.error);
        assert!(n < 60 || raw.value("SELECT n FROM own") == "7", "{n}: {sql}");
    }
    assert!(ended > 0, "no time was up");
}

/// Bytes of all inputs on the home shard.
fn kept(world: &World) -> u64 {
    let sql = "SELECT coalesce(sum(pg_total_relation_size(oid)), 0) FROM pg_class WHERE relname LIKE 'pgloom%' AND relkind = 'r'";
    world.home().value(sql).parse().unwrap()
}

/// Bytes that the router holds now, as the kernel counts them.
fn resident(router: &Router) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", router.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() * 1024
}

#[test]
fn a_large_pull_streams_through_bounded_memory() {
    let world = World::create("finishlarge", "", "");
    for index in 0..SHARDS {
        // Rows that hash elsewhere do no harm to a statement that reads them all; 100 MB in all.
        let sql = format!(
            "INSERT INTO sales (id, buyer, note) SELECT {} + g, g % 1000, repeat('x', 950) || g FROM generate_series(1, 25000) g",
            100_000 * (index + 1)
        );
        world.db.shard(index).must(&sql);
    }
    // One value that no buffer holds.
    world.db.shard(1).must("INSERT INTO sales (id, buyer, note) VALUES (90001, 7, repeat('long', 2000000))");
    let mut raw = world.connect();
    raw.must("SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY amount) FROM sales WHERE id < 1000");
    let before = resident(&world.router);
    // The window keeps the shards from counting by themselves.
    let sql = "SELECT count(DISTINCT m) - count(DISTINCT buyer) FROM \
               (SELECT md5(note) AS m, buyer, row_number() OVER (ORDER BY id) AS n FROM sales WHERE id > 90000) x WHERE n > 0";
    assert_eq!(raw.value(sql), "24001");
    world.at_rest();
    assert!(kept(&world) < 4 << 20, "what is no longer needed is not kept");
    let grown = resident(&world.router).saturating_sub(before);
    assert!(grown < 48 << 20, "{} MiB for a pull of 100 MB", grown >> 20);
    let (rows, bytes) =
        (metric(&world.router, "pgloom_pulled_rows_total"), metric(&world.router, "pgloom_pulled_bytes_total"));
    assert!(rows > 100_000.0 && bytes > 1e8, "{rows} rows, {bytes} bytes");
}

fn metric(router: &Router, name: &str) -> f64 {
    let (_, text) = router.http("/metrics");
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    line.trim().parse().unwrap_or(-1.0)
}

/// Ends the server process behind the router's combine connection on the home shard that does such a thing.
fn kill(world: &World, doing: &str) {
    let sql = format!(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
         WHERE datname = current_database() AND pid <> pg_backend_pid() AND {doing}"
    );
    eventually(20, doing, || world.home().value(&sql) == "1");
}

#[test]
fn a_server_that_dies_fails_the_statement_and_not_the_session() {
    let world = World::create("finishdies", "", "pool_size = 1");
    let mut raw = world.connect();
    let sql = "SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY amount) FROM sales";
    let before = raw.must(sql).text();
    // While it finishes the statement.
    let slow = "SELECT count(DISTINCT item), count(pg_sleep(1)) FROM sales";
    for block in ["", "BEGIN"] {
        raw.must(block);
        raw.send(&m::query(slow)).unwrap();
        kill(&world, "wait_event = 'PgSleep'");
        let messages = raw.read_to_ready().unwrap();
        let error = messages.iter().find(|message| message.tag == b'E').unwrap().report();
        assert_eq!(error.code(), "08006", "{error}");
        assert!(error.to_string().contains("(SQLSTATE 57P01)"), "{error}");
        assert_eq!(messages.last().unwrap().body, if block.is_empty() { b"I" } else { b"E" });
        raw.must("ROLLBACK");
        assert_eq!(raw.must(sql).text(), before);
    }
    // While it takes the rows, which a shard is slow to send.
    let mut lock = world.db.shard(2);
    lock.must("BEGIN; LOCK TABLE sales");
    raw.send(&m::query(sql)).unwrap();
    kill(&world, "query LIKE 'COPY%' AND state = 'active'");
    let error = raw.read_to_ready().unwrap().iter().find(|message| message.tag == b'E').unwrap().report();
    assert!(["57P01", "08006"].contains(&error.code()), "{error}");
    drop(lock);
    assert_eq!(raw.must(sql).text(), before);
    // While it waits for the next Execute of a portal.
    let batch =
        [m::query("BEGIN"), m::parse("", "SELECT DISTINCT ON (buyer) buyer FROM sales ORDER BY 1", &[])].concat();
    let batch = [batch, m::bind("p", "", &[], &[]), m::execute("p", 1), m::sync()].concat();
    raw.send(&batch).unwrap();
    raw.read_to_ready().unwrap();
    raw.read_to_ready().unwrap();
    kill(&world, "state = 'idle in transaction' AND query LIKE 'SELECT DISTINCT%pg_temp%'");
    let reply = raw.exchange(&[m::execute("p", 1), m::sync()].concat(), None);
    assert!(["57P01", "08006"].contains(&reply.code()), "{reply:?}");
    assert_eq!(reply.status, b'E');
    raw.must("ROLLBACK");
    assert_eq!(raw.must(sql).text(), before);
    // A shard that dies while it sends.
    let mut lock = world.db.shard(2);
    lock.must("BEGIN; LOCK TABLE sales");
    raw.send(&m::query(sql)).unwrap();
    let waiting = "wait_event_type = 'Lock' AND datname = current_database()";
    let end = format!("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE {waiting}");
    eventually(20, "the pull waits", || world.db.shard(2).value(&end) == "1");
    let error = raw.read_to_ready().unwrap().iter().find(|message| message.tag == b'E').unwrap().report();
    assert!(["57P01", "08006"].contains(&error.code()), "{error}");
    drop(lock);
    assert_eq!(raw.must(sql).text(), before);
    world.at_rest();
}

#[test]
fn what_changes_a_table_changes_its_inputs() {
    let world = World::create("finishddl", "", "pool_size = 1");
    let (mut oracle, mut raw) = (world.db.oracle(), world.connect());
    let sql = "SELECT DISTINCT ON (note, amount) note, amount FROM sales WHERE id < 50 ORDER BY note, amount, id";
    for ddl in [
        "ALTER TABLE sales ALTER amount TYPE numeric(14,3)",
        "ALTER TABLE sales ALTER note TYPE varchar(40) COLLATE \"POSIX\"",
        "ALTER TABLE sales ALTER amount TYPE bigint",
        "ALTER TABLE sales ALTER amount TYPE float8",
        "ALTER TABLE sales RENAME amount TO total",
        "ALTER TABLE sales ADD amount text DEFAULT 'new'",
    ] {
        same(sql, &raw.simple(sql), &oracle.simple(sql));
        raw.must(ddl);
        oracle.must(ddl);
        same(sql, &raw.simple(sql), &oracle.simple(sql));
    }
    // Nor does an input stand in the way of what users made.
    world.db.everywhere("CREATE COLLATION mine FROM \"C\"; ALTER TABLE sales ALTER note TYPE text COLLATE mine");
    let sql = "SELECT DISTINCT ON (note) note FROM sales ORDER BY note";
    same(sql, &raw.simple(sql), &oracle.simple(sql));
    world.home().must("BEGIN; ALTER TABLE sales DROP COLUMN note; DROP COLLATION mine; ROLLBACK");
    // Behind the router's back: what the shards send no longer fits what was made for it.
    for index in 1..SHARDS {
        world.db.shard(index).must("ALTER TABLE sales ALTER total TYPE bigint");
    }
    let error = raw
        .simple("SELECT count(DISTINCT total), percentile_disc(0.5) WITHIN GROUP (ORDER BY total) FROM sales")
        .error
        .unwrap();
    assert_eq!(error.code(), "55000", "{error}");
    world.db.shard(0).must("ALTER TABLE sales ALTER total TYPE bigint");
    let error =
        raw.simple("SELECT count(DISTINCT total), percentile_disc(0.5) WITHIN GROUP (ORDER BY total) FROM sales").error;
    assert!(error.is_none_or(|error| error.code() == "55000"));
    world.at_rest();
}

/// A number that looks random and is the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

#[test]
fn many_clients_with_cancels_and_departures_get_only_their_own_answers() {
    let world = World::create("finishmany", "default_pool_size = 4", "pool_size = 3");
    let statements: Vec<(String, Reply)> = {
        let mut oracle = world.db.oracle();
        let of = |i: i32| {
            [
                format!(
                    "SELECT DISTINCT ON (day) day, id, amount FROM sales WHERE buyer = {} ORDER BY day, id",
                    i % 17
                ),
                format!("SELECT id, rank() OVER (ORDER BY amount, id) FROM sales WHERE id > {} ORDER BY id", i * 11),
                format!(
                    "SELECT s.id, b.name FROM sales s JOIN buyers b ON b.id = s.buyer WHERE s.id % 9 = {} ORDER BY 1",
                    i % 9
                ),
                format!(
                    "SELECT feeling, percentile_disc(0.5) WITHIN GROUP (ORDER BY amount) FROM sales WHERE item = {} GROUP BY feeling ORDER BY feeling",
                    i % 3
                ),
                format!("SELECT s.id, r.rate FROM sales s JOIN rates r USING (item) WHERE id < {} ORDER BY id", i * 5),
            ]
        };
        (0..20).flat_map(of).map(|sql| (sql.clone(), oracle.simple(&sql))).collect()
    };
    std::thread::scope(|scope| {
        for client in 0..12 {
            let (world, statements) = (&world, &statements);
            scope.spawn(move || {
                let mut dice = Dice(client);
                let mut raw = world.connect();
                for _ in 0..40 {
                    let (sql, right) = &statements[dice.roll(statements.len() as u64) as usize];
                    match dice.roll(6) {
                        0 => {
                            let (port, (pid, secret)) = (world.router.port, raw.key.clone());
                            let wait = Duration::from_micros(dice.roll(6000));
                            raw.send(&m::query(sql)).unwrap();
                            std::thread::sleep(wait);
                            cancel(port, pid, &secret);
                            let messages = raw.read_to_ready().unwrap();
                            let error = messages.iter().find(|message| message.tag == b'E').map(Message::report);
                            assert!(error.as_ref().is_none_or(|error| error.code() == "57014"), "{error:?} {sql}");
                        }
                        1 => {
                            raw.send(&m::query(sql)).unwrap();
                            std::thread::sleep(Duration::from_micros(dice.roll(6000)));
                            raw = world.connect();
                        }
                        2 => {
                            let batch =
                                [m::parse("", sql, &[]), m::bind("", "", &[], &[]), m::execute("", 2), m::sync()];
                            let reply = raw.exchange(&batch.concat(), None);
                            assert_eq!(reply.error, None, "{sql}");
                            let rows = &right.answers[0].rows;
                            assert_eq!(reply.answers[0].rows, rows[..rows.len().min(2)], "{sql}");
                        }
                        3 => {
                            raw.must("BEGIN");
                            same(sql, &Reply { status: b'I', ..raw.simple(sql) }, right);
                            raw.must("COMMIT");
                        }
                        _ => same(sql, &raw.simple(sql), right),
                    }
                }
            });
        }
    });
    world.at_rest();
    let mut raw = world.connect();
    let pools = raw.named("SHOW pgloom.shard_pools");
    let combine = pools.iter().find(|pool| pool["role"] == "combine").unwrap();
    assert_eq!((&*combine["shard"], &*combine["sv_active"]), ("s0", "0"));
    for (sql, right) in &statements {
        same(sql, &raw.simple(sql), right);
    }
}

#[test]
fn a_view_over_row_security_is_not_expanded() {
    let world = World::create("finish_rls", "", "");
    let mut raw = world.connect();
    raw.must("CREATE VIEW inner_view AS SELECT id, amount FROM sales");
    raw.must("CREATE VIEW outer_view AS SELECT id, amount FROM inner_view WHERE amount > 10");
    raw.must("SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY amount) FROM outer_view");
    raw.must("ALTER TABLE sales ENABLE ROW LEVEL SECURITY");
    let refused = raw.simple("SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY amount) FROM outer_view");
    assert_eq!(refused.code(), "0A000");
    raw.must("ALTER TABLE sales DISABLE ROW LEVEL SECURITY");
    raw.must("SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY amount) FROM outer_view");
}

#[test]
fn statements_in_blocks_and_outside_of_them_never_wait_for_each_other_in_a_circle() {
    let world = World::create("finishcircle", "default_pool_size = 2\nquery_wait_timeout = \"10s\"", "pool_size = 1");
    let mut oracle = world.db.oracle();
    let sql =
        "SELECT s.id, r.rate, rank() OVER (ORDER BY amount, id) FROM sales s JOIN rates r USING (item) ORDER BY id";
    let right = oracle.simple(sql);
    std::thread::scope(|scope| {
        for client in 0..8 {
            let (world, right) = (&world, &right);
            scope.spawn(move || {
                let mut dice = Dice(client);
                let mut raw = world.connect();
                for _ in 0..30 {
                    match dice.roll(3) {
                        0 => {
                            raw.must("BEGIN");
                            same(sql, &Reply { status: b'I', ..raw.simple(sql) }, right);
                            raw.must("COMMIT");
                        }
                        1 => {
                            raw.must("BEGIN");
                            raw.must("SELECT note FROM sales WHERE id = 3");
                            same(sql, &Reply { status: b'I', ..raw.simple(sql) }, right);
                            raw.must("COMMIT");
                        }
                        _ => same(sql, &raw.simple(sql), right),
                    }
                }
            });
        }
    });
    world.at_rest();
}

#[test]
fn a_session_that_has_every_combine_connection_does_not_wait_for_itself() {
    let world = World::create("finishalone", "query_wait_timeout = \"30s\"", "pool_size = 1");
    let mut raw = world.connect();
    raw.must("BEGIN");
    raw.must("DECLARE c CURSOR FOR SELECT id, rank() OVER (ORDER BY amount, id) FROM sales ORDER BY id");
    raw.must("FETCH 2 FROM c");
    let start = Instant::now();
    let refused = raw.simple("SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY amount) FROM sales");
    assert_eq!((refused.code(), refused.status), ("53400", b'E'), "{refused:?}");
    let error = refused.error.unwrap();
    assert!(error.hint().contains("[combine] pool_size"), "{error}");
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    raw.must("ROLLBACK");
    raw.must("SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY amount) FROM sales");
}

#[test]
fn large_parameters_of_several_pulls_reach_shards_that_are_already_answering() {
    let world = World::create("finishlargeparam", "query_timeout = \"30s\"", "");
    let (mut oracle, mut raw) = (world.db.oracle(), world.connect());
    for raw in [&mut oracle, &mut raw] {
        raw.must("UPDATE sales SET note = repeat(md5(id::text), 2000)");
    }
    // Each shard answers the first pull with megabytes before it reads the second, whose parameter is as long.
    let sql = "SELECT s.id, b.name, length(s.note) FROM sales s JOIN buyers b ON b.id = s.buyer \
               WHERE s.note <> $1 AND b.name <> $1 ORDER BY s.id, b.id";
    let value = [Value::text(&"x".repeat(12 << 20))];
    let ours = raw.extended(sql, &[25], &value, 0);
    same(sql, &ours, &oracle.extended(sql, &[25], &value, 0));
}

#[test]
fn views_are_read_with_rights_on_them() {
    let world = World::create("finishviews", "", "");
    let mut owner = world.connect();
    owner.must("CREATE VIEW seen AS SELECT region, name FROM buyers");
    owner.must("CREATE VIEW hidden AS SELECT region FROM seen");
    owner.must("CREATE VIEW half AS SELECT region, name FROM buyers");
    owner.must("CREATE VIEW above AS SELECT item, buyer FROM sales");
    // On each shard by itself these would have other rows.
    owner.must("CREATE VIEW below AS SELECT item, buyer FROM sales WHERE item <= (SELECT avg(item) FROM sales)");
    owner.must(
        "CREATE VIEW beside AS SELECT item, (SELECT count(*) FROM sales o WHERE o.item = s.item) AS n FROM sales s",
    );
    for index in 0..SHARDS {
        let _ = world.db.shard(index).simple("CREATE ROLE pgloom_viewer");
        let _ = world.db.shard(index).simple("CREATE ROLE pgloom_writer_of_views");
        let grants = "GRANT SELECT ON buyers, seen, above, below, beside TO pgloom_viewer; GRANT SELECT (region) ON half TO pgloom_viewer";
        world.db.shard(index).must(grants);
        world.db.shard(index).must("GRANT SELECT, UPDATE ON sales TO pgloom_writer_of_views");
        world.db.shard(index).must("GRANT SELECT ON buyers TO pgloom_writer_of_views");
    }
    // What a write reads through a view it reads with rights on the view.
    let mut writer = world.connect();
    writer.must("SET ROLE pgloom_writer_of_views");
    let error = writer.simple("UPDATE sales SET item = (SELECT count(DISTINCT region) FROM hidden)").error.unwrap();
    assert_eq!(error.code(), "42501", "{error}");
    let of = |view: &str, column: &str| {
        format!(
            "SELECT count(DISTINCT {column}) + 0, percentile_disc(0.5) WITHIN GROUP (ORDER BY length({column}::text)) FROM {view}"
        )
    };
    let mut reader = world.connect();
    let plain = owner.must(&of("seen", "region")).text();
    assert_eq!(owner.must(&of("hidden", "region")).text(), plain);
    reader.must("SET ROLE pgloom_viewer");
    for begin in ["", "BEGIN"] {
        for (view, column, expected) in [
            ("seen", "region", Ok(())),
            ("hidden", "region", Err(("42501", "permission denied for view hidden"))),
            ("half", "region", Err(("0A000", "half"))),
            // The shards are asked for the view's rows by its name.
            ("above", "item", Ok(())),
        ] {
            if !begin.is_empty() {
                reader.must(begin);
            }
            let answer = reader.simple(&of(view, column));
            match expected {
                Ok(()) => assert_eq!(answer.text(), owner.must(&of(view, column)).text(), "{view}"),
                Err((code, word)) => {
                    let error = answer.error.unwrap();
                    assert_eq!(error.code(), code, "{view}: {error}");
                    assert!(error.to_string().contains(word), "{view}: {error}");
                }
            }
            if !begin.is_empty() {
                reader.must("ROLLBACK");
            }
        }
    }
    assert_eq!(reader.must(&of("seen", "region")).text(), plain);
    for (view, column) in [("below", "item"), ("beside", "n"), ("beside", "item")] {
        let answer = reader.simple(&of(view, column));
        assert_eq!(answer.code(), "0A000", "{view}: {}", answer.text());
        owner.must(&of(view, column));
    }
}

/// No shard waits with one input for what another shard has to do for it.
#[test]
fn inputs_that_do_not_hang_on_each_other_are_asked_for_together() {
    let world = World::create("finishtogether", "", "");
    let sql = "SELECT (SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY amount) FROM sales), \
         (SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY name) FROM buyers)";
    let expected = world.db.oracle().must(sql).text();
    for block in [false, true] {
        let mut raw = world.connect();
        if block {
            raw.must("BEGIN");
        }
        std::thread::scope(|scope| {
            let locks = [("sales", SHARDS - 1), ("buyers", 1)].map(|(table, shard)| {
                let mut lock = world.db.shard(shard);
                lock.must(&format!("BEGIN; LOCK TABLE {table}"));
                lock
            });
            let answered = scope.spawn(|| raw.must(sql).text());
            let waits = |table: &str, shard: usize| {
                let sql = format!(
                    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                     AND wait_event_type = 'Lock' AND query LIKE '%{table}%'"
                );
                world.db.shard(shard).value(&sql) == "1"
            };
            // The first input waits for the last shard, and another shard is at the second one meanwhile.
            eventually(20, "the first input waits", || waits("sales", SHARDS - 1));
            eventually(20, "the second input is asked for", || waits("buyers", 1));
            assert!(waits("sales", SHARDS - 1));
            drop(locks);
            assert_eq!(answered.join().unwrap(), expected);
        });
        if block {
            raw.must("COMMIT");
        }
    }
    world.at_rest();
}

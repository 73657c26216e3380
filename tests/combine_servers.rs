//! Servers beside the shards finish statements: the same answers as of one Postgres, made where they should be; and the home shard
//! does what they cannot.

#![allow(clippy::unwrap_used)]

mod support;

use std::time::{Duration, Instant};

use support::raw::{Raw, Reply, Value, message as m};
use support::{Cluster, Database, Empty, Lone, Router, combine_server, eventually};

const SCHEMA: &str = "CREATE TYPE mood AS ENUM ('low', 'fair', 'high'); \
     CREATE TABLE sales (id int PRIMARY KEY, buyer int, item int, amount numeric(10,2), weight float8, day date, \
       note text COLLATE \"C\", name varchar(20), code char(4), flags bit(3), span interval(2), feeling mood, body jsonb); \
     CREATE TABLE buyers (id int PRIMARY KEY, name text, region text); \
     CREATE TABLE regions (code text PRIMARY KEY, title text); \
     CREATE TABLE rates (item int PRIMARY KEY, rate numeric); \
     CREATE VIEW dear AS SELECT item, rate FROM rates WHERE rate > 1; \
     CREATE FUNCTION twice(x numeric) RETURNS numeric LANGUAGE sql IMMUTABLE AS 'SELECT 2 * x'; \
     CREATE FUNCTION joined(text, numeric) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT $1 || $2'; \
     CREATE OPERATOR |+| (LEFTARG = text, RIGHTARG = numeric, FUNCTION = joined)";
const FILL: &str = "INSERT INTO sales SELECT i, i % 17 + 1, i % 3, i * 7 % 1000 + 0.25, i / 8.0, '2024-01-01'::date + i % 60, \
       'note' || i % 5, 'name ' || i % 7, 'c' || i % 4, (i % 8)::bit(3), i * interval '1.123 s', \
       (ARRAY['low', 'fair', 'high', NULL])[i % 4 + 1]::mood, jsonb_build_object('k', i % 9) FROM generate_series(1, 300) i; \
     INSERT INTO buyers SELECT i, 'buyer ' || i, CASE i % 2 WHEN 0 THEN 'n' ELSE 's' END FROM generate_series(1, 20) i; \
     INSERT INTO regions VALUES ('n', 'North'), ('s', 'South'); \
     INSERT INTO rates VALUES (0, 1.5), (1, 2.25), (2, 0.1)";
const TABLES: [&str; 4] = ["sales", "buyers", "regions", "rates"];

struct World {
    router: Router,
    /// Two servers that finish statements.
    empty: Empty,
    db: Database,
}

fn config(db: &Database, general: &str, combine: &str) -> String {
    let name = &db.name;
    let mut toml = format!(
        "[general]\nport = {{port}}\nmetrics_listen = \"127.0.0.1:{{http_port}}\"\nauth_type = \"trust\"\n{general}\n\
         [combine]\n{combine}\n[[users]]\nname = \"postgres\"\n[[users]]\nname = \"app\"\n[databases.{name}]\n"
    );
    for (index, port) in db.ports().iter().enumerate() {
        toml += &format!("[[databases.{name}.shards]]\nname = \"s{index}\"\nhost = \"127.0.0.1\"\nport = {port}\n");
    }
    toml += &format!("[[databases.{name}.distributions]]\nname = \"key\"\nkey_types = [\"int4\"]\n");
    for table in ["sales", "buyers"] {
        toml +=
            &format!("[[databases.{name}.tables]]\nname = \"{table}\"\ndistribution = \"key\"\ncolumns = [\"id\"]\n");
    }
    toml + &format!("[[databases.{name}.tables]]\nname = \"regions\"\nreference = true\n")
}

/// The tables everywhere, the rows on the oracle.
fn database(label: &str) -> Database {
    let db = Database::create(label);
    db.everywhere(SCHEMA);
    db.oracle().must(FILL);
    db
}

/// The rows through the router.
fn fill(db: &Database, router: &Router) {
    let (mut oracle, mut through) = (db.oracle(), router.connect(&db.name));
    for table in TABLES {
        let out = oracle.must(&format!("COPY {table} TO STDOUT"));
        let copied = through.copy_in(&format!("COPY {table} FROM STDIN"), out.answers[0].copied.as_deref().unwrap());
        assert_eq!(copied.error, None, "{table}");
    }
}

impl World {
    fn create(label: &str, general: &str, combine: &str) -> Self {
        let db = database(label);
        let cluster = Cluster::shared();
        let empty = Empty::create(&[&cluster.oracle, &cluster.shards[3]], &format!("{}_combine", db.name));
        let router = Router::start(&config(&db, general, &format!("{combine}\nservers = {}", empty.toml())));
        let world = Self { router, empty, db };
        world.are_fit(2);
        fill(&world.db, &world.router);
        world
    }

    fn connect(&self) -> Raw {
        self.router.connect(&self.db.name)
    }

    /// Waits until the router has found so many servers fit.
    fn are_fit(&self, count: usize) {
        are_fit(&self.router, count);
    }

    fn finished(&self, on: &str, why: &str) -> u64 {
        finished(&self.router, on, why)
    }

    /// Inputs that were made on a server.
    fn inputs(&self, at: usize) -> u64 {
        let sql = "SELECT count(*) FROM pg_class WHERE relname LIKE 'pgloom\\_%' AND relkind = 'r'";
        self.empty.connect(at).value(sql).parse().unwrap()
    }
}

fn are_fit(router: &Router, count: usize) {
    let fit = || router.log_text().lines().filter(|line| line.contains("combine server is fit")).count();
    eventually(20, "the combine servers are fit", || fit() >= count);
}

/// `pgloom_finishes_total`.
fn finished(router: &Router, on: &str, why: &str) -> u64 {
    let (_, metrics) = router.http("/metrics");
    let name = format!("pgloom_finishes_total{{on=\"{on}\",why=\"{why}\"}} ");
    metrics.lines().find_map(|line| line.strip_prefix(&name)?.parse().ok()).unwrap_or(0)
}

#[track_caller]
fn same(what: &str, ours: &Reply, theirs: &Reply) {
    if let Some(error) = ours.error.as_ref().filter(|_| theirs.error.is_none()) {
        panic!("{what}\n  {error}");
    }
    assert_eq!(ours, theirs, "{what}");
}

/// Statements that any server can finish.
const ANYWHERE: &[&str] = &[
    "SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY amount), sum(weight), bool_or(weight > 30) FROM sales",
    "SELECT item, percentile_cont(0.5) WITHIN GROUP (ORDER BY amount) FROM sales GROUP BY item ORDER BY item",
    "SELECT id, rank() OVER (PARTITION BY item ORDER BY amount DESC, id) AS place FROM sales ORDER BY id LIMIT 25",
    "SELECT DISTINCT ON (buyer) buyer, id, amount FROM sales ORDER BY buyer, amount DESC, id",
    "SELECT s.id, b.name, s.name, s.code, s.flags, s.span FROM sales s JOIN buyers b ON b.id = s.buyer \
       WHERE s.amount > 500 ORDER BY s.id",
    "SELECT name, code, flags, span, note, day FROM sales ORDER BY note DESC, name, code, id LIMIT 20 OFFSET 3",
    // Reference tables, unsharded ones and views over them are pulled.
    "SELECT b.region, r.title, sum(s.amount) FROM sales s JOIN buyers b ON b.id = s.buyer JOIN regions r ON r.code = b.region \
       GROUP BY b.region, r.title ORDER BY 1",
    "SELECT s.id, r.rate * s.amount FROM sales s JOIN rates r ON r.item = s.item ORDER BY s.id LIMIT 7",
    "SELECT s.id, d.rate FROM sales s JOIN dear d USING (item) WHERE s.id < 30 ORDER BY 1",
    "WITH big AS (SELECT buyer, sum(amount) AS total FROM sales GROUP BY buyer HAVING sum(amount) > 1000) \
       SELECT b.name, big.total FROM big JOIN buyers b ON b.id = big.buyer ORDER BY big.total DESC, b.name",
    "SELECT item, day, sum(weight), grouping(item, day) FROM sales WHERE id < 40 GROUP BY ROLLUP (item, day) ORDER BY 1, 2, 4",
    "SELECT count(DISTINCT note), count(DISTINCT buyer), count(DISTINCT note || name) FROM sales",
    "SELECT string_agg(note, ',' ORDER BY name COLLATE \"C\", id) FROM sales WHERE id < 9",
    "SELECT id, body -> 'k', body @> '{\"k\": 3}' FROM sales WHERE amount > (SELECT avg(amount) FROM sales) ORDER BY id",
    "SELECT name FROM buyers b WHERE NOT EXISTS (SELECT FROM sales s WHERE s.buyer = b.id) ORDER BY name",
    "SELECT buyer FROM sales INTERSECT SELECT id FROM buyers ORDER BY 1",
    "SELECT buyer, amount FROM sales ORDER BY amount FETCH FIRST 3 ROWS WITH TIES",
    "SELECT s FROM (SELECT id, note, buyer FROM sales WHERE id < 5) s JOIN buyers b ON b.id = s.buyer ORDER BY s.id",
    "SELECT s.id, s.note, count(b.name) FROM sales s LEFT JOIN buyers b ON b.id = s.buyer GROUP BY s.id ORDER BY 1 LIMIT 5",
    "SELECT max(day - current_date) = max(day) - now()::date, count(*) FILTER (WHERE day < now()) FROM sales s JOIN rates r USING (item)",
    "SELECT current_user, session_user, pg_typeof(percentile_disc(0.5) WITHIN GROUP (ORDER BY amount)) FROM sales",
    "SELECT to_char(sum(amount), 'FM999G999D00'), upper(max(name)), max(note) ~ '^n[oO]' FROM sales HAVING stddev(weight) > 0",
    "SELECT b.id / (count(*) - count(*)) FROM sales s JOIN buyers b ON b.id = s.buyer GROUP BY b.id",
    "SELECT day AT TIME ZONE 'Europe/Berlin' FROM sales WHERE weight > (SELECT avg(weight) FROM sales) ORDER BY id LIMIT 2",
];

/// Statements that only the home shard can finish.
const AT_HOME: &[&str] = &[
    "SELECT twice(percentile_disc(0.5) WITHIN GROUP (ORDER BY amount)) FROM sales",
    "SELECT max(note |+| amount), percentile_disc(0.5) WITHIN GROUP (ORDER BY amount) FROM sales",
    "SELECT feeling, percentile_disc(0.5) WITHIN GROUP (ORDER BY amount) FROM sales GROUP BY feeling ORDER BY 1",
    "SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY amount) FROM sales WHERE note <> 'low'::mood::text",
    "SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY amount), current_database() IS NOT NULL, version() IS NOT NULL FROM sales",
    "SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY amount), current_schema FROM sales",
    "SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY amount), count(*) FILTER (WHERE to_tsvector(note) @@ 'note3'::tsquery) FROM sales",
    "SELECT count(DISTINCT s.note), k.relname FROM sales s, pg_class k WHERE k.relname = 'sales' GROUP BY 2",
    "SELECT count(DISTINCT note), 'sales'::regclass FROM sales",
    "SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY amount), (NULL::rates) IS NULL FROM sales",
];

#[test]
fn answers_are_those_of_one_postgres_and_made_on_both_servers_by_turns() {
    let world = World::create("combine", "", "pool_size = 3");
    let (mut oracle, mut raw) = (world.db.oracle(), world.connect());
    for sql in ANYWHERE {
        let before = world.finished("server", "");
        same(sql, &raw.simple(sql), &oracle.simple(sql));
        for format in [0, 1] {
            same(sql, &raw.extended(sql, &[], &[], format), &oracle.extended(sql, &[], &[], format));
        }
        raw.must("BEGIN");
        oracle.must("BEGIN");
        same(sql, &raw.simple(sql), &oracle.simple(sql));
        raw.must("ROLLBACK");
        oracle.must("ROLLBACK");
        let copy = format!("COPY ({sql}) TO STDOUT");
        same(&copy, &raw.simple(&copy), &oracle.simple(&copy));
        assert_eq!(world.finished("server", "") - before, 5, "{sql}");
    }
    for at in 0..2 {
        assert!(world.inputs(at) > 10, "server {at} has had its share");
    }
    // Nothing of it was the home shard's.
    let on_home = "SELECT count(*) FROM pg_class WHERE relname LIKE 'pgloom\\_%' AND relkind = 'r'";
    assert_eq!(world.db.shard(0).value(on_home), "0");
    for why in ["", "statement", "session", "unavailable", "failed", "limit"] {
        assert_eq!(world.finished("home", why), 0, "{why}");
    }
    let pools = raw.named("SHOW pgloom.shard_pools");
    let unused =
        |pool: &&std::collections::BTreeMap<String, String>| pool["role"] == "combine" && pool["sv_active"] == "0";
    assert_eq!(pools.iter().filter(unused).count(), 3, "{pools:?}");
}

#[test]
fn what_only_the_home_shard_can_finish_is_finished_there() {
    let world = World::create("combinehome", "", "");
    let (mut oracle, mut raw) = (world.db.oracle(), world.connect());
    for sql in AT_HOME {
        let before = world.finished("home", "statement");
        same(sql, &raw.simple(sql), &oracle.simple(sql));
        let finished = world.finished("home", "statement") - before;
        assert_eq!(finished, 1, "{sql}");
        let route = raw.must(&format!("EXPLAIN (ROUTE) {sql}")).text();
        assert!(route.starts_with("Finish on s0: ") && route.contains("Not on a combine server: "), "{route}");
    }
    // What a parse shows, and nothing else does: a type of users is no name that a server must know.
    let sessions: [(&[&str], &str); 4] = [
        (&["SET ROLE app"], "SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY amount), current_user FROM sales"),
        (&["SET search_path = public, pg_catalog"], ANYWHERE[0]),
        (
            &["BEGIN", "SET LOCAL ROLE app"],
            "SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY amount), current_user FROM sales",
        ),
        (&["CREATE TEMP TABLE mine (x int)"], ANYWHERE[0]),
    ];
    for server in [0, 1, 2, 3] {
        world.db.shard(server).must("GRANT ALL ON ALL TABLES IN SCHEMA public TO app");
    }
    oracle.must("GRANT ALL ON ALL TABLES IN SCHEMA public TO app");
    for (settings, sql) in sessions {
        let (mut oracle, mut raw) = (world.db.oracle(), world.connect());
        for setting in settings {
            raw.must(setting);
            oracle.must(setting);
        }
        let before = world.finished("home", "session");
        same(sql, &raw.simple(sql), &oracle.simple(sql));
        assert_eq!(world.finished("home", "session") - before, 1, "{settings:?}");
    }
    // Parameters of the users' types, whose numbers mean nothing elsewhere.
    let sql = "SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY amount) FROM sales WHERE $1 = 'low'";
    let (ours, theirs) = [&mut raw, &mut oracle].map(|raw| raw.extended(sql, &[], &[Value::text("low")], 0)).into();
    same(sql, &ours, &theirs);
}

#[test]
fn a_setting_that_a_server_refuses_sends_the_statement_home() {
    let world = World::create("combinerefuses", "", "");
    let (mut oracle, mut raw) = (world.db.oracle(), world.connect());
    for at in 0..2 {
        let name = world.empty.name(at);
        world.empty.connect(at).must(&format!("REVOKE TEMPORARY ON DATABASE {name} FROM PUBLIC"));
    }
    let mut app = Raw::connect(world.router.port, "app", &world.db.name).unwrap();
    for server in 0..4 {
        world.db.shard(server).must("GRANT ALL ON ALL TABLES IN SCHEMA public TO app");
    }
    let sql = ANYWHERE[1];
    same(sql, &app.simple(sql), &oracle.simple(sql));
    app.must("BEGIN");
    same(sql, &Reply { status: b'I', ..app.simple(sql) }, &oracle.simple(sql));
    // The transaction goes on as if nothing had happened.
    same(sql, &Reply { status: b'I', ..app.simple(sql) }, &oracle.simple(sql));
    app.must("COMMIT");
    assert_eq!((world.finished("home", "failed"), world.finished("server", "")), (3, 0));
    same(sql, &raw.simple(sql), &oracle.simple(sql));
    assert_eq!(world.finished("server", ""), 1);
}

#[test]
fn what_is_too_much_for_a_server_is_read_on_the_home_shard() {
    let world = World::create("combinelimit", "", "max_rows = 400");
    let (mut oracle, mut raw) = (world.db.oracle(), world.connect());
    for raw in [&mut oracle, &mut raw] {
        raw.must("INSERT INTO rates SELECT i, i FROM generate_series(3, 300) i");
    }
    // 300 rows of sales, and 301 of rates where these are pulled as well.
    let sql = "SELECT s.id, r.rate FROM sales s JOIN rates r ON r.item = s.item ORDER BY s.id";
    same(sql, &raw.simple(sql), &oracle.simple(sql));
    assert_eq!((world.finished("home", "limit"), world.finished("server", "")), (1, 0));
    // Within a transaction they are pulled anyhow.
    raw.must("BEGIN");
    assert_eq!(raw.simple(sql).code(), "53400");
    raw.must("ROLLBACK");
    let sql = "SELECT s.id, r.rate FROM sales s JOIN rates r ON r.item = s.item WHERE r.item < 3 ORDER BY s.id";
    same(sql, &raw.simple(sql), &oracle.simple(sql));
    assert_eq!(world.finished("server", ""), 1);
}

#[test]
fn explain_cursors_and_portals_are_finished_there_too() {
    let world = World::create("combineexplain", "", "pool_size = 2");
    let (mut oracle, mut raw) = (world.db.oracle(), world.connect());
    let sql = "SELECT s.id, r.rate FROM sales s JOIN rates r ON r.item = s.item ORDER BY s.id";
    let addresses = world.empty.addresses();
    let route = raw.must(&format!("EXPLAIN (ROUTE) {sql}")).text();
    assert!(route.starts_with(&format!("Finish on {} or {}: ", addresses[0], addresses[1])), "{route}");
    assert!(route.contains("Pull public.rates into") && route.contains(" from s0"), "{route}");
    for explain in ["EXPLAIN", "EXPLAIN ANALYZE", "EXPLAIN (FORMAT JSON)"] {
        let before = world.finished("server", "");
        let reply = raw.must(&format!("{explain} {sql}"));
        let cells = reply.answers.iter().flat_map(|answer| &answer.rows).flatten().flatten();
        let plan = cells.map(|cell| String::from_utf8_lossy(cell)).collect::<Vec<_>>().join("\n");
        assert!(
            addresses.iter().any(|address| plan.contains(&format!("On {address}"))
                || plan.contains(&format!("\"Shard\": \"{address}\""))),
            "{plan}"
        );
        assert!(plan.contains("public.rates"), "what is pulled is explained: {plan}");
        assert_eq!(world.finished("server", "") - before, 1, "{explain}");
    }
    // A cursor, with savepoints and settings around it.
    for raw in [&mut oracle, &mut raw] {
        raw.must("BEGIN");
        raw.must("SAVEPOINT a");
        raw.must(&format!("DECLARE c SCROLL CURSOR FOR {sql}"));
    }
    for step in [
        "FETCH 3 FROM c",
        "SAVEPOINT b",
        "FETCH BACKWARD 1 FROM c",
        "SET LOCAL extra_float_digits = 0",
        "ROLLBACK TO b",
        "FETCH 2 FROM c",
        "MOVE 5 IN c",
        "FETCH c",
        "RELEASE a",
        "CLOSE c",
        "FETCH c",
        "ROLLBACK",
    ] {
        same(step, &raw.simple(step), &oracle.simple(step));
    }
    assert_eq!(world.finished("home", "session"), 0);
    // A portal in pieces.
    let batch = [m::parse("", sql, &[]), m::bind("", "", &[], &[]), m::execute("", 2), m::execute("", 2), m::sync()];
    let (ours, theirs) = [&mut raw, &mut oracle].map(|raw| raw.exchange(&batch.concat(), None)).into();
    same(sql, &ours, &theirs);
}

#[test]
fn a_server_that_does_not_answer_is_skipped_and_taken_back() {
    let db = database("combinedead");
    let lone = Lone::create();
    lone.configure("timezone = 'UTC'");
    lone.start();
    lone.connect("postgres").must("CREATE DATABASE combine TEMPLATE template0");
    let router = Router::start(&config(&db, "", &format!("servers = [{}]", combine_server(lone.port, "combine"))));
    are_fit(&router, 1);
    fill(&db, &router);
    let (mut oracle, mut raw) = (db.oracle(), router.connect(&db.name));
    let sql = ANYWHERE[3];
    let right = oracle.simple(sql);
    same(sql, &raw.simple(sql), &right);
    assert_eq!(finished(&router, "server", ""), 1);
    // A role that is not there: the user cannot log in there, and a cursor there cannot follow the session.
    for server in 0..4 {
        db.shard(server).must("GRANT ALL ON ALL TABLES IN SCHEMA public TO app");
    }
    let mut app = Raw::connect(router.port, "app", &db.name).unwrap();
    same(sql, &app.simple(sql), &right);
    assert_eq!(finished(&router, "home", "unavailable"), 1);
    raw.must("BEGIN");
    raw.must(&format!("DECLARE c CURSOR FOR {sql}"));
    let refused = raw.simple("SET LOCAL ROLE app");
    assert_eq!((refused.code(), refused.status), ("0A000", b'E'), "{refused:?}");
    raw.must("ROLLBACK");
    assert_eq!(finished(&router, "server", ""), 2);
    lone.kill();
    // A connection that was idle is seen to be dead, a new one cannot be made: nobody is told.
    for _ in 0..5 {
        same(sql, &raw.simple(sql), &right);
    }
    assert_eq!((finished(&router, "server", ""), finished(&router, "home", "unavailable")), (2, 6));
    let start = Instant::now();
    lone.start();
    eventually(20, "the server is taken back", || {
        same(sql, &raw.simple(sql), &right);
        finished(&router, "server", "") > 2
    });
    assert!(start.elapsed() < Duration::from_secs(20));
    drop(router);
}

#[test]
fn a_server_that_dies_in_the_middle_fails_the_statement_and_not_the_session() {
    let db = database("combinedies");
    let lone = Lone::create();
    lone.configure("timezone = 'UTC'");
    lone.start();
    lone.connect("postgres").must("CREATE DATABASE combine TEMPLATE template0");
    let router = Router::start(&config(&db, "", &format!("servers = [{}]", combine_server(lone.port, "combine"))));
    are_fit(&router, 1);
    fill(&db, &router);
    let (mut oracle, mut raw) = (db.oracle(), router.connect(&db.name));
    raw.send(&m::query("SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY amount), pg_sleep(30) FROM sales")).unwrap();
    let busy = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(30) FROM pg_temp%' AND state = 'active' \
                AND pid <> pg_backend_pid()";
    eventually(20, "the statement is being finished", || lone.connect("postgres").value(busy) == "1");
    lone.kill();
    let messages = raw.read_to_ready().unwrap();
    let error = messages.iter().find(|message| message.tag == b'E').unwrap().report();
    assert_eq!(error.code(), "08006", "{error}");
    let sql = ANYWHERE[3];
    same(sql, &raw.simple(sql), &oracle.simple(sql));
    drop(router);
}

/// The lines of `pgloom check` about combine servers; and whether all is well.
fn check(router: &Router) -> (Vec<String>, bool) {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_pgloom"))
        .args(["check", "--config"])
        .arg(&router.config)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (text.lines().filter(|line| line.contains("combine server")).map(str::to_owned).collect(), output.status.success())
}

#[test]
fn a_server_that_would_answer_otherwise_is_not_used_and_check_says_why() {
    let db = database("combineunfit");
    let lone = Lone::create_with(&["--locale=C"]);
    lone.configure("timezone = 'UTC'");
    lone.start();
    lone.connect("postgres").must("CREATE DATABASE combine TEMPLATE template0");
    let cluster = Cluster::shared();
    // The same cluster as a shard's: but for what is done to it below it is fit.
    let empty = Empty::create(&[&cluster.shards[2]], &format!("{}_combine", db.name));
    let servers = format!("{}, {}", combine_server(lone.port, "combine"), empty.toml().trim_matches(['[', ']']));
    let general = "catalog_refresh_interval = \"1s\"";
    let router = Router::start(&config(&db, general, &format!("servers = [{servers}]")));
    are_fit(&router, 1);
    fill(&db, &router);
    let (lines, well) = check(&router);
    assert!(!well);
    let differs =
        |text: &str, lines: &[String]| lines.iter().any(|line| line.starts_with("BAD") && line.contains(text));
    assert!(differs("LC_COLLATE is \"C\", on the home shard \"C.UTF-8\"", &lines), "{lines:?}");
    assert!(lines.iter().any(|line| line.starts_with("ok") && line.contains("finishes statements")), "{lines:?}");
    let (mut oracle, mut raw) = (db.oracle(), router.connect(&db.name));
    let sql = "SELECT s.name, count(DISTINCT s.amount) FROM sales s GROUP BY 1 ORDER BY 1";
    for _ in 0..3 {
        same(sql, &raw.simple(sql), &oracle.simple(sql));
    }
    assert_eq!(finished(&router, "server", ""), 3);
    assert!(lone.connect("combine").values("SELECT relname FROM pg_class WHERE relname LIKE 'pgloom\\_%'").is_empty());
    // What would answer otherwise comes later.
    let name = empty.name(0);
    for (spoil, repair, why) in [
        (
            "CREATE FUNCTION public.upper(varchar) RETURNS text LANGUAGE sql AS 'SELECT ''x''::text'",
            "DROP FUNCTION public.upper(varchar)",
            "it has function",
        ),
        ("CREATE TABLE rates (item text)", "DROP TABLE rates", "it has table public.rates"),
        (
            "ALTER DATABASE NAME SET \"IntervalStyle\" = 'iso_8601'",
            "ALTER DATABASE NAME RESET \"IntervalStyle\"",
            "setting IntervalStyle is \"iso_8601\"",
        ),
        (
            "REVOKE EXECUTE ON FUNCTION pg_catalog.pg_sleep(float8) FROM PUBLIC",
            "GRANT EXECUTE ON FUNCTION pg_catalog.pg_sleep(float8) TO PUBLIC",
            "built-in functions that not everybody may call",
        ),
    ] {
        empty.connect(0).must(&spoil.replace("NAME", name));
        let (lines, _) = check(&router);
        assert!(differs(why, &lines), "{why}: {lines:?}");
        if why != "it has function" {
            empty.connect(0).must(&repair.replace("NAME", name));
            continue;
        }
        eventually(20, "the server is no longer used", || {
            let before = finished(&router, "home", "unavailable");
            same(sql, &raw.simple(sql), &oracle.simple(sql));
            finished(&router, "home", "unavailable") > before
        });
        empty.connect(0).must(&repair.replace("NAME", name));
        eventually(20, "the server is used again", || {
            let before = finished(&router, "server", "");
            same(sql, &raw.simple(sql), &oracle.simple(sql));
            finished(&router, "server", "") > before
        });
    }
    drop(router);
    drop(empty);
}

#[test]
fn a_server_that_was_started_anew_is_looked_at_before_it_is_used() {
    let db = database("combineanew");
    let lone = Lone::create();
    lone.configure("timezone = 'UTC'");
    lone.start();
    lone.connect("postgres").must("CREATE DATABASE combine TEMPLATE template0");
    // Nobody would look for an hour.
    let general = "catalog_refresh_interval = \"1h\"";
    let router = Router::start(&config(&db, general, &format!("servers = [{}]", combine_server(lone.port, "combine"))));
    are_fit(&router, 1);
    fill(&db, &router);
    let (mut oracle, mut raw) = (db.oracle(), router.connect(&db.name));
    let sql = "SELECT max(span), percentile_disc(0.5) WITHIN GROUP (ORDER BY amount) FROM sales";
    same(sql, &raw.simple(sql), &oracle.simple(sql));
    assert_eq!(finished(&router, "server", ""), 1);
    lone.stop();
    lone.configure("intervalstyle = 'iso_8601'");
    lone.start();
    for _ in 0..3 {
        same(sql, &raw.simple(sql), &oracle.simple(sql));
    }
    eventually(20, "the difference is found", || router.log_text().contains("setting IntervalStyle is"));
    same(sql, &raw.simple(sql), &oracle.simple(sql));
    assert_eq!(finished(&router, "server", ""), 1);
    drop(router);
}

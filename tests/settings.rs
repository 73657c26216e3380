//! Settings that the servers' own configuration gives to logins (`ALTER DATABASE` and `ALTER ROLE ... SET`): the home shard's hold for
//! the whole database, as if it were one Postgres.

#![allow(clippy::unwrap_used)]

mod support;

use std::fmt::Write;

use support::raw::{Raw, Value, message as m};
use support::{Database, Router, SHARDS, Sharded, eventually};

const TABLES: &str = "CREATE TABLE log (id int PRIMARY KEY, at timestamptz, day date, f float8, b bytea, gap interval); \
     CREATE TABLE days (day date PRIMARY KEY, n int); CREATE TABLE words (word text PRIMARY KEY, n int); \
     CREATE TABLE moments (at timestamptz PRIMARY KEY, n int); CREATE TABLE times (at timestamp PRIMARY KEY, n int); \
     CREATE TABLE settings_home (id int)";
const ROWS: [&str; 5] = [
    "INSERT INTO log SELECT g, timestamptz '2024-01-31 20:00+00' + g * interval '5 hours', date '2024-01-28' + g, \
     CASE WHEN g % 2 = 0 THEN 0.3 ELSE 0.1::float8 + 0.2 END, decode(to_hex(g + 16), 'hex'), g * interval '1 day 02:03' \
     FROM generate_series(1, 24) g",
    "INSERT INTO days SELECT date '2024-01-01' + g, g FROM generate_series(0, 80) g",
    "INSERT INTO words SELECT 'k' || g, g FROM generate_series(0, 20) g",
    "INSERT INTO moments SELECT timestamptz '2024-01-31 00:00+00' + g * interval '30 minutes', g FROM generate_series(0, 160) g",
    "INSERT INTO times SELECT timestamp '2024-01-31 00:00' + g * interval '30 minutes', g FROM generate_series(0, 160) g",
];

/// A database whose home shard, shard 2 and oracle were configured before the router came.
struct World {
    router: Option<Router>,
    db: Database,
    roles: Vec<String>,
}

impl World {
    /// `~` in the statements stands for the database, `#` for roles of this test. `home` runs on the home shard and the oracle,
    /// `other` on shard 2 alone.
    fn create(label: &str, roles: &[&str], home: &str, other: &str) -> Self {
        let db = Database::create(label);
        let roles: Vec<String> = roles.iter().map(|role| format!("{}_{role}", db.name)).collect();
        let name = |sql: &str| sql.replace('~', &db.name).replace('#', &format!("{}_", db.name));
        let make: String = roles
            .iter()
            .map(|role| format!("CREATE ROLE {role} LOGIN; GRANT ALL ON SCHEMA public TO {role};"))
            .collect();
        db.everywhere(&format!("{TABLES}; {make} GRANT ALL ON ALL TABLES IN SCHEMA public TO PUBLIC"));
        db.oracle().must(&ROWS.join("; "));
        // Loaded before anything is configured: a server may read a literal otherwise afterwards.
        drop(Self::load(&db, &roles));
        db.oracle().must(&name(home));
        db.shard(0).must(&name(home));
        db.shard(2).must(&name(other));
        let router = Some(Router::start(&config(&db, &roles)));
        Self { router, db, roles }
    }

    /// Copies the oracle's rows to the shards.
    fn load(db: &Database, roles: &[String]) -> Router {
        let router = Router::start(&config(db, roles));
        let (mut oracle, mut through) = (db.oracle(), router.connect(&db.name));
        for (table, row) in [
            ("log", "id, at, day, f, replace(b::text, '\\', '\\\\'), gap"),
            ("days", "day, n"),
            ("words", "word, n"),
            ("moments", "at, n"),
            ("times", "at, n"),
        ] {
            let rows = oracle.values(&format!("SELECT concat_ws('|', {row}) FROM {table}"));
            let copied = through.copy_in(
                &format!("COPY {table} FROM STDIN (DELIMITER '|')"),
                format!("{}\n", rows.join("\n")).as_bytes(),
            );
            assert_eq!(copied.code(), "", "{}", copied.text());
        }
        router
    }

    fn router(&self) -> &Router {
        self.router.as_ref().unwrap()
    }

    fn port(&self) -> u16 {
        self.router().connect(&self.db.name).port()
    }

    fn pair(&self, user: &str) -> (Raw, Raw) {
        let oracle = Raw::connect(self.db.oracle().port(), user, &self.db.name).unwrap();
        (oracle, Raw::connect(self.port(), user, &self.db.name).unwrap())
    }

    fn role(&self, name: &str) -> String {
        format!("{}_{name}", self.db.name)
    }

    /// Both sides say the same, or the router refuses what `may_refuse`.
    #[track_caller]
    fn same(&self, user: &str, statements: &[&str], may_refuse: bool) {
        let (mut oracle, mut through) = self.pair(user);
        for name in ["DateStyle", "TimeZone", "IntervalStyle", "standard_conforming_strings", "session_authorization"] {
            assert_eq!(oracle.parameters.get(name), through.parameters.get(name), "{name}");
        }
        for sql in statements {
            for form in ["simple", "text", "binary"] {
                let ask = |raw: &mut Raw| match form {
                    "simple" => raw.simple(sql),
                    form => raw.extended(sql, &[], &[], i16::from(form == "binary")),
                };
                let (theirs, ours) = (ask(&mut oracle), ask(&mut through));
                if may_refuse && ours.code() == "0A000" {
                    continue;
                }
                assert_eq!(theirs.text(), ours.text(), "{sql} ({form})");
            }
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.router = None;
        let drop: String = self.roles.iter().map(|role| format!("DROP OWNED BY {role}; DROP ROLE {role};")).collect();
        for mut raw in (0..SHARDS).map(|i| self.db.shard(i)).chain([self.db.oracle()]) {
            let _ = raw.simple(&drop);
        }
    }
}

fn config(db: &Database, roles: &[String]) -> String {
    let mut out = String::from(
        "[general]\nport = {port}\nmetrics_listen = \"127.0.0.1:{http_port}\"\nauth_type = \"trust\"\ndefault_pool_size = 4\n\
         [[users]]\nname = \"postgres\"\n",
    );
    roles.iter().for_each(|role| out += &format!("[[users]]\nname = \"{role}\"\n"));
    let name = &db.name;
    let _ = writeln!(out, "[databases.{name}]\nsafe_functions = ['set_who', 'set_who_here', 'say_who', 'call_who']");
    for (index, port) in db.ports().iter().enumerate() {
        let _ = writeln!(out, "[[databases.{name}.shards]]\nname = \"s{index}\"\nhost = \"127.0.0.1\"\nport = {port}");
    }
    for (table, column, key_type) in [
        ("log", "id", "int4"),
        ("days", "day", "date"),
        ("words", "word", "text"),
        ("moments", "at", "timestamptz"),
        ("times", "at", "timestamp"),
    ] {
        let _ = writeln!(
            out,
            "[[databases.{name}.distributions]]\nname = \"{table}\"\nkey_types = [\"{key_type}\"]\n\
             [[databases.{name}.tables]]\nname = \"{table}\"\ndistribution = \"{table}\"\ncolumns = [\"{column}\"]"
        );
    }
    let _ = writeln!(
        out,
        "[[databases.{name}.distributions]]\nname = \"tenants\"\nmethod = \"schema\"\nschemas = \"tenant_*\"\n\
         pins = [{{ value = \"tenant_1\", shard = \"s1\" }}, {{ value = \"tenant_2\", shard = \"s2\" }}]"
    );
    out
}

#[test]
fn what_the_home_shard_says_holds_on_every_shard() {
    let world = World::create(
        "settings",
        &[],
        "ALTER DATABASE ~ SET DateStyle = 'ISO, DMY'; ALTER DATABASE ~ SET TimeZone = 'Asia/Tokyo'; \
         ALTER DATABASE ~ SET IntervalStyle = 'iso_8601'; ALTER DATABASE ~ SET search_path = ''; \
         ALTER DATABASE ~ SET default_transaction_isolation = 'repeatable read'; \
         ALTER DATABASE ~ SET array_nulls = off",
        "ALTER DATABASE ~ SET DateStyle = 'German'; ALTER DATABASE ~ SET TimeZone = 'America/New_York'; \
         ALTER DATABASE ~ SET extra_float_digits = 0; ALTER DATABASE ~ SET bytea_output = 'escape'; \
         ALTER DATABASE ~ SET default_transaction_read_only = on",
    );
    world.same(
        "postgres",
        &[
            "SELECT id, at, day, f, b, gap FROM public.log ORDER BY id",
            "SELECT at, count(*) FROM public.log GROUP BY at ORDER BY at",
            "SELECT DISTINCT f FROM public.log ORDER BY f",
            "SELECT max(b), min(day), max(at) FROM public.log",
            "SELECT at::date AS d, count(*) FROM public.log GROUP BY 1 ORDER BY 1",
            "SELECT count(*) FROM public.log WHERE at < '02/02/2024 06:00'",
            "SELECT n FROM public.days WHERE day = '01/02/2024'",
            "SELECT n FROM public.days WHERE day IN ('3/2/2024', '2024-03-02') ORDER BY n",
            "SELECT count(*) FROM public.days WHERE day BETWEEN '01/02/2024' AND '03/02/2024'",
            "SELECT count(*) FROM public.words WHERE word = ANY ('{NULL,k1}')",
            "UPDATE public.log SET day = '05/03/2024' WHERE id > 20",
            "SELECT id, day FROM public.log WHERE day = '2024-03-05' ORDER BY id",
            "SELECT n FROM days",
            "SHOW search_path",
            "SHOW transaction_isolation",
            "SET TimeZone = 'UTC'",
            "SELECT id, at FROM public.log ORDER BY at, id LIMIT 5",
            "RESET TimeZone",
            "SELECT id, at FROM public.log ORDER BY at, id LIMIT 5",
            "RESET ALL",
            "SELECT at FROM public.log ORDER BY at LIMIT 2",
        ],
        false,
    );
}

#[test]
fn values_that_are_printed_otherwise_are_not_merged_by_their_text() {
    let world = World::create(
        "printed",
        &[],
        "ALTER DATABASE ~ SET DateStyle = 'SQL, MDY'; ALTER DATABASE ~ SET extra_float_digits = 0; \
         ALTER DATABASE ~ SET bytea_output = 'escape'",
        "SELECT 1",
    );
    world.same(
        "postgres",
        &[
            "SELECT DISTINCT f FROM log ORDER BY f",
            "SELECT f, count(*) FROM log GROUP BY f ORDER BY 2",
            "SELECT max(b) FROM log",
            "SELECT min(day), max(at) FROM log",
            "SELECT day FROM log ORDER BY day DESC LIMIT 3",
            "SELECT n FROM days WHERE day = '02/01/2024'",
            "SELECT day, f, b FROM log WHERE id = 7",
            "SELECT id, day, f, b FROM log ORDER BY id LIMIT 30",
        ],
        false,
    );
    let mut through = world.router().connect(&world.db.name);
    // A Postgres compares what the router cannot.
    let route = |through: &mut Raw| through.must("EXPLAIN (ROUTE) SELECT DISTINCT f FROM log ORDER BY f").text();
    assert!(route(&mut through).contains("print values in a form"));
    assert_eq!(through.values("SET extra_float_digits = 1; SELECT DISTINCT f FROM log ORDER BY f").len(), 2);
    through.must("SET extra_float_digits = 1");
    assert!(route(&mut through).starts_with("Unique"));
}

#[test]
fn backslashes_mean_what_the_servers_say() {
    let world = World::create("slashes", &[], "ALTER DATABASE ~ SET standard_conforming_strings = off", "SELECT 1");
    world.same(
        "postgres",
        &[
            "SELECT n FROM words WHERE word = 'k7'",
            "SELECT n FROM words WHERE word = 'k\\067'",
            "SELECT n FROM words WHERE word = E'k\\067'",
            "SELECT '\\''||1||'\\''",
        ],
        true,
    );
    let mut through = world.router().connect(&world.db.name);
    assert_eq!(through.value("SELECT n FROM words WHERE word = 'k\\067'"), "7");
}

#[test]
fn each_role_has_its_own_settings() {
    let world = World::create(
        "roles",
        &["one", "two", "admin"],
        "ALTER ROLE #one IN DATABASE ~ SET search_path = tenant_1; ALTER ROLE #two IN DATABASE ~ SET search_path = tenant_2, public; \
         ALTER ROLE #two IN DATABASE ~ SET TimeZone = 'Asia/Tokyo'; \
         GRANT #one TO #admin; ALTER ROLE #admin IN DATABASE ~ SET role = #one; \
         ALTER ROLE #admin IN DATABASE ~ SET search_path = \"$user\", tenant_1",
        "SELECT 1",
    );
    let (one, two, admin) = (world.role("one"), world.role("two"), world.role("admin"));
    // The grant and the rows are everywhere, the settings at home.
    for shard in 1..SHARDS {
        world.db.shard(shard).must(&format!("GRANT {one} TO {admin}"));
    }
    let mut root = world.router().connect(&world.db.name);
    for (tenant, who) in [("tenant_1", &one), ("tenant_2", &two)] {
        for sql in [
            format!("CREATE SCHEMA {tenant}"),
            format!(
                "CREATE TABLE {tenant}.orders AS SELECT g AS id, '{tenant}'::text AS of FROM generate_series(1, 5) g"
            ),
            format!("GRANT ALL ON SCHEMA {tenant} TO {who}"),
            format!("GRANT ALL ON ALL TABLES IN SCHEMA {tenant} TO {who}"),
        ] {
            world.db.oracle().must(&sql);
            root.must(&sql);
        }
    }
    let reads = [
        "SELECT * FROM orders ORDER BY id",
        "SELECT current_schema(), current_user",
        "SELECT current_setting('search_path')",
        "SELECT of FROM orders WHERE id = 3",
        "INSERT INTO orders VALUES (6, 'new')",
        "UPDATE orders SET of = of || '!' WHERE id > 4",
        "SELECT * FROM orders ORDER BY id, of",
        "SET search_path TO public",
        "SELECT count(*) FROM days",
        "SELECT count(*) FROM orders",
        "RESET search_path",
        "SELECT count(*) FROM orders",
        "SELECT at FROM public.log ORDER BY at LIMIT 3",
    ];
    for user in [&one, &two, &admin] {
        world.same(user, &reads, false);
    }
    assert_eq!(world.db.shard(1).value("SELECT count(*) FROM tenant_1.orders WHERE of LIKE 'new%'"), "6");
}

#[test]
fn new_settings_reach_new_connections_and_never_half_a_transaction() {
    let world = World::create("later", &[], "SELECT 1", "SELECT 1");
    let name = &world.db.name;
    let mut session = world.router().connect(name);
    session.must("SELECT count(*) FROM log");
    let mut within = world.router().connect(name);
    within.must("BEGIN; SELECT count(*) FROM log WHERE id = 1");
    let held = within.value("SELECT current_setting('TimeZone')");
    world.db.shard(0).must(&format!("ALTER DATABASE {name} SET TimeZone = 'Asia/Tokyo'"));
    // The connections of the pool end, as they do when the server starts again.
    let end = format!(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = '{name}' AND state = 'idle' \
         AND pid <> pg_backend_pid()"
    );
    world.db.shard(0).must(&end);
    eventually(20, "a new session is told of the new zone", || {
        let mut fresh = world.router().connect(name);
        fresh.simple("SELECT count(*) FROM settings_home");
        world.router().connect(name).parameters.get("TimeZone").is_some_and(|zone| zone == "Asia/Tokyo")
    });
    let mut fresh = world.router().connect(name);
    let tokyo = "SELECT DISTINCT date_part('timezone', at) FROM log";
    assert_eq!(fresh.values(tokyo), ["32400"], "on every shard");
    // A session that was there before follows with its next transaction.
    assert_eq!(session.values(tokyo), ["32400"]);
    assert_eq!(session.value("SHOW TimeZone"), "Asia/Tokyo");
    // One in a transaction has what it began with, or an error.
    let rest = within.simple(tokyo);
    assert!(rest.code() == "55000" || rest.text().contains(&held), "{}", rest.text());
    within.must("ROLLBACK");
    assert_eq!(within.values(tokyo), ["32400"]);
}

#[test]
fn functions_that_change_settings_keep_them_to_their_session() {
    let world = World::create("functions", &[], "SELECT 1", "SELECT 1");
    let mut client = world.router().connect(&world.db.name);
    for (name, body) in [
        ("set_who", "SELECT set_config('my.who', $1, false)"),
        ("set_who_here", "SELECT set_config('my.who', $1, true)"),
        ("say_who", "SELECT coalesce(current_setting('my.who', true), '') || $1"),
    ] {
        client.must(&format!("CREATE FUNCTION {name}(text) RETURNS text LANGUAGE sql AS $$ {body} $$"));
    }
    client.must(
        "CREATE PROCEDURE call_who(text) LANGUAGE plpgsql AS $$ BEGIN PERFORM set_config('my.who', $1, false); END $$",
    );
    let who = "SELECT coalesce(current_setting('my.who', true), '')";
    let unknown = "SELECT current_setting('my.who', true) IS NULL";
    let scatter = "SELECT count(*) FROM log";
    for change in ["SELECT set_who('ann')", "SELECT set_who('ann'), say_who('!')", "CALL call_who('ann')"] {
        let mut one = world.router().connect(&world.db.name);
        one.must(change);
        assert_eq!(one.value(who), "ann", "{change}");
        assert_eq!(one.simple(scatter).code(), "0A000", "{change}");
        drop(one);
        let mut others: Vec<Raw> = (0..4).map(|_| world.router().connect(&world.db.name)).collect();
        others.iter_mut().for_each(|other| {
            other.must("BEGIN");
            assert_eq!(other.value(unknown), "t", "{change}");
        });
    }
    client.must("BEGIN; SELECT set_who_here('bob')");
    assert_eq!(client.value(who), "bob");
    client.must("SAVEPOINT s");
    assert_eq!(client.simple(scatter).code(), "0A000");
    client.must("ROLLBACK");
    assert_eq!(client.value(scatter), "24");
    // It is there, and empty, for who has called the function.
    assert_eq!(client.value(unknown), "f");
    assert_eq!(client.value("SELECT current_setting('my.who', true) || '.' FROM log WHERE id = 7"), ".");
    assert_eq!(world.router().connect(&world.db.name).value(unknown), "t");
    // Others are run as they were.
    assert_eq!(client.value("SELECT say_who('x')"), "x");
    assert_eq!(client.value(scatter), "24");
    assert_eq!(client.simple("SELECT set_who(word) FROM words").code(), "0A000");
}

#[test]
fn moments_as_keys_are_read_in_the_sessions_zone() {
    let world = World::create("moments", &[], "ALTER DATABASE ~ SET TimeZone = 'Asia/Tokyo'", "SELECT 1");
    let reads = [
        "SELECT n FROM moments WHERE at = '2024-02-01 09:00'",
        "SELECT n FROM moments WHERE at = '2024-02-01 09:00+00'",
        "SELECT n FROM moments WHERE at = '2024-02-01 09:00:00 UTC'",
        "SELECT n FROM moments WHERE at = timestamp '2024-02-01 09:00'",
        "SELECT n FROM moments WHERE at = timestamptz '2024-02-01 09:00'",
        "SELECT n FROM moments WHERE at = date '2024-02-01'",
        "SELECT n FROM moments WHERE at = '2024-02-01'",
        "SELECT n FROM moments WHERE at IN ('2024-02-01', '2024-02-02 00:30') ORDER BY n",
        "SELECT n FROM moments WHERE at = ANY ('{2024-02-01,2024-02-02 00:30+00}') ORDER BY n",
        "SELECT count(*) FROM moments WHERE at BETWEEN '2024-02-01' AND '2024-02-02'",
        "SELECT count(*) FROM moments WHERE at >= date '2024-02-01' AND at < date '2024-02-02'",
        "SELECT n FROM times WHERE at = '2024-02-01 09:00'",
        "SELECT n FROM times WHERE at = '2024-02-01 09:00+05'",
        "SELECT n FROM times WHERE at = timestamptz '2024-02-01 09:00+00'",
        "SELECT n FROM times WHERE at = date '2024-02-01'",
        "SELECT n FROM times WHERE at = '2024-02-01 09:00'::timestamptz::timestamp",
        "SELECT count(*) FROM times WHERE at >= timestamptz '2024-02-01 00:00+00'",
        "SELECT m.n, t.n FROM moments m JOIN times t ON m.at = t.at WHERE m.n < 40 ORDER BY 1, 2",
        "UPDATE moments SET n = n + 1000 WHERE at = '2024-02-01 09:00+09'",
        "SELECT at, n FROM moments WHERE n > 999",
    ];
    world.same("postgres", &reads, false);
    for zone in ["America/New_York", "UTC", "+05:30"] {
        let (mut oracle, mut through) = world.pair("postgres");
        let set = format!("SET TimeZone = '{zone}'");
        for sql in std::iter::once(&*set).chain(reads) {
            assert_eq!(oracle.simple(sql).text(), through.simple(sql).text(), "{sql} in {zone}");
        }
        for (declared, value) in
            [(0, "2024-02-01 03:00"), (1114, "2024-02-01 03:00"), (1082, "2024-02-01"), (1184, "2024-02-01 03:00Z")]
        {
            for table in ["moments", "times"] {
                let sql = format!("SELECT n FROM {table} WHERE at = $1");
                let ask = |raw: &mut Raw| raw.extended(&sql, &[declared], &[Value::text(value)], 0).text();
                assert_eq!(ask(&mut oracle), ask(&mut through), "{sql} {value} of type {declared} in {zone}");
            }
        }
        // What is written without a zone lies where it is read in this one, or is refused.
        for (n, at) in ["2030-01-01 10:00", "2030-01-02 10:00+00", "2030-01-03"].iter().enumerate() {
            let insert = format!("INSERT INTO moments VALUES ('{at}', {n})");
            let reply = through.simple(&insert);
            if reply.code().is_empty() {
                oracle.must(&insert);
            } else {
                assert_eq!(reply.code(), "0A000", "{insert}");
            }
            let copied =
                through.copy_in("COPY moments FROM STDIN", format!("{}\t{n}\n", at.replace("2030", "2031")).as_bytes());
            if copied.code().is_empty() {
                oracle.must(&insert.replace("2030", "2031"));
            } else {
                assert_eq!(copied.code(), "0A000", "COPY {at}: {}", copied.text());
            }
        }
        let all = "SELECT at, n FROM moments WHERE at > '2029-01-01 00:00+00' ORDER BY at";
        let rows = oracle.values(all);
        assert!(!rows.is_empty(), "{zone}");
        assert_eq!(rows, through.values(all), "{zone}");
        for row in &rows {
            let at = row.split('|').next().unwrap();
            let one = format!("SELECT count(*) FROM moments WHERE at = '{at}'");
            assert_eq!(through.value(&one), "1", "{one} in {zone}");
        }
        for raw in [&mut oracle, &mut through] {
            raw.must("DELETE FROM moments WHERE at > '2029-01-01 00:00+00'");
        }
    }
}

#[test]
fn a_date_style_that_is_given_in_parts_is_whole_everywhere() {
    let world = World::create("parts", &[], "SELECT 1", "SELECT 1");
    let reads = [
        "SHOW DateStyle",
        "SELECT count(*) FROM log WHERE day = '03/02/2024'",
        "SELECT max(day), max(at) FROM log",
        "SELECT n FROM days WHERE day = '01/02/2024'",
        "UPDATE log SET day = '04/03/2024' WHERE id = 5 RETURNING day",
        "SELECT id, day, at FROM log ORDER BY day, id LIMIT 8",
        "SELECT string_agg(day::text, ',' ORDER BY id) FROM log",
    ];
    let sets: [&[&str]; 14] = [
        &["SET DateStyle = 'DMY'", "SET DateStyle = 'ISO'"],
        &["SET DateStyle TO sql, european", "SET datestyle TO iso"],
        &["SET DateStyle = 'SQL, DMY'", "SET DateStyle = 'Postgres'"],
        &["SET DateStyle = 'German'", "SET DateStyle TO 'US'", "SET DateStyle TO \"ISO\""],
        &["SET DateStyle = 'YMD'", "SET DateStyle = 'ISO, DEFAULT'", "SET DateStyle = DMY", "RESET DateStyle"],
        &["SELECT set_config('datestyle', 'DMY', false)", "SELECT set_config('DateStyle', 'ISO', false)"],
        &["SELECT set_config('datestyle', 'dmy', false), set_config('datestyle', 'sql', false)"],
        &["SET DateStyle = 'DMY'", "BEGIN", "SET LOCAL DateStyle = 'ISO'"],
        &["BEGIN", "SET LOCAL DateStyle = 'DMY'", "SET DateStyle = 'SQL'", "COMMIT"],
        &["BEGIN", "SET DateStyle = 'SQL, DMY'", "SAVEPOINT s", "SET DateStyle = 'ISO'", "ROLLBACK TO s"],
        &["BEGIN", "SET DateStyle = 'DMY'", "ROLLBACK", "SET DateStyle = 'ISO'"],
        &["SET DateStyle = 'DMY'", "SET DateStyle = 'ISO, SQL'", "SET DateStyle = 'iso8601'", "SET DateStyle = ''"],
        &["SET DateStyle = 'DMY'", "SET DateStyle TO default, iso", "SELECT set_config('datestyle', 'MDY,DMY', false)"],
        &["SET DateStyle = 'DMY'", "DISCARD ALL", "SET DateStyle = 'ISO'"],
    ];
    for set in sets {
        let statements: Vec<&str> = set.iter().chain(&reads).chain(&["ROLLBACK"]).chain(&reads).copied().collect();
        let (mut oracle, mut through) = world.pair("postgres");
        for sql in &statements {
            let (theirs, ours) = (oracle.simple(sql), through.simple(sql));
            assert_eq!(ours.text(), theirs.text(), "{sql} of {statements:#?}");
            assert_eq!(ours.code(), theirs.code(), "{sql} of {statements:#?}");
        }
        // Nobody else has anything of it.
        drop(through);
        world.same("postgres", &reads, false);
    }
    for startup in [
        &[("DateStyle", "ISO")][..],
        &[("datestyle", "DMY")],
        &[("options", "-c datestyle=German")],
        &[("options", "-c datestyle=SQL -c TimeZone=Asia/Tokyo")],
    ] {
        let name = &*world.db.name;
        let parameters: Vec<(&str, &str)> =
            [("user", "postgres"), ("database", name)].into_iter().chain(startup.iter().copied()).collect();
        let connect = |port| Raw::connect_with(port, &parameters, None).unwrap();
        let (mut oracle, mut through) = (connect(world.db.oracle().port()), connect(world.port()));
        assert_eq!(through.parameters.get("DateStyle"), oracle.parameters.get("DateStyle"), "{startup:?}");
        let more = [
            "SET DateStyle = 'DMY'",
            "SELECT max(day) FROM log",
            "SET DateStyle TO DEFAULT",
            "SELECT max(day) FROM log",
            "SELECT set_config('datestyle', 'YMD', false)",
            "SELECT set_config('datestyle', NULL, false)",
            "SELECT max(day) FROM log",
            "SELECT set_config('timezone', 'UTC', false), set_config('timezone', NULL, false)",
            "SELECT max(at) FROM log",
            "BEGIN",
            "SET LOCAL timezone = 'UTC'",
            "SET LOCAL timezone TO DEFAULT",
            "SELECT max(at) FROM log",
            "COMMIT",
            "SET DateStyle = 'SQL, DMY'",
            "SET DateStyle = 'default'",
        ];
        for sql in reads.iter().chain(&more).chain(&reads) {
            let (theirs, ours) = (oracle.simple(sql), through.simple(sql));
            assert_eq!(ours.text(), theirs.text(), "{sql} with {startup:?}");
        }
    }
}

/// What comes with a login hides what the servers have for it, whole: a part of DateStyle is completed by the configuration file.
#[test]
fn what_a_login_brings_is_put_over_the_servers_configuration() {
    let world = World::create(
        "loginparts",
        &["app"],
        "ALTER DATABASE ~ SET DateStyle = 'SQL, DMY'; ALTER DATABASE ~ SET application_name = 'theirs'; \
         ALTER ROLE #app SET DateStyle = 'German'; ALTER ROLE #app SET TimeZone = 'Asia/Tokyo'; \
         ALTER ROLE #app IN DATABASE ~ SET search_path = tenant_1",
        "ALTER DATABASE ~ SET DateStyle = 'Postgres, YMD'; ALTER DATABASE ~ SET application_name = 'other'",
    );
    let app = world.role("app");
    for startup in [
        &[][..],
        &[("DateStyle", "ISO")],
        &[("options", "-c datestyle=ISO")],
        &[("datestyle", "DMY")],
        &[("datestyle", "YMD, SQL")],
        &[("options", "-c datestyle=German"), ("DateStyle", "ISO")],
        &[("options", "-c DateStyle=dmy --datestyle=sql")],
        &[("DateStyle", "iso, default")],
        &[("DateStyle", "ISO"), ("TimeZone", "America/New_York"), ("application_name", "mine")],
        &[("options", "-c search_path=tenant_2 -c datestyle=postgres")],
        &[("application_name", "")],
        &[("client_encoding", "UTF8"), ("DateStyle", "ISO, MDY")],
    ] {
        for user in ["postgres", &*app] {
            let parameters: Vec<(&str, &str)> =
                [("user", user), ("database", &*world.db.name)].into_iter().chain(startup.iter().copied()).collect();
            let connect = |port| Raw::connect_with(port, &parameters, None).unwrap();
            let (mut oracle, mut through) = (connect(world.db.oracle().port()), connect(world.port()));
            for name in ["DateStyle", "TimeZone", "application_name"] {
                assert_eq!(through.parameters.get(name), oracle.parameters.get(name), "{name}: {startup:?} by {user}");
            }
            for sql in [
                "SHOW DateStyle",
                "SHOW search_path",
                "SHOW application_name",
                "SELECT max(day), max(at) FROM public.log",
                "SELECT id, day, at FROM public.log ORDER BY day, id LIMIT 8",
                "SELECT n FROM public.days WHERE day = '03/02/2024'",
                "SELECT DISTINCT current_setting('application_name') FROM public.log",
                "SET DateStyle = 'SQL, YMD'",
                "RESET DateStyle",
                "SELECT max(day) FROM public.log",
                "SET DateStyle TO 'default'",
                "SHOW DateStyle",
                "SET application_name = 'x'",
                "RESET ALL",
                "SHOW application_name",
                "SHOW DateStyle",
                "DISCARD ALL",
                "SHOW DateStyle",
            ] {
                let (theirs, ours) = (oracle.simple(sql), through.simple(sql));
                assert_eq!(ours.text(), theirs.text(), "{sql} with {startup:?} by {user}");
                assert_eq!(ours.code(), theirs.code(), "{sql} with {startup:?} by {user}");
            }
        }
    }
}

#[test]
fn what_connections_cannot_follow_is_refused_at_the_login() {
    let world = World::create("loginenc", &["app"], "ALTER ROLE #app SET client_encoding = 'LATIN1'", "SELECT 1");
    let app = world.role("app");
    let login = |user: &str, own: &[(&str, &str)]| {
        let parameters: Vec<(&str, &str)> =
            [("user", user), ("database", &*world.db.name)].into_iter().chain(own.iter().copied()).collect();
        Raw::connect_with(world.port(), &parameters, None)
    };
    let other = [("options", &*format!("-c session_authorization={app}"))];
    for (user, own) in [(&*app, &[][..]), (&app, &[("DateStyle", "ISO")]), ("postgres", &other)] {
        let refused = login(user, own).err().unwrap_or_default();
        assert!(refused.starts_with("0A000"), "{user}, {own:?}: {refused}");
    }
    assert_eq!(login(&app, &[("client_encoding", "UTF8")]).unwrap().value("SELECT count(*) FROM log"), "24");
}

#[test]
fn roles_come_last_on_every_connection() {
    let world = World::create("order", &["app", "other", "login"], "SELECT 1", "SELECT 1");
    let (app, other, login) = (world.role("app"), world.role("other"), world.role("login"));
    for mut raw in (0..SHARDS).map(|i| world.db.shard(i)).chain([world.db.oracle()]) {
        raw.must(&format!("GRANT {app} TO {login}"));
    }
    let who = "SELECT current_user, session_user, count(*) FROM log";
    let looks = [who, "SELECT current_user, session_user FROM log WHERE id = 7", "SHOW role", "SHOW work_mem"];
    let set = |sql: &str| sql.replace("app", &app).replace("other", &other);
    let sequences: [&[&str]; 17] = [
        &["SET ROLE app", "SET SESSION AUTHORIZATION DEFAULT"],
        &["SET ROLE app", "SET SESSION AUTHORIZATION postgres"],
        &["SET ROLE app", "RESET SESSION AUTHORIZATION"],
        &["SET ROLE app", "SET SESSION AUTHORIZATION other"],
        &["SET SESSION AUTHORIZATION other", "SET ROLE app", "RESET SESSION AUTHORIZATION", "SET ROLE app"],
        &["SET session_replication_role = replica", "SET ROLE app"],
        &["SET log_min_duration_statement = 100000", "SET ROLE app", "RESET log_min_duration_statement"],
        &["SET log_min_duration_statement = 100000", "SET SESSION AUTHORIZATION app", "SET ROLE NONE"],
        &["SET ROLE app", "SET log_min_duration_statement = 100000", "SET work_mem = '1MB'"],
        &["SET work_mem = '1MB'", "SET ROLE app", "RESET ALL"],
        &["SET work_mem = '1MB'", "SET ROLE app", "DISCARD ALL"],
        &["SET ROLE app", "BEGIN", "SET SESSION AUTHORIZATION other", who, "ROLLBACK"],
        &["SET ROLE app", "BEGIN", "SET SESSION AUTHORIZATION other", who, "COMMIT"],
        &["SET ROLE app", "BEGIN", who, "SET LOCAL SESSION AUTHORIZATION other", who, "COMMIT"],
        &["SELECT set_config('role', 'app', false), set_config('session_authorization', 'other', false)"],
        &["SET ROLE app", "SELECT set_config('session_authorization', NULL, false)"],
        &["BEGIN", "SET LOCAL ROLE app", "SET LOCAL work_mem = '2MB'", who, "COMMIT"],
    ];
    for user in ["postgres", &*login] {
        for sequence in sequences {
            let statements: Vec<String> = sequence.iter().map(|sql| set(sql)).collect();
            let (mut oracle, mut through) = world.pair(user);
            for sql in statements.iter().map(String::as_str).chain(looks) {
                let (theirs, ours) = (oracle.simple(sql), through.simple(sql));
                assert_eq!(ours.text(), theirs.text(), "{sql} of {statements:#?} by {user}");
            }
            drop(through);
            // Nor is it anybody else's matter.
            let (mut oracle, mut through) = world.pair(user);
            for sql in looks.iter().chain(&["SHOW log_min_duration_statement", "SET work_mem = '3MB'", who]) {
                let (theirs, ours) = (oracle.simple(sql), through.simple(sql));
                assert_eq!(ours.text(), theirs.text(), "{sql} by {user} after {statements:#?}");
            }
        }
    }
}

/// A user of few rights takes on a role of many, sets what only that one may set, and is met again on every other connection.
#[test]
fn what_a_role_has_set_stays_on_every_connection() {
    let world = World::create("roleset", &["boss", "login"], "SELECT 1", "SELECT 1");
    let (boss, login) = (world.role("boss"), world.role("login"));
    for mut raw in (0..SHARDS).map(|i| world.db.shard(i)).chain([world.db.oracle()]) {
        raw.must(&format!("ALTER ROLE {boss} SUPERUSER; GRANT {boss} TO {login}"));
    }
    let looks = [
        "SHOW log_min_duration_statement",
        "SELECT current_user, count(*) FROM log",
        "SELECT current_user, current_setting('log_min_duration_statement') FROM log WHERE id = 7",
        "SELECT current_user, current_setting('log_min_duration_statement') FROM log WHERE id = 8",
        "SHOW work_mem",
    ];
    let sequences: [&[&str]; 8] = [
        &["SET ROLE boss", "SET log_min_duration_statement = 100000"],
        &["SET ROLE boss", "SET log_min_duration_statement = 100000", "RESET ROLE"],
        &["SET work_mem = '1MB'", "SET ROLE boss", "SET log_min_duration_statement = 100000", "SET ROLE login"],
        &["SET ROLE boss", "SELECT set_config('log_min_duration_statement', '100000', false)", "SET ROLE NONE"],
        &["BEGIN", "SET LOCAL ROLE boss", "SET log_min_duration_statement = 100000", "COMMIT"],
        &["SET ROLE boss", "SET log_min_duration_statement = 100000", "RESET ROLE", "RESET log_min_duration_statement"],
        &[
            "SET ROLE boss",
            "SET log_min_duration_statement = 100000",
            "RESET ROLE",
            "SET log_min_duration_statement = 7",
        ],
        &["SET ROLE boss", "SET log_min_duration_statement = 100000", "RESET ROLE", "RESET ALL"],
    ];
    for sequence in sequences {
        let statements: Vec<String> =
            sequence.iter().map(|sql| sql.replace("boss", &boss).replace("login", &login)).collect();
        let (mut oracle, mut through) = world.pair(&login);
        for sql in statements.iter().map(String::as_str).chain(looks) {
            let (theirs, ours) = (oracle.simple(sql), through.simple(sql));
            assert_eq!(ours.text(), theirs.text(), "{sql} of {statements:#?}");
        }
        drop(through);
        let (mut oracle, mut through) = world.pair(&login);
        for sql in looks {
            let (theirs, ours) = (oracle.simple(sql), through.simple(sql));
            assert_eq!(ours.text(), theirs.text(), "{sql} after {statements:#?}");
        }
    }
}

/// Connections whose user somebody made another one stay in the pool: who asks for that user next is asked for the right to, and gets
/// the role that has the name now.
#[test]
fn the_right_to_be_a_role_is_asked_each_time() {
    let world = World::create("taken", &["boss", "other", "login"], "SELECT 1", "SELECT 1");
    let [boss, other, login] = ["boss", "other", "login"].map(|name| world.role(name));
    let everywhere = |sql: &str| {
        for mut raw in (0..SHARDS).map(|i| world.db.shard(i)).chain([world.db.oracle()]) {
            raw.must(sql);
        }
    };
    let look = "SELECT current_user, count(*) FROM log";
    let same = |statements: &[&str], wanted: &str| {
        let (mut oracle, mut through) = world.pair(&login);
        for sql in statements {
            let (theirs, ours) = (oracle.simple(sql), through.simple(sql));
            assert_eq!(ours.text(), theirs.text(), "{sql}");
        }
        assert!(oracle.simple(look).text().contains(wanted), "{wanted}");
    };
    let take = format!("SET ROLE {boss}");
    everywhere(&format!("GRANT SELECT ON log TO {boss}; GRANT {boss}, {other} TO {login}"));
    for _ in 0..3 {
        same(&[&take, look, look], &boss);
    }
    everywhere(&format!("REVOKE {boss} FROM {login}"));
    same(&[&take, look], "");
    everywhere(&format!("GRANT {boss} TO {login}"));
    same(&[&take, look, look, "RESET ROLE", look], "");
    same(&[&take, look, look], &boss);
    // The name goes to a role that may not read.
    everywhere(&format!(
        "ALTER ROLE {boss} RENAME TO {boss}_old; ALTER ROLE {other} RENAME TO {boss}; REVOKE SELECT ON log FROM PUBLIC, {boss}"
    ));
    same(&[&take, "SELECT current_user", look, look], "");
    everywhere(&format!("ALTER ROLE {boss} RENAME TO {other}; ALTER ROLE {boss}_old RENAME TO {boss}"));
    same(&[&take, look, look], &boss);
}

#[test]
fn literals_are_read_once_when_they_are_parsed() {
    let world = World::create("once", &["app"], "SELECT 1", "SELECT 1");
    let app = world.role("app");
    let reads = [
        "SELECT count(*) FROM log WHERE day > '03/02/2024'",
        "SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY id) FROM log WHERE at > '2024-02-03 00:00'",
        "SELECT id FROM log WHERE day = '07/02/2024' ORDER BY id",
        "SELECT count(*) FROM log WHERE id = 9 AND day > '03/02/2024'",
        "SELECT n FROM moments WHERE at = '2024-02-01 09:00'",
        "SELECT n FROM days WHERE day = '03/02/2024'",
        "SELECT date '03/02/2024', count(*) FROM log",
        "UPDATE log SET gap = '1 day' WHERE day = '07/02/2024'",
        "UPDATE log SET day = '07/02/2024' WHERE id > 22",
        "INSERT INTO log (id, day) SELECT id + 1000, '05/06/2024' FROM log WHERE id = 3",
        "DELETE FROM log WHERE id > 100",
        "SELECT count(*) FROM log WHERE nullif(id, id) = NULL",
    ];
    // None of these depends on what is set.
    let others = [
        "SELECT count(*) FROM log WHERE id > 5",
        "SELECT count(*), max(word) FROM words WHERE word > 'kx' OR word LIKE 'k%' OR 1.5 > n",
        "SELECT string_agg(word, ',' ORDER BY word) FROM words WHERE n < 4",
    ];
    let styles =
        ["SET DateStyle = 'ISO, DMY'; SET TimeZone = 'Asia/Tokyo'", "SET DateStyle = 'ISO, MDY'; SET TimeZone = 'UTC'"];
    let roles = [&*format!("SET ROLE {app}"), "RESET ROLE"];
    let run = |name: &str| [m::bind("", name, &[], &[]), m::execute("", 0), m::sync()].concat();
    let nulls = ["SET transform_null_equals = on", "SET transform_null_equals = off"];
    for [first, second] in [styles, roles, [styles[1], styles[0]], nulls, [nulls[1], nulls[0]]] {
        for (sql, may_refuse) in reads.iter().map(|sql| (sql, true)).chain(others.iter().map(|sql| (sql, false))) {
            let may_refuse = may_refuse && first != roles[0];
            let (mut oracle, mut through) = world.pair("postgres");
            let mut both = |ask: &dyn Fn(&mut Raw) -> (String, String)| {
                let (theirs, ours) = (ask(&mut oracle), ask(&mut through));
                if !may_refuse || ours.1 != "0A000" {
                    assert_eq!(ours, theirs, "{sql} parsed after {first}");
                }
                ours.1 == "0A000" && theirs.1 != "0A000"
            };
            let told = |reply: support::raw::Reply| (reply.text(), reply.code().to_owned());
            both(&|raw| told(raw.simple("BEGIN")));
            both(&|raw| told(raw.simple(first)));
            both(&|raw| told(raw.exchange(&[m::parse("s", sql, &[]), m::sync()].concat(), None)));
            both(&|raw| told(raw.exchange(&run("s"), None)));
            both(&|raw| told(raw.simple(second)));
            if !both(&|raw| told(raw.exchange(&run("s"), None))) {
                both(&|raw| told(raw.exchange(&run("s"), None)));
            }
            both(&|raw| told(raw.simple("ROLLBACK")));
        }
    }
    // A value is read when it is bound.
    for sql in [
        "SELECT count(*) FROM log WHERE day > $1",
        "SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY id) FROM log WHERE day > $1",
    ] {
        let (mut oracle, mut through) = world.pair("postgres");
        let value = [Value::text("03/02/2024")];
        let bound = [m::parse("", sql, &[]), m::bind("p", "", &value, &[]), m::sync()].concat();
        let ask = |raw: &mut Raw| {
            raw.must("BEGIN; SET DateStyle = 'ISO, DMY'");
            assert_eq!(raw.exchange(&bound, None).code(), "");
            raw.must("SET DateStyle = 'ISO, MDY'");
            let reply = raw.exchange(&[m::execute("p", 0), m::sync()].concat(), None);
            (reply.code().to_owned(), reply.text())
        };
        let (theirs, ours) = (ask(&mut oracle), ask(&mut through));
        assert!(ours.0 == "0A000" || ours == theirs, "{sql}: {ours:?} for {theirs:?}");
    }
}

/// What a session leaves on a connection that the next one gets, and what is told to it again: there is one connection to each shard.
#[test]
fn sessions_that_share_a_connection_leave_each_other_alone() {
    let world = Sharded::create("neighbours", "default_pool_size = 1\nquery_wait_timeout = \"2s\"\n");
    let home = || world.db.shard(0);
    world.connect().must("CREATE SCHEMA other; CREATE FUNCTION wide() RETURNS text LANGUAGE sql AS 'SELECT set_config(''work_mem'', ''9MB'', false)'");
    world
        .connect()
        .must("CREATE FUNCTION locks() RETURNS void LANGUAGE plpgsql AS 'BEGIN PERFORM pg_advisory_lock(97); END'");
    world.connect().must("CREATE TABLE defaults (a int, b text DEFAULT pg_try_advisory_lock(96)::text)");
    let id = world.ids[1][0];
    let locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1 AND classid = 0";
    for statement in [
        "SELECT * FROM set_config('work_mem', '9MB', false)".to_owned(),
        "SELECT * FROM ROWS FROM (set_config('work_mem', '9MB', false))".to_owned(),
        "SELECT 1 FROM (VALUES (1)) v, LATERAL pg_catalog.set_config('search_path', 'other', false)".to_owned(),
        format!("SELECT i.n FROM items i, set_config('work_mem', '9MB', false) WHERE i.id = {id}"),
        "SELECT * FROM wide()".to_owned(),
        "CREATE TABLE made AS SELECT pg_advisory_lock(99)::text".to_owned(),
        "INSERT INTO defaults (a) VALUES (2)".to_owned(),
        "SELECT locks()".to_owned(),
        "SELECT 1 FROM locks()".to_owned(),
        "DO $$ BEGIN PERFORM pg_advisory_lock(95); END $$".to_owned(),
        "SELECT pg_advisory_lock(94)::text INTO made_too".to_owned(),
        "CREATE MATERIALIZED VIEW seen AS SELECT pg_advisory_lock(93)::text".to_owned(),
        "ALTER TABLE defaults ADD COLUMN c text DEFAULT pg_advisory_lock(92)::text".to_owned(),
        "PREPARE p AS SELECT $1::text; EXECUTE p(set_config('work_mem', '9MB', false))".to_owned(),
        "PREPARE p AS SELECT $1::text; EXECUTE p(pg_try_advisory_lock(91)::text)".to_owned(),
    ] {
        for extended in [false, true] {
            let mut first = world.connect();
            let reply = if extended { first.extended(&statement, &[], &[], 0) } else { first.simple(&statement) };
            // A join with it over shards may be refused, and the table is made once.
            assert!(["", "0A000", "42P07", "42701", "42601"].contains(&reply.code()), "{statement}: {reply:?}");
            drop(first);
            let mut next = world.connect();
            assert_eq!(next.value("SHOW work_mem"), "4MB", "{statement}");
            assert_ne!(next.value("SHOW search_path"), "other", "{statement}");
            eventually(10, &statement, || home().value(locks) == "0");
        }
    }
    // How strings are read is the matter of one session, values that others have set of theirs.
    let (mut old, mut plain) = (world.connect(), world.connect());
    old.must("SET standard_conforming_strings = off");
    plain.must(r"SET app.path = 'C:\new\table'");
    plain.must(r"SET app.dir = 'C:\dir\'");
    plain.must(r"SET search_path = 'we\nird', public");
    plain.must("SET app.last = '; SET work_mem TO 777777; --'");
    for _ in 0..3 {
        old.must("SELECT 1");
        assert_eq!(plain.value("SELECT current_setting('app.path')"), r"C:\new\table");
        assert_eq!(plain.value("SELECT current_setting('app.dir')"), r"C:\dir\");
        assert_eq!(plain.value("SHOW search_path"), r#""we\nird", public"#);
        assert_eq!(plain.value("SHOW work_mem"), "4MB");
        old.must(&format!("SELECT n FROM items WHERE id = {id}"));
        assert_eq!(
            plain.value(&format!("SELECT current_setting('app.path') FROM items WHERE id = {id}")),
            r"C:\new\table"
        );
    }
    // In one session, too.
    plain.must("SET standard_conforming_strings = off");
    assert_eq!(plain.value("SELECT current_setting('app.path')"), r"C:\new\table");
    plain.must("BEGIN; SET LOCAL standard_conforming_strings = on");
    plain.must(r"SET LOCAL app.path = 'D:\new'");
    for ids in &world.ids {
        assert_eq!(
            plain.value(&format!("SELECT current_setting('app.path') FROM items WHERE id = {}", ids[0])),
            r"D:\new"
        );
    }
    plain.must("COMMIT");
}

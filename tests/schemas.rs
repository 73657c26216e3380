//! Tenants with schemas of their own (method `schema`): the same statements on one Postgres with all schemas and through pgloom over four
//! shards, cell by cell. `schemas/*.sql` are the statements, written as those of the oracle (see `oracle/corpus.rs`); those of
//! `refused.sql` must be refused.

#![allow(clippy::unwrap_used)]

#[path = "oracle/ask.rs"]
#[allow(dead_code)]
mod ask;
#[path = "oracle/compare.rs"]
mod compare;
#[path = "oracle/corpus.rs"]
#[allow(dead_code)]
mod corpus;
mod support;

use std::fmt::Write;
use std::path::Path;

use corpus::{Case, Form, Order};
use support::raw::{Message, Raw, Reply, Value, message};
use support::{Database, Router, SHARDS, eventually};

/// The schemas that the configuration pins, and their shards.
const PINNED: [(&str, usize); 4] = [("tenant_0", 0), ("tenant_1", 1), ("tenant_2", 2), ("tenant_3", 3)];
/// Schemas that exist from the beginning; those that are not pinned lie by hash.
const TENANTS: [&str; 6] = ["tenant_0", "tenant_1", "tenant_2", "tenant_3", "tenant_10", "Tenant Odd"];

/// What every shard has, and the oracle.
const PUBLIC: &str = "CREATE TABLE plans (code text PRIMARY KEY, price numeric(8,2)); \
     CREATE TABLE events (tenant_id int, n int, what text, PRIMARY KEY (tenant_id, n)); \
     CREATE FUNCTION twice(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 * 2'; \
     CREATE ROLE tenant_1 LOGIN";
/// What the home shard alone has.
const HOME: &str = "CREATE TABLE audit (id int PRIMARY KEY, what text); CREATE TABLE orders (id int, public_only text); \
     CREATE SEQUENCE public_numbers START 1000; \
     INSERT INTO audit SELECT g, 'entry ' || g FROM generate_series(1, 9) g; INSERT INTO orders VALUES (-1, 'public')";

/// What a tenant has; `~` is its schema.
const TENANT: &str = "CREATE SCHEMA ~; \
     CREATE TYPE ~.mood AS ENUM ('sad', 'ok', 'happy'); \
     CREATE TABLE ~.accounts (id int PRIMARY KEY, owner text NOT NULL, balance numeric(10,2) DEFAULT 0, mood ~.mood); \
     CREATE TABLE ~.orders (id serial PRIMARY KEY, account int REFERENCES ~.accounts, plan text REFERENCES plans, \
       placed timestamptz DEFAULT '2024-01-01 12:00+00', note varchar(20) COLLATE \"C\"); \
     CREATE INDEX orders_note ON ~.orders (note); \
     CREATE VIEW ~.totals AS SELECT a.owner, count(o.id) AS orders FROM ~.accounts a LEFT JOIN ~.orders o ON o.account = a.id GROUP BY a.owner; \
     CREATE FUNCTION ~.richest() RETURNS text LANGUAGE sql STABLE AS $$ SELECT owner FROM ~.accounts ORDER BY balance DESC, owner LIMIT 1 $$";
/// Its rows; `#` is its number.
const ROWS: &str = "INSERT INTO ~.accounts SELECT g, 'owner ' || g || ' of #', g * # + 0.5, 'ok' FROM generate_series(1, 5) g; \
     INSERT INTO ~.orders (account, plan, note) SELECT 1 + g % 5, 'plan ' || g % 3, 'note ' || g || ' of #' FROM generate_series(1, 12) g";

fn config(db: &Database) -> String {
    let mut out = String::from(
        "[general]\nport = {port}\nmetrics_listen = \"127.0.0.1:{http_port}\"\nauth_type = \"trust\"\ndefault_pool_size = 6\n\
         [[users]]\nname = \"postgres\"\n[[users]]\nname = \"tenant_1\"\nserver_user = \"postgres\"\n",
    );
    let name = &db.name;
    let _ =
        writeln!(out, "[databases.{name}]\nsafe_functions = ['twice', '\"tenant_*\".richest', '\"Tenant*\".richest']");
    for (index, port) in db.ports().iter().enumerate() {
        let _ = writeln!(out, "[[databases.{name}.shards]]\nname = \"s{index}\"\nhost = \"127.0.0.1\"\nport = {port}");
    }
    let pins: Vec<String> =
        PINNED.iter().map(|(schema, shard)| format!("{{ value = \"{schema}\", shard = \"s{shard}\" }}")).collect();
    let _ = writeln!(
        out,
        "[[databases.{name}.distributions]]\nname = \"tenants\"\nmethod = \"schema\"\nschemas = [\"tenant_*\", \"Tenant*\"]\n\
         except = \"tenant_template\"\npins = [{}]\n\
         [[databases.{name}.distributions]]\nname = \"tenant\"\nkey_types = [\"int4\"]\n\
         [[databases.{name}.tables]]\nname = \"events\"\ndistribution = \"tenant\"\ncolumns = [\"tenant_id\"]\n\
         [[databases.{name}.tables]]\nname = \"plans\"\nreference = true",
        pins.join(", ")
    );
    out
}

struct World {
    router: Option<Router>,
    db: Database,
}

impl World {
    /// Public tables on the servers, everything else through the router.
    fn create(label: &str) -> Self {
        let db = Database::create(label);
        // Roles are of the whole server, which other tests use too.
        let public = PUBLIC.replace("; CREATE ROLE tenant_1 LOGIN", "");
        db.everywhere(&public);
        db.oracle().must(HOME);
        db.shard(0).must(HOME);
        let router = Router::start(&config(&db));
        let world = Self { router: Some(router), db };
        let (mut oracle, mut through) = (world.oracle(), world.through());
        let plans = "INSERT INTO plans SELECT 'plan ' || g, g * 10 FROM generate_series(0, 2) g";
        let events = (0..40).map(|g| format!("({}, {g}, 'event {g}')", g % 8)).collect::<Vec<_>>().join(", ");
        for sql in [plans.to_owned(), format!("INSERT INTO events VALUES {events}")] {
            oracle.must(&sql);
            through.must(&sql);
        }
        for (number, tenant) in TENANTS.iter().enumerate() {
            let quoted = format!("\"{tenant}\"");
            for sql in TENANT.split("; ").chain(ROWS.split("; ")) {
                let sql = sql.replace('~', &quoted).replace('#', &number.to_string());
                oracle.must(&sql);
                through.must(&sql);
            }
        }
        world
    }

    fn oracle(&self) -> Raw {
        self.db.oracle()
    }

    fn through(&self) -> Raw {
        self.router.as_ref().unwrap().connect(&self.db.name)
    }

    /// The shards on which a schema is.
    fn shards_of(&self, schema: &str) -> Vec<usize> {
        let sql = format!("SELECT count(*) FROM pg_namespace WHERE nspname = '{schema}'");
        (0..SHARDS).filter(|shard| self.db.shard(*shard).value(&sql) == "1").collect()
    }

    /// The schemas of tenants that a server has.
    fn tenants(raw: &mut Raw) -> Vec<String> {
        raw.values("SELECT nspname FROM pg_namespace WHERE nspname ~* '^tenant' ORDER BY nspname COLLATE \"C\"")
    }

    /// Tables of tenants with all their rows, as text.
    fn contents(raw: &mut Raw) -> Vec<String> {
        let tables = raw.values(
            "SELECT format('%I.%I', nspname, relname) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace \
             WHERE relkind IN ('r', 'm') AND nspname ~* '^tenant' ORDER BY 1",
        );
        let mut rows = Vec::new();
        for table in tables {
            rows.push(table.clone());
            rows.extend(raw.values(&format!("SELECT '{table} ' || t::text FROM {table} t")));
        }
        rows.sort();
        rows
    }

    /// Checks that the shards together have what the oracle has, each schema on its own shard.
    fn check(&self) {
        let wanted = Self::contents(&mut self.oracle());
        let mut found: Vec<String> = (0..SHARDS).flat_map(|shard| Self::contents(&mut self.db.shard(shard))).collect();
        found.sort();
        let missing: Vec<_> = wanted.iter().filter(|row| !found.contains(row)).take(5).collect();
        let extra: Vec<_> = found.iter().filter(|row| !wanted.contains(row)).take(5).collect();
        assert!(found == wanted, "missing {missing:?}, too much {extra:?}");
        for schema in Self::tenants(&mut self.oracle()) {
            let shards = self.shards_of(&schema);
            assert_eq!(shards.len(), 1, "schema {schema} is on shards {shards:?}");
            if let Some((_, shard)) = PINNED.iter().find(|(pinned, _)| *pinned == schema) {
                assert_eq!(shards, [*shard], "schema {schema}");
            }
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.router = None;
    }
}

/// The difference between the two sides, at the first step that has one.
fn differs(oracle: &mut Raw, router: &mut Raw, case: &Case, form: Form) -> Option<String> {
    let values = ask::values(oracle, case, form);
    for (index, step) in case.statements.iter().enumerate() {
        let ours = ask::ask(router, case, index, form, &values);
        let theirs = ask::ask(oracle, case, index, form, &values);
        let order = if corpus::has_outer_order(step) { Order::Exact } else { Order::Any };
        if let Some(difference) = compare::difference(&theirs, &ours, &order, None) {
            let said = ours.error.map(|error| format!(" ({error})")).unwrap_or_default();
            return Some(format!("{} in form {}: {step}\n    {difference}{said}", case.place, form.name()));
        }
        if index == 0 && !case.script && !case.errors.contains(&theirs.code().to_owned()) && !theirs.code().is_empty() {
            return Some(format!("{}: the oracle says {}", case.place, theirs.text()));
        }
    }
    None
}

fn cases(world: &World) -> (usize, Vec<String>) {
    let (mut count, mut wrong) = (0, Vec::new());
    for (category, cases) in corpus::read_all(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/schemas")) {
        let (mut oracle, mut router) = (world.oracle(), world.through());
        for case in &cases {
            for form in case.forms.clone() {
                count += 1;
                if category == "refused" {
                    let values = ask::values(&mut oracle, case, form);
                    let reply = ask::ask(&mut router, case, 0, form, &values);
                    if reply.code() != "0A000" {
                        wrong.push(format!("{} in form {} is not refused: {}", case.place, form.name(), reply.text()));
                    }
                    continue;
                }
                wrong.extend(differs(&mut oracle, &mut router, case, form));
                if case.script {
                    (oracle, router) = (world.oracle(), world.through());
                }
            }
        }
    }
    (count, wrong)
}

/// What no server has all tables of is described as its tables are on the home shard; what lies elsewhere is of no table there.
#[test]
fn columns_say_what_they_are_of_on_the_home_shard() {
    let world = World::create("schemaorigins");
    let (mut raw, mut home) = (world.through(), world.db.shard(0));
    let mut origins = |sql: &str, raw: &mut Raw| -> Vec<Vec<String>> {
        raw.send(&message::query(sql)).unwrap();
        let messages = raw.read_to_ready().unwrap();
        let described: Vec<&Message> = messages.iter().filter(|message| message.tag == b'T').collect();
        let mut of = |(table, number): (u32, i16)| {
            let sql = format!(
                "SELECT attrelid::regclass || '.' || attname FROM pg_attribute WHERE attrelid = {table} AND attnum = {number}"
            );
            if table == 0 { "none".to_owned() } else { home.values(&sql).concat() }
        };
        described.iter().map(|message| message.origins().into_iter().map(&mut of).collect()).collect()
    };
    let both = "SELECT e.what, a.owner, e.n + 1 AS more, p.price, e.tenant_id FROM tenant_1.accounts a JOIN events e ON e.n = a.id \
         JOIN plans p ON p.code = 'plan ' || a.id % 3 ORDER BY e.n";
    let expected = ["events.what", "none", "none", "plans.price", "events.tenant_id"].map(str::to_owned);
    assert_eq!(origins(both, &mut raw), [expected.to_vec()]);
    raw.must("BEGIN");
    raw.must(&format!("DECLARE c CURSOR FOR {both}"));
    assert_eq!(origins("FETCH 2 FROM c", &mut raw), [expected.to_vec()]);
    raw.must("COMMIT");
    raw.must(&format!("PREPARE q AS {}", "SELECT owner FROM tenant_2.accounts"));
    assert_eq!(origins("EXECUTE q", &mut raw), [["none"]]);
    raw.must("DEALLOCATE q");
    for tenant in ["tenant_1", "tenant_2", "tenant_3"] {
        assert_eq!(origins(&format!("SELECT owner, id FROM {tenant}.accounts"), &mut raw), [["none", "none"]]);
    }
    let own = ["tenant_0.accounts.owner".to_owned()];
    assert_eq!(origins("SELECT owner FROM tenant_0.accounts", &mut raw), [own]);
    for id in 0..8 {
        let sql = format!("SELECT what, n FROM events WHERE tenant_id = {id}");
        assert_eq!(origins(&sql, &mut raw), [["events.what", "events.n"]]);
    }
    // Who works in a schema asks its own shard for the catalog.
    for shard in 1..4 {
        raw.must(&format!("SET search_path TO tenant_{shard}, public"));
        for sql in
            ["SELECT owner, id FROM accounts".to_owned(), format!("SELECT owner, id FROM tenant_{shard}.accounts")]
        {
            raw.send(&message::query(&sql)).unwrap();
            let messages = raw.read_to_ready().unwrap();
            let told = messages.iter().find(|message| message.tag == b'T').unwrap().origins();
            let known = raw.value("SELECT 'accounts'::regclass::oid");
            assert_eq!(
                told.iter().map(|(table, _)| table.to_string()).collect::<Vec<_>>(),
                [known.clone(), known],
                "{sql}"
            );
            let parse = [message::parse("", &sql, &[]), message::describe(b'S', ""), message::sync()].concat();
            raw.send(&parse).unwrap();
            let messages = raw.read_to_ready().unwrap();
            let described = messages.iter().find(|message| message.tag == b'T').unwrap().origins();
            assert_eq!(described, told, "{sql}");
        }
        raw.must("RESET search_path");
        let sql = format!("SELECT owner, id FROM tenant_{shard}.accounts");
        let parse = [message::parse("", &sql, &[]), message::describe(b'S', ""), message::sync()].concat();
        raw.send(&parse).unwrap();
        let messages = raw.read_to_ready().unwrap();
        let described = messages.iter().find(|message| message.tag == b'T').unwrap().origins();
        assert_eq!(described, [(0, 0), (0, 0)], "{sql}");
    }
}

#[test]
fn schemas_answer_as_one_postgres() {
    let world = World::create("schemas");
    world.check();
    // Nothing would be shown if all lay on one shard.
    let mut used: Vec<usize> = TENANTS.iter().flat_map(|schema| world.shards_of(schema)).collect();
    used.sort_unstable();
    used.dedup();
    assert_eq!(used.len(), SHARDS);
    let (count, wrong) = cases(&world);
    assert!(count >= 150, "only {count} statements");
    assert!(wrong.is_empty(), "{} of {count} differ:\n  {}", wrong.len(), wrong.join("\n  "));
    world.check();
}

/// Two connections that are asked the same.
struct Pair {
    oracle: Raw,
    router: Raw,
}

impl Pair {
    fn new(world: &World) -> Self {
        Self { oracle: world.oracle(), router: world.through() }
    }

    /// Both sides get these messages, and must answer the same.
    #[track_caller]
    fn send(&mut self, messages: &[Vec<u8>]) -> Reply {
        let bytes = messages.concat();
        let (theirs, ours) = (self.oracle.exchange(&bytes, None), self.router.exchange(&bytes, None));
        let difference = compare::difference(&theirs, &ours, &Order::Exact, None);
        assert_eq!(difference, None, "oracle: {}\nrouter: {}", theirs.text(), ours.text());
        ours
    }

    #[track_caller]
    fn simple(&mut self, sql: &str) -> Reply {
        self.send(&[message::query(sql)])
    }

    #[track_caller]
    fn prepare(&mut self, name: &str, sql: &str) {
        self.send(&[message::parse(name, sql, &[]), message::sync()]);
    }

    /// Bind and Execute; the answer as text.
    #[track_caller]
    fn execute(&mut self, name: &str, values: &[Value], format: i16) -> String {
        let messages = [
            message::bind("", name, values, &[format]),
            message::describe(b'P', ""),
            message::execute("", 0),
            message::sync(),
        ];
        self.send(&messages).text()
    }
}

/// As in Postgres, a prepared statement means what its names mean when it runs, if it still has the same columns.
#[test]
fn prepared_statements_follow_the_search_path() {
    let world = World::create("prepared");
    let mut pair = Pair::new(&world);
    pair.simple("SET search_path TO tenant_1, public");
    pair.prepare("owner", "SELECT owner, balance FROM accounts WHERE id = $1");
    pair.prepare("insert", "INSERT INTO accounts (id, owner) VALUES ($1, $2)");
    pair.prepare("plans", "SELECT count(*) FROM plans");
    pair.prepare("events", "SELECT what FROM events WHERE tenant_id = $1 ORDER BY n");
    let two = [Value::binary(2i32.to_be_bytes())];
    for schema in ["tenant_1", "tenant_2", "tenant_3", "tenant_1", "\"Tenant Odd\"", "tenant_0"] {
        pair.simple(&format!("SET search_path TO {schema}, public"));
        for format in [0, 1] {
            let row = pair.execute("owner", &two, format);
            assert!(row.starts_with("owner 2 of"), "{schema}: {row}");
        }
        pair.execute("insert", &[Value::text("900"), Value::text(schema)], 0);
        pair.execute("plans", &[], 0);
        pair.execute("events", &two, 0);
        pair.send(&[message::describe(b'S', "owner"), message::sync()]);
    }
    assert_eq!(pair.simple("SELECT owner FROM tenant_3.accounts WHERE id = 900").text(), "tenant_3");
    // Within a transaction, and back at its end.
    for (sql, owner) in [("BEGIN", ""), ("SET LOCAL search_path TO tenant_2", "2"), ("COMMIT", "0")] {
        pair.simple(sql);
        let row = pair.execute("owner", &two, 0);
        assert!(owner.is_empty() || row.starts_with(&format!("owner 2 of {owner}")), "{sql}: {row}");
    }
    // Other columns, no such table, and back again.
    pair.simple("ALTER TABLE tenant_10.accounts ALTER COLUMN balance TYPE float8");
    for (schema, code) in [("tenant_10", "0A000"), ("public", "42P01"), ("tenant_2", "")] {
        pair.simple(&format!("SET search_path TO {schema}"));
        let bind = [message::bind("", "owner", &two, &[]), message::execute("", 0), message::sync()];
        assert_eq!(pair.send(&bind).code(), code, "{schema}");
        assert_eq!(pair.send(&[message::describe(b'S', "owner"), message::sync()]).code(), code, "{schema}");
    }
    // PREPARE in SQL does the same.
    let mut pair = Pair::new(&world);
    pair.simple("SET search_path TO tenant_1");
    pair.simple("PREPARE p (int) AS SELECT owner FROM accounts WHERE id = $1 + 1");
    pair.simple("PREPARE q AS INSERT INTO orders (account, note) VALUES ($1, $2) RETURNING note");
    for schema in ["tenant_1", "tenant_3", "tenant_2"] {
        pair.simple(&format!("SET search_path TO {schema}"));
        pair.simple("EXECUTE p (1)");
        pair.simple("EXECUTE q (3, 'by EXECUTE')");
    }
    pair.simple("DEALLOCATE p");
    pair.simple("EXECUTE p (1)");
    drop(pair);
    world.check();
}

/// A name that is taken is told last: of what is wrong with the statement the shard that has its tables says it before.
#[test]
fn a_name_that_is_taken_is_told_last() {
    let world = World::create("taken");
    for path in ["tenant_1, public", "public"] {
        let mut pair = Pair::new(&world);
        pair.simple(&format!("SET search_path TO {path}"));
        pair.prepare("taken", "SELECT 1");
        for (sql, code) in [
            ("SELECT owner FROM tenant_1.accounts", "42P05"),
            ("SELECT nothing FROM tenant_1.accounts", "42703"),
            ("SELECT nothing FROM tenant_2.accounts WHERE id = $1", "42703"),
            ("SELECT * FROM tenant_1.nowhere", "42P01"),
            ("SELECT nothing FROM audit", "42703"),
            ("SELECT what FROM audit", "42P05"),
            ("SELEC 1", "42601"),
        ] {
            for block in ["", "BEGIN"] {
                pair.simple(block);
                let parse = [message::parse("taken", sql, &[]), message::sync()];
                assert_eq!(pair.send(&parse).code(), code, "{sql} behind {block:?} with {path}");
                pair.simple("ROLLBACK");
            }
        }
    }
}

/// Clients with other search paths share connections and plans, and never each other's meaning.
#[test]
fn clients_with_other_paths_do_not_share_a_plan() {
    let world = World::create("shared");
    let setup = "CREATE TABLE ~.x (k int, v @); INSERT INTO ~.x SELECT g, (g || '0')::@ FROM generate_series(1, 3) g";
    // Two of them on one shard, with columns of other types.
    let types = [
        ("tenant_1", "int"),
        ("tenant_12", "text"),
        ("tenant_13", "numeric"),
        ("tenant_2", "bigint"),
        ("tenant_14", "int"),
    ];
    for (schema, of_type) in types {
        let create = if TENANTS.contains(&schema) { String::new() } else { format!("CREATE SCHEMA {schema}; ") };
        for sql in format!("{create}{setup}").replace('~', schema).replace('@', of_type).split("; ") {
            world.oracle().must(sql);
            world.through().must(sql);
        }
    }
    let mut pairs: Vec<Pair> = types.iter().map(|_| Pair::new(&world)).collect();
    for (pair, (schema, _)) in pairs.iter_mut().zip(types) {
        pair.simple(&format!("SET search_path TO {schema}"));
        pair.prepare("s", "SELECT v FROM x WHERE k = $1");
    }
    for round in 0..3 {
        for (pair, (schema, _)) in pairs.iter_mut().zip(types) {
            let key = round + 1;
            let expected = format!("{key}0");
            assert_eq!(pair.simple(&format!("SELECT v FROM x WHERE k = {key}")).text(), expected, "{schema}");
            assert_eq!(pair.execute("s", &[Value::text(&key.to_string())], 0), expected, "{schema}");
            let unnamed = [
                message::parse("", "SELECT v, k FROM x WHERE k = $1 AND v IS NOT NULL", &[]),
                message::bind("", "", &[Value::text(&key.to_string())], &[1]),
                message::describe(b'P', ""),
                message::execute("", 0),
                message::sync(),
            ];
            pair.send(&unnamed);
            pair.simple("INSERT INTO x (v) VALUES ('7')");
            pair.simple("UPDATE x SET k = 0 WHERE v = '7'");
        }
    }
    drop(pairs);
    world.check();
}

/// Startup options, and the user's own name in the path.
#[test]
fn the_path_can_come_with_the_connection() {
    let world = World::create("startup");
    let port = world.router.as_ref().unwrap().port;
    let connect = |parameters: &[(&str, &str)]| {
        let all = [&[("database", world.db.name.as_str())], parameters].concat();
        Raw::connect_with(port, &all, None).unwrap()
    };
    let owner = "SELECT owner FROM accounts WHERE id = 1";
    let mut raw = connect(&[("user", "postgres"), ("options", "-c search_path=tenant_3,public")]);
    assert_eq!(raw.value(owner), "owner 1 of 3");
    raw.must("SET search_path TO tenant_2");
    assert_eq!(raw.value(owner), "owner 1 of 2");
    raw.must("RESET search_path");
    assert_eq!(raw.value(owner), "owner 1 of 3");
    let mut raw = connect(&[("user", "postgres"), ("search_path", "\"Tenant Odd\"")]);
    assert_eq!(raw.value(owner), "owner 1 of 5");
    // The client is tenant_1 and logged in at the servers as postgres: that is `$user`.
    let mut raw = connect(&[("user", "tenant_1")]);
    assert_eq!(raw.simple(owner).code(), "42P01");
}

/// What one router has made is there for another, whose catalog is older.
#[test]
fn a_schema_that_another_router_has_made_is_found() {
    let world = World::create("routers");
    let second = Router::start(&config(&world.db));
    let mut other = second.connect(&world.db.name);
    world.through().must("CREATE SCHEMA tenant_30");
    world.through().must("CREATE TABLE tenant_30.orders (note text)");
    world.through().must("INSERT INTO tenant_30.orders VALUES ('new')");
    other.must("SET search_path TO tenant_30, public");
    // It may have heard of the schema alone a moment ago, and takes the name for that of another table then.
    eventually(10, "the table is heard of", || other.simple("SELECT note FROM orders").error.is_none());
    assert_eq!(other.value("SELECT note FROM orders"), "new");
    assert_eq!(other.value("SELECT current_schema()"), "tenant_30");
    let mut third = second.connect(&world.db.name);
    third.must("BEGIN; SET LOCAL search_path TO tenant_30, public; INSERT INTO orders VALUES ('more'); COMMIT");
    assert_eq!(third.value("SELECT count(*) FROM tenant_30.orders"), "2");
    drop(second);
}

/// SHOW, EXPLAIN (ROUTE), and what `pgloom check` says of a schema that lies where it should not.
/// A connection that is kept on another shard still has the settings from before.
#[test]
fn clients_are_told_the_settings_of_now() {
    let world = World::create("told");
    for mut raw in [world.oracle(), world.through()] {
        raw.must("SET search_path TO tenant_1, public");
        raw.must("CREATE TEMP TABLE mine AS SELECT 1 AS a");
        let told = |raw: &Raw, name: &str| raw.parameters.get(name).cloned().unwrap_or_default();
        assert_eq!(raw.extended("SET TimeZone TO 'Asia/Tokyo'", &[], &[], 0).code(), "");
        assert_eq!(told(&raw, "TimeZone"), "Asia/Tokyo");
        raw.must("SET standard_conforming_strings TO off; SELECT count(*) FROM events; SET xmloption TO document");
        assert_eq!(told(&raw, "standard_conforming_strings"), "off");
        for sql in ["BEGIN", "SET IntervalStyle TO iso_8601", "SELECT count(*) FROM events", "ROLLBACK"] {
            raw.must(sql);
        }
        assert_eq!(told(&raw, "IntervalStyle"), "postgres");
        assert_eq!(raw.value("SELECT a FROM mine"), "1");
        assert_eq!(told(&raw, "TimeZone"), "Asia/Tokyo");
    }
}

#[test]
fn the_places_of_schemas_are_shown() {
    let world = World::create("shown");
    let mut through = world.through();
    let shown = through.must("SHOW pgloom.schemas").text();
    assert!(shown.contains("tenant_2|tenants|s2|true|2"), "{shown}");
    assert_eq!(shown.lines().count(), TENANTS.len(), "{shown}");
    let tables = through.must("SHOW pgloom.tables").text();
    assert!(tables.contains("tenant_3.orders|schema|tenants|NULL"), "{tables}");
    let route = |raw: &mut Raw, sql: &str| raw.must(&format!("EXPLAIN (ROUTE) {sql}")).text();
    assert_eq!(route(&mut through, "SELECT * FROM tenant_2.orders"), "Single s2: schema tenant_2");
    through.must("SET search_path TO tenant_3");
    assert_eq!(route(&mut through, "SELECT * FROM orders"), "Single s3: schema tenant_3");
    through.must("BEGIN; UPDATE orders SET note = 'x'; UPDATE tenant_1.orders SET note = 'y'");
    let end = route(&mut through, "COMMIT");
    assert!(end.contains("TwoPhase"), "{end}");
    through.must("ROLLBACK");
    let explained =
        through.must("EXPLAIN SELECT a.id FROM tenant_1.accounts a JOIN tenant_2.accounts b USING (id)").text();
    assert!(explained.contains("Pull tenant_1.accounts") && explained.contains("Seq Scan"), "{explained}");
    let check = || {
        let run = std::process::Command::new(env!("CARGO_BIN_EXE_pgloom"))
            .args(["check", "--config"])
            .arg(&world.router.as_ref().unwrap().config)
            .output()
            .unwrap();
        (run.status.success(), String::from_utf8(run.stdout).unwrap())
    };
    let (well, said) = check();
    assert!(well, "{said}");
    world.db.shard(1).must("CREATE SCHEMA tenant_2");
    let (well, said) = check();
    assert!(!well && said.contains("schema tenant_2 is here and belongs on s2"), "{said}");
    // What lies there does not count.
    world.db.shard(1).must("CREATE TABLE tenant_2.accounts (id int)");
    world.through().must("CREATE TABLE tenant_1.reread (id int)");
    assert_eq!(world.through().value("SELECT count(*) FROM tenant_2.accounts"), "5");
    world.db.shard(1).must("DROP SCHEMA tenant_2 CASCADE");
    let explain = std::process::Command::new(env!("CARGO_BIN_EXE_pgloom"))
        .args(["explain", "--search-path", "tenant_1, public", "--config"])
        .arg(&world.router.as_ref().unwrap().config)
        .arg("SELECT * FROM orders")
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(explain.stdout).unwrap().trim(), "Single s1: schema tenant_1");
}

/// What a client was told of a statement holds whatever the path is, as far as Postgres itself keeps to it; else it is refused.
#[test]
fn prepared_statements_keep_what_they_have_promised() {
    let world = World::create("promised");
    let mut pair = Pair::new(&world);
    let bind = |name: &str, values: &[Value]| {
        [message::bind("", name, values, &[]), message::execute("", 0), message::sync()].concat()
    };
    // A type of each schema, under one name: another column.
    pair.simple("SET search_path TO tenant_1");
    pair.prepare("moods", "SELECT id, mood FROM accounts ORDER BY id");
    for (schema, code) in [("tenant_2", "0A000"), ("tenant_1", ""), ("tenant_3", "0A000"), ("tenant_1", "")] {
        pair.simple(&format!("SET search_path TO {schema}"));
        assert_eq!(pair.send(&[bind("moods", &[])]).code(), code, "{schema}");
        assert_eq!(pair.send(&[message::describe(b'S', "moods"), message::sync()]).code(), code, "{schema}");
    }
    // Tables of several shards, of which one is found by the path.
    pair.prepare("two", "SELECT a.balance, b.owner FROM accounts a JOIN tenant_2.accounts b USING (id) WHERE id < $1");
    for schema in ["tenant_3", "tenant_2", "\"Tenant Odd\"", "tenant_0", "tenant_1"] {
        pair.simple(&format!("SET search_path TO {schema}"));
        for format in [0, 1] {
            assert_eq!(pair.execute("two", &[Value::text("3")], format).lines().count(), 2, "{schema}");
        }
        pair.send(&[message::describe(b'S', "two"), message::sync()]);
        // The names of the protocol's statements are those of SQL.
        pair.simple("EXECUTE two (1 + 2)");
    }
    assert_eq!(pair.simple("ALTER TABLE tenant_10.accounts ALTER COLUMN balance TYPE float8").code(), "");
    pair.simple("SET search_path TO tenant_10");
    assert_eq!(pair.send(&[bind("two", &[Value::text("3")])]).code(), "0A000");
    assert_eq!(pair.send(&[message::describe(b'S', "two"), message::sync()]).code(), "0A000");
    assert_eq!(pair.simple("EXECUTE two (3)").code(), "0A000");
    pair.simple("SET search_path TO tenant_3");
    assert_eq!(pair.simple("EXECUTE two (3)").code(), "");
    // In one pipeline, and in a transaction that has made a table of its own.
    let insert = "INSERT INTO orders (account, note) VALUES ($1, $2) RETURNING note";
    pair.send(&[
        message::parse("in", insert, &[]),
        message::bind("", "in", &[Value::text("1"), Value::text("piped")], &[]),
        message::execute("", 0),
        message::bind("", "two", &[Value::text("2")], &[]),
        message::describe(b'P', ""),
        message::execute("", 1),
        message::sync(),
    ]);
    pair.simple("BEGIN; CREATE TABLE tenant_2.fresh (id int); SET LOCAL search_path TO tenant_2");
    pair.execute("in", &[Value::text("2"), Value::text("in a block")], 0);
    pair.simple("ROLLBACK");
    drop(pair);
    world.check();
}

/// What a statement was, nobody knows after the path has changed, where nobody has asked before.
#[test]
fn statements_without_a_promise_are_refused_under_another_path() {
    let world = World::create("unpromised");
    let mut raw = world.through();
    let send = |raw: &mut Raw, messages: &[Vec<u8>]| raw.exchange(&messages.concat(), None);
    let set = |schema: &str| {
        let sql = format!("SET search_path TO {schema}");
        [message::parse("set", &sql, &[]), message::bind("", "set", &[], &[]), message::execute("", 0)].concat()
    };
    let run = || [message::bind("", "", &[Value::text("2")], &[]), message::execute("", 0), message::sync()].concat();
    raw.must("SET search_path TO tenant_1");
    let parse = message::parse("", "SELECT owner FROM accounts WHERE id = $1", &[]);
    assert_eq!(send(&mut raw, &[parse, run()]).text(), "owner 2 of 1");
    assert_eq!(send(&mut raw, &[set("tenant_2"), message::sync()]).code(), "");
    // What it returns is known since it was parsed: it is planned anew, as in Postgres.
    assert_eq!(send(&mut raw, &[run()]).text(), "owner 2 of 2");
    assert_eq!(send(&mut raw, &[message::close(b'S', "set"), set("tenant_1"), run()]).text(), "owner 2 of 1");
    // Strings would be read in another way than when it was made.
    raw.must("SET search_path TO tenant_1");
    send(&mut raw, &[message::parse("s", "SELECT 'a\\b', owner FROM accounts WHERE id = 1", &[]), message::sync()]);
    raw.must("SET standard_conforming_strings TO off");
    let bind = [message::bind("", "s", &[], &[]), message::execute("", 0), message::sync()].concat();
    assert_eq!(send(&mut raw, std::slice::from_ref(&bind)).code(), "0A000");
    raw.must("RESET standard_conforming_strings");
    assert_eq!(send(&mut raw, &[bind]).text(), "a\\b|owner 1 of 1");
    // A parameter has the type of the schema in which the statement was made.
    raw.must("PREPARE m (mood) AS SELECT owner FROM accounts WHERE mood = $1 AND id = 1");
    assert_eq!(raw.value("EXECUTE m ('ok')"), "owner 1 of 1");
    raw.must("SET search_path TO tenant_2");
    assert_eq!(raw.simple("EXECUTE m ('ok')").code(), "0A000");
    raw.must("SET search_path TO tenant_1");
    assert_eq!(raw.value("EXECUTE m ('ok')"), "owner 1 of 1");
}

/// A table of one shard has no rows under a cursor of another.
#[test]
fn a_cursor_is_current_on_its_own_shard_alone() {
    let world = World::create("current");
    let mut raw = world.through();
    raw.must("BEGIN; DECLARE c CURSOR FOR SELECT * FROM tenant_1.accounts ORDER BY id FOR UPDATE; FETCH c");
    assert_eq!(raw.simple("UPDATE tenant_2.accounts SET owner = 'x' WHERE CURRENT OF c").code(), "0A000");
    raw.must("ROLLBACK");
    raw.must(
        "BEGIN; DECLARE c CURSOR FOR SELECT a.id FROM tenant_1.accounts a JOIN tenant_2.accounts b USING (id); FETCH c",
    );
    assert_eq!(raw.simple("DELETE FROM tenant_1.accounts WHERE CURRENT OF c").code(), "0A000");
    raw.must("ROLLBACK");
    raw.must("BEGIN; DECLARE c CURSOR FOR SELECT * FROM tenant_1.accounts ORDER BY id FOR UPDATE; FETCH c");
    raw.must("UPDATE tenant_1.accounts SET owner = 'current' WHERE CURRENT OF c; COMMIT");
    assert_eq!(raw.value("SELECT owner FROM tenant_1.accounts WHERE id = 1"), "current");
}

/// Where a table was changed on its shard behind the router's back, a statement that a Postgres finishes is planned once more.
#[test]
fn tables_that_were_changed_on_their_shard_are_read_again() {
    let world = World::create("behind");
    let sql = "SELECT a.balance, b.balance FROM tenant_1.accounts a JOIN tenant_2.accounts b USING (id) ORDER BY id";
    let mut pair = Pair::new(&world);
    pair.simple(sql);
    for change in [
        "ALTER TABLE tenant_2.accounts ALTER balance TYPE float8",
        "ALTER TABLE tenant_1.accounts ALTER balance TYPE bigint",
    ] {
        let shard = if change.contains("tenant_2") { 2 } else { 1 };
        world.oracle().must(change);
        world.db.shard(shard).must(change);
        pair.simple(sql);
        let explained = world.through().must(&format!("EXPLAIN (ANALYZE, COSTS OFF) {sql}")).text();
        assert!(explained.contains("Pull tenant_2.accounts") && explained.contains("rows=5"), "{explained}");
    }
}

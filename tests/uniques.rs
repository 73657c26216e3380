//! Values that are unique over all shards: two rows never have the same, whichever shards and routers they come by.

#![allow(clippy::unwrap_used)]

mod support;

use std::fmt::Write;
use std::process::Command;

use support::raw::{Raw, Value, message as m};
use support::{Database, Router, SHARDS, eventually};

const SCHEMA: &str = "\
    CREATE TABLE orgs (id int PRIMARY KEY, name text); \
    CREATE TABLE users (tenant int NOT NULL REFERENCES orgs ON DELETE CASCADE, id int NOT NULL, email text, nick varchar(20), n int, \
      PRIMARY KEY (tenant, id)); \
    CREATE TABLE other (tenant int PRIMARY KEY, v text); \
    CREATE TABLE plain (id int PRIMARY KEY, v text)";

fn config(db: &Database, uniques: &str) -> String {
    let name = &db.name;
    let mut out = format!(
        "[general]\nport = {{port}}\nmetrics_listen = \"127.0.0.1:{{http_port}}\"\nauth_type = \"trust\"\ndeadlock_timeout = \"300ms\"\n\
         [[users]]\nname = \"postgres\"\n[databases.{name}]\n"
    );
    for (index, port) in db.ports().iter().enumerate() {
        let _ = writeln!(out, "[[databases.{name}.shards]]\nname = \"s{index}\"\nhost = \"127.0.0.1\"\nport = {port}");
    }
    let _ = writeln!(out, "[[databases.{name}.distributions]]\nname = \"tenant\"\nkey_types = [\"int4\"]");
    for (table, column) in [("orgs", "id"), ("users", "tenant"), ("other", "tenant")] {
        let _ = writeln!(
            out,
            "[[databases.{name}.tables]]\nname = \"{table}\"\ndistribution = \"tenant\"\ncolumns = [\"{column}\"]"
        );
    }
    out + &uniques.replace("NAME", name)
}

const UNIQUES: &str = "\
    [[databases.NAME.uniques]]\ntable = \"users\"\ncolumns = [\"email\"]\nunique_scope = \"cluster\"\n\
    [[databases.NAME.uniques]]\ntable = \"public.users\"\ncolumns = [\"nick\", \"n\"]\nname = \"one_nick\"\n";

struct World {
    router: Router,
    db: Database,
    /// A tenant of each shard.
    tenants: Vec<i32>,
}

impl World {
    fn create(label: &str) -> Self {
        let world = Self::bare(label);
        let (code, said) = world.unique();
        assert_eq!(code, Some(0), "{said}");
        world
    }

    /// Before `pgloom unique`.
    fn bare(label: &str) -> Self {
        let db = Database::create(label);
        db.everywhere(SCHEMA);
        let plain = Router::start(&config(&db, ""));
        let mut raw = plain.connect(&db.name);
        let rows: Vec<String> = (1..=40).map(|id| format!("({id}, 'org')")).collect();
        raw.must(&format!("INSERT INTO orgs VALUES {}", rows.join(", ")));
        let first = |index: usize| db.shard(index).value("SELECT min(id) FROM orgs").parse().unwrap();
        let tenants = (0..SHARDS).map(first).collect();
        drop(raw);
        drop(plain);
        let router = Router::start(&config(&db, UNIQUES));
        Self { router, db, tenants }
    }

    fn connect(&self) -> Raw {
        self.router.connect(&self.db.name)
    }

    fn command(&self, command: &str) -> (Option<i32>, String) {
        let run =
            Command::new(env!("CARGO_BIN_EXE_pgloom")).arg(command).arg("--config").arg(&self.router.config).output();
        let run = run.unwrap();
        (run.status.code(), format!("{}{}", String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr)))
    }

    fn unique(&self) -> (Option<i32>, String) {
        self.command("unique")
    }

    /// INSERT of a row of `users` on this shard.
    fn row(&self, shard: usize, id: i32, email: &str) -> String {
        format!("INSERT INTO users (tenant, id, email) VALUES ({}, {id}, '{email}')", self.tenants[shard])
    }

    /// What is registered, on all shards.
    fn registered(&self) -> Vec<String> {
        let sql = "SELECT value::text FROM pgloom.unique_value WHERE scope LIKE '%email%'";
        let mut all: Vec<String> = (0..SHARDS).flat_map(|index| self.db.shard(index).values(sql)).collect();
        all.sort();
        all
    }

    fn emails(&self) -> Vec<String> {
        let sql = "SELECT ARRAY[email]::text FROM users WHERE email IS NOT NULL";
        let mut all: Vec<String> = (0..SHARDS).flat_map(|index| self.db.shard(index).values(sql)).collect();
        all.sort();
        all
    }

    /// The registry is what the rows are, and nothing is left behind.
    #[track_caller]
    fn check(&self) {
        assert_eq!(self.registered(), self.emails());
        for index in 0..SHARDS {
            assert_eq!(self.db.shard(index).value("SELECT count(*) FROM pgloom.unique_log"), "0");
            let prepared = format!("SELECT count(*) FROM pg_prepared_xacts WHERE database = '{}'", self.db.name);
            assert_eq!(self.db.shard(index).value(&prepared), "0");
        }
    }
}

#[track_caller]
fn duplicate(reply: &support::raw::Reply, name: &str, key: &str) {
    assert_eq!(reply.code(), "23505", "{}", reply.text());
    let error = reply.error.as_ref().unwrap();
    assert_eq!(error.message(), format!("duplicate key value violates unique constraint \"{name}\""));
    assert_eq!(error.0[&'D'], format!("Key {key} already exists."));
    assert_eq!("stn".chars().map(|field| &*error.0[&field]).collect::<Vec<_>>(), ["public", "users", name]);
}

#[test]
fn no_two_rows_of_any_shards_have_the_same_value() {
    let world = World::create("uniq_rows");
    let mut raw = world.connect();
    raw.must(&world.row(0, 1, "a@x"));
    for shard in 0..SHARDS {
        duplicate(&raw.simple(&world.row(shard, 2, "a@x")), "users_email_key", "(email)=(a@x)");
        assert_eq!(raw.simple("SELECT 1").status, b'I');
    }
    world.check();
    assert_eq!(world.emails(), ["{a@x}"]);
    // NULLs are not equal to each other.
    for shard in [0, 1] {
        raw.must(&format!("INSERT INTO users (tenant, id, nick) VALUES ({}, 5, 'null')", world.tenants[shard]));
    }
    // Several columns are unique together.
    let nick = |shard: usize, id: i32, n: i32| {
        format!("INSERT INTO users (tenant, id, nick, n) VALUES ({}, {id}, 'nick', {n})", world.tenants[shard])
    };
    raw.must(&nick(0, 6, 1));
    raw.must(&nick(1, 6, 2));
    duplicate(&raw.simple(&nick(2, 6, 1)), "one_nick", "(nick, n)=(nick, 1)");
    // What is given up is free.
    raw.must(&format!("UPDATE users SET email = 'b@x' WHERE tenant = {} AND id = 1", world.tenants[0]));
    raw.must(&world.row(1, 1, "a@x"));
    duplicate(
        &raw.simple(&format!("UPDATE users SET email = 'a@x' WHERE tenant = {} AND id = 1", world.tenants[0])),
        "users_email_key",
        "(email)=(a@x)",
    );
    raw.must("DELETE FROM users WHERE email = 'a@x'");
    raw.must(&format!("UPDATE users SET email = 'a@x' WHERE tenant = {} AND id = 1", world.tenants[0]));
    world.check();
    // Swapped over two shards in one statement.
    raw.must(&world.row(1, 7, "c@x"));
    raw.must("UPDATE users SET email = CASE email WHEN 'a@x' THEN 'c@x' ELSE 'a@x' END WHERE email IN ('a@x', 'c@x')");
    world.check();
    // A row that goes to another shard keeps its value.
    raw.must(&format!("UPDATE users SET tenant = {} WHERE email = 'a@x'", world.tenants[3]));
    world.check();
    // By a foreign key of Postgres's own.
    raw.must(&format!("DELETE FROM orgs WHERE id = {}", world.tenants[3]));
    world.check();
    assert_eq!(world.emails(), ["{c@x}"]);
    raw.must(&world.row(2, 8, "a@x"));
    // Two rows of one statement.
    let rows = format!(
        "INSERT INTO users (tenant, id, email) VALUES ({}, 20, 'd@x'), ({}, 20, 'd@x')",
        world.tenants[0], world.tenants[1]
    );
    duplicate(&raw.simple(&rows), "users_email_key", "(email)=(d@x)");
    raw.must(&rows.replacen("d@x", "e@x", 1));
    world.check();
    // Tables without such values, and DDL, go on as ever.
    raw.must(&format!("INSERT INTO other VALUES ({}, 'x'); INSERT INTO plain VALUES (1, 'x')", world.tenants[0]));
    raw.must("CREATE TABLE more (id int); DROP TABLE more; CREATE INDEX ON users (n); TRUNCATE plain");
    assert_eq!(raw.simple("TRUNCATE users").code(), "0A000");
}

#[test]
fn every_way_to_write_is_registered() {
    let world = World::create("uniq_ways");
    let mut raw = world.connect();
    let [a, b, ..] = world.tenants[..] else { panic!("four shards") };
    // COPY, INSERT ... SELECT, RETURNING, ON CONFLICT, WITH, MERGE.
    let copied =
        raw.copy_in("COPY users (tenant, id, email) FROM STDIN", format!("{a}\t1\tc1\n{b}\t1\tc2\n").as_bytes());
    assert_eq!(copied.code(), "", "{}", copied.text());
    let copied =
        raw.copy_in("COPY users (tenant, id, email) FROM STDIN", format!("{a}\t2\tc3\n{b}\t2\tc1\n").as_bytes());
    duplicate(&copied, "users_email_key", "(email)=(c1)");
    let select = format!(
        "INSERT INTO users (tenant, id, email) SELECT {b}, tenant * 100 + id, email || '+' FROM users WHERE email NOT LIKE '%+' RETURNING email"
    );
    assert_eq!(raw.must(&select).answers[0].rows.len(), 2);
    let again = select.replace("+ id", "+ id + 7");
    duplicate(&raw.simple(&again), "users_email_key", "(email)=(c1+)");
    raw.must(&format!(
        "INSERT INTO users VALUES ({a}, 1, 'c9') ON CONFLICT (tenant, id) DO UPDATE SET email = excluded.email"
    ));
    // One Postgres would do nothing for a value that another shard has.
    assert_eq!(raw.simple(&format!("INSERT INTO users VALUES ({a}, 99, 'c2') ON CONFLICT DO NOTHING")).code(), "0A000");
    // It has one for NULL nowhere.
    for (id, columns, cells, rows) in [
        (90, "", "", 1),
        (90, "", "", 0),
        (91, ", email, nick", ", NULL, NULL", 1),
        (92, ", nick, n, email", ", 'nick', NULL, NULL", 1),
    ] {
        let insert = format!(
            "INSERT INTO users (tenant, id{columns}) VALUES ({a}, {id}{cells}) ON CONFLICT DO NOTHING RETURNING id"
        );
        assert_eq!(raw.must(&insert).answers[0].rows.len(), rows, "{insert}");
    }
    for (columns, cells) in [("email", "'c2'"), ("nick, n", "'a', 1"), ("email, nick, n", "NULL, 'a', 1")] {
        let insert =
            format!("INSERT INTO users (tenant, id, {columns}) VALUES ({a}, 99, {cells}) ON CONFLICT DO NOTHING");
        assert_eq!(raw.simple(&insert).code(), "0A000", "{insert}");
    }
    raw.must(&format!("DELETE FROM users WHERE tenant = {a} AND id BETWEEN 90 AND 99"));
    duplicate(
        &raw.simple(&format!("INSERT INTO users VALUES ({a}, 99, 'c2') ON CONFLICT (tenant, id) DO NOTHING")),
        "users_email_key",
        "(email)=(c2)",
    );
    raw.must(&format!("WITH x AS (DELETE FROM users WHERE tenant = {a} RETURNING *) SELECT count(*) FROM x"));
    world.check();
    raw.must(&format!(
        "MERGE INTO users u USING (VALUES ({a}, 3, 'm')) v (t, i, e) ON u.tenant = v.t AND u.id = v.i \
         WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT (tenant, id, email) VALUES (v.t, v.i, v.e)"
    ));
    world.check();
    // The extended protocol: alone, in a pipeline, large, row by row, by PREPARE.
    let insert = "INSERT INTO users (tenant, id, email) VALUES ($1, $2, $3) RETURNING id";
    let values = |tenant: i32, id: i32, email: &str| {
        [Value::text(&tenant.to_string()), Value::text(&id.to_string()), Value::text(email)]
    };
    let reply = raw.extended(insert, &[], &values(a, 30, "x1"), 1);
    assert_eq!((reply.code(), reply.status), ("", b'I'), "{}", reply.text());
    let reply = raw.extended(insert, &[], &values(b, 30, "x1"), 0);
    duplicate(&reply, "users_email_key", "(email)=(x1)");
    assert_eq!(reply.status, b'I');
    let large = "y".repeat(600_000);
    let wide = "UPDATE users SET n = 1, email = $3 WHERE tenant = $1 AND id = $2 AND length($4) > 5";
    let mut more = values(a, 30, "x2").to_vec();
    more.push(Value::text(&large));
    assert_eq!(raw.extended(wide, &[23, 23, 25, 25], &more, 0).code(), "");
    raw.must(&world.row(1, 31, "x3"));
    let mut more = values(b, 31, "x2").to_vec();
    more.push(Value::text(&large));
    duplicate(&raw.extended(wide, &[23, 23, 25, 25], &more, 0), "users_email_key", "(email)=(x2)");
    let pipeline: Vec<u8> = [(a, 40, "p1"), (b, 40, "p2"), (a, 41, "p1")]
        .iter()
        .flat_map(|(tenant, id, email)| {
            [m::parse("", insert, &[]), m::bind("", "", &values(*tenant, *id, email), &[]), m::execute("", 1)].concat()
        })
        .chain(m::sync())
        .collect();
    duplicate(&raw.exchange(&pipeline, None), "users_email_key", "(email)=(p1)");
    raw.must("PREPARE p AS INSERT INTO users (tenant, id, email) VALUES ($1, $2, $3)");
    raw.must(&format!("EXECUTE p ({a}, 50, 'q')"));
    duplicate(&raw.simple(&format!("EXECUTE p ({b}, 50, 'q')")), "users_email_key", "(email)=(q)");
    duplicate(&raw.simple(&format!("EXPLAIN ANALYZE {}", world.row(1, 51, "q"))), "users_email_key", "(email)=(q)");
    world.check();
    assert!(!world.emails().contains(&"{p2}".to_owned()));
}

/// A COPY names the first of its lines with a value that is there already, as one Postgres does.
#[test]
fn a_copied_duplicate_is_at_the_clients_line() {
    let world = World::create("uniq_lines");
    let mut direct = world.db.shard(0);
    direct.must(
        "CREATE SCHEMA one; CREATE TABLE one.users (tenant int NOT NULL, id int NOT NULL, email text, nick varchar(20), n int, \
         CONSTRAINT users_email_key UNIQUE (email), CONSTRAINT one_nick UNIQUE (nick, n))",
    );
    let mut raw = world.connect();
    let [a, b, c, d] = world.tenants[..] else { panic!() };
    raw.must(&format!("INSERT INTO users (tenant, id, email) VALUES ({a}, 1, 'old@x'), ({b}, 1, 'alt@x')"));
    direct.must(&format!("INSERT INTO one.users (tenant, id, email) VALUES ({a}, 1, 'old@x'), ({b}, 1, 'alt@x')"));
    let mut told = |options: &str, rows: &[u8]| {
        let [theirs, ours] = [(&mut direct, "one.users"), (&mut raw, "users")].map(|(raw, table)| {
            let error = raw.copy_in(&format!("COPY {table} FROM STDIN {options}"), rows).error.unwrap();
            "CMDWtn".chars().map(|field| error.0.get(&field).cloned()).collect::<Vec<_>>()
        });
        assert_eq!(raw.simple("SELECT 1").status, b'I');
        (ours, theirs)
    };
    let row = |tenant: i32, id: i32, email: &str| format!("{tenant}\t{id}\t{email}\t\\N\t\\N\n");
    let good: String = (1..400).map(|id| row([a, b, c, d][id as usize % 4], 100 + id, &format!("m{id}@x"))).collect();
    for rows in [
        // There before; twice among the rows, on one shard and on two; both; several at once, the first of which is no first by name.
        row(a, 2, "old@x"),
        format!("{good}{}", row(c, 2, "old@x")),
        format!("{good}{}", row(c, 2, "m7@x")),
        format!("{}{}{good}", row(a, 2, "new@x"), row(a, 3, "new@x")),
        format!("{}{good}{}{}", row(a, 2, "x@x"), row(b, 2, "x@x"), row(c, 2, "x@x")),
        format!("{}{}{}", row(c, 2, "alt@x"), row(b, 2, "alt@x"), row(d, 2, "old@x")),
        format!("{good}{}{}", row(d, 9, "old@x"), row(d, 10, "m3@x")),
        format!("{}{}{}{}", row(c, 2, "z@x"), row(b, 2, "a@x"), row(d, 2, "z@x"), row(a, 4, "a@x")),
        format!("{}{a}\t5\t\\N\tnick\t7\n{b}\t5\t\\N\tnick\t8\n{c}\t6\t\\N\tnick\t7\n", row(c, 2, "y@x")),
        // By other spellings of what is stored.
        format!("{a}\t5\t\\N\tnick\t7\n{b}\t5\t\\N\tnick\t07\n{c}\t6\t\\N\tnick\t7\n"),
        format!("{a}\t5\t\\N\tnick\t7\n{c}\t6\t\\N\tnick\t 7 \n{b}\t5\t\\N\tnick\t7\n"),
        format!("{a}\t5\t\\N\tnick\t7\n{c}\t6\t\\N\tnick\t-0\n{b}\t5\t\\N\tnick\t+0\n{b}\t6\t\\N\tnick\t0\n"),
        format!("{a}\t5\t\\N\t{0}\t7\n{c}\t6\t\\N\t{0}  \t7\n{b}\t5\t\\N\t{0}\t7\n", "n".repeat(20)),
    ] {
        let (ours, theirs) = told("", rows.as_bytes());
        assert_eq!(ours, theirs, "{rows}");
        assert!(ours[3].as_ref().is_some_and(|place| place.starts_with("COPY users, line ")));
        let csv = format!("tenant,id,email,nick,n\n{}", rows.replace('\t', ",").replace("\\N", ""));
        let (ours, theirs) = told("(FORMAT csv, HEADER)", csv.as_bytes());
        assert_eq!(ours, theirs, "{csv}");
    }
    let quoted = format!("{a},2,\"q\n\n@x\",,\n{b},2,\"p@x\",,\n{c},2,\"q\n\n@x\",,\n");
    let (ours, theirs) = told("(FORMAT csv)", quoted.as_bytes());
    assert_eq!(ours, theirs);
    let latin = [row(a, 2, "x").as_bytes(), format!("{b}\t3\t").as_bytes(), b"\xe9\t\\N\t\\N\n"].concat();
    let latin = [&latin[..], format!("{c}\t3\t").as_bytes(), b"\xe9\t\\N\t\\N\n"].concat();
    let (ours, theirs) = told("(ENCODING 'LATIN1')", &latin);
    assert_eq!(ours, theirs);
    let field = |value: &[u8]| [&(value.len() as i32).to_be_bytes()[..], value].concat();
    let binary = |tenant: i32, id: i32, email: &str| {
        let row = [&5_i16.to_be_bytes()[..], &field(&tenant.to_be_bytes()), &field(&id.to_be_bytes())].concat();
        [&row[..], &field(email.as_bytes()), &[0xff; 8]].concat()
    };
    let rows = [&b"PGCOPY\n\xff\r\n\0"[..], &[0; 8], &binary(a, 2, "b@x"), &binary(b, 2, "b@x"), &[0xff; 2]].concat();
    let (ours, theirs) = told("BINARY", &rows);
    assert_eq!(ours, theirs);
    // Where rows are left out, or several values may be shown as one, no line is told, and all else is the same.
    for (options, rows) in [
        ("WHERE id > 1", format!("{}{}{}", row(b, 1, "w@x"), row(a, 2, "w@x"), row(c, 3, "w@x"))),
        ("", format!("{a}\t5\t\\N\tnick, 7\t7\n{b}\t5\t\\N\tnick, 7\t7\n")),
    ] {
        let (mut ours, mut theirs) = told(options, rows.as_bytes());
        assert_eq!((ours.remove(3), theirs.remove(3).is_some()), (None, true));
        assert_eq!(ours, theirs);
    }
    // Of very many the first is told, too.
    let line = |nth: i32| row([a, b, c, d][nth as usize % 4], 1000 + nth, &format!("many{}@x", nth % 20_000));
    let (ours, theirs) = told("", (0..40_000).map(line).collect::<String>().as_bytes());
    assert_eq!(ours, theirs);
    // In a block it is found at the end.
    raw.must("BEGIN");
    assert_eq!(raw.copy_in("COPY users FROM STDIN", row(c, 2, "old@x").as_bytes()).code(), "");
    let reply = raw.simple("COMMIT");
    duplicate(&reply, "users_email_key", "(email)=(old@x)");
    assert_eq!(reply.error.unwrap().0.get(&'W'), None);
    world.check();
}

#[test]
fn transactions_are_checked_when_they_end() {
    let world = World::create("uniq_blocks");
    let mut raw = world.connect();
    raw.must(&world.row(0, 1, "a"));
    // As a deferred constraint: in between two rows may have it.
    raw.must("BEGIN");
    raw.must(&world.row(1, 1, "a"));
    raw.must("DELETE FROM users WHERE tenant IN (SELECT tenant FROM users WHERE id = 1 AND email = 'a' ORDER BY tenant LIMIT 1) AND id = 1");
    raw.must("COMMIT");
    world.check();
    raw.must("BEGIN; SAVEPOINT s");
    raw.must(&world.row(2, 9, "a"));
    raw.must("ROLLBACK TO s");
    raw.must(&world.row(2, 9, "b"));
    raw.must("COMMIT");
    world.check();
    raw.must("BEGIN");
    raw.must(&world.row(3, 9, "b"));
    let commit = raw.simple("COMMIT");
    duplicate(&commit, "users_email_key", "(email)=(b)");
    assert_eq!(commit.status, b'I');
    raw.must("BEGIN");
    raw.must(&world.row(3, 9, "c"));
    raw.must("ROLLBACK");
    // Or when it is asked for: what comes behind that is looked at when it ends.
    raw.must("BEGIN");
    raw.must(&world.row(3, 9, "b"));
    duplicate(&raw.simple("SET CONSTRAINTS ALL IMMEDIATE"), "users_email_key", "(email)=(b)");
    assert_eq!(raw.must("ROLLBACK").status, b'I');
    raw.must("BEGIN");
    raw.must(&world.row(3, 9, "e"));
    raw.must("SAVEPOINT s");
    raw.must(&world.row(0, 77, "f"));
    raw.must("SET CONSTRAINTS ALL IMMEDIATE; ROLLBACK TO s; SET CONSTRAINTS ALL IMMEDIATE");
    raw.must("UPDATE users SET email = 'g' WHERE email = 'e'");
    raw.must(&world.row(1, 77, "e"));
    raw.must("COMMIT");
    world.check();
    raw.must("DELETE FROM users WHERE email IN ('e', 'g')");
    world.check();
    // Several statements of one message are one transaction.
    let both = format!("{}; {}", world.row(0, 10, "d"), world.row(1, 10, "d"));
    duplicate(&raw.simple(&both), "users_email_key", "(email)=(d)");
    raw.must("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM users");
    world.connect().must(&world.row(1, 11, "e"));
    raw.must(&world.row(0, 11, "e"));
    duplicate(&raw.simple("COMMIT"), "users_email_key", "(email)=(e)");
    world.check();
}

/// What Postgres itself puts off to the end of a transaction is noted too.
#[test]
fn deferred_triggers_come_before_the_registry() {
    let world = World::create("uniq_late");
    world.db.everywhere(
        "CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
           UPDATE public.users SET email = 'late@' || email WHERE tenant = NEW.tenant AND id = NEW.id AND email LIKE 'soon%'; RETURN NULL; END $$; \
         CREATE CONSTRAINT TRIGGER late AFTER INSERT ON users DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION late()",
    );
    let mut raw = world.connect();
    raw.must(&world.row(0, 1, "soon"));
    assert_eq!(world.emails(), ["{late@soon}"]);
    world.check();
    raw.must("BEGIN");
    raw.must(&world.row(1, 1, "soon"));
    duplicate(&raw.simple("COMMIT"), "users_email_key", "(email)=(late@soon)");
    world.check();
}

#[test]
fn two_routers_never_both_register_a_value() {
    let world = World::create("uniq_race");
    let second = Router::start(&config(&world.db, UNIQUES));
    let mut one = world.connect();
    let mut two = second.connect(&world.db.name);
    // The second waits for the first, whichever way that ends.
    for (n, end) in ["COMMIT", "ROLLBACK"].iter().enumerate() {
        let email = format!("race{n}");
        let mut holder = None;
        for index in 0..SHARDS {
            // A transaction past the router holds the value's place.
            let mut raw = world.db.shard(index);
            raw.must("BEGIN");
            raw.must(&format!("INSERT INTO pgloom.unique_value VALUES ('public.users (email)', ARRAY['{email}'])"));
            holder.get_or_insert_with(Vec::new).push(raw);
        }
        two.send(&m::query(&world.row(1, 60, &email))).unwrap();
        let waits = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = '{}' AND wait_event_type = 'Lock'",
            world.db.name
        );
        eventually(10, "it waits", || (0..SHARDS).any(|index| world.db.shard(index).value(&waits) != "0"));
        holder.into_iter().flatten().for_each(|mut raw| drop(raw.must(end)));
        let error = two.read_to_ready().unwrap().into_iter().find(|message| message.tag == b'E');
        assert_eq!(
            error.map(|message| message.report().code().to_owned()).unwrap_or_default(),
            if n == 0 { "23505" } else { "" }
        );
    }
    let clean = "DELETE FROM pgloom.unique_value WHERE value = ARRAY['race0']";
    (0..SHARDS).for_each(|index| drop(world.db.shard(index).must(clean)));
    // Many clients of both want the same values.
    let work = |router: &Router, worker: usize| -> usize {
        let mut raw = router.connect(&world.db.name);
        let mut won = 0;
        for n in 0..25 {
            let row = world.row((worker + n) % SHARDS, 1000 + (worker * 100 + n) as i32, &format!("v{n}"));
            let reply = raw.simple(&row);
            assert!(["", "23505"].contains(&reply.code()), "{}", reply.text());
            won += usize::from(reply.code().is_empty());
        }
        won
    };
    let (routers, work) = ([&world.router, &second], &work);
    let winners: usize = std::thread::scope(|scope| {
        let all: Vec<_> = (0..4).map(|worker| scope.spawn(move || work(routers[worker % 2], worker))).collect();
        all.into_iter().map(|worker| worker.join().unwrap()).sum()
    });
    assert_eq!(winners, 25);
    one.must("DELETE FROM users WHERE email = 'v3'");
    world.check();
}

#[test]
fn nothing_is_written_before_all_is_in_place() {
    let world = World::bare("uniq_setup");
    let mut raw = world.connect();
    assert_eq!(raw.simple(&world.row(0, 1, "a")).code(), "42883");
    let (code, said) = world.command("check");
    assert_eq!(code, Some(1));
    assert!(said.contains("the values of public.users (email) are not registered"), "{said}");
    // Rows of before, with the same value on two shards.
    for (shard, email) in [(0, "old"), (1, "old"), (2, "fine")] {
        world.db.shard(shard).must(&world.row(shard, 1, email));
    }
    let (code, said) = world.unique();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("several rows have {old}"), "{said}");
    assert_eq!(raw.simple(&world.row(0, 2, "a")).code(), "55000");
    world.db.shard(1).must("UPDATE users SET email = 'new'");
    (0..SHARDS).for_each(|index| drop(world.db.shard(index).must("DELETE FROM pgloom.unique_log")));
    let (code, said) = world.unique();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("public.users (email): 3 values"), "{said}");
    world.check();
    raw.must(&world.row(0, 2, "a"));
    duplicate(&raw.simple(&world.row(3, 2, "old")), "users_email_key", "(email)=(old)");
    assert_eq!(world.command("check").0, Some(0), "{}", world.command("check").1);
    // Past the router, a trigger taken away, a table made anew: it is seen, and fails closed.
    world.db.shard(2).must(&world.row(2, 5, "past"));
    let (code, said) = world.command("check");
    assert_eq!(code, Some(1));
    assert!(said.contains("1 values were written past the registry"), "{said}");
    (0..SHARDS).for_each(|index| drop(world.db.shard(index).must("DELETE FROM pgloom.unique_log")));
    assert_eq!(world.unique().0, Some(0));
    world.check();
    raw.must("ALTER TABLE users DISABLE TRIGGER USER");
    assert_eq!(raw.simple(&world.row(0, 6, "z")).code(), "55000");
    assert_eq!(world.unique().0, Some(0));
    raw.must(&world.row(0, 6, "z"));
    raw.must("DROP TABLE users");
    raw.must(SCHEMA.split("; ").nth(1).unwrap());
    assert_eq!(raw.simple(&world.row(0, 6, "z")).code(), "55000");
    assert_eq!(world.unique().0, Some(0));
    raw.must(&world.row(0, 6, "z"));
    world.check();
    // Triggers of ours are no code of users: rows can be delivered.
    raw.must(&format!("UPDATE users SET tenant = {} WHERE id = 6", world.tenants[1]));
    world.check();
}

/// Where a statement goes, by EXPLAIN (ROUTE).
fn route(raw: &mut Raw, sql: &str) -> String {
    raw.values(&format!("EXPLAIN (ROUTE) {sql}")).remove(0)
}

fn single(shard: usize) -> String {
    format!("Single s{shard}: found by unique (email) of users")
}

const EVERYWHERE: &str = "Scatter s0, s1, s2, s3: no condition on users.tenant";
const UNKNOWN: &str = "Single, on the shard that has the row: found by unique (email) of users";

fn by_email(email: &str) -> String {
    format!("SELECT id FROM users WHERE email = '{}'", email.replace('\'', "''"))
}

#[test]
fn a_row_is_read_on_the_shard_that_the_registry_names() {
    let world = World::create("uniq_read");
    let mut raw = world.connect();
    let odd = ["", "NULL", "null", "{", "a,b", " ", "it's", "a\"b", "back\\slash", "tab\there", "ä€", "{}", "\u{a0}"];
    for shard in 0..SHARDS {
        raw.must(&world.row(shard, 10 + shard as i32, &format!("e{shard}")));
    }
    for (at, email) in odd.iter().enumerate() {
        raw.must(&world.row(at % SHARDS, 100 + at as i32, &email.replace('\'', "''")));
    }
    world.check();
    for shard in 0..SHARDS {
        let (sql, id) = (by_email(&format!("e{shard}")), format!("{}", 10 + shard));
        assert_eq!(route(&mut raw, &sql), single(shard));
        assert_eq!(raw.values(&sql), std::slice::from_ref(&id));
        let bound = "SELECT id FROM users WHERE email = $1";
        for (types, value) in
            [(&[][..], Value::text(&format!("e{shard}"))), (&[25], Value::binary(format!("e{shard}")))]
        {
            for format in [0, 1] {
                let reply = raw.extended(bound, types, std::slice::from_ref(&value), format);
                assert_eq!(
                    (reply.code(), reply.answers[0].rows.len(), reply.status),
                    ("", 1, b'I'),
                    "{}",
                    reply.text()
                );
            }
        }
        let upper = format!("SELECT count(*), max(upper(email)) FROM users WHERE email = 'e{shard}' AND id = {id}");
        assert_eq!(raw.must(&upper).text(), raw.must(&upper.replace("email =", "email || '' =")).text());
    }
    for (at, email) in odd.iter().enumerate() {
        assert_eq!(route(&mut raw, &by_email(email)), single(at % SHARDS), "{email}");
        assert_eq!(raw.values(&by_email(email)), [format!("{}", 100 + at)], "{email}");
    }
    // Nobody has it: an answer without rows, with its columns.
    for sql in ["SELECT id FROM users WHERE email = 'none'", "SELECT id FROM users WHERE email = NULL"] {
        let answer = &raw.must(sql).answers[0];
        assert_eq!((answer.columns.as_ref().unwrap().len(), answer.tag.as_deref()), (1, Some("SELECT 0")));
        assert_eq!(raw.value(&sql.replace("SELECT id", "SELECT count(*)")), "0");
    }
    let null = raw.extended("SELECT id FROM users WHERE email = $1", &[], &[Value::null()], 0);
    assert_eq!((null.code(), null.answers[0].rows.len()), ("", 0));
    assert_eq!(raw.simple("SELECT id / (id - id) FROM users WHERE email = 'e1'").code(), "22012");
    assert_eq!(raw.must("UPDATE users SET n = 1 WHERE email = 'none'").answers[0].tag.as_deref(), Some("UPDATE 0"));
    // Several values, on one shard and on two.
    assert_eq!(raw.values("SELECT id FROM users WHERE email IN ('e2', 'e1', 'none') ORDER BY id"), ["11", "12"]);
    assert_eq!(
        route(&mut raw, "SELECT id FROM users WHERE email IN ('e2', 'e1', 'none')"),
        "Scatter s1, s2: found by unique (email) of users"
    );
    assert_eq!(route(&mut raw, "SELECT id FROM users WHERE email IN ('e2', 'none')"), single(2));
    // With what lies beside it.
    let joined = "SELECT o.name FROM users u JOIN orgs o ON o.id = u.tenant WHERE u.email = 'e3'";
    assert_eq!((route(&mut raw, joined), raw.values(joined)), (single(3), vec!["org".to_owned()]));
    // Two columns together.
    raw.must(&format!("INSERT INTO users (tenant, id, nick, n) VALUES ({}, 40, 'nick', -7)", world.tenants[2]));
    let nick = "SELECT id FROM users WHERE nick = 'nick' AND n = -7";
    assert_eq!(route(&mut raw, nick), "Single s2: found by unique (nick, n) of users");
    assert_eq!(raw.values(nick), ["40"]);
    assert!(route(&mut raw, "SELECT id FROM users WHERE nick = 'nick'").starts_with("Scatter"));
    // It is what was asked: one that names another shard is believed.
    let lie = "UPDATE pgloom.unique_value SET shard = 's0' WHERE value = ARRAY['e3']";
    (0..SHARDS).for_each(|index| drop(world.db.shard(index).must(lie)));
    assert!(raw.values(&by_email("e3")).is_empty());
    assert_eq!(
        raw.extended("SELECT id FROM users WHERE email = $1", &[], &[Value::text("e3")], 0).answers[0].rows.len(),
        0
    );
    raw.must("PREPARE p AS SELECT id FROM users WHERE email = $1");
    assert!(raw.values("EXECUTE p ('e3')").is_empty());
    assert_eq!(raw.values("EXECUTE p ('e2')"), ["12"]);
    // One snapshot for all of a transaction, which the registry is not a part of.
    for begin in ["BEGIN ISOLATION LEVEL REPEATABLE READ", "BEGIN ISOLATION LEVEL SERIALIZABLE"] {
        raw.must(begin);
        assert_eq!(raw.values(&by_email("e3")), ["13"]);
        raw.must("COMMIT");
    }
    raw.must("SET default_transaction_isolation = 'repeatable read'");
    assert_eq!(raw.values(&by_email("e3")), ["13"]);
    raw.must("RESET default_transaction_isolation");
    raw.must("BEGIN");
    assert!(raw.values(&by_email("e3")).is_empty());
    raw.must("COMMIT");
}

#[test]
fn changes_by_a_unique_value_find_their_row() {
    let world = World::create("uniq_find");
    let mut raw = world.connect();
    (0..SHARDS).for_each(|shard| drop(raw.must(&world.row(shard, 10 + shard as i32, &format!("e{shard}")))));
    let tag = |raw: &mut Raw, sql: &str| raw.must(sql).answers[0].tag.clone().unwrap();
    assert_eq!(tag(&mut raw, "UPDATE users SET n = 5 WHERE email = 'e1'"), "UPDATE 1");
    assert_eq!(raw.values("UPDATE users SET email = 'f1' WHERE email = 'e1' RETURNING id, n"), ["11"]);
    world.check();
    assert_eq!(tag(&mut raw, "DELETE FROM users WHERE email = 'e1'"), "DELETE 0");
    assert_eq!(raw.values(&by_email("f1")), ["11"]);
    let set = "UPDATE users SET n = n + 1 WHERE email = $1 RETURNING n";
    let reply = raw.extended(set, &[], &[Value::text("f1")], 1);
    assert_eq!(reply.answers[0].rows, [[Some(6_i32.to_be_bytes().to_vec())]], "{}", reply.text());
    assert_eq!(raw.values("SELECT id FROM users WHERE email = 'f1' FOR UPDATE"), ["11"]);
    // A portal that is fetched row by row.
    let pieces = [
        m::parse("", "SELECT id FROM users WHERE email = $1", &[]),
        m::bind("", "", &[Value::text("f1")], &[]),
        m::describe(b'P', ""),
        m::execute("", 1),
        m::execute("", 1),
        m::sync(),
    ];
    let reply = raw.exchange(&pieces.concat(), None);
    assert_eq!(reply.code(), "", "{}", reply.text());
    assert_eq!(reply.answers.iter().map(|answer| answer.rows.len()).sum::<usize>(), 1, "{}", reply.text());
    assert!(raw.values("EXPLAIN SELECT id FROM users WHERE email = 'f1'")[0].contains("Scan"), "Postgres's own plan");
    assert_eq!(raw.must("EXPLAIN ANALYZE UPDATE users SET n = 0 WHERE email = 'f1'").code(), "");
    assert_eq!(raw.value("SELECT n FROM users WHERE email = 'f1'"), "0");
    // Rows that go to another shard: the value stays, its shard changes.
    for to in [3, 0, 2] {
        raw.must(&format!("UPDATE users SET tenant = {} WHERE email = 'f1'", world.tenants[to]));
        world.check();
        assert_eq!(route(&mut raw, &by_email("f1")), single(to));
        assert_eq!(raw.values(&by_email("f1")), ["11"]);
    }
    // By hand, in a transaction.
    let [a, b, ..] = world.tenants[..] else { panic!("four shards") };
    raw.must("BEGIN; DELETE FROM users WHERE email = 'e0'");
    assert!(raw.values(&by_email("e0")).is_empty());
    raw.must(&world.row(1, 77, "e0"));
    // What the transaction itself has done is seen, though nothing of it is registered yet.
    assert_eq!(raw.values(&by_email("e0")), ["77"]);
    assert_eq!(tag(&mut raw, "UPDATE users SET n = 1 WHERE email = 'e0'"), "UPDATE 1");
    assert_eq!(route(&mut raw, &by_email("e0")), UNKNOWN);
    raw.must("COMMIT");
    world.check();
    assert_eq!(route(&mut raw, &by_email("e0")), single(1));
    raw.must(&format!("BEGIN; UPDATE users SET tenant = {a} WHERE tenant = {b} AND id = 77"));
    raw.must("ROLLBACK");
    assert_eq!(route(&mut raw, &by_email("e0")), single(1));
    assert_eq!(raw.values(&by_email("e0")), ["77"]);
    // Two rows swap, over two shards.
    raw.must("UPDATE users SET email = CASE email WHEN 'e0' THEN 'e3' ELSE 'e0' END WHERE email IN ('e0', 'e3')");
    world.check();
    assert_eq!(
        (raw.values(&by_email("e0")), raw.values(&by_email("e3"))),
        (vec!["13".to_owned()], vec!["77".to_owned()])
    );
    assert_eq!((route(&mut raw, &by_email("e0")), route(&mut raw, &by_email("e3"))), (single(3), single(1)));
    // Several statements of one message, and a pipeline, are one transaction.
    let both = format!("{}; {}", world.row(2, 90, "new"), by_email("new"));
    assert_eq!(raw.must(&both).answers[1].rows.len(), 1);
    let insert = "INSERT INTO users (tenant, id, email) VALUES ($1, $2, $3)";
    let values = [Value::text(&a.to_string()), Value::text("91"), Value::text("newer")];
    let pipeline = [
        m::parse("", insert, &[]),
        m::bind("", "", &values, &[]),
        m::execute("", 0),
        m::parse("", "SELECT id FROM users WHERE email = $1", &[]),
        m::bind("", "", &[Value::text("newer")], &[]),
        m::execute("", 0),
        m::sync(),
    ];
    let reply = raw.exchange(&pipeline.concat(), None);
    assert_eq!((reply.code(), reply.answers[1].rows.len()), ("", 1), "{}", reply.text());
    world.check();
}

#[test]
fn a_registry_that_is_not_ready_is_not_read() {
    let world = World::bare("uniq_unready");
    let mut raw = world.connect();
    (0..SHARDS).for_each(|shard| drop(world.db.shard(shard).must(&world.row(shard, 10, &format!("E{shard}")))));
    let reads = |raw: &mut Raw| {
        for begin in ["SELECT 1", "BEGIN"] {
            raw.must(begin);
            let rows = |raw: &mut Raw, of: usize| raw.values(&by_email(&format!("E{of}")));
            (0..SHARDS).for_each(|shard| assert_eq!(rows(raw, shard), ["10"]));
            raw.must("COMMIT");
        }
    };
    let all = |sql: &str| (0..SHARDS).for_each(|index| drop(world.db.shard(index).must(sql)));
    reads(&mut raw);
    assert_eq!(route(&mut raw, &by_email("E1")), EVERYWHERE);
    let make = |raw: &mut Raw| {
        let (code, said) = world.unique();
        assert_eq!(code, Some(0), "{said}");
        assert_eq!(world.command("check").0, Some(0), "{}", world.command("check").1);
        assert_eq!(route(raw, &by_email("E1")), single(1));
        reads(raw);
    };
    make(&mut raw);
    // No mark, or that of other shards; a note that nobody took; no triggers; a row that an older version has registered.
    for (undo, redo) in [
        ("DELETE FROM pgloom.unique_ready", None),
        ("UPDATE pgloom.unique_ready SET fingerprint = 'x'", None),
        ("UPDATE pgloom.unique_ready SET columns = NULL", None),
        (
            "INSERT INTO pgloom.unique_log (scope, value, change) VALUES ('x', '{x}', 1)",
            Some("DELETE FROM pgloom.unique_log"),
        ),
        ("ALTER TABLE users DISABLE TRIGGER USER", None),
        ("UPDATE pgloom.unique_value SET shard = NULL", None),
    ] {
        all(undo);
        assert_eq!(route(&mut raw, &by_email("E1")), EVERYWHERE, "{undo}");
        reads(&mut raw);
        redo.iter().for_each(|redo| all(redo));
        make(&mut raw);
    }
    // Columns that have other values without any trigger.
    all("ALTER TABLE users ALTER email TYPE text USING lower(email)");
    assert_eq!(raw.values(&by_email("e2")), ["10"]);
    assert!(raw.values(&by_email("E2")).is_empty());
    let (code, said) = world.command("check");
    assert_eq!(code, Some(1));
    assert!(said.contains("columns of public.users (email) were changed since their values were registered"), "{said}");
    all("ALTER TABLE users ALTER email TYPE text USING upper(email)");
    make(&mut raw);
    // What an older version has left.
    let old = "ALTER TABLE pgloom.unique_value DROP COLUMN shard; ALTER TABLE pgloom.unique_ready DROP COLUMN columns; \
               DROP FUNCTION pgloom.unique_find; DROP FUNCTION pgloom.unique_put; \
               CREATE FUNCTION pgloom.unique_put(text[], text[], integer[]) RETURNS TABLE (of_scope text, shown text) LANGUAGE sql AS 'SELECT 1, 2 WHERE false'";
    all(&old.replace("SELECT 1, 2", "SELECT NULL::text, NULL::text"));
    let second = Router::start(&config(&world.db, UNIQUES));
    let mut other = second.connect(&world.db.name);
    reads(&mut other);
    assert_eq!(route(&mut other, &by_email("E1")), EVERYWHERE);
    assert_eq!(other.simple(&world.row(0, 50, "old")).code(), "42883");
    assert_eq!(world.command("check").0, Some(1));
    make(&mut other);
    other.must(&world.row(0, 50, "old"));
    assert_eq!(route(&mut other, &by_email("old")), single(0));
    world.check();
}

/// Who may not read the column learns nothing of it, and hears what Postgres says.
#[test]
fn columns_that_are_unique_stay_under_their_names() {
    let world = World::create("unique_columns");
    let mut raw = world.connect();
    raw.must(&world.row(0, 1, "a@x"));
    for sql in [
        "ALTER TABLE users DROP COLUMN email",
        "ALTER TABLE ONLY public.users ADD COLUMN x int, DROP COLUMN IF EXISTS nick CASCADE",
        "ALTER TABLE users DROP n",
        "ALTER TABLE users RENAME email TO mail",
        "ALTER TABLE users RENAME COLUMN \"nick\" TO name",
        "ALTER TABLE users ALTER email TYPE text USING 'e' || (n + 100)",
        "ALTER TABLE users ALTER COLUMN nick SET DATA TYPE varchar(10)",
        "ALTER TABLE users ADD z int, ALTER n TYPE numeric",
        "ALTER TABLE users ALTER email TYPE varchar(200)",
    ] {
        let error = raw.simple(sql).error.unwrap_or_else(|| panic!("{sql} is done"));
        assert_eq!(error.code(), "0A000", "{sql}: {error}");
        assert!(error.hint().contains("pgloom_unique_"), "{sql}: {error}");
    }
    raw.must(&world.row(1, 2, "b@x"));
    raw.must("ALTER TABLE users ADD COLUMN x int; ALTER TABLE users RENAME x TO y; ALTER TABLE users DROP COLUMN y");
    // Types in which the values keep their texts.
    raw.must("ALTER TABLE users ALTER email TYPE varchar, ALTER nick SET DATA TYPE character varying(40), ALTER n TYPE bigint");
    raw.must("ALTER TABLE users ALTER nick TYPE text");
    duplicate(&raw.simple(&world.row(2, 3, "a@x")), "users_email_key", "(email)=(a@x)");
    raw.must(&world.row(2, 3, "c@x"));
    world.check();
    // The way out.
    drop(raw);
    let plain = Router::start(&config(&world.db, ""));
    let mut raw = plain.connect(&world.db.name);
    let names = raw.values("SELECT DISTINCT tgname FROM pg_trigger WHERE tgname LIKE 'pgloom\\_unique\\_%' ORDER BY 1");
    assert_eq!(names.len(), 8, "{names:?}");
    names.iter().for_each(|name| drop(raw.must(&format!("DROP TRIGGER {name} ON users"))));
    raw.must("ALTER TABLE users DROP COLUMN email");
    raw.must(&format!("INSERT INTO users (tenant, id) VALUES ({}, 3), ({}, 3)", world.tenants[0], world.tenants[1]));
}

#[test]
fn the_registry_answers_only_who_may_read_the_columns() {
    let world = World::create("uniq_rights");
    let mut raw = world.connect();
    raw.must(&world.row(2, 1, "a"));
    let role = format!("reader_{}", world.db.name);
    world
        .db
        .everywhere(&format!("DROP ROLE IF EXISTS {role}; CREATE ROLE {role}; GRANT SELECT (id) ON users TO {role}"));
    raw.must(&format!("SET SESSION AUTHORIZATION {role}"));
    assert_eq!(route(&mut raw, &by_email("a")), EVERYWHERE);
    assert_eq!(raw.simple(&by_email("a")).code(), "42501");
    assert_eq!(raw.simple(&by_email("none")).code(), "42501");
    raw.must("RESET SESSION AUTHORIZATION");
    assert_eq!(raw.values(&by_email("a")), ["1"]);
    world.db.everywhere(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
}

/// While a row moves between shards it may be missed, as by a read of all shards; never is it there twice, and nothing fails.
#[test]
fn a_row_that_moves_is_read_at_most_once() {
    let world = World::create("uniq_moves");
    let mut raw = world.connect();
    raw.must(&world.row(0, 1, "wanderer"));
    let done = std::sync::atomic::AtomicBool::new(false);
    let reads = || {
        let mut raw = world.connect();
        let (mut seen, mut n) = (0, 0);
        while !done.load(std::sync::atomic::Ordering::Relaxed) {
            let found = raw.values(&by_email("wanderer"));
            assert!(found.is_empty() || found == ["1"], "{found:?}");
            (seen, n) = (seen + found.len(), n + 1);
        }
        (seen, n)
    };
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..2).map(|_| scope.spawn(reads)).collect();
        for n in 0..60 {
            raw.must(&format!("UPDATE users SET tenant = {} WHERE id = 1", world.tenants[n % SHARDS]));
            // Who was told of the commit finds it.
            assert_eq!(world.connect().values(&by_email("wanderer")), ["1"]);
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        for reader in readers {
            let (seen, n) = reader.join().unwrap();
            assert!(seen > 0, "{seen} of {n}");
        }
    });
    world.check();
}

/// An attribute of a type is renamed in all tables that are made of it.
#[test]
fn a_unique_column_is_not_changed_by_its_type() {
    let world = World::create("uniq_types");
    let mut raw = world.connect();
    raw.must("CREATE TYPE person AS (email text, v int)");
    for sql in [
        "ALTER TYPE person RENAME ATTRIBUTE email TO mail CASCADE",
        "ALTER TYPE person ALTER ATTRIBUTE v TYPE bigint CASCADE, ALTER ATTRIBUTE email TYPE varchar(9) CASCADE",
    ] {
        let reply = raw.simple(sql);
        assert_eq!(reply.code(), "0A000", "{sql}: {}", reply.text());
    }
    raw.must("ALTER TYPE person ALTER ATTRIBUTE v TYPE bigint CASCADE");
    raw.must("ALTER TYPE person RENAME ATTRIBUTE email TO mail");
}

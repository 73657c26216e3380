//! Functions of users with names that Postgres has as well, and code whose text does not say what it reads or writes.

#![allow(clippy::unwrap_used)]

mod support;

use support::Sharded;
use support::raw::Raw;
use support::script::{Pair, Placed};

fn refused(raw: &mut Raw, sql: &str, what: &str) {
    let error = raw.simple(sql).error.unwrap_or_else(|| panic!("{sql} is done"));
    assert_eq!(error.code(), "0A000", "{sql}: {error}");
    assert!(error.to_string().contains(what), "{sql}: {error}");
}

#[test]
fn an_aggregate_stays_one_beside_a_function_of_its_name() {
    let world = Sharded::create("aggnames", "");
    let mut raw = world.connect();
    let questions = [
        "SELECT max(id) > 0, count(*) FROM items",
        "SELECT count(*) FROM items",
        "SELECT n % 2, count(*) FROM items GROUP BY n % 2 ORDER BY 1",
        "SELECT max(id) - max(id) + 1 FROM items LIMIT 1",
        "SELECT x.c FROM (SELECT count(*) AS c FROM items) x",
        "WITH x AS (SELECT max(n) AS m FROM items) SELECT m FROM x",
        "SELECT rank(3) WITHIN GROUP (ORDER BY n) FROM items",
        "SELECT avg(n) FROM items",
        "SELECT count(*) FROM (SELECT rank() OVER (ORDER BY id) FROM items) x",
    ];
    let before: Vec<Vec<String>> = questions.iter().map(|sql| raw.values(sql)).collect();
    raw.must("CREATE FUNCTION max(int, int) RETURNS int LANGUAGE sql IMMUTABLE AS 'select greatest($1, $2)'");
    raw.must("CREATE FUNCTION rank(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'select $1'");
    raw.must("CREATE SCHEMA sh");
    raw.must("CREATE FUNCTION sh.count(int) RETURNS bigint LANGUAGE sql IMMUTABLE AS 'select 77::bigint'");
    // No expression can call this.
    raw.must("CREATE FUNCTION avg() RETURNS trigger LANGUAGE plpgsql AS 'begin return new; end'");
    raw.must("CREATE PROCEDURE sum(int) LANGUAGE sql AS 'select 1'");
    for (sql, before) in questions.iter().zip(&before) {
        assert_eq!(raw.values(sql), *before, "{sql}");
    }
    assert_eq!(raw.value("SELECT max(max(id, 0)) >= max(id) FROM items"), "t");
    assert_eq!(raw.value("SELECT count(*) FROM items WHERE max(n, 5) = 5"), "60");
    assert_eq!(raw.value("SELECT sum(n) FROM items"), "0");
}

#[test]
fn a_function_that_is_immutable_by_its_word_alone_is_refused() {
    let world = Sharded::create("immutable", "");
    let mut raw = world.connect();
    for (name, language, body) in [
        ("counts", "sql", "select count(*) from items where n = $1"),
        ("loops", "plpgsql", "begin return (select sum(n) from parts join items using (id)); end"),
        ("calls", "sql", "select counts($1) + 1"),
        ("unsaid", "plpgsql", "declare r bigint; begin execute 'select 1' into r; return r; end"),
        ("titles", "sql", "select count(*) from places"),
        ("adds", "sql", "select $1::bigint + 1"),
    ] {
        raw.must(&format!(
            "CREATE FUNCTION {name}(int) RETURNS bigint LANGUAGE {language} IMMUTABLE AS '{}'",
            body.replace('\'', "''")
        ));
    }
    for name in ["counts", "loops", "calls", "unsaid"] {
        refused(&mut raw, &format!("SELECT {name}(id) FROM items"), name);
        refused(&mut raw, &format!("SELECT {name}(3)"), name);
    }
    // Behind an operator, too.
    raw.must("CREATE FUNCTION has(int, int) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'select exists (select from items where n = $1 + $2)'");
    raw.must("CREATE OPERATOR <##> (FUNCTION = has, LEFTARG = int, RIGHTARG = int)");
    refused(&mut raw, "SELECT count(*) FROM items WHERE id <##> 3", "has");
    let titles = raw.value("SELECT count(*) FROM places");
    assert_eq!(raw.value("SELECT min(titles(id)) FROM items"), titles);
    assert_eq!(raw.value("SELECT count(*) FROM items WHERE adds(n) = 1"), "60");
}

/// What converts values unseen: where a statement may have values of the type, it may run.
#[test]
fn a_cast_does_what_its_function_does() {
    let world = Sharded::create("usercasts", "");
    let mut raw = world.connect();
    raw.must("CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE TYPE size AS ENUM ('small', 'large')");
    raw.must("CREATE FUNCTION rank_of(mood) RETURNS int LANGUAGE sql STABLE AS 'select count(*)::int from items'");
    raw.must("CREATE FUNCTION length_of(size) RETURNS int LANGUAGE sql IMMUTABLE AS 'select length($1::text)'");
    raw.must("CREATE CAST (size AS int) WITH FUNCTION length_of(size) AS IMPLICIT");
    raw.must("ALTER TABLE items ADD COLUMN feel mood, ADD COLUMN big size DEFAULT 'large'");
    assert_eq!(raw.value("SELECT sum(n + big) FROM items"), "300");
    raw.must("CREATE CAST (mood AS int) WITH FUNCTION rank_of(mood) AS IMPLICIT");
    for sql in
        ["SELECT max(feel + 1) FROM items", "SELECT 'sad'::mood::int, code FROM places", "UPDATE items SET n = feel"]
    {
        refused(&mut raw, sql, "rank_of");
    }
    assert_eq!(raw.value("SELECT count(*) FROM parts"), "0");
    raw.must("DROP CAST (mood AS int)");
    assert_eq!(raw.value("SELECT sum(n + big) FROM items"), "300");
    // Between types that all values can have.
    raw.must("CREATE FUNCTION number_of(boolean) RETURNS numeric LANGUAGE sql STABLE AS 'select sum(n) from items'");
    raw.must("CREATE CAST (boolean AS numeric) WITH FUNCTION number_of(boolean)");
    refused(&mut raw, "SELECT (n > 0)::numeric FROM items", "number_of");
    raw.must("DROP CAST (boolean AS numeric)");
    assert_eq!(raw.value("SELECT count(*) FROM parts"), "0");
}

#[test]
fn a_trigger_that_gives_the_key_another_value_is_refused() {
    let world = Sharded::create("keytrigger", "");
    let mut raw = world.connect();
    for (name, body) in [
        ("moves", "NEW.id := NEW.n"),
        ("asks", "SELECT 5 INTO NEW.id"),
        ("swaps", "NEW := (SELECT i FROM (VALUES (1, 2, 'x')) i (id, n, name))"),
        ("looks", "IF NEW.id = 77 THEN RAISE EXCEPTION 'no'; END IF; NEW.n := NEW.id % 7"),
    ] {
        raw.must(&format!(
            "CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body}; RETURN NEW; END $$"
        ));
    }
    let on = |raw: &mut Raw, when: &str, function: &str| {
        raw.must(&format!("CREATE TRIGGER it {when} ON items FOR EACH ROW EXECUTE FUNCTION {function}()"));
    };
    let free = world.free_ids(1000)[0];
    for function in ["moves", "asks", "swaps"] {
        on(&mut raw, "BEFORE INSERT OR UPDATE", function);
        for sql in [format!("INSERT INTO items VALUES ({free}, 1, 'x')"), "UPDATE items SET n = 3".to_owned()] {
            refused(&mut raw, &sql, function);
        }
        assert_eq!(raw.copy_in("COPY items FROM STDIN", format!("{free}\t1\tx\n").as_bytes()).code(), "0A000");
        raw.must("DROP TRIGGER it ON items");
    }
    // Behind the write it changes nothing.
    on(&mut raw, "AFTER INSERT", "moves");
    raw.must(&format!("INSERT INTO items VALUES ({free}, 1, 'x')"));
    raw.must("DROP TRIGGER it ON items");
    on(&mut raw, "BEFORE INSERT OR UPDATE", "looks");
    raw.must(&format!("UPDATE items SET n = 100 WHERE id = {free}"));
    assert_eq!(raw.value(&format!("SELECT n FROM items WHERE id = {free}")), (free % 7).to_string());
}

#[test]
fn code_that_hides_what_it_does_is_refused() {
    let world = Sharded::create("hidden", "");
    let mut raw = world.connect();
    for (sql, what) in [
        ("DO $$ BEGIN EXECUTE 'insert in' || 'to items values (5000, 1)'; END $$", "EXECUTE"),
        (
            "DO $$ DECLARE n int; BEGIN EXECUTE format('select count(*) from %I', 'it' || 'ems') INTO n; END $$",
            "EXECUTE",
        ),
        (
            "DO $$ BEGIN CREATE TYPE mood AS ENUM ('a'); EXCEPTION WHEN duplicate_object THEN NULL; END $$",
            "CREATE TYPE",
        ),
        ("DO 'BEGIN CREATE SCHEMA hidden; END'", "CREATE SCHEMA"),
        ("DO LANGUAGE 'plperl' $$ spi_exec_query('select 1') $$", "another language"),
        ("DO LANGUAGE plpython3u $$ plpy.execute('select 1') $$", "plpython3u"),
    ] {
        refused(&mut raw, sql, what);
    }
    raw.must("DO $$ BEGIN UPDATE plain SET body = 'done'; IF NOT FOUND THEN RAISE EXCEPTION 'none'; END IF; END $$");
    raw.must("DO LANGUAGE 'plpgsql' $$ BEGIN UPDATE plain SET body = 'again'; END $$");
    raw.must("CREATE EXTENSION tablefunc");
    refused(
        &mut raw,
        "SELECT * FROM crosstab('select id, name, n from items order by 1, 2') AS c (id int, a int, b int)",
        "crosstab",
    );
    assert_eq!(raw.value("SELECT count(*) FROM normal_rand(5, 1, 1)"), "5");
}

/// Code that changes settings leaves nothing on a connection that others get, however deep in what is called it is.
#[test]
fn what_code_sets_stays_with_its_client() {
    const SCHEMA: &[&str] = &[
        "CREATE TABLE items (id int PRIMARY KEY, name text)",
        "CREATE TABLE plain (id int PRIMARY KEY, body text)",
        "CREATE FUNCTION sets() RETURNS text LANGUAGE sql AS $$ SELECT set_config('work_mem', '7MB', false) $$",
        "CREATE FUNCTION outer1(x int) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RETURN sets() || x; END $$",
        "CREATE FUNCTION \"Outer 2\"() RETURNS text LANGUAGE sql AS 'SELECT outer1(1)'",
        "CREATE FUNCTION outer3() RETURNS text LANGUAGE sql BEGIN ATOMIC SELECT \"Outer 2\"(); END",
        "CREATE FUNCTION outer4(x text DEFAULT outer3()) RETURNS text LANGUAGE sql AS 'SELECT x'",
        "CREATE FUNCTION step(int, int) RETURNS int LANGUAGE sql AS 'SELECT $1 + length(sets())'",
        "CREATE AGGREGATE total(int) (sfunc = step, stype = int, initcond = '0')",
        "CREATE FUNCTION compares(text, int) RETURNS boolean LANGUAGE sql AS 'SELECT outer1($2) = $1'",
        "CREATE OPERATOR <=@ (leftarg = text, rightarg = int, function = compares)",
        "CREATE VIEW settled AS SELECT outer3() AS x",
        "CREATE PROCEDURE does() LANGUAGE plpgsql AS $$ BEGIN PERFORM outer3(); END $$",
        "CREATE FUNCTION locally() RETURNS text LANGUAGE sql AS $$ SELECT set_config('work_mem', '6MB', true) $$",
        "CREATE FUNCTION outer5() RETURNS text LANGUAGE sql AS 'SELECT locally()'",
        "CREATE FUNCTION seeds() RETURNS text LANGUAGE plpgsql AS $$ BEGIN PERFORM setseed(0.25); RETURN 'x'; END $$",
        "CREATE FUNCTION outer6() RETURNS text LANGUAGE sql AS 'SELECT seeds()'",
        "CREATE FUNCTION makes() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM outer3(); RETURN new; END $$",
        "CREATE TABLE watched (id int PRIMARY KEY)",
        "CREATE TRIGGER makes BEFORE INSERT ON watched FOR EACH ROW EXECUTE FUNCTION makes()",
        "CREATE TABLE filled (id int, t text DEFAULT outer3())",
    ];
    let safe = [
        "sets",
        "outer1",
        "\"Outer 2\"",
        "outer3",
        "outer4",
        "step",
        "total",
        "compares",
        "locally",
        "outer5",
        "seeds",
        "outer6",
        "makes",
    ];
    let world = Pair::with_safe_functions("setsdeep", &SCHEMA.join("; "), &[("items", Placed::By("id"))], &safe);
    world.fill(&[
        "INSERT INTO items VALUES (1, 'a'), (2, 'b'), (3, 'c'), (4, 'd')",
        "INSERT INTO plain VALUES (1, 'one')",
    ]);
    let connections = || -> Vec<Raw> {
        let mut all: Vec<Raw> = (0..6).map(|_| world.through()).collect();
        // Each pooled connection is met.
        all[..4].iter_mut().for_each(|raw| drop(raw.must("BEGIN; SELECT 1 FROM plain")));
        all
    };
    let mut answered = 0;
    for sql in [
        "SELECT sets()",
        "SELECT outer1(5)",
        "SELECT \"Outer 2\"()",
        "SELECT outer3()",
        "SELECT outer4()",
        "SELECT total(g) FROM generate_series(1, 3) g",
        "SELECT 'a' <=@ 1",
        "SELECT * FROM settled",
        "CALL does()",
        "DO $$ BEGIN PERFORM outer3(); END $$",
        "SELECT outer5()",
        "SELECT outer6()",
        "INSERT INTO watched VALUES (1)",
        "INSERT INTO filled (id) VALUES (1)",
        "COPY filled (id) FROM STDIN",
        "BEGIN; SELECT outer3(); COMMIT",
        "SELECT body FROM plain WHERE outer3() <> ''",
        "SELECT outer3() FROM items WHERE id = 1",
        "UPDATE items SET name = outer3() WHERE id = 2",
    ] {
        for extended in [false, true] {
            let mut first = world.through();
            let done = match (extended, sql.starts_with("COPY")) {
                (_, true) => first.copy_in(sql, b"7\n"),
                (true, _) if !sql.contains("; ") => first.extended(sql, &[], &[], 0),
                _ => first.simple(sql),
            };
            answered += usize::from(done.code().is_empty());
            assert!(["", "0A000", "23505"].contains(&done.code()), "{sql}: {}", done.text());
            if done.code().is_empty() {
                // As in Postgres it holds for the rest of the session.
                let known = if sql.contains("outer5") || sql.contains("outer6") { "4MB" } else { "7MB" };
                assert_eq!(first.value("SHOW work_mem"), known, "{sql}");
            }
            // Another client, at the same time and afterwards.
            for mut other in connections() {
                assert_eq!(other.value("SHOW work_mem"), "4MB", "beside {sql}");
            }
            drop(first);
            for mut other in connections() {
                assert_eq!(other.value("SHOW work_mem"), "4MB", "behind {sql}");
            }
        }
    }
    assert!(answered > 20, "{answered}");
}

/// Random numbers that one client has made predictable are so for nobody else, and for it they are.
#[test]
fn a_seed_is_one_clients_own() {
    let world = Sharded::create("seeds", "default_pool_size = 2");
    let mut oracle = world.db.oracle();
    oracle.must("SELECT setseed(0.5)");
    let wanted = oracle.values("SELECT random() FROM generate_series(1, 3)");
    for seed in [
        "SELECT setseed(0.5)",
        "SELECT setseed(f) FROM (SELECT 0.5::float8 AS f) x",
        "DO $$ BEGIN PERFORM setseed(0.5); END $$",
    ] {
        let mut raw = world.connect();
        raw.must(seed);
        for mut other in (0..4).map(|_| world.connect()) {
            assert_ne!(other.values("SELECT random() FROM generate_series(1, 3)"), wanted, "{seed}");
        }
        assert_eq!(raw.values("SELECT random() FROM generate_series(1, 3)"), wanted, "{seed}");
        // Where they would be others they are refused.
        for id in 1..9 {
            let found = raw.simple(&format!("SELECT random() FROM items WHERE id = {id}"));
            assert!(found.code() == "0A000" || world.ids[0].contains(&id), "{seed}: {}", found.text());
        }
        drop(raw);
        for mut other in (0..4).map(|_| world.connect()) {
            other.must("BEGIN");
            assert_ne!(other.values("SELECT random() FROM generate_series(1, 3)"), wanted, "behind {seed}");
        }
    }
    // Nothing else is refused.
    let mut raw = world.connect();
    raw.must("SELECT setseed(0.5)");
    for id in 1..9 {
        raw.must(&format!("SELECT name FROM items WHERE id = {id}"));
    }
    raw.must("SELECT count(*) FROM items");
}

/// A function of a user's with the name of one that has state takes nothing away from that one.
#[test]
fn state_is_kept_beside_functions_of_the_same_names() {
    const NAMES: [&str; 7] = ["currval", "lastval", "nextval", "setval", "pg_advisory_lock", "set_config", "setseed"];
    // Nobody knows what they do; they are known to change a setting; they do nothing.
    for (label, body, safe) in [
        ("statenames", "RETURN (SELECT count(*) FROM plain)", false),
        ("statenamess", "PERFORM set_config('work_mem', '5MB', false); RETURN 1", true),
        ("statenamesn", "RETURN 1", true),
    ] {
        let of = |name: &&str| {
            format!(
                "CREATE FUNCTION {name}(a point, b point) RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN {body}; END $$"
            )
        };
        let functions: Vec<String> = NAMES.iter().map(of).collect();
        let schema = format!(
            "CREATE TABLE items (id int PRIMARY KEY, name text); CREATE TABLE plain (id int); \
             CREATE SEQUENCE numbers START 100; {}",
            functions.join("; ")
        );
        let safe: &[&str] = if safe { &NAMES } else { &[] };
        let world = Pair::with_safe_functions(label, &schema, &[("items", Placed::By("id"))], safe);
        let mut one = world.through();
        let mut others: Vec<Raw> = (0..3).map(|_| world.through()).collect();
        let exact = |raw: &mut Raw, sql: &str, wanted: &str| {
            let found = raw.simple(sql);
            assert!(
                found.code() == "0A000" || found.text() == wanted,
                "{label}: {sql}: {}, not {wanted}",
                found.text()
            );
            found.code().is_empty()
        };
        for block in [false, true] {
            if block {
                one.must("BEGIN");
            }
            let taken = one.simple("SELECT nextval('numbers')");
            if taken.code().is_empty() {
                let taken = taken.text();
                for sql in ["SELECT currval('numbers')", "SELECT lastval()", "SELECT currval('numbers')"] {
                    others.iter_mut().for_each(|other| drop(other.simple("SELECT nextval('numbers')")));
                    exact(&mut one, sql, &taken);
                }
            }
            assert_eq!(taken.code().is_empty(), !safe.is_empty(), "{label}: {}", taken.text());
            one.simple("ROLLBACK");
        }
        let found = world.through().simple("SELECT currval('numbers')");
        assert!(["0A000", "55000"].contains(&found.code()), "{label}: {}", found.text());
        // Locks are where they were taken.
        if exact(&mut one, "SELECT pg_advisory_lock(7)", "") {
            for mut other in (0..3).map(|_| world.through()) {
                assert_eq!(other.value("SELECT pg_try_advisory_lock(7)"), "f", "{label}");
            }
            assert_eq!(one.value("SELECT pg_advisory_unlock(7)"), "t", "{label}");
        }
        // And so are settings, and seeds.
        exact(&mut one, "SELECT set_config('work_mem', '7MB', false)", "7MB");
        exact(&mut one, "SELECT setseed(0.5)", "");
        let wanted = one.values("SELECT random() FROM generate_series(1, 3)");
        drop((one, others));
        for mut other in (0..6).map(|_| world.through()) {
            assert_eq!(other.value("SHOW work_mem"), "4MB", "{label}");
            assert_ne!(other.values("SELECT random() FROM generate_series(1, 3)"), wanted, "{label}");
        }
    }
}

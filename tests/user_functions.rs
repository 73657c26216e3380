//! Functions of users with names that Postgres has as well, and code whose text does not say what it reads or writes.

#![allow(clippy::unwrap_used)]

mod support;

use pgloom::sql::functions::{FunctionClass, builtin};
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
    raw.must("CREATE FUNCTION rank_of(mood) RETURNS int LANGUAGE sql IMMUTABLE AS 'select 1'");
    raw.must("CREATE FUNCTION length_of(size) RETURNS int LANGUAGE sql IMMUTABLE AS 'select length($1::text)'");
    raw.must("CREATE CAST (size AS int) WITH FUNCTION length_of(size) AS IMPLICIT");
    raw.must("ALTER TABLE items ADD COLUMN feel mood, ADD COLUMN big size DEFAULT 'large'");
    assert_eq!(raw.value("SELECT sum(n + big) FROM items"), "300");
    raw.must("CREATE CAST (mood AS int) WITH FUNCTION rank_of(mood) AS IMPLICIT");
    raw.must(
        "CREATE OR REPLACE FUNCTION rank_of(mood) RETURNS int LANGUAGE sql STABLE AS 'select count(*)::int from items'",
    );
    refused(&mut raw, "CREATE CAST (mood AS bigint) WITH FUNCTION rank_of(mood)", "rank_of");
    for sql in
        ["SELECT max(feel + 1) FROM items", "SELECT 'sad'::mood::int, code FROM places", "UPDATE items SET n = feel"]
    {
        refused(&mut raw, sql, "rank_of");
    }
    assert_eq!(raw.value("SELECT count(*) FROM parts"), "0");
    raw.must("DROP CAST (mood AS int)");
    assert_eq!(raw.value("SELECT sum(n + big) FROM items"), "300");
    // Between types that all values can have.
    raw.must("CREATE FUNCTION number_of(boolean) RETURNS numeric LANGUAGE sql IMMUTABLE AS 'select 1.5'");
    raw.must("CREATE CAST (boolean AS numeric) WITH FUNCTION number_of(boolean)");
    raw.must("CREATE OR REPLACE FUNCTION number_of(boolean) RETURNS numeric LANGUAGE sql STABLE AS 'select sum(n) from items'");
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
    // By a default, too.
    let mut raw = world.connect();
    raw.must("ALTER TABLE parts ADD COLUMN r float8 DEFAULT random()");
    raw.must("SELECT setseed(0.5)");
    for id in 1..9 {
        let found = raw.simple(&format!("INSERT INTO parts (id) VALUES ({id})"));
        assert!(found.code() == "0A000" || world.ids[0].contains(&id), "{}", found.text());
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

/// What the router's parser does not know it looks through by its words: for what runs without being called, too.
#[test]
fn operators_and_casts_are_seen_where_nothing_is_parsed() {
    let world = Sharded::create("unparsed", "");
    let mut raw = world.connect();
    for sql in [
        "CREATE FUNCTION vcnt(int) RETURNS bigint LANGUAGE plpgsql AS 'begin return (select count(*) from items); end'",
        "CREATE FUNCTION dels(int) RETURNS int LANGUAGE plpgsql AS 'begin delete from items; return 1; end'",
        "CREATE FUNCTION adds(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'select $1 + 1'",
        "CREATE OPERATOR ##@ (function = vcnt, rightarg = int)",
        "CREATE OPERATOR ##! (function = dels, rightarg = int)",
        "CREATE OPERATOR ##+ (function = adds, rightarg = int)",
        "CREATE OPERATOR pg_temp.=%= (function = vcnt, rightarg = int)",
        "CREATE FUNCTION w() RETURNS bigint LANGUAGE sql IMMUTABLE AS 'select ##@ 1'",
        "CREATE FUNCTION w2() RETURNS bigint LANGUAGE plpgsql IMMUTABLE AS 'begin return w(); end'",
        "CREATE FUNCTION w3() RETURNS int LANGUAGE sql IMMUTABLE AS 'select ##+ 1'",
        "CREATE FUNCTION w4(int) RETURNS xml LANGUAGE sql IMMUTABLE AS $$ select query_to_xml('select count(*) from items', true, true, '') $$",
        "CREATE TABLE defaulted (a int, b bigint DEFAULT ##@ 1)",
        "CREATE VIEW opened AS SELECT ##@ 1 AS x",
    ] {
        raw.must(sql);
    }
    let rows = raw.value("SELECT count(*) FROM items");
    for (sql, what) in [
        ("SELECT ##@ 1", "vcnt"),
        ("SELECT ##! 1", "dels"),
        ("SELECT operator(public.##!) 1", "dels"),
        ("SELECT operator(pg_temp.=%=) 3", "not known to be safe"),
        ("SELECT operator(\"pg_temp\" . =%=) 3", "not known to be safe"),
        ("INSERT INTO plain (id) SELECT operator(pg_temp.=%=) id FROM plain", "not known to be safe"),
        ("CREATE TEMP VIEW seen AS SELECT operator(pg_temp.=%=) 3 AS x", "not known to be safe"),
        ("CREATE TEMP TABLE kept (a int, b int DEFAULT ##! 1)", "dels"),
        ("SELECT id FROM plain WHERE ##@ id > 3", "vcnt"),
        ("INSERT INTO plain (id) VALUES (##! 1)", "dels"),
        ("INSERT INTO defaulted VALUES (1)", "b"),
        ("SELECT * FROM opened", "vcnt"),
        ("CREATE TABLE made AS SELECT ##! 1 AS x", "dels"),
        ("CREATE MATERIALIZED VIEW made AS SELECT ##! 1 AS x", "dels"),
        ("ALTER TABLE plain ADD COLUMN z int DEFAULT ##! 1", "dels"),
        ("COPY (SELECT ##! 1) TO STDOUT", "dels"),
        ("DO $$ BEGIN PERFORM ##! 1; END $$", "dels"),
        ("DO $$ BEGIN PERFORM operator(pg_temp.=%=) 1; END $$", "not known to be safe"),
        ("PREPARE p AS SELECT ##! 1; EXECUTE p", "dels"),
        ("BEGIN; DECLARE c CURSOR FOR SELECT ##! 1; FETCH c", "dels"),
        ("SELECT w()", "w()"),
        ("SELECT w2()", "w2()"),
        ("SELECT w4(id) FROM plain", "w4()"),
    ] {
        refused(&mut raw, sql, what);
        raw.simple("ROLLBACK");
    }
    assert_eq!(raw.value("SELECT ##+ 1"), "2");
    assert_eq!(raw.value("SELECT w3()"), "2");
    assert_eq!(raw.value("SELECT count(*) FROM items"), rows);
    // The same of casts, and of domains.
    for sql in [
        "CREATE TYPE mood AS ENUM ('sad', 'ok')",
        "CREATE FUNCTION rank_of(mood) RETURNS int LANGUAGE sql IMMUTABLE AS 'select 1'",
        "CREATE CAST (mood AS int) WITH FUNCTION rank_of(mood) AS IMPLICIT",
        "CREATE OR REPLACE FUNCTION rank_of(mood) RETURNS int LANGUAGE sql IMMUTABLE AS 'select vcnt(1)::int'",
        "CREATE FUNCTION implied(mood) RETURNS int LANGUAGE sql IMMUTABLE AS 'select $1 + 1'",
        "CREATE FUNCTION fine(int) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'select true'",
        "CREATE DOMAIN few AS int CHECK (fine(value))",
        "CREATE OR REPLACE FUNCTION fine(int) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'select vcnt(1) < 3'",
    ] {
        raw.must(sql);
    }
    for (sql, what) in [
        ("SELECT ##+ 'sad'::mood::int", "rank_of"),
        ("SELECT ##+ CAST('sad'::mood AS int)", "rank_of"),
        ("SELECT implied('sad')", "implied"),
        ("DO $$ DECLARE x mood := 'sad'; y int; BEGIN y := x; END $$", "rank_of"),
        ("SELECT ##+ 1::few", "fine"),
        ("SELECT 1::few", "fine"),
        ("SELECT '{1}'::few[]", "fine"),
        ("DO $$ DECLARE x few := 1; BEGIN NULL; END $$", "fine"),
    ] {
        refused(&mut raw, sql, what);
    }
    assert_eq!(raw.value("SELECT ##+ 1"), "2");
}

/// An aggregate is what its functions do.
#[test]
fn an_aggregate_does_what_its_functions_do() {
    let world = Sharded::create("aggliars", "");
    let mut raw = world.connect();
    for sql in [
        "CREATE FUNCTION icnt(int) RETURNS bigint LANGUAGE plpgsql IMMUTABLE AS 'begin return (select count(*) from items); end'",
        "CREATE FUNCTION step(int, int) RETURNS int LANGUAGE sql IMMUTABLE AS 'select icnt($1)::int + $2'",
        "CREATE FUNCTION plus(int, int) RETURNS int LANGUAGE sql IMMUTABLE AS 'select $1 + $2'",
        "CREATE FUNCTION less(int, int) RETURNS int LANGUAGE sql IMMUTABLE AS 'select $1 - $2'",
        "CREATE AGGREGATE final(int) (sfunc = int4pl, stype = int4, initcond = '0', finalfunc = icnt)",
        "CREATE AGGREGATE steps(int) (sfunc = step, stype = int4, initcond = '0')",
        "CREATE AGGREGATE combines(int) (sfunc = int4pl, stype = int4, initcond = '0', combinefunc = step)",
        "CREATE AGGREGATE moves(int) (sfunc = int4pl, stype = int4, initcond = '0', msfunc = step, minvfunc = less, mstype = int4, minitcond = '0')",
        "CREATE AGGREGATE inverts(int) (sfunc = int4pl, stype = int4, initcond = '0', msfunc = plus, minvfunc = step, mstype = int4, minitcond = '0')",
        "CREATE AGGREGATE ends(int) (sfunc = int4pl, stype = int4, initcond = '0', msfunc = plus, minvfunc = less, mstype = int4, minitcond = '0', mfinalfunc = plus, mfinalfunc_extra)",
        "CREATE AGGREGATE good(int) (sfunc = plus, stype = int4, initcond = '0')",
    ] {
        let done = raw.simple(sql);
        assert!(done.code().is_empty() || sql.contains("ends("), "{sql}: {}", done.text());
    }
    for name in ["final", "steps", "combines", "moves", "inverts"] {
        for sql in [format!("SELECT {name}(id) FROM plain"), format!("SELECT {name}(n) FROM items")] {
            refused(&mut raw, &sql, name);
        }
    }
    assert_eq!(raw.value("SELECT good(g) FROM generate_series(1, 3) g"), "6");
    assert_eq!(raw.value("SELECT good(n) FROM items"), raw.value("SELECT sum(n) FROM items"));
}

/// A function that something temporary calls is looked at again when it has become another one.
#[test]
fn functions_that_temporary_things_call_are_looked_at_again() {
    let world = Sharded::create("tempagain", "");
    let (mut raw, mut other) = (world.connect(), world.connect());
    let safe = |name: &str| {
        format!("CREATE OR REPLACE FUNCTION {name}(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'select $1 + 1'")
    };
    let counts = |name: &str| {
        format!(
            "CREATE OR REPLACE FUNCTION {name}(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'select count(*)::int from items where n < $1'"
        )
    };
    for name in ["fills", "orders", "checks", "makes"] {
        other.must(&safe(name));
    }
    let passes = "CREATE OR REPLACE FUNCTION fires() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.a := 1; RETURN NEW; END $$";
    other.must(passes);
    raw.must("CREATE TEMP TABLE filled (a int, b int DEFAULT fills(1))");
    raw.must("CREATE TEMP TABLE ordered (a int); CREATE INDEX ON ordered (orders(a))");
    raw.must("CREATE TEMP TABLE checked (a int CHECK (checks(a) > 0))");
    raw.must("CREATE TEMP TABLE made (a int, b int GENERATED ALWAYS AS (makes(a)) STORED)");
    raw.must("CREATE TEMP TABLE free (a int)");
    let tables = ["filled", "ordered", "checked", "made"];
    for (table, name) in tables.iter().zip(["fills", "orders", "checks", "makes"]) {
        raw.must(&format!("INSERT INTO {table} (a) VALUES (1)"));
        let parse =
            raw.extended(&format!("INSERT INTO {table} (a) VALUES ($1)"), &[23], &[support::raw::Value::text("2")], 0);
        assert_eq!(parse.code(), "", "{}", parse.text());
        raw.must(&format!("PREPARE {name} (int) AS INSERT INTO {table} (a) VALUES ($1)"));
        other.must(&counts(name));
        for sql in [
            format!("INSERT INTO {table} (a) VALUES (1)"),
            format!("INSERT INTO pg_temp.{table} (a) SELECT 1"),
            format!("INSERT INTO {table} (a) SELECT id FROM items"),
            format!("WITH x AS (INSERT INTO {table} (a) VALUES (3) RETURNING a) SELECT * FROM x"),
            format!("EXECUTE {name}(4)"),
        ] {
            refused(&mut raw, &sql, name);
        }
        let again =
            raw.extended(&format!("INSERT INTO {table} (a) VALUES ($1)"), &[23], &[support::raw::Value::text("2")], 0);
        assert_eq!(again.code(), "0A000", "{table}");
        assert_eq!(raw.copy_in(&format!("COPY {table} (a) FROM STDIN"), b"1\n").code(), "0A000", "{table}");
        raw.must("INSERT INTO free VALUES (1)");
        assert_eq!(raw.value(&format!("SELECT count(*) FROM {table}")), "2", "{table}");
        // What is safe again is used again.
        other.must(&safe(name));
        raw.must(&format!("INSERT INTO {table} (a) VALUES (1)"));
        other.must(&counts(name));
        refused(&mut raw, &format!("UPDATE {table} SET a = 5"), name);
        raw.must(&format!("DROP TABLE {table}"));
        raw.must(&format!("DEALLOCATE {name}"));
    }
}

/// What is temporary is in no catalog: its code is looked at when it is made.
#[test]
fn indexes_and_policies_of_temporary_tables_call_nothing_unsafe() {
    let world = Sharded::create("tempcode", "");
    let mut raw = world.connect();
    for sql in [
        "CREATE FUNCTION cnt() RETURNS bigint LANGUAGE plpgsql AS 'begin return (select count(*) from items); end'",
        "CREATE FUNCTION icnt(int) RETURNS bigint LANGUAGE plpgsql IMMUTABLE AS 'begin return cnt() + $1; end'",
        "CREATE FUNCTION vw(x int) RETURNS int LANGUAGE plpgsql AS 'begin update items set n = n + 1; return x; end'",
        "CREATE FUNCTION iw(x int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'begin perform vw(x); return x; end'",
        "CREATE FUNCTION twice(x int) RETURNS int LANGUAGE sql IMMUTABLE AS 'select x * 2'",
        "CREATE TEMP TABLE mine (a int, b int)",
        "CREATE TEMP TABLE IF NOT EXISTS plain2 (a int)",
    ] {
        raw.must(sql);
    }
    for (sql, what) in [
        ("CREATE INDEX ON mine (iw(a))", "iw"),
        ("CREATE UNIQUE INDEX ON mine (icnt(a))", "icnt"),
        ("CREATE INDEX over ON mine USING btree (a) WHERE icnt(a) > 3", "icnt"),
        ("CREATE INDEX ON pg_temp.mine (iw(a))", "iw"),
        ("CREATE INDEX ON ONLY mine (iw(a))", "iw"),
        ("CREATE POLICY p ON mine USING (cnt() > 15)", "cnt"),
        ("CREATE POLICY p ON mine FOR INSERT WITH CHECK (cnt() > 15)", "cnt"),
    ] {
        refused(&mut raw, sql, what);
    }
    raw.must("CREATE INDEX ON mine (twice(a), lower(b::text))");
    raw.must("CREATE INDEX ON pg_temp.mine (b)");
    raw.must("CREATE POLICY p ON mine USING (a > 1)");
    refused(&mut raw, "ALTER POLICY p ON mine USING (cnt() > 15)", "cnt");
    raw.must("INSERT INTO mine VALUES (1, 1), (2, 2)");
    assert_eq!(raw.value("SELECT count(*) FROM mine"), "2");
    assert_eq!(raw.value("SELECT sum(n) FROM items"), "0");
    // Of others it is looked at where it is written.
    world.connect().must("CREATE INDEX ON items (twice(n))");
}

/// What an operator, a cast, a domain or a text that is run sets stays with its client, whether anything is distributed or not.
#[test]
fn what_uncalled_code_sets_stays_with_its_client() {
    const SCHEMA: &[&str] = &[
        "CREATE TABLE items (id int PRIMARY KEY, name text)",
        "CREATE TABLE plain (id int PRIMARY KEY, body text)",
        "CREATE FUNCTION s1f() RETURNS text LANGUAGE sql AS $$ select set_config('work_mem', '77MB', false) $$",
        "CREATE FUNCTION s4f(int) RETURNS bool LANGUAGE plpgsql IMMUTABLE AS $$ begin perform s1f(); return true; end $$",
        "CREATE OPERATOR =! (function = s4f, rightarg = int)",
        "CREATE DOMAIN dset AS int CHECK (s4f(value))",
        "CREATE DOMAIN dop AS int CHECK (=! value)",
        "CREATE DOMAIN dconfig AS int CHECK (set_config('work_mem', '77MB', false) IS NOT NULL)",
        "CREATE DOMAIN dabove AS dconfig",
        "CREATE TYPE mood AS ENUM ('sad', 'ok')",
        "CREATE FUNCTION code_of(mood) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ begin perform s1f(); return 1; end $$",
        "CREATE CAST (mood AS int) WITH FUNCTION code_of(mood)",
        "CREATE FUNCTION byop() RETURNS bool LANGUAGE sql IMMUTABLE AS 'select =! 1'",
        "CREATE FUNCTION bydomain(x dset) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'begin return 1; end'",
        "CREATE FUNCTION bycast(m mood) RETURNS int LANGUAGE sql IMMUTABLE AS 'select m::int'",
        "CREATE TABLE moody (id int, m mood)",
        "INSERT INTO moody VALUES (1, 'ok')",
    ];
    for (label, placed) in [("setsalone", &[][..]), ("setsbeside", &[("items", Placed::By("id"))][..])] {
        let world = Pair::create(label, &SCHEMA.join("; "), placed, "");
        let clean = |why: &str| {
            for mut other in (0..6).map(|_| world.through()) {
                assert_eq!(other.value("SHOW work_mem"), "4MB", "{why}");
                other.must("BEGIN");
                assert_eq!(other.value("SHOW work_mem"), "4MB", "{why}");
            }
        };
        let mut answered = 0;
        for sql in [
            "SELECT =! 1",
            "SELECT 1::dset",
            "SELECT CAST(1 AS dset)",
            "SELECT '{1}'::dset[]",
            "SELECT 1::dop",
            "SELECT 1::dconfig",
            "SELECT '1'::dabove",
            "SELECT '{1}'::dconfig[]",
            "DO $$ DECLARE x dabove := 1; BEGIN NULL; END $$",
            "SELECT 'sad'::mood::int",
            "SELECT m::int FROM moody",
            "SELECT byop()",
            "SELECT bydomain(1)",
            "SELECT bycast('ok')",
            "SELECT query_to_xml('select s1f()', true, true, '')",
            "DO $$ BEGIN PERFORM =! 1; END $$",
            "DO $$ DECLARE x dset := 1; BEGIN NULL; END $$",
            "DO $$ DECLARE x int; BEGIN SELECT m::int INTO x FROM moody; END $$",
            "COPY (SELECT =! 1) TO STDOUT",
            "CREATE TABLE made AS SELECT 1::dset AS x",
        ] {
            let mut first = world.through();
            let done = first.simple(sql);
            assert!(["", "0A000"].contains(&done.code()), "{label}: {sql}: {}", done.text());
            if done.code().is_empty() {
                answered += 1;
                assert_eq!(first.value("SHOW work_mem"), "77MB", "{label}: {sql}");
            }
            clean(&format!("{label}: beside {sql}"));
            drop(first);
            clean(&format!("{label}: behind {sql}"));
        }
        assert!(answered > 10 || !placed.is_empty(), "{label}: {answered}");
    }
}

/// What Postgres calls immutable the router knows, but for what can have numbers of one server's catalog in its answer.
#[test]
fn functions_of_postgres_that_never_vary_are_known() {
    let world = Pair::create(
        "immutables",
        "CREATE TABLE items (id int PRIMARY KEY, name text, n int)",
        &[("items", Placed::By("id"))],
        "",
    );
    let mut oracle = world.db.oracle();
    let names = oracle.values(
        "SELECT DISTINCT proname FROM pg_proc p WHERE pronamespace = 'pg_catalog'::regnamespace AND prokind = 'f' AND NOT proretset \
           AND NOT EXISTS (SELECT FROM pg_proc o WHERE o.proname = p.proname AND (o.provolatile <> 'i' OR o.proretset \
             OR (o.prorettype || o.proargtypes::oid[]) && (ARRAY(SELECT oid FROM pg_type WHERE typname LIKE 'reg%') \
               || ARRAY['internal', 'cstring', 'trigger', 'event_trigger', 'language_handler', 'void', 'aclitem', 'aclitem[]', '\"any\"']::regtype[]::oid[]))) ORDER BY 1",
    );
    assert!(names.len() > 1000, "{}", names.len());
    let exceptions = [
        "hash_",
        "hashenum",
        "record_image_",
        "btrecordimagecmp",
        "reg",
        "satisfies_hash_partition",
        "postgresql_fdw_validator",
        "xmlvalidate",
    ];
    let unknown: Vec<&String> = names
        .iter()
        .filter(|name| builtin(name) == FunctionClass::Unknown && !exceptions.iter().any(|of| name.starts_with(of)))
        .collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    for name in exceptions {
        assert_eq!(builtin(name), FunctionClass::Unknown, "{name}");
    }
    let rows: Vec<String> = (1..=20).map(|id| format!("({id}, 'name {}', {})", id % 3, id % 5)).collect();
    world.fill(&[&format!("INSERT INTO items VALUES {}", rows.join(", "))]);
    let mut raw = world.through();
    for sql in [
        "SELECT int4send(n), textsend(name), hashtext(name), hashint4(n) FROM items WHERE id = 3",
        "SELECT id, int4send(n), uuid_send(md5(name)::uuid), numeric_send(n::numeric) FROM items ORDER BY id",
        "SELECT hashtext(name) % 4, count(*) FROM items GROUP BY 1 ORDER BY 1",
        "SELECT id FROM items WHERE texteq(name, 'name 1') AND int4gt(n, 2) ORDER BY id",
        "SELECT count(*), max(int4larger(id, n)) FROM items WHERE jsonb_contains(to_jsonb(name), to_jsonb('name 2'::text))",
        "SELECT id, rank() OVER (ORDER BY text_larger(name, 'name 1'), id) FROM items ORDER BY id",
        "UPDATE items SET n = int4pl(n, 1) WHERE int4mod(id, 2) = 0",
        "SELECT sum(n) FROM items",
    ] {
        assert_eq!(raw.must(sql).answers, oracle.must(sql).answers, "{sql}");
    }
}

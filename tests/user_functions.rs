//! Functions of users with names that Postgres has as well, and code whose text does not say what it reads or writes.

#![allow(clippy::unwrap_used)]

mod support;

use support::Sharded;
use support::raw::Raw;

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

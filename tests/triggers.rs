//! Code of users that runs where a row is written sees the tables of one shard: what names those of several is refused.

#![allow(clippy::unwrap_used)]

mod support;

use support::raw::Raw;
use support::sharded::config;
use support::{Router, Sharded};

fn refused(raw: &mut Raw, sql: &str, function: &str) {
    let error = raw.simple(sql).error.unwrap_or_else(|| panic!("{sql} is done"));
    assert_eq!(error.code(), "0A000", "{sql}: {error}");
    assert!(error.to_string().contains(function), "{sql}: {error}");
}

#[test]
fn triggers_that_name_tables_of_several_shards_are_refused() {
    let world = Sharded::create("triggers", "");
    let mut raw = world.connect();
    for (name, body) in [
        ("counts", "UPDATE items SET n = n + 1; RETURN NEW"),
        ("looks", "IF EXISTS (SELECT FROM Items i WHERE i.id = NEW.id) THEN RETURN NULL; END IF; RETURN NEW"),
        ("titles", "NEW.label := (SELECT title FROM places WHERE code = NEW.label); RETURN NEW"),
        ("\"Adds\"", "INSERT INTO public.places VALUES (NEW.label, NEW.label); RETURN NEW"),
        ("shouts", "NEW.body := upper(NEW.body); RETURN NEW"),
    ] {
        raw.must(&format!("CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body}; END $$"));
    }
    let on = |raw: &mut Raw, table: &str, function: &str| {
        raw.must(&format!(
            "CREATE TRIGGER it BEFORE INSERT OR UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION {function}()"
        ));
    };
    let off = |raw: &mut Raw, table: &str| drop(raw.must(&format!("DROP TRIGGER it ON {table}")));
    // A table of the home shard alone.
    on(&mut raw, "plain", "shouts");
    raw.must("INSERT INTO plain VALUES (2, 'two')");
    assert_eq!(raw.value("SELECT body FROM plain WHERE id = 2"), "TWO");
    off(&mut raw, "plain");
    on(&mut raw, "plain", "counts");
    for sql in [
        "INSERT INTO plain VALUES (3, 'three')",
        "UPDATE plain SET body = 'x'",
        "INSERT INTO plain SELECT id + 100, name FROM items",
        "WITH i AS (INSERT INTO plain VALUES (3, 'three') RETURNING id) SELECT id FROM i",
        "MERGE INTO plain p USING (VALUES (1)) v (id) ON p.id = v.id WHEN MATCHED THEN UPDATE SET body = 'x'",
    ] {
        refused(&mut raw, sql, "counts");
    }
    let copied = raw.copy_in("COPY plain FROM STDIN", b"3\tthree\n");
    assert_eq!(copied.code(), "0A000");
    assert_eq!(raw.value("SELECT count(*) FROM plain"), "2");
    raw.must("ALTER TABLE plain DISABLE TRIGGER it");
    raw.must("INSERT INTO plain VALUES (3, 'three')");
    off(&mut raw, "plain");
    // Sharded ones: what a reference table says is the same everywhere.
    raw.must("ALTER TABLE parts DROP CONSTRAINT parts_id_fkey");
    on(&mut raw, "parts", "titles");
    raw.must("INSERT INTO parts VALUES (1, 'a'), (2, 'a'), (3, 'a')");
    assert_eq!(raw.value("SELECT count(*) FROM parts WHERE label = 'A'"), "3");
    off(&mut raw, "parts");
    for function in ["\"Adds\"", "looks"] {
        on(&mut raw, "parts", function);
        let named = function.trim_matches('"');
        refused(&mut raw, "INSERT INTO parts VALUES (5, 'a')", named);
        refused(&mut raw, "UPDATE parts SET label = 'b' WHERE id = 1", named);
        off(&mut raw, "parts");
    }
    // Code by itself, in whatever case and spelling.
    raw.must("CREATE PROCEDURE \"Empty All\"() LANGUAGE sql AS 'DELETE FROM items'");
    for sql in ["CALL \"Empty All\"()", "DO 'BEGIN CALL \"Empty All\" /* now */ (); END'"] {
        refused(&mut raw, sql, "Empty All");
    }
    // The configuration knows better.
    on(&mut raw, "parts", "looks");
    let text = config(&world.db.name, &world.db.ports(), "", "");
    let section = format!("[databases.{}]\n", world.db.name);
    let router = Router::start(&text.replace(&section, &format!("{section}safe_functions = [\"looks\"]\n")));
    let mut declared = router.connect(&world.db.name);
    declared.must("INSERT INTO parts VALUES (7, 'seven'), (8000, 'other')");
    assert_eq!(declared.values("SELECT id FROM parts WHERE id > 3"), ["8000"]);
}

/// A world with `parts` free of its foreign key, a table with a serial column on the home shard (and, past the router, on the others), and a
/// function that counts a sharded table.
fn world(label: &str) -> (Sharded, Raw) {
    let world = Sharded::create(label, "");
    let mut raw = world.connect();
    raw.must("ALTER TABLE parts DROP CONSTRAINT parts_id_fkey");
    raw.must("CREATE TABLE log (id serial PRIMARY KEY, body text)");
    for shard in 1..support::SHARDS {
        world.db.shard(shard).must("CREATE TABLE IF NOT EXISTS log (id serial PRIMARY KEY, body text)");
    }
    raw.must(
        "CREATE FUNCTION total() RETURNS bigint LANGUAGE sql STABLE SECURITY DEFINER AS 'SELECT count(*) FROM items'",
    );
    raw.must("CREATE VIEW all_items AS SELECT id FROM items");
    (world, raw)
}

fn function(raw: &mut Raw, name: &str, body: &str) {
    raw.must(&format!(
        "CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body}; RETURN NEW; END $$"
    ));
}

fn on(raw: &mut Raw, table: &str, function: &str) {
    raw.must(&format!("CREATE TRIGGER it BEFORE INSERT OR UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION {function}"));
}

fn off(raw: &mut Raw, table: &str) {
    raw.must(&format!("DROP TRIGGER it ON {table}"));
}

#[test]
fn what_a_trigger_reaches_is_seen() {
    let (world, mut raw) = world("triggers_reach");
    for (name, body) in [
        ("by_helper", "NEW.label := total()"),
        ("by_view", "NEW.label := (SELECT count(*) FROM all_items)"),
        ("by_text", "EXECUTE 'SELECT count(*) FROM it'||'ems' INTO NEW.label"),
        ("by_argument", "EXECUTE format('SELECT count(*) FROM %I', TG_ARGV[0]) INTO NEW.label"),
        ("of_itself", "NEW.label := (SELECT count(*) FROM parts)"),
        ("to_home", "INSERT INTO log (body) VALUES (NEW.label)"),
        ("from_home", "NEW.label := (SELECT body FROM plain WHERE id = 1)"),
        ("takes", "NEW.label := nextval('log_id_seq')"),
        ("tells", "PERFORM pg_notify('parts', NEW.label)"),
        ("notes", "NOTIFY parts"),
        ("sets", "SET LOCAL work_mem = '1MB'"),
        ("makes", "CREATE TEMP TABLE made (id int)"),
        ("locks", "PERFORM pg_advisory_xact_lock(NEW.id)"),
    ] {
        function(&mut raw, name, body);
        on(&mut raw, "parts", &format!("{name}('items')"));
        for sql in
            ["INSERT INTO parts VALUES (1, 'a'), (2, 'b'), (3, 'c')", "UPDATE parts SET label = 'b' WHERE id = 1"]
        {
            refused(&mut raw, sql, name);
        }
        off(&mut raw, "parts");
    }
    // What is done to its row alone is the same on every shard.
    raw.must("CREATE FUNCTION twice(t text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT t || t'");
    function(
        &mut raw,
        "plainly",
        "IF TG_OP = 'INSERT' AND pg_trigger_depth() < 5 THEN NEW.label := twice(NEW.label) || COALESCE(current_setting('a.b', true), ''); \
         END IF; PERFORM now(), random(); IF NEW.id < 0 THEN RAISE EXCEPTION 'items'; END IF",
    );
    on(&mut raw, "parts", "plainly()");
    raw.must("INSERT INTO parts VALUES (1, 'a'), (2, 'b'), (3, 'c'), (4, 'd'), (5, 'e'), (6, 'f')");
    assert_eq!(raw.value("SELECT string_agg(label, '' ORDER BY id) FROM parts"), "aabbccddeeff");
    off(&mut raw, "parts");
    // The condition of a trigger, and a function that the trigger function only calls in a default of its own.
    raw.must("CREATE TRIGGER it BEFORE INSERT ON parts FOR EACH ROW WHEN (total() > 3) EXECUTE FUNCTION plainly()");
    refused(&mut raw, "INSERT INTO parts VALUES (7, 'a')", "total()");
    off(&mut raw, "parts");
    raw.must("CREATE FUNCTION given(n bigint DEFAULT total()) RETURNS bigint LANGUAGE sql RETURN n");
    function(&mut raw, "by_default", "NEW.label := given()");
    on(&mut raw, "parts", "by_default()");
    refused(&mut raw, "INSERT INTO parts VALUES (7, 'a')", "total()");
    off(&mut raw, "parts");
    // A foreign key carries the change to a table with such code.
    raw.must("ALTER TABLE parts ADD FOREIGN KEY (id) REFERENCES items ON DELETE CASCADE");
    raw.must("CREATE TRIGGER it BEFORE DELETE ON parts FOR EACH ROW EXECUTE FUNCTION by_helper()");
    refused(&mut raw, "DELETE FROM items WHERE id = 1", "by_helper");
    off(&mut raw, "parts");
    raw.must("DELETE FROM items WHERE id = 1");
    assert_eq!(raw.value("SELECT count(*) FROM parts WHERE id = 1"), "0");
    drop(world);
}

#[test]
fn tables_of_the_home_shard_set_off_what_is_whole_there() {
    let (world, mut raw) = world("triggers_home");
    function(
        &mut raw,
        "whole",
        "INSERT INTO log (body) SELECT title FROM places; NEW.body := nextval('log_id_seq'); PERFORM pg_notify('log', NEW.body)",
    );
    on(&mut raw, "plain", "whole()");
    raw.must("INSERT INTO plain VALUES (2, 'x')");
    assert_eq!(raw.values("SELECT body FROM log"), ["A"]);
    assert_eq!(raw.value("SELECT body FROM plain WHERE id = 2"), "2");
    off(&mut raw, "plain");
    for (name, body) in [
        ("by_helper", "NEW.body := total()"),
        ("by_text", "EXECUTE 'SELECT count(*) FROM it'||'ems' INTO NEW.body"),
        ("by_xml", "NEW.body := query_to_xml('TABLE items', true, false, '')"),
        ("copies", "UPDATE places SET title = 'B'"),
    ] {
        function(&mut raw, name, body);
        on(&mut raw, "plain", &format!("{name}()"));
        refused(&mut raw, "INSERT INTO plain VALUES (3, 'x')", name);
        // Also where another table's trigger writes it.
        function(&mut raw, "further", "INSERT INTO plain VALUES (4, 'x')");
        on(&mut raw, "log", "further()");
        refused(&mut raw, "INSERT INTO log (body) VALUES ('x')", "further");
        off(&mut raw, "log");
        off(&mut raw, "plain");
    }
    drop(world);
}

#[test]
fn the_copies_of_a_reference_table_stay_alike() {
    let (world, mut raw) = world("triggers_copies");
    raw.must("CREATE FUNCTION moment() RETURNS text LANGUAGE sql VOLATILE AS 'SELECT clock_timestamp()::text'");
    for (name, body) in [
        ("stamps", "NEW.title := now()"),
        ("stamps_too", "NEW.title := CURRENT_TIMESTAMP"),
        ("stamps_by_text", "NEW.title := 'now'::timestamptz"),
        ("rolls", "NEW.title := random()"),
        ("by_helper", "NEW.title := moment()"),
        ("numbers", "NEW.title := nextval('log_id_seq')"),
        ("ids", "NEW.title := pgloom.unique_id()"),
        ("where_it_is", "NEW.title := pg_backend_pid()"),
        ("by_home", "NEW.title := (SELECT body FROM plain)"),
        ("tells", "PERFORM pg_notify('places', NEW.title)"),
    ] {
        function(&mut raw, name, body);
        on(&mut raw, "places", &format!("{name}()"));
        for sql in ["INSERT INTO places VALUES ('b', 'B')", "UPDATE places SET title = 'b' WHERE code = 'a'"] {
            refused(&mut raw, sql, name);
        }
        assert_eq!(raw.copy_in("COPY places FROM STDIN", b"b\tB\n").code(), "0A000", "{name}");
        off(&mut raw, "places");
    }
    function(&mut raw, "same", "NEW.title := upper(NEW.title) || current_user || (SELECT count(*) FROM places)");
    on(&mut raw, "places", "same()");
    raw.must("INSERT INTO places VALUES ('b', 'b')");
    assert_eq!(world.on_each("SELECT title FROM places WHERE code = 'b'"), ["Bpostgres1"; support::SHARDS]);
    off(&mut raw, "places");
}

#[test]
fn defaults_and_checks_run_on_the_shard_of_the_row() {
    let (_world, mut raw) = world("triggers_checks");
    raw.must("CREATE FUNCTION number() RETURNS bigint LANGUAGE sql AS $$ SELECT nextval('log_id_seq') $$");
    for function in ["total", "number"] {
        raw.must(&format!("ALTER TABLE parts ALTER label SET DEFAULT {function}()"));
        for sql in [
            "INSERT INTO parts (id) VALUES (1), (2)",
            "INSERT INTO parts VALUES (1, DEFAULT)",
            "INSERT INTO parts (id) SELECT id FROM items",
            "UPDATE parts SET label = DEFAULT",
            "MERGE INTO parts p USING items i ON p.id = i.id WHEN NOT MATCHED THEN INSERT (id) VALUES (i.id)",
        ] {
            refused(&mut raw, sql, &format!("{function}()"));
        }
        assert_eq!(raw.copy_in("COPY parts (id) FROM STDIN", b"1\n").code(), "0A000");
        raw.must("INSERT INTO parts VALUES (1, 'given'); DELETE FROM parts");
    }
    raw.must("ALTER TABLE parts ALTER label DROP DEFAULT");
    raw.must("CREATE FUNCTION fixed() RETURNS bigint LANGUAGE sql IMMUTABLE AS 'SELECT count(*) FROM items'");
    raw.must("CREATE DOMAIN few AS int CHECK (VALUE < total())");
    raw.must("CREATE DOMAIN numbered AS bigint DEFAULT nextval('log_id_seq')");
    for (makes, undoes, insert, named) in [
        (
            "ALTER TABLE parts ADD CONSTRAINT enough CHECK (total() > 3)",
            "ALTER TABLE parts DROP CONSTRAINT enough",
            "INSERT INTO parts VALUES (1, 'a')",
            "enough",
        ),
        (
            "ALTER TABLE parts ADD COLUMN few few[]",
            "ALTER TABLE parts DROP COLUMN few",
            "INSERT INTO parts VALUES (1, 'a', '{1}')",
            "few",
        ),
        (
            "ALTER TABLE parts ADD COLUMN numbered numbered",
            "ALTER TABLE parts DROP COLUMN numbered",
            "INSERT INTO parts (id) VALUES (1)",
            "numbered",
        ),
        (
            "CREATE INDEX by_count ON parts ((id + fixed()))",
            "DROP INDEX by_count",
            "INSERT INTO parts VALUES (1, 'a')",
            "by_count",
        ),
    ] {
        if raw.simple(makes).error.is_some_and(|error| error.code() == "0A000") {
            continue;
        }
        refused(&mut raw, insert, named);
        raw.must(undoes);
    }
    raw.must("INSERT INTO parts VALUES (1, 'a'), (2, 'b')");
}

#[test]
fn policies_see_the_rows_of_one_shard() {
    let (world, mut raw) = world("triggers_policies");
    let role = format!("{}_reader", world.db.name);
    let on_shards = |sql: &str| (0..support::SHARDS).for_each(|shard| drop(world.db.shard(shard).must(sql)));
    on_shards(&format!("CREATE ROLE {role}; GRANT ALL ON items, parts, places, plain TO {role}"));
    raw.must("INSERT INTO parts SELECT id, name FROM items");
    for table in ["parts", "places", "plain"] {
        raw.must(&format!("ALTER TABLE {table} ENABLE ROW LEVEL SECURITY"));
    }
    let policies = ["(SELECT count(*) FROM items) = 60", "total() = 60", "EXISTS (SELECT FROM all_items)"];
    for (table, insert) in [
        ("parts", "INSERT INTO parts VALUES (100, 'x')"),
        ("places", "INSERT INTO places VALUES ('x', 'x')"),
        ("plain", "INSERT INTO plain VALUES (9, 'x')"),
    ] {
        for policy in policies {
            raw.must(&format!("CREATE POLICY seen ON {table} USING ({policy})"));
            raw.must(&format!("SET ROLE {role}"));
            for sql in [
                &format!("SELECT count(*) FROM {table}"),
                &format!("SELECT * FROM {table} WHERE {} IS NULL", if table == "places" { "code" } else { "id" }),
                &format!("SELECT count(*) FROM items i WHERE EXISTS (SELECT FROM {table})"),
                &format!("DELETE FROM {table}"),
                &format!("WITH x AS (SELECT * FROM {table}) SELECT count(*) FROM x"),
                &format!("COPY {table} TO STDOUT"),
                insert,
            ] {
                refused(&mut raw, sql, "policy \"seen\"");
            }
            raw.must("RESET ROLE");
            raw.must(&format!("DROP POLICY seen ON {table}"));
        }
        // What is asked only of new rows does not stand in the way of those who read.
        raw.must(&format!("CREATE POLICY seen ON {table} FOR INSERT WITH CHECK (total() = 60)"));
        raw.must(&format!("SELECT count(*) FROM {table}"));
        refused(&mut raw, insert, "policy \"seen\"");
        raw.must(&format!("DROP POLICY seen ON {table}"));
    }
    raw.must("CREATE POLICY seen ON parts USING (EXISTS (SELECT FROM plain p WHERE p.id = parts.id))");
    refused(&mut raw, "SELECT count(*) FROM parts", "plain");
    raw.must("DROP POLICY seen ON parts");
    // By the row itself, settings and reference tables they are the same everywhere.
    raw.must(
        "CREATE POLICY own ON parts USING (id <= current_setting('app.most')::int AND current_user <> 'nobody' \
         AND EXISTS (SELECT FROM places WHERE code = 'a'))",
    );
    raw.must("CREATE POLICY all_places ON places USING (true)");
    raw.must(&format!("SET ROLE {role}; SET app.most = 20"));
    assert_eq!(raw.value("SELECT count(*) FROM parts"), "20");
    assert_eq!(raw.value("SELECT count(*) FROM items i JOIN parts p ON p.id = i.id + 1"), "19");
    raw.must("BEGIN; SET LOCAL app.most = 10");
    assert_eq!(raw.value("SELECT count(*) FROM parts"), "10");
    raw.must("COMMIT");
    raw.must("UPDATE parts SET label = 'mine'; RESET ROLE; RESET app.most");
    assert_eq!(raw.value("SELECT count(*) FROM parts WHERE label = 'mine'"), "20");
    raw.must("DROP POLICY own ON parts");
    on_shards(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
}

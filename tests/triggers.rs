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

//! What Postgres's own regression SQL, run over shards beside one Postgres, was found to tell apart. Each script runs on both, message by
//! message.

#![allow(clippy::unwrap_used)]

mod support;

use support::raw::{Raw, message as m};
use support::script::{Pair, Placed, Step::Ready, batch, play, queries};

const SCHEMA: &str = "CREATE TABLE items (id int PRIMARY KEY, n int); \
     CREATE INDEX items_n ON items (n); \
     CREATE FUNCTION loud() RETURNS trigger LANGUAGE plpgsql AS \
     $$ BEGIN RAISE WARNING 'row %', NEW.id; RETURN NEW; END $$";

fn world(label: &str) -> Pair {
    let world = Pair::create(label, SCHEMA, &[("items", Placed::By("id"))], "");
    let rows: Vec<String> = (1..=40).map(|id| format!("({id}, {})", id % 5)).collect();
    // Through the router: on the home shard alone.
    let plain = "CREATE TABLE plain (id int PRIMARY KEY, n int)";
    world.fill(&[plain, &format!("INSERT INTO items VALUES {}", rows.join(", "))]);
    world
}

#[test]
fn modes_that_came_by_and_chain_are_not_undone_by_an_error() {
    let world = world("regrchain");
    for end in ["ROLLBACK AND CHAIN", "COMMIT AND CHAIN"] {
        for before in ["BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY", "BEGIN", "BEGIN READ ONLY DEFERRABLE"] {
            for within in ["SELECT 1", "SET TRANSACTION READ WRITE", "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"]
            {
                world.same(
                    &format!("{before}; {within}; {end}"),
                    &queries(&[
                        before,
                        "COMMIT AND CHAIN",
                        within,
                        "SELECT 1/0",
                        end,
                        "SHOW transaction_isolation",
                        "SHOW transaction_read_only",
                        "SHOW transaction_deferrable",
                        "INSERT INTO items VALUES (100, 1)",
                        "ROLLBACK",
                    ]),
                );
            }
        }
    }
}

#[test]
fn what_a_conflict_in_a_temporary_table_asks_is_asked_of_all_rows() {
    let world = world("regrconflict");
    for sql in [
        "INSERT INTO mine VALUES (1, 5) ON CONFLICT (id) DO UPDATE SET n = (SELECT count(*) FROM items)",
        "INSERT INTO mine VALUES (1, 5) ON CONFLICT (id) DO UPDATE SET n = 7 WHERE (SELECT count(*) FROM items) = 40",
        "INSERT INTO mine SELECT 1, 5 ON CONFLICT (id) DO UPDATE SET (n) = (SELECT max(n) FROM items)",
    ] {
        let mut ours = world.through();
        ours.must("CREATE TEMP TABLE mine (id int PRIMARY KEY, n int)");
        ours.must("INSERT INTO mine VALUES (1, 0)");
        let refused = ours.simple(sql);
        assert_eq!(refused.code(), "0A000", "{sql}");
        assert_eq!(ours.values("SELECT n FROM mine"), ["0"], "{sql}");
    }
    world.same(
        "without a question",
        &queries(&[
            "CREATE TEMP TABLE mine (id int PRIMARY KEY, n int)",
            "INSERT INTO mine SELECT id, n FROM items",
            "INSERT INTO mine SELECT id, n FROM items ON CONFLICT (id) DO UPDATE SET n = mine.n + 10",
            "SELECT count(*), sum(n) FROM mine",
        ]),
    );
}

#[test]
fn indexes_of_temporary_tables_go_before_those_of_others() {
    let world = world("regrindex");
    let temporary =
        ["CREATE TEMP TABLE mine (n int)", "CREATE INDEX items_n ON mine (n)", "CREATE INDEX mine_n ON mine (n)"];
    for sql in [
        "DROP INDEX items_n",
        "DROP INDEX IF EXISTS items_n",
        "DROP INDEX items_n, mine_n",
        "DROP INDEX pg_temp.items_n",
        "DROP INDEX CONCURRENTLY mine_n",
        "ALTER INDEX mine_n RENAME TO mine_m",
        "REINDEX INDEX mine_n",
        "COMMENT ON INDEX items_n IS 'mine'",
    ] {
        let of_items = "SELECT indexname FROM pg_indexes WHERE tablename = 'items' ORDER BY 1";
        let of_mine = "SELECT indexname FROM pg_indexes WHERE tablename = 'mine' ORDER BY 1";
        let mut script = temporary.to_vec();
        script.extend([sql, of_items, of_mine]);
        world.same(sql, &queries(&script));
        for shard in 0..4 {
            let found = world.db.shard(shard).values(of_items);
            assert_eq!(found, ["items_n", "items_pkey"], "{sql}: shard {shard}");
        }
    }
    // Both at once: each where it is.
    let mut script = temporary.to_vec();
    script.extend([
        "DROP INDEX items_n",
        "DROP INDEX mine_n, items_n",
        "SELECT count(*) FROM pg_indexes WHERE tablename IN ('items', 'mine')",
    ]);
    world.same("both", &queries(&script));
    for shard in 0..4 {
        assert_eq!(
            world.db.shard(shard).values("SELECT indexname FROM pg_indexes WHERE tablename = 'items'"),
            ["items_pkey"]
        );
    }
}

#[test]
fn deferred_triggers_are_heard() {
    let world = world("regrnotices");
    world.fill(&[
        "CREATE CONSTRAINT TRIGGER late AFTER INSERT ON plain DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION loud()",
        "CREATE CONSTRAINT TRIGGER late AFTER INSERT ON items DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION loud()",
    ]);
    for table in ["plain", "items"] {
        for end in ["COMMIT", "COMMIT AND CHAIN", "SET CONSTRAINTS ALL IMMEDIATE"] {
            let insert = format!("INSERT INTO {table} VALUES (1000, 1)");
            let delete = format!("DELETE FROM {table} WHERE id = 1000");
            world.same(&format!("{table}: {end}"), &queries(&["BEGIN", &insert, end, "COMMIT", &delete]));
        }
    }
    // On two shards: as many.
    let insert = "INSERT INTO items VALUES (1001, 1), (1002, 1), (1003, 1), (1004, 1), (1005, 1)";
    let heard = |lines: Vec<String>| {
        let mut heard: Vec<String> = lines.into_iter().filter(|line| line.starts_with('N')).collect();
        heard.sort();
        heard
    };
    let script = queries(&["BEGIN", insert, "COMMIT"]);
    let (theirs, ours) = (heard(play(world.db.oracle(), &script)), heard(play(world.through(), &script)));
    assert_eq!(theirs.len(), 5);
    assert_eq!(theirs, ours);
}

#[test]
fn triggers_of_copied_rows_are_heard() {
    let world = world("regrcopynotices");
    world.fill(&["CREATE TRIGGER loud BEFORE INSERT ON items FOR EACH ROW EXECUTE FUNCTION loud()"]);
    let rows = [m::query("COPY items FROM STDIN"), m::copy_data(b"2001\t1\n2002\t1\n2003\t2\n"), m::copy_done()];
    let heard = |lines: Vec<String>| {
        let mut heard: Vec<String> = lines.into_iter().filter(|line| line.starts_with('N')).collect();
        heard.sort();
        heard
    };
    let script = [batch(&rows), Ready];
    let (theirs, ours) = (heard(play(world.db.oracle(), &script)), heard(play(world.through(), &script)));
    assert_eq!(theirs.len(), 3);
    assert_eq!(theirs, ours);
}

#[test]
fn a_schema_is_made_with_what_is_in_it_where_nothing_is_distributed() {
    let world = Pair::create("regrschema", "CREATE TABLE plain (id int)", &[], "");
    let sql = "CREATE SCHEMA sx CREATE TABLE a (id int PRIMARY KEY, n int) CREATE VIEW v AS SELECT id FROM a";
    world.same(
        "contents",
        &queries(&[sql, "INSERT INTO sx.a VALUES (1, 2)", "SELECT * FROM sx.v", "ALTER TABLE sx.a DROP COLUMN n", sql]),
    );
    for shard in 0..4 {
        let mut shard_itself = world.db.shard(shard);
        let there = shard_itself.values("SELECT nspname FROM pg_namespace WHERE nspname = 'sx'");
        assert_eq!(there, ["sx"], "shard {shard}");
        let tables = shard_itself
            .values("SELECT relname FROM pg_class WHERE relnamespace = 'sx'::regnamespace AND relkind = 'r'");
        assert_eq!(tables.len(), usize::from(shard == 0), "shard {shard}");
    }
}

#[test]
fn a_function_may_have_plain_tables_in_its_body() {
    let world = world("regrbodies");
    let of_sql = "CREATE FUNCTION many() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM plain'";
    let of_type =
        "CREATE FUNCTION typed() RETURNS int LANGUAGE plpgsql AS 'DECLARE x plain.n%TYPE; BEGIN x := 3; RETURN x; END'";
    let wrong = "CREATE FUNCTION wrong() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM nowhere'";
    world.same(
        "made",
        &queries(&[of_sql, of_type, wrong, "SELECT many()", "SELECT typed()", "DROP FUNCTION many(), typed()"]),
    );
    world.same(
        "in a block",
        &queries(&["BEGIN", of_sql, wrong, "ROLLBACK", "BEGIN", of_sql, "SELECT many()", "COMMIT"]),
    );
    // The other shards look at bodies again.
    world.same("behind it", &queries(&["SHOW check_function_bodies"]));
    let parsed = [m::parse(
        "",
        "CREATE OR REPLACE FUNCTION many() RETURNS bigint LANGUAGE sql AS 'SELECT sum(n) FROM plain'",
        &[],
    )];
    let run = [m::bind("", "", &[], &[]), m::execute("", 0), m::sync()];
    world.same("extended", &[batch(&[parsed.concat(), run.concat()]), Ready]);
}

#[test]
fn a_sequence_that_is_gone_is_forgotten() {
    let world = world("regrforgotten");
    for (make, drop) in [
        ("CREATE SEQUENCE s2", "DROP SEQUENCE s2"),
        ("CREATE TABLE s (id serial); CREATE SEQUENCE s2", "DROP TABLE s; DROP SEQUENCE s2"),
    ] {
        let script = [
            make,
            "SELECT nextval('s2')",
            "SELECT currval('s2')",
            drop,
            "CREATE SEQUENCE s2 START 1000",
            "SELECT currval('s2')",
            "SELECT lastval()",
            "SELECT nextval('s2'), currval('s2'), lastval()",
            "DROP SEQUENCE s2",
            "SELECT lastval()",
        ];
        let (mut theirs, mut ours) = (world.db.oracle(), world.through());
        for sql in script {
            assert_eq!(theirs.simple(sql).text(), ours.simple(sql).text(), "{drop}: {sql}");
        }
    }
}

/// One that counts the rows of a sharded table: on one shard it would count a part.
const COUNTS: &str = "CREATE FUNCTION counts() RETURNS bigint STABLE LANGUAGE sql AS 'SELECT count(*) FROM items'";

#[test]
fn functions_are_looked_at_in_definitions_and_in_what_is_not_understood() {
    let world = world("regrcalls");
    world.fill(&[
        COUNTS,
        "CREATE FUNCTION fires() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN DELETE FROM items; RETURN NEW; END'",
        "CREATE TYPE mood AS ENUM ('a')",
        "CREATE FUNCTION beside(plain) RETURNS bigint STABLE LANGUAGE sql AS 'SELECT count(*) FROM items'",
        "CREATE FUNCTION of_mood(mood) RETURNS bigint STABLE LANGUAGE sql AS 'SELECT count(*) FROM items'",
        "CREATE VIEW odd AS SELECT * FROM ROWS FROM (generate_series(1, 2), counts()) AS z (a, b)",
        "INSERT INTO plain VALUES (1, 1)",
        "CREATE TABLE few AS SELECT 1 AS a",
    ]);
    let mut ours = world.through();
    ours.must("CREATE TEMP TABLE mine (n bigint)");
    for sql in [
        "SELECT * FROM odd",
        "INSERT INTO plain SELECT * FROM odd",
        "SELECT * FROM ROWS FROM (generate_series(1, 2), counts()) AS z (a, b)",
        "CREATE TABLE made AS SELECT counts() AS f",
        "CREATE UNLOGGED TABLE made AS SELECT counts() AS f",
        "CREATE TEMP TABLE made AS SELECT counts() AS f",
        "SELECT counts() AS f INTO made",
        "SELECT counts() AS f INTO TEMP made",
        "CREATE MATERIALIZED VIEW made AS SELECT counts() AS f",
        "CREATE TABLE made AS SELECT p.beside FROM plain p",
        "CREATE TABLE made AS SELECT (p).beside FROM plain p",
        "ALTER TABLE few ADD COLUMN f bigint DEFAULT counts()",
        "ALTER TABLE few ALTER COLUMN a TYPE bigint USING counts()",
        "ALTER TABLE few ADD CHECK (counts() = 40)",
        "ALTER TABLE items ADD CHECK (counts() = 40)",
        "CREATE TEMP VIEW seen AS SELECT counts() AS n",
        "CREATE TEMP TABLE made (n bigint DEFAULT counts())",
        "ALTER TABLE mine ALTER COLUMN n SET DEFAULT counts()",
        "CREATE TRIGGER fires BEFORE INSERT ON mine FOR EACH ROW EXECUTE FUNCTION fires()",
        "CREATE EVENT TRIGGER fires ON ddl_command_end EXECUTE FUNCTION fires()",
    ] {
        let refused = ours.simple(sql);
        assert_eq!(refused.code(), "0A000", "{sql}: {}", refused.text());
    }
    ours.must("CREATE FUNCTION pg_temp.own() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM items'");
    ours.must("CREATE PROCEDURE pg_temp.does() LANGUAGE sql AS 'DELETE FROM items'");
    for sql in [
        "SELECT pg_temp.own()",
        "INSERT INTO mine VALUES (pg_temp.own())",
        "UPDATE plain SET n = pg_temp.own()",
        "CALL pg_temp.does()",
    ] {
        let refused = ours.simple(sql);
        assert_eq!(refused.code(), "0A000", "{sql}: {}", refused.text());
    }
    ours.must("CREATE DOMAIN limited AS bigint CHECK (value < counts())");
    assert_eq!(ours.simple("SELECT 15::limited").code(), "0A000");
    // What calls nothing of the kind is done.
    world.same(
        "plain",
        &queries(&[
            "CREATE TABLE made AS SELECT upper('x') AS f",
            "ALTER TABLE made ADD COLUMN counts int DEFAULT length('abc')",
            "SELECT * FROM made",
            "CREATE DOMAIN little AS int CHECK (value < 7)",
            "SELECT 3::little",
        ]),
    );
}

#[test]
fn a_temporary_name_never_leads_to_another_ones_rows() {
    let world = Pair::create("regrhidden", SCHEMA, &[("items", Placed::By("id")), ("later", Placed::By("id"))], "");
    let rows: Vec<String> = (1..=40).map(|id| format!("({id}, {})", id % 5)).collect();
    world.fill(&[
        &format!("INSERT INTO items VALUES {}", rows.join(", ")),
        "CREATE TYPE ty AS ENUM ('a')",
        "CREATE SEQUENCE counts",
    ]);
    let count = |sql: &str| (0..4).map(|shard| world.db.shard(shard).value(sql).parse::<i64>().unwrap()).sum::<i64>();
    for (make, then) in [
        (
            "SELECT 1 AS id INTO TEMP other",
            &["ALTER TABLE other RENAME TO items", "DELETE FROM items", "DROP TABLE items"][..],
        ),
        ("SELECT 1 AS id INTO TEMP later", &["UPDATE later SET id = 2", "DELETE FROM later", "TRUNCATE later"]),
        ("CREATE TYPE pg_temp.ty AS ENUM ('b')", &["SELECT 'b'::ty", "DROP TYPE ty CASCADE"]),
        ("CREATE TEMP SEQUENCE counts START 1000", &["SELECT nextval('counts')", "DROP SEQUENCE counts"]),
    ] {
        let (mut theirs, mut ours) = (world.db.oracle(), world.through());
        theirs.must(make);
        let made = ours.simple(make);
        if made.code() == "0A000" {
            continue;
        }
        assert_eq!(made.code(), "", "{make}");
        if make.contains("later") {
            // Another client makes one that is sharded.
            for raw in [&mut world.db.oracle(), &mut world.through()] {
                raw.must("CREATE TABLE later (id int PRIMARY KEY)");
                raw.must("INSERT INTO later VALUES (1), (2), (3), (4), (5), (6), (7), (8)");
            }
        }
        for sql in then {
            let (theirs, ours) = (theirs.simple(sql), ours.simple(sql));
            assert!(ours.code() == "0A000" || ours.text() == theirs.text(), "{make}; {sql}: {}", ours.text());
        }
    }
    assert_eq!(count("SELECT count(*) FROM items"), 40);
    assert_eq!(count("SELECT count(*) FROM public.later"), 8);
    assert_eq!(count("SELECT count(*) FROM pg_type WHERE typname = 'ty' AND typnamespace = 'public'::regnamespace"), 4);
    assert_eq!(world.through().value("SELECT count(*) FROM pg_class WHERE relname = 'counts' AND relkind = 'S'"), "1");
}

#[test]
fn maintenance_runs_in_blocks_where_postgres_runs_it() {
    let world = world("regranalyze");
    for sql in ["ANALYZE items", "ANALYZE", "ANALYZE plain", "CLUSTER items USING items_pkey", "VACUUM items"] {
        world.same(sql, &queries(&["BEGIN", "INSERT INTO items VALUES (99, 9)", sql, "SELECT 1", "ROLLBACK"]));
    }
    world.same(
        "kept",
        &queries(&[
            "BEGIN",
            "INSERT INTO items VALUES (99, 9)",
            "ANALYZE items",
            "COMMIT",
            "SELECT count(*) FROM items",
        ]),
    );
}

#[test]
fn partitions_have_the_same_bounds_on_all_shards_and_their_indexes_are_rebuilt() {
    let schema = "CREATE TABLE days (id int, at timestamptz, PRIMARY KEY (id, at)) PARTITION BY RANGE (at); CREATE INDEX days_at ON days (at)";
    let world = Pair::create("regrbounds", schema, &[("days", Placed::By("id"))], "");
    let mut ours = world.through();
    for bounds in [
        "FROM (MINVALUE) TO (current_timestamp)",
        "FROM ('today') TO (MAXVALUE)",
        "FROM (now()) TO (MAXVALUE)",
        "FROM (\"now\"()) TO (MAXVALUE)",
    ] {
        let refused = ours.simple(&format!("CREATE TABLE p PARTITION OF days FOR VALUES {bounds}"));
        assert_eq!(refused.code(), "0A000", "{bounds}: {}", refused.text());
    }
    world.same(
        "indexes",
        &queries(&[
            "CREATE TABLE p PARTITION OF days FOR VALUES FROM ('2024-01-01') TO ('2025-01-01')",
            "REINDEX INDEX days_at",
            "REINDEX TABLE days",
        ]),
    );
}

#[test]
fn functions_and_types_of_plain_tables_are_where_these_are() {
    let world = world("regrrowtypes");
    world.same(
        "row types",
        &queries(&[
            "CREATE FUNCTION all_plain() RETURNS SETOF plain LANGUAGE sql AS 'SELECT * FROM plain'",
            "CREATE FUNCTION n_of(plain) RETURNS int LANGUAGE sql AS 'SELECT $1.n'",
            "CREATE PROCEDURE puts(plain) LANGUAGE plpgsql AS 'BEGIN INSERT INTO plain SELECT $1.*; END'",
            "CREATE FUNCTION atomic() RETURNS bigint LANGUAGE sql BEGIN ATOMIC SELECT count(*) FROM plain; END",
            "CREATE TYPE boxed AS (p plain)",
            "CREATE DOMAIN many AS plain[]",
            "INSERT INTO plain VALUES (1, 7), (2, 8)",
            "SELECT atomic()",
            "SELECT n_of(plain) FROM plain ORDER BY 1",
            "SELECT (row(row(1, 2)::plain)::boxed).p",
            "COMMENT ON FUNCTION n_of(plain) IS 'of'",
            "GRANT EXECUTE ON FUNCTION n_of(plain) TO PUBLIC",
            "CREATE OR REPLACE FUNCTION n_of(plain) RETURNS int LANGUAGE sql AS 'SELECT $1.n + 1'",
            "ALTER FUNCTION n_of(plain) RENAME TO n_plus",
            "SELECT n_plus(plain) FROM plain ORDER BY 1",
            "DROP FUNCTION n_plus(plain)",
            "DROP FUNCTION nowhere(plain)",
            "DROP TYPE boxed",
            "DROP DOMAIN many",
        ]),
    );
    // A sharded table cannot be made of them.
    let mut ours = world.through();
    ours.must("CREATE TYPE boxed AS (p plain)");
    let refused = ours.simple("ALTER TABLE items ADD COLUMN b boxed");
    assert_eq!(refused.code(), "0A000", "{}", refused.text());
    assert_eq!(
        world
            .db
            .shard(0)
            .value("SELECT count(*) FROM pg_attribute WHERE attrelid = 'items'::regclass AND attname = 'b'"),
        "0"
    );
}

#[test]
fn the_sequence_of_a_column_has_a_current_value() {
    let world = world("regrserial");
    world.fill(&[
        "CREATE TABLE numbered (id serial PRIMARY KEY, n int)",
        "CREATE TABLE counted (id int GENERATED ALWAYS AS IDENTITY, n int)",
    ]);
    for (table, column) in
        [("numbered", "id"), ("counted", "id"), ("public.numbered", "id"), ("numbered", "n"), ("nowhere", "id")]
    {
        let current = format!("SELECT currval(pg_get_serial_sequence('{table}', '{column}'))");
        let current_typed =
            format!("SELECT currval(pg_catalog.pg_get_serial_sequence('{table}', '{column}')::regclass) AS now");
        let next = format!("SELECT nextval(pg_get_serial_sequence('{table}', '{column}'))");
        let insert = format!("INSERT INTO {table} (n) VALUES (1)");
        let (mut theirs, mut ours) = (world.db.oracle(), world.through());
        for sql in ["SELECT 1", &insert, &current, &next, &current_typed] {
            let (theirs, ours) = (theirs.simple(sql), ours.simple(sql));
            // Of a column without a sequence there is nothing to tell.
            let same = theirs.text() == ours.text() || (column == "n" || table == "nowhere") && ours.code() == "0A000";
            assert!(same, "{table}.{column}: {sql}: {} / {}", theirs.text(), ours.text());
        }
    }
}

#[test]
fn thousands_of_conditions_are_answered() {
    let world = world("regrchains");
    let of = |term: &dyn Fn(u32) -> String| (0..2000).map(term).collect::<Vec<_>>().join(" OR ");
    world.same(
        "chains",
        &queries(&[
            &format!("SELECT count(*), max(id) FROM items WHERE {}", of(&|at| format!("id = {at}"))),
            &format!(
                "SELECT count(*), max(id) FROM items WHERE {}",
                of(&|at| format!("id = {} AND n = {}", at % 50, at % 7))
            ),
            &format!("SELECT id FROM items WHERE n = 3 AND ({}) ORDER BY id", of(&|at| format!("id = {}", 2 * at))),
        ]),
    );
}

#[test]
fn an_error_beside_a_temporary_table_leaves_no_transaction_behind() {
    let world = world("regrsnapshots");
    for failing in [
        "SELECT count(*) FROM mine JOIN items ON items.id = mine.id WHERE 1 / (items.n - 2) > 0",
        "SELECT count(*) FROM mine JOIN items ON items.id = mine.id WHERE 1 / (mine.id - 1) > 0",
    ] {
        let script = [
            "CREATE TEMP TABLE mine (id int)",
            "INSERT INTO mine VALUES (1), (2)",
            failing,
            "INSERT INTO mine VALUES (3)",
            "BEGIN",
            "INSERT INTO mine VALUES (4)",
            "ROLLBACK",
            "SELECT id FROM mine ORDER BY 1",
            "INSERT INTO plain VALUES (77, 1)",
            "ROLLBACK",
            "SELECT count(*) FROM plain WHERE id = 77",
            "DELETE FROM plain WHERE id = 77",
        ];
        let (mut theirs, mut ours) = (world.db.oracle(), world.through());
        for sql in script {
            assert_eq!(theirs.simple(sql).text(), ours.simple(sql).text(), "{failing}: {sql}");
        }
    }
}

#[test]
fn statements_prepared_before_do_not_reach_what_a_temporary_name_hides() {
    let world = Pair::create("regrprepared", SCHEMA, &[("items", Placed::By("id")), ("later", Placed::By("id"))], "");
    let mut first = world.through();
    first.must("CREATE TEMP TABLE mine (n int)");
    first.must("SELECT 1 AS id INTO TEMP later");
    let texts = ["DELETE FROM later", "UPDATE later SET id = id + 100", "TRUNCATE later", "DROP TABLE later"];
    for (at, sql) in texts.iter().enumerate() {
        let parsed = first.exchange(&[m::parse(&format!("s{at}"), sql, &[]), m::sync()].concat(), None);
        assert!(matches!(parsed.code(), "" | "0A000"), "{sql}: {}", parsed.text());
    }
    first.simple("PREPARE p AS DELETE FROM later");
    let mut second = world.through();
    second.must("CREATE TABLE later (id int PRIMARY KEY)");
    second.must("INSERT INTO later SELECT generate_series(1, 20)");
    first.simple("EXECUTE p");
    for at in 0..texts.len() {
        let run = [m::bind("", &format!("s{at}"), &[], &[]), m::execute("", 0), m::sync()].concat();
        first.exchange(&run, None);
    }
    let rows = |raw: &mut Raw| raw.value("SELECT count(*) || ' ' || max(id) FROM public.later");
    assert_eq!(rows(&mut second), "20 20");
    for shard in 0..4 {
        assert_eq!(world.db.shard(shard).value("SELECT to_regclass('public.later') IS NOT NULL"), "t", "shard {shard}");
    }
    // The same where the session has looked before.
    let mut third = world.through();
    third.must("CREATE TEMP TABLE mine (n int)");
    third.must("SELECT count(*) FROM items, mine");
    third.simple("SELECT 7 AS id INTO TEMP later");
    third.simple("UPDATE later SET id = id + 100");
    third.simple("DELETE FROM later");
    assert_eq!(rows(&mut second), "20 20");
}

#[test]
fn what_replaces_a_function_has_its_owner_everywhere() {
    let world = world("regrowners");
    let mut ours = world.through();
    ours.must("CREATE FUNCTION of_plain(plain) RETURNS int LANGUAGE sql AS 'SELECT 1'");
    ours.must("CREATE OR REPLACE FUNCTION of_plain(plain) RETURNS int LANGUAGE sql AS 'SELECT 2'");
    for shard in 0..4 {
        let there = world.db.shard(shard).value("SELECT count(*) FROM pg_proc WHERE proname = 'of_plain'");
        assert_eq!(there, if shard == 0 { "1" } else { "0" }, "shard {shard}");
    }
    ours.must("CREATE FUNCTION everywhere() RETURNS int LANGUAGE sql AS 'SELECT 1'");
    world.db.shard(2).must("DROP FUNCTION everywhere()");
    let refused = ours.simple("CREATE OR REPLACE FUNCTION everywhere() RETURNS int LANGUAGE sql AS 'SELECT 2'");
    assert_eq!(refused.code(), "0A000", "{}", refused.text());
}

/// Migration tools run all definitions within a transaction, in the extended protocol.
#[test]
fn functions_and_types_of_plain_tables_are_made_in_transactions() {
    const STEPS: [&str; 22] = [
        "BEGIN",
        "CREATE TABLE fresh (id int PRIMARY KEY, n int)",
        "INSERT INTO fresh VALUES (1, 7), (2, 8)",
        "CREATE FUNCTION n_of(fresh) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1.n'",
        "CREATE FUNCTION all_fresh() RETURNS SETOF fresh LANGUAGE sql AS 'SELECT * FROM fresh'",
        "CREATE FUNCTION of_all(int) RETURNS int LANGUAGE sql AS 'SELECT $1'",
        "CREATE TYPE boxed AS (p fresh)",
        "CREATE DOMAIN many AS fresh[]",
        "CREATE PROCEDURE puts(fresh) LANGUAGE plpgsql AS 'BEGIN INSERT INTO fresh SELECT $1.*; END'",
        "CREATE OR REPLACE FUNCTION n_of(fresh) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1.n + 1'",
        "COMMENT ON FUNCTION n_of(fresh) IS 'of'",
        "SAVEPOINT a",
        "DROP DOMAIN many",
        "ROLLBACK TO a",
        "SELECT n_of(fresh) FROM fresh ORDER BY 1",
        "SELECT (row(row(1, 2)::fresh)::boxed).p",
        "ALTER FUNCTION n_of(fresh) RENAME TO n_plus",
        "INSERT INTO items VALUES (100, 1), (101, 2), (102, 3)",
        "COMMIT",
        "SELECT n_plus(fresh) FROM fresh ORDER BY 1",
        "DROP DOMAIN many",
        "SELECT count(*) FROM items",
    ];
    let world = world("regrblocktypes");
    world.answers("in a block", &queries(&STEPS));
    world.answers("undone", &queries(&["DROP FUNCTION n_plus(fresh)", "DROP FUNCTION of_all(int)", "DROP TYPE boxed"]));
    world.answers(
        "undone in a block",
        &queries(&[
            "BEGIN",
            "CREATE FUNCTION more(fresh) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 1'",
            "CREATE CAST (fresh AS int) WITH FUNCTION more(fresh)",
            "DROP CAST (fresh AS int)",
            "DROP FUNCTION all_fresh(), more(fresh)",
            "DROP PROCEDURE puts(fresh)",
            "DROP TABLE fresh",
            "COMMIT",
        ]),
    );
    let extended: Vec<_> = STEPS.iter().map(|sql| batch(&[run_one(sql), m::sync()])).collect();
    world.answers("in a block, extended", &extended);
    world.answers(
        "at once",
        &queries(&[
            "DROP FUNCTION n_plus(fresh); DROP TYPE boxed; DROP PROCEDURE puts(fresh); CREATE TYPE boxed AS (p fresh); DELETE FROM items WHERE id > 99",
            "SELECT (row(row(1, 2)::fresh)::boxed).p",
        ]),
    );
    world.answers(
        "one by one, extended",
        &[
            "DROP TYPE boxed",
            "CREATE TYPE boxed AS (p fresh)",
            "CREATE FUNCTION n_of(fresh) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1.n'",
            "SELECT n_of(fresh) FROM fresh ORDER BY 1",
        ]
        .map(|sql| batch(&[run_one(sql), m::sync()])),
    );
    // What every shard has is not hidden by it: one error leaves nothing behind.
    world.answers(
        "failed",
        &queries(&[
            "BEGIN",
            "CREATE FUNCTION n_of(nothing) RETURNS int LANGUAGE sql AS 'SELECT 1'",
            "SELECT 1",
            "ROLLBACK",
        ]),
    );
}

fn run_one(sql: &str) -> Vec<u8> {
    [m::parse("", sql, &[]), m::bind("", "", &[], &[]), m::describe(b'P', ""), m::execute("", 0)].concat()
}

/// An event trigger is made on the home shard, where it runs once for each definition; one that others have past the router is named.
#[test]
fn event_triggers_run_once() {
    let functions = "CREATE TABLE items (id int PRIMARY KEY, n int); \
        CREATE FUNCTION note_ddl() RETURNS event_trigger LANGUAGE plpgsql AS \
          $$ BEGIN INSERT INTO audit VALUES (tg_tag); END $$; \
        CREATE FUNCTION unknown() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN NULL; END $$";
    let placed = [("items", Placed::By("id"))];
    let world = Pair::with_safe_functions("regrevents", functions, &placed, &["public.note_ddl"]);
    world.fill(&["CREATE TABLE audit (tag text)"]);
    world.answers(
        "audit",
        &queries(&[
            "CREATE EVENT TRIGGER note_all ON ddl_command_end EXECUTE FUNCTION note_ddl()",
            "ALTER TABLE items ADD COLUMN more int",
            "BEGIN; CREATE INDEX ON items (more); CREATE TABLE beside (id int); COMMIT",
            "BEGIN; CREATE TYPE gone AS ENUM ('a'); ROLLBACK",
            "CREATE FUNCTION of_home(audit) RETURNS int LANGUAGE sql AS 'SELECT 1'",
            "BEGIN; CREATE FUNCTION of_home2(audit) RETURNS int LANGUAGE sql AS 'SELECT 1'; COMMIT",
            "CREATE INDEX CONCURRENTLY items_n ON items (n)",
            "COMMENT ON EVENT TRIGGER note_all IS 'notes'",
            "SELECT tag, count(*) FROM audit GROUP BY tag ORDER BY tag",
            "ALTER EVENT TRIGGER note_all RENAME TO notes_all",
            "BEGIN; DROP EVENT TRIGGER notes_all; COMMIT",
            "CREATE TABLE after (id int)",
            "SELECT count(*) FROM audit",
        ]),
    );
    let past = "CREATE EVENT TRIGGER past ON ddl_command_end EXECUTE FUNCTION unknown()";
    world.db.shard(1).must(past);
    let mut ours = world.through();
    let refused = ours.simple("ALTER TABLE items DROP COLUMN more");
    assert_eq!(refused.code(), "0A000");
    assert!(refused.text().contains("event trigger \"past\""), "{}", refused.text());
    world.db.shard(1).must("DROP EVENT TRIGGER past");
    ours.must("ALTER TABLE items DROP COLUMN more");
}

/// What copies are written alike is told once, whichever shard says it.
#[test]
fn deferred_triggers_of_reference_tables_are_heard_once() {
    let schema = format!("{SCHEMA}; CREATE TABLE places (id int PRIMARY KEY, n int)");
    let placed = [("items", Placed::By("id")), ("places", Placed::Reference)];
    let world = Pair::with_safe_functions("regrheardonce", &schema, &placed, &["public.loud"]);
    let late = |table: &str| {
        format!(
            "CREATE CONSTRAINT TRIGGER late AFTER INSERT ON {table} DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION loud()"
        )
    };
    world.fill(&[&late("places"), &late("items")]);
    let run = |sql: &str| batch(&[run_one(sql), m::sync()]);
    world.answers(
        "copies",
        &[
            run("INSERT INTO places VALUES (1, 1), (2, 2)"),
            batch(&[m::query("INSERT INTO places VALUES (3, 1)")]),
            batch(&[m::query("BEGIN")]),
            batch(&[m::query("INSERT INTO places VALUES (4, 1)")]),
            batch(&[m::query("SET CONSTRAINTS ALL IMMEDIATE")]),
            batch(&[m::query("INSERT INTO places SELECT 5, count(*) FROM items")]),
            run("COMMIT"),
        ],
    );
    world.answers("rows", &queries(&["BEGIN", "INSERT INTO items VALUES (200, 1)", "COMMIT"]));
}

#[test]
fn names_that_plpgsql_does_not_have_are_refused_at_once() {
    let world = world("regrplpgsql");
    world.answers(
        "reserved",
        &queries(&[
            "DO $$ BEGIN NULL; END $$",
            "SET plpgsql.typo = 1",
            "SELECT set_config('plpgsql.typo', '1', false)",
            "BEGIN; SET LOCAL plpgsql.typo = 1",
            "ROLLBACK",
            "SET plpgsql.extra_warnings = 'none'",
            "SHOW plpgsql.extra_warnings",
            "SELECT count(*) FROM items",
        ]),
    );
    // Also before anything has loaded it.
    let mut ours = world.through();
    assert_eq!(ours.simple("SET plpgsql.typo = 1").code(), "42602");
    ours.must("SELECT count(*) FROM items");
}

#[test]
fn a_role_that_was_dropped_is_named() {
    let world = world("regrrole");
    let mut ours = world.through();
    let role = format!("gone_{}", world.db.name);
    ours.must(&format!("CREATE ROLE {role}; SET ROLE {role}"));
    world.through().must(&format!("DROP ROLE {role}"));
    let refused = ours.simple("SELECT count(*) FROM items");
    assert_eq!(refused.code(), "0A000", "{}", refused.text());
    assert!(refused.text().contains(&role) && refused.text().contains("RESET ROLE"), "{}", refused.text());
    ours.must("RESET ROLE");
    ours.must("SELECT count(*) FROM items");
}

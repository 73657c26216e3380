#![allow(clippy::unwrap_used)]
use super::StatementKind as K;
use super::TransactionStatement as T;
use super::*;

fn set(text: &str) -> SetStatement {
    match classify(text) {
        K::Set(statement) => statement,
        other => panic!("{text}: {other:?}"),
    }
}

fn copy(text: &str) -> CopyStatement {
    match classify(text) {
        K::Copy(statement) => *statement,
        other => panic!("{text}: {other:?}"),
    }
}

fn session(name: &str, value: &str) -> SetStatement {
    SetStatement::Session { name: name.into(), value: value.into() }
}

fn names(of: &[&str]) -> Vec<Box<str>> {
    of.iter().map(|name| (*name).into()).collect()
}

#[test]
fn statements_by_their_first_words() {
    for (text, kind) in [
        ("", K::Empty),
        (" /* a */ ; -- b", K::Empty),
        ("/* hint */ select 1", K::Query),
        ("((SELECT 1) UNION (SELECT 2))", K::Query),
        ("VALUES (1)", K::Query),
        ("TABLE t", K::Query),
        ("WITH a AS (SELECT 1) SELECT * FROM a", K::Query),
        (
            "WITH a AS (DELETE FROM t RETURNING *), b(x, y) AS NOT MATERIALIZED (SELECT 1, 2) INSERT INTO u SELECT * FROM a",
            K::Insert,
        ),
        ("WITH RECURSIVE update AS (SELECT 1) UPDATE t SET a = 1", K::Update),
        ("WITH recursive AS (SELECT 1) (SELECT 2)", K::Query),
        (
            "WITH RECURSIVE a AS (SELECT 1) SEARCH DEPTH FIRST BY x, y SET o CYCLE x SET c TO 1 DEFAULT 2 USING p, b AS (SELECT 2) DELETE FROM t",
            K::Delete,
        ),
        ("WITH a AS (SELECT 1) MERGE INTO t USING a ON true", K::Merge),
        ("insert into t values (1)", K::Insert),
        ("LISTEN a", K::Listen),
        ("UNLISTEN *", K::Unlisten),
        ("NOTIFY a, 'x'", K::Notify),
        ("discard temporary", K::Discard(DiscardTarget::Temp)),
        ("DISCARD ALL", K::Discard(DiscardTarget::All)),
        ("DISCARD nothing", K::Unclear),
        ("TRUNCATE t", K::Ddl),
        ("REFRESH MATERIALIZED VIEW v", K::Ddl),
        ("ANALYZE", K::Maintenance),
        ("LOCK TABLE t", K::Lock),
        ("DO $$ BEGIN END $$", K::Code),
        ("PREPARE a (int) AS SELECT $1", K::Prepare("a".into())),
        ("EXECUTE \"A\"(1)", K::Execute("A".into())),
        ("DEALLOCATE PREPARE ALL", K::Deallocate(None)),
        ("DEALLOCATE \"all\"", K::Deallocate(Some("all".into()))),
        ("DECLARE C NO SCROLL CURSOR WITH HOLD FOR SELECT 1", K::Declare { cursor: "c".into(), hold: true, inner: 41 }),
        ("DECLARE c CURSOR FOR SELECT 1", K::Declare { cursor: "c".into(), hold: false, inner: 21 }),
        ("FETCH FORWARD 5 FROM c", K::Fetch("c".into())),
        ("MOVE c", K::Fetch("c".into())),
        ("CLOSE ALL", K::CloseCursor(None)),
        ("CLOSE c", K::CloseCursor(Some("c".into()))),
        ("foo", K::Other),
        ("'x'", K::Other),
        ("SELECT 'unfinished", K::Query),
    ] {
        assert_eq!(classify(text), kind, "{text}");
    }
}

#[test]
fn transactions() {
    let begin = |modes: &str, start_transaction| T::Begin { modes: modes.into(), start_transaction };
    for (text, statement) in [
        ("BEGIN", begin("", false)),
        ("begin work;", begin("", false)),
        (
            "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY",
            begin("ISOLATION LEVEL REPEATABLE READ, READ ONLY", false),
        ),
        ("START TRANSACTION read write not deferrable -- x", begin("read write not deferrable", true)),
        ("COMMIT", T::Commit { chain: false }),
        ("END WORK AND CHAIN", T::Commit { chain: true }),
        ("COMMIT TRANSACTION AND NO CHAIN", T::Commit { chain: false }),
        ("ABORT", T::Rollback { chain: false }),
        ("ROLLBACK AND CHAIN", T::Rollback { chain: true }),
        ("ROLLBACK TO a", T::RollbackTo("a".into())),
        ("ROLLBACK WORK TO SAVEPOINT \"A\"", T::RollbackTo("A".into())),
        ("ROLLBACK TO SAVEPOINT", T::RollbackTo("savepoint".into())),
        ("SAVEPOINT Abc", T::Savepoint("abc".into())),
        ("RELEASE SAVEPOINT a", T::Release("a".into())),
        ("RELEASE a", T::Release("a".into())),
        ("PREPARE TRANSACTION 'x'", T::TwoPhase),
        ("COMMIT PREPARED 'x'", T::TwoPhase),
        ("ROLLBACK PREPARED 'x'", T::TwoPhase),
        ("SET CONSTRAINTS ALL DEFERRED", T::SetConstraints("ALL DEFERRED".into())),
        ("set constraints a, b.\"C\" immediate; -- x", T::SetConstraints("a, b.\"C\" immediate".into())),
    ] {
        assert_eq!(classify(text), K::Transaction(statement), "{text}");
    }
    for text in [
        "COMMIT foo",
        "BEGIN foo",
        "BEGIN READ",
        "START",
        "ABORT TO a",
        "SAVEPOINT",
        "SAVEPOINT U&\"a\"",
        "COMMIT AND",
        "COMMIT 'x",
        "ROLLBACK TO a b",
    ] {
        assert_eq!(classify(text), K::Unclear, "{text}");
    }
}

#[test]
fn settings() {
    let local = |name: &str, value: &str| SetStatement::Local { name: name.into(), value: value.into() };
    for (text, statement) in [
        ("SET search_path TO a, \"B\"", session("search_path", "a, \"B\"")),
        ("set session DateStyle = ISO, mdy ;", session("datestyle", "ISO, mdy")),
        ("SET work_mem='4MB'", session("work_mem", "'4MB'")),
        ("SET x.y =-1", session("x.y", "-1")),
        ("SET LOCAL statement_timeout TO 5", local("statement_timeout", "5")),
        ("SET LOCAL a TO DEFAULT", local("a", "DEFAULT")),
        ("SET local.a = 1", session("local.a", "1")),
        ("SET a TO default", SetStatement::Reset("a".into())),
        ("SET TIME ZONE 'UTC'", session("timezone", "'UTC'")),
        ("SET TIME ZONE -7", session("timezone", "-7")),
        ("SET LOCAL TIME ZONE LOCAL", local("timezone", "DEFAULT")),
        ("SET TIME ZONE DEFAULT", SetStatement::Reset("timezone".into())),
        ("SET TimeZone = LOCAL", session("timezone", "'local'")),
        ("SET LOCAL TimeZone TO local", local("timezone", "'local'")),
        ("SET TIME ZONE INTERVAL '-08:00' HOUR TO MINUTE", session("timezone", "'INTERVAL ''-08:00'''")),
        ("SET TIME ZONE INTERVAL '1' HOUR", SetStatement::Opaque),
        ("SET NAMES 'utf8'", session("client_encoding", "'utf8'")),
        ("SET NAMES", SetStatement::Reset("client_encoding".into())),
        ("SET SCHEMA 'x'", session("search_path", "'x'")),
        ("SET ROLE none", session("role", "none")),
        ("SET SESSION ROLE \"R\"", session("role", "\"R\"")),
        ("SET role = 'r'", session("role", "'r'")),
        ("SET ROLE DEFAULT", SetStatement::Opaque),
        ("SET SESSION AUTHORIZATION 'u'", session("session_authorization", "'u'")),
        ("SET SESSION SESSION AUTHORIZATION DEFAULT", SetStatement::Reset("session_authorization".into())),
        ("SET LOCAL SESSION AUTHORIZATION u", local("session_authorization", "u")),
        (
            "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
            SetStatement::Transaction("ISOLATION LEVEL SERIALIZABLE".into()),
        ),
        ("SET SESSION TRANSACTION READ ONLY", SetStatement::Transaction("READ ONLY".into())),
        ("SET TRANSACTION SNAPSHOT '1-2-3'", SetStatement::TransactionSnapshot),
        ("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", SetStatement::Characteristics("READ ONLY".into())),
        ("SET XML OPTION CONTENT", session("xmloption", "CONTENT")),
        ("SET a FROM CURRENT", SetStatement::Current { name: "a".into(), local: false }),
        ("SET LOCAL App.B FROM CURRENT", SetStatement::Current { name: "app.b".into(), local: true }),
        ("SET transaction_isolation FROM CURRENT", SetStatement::Opaque),
        ("SET CONSTRAINTS a", SetStatement::Opaque),
        ("SET CONSTRAINTS ALL, a DEFERRED", SetStatement::Opaque),
        ("SET constraints.a = 1", session("constraints.a", "1")),
        ("SET a b", SetStatement::Opaque),
        ("SET a TO (1)", SetStatement::Opaque),
        ("RESET ALL", SetStatement::ResetAll),
        ("RESET TimeZone", SetStatement::Reset("timezone".into())),
        ("RESET TIME ZONE", SetStatement::Reset("timezone".into())),
        ("RESET SESSION AUTHORIZATION", SetStatement::Reset("session_authorization".into())),
    ] {
        assert_eq!(set(text), statement, "{text}");
    }
}

#[test]
fn the_routers_own_settings() {
    let router =
        |value: Option<&str>, local| SetStatement::Router { name: "shard".into(), value: value.map(Into::into), local };
    assert_eq!(set("SET pgloom.shard TO 'a'"), router(Some("'a'"), false));
    assert_eq!(set("SET LOCAL PgLoom.Shard = 2"), router(Some("2"), true));
    assert_eq!(set("SET pgloom.shard TO DEFAULT"), router(None, false));
    assert_eq!(set("RESET pgloom.shard"), router(None, false));
    assert_eq!(classify("SHOW pgloom.shard"), K::ShowRouter("shard".into()));
    assert_eq!(classify("SHOW TIME ZONE"), K::Show("timezone".into()));
    assert_eq!(classify("SHOW TRANSACTION ISOLATION LEVEL"), K::Show("transaction_isolation".into()));
    assert_eq!(classify("SHOW ALL;"), K::Show("all".into()));
    assert_eq!(classify("SHOW a b"), K::Unclear);
    assert_eq!(plain_value("'it''s'").as_deref(), Some("it's"));
    assert_eq!(plain_value("-5").as_deref(), Some("-5"));
    assert_eq!(plain_value("On").as_deref(), Some("on"));
    assert_eq!(plain_value("a, b"), None);
}

#[test]
fn search_paths() {
    assert_eq!(search_path_value("A, \"B\", 'C, d', \"$user\"", "me"), Some(names(&["a", "B", "C, d", "me"])));
    assert_eq!(search_path_value("''", "me"), Some(vec![]));
    assert_eq!(search_path_value("a b", "me"), None);
    assert_eq!(search_path_value("DEFAULT", "me"), None);
    assert_eq!(search_path_setting("\"$user\", Public,\"A\"\"b\"", "me"), Some(names(&["me", "public", "A\"b"])));
    assert_eq!(search_path_setting(" ", "me"), Some(vec![]));
    assert_eq!(search_path_setting("a,", "me"), None);
    assert_eq!(search_path_setting("\"a", "me"), None);
}

#[test]
fn names_are_cut_at_a_character() {
    let long = "é".repeat(40);
    assert_eq!(fold_name(&long).len(), 62);
    assert_eq!(fold_name(&"A".repeat(70)).as_ref(), "a".repeat(63));
}

#[test]
fn explains() {
    let plain = ExplainOptions::default();
    for (text, kind) in [
        ("EXPLAIN SELECT 1", K::Explain { inner: 8, options: plain }),
        (
            "EXPLAIN ANALYZE VERBOSE SELECT 1",
            K::Explain { inner: 24, options: ExplainOptions { analyze: true, ..plain } },
        ),
        (
            "EXPLAIN (ANALYZE false, FORMAT json) SELECT 1",
            K::Explain { inner: 37, options: ExplainOptions { format: ExplainFormat::Json, ..plain } },
        ),
        ("EXPLAIN (SELECT 1)", K::Explain { inner: 8, options: plain }),
        ("EXPLAIN ((SELECT 1))", K::Explain { inner: 8, options: plain }),
        ("explain (route) SELECT 1", K::ExplainRoute { inner: 16, json: false }),
        ("EXPLAIN (ROUTE, FORMAT JSON) (SELECT 1)", K::ExplainRoute { inner: 29, json: true }),
        ("EXPLAIN (FORMAT 'json', ROUTE on) SELECT 1", K::ExplainRoute { inner: 34, json: true }),
        ("EXPLAIN (ROUTE, ANALYZE) SELECT 1", K::Unclear),
        ("EXPLAIN (ROUTE, FORMAT yaml) SELECT 1", K::Unclear),
        (
            "EXPLAIN (ANALYZE, SUMMARY off, FORMAT yaml) SELECT 1",
            K::Explain {
                inner: 44,
                options: ExplainOptions { analyze: true, format: ExplainFormat::Yaml, summary: Some(false), ..plain },
            },
        ),
        ("EXPLAIN", K::Unclear),
    ] {
        assert_eq!(classify(text), kind, "{text}");
    }
}

#[test]
fn kinds_with_places_in_the_text() {
    for text in
        ["EXPLAIN SELECT 1", "EXPLAIN (ROUTE) SELECT 1", "DECLARE c CURSOR FOR SELECT 1", "COPY (SELECT 1) TO STDOUT"]
    {
        assert!(classify(text).has_offsets(), "{text}");
    }
    assert!(!classify("COPY t TO STDOUT").has_offsets() && !classify("SELECT 1").has_offsets());
}

#[test]
fn copies() {
    let table = |schema: Option<&str>, name: &str, columns: &[&str]| {
        Some(CopyTable { schema: schema.map(Into::into), name: name.into(), columns: names(columns) })
    };
    let text = |delimiter, null: &str, header| CopyFormat::Text { delimiter, null: null.into(), header };
    let csv = |delimiter, quote, escape, null: &str, header| CopyFormat::Csv {
        delimiter,
        quote,
        escape,
        null: null.into(),
        header,
        force_not_null: vec![],
        force_null: vec![],
    };

    let plain = copy("COPY t FROM STDIN");
    assert_eq!((plain.direction, plain.endpoint), (CopyDirection::From, CopyEndpoint::Client));
    assert_eq!((plain.table, plain.format), (table(None, "t", &[]), text(b'\t', "\\N", false)));

    let named = copy(
        "copy \"S\".T (a, \"B\") from stdin with (format CSV, header MATCH, delimiter E'\\t', quote '''', null 'x')",
    );
    assert_eq!(named.table, table(Some("S"), "t", &["a", "B"]));
    assert_eq!(named.format, csv(b'\t', b'\'', b'\'', "x", true));

    assert_eq!(copy("COPY t FROM STDIN CSV HEADER DELIMITER AS ';'").format, csv(b';', b'"', b'"', "", true));
    assert_eq!(copy("COPY t FROM STDIN WITH NULL AS '' DELIMITER '|'").format, text(b'|', "", false));
    assert_eq!(copy("COPY t FROM STDIN USING DELIMITERS ','").format, text(b',', "\\N", false));
    assert_eq!(copy("COPY BINARY t TO STDOUT").format, CopyFormat::Binary);
    assert_eq!(
        copy("COPY t FROM STDIN (FORMAT csv, ESCAPE '\\', HEADER off)").format,
        csv(b',', b'"', b'\\', "", false)
    );

    let forced = copy("COPY t FROM STDIN CSV FORCE NOT NULL a, b FORCE NULL c ENCODING 'latin1'");
    assert_eq!(forced.encoding.as_deref(), Some("latin1"));
    let CopyFormat::Csv { force_not_null, force_null, .. } = forced.format else { panic!() };
    assert_eq!((force_not_null, force_null), (names(&["a", "b"]), names(&["c"])));
    assert!(copy("COPY t FROM STDIN (FORMAT csv, FORCE_NULL (a), FORCE_NOT_NULL *)").unknown_option);
    assert!(copy("COPY t FROM STDIN (ON_ERROR ignore)").unknown_option);

    let filtered = copy("COPY t FROM STDIN WITH (FREEZE) WHERE a > 1");
    assert!(filtered.filtered && !filtered.unknown_option);

    let query = "COPY (SELECT ';)' FROM t) TO STDOUT WITH CSV FORCE QUOTE *";
    let (start, end) = copy(query).inner.unwrap();
    assert_eq!(&query[start..end], "SELECT ';)' FROM t");
    assert_eq!(copy(query).table, None);

    assert_eq!(copy("COPY t FROM '/tmp/x'").endpoint, CopyEndpoint::File);
    assert_eq!(copy("COPY t TO PROGRAM 'cat'").endpoint, CopyEndpoint::Program);
    for text in [
        "COPY t",
        "COPY a.b.c FROM STDIN",
        "COPY (SELECT 1) FROM STDIN",
        "COPY t TO STDOUT WHERE a",
        "COPY t FROM STDIN CSV x",
    ] {
        assert_eq!(classify(text), K::Unclear, "{text}");
    }
}

#[test]
fn temporary_relations() {
    for text in [
        "CREATE TEMP TABLE t (a int)",
        "create or replace local temporary view v as select 1",
        "CREATE TABLE pg_temp.t (a int)",
        "CREATE UNLOGGED TABLE \"pg_temp\".t (a int)",
        "SELECT 1 INTO TEMP t",
        "WITH a AS (SELECT 1) SELECT * INTO LOCAL TEMPORARY t FROM a",
        "SELECT 1 INTO TABLE pg_temp.t",
        "EXPLAIN (ANALYZE, COSTS OFF) CREATE TEMP TABLE t AS SELECT 1",
        "explain analyze select 1 into temp t",
    ] {
        assert!(creates_temporary(text), "{text}");
    }
    for text in [
        "CREATE TABLE weather (day date, temp int)",
        "INSERT INTO temp VALUES (1)",
        "SELECT temp FROM t",
        "EXPLAIN SELECT temp FROM t",
        "SELECT 1; CREATE TEMP TABLE t()",
    ] {
        assert!(!creates_temporary(text), "{text}");
    }
}

#[test]
fn what_is_kept_of_a_session_reads_alike_in_every_session() {
    for (text, name, value) in [
        (r"SET app.path = 'C:\new'", "app.path", r"E'C:\\new'"),
        (r"SET search_path TO 'we\nird',  public /* \ */", "search_path", r"E'we\\nird' , public"),
        (r"SET ROLE 'a\''b'", "role", r"E'a\\''b'"),
        (r"SET app.path = E'C:\\new'", "app.path", r"E'C:\\new'"),
        (r"SET app.path TO $$C:\new$$", "app.path", r"$$C:\new$$"),
        ("SET app.path TO 'C:/new', 'b'", "app.path", "'C:/new', 'b'"),
    ] {
        assert_eq!(set(text), session(name, value), "{text}");
    }
    assert_eq!(set(r"SET ROLE U&'\0061'"), SetStatement::Opaque);
}

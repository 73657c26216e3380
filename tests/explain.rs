//! EXPLAIN of statements over several shards: the router's plan, and below each step what the shards say of theirs.

#![allow(clippy::unwrap_used)]

mod support;

use serde_json::Value as Json;
use support::SHARDS;
use support::raw::{Raw, Value, message as m};
use support::sharded::Sharded;

fn lines(raw: &mut Raw, sql: &str) -> Vec<String> {
    raw.must(sql).text().lines().map(str::to_owned).collect()
}

/// The one value of a document, which the test client shows as bytes where it has several lines.
fn plain(shown: &str) -> String {
    let Some(hex) = shown.strip_prefix("\\x") else { return shown.to_owned() };
    let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    String::from_utf8((0..hex.len()).step_by(2).map(byte).collect()).unwrap()
}

/// A line without what the step took.
fn untimed(line: &str) -> String {
    line.split_once(", made in ").map_or_else(|| line.to_owned(), |(step, _)| format!("{step})"))
}

/// What the step took, in milliseconds.
fn made_in(line: &str) -> Option<f64> {
    line.split_once(", made in ")?.1.strip_suffix(" ms)")?.parse().ok()
}

/// How many of the lines begin with the words, blanks before them left out.
fn count(lines: &[String], words: &str) -> usize {
    lines.iter().filter(|line| line.trim_start().starts_with(words)).count()
}

#[test]
fn each_shard_explains_its_part_below_the_routers_plan() {
    let db = Sharded::create("explainparts", "");
    let mut raw = db.connect();
    let shown = lines(&mut raw, "EXPLAIN (COSTS OFF) SELECT id FROM items WHERE n < 9 ORDER BY id LIMIT 5");
    let wanted = [
        "Limit 5",
        "  MergeSort 1",
        "    Scatter s0, s1",
        "      On s0",
        "        Limit",
        "          ->  ",
        "                Filter: (n < 9)",
        "      On s1",
    ];
    let mut at = shown.iter();
    for line in wanted {
        assert!(at.any(|shown| shown.starts_with(line)), "{line}\n{shown:#?}");
    }
    assert_eq!(count(&shown, "On s"), SHARDS);
    assert!(!shown.iter().any(|line| line.contains("actual") || line.starts_with("Execution Time")), "{shown:#?}");
    // What one shard runs is that shard's own answer.
    let one = lines(&mut raw, "EXPLAIN (COSTS OFF) SELECT n FROM items WHERE id = 1");
    assert_eq!(one[0], "Index Scan using items_pkey on items", "{one:#?}");
    // An error is Postgres's own, and nothing is left of it.
    assert_eq!(raw.simple("EXPLAIN (NONSENSE) SELECT id FROM items").code(), "42601");
    assert_eq!(raw.simple("EXPLAIN SELECT nothing FROM items").code(), "42703");
    assert_eq!(raw.simple("EXPLAIN (ANALYZE) SELECT 1 / n FROM items").code(), "22012");
    assert_eq!(raw.value("SELECT count(*) FROM items"), "60");
}

#[test]
fn analyze_runs_every_part_and_counts_its_rows() {
    let db = Sharded::create("explainanalyze", "");
    let mut raw = db.connect();
    let shown =
        lines(&mut raw, "EXPLAIN (ANALYZE, VERBOSE, BUFFERS) SELECT id, name FROM items ORDER BY id LIMIT 7 OFFSET 50");
    assert_eq!(untimed(&shown[0]), "Limit 7 offset 50 (actual rows=7)");
    assert_eq!(count(&shown, "On s"), SHARDS);
    assert!(shown.iter().any(|line| line.contains("Scatter") && line.ends_with("(actual rows=60)")), "{shown:#?}");
    assert!(shown.iter().any(|line| line.trim_start().starts_with("On s0 (actual rows=") && line.ends_with(" ms)")));
    assert!(shown.last().unwrap().starts_with("Execution Time: "));
    let quiet = lines(&mut raw, "EXPLAIN (ANALYZE, TIMING OFF, SUMMARY OFF, COSTS OFF) SELECT count(*) FROM items");
    assert!(quiet[0].starts_with("Aggregate"), "{quiet:#?}");
    assert!(!quiet.iter().any(|line| line.contains("Execution Time")), "{quiet:#?}");
}

#[test]
fn analyze_counts_what_the_routers_own_steps_make_of_the_rows() {
    let db = Sharded::create("explainsteps", "");
    let mut raw = db.connect();
    raw.must("UPDATE items SET n = id % 7");
    let per_shard: usize =
        db.on_each("SELECT count(DISTINCT n) FROM items").iter().map(|n| n.parse::<usize>().unwrap()).sum();
    let groups = raw.value("SELECT count(DISTINCT n) FROM items");
    let kept = lines(&mut raw, "SELECT n, count(*) FROM items GROUP BY n HAVING count(*) > 8").len();
    let sql = "SELECT n, count(*) FROM items GROUP BY n HAVING count(*) > 8 ORDER BY n";
    for analyze in ["ANALYZE", "ANALYZE, TIMING OFF"] {
        let shown = lines(&mut raw, &format!("EXPLAIN ({analyze}) {sql}"));
        let timed = !analyze.contains("TIMING");
        assert_eq!(untimed(&shown[0]), format!("Filter 2 > 8 (actual rows={kept})"), "{shown:#?}");
        assert_eq!(
            untimed(&shown[1]),
            format!("  GroupAggregate by 1: 1, count(2) (actual rows={groups})"),
            "{shown:#?}"
        );
        assert_eq!(untimed(&shown[2]), format!("    MergeSort 1 (actual rows={per_shard})"), "{shown:#?}");
        assert_eq!(count(&shown, "Merge Time: "), usize::from(timed), "{shown:#?}");
        // Each step its own time, which all together are no more than the whole.
        let times: Vec<f64> = shown.iter().filter_map(|line| made_in(line)).collect();
        assert_eq!(times.len(), if timed { 3 } else { 0 }, "{shown:#?}");
        if let Some(whole) = shown.iter().find_map(|line| line.strip_prefix("Merge Time: ")) {
            let whole: f64 = whole.strip_suffix(" ms").unwrap().parse().unwrap();
            assert!(times.iter().sum::<f64>() <= whole && times.iter().any(|took| *took > 0.0), "{shown:#?}");
        }
    }
    let shown = lines(&mut raw, "EXPLAIN ANALYZE SELECT DISTINCT n FROM items");
    assert!(
        shown[0].starts_with("Unique") && untimed(&shown[0]).ends_with(&format!("(actual rows={groups})")),
        "{shown:#?}"
    );
    // The rows of a statement that reads the clock, and hidden columns.
    let shown =
        lines(&mut raw, "EXPLAIN ANALYZE SELECT id FROM items WHERE now() > '2020-01-01' ORDER BY n + 1, id LIMIT 9");
    assert_eq!(untimed(&shown[1]), "  Limit 9 (actual rows=9)", "{shown:#?}");
    assert!(made_in(&shown[1]).is_some(), "{shown:#?}");
    // With values, and in a transaction that goes on.
    raw.must("BEGIN");
    let bound = raw.extended(&format!("EXPLAIN (ANALYZE, FORMAT JSON) {sql}"), &[], &[], 0);
    let json: Json = serde_json::from_str(&plain(&bound.text())).unwrap();
    let steps = json[0]["Steps"].as_array().unwrap();
    assert_eq!(steps.len(), 3, "{json:#}");
    assert_eq!(steps[2]["Actual Rows"].as_u64(), Some(per_shard as u64), "{json:#}");
    assert!(json[0]["Merge Time"].is_number(), "{json:#}");
    assert!(steps.iter().all(|step| step["Made In"].is_number()), "{json:#}");
    let values = [Value::text("3")];
    let bound = raw.extended("EXPLAIN ANALYZE SELECT avg(n) FROM items WHERE n < $1", &[23], &values, 0).text();
    assert!(bound.starts_with("Aggregate") && bound.contains("(actual rows=1, made in "), "{bound}");
    raw.must("COMMIT");
    // What is pulled is counted, too.
    let shown = lines(&mut raw, "EXPLAIN ANALYZE SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY n) FROM items");
    assert!(
        shown.iter().any(|line| line.contains("Pull public.items") && line.contains("(actual rows=60, filled in "))
    );
}

#[test]
fn rows_that_are_only_passed_on_are_asked_for_once() {
    let db = Sharded::create("explainonce", "");
    let mut raw = db.connect();
    raw.must(
        "CREATE FUNCTION told(n int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'row %', n; RETURN n; END $$",
    );
    let told = raw.must("EXPLAIN ANALYZE SELECT told(id) FROM items");
    assert_eq!(told.notices.len(), 60, "{}", told.text());
    assert!(told.text().lines().any(|line| line.starts_with("Scatter") && line.ends_with("(actual rows=60)")));
    // What the router makes something of runs twice: for the shards' words, and for the router's own.
    let told = raw.must("EXPLAIN ANALYZE SELECT told(n), id FROM items ORDER BY id");
    assert_eq!(told.notices.len(), 120, "{}", told.text());
    assert!(told.text().starts_with("MergeSort 2 (actual rows=60, made in "), "{}", told.text());
}

#[test]
fn analyzed_writes_take_effect_on_all_shards_or_on_none() {
    let db = Sharded::create("explainwrites", "");
    let mut raw = db.connect();
    raw.must("EXPLAIN UPDATE items SET n = n + 1");
    assert_eq!(raw.value("SELECT sum(n) FROM items"), "0");
    raw.must("EXPLAIN ANALYZE UPDATE items SET n = n + 1");
    assert_eq!(raw.value("SELECT sum(n) FROM items"), "60");
    // One shard fails: none has it.
    let error =
        raw.simple(&format!("EXPLAIN ANALYZE UPDATE items SET n = CASE WHEN id = {} THEN -1 ELSE 5 END", db.id(1, 0)));
    assert_eq!(error.code(), "23514");
    assert_eq!(raw.value("SELECT sum(n) FROM items"), "60");
    assert!(db.prepared().is_empty());
    // A split INSERT, a reference table, and a transaction that is rolled back.
    let ids = db.free_ids(1000);
    let rows: Vec<String> = ids.iter().map(|id| format!("({id}, 100)")).collect();
    let insert = format!("INSERT INTO items (id, n) VALUES {}", rows.join(", "));
    let shown = lines(&mut raw, &format!("EXPLAIN (COSTS OFF) {insert}"));
    assert!(shown[0].starts_with("Split: "), "{shown:#?}");
    assert_eq!(count(&shown, "On s"), SHARDS);
    assert!(!shown.iter().any(|line| line.contains("EXPLAIN")), "{shown:#?}");
    assert_eq!(raw.value("SELECT count(*) FROM items WHERE n = 100"), "0");
    raw.must("BEGIN");
    raw.must(&format!("EXPLAIN (ANALYZE) {insert}"));
    raw.must("EXPLAIN (ANALYZE) INSERT INTO places VALUES ('x', 'X')");
    assert_eq!(raw.value("SELECT count(*) FROM items WHERE n = 100"), SHARDS.to_string());
    raw.must("ROLLBACK");
    assert_eq!(raw.value("SELECT count(*) FROM items WHERE n = 100"), "0");
    assert_eq!(db.on_each("SELECT count(*) FROM places"), vec!["1"; SHARDS]);
    raw.must("EXPLAIN ANALYZE DELETE FROM places");
    assert_eq!(db.on_each("SELECT count(*) FROM places"), vec!["0"; SHARDS]);
}

#[test]
fn what_a_postgres_finishes_shows_the_pulls_and_the_finish() {
    let db = Sharded::create("explainfinish", "");
    let mut raw = db.connect();
    let sql = "SELECT stddev(n::float8) FROM items WHERE id > 3";
    let shown = lines(&mut raw, &format!("EXPLAIN (COSTS OFF) {sql}"));
    assert!(shown[0].starts_with("Finish on s0: "), "{shown:#?}");
    assert_eq!(shown[2], "  On s0", "{shown:#?}");
    assert_eq!(shown[3], "    Aggregate", "{shown:#?}");
    assert_eq!(count(&shown, "Pull public.items"), 1);
    assert_eq!(count(&shown, "On s"), SHARDS + 1);
    assert!(shown.last().unwrap().contains("empty inputs"));
    let run = lines(&mut raw, &format!("EXPLAIN (ANALYZE, COSTS OFF) {sql}"));
    assert!(run[2].starts_with("  On s0 (actual rows=1, answered in "), "{run:#?}");
    assert!(run.iter().any(|line| line.contains("Seq Scan on pg_temp") || line.contains("rows=57")), "{run:#?}");
    assert!(run.last().unwrap().starts_with("Execution Time: "));
    // Within a block the writes of the block are there, and it goes on afterwards.
    raw.must("BEGIN");
    raw.must("DELETE FROM items WHERE id > 10");
    let run = lines(&mut raw, &format!("EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) {sql}"));
    assert!(run.iter().any(|line| line.contains("rows=7 ")), "{run:#?}");
    assert_eq!(raw.simple("EXPLAIN ANALYZE SELECT stddev(1 / n) FROM items").code(), "22012");
    assert_eq!(raw.simple("SELECT 1").code(), "25P02");
    raw.must("ROLLBACK");
    assert_eq!(raw.value("SELECT count(*) FROM items"), "60");
    assert_eq!(raw.value("SELECT count(DISTINCT n) FROM items"), "1");
}

#[test]
fn structured_formats_are_one_document() {
    let db = Sharded::create("explainformats", "");
    let mut raw = db.connect();
    for sql in ["SELECT count(*) FROM items", "SELECT stddev(n) FROM items", "UPDATE items SET n = n"] {
        let json: Json = serde_json::from_str(&plain(&raw.value(&format!("EXPLAIN (FORMAT JSON) {sql}")))).unwrap();
        let shards = |of: &Json| of.as_array().unwrap().len();
        let of = match json[0]["Pulls"][0]["Shards"].is_array() {
            true => &json[0]["Pulls"][0]["Shards"],
            false => &json[0]["Shards"],
        };
        assert_eq!(shards(of), SHARDS, "{json:#}");
        assert!(of[0]["Explain"][0]["Plan"]["Node Type"].is_string(), "{json:#}");
        let json: Json =
            serde_json::from_str(&plain(&raw.value(&format!("EXPLAIN (ANALYZE, FORMAT JSON) {sql}")))).unwrap();
        assert!(json[0]["Execution Time"].is_number(), "{json:#}");
        let yaml = plain(&raw.value(&format!("EXPLAIN (FORMAT YAML) {sql}")));
        assert!(yaml.starts_with("- Route:\n    access: "), "{yaml}");
        assert!(yaml.contains("- Plan: \n"), "{yaml}");
        let xml = plain(&raw.value(&format!("EXPLAIN (FORMAT XML) {sql}")));
        // A Postgres knows what XML is.
        let valid = format!("SELECT xml_is_well_formed_document($x${xml}$x$)");
        assert_eq!(db.db.shard(0).value(&valid), "t", "{xml}");
    }
}

#[test]
fn the_extended_protocol_describes_and_binds_as_postgres_does() {
    let db = Sharded::create("explainextended", "");
    let mut raw = db.connect();
    for sql in ["SELECT id FROM items WHERE n < $1 ORDER BY id", "SELECT stddev(n) FROM items WHERE n < $1"] {
        for (format, oid) in [("TEXT", 25), ("JSON", 114)] {
            let sql = format!("EXPLAIN (ANALYZE, FORMAT {format}) {sql}");
            let batch = [
                m::parse("", &sql, &[]),
                m::describe(b'S', ""),
                m::bind("", "", &[Value::text("9")], &[]),
                m::describe(b'P', ""),
                m::execute("", 0),
                m::sync(),
            ];
            raw.send(&batch.concat()).unwrap();
            let replies = raw.read_to_ready().unwrap();
            let tags: String =
                replies.iter().map(|message| char::from(message.tag)).filter(|tag| *tag != 'D').collect();
            assert_eq!(tags, "1tT2TCZ", "{replies:?}");
            let columns = replies.iter().find(|message| message.tag == b'T').unwrap().columns();
            let shown = format!("{columns:?}");
            assert!(shown.contains("QUERY PLAN") && shown.contains(&oid.to_string()), "{shown}");
            let text = plain(&raw.extended(&sql, &[23], &[Value::binary(9_i32.to_be_bytes())], 0).text());
            assert!(text.contains("On s1") || serde_json::from_str::<Json>(&text).is_ok(), "{text}");
        }
    }
    // A pipeline whose write comes first.
    let batch = [
        m::parse("", "UPDATE items SET n = 3", &[]),
        m::bind("", "", &[], &[]),
        m::execute("", 0),
        m::parse("", "EXPLAIN ANALYZE SELECT stddev(n) FROM items WHERE n = 3", &[]),
        m::bind("", "", &[], &[]),
        m::execute("", 0),
        m::sync(),
    ];
    raw.send(&batch.concat()).unwrap();
    let replies = raw.read_to_ready().unwrap();
    assert!(replies.iter().all(|message| message.tag != b'E'), "{replies:?}");
    assert_eq!(raw.value("SELECT sum(n) FROM items"), "180");
}

#[test]
fn explain_route_says_why_not_one_shard() {
    let db = Sharded::create("explainwhy", "");
    let mut raw = db.connect();
    let shown = lines(&mut raw, "EXPLAIN (ROUTE) SELECT n FROM items WHERE abs(id) = 5");
    assert!(
        shown.contains(&"Not one shard: abs(id) = 5: function abs() around the key column".to_owned()),
        "{shown:#?}"
    );
    assert!(!lines(&mut raw, "EXPLAIN (ROUTE) SELECT n FROM items WHERE id = 5").join("").contains("Not one shard"));
    let json = raw.value("EXPLAIN (ROUTE, FORMAT JSON) SELECT i.n FROM items i JOIN parts p ON p.id = i.n");
    let json: Json = serde_json::from_str(&plain(&json)).unwrap();
    assert_eq!(json["not_one_shard"][1]["remedy"], "join them by p.id = i.id as well", "{json:#}");
}

#[test]
fn the_command_explains_in_the_words_and_documents_of_the_router() {
    let db = Sharded::create("explaincli", "");
    let mut raw = db.connect();
    let command = |more: &[&str], sql: &str| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_pgloom"));
        command.arg("explain").args(more).arg(sql).arg("--config").arg(&db.router.config);
        command.output().unwrap()
    };
    for (sql, status) in [
        ("SELECT n FROM items WHERE id = 5", 0),
        ("SELECT n, count(*) FROM items GROUP BY n ORDER BY n LIMIT 3", 0),
        ("SELECT i.n FROM items i JOIN parts p ON p.id = i.n", 0),
        ("SELECT rank() OVER (ORDER BY n) FROM items", 0),
        ("UPDATE items SET id = id + random()", 0),
        ("SELECT i.n FROM items i JOIN parts p ON p.id = i.n LIMIT 3 FOR UPDATE", 0),
        ("SELECT n FROM items ORDER BY n FETCH FIRST 1 ROW WITH TIES FOR UPDATE", 1),
    ] {
        let shown = lines(&mut raw, &format!("EXPLAIN (ROUTE) {sql}"));
        let said = command(&[], sql);
        assert_eq!(String::from_utf8_lossy(&said.stdout).lines().collect::<Vec<_>>(), shown, "{sql}");
        assert_eq!(said.status.code(), Some(status), "{sql}: {said:?}");
        let shown = plain(&raw.value(&format!("EXPLAIN (ROUTE, FORMAT JSON) {sql}")));
        let said = command(&["--json"], sql);
        let read = |text: &str| serde_json::from_str::<Json>(text).unwrap_or_else(|error| panic!("{error}: {text}"));
        assert_eq!(read(&String::from_utf8_lossy(&said.stdout)), read(&shown), "{sql}");
        assert_eq!(said.status.code(), Some(status), "{sql}: {said:?}");
    }
}

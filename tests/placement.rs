//! Methods of placement, end to end: `postgres_hash` puts a row where PARTITION BY HASH puts it, `composite` into its group.

#![allow(clippy::unwrap_used)]

mod support;

use std::fmt::Write;

use pgloom::types::KeyType;
use pgloom::types::postgres_hash::{is_hashed, partition_hash};
use support::{Cluster, Database, Router, SHARDS};

/// A type that can be a key, and an expression that makes many of its values out of `g`; `h` is a text of `g % 40` characters.
const TYPES: [(KeyType, &str, &str); 13] = [
    (KeyType::Bool, "bool", "g % 2 = 0"),
    (KeyType::Int2, "int2", "CASE g WHEN 1 THEN -32768 WHEN 2 THEN 32767 ELSE g * 163 - 16000 END"),
    (KeyType::Int4, "int4", "CASE g WHEN 1 THEN -2147483648 WHEN 2 THEN 2147483647 ELSE g * 9876543 - 1000000000 END"),
    (
        KeyType::Int8,
        "int8",
        "CASE g WHEN 1 THEN (-9223372036854775808) WHEN 2 THEN 9223372036854775807 WHEN 3 THEN -1 \
        ELSE g * 98765432109876 - 9000000000000000 END",
    ),
    (KeyType::Text, "text", "h"),
    (KeyType::Text, "text COLLATE \"C\"", "h || 'é日本🙂'"),
    (KeyType::Varchar, "varchar(80)", "h || '  '"),
    (KeyType::Bpchar, "char(60)", "h || ' '"),
    (KeyType::Uuid, "uuid", "md5(g::text)::uuid"),
    (KeyType::Bytea, "bytea", "decode(md5(h) || md5(g::text), 'hex')"),
    (
        KeyType::Date,
        "date",
        "CASE g WHEN 1 THEN 'infinity' WHEN 2 THEN '-infinity' ELSE date '1900-01-01' + g * 317 END",
    ),
    (
        KeyType::Timestamp,
        "timestamp",
        "CASE g WHEN 1 THEN 'infinity' ELSE timestamp '1969-12-31 23:59:59.123456' + g * interval '-77 days 3.000001 s' END",
    ),
    (KeyType::Timestamptz, "timestamptz", "timestamptz '2000-01-01 00:00:00+00' + g * interval '101 days 0.5 s'"),
];
/// Postgres takes any modulus here; together they leave nothing of the hash unseen.
const MODULI: [u64; 3] = [64, 61, 7];

#[test]
fn keys_of_every_type_hash_as_postgres_hashes_them() {
    let mut raw = Cluster::shared().oracle.connect("postgres");
    raw.must("SET TimeZone TO 'UTC'; SET DateStyle TO ISO");
    for (index, (key_type, sql_type, values)) in TYPES.iter().enumerate() {
        assert!(is_hashed(*key_type));
        let table = format!("pg_temp.parted_{index}");
        raw.must(&format!("CREATE TEMP TABLE parted_{index} (k {sql_type}) PARTITION BY HASH (k)"));
        let plain = sql_type.split(' ').next().unwrap();
        let mut sql = String::from("SELECT v::text");
        for modulus in MODULI {
            let _ = write!(
                sql,
                ", (SELECT string_agg(r::text, ',') FROM generate_series(0, {modulus} - 1) r \
                 WHERE satisfies_hash_partition('{table}'::regclass, {modulus}, r, v))"
            );
        }
        let _ = write!(
            sql,
            " FROM (SELECT ({values})::{plain} AS v FROM (SELECT g, left(repeat(md5(g::text), 2), g % 40) AS h \
             FROM generate_series(1, 200) g) x) y"
        );
        let reply = raw.must(&sql);
        assert_eq!(reply.answers[0].rows.len(), 200);
        for row in &reply.answers[0].rows {
            let text: Vec<&str> =
                row.iter().map(|cell| std::str::from_utf8(cell.as_deref().unwrap()).unwrap()).collect();
            let value = key_type.parse_text(text[0]).unwrap();
            let hash = partition_hash(std::slice::from_ref(&value)).unwrap();
            for (modulus, remainder) in MODULI.iter().zip(&text[1..]) {
                assert_eq!((hash % modulus).to_string(), **remainder, "{sql_type} {:?} by {modulus}", text[0]);
            }
        }
    }
}

#[test]
fn other_types_are_refused_when_the_config_is_read() {
    for key_type in [KeyType::Numeric, KeyType::Inet] {
        assert!(!is_hashed(key_type));
    }
}

/// One distribution `only` with this rule, and these tables (name, columns) by it.
fn config(db: &Database, rule: &str, tables: &[(&str, &str)]) -> String {
    let mut out = String::from(
        "[general]\nport = {port}\nmetrics_listen = \"127.0.0.1:{http_port}\"\nauth_type = \"trust\"\n\
         [[users]]\nname = \"postgres\"\n",
    );
    let name = &db.name;
    let _ = writeln!(out, "[databases.{name}]");
    for (index, port) in db.ports().iter().enumerate() {
        let _ = writeln!(out, "[[databases.{name}.shards]]\nname = \"s{index}\"\nhost = \"127.0.0.1\"\nport = {port}");
    }
    let _ = writeln!(out, "[[databases.{name}.distributions]]\nname = \"only\"\n{rule}");
    for (table, columns) in tables {
        let _ = writeln!(
            out,
            "[[databases.{name}.tables]]\nname = \"{table}\"\ndistribution = \"only\"\ncolumns = [{columns}]"
        );
    }
    out
}

/// Partitions of different moduli, as after the split of some: modulus, remainder, shard.
const PARTITIONS: [(u32, u32, usize); 6] = [(4, 0, 0), (4, 1, 1), (8, 2, 2), (8, 6, 3), (8, 3, 1), (8, 7, 0)];

const SCHEMA: &str =
    "CREATE TABLE events (device text NOT NULL, day bigint NOT NULL, n int, PRIMARY KEY (device, day))";
const ROWS: &str = "SELECT 'device ' || g % 40, g, g FROM generate_series(1, 400) g";

/// What Postgres had partitioned is found where it lies, and what is written lies where Postgres would have put it.
#[test]
fn data_that_postgres_has_partitioned_are_adopted_as_they_lie() {
    let db = Database::create("placement");
    db.everywhere(SCHEMA);
    let mut oracle = db.oracle();
    oracle.must(&format!("INSERT INTO events {ROWS}"));
    oracle.must("CREATE TABLE parted (device text, day bigint, n int) PARTITION BY HASH (device, day)");
    for (modulus, remainder, _) in PARTITIONS {
        oracle.must(&format!(
            "CREATE TABLE parted_{modulus}_{remainder} PARTITION OF parted FOR VALUES WITH (MODULUS {modulus}, REMAINDER {remainder})"
        ));
    }
    oracle.must("INSERT INTO parted SELECT * FROM events");
    // Half of the rows are there before the router is: each partition on its shard.
    for (modulus, remainder, shard) in PARTITIONS {
        let rows = oracle.must(&format!("COPY (SELECT * FROM parted_{modulus}_{remainder} WHERE n <= 200) TO STDOUT"));
        let rows = rows.answers[0].copied.clone().unwrap();
        assert!(db.shard(shard).copy_in("COPY events FROM STDIN", &rows).error.is_none());
    }
    let partitions: Vec<String> = PARTITIONS
        .iter()
        .map(|(modulus, remainder, shard)| {
            format!("{{ modulus = {modulus}, remainder = {remainder}, shard = \"s{shard}\" }}")
        })
        .collect();
    let rule = format!(
        "method = \"postgres_hash\"\nkey_types = [\"text\", \"bigint\"]\npartitions = [{}]",
        partitions.join(", ")
    );
    let router = Router::start(&config(&db, &rule, &[("events", "\"device\", \"day\"")]));
    let mut through = router.connect(&db.name);
    // The other half comes through it, by COPY and by INSERT of several rows.
    let rows =
        oracle.must("COPY (SELECT * FROM events WHERE n BETWEEN 201 AND 300) TO STDOUT").answers[0].copied.clone();
    assert!(through.copy_in("COPY events FROM STDIN", &rows.unwrap()).error.is_none());
    let rows: Vec<String> = (301..=400).map(|g| format!("('device {}', {g}, {g})", g % 40)).collect();
    through.must(&format!("INSERT INTO events VALUES {}", rows.join(", ")));
    for shard in 0..SHARDS {
        let parts: Vec<String> = PARTITIONS
            .iter()
            .filter(|(_, _, of)| *of == shard)
            .map(|(modulus, remainder, _)| format!("SELECT day FROM parted_{modulus}_{remainder}"))
            .collect();
        let wanted = oracle.values(&format!("{} ORDER BY day", parts.join(" UNION ALL ")));
        assert!(wanted.len() > 20);
        assert_eq!(db.shard(shard).values("SELECT day FROM events ORDER BY day"), wanted, "shard {shard}");
    }
    for g in [1, 77, 201, 400] {
        let one = format!("SELECT n FROM events WHERE device = 'device {}' AND day = {g}", g % 40);
        assert_eq!(through.value(&one), g.to_string());
        let route = through.must(&format!("EXPLAIN (ROUTE) {one}")).text();
        assert!(route.starts_with("Single"), "{route}");
    }
    for sql in [
        "SELECT count(*), sum(n) FROM events",
        "SELECT device, count(*) FROM events GROUP BY device ORDER BY device COLLATE \"C\"",
        "SELECT * FROM events WHERE device = 'device 7' ORDER BY day",
        "SELECT * FROM events WHERE device IN ('device 7', 'device 8') AND day IN (7, 8, 47) ORDER BY day",
    ] {
        assert_eq!(through.must(sql).answers, oracle.must(sql).answers, "{sql}");
    }
    drop(router);
}

/// The first column says which shards, the hash of the second which of them; where only the first is known, its group is asked.
#[test]
fn composite_keys_lie_in_the_group_of_their_first_column() {
    const SCHEMA: &str = "CREATE TABLE users (region text, id bigint, name text, PRIMARY KEY (region, id)); \
         CREATE TABLE visits (region text, id bigint, n int)";
    const USERS: &str =
        "SELECT (ARRAY['eu', 'uk', 'us', 'asia'])[g % 4 + 1], g, 'user ' || g FROM generate_series(1, 200) g";
    const VISITS: &str = "SELECT region, id, n FROM users, generate_series(1, 3) n WHERE id % 3 > 0";
    let db = Database::create("composite");
    db.everywhere(SCHEMA);
    let mut oracle = db.oracle();
    oracle.must(&format!("INSERT INTO users {USERS}; INSERT INTO visits {VISITS}"));
    let rule = "method = \"composite\"\nkey_types = [\"text\", \"bigint\"]\ngroups = [\
         { values = [\"eu\", \"uk\"], shards = [\"s0\", \"s1\"] }, { value = \"us\", shards = [\"s2\"] }, { shards = [\"s2\", \"s3\"] }]\n\
         pins = [{ value = [\"eu\", 4], shard = \"s3\" }]";
    let columns = "\"region\", \"id\"";
    let router = Router::start(&config(&db, rule, &[("users", columns), ("visits", columns)]));
    let mut through = router.connect(&db.name);
    for table in ["users", "visits"] {
        let rows = oracle.must(&format!("COPY {table} TO STDOUT")).answers[0].copied.clone().unwrap();
        assert!(through.copy_in(&format!("COPY {table} FROM STDIN"), &rows).error.is_none());
    }
    let regions = |shard: usize| {
        db.shard(shard).values("SELECT DISTINCT region FROM users WHERE (region, id) <> ('eu', 4) ORDER BY 1")
    };
    assert_eq!([0, 1, 2, 3].map(regions), [vec!["eu", "uk"], vec!["eu", "uk"], vec!["asia", "us"], vec!["asia"]]);
    assert_eq!(db.shard(3).value("SELECT name FROM users WHERE region = 'eu'"), "user 4");
    let mut route = |sql: &str| through.must(&format!("EXPLAIN (ROUTE) {sql}")).text();
    let asks = |plan: &str| -> Vec<usize> { (0..SHARDS).filter(|shard| plan.contains(&format!("s{shard}"))).collect() };
    assert_eq!(asks(&route("SELECT count(*) FROM users WHERE region = 'eu'")), [0, 1, 3]);
    assert_eq!(asks(&route("SELECT * FROM users WHERE region = 'us'")), [2]);
    assert_eq!(asks(&route("SELECT * FROM users WHERE region = 'eu' AND id = 4")), [3]);
    assert_eq!(asks(&route("SELECT * FROM users WHERE region = 'uk' AND id = 5")).len(), 1);
    for sql in [
        "SELECT count(*), min(name COLLATE \"C\") FROM users WHERE region IN ('eu', 'us')",
        "SELECT region, id, name FROM users WHERE region = 'eu' ORDER BY id",
        "SELECT region, id, name FROM users WHERE id IN (4, 5, 6, 7) ORDER BY id",
        "SELECT u.region, u.id, sum(v.n) FROM users u JOIN visits v USING (region, id) GROUP BY u.region, u.id ORDER BY u.id",
        "SELECT u.region, count(*) FROM users u LEFT JOIN visits v ON v.id = u.id GROUP BY u.region ORDER BY 1",
        "INSERT INTO users VALUES ('eu', 1001, 'new'), ('us', 1002, 'new'), ('nowhere', 1003, 'new')",
        "UPDATE users SET name = 'old' WHERE region = 'uk'",
        "DELETE FROM users WHERE region = 'eu' AND id < 50",
        "SELECT region, id, name FROM users ORDER BY id",
        "INSERT INTO users VALUES (NULL, 1004, 'none')",
    ] {
        let (theirs, ours) = (oracle.simple(sql), through.simple(sql));
        assert_eq!((ours.code(), &ours.answers), (theirs.code(), &theirs.answers), "{sql}");
    }
    drop(router);
}

#[test]
fn rows_of_a_binary_copy_lie_where_keys_of_their_columns_type_lie() {
    let db = Database::create("narrowcopy");
    (0..SHARDS).for_each(|index| {
        drop(db.shard(index).must("CREATE TABLE narrow (k int4 PRIMARY KEY, v text); CREATE TABLE wide (k int8)"))
    });
    let mut text = config(&db, "key_types = [\"int8\"]", &[("narrow", "\"k\"")]);
    let name = &db.name;
    let _ = writeln!(text, "[[databases.{name}.distributions]]\nname = \"other\"\nkey_types = [\"int4\"]");
    let _ = writeln!(text, "[[databases.{name}.tables]]\nname = \"wide\"\ndistribution = \"other\"\ncolumns = [\"k\"]");
    let router = Router::start(&text);
    let mut raw = router.connect(&db.name);
    let out = db.oracle().must("COPY (SELECT g, 'row ' || g FROM generate_series(1, 40) g) TO STDOUT (FORMAT binary)");
    let data = out.answers[0].copied.clone().unwrap();
    assert_eq!(raw.copy_in("COPY narrow FROM STDIN (FORMAT binary)", &data).answers[0].tag.as_deref(), Some("COPY 40"));
    for key in 1..=40 {
        assert_eq!(raw.value(&format!("SELECT v FROM narrow WHERE k = {key}")), format!("row {key}"));
    }
    // A column that is wider than the key of its distribution has values that no shard would refuse.
    let wide = raw.copy_in("COPY wide FROM STDIN", b"7\n5000000000\n");
    assert_eq!(wide.code(), "0A000", "{wide:?}");
    assert_eq!(raw.value("SELECT count(*) FROM wide"), "0");
}

//! Databases whose texts are not in the order of their bytes: the answers of one Postgres that sorts as they do.

#![allow(clippy::unwrap_used)]

mod support;

use std::fmt::Write;

use support::raw::{Raw, Reply, Value, cell_text};
use support::{Database, Router};

const TABLES: &str = "CREATE TABLE words (w text PRIMARY KEY, n int); CREATE TABLE hashed (w text, n int, PRIMARY KEY (w, n)); \
    CREATE TABLE codes (c char(6), n int); CREATE TABLE listed (w varchar(12), n int); \
    CREATE TABLE lots (id int PRIMARY KEY, w text, v varchar(12), c char(6), b text COLLATE \"C\", o text COLLATE \"other\"); \
    CREATE TABLE bytes (b text COLLATE \"C\" PRIMARY KEY, n int); CREATE TABLE refs (w text PRIMARY KEY, n int); CREATE TABLE plain (w text, n int)";

/// Texts on which the orders of bytes and of a language disagree.
const TEXTS: [&str; 40] = [
    "a", "A", "b", "B", "z", "Z", "ä", "Ä", "å", "Å", "ö", "Ö", "é", "e", "E", "f", "F", "-a", "_b", "a b", "ab",
    "a-b", "A-B", "co-op", "coop", "CO-OP", "10", "9", "ß", "ss", "SS", "M", "m", "n", "N", "mm", "Mm", "", " ", "ñ",
];

/// `{t}` is one of the tables, whose column `w` is a text.
const SHAPES: [&str; 44] = [
    "SELECT w FROM {t} ORDER BY w",
    "SELECT w, n FROM {t} ORDER BY w DESC, n LIMIT 7",
    "SELECT w FROM {t} ORDER BY w OFFSET 5 LIMIT 9",
    "SELECT w, n FROM {t} ORDER BY w COLLATE \"C\", n",
    "SELECT w, n FROM {t} ORDER BY w COLLATE \"other\" DESC, n LIMIT 11",
    "SELECT w, n FROM {t} ORDER BY lower(w), w, n LIMIT 20",
    "SELECT w || 'x' AS y, n FROM {t} ORDER BY y, n LIMIT 12",
    "SELECT min(w), max(w), count(w), count(DISTINCT w) FROM {t}",
    "SELECT min(w COLLATE \"C\"), max(w COLLATE \"C\") FROM {t}",
    "SELECT n % 3 AS g, min(w), max(w) FROM {t} GROUP BY 1 ORDER BY 1",
    "SELECT n % 3 AS g, string_agg(w, ',' ORDER BY w) FROM {t} GROUP BY 1 ORDER BY 1",
    "SELECT DISTINCT w FROM {t} ORDER BY w",
    "SELECT DISTINCT w FROM {t} ORDER BY w LIMIT 8",
    "SELECT DISTINCT ON (w) w, n FROM {t} ORDER BY w, n DESC",
    "SELECT DISTINCT ON (lower(w)) lower(w), w, n FROM {t} ORDER BY lower(w), w DESC, n LIMIT 9",
    "SELECT w, count(*), sum(n) FROM {t} GROUP BY w ORDER BY w",
    "SELECT w, count(*) FROM {t} GROUP BY w HAVING w > 'b' ORDER BY w LIMIT 6",
    "SELECT lower(w) AS l, count(*) FROM {t} GROUP BY l ORDER BY l",
    "SELECT w FROM {t} WHERE w < 'b' ORDER BY w, n",
    "SELECT w FROM {t} WHERE w >= 'a' AND w < 'n' ORDER BY w, n",
    "SELECT w FROM {t} WHERE w BETWEEN 'M' AND 'z' ORDER BY w, n",
    "SELECT w FROM {t} WHERE w > 'm' ORDER BY w, n",
    "SELECT w FROM {t} WHERE 'Z' <= w ORDER BY w, n",
    "SELECT w FROM {t} WHERE w > 'm' COLLATE \"C\" ORDER BY w, n",
    "SELECT w FROM {t} WHERE w COLLATE \"other\" < 'b' ORDER BY w, n",
    "SELECT w FROM {t} WHERE w < ANY (ARRAY['b', 'A']) ORDER BY w, n",
    "SELECT w FROM {t} WHERE (w, n) > ('m', 3) ORDER BY w, n",
    "SELECT w FROM {t} WHERE w > 'a' AND w > 'M' AND NOT w > 'z' ORDER BY w, n",
    "SELECT w FROM {t} WHERE w LIKE 'a%' ORDER BY w, n",
    "SELECT w FROM {t} WHERE w ILIKE 'M%' ORDER BY w, n",
    "SELECT w FROM {t} WHERE w IN ('a', 'A', 'ä', 'ss') ORDER BY w, n",
    "SELECT w FROM {t} WHERE w = 'M'",
    "SELECT count(*) FROM {t} WHERE w <> 'M' AND w < 'Z'",
    "SELECT w FROM {t} UNION SELECT w FROM refs ORDER BY 1 LIMIT 15",
    "SELECT w || '.' FROM {t} UNION ALL SELECT upper(w) || '.' FROM refs ORDER BY 1 DESC LIMIT 15",
    "SELECT w FROM {t} INTERSECT SELECT b FROM lots ORDER BY 1",
    "SELECT w FROM {t} EXCEPT SELECT w FROM refs WHERE w > 'b' ORDER BY 1",
    "SELECT b FROM lots UNION ALL SELECT w FROM {t} ORDER BY 1 LIMIT 9",
    "SELECT o FROM lots UNION ALL SELECT w FROM {t} ORDER BY 1 LIMIT 9",
    "SELECT a.w, b.w FROM {t} a JOIN refs b ON a.w < b.w WHERE b.n < 4 ORDER BY 1, 2, a.n LIMIT 25",
    "SELECT a.w FROM {t} a JOIN lots b ON a.w = b.w WHERE b.w > 'A' ORDER BY a.w, a.n, b.id LIMIT 25",
    "SELECT w, rank() OVER (ORDER BY w), lag(w) OVER (ORDER BY w, n) FROM {t} ORDER BY w, n",
    "SELECT percentile_disc(0.3) WITHIN GROUP (ORDER BY w), mode() WITHIN GROUP (ORDER BY w) FROM {t}",
    "SELECT greatest(w, 'M'), least(w, 'b'), w < 'M', n FROM {t} ORDER BY 1, 2, 4 LIMIT 20",
];

/// Others, of the table with every type.
const OTHERS: [&str; 25] = [
    "SELECT w FROM words UNION ALL SELECT w FROM hashed ORDER BY 1 DESC LIMIT 15",
    "SELECT w FROM words UNION SELECT w FROM lots ORDER BY 1 LIMIT 15",
    "SELECT w FROM words UNION ALL SELECT o FROM lots ORDER BY 1 DESC LIMIT 15",
    "SELECT v FROM lots UNION ALL SELECT w FROM listed ORDER BY 1 LIMIT 15",
    "SELECT q.x, q.n FROM (SELECT greatest(b, b) AS x, count(*) AS n FROM lots GROUP BY 1) q ORDER BY x LIMIT 5",
    "SELECT q.x, q.n FROM (SELECT id, o || o AS x, count(*) AS n FROM lots GROUP BY id) q ORDER BY x, n, id LIMIT 5",
    "SELECT v FROM lots ORDER BY v, id LIMIT 9",
    "SELECT c FROM lots ORDER BY c DESC, id LIMIT 9",
    "SELECT b FROM lots ORDER BY b, id LIMIT 9",
    "SELECT o FROM lots ORDER BY o, id LIMIT 9",
    "SELECT min(v), max(v), min(c), max(c), min(b), max(b), min(o), max(o) FROM lots",
    "SELECT v, count(*) FROM lots GROUP BY v ORDER BY v",
    "SELECT DISTINCT c FROM lots ORDER BY c",
    "SELECT b FROM bytes WHERE b > 'M' ORDER BY b",
    "SELECT b FROM bytes WHERE b BETWEEN 'A' AND 'a' ORDER BY b LIMIT 5",
    "SELECT b FROM bytes WHERE b > 'M' COLLATE \"other\" ORDER BY b COLLATE \"other\" LIMIT 5",
    "SELECT max(b), min(b COLLATE \"other\") FROM bytes",
    "SELECT x.b, y.w FROM bytes x JOIN words y ON x.b = y.w WHERE y.w > 'b' AND y.w < 'z' ORDER BY y.w",
    "SELECT x.b FROM bytes x JOIN words y ON x.b = y.w AND x.b > 'M' ORDER BY x.b",
    "SELECT w FROM words WHERE w > (SELECT min(w) FROM refs WHERE w > 'm') ORDER BY w",
    "SELECT w FROM words WHERE w >= ALL (SELECT w FROM hashed) ORDER BY w",
    "SELECT w FROM plain UNION SELECT w FROM hashed ORDER BY w LIMIT 9",
    "SELECT b || '' FROM lots UNION SELECT o FROM lots ORDER BY 1 COLLATE \"C\" LIMIT 9",
    "WITH q AS (SELECT w, max(n) AS n FROM hashed GROUP BY w) SELECT * FROM q WHERE w < 'm' ORDER BY w DESC LIMIT 6",
    "SELECT array_agg(w ORDER BY w DESC) FROM (SELECT w FROM hashed ORDER BY w LIMIT 10) q",
];

fn config(db: &Database) -> String {
    let name = &db.name;
    let mut out = format!(
        "[general]\nport = {{port}}\nmetrics_listen = \"127.0.0.1:{{http_port}}\"\nauth_type = \"trust\"\n\
         [[users]]\nname = \"postgres\"\n[databases.{name}]\n"
    );
    for (index, port) in db.ports().iter().enumerate() {
        let _ = writeln!(out, "[[databases.{name}.shards]]\nname = \"s{index}\"\nhost = \"127.0.0.1\"\nport = {port}");
    }
    let ranges = "ranges = [{ to = \"B\", shard = \"s0\" }, { from = \"B\", to = \"a b\", shard = \"s1\" }, \
                  { from = \"a b\", to = \"m\", shard = \"s2\" }, { from = \"m\", shard = \"s3\" }]";
    let list = "values = [{ values = [\"a\", \"B\", \"ä\"], shard = \"s0\" }, { values = [\"A\", \"b\", \"M\"], shard = \"s1\" }]\ndefault_shard = \"s2\"";
    for (distribution, of) in [
        ("by_range", format!("method = \"range\"\nkey_types = [\"text\"]\n{ranges}")),
        ("by_list", format!("method = \"list\"\nkey_types = [\"varchar\"]\n{list}")),
        ("by_text", "key_types = [\"text\"]".to_owned()),
        ("by_char", "key_types = [\"bpchar\"]".to_owned()),
        ("by_id", "key_types = [\"int4\"]".to_owned()),
    ] {
        let _ = writeln!(out, "[[databases.{name}.distributions]]\nname = \"{distribution}\"\n{of}");
    }
    for (table, distribution, column) in [
        ("words", "by_range", "w"),
        ("bytes", "by_range", "b"),
        ("listed", "by_list", "w"),
        ("hashed", "by_text", "w"),
        ("codes", "by_char", "c"),
        ("lots", "by_id", "id"),
    ] {
        let _ = writeln!(
            out,
            "[[databases.{name}.tables]]\nname = \"{table}\"\ndistribution = \"{distribution}\"\ncolumns = [\"{column}\"]"
        );
    }
    let _ = writeln!(out, "[[databases.{name}.tables]]\nname = \"refs\"\nreference = true");
    out
}

fn seen(reply: &Reply) -> String {
    let mut out = reply.code().to_owned();
    for answer in reply.answers.iter().filter(|_| reply.error.is_none()) {
        for row in &answer.rows {
            let _ = write!(out, " {}", row.iter().map(|cell| cell_text(cell.as_deref())).collect::<Vec<_>>().join("|"));
        }
    }
    out
}

/// A router over shards whose databases are in this locale, and one Postgres with the same rows.
fn compare(label: &str, options: &str, other: &str) {
    let db = Database::create_with(label, options);
    db.everywhere(&format!("CREATE COLLATION \"other\" (provider = icu, locale = '{other}'); {TABLES}"));
    let router = Router::start(&config(&db));
    let (mut ours, mut theirs) = (router.connect(&db.name), db.oracle());
    for (n, text) in TEXTS.iter().enumerate() {
        let short: String = text.chars().take(6).collect();
        let mut all = format!(
            "INSERT INTO words VALUES ('{text}', {n}); INSERT INTO bytes VALUES ('{text}', {n}); INSERT INTO refs VALUES ('{text}', {n}); INSERT INTO plain VALUES ('{text}', {n});"
        );
        for turn in 0..2 {
            let (id, n) = (n * 2 + turn, (n * 7 + turn * 3) % 11);
            let _ = write!(
                all,
                "INSERT INTO hashed VALUES ('{text}', {id}); INSERT INTO codes VALUES ('{short}', {n}); INSERT INTO listed VALUES ('{text}', {id}); \
                 INSERT INTO lots VALUES ({id}, '{text}', '{text}', '{short}', '{text}', '{text}');"
            );
        }
        for sql in all.split_inclusive(';') {
            ours.must(sql);
            theirs.must(sql);
        }
    }
    let (mut different, mut refused, mut run) = (String::new(), String::new(), 0);
    let mut check = |ours: &mut Raw, theirs: &mut Raw, sql: &str| {
        // A literal by itself, and as a parameter whose type is told by what it is compared with.
        let parameter = sql.contains("'m'").then(|| (sql.replace("'m'", "$1"), [Value::text("m")]));
        let mut pairs = vec![(ours.simple(sql), theirs.simple(sql))];
        pairs.extend(
            parameter
                .map(|(sql, values)| (ours.extended(&sql, &[], &values, 0), theirs.extended(&sql, &[], &values, 0))),
        );
        for (a, b) in pairs {
            run += 1;
            if a.code() == "0A000" && b.code() != "0A000" {
                let _ = writeln!(refused, "{sql}: {}", a.text());
            } else if seen(&a) != seen(&b) {
                let _ = writeln!(different, "{sql}\n  ours   {} {}\n  theirs {}", seen(&a), a.text(), seen(&b));
            }
        }
    };
    for table in ["words", "hashed", "listed", "(SELECT c AS w, n FROM codes) q", "(SELECT w, id AS n FROM lots) r"] {
        for shape in SHAPES {
            // An alias of its own goes before that of the subquery.
            let named = if table.starts_with('(') {
                format!("{} a", table.rsplit_once(' ').unwrap().0)
            } else {
                format!("{table} a")
            };
            let sql = shape.replace("{t} a", &named).replace("{t}", table);
            check(&mut ours, &mut theirs, &sql);
        }
    }
    for sql in OTHERS {
        check(&mut ours, &mut theirs, sql);
    }
    println!("{run} run; refused:\n{refused}");
    assert!(different.is_empty(), "{different}");
    assert!(refused.lines().count() * 50 < run, "refused:\n{refused}");
}

#[test]
fn texts_in_the_order_of_a_language() {
    compare("swedish", "LOCALE_PROVIDER icu ICU_LOCALE 'sv-SE' LOCALE 'C.UTF-8'", "de-u-co-phonebk");
}

#[test]
fn texts_in_the_order_of_bytes_beside_another() {
    compare("bytes", "LOCALE 'C'", "en-US");
}

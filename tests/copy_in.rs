//! COPY FROM STDIN over shards: keys as Postgres reads them, keys by default, signs of every kind, errors at the client's first wrong line.

#![allow(clippy::unwrap_used)]

mod support;

use support::eventually;
use support::raw::{Raw, cancel, message as m};
use support::script::Step::{self, Ready, Send, Until};
use support::script::{Pair, Placed, batch, queries};

fn copy(statement: &str, rows: &str) -> Vec<Step> {
    vec![Send(m::query(statement)), Until(b'G'), batch(&[m::copy_data(rows.as_bytes()), m::copy_done()]), Ready]
}

fn copy_bytes(statement: &str, rows: &[u8]) -> Vec<Step> {
    vec![Send(m::query(statement)), Until(b'G'), batch(&[m::copy_data(rows), m::copy_done()]), Ready]
}

fn script(before: &[&str], statement: &str, rows: &str, after: &[&str]) -> Vec<Step> {
    let mut script = queries(before);
    script.extend(copy(statement, rows));
    script.extend(queries(after));
    script
}

#[test]
fn dates_are_placed_as_postgres_reads_them() {
    let world = Pair::with_key_type("copydates", "CREATE TABLE days (day date, n int)", ("days", "day"), "date");
    // Each row is found by its key, spelled plainly: on the shard where it must be.
    let found: Vec<String> =
        (1..=12).map(|month| format!("SELECT n FROM days WHERE day = '2024-{month:02}-02' ORDER BY n")).collect();
    let mut after: Vec<&str> = found.iter().map(String::as_str).collect();
    after.extend(["SELECT count(*) FROM days", "DELETE FROM days"]);
    for (style, rows) in [
        ("German", "02.01.2024\t1\n02.02.2024\t2\n2024-03-02\t3\n02.04.2024\t4\n02.01.2024\t5\n"),
        ("SQL, DMY", "02/01/2024\t1\n02/02/2024\t2\n02/11/2024\t3\n"),
        ("SQL, MDY", "02/01/2024\t1\n12/02/2024\t2\n11/02/2024\t3\n"),
        ("ISO, YMD", "24-01-02\t1\n24/12/02\t2\n"),
        ("ISO, MDY", "January 2, 2024\t1\n2 Feb 2024\t2\nSun Jun 02 2024\t3\n20240702\t4\nJ2460311\t5\n"),
    ] {
        let set = format!("SET datestyle TO '{style}'");
        world.answers(&format!("{style}: {rows}"), &script(&[&set], "COPY days FROM STDIN", rows, &after));
        let csv = rows.replace(", ", " ").replace('\t', ",");
        world.answers(&format!("{style}: {csv}"), &script(&[&set], "COPY days FROM STDIN CSV", &csv, &after));
        let local = ["BEGIN", &format!("SET LOCAL datestyle TO '{style}'")];
        let mut ended = vec!["COMMIT"];
        ended.extend(&after);
        world.answers(&format!("{style}, local"), &script(&local, "COPY days FROM STDIN", rows, &ended));
    }
    for wrong in ["30.02.2024\t1\n", "2024-01-02\t1\n13/13/2024\t2\n", "x\t1\n", "Febtember 3\t1\n"] {
        world.answers(wrong, &script(&[], "COPY days FROM STDIN", wrong, &["SELECT count(*) FROM days"]));
    }
    // What is another day at each moment is not placed.
    let mut raw = world.through();
    assert_eq!(raw.copy_in("COPY days FROM STDIN", b"tomorrow\t1\n").code(), "0A000");
    assert_eq!(raw.copy_in("COPY days FROM STDIN", b"Today 12:00\t1\n").code(), "0A000");
    // Many rows of few texts, and more texts than are asked for at once.
    let many: String = (0..3000).map(|n| format!("{:02}.{:02}.2024\t{n}\n", n % 28 + 1, n % 12 + 1)).collect();
    let sums = ["SELECT day, count(*), sum(n) FROM days GROUP BY day ORDER BY day", "DELETE FROM days"];
    world.answers("many", &script(&["SET datestyle TO German"], "COPY days FROM STDIN", &many, &sums));
}

/// One Postgres reads `now` as one moment; each shard would have its own.
#[test]
fn moments_are_one_or_refused() {
    let schema = "CREATE TABLE seen (id int PRIMARY KEY, note text, at timestamptz, days date[])";
    let world = Pair::with_key_type("copynow", schema, ("seen", "id"), "int4");
    let mut raw = world.through();
    for (sql, rows) in [
        ("COPY seen FROM STDIN", "1\tx\t2024-01-02\t\\N\n2\tx\tnow\t\\N\n"),
        ("COPY seen (at, id) FROM STDIN", "Today 10:00\t1\n"),
        ("COPY seen FROM STDIN CSV", "1,x,n\"ow\",\n2,x,\"yester\"day,\n"),
        ("COPY seen FROM STDIN", "1\tx\t\\N\t{2024-01-02,tomorrow}\n"),
    ] {
        let reply = raw.copy_in(sql, rows.as_bytes());
        let error = reply.error.unwrap_or_else(|| panic!("{sql}"));
        assert!(error.code() == "0A000" && !error.hint().is_empty(), "{sql}: {error}");
    }
    assert_eq!(raw.must("SELECT count(*) FROM seen").answers[0].rows[0][0].as_deref(), Some(&b"0"[..]));
    let plain = "1\tnow\t2024-01-02\t{2024-01-02}\n2\ttoday and tomorrow\tinfinity\t\\N\n3\tyesterday\\n\t\\N\t{}\n";
    world.answers("no moments", &script(&[], "COPY seen FROM STDIN", plain, &["SELECT * FROM seen ORDER BY id"]));
}

#[test]
fn times_and_numbers_are_placed_as_they_are_stored() {
    let schema = "CREATE TABLE times (at timestamptz(0), n int)";
    let world = Pair::with_key_type("copytimes", schema, ("times", "at"), "timestamptz");
    let rows = "2024-01-02 03:04:05.6\t1\n2024-01-02 03:04:05 Europe/Berlin\t2\n2024-06-02 03:04:05\t3\n\
                2024-01-02 03:04:05.5+00\t4\nJan 2 2024 3:04 PM EST\t5\nepoch\t6\n";
    let found = [
        "SELECT n FROM times WHERE at = '2024-01-02 03:04:06+00'",
        "SELECT n FROM times WHERE at = '2024-01-02 02:04:05+00'",
        "SELECT n FROM times WHERE at = '2024-01-02 20:04:00+00'",
        "SELECT n FROM times WHERE at = '1970-01-01 00:00:00+00'",
        "SELECT * FROM times ORDER BY n",
        "DELETE FROM times",
    ];
    for zone in ["UTC", "America/New_York"] {
        let set = format!("SET timezone TO '{zone}'");
        world.answers(zone, &script(&[&set], "COPY times FROM STDIN", rows, &found));
    }
    let schema = "CREATE TABLE sums (sum numeric(10,2), n int)";
    let world = Pair::with_key_type("copynumbers", schema, ("sums", "sum"), "numeric");
    let rows = "1e3\t1\n+5\t2\n 5.005 \t3\n1.994\t4\n-0.001\t5\n.5\t6\nNaN\t7\n";
    let mut found: Vec<String> = ["1000", "5", "5.01", "1.99", "0", "0.5"]
        .iter()
        .map(|sum| format!("SELECT n FROM sums WHERE sum = {sum} ORDER BY n"))
        .collect();
    found.extend(["SELECT * FROM sums ORDER BY n".to_owned(), "DELETE FROM sums".to_owned()]);
    let found: Vec<&str> = found.iter().map(String::as_str).collect();
    world.answers("numeric", &script(&[], "COPY sums FROM STDIN", rows, &found));
    world.answers("too large", &script(&[], "COPY sums FROM STDIN", "1\t1\n1e9\t2\n", &found));
}

const SCHEMA: &str = "CREATE TABLE items (id int PRIMARY KEY, name varchar(5), n int NOT NULL CHECK (n >= 0)); \
     CREATE TABLE logs (id int DEFAULT 7, number serial, at timestamptz DEFAULT '2024-01-02 03:04:05-05:30', \
     made timestamptz DEFAULT now(), \"odd, \"\"name\" date DEFAULT current_date, body text)";

#[test]
fn a_key_that_is_left_out_is_its_default() {
    let world = Pair::create("copydefault", SCHEMA, &[("items", Placed::By("id")), ("logs", Placed::By("id"))], "");
    let found = ["SELECT id, number, body FROM logs WHERE id = 7 ORDER BY number", "DELETE FROM logs"];
    let rows = "a\nb\n\\N\n";
    world.answers("text", &script(&[], "COPY logs (body) FROM STDIN", rows, &found));
    world.answers("csv", &script(&[], "COPY logs (body) FROM STDIN CSV HEADER", "body\nx\ny\n", &found));
    world.answers("none", &script(&[], "COPY logs (body) FROM STDIN", "", &found));
    world.answers("wrong", &script(&[], "COPY logs (body) FROM STDIN", "a\tb\n", &found));
    // Without one the key is NULL, which no row can have, unless it is left out.
    for rows in ["a\t1\nb\t2\n", "a\tx\n", "", "a\n", "\\.\n", "toolong\t1\n"] {
        let none = script(&[], "COPY items (name, n) FROM STDIN", rows, &["SELECT count(*) FROM items"]);
        world.answers("no default", &none);
        let filter = "COPY items (name, n) FROM STDIN WHERE n < 2";
        world.answers(filter, &script(&[], filter, rows, &["SELECT count(*) FROM items"]));
        let csv = "COPY items (n, name) FROM STDIN (FORMAT csv, HEADER) WHERE id > 0";
        let rows = format!("n,name\n{}", rows.replace('\t', ","));
        world.answers(csv, &script(&[], csv, &rows, &["SELECT count(*) FROM items"]));
    }
    same_errors(&world, "COPY items (name, n) FROM STDIN", "a\t1\nb\t2\n");
    same_errors(&world, "COPY items (name, n) FROM STDIN WHERE n > 1", "a\t1\nb\t2\n");
    let field = |value: &[u8]| [&(value.len() as i32).to_be_bytes()[..], value].concat();
    let row = [&2_i16.to_be_bytes()[..], &field(b"a"), &field(&1_i32.to_be_bytes())].concat();
    let rows = [&b"PGCOPY\n\xff\r\n\0"[..], &[0; 8], &row, &(-1_i16).to_be_bytes()].concat();
    same_errors(&world, "COPY items (name, n) FROM STDIN BINARY", rows);
    // A type can have a default, too.
    let typed = "CREATE DOMAIN numbered AS int DEFAULT 7; CREATE TABLE made (id numbered NOT NULL, n int)";
    let typed = Pair::with_key_type("copydomain", typed, ("made", "id"), "int4");
    let found = ["SELECT * FROM made WHERE id = 7"];
    typed.same("domain", &script(&[], "COPY made (n) FROM STDIN", "1\n", &found));
    let odd = "CREATE TABLE made (id int DEFAULT (random() * 10)::int, n int)";
    let world = Pair::create("copyvolatile", odd, &[("made", Placed::By("id"))], "");
    let reply = world.through().copy_in("COPY made (n) FROM STDIN", b"1\n");
    assert_eq!(reply.code(), "0A000");
}

#[test]
fn signs_of_every_kind_stand_beside_values_that_are_added() {
    let world = Pair::create("copysigns", SCHEMA, &[("items", Placed::By("id")), ("logs", Placed::By("id"))], "");
    let found = [
        "SELECT id, at, made = now() OR made > now() - interval '1 min', \"odd, \"\"name\" > '2020-01-01', body FROM logs ORDER BY id",
        "SELECT count(DISTINCT number) FROM logs",
        "DELETE FROM logs",
    ];
    for (options, rows) in [
        ("", "1\ta\n2\tb\n"),
        ("(DELIMITER '-')", "1-a\n2-b\n"),
        ("(DELIMITER ':')", "1:a\n2:b\n"),
        ("(DELIMITER '+')", "1+a\n2+b\n"),
        ("(DELIMITER ' ')", "1 a\n2 b\n"),
        ("(NULL '1')", "2\ta\n3\t1\n"),
        ("(NULL '4')", "2\ta\n3\t4\n"),
        ("(FORMAT csv, DELIMITER '0')", "10a\n20b\n"),
        ("(FORMAT csv, DELIMITER '-')", "1-a\n2-b\n"),
        ("(FORMAT csv, QUOTE '2')", "1,a\n3,2b2\n"),
        ("(FORMAT csv, QUOTE '-')", "1,a\n3,-b-\n"),
        ("(FORMAT csv, ESCAPE '0')", "1,a\n3,\"b\"\n"),
        ("(FORMAT csv, NULL '3')", "1,a\n2,3\n"),
        ("(FORMAT csv, HEADER)", "id,body\n1,a\n2,b\n"),
        ("(FORMAT csv, HEADER MATCH)", "id,body\n1,a\n2,b\n"),
        ("(HEADER MATCH)", "id\tbody\n1\ta\n2\tb\n"),
    ] {
        let statement = format!("COPY logs (id, body) FROM STDIN {options}");
        world.answers(&statement, &script(&[], &statement, rows, &found));
    }
}

#[test]
fn the_error_is_that_of_the_first_wrong_line() {
    let world = Pair::create("copyerrors", SCHEMA, &[("items", Placed::By("id")), ("logs", Placed::By("id"))], "");
    let good = |id: usize| format!("{id}\tx\t1");
    for (at, wrong) in [
        (3, vec![(40, "40\tx\tmany"), (3, "3\tx\tfew"), (20, "20\tx\tnone")]),
        (1, vec![(1, "1\tx"), (2, "2\tx\ty\tz"), (60, "60\tx\tq")]),
        (30, vec![(30, "30\ttoo long\t1"), (31, "31\tx\ty"), (32, "32\tx\tz")]),
        (9, vec![(9, "9\tx\t\\N"), (10, "10\tx\tq")]),
        (12, vec![(12, "x\tx\t1"), (50, "50\tx\tq")]),
        (5, vec![(5, "5\tx\t1\t2"), (6, "6")]),
    ] {
        let lines: Vec<String> = (1..=200)
            .map(|id| wrong.iter().find(|(at, _)| *at == id).map_or_else(|| good(id), |(_, line)| (*line).to_owned()))
            .collect();
        let rows = lines.join("\n") + "\n";
        let after = ["SELECT count(*) FROM items"];
        world.answers(&format!("first at {at}"), &script(&[], "COPY items FROM STDIN", &rows, &after));
        let csv = rows.replace('\t', ",").replace("\\N", "");
        world.answers(&format!("csv, first at {at}"), &script(&[], "COPY items FROM STDIN CSV", &csv, &after));
        same_errors(&world, "COPY items FROM STDIN", &rows);
        same_errors(&world, "COPY items FROM STDIN CSV", &csv);
    }
    // What is added by the way is not shown.
    let long = "y".repeat(90);
    for rows in [
        "1\ta\n2\tb\tc\n",
        "1\ta\nx\tb\n",
        "1\ta\n2\n",
        &format!("1\t{long}\nz\t{long}\n"),
        &format!("1\t{long}{long}\n2\t{long}{long}\tz\n"),
    ] {
        same_errors(&world, "COPY logs (id, body) FROM STDIN", rows);
        same_errors(&world, "COPY logs (id, body) FROM STDIN CSV", rows.replace('\t', ","));
        if rows.len() < 30 {
            same_errors(&world, "COPY logs (body) FROM STDIN", rows);
        }
    }
}

/// Keys of more than ASCII are converted as the shards convert them, and what is none ends the COPY at the client's line.
#[test]
fn keys_in_other_encodings_are_placed_as_they_are_stored() {
    let schema = "CREATE TABLE cities (name varchar(20) PRIMARY KEY, n int, note text); \
         CREATE TABLE marks (name text DEFAULT 'Öl', body text)";
    let world = Pair::with_key_type("copyencoded", schema, ("cities", "name"), "text");
    let after = |names: &[&str]| {
        let mut after: Vec<String> =
            names.iter().map(|name| format!("SELECT n, note FROM cities WHERE name = '{name}'")).collect();
        after.extend(["SELECT * FROM cities ORDER BY n".to_owned(), "DELETE FROM cities".to_owned()]);
        after
    };
    for (encoding, rows, names) in [
        (
            "SJIS",
            &b"\x83\\\t1\t\x95\\\n\\\x94\\x\t2\t\xb1\n\x83|\t3\t\\N\nplain\t4\t\x8f\\\\t\n"[..],
            &["ソ", "能x", "ポ"][..],
        ),
        ("Windows-932", b"\x83\\\t1\tx\n\x83\\\x83\\\t2\t\\x41\n", &["ソ", "ソソ"]),
        ("SHIFT_JIS_2004", b"\x83\\\t1\tx\n\x82\xf5\t2\ty\n", &["ソ", "か\u{309a}"]),
        ("BIG5", b"\xa5\\\t1\t\xb3\\\n\xa4@\t2\tx\n", &["功", "一"]),
        ("GBK", b"\xd5\\\t1\t\x81\\\n", &["誠"]),
        ("GB18030", b"\xd5\\\t1\tx\n\x810\x810\t2\t\x810\x811\n\x952\x826\t3\ty\n", &["誠", "\u{80}"]),
        ("UHC", b"\xb0\xa1\t1\tx\n\x94\xee\t2\tx\n", &["가"]),
        ("JOHAB", b"\xb0\xa1\t1\tx\n", &[]),
        ("EUC_JP", b"\xb4\xc1\t1\t\x8e\xb1\n\x8e\xb1\t2\tx\n\x8f\xb0\xa1\t3\tx\n", &["漢", "ｱ"]),
        ("EUC_KR", b"\xb0\xa1\xb0\xa2\t1\tx\n", &["가각"]),
        ("EUC_CN", b"\xb0\xa1\t1\tx\n", &["啊"]),
        ("EUC_TW", b"\xc4\xa1\t1\tx\n\x8e\xa2\xa1\xa1\t2\tx\n", &["一"]),
        ("LATIN1", b"caf\xe9\t1\t\xff\n\\xC3\\xA9\t2\tx\n\xc3\xa9\t3\tx\n", &["café", "é", "Ã©"]),
        ("WIN1252", b"\x80 5\t1\tx\n", &["€ 5"]),
        ("koi8-r", b"\xf0\xf2\t1\t\xc1\n", &["ПР"]),
        ("SQL_ASCII", "é\t1\tä\n".as_bytes(), &["é"]),
    ] {
        let after = after(names);
        let after: Vec<&str> = after.iter().map(String::as_str).collect();
        let csv: Vec<u8> = rows.iter().map(|byte| if *byte == b'\t' { b',' } else { *byte }).collect();
        for (sql, rows) in [
            (format!("COPY cities FROM STDIN (ENCODING '{encoding}')"), rows),
            (format!("COPY cities FROM STDIN (FORMAT csv, ENCODING '{encoding}')"), &csv),
            (format!("COPY cities FROM STDIN (FORMAT csv, QUOTE '|', ENCODING '{encoding}')"), &csv),
        ] {
            let mut script = copy_bytes(&sql, rows);
            script.extend(queries(&after));
            world.answers(&sql, &script);
        }
    }
    // Many rows of many characters, by pieces of any size.
    let row = |n: u32| {
        let kana = |n: u32| [0x83, 0x40 + (n % 0x3e) as u8];
        [&kana(n)[..], &kana(n / 60), format!("{n}\t{n}\t").as_bytes(), b"\x83\\\n"].concat()
    };
    let rows: Vec<u8> = (0..4000).flat_map(row).collect();
    let sql = "COPY cities FROM STDIN (ENCODING 'SJIS')";
    for size in [7, 1000] {
        let pieces: Vec<Vec<u8>> = rows.chunks(size).map(m::copy_data).chain([m::copy_done()]).collect();
        let mut script = vec![Send(m::query(sql)), Until(b'G'), batch(&pieces), Ready];
        script.extend(queries(&["SELECT * FROM cities ORDER BY n", "SELECT n FROM cities WHERE name = 'ソソ3000'"]));
        script.extend(queries(&["SELECT n FROM cities WHERE name = 'ヅア29'", "DELETE FROM cities"]));
        world.answers("many", &script);
    }
    let good = |n: usize| [&b"\x83\\"[..], format!("{n}\t{n}\t").as_bytes(), b"\x95\\\n"].concat();
    for (wrong, row) in [
        (1, &b"\x83\n"[..]),
        (7, b"a\t\xa0\tx\n"),
        (7, b"\x83"),
        (30, b"\x83\x83\xfd\t1\tx\n"),
        (30, b"\x85\x9f\t1\tx\n"),
        (40, b"a\t1\t\x85\x9f\n"),
        (40, b"\x83\\\t1\t\0\n"),
        (40, b"\x83\\39\t1\tx\n"),
        (40, b"\x83\\\tx\tx\n"),
        (12, b"\x83\\\x83\\\x83\\\x83\\\x83\\\x83\\\x83\\\x83\\\x83\\\x83\\\x83\\\x83\\\x83\\\x83\\\x83\\\x83\\\x83\\\x83\\\x83\\\x83\\\x83\\\t1\tx\n"),
    ] {
        // Behind it there is one that the router finds wrong by itself, and nothing.
        for behind in [&b"\\.x\n"[..], b""] {
            let before: Vec<u8> = (1..wrong).flat_map(good).collect();
            let rows = [&before, row, behind].concat();
            same_errors(&world, sql, &rows);
            let csv: Vec<u8> = rows.iter().map(|byte| if *byte == b'\t' { b',' } else { *byte }).collect();
            if behind.is_empty() {
                same_errors(&world, "COPY cities FROM STDIN (FORMAT csv, ENCODING 'SJIS')", csv);
            }
        }
    }
    same_errors(&world, "COPY cities FROM STDIN (ENCODING 'LATIN1', NULL 'é')", b"\xc3\xa9\t1\tx\n\xe9\t2\ty\n");
    // In binary it is the client's, whatever the COPY says.
    let field = |value: &[u8]| [&(value.len() as i32).to_be_bytes()[..], value].concat();
    let row = [&3_i16.to_be_bytes()[..], &field("ソ".as_bytes()), &field(&1_i32.to_be_bytes()), &field(b"x")].concat();
    let rows = [&b"PGCOPY\n\xff\r\n\0"[..], &[0; 8], &row, &(-1_i16).to_be_bytes()].concat();
    let sql = "COPY cities FROM STDIN (FORMAT binary, ENCODING 'SJIS')";
    let mut script = copy_bytes(sql, &rows);
    script.extend(queries(&["SELECT n, note FROM cities WHERE name = 'ソ'", "DELETE FROM cities"]));
    world.answers(sql, &script);
    for encoding in ["MULE_INTERNAL", "LATIN7"] {
        world
            .answers(encoding, &queries(&[&format!("COPY cities FROM STDIN (ENCODING '{encoding}', DELIMITER 'xx')")]));
    }
    assert_eq!(world.through().copy_in("COPY cities FROM STDIN (ENCODING 'no_such')", b"a\t1\tx\n").code(), "0A000");
}

/// A field of more characters than are remembered from one row to the next.
#[test]
fn a_field_of_very_many_characters_is_converted() {
    let schema = "CREATE TABLE cities (name varchar(20) PRIMARY KEY, n int, note text)";
    let world = Pair::with_key_type("copymany", schema, ("cities", "name"), "text");
    // Those of four bytes, in their order.
    let character =
        |n: u32| [0x90 + n / 12_600, 0x30 + n / 1260 % 10, 0x81 + n / 10 % 126, 0x30 + n % 10].map(|b| b as u8);
    let name: Vec<u8> = (0..120_000).flat_map(character).collect();
    let row = [&b"a\t1\tx\n"[..], &name, b"\t2\tx\n"].concat();
    same_errors(&world, "COPY cities FROM STDIN (ENCODING 'GB18030')", row);
}

/// A question about characters that has to wait: it ends when the COPY is cancelled, and when its client is gone.
#[test]
fn a_question_about_characters_can_be_cancelled() {
    let schema = "CREATE TABLE cities (name text PRIMARY KEY, n int, note text)";
    let world = Pair::with_key_type("copyasks", schema, ("cities", "name"), "text");
    let (mut locker, mut watch) = (world.db.shard(0), world.db.shard(0));
    for is_cancelled in [true, false] {
        let mut raw = world.through();
        raw.send(&m::query("COPY cities FROM STDIN (ENCODING 'SJIS')")).unwrap();
        assert_eq!(raw.read().unwrap().tag, b'G');
        locker.must("BEGIN; LOCK TABLE pg_catalog.pg_conversion IN ACCESS EXCLUSIVE MODE");
        raw.send(&m::copy_data(b"\x83\\\t1\tx\n")).unwrap();
        let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'pg_conversion'::regclass \
            AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
        eventually(10, "the question waits", || watch.value(waits) != "0");
        stop(&world, raw, is_cancelled);
        locker.must("ROLLBACK");
    }
    assert_eq!(world.through().value("SELECT count(*) FROM cities"), "0");
}

/// The COPY into `cities` that waits is cancelled, or its client goes away: no server goes on with it.
fn stop(world: &Pair, mut raw: Raw, is_cancelled: bool) {
    if is_cancelled {
        cancel(world.router.as_ref().unwrap().port, raw.key.0, &raw.key.1);
        assert_eq!(raw.read().unwrap().report().code(), "57014");
        while raw.read().unwrap().tag != b'Z' {}
    }
    drop(raw);
    let copies = "SELECT count(*) FROM pg_stat_activity \
        WHERE datname = current_database() AND query LIKE 'COPY cities%' AND state <> 'idle'";
    let mut watch = world.db.shard(0);
    eventually(10, "the COPY is over", || watch.value(copies) == "0");
}

/// Nobody else tells the home shard that the values of a sequence are not waited for any more.
#[test]
fn a_copy_that_waits_for_a_sequence_can_be_stopped() {
    let schema = "CREATE TABLE cities (name text, id serial, note text)";
    let world = Pair::with_key_type("copyserial", schema, ("cities", "name"), "text");
    let mut locker = world.db.shard(0);
    for is_cancelled in [true, false] {
        let mut raw = world.through();
        raw.must("SELECT count(*) FROM cities");
        locker.must("BEGIN; ALTER SEQUENCE cities_id_seq INCREMENT BY 2");
        raw.send(&m::query("COPY cities (name, note) FROM STDIN")).unwrap();
        assert_eq!(raw.read().unwrap().tag, b'G');
        raw.send(&m::copy_data(b"a\tx\n")).unwrap();
        let mut watch = world.db.shard(0);
        let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'cities_id_seq'::regclass";
        eventually(10, "the question waits", || watch.value(waits) != "0");
        stop(&world, raw, is_cancelled);
        locker.must("ROLLBACK");
    }
    assert_eq!(world.through().value("SELECT count(*) FROM cities"), "0");
}

/// Where SQL_ASCII lets any bytes in, no hash says where they belong.
#[test]
fn keys_that_are_no_text_are_refused() {
    let schema = "CREATE TABLE cities (name text PRIMARY KEY, n int, note text)";
    let world = Pair::with_key_type("copyascii", schema, ("cities", "name"), "text");
    let rows = b"a\t1\tx\n\xff\xfe\t2\ty\n";
    let refused = |raw: &mut Raw, sql: &str| {
        let error = raw.copy_in(sql, rows).error.unwrap();
        assert_eq!((error.code(), &*error.0[&'W']), ("0A000", "COPY cities, line 2, column name"), "{error}");
    };
    let mut raw = world.through();
    refused(&mut raw, "COPY cities FROM STDIN (ENCODING 'sql-ascii')");
    same_errors(&world, "COPY cities FROM STDIN", rows);
    raw.must("SET client_encoding TO 'SQL_ASCII'");
    refused(&mut raw, "COPY cities FROM STDIN");
    assert_eq!(raw.copy_in("COPY cities FROM STDIN (ENCODING 'UTF8')", rows).code(), "22021");
    // A value that is no key is stored as one Postgres stores it.
    assert_eq!(raw.copy_in("COPY cities FROM STDIN", b"b\t1\t\xff\n").code(), "");
    assert_eq!(raw.value("SELECT n FROM cities WHERE name = 'b'"), "1");
}

/// Lines within a row, and a header line that is none.
#[test]
fn errors_within_a_row_of_several_lines_are_at_the_clients_line() {
    let schema = "CREATE TABLE cities (name text PRIMARY KEY, n int, note text)";
    let world = Pair::with_key_type("copylines", schema, ("cities", "name"), "text");
    for options in ["(FORMAT csv, ENCODING 'SJIS')", "(FORMAT csv, HEADER, ENCODING 'SJIS')"] {
        for good in [0, 1, 2, 30] {
            let header = if options.contains("HEADER") { "name,n,note\n" } else { "" };
            let good: String = (0..good).map(|n| format!("g{n},{n},\"a\nb\"\n")).collect();
            for wrong in [
                &b"w,1,\"x\ny\xa0\nz\"\n"[..],
                b"w,1,\"x\ny\n",
                b"w,x,\"x\ny\"\n",
                b"w,1,\"x\r\ny\r\n",
                b"w,1,\"x\ny\x83",
            ] {
                let rows = [header.as_bytes(), good.as_bytes(), wrong].concat();
                same_errors(&world, &format!("COPY cities FROM STDIN {options}"), rows);
            }
        }
    }
    for rows in [&b"name\x83"[..], b"name\x83\na,1,x\n", b"\"na\nme\x83", b"name,\xa0\na,1,x\n"] {
        same_errors(&world, "COPY cities FROM STDIN (FORMAT csv, HEADER, ENCODING 'SJIS')", rows);
    }
    same_errors(&world, "COPY cities FROM STDIN (HEADER, ENCODING 'SJIS')", b"name\tn\tnote\x83");
}

/// What the router adds to rows is read as they are.
#[test]
fn a_default_key_is_the_same_in_every_encoding() {
    let schema = "CREATE TABLE marks (name text DEFAULT 'Öl', \"Tür\" date DEFAULT current_date, body text)";
    let world = Pair::with_key_type("copymarks", schema, ("marks", "name"), "text");
    let found = ["SELECT body, \"Tür\" = current_date FROM marks WHERE name = 'Öl' ORDER BY body", "DELETE FROM marks"];
    for (sql, rows) in [
        ("COPY marks (body) FROM STDIN (ENCODING 'LATIN1')", &b"\xe9\nb\n"[..]),
        ("COPY marks (body) FROM STDIN (ENCODING 'SJIS', HEADER MATCH)", b"body\n\x83\\\nb\n"),
        ("COPY marks (body) FROM STDIN", "é\nb\n".as_bytes()),
        ("COPY marks (body) FROM STDIN CSV", "é\nb\n".as_bytes()),
    ] {
        let mut script = copy_bytes(sql, rows);
        script.extend(queries(&found));
        world.answers(sql, &script);
    }
    let refused = world.through().copy_in("COPY marks (body) FROM STDIN (FORMAT csv, ENCODING 'LATIN1')", b"\xe9\n");
    assert_eq!(refused.code(), "0A000");
}

/// With every field of the error that does not name a place in a server's source.
#[track_caller]
fn same_errors(world: &Pair, statement: &str, rows: impl AsRef<[u8]>) {
    let rows = rows.as_ref();
    let [theirs, ours] = [world.db.oracle(), world.through()].map(|mut raw| {
        let mut error = raw.copy_in(statement, rows).error.unwrap().0;
        error.retain(|field, _| !"FLR".contains(*field));
        error
    });
    assert_eq!(ours, theirs, "{statement}: {}", String::from_utf8_lossy(rows));
}

/// What each shard could not see for itself, because others got the rows before it.
#[test]
fn what_the_router_finds_wrong_is_at_the_clients_line() {
    let placed = [("items", Placed::By("id")), ("logs", Placed::By("id")), ("kinds", Placed::Reference)];
    let schema = format!("{SCHEMA}; CREATE TABLE kinds (id int PRIMARY KEY, name varchar(5))");
    let world = Pair::create("copyplaces", &schema, &placed, "");
    for (options, rows) in [
        ("", "1\ta\t1\n2\ta\t1\n\\.x\n3\ta\t1\n"),
        ("", "1\ta\t1\n2\ta\t1\r\n3\ta\t1\n"),
        ("", "1\ta\t1\r\n2\ta\t1\r\n3\ta\t1\n"),
        ("", "1\ta\t1\r\n2\ta\t1\r\n\\.\n"),
        ("", "1\tx\tx\n2\ta\t1\r\n3\ta\t1\n"),
        ("(HEADER MATCH)", ""),
        ("(HEADER MATCH)", "id\tname\n"),
        ("(FORMAT csv, HEADER MATCH)", ""),
        ("(FORMAT csv, HEADER)", "id,name,n\n1,a,1\n2,a,1\r3,a,1\n"),
        ("(FORMAT csv)", "1,a,1\n2,\"a\nb\nc\",1\n3,a,1\r\n4,a,1\n"),
        ("(FORMAT csv)", "1,a,1\n2,\"a\nb\nc,1\n3,a,1\n"),
        ("(FORMAT csv)", "1,a,1\r\n2,a,1\r\n3,a,1\n"),
    ] {
        same_errors(&world, &format!("COPY items FROM STDIN {options}"), rows);
    }
    // Of the columns that the router adds nothing is told.
    for (options, rows) in [
        ("(FORMAT csv, HEADER MATCH)", "id,name\n1,a\n"),
        ("(HEADER MATCH)", "\n1\n"),
        ("(HEADER MATCH)", "id\tname\tn\n1\n"),
        ("(HEADER MATCH)", "name\n1\n"),
    ] {
        same_errors(&world, &format!("COPY logs (id) FROM STDIN {options}"), rows);
    }
    // Each shard's first row has newlines of all kinds in a value, and one row behind it is wrong: whichever that is, its line is the client's.
    for newline in ["\n", "\r\n", "\r"] {
        let good = |id: usize| format!("{id},\"\r\n\n\ra\",1");
        for wrong in [1, 2, 9, 40] {
            let row = |id: usize| if id == wrong { format!("{id},\"a\r\nb\",x") } else { good(id) };
            let rows: Vec<String> = (1..=40).map(row).collect();
            for options in ["(FORMAT csv)", "(FORMAT csv, HEADER)"] {
                let header = if options.contains("HEADER") { format!("id,name,n{newline}") } else { String::new() };
                let rows = header + &rows.join(newline) + newline;
                same_errors(&world, &format!("COPY items FROM STDIN {options}"), rows);
            }
        }
    }
    let field = |value: i32| [&4_i32.to_be_bytes()[..], &value.to_be_bytes()].concat();
    let row = |id: i32| [&3_i16.to_be_bytes()[..], &field(id), &[0, 0, 0, 1, b'a'], &field(1)].concat();
    let header = [&b"PGCOPY\n\xff\r\n\0"[..], &[0; 8]].concat();
    let trailer = (-1_i16).to_be_bytes();
    same_errors(&world, "COPY items FROM STDIN BINARY", [&header[..], &row(1), &row(2), &trailer, b"x"].concat());
    same_errors(&world, "COPY items FROM STDIN BINARY", [&header[..], &row(1), &row(2), &row(3)[..9]].concat());
    // What is no header, or ends in it; rows of another number of fields.
    let two = |id: i32| [&2_i16.to_be_bytes()[..], &field(id), &field(1)].concat();
    for read in [0, 5, 11, 15, 18] {
        same_errors(&world, "COPY items FROM STDIN BINARY", &header[..read]);
    }
    for wrong in [two(9), [&4_i16.to_be_bytes()[..], &row(9)[2..], &field(1)].concat(), vec![0, 0], vec![0xff, 0xfe]] {
        for before in 0..4 {
            let before: Vec<u8> = (1..=before).flat_map(row).collect();
            let rows = [&header[..], &before, &wrong, &row(8), &trailer].concat();
            same_errors(&world, "COPY items FROM STDIN BINARY", rows);
        }
    }
    // The client gives up in the middle of a line; and another message comes there.
    let begin = |rows: &str, table: &str, then: Vec<u8>| {
        let [theirs, ours] = [world.db.oracle(), world.through()].map(|mut raw| {
            raw.send(&m::query(&format!("COPY {table} FROM STDIN"))).unwrap();
            assert_eq!(raw.read().unwrap().tag, b'G');
            raw.send(&[m::copy_data(rows.as_bytes()), then.clone()].concat()).unwrap();
            let error = raw.read().unwrap().report().0;
            "SCMDHW".chars().map(|field| error.get(&field).cloned()).collect::<Vec<_>>()
        });
        assert_eq!(ours, theirs, "{table}: {rows}");
        assert!(ours[5].is_some());
    };
    for rows in ["", "1\ta\t1\n", "1\ta\t1\n2\ta"] {
        begin(rows, "items", m::copy_fail("no more"));
        begin(rows, "items", m::query("SELECT 1"));
    }
    for rows in ["", "1\ta\n", "1\ta\n2\ta"] {
        begin(rows, "kinds", m::copy_fail("no more"));
    }
    // The binary header is before all lines.
    for read in [0, 11, 15, 19] {
        let [theirs, ours] = [world.db.oracle(), world.through()].map(|mut raw| {
            raw.send(&m::query("COPY items FROM STDIN BINARY")).unwrap();
            assert_eq!(raw.read().unwrap().tag, b'G');
            raw.send(&[m::copy_data(&header[..read]), m::copy_fail("no more")].concat()).unwrap();
            let error = raw.read().unwrap().report().0;
            "SCMDHW".chars().map(|field| error.get(&field).cloned()).collect::<Vec<_>>()
        });
        assert_eq!(ours, theirs, "after {read} bytes");
        assert_eq!(ours[5].is_some(), read == header.len());
    }
}

/// A row whose shard cannot be told is named as Postgres names one that it does not take.
#[test]
fn what_is_refused_is_at_the_clients_line() {
    let schema = "CREATE TABLE days (day date, n int)";
    let world = Pair::with_key_type("copyrefused", schema, ("days", "day"), "date");
    let mut raw = world.through();
    let long = format!("now {}", "x".repeat(120));
    for (rows, place) in [
        ("2024-01-02\t1\ntomorrow\t2\n", "COPY days, line 2, column day: \"tomorrow\""),
        ("2024-01-02\t1\n2024-01-03\t1\n\\N\t2\n", "COPY days, line 3, column day: null input"),
        (&format!("{long}\t1\n"), &format!("COPY days, line 1, column day: \"{}...\"", &long[..100])),
    ] {
        let error = raw.copy_in("COPY days FROM STDIN", rows.as_bytes()).error.unwrap();
        assert_eq!((error.code(), &*error.0[&'W']), ("0A000", place), "{error}");
    }
    let csv = raw.copy_in("COPY days FROM STDIN CSV", b"2024-01-02,\"1\"\n\"now\",2\n").error.unwrap();
    assert_eq!(csv.0[&'W'], "COPY days, line 2, column day: \"now\"");
}

#[test]
fn options_that_no_postgres_has_are_syntax_errors() {
    let world = Pair::create("copyoptions", SCHEMA, &[("items", Placed::By("id")), ("logs", Placed::By("id"))], "");
    for sql in [
        "COPY items FROM STDIN (FORMAT csv, COLOUR 'blue')",
        "COPY items FROM STDIN (no_such)",
        "COPY items (id, n) FROM STDIN WITH (\"Format\" csv)",
        "COPY logs (body) FROM STDIN (öl 1)",
    ] {
        world.answers(sql, &queries(&[sql]));
    }
}

//! plans/*.txt: SQL in, EXPLAIN (ROUTE) text out. `UPDATE=1` rewrites them; read the difference before you keep it.
//!
//! A case is a block of lines: the statement, perhaps a line of parameters (`$ 5 NULL int4:7 bin:int8:9`), perhaps the line
//! `% in a transaction`, `% prints otherwise` (dates, floats, bytea in another form), `% combine servers` or `% why` (then, in the plan's place, why it is not that of one shard), a line `----`, and the plan. Blocks are separated by blank lines; lines that begin with `#` are headings.
//! In `schemas.txt` also `% path a, b` (the search path; else `public`), `% made schema.name` (by the transaction) and `% temporary s2`.

#![allow(clippy::unwrap_used)]

#[path = "plans/world.rs"]
mod world;

use std::fmt::Write;
use std::path::{Path, PathBuf};

use pgloom::ids::{QualifiedName, ShardId};
use pgloom::sql::Change;
use pgloom::sql::template::SlotKind;
use pgloom::types::{Format, KeyType};
use world::{Bound, World};

#[test]
fn plans_are_as_written_down() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/plans");
    let mut files: Vec<PathBuf> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    files.sort();
    let update = std::env::var_os("UPDATE").is_some();
    let mut wrong = String::new();
    let mut cases = 0;
    for path in files {
        let mut world = match path.file_name().and_then(|name| name.to_str()) {
            Some("schemas.txt") => World::with_schemas(),
            Some("uniques.txt") => World::with_uniques(),
            _ => World::new(),
        };
        let before = std::fs::read_to_string(&path).unwrap();
        let after: Vec<String> =
            before.trim_end().split("\n\n").map(|block| run(&mut world, block, &mut cases, &mut wrong)).collect();
        if update {
            std::fs::write(&path, after.join("\n\n") + "\n").unwrap();
        }
    }
    assert!(cases >= 150, "only {cases} cases");
    assert!(update || wrong.is_empty(), "{wrong}");
}

/// The block with the plan that the statement has now.
fn run(world: &mut World, block: &str, cases: &mut usize, wrong: &mut String) -> String {
    let (headings, lines): (Vec<&str>, Vec<&str>) = block.lines().partition(|line| line.starts_with('#'));
    if lines.is_empty() {
        return block.to_owned();
    }
    let mut parts = lines.splitn(2, |line| *line == "----");
    let (asked, expected) = (parts.next().unwrap(), parts.next().unwrap_or_default().join("\n"));
    let (more, sql): (Vec<&str>, Vec<&str>) = asked.iter().partition(|line| line.starts_with(['$', '%']));
    let sql = sql.join("\n");
    let bound = more.iter().find_map(|line| line.strip_prefix("$ ")).map(parameters);
    world.in_transaction = more.contains(&"% in a transaction");
    world.prints_otherwise = more.contains(&"% prints otherwise");
    world.combine_servers = more.contains(&"% combine servers");
    let directive = |word: &str| more.iter().find_map(|line| line.strip_prefix("% ")?.strip_prefix(word));
    let path = directive("path ").unwrap_or("public");
    world.search_path = path.split(", ").map(Into::into).collect();
    world.temporary = directive("temporary s").map(|shard| ShardId(shard.parse().unwrap()));
    world.changes = directive("made ").and_then(|name| name.split_once('.')).map_or_else(Vec::new, |(schema, name)| {
        vec![Change::SchemaMade(schema.into()), Change::Made(QualifiedName::new(schema, name))]
    });
    let found = match more.contains(&"% why") {
        true => world.advice(&sql, bound.as_ref()),
        false => world.explain(&sql, bound.as_ref()),
    };
    *cases += 1;
    if found != expected {
        writeln!(wrong, "{sql}\n-- expected\n{expected}\n-- found\n{found}\n").unwrap();
    }
    let head: String = headings.iter().map(|line| format!("{line}\n")).collect();
    format!("{head}{}\n----\n{found}", asked.join("\n"))
}

/// `5`: untyped text; `int4:7`: declared, text; `bin:int8:9`: declared, binary; `raw:int8:9`: undeclared, binary; `NULL`.
fn parameters(text: &str) -> Bound {
    let one = |word: &str| {
        if word == "NULL" {
            return (0, Format::Text, None);
        }
        let binary = word.starts_with("bin:") || word.starts_with("raw:");
        let declared = !word.starts_with("raw:");
        let word = word.trim_start_matches("bin:").trim_start_matches("raw:");
        let (name, value) = word.split_once(':').unwrap_or(("", word));
        let of = KeyType::from_name(name).map_or(0, KeyType::oid);
        let bytes = match (binary, name) {
            (false, _) => value.as_bytes().to_vec(),
            (true, "int4") => value.parse::<i32>().unwrap().to_be_bytes().to_vec(),
            (true, "int8") => value.parse::<i64>().unwrap().to_be_bytes().to_vec(),
            (true, "text") => value.as_bytes().to_vec(),
            (true, "ints") => {
                let mut bytes = Vec::new();
                let members: Vec<i32> = value.split(',').map(|v| v.parse().unwrap()).collect();
                for field in [1, 0, 23, members.len() as i32, 1] {
                    bytes.extend(field.to_be_bytes());
                }
                for member in members {
                    bytes.extend(4i32.to_be_bytes());
                    bytes.extend(member.to_be_bytes());
                }
                bytes
            }
            other => panic!("{other:?}"),
        };
        (if declared { of } else { 0 }, if binary { Format::Binary } else { Format::Text }, Some(bytes))
    };
    Bound(text.split_whitespace().map(one).collect())
}

/// Every statement of the files.
fn statements() -> Vec<String> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/plans");
    let mut statements = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "txt") {
            for block in std::fs::read_to_string(path).unwrap().split("\n\n") {
                let asked = block.lines().take_while(|line| *line != "----");
                let sql: Vec<&str> = asked.filter(|line| !line.starts_with(['#', '$', '%'])).collect();
                statements.push(sql.join("\n"));
            }
        }
    }
    statements
}

/// What the plan cache relies on: a free slot's text changes nothing in the analysis.
#[test]
fn free_slots_shape_no_plan() {
    let world = World::new();
    let mut tried = 0;
    for sql in statements() {
        let (scan, analysis) = world.analyze(&sql);
        for free in &analysis.free_slots {
            let slot = scan.slots[usize::from(*free)];
            // Texts that are read as the clock are templates of their own.
            let is_clock = ["'now'", "'today'", "'tomorrow'", "'yesterday'"].contains(&slot.text(&sql));
            let other = match slot.kind {
                SlotKind::String if is_clock => "'today'",
                SlotKind::Integer => "987654",
                SlotKind::Number => "98.5",
                SlotKind::String => "'an other'",
                SlotKind::EscapeString => r"E'an\nother'",
                SlotKind::DollarString => "$q$an other$q$",
                SlotKind::Other => panic!("{sql}: slot {free} is not to be free"),
            };
            let text = format!("{}{other}{}", &sql[..slot.start as usize], &sql[slot.end as usize..]);
            let (changed_scan, changed) = world.analyze(&text);
            assert_eq!(scan.template, changed_scan.template);
            let said = |analysis: &pgloom::sql::Analysis| {
                format!("{:?} {:?} {:?} {:?}", analysis.outcome, analysis.access, analysis.pin, analysis.free_slots)
            };
            assert_eq!(said(&analysis), said(&changed), "{sql}: slot {free}");
            // And the other call's plan has the other call's values.
            let planned = |analysis: &pgloom::sql::Analysis| world.explain_call(analysis, &text, &changed_scan, None);
            assert_eq!(planned(&analysis), planned(&changed), "{sql}: slot {free}");
            tried += 1;
        }
    }
    assert!(tried > 100, "only {tried} slots were tried");
}

/// The plan cache finds again what applications send: values of conditions, of VALUES and of SET may all differ.
#[test]
fn values_of_common_statements_are_free() {
    let world = World::new();
    for sql in [
        "SELECT note FROM orders WHERE tenant_id = 5 AND id = 7 AND note LIKE 'a%' AND amount BETWEEN 1 AND 2.5",
        "UPDATE orders SET qty = qty + 5, note = 'x', amount = -1 WHERE tenant_id = 5 AND id IN (1, 2, 3)",
        "INSERT INTO orders (tenant_id, id, note, amount) VALUES (5, 1, 'x', 1.5), (-6, 2, lower('Y'), NULL)",
        "INSERT INTO orders (tenant_id, id) VALUES (5, 1) ON CONFLICT (tenant_id, id) DO UPDATE SET qty = 3",
        "DELETE FROM orders WHERE tenant_id = 5 AND (id = 7 OR day < '2020-01-01')",
        "SELECT o.id FROM orders o JOIN lines l ON l.tenant_id = o.tenant_id AND l.no = 3 WHERE o.tenant_id = 5",
        "SELECT count(*) FROM orders WHERE qty > 5",
        "SELECT avg(amount) FROM orders WHERE qty > 5 AND note <> 'x'",
        "SELECT id FROM orders WHERE qty > 5 ORDER BY amount",
        "SELECT stddev(amount) FROM orders WHERE tenant_id = 5 AND note <> 'x'",
        "SELECT o.id FROM orders o JOIN customers c ON c.id = o.customer_id AND c.name = 'x' WHERE o.tenant_id = 5",
    ] {
        let (scan, analysis) = world.analyze(sql);
        assert_eq!(analysis.free_slots.len(), scan.slots.len(), "{sql}");
    }
    // What shapes the plan, or what a function does, is no value.
    for sql in [
        "SELECT id FROM orders ORDER BY 1 LIMIT 10",
        "SELECT nextval('s')",
        "SELECT set_config('a', 'b', false)",
        "SELECT id FROM orders WHERE created > interval '1 day' + TIMESTAMP 'now'",
    ] {
        assert!(world.analyze(sql).1.free_slots.is_empty(), "{sql}");
    }
}

/// Cut, doubled and mixed-up statements get some answer, never a panic.
#[test]
fn mangled_statements_are_answered() {
    let world = World::new();
    let statements = statements();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut below = |n: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) as usize) % n.max(1)
    };
    for sql in &statements {
        let words: Vec<&str> = sql.split_inclusive([' ', '(', ')', ',']).collect();
        let other: Vec<&str> = statements[below(statements.len())].split_inclusive([' ', '(', ')', ',']).collect();
        let (from, to) = (below(words.len()), below(other.len()));
        for mangled in [
            words[..from].concat(),
            words[from..].concat(),
            [&words[..from], &other[to..]].concat().concat(),
            [&words[..from], &words[(from + 1).min(words.len())..]].concat().concat(),
            [&words[..], &words[from..]].concat().concat(),
        ] {
            world.explain(&mangled, None);
        }
    }
}

/// The tree of a long chain of operators is as deep as the chain is long.
#[test]
fn long_and_deep_statements_do_not_exhaust_the_stack() {
    let world = World::new();
    let chain = |n: usize, part: &str, by: &str| vec![part; n].join(by);
    let texts = [
        format!("SELECT id FROM orders WHERE {}", chain(100_000, "tenant_id = 5", " OR ")),
        format!("SELECT id FROM orders WHERE {}", chain(300, "(tenant_id = 5)", " OR ")),
        format!("SELECT id FROM orders WHERE {}", chain(100_000, "(tenant_id = 5)", " OR ")),
        format!("SELECT {} FROM orders ORDER BY id OFFSET 1", chain(500, "qty", " + ")),
        format!("SELECT id FROM orders WHERE tenant_id = {}5{}", "(".repeat(100_000), ")".repeat(100_000)),
        format!("SELECT id FROM orders WHERE tenant_id IN ({})", chain(50_000, "5", ",")),
        format!("INSERT INTO orders (tenant_id, id) VALUES {}", chain(20_000, "(5, 1)", ",")),
        chain(300, "SELECT id FROM orders WHERE tenant_id = 5", " UNION ALL "),
        format!("SELECT {}1{}", "(SELECT ".repeat(5_000), ")".repeat(5_000)),
        format!("SELECT {}", "CASE WHEN true THEN ".repeat(2_000)),
        format!("SELECT {}1", "- ".repeat(50_000)),
        format!("SELECT {}true", "NOT ".repeat(50_000)),
    ];
    // The stack of a runtime's worker thread.
    let run = move || {
        for text in &texts {
            world.explain(text, None);
        }
    };
    std::thread::Builder::new().stack_size(2 << 20).spawn(run).unwrap().join().unwrap();
}

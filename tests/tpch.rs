//! The 22 queries of TPC-H at a small scale: each has the same answer from one Postgres and through pgloom over four shards.
//! `tests/tpch/queries/*.sql` are the queries, with the benchmark's validation parameters, in the blocks that
//! `oracle/corpus.rs` describes. `PGLOOM_ORACLE_ONLY=q09` runs those whose place contains the text.

#![allow(clippy::unwrap_used)]

#[allow(dead_code)]
#[path = "oracle/ask.rs"]
mod ask;
#[path = "oracle/compare.rs"]
mod compare;
#[allow(dead_code)]
#[path = "oracle/corpus.rs"]
mod corpus;
#[path = "tpch/data.rs"]
mod data;
mod support;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use corpus::{Case, Form, Order};
use support::raw::{Raw, Reply};
use support::{Database, Router, SHARDS};

const SCHEMA: &str = include_str!("tpch/schema.sql");

/// Orders with their lines, parts with their stock, customers and suppliers lie by their own keys.
fn config(db: &Database) -> String {
    let mut out = String::from(
        "[general]\nport = {port}\nmetrics_listen = \"127.0.0.1:{http_port}\"\nauth_type = \"trust\"\n\
         [[users]]\nname = \"postgres\"\n",
    );
    let name = &db.name;
    let _ = writeln!(out, "[databases.{name}]");
    for (index, port) in db.ports().iter().enumerate() {
        let _ = writeln!(out, "[[databases.{name}.shards]]\nname = \"s{index}\"\nhost = \"127.0.0.1\"\nport = {port}");
    }
    for distribution in ["order", "customer", "part", "supplier"] {
        let _ = writeln!(out, "[[databases.{name}.distributions]]\nname = \"{distribution}\"\nkey_types = [\"int4\"]");
    }
    for (table, rule) in data::TABLES {
        let _ = writeln!(out, "[[databases.{name}.tables]]\nname = \"{table}\"");
        let _ = match rule {
            Some((distribution, column)) => {
                writeln!(out, "distribution = \"{distribution}\"\ncolumns = [\"{column}\"]")
            }
            None => writeln!(out, "reference = true"),
        };
    }
    out
}

/// Schema and rows on both sides, those of the shards through the router.
fn load(db: &Database) -> Router {
    db.everywhere(SCHEMA);
    let router = Router::start(&config(db));
    let (mut oracle, mut through) = (db.oracle(), router.connect(&db.name));
    for (table, rows) in data::rows() {
        for raw in [&mut oracle, &mut through] {
            let reply = raw.copy_in(&format!("COPY {table} FROM STDIN"), rows.as_bytes());
            assert!(reply.error.is_none(), "loading {table}: {}", reply.error.unwrap());
            assert_eq!(reply.answers[0].tag.as_deref(), Some(format!("COPY {}", rows.lines().count()).as_str()));
        }
    }
    for table in ["lineitem", "customer", "part", "supplier"] {
        let spread =
            (0..SHARDS).filter(|index| db.shard(*index).value(&format!("SELECT count(*) FROM {table}")) != "0");
        assert_eq!(spread.count(), SHARDS, "every shard holds a part of {table}");
    }
    // As on a server that has been in use: plans follow statistics.
    oracle.must("ANALYZE");
    router
}

/// What is wrong with the router's answers to all steps of a case; `None`: they are Postgres's own.
fn wrong(oracle: &mut Raw, router: &mut Raw, case: &Case, form: Form) -> Option<String> {
    let values = ask::values(oracle, case, form);
    for index in 0..case.statements.len() {
        let theirs = ask::ask(oracle, case, index, form, &values);
        if let Some(error) = &theirs.error {
            return Some(format!("Postgres itself says {error}"));
        }
        let ours = ask::ask(router, case, index, form, &values);
        let order = match &case.order {
            Order::Any if corpus::has_outer_order(&case.statements[index]) && case.script => &Order::Exact,
            order => order,
        };
        if let Some(error) = &ours.error {
            return Some(error.to_string());
        }
        if let Some(difference) = compare::difference(&theirs, &ours, order, None) {
            return Some(format!("{difference}\n--- postgres\n{}\n--- pgloom\n{}", theirs.text(), ours.text()));
        }
        if case.statements[index].contains("SELECT")
            && says_nothing(&theirs)
            && !case.statements[index].contains("VIEW")
        {
            return Some("no rows, or only NULL: the data do not test it".to_owned());
        }
    }
    None
}

fn says_nothing(reply: &Reply) -> bool {
    reply.answers.iter().flat_map(|a| &a.rows).flatten().all(Option::is_none)
}

#[test]
fn all_queries_answer_as_one_postgres_does() {
    let db = Database::create("tpch");
    let router = load(&db);
    let only = std::env::var("PGLOOM_ORACLE_ONLY").unwrap_or_default();
    let queries = corpus::read_all(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tpch/queries"));
    assert_eq!(queries.len(), 22);
    let (mut oracle, mut through) = (db.oracle(), router.connect(&db.name));
    let mut plans: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    let mut faults = Vec::new();
    for (name, cases) in queries.iter().filter(|(name, _)| name.contains(&only)) {
        for case in cases {
            for form in &case.forms {
                if let Some(why) = wrong(&mut oracle, &mut through, case, *form) {
                    faults.push(format!("{} [{}]: {why}", case.place, form.name()));
                    (oracle, through) = (db.oracle(), router.connect(&db.name));
                }
            }
        }
        let plan = through.simple(&format!("EXPLAIN (ROUTE) {}", cases[0].statements[0])).text();
        let kind = plan.split_whitespace().next().unwrap_or("none").to_owned();
        plans.entry(kind).or_default().push(name);
    }
    plans.iter().for_each(|(kind, names)| println!("{kind}: {}", names.join(" ")));
    drop(router);
    assert!(faults.is_empty(), "{} answers are not those of one Postgres:\n{}", faults.len(), faults.join("\n"));
}

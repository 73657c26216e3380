#![allow(clippy::unwrap_used)]
use std::collections::HashMap;

use super::*;
use crate::catalog::Catalog;
use crate::topology::{Topology, TopologySpec};

fn told_with(text: &str, reads: &ReadsTime) -> Result<String, String> {
    let topology = Topology {
        epoch: TopologySpec::default().epoch,
        fence: Default::default(),
        shards: Vec::new(),
        home: crate::ids::ShardId(0),
        distributions: Vec::new(),
        tables: HashMap::new(),
        from_sql: std::collections::HashSet::new(),
        closed: HashMap::new(),
        uniques: Vec::new(),
    };
    let scope = NameScope {
        catalog: &Catalog::default(),
        topology: &topology,
        search_path: &[],
        standard_strings: true,
        changes: &[],
        defines: false,
        temporary: None,
        temporaries: None,
        own: None,
        fingerprint: 0,
        unknown: None,
    };
    with_time(text, reads, "T", &scope)
}

fn told(text: &str) -> String {
    told_with(text, &ReadsTime { moment: true, ..ReadsTime::default() }).unwrap()
}

const T: &str = "'T'::pg_catalog.timestamptz";

#[test]
fn calls_become_values_under_their_names() {
    assert_eq!(told("SELECT now( ), a.now"), format!("SELECT (SELECT {T} AS \"now\"), a.now"));
    assert_eq!(told("SELECT pg_catalog.now()"), format!("SELECT (SELECT {T} AS \"now\")"));
    assert_eq!(
        told("SELECT current_timestamp(3), Current_Date x"),
        format!(
            "SELECT (SELECT {T}(3) AS \"current_timestamp\"), (SELECT ({T})::pg_catalog.date AS \"current_date\") x"
        )
    );
    assert_eq!(told("SELECT age(b)"), format!("SELECT age(({T})::pg_catalog.date, b)"));
    for same in [
        "SELECT age(a, b)",
        "SELECT age(datfrozenxid)",
        "SELECT 1 AS current_date",
        "SELECT x.now()",
        "SELECT 'call now()'",
    ] {
        assert_eq!(told(same), same);
    }
}

#[test]
fn texts_that_are_cast_become_values() {
    assert_eq!(told("SELECT 'now'::date"), format!("SELECT ({T})::date"));
    assert_eq!(
        told("SELECT CAST('today' AS timestamp)"),
        format!("SELECT CAST((({T})::pg_catalog.date + (0)) AS timestamp)")
    );
    assert_eq!(told("SELECT date 'yesterday'"), format!("SELECT (({T})::pg_catalog.date + (-1))::pg_catalog.date"));
    for text in ["UPDATE t SET a = 'now'", "SELECT 'today'::time", "SELECT time 'tomorrow'"] {
        assert!(told_with(text, &ReadsTime { moment: true, ..ReadsTime::default() }).is_err(), "{text}");
    }
    let same = "UPDATE t SET a = 'now'";
    assert_eq!(told_with(same, &ReadsTime::default()).unwrap(), same);
}

#[test]
fn what_stands_in_from_is_not_written() {
    for text in [
        "SELECT * FROM now()",
        "SELECT * FROM a, now() AS n",
        "SELECT * FROM a JOIN b ON a.x = now(), current_timestamp AS n",
        "SELECT * FROM a JOIN LATERAL now() n ON true",
        "SELECT * FROM (a CROSS JOIN now())",
        "SELECT * FROM ROWS FROM (now())",
        "DELETE FROM a USING now() n",
        "SELECT 1 WHERE EXISTS (SELECT FROM now())",
    ] {
        assert!(told_with(text, &ReadsTime::default()).is_err(), "{text}");
    }
    for text in [
        "SELECT * FROM a, b WHERE x IS NOT DISTINCT FROM now()",
        "SELECT extract(year FROM now()) FROM a",
        "SELECT * FROM a JOIN b ON now() > a.x JOIN c ON now() > c.x",
        "SELECT * FROM (SELECT now() FROM a) s",
        "SELECT * FROM f(now()) f",
        "SELECT 1 FROM a GROUP BY now() HAVING now() > x ORDER BY now() LIMIT 1",
        "DELETE FROM a WHERE b = now()",
        "UPDATE a SET b = now() FROM c WHERE d < now() RETURNING now()",
    ] {
        let told = told_with(text, &ReadsTime::default()).unwrap();
        assert_eq!(told.replace(&format!("(SELECT {T} AS \"now\")"), "now()"), text);
    }
}

#[test]
fn defaults_are_written_before_they_are_told() {
    let sets = vec![("at".into(), "now()".into())];
    let text = "UPDATE t SET a = DEFAULT, \"at\" = default";
    let told = told_with(text, &ReadsTime { sets, ..ReadsTime::default() }).unwrap();
    assert_eq!(told, format!("UPDATE t SET a = DEFAULT, \"at\" = ((SELECT {T} AS \"now\"))"));
    let omitted = vec![("at".into(), vec![Piece::Text("(now())".into())])];
    let fill = Fill { omitted, ..Fill::nothing(2) };
    let text = "INSERT INTO t (a, b) VALUES (1, nextval('s')), ($1, 'now')";
    let told = told_with(text, &ReadsTime { fill: Some(fill), ..ReadsTime::default() }).unwrap();
    let now = format!("((SELECT {T} AS \"now\"))");
    assert_eq!(told, format!("INSERT INTO t (a, b, \"at\") VALUES (1, nextval('s'), {now}), ($1, 'now', {now})"));
    let hidden = Some("it".into());
    assert!(told_with("SELECT 1", &ReadsTime { hidden, ..ReadsTime::default() }).is_err());
}

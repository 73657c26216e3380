//! Statements made from a seed: predicates, joins, aggregates, order and limit over the shop's tables.
//! Nothing in them is random in its answer: where there is a LIMIT, the order is total.

use std::fmt::Write;

use crate::corpus::{Case, Form};
use crate::support::Random;

/// What may be done with a column.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Integer,
    Numeric,
    Text,
    Date,
    Bool,
    Uuid,
}

#[derive(Clone, Copy)]
struct Column {
    name: &'static str,
    kind: Kind,
    /// Literals worth comparing with.
    values: &'static [&'static str],
}

struct Table {
    name: &'static str,
    key: &'static str,
    /// Columns that identify a row.
    unique: &'static [&'static str],
    columns: &'static [Column],
    /// Whether other tables with this key column's values are co-located.
    tenant: bool,
}

const fn column(name: &'static str, kind: Kind, values: &'static [&'static str]) -> Column {
    Column { name, kind, values }
}

const TENANTS: &[&str] = &["1", "2", "3", "5", "8", "15", "22", "40", "77", "'8'", "8::bigint", "NULL", "8.0", "2 + 6"];
const TABLES: &[Table] = &[
    Table {
        name: "customers",
        key: "tenant_id",
        unique: &["tenant_id", "id"],
        tenant: true,
        columns: &[
            column("tenant_id", Kind::Integer, TENANTS),
            column("id", Kind::Integer, &["7", "100", "250", "399"]),
            column("email", Kind::Text, &["'user7@example.com'", "'user3'"]),
            column("nick", Kind::Text, &["'c'", "''", "'e4d'"]),
            column("balance", Kind::Numeric, &["0", "-100.5", "350.25", "NULL"]),
            column("active", Kind::Bool, &["true", "false", "NULL"]),
            column("level", Kind::Integer, &["0", "3", "NULL"]),
            column("born", Kind::Date, &["'1975-01-01'", "'1990-06-30'"]),
        ],
    },
    Table {
        name: "orders",
        key: "tenant_id",
        unique: &["tenant_id", "id"],
        tenant: true,
        columns: &[
            column("tenant_id", Kind::Integer, TENANTS),
            column("id", Kind::Integer, &["311", "1000", "2502", "3991"]),
            column("customer_id", Kind::Integer, &["31", "200", "NULL"]),
            column("status", Kind::Text, &["'paid'", "'Paid'", "'new'", "'none'"]),
            column("total", Kind::Numeric, &["10", "500.25", "1100", "NULL"]),
            column("quantity", Kind::Integer, &["0", "4", "8", "NULL"]),
            column("shipped", Kind::Date, &["'2024-03-01'", "'2024-05-20'"]),
        ],
    },
    Table {
        name: "order_items",
        key: "tenant_id",
        unique: &["tenant_id", "order_id", "line"],
        tenant: true,
        columns: &[
            column("tenant_id", Kind::Integer, TENANTS),
            column("order_id", Kind::Integer, &["311", "1502", "3000"]),
            column("line", Kind::Integer, &["1", "2", "3"]),
            column("product_id", Kind::Integer, &["5", "42", "65", "NULL"]),
            column("quantity", Kind::Integer, &["1", "3"]),
            column("price", Kind::Numeric, &["10.5", "200"]),
        ],
    },
    Table {
        name: "tenants",
        key: "id",
        unique: &["id"],
        tenant: true,
        columns: &[
            column("id", Kind::Integer, TENANTS),
            column("plan", Kind::Text, &["'free'", "'Pro'", "NULL"]),
            column("seats", Kind::Integer, &["9", "60", "NULL"]),
            column("budget", Kind::Numeric, &["999.5", "2000"]),
            column("joined", Kind::Date, &["'2020-12-01'"]),
        ],
    },
    Table {
        name: "events",
        key: "device",
        unique: &["device", "seq"],
        tenant: false,
        columns: &[
            column("device", Kind::Uuid, &["md5('device3')::uuid", "'d0d7fdb6-97cf-3fcd-9eb2-3e9b6d3bcd0b'", "NULL"]),
            column("seq", Kind::Integer, &["10", "150", "290"]),
            column("kind", Kind::Text, &["'open'", "'Open'", "NULL"]),
            column("value", Kind::Numeric, &["55", "200.2"]),
            column("flags", Kind::Integer, &["0", "1000000000000"]),
        ],
    },
    Table {
        name: "metrics",
        key: "day",
        unique: &["day", "series"],
        tenant: false,
        columns: &[
            column("day", Kind::Date, &["'2023-12-31'", "'2024-01-01'", "'2024-02-29'", "'2024-03-05'", "NULL"]),
            column("series", Kind::Integer, &["0", "1", "2"]),
            column("value", Kind::Integer, &["0", "-200", "333"]),
            column("ratio", Kind::Numeric, &["1.5", "20"]),
        ],
    },
    Table {
        name: "kv",
        key: "key",
        unique: &["key"],
        tenant: false,
        columns: &[
            column("key", Kind::Text, &["'key42'", "''", "'Key'", "'key'", "NULL", "'key' || 7"]),
            column("version", Kind::Integer, &["3", "7"]),
            column("value", Kind::Text, &["'value 7'", "NULL"]),
        ],
    },
    Table {
        name: "region_stats",
        key: "region",
        unique: &["region", "year"],
        tenant: false,
        columns: &[
            column("region", Kind::Text, &["'eu'", "'EU'", "'nowhere'", "'us'", "NULL"]),
            column("year", Kind::Integer, &["2019", "2022"]),
            column("amount", Kind::Integer, &["0", "8000000000000"]),
        ],
    },
    Table {
        name: "products",
        key: "id",
        unique: &["id"],
        tenant: false,
        columns: &[
            column("id", Kind::Integer, &["5", "42"]),
            column("sku", Kind::Text, &["'SKU-0042'"]),
            column("price", Kind::Numeric, &["13.7", "60"]),
        ],
    },
];

/// One statement; `number` names it.
pub fn statement(random: &mut Random, number: usize) -> Case {
    let sql = if random.chance(35) { joined(random) } else { single(random) };
    let mut case = Case::plain(format!("generated {number}"), sql);
    // Two forms each: the hand-written statements take all.
    case.forms = vec![Form::Simple, *random.pick(&[Form::Text, Form::Binary, Form::Portal])];
    case
}

fn single(random: &mut Random) -> String {
    let table = random.pick(TABLES);
    let from = table.name.to_owned();
    let columns: Vec<(String, Column)> = table.columns.iter().map(|c| (c.name.to_owned(), *c)).collect();
    let unique: Vec<String> = table.unique.iter().map(|c| (*c).to_owned()).collect();
    let filter = predicate(random, &columns, table.key, 0);
    finish(random, &from, &columns, &unique, &filter)
}

fn joined(random: &mut Random) -> String {
    let tenants: Vec<&Table> = TABLES.iter().filter(|t| t.tenant).collect();
    let a = *random.pick(&tenants);
    let with_product = a.name == "order_items" && random.chance(60);
    let b =
        if with_product { TABLES.iter().find(|t| t.name == "products").unwrap_or(a) } else { random.pick(&tenants) };
    let kind = *random.pick(&["JOIN", "JOIN", "LEFT JOIN", "RIGHT JOIN"]);
    let mut on = if with_product { "a.product_id = b.id".to_owned() } else { format!("a.{} = b.{}", a.key, b.key) };
    let mut columns: Vec<(String, Column)> = a.columns.iter().map(|c| (format!("a.{}", c.name), *c)).collect();
    let mine = columns.clone();
    columns.extend(b.columns.iter().map(|c| (format!("b.{}", c.name), *c)));
    // The rest of the condition keeps the answer small, or is a trap for who takes an ON for a WHERE.
    let extra = predicate(random, &columns, &format!("a.{}", a.key), 1);
    if random.chance(60) && !extra.is_empty() {
        let _ = write!(on, " AND {extra}");
    }
    // The large tenant's rows all joined to each other would be a hundred thousand.
    if !with_product && a.name != "tenants" && b.name != "tenants" {
        let pairs = a.columns.iter().flat_map(|x| b.columns.iter().map(move |y| (x, y)));
        let alike: Vec<_> = pairs
            .filter(|(x, y)| x.kind == y.kind && x.kind == Kind::Integer && x.name != a.key && y.name != b.key)
            .filter(|(x, y)| x.values.len() > 1 && x.name.ends_with("id") && y.name.ends_with("id"))
            .collect();
        let (x, y) = random.pick(&alike);
        let _ = write!(on, " AND a.{} = b.{}", x.name, y.name);
    }
    let from = format!("{} a {kind} {} b ON {on}", a.name, b.name);
    let mut unique: Vec<String> = a.unique.iter().map(|c| format!("a.{c}")).collect();
    unique.extend(b.unique.iter().map(|c| format!("b.{c}")));
    let filter = predicate(random, &mine, &format!("a.{}", a.key), 0);
    finish(random, &from, &columns, &unique, &filter)
}

/// A condition, possibly empty; `depth` bounds its nesting.
fn predicate(random: &mut Random, columns: &[(String, Column)], key: &str, depth: usize) -> String {
    if depth == 0 && random.chance(15) {
        return String::new();
    }
    if depth < 3 && random.chance(30) {
        let word = *random.pick(&["AND", "AND", "OR"]);
        let left = predicate(random, columns, key, depth + 1);
        let right = predicate(random, columns, key, depth + 1);
        let not = if random.chance(10) { "NOT " } else { "" };
        return format!("{not}({left} {word} {right})");
    }
    let with_key = random.chance(45);
    let position = columns.iter().position(|(name, _)| name == key).filter(|_| with_key);
    let (name, column) = &columns[position.unwrap_or_else(|| random.below(columns.len()))];
    let value = *random.pick(column.values);
    let other = *random.pick(column.values);
    if random.chance(8) {
        return format!("{name} IS {}NULL", if random.chance(50) { "NOT " } else { "" });
    }
    if column.kind == Kind::Bool {
        return random.pick(&[name.clone(), format!("NOT {name}"), format!("{name} = {value}")]).clone();
    }
    if column.kind == Kind::Text && random.chance(15) {
        return format!("{name} LIKE '%{}%'", random.pick(&["a", "e", "1", "P", "9"]));
    }
    match random.below(15) {
        10 => format!("NOT ({name} <> {value})"),
        11 => format!("{name} IS NOT DISTINCT FROM {value}"),
        12 if column.kind == Kind::Integer => format!("{name} = {value} * 2 - {other}"),
        13 if matches!(column.kind, Kind::Integer | Kind::Text) => {
            // Untyped constants alone would be texts.
            let first = if column.kind == Kind::Integer { "(1), " } else { "" };
            format!("{name} {}IN (VALUES {first}({value}), ({other}))", random.pick(&["", "", "NOT "]))
        }
        14 => format!("NOT ({name} < {value} OR {name} > {other})"),
        0..=4 => format!("{name} = {value}"),
        5 => format!("{name} IN ({value}, {other})"),
        6 => format!("{name} NOT IN ({value}, {other})"),
        7 if column.kind != Kind::Text && column.kind != Kind::Uuid => format!("{name} BETWEEN {value} AND {other}"),
        8 => format!("{value} = {name}"),
        _ if column.kind == Kind::Text || column.kind == Kind::Uuid => format!("{name} <> {value}"),
        _ => format!("{name} {} {value}", random.pick(&["<", "<=", ">", ">="])),
    }
}

fn finish(random: &mut Random, from: &str, columns: &[(String, Column)], unique: &[String], filter: &str) -> String {
    let filter = if filter.is_empty() { String::new() } else { format!(" WHERE {filter}") };
    match random.below(10) {
        0..=3 => rows(random, from, columns, unique, &filter),
        4..=5 => {
            let list = aggregates(random, columns);
            format!("SELECT {list} FROM {from}{filter}")
        }
        6..=8 => grouped(random, from, columns, &filter),
        _ => distinct(random, from, columns, &filter),
    }
}

fn some_columns(random: &mut Random, columns: &[(String, Column)], most: usize) -> Vec<(String, Column)> {
    let count = 1 + random.below(most);
    let mut chosen: Vec<(String, Column)> = Vec::new();
    for _ in 0..count {
        let one = random.pick(columns).clone();
        if !chosen.iter().any(|(name, _)| *name == one.0) {
            chosen.push(one);
        }
    }
    chosen
}

fn direction(random: &mut Random) -> &'static str {
    random.pick::<&str>(&["", "", " DESC", " NULLS FIRST", " DESC NULLS LAST", " ASC"])
}

fn limit(random: &mut Random) -> String {
    let mut out = String::new();
    if random.chance(60) {
        let _ = write!(out, " LIMIT {}", random.pick(&[0, 1, 3, 10, 25, 1000]));
    }
    if random.chance(30) {
        let _ = write!(out, " OFFSET {}", random.pick(&[0, 1, 5, 40, 5000]));
    }
    out
}

fn rows(random: &mut Random, from: &str, columns: &[(String, Column)], unique: &[String], filter: &str) -> String {
    let chosen = some_columns(random, columns, 4);
    let mut list: Vec<String> = chosen.iter().map(|(name, _)| name.clone()).collect();
    if random.chance(15) {
        let expression = match chosen[0].1.kind {
            Kind::Integer | Kind::Numeric => format!("{} * 2 AS doubled", chosen[0].0),
            _ => format!("{}::text AS written", chosen[0].0),
        };
        list.push(expression);
    }
    let mut sql = format!("SELECT {} FROM {from}{filter}", list.join(", "));
    if random.chance(60) {
        let mut order: Vec<String> =
            some_columns(random, columns, 2).iter().map(|(name, _)| format!("{name}{}", direction(random))).collect();
        order.extend(unique.iter().cloned());
        let _ = write!(sql, " ORDER BY {}{}", order.join(", "), limit(random));
    }
    sql
}

fn aggregates(random: &mut Random, columns: &[(String, Column)]) -> String {
    let count = 1 + random.below(3);
    let mut list = Vec::new();
    for _ in 0..count {
        let (name, column) = random.pick(columns);
        let sort = column.kind != Kind::Bool && column.kind != Kind::Uuid;
        let number = matches!(column.kind, Kind::Integer | Kind::Numeric);
        list.push(match random.below(9) {
            0 => "count(*)".to_owned(),
            1 => format!("count({name})"),
            2 | 3 if number => format!("sum({name})"),
            4 if number => format!("avg({name})"),
            5 | 6 if sort => format!("{}({name})", random.pick(&["min", "max"])),
            7 if column.kind == Kind::Bool => format!("bool_or({name})"),
            7 => format!("count(DISTINCT {name})"),
            _ if sort => format!("max({name})"),
            _ => "count(*)".to_owned(),
        });
    }
    list.join(", ")
}

fn grouped(random: &mut Random, from: &str, columns: &[(String, Column)], filter: &str) -> String {
    let keys: Vec<String> = some_columns(random, columns, 2).into_iter().map(|(name, _)| name).collect();
    let aggregates = aggregates(random, columns);
    let mut sql = format!("SELECT {}, {aggregates} FROM {from}{filter} GROUP BY {}", keys.join(", "), keys.join(", "));
    if random.chance(25) {
        let _ = write!(sql, " HAVING count(*) {} {}", random.pick(&[">", "<", "="]), random.pick(&[1, 3, 10]));
    }
    if random.chance(65) {
        let mut order: Vec<String> = Vec::new();
        if random.chance(30) {
            order.push("count(*) DESC".to_owned());
        }
        order.extend(keys.iter().map(|k| format!("{k}{}", direction(random))));
        let _ = write!(sql, " ORDER BY {}{}", order.join(", "), limit(random));
    }
    sql
}

fn distinct(random: &mut Random, from: &str, columns: &[(String, Column)], filter: &str) -> String {
    let chosen: Vec<String> = some_columns(random, columns, 2).into_iter().map(|(name, _)| name).collect();
    let mut sql = format!("SELECT DISTINCT {} FROM {from}{filter}", chosen.join(", "));
    if random.chance(60) {
        let order: Vec<String> = chosen.iter().map(|name| format!("{name}{}", direction(random))).collect();
        let _ = write!(sql, " ORDER BY {}{}", order.join(", "), limit(random));
    }
    sql
}

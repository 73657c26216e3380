//! Tables with a column of each common type, one or more placed by every method: beside the shop, for the worlds that ask for them.

use std::fmt::Write;

/// A table of `shop/wide.sql`.
pub struct Wide {
    pub name: &'static str,
    pub place: Place,
    /// Which of the rows of `shop/wide_data.sql` it has.
    pub rows: &'static str,
}

/// Where its rows lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The distribution, and the key columns.
    Sharded(&'static str, &'static str),
    Reference,
    Home,
    /// In a placed schema, which is made through the router.
    Schema(&'static str),
}

const fn wide(name: &'static str, place: Place, rows: &'static str) -> Wide {
    Wide { name, place, rows }
}

/// All of them.
pub const WIDE: &[Wide] = &[
    wide("wide_hash", Place::Sharded("number", "n"), "true"),
    wide("wide_none", Place::Sharded("number", "n"), "false"),
    wide("wide_pair", Place::Sharded("pair", "a, n"), "g % 5 <> 1"),
    wide("wide_also", Place::Sharded("pair", "a, n"), "g % 3 <> 0"),
    wide("wide_range", Place::Sharded("span", "n"), "g % 4 <> 2"),
    wide("wide_list", Place::Sharded("place", "a"), "g % 7 <> 3"),
    wide("wide_group", Place::Sharded("group", "a, n"), "g % 6 <> 4"),
    wide("wide_parts", Place::Sharded("parts", "a, n"), "g % 8 <> 5"),
    wide("wide_same", Place::Reference, "g < 50"),
    wide("wide_home", Place::Home, "g > 90"),
    wide("wide_t1.things", Place::Schema("wide_t1"), "g BETWEEN 40 AND 110"),
    wide("wide_t2.things", Place::Schema("wide_t2"), "g % 2 = 0"),
];

/// Their distributions, each with the number of shards that it gives rows: `span` and `place` leave one empty, `place` has most on one.
pub const DISTRIBUTIONS: &[(&str, &str, usize)] = &[
    ("number", "key_types = [\"int8\"]", 4),
    ("pair", "key_types = [\"text\", \"int8\"]\nvirtual_nodes = 64", 4),
    (
        "span",
        "method = \"range\"\nkey_types = [\"int8\"]\nranges = [\
         { to = 10, shard = \"s2\" }, { from = 10, to = 20, shard = \"s0\" }, { from = 20, shard = \"s3\" }]",
        3,
    ),
    (
        "place",
        "method = \"list\"\nkey_types = [\"text\"]\ndefault_shard = \"s0\"\nvalues = [\
         { value = \"eu\", shard = \"s1\" }, { values = [\"us\", \"asia\"], shard = \"s2\" }, { values = [\"uk\", \"\"], shard = \"s3\" }]",
        3,
    ),
    (
        "group",
        "method = \"composite\"\nkey_types = [\"text\", \"int8\"]\ngroups = [\
         { value = \"eu\", shards = [\"s0\", \"s1\"] }, { value = \"us\", shards = [\"s2\"] }, { shards = [\"s2\", \"s3\"] }]\n\
         pins = [{ value = [\"eu\", 4], shard = \"s3\" }]",
        4,
    ),
    (
        "parts",
        "method = \"postgres_hash\"\nkey_types = [\"text\", \"int8\"]\npartitions = [\
         { modulus = 4, remainder = 0, shard = \"s0\" }, { modulus = 4, remainder = 1, shard = \"s1\" }, \
         { modulus = 8, remainder = 2, shard = \"s2\" }, { modulus = 8, remainder = 6, shard = \"s3\" }, \
         { modulus = 8, remainder = 3, shard = \"s3\" }, { modulus = 8, remainder = 7, shard = \"s0\" }]",
        4,
    ),
];

const SCHEMA: &str = include_str!("shop/wide.sql");
const DATA: &str = include_str!("shop/wide_data.sql");

impl Wide {
    /// What makes the table, and its schema where that is placed.
    pub fn create_sql(&self) -> Vec<String> {
        let schema = match self.place {
            Place::Schema(schema) => Some(format!("CREATE SCHEMA {schema}")),
            Place::Sharded(..) | Place::Reference | Place::Home => None,
        };
        schema.into_iter().chain([SCHEMA.replace('~', self.name)]).collect()
    }

    /// What fills it, on the one Postgres.
    pub fn fill_sql(&self) -> String {
        DATA.replace('~', self.name).replace("WHERE #", &format!("WHERE {}", self.rows))
    }
}

/// Their part of `pgloom.toml`, for the database `name`.
pub fn toml(name: &str) -> String {
    let mut out = String::new();
    for (distribution, rule, _) in DISTRIBUTIONS {
        let _ = writeln!(out, "[[databases.{name}.distributions]]\nname = \"{distribution}\"\n{rule}");
    }
    let _ = writeln!(
        out,
        "[[databases.{name}.distributions]]\nname = \"schemas\"\nmethod = \"schema\"\nschemas = [\"wide_t*\"]\n\
         pins = [{{ value = \"wide_t1\", shard = \"s1\" }}, {{ value = \"wide_t2\", shard = \"s2\" }}]"
    );
    for table in WIDE {
        let rule = match table.place {
            Place::Sharded(distribution, columns) => {
                let columns: Vec<String> = columns.split(", ").map(|column| format!("\"{column}\"")).collect();
                format!("distribution = \"{distribution}\"\ncolumns = [{}]", columns.join(", "))
            }
            Place::Reference => "reference = true".to_owned(),
            Place::Home | Place::Schema(_) => continue,
        };
        let _ = writeln!(out, "[[databases.{name}.tables]]\nname = \"{}\"\n{rule}", table.name);
    }
    out
}

/// The shard that the config names for this key, where it does so by value.
pub fn named_shard(distribution: &str, key: &str) -> Option<usize> {
    match (distribution, key) {
        ("span", n) => Some(match n.parse::<i64>().ok()? {
            ..10 => 2,
            10..20 => 0,
            20.. => 3,
        }),
        ("place", "eu") => Some(1),
        ("place", "us" | "asia") => Some(2),
        ("place", _) => Some(3),
        ("group", "(eu,4)") => Some(3),
        ("group", key) if key.starts_with("(us,") => Some(2),
        _ => None,
    }
}

//! The config of the router that the oracle is compared with.

use std::fmt::Write;

use crate::support::{Database, Empty};

/// `pgloom.toml` for the schema of `shop/schema.sql` over the four shards of `db`. `combine`: servers beside them that finish statements;
/// `wide`: with the tables of `wide.rs`.
pub fn toml(db: &Database, combine: Option<&Empty>, wide: bool) -> String {
    let mut out = String::from(GENERAL);
    if let Some(combine) = combine {
        let _ = writeln!(out, "[combine]\nservers = {}", combine.toml());
    }
    let name = &db.name;
    let _ = writeln!(out, "[databases.{name}]\nhome_shard = \"s0\"\nsafe_functions = [\"public.twice\"]");
    for (index, port) in db.ports().iter().enumerate() {
        let _ = writeln!(out, "[[databases.{name}.shards]]\nname = \"s{index}\"\nhost = \"127.0.0.1\"\nport = {port}");
    }
    for (distribution, rule) in DISTRIBUTIONS {
        let _ = writeln!(out, "[[databases.{name}.distributions]]\nname = \"{distribution}\"\n{rule}");
    }
    for (table, distribution, column) in SHARDED {
        let _ = writeln!(
            out,
            "[[databases.{name}.tables]]\nname = \"{table}\"\ndistribution = \"{distribution}\"\ncolumns = ['{column}']"
        );
    }
    for table in ["products", "countries", "labels", "marks"] {
        let _ = writeln!(out, "[[databases.{name}.tables]]\nname = \"{table}\"\nreference = true");
    }
    if wide {
        out.push_str(&crate::wide::toml(name));
    }
    out
}

const GENERAL: &str = r#"
[general]
port = {port}
metrics_listen = "127.0.0.1:{http_port}"
auth_type = "trust"
default_pool_size = 5
log_level = "info"

[[users]]
name = "postgres"

[[users]]
name = "app"

"#;

const DISTRIBUTIONS: &[(&str, &str)] = &[
    // The large tenant has its own place, and a small one too.
    (
        "tenant",
        "key_types = [\"int4\"]\npins = [{ value = 1, shard = \"s3\" }, { value = 5, shard = \"s0\" }, { value = 6, shard = \"s1\" }]",
    ),
    ("device", "key_types = [\"uuid\"]"),
    ("word", "key_types = [\"text\"]\nvirtual_nodes = 64"),
    (
        "day",
        "method = \"range\"\nkey_types = [\"date\"]\nranges = [\
         { to = \"2024-01-01\", shard = \"s2\" }, { from = \"2024-01-01\", to = \"2024-02-01\", shard = \"s0\" }, \
         { from = \"2024-02-01\", to = \"2024-03-01\", shard = \"s1\" }, { from = \"2024-03-01\", shard = \"s3\" }]",
    ),
    (
        "region",
        "method = \"list\"\nkey_types = [\"text\"]\ndefault_shard = \"s0\"\nvalues = [\
         { values = [\"eu\", \"EU\"], shard = \"s1\" }, { value = \"us\", shard = \"s2\" }, { value = \"asia\", shard = \"s3\" }]",
    ),
];

/// Table, distribution, sharding-key column.
pub const SHARDED: &[(&str, &str, &str)] = &[
    ("tenants", "tenant", "id"),
    ("customers", "tenant", "tenant_id"),
    ("orders", "tenant", "tenant_id"),
    ("order_items", "tenant", "tenant_id"),
    ("sparse", "tenant", "tenant_id"),
    ("void", "tenant", "tenant_id"),
    ("odd", "tenant", "\"Id\""),
    ("parted", "tenant", "tenant_id"),
    ("accounts", "tenant", "tenant_id"),
    ("transfers", "tenant", "tenant_id"),
    ("events", "device", "device"),
    ("sessions", "device", "token"),
    ("kv", "word", "key"),
    ("words", "word", "word"),
    ("metrics", "day", "day"),
    ("readings", "day", "day"),
    ("tickets", "tenant", "tenant_id"),
    ("stamps", "word", "word"),
    ("region_stats", "region", "region"),
];

/// The shard that the config names for this key, where it does so by value.
pub fn named_shard(distribution: &str, key: &str) -> Option<usize> {
    match (distribution, key) {
        ("tenant", "1") => Some(3),
        ("tenant", "5") => Some(0),
        ("tenant", "6") => Some(1),
        ("day", day) if day < "2024-01-01" => Some(2),
        ("day", day) if day < "2024-02-01" => Some(0),
        ("day", day) if day < "2024-03-01" => Some(1),
        ("day", _) => Some(3),
        ("region", "eu" | "EU") => Some(1),
        ("region", "us") => Some(2),
        ("region", "asia") => Some(3),
        ("region", _) => Some(0),
        _ => None,
    }
}

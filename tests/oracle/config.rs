//! The config of the router that the oracle is compared with.

use std::fmt::Write;

use crate::support::Database;

/// `pgloom.toml` for the schema of `schema.sql` over the four shards of `db`.
pub fn toml(db: &Database) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "# {}", db.name);
    out
}

//! The TOML exactly as written; serde and nothing else.

//! pgloom: a sharding query router that speaks the PostgreSQL wire protocol. `docs/ARCHITECTURE.md` is the map of this tree.

pub mod backend;
pub mod catalog;
pub mod cli;
pub mod config;
pub mod fault;
pub mod ids;
pub mod merge;
pub mod metrics;
pub mod net;
pub mod plan;
pub mod secret;
pub mod server;
pub mod sql;
pub mod tls;
pub mod topology;
pub mod types;
pub mod wire;

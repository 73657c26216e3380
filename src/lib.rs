//! pgloom: a sharding query router that speaks the PostgreSQL wire protocol. `docs/ARCHITECTURE.md` is the map of this tree.
// Whether a task may move to another thread is proven through all that it awaits.
#![recursion_limit = "256"]
// The commands print, each line in `cli::out`.
#![deny(clippy::print_stdout, clippy::print_stderr)]

pub mod admin;
pub mod app;
pub mod backend;
pub mod catalog;
pub mod cli;
pub mod commit;
pub mod config;
pub mod control;
pub mod copy;
pub mod exec;
pub mod fault;
pub mod ids;
pub mod memory;
pub mod merge;
pub mod metrics;
pub mod net;
pub mod plan;
pub mod scope;
pub mod secret;
pub mod server;
pub mod session;
pub mod sql;
pub mod tls;
pub mod topology;
pub mod traces;
pub mod types;
pub mod wire;

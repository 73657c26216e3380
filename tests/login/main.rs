//! Logins with real peers: ours at Postgres servers, psql's and drivers' at us, and those of clients that cheat.
#![allow(clippy::unwrap_used)]

mod clients;
mod hostile;
mod servers;
#[path = "../support/mod.rs"]
mod support;
// Shared with the tests of whole routers, which use more of it.
#[allow(dead_code)]
mod tls_files;

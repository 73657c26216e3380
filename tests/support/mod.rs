//! What the end-to-end tests share: real Postgres clusters started once, a router process, a raw protocol client.
//!
//! `cargo nextest` runs every test in its own process, so the clusters live outside of all of them: see [`cluster`].

#![allow(dead_code, unused_imports, clippy::unwrap_used, clippy::expect_used)]

pub mod cluster;
pub mod database;
pub mod empty;
pub mod etcd;
pub mod lone;
pub mod pipe;
pub mod random;
pub mod raw;
pub mod relay;
pub mod router;
pub mod script;
pub mod sharded;

pub use cluster::{Cluster, Server};
pub use database::{Database, SHARDS};
pub use empty::{Empty, combine_server};
pub use etcd::EtcdCluster;
pub use lone::Lone;
pub use random::Random;
pub use raw::{Message, Raw};
pub use router::Router;
pub use sharded::{Sharded, eventually};

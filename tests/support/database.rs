//! A database of its own for one test: created on the shards and on the oracle, dropped with the value.

use std::sync::atomic::{AtomicU32, Ordering};

use super::cluster::{Cluster, SHARD_SERVERS};
use super::raw::Raw;

/// Shards that a test database lies on.
pub const SHARDS: usize = SHARD_SERVERS;

/// One fresh, empty database of the same name on every shared server. Stop the router before this is dropped.
#[derive(Debug)]
pub struct Database {
    pub name: String,
    pub cluster: &'static Cluster,
}

impl Database {
    /// `label` (a lower-case word) makes the name readable in logs.
    pub fn create(label: &str) -> Self {
        Self::create_with(label, "")
    }

    /// With these options of CREATE DATABASE.
    pub fn create_with(label: &str, options: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let cluster = Cluster::shared();
        let name = format!("t_{label}_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        each_server(cluster, |raw| {
            // From template0: a connection to template1 would block it.
            raw.must(&format!("CREATE DATABASE {name} TEMPLATE template0 {options}"));
        });
        Self { name, cluster }
    }

    /// A superuser's connection to shard `index`, past the router.
    pub fn shard(&self, index: usize) -> Raw {
        self.cluster.shards[index].connect(&self.name)
    }

    /// A superuser's connection to the one Postgres that has all the data.
    pub fn oracle(&self) -> Raw {
        self.cluster.oracle.connect(&self.name)
    }

    /// Runs `sql` on every shard and on the oracle, past the router.
    pub fn everywhere(&self, sql: &str) {
        for index in 0..SHARDS {
            self.shard(index).must(sql);
        }
        self.oracle().must(sql);
    }

    /// The ports of the shards, in order.
    pub fn ports(&self) -> Vec<u16> {
        self.cluster.shards.iter().map(|s| s.port).collect()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let sql = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        each_server(self.cluster, |raw| {
            // Prepared transactions would keep the database; one that a test left is rolled back first.
            let left = raw.values(&format!("SELECT gid FROM pg_prepared_xacts WHERE database = '{}'", self.name));
            if !left.is_empty() {
                let mut inside = Raw::connect(raw.port(), "postgres", &self.name).unwrap();
                for gid in left {
                    let _ = inside.simple(&format!("ROLLBACK PREPARED '{gid}'"));
                }
            }
            let _ = raw.simple(&sql);
        });
    }
}

fn each_server(cluster: &Cluster, work: impl Fn(&mut Raw) + Sync) {
    std::thread::scope(|scope| {
        for server in cluster.shards.iter().chain([&cluster.oracle]) {
            let work = &work;
            scope.spawn(move || match Raw::connect(server.port, "postgres", "postgres") {
                Ok(mut raw) => work(&mut raw),
                Err(e) => eprintln!("{}: {e}", server.name),
            });
        }
    });
}

//! A small sharded database behind a router of its own, for tests of one theme each.

use std::fmt::Write;

use super::database::{Database, SHARDS};
use super::raw::Raw;
use super::router::Router;

/// `items` and `parts` are sharded by `id` (hash), `places` is a reference table, `plain` lies on the home shard.
pub const SCHEMA: &str = "CREATE TABLE items (id int PRIMARY KEY, n int CHECK (n >= 0), name text); \
     CREATE TABLE parts (id int PRIMARY KEY REFERENCES items DEFERRABLE INITIALLY DEFERRED, label text); \
     CREATE TABLE places (code text PRIMARY KEY, title text); CREATE TABLE plain (id int PRIMARY KEY, body text)";
/// Rows of `items` to begin with: ids from 1, `n = 0`.
pub const ITEMS: i32 = 60;

/// The router ends before its database is dropped.
#[derive(Debug)]
pub struct Sharded {
    pub router: Router,
    pub db: Database,
    /// Ids of the first rows of `items`, by shard.
    pub ids: Vec<Vec<i32>>,
}

impl Sharded {
    /// `general`: further lines of the section `[general]`.
    pub fn create(label: &str, general: &str) -> Self {
        Self::create_as(label, general, "")
    }

    /// Like `create`, with further sections (users).
    pub fn create_as(label: &str, general: &str, sections: &str) -> Self {
        let db = Database::create(label);
        std::thread::scope(|scope| {
            (0..SHARDS).for_each(|index| {
                drop(scope.spawn({
                    let db = &db;
                    move || db.shard(index).must(SCHEMA)
                }))
            });
        });
        let router = Router::start(&config(&db.name, &db.ports(), general, sections));
        let mut through = router.connect(&db.name);
        let rows: Vec<String> = (1..=ITEMS).map(|id| format!("({id}, 0, 'item {id}')")).collect();
        through.must(&format!("INSERT INTO items VALUES {}", rows.join(", ")));
        through.must("INSERT INTO places VALUES ('a', 'A'); INSERT INTO plain VALUES (1, 'one')");
        let ids = (0..SHARDS)
            .map(|index| {
                let ids = db.shard(index).values("SELECT id FROM items ORDER BY id");
                ids.iter().map(|id| id.parse().unwrap()).collect()
            })
            .collect::<Vec<Vec<i32>>>();
        assert!(ids.iter().all(|ids| ids.len() > 3), "every shard holds a part: {ids:?}");
        Self { router, db, ids }
    }

    /// A new connection through the router.
    pub fn connect(&self) -> Raw {
        self.router.connect(&self.db.name)
    }

    /// An id of `items` that lies on this shard, the `nth` of them.
    pub fn id(&self, shard: usize, nth: usize) -> i32 {
        self.ids[shard][nth]
    }

    /// Ids that no row has yet, one for each shard: `EXPLAIN (ROUTE)` tells where a row would go.
    pub fn free_ids(&self, from: i32) -> Vec<i32> {
        let mut through = self.connect();
        let mut found = vec![None; SHARDS];
        for id in from..from + 500 {
            let route = through.must(&format!("EXPLAIN (ROUTE) SELECT * FROM items WHERE id = {id}")).text();
            let Some(shard) = (0..SHARDS).find(|index| route.contains(&format!("s{index}"))) else {
                panic!("no shard in {route}");
            };
            found[shard].get_or_insert(id);
            if found.iter().all(Option::is_some) {
                break;
            }
        }
        found.into_iter().map(|id| id.expect("500 keys reach every shard")).collect()
    }

    /// One answer of every shard to the same question, past the router.
    pub fn on_each(&self, sql: &str) -> Vec<String> {
        (0..SHARDS).map(|index| self.db.shard(index).value(sql)).collect()
    }

    /// Locks `items` on these shards, past the router: what reads or writes it there waits until the locks are dropped,
    /// what is prepared too.
    pub fn lock(&self, shards: &[usize]) -> Vec<Raw> {
        self.block(shards, "LOCK TABLE items")
    }

    /// Locks the rows of `items` on these shards: what writes them waits.
    pub fn lock_rows(&self, shards: &[usize]) -> Vec<Raw> {
        self.block(shards, "SELECT id FROM items FOR UPDATE")
    }

    fn block(&self, shards: &[usize], sql: &str) -> Vec<Raw> {
        let locked = shards.iter().map(|index| {
            let mut raw = self.db.shard(*index);
            raw.must(&format!("BEGIN; {sql}"));
            raw
        });
        locked.collect()
    }

    /// How many server processes wait for such a lock on a shard.
    pub fn waiting(&self, shard: usize) -> usize {
        let sql = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = '{}' AND wait_event_type = 'Lock'",
            self.db.name
        );
        self.db.shard(shard).value(&sql).parse().unwrap()
    }

    /// Prepared transactions of this database on all shards.
    pub fn prepared(&self) -> Vec<String> {
        let sql = format!("SELECT gid FROM pg_prepared_xacts WHERE database = '{}'", self.db.name);
        (0..SHARDS).flat_map(|index| self.db.shard(index).values(&sql)).collect()
    }
}

/// `pgloom.toml` for the tables above on these servers; `{port}` and `{http_port}` are left for [`Router::start`].
pub fn config(name: &str, ports: &[u16], general: &str, sections: &str) -> String {
    let trust = if general.contains("auth_type") { "" } else { "auth_type = \"trust\"\n" };
    let mut out = format!(
        "[general]\nport = {{port}}\nmetrics_listen = \"127.0.0.1:{{http_port}}\"\n{trust}{general}\n{sections}\n"
    );
    if !sections.contains("[[users]]") {
        out += "[[users]]\nname = \"postgres\"\n";
    }
    let _ = writeln!(out, "[databases.{name}]");
    for (index, port) in ports.iter().enumerate() {
        let _ = writeln!(out, "[[databases.{name}.shards]]\nname = \"s{index}\"\nhost = \"127.0.0.1\"\nport = {port}");
    }
    let _ = writeln!(out, "[[databases.{name}.distributions]]\nname = \"key\"\nkey_types = [\"int4\"]");
    for table in ["items", "parts"] {
        let _ = writeln!(
            out,
            "[[databases.{name}.tables]]\nname = \"{table}\"\ndistribution = \"key\"\ncolumns = [\"id\"]"
        );
    }
    let _ = writeln!(out, "[[databases.{name}.tables]]\nname = \"places\"\nreference = true");
    out
}

/// Repeats `ask` until it says yes, at most for so many seconds.
#[track_caller]
pub fn eventually(seconds: u64, what: &str, mut ask: impl FnMut() -> bool) {
    let start = std::time::Instant::now();
    while !ask() {
        assert!(start.elapsed().as_secs() < seconds, "not within {seconds} s: {what}");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

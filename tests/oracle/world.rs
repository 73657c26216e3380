//! The two sides that are compared: one Postgres with all the data, and the router over four shards with the same data.

use std::collections::{BTreeMap, BTreeSet};

use crate::support::raw::{Raw, Reply};
use crate::support::{Cluster, Database, Empty, Router, SHARDS, eventually};
use crate::wide::{Place, WIDE, Wide};

const SCHEMA: &str = include_str!("shop/schema.sql");
const DATA: &str = include_str!("shop/data.sql");

/// Where the rows of a table lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    Sharded,
    Reference,
    Home,
}

/// Every table, parents before children.
pub const TABLES: &[(&str, Placement)] = &[
    ("tenants", Placement::Sharded),
    ("customers", Placement::Sharded),
    ("orders", Placement::Sharded),
    ("order_items", Placement::Sharded),
    ("products", Placement::Reference),
    ("countries", Placement::Reference),
    ("events", Placement::Sharded),
    ("kv", Placement::Sharded),
    ("metrics", Placement::Sharded),
    ("region_stats", Placement::Sharded),
    ("sparse", Placement::Sharded),
    ("void", Placement::Sharded),
    ("settings", Placement::Home),
    ("audit", Placement::Home),
    ("accounts", Placement::Sharded),
    ("transfers", Placement::Sharded),
    ("sessions", Placement::Sharded),
    ("words", Placement::Sharded),
    ("readings", Placement::Sharded),
    ("labels", Placement::Reference),
    ("notes", Placement::Home),
    ("odd", Placement::Sharded),
    ("parted_old", Placement::Sharded),
    ("parted_new", Placement::Sharded),
    ("tickets", Placement::Sharded),
    ("stamps", Placement::Sharded),
    ("marks", Placement::Reference),
];

/// Those that statements of the corpus write to.
pub const WRITTEN: &[&str] = &[
    "accounts",
    "transfers",
    "sessions",
    "words",
    "readings",
    "labels",
    "notes",
    "tickets",
    "stamps",
    "marks",
    "metrics",
    "odd",
    "parted_old",
    "parted_new",
];

/// Both sides. With `PGLOOM_ORACLE_SELF=1` the router is left out and the oracle is compared with a copy of itself:
/// what differs then is a mistake of the corpus. With `PGLOOM_ORACLE_COMBINE=1` servers beside the shards finish statements.
pub struct World {
    router: Option<Router>,
    combine: Option<Empty>,
    copy: Option<String>,
    /// Whether it has the tables of `wide.rs`.
    wide: bool,
    pub db: Database,
}

impl World {
    /// What became of the statements that the router has seen, as it counts them itself: the share of each way to answer.
    pub fn shares(&self) -> String {
        let Some(router) = &self.router else { return String::new() };
        let (_, metrics) = router.http("/metrics");
        let counts: Vec<(String, f64)> = metrics
            .lines()
            .filter_map(|line| line.strip_prefix("pgloom_queries_total{class=\"")?.split_once("\"} "))
            .filter_map(|(class, count)| Some((class.to_owned(), count.parse().ok()?)))
            .collect();
        let all: f64 = counts.iter().map(|(_, count)| count).sum();
        let shares: Vec<String> =
            counts.iter().map(|(class, count)| format!("{class} {:.1}%", 100.0 * count / all.max(1.0))).collect();
        format!("of {all} statements sent: {}", shares.join(", "))
    }

    /// Where statements were finished, and why there.
    pub fn finishes(&self) -> Vec<String> {
        let Some(router) = &self.router else { return Vec::new() };
        let (_, metrics) = router.http("/metrics");
        let lines = metrics.lines().filter_map(|line| line.strip_prefix("pgloom_finishes_total"));
        lines.map(str::to_owned).collect()
    }

    /// Schema on all servers, data on the oracle, and the same data on the shards, through the router.
    pub fn create(label: &str) -> Self {
        Self::create_with(label, always_combined())
    }

    /// The same with the tables of `wide.rs`.
    pub fn create_wide(label: &str) -> Self {
        Self::build(label, always_combined(), true)
    }

    /// `combine`: with servers beside the shards that finish statements.
    pub fn create_with(label: &str, combine: bool) -> Self {
        Self::build(label, combine, false)
    }

    fn build(label: &str, combine: bool, wide: bool) -> Self {
        let db = Database::create(label);
        let mut oracle = db.oracle();
        oracle.must(SCHEMA);
        oracle.must(DATA);
        for table in wide_tables(wide) {
            table.create_sql().iter().for_each(|sql| drop(oracle.must(sql)));
            oracle.must(&table.fill_sql());
        }
        if std::env::var("PGLOOM_ORACLE_SELF").is_ok_and(|v| v == "1") {
            let copy = format!("{}_copy", db.name);
            oracle.must(&keep_sql());
            drop(oracle);
            db.cluster.oracle.connect("postgres").must(&format!("CREATE DATABASE {copy} TEMPLATE {}", db.name));
            return Self { router: None, combine: None, copy: Some(copy), wide, db };
        }
        for index in 0..SHARDS {
            let mut shard = db.shard(index);
            // So that the same type has another number on each.
            (0..=index).for_each(|n| drop(shard.must(&format!("CREATE TYPE filler_{n} AS ENUM ()"))));
            shard.must(SCHEMA);
            let everywhere = wide_tables(wide).filter(|table| !matches!(table.place, Place::Schema(_)));
            everywhere.flat_map(Wide::create_sql).for_each(|sql| drop(shard.must(&sql)));
        }
        let servers = [&db.cluster.oracle, &db.cluster.shards[2]];
        let combine = combine.then(|| Empty::create(&servers, &format!("{}_combine", db.name)));
        let router = Router::start(&super::config::toml(&db, combine.as_ref(), wide));
        if combine.is_some() {
            eventually(30, "the combine servers are fit", || {
                router.log_text().matches("combine server is fit").count() == 2
            });
        }
        let world = Self { router: Some(router), combine, copy: None, wide, db };
        let mut through = world.router();
        for (index, (table, _)) in TABLES.iter().enumerate() {
            // All three formats carry some of the tables.
            let format = ["text", "csv", "binary"][index % 3];
            world.load(&mut oracle, &mut through, table, format);
        }
        for (index, table) in wide_tables(wide).enumerate() {
            if matches!(table.place, Place::Schema(_)) {
                table.create_sql().iter().for_each(|sql| drop(through.must(sql)));
            }
            world.load(&mut oracle, &mut through, table.name, ["binary", "text", "csv"][index % 3]);
        }
        world.watch().servers().for_each(|raw| drop(raw.must(&keep_sql())));
        // Were all rows on one shard, everything would agree and nothing be shown.
        assert_eq!(world.misplaced(), Vec::<String>::new());
        world
    }

    /// Gives the shards statistics, as autovacuum would: without, they join as if every table had a row or two.
    pub fn analyze(&self) {
        (0..SHARDS).for_each(|index| drop(self.db.shard(index).must("ANALYZE")));
    }

    fn load(&self, oracle: &mut Raw, through: &mut Raw, table: &str, format: &str) {
        let out = oracle.must(&format!("COPY {table} TO STDOUT (FORMAT {format})"));
        let data = out.answers[0].copied.clone().unwrap();
        let reply = through.copy_in(&format!("COPY {table} FROM STDIN (FORMAT {format})"), &data);
        assert!(reply.error.is_none(), "loading {table}: {}", reply.error.unwrap());
        assert_eq!(reply.answers[0].tag, out.answers[0].tag, "loading {table}");
    }

    pub fn oracle(&self) -> Raw {
        self.db.oracle()
    }

    /// A new connection through the router.
    pub fn router(&self) -> Raw {
        match (&self.router, &self.copy) {
            (Some(router), _) => router.connect(&self.db.name),
            (None, Some(copy)) => self.db.cluster.oracle.connect(copy),
            (None, None) => unreachable!("one of them exists"),
        }
    }

    /// Checks that the written tables hold the same rows on both sides; `None`: they do.
    pub fn contents_differ(&self, watch: &mut Watch) -> Option<String> {
        self.tables_differ(watch, WRITTEN)
    }

    /// The same for all tables.
    pub fn anything_differs(&self) -> Option<String> {
        let all: Vec<&str> = TABLES.iter().map(|(name, _)| *name).collect();
        self.tables_differ(&mut self.watch(), &all)
    }

    fn tables_differ(&self, watch: &mut Watch, tables: &[&str]) -> Option<String> {
        let sql = dump_sql(tables);
        let theirs = sorted_rows(watch.oracle.must(&sql));
        if self.copy.is_some() {
            let ours = sorted_rows(watch.shards[0].must(&sql));
            return first_difference(&theirs, &ours);
        }
        let parts: Vec<Vec<Row>> = watch.shards.iter_mut().map(|shard| sorted_rows(shard.must(&sql))).collect();
        let is = |row: &Row, placement| {
            TABLES.iter().any(|(name, p)| *p == placement && row[0].as_deref() == Some(name.as_bytes()))
        };
        let mut union: Vec<Row> = Vec::new();
        for (index, rows) in parts.iter().enumerate() {
            let keep = |row: &&Row| is(row, Placement::Sharded) || index == 0;
            union.extend(rows.iter().filter(keep).cloned());
            let copies =
                |rows: &[Row]| -> Vec<Row> { rows.iter().filter(|r| is(r, Placement::Reference)).cloned().collect() };
            if copies(rows) != copies(&parts[0]) {
                return Some(format!("reference tables differ between shard 0 and shard {index}"));
            }
            if let Some(row) = rows.iter().find(|row| index > 0 && is(row, Placement::Home)) {
                return Some(format!("shard {index} has row {} of an unsharded table", text(row)));
            }
        }
        union.sort();
        first_difference(&theirs, &union)
    }

    /// Rows that lie on a shard where their key doesn't belong: a key of a distribution has one shard for all its tables,
    /// and where the config names it, that one.
    pub fn misplaced(&self) -> Vec<String> {
        let mut homes: BTreeMap<(&str, String), usize> = BTreeMap::new();
        let mut errors = Vec::new();
        let mut used = BTreeSet::new();
        let of_shop = super::config::SHARDED.iter().map(|(table, of, column)| (*table, *of, (*column).to_owned()));
        let of_wide = wide_tables(self.wide).filter_map(|table| match table.place {
            Place::Sharded(of, columns) if columns.contains(", ") => Some((table.name, of, format!("({columns})"))),
            Place::Sharded(of, column) => Some((table.name, of, column.to_owned())),
            Place::Reference | Place::Home | Place::Schema(_) => None,
        });
        let sharded: Vec<(&str, &str, String)> = of_shop.chain(of_wide).collect();
        for index in (0..SHARDS).filter(|_| self.routed()) {
            let mut shard = self.db.shard(index);
            for (table, distribution, column) in &sharded {
                for key in shard.values(&format!("SELECT DISTINCT {column}::text FROM {table}")) {
                    let home = *homes.entry((*distribution, key.clone())).or_insert(index);
                    let named = super::config::named_shard(distribution, &key);
                    let named = named.or_else(|| super::wide::named_shard(distribution, &key)).unwrap_or(home);
                    if home != index || named != index {
                        errors.push(format!("{table}.{column} = {key} lies on shard {index}, not {named} or {home}"));
                    }
                    used.insert((*distribution, index));
                }
            }
        }
        let spread = |distribution: &str| used.iter().filter(|(d, _)| *d == distribution).count();
        let of_shop = ["tenant", "device", "word", "day", "region"].map(|name| (name, SHARDS));
        let of_wide = super::wide::DISTRIBUTIONS.iter().filter(|_| self.wide).map(|(name, _, shards)| (*name, *shards));
        for (distribution, shards) in of_shop.into_iter().chain(of_wide).filter(|_| self.routed()) {
            if spread(distribution) != shards {
                errors.push(format!("distribution {distribution} uses {} of {shards} shards", spread(distribution)));
            }
        }
        errors
    }

    /// Makes the shards' written tables equal to the oracle's again.
    pub fn restore(&self) {
        let tables = WRITTEN.join(", ");
        match &self.copy {
            Some(copy) => drop(self.db.cluster.oracle.connect(copy).must(&format!("TRUNCATE {tables}"))),
            None => (0..SHARDS).for_each(|index| drop(self.db.shard(index).must(&format!("TRUNCATE {tables}")))),
        }
        let (mut oracle, mut through) = (self.oracle(), self.router());
        for table in WRITTEN {
            self.load(&mut oracle, &mut through, table, "text");
        }
    }

    /// Makes the written tables what they were in the beginning, on both sides.
    pub fn reset(&self, watch: &mut Watch) {
        std::thread::scope(|scope| watch.servers().for_each(|raw| drop(scope.spawn(move || raw.must(RESET)))));
    }

    /// Connections past the router, for `contents_differ`.
    pub fn watch(&self) -> Watch {
        let shards = match &self.copy {
            Some(copy) => vec![self.db.cluster.oracle.connect(copy)],
            None => (0..SHARDS).map(|index| self.db.shard(index)).collect(),
        };
        Watch { oracle: self.oracle(), shards }
    }

    /// Whether a router takes part.
    pub fn routed(&self) -> bool {
        self.router.is_some()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.router = None;
        self.combine = None;
        if let Some(copy) = &self.copy {
            let sql = format!("DROP DATABASE IF EXISTS {copy} WITH (FORCE)");
            let _ = Cluster::shared().oracle.connect("postgres").simple(&sql);
        }
    }
}

fn always_combined() -> bool {
    std::env::var("PGLOOM_ORACLE_COMBINE").is_ok_and(|v| v == "1")
}

/// The tables of `wide.rs`, in a world that has them.
fn wide_tables(wide: bool) -> impl Iterator<Item = &'static Wide> {
    WIDE.iter().filter(move |_| wide)
}

/// Direct connections to the oracle and the shards.
pub struct Watch {
    oracle: Raw,
    shards: Vec<Raw>,
}

impl Watch {
    fn servers(&mut self) -> impl Iterator<Item = &mut Raw> {
        std::iter::once(&mut self.oracle).chain(&mut self.shards)
    }
}

/// Puts a copy of each written table aside, and a function that brings it back.
fn keep_sql() -> String {
    let tables: Vec<String> = WRITTEN.iter().map(|table| format!("'{table}'")).collect();
    let copies: Vec<String> =
        WRITTEN.iter().map(|table| format!("CREATE TABLE kept.{table} AS TABLE public.{table}; ")).collect();
    format!(
        "CREATE SCHEMA kept; {}CREATE FUNCTION kept.reset() RETURNS void LANGUAGE plpgsql AS $$ DECLARE t text; c text; BEGIN \
         TRUNCATE {}; FOREACH t IN ARRAY ARRAY[{}] LOOP \
         SELECT string_agg(quote_ident(attname), ', ') INTO c FROM pg_attribute \
         WHERE attrelid = ('public.' || t)::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''; \
         EXECUTE format('INSERT INTO public.%I (%s) SELECT %s FROM kept.%I', t, c, c, t); END LOOP; END $$",
        copies.concat(),
        WRITTEN.iter().map(|table| format!("public.{table}")).collect::<Vec<_>>().join(", "),
        tables.join(", ")
    )
}

const RESET: &str = "SELECT kept.reset()";

type Row = Vec<Option<Vec<u8>>>;

fn dump_sql(tables: &[&str]) -> String {
    let parts: Vec<String> = tables.iter().map(|t| format!("SELECT '{t}', {t}::text FROM {t}")).collect();
    parts.join(" UNION ALL ")
}

fn sorted_rows(reply: Reply) -> Vec<Row> {
    let mut rows: Vec<Row> = reply.answers.into_iter().flat_map(|a| a.rows).collect();
    rows.sort();
    rows
}

fn first_difference(theirs: &[Row], ours: &[Row]) -> Option<String> {
    if theirs == ours {
        return None;
    }
    let missing = theirs.iter().find(|row| !ours.contains(row)).map(|row| format!("{} is missing", text(row)));
    let extra = ours.iter().find(|row| !theirs.contains(row)).map(|row| format!("{} is too much", text(row)));
    let parts: Vec<String> = missing.into_iter().chain(extra).collect();
    Some(format!("table contents differ: {} rows instead of {}; {}", ours.len(), theirs.len(), parts.join("; ")))
}

fn text(row: &Row) -> String {
    row.iter().map(|c| crate::support::raw::cell_text(c.as_deref())).collect::<Vec<_>>().join(" ")
}

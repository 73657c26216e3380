//! Definitions over shards: every step of `definitions/*.sql` runs on one Postgres and through pgloom over four shards. Answers must be the
//! same, and after each step the definitions and rows of the shards must be those of the one Postgres. A step that begins with
//! `/* refused: words */` must be refused with `0A000` and these words; one Postgres does not get it.
//!
//! Tables `ref*` are reference tables; what lies on all shards otherwise is sharded; the rest lies on the home shard alone.

#![allow(clippy::unwrap_used)]

#[path = "oracle/ask.rs"]
#[allow(dead_code)]
mod ask;
#[path = "oracle/compare.rs"]
mod compare;
#[path = "oracle/corpus.rs"]
#[allow(dead_code)]
mod corpus;
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;

use corpus::{Case, Form, Order};
use support::raw::{Raw, Value};
use support::{Database, Router, SHARDS};

/// Tables that the configuration names, with their distribution and key. Statements make and drop them.
const SHARDED: [(&str, &str, &str); 9] = [
    ("items", "key", "id"),
    ("parts", "key", "id"),
    ("logs", "key", "id"),
    ("logs_named", "key", "id"),
    ("tenants", "key", "tenant_id"),
    ("notes", "key", "tenant_id"),
    ("words", "word", "word"),
    ("wordy", "word", "word"),
    ("app.things", "key", "id"),
];
const REFERENCE: [&str; 3] = ["ref", "refs", "refp"];

fn config(db: &Database) -> String {
    let mut out = String::from(
        "[general]\nport = {port}\nmetrics_listen = \"127.0.0.1:{http_port}\"\nauth_type = \"trust\"\ndefault_pool_size = 4\n\
         [[users]]\nname = \"postgres\"\n",
    );
    let name = &db.name;
    let _ = writeln!(out, "[databases.{name}]\nsafe_functions = ['twice', 'stamp']");
    for (index, port) in db.ports().iter().enumerate() {
        let _ = writeln!(out, "[[databases.{name}.shards]]\nname = \"s{index}\"\nhost = \"127.0.0.1\"\nport = {port}");
    }
    let _ = writeln!(
        out,
        "[[databases.{name}.distributions]]\nname = \"key\"\nkey_types = [\"int4\"]\n\
         [[databases.{name}.distributions]]\nname = \"word\"\nkey_types = [\"text\"]"
    );
    for (table, distribution, column) in SHARDED {
        let _ = writeln!(
            out,
            "[[databases.{name}.tables]]\nname = \"{table}\"\ndistribution = \"{distribution}\"\ncolumns = ['{column}']"
        );
    }
    for table in REFERENCE {
        let _ = writeln!(out, "[[databases.{name}.tables]]\nname = \"{table}\"\nreference = true");
    }
    out
}

/// One line for each thing that is defined: the relation that it belongs to (or nothing), and its words.
const DEFINITIONS: &str = r"
WITH rels AS (
  SELECT c.*, n.nspname || '.' || relname AS name, n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
  WHERE nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'pgloom') AND nspname !~ '^pg_(toast_)?temp_'
    AND relkind IN ('r', 'p', 'v', 'm', 'f'))
SELECT name, concat_ws(' | ', relkind, relpersistence, reloptions, pg_get_userbyid(relowner), relacl, relrowsecurity,
    relforcerowsecurity, relreplident, pg_get_expr(relpartbound, oid), pg_get_partkeydef(oid), obj_description(oid, 'pg_class'),
    pg_get_viewdef(oid), (SELECT string_agg(inhparent::regclass || CASE WHEN inhdetachpending THEN ' pending' ELSE '' END, ',' ORDER BY inhseqno)
      FROM pg_inherits WHERE inhrelid = rels.oid)) FROM rels
UNION ALL SELECT name, concat_ws(' | ', 'column', attname, format_type(atttypid, atttypmod), attnotnull, pg_get_expr(adbin, adrelid),
    attidentity, attgenerated, attcollation::regcollation, attstorage, attstattarget, attcompression, array(SELECT o FROM unnest(attoptions) o WHERE o NOT LIKE 'pg_attver=%'), attacl, attislocal,
    attinhcount, col_description(rels.oid, attnum)) FROM rels JOIN pg_attribute ON attrelid = rels.oid AND attnum > 0 AND NOT attisdropped
    LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
UNION ALL SELECT name, concat_ws(' | ', conname, pg_get_constraintdef(k.oid), convalidated, condeferrable, obj_description(k.oid))
    FROM rels JOIN pg_constraint k ON conrelid = rels.oid
UNION ALL SELECT name, concat_ws(' | ', pg_get_indexdef(indexrelid), indisvalid, indisclustered, indisreplident,
    obj_description(indexrelid, 'pg_class')) FROM rels JOIN pg_index ON indrelid = rels.oid
UNION ALL SELECT name, concat_ws(' | ', pg_get_triggerdef(t.oid), tgenabled, obj_description(t.oid))
    FROM rels JOIN pg_trigger t ON tgrelid = rels.oid AND NOT tgisinternal
UNION ALL SELECT name, concat_ws(' | ', polname, polcmd, pg_get_expr(polqual, polrelid)) FROM rels JOIN pg_policy ON polrelid = rels.oid
UNION ALL SELECT name, pg_get_ruledef(r.oid) FROM rels JOIN pg_rewrite r ON ev_class = rels.oid AND rulename <> '_RETURN'
UNION ALL SELECT name, pg_get_statisticsobjdef(s.oid) FROM rels JOIN pg_statistic_ext s ON stxrelid = rels.oid
UNION ALL SELECT '', concat_ws(' | ', 'function', p.oid::regprocedure, prosrc, provolatile, proacl, obj_description(p.oid)) FROM pg_proc p
    WHERE pronamespace IN (SELECT oid FROM pg_namespace WHERE nspname NOT IN ('pg_catalog', 'information_schema', 'pgloom'))
UNION ALL SELECT '', concat_ws(' | ', 'type', t.oid::regtype, typtype, typdefault, typacl,
    (SELECT string_agg(enumlabel, ',' ORDER BY enumsortorder) FROM pg_enum WHERE enumtypid = t.oid)) FROM pg_type t
    WHERE typtype IN ('e', 'd', 'r') AND typnamespace IN (SELECT oid FROM pg_namespace WHERE nspname NOT IN ('pg_catalog', 'information_schema', 'pgloom'))
UNION ALL SELECT '', concat_ws(' | ', 'schema', nspname, pg_get_userbyid(nspowner), nspacl) FROM pg_namespace WHERE nspname !~ '^(pg_|information_schema|pgloom)'
UNION ALL SELECT '', concat_ws(' | ', 'extension', extname) FROM pg_extension
UNION ALL SELECT '', concat_ws(' | ', 'publication', pubname, puballtables, (SELECT string_agg(prrelid::regclass::text, ',' ORDER BY 1)
    FROM pg_publication_rel WHERE prpubid = p.oid)) FROM pg_publication p
UNION ALL SELECT 'event triggers', concat_ws(' | ', evtname, evtevent, evtenabled) FROM pg_event_trigger
UNION ALL SELECT '', concat_ws(' | ', 'operator', o.oid::regoperator) FROM pg_operator o WHERE o.oid >= 16384
UNION ALL SELECT '', concat_ws(' | ', 'text search', cfgname) FROM pg_ts_config WHERE oid >= 16384
UNION ALL SELECT '', concat_ws(' | ', 'cast', castsource::regtype, casttarget::regtype) FROM pg_cast WHERE oid >= 16384
UNION ALL SELECT '', concat_ws(' | ', 'default acl', pg_get_userbyid(defaclrole), defaclobjtype, defaclacl) FROM pg_default_acl
UNION ALL SELECT '', concat_ws(' | ', 'collation', collname) FROM pg_collation WHERE oid >= 16384
UNION ALL SELECT '', concat_ws(' | ', 'foreign server', srvname, srvoptions, srvacl) FROM pg_foreign_server";

const ROWS: &str = "SELECT format('%I.%I', nspname, relname) FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace \
     WHERE relkind IN ('r', 'm') AND relpersistence <> 't' AND relispopulated \
       AND nspname NOT IN ('pg_catalog', 'information_schema', 'pgloom') ORDER BY 1";

/// What one server has: the definitions and rows of each relation.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    definitions: BTreeMap<String, BTreeSet<String>>,
    rows: BTreeMap<String, Vec<String>>,
}

impl Seen {
    fn of(raw: &mut Raw) -> Self {
        let mut seen = Self::default();
        for row in &raw.must(DEFINITIONS).answers[0].rows {
            let text = |at: usize| String::from_utf8_lossy(row[at].as_deref().unwrap_or_default()).into_owned();
            seen.definitions.entry(text(0)).or_default().insert(text(1));
        }
        for table in raw.values(ROWS) {
            let mut rows = raw.values(&format!("SELECT t::text FROM ONLY {table} t"));
            rows.sort();
            seen.rows.insert(table, rows);
        }
        seen
    }
}

/// Where the shards together are not what the one Postgres is.
fn drift(oracle: &Seen, shards: &[Seen]) -> Option<String> {
    for (at, shard) in shards.iter().enumerate() {
        for (relation, wanted) in &oracle.definitions {
            let found = shard.definitions.get(relation);
            if (at > 0 && found.is_none()) || found == Some(wanted) {
                continue;
            }
            let nothing = BTreeSet::new();
            let found = found.unwrap_or(&nothing);
            let missing: Vec<_> = wanted.difference(found).collect();
            let extra: Vec<_> = found.difference(wanted).collect();
            return Some(format!("s{at} {relation}: missing {missing:#?}, too much {extra:#?}"));
        }
        if let Some(extra) = shard.definitions.keys().find(|relation| !oracle.definitions.contains_key(*relation)) {
            return Some(format!("s{at} has {extra}, which one Postgres has not"));
        }
        if at > 1 {
            let names = |seen: &Seen| seen.definitions.keys().cloned().collect::<Vec<_>>();
            if names(shard) != names(&shards[1]) {
                return Some(format!("s{at} has {:?}, s1 has {:?}", names(shard), names(&shards[1])));
            }
        }
    }
    for (table, wanted) in &oracle.rows {
        let everywhere: Vec<&Vec<String>> = shards.iter().filter_map(|shard| shard.rows.get(table)).collect();
        let reference = table.split('.').next_back().unwrap_or_default().starts_with("ref");
        let found: Vec<Vec<String>> = match (everywhere.len(), reference) {
            (1, _) | (_, true) => everywhere.into_iter().cloned().collect(),
            (_, false) => {
                let mut all: Vec<String> = everywhere.into_iter().flatten().cloned().collect();
                all.sort();
                vec![all]
            }
        };
        if let Some(found) = found.iter().find(|found| *found != wanted) {
            return Some(format!("rows of {table} are {found:?} instead of {wanted:?}"));
        }
    }
    None
}

struct World {
    router: Option<Router>,
    db: Database,
}

impl World {
    fn create(label: &str) -> Self {
        let db = Database::create(label);
        let router = Router::start(&config(&db));
        Self { router: Some(router), db }
    }

    fn through(&self) -> Raw {
        self.router.as_ref().unwrap().connect(&self.db.name)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.router = None;
    }
}

/// The connections that look past the router.
struct Watch {
    oracle: Raw,
    shards: Vec<Raw>,
}

impl Watch {
    fn drift(&mut self) -> Option<String> {
        let (oracle, shards) = std::thread::scope(|scope| {
            let oracle = scope.spawn(|| Seen::of(&mut self.oracle));
            let shards: Vec<_> = self.shards.iter_mut().map(|raw| scope.spawn(|| Seen::of(raw))).collect();
            (oracle.join().unwrap(), shards.into_iter().map(|shard| shard.join().unwrap()).collect::<Vec<_>>())
        });
        drift(&oracle, &shards)
    }
}

/// The words that a step is to be refused with.
fn refused_with(step: &str) -> Option<&str> {
    Some(step.strip_prefix("/* refused:")?.split_once("*/")?.0.trim())
}

/// What is wrong with the first step of a case that is not right.
fn wrong(world: &World, watch: &mut Watch, case: &Case, form: Form) -> Option<String> {
    let (mut oracle, mut router) = (world.db.oracle(), world.through());
    for (index, step) in case.statements.iter().enumerate() {
        let said = |what: String| Some(format!("{} in form {}: {step}\n    {what}", case.place, form.name()));
        let ours = ask::ask(&mut router, case, index, form, &[]);
        let error = ours.error.as_ref().map(ToString::to_string).unwrap_or_default();
        if let Some(words) = refused_with(step) {
            if ours.code() != "0A000" || !error.contains(words) {
                return said(format!("is not refused with {words:?}: {error}"));
            }
        } else {
            let theirs = ask::ask(&mut oracle, case, index, form, &[]);
            let order = if corpus::has_outer_order(step) { Order::Exact } else { Order::Any };
            if let Some(difference) = compare::difference(&theirs, &ours, &order, None) {
                let theirs = theirs.error.map(|error| error.to_string()).unwrap_or_default();
                return said(format!("{difference}\n    pgloom: {error}\n    postgres: {theirs}"));
            }
        }
        if ours.status == b'I'
            && let Some(drift) = watch.drift()
        {
            return said(drift);
        }
    }
    None
}

fn check(category: &str, least: usize) {
    let world = World::create(&format!("def_{category}"));
    let shards = (0..SHARDS).map(|shard| world.db.shard(shard)).collect();
    let mut watch = Watch { oracle: world.db.oracle(), shards };
    let only = std::env::var("PGLOOM_ORACLE_ONLY").unwrap_or_default();
    let all = corpus::read_all(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/definitions"));
    let (mut steps, mut failures) = (0, Vec::new());
    let (_, cases) = all.into_iter().find(|(name, _)| name == category).unwrap();
    for case in cases.iter().filter(|case| case.place.contains(&only)) {
        for form in [Form::Simple, Form::Text].into_iter().filter(|form| case.forms.contains(form)) {
            steps += case.statements.len();
            let Some(what) = wrong(&world, &mut watch, case, form) else { continue };
            failures.push(what);
            // What a case leaves behind is not to fail others.
            let sql = "DO $$ DECLARE s text; BEGIN FOR s IN SELECT nspname FROM pg_namespace WHERE nspname !~ '^(pg_|information_schema|pgloom)' \
                 LOOP EXECUTE format('DROP SCHEMA %I CASCADE', s); END LOOP; END $$; CREATE SCHEMA public";
            watch.shards.iter_mut().chain([&mut watch.oracle]).for_each(|raw| drop(raw.simple(sql)));
        }
    }
    assert!(failures.is_empty(), "{} cases are wrong:\n{}", failures.len(), failures.join("\n"));
    assert!(steps >= least || !only.is_empty(), "only {steps} steps");
}

#[test]
fn partitions_of_distributed_tables() {
    check("partitions", 100);
}

#[test]
fn alter_table_in_all_its_forms() {
    check("alter", 100);
}

#[test]
fn constraints_hold_across_shards_or_are_refused() {
    check("constraints", 60);
}

#[test]
fn definitions_of_every_kind() {
    check("kinds", 100);
}

#[test]
fn tables_are_made_of_rows_that_lie_elsewhere() {
    check("create_as", 80);
}

/// With parameters, in both formats.
#[test]
fn tables_are_made_with_parameters() {
    let world = World::create("def_parameters");
    let (mut oracle, mut router) = (world.db.oracle(), world.through());
    for sql in [
        "CREATE TABLE items (id int PRIMARY KEY, v int)",
        "INSERT INTO items SELECT g, g * 2 FROM generate_series(1, 20) g",
    ] {
        oracle.must(sql);
        router.must(sql);
    }
    let values = [Value::binary(11_i32.to_be_bytes().to_vec()), Value::text("word")];
    let types = [23, 25];
    for (table, query) in [
        ("copied", "SELECT id, v, $2 AS word FROM items WHERE v > $1"),
        ("parts", "SELECT id + $1 AS id, $2 || v AS word FROM items"),
        ("counted", "SELECT count(*) AS n, $2::text AS word FROM items WHERE id < $1 GROUP BY v % 3"),
    ] {
        let sql = format!("CREATE TABLE {table} AS {query}");
        let (theirs, ours) = (oracle.extended(&sql, &types, &values, 0), router.extended(&sql, &types, &values, 0));
        assert_eq!(compare::difference(&theirs, &ours, &Order::Exact, None), None, "{sql}: {:?}", ours.error);
        let read = format!("SELECT t::text FROM {table} t ORDER BY t::text COLLATE \"C\"");
        assert_eq!(router.values(&read), oracle.values(&read), "{sql}");
    }
    let shards = (0..SHARDS).map(|shard| world.db.shard(shard)).collect();
    assert_eq!(Watch { oracle: world.db.oracle(), shards }.drift(), None);
}

/// The rows of all shards get the same time, that of the transaction, and new rows get theirs.
#[test]
fn columns_are_filled_with_one_time() {
    let world = World::create("def_stamps");
    let mut router = world.through();
    router.must("CREATE TABLE items (id int PRIMARY KEY); CREATE TABLE ref (code text PRIMARY KEY)");
    router.must("INSERT INTO items SELECT generate_series(1, 40); INSERT INTO ref VALUES ('a'), ('b')");
    let tag = router.must(
        "ALTER TABLE items ADD COLUMN at timestamptz NOT NULL DEFAULT now(), ADD COLUMN day text DEFAULT (current_date - 1)::text || 'x', \
         ADD COLUMN n int DEFAULT 5",
    );
    assert_eq!(tag.answers[0].tag.as_deref(), Some("ALTER TABLE"));
    assert_eq!(
        router.value("SELECT count(*) || ' ' || count(DISTINCT at) || ' ' || count(DISTINCT day) FROM items"),
        "40 1 1"
    );
    assert_eq!(router.value("SELECT count(*) FROM items WHERE at BETWEEN now() - interval '1 min' AND now()"), "40");
    // New rows get the time at which they are made.
    router.must("INSERT INTO items VALUES (41)");
    assert_eq!(router.value("SELECT count(DISTINCT at) FROM items"), "2");
    let added =
        router.extended("ALTER TABLE ref ADD COLUMN at timestamp DEFAULT localtimestamp", &[], &[] as &[Value], 0);
    assert!(added.error.is_none(), "{:?}", added.error);
    let seen: BTreeSet<String> =
        (0..SHARDS).flat_map(|shard| world.db.shard(shard).values("SELECT DISTINCT at::text FROM ref")).collect();
    assert_eq!(seen.len(), 1, "{seen:?}");
    // In a transaction of definitions it is that of the transaction; one that is there already is left alone.
    router.must("BEGIN; CREATE TABLE parts (id int PRIMARY KEY)");
    router.must("ALTER TABLE items ADD COLUMN later timestamptz DEFAULT now()");
    router.must("ALTER TABLE items ADD COLUMN IF NOT EXISTS at timestamptz DEFAULT now() - interval '1 year'");
    router.must("COMMIT");
    assert_eq!(router.value("SELECT count(later) || ' ' || count(DISTINCT later) FROM items"), "41 1");
    assert_eq!(router.value("SELECT count(*) FROM items WHERE at < now() - interval '1 month'"), "0");
    let default = "SELECT count(*) FROM pg_attrdef WHERE pg_get_expr(adbin, adrelid) ~ 'year'";
    assert_eq!(router.value(default), "0");
    // Rows that the transaction has made have its time already.
    router.must("BEGIN; INSERT INTO items (id) VALUES (50), (51), (52), (53), (54), (55), (56)");
    router.must("ALTER TABLE items ADD COLUMN never timestamptz DEFAULT now()");
    assert_eq!(router.value("SELECT count(*) FROM items WHERE id >= 50 AND at = never"), "7");
    router.must("ROLLBACK");
    router.must("SET DateStyle = 'German'");
    assert_eq!(router.simple("ALTER TABLE items ADD COLUMN never timestamptz DEFAULT now()").code(), "0A000");
    router.must("RESET DateStyle");
    assert_eq!(router.simple("ALTER TABLE items ADD COLUMN never int DEFAULT now()").code(), "42846");
    assert_eq!(router.simple("ALTER TABLE items ADD COLUMN at timestamptz DEFAULT now()").code(), "42701");
    router.must("ALTER TABLE items ADD COLUMN empty date DEFAULT nullif(current_date, current_date)");
    assert_eq!(router.value("SELECT count(empty) FROM items"), "0");
}

/// A family whose members the configuration places differently is of no use, however it came to be; its own rows are.
#[test]
fn families_that_are_torn_are_refused() {
    let world = World::create("def_torn");
    for server in world.db.cluster.shards.iter().chain([&world.db.cluster.oracle]) {
        server.connect(&world.db.name).must(
            "CREATE TABLE logs (id int, word text) PARTITION BY LIST (word); CREATE TABLE wordy PARTITION OF logs DEFAULT; \
             CREATE VIEW seen AS SELECT * FROM logs; CREATE TABLE plain (id int); CREATE TABLE items () INHERITS (plain); \
             CREATE TABLE above (id int); ALTER TABLE plain INHERIT above; CREATE TABLE alone (id int)",
        );
    }
    let mut router = world.through();
    support::eventually(30, "the router knows the tables", || router.simple("SELECT * FROM logs").code() == "0A000");
    for sql in [
        "SELECT * FROM logs",
        "INSERT INTO logs VALUES (1, 'x')",
        "UPDATE logs SET word = 'y' WHERE id = 1",
        "COPY logs TO STDOUT",
        "SELECT count(*) FROM seen",
        "SELECT * FROM plain",
        "SELECT * FROM above",
        "DELETE FROM above",
        "EXPLAIN SELECT * FROM above",
    ] {
        let reply = router.simple(sql);
        assert_eq!(reply.code(), "0A000", "{sql}: {:?}", reply.error);
    }
    let refused = router.simple("SELECT * FROM above").error.unwrap();
    assert!(refused.to_string().contains("is a partition or child of"), "{refused}");
    let named = router.simple("SELECT 'logs' AS logs_").error;
    assert!(named.is_none(), "{named:?}");
    router.must("INSERT INTO alone VALUES (1)");
    assert_eq!(router.value("SELECT count(*) FROM alone"), "1");
}

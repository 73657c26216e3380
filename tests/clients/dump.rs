//! pg_dump through the router restores into one Postgres, with every row; and a dump of one Postgres restores through the router.

use std::process::Command;

use crate::bash;
use crate::document;
use crate::shop::{Shop, Side, assert_same};
use crate::support::Database;

/// A dump without its own key, as lines in order: rows come from several shards in any order.
fn contents(dump: &str) -> String {
    let kept = |line: &&str| !line.starts_with("\\restrict") && !line.starts_with("\\unrestrict") && !line.is_empty();
    let mut lines: Vec<&str> = dump.lines().filter(kept).collect();
    lines.sort_unstable();
    lines.join("\n")
}

/// The same shell text on both sides, in the side's own directory.
fn shell(text: &str) -> impl Fn(&Side<'_>) -> Command + Sync {
    move |_| {
        let mut command = bash();
        command.args(["-c", text]);
        command
    }
}

/// What the router's own schema is left out of: everything else is the application's.
const DUMP: &str = "pg_dump --exclude-schema=pgloom";

/// A fresh database on the oracle's server, made from the dump in this side's directory by a shell text.
fn restored(shop: &Shop, restore: &str) -> String {
    let into = Database::create("restored");
    into.everywhere(&format!("ALTER DATABASE {} OWNER TO app", into.name));
    let oracle = Side { name: "pgloom", port: into.cluster.oracle.port, database: &into.name };
    let ended = crate::shop::run("the restore", &shop.dir.join("pgloom"), &oracle, shell(restore)(&oracle));
    assert!(ended.success, "{restore}\n{}\n{}", ended.out, ended.errors);
    let ended = crate::shop::run("the second dump", &shop.dir.join("pgloom"), &oracle, shell("pg_dump")(&oracle));
    assert!(ended.success, "{}", ended.errors);
    ended.out
}

fn dump_of(shop: &Shop, side: usize) -> String {
    let [direct, pgloom] = shop.both("pg_dump", shell(DUMP));
    let ended = if side == 0 { direct } else { pgloom };
    assert!(ended.success, "{}", ended.errors);
    contents(&ended.out)
}

/// Every format, whole and in two parts. The target is a plain Postgres.
#[test]
fn a_dump_through_the_router_restores_into_one_postgres() {
    let shop = Shop::create("dump");
    let all = dump_of(&shop, 0);
    assert!(all.contains("customer 12.3") && all.contains("CREATE TRIGGER") && all.contains("GENERATED ALWAYS AS"));
    for (dump, restore) in [
        (format!("{DUMP} > shop.sql"), "psql -X -q -1 -v ON_ERROR_STOP=1 -f shop.sql"),
        (format!("{DUMP} --inserts > rows.sql"), "psql -X -q -1 -v ON_ERROR_STOP=1 -f rows.sql"),
        (
            format!("{DUMP} --column-inserts --rows-per-insert=7 > some.sql"),
            "psql -X -q -1 -v ON_ERROR_STOP=1 -f some.sql",
        ),
        (format!("{DUMP} -Fc > shop.dump"), "pg_restore -e -d \"$PGDATABASE\" shop.dump"),
        (format!("{DUMP} -Fd -f shop.dir"), "pg_restore -e -j 2 -d \"$PGDATABASE\" shop.dir"),
        (format!("{DUMP} -Ft > shop.tar"), "pg_restore -e -d \"$PGDATABASE\" shop.tar"),
        (
            format!("{DUMP} -s > s.sql; {DUMP} -Fc -a > a.dump"),
            // The rows of customers must be there before those of orders.
            "psql -X -q -v ON_ERROR_STOP=1 -f s.sql; for t in products customers orders events_january events_later notes places; do \
             pg_restore -e -a -t $t -d \"$PGDATABASE\" a.dump; done; \
             pg_restore -l a.dump | grep 'SEQUENCE SET' > rest; pg_restore -e -L rest -d \"$PGDATABASE\" a.dump; \
             psql -X -q -c 'REFRESH MATERIALIZED VIEW stock.summary'",
        ),
    ] {
        shop.same("pg_dump", shell(&dump));
        let found = restored(&shop, restore);
        assert_same(&format!("{dump}, {restore}"), &all, &contents(&found));
    }
    // With pgloom's own schema it restores as well; nothing there needs the router.
    let [_, whole] = shop.both("pg_dump", shell("pg_dump > whole.sql"));
    assert!(whole.success, "{}", whole.errors);
    let found = restored(&shop, "psql -X -q -1 -v ON_ERROR_STOP=1 -f whole.sql");
    assert!(contents(&found).contains("customer 12.3"));
}

/// A whole dump, and one without partitions: what `--clean` says of their keys no Postgres of this version does.
const PARTS: &str = "pg_dump -Fc > all.dump; pg_dump -Fc -T 'events*' > part.dump";

#[test]
fn a_dump_of_one_postgres_restores_through_the_router() {
    let from = Shop::create("dumped");
    let [direct, _] = from.sides();
    let ended = crate::shop::run("pg_dump", &from.dir, &direct, shell(PARTS)(&direct));
    assert!(ended.success, "{}", ended.errors);
    let all = dump_of(&from, 0);
    let into = Shop::empty("restored", &[]);
    let files = from.dir.display();
    for restore in [
        format!("pg_restore -e -d \"$PGDATABASE\" {files}/all.dump"),
        format!("pg_restore -e -1 --clean --if-exists -d \"$PGDATABASE\" {files}/part.dump"),
    ] {
        into.same("pg_restore", shell(&restore));
        assert_same(&restore, &all, &dump_of(&into, 1));
    }
    let on_shards: Vec<String> = (0..crate::support::SHARDS)
        .map(|shard| into.db.shard(shard).value("SELECT count(*) FROM events_later"))
        .collect();
    assert!(on_shards.iter().all(|count| count != "0"), "every shard has a part: {on_shards:?}");
}

/// The two snippets, one behind the other: out of pgloom, and into one Postgres.
#[test]
fn the_snippets_of_dumps_work() {
    let shop = Shop::create("dump_snippet");
    let ended = shop.both("pg_dump", |side| {
        let mut command = bash();
        command.arg(document::file(&shop, side, "pg_dump", "snippet.sh"));
        command
    });
    assert!(ended.iter().all(|ended| ended.success), "{}", ended[1].errors);
    let found = restored(&shop, "pg_restore -e -d \"$PGDATABASE\" *.dump");
    assert_same("the snippet", &dump_of(&shop, 0), &contents(&found));
}

/// What the document says is refused, is refused, with a way out.
#[test]
fn what_pg_dump_cannot_do_over_shards_is_refused() {
    let shop = Shop::create("dump_refused");
    let [direct, pgloom] = shop.both("pg_dump", shell(&format!("{DUMP} -Fd -j 2 -f dir")));
    assert!(direct.success, "{}", direct.errors);
    assert!(!pgloom.success, "it is not refused any more: say so in docs/CLIENTS.md");
    let told = ["SET TRANSACTION SNAPSHOT", "Run pg_dump without --jobs"];
    assert!(told.iter().all(|told| pgloom.errors.contains(told)), "{}", pgloom.errors);
}

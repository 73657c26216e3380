//! Real drivers and tools, each in its usual configuration: the same program against one Postgres and through pgloom, over sharded tables
//! and others, must say the same. The snippets of docs/CLIENTS.md run as they stand there.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "clients/document.rs"]
mod document;
#[path = "clients/dump.rs"]
mod dump;
#[path = "clients/installed.rs"]
mod installed;
#[path = "clients/shop.rs"]
mod shop;
mod support;

use std::process::Command;

use installed::{java, node, python, python_path, rust, source};
use shop::Shop;
use support::raw::message as m;
use support::{Raw, Sharded};

/// The last line of a program that has come to its end.
const END: &str = "END\n";

/// A program of this folder.
fn script(shop: &Shop, path: &str, program: impl Fn() -> Command + Sync) {
    let file = source(path);
    let said = shop.same(path, |_| {
        let mut command = program();
        command.arg(&file);
        command
    });
    assert!(said.ends_with(END), "{path} has not come to its end:\n{said}");
}

/// A snippet of the document, run by this program.
fn snippet(shop: &Shop, name: &str, file: &str, program: impl Fn() -> Command + Sync) {
    let said = shop.same(name, |side| {
        let mut command = program();
        command.arg(document::file(shop, side, name, file));
        command
    });
    assert!(!said.is_empty(), "snippet {name} says nothing");
}

fn bash() -> Command {
    let mut bash = Command::new("bash");
    bash.args(["-euo", "pipefail"]);
    bash
}

#[test]
fn psycopg() {
    let shop = Shop::create("psycopg");
    script(&shop, "python/psycopg_sync.py", python);
    script(&shop, "python/psycopg_async.py", python);
    snippet(&shop, "psycopg", "snippet.py", python);
}

#[test]
fn psycopg2() {
    let shop = Shop::create("psycopg2");
    script(&shop, "python/psycopg2_classic.py", python);
    snippet(&shop, "psycopg2", "snippet.py", python);
}

#[test]
fn psql() {
    let shop = Shop::create("psql");
    for file in ["describe.sql", "commands.sql"] {
        let path = source(&format!("psql/{file}"));
        let said = shop.same(file, |_| {
            let mut command = bash();
            // Messages among the results, as they come; \watch says when it is.
            command.args(["-c", "psql -X -f \"$1\" 2>&1 | grep -v '(every 0'", "bash"]).arg(&path);
            command.current_dir(path.parent().unwrap());
            command
        });
        assert!(said.lines().count() > 200, "{file}:\n{said}");
    }
    script(&shop, "psql/terminal.py", python);
    // \password has made one verifier for all servers.
    let verifier = "SELECT rolpassword FROM pg_authid WHERE rolname = 'app'";
    let on_each: Vec<String> = (0..support::SHARDS).map(|shard| shop.db.shard(shard).value(verifier)).collect();
    shop.db.everywhere("ALTER ROLE app PASSWORD NULL");
    let [first, others @ ..] = &on_each[..] else { panic!("no shard") };
    assert!(first.starts_with("SCRAM-SHA-256$") && others.iter().all(|other| other == first), "{on_each:?}");
    snippet(&shop, "psql", "snippet.sh", bash);
}

#[test]
fn pgbench() {
    let shop = Shop::empty("pgbench", &[]);
    // `G`: the rows are made by the server.
    // libpq's pipeline mode, in which there are no simple queries.
    let pipeline = source("pgbench/pipeline.sql");
    let pipeline = pipeline.to_str().unwrap();
    for (mode, init) in [("simple", "dtgvp"), ("extended", "dtGvp"), ("prepared", "dtgvp")] {
        for (what, options) in [
            ("pgbench -i", vec!["-q", "-i", "-s", "1", "-I", init]),
            ("pgbench", vec!["-n", "-c", "4", "-j", "2", "-t", "25", "-M", mode]),
            ("pgbench -S", vec!["-n", "-c", "4", "-t", "25", "-S", "-M", mode]),
            ("pgbench -N", vec!["-n", "-c", "4", "-t", "25", "-N", "-M", mode]),
            ("pipelines of pgbench", vec!["-n", "-c", "4", "-t", "25", "-f", pipeline, "-M", mode]),
        ] {
            if what.starts_with("pipelines") && mode == "simple" {
                continue;
            }
            for ended in shop.both(what, |_| {
                let mut command = Command::new("pgbench");
                command.args(&options);
                command
            }) {
                assert!(ended.success, "{what} -M {mode}: {}\n{}", ended.out, ended.errors);
                let failed = ended.out.lines().find(|line| line.starts_with("number of failed transactions"));
                assert!(what == "pgbench -i" || failed.is_some_and(|line| line.contains(" 0 ")), "{}", ended.out);
            }
        }
        // What was transferred is on all tables, and the rows are there.
        let sums = "SELECT (SELECT sum(abalance) FROM pgbench_accounts) = (SELECT sum(delta) FROM pgbench_history), \
                    (SELECT count(*) FROM pgbench_accounts), (SELECT count(*) FROM pgbench_tellers), (SELECT count(*) FROM pgbench_history)";
        let all = "SELECT (SELECT sum(bbalance) FROM pgbench_branches) = (SELECT sum(tbalance) FROM pgbench_tellers)";
        for side in shop.sides() {
            assert_eq!(side.connect().must(sums).text(), "t|100000|10|200", "{} -M {mode}", side.name);
            assert_eq!(side.connect().must(all).text(), "t", "{} -M {mode}", side.name);
        }
    }
    snippet(&shop, "pgbench", "snippet.sh", || {
        let mut quiet = bash();
        // Its figures are never twice the same.
        quiet.args(["-c", "bash -euo pipefail \"$1\" 2>&1 | grep -E '^(query mode|number of failed)'", "bash"]);
        quiet
    });
}

#[test]
fn asyncpg() {
    let shop = Shop::create("asyncpg");
    script(&shop, "python/asyncpg_all.py", python);
    snippet(&shop, "asyncpg", "snippet.py", python);
}

#[test]
fn sqlalchemy() {
    let shop = Shop::create("sqlalchemy");
    script(&shop, "python/sqlalchemy_orm.py", python);
    snippet(&shop, "sqlalchemy", "snippet.py", python);
}

/// Tables that migrations make are sharded where the configuration says so before.
#[test]
fn alembic() {
    let shop = Shop::empty("alembic", &[("accounts", "tenant_id"), ("entries", "tenant_id")]);
    script(&shop, "python/alembic_migrations.py", python);
    snippet(&shop, "alembic", "snippet.py", python);
}

#[test]
fn django() {
    let shop = Shop::empty("django", &[("ledger_account", "tenant_id"), ("ledger_entry", "tenant_id")]);
    script(&shop, "python/django_project.py", python);
    shop.fill();
    snippet(&shop, "django", "snippet.py", python);
}

#[test]
fn pgcli() {
    let shop = Shop::create("pgcli");
    script(&shop, "python/pgcli_session.py", python);
    snippet(&shop, "pgcli", "snippet.sh", || {
        let mut bash = bash();
        bash.env("PATH", python_path()).env("PAGER", "cat");
        bash
    });
}

/// What the page says of all drivers: refused with a hint, and what it names instead is done.
#[test]
fn what_no_driver_can_do_is_refused_and_the_way_out_is_one() {
    let page = include_str!("../docs/CLIENTS.md");
    let part = page.split("## What no driver can do").nth(1).unwrap().split("\n## ").next().unwrap();
    let world = Sharded::create_as("nodriver", "admin_users = [\"postgres\"]\n", "");
    let mut raw = world.connect();
    for (named, sql) in [
        ("PREPARE TRANSACTION", "PREPARE TRANSACTION 'mine'"),
        ("COMMIT PREPARED", "COMMIT PREPARED 'mine'"),
        ("ROLLBACK PREPARED", "ROLLBACK PREPARED 'mine'"),
        ("pg_cursors", "SELECT name FROM pg_cursors"),
        ("pg_prepared_statements", "SELECT name FROM pg_prepared_statements"),
        ("CREATE DATABASE", "CREATE DATABASE another"),
        ("DROP DATABASE", "DROP DATABASE another"),
    ] {
        assert!(part.contains(&format!("`{named}`")), "the page does not name {named}");
        let refused = raw.simple(sql);
        assert_eq!(refused.code(), "0A000", "{sql}: {}", refused.text());
    }
    // lo_creat, by its number.
    let mut call = 957_u32.to_be_bytes().to_vec();
    call.extend([0, 1, 0, 1, 0, 1]);
    call.extend(4_u32.to_be_bytes());
    call.extend(0x6_0000_u32.to_be_bytes());
    call.extend([0, 1]);
    let refused = raw.exchange(&m::frame(b'F', &call), None);
    assert_eq!(refused.code(), "0A000", "{}", refused.text());
    let number = raw.value("SELECT lo_from_bytea(0, 'abc')");
    raw.must(&format!("SELECT lo_put({number}, 1, 'xyz')"));
    assert_eq!(raw.value(&format!("SELECT convert_from(lo_get({number}), 'UTF8')")), "axyz");
    assert_eq!(raw.value(&format!("SELECT lo_unlink({number})")), "1");
    for sql in ["CLOSE ALL", "DEALLOCATE ALL", "DISCARD ALL"] {
        assert!(part.contains(sql));
        raw.must(sql);
    }
    // The client's number is the router's, and ends it there; those of servers are others.
    let (client, server) = (raw.key.0.to_string(), raw.value("SELECT pg_backend_pid()"));
    assert_ne!(client, server);
    raw.must("LISTEN news");
    raw.send(&m::query("NOTIFY news")).unwrap();
    let messages = raw.read_to_ready().unwrap();
    let sender = messages.iter().find(|message| message.tag == b'A').expect("its own notification");
    let sender = u32::from_be_bytes(sender.body[..4].try_into().unwrap()).to_string();
    assert_ne!(sender, client);
    assert!(world.db.shard(0).values("SELECT pid FROM pg_stat_activity").contains(&sender), "{sender}");
    Raw::connect(world.router.port, "postgres", "pgloom").unwrap().must(&format!("KILL_CLIENT {client}"));
    assert_eq!(raw.read().unwrap().report().code(), "57P01");
}

/// What graphical tools ask of the catalog is answered as by one Postgres, up to the numbers of its objects.
#[test]
fn catalog_queries_of_tools() {
    let shop = Shop::create("catalog");
    let queries = source("catalog/tools.sql");
    let said = shop.same("catalog/tools.sql", |_| {
        let mut command = bash();
        let text = "psql -X -A -f \"$1\" 2>&1 | sed -E 's/\\b[1-9][0-9]{4,}\\b/NUMBER/g'";
        command.args(["-c", text, "bash"]).arg(&queries);
        command
    });
    assert!(said.lines().count() > 400 && !said.contains("ERROR"), "{said}");
}

#[test]
fn node_postgres() {
    let shop = Shop::create("node");
    script(&shop, "node/node_postgres.js", node);
    snippet(&shop, "node-postgres", "snippet.js", node);
}

#[test]
fn drizzle() {
    let shop = Shop::empty("drizzle", &[("entries", "tenant_id")]);
    shop.fill();
    script(&shop, "node/drizzle.js", node);
    snippet(&shop, "drizzle", "snippet.js", node);
}

#[test]
fn prisma() {
    let shop = Shop::create("prisma");
    script(&shop, "node/prisma.js", node);
    snippet(&shop, "prisma", "snippet.js", node);
}

#[test]
fn pgjdbc() {
    let shop = Shop::create("pgjdbc");
    script(&shop, "java/Jdbc.java", java);
    snippet(&shop, "pgjdbc", "Snippet.java", java);
}

/// A program of tests/clients/rust, and the snippet, which is the source of another one as it stands there.
fn rust_driver(shop: &Shop, name: &str, program: &str) {
    let said = shop.same(program, |_| rust(program));
    assert!(said.ends_with(END), "{program} has not come to its end:\n{said}");
    let snippet = format!("snippet_{program}");
    let built = std::fs::read_to_string(source(&format!("rust/src/bin/{snippet}.rs"))).unwrap();
    assert_eq!(document::snippet(name), built, "docs/CLIENTS.md shows another program than tests/clients/rust has");
    let said = shop.same(&snippet, |_| rust(&snippet));
    assert!(!said.is_empty(), "snippet {name} says nothing");
}

#[test]
fn tokio_postgres() {
    rust_driver(&Shop::create("tokio"), "tokio-postgres", "tokio_postgres");
}

#[test]
fn sqlx() {
    rust_driver(&Shop::create("sqlx"), "sqlx", "sqlx");
}

#[test]
fn diesel() {
    rust_driver(&Shop::create("diesel"), "diesel", "diesel");
}

/// What the document says of each client is run by a test of that name.
#[test]
fn every_snippet_of_the_document_is_tested() {
    let tests = std::fs::read_to_string(shop::root().join("tests/clients.rs")).unwrap()
        + &std::fs::read_to_string(shop::root().join("tests/clients/dump.rs")).unwrap();
    let names = document::names();
    assert!(names.len() >= 5, "{names:?}");
    for name in names {
        assert!(tests.contains(&format!("\"{name}\"")), "no test runs snippet {name} of docs/CLIENTS.md");
    }
}

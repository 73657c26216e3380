//! A shard of a primary and its standby, beside one of a lone server, and a router over both: the bank of `chaos/bank.rs` lies on them.

use std::fmt::Write;

use crate::bank::{ACCOUNTS, BALANCE, NAME, SCHEMA};
use crate::support::{Lone, Raw, Router};

/// Shard `s0` is a primary with a standby that it waits for at each commit, `s1` has one server.
pub struct World {
    pub a: Lone,
    pub b: Lone,
    pub other: Lone,
    pub router: Router,
}

impl World {
    pub fn create(general: &str) -> Self {
        let (a, other) = std::thread::scope(|scope| {
            let other = scope.spawn(primary);
            (primary(), other.join().unwrap())
        });
        let b = a.standby();
        b.start();
        a.configure("synchronous_standby_names = '*'");
        a.connect("postgres").must("SELECT pg_reload_conf()");
        let router = Router::start(&config(&[&[&a, &b], &[&other]], general));
        let rows: Vec<String> = (0..ACCOUNTS).map(|id| format!("({id}, {BALANCE})")).collect();
        router.connect(NAME).must(&format!("INSERT INTO accounts VALUES {}", rows.join(", ")));
        Self { a, b, other, router }
    }

    /// One more router over the same servers.
    pub fn another(&self, general: &str) -> Router {
        Router::start(&config(&[&[&self.a, &self.b], &[&self.other]], general))
    }

    /// Another router, whose configuration has these lines in the place of others.
    pub fn another_with(&self, general: &str, lines: &str, instead: &str) -> Router {
        let text = config(&[&[&self.a, &self.b], &[&self.other]], general);
        assert!(text.contains(lines), "{text}");
        Router::start(&text.replacen(lines, instead, 1))
    }

    pub fn roles(&self) -> Vec<String> {
        roles(&mut self.router.connect(NAME))
    }

    /// A client, and an account of shard `s0`.
    pub fn client(&self) -> (Raw, i32) {
        let account = self.a.connect(NAME).value("SELECT min(id) FROM accounts").parse().unwrap();
        (self.router.connect(NAME), account)
    }
}

/// Of `s0` alone: nothing is asked of the others.
pub fn roles(raw: &mut Raw) -> Vec<String> {
    let reply = raw.must("SHOW pgloom.servers");
    let rows = reply.answers[0].rows.iter().filter(|row| row[0].as_deref() == Some(b"s0"));
    rows.map(|row| String::from_utf8(row[2].clone().unwrap()).unwrap()).collect()
}

pub fn primary() -> Lone {
    let server = Lone::create();
    server.configure("max_prepared_transactions = 100\nmax_connections = 200\ndeadlock_timeout = '200ms'");
    server.start();
    server.connect("postgres").must(&format!("CREATE DATABASE {NAME}"));
    server.connect(NAME).must(SCHEMA);
    server
}

pub fn config(shards: &[&[&Lone]], general: &str) -> String {
    let mut out = format!(
        "[general]\nport = {{port}}\nmetrics_listen = \"127.0.0.1:{{http_port}}\"\nauth_type = \"trust\"\n\
         two_phase_grace = \"1s\"\nserver_check_interval = \"300ms\"\n{general}\n[[users]]\nname = \"postgres\"\n[databases.{NAME}]\n"
    );
    for (index, servers) in shards.iter().enumerate() {
        let servers: Vec<String> =
            servers.iter().map(|server| format!("{{ host = \"127.0.0.1\", port = {} }}", server.port)).collect();
        let _ = writeln!(out, "[[databases.{NAME}.shards]]\nname = \"s{index}\"\nservers = [{}]", servers.join(", "));
    }
    let _ = writeln!(out, "[[databases.{NAME}.distributions]]\nname = \"key\"\nkey_types = [\"int4\"]");
    for (table, column) in [("accounts", "id"), ("entries", "account")] {
        let _ = writeln!(
            out,
            "[[databases.{NAME}.tables]]\nname = \"{table}\"\ndistribution = \"key\"\ncolumns = [\"{column}\"]"
        );
    }
    out
}

//! One database behind a router, and one Postgres with the same in it: the same program runs against both, and tells the same.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::{Database, Raw, Router};

/// How long a program may take, with the machine busy.
const LIMIT: Duration = Duration::from_secs(120);
/// Tables that are sharded by their column `tenant_id`; the partitions too, because pg_dump makes them before it attaches them.
const SHARDED: [&str; 5] = ["customers", "orders", "events", "events_january", "events_later"];
/// pgbench's tables, each with its key.
const PGBENCH: [(&str, &str); 4] =
    [("pgbench_accounts", "aid"), ("pgbench_branches", "bid"), ("pgbench_tellers", "tid"), ("pgbench_history", "aid")];

/// The router ends before its database is dropped. Everything belongs to the role `app`, which is no superuser.
pub struct Shop {
    pub router: Router,
    pub db: Database,
    /// Files of its programs; removed with the value.
    pub dir: PathBuf,
}

/// Whom a program speaks to.
#[derive(Clone, Copy)]
pub struct Side<'a> {
    /// `direct` or `pgloom`.
    pub name: &'static str,
    pub port: u16,
    pub database: &'a str,
}

/// How a program ended.
pub struct Ended {
    pub success: bool,
    pub out: String,
    pub errors: String,
}

impl Shop {
    /// With the tables and rows of `shop.sql`.
    pub fn create(label: &str) -> Self {
        let shop = Self::empty(label, &[]);
        shop.fill();
        shop
    }

    /// Makes the tables and rows of `shop.sql` on both sides.
    pub fn fill(&self) {
        // As people do it, each statement for itself.
        self.same("shop.sql", |_| {
            let mut psql = Command::new("psql");
            psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-f"]).arg(root().join("tests/clients/shop.sql"));
            psql
        });
    }

    /// No tables yet, but those of `shop.sql`, of pgbench and these are placed: `(name, key)`, sharded by an int4.
    pub fn empty(label: &str, more: &[(&str, &str)]) -> Self {
        let db = Database::create(label);
        let own = format!("ALTER DATABASE {} OWNER TO app", db.name);
        db.everywhere(&own);
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(&db.name);
        fs::create_dir_all(&dir).unwrap();
        Self { router: Router::start(&config(&db, more)), db, dir }
    }

    /// One Postgres first.
    pub fn sides(&self) -> [Side<'_>; 2] {
        let database = &*self.db.name;
        let direct = Side { name: "direct", port: self.db.cluster.oracle.port, database };
        [direct, Side { name: "pgloom", port: self.router.port, database }]
    }

    /// Runs the program against both at one time. Both must succeed, and say the same: returned is what they have said.
    #[track_caller]
    pub fn same(&self, what: &str, program: impl Fn(&Side<'_>) -> Command + Sync) -> String {
        let [direct, pgloom] = self.both(what, program);
        for (side, ended) in [("directly", &direct), ("through pgloom", &pgloom)] {
            assert!(ended.success, "{what}, {side}, has failed\n{}\n{}", end_of(&ended.out), end_of(&ended.errors));
        }
        assert_same(what, &direct.out, &pgloom.out);
        direct.out
    }

    /// Runs the program against both at one time.
    pub fn both(&self, what: &str, program: impl Fn(&Side<'_>) -> Command + Sync) -> [Ended; 2] {
        std::thread::scope(|scope| {
            let run = |side: Side<'_>| run(what, &self.dir.join(side.name), &side, program(&side));
            let running = self.sides().map(|side| scope.spawn(move || run(side)));
            running.map(|thread| thread.join().unwrap())
        })
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

impl Side<'_> {
    pub fn connect(&self) -> Raw {
        Raw::connect(self.port, "app", self.database).unwrap()
    }

    /// As drivers want it that know no environment.
    pub fn url(&self) -> String {
        format!("postgresql://app@127.0.0.1:{}/{}", self.port, self.database)
    }

    /// What tells one side from the other, written alike.
    fn neutral(&self, text: &str) -> String {
        // Not within a number or a hash that happens to have these digits.
        let (port, mut all) = (self.port.to_string(), String::new());
        let mut rest = text;
        while let Some(at) = rest.find(&port) {
            let (before, behind) = (&rest[..at], &rest[at + port.len()..]);
            let inside = before.ends_with(char::is_alphanumeric) || behind.starts_with(char::is_alphanumeric);
            all.push_str(before);
            all.push_str(if inside { &port } else { "PORT" });
            rest = behind;
        }
        all + rest
    }
}

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Runs a program in `home`, with the environment that libpq and its like read.
pub fn run(what: &str, home: &Path, side: &Side<'_>, mut command: Command) -> Ended {
    fs::create_dir_all(home).unwrap();
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("PG") && name != "PGLOOM_PG_BIN") {
        command.env_remove(name);
    }
    command.envs([("PGHOST", "127.0.0.1"), ("PGUSER", "app"), ("PGDATABASE", side.database), ("PGAPPNAME", "client")]);
    command.env("PGPORT", side.port.to_string()).env("CLIENT_URL", side.url()).env("HOME", home);
    command.envs([("TZ", "UTC"), ("LC_ALL", "C.UTF-8"), ("PYTHONDONTWRITEBYTECODE", "1")]);
    if command.get_current_dir().is_none() {
        command.current_dir(home);
    }
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let child = child.as_mut().unwrap_or_else(|e| panic!("{what}: {command:?}: {e}"));
    let (out, errors) = (reader(child.stdout.take()), reader(child.stderr.take()));
    let status = wait(child);
    let text = |thread: std::thread::JoinHandle<String>| side.neutral(&thread.join().unwrap());
    let (out, errors) = (text(out), text(errors));
    let told = format!("{}\n{}", end_of(&out), end_of(&errors));
    let success = status.unwrap_or_else(|| panic!("{what}, {}, still runs after {LIMIT:?}\n{told}", side.name));
    Ended { success, out, errors }
}

fn reader(stream: Option<impl Read + Send + 'static>) -> std::thread::JoinHandle<String> {
    let mut stream = stream.unwrap();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// Whether it has succeeded; `None`: it was killed, because it came to no end.
fn wait(child: &mut Child) -> Option<bool> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status.success());
        }
        if start.elapsed() > LIMIT {
            let _ = child.kill();
            return None;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The last lines, cut short.
pub fn end_of(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let short =
        lines.iter().skip(lines.len().saturating_sub(12)).map(|line| line.chars().take(300).collect::<String>());
    short.collect::<Vec<_>>().join("\n")
}

/// Panics with the first lines that differ.
#[track_caller]
pub fn assert_same(what: &str, direct: &str, pgloom: &str) {
    if direct == pgloom {
        return;
    }
    let (left, right): (Vec<&str>, Vec<&str>) = (direct.lines().collect(), pgloom.lines().collect());
    let at = (0..left.len().max(right.len())).find(|at| left.get(*at) != right.get(*at)).unwrap_or(0);
    let part = |lines: &[&str]| lines.iter().skip(at.saturating_sub(2)).take(8).copied().collect::<Vec<_>>().join("\n");
    panic!("{what}: line {} differs\ndirectly:\n{}\nthrough pgloom:\n{}", at + 1, part(&left), part(&right));
}

fn config(db: &Database, more: &[(&str, &str)]) -> String {
    use std::fmt::Write;
    let name = &db.name;
    let mut out = "[general]\nport = {port}\nmetrics_listen = \"127.0.0.1:{http_port}\"\nauth_type = \"trust\"\n\
                   [[users]]\nname = \"app\"\n[[users]]\nname = \"postgres\"\n"
        .to_owned();
    let _ = writeln!(out, "[databases.{name}]");
    for (index, port) in db.ports().iter().enumerate() {
        let _ = writeln!(out, "[[databases.{name}.shards]]\nname = \"s{index}\"\nhost = \"127.0.0.1\"\nport = {port}");
    }
    let _ = writeln!(out, "[[databases.{name}.distributions]]\nname = \"tenant\"\nkey_types = [\"int4\"]");
    let shop = SHARDED.iter().map(|table| (*table, "tenant_id"));
    for (table, key) in shop.chain(PGBENCH).chain(more.iter().copied()) {
        let _ = writeln!(
            out,
            "[[databases.{name}.tables]]\nname = \"{table}\"\ndistribution = \"tenant\"\ncolumns = [\"{key}\"]"
        );
    }
    let _ = writeln!(out, "[[databases.{name}.tables]]\nname = \"products\"\nreference = true");
    out
}

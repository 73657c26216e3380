//! Byte scripts: the same frontend messages to one Postgres and through the router, and the answers message by message.
//! What Postgres does on a direct connection is the specification.
//! `PGLOOM_ORACLE_SELF=1` plays the scripts against Postgres twice: what differs then is a mistake of the script.

use std::cell::RefCell;
use std::fmt::Write;
use std::io::ErrorKind;
use std::time::Duration;

use super::database::Database;
use super::raw::{Message, Raw, Value, cell_text, message as m};
use super::router::Router;

/// One step of a script.
pub enum Step {
    Send(Vec<u8>),
    /// Read up to and with the next ReadyForQuery.
    Ready,
    /// Read up to and with the next message of this type.
    Until(u8),
}

use Step::{Ready, Send, Until};

/// Several messages in one write.
pub fn batch(messages: &[Vec<u8>]) -> Step {
    Send(messages.concat())
}

pub fn text(values: &[&str]) -> Vec<Value> {
    values.iter().map(|v| Value::text(v)).collect()
}

/// Parse, Bind, Execute of the unnamed statement, without Sync.
pub fn run(sql: &str, values: &[&str]) -> Vec<u8> {
    [m::parse("", sql, &[]), m::bind("", "", &text(values), &[]), m::execute("", 0)].concat()
}

/// Each statement as a simple Query that is answered before the next.
pub fn queries(statements: &[&str]) -> Vec<Step> {
    statements.iter().flat_map(|sql| [Send(m::query(sql)), Ready]).collect()
}

/// How a table of a [`Pair`] is placed.
#[derive(Clone, Copy, Debug)]
pub enum Placed {
    /// By this column, an int4.
    By(&'static str),
    Reference,
}

/// A router over its shards, and one Postgres with the same tables.
pub struct Pair {
    failures: RefCell<Vec<String>>,
    pub router: Option<Router>,
    pub db: Database,
}

impl Pair {
    /// `schema` is made everywhere; tables that are not among `placed` lie on the home shard. `sections`: further ones, `[general]`
    /// without its heading first.
    pub fn create(label: &str, schema: &str, placed: &[(&str, Placed)], sections: &str) -> Self {
        let db = Database::create(label);
        db.everywhere(schema);
        let own = std::env::var("PGLOOM_ORACLE_SELF").is_ok_and(|v| v == "1");
        let router = (!own).then(|| Router::start(&config(&db, placed, sections)));
        Self { failures: RefCell::default(), router, db }
    }

    /// The same with functions that the configuration declares safe.
    pub fn with_safe_functions(label: &str, schema: &str, placed: &[(&str, Placed)], functions: &[&str]) -> Self {
        let db = Database::create(label);
        db.everywhere(schema);
        let heading = format!("[databases.{}]\n", db.name);
        let toml = config(&db, placed, "").replacen(&heading, &format!("{heading}safe_functions = {functions:?}\n"), 1);
        let own = std::env::var("PGLOOM_ORACLE_SELF").is_ok_and(|v| v == "1");
        Self { failures: RefCell::default(), router: (!own).then(|| Router::start(&toml)), db }
    }

    /// One table, sharded by a column of another type.
    pub fn with_key_type(label: &str, schema: &str, (table, column): (&str, &'static str), key_type: &str) -> Self {
        let db = Database::create(label);
        db.everywhere(schema);
        let toml = config(&db, &[(table, Placed::By(column))], "").replacen("int4", key_type, 1);
        Self { failures: RefCell::default(), router: Some(Router::start(&toml)), db }
    }

    pub fn through(&self) -> Raw {
        self.router.as_ref().map_or_else(|| self.db.oracle(), |router| router.connect(&self.db.name))
    }

    /// Runs these statements on both sides.
    #[track_caller]
    pub fn fill(&self, statements: &[&str]) {
        for sql in statements {
            self.db.oracle().must(sql);
            if self.router.is_some() {
                self.through().must(sql);
            }
        }
    }

    /// Runs the script on both sides, each on a new connection, and compares what came back.
    pub fn same(&self, name: &str, script: &[Step]) {
        self.same_on(name, self.db.oracle(), self.through(), script);
    }

    /// The same on connections that are there.
    pub fn same_on(&self, name: &str, oracle: Raw, router: Raw, script: &[Step]) {
        let (theirs, ours) = (play(oracle, script), play(router, script));
        if theirs != ours && refused(&theirs, &ours) {
            println!("REFUSED {name}");
        } else if theirs != ours {
            self.differs(difference(name, &theirs, &ours));
        }
    }

    /// As `same`, and the router may refuse nothing.
    pub fn answers(&self, name: &str, script: &[Step]) {
        self.compare(name, &play(self.db.oracle(), script), &play(self.through(), script));
    }

    /// What came back must be the same.
    pub fn compare(&self, name: &str, theirs: &[String], ours: &[String]) {
        if theirs != ours {
            self.differs(difference(name, theirs, ours));
        }
    }

    pub fn differs(&self, what: String) {
        self.failures.borrow_mut().push(what);
    }
}

impl Drop for Pair {
    /// Fails the test with all the differences that its scripts showed.
    fn drop(&mut self) {
        let failures = self.failures.take();
        if !failures.is_empty() && !std::thread::panicking() {
            panic!("{} scripts differ\n\n{}", failures.len(), failures.join("\n\n"));
        }
    }
}

/// The lines from a little before the first difference to a little behind the last.
fn difference(name: &str, theirs: &[String], ours: &[String]) -> String {
    const AROUND: usize = 4;
    let before = theirs.iter().zip(ours).take_while(|(a, b)| a == b).count();
    let shorter = theirs.len().min(ours.len()) - before;
    let after = theirs.iter().rev().zip(ours.iter().rev()).take(shorter).take_while(|(a, b)| a == b).count();
    let part = |lines: &[String]| {
        let (from, to) = (before.saturating_sub(AROUND), (lines.len() - after + AROUND).min(lines.len()));
        lines.get(from..to).unwrap_or_default().join("\n")
    };
    format!("{name}: differs at message {before}\n--- postgres\n{}\n--- pgloom\n{}", part(theirs), part(ours))
}

fn config(db: &Database, placed: &[(&str, Placed)], sections: &str) -> String {
    let name = &db.name;
    let mut toml = format!(
        "[general]\nport = {{port}}\nmetrics_listen = \"127.0.0.1:{{http_port}}\"\nauth_type = \"trust\"\n{sections}\n\
         [[users]]\nname = \"postgres\"\n[databases.{name}]\n"
    );
    for (index, port) in db.ports().iter().enumerate() {
        let _ = writeln!(toml, "[[databases.{name}.shards]]\nname = \"s{index}\"\nhost = \"127.0.0.1\"\nport = {port}");
    }
    let _ = writeln!(toml, "[[databases.{name}.distributions]]\nname = \"id\"\nkey_types = [\"int4\"]");
    for (table, placed) in placed {
        let _ = writeln!(toml, "[[databases.{name}.tables]]\nname = \"{table}\"");
        let _ = match placed {
            Placed::By(column) => writeln!(toml, "distribution = \"id\"\ncolumns = [\"{column}\"]"),
            Placed::Reference => writeln!(toml, "reference = true"),
        };
    }
    toml
}

/// What came back, a line a message. ParameterStatus may come at any time: what was reported is compared at ReadyForQuery.
pub fn play(mut raw: Raw, script: &[Step]) -> Vec<String> {
    play_on(&mut raw, script)
}

/// The same on a connection that goes on.
pub fn play_on(raw: &mut Raw, script: &[Step]) -> Vec<String> {
    let mut lines = Vec::new();
    let mut reported = raw.parameters.clone();
    raw.set_patience(Duration::from_secs(5));
    for step in script {
        let last = match step {
            Send(bytes) => {
                if let Err(e) = raw.send(bytes) {
                    lines.push(format!("send failed: {:?}", e.kind()));
                    return lines;
                }
                continue;
            }
            Ready => b'Z',
            Until(tag) => *tag,
        };
        loop {
            match raw.read() {
                Ok(message) => {
                    if message.tag == b'Z' {
                        let news = raw.parameters.iter().filter(|(name, value)| reported.get(*name) != Some(value));
                        lines.extend(news.map(|(name, value)| format!("S {name} = {value}")));
                        reported = raw.parameters.clone();
                    }
                    if message.tag != b'S' {
                        lines.push(line(&message));
                    }
                    if message.tag == last {
                        break;
                    }
                }
                Err(e) => {
                    let silent = matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
                    lines.push(if silent { "nothing more comes" } else { "connection closed" }.to_owned());
                    return lines;
                }
            }
        }
    }
    // A statement over several shards is parsed and bound where it runs: what was wrong with it comes later by a message or two.
    while let Some(at) =
        (1..lines.len()).find(|at| lines[*at].starts_with('E') && matches!(&*lines[at - 1], "1 " | "2 "))
    {
        lines.remove(at - 1);
    }
    // Nothing may follow: an answer too many would be taken for the next one.
    raw.send(&m::query("SELECT 'end of script'")).ok();
    lines.extend(raw.read_to_ready().unwrap_or_default().iter().map(line));
    lines
}

/// A message as text, without what differs between two servers: source lines, table OIDs.
pub fn line(message: &Message) -> String {
    let tag = char::from(message.tag);
    match message.tag {
        b'E' | b'N' => {
            let mut report = message.report().0;
            report.retain(|field, _| !"FLRW".contains(*field));
            format!("{tag} {report:?}")
        }
        b'T' => format!("{tag} {:?}", message.columns()),
        // Types that users create have other numbers on each server.
        b't' => {
            let types = (0..usize::from(message.u16_at(0))).map(|index| message.u32_at(2 + 4 * index).min(16_384));
            format!("{tag} {:?}", types.collect::<Vec<_>>())
        }
        b'D' => {
            let cells: Vec<String> = message.cells().iter().map(|c| cell_text(c.as_deref())).collect();
            format!("{tag} {}", cells.join("|"))
        }
        _ => {
            let body = message.body.strip_suffix(b"\0").unwrap_or(&message.body);
            format!("{tag} {}", cell_text(Some(body)))
        }
    }
}

/// Whether the first difference is the router's refusal.
pub fn refused(theirs: &[String], ours: &[String]) -> bool {
    let first = ours.iter().zip(theirs).find(|(ours, theirs)| ours != theirs);
    first.is_some_and(|(ours, theirs)| ours.contains("\"0A000\"") && !theirs.contains("\"0A000\""))
}

//! The world of these tests, and what is recorded of an exchange.
//!
//! What may differ between a direct connection and one through pgloom, and nothing else:
//! - BackendKeyData: the process id and the secret are pgloom's own, of the same lengths.
//! - RowDescription and ParameterDescription: OIDs of tables and types that users made are each server's own.
//! - NotificationResponse: the process id is that of the server connection which notified.
//! - The CONTEXT of the error that ends a COPY FROM STDIN from outside, by a cancel: see [`but_for_context`].
//! - ErrorResponse and NoticeResponse: file, line and routine of the source (`F`, `L`, `R`).

use std::fmt::Write;
use std::io::ErrorKind;
use std::time::Duration;

use crate::support::raw::{Message, Raw, cancel, message as m};
use crate::support::script::{Pair, Placed};

/// One step of an exchange.
#[derive(Clone)]
pub enum Step {
    Send(Vec<u8>),
    /// Read up to and with the next ReadyForQuery.
    Ready,
    /// Read so many messages.
    Read(usize),
    /// Nothing may come for a while.
    Quiet,
    /// A CancelRequest of this session, behind a pause in which what was sent begins to run.
    Cancel,
    /// Read until the server closes the connection.
    Closed,
}

pub use Step::{Cancel, Closed, Quiet, Read, Ready, Send};

/// What an exchange is about. All three tables have the same columns and rows.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    pub name: &'static str,
    table: &'static str,
    /// What its rows are, by literals and by one parameter that is 5.
    rows: &'static str,
    rows_by: &'static str,
    /// The keys that are written.
    keys: [i32; 3],
}

/// One server without sharding, one key of a sharded table, all its shards.
pub const TARGETS: [Target; 3] = [
    Target { name: "unsharded", table: "plain", rows: "k > 0", rows_by: "k >= $1 - 5", keys: [5, 6, 7] },
    Target { name: "by key", table: "items", rows: "k = 5", rows_by: "k = $1", keys: [5, 5, 5] },
    Target { name: "over shards", table: "items", rows: "k > 0", rows_by: "k >= $1 - 5", keys: [5, 6, 7] },
];

impl Target {
    /// `{t}` is its table, `{w}` and `{p}` conditions, `{v}` three new rows, `{d}` three of which the last is there already.
    pub fn sql(&self, template: &str) -> String {
        let [a, b, c] = self.keys;
        let values = format!("({a}, 101, 'x', 1), ({b}, 102, 'y', 2), ({c}, 103, 'z', 3)");
        let twice = format!("({a}, 111, 'x', 1), ({b}, 112, 'y', 2), ({c}, 1, 'z', 3)");
        let text = template.replace("{t}", self.table).replace("{w}", self.rows).replace("{p}", self.rows_by);
        text.replace("{v}", &values).replace("{d}", &twice)
    }

    pub fn query(&self, template: &str) -> Vec<u8> {
        m::query(&self.sql(template))
    }

    pub fn parse(&self, name: &str, template: &str) -> Vec<u8> {
        m::parse(name, &self.sql(template), &[])
    }

    /// Parse, Bind and Execute of the unnamed statement.
    pub fn run(&self, template: &str) -> Vec<u8> {
        [self.parse("", template), m::bind("", "", &[], &[]), m::execute("", 0)].concat()
    }
}

/// Rows of a target in their order.
pub const ROWS: &str = "SELECT k, id, name FROM {t} WHERE {w} ORDER BY k, id";
pub const ROWS_BY: &str = "SELECT k, id, name FROM {t} WHERE {p} ORDER BY k, id";
pub const INSERT: &str = "INSERT INTO {t} VALUES {v}";
pub const DUPLICATE: &str = "INSERT INTO {t} VALUES {d}";

/// `items` is sharded by `k`, `plain` lies on the home shard.
pub fn world(label: &str) -> Pair {
    let columns = "k int, id int, name text COLLATE \"C\" NOT NULL, n int CHECK (n >= 0), PRIMARY KEY (k, id)";
    let wide: Vec<String> = (1..1600).map(|at| format!("c{at} int")).collect();
    let schema = format!(
        "CREATE TABLE items ({columns}); CREATE TABLE plain ({columns}); \
         CREATE TABLE wide_items (k int, {wide}); CREATE TABLE wide_plain (k int, {wide})",
        wide = wide.join(", ")
    );
    let world = Pair::create(
        label,
        &schema,
        &[("items", Placed::By("k")), ("wide_items", Placed::By("k"))],
        "max_message_size = \"256MB\"",
    );
    let rows: Vec<String> = (0..60).map(|at| format!("({}, {}, 'row {at}', {at})", at / 6 + 1, at % 6 + 1)).collect();
    let fill = ["items", "plain"].map(|table| format!("INSERT INTO {table} VALUES {}", rows.join(", ")));
    world.fill(&[&fill[0], &fill[1]]);
    world
}

/// Plays the exchange about every target, and compares.
pub fn exchange(world: &Pair, name: &str, script: impl Fn(&Target) -> Vec<Step>) {
    for target in &TARGETS {
        about(world, target, name, &script(target));
    }
}

/// The same about one of them. What it leaves is compared, too, and undone.
pub fn about(world: &Pair, target: &Target, name: &str, script: &[Step]) {
    about_without(world, target, name, script, "");
}

/// Plays the exchange about every target, and compares all but the CONTEXT of errors.
pub fn but_for_context(world: &Pair, name: &str, script: impl Fn(&Target) -> Vec<Step>) {
    for target in &TARGETS {
        about_without(world, target, name, &script(target), "W");
    }
}

fn about_without(world: &Pair, target: &Target, name: &str, script: &[Step], left_out: &str) {
    let label = format!("{name}, {}", target.name);
    // Told where the test hangs.
    println!("{label}");
    let [theirs, ours] = [world.db.oracle(), world.through()].map(|mut raw| {
        let mut record = play(&mut raw, script);
        for sql in [
            "ROLLBACK",
            "SELECT k, id, name, n FROM {t} WHERE id > 100 ORDER BY k, id",
            "DELETE FROM {t} WHERE id > 100",
        ] {
            record.extend(play(&mut raw, &[Send(target.query(sql)), Ready]));
        }
        record.iter_mut().for_each(|message| message.retain(|(field, _)| field != left_out));
        record
    });
    compare(world, &label, &theirs, &ours);
}

pub fn compare(world: &Pair, label: &str, theirs: &[Fields], ours: &[Fields]) {
    let Some(at) = (0..theirs.len().max(ours.len())).find(|at| theirs.get(*at) != ours.get(*at)) else { return };
    let mut text = format!("{label}: message {at} differs\n");
    let shown = |fields: Option<&Fields>| {
        let fields =
            fields.map(|fields| fields.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>());
        fields.map_or_else(|| "nothing".to_owned(), |fields| fields.join(" "))
    };
    for near in at.saturating_sub(3)..at + 4 {
        let mark = if near == at { ">" } else { " " };
        let _ = writeln!(text, "{mark} postgres {}", shown(theirs.get(near)));
        let _ = writeln!(text, "{mark} pgloom   {}", shown(ours.get(near)));
    }
    world.differs(text);
}

/// A message as its fields: what they are called, and their values.
pub type Fields = Vec<(String, String)>;

fn only(name: &str) -> Fields {
    vec![("message".to_owned(), name.to_owned())]
}

/// What comes back, message by message.
pub fn play(raw: &mut Raw, script: &[Step]) -> Vec<Fields> {
    let mut record = Vec::new();
    for step in script {
        match step {
            Send(bytes) => {
                // That a connection is closed shows when it is read.
                let _ = raw.send(bytes);
            }
            Cancel => {
                std::thread::sleep(Duration::from_millis(150));
                cancel(raw.port(), raw.key.0, &raw.key.1);
            }
            Quiet => {
                raw.set_patience(Duration::from_millis(150));
                match raw.read() {
                    Ok(message) => record.push(fields(&message)),
                    Err(error) if is_silence(&error) => record.push(only("silence")),
                    Err(_) => record.push(only("end")),
                }
            }
            Ready | Read(_) | Closed => {
                raw.set_patience(Duration::from_secs(30));
                let mut left = if let Read(count) = step { *count } else { usize::MAX };
                while left > 0 {
                    left -= 1;
                    match raw.read() {
                        Ok(message) => {
                            record.push(fields(&message));
                            if message.tag == b'Z' && matches!(step, Ready) {
                                break;
                            }
                        }
                        Err(error) => {
                            record.push(only(if is_silence(&error) { "silence" } else { "end" }));
                            return record;
                        }
                    }
                }
            }
        }
    }
    record
}

fn is_silence(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// Long values are shown by their beginning, their end, and their length: some are a hundred megabytes.
fn shown(bytes: &[u8]) -> String {
    const MOST: usize = 400;
    if bytes.len() <= MOST {
        return String::from_utf8(bytes.to_vec()).unwrap_or_else(|_| format!("{bytes:02x?}"));
    }
    let (begin, end) = (&bytes[..MOST / 2], &bytes[bytes.len() - MOST / 2..]);
    format!("{}...{} of {} bytes", String::from_utf8_lossy(begin), String::from_utf8_lossy(end), bytes.len())
}

/// The fields of a message, but for those that may differ.
pub fn fields(message: &Message) -> Fields {
    let mut out = only(&char::from(message.tag).to_string());
    let mut add = |name: &str, value: String| out.push((name.to_owned(), value));
    match message.tag {
        b'E' | b'N' => {
            let report = message.report().0;
            report
                .into_iter()
                .filter(|(letter, _)| !"FLR".contains(*letter))
                .for_each(|(letter, text)| add(&letter.to_string(), text));
        }
        b'T' => {
            for (column, (table, number)) in message.columns().iter().zip(message.origins()) {
                add("name", column.name.clone());
                add("table", (table != 0).to_string());
                add("column", number.to_string());
                add("type", format!("{} {} {}", column.type_oid, column.type_len, column.typmod));
                add("format", column.format.to_string());
            }
        }
        b't' => (0..usize::from(message.u16_at(0)))
            .for_each(|at| add("type", message.u32_at(2 + 4 * at).min(16_384).to_string())),
        b'D' => message.cells().iter().for_each(|cell| add("value", cell.as_deref().map_or("NULL".to_owned(), shown))),
        b'A' => add("body", shown(message.body.get(4..).unwrap_or_default())),
        b'K' => {
            add("pid", (message.u32_at(0) != 0).to_string());
            add("secret", (message.body.len() - 4).to_string());
        }
        b'G' | b'H' | b'W' => {
            add("format", message.body[0].to_string());
            (0..usize::from(message.u16_at(1))).for_each(|at| add("column", message.u16_at(3 + 2 * at).to_string()));
        }
        b'S' | b'C' => message.texts().filter(|text| !text.is_empty()).for_each(|text| add("text", text)),
        _ => add("body", shown(&message.body)),
    }
    out
}

//! The modes of a transaction, as BEGIN and SET TRANSACTION write them and as the settings that they are.

use super::SetStatement;
use super::cursor::Cursor;
use super::set::plain_value;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Isolation(&'static str),
    ReadOnly(bool),
    Deferrable(bool),
}

const LEVELS: [&str; 4] = ["read uncommitted", "read committed", "repeatable read", "serializable"];

const MODES: [(&[&str], Mode); 8] = [
    (&["isolation", "level", "read", "uncommitted"], Mode::Isolation(LEVELS[0])),
    (&["isolation", "level", "read", "committed"], Mode::Isolation(LEVELS[1])),
    (&["isolation", "level", "repeatable", "read"], Mode::Isolation(LEVELS[2])),
    (&["isolation", "level", "serializable"], Mode::Isolation(LEVELS[3])),
    (&["read", "only"], Mode::ReadOnly(true)),
    (&["read", "write"], Mode::ReadOnly(false)),
    (&["deferrable"], Mode::Deferrable(true)),
    (&["not", "deferrable"], Mode::Deferrable(false)),
];

/// `transaction_mode_list` up to the end of the statement, as written; not empty.
pub(super) fn transaction_modes<'a>(cursor: &mut Cursor<'a>) -> Option<&'a str> {
    list(&mut cursor.clone())?;
    cursor.rest(cursor.position())
}

/// The modes of such a list, in its order. Nothing where it is none.
pub fn modes(text: &str) -> Vec<Mode> {
    list(&mut Cursor::new(text)).unwrap_or_default()
}

fn list(cursor: &mut Cursor<'_>) -> Option<Vec<Mode>> {
    let mut found = Vec::new();
    loop {
        found.push(MODES.iter().find(|(words, _)| cursor.accept_all(words))?.1);
        if cursor.at_end() {
            return Some(found);
        }
        cursor.accept_punct(b',');
    }
}

/// What is known of a transaction's modes; `None`: it has the session's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Modes {
    isolation: Option<&'static str>,
    read_only: Option<bool>,
    deferrable: Option<bool>,
}

impl Modes {
    pub fn add(&mut self, mode: Mode) {
        match mode {
            Mode::Isolation(level) => self.isolation = Some(level),
            Mode::ReadOnly(on) => self.read_only = Some(on),
            Mode::Deferrable(on) => self.deferrable = Some(on),
        }
    }

    /// A SET within the transaction that its server has taken.
    pub fn follow(&mut self, statement: &SetStatement) {
        match statement {
            SetStatement::Transaction(text) => modes(text).into_iter().for_each(|mode| self.add(mode)),
            SetStatement::Session { name, value } | SetStatement::Local { name, value } => {
                let value = plain_value(value).unwrap_or_default();
                let mode = match &**name {
                    "transaction_isolation" => level(&value).map(Mode::Isolation),
                    "transaction_read_only" => is_on(&value).map(Mode::ReadOnly),
                    "transaction_deferrable" => is_on(&value).map(Mode::Deferrable),
                    _ => None,
                };
                mode.into_iter().for_each(|mode| self.add(mode));
            }
            SetStatement::Reset(_)
            | SetStatement::ResetAll
            | SetStatement::Current { .. }
            | SetStatement::TransactionSnapshot
            | SetStatement::Opaque
            | SetStatement::Characteristics(_)
            | SetStatement::Router { .. } => {}
        }
    }

    /// Those that are not known are these, by the values of the settings `default_transaction_...`.
    pub fn or_defaults(&mut self, value: impl Fn(&str) -> Option<Box<str>>) {
        let isolation = || level(&value("default_transaction_isolation")?);
        self.isolation = self.isolation.or_else(isolation);
        self.read_only = self.read_only.or_else(|| is_on(&value("default_transaction_read_only")?));
        self.deferrable = self.deferrable.or_else(|| is_on(&value("default_transaction_deferrable")?));
    }

    /// For BEGIN; nothing where all are the session's.
    pub fn text(&self) -> String {
        let isolation = self.isolation.map(|level| format!("ISOLATION LEVEL {}", level.to_ascii_uppercase()));
        let read_only = self.read_only.map(|on| if on { "READ ONLY" } else { "READ WRITE" }.to_owned());
        let deferrable = self.deferrable.map(|on| if on { "DEFERRABLE" } else { "NOT DEFERRABLE" }.to_owned());
        isolation.into_iter().chain(read_only).chain(deferrable).collect::<Vec<_>>().join(", ")
    }
}

fn level(value: &str) -> Option<&'static str> {
    LEVELS.into_iter().find(|level| value.eq_ignore_ascii_case(level))
}

/// As a setting is read: words may be cut short.
fn is_on(value: &str) -> Option<bool> {
    const WORDS: [(&str, usize, bool); 8] = [
        ("true", 1, true),
        ("false", 1, false),
        ("yes", 1, true),
        ("no", 1, false),
        ("on", 2, true),
        ("off", 2, false),
        ("1", 1, true),
        ("0", 1, false),
    ];
    let value = value.to_ascii_lowercase();
    let word = WORDS.iter().find(|(word, least, _)| value.len() >= *least && word.starts_with(&*value));
    word.map(|(_, _, on)| *on)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_read_as_written() {
        let read = |text: &str| {
            let mut all = Modes::default();
            modes(text).into_iter().for_each(|mode| all.add(mode));
            all.text()
        };
        for (text, expected) in [
            ("", ""),
            ("nonsense", ""),
            ("read\n/* no */ only", "READ ONLY"),
            ("READ ONLY, read write", "READ WRITE"),
            ("not deferrable isolation level read committed", "ISOLATION LEVEL READ COMMITTED, NOT DEFERRABLE"),
            (
                "Isolation Level Serializable, READ ONLY DEFERRABLE",
                "ISOLATION LEVEL SERIALIZABLE, READ ONLY, DEFERRABLE",
            ),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
    }

    #[test]
    fn settings_of_the_transaction_are_modes() {
        let mut all = Modes::default();
        for (name, value) in
            [("transaction_isolation", "'Repeatable Read'"), ("transaction_read_only", "tr"), ("work_mem", "1")]
        {
            all.follow(&SetStatement::Local { name: name.into(), value: value.into() });
        }
        all.follow(&SetStatement::Transaction("READ WRITE".into()));
        assert_eq!(all.text(), "ISOLATION LEVEL REPEATABLE READ, READ WRITE");
        all.or_defaults(|name| (name == "default_transaction_deferrable").then(|| "on".into()));
        assert_eq!(all.text(), "ISOLATION LEVEL REPEATABLE READ, READ WRITE, DEFERRABLE");
    }
}

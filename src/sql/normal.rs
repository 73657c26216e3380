//! A statement as it is shown to people who may not see its values: literals replaced by `$n`, comments left out, blanks made one.

use std::fmt::Write;

use crate::sql::lexer::{Lexer, TokenKind};

/// No longer text is shown.
const SHOWN: usize = 4096;

/// What of a statement is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Values {
    Hidden,
    /// Where nothing in the statement sounds like a secret.
    Shown,
}

/// Words of statements whose literals are never shown, as parts of names of any kind.
const SECRETS: [&str; 14] = [
    "pass",
    "pwd",
    "secret",
    "token",
    "credential",
    "api_key",
    "apikey",
    "crypt",
    "pgp_",
    "dblink",
    "connection",
    "subscription",
    "server",
    "mapping",
];

/// The statement for the log. Numbers go on behind its own parameters. A text that cannot be read is not shown.
pub fn shown(text: &str, standard_strings: bool, values: Values) -> String {
    let whole = match values {
        Values::Hidden => normalised(text, standard_strings),
        Values::Shown if sounds_secret(text, standard_strings) => normalised(text, standard_strings),
        Values::Shown => Some(text.trim().to_owned()),
    };
    let Some(mut whole) = whole else { return "(a text that is no SQL)".to_owned() };
    if let Some((end, _)) = whole.char_indices().nth(SHOWN) {
        whole.truncate(end);
        whole.push_str("...");
    }
    whole
}

fn normalised(text: &str, standard_strings: bool) -> Option<String> {
    let mut out = String::with_capacity(text.len().min(SHOWN));
    let mut next = last_parameter(text, standard_strings)? + 1;
    let mut lexer = Lexer::new(text, standard_strings);
    let mut end = None;
    let mut settings = Settings::Begin;
    while let Some(token) = lexer.next().ok()? {
        if end.is_some_and(|end| end < token.start) {
            out.push(' ');
        }
        end = Some(token.end);
        let written = text.get(token.start..token.end)?;
        let is_word = matches!(token.kind, TokenKind::Word | TokenKind::Quoted);
        settings = settings.behind(written, is_word);
        if matches!(token.kind, TokenKind::Literal(_)) || is_word && settings == Settings::Value {
            let _ = write!(out, "${next}");
            next += 1;
        } else {
            out.push_str(written);
        }
    }
    Some(out)
}

/// Where in `SET name = value` a token stands: the value of a setting may be a word, which is the same as a text.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Settings {
    Begin,
    /// In an ALTER, which may have a SET.
    Altered,
    /// Behind SET.
    Name,
    /// Behind `=` or TO.
    To,
    Value,
    /// It is no statement with a setting.
    Other,
}

impl Settings {
    fn behind(self, written: &str, is_word: bool) -> Self {
        let says = |word: &str| written.eq_ignore_ascii_case(word);
        match self {
            _ if written == ";" => Self::Begin,
            Self::Begin if says("SET") => Self::Name,
            Self::Begin if says("ALTER") => Self::Altered,
            Self::Begin => Self::Other,
            Self::Altered if says("SET") => Self::Name,
            Self::Name if written == "=" || says("TO") => Self::To,
            Self::To | Self::Value if is_word && !says("DEFAULT") => Self::Value,
            Self::To | Self::Value => Self::To,
            Self::Altered | Self::Name | Self::Other => self,
        }
    }
}

/// The largest `$n` that the statement has itself; 0: none.
fn last_parameter(text: &str, standard_strings: bool) -> Option<u32> {
    let mut lexer = Lexer::new(text, standard_strings);
    let mut last = 0;
    while let Some(token) = lexer.next().ok()? {
        if token.kind == TokenKind::Parameter {
            let number = text.get(token.start + 1..token.end)?.parse().unwrap_or(u32::from(u16::MAX));
            last = last.max(number);
        }
    }
    Some(last)
}

/// Whether a name or a literal of it is like that of something that nobody is to read. One that cannot be read is.
fn sounds_secret(text: &str, standard_strings: bool) -> bool {
    let mut lexer = Lexer::new(text, standard_strings);
    loop {
        match lexer.next() {
            Ok(None) => return false,
            Err(_) => return true,
            Ok(Some(token)) => {
                let written = text.get(token.start..token.end).unwrap_or_default().to_ascii_lowercase();
                if SECRETS.iter().any(|secret| written.contains(secret)) {
                    return true;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_and_comments_are_hidden_and_numbers_go_on_behind_parameters() {
        for (text, normal) in [
            ("SELECT * FROM t WHERE id = 5", "SELECT * FROM t WHERE id = $1"),
            (
                "select  a\n from t -- who: 17\n where b = 'x''y' /* s3cret */ and c=$1",
                "select a from t where b = $2 and c=$1",
            ),
            (
                "INSERT INTO t VALUES (1, -2.5, E'a\\'b', $$c$$, B'01', N'n')",
                "INSERT INTO t VALUES ($1, -$2, $3, $4, $5, $6)",
            ),
            ("SELECT 'a'\n'b'", "SELECT $1"),
            ("SELECT \"5\" FROM \"it's\"", "SELECT \"5\" FROM \"it's\""),
            ("DO $do$ BEGIN PERFORM login('x'); END $do$", "DO $1"),
            ("SET app.pw = hunter2", "SET app.pw = $1"),
            ("set local app.pw to hunter2, \"Hunter 3\", 'x'; SELECT a", "set local app.pw to $1, $2, $3; SELECT a"),
            ("SET app.pw TO DEFAULT", "SET app.pw TO DEFAULT"),
            ("ALTER ROLE app IN DATABASE d SET app.pw = hunter2", "ALTER ROLE app IN DATABASE d SET app.pw = $1"),
            ("UPDATE t SET a = b, c = 1", "UPDATE t SET a = b, c = $1"),
        ] {
            assert_eq!(shown(text, true, Values::Hidden), normal);
        }
        assert_eq!(shown("SELECT 'open", true, Values::Hidden), "(a text that is no SQL)");
        assert_eq!(shown(&format!("SELECT {}", "x".repeat(9_000)), true, Values::Hidden).len(), SHOWN + 3);
    }

    #[test]
    fn a_secret_is_not_shown_whatever_is_wanted() {
        for text in [
            "ALTER ROLE app PASSWORD 'hunter2'",
            "create user app with encrypted password 'hunter2'",
            "ALTER USER app SET search_path = a; SELECT 'hunter2' AS password_hash",
            "CREATE SUBSCRIPTION s CONNECTION 'host=h password=hunter2' PUBLICATION p",
            "CREATE USER MAPPING FOR app SERVER s OPTIONS (user 'u', \"key\" 'hunter2')",
            "SELECT dblink_connect('host=h user=u hunter2')",
            "SELECT crypt('hunter2', gen_salt('bf'))",
            "UPDATE users SET \"apiToken\" = 'hunter2' WHERE id = 1",
            "SELECT 'the password is hunter2'",
            "SELECT 'open hunter2",
        ] {
            let text = shown(text, true, Values::Shown);
            assert!(!text.contains("hunter2"), "{text}");
        }
        assert_eq!(shown(" SELECT 5 /* why */ ", true, Values::Shown), "SELECT 5 /* why */");
    }
}

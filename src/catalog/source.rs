//! What the text of code names, by its words: tables, functions, and what cannot be told. SQL and PL/pgSQL alike, without a parse: a word that
//! could be a table's name counts as one.

use std::collections::HashSet;

use crate::catalog::assigned::assigned;
use crate::catalog::code;

/// A name in code, and how it is used there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Mention {
    pub schema: Option<Box<str>>,
    pub name: Box<str>,
    /// A parenthesis is behind it.
    pub called: bool,
    /// It stands behind a word that says that rows are written.
    pub written: bool,
    /// It stands behind FROM or JOIN.
    pub scanned: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mentions {
    pub names: HashSet<Mention>,
    /// Without their schemas.
    pub operators: HashSet<Box<str>>,
    /// Behind `::`, without their schemas; of a function those of its arguments and its result, too.
    pub types: HashSet<Box<str>>,
    /// A statement of which the text does not say what it reads and writes.
    pub unread: Option<Box<str>>,
    /// The columns of NEW that a body gives another value; `None`: any of them.
    pub assigned: HashSet<Option<Box<str>>>,
}

/// What the text is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Text {
    /// Statements, one behind the other.
    Body,
    /// An expression, a query or a rule as Postgres prints it.
    Printed,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// Folded if it is not quoted.
    Name {
        name: Box<str>,
        quoted: bool,
    },
    String(&'a str),
    Number,
    Sign(char),
}

impl Token<'_> {
    /// Whether it is this keyword, or a name that is written like it.
    pub fn is(&self, word: &str) -> bool {
        matches!(self, Token::Name { name, quoted: false } if **name == *word)
    }

    pub fn is_any(&self, words: &[&str]) -> bool {
        words.iter().any(|word| self.is(word))
    }

    pub fn is_sign(&self, sign: char) -> bool {
        *self == Token::Sign(sign)
    }
}

/// Keywords that are calls without parentheses.
const CLOCKS: [&str; 5] = ["current_date", "current_time", "current_timestamp", "localtime", "localtimestamp"];
/// Texts that become the time when they are read as one.
const TIMES: [&str; 4] = ["now", "today", "tomorrow", "yesterday"];
/// Statements that change more than rows, or run what is written elsewhere.
const OTHERS: [&str; 22] = [
    "alter",
    "analyze",
    "cluster",
    "comment",
    "copy",
    "create",
    "deallocate",
    "discard",
    "do",
    "drop",
    "grant",
    "import",
    "listen",
    "load",
    "lock",
    "prepare",
    "reassign",
    "refresh",
    "reindex",
    "revoke",
    "unlisten",
    "vacuum",
];

/// What a text names.
pub fn mentions(text: &str, of: Text) -> Mentions {
    let Some(placed) = placed_tokens(text) else {
        return Mentions { unread: Some("a text that cannot be read".into()), ..Mentions::default() };
    };
    let mut found = Mentions { operators: operators(&placed), ..Mentions::default() };
    let tokens: Vec<Token<'_>> = placed.into_iter().map(|(_, token)| token).collect();
    if of == Text::Body {
        found.assigned = assigned(&tokens);
    }
    if of == Text::Body && code::sets(text).changes_settings() {
        found.names.insert(call("set_config"));
    }
    let mut truncates = false;
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        let before = tokens.get(..at).unwrap_or_default();
        let parts = chain(tokens.get(at..).unwrap_or_default());
        match token {
            Token::String(text) if TIMES.contains(&&*text.trim().to_ascii_lowercase()) => {
                found.names.insert(call("now"));
            }
            Token::Sign(';') => truncates = false,
            Token::Name { .. } if is_type(before) => found.types.extend(parts.last().cloned()),
            Token::Name { .. } => {
                let behind = tokens.get(at + 2 * parts.len() - 1..).unwrap_or_default();
                if of == Text::Body && parts.len() == 1 {
                    found.note_statement(token, before, behind);
                }
                truncates |= token.is("truncate");
                if token.is_any(&CLOCKS) {
                    found.names.insert(call(parts.first().map_or("", |name| name)));
                }
                found.note_name(&parts, before, behind, truncates);
            }
            Token::String(_) | Token::Number | Token::Sign(_) => {}
        }
        at += (2 * parts.len()).max(2) - 1;
    }
    found
}

/// What a body does that its text does not say, or that concerns more than the tables of the server on which it runs.
pub fn hidden(body: &str) -> Option<Box<str>> {
    const MODIFIERS: [&str; 8] =
        ["or", "replace", "temp", "temporary", "unlogged", "unique", "recursive", "materialized"];
    const OF_TABLES: [&str; 8] = ["table", "index", "view", "sequence", "trigger", "rule", "policy", "statistics"];
    let Some(tokens) = tokens(body) else { return Some("what cannot be read".into()) };
    (0..tokens.len()).find_map(|at| {
        let (before, from) = tokens.split_at(at);
        let (word, behind) = from.split_first()?;
        if word.is("execute") {
            return Some("EXECUTE of a text that it puts together".into());
        }
        if !begins_statement(before) || !matches!(behind.first(), Some(Token::Name { .. })) {
            return None;
        }
        let what = behind.iter().find(|word| !word.is_any(&MODIFIERS))?;
        let verb = ["create", "alter", "drop", "grant", "revoke", "reassign", "import", "do"];
        let verb = verb.into_iter().find(|verb| word.is(verb))?;
        match (verb, what) {
            ("create" | "alter" | "drop", what) if what.is_any(&OF_TABLES) => None,
            ("create" | "alter" | "drop", Token::Name { name, .. }) => {
                Some(format!("{verb} {name}").to_uppercase().into())
            }
            _ => Some(verb.to_uppercase().into()),
        }
    })
}

impl Mentions {
    /// A word with which a statement may begin.
    fn note_statement(&mut self, word: &Token<'_>, before: &[Token<'_>], behind: &[Token<'_>]) {
        if word.is("execute") {
            self.unread.get_or_insert_with(|| "EXECUTE of a text that it puts together".into());
        }
        if !begins_statement(before) || !matches!(behind.first(), Some(Token::Name { .. })) {
            return;
        }
        if word.is("notify") {
            self.names.insert(call("pg_notify"));
        }
        if let Some(other) = OTHERS.iter().find(|other| word.is(other)) {
            self.unread.get_or_insert_with(|| other.to_ascii_uppercase().into());
        }
    }

    fn note_name(&mut self, parts: &[Box<str>], before: &[Token<'_>], behind: &[Token<'_>], truncates: bool) {
        let called = behind.first().is_some_and(|next| next.is_sign('('));
        let declares = behind.first().is_some_and(|next| next.is_sign('%'))
            && behind.get(1).is_some_and(|next| next.is_any(&["type", "rowtype"]));
        if declares {
            return;
        }
        let before: Vec<&Token<'_>> = before.iter().rev().filter(|word| !word.is("only")).take(2).collect();
        let verb = before.first().is_some_and(|word| word.is_any(&["into", "update", "table"]))
            || matches!(before[..], [from, delete] if from.is("from") && delete.is("delete"));
        let (written, scanned) = (verb || truncates, before.first().is_some_and(|word| word.is_any(&["from", "join"])));
        let (first, rest) = match parts {
            [] => return,
            [name] => (Mention { schema: None, name: name.clone(), called, written, scanned }, None),
            [schema, name] => {
                (Mention { schema: Some(schema.clone()), name: name.clone(), called, written, scanned }, None)
            }
            // A column of a table behind its schema, or a database before it.
            [first, second, third, ..] => (
                Mention { schema: Some(first.clone()), name: second.clone(), called: false, written, scanned },
                Some(Mention { schema: Some(second.clone()), name: third.clone(), called, written, scanned }),
            ),
        };
        self.names.extend(std::iter::once(first).chain(rest));
    }
}

/// Whether a statement may begin behind this.
pub(super) fn begins_statement(before: &[Token<'_>]) -> bool {
    before.last().is_none_or(|last| {
        last.is_sign(';') || last.is_sign('>') || last.is_any(&["begin", "then", "else", "loop", "atomic"])
    })
}

fn call(name: &str) -> Mention {
    Mention { schema: None, name: name.into(), called: true, written: false, scanned: false }
}

/// Whether what follows is the name of a type: it stands behind `::`.
fn is_type(before: &[Token<'_>]) -> bool {
    matches!(before, [.., a, b] if a.is_sign(':') && b.is_sign(':'))
}

/// The parts of the name that begins here.
pub(super) fn chain(tokens: &[Token<'_>]) -> Vec<Box<str>> {
    let mut parts = Vec::new();
    let mut rest = tokens;
    while let [Token::Name { name, .. }, after @ ..] = rest {
        parts.push(name.clone());
        match after {
            [dot, next @ ..] if dot.is_sign('.') => rest = next,
            _ => break,
        }
    }
    parts
}

/// Signs that stand side by side, cut where Postgres cuts them.
fn operators(tokens: &[(usize, Token<'_>)]) -> HashSet<Box<str>> {
    const SIGNS: &str = "+-*/<>=~!@#%^&|`?";
    let mut runs: Vec<(usize, String)> = Vec::new();
    for (at, token) in tokens {
        match (token, runs.last_mut()) {
            (Token::Sign(sign), Some((start, run))) if SIGNS.contains(*sign) && *start + run.len() == *at => {
                run.push(*sign);
            }
            (Token::Sign(sign), _) if SIGNS.contains(*sign) => runs.push((*at, sign.to_string())),
            _ => {}
        }
    }
    let mut found = HashSet::new();
    for (_, run) in runs {
        let mut name = &*run;
        // `=-1` is `=` and `-1`.
        if !name.contains(['~', '!', '@', '#', '%', '^', '&', '|', '`', '?']) {
            while name.len() > 1 && name.ends_with(['+', '-']) {
                let (rest, sign) = name.split_at(name.len() - 1);
                found.insert(sign.into());
                name = rest;
            }
        }
        found.insert(name.into());
    }
    found
}

/// The tokens of a text; `None` where something does not end.
pub(super) fn tokens(text: &str) -> Option<Vec<Token<'_>>> {
    Some(placed_tokens(text)?.into_iter().map(|(_, token)| token).collect())
}

/// The same, each with where it begins.
fn placed_tokens(text: &str) -> Option<Vec<(usize, Token<'_>)>> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (token, after) = if first.is_whitespace() {
            (None, rest.trim_start())
        } else if let Some(comment) = rest.strip_prefix("--") {
            (None, comment.split_once('\n').map_or("", |(_, after)| after))
        } else if rest.starts_with("/*") {
            (None, behind_comment(rest)?)
        } else {
            let (token, after) = token(rest, first)?;
            (Some((text.len() - rest.len(), token)), after)
        };
        tokens.extend(token);
        rest = after;
    }
    Some(tokens)
}

fn token(rest: &str, first: char) -> Option<(Token<'_>, &str)> {
    // Names in letters of their own.
    if rest.starts_with("u&\"") || rest.starts_with("U&\"") {
        return None;
    }
    if rest.starts_with("e'") || rest.starts_with("E'") {
        let (string, after) = quoted(rest.get(1..)?, '\'', true)?;
        return Some((Token::String(string), after));
    }
    match first {
        '\'' => quoted(rest, '\'', false).map(|(string, after)| (Token::String(string), after)),
        '"' => quoted(rest, '"', false)
            .map(|(name, after)| (Token::Name { name: name.replace("\"\"", "\"").into(), quoted: true }, after)),
        '$' => match dollar_quoted(rest) {
            Some(of) => of.map(|(string, after)| (Token::String(string), after)),
            None => Some((Token::Sign('$'), rest.get(1..)?)),
        },
        first if first.is_alphabetic() || first == '_' => {
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_' && c != '$').unwrap_or(rest.len());
            let (word, after) = rest.split_at(end);
            Some((Token::Name { name: word.to_ascii_lowercase().into(), quoted: false }, after))
        }
        first if first.is_ascii_digit() => {
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
            Some((Token::Number, rest.get(end..)?))
        }
        sign => Some((Token::Sign(sign), rest.get(sign.len_utf8()..)?)),
    }
}

/// What is between quotes, and what is behind them. `escapes`: a backslash makes the next character one of the text.
fn quoted(text: &str, quote: char, escapes: bool) -> Option<(&str, &str)> {
    let mut chars = text.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if escapes && c == '\\' {
            chars.next();
        } else if c == quote {
            if chars.peek().is_some_and(|(_, next)| *next == quote) {
                chars.next();
                continue;
            }
            return Some((text.get(1..at)?, text.get(at + 1..)?));
        }
    }
    None
}

/// `$tag$...$tag$`. `None`: it is none; `Some(None)`: it does not end.
fn dollar_quoted(text: &str) -> Option<Option<(&str, &str)>> {
    let end = text.get(1..)?.find('$')? + 2;
    let tag = text.get(..end)?;
    let name = tag.trim_matches('$');
    let is_tag =
        !name.starts_with(|c: char| c.is_ascii_digit()) && name.chars().all(|c| c.is_alphanumeric() || c == '_');
    is_tag.then(|| text.get(end..)?.split_once(tag))
}

/// What is behind a comment, which may have others in it.
fn behind_comment(text: &str) -> Option<&str> {
    let mut depth = 0usize;
    let mut rest = text;
    loop {
        let at = rest.find(['/', '*'])?;
        rest = rest.get(at..)?;
        if let Some(after) = rest.strip_prefix("/*") {
            depth += 1;
            rest = after;
        } else if let Some(after) = rest.strip_prefix("*/") {
            depth = depth.checked_sub(1)?;
            rest = after;
        } else {
            rest = rest.get(1..)?;
        }
        if depth == 0 {
            return Some(rest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each name with `()` if it is called and `!` if it is written.
    fn names(text: &str, of: Text) -> Vec<String> {
        let mut names: Vec<String> = mentions(text, of)
            .names
            .iter()
            .map(|mention| {
                let schema = mention.schema.as_ref().map(|schema| format!("{schema}.")).unwrap_or_default();
                let (called, written) =
                    (if mention.called { "()" } else { "" }, if mention.written { "!" } else { "" });
                format!("{schema}{}{called}{written}", mention.name)
            })
            .collect();
        names.sort();
        names
    }

    fn has(text: &str, name: &str) -> bool {
        names(text, Text::Body).iter().any(|found| found == name)
    }

    #[test]
    fn names_are_found_whatever_they_are_written_like() {
        assert!(has("BEGIN NEW.v := (SELECT count(*) FROM Acc); END", "acc"));
        assert!(has("SELECT /* a /* b */ c */ x FROM \"Acc\" -- acc\n", "Acc"));
        assert!(!has("SELECT 'acc', $$acc$$, $t$ acc $t$, E'\\'acc' -- acc", "acc"));
        assert!(has("SELECT a.x FROM public.acc a, t", "public.acc"));
        assert!(has("SELECT a.x FROM public.acc a, t", "t"));
        assert!(!has("BEGIN NEW.acc := 1; END", "acc"));
        assert!(!has("DECLARE r acc%ROWTYPE; n public.acc.id%TYPE; BEGIN END", "acc"));
        assert!(!has("DECLARE r acc%ROWTYPE; n public.acc.id%TYPE; BEGIN END", "public.acc"));
        assert_eq!(names("(public.total() = 3)", Text::Printed), ["public.total()"]);
        assert_eq!(
            names("('now'::text)::date < CURRENT_DATE", Text::Printed),
            ["current_date", "current_date()", "now()"]
        );
    }

    #[test]
    fn operators_are_cut_as_postgres_cuts_them() {
        let of = |text: &str| {
            let mut found: Vec<Box<str>> = mentions(text, Text::Body).operators.into_iter().collect();
            found.sort();
            found.join(" ")
        };
        assert_eq!(of("SELECT ##@ 1, a =%= b, c OPERATOR(public.@-) d, 'x <-> y', \"<=>\" -- <<"), "##@ =%= @-");
        assert_eq!(of("SELECT a=-1, b < -c /* >> */, d<=e*f"), "* - < <= =");
    }

    #[test]
    fn a_name_behind_a_verb_is_written() {
        for text in ["INSERT INTO t(a) VALUES (1)", "UPDATE ONLY t SET a = 1", "DELETE FROM t", "TRUNCATE TABLE a, t"] {
            assert!(names(text, Text::Body).iter().any(|name| name.starts_with('t') && name.ends_with('!')), "{text}");
        }
        assert!(has("SELECT a FROM t FOR UPDATE", "t"));
    }

    #[test]
    fn what_concerns_every_server_is_told() {
        for (body, what) in [
            ("BEGIN EXECUTE format('update %I set a = 1', t); END", Some("EXECUTE of a text that it puts together")),
            (
                "BEGIN CREATE TYPE mood AS ENUM ('a'); EXCEPTION WHEN duplicate_object THEN null; END",
                Some("CREATE TYPE"),
            ),
            ("BEGIN IF a THEN create or replace function f() RETURNS int; END IF; END", Some("CREATE FUNCTION")),
            ("BEGIN GRANT SELECT ON t TO u; END", Some("GRANT")),
            ("BEGIN DROP SCHEMA s; END", Some("DROP SCHEMA")),
            ("BEGIN CREATE TABLE t (a int); ALTER TABLE t ADD b int; CREATE UNIQUE INDEX i ON t (a); END", None),
            ("BEGIN CREATE TEMP TABLE t (a int); DROP MATERIALIZED VIEW v; PERFORM 1; RAISE NOTICE 'grant'; END", None),
            ("BEGIN 'a", Some("what cannot be read")),
        ] {
            assert_eq!(hidden(body).as_deref(), what, "{body}");
        }
    }

    #[test]
    fn what_a_text_does_not_say_is_told() {
        let unread = |text: &str| mentions(text, Text::Body).unread.is_some();
        assert!(unread("BEGIN EXECUTE 'SELECT 1'; END"));
        assert!(unread("BEGIN RETURN QUERY EXECUTE format('SELECT %I', a); END"));
        assert!(unread("BEGIN CREATE TEMP TABLE t (a int); END"));
        assert!(unread("BEGIN IF a THEN DROP TABLE t; END IF; END"));
        assert!(unread("SELECT 'a"));
        assert!(unread("SELECT U&\"d\\0061t\" FROM t"));
        assert!(!unread("BEGIN comment := 'x'; NEW.at := now(); RETURN NEW; END"));
        assert!(!unread("INSERT INTO t VALUES (1) ON CONFLICT DO NOTHING"));
        assert!(has("BEGIN NOTIFY ch; END", "pg_notify()"));
        assert!(has("BEGIN SET LOCAL x = 1; END", "set_config()"));
    }
}

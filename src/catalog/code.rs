//! What code that the router does not run itself could leave behind in its session, by the words that it is written in.

use crate::catalog::Sets;
use crate::catalog::placeholders::{Makes, Placeholders};

const SET_CONFIG: &str = "set_config";
const SET_SEED: &str = "setseed";
/// What the names of the functions have in common that take an advisory lock for the session. Those for the transaction have `xact` in them.
const SESSION_LOCK: &str = "advisory_lock";
/// And of those that say whose changes the session repeats.
const ORIGIN: &str = "replication_origin_session";

/// Whether a function is called that changes a setting.
pub fn calls_set_config(text: &str) -> bool {
    text.to_ascii_lowercase().contains(SET_CONFIG)
}

/// What an expression, or a definition that computes something, may leave behind.
pub fn leaves(text: &str) -> Sets {
    let lower = text.to_ascii_lowercase();
    let sets = if lower.contains(SET_CONFIG) { Sets::Lasting } else { Sets::Nothing };
    sets.and(locks(&lower))
}

/// Whether the name is that of a function of Postgres's own that takes an advisory lock for the session.
pub fn is_session_lock(name: &str) -> bool {
    locks(name) == Sets::Locks
}

fn locks(lower: &str) -> Sets {
    if lower.contains(ORIGIN) {
        return Sets::Lasting;
    }
    if lower.contains(SESSION_LOCK) { Sets::Locks } else { Sets::Nothing }
}

/// What code may set: the body of a function, or the text of DO with its body in whatever quotes.
pub fn sets(text: &str) -> Sets {
    let lower = text.to_ascii_lowercase();
    let calls = lower.split(SET_CONFIG).skip(1).map(|call| match ends_locally(call) {
        true => Sets::Locally,
        false => Sets::Lasting,
    });
    // Random numbers are those of the session, too.
    let seeds = lower.contains(SET_SEED).then_some(Sets::Lasting);
    Sets::of_all(calls.chain(seeds).chain(statements(&lower)).chain([locks(&lower)]))
}

/// The custom settings that code names where it sets something, if it names them in full.
pub fn makes(text: &str) -> Makes {
    let lower = text.to_ascii_lowercase();
    let called = lower.split(SET_CONFIG).skip(1).map(first_argument);
    let words = words_of(&lower);
    let set = set_at(&words).filter_map(|(at, _)| name_behind(words.get(at + 1..).unwrap_or_default()));
    let names: Option<Placeholders> = called.chain(set).collect();
    names.map_or(Makes::Unknown, Makes::These)
}

/// The name that set_config is called with; `None`: it is computed. Code in quotes doubles those of the name.
fn first_argument(call: &str) -> Option<String> {
    let behind = call.trim_start().strip_prefix('(')?.trim_start().strip_prefix('\'')?;
    let (name, behind) = behind.trim_start_matches('\'').split_once('\'')?;
    let behind = behind.trim_start_matches('\'').trim_start();
    let behind = behind.strip_prefix("::text").unwrap_or(behind).trim_start();
    (behind.starts_with(',') && name.chars().all(is_of_name)).then(|| name.to_owned())
}

/// The name behind SET or RESET, itself `None` where it is computed or quoted; no name: one of the forms without.
fn name_behind(words: &[&str]) -> Option<Option<String>> {
    let words = match words {
        ["local" | "session", rest @ ..] => rest,
        words => words,
    };
    let mut name = String::new();
    for pair in words.chunks(2) {
        match pair {
            [part, "."] if part.chars().all(is_of_name) => name.extend([*part, "."]),
            [part, ..] if part.chars().all(is_of_name) => return Some(Some(name + part)),
            _ => return Some(None),
        }
    }
    None
}

fn is_of_name(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '.' | '$')
}

/// Whether the arguments behind the name of set_config end with `true`.
fn ends_locally(call: &str) -> bool {
    let call = call.split(';').next().unwrap_or_default();
    let mut parts = call.split(')').map(str::trim_end);
    parts.any(|part| part.strip_suffix("true").is_some_and(|arguments| arguments.trim_end().ends_with(',')))
}

/// SET and RESET where a statement may begin.
fn statements(lower: &str) -> impl Iterator<Item = Sets> {
    let words = words_of(lower);
    set_at(&words).map(|(_, sets)| sets).collect::<Vec<_>>().into_iter()
}

fn words_of(lower: &str) -> Vec<&str> {
    let lines = lower.lines().map(|line| line.split("--").next().unwrap_or_default());
    lines.flat_map(words).collect()
}

/// Where they are.
fn set_at<'a>(words: &'a [&'a str]) -> impl Iterator<Item = (usize, Sets)> + 'a {
    (0..words.len()).filter_map(move |at| {
        let begins = at.checked_sub(1).and_then(|before| words.get(before)).is_none_or(|word| begins_statement(word));
        let sets = match (*words.get(at)?, words.get(at + 1).copied()) {
            ("set" | "reset", _) if !begins => None,
            ("set", Some("local")) => Some(Sets::Locally),
            ("set", Some("transaction" | "constraints")) => None,
            ("set" | "reset", _) => Some(Sets::Lasting),
            _ => None,
        };
        sets.map(|sets| (at, sets))
    })
}

/// Words, and each sign for itself.
fn words(line: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while let Some(first) = rest.chars().next() {
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        let (word, after) = rest.split_at(end.max(first.len_utf8()));
        words.push(word);
        rest = after.trim_start();
    }
    words
}

/// Whether a statement may stand behind this word or sign.
fn begins_statement(before: &str) -> bool {
    matches!(before, ";" | "'" | "$" | ">" | "/" | "begin" | "then" | "else" | "loop")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_custom_settings_are_found_where_they_are_written() {
        for (code, found) in [
            ("SELECT set_config('App.Tenant', f(b), true)", Some("app.tenant")),
            ("PERFORM pg_catalog.set_config( 'a.b'::text , x, true); SET LOCAL c.d = 1", Some("a.b,c.d")),
            ("DO 'BEGIN PERFORM set_config(''a.b'', x, true); END'", Some("a.b")),
            ("DO $$ BEGIN SET a.b.c TO 1; RESET d.e; SET LOCAL work_mem = '1MB'; END $$", Some("a.b.c,d.e")),
            ("BEGIN PERFORM set_config(name, x, true); END", None),
            ("BEGIN PERFORM set_config('a.' || name, x, true); END", None),
            ("BEGIN EXECUTE 'SET LOCAL ' || name || ' = 1'; END", None),
            ("BEGIN EXECUTE format('SET LOCAL %I = 1', name); END", None),
            ("BEGIN SET LOCAL \"a\".b = 1; END", None),
            ("SELECT 1", Some("")),
        ] {
            let names = match makes(code) {
                Makes::These(names) => Some(names.iter().collect::<Vec<_>>().join(",")),
                Makes::Unknown => None,
            };
            assert_eq!(names.as_deref(), found, "{code}");
        }
    }

    #[test]
    fn settings_are_changed_where_a_statement_begins() {
        for (code, found) in [
            ("DO $$ BEGIN SET search_path TO a; END $$", Sets::Lasting),
            ("DO $body$ BEGIN PERFORM 1; reset all; END $body$", Sets::Lasting),
            ("DO 'BEGIN IF true THEN SET LOCAL x = 1; END IF; END'", Sets::Locally),
            ("DO $$ BEGIN EXECUTE 'SET TimeZone TO ''UTC'''; END $$", Sets::Lasting),
            ("DO $$ BEGIN -- UPDATE t\n SET x TO y; END $$", Sets::Lasting),
            ("DO $$ BEGIN PERFORM Set_Config('a.b', 'c', false); END $$", Sets::Lasting),
            ("SET x TO 1", Sets::Lasting),
            ("SELECT set_config('a', f(b), true)", Sets::Locally),
            ("BEGIN PERFORM SetSeed(0.5); END", Sets::Lasting),
            ("BEGIN PERFORM pg_replication_origin_session_setup('a'); END", Sets::Lasting),
            ("SELECT set_config('a', b, TRUE ), set_config('c', 'true', false)", Sets::Lasting),
            ("BEGIN PERFORM set_config('a', b, is_local); PERFORM f(1, true); END", Sets::Lasting),
            ("BEGIN SET TRANSACTION READ ONLY; SET CONSTRAINTS ALL DEFERRED; END", Sets::Nothing),
            ("UPDATE t SET a = 1; INSERT INTO t VALUES (1) ON CONFLICT (a) DO UPDATE SET a = 2", Sets::Nothing),
            ("DO $$ BEGIN UPDATE t AS x\n SET a = 1; END $$", Sets::Nothing),
            ("CALL offset(1)", Sets::Nothing),
            ("BEGIN PERFORM pg_advisory_xact_lock(1); PERFORM pg_advisory_unlock(1); END", Sets::Nothing),
            ("BEGIN PERFORM pg_try_advisory_lock_shared(1, 2); END", Sets::Locks),
            ("BEGIN SET LOCAL x = 1; PERFORM pg_advisory_lock(1); END", Sets::Lasting),
        ] {
            assert_eq!(sets(code), found, "{code}");
        }
    }
}

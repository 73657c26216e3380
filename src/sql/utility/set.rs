//! SET, RESET and SHOW in all their forms.

use super::cursor::{self, Cursor};
use super::modes::transaction_modes;
use super::{SetStatement, StatementKind, TransactionStatement};
use crate::catalog::placeholders::Placeholders;
use crate::sql::lexer::TokenKind;
use crate::sql::template::SlotKind;

/// Settings of this prefix are the router's own.
const ROUTER: &str = "pgloom.";

/// Behind the word SET.
pub(super) fn set(cursor: &mut Cursor<'_>) -> StatementKind {
    if cursor.is("constraints") && !is_assignment(cursor) {
        cursor.take();
        return match constraints(&mut cursor.clone()).and_then(|()| cursor.rest(cursor.position())) {
            Some(which) => StatementKind::Transaction(TransactionStatement::SetConstraints(which.into())),
            None => StatementKind::Set(SetStatement::Opaque),
        };
    }
    let local = cursor.is("local") && !is_assignment(cursor);
    if local || cursor.is("session") && !begins_a_form(cursor) {
        cursor.take();
    }
    let statement = form(cursor, local).filter(|_| cursor.at_end());
    StatementKind::Set(statement.unwrap_or(SetStatement::Opaque))
}

/// `ALL | name, ...` and the mode; nothing behind it.
fn constraints(cursor: &mut Cursor<'_>) -> Option<()> {
    if !cursor.accept("all") {
        loop {
            cursor.qualified_name()?;
            if !cursor.accept_punct(b',') {
                break;
            }
        }
    }
    ((cursor.accept("deferred") || cursor.accept("immediate")) && cursor.at_end()).then_some(())
}

/// SESSION is also the first word of two of the forms, and could be a setting's name.
fn begins_a_form(cursor: &Cursor<'_>) -> bool {
    let mut ahead = cursor.clone();
    ahead.take();
    ahead.is_any(&["authorization", "characteristics"]) || is_assignment(cursor)
}

fn form(cursor: &mut Cursor<'_>, local: bool) -> Option<SetStatement> {
    if cursor.is("transaction") && !is_assignment(cursor) {
        cursor.take();
        if cursor.accept("snapshot") {
            cursor.string()?;
            return Some(SetStatement::TransactionSnapshot);
        }
        return Some(SetStatement::Transaction(transaction_modes(cursor)?.into()));
    }
    if cursor.accept_all(&["session", "characteristics", "as", "transaction"]) {
        let modes = transaction_modes(cursor)?;
        return (!local).then(|| SetStatement::Characteristics(modes.into()));
    }
    let (name, value): (Box<str>, Box<str>) = if cursor.accept_all(&["time", "zone"]) {
        ("timezone".into(), time_zone(cursor)?)
    } else if cursor.accept_all(&["session", "authorization"]) {
        ("session_authorization".into(), one_value(cursor)?)
    } else if cursor.accept_all(&["xml", "option"]) {
        let value = cursor.is_any(&["document", "content"]).then(|| one_value(cursor)).flatten()?;
        ("xmloption".into(), value)
    } else if cursor.is("names") && !is_assignment(cursor) {
        cursor.take();
        let value = if cursor.at_end() { "DEFAULT".into() } else { one_value(cursor)? };
        ("client_encoding".into(), value)
    } else if cursor.is_any(&["role", "schema"]) && !is_assignment(cursor) {
        let name = if cursor.is("role") { "role" } else { "search_path" };
        cursor.take();
        if cursor.is("default") {
            return None;
        }
        (name.into(), one_value(cursor)?)
    } else {
        let name = setting_name(cursor)?;
        if cursor.accept_all(&["from", "current"]) {
            // What a transaction is is no setting of the session.
            let own = name.starts_with("transaction_") || name.starts_with(ROUTER);
            return (!own).then_some(SetStatement::Current { name, local });
        }
        if !cursor.accept("to") && !cursor.accept_operator("=") {
            return None;
        }
        // Only TIME ZONE LOCAL means the default: here it is the name of a zone.
        let is_local = *name == *"timezone" && cursor.is("local");
        let value = value_list(cursor)?;
        (name, if is_local && value.eq_ignore_ascii_case("local") { "'local'".into() } else { value })
    };
    let default = value.eq_ignore_ascii_case("default");
    if let Some(own) = name.strip_prefix(ROUTER) {
        return Some(SetStatement::Router { name: own.into(), value: (!default).then_some(value), local });
    }
    Some(match (local, default) {
        (true, _) => SetStatement::Local { name, value },
        (false, true) => SetStatement::Reset(name),
        (false, false) => SetStatement::Session { name, value },
    })
}

/// The word here is a setting's name: `=`, TO, `.` or FROM follows it.
fn is_assignment(cursor: &Cursor<'_>) -> bool {
    let mut ahead = cursor.clone();
    ahead.take();
    ahead.is_any(&["to", "from"]) || ahead.is_operator("=") || ahead.is_punct(b'.')
}

/// The one word or string of a value, as every session reads it.
fn one_value(cursor: &mut Cursor<'_>) -> Option<Box<str>> {
    let token = cursor.take()?;
    let simple = match token.kind {
        TokenKind::Word | TokenKind::Quoted => true,
        // `U&'...'` is read by some sessions only.
        TokenKind::Literal(kind) => kind != SlotKind::Other,
        _ => false,
    };
    simple.then(|| cursor.everywhere(token).into())
}

/// A list of words, strings and numbers, as every session reads it.
fn value_list(cursor: &mut Cursor<'_>) -> Option<Box<str>> {
    let start = cursor.position();
    let mut ahead = cursor.clone();
    let (mut members, mut default) = (0, false);
    loop {
        default |= ahead.is("default");
        element(&mut ahead)?;
        members += 1;
        if !ahead.accept_punct(b',') {
            break;
        }
    }
    // DEFAULT is no member of a list.
    if !ahead.at_end() || default && members > 1 {
        return None;
    }
    let mut parts = cursor.clone();
    let written = cursor.rest(start)?;
    if !written.contains('\\') {
        return Some(written.into());
    }
    let (mut value, end) = (String::new(), cursor.last_end());
    while let Some(token) = parts.peek().filter(|token| token.end <= end) {
        if !value.is_empty() {
            value.push(' ');
        }
        value.push_str(&parts.everywhere(token));
        parts.take();
    }
    Some(value.into())
}

/// `zone_value` as something that `SET timezone TO` takes.
fn time_zone(cursor: &mut Cursor<'_>) -> Option<Box<str>> {
    if cursor.accept("local") {
        return Some("DEFAULT".into());
    }
    if !cursor.is("interval") {
        return value_list(cursor).filter(|value| !is_list(value));
    }
    cursor.take();
    let value = cursor.string()?;
    // With a qualifier the number's meaning can differ; `-08:00` HOUR TO MINUTE is what the standard writes.
    let plain = value.contains(':') && cursor.accept_all(&["hour", "to", "minute"]) || cursor.at_end();
    if !plain || value.contains('\'') || value.contains('\\') {
        return None;
    }
    Some(format!("'INTERVAL ''{value}'''").into())
}

/// `name[.name]`, lower-cased: settings are found without regard to case, quoted or not.
fn setting_name(cursor: &mut Cursor<'_>) -> Option<Box<str>> {
    let mut ahead = cursor.clone();
    loop {
        let part = ahead.take()?;
        let word = ahead.source(part).to_ascii_lowercase();
        if part.kind == TokenKind::Word && cursor::RESERVED.binary_search(&&*word).is_ok() {
            return None;
        }
        if !ahead.accept_punct(b'.') {
            break;
        }
    }
    Some(cursor.qualified_name()?.join(".").to_ascii_lowercase().into())
}

/// The forms that RESET and SHOW share. `all` is a name here.
fn named(cursor: &mut Cursor<'_>) -> Option<Box<str>> {
    let name = if cursor.accept_all(&["time", "zone"]) {
        "timezone".into()
    } else if cursor.accept_all(&["session", "authorization"]) {
        "session_authorization".into()
    } else if cursor.accept_all(&["transaction", "isolation", "level"]) {
        "transaction_isolation".into()
    } else if cursor.accept("all") {
        "all".into()
    } else {
        setting_name(cursor)?
    };
    cursor.at_end().then_some(name)
}

/// Behind the word RESET.
pub(super) fn reset(cursor: &mut Cursor<'_>) -> StatementKind {
    let all = cursor.is("all");
    StatementKind::Set(match named(cursor) {
        Some(_) if all => SetStatement::ResetAll,
        Some(name) => match name.strip_prefix(ROUTER) {
            Some(own) => SetStatement::Router { name: own.into(), value: None, local: false },
            None => SetStatement::Reset(name),
        },
        None => SetStatement::Opaque,
    })
}

/// Behind the word SHOW.
pub(super) fn show(cursor: &mut Cursor<'_>) -> StatementKind {
    match named(cursor) {
        Some(name) => match name.strip_prefix(ROUTER) {
            Some(own) => StatementKind::ShowRouter(own.into()),
            None => StatementKind::Show(name),
        },
        None => StatementKind::Unclear,
    }
}

/// The custom settings that a definition names (`CREATE FUNCTION ... SET a.b TO ...`): Postgres makes them when it checks it.
pub fn settings_of_definition(text: &str) -> Placeholders {
    let mut cursor = Cursor::new(text);
    let mut names = Placeholders::default();
    while !cursor.at_end() {
        let is_set = cursor.is_any(&["set", "reset"]);
        if cursor.take().is_none() {
            break;
        }
        if let Some(name) = is_set.then(|| setting_name(&mut cursor.clone())).flatten() {
            names.add(&name);
        }
    }
    names
}

/// The value of `SET name TO value` as the setting receives it: one string, number or word, unquoted.
/// `None`: a list, or nothing of these.
pub fn plain_value(value: &str) -> Option<Box<str>> {
    let mut cursor = Cursor::new(value);
    let text = element(&mut cursor)?;
    cursor.at_end().then_some(text)
}

/// One member of a value list: words are folded as Postgres's parser folds them.
fn element(cursor: &mut Cursor<'_>) -> Option<Box<str>> {
    let sign = match () {
        () if cursor.accept_operator("-") => "-",
        () if cursor.accept_operator("+") => "",
        () => return word_or_string(cursor),
    };
    match cursor.peek()?.kind {
        TokenKind::Literal(SlotKind::Integer | SlotKind::Number) => {
            let token = cursor.take()?;
            Some(format!("{sign}{}", cursor.source(token)).into())
        }
        _ => None,
    }
}

fn word_or_string(cursor: &mut Cursor<'_>) -> Option<Box<str>> {
    let token = cursor.peek()?;
    match token.kind {
        TokenKind::Literal(SlotKind::Integer | SlotKind::Number) => {
            cursor.take();
            Some(cursor.source(token).into())
        }
        TokenKind::Literal(_) => cursor.string().map(Into::into),
        _ => cursor.name(),
    }
}

/// The schemas of a `SET search_path TO value`, as the catalog stores their names; `$user` is replaced by `user`.
///
/// `value` is SQL: a list of words and strings. Each member is itself one name, as Postgres quotes it when it joins the list
/// (so `'a, b'` as a string is the one schema `a, b`). `None`: not such a list, or DEFAULT.
pub fn search_path_value(value: &str, user: &str) -> Option<Vec<Box<str>>> {
    let mut cursor = Cursor::new(value);
    if cursor.is("default") {
        return None;
    }
    let mut path = Vec::new();
    loop {
        let member = element(&mut cursor)?;
        // Joined with `quote_identifier` and split again, a member is cut like any name; an empty one names nothing.
        match &*member {
            "$user" => path.push(cursor::cut_name(user).into()),
            "" => {}
            name => path.push(cursor::cut_name(name).into()),
        }
        if !cursor.accept_punct(b',') {
            break;
        }
    }
    cursor.at_end().then_some(path)
}

/// Whether the value of a `SET name TO value`, which is SQL, has more than one member.
pub fn is_list(value: &str) -> bool {
    let mut cursor = Cursor::new(value);
    element(&mut cursor).is_some() && cursor.accept_punct(b',')
}

/// The text of a `SET name TO value` whose setting is a list that is not quoted: its members as the setting receives them.
///
/// `value` is SQL. `None`: no such list, or DEFAULT.
pub fn list_text(value: &str) -> Option<String> {
    let mut cursor = Cursor::new(value);
    let mut text = String::new();
    loop {
        if cursor.is("default") {
            return None;
        }
        text.push_str(&element(&mut cursor)?);
        if !cursor.accept_punct(b',') {
            break;
        }
        text.push_str(", ");
    }
    cursor.at_end().then_some(text)
}

/// The schemas of a search_path as `current_setting`, startup packets and ParameterStatus give it.
pub fn search_path_setting(setting: &str, user: &str) -> Option<Vec<Box<str>>> {
    let names = names_of_list(setting)?.into_iter();
    let schema = |name: Box<str>| match &*name {
        "$user" => cursor::cut_name(user).into(),
        _ => name,
    };
    Some(names.filter(|name| !name.is_empty()).map(schema).collect())
}

/// `SplitIdentifierString`: names joined by commas, unquoted ones folded. `None`: it is no such list.
pub(super) fn names_of_list(setting: &str) -> Option<Vec<Box<str>>> {
    let mut names = Vec::new();
    let mut rest = setting.trim_start_matches(is_space);
    if rest.is_empty() {
        return Some(names);
    }
    loop {
        if let Some(quoted) = rest.strip_prefix('"') {
            let mut end = 0;
            loop {
                end += quoted.get(end..)?.find('"')?;
                if !quoted.get(end + 1..)?.starts_with('"') {
                    break;
                }
                end += 2;
            }
            names.push(cursor::cut_name(&quoted.get(..end)?.replace("\"\"", "\"")).into());
            rest = quoted.get(end + 1..)?;
        } else {
            let end = rest.find(|c| c == ',' || is_space(c)).unwrap_or(rest.len());
            if end == 0 {
                return None;
            }
            names.push(cursor::fold_name(rest.get(..end)?));
            rest = rest.get(end..)?;
        }
        rest = rest.trim_start_matches(is_space);
        if rest.is_empty() {
            return Some(names);
        }
        rest = rest.strip_prefix(',')?.trim_start_matches(is_space);
    }
}

/// `scanner_isspace`
fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c')
}

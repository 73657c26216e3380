//! `SELECT set_config('name', 'value', false), ...`: a SET in the form of a query.

use super::cursor::Cursor;
use crate::ids::Oid;
use crate::sql::facts::parameter_index;
use crate::sql::lexer::TokenKind;
use crate::types::oid;

/// One call with its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigCall {
    /// Lower-cased: settings are found without regard to case.
    pub name: Box<str>,
    /// As the setting itself reads it: a list is not quoted once more, as it is by SET. `None`: back to the default.
    pub value: Option<Box<str>>,
    /// Ends with the transaction.
    pub local: bool,
}

/// The calls of a query in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigCalls {
    pub calls: Vec<ConfigCall>,
    /// The setting by whose row of `pg_settings` the calls are made: if there is no such setting, none is.
    pub row_of: Option<Box<str>>,
}

/// A query of calls alone, or of such beside one row of `pg_settings`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigQuery {
    /// The names of its columns.
    pub columns: Box<[Box<str>]>,
    /// The types that Postgres gives to its parameters.
    pub parameters: Box<[Oid]>,
}

enum Argument {
    Null,
    Text(Box<str>),
    Bool(bool),
    /// `$n` as n - 1.
    Parameter(u16),
}

/// `None`: another query, or arguments that are neither literals nor parameters.
pub fn config_query(text: &str) -> Option<ConfigQuery> {
    let (calls, _) = calls(text)?;
    let mut parameters: Vec<Option<Oid>> = Vec::new();
    for ([name, value, local], _) in &calls {
        for (argument, of) in [(name, oid::TEXT), (value, oid::TEXT), (local, oid::BOOL)] {
            let Argument::Parameter(index) = argument else { continue };
            let index = usize::from(*index);
            parameters.resize(parameters.len().max(index + 1), None);
            let known = parameters.get_mut(index)?;
            if *known.get_or_insert(of) != of {
                return None;
            }
        }
    }
    // Of one that is not used Postgres cannot tell the type.
    let parameters = parameters.into_iter().collect::<Option<_>>()?;
    Some(ConfigQuery { columns: calls.into_iter().map(|(_, column)| column).collect(), parameters })
}

/// `None`: no such query, or one whose arguments are not all literals.
pub fn config_calls(text: &str) -> Option<ConfigCalls> {
    let literal = |([name, value, local], _): ([Argument; 3], Box<str>)| {
        let Argument::Text(name) = name else { return None };
        let value = match value {
            Argument::Text(value) => Some(value),
            Argument::Null => None,
            Argument::Bool(_) | Argument::Parameter(_) => return None,
        };
        let Argument::Bool(local) = local else { return None };
        Some(ConfigCall { name: name.to_ascii_lowercase().into(), value, local })
    };
    let (calls, row_of) = calls(text)?;
    Some(ConfigCalls { calls: calls.into_iter().map(literal).collect::<Option<_>>()?, row_of })
}

/// The query with values, written in SQL, in the place of its parameters.
pub fn config_bound(text: &str, values: &[String]) -> Option<String> {
    bound(text, values)
}

pub(super) fn bound(text: &str, values: &[String]) -> Option<String> {
    let mut cursor = Cursor::new(text);
    let (mut bound, mut copied) = (String::new(), 0);
    while let Some(token) = cursor.take() {
        if token.kind != TokenKind::Parameter {
            continue;
        }
        let index = usize::from(parameter_index(cursor.source(token))?);
        bound.push_str(text.get(copied..token.start)?);
        bound.push_str(values.get(index)?);
        copied = token.end;
    }
    bound.push_str(text.get(copied..)?);
    Some(bound)
}

/// Calls with the names of their columns.
type Calls = Vec<([Argument; 3], Box<str>)>;

fn calls(text: &str) -> Option<(Calls, Option<Box<str>>)> {
    let mut cursor = Cursor::new(text);
    if !cursor.accept("select") {
        return None;
    }
    let mut calls = Vec::new();
    loop {
        let call = call(&mut cursor)?;
        let column = if cursor.accept("as") {
            cursor.name()?
        } else if cursor.is_punct(b',') || cursor.at_end() || cursor.is("from") {
            "set_config".into()
        } else if cursor.is_any(&CLAUSES) {
            return None;
        } else {
            cursor.name()?
        };
        calls.push((call, column));
        if !cursor.accept_punct(b',') {
            break;
        }
    }
    let row_of = if cursor.accept("from") { Some(one_setting(&mut cursor)?) } else { None };
    cursor.at_end().then_some((calls, row_of))
}

/// `pg_settings WHERE name = '...'`, or the function behind that view.
fn one_setting(cursor: &mut Cursor<'_>) -> Option<Box<str>> {
    let relation = cursor.qualified_name()?;
    let name = match relation.as_slice() {
        [name] => name,
        [schema, name] if &**schema == "pg_catalog" => name,
        _ => return None,
    };
    match &**name {
        "pg_settings" => {}
        "pg_show_all_settings" => (cursor.accept_punct(b'(') && cursor.accept_punct(b')')).then_some(())?,
        _ => return None,
    }
    let is_name = cursor.accept("where") && cursor.accept("name") && cursor.accept_operator("=");
    let of = is_name.then(|| cursor.string()).flatten()?;
    Some(of.into())
}

/// Words that end a select list. No name without AS is one of them.
const CLAUSES: [&str; 11] =
    ["where", "group", "having", "window", "order", "limit", "offset", "fetch", "for", "into", "union"];

fn call(cursor: &mut Cursor<'_>) -> Option<[Argument; 3]> {
    let function = cursor.qualified_name()?;
    match function.as_slice() {
        [name] if &**name == "set_config" => {}
        [schema, name] if &**schema == "pg_catalog" && &**name == "set_config" => {}
        _ => return None,
    }
    let comma = |cursor: &mut Cursor<'_>| cursor.accept_punct(b',').then_some(());
    cursor.accept_punct(b'(').then_some(())?;
    let name = argument(cursor, &["text"])?;
    comma(cursor)?;
    let value = argument(cursor, &["text"])?;
    comma(cursor)?;
    let local = argument(cursor, &["bool", "boolean"])?;
    // What is not told is not local, and a name must be told: that is the server's to say.
    if matches!(name, Argument::Null | Argument::Bool(_)) || matches!(value, Argument::Bool(_)) {
        return None;
    }
    let local = match local {
        Argument::Text(text) => Argument::Bool(parse_bool(&text)?),
        Argument::Null => return None,
        local => local,
    };
    cursor.accept_punct(b')').then_some([name, value, local])
}

/// A literal or parameter, which may be cast to what it is anyway.
fn argument(cursor: &mut Cursor<'_>, types: &[&str]) -> Option<Argument> {
    let argument = match cursor.peek()?.kind {
        TokenKind::Parameter => {
            let token = cursor.take()?;
            Argument::Parameter(parameter_index(cursor.source(token))?)
        }
        TokenKind::Literal(_) => Argument::Text(cursor.string()?.into()),
        _ if cursor.accept("null") => Argument::Null,
        _ if cursor.accept("true") => Argument::Bool(true),
        _ if cursor.accept("false") => Argument::Bool(false),
        _ => return None,
    };
    if cursor.accept_operator("::") && !types.iter().any(|name| cursor.accept(name)) {
        return None;
    }
    Some(argument)
}

/// `boolin`, without the words that are cut short.
pub fn parse_bool(text: &str) -> Option<bool> {
    match &*text.trim_ascii().to_ascii_lowercase() {
        "t" | "true" | "y" | "yes" | "on" | "1" => Some(true),
        "f" | "false" | "n" | "no" | "off" | "0" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn alone(calls: impl IntoIterator<Item = ConfigCall>) -> Option<ConfigCalls> {
        Some(ConfigCalls { calls: calls.into_iter().collect(), row_of: None })
    }

    fn call(name: &str, value: Option<&str>, local: bool) -> ConfigCall {
        ConfigCall { name: name.into(), value: value.map(Into::into), local }
    }

    #[test]
    fn calls_with_literals_are_read() {
        assert_eq!(
            config_calls("SELECT pg_catalog.set_config('Search_Path', '', false);"),
            alone([call("search_path", Some(""), false)])
        );
        assert_eq!(
            config_calls("select set_config('a.b', E'x\\'y', TRUE) AS One, SET_CONFIG('c', NULL, false) \"Two\""),
            alone([call("a.b", Some("x'y"), true), call("c", None, false)])
        );
    }

    #[test]
    fn calls_beside_the_row_of_one_setting_are_read() {
        for from in
            ["pg_show_all_settings()", "pg_catalog.pg_show_all_settings( )", "pg_settings", "PG_CATALOG.pg_settings"]
        {
            let sql = format!("SELECT set_config('bytea_output','hex',false) FROM {from} WHERE name = 'bytea_output'");
            let read = config_calls(&sql).unwrap();
            assert_eq!(read.calls, [call("bytea_output", Some("hex"), false)], "{sql}");
            assert_eq!(read.row_of.as_deref(), Some("bytea_output"), "{sql}");
            assert_eq!(*config_query(&sql).unwrap().columns, ["set_config".into()], "{sql}");
        }
        for from in [
            "pg_settings",
            "pg_settings WHERE name = 'a' OR true",
            "pg_settings WHERE name LIKE 'a'",
            "pg_settings, t WHERE name = 'a'",
            "pg_settings s WHERE name = 'a'",
            "app.pg_settings WHERE name = 'a'",
            "pg_show_all_settings WHERE name = 'a'",
        ] {
            assert_eq!(config_calls(&format!("SELECT set_config('a', 'b', false) FROM {from}")), None, "{from}");
        }
    }

    #[test]
    fn everything_else_is_a_query() {
        for sql in [
            "SELECT set_config('a', $2, false)",
            "SELECT set_config('a', $1, $1)",
            "SELECT set_config('a', $1::int, false)",
            "SELECT set_config('a', 'b', id = 1) FROM t",
            "SELECT set_config('a', 'b', false) FROM t",
            "SELECT set_config('a', 'b', false) WHERE true",
            "SELECT set_config('a', 'b' || 'c', false)",
            "SELECT set_config('a', 'b', false), 1",
            "SELECT app.set_config('a', 'b', false)",
            "SELECT DISTINCT set_config('a', 'b', false)",
            "SELECT set_config('a', 'b', NULL)",
            "SELECT set_config(NULL, 'b', false)",
            "SELECT set_config('a', 5, false)",
            "SELECT set_config('a', 'b')",
            "SELECT set_config('a', 'b', false) || 'c'",
            "SELECT 1",
        ] {
            assert_eq!(config_calls(sql), None, "{sql}");
            assert_eq!(config_query(sql), None, "{sql}");
        }
    }

    #[test]
    fn parameters_stand_for_literals() {
        let sql =
            "select set_config('search_path', $1, true), set_config($2, $3::text, $4) AS b, set_config('c', $2, 'off')";
        let query = config_query(sql).unwrap();
        assert_eq!(*query.columns, ["set_config".into(), "b".into(), "set_config".into()]);
        assert_eq!(*query.parameters, [oid::TEXT, oid::TEXT, oid::TEXT, oid::BOOL]);
        assert_eq!(config_calls(sql), None);
        let values = ["'a, b'", "'It''s'", "NULL", "true"].map(str::to_owned);
        let bound = config_bound(sql, &values).unwrap();
        assert_eq!(
            bound,
            "select set_config('search_path', 'a, b', true), set_config('It''s', NULL::text, true) AS b, set_config('c', 'It''s', 'off')"
        );
        let calls = config_calls(&bound).unwrap();
        assert_eq!(
            calls.calls,
            [call("search_path", Some("a, b"), true), call("it's", None, true), call("c", Some("It's"), false)]
        );
        assert!(config_bound(sql, &[]).is_none());
        let unnamed = config_bound(sql, &["NULL", "NULL", "NULL", "false"].map(str::to_owned)).unwrap();
        assert_eq!(config_calls(&unnamed), None);
    }
}

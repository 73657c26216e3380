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
    /// Other settings are shown beside them.
    pub shows: bool,
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
    /// The column `name` of the row of `pg_settings` beside which the call stands.
    RowName,
}

/// What a query of these can select.
enum Item {
    Call([Argument; 3]),
    /// `current_setting('name')`: asyncpg asks so for what it sets in the same query.
    Shown,
}

/// `None`: another query, or arguments that are neither literals nor parameters.
pub fn config_query(text: &str) -> Option<ConfigQuery> {
    let (items, _) = items(text)?;
    let mut parameters: Vec<Option<Oid>> = Vec::new();
    for [name, value, local] in items.iter().filter_map(|(item, _)| item.call()) {
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
    Some(ConfigQuery { columns: items.into_iter().map(|(_, column)| column).collect(), parameters })
}

impl Item {
    fn call(&self) -> Option<&[Argument; 3]> {
        match self {
            Self::Call(arguments) => Some(arguments),
            Self::Shown => None,
        }
    }
}

/// `None`: no such query, or one whose arguments are not all literals.
pub fn config_calls(text: &str) -> Option<ConfigCalls> {
    let literal = |[name, value, local]: &[Argument; 3]| {
        let Argument::Text(name) = name else { return None };
        let value = match value {
            Argument::Text(value) => Some(value.clone()),
            Argument::Null => None,
            Argument::Bool(_) | Argument::Parameter(_) | Argument::RowName => return None,
        };
        let Argument::Bool(local) = local else { return None };
        Some(ConfigCall { name: name.to_ascii_lowercase().into(), value, local: *local })
    };
    let (items, row_of) = items(text)?;
    let shows = items.iter().any(|(item, _)| matches!(item, Item::Shown));
    let calls = items.iter().filter_map(|(item, _)| item.call()).map(literal).collect::<Option<_>>()?;
    Some(ConfigCalls { calls, row_of, shows })
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

/// What is selected, with the names of the columns.
type Items = Vec<(Item, Box<str>)>;

fn items(text: &str) -> Option<(Items, Option<Box<str>>)> {
    let mut cursor = Cursor::new(text);
    if !cursor.accept("select") {
        return None;
    }
    let mut items = Vec::new();
    loop {
        let (item, function) = item(&mut cursor)?;
        let column = if cursor.accept("as") {
            cursor.name()?
        } else if cursor.is_punct(b',') || cursor.at_end() || cursor.is("from") {
            function.into()
        } else if cursor.is_any(&CLAUSES) {
            return None;
        } else {
            cursor.name()?
        };
        items.push((item, column));
        if !cursor.accept_punct(b',') {
            break;
        }
    }
    let row_of = if cursor.accept("from") { Some(one_setting(&mut cursor)?) } else { None };
    for (item, _) in &mut items {
        if let Item::Call([name @ Argument::RowName, ..]) = item {
            *name = Argument::Text(row_of.clone()?);
        }
    }
    let calls = items.iter().any(|(item, _)| item.call().is_some());
    (calls && cursor.at_end()).then_some((items, row_of))
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

/// One of them, and the name of its function.
fn item(cursor: &mut Cursor<'_>) -> Option<(Item, &'static str)> {
    let function = cursor.qualified_name()?;
    let name = match function.as_slice() {
        [name] => name,
        [schema, name] if &**schema == "pg_catalog" => name,
        _ => return None,
    };
    cursor.accept_punct(b'(').then_some(())?;
    match &**name {
        "set_config" => Some((Item::Call(call(cursor)?), "set_config")),
        "current_setting" => {
            let shown = cursor.string()?;
            // The router's own are no server's.
            let ours = shown.trim_ascii().to_ascii_lowercase().starts_with("pgloom.");
            (!ours && cursor.accept_punct(b')')).then_some((Item::Shown, "current_setting"))
        }
        _ => None,
    }
}

/// The arguments of set_config, and what closes them.
fn call(cursor: &mut Cursor<'_>) -> Option<[Argument; 3]> {
    let comma = |cursor: &mut Cursor<'_>| cursor.accept_punct(b',').then_some(());
    // pg_dump sets so what older servers do not have.
    let name = if cursor.accept("name") { Argument::RowName } else { argument(cursor, &["text"])? };
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
        Some(ConfigCalls { calls: calls.into_iter().collect(), row_of: None, shows: false })
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
        let sql = "SELECT set_config(name, 'hex', false) FROM pg_settings WHERE name = 'bytea_output'";
        let read = config_calls(sql).unwrap();
        assert_eq!(
            (read.calls, read.row_of.as_deref()),
            (vec![call("bytea_output", Some("hex"), false)], Some("bytea_output"))
        );
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
    fn settings_may_be_shown_beside_calls() {
        let sql = "SELECT current_setting('jit') AS cur, pg_catalog.current_setting('work_mem'), set_config('jit', 'off', false) AS new";
        let read = config_calls(sql).unwrap();
        assert_eq!((read.calls, read.shows), (vec![call("jit", Some("off"), false)], true));
        assert_eq!(*config_query(sql).unwrap().columns, ["cur".into(), "current_setting".into(), "new".into()]);
    }

    #[test]
    fn everything_else_is_a_query() {
        for sql in [
            "SELECT current_setting('jit')",
            "SELECT current_setting('jit', true), set_config('a', 'b', false)",
            "SELECT current_setting($1), set_config('a', 'b', false)",
            "SELECT app.current_setting('jit'), set_config('a', 'b', false)",
            "SELECT current_setting('pgloom.query_timeout'), set_config('a', 'b', false)",
            "SELECT now(), set_config('a', 'b', false)",
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
            "SELECT set_config(name, 'b', false)",
            "SELECT set_config('a', name, false) FROM pg_settings WHERE name = 'a'",
            "SELECT set_config(name || 'x', 'b', false) FROM pg_settings WHERE name = 'a'",
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

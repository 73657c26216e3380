//! `SELECT set_config('name', 'value', false), ...`: a SET in the form of a query.

use super::cursor::Cursor;

/// One call, its arguments being literals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigCall {
    /// Lower-cased: settings are found without regard to case.
    pub name: Box<str>,
    /// As the setting itself reads it: a list is not quoted once more, as it is by SET. `None`: back to the default.
    pub value: Option<Box<str>>,
    /// Ends with the transaction.
    pub local: bool,
}

/// The calls of a query that consists of nothing else, in their order, each with the name of its column.
/// `None`: another query, or arguments that are no literals.
pub fn config_calls(text: &str) -> Option<Vec<(ConfigCall, Box<str>)>> {
    let mut cursor = Cursor::new(text);
    if !cursor.accept("select") {
        return None;
    }
    let mut calls = Vec::new();
    loop {
        let call = call(&mut cursor)?;
        let column = if cursor.accept("as") {
            cursor.name()?
        } else if cursor.is_punct(b',') || cursor.at_end() {
            "set_config".into()
        } else if cursor.is_any(&CLAUSES) {
            return None;
        } else {
            cursor.name()?
        };
        calls.push((call, column));
        if !cursor.accept_punct(b',') {
            return cursor.at_end().then_some(calls);
        }
    }
}

/// Words that end a select list. No name without AS is one of them.
const CLAUSES: [&str; 12] =
    ["from", "where", "group", "having", "window", "order", "limit", "offset", "fetch", "for", "into", "union"];

fn call(cursor: &mut Cursor<'_>) -> Option<ConfigCall> {
    let function = cursor.qualified_name()?;
    match function.as_slice() {
        [name] if &**name == "set_config" => {}
        [schema, name] if &**schema == "pg_catalog" && &**name == "set_config" => {}
        _ => return None,
    }
    let comma = |cursor: &mut Cursor<'_>| cursor.accept_punct(b',').then_some(());
    cursor.accept_punct(b'(').then_some(())?;
    let name = cursor.string()?.to_ascii_lowercase().into();
    comma(cursor)?;
    let value = if cursor.accept("null") { None } else { Some(cursor.string()?.into()) };
    comma(cursor)?;
    let local = cursor.accept("true");
    if !local && !cursor.accept("false") {
        return None;
    }
    cursor.accept_punct(b')').then_some(ConfigCall { name, value, local })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(name: &str, value: Option<&str>, local: bool) -> ConfigCall {
        ConfigCall { name: name.into(), value: value.map(Into::into), local }
    }

    #[test]
    fn calls_with_literals_are_read() {
        assert_eq!(
            config_calls("SELECT pg_catalog.set_config('Search_Path', '', false);"),
            Some(vec![(call("search_path", Some(""), false), "set_config".into())])
        );
        assert_eq!(
            config_calls("select set_config('a.b', E'x\\'y', TRUE) AS One, SET_CONFIG('c', NULL, false) \"Two\""),
            Some(vec![(call("a.b", Some("x'y"), true), "one".into()), (call("c", None, false), "Two".into()),])
        );
    }

    #[test]
    fn everything_else_is_a_query() {
        for sql in [
            "SELECT set_config('a', $1, false)",
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
        }
    }
}

//! `SELECT pgloom.distribute('table', 'column')`, `pgloom.reference('table')`, `pgloom.undistribute('table')`: statements of the router's
//! own in the form of a query.

use super::cursor::Cursor;
use super::set_config::bound;
use crate::sql::facts::parameter_index;
use crate::sql::lexer::TokenKind;

/// What is to become of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    Distribute,
    Reference,
    Undistribute,
}

impl Verb {
    /// The function's name, without its schema; its column has it too.
    pub fn name(self) -> &'static str {
        match self {
            Self::Distribute => "distribute",
            Self::Reference => "reference",
            Self::Undistribute => "undistribute",
        }
    }
}

/// The call, with its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacementCall {
    pub verb: Verb,
    /// As `regclass` reads it.
    pub table: Box<str>,
    /// Not quoted: as they are called.
    pub columns: Vec<Box<str>>,
    pub distribution: Option<Box<str>>,
    pub colocate_with: Option<Box<str>>,
}

/// A query that calls one of the functions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacementQuery {
    pub verb: Verb,
    /// The name of its column.
    pub column: Box<str>,
    /// How many parameters it has; all are text.
    pub parameters: u16,
    /// Why it cannot run: it is more than the call, or its arguments are none that the router reads.
    pub wrong: Option<&'static str>,
}

/// An argument in its place, or by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Value {
    Null,
    Text(Box<str>),
    List(Vec<Box<str>>),
    Parameter(u16),
}

const ALONE: &str = "it must be called alone: SELECT pgloom.distribute('table', 'column')";
const ARGUMENTS: &str = "its arguments must be names of the table and its columns, as literals or parameters";

/// `None`: another query.
pub(super) fn placement_query(text: &str) -> Option<PlacementQuery> {
    if !text.to_ascii_lowercase().contains("pgloom") {
        return None;
    }
    let verb = named(text)?;
    let mut query = PlacementQuery { verb, column: verb.name().into(), parameters: 0, wrong: None };
    let Some((read, column, arguments)) = read(text) else {
        query.wrong = Some(ALONE);
        return Some(query);
    };
    query.verb = read;
    query.column = column;
    let Some(arguments) = arguments else {
        query.wrong = Some(ARGUMENTS);
        return Some(query);
    };
    let used = arguments.iter().filter_map(|(_, value)| match value {
        Value::Parameter(index) => Some(*index + 1),
        Value::Null | Value::Text(_) | Value::List(_) => None,
    });
    query.parameters = used.max().unwrap_or(0);
    if let Err(wrong) = call_of(read, &arguments, true) {
        query.wrong = Some(wrong);
    }
    Some(query)
}

/// The call, where all its arguments are literals by now.
///
/// # Errors
/// What is wrong with them.
pub fn placement_call(text: &str) -> Result<PlacementCall, &'static str> {
    let (verb, _, arguments) = read(text).ok_or(ALONE)?;
    call_of(verb, &arguments.ok_or(ARGUMENTS)?, false)
}

/// The query with values, written in SQL, in the place of its parameters.
pub fn placement_bound(text: &str, values: &[String]) -> Option<String> {
    bound(text, values)
}

/// The function that the text calls anywhere.
fn named(text: &str) -> Option<Verb> {
    let mut cursor = Cursor::new(text);
    while cursor.peek().is_some() {
        if cursor.accept("pgloom") {
            if cursor.accept_punct(b'.')
                && let Some(verb) = verb(&mut cursor)
                && cursor.is_punct(b'(')
            {
                return Some(verb);
            }
            continue;
        }
        cursor.take();
    }
    None
}

fn verb(cursor: &mut Cursor<'_>) -> Option<Verb> {
    let name = cursor.name()?;
    [Verb::Distribute, Verb::Reference, Verb::Undistribute].into_iter().find(|verb| *verb.name() == *name)
}

type Arguments = Vec<(Option<Box<str>>, Value)>;

/// The function, the name of its column, and its arguments where they are understood. `None`: it is not alone.
fn read(text: &str) -> Option<(Verb, Box<str>, Option<Arguments>)> {
    let mut cursor = Cursor::new(text);
    if !(cursor.accept("select") && cursor.accept("pgloom") && cursor.accept_punct(b'.')) {
        return None;
    }
    let verb = verb(&mut cursor)?;
    let mut inside = cursor.clone();
    if !cursor.is_punct(b'(') || !cursor.skip_group() {
        return None;
    }
    let column = match cursor.accept("as") {
        true => cursor.name()?,
        false if cursor.at_end() => verb.name().into(),
        false => cursor.own_name()?,
    };
    if !cursor.at_end() {
        return None;
    }
    inside.take();
    let arguments = arguments(&mut inside);
    Some((verb, column, arguments))
}

fn arguments(cursor: &mut Cursor<'_>) -> Option<Arguments> {
    let mut arguments = Vec::new();
    if cursor.accept_punct(b')') {
        return Some(arguments);
    }
    loop {
        let mut ahead = cursor.clone();
        let name = match ahead.name() {
            Some(name) if ahead.accept_operator("=>") || ahead.accept_operator(":=") => {
                *cursor = ahead;
                Some(name)
            }
            _ => None,
        };
        cursor.accept("variadic");
        arguments.push((name, value(cursor)?));
        if cursor.accept_punct(b')') {
            return Some(arguments);
        }
        if !cursor.accept_punct(b',') {
            return None;
        }
    }
}

/// A literal, parameter or array of literals, which may be cast to what it is anyway.
fn value(cursor: &mut Cursor<'_>) -> Option<Value> {
    if cursor.accept("array") {
        if !cursor.accept_punct(b'[') {
            return None;
        }
        let mut list = Vec::new();
        loop {
            list.push(cursor.string()?.into());
            if cursor.accept_punct(b']') {
                break;
            }
            if !cursor.accept_punct(b',') {
                return None;
            }
        }
        if cursor.accept_operator("::") {
            let known = (cursor.accept("text") || cursor.accept("name")) && cursor.accept_punct(b'[');
            if !known || !cursor.accept_punct(b']') {
                return None;
            }
        }
        return Some(Value::List(list));
    }
    let found = match cursor.peek()?.kind {
        TokenKind::Parameter => {
            let token = cursor.take()?;
            Value::Parameter(parameter_index(cursor.source(token))?)
        }
        TokenKind::Literal(_) => Value::Text(cursor.string()?.into()),
        _ if cursor.accept("null") => Value::Null,
        _ => return None,
    };
    let casts = ["regclass", "text", "name", "varchar"];
    if cursor.accept_operator("::") && !casts.iter().any(|cast| cursor.accept(cast)) {
        return None;
    }
    Some(found)
}

/// `unbound`: parameters stand for values that are not known yet.
fn call_of(verb: Verb, arguments: &Arguments, unbound: bool) -> Result<PlacementCall, &'static str> {
    let mut call =
        PlacementCall { verb, table: "".into(), columns: Vec::new(), distribution: None, colocate_with: None };
    let mut named_before = false;
    for (at, (name, value)) in arguments.iter().enumerate() {
        let text = |value: &Value| match value {
            Value::Text(text) => Ok(text.clone()),
            Value::Parameter(_) if unbound => Ok("?".into()),
            Value::Parameter(_) => Err("a parameter has no value"),
            Value::Null => Err("its arguments must not be NULL"),
            Value::List(_) => Err("only the columns can be an array"),
        };
        if name.is_none() && named_before {
            return Err("positional argument cannot follow named argument");
        }
        named_before |= name.is_some();
        match (name.as_deref(), at) {
            (None, 0) | (Some("table"), _) => call.table = text(value)?,
            (None, _) | (Some("column" | "columns"), _) if verb == Verb::Distribute => match value {
                Value::List(list) => call.columns.extend(list.iter().cloned()),
                one => call.columns.push(text(one)?),
            },
            (Some("distribution"), _) if verb == Verb::Distribute => call.distribution = Some(text(value)?),
            (Some("colocate_with"), _) if verb == Verb::Distribute => call.colocate_with = Some(text(value)?),
            (Some(_), _) => return Err("it has no argument of this name"),
            (None, _) => return Err("it takes the table alone"),
        }
    }
    if call.table.is_empty() {
        return Err("its first argument is the table");
    }
    if verb == Verb::Distribute && call.columns.is_empty() {
        return Err("name the columns of the sharding key behind the table");
    }
    if call.distribution.is_some() && call.colocate_with.is_some() {
        return Err("distribution and colocate_with say the same: give one of them");
    }
    Ok(call)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn columns(names: &[&str]) -> Vec<Box<str>> {
        names.iter().map(|name| (*name).into()).collect()
    }

    #[test]
    fn calls_are_read_in_every_notation() {
        let call =
            placement_call("SELECT pgloom.distribute('app.t', 'a', 'b', distribution => 'key') AS done;").unwrap();
        assert_eq!((call.verb, &*call.table, call.columns), (Verb::Distribute, "app.t", columns(&["a", "b"])));
        assert_eq!(call.distribution.as_deref(), Some("key"));
        let call =
            placement_call("select PGLOOM.Distribute(\"table\" => 't'::regclass, columns := ARRAY['Id']::text[])")
                .unwrap();
        assert_eq!((&*call.table, call.columns), ("t", columns(&["Id"])));
        let call =
            placement_call("SELECT pgloom.distribute('t', VARIADIC ARRAY['a', 'b'], colocate_with => 'u')").unwrap();
        assert_eq!((call.columns, call.colocate_with.as_deref()), (columns(&["a", "b"]), Some("u")));
        assert_eq!(placement_call("SELECT pgloom.undistribute('t')").unwrap().verb, Verb::Undistribute);
    }

    #[test]
    fn parameters_are_counted_and_bound() {
        let sql = "SELECT pgloom.distribute($1, $2)";
        let query = placement_query(sql).unwrap();
        assert_eq!((query.parameters, query.wrong, &*query.column), (2, None, "distribute"));
        let bound = placement_bound(sql, &["'t'".to_owned(), "'it''s'".to_owned()]).unwrap();
        assert_eq!(placement_call(&bound).unwrap().columns, columns(&["it's"]));
    }

    #[test]
    fn what_is_wrong_is_told_and_other_queries_are_left_alone() {
        let wrong = |sql: &str| placement_query(sql).unwrap().wrong;
        assert_eq!(wrong("SELECT pgloom.reference('t'), 1"), Some(ALONE));
        assert_eq!(wrong("SELECT pgloom.reference('t') FROM x"), Some(ALONE));
        assert_eq!(wrong("SELECT 1 + length(pgloom.reference('t'))"), Some(ALONE));
        assert_eq!(wrong("SELECT pgloom.reference(name) "), Some(ARGUMENTS));
        for sql in [
            "SELECT pgloom.reference('t', 'a')",
            "SELECT pgloom.distribute('t')",
            "SELECT pgloom.distribute()",
            "SELECT pgloom.distribute('t', NULL)",
            "SELECT pgloom.distribute('t', other => 'x')",
            "SELECT pgloom.distribute(distribution => 'x', 't')",
            "SELECT pgloom.distribute('t', 'a', distribution => 'x', colocate_with => 'u')",
        ] {
            assert!(wrong(sql).is_some(), "{sql}");
        }
        for sql in [
            "SELECT pgloom.unique_id()",
            "SELECT distribute('t')",
            "SELECT 'pgloom.distribute('",
            "SELECT pgloom.distribute",
        ] {
            assert_eq!(placement_query(sql), None, "{sql}");
        }
    }
}

//! PREPARE and EXECUTE in SQL: what a PREPARE prepares, the arguments of an EXECUTE, and statements around an EXECUTE.

use std::ops::Range;

use crate::ids::Oid;
use crate::sql::lexer::TokenKind;
use crate::sql::template::SlotKind;
use crate::sql::utility::cursor::Cursor;
use crate::types::oid;

/// Where the statement begins that a PREPARE prepares: behind `PREPARE name [(types)] AS`.
pub fn prepared(text: &str) -> Option<usize> {
    let mut cursor = Cursor::new(text);
    cursor.accept("prepare").then(|| cursor.name())??;
    if cursor.is_punct(b'(') && !cursor.skip_group() {
        return None;
    }
    (cursor.accept("as") && !cursor.at_end()).then(|| cursor.position())
}

/// `EXECUTE name [(arguments)]`, in bytes of its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Execution {
    pub name: Box<str>,
    /// All of it.
    pub whole: Range<usize>,
    /// What stands between the parentheses; empty without.
    pub arguments: Range<usize>,
    /// It fills a table that is created.
    pub creates: bool,
}

/// The EXECUTE that a text is, or that stands in an EXPLAIN or behind CREATE TABLE ... AS.
pub fn execution(text: &str) -> Option<Execution> {
    let mut cursor = Cursor::new(text);
    let alone = cursor.is("execute");
    let creates = !alone && find_execute(&mut cursor)?;
    let found = take_execute(&mut cursor, creates)?;
    (creates || cursor.at_end()).then_some(found)
}

/// Goes to the EXECUTE of `EXPLAIN [options] EXECUTE`, or of `CREATE [TEMP] TABLE ... AS EXECUTE`, itself explained or not.
/// True: it is one of a CREATE.
fn find_execute(cursor: &mut Cursor<'_>) -> Option<bool> {
    if cursor.accept("explain") {
        if cursor.is_punct(b'(') {
            cursor.skip_group().then_some(())?;
        }
        while cursor.is_any(&["analyze", "analyse", "verbose"]) {
            cursor.take();
        }
        if cursor.is("execute") {
            return Some(false);
        }
    }
    cursor.accept("create").then_some(())?;
    while cursor.is_any(&["local", "global", "temp", "temporary", "unlogged"]) {
        cursor.take();
    }
    cursor.accept("table").then_some(())?;
    while !cursor.accept("as") {
        match cursor.is_punct(b'(') {
            true => cursor.skip_group().then_some(())?,
            false if cursor.at_end() => return None,
            false => drop(cursor.take()?),
        }
    }
    cursor.is("execute").then_some(true)
}

fn take_execute(cursor: &mut Cursor<'_>, creates: bool) -> Option<Execution> {
    let start = cursor.position();
    cursor.accept("execute").then_some(())?;
    let name = cursor.own_name()?;
    let mut end = cursor.last_end();
    let mut arguments = end..end;
    if cursor.is_punct(b'(') {
        let (open, before) = (cursor.position() + 1, cursor.clone());
        cursor.take();
        let first = cursor.position();
        *cursor = before;
        cursor.skip_group().then_some(())?;
        end = cursor.last_end();
        arguments = open..end.checked_sub(1)?;
        // Not even the grammar takes an empty list.
        (first < arguments.end).then_some(())?;
    }
    Some(Execution { name, whole: start..end, arguments, creates })
}

/// The values of arguments that are literals of their parameters' types in the form that the types themselves are written: no
/// server is needed to read them. `None`: they are more than that. `any_type`: what stands in quotes may be a value of any type of Postgres,
/// which the servers read later.
pub fn literal_arguments(text: &str, types: &[Oid], any_type: bool) -> Option<Vec<Option<String>>> {
    let mut cursor = Cursor::new(text);
    let mut values = Vec::with_capacity(types.len());
    for (at, of) in types.iter().enumerate() {
        if at > 0 && !cursor.accept_punct(b',') {
            return None;
        }
        values.push(literal(&mut cursor, *of, any_type)?);
    }
    cursor.peek().is_none().then_some(())?;
    cursor.at_end().then_some(values)
}

fn literal(cursor: &mut Cursor<'_>, of: Oid, any_type: bool) -> Option<Option<String>> {
    // Without a domain among them no type refuses NULL.
    if of < oid::FIRST_NORMAL && cursor.accept("null") {
        return Some(None);
    }
    let mut quoted = || {
        let token = cursor.peek()?;
        matches!(token.kind, TokenKind::Literal(SlotKind::String)).then_some(())?;
        cursor.string().map(|value| Some(value.into_owned()))
    };
    match of {
        oid::TEXT | oid::VARCHAR => quoted(),
        of if any_type
            && of < oid::FIRST_NORMAL
            && !oid::is_name_of_catalog(of)
            && !matches!(of, oid::INT2 | oid::INT4 | oid::INT8) =>
        {
            quoted()
        }
        oid::INT2 | oid::INT4 | oid::INT8 => {
            let sign = if cursor.accept_operator("-") { "-" } else { "" };
            let token = cursor.peek()?;
            matches!(token.kind, TokenKind::Literal(SlotKind::Integer)).then_some(())?;
            let number = format!("{sign}{}", cursor.source(token)).parse::<i64>().ok()?;
            let fits = match of {
                oid::INT2 => i16::try_from(number).is_ok(),
                oid::INT4 => i32::try_from(number).is_ok(),
                _ => true,
            };
            fits.then_some(())?;
            cursor.take();
            Some(Some(number.to_string()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn parts(text: &str) -> Option<(Box<str>, &str, &str)> {
        let found = execution(text)?;
        Some((found.name, &text[found.whole], &text[found.arguments]))
    }

    #[test]
    fn an_execute_is_found_with_its_arguments() {
        assert_eq!(parts(" EXECUTE q ;"), Some(("q".into(), "EXECUTE q", "")));
        assert_eq!(
            parts("execute \"Q\" (1, f(')'), 2)"),
            Some(("Q".into(), "execute \"Q\" (1, f(')'), 2)", "1, f(')'), 2"))
        );
        for text in [
            "EXECUTE q()",
            "EXECUTE q( /* none */ )",
            "EXECUTE",
            "EXECUTE q(1",
            "EXECUTE q LIMIT 1",
            "EXECUTE q(1) x",
            "SELECT execute",
        ] {
            assert_eq!(parts(text), None, "{text}");
        }
    }

    #[test]
    fn an_execute_is_found_in_what_may_stand_around_it() {
        let found = Some(("q".into(), "EXECUTE q(1)", "1"));
        for text in [
            "EXPLAIN EXECUTE q(1)",
            "EXPLAIN ANALYZE VERBOSE EXECUTE q(1)",
            "EXPLAIN (ANALYZE, FORMAT json) EXECUTE q(1)",
            "CREATE TEMP TABLE x (a, b) ON COMMIT DROP AS EXECUTE q(1) WITH NO DATA",
            "EXPLAIN (COSTS OFF) CREATE TABLE x AS EXECUTE q(1)",
        ] {
            assert_eq!(parts(text), found, "{text}");
        }
        for text in [
            "CREATE TRIGGER t AFTER INSERT ON x EXECUTE FUNCTION f()",
            "CREATE VIEW v AS EXECUTE q(1)",
            "CREATE TABLE x AS SELECT 1 AS execute",
            "EXPLAIN SELECT 1 AS execute FROM x",
        ] {
            assert_eq!(parts(text), None, "{text}");
        }
    }

    #[test]
    fn plain_literals_are_read_and_all_else_is_left() {
        let read = |text: &str, types: &[Oid]| literal_arguments(text, types, false);
        let any = |text: &str, of: Oid| literal_arguments(text, &[of], true);
        assert_eq!(any("'02/01/1980'", oid::DATE).unwrap(), [Some("02/01/1980".to_owned())]);
        assert_eq!(any("'x'", oid::REGTYPE).or(any("'x'", 70_000)).or(any("current_date", oid::DATE)), None);
        assert_eq!(read("'02/01/1980'", &[oid::DATE]), None);
        assert_eq!(
            read("5, -6, 'it''s', NULL", &[oid::INT4, oid::INT8, oid::TEXT, oid::DATE]).unwrap(),
            [Some("5".to_owned()), Some("-6".to_owned()), Some("it's".to_owned()), None]
        );
        assert_eq!(read(" ", &[]).unwrap(), [] as [Option<String>; 0]);
        for (text, types) in [
            ("5.5", &[oid::INT4][..]),
            ("'5'", &[oid::INT4]),
            ("40000", &[oid::INT2]),
            ("3000000000", &[oid::INT4]),
            ("9223372036854775808", &[oid::INT8]),
            ("5", &[oid::TEXT]),
            ("E'a'", &[oid::TEXT]),
            ("'a' 'b'", &[oid::TEXT]),
            ("5", &[]),
            ("", &[oid::INT4]),
            ("5, 6", &[oid::INT4]),
            ("5 6", &[oid::INT4]),
            ("1 + 1", &[oid::INT4]),
            ("$1", &[oid::INT4]),
            ("NULL", &[70_000]),
            ("5;", &[oid::INT4]),
        ] {
            assert_eq!(read(text, types), None, "{text}");
        }
    }
}

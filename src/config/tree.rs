//! What a text says, whichever way it is written: TOML and JSON both become a tree of values, each with its place in the text.
//!
//! So a section is read and checked in one way, whether it stands in pgloom.toml or in the document of the shard map.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{MapAccess, Visitor};
use serde_json::value::RawValue;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A value and where it begins.
#[derive(Clone, Debug)]
pub struct Value<'a> {
    pub at: usize,
    pub kind: Kind<'a>,
}

#[derive(Clone, Debug)]
pub enum Kind<'a> {
    Text(Cow<'a, str>),
    /// In decimal.
    Integer(Cow<'a, str>),
    Float(Cow<'a, str>),
    Boolean(bool),
    /// A date or time of TOML.
    Moment(String),
    /// JSON's null, which no key takes.
    Null,
    List(Vec<Value<'a>>),
    /// In the order of the text. JSON allows a name twice; who reads it does not.
    Table(Vec<Member<'a>>),
}

/// A key of a table, where it begins, and what it has.
#[derive(Clone, Debug)]
pub struct Member<'a> {
    pub name: Cow<'a, str>,
    pub at: usize,
    pub value: Value<'a>,
}

/// Something that is not in the language of the text.
#[derive(Clone, Debug)]
pub struct Malformed {
    /// Where; `None`: the language's parser does not say.
    pub at: Option<usize>,
    pub message: String,
}

impl<'a> Value<'a> {
    /// # Errors
    /// All that is not TOML.
    pub fn from_toml(text: &'a str) -> Result<Self, Vec<Malformed>> {
        let (document, errors) = DeTable::parse_recoverable(text);
        if errors.is_empty() {
            return Ok(Self { at: 0, kind: table_of(document.into_inner()) });
        }
        let malformed = errors.iter().map(|error| Malformed {
            at: error.span().map(|span| span.start),
            message: format!("not TOML: {}", error.message().trim()),
        });
        Err(malformed.collect())
    }

    /// # Errors
    /// The first that is not JSON.
    pub fn from_json(text: &'a str) -> Result<Self, Malformed> {
        let whole: &RawValue = serde_json::from_str(text).map_err(|error| Malformed {
            at: Some(offset(text, error.line(), error.column())),
            message: format!("not JSON: {}", words(&error)),
        })?;
        // Its parts are JSON if it is, but for what only a closer look shows: a number or an escape that cannot be held.
        let text_begins = text.as_ptr() as usize;
        json(whole, text_begins, DEEPEST).map_err(|(at, message)| Malformed { at: Some(at), message })
    }
}

impl Value<'_> {
    /// The same as JSON, indented by so many steps. A list or table without others in it stands on one line.
    pub fn write_json(&self, out: &mut String, depth: usize) {
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        match &self.kind {
            Kind::Text(text) => out.push_str(&quoted(text)),
            Kind::Integer(number) | Kind::Float(number) => match serde_json::from_str::<serde_json::Number>(number) {
                Ok(_) => out.push_str(number),
                // As TOML writes it, and JSON does not: `+1`, `inf`.
                Err(_) => out.push_str(&quoted(number)),
            },
            Kind::Boolean(flag) => out.push_str(if *flag { "true" } else { "false" }),
            Kind::Moment(moment) => out.push_str(&quoted(moment)),
            Kind::Null => out.push_str("null"),
            Kind::List(members) => {
                let flat = members.iter().all(Self::is_single);
                parts(out, depth, flat, ['[', ']'], members, |out, member| member.write_json(out, depth + 1));
            }
            Kind::Table(members) => {
                let flat = members.iter().all(|member| member.value.is_single() || member.value.is_plain_list());
                parts(out, depth, flat && depth > 2, ['{', '}'], members, |out, member| {
                    out.push_str(&quoted(&member.name));
                    out.push_str(": ");
                    member.value.write_json(out, depth + 1);
                });
            }
        }
    }

    fn is_single(&self) -> bool {
        !matches!(self.kind, Kind::List(_) | Kind::Table(_))
    }

    fn is_plain_list(&self) -> bool {
        matches!(&self.kind, Kind::List(members) if members.iter().all(Self::is_single))
    }
}

fn parts<T>(out: &mut String, depth: usize, flat: bool, ends: [char; 2], parts: &[T], write: impl Fn(&mut String, &T)) {
    let line = |out: &mut String, depth: usize| {
        if !flat && !parts.is_empty() {
            out.push('\n');
            out.push_str(&"  ".repeat(depth));
        }
    };
    out.push(ends[0]);
    for (number, part) in parts.iter().enumerate() {
        if number > 0 {
            out.push_str(if flat { ", " } else { "," });
        }
        line(out, depth + 1);
        write(out, part);
    }
    line(out, depth);
    out.push(ends[1]);
}

fn table_of<'a>(table: DeTable<'a>) -> Kind<'a> {
    let mut members: Vec<Member<'a>> = table
        .into_iter()
        .map(|(name, value)| Member { at: name.span().start, name: name.into_inner(), value: toml(value) })
        .collect();
    members.sort_by_key(|member| member.at);
    Kind::Table(members)
}

fn toml<'a>(value: Spanned<DeValue<'a>>) -> Value<'a> {
    let at = value.span().start;
    let kind = match value.into_inner() {
        DeValue::String(text) => Kind::Text(text),
        DeValue::Integer(number) => match number.radix() {
            10 => Kind::Integer(number.as_str().to_owned().into()),
            radix => match u64::from_str_radix(number.as_str(), radix) {
                Ok(decimal) => Kind::Integer(decimal.to_string().into()),
                // Too large for every key that there is: shown as it is written.
                Err(_) => Kind::Integer(number.to_string().into()),
            },
        },
        DeValue::Float(number) => Kind::Float(number.as_str().to_owned().into()),
        DeValue::Boolean(flag) => Kind::Boolean(flag),
        DeValue::Datetime(moment) => Kind::Moment(moment.to_string()),
        DeValue::Array(members) => Kind::List(members.into_iter().map(toml).collect()),
        DeValue::Table(table) => table_of(table),
    };
    Value { at, kind }
}

type Wrong = (usize, String);

/// Lists and tables in each other, in JSON: more than any section has, and few enough for the stack.
const DEEPEST: usize = 16;

/// `text_begins`: the address of the text's first byte. The parts of JSON that are not read yet are slices of the text.
fn json<'a>(raw: &'a RawValue, text_begins: usize, deeper: usize) -> Result<Value<'a>, Wrong> {
    let text = raw.get();
    let at = text.as_ptr() as usize - text_begins;
    let Some(deeper) = deeper.checked_sub(1) else { return Err((at, "nested too deep".to_owned())) };
    let wrong = |error: serde_json::Error| (at, format!("not JSON: {}", words(&error)));
    let kind = match text.as_bytes().first() {
        Some(b'"') => Kind::Text(serde_json::from_str::<Text<'a>>(text).map_err(wrong)?.0),
        Some(b'{') => {
            let Members(members) = serde_json::from_str(text).map_err(wrong)?;
            let read = members.into_iter().map(|(name, raw)| {
                let value = json(raw, text_begins, deeper)?;
                // The key stands before its value, on the same line but in freaks.
                Ok(Member { name, at: value.at, value })
            });
            Kind::Table(read.collect::<Result<_, Wrong>>()?)
        }
        Some(b'[') => {
            let members: Vec<&'a RawValue> = serde_json::from_str(text).map_err(wrong)?;
            Kind::List(members.into_iter().map(|raw| json(raw, text_begins, deeper)).collect::<Result<_, Wrong>>()?)
        }
        Some(b't') => Kind::Boolean(true),
        Some(b'f') => Kind::Boolean(false),
        Some(b'n') | None => Kind::Null,
        Some(_) if text.contains(['.', 'e', 'E']) => Kind::Float(text.into()),
        Some(_) => Kind::Integer(text.into()),
    };
    Ok(Value { at, kind })
}

#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// Those of an object in their order, also where a name comes twice.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((name, value)) = object.next_entry::<Text<'de>, &'de RawValue>()? {
                    members.push((name.0, value));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// What serde_json says, without the place, which is told as everywhere.
fn words(error: &serde_json::Error) -> String {
    let said = error.to_string();
    said.rsplit_once(" at line ").map_or(said.clone(), |(what, _)| what.to_owned())
}

fn offset(text: &str, line: usize, column: usize) -> usize {
    let begins = match line.checked_sub(2) {
        None => 0,
        Some(before) => text.match_indices('\n').nth(before).map_or(text.len(), |(at, _)| at + 1),
    };
    (begins + column.saturating_sub(1)).min(text.len())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// A value as one short text, to compare the two languages.
    fn shown(value: &Value<'_>) -> String {
        match &value.kind {
            Kind::Text(text) => format!("{text:?}"),
            Kind::Integer(number) => format!("int {number}"),
            Kind::Float(number) => format!("float {number}"),
            Kind::Boolean(flag) => flag.to_string(),
            Kind::Moment(moment) => format!("moment {moment}"),
            Kind::Null => "null".to_owned(),
            Kind::List(members) => format!("[{}]", members.iter().map(shown).collect::<Vec<_>>().join(", ")),
            Kind::Table(members) => {
                let members = members.iter().map(|m| format!("{}: {}", m.name, shown(&m.value)));
                format!("{{{}}}", members.collect::<Vec<_>>().join(", "))
            }
        }
    }

    #[test]
    fn both_languages_say_the_same() {
        let toml =
            Value::from_toml("a = [{ from = -1, to = 2.5 }]\nb = \"x\\\"é\"\nc = true\n[d.e]\nf = []\n").unwrap();
        let json = r#" { "a": [ {"from":-1, "to": 2.5} ], "b": "x\"\u00e9", "c": true, "d": {"e": {"f": []}} } "#;
        assert_eq!(shown(&toml), shown(&Value::from_json(json).unwrap()));
        assert_eq!(shown(&toml), "{a: [{from: int -1, to: float 2.5}], b: \"x\\\"é\", c: true, d: {e: {f: []}}}");
        assert_eq!(shown(&Value::from_toml("a = 0xff").unwrap()), "{a: int 255}");
    }

    #[test]
    fn values_of_json_have_their_places_and_names_may_come_twice() {
        let text = "{\n  \"a\": 1,\n  \"a\": {\"b\": null}\n}\n";
        let Kind::Table(members) = Value::from_json(text).unwrap().kind else { panic!("no table") };
        let found: Vec<_> = members.iter().map(|m| (&*m.name, m.value.at)).collect();
        assert_eq!(found, [("a", text.find('1').unwrap()), ("a", text.find("{\"b").unwrap())]);
        assert_eq!(shown(&members[1].value), "{b: null}");
    }

    #[test]
    fn what_is_not_json_is_told_with_its_place() {
        for (text, at, message) in [
            ("", 0, "EOF while parsing a value"),
            ("{\n \"a\": x}", 8, "expected value"),
            ("{} {}", 3, "trailing characters"),
            ("[1,\n2,\n", 7, "EOF while parsing a value"),
            ("{\"a\": \"\\ud800\"}", 6, "unexpected end of hex escape"),
        ] {
            let malformed = Value::from_json(text).unwrap_err();
            assert_eq!(
                (malformed.at, malformed.message.as_str()),
                (Some(at), format!("not JSON: {message}").as_str()),
                "{text}"
            );
        }
        let deep = format!("{}1{}", "[".repeat(200), "]".repeat(200));
        assert!(Value::from_json(&deep).unwrap_err().message.contains("nested too deep"));
    }
}

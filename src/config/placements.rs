//! The map of a configuration file, put there again as an earlier document has it; all else in the file, its comments too, stays as it is.

use toml_edit::{Array, ArrayOfTables, DocumentMut, InlineTable, Item, Table, TableLike, Value};

use crate::config::document::members_of;
use crate::config::file::Placement;
use crate::config::section::Section;
use crate::config::tree::{self, Kind, Member};

/// The text of a configuration file with the placements of the document `map`, a JSON text, in the place of its own. Numbers stay as they
/// are written: they may be keys.
///
/// # Errors
/// One of the two cannot be read, or they are not of the same databases.
pub fn with_map(file: &str, map: &str) -> Result<String, String> {
    let mut file: DocumentMut = file.parse().map_err(|error: toml_edit::TomlError| error.to_string())?;
    let map = tree::Value::from_json(map).map_err(|malformed| malformed.message)?;
    let databases = members_of(&map).iter().find(|member| member.name == "databases");
    let placed = members_of(&databases.ok_or("the map has no databases")?.value);
    let databases = file.get_mut("databases").and_then(Item::as_table_like_mut).ok_or("it has no [databases.NAME]")?;
    let names: Vec<String> = databases.iter().map(|(name, _)| name.to_owned()).collect();
    if let Some(member) = placed.iter().find(|member| !names.iter().any(|name| *name == member.name)) {
        return Err(format!("the map places database `{}`, which the file does not have", member.name));
    }
    for name in names {
        let placement = placed.iter().find(|member| member.name == name.as_str());
        let placement = placement.ok_or_else(|| format!("the map places no database `{name}`, which the file has"))?;
        let placement = members_of(&placement.value);
        let database = databases.get_mut(&name).ok_or("a database is gone")?;
        match database {
            Item::Table(table) => place(table, placement, true)?,
            other => {
                let table = other.as_table_like_mut().ok_or_else(|| format!("databases.{name} is no table"))?;
                place(table, placement, false)?;
            }
        }
    }
    Ok(file.to_string())
}

fn place(database: &mut dyn TableLike, placement: &[Member<'_>], in_sections: bool) -> Result<(), String> {
    for key in Placement::KEYS {
        database.remove(key.name);
    }
    let is_table = |value: &tree::Value<'_>| matches!(value.kind, Kind::Table(_));
    for Member { name, value, .. } in placement {
        let item = match &value.kind {
            Kind::List(all) if in_sections && !all.is_empty() && all.iter().all(is_table) => {
                Item::ArrayOfTables(sections(all)?)
            }
            _ => Item::Value(plain(value)?),
        };
        database.insert(name, item);
    }
    Ok(())
}

fn sections(all: &[tree::Value<'_>]) -> Result<ArrayOfTables, String> {
    let mut sections = ArrayOfTables::new();
    for object in all {
        let mut table = Table::new();
        for Member { name, value, .. } in members_of(object) {
            table.insert(name, Item::Value(plain(value)?));
        }
        sections.push(table);
    }
    Ok(sections)
}

fn plain(value: &tree::Value<'_>) -> Result<Value, String> {
    Ok(match &value.kind {
        Kind::Null => return Err("null has no place in a configuration file".to_owned()),
        Kind::Boolean(flag) => (*flag).into(),
        // A number that is none in TOML (too long) is a key, which is taken as a text too.
        Kind::Integer(number) | Kind::Float(number) => {
            number.parse::<Value>().unwrap_or_else(|_| number.as_ref().into())
        }
        Kind::Text(text) => text.as_ref().into(),
        Kind::Moment(text) => text.as_str().into(),
        Kind::List(all) => {
            let mut array = Array::new();
            for value in all {
                array.push(plain(value)?);
            }
            array.into()
        }
        Kind::Table(all) => {
            let mut table = InlineTable::new();
            for Member { name, value, .. } in all {
                table.insert(name.as_ref(), plain(value)?);
            }
            table.into()
        }
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::HashMap;
    use std::path::Path;

    use super::*;
    use crate::config::document::from_config;
    use crate::config::{Draft, Settings};

    const FILE: &str = "# Ours.
[general]
port = 6432 # the door

[[users]]
name = \"a\"
password = \"x\"

[databases.shop]
pool_size = 7 # few
home_shard = \"s1\"

[[databases.shop.shards]]
name = \"s0\"
host = \"h0\"

[[databases.shop.shards]]
name = \"s1\"
servers = [{ host = \"h1\" }, { host = \"h2\", weight = 3 }]

[[databases.shop.distributions]]
name = \"key\"
key_types = [\"int8\"]
pins = [{ value = 7, shard = \"s1\" }]

# More of it.
[[databases.shop.tables]]
name = \"items\"
distribution = \"key\"
columns = [\"id\"]

[log]
";

    fn settings(text: &str) -> Settings {
        Settings::parse("f", text, Path::new(""), HashMap::new()).unwrap_or_else(|errors| panic!("{errors}\n{text}"))
    }

    #[test]
    fn another_map_takes_the_place_of_the_file_s_own_and_nothing_else_changes() {
        let file = FILE.replace("[log]\n", "");
        let (before, map) = (settings(&file), from_config("f", &file).unwrap());
        let later = file
            .replace("home_shard = \"s1\"\n", "")
            .replace("value = 7", "value = 8")
            .replace("host = \"h0\"", "host = \"other\"")
            .replace(
                "[[databases.shop.tables]]",
                "[[databases.shop.tables]]\nname = \"r\"\nreference = true\n[[databases.shop.tables]]",
            );
        let later = format!("{later}\n[combine]\nmax_rows = 5 # so many\n");
        let after = settings(&later);
        assert_ne!(after.databases[0].topology, before.databases[0].topology);
        let back = with_map(&later, &map).unwrap();
        let read = settings(&back);
        assert_eq!(read.databases[0].topology, before.databases[0].topology);
        assert_eq!((read.combine.max_rows, read.databases[0].pool.size.get()), (5, 7));
        for kept in ["# Ours.", "# the door", "pool_size = 7 # few", "max_rows = 5 # so many"] {
            assert!(back.contains(kept), "{back}");
        }
        // As often as one likes.
        assert_eq!(with_map(&back, &map).unwrap(), back);
        assert_eq!(from_config("f", &back).unwrap(), from_config("f", &with_map(&file, &map).unwrap()).unwrap());
        // A database that is written on one line.
        let inline = "databases.shop = { pool_size = 3, shards = [{ name = \"x\", host = \"y\" }] }\n[[users]]\nname = \"a\"\npassword = \"x\"\n";
        let put = with_map(inline, &map).unwrap();
        assert_eq!(settings(&put).databases[0].topology, before.databases[0].topology, "{put}");
    }

    /// A key of texts, or of numbers, is what is written, and not what a number of the machine makes of it.
    #[test]
    fn numbers_stay_as_they_are_written() {
        let file = FILE.replace("[log]\n", "");
        let numbers = ["1.50", "1.5", "0.12345678901234567890", "7", "-0", "98765432109876543210", "1e5"];
        for (key_type, numbers) in [("text", &numbers[..]), ("numeric", &numbers[2..])] {
            let pins = numbers.iter().map(|number| format!("{{ value = \"{number}\", shard = \"s1\" }}"));
            let pins = pins.collect::<Vec<_>>().join(", ");
            let text =
                file.replace("\"int8\"", &format!("\"{key_type}\"")).replace("{ value = 7, shard = \"s1\" }", &pins);
            let quoted = from_config("f", &text).unwrap();
            let bare = numbers
                .iter()
                .fold(quoted.clone(), |map, n| map.replace(&format!("\"value\": \"{n}\""), &format!("\"value\": {n}")));
            assert_ne!(bare, quoted);
            let draft =
                Draft::new("f", &text.replace(&pins, "{ value = 3, shard = \"s0\" }"), Path::new(""), HashMap::new());
            for map in [quoted, bare] {
                let put = draft.with_map(&map).unwrap();
                let read = settings(put.text());
                assert_eq!(read.databases[0].topology, settings(&text).databases[0].topology, "{}", put.text());
            }
        }
    }

    #[test]
    fn a_map_of_other_databases_is_refused() {
        let file = FILE.replace("[log]\n", "");
        let map = from_config("f", &file).unwrap();
        let more = format!("{file}\n[databases.b]\n[[databases.b.shards]]\nname = \"s\"\nhost = \"h\"\n");
        assert!(with_map(&more, &map).unwrap_err().contains("places no database `b`"));
        let both = from_config("f", &more).unwrap();
        assert!(with_map(&file, &both).unwrap_err().contains("places database `b`"));
        assert!(with_map("[", &map).is_err() && with_map(&file, "{").is_err() && with_map("a = 1", &map).is_err());
    }
}

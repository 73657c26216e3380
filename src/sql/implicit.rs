//! Triggers: code of users that runs where a row is written, and sees the tables of that shard alone.

use std::collections::HashSet;

use crate::catalog::Table;
use crate::fault::Fault;
use crate::ids::QualifiedName;
use crate::sql::NameScope;
use crate::sql::names::{distributed_names, sharded_names};

/// Refuses to write rows that set off code which names what lies on several shards: it would see one shard's rows, and could write rows where they
/// do not belong. Functions that the configuration declares safe are not among those of the catalog.
pub(crate) fn check_triggers(scope: &NameScope<'_>, table: Option<&Table>) -> Result<(), Fault> {
    let Some(table) = table.filter(|_| !scope.topology.is_all_home()) else { return Ok(()) };
    let code = code_of(scope, table, 0);
    if code.is_empty() {
        return Ok(());
    }
    let lowered = |names: HashSet<Box<str>>| names.into_iter().map(|name| name.to_lowercase()).collect::<HashSet<_>>();
    let (sharded, distributed) = (lowered(sharded_names(scope)), lowered(distributed_names(scope)));
    for (function, source) in code {
        let lower = source.to_lowercase();
        let words: Vec<&str> = words(&lower).collect();
        let named = (0..words.len()).find_map(|at| {
            let (word, before) = (*words.get(at)?, words.get(..at)?);
            (sharded.contains(word) || distributed.contains(word) && is_written(before)).then_some(word)
        });
        if let Some(name) = named {
            return Err(Fault::unsupported(
                format!("writing to table \"{}\" is not supported", table.name.name),
                format!(
                    "its trigger function {}() names \"{name}\", of which each shard has a part or a copy",
                    function.name
                ),
                format!(
                    "If the function touches nothing but rows with the same sharding key, declare it in the database's section of the \
                     configuration: safe_functions = [\"{function}\"]."
                ),
            ));
        }
    }
    Ok(())
}

/// The trigger functions of a table, its partitions and its children.
fn code_of<'a>(scope: &NameScope<'a>, table: &'a Table, depth: usize) -> Vec<(&'a QualifiedName, &'a str)> {
    /// As deep as anybody nests partitions.
    const DEEPEST: usize = 32;
    let own = table.trigger_code.iter().map(|code| (&code.function, &*code.source));
    let catalog = scope.catalog;
    // Only what has rows of its own in others has children.
    let children = catalog.tables.values().filter(|other| depth < DEEPEST && other.is_child_of(&table.name));
    own.chain(children.flat_map(|child| code_of(scope, child, depth + 1))).collect()
}

/// Whether what these words stand before is written.
fn is_written(before: &[&str]) -> bool {
    let back: Vec<&str> = before.iter().rev().filter(|word| **word != "only").take(3).copied().collect();
    let verb = |back: &[&str]| {
        matches!(back, ["into" | "update" | "truncate" | "table" | "merge", ..] | ["from", "delete", ..])
    };
    // Between them may be a schema.
    verb(&back) || back.get(1..).is_some_and(verb)
}

fn words(lower: &str) -> impl Iterator<Item = &str> {
    lower.split(|c: char| !c.is_alphanumeric() && c != '_' && c != '$').filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_behind_a_verb_is_written() {
        let written = |text: &str| is_written(&words(text).collect::<Vec<_>>());
        assert!(
            ["insert into ", "update only", "delete from app.", "truncate table", "insert into app."]
                .into_iter()
                .all(written)
        );
        assert!(!["select rate from", "join", ""].into_iter().any(written));
    }
}

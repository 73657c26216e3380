//! PURE. Whether a table can lie as it is asked to: what cannot hold over several shards.

use crate::control::definition::{Definition, ForeignKey};
use crate::ids::{DistributionId, QualifiedName};
use crate::topology::{TableRule, Topology};

/// Where the rows of a table are to lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    Sharded { distribution: DistributionId, columns: Vec<Box<str>> },
    Reference,
    Home,
}

/// What stands in the way; each ends a sentence "the table ...".
pub fn obstacles(table: &QualifiedName, definition: &Definition, target: &Target, topology: &Topology) -> Vec<String> {
    let mut found = definition.obstacles.clone();
    if definition.columns.is_empty() {
        found.push("has no column that can be written".to_owned());
    }
    if let Target::Sharded { distribution, columns } = target {
        found.extend(of_key(definition, *distribution, columns, topology));
        found.extend(of_uniques(definition, columns));
    }
    let of_foreign = |key: &ForeignKey| foreign_key(table, key, target, topology);
    found.extend(definition.foreign_keys.iter().filter_map(of_foreign));
    for other in &definition.referred_by {
        let refused = match (target, topology.rule(other)) {
            (Target::Sharded { .. }, _) => true,
            // Each shard of the other table has the rows that it refers to.
            (Target::Reference, Some(TableRule::Sharded { .. } | TableRule::Reference) | None) => false,
            (Target::Home, rule) => rule.is_some(),
        };
        if refused {
            found.push(format!("is referred to by a foreign key of table {other}"));
        }
    }
    found
}

fn of_key(
    definition: &Definition,
    distribution: DistributionId,
    columns: &[Box<str>],
    topology: &Topology,
) -> Vec<String> {
    let distribution = topology.distribution(distribution);
    let mut found = Vec::new();
    for (name, key_type) in columns.iter().zip(&distribution.key_types) {
        match definition.columns.iter().find(|column| *column.name == **name) {
            None => found.push(format!("has no column \"{name}\" that can be a sharding key")),
            Some(column) if column.type_oid != key_type.oid() => found.push(format!(
                "has the sharding key \"{name}\" of type {}, and distribution \"{}\" is by {}",
                column.type_name,
                distribution.name,
                key_type.name()
            )),
            Some(column) if !column.deterministic => {
                found.push(format!("has the sharding key \"{name}\" with a nondeterministic collation"));
            }
            Some(_) => {}
        }
    }
    found
}

/// Unique columns must hold the sharding key, so that equal rows meet on one shard.
fn of_uniques(definition: &Definition, key: &[Box<str>]) -> Vec<String> {
    let mut found = Vec::new();
    for unique in &definition.uniques {
        if unique.exclusion {
            found.push(format!(
                "has exclusion constraint \"{}\", which each shard would check for its own rows only",
                unique.name
            ));
            continue;
        }
        if let Some(column) = key.iter().find(|column| !unique.columns.iter().any(|of| **of == ***column)) {
            found.push(format!("has unique index \"{}\" without sharding-key column \"{column}\"", unique.name));
        }
    }
    found
}

fn foreign_key(table: &QualifiedName, key: &ForeignKey, target: &Target, topology: &Topology) -> Option<String> {
    let refused = |why: &str| Some(format!("has foreign key \"{}\" to table {}, {why}", key.name, key.target));
    let same = key.target == *table;
    let rule = topology.rule(&key.target);
    match target {
        Target::Home if same || !matches!(rule, Some(TableRule::Sharded { .. })) => None,
        Target::Home => refused("which is sharded"),
        Target::Reference if same || matches!(rule, Some(TableRule::Reference)) => None,
        Target::Reference => refused("which is not on every shard"),
        Target::Sharded { .. } if matches!(rule, Some(TableRule::Reference)) => None,
        Target::Sharded { distribution, columns } => {
            let theirs = match rule {
                _ if same => columns,
                Some(TableRule::Sharded { distribution: other, columns }) if other == distribution => columns,
                Some(TableRule::Sharded { .. }) => return refused("which is not co-located with it"),
                Some(TableRule::Reference) | None => return refused("which is on the home shard alone"),
            };
            let at = |list: &[String], column: &str| list.iter().position(|of| of == column);
            let tied = columns.iter().zip(theirs).all(|(own, other)| {
                let place = at(&key.columns, own);
                place.is_some() && place == at(&key.target_columns, other)
            });
            if tied { None } else { refused("which does not tie the sharding keys of the two to each other") }
        }
    }
}

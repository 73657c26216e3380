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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::control::definition::{Column, Unique};
    use crate::topology::spec::{DistributionSpec, MethodSpec, RingSpec, RuleSpec, TableSpec};
    use crate::topology::{Server, Shard, TopologySpec};
    use crate::types::{KeyType, oid};

    fn name(table: &str) -> QualifiedName {
        QualifiedName::new("public", table)
    }

    /// `shards` is sharded by `id`, `others` by another distribution, `whole` is a reference table.
    fn topology() -> Topology {
        let server = Server::new("h", 1, "d");
        let distribution = |name: &str| DistributionSpec {
            name: name.into(),
            key_types: vec![KeyType::Int4],
            method: MethodSpec::Ring(RingSpec::default()),
            pins: Vec::new(),
        };
        let sharded =
            |distribution: &str| RuleSpec::Sharded { distribution: distribution.into(), columns: vec!["id".into()] };
        let spec = TopologySpec {
            shards: vec![Shard { name: "s0".into(), servers: vec![server] }],
            distributions: vec![distribution("a"), distribution("b")],
            tables: vec![
                TableSpec { name: name("shards"), rule: sharded("a") },
                TableSpec { name: name("others"), rule: sharded("b") },
                TableSpec { name: name("whole"), rule: RuleSpec::Reference },
            ],
            ..TopologySpec::default()
        };
        spec.build().unwrap().0
    }

    fn column(name: &str, type_oid: u32) -> Column {
        let (name, type_name) = (name.to_owned(), format!("type {type_oid}"));
        Column { name, type_oid, portable: true, deterministic: true, type_name }
    }

    fn key(target: &str, columns: &[&str], target_columns: &[&str]) -> ForeignKey {
        let list = |columns: &[&str]| columns.iter().map(|column| (*column).to_owned()).collect();
        ForeignKey {
            name: "f".into(),
            columns: list(columns),
            target: name(target),
            target_columns: list(target_columns),
        }
    }

    fn found(definition: &Definition, target: &Target) -> String {
        obstacles(&name("t"), definition, target, &topology()).join("; ")
    }

    fn by(column: &str) -> Target {
        Target::Sharded { distribution: DistributionId(0), columns: vec![column.into()] }
    }

    #[test]
    fn the_key_is_a_column_of_the_type_of_the_distribution() {
        let columns = vec![column("k", oid::INT4), column("big", oid::INT8)];
        let definition = Definition { columns, ..Definition::default() };
        assert_eq!(found(&definition, &by("k")), "");
        assert!(found(&definition, &by("big")).contains("by integer"));
        assert!(found(&definition, &by("none")).contains("no column \"none\""));
        assert!(found(&Definition::default(), &Target::Reference).contains("no column"));
    }

    #[test]
    fn unique_columns_hold_the_key() {
        let unique = |columns: &[&str], exclusion| Unique {
            name: "u".into(),
            columns: columns.iter().map(|column| (*column).to_owned()).collect(),
            exclusion,
        };
        let with = |unique: Unique| Definition {
            columns: vec![column("k", oid::INT4)],
            uniques: vec![unique],
            ..Definition::default()
        };
        assert_eq!(found(&with(unique(&["n", "k"], false)), &by("k")), "");
        assert!(found(&with(unique(&["n"], false)), &by("k")).contains("without sharding-key column \"k\""));
        // One of expressions has no columns.
        assert!(found(&with(unique(&[], false)), &by("k")).contains("without"));
        assert!(found(&with(unique(&["k"], true)), &by("k")).contains("exclusion"));
        assert_eq!(found(&with(unique(&["n"], false)), &Target::Reference), "");
    }

    #[test]
    fn foreign_keys_hold_where_both_rows_are() {
        let with = |key: ForeignKey| Definition {
            columns: vec![column("k", oid::INT4)],
            foreign_keys: vec![key],
            ..Definition::default()
        };
        for (key, sharded, reference, home) in [
            (key("whole", &["n"], &["id"]), true, true, true),
            (key("shards", &["k"], &["id"]), true, false, false),
            (key("shards", &["n", "k"], &["m", "id"]), true, false, false),
            (key("shards", &["k", "n"], &["m", "id"]), false, false, false),
            (key("shards", &["n"], &["id"]), false, false, false),
            (key("others", &["k"], &["id"]), false, false, false),
            (key("plain", &["k"], &["id"]), false, false, true),
            (key("t", &["k"], &["k"]), true, true, true),
            (key("t", &["n"], &["k"]), false, true, true),
        ] {
            let definition = with(key);
            let holds =
                [&by("k"), &Target::Reference, &Target::Home].map(|target| found(&definition, target).is_empty());
            assert_eq!(holds, [sharded, reference, home], "{:?}", definition.foreign_keys);
        }
        let referred = |other: &str| Definition {
            columns: vec![column("k", oid::INT4)],
            referred_by: vec![name(other)],
            ..Definition::default()
        };
        assert!(!found(&referred("plain"), &by("k")).is_empty());
        assert!(found(&referred("plain"), &Target::Reference).is_empty());
        assert!(found(&referred("plain"), &Target::Home).is_empty());
        assert!(!found(&referred("shards"), &Target::Home).is_empty());
    }
}
